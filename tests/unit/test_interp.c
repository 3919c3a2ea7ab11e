/*
 * The IR interpreter, operation by operation, against values worked out by hand.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>

#include "ir_test.h"

#define MIN64 UINT64_C(0x8000000000000000)
#define ONES  (~UINT64_C(0))

/* Runs [u], ended with an EXIT, on [tv]. */
static enum vcpu_exit run(struct test_vcpu *tv, struct ir_unit *u)
{
    if (!u->ended) {
        ir_exit(u, VCPU_EXIT_SYSCALL, 0x1004);
    }
    test_verify(u);
    return ir_interpret(&tv->cpu, u, TEST_BASE, NULL);
}

/* The low bits of one integer operation's result, its arguments taken from registers. */
static uint64_t eval(struct ir_op op, uint64_t a, uint64_t b)
{
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();
    uint64_t result;
    ir_val v;

    tv->cpu.r[1] = a;
    tv->cpu.r[2] = b;
    op.arg[0] = ir_get(u, 1);
    if (ir_op_nargs[op.op] > 1) {
        op.arg[1] = ir_get(u, 2);
    }
    v = ir_emit(u, op);
    if (op.type != IR_I64) {
        v = ir_emit(u, (struct ir_op){.op = IR_ZEXT, .type = IR_I64, .aux = op.type, .arg = {v}});
    }
    ir_put(u, 3, v);
    g_assert_cmpint(run(tv, u), ==, VCPU_EXIT_SYSCALL);
    result = tv->cpu.r[3];
    ir_unit_free(u);
    free(tv);
    return result;
}

struct int_case {
    uint8_t op, type;
    uint64_t a, b, result;
};

