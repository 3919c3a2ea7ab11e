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

struct riscv_lift_system;

struct riscv_lift {
    struct ir_unit *u;
    uint64_t pc;              /* of the instruction */
    uint64_t next_pc;         /* of the following one; a definition that jumps changes it */
    uint32_t mode;            /* vcpu.mode in this unit */
    uint8_t frm;              /* the rounding mode register in it: 0-7 */
    const struct riscv_model *model;
    enum lift_result result;  /* LIFT_NEXT unless a definition changes it */
    const struct riscv_lift_system *system; /* of a machine; NULL: of a program */
};

/* One CSR instruction, with either form of its source. */
enum riscv_csr_op { RISCV_CSR_WRITE, RISCV_CSR_SET, RISCV_CSR_CLEAR };
struct riscv_csr_access {
    int rd;
    unsigned csr;
    enum riscv_csr_op op;
    bool writes;         /* rs1 is not x0, the immediate is not 0, or it is csrrw */
    int rs1;             /* -1: the immediate */
    unsigned zimm;
};

enum riscv_cbo { RISCV_CBO_INVAL, RISCV_CBO_CLEAN, RISCV_CBO_FLUSH, RISCV_CBO_ZERO };

/* What instructions mean in a machine, where it is something else than in a program
 * (lift_system.c). Each is a definition like others. */
struct riscv_lift_system {
    /* Before an instruction that uses floating-point registers. With LIFT_END as the result it
     * isn't to be lifted. */
    bool (*before_fp)(struct riscv_lift *c, uint32_t w);
    /* A CSR other than fflags, frm, fcsr. */
    bool (*csr)(struct riscv_lift *c, const struct riscv_csr_access *a);
    bool (*mret)(struct riscv_lift *c);
    bool (*sret)(struct riscv_lift *c);
    bool (*wfi)(struct riscv_lift *c);
    bool (*sfence_vma)(struct riscv_lift *c, int rs1, int rs2);
    /* sfence.w.inval, sfence.inval.ir: sinval.vma does all of it. */
    bool (*sfence_inval)(struct riscv_lift *c);
    /* Whether a cache-block instruction is legal; does it too, but for cbo.zero. */
    bool (*cbo)(struct riscv_lift *c, enum riscv_cbo kind, int rs1);
    bool (*amocas_q)(struct riscv_lift *c, const struct riscv_arg_amo *a);
};

/* guest_arch.lift of either kind. */
enum lift_result riscv_lift_insn_at(struct lift_ctx *ctx, const struct riscv_lift_system *system);
/* Registers and tables that both kinds have. */
extern const struct guest_reg riscv_regs[RISCV_N_REGS];
extern const uint8_t riscv_pin_int[], riscv_pin_fp[];
uint8_t riscv_mode_frm(uint32_t mode);

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
