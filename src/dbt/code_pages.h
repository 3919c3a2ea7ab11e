/*
 * Inside of the translator, system mode: which guest-physical pages blocks were made from, and
 * which of these have been written to since.
 *
 * Before the first block is made from a page, the guest is told (mmu_ops.code_page) and every
 * vCPU has lost its fast entry for stores to it. So a store to it comes by here: the page is no
 * code page any more, and is noted. Its blocks stay until the notes are dealt with: a guest's own
 * rule is that code that was changed may be executed only after a fence (RISC-V: fence.i), at
 * which a vCPU comes out of translated code and does that.
 *
 * Locks: translator's lock, then watch, then lock. The last two may be taken by a vCPU in the
 * middle of a block, the first may not: a flush waits for the vCPU to leave, with the lock held.
 */
#ifndef NANDU_DBT_CODE_PAGES_H
#define NANDU_DBT_CODE_PAGES_H

#include <glib.h>
#include <stdint.h>

struct dbt;
struct vcpu;

struct code_pages {
    GMutex watch;        /* around a change of both what the guest watches and what is marked */
    GMutex lock;         /* of the members below, and softmmu.protect of all vCPUs */
    GHashTable *marked;  /* page numbers */
    GArray *written;     /* uint64_t page numbers: blocks of these are to be forgotten */
    volatile unsigned n_written;
};

void code_pages_init(struct code_pages *code);
void code_pages_free(struct code_pages *code);
/* Translator's lock held, the vCPU isn't in_code: from now on stores to the page are noticed.
 * Its bytes may be read after that. */
void code_pages_mark(struct vcpu *cpu, uint64_t phys);
/* The vCPU has stored to a page with watch_write. */
void code_pages_stored(struct vcpu *cpu, uint64_t phys, unsigned size);
/* Translator's lock held: forget the blocks of pages that were written to. */
void code_pages_drain(struct dbt *dbt);
/* All blocks are gone. */
void code_pages_forget(struct code_pages *code);

#endif
