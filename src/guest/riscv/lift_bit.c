/*
 * RISC-V: bit manipulation and scalar cryptography (Zba, Zbb, Zbs, Zbkb, Zbkx, Zknd, Zkne, Zknh,
 * Zksed, Zksh). Unprivileged ISA 20240411, chapters 28 and 30.
 */
#include "guest/riscv/crypto.h"
#include "guest/riscv/lift.h"

#define LIFT_R(name, how, what)                                                                    \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_r *a)                      \
    {                                                                                              \
        return how(c, a, what);                                                                    \
    }
#define LIFT_R1(name, how, what)                                                                   \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_r1 *a)                     \
    {                                                                                              \
        return how(c, a, what);                                                                    \
    }
#define LIFT_SHIFT(name, how, what)                                                                \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_shift *a)                  \
    {                                                                                              \
        return how(c, a, what);                                                                    \
    }

/* ---- Zba: rs2 + (rs1 << shift), rs1 perhaps zero-extended from 32 bits ---- */

static bool shift_add(struct riscv_lift *c, const struct riscv_arg_r *a, unsigned shift)
{
    ir_val x = ir_bini(c->u, IR_SHL, IR_I64, riscv_get_x(c, a->rs1), shift);

    riscv_put_x(c, a->rd, ir_bin(c->u, IR_ADD, IR_I64, riscv_get_x(c, a->rs2), x));
    return true;
}

static bool shift_add_uw(struct riscv_lift *c, const struct riscv_arg_r *a, unsigned shift)
{
    ir_val x = ir_zext(c->u, IR_I64, IR_I32, riscv_get_x(c, a->rs1));

    x = ir_bini(c->u, IR_SHL, IR_I64, x, shift);
    riscv_put_x(c, a->rd, ir_bin(c->u, IR_ADD, IR_I64, riscv_get_x(c, a->rs2), x));
    return true;
}

LIFT_R(sh1add, shift_add, 1)
LIFT_R(sh2add, shift_add, 2)
LIFT_R(sh3add, shift_add, 3)
LIFT_R(add_uw, shift_add_uw, 0)
LIFT_R(sh1add_uw, shift_add_uw, 1)
LIFT_R(sh2add_uw, shift_add_uw, 2)
LIFT_R(sh3add_uw, shift_add_uw, 3)

bool riscv_lift_slli_uw(struct riscv_lift *c, const struct riscv_arg_shift *a)
{
    ir_val x = ir_zext(c->u, IR_I64, IR_I32, riscv_get_x(c, a->rs1));

    riscv_put_x(c, a->rd, ir_bini(c->u, IR_SHL, IR_I64, x, a->shamt));
    return true;
}

/* ---- Zbb, Zbkb (the operations of two registers that the IR has are in lift_int.c) ---- */

static bool unary(struct riscv_lift *c, const struct riscv_arg_r1 *a, enum ir_opcode op)
{
    riscv_put_x(c, a->rd, ir_un(c->u, op, IR_I64, riscv_get_x(c, a->rs1)));
    return true;
}

static bool unary_w(struct riscv_lift *c, const struct riscv_arg_r1 *a, enum ir_opcode op)
{
    riscv_put_w(c, a->rd, ir_un(c->u, op, IR_I32, riscv_get_x(c, a->rs1)));
    return true;
}

static bool sign_extend(struct riscv_lift *c, const struct riscv_arg_r1 *a, enum ir_type from)
{
    riscv_put_x(c, a->rd, ir_sext(c->u, IR_I64, from, riscv_get_x(c, a->rs1)));
    return true;
}

LIFT_R1(clz, unary, IR_CLZ)
LIFT_R1(ctz, unary, IR_CTZ)
LIFT_R1(cpop, unary, IR_POPCNT)
LIFT_R1(orc_b, unary, IR_ORCB)
LIFT_R1(rev8, unary, IR_BSWAP)
LIFT_R1(brev8, unary, IR_BREV8)
LIFT_R1(clzw, unary_w, IR_CLZ)
LIFT_R1(ctzw, unary_w, IR_CTZ)
LIFT_R1(cpopw, unary_w, IR_POPCNT)
LIFT_R1(sext_b, sign_extend, IR_I8)
LIFT_R1(sext_h, sign_extend, IR_I16)

