/*
 * Integer operations.
 */
#include "dbt/host/x86_64/cg.h"
#include "dbt/ir_build.h"

static bool wide(const struct ir_op *o)
{
    return o->type == IR_I64;
}

/* An operand of an operation on all of a value, or on the low half. */
static struct opnd operand(struct cg *g, ir_val v, bool imm_ok, bool mem_ok, bool w)
{
    return w ? cg_opnd(g, v, imm_ok, mem_ok) : cg_opnd_low(g, v, imm_ok, mem_ok);
}

static int gpr(struct cg *g, ir_val v, bool w)
{
    return w ? cg_gpr(g, v) : cg_gpr_low(g, v);
}

/* Is a value computed in a home? Then that must hold all of it. */
static bool goes_home(const struct cg *g, ir_val v)
{
    unsigned h = g->hint[v];

    return h != NO_HOME && g->home_reg[h] != NO_REG;
}

static bool same_reg(struct opnd o, int reg)
{
    return o.kind == OPND_REG && o.reg == reg;
}

/* op reg, operand */
static void alu(struct cg *g, enum alu op, bool w, int reg, struct opnd o)
{
    if (o.kind == OPND_IMM)
        as_alu_ri(&g->s, op, w, reg, o.imm);
    else if (o.kind == OPND_MEM)
        as_alu_rm(&g->s, op, w, reg, o.mem);
    else
        as_alu_rr(&g->s, op, w, reg, o.reg);
}

/* op with r/m operand that takes no immediate: opcode reg, r/m */
static void op_rm(struct cg *g, unsigned opcode, bool w, int reg, struct opnd o)
{
    if (o.kind == OPND_MEM)
        as_rm(&g->s, opcode, w, reg, o.mem);
    else
        as_rr(&g->s, opcode, w, reg, o.reg);
}

/* Can it be done with the low halves, since what is above is the sign in any case? */
static bool narrow_bitwise(const struct cg *g, ir_val v, const struct ir_op *o)
{
    return wide(o) && g->sext32[v] && (o->op == IR_AND || o->op == IR_OR || o->op == IR_XOR) &&
           (cg_is_narrow(g, o->arg[0]) || cg_is_narrow(g, o->arg[1])) && !goes_home(g, v);
}

static void op_alu(struct cg *g, ir_val v, const struct ir_op *o, enum alu op)
{
    bool narrow = narrow_bitwise(g, v, o), w = wide(o) && !narrow, commutes = op != ALU_SUB;
    struct opnd a = operand(g, o->arg[0], true, true, w);
    struct opnd b = operand(g, o->arg[1], true, true, w);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    int d = cg_dest(g, v);
    if (op == ALU_ADD && a.kind == OPND_REG && a.reg != d && !same_reg(b, d) &&
        b.kind != OPND_MEM) {
        struct mem m = mem_base(a.reg, b.kind == OPND_IMM ? b.imm : 0);
        m.index = b.kind == OPND_REG ? (int8_t)b.reg : -1;
        as_lea(&g->s, w, d, m);
    } else if (same_reg(b, d) && !same_reg(a, d)) {
        if (commutes) {
            alu(g, op, w, d, a);
        } else {
            as_rr(&g->s, 0xf7, w, 3, d); /* neg */
            alu(g, ALU_ADD, w, d, a);
        }
    } else {
        cg_mov_to(g, d, a, w);
        alu(g, op, w, d, b);
    }
    cg_bind(g, v, d);
    if (narrow)
        cg_set_narrow(g, v);
}

/* a & ~b, a | ~b, ~(a ^ b) */
static void op_not(struct cg *g, ir_val v, const struct ir_op *o)
{
    bool w = wide(o);
    int a = gpr(g, o->arg[0], w), b = gpr(g, o->arg[1], w);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    if (o->op == IR_ANDN && g->dbt->features.bmi1) {
        int d = cg_dest(g, v);
        as_vex(&g->s, OP_38 | 0xf2, w, d, b, a);
        cg_bind(g, v, d);
        return;
    }
    int t = cg_scratch(g);
    as_mov_rr(&g->s, w, t, b);
    as_rr(&g->s, 0xf7, w, 2, t); /* not */
    as_alu_rr(&g->s, o->op == IR_ANDN ? ALU_AND : o->op == IR_ORN ? ALU_OR : ALU_XOR, w, t, a);
    cg_result_in(g, v, t);
}

