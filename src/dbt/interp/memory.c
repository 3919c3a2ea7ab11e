#include "dbt/interp/memory.h"

#include "dbt/ir_eval.h"

/*
 * Guest memory is shared with other guest threads, so each access is volatile: made once, in one
 * piece where the host can. The packed structures make unaligned ones legal C.
 */
struct unaligned16 {
    volatile uint16_t v;
} __attribute__((packed, may_alias));

struct unaligned32 {
    volatile uint32_t v;
} __attribute__((packed, may_alias));

struct unaligned64 {
    volatile uint64_t v;
} __attribute__((packed, may_alias));

/* Any address may come from a guest, also 0: what a sanitizer would say is the guest's business. */
#define GUEST_ACCESS __attribute__((no_sanitize("null", "alignment", "address")))

GUEST_ACCESS uint64_t interp_load(const void *host, unsigned size)
{
    /* The access may fault, and the handler looks at the vCPU. */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    switch (size) {
    case 1: return *(const volatile uint8_t *)host;
    case 2: return ((const struct unaligned16 *)host)->v;
    case 4: return ((const struct unaligned32 *)host)->v;
    default: return ((const struct unaligned64 *)host)->v;
    }
}

GUEST_ACCESS void interp_store(void *host, unsigned size, uint64_t value)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    switch (size) {
    case 1: *(volatile uint8_t *)host = value; break;
    case 2: ((struct unaligned16 *)host)->v = value; break;
    case 4: ((struct unaligned32 *)host)->v = value; break;
    default: ((struct unaligned64 *)host)->v = value; break;
    }
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Unaligned ones are atomic on the hosts that allow them at all (x86: split locks). */
GUEST_ACCESS bool
interp_compare_swap(void *host, unsigned size, uint64_t *expected, uint64_t desired)
{
    bool swapped;

    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    switch (size) {
    case 1: {
        uint8_t old = *expected;

        swapped = __atomic_compare_exchange_n((uint8_t *)host, &old, (uint8_t)desired, false,
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        *expected = old;
        return swapped;
    }
    case 2: {
        uint16_t old = *expected;

        swapped = __atomic_compare_exchange_n((uint16_t *)host, &old, (uint16_t)desired, false,
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        *expected = old;
        return swapped;
    }
    case 4: {
        uint32_t old = *expected;

        swapped = __atomic_compare_exchange_n((uint32_t *)host, &old, (uint32_t)desired, false,
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        *expected = old;
        return swapped;
    }
    default: {
        uint64_t old = *expected;

        swapped = __atomic_compare_exchange_n((uint64_t *)host, &old, desired, false,
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        *expected = old;
        return swapped;
    }
    }
}

uint64_t interp_atomic_result(enum ir_amo kind, enum ir_type type, uint64_t old, uint64_t operand)
{
    switch (kind) {
    case IR_AMO_SWAP: return operand;
    case IR_AMO_ADD: return old + operand;
    case IR_AMO_AND: return old & operand;
    case IR_AMO_OR: return old | operand;
    case IR_AMO_XOR: return old ^ operand;
    case IR_AMO_MIN: return ir_eval_int(IR_MINS, type, 0, old, operand);
    case IR_AMO_MAX: return ir_eval_int(IR_MAXS, type, 0, old, operand);
    case IR_AMO_MINU: return ir_eval_int(IR_MINU, type, 0, old, operand);
    default: return ir_eval_int(IR_MAXU, type, 0, old, operand);
    }
}

uint64_t interp_atomic(enum ir_amo kind, enum ir_type type, void *host, uint64_t operand)
{
    /* The first guess is 0 and not what memory holds, so that the first access is a write: on
     * memory that can't be written the fault then says so. */
    uint64_t old = 0;

    while (!interp_compare_swap(host, ir_word_bits(type) / 8, &old,
                                interp_atomic_result(kind, type, old, operand))) {
    }
    return old;
}
