/*
 * System calls of signals. Sets and siginfo are laid out as the host's; what is pending and blocked
 * is the host's business, except SIGSEGV and SIGBUS (signals.h).
 */
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>

#include "linux_user/signals.h"
#include "linux_user/sys.h"

/* struct sigaction of the generic ABI, without a restorer */
struct guest_sigaction {
    uint64_t handler, flags;
    lu_sigset mask;
};

/* Flags that Linux keeps; others read back as 0, so that a program can tell which exist. */
#define GUEST_SA_FLAGS                                                                         \
    ((uint64_t)(SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | LU_SA_EXPOSE_TAGBITS | SA_ONSTACK | \
                SA_RESTART | SA_NODEFER) |                                                     \
     (uint64_t)(uint32_t)SA_RESETHAND)

static int64_t get_set(struct lu_thread *t, lu_sigset *set, uint64_t addr, uint64_t size)
{
    if (size != sizeof(*set)) {
        return -EINVAL;
    }
    return lu_copy_from_guest(t->process, set, addr, sizeof(*set));
}

int64_t sys_rt_sigaction(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    struct guest_sigaction new_action, old_action;
    int sig = (int)a[0];

    if (a[3] != sizeof(lu_sigset)) {
        return -EINVAL;
    }
    if (a[1] && lu_copy_from_guest(p, &new_action, a[1], sizeof(new_action)) < 0) {
        return -EFAULT;
    }
    if (sig < 1 || sig > LU_NSIG || (a[1] && (lu_sig_bit(sig) & LU_SIG_UNBLOCKABLE))) {
        return -EINVAL;
    }
    pthread_mutex_lock(&p->lock);
    old_action = (struct guest_sigaction){
        .handler = p->actions[sig].handler,
        .flags = p->actions[sig].flags,
        .mask = p->actions[sig].mask,
    };
    if (a[1]) {
        p->actions[sig] = (struct lu_sigaction){
            .handler = new_action.handler,
            .flags = new_action.flags & GUEST_SA_FLAGS,
            .mask = new_action.mask & ~LU_SIG_UNBLOCKABLE,
        };
        lu_host_apply_action(p, sig);
    }
    pthread_mutex_unlock(&p->lock);
    return a[2] ? lu_copy_to_guest(p, a[2], &old_action, sizeof(old_action)) : 0;
}

int64_t sys_rt_sigprocmask(struct lu_thread *t, const uint64_t a[6])
{
    lu_sigset set, old = t->blocked;

    if (a[3] != sizeof(lu_sigset)) {
        return -EINVAL;
    }
    if (a[1]) {
        if (lu_copy_from_guest(t->process, &set, a[1], sizeof(set)) < 0) {
            return -EFAULT;
        }
        switch ((int)a[0]) {
        case SIG_BLOCK: lu_set_blocked(t, old | set); break;
        case SIG_UNBLOCK: lu_set_blocked(t, old & ~set); break;
        case SIG_SETMASK: lu_set_blocked(t, set); break;
        default: return -EINVAL;
        }
    }
    return a[2] ? lu_copy_to_guest(t->process, a[2], &old, sizeof(old)) : 0;
}

int64_t sys_rt_sigpending(struct lu_thread *t, const uint64_t a[6])
{
    lu_sigset set = 0;
    int64_t r;

    if (a[1] > sizeof(set)) {
        return -EINVAL;
    }
    if ((r = LU_HOST(SYS_rt_sigpending, &set, sizeof(set))) < 0) {
        return r;
    }
    set = (set | lu_thread_signals(t)->pending) & t->blocked;
    return lu_copy_to_guest(t->process, a[0], &set, a[1]);
}

/* A signal of [set] that Nandu itself keeps: true, and *info. */
static bool take_kept(struct lu_thread *t, lu_sigset set, siginfo_t *info)
{
    struct lu_signals *s = lu_thread_signals(t);
    lu_sigset kept = s->pending & set;
    int sig;

    if (!kept) {
        return false;
    }
    sig = __builtin_ctzll(kept) + 1;
    *info = s->info[sig];
    __atomic_and_fetch(&s->pending, ~lu_sig_bit(sig), __ATOMIC_SEQ_CST);
    lu_apply_mask(t);
    return true;
}

