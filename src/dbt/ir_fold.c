/*
 * The simplifying part of the IR builder: constants, algebraic identities, comparisons.
 *
 * Everything looks at the operations that made the arguments and no further, so building stays
 * linear. Rewriting f(g(x)) to h(x) is done only where it doesn't keep x alive for nothing: when a
 * guest register still holds x, or g(x) has just been made and is likely to die (see "cheap" in the
 * helpers below).
 *
 * A constant operand of an integer operation or comparison is always the right one where the
 * operation allows it, and its CONST is sign-extended from the operation's type.
 */
#include "dbt/ir_build.h"

/* Values are known to fit: [zero] low bits zero-extended, [sign] low bits sign-extended to the
 * value's type. */
struct extent {
    unsigned zero, sign;
};

static struct extent extent_of(const struct ir_unit *u, ir_val v, unsigned depth);

static bool is_const(const struct ir_unit *u, ir_val v)
{
    return u->ops[v].op == IR_CONST;
}

/* True if [v] was made by the last few operations and nothing can have seen it in a register. */
static bool is_recent(const struct ir_unit *u, ir_val v)
{
    if (v + 5u < u->n_ops) {
        return false;
    }
    for (unsigned i = v + 1u; i < u->n_ops; i++) {
        if (u->ops[i].op != IR_CONST && u->ops[i].op != IR_PUT && u->ops[i].op != IR_INSN) {
            return false;
        }
    }
    return true;
}

/* Is it good to use [inner], an argument of [outer], in place of [outer]? */
static bool cheap_to_bypass(const struct ir_unit *u, ir_val outer, ir_val inner)
{
    return is_recent(u, outer) || is_const(u, inner) || ir_in_register(u, inner) ||
           !ir_in_register(u, outer);
}

/* The same where the guest's registers are about to be observed: [outer] will be made anyway. */
static bool cheap_to_bypass_at_exit(const struct ir_unit *u, ir_val outer, ir_val inner)
{
    return is_const(u, inner) || ir_in_register(u, inner) || !ir_in_register(u, outer);
}

static struct extent extent_of_const(uint64_t imm, unsigned w)
{
    uint64_t zero = ir_zero_extend(imm, w);
    int64_t sign = ir_sign_extend(imm, w);
    uint64_t magnitude = (uint64_t)(sign < 0 ? ~sign : sign);

    return (struct extent){
        .zero = zero == 0 ? 0 : 64 - (unsigned)__builtin_clzll(zero),
        .sign = magnitude == 0 ? 1 : 65 - (unsigned)__builtin_clzll(magnitude),
    };
}

/* Of an operation on two values (arguments x and y) of type width [w]. */
static struct extent extent_of_two(const struct ir_unit *u, const struct ir_op *op, ir_val x,
                                   ir_val y, unsigned depth)
{
    struct extent a = extent_of(u, x, depth), b = extent_of(u, y, depth);
    struct extent most = {MAX(a.zero, b.zero), MAX(a.sign, b.sign)};

    switch (op->op) {
    case IR_ADD: return (struct extent){most.zero + 1, most.sign + 1};
    case IR_AND: return (struct extent){MIN(a.zero, b.zero), most.sign};
    case IR_ANDN: return (struct extent){a.zero, most.sign};
    case IR_MINU: return (struct extent){MIN(a.zero, b.zero), most.sign};
    default: return most;
    }
}

static struct extent extent_of_shift(const struct ir_unit *u, const struct ir_op *op, unsigned w,
                                     unsigned depth)
{
    struct extent a;
    unsigned n;

    if (!is_const(u, op->arg[1])) {
        return (struct extent){w, w};
    }
    n = u->ops[op->arg[1]].imm & (w - 1);
    a = extent_of(u, op->arg[0], depth);
    a.zero = MIN(a.zero, w);
    a.sign = MIN(a.sign, w);
    switch (op->op) {
    case IR_SHL: return (struct extent){a.zero + n, a.sign + n};
    case IR_SHR: return (struct extent){a.zero > n ? a.zero - n : 0, w};
    default: return (struct extent){w, a.sign > n ? a.sign - n : 1};
    }
}

