/*
 * Many requests at once, of several threads, on one qcow2 image: each coroutine has slots of its
 * own, which lie between those of the others in the same clusters, and knows what they hold. Also
 * what is preallocated and compressed.
 */
#include "qcow2_test.h"

enum {
    SLOT = 4096,
    N_COROUTINES = 24,
    N_LOOPS = 3,
    SLOTS_EACH = 40,
    SIZE = SLOT * N_COROUTINES * SLOTS_EACH,
    STEPS = 60
};

struct layout {
    const char *name, *options;
};

struct test {
    struct block_test *t;
    const struct layout *layout;
    char *dir, *path;
    struct qcow2_test_disk disk;
    uint8_t *model;
    struct event_loop *loops[N_LOOPS]; /* the main one, and of threads */
    _Atomic unsigned running;
};

struct worker {
    struct test *test;
    unsigned number;
    GRand *random;
    uint8_t buffer[SLOT];
};

static void co_create(struct test *test)
{
    json_object *json = json_tokener_parse(test->layout->options), *file = json_object_new_object();
    struct qapi_blockdev_create_options options;
    GError *error = NULL;

    g_file_set_contents(test->path, "", 0, &error);
    g_assert_no_error(error);
    json_object_object_add(file, "driver", json_object_new_string("file"));
    json_object_object_add(file, "filename", json_object_new_string(test->path));
    json_object_object_add(json, "driver", json_object_new_string("qcow2"));
    json_object_object_add(json, "size", json_object_new_int64(SIZE));
    json_object_object_add(json, "file", file);
    qapi_from_json(&qapi_type_blockdev_create_options, json, &options, &error);
    g_assert_no_error(error);
    block_driver_find("qcow2")->co_create(test->t->graph, &options, &error);
    g_assert_no_error(error);
    qapi_clear(&qapi_type_blockdev_create_options, &options);
    json_object_put(json);
}

static void co_step(struct worker *w)
{
    struct test *test = w->test;
    uint64_t slot = (uint64_t)g_rand_int_range(w->random, 0, SLOTS_EACH) * N_COROUTINES + w->number;
    uint64_t at = g_rand_int_range(w->random, 0, SLOT - 1),
             bytes = g_rand_int_range(w->random, 1, SLOT - at + 1);
    uint64_t offset = slot * SLOT + at;

    switch (g_rand_int_range(w->random, 0, 10)) {
    case 0:
        g_assert_cmpint(co_block_write_zeroes(test->disk.user, offset, bytes, BLOCK_MAY_UNMAP), ==,
                        0);
        memset(test->model + offset, 0, bytes);
        break;
    case 1: g_assert_cmpint(co_block_flush(test->disk.user), ==, 0); break;
    case 2:
    case 3:
    case 4:
        g_assert_cmpint(co_block_read(test->disk.user, slot * SLOT, SLOT,
                                      BLOCK_BUFFER(w->buffer, SLOT), 0),
                        ==, 0);
        g_assert_cmpmem(w->buffer, SLOT, test->model + slot * SLOT, SLOT);
        break;
    default:
        memset(w->buffer, g_rand_int(w->random), bytes);
        g_assert_cmpint(co_block_write(test->disk.user, offset, bytes,
                                       BLOCK_BUFFER(w->buffer, bytes),
                                       g_rand_int_range(w->random, 0, 8) ? 0 : BLOCK_FUA),
                        ==, 0);
        memcpy(test->model + offset, w->buffer, bytes);
    }
}

static void co_work(void *opaque)
{
    struct worker *w = opaque;
    unsigned i;

    for (i = 0; i < STEPS; i++) {
        co_step(w);
    }
    g_rand_free(w->random);
    w->test->running--;
    g_free(w);
}

static void start(void *opaque)
{
    coroutine_start(event_loop_current(), co_work, opaque);
}

static void *run_loop(void *opaque)
{
    event_loop_run(opaque);
    return NULL;
}

static void co_run_all(struct test *test)
{
    unsigned i;

    test->running = N_COROUTINES;
    for (i = 0; i < N_COROUTINES; i++) {
        struct worker *w = g_new0(struct worker, 1);

        *w = (struct worker){.test = test, .number = i, .random = g_rand_new_with_seed(i)};
        event_loop_post(test->loops[i % N_LOOPS], start, w);
    }
    while (test->running) {
        co_sleep(1000000);
    }
}