bool riscv_lift_zext_h(struct riscv_lift *c, const struct riscv_arg_r1 *a)
{
    riscv_put_x(c, a->rd, ir_zext(c->u, IR_I64, IR_I16, riscv_get_x(c, a->rs1)));
    return true;
}

/* The low halves of rs1 (below) and rs2 (above), as one number of twice the width of [half]. */
static ir_val packed(struct riscv_lift *c, const struct riscv_arg_r *a, enum ir_type half)
{
    ir_val low = ir_zext(c->u, IR_I64, half, riscv_get_x(c, a->rs1));
    ir_val high = ir_zext(c->u, IR_I64, half, riscv_get_x(c, a->rs2));

    high = ir_bini(c->u, IR_SHL, IR_I64, high, ir_type_bits(half));
    return ir_bin(c->u, IR_OR, IR_I64, low, high);
}

bool riscv_lift_pack(struct riscv_lift *c, const struct riscv_arg_r *a)
{
    riscv_put_x(c, a->rd, packed(c, a, IR_I32));
    return true;
}

bool riscv_lift_packh(struct riscv_lift *c, const struct riscv_arg_r *a)
{
    riscv_put_x(c, a->rd, packed(c, a, IR_I8));
    return true;
}

bool riscv_lift_packw(struct riscv_lift *c, const struct riscv_arg_r *a)
{
    riscv_put_w(c, a->rd, packed(c, a, IR_I16));
    return true;
}

/* ---- Zbs ---- */

/* rs1 combined with the mask of one bit. */
static ir_val with_bit(struct riscv_lift *c, int rs1, enum ir_opcode op, ir_val index)
{
    ir_val bit = ir_bin(c->u, IR_SHL, IR_I64, ir_const(c->u, IR_I64, 1), index);

    return ir_bin(c->u, op, IR_I64, riscv_get_x(c, rs1), bit);
}

static bool bit_op(struct riscv_lift *c, const struct riscv_arg_r *a, enum ir_opcode op)
{
    riscv_put_x(c, a->rd, with_bit(c, a->rs1, op, riscv_get_x(c, a->rs2)));
    return true;
}

static bool bit_op_imm(struct riscv_lift *c, const struct riscv_arg_shift *a, enum ir_opcode op)
{
    ir_val index = ir_const(c->u, IR_I64, (uint64_t)a->shamt);

    riscv_put_x(c, a->rd, with_bit(c, a->rs1, op, index));
    return true;
}

LIFT_R(bclr, bit_op, IR_ANDN)
LIFT_R(binv, bit_op, IR_XOR)
LIFT_R(bset, bit_op, IR_OR)
LIFT_SHIFT(bclri, bit_op_imm, IR_ANDN)
LIFT_SHIFT(binvi, bit_op_imm, IR_XOR)
LIFT_SHIFT(bseti, bit_op_imm, IR_OR)

bool riscv_lift_bext(struct riscv_lift *c, const struct riscv_arg_r *a)
{
    ir_val x = riscv_get_x(c, a->rs1), y = riscv_get_x(c, a->rs2);

    x = ir_bin(c->u, IR_SHR, IR_I64, x, y);
    riscv_put_x(c, a->rd, ir_bini(c->u, IR_AND, IR_I64, x, 1));
    return true;
}

bool riscv_lift_bexti(struct riscv_lift *c, const struct riscv_arg_shift *a)
{
    ir_val x = ir_bini(c->u, IR_SHR, IR_I64, riscv_get_x(c, a->rs1), a->shamt);

    riscv_put_x(c, a->rd, ir_bini(c->u, IR_AND, IR_I64, x, 1));
    return true;
}

/* ---- Zbkx and cryptography: helpers of crypto.c, with rs1, rs2 and the immediate ---- */