/* What is known of an operation's result, before it is cut to the type. */
static struct extent extent_of_op(const struct ir_unit *u, const struct ir_op *op, unsigned w,
                                  unsigned depth)
{
    switch (op->op) {
    case IR_CONST: return extent_of_const(op->imm, w);
    case IR_SEXT: return (struct extent){w, ir_word_bits(op->aux)};
    case IR_ZEXT: return (struct extent){ir_word_bits(op->aux), w};
    case IR_LOAD:
        if (op->aux & IR_MEM_SIGNED) {
            return (struct extent){w, ir_word_bits(op->aux2)};
        }
        return (struct extent){ir_word_bits(op->aux2), w};
    case IR_AMO:
    case IR_CAS:
    case IR_LDX: return (struct extent){w, ir_word_bits(op->aux2)};
    case IR_SETCC:
    case IR_STX:
    case IR_FCMP: return (struct extent){1, w};
    case IR_FCLASS: return (struct extent){10, w};
    case IR_FGETFLAGS: return (struct extent){5, w};
    case IR_CLZ:
    case IR_CTZ:
    case IR_POPCNT: return (struct extent){7, w};
    case IR_SHL:
    case IR_SHR:
    case IR_SAR: return extent_of_shift(u, op, w, depth);
    case IR_ADD:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_ANDN:
    case IR_MINS:
    case IR_MAXS:
    case IR_MINU:
    case IR_MAXU: return extent_of_two(u, op, op->arg[0], op->arg[1], depth);
    case IR_SELCC: return extent_of_two(u, op, op->arg[2], op->arg[3], depth);
    default: return (struct extent){w, w};
    }
}

/* [depth] limits how many operations are looked through. */
static struct extent extent_of(const struct ir_unit *u, ir_val v, unsigned depth)
{
    const struct ir_op *op = &u->ops[v];
    struct extent e;
    unsigned w;

    if (!ir_type_is_word(op->type)) {
        return (struct extent){64, 64};
    }
    w = ir_word_bits(op->type);
    if (depth == 0 && op->op != IR_CONST) {
        return (struct extent){w, w};
    }
    e = extent_of_op(u, op, w, depth - 1);
    e.zero = MIN(e.zero, w);
    /* A number below 2^n is also a signed number of n + 1 bits. */
    e.sign = MIN(MIN(e.sign, e.zero + 1), w);
    return e;
}

enum { EXTENT_DEPTH = 3 };

/* ---- Extensions ---- */

/* An extension of the low [bits] of [a] doesn't need an operation that only changes the bits above
 * them: the value that such operations start from. */
static ir_val skip_extension(const struct ir_unit *u, ir_val a, unsigned bits)
{
    const struct ir_op *op = &u->ops[a];

    if ((op->op == IR_SEXT || op->op == IR_ZEXT) && ir_word_bits(op->aux) >= bits &&
        cheap_to_bypass(u, a, op->arg[0])) {
        return op->arg[0];
    }
    return a;
}

static ir_val extend(struct ir_unit *u, enum ir_opcode opcode, enum ir_type to, enum ir_type from,
                     ir_val a)
{
    struct ir_op op = {.op = opcode, .type = to, .aux = from};
    const struct ir_op *arg = &u->ops[a];
    unsigned bits = ir_word_bits(from);
    struct extent e;

    if (arg->op == IR_CONST) {
        return ir_const(u, to,
                        opcode == IR_SEXT ? (uint64_t)ir_sign_extend(arg->imm, bits)
                                          : ir_zero_extend(arg->imm, bits));
    }
    if (from >= to) {
        return a;
    }
    if (arg->type >= to) {
        e = extent_of(u, a, EXTENT_DEPTH);
        if ((opcode == IR_SEXT ? e.sign : e.zero) <= bits) {
            return a;
        }
    }
    if (arg->op == opcode && arg->aux <= from && cheap_to_bypass(u, a, arg->arg[0])) {
        /* Narrower inside: SEXT i64 i32 (SEXT i32 i8 x). */
        op.aux = arg->aux;
        op.arg[0] = arg->arg[0];
        return ir_append(u, &op);
    }
    op.arg[0] = skip_extension(u, a, bits);
    return op.arg[0] == a ? ir_append(u, &op) : extend(u, opcode, to, from, op.arg[0]);
}

