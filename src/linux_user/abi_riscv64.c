/*
 * The RISC-V 64-bit part of the system call interface: registers of a call, signal frames, hardware
 * capabilities. As Linux 6.12 has them (arch/riscv/kernel/signal.c, uapi/asm/{ucontext,sigcontext,
 * ptrace,hwcap}.h); the calling convention is that of the RISC-V ELF psABI.
 */
#include <errno.h>
#include <string.h>

#include "guest/riscv/riscv.h"
#include "linux_user/signals.h"
#include "linux_user/vdso/vdso.h"

/* Integer registers by their names in the psABI. */
enum { REG_RA = 1, REG_SP = 2, REG_TP = 4, REG_A0 = 10, REG_A1 = 11, REG_A2 = 12, REG_A7 = 17 };

enum { ECALL_LENGTH = 4 };

/* ---- Layout of a signal frame ---- */

struct riscv_sigcontext {
    uint64_t pc;
    uint64_t x[31]; /* x1 to x31 */
    union {
        struct {
            uint64_t f[32];
            uint32_t fcsr;
        } d;
        struct {
            uint32_t padding[129];
            uint32_t reserved;
            uint32_t magic; /* of the first extension's header; 0 ends them */
            uint32_t size;
        } ext;
        uint8_t q[528]; /* the size of the state with quad-precision registers */
    };
};

struct riscv_ucontext {
    uint64_t flags;
    uint64_t link;
    uint64_t stack_sp;
    int32_t stack_flags;
    uint32_t stack_pad;
    uint64_t stack_size;
    uint64_t sigmask;
    uint8_t unused[120];
    alignas(16) struct riscv_sigcontext mcontext;
};

struct riscv_sigframe {
    siginfo_t info;
    struct riscv_ucontext uc;
};

_Static_assert(sizeof(siginfo_t) == 128, "siginfo is the same on both sides");
_Static_assert(offsetof(struct riscv_sigframe, uc.mcontext) == 128 + 176, "as the kernel's");
_Static_assert(sizeof(struct riscv_sigcontext) == 256 + 528, "as the kernel's");
_Static_assert(sizeof(struct riscv_sigframe) == 128 + 176 + 784, "as the kernel's");

static inline struct riscv_vcpu *riscv(struct vcpu *cpu)
{
    return (struct riscv_vcpu *)cpu;
}

/* ---- Registers ---- */

static void init_thread(struct vcpu *cpu, uint64_t entry, uint64_t sp)
{
    cpu->pc = entry;
    cpu->r[REG_SP] = sp;
}

static uint64_t syscall_number(const struct vcpu *cpu)
{
    return cpu->r[REG_A7];
}

static void syscall_args(const struct vcpu *cpu, uint64_t args[6])
{
    memcpy(args, &cpu->r[REG_A0], 6 * sizeof(args[0]));
}

static void set_result(struct vcpu *cpu, uint64_t result)
{
    cpu->r[REG_A0] = result;
}

static void restart_syscall(struct vcpu *cpu, uint64_t number, uint64_t arg0)
{
    cpu->pc -= ECALL_LENGTH;
    cpu->r[REG_A7] = number;
    cpu->r[REG_A0] = arg0;
}

static uint64_t get_sp(const struct vcpu *cpu)
{
    return cpu->r[REG_SP];
}

static void set_tls(struct vcpu *cpu, uint64_t tls)
{
    cpu->r[REG_TP] = tls;
}

static void set_clone_result(struct vcpu *cpu, uint64_t sp)
{
    cpu->r[REG_A0] = 0;
    if (sp) {
        cpu->r[REG_SP] = sp;
    }
}

/* ---- Capabilities ---- */

static uint64_t hwcap(const void *model)
{
    static const struct {
        char letter;
        enum riscv_ext ext;
    } letters[] = {
        {'m', RISCV_EXT_M}, {'a', RISCV_EXT_A}, {'f', RISCV_EXT_F},
        {'d', RISCV_EXT_D}, {'c', RISCV_EXT_C},
    };
    uint64_t caps = 1 << ('i' - 'a');

    for (unsigned i = 0; i < G_N_ELEMENTS(letters); i++) {
        if (riscv_has(model, letters[i].ext)) {
            caps |= 1u << (letters[i].letter - 'a');
        }
    }
    return caps;
}

static uint64_t hwcap2(const void *model)
{
    (void)model; /* Linux 6.12 has no AT_HWCAP2 bits for RISC-V */
    return 0;
}

