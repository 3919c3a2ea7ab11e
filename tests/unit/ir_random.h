/*
 * A generator of random units of IR, for tests that compare two ways of executing them. Each unit
 * is built twice: by ir_emit as it is and by the simplifying builder.
 */
#ifndef NANDU_TEST_IR_RANDOM_H
#define NANDU_TEST_IR_RANDOM_H

#include <inttypes.h>
#include <stdio.h>

#include "ir_test.h"

enum {
    MEMORY_SIZE = 4096,
    MAX_VALUES = 400,
    BASE_REG = 8,   /* x8 and x9 hold pointers to the middle of the memory */
    N_INT_REGS = 8, /* x0-x7 are used */
    N_FLOAT_REGS = 4,
    UNIT_PC = 0x76540, /* no pc that a random unit jumps to by chance */
};

/* A value in both units. */
struct value {
    ir_val raw, folded;
    enum ir_type type;
    bool pointer; /* to the memory, at most [drift] bytes off its middle */
    int drift;
};

struct generator {
    GRand *rand;
    struct ir_unit *raw, *folded;
    struct value values[MAX_VALUES];
    unsigned n_values;
    int drift[2]; /* of the pointers in the base registers */
    uint64_t pc;
    bool plain;    /* integers and plain memory only, nothing that calls C */
    uint8_t idle;  /* integer registers that aren't used for now */
    bool pressure; /* use old values as often as new ones: many are live */
    bool relative; /* units may be moved */
    bool chained;  /* the end may be any jump; else RET or EXIT */
    uint8_t frm;   /* most operations round as this mode says (enum ir_rm) */
};

static unsigned pick(struct generator *g, unsigned n)
{
    return g_rand_int(g->rand) % n;
}

static bool chance(struct generator *g, unsigned percent)
{
    return pick(g, 100) < percent;
}

static unsigned int_register(struct generator *g)
{
    unsigned reg;

    do {
        reg = pick(g, N_INT_REGS);
    } while (g->idle >> reg & 1);
    return reg;
}

static uint64_t interesting(struct generator *g)
{
    static const uint64_t table[] = {
        0,
        0,
        0,
        1,
        1,
        2,
        3,
        8,
        16,
        24,
        31,
        32,
        40,
        48,
        56,
        63,
        64,
        127,
        128,
        255,
        256,
        4096,
        0x7fff,
        0x8000,
        0xffff,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x100000000,
        0x7fffffffffffffff,
        0x8000000000000000,
        0xffffffff80000000,
        ~UINT64_C(0),
        ~UINT64_C(0),
        ~UINT64_C(1),
        ~UINT64_C(7),
        ~UINT64_C(0xff),
    };

    if (chance(g, 80)) {
        return table[pick(g, G_N_ELEMENTS(table))];
    }
    return (uint64_t)g_rand_int(g->rand) << 32 | g_rand_int(g->rand);
}

static void add_value(struct generator *g, enum ir_type type, ir_val raw, ir_val folded)
{
    if (g->n_values < MAX_VALUES) {
        g->values[g->n_values++] = (struct value){raw, folded, type, false, 0};
    }
}

static enum ir_type word_type(struct generator *g)
{
    static const uint8_t table[] = {IR_I64, IR_I64, IR_I64, IR_I32, IR_I32, IR_I16, IR_I8};

    return table[pick(g, G_N_ELEMENTS(table))];
}

static enum ir_type float_type(struct generator *g)
{
    static const uint8_t table[] = {IR_F64, IR_F64, IR_F32, IR_F32, IR_F16};

    return table[pick(g, G_N_ELEMENTS(table))];
}

static ir_val raw_const(struct generator *g, enum ir_type type, uint64_t value)
{
    return ir_emit(g->raw, (struct ir_op){.op = IR_CONST, .type = type, .imm = value});
}

/* An integer of at least [type]; mostly one of the last made, so that chains grow. */
static struct value word(struct generator *g, enum ir_type type)
{
    unsigned reg;

    for (unsigned i = 0; i < 6 && g->n_values; i++) {
        unsigned back = !g->pressure && chance(g, 60) ? MIN(4, g->n_values) : g->n_values;
        struct value v = g->values[g->n_values - 1 - pick(g, back)];

        if (!v.pointer && v.type >= type && v.type <= IR_I64) {
            return v;
        }
    }
    if (chance(g, 40)) {
        uint64_t c = interesting(g);

        return (struct value){raw_const(g, IR_I64, c), ir_const(g->folded, IR_I64, c), IR_I64,
                              false, 0};
    }
    reg = int_register(g);
    return (struct value){
        ir_emit(g->raw, (struct ir_op){.op = IR_GET, .type = IR_I64, .imm = reg}),
        ir_get(g->folded, reg),
        IR_I64,
        false,
        0,
    };
}

static struct value floating(struct generator *g, enum ir_type type)
{
    unsigned reg = TEST_F0 + pick(g, N_FLOAT_REGS);
    struct value v = {0};