ir_val ir_sext(struct ir_unit *u, enum ir_type to, enum ir_type from, ir_val a)
{
    return extend(u, IR_SEXT, to, from, a);
}

ir_val ir_zext(struct ir_unit *u, enum ir_type to, enum ir_type from, ir_val a)
{
    return extend(u, IR_ZEXT, to, from, a);
}

ir_val ir_bitcast(struct ir_unit *u, enum ir_type to, ir_val a)
{
    const struct ir_op *op = &u->ops[a];

    if (op->op == IR_CONST) {
        return ir_const(u, to, op->imm);
    }
    if (op->type == to) {
        return a;
    }
    if (op->op == IR_BITCAST && u->ops[op->arg[0]].type == to) {
        return op->arg[0];
    }
    return ir_append2(u, IR_BITCAST, to, a, 0);
}

ir_val ir_box(struct ir_unit *u, enum ir_type from, ir_val a)
{
    struct ir_op op = {.op = IR_BOX, .type = IR_F64, .aux2 = from, .arg = {a}};

    if (is_const(u, a)) {
        return ir_const(u, IR_F64, ir_eval_box(from, u->ops[a].imm));
    }
    return ir_append(u, &op);
}

ir_val ir_unbox(struct ir_unit *u, enum ir_type to, ir_val a)
{
    const struct ir_op *op = &u->ops[a];

    if (op->op == IR_CONST) {
        return ir_const(u, to, ir_eval_unbox(to, op->imm));
    }
    if (op->op == IR_BOX && op->aux2 == to && u->ops[op->arg[0]].type == to) {
        return op->arg[0];
    }
    return ir_append2(u, IR_UNBOX, to, a, 0);
}

/* ---- Integer arithmetic ---- */

/* The condition that holds when [cond] doesn't. */
static enum ir_cond invert(enum ir_cond cond)
{
    static const uint8_t inverse[IR_COND_COUNT] = {
        [IR_EQ] = IR_NE,   [IR_NE] = IR_EQ, [IR_LT] = IR_GE, [IR_GE] = IR_LT,   [IR_LTU] = IR_GEU,
        [IR_GEU] = IR_LTU, [IR_GT] = IR_LE, [IR_LE] = IR_GT, [IR_GTU] = IR_LEU, [IR_LEU] = IR_GTU,
    };

    return inverse[cond];
}

static ir_val append_const(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a,
                           uint64_t c)
{
    ir_val b = ir_const(u, type, c);

    return ir_append2(u, op, type, a, b);
}

/* (x op1 c1) op c where both are shifts of the same type, c not 0; 0 if there is nothing better. */
static ir_val fold_shifts(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a,
                          unsigned c)
{
    struct ir_op inner = u->ops[a];
    unsigned w = ir_word_bits(type), c1;
    enum ir_type low;
    ir_val x = inner.arg[0];

    if ((inner.op != IR_SHL && inner.op != op) || inner.type != type ||
        !is_const(u, inner.arg[1]) || !cheap_to_bypass(u, a, x)) {
        return 0;
    }
    c1 = u->ops[inner.arg[1]].imm & (w - 1);
    if (inner.op == op && op != IR_ROL && op != IR_ROR) {
        if (c + c1 < w) {
            return append_const(u, op, type, x, c + c1);
        }
        return op == IR_SAR ? append_const(u, op, type, x, w - 1) : ir_const(u, type, 0);
    }
    if (op != IR_SHR && op != IR_SAR) {
        return 0;
    }
    /* Left and back: an extension, and what is left of the shift. */
    switch (w - c1) {
    case 8: low = IR_I8; break;
    case 16: low = IR_I16; break;
    case 32: low = IR_I32; break;
    default: return 0;
    }
    x = extend(u, op == IR_SHR ? IR_ZEXT : IR_SEXT, type, low, x);
    if (c < c1) {
        return ir_bini(u, IR_SHL, type, x, c1 - c);
    }
    return c > c1 ? ir_bini(u, op, type, x, c - c1) : x;
}

