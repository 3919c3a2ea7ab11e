/*
 * Accesses that translated code doesn't find in its tables. All registers have been saved: those
 * that are homes to their homes, which makes the guest's state exact, scratch registers to
 * vcpu.far_save.
 */
#include "dbt/host/x86_64/cg.h"
#include "dbt/ir_eval.h"
#include "dbt/softmmu.h"

static uint64_t *saved_register(struct vcpu *cpu, int reg)
{
    const struct cg *g = cpu->dbt->host;

    if (g->pinned & 1u << reg) {
        void *home = (uint8_t *)cpu + VCPU_BASE_BIAS + g->home_disp[g->reg_home[reg]];
        return home;
    }
    return &cpu->far_save[reg >= XMM0 ? 3 + reg - XMM0 : reg];
}

static uint64_t operand(struct vcpu *cpu, const struct slow_access *a)
{
    if (a->value_reg == NO_REG)
        return (uint64_t)(int64_t)a->imm;
    if (a->value_reg == SLOW_VALUE_IN_STATE)
        return *(uint64_t *)((uint8_t *)cpu + VCPU_BASE_BIAS + a->imm);
    return *saved_register(cpu, a->value_reg);
}

/* The look-up left address ^ tag. */
static uint64_t guest_address(struct vcpu *cpu, const struct slow_access *a)
{
    const struct tlb_entry *table = a->write ? cpu->tlb->write : cpu->tlb->read;
    uint64_t index = *saved_register(cpu, a->index_reg) / sizeof(*table);

    return *saved_register(cpu, a->offset_reg) ^ table[index].tag;
}

static bool load_exclusive(struct vcpu *cpu, uint64_t addr, unsigned size, uint64_t *value)
{
    if (!dbt_load(cpu, addr, size, value))
        return false;
    cpu->excl_addr = addr;
    cpu->excl_value = *value;
    return true;
}

/* The address was found to be the reserved one. */
static bool store_exclusive(struct vcpu *cpu, uint64_t addr, unsigned size, uint64_t desired,
                            uint64_t *result)
{
    uint64_t old = cpu->excl_value;
    bool swapped;

    if (!softmmu_compare_swap(cpu, addr, size, &old, desired, &swapped))
        return false;
    *result = !swapped;
    return true;
}

bool softmmu_slow(struct vcpu *cpu, const struct slow_access *in_code)
{
    struct slow_access a = *in_code; /* which is not aligned */
    uint64_t addr = guest_address(cpu, &a), value = operand(cpu, &a), result = 0;
    unsigned bits = ir_type_bits(a.mem), size = bits / 8;
    bool ok, swapped;

    cpu->pc = (a.relative ? vcpu_code_page(cpu) : 0) + a.pc;
    switch (a.op) {
    case IR_LOAD: ok = dbt_load(cpu, addr, size, &result); break;
    case IR_STORE: ok = dbt_store(cpu, addr, size, value); break;
    case IR_LDX: ok = load_exclusive(cpu, addr, size, &result); break;
    case IR_STX: ok = store_exclusive(cpu, addr, size, value, &result); break;
    case IR_AMO: ok = softmmu_amo(cpu, addr, a.kind, a.mem, value, &result); break;
    default:
        result = ir_zero_extend(cpu->scratch[0], bits); /* what is expected */
        ok = softmmu_compare_swap(cpu, addr, size, &result, value, &swapped);
        break;
    }
    if (ok && a.dest_reg != NO_REG) {
        if (a.is_signed && a.op != IR_STX)
            result = (uint64_t)ir_sign_extend(result, bits);
        *saved_register(cpu, a.dest_reg) = result;
    }
    return ok;
}
