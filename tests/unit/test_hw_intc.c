/*
 * hw/intc/: ACLINT and PLIC.
 */
#include "hw/intc/riscv_aclint.h"
#include "hw/intc/sifive_plic.h"
#include "hw_test.h"

/* ---- ACLINT ---- */

enum { TIMECMP = 0, MTIME = 0x7ff8 };

static const struct hw_step mtimer_steps[] = {
    {'r', TIMECMP, 8, UINT64_MAX},
    {'r', MTIME, 8, 0},
    {'i', 0, 0, 0},
    {'t', 1000},                        /* 10 ticks of 100 ns */
    {'r', MTIME, 8, 10},
    {'r', MTIME, 4, 10},
    {'r', MTIME + 4, 4, 0},
    {'w', TIMECMP + 8, 8, 15},          /* the second hart's */
    {'i', 1, 0, 0},
    {'t', 499},
    {'i', 1, 0, 0},
    {'t', 1},
    {'i', 1, 0, 1},
    {'i', 0, 0, 0},
    {'w', TIMECMP + 8, 4, 20},
    {'i', 1, 0, 0},
    {'r', TIMECMP + 8, 8, 20},
    {'w', TIMECMP + 12, 4, 1},
    {'r', TIMECMP + 8, 8, 0x100000014},
    {'t', 1000},
    {'i', 1, 0, 0},
    {'w', MTIME, 8, 0x100000013},       /* the time jumps: comparators follow */
    {'i', 1, 0, 0},
    {'t', 100},
    {'i', 1, 0, 1},
    {'r', MTIME, 8, 0x100000014},
    {'w', MTIME + 4, 4, 0},
    {'i', 1, 0, 0},
    {'r', MTIME, 8, 0x14},
    {'w', TIMECMP, 8, 0},
    {'i', 0, 0, 1},
    {'w', TIMECMP, 8, UINT64_MAX},
    {'i', 0, 0, 0},
    {'r', 0x100, 4, 0},                 /* nothing is there */
    {'w', 0x100, 8, 1},
    {'f', MTIME, 2},
    {'f', TIMECMP, 1},
    {'F', MTIME + 4, 8},
    {'w', TIMECMP, 8, 1},
    {'i', 0, 0, 1},
    {'R'},
    {'i', 0, 0, 0},
    {'r', TIMECMP, 8, UINT64_MAX},
    {'r', MTIME, 8, 0},
    {'t', 300},
    {'r', MTIME, 8, 3},
};

#define MTIMER "{\"num-harts\": 2, \"timebase-freq\": 10000000}"

static void test_mtimer(void)
{
    HW_SCRIPT("riscv.aclint.mtimer", MTIMER, NULL, mtimer_steps);
}