/* a & c, where c isn't 0 or all ones; 0 if there is nothing better. */
static ir_val fold_mask(struct ir_unit *u, enum ir_type type, ir_val a, uint64_t c)
{
    uint64_t mask = ir_zero_extend(c, ir_word_bits(type));
    unsigned ones = (unsigned)__builtin_ctzll(~mask);
    const struct ir_op *arg = &u->ops[a];

    if (type == IR_I64 && arg->op == IR_SEXT && arg->aux == IR_I32 && mask <= INT32_MAX &&
        cheap_to_bypass(u, a, arg->arg[0])) {
        return ir_zext(u, IR_I64, IR_I32,
                       ir_bini(u, IR_AND, IR_I32, arg->arg[0], (int64_t)mask));
    }
    if ((mask & (mask + 1)) != 0) {
        return 0;
    }
    if (u->ops[a].type >= type && extent_of(u, a, EXTENT_DEPTH).zero <= ones) {
        return a;
    }
    switch (ones) {
    case 8: return extend(u, IR_ZEXT, type, IR_I8, a);
    case 16: return extend(u, IR_ZEXT, type, IR_I16, a);
    case 32: return extend(u, IR_ZEXT, type, IR_I32, a);
    default: return 0;
    }
}

/* a + c, where c isn't 0; 0 if there is nothing better. */
static ir_val fold_add(struct ir_unit *u, enum ir_type type, ir_val a, uint64_t c)
{
    const struct ir_op *inner = &u->ops[a];

    if (inner->op != IR_ADD || inner->type != type || !is_const(u, inner->arg[1]) ||
        !cheap_to_bypass(u, a, inner->arg[0])) {
        return 0;
    }
    return ir_bini(u, IR_ADD, type, inner->arg[0], (int64_t)(u->ops[inner->arg[1]].imm + c));
}

static ir_val fold_mul_div(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a,
                           uint64_t c)
{
    uint64_t zero = ir_zero_extend(c, ir_word_bits(type));
    bool power = zero != 0 && (zero & (zero - 1)) == 0;
    unsigned log = zero ? (unsigned)__builtin_ctzll(zero) : 0;

    switch (op) {
    case IR_MUL:
        if (zero == 0) {
            return ir_const(u, type, 0);
        }
        return power ? ir_bini(u, IR_SHL, type, a, log) : 0;
    case IR_MULHSS:
    case IR_MULHUU:
    case IR_MULHSU: return zero == 0 ? ir_const(u, type, 0) : 0;
    case IR_DIVU:
        if (zero == 0) {
            return ir_const(u, type, ~UINT64_C(0));
        }
        return power ? ir_bini(u, IR_SHR, type, a, log) : 0;
    case IR_REMU: return power ? ir_bini(u, IR_AND, type, a, (int64_t)(zero - 1)) : 0;
    case IR_DIVS:
        if (zero == 0) {
            return ir_const(u, type, ~UINT64_C(0));
        }
        return zero == 1 ? a : 0;
    case IR_REMS: return zero == 1 ? ir_const(u, type, 0) : 0;
    default: return 0;
    }
}