static void op_mul(struct cg *g, ir_val v, const struct ir_op *o)
{
    bool w = wide(o);
    struct opnd a = operand(g, o->arg[0], false, true, w);
    struct opnd b = operand(g, o->arg[1], true, true, w);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    int d = cg_dest(g, v);
    if (b.kind == OPND_IMM) {
        if (a.kind == OPND_MEM)
            as_rm_tail(&g->s, 0x69, w, d, a.mem, 4, false);
        else
            as_rr(&g->s, 0x69, w, d, a.reg);
        as_u32(&g->s, (uint32_t)b.imm);
    } else if (same_reg(b, d)) {
        op_rm(g, OP_0F | 0xaf, w, d, a);
    } else {
        cg_mov_to(g, d, a, w);
        op_rm(g, OP_0F | 0xaf, w, d, b);
    }
    cg_bind(g, v, d);
}

/* High half of the product: one-operand mul and imul leave it in rdx. */
static void op_mulh(struct cg *g, ir_val v, const struct ir_op *o)
{
    bool w = wide(o), is_signed = o->op == IR_MULHSS;
    cg_take(g, RAX);
    cg_take(g, RDX);
    struct opnd a = cg_opnd(g, o->arg[0], true, true);
    if (o->op != IR_MULHSU) { /* that reads it again */
        cg_mov_to(g, RAX, a, w);
        cg_unlock(g, 1u << RAX | 1u << RDX);
    }
    struct opnd b = cg_opnd(g, o->arg[1], false, true);
    if (o->op == IR_MULHSU)
        cg_mov_to(g, RAX, a, w);
    op_rm(g, 0xf7, w, is_signed ? 5 : 4, b);
    if (o->op == IR_MULHSU) { /* unsigned product minus b where a is negative */
        cg_mov_to(g, RAX, a, w);
        as_shift_ri(&g->s, SH_SAR, w, RAX, w ? 63 : 31);
        alu(g, ALU_AND, w, RAX, b);
        as_alu_rr(&g->s, ALU_SUB, w, RDX, RAX);
    }
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    cg_result_in(g, v, RDX);
}

static void op_div(struct cg *g, ir_val v, const struct ir_op *o)
{
    bool w = wide(o), is_signed = o->op == IR_DIVS || o->op == IR_REMS;
    bool rem = o->op == IR_REMS || o->op == IR_REMU;
    uint64_t c = 0;
    bool known = cg_const(g, o->arg[1], &c) && (w ? c : (uint32_t)c) != 0 &&
                 (w ? c != UINT64_MAX : (uint32_t)c != UINT32_MAX);
    uint8_t *zero = NULL, *minus = NULL, *done_minus = NULL;

    cg_take(g, RAX);
    cg_take(g, RDX);
    cg_mov_to(g, RAX, cg_opnd(g, o->arg[0], true, true), w);
    cg_unlock(g, 1u << RAX | 1u << RDX);
    int b = cg_gpr(g, o->arg[1]);
    if (!known) {
        as_rr(&g->s, 0x85, w, b, b); /* test */
        zero = as_jcc_short(&g->s, CC_E);
        if (is_signed) {
            as_alu_ri(&g->s, ALU_CMP, w, b, -1);
            minus = as_jcc_short(&g->s, CC_E);
        }
    }
    if (is_signed) {
        as_rex(&g->s, w, 0, 0, 0, false);
        as_u8(&g->s, 0x99); /* cqo */
    } else {
        as_rr(&g->s, 0x33, false, RDX, RDX);
    }
    as_rr(&g->s, 0xf7, w, is_signed ? 7 : 6, b);
    if (!known) {
        uint8_t *done = as_jmp_short(&g->s);
        if (minus) { /* MIN / -1 would trap: negate instead */
            as_short_here(&g->s, minus);
            as_rr(&g->s, 0xf7, w, 3, RAX);
            as_rr(&g->s, 0x33, false, RDX, RDX);
            done_minus = as_jmp_short(&g->s);
        }
        as_short_here(&g->s, zero);
        as_mov_rr(&g->s, w, RDX, RAX);
        as_mov_imm(&g->s, RAX, o->aux == IR_DIV0_ONES ? UINT64_MAX : 0);
        as_short_here(&g->s, done);
        if (done_minus)
            as_short_here(&g->s, done_minus);
    }
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    cg_result_in(g, v, rem ? RDX : RAX);
}

