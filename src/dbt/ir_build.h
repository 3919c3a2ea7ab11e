/*
 * Shared by the parts of the IR builder (ir.c, ir_fold.c); not for anybody else.
 */
#ifndef NANDU_DBT_IR_BUILD_H
#define NANDU_DBT_IR_BUILD_H

#include <glib.h>

#include "dbt/ir.h"
#include "dbt/ir_eval.h"

enum {
    /* The last operations are kept for constants and for the end of the unit, so that a unit can
     * always be ended after the instruction that didn't fit was taken back. */
    IR_RESERVED_OPS = 16,
    IR_SOFT_MAX_OPS = IR_MAX_OPS - IR_RESERVED_OPS,
};

ir_val ir_append_slow(struct ir_unit *u, const struct ir_op *op);

static inline ir_val ir_append(struct ir_unit *u, const struct ir_op *op)
{
    if (G_UNLIKELY(u->ended || u->n_ops >= IR_SOFT_MAX_OPS)) {
        return ir_append_slow(u, op);
    }
    u->ops[u->n_ops] = *op;
    return u->n_ops++;
}

/* An operation that has a type and up to two arguments only. */
static inline ir_val ir_append2(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a,
                                ir_val b)
{
    struct ir_op o = {.op = op, .type = type, .arg = {a, b}};

    return ir_append(u, &o);
}

/* The form in which the builder writes a constant: integers sign-extended from their width, the
 * bits of floating-point numbers zero-extended. */
static inline uint64_t ir_canonical(enum ir_type type, uint64_t value)
{
    if (ir_type_is_word(type)) {
        return (uint64_t)ir_sign_extend(value, ir_word_bits(type));
    }
    return ir_type_bits(type) < 64 ? ir_zero_extend(value, ir_type_bits(type)) : value;
}

static inline bool ir_fits_int32(int64_t value)
{
    return value == (int32_t)value;
}

/* True if a guest register holds the value now: using the value later costs the host no register
 * of its own. Knows GETs, and values that were PUT as soon as they were made. */
static inline bool ir_in_register(const struct ir_unit *u, ir_val v)
{
    const struct ir_op *op = &u->ops[v];

    if (op->op == IR_GET) {
        return op->imm < IR_MAX_REGS && u->reg[op->imm] == v;
    }
    return v + 1u < u->n_ops && op[1].op == IR_PUT && op[1].arg[0] == v &&
           op[1].imm < IR_MAX_REGS && u->reg[op[1].imm] == v;
}

#endif