/* An operation with the constant [c] (in canonical form) on the right; 0: nothing better. */
static ir_val fold_right(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a,
                         uint64_t c)
{
    const struct ir_op *arg = &u->ops[a];
    bool ones = c == ~UINT64_C(0);

    switch (op) {
    case IR_ADD: return c == 0 ? a : fold_add(u, type, a, c);
    case IR_SUB: return ir_bini(u, IR_ADD, type, a, (int64_t)-c);
    case IR_AND: return c == 0 ? ir_const(u, type, 0) : ones ? a : fold_mask(u, type, a, c);
    case IR_OR: return c == 0 ? a : ones ? ir_const(u, type, c) : 0;
    case IR_XOR:
        if (c == 1 && arg->op == IR_SETCC) {
            return ir_setcc(u, invert(arg->aux), arg->aux2, arg->arg[0], arg->arg[1]);
        }
        return c == 0 ? a : 0;
    case IR_ANDN: return ir_bini(u, IR_AND, type, a, (int64_t)~c);
    case IR_ORN: return ir_bini(u, IR_OR, type, a, (int64_t)~c);
    case IR_XNOR: return ir_bini(u, IR_XOR, type, a, (int64_t)~c);
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROL:
    case IR_ROR: return c == 0 ? a : fold_shifts(u, op, type, a, (unsigned)c);
    case IR_MINU: return c == 0 ? ir_const(u, type, 0) : ones ? a : 0;
    case IR_MAXU: return c == 0 ? a : ones ? ir_const(u, type, c) : 0;
    case IR_CLMUL: return c == 0 ? ir_const(u, type, 0) : c == 1 ? a : 0;
    case IR_MINS:
    case IR_MAXS:
    case IR_CLMULH:
    case IR_CLMULR: return 0;
    default: return fold_mul_div(u, op, type, a, c);
    }
}

/* The constant [c] (canonical) on the left of an operation that doesn't commute. */
static ir_val fold_left(struct ir_unit *u, enum ir_opcode op, enum ir_type type, uint64_t c,
                        ir_val b)
{
    bool ones = c == ~UINT64_C(0);

    switch (op) {
    case IR_ANDN:
        if (ones) {
            return ir_bini(u, IR_XOR, type, b, -1);
        }
        return c == 0 ? ir_const(u, type, 0) : 0;
    case IR_ORN:
        if (c == 0) {
            return ir_bini(u, IR_XOR, type, b, -1);
        }
        return ones ? ir_const(u, type, c) : 0;
    case IR_SHL:
    case IR_SHR: return c == 0 ? ir_const(u, type, 0) : 0;
    case IR_SAR:
    case IR_ROL:
    case IR_ROR: return c == 0 || ones ? ir_const(u, type, c) : 0;
    default: return 0;
    }
}

static ir_val fold_same(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a)
{
    switch (op) {
    case IR_SUB:
    case IR_XOR:
    case IR_ANDN: return ir_const(u, type, 0);
    case IR_ORN:
    case IR_XNOR: return ir_const(u, type, ~UINT64_C(0));
    case IR_AND:
    case IR_OR:
    case IR_MINS:
    case IR_MAXS:
    case IR_MINU:
    case IR_MAXU: return a;
    default: return 0;
    }
}

static bool commutes(enum ir_opcode op)
{
    switch (op) {
    case IR_ADD:
    case IR_MUL:
    case IR_MULHSS:
    case IR_MULHUU:
    case IR_AND:
    case IR_OR:
    case IR_XOR:
    case IR_XNOR:
    case IR_MINS:
    case IR_MAXS:
    case IR_MINU:
    case IR_MAXU:
    case IR_CLMUL:
    case IR_CLMULH:
    case IR_CLMULR: return true;
    default: return false;
    }
}

static bool is_shift(enum ir_opcode op)
{
    return op >= IR_SHL && op <= IR_ROR;
}

/* Folds an operation on constants. Not inlined into its callers: the evaluation is large. */
static G_GNUC_NO_INLINE ir_val fold_consts(struct ir_unit *u, enum ir_opcode op, enum ir_type type,
                                           uint64_t a, uint64_t b)
{
    return ir_const(u, type, ir_eval_int(op, type, 0, a, b));
}

