/*
 * clone, in all its forms:
 *
 *  - a thread (CLONE_THREAD): a host thread of the C library's;
 *  - a process with memory of its own: fork, or the kernel's clone where flags ask for more;
 *  - a process that shares its parent's memory (vfork, posix_spawn): a task made with the kernel's
 *    clone, with a vCPU and a host stack of its own and, since such a child may set signal actions
 *    without its parent noticing, a copy of struct lu_process. It uses the C library's data of the
 *    host thread that made it, which the kernel therefore suspends until the child ends or executes
 *    a program (CLONE_VFORK); where the guest doesn't want to wait, a host thread made for the
 *    purpose does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux_user/gdb.h"
#include "linux_user/signals.h"
#include "linux_user/threads.h"

#ifdef NANDU_SANITIZE
#include <sanitizer/asan_interface.h>
#endif

enum { HOST_STACK_SIZE = 256 * 1024 };

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

/* What Nandu does itself instead of the kernel: these hold addresses of the guest. */
#define OWN_FLAGS                                                                                 \
    ((uint64_t)(CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID) | \
     CLONE_CLEAR_SIGHAND)

/* Kept from allocating while the kernel forks without the C library's knowledge; missing in a
 * dynamic executable, where the rare call that needs it is only made by one-threaded programs. */
extern void __malloc_fork_lock_parent(void) __attribute__((weak));
extern void __malloc_fork_unlock_parent(void) __attribute__((weak));
extern void __malloc_fork_unlock_child(void) __attribute__((weak));

/* One thread waits for another to say how far it came. */
struct handshake {
    uint32_t done;
    int64_t result;
};

