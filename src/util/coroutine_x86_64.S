/*
 * The switch between stacks: what the x86-64 System V ABI (3.2.1) says that a function must
 * preserve is on the stack that is left, at its saved stack pointer:
 *
 *     0 mxcsr  4 x87 control word  8 r15  16 r14  24 r13  32 r12  40 rbx  48 rbp  56 return address
 */
#if !defined(__x86_64__)
#error "coroutines need a file like this for the host"
#endif

        .text

/* void coroutine_switch(void **save, void *load) */
        .globl  coroutine_switch
        .hidden coroutine_switch
        .type   coroutine_switch, @function
        .p2align 4
coroutine_switch:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r15, 0
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)

        movq    %rsp, (%rdi)
        movq    %rsi, %rsp              /* the same layout: the CFI stays right */

        ldmxcsr (%rsp)
        fldcw   4(%rsp)
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbp
        /* Not ret, which the processor would predict to return to who switched the last time. */
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register rip, rcx
        jmp     *%rcx
        .cfi_endproc
        .size   coroutine_switch, . - coroutine_switch

/*
 * void *coroutine_prepare(void *top, void (*entry)(void *), void *argument)
 *
 * Makes a stack, of which top is the end (a multiple of 16), such that switching to the stack
 * pointer that it returns calls entry(argument), which must not return. The control words are the
 * caller's.
 */
        .globl  coroutine_prepare
        .hidden coroutine_prepare
        .type   coroutine_prepare, @function
        .p2align 4
coroutine_prepare:
        .cfi_startproc
        leaq    -64(%rdi), %rax
        stmxcsr (%rax)
        fnstcw  4(%rax)
        movw    $0, 6(%rax)
        movq    $0, 8(%rax)
        movq    $0, 16(%rax)
        movq    %rsi, 24(%rax)          /* r13 */
        movq    %rdx, 32(%rax)          /* r12 */
        movq    $0, 40(%rax)
        movq    $0, 48(%rax)            /* rbp: the last frame */
        leaq    start(%rip), %rcx
        movq    %rcx, 56(%rax)
        ret
        .cfi_endproc
        .size   coroutine_prepare, . - coroutine_prepare

/*
 * Debuggers end a backtrace where there is no return address. The byte before belongs to the function
 * too, since an unwinder looks up return address - 1.
 */
        .type   start, @function
        .p2align 4
        .cfi_startproc
        .cfi_undefined rip
        nop
start:
        movq    %r12, %rdi
        call    *%r13
        ud2
        .cfi_endproc
        .size   start, . - start

        .section .note.GNU-stack, "", @progbits
