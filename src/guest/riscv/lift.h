/*
 * What the definitions of RISC-V instructions (lift_*.c) have in common.
 *
 * A definition, riscv_lift_<name>, appends the IR of one instruction. It returns false, before it
 * has appended anything, if the operands are reserved: then the instruction is an illegal one.
 */
#ifndef NANDU_RISCV_LIFT_H
#define NANDU_RISCV_LIFT_H

#include "dbt/ir.h"
#include "guest/riscv/riscv.h"
#include "guest/riscv/riscv_decode.h"

struct riscv_lift {
    struct ir_unit *u;
    uint64_t pc;              /* of the instruction */
    uint64_t next_pc;         /* of the following one; a definition that jumps changes it */
    uint8_t frm;              /* the rounding mode register in this unit: 0-7 */
    const struct riscv_model *model;
    enum lift_result result;  /* LIFT_NEXT unless a definition changes it */
};

static inline ir_val riscv_get_x(struct riscv_lift *c, int reg)
{
    return reg ? ir_get(c->u, (unsigned)reg) : ir_const(c->u, IR_I64, 0);
}

static inline void riscv_put_x(struct riscv_lift *c, int reg, ir_val v)
{
    if (reg) {
        ir_put(c->u, (unsigned)reg, v);
    }
}

/* The whole 64-bit register. */
static inline ir_val riscv_get_f(struct riscv_lift *c, int reg)
{
    return ir_get(c->u, RISCV_REG_F0 + (unsigned)reg);
}

static inline void riscv_put_f(struct riscv_lift *c, int reg, ir_val v)
{
    ir_put(c->u, RISCV_REG_F0 + (unsigned)reg, v);
}

/* A number of [type] out of a NaN-boxed register, and back. */
static inline ir_val riscv_get_fp(struct riscv_lift *c, enum ir_type type, int reg)
{
    ir_val v = riscv_get_f(c, reg);

    return type == IR_F64 ? v : ir_unbox(c->u, type, v);
}

static inline void riscv_put_fp(struct riscv_lift *c, enum ir_type type, int reg, ir_val v)
{
    riscv_put_f(c, reg, type == IR_F64 ? v : ir_box(c->u, type, v));
}

/* Sets an integer register to the low 32 bits of [v], sign-extended. */
static inline void riscv_put_w(struct riscv_lift *c, int reg, ir_val v)
{
    riscv_put_x(c, reg, ir_sext(c->u, IR_I64, IR_I32, v));
}

/* Leaves the unit. For the last line of a definition: returns true. */
static inline bool riscv_exit(struct riscv_lift *c, enum vcpu_exit reason, uint64_t pc)
{
    ir_exit(c->u, reason, pc);
    c->result = LIFT_END;
    return true;
}

#endif
