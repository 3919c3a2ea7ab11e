/*
 * IEEE 754 arithmetic in software.
 *
 * Each operation unpacks its operands into (class, sign, exponent, significand), computes an exact
 * or sticky result with at least 64 significant bits, and rounds once in round_pack(). "Sticky"
 * (or jammed) means that the lowest bit is set if anything below it was not zero: that is enough
 * to round right, since every format here has at least two bits fewer than the intermediate.
 *
 * Nothing here uses the host's floating point, so that it may run under any host rounding mode.
 * Specifications: IEEE 754-2019; RISC-V Unprivileged ISA 20240411, chapters 21-24 and Zfa.
 */
#include "dbt/fp.h"

#include <assert.h>

typedef unsigned __int128 u128;

struct format {
    uint8_t frac_bits; /* stored bits of the significand */
    uint8_t exp_bits;
    int16_t bias;
};

static const struct format formats[] = {
    [IR_F16] = {10, 5, 15},
    [IR_F32] = {23, 8, 127},
    [IR_F64] = {52, 11, 1023},
};

enum num_class { NUM_ZERO, NUM_FINITE, NUM_INF, NUM_NAN };

/* NUM_FINITE: (-1)^sign * sig * 2^(exp - 63), bit 63 of sig set. */
struct num {
    uint8_t class;
    bool sign;
    bool signalling;
    int exp;
    uint64_t sig;
};

static const struct format *format_of(enum ir_type type)
{
    assert(type >= IR_F16 && type <= IR_F64);
    return &formats[type];
}

static uint64_t sign_mask(const struct format *f)
{
    return 1ull << (f->frac_bits + f->exp_bits);
}

static uint64_t inf_bits(const struct format *f)
{
    return ((1ull << f->exp_bits) - 1) << f->frac_bits;
}

static uint64_t nan_bits(const struct format *f)
{
    return inf_bits(f) | 1ull << (f->frac_bits - 1);
}

static uint64_t with_sign(const struct format *f, bool sign, uint64_t magnitude)
{
    return sign ? magnitude | sign_mask(f) : magnitude;
}

static struct num unpack(const struct format *f, uint64_t a)
{
    uint64_t frac = a & ((1ull << f->frac_bits) - 1);
    int exp = a >> f->frac_bits & ((1u << f->exp_bits) - 1);
    struct num n = {.sign = (a & sign_mask(f)) != 0};

    if (exp == (1 << f->exp_bits) - 1) {
        n.class = frac ? NUM_NAN : NUM_INF;
        n.signalling = frac && !(frac >> (f->frac_bits - 1));
    } else if (exp) {
        n.class = NUM_FINITE;
        n.exp = exp - f->bias;
        n.sig = (frac | 1ull << f->frac_bits) << (63 - f->frac_bits);
    } else if (frac) {
        int shift = __builtin_clzll(frac);

        n.class = NUM_FINITE;
        n.exp = 1 - f->bias + 63 - f->frac_bits - shift;
        n.sig = frac << shift;
    }
    return n;
}

/* Whether a magnitude goes up, given its lowest kept bit and the dropped part ([half] = 1/2). */
static bool rounds_up(enum ir_rm rm, bool sign, bool odd, uint64_t rest, uint64_t half)
{
    switch (rm) {
    case IR_RTZ: return false;
    case IR_RDN: return sign && rest;
    case IR_RUP: return !sign && rest;
    case IR_RMM: return rest >= half;
    default: return rest > half || (rest == half && odd);
    }
}

static uint64_t shift_right_jam(uint64_t v, unsigned n)
{
    if (n > 63)
        return v != 0;
    return v >> n | ((v & ((1ull << n) - 1)) != 0);
}

static u128 shift_right_jam128(u128 v, unsigned n)
{
    if (n > 127)
        return v != 0;
    return v >> n | ((v & (((u128)1 << n) - 1)) != 0);
}

static uint64_t overflow(const struct format *f, bool sign, enum ir_rm rm, unsigned *flags)
{
    bool to_max = rm == IR_RTZ || (rm == IR_RDN && !sign) || (rm == IR_RUP && sign);

    *flags |= IR_FLAG_OF | IR_FLAG_NX;
    return with_sign(f, sign, to_max ? inf_bits(f) - 1 : inf_bits(f));
}

