/*
 * Floating point on SSE2, with FMA where the host has it. MXCSR holds the rounding mode of the
 * unit's mode and collects the sticky flags. Where x86's result differs from the IR's (NaNs, out of
 * range conversions) a far path repairs it: see dbt/host/x86_64/generic.c.
 */
#include "dbt/host/x86_64/cg.h"

enum { MOVAPS = OP_0F | 0x28, MOVQ_FROM_GPR = OP_66 | OP_0F | 0x6e, MOVQ_TO_GPR = OP_66 | OP_0F | 0x7e };

static unsigned scalar(enum ir_type type)
{
    return (type == IR_F32 ? OP_F3 : OP_F2) | OP_0F;
}

/* ucomis: 66 prefix for doubles, none for singles */
static unsigned compare_op(enum ir_type type, unsigned opcode)
{
    return (type == IR_F32 ? 0 : OP_66) | OP_0F | opcode;
}

static void movaps(struct cg *g, int to, int from)
{
    if (to != from)
        as_rr(&g->s, MOVAPS, false, to, from);
}

/* A NaN in register d becomes the default NaN. */
static void fix_nan(struct cg *g, enum ir_type type, int d)
{
    as_rr(&g->s, compare_op(type, 0x2e), false, d, d);
    as_jcc(&g->s, CC_P, g->s.p);
    struct far *f = cg_far(g, FAR_LOAD_CONST, g->s.p);
    f->dest = (int8_t)d;
    f->resume = g->s.p;
    f->target = cg_constant(g, type == IR_F32 ? offsetof(struct cg_constants, nan32)
                                              : offsetof(struct cg_constants, nan64));
}

/* Can the hardware do it in MXCSR's rounding mode? */
static bool rounds_natively(const struct cg *g, unsigned rm)
{
    return rm == g->u->frm && rm <= IR_RUP;
}

static void op_arith(struct cg *g, ir_val v, const struct ir_op *o, unsigned opcode)
{
    bool commutes = o->op == IR_FADD || o->op == IR_FMUL;
    int a = cg_xmm(g, o->arg[0]), b = cg_xmm(g, o->arg[1]);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    int d = cg_dest_xmm(g, v);
    unsigned op = scalar(o->type) | opcode;
    if (d == b && d != a) {
        if (commutes) {
            b = a;
        } else {
            int t = cg_scratch_xmm(g);
            movaps(g, t, b);
            movaps(g, d, a);
            b = t;
        }
    } else {
        movaps(g, d, a);
    }
    as_rr(&g->s, op, false, d, b);
    fix_nan(g, o->type, d);
    cg_bind(g, v, d + XMM0);
}

static void op_sqrt(struct cg *g, ir_val v, const struct ir_op *o)
{
    int a = cg_xmm(g, o->arg[0]);
    cg_use(g, o->arg[0]);
    int d = cg_dest_xmm(g, v);
    as_rr(&g->s, scalar(o->type) | 0x51, false, d, a);
    fix_nan(g, o->type, d);
    cg_bind(g, v, d + XMM0);
}

/* Out of line: dest := generic_fp(sources). */
static struct far *far_fp(struct cg *g, unsigned cc, const struct ir_op *o, int dest, int a, int b,
                          int c)
{
    if (g->dbt->config.far_paths)
        as_jmp(&g->s, g->s.p);
    else
        as_jcc(&g->s, (int)cc, g->s.p);
    struct far *f = cg_far(g, FAR_FP_HELPER, g->s.p);
    f->dest = (int8_t)dest;
    f->src[0] = (int8_t)a;
    f->src[1] = (int8_t)b;
    f->src[2] = (int8_t)c;
    f->id = (uint32_t)GENERIC_ATTR(o);
    f->resume = g->s.p;
    return f;
}

static void op_fmadd(struct cg *g, ir_val v, const struct ir_op *o)
{
    /* vf(n)m(add|sub)213s[sd]: t := +-(b * t) +- c */
    static const uint8_t opcode[] = { 0xa9, 0xad, 0xab, 0xaf };
    int a = cg_xmm(g, o->arg[0]), b = cg_xmm(g, o->arg[1]), c = cg_xmm(g, o->arg[2]);
    int t = cg_scratch_xmm(g);
    movaps(g, t, a);
    as_vex(&g->s, OP_66 | OP_38 | opcode[o->aux2 & 3], o->type == IR_F64, t, b, c);
    as_rr(&g->s, compare_op(o->type, 0x2e), false, t, t);
    far_fp(g, CC_P, o, t + XMM0, a + XMM0, b + XMM0, c + XMM0);
    for (int i = 0; i < 3; i++)
        cg_use(g, o->arg[i]);
    cg_bind(g, v, t + XMM0);
}

