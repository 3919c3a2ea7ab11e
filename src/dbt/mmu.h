/*
 * System mode: guest addresses go through a guest's MMU. Translated code looks an address up in a
 * table of the vCPU (the soft TLB); what isn't there is asked of the guest architecture by the
 * functions below.
 *
 * dbt_config.mmu set means system mode: every load, store and fetch goes through it. Blocks are
 * known by the guest-physical address of their code (and their virtual pc, since code is relative
 * to that), so that they survive changes of the guest's page tables; which block a guest-virtual
 * pc leads to is cached per TLB context.
 *
 * The thread that runs a vCPU must handle SIGSEGV by calling dbt_handle_fault, as in user mode:
 * translated code runs into a guard page when calls are nested deeply. (Guest memory itself never
 * makes signals.)
 */
#ifndef NANDU_DBT_MMU_H
#define NANDU_DBT_MMU_H

#include <stdbool.h>
#include <stdint.h>

#include "dbt/vcpu.h"

struct dbt;

enum { MMU_PAGE_BITS = 12, MMU_PAGE_SIZE = 1 << MMU_PAGE_BITS };

/* Where a 4 KiB page of guest addresses leads. */
struct mmu_page {
    uint64_t phys;      /* guest-physical address of the 4 KiB page */
    uint8_t *host;      /* RAM or ROM: the page's memory; NULL: accesses go to load and store */
    /* What may be done through the table from now on. The access asked for may be done now in
     * any case: what isn't allowed to stay is asked for each time (a page of which only parts
     * may be accessed). */
    bool read, write, exec;
    bool watch_write;   /* stores need mmu_ops.written: code was made from it, or dirty tracking */
    bool global;        /* of all contexts: stays when one is flushed */
    uint64_t size;      /* bytes, of the guest's page that it is part of: what the flush of an
                           address takes out */
};

/*
 * What the guest architecture does. vcpu.pc is the instruction's only in load and store. They are
 * called by the vCPU's thread and must not call dbt_run, nor wait for another vCPU or for the
 * thread of another one.
 */
struct mmu_ops {
    /* The page of vaddr. False: vcpu.fault_addr, fault_access are set (the rest is the guest's
     * own), and dbt_run returns VCPU_EXIT_FAULT with pc exact. An access that crosses pages
     * asks for both, with the first address of each, before it is made. A fetch must have host
     * memory. */
    bool (*translate)(struct vcpu *cpu, uint64_t vaddr, enum vcpu_access access,
                      struct mmu_page *page);
    /* MMIO and whatever has no host memory; 1, 2, 4 or 8 bytes, little endian. False as above.
     * store is also called for memory whose page, asked for VCPU_WRITE, has no write (ROM). */
    bool (*load)(struct vcpu *cpu, uint64_t vaddr, uint64_t phys, unsigned size, uint64_t *value);
    bool (*store)(struct vcpu *cpu, uint64_t vaddr, uint64_t phys, unsigned size, uint64_t value);
    /* A store to a page with watch_write was done: size bytes at phys. The code in it is dealt
     * with: if the page is watched for nothing else, it needn't be any more. Must not call
     * dbt_tlb_*. */
    void (*written)(struct vcpu *cpu, uint64_t phys, unsigned size);
    /* Blocks are made from this page: from now on translate must say watch_write for it, for
     * all vCPUs, until written is called; and stores by devices must lead to
     * dbt_invalidate_phys. Must not call dbt_tlb_*. */
    void (*code_page)(struct vcpu *cpu, uint64_t phys);
    /* All contexts were flushed: what the guest architecture itself remembers of translations, and
     * of where memory is, isn't valid any more either. NULL: it remembers nothing. */
    void (*flushed)(struct vcpu *cpu);
};

/*
 * TLB contexts: one for each combination of address space (ASID), privilege and whatever else
 * permissions depend on that the guest has used lately; switching flushes nothing. The number is
 * the guest's own choice, any 64 bits. A new vCPU's is 0.
 *
 * By the vCPU's own thread. In a helper: loads and stores behind it use the new context; if a pc
 * may lead to other code now, it must have IR_HELPER_SYNC and the unit must end right there with
 * VCPU_EXIT_MODE.
 */
void dbt_tlb_switch(struct vcpu *cpu, uint64_t context);
/* The same for loads and stores only, or for code only: where what code may do to memory changes
 * more often than what code there is. After the first one a unit may go on. */
void dbt_tlb_switch_data(struct vcpu *cpu, uint64_t context);
void dbt_tlb_switch_code(struct vcpu *cpu, uint64_t context);
/* Flushes, for the vCPU's own thread, same rules: all contexts, one (global pages may stay),
 * or one address in all contexts (global too). The address may be any in the page; a large
 * page goes as a whole. */
void dbt_tlb_flush(struct vcpu *cpu);
void dbt_tlb_flush_context(struct vcpu *cpu, uint64_t context);
void dbt_tlb_flush_page(struct vcpu *cpu, uint64_t vaddr);
/* The same for the contexts of which (number & mask) == value. */
void dbt_tlb_flush_contexts(struct vcpu *cpu, uint64_t value, uint64_t mask);
void dbt_tlb_flush_page_in(struct vcpu *cpu, uint64_t vaddr, uint64_t value, uint64_t mask);
/* Any thread: the vCPU flushes everything before it executes the next block, and is kicked. */
void dbt_tlb_request_flush(struct vcpu *cpu);
/* Any thread: memory in [phys, phys + size) was changed by something else than a vCPU. Code
 * made from it is forgotten at a vCPU's next VCPU_EXIT_FENCE_I at the latest. */
void dbt_invalidate_phys(struct dbt *dbt, uint64_t phys, uint64_t size);

/*
 * Accesses to guest memory by a helper, as its instruction's own: 1, 2, 4 or 8 bytes, any
 * alignment. False: a fault, vcpu.fault_* are set; the helper sets vcpu.exit_reason to
 * VCPU_EXIT_FAULT.
 */
bool dbt_load(struct vcpu *cpu, uint64_t vaddr, unsigned size, uint64_t *value);
bool dbt_store(struct vcpu *cpu, uint64_t vaddr, unsigned size, uint64_t value);
/* Atomic, 16 bytes, vaddr a multiple of 16. If memory holds expected, desired is stored;
 * expected becomes what it held. */
bool dbt_compare_swap_16(struct vcpu *cpu, uint64_t vaddr, uint64_t expected[2],
                          const uint64_t desired[2]);

#endif