/* Round (-1)^sign * sig * 2^(exp - 63) to the format; bit 63 of sig set, bit 0 sticky. */
static uint64_t round_pack(const struct format *f, bool sign, int exp, uint64_t sig, enum ir_rm rm,
                           unsigned *flags)
{
    unsigned drop = 63 - f->frac_bits;
    uint64_t mask = (1ull << drop) - 1;
    uint64_t half = 1ull << (drop - 1);
    int exp_min = 1 - f->bias;
    uint64_t field = 0;
    uint64_t rest, kept;
    bool tiny = false;

    if (exp > f->bias)
        return overflow(f, sign, rm, flags);
    if (exp >= exp_min) {
        field = (uint64_t)(exp + f->bias - 1) << f->frac_bits; /* the hidden bit adds one */
    } else {
        /* Tiny after rounding: not if it would reach the least normal number with the exponent
         * unbounded. */
        kept = sig >> drop;
        tiny = exp < exp_min - 1 || kept != (1ull << (f->frac_bits + 1)) - 1 ||
               !rounds_up(rm, sign, kept & 1, sig & mask, half);
        sig = shift_right_jam(sig, (unsigned)(exp_min - exp));
    }

    rest = sig & mask;
    kept = sig >> drop;
    kept += rounds_up(rm, sign, kept & 1, rest, half);
    field += kept; /* a carry out of the significand goes to the exponent, as it should */
    if (field >= inf_bits(f))
        return overflow(f, sign, rm, flags);
    if (rest)
        *flags |= IR_FLAG_NX | (tiny ? IR_FLAG_UF : 0);
    return with_sign(f, sign, field);
}

/* The same for a 128-bit significand, not 0: value sig * 2^(exp - 127), bit 127 need not be set. */
static uint64_t round_pack128(const struct format *f, bool sign, int exp, u128 sig, enum ir_rm rm,
                              unsigned *flags)
{
    uint64_t high = sig >> 64;
    int shift = high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)sig);

    sig <<= shift;
    return round_pack(f, sign, exp - shift, (uint64_t)(sig >> 64) | ((uint64_t)sig != 0), rm,
                      flags);
}

static uint64_t invalid(const struct format *f, unsigned *flags)
{
    *flags |= IR_FLAG_NV;
    return nan_bits(f);
}

/* The result when at least one operand is a NaN. */
static uint64_t nan_result(const struct format *f, bool signalling, unsigned *flags)
{
    if (signalling)
        *flags |= IR_FLAG_NV;
    return nan_bits(f);
}

static bool either_nan(const struct num *a, const struct num *b)
{
    return a->class == NUM_NAN || b->class == NUM_NAN;
}

/* A finite number with a wide significand: sig * 2^(exp - 126), bit 126 set (a carry fits). */
struct wide {
    bool sign;
    int exp;
    u128 sig;
};

static struct wide widen(const struct num *n)
{
    return (struct wide){n->sign, n->exp, (u128)n->sig << 63};
}

/*
 * a + b, both not zero. What jamming loses is harmless: bits are lost only if the exponents differ
 * by more than the unused low bits of the smaller one (63 for a number, 20 for a product of two),
 * and then at most one leading bit cancels.
 */
static uint64_t add_wide(const struct format *f, struct wide a, struct wide b, enum ir_rm rm,
                         unsigned *flags)
{
    u128 sig;

    if (a.exp < b.exp || (a.exp == b.exp && a.sig < b.sig)) {
        struct wide t = a;
        a = b;
        b = t;
    }
    b.sig = shift_right_jam128(b.sig, (unsigned)(a.exp - b.exp));
    sig = a.sign == b.sign ? a.sig + b.sig : a.sig - b.sig;
    if (!sig)
        return with_sign(f, rm == IR_RDN, 0);
    return round_pack128(f, a.sign, a.exp + 1, sig, rm, flags);
}

/* [b] is unpacked, so that subtraction can have changed its sign. */
static uint64_t add(const struct format *f, struct num a, struct num b, enum ir_rm rm,
                    unsigned *flags)
{
    if (either_nan(&a, &b))
        return nan_result(f, a.signalling || b.signalling, flags);
    if (a.class == NUM_INF || b.class == NUM_INF) {
        if (a.class == b.class && a.sign != b.sign)
            return invalid(f, flags);
        return with_sign(f, a.class == NUM_INF ? a.sign : b.sign, inf_bits(f));
    }
    if (a.class == NUM_ZERO && b.class == NUM_ZERO)
        return with_sign(f, a.sign == b.sign ? a.sign : rm == IR_RDN, 0);
    if (a.class == NUM_ZERO)
        return round_pack(f, b.sign, b.exp, b.sig, rm, flags);
    if (b.class == NUM_ZERO)
        return round_pack(f, a.sign, a.exp, a.sig, rm, flags);
    return add_wide(f, widen(&a), widen(&b), rm, flags);
}

