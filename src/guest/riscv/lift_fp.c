/*
 * RISC-V: floating-point computation (F, D, Zfh, Zfhmin, Zfa).
 * Unprivileged ISA 20240411, chapters 21, 22, 24, 25.
 *
 * A unit is translated for one value of frm, so a dynamic rounding mode is known here; with a
 * reserved mode the instruction is illegal (21.2).
 */
#include "dbt/fp.h"
#include "guest/riscv/helpers.h"
#include "guest/riscv/lift.h"

enum { RM_DYN = 7 };

/* The rounding mode in force for an instruction's rm field; false if it is a reserved one. */
static bool rounding(const struct riscv_lift *c, int field, enum ir_rm *rm)
{
    int value = field == RM_DYN ? c->frm : field;

    *rm = (enum ir_rm)value;
    return value <= IR_RMM;
}

/* ---- Arithmetic ---- */

static bool arith(struct riscv_lift *c, const struct riscv_arg_f3 *a, enum ir_type type,
                  enum ir_opcode op)
{
    enum ir_rm rm;
    ir_val x, y;

    if (!rounding(c, a->rm, &rm)) {
        return false;
    }
    x = riscv_get_fp(c, type, a->fs1);
    y = riscv_get_fp(c, type, a->fs2);
    riscv_put_fp(c, type, a->fd, ir_fbin(c->u, op, type, x, y, rm));
    return true;
}

static bool multiply_add(struct riscv_lift *c, const struct riscv_arg_f4 *a, enum ir_type type,
                         unsigned neg)
{
    enum ir_rm rm;
    ir_val x, y, z;

    if (!rounding(c, a->rm, &rm)) {
        return false;
    }
    x = riscv_get_fp(c, type, a->fs1);
    y = riscv_get_fp(c, type, a->fs2);
    z = riscv_get_fp(c, type, a->fs3);
    riscv_put_fp(c, type, a->fd, ir_fmadd(c->u, type, x, y, z, rm, neg));
    return true;
}

static bool square_root(struct riscv_lift *c, const struct riscv_arg_f2 *a, enum ir_type type)
{
    enum ir_rm rm;

    if (!rounding(c, a->rm, &rm)) {
        return false;
    }
    riscv_put_fp(c, type, a->fd, ir_fsqrt(c->u, type, riscv_get_fp(c, type, a->fs1), rm));
    return true;
}

/* FSGN, FMIN, FMAX: no rounding. */
static bool combine(struct riscv_lift *c, const struct riscv_arg_f3n *a, enum ir_type type,
                    enum ir_opcode op, unsigned aux)
{
    ir_val x = riscv_get_fp(c, type, a->fs1);
    ir_val y = a->fs2 == a->fs1 ? x : riscv_get_fp(c, type, a->fs2);

    riscv_put_fp(c, type, a->fd, ir_fbin(c->u, op, type, x, y, aux));
    return true;
}

static bool compare(struct riscv_lift *c, const struct riscv_arg_fcmp *a, enum ir_type type,
                    enum ir_fcond cond)
{
    ir_val x = riscv_get_fp(c, type, a->fs1), y = riscv_get_fp(c, type, a->fs2);

    riscv_put_x(c, a->rd, ir_fcmp(c->u, cond, type, x, y));
    return true;
}

static bool classify(struct riscv_lift *c, const struct riscv_arg_xfn *a, enum ir_type type)
{
    riscv_put_x(c, a->rd, ir_fclass(c->u, type, riscv_get_fp(c, type, a->fs1)));
    return true;
}

static bool round_to_integral(struct riscv_lift *c, const struct riscv_arg_f2 *a,
                              enum ir_type type, bool inexact)
{
    enum ir_rm rm;
    ir_val x;

    if (!rounding(c, a->rm, &rm)) {
        return false;
    }
    x = riscv_get_fp(c, type, a->fs1);
    riscv_put_fp(c, type, a->fd, ir_fround(c->u, type, x, rm, inexact));
    return true;
}

/* ---- Rows: an instruction for each of the three formats ---- */

