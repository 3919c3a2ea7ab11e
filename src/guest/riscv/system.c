/*
 * A hart of a machine: reset, what translated code depends on, interrupts from outside, and what to
 * do when the translator comes back. Privileged 20240411.
 */
#include "guest/riscv/system_priv.h"

#include <string.h>

#include "dbt/dbt.h"

/* ---- Mode and context ---- */

enum riscv_priv hart_data_priv(const struct riscv_hart *h)
{
    if (h->priv == PRIV_M && h->mstatus & MSTATUS_MPRV) {
        return (enum riscv_priv)((h->mstatus & MSTATUS_MPP) >> MSTATUS_MPP_SHIFT);
    }
    return (enum riscv_priv)h->priv;
}

/* Cache-block instructions in the present privilege (CMO 1.0, 2.5.3): menvcfg decides for less than
 * machine mode, senvcfg for user mode as well. */
static uint32_t cache_block_mode(const struct riscv_hart *h)
{
    uint64_t bits = UINT64_MAX;

    /* Before Privileged 1.12 there are no such registers. */
    if (hart_model(h)->priv_1_12) {
        bits &= h->priv != PRIV_M ? h->menvcfg : UINT64_MAX;
        bits &= h->priv == PRIV_U && hart_has(h, RISCV_EXT_S) ? h->senvcfg : UINT64_MAX;
    }
    return (bits & ENVCFG_CBIE ? MODE_CBIE : 0) | (bits & ENVCFG_CBCFE ? MODE_CBCFE : 0) |
           (bits & ENVCFG_CBZE ? MODE_CBZE : 0);
}

void hart_update_data_context(struct riscv_hart *h)
{
    uint64_t context = mmu_context(h);

    if (context != h->tlb_context) {
        h->tlb_context = context;
        dbt_tlb_switch_data(&h->rv.cpu, context);
    }
}

void hart_update_mode(struct riscv_hart *h)
{
    struct vcpu *cpu = &h->rv.cpu;
    uint64_t fs = h->mstatus & MSTATUS_FS, code = mmu_code_context(h);

    cpu->mode = (cpu->mode & MODE_FRM) | (uint32_t)h->priv << MODE_PRIV_SHIFT |
                (fs ? MODE_FS_ON : 0) | (fs == MSTATUS_FS ? MODE_FS_DIRTY : 0) |
                cache_block_mode(h);
    hart_update_data_context(h);
    if (code != h->code_context) {
        h->code_context = code;
        dbt_tlb_switch_code(cpu, code);
    }
}

/* ---- Interrupts ---- */

bool hart_has_sstc(const struct riscv_hart *h)
{
    return hart_has(h, RISCV_EXT_SSTC) && h->menvcfg & MENVCFG_STCE;
}

uint64_t hart_pending(const struct riscv_hart *h)
{
    uint64_t pending = __atomic_load_n(&h->pins, __ATOMIC_SEQ_CST) |
                       __atomic_load_n(&h->soft_pending, __ATOMIC_SEQ_CST);

    if (hart_has_sstc(h)) {
        pending = h->stip ? pending | MIP_STIP : pending & ~MIP_STIP;
    }
    return pending;
}

/* Sstc, 17.1.1: pending while time >= stimecmp. */
void hart_update_stimer(struct riscv_hart *h)
{
    const struct riscv_system_config *c = &h->config;
    uint64_t wanted;

    if (!c->time) {
        return;
    }
    h->stip = hart_has_sstc(h) && c->time(c->opaque) >= h->stimecmp;
    wanted = hart_has_sstc(h) && !h->stip ? h->stimecmp : UINT64_MAX;
    if (__atomic_exchange_n(&h->armed, wanted, __ATOMIC_SEQ_CST) != wanted) {
        c->arm_timer(c->opaque, &h->rv.cpu, wanted);
    }
}

bool hart_check_interrupts(struct riscv_hart *h)
{
    if (hart_next_interrupt(h) < 0) {
        return false;
    }
    vcpu_kick(&h->rv.cpu);
    return true;
}

static void kick(struct riscv_hart *h)
{
    vcpu_kick(&h->rv.cpu);
    if (h->config.wake) {
        h->config.wake(h->config.opaque, &h->rv.cpu);
    }
}

void riscv_set_irq(void *cpu, unsigned irq, bool level)
{
    struct riscv_hart *h = riscv_hart(cpu);
    uint64_t bit = UINT64_C(1) << irq;

    if (irq == RISCV_IRQ_SSI) {
        if (!level) {
            return;
        }
        __atomic_or_fetch(&h->soft_pending, bit, __ATOMIC_SEQ_CST);
    } else if (level) {
        __atomic_or_fetch(&h->pins, bit, __ATOMIC_SEQ_CST);
    } else {
        __atomic_and_fetch(&h->pins, ~bit, __ATOMIC_SEQ_CST);
        return;
    }
    kick(h);
}