    for (unsigned i = 0; i < 6 && g->n_values; i++) {
        v = g->values[g->n_values - 1 - pick(g, g->n_values)];
        if (v.type == type) {
            return v;
        }
    }
    v = (struct value){ir_emit(g->raw, (struct ir_op){.op = IR_GET, .type = IR_F64, .imm = reg}),
                       ir_get(g->folded, reg), IR_F64, false, 0};
    if (type != IR_F64) {
        v.raw = ir_emit(g->raw, (struct ir_op){.op = IR_UNBOX, .type = type, .arg = {v.raw}});
        v.folded = ir_unbox(g->folded, type, v.folded);
        v.type = type;
    }
    return v;
}

static void put(struct generator *g, unsigned reg, struct value v)
{
    ir_emit(g->raw, (struct ir_op){.op = IR_PUT, .arg = {v.raw}, .imm = reg});
    ir_put(g->folded, reg, v.folded);
}

static void gen_binary(struct generator *g)
{
    static const uint8_t common[] = {IR_ADD, IR_SUB, IR_AND, IR_OR, IR_XOR, IR_SHL, IR_SHR, IR_SAR};
    enum ir_opcode op = chance(g, g->plain ? 95 : 60) ? common[pick(g, G_N_ELEMENTS(common))]
                                                      : IR_ADD + pick(g, IR_MAXU - IR_ADD + 1);
    enum ir_type type = word_type(g);
    struct value a = word(g, type), b = chance(g, 5) ? a : word(g, type);

    if (!g->plain && chance(g, 10)) {
        op = IR_CLMUL + pick(g, 3);
    }
    if (chance(g, 50)) {
        uint64_t c = interesting(g);

        add_value(
            g, type,
            ir_emit(g->raw,
                    (struct ir_op){.op = op, .type = type, .arg = {a.raw, raw_const(g, type, c)}}),
            ir_bini(g->folded, op, type, a.folded, (int64_t)c));
    } else {
        add_value(g, type,
                  ir_emit(g->raw, (struct ir_op){.op = op, .type = type, .arg = {a.raw, b.raw}}),
                  ir_bin(g->folded, op, type, a.folded, b.folded));
    }
}

static void gen_unary(struct generator *g)
{
    enum ir_opcode op = IR_CLZ + pick(g, IR_ORCB - IR_CLZ + 1);
    enum ir_type type = word_type(g);
    struct value a = word(g, type);

    add_value(g, type, ir_emit(g->raw, (struct ir_op){.op = op, .type = type, .arg = {a.raw}}),
              ir_un(g->folded, op, type, a.folded));
}

static void gen_extend(struct generator *g)
{
    enum ir_type to = chance(g, 70) ? IR_I64 : word_type(g);
    enum ir_type from = IR_I8 + pick(g, to - IR_I8 + 1);
    struct value a = word(g, from);
    bool is_signed = chance(g, 50);

    add_value(g, to,
              ir_emit(g->raw, (struct ir_op){.op = is_signed ? IR_SEXT : IR_ZEXT,
                                             .type = to,
                                             .aux = from,
                                             .arg = {a.raw}}),
              is_signed ? ir_sext(g->folded, to, from, a.folded)
                        : ir_zext(g->folded, to, from, a.folded));
}

/* A 32-bit operation, sign-extended, as RISC-V has them. */
static void gen_word_op(struct generator *g)
{
    static const uint8_t ops[] = {IR_ADD, IR_SUB, IR_MUL, IR_SHL, IR_SHR, IR_SAR, IR_ROR};
    enum ir_opcode op = ops[pick(g, G_N_ELEMENTS(ops))];
    struct value a = word(g, IR_I32), b = word(g, IR_I32), v = {.type = IR_I64};

    v.raw = ir_emit(g->raw, (struct ir_op){.op = op, .type = IR_I32, .arg = {a.raw, b.raw}});
    v.raw = ir_emit(g->raw,
                    (struct ir_op){.op = IR_SEXT, .type = IR_I64, .aux = IR_I32, .arg = {v.raw}});
    v.folded = ir_bin(g->folded, op, IR_I32, a.folded, b.folded);
    v.folded = ir_sext(g->folded, IR_I64, IR_I32, v.folded);
    if (chance(g, 70)) {
        put(g, int_register(g), v);
    }
    add_value(g, IR_I64, v.raw, v.folded);
}

/* Two shifts by constants, as compilers extend and extract. */
static void gen_shifts(struct generator *g)
{
    static const uint8_t amounts[] = {1, 8, 16, 24, 31, 32, 40, 48, 56, 63};
    enum ir_type type = word_type(g);
    struct value a = word(g, type);

    for (unsigned i = 0; i < 2; i++) {
        enum ir_opcode op = i == 0 && chance(g, 80) ? IR_SHL : IR_SHL + pick(g, 5);
        uint64_t n = amounts[pick(g, G_N_ELEMENTS(amounts))];

        a.raw = ir_emit(
            g->raw, (struct ir_op){.op = op, .type = type, .arg = {a.raw, raw_const(g, type, n)}});
        a.folded = ir_bini(g->folded, op, type, a.folded, (int64_t)n);
    }
    add_value(g, type, a.raw, a.folded);
}

