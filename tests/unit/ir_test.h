/*
 * A guest architecture for the tests of the IR: 32 integer registers x0-x31, 32 floating-point
 * registers f0-f31, and some state that no register covers.
 */
#ifndef NANDU_TEST_IR_TEST_H
#define NANDU_TEST_IR_TEST_H

#include <glib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "dbt/dbt.h"
#include "dbt/guest.h"
#include "dbt/interp/interp.h"

enum { TEST_N_REGS = 64, TEST_F0 = 32 };

struct test_vcpu {
    struct vcpu cpu;
    uint64_t f[32];
    uint64_t extra[4];
};

#define TEST_X(n)                                          \
    {                                                      \
        "x" #n, offsetof(struct vcpu, r) + 8 * (n), IR_I64 \
    }
#define TEST_F(n)                                               \
    {                                                           \
        "f" #n, offsetof(struct test_vcpu, f) + 8 * (n), IR_F64 \
    }

static const struct guest_reg test_regs[TEST_N_REGS] = {
    TEST_X(0),  TEST_X(1),  TEST_X(2),  TEST_X(3),  TEST_X(4),  TEST_X(5),  TEST_X(6),  TEST_X(7),
    TEST_X(8),  TEST_X(9),  TEST_X(10), TEST_X(11), TEST_X(12), TEST_X(13), TEST_X(14), TEST_X(15),
    TEST_X(16), TEST_X(17), TEST_X(18), TEST_X(19), TEST_X(20), TEST_X(21), TEST_X(22), TEST_X(23),
    TEST_X(24), TEST_X(25), TEST_X(26), TEST_X(27), TEST_X(28), TEST_X(29), TEST_X(30), TEST_X(31),
    TEST_F(0),  TEST_F(1),  TEST_F(2),  TEST_F(3),  TEST_F(4),  TEST_F(5),  TEST_F(6),  TEST_F(7),
    TEST_F(8),  TEST_F(9),  TEST_F(10), TEST_F(11), TEST_F(12), TEST_F(13), TEST_F(14), TEST_F(15),
    TEST_F(16), TEST_F(17), TEST_F(18), TEST_F(19), TEST_F(20), TEST_F(21), TEST_F(22), TEST_F(23),
    TEST_F(24), TEST_F(25), TEST_F(26), TEST_F(27), TEST_F(28), TEST_F(29), TEST_F(30), TEST_F(31),
};

static const struct guest_arch test_arch = {
    .name = "test",
    .vcpu_size = sizeof(struct test_vcpu),
    .regs = test_regs,
    .n_regs = TEST_N_REGS,
};

static inline struct test_vcpu *test_vcpu_new(void)
{
    struct test_vcpu *tv = aligned_alloc(_Alignof(struct test_vcpu), sizeof(*tv));

    g_assert_nonnull(tv);
    memset(tv, 0, sizeof(*tv));
    tv->cpu.arch = &test_arch;
    tv->cpu.excl_addr = ~UINT64_C(0);
    /* x86-64: all exceptions masked, as a vCPU starts. */
    tv->cpu.mxcsr = 0x1f80;
    return tv;
}

static inline struct ir_unit *test_unit_new(void)
{
    struct ir_unit *u = ir_unit_new();

    ir_unit_reset(u, &test_arch, 0x1000, 0);
    return u;
}

/* Ends with the verifier's message if the unit is wrong. */
static inline void test_verify(const struct ir_unit *u)
{
    g_autofree char *error = NULL;

    if (!ir_verify(u, &error)) {
        ir_print(u, stderr);
        g_error("%s", error);
    }
}

/* Guest address of a host object, for guest memory at host address guest + TEST_BASE. */
#define TEST_BASE UINT64_C(0x10000)

static inline uint64_t test_guest(const void *host)
{
    return (uint64_t)(uintptr_t)host - TEST_BASE;
}

#endif