static bool crypto(struct riscv_lift *c, int rd, const struct ir_helper *helper, int rs1, ir_val b,
                   ir_val imm)
{
    riscv_put_x(c, rd, ir_helper(c->u, IR_I64, helper, riscv_get_x(c, rs1), b, imm, 0));
    return true;
}

#define LIFT_CRYPTO2(name)                                                                         \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_r *a)                      \
    {                                                                                              \
        return crypto(c, a->rd, &riscv_helper_##name, a->rs1, riscv_get_x(c, a->rs2), 0);          \
    }
#define LIFT_CRYPTO1(name)                                                                         \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_r1 *a)                     \
    {                                                                                              \
        return crypto(c, a->rd, &riscv_helper_##name, a->rs1, 0, 0);                               \
    }
#define LIFT_CRYPTO_BS(name)                                                                       \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_bs *a)                     \
    {                                                                                              \
        return crypto(c, a->rd, &riscv_helper_##name, a->rs1, riscv_get_x(c, a->rs2),              \
                      ir_const(c->u, IR_I64, (uint64_t)a->bs));                                    \
    }

/* Zknh, Zksh: rs1 rotated by x and by y and (rotated or shifted) by z, or itself for z = 0; 32-bit
 * results are sign-extended. */
static bool hash(struct riscv_lift *c, const struct riscv_arg_r1 *a, enum ir_type type, unsigned x,
                 unsigned y, enum ir_opcode op, unsigned z)
{
    ir_val v = riscv_get_x(c, a->rs1);
    ir_val t = z ? ir_bini(c->u, op, type, v, z) : v;

    t = ir_bin(c->u, IR_XOR, type, t, ir_bini(c->u, IR_ROR, type, v, x));
    t = ir_bin(c->u, IR_XOR, type, t, ir_bini(c->u, IR_ROR, type, v, y));
    riscv_put_x(c, a->rd, type == IR_I32 ? ir_sext(c->u, IR_I64, IR_I32, t) : t);
    return true;
}

#define LIFT_HASH(name, ...)                                                                       \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_r1 *a)                     \
    {                                                                                              \
        return hash(c, a, __VA_ARGS__);                                                            \
    }

LIFT_HASH(sha256sum0, IR_I32, 2, 13, IR_ROR, 22)
LIFT_HASH(sha256sum1, IR_I32, 6, 11, IR_ROR, 25)
LIFT_HASH(sha256sig0, IR_I32, 7, 18, IR_SHR, 3)
LIFT_HASH(sha256sig1, IR_I32, 17, 19, IR_SHR, 10)
LIFT_HASH(sha512sum0, IR_I64, 28, 34, IR_ROR, 39)
LIFT_HASH(sha512sum1, IR_I64, 14, 18, IR_ROR, 41)
LIFT_HASH(sha512sig0, IR_I64, 1, 8, IR_SHR, 7)
LIFT_HASH(sha512sig1, IR_I64, 19, 61, IR_SHR, 6)
LIFT_HASH(sm3p0, IR_I32, 23, 15, IR_ROR, 0)
LIFT_HASH(sm3p1, IR_I32, 17, 9, IR_ROR, 0)

LIFT_CRYPTO2(xperm4)
LIFT_CRYPTO2(xperm8)
LIFT_CRYPTO2(aes64ds)
LIFT_CRYPTO2(aes64dsm)
LIFT_CRYPTO2(aes64es)
LIFT_CRYPTO2(aes64esm)
LIFT_CRYPTO2(aes64ks2)
LIFT_CRYPTO1(aes64im)
LIFT_CRYPTO_BS(sm4ed)
LIFT_CRYPTO_BS(sm4ks)

bool riscv_lift_aes64ks1i(struct riscv_lift *c, const struct riscv_arg_rnum *a)
{
    /* Rounds above 10 are reserved. */
    if (a->rnum > 10) {
        return false;
    }
    return crypto(c, a->rd, &riscv_helper_aes64ks1i, a->rs1, 0,
                  ir_const(c->u, IR_I64, (uint64_t)a->rnum));
}