struct comparison {
    enum ir_cond cond;
    enum ir_type type;
    struct value a, b;
};

static struct comparison comparison(struct generator *g)
{
    struct comparison c = {.cond = pick(g, IR_COND_COUNT), .type = word_type(g)};

    c.a = word(g, c.type);
    c.b = chance(g, 5) ? c.a : word(g, c.type);
    if (chance(g, 50)) {
        uint64_t k = interesting(g);
        struct value v = {raw_const(g, IR_I64, k), ir_const(g->folded, IR_I64, k), IR_I64, false,
                          0};

        if (chance(g, 80)) {
            c.b = v;
        } else {
            c.a = v;
        }
    }
    return c;
}

static void gen_compare(struct generator *g)
{
    struct comparison c = comparison(g);
    enum ir_type type = word_type(g);
    struct value x, y;

    if (chance(g, 60)) {
        add_value(g, IR_I64,
                  ir_emit(g->raw, (struct ir_op){.op = IR_SETCC,
                                                 .type = IR_I64,
                                                 .aux = c.cond,
                                                 .aux2 = c.type,
                                                 .arg = {c.a.raw, c.b.raw}}),
                  ir_setcc(g->folded, c.cond, c.type, c.a.folded, c.b.folded));
        return;
    }
    if (chance(g, 15)) {
        type = float_type(g);
        x = floating(g, type);
        y = floating(g, type);
    } else {
        x = word(g, type);
        y = word(g, type);
    }
    add_value(g, type,
              ir_emit(g->raw, (struct ir_op){.op = IR_SELCC,
                                             .type = type,
                                             .aux = c.cond,
                                             .aux2 = c.type,
                                             .arg = {c.a.raw, c.b.raw, x.raw, y.raw}}),
              ir_selcc(g->folded, c.cond, c.type, c.a.folded, c.b.folded, type, x.folded,
                       y.folded));
}

static void gen_exit_if(struct generator *g)
{
    struct comparison c = comparison(g);
    uint64_t pc = (chance(g, 70) ? UNIT_PC + 0x1000 : UNIT_PC - 0x100) + 4 * pick(g, 16);

    ir_emit(
        g->raw,
        (struct ir_op){
            .op = IR_EXIT_IF, .aux = c.cond, .aux2 = c.type, .arg = {c.a.raw, c.b.raw}, .imm = pc});
    ir_exit_if(g->folded, c.cond, c.type, c.a.folded, c.b.folded, pc);
}

static void gen_put(struct generator *g)
{
    if (chance(g, 85)) {
        put(g, int_register(g), word(g, IR_I64));
    } else {
        put(g, TEST_F0 + pick(g, N_FLOAT_REGS), floating(g, IR_F64));
    }
}

static struct value base(struct generator *g, unsigned which)
{
    return (struct value){
        ir_emit(g->raw, (struct ir_op){.op = IR_GET, .type = IR_I64, .imm = BASE_REG + which}),
        ir_get(g->folded, BASE_REG + which),
        IR_I64,
        true,
        g->drift[which],
    };
}

/* A pointer into the memory: a base register, moved by a constant, sometimes kept moved. */
static struct value pointer(struct generator *g)
{
    unsigned which = pick(g, 2);
    struct value v = base(g, which);

    while (chance(g, 60)) {
        int step = 8 * ((int)pick(g, 33) - 16);

        if (ABS(v.drift + step) > MEMORY_SIZE / 4) {
            break;
        }
        v.raw = ir_emit(g->raw, (struct ir_op){.op = IR_ADD,
                                               .type = IR_I64,
                                               .arg = {v.raw, raw_const(g, IR_I64, step)}});
        v.folded = ir_bini(g->folded, IR_ADD, IR_I64, v.folded, step);
        v.drift += step;
        if (chance(g, 40)) {
            put(g, BASE_REG + which, v);
            g->drift[which] = v.drift;
        }
    }
    return v;
}

static void gen_load(struct generator *g)
{
    enum ir_type type = word_type(g), mem = IR_I8 + pick(g, type - IR_I8 + 1);
    struct value p = pointer(g);
    int offset = (int)pick(g, 512) - 256;
    unsigned flags = chance(g, 50) ? IR_MEM_SIGNED : 0;

    if (chance(g, 15)) {
        type = mem = float_type(g);
        flags = 0;
    }
    add_value(g, type,
              ir_emit(g->raw, (struct ir_op){.op = IR_LOAD,
                                             .type = type,
                                             .aux = flags,
                                             .aux2 = mem,
                                             .arg = {p.raw},
                                             .imm = (uint64_t)(int64_t)offset}),
              ir_load(g->folded, type, mem, p.folded, offset, flags));
}

