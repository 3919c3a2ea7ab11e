/*
 * Signals, the guest's side: what is pending, masks, delivery. The host's handlers are in
 * signal_host.c; signals.h describes how a signal gets from there to here.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux_user/gdb.h"
#include "linux_user/signals.h"

/* Bytes of a host alternate stack beyond the kernel's own frame: dbt_handle_fault and the report of
 * an internal fault run there. */
enum { HOST_ALTSTACK_SIZE = 32 * 1024 };

enum { GUEST_MINSIGSTKSZ = 2048 };

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

int64_t lu_safe_syscall_asm(const volatile sig_atomic_t *pending, long nr, const long args[6]);

int64_t lu_safe_syscall(struct lu_thread *t, long nr, ...)
{
    long args[6];
    va_list ap;

    va_start(ap, nr);
    for (int i = 0; i < 6; i++) {
        args[i] = va_arg(ap, long);
    }
    va_end(ap);
    return lu_safe_syscall_asm(&t->signal_pending, nr, args);
}

enum lu_default_action lu_default_action(int sig)
{
    switch (sig) {
    case SIGCHLD:
    case SIGCONT:
    case SIGURG:
    case SIGWINCH: return LU_ACT_IGNORE;
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU: return LU_ACT_STOP;
    case SIGQUIT:
    case SIGILL:
    case SIGTRAP:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
    case SIGXCPU:
    case SIGXFSZ:
    case SIGSYS: return LU_ACT_CORE;
    default: return LU_ACT_TERM;
    }
}

void lu_signal_name(int sig, char *text, size_t size)
{
    const char *name = sigabbrev_np(sig);

    if (name) {
        snprintf(text, size, "SIG%s", name);
    } else if (sig >= 34 && sig <= LU_NSIG) { /* 32 and 33 are the C library's */
        snprintf(text, size, "SIGRTMIN+%d", sig - 34);
    } else {
        snprintf(text, size, "signal %d", sig);
    }
}

/* ---- Masks ---- */

static lu_sigset set_host_mask(int how, lu_sigset mask)
{
    lu_sigset old = 0;

    /* Not sigprocmask: the C library keeps two signals to itself that are the guest's here. */
    syscall(SYS_rt_sigprocmask, how, &mask, &old, sizeof(mask));
    return old;
}

lu_sigset lu_host_block_signals(void)
{
    return set_host_mask(SIG_BLOCK, LU_SIG_HOLD);
}

void lu_host_set_mask(lu_sigset mask)
{
    set_host_mask(SIG_SETMASK, mask & ~LU_SIG_NEVER_HELD);
}

/* Give a signal that was taken back to the kernel: to the process unless it was for the thread. */
static bool send_back(const siginfo_t *info)
{
    siginfo_t copy = *info;
    long r;

    if (info->si_code == SI_TKILL) {
        r = syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), info->si_signo, &copy);
    } else {
        r = syscall(SYS_rt_sigqueueinfo, getpid(), info->si_signo, &copy);
    }
    return r == 0;
}

static void clear_pending(struct lu_signals *s, int sig)
{
    __atomic_and_fetch(&s->pending, ~lu_sig_bit(sig), __ATOMIC_SEQ_CST);
}

/* Signals that were taken while they weren't blocked and now are go back, so that the kernel has
 * them for sigtimedwait, signalfd and other threads. The host blocks them already. */
static void return_blocked(struct lu_thread *t)
{
    struct lu_signals *s = lu_thread_signals(t);
    lu_sigset set = s->pending & t->blocked & ~LU_SIG_NEVER_HELD;

    while (set) {
        int sig = __builtin_ctzll(set) + 1;

        set &= set - 1;
        if (send_back(&s->info[sig])) {
            clear_pending(s, sig);
        }
    }
}