static void count(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_time(void)
{
    unsigned changes = 0;
    struct hw_test t;

    hw_test_init(&t, "riscv.aclint.mtimer", MTIMER, NULL);
    riscv_aclint_on_change(t.dev, count, &changes);
    hw_step_clock(&t, 12345);
    g_assert_cmpuint(riscv_aclint_time(t.dev), ==, 123);
    g_assert_cmpint(riscv_aclint_deadline(t.dev, 123), ==, 12345);
    g_assert_cmpint(riscv_aclint_deadline(t.dev, 124), ==, 12400);
    g_assert_cmpint(riscv_aclint_deadline(t.dev, UINT64_MAX), ==, INT64_MAX);
    hw_write(&t, MTIME, 8, 1000);
    g_assert_cmpuint(changes, ==, 1);
    g_assert_cmpuint(riscv_aclint_time(t.dev), ==, 1000);
    g_assert_cmpint(riscv_aclint_deadline(t.dev, 1001), ==, 12400);
    hw_test_clear(&t);

    /* A frequency that doesn't divide a second: never early. */
    hw_test_init(&t, "riscv.aclint.mtimer", "{\"timebase-freq\": 3000000}", NULL);
    hw_write(&t, TIMECMP, 8, 7);
    hw_step_clock(&t, riscv_aclint_deadline(t.dev, 7) - 1);
    g_assert_false(t.levels[0]);
    hw_step_clock(&t, 1);
    g_assert_true(t.levels[0]);
    hw_test_clear(&t);
}

static const struct hw_step swi_steps[] = {
    {'r', 0, 4, 0},
    {'w', 0, 4, 0xffffffff},
    {'r', 0, 4, 1},
    {'i', 0, 0, 1},
    {'i', 1, 0, 0},
    {'w', 4, 4, 1},
    {'w', 0, 4, 0xfffffffe},
    {'i', 0, 0, 0},
    {'i', 1, 0, 1},
    {'w', 8, 4, 1},         /* of a hart that isn't there */
    {'r', 8, 4, 0},
    {'f', 0, 8},
    {'f', 0, 1},
    {'R'},
    {'i', 1, 0, 0},
    {'r', 4, 4, 0},
};

static void test_swi(void)
{
    struct hw_test t;

    HW_SCRIPT("riscv.aclint.swi", "{\"num-harts\": 2}", NULL, swi_steps);
    hw_test_init(&t, "riscv.aclint.swi", "{\"num-harts\": 2, \"sswi\": 1}", NULL);
    hw_write(&t, 4, 4, 1);
    g_assert_true(t.levels[1] && !t.levels[0]);
    g_assert_cmpuint(hw_read(&t, 4, 4), ==, 0);
    hw_test_clear(&t);
}

/* ---- PLIC: two harts, the layout of virt ---- */

#define PLIC                                                                                       \
    "{\"hart-config\": \"MS,MS\", \"num-sources\": 96, \"num-priorities\": 7,"                     \
    " \"priority-base\": 0, \"pending-base\": 4096, \"enable-base\": 8192,"                        \
    " \"enable-stride\": 128, \"context-base\": 2097152, \"context-stride\": 4096,"                \
    " \"aperture-size\": 6291456}"

#define PRIORITY(n)         (4ull * (n))
#define PENDING(n)          (0x1000ull + (n) / 32 * 4)
#define ENABLE(context, n)  (0x2000ull + 0x80ull * (context) + (n) / 32 * 4)
#define THRESHOLD(context)  (0x200000ull + 0x1000ull * (context))
#define CLAIM(context)      (THRESHOLD(context) + 4)

static void raise_input(struct hw_test *t, uint64_t source)
{
    struct irq_line line = sifive_plic_input(t->dev, (unsigned)source);

    irq_set(&line, true);
}

static void lower_input(struct hw_test *t, uint64_t source)
{
    struct irq_line line = sifive_plic_input(t->dev, (unsigned)source);

    irq_set(&line, false);
}

static const struct hw_step plic_steps[] = {
    {'w', PRIORITY(0), 4, 7},               /* source 0 isn't there */
    {'r', PRIORITY(0), 4, 0},
    {'w', PRIORITY(10), 4, 0xff},
    {'r', PRIORITY(10), 4, 7},
    {'w', PRIORITY(10), 4, 1},
    {'w', PRIORITY(40), 4, 3},
    {'w', PRIORITY(41), 4, 3},
    {'w', ENABLE(0, 0), 4, 0xffffffff},
    {'r', ENABLE(0, 0), 4, 0xfffffffe},
    {'w', ENABLE(0, 0), 4, 1 << 10},
    {'w', ENABLE(1, 32), 4, 0x300},
    {'c', 10, .call = raise_input},
    {'r', PENDING(10), 4, 1 << 10},
    {'i', 0, 0, 1},
    {'i', 1, 0, 0},
    {'w', THRESHOLD(0), 4, 1},              /* only above it */
    {'i', 0, 0, 0},
    {'w', THRESHOLD(0), 4, 0},
    {'i', 0, 0, 1},
    {'r', CLAIM(2), 4, 0},                  /* not enabled there */
    {'r', CLAIM(0), 4, 10},
    {'i', 0, 0, 0},
    {'r', PENDING(10), 4, 0},
    {'r', CLAIM(0), 4, 0},
    {'w', CLAIM(0), 4, 10},                 /* the line is still high */
    {'i', 0, 0, 1},
    {'r', CLAIM(0), 4, 10},
    {'c', 10, .call = lower_input},
    {'w', CLAIM(1), 4, 10},                 /* not enabled there: ignored */
    {'c', 10, .call = raise_input},
    {'i', 0, 0, 0},
    {'c', 10, .call = lower_input},
    {'w', CLAIM(0), 4, 10},
    {'i', 0, 0, 0},
    /* Two of one priority: the lower number first. */
    {'c', 41, .call = raise_input},
    {'c', 40, .call = raise_input},
    {'i', 1, 0, 1},
    {'r', PENDING(40), 4, 0x300},
    {'r', CLAIM(1), 4, 40},
    {'i', 1, 0, 1},
    {'r', CLAIM(1), 4, 41},
    {'i', 1, 0, 0},
    {'w', CLAIM(1), 4, 40},
    {'i', 1, 0, 1},
    {'w', PRIORITY(40), 4, 0},              /* never interrupts */
    {'i', 1, 0, 0},
    {'w', PRIORITY(40), 4, 5},
    {'i', 1, 0, 1},
    {'w', CLAIM(1), 4, 41},
    {'r', CLAIM(1), 4, 40},
    {'w', CLAIM(1), 4, 0},                  /* nothing */
    {'w', CLAIM(1), 4, 0xffffffff},
    {'w', PENDING(0), 4, 0xffffffff},       /* can't be written */
    {'r', PENDING(0), 4, 0},
    {'r', 0x1ffffc, 4, 0},
    {'f', CLAIM(0), 8},
    {'f', CLAIM(0), 2},
    {'r', THRESHOLD(4), 4, 0},              /* no such context */
    {'w', THRESHOLD(4), 4, 1},
    {'w', ENABLE(3, 95), 4, 0xffffffff},
    {'r', ENABLE(3, 95), 4, 0xffffffff},
    {'r', ENABLE(3, 96), 4, 0},
    {'R'},
    {'r', ENABLE(3, 95), 4, 0},
    {'r', PRIORITY(41), 4, 0},
    {'i', 1, 0, 0},
    {'r', PENDING(41), 4, 0x300},           /* their lines are still high */
};

static void test_plic(void)
{
    struct hw_test t;
    char mode;

    HW_SCRIPT("riscv.sifive.plic", PLIC, NULL, plic_steps);
    hw_test_init(&t, "riscv.sifive.plic", PLIC, NULL);
    g_assert_cmpuint(t.dev->n_irqs, ==, 4);
    g_assert_cmpuint(sifive_plic_context(t.dev, 3, &mode), ==, 1);
    g_assert_cmpint(mode, ==, 'S');
    hw_test_clear(&t);
}

static void test_bad_configurations(void)
{
    static const char *const cases[][3] = {
        {"riscv.sifive.plic", "{}", "*hart-config is ''*"},
        {"riscv.sifive.plic", "{\"hart-config\": \"MX\"}", "*hart-config is 'MX'*"},
        {"riscv.sifive.plic", "{\"hart-config\": \"M\"}", "*don't fit into this layout*"},
        {"riscv.aclint.mtimer", "{}", "*timebase-freq must be given*"},
        {"riscv.aclint.mtimer", "{\"num-harts\": 0}", "*num-harts is 0*"},
        {"riscv.aclint.mtimer", "{\"time-base\": 8, \"num-harts\": 2, \"timebase-freq\": 1}",
         "*don't overlap*"},
        {"riscv.aclint.swi", "{\"num-harts\": 5000}", "*num-harts is 5000*"},
        {"riscv.aclint.none", "{}", "There is no device type 'riscv.aclint.none'"},
        {"device", "{}", "There is no device type 'device'"},
        {"riscv.aclint.swi", "{\"harts\": 1}", "*harts*"},
    };
    struct hw_test t;

    hw_test_init(&t, NULL, NULL, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(json_object) properties = json_parse(cases[i][1], NULL);
        g_autoptr(GError) error = NULL;

        g_assert_null(mmio_device_new(&t.hw, cases[i][0], t.control.root, "d", properties, &error));
        assert_error_matches(error, cases[i][2]);
        g_assert_null(object_child(t.control.root, "d"));
    }
    hw_test_clear(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hw/intc/aclint/mtimer", test_mtimer);
    g_test_add_func("/hw/intc/aclint/time", test_time);
    g_test_add_func("/hw/intc/aclint/swi", test_swi);
    g_test_add_func("/hw/intc/plic", test_plic);
    g_test_add_func("/hw/intc/bad-configurations", test_bad_configurations);
    return g_test_run();
}
