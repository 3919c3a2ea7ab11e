/*
 * RISC-V: integer computation and control flow (RV64I, M, Zicond).
 * Unprivileged ISA 20240411, chapters 2, 4, 12 and 13.
 */
#include "guest/riscv/lift.h"

/* ---- Register-immediate ---- */

static bool op_imm(struct riscv_lift *c, const struct riscv_arg_i *a, enum ir_opcode op)
{
    riscv_put_x(c, a->rd, ir_bini(c->u, op, IR_I64, riscv_get_x(c, a->rs1), a->imm));
    return true;
}

static bool set_imm(struct riscv_lift *c, const struct riscv_arg_i *a, enum ir_cond cond)
{
    ir_val imm = ir_const(c->u, IR_I64, (uint64_t)(int64_t)a->imm);

    riscv_put_x(c, a->rd, ir_setcc(c->u, cond, IR_I64, riscv_get_x(c, a->rs1), imm));
    return true;
}

static bool shift_imm(struct riscv_lift *c, const struct riscv_arg_shift *a, enum ir_opcode op)
{
    riscv_put_x(c, a->rd, ir_bini(c->u, op, IR_I64, riscv_get_x(c, a->rs1), a->shamt));
    return true;
}

static bool shift_imm_w(struct riscv_lift *c, const struct riscv_arg_shift *a, enum ir_opcode op)
{
    riscv_put_w(c, a->rd, ir_bini(c->u, op, IR_I32, riscv_get_x(c, a->rs1), a->shamt));
    return true;
}

#define LIFT_I(name, how, what)                                                                    \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_i *a)                      \
    {                                                                                              \
        return how(c, a, what);                                                                    \
    }
#define LIFT_SHIFT(name, how, what)                                                                \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_shift *a)                  \
    {                                                                                              \
        return how(c, a, what);                                                                    \
    }

LIFT_I(addi, op_imm, IR_ADD)
LIFT_I(xori, op_imm, IR_XOR)
LIFT_I(ori, op_imm, IR_OR)
LIFT_I(andi, op_imm, IR_AND)
LIFT_I(slti, set_imm, IR_LT)
LIFT_I(sltiu, set_imm, IR_LTU)
LIFT_SHIFT(slli, shift_imm, IR_SHL)
LIFT_SHIFT(srli, shift_imm, IR_SHR)
LIFT_SHIFT(srai, shift_imm, IR_SAR)
LIFT_SHIFT(slliw, shift_imm_w, IR_SHL)
LIFT_SHIFT(srliw, shift_imm_w, IR_SHR)
LIFT_SHIFT(sraiw, shift_imm_w, IR_SAR)
LIFT_SHIFT(rori, shift_imm, IR_ROR)
LIFT_SHIFT(roriw, shift_imm_w, IR_ROR)

bool riscv_lift_addiw(struct riscv_lift *c, const struct riscv_arg_i *a)
{
    riscv_put_w(c, a->rd, ir_bini(c->u, IR_ADD, IR_I32, riscv_get_x(c, a->rs1), a->imm));
    return true;
}

static uint64_t upper_imm(const struct riscv_arg_u *a)
{
    return (uint64_t)(int64_t)a->imm20 << 12;
}

bool riscv_lift_lui(struct riscv_lift *c, const struct riscv_arg_u *a)
{
    riscv_put_x(c, a->rd, ir_const(c->u, IR_I64, upper_imm(a)));
    return true;
}

bool riscv_lift_auipc(struct riscv_lift *c, const struct riscv_arg_u *a)
{
    riscv_put_x(c, a->rd, ir_pc(c->u, c->pc + upper_imm(a)));
    return true;
}

/* ---- Register-register ---- */

static bool op(struct riscv_lift *c, const struct riscv_arg_r *a, enum ir_opcode opcode)
{
    ir_val x = riscv_get_x(c, a->rs1), y = riscv_get_x(c, a->rs2);

    riscv_put_x(c, a->rd, ir_bin(c->u, opcode, IR_I64, x, y));
    return true;
}

static bool op_w(struct riscv_lift *c, const struct riscv_arg_r *a, enum ir_opcode opcode)
{
    ir_val x = riscv_get_x(c, a->rs1), y = riscv_get_x(c, a->rs2);

    riscv_put_w(c, a->rd, ir_bin(c->u, opcode, IR_I32, x, y));
    return true;
}

static bool set(struct riscv_lift *c, const struct riscv_arg_r *a, enum ir_cond cond)
{
    ir_val x = riscv_get_x(c, a->rs1), y = riscv_get_x(c, a->rs2);

    riscv_put_x(c, a->rd, ir_setcc(c->u, cond, IR_I64, x, y));
    return true;
}

#define LIFT_R(name, how, what)                                                                    \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_r *a)                      \
    {                                                                                              \
        return how(c, a, what);                                                                    \
    }