void riscv_timer_expired(struct vcpu *cpu)
{
    struct riscv_hart *h = riscv_hart(cpu);

    /* If it was too early, or another one is waited for meanwhile, it is armed once more. */
    __atomic_store_n(&h->armed, UINT64_MAX, __ATOMIC_SEQ_CST);
    kick(h);
}

/* What changes by itself as time goes by. */
static void look_at_clocks(struct riscv_hart *h)
{
    if (hart_has_sstc(h)) {
        hart_update_stimer(h);
    }
    counters_check_overflow(h);
}

bool riscv_has_pending_interrupt(struct vcpu *cpu)
{
    struct riscv_hart *h = riscv_hart(cpu);

    look_at_clocks(h);
    if (!(hart_pending(h) & h->mie)) {
        return false;
    }
    vcpu_kick(cpu); /* dbt_run comes back at once, to have it taken */
    return true;
}

/* ---- Exits ---- */

/* The instruction at pc, for mtval; 0 if it can't be read (any more). */
static uint64_t instruction_at(struct riscv_hart *h, uint64_t pc)
{
    uint16_t parts[2] = {0};

    for (int i = 0; i < 2; i++) {
        struct mmu_page page;
        uint64_t at = pc + 2 * (uint64_t)i;

        if (!riscv_system_mmu_ops.translate(&h->rv.cpu, at, VCPU_FETCH, &page)) {
            return 0;
        }
        memcpy(&parts[i], page.host + (at & (MMU_PAGE_SIZE - 1)), 2);
        if ((GUINT16_FROM_LE(parts[0]) & 3) != 3) {
            break;
        }
    }
    return GUINT16_FROM_LE(parts[0]) | (uint64_t)GUINT16_FROM_LE(parts[1]) << 16;
}

static void memory_trap(struct riscv_hart *h)
{
    static const uint8_t causes[][3] = {
        [VCPU_READ] = {CAUSE_LOAD_PAGE, CAUSE_LOAD_ACCESS, CAUSE_LOAD_MISALIGNED},
        [VCPU_WRITE] = {CAUSE_STORE_PAGE, CAUSE_STORE_ACCESS, CAUSE_STORE_MISALIGNED},
        [VCPU_FETCH] = {CAUSE_FETCH_PAGE, CAUSE_FETCH_ACCESS, CAUSE_FETCH_MISALIGNED},
    };
    const struct vcpu *cpu = &h->rv.cpu;
    unsigned kind = cpu->fault_kind == VCPU_FAULT_BUS     ? 1
                    : cpu->fault_kind == VCPU_FAULT_ALIGN ? 2
                                                          : 0;

    hart_trap(h, causes[cpu->fault_access][kind], cpu->fault_addr);
}

static void environment_call(struct riscv_hart *h)
{
    h->rv.cpu.pc -= 4; /* the instruction's */
    hart_trap(h,
              h->priv == PRIV_M   ? CAUSE_ECALL_M
              : h->priv == PRIV_S ? CAUSE_ECALL_S
                                  : CAUSE_ECALL_U,
              0);
}

enum riscv_run riscv_system_handle_exit(struct vcpu *cpu, enum vcpu_exit reason)
{
    struct riscv_hart *h = riscv_hart(cpu);
    enum riscv_run run = RISCV_RUN_GO_ON;
    int interrupt;

    switch (reason) {
    case VCPU_EXIT_INTERRUPT: look_at_clocks(h); break;
    case VCPU_EXIT_SYSCALL: environment_call(h); break;
    case VCPU_EXIT_BREAKPOINT: hart_trap(h, CAUSE_BREAKPOINT, cpu->pc); break;
    case VCPU_EXIT_ILLEGAL: hart_trap(h, CAUSE_ILLEGAL, instruction_at(h, cpu->pc)); break;
    case VCPU_EXIT_FAULT: memory_trap(h); break;
    case VCPU_EXIT_DEBUG: return RISCV_RUN_DEBUG;
    case VCPU_EXIT_YIELD:
        run = !h->waiting                        ? RISCV_RUN_YIELD
              : riscv_has_pending_interrupt(cpu) ? RISCV_RUN_GO_ON
                                                 : RISCV_RUN_WFI;
        h->waiting = false;
        break;
    default: break; /* those that are internal to the translator, or of user mode */
    }
    interrupt = cpu->hold_interrupts ? -1 : hart_next_interrupt(h);
    if (interrupt >= 0) {
        hart_trap(h, CAUSE_INTERRUPT | (uint64_t)interrupt, 0);
        run = RISCV_RUN_GO_ON;
    }
    return run;
}

/* ---- Reset ---- */

