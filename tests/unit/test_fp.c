/*
 * dbt/fp.c against two models: a wide one (x87's long double rounded to odd, then rounded to the
 * format by plain arithmetic) for every format and rounding mode, and the host's SSE instructions
 * with their flags for F32 and F64 in the four modes that those have.
 */
#include <fenv.h>
#include <float.h>
#include <glib.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "dbt/fp.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#if LDBL_MANT_DIG == 64 && defined(__x86_64__)

typedef unsigned __int128 u128;

static const struct {
    enum ir_type type;
    const char *name;
    int frac_bits, exp_bits;
} types[] = {{IR_F16, "f16", 10, 5}, {IR_F32, "f32", 23, 8}, {IR_F64, "f64", 52, 11}};
enum { N_TYPES = 3, N_MODES = 5 };
static const char *const mode_names[N_MODES] = {"rne", "rtz", "rdn", "rup", "rmm"};

enum op { ADD, SUB, MUL, DIV, SQRT, FMA, FMSUB, FNMSUB, FNMADD, N_OPS };
static const char *const op_names[N_OPS] = {"add", "sub",   "mul",    "div",   "sqrt",
                                            "fma", "fmsub", "fnmsub", "fnmadd"};
static const unsigned fma_neg[N_OPS] = {
    [FMSUB] = IR_FMA_NEG_ADDEND,
    [FNMSUB] = IR_FMA_NEG_PRODUCT,
    [FNMADD] = IR_FMA_NEG_PRODUCT | IR_FMA_NEG_ADDEND,
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static int bias(int t)
{
    return (1 << (types[t].exp_bits - 1)) - 1;
}

static uint64_t sign_of(int t)
{
    return 1ull << (types[t].frac_bits + types[t].exp_bits);
}

static uint64_t inf_of(int t)
{
    return sign_of(t) - (1ull << types[t].frac_bits);
}

/* Values at which something changes: the same list of positions in every format, both signs. */
static GArray *interesting(int t)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    int frac = types[t].frac_bits, b = bias(t);
    uint64_t one = (uint64_t)b << frac, min = 1ull << frac, inf = inf_of(t);
    uint64_t values[] = {
        0,
        1,
        2,
        3,
        min / 2,
        min - 1,
        min,
        min + 1,
        2 * min,
        one,
        one + 1,
        one - 1,
        one - min,
        one + min,
        one + min / 2,
        one + min + min / 2, /* 0.5 2 1.5 3 */
        one + min + min / 4,
        one - 2 * min, /* 2.5 0.25 */
        ((uint64_t)(b + frac) << frac) + 1,
        (uint64_t)(b - frac - 1) << frac,
        ((uint64_t)(b + 15) << frac) + min / 2 + 1,
        inf - 1,
        inf - 2,
        inf - min,
        inf,
        inf + 1,
        inf + min / 2,
        inf + min / 2 + 1,
        inf + min - 1,
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        uint64_t negative = values[i] | sign_of(t);

        g_array_append_val(list, values[i]);
        g_array_append_val(list, negative);
    }
    return list;
}

/* Random bits, with exponents crowded near [near], the ends and the middle of the range. */
static uint64_t random_value(int t, uint64_t *state, uint64_t near)
{
    uint64_t r = next_random(state), frac_mask = (1ull << types[t].frac_bits) - 1;
    uint64_t frac = next_random(state) & frac_mask;
    int64_t exp, max = (1 << types[t].exp_bits) - 1;

    if (r >> 60 & 1) /* few significant bits: exact results and ties */
        frac &= ~0ull << (r >> 32) % (types[t].frac_bits + 1);
    switch (r & 7) {
    case 0: exp = (r >> 8) & max; break;
    case 1: exp = (r >> 8) % 4; break;
    case 2: exp = max - (r >> 8) % 4; break;
    case 3: exp = bias(t) + (int64_t)(r >> 8) % 8 - 4; break;
    case 4: exp = bias(t) / 2 + (r >> 8) % 8; break;
    default: exp = (near >> types[t].frac_bits & max) + (int64_t)(r >> 8 & 7) - 3; break;
    }
    exp = CLAMP(exp, 0, max);
    return frac | (uint64_t)exp << types[t].frac_bits | (r >> 63 ? sign_of(t) : 0);
}

