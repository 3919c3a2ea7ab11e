/*
 * The parts of system call and signal handling that must know exactly where in them the thread is
 * (see signal_host.c): x86-64 hosts.
 */
#if !defined(__x86_64__)
#error "safe_syscall.S has no code for this host yet"
#endif

        .text

/*
 * int64_t lu_safe_syscall_asm(const volatile int *pending, long nr, const long args[6])
 *
 * If *pending, -LU_ERESTARTSYS without making the call; else the kernel's result. A signal that
 * arrives after the test but before the kernel has taken the call finds the host pc between _start
 * and _insn, and its handler sends it to _abort. The kernel itself sets the pc back to _insn when a
 * call is to be restarted (our handlers have SA_RESTART), so that such a call ends in _abort too
 * and whether to restart it is decided by the guest's SA_RESTART.
 */
        .globl  lu_safe_syscall_asm, lu_safe_syscall_start, lu_safe_syscall_insn
        .globl  lu_safe_syscall_abort
        .hidden lu_safe_syscall_asm, lu_safe_syscall_start, lu_safe_syscall_insn
        .hidden lu_safe_syscall_abort
        .type   lu_safe_syscall_asm, @function
        .p2align 4
lu_safe_syscall_asm:
        .cfi_startproc
        movq    %rdx, %rcx
        movq    %rdi, %r11
        movq    %rsi, %rax
        movq    0(%rcx), %rdi
        movq    8(%rcx), %rsi
        movq    16(%rcx), %rdx
        movq    24(%rcx), %r10
        movq    32(%rcx), %r8
        movq    40(%rcx), %r9
lu_safe_syscall_start:
        cmpl    $0, (%r11)
        jne     lu_safe_syscall_abort
lu_safe_syscall_insn:
        syscall
        ret
lu_safe_syscall_abort:
        movq    $-512, %rax
        ret
        .cfi_endproc
        .size   lu_safe_syscall_asm, . - lu_safe_syscall_asm

/*
 * int lu_user_cmpxchg32(void *host, uint32_t *expected, uint32_t desired)
 *
 * Compare and swap in guest memory: 0 if stored, 1 and the value found in *expected if it was
 * another, -EFAULT if [host] can't be written (the SIGSEGV handler goes to _fixup).
 */
        .globl  lu_user_cmpxchg32, lu_user_cmpxchg32_insn, lu_user_cmpxchg32_fixup
        .hidden lu_user_cmpxchg32, lu_user_cmpxchg32_insn, lu_user_cmpxchg32_fixup
        .type   lu_user_cmpxchg32, @function
        .p2align 4
lu_user_cmpxchg32:
        .cfi_startproc
        movl    (%rsi), %eax
lu_user_cmpxchg32_insn:
        lock cmpxchgl %edx, (%rdi)
        jne     1f
        xorl    %eax, %eax
        ret
1:      movl    %eax, (%rsi)
        movl    $1, %eax
        ret
lu_user_cmpxchg32_fixup:
        movl    $-14, %eax
        ret
        .cfi_endproc
        .size   lu_user_cmpxchg32, . - lu_user_cmpxchg32

/*
 * long lu_clone_call(long nr, const long args[5], void (*fn)(void *), void *arg)
 *
 * SYS_clone or SYS_clone3 with a new stack: the child calls fn(arg), which must not return; the
 * parent gets the result or -errno.
 */
        .globl  lu_clone_call
        .hidden lu_clone_call
        .type   lu_clone_call, @function
        .p2align 4
lu_clone_call:
        .cfi_startproc
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        movq    %rdx, %r12
        movq    %rcx, %r13
        movq    %rdi, %rax
        movq    %rsi, %rcx
        movq    0(%rcx), %rdi
        movq    8(%rcx), %rsi
        movq    16(%rcx), %rdx
        movq    24(%rcx), %r10
        movq    32(%rcx), %r8
        syscall
        testq   %rax, %rax
        jz      1f
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        ret
1:      .cfi_undefined %rip
        xorl    %ebp, %ebp
        movq    %r13, %rdi
        callq   *%r12
        ud2
        .cfi_endproc
        .size   lu_clone_call, . - lu_clone_call

/* Where a host signal handler returns to: rt_sigreturn. */
        .globl  lu_host_restorer
        .hidden lu_host_restorer
        .type   lu_host_restorer, @function
        .p2align 4
        nop
lu_host_restorer:
        movq    $15, %rax
        syscall
        .size   lu_host_restorer, . - lu_host_restorer

        .section .note.GNU-stack, "", @progbits
