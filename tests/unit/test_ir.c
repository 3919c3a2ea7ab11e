/*
 * The IR: what the builder makes of typical code, the optimizing pass, the verifier, the printer.
 * That the results are also right is test_ir_random's.
 */
#include <stdio.h>

#include "ir_test.h"

/* Asserts that operation [v] is [op] and returns it. */
static const struct ir_op *is(const struct ir_unit *u, ir_val v, enum ir_opcode op)
{
    if (u->ops[v].op != op) {
        ir_print(u, stderr);
        g_error("v%u is %s, not %s", v, ir_op_names[u->ops[v].op], ir_op_names[op]);
    }
    return &u->ops[v];
}

static void is_const(const struct ir_unit *u, ir_val v, uint64_t expected)
{
    uint64_t value;

    g_assert_true(ir_is_const(u, v, &value));
    g_assert_cmphex(value, ==, expected);
}

static unsigned count(const struct ir_unit *u, enum ir_opcode op)
{
    unsigned n = 0;

    for (unsigned i = 1; i < u->n_ops; i++) {
        n += u->ops[i].op == op;
    }
    return n;
}

static void test_registers(void)
{
    struct ir_unit *u = test_unit_new();
    ir_val a = ir_get(u, 1), b;

    g_assert_cmpuint(ir_get(u, 1), ==, a);
    ir_put(u, 1, a);
    g_assert_cmpuint(count(u, IR_PUT), ==, 0);
    b = ir_bini(u, IR_ADD, IR_I64, a, 4);
    ir_put(u, 1, b);
    ir_put(u, 2, b);
    g_assert_cmpuint(ir_get(u, 1), ==, b);
    g_assert_cmpuint(ir_get(u, 2), ==, b);
    g_assert_cmpuint(count(u, IR_PUT), ==, 2);
    ir_unit_free(u);
}

static void test_constants(void)
{
    struct ir_unit *u = test_unit_new();
    ir_val x = ir_get(u, 1), c = ir_const(u, IR_I32, 0x80000000);
    const struct ir_op *op;

    g_assert_cmpuint(ir_const(u, IR_I32, 0xffffffff80000000), ==, c);
    is_const(u, c, 0xffffffff80000000);
    is_const(u, ir_const(u, IR_F32, ~UINT64_C(0)), 0xffffffff);
    is_const(
        u, ir_bin(u, IR_MULHUU, IR_I64, ir_const(u, IR_I64, ~UINT64_C(0)), ir_const(u, IR_I64, 5)),
        4);
    is_const(u, ir_sext(u, IR_I64, IR_I8, ir_const(u, IR_I64, 0x1280)), 0xffffffffffffff80);
    is_const(u, ir_zext(u, IR_I64, IR_I32, c), 0x80000000);
    is_const(u, ir_bin(u, IR_XOR, IR_I64, x, x), 0);
    is_const(u, ir_setcc(u, IR_LTU, IR_I64, x, ir_const(u, IR_I64, 0)), 0);
    is_const(u, ir_box(u, IR_F32, ir_const(u, IR_F32, 0x3f800000)), 0xffffffff3f800000);
    is_const(u, ir_unbox(u, IR_F32, ir_const(u, IR_F64, 0x3f800000)), 0x7fc00000);

    /* Constants go to the right, in the operation's own type. */
    op = is(u, ir_bin(u, IR_ADD, IR_I32, ir_const(u, IR_I64, 0xffffffff), x), IR_ADD);
    g_assert_cmpuint(op->arg[0], ==, x);
    is_const(u, op->arg[1], ~UINT64_C(0));
    op = is(u, ir_bini(u, IR_SUB, IR_I64, x, 16), IR_ADD);
    is_const(u, op->arg[1], (uint64_t)-16);
    op = is(u, ir_bini(u, IR_MUL, IR_I64, x, 8), IR_SHL);
    is_const(u, op->arg[1], 3);
    ir_unit_free(u);
}

static void test_identities(void)
{
    static const struct {
        uint8_t op;
        int64_t c;
    } same[] = {
        {IR_ADD, 0},  {IR_SUB, 0},  {IR_OR, 0},   {IR_XOR, 0},   {IR_AND, -1}, {IR_MUL, 1},
        {IR_SHL, 0},  {IR_SHR, 64}, {IR_SAR, 0},  {IR_ROL, 0},   {IR_ROR, 0},  {IR_DIVU, 1},
        {IR_DIVS, 1}, {IR_ANDN, 0}, {IR_MAXU, 0}, {IR_MINU, -1}, {IR_ORN, -1}, {IR_XNOR, -1},
    };
    struct ir_unit *u = test_unit_new();
    ir_val x = ir_get(u, 1);

    for (unsigned i = 0; i < G_N_ELEMENTS(same); i++) {
        g_assert_cmpuint(ir_bini(u, same[i].op, IR_I64, x, same[i].c), ==, x);
    }
    g_assert_cmpuint(ir_bin(u, IR_AND, IR_I64, x, x), ==, x);
    g_assert_cmpuint(ir_bin(u, IR_ADD, IR_I64, ir_const(u, IR_I64, 0), x), ==, x);
    g_assert_cmpuint(u->n_ops, ==, 3);
    ir_unit_free(u);
}

