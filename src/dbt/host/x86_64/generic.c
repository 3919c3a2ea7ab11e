/*
 * Operations in C: those that the host has no instruction for, and the far paths of floating point.
 * Called from translated code with raw values and the operation's attributes (GENERIC_ATTR).
 */
#include "dbt/fp.h"
#include "dbt/host/x86_64/cg.h"

static uint64_t low_bits(uint64_t v, unsigned bits)
{
    return bits < 64 ? v & ((1ull << bits) - 1) : v;
}

static uint64_t bit_reverse_bytes(uint64_t v)
{
    v = (v & 0x5555555555555555) << 1 | (v >> 1 & 0x5555555555555555);
    v = (v & 0x3333333333333333) << 2 | (v >> 2 & 0x3333333333333333);
    return (v & 0x0f0f0f0f0f0f0f0f) << 4 | (v >> 4 & 0x0f0f0f0f0f0f0f0f);
}

static uint64_t or_combine_bytes(uint64_t v)
{
    v |= (v & 0x7f7f7f7f7f7f7f7f) + 0x7f7f7f7f7f7f7f7f;
    return (v >> 7 & 0x0101010101010101) * 0xff;
}

static unsigned __int128 carryless_product(uint64_t a, uint64_t b)
{
    unsigned __int128 sum = 0;
    for (unsigned i = 0; i < 64; i++)
        if (b >> i & 1)
            sum ^= (unsigned __int128)a << i;
    return sum;
}

static uint64_t shift(enum ir_opcode op, uint64_t a, unsigned n, unsigned bits)
{
    a = low_bits(a, bits);
    switch (op) {
    case IR_SHL: return a << n;
    case IR_SHR: return a >> n;
    case IR_SAR: return (uint64_t)((int64_t)(a << (64 - bits)) >> (64 - bits) >> n);
    case IR_ROL: return n ? a << n | a >> (bits - n) : a;
    default: return n ? a >> n | a << (bits - n) : a;
    }
}

static uint64_t divide(enum ir_opcode op, uint64_t a, uint64_t b, unsigned bits, unsigned div0)
{
    bool rem = op == IR_REMS || op == IR_REMU;
    int64_t sa = (int64_t)(a << (64 - bits)) >> (64 - bits);
    int64_t sb = (int64_t)(b << (64 - bits)) >> (64 - bits);
    uint64_t ua = low_bits(a, bits), ub = low_bits(b, bits);
    if (ub == 0)
        return rem ? a : div0 == IR_DIV0_ONES ? UINT64_MAX : 0;
    if (op == IR_DIVU || op == IR_REMU)
        return rem ? ua % ub : ua / ub;
    if (sb == -1)
        return rem ? 0 : -(uint64_t)sa;
    return (uint64_t)(rem ? sa % sb : sa / sb);
}

static uint64_t minmax(enum ir_opcode op, uint64_t a, uint64_t b, unsigned bits)
{
    int64_t sa = (int64_t)(a << (64 - bits)), sb = (int64_t)(b << (64 - bits));
    bool less = op == IR_MINS || op == IR_MAXS ? sa < sb : (uint64_t)sa < (uint64_t)sb;
    bool min = op == IR_MINS || op == IR_MINU;
    return less == min ? a : b;
}

static uint64_t multiply_high(enum ir_opcode op, uint64_t a, uint64_t b, unsigned bits)
{
    int64_t sa = (int64_t)(a << (64 - bits)) >> (64 - bits);
    int64_t sb = (int64_t)(b << (64 - bits)) >> (64 - bits);
    unsigned __int128 p;
    if (op == IR_MULHUU)
        p = (unsigned __int128)low_bits(a, bits) * low_bits(b, bits);
    else if (op == IR_MULHSS)
        p = (unsigned __int128)((__int128)sa * sb);
    else
        p = (unsigned __int128)((__int128)sa * (__int128)low_bits(b, bits));
    return (uint64_t)(p >> bits);
}