static const struct int_case int_cases[] = {
    {IR_ADD, IR_I64, ONES, 1, 0},
    {IR_ADD, IR_I32, 0x7fffffff, 1, 0x80000000},
    {IR_ADD, IR_I8, 0x1ff, 2, 1},
    {IR_SUB, IR_I64, 0, 1, ONES},
    {IR_SUB, IR_I16, 0, 1, 0xffff},
    {IR_MUL, IR_I64, 0x100000001, 0x100000001, 0x200000001},
    {IR_MUL, IR_I32, 0x80000001, 3, 0x80000003},
    {IR_MULHSS, IR_I64, MIN64, MIN64, 0x4000000000000000},
    {IR_MULHSS, IR_I64, ONES, ONES, 0},
    {IR_MULHSS, IR_I64, ONES, 1, ONES},
    {IR_MULHSS, IR_I32, 0x80000000, 0x80000000, 0x40000000},
    {IR_MULHSS, IR_I8, 0x80, 0x7f, 0xc0},
    {IR_MULHUU, IR_I64, ONES, ONES, ONES - 1},
    {IR_MULHUU, IR_I32, 0xffffffff, 0xffffffff, 0xfffffffe},
    {IR_MULHUU, IR_I16, 0xffff, 2, 1},
    {IR_MULHSU, IR_I64, ONES, ONES, ONES},
    {IR_MULHSU, IR_I64, MIN64, ONES, 0x8000000000000000},
    {IR_MULHSU, IR_I64, 1, ONES, 0},
    {IR_MULHSU, IR_I32, 0xffffffff, 0xffffffff, 0xffffffff},
    {IR_DIVS, IR_I64, (uint64_t)-7, 2, (uint64_t)-3},
    {IR_DIVS, IR_I64, MIN64, ONES, MIN64},
    {IR_DIVS, IR_I64, 5, 0, ONES},
    {IR_DIVS, IR_I32, 0x80000000, 0xffffffff, 0x80000000},
    {IR_DIVS, IR_I32, 0xfffffff9, 0x100000002, 0xfffffffd},
    {IR_DIVS, IR_I8, 0x80, 0xff, 0x80},
    {IR_DIVU, IR_I64, ONES, 2, 0x7fffffffffffffff},
    {IR_DIVU, IR_I64, 7, 0, ONES},
    {IR_DIVU, IR_I32, 0xffffffff, 0x10, 0x0fffffff},
    {IR_REMS, IR_I64, (uint64_t)-7, 2, ONES},
    {IR_REMS, IR_I64, MIN64, ONES, 0},
    {IR_REMS, IR_I64, 42, 0, 42},
    {IR_REMS, IR_I32, 0xfffffff9, 0, 0xfffffff9},
    {IR_REMS, IR_I16, 0x8000, 0xffff, 0},
    {IR_REMU, IR_I64, ONES, 10, 5},
    {IR_REMU, IR_I64, 42, 0, 42},
    {IR_REMU, IR_I32, 0x1ffffffff, 0x10, 0xf},
    {IR_AND, IR_I64, 0xff00, 0x0ff0, 0x0f00},
    {IR_OR, IR_I64, 0xff00, 0x0ff0, 0xfff0},
    {IR_XOR, IR_I64, 0xff00, 0x0ff0, 0xf0f0},
    {IR_ANDN, IR_I64, 0xff00, 0x0ff0, 0xf000},
    {IR_ORN, IR_I64, 0, 0xff, ~UINT64_C(0xff)},
    {IR_XNOR, IR_I32, 0xf0, 0x0f, 0xffffff00},
    {IR_SHL, IR_I64, 1, 63, MIN64},
    {IR_SHL, IR_I64, 3, 65, 6},
    {IR_SHL, IR_I32, 3, 31, 0x80000000},
    {IR_SHL, IR_I8, 3, 9, 6},
    {IR_SHR, IR_I64, MIN64, 63, 1},
    {IR_SHR, IR_I32, 0xf80000000, 31, 1},
    {IR_SHR, IR_I16, 0x18000, 15, 1},
    {IR_SAR, IR_I64, MIN64, 63, ONES},
    {IR_SAR, IR_I32, 0x80000000, 33, 0xc0000000},
    {IR_SAR, IR_I8, 0x80, 7, 0xff},
    {IR_ROL, IR_I64, MIN64 | 1, 1, 3},
    {IR_ROL, IR_I32, 0x180000001, 1, 3},
    {IR_ROL, IR_I32, 0x80000001, 32, 0x80000001},
    {IR_ROR, IR_I64, 3, 1, MIN64 | 1},
    {IR_ROR, IR_I32, 3, 1, 0x80000001},
    {IR_ROR, IR_I8, 0x103, 1, 0x81},
    {IR_MINS, IR_I64, ONES, 0, ONES},
    {IR_MAXS, IR_I64, ONES, 0, 0},
    {IR_MINU, IR_I64, ONES, 0, 0},
    {IR_MAXU, IR_I64, ONES, 0, ONES},
    {IR_MINS, IR_I32, 0x80000000, 1, 0x80000000},
    {IR_MAXU, IR_I32, 0x100000000, 1, 1},
    {IR_CLZ, IR_I64, 0, 0, 64},
    {IR_CLZ, IR_I64, 1, 0, 63},
    {IR_CLZ, IR_I32, 0x100000000, 0, 32},
    {IR_CLZ, IR_I16, 0x10001, 0, 15},
    {IR_CTZ, IR_I64, 0, 0, 64},
    {IR_CTZ, IR_I64, MIN64, 0, 63},
    {IR_CTZ, IR_I32, 0x100000000, 0, 32},
    {IR_CTZ, IR_I8, 0x80, 0, 7},
    {IR_POPCNT, IR_I64, ONES, 0, 64},
    {IR_POPCNT, IR_I32, ONES, 0, 32},
    {IR_BSWAP, IR_I64, 0x0102030405060708, 0, 0x0807060504030201},
    {IR_BSWAP, IR_I32, 0x0102030405060708, 0, 0x08070605},
    {IR_BSWAP, IR_I16, 0x0102, 0, 0x0201},
    {IR_BREV8, IR_I64, 0x0180020440083c00, 0, 0x8001402002103c00},
    {IR_ORCB, IR_I64, 0x0100800040000010, 0, 0xff00ff00ff0000ff},
    {IR_CLMUL, IR_I64, 0xb, 0xd, 0x7f},
    {IR_CLMUL, IR_I64, ONES, ONES, 0x5555555555555555},
    {IR_CLMULH, IR_I64, ONES, ONES, 0x5555555555555555},
    {IR_CLMULH, IR_I64, MIN64, 2, 1},
    {IR_CLMULR, IR_I64, MIN64, 1, 1},
    {IR_CLMULR, IR_I64, MIN64, 3, 3},
    {IR_CLMULR, IR_I64, ONES, ONES, 0xaaaaaaaaaaaaaaaa},
    {IR_CLMULH, IR_I32, 0xffffffff, 0xffffffff, 0x55555555},
    {IR_CLMULR, IR_I32, 0x80000000, 3, 3},
    {IR_CLMUL, IR_I8, 0x80, 2, 0},
};

static void test_integer(void)
{
    bool seen[IR_OPCODE_COUNT] = {false};

    for (unsigned i = 0; i < G_N_ELEMENTS(int_cases); i++) {
        const struct int_case *c = &int_cases[i];
        uint64_t result = eval((struct ir_op){.op = c->op, .type = c->type}, c->a, c->b);

        if (result != c->result) {
            g_error("%s.%s %#" PRIx64 ", %#" PRIx64 ": %#" PRIx64 ", not %#" PRIx64,
                    ir_op_names[c->op], ir_type_names[c->type], c->a, c->b, result, c->result);
        }
        seen[c->op] = true;
    }
    for (unsigned op = IR_ADD; op <= IR_CLMULR; op++) {
        g_assert_true(seen[op]);
    }
    g_assert_cmphex(eval((struct ir_op){.op = IR_DIVS, .type = IR_I64, .aux = IR_DIV0_ZERO}, 5, 0),
                    ==, 0);
    g_assert_cmphex(eval((struct ir_op){.op = IR_REMU, .type = IR_I64, .aux = IR_DIV0_ZERO}, 5, 0),
                    ==, 5);
}