static void gen_store(struct generator *g)
{
    enum ir_type mem = word_type(g);
    int offset = (int)pick(g, 512) - 256;
    struct value p = pointer(g), v;

    if (chance(g, 15)) {
        mem = float_type(g);
        v = floating(g, chance(g, 50) ? IR_F64 : mem);
    } else {
        v = word(g, mem);
    }
    ir_emit(g->raw, (struct ir_op){.op = IR_STORE,
                                   .aux2 = mem,
                                   .arg = {p.raw, v.raw},
                                   .imm = (uint64_t)(int64_t)offset});
    ir_store(g->folded, mem, p.folded, offset, v.folded, 0);
}

static void gen_atomic(struct generator *g)
{
    enum ir_type type = chance(g, 50) ? IR_I64 : IR_I32, mem = chance(g, 50) ? IR_I32 : type;
    struct value p = pointer(g), v = word(g, mem), w = word(g, mem);
    struct ir_op op = {.type = type, .aux = IR_MEM_ALIGN, .aux2 = mem};
    ir_val folded;

    op.aux |= (chance(g, 30) ? IR_MEM_ACQUIRE : 0) | (chance(g, 30) ? IR_MEM_RELEASE : 0);
    if (chance(g, 10)) {
        /* Misaligned: a fault, where all registers are exact. */
        p.raw = ir_emit(g->raw, (struct ir_op){.op = IR_ADD,
                                               .type = IR_I64,
                                               .arg = {p.raw, raw_const(g, IR_I64, 2)}});
        p.folded = ir_bini(g->folded, IR_ADD, IR_I64, p.folded, 2);
    }
    op.arg[0] = p.raw;
    op.arg[1] = v.raw;
    switch (pick(g, 4)) {
    case 0:
        op.op = IR_AMO;
        op.aux32 = pick(g, IR_AMO_MAXU + 1);
        folded = ir_amo(g->folded, op.aux32, type, mem, p.folded, v.folded, op.aux);
        break;
    case 1:
        op.op = IR_CAS;
        op.arg[2] = w.raw;
        folded = ir_cas(g->folded, type, mem, p.folded, v.folded, w.folded, op.aux);
        break;
    case 2:
        op.op = IR_LDX;
        op.arg[1] = 0;
        folded = ir_ldx(g->folded, type, mem, p.folded, op.aux);
        break;
    default:
        op.op = IR_STX;
        op.type = type = IR_I64;
        folded = ir_stx(g->folded, mem, p.folded, v.folded, op.aux);
        break;
    }
    add_value(g, type, ir_emit(g->raw, op), folded);
}

/* ---- Floating point ---- */

static enum ir_type int_of_size(enum ir_type type)
{
    return type == IR_F64 ? IR_I64 : type == IR_F32 ? IR_I32 : IR_I16;
}

static enum ir_rm rounding(struct generator *g)
{
    return chance(g, 75) ? g->frm : pick(g, IR_RMM + 1);
}

/* Conversions between raw bits, containers and boxes. */
static void gen_float_bits(struct generator *g)
{
    enum ir_type type = float_type(g), same = int_of_size(type);
    struct value a = floating(g, type), w;

    if (type != IR_F64 && chance(g, 50)) {
        add_value(
            g, IR_F64,
            ir_emit(g->raw,
                    (struct ir_op){.op = IR_BOX, .type = IR_F64, .aux2 = type, .arg = {a.raw}}),
            ir_box(g->folded, type, a.folded));
    } else if (type != IR_F64 && chance(g, 50)) {
        a = floating(g, IR_F64);
        add_value(g, type,
                  ir_emit(g->raw, (struct ir_op){.op = IR_UNBOX, .type = type, .arg = {a.raw}}),
                  ir_unbox(g->folded, type, a.folded));
    } else if (chance(g, 50)) {
        add_value(g, same,
                  ir_emit(g->raw, (struct ir_op){.op = IR_BITCAST, .type = same, .arg = {a.raw}}),
                  ir_bitcast(g->folded, same, a.folded));
    } else {
        w = word(g, same);
        add_value(g, type,
                  ir_emit(g->raw, (struct ir_op){.op = IR_BITCAST, .type = type, .arg = {w.raw}}),
                  ir_bitcast(g->folded, type, w.folded));
    }
}