/* A part of the image is compressed, in which later writes are then. */
static void co_write_compressed(struct test *test, uint64_t cluster)
{
    uint64_t offset, i;

    for (offset = 0; offset + cluster <= SIZE / 4; offset += cluster) {
        for (i = 0; i < cluster; i++) {
            test->model[offset + i] = i >> 5 ^ offset >> 12;
        }
        g_assert_cmpint(co_block_write(test->disk.user, offset, cluster,
                                       BLOCK_BUFFER(test->model + offset, cluster),
                                       BLOCK_COMPRESSED),
                        ==, 0);
    }
}

static void co_test(void *opaque)
{
    struct test *test = opaque;
    g_autofree uint8_t *all = g_malloc(SIZE);

    co_create(test);
    co_qcow2_test_open_disk(&test->disk, test->t->graph, test->path);
    if (strstr(test->layout->name, "compressed")) {
        co_write_compressed(test, test->disk.node->limits.discard_align);
    }
    co_run_all(test);
    g_assert_cmpint(co_block_read(test->disk.user, 0, SIZE, BLOCK_BUFFER(all, SIZE), 0), ==, 0);
    g_assert_true(memcmp(all, test->model, SIZE) == 0);
    co_qcow2_test_close_disk(&test->disk);
    co_qcow2_test_open_disk(&test->disk, test->t->graph, test->path);
    g_assert_cmpint(co_block_read(test->disk.user, 0, SIZE, BLOCK_BUFFER(all, SIZE), 0), ==, 0);
    g_assert_true(memcmp(all, test->model, SIZE) == 0);
    co_qcow2_test_close_disk(&test->disk);
    if (qcow2_test_has_qemu()) {
        GError *error = NULL;
        g_autofree char *raw = g_build_filename(test->dir, "expected.raw", NULL);

        g_file_set_contents(raw, (char *)test->model, SIZE, &error);
        g_assert_no_error(error);
        g_assert_cmpint(qcow2_test_shell(test->dir, NULL, "qemu-img check image.qcow2"), ==, 0);
        g_assert_cmpint(
            qcow2_test_shell(test->dir, NULL, "qemu-img compare image.qcow2 expected.raw"), ==, 0);
    }
}

static void test_parallel(gconstpointer data)
{
    struct block_test t;
    struct test test = {
        .t = &t, .layout = data, .dir = qcow2_test_dir(true), .model = g_malloc0(SIZE)};
    GThread *threads[N_LOOPS];
    unsigned i;

    test.path = g_build_filename(test.dir, "image.qcow2", NULL);
    block_test_init(&t);
    test.loops[0] = t.context.loop;
    for (i = 1; i < N_LOOPS; i++) {
        test.loops[i] = event_loop_new("test", NULL);
        threads[i] = g_thread_new("test", run_loop, test.loops[i]);
    }
    block_run(t.context.loop, co_test, &test);
    for (i = 1; i < N_LOOPS; i++) {
        event_loop_stop(test.loops[i]);
        g_thread_join(threads[i]);
        event_loop_unref(test.loops[i]);
    }
    block_test_clear(&t);
    g_free(test.path);
    g_free(test.model);
    qcow2_test_remove(test.dir);
}

static const struct layout layouts[] = {
    {"default", "{}"},
    {"cluster-512", "{'cluster-size': 512}"},
    {"cluster-2M", "{'cluster-size': 2097152}"},
    {"extended-l2", "{'extended-l2': true}"},
    {"lazy", "{'lazy-refcounts': true, 'cluster-size': 16384}"},
    {"compressed", "{'cluster-size': 16384}"},
    {"compressed-zstd", "{'cluster-size': 65536, 'compression-type': 'zstd'}"},
    {"preallocated-metadata", "{'preallocation': 'metadata'}"},
    {"preallocated-falloc", "{'preallocation': 'falloc', 'cluster-size': 4096}"},
    {"preallocated-full", "{'preallocation': 'full', 'extended-l2': true}"},
};

int main(int argc, char **argv)
{
    unsigned i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/parallel/%s", layouts[i].name);

        g_test_add_data_func(path, &layouts[i], test_parallel);
    }
    return g_test_run();
}
