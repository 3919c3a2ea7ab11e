/*
 * hw/misc/, hw/rtc/, hw/char/riscv_htif.c: test finisher, real-time clock, host-target interface.
 */
#include <errno.h>
#include <string.h>

#include "chardev/chardev.h"
#include "hw_test.h"

/* ---- Test finisher ---- */

static void test_finisher(void)
{
    struct hw_test t;

    hw_test_init(&t, "riscv.sifive.test", NULL, NULL);
    hw_write(&t, 0, 4, 0x1234);
    hw_write(&t, 4, 4, 0x5555);
    g_assert_cmpuint(hw_read(&t, 0, 4), ==, 0);
    g_assert_cmpuint(t.vm.shutdowns + t.vm.resets, ==, 0);
    hw_write(&t, 0, 4, 0x5555);
    g_assert_true(t.vm.shutdowns == 1 && !t.vm.failed && t.vm.status == 0);
    hw_write(&t, 0, 4, 0x2a3333);
    g_assert_true(t.vm.shutdowns == 2 && t.vm.failed && t.vm.status == 0x2a);
    hw_write(&t, 0, 2, 0x7777);
    g_assert_true(t.vm.shutdowns == 2 && t.vm.resets == 1);
    hw_fault(&t, 0, 1, true);
    hw_fault(&t, 0, 8, true);
    hw_replace(&t);
    hw_test_clear(&t);
}

/* ---- Real-time clock ---- */

enum { TIME_LOW = 0, TIME_HIGH = 4, ALARM_LOW = 8, ALARM_HIGH = 12, IRQ_ENABLED = 16,
       CLEAR_ALARM = 20, ALARM_STATUS = 24, CLEAR_INTERRUPT = 28 };

static const struct hw_step rtc_steps[] = {
    {'w', TIME_HIGH, 4, 5},
    {'w', TIME_LOW, 4, 0xfffffff0},
    {'r', TIME_LOW, 4, 0xfffffff0},
    {'t', 0x20},
    {'r', TIME_HIGH, 4, 5},             /* latched with the low half */
    {'r', TIME_LOW, 4, 0x10},
    {'r', TIME_HIGH, 4, 6},
    {'w', ALARM_HIGH, 4, 6},
    {'r', ALARM_STATUS, 4, 0},
    {'w', ALARM_LOW, 4, 0x110},
    {'r', ALARM_STATUS, 4, 1},
    {'r', ALARM_HIGH, 4, 6},
    {'r', ALARM_LOW, 4, 0x110},
    {'t', 0xff},
    {'r', ALARM_STATUS, 4, 1},
    {'i', 0, 0, 0},
    {'t', 1},
    {'r', ALARM_STATUS, 4, 0},
    {'i', 0, 0, 0},                     /* not enabled yet */
    {'w', IRQ_ENABLED, 4, 1},
    {'i', 0, 0, 1},
    {'r', IRQ_ENABLED, 4, 1},
    {'w', CLEAR_INTERRUPT, 4, 1},
    {'i', 0, 0, 0},
    {'w', ALARM_LOW, 4, 0},             /* in the past */
    {'i', 0, 0, 1},
    {'w', CLEAR_INTERRUPT, 4, 0},
    {'w', ALARM_HIGH, 4, 0xffffffff},
    {'w', ALARM_LOW, 4, 0xffffffff},
    {'t', 1000},
    {'r', ALARM_STATUS, 4, 1},
    {'w', CLEAR_ALARM, 4, 1},
    {'r', ALARM_STATUS, 4, 0},
    {'w', ALARM_HIGH, 4, 6},
    {'w', ALARM_LOW, 4, 0x10000},
    {'w', TIME_HIGH, 4, 7},             /* the clock is put forward past it */
    {'i', 0, 0, 1},
    {'r', 0x20, 4, 0},
    {'w', 0x20, 4, 1},
    {'f', 0, 8},
    {'f', 0, 1},
    {'R'},
    {'i', 0, 0, 0},
    {'r', IRQ_ENABLED, 4, 0},
    {'r', TIME_LOW, 4, 0x4f8},          /* the time goes on */
    {'r', TIME_HIGH, 4, 7},
};

static void test_rtc(void)
{
    struct hw_test t;
    uint64_t low, time;
    int64_t wall;

    HW_SCRIPT("goldfish_rtc", NULL, NULL, rtc_steps);
    hw_test_init(&t, "goldfish_rtc", NULL, NULL);
    low = hw_read(&t, TIME_LOW, 4);
    time = hw_read(&t, TIME_HIGH, 4) << 32 | low;
    wall = g_get_real_time() * 1000;
    g_assert_cmpint(ABS(wall - (int64_t)time), <, 10000000000);
    hw_test_clear(&t);
}