static uint64_t interesting_float(struct generator *g, enum ir_type type)
{
    static const uint16_t halves[] = {0,      0x8000, 1,      0x03ff, 0x0400, 0x3800, 0x3c00,
                                      0x3e00, 0xc000, 0x7bff, 0x7c00, 0xfc00, 0x7d00, 0x7e00};
    static const uint32_t singles[] = {0,          0x80000000, 1,          0x007fffff, 0x00800000,
                                       0x3f000000, 0x3f800000, 0x3fc00000, 0xc0000000, 0x4f000000,
                                       0x5f000000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x7fa00000,
                                       0x7fc00000, 0x33800001, 0x4b7fffff};
    static const uint64_t doubles[] = {
        0,
        0x8000000000000000,
        1,
        0x000fffffffffffff,
        0x0010000000000000,
        0x3fe0000000000000,
        0x3ff0000000000000,
        0x3ff8000000000000,
        0xc000000000000000,
        0x41e0000000000000,
        0xc1e0000000000000,
        0x41efffffffe00000,
        0x43e0000000000000,
        0xc3e0000000000000,
        0x43f0000000000000,
        0x7fefffffffffffff,
        0x7ff0000000000000,
        0xfff0000000000000,
        0x7ff4000000000000,
        0x7ff8000000000000,
        0x47efffffe0000000,
        0x3810000000000001,
        0x3ca0000000000001,
    };
    uint64_t sign = pick(g, 2);

    switch (type) {
    case IR_F16: return halves[pick(g, G_N_ELEMENTS(halves))] ^ sign << 15;
    case IR_F32: return singles[pick(g, G_N_ELEMENTS(singles))] ^ sign << 31;
    default: return doubles[pick(g, G_N_ELEMENTS(doubles))] ^ sign << 63;
    }
}

/* An operand: any value, a constant or a number that was just converted, so that not all results
 * are NaNs. */
static struct value operand(struct generator *g, enum ir_type type)
{
    struct value v = {.type = type};

    if (chance(g, 40)) {
        uint64_t c = interesting_float(g, type);

        v.raw = raw_const(g, type, c);
        v.folded = ir_const(g->folded, type, c);
    } else if (chance(g, 30)) {
        struct value w = word(g, IR_I32);
        enum ir_rm rm = rounding(g);

        v.raw = ir_emit(
            g->raw,
            (struct ir_op){.op = IR_ITOF, .type = type, .aux = rm, .aux2 = IR_I32, .arg = {w.raw}});
        v.folded = ir_fcvt(g->folded, IR_ITOF, type, IR_I32, w.folded, rm);
    } else {
        v = floating(g, type);
    }
    return v;
}

static void gen_arithmetic(struct generator *g)
{
    static const uint8_t ops[] = {IR_FADD, IR_FSUB, IR_FMUL, IR_FDIV, IR_FMIN, IR_FMAX, IR_FSGN};
    enum ir_opcode op = ops[pick(g, G_N_ELEMENTS(ops))];
    enum ir_type type = float_type(g);
    struct value a = operand(g, type), b = chance(g, 20) ? a : operand(g, type);
    unsigned aux = rounding(g);

    if (op == IR_FMIN || op == IR_FMAX) {
        aux = pick(g, 2);
    } else if (op == IR_FSGN) {
        aux = pick(g, 3);
    }
    add_value(g, type,
              ir_emit(g->raw,
                      (struct ir_op){.op = op, .type = type, .aux = aux, .arg = {a.raw, b.raw}}),
              ir_fbin(g->folded, op, type, a.folded, b.folded, aux));
}

static void gen_unary_float(struct generator *g)
{
    enum ir_type type = float_type(g);
    struct value a = operand(g, type), b = operand(g, type), c = operand(g, type);
    struct ir_op op = {.type = type, .aux = rounding(g), .arg = {a.raw}};
    ir_val folded;

    switch (pick(g, 4)) {
    case 0:
        op.op = IR_FSQRT;
        folded = ir_fsqrt(g->folded, type, a.folded, op.aux);
        break;
    case 1:
        op.op = IR_FROUND;
        op.aux2 = pick(g, 2);
        folded = ir_fround(g->folded, type, a.folded, op.aux, op.aux2);
        break;
    default:
        op.op = IR_FMADD;
        op.aux2 = pick(g, 4);
        op.arg[1] = b.raw;
        op.arg[2] = c.raw;
        folded = ir_fmadd(g->folded, type, a.folded, b.folded, c.folded, op.aux, op.aux2);
        break;
    }
    add_value(g, type, ir_emit(g->raw, op), folded);
}

static void gen_float_compare(struct generator *g)
{
    enum ir_type type = float_type(g);
    struct value a = operand(g, type), b = chance(g, 10) ? a : operand(g, type);
    unsigned cond = pick(g, IR_FLEQ + 1);

    if (chance(g, 20)) {
        add_value(
            g, IR_I64,
            ir_emit(g->raw,
                    (struct ir_op){.op = IR_FCLASS, .type = IR_I64, .aux2 = type, .arg = {a.raw}}),
            ir_fclass(g->folded, type, a.folded));
        return;
    }
    add_value(g, IR_I64,
              ir_emit(g->raw, (struct ir_op){.op = IR_FCMP,
                                             .type = IR_I64,
                                             .aux = cond,
                                             .aux2 = type,
                                             .arg = {a.raw, b.raw}}),
              ir_fcmp(g->folded, cond, type, a.folded, b.folded));
}

