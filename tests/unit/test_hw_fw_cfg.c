/*
 * hw/nvram/fw_cfg.c. Regions: data at 0, control at 8, DMA at 16. The registers are big endian:
 * what a little-endian hart reads of data is in the order of the bytes.
 */
#include <string.h>

#include "hw/nvram/fw_cfg.h"
#include "hw_test.h"

enum { DATA = 0, CONTROL = 8, DMA = 16 };

static uint8_t writable[8];
static unsigned writes;

static void written(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void setup(struct hw_test *t)
{
    g_autoptr(GBytes) bytes = g_bytes_new("0123456789", 10);
    GError *error = NULL;

    fw_cfg_add_integer(t->dev, FW_CFG_NB_CPUS, 0x1234, 2);
    fw_cfg_add_text(t->dev, FW_CFG_KERNEL_CMDLINE, "ro");
    fw_cfg_add_file(t->dev, "opt/b", bytes, &error);
    fw_cfg_add_file(t->dev, "etc/a", bytes, &error);
    memset(writable, 0, sizeof(writable));
    fw_cfg_add_writable_file(t->dev, "opt/a", writable, sizeof(writable), written, &writes, &error);
    g_assert_no_error(error);
}

#define SELECT(key) {'w', CONTROL, 2, ((key) & 0xff) << 8 | (key) >> 8}

static const struct hw_step steps[] = {
    {'r', DATA, 4, 0x554d4551},                         /* QEMU: what is selected at first */
    {'r', DATA, 4, 0},                                  /* behind the end */
    SELECT(FW_CFG_ID),
    {'r', DATA, 1, 3},
    {'r', DATA, 2, 0},
    SELECT(FW_CFG_NB_CPUS | 0x4000),
    {'r', DATA, 2, 0x1234},
    SELECT(FW_CFG_KERNEL_CMDLINE),
    {'r', DATA, 8, 0x6f72},
    SELECT(0x1234),                                     /* no such item */
    {'r', DATA, 8, 0},
    SELECT(FW_CFG_FILE_DIR),
    {'r', DATA, 4, 0x03000000},
    {'r', DATA, 8, 0x21000a000000},                     /* 10 bytes, key 0x21 */
    {'r', DATA, 8, 0x612f637465},                       /* etc/a */
    {'r', DATA, 8, 0}, {'r', DATA, 8, 0}, {'r', DATA, 8, 0},
    {'r', DATA, 8, 0}, {'r', DATA, 8, 0}, {'r', DATA, 8, 0},
    {'r', DATA, 8, 0x220008000000},
    {'r', DATA, 4, 0x2f74706f},                         /* opt/ */
    SELECT(FW_CFG_FILE_FIRST),
    {'r', DATA, 1, '0'},
    {'r', DATA, 2, 0x3231},
    {'r', DATA + 3, 1, '3'},
    {'r', DATA, 8, 0x393837363534},
    {'w', DATA, 1, 'x'},
    {'r', DMA, 8, 0x4746432055 << 24 | 0x4d4551},       /* "QEMU CFG" */
    {'r', DMA, 4, 0x554d4551},
    {'r', DMA + 4, 4, 0x47464320},
    {'F', DMA + 4, 2},
    {'F', DMA, 1},
    {'f', CONTROL, 2},
    {'F', CONTROL, 1},
    SELECT(FW_CFG_NB_CPUS),
    {'R'},
    {'r', DATA, 4, 0x554d4551},
};

static void test_registers(void)
{
    HW_SCRIPT("fw_cfg_mem", NULL, setup, steps);
}

/* The descriptor is at the start of RAM, data at offset 64; returns control afterwards. */
static uint32_t run_dma(struct hw_test *t, uint32_t control, uint32_t length, uint64_t address)
{
    uint32_t words[4] = {
        GUINT32_TO_BE(control),
        GUINT32_TO_BE(length),
        GUINT32_TO_BE((uint32_t)(address >> 32)),
        GUINT32_TO_BE((uint32_t)address),
    };

    memcpy(hw_test_ram(t), words, sizeof(words));
    hw_write(t, DMA, 8, GUINT64_SWAP_LE_BE((uint64_t)HW_TEST_RAM));
    memcpy(words, hw_test_ram(t), 4);
    return GUINT32_FROM_BE(words[0]);
}

static void test_dma(void)
{
    uint64_t data = (uint64_t)HW_TEST_RAM + 64;
    struct hw_test t;
    uint8_t *ram;

    hw_test_init(&t, "fw_cfg_mem", NULL, setup);
    ram = hw_test_ram(&t);
    memset(ram, 0xee, 256);
    g_assert_cmpuint(run_dma(&t, 0x20 << 16 | 8 | 2, 12, data), ==, 0);
    g_assert_cmpmem(ram + 64, 13, "0123456789\0\0\xee", 13);
    /* Skips, and goes on from there. */
    g_assert_cmpuint(run_dma(&t, 0x20 << 16 | 8 | 4, 3, 0), ==, 0);
    g_assert_cmpuint(run_dma(&t, 2, 2, data), ==, 0);
    g_assert_cmpmem(ram + 64, 2, "34", 2);
    g_assert_cmpuint(hw_read(&t, DATA, 1), ==, '5');
    /* Of an item that isn't there: zeroes. */
    g_assert_cmpuint(run_dma(&t, 0x7777u << 16 | 8 | 2, 4, data), ==, 0);
    g_assert_cmpmem(ram + 64, 4, "\0\0\0\0", 4);
    /* Nothing, in the two halves of the register. */
    hw_write(&t, DMA, 4, 0);
    memset(ram, 0, 16);
    ram[0] = 0x20 >> 8;
    ram[3] = 2;
    hw_write(&t, DMA + 4, 4, GUINT32_SWAP_LE_BE(HW_TEST_RAM));
    g_assert_cmpuint(ram[3], ==, 0);

    /* Writing: only what may be, only within its size. */
    memcpy(ram + 64, "abcdefgh", 8);
    writes = 0;
    g_assert_cmpuint(run_dma(&t, 0x22 << 16 | 8 | 16, 4, data), ==, 0);
    g_assert_cmpuint(run_dma(&t, 16, 4, data), ==, 0);
    g_assert_cmpmem(writable, 8, "abcdabcd", 8);
    g_assert_cmpuint(writes, ==, 2);
    g_assert_cmpuint(run_dma(&t, 16, 1, data), ==, 1);
    g_assert_cmpuint(run_dma(&t, 0x20 << 16 | 8 | 16, 1, data), ==, 1);
    g_assert_cmpuint(run_dma(&t, 0x7777u << 16 | 8 | 16, 1, data), ==, 1);
    g_assert_cmpuint(writes, ==, 2);

    /* Where no memory is, and its own registers. */
    g_assert_cmpuint(run_dma(&t, 0x20 << 16 | 8 | 2, 10, 0x7000000000000000), ==, 1);
    g_assert_cmpuint(run_dma(&t, 0x20 << 16 | 8 | 2, 0xffffffff, data), ==, 1);
    g_assert_cmpuint(run_dma(&t, 0x20 << 16 | 8 | 2, 10, 0), ==, 1);
    hw_write(&t, DMA, 8, 0x77);
    hw_write(&t, DMA, 8, 0);
    hw_test_clear(&t);
}

static void test_files(void)
{
    g_autoptr(GBytes) bytes = g_bytes_new("x", 1);
    g_autofree char *longest = g_strnfill(55, 'n'), *longer = g_strnfill(56, 'n');
    struct hw_test t;
    GError *error = NULL;

    hw_test_init(&t, "fw_cfg_mem", "{\"x-file-slots\": 16}", NULL);
    g_assert_false(fw_cfg_add_file(t.dev, longer, bytes, &error));
    assert_error_matches(error, "fw_cfg: 'nnn*' can't be a file*");
    g_clear_error(&error);
    g_assert_false(fw_cfg_add_file(t.dev, "", bytes, &error));
    g_clear_error(&error);
    g_assert_true(fw_cfg_add_file(t.dev, longest, bytes, &error));
    g_assert_false(fw_cfg_add_file(t.dev, longest, bytes, &error));
    assert_error_matches(error, "fw_cfg: there is a file 'nnn*' already");
    g_clear_error(&error);
    for (unsigned i = 0; i < 15; i++) {
        g_autofree char *name = g_strdup_printf("opt/%u", i);

        g_assert_true(fw_cfg_add_file(t.dev, name, bytes, &error));
    }
    g_assert_false(fw_cfg_add_file(t.dev, "opt/more", bytes, &error));
    assert_error_matches(error, "*no room for 'opt/more'*16 files already");
    g_clear_error(&error);
    hw_test_clear(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hw/fw_cfg/registers", test_registers);
    g_test_add_func("/hw/fw_cfg/dma", test_dma);
    g_test_add_func("/hw/fw_cfg/files", test_files);
    return g_test_run();
}
