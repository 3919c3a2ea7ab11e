/*
 * System calls of threads and processes: their making and end, waiting for them, scheduling.
 */
#include <linux/membarrier.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "linux_user/signals.h"
#include "linux_user/sys.h"
#include "linux_user/threads.h"

/* ---- Making and ending ---- */

/* clone(flags, stack, parent_tid, tls, child_tid): the order of CONFIG_CLONE_BACKWARDS */
int64_t sys_clone(struct lu_thread *t, const uint64_t a[6])
{
    uint64_t flags = (uint32_t)a[0];
    const struct lu_clone c = {
        .flags = flags & ~(uint64_t)(CSIGNAL | CLONE_DETACHED),
        .exit_signal = (int)(flags & CSIGNAL),
        .stack = a[1],
        .parent_tid = a[2],
        .tls = a[3],
        .child_tid = a[4],
        .pidfd = a[2],
    };

    if ((flags & CLONE_PIDFD) && (flags & (CLONE_DETACHED | CLONE_PARENT_SETTID))) {
        return -EINVAL; /* a descriptor and an id would go to the same place */
    }
    return lu_do_clone(t, &c);
}

/* struct clone_args from the guest, by the kernel's rules for structures that grow. */
static int get_clone_args(const struct lu_process *p, struct clone_args *args, uint64_t addr,
                          uint64_t size)
{
    enum { BIGGEST = 4096 };
    uint8_t rest[256];
    uint64_t have = size < sizeof(*args) ? size : sizeof(*args);

    if (size > BIGGEST) {
        return -E2BIG;
    }
    if (size < CLONE_ARGS_SIZE_VER0) {
        return -EINVAL;
    }
    memset(args, 0, sizeof(*args));
    if (lu_copy_from_guest(p, args, addr, have) < 0) {
        return -EFAULT;
    }
    while (have < size) {
        size_t n = size - have < sizeof(rest) ? size - have : sizeof(rest);

        if (lu_copy_from_guest(p, rest, addr + have, n) < 0) {
            return -EFAULT;
        }
        for (size_t i = 0; i < n; i++) {
            if (rest[i]) {
                return -E2BIG;
            }
        }
        have += n;
    }
    return 0;
}

static bool valid_clone_args(const struct clone_args *k)
{
    const uint64_t known = (uint64_t)UINT32_MAX | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP;

    if ((k->flags & ~known) || (k->flags & (CLONE_DETACHED | (CSIGNAL & ~CLONE_NEWTIME)))) {
        return false;
    }
    if (k->exit_signal > LU_NSIG ||
        ((k->flags & (CLONE_THREAD | CLONE_PARENT)) && k->exit_signal)) {
        return false;
    }
    if (k->stack ? !k->stack_size : k->stack_size != 0) {
        return false;
    }
    return k->set_tid_size <= 32 && !k->set_tid == !k->set_tid_size &&
           (!(k->flags & CLONE_INTO_CGROUP) || k->cgroup <= INT32_MAX);
}

int64_t sys_clone3(struct lu_thread *t, const uint64_t a[6])
{
    struct clone_args k;
    struct lu_clone c = {0};
    int error = get_clone_args(t->process, &k, a[0], a[1]);

    if (error < 0) {
        return error;
    }
    if (!valid_clone_args(&k)) {
        return -EINVAL;
    }
    /* As the kernel: only the range is checked here, a stack may have guard pages. */
    if (k.stack && k.stack_size > t->process->abi->task_size - k.stack) {
        return -EINVAL;
    }
    c.flags = k.flags;
    c.exit_signal = (int)k.exit_signal;
    c.stack = k.stack ? k.stack + k.stack_size : 0;
    c.parent_tid = k.parent_tid;
    c.child_tid = k.child_tid;
    c.tls = k.tls;
    c.pidfd = k.pidfd;
    c.cgroup = (int)k.cgroup;
    c.n_set_tid = (unsigned)k.set_tid_size;
    if (c.n_set_tid && lu_copy_from_guest(t->process, c.set_tid, k.set_tid,
                                          c.n_set_tid * sizeof(c.set_tid[0])) < 0) {
        return -EFAULT;
    }
    return lu_do_clone(t, &c);
}

int64_t sys_exit(struct lu_thread *t, const uint64_t a[6])
{
    lu_exit_thread(t, (int)a[0]);
}

int64_t sys_exit_group(struct lu_thread *t, const uint64_t a[6])
{
    lu_exit_group(t, (int)a[0]);
}

int64_t sys_set_tid_address(struct lu_thread *t, const uint64_t a[6])
{
    t->clear_child_tid = a[0];
    return t->tid;
}

int64_t sys_gettid(struct lu_thread *t, const uint64_t a[6])
{
    (void)a;
    return t->tid;
}