uint64_t fp_add(enum ir_type type, uint64_t a, uint64_t b, enum ir_rm rm, unsigned *flags)
{
    const struct format *f = format_of(type);

    return add(f, unpack(f, a), unpack(f, b), rm, flags);
}

uint64_t fp_sub(enum ir_type type, uint64_t a, uint64_t b, enum ir_rm rm, unsigned *flags)
{
    const struct format *f = format_of(type);

    return add(f, unpack(f, a), unpack(f, b ^ sign_mask(f)), rm, flags);
}

uint64_t fp_mul(enum ir_type type, uint64_t a, uint64_t b, enum ir_rm rm, unsigned *flags)
{
    const struct format *f = format_of(type);
    struct num x = unpack(f, a), y = unpack(f, b);
    bool sign = x.sign ^ y.sign;

    if (either_nan(&x, &y))
        return nan_result(f, x.signalling || y.signalling, flags);
    if (x.class == NUM_INF || y.class == NUM_INF) {
        if (x.class == NUM_ZERO || y.class == NUM_ZERO)
            return invalid(f, flags);
        return with_sign(f, sign, inf_bits(f));
    }
    if (x.class == NUM_ZERO || y.class == NUM_ZERO)
        return with_sign(f, sign, 0);
    return round_pack128(f, sign, x.exp + y.exp + 1, (u128)x.sig * y.sig, rm, flags);
}

uint64_t fp_div(enum ir_type type, uint64_t a, uint64_t b, enum ir_rm rm, unsigned *flags)
{
    const struct format *f = format_of(type);
    struct num x = unpack(f, a), y = unpack(f, b);
    bool sign = x.sign ^ y.sign, less = x.sig < y.sig;
    u128 dividend;
    uint64_t quotient;

    if (either_nan(&x, &y))
        return nan_result(f, x.signalling || y.signalling, flags);
    if (x.class == y.class && (x.class == NUM_INF || x.class == NUM_ZERO))
        return invalid(f, flags);
    if (x.class == NUM_INF)
        return with_sign(f, sign, inf_bits(f));
    if (x.class == NUM_ZERO || y.class == NUM_INF)
        return with_sign(f, sign, 0);
    if (y.class == NUM_ZERO) {
        *flags |= IR_FLAG_DZ;
        return with_sign(f, sign, inf_bits(f));
    }
    dividend = (u128)x.sig << (less ? 64 : 63); /* so that bit 63 of the quotient is set */
    quotient = dividend / y.sig;
    quotient |= dividend % y.sig != 0;
    return round_pack(f, sign, x.exp - y.exp - less, quotient, rm, flags);
}