static void test_extend(void)
{
    static const struct int_case cases[] = {
        {IR_SEXT, IR_I8, 0x1280, 0, 0xffffffffffffff80},
        {IR_SEXT, IR_I16, 0x17fff, 0, 0x7fff},
        {IR_SEXT, IR_I32, 0x180000000, 0, 0xffffffff80000000},
        {IR_SEXT, IR_I64, ONES, 0, ONES},
        {IR_ZEXT, IR_I8, 0x1280, 0, 0x80},
        {IR_ZEXT, IR_I16, 0x1ffff, 0, 0xffff},
        {IR_ZEXT, IR_I32, ONES, 0, 0xffffffff},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const struct int_case *c = &cases[i];

        g_assert_cmphex(eval((struct ir_op){.op = c->op, .type = IR_I64, .aux = c->type}, c->a, 0),
                        ==, c->result);
    }
}

/* Results for (1, 2), (2, 1), (1, 1), (-1, 1) as bits 0-3. */
static void test_conditions(void)
{
    static const uint8_t expected[IR_COND_COUNT] = {
        [IR_EQ] = 4,   [IR_NE] = 11, [IR_LT] = 9,  [IR_GE] = 6,   [IR_LTU] = 1,
        [IR_GEU] = 14, [IR_GT] = 2,  [IR_LE] = 13, [IR_GTU] = 10, [IR_LEU] = 5,
    };
    static const uint64_t pairs[4][2] = {{1, 2}, {2, 1}, {1, 1}, {ONES, 1}};

    for (unsigned cond = 0; cond < IR_COND_COUNT; cond++) {
        for (unsigned type = IR_I8; type <= IR_I64; type++) {
            unsigned bits = 0;

            for (unsigned i = 0; i < 4; i++) {
                /* What is above the type must not matter. */
                uint64_t junk = type == IR_I64 ? 0 : UINT64_C(0xab) << (4u << type);

                bits |=
                    eval((struct ir_op){.op = IR_SETCC, .type = IR_I64, .aux = cond, .aux2 = type},
                         pairs[i][0] ^ junk, pairs[i][1])
                    << i;
            }
            g_assert_cmpuint(bits, ==, expected[cond]);
        }
    }
}

static void test_select(void)
{
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();

    tv->cpu.r[1] = 1;
    tv->cpu.r[2] = ONES;
    ir_put(u, 3,
           ir_selcc(u, IR_LT, IR_I64, ir_get(u, 1), ir_get(u, 2), IR_I64, ir_get(u, 1),
                    ir_get(u, 2)));
    ir_put(u, 4,
           ir_selcc(u, IR_LTU, IR_I64, ir_get(u, 1), ir_get(u, 2), IR_I64, ir_get(u, 1),
                    ir_get(u, 2)));
    run(tv, u);
    g_assert_cmphex(tv->cpu.r[3], ==, ONES);
    g_assert_cmphex(tv->cpu.r[4], ==, 1);
    ir_unit_free(u);
    free(tv);
}

static void test_state(void)
{
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();
    size_t offset = offsetof(struct test_vcpu, extra);

    tv->extra[0] = 0x1122334455667788;
    tv->cpu.r[1] = ONES;
    ir_put(u, 2, ir_zext(u, IR_I64, IR_I16, ir_lds(u, IR_I16, offset + 2)));
    ir_sts(u, IR_I32, offset, ir_get(u, 1));
    ir_put(u, 3, ir_lds(u, IR_I64, offset));
    run(tv, u);
    g_assert_cmphex(tv->cpu.r[2], ==, 0x5566);
    g_assert_cmphex(tv->cpu.r[3], ==, 0x11223344ffffffff);
    ir_unit_free(u);
    free(tv);
}

