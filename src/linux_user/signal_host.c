/*
 * Signals, the host's side: dispositions, the handlers, and the end of the process by a signal.
 * signals.h describes the whole.
 *
 * Dispositions and masks are set with raw system calls: the C library hides the signals 32 and 33
 * from its own functions, and they are ordinary signals of the guest's here. (The library uses them
 * only in pthread_cancel and in its set*id functions, which Nandu doesn't call.)
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "linux_user/signals.h"
#include "linux_user/usercopy.h"

#ifndef SA_RESTORER
#define SA_RESTORER 0x04000000
#endif

/* The kernel's struct sigaction, which isn't the C library's. */
struct kernel_sigaction {
    uintptr_t handler;
    unsigned long flags;
    void (*restorer)(void);
    lu_sigset mask;
};

/* Labels in safe_syscall.S. */
extern const char lu_safe_syscall_start[], lu_safe_syscall_insn[], lu_safe_syscall_abort[];
extern const char lu_user_cmpxchg32_insn[], lu_user_cmpxchg32_fixup[];
void lu_host_restorer(void);

extern const char __ehdr_start[]; /* start of the executable, from the linker */

#ifdef NANDU_SANITIZE
/* The sanitizer leaves signals to us, and what execve passes on of them as it is. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:handle_sigtrap=0:"
           "handle_abort=0:use_sigaltstack=0:detect_leaks=0";
}
#endif

/* ---- The interrupted context: x86-64 ---- */

/* Exception numbers of the processor (Intel SDM volume 3, 6.3.1). */
enum {
    TRAP_UD = 6,
    TRAP_TS = 10,
    TRAP_NP = 11,
    TRAP_SS = 12,
    TRAP_GP = 13,
    TRAP_PF = 14,
    TRAP_AC = 17,
    TRAP_MC = 18
};

static uintptr_t context_pc(const ucontext_t *uc)
{
    return (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
}

static void set_context_pc(ucontext_t *uc, const char *pc)
{
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)pc;
}

/* The processor raised the signal in this thread: it wasn't sent, however its siginfo looks (a
 * process may send itself any siginfo). */
static bool is_hardware(int sig, const siginfo_t *info, const ucontext_t *uc)
{
    greg_t trap = uc->uc_mcontext.gregs[REG_TRAPNO];

    if (info->si_code <= 0) {
        return false;
    }
    switch (sig) {
    case SIGSEGV:
    case SIGBUS:
        if (trap == TRAP_PF) {
            return (greg_t)(uintptr_t)info->si_addr == uc->uc_mcontext.gregs[REG_CR2];
        }
        return (trap >= TRAP_TS && trap <= TRAP_GP && info->si_code == SI_KERNEL) ||
               trap == TRAP_AC || trap == TRAP_MC;
    case SIGILL: return trap == TRAP_UD && (uintptr_t)info->si_addr == context_pc(uc);
    case SIGFPE:
    case SIGTRAP: return (uintptr_t)info->si_addr == context_pc(uc);
    default: return false;
    }
}

/* ---- Dispositions ---- */

static int host_sigaction(int sig, const struct kernel_sigaction *action,
                          struct kernel_sigaction *old)
{
    return (int)syscall(SYS_rt_sigaction, sig, action, old, sizeof(lu_sigset));
}

/* Signals that end programs every day: as silently as without Nandu. */
static bool is_quiet(int sig)
{
    return sig == SIGINT || sig == SIGHUP || sig == SIGPIPE;
}

static bool is_stop(int sig)
{
    return lu_default_action(sig) == LU_ACT_STOP;
}

/* Whether the host's disposition is our handler. [first]: this process is the first of its PID
 * namespace. */
static bool needs_handler(const struct lu_process *p, int sig, bool first)
{
    const struct lu_sigaction *a = &p->actions[sig];

    if (lu_sig_bit(sig) & LU_SIG_NEVER_HELD) {
        return true;
    }
    if (a->handler != 0) {
        return a->handler > 1;
    }
    if (p->gdb || p->shares_memory) {
        /* To tell the debugger; or not to die with a lock that the parent shares. */
        return lu_default_action(sig) >= LU_ACT_TERM || (p->gdb && !is_stop(sig));
    }
    /* The first process doesn't die of default actions; the kernel sees to that. Others are caught
     * to say what killed the guest. */
    return lu_default_action(sig) >= LU_ACT_TERM && !is_quiet(sig) && !first;
}

static void host_handler(int sig, siginfo_t *info, void *context);

