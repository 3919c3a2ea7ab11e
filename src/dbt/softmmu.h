/*
 * Inside of the translator: the soft TLB of a vCPU in system mode (mmu.h says what it is for).
 *
 * A context has two tables that translated code reads, for loads and for stores, and one with all
 * that is known of the pages in them. The same index, the low bits of the page number, leads to a
 * page in all three. An entry of the first two is there only if the access needs nothing but the
 * host's memory; all else goes to C. The tables are as large as the guest needs them: they grow
 * when pages often take each other's place. A context that is used anew starts small.
 *
 * Pages of code are looked up by C only, and a guest may see other permissions, or another page,
 * there. They are in contexts of their own (struct tlb_code), with the jump caches.
 *
 * To look up, translated code computes address ^ tag: that is the offset in the page if it is the
 * right one, and at least the size of a page if not. So one comparison with the page size less
 * the access's size checks both the page and that the access ends in it. An unused entry has the
 * tag of a page with another index.
 *
 * Everything here belongs to the vCPU's thread. Other threads leave requests, which the vCPU
 * honours between blocks.
 */
#ifndef NANDU_DBT_SOFTMMU_H
#define NANDU_DBT_SOFTMMU_H

#include "dbt/ir.h"
#include "dbt/mmu.h"

enum {
    TLB_MIN_BITS = 9,
    TLB_MAX_BITS = 13,
    TLB_MAX_SIZE = 1 << TLB_MAX_BITS,
    TLB_CODE_BITS = 8,
    TLB_CODE_SIZE = 1 << TLB_CODE_BITS,
    TLB_CONTEXTS = 24,
    TLB_MODES = 4,           /* jump caches of a context */
    TLB_JUMP_BITS = 12,
    TLB_JUMP_SIZE = 1 << TLB_JUMP_BITS,
    TLB_JUMP_PAGES = 2048,
    TLB_LARGE = 2,           /* ranges with large pages that a context remembers */
};

/* What translated code reads. */
struct tlb_entry {
    uint64_t tag;            /* address of the page */
    uint8_t *host;
};

struct tlb_page {
    uint64_t tag;            /* address of the page; 1: unused */
    struct mmu_page page;
};

/* Guest pc -> host code, for one mode; else as vcpu.jump_cache. A pc is at jump_index; where a page is
 * entered at its start, which many are, translated code looks elsewhere. */
struct jump_map {
    struct jump_cache_entry entry[TLB_JUMP_SIZE];
    uint32_t mode;
    uint64_t used;           /* when it was, as softmmu.clock; 0: never */
    bool empty;
    uint64_t pages[TLB_JUMP_PAGES / 64]; /* by page number: there may be entries of it */
};

/* Where large pages are: lower and upper half of the addresses. */
struct tlb_large {
    struct tlb_range {
        uint64_t first, last;        /* inclusive; first > last: none */
    } half[TLB_LARGE];
};

/* For loads and stores. The tables are mapped as large as they can become. */
struct tlb_context {
    uint64_t index_mask;             /* offsets of entries: (size - 1) * sizeof(struct tlb_entry) */
    uint64_t number;
    uint64_t used;                   /* when it was, as softmmu.clock */
    struct tlb_context *next;        /* where the guest went from here the last time, or NULL */
    unsigned replaced;               /* pages that another took the place of, since it grew */
    bool clean;                      /* nothing is in it */
    struct tlb_large large;
    struct tlb_entry read[TLB_MAX_SIZE];
    struct tlb_entry write[TLB_MAX_SIZE];
    struct tlb_page pages[TLB_MAX_SIZE];
    uint32_t write_frames[TLB_MAX_SIZE]; /* low bits of the frame number of what [write] leads to */
};

/* For fetches and jumps. */
struct tlb_code {
    uint64_t number;
    uint64_t used;
    bool clean;
    struct tlb_large large;
    struct tlb_page pages[TLB_CODE_SIZE];
    struct jump_map *maps[TLB_MODES];
};

