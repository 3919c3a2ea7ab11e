/*
 * Accesses that translated code doesn't find in its tables. All registers have been saved: those
 * that are homes to their homes, which makes the guest's state exact, scratch registers to
 * vcpu.far_save.
 */
#include "dbt/host/x86_64/cg.h"
#include "dbt/ir_eval.h"
#include "dbt/softmmu.h"

/* ---- How an access is written down ---- */

/*
 * There is one for each load and store of the guest's code, so it takes few bytes: this, the pc in
 * as many as it needs (a page offset, if it is relative), and the value, if that isn't in a
 * register (4 bytes).
 */
struct slow_code {
    uint32_t op : 3;         /* index of slow_ops */
    uint32_t mem : 4;
    uint32_t kind : 4;
    uint32_t is_signed : 1;
    uint32_t write : 1;
    uint32_t pc : 2;         /* enum slow_pc */
    uint32_t value : 2;
    uint32_t value_reg : 5;
    uint32_t has_dest : 1;
    uint32_t dest_reg : 5;
    uint32_t offset_reg : 2;
    uint32_t index_reg : 2;
    uint16_t back;
} __attribute__((packed));

enum slow_pc { SLOW_PC_RELATIVE, SLOW_PC_32, SLOW_PC_64 };

static const uint8_t slow_pc_size[] = { 2, 4, 8 };

static const uint8_t slow_ops[] = { IR_LOAD, IR_STORE, IR_LDX, IR_STX, IR_AMO, IR_CAS };

static enum slow_pc pc_form(const struct slow_access *a)
{
    if (a->relative)
        return SLOW_PC_RELATIVE;
    return a->pc == (uint64_t)(int32_t)a->pc ? SLOW_PC_32 : SLOW_PC_64;
}

uint8_t *slow_encode(uint8_t *p, const struct slow_access *a, unsigned back)
{
    struct slow_code c = {
        .mem = a->mem,
        .kind = a->kind,
        .is_signed = a->is_signed,
        .write = a->write,
        .pc = pc_form(a),
        .value = a->value,
        .value_reg = (uint32_t)a->value_reg,
        .has_dest = a->dest_reg != NO_REG,
        .dest_reg = (uint32_t)a->dest_reg & 31,
        .offset_reg = (uint32_t)a->offset_reg,
        .index_reg = (uint32_t)a->index_reg,
        .back = (uint16_t)back,
    };

    while (slow_ops[c.op] != a->op)
        c.op++;
    memcpy(p, &c, sizeof(c));
    p += sizeof(c);
    memcpy(p, &a->pc, slow_pc_size[c.pc]);
    p += slow_pc_size[c.pc];
    if (c.value >= SLOW_VALUE_IN_STATE) {
        memcpy(p, &a->imm, sizeof(a->imm));
        p += sizeof(a->imm);
    }
    return p;
}

/* Returns how far in front of [p] the code goes on. */
static unsigned slow_decode(const uint8_t *p, struct slow_access *a)
{
    struct slow_code c;
    uint64_t pc = 0;

    memcpy(&c, p, sizeof(c));
    p += sizeof(c);
    memcpy(&pc, p, slow_pc_size[c.pc]);
    p += slow_pc_size[c.pc];
    *a = (struct slow_access){
        .pc = c.pc == SLOW_PC_32 ? (uint64_t)(int32_t)pc : pc,
        .op = slow_ops[c.op],
        .mem = c.mem,
        .kind = c.kind,
        .is_signed = c.is_signed,
        .relative = c.pc == SLOW_PC_RELATIVE,
        .write = c.write,
        .offset_reg = (int8_t)c.offset_reg,
        .index_reg = (int8_t)c.index_reg,
        .value = c.value,
        .value_reg = (int8_t)c.value_reg,
        .dest_reg = c.has_dest ? (int8_t)c.dest_reg : NO_REG,
    };
    if (c.value >= SLOW_VALUE_IN_STATE)
        memcpy(&a->imm, p, sizeof(a->imm));
    return c.back;
}

/* ---- Doing it ---- */

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
    switch ((enum slow_value)a->value) {
    case SLOW_VALUE_IN_REG: return *saved_register(cpu, a->value_reg);
    case SLOW_VALUE_IN_STATE: return *(uint64_t *)((uint8_t *)cpu + VCPU_BASE_BIAS + a->imm);
    case SLOW_VALUE_IMM: return (uint64_t)(int64_t)a->imm;
    default: return 0;
    }
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

const uint8_t *softmmu_slow(struct vcpu *cpu, const uint8_t *code)
{
    struct slow_access a;
    unsigned back = slow_decode(code, &a);
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
    return ok ? code - back : NULL;
}