LIFT_R(add, op, IR_ADD)
LIFT_R(sub, op, IR_SUB)
LIFT_R(sll, op, IR_SHL)
LIFT_R(slt, set, IR_LT)
LIFT_R(sltu, set, IR_LTU)
LIFT_R(xor, op, IR_XOR)
LIFT_R(srl, op, IR_SHR)
LIFT_R(sra, op, IR_SAR)
LIFT_R(or, op, IR_OR)
LIFT_R(and, op, IR_AND)
LIFT_R(addw, op_w, IR_ADD)
LIFT_R(subw, op_w, IR_SUB)
LIFT_R(sllw, op_w, IR_SHL)
LIFT_R(srlw, op_w, IR_SHR)
LIFT_R(sraw, op_w, IR_SAR)

/* M. Division by zero and overflow are defined by the IR as RISC-V has them (IR_DIV0_ONES is 0). */
LIFT_R(mul, op, IR_MUL)
LIFT_R(mulh, op, IR_MULHSS)
LIFT_R(mulhsu, op, IR_MULHSU)
LIFT_R(mulhu, op, IR_MULHUU)
LIFT_R(div, op, IR_DIVS)
LIFT_R(divu, op, IR_DIVU)
LIFT_R(rem, op, IR_REMS)
LIFT_R(remu, op, IR_REMU)
LIFT_R(mulw, op_w, IR_MUL)
LIFT_R(divw, op_w, IR_DIVS)
LIFT_R(divuw, op_w, IR_DIVU)
LIFT_R(remw, op_w, IR_REMS)
LIFT_R(remuw, op_w, IR_REMU)

/* Operations of Zbb, Zbkb, Zbc that the IR has as they are. */
LIFT_R(andn, op, IR_ANDN)
LIFT_R(orn, op, IR_ORN)
LIFT_R(xnor, op, IR_XNOR)
LIFT_R(rol, op, IR_ROL)
LIFT_R(ror, op, IR_ROR)
LIFT_R(rolw, op_w, IR_ROL)
LIFT_R(rorw, op_w, IR_ROR)
LIFT_R(min, op, IR_MINS)
LIFT_R(minu, op, IR_MINU)
LIFT_R(max, op, IR_MAXS)
LIFT_R(maxu, op, IR_MAXU)
LIFT_R(clmul, op, IR_CLMUL)
LIFT_R(clmulh, op, IR_CLMULH)
LIFT_R(clmulr, op, IR_CLMULR)

/* Zicond: rs1, or 0 if rs2 compares to 0 so. */
static bool conditional_zero(struct riscv_lift *c, const struct riscv_arg_r *a, enum ir_cond cond)
{
    ir_val zero = ir_const(c->u, IR_I64, 0);
    ir_val x = riscv_get_x(c, a->rs1), y = riscv_get_x(c, a->rs2);

    riscv_put_x(c, a->rd, ir_selcc(c->u, cond, IR_I64, y, zero, IR_I64, zero, x));
    return true;
}

LIFT_R(czero_eqz, conditional_zero, IR_EQ)
LIFT_R(czero_nez, conditional_zero, IR_NE)

/* ---- Control flow ---- */

static bool branch(struct riscv_lift *c, const struct riscv_arg_b *a, enum ir_cond cond)
{
    uint64_t target = c->pc + (uint64_t)(int64_t)a->off;
    ir_val x = riscv_get_x(c, a->rs1), y = riscv_get_x(c, a->rs2);

    ir_exit_if(c->u, cond, IR_I64, x, y, target);
    return true;
}

#define LIFT_B(name, cond)                                                                         \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_b *a)                      \
    {                                                                                              \
        return branch(c, a, cond);                                                                 \
    }

LIFT_B(beq, IR_EQ)
LIFT_B(bne, IR_NE)
LIFT_B(blt, IR_LT)
LIFT_B(bge, IR_GE)
LIFT_B(bltu, IR_LTU)
LIFT_B(bgeu, IR_GEU)

/* x1 and x5 hold return addresses by convention: the hints of 2.5.1, table 3. */
static bool is_link(int reg)
{
    return reg == 1 || reg == 5;
}

bool riscv_lift_jal(struct riscv_lift *c, const struct riscv_arg_j *a)
{
    uint64_t target = c->pc + (uint64_t)(int64_t)a->off;

    riscv_put_x(c, a->rd, ir_pc(c->u, c->next_pc));
    if (is_link(a->rd)) {
        ir_call(c->u, ir_pc(c->u, target), c->next_pc);
        c->result = LIFT_END;
    } else {
        c->next_pc = target;
        c->result = LIFT_JUMP;
    }
    return true;
}

bool riscv_lift_jalr(struct riscv_lift *c, const struct riscv_arg_i *a)
{
    ir_val sum = ir_bini(c->u, IR_ADD, IR_I64, riscv_get_x(c, a->rs1), a->imm);
    ir_val target = ir_bini(c->u, IR_AND, IR_I64, sum, ~INT64_C(1));

    /* The target is read before rd is written: they may be the same register. */
    riscv_put_x(c, a->rd, ir_pc(c->u, c->next_pc));
    if (is_link(a->rd)) {
        ir_call(c->u, target, c->next_pc);
    } else if (is_link(a->rs1) && a->imm == 0) {
        ir_ret(c->u, target);
    } else {
        ir_jump(c->u, target);
    }
    c->result = LIFT_END;
    return true;
}