/* ---- The wide model ---- */

static bool is_snan_bits(int t, uint64_t a)
{
    uint64_t m = a & (sign_of(t) - 1);

    return m > inf_of(t) && m < inf_of(t) + (1ull << (types[t].frac_bits - 1));
}

static long double to_wide(int t, uint64_t a)
{
    int frac = types[t].frac_bits;
    uint64_t m = a & (sign_of(t) - 1);
    int exp = m >> frac;
    uint64_t f = m & ((1ull << frac) - 1);
    long double v;

    if (m > inf_of(t))
        return (long double)NAN;
    if (m == inf_of(t))
        v = HUGE_VALL;
    else if (exp)
        v = ldexpl((long double)(f | 1ull << frac), exp - bias(t) - frac);
    else
        v = ldexpl((long double)f, 1 - bias(t) - frac);
    return a & sign_of(t) ? -v : v;
}

static bool model_up(enum ir_rm rm, bool sign, bool odd, long double rest)
{
    switch (rm) {
    case IR_RTZ: return false;
    case IR_RDN: return sign && rest > 0;
    case IR_RUP: return !sign && rest > 0;
    case IR_RMM: return rest >= 0.5L;
    default: return rest > 0.5L || (rest == 0.5L && odd);
    }
}

/* |v| in units of 2^(exp - frac_bits), rounded; *rest is what was cut off. */
static uint64_t model_units(int t, long double v, int exp, enum ir_rm rm, long double *rest)
{
    long double q = ldexpl(fabsl(v), types[t].frac_bits - exp), whole = floorl(q);

    *rest = q - whole;
    return (uint64_t)whole + model_up(rm, signbit(v), (uint64_t)whole & 1, *rest);
}

static uint64_t model_round(int t, long double v, enum ir_rm rm, unsigned *flags)
{
    uint64_t sign = signbit(v) ? sign_of(t) : 0, bits, units;
    int exp_min = 1 - bias(t), exp;
    long double rest;
    bool tiny = false;

    if (isnan(v))
        return fp_default_nan(types[t].type);
    if (isinf(v))
        return sign | inf_of(t);
    if (v == 0)
        return sign;
    exp = ilogbl(v);
    if (exp < exp_min) {
        units = model_units(t, v, exp, rm, &rest);
        tiny = ldexpl((long double)units, exp - types[t].frac_bits) < ldexpl(1, exp_min);
        exp = exp_min;
    }
    units = model_units(t, v, exp, rm, &rest);
    if (exp > bias(t) + 1)
        bits = inf_of(t);
    else
        bits = ((uint64_t)(exp - exp_min) << types[t].frac_bits) + units;
    if (bits >= inf_of(t)) {
        *flags |= IR_FLAG_OF | IR_FLAG_NX;
        bits = inf_of(t) - !model_up(rm, sign != 0, true, 0.75L);
    } else if (rest > 0) {
        *flags |= IR_FLAG_NX | (tiny ? IR_FLAG_UF : 0);
    }
    return sign | bits;
}

/* The operation in long double, to odd: truncated, and the last bit set if it was not exact. */
static long double wide_op(enum op op, long double a, long double b, long double c, unsigned *flags)
{
    volatile long double x = a, y = b, z = c, r = 0;
    int raised;

    fesetround(FE_TOWARDZERO);
    feclearexcept(FE_ALL_EXCEPT);
    switch (op) {
    case ADD: r = x + y; break;
    case SUB: r = x - y; break;
    case MUL: r = x * y; break;
    case DIV: r = x / y; break;
    case SQRT: r = sqrtl(x); break;
    default:
        if (fma_neg[op] & IR_FMA_NEG_PRODUCT)
            x = -x;
        if (fma_neg[op] & IR_FMA_NEG_ADDEND)
            z = -z;
        r = x * y; /* exact for F16 and F32 */
        r = r + z;
        break;
    }
    raised = fetestexcept(FE_ALL_EXCEPT);
    fesetround(FE_TONEAREST);
    if (raised & FE_INEXACT) {
        long double v = r;
        uint64_t m;

        memcpy(&m, &v, sizeof(m));
        m |= 1;
        memcpy(&v, &m, sizeof(m));
        r = v;
    }
    if (raised & FE_INVALID)
        *flags |= IR_FLAG_NV;
    if (raised & FE_DIVBYZERO)
        *flags |= IR_FLAG_DZ;
    return r;
}