static void gen_convert(struct generator *g)
{
    enum ir_type type = float_type(g), to = float_type(g);
    enum ir_type integer = chance(g, 50) ? IR_I64 : IR_I32;
    struct ir_op op = {.aux = rounding(g)};
    struct value a;

    if (chance(g, 30)) {
        op.op = chance(g, 50) ? IR_ITOF : IR_UTOF;
        op.type = type;
        op.aux2 = integer;
        a = word(g, integer);
    } else if (to == type || chance(g, 60)) {
        op.op = chance(g, 50) ? IR_FTOI : IR_FTOU;
        op.type = integer;
        op.aux2 = type;
        a = operand(g, type);
    } else {
        op.op = IR_FCVT;
        op.type = to;
        op.aux2 = type;
        a = operand(g, type);
    }
    op.arg[0] = a.raw;
    add_value(g, op.type, ir_emit(g->raw, op),
              ir_fcvt(g->folded, op.op, op.type, op.aux2, a.folded, op.aux));
}

static void gen_flags(struct generator *g)
{
    struct value v;

    if (chance(g, 50)) {
        add_value(g, IR_I64, ir_emit(g->raw, (struct ir_op){.op = IR_FGETFLAGS, .type = IR_I64}),
                  ir_fgetflags(g->folded));
    } else {
        v = word(g, IR_I64);
        ir_emit(g->raw, (struct ir_op){.op = IR_FSETFLAGS, .arg = {v.raw}});
        ir_fsetflags(g->folded, v.folded);
    }
}

static void gen_float(struct generator *g)
{
    static void (*const kinds[])(struct generator *) = {
        gen_float_bits,  gen_float_bits,    gen_arithmetic, gen_arithmetic,
        gen_unary_float, gen_float_compare, gen_convert,    gen_flags,
    };

    kinds[pick(g, G_N_ELEMENTS(kinds))](g);
}

/* ---- State, helpers, ends ---- */

static void gen_state(struct generator *g)
{
    enum ir_type type = chance(g, 20) ? float_type(g) : word_type(g);
    size_t offset = offsetof(struct test_vcpu, extra) + 8 * pick(g, 4);
    struct value v;

    if (chance(g, 50)) {
        add_value(g, type,
                  ir_emit(g->raw, (struct ir_op){.op = IR_LDS, .type = type, .imm = offset}),
                  ir_lds(g->folded, type, offset));
    } else {
        v = ir_type_is_float(type) ? floating(g, type) : word(g, type);
        ir_emit(g->raw, (struct ir_op){.op = IR_STS, .type = type, .arg = {v.raw}, .imm = offset});
        ir_sts(g->folded, type, offset, v.folded);
    }
}

static void gen_fence(struct generator *g)
{
    unsigned pred = pick(g, 4), succ = pick(g, 4);

    ir_emit(g->raw, (struct ir_op){.op = IR_FENCE, .aux = pred << 2 | succ});
    ir_fence(g->folded, pred, succ);
}

static uint64_t help_pure(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return a * 3 + b - c * 5 + (d >> 1);
}

static uint64_t help_flags(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    cpu->fp_flags |= a & 0x1f;
    return b + c;
}

/* Changes a guest register, from what the others hold. */
static uint64_t help_sync(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct test_vcpu *tv = (struct test_vcpu *)cpu;

    cpu->r[a % N_INT_REGS] ^= cpu->r[b % N_INT_REGS] + 1;
    tv->f[c % N_FLOAT_REGS] += tv->f[d % N_FLOAT_REGS];
    return cpu->r[0];
}

static uint64_t help_exit(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    if (a % 8 == 3) {
        cpu->exit_reason = VCPU_EXIT_YIELD;
    }
    return 5;
}

/* Leaves with a pc of its own and changed registers. */
static uint64_t help_exit_sync(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    cpu->r[b % N_INT_REGS] += cpu->pc;
    if (a % 16 == 5) {
        cpu->exit_reason = VCPU_EXIT_SYSCALL;
        cpu->pc += 12;
    }
    return cpu->r[1];
}

/* Reads and writes guest memory: may fault. */
static uint64_t help_touch(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    char *host = (char *)(uintptr_t)(a + cpu->guest_base);
    uint64_t v;

    memcpy(&v, host, sizeof(v));
    v += b;
    memcpy(host, &v, sizeof(v));
    cpu->r[b % N_INT_REGS] += v;
    return v;
}

