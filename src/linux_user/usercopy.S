/*
 * int lu_usercopy(void *to, const void *from, size_t size): x86-64 hosts. usercopy.h has the rest.
 *
 * A fault handler that finds the pc between _start and _end continues at _fixup; no stack is used
 * in between.
 */
#if !defined(__x86_64__)
#error "usercopy.S has no code for this host yet"
#endif

        .text
        .globl  lu_usercopy, lu_usercopy_start, lu_usercopy_end, lu_usercopy_fixup
        .hidden lu_usercopy, lu_usercopy_start, lu_usercopy_end, lu_usercopy_fixup
        .type   lu_usercopy, @function
        .p2align 4
lu_usercopy:
        .cfi_startproc
        movq    %rdx, %rcx
lu_usercopy_start:
        cmpq    $256, %rcx
        jae     3f
        subq    $8, %rcx
        jb      2f
1:      movq    (%rsi), %rax
        movq    %rax, (%rdi)
        addq    $8, %rsi
        addq    $8, %rdi
        subq    $8, %rcx
        jae     1b
2:      addq    $8, %rcx
3:      rep movsb
lu_usercopy_end:
        xorl    %eax, %eax
        ret
lu_usercopy_fixup:
        movl    $-14, %eax
        ret
        .cfi_endproc
        .size   lu_usercopy, . - lu_usercopy

        .section .note.GNU-stack, "", @progbits
