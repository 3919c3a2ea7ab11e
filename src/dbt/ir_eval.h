/*
 * What the pure integer operations compute, once: the builder folds constants with it and the
 * interpreter executes with it. Called with a constant opcode the switches vanish.
 *
 * Arguments are read from the low bits that the type asks for; bits of a result above the type's
 * width are unspecified, as everywhere in the IR.
 */
#ifndef NANDU_DBT_IR_EVAL_H
#define NANDU_DBT_IR_EVAL_H

#include "dbt/ir.h"

#define IR_EVAL_INLINE static inline __attribute__((always_inline))

/* True for the integer types that fit in a host word. */
static inline bool ir_type_is_word(enum ir_type type)
{
    return type >= IR_I8 && type <= IR_I64;
}

/* Width of I8 .. I64 in bits. */
IR_EVAL_INLINE unsigned ir_word_bits(enum ir_type type)
{
    return 4u << type;
}

/* The low [bits] (1 .. 64) bits of v, zero-extended. */
IR_EVAL_INLINE uint64_t ir_zero_extend(uint64_t v, unsigned bits)
{
    return v << (64 - bits) >> (64 - bits);
}

/* The low [bits] (1 .. 64) bits of v, sign-extended. */
IR_EVAL_INLINE int64_t ir_sign_extend(uint64_t v, unsigned bits)
{
    return (int64_t)(v << (64 - bits)) >> (64 - bits);
}

/* Carry-less product of two 64-bit numbers: the low half; the high half to *high. */
static inline uint64_t ir_carryless_multiply(uint64_t a, uint64_t b, uint64_t *high)
{
    uint64_t lo = b & 1 ? a : 0, hi = 0;

    for (unsigned i = 1; i < 64; i++) {
        if (b >> i & 1) {
            lo ^= a << i;
            hi ^= a >> (64 - i);
        }
    }
    *high = hi;
    return lo;
}

IR_EVAL_INLINE uint64_t ir_eval_mulh(enum ir_opcode op, unsigned w, uint64_t a, uint64_t b)
{
    if (w < 64) {
        /* Two numbers of up to 32 bits: the product of the extended numbers is exact. */
        uint64_t x = op == IR_MULHUU ? ir_zero_extend(a, w) : (uint64_t)ir_sign_extend(a, w);
        uint64_t y = op == IR_MULHSS ? (uint64_t)ir_sign_extend(b, w) : ir_zero_extend(b, w);

        return x * y >> w;
    }
    switch (op) {
    case IR_MULHSS: return (uint64_t)((__int128)(int64_t)a * (int64_t)b >> 64);
    case IR_MULHSU: return (uint64_t)((__int128)(int64_t)a * (__int128)b >> 64);
    default: return (uint64_t)((unsigned __int128)a * b >> 64);
    }
}

IR_EVAL_INLINE uint64_t ir_eval_divide(enum ir_opcode op, unsigned w, unsigned aux, uint64_t a,
                                       uint64_t b)
{
    bool is_signed = op == IR_DIVS || op == IR_REMS;
    bool quotient = op == IR_DIVS || op == IR_DIVU;
    uint64_t x = is_signed ? (uint64_t)ir_sign_extend(a, w) : ir_zero_extend(a, w);
    uint64_t y = is_signed ? (uint64_t)ir_sign_extend(b, w) : ir_zero_extend(b, w);

    if (y == 0) {
        return !quotient ? x : aux == IR_DIV0_ONES ? ~UINT64_C(0) : 0;
    }
    if (!is_signed) {
        return quotient ? x / y : x % y;
    }
    if (y == ~UINT64_C(0)) {
        /* The one quotient that can overflow: the least number by -1 wraps. */
        return quotient ? -x : 0;
    }
    return quotient ? (uint64_t)((int64_t)x / (int64_t)y) : (uint64_t)((int64_t)x % (int64_t)y);
}

IR_EVAL_INLINE uint64_t ir_eval_shift(enum ir_opcode op, unsigned w, uint64_t a, uint64_t b)
{
    unsigned n = b & (w - 1);
    uint64_t x = ir_zero_extend(a, w);

    switch (op) {
    case IR_SHL: return x << n;
    case IR_SHR: return x >> n;
    case IR_SAR: return (uint64_t)(ir_sign_extend(a, w) >> n);
    case IR_ROL: return n == 0 ? x : x << n | x >> (w - n);
    default: return n == 0 ? x : x >> n | x << (w - n);
    }
}

static inline uint64_t ir_eval_brev8(uint64_t a)
{
    a = (a & UINT64_C(0x5555555555555555)) << 1 | (a >> 1 & UINT64_C(0x5555555555555555));
    a = (a & UINT64_C(0x3333333333333333)) << 2 | (a >> 2 & UINT64_C(0x3333333333333333));
    return (a & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4 | (a >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f));
}