static void test_memory(void)
{
    uint8_t memory[32] = {0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88};
    static const struct {
        uint8_t mem;
        bool is_signed;
        uint64_t result;
    } loads[] = {
        {IR_I8, false, 0x81},
        {IR_I8, true, 0xffffffffffffff81},
        {IR_I16, false, 0x8281},
        {IR_I16, true, 0xffffffffffff8281},
        {IR_I32, false, 0x84838281},
        {IR_I32, true, 0xffffffff84838281},
        {IR_I64, false, 0x8887868584838281},
    };
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();
    ir_val base = ir_get(u, 1), f;

    /* All unaligned. */
    tv->cpu.r[1] = test_guest(memory) + 100;
    tv->cpu.r[2] = 0x1122334455667788;
    for (unsigned i = 0; i < G_N_ELEMENTS(loads); i++) {
        ir_put(u, 3 + i,
               ir_load(u, IR_I64, loads[i].mem, base, -99, loads[i].is_signed ? IR_MEM_SIGNED : 0));
    }
    for (unsigned type = IR_I8; type <= IR_I64; type++) {
        ir_store(u, type, base, -100 + 9 + (1 << (type - IR_I8)) - 1, ir_get(u, 2), 0);
    }
    f = ir_load(u, IR_F32, IR_F32, base, -99, 0);
    ir_put(u, TEST_F0, ir_box(u, IR_F32, f));
    ir_store(u, IR_F32, base, -100 + 26, ir_get(u, TEST_F0), IR_MEM_RELEASE);
    run(tv, u);
    for (unsigned i = 0; i < G_N_ELEMENTS(loads); i++) {
        g_assert_cmphex(tv->cpu.r[3 + i], ==, loads[i].result);
    }
    g_assert_cmpmem(memory + 9, 15,
                    "\x88"
                    "\x88\x77"
                    "\x88\x77\x66\x55"
                    "\x88\x77\x66\x55\x44\x33\x22\x11",
                    15);
    g_assert_cmphex(tv->f[0], ==, 0xffffffff84838281);
    g_assert_cmpmem(memory + 24, 8, "\0\0\x81\x82\x83\x84\0\0", 8);
    ir_unit_free(u);
    free(tv);
}

/* Misaligned where it must not be. */
static void test_alignment(void)
{
    static const struct {
        struct ir_op op;
        enum vcpu_access access;
    } cases[] = {
        {{.op = IR_LOAD, .type = IR_I64, .aux2 = IR_I32, .imm = 2}, VCPU_READ},
        {{.op = IR_STORE, .aux2 = IR_I16, .arg = {0, 1}, .imm = 1}, VCPU_WRITE},
        {{.op = IR_AMO, .type = IR_I64, .aux2 = IR_I32, .arg = {0, 1}}, VCPU_WRITE},
        {{.op = IR_CAS, .type = IR_I64, .aux2 = IR_I64, .arg = {0, 1, 1}}, VCPU_WRITE},
        {{.op = IR_LDX, .type = IR_I64, .aux2 = IR_I64}, VCPU_READ},
        {{.op = IR_STX, .type = IR_I64, .aux2 = IR_I32, .arg = {0, 1}}, VCPU_WRITE},
    };
    uint64_t memory[2] = {0, 0};

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct test_vcpu *tv = test_vcpu_new();
        struct ir_unit *u = test_unit_new();
        struct ir_op op = cases[i].op;
        uint64_t address = test_guest(memory) + (op.imm ? 0 : 2);

        op.aux = IR_MEM_ALIGN;
        tv->cpu.r[1] = address;
        ir_insn(u, 0x1230, 4);
        op.arg[0] = ir_get(u, 1);
        for (unsigned a = 1; a < ir_op_nargs[op.op]; a++) {
            op.arg[a] = op.arg[0];
        }
        ir_put(u, 2, ir_const(u, IR_I64, 7));
        ir_emit(u, op);
        ir_put(u, 2, ir_const(u, IR_I64, 8));
        g_assert_cmpint(run(tv, u), ==, VCPU_EXIT_FAULT);
        g_assert_cmphex(tv->cpu.pc, ==, 0x1230);
        g_assert_cmphex(tv->cpu.fault_addr, ==, address + op.imm);
        g_assert_cmpint(tv->cpu.fault_kind, ==, VCPU_FAULT_ALIGN);
        g_assert_cmpint(tv->cpu.fault_access, ==, cases[i].access);
        g_assert_cmpuint(tv->cpu.r[2], ==, 7);
        g_assert_cmpuint(memory[0] | memory[1], ==, 0);
        ir_unit_free(u);
        free(tv);
    }
}

