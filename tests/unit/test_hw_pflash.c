/*
 * hw/block/pflash_cfi01.c: a bank of two 16-bit chips, as virt has it, and a single one.
 */
#include <string.h>
#include <unistd.h>

#include "block/block.h"
#include "hw/block/pflash_cfi01.h"
#include "hw_test.h"

enum { SECTOR = 0x40000 };

#define FLASH FLASH_WITH("")
#define FLASH_WITH(more)                                                                           \
    "{\"name\": \"flash\", \"num-blocks\": 4, \"sector-length\": 262144, \"width\": 4,"            \
    " \"device-width\": 2, \"id0\": 137, \"id1\": 24" more "}"

static const struct hw_step steps[] = {
    {'r', 0, 4, 0},
    {'w', 0, 4, 0x00200020},            /* erase, and what only looks like it */
    {'w', 0, 4, 0x00ff00ff},
    {'r', 0, 4, 0x00b000b0},            /* wrong sequence */
    {'w', 0, 4, 0x00500050},
    {'r', 0, 4, 0},
    {'w', SECTOR + 16, 4, 0x00200020},
    {'w', SECTOR + 16, 4, 0x00d000d0},
    {'r', 0, 4, 0x00800080},            /* status */
    {'r', 2, 2, 0x0080},
    {'r', 3, 1, 0},
    {'w', 0, 4, 0x00ff00ff},
    {'r', SECTOR, 8, UINT64_MAX},
    {'r', 2 * SECTOR - 8, 8, UINT64_MAX},
    {'r', 2 * SECTOR, 4, 0},
    {'r', SECTOR - 4, 4, 0},
    {'w', SECTOR, 4, 0x00400040},       /* program */
    {'w', SECTOR, 4, 0x12345678},
    {'r', SECTOR, 4, 0x00800080},
    {'w', 0, 4, 0x00ff00ff},
    {'r', SECTOR, 4, 0x12345678},
    {'w', SECTOR, 4, 0x00100010},       /* only ones become zeroes */
    {'w', SECTOR, 4, 0x0000ffff},
    {'w', 0, 4, 0xff},
    {'r', SECTOR, 4, 0x00005678},
    /* The query structure. */
    {'w', 0x55 * 4, 4, 0x00980098},
    {'r', 0x10 * 4, 4, 0x00510051},
    {'r', 0x11 * 4, 4, 0x00520052},
    {'r', 0x12 * 4, 2, 0x0059},
    {'r', 0x27 * 4, 4, 0x00130013},     /* 512 KiB each */
    {'r', 0x2a * 4, 4, 0x000b000b},
    {'r', 0x2d * 4, 4, 0x00030003},
    {'r', 0x30 * 4, 4, 0x00020002},     /* 128 KiB sectors */
    {'r', 0x31 * 4, 4, 0x00500050},
    {'r', 0x1000, 4, 0},
    {'w', 0, 4, 0x00900090},
    {'r', 0, 4, 0x00890089},
    {'r', 4, 4, 0x00180018},
    {'r', 8, 4, 0},
    {'w', 0, 4, 0x00f000f0},
    {'r', SECTOR, 4, 0x00005678},
    /* Through the buffer: three words. */
    {'w', SECTOR + 8, 4, 0x00e800e8},
    {'r', SECTOR + 8, 4, 0x00800080},
    {'w', SECTOR + 8, 4, 0x00020002},
    {'w', SECTOR + 8, 4, 0x11111111},
    {'w', SECTOR + 12, 4, 0x22222222},
    {'w', SECTOR + 16, 4, 0x33333333},
    {'w', SECTOR + 8, 4, 0x00d000d0},
    {'r', SECTOR, 4, 0x00800080},
    {'w', 0, 4, 0x00ff00ff},
    {'r', SECTOR + 8, 8, 0x2222222211111111},
    {'r', SECTOR + 16, 8, 0xffffffff33333333},
    /* Too many words; a word outside; no confirmation. */
    {'w', SECTOR, 4, 0x00e800e8},
    {'w', SECTOR, 4, 0x0fff0fff},
    {'r', SECTOR, 4, 0x00b000b0},
    {'w', 0, 4, 0x00500050},
    {'w', SECTOR, 4, 0x00e800e8},
    {'w', SECTOR, 4, 0x00010001},
    {'w', SECTOR + 0x100, 4, 0},
    {'w', SECTOR + 0xfc, 4, 0},
    {'r', SECTOR, 4, 0x00b000b0},
    {'w', 0, 4, 0x00500050},
    {'w', SECTOR, 4, 0x00e800e8},
    {'w', SECTOR, 4, 0},
    {'w', SECTOR + 0x100, 4, 0},
    {'w', SECTOR, 4, 0x00ff00ff},
    {'r', SECTOR, 4, 0x00b000b0},
    {'w', 0, 4, 0x00500050},
    {'r', SECTOR + 0x100, 4, 0xffffffff},
    /* Locks; an unknown command; a reset in the middle. */
    {'w', SECTOR, 4, 0x00600060},
    {'w', SECTOR, 4, 0x00d000d0},
    {'r', SECTOR, 4, 0x00800080},
    {'w', SECTOR, 4, 0x00770077},
    {'r', SECTOR, 4, 0x00005678},
    {'w', SECTOR, 4, 0x00980098},
    {'R'},
    {'r', SECTOR, 4, 0x00005678},
};

