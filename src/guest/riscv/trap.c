/*
 * RISC-V traps: Privileged 20240411, 3.1.6 to 3.1.9, 3.3.2, 4.1, 8.1: exceptions, interrupts,
 * delegation, and the returns from them.
 */
#include <inttypes.h>

#include "guest/riscv/system_priv.h"
#include "util/log.h"

/* What supervisor mode and machine mode have of each. */
static const char *const cause_names[] = {
    [CAUSE_FETCH_MISALIGNED] = "misaligned_fetch",
    [CAUSE_FETCH_ACCESS] = "fault_fetch",
    [CAUSE_ILLEGAL] = "illegal_instruction",
    [CAUSE_BREAKPOINT] = "breakpoint",
    [CAUSE_LOAD_MISALIGNED] = "misaligned_load",
    [CAUSE_LOAD_ACCESS] = "fault_load",
    [CAUSE_STORE_MISALIGNED] = "misaligned_store",
    [CAUSE_STORE_ACCESS] = "fault_store",
    [CAUSE_ECALL_U] = "user_ecall",
    [CAUSE_ECALL_S] = "supervisor_ecall",
    [CAUSE_ECALL_M] = "machine_ecall",
    [CAUSE_FETCH_PAGE] = "exec_page_fault",
    [CAUSE_LOAD_PAGE] = "load_page_fault",
    [CAUSE_STORE_PAGE] = "store_page_fault",
};
static const char *const interrupt_names[] = {
    [1] = "s_software", [3] = "m_software",  [5] = "s_timer",           [7] = "m_timer",
    [9] = "s_external", [11] = "m_external", [13] = "counter_overflow",
};

static void log_trap(const struct riscv_hart *h, uint64_t cause, uint64_t tval)
{
    bool interrupt = cause & CAUSE_INTERRUPT;
    uint64_t number = cause & ~CAUSE_INTERRUPT;
    const char *name = NULL;

    if (!h->config.log || !log_enabled(h->config.log, LOG_INT)) {
        return;
    }
    if (interrupt) {
        name = number < G_N_ELEMENTS(interrupt_names) ? interrupt_names[number] : NULL;
    } else {
        name = number < G_N_ELEMENTS(cause_names) ? cause_names[number] : NULL;
    }
    log_write(h->config.log, LOG_INT,
              "trap: hart:%" G_GUINT64_FORMAT ", async:%d, cause:%016" PRIx64 ", epc:0x%016" PRIx64
              ", tval:0x%016" PRIx64 ", desc=%s\n",
              h->config.hart_id, interrupt, number, h->rv.cpu.pc, tval, name ? name : "reserved");
}

void hart_change_priv(struct riscv_hart *h, enum riscv_priv priv)
{
    if (h->priv == priv) {
        return;
    }
    if (h->counters_by_priv) {
        counters_update(h); /* up to here it was the old one */
    }
    h->priv = priv;
    if (h->counters_by_priv) {
        counters_update(h);
    }
}

/* 3.1.7: in vectored mode each interrupt has an entry of its own. */
static uint64_t vector(uint64_t tvec, uint64_t cause)
{
    uint64_t base = tvec & ~UINT64_C(3);

    return tvec & 1 && cause & CAUSE_INTERRUPT ? base + 4 * (cause & ~CAUSE_INTERRUPT) : base;
}

static void enter_supervisor(struct riscv_hart *h, uint64_t cause, uint64_t tval)
{
    struct vcpu *cpu = &h->rv.cpu;

    h->scause = cause;
    h->sepc = cpu->pc;
    h->stval = tval;
    h->mstatus = (h->mstatus & ~(MSTATUS_SPIE | MSTATUS_SPP | MSTATUS_SIE)) |
                 (h->mstatus & MSTATUS_SIE ? MSTATUS_SPIE : 0) |
                 (h->priv == PRIV_S ? MSTATUS_SPP : 0);
    cpu->pc = vector(h->stvec, cause);
    hart_change_priv(h, PRIV_S);
}

