/*
 * Signals: what signal.c (the guest's side), signal_host.c (the host's handlers), the system calls
 * of sys_signal.c, and threads share. Private to linux_user.
 *
 * How a signal travels. The host's mask of a thread follows the guest's, so that a signal that the
 * guest blocks waits in the kernel, where sigpending, sigtimedwait and signalfd find it. One that
 * the guest doesn't block reaches the host handler: it keeps the siginfo in info[], blocks all
 * others ("hold": in the interrupted context), kicks the vCPU and takes lu_safe_syscall back. The
 * thread then delivers it from lu_deliver_signals and sets the mask that the guest's handler runs
 * with, which lets the next one in. So there is never more than one of a number in info[], and
 * nothing needs memory in a handler.
 *
 * SIGSEGV and SIGBUS are never blocked on the host, since they also tell of the guest's own faults.
 */
#ifndef NANDU_LINUX_USER_SIGNALS_H
#define NANDU_LINUX_USER_SIGNALS_H

#include "linux_user/linux_user.h"

static inline lu_sigset lu_sig_bit(int sig)
{
    return (lu_sigset)1 << (sig - 1);
}

/* Signals that a host mask never has. */
#define LU_SIG_NEVER_HELD (lu_sig_bit(SIGSEGV) | lu_sig_bit(SIGBUS))
/* Signals that can't be blocked or caught. */
#define LU_SIG_UNBLOCKABLE (lu_sig_bit(SIGKILL) | lu_sig_bit(SIGSTOP))
#define LU_SIG_HOLD        (~LU_SIG_NEVER_HELD)

/* Flags of the generic ABI's struct sigaction that Linux knows; the host's have the same values. */
enum { LU_SA_EXPOSE_TAGBITS = 0x800 };

struct lu_signals {
    volatile lu_sigset pending; /* signals in info[]; set by handlers of this thread */
    siginfo_t info[LU_NSIG + 1];
    int forced_sig; /* lu_force_signal; 0: none */
    siginfo_t forced_info;
    size_t altstack_size; /* of t->host_altstack, bytes */
};

static inline struct lu_signals *lu_thread_signals(const struct lu_thread *t)
{
    return t->signals;
}

/* What a signal does by default (signal(7)). */
enum lu_default_action { LU_ACT_IGNORE, LU_ACT_STOP, LU_ACT_TERM, LU_ACT_CORE };
enum lu_default_action lu_default_action(int sig);

/* ---- signal.c ---- */

/* Block everything but faults for the calling host thread; returns the host's mask before. Around
 * code that no signal handler may interrupt (clone, fork, the end of a thread). */
lu_sigset lu_host_block_signals(void);
void lu_host_set_mask(lu_sigset mask);
/* The host's mask as t->blocked and undelivered signals want it. */
void lu_apply_mask(struct lu_thread *t);
/* In a new process: nothing is pending. */
void lu_signals_drop_pending(struct lu_thread *t);
/* The thread ends: what it took and didn't deliver goes to the process's other threads. */
void lu_signals_give_back(struct lu_thread *t);
/* Keep [info] as if a host handler had got it. */
void lu_queue_signal(struct lu_thread *t, const siginfo_t *info);
/* "SIGSEGV", "SIGRTMIN+3" into [text]. */
void lu_signal_name(int sig, char *text, size_t size);

/* ---- signal_host.c ---- */

/* Make the host's disposition of [sig] follow p->actions[sig]. With process.lock held. */
void lu_host_apply_action(struct lu_process *p, int sig);
/* The same for all whose action is the default one: what that needs depends on the process. */
void lu_host_apply_defaults(struct lu_process *p);
/* Before execve: dispositions and mask as the guest's, so that a host program finds them; undone
 * with lu_host_exec_failed. */
void lu_host_before_exec(struct lu_thread *t);
void lu_host_exec_failed(struct lu_thread *t);
/* One line on standard error, then the process dies by [sig]. Returns only if the kernel refuses
 * (the first process of a PID namespace). Async-signal-safe. */
void lu_die_by_signal(struct lu_thread *t, const siginfo_t *info, bool forced);
/* Stop the process as the default action of [sig] does. */
void lu_host_stop(struct lu_process *p, int sig);

/* ---- altstack of the guest (signal.c) ---- */

/* Where a frame of a handler starts: below [sp], or on the guest's alternate stack. */
uint64_t lu_signal_sp(const struct lu_thread *t, const struct lu_sigaction *action, uint64_t sp);
bool lu_on_altstack(const struct lu_thread *t, uint64_t sp);
/* sigaltstack(2) with what rt_sigreturn and the call itself check. 0 or -errno. */
int lu_set_altstack(struct lu_thread *t, const stack_t *new_stack, uint64_t sp);
/* The thread's alternate stack as sigaltstack and signal frames show it. */
void lu_get_altstack(const struct lu_thread *t, uint64_t sp, stack_t *stack);

/* ---- safe_syscall.S ---- */

int lu_user_cmpxchg32(void *host, uint32_t *expected, uint32_t desired);
long lu_clone_call(long nr, const long args[5], void (*fn)(void *), void *arg);

#endif
