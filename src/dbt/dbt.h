/*
 * The translator: runs vCPUs by translating guest code to host code.
 *
 * One struct dbt serves all vCPUs that share an address space and a guest architecture. The code
 * cache is shared; dbt_run is called by each vCPU's own thread.
 */
#ifndef NANDU_DBT_DBT_H
#define NANDU_DBT_DBT_H

#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dbt/guest.h"
#include "dbt/vcpu.h"

struct dbt;
struct mmu_ops;

enum dbt_log {
    DBT_LOG_IN_ASM = 1,
    DBT_LOG_OP = 2,      /* IR as lifted */
    DBT_LOG_OP_OPT = 4,  /* IR after the passes */
    DBT_LOG_OUT_ASM = 8,
    DBT_LOG_EXEC = 16,   /* each entry into translated code from C */
    DBT_LOG_CPU = 32,    /* registers before it; needs guest_arch.dump */
    DBT_LOG_FPU = 64,    /* with those for floating point */
};

struct dbt_config {
    const struct guest_arch *arch;
    uint64_t guest_base;       /* host address = guest address + guest_base */
    size_t cache_size;         /* bytes; 0: default */
    bool interpreter;          /* run the IR interpreter instead of host code */
    bool lockstep;             /* run both on each block and compare the results */
    unsigned flush_every;      /* stress: flush the cache every n blocks; 0: off */
    bool poll_always;          /* stress: leave translated code at every poll */
    bool far_paths;            /* stress: take the out-of-line paths where there is a choice */
    bool one_insn;             /* one guest instruction per block */
    bool no_chain;
    bool verify;               /* check the IR of each block; an error of ours ends the process */
    unsigned max_insns;        /* per block; 0: default */
    unsigned log;              /* enum dbt_log bits */
    FILE *log_file;            /* borrowed; NULL: stderr */
    bool perf_map;             /* write /tmp/perf-PID.map */
    bool jitdump;              /* write ./jit-PID.dump */

    /* System mode (mmu.h); borrowed. Then guest_base and fetch are not used, and of what is declared
     * below fork, intrinsics and restartable sections are not for it. */
    const struct mmu_ops *mmu;

    /* Guest code: copies up to [size] bytes at [pc]; returns how many are mapped executable (0:
     * fetch fault). *stable (never NULL) says that the bytes can't change without a call to
     * dbt_invalidate: not writable and not a shared mapping. Called with the translator's lock
     * held: must not call back into dbt. */
    size_t (*fetch)(void *opaque, uint64_t pc, void *buf, size_t size, bool *stable);
    void *opaque;
};

/* What is logged of the guest's code; NULL: all. By the vCPUs' threads. */
typedef bool dbt_log_filter(const void *opaque, uint64_t pc);

/* NULL and *error if the host lacks what the translator needs or memory for the cache. */
struct dbt *dbt_new(const struct dbt_config *config, GError **error);
void dbt_free(struct dbt *dbt);

/*
 * Changes log, log_file and no_chain of the configuration, and what is logged. While no vCPU runs.
 */
void dbt_set_log(struct dbt *dbt, unsigned log, FILE *file, bool no_chain, dbt_log_filter *filter,
                 const void *opaque);

/* A vCPU of the dbt's architecture, reset, not running: the caller sets registers and pc. [model]
 * must outlive it. dbt_vcpu_free may be called by any thread when the vCPU doesn't run. */
struct vcpu *dbt_vcpu_new(struct dbt *dbt, const void *model);
void dbt_vcpu_free(struct vcpu *cpu);

/* Run until something needs the caller. Never returns the reasons marked internal. */
enum vcpu_exit dbt_run(struct vcpu *cpu);

/* A task that ran [cpu] on the given host stack, and shared all memory with the caller, is gone; it
 * may have been killed anywhere. Takes back what it held. Call it before dbt_vcpu_free. */
void dbt_vcpu_died(struct vcpu *cpu, const void *stack, size_t size);

/* Guest code in [start, start + size) was changed, unmapped or lost its execute permission. (System
 * mode has dbt_invalidate_phys for what was changed.) */
void dbt_invalidate(struct dbt *dbt, uint64_t start, uint64_t size);
/* Guest code anywhere may have been changed where it isn't stable (fence.i). Also for a reset in system
 * mode, after memory was loaded anew: any thread, when the vCPUs don't run. */
