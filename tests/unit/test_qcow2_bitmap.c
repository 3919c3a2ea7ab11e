/*
 * Dirty bitmaps, and persistent ones in qcow2 images: against a model, over closing and opening,
 * and with QEMU's tools.
 */
#include "block/dirty_bitmap.h"
#include "qcow2_test.h"

#include <stdlib.h>

enum { SIZE = 8 << 20, GRANULARITY = 4096, N = SIZE / GRANULARITY };

struct test {
    struct block_test *t;
    char *dir, *path;
    struct qcow2_test_disk disk;
    GRand *random;
    bool model[N];
    uint8_t *buffer;
};

static void co_write_some(struct test *test, bool recorded)
{
    unsigned i;

    for (i = 0; i < 30; i++) {
        uint64_t offset = g_rand_int_range(test->random, 0, SIZE),
                 bytes = g_rand_int_range(test->random, 1, 60000), g;

        bytes = MIN(bytes, SIZE - offset);
        switch (g_rand_int_range(test->random, 0, 4)) {
        case 0:
            g_assert_cmpint(co_block_write_zeroes(test->disk.user, offset, bytes, 0), ==, 0);
            break;
        default:
            g_assert_cmpint(co_block_write(test->disk.user, offset, bytes,
                                           BLOCK_BUFFER(test->buffer, bytes), 0),
                            ==, 0);
        }
        for (g = offset / GRANULARITY; recorded && g <= (offset + bytes - 1) / GRANULARITY; g++) {
            test->model[g] = true;
        }
    }
}

static void compare(struct test *test, const char *name)
{
    GError *error = NULL;
    const struct dirty_bitmap *b = dirty_bitmap_find(test->disk.node, name, &error);
    uint64_t count = 0;
    unsigned i;

    g_assert_no_error(error);
    g_assert_false(b->inconsistent);
    g_assert_true(b->persistent);
    for (i = 0; i < N; i++) {
        g_assert_cmpint(dirty_bitmap_get(b, i * (uint64_t)GRANULARITY), ==, test->model[i]);
        count += test->model[i];
    }
    g_assert_cmpuint(dirty_bitmap_count(b), ==, count * GRANULARITY);
}

static void ask_qemu(struct test *test, const char *flags)
{
    g_autofree char *out = NULL;

    if (qcow2_test_has_qemu()) {
        g_assert_cmpint(qcow2_test_shell(test->dir, NULL, "qemu-img check image.qcow2"), ==, 0);
        g_assert_cmpint(qcow2_test_shell(test->dir, &out,
                                         "qemu-img info --output=json image.qcow2 | tr -d ' \\n'"),
                        ==, 0);
        g_assert_nonnull(strstr(out, flags));
    }
}

static void co_keep(void *opaque)
{
    struct test *test = opaque;
    GError *error = NULL;
    unsigned round;

    co_qcow2_test_open_disk(&test->disk, test->t->graph, test->path);
    co_dirty_bitmap_add(test->disk.node, "b", GRANULARITY, true, false, &error);
    g_assert_no_error(error);
    g_assert_false(co_dirty_bitmap_add(test->disk.node, "b", GRANULARITY, true, false, NULL));
    for (round = 0; round < 4; round++) {
        co_write_some(test, true);
        compare(test, "b");
        co_qcow2_test_close_disk(&test->disk);
        ask_qemu(test, "\"flags\":[\"auto\"],\"name\":\"b\",\"granularity\":4096");
        co_qcow2_test_open_disk(&test->disk, test->t->graph, test->path);
        compare(test, "b");
    }
    co_dirty_bitmap_enable(test->disk.node, "b", false, &error);
    g_assert_no_error(error);
    co_write_some(test, false);
    co_qcow2_test_close_disk(&test->disk);
    ask_qemu(test, "\"flags\":[],\"name\":\"b\",\"granularity\":4096");
    co_qcow2_test_open_disk(&test->disk, test->t->graph, test->path);
    compare(test, "b");
    co_dirty_bitmap_clear(test->disk.node, "b", &error);
    g_assert_no_error(error);
    memset(test->model, 0, sizeof(test->model));
    co_qcow2_test_close_disk(&test->disk);
    co_qcow2_test_open_disk(&test->disk, test->t->graph, test->path);
    compare(test, "b");
    co_dirty_bitmap_remove(test->disk.node, "b", &error);
    g_assert_no_error(error);
    co_qcow2_test_close_disk(&test->disk);
    ask_qemu(test, "qcow2");
    co_qcow2_test_open_disk(&test->disk, test->t->graph, test->path);
    g_assert_null(dirty_bitmap_find(test->disk.node, "b", NULL));
    co_qcow2_test_close_disk(&test->disk);
}

