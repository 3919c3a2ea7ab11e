/*
 * The debugger's hooks in user mode: what guest threads call so that gdb can stop, inspect and
 * resume them ("-g"). The protocol is in debug/gdbstub.h.
 *
 * All-stop: when one thread reports an event, every other thread is kicked and waits in one of
 * these hooks; a thread in a system call counts as stopped and waits when the call returns. The
 * connection is served by a host thread of its own, which never runs guest code.
 *
 * All hooks may be called only if process->gdb is not NULL, by the guest thread itself, without
 * process.lock, mm.lock or locks of the translator held (they block while the guest is stopped).
 * In a vfork child that borrows its parent's memory they do nothing.
 *
 * The loop of a thread:
 *
 *     if (p->gdb)
 *         lu_gdb_thread_start(t);                  once
 *     for (;;) {
 *         if (p->gdb)
 *             lu_gdb_thread_pause(t);              stop requests, steps done
 *         reason = dbt_run(t->cpu);
 *         case VCPU_EXIT_SYSCALL:
 *             if (p->gdb)
 *                 lu_gdb_syscall_entry(t, nr);     catch points; now "in a system call"
 *             result = lu_syscall(t, nr, args);
 *             set_result(...)
 *             if (p->gdb)
 *                 lu_gdb_syscall_return(t, nr);    also after LU_SIGRETURN and LU_ERESTART*
 *             lu_deliver_signals(...)              calls lu_gdb_signal before each signal
 *         case VCPU_EXIT_DEBUG:
 *             if (p->gdb)
 *                 lu_gdb_stop(t);
 *     }
 */
#ifndef NANDU_LINUX_USER_GDB_H
#define NANDU_LINUX_USER_GDB_H

#include "linux_user/linux_user.h"

/*
 * Listen at [where], a TCP port of localhost ("1234") or the path of a Unix socket (it has a '/';
 * "%d" stands for the process's id), and wait for a debugger. Then guest threads wait in
 * lu_gdb_thread_start until it resumes them. Call it once p->dbt and p->mm are there and before the
 * first guest thread runs; assign the result to p->gdb. NULL and *error if the address can't be
 * had.
 */
struct lu_gdb *lu_gdb_open(struct lu_process *p, const char *where, GError **error);

/* A new guest thread, on its list and ready to run (cpu, tid): registers it and waits if the guest
 * is stopped. */
void lu_gdb_thread_start(struct lu_thread *t);

/* The thread ends (but not the process): before it is freed. */
void lu_gdb_thread_exit(struct lu_thread *t);

/* Before each dbt_run: waits while the guest is stopped; reports a step that ended here. */
void lu_gdb_thread_pause(struct lu_thread *t);

/* dbt_run returned VCPU_EXIT_DEBUG: reports the breakpoint, watchpoint or step and waits. */
void lu_gdb_stop(struct lu_thread *t);

/* Before a signal is delivered to the guest (its handler, its default action, or ignored): reports
 * it and waits. Returns the signal to deliver: the same, or another, or 0 for none. */
int lu_gdb_signal(struct lu_thread *t, const siginfo_t *info);

/* Around each system call. */
void lu_gdb_syscall_entry(struct lu_thread *t, uint64_t nr);
void lu_gdb_syscall_return(struct lu_thread *t, uint64_t nr);

/* The process ends: tells the debugger and closes the connection. [status] is as of wait(2): the
 * exit status << 8, or the number of the signal that kills it. */
void lu_gdb_exit(struct lu_process *p, int status);

/* Around fork, with the other locks: before takes the lock of the hooks, after releases it. A child
 * runs without the debugger: its breakpoints are removed and p->gdb becomes NULL. */
void lu_gdb_before_fork(struct lu_process *p);
void lu_gdb_after_fork(struct lu_process *p, bool child);

#endif
