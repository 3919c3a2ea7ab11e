/*
 * The optimizing pass over a unit: one walk from the end to the start, which sees all uses of a
 * value before the value. What nobody uses goes. Where nobody uses more than the low 32 bits, an
 * operation is done with 32, and an extension to 64 isn't done at all.
 */
#include <string.h>

#include "dbt/ir_build.h"

/* Guest registers whose value at a point is overwritten before anything can see it. */
struct reg_set {
    uint64_t bits[(IR_MAX_REGS + 63) / 64];
};

static bool reg_set_has(const struct reg_set *set, uint64_t reg)
{
    return set->bits[reg / 64] >> (reg % 64) & 1;
}

static void reg_set_add(struct reg_set *set, uint64_t reg)
{
    set->bits[reg / 64] |= UINT64_C(1) << (reg % 64);
}

static void reg_set_remove(struct reg_set *set, uint64_t reg)
{
    set->bits[reg / 64] &= ~(UINT64_C(1) << (reg % 64));
}

static unsigned helper_flags(const struct ir_op *op)
{
    return ((const struct ir_helper *)(uintptr_t)op->imm)->flags;
}

/* Can the operation be dropped when nobody uses its result? */
static bool is_removable(const struct ir_op *op)
{
    switch (op->op) {
    case IR_LDS:
    case IR_FGETFLAGS: return true;
    case IR_HELPER: return op->type != IR_VOID && (helper_flags(op) & IR_HELPER_PURE);
    default: return ir_op_flags[op->op] & IR_P;
    }
}

/* Must the vCPU's guest registers be exact when the operation is executed? A memory operation may
 * fault; a poll for interrupts happens only where the unit is left. */
static bool observes_registers(const struct ir_op *op)
{
    if (op->op == IR_HELPER) {
        return helper_flags(op) & (IR_HELPER_SYNC | IR_HELPER_MAY_EXIT);
    }
    return ir_op_flags[op->op] & (IR_M | IR_X);
}

static void remove_op(struct ir_op *op)
{
    memset(op, 0, sizeof(*op));
}

/* ---- Which bits are used ---- */

enum {
    USED = 1,
    USED_WIDE = 2,           /* also bits above the low 32 */
};

static unsigned bits_of(bool wide)
{
    return wide ? USED | USED_WIDE : USED;
}

/* Which bits of its argument [a] the operation uses. */
static unsigned uses_bits(const struct ir_op *op, unsigned a)
{
    switch (op->op) {
    case IR_SEXT:
    case IR_ZEXT: return bits_of(op->aux > IR_I32);
    case IR_STORE: return bits_of(a == 0 || op->aux2 > IR_I32);
    case IR_SETCC:
    case IR_EXIT_IF: return bits_of(op->aux2 > IR_I32);
    case IR_SELCC: return bits_of((a < 2 ? op->aux2 : op->type) > IR_I32);
    default: break;
    }
    return bits_of(op->op < IR_ADD || op->op > IR_CLMULR || op->type > IR_I32);
}

/* Do the low 32 bits of the result depend on nothing but those of the arguments? */
static bool may_be_narrow(const struct ir_unit *u, const struct ir_op *op)
{
    const struct ir_op *amount;

    switch (op->op) {
    case IR_ADD:
    case IR_SUB:
    case IR_MUL:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_ANDN:
    case IR_ORN:
    case IR_XNOR:
    case IR_SELCC: return true;
    case IR_SHL:
        amount = &u->ops[op->arg[1]];
        return amount->op == IR_CONST && (amount->imm & 63) < 32;
    default: return false;
    }
}

/* An extension of which only the bits that it doesn't change are used. */
static bool is_needless(const struct ir_op *op, unsigned used)
{
    return (op->op == IR_SEXT || op->op == IR_ZEXT) && op->type == IR_I64 && op->aux == IR_I32 &&
           !(used & USED_WIDE);
}

/* Values for which others stand in from now on. */
static void replace_values(struct ir_unit *u, ir_val *instead)
{
    for (unsigned i = 1; i < u->n_ops; i++) {
        struct ir_op *op = &u->ops[i];

        if (instead[i]) { /* an earlier one, so what stands in for that is known */
            instead[i] = instead[instead[i]] ? instead[instead[i]] : instead[i];
            continue;
        }
        for (unsigned a = 0; a < ir_op_nargs[op->op]; a++) {
            if (instead[op->arg[a]]) {
                op->arg[a] = instead[op->arg[a]];
            }
        }
    }
}

void ir_optimize(struct ir_unit *u)
{
    struct reg_set overwritten = {{0}};
    ir_val instead[IR_MAX_OPS];
    uint8_t used[IR_MAX_OPS];
    bool replaced = false;

    memset(used, 0, u->n_ops);
    memset(instead, 0, u->n_ops * sizeof(instead[0]));
    for (unsigned i = u->n_ops - 1; i > 0; i--) {
        struct ir_op *op = &u->ops[i];

        if (op->op == IR_PUT) {
            if (reg_set_has(&overwritten, op->imm)) {
                remove_op(op);
                continue;
            }
            reg_set_add(&overwritten, op->imm);
        } else if (!used[i] && is_removable(op)) {
            remove_op(op);
            continue;
        } else if (is_needless(op, used[i])) {
            instead[i] = op->arg[0];
            used[op->arg[0]] |= USED;
            remove_op(op);
            replaced = true;
            continue;
        } else if (op->op == IR_GET) {
            reg_set_remove(&overwritten, op->imm);
        } else if (observes_registers(op)) {
            memset(&overwritten, 0, sizeof(overwritten));
        } else if (op->type == IR_I64 && !(used[i] & USED_WIDE) && may_be_narrow(u, op)) {
            op->type = IR_I32;
        }
        for (unsigned a = 0; a < ir_op_nargs[op->op]; a++) {
            used[op->arg[a]] |= uses_bits(op, a);
        }
    }
    if (replaced) {
        replace_values(u, instead);
    }
}
