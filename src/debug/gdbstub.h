/*
 * A server of gdb's remote serial protocol, all-stop (GDB manual, appendix E). It knows packets,
 * not guests: what is debugged is a table of functions, one for user mode (linux_user/gdb.c) and,
 * with vCPUs for threads, one for a machine.
 *
 * All functions of the table are called by the thread that is in gdb_serve (or in a function of a
 * struct gdb_stub), and, except resume, interrupt, poll_stop, detach and kill, only while the
 * target is stopped. Threads are named by numbers above 0. Signals are Linux's generic numbers.
 */
#ifndef NANDU_DEBUG_GDBSTUB_H
#define NANDU_DEBUG_GDBSTUB_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gdb_stop_kind {
    GDB_STOP_SIGNAL, /* also a step done (SIGTRAP) and an interrupt (SIGINT) */
    GDB_STOP_SWBREAK,
    GDB_STOP_HWBREAK,
    GDB_STOP_WATCH, /* value = the address; for a write, read, or either */
    GDB_STOP_RWATCH,
    GDB_STOP_AWATCH,
    GDB_STOP_SYSCALL_ENTRY, /* value = its number */
    GDB_STOP_SYSCALL_RETURN,
    GDB_STOP_EXITED, /* value = exit status; nothing is left to debug */
    GDB_STOP_KILLED, /* signal = what killed it */
};

struct gdb_stop {
    enum gdb_stop_kind kind;
    unsigned signal;
    uint64_t thread;
    uint64_t value;
};

enum gdb_resume { GDB_STAY, GDB_CONTINUE, GDB_STEP };

struct gdb_action {
    uint64_t thread; /* 0 in the last one: threads that start later */
    enum gdb_resume resume;
    unsigned signal;     /* to deliver, 0 none */
    uint64_t start, end; /* GDB_STEP: go on stepping while pc is in [start, end) */
};

enum gdb_break { GDB_BREAK_SW, GDB_BREAK_HW, GDB_WATCH_WRITE, GDB_WATCH_READ, GDB_WATCH_ACCESS };

struct gdb_ops {
    uint64_t (*process_id)(void *opaque);
    /* Appends the threads' numbers (uint64_t). */
    void (*threads)(void *opaque, GArray *ids);
    /* What "info threads" shows of a thread: its name, or (may be NULL) a line in its place; both
     * g_malloc'ed. */
    char *(*thread_name)(void *opaque, uint64_t thread);
    char *(*thread_info)(void *opaque, uint64_t thread);

    /* The description of the target's registers (GDB manual, appendix G); g_malloc'ed. */
    char *(*target_xml)(void *opaque);
    /* Register numbers are below this; there may be gaps. */
    unsigned (*n_regs)(void *opaque);
    /* Those below this are what "g" and "G" move. */
    unsigned (*n_general_regs)(void *opaque);
    /* Value in target byte order to [buf] (16 bytes); its size, or 0 for a gap. */
    size_t (*read_reg)(void *opaque, uint64_t thread, unsigned reg, uint8_t *buf);
    /* [size] is what read_reg gives. */
    bool (*write_reg)(void *opaque, uint64_t thread, unsigned reg, const uint8_t *buf);

    /* How many bytes from the start could be read; whether all were written. */
    size_t (*read_memory)(void *opaque, uint64_t thread, uint64_t addr, void *buf, size_t size);
    bool (*write_memory)(void *opaque, uint64_t thread, uint64_t addr, const void *buf,
                         size_t size);
    bool (*insert)(void *opaque, enum gdb_break type, uint64_t addr, uint64_t size);
    bool (*remove)(void *opaque, enum gdb_break type, uint64_t addr, uint64_t size);

    void (*resume)(void *opaque, const struct gdb_action *actions, unsigned n);
    /* Stop the target soon; it reports [signal] unless something else stops it first. */
    void (*interrupt)(void *opaque, unsigned signal);
    /* True and *stop when the target has come to a stop that was not reported yet. Called whenever
     * the event descriptor of gdb_serve is readable; clears it. */
    bool (*poll_stop)(void *opaque, struct gdb_stop *stop);
    /* The debugger has gone: remove its break- and watchpoints and let the target run. */
    void (*detach)(void *opaque);
    void (*kill)(void *opaque);

    /* ---- May be NULL where a target has no such thing. ---- */

    /* An object of qXfer: "auxv", "exec-file", "siginfo"; NULL if there is none. */
    GBytes *(*object)(void *opaque, const char *name, uint64_t thread);
    /* [numbers]: of system calls to catch; n = 0: all. on = false: none any more. */
    void (*catch_syscalls)(void *opaque, bool on, const uint64_t *numbers, unsigned n);
    /* Signals (bit n-1 for signal n) that go to the target without a stop. */
    void (*pass_signals)(void *opaque, uint64_t mask);
    /* What "monitor [command]" prints; g_malloc'ed. NULL: no such command. */
    char *(*monitor)(void *opaque, const char *command);
    /* A general query or set packet (q, Q) that isn't known here. False: nor there; then reply
     * stays empty. */
    bool (*query)(void *opaque, const char *packet, GString *reply);
    /* A file of the target, open for reading: a descriptor or -errno. */
    int (*open_file)(void *opaque, const char *path);
    /* readlink(2) of the target's [path]: length or -errno. */
    int (*read_link)(void *opaque, const char *path, char *buf, size_t size);

    /* The target was there before the debugger, who leaves it when it quits. */
    bool attached;
};

enum gdb_end { GDB_END_LOST, GDB_END_DETACHED, GDB_END_KILLED, GDB_END_EXITED };

/*
 * Serve one debugger on the socket [fd] until it detaches, kills the target, or is gone, or the
 * target ends. The target must be stopping (the first stop is not sent; the debugger asks for it).
 * [event_fd] becomes readable when poll_stop is worth a call. Both stay the caller's. ops->detach
 * was called if the result is GDB_END_LOST or GDB_END_DETACHED, ops->kill if GDB_END_KILLED.
 */
enum gdb_end gdb_serve(const struct gdb_ops *ops, void *opaque, int fd, int event_fd);

/*
 * The same for a caller that has an event loop: one debugger's connection, over anything.
 * ops->detach and kill aren't called: that is for the caller to do, by what gdb_stub_end says.
 */
struct gdb_stub;
struct gdb_stub *gdb_stub_new(const struct gdb_ops *ops, void *opaque,
                              bool (*write)(void *opaque, const void *data, size_t size),
                              void *write_opaque);
void gdb_stub_free(struct gdb_stub *stub);
/* What came from the debugger. False: the connection is over. Not from within ops. */
bool gdb_stub_receive(struct gdb_stub *stub, const void *data, size_t size);
/* poll_stop is worth a call. False: the connection is over. Not from within ops. */
bool gdb_stub_poll(struct gdb_stub *stub);
/* Whether the debugger waits for a stop. */
bool gdb_stub_is_running(const struct gdb_stub *stub);
enum gdb_end gdb_stub_end(const struct gdb_stub *stub);

#endif