static void apply_action(struct lu_process *p, int sig, bool first, struct kernel_sigaction *old)
{
    const struct lu_sigaction *a = &p->actions[sig];
    struct kernel_sigaction k = {0};

    k.flags = a->flags & (SA_NOCLDSTOP | SA_NOCLDWAIT);
    if (needs_handler(p, sig, first)) {
        /* SA_ONSTACK: translated code uses the stack pointer for its own purpose. SA_RESTART: see
         * lu_safe_syscall_asm. */
        k.handler = (uintptr_t)host_handler;
        k.flags |= SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_RESTORER;
        k.restorer = lu_host_restorer;
        k.mask = LU_SIG_HOLD;
    } else if (a->handler == 1) {
        k.handler = (uintptr_t)SIG_IGN;
    }
    host_sigaction(sig, &k, old);
}

void lu_host_apply_action(struct lu_process *p, int sig)
{
    if (!(lu_sig_bit(sig) & LU_SIG_UNBLOCKABLE)) {
        apply_action(p, sig, getpid() == 1, NULL);
    }
}

void lu_host_apply_defaults(struct lu_process *p)
{
    bool first = getpid() == 1;

    for (int sig = 1; sig <= LU_NSIG; sig++) {
        if (p->actions[sig].handler == 0 && lu_default_action(sig) >= LU_ACT_TERM &&
            sig != SIGKILL) {
            apply_action(p, sig, first, NULL);
        }
    }
}

void lu_signals_init(struct lu_process *p)
{
    bool first = getpid() == 1;

    pthread_mutex_lock(&p->lock);
    for (int sig = 1; sig <= LU_NSIG; sig++) {
        struct kernel_sigaction old = {0};

        p->actions[sig] = (struct lu_sigaction){0};
        if (lu_sig_bit(sig) & LU_SIG_UNBLOCKABLE) {
            continue;
        }
        if (needs_handler(p, sig, first)) {
            apply_action(p, sig, first, &old);
        } else {
            host_sigaction(sig, NULL, &old);
        }
        if (old.handler == (uintptr_t)SIG_IGN) {
            p->actions[sig].handler = 1; /* inherited */
            apply_action(p, sig, first, NULL);
        }
    }
    pthread_mutex_unlock(&p->lock);
}

void lu_host_before_exec(struct lu_thread *t)
{
    static const int always[] = {SIGSEGV, SIGBUS};
    struct kernel_sigaction ignore = {.handler = (uintptr_t)SIG_IGN};

    for (unsigned i = 0; i < G_N_ELEMENTS(always); i++) {
        if (t->process->actions[always[i]].handler == 1) {
            host_sigaction(always[i], &ignore, NULL);
        }
    }
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &t->blocked, NULL, sizeof(lu_sigset));
}

void lu_host_exec_failed(struct lu_thread *t)
{
    pthread_mutex_lock(&t->process->lock);
    lu_host_apply_action(t->process, SIGSEGV);
    lu_host_apply_action(t->process, SIGBUS);
    pthread_mutex_unlock(&t->process->lock);
    lu_apply_mask(t);
}

/* ---- The end ---- */

static void die_now(int sig)
{
    struct kernel_sigaction k = {0};
    lu_sigset mask = ~lu_sig_bit(sig);

    host_sigaction(sig, &k, NULL);
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
    syscall(SYS_exit_group, 128 + sig); /* the first process of a PID namespace gets here */
}

static void say(const char *text, int length, size_t size)
{
    size_t n = length < 0 ? 0 : (size_t)length < size ? (size_t)length : size - 1;

    /* Nothing can be done if it can't be written. */
    if (write(STDERR_FILENO, text, n) < 0) {
        return;
    }
}

void lu_die_by_signal(struct lu_thread *t, const siginfo_t *info, bool forced)
{
    int sig = info->si_signo;
    char text[200], name[32];
    int n;

    if (!forced && getpid() == 1) {
        return;
    }
    if (!is_quiet(sig)) {
        lu_signal_name(sig, name, sizeof(name));
        if (forced && info->si_code != SI_KERNEL && (sig == SIGSEGV || sig == SIGBUS)) {
            n = snprintf(text, sizeof(text),
                         "nandu-%s: killed by %s (guest pc 0x%llx, address "
                         "0x%llx)\n",
                         t->process->abi->name, name, (unsigned long long)t->cpu->pc,
                         (unsigned long long)(uintptr_t)info->si_addr);
        } else {
            n = snprintf(text, sizeof(text), "nandu-%s: killed by %s (guest pc 0x%llx)\n",
                         t->process->abi->name, name, (unsigned long long)t->cpu->pc);
        }
        say(text, n, sizeof(text));
    }
    die_now(sig);
}

