/*
 * Guest threads and processes: what thread.c, clone.c, futex.c, exec.c and sys_thread.c share.
 * Private to linux_user.
 */
#ifndef NANDU_LINUX_USER_THREADS_H
#define NANDU_LINUX_USER_THREADS_H

#include "linux_user/linux_user.h"

/* Everything that clone and clone3 can ask for; addresses are the guest's. */
struct lu_clone {
    uint64_t flags; /* CLONE_*, without the exit signal */
    int exit_signal;
    uint64_t stack; /* stack pointer of the child; 0: as the parent's */
    uint64_t parent_tid, child_tid, tls;
    uint64_t pidfd;      /* where CLONE_PIDFD puts the descriptor */
    int cgroup;          /* CLONE_INTO_CGROUP */
    int32_t set_tid[32]; /* PIDs asked for, innermost namespace first */
    unsigned n_set_tid;
};

/* The call itself: the child's id for the parent, 0 in a new process, or -errno. */
int64_t lu_do_clone(struct lu_thread *t, const struct lu_clone *c);

/* ---- thread.c ---- */

/* A thread with a vCPU whose guest state is a copy of [parent]'s (or reset, if NULL), not yet on a
 * list. NULL: no memory. */
struct lu_thread *lu_thread_new(struct lu_process *p, const struct lu_thread *parent);
/* Frees it; it must be off the list and its host thread must not run guest code. */
void lu_thread_free(struct lu_thread *t);
/* Make [t] the calling host thread's. NULL: none. */
void lu_set_current(struct lu_thread *t);
/* For a new host thread or task: take over the alternate stack for host signal handlers. */
void lu_thread_attach(struct lu_thread *t);
void lu_thread_detach(struct lu_thread *t);
void lu_thread_list_add(struct lu_thread *t);
void lu_thread_list_remove(struct lu_thread *t);
/* Run guest code until the thread ends: returns only to a host thread that was made for it (others
 * end in lu_exit_thread). */
void lu_thread_run(struct lu_thread *t);
/* What the kernel does for a thread that ends: robust futexes, then clear_child_tid. Called once
 * for a thread, by itself or by who outlives it. */
struct lu_thread_user {
    uint64_t robust_list, clear_child_tid;
    pid_t tid;
};
struct lu_thread_user lu_thread_take_user(struct lu_thread *t);
void lu_thread_release_user(const struct lu_process *p, const struct lu_thread_user *u);

/* ---- futex.c ---- */

/* Walk a robust list as the kernel does when thread [tid] ends: mark what it holds as owner-died
 * and wake a waiter. [head] 0: none. */
void lu_robust_list_exit(const struct lu_process *p, uint64_t head, pid_t tid);
/* FUTEX_WAKE (not private) of one waiter at a guest address. */
void lu_futex_wake_one(const struct lu_process *p, uint64_t addr);
/* Let the kernel walk the thread's robust list if the process is killed, where it can: when guest
 * addresses are the host's. [head] 0: none. 0 or -errno. */
int lu_host_robust_list(const struct lu_process *p, uint64_t head);

/* ---- exec.c ---- */

/* Once per process, before the guest runs: keeps a way to execute Nandu itself after a chroot. */
void lu_exec_init(struct lu_process *p);

#endif