/* The memory of a new device is new: a machine moves it by itself. */
static uint8_t *contents;

static void keep_contents(struct hw_test *t)
{
    struct ram_block *memory = pflash_cfi01_memory(t->dev);

    memcpy(ram_block_host(memory), contents, ram_block_size(memory));
}

static void test_bank(void)
{
    for (unsigned replace = 0; replace < 2; replace++) {
        struct hw_test t;

        contents = g_malloc0(4 * SECTOR);
        hw_test_init(&t, "cfi.pflash01", FLASH, keep_contents);
        for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
            hw_run_step(&t, &steps[i], i);
            if (replace) {
                memcpy(contents, ram_block_host(pflash_cfi01_memory(t.dev)), 4 * SECTOR);
                hw_replace(&t);
            }
        }
        hw_test_clear(&t);
        g_clear_pointer(&contents, g_free);
    }
}

static const struct hw_step read_only_steps[] = {
    {'w', 0, 1, 0x40},
    {'w', 0, 1, 0},
    {'r', 0, 1, 0x92},
    {'w', 0, 1, 0x50},
    {'w', 0, 1, 0x20},
    {'w', 0, 1, 0xd0},
    {'r', 0, 1, 0xa2},
    {'w', 0, 1, 0x98},
    {'r', 0x10, 1, 'Q'},
    {'r', 0x10, 4, 0x01595251},
};

static void test_read_only(void)
{
    HW_SCRIPT("cfi.pflash01", "{\"name\": \"flash\", \"num-blocks\": 1, \"sector-length\": 65536,"
              " \"width\": 1, \"read-only\": true}", NULL, read_only_steps);
}

static void test_bad_configurations(void)
{
    static const char *const cases[] = {
        "{}",
        "{\"name\": \"f\"}",
        "{\"name\": \"f\", \"num-blocks\": 3, \"sector-length\": 65536, \"width\": 4}",
        "{\"name\": \"f\", \"num-blocks\": 4, \"sector-length\": 65537, \"width\": 4}",
        "{\"name\": \"f\", \"num-blocks\": 4, \"sector-length\": 65536, \"width\": 3}",
        "{\"name\": \"f\", \"num-blocks\": 4, \"sector-length\": 65536, \"width\": 2,"
        " \"device-width\": 4}",
        "{\"name\": \"f\", \"num-blocks\": 65536, \"sector-length\": 9223372036854775808,"
        " \"width\": 1}",
    };
    struct hw_test t;

    hw_test_init(&t, NULL, NULL, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(json_object) properties = json_parse(cases[i], NULL);
        g_autoptr(GError) error = NULL;

        g_assert_null(mmio_device_new(&t.hw, "cfi.pflash01", t.control.root, "f", properties,
                                      &error));
        assert_error_matches(error, "cfi.pflash01: name must be given*");
    }
    hw_test_clear(&t);
}