int64_t sys_getpid(struct lu_thread *t, const uint64_t a[6])
{
    (void)t, (void)a;
    return LU_HOST(SYS_getpid);
}

int64_t sys_wait4(struct lu_thread *t, const uint64_t a[6])
{
    struct rusage usage;
    int status = 0;
    int64_t r;

    r = LU_BLOCK(t, SYS_wait4, (int)a[0], a[1] ? &status : NULL, (int)a[2], a[3] ? &usage : NULL);
    if (r <= 0) {
        return r;
    }
    if ((a[1] && lu_copy_to_guest(t->process, a[1], &status, sizeof(status)) < 0) ||
        (a[3] && lu_copy_to_guest(t->process, a[3], &usage, sizeof(usage)) < 0)) {
        return -EFAULT;
    }
    return r;
}

int64_t sys_waitid(struct lu_thread *t, const uint64_t a[6])
{
    struct rusage usage;
    siginfo_t info;
    int64_t r;

    memset(&info, 0, sizeof(info));
    r = LU_BLOCK(t, SYS_waitid, (int)a[0], (int)a[1], &info, (int)a[3], a[4] ? &usage : NULL);
    if (r >= 0 && info.si_signo && a[4] &&
        lu_copy_to_guest(t->process, a[4], &usage, sizeof(usage)) < 0) {
        return -EFAULT;
    }
    /* The kernel writes only the members that it gives a meaning, and those also on an error. */
    if (a[2] && lu_copy_to_guest(t->process, a[2], &info,
                                 offsetof(siginfo_t, si_status) + sizeof(int)) < 0) {
        return -EFAULT;
    }
    return r;
}

int64_t sys_process_mrelease(struct lu_thread *t, const uint64_t a[6])
{
    (void)t;
    return LU_HOST(SYS_process_mrelease, (int)a[0], (uint32_t)a[1]);
}

/* ---- What needs a reason ---- */

/* Only the kernel makes this call, and only for calls that it restarts itself. */
int64_t sys_restart_syscall(struct lu_thread *t, const uint64_t a[6])
{
    (void)t, (void)a;
    return -EINTR;
}

int64_t sys_membarrier(struct lu_thread *t, const uint64_t a[6])
{
    (void)t;
    return LU_HOST(SYS_membarrier, (int)a[0], (uint32_t)a[1], (int)a[2]);
}

/* ---- Scheduling ---- */

int64_t sys_sched_yield(struct lu_thread *t, const uint64_t a[6])
{
    (void)t, (void)a;
    return LU_HOST(SYS_sched_yield);
}

int64_t sys_sched_setparam(struct lu_thread *t, const uint64_t a[6])
{
    return LU_HOST(SYS_sched_setparam, (int)a[0], lu_ptr(t->process, a[1], 4, LU_READ));
}

int64_t sys_sched_getparam(struct lu_thread *t, const uint64_t a[6])
{
    return LU_HOST(SYS_sched_getparam, (int)a[0], lu_ptr(t->process, a[1], 4, LU_WRITE));
}

int64_t sys_sched_setscheduler(struct lu_thread *t, const uint64_t a[6])
{
    return LU_HOST(SYS_sched_setscheduler, (int)a[0], (int)a[1],
                   lu_ptr(t->process, a[2], 4, LU_READ));
}

int64_t sys_sched_getscheduler(struct lu_thread *t, const uint64_t a[6])
{
    (void)t;
    return LU_HOST(SYS_sched_getscheduler, (int)a[0]);
}

int64_t sys_sched_setaffinity(struct lu_thread *t, const uint64_t a[6])
{
    return LU_HOST(SYS_sched_setaffinity, (int)a[0], (uint32_t)a[1],
                   lu_ptr(t->process, a[2], (uint32_t)a[1], LU_READ));
}

int64_t sys_sched_getaffinity(struct lu_thread *t, const uint64_t a[6])
{
    return LU_HOST(SYS_sched_getaffinity, (int)a[0], (uint32_t)a[1],
                   lu_ptr(t->process, a[2], (uint32_t)a[1], LU_WRITE));
}

int64_t sys_sched_get_priority_max(struct lu_thread *t, const uint64_t a[6])
{
    (void)t;
    return LU_HOST(SYS_sched_get_priority_max, (int)a[0]);
}

int64_t sys_sched_get_priority_min(struct lu_thread *t, const uint64_t a[6])
{
    (void)t;
    return LU_HOST(SYS_sched_get_priority_min, (int)a[0]);
}

int64_t sys_sched_rr_get_interval(struct lu_thread *t, const uint64_t a[6])
{
    return LU_HOST(SYS_sched_rr_get_interval, (int)a[0],
                   lu_ptr(t->process, a[1], sizeof(struct timespec), LU_WRITE));
}