static void test_extensions(void)
{
    struct ir_unit *u = test_unit_new();
    ir_val x = ir_get(u, 1), v, w;

    /* addw; sext.w */
    v = ir_sext(u, IR_I64, IR_I32, ir_bin(u, IR_ADD, IR_I32, x, ir_get(u, 2)));
    ir_put(u, 3, v);
    g_assert_cmpuint(ir_sext(u, IR_I64, IR_I32, ir_get(u, 3)), ==, v);
    /* Loads and comparisons are extended already. */
    v = ir_load(u, IR_I64, IR_I16, x, 0, IR_MEM_SIGNED);
    g_assert_cmpuint(ir_sext(u, IR_I64, IR_I32, v), ==, v);
    is(u, ir_zext(u, IR_I64, IR_I32, v), IR_ZEXT);
    v = ir_load(u, IR_I64, IR_I8, x, 0, 0);
    g_assert_cmpuint(ir_zext(u, IR_I64, IR_I8, v), ==, v);
    g_assert_cmpuint(ir_bini(u, IR_AND, IR_I64, v, 0xff), ==, v);
    g_assert_cmpuint(ir_sext(u, IR_I64, IR_I16, v), ==, v);
    is(u, ir_sext(u, IR_I64, IR_I8, v), IR_SEXT);
    v = ir_setcc(u, IR_LT, IR_I64, x, ir_get(u, 2));
    g_assert_cmpuint(ir_zext(u, IR_I64, IR_I8, v), ==, v);
    v = ir_amo(u, IR_AMO_ADD, IR_I64, IR_I32, x, v, IR_MEM_ALIGN);
    g_assert_cmpuint(ir_sext(u, IR_I64, IR_I32, v), ==, v);
    /* A 32-bit value has nothing above: it must be extended. */
    w = ir_load(u, IR_I32, IR_I8, x, 0, IR_MEM_SIGNED);
    is(u, ir_sext(u, IR_I64, IR_I32, w), IR_SEXT);
    g_assert_cmpuint(is(u, ir_bini(u, IR_AND, IR_I64, x, 0xffff), IR_ZEXT)->aux, ==, IR_I16);

    /* slli 32; srli 32 and relatives */
    v = ir_bini(u, IR_SHL, IR_I64, x, 32);
    g_assert_cmpuint(is(u, ir_bini(u, IR_SHR, IR_I64, v, 32), IR_ZEXT)->aux, ==, IR_I32);
    v = ir_bini(u, IR_SHL, IR_I64, x, 48);
    g_assert_cmpuint(is(u, ir_bini(u, IR_SAR, IR_I64, v, 48), IR_SEXT)->aux, ==, IR_I16);
    v = ir_bini(u, IR_SHL, IR_I64, x, 32);
    v = ir_bini(u, IR_SHR, IR_I64, v, 29);
    is_const(u, is(u, v, IR_SHL)->arg[1], 3);
    is(u, u->ops[v].arg[0], IR_ZEXT);
    ir_unit_free(u);
}

static void test_containers(void)
{
    struct ir_unit *u = test_unit_new();
    ir_val f = ir_get(u, TEST_F0), s = ir_unbox(u, IR_F32, f), i;

    g_assert_cmpuint(ir_unbox(u, IR_F32, ir_box(u, IR_F32, s)), ==, s);
    i = ir_bitcast(u, IR_I64, f);
    g_assert_cmpuint(ir_bitcast(u, IR_F64, i), ==, f);
    /* The low half of a wider container is no narrower container. */
    is(u, ir_bitcast(u, IR_F32, ir_bitcast(u, IR_I32, f)), IR_BITCAST);
    g_assert_cmpuint(ir_fbin(u, IR_FSGN, IR_F32, s, s, IR_FSGN_COPY), ==, s);
    ir_unit_free(u);
}