static void op_minmax(struct cg *g, ir_val v, const struct ir_op *o)
{
    int a = cg_xmm(g, o->arg[0]), b = cg_xmm(g, o->arg[1]);
    int t = cg_scratch_xmm(g);
    /* Equal (zeros of either sign) or a NaN, for which minsd would raise invalid: ZF. */
    as_rr(&g->s, compare_op(o->type, 0x2e), false, a, b);
    struct far *f = far_fp(g, CC_E, o, t + XMM0, a + XMM0, b + XMM0, NO_REG);
    movaps(g, t, a);
    as_rr(&g->s, scalar(o->type) | (o->op == IR_FMIN ? 0x5d : 0x5f), false, t, b);
    f->resume = g->s.p;
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    cg_bind(g, v, t + XMM0);
}

static void op_sign(struct cg *g, ir_val v, const struct ir_op *o)
{
    bool f32 = o->type == IR_F32;
    struct mem sign = f32 ? CG_CONST(g, sign32) : CG_CONST(g, sign64);
    struct mem abs = f32 ? CG_CONST(g, abs32) : CG_CONST(g, abs64);
    enum { ANDPS = OP_0F | 0x54, ORPS = OP_0F | 0x56, XORPS = OP_0F | 0x57 };
    int a = cg_xmm(g, o->arg[0]);

    if (o->arg[0] == o->arg[1]) { /* fmv, fneg, fabs */
        cg_use(g, o->arg[0]);
        cg_use(g, o->arg[1]);
        int d = cg_dest_xmm(g, v);
        movaps(g, d, a);
        if (o->aux == IR_FSGN_NOT)
            as_rm(&g->s, XORPS, false, d, sign);
        else if (o->aux == IR_FSGN_XOR)
            as_rm(&g->s, ANDPS, false, d, abs);
        cg_bind(g, v, d + XMM0);
        return;
    }
    int b = cg_xmm(g, o->arg[1]), t = cg_scratch_xmm(g);
    movaps(g, t, b);
    as_rm(&g->s, ANDPS, false, t, sign);
    if (o->aux == IR_FSGN_NOT)
        as_rm(&g->s, XORPS, false, t, sign);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    int d = cg_dest_xmm(g, v);
    movaps(g, d, a);
    if (o->aux == IR_FSGN_XOR) {
        as_rr(&g->s, XORPS, false, d, t);
    } else {
        as_rm(&g->s, ANDPS, false, d, abs);
        as_rr(&g->s, ORPS, false, d, t);
    }
    cg_bind(g, v, d + XMM0);
}

static void op_compare(struct cg *g, ir_val v, const struct ir_op *o)
{
    bool quiet = o->aux == IR_FEQ || o->aux == IR_FLTQ || o->aux == IR_FLEQ;
    int a = cg_xmm(g, o->arg[0]), b = cg_xmm(g, o->arg[1]);
    unsigned op = compare_op(o->aux2, quiet ? 0x2e : 0x2f);
    int t = cg_scratch(g);
    if (o->aux == IR_FEQ) {
        int u = cg_scratch(g);
        as_rr(&g->s, op, false, a, b);
        as_setcc(&g->s, CC_NP, t);
        as_setcc(&g->s, CC_E, u);
        as_alu_rr(&g->s, ALU_AND, false, t, u);
    } else { /* a < b is b above a, which is false for unordered operands */
        as_rr(&g->s, op, false, b, a);
        as_setcc(&g->s, o->aux == IR_FLT || o->aux == IR_FLTQ ? CC_A : CC_AE, t);
    }
    as_rr8(&g->s, OP_0F | 0xb6, false, t, t);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    cg_result_in(g, v, t);
}

static void op_ftoi(struct cg *g, ir_val v, const struct ir_op *o)
{
    bool w = o->type == IR_I64, truncate = o->aux == IR_RTZ;
    int a = cg_xmm(g, o->arg[0]), t = cg_scratch(g);
    as_rr(&g->s, scalar(o->aux2) | (truncate ? 0x2c : 0x2d), w, t, a);
    /* Out of range and NaN give the least integer, the only one from which 1 can't be taken. */
    as_alu_ri(&g->s, ALU_CMP, w, t, 1);
    far_fp(g, CC_O, o, t, a + XMM0, NO_REG, NO_REG);
    cg_use(g, o->arg[0]);
    if (!w)
        as_rr(&g->s, 0x63, true, t, t); /* movsxd: as the far path's result */
    cg_result_in(g, v, t);
}