/* ---- With a drive ---- */

struct drive_test {
    struct hw_test t;
    char *path;
    bool read_only;
    struct block_node *node;
};

static void open_node(void *opaque)
{
    struct drive_test *d = opaque;
    struct qapi_blockdev_options options;
    GError *error = NULL;
    g_autofree char *text = g_strdup_printf(
        "{\"driver\": \"file\", \"node-name\": \"d0\", \"filename\": \"%s\", \"read-only\": %s}",
        d->path, d->read_only ? "true" : "false");
    g_autoptr(json_object) json = json_parse(text, &error);

    g_assert_no_error(error);
    g_assert_true(qapi_from_json(&qapi_type_blockdev_options, json, &options, &error));
    d->node = co_block_open(d->t.hw.blocks, &options, 0, &error);
    g_assert_no_error(error);
    qapi_clear(&qapi_type_blockdev_options, &options);
}

static void close_node(void *opaque)
{
    struct drive_test *d = opaque;

    co_block_node_unref(d->node);
    co_block_graph_free(d->t.hw.blocks);
}

/* A file of size bytes that are zeroes, and a node of it: no device yet. */
static void drive_test_init(struct drive_test *d, long size, bool read_only)
{
    int fd;

    *d = (struct drive_test){.read_only = read_only};
    fd = g_file_open_tmp("pflash-XXXXXX", &d->path, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    close(fd);
    hw_test_init(&d->t, NULL, NULL, NULL);
    d->t.hw.blocks = block_graph_new(d->t.control.root);
    block_run(d->t.control.loop, open_node, d);
    d->t.type = "cfi.pflash01";
    d->t.properties = FLASH_WITH(", \"drive\": \"d0\"");
}

static void drive_test_clear(struct drive_test *d)
{
    if (d->t.dev) {
        object_remove(&d->t.dev->device.object);
        d->t.dev = NULL;
    }
    block_run(d->t.control.loop, close_node, d);
    hw_test_clear(&d->t);
    unlink(d->path);
    g_free(d->path);
}

/* What was written is in the file once the device is gone, and in the next one. */
static void test_drive(void)
{
    for (unsigned replace = 0; replace < 2; replace++) {
        struct drive_test d;
        g_autofree uint8_t *memory = NULL;
        g_autofree char *file = NULL;
        gsize size;

        drive_test_init(&d, 4 * SECTOR, false);
        hw_test_make_device(&d.t);
        for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
            hw_run_step(&d.t, &steps[i], i);
            if (replace) {
                hw_replace(&d.t);
            }
        }
        memory = g_memdup2(ram_block_host(pflash_cfi01_memory(d.t.dev)), 4 * SECTOR);
        object_remove(&d.t.dev->device.object);
        d.t.dev = NULL;
        g_assert_true(g_file_get_contents(d.path, &file, &size, NULL));
        g_assert_cmpmem(file, size, memory, 4 * SECTOR);
        drive_test_clear(&d);
    }
}

static void test_read_only_drive(void)
{
    static const struct hw_step some[] = {
        {'w', 0, 4, 0x00200020},
        {'w', 0, 4, 0x00d000d0},
        {'r', 0, 4, 0x00a200a2},
        {'w', 0, 4, 0x00500050},
        {'r', 0, 4, 0},
    };
    struct drive_test d;

    drive_test_init(&d, 4 * SECTOR, true);
    hw_test_make_device(&d.t);
    for (size_t i = 0; i < G_N_ELEMENTS(some); i++) {
        hw_run_step(&d.t, &some[i], i);
    }
    drive_test_clear(&d);
}