/* floor(sqrt(v)), bit by bit; *exact says that v is a square. */
static uint64_t square_root(u128 v, bool *exact)
{
    u128 root = 0;

    for (u128 bit = (u128)1 << 126; bit; bit >>= 2) {
        if (v >= root + bit) {
            v -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    *exact = v == 0;
    return root;
}

uint64_t fp_sqrt(enum ir_type type, uint64_t a, enum ir_rm rm, unsigned *flags)
{
    const struct format *f = format_of(type);
    struct num x = unpack(f, a);
    bool odd = x.exp & 1, exact;
    uint64_t root;

    if (x.class == NUM_NAN)
        return nan_result(f, x.signalling, flags);
    if (x.class == NUM_ZERO || (x.class == NUM_INF && !x.sign))
        return a & (sign_mask(f) | inf_bits(f));
    if (x.sign)
        return invalid(f, flags);
    root = square_root((u128)x.sig << (odd ? 64 : 63), &exact);
    return round_pack(f, false, (x.exp - odd) / 2, root | !exact, rm, flags);
}

uint64_t fp_fma(enum ir_type type, uint64_t a, uint64_t b, uint64_t c, unsigned neg, enum ir_rm rm,
                unsigned *flags)
{
    const struct format *f = format_of(type);
    struct num x = unpack(f, a), y = unpack(f, b), z = unpack(f, c);
    bool sign = x.sign ^ y.sign ^ ((neg & IR_FMA_NEG_PRODUCT) != 0);
    bool inf = x.class == NUM_INF || y.class == NUM_INF;
    bool zero = x.class == NUM_ZERO || y.class == NUM_ZERO;
    struct wide product;

    z.sign ^= (neg & IR_FMA_NEG_ADDEND) != 0;
    if (inf && zero)
        return invalid(f, flags);
    if (either_nan(&x, &y) || z.class == NUM_NAN)
        return nan_result(f, x.signalling || y.signalling || z.signalling, flags);
    if (inf) {
        if (z.class == NUM_INF && z.sign != sign)
            return invalid(f, flags);
        return with_sign(f, sign, inf_bits(f));
    }
    if (z.class == NUM_INF)
        return with_sign(f, z.sign, inf_bits(f));
    if (zero) {
        if (z.class == NUM_ZERO)
            return with_sign(f, sign == z.sign ? sign : rm == IR_RDN, 0);
        return round_pack(f, z.sign, z.exp, z.sig, rm, flags);
    }
    product = (struct wide){sign, x.exp + y.exp, (u128)x.sig * y.sig};
    if (z.class == NUM_ZERO)
        return round_pack128(f, sign, product.exp + 1, product.sig, rm, flags);
    if (product.sig >> 127) { /* its low 22 bits are zero: nothing is lost */
        product.sig >>= 1;
        product.exp++;
    }
    return add_wide(f, product, widen(&z), rm, flags);
}

/* Raw bits to an integer of the same order, for numbers: -0 is just below +0. */
static int64_t order_key(const struct format *f, uint64_t a)
{
    int64_t magnitude = a & (sign_mask(f) - 1);

    return a & sign_mask(f) ? ~magnitude : magnitude;
}

static uint64_t min_max(enum ir_type type, uint64_t a, uint64_t b, unsigned kind, bool max,
                        unsigned *flags)
{
    const struct format *f = format_of(type);
    bool a_nan = fp_is_nan(type, a), b_nan = fp_is_nan(type, b);

    if (fp_is_snan(type, a) || fp_is_snan(type, b))
        *flags |= IR_FLAG_NV;
    if (a_nan || b_nan) {
        if (kind == IR_FMM_PROPAGATE || (a_nan && b_nan))
            return nan_bits(f);
        return a_nan ? b : a;
    }
    return (order_key(f, a) < order_key(f, b)) != max ? a : b;
}

uint64_t fp_min(enum ir_type type, uint64_t a, uint64_t b, unsigned kind, unsigned *flags)
{
    return min_max(type, a, b, kind, false, flags);
}

uint64_t fp_max(enum ir_type type, uint64_t a, uint64_t b, unsigned kind, unsigned *flags)
{
    return min_max(type, a, b, kind, true, flags);
}

bool fp_compare(enum ir_type type, uint64_t a, uint64_t b, enum ir_fcond cond, unsigned *flags)
{
    const struct format *f = format_of(type);
    bool quiet = cond == IR_FEQ || cond == IR_FLTQ || cond == IR_FLEQ;
    bool equal;

    if (fp_is_nan(type, a) || fp_is_nan(type, b)) {
        if (!quiet || fp_is_snan(type, a) || fp_is_snan(type, b))
            *flags |= IR_FLAG_NV;
        return false;
    }
    equal = order_key(f, a) == order_key(f, b) || !((a | b) & (sign_mask(f) - 1));
    if (cond == IR_FEQ)
        return equal;
    if (equal)
        return cond == IR_FLE || cond == IR_FLEQ;
    return order_key(f, a) < order_key(f, b);
}

uint64_t fp_classify(enum ir_type type, uint64_t a)
{
    const struct format *f = format_of(type);
    struct num n = unpack(f, a);

    switch (n.class) {
    case NUM_NAN: return n.signalling ? 1 << 8 : 1 << 9;
    case NUM_INF: return n.sign ? 1 << 0 : 1 << 7;
    case NUM_ZERO: return n.sign ? 1 << 3 : 1 << 4;
    default:
        if (n.exp < 1 - f->bias)
            return n.sign ? 1 << 2 : 1 << 5;
        return n.sign ? 1 << 1 : 1 << 6;
    }
}

uint64_t fp_convert(enum ir_type to, enum ir_type from, uint64_t a, enum ir_rm rm, unsigned *flags)
{
    const struct format *f = format_of(to);
    struct num n = unpack(format_of(from), a);

    switch (n.class) {
    case NUM_NAN: return nan_result(f, n.signalling, flags);
    case NUM_INF: return with_sign(f, n.sign, inf_bits(f));
    case NUM_ZERO: return with_sign(f, n.sign, 0);
    default: return round_pack(f, n.sign, n.exp, n.sig, rm, flags);
    }
}

/* |n| as an integer, truncated, and its fraction in units of 2^-64 (jammed); exp must be < 64. */
static uint64_t integer_part(const struct num *n, uint64_t *fraction)
{
    if (n->exp < 0) {
        *fraction = shift_right_jam(n->sig, (unsigned)(-1 - n->exp));
        return 0;
    }
    *fraction = n->exp == 63 ? 0 : n->sig << (n->exp + 1);
    return n->sig >> (63 - n->exp);
}

uint64_t fp_to_int(enum ir_type to, bool is_signed, enum ir_type from, uint64_t a, enum ir_rm rm,
                   unsigned *flags)
{
    struct num n = unpack(format_of(from), a);
    unsigned bits = to == IR_I32 ? 32 : 64;
    uint64_t all = ~0ull >> (64 - bits);
    uint64_t max = is_signed ? all >> 1 : all;
    uint64_t min = is_signed ? max + 1 : 0; /* the magnitude of the least value */
    uint64_t value = 0, fraction = 0, limit;
    bool too_big;

    if (n.class == NUM_NAN)
        n.sign = false;
    limit = n.sign ? min : max;
    too_big = n.class >= NUM_INF || (n.class == NUM_FINITE && n.exp > 63);
    if (n.class == NUM_FINITE && !too_big) {
        value = integer_part(&n, &fraction);
        if (rounds_up(rm, n.sign, value & 1, fraction, 1ull << 63))
            too_big = ++value == 0;
        too_big |= value > limit;
    }
    if (too_big) {
        *flags |= IR_FLAG_NV;
        value = limit;
    } else if (fraction) {
        *flags |= IR_FLAG_NX;
    }
    if (n.sign)
        value = -value;
    return bits == 32 ? (uint64_t)(int32_t)value : value;
}

uint64_t fp_to_int_modular(uint64_t a, unsigned *flags)
{
    struct num n = unpack(format_of(IR_F64), a);
    uint64_t value = 0, fraction = 0;
    bool fits = true;

    if (n.class >= NUM_INF) {
        *flags |= IR_FLAG_NV;
        return 0;
    }
    if (n.class == NUM_ZERO)
        return 0;
    if (n.exp > 63) {
        value = n.exp < 63 + 32 ? n.sig << (n.exp - 63) : 0;
        fits = false;
    } else {
        value = integer_part(&n, &fraction);
        fits = value <= (n.sign ? 1ull << 31 : (1ull << 31) - 1);
    }
    if (!fits)
        *flags |= IR_FLAG_NV;
    else if (fraction)
        *flags |= IR_FLAG_NX;
    return (uint64_t)(int32_t)(uint32_t)(n.sign ? -value : value);
}

uint64_t fp_from_int(enum ir_type to, enum ir_type from, bool is_signed, uint64_t a, enum ir_rm rm,
                     unsigned *flags)
{
    bool sign;
    int shift;

    if (from == IR_I32)
        a = is_signed ? (uint64_t)(int32_t)a : (uint32_t)a;
    sign = is_signed && a >> 63;
    if (sign)
        a = -a;
    if (!a)
        return 0;
    shift = __builtin_clzll(a);
    return round_pack(format_of(to), sign, 63 - shift, a << shift, rm, flags);
}

uint64_t fp_round_to_int(enum ir_type type, uint64_t a, enum ir_rm rm, bool inexact,
                         unsigned *flags)
{
    const struct format *f = format_of(type);
    struct num n = unpack(f, a);
    uint64_t value, fraction;
    int shift;

    if (n.class == NUM_NAN)
        return nan_result(f, n.signalling, flags);
    if (n.class != NUM_FINITE || n.exp >= f->frac_bits)
        return a;
    value = integer_part(&n, &fraction);
    value += rounds_up(rm, n.sign, value & 1, fraction, 1ull << 63);
    if (fraction && inexact)
        *flags |= IR_FLAG_NX;
    if (!value)
        return with_sign(f, n.sign, 0);
    shift = __builtin_clzll(value);
    return round_pack(f, n.sign, 63 - shift, value << shift, rm, flags);
}

uint64_t fp_sign_inject(enum ir_type type, uint64_t a, uint64_t b, unsigned sign)
{
    uint64_t mask = sign_mask(format_of(type));

    if (sign == IR_FSGN_XOR)
        return a ^ (b & mask);
    if (sign == IR_FSGN_NOT)
        b = ~b;
    return (a & ~mask) | (b & mask);
}

uint64_t fp_default_nan(enum ir_type type)
{
    return nan_bits(format_of(type));
}

bool fp_is_nan(enum ir_type type, uint64_t a)
{
    const struct format *f = format_of(type);

    return (a & (sign_mask(f) - 1)) > inf_bits(f);
}

bool fp_is_snan(enum ir_type type, uint64_t a)
{
    const struct format *f = format_of(type);

    return fp_is_nan(type, a) && !(a >> (f->frac_bits - 1) & 1);
}