static void enter_machine(struct riscv_hart *h, uint64_t cause, uint64_t tval)
{
    struct vcpu *cpu = &h->rv.cpu;

    h->mcause = cause;
    h->mepc = cpu->pc;
    h->mtval = tval;
    h->mstatus = (h->mstatus & ~(MSTATUS_MPIE | MSTATUS_MPP | MSTATUS_MIE)) |
                 (h->mstatus & MSTATUS_MIE ? MSTATUS_MPIE : 0) | h->priv << MSTATUS_MPP_SHIFT;
    cpu->pc = vector(h->mtvec, cause);
    hart_change_priv(h, PRIV_M);
}

void hart_trap(struct riscv_hart *h, uint64_t cause, uint64_t tval)
{
    uint64_t delegated = cause & CAUSE_INTERRUPT ? h->mideleg : h->medeleg;

    log_trap(h, cause, tval);
    if (h->priv != PRIV_M && delegated >> (cause & 63) & 1) {
        enter_supervisor(h, cause, tval);
    } else {
        enter_machine(h, cause, tval);
    }
    h->rv.cpu.excl_addr = UINT64_MAX; /* what runs next may not rely on a reservation */
    hart_update_mode(h);
}

int hart_next_interrupt(const struct riscv_hart *h)
{
    /* 3.1.9 and Sscofpmf: in descending priority. */
    static const uint8_t order[] = {11, 3, 7, 9, 1, 5, 13};
    uint64_t pending = h->mie ? hart_pending(h) & h->mie : 0, machine, supervisor, taken;

    if (!pending) {
        return -1;
    }
    machine = h->priv != PRIV_M || h->mstatus & MSTATUS_MIE ? pending & ~h->mideleg : 0;
    supervisor = h->priv == PRIV_U || (h->priv == PRIV_S && h->mstatus & MSTATUS_SIE)
                     ? pending & h->mideleg
                     : 0;
    taken = machine ? machine : supervisor;
    for (size_t i = 0; i < sizeof(order); i++) {
        if (taken >> order[i] & 1) {
            return order[i];
        }
    }
    return -1;
}

/* ---- Returns (3.3.2) ---- */

bool hart_mret(struct riscv_hart *h)
{
    enum riscv_priv to = (enum riscv_priv)((h->mstatus & MSTATUS_MPP) >> MSTATUS_MPP_SHIFT);
    uint64_t least = hart_has(h, RISCV_EXT_U) ? PRIV_U : PRIV_M;

    if (h->priv != PRIV_M) {
        return false;
    }
    h->mstatus = (h->mstatus & ~(MSTATUS_MIE | MSTATUS_MPP)) |
                 (h->mstatus & MSTATUS_MPIE ? MSTATUS_MIE : 0) | MSTATUS_MPIE |
                 least << MSTATUS_MPP_SHIFT;
    if (to != PRIV_M) {
        h->mstatus &= ~MSTATUS_MPRV;
    }
    h->rv.cpu.pc = h->mepc;
    hart_change_priv(h, to);
    hart_update_mode(h);
    hart_check_interrupts(h);
    return true;
}

bool hart_sret(struct riscv_hart *h)
{
    enum riscv_priv to = h->mstatus & MSTATUS_SPP ? PRIV_S : PRIV_U;

    if (h->priv == PRIV_U || (h->priv == PRIV_S && h->mstatus & MSTATUS_TSR)) {
        return false;
    }
    h->mstatus = (h->mstatus & ~(MSTATUS_SIE | MSTATUS_SPP | MSTATUS_MPRV)) |
                 (h->mstatus & MSTATUS_SPIE ? MSTATUS_SIE : 0) | MSTATUS_SPIE;
    h->rv.cpu.pc = h->sepc;
    hart_change_priv(h, to);
    hart_update_mode(h);
    hart_check_interrupts(h);
    return true;
}