static void op_shift(struct cg *g, ir_val v, const struct ir_op *o)
{
    static const uint8_t sh[] = { [IR_SHL - IR_SHL] = SH_SHL, [IR_SHR - IR_SHL] = SH_SHR,
                                  [IR_SAR - IR_SHL] = SH_SAR, [IR_ROL - IR_SHL] = SH_ROL,
                                  [IR_ROR - IR_SHL] = SH_ROR };
    enum shift op = sh[o->op - IR_SHL];
    bool w = wide(o);
    uint64_t c;
    if (cg_const(g, o->arg[1], &c)) {
        c &= w ? 63 : 31;
        struct opnd a = operand(g, o->arg[0], true, true, w);
        cg_use(g, o->arg[0]);
        cg_use(g, o->arg[1]);
        int d = cg_dest(g, v);
        if (op <= SH_ROR && g->dbt->features.bmi2 && a.kind == OPND_REG) { /* rorx */
            as_vex(&g->s, OP_F2 | OP_3A | 0xf0, w, d, 0, a.reg);
            as_u8(&g->s, op == SH_ROR ? c : -c & (w ? 63 : 31));
        } else if (op == SH_SHL && c == 1 && a.kind == OPND_REG && a.reg != d) {
            as_lea(&g->s, w, d, (struct mem){ .base = (int8_t)a.reg, .index = (int8_t)a.reg });
        } else {
            cg_mov_to(g, d, a, w);
            as_shift_ri(&g->s, op, w, d, (unsigned)c);
        }
        cg_bind(g, v, d);
    } else if (g->dbt->features.bmi2 && op >= SH_SHL) {
        static const unsigned pp[] = { [SH_SHL] = OP_66, [SH_SHR] = OP_F2, [SH_SAR] = OP_F3 };
        int a = gpr(g, o->arg[0], w), b = cg_gpr_low(g, o->arg[1]);
        cg_use(g, o->arg[0]);
        cg_use(g, o->arg[1]);
        int d = cg_dest(g, v);
        as_vex(&g->s, OP_38 | 0xf7 | pp[op], w, d, b, a);
        cg_bind(g, v, d);
    } else {
        cg_take(g, RCX);
        cg_mov_to(g, RCX, cg_opnd_low(g, o->arg[1], true, true), false);
        cg_unlock(g, 1u << RCX);
        struct opnd a = operand(g, o->arg[0], true, true, w);
        int t = cg_scratch(g);
        cg_mov_to(g, t, a, w);
        as_shift_cl(&g->s, op, w, t);
        cg_use(g, o->arg[0]);
        cg_use(g, o->arg[1]);
        cg_result_in(g, v, t);
    }
}

static const uint8_t cond_cc[IR_COND_COUNT] = {
    [IR_EQ] = CC_E, [IR_NE] = CC_NE, [IR_LT] = CC_L,   [IR_GE] = CC_GE,  [IR_LTU] = CC_B,
    [IR_GEU] = CC_AE, [IR_GT] = CC_G, [IR_LE] = CC_LE, [IR_GTU] = CC_A, [IR_LEU] = CC_BE,
};

static int compare_narrow(struct cg *g, unsigned cond, enum ir_type type, ir_val a, ir_val b)
{
    bool byte = type == IR_I8;
    struct opnd ob = cg_opnd_low(g, b, true, true);
    int ra = cg_gpr_low(g, a);
    if (ob.kind == OPND_IMM) {
        if (!byte)
            as_prefix(&g->s, OP_66);
        as_rex(&g->s, false, 0, 0, ra, byte);
        as_u8(&g->s, byte ? 0x80 : 0x81);
        as_u8(&g->s, 0xc0 | ALU_CMP << 3 | (ra & 7));
        as_u8(&g->s, (uint8_t)ob.imm);
        if (!byte)
            as_u8(&g->s, (uint8_t)(ob.imm >> 8));
    } else if (ob.kind == OPND_MEM) {
        if (byte)
            as_rm8(&g->s, 0x3a, ra, ob.mem);
        else
            as_rm(&g->s, OP_66 | 0x3b, false, ra, ob.mem);
    } else if (byte) {
        as_rr8(&g->s, 0x3a, false, ra, ob.reg);
    } else {
        as_rr(&g->s, OP_66 | 0x3b, false, ra, ob.reg);
    }
    return cond_cc[cond];
}