/* ---- Signal frames ---- */

static void save_context(struct vcpu *cpu, struct riscv_sigcontext *sc)
{
    sc->pc = cpu->pc;
    memcpy(sc->x, &cpu->r[1], sizeof(sc->x));
    memcpy(sc->d.f, riscv(cpu)->f, sizeof(sc->d.f));
    sc->d.fcsr = dbt_fp_flags_get(cpu) | (cpu->mode & 7) << 5;
    /* No extension has state in the frame; the rest of sc is 0, which is the end header. */
}

static bool restore_context(struct vcpu *cpu, const struct riscv_sigcontext *sc)
{
    if (sc->ext.reserved || sc->ext.magic || sc->ext.size) {
        return false;
    }
    cpu->pc = sc->pc & ~(uint64_t)1; /* sepc has no bit 0 */
    memcpy(&cpu->r[1], sc->x, sizeof(sc->x));
    memcpy(riscv(cpu)->f, sc->d.f, sizeof(sc->d.f));
    cpu->mode = sc->d.fcsr >> 5 & 7;
    dbt_fp_flags_set(cpu, sc->d.fcsr & 31);
    return true;
}

static bool setup_frame(struct lu_thread *t, int sig, const struct lu_sigaction *action,
                        const siginfo_t *info, lu_sigset old_mask)
{
    struct vcpu *cpu = t->cpu;
    uint64_t sp = cpu->r[REG_SP];
    uint64_t addr = (lu_signal_sp(t, action, sp) - sizeof(struct riscv_sigframe)) & ~(uint64_t)15;
    struct riscv_sigframe frame;
    stack_t stack;

    if (lu_on_altstack(t, sp) && !lu_on_altstack(t, addr)) {
        return false; /* the alternate stack is full */
    }
    lu_rseq_signal(t);
    memset(&frame, 0, sizeof(frame));
    frame.info = *info;
    lu_get_altstack(t, sp, &stack);
    frame.uc.stack_sp = (uintptr_t)stack.ss_sp;
    frame.uc.stack_flags = stack.ss_flags;
    frame.uc.stack_size = stack.ss_size;
    frame.uc.sigmask = old_mask;
    save_context(cpu, &frame.uc.mcontext);
    if (lu_copy_to_guest(t->process, addr, &frame, sizeof(frame)) < 0) {
        return false;
    }
    cpu->r[REG_RA] = t->process->vdso_sigreturn;
    cpu->r[REG_SP] = addr;
    cpu->r[REG_A0] = (uint64_t)sig;
    cpu->r[REG_A1] = addr + offsetof(struct riscv_sigframe, info);
    cpu->r[REG_A2] = addr + offsetof(struct riscv_sigframe, uc);
    cpu->pc = action->handler & ~(uint64_t)1;
    cpu->excl_addr = ~(uint64_t)0; /* a trap ends a reservation */
    return true;
}

static bool sig_return(struct lu_thread *t)
{
    struct riscv_sigframe frame;
    stack_t stack = {0};

    if (lu_copy_from_guest(t->process, &frame, t->cpu->r[REG_SP], sizeof(frame)) < 0 ||
        !restore_context(t->cpu, &frame.uc.mcontext)) {
        return false;
    }
    stack.ss_sp = (void *)(uintptr_t)frame.uc.stack_sp;
    stack.ss_flags = frame.uc.stack_flags;
    stack.ss_size = frame.uc.stack_size;
    lu_set_altstack(t, &stack, t->cpu->r[REG_SP]); /* the kernel too takes it only if it is valid */
    lu_set_blocked(t, frame.uc.sigmask);
    return true;
}

const struct lu_abi lu_abi_riscv64 = {
    .name = "riscv64",
    .uname_machine = "riscv64",
    .platform = NULL,
    .elf_machine = 243, /* EM_RISCV */
    .arch = &riscv64_arch,
    .task_size = (uint64_t)1 << 47,
    .stack_align = 16,
    .vdso = lu_vdso_riscv64,
    .vdso_size = sizeof(lu_vdso_riscv64),
    .init_thread = init_thread,
    .syscall_number = syscall_number,
    .syscall_args = syscall_args,
    .set_result = set_result,
    .restart_syscall = restart_syscall,
    .get_sp = get_sp,
    .set_tls = set_tls,
    .set_clone_result = set_clone_result,
    .hwcap = hwcap,
    .hwcap2 = hwcap2,
    .setup_frame = setup_frame,
    .sigreturn = sig_return,
};
