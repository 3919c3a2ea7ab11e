/*
 * RISC-V harts of a machine: privileges, CSRs, traps, interrupts, address translation and
 * protection. Specification: RISC-V Privileged 20240411, with Sstc, Svadu, Svnapot, Svpbmt,
 * Svinval, Sscofpmf, Smstateen and Smepmp. The hypervisor extension isn't there.
 *
 * A board makes a struct dbt with riscv64_system_arch and riscv_system_mmu_ops, a vCPU for each
 * hart (dbt_vcpu_new), and calls riscv_system_init for it. The hart's thread then does, for ever,
 *
 *     switch (riscv_system_handle_exit(cpu, dbt_run(cpu))) ...
 *
 * Unless a function says otherwise it is called by the hart's thread, outside of dbt_run, or by
 * anybody while that thread doesn't run the hart.
 */
#ifndef NANDU_GUEST_RISCV_SYSTEM_H
#define NANDU_GUEST_RISCV_SYSTEM_H

#include "dbt/mmu.h"
#include "guest/riscv/riscv.h"

struct address_space;
struct log;

/* For dbt_config.arch and dbt_config.mmu. vcpu.model is a struct riscv_model. */
extern const struct guest_arch riscv64_system_arch;
extern const struct mmu_ops riscv_system_mmu_ops;

/* What a hart is connected to. The functions may be called from the hart's thread at any time. */
struct riscv_system_config {
    struct address_space *memory; /* guest-physical; must outlive the hart */
    struct log *log;              /* -d int, guest_errors; NULL: none */
    uint64_t hart_id;
    uint64_t reset_pc;

    /* CSR time: the ACLINT's mtime, in its ticks. */
    uint64_t (*time)(void *opaque);
    /* What cycle and instret count: nanoseconds of the virtual clock. */
    uint64_t (*nanoseconds)(void *opaque);
    /* From now on, riscv_timer_expired is to be called once time has reached this value;
     * UINT64_MAX: it isn't. Takes the place of the earlier request. */
    void (*arm_timer)(void *opaque, struct vcpu *cpu, uint64_t time);
    /* The same for a counter's overflow (Sscofpmf), in nanoseconds of the function above. */
    void (*arm_overflow)(void *opaque, struct vcpu *cpu, uint64_t nanoseconds);
    /* Any thread: the vCPU has just been kicked; if its thread sleeps (RISCV_RUN_WFI) it is to look
     * at riscv_has_pending_interrupt again. */
    void (*wake)(void *opaque, struct vcpu *cpu);
    void *opaque;
};

/* After dbt_vcpu_new: copies the configuration and resets the hart. */
void riscv_system_init(struct vcpu *cpu, const struct riscv_system_config *config);
/* Machine mode at reset_pc, registers and CSRs as the specification (3.4) and QEMU have them.
 * Levels of the interrupt pins stay: they belong to the devices. */
void riscv_system_reset(struct vcpu *cpu);
/* Where the next reset goes (a board that has no reset vector for a hart). */
void riscv_system_set_reset_pc(struct vcpu *cpu, uint64_t pc);

/* ---- Running ---- */

enum riscv_run {
    RISCV_RUN_GO_ON, /* call dbt_run again */
    RISCV_RUN_YIELD, /* the same, but the guest waits in a loop: others may be let run first */
    RISCV_RUN_WFI,   /* sleep until riscv_has_pending_interrupt says so (or there is another reason)
                      */
    RISCV_RUN_DEBUG, /* a debugger's matter: vcpu.pc, fault_addr, fault_access as dbt.h says */
};

/* What dbt_run returned: takes traps and interrupts. */
enum riscv_run riscv_system_handle_exit(struct vcpu *cpu, enum vcpu_exit reason);
/* Whether an interrupt is pending and enabled in mie, whatever mstatus says: what ends wfi (3.3.3).
 */
bool riscv_has_pending_interrupt(struct vcpu *cpu);

/* Pins, by their bit in mip. SSI is an edge: true sets mip.SSIP, which software clears. */
enum riscv_irq {
    RISCV_IRQ_SSI = 1,
    RISCV_IRQ_MSI = 3,
    RISCV_IRQ_STI = 5,
    RISCV_IRQ_MTI = 7,
    RISCV_IRQ_SEI = 9,
    RISCV_IRQ_MEI = 11,
};
/* Any thread. cpu is the struct vcpu *: an irq_line has this function, the vCPU and the bit. */
void riscv_set_irq(void *cpu, unsigned irq, bool level);
/* Any thread: the time that was asked for by arm_timer or arm_overflow is there (too early does no
 * harm). */
void riscv_timer_expired(struct vcpu *cpu);

/* ---- Looking in from outside: gdb, monitor, migration ---- */

/* The hart's privilege: 0 U, 1 S, 3 M. Setting another value does nothing. */
unsigned riscv_get_privilege(const struct vcpu *cpu);
void riscv_set_privilege(struct vcpu *cpu, unsigned privilege);
/* The name of a CSR (0-4095) that this hart has, which the caller frees; NULL if it has none there.
 */
char *riscv_csr_name(const struct vcpu *cpu, unsigned number);
/* As in machine mode, whatever the hart's mode is, without side effects of reading. False: there is
 * none, or (set) it is read-only. Setting obeys the register's own rules for legal values. */
bool riscv_csr_get(struct vcpu *cpu, unsigned number, uint64_t *value);
bool riscv_csr_set(struct vcpu *cpu, unsigned number, uint64_t value);
/* Where a load of the hart at vaddr would go now, without permission checks and without setting A
 * bits. */
bool riscv_debug_translate(struct vcpu *cpu, uint64_t vaddr, uint64_t *phys);

/* All of a hart's state but what struct riscv_vcpu says (r, f, pc): what is to be saved, in this
 * order. */
struct riscv_state_field {
    const char *name;
    uint32_t offset; /* in the vCPU's structure, of a uint64_t */
    uint32_t count;  /* elements */
};
extern const struct riscv_state_field riscv_state_fields[];
extern const size_t riscv_n_state_fields;
/* Before they are read (and after dbt_run); after they, r, f and pc were written from outside:
 * values that can't be are made legal. */
void riscv_state_before_save(struct vcpu *cpu);
void riscv_state_after_load(struct vcpu *cpu);

#endif