void lu_host_stop(struct lu_process *p, int sig)
{
    lu_sigset mask = lu_sig_bit(sig);

    (void)p;
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
    syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &mask, NULL, sizeof(mask));
}

/* A fault in Nandu itself. */
static void internal_fault(const struct lu_thread *t, const siginfo_t *info, const ucontext_t *uc)
{
    uintptr_t pc = context_pc(uc);
    char text[256], name[32];
    int n;

    lu_signal_name(info->si_signo, name, sizeof(name));
    n = snprintf(text, sizeof(text),
                 "nandu: internal fault: %s at host pc 0x%llx (executable + "
                 "0x%llx), address 0x%llx, guest pc 0x%llx. This is a bug in Nandu, not in the "
                 "program it runs.\n",
                 name, (unsigned long long)pc, (unsigned long long)(pc - (uintptr_t)__ehdr_start),
                 (unsigned long long)(uintptr_t)info->si_addr,
                 t && t->cpu ? (unsigned long long)t->cpu->pc : 0);
    say(text, n, sizeof(text));
    die_now(info->si_signo);
}

/* ---- Handlers ---- */

static lu_sigset context_mask(const ucontext_t *uc)
{
    lu_sigset mask;

    /* The kernel's frame has 8 bytes of mask, whatever the size of the C library's sigset_t. */
    memcpy(&mask, &uc->uc_sigmask, sizeof(mask));
    return mask;
}

static void set_context_mask(ucontext_t *uc, lu_sigset mask)
{
    memcpy(&uc->uc_sigmask, &mask, sizeof(mask));
}

/* Keep a signal that was sent, and see that the thread comes to deliver it. */
static void take_async(struct lu_thread *t, int sig, siginfo_t *info, ucontext_t *uc)
{
    struct lu_signals *s = lu_thread_signals(t);
    uintptr_t pc = context_pc(uc);

    if (s->pending & lu_sig_bit(sig)) {
        /* One of this number waits already, which can happen while a mask is being set. A
         * real-time signal queues behind it; a standard one is merged with it. */
        if (sig >= 32) {
            syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), sig, info);
            set_context_mask(uc, context_mask(uc) | LU_SIG_HOLD);
        }
        return;
    }
    s->info[sig] = *info;
    __atomic_or_fetch(&s->pending, lu_sig_bit(sig), __ATOMIC_SEQ_CST);
    if (t->blocked & lu_sig_bit(sig)) {
        return;
    }
    t->signal_pending = 1;
    vcpu_kick(t->cpu);
    set_context_mask(uc, context_mask(uc) | LU_SIG_HOLD);
    if (pc >= (uintptr_t)lu_safe_syscall_start && pc <= (uintptr_t)lu_safe_syscall_insn) {
        set_context_pc(uc, lu_safe_syscall_abort);
    }
}

static bool take_fault(struct lu_thread *t, const siginfo_t *info, ucontext_t *uc)
{
    if (lu_usercopy_fault(uc)) {
        return true;
    }
    if (context_pc(uc) == (uintptr_t)lu_user_cmpxchg32_insn) {
        set_context_pc(uc, lu_user_cmpxchg32_fixup);
        return true;
    }
    return t && dbt_handle_fault(t->cpu, info, uc);
}

static void host_handler(int sig, siginfo_t *info, void *context)
{
    struct lu_thread *t = lu_current();
    ucontext_t *uc = context;
    int saved_errno = errno;

    if (is_hardware(sig, info, uc)) {
        if ((sig != SIGSEGV && sig != SIGBUS) || !take_fault(t, info, uc)) {
            internal_fault(t, info, uc);
        }
    } else if (t) {
        const struct lu_process *p = t->process;

        /* A deadly signal ends a thread that isn't in guest code at once, whatever it is busy
         * with; one in guest code leaves it first, so that its pc is exact, and one that may hold
         * a lock of its parent's gives it back first. */
        if (p->actions[sig].handler == 0 && lu_default_action(sig) >= LU_ACT_TERM && !p->gdb &&
            !t->cpu->in_code && !t->vfork_child && !(t->blocked & lu_sig_bit(sig))) {
            lu_die_by_signal(t, info, false);
        }
        take_async(t, sig, info, uc);
    }
    errno = saved_errno;
}
