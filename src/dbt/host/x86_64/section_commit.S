/*
 * int section_commit(uint64_t *token, void *host, uint64_t value, uint64_t *expected,
 *                    unsigned kind)
 *
 * The kernel compares the interrupted pc with the range of the descriptor that *token points to.
 * The range of each kind of store begins at section_window and ends right behind the kind's own
 * storing instruction. So while the check and the change of the token to the kind's own are
 * interrupted, it doesn't matter whose descriptor is there; and the instructions of the other
 * kinds, which are in the range too, aren't executed under this token. A pc behind the store is
 * outside of the range: then the token is taken away, but the store has been made.
 */
#if !defined(__x86_64__)
#error "section_commit.S has no code for this host yet"
#endif

        .text
        .globl  section_commit, section_descriptors
        .hidden section_commit, section_descriptors
        .type   section_commit, @function
        .p2align 4
section_commit:
        .cfi_startproc
        movl    %r8d, %r8d
        leaq    stores(%rip), %r10
        movq    (%r10,%r8,8), %r10
        shlq    $5, %r8
        leaq    section_descriptors(%rip), %r9
        addq    %r8, %r9
        movq    (%rcx), %rax
section_window:
        cmpq    $0, (%rdi)
        je      preempted
        movq    %r9, (%rdi)
        jmp     *%r10

        .macro  store kind, insn:vararg
store_\kind:
        \insn
store_\kind\()_end:
        .endm

        store   0, movb %dl, (%rsi)
        jmp     stored
        store   1, movw %dx, (%rsi)
        jmp     stored
        store   2, movl %edx, (%rsi)
        jmp     stored
        store   3, movq %rdx, (%rsi)
stored:
        movl    $1, %eax
        ret
        store   4, lock cmpxchgb %dl, (%rsi)
        jmp     compared
        store   5, lock cmpxchgw %dx, (%rsi)
        jmp     compared
        store   6, lock cmpxchgl %edx, (%rsi)
        jmp     compared
        store   7, lock cmpxchgq %rdx, (%rsi)
compared:
        movq    %rax, (%rcx)
        sete    %al
        movzbl  %al, %eax
        ret

        .byte   0x0f, 0xb9, 0x3d /* ud1: what follows is its operand, and never executed */
        .long   0x53053053       /* SECTION_SIGNATURE: the kernel looks for it there */
preempted:
        movl    $-1, %eax
        ret
        .cfi_endproc
        .size   section_commit, . - section_commit

        .section .data.rel.ro, "aw", @progbits
        .p2align 5
        .type   section_descriptors, @object
section_descriptors:
        .macro  descriptor kind
        .long   0, 0
        .quad   section_window, store_\kind\()_end - section_window, preempted
        .endm
        .irp    kind, 0, 1, 2, 3, 4, 5, 6, 7
        descriptor \kind
        .endr
        .size   section_descriptors, . - section_descriptors
stores:
        .irp    kind, 0, 1, 2, 3, 4, 5, 6, 7
        .quad   store_\kind
        .endr

        .section .note.GNU-stack, "", @progbits