static void test_amo(void)
{
    static const struct {
        uint8_t kind, mem;
        uint64_t old, operand, stored, result;
    } cases[] = {
        {IR_AMO_SWAP, IR_I64, 5, 9, 9, 5},
        {IR_AMO_SWAP, IR_I32, 0x1234567880000000, 9, 0x1234567800000009, 0xffffffff80000000},
        {IR_AMO_ADD, IR_I32, 0xaaaaaaaaffffffff, 1, 0xaaaaaaaa00000000, ONES},
        {IR_AMO_ADD, IR_I8, 0x1ff, 1, 0x100, ONES},
        {IR_AMO_ADD, IR_I16, 0x1ffff, 2, 0x10001, ONES},
        {IR_AMO_AND, IR_I64, 0xff, 0xf0f, 0x0f, 0xff},
        {IR_AMO_OR, IR_I64, 0xff, 0xf00, 0xfff, 0xff},
        {IR_AMO_XOR, IR_I64, 0xff, 0xf0f, 0xff0, 0xff},
        {IR_AMO_MIN, IR_I64, 1, ONES, ONES, 1},
        {IR_AMO_MAX, IR_I64, 1, ONES, 1, 1},
        {IR_AMO_MINU, IR_I32, 1, ONES, 1, 1},
        {IR_AMO_MAXU, IR_I32, 1, ONES, 0xffffffff, 1},
        {IR_AMO_MIN, IR_I32, 0x7fffffff, 0x80000000, 0x80000000, 0x7fffffff},
        {IR_AMO_MAX, IR_I8, 0x80, 0x7f, 0x7f, 0xffffffffffffff80},
        {IR_AMO_SWAP, IR_I64, 0, 3, 3, 0},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct test_vcpu *tv = test_vcpu_new();
        struct ir_unit *u = test_unit_new();
        uint64_t memory = cases[i].old;

        tv->cpu.r[1] = test_guest(&memory);
        tv->cpu.r[2] = cases[i].operand;
        ir_put(u, 3,
               ir_amo(u, cases[i].kind, IR_I64, cases[i].mem, ir_get(u, 1), ir_get(u, 2),
                      IR_MEM_ALIGN | IR_MEM_ACQUIRE | IR_MEM_RELEASE));
        run(tv, u);
        g_assert_cmphex(memory, ==, cases[i].stored);
        g_assert_cmphex(tv->cpu.r[3], ==, cases[i].result);
        ir_unit_free(u);
        free(tv);
    }
}

static void test_cas(void)
{
    uint64_t memory = 0xaaaaaaaa80000001;
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();

    tv->cpu.r[1] = test_guest(&memory);
    tv->cpu.r[2] = 0x1111111180000001; /* only the low half counts */
    ir_put(u, 3, ir_cas(u, IR_I64, IR_I32, ir_get(u, 1), ir_get(u, 2), ir_const(u, IR_I64, 5), 0));
    ir_put(u, 4, ir_cas(u, IR_I64, IR_I32, ir_get(u, 1), ir_get(u, 2), ir_const(u, IR_I64, 6), 0));
    run(tv, u);
    g_assert_cmphex(memory, ==, 0xaaaaaaaa00000005);
    g_assert_cmphex(tv->cpu.r[3], ==, 0xffffffff80000001);
    g_assert_cmphex(tv->cpu.r[4], ==, 5);
    ir_unit_free(u);
    free(tv);
}

/* LDX, [a store to the address,] STX [elsewhere]: the result and what memory holds. */
static void exclusive(bool store, bool elsewhere, uint64_t result, uint64_t final)
{
    uint64_t memory[2] = {0xffffffff, 0};
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();
    ir_val address = ir_get(u, 1);

    tv->cpu.r[1] = test_guest(memory);
    ir_put(u, 3, ir_ldx(u, IR_I64, IR_I32, address, IR_MEM_ALIGN));
    if (store) {
        ir_store(u, IR_I32, address, 0, ir_const(u, IR_I64, 1), 0);
    }
    ir_put(u, 4,
           ir_stx(u, IR_I32, elsewhere ? ir_bini(u, IR_ADD, IR_I64, address, 4) : address,
                  ir_const(u, IR_I64, 9), IR_MEM_ALIGN));
    /* There is no reservation any more. */
    ir_put(u, 5, ir_stx(u, IR_I32, address, ir_const(u, IR_I64, 10), IR_MEM_ALIGN));
    run(tv, u);
    g_assert_cmphex(tv->cpu.r[3], ==, ONES);
    g_assert_cmphex(tv->cpu.r[4], ==, result);
    g_assert_cmphex(tv->cpu.r[5], ==, 1);
    g_assert_cmphex(memory[0], ==, final);
    g_assert_cmphex(tv->cpu.excl_addr, ==, ONES);
    ir_unit_free(u);
    free(tv);
}

static void test_exclusive(void)
{
    exclusive(false, false, 0, 9);
    exclusive(true, false, 1, 1);
    exclusive(false, true, 1, 0xffffffff);
}

