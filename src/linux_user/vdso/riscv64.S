/*
 * The vDSO of a riscv64 guest. Each function makes its system call; Nandu runs code of its own in
 * place of those that it has a faster way for (intrinsics, vdso_calls.c).
 *
 * Interface: Linux, Documentation/ABI/stable/vdso; the names and the version are those of
 * arch/riscv/kernel/vdso/vdso.lds.S.
 */
        .option norvc
        .text

        .macro  function name, nr
        .globl  \name
        .type   \name, @function
        .p2align 4
\name:
        .cfi_startproc
        li      a7, \nr
        ecall
        ret
        .cfi_endproc
        .size   \name, . - \name
        .endm

        function __vdso_clock_getres, 114
        function __vdso_clock_gettime, 113
        function __vdso_gettimeofday, 169
        function __vdso_getcpu, 168
        function __vdso_riscv_hwprobe, 258
        function __vdso_flush_icache, 259

/*
 * Signal handlers return to here. Unwinders know the frame by these two instructions, and look up
 * the function by the address before, hence the nop.
 */
        .p2align 4
        nop
        .globl  __vdso_rt_sigreturn
        .type   __vdso_rt_sigreturn, @function
__vdso_rt_sigreturn:
        .cfi_startproc
        .cfi_signal_frame
        li      a7, 139
        ecall
        .cfi_endproc
        .size   __vdso_rt_sigreturn, . - __vdso_rt_sigreturn

        .section .note.GNU-stack, "", @progbits
