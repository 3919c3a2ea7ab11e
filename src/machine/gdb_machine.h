/* Inside of a machine's gdb server: its connection (gdb_server.c), what is debugged (gdb_target.c).
 */
#ifndef NANDU_MACHINE_GDB_MACHINE_H
#define NANDU_MACHINE_GDB_MACHINE_H

#include "accel/accel.h"
#include "dbt/mmu.h"
#include "debug/gdb_arch.h"
#include "debug/gdbstub.h"
#include "machine/gdb_server.h"
#include "machine/vm.h"
#include "util/event_loop.h"

/* Flags of a step ("qemu.sstep"). */
enum { GDB_SSTEP_ENABLE = 1, GDB_SSTEP_NO_IRQ = 2, GDB_SSTEP_NO_TIMER = 4 };

struct gdb_point {
    enum gdb_break type;
    uint64_t addr, size;
};

struct gdb_server {
    struct vm *vm;
    const struct chardev_context *chardevs;
    char *(*run_hmp)(void *opaque, const char *line);
    void *opaque;

    struct chardev *chr;    /* NULL: closed */
    struct gdb_stub *stub;  /* NULL: there is no debugger */
    struct accel *accel;    /* of the machine, while it is open */
    struct bottom_half *bh; /* a vCPU was held, or there is a stop to tell */
    GArray *points;         /* struct gdb_point */
    unsigned current;       /* vCPU of the last stop */
    bool has_stop;          /* which the stub hasn't asked for yet */
    struct gdb_stop stop;
    bool physical;  /* addresses of memory are guest-physical */
    unsigned sstep; /* GDB_SSTEP_* */
};

/* gdb_target.c. Opaque is the struct gdb_server. */
extern const struct gdb_ops gdb_machine_ops;
/* The machine has stopped by itself or for somebody else: makes server->stop of it. */
void gdb_machine_stopped(struct gdb_server *server);
/* All vCPUs go on as the guest has it; what held them is forgotten. */
void gdb_machine_release(struct gdb_server *server);
/* The machine goes on, unless it needs a reset first: then false. */
bool gdb_machine_continue(struct gdb_server *server);
void gdb_machine_remove_points(struct gdb_server *server);
/* Has server->stop told: the stub asks for it soon. */
void gdb_machine_tell(struct gdb_server *server, enum gdb_stop_kind kind, unsigned signal,
                      uint64_t value);

#endif
