/*
 * Inside of linux_user's gdb support: gdb.c (the hooks), gdb_target.c (the target as the protocol's
 * server sees it), gdb_server.c (the connection).
 *
 * One lock guards everything here. Each guest thread that is not in a system call either runs or
 * waits on the condition variable. "stop" asks all to wait; "mode" says how a thread may go on when
 * that ends. The server's thread looks at registers and memory only while no thread runs.
 *
 * The lock comes before process.lock, mm.lock and the translator's.
 */
#ifndef NANDU_LINUX_USER_GDB_PRIV_H
#define NANDU_LINUX_USER_GDB_PRIV_H

#include "debug/gdb_arch.h"
#include "debug/gdbstub.h"
#include "linux_user/gdb.h"

enum lu_gdb_state { LU_GDB_RUNNING, LU_GDB_IN_SYSCALL, LU_GDB_WAITING };

struct lu_gdb_thread {
    struct lu_thread *t;
    enum lu_gdb_state state;
    enum gdb_resume mode;
    uint64_t step_start, step_end;
    bool step_done;        /* without dbt: by a system call, or a handler that was entered */
    bool has_event;        /* not reported yet */
    struct gdb_stop event; /* the last one */
    siginfo_t info;        /* that goes with it */
    bool in_signal;        /* waits in lu_gdb_signal for what to deliver */
    bool decided;          /* what to deliver is settled, though it may not have moved since */
    unsigned deliver;      /* the signal that the debugger lets through */
    unsigned expect;       /* one that it sent itself: not reported again */
};

struct lu_gdb_point {
    enum gdb_break type;
    uint64_t addr, size;
};

struct lu_gdb {
    struct lu_process *p;
    const struct gdb_arch *arch;
    pthread_mutex_t lock;
    pthread_cond_t cond; /* anything here has changed */
    int listen_fd, conn_fd, event_fd, mem_fd;
    char *socket_path;
    bool attached;
    bool stop;
    unsigned interrupt;       /* signal to report if nothing else stops the guest */
    enum gdb_resume new_mode; /* of threads that start */
    uint64_t last_thread;     /* of the last event */
    GPtrArray *threads;       /* struct lu_gdb_thread */
    GArray *points;           /* struct lu_gdb_point */
    unsigned n_watch;
    uint64_t pass; /* signals that aren't reported: bit n-1 */
    bool catch;
    GArray *catch_numbers; /* uint64_t; empty: all */
    bool exited, exit_told;
    int exit_status; /* as of wait(2) */
};

/* ---- gdb.c; all with the lock held ---- */

/* Tell guest threads and the server that something has changed. */
void lu_gdb_notify(struct lu_gdb *g);
/* Ask every thread to wait. */
void lu_gdb_stop_all(struct lu_gdb *g);
struct lu_gdb_thread *lu_gdb_find_tid(struct lu_gdb *g, uint64_t tid);
/* The breakpoint at [pc]; NULL. */
const struct lu_gdb_point *lu_gdb_find_point(const struct lu_gdb *g, uint64_t pc);

/* ---- gdb_target.c; opaque is a struct lu_gdb ---- */

extern const struct gdb_ops lu_gdb_ops;
/* Take a point back; with the lock held. */
void lu_gdb_remove_point(struct lu_gdb *g, unsigned index);

/* ---- gdb_server.c ---- */

/* Close and free everything; no other thread may use it any more. */
void lu_gdb_free(struct lu_gdb *g);

#endif
