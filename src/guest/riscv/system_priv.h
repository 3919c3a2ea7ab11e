/*
 * Shared by the files that make up a hart of a machine (system.c, trap.c, csr.c, counters.c, mmu.c,
 * pmp.c, lift_system.c); not for anybody else.
 */
#ifndef NANDU_RISCV_SYSTEM_PRIV_H
#define NANDU_RISCV_SYSTEM_PRIV_H

#include <stddef.h>

#include "guest/riscv/riscv_system.h"

enum riscv_priv { PRIV_U = 0, PRIV_S = 1, PRIV_M = 3 };

/* mstatus (3.1.6) */
#define MSTATUS_SIE  (UINT64_C(1) << 1)
#define MSTATUS_MIE  (UINT64_C(1) << 3)
#define MSTATUS_SPIE (UINT64_C(1) << 5)
#define MSTATUS_MPIE (UINT64_C(1) << 7)
#define MSTATUS_SPP  (UINT64_C(1) << 8)
#define MSTATUS_MPP  (UINT64_C(3) << 11)
#define MSTATUS_FS   (UINT64_C(3) << 13)
#define MSTATUS_MPRV (UINT64_C(1) << 17)
#define MSTATUS_SUM  (UINT64_C(1) << 18)
#define MSTATUS_MXR  (UINT64_C(1) << 19)
#define MSTATUS_TVM  (UINT64_C(1) << 20)
#define MSTATUS_TW   (UINT64_C(1) << 21)
#define MSTATUS_TSR  (UINT64_C(1) << 22)
#define MSTATUS_UXL  (UINT64_C(2) << 32)
#define MSTATUS_SXL  (UINT64_C(2) << 34)
#define MSTATUS_SD   (UINT64_C(1) << 63)
enum { MSTATUS_MPP_SHIFT = 11, MSTATUS_FS_SHIFT = 13 };

/* What is seen and can be set as sstatus (4.1.1); XS, VS are not there. */
#define SSTATUS_WRITABLE \
    (MSTATUS_SIE | MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_FS | MSTATUS_SUM | MSTATUS_MXR)

/* mip, mie (3.1.9) */
#define MIP_SSIP   (UINT64_C(1) << 1)
#define MIP_MSIP   (UINT64_C(1) << 3)
#define MIP_STIP   (UINT64_C(1) << 5)
#define MIP_MTIP   (UINT64_C(1) << 7)
#define MIP_SEIP   (UINT64_C(1) << 9)
#define MIP_MEIP   (UINT64_C(1) << 11)
#define MIP_LCOFIP (UINT64_C(1) << 13)

/* menvcfg, senvcfg (3.1.18) */
#define ENVCFG_FIOM   (UINT64_C(1) << 0)
#define ENVCFG_CBIE   (UINT64_C(3) << 4)
#define ENVCFG_CBCFE  (UINT64_C(1) << 6)
#define ENVCFG_CBZE   (UINT64_C(1) << 7)
#define MENVCFG_ADUE  (UINT64_C(1) << 61)
#define MENVCFG_PBMTE (UINT64_C(1) << 62)
#define MENVCFG_STCE  (UINT64_C(1) << 63)

/* satp (4.1.11) */
#define SATP_PPN ((UINT64_C(1) << 44) - 1)
enum { SATP_ASID_SHIFT = 44, SATP_MODE_SHIFT = 60 };

/* Exceptions (table 14). */
enum riscv_cause {
    CAUSE_FETCH_MISALIGNED = 0,
    CAUSE_FETCH_ACCESS = 1,
    CAUSE_ILLEGAL = 2,
    CAUSE_BREAKPOINT = 3,
    CAUSE_LOAD_MISALIGNED = 4,
    CAUSE_LOAD_ACCESS = 5,
    CAUSE_STORE_MISALIGNED = 6,
    CAUSE_STORE_ACCESS = 7,
    CAUSE_ECALL_U = 8,
    CAUSE_ECALL_S = 9,
    CAUSE_ECALL_M = 11,
    CAUSE_FETCH_PAGE = 12,
    CAUSE_LOAD_PAGE = 13,
    CAUSE_STORE_PAGE = 15,
};
#define CAUSE_INTERRUPT (UINT64_C(1) << 63)

/* vcpu.mode of a machine's hart: what translated code depends on. Bits 0-2 are frm. */
enum {
    MODE_PRIV_SHIFT = 3, /* enum riscv_priv */
    MODE_FS_ON = 1 << 5, /* mstatus.FS isn't Off */
    MODE_FS_DIRTY = 1 << 6,
    MODE_CBIE = 1 << 7,  /* cbo.inval may be executed */
    MODE_CBCFE = 1 << 8, /* cbo.clean, cbo.flush */
    MODE_CBZE = 1 << 9,  /* cbo.zero */
    MODE_FRM = 7,
};