static void test_comparisons(void)
{
    struct ir_unit *u = test_unit_new();
    ir_val x = ir_get(u, 1), y = ir_get(u, 2), zero = ir_const(u, IR_I64, 0), v;
    const struct ir_op *op;

    /* sltiu a, x, 1; xori a, a, 1 */
    v = ir_setcc(u, IR_LTU, IR_I64, x, ir_const(u, IR_I64, 1));
    op = is(u, v, IR_SETCC);
    g_assert_cmpuint(op->aux, ==, IR_EQ);
    g_assert_cmpuint(is(u, ir_bini(u, IR_XOR, IR_I64, v, 1), IR_SETCC)->aux, ==, IR_NE);
    op = is(u, ir_setcc(u, IR_LT, IR_I64, ir_const(u, IR_I64, 5), x), IR_SETCC);
    g_assert_cmpuint(op->aux, ==, IR_GT);
    g_assert_cmpuint(op->arg[0], ==, x);

    /* slt a, x, y; bnez a and beqz a */
    v = ir_setcc(u, IR_LT, IR_I64, x, y);
    ir_put(u, 3, v);
    ir_exit_if(u, IR_NE, IR_I64, v, zero, 0x100);
    op = is(u, u->n_ops - 1, IR_EXIT_IF);
    g_assert_cmpuint(op->aux, ==, IR_LT);
    g_assert_cmpuint(op->arg[0], ==, x);
    ir_exit_if(u, IR_EQ, IR_I64, v, zero, 0x100);
    g_assert_cmpuint(is(u, u->n_ops - 1, IR_EXIT_IF)->aux, ==, IR_GE);
    /* slt x, x, y: the old x is nowhere any more */
    ir_put(u, 1, v);
    v = ir_setcc(u, IR_LTU, IR_I64, x, y);
    ir_put(u, 1, v);
    ir_exit_if(u, IR_NE, IR_I64, v, zero, 0x100);
    g_assert_cmpuint(is(u, u->n_ops - 1, IR_EXIT_IF)->arg[0], ==, v);

    v = ir_selcc(u, IR_EQ, IR_I64, y, zero, IR_I64, zero, zero);
    g_assert_cmpuint(v, ==, zero);
    v = ir_selcc(u, IR_EQ, IR_I64, y, zero, IR_I64, zero, ir_const(u, IR_I64, 1));
    g_assert_cmpuint(is(u, v, IR_SETCC)->aux, ==, IR_NE);
    g_assert_cmpuint(ir_selcc(u, IR_GEU, IR_I64, y, zero, IR_I64, x, y), ==, x);
    ir_unit_free(u);
}

static void test_addresses(void)
{
    struct ir_unit *u = test_unit_new();
    ir_val x = ir_get(u, 1), sum = ir_bini(u, IR_ADD, IR_I64, x, 16), v;
    const struct ir_op *op = is(u, ir_load(u, IR_I64, IR_I64, sum, 8, 0), IR_LOAD);

    g_assert_cmpuint(op->arg[0], ==, x);
    g_assert_cmpuint(op->imm, ==, 24);
    /* A pointer that was stepped is in its register, the old one isn't. */
    sum = ir_bini(u, IR_ADD, IR_I64, x, 32);
    ir_put(u, 1, sum);
    op = is(u, ir_load(u, IR_I64, IR_I64, sum, 8, 0), IR_LOAD);
    g_assert_cmpuint(op->arg[0], ==, sum);
    g_assert_cmpuint(op->imm, ==, 8);
    /* Too far for an offset. */
    v = ir_bini(u, IR_ADD, IR_I64, ir_get(u, 2), 0x7ffffff8);
    op = is(u, ir_load(u, IR_I64, IR_I64, v, 8, 0), IR_LOAD);
    g_assert_cmpuint(op->arg[0], ==, v);
    op = is(u, ir_load(u, IR_I64, IR_I64, ir_get(u, 2), INT64_C(1) << 40, 0), IR_LOAD);
    g_assert_cmpuint(op->imm, ==, 0);
    is(u, op->arg[0], IR_ADD);
    /* Two steps are one, unless the first could be seen between them. */
    v = ir_bini(u, IR_ADD, IR_I64, ir_get(u, 3), -16);
    ir_put(u, 3, v);
    g_assert_cmpuint(ir_bini(u, IR_ADD, IR_I64, v, 16), !=, v);
    is_const(u, is(u, ir_bini(u, IR_ADD, IR_I64, v, 24), IR_ADD)->arg[1], 8);
    ir_store(u, IR_I64, v, 0, v, 0);
    is_const(u, is(u, ir_bini(u, IR_ADD, IR_I64, v, 24), IR_ADD)->arg[1], 24);
    ir_unit_free(u);
}