void lu_apply_mask(struct lu_thread *t)
{
    struct lu_signals *s = lu_thread_signals(t);

    if (s->pending & t->blocked & ~LU_SIG_NEVER_HELD) {
        lu_host_block_signals();
        return_blocked(t);
    }
    if (s->pending & ~t->blocked & ~LU_SIG_NEVER_HELD) {
        /* One is still to be delivered: the others wait, as the handler that took it arranged. */
        t->signal_pending = 1;
        return;
    }
    lu_host_set_mask(t->blocked);
    return_blocked(t); /* what came between t->blocked and this */
    if (s->pending & ~t->blocked) {
        t->signal_pending = 1;
    }
}

void lu_set_blocked(struct lu_thread *t, lu_sigset blocked)
{
    blocked &= ~LU_SIG_UNBLOCKABLE;
    if (blocked == t->blocked) {
        return;
    }
    t->blocked = blocked;
    lu_apply_mask(t);
}

void lu_set_temporary_mask(struct lu_thread *t, lu_sigset mask)
{
    t->saved_mask = t->blocked;
    t->restore_saved_mask = true;
    lu_set_blocked(t, mask);
}

/* ---- A thread's state ---- */

bool lu_signals_init_thread(struct lu_thread *t)
{
    size_t size = HOST_ALTSTACK_SIZE + getauxval(AT_MINSIGSTKSZ);
    struct lu_signals *s = g_try_new0(struct lu_signals, 1);
    void *stack = g_try_malloc(size);

    if (!s || !stack) {
        g_free(s);
        g_free(stack);
        return false;
    }
    s->altstack_size = size;
    t->host_altstack = stack;
    t->signals = s;
    t->altstack = (stack_t){.ss_flags = SS_DISABLE};
    return true;
}

void lu_signals_free_thread(struct lu_thread *t)
{
    g_clear_pointer(&t->signals, g_free);
    g_clear_pointer(&t->host_altstack, g_free);
}

void lu_signals_drop_pending(struct lu_thread *t)
{
    struct lu_signals *s = lu_thread_signals(t);

    s->pending = 0;
    s->forced_sig = 0;
    t->signal_pending = 0;
}

void lu_signals_give_back(struct lu_thread *t)
{
    struct lu_signals *s = lu_thread_signals(t);

    for (int sig = 1; sig <= LU_NSIG; sig++) {
        if ((s->pending & lu_sig_bit(sig)) && s->info[sig].si_code != SI_TKILL) {
            send_back(&s->info[sig]);
        }
    }
    s->pending = 0;
}

void lu_queue_signal(struct lu_thread *t, const siginfo_t *info)
{
    struct lu_signals *s = lu_thread_signals(t);
    int sig = info->si_signo;

    if (s->pending & lu_sig_bit(sig)) {
        return; /* as the kernel: a standard signal doesn't queue */
    }
    s->info[sig] = *info;
    __atomic_or_fetch(&s->pending, lu_sig_bit(sig), __ATOMIC_SEQ_CST);
    if (!(t->blocked & lu_sig_bit(sig))) {
        t->signal_pending = 1;
        vcpu_kick(t->cpu);
    }
}

void lu_force_signal(struct lu_thread *t, int sig, int code, uint64_t addr)
{
    struct lu_signals *s = lu_thread_signals(t);

    memset(&s->forced_info, 0, sizeof(s->forced_info));
    s->forced_info.si_signo = sig;
    s->forced_info.si_code = code;
    s->forced_info.si_addr = (void *)(uintptr_t)addr;
    s->forced_sig = sig;
    t->signal_pending = 1;
}

/* ---- The guest's alternate stack ---- */

bool lu_on_altstack(const struct lu_thread *t, uint64_t sp)
{
    uint64_t start = (uintptr_t)t->altstack.ss_sp;

    if ((unsigned)t->altstack.ss_flags & SS_AUTODISARM) {
        return false;
    }
    return sp > start && sp - start <= t->altstack.ss_size;
}

void lu_get_altstack(const struct lu_thread *t, uint64_t sp, stack_t *stack)
{
    unsigned flags = (unsigned)t->altstack.ss_flags & SS_AUTODISARM;

    if (t->altstack.ss_size == 0) {
        flags |= SS_DISABLE;
    } else if (lu_on_altstack(t, sp)) {
        flags |= SS_ONSTACK;
    }
    memset(stack, 0, sizeof(*stack));
    stack->ss_sp = t->altstack.ss_sp;
    stack->ss_size = t->altstack.ss_size;
    stack->ss_flags = (int)flags;
}