/* More than the file takes in time makes the device busy, and nothing is lost for who waits. */
static void test_busy(void)
{
    struct drive_test d;
    g_autofree char *file = NULL;
    gsize size;

    drive_test_init(&d, 4 * SECTOR, false);
    hw_test_make_device(&d.t);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t at = i % 4 * SECTOR;

        hw_write(&d.t, at, 4, 0x00200020);
        hw_write(&d.t, at, 4, 0x00d000d0);
        while (!(hw_read(&d.t, at, 4) & 0x80)) {
            g_usleep(100);
        }
        g_assert_cmphex(hw_read(&d.t, at, 4), ==, 0x00800080);
        hw_write(&d.t, at, 4, 0x00400040);
        hw_write(&d.t, at, 4, i);
    }
    object_remove(&d.t.dev->device.object);
    d.t.dev = NULL;
    g_assert_true(g_file_get_contents(d.path, &file, &size, NULL));
    for (unsigned i = 0; i < 4; i++) {
        uint32_t word;

        memcpy(&word, file + (size_t)i * SECTOR, sizeof(word));
        g_assert_cmpuint(GUINT32_FROM_LE(word), ==, 196 + i);
    }
    drive_test_clear(&d);
}

/* What a saved machine had in its flash is on its drive once it runs again, and not before. */
static void test_restored(void)
{
    g_autofree uint8_t *memory = NULL, *zeroes = g_malloc0(4 * SECTOR);
    g_autofree char *before = NULL, *after = NULL;
    struct clocks *manual, *clocks = clocks_new();
    struct drive_test d;
    gsize size;

    drive_test_init(&d, 4 * SECTOR, false);
    manual = d.t.hw.clocks;
    d.t.hw.clocks = clocks;     /* one that can be started */
    hw_test_make_device(&d.t);
    memory = g_malloc(4 * SECTOR);
    memset(memory, 0xff, SECTOR);
    memset(memory + SECTOR, 0, 3 * SECTOR);
    contents = memory;
    d.t.setup = keep_contents;
    hw_replace(&d.t);
    g_assert_true(g_file_get_contents(d.path, &before, &size, NULL));
    g_assert_cmpmem(before, size, zeroes, 4 * SECTOR);
    g_assert_cmphex(hw_read(&d.t, 0, 4), ==, 0xffffffff);
    clocks_start_virtual(clocks);
    clocks_stop_virtual(clocks);
    g_assert_true(g_file_get_contents(d.path, &after, &size, NULL));
    g_assert_cmpmem(after, size, memory, 4 * SECTOR);
    contents = NULL;
    object_remove(&d.t.dev->device.object);
    d.t.dev = NULL;
    d.t.hw.clocks = manual;
    clocks_unref(clocks);
    drive_test_clear(&d);
}

static void test_wrong_size(void)
{
    g_autoptr(json_object) properties = NULL;
    g_autoptr(GError) error = NULL;
    struct drive_test d;

    drive_test_init(&d, SECTOR, false);
    properties = json_parse(d.t.properties, NULL);
    g_assert_null(mmio_device_new(&d.t.hw, d.t.type, d.t.control.root, "f", properties, &error));
    assert_error_matches(error, "*requires 1048576 bytes,  block backend provides 262144 bytes");
    drive_test_clear(&d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hw/pflash/bank", test_bank);
    g_test_add_func("/hw/pflash/read-only", test_read_only);
    g_test_add_func("/hw/pflash/bad-configurations", test_bad_configurations);
    g_test_add_func("/hw/pflash/drive", test_drive);
    g_test_add_func("/hw/pflash/drive/read-only", test_read_only_drive);
    g_test_add_func("/hw/pflash/drive/busy", test_busy);
    g_test_add_func("/hw/pflash/drive/restored", test_restored);
    g_test_add_func("/hw/pflash/drive/wrong-size", test_wrong_size);
    return g_test_run();
}