static void test_end(void)
{
    struct ir_unit *u = test_unit_new();
    ir_val x;
    uint32_t n;

    ir_insn(u, 0x1000, 4);
    x = ir_get(u, 1);
    ir_exit_if(u, IR_NE, IR_I64, x, x, 0x100);
    g_assert_cmpuint(count(u, IR_EXIT_IF), ==, 0);
    g_assert_false(u->ended);
    ir_exit_if(u, IR_EQ, IR_I64, x, x, 0x100);
    g_assert_true(u->ended);
    n = u->n_ops;
    is_const(u, is(u, n - 1, IR_JUMP)->arg[0], 0x100);
    /* Anything goes after the end, and nothing comes of it. */
    ir_insn(u, 0x1004, 4);
    ir_put(u, 1, ir_sext(u, IR_I64, IR_I32, ir_bini(u, IR_SHL, IR_I32, ir_get(u, 5), 3)));
    ir_store(u, IR_I64, ir_bin(u, IR_SUB, IR_I64, ir_get(u, 6), ir_get(u, 7)), 0, 0, 0);
    ir_exit_if(u, IR_LTU, IR_I64, ir_get(u, 6), ir_const(u, IR_I64, 12345), 0x100);
    ir_exit(u, VCPU_EXIT_SYSCALL, 0x1000);
    g_assert_cmpuint(u->n_ops, ==, n);
    g_assert_cmpuint(u->n_insns, ==, 1);
    g_assert_cmpuint(ir_get(u, 1), ==, x);
    test_verify(u);
    ir_unit_free(u);
}

/* Fill a unit up, take the last instruction back, and end it. */
static void test_overflow(void)
{
    struct ir_unit *u = test_unit_new();
    struct ir_mark mark;

    ir_unit_mark(u, &mark);
    for (unsigned i = 0; !u->overflow; i++) {
        ir_unit_mark(u, &mark);
        ir_insn(u, 0x1000 + 4 * i, 4);
        for (unsigned k = 0; k < i % 7; k++) {
            ir_put(u, 1 + k, ir_bin(u, IR_MUL, IR_I64, ir_get(u, 1 + k), ir_get(u, 20)));
        }
        g_assert_cmpuint(u->n_ops, <=, IR_MAX_OPS);
    }
    ir_put(u, 3, ir_const(u, IR_I64, 99));
    ir_exit(u, VCPU_EXIT_SYSCALL, 0);
    ir_unit_rewind(u, &mark);
    g_assert_false(u->overflow);
    ir_jump(u, ir_const(u, IR_I64, UINT64_C(0x123456789abc)));
    g_assert_true(u->ended);
    g_assert_false(u->overflow);
    test_verify(u);
    ir_unit_reset(u, &test_arch, 0, 0);
    g_assert_cmpuint(u->n_ops, ==, 1);
    g_assert_false(u->ended);
    ir_unit_free(u);
}

static uint64_t help(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return 0;
}

static const struct ir_helper helper_plain = {"plain", help, 0};
static const struct ir_helper helper_pure = {"pure", help, IR_HELPER_PURE};
static const struct ir_helper helper_sync = {"sync", help, IR_HELPER_SYNC};
static const struct ir_helper helper_exit = {"exit", help, IR_HELPER_MAY_EXIT};

enum between {
    NOTHING,
    LOAD,
    STORE,
    EXIT_IF,
    INSN,
    PLAIN,
    SYNC,
    MAY_EXIT,
    STATE,
    FENCE,
    FADD,
    SELF
};

/* PUT x1; something; PUT x1: how many of the PUTs are left? */
static unsigned puts_left(enum between what)
{
    struct ir_unit *u = test_unit_new();
    ir_val x = ir_get(u, 2), f = ir_get(u, TEST_F0);
    unsigned n;

    ir_insn(u, 0x1000, 4);
    ir_put(u, 1, x);
    switch (what) {
    case LOAD: ir_load(u, IR_I64, IR_I64, x, 0, 0); break;
    case STORE: ir_store(u, IR_I64, x, 0, x, 0); break;
    case EXIT_IF: ir_exit_if(u, IR_LT, IR_I64, x, ir_get(u, 3), 0x100); break;
    case INSN: ir_insn(u, 0x1004, 4); break;
    case PLAIN: ir_helper(u, IR_VOID, &helper_plain, x, 0, 0, 0); break;
    case SYNC: ir_helper(u, IR_VOID, &helper_sync, x, 0, 0, 0); break;
    case MAY_EXIT: ir_helper(u, IR_VOID, &helper_exit, x, 0, 0, 0); break;
    case STATE: ir_sts(u, IR_I64, offsetof(struct test_vcpu, extra), x); break;
    case FENCE: ir_fence(u, 3, 3); break;
    case FADD: ir_fbin(u, IR_FADD, IR_F64, f, f, IR_RNE); break;
    case SELF: /* A GET that the builder didn't forward. */
        ir_put(u, 5, ir_emit(u, (struct ir_op){.op = IR_GET, .type = IR_I64, .imm = 1}));
        break;
    default: break;
    }
    ir_put(u, 1, ir_get(u, 4));
    ir_exit(u, VCPU_EXIT_SYSCALL, 0x1004);
    test_verify(u);
    ir_optimize(u);
    test_verify(u);
    n = count(u, IR_PUT) - (what == SELF);
    ir_unit_free(u);
    return n;
}