/* Sets the host's flags; returns the condition code for "a cond b". Operands stay in use. */
int cg_compare(struct cg *g, unsigned cond, enum ir_type type, ir_val a, ir_val b)
{
    bool w = type == IR_I64;
    if (type == IR_I8 || type == IR_I16)
        return compare_narrow(g, cond, type, a, b);
    struct opnd ob = operand(g, b, true, true, w);
    struct opnd oa = operand(g, a, false, ob.kind == OPND_IMM, w);
    if (oa.kind == OPND_MEM)
        as_alu_mi(&g->s, ALU_CMP, w, oa.mem, ob.imm);
    else if (ob.kind == OPND_IMM && ob.imm == 0)
        as_rr(&g->s, 0x85, w, oa.reg, oa.reg); /* test */
    else
        alu(g, ALU_CMP, w, oa.reg, ob);
    return cond_cc[cond];
}

static void op_setcc(struct cg *g, ir_val v, const struct ir_op *o)
{
    int cc = cg_compare(g, o->aux, o->aux2, o->arg[0], o->arg[1]);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    int d = cg_dest(g, v);
    as_setcc(&g->s, cc, d);
    as_rr8(&g->s, OP_0F | 0xb6, false, d, d);
    cg_bind(g, v, d);
}

/* d := cc ? x : y; the flags are set. [x] and [y] are readable, d may be the register of one. */
static void select_cc(struct cg *g, int cc, bool w, int d, struct opnd x, struct opnd y)
{
    if (same_reg(x, d)) {
        struct opnd t = x;
        x = y;
        y = t;
        cc ^= 1;
    }
    cg_mov_to(g, d, y, w);
    op_rm(g, OP_0F | 0x40 | cc, w, d, x);
}

static void select_float(struct cg *g, ir_val v, const struct ir_op *o)
{
    enum { MOVAPS = OP_0F | 0x28 };
    int cc = cg_compare(g, o->aux, o->aux2, o->arg[0], o->arg[1]);
    for (int i = 0; i < 2; i++)
        cg_use(g, o->arg[i]);
    cg_unlock(g, 0);
    int x = cg_xmm(g, o->arg[2]), y = cg_xmm(g, o->arg[3]); /* moves don't change the flags */
    for (int i = 2; i < 4; i++)
        cg_use(g, o->arg[i]);
    int d = cg_dest_xmm(g, v);
    if (d == x) {
        x = y;
        cc ^= 1;
    } else if (d != y) {
        as_rr(&g->s, MOVAPS, false, d, y);
    }
    uint8_t *over = as_jcc_short(&g->s, cc ^ 1);
    as_rr(&g->s, MOVAPS, false, d, x);
    as_short_here(&g->s, over);
    cg_bind(g, v, d + XMM0);
}

static void op_selcc(struct cg *g, ir_val v, const struct ir_op *o)
{
    bool w = wide(o);
    if (ir_type_is_float(o->type)) {
        select_float(g, v, o);
        return;
    }
    int cc = cg_compare(g, o->aux, o->aux2, o->arg[0], o->arg[1]);
    for (int i = 0; i < 2; i++)
        cg_use(g, o->arg[i]);
    cg_unlock(g, 0);
    struct opnd x = cg_opnd(g, o->arg[2], false, true); /* moves don't change the flags */
    struct opnd y = cg_opnd(g, o->arg[3], false, true);
    for (int i = 2; i < 4; i++)
        cg_use(g, o->arg[i]);
    int d = cg_dest(g, v);
    select_cc(g, cc, w, d, x, y);
    cg_bind(g, v, d);
}

static void op_minmax(struct cg *g, ir_val v, const struct ir_op *o)
{
    static const uint8_t conds[] = { [IR_MINS - IR_MINS] = IR_LT, [IR_MAXS - IR_MINS] = IR_GT,
                                     [IR_MINU - IR_MINS] = IR_LTU, [IR_MAXU - IR_MINS] = IR_GTU };
    bool w = wide(o);
    int a = cg_gpr(g, o->arg[0]), b = cg_gpr(g, o->arg[1]);
    as_alu_rr(&g->s, ALU_CMP, w, a, b);
    cg_use(g, o->arg[0]);
    cg_use(g, o->arg[1]);
    int d = cg_dest(g, v);
    select_cc(g, cond_cc[conds[o->op - IR_MINS]], w, d,
              (struct opnd){ .kind = OPND_REG, .reg = a },
              (struct opnd){ .kind = OPND_REG, .reg = b });
    cg_bind(g, v, d);
}