static unsigned n_args(enum op op)
{
    return op == SQRT ? 1 : op >= FMA ? 3 : 2;
}

static uint64_t model_op(enum op op, int t, const uint64_t v[3], enum ir_rm rm, unsigned *flags)
{
    long double w[3], r;

    for (unsigned i = 0; i < 3; i++) {
        w[i] = i < n_args(op) ? to_wide(t, v[i]) : 0;
        if (i < n_args(op) && is_snan_bits(t, v[i]))
            *flags |= IR_FLAG_NV;
    }
    /* As RISC-V: infinity times zero is invalid whatever is added. */
    if (op >= FMA && ((isinf(w[0]) && w[1] == 0) || (w[0] == 0 && isinf(w[1])))) {
        *flags |= IR_FLAG_NV;
        return fp_default_nan(types[t].type);
    }
    r = wide_op(op, w[0], w[1], w[2], flags);
    /* An exact zero of two that aren't has the sign of the rounding mode. */
    if (r == 0 && (op <= SUB || op >= FMA)) {
        bool down = rm == IR_RDN;
        long double s = op == SUB ? -w[1] : w[1], p = w[0];

        if (op >= FMA) {
            p = w[0] * w[1] * (fma_neg[op] & IR_FMA_NEG_PRODUCT ? -1 : 1);
            s = w[2] * (fma_neg[op] & IR_FMA_NEG_ADDEND ? -1 : 1);
        }
        if (!(p == 0 && s == 0 && signbit(p) == signbit(s)))
            r = down ? -0.0L : 0.0L;
    }
    return model_round(t, r, rm, flags);
}

static uint64_t soft_op(enum op op, int t, const uint64_t v[3], enum ir_rm rm, unsigned *flags)
{
    enum ir_type type = types[t].type;

    switch (op) {
    case ADD: return fp_add(type, v[0], v[1], rm, flags);
    case SUB: return fp_sub(type, v[0], v[1], rm, flags);
    case MUL: return fp_mul(type, v[0], v[1], rm, flags);
    case DIV: return fp_div(type, v[0], v[1], rm, flags);
    case SQRT: return fp_sqrt(type, v[0], rm, flags);
    default: return fp_fma(type, v[0], v[1], v[2], fma_neg[op], rm, flags);
    }
}

static void differs(const char *model, enum op op, int t, const uint64_t v[3], enum ir_rm rm,
                    uint64_t got, unsigned got_flags, uint64_t want, unsigned want_flags)
{
    g_test_message("%s.%s.%s %#" PRIx64 " %#" PRIx64 " %#" PRIx64 ": %#" PRIx64
                   " flags %#x, but by %s %#" PRIx64 " flags %#x",
                   op_names[op], types[t].name, mode_names[rm], v[0], v[1], v[2], got, got_flags,
                   model, want, want_flags);
    g_test_fail();
}

/* ---- The host ---- */

static unsigned flags_of_mxcsr(unsigned csr)
{
    return (csr & 1 ? IR_FLAG_NV : 0) | (csr & 4 ? IR_FLAG_DZ : 0) | (csr & 8 ? IR_FLAG_OF : 0) |
           (csr & 16 ? IR_FLAG_UF : 0) | (csr & 32 ? IR_FLAG_NX : 0);
}