static void gen_helper(struct generator *g)
{
    static const struct ir_helper helpers[] = {
        {"pure", help_pure, IR_HELPER_PURE},
        {"none", help_pure, 0},
        {"flags", help_flags, IR_HELPER_FPFLAGS},
        {"sync", help_sync, IR_HELPER_SYNC},
        {"exit", help_exit, IR_HELPER_MAY_EXIT},
        {"exit_sync", help_exit_sync, IR_HELPER_MAY_EXIT | IR_HELPER_SYNC},
        {"touch", help_touch, IR_HELPER_SYNC},
    };
    static const uint8_t nargs[] = {4, 4, 3, 4, 1, 2, 2};
    unsigned which = pick(g, G_N_ELEMENTS(helpers)), n = nargs[which];
    const struct ir_helper *h = &helpers[which];
    struct value v[4] = {{0}};
    struct ir_op op = {.op = IR_HELPER, .type = IR_I64, .imm = (uintptr_t)h};

    for (unsigned i = 0; i < n; i++) {
        v[i] = chance(g, 90) ? word(g, IR_I64) : floating(g, IR_F64);
        op.arg[i] = v[i].raw;
    }
    if (h->fn == help_touch) {
        v[0] = pointer(g);
        op.arg[0] = v[0].raw;
    }
    if (h->fn == help_pure && chance(g, 30)) {
        op.type = IR_F64;
    } else if (h->flags != IR_HELPER_PURE && chance(g, 30)) {
        op.type = IR_VOID;
    }
    if (op.type == IR_VOID) {
        ir_emit(g->raw, op);
        ir_helper(g->folded, op.type, h, v[0].folded, v[1].folded, v[2].folded, v[3].folded);
        return;
    }
    add_value(g, op.type, ir_emit(g->raw, op),
              ir_helper(g->folded, op.type, h, v[0].folded, v[1].folded, v[2].folded, v[3].folded));
}

static void gen_insn(struct generator *g)
{
    g->pc += 4;
    ir_emit(g->raw, (struct ir_op){.op = IR_INSN, .aux32 = 4, .imm = g->pc});
    ir_insn(g->folded, g->pc, 4);
}

/* An address that moves with the code, if the unit is relative. */
static struct value pc_value(struct generator *g, uint64_t pc)
{
    struct ir_op op = {.op = IR_PC, .type = IR_I64, .imm = pc};

    return (struct value){
        .type = IR_I64,
        .raw = g->relative ? ir_emit(g->raw, op) : raw_const(g, IR_I64, pc),
        .folded = ir_pc(g->folded, pc),
    };
}

static void gen_pc(struct generator *g)
{
    struct value v = pc_value(g, UNIT_PC + (uint64_t)((int32_t)g_rand_int(g->rand) / 2));

    add_value(g, IR_I64, v.raw, v.folded);
}

static void gen_jump(struct generator *g)
{
    struct value v = word(g, IR_I64);
    struct ir_op op = {.op = IR_JUMP + pick(g, 3)};

    if (chance(g, 40)) {
        uint64_t pc =
            chance(g, 50) ? UNIT_PC - 0x100 + 2 * pick(g, 16) : UNIT_PC + 0x1000 + 2 * pick(g, 16);

        v = pc_value(g, pc);
    } else if (chance(g, 60)) {
        v.raw = ir_emit(g->raw, (struct ir_op){.op = IR_AND,
                                               .type = IR_I64,
                                               .arg = {v.raw, raw_const(g, IR_I64, -2)}});
        v.folded = ir_bini(g->folded, IR_AND, IR_I64, v.folded, -2);
    }
    op.arg[0] = v.raw;
    if (op.op == IR_CALL) {
        op.imm = chance(g, 80) ? g->pc + 4 : interesting(g) & ~UINT64_C(1);
        ir_call(g->folded, v.folded, op.imm);
    } else if (op.op == IR_RET) {
        ir_ret(g->folded, v.folded);
    } else {
        ir_jump(g->folded, v.folded);
    }
    ir_emit(g->raw, op);
}

static void gen_end(struct generator *g)
{
    struct value v;

    if (g->chained && chance(g, 70)) {
        gen_jump(g);
    } else if (chance(g, 50)) {
        v = word(g, IR_I64);
        ir_emit(g->raw, (struct ir_op){.op = IR_RET, .arg = {v.raw}});
        ir_ret(g->folded, v.folded);
    } else {
        ir_emit(g->raw, (struct ir_op){.op = IR_EXIT, .aux32 = VCPU_EXIT_SYSCALL, .imm = g->pc});
        ir_exit(g->folded, VCPU_EXIT_SYSCALL, g->pc);
    }
}