static void co_merge(void *opaque)
{
    struct test *test = opaque;
    GError *error = NULL;

    co_qcow2_test_open_disk(&test->disk, test->t->graph, test->path);
    co_dirty_bitmap_add(test->disk.node, "a", GRANULARITY, false, false, &error);
    g_assert_no_error(error);
    co_write_some(test, true);
    co_dirty_bitmap_add(test->disk.node, "b", GRANULARITY, true, true, &error);
    g_assert_no_error(error);
    co_dirty_bitmap_merge(dirty_bitmap_find(test->disk.node, "b", NULL),
                          dirty_bitmap_find(test->disk.node, "a", NULL), &error);
    g_assert_no_error(error);
    compare(test, "b");
    co_qcow2_test_close_disk(&test->disk);
    co_qcow2_test_open_disk(&test->disk, test->t->graph, test->path);
    compare(test, "b");
    g_assert_null(dirty_bitmap_find(test->disk.node, "a", NULL));
    co_qcow2_test_close_disk(&test->disk);
}

/* What QEMU recorded. */
static void co_load(void *opaque)
{
    struct test *test = opaque;
    unsigned i;

    g_assert_cmpint(
        qcow2_test_shell(
            test->dir, NULL,
            "qemu-img bitmap --add -g 4096 image.qcow2 q &&"
            "qemu-io -c 'write 1M 64k' -c 'write 5000 10' -c 'write -z 7M 1M' image.qcow2"),
        ==, 0);
    for (i = 0; i < N; i++) {
        test->model[i] = (i >= 256 && i < 272) || i == 1 || i >= 1792;
    }
    co_qcow2_test_open_disk(&test->disk, test->t->graph, test->path);
    compare(test, "q");
    co_write_some(test, true);
    co_qcow2_test_close_disk(&test->disk);
    ask_qemu(test, "\"name\":\"q\"");
    co_qcow2_test_open_disk(&test->disk, test->t->graph, test->path);
    compare(test, "q");
    co_qcow2_test_close_disk(&test->disk);
    /* Left by a kill of QEMU, it is void. */
    g_assert_cmpint(qcow2_test_shell(test->dir, NULL,
                                     "qemu-io -c 'write 0 64k' -c 'sigraise 9' image.qcow2"),
                    !=, 0);
    co_qcow2_test_open_disk(&test->disk, test->t->graph, test->path);
    g_assert_true(dirty_bitmap_find(test->disk.node, "q", NULL)->inconsistent);
    co_qcow2_test_close_disk(&test->disk);
}

static void run(event_fn *fn, const char *options)
{
    struct block_test t;
    struct test test = {.t = &t,
                        .dir = qcow2_test_dir(false),
                        .random = g_rand_new_with_seed(3),
                        .buffer = g_malloc(65536)};

    if (!qcow2_test_has_qemu()) {
        g_test_skip("QEMU isn't there to make images");
    } else {
        memset(test.buffer, 0x5a, 65536);
        test.path = g_build_filename(test.dir, "image.qcow2", NULL);
        g_assert_cmpint(qcow2_test_shell(test.dir, NULL,
                                         "qemu-img create -f qcow2 %s image.qcow2 8M", options),
                        ==, 0);
        block_test_init(&t);
        block_run(t.context.loop, fn, &test);
        block_test_clear(&t);
    }
    g_free(test.path);
    g_free(test.buffer);
    g_rand_free(test.random);
    qcow2_test_remove(test.dir);
}

static void test_keep(void)
{
    run(co_keep, "");
    run(co_keep, "-o cluster_size=512");
    run(co_keep, "-o lazy_refcounts=on,cluster_size=4k");
}

static void test_merge(void)
{
    run(co_merge, "");
}

static void test_load(void)
{
    run(co_load, "");
    run(co_load, "-o cluster_size=512");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/bitmap/keep", test_keep);
    g_test_add_func("/qcow2/bitmap/merge", test_merge);
    g_test_add_func("/qcow2/bitmap/load", test_load);
    return g_test_run();
}