static void test_float(void)
{
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();
    ir_val one, three, s, n;

    one = ir_const(u, IR_F64, 0x3ff0000000000000);
    three = ir_const(u, IR_F64, 0x4008000000000000);
    n = ir_const(u, IR_I64, (uint64_t)-5);
    ir_put(u, TEST_F0, ir_fbin(u, IR_FADD, IR_F64, one, three, IR_RNE));
    ir_put(u, TEST_F0 + 1, ir_fbin(u, IR_FSUB, IR_F64, one, three, IR_RNE));
    ir_put(u, TEST_F0 + 2, ir_fbin(u, IR_FMUL, IR_F64, three, three, IR_RNE));
    ir_put(u, TEST_F0 + 3, ir_fmadd(u, IR_F64, three, three, one, IR_RNE, IR_FMA_NEG_PRODUCT));
    ir_put(u, TEST_F0 + 4, ir_fsqrt(u, IR_F64, ir_const(u, IR_F64, 0x4010000000000000), IR_RNE));
    ir_put(u, TEST_F0 + 5, ir_fbin(u, IR_FMIN, IR_F64, one, three, IR_FMM_NUMBER));
    ir_put(u, TEST_F0 + 6, ir_fbin(u, IR_FMAX, IR_F64, one, three, IR_FMM_NUMBER));
    ir_put(u, TEST_F0 + 7, ir_fbin(u, IR_FSGN, IR_F64, one, three, IR_FSGN_NOT));
    ir_put(u, TEST_F0 + 8, ir_fcvt(u, IR_ITOF, IR_F64, IR_I64, n, IR_RNE));
    ir_put(u, TEST_F0 + 9, ir_fcvt(u, IR_UTOF, IR_F64, IR_I32, n, IR_RNE));
    s = ir_fcvt(u, IR_FCVT, IR_F32, IR_F64, three, IR_RNE);
    ir_put(u, TEST_F0 + 10, ir_box(u, IR_F32, s));
    ir_put(u, 1, ir_fcmp(u, IR_FLT, IR_F64, one, three));
    ir_put(u, 2, ir_fclass(u, IR_F64, one));
    ir_put(u, 3, ir_fcvt(u, IR_FTOI, IR_I64, IR_F64, three, IR_RTZ));
    ir_put(u, 4, ir_fcvt(u, IR_FTOU, IR_I64, IR_F32, s, IR_RTZ));
    ir_put(u, 5, ir_fgetflags(u)); /* nothing inexact so far */
    ir_put(u, TEST_F0 + 11, ir_fbin(u, IR_FDIV, IR_F64, one, three, IR_RDN));
    ir_put(u, TEST_F0 + 12, ir_fbin(u, IR_FDIV, IR_F64, one, three, IR_RUP));
    ir_put(u, TEST_F0 + 13,
           ir_fround(u, IR_F64, ir_const(u, IR_F64, 0x4004000000000000), IR_RUP, false));
    ir_put(u, 6, ir_fgetflags(u));
    ir_fsetflags(u, ir_const(u, IR_I64, IR_FLAG_DZ));
    ir_put(u, 7, ir_fgetflags(u));
    run(tv, u);
    g_assert_cmphex(tv->f[0], ==, 0x4010000000000000);
    g_assert_cmphex(tv->f[1], ==, 0xc000000000000000);
    g_assert_cmphex(tv->f[2], ==, 0x4022000000000000);
    g_assert_cmphex(tv->f[3], ==, 0xc020000000000000);
    g_assert_cmphex(tv->f[4], ==, 0x4000000000000000);
    g_assert_cmphex(tv->f[5], ==, 0x3ff0000000000000);
    g_assert_cmphex(tv->f[6], ==, 0x4008000000000000);
    g_assert_cmphex(tv->f[7], ==, 0xbff0000000000000);
    g_assert_cmphex(tv->f[8], ==, 0xc014000000000000);
    g_assert_cmphex(tv->f[9], ==, 0x41efffffff600000);
    g_assert_cmphex(tv->f[10], ==, 0xffffffff40400000);
    g_assert_cmphex(tv->f[11], ==, 0x3fd5555555555555);
    g_assert_cmphex(tv->f[12], ==, 0x3fd5555555555556);
    g_assert_cmphex(tv->f[13], ==, 0x4008000000000000);
    g_assert_cmphex(tv->cpu.r[1], ==, 1);
    g_assert_cmphex(tv->cpu.r[2], ==, 1 << 6);
    g_assert_cmphex(tv->cpu.r[3], ==, 3);
    g_assert_cmphex(tv->cpu.r[4], ==, 3);
    g_assert_cmphex(tv->cpu.r[5], ==, 0);
    g_assert_cmphex(tv->cpu.r[6], ==, IR_FLAG_NX);
    g_assert_cmphex(tv->cpu.r[7], ==, IR_FLAG_DZ);
    ir_unit_free(u);
    free(tv);
}

static void test_box(void)
{
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();

    tv->f[0] = 0xffffffff12345678;
    tv->f[1] = 0xfffffffe12345678;
    tv->f[2] = 0xffffffffffff1234;
    tv->f[3] = 0xfffffffffffe1234;
    for (unsigned i = 0; i < 4; i++) {
        enum ir_type type = i < 2 ? IR_F32 : IR_F16;
        ir_val v = ir_unbox(u, type, ir_get(u, TEST_F0 + i));

        ir_put(u, 1 + i,
               ir_zext(u, IR_I64, i < 2 ? IR_I32 : IR_I16,
                       ir_bitcast(u, i < 2 ? IR_I32 : IR_I16, v)));
        ir_put(u, TEST_F0 + 8 + i, ir_box(u, type, v));
    }
    run(tv, u);
    g_assert_cmphex(tv->cpu.r[1], ==, 0x12345678);
    g_assert_cmphex(tv->cpu.r[2], ==, 0x7fc00000);
    g_assert_cmphex(tv->cpu.r[3], ==, 0x1234);
    g_assert_cmphex(tv->cpu.r[4], ==, 0x7e00);
    g_assert_cmphex(tv->f[9], ==, 0xffffffff7fc00000);
    g_assert_cmphex(tv->f[10], ==, 0xffffffffffff1234);
    ir_unit_free(u);
    free(tv);
}