static void op_count(struct cg *g, ir_val v, const struct ir_op *o)
{
    static const uint8_t code[] = { [IR_CLZ - IR_CLZ] = 0xbd, [IR_CTZ - IR_CLZ] = 0xbc,
                                    [IR_POPCNT - IR_CLZ] = 0xb8 };
    struct opnd a = cg_opnd(g, o->arg[0], false, true);
    cg_use(g, o->arg[0]);
    int d = cg_dest(g, v);
    op_rm(g, OP_F3 | OP_0F | code[o->op - IR_CLZ], wide(o), d, a);
    cg_bind(g, v, d);
}

/* Was the register of this value written by a 32-bit instruction, which clears the upper half? */
static bool upper_half_zero(const struct ir_op *o)
{
    return o->type == IR_I32 && ((o->op >= IR_ADD && o->op <= IR_MUL) || o->op == IR_AND ||
                                 o->op == IR_OR || o->op == IR_XOR ||
                                 (o->op >= IR_SHL && o->op <= IR_ROR));
}

/* Is bit 31 of the value 0, so that sign-extending is zero-extending? */
static bool not_negative(const struct cg *g, const struct ir_op *o)
{
    uint64_t c;
    if (o->type != IR_I32 || (o->op != IR_SHR && o->op != IR_AND) || !cg_const(g, o->arg[1], &c))
        return false;
    return o->op == IR_SHR ? (c & 31) != 0 : (int32_t)c >= 0;
}

static void op_extend(struct cg *g, ir_val v, const struct ir_op *o)
{
    const struct ir_op *from = &g->u->ops[o->arg[0]];
    bool sign = o->op == IR_SEXT && !(o->aux == IR_I32 && not_negative(g, from));
    bool w = sign && o->type == IR_I64;
    struct opnd a = operand(g, o->arg[0], false, true, o->aux == IR_I64);
    cg_use(g, o->arg[0]);
    if (w && o->aux == IR_I32 && a.kind == OPND_REG && g->dying[0] == a.reg && !goes_home(g, v)) {
        g->dying[0] = NO_REG;
        cg_bind(g, v, a.reg);
        cg_set_narrow(g, v);
        return;
    }
    if (!sign && o->aux == IR_I32 && upper_half_zero(from) && a.kind == OPND_REG &&
        g->dying[0] == a.reg) { /* nothing to do */
        cg_result_in(g, v, a.reg);
        return;
    }
    int d = cg_dest(g, v);
    if (o->aux == IR_I32) {
        if (sign && w)
            op_rm(g, 0x63, true, d, a); /* movsxd */
        else
            op_rm(g, 0x8b, false, d, a);
    } else if (o->aux == IR_I64) {
        cg_mov_to(g, d, a, true);
    } else {
        unsigned op = OP_0F | (sign ? 0xbe : 0xb6) | (o->aux == IR_I16);
        if (a.kind == OPND_MEM)
            as_rm(&g->s, op, w, d, a.mem);
        else
            as_rr8(&g->s, op, w, d, a.reg);
    }
    cg_bind(g, v, d);
}

static void op_bswap(struct cg *g, ir_val v, const struct ir_op *o)
{
    struct opnd a = cg_opnd(g, o->arg[0], false, true);
    cg_use(g, o->arg[0]);
    int d = cg_dest(g, v);
    cg_mov_to(g, d, a, wide(o));
    as_rex(&g->s, wide(o), 0, 0, d, false);
    as_u8(&g->s, 0x0f);
    as_u8(&g->s, 0xc8 | (d & 7));
    cg_bind(g, v, d);
}