static unsigned mxcsr_of_mode(enum ir_rm rm)
{
    static const uint8_t rounding[4] = {0, 3, 1, 2};

    return 0x1f80 | (unsigned)rounding[rm] << 13;
}

#define HOST_OP(name, ctype, utype, nan, root, fused)                                     \
    static uint64_t name(enum op op, const uint64_t v[3], enum ir_rm rm, unsigned *flags) \
    {                                                                                     \
        volatile ctype x, y, z, r;                                                        \
        ctype c;                                                                          \
        utype u[3] = {(utype)v[0], (utype)v[1], (utype)v[2]}, bits;                       \
        memcpy(&c, &u[0], sizeof(c));                                                     \
        x = c;                                                                            \
        memcpy(&c, &u[1], sizeof(c));                                                     \
        y = c;                                                                            \
        memcpy(&c, &u[2], sizeof(c));                                                     \
        z = c;                                                                            \
        _mm_setcsr(mxcsr_of_mode(rm));                                                    \
        switch (op) {                                                                     \
        case ADD: r = x + y; break;                                                       \
        case SUB: r = x - y; break;                                                       \
        case MUL: r = x * y; break;                                                       \
        case DIV: r = x / y; break;                                                       \
        case SQRT: r = root(x); break;                                                    \
        case FMA: r = fused(x, y, z); break;                                              \
        case FMSUB: r = fused(x, y, -z); break;                                           \
        case FNMSUB: r = fused(-x, y, z); break;                                          \
        default: r = fused(-x, y, -z); break;                                             \
        }                                                                                 \
        *flags |= flags_of_mxcsr(_mm_getcsr());                                           \
        _mm_setcsr(0x1f80);                                                               \
        c = r;                                                                            \
        memcpy(&bits, &c, sizeof(c));                                                     \
        return isnan(c) ? nan : bits;                                                     \
    }

HOST_OP(host_f64, double, uint64_t, 0x7ff8000000000000, sqrt, fma)
HOST_OP(host_f32, float, uint32_t, 0x7fc00000, sqrtf, fmaf)

static void check_host(enum op op, int t, const uint64_t v[3], enum ir_rm rm, uint64_t got,
                       unsigned got_flags)
{
    unsigned flags = 0;
    uint64_t want;
    bool zero, inf;

    if (types[t].type == IR_F16 || rm == IR_RMM)
        return;
    want = types[t].type == IR_F64 ? host_f64(op, v, rm, &flags) : host_f32(op, v, rm, &flags);
    /* Infinity times zero plus a quiet NaN is not invalid on x86. */
    zero = !(v[0] & (sign_of(t) - 1)) || !(v[1] & (sign_of(t) - 1));
    inf = (v[0] & (sign_of(t) - 1)) == inf_of(t) || (v[1] & (sign_of(t) - 1)) == inf_of(t);
    if (op >= FMA && zero && inf)
        flags |= IR_FLAG_NV;
    if (want != got || flags != got_flags)
        differs("the host", op, t, v, rm, got, got_flags, want, flags);
}

static void check_op(enum op op, int t, const uint64_t v[3], enum ir_rm rm, bool host)
{
    unsigned flags = 0, model_flags = 0;
    uint64_t got = soft_op(op, t, v, rm, &flags), want;

    if (host)
        check_host(op, t, v, rm, got, flags);
    if (op >= FMA && types[t].type == IR_F64)
        return; /* the product needs more than the wide model has */
    want = model_op(op, t, v, rm, &model_flags);
    if (got != want || flags != model_flags)
        differs("the model", op, t, v, rm, got, flags, want, model_flags);
}

/* ---- Tests ---- */

static void test_interesting(void)
{
    for (int t = 0; t < N_TYPES; t++) {
        g_autoptr(GArray) list = interesting(t);
        const uint64_t *value = (const uint64_t *)(void *)list->data;

        for (unsigned i = 0; i < list->len; i++) {
            for (unsigned j = 0; j < list->len; j++) {
                uint64_t v[3] = {value[i], value[j], value[(i * 7 + j) % list->len]};

                for (int rm = 0; rm < N_MODES; rm++) {
                    for (int op = ADD; op < N_OPS; op++) {
                        if (op != SQRT || !j)
                            check_op(op, t, v, rm, true);
                    }
                }
                if (g_test_failed())
                    return;
            }
        }
    }
}