/* One unit into both g->raw and g->folded, which are reset. */
static void generate(struct generator *g, const struct guest_arch *arch, uint32_t seed)
{
    static void (*const kinds[])(struct generator *) = {
        gen_binary, gen_binary, gen_binary, gen_binary, gen_binary,  gen_unary,
        gen_extend, gen_extend, gen_shifts, gen_shifts, gen_compare, gen_compare,
        gen_put,    gen_put,    gen_put,    gen_load,   gen_store,   gen_float,
        gen_float,  gen_insn,   gen_insn,   gen_insn,
    };
    static void (*const plain[])(struct generator *) = {
        gen_binary, gen_binary,  gen_word_op, gen_word_op, gen_word_op, gen_extend, gen_shifts,
        gen_put,    gen_compare, gen_load,    gen_load,    gen_store,   gen_insn,
    };
    unsigned steps;

    g_rand_set_seed(g->rand, seed);
    g->plain = chance(g, 30);
    g->idle = 0;
    g->frm = pick(g, 2) ? IR_RNE : pick(g, IR_RMM + 1);
    g->pressure = chance(g, 30);
    ir_unit_reset(g->raw, arch, UNIT_PC, g->frm);
    ir_unit_reset(g->folded, arch, UNIT_PC, g->frm);
    g->raw->relative = g->folded->relative = g->relative;
    g->n_values = 0;
    g->drift[0] = g->drift[1] = 0;
    g->pc = UNIT_PC - 4;
    steps = 5 + pick(g, g->pressure ? 200 : 60);
    gen_insn(g);
    for (unsigned i = 0; i < steps; i++) {
        if (g->plain && i == steps / 3) {
            g->idle = pick(g, 255);
        }
        if (chance(g, 3)) {
            gen_exit_if(g);
        } else if (chance(g, 3)) {
            gen_pc(g);
        } else if (g->plain) {
            plain[pick(g, G_N_ELEMENTS(plain))](g);
        } else if (chance(g, 2)) {
            gen_helper(g);
        } else if (chance(g, 4)) {
            gen_atomic(g);
        } else if (chance(g, 3)) {
            (chance(g, 80) ? gen_state : gen_fence)(g);
        } else {
            kinds[pick(g, G_N_ELEMENTS(kinds))](g);
        }
    }
    for (unsigned i = 0; i < N_INT_REGS; i++) {
        if (!(g->idle >> i & 1)) {
            put(g, i, word(g, IR_I64));
        }
    }
    for (unsigned i = 0; i < N_FLOAT_REGS && chance(g, 50); i++) {
        put(g, TEST_F0 + i, floating(g, IR_F64));
    }
    gen_end(g);
}

/* Values for the registers, so that the ones that are looked at have something in them. */
static uint64_t random_register(struct generator *g, bool is_float)
{
    if (!is_float) {
        return interesting(g);
    }
    switch (pick(g, 4)) {
    case 0: return interesting(g);
    case 1: return 0xffffffff00000000 | interesting_float(g, IR_F32);
    case 2: return 0xffffffffffff0000 | interesting_float(g, IR_F16);
    default: return interesting_float(g, IR_F64);
    }
}

/* The state before or after a run. */
struct outcome {
    enum vcpu_exit reason;
    unsigned fp_flags;
    uint64_t pc, r[32], f[32], extra[4], excl_addr, excl_value;
    uint8_t memory[MEMORY_SIZE];
};

/* [memory] is the guest address of MEMORY_SIZE bytes. */
static void random_start(struct generator *g, struct outcome *start, uint64_t memory)
{
    memset(start, 0, sizeof(*start));
    start->fp_flags = chance(g, 30) ? pick(g, 32) : 0;
    for (unsigned i = 0; i < 32; i++) {
        start->r[i] = random_register(g, false);
        start->f[i] = random_register(g, true);
    }
    for (unsigned i = 0; i < 4; i++) {
        start->extra[i] = interesting(g);
    }
    for (unsigned i = 0; i < MEMORY_SIZE; i++) {
        start->memory[i] = pick(g, 256);
    }
    start->r[BASE_REG] = memory + MEMORY_SIZE / 2;
    start->r[BASE_REG + 1] = start->r[BASE_REG];
    start->excl_addr = chance(g, 50) ? start->r[BASE_REG] : ~UINT64_C(0);
    memcpy(&start->excl_value, start->memory + MEMORY_SIZE / 2, 8);
}

/* Sets a vCPU and memory to [start]. */
static void set_state(struct test_vcpu *tv, const struct outcome *start, uint8_t *memory)
{
    struct vcpu *cpu = &tv->cpu;

    memcpy(cpu->r, start->r, sizeof(cpu->r));
    memcpy(tv->f, start->f, sizeof(tv->f));
    memcpy(tv->extra, start->extra, sizeof(tv->extra));
    memcpy(memory, start->memory, MEMORY_SIZE);
    cpu->pc = 0;
    cpu->exit_reason = VCPU_EXIT_NONE;
    cpu->excl_addr = start->excl_addr;
    cpu->excl_value = start->excl_value;
    dbt_fp_flags_set(cpu, start->fp_flags);
}

static void get_state(const struct test_vcpu *tv, enum vcpu_exit reason, struct outcome *end,
                      const uint8_t *memory)
{
    const struct vcpu *cpu = &tv->cpu;

    memset(end, 0, sizeof(*end));
    end->reason = reason;
    end->pc = cpu->pc;
    end->fp_flags = dbt_fp_flags_get(cpu);
    memcpy(end->r, cpu->r, sizeof(end->r));
    memcpy(end->f, tv->f, sizeof(end->f));
    memcpy(end->extra, tv->extra, sizeof(end->extra));
    memcpy(end->memory, memory, MEMORY_SIZE);
    end->excl_addr = cpu->excl_addr;
    end->excl_value = cpu->excl_value;
}

#endif