static void op_itof(struct cg *g, ir_val v, const struct ir_op *o)
{
    bool w = o->aux2 == IR_I64;
    int a;
    if (o->op == IR_UTOF && !w) { /* zero-extended, as a signed 64-bit integer */
        int x = cg_gpr(g, o->arg[0]);
        a = cg_scratch(g);
        as_mov_rr(&g->s, false, a, x);
        w = true;
    } else {
        a = cg_gpr(g, o->arg[0]);
    }
    cg_use(g, o->arg[0]);
    int d = cg_dest_xmm(g, v);
    as_rr(&g->s, OP_0F | 0x57, false, d, d);
    as_rr(&g->s, scalar(o->type) | 0x2a, w, d, a);
    cg_bind(g, v, d + XMM0);
}

static void op_fround(struct cg *g, ir_val v, const struct ir_op *o)
{
    static const uint8_t mode[] = { [IR_RNE] = 0, [IR_RTZ] = 3, [IR_RDN] = 1, [IR_RUP] = 2 };
    int a = cg_xmm(g, o->arg[0]);
    cg_use(g, o->arg[0]);
    int d = cg_dest_xmm(g, v);
    as_rr(&g->s, OP_66 | OP_3A | (o->type == IR_F32 ? 0x0a : 0x0b), false, d, a);
    as_u8(&g->s, mode[o->aux] | (o->aux2 ? 0 : 8));
    fix_nan(g, o->type, d);
    cg_bind(g, v, d + XMM0);
}

static void op_fcvt(struct cg *g, ir_val v, const struct ir_op *o)
{
    int a = cg_xmm(g, o->arg[0]);
    cg_use(g, o->arg[0]);
    int d = cg_dest_xmm(g, v);
    as_rr(&g->s, scalar(o->aux2) | 0x5a, false, d, a);
    fix_nan(g, o->type, d);
    cg_bind(g, v, d + XMM0);
}

static void op_box(struct cg *g, ir_val v, const struct ir_op *o)
{
    int a = cg_xmm(g, o->arg[0]);
    cg_use(g, o->arg[0]);
    int d = cg_dest_xmm(g, v);
    movaps(g, d, a);
    if (o->aux2 == IR_F16) /* its container may have more than the low 16 bits set */
        as_rm(&g->s, OP_0F | 0x56, false, d, CG_CONST(g, box16));
    else
        as_rm(&g->s, OP_0F | 0x56, false, d, CG_CONST(g, box32));
    cg_bind(g, v, d + XMM0);
}

static void op_unbox(struct cg *g, ir_val v, const struct ir_op *o)
{
    bool half = o->type == IR_F16;
    int a = cg_xmm(g, o->arg[0]), t = cg_scratch(g);
    as_rr(&g->s, MOVQ_TO_GPR, true, a, t);
    as_shift_ri(&g->s, SH_SAR, true, t, half ? 16 : 32);
    as_alu_ri(&g->s, ALU_CMP, true, t, -1);
    cg_use(g, o->arg[0]);
    int d = cg_dest_xmm(g, v);
    movaps(g, d, a);
    as_jcc(&g->s, CC_NE, g->s.p);
    struct far *f = cg_far(g, FAR_LOAD_CONST, g->s.p);
    f->dest = (int8_t)d;
    f->resume = g->s.p;
    f->target = cg_constant(g, half ? offsetof(struct cg_constants, nan16)
                                    : offsetof(struct cg_constants, nan32));
    cg_bind(g, v, d + XMM0);
}

static void op_bitcast(struct cg *g, ir_val v, const struct ir_op *o)
{
    bool to_float = ir_type_is_float(o->type);
    bool from_float = ir_type_is_float(g->u->ops[o->arg[0]].type);
    if (to_float && !from_float) {
        int a = cg_gpr(g, o->arg[0]);
        cg_use(g, o->arg[0]);
        int d = cg_dest_xmm(g, v);
        as_rr(&g->s, MOVQ_FROM_GPR, o->type == IR_F64, d, a);
        cg_bind(g, v, d + XMM0);
    } else if (!to_float && from_float) {
        int a = cg_xmm(g, o->arg[0]);
        cg_use(g, o->arg[0]);
        int d = cg_dest(g, v);
        as_rr(&g->s, MOVQ_TO_GPR, o->type == IR_I64, a, d);
        cg_bind(g, v, d);
    } else if (to_float) {
        int a = cg_xmm(g, o->arg[0]);
        cg_use(g, o->arg[0]);
        int d = cg_dest_xmm(g, v);
        movaps(g, d, a);
        cg_bind(g, v, d + XMM0);
    } else {
        int a = cg_gpr(g, o->arg[0]);
        cg_use(g, o->arg[0]);
        int d = cg_dest(g, v);
        if (d != a)
            as_mov_rr(&g->s, true, d, a);
        cg_bind(g, v, d);
    }
}

