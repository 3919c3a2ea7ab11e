/*
 * What runs a machine's vCPUs: a thread each, all of them running or all stopped. The board makes
 * an accelerator when its memory is there, and frees it before its devices.
 *
 * A vCPU's thread runs guest code, sleeps where the guest waits for an interrupt, and stands still
 * while the machine is stopped. Devices reach it by interrupt pins, which wake it; nothing is
 * locked around it.
 */
#ifndef NANDU_ACCEL_ACCEL_H
#define NANDU_ACCEL_ACCEL_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "dbt/dbt.h"
#include "util/auto.h"

struct address_space;
struct log;
struct mmu_ops;

enum accel_run {
    ACCEL_GO_ON,
    ACCEL_YIELD, /* the guest waits in a loop */
    ACCEL_SLEEP, /* until has_work says so */
    ACCEL_DEBUG, /* the vCPU has come to what a debugger waits for */
};

/* A guest's vCPUs, as an accelerator sees them. */
struct accel_guest {
    const struct guest_arch *arch;
    const struct mmu_ops *mmu;
    /* What dbt_run returned. */
    enum accel_run (*handle_exit)(struct vcpu *cpu, enum vcpu_exit reason);
    bool (*has_work)(struct vcpu *cpu);
    void (*reset)(struct vcpu *cpu);
};

struct accel_config {
    const struct accel_guest *guest;
    const void *model; /* of all vCPUs; outlives them */
    unsigned n_cpus;
    struct address_space *memory; /* guest-physical; outlives them */
    struct log *log;
    size_t cache_size; /* of translated code, bytes; 0: default */
    bool interpreter;  /* no host code is made */
    bool one_insn;     /* a block for each instruction */
};

struct accel;
/* Its vCPUs are stopped, and their threads are there. NULL and *error: the host has no memory for
 * them. */
struct accel *accel_new(const struct accel_config *config, GError **error);
/* Ends the threads. */
void accel_free(struct accel *accel);
DEFINE_AUTO_PTR(accel, accel_free)

struct vcpu *accel_cpu(struct accel *accel, unsigned index);
/* The host's id of its thread. */
pid_t accel_thread_id(struct accel *accel, unsigned index);

/* Main thread. stop returns when no vCPU runs any more; then their state may be read and written.
 */
void accel_start(struct accel *accel);
void accel_stop(struct accel *accel);
/* All vCPUs, which are stopped. */
void accel_reset(struct accel *accel);
/* Any thread: the vCPU has been kicked; if it sleeps it asks has_work again. */
void accel_wake(struct vcpu *cpu);

/*
 * Debugging, by the main thread. A vCPU that comes to a breakpoint, a watchpoint or the end of a
 * step is held and tells the debugger, who stops the others. Unless said otherwise: while the vCPUs
 * are stopped.
 */

/* How a vCPU goes on when vCPUs run. */
enum accel_mode {
    ACCEL_RUN,
    ACCEL_STEP, /* one instruction, then it is held. What would wait for an interrupt doesn't */
    ACCEL_HOLD,
};

enum accel_stop_kind { ACCEL_STOP_BREAKPOINT, ACCEL_STOP_WATCHPOINT, ACCEL_STOP_STEP };

struct accel_stop {
    enum accel_stop_kind kind;
    uint64_t address; /* of the watchpoint's access, virtual */
    enum vcpu_access access;
};

unsigned accel_n_cpus(const struct accel *accel);
/* For breakpoints, watchpoints and statistics. */
struct dbt *accel_dbt(struct accel *accel);
/* stopped is called by a vCPU's thread once it is held. NULL: nobody debugs. */
void accel_set_debugger(struct accel *accel, void (*stopped)(void *opaque), void *opaque);
/* ACCEL_STEP: goes on while pc is in [start, end); interrupts: they are taken meanwhile. */
void accel_set_mode(struct accel *accel, unsigned index, enum accel_mode mode, uint64_t start,
                    uint64_t end, bool interrupts);
/* Why the vCPU was held, until it is cleared; NULL: it wasn't. */
const struct accel_stop *accel_stop_of(const struct accel *accel, unsigned index);
void accel_clear_stop(struct accel *accel, unsigned index);
/* Whether the guest waits for an interrupt there. */
bool accel_is_halted(const struct accel *accel, unsigned index);

#endif