enum {
    PMP_ENTRIES = 16,
    STATEEN_COUNT = 4,
    COUNTER_CYCLE = 0,
    COUNTER_TIME = 1,
    COUNTER_INSTRET = 2,
    COUNTER_FIRST = 3,
    COUNTER_COUNT = 19, /* 16 programmable ones, as QEMU's virt has */
};

/* One entry of the PMP, ready for use. */
struct pmp_range {
    uint64_t first, last; /* addresses, inclusive */
    uint8_t cfg;
};

/*
 * What walks through page tables found, so that the next one needs a single look into memory. It is
 * the vCPU's own, and goes where entries of the TLB go: with fences, changes of protection, and
 * changes of what is where in physical memory.
 */
enum { WALK_CACHE_LEVELS = 3, WALK_CACHE_SIZE = 64 };

/* A page table in RAM that may be read, at some level. */
struct walk_cache_entry {
    uint64_t satp;       /* 0: unused (that is no paging) */
    uint64_t prefix;     /* address bits above the part that the table is indexed with */
    uint64_t *host;
    uint64_t phys;
    bool global;         /* a pointer on the way to it says so */
};

/* A piece of RAM in which physical protection is the same everywhere for U and S. */
struct ram_window {
    uint64_t first, last; /* inclusive; first > last: none */
    uint8_t *host;        /* of first */
    struct ram_block *ram;
    uint64_t ram_offset;  /* of first */
    uint8_t rights;       /* as pmp_rights */
};

struct walk_cache {
    struct walk_cache_entry entry[WALK_CACHE_LEVELS][WALK_CACHE_SIZE];
    struct ram_window window;
};

enum { ASID_ROOTS = 256 };

struct riscv_hart {
    struct riscv_vcpu rv;
    struct riscv_system_config config;
    uint64_t reset_pc;
    uint64_t priv; /* enum riscv_priv */

    uint64_t mstatus; /* without SD */
    uint64_t mtvec, mscratch, mepc, mcause, mtval, mie, medeleg, mideleg, mcounteren, menvcfg,
        mseccfg;
    uint64_t stvec, sscratch, sepc, scause, stval, scounteren, senvcfg, satp, stimecmp;
    uint64_t mstateen[STATEEN_COUNT];
    uint64_t mcountinhibit;
    uint64_t pmpcfg[2]; /* pmpcfg0, pmpcfg2 */
    uint64_t pmpaddr[PMP_ENTRIES];
    uint64_t mhpmevent[COUNTER_COUNT];
    uint64_t counter[COUNTER_COUNT]; /* counters.c: what was counted until counted_at */
    uint64_t fcsr;                   /* only when saved or loaded */

    /* mip: pins are others', the rest is software's (bits that it may set) and both are changed
     * atomically, since devices do it from their threads. STIP of Sstc is the hart's own: stip. */
    uint64_t pins, soft_pending;
    bool stip;
    uint64_t armed; /* what arm_timer was called with; UINT64_MAX: nothing is expected. Atomic */

    /* Made of the above. */
    uint64_t counted_at[COUNTER_COUNT]; /* nanoseconds */
    uint64_t counting;                  /* bits: counters that count now */
    bool counters_by_priv;              /* a counter counts in some privileges only */
    struct pmp_range pmp[PMP_ENTRIES];  /* those that are on, in order */
    unsigned n_pmp;
    uint64_t tlb_context, code_context;
    bool per_space; /* mmu_context: supervisor mode has pages that aren't global */
    struct walk_cache walks;
    uint64_t asid_roots[ASID_ROOTS]; /* satp as an ASID was last used; index: low bits of it */
    bool flushed; /* the TLB was, since an instruction began that may do so */
    bool waiting; /* wfi was executed; pc is the next instruction */
};

static inline struct riscv_hart *riscv_hart(struct vcpu *cpu)
{
    return (struct riscv_hart *)cpu;
}

static inline const struct riscv_model *hart_model(const struct riscv_hart *h)
{
    return h->rv.cpu.model;
}

static inline bool hart_has(const struct riscv_hart *h, enum riscv_ext ext)
{
    return riscv_has(hart_model(h), ext);
}

/* ---- system.c ---- */

/* After a change of the privilege, mstatus, satp or an envcfg: vcpu.mode and the TLB context
 * follow. */
void hart_update_mode(struct riscv_hart *h);
/* The same if only what loads and stores may do has changed. */
void hart_update_data_context(struct riscv_hart *h);
/* After a change that may let an interrupt in: if one is to be taken the vCPU is kicked. True then.
 */