static void test_fma_interesting(void)
{
    for (int t = 0; t < N_TYPES; t++) {
        g_autoptr(GArray) list = interesting(t);
        const uint64_t *value = (const uint64_t *)(void *)list->data;
        unsigned n = list->len;

        for (unsigned i = 0; i < n * n * n; i++) {
            uint64_t v[3] = {value[i % n], value[i / n % n], value[i / n / n]};

            check_op(FMA + i % 4, t, v, i % N_MODES, true);
            if (g_test_failed())
                return;
        }
    }
}

static void test_random(void)
{
    uint64_t state = 1;
    unsigned n = g_test_slow() ? 10000000 : 600000;

    for (unsigned i = 0; i < n && !g_test_failed(); i++) {
        int t = i % N_TYPES;
        uint64_t v[3];

        v[0] = random_value(t, &state, 0);
        v[1] = random_value(t, &state, v[0]);
        v[2] = random_value(
            t, &state, i & 1 ? fp_mul(types[t].type, v[0], v[1], IR_RTZ, &(unsigned){0}) : v[0]);
        check_op(i / N_TYPES % N_OPS, t, v, i / N_TYPES / N_OPS % N_MODES, true);
    }
}

/* Near cancellation of a product and an addend, where the low bits of the product are all that
 * remains; and fused operations that must agree with plain ones in every mode. */
static void test_fma_cancel(void)
{
    uint64_t state = 2;

    for (unsigned i = 0; i < 200000 && !g_test_failed(); i++) {
        int t = i % N_TYPES;
        enum ir_type type = types[t].type;
        enum ir_rm rm = i / N_TYPES % N_MODES;
        unsigned f1 = 0, f2 = 0, none = 0;
        uint64_t one = (uint64_t)bias(t) << types[t].frac_bits, p, q;
        uint64_t v[3] = {random_value(t, &state, one), random_value(t, &state, one), 0};

        v[2] = fp_mul(type, v[0], v[1], next_random(&state) % N_MODES, &none) ^ sign_of(t);
        if (next_random(&state) & 1)
            v[2] ^= 1;
        check_op(FMA + i / 16 % 4, t, v, rm, true);

        p = fp_fma(type, v[0], one, v[1], 0, rm, &f1);
        q = fp_add(type, v[0], v[1], rm, &f2);
        g_assert_cmphex(p, ==, q);
        g_assert_cmphex(f1, ==, f2);
    }
}

static void test_f16_unary(void)
{
    for (unsigned i = 0; i < 0x10000 && !g_test_failed(); i++) {
        for (int rm = 0; rm < N_MODES; rm++)
            check_op(SQRT, 0, (uint64_t[3]){i, 0, 0}, rm, false);
    }
}

static void check_convert(int from, int to, uint64_t a, enum ir_rm rm)
{
    unsigned flags = 0, want_flags = is_snan_bits(from, a) ? IR_FLAG_NV : 0;
    uint64_t got = fp_convert(types[to].type, types[from].type, a, rm, &flags);
    uint64_t want = model_round(to, to_wide(from, a), rm, &want_flags);

    if (got != want || flags != want_flags) {
        g_test_message("%s to %s %s %#" PRIx64 ": %#" PRIx64 " %#x, not %#" PRIx64 " %#x",
                       types[from].name, types[to].name, mode_names[rm], a, got, flags, want,
                       want_flags);
        g_test_fail();
    }
}

static long double round_wide(long double v, enum ir_rm rm)
{
    static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    volatile long double x = v, r;

    if (rm == IR_RMM)
        return roundl(v);
    fesetround(modes[rm]);
    r = rintl(x);
    fesetround(FE_TONEAREST);
    return r;
}