static void handshake_finish(struct handshake *h, int64_t result)
{
    h->result = result;
    __atomic_store_n(&h->done, 1, __ATOMIC_RELEASE);
    /* *h may be gone by now: a wake-up of nobody. */
    syscall(SYS_futex, &h->done, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static int64_t handshake_wait(struct handshake *h)
{
    while (!__atomic_load_n(&h->done, __ATOMIC_ACQUIRE)) {
        syscall(SYS_futex, &h->done, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    }
    return h->result;
}

static void put_u32(const struct lu_process *p, uint64_t addr, uint32_t value)
{
    lu_copy_to_guest(p, addr, &value, sizeof(value)); /* the kernel too ignores a bad address */
}

/* The new task's own part of the flags, once it is there. */
static void set_up_child(struct lu_thread *t, const struct lu_clone *c)
{
    const struct lu_abi *abi = t->process->abi;

    abi->set_clone_result(t->cpu, c->stack);
    if (c->flags & CLONE_SETTLS) {
        abi->set_tls(t->cpu, c->tls);
    }
    if (c->flags & CLONE_CHILD_SETTID) {
        put_u32(t->process, c->child_tid, (uint32_t)t->tid);
    }
    t->clear_child_tid = c->flags & CLONE_CHILD_CLEARTID ? c->child_tid : 0;
}

/* In a new process with signal actions of its own: what is the default depends on the process. */
static void set_up_actions(struct lu_process *p, const struct lu_clone *c)
{
    bool clear = c->flags & CLONE_CLEAR_SIGHAND;

    if (!clear && !p->shares_memory && getpid() != 1) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    for (int sig = 1; clear && sig <= LU_NSIG; sig++) {
        if (p->actions[sig].handler > 1) {
            p->actions[sig] = (struct lu_sigaction){0};
            lu_host_apply_action(p, sig);
        }
    }
    lu_host_apply_defaults(p);
    pthread_mutex_unlock(&p->lock);
}

static bool make_host_thread(struct lu_process *p, void *(*fn)(void *), void *arg)
{
    enum { SIGSETXID = 33 };
    pthread_attr_t attr;
    pthread_t thread;
    int error;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, HOST_STACK_SIZE);
    error = pthread_create(&thread, &attr, fn, arg);
    pthread_attr_destroy(&attr);
    /* With its first thread the C library takes this signal for itself. */
    pthread_mutex_lock(&p->lock);
    lu_host_apply_action(p, SIGSETXID);
    pthread_mutex_unlock(&p->lock);
    return error == 0;
}

static void free_thread(struct lu_thread *t)
{
    lu_seccomp_release(t);
    lu_thread_free(t);
}

/* ---- Threads ---- */

struct thread_start {
    struct lu_thread *thread;
    const struct lu_clone *clone;
    struct handshake hs;
};

/* A thread of the C library's shares everything; what the guest wants for itself is split off. */
static int unshare_more(const struct lu_clone *c)
{
    const uint64_t shared = CLONE_FILES | CLONE_FS | CLONE_SYSVSEM;
    uint64_t flags =
        (~c->flags & shared) |
        (c->flags & (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP));

    return flags && syscall(SYS_unshare, flags) < 0 ? -errno : 0;
}

static int put_pidfd(const struct lu_process *p, uint64_t addr, pid_t tid)
{
    int fd = (int)syscall(SYS_pidfd_open, tid, PIDFD_THREAD);

    if (fd < 0) {
        return -errno;
    }
    if (lu_copy_to_guest(p, addr, &fd, sizeof(fd)) < 0) {
        close(fd);
        return -EFAULT;
    }
    return 0;
}

static void *thread_main(void *opaque)
{
    struct thread_start *start = opaque;
    const struct lu_clone *c = start->clone;
    struct lu_thread *t = start->thread;
    struct lu_process *p = t->process;
    struct lu_thread_user user;
    int error;

    lu_thread_attach(t);
    error = unshare_more(c);
    if (!error && (c->flags & CLONE_PIDFD)) {
        error = put_pidfd(p, c->pidfd, t->tid);
    }
    if (error) {
        lu_thread_detach(t);
        free_thread(t);
        handshake_finish(&start->hs, error);
        return NULL;
    }
    set_up_child(t, c);
    if (c->flags & CLONE_PARENT_SETTID) {
        put_u32(p, c->parent_tid, (uint32_t)t->tid);
    }
    lu_thread_list_add(t);
    handshake_finish(&start->hs, t->tid); /* the parent goes on: *start and *c are gone */

    lu_apply_mask(t);
    lu_thread_run(t);

    /* All signals are blocked again: lu_exit_thread. */
    lu_thread_list_remove(t);
    user = lu_thread_take_user(t);
    lu_thread_detach(t);
    free_thread(t);
    lu_thread_release_user(p, &user);
    return NULL;
}

static int64_t clone_thread(struct lu_thread *t, const struct lu_clone *c)
{
    struct thread_start start = {.clone = c};
    lu_sigset mask;
    int64_t result;

    if (c->flags & (CLONE_VFORK | CLONE_INTO_CGROUP) || c->n_set_tid) {
        return -EINVAL; /* a host thread can't be made so */
    }
    start.thread = lu_thread_new(t->process, t);
    if (!start.thread) {
        return -EAGAIN;
    }
    mask = lu_host_block_signals();
    pthread_rwlock_rdlock(&t->process->fork_lock);
    lu_seccomp_inherit(start.thread, t);
    if (make_host_thread(t->process, thread_main, &start)) {
        result = handshake_wait(&start.hs);
    } else {
        free_thread(start.thread);
        result = -EAGAIN;
    }
    pthread_rwlock_unlock(&t->process->fork_lock);
    lu_host_set_mask(mask);
    return result;
}

/* ---- The kernel's clone ---- */

/* Arguments for the kernel: SYS_clone, or SYS_clone3 with *c3 for what only that can do. [stack] is
 * the host's, NULL for fork's way. [pid] gets the child's id before it starts, [pidfd] a
 * descriptor. */
struct kernel_clone {
    long nr;
    long args[5];
    struct clone_args c3;
};

static void kernel_clone_init(struct kernel_clone *k, const struct lu_clone *c, uint64_t flags,
                              void *stack, size_t stack_size, pid_t *pid, int *pidfd)
{
    memset(k, 0, sizeof(*k));
    if (pid) {
        flags |= CLONE_PARENT_SETTID;
    }
    if (flags >> 32 || c->n_set_tid || (flags & (CLONE_PIDFD | CLONE_NEWTIME))) {
        k->nr = SYS_clone3;
        k->c3.flags = flags;
        k->c3.pidfd = (uintptr_t)pidfd;
        k->c3.parent_tid = (uintptr_t)pid;
        k->c3.exit_signal = (unsigned)c->exit_signal;
        k->c3.stack = (uintptr_t)stack;
        k->c3.stack_size = stack_size;
        k->c3.set_tid = c->n_set_tid ? (uintptr_t)c->set_tid : 0;
        k->c3.set_tid_size = c->n_set_tid;
        k->c3.cgroup = flags & CLONE_INTO_CGROUP ? (unsigned)c->cgroup : 0;
        k->args[0] = (long)&k->c3;
        k->args[1] = sizeof(k->c3);
    } else {
        k->nr = SYS_clone;
        k->args[0] = (long)(flags | (unsigned)c->exit_signal);
        k->args[1] = stack ? (long)((char *)stack + stack_size) : 0;
        k->args[2] = (long)pid;
    }
}

/* ---- Processes with memory of their own ---- */

static void fork_lock_all(struct lu_process *p)
{
    pthread_rwlock_wrlock(&p->fork_lock);
    if (p->gdb) {
        lu_gdb_before_fork(p);
    }
    pthread_mutex_lock(&p->lock);
    lu_mm_before_fork(p->mm);
    dbt_before_fork(p->dbt);
    if (p->options->log_file) {
        fflush(p->options->log_file); /* or both processes would write what is buffered */
    }
}

static void fork_unlock_parent(struct lu_thread *t)
{
    struct lu_process *p = t->process;

    dbt_after_fork(p->dbt, t->cpu, false);
    lu_mm_after_fork(p->mm, false);
    pthread_mutex_unlock(&p->lock);
    if (p->gdb) {
        lu_gdb_after_fork(p, false);
    }
    pthread_rwlock_unlock(&p->fork_lock);
}

static void fork_unlock_child(struct lu_thread *t)
{
    struct lu_process *p = t->process;
    struct lu_thread *others = p->threads;

    t->tid = (pid_t)syscall(SYS_gettid);
    t->host_thread = pthread_self();
    t->vfork_child = false;
    t->robust_list = t->robust_list_size = 0;
    dbt_after_fork(p->dbt, t->cpu, true);
    lu_mm_after_fork(p->mm, true);
    /* New locks: the C library's remember the thread's old id. */
    pthread_mutex_init(&p->lock, NULL);
    pthread_rwlock_init(&p->fork_lock, NULL);
    p->shares_memory = false;
    p->threads = t;
    p->n_threads = 1;
    while (others) {
        struct lu_thread *next = others->next;

        if (others != t) {
            others->cpu = NULL; /* dbt_after_fork has freed it */
            free_thread(others);
        }
        others = next;
    }
    t->next = NULL;
    if (p->gdb) {
        lu_gdb_after_fork(p, true);
    }
}

/* The kernel's clone with the same care that the C library's fork takes of its own locks. */
static long raw_fork(struct lu_process *p, const struct kernel_clone *k)
{
    FILE *log = p->options->log_file;
    long pid;

    if (log) {
        flockfile(log);
    }
    if (__malloc_fork_lock_parent) {
        __malloc_fork_lock_parent();
    }
    pid = syscall(k->nr, k->args[0], k->args[1], k->args[2], 0, 0);
    if (pid < 0) {
        pid = -errno;
    }
    if (pid == 0 && __malloc_fork_unlock_child) {
        __malloc_fork_unlock_child();
    } else if (pid != 0 && __malloc_fork_unlock_parent) {
        __malloc_fork_unlock_parent();
    }
    if (log) {
        funlockfile(log);
    }
    return pid;
}

/* CLONE_VFORK without CLONE_VM: the parent waits until the child's copy of this pipe closes. */
static int open_vfork_pipe(int fds[2])
{
    enum { HIGH_FD = 500 };
    int high;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -errno;
    }
    high = fcntl(fds[1], F_DUPFD_CLOEXEC, HIGH_FD); /* out of the guest's way, if it can be */
    if (high >= 0) {
        close(fds[1]);
        fds[1] = high;
    }
    return 0;
}

static void wait_vfork_pipe(const int fds[2])
{
    char byte;
    ssize_t n;

    close(fds[1]);
    do {
        n = read(fds[0], &byte, 1);
    } while (n < 0 && errno == EINTR);
    close(fds[0]);
}

static int64_t clone_process(struct lu_thread *t, const struct lu_clone *c)
{
    uint64_t flags = c->flags & ~(OWN_FLAGS | CLONE_VFORK);
    struct lu_process *p = t->process;
    int pidfd = -1, pipe_fds[2] = {-1, -1};
    struct kernel_clone k;
    lu_sigset mask;
    long pid;
    int error;

    if ((c->flags & CLONE_VFORK) && (error = open_vfork_pipe(pipe_fds)) < 0) {
        return error;
    }
    kernel_clone_init(&k, c, flags, NULL, 0, NULL, &pidfd);
    mask = lu_host_block_signals();
    fork_lock_all(p);
    if (flags == 0 && c->exit_signal == SIGCHLD && !c->n_set_tid) {
        pid = fork();
        pid = pid < 0 ? -errno : pid;
    } else {
        pid = raw_fork(p, &k);
    }
    if (pid == 0) {
        lu_signals_drop_pending(t);
        fork_unlock_child(t);
        set_up_child(t, c);
        set_up_actions(p, c);
        if (pipe_fds[0] >= 0) {
            close(pipe_fds[0]);
        }
        lu_apply_mask(t);
        return 0;
    }
    fork_unlock_parent(t);
    lu_host_set_mask(mask);
    if (pid > 0 && (c->flags & CLONE_PARENT_SETTID)) {
        put_u32(p, c->parent_tid, (uint32_t)pid);
    }
    if (pid > 0 && (c->flags & CLONE_PIDFD)) {
        put_u32(p, c->pidfd, (uint32_t)pidfd);
    }
    if (pipe_fds[0] >= 0) {
        wait_vfork_pipe(pipe_fds);
    }
    return pid;
}

/* ---- Processes that share memory ---- */

struct vm_child {
    struct lu_thread *thread;
    struct lu_clone clone;
    struct lu_process *process; /* copy that the child owns; NULL: it shares its parent's */
    void *stack;
    pid_t pid; /* as the parent sees it; written by the kernel */
    int pidfd;
    struct handshake *hs;
};

/* A process's copy for a child: same memory and translator, its own threads and actions. */
static struct lu_process *copy_process(struct lu_process *p)
{
    struct lu_process *copy = g_try_new(struct lu_process, 1);

    if (copy) {
        pthread_mutex_lock(&p->lock);
        *copy = *p;
        pthread_mutex_unlock(&p->lock);
        pthread_mutex_init(&copy->lock, NULL);
        pthread_rwlock_init(&copy->fork_lock, NULL);
        copy->threads = NULL;
        copy->n_threads = 0;
        copy->gdb = NULL;
        copy->shares_memory = true;
    }
    return copy;
}

static void vm_child_free(struct vm_child *v)
{
    if (v->stack) {
#ifdef NANDU_SANITIZE
        /* If it was killed its marks are left, for whoever gets these addresses next. */
        ASAN_UNPOISON_MEMORY_REGION(v->stack, HOST_STACK_SIZE);
#endif
        munmap(v->stack, HOST_STACK_SIZE);
    }
    if (v->thread) {
        free_thread(v->thread);
    }
    if (v->process) {
        pthread_mutex_destroy(&v->process->lock);
        pthread_rwlock_destroy(&v->process->fork_lock);
        g_free(v->process);
    }
    g_free(v);
}

static struct vm_child *vm_child_new(struct lu_thread *t, const struct lu_clone *c)
{
    struct vm_child *v = g_try_new0(struct vm_child, 1);
    bool share = c->flags & CLONE_SIGHAND;

    if (!v) {
        return NULL;
    }
    v->clone = *c;
    v->stack = mmap(NULL, HOST_STACK_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (v->stack == MAP_FAILED) {
        v->stack = NULL;
    }
    v->process = share ? NULL : copy_process(t->process);
    if (v->stack && (share || v->process)) {
        v->thread = lu_thread_new(share ? t->process : v->process, t);
    }
    if (!v->thread) {
        vm_child_free(v);
        return NULL;
    }
    lu_seccomp_inherit(v->thread, t);
    v->thread->vfork_child = true;
    v->thread->cpu->no_debug = true; /* of the parent's breakpoints it knows nothing */
    v->thread->altstack = t->altstack;
    if (!(c->flags & CLONE_VFORK)) {
        v->thread->altstack = (stack_t){.ss_flags = SS_DISABLE};
    }
    return v;
}

static void vm_child_main(void *opaque)
{
    struct vm_child *v = opaque;
    struct lu_thread *t = v->thread;

    lu_thread_attach(t);
    lu_thread_list_add(t);
    if (v->process) {
        set_up_actions(v->process, &v->clone);
    }
    set_up_child(t, &v->clone);
    if (v->clone.flags & CLONE_PARENT_SETTID) {
        put_u32(t->process, v->clone.parent_tid, (uint32_t)v->pid);
    }
    if (v->clone.flags & CLONE_PIDFD) {
        put_u32(t->process, v->clone.pidfd, (uint32_t)v->pidfd);
    }
    if (v->hs) {
        handshake_finish(v->hs, v->pid);
    }
    lu_apply_mask(t);
    lu_thread_run(t);
}

/* Makes the child and returns when it has ended or executes a program. All signals are blocked. */
static int64_t vm_child_run(struct vm_child *v)
{
    uint64_t flags = (v->clone.flags & ~OWN_FLAGS) | CLONE_VM | CLONE_VFORK;
    struct lu_thread *maker = lu_current(), *t = v->thread;
    struct lu_process *p = t->process;
    struct lu_thread_user user;
    struct kernel_clone k;
    long pid;

    kernel_clone_init(&k, &v->clone, flags, v->stack, HOST_STACK_SIZE, &v->pid, &v->pidfd);
    pid = lu_clone_call(k.nr, k.args, vm_child_main, v);
    lu_set_current(maker);
    if (pid < 0) {
        return pid;
    }
    dbt_vcpu_died(t->cpu, v->stack, HOST_STACK_SIZE);
    lu_thread_list_remove(t);
    user = lu_thread_take_user(t);
    lu_thread_release_user(p, &user);
    if (p->n_threads && v->process) {
        v->process = NULL; /* the child made threads of its own, which may use it still */
    }
    return pid;
}

static void *carrier_main(void *opaque)
{
    struct vm_child *v = opaque;
    struct handshake *hs = v->hs;
    int64_t result = vm_child_run(v);

    vm_child_free(v);
    if (result < 0) {
        handshake_finish(hs, result);
    }
    return NULL;
}

static int64_t clone_sharing_memory(struct lu_thread *t, const struct lu_clone *c)
{
    struct vm_child *v = vm_child_new(t, c);
    struct handshake hs = {0};
    lu_sigset mask;
    int64_t result;

    if (!v) {
        return -EAGAIN;
    }
    mask = lu_host_block_signals();
    if (c->flags & CLONE_VFORK) {
        result = vm_child_run(v);
        vm_child_free(v);
    } else {
        v->hs = &hs;
        if (make_host_thread(t->process, carrier_main, v)) {
            result = handshake_wait(&hs);
        } else {
            vm_child_free(v);
            result = -EAGAIN;
        }
    }
    lu_host_set_mask(mask);
    return result;
}

/* ---- All of them ---- */

static bool valid_flags(uint64_t f)
{
    if ((f & CLONE_THREAD) && !(f & CLONE_SIGHAND)) {
        return false;
    }
    if ((f & CLONE_SIGHAND) && !(f & CLONE_VM)) {
        return false;
    }
    if ((f & CLONE_FS) && (f & (CLONE_NEWNS | CLONE_NEWUSER))) {
        return false;
    }
    if ((f & CLONE_THREAD) && (f & (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWTIME))) {
        return false;
    }
    return !((f & CLONE_SIGHAND) && (f & CLONE_CLEAR_SIGHAND));
}

int64_t lu_do_clone(struct lu_thread *t, const struct lu_clone *c)
{
    if (!valid_flags(c->flags)) {
        return -EINVAL;
    }
    if (c->flags & CLONE_THREAD) {
        return clone_thread(t, c);
    }
    if (c->flags & CLONE_VM) {
        return clone_sharing_memory(t, c);
    }
    return clone_process(t, c);
}

int64_t lu_clone(struct lu_thread *t, uint64_t flags, uint64_t stack, uint64_t parent_tid,
                 uint64_t child_tid, uint64_t tls, uint64_t pidfd, int exit_signal)
{
    const struct lu_clone c = {
        .flags = flags,
        .exit_signal = exit_signal,
        .stack = stack,
        .parent_tid = parent_tid,
        .child_tid = child_tid,
        .tls = tls,
        .pidfd = pidfd,
    };

    return lu_do_clone(t, &c);
}