static void op_getflags(struct cg *g, ir_val v)
{
    int t = cg_scratch(g), u = cg_scratch(g);
    as_rm(&g->s, OP_0F | 0xae, false, 3, cpu_mem(CPU_DISP(mxcsr_scratch))); /* stmxcsr */
    as_rm(&g->s, 0x8b, false, t, cpu_mem(CPU_DISP(mxcsr_scratch)));
    as_alu_ri(&g->s, ALU_AND, false, t, 0x3f);
    as_lea(&g->s, true, u, CG_CONST(g, mxcsr_to_flags));
    as_rm(&g->s, OP_0F | 0xb6, false, t,
          (struct mem){ .base = (int8_t)u, .index = (int8_t)t });
    as_alu_rm(&g->s, ALU_OR, false, t, cpu_mem(CPU_DISP(fp_flags)));
    cg_result_in(g, v, t);
}

static void op_setflags(struct cg *g, const struct ir_op *o)
{
    int t = cg_scratch(g);
    struct mem m = cpu_mem(CPU_DISP(mxcsr_scratch));
    cg_mov_to(g, t, cg_opnd(g, o->arg[0], true, true), false);
    as_alu_ri(&g->s, ALU_AND, false, t, 0x1f);
    as_rm(&g->s, 0x89, false, t, cpu_mem(CPU_DISP(fp_flags)));
    as_rm(&g->s, OP_0F | 0xae, false, 3, m); /* stmxcsr */
    as_alu_mi(&g->s, ALU_AND, false, m, ~0x3f);
    as_rm(&g->s, OP_0F | 0xae, false, 2, m); /* ldmxcsr */
    cg_use(g, o->arg[0]);
}

/* What the host's instructions can do with the right result and flags (or a far path). */
static bool native(const struct cg *g, const struct ir_op *o)
{
    bool plain = o->type == IR_F32 || o->type == IR_F64;
    bool from = o->aux2 == IR_F32 || o->aux2 == IR_F64;
    switch (o->op) {
    case IR_FADD:
    case IR_FSUB:
    case IR_FMUL:
    case IR_FDIV:
    case IR_FSQRT: return plain && rounds_natively(g, o->aux);
    case IR_FMADD: return plain && g->dbt->features.fma && rounds_natively(g, o->aux);
    case IR_FMIN:
    case IR_FMAX:
    case IR_FSGN: return plain;
    case IR_FROUND: return plain && o->aux <= IR_RUP;
    case IR_FCMP: return from;
    case IR_FCVT:
        return plain && from && (o->type == IR_F64 || rounds_natively(g, o->aux));
    case IR_FTOI: return from && (o->aux == IR_RTZ || rounds_natively(g, o->aux));
    case IR_ITOF:
        return plain && ((o->type == IR_F64 && o->aux2 == IR_I32) || rounds_natively(g, o->aux));
    case IR_UTOF:
        return plain && o->aux2 == IR_I32 && (o->type == IR_F64 || rounds_natively(g, o->aux));
    default: return false;
    }
}

void cg_fp_op(struct cg *g, ir_val v, const struct ir_op *o)
{
    switch (o->op) {
    case IR_BOX: op_box(g, v, o); return;
    case IR_UNBOX: op_unbox(g, v, o); return;
    case IR_BITCAST: op_bitcast(g, v, o); return;
    case IR_FGETFLAGS: op_getflags(g, v); return;
    case IR_FSETFLAGS: op_setflags(g, o); return;
    }
    if (!native(g, o)) {
        cg_call_generic(g, v, o, generic_fp, GENERIC_ATTR(o));
        return;
    }
    switch (o->op) {
    case IR_FADD: op_arith(g, v, o, 0x58); break;
    case IR_FSUB: op_arith(g, v, o, 0x5c); break;
    case IR_FMUL: op_arith(g, v, o, 0x59); break;
    case IR_FDIV: op_arith(g, v, o, 0x5e); break;
    case IR_FSQRT: op_sqrt(g, v, o); break;
    case IR_FMADD: op_fmadd(g, v, o); break;
    case IR_FMIN:
    case IR_FMAX: op_minmax(g, v, o); break;
    case IR_FSGN: op_sign(g, v, o); break;
    case IR_FCMP: op_compare(g, v, o); break;
    case IR_FTOI: op_ftoi(g, v, o); break;
    case IR_ITOF:
    case IR_UTOF: op_itof(g, v, o); break;
    case IR_FROUND: op_fround(g, v, o); break;
    case IR_FCVT: op_fcvt(g, v, o); break;
    }
}