static void test_control(void)
{
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();

    for (unsigned i = 0; i < 4; i++) {
        ir_unit_reset(u, &test_arch, 0x1000, 0);
        tv->cpu.r[1] = 0x123456789abc;
        ir_insn(u, 0x1000, 2);
        switch (i) {
        case 0: ir_jump(u, ir_get(u, 1)); break;
        case 1: ir_call(u, ir_get(u, 1), 0x1002); break;
        case 2: ir_ret(u, ir_get(u, 1)); break;
        default:
            ir_exit_if(u, IR_EQ, IR_I64, ir_get(u, 1), ir_get(u, 2), 0x5555);
            ir_exit_if(u, IR_NE, IR_I64, ir_get(u, 1), ir_get(u, 2), 0x123456789abc);
            ir_exit(u, VCPU_EXIT_ILLEGAL, 0x1000);
        }
        g_assert_cmpint(run(tv, u), ==, VCPU_EXIT_NONE);
        g_assert_cmphex(tv->cpu.pc, ==, 0x123456789abc);
    }
    ir_unit_reset(u, &test_arch, 0x1000, 0);
    ir_insn(u, 0x1000, 2);
    ir_exit(u, VCPU_EXIT_BREAKPOINT, 0x1234);
    g_assert_cmpint(run(tv, u), ==, VCPU_EXIT_BREAKPOINT);
    g_assert_cmphex(tv->cpu.pc, ==, 0x1234);
    ir_unit_free(u);
    free(tv);
}

static uint64_t help_sum(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return a + 10 * b + 100 * c + 1000 * d;
}

static uint64_t help_leave(struct vcpu *cpu, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    if (a) {
        cpu->exit_reason = VCPU_EXIT_FENCE_I;
        cpu->pc = 0x7777;
    }
    return 0;
}

static void test_helper(void)
{
    static const struct ir_helper sum = {"sum", help_sum, IR_HELPER_PURE};
    static const struct ir_helper leave = {"leave", help_leave, IR_HELPER_MAY_EXIT};
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();
    ir_val two = ir_const(u, IR_I64, 2), zero = ir_const(u, IR_I64, 0);

    ir_insn(u, 0x1000, 4);
    ir_put(u, 1, ir_helper(u, IR_I64, &sum, two, 0, two, two));
    ir_helper(u, IR_VOID, &leave, zero, 0, 0, 0);
    ir_put(u, 2, two);
    ir_helper(u, IR_VOID, &leave, two, 0, 0, 0);
    ir_put(u, 3, two);
    g_assert_cmpint(run(tv, u), ==, VCPU_EXIT_FENCE_I);
    g_assert_cmpint(tv->cpu.exit_reason, ==, VCPU_EXIT_NONE);
    g_assert_cmphex(tv->cpu.pc, ==, 0x7777);
    g_assert_cmpuint(tv->cpu.r[1], ==, 2202);
    g_assert_cmpuint(tv->cpu.r[2], ==, 2);
    g_assert_cmpuint(tv->cpu.r[3], ==, 0);
    ir_unit_free(u);
    free(tv);
}

/* ---- Faults, hooks, threads ---- */

static sigjmp_buf fault_jump;

static void on_fault(int sig)
{
    siglongjmp(fault_jump, 1);
}

/* Runs [u] and returns true if that raised SIGSEGV. Not inlined: Clang takes memory that a function
 * has made itself for unchanged when sigsetjmp returns in it again. */
static __attribute__((noinline)) bool run_faults(struct test_vcpu *tv, struct ir_unit *u)
{
    if (sigsetjmp(fault_jump, 1)) {
        return true;
    }
    run(tv, u);
    return false;
}

/* A host fault: registers and pc are those of the instruction that faults. */
static void test_host_fault(void)
{
    struct sigaction action = {.sa_handler = on_fault}, old;
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();
    void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    g_assert_true(page != MAP_FAILED);
    tv->cpu.r[1] = test_guest(page);
    ir_insn(u, 0x1000, 4);
    ir_put(u, 2, ir_const(u, IR_I64, 22));
    ir_insn(u, 0x1004, 4);
    ir_put(u, 3, ir_load(u, IR_I64, IR_I64, ir_get(u, 1), 8, 0));
    ir_put(u, 2, ir_const(u, IR_I64, 23));
    sigaction(SIGSEGV, &action, &old);
    g_assert_true(run_faults(tv, u));
    sigaction(SIGSEGV, &old, NULL);
    g_assert_cmphex(tv->cpu.pc, ==, 0x1004);
    g_assert_cmpuint(tv->cpu.r[2], ==, 22);
    munmap(page, 4096);
    ir_unit_free(u);
    free(tv);
}

