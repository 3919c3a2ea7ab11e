/*
 * RISC-V counters: Zicntr, Zihpm (Privileged 20240411, 3.1.10 to 3.1.12), Sscofpmf (chapter 18).
 *
 * Instructions aren't counted one by one: cycle and instret, and the programmable counters that are
 * set to them, count nanoseconds of the machine's virtual clock, as a hart of 1 GHz that executes
 * one instruction a cycle. A counter is a value and the time at which it had it.
 */
#include "guest/riscv/system_priv.h"

#define EVENT_OF       (UINT64_C(1) << 63)
#define EVENT_MINH     (UINT64_C(1) << 62)
#define EVENT_SINH     (UINT64_C(1) << 61)
#define EVENT_UINH     (UINT64_C(1) << 60)
#define EVENT_RESERVED (UINT64_C(3) << 58) /* of the hypervisor extension */
#define EVENT_SELECTOR ((UINT64_C(1) << 56) - 1)

/* Selectors as the device tree of the boards maps them (SBI's hardware events). */
enum { EVENT_CYCLES = 1, EVENT_INSTRUCTIONS = 2 };

uint64_t counters_mask(const struct riscv_model *model)
{
    uint64_t mask = riscv_has(model, RISCV_EXT_ZICNTR) ? 7 : 0;

    if (riscv_has(model, RISCV_EXT_ZIHPM)) {
        mask |= ((UINT64_C(1) << COUNTER_COUNT) - 1) & ~UINT64_C(7);
    }
    return mask;
}

static uint64_t now(const struct riscv_hart *h)
{
    return h->config.nanoseconds ? h->config.nanoseconds(h->config.opaque) : 0;
}

static bool counts_now(const struct riscv_hart *h, unsigned n)
{
    uint64_t event = h->mhpmevent[n], inhibited;

    if (n == COUNTER_TIME || h->mcountinhibit >> n & 1) {
        return false;
    }
    if (n < COUNTER_FIRST) {
        return true;
    }
    if ((event & EVENT_SELECTOR) != EVENT_CYCLES &&
        (event & EVENT_SELECTOR) != EVENT_INSTRUCTIONS) {
        return false;
    }
    inhibited = h->priv == PRIV_M ? EVENT_MINH : h->priv == PRIV_S ? EVENT_SINH : EVENT_UINH;
    return !hart_has(h, RISCV_EXT_SSCOFPMF) || !(event & inhibited);
}

/* Sets the counter to what it has come to. */
static void catch_up(struct riscv_hart *h, unsigned n, uint64_t time)
{
    uint64_t before = h->counter[n];

    if (h->counting >> n & 1) {
        h->counter[n] += time - h->counted_at[n];
        if (h->counter[n] < before && n >= COUNTER_FIRST && hart_has(h, RISCV_EXT_SSCOFPMF) &&
            !(h->mhpmevent[n] & EVENT_OF)) {
            h->mhpmevent[n] |= EVENT_OF;
            __atomic_or_fetch(&h->soft_pending, MIP_LCOFIP, __ATOMIC_SEQ_CST);
        }
    }
    h->counted_at[n] = time;
}

/* Asks to be woken at the first overflow that raises an interrupt. */
static void arm(struct riscv_hart *h, uint64_t time)
{
    uint64_t left = UINT64_MAX;

    if (!hart_has(h, RISCV_EXT_SSCOFPMF) || !h->config.arm_overflow) {
        return;
    }
    for (unsigned n = COUNTER_FIRST; n < COUNTER_COUNT; n++) {
        if (h->counting >> n & 1 && !(h->mhpmevent[n] & EVENT_OF)) {
            left = MIN(left, UINT64_MAX - h->counter[n]);
        }
    }
    /* Further away than a clock goes is never. */
    h->config.arm_overflow(h->config.opaque, &h->rv.cpu,
                           left < INT64_MAX - time ? time + left + 1 : UINT64_MAX);
}

void counters_update(struct riscv_hart *h)
{
    uint64_t time = now(h), counting = 0;

    h->counters_by_priv = false;
    for (unsigned n = 0; n < COUNTER_COUNT; n++) {
        catch_up(h, n, time);
        counting |= (uint64_t)counts_now(h, n) << n;
        h->counters_by_priv |= hart_has(h, RISCV_EXT_SSCOFPMF) && n >= COUNTER_FIRST &&
                               h->mhpmevent[n] & (EVENT_MINH | EVENT_SINH | EVENT_UINH);
    }
    h->counting = counting;
    arm(h, time);
}

void counters_check_overflow(struct riscv_hart *h)
{
    if (hart_has(h, RISCV_EXT_SSCOFPMF) && h->counting >> COUNTER_FIRST) {
        counters_update(h);
    }
}

uint64_t counter_read(struct riscv_hart *h, unsigned n)
{
    if (n == COUNTER_TIME) {
        return h->config.time ? h->config.time(h->config.opaque) : 0;
    }
    catch_up(h, n, now(h));
    return h->counter[n];
}

void counter_write(struct riscv_hart *h, unsigned n, uint64_t value)
{
    uint64_t time = now(h);

    h->counter[n] = value;
    h->counted_at[n] = time;
    arm(h, time);
}

void counter_event_write(struct riscv_hart *h, unsigned n, uint64_t value)
{
    h->mhpmevent[n] = value & ~EVENT_RESERVED;
    counters_update(h);
}

uint64_t counters_overflowed(const struct riscv_hart *h)
{
    uint64_t bits = 0;

    for (unsigned n = COUNTER_FIRST; n < COUNTER_COUNT; n++) {
        bits |= (uint64_t)(h->mhpmevent[n] >> 63) << n;
    }
    return bits;
}