static void check_to_int(int t, uint64_t a, enum ir_rm rm)
{
    static const long double low[] = {-0x1p31L, 0, -0x1p63L, 0};
    static const long double high[] = {0x1p31L, 0x1p32L, 0x1p63L, 0x1p64L};
    static const uint64_t least[] = {(uint64_t)INT32_MIN, 0, (uint64_t)INT64_MIN, 0};
    static const uint64_t most[] = {INT32_MAX, UINT64_MAX, INT64_MAX, UINT64_MAX};
    long double v = to_wide(t, a), r = round_wide(v, rm);

    for (unsigned k = 0; k < 4; k++) {
        bool is_signed = !(k & 1);
        unsigned flags = 0, want_flags = 0;
        uint64_t got = fp_to_int(k < 2 ? IR_I32 : IR_I64, is_signed, types[t].type, a, rm, &flags);
        uint64_t want;

        if (isnan(v) || r >= high[k] || r < low[k]) {
            want = !isnan(v) && v < 0 ? least[k] : most[k];
            want_flags = IR_FLAG_NV;
        } else {
            want = r < 0 ? -(uint64_t)-r : (uint64_t)r;
            if (k == 1)
                want = (uint64_t)(int32_t)want;
            want_flags = r != v ? IR_FLAG_NX : 0;
        }
        if (got != want || flags != want_flags) {
            g_test_message("%s %#" PRIx64 " to integer %u %s: %#" PRIx64 " %#x, not %#" PRIx64
                           " %#x",
                           types[t].name, a, k, mode_names[rm], got, flags, want, want_flags);
            g_test_fail();
        }
    }
}

static void check_round(int t, uint64_t a, enum ir_rm rm)
{
    long double v = to_wide(t, a), r = round_wide(v, rm);
    unsigned snan = is_snan_bits(t, a) ? IR_FLAG_NV : 0, none = 0;

    for (unsigned inexact = 0; inexact < 2; inexact++) {
        unsigned flags = 0;
        uint64_t got = fp_round_to_int(types[t].type, a, rm, inexact, &flags);

        g_assert_cmphex(got, ==, model_round(t, r, IR_RNE, &none));
        g_assert_cmphex(flags, ==, inexact && !isnan(v) && r != v ? IR_FLAG_NX : snan);
    }
}

static void check_unary(int t, uint64_t a, enum ir_rm rm)
{
    for (int to = 0; to < N_TYPES; to++) {
        if (to != t)
            check_convert(t, to, a, rm);
    }
    check_to_int(t, a, rm);
    check_round(t, a, rm);
}

static void test_convert(void)
{
    uint64_t state = 3;

    for (unsigned i = 0; i < 0x10000 && !g_test_failed(); i++)
        check_unary(0, i, i % N_MODES);
    for (int t = 0; t < N_TYPES; t++) {
        g_autoptr(GArray) list = interesting(t);

        for (unsigned i = 0; i < list->len * N_MODES; i++)
            check_unary(t, g_array_index(list, uint64_t, i / N_MODES), i % N_MODES);
    }
    for (unsigned i = 0; i < 300000 && !g_test_failed(); i++) {
        int t = 1 + i % 2;
        /* Near the limits of the integers, and of the narrower formats. */
        uint64_t near = (uint64_t)(bias(t) + (int)(next_random(&state) % 90) - 25)
                        << types[t].frac_bits;

        check_unary(t, random_value(t, &state, near), i / 2 % N_MODES);
    }
}