static void test_dead_puts(void)
{
    static const uint8_t observers[] = {LOAD, STORE, EXIT_IF, SYNC, MAY_EXIT, SELF};
    static const uint8_t others[] = {NOTHING, INSN, PLAIN, STATE, FENCE, FADD};

    for (unsigned i = 0; i < G_N_ELEMENTS(observers); i++) {
        g_assert_cmpuint(puts_left(observers[i]), ==, 2);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) {
        g_assert_cmpuint(puts_left(others[i]), ==, 1);
    }
}

static void test_dead_values(void)
{
    struct ir_unit *u = test_unit_new();
    ir_val x = ir_get(u, 2), f = ir_get(u, TEST_F0), v;

    ir_insn(u, 0x1000, 4);
    v = ir_bin(u, IR_MUL, IR_I64, x, ir_get(u, 3));
    ir_setcc(u, IR_LT, IR_I64, v, x);
    ir_lds(u, IR_I32, offsetof(struct test_vcpu, extra));
    ir_fgetflags(u);
    ir_helper(u, IR_I64, &helper_pure, x, 0, 0, 0);
    ir_helper(u, IR_I64, &helper_plain, 0, 0, 0, 0);
    ir_load(u, IR_I64, IR_I64, x, 0, 0);
    ir_fbin(u, IR_FADD, IR_F64, f, f, IR_RNE);
    ir_exit(u, VCPU_EXIT_SYSCALL, 0x1004);
    ir_optimize(u);
    test_verify(u);
    g_assert_cmpuint(count(u, IR_GET), ==, 2);
    g_assert_cmpuint(count(u, IR_MUL) + count(u, IR_SETCC) + count(u, IR_LDS), ==, 0);
    g_assert_cmpuint(count(u, IR_FGETFLAGS), ==, 0);
    g_assert_cmpuint(count(u, IR_HELPER), ==, 1);
    g_assert_cmpuint(count(u, IR_LOAD), ==, 1);
    g_assert_cmpuint(count(u, IR_FADD), ==, 1);
    ir_unit_free(u);
}

/*
 * x + y, and that + x; the last sum is stored as [stored]. With 32 bits nothing need be extended.
 */
static struct ir_unit *sums(bool extend_each, enum ir_type stored)
{
    struct ir_unit *u = test_unit_new();
    ir_val x = ir_get(u, 2), v;

    ir_insn(u, 0x1000, 4);
    v = ir_bin(u, IR_ADD, extend_each ? IR_I32 : IR_I64, x, ir_get(u, 3));
    if (extend_each) {
        v = ir_emit(u, (struct ir_op){
                           .op = IR_SEXT, .type = IR_I64, .aux = IR_I32, .arg = {v}});
    }
    v = ir_bin(u, IR_ADD, IR_I64, v, x);
    ir_store(u, stored, x, 0, v, 0);
    ir_exit(u, VCPU_EXIT_SYSCALL, 0x1004);
    test_verify(u);
    ir_optimize(u);
    test_verify(u);
    return u;
}

static unsigned narrow_sums(const struct ir_unit *u)
{
    unsigned n = 0;

    for (unsigned i = 1; i < u->n_ops; i++) {
        n += u->ops[i].op == IR_ADD && u->ops[i].type == IR_I32;
    }
    return n;
}

static void test_narrowing(void)
{
    static const struct {
        bool extend_each;
        enum ir_type stored;
        unsigned extensions, narrow;
    } rows[] = {
        {true, IR_I32, 0, 2}, {true, IR_I8, 0, 2}, {true, IR_I64, 1, 1},
        {false, IR_I32, 0, 2}, {false, IR_I64, 0, 0},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct ir_unit *u = sums(rows[i].extend_each, rows[i].stored);

        g_assert_cmpuint(count(u, IR_SEXT), ==, rows[i].extensions);
        g_assert_cmpuint(narrow_sums(u), ==, rows[i].narrow);
        ir_unit_free(u);
    }
}

/* Units that break one rule: GET x1 (v1), GET f0 (v2), UNBOX v2 (v3: f32), TRUNC (v4: i32), then
 * the operation. */