int lu_set_altstack(struct lu_thread *t, const stack_t *new_stack, uint64_t sp)
{
    unsigned mode = (unsigned)new_stack->ss_flags & ~SS_AUTODISARM;

    if (lu_on_altstack(t, sp)) {
        return -EPERM;
    }
    if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0) {
        return -EINVAL;
    }
    if (mode != SS_DISABLE && new_stack->ss_size < GUEST_MINSIGSTKSZ) {
        return -ENOMEM;
    }
    t->altstack = *new_stack;
    if (mode == SS_DISABLE) {
        t->altstack.ss_sp = NULL;
        t->altstack.ss_size = 0;
    }
    return 0;
}

uint64_t lu_signal_sp(const struct lu_thread *t, const struct lu_sigaction *action, uint64_t sp)
{
    if ((action->flags & SA_ONSTACK) && t->altstack.ss_size && !lu_on_altstack(t, sp)) {
        return (uintptr_t)t->altstack.ss_sp + t->altstack.ss_size;
    }
    return sp;
}

/* ---- Delivery ---- */

/* The next signal to deliver: number, with *info; 0 if none. Faults first, then by number. */
static int take_signal(struct lu_thread *t, siginfo_t *info, bool *forced)
{
    const lu_sigset first = lu_sig_bit(SIGSEGV) | lu_sig_bit(SIGBUS) | lu_sig_bit(SIGILL) |
                            lu_sig_bit(SIGTRAP) | lu_sig_bit(SIGFPE) | lu_sig_bit(SIGSYS);
    struct lu_signals *s = lu_thread_signals(t);
    lu_sigset ready = s->pending & ~t->blocked;
    int sig;

    *forced = s->forced_sig != 0;
    if (*forced) {
        sig = s->forced_sig;
        *info = s->forced_info;
        s->forced_sig = 0;
        return sig;
    }
    if (!ready) {
        return 0;
    }
    sig = __builtin_ctzll(ready & first ? ready & first : ready) + 1;
    *info = s->info[sig];
    clear_pending(s, sig);
    return sig;
}

static void log_signal(const struct lu_thread *t, const siginfo_t *info, const char *what)
{
    const struct lu_options *o = t->process->options;
    FILE *f = o->log_file ? o->log_file : stderr;
    char name[32];

    if (!o->log_int && !o->strace) {
        return;
    }
    lu_signal_name(info->si_signo, name, sizeof(name));
    if (info->si_code > 0 && lu_default_action(info->si_signo) == LU_ACT_CORE) {
        fprintf(f,
                "--- %s {si_signo=%s, si_code=%d, si_addr=%p} pc=0x%" G_GINT64_MODIFIER
                "x: %s ---\n",
                name, name, info->si_code, info->si_addr, t->cpu->pc, what);
    } else {
        fprintf(f,
                "--- %s {si_signo=%s, si_code=%d, si_pid=%d, si_uid=%u} pc=0x%" G_GINT64_MODIFIER
                "x: %s ---\n",
                name, name, info->si_code, info->si_pid, info->si_uid, t->cpu->pc, what);
    }
}

/* The action to take for [sig], and what SA_RESETHAND and a forced signal do to it. */
static struct lu_sigaction take_action(struct lu_thread *t, int sig, bool forced)
{
    struct lu_process *p = t->process;
    struct lu_sigaction action;

    pthread_mutex_lock(&p->lock);
    action = p->actions[sig];
    if (forced && (action.handler == 1 || (t->blocked & lu_sig_bit(sig)))) {
        action.handler = 0;
    }
    if (action.handler > 1 && (action.flags & SA_RESETHAND)) {
        p->actions[sig].handler = 0;
        lu_host_apply_action(p, sig);
    }
    pthread_mutex_unlock(&p->lock);
    return action;
}