#define LIFT_FP1(name, set, type, how, ...)                                                        \
    bool riscv_lift_##name(struct riscv_lift *c, const struct riscv_arg_##set *a)                  \
    {                                                                                              \
        return how(c, a, type, ##__VA_ARGS__);                                                     \
    }
#define LIFT_FP(name, set, how, ...)                                                               \
    LIFT_FP1(name##_h, set, IR_F16, how, ##__VA_ARGS__)                                            \
    LIFT_FP1(name##_s, set, IR_F32, how, ##__VA_ARGS__)                                            \
    LIFT_FP1(name##_d, set, IR_F64, how, ##__VA_ARGS__)

LIFT_FP(fadd, f3, arith, IR_FADD)
LIFT_FP(fsub, f3, arith, IR_FSUB)
LIFT_FP(fmul, f3, arith, IR_FMUL)
LIFT_FP(fdiv, f3, arith, IR_FDIV)
LIFT_FP(fsqrt, f2, square_root)
/* fnmsub is -(a * b) + c, fnmadd is -(a * b) - c. */
LIFT_FP(fmadd, f4, multiply_add, 0)
LIFT_FP(fmsub, f4, multiply_add, IR_FMA_NEG_ADDEND)
LIFT_FP(fnmsub, f4, multiply_add, IR_FMA_NEG_PRODUCT)
LIFT_FP(fnmadd, f4, multiply_add, IR_FMA_NEG_PRODUCT | IR_FMA_NEG_ADDEND)
LIFT_FP(fsgnj, f3n, combine, IR_FSGN, IR_FSGN_COPY)
LIFT_FP(fsgnjn, f3n, combine, IR_FSGN, IR_FSGN_NOT)
LIFT_FP(fsgnjx, f3n, combine, IR_FSGN, IR_FSGN_XOR)
LIFT_FP(fmin, f3n, combine, IR_FMIN, IR_FMM_NUMBER)
LIFT_FP(fmax, f3n, combine, IR_FMAX, IR_FMM_NUMBER)
LIFT_FP(fminm, f3n, combine, IR_FMIN, IR_FMM_PROPAGATE)
LIFT_FP(fmaxm, f3n, combine, IR_FMAX, IR_FMM_PROPAGATE)
LIFT_FP(feq, fcmp, compare, IR_FEQ)
LIFT_FP(flt, fcmp, compare, IR_FLT)
LIFT_FP(fle, fcmp, compare, IR_FLE)
LIFT_FP(fltq, fcmp, compare, IR_FLTQ)
LIFT_FP(fleq, fcmp, compare, IR_FLEQ)
LIFT_FP(fclass, xfn, classify)
LIFT_FP(fround, f2, round_to_integral, false)
LIFT_FP(froundnx, f2, round_to_integral, true)

/* ---- Conversions ---- */

static bool float_to_float(struct riscv_lift *c, const struct riscv_arg_f2 *a, enum ir_type to,
                           enum ir_type from)
{
    enum ir_rm rm;
    ir_val x;

    if (!rounding(c, a->rm, &rm)) {
        return false;
    }
    x = riscv_get_fp(c, from, a->fs1);
    riscv_put_fp(c, to, a->fd, ir_fcvt(c->u, IR_FCVT, to, from, x, rm));
    return true;
}

/* 32-bit results are sign-extended, also the unsigned ones. */
static bool float_to_int(struct riscv_lift *c, const struct riscv_arg_xf *a, enum ir_type from,
                         enum ir_opcode op, enum ir_type to)
{
    enum ir_rm rm;
    ir_val v;

    if (!rounding(c, a->rm, &rm)) {
        return false;
    }
    v = ir_fcvt(c->u, op, to, from, riscv_get_fp(c, from, a->fs1), rm);
    if (to == IR_I32) {
        riscv_put_w(c, a->rd, v);
    } else {
        riscv_put_x(c, a->rd, v);
    }
    return true;
}

static bool int_to_float(struct riscv_lift *c, const struct riscv_arg_fx *a, enum ir_type to,
                         enum ir_opcode op, enum ir_type from)
{
    enum ir_rm rm;
    ir_val v;

    if (!rounding(c, a->rm, &rm)) {
        return false;
    }
    v = ir_fcvt(c->u, op, to, from, riscv_get_x(c, a->rs1), rm);
    riscv_put_fp(c, to, a->fd, v);
    return true;
}

LIFT_FP1(fcvt_s_d, f2, IR_F32, float_to_float, IR_F64)
LIFT_FP1(fcvt_d_s, f2, IR_F64, float_to_float, IR_F32)
LIFT_FP1(fcvt_s_h, f2, IR_F32, float_to_float, IR_F16)
LIFT_FP1(fcvt_h_s, f2, IR_F16, float_to_float, IR_F32)
LIFT_FP1(fcvt_d_h, f2, IR_F64, float_to_float, IR_F16)
LIFT_FP1(fcvt_h_d, f2, IR_F16, float_to_float, IR_F64)
LIFT_FP(fcvt_w, xf, float_to_int, IR_FTOI, IR_I32)
LIFT_FP(fcvt_wu, xf, float_to_int, IR_FTOU, IR_I32)
LIFT_FP(fcvt_l, xf, float_to_int, IR_FTOI, IR_I64)
LIFT_FP(fcvt_lu, xf, float_to_int, IR_FTOU, IR_I64)

#define LIFT_ITOF(suffix, op, from)                                                                \
    LIFT_FP1(fcvt_h_##suffix, fx, IR_F16, int_to_float, op, from)                                  \
    LIFT_FP1(fcvt_s_##suffix, fx, IR_F32, int_to_float, op, from)                                  \
    LIFT_FP1(fcvt_d_##suffix, fx, IR_F64, int_to_float, op, from)

LIFT_ITOF(w, IR_ITOF, IR_I32)
LIFT_ITOF(wu, IR_UTOF, IR_I32)
LIFT_ITOF(l, IR_ITOF, IR_I64)
LIFT_ITOF(lu, IR_UTOF, IR_I64)

bool riscv_lift_fcvtmod_w_d(struct riscv_lift *c, const struct riscv_arg_xfn *a)
{
    ir_val x = ir_bitcast(c->u, IR_I64, riscv_get_f(c, a->fs1));

    riscv_put_x(c, a->rd, ir_helper(c->u, IR_I64, &riscv_helper_fcvtmod_w_d, x, 0, 0, 0));
    return true;
}

/* ---- Moves: raw bits, no unboxing ---- */

static bool move_to_int(struct riscv_lift *c, const struct riscv_arg_xfn *a, enum ir_type type)
{
    ir_val v = ir_bitcast(c->u, type, riscv_get_f(c, a->fs1));

    riscv_put_x(c, a->rd, type == IR_I64 ? v : ir_sext(c->u, IR_I64, type, v));
    return true;
}

static bool move_from_int(struct riscv_lift *c, const struct riscv_arg_fxn *a, enum ir_type type)
{
    riscv_put_fp(c, type, a->fd, ir_bitcast(c->u, type, riscv_get_x(c, a->rs1)));
    return true;
}

LIFT_FP1(fmv_x_h, xfn, IR_I16, move_to_int)
LIFT_FP1(fmv_x_w, xfn, IR_I32, move_to_int)
LIFT_FP1(fmv_x_d, xfn, IR_I64, move_to_int)
LIFT_FP1(fmv_h_x, fxn, IR_F16, move_from_int)
LIFT_FP1(fmv_w_x, fxn, IR_F32, move_from_int)
LIFT_FP1(fmv_d_x, fxn, IR_F64, move_from_int)

/* ---- Zfa constants (25.1) ---- */

/* [1] is the smallest normal number of the format, [31] its default NaN. */
static const double fli_values[32] = {
    -1.0, 0, 0x1p-16, 0x1p-15, 0x1p-8, 0x1p-7, 0.0625, 0.125, 0.25, 0.3125, 0.375,
    0.4375, 0.5, 0.625, 0.75, 0.875, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5,
    3.0, 4.0, 8.0, 16.0, 128.0, 256.0, 32768.0, 65536.0, __builtin_inf(), 0,
};

static bool load_constant(struct riscv_lift *c, const struct riscv_arg_fli *a, enum ir_type type)
{
    uint64_t bits;
    unsigned flags = 0;

    if (a->fli == 1) {
        bits = type == IR_F16 ? 0x0400 : type == IR_F32 ? 0x00800000 : UINT64_C(0x0010000000000000);
    } else if (a->fli == 31) {
        bits = fp_default_nan(type);
    } else {
        union {
            double d;
            uint64_t u;
        } value = {.d = fli_values[a->fli]};

        bits = type == IR_F64 ? value.u : fp_convert(type, IR_F64, value.u, IR_RNE, &flags);
    }
    if (type != IR_F64) {
        bits |= ~UINT64_C(0) << ir_type_bits(type);
    }
    riscv_put_f(c, a->fd, ir_const(c->u, IR_F64, bits));
    return true;
}

LIFT_FP(fli, fli, load_constant)