bool cg_native_helper(struct cg *g, ir_val v, const struct ir_op *o, enum ir_native native)
{
    static const uint8_t opcode[] = { [IR_NATIVE_AESENC] = 0xdc, [IR_NATIVE_AESENCLAST] = 0xdd,
                                      [IR_NATIVE_AESDEC] = 0xde, [IR_NATIVE_AESDECLAST] = 0xdf,
                                      [IR_NATIVE_AESIMC] = 0xdb };
    enum { MOVQ_FROM_GPR = OP_66 | OP_0F | 0x6e, MOVQ_TO_GPR = OP_66 | OP_0F | 0x7e };
    if (!native || !g->dbt->features.aes)
        return false;
    int state = cg_scratch_xmm(g), other = cg_scratch_xmm(g);
    as_rr(&g->s, MOVQ_FROM_GPR, true, state, cg_gpr(g, o->arg[0]));
    if (native == IR_NATIVE_AESIMC) {
        as_rr(&g->s, OP_66 | OP_38 | opcode[native], false, state, state);
    } else {
        as_rr(&g->s, MOVQ_FROM_GPR, true, other, cg_gpr(g, o->arg[1]));
        as_rr(&g->s, OP_66 | OP_0F | 0x6c, false, state, other); /* punpcklqdq */
        as_rr(&g->s, OP_0F | 0x57, false, other, other);         /* xorps: the key */
        as_rr(&g->s, OP_66 | OP_38 | opcode[native], false, state, other);
    }
    for (int i = 0; i < 4; i++)
        cg_use(g, o->arg[i]);
    int d = cg_dest(g, v);
    as_rr(&g->s, MOVQ_TO_GPR, true, state, d);
    cg_bind(g, v, d);
    return true;
}

/* Of those that aren't SETCC, which is. */
static bool native(const struct cg *g, const struct ir_op *o)
{
    const struct host_features *f = &g->dbt->features;
    bool full = o->type == IR_I64 || o->type == IR_I32;
    switch (o->op) {
    case IR_CLZ: return full && f->lzcnt;
    case IR_CTZ: return full && f->bmi1;
    case IR_POPCNT: return full && f->popcnt;
    case IR_BREV8:
    case IR_ORCB:
    case IR_CLMUL:
    case IR_CLMULH:
    case IR_CLMULR: return false;
    case IR_ADD:
    case IR_SUB:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_ANDN:
    case IR_ORN:
    case IR_XNOR:
    case IR_SEXT:
    case IR_ZEXT:
    case IR_SELCC: return true;
    default: return full;
    }
}

bool cg_is_native_int(const struct cg *g, const struct ir_op *o)
{
    return o->op == IR_SETCC ||
           (o->op >= IR_SEXT && o->op <= IR_SELCC && o->op != IR_BITCAST &&
            !ir_type_is_float(o->type) && native(g, o));
}

bool cg_is_sext32(const struct cg *g, const struct ir_op *o)
{
    switch (o->op) {
    case IR_CONST: return ir_fits_int32((int64_t)o->imm);
    case IR_LOAD: return o->aux2 < IR_I32 || (o->aux2 == IR_I32 && o->aux & IR_MEM_SIGNED);
    case IR_SEXT: return o->aux <= IR_I32;
    case IR_ZEXT: return o->aux < IR_I32;
    case IR_SETCC: return true;
    case IR_AND:
    case IR_OR:
    case IR_XOR: return g->sext32[o->arg[0]] && g->sext32[o->arg[1]];
    default: return false;
    }
}

void cg_int_op(struct cg *g, ir_val v, const struct ir_op *o)
{
    if (o->op != IR_SETCC && !native(g, o)) {
        cg_call_generic(g, v, o, generic_int, GENERIC_ATTR(o));
        return;
    }
    switch (o->op) {
    case IR_ADD: op_alu(g, v, o, ALU_ADD); break;
    case IR_SUB: op_alu(g, v, o, ALU_SUB); break;
    case IR_AND: op_alu(g, v, o, ALU_AND); break;
    case IR_OR: op_alu(g, v, o, ALU_OR); break;
    case IR_XOR: op_alu(g, v, o, ALU_XOR); break;
    case IR_ANDN:
    case IR_ORN:
    case IR_XNOR: op_not(g, v, o); break;
    case IR_MUL: op_mul(g, v, o); break;
    case IR_MULHSS:
    case IR_MULHUU:
    case IR_MULHSU: op_mulh(g, v, o); break;
    case IR_DIVS:
    case IR_DIVU:
    case IR_REMS:
    case IR_REMU: op_div(g, v, o); break;
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROL:
    case IR_ROR: op_shift(g, v, o); break;
    case IR_MINS:
    case IR_MAXS:
    case IR_MINU:
    case IR_MAXU: op_minmax(g, v, o); break;
    case IR_CLZ:
    case IR_CTZ:
    case IR_POPCNT: op_count(g, v, o); break;
    case IR_BSWAP: op_bswap(g, v, o); break;
    case IR_SEXT:
    case IR_ZEXT: op_extend(g, v, o); break;
    case IR_SETCC: op_setcc(g, v, o); break;
    case IR_SELCC: op_selcc(g, v, o); break;
    }
}