int64_t sys_rt_sigtimedwait(struct lu_thread *t, const uint64_t a[6])
{
    struct timespec ts;
    siginfo_t info;
    lu_sigset set;
    int64_t r = get_set(t, &set, a[0], a[3]);

    if (r < 0) {
        return r;
    }
    if (a[2] && lu_copy_from_guest(t->process, &ts, a[2], sizeof(ts)) < 0) {
        return -EFAULT;
    }
    if (a[2] && (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= 1000000000)) {
        return -EINVAL;
    }
    if (take_kept(t, set & ~LU_SIG_UNBLOCKABLE, &info)) {
        r = info.si_signo;
    } else {
        r = LU_BLOCK(t, SYS_rt_sigtimedwait, &set, &info, a[2] ? &ts : NULL, sizeof(set));
    }
    if (r == -LU_ERESTARTSYS) {
        return -LU_ERESTARTNOHAND; /* EINTR whatever SA_RESTART says: signal(7) */
    }
    if (r > 0 && a[1] && lu_copy_to_guest(t->process, a[1], &info, sizeof(info)) < 0) {
        return -EFAULT;
    }
    return r;
}

int64_t sys_rt_sigsuspend(struct lu_thread *t, const uint64_t a[6])
{
    lu_sigset set;
    int64_t r = get_set(t, &set, a[0], a[1]);

    if (r < 0) {
        return r;
    }
    lu_set_temporary_mask(t, set);
    do {
        r = LU_BLOCK(t, SYS_pause);
    } while (r == -EINTR && !t->signal_pending);
    return -LU_ERESTARTNOHAND;
}

int64_t sys_rt_sigreturn(struct lu_thread *t, const uint64_t a[6])
{
    (void)a;
    if (!t->process->abi->sigreturn(t)) {
        lu_force_signal(t, SIGSEGV, SI_KERNEL, 0);
    }
    return -LU_SIGRETURN;
}

int64_t sys_sigaltstack(struct lu_thread *t, const uint64_t a[6])
{
    uint64_t sp = t->process->abi->get_sp(t->cpu);
    stack_t new_stack, old_stack;
    int error;

    lu_get_altstack(t, sp, &old_stack);
    if (a[0]) {
        if (lu_copy_from_guest(t->process, &new_stack, a[0], sizeof(new_stack)) < 0) {
            return -EFAULT;
        }
        if ((error = lu_set_altstack(t, &new_stack, sp)) < 0) {
            return error;
        }
    }
    return a[1] ? lu_copy_to_guest(t->process, a[1], &old_stack, sizeof(old_stack)) : 0;
}

int64_t sys_signalfd4(struct lu_thread *t, const uint64_t a[6])
{
    lu_sigset set;
    int64_t r = get_set(t, &set, a[1], a[2]);

    return r < 0 ? r : LU_HOST(SYS_signalfd4, (int)a[0], &set, sizeof(set), (int)a[3]);
}

/* ---- Sending ---- */

int64_t sys_kill(struct lu_thread *t, const uint64_t a[6])
{
    (void)t;
    return LU_HOST(SYS_kill, (int)a[0], (int)a[1]);
}

int64_t sys_tkill(struct lu_thread *t, const uint64_t a[6])
{
    (void)t;
    return LU_HOST(SYS_tkill, (int)a[0], (int)a[1]);
}

int64_t sys_tgkill(struct lu_thread *t, const uint64_t a[6])
{
    (void)t;
    return LU_HOST(SYS_tgkill, (int)a[0], (int)a[1], (int)a[2]);
}

static int64_t get_siginfo(struct lu_thread *t, siginfo_t *info, uint64_t addr, int sig)
{
    if (lu_copy_from_guest(t->process, info, addr, sizeof(*info)) < 0) {
        return -EFAULT;
    }
    info->si_signo = sig;
    return 0;
}

int64_t sys_rt_sigqueueinfo(struct lu_thread *t, const uint64_t a[6])
{
    siginfo_t info;
    int64_t r = get_siginfo(t, &info, a[2], (int)a[1]);

    return r < 0 ? r : LU_HOST(SYS_rt_sigqueueinfo, (int)a[0], (int)a[1], &info);
}

int64_t sys_rt_tgsigqueueinfo(struct lu_thread *t, const uint64_t a[6])
{
    siginfo_t info;
    int64_t r = get_siginfo(t, &info, a[3], (int)a[2]);

    return r < 0 ? r : LU_HOST(SYS_rt_tgsigqueueinfo, (int)a[0], (int)a[1], (int)a[2], &info);
}

int64_t sys_pidfd_send_signal(struct lu_thread *t, const uint64_t a[6])
{
    siginfo_t info;

    if (!a[2]) {
        return LU_HOST(SYS_pidfd_send_signal, (int)a[0], (int)a[1], NULL, (uint32_t)a[3]);
    }
    if (lu_copy_from_guest(t->process, &info, a[2], sizeof(info)) < 0) {
        return -EFAULT;
    }
    return LU_HOST(SYS_pidfd_send_signal, (int)a[0], (int)a[1], &info, (uint32_t)a[3]);
}