void riscv_system_reset(struct vcpu *cpu)
{
    struct riscv_hart *h = riscv_hart(cpu);

    memset(cpu->r, 0, sizeof(cpu->r));
    memset(h->rv.f, 0, sizeof(h->rv.f));
    /* Pins stay, and what isn't the guest's. */
    for (size_t i = 0; i < riscv_n_state_fields; i++) {
        memset((char *)h + riscv_state_fields[i].offset, 0,
               riscv_state_fields[i].count * sizeof(uint64_t));
    }
    cpu->pc = h->reset_pc;
    h->priv = PRIV_M;
    h->mstatus =
        (hart_has(h, RISCV_EXT_U) ? MSTATUS_UXL : 0) | (hart_has(h, RISCV_EXT_S) ? MSTATUS_SXL : 0);
    h->menvcfg = (hart_has(h, RISCV_EXT_SVPBMT) ? MENVCFG_PBMTE : 0) |
                 (hart_has(h, RISCV_EXT_SVADU) && !hart_has(h, RISCV_EXT_SVADE) ? MENVCFG_ADUE : 0);
    h->waiting = false;
    riscv_state_after_load(cpu);
}

void riscv_system_set_reset_pc(struct vcpu *cpu, uint64_t pc)
{
    riscv_hart(cpu)->reset_pc = pc;
}

void riscv_system_init(struct vcpu *cpu, const struct riscv_system_config *config)
{
    struct riscv_hart *h = riscv_hart(cpu);

    h->config = *config;
    h->reset_pc = config->reset_pc;
    riscv_system_reset(cpu);
}

/* ---- State ---- */

#define ONE(field)                                    \
    {                                                 \
#field, offsetof(struct riscv_hart, field), 1 \
    }
#define MANY(field)                                                                               \
    {                                                                                             \
#field, offsetof(struct riscv_hart, field), G_N_ELEMENTS(((struct riscv_hart *)0)->field) \
    }

const struct riscv_state_field riscv_state_fields[] = {
    ONE(priv),       ONE(mstatus),    ONE(mtvec),     ONE(mscratch),      ONE(mepc),
    ONE(mcause),     ONE(mtval),      ONE(mie),       ONE(medeleg),       ONE(mideleg),
    ONE(mcounteren), ONE(menvcfg),    ONE(mseccfg),   ONE(stvec),         ONE(sscratch),
    ONE(sepc),       ONE(scause),     ONE(stval),     ONE(scounteren),    ONE(senvcfg),
    ONE(satp),       ONE(stimecmp),   MANY(mstateen), ONE(mcountinhibit), MANY(pmpcfg),
    MANY(pmpaddr),   MANY(mhpmevent), MANY(counter),  ONE(fcsr),          ONE(soft_pending),
};
const size_t riscv_n_state_fields = G_N_ELEMENTS(riscv_state_fields);

void riscv_state_before_save(struct vcpu *cpu)
{
    struct riscv_hart *h = riscv_hart(cpu);

    counters_update(h);
    h->fcsr = (cpu->mode & MODE_FRM) << 5 | dbt_fp_flags_get(cpu);
}

/* Nobody may rely on the saved bits being such as a hart can have them: what the rest of the code
 * takes for granted is made so. The rest is as harmless as what a guest can write. */
static void make_legal(struct riscv_hart *h)
{
    uint64_t mode = h->satp >> SATP_MODE_SHIFT;

    if (h->priv != PRIV_U && h->priv != PRIV_S) {
        h->priv = PRIV_M;
    }
    if ((h->mstatus & MSTATUS_MPP) >> MSTATUS_MPP_SHIFT == 2) {
        h->mstatus &= ~MSTATUS_MPP;
    }
    if (mode < RISCV_SATP_SV39 || mode > hart_model(h)->satp_mode) {
        h->satp = 0;
    }
}

void riscv_state_after_load(struct vcpu *cpu)
{
    struct riscv_hart *h = riscv_hart(cpu);

    make_legal(h);
    cpu->mode = h->fcsr >> 5 & MODE_FRM;
    dbt_fp_flags_set(cpu, h->fcsr & 31);
    cpu->excl_addr = UINT64_MAX;
    h->counting = 0; /* what they counted is in counter[] */
    h->stip = false;
    h->per_space = false;
    h->tlb_context = ~mmu_context(h); /* switch to it, whatever it was */
    h->code_context = ~mmu_code_context(h);
    counters_update(h);
    pmp_update(h);
    dbt_tlb_flush(cpu);
    hart_update_mode(h);
    hart_update_stimer(h);
    vcpu_kick(cpu);
}

unsigned riscv_get_privilege(const struct vcpu *cpu)
{
    return (unsigned)((const struct riscv_hart *)cpu)->priv;
}

void riscv_set_privilege(struct vcpu *cpu, unsigned privilege)
{
    struct riscv_hart *h = riscv_hart(cpu);

    if (privilege == PRIV_M || (privilege == PRIV_S && hart_has(h, RISCV_EXT_S)) ||
        (privilege == PRIV_U && hart_has(h, RISCV_EXT_U))) {
        hart_change_priv(h, (enum riscv_priv)privilege);
        hart_update_mode(h);
    }
}