enum {
    TLB_REQUEST_FLUSH = 1,   /* all of it */
    TLB_REQUEST_PROTECT = 2, /* softmmu.protect */
    TLB_REQUEST_JUMPS = 4,   /* code was freed */
};

enum { TLB_MAX_PROTECT = 16 };

struct softmmu {
    const struct mmu_ops *ops;
    struct tlb_context *contexts[TLB_CONTEXTS];
    unsigned n_contexts;
    struct tlb_code *codes[TLB_CONTEXTS];
    unsigned n_codes;
    struct tlb_code *code;   /* the current one; the current context is vcpu.tlb */
    uint64_t clock;          /* counts switches */
    struct tlb_code *ran;    /* what the return-prediction stack was filled in */
    uint32_t ran_mode;
    /* Under code_pages.lock: pages that must lose their fast entries for stores. */
    uint64_t protect[TLB_MAX_PROTECT];
    unsigned n_protect;      /* more than fit: all */
    /* The access that met a watchpoint (dbt_watchpoint_add). */
    struct {
        bool met;
        uint8_t access;      /* enum vcpu_access */
        uint64_t addr;
    } watch;
};

/* False: no memory. */
bool softmmu_init(struct vcpu *cpu, const struct mmu_ops *ops);
void softmmu_free(struct vcpu *cpu);
/* Between blocks, when vcpu.tlb_request isn't 0. */
void softmmu_handle_requests(struct vcpu *cpu);
/* Before translated code is entered, when context or mode may have changed. */
void softmmu_sync(struct vcpu *cpu);
/* Code for vcpu.pc in the current context and mode, to be found in this entry of the jump cache. */
void softmmu_fill_jump(struct vcpu *cpu, unsigned entry, const void *code);
/* The jump cache's usual entry for vcpu.pc leads to code that isn't valid any more. */
void softmmu_forget_jump(struct vcpu *cpu);
/* The page of vaddr for the access; NULL: a fault. What it says stays true until the next call. */
const struct mmu_page *softmmu_page(struct vcpu *cpu, uint64_t vaddr, enum vcpu_access access);
/* The next store to vaddr asks the guest architecture again. */
void softmmu_ask_again(struct vcpu *cpu, uint64_t vaddr);
/* Copies guest code as dbt_config.fetch does; the fault of the first byte that can't be had is
 * in the vCPU. At most two pages. */
size_t softmmu_fetch(struct vcpu *cpu, uint64_t pc, void *buf, size_t size);

/* An access is about to be made: true if it meets a watchpoint. Then it isn't made but ends as a
 * fault does, of which dbt_run makes VCPU_EXIT_DEBUG. */
bool softmmu_meets_watch(struct vcpu *cpu, uint64_t vaddr, unsigned size, enum vcpu_access access);

/* Atomics: [kind] and [type] as the IR's AMO; old values are zero-extended. False: a fault. */
bool softmmu_amo(struct vcpu *cpu, uint64_t vaddr, enum ir_amo kind, enum ir_type type,
                 uint64_t operand, uint64_t *old);
/* *expected: what memory held. *swapped: desired was stored. */
bool softmmu_compare_swap(struct vcpu *cpu, uint64_t vaddr, unsigned size, uint64_t *expected,
                          uint64_t desired, bool *swapped);

enum { TLB_JUMP_MASK = (TLB_JUMP_SIZE - 1) << 1 };

static inline unsigned jump_index(uint64_t pc)
{
    return (pc & TLB_JUMP_MASK) >> 1;
}

static inline unsigned tlb_index(const struct tlb_context *c, uint64_t vaddr)
{
    return (vaddr >> (MMU_PAGE_BITS - 4) & c->index_mask) / sizeof(struct tlb_entry);
}

static inline unsigned tlb_size(const struct tlb_context *c)
{
    return c->index_mask / sizeof(struct tlb_entry) + 1;
}

#endif
