/*
 * The accesses to memory in a restartable section; section_commit.S has the stores.
 */
#include "dbt/section.h"

#include "dbt/interp/memory.h"
#include "dbt/vcpu.h"

/* Kinds of stores, in the order of section_commit.S: plain ones, then compare-and-swaps. */
enum { STORE_KINDS = 4, KINDS = 2 * STORE_KINDS };

/* struct rseq_cs of the kernel (linux/rseq.h). */
struct descriptor {
    uint32_t version, flags;
    uint64_t start, length, abort;
};

extern const struct descriptor section_descriptors[KINDS];

/*
 * Make the store of [kind] if the word at [token] isn't 0, in one step as far as the kernel is
 * concerned. 1: done; 0: *expected wasn't there, and is now what was (low bytes); -1: preempted.
 */
int section_commit(volatile uint64_t *token, void *host, uint64_t value, uint64_t *expected,
                   unsigned kind);

uint64_t section_token(void)
{
    return (uint64_t)(uintptr_t)&section_descriptors[0];
}

bool section_is_token(uint64_t value)
{
    return value - section_token() < sizeof(section_descriptors);
}

bool section_preempted(const struct vcpu *cpu)
{
    return interp_load((const void *)cpu->section.token, 8) == 0;
}

bool section_load(const struct vcpu *cpu, const void *host, unsigned size, uint64_t *value)
{
    *value = interp_load(host, size);
    return !section_preempted(cpu);
}

bool section_store(const struct vcpu *cpu, void *host, unsigned size, uint64_t value)
{
    uint64_t unused = 0;

    return section_commit(cpu->section.token, host, value, &unused,
                          (unsigned)__builtin_ctz(size)) > 0;
}

bool section_compare_swap(const struct vcpu *cpu, void *host, unsigned size, uint64_t *expected,
                          uint64_t desired, bool *swapped)
{
    int result = section_commit(cpu->section.token, host, desired, expected,
                                STORE_KINDS + (unsigned)__builtin_ctz(size));

    if (size < 8) {
        *expected &= (UINT64_C(1) << size * 8) - 1;
    }
    *swapped = result > 0;
    return result >= 0;
}