uint64_t generic_int(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t attr)
{
    enum ir_opcode op = attr & 0xff;
    unsigned bits = ir_type_bits(attr >> 8 & 0xff);
    unsigned __int128 product;
    uint64_t ta = low_bits(a, bits);
    (void)cpu;
    (void)c;
    switch (op) {
    case IR_BREV8: return bit_reverse_bytes(a);
    case IR_ORCB: return or_combine_bytes(a);
    case IR_CLMUL:
    case IR_CLMULH:
    case IR_CLMULR:
        product = carryless_product(ta, low_bits(b, bits));
        return (uint64_t)(op == IR_CLMUL ? product : product >> (bits - (op == IR_CLMULR)));
    case IR_CLZ: return ta ? (unsigned)__builtin_clzll(ta) - (64 - bits) : bits;
    case IR_CTZ: return ta ? (unsigned)__builtin_ctzll(ta) : bits;
    case IR_POPCNT: return (unsigned)__builtin_popcountll(ta);
    case IR_BSWAP: return __builtin_bswap64(ta) >> (64 - bits);
    case IR_SHL:
    case IR_SHR:
    case IR_SAR:
    case IR_ROL:
    case IR_ROR: return shift(op, a, b & (bits - 1), bits);
    case IR_DIVS:
    case IR_DIVU:
    case IR_REMS:
    case IR_REMU: return divide(op, a, b, bits, attr >> 16 & 0xff);
    case IR_MINS:
    case IR_MAXS:
    case IR_MINU:
    case IR_MAXU: return minmax(op, a, b, bits);
    case IR_MUL: return a * b;
    case IR_MULHSS:
    case IR_MULHUU:
    case IR_MULHSU: return multiply_high(op, a, b, bits);
    default: g_assert_not_reached();
    }
}

uint64_t generic_fp(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t attr)
{
    enum ir_opcode op = attr & 0xff;
    enum ir_type type = attr >> 8 & 0xff, from = attr >> 24 & 0xff;
    unsigned aux = attr >> 16 & 0xff, flags = 0;
    uint64_t r;
    unsigned bits = ir_type_bits(op >= IR_FCMP && op <= IR_FTOU ? from : type);

    if (op != IR_ITOF && op != IR_UTOF) { /* containers may have more bits set */
        a = low_bits(a, bits);
        b = low_bits(b, bits);
        c = low_bits(c, bits);
    }
    switch (op) {
    case IR_FADD: r = fp_add(type, a, b, aux, &flags); break;
    case IR_FSUB: r = fp_sub(type, a, b, aux, &flags); break;
    case IR_FMUL: r = fp_mul(type, a, b, aux, &flags); break;
    case IR_FDIV: r = fp_div(type, a, b, aux, &flags); break;
    case IR_FSQRT: r = fp_sqrt(type, a, aux, &flags); break;
    case IR_FMADD: r = fp_fma(type, a, b, c, from, aux, &flags); break;
    case IR_FMIN: r = fp_min(type, a, b, aux, &flags); break;
    case IR_FMAX: r = fp_max(type, a, b, aux, &flags); break;
    case IR_FSGN: r = fp_sign_inject(type, a, b, aux); break;
    case IR_FCMP: r = fp_compare(from, a, b, aux, &flags); break;
    case IR_FCLASS: r = fp_classify(from, a); break;
    case IR_FCVT: r = fp_convert(type, from, a, aux, &flags); break;
    case IR_FTOI: r = fp_to_int(type, true, from, a, aux, &flags); break;
    case IR_FTOU: r = fp_to_int(type, false, from, a, aux, &flags); break;
    case IR_ITOF: r = fp_from_int(type, from, true, a, aux, &flags); break;
    case IR_UTOF: r = fp_from_int(type, from, false, a, aux, &flags); break;
    case IR_FROUND: r = fp_round_to_int(type, a, aux, from, &flags); break;
    default: g_assert_not_reached();
    }
    cpu->fp_flags |= flags;
    return r;
}