ir_val ir_un(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a)
{
    if (is_const(u, a)) {
        return fold_consts(u, op, type, u->ops[a].imm, 0);
    }
    if (op == IR_BSWAP && type == IR_I8) {
        return a;
    }
    return ir_append2(u, op, type, a, 0);
}

/* An address relative to the code's; 0: it isn't one. Where the code is is a multiple of 4096. */
static ir_val fold_pc(struct ir_unit *u, enum ir_opcode op, ir_val a, uint64_t c)
{
    uint64_t pc = u->ops[a].imm;

    switch (op) {
    case IR_ADD: return ir_pc(u, pc + c);
    case IR_SUB: return ir_pc(u, pc - c);
    case IR_AND: return (c | 0xfff) == UINT64_MAX ? ir_pc(u, pc & c) : 0;
    default: return 0;
    }
}

ir_val ir_bini(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a, int64_t imm)
{
    uint64_t c = ir_canonical(type, (uint64_t)imm);
    ir_val v;

    if (is_const(u, a)) {
        return fold_consts(u, op, type, u->ops[a].imm, c);
    }
    if (u->ops[a].op == IR_PC && type == IR_I64) {
        v = fold_pc(u, op, a, c);
        if (v) {
            return v;
        }
    }
    if (is_shift(op)) {
        c &= ir_word_bits(type) - 1;
    }
    v = fold_right(u, op, type, a, c);
    return v ? v : append_const(u, op, type, a, c);
}

/* The two shifts that make a rotation, of the same value, by amounts that add up to the width: the
 * rotated value and the amount to the right; 0 if it is something else. */
static ir_val rotated(const struct ir_unit *u, ir_val a, ir_val b, enum ir_type type, unsigned *n)
{
    const struct ir_op *left = &u->ops[a], *right = &u->ops[b];

    if (left->op == IR_SHR) {
        left = &u->ops[b];
        right = &u->ops[a];
    }
    if (left->op != IR_SHL || right->op != IR_SHR || left->type != type || right->type != type ||
        left->arg[0] != right->arg[0] || !is_const(u, left->arg[1]) ||
        !is_const(u, right->arg[1])) {
        return 0;
    }
    *n = (unsigned)u->ops[right->arg[1]].imm;
    return u->ops[left->arg[1]].imm + *n == ir_type_bits(type) ? left->arg[0] : 0;
}

/* a | b as a rotation, also one of 32 bits whose parts were sign-extended; 0 if it is none. */
static ir_val fold_rotation(struct ir_unit *u, enum ir_type type, ir_val a, ir_val b)
{
    const struct ir_op *x = &u->ops[a], *y = &u->ops[b];
    unsigned n;
    ir_val v = rotated(u, a, b, type, &n);

    if (v) {
        return ir_bini(u, IR_ROR, type, v, (int64_t)n);
    }
    if (type != IR_I64 || x->op != IR_SEXT || y->op != IR_SEXT || x->aux != IR_I32 ||
        y->aux != IR_I32) {
        return 0;
    }
    v = rotated(u, x->arg[0], y->arg[0], IR_I32, &n);
    return v ? ir_sext(u, IR_I64, IR_I32, ir_bini(u, IR_ROR, IR_I32, v, (int64_t)n)) : 0;
}

/* a & ~b as one operation; 0 if neither is a complement, or it will be made anyway. */
static ir_val fold_complement(struct ir_unit *u, enum ir_type type, ir_val a, ir_val b)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct ir_op *o = &u->ops[b];

        if (o->op == IR_XOR && o->type == type && is_const(u, o->arg[1]) &&
            ir_canonical(type, u->ops[o->arg[1]].imm) == UINT64_MAX &&
            cheap_to_bypass(u, b, o->arg[0])) {
            return ir_bin(u, IR_ANDN, type, a, o->arg[0]);
        }
        ir_val t = a;
        a = b;
        b = t;
    }
    return 0;
}