static const struct {
    const char *message; /* part of it */
    struct ir_op op;
} broken[] = {
    {"no such operation", {.op = IR_OPCODE_COUNT}},
    {"not made before", {.op = IR_ADD, .type = IR_I64, .arg = {1, 5}}},
    {"not made before", {.op = IR_ADD, .type = IR_I64, .arg = {1, 60000}}},
    {"lacks argument", {.op = IR_ADD, .type = IR_I64, .arg = {1}}},
    {"has an argument", {.op = IR_CLZ, .type = IR_I64, .arg = {1, 1}}},
    {"has an argument", {.op = IR_CONST, .type = IR_I64, .arg = {1}}},
    {"at least i64", {.op = IR_ADD, .type = IR_I64, .arg = {1, 4}}},
    {"at least i64", {.op = IR_ADD, .type = IR_I64, .arg = {2, 1}}},
    {"no integer type", {.op = IR_ADD, .type = IR_F64, .arg = {2, 2}}},
    {"no integer type", {.op = IR_ADD, .type = IR_I128, .arg = {1, 1}}},
    {"not supported yet", {.op = IR_CONST, .type = IR_V128}},
    {"not supported yet", {.op = IR_CONST, .type = IR_F80}},
    {"needs a type", {.op = IR_CONST}},
    {"needs a type", {.op = IR_CONST, .type = IR_TYPE_COUNT}},
    {"no guest register", {.op = IR_GET, .type = IR_I64, .imm = TEST_N_REGS}},
    {"must be of type", {.op = IR_GET, .type = IR_I32, .imm = 1}},
    {"at least i64", {.op = IR_PUT, .arg = {4}, .imm = 1}},
    {"must be f64", {.op = IR_PUT, .arg = {1}, .imm = TEST_F0}},
    {"must be f64", {.op = IR_PUT, .arg = {3}, .imm = TEST_F0}},
    {"outside the vCPU", {.op = IR_LDS, .type = IR_I64, .imm = sizeof(struct test_vcpu) - 4}},
    {"outside the vCPU", {.op = IR_LDS, .type = IR_I64, .imm = ~UINT64_C(0)}},
    {"is guest register x2", {.op = IR_LDS, .type = IR_I32, .imm = 20}},
    {"at least i64",
     {.op = IR_STS, .type = IR_I64, .arg = {4}, .imm = offsetof(struct test_vcpu, extra)}},
    {"narrows", {.op = IR_SEXT, .type = IR_I16, .aux = IR_I32, .arg = {1}}},
    {"at least i64", {.op = IR_SEXT, .type = IR_I64, .aux = IR_I64, .arg = {4}}},
    {"no integer type", {.op = IR_ZEXT, .type = IR_I64, .aux = IR_VOID, .arg = {1}}},
    {"is narrower than", {.op = IR_BITCAST, .type = IR_I64, .arg = {3}}},
    {"from i64 to i32", {.op = IR_BITCAST, .type = IR_I32, .arg = {1}}},
    {"at least i64", {.op = IR_BITCAST, .type = IR_F64, .arg = {2}}},
    {"kind", {.op = IR_DIVS, .type = IR_I64, .aux = 2, .arg = {1, 1}}},
    {"condition",
     {.op = IR_SETCC, .type = IR_I64, .aux = IR_COND_COUNT, .aux2 = IR_I64, .arg = {1, 1}}},
    {"must be of type i64", {.op = IR_SETCC, .type = IR_I32, .aux2 = IR_I64, .arg = {1, 1}}},
    {"at least i64", {.op = IR_SETCC, .type = IR_I64, .aux2 = IR_I64, .arg = {1, 4}}},
    {"must be f64", {.op = IR_SELCC, .type = IR_F64, .aux2 = IR_I64, .arg = {1, 1, 2, 1}}},
    {"at least i64", {.op = IR_LOAD, .type = IR_I64, .aux2 = IR_I64, .arg = {4}}},
    {"narrower than that in memory", {.op = IR_LOAD, .type = IR_I32, .aux2 = IR_I64, .arg = {1}}},
    {"must be of type f32", {.op = IR_LOAD, .type = IR_F64, .aux2 = IR_F32, .arg = {1}}},
    {"signed", {.op = IR_LOAD, .type = IR_F32, .aux = IR_MEM_SIGNED, .aux2 = IR_F32, .arg = {1}}},
    {"out of range",
     {.op = IR_LOAD, .type = IR_I64, .aux2 = IR_I64, .arg = {1}, .imm = 0x80000000}},
    {"unknown flags", {.op = IR_LOAD, .type = IR_I64, .aux = 16, .aux2 = IR_I64, .arg = {1}}},
    {"unknown flags", {.op = IR_STORE, .aux = IR_MEM_SIGNED, .aux2 = IR_I64, .arg = {1, 1}}},
    {"at least i64", {.op = IR_STORE, .aux2 = IR_I64, .arg = {1, 4}}},
    {"must be f64 or wider", {.op = IR_STORE, .aux2 = IR_F64, .arg = {1, 3}}},
    {"out of range", {.op = IR_LDX, .type = IR_I64, .aux2 = IR_I64, .arg = {1}, .imm = 8}},
    {"kind", {.op = IR_AMO, .type = IR_I64, .aux2 = IR_I64, .aux32 = 9, .arg = {1, 1}}},
    {"no integer type", {.op = IR_AMO, .type = IR_F64, .aux2 = IR_F64, .arg = {1, 1}}},
    {"mask", {.op = IR_FENCE, .aux = 16}},
    {"rounding mode", {.op = IR_FADD, .type = IR_F64, .aux = 5, .arg = {2, 2}}},
    {"must be f64", {.op = IR_FADD, .type = IR_F64, .arg = {2, 3}}},
    {"must be f32", {.op = IR_FADD, .type = IR_F32, .arg = {2, 3}}},
    {"no floating-point type", {.op = IR_FADD, .type = IR_I64, .arg = {1, 1}}},
    {"modifier", {.op = IR_FMADD, .type = IR_F64, .aux2 = 4, .arg = {2, 2, 2}}},
    {"kind", {.op = IR_FMIN, .type = IR_F64, .aux = 2, .arg = {2, 2}}},
    {"kind", {.op = IR_FSGN, .type = IR_F64, .aux = 3, .arg = {2, 2}}},
    {"condition", {.op = IR_FCMP, .type = IR_I64, .aux = 5, .aux2 = IR_F64, .arg = {2, 2}}},
    {"must be f64", {.op = IR_FCLASS, .type = IR_I64, .aux2 = IR_F64, .arg = {3}}},
    {"to its own type", {.op = IR_FCVT, .type = IR_F64, .aux2 = IR_F64, .arg = {2}}},
    {"neither i32 nor i64", {.op = IR_FTOI, .type = IR_I16, .aux2 = IR_F64, .arg = {2}}},
    {"neither i32 nor i64", {.op = IR_ITOF, .type = IR_F64, .aux2 = IR_I8, .arg = {1}}},
    {"at least i64", {.op = IR_ITOF, .type = IR_F64, .aux2 = IR_I64, .arg = {4}}},
    {"can't be boxed", {.op = IR_BOX, .type = IR_F64, .aux2 = IR_F64, .arg = {2}}},
    {"must be f32", {.op = IR_BOX, .type = IR_F64, .aux2 = IR_F32, .arg = {2}}},
    {"must be f64", {.op = IR_UNBOX, .type = IR_F32, .arg = {3}}},
    {"no function", {.op = IR_HELPER, .type = IR_I64}},
    {"length", {.op = IR_INSN, .imm = 0x1000}},
    {"no reason", {.op = IR_EXIT, .aux32 = VCPU_EXIT_NONE}},
    {"no reason", {.op = IR_EXIT, .aux32 = VCPU_EXIT_YIELD + 1}},
    {"at least i64", {.op = IR_JUMP, .arg = {4}}},
    {"at least i64", {.op = IR_RET, .arg = {2}}},
};

