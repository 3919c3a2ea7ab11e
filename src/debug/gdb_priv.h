/* Inside of the gdb server: one connection. */
#ifndef NANDU_DEBUG_GDB_PRIV_H
#define NANDU_DEBUG_GDB_PRIV_H

#include "debug/gdb_packet.h"
#include "debug/gdbstub.h"

enum { GDB_MAX_FILES = 16 };

struct gdb_stub {
    const struct gdb_ops *ops;
    void *opaque;
    struct gdb_conn conn;
    GString *packet;   /* being handled */
    GString *reply;    /* of it; sent after it */
    bool no_reply;     /* it gets none (now) */
    bool multiprocess; /* thread ids are pPID.TID */
    bool running;
    bool ended;
    enum gdb_end end;
    bool have_stop;           /* the first stop has come */
    struct gdb_stop stop;     /* the last one */
    uint64_t thread;          /* of Hg: registers and memory; 0: that of the last stop */
    int64_t run_thread;       /* of Hc: c and s; 0 any, -1 all */
    int files[GDB_MAX_FILES]; /* opened by vFile:open, -1 free */
};

/* Handler of a packet; [args] is what follows its name, NUL-terminated, [size] bytes. */
typedef void gdb_handler(struct gdb_stub *s, const char *args, size_t size);

/* The thread that registers and memory are read of. */
uint64_t gdb_current_thread(const struct gdb_stub *s);
void gdb_put_thread(const struct gdb_stub *s, GString *out, uint64_t thread);
/* A thread id; -1 all, 0 any. False if it isn't one, or of another process. */
bool gdb_get_thread(const struct gdb_stub *s, const char **text, int64_t *thread);
bool gdb_thread_exists(const struct gdb_stub *s, uint64_t thread);
void gdb_error(struct gdb_stub *s, unsigned number);

/* gdb_query.c */
gdb_handler gdb_query_supported, gdb_query_xfer, gdb_query_monitor, gdb_query_threads,
    gdb_query_more_threads, gdb_query_thread_info;
/* gdb_vfile.c */
gdb_handler gdb_vfile;
void gdb_vfile_close_all(struct gdb_stub *s);

#endif