static inline uint64_t ir_eval_orcb(uint64_t a)
{
    a |= a >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f);
    a |= a >> 2 & UINT64_C(0x3333333333333333);
    a |= a >> 1 & UINT64_C(0x5555555555555555);
    return (a & UINT64_C(0x0101010101010101)) * 0xff;
}

IR_EVAL_INLINE uint64_t ir_eval_clmul(enum ir_opcode op, unsigned w, uint64_t a, uint64_t b)
{
    uint64_t high, low;

    low = ir_carryless_multiply(ir_zero_extend(a, w), ir_zero_extend(b, w), &high);
    switch (op) {
    case IR_CLMUL: return low;
    case IR_CLMULH: return w == 64 ? high : low >> w;
    default: return w == 64 ? high << 1 | low >> 63 : low >> (w - 1);
    }
}

/* A pure operation of integer type (I8 .. I64) with one or two arguments, ADD .. CLMULR. */
IR_EVAL_INLINE uint64_t ir_eval_int(enum ir_opcode op, enum ir_type type, unsigned aux, uint64_t a,
                                    uint64_t b)
{
    unsigned w = ir_word_bits(type);
    uint64_t zero = ir_zero_extend(a, w);

    switch (op) {
    case IR_ADD: return a + b;
    case IR_SUB: return a - b;
    case IR_MUL: return a * b;
    case IR_MULHSS:
    case IR_MULHUU:
    case IR_MULHSU: return ir_eval_mulh(op, w, a, b);
    case IR_DIVS:
    case IR_DIVU:
    case IR_REMS:
    case IR_REMU: return ir_eval_divide(op, w, aux, a, b);
    case IR_AND: return a & b;
    case IR_OR: return a | b;
    case IR_XOR: return a ^ b;
    case IR_ANDN: return a & ~b;
    case IR_ORN: return a | ~b;
    case IR_XNOR: return ~(a ^ b);
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROL:
    case IR_ROR: return ir_eval_shift(op, w, a, b);
    case IR_MINS: return ir_sign_extend(a, w) < ir_sign_extend(b, w) ? a : b;
    case IR_MAXS: return ir_sign_extend(a, w) > ir_sign_extend(b, w) ? a : b;
    case IR_MINU: return zero < ir_zero_extend(b, w) ? a : b;
    case IR_MAXU: return zero > ir_zero_extend(b, w) ? a : b;
    case IR_CLZ: return zero == 0 ? w : (unsigned)__builtin_clzll(zero) - (64 - w);
    case IR_CTZ: return zero == 0 ? w : (unsigned)__builtin_ctzll(zero);
    case IR_POPCNT: return (unsigned)__builtin_popcountll(zero);
    case IR_BSWAP: return __builtin_bswap64(a) >> (64 - w);
    case IR_BREV8: return ir_eval_brev8(a);
    case IR_ORCB: return ir_eval_orcb(a);
    case IR_CLMUL:
    case IR_CLMULH:
    case IR_CLMULR: return ir_eval_clmul(op, w, a, b);
    default: return 0;
    }
}

/* A comparison of integers of type [type] (I8 .. I64). */
IR_EVAL_INLINE bool ir_eval_cond(enum ir_cond cond, enum ir_type type, uint64_t a, uint64_t b)
{
    unsigned w = ir_word_bits(type);
    uint64_t ua = ir_zero_extend(a, w), ub = ir_zero_extend(b, w);
    int64_t sa = ir_sign_extend(a, w), sb = ir_sign_extend(b, w);

    switch (cond) {
    case IR_EQ: return ua == ub;
    case IR_NE: return ua != ub;
    case IR_LT: return sa < sb;
    case IR_GE: return sa >= sb;
    case IR_LTU: return ua < ub;
    case IR_GEU: return ua >= ub;
    case IR_GT: return sa > sb;
    case IR_LE: return sa <= sb;
    case IR_GTU: return ua > ub;
    default: return ua <= ub;
    }
}

/* F16/F32 bits in a NaN box (RISC-V Unprivileged 20240411, 21.2), and out of it. */
static inline uint64_t ir_eval_box(enum ir_type from, uint64_t a)
{
    return from == IR_F16 ? a | ~UINT64_C(0xffff) : a | ~UINT64_C(0xffffffff);
}

static inline uint64_t ir_eval_unbox(enum ir_type to, uint64_t a)
{
    if (to == IR_F16) {
        return a >= ~UINT64_C(0xffff) ? a & 0xffff : 0x7e00;
    }
    return a >= ~UINT64_C(0xffffffff) ? a & 0xffffffff : 0x7fc00000;
}

#endif