struct record {
    GString *text;
    uint64_t base;
};

static void record_access(void *opaque, struct vcpu *cpu, uint64_t addr, unsigned size,
                          enum vcpu_access access)
{
    struct record *r = opaque;

    g_string_append_printf(r->text, "%c%" PRIu64 ":%u ", access == VCPU_READ ? 'r' : 'w',
                           addr - r->base, size);
}

static void test_hooks(void)
{
    uint64_t memory[4] = {0};
    struct record record = {g_string_new(NULL), test_guest(memory)};
    struct interp_hooks hooks = {record_access, &record};
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();
    ir_val p = ir_get(u, 1);

    tv->cpu.r[1] = test_guest(memory);
    ir_load(u, IR_I64, IR_I16, p, 6, 0);
    ir_store(u, IR_I32, p, 8, p, 0);
    ir_amo(u, IR_AMO_ADD, IR_I64, IR_I64, p, p, 0);
    ir_ldx(u, IR_I64, IR_I32, p, 0);
    ir_stx(u, IR_I32, p, p, 0);
    ir_stx(u, IR_I32, p, p, 0); /* makes no access */
    ir_exit(u, VCPU_EXIT_SYSCALL, 0);
    ir_interpret(&tv->cpu, u, TEST_BASE, &hooks);
    g_assert_cmpstr(record.text->str, ==, "r6:2 w8:4 r0:8 w0:8 r0:4 w0:4 ");
    g_string_free(record.text, TRUE);
    ir_unit_free(u);
    free(tv);
}

enum { THREAD_ROUNDS = 20000 };

struct counters {
    uint32_t amo;
    uint64_t exclusive;
};

/* Adds 1 to both counters, to the second by LDX and STX in a loop. */
static void *count_thread(void *opaque)
{
    struct test_vcpu *tv = test_vcpu_new();
    struct ir_unit *u = test_unit_new();
    ir_val amo = ir_get(u, 1), exclusive = ir_get(u, 2), one = ir_const(u, IR_I64, 1), old;
    struct counters *counters = opaque;

    tv->cpu.r[1] = test_guest(&counters->amo);
    tv->cpu.r[2] = test_guest(&counters->exclusive);
    ir_amo(u, IR_AMO_ADD, IR_I64, IR_I32, amo, one, IR_MEM_ALIGN);
    old = ir_ldx(u, IR_I64, IR_I64, exclusive, IR_MEM_ALIGN);
    ir_put(u, 3, ir_stx(u, IR_I64, exclusive, ir_bini(u, IR_ADD, IR_I64, old, 1), IR_MEM_ALIGN));
    ir_exit(u, VCPU_EXIT_SYSCALL, 0);
    for (unsigned done = 0; done < THREAD_ROUNDS; done++) {
        ir_interpret(&tv->cpu, u, TEST_BASE, NULL);
        if (tv->cpu.r[3]) {
            /* Another thread came between: the AMO was made all the same. */
            __atomic_fetch_sub(&counters->amo, 1, __ATOMIC_SEQ_CST);
            done--;
        }
    }
    ir_unit_free(u);
    free(tv);
    return NULL;
}

static void test_threads(void)
{
    struct counters counters = {0};
    GThread *threads[2];

    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = g_thread_new("count", count_thread, &counters);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
    }
    g_assert_cmpuint(counters.amo, ==, 2 * THREAD_ROUNDS);
    g_assert_cmpuint(counters.exclusive, ==, 2 * THREAD_ROUNDS);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/interp/integer", test_integer);
    g_test_add_func("/interp/extend", test_extend);
    g_test_add_func("/interp/conditions", test_conditions);
    g_test_add_func("/interp/select", test_select);
    g_test_add_func("/interp/state", test_state);
    g_test_add_func("/interp/memory", test_memory);
    g_test_add_func("/interp/alignment", test_alignment);
    g_test_add_func("/interp/amo", test_amo);
    g_test_add_func("/interp/cas", test_cas);
    g_test_add_func("/interp/exclusive", test_exclusive);
    g_test_add_func("/interp/float", test_float);
    g_test_add_func("/interp/box", test_box);
    g_test_add_func("/interp/control", test_control);
    g_test_add_func("/interp/helper", test_helper);
    g_test_add_func("/interp/host-fault", test_host_fault);
    g_test_add_func("/interp/hooks", test_hooks);
    g_test_add_func("/interp/threads", test_threads);
    return g_test_run();
}
