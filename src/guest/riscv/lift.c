/*
 * RISC-V: the table that the translator works from, and the lifting of one instruction.
 *
 * The generated decoder (riscv.decode) finds the row of an instruction and its operands; the
 * definition that the row names (lift_*.c) appends the IR. A 16-bit instruction has the definition
 * of the 32-bit one that it stands for.
 */
#include "guest/riscv/lift.h"

#include <stddef.h>
#include <string.h>

#include "guest/riscv/disas.h"

enum { INSN_SHORT = 2, INSN_LONG = 4 };

/* The instruction at ctx->pc into *w; its length in bytes, or 0 if it can't be read. */
static unsigned fetch(struct lift_ctx *ctx, uint32_t *w)
{
    uint8_t bytes[INSN_LONG];
    size_t n = ctx->fetch(ctx->fetch_opaque, ctx->pc, bytes, sizeof(bytes));

    if (n < INSN_SHORT) {
        return 0;
    }
    *w = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
    if ((*w & 3) != 3) {
        return INSN_SHORT;
    }
    if (n < INSN_LONG) {
        return 0;
    }
    *w |= (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    return INSN_LONG;
}

/* Without C, instructions start at multiples of 4 (1.5). The fault is raised at the target of the
 * jump, not at the jump. */
static enum lift_result lift_misaligned(struct lift_ctx *ctx)
{
    struct ir_unit *u = ctx->u;

    ir_insn(u, ctx->pc, INSN_LONG);
    ir_sts(u, IR_I64, offsetof(struct vcpu, fault_addr), ir_pc(u, ctx->pc));
    ir_sts(u, IR_I8, offsetof(struct vcpu, fault_kind), ir_const(u, IR_I64, VCPU_FAULT_ALIGN));
    ir_sts(u, IR_I8, offsetof(struct vcpu, fault_access), ir_const(u, IR_I64, VCPU_FETCH));
    ir_exit(u, VCPU_EXIT_FAULT, ctx->pc);
    return LIFT_END;
}

/* Loads, stores and computation of F, D, Zfh, Zfa, and their 16-bit forms (chapter 34). */
static bool is_floating_point(uint32_t w)
{
    enum {
        LOAD_FP = 0x07, STORE_FP = 0x27, MADD = 0x43, MSUB = 0x47, NMSUB = 0x4b, NMADD = 0x4f,
        OP_FP = 0x53,
    };

    if ((w & 3) != 3) {
        unsigned quadrant = w & 3, funct3 = w >> 13 & 7;

        return quadrant != 1 && (funct3 == 1 || funct3 == 5);   /* c.fld, c.fsd, c.fldsp, c.fsdsp */
    }
    switch (w & 0x7f) {
    case LOAD_FP:
    case STORE_FP:
    case MADD:
    case MSUB:
    case NMSUB:
    case NMADD:
    case OP_FP: return true;
    default: return false;
    }
}

/* The definition of the row's instruction, unless the mode has to change first. */
static bool lift_row(struct riscv_lift *c, uint32_t w, int row, const union riscv_args *args)
{
    if (c->system && is_floating_point(w)) {
        if (!c->system->before_fp(c, w)) {
            return false;
        }
        if (c->result == LIFT_END) {
            return true;
        }
    }
    return riscv_lift_insn(c, riscv_rows[row].insn, args);
}

enum lift_result riscv_lift_insn_at(struct lift_ctx *ctx, const struct riscv_lift_system *system)
{
    const struct riscv_model *model = ctx->model;
    struct riscv_lift c = {
        .u = ctx->u,
        .pc = ctx->pc,
        .mode = ctx->mode,
        .frm = ctx->mode & 7,
        .model = model,
        .result = LIFT_NEXT,
        .system = system,
    };
    union riscv_args args;
    uint32_t w = 0;
    unsigned length;
    int row;

    if ((ctx->pc & 2) && !riscv_has(model, RISCV_EXT_ZCA)) {
        return lift_misaligned(ctx);
    }
    length = fetch(ctx, &w);
    if (!length) {
        return LIFT_FETCH_FAULT;
    }
    ctx->tmp = w;
    c.next_pc = ctx->pc + length;
    ir_insn(ctx->u, ctx->pc, length);
    row = riscv_decode(w, model->ext, &args);
    if (row < 0 || !lift_row(&c, w, row, &args)) {
        riscv_exit(&c, VCPU_EXIT_ILLEGAL, ctx->pc);
    }
    ctx->next_pc = c.next_pc;
    return c.result;
}

static enum lift_result riscv_lift(struct lift_ctx *ctx)
{
    return riscv_lift_insn_at(ctx, NULL);
}

uint8_t riscv_mode_frm(uint32_t mode)
{
    return (mode & 7) <= IR_RMM ? mode & 7 : 0xff;
}

static void riscv_reset(struct vcpu *cpu)
{
    struct riscv_vcpu *rv = (struct riscv_vcpu *)cpu;

    memset(cpu->r, 0, sizeof(cpu->r));
    memset(rv->f, 0, sizeof(rv->f));
    cpu->pc = 0;
    cpu->mode = IR_RNE;
}

#define REG_X(n, name) {name, offsetof(struct riscv_vcpu, cpu.r[n]), IR_I64}
#define REG_F(n, name) {name, offsetof(struct riscv_vcpu, f[n]), IR_F64}

const struct guest_reg riscv_regs[RISCV_N_REGS] = {
    REG_X(0, "zero"), REG_X(1, "ra"), REG_X(2, "sp"), REG_X(3, "gp"),
    REG_X(4, "tp"), REG_X(5, "t0"), REG_X(6, "t1"), REG_X(7, "t2"),
    REG_X(8, "s0"), REG_X(9, "s1"), REG_X(10, "a0"), REG_X(11, "a1"),
    REG_X(12, "a2"), REG_X(13, "a3"), REG_X(14, "a4"), REG_X(15, "a5"),
    REG_X(16, "a6"), REG_X(17, "a7"), REG_X(18, "s2"), REG_X(19, "s3"),
    REG_X(20, "s4"), REG_X(21, "s5"), REG_X(22, "s6"), REG_X(23, "s7"),
    REG_X(24, "s8"), REG_X(25, "s9"), REG_X(26, "s10"), REG_X(27, "s11"),
    REG_X(28, "t3"), REG_X(29, "t4"), REG_X(30, "t5"), REG_X(31, "t6"),
    REG_F(0, "ft0"), REG_F(1, "ft1"), REG_F(2, "ft2"), REG_F(3, "ft3"),
    REG_F(4, "ft4"), REG_F(5, "ft5"), REG_F(6, "ft6"), REG_F(7, "ft7"),
    REG_F(8, "fs0"), REG_F(9, "fs1"), REG_F(10, "fa0"), REG_F(11, "fa1"),
    REG_F(12, "fa2"), REG_F(13, "fa3"), REG_F(14, "fa4"), REG_F(15, "fa5"),
    REG_F(16, "fa6"), REG_F(17, "fa7"), REG_F(18, "fs2"), REG_F(19, "fs3"),
    REG_F(20, "fs4"), REG_F(21, "fs5"), REG_F(22, "fs6"), REG_F(23, "fs7"),
    REG_F(24, "fs8"), REG_F(25, "fs9"), REG_F(26, "fs10"), REG_F(27, "fs11"),
    REG_F(28, "ft8"), REG_F(29, "ft9"), REG_F(30, "ft10"), REG_F(31, "ft11"),
};

/* By how often compiled programs use them: compilers allocate from a5 down, then s0 and up. */
const uint8_t riscv_pin_int[] = {
    15, 10, 14, 2, 11, 8, 13, 12, 1, 9, 16, 6, 17, 28, 18, 19, 20, 29, 30, 21, 22, 7, 31, 23, 24, 5,
    25, 26, 27, 4, 3, 0xff,
};

#define F(n) (RISCV_REG_F0 + (n))
const uint8_t riscv_pin_fp[] = {
    F(15), F(14), F(10), F(13), F(11), F(12), F(0), F(1), F(8), F(2), F(9), F(3), F(4), F(16),
    F(18), F(5), F(17), F(6), F(7), F(19), F(20), F(21), F(22), F(28), F(29), F(30), F(31), F(23),
    F(24), F(25), F(26), F(27), 0xff,
};
#undef F

const struct guest_arch riscv64_arch = {
    .name = "riscv64",
    .vcpu_size = sizeof(struct riscv_vcpu),
    .regs = riscv_regs,
    .n_regs = RISCV_N_REGS,
    .pin_int = riscv_pin_int,
    .pin_fp = riscv_pin_fp,
    .lift = riscv_lift,
    .mode_frm = riscv_mode_frm,
    .disassemble = riscv_disassemble,
    .reset = riscv_reset,
};