bool hart_check_interrupts(struct riscv_hart *h);
/* mip as it is read. */
uint64_t hart_pending(const struct riscv_hart *h);
/* After a change of stimecmp or menvcfg.STCE, or when time may have reached it. */
void hart_update_stimer(struct riscv_hart *h);
bool hart_has_sstc(const struct riscv_hart *h);
/* The privilege of loads and stores: MPP with MPRV. */
enum riscv_priv hart_data_priv(const struct riscv_hart *h);

/* ---- trap.c ---- */

/* cause: enum riscv_cause, or CAUSE_INTERRUPT with its number. pc is the instruction's that is
 * interrupted. */
void hart_trap(struct riscv_hart *h, uint64_t cause, uint64_t tval);
/* The interrupt to be taken now (3.1.9): its number, or -1. */
int hart_next_interrupt(const struct riscv_hart *h);
void hart_change_priv(struct riscv_hart *h, enum riscv_priv priv);
/* The pc is the instruction's; false if it is illegal here. */
bool hart_mret(struct riscv_hart *h);
bool hart_sret(struct riscv_hart *h);

/* ---- dump.c ---- */

/* guest_arch.dump */
void hart_dump(struct vcpu *cpu, bool fpu, GString *out);

/* ---- mappings.c ---- */

/* guest_arch.list_mappings */
void hart_list_mappings(struct vcpu *cpu, GString *out);

/* ---- csr.c ---- */

struct csr_row;
/* The row of a CSR that the model has; NULL: none. */
const struct csr_row *csr_find(const struct riscv_model *model, unsigned number);
/* Whether it is a register without anything else to it, at an offset in the hart; mask: the bits
 * that it has. */
bool csr_is_plain(const struct riscv_model *model, const struct csr_row *row, size_t *offset,
                  uint64_t *mask);
/* Reads the register into *old (NULL: not wanted), then, with write, sets the bits of mask to
 * value's. False: illegal here (no such register, privilege, read-only, counters' and state
 * enables, TVM). */
bool csr_access(struct riscv_hart *h, unsigned number, bool write, uint64_t value, uint64_t mask,
                uint64_t *old);

/* ---- counters.c ---- */

/* Which of them are there: bits of mcounteren and mcountinhibit. */
uint64_t counters_mask(const struct riscv_model *model);
uint64_t counter_read(struct riscv_hart *h, unsigned n);
void counter_write(struct riscv_hart *h, unsigned n, uint64_t value);
/* After a change of mcountinhibit, an event or the privilege. */
void counters_update(struct riscv_hart *h);
/* Overflows that have happened (Sscofpmf): OF and LCOFIP. */
void counters_check_overflow(struct riscv_hart *h);
void counter_event_write(struct riscv_hart *h, unsigned n, uint64_t value);
/* scountovf */
uint64_t counters_overflowed(const struct riscv_hart *h);

/* ---- pmp.c ---- */

enum { PMP_R = 1, PMP_W = 2, PMP_X = 4, PMP_RW = 3, PMP_RWX = 7 };
enum pmp_result { PMP_DENIED, PMP_ALLOWED, PMP_PARTLY };

/* May [phys, phys + size) be accessed so? PMP_PARTLY: the answer differs inside of it. */
enum pmp_result pmp_check(const struct riscv_hart *h, uint64_t phys, uint64_t size,
                          enum vcpu_access access, enum riscv_priv priv);
/* What U and S may do at phys (bits PMP_R, PMP_W, PMP_X); the same is true for all of
 * [*first, *last], which are narrowed. */
uint8_t pmp_rights(const struct riscv_hart *h, uint64_t phys, uint64_t *first, uint64_t *last);
uint64_t pmpcfg_read(const struct riscv_hart *h, unsigned n);
void pmpcfg_write(struct riscv_hart *h, unsigned n, uint64_t value);
void pmpaddr_write(struct riscv_hart *h, unsigned n, uint64_t value);
void mseccfg_write(struct riscv_hart *h, uint64_t value);
/* After the registers were loaded. */
void pmp_update(struct riscv_hart *h);

/* ---- mmu.c ---- */

/* sfence.vma; with_address, with_asid: the operand isn't x0. */
void mmu_fence(struct riscv_hart *h, bool with_address, uint64_t vaddr, bool with_asid,
               uint64_t asid);
/* satp has a page table. What is known of its ASID is forgotten, if that had another one when it
 * was last used: no guest expects old translations, though it may get them (10.2.1). */
void mmu_root_changed(struct riscv_hart *h);
/* The context's number for the TLB (dbt_tlb_switch), of what translation depends on now. */
uint64_t mmu_context(const struct riscv_hart *h);
/* The same for code. */
uint64_t mmu_code_context(const struct riscv_hart *h);

#endif