static void test_from_int(void)
{
    uint64_t state = 4;

    for (unsigned i = 0; i < 300000 && !g_test_failed(); i++) {
        uint64_t r = next_random(&state), a = next_random(&state) >> (r & 63);
        int t = (r >> 8) % N_TYPES;
        enum ir_rm rm = (r >> 16) % N_MODES;

        if (r >> 24 & 1)
            a = (1ull << (r >> 32 & 63)) + (r >> 40 & 3) - 2;
        for (unsigned k = 0; k < 4; k++) {
            long double v = k == 0   ? (long double)(int32_t)a
                            : k == 1 ? (long double)(uint32_t)a
                            : k == 2 ? (long double)(int64_t)a
                                     : (long double)a;
            unsigned flags = 0, want_flags = 0;
            uint64_t got =
                fp_from_int(types[t].type, k < 2 ? IR_I32 : IR_I64, !(k & 1), a, rm, &flags);

            g_assert_cmphex(got, ==, model_round(t, v, rm, &want_flags));
            g_assert_cmphex(flags, ==, want_flags);
        }
    }
}

static void test_modular(void)
{
    uint64_t state = 5;

    for (unsigned i = 0; i < 200000; i++) {
        uint64_t near = (uint64_t)(1023 + next_random(&state) % 100 - 4) << 52;
        uint64_t a = random_value(2, &state, near), want = 0;
        long double v = to_wide(2, a), whole = truncl(v);
        unsigned flags = 0, want_flags = 0;

        if (isfinite(v)) {
            long double m = fmodl(whole, 0x1p32L);

            want = (uint64_t)(int32_t)(uint32_t)(int64_t)m;
            if (whole >= 0x1p31L || whole < -0x1p31L)
                want_flags = IR_FLAG_NV;
            else if (whole != v)
                want_flags = IR_FLAG_NX;
        } else {
            want_flags = IR_FLAG_NV;
        }
        g_assert_cmphex(fp_to_int_modular(a, &flags), ==, want);
        g_assert_cmphex(flags, ==, want_flags);
    }
}

static void check_compare(int t, uint64_t a, uint64_t b)
{
    enum ir_type type = types[t].type;
    long double x = to_wide(t, a), y = to_wide(t, b);
    bool nan = isnan(x) || isnan(y), snan = is_snan_bits(t, a) || is_snan_bits(t, b);
    static const bool signals[] = {[IR_FLT] = true, [IR_FLE] = true, [IR_FLEQ] = false};

    for (int cond = IR_FEQ; cond <= IR_FLEQ; cond++) {
        bool want = cond == IR_FEQ                      ? x == y
                    : cond == IR_FLT || cond == IR_FLTQ ? isless(x, y)
                                                        : islessequal(x, y);
        unsigned flags = 0;

        g_assert_cmpint(fp_compare(type, a, b, cond, &flags), ==, want);
        g_assert_cmphex(flags, ==, snan || (nan && signals[cond]) ? IR_FLAG_NV : 0);
    }
    for (unsigned k = 0; k < 4; k++) {
        unsigned kind = k & 1 ? IR_FMM_PROPAGATE : IR_FMM_NUMBER, flags = 0;
        bool max = k & 2;
        uint64_t got = (max ? fp_max : fp_min)(type, a, b, kind, &flags), want;

        if (isnan(x) && isnan(y))
            want = fp_default_nan(type);
        else if (nan && kind == IR_FMM_PROPAGATE)
            want = fp_default_nan(type);
        else if (nan)
            want = isnan(x) ? b : a;
        else if (x == y)
            want = (signbit(x) != 0) == max ? b : a;
        else
            want = (x < y) == max ? b : a;
        g_assert_cmphex(got, ==, want);
        g_assert_cmphex(flags, ==, snan ? IR_FLAG_NV : 0);
    }
    g_assert_cmphex(fp_sign_inject(type, a, b, IR_FSGN_COPY), ==,
                    (a & ~sign_of(t)) | (b & sign_of(t)));
    g_assert_cmphex(fp_sign_inject(type, a, b, IR_FSGN_NOT), ==,
                    (a & ~sign_of(t)) | (~b & sign_of(t)));
    g_assert_cmphex(fp_sign_inject(type, a, b, IR_FSGN_XOR), ==, a ^ (b & sign_of(t)));
}

