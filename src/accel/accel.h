/*
 * What runs a machine's vCPUs: a thread each, all of them running or all stopped. The board makes an
 * accelerator when its memory is there, and frees it before its devices.
 *
 * A vCPU's thread runs guest code, sleeps where the guest waits for an interrupt, and stands still while
 * the machine is stopped. Devices reach it by interrupt pins, which wake it; nothing is locked around it.
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
    ACCEL_YIELD,    /* the guest waits in a loop */
    ACCEL_SLEEP,    /* until has_work says so */
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
    const void *model;              /* of all vCPUs; outlives them */
    unsigned n_cpus;
    struct address_space *memory;   /* guest-physical; outlives them */
    struct log *log;
    size_t cache_size;              /* of translated code, bytes; 0: default */
    bool interpreter;               /* no host code is made */
    bool one_insn;                  /* a block for each instruction */
};

struct accel;
/* Its vCPUs are stopped, and their threads are there. NULL and *error: the host has no memory for it. */
struct accel *accel_new(const struct accel_config *config, GError **error);
/* Ends the threads. */
void accel_free(struct accel *accel);
DEFINE_AUTO_PTR(accel, accel_free)

struct vcpu *accel_cpu(struct accel *accel, unsigned index);
/* The host's id of its thread. */
pid_t accel_thread_id(struct accel *accel, unsigned index);

/* Main thread. stop returns when no vCPU runs any more; then their state may be read and written. */
void accel_start(struct accel *accel);
void accel_stop(struct accel *accel);
/* All vCPUs, which are stopped. */
void accel_reset(struct accel *accel);
/* Any thread: the vCPU has been kicked; if it sleeps it asks has_work again. */
void accel_wake(struct vcpu *cpu);

#endif
