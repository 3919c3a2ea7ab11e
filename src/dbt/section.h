/*
 * Restartable sections: guest code that is to be left when its thread is preempted, moved to
 * another processor or given a signal before the last store (Linux: rseq(2)).
 *
 * Only the host's kernel knows when that happens. It looks at a word that the thread has registered
 * with it (struct rseq, rseq_cs): if the word points to a descriptor and the thread was in the
 * descriptor's code, the kernel makes it go on at the descriptor's abort address; if it was
 * anywhere else, the kernel sets the word to 0. Guest code isn't at an address that a descriptor
 * could name. So the guest's descriptors never get into the word: what is in it during a section is
 * a token, a descriptor of the few instructions by which the interpreter stores to memory. The
 * section's instructions are interpreted. When the thread is preempted anywhere but in those
 * instructions the token is gone, and the next access to memory finds that out; in them, the kernel
 * makes the store not happen. A load is checked behind it. (Each instruction is checked in front of
 * it too, since a loop may access no memory.) Between the last access and the end of the section
 * nothing can be told from having been preempted behind it.
 *
 * So a section takes half a microsecond, and nothing in translated code knows of it, but for the
 * stores by which it begins: these are found by comparing each 64-bit store's address with that of
 * the word. A program that has no sections shall not pay for that, so it is done only after
 * dbt_watch_words.
 */
#ifndef NANDU_DBT_SECTION_H
#define NANDU_DBT_SECTION_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* The signature to register the word with: what stands in front of the abort address here. The
 * kernel then takes no descriptor but a token, and kills with SIGSEGV for any other value. */
#define SECTION_SIGNATURE 0x53053053u

/* What the word is set to when a section begins. */
uint64_t section_token(void);
/* True for a token, of which there is one for each kind of store. Async-signal-safe. */
bool section_is_token(uint64_t value);

/* In front of an instruction in a section: has the thread been preempted since it began? */
bool section_preempted(const struct vcpu *cpu);
/*
 * Accesses of the interpreter in a section, of 1, 2, 4 or 8 bytes at a host address. False: the
 * thread has been preempted since the section began, and nothing was stored. Compare-and-swap:
 * *swapped, and if not *expected is what memory holds.
 */
bool section_load(const struct vcpu *cpu, const void *host, unsigned size, uint64_t *value);
bool section_store(const struct vcpu *cpu, void *host, unsigned size, uint64_t value);
bool section_compare_swap(const struct vcpu *cpu, void *host, unsigned size, uint64_t *expected,
                          uint64_t desired, bool *swapped);

#endif