void dbt_invalidate_unstable(struct dbt *dbt);

/*
 * For the SIGSEGV/SIGBUS handler. If the host pc of [ucontext] is in translated code, makes the
 * vCPU's registers exact, changes [ucontext] so that returning from the handler makes dbt_run
 * return VCPU_EXIT_FAULT, and returns true; vcpu.fault_addr is the guest address, fault_kind and
 * fault_access are derived from [info] and [ucontext]. Also true, without a fault for the guest, if
 * it was the return-prediction stack's guard page. False: not the guest's fault.
 * Async-signal-safe.
 */
bool dbt_handle_fault(struct vcpu *cpu, const siginfo_t *info, void *ucontext);

/* Around fork: before takes the locks, after releases them; in the child only the calling thread's
 * vCPU remains (the others are freed) and the cache becomes the child's own, with or without what
 * was translated. */
void dbt_before_fork(struct dbt *dbt);
void dbt_after_fork(struct dbt *dbt, struct vcpu *cpu, bool child);

/* Debugger: VCPU_EXIT_DEBUG before the instruction at [pc] is executed. */
void dbt_breakpoint_add(struct dbt *dbt, uint64_t pc);
void dbt_breakpoint_remove(struct dbt *dbt, uint64_t pc);
/* VCPU_EXIT_DEBUG after the access, with vcpu.fault_addr and fault_access saying which. [access]
 * VCPU_READ, VCPU_WRITE, or -1 for both. While there is a watchpoint, vCPUs run in the interpreter.
 * System mode: before the access (and its instruction), which is how hardware and gdb have it on
 * RISC-V and Arm; only pages with a watchpoint are slower; to be called while no vCPU runs. */
void dbt_watchpoint_add(struct dbt *dbt, uint64_t addr, uint64_t size, int access);
void dbt_watchpoint_remove(struct dbt *dbt, uint64_t addr, uint64_t size, int access);

/* At [pc] (the entry of a guest function) run [helper] instead of guest code, then return by
 * [return_reg]. The helper has IR_HELPER_SYNC. Used for the vDSO. */
void dbt_add_intrinsic(struct dbt *dbt, uint64_t pc, const struct ir_helper *helper,
                       unsigned return_reg);

/*
 * Restartable sections; section.h says how they work. The vCPU's thread has registered the word at
 * guest address vcpu.section.word with the host's kernel.
 *
 * From dbt_watch_words on, dbt_run returns VCPU_EXIT_WORD in front of a 64-bit store to the word.
 * (The interpreter always does.) It can't be undone; translated code is thrown away. Not to be
 * called from within dbt_run.
 */
void dbt_watch_words(struct dbt *dbt);
/* After VCPU_EXIT_WORD: do the instruction at pc, but if it makes that store (*stored) give the
 * value in place of making it. VCPU_EXIT_NONE, or what dbt_run may return. */
enum vcpu_exit dbt_section_store(struct vcpu *cpu, bool *stored, uint64_t *value);
/* From pc, which is in [start, end), to where it leaves that range, the guest's code is a section.
 * If the thread is preempted in it dbt_run returns VCPU_EXIT_RESTART. False: the word can't be
 * written. */
bool dbt_section_begin(struct vcpu *cpu, uint64_t start, uint64_t end);
/* No section from here on, if there was one; sets the word, false if it can't be written. */
bool dbt_section_end(struct vcpu *cpu, uint64_t word);

/* Sticky floating-point flags of a vCPU outside translated code, IR order. */
unsigned dbt_fp_flags_get(const struct vcpu *cpu);
void dbt_fp_flags_set(struct vcpu *cpu, unsigned flags);

/* Descriptors that the translator writes for perf, -1 for none; a fork doesn't change them. */
void dbt_perf_fds(const struct dbt *dbt, int fds[2]);
/* The process is about to end. */
void dbt_perf_finish(struct dbt *dbt);

struct dbt_stats {
    uint64_t blocks, guest_insns, guest_bytes, host_bytes, flushes, invalidations;
};
void dbt_get_stats(struct dbt *dbt, struct dbt_stats *stats);

#endif