static struct ir_unit *unit_for_broken(void)
{
    struct ir_unit *u = test_unit_new();

    ir_get(u, 1);
    ir_unbox(u, IR_F32, ir_get(u, TEST_F0));
    ir_bin(u, IR_ADD, IR_I32, 1, 1);
    return u;
}

static void test_verifier(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(broken); i++) {
        struct ir_unit *u = unit_for_broken();
        g_autofree char *error = NULL;

        u->ops[u->n_ops++] = broken[i].op;
        if (broken[i].op.op < IR_JUMP || broken[i].op.op == IR_OPCODE_COUNT) {
            u->ops[u->n_ops++] = (struct ir_op){.op = IR_EXIT, .aux32 = VCPU_EXIT_SYSCALL};
        }
        if (ir_verify(u, &error) || !strstr(error, broken[i].message)) {
            g_error("case %u: %s, not \"%s\"", i, error ? error : "no error", broken[i].message);
        }
        ir_unit_free(u);
    }
}

static void verify_fails(struct ir_unit *u, const char *message)
{
    g_autofree char *error = NULL;

    g_assert_false(ir_verify(u, &error));
    g_assert_nonnull(strstr(error, message));
    ir_unit_free(u);
}

static void test_verifier_units(void)
{
    struct ir_unit *u;

    verify_fails(test_unit_new(), "empty");
    verify_fails(unit_for_broken(), "doesn't end");
    u = unit_for_broken();
    ir_exit(u, VCPU_EXIT_SYSCALL, 0);
    u->ops[u->n_ops++] = (struct ir_op){.op = IR_EXIT, .aux32 = VCPU_EXIT_SYSCALL};
    verify_fails(u, "follows the end");
    u = unit_for_broken();
    ir_insn(u, 0x1000, 4);
    ir_exit(u, VCPU_EXIT_SYSCALL, 0);
    u->n_insns = 2;
    verify_fails(u, "are counted");
}