/* ---- HTIF: tohost at 0, fromhost at 8 ---- */

static const struct hw_step htif_steps[] = {
    {'w', 0, 8, 0x0101000000000000ull | 'a'},
    {'r', 0, 8, 0},
    {'r', 8, 8, 0x0101000000000100ull | 'a'},
    {'w', 8, 8, 0},
    {'w', 0, 4, 'b'},                   /* in halves */
    {'r', 8, 8, 0},
    {'w', 4, 4, 0x01010000},
    {'r', 8, 4, 0x100 | 'b'},
    {'r', 12, 4, 0x01010000},
    {'w', 12, 4, 0},
    {'w', 8, 4, 0},
    {'r', 8, 8, 0},
    {'w', 0, 8, 0x0100000000000000ull}, /* waits for a character */
    {'r', 8, 8, 0},
    {'w', 0, 8, 0x4200000000000001ull}, /* no such device */
    {'w', 0, 8, 0},
    {'r', 8, 8, 0},
    {'f', 0, 2},
    {'R'},
    {'r', 0, 8, 0},
};

static void write_call(struct hw_test *t, uint64_t number, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t call[8] = {number, a, b, c};

    memcpy(hw_test_ram(t) + 0x100, call, sizeof(call));
    hw_write(t, 0, 8, HW_TEST_RAM + 0x100);
    g_assert_cmpuint(hw_read(t, 8, 8), ==, 1);
    hw_write(t, 8, 8, 0);
}

static void test_htif(void)
{
    struct hw_test t;
    uint64_t result;

    HW_SCRIPT("riscv_htif", NULL, NULL, htif_steps);
    hw_test_init(&t, "riscv_htif", NULL, NULL);
    memcpy(hw_test_ram(&t), "hello", 5);
    write_call(&t, 64, 1, HW_TEST_RAM, 5);
    memcpy(&result, hw_test_ram(&t) + 0x100, 8);
    g_assert_cmpuint(result, ==, 5);
    write_call(&t, 64, 7, HW_TEST_RAM, 5);
    memcpy(&result, hw_test_ram(&t) + 0x100, 8);
    g_assert_true(result == (uint64_t)-EBADF);
    write_call(&t, 64, 1, 0x123456789000, 5);
    memcpy(&result, hw_test_ram(&t) + 0x100, 8);
    g_assert_true(result == (uint64_t)-EFAULT);
    write_call(&t, 1024, 1, 0, 0);
    memcpy(&result, hw_test_ram(&t) + 0x100, 8);
    g_assert_true(result == (uint64_t)-ENOSYS);
    hw_write(&t, 0, 8, 0x123456789000);
    g_assert_cmpuint(t.vm.shutdowns, ==, 0);
    hw_write(&t, 0, 8, 1);
    g_assert_true(t.vm.shutdowns == 1 && !t.vm.failed);
    hw_write(&t, 0, 8, 5 << 1 | 1);
    g_assert_true(t.vm.shutdowns == 2 && t.vm.failed && t.vm.status == 5);
    hw_test_clear(&t);
}

static void test_signature(void)
{
    g_autofree char *properties = NULL, *path = NULL, *text = NULL;
    struct hw_test t;

    hw_test_init(&t, NULL, NULL, NULL);
    path = g_build_filename(t.control.dir, "signature", NULL);
    properties = g_strdup_printf("{\"signature\": \"%s\", \"signature-granularity\": 4,"
                                 " \"signature-begin\": %u, \"signature-end\": %u}",
                                 path, HW_TEST_RAM + 16, HW_TEST_RAM + 22);
    t.type = "riscv_htif";
    t.properties = properties;
    hw_test_make_device(&t);
    memcpy(hw_test_ram(&t) + 16, "\x01\x02\x03\x04\xfe\xff", 6);
    hw_write(&t, 0, 8, 1);
    g_assert_true(t.vm.shutdowns == 1 && !t.vm.failed);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "04030201\nfffe\n");
    hw_test_clear(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hw/misc/sifive-test", test_finisher);
    g_test_add_func("/hw/rtc/goldfish", test_rtc);
    g_test_add_func("/hw/char/htif", test_htif);
    g_test_add_func("/hw/char/htif/signature", test_signature);
    return g_test_run();
}
