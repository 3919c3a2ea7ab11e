/*
 * Random units, built twice: by ir_emit as they are and by the simplifying builder. Both, each also
 * after ir_optimize, must leave the same registers, memory and pc in the interpreter.
 *
 *   test_ir_random [--seed N]     one seed only, prints both units
 */
#include <inttypes.h>
#include <stdio.h>

#include "ir_test.h"

enum {
    MEMORY_SIZE = 4096,
    MAX_VALUES = 400,
    BASE_REG = 8,   /* x8 and x9 hold pointers to the middle of the memory */
    N_INT_REGS = 8, /* x0-x7 are used */
    N_FLOAT_REGS = 4,
    SEEDS = 20000,
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
};

static unsigned pick(struct generator *g, unsigned n)
{
    return g_rand_int(g->rand) % n;
}

static bool chance(struct generator *g, unsigned percent)
{
    return pick(g, 100) < percent;
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

static ir_val raw_const(struct generator *g, enum ir_type type, uint64_t value)
{
    return ir_emit(g->raw, (struct ir_op){.op = IR_CONST, .type = type, .imm = value});
}

/* An integer of at least [type]; mostly one of the last made, so that chains grow. */
static struct value word(struct generator *g, enum ir_type type)
{
    unsigned reg;

    for (unsigned i = 0; i < 6 && g->n_values; i++) {
        unsigned back = chance(g, 60) ? MIN(4, g->n_values) : g->n_values;
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
    reg = pick(g, N_INT_REGS);
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

static void gen_binary(struct generator *g)
{
    static const uint8_t common[] = {IR_ADD, IR_SUB, IR_AND, IR_OR, IR_XOR, IR_SHL, IR_SHR, IR_SAR};
    enum ir_opcode op = chance(g, 60) ? common[pick(g, G_N_ELEMENTS(common))]
                                      : IR_ADD + pick(g, IR_MAXU - IR_ADD + 1);
    enum ir_type type = word_type(g);
    struct value a = word(g, type), b = chance(g, 5) ? a : word(g, type);

    if (chance(g, 10)) {
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
    x = word(g, type);
    y = word(g, type);
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
    uint64_t pc = 0x2000 + 4 * pick(g, 16);

    ir_emit(
        g->raw,
        (struct ir_op){
            .op = IR_EXIT_IF, .aux = c.cond, .aux2 = c.type, .arg = {c.a.raw, c.b.raw}, .imm = pc});
    ir_exit_if(g->folded, c.cond, c.type, c.a.folded, c.b.folded, pc);
}

static void put(struct generator *g, unsigned reg, struct value v)
{
    ir_emit(g->raw, (struct ir_op){.op = IR_PUT, .arg = {v.raw}, .imm = reg});
    ir_put(g->folded, reg, v.folded);
}

static void gen_put(struct generator *g)
{
    if (chance(g, 85)) {
        put(g, pick(g, N_INT_REGS), word(g, IR_I64));
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
        type = mem = chance(g, 50) ? IR_F32 : IR_F64;
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
        mem = chance(g, 50) ? IR_F32 : IR_F64;
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

static void gen_float(struct generator *g)
{
    enum ir_type type = chance(g, 50) ? IR_F32 : IR_F64;
    enum ir_type same = type == IR_F32 ? IR_I32 : IR_I64;
    struct value a = floating(g, type), b = chance(g, 20) ? a : floating(g, type), w;
    unsigned kind = pick(g, 3);

    switch (pick(g, 5)) {
    case 0:
        add_value(g, same,
                  ir_emit(g->raw, (struct ir_op){.op = IR_BITCAST, .type = same, .arg = {a.raw}}),
                  ir_bitcast(g->folded, same, a.folded));
        break;
    case 1:
        w = word(g, same);
        add_value(g, type,
                  ir_emit(g->raw, (struct ir_op){.op = IR_BITCAST, .type = type, .arg = {w.raw}}),
                  ir_bitcast(g->folded, type, w.folded));
        break;
    case 2:
        a = floating(g, IR_F32);
        add_value(
            g, IR_F64,
            ir_emit(g->raw,
                    (struct ir_op){.op = IR_BOX, .type = IR_F64, .aux2 = IR_F32, .arg = {a.raw}}),
            ir_box(g->folded, IR_F32, a.folded));
        break;
    case 3:
        a = floating(g, IR_F64);
        add_value(g, IR_F32,
                  ir_emit(g->raw, (struct ir_op){.op = IR_UNBOX, .type = IR_F32, .arg = {a.raw}}),
                  ir_unbox(g->folded, IR_F32, a.folded));
        break;
    default:
        add_value(g, type,
                  ir_emit(g->raw,
                          (struct ir_op){
                              .op = IR_FSGN, .type = type, .aux = kind, .arg = {a.raw, b.raw}}),
                  ir_fbin(g->folded, IR_FSGN, type, a.folded, b.folded, kind));
    }
}

static uint64_t help_pure(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return a * 3 + b;
}

/* Changes a guest register, from what the others hold. */
static uint64_t help_sync(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    cpu->r[a % N_INT_REGS] ^= cpu->r[b % N_INT_REGS] + 1;
    return cpu->r[0];
}

static uint64_t help_exit(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    if (a % 8 == 3) {
        cpu->exit_reason = VCPU_EXIT_YIELD;
    }
    return 5;
}

static void gen_helper(struct generator *g)
{
    static const struct ir_helper helpers[] = {
        {"pure", help_pure, IR_HELPER_PURE},
        {"sync", help_sync, IR_HELPER_SYNC},
        {"exit", help_exit, IR_HELPER_MAY_EXIT},
    };
    const struct ir_helper *h = &helpers[pick(g, G_N_ELEMENTS(helpers))];
    struct value a = word(g, IR_I64), b = word(g, IR_I64);

    add_value(g, IR_I64,
              ir_emit(g->raw, (struct ir_op){.op = IR_HELPER,
                                             .type = IR_I64,
                                             .arg = {a.raw, b.raw},
                                             .imm = (uintptr_t)h}),
              ir_helper(g->folded, IR_I64, h, a.folded, b.folded, 0, 0));
}

static void gen_insn(struct generator *g)
{
    g->pc += 4;
    ir_emit(g->raw, (struct ir_op){.op = IR_INSN, .aux32 = 4, .imm = g->pc});
    ir_insn(g->folded, g->pc, 4);
}

static void gen_end(struct generator *g)
{
    struct value v = word(g, IR_I64);

    if (chance(g, 50)) {
        ir_emit(g->raw, (struct ir_op){.op = IR_RET, .arg = {v.raw}});
        ir_ret(g->folded, v.folded);
    } else {
        ir_emit(g->raw, (struct ir_op){.op = IR_EXIT, .aux32 = VCPU_EXIT_SYSCALL, .imm = g->pc});
        ir_exit(g->folded, VCPU_EXIT_SYSCALL, g->pc);
    }
}

static void generate(struct generator *g)
{
    static void (*const kinds[])(struct generator *) = {
        gen_binary, gen_binary, gen_binary, gen_binary,  gen_binary,  gen_unary, gen_extend,
        gen_extend, gen_shifts, gen_shifts, gen_compare, gen_compare, gen_put,   gen_put,
        gen_put,    gen_load,   gen_store,  gen_float,   gen_insn,    gen_insn,  gen_insn,
    };
    unsigned steps = 5 + pick(g, 60);

    gen_insn(g);
    for (unsigned i = 0; i < steps; i++) {
        if (chance(g, 3)) {
            gen_exit_if(g);
        } else if (chance(g, 2)) {
            gen_helper(g);
        } else if (chance(g, 4)) {
            gen_atomic(g);
        } else {
            kinds[pick(g, G_N_ELEMENTS(kinds))](g);
        }
    }
    for (unsigned i = 0; i < N_INT_REGS; i++) {
        put(g, i, word(g, IR_I64));
    }
    gen_end(g);
}

/* What a run leaves. */
struct outcome {
    enum vcpu_exit reason;
    uint64_t pc, r[32], f[32], excl_addr, excl_value;
    uint8_t memory[MEMORY_SIZE];
};

static void interpret(struct test_vcpu *tv, const struct ir_unit *u, uint8_t *memory,
                      const struct outcome *start, struct outcome *end)
{
    struct vcpu *cpu = &tv->cpu;

    memcpy(cpu->r, start->r, sizeof(cpu->r));
    memcpy(tv->f, start->f, sizeof(tv->f));
    memcpy(memory, start->memory, MEMORY_SIZE);
    cpu->pc = 0;
    cpu->excl_addr = ~UINT64_C(0);
    cpu->excl_value = 0;
    memset(end, 0, sizeof(*end));
    end->reason = ir_interpret(cpu, u, TEST_BASE, NULL);
    end->pc = cpu->pc;
    memcpy(end->r, cpu->r, sizeof(end->r));
    memcpy(end->f, tv->f, sizeof(end->f));
    memcpy(end->memory, memory, MEMORY_SIZE);
    end->excl_addr = cpu->excl_addr;
    end->excl_value = cpu->excl_value;
}

static void random_start(struct generator *g, struct outcome *start, const uint8_t *memory)
{
    memset(start, 0, sizeof(*start));
    for (unsigned i = 0; i < 32; i++) {
        start->r[i] = interesting(g);
        start->f[i] = interesting(g) | (chance(g, 50) ? 0xffffffff00000000 : 0);
    }
    for (unsigned i = 0; i < MEMORY_SIZE; i++) {
        start->memory[i] = pick(g, 256);
    }
    start->r[BASE_REG] = test_guest(memory) + MEMORY_SIZE / 2;
    start->r[BASE_REG + 1] = start->r[BASE_REG];
}

static unsigned count_ops(const struct ir_unit *u)
{
    unsigned n = 0;

    for (unsigned i = 1; i < u->n_ops; i++) {
        n += u->ops[i].op != IR_NOP;
    }
    return n;
}

struct totals {
    uint64_t raw, folded, raw_optimized, folded_optimized;
};

static void check_seed(struct test_vcpu *tv, struct generator *g, uint32_t seed, bool show,
                       struct totals *totals)
{
    static const char *const names[] = {"raw, optimized", "folded", "folded, optimized"};
    g_autofree struct outcome *start = g_new(struct outcome, 1);
    g_autofree struct outcome *ends = g_new(struct outcome, 4);
    g_autofree uint64_t *memory = g_new(uint64_t, MEMORY_SIZE / 8);

    g_rand_set_seed(g->rand, seed);
    ir_unit_reset(g->raw, &test_arch, 0x1000, 0);
    ir_unit_reset(g->folded, &test_arch, 0x1000, 0);
    g->n_values = 0;
    g->drift[0] = g->drift[1] = 0;
    g->pc = 0x1000 - 4;
    generate(g);
    random_start(g, start, (uint8_t *)memory);
    if (show) {
        ir_print(g->raw, stdout);
        ir_print(g->folded, stdout);
    }
    for (unsigned i = 0; i < 2; i++) {
        /* The number of instructions differs when the builder knew that the unit ends early. */
        test_verify(g->raw);
        test_verify(g->folded);
        totals->raw += i == 0 ? count_ops(g->raw) : 0;
        totals->folded += i == 0 ? count_ops(g->folded) : 0;
        interpret(tv, g->raw, (uint8_t *)memory, start, &ends[i]);
        interpret(tv, g->folded, (uint8_t *)memory, start, &ends[2 + i]);
        ir_optimize(g->raw);
        ir_optimize(g->folded);
    }
    totals->raw_optimized += count_ops(g->raw);
    totals->folded_optimized += count_ops(g->folded);
    for (unsigned i = 1; i < 4; i++) {
        for (unsigned r = 0; r < 32; r++) {
            if (ends[i].r[r] != ends[0].r[r]) {
                g_printerr("%s: x%u is %#" PRIx64 ", not %#" PRIx64 "\n", names[i - 1], r,
                           ends[i].r[r], ends[0].r[r]);
            }
        }
        if (memcmp(&ends[i], &ends[0], sizeof(ends[0])) != 0) {
            g_error("seed %u: the %s unit differs", seed, names[i - 1]);
        }
    }
}

static void run_seeds(uint32_t first, uint32_t count, bool show)
{
    struct test_vcpu *tv = test_vcpu_new();
    struct generator *g = g_new0(struct generator, 1);
    struct totals totals = {0};

    g->rand = g_rand_new();
    g->raw = ir_unit_new();
    g->folded = ir_unit_new();
    for (uint32_t i = 0; i < count; i++) {
        check_seed(tv, g, first + i, show, &totals);
    }
    g_test_message("operations: %" PRIu64 ", optimized %" PRIu64 "; folded %" PRIu64
                   ", optimized %" PRIu64,
                   totals.raw, totals.raw_optimized, totals.folded, totals.folded_optimized);
    if (count > 1000) {
        g_assert_cmpuint(totals.folded, <, totals.raw);
        g_assert_cmpuint(totals.folded_optimized, <, totals.raw_optimized);
    }
    ir_unit_free(g->raw);
    ir_unit_free(g->folded);
    g_rand_free(g->rand);
    g_free(g);
    free(tv);
}

static void test_random(void)
{
    run_seeds(1, SEEDS, false);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (argc == 3 && strcmp(argv[1], "--seed") == 0) {
        run_seeds((uint32_t)g_ascii_strtoull(argv[2], NULL, 10), 1, true);
        return 0;
    }
    g_test_add_func("/ir/random", test_random);
    return g_test_run();
}
