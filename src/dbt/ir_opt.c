/*
 * The optimizing pass over a unit: one walk from the end to the start.
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

void ir_optimize(struct ir_unit *u)
{
    struct reg_set overwritten = {{0}};
    uint8_t used[IR_MAX_OPS];

    memset(used, 0, u->n_ops);
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
        } else if (op->op == IR_GET) {
            reg_set_remove(&overwritten, op->imm);
        } else if (observes_registers(op)) {
            memset(&overwritten, 0, sizeof(overwritten));
        }
        for (unsigned a = 0; a < ir_op_nargs[op->op]; a++) {
            used[op->arg[a]] = 1;
        }
    }
}