static void default_action(struct lu_thread *t, const siginfo_t *info, bool forced)
{
    switch (lu_default_action(info->si_signo)) {
    case LU_ACT_IGNORE: break;
    case LU_ACT_STOP:
        log_signal(t, info, "stop");
        lu_host_stop(t->process, info->si_signo);
        break;
    case LU_ACT_TERM:
    case LU_ACT_CORE:
        log_signal(t, info, "killed");
        if (t->process->gdb) {
            lu_gdb_exit(t->process, info->si_signo);
        }
        lu_die_by_signal(t, info, forced);
        break;
    }
}

/* What becomes of an interrupted call when a handler runs: -EINTR or the call again. */
static void finish_call(struct lu_thread *t, int64_t result, const struct lu_sigaction *action)
{
    const struct lu_abi *abi = t->process->abi;

    if (result == -LU_ERESTARTNOINTR ||
        (result == -LU_ERESTARTSYS && (!action || (action->flags & SA_RESTART))) ||
        (result == -LU_ERESTARTNOHAND && !action)) {
        abi->restart_syscall(t->cpu, t->syscall_nr, t->syscall_arg0);
    } else {
        abi->set_result(t->cpu, (uint64_t)-EINTR);
    }
}

static void enter_handler(struct lu_thread *t, const struct lu_sigaction *action,
                          const siginfo_t *info)
{
    int sig = info->si_signo;
    lu_sigset old = t->restore_saved_mask ? t->saved_mask : t->blocked;
    lu_sigset mask = t->blocked | action->mask;

    log_signal(t, info, "handler");
    if (!t->process->abi->setup_frame(t, sig, action, info, old)) {
        /* No stack for the handler: SIGSEGV, which kills if it is SIGSEGV's own that has none. */
        if (sig == SIGSEGV) {
            pthread_mutex_lock(&t->process->lock);
            t->process->actions[SIGSEGV].handler = 0;
            pthread_mutex_unlock(&t->process->lock);
        }
        lu_force_signal(t, SIGSEGV, SI_KERNEL, 0);
        return;
    }
    t->restore_saved_mask = false;
    if ((unsigned)t->altstack.ss_flags & SS_AUTODISARM) {
        t->altstack = (stack_t){.ss_flags = SS_DISABLE};
    }
    if (!(action->flags & SA_NODEFER)) {
        mask |= lu_sig_bit(sig);
    }
    t->blocked = mask & ~LU_SIG_UNBLOCKABLE;
}

/* One signal; returns false when there is none. */
static bool deliver_one(struct lu_thread *t, bool *restart, int64_t result)
{
    struct lu_process *p = t->process;
    struct lu_sigaction action;
    siginfo_t info;
    bool forced;
    int sig = take_signal(t, &info, &forced);

    if (!sig) {
        return false;
    }
    if (p->gdb) {
        int other = lu_gdb_signal(t, &info);

        if (other != sig) {
            if (other < 1 || other > LU_NSIG) {
                return true;
            }
            memset(&info, 0, sizeof(info));
            info.si_signo = sig = other;
            info.si_code = SI_USER;
            info.si_pid = getpid();
            info.si_uid = getuid();
        }
    }
    action = take_action(t, sig, forced);
    if (action.handler == 1) {
        return true;
    }
    if (action.handler == 0) {
        default_action(t, &info, forced);
        return true;
    }
    if (*restart) {
        finish_call(t, result, &action);
        *restart = false;
    }
    enter_handler(t, &action, &info);
    return true;
}

void lu_deliver_signals(struct lu_thread *t, bool in_syscall, int64_t result)
{
    bool restart = in_syscall && result <= -LU_ERESTARTSYS && result >= -LU_ERESTARTNOHAND;

    for (;;) {
        t->signal_pending = 0;
        if (deliver_one(t, &restart, result)) {
            lu_apply_mask(t);
            continue;
        }
        if (t->restore_saved_mask) {
            /* No handler ran under the temporary mask. */
            t->restore_saved_mask = false;
            if (t->saved_mask != t->blocked) {
                t->blocked = t->saved_mask;
                lu_apply_mask(t);
                continue;
            }
        }
        if (!t->signal_pending) {
            break;
        }
    }
    if (restart) {
        finish_call(t, result, NULL);
    }
}