ir_val ir_bin(struct ir_unit *u, enum ir_opcode op, enum ir_type type, ir_val a, ir_val b)
{
    ir_val v = 0;

    if (is_const(u, b)) {
        return ir_bini(u, op, type, a, (int64_t)u->ops[b].imm);
    }
    if (is_const(u, a)) {
        uint64_t c = ir_canonical(type, u->ops[a].imm);

        if (commutes(op)) {
            return ir_bini(u, op, type, b, (int64_t)c);
        }
        v = fold_left(u, op, type, c, b);
        if (!v) {
            a = ir_const(u, type, c);
        }
    } else if (a == b) {
        v = fold_same(u, op, type, a);
    } else if (op == IR_OR) {
        v = fold_rotation(u, type, a, b);
    } else if (op == IR_AND) {
        v = fold_complement(u, type, a, b);
    }
    return v ? v : ir_append2(u, op, type, a, b);
}

/* ---- Comparisons ---- */

struct compare {
    enum ir_cond cond;
    enum ir_type type;
    ir_val a, b;
    bool at_exit; /* guest registers are observed where the result is used */
};

enum known { KNOWN_FALSE, KNOWN_TRUE, UNKNOWN };

/* The condition for exchanged arguments. */
static enum ir_cond exchange(enum ir_cond cond)
{
    static const uint8_t exchanged[IR_COND_COUNT] = {
        [IR_EQ] = IR_EQ,   [IR_NE] = IR_NE, [IR_LT] = IR_GT, [IR_GE] = IR_LE,   [IR_LTU] = IR_GTU,
        [IR_GEU] = IR_LEU, [IR_GT] = IR_LT, [IR_LE] = IR_GE, [IR_GTU] = IR_LTU, [IR_LEU] = IR_GEU,
    };

    return exchanged[cond];
}

/* Comparisons with 0, 1 and -1 that have a simpler form, always one with 0. */
static enum known simplify_with_const(struct compare *c, uint64_t *k)
{
    if (*k == 0) {
        switch (c->cond) {
        case IR_LTU: return KNOWN_FALSE;
        case IR_GEU: return KNOWN_TRUE;
        case IR_GTU: c->cond = IR_NE; break;
        case IR_LEU: c->cond = IR_EQ; break;
        default: break;
        }
    } else if (*k == 1) {
        switch (c->cond) {
        case IR_LTU: c->cond = IR_EQ; break;
        case IR_GEU: c->cond = IR_NE; break;
        case IR_LT: c->cond = IR_LE; break;
        case IR_GE: c->cond = IR_GT; break;
        default: return UNKNOWN;
        }
        *k = 0;
    } else if (*k == ~UINT64_C(0)) {
        switch (c->cond) {
        case IR_GTU: return KNOWN_FALSE;
        case IR_LEU: return KNOWN_TRUE;
        case IR_GT: c->cond = IR_GE; break;
        case IR_LE: c->cond = IR_LT; break;
        default: return UNKNOWN;
        }
        *k = 0;
    }
    return UNKNOWN;
}

/* A value compared for (in)equality with 0 or 1 that is itself a comparison, or a difference:
 * compares what it was made of. False if it is neither. */
static bool look_through(const struct ir_unit *u, struct compare *c, uint64_t k)
{
    const struct ir_op *op = &u->ops[c->a];
    bool (*cheap)(const struct ir_unit *, ir_val, ir_val) =
        c->at_exit ? cheap_to_bypass_at_exit : cheap_to_bypass;

    if ((c->cond != IR_EQ && c->cond != IR_NE) || k > 1 || !ir_op_nargs[op->op] ||
        !cheap(u, c->a, op->arg[0]) || !cheap(u, c->a, op->arg[1])) {
        return false;
    }
    if (op->op == IR_SETCC) {
        bool wanted = (c->cond == IR_NE) != (k == 1);

        c->cond = wanted ? (enum ir_cond)op->aux : invert(op->aux);
        c->type = op->aux2;
    } else if ((op->op != IR_XOR && op->op != IR_SUB) || k != 0) {
        return false;
    }
    c->a = op->arg[0];
    c->b = op->arg[1];
    return true;
}