static uint64_t model_class(int t, uint64_t a)
{
    uint64_t m = a & (sign_of(t) - 1);
    int kind = m == 0 ? 3 : m < 1ull << types[t].frac_bits ? 2 : m < inf_of(t) ? 1 : 0;

    if (m > inf_of(t))
        return is_snan_bits(t, a) ? 1 << 8 : 1 << 9;
    return 1ull << (a & sign_of(t) ? kind : 7 - kind);
}

static void test_compare(void)
{
    uint64_t state = 6;

    for (int t = 0; t < N_TYPES; t++) {
        g_autoptr(GArray) list = interesting(t);

        for (unsigned i = 0; i < list->len; i++) {
            uint64_t a = g_array_index(list, uint64_t, i);

            g_assert_cmphex(fp_classify(types[t].type, a), ==, model_class(t, a));
            g_assert_cmpint(fp_is_snan(types[t].type, a), ==, is_snan_bits(t, a));
            for (unsigned j = 0; j < list->len; j++)
                check_compare(t, a, g_array_index(list, uint64_t, j));
        }
        for (unsigned i = 0; i < 50000; i++) {
            uint64_t a = random_value(t, &state, 0);

            check_compare(t, a, random_value(t, &state, a));
            g_assert_cmphex(fp_classify(types[t].type, a), ==, model_class(t, a));
        }
    }
}

#endif

/* A few results worked out by hand, on any host. */
static void test_known(void)
{
    unsigned flags = 0;

    g_assert_cmphex(fp_add(IR_F64, 0x3ff0000000000000, 0x4000000000000000, IR_RNE, &flags), ==,
                    0x4008000000000000);
    g_assert_cmphex(fp_div(IR_F32, 0x40400000, 0x40000000, IR_RNE, &flags), ==, 0x3fc00000);
    g_assert_cmphex(fp_sqrt(IR_F16, 0x4400, IR_RNE, &flags), ==, 0x4000);
    g_assert_cmphex(flags, ==, 0);
    g_assert_cmphex(fp_div(IR_F32, 0x3f800000, 0x40400000, IR_RNE, &flags), ==, 0x3eaaaaab);
    g_assert_cmphex(flags, ==, IR_FLAG_NX);
    flags = 0;
    /* 0.5 ulp above 1: only RMM and RUP go up. */
    g_assert_cmphex(fp_add(IR_F32, 0x3f800000, 0x33800000, IR_RNE, &flags), ==, 0x3f800000);
    g_assert_cmphex(fp_add(IR_F32, 0x3f800000, 0x33800000, IR_RMM, &flags), ==, 0x3f800001);
    g_assert_cmphex(fp_add(IR_F32, 0x3f800000, 0x33800000, IR_RUP, &flags), ==, 0x3f800001);
    g_assert_cmphex(fp_add(IR_F32, 0x3f800000, 0x33800000, IR_RTZ, &flags), ==, 0x3f800000);
    flags = 0;
    g_assert_cmphex(fp_fma(IR_F64, 0x7ff0000000000000, 0, 0x7ff8000000000000, 0, IR_RNE, &flags),
                    ==, 0x7ff8000000000000);
    g_assert_cmphex(flags, ==, IR_FLAG_NV);
    flags = 0;
    g_assert_cmphex(fp_to_int(IR_I32, false, IR_F64, 0xbff0000000000000, IR_RTZ, &flags), ==, 0);
    g_assert_cmphex(flags, ==, IR_FLAG_NV);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fp/known", test_known);
#if LDBL_MANT_DIG == 64 && defined(__x86_64__)
    g_test_add_func("/fp/interesting", test_interesting);
    g_test_add_func("/fp/fma-interesting", test_fma_interesting);
    g_test_add_func("/fp/random", test_random);
    g_test_add_func("/fp/fma-cancel", test_fma_cancel);
    g_test_add_func("/fp/f16-sqrt", test_f16_unary);
    g_test_add_func("/fp/convert", test_convert);
    g_test_add_func("/fp/from-int", test_from_int);
    g_test_add_func("/fp/modular", test_modular);
    g_test_add_func("/fp/compare", test_compare);
#endif
    return g_test_run();
}