static void test_print(void)
{
    static const char expected[] = "unit 0x1000, mode 0, 1 instructions\n"
                                   "---- 0x1000 (4)\n"
                                   "  v2 = get.i64 x3\n"
                                   "  v3 = get.i64 x7\n"
                                   "  v4 = add.i64 v2, v3\n"
                                   "  put x10, v4\n"
                                   "  v6 = load.i64 i8 [v2 - 16] signed acquire\n"
                                   "  store i16 [v3], v6\n"
                                   "  v8 = sext.i64 i32 v4\n"
                                   "  v9 = amo.i64 maxu i32 [v2], v8 align\n"
                                   "  v10 = setcc.i64 ltu i64 v2, v3\n"
                                   "  v11 = get.f64 f1\n"
                                   "  v12 = fmadd.f64 rtz -addend v11, v11, v11\n"
                                   "  v13 = helper.i64 pure(v4, v6)\n"
                                   "  fence 1, 2\n"
                                   "  exit_if.i64 ltu v2, v4 -> 0x10234\n"
                                   "  v16 = const.i64 0x2000\n"
                                   "  call v16 (0x2000), return to 0x1004\n";
    struct ir_unit *u = test_unit_new();
    g_autofree char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    ir_val a, b, c, d, x;

    ir_insn(u, 0x1000, 4);
    a = ir_get(u, 3);
    b = ir_get(u, 7);
    c = ir_bin(u, IR_ADD, IR_I64, a, b);
    ir_put(u, 10, c);
    d = ir_load(u, IR_I64, IR_I8, a, -16, IR_MEM_SIGNED | IR_MEM_ACQUIRE);
    ir_store(u, IR_I16, b, 0, d, 0);
    ir_amo(u, IR_AMO_MAXU, IR_I64, IR_I32, a, ir_sext(u, IR_I64, IR_I32, c), IR_MEM_ALIGN);
    ir_setcc(u, IR_LTU, IR_I64, a, b);
    x = ir_get(u, TEST_F0 + 1);
    ir_fmadd(u, IR_F64, x, x, x, IR_RTZ, IR_FMA_NEG_ADDEND);
    ir_helper(u, IR_I64, &helper_pure, c, d, 0, 0);
    ir_fence(u, IR_FENCE_W, IR_FENCE_R);
    ir_exit_if(u, IR_LTU, IR_I64, a, c, 0x10234);
    ir_call(u, ir_const(u, IR_I64, 0x2000), 0x1004);
    test_verify(u);
    ir_print(u, f);
    fclose(f);
    g_assert_cmpstr(text, ==, expected);
    ir_unit_free(u);
}

/* How long building and optimizing take, for whoever looks (-m perf). */
static void test_speed(void)
{
    struct ir_unit *u = test_unit_new();
    const unsigned units = 100000;
    double seconds;

    if (!g_test_perf()) {
        g_test_skip("a measurement: run with -m perf");
        ir_unit_free(u);
        return;
    }
    g_test_timer_start();
    for (unsigned n = 0; n < units; n++) {
        ir_unit_reset(u, &test_arch, 0x1000, 0);
        for (unsigned i = 0; i < 10; i++) {
            ir_insn(u, 0x1000 + 12 * i, 4);
            ir_put(u, 10, ir_load(u, IR_I64, IR_I32, ir_get(u, 11), 8, IR_MEM_SIGNED));
            ir_insn(u, 0x1004 + 12 * i, 4);
            ir_put(u, 12,
                   ir_sext(u, IR_I64, IR_I32,
                           ir_bin(u, IR_ADD, IR_I32, ir_get(u, 10), ir_get(u, 12))));
            ir_insn(u, 0x1008 + 12 * i, 4);
            ir_put(u, 11, ir_bini(u, IR_ADD, IR_I64, ir_get(u, 11), 8));
        }
        ir_exit_if(u, IR_NE, IR_I64, ir_get(u, 10), ir_const(u, IR_I64, 0), 0x1000);
        ir_jump(u, ir_const(u, IR_I64, 0x2000));
        ir_optimize(u);
    }
    seconds = g_test_timer_elapsed();
    g_test_minimized_result(seconds, "%.2f us for a unit of 30 instructions (%u ops)",
                            seconds * 1e6 / units, u->n_ops);
    ir_unit_free(u);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ir/registers", test_registers);
    g_test_add_func("/ir/constants", test_constants);
    g_test_add_func("/ir/identities", test_identities);
    g_test_add_func("/ir/extensions", test_extensions);
    g_test_add_func("/ir/containers", test_containers);
    g_test_add_func("/ir/comparisons", test_comparisons);
    g_test_add_func("/ir/addresses", test_addresses);
    g_test_add_func("/ir/end", test_end);
    g_test_add_func("/ir/overflow", test_overflow);
    g_test_add_func("/ir/dead-puts", test_dead_puts);
    g_test_add_func("/ir/dead-values", test_dead_values);
    g_test_add_func("/ir/narrowing", test_narrowing);
    g_test_add_func("/ir/verifier", test_verifier);
    g_test_add_func("/ir/verifier-units", test_verifier_units);
    g_test_add_func("/ir/print", test_print);
    g_test_add_func("/ir/speed", test_speed);
    return g_test_run();
}