static enum known simplify(struct ir_unit *u, struct compare *c)
{
    for (;;) {
        enum known known;
        uint64_t k;

        if (is_const(u, c->a)) {
            ir_val a = c->a;

            if (is_const(u, c->b)) {
                return ir_eval_cond(c->cond, c->type, u->ops[a].imm, u->ops[c->b].imm);
            }
            c->a = c->b;
            c->b = a;
            c->cond = exchange(c->cond);
        }
        if (c->a == c->b) {
            return ir_eval_cond(c->cond, c->type, 0, 0);
        }
        if (!is_const(u, c->b)) {
            return UNKNOWN;
        }
        k = ir_canonical(c->type, u->ops[c->b].imm);
        known = simplify_with_const(c, &k);
        if (known != UNKNOWN) {
            return known;
        }
        /* Each turn goes to an earlier value, so this ends. */
        if (!look_through(u, c, k)) {
            c->b = ir_const(u, c->type, k);
            return UNKNOWN;
        }
    }
}

ir_val ir_setcc(struct ir_unit *u, enum ir_cond cond, enum ir_type type, ir_val a, ir_val b)
{
    struct compare c = {cond, type, a, b, false};
    enum known known = simplify(u, &c);
    struct ir_op op = {.op = IR_SETCC, .type = IR_I64};

    if (known != UNKNOWN) {
        return ir_const(u, IR_I64, known);
    }
    if (c.cond == IR_NE && u->ops[c.a].op == IR_SETCC && is_const(u, c.b) && u->ops[c.b].imm == 0) {
        return c.a;
    }
    op.aux = c.cond;
    op.aux2 = c.type;
    op.arg[0] = c.a;
    op.arg[1] = c.b;
    return ir_append(u, &op);
}

ir_val ir_selcc(struct ir_unit *u, enum ir_cond cond, enum ir_type cmp_type, ir_val a, ir_val b,
                enum ir_type type, ir_val c, ir_val d)
{
    struct compare cmp = {cond, cmp_type, a, b, false};
    struct ir_op op = {.op = IR_SELCC, .type = type};
    enum known known;

    if (c == d) {
        return c;
    }
    known = simplify(u, &cmp);
    if (known != UNKNOWN) {
        return known ? c : d;
    }
    if (ir_type_is_word(type) && is_const(u, c) && is_const(u, d)) {
        uint64_t vc = ir_canonical(type, u->ops[c].imm), vd = ir_canonical(type, u->ops[d].imm);

        if (vc == vd) {
            return c;
        }
        if (vc + vd == 1 && (vc == 0 || vd == 0)) {
            return ir_setcc(u, vc ? cmp.cond : invert(cmp.cond), cmp.type, cmp.a, cmp.b);
        }
    }
    op.aux = cmp.cond;
    op.aux2 = cmp.type;
    op.arg[0] = cmp.a;
    op.arg[1] = cmp.b;
    op.arg[2] = c;
    op.arg[3] = d;
    return ir_append(u, &op);
}

void ir_exit_if(struct ir_unit *u, enum ir_cond cond, enum ir_type type, ir_val a, ir_val b,
                uint64_t pc)
{
    struct compare c = {cond, type, a, b, true};
    enum known known = simplify(u, &c);
    struct ir_op op = {.op = IR_EXIT_IF, .imm = pc};

    if (known == KNOWN_TRUE) {
        ir_jump(u, ir_pc(u, pc));
    }
    if (known != UNKNOWN) {
        return;
    }
    op.aux = c.cond;
    op.aux2 = c.type;
    op.arg[0] = c.a;
    op.arg[1] = c.b;
    ir_append(u, &op);
}
