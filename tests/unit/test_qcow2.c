/*
 * qcow2 images against a model: random writes, zeroes, discards, flushes, resizes, snapshots and
 * new openings, on images of all layouts; what is read is what was written, and QEMU's tools (if
 * they are there) find no damage and the same contents.
 */
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/driver.h"
#include "util/clock.h"
#include "util/fdset.h"
#include "util/log.h"

enum { MAX_SIZE = 3 << 20 };

struct world {
    struct log *log;
    struct clocks *clocks;
    struct fdsets *fdsets;
    struct event_loop *loop;
    struct object_context context;
    struct object *root;
    struct block_graph *graph;
    char *dir;
};

static void world_init(struct world *w)
{
    GError *error = NULL;

    w->log = log_new("test");
    w->clocks = clocks_new();
    w->fdsets = fdsets_new();
    w->loop = event_loop_new("main", &error);
    g_assert_no_error(error);
    w->context = (struct object_context){
        .loop = w->loop, .clocks = w->clocks, .log = w->log, .fdsets = w->fdsets};
    w->root = object_root_new(&w->context);
    w->graph = block_graph_new(w->root);
    /* In memory if that can be: flushes are many. */
    w->dir = g_strdup("/dev/shm/nandu-qcow2-XXXXXX");
    if (!g_mkdtemp(w->dir)) {
        g_free(w->dir);
        w->dir = g_dir_make_tmp("nandu-qcow2-XXXXXX", &error);
        g_assert_no_error(error);
    }
}

static void co_free_graph(void *opaque)
{
    struct world *w = opaque;

    co_block_graph_free(w->graph);
}

static void remove_dir(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        unlink(file);
    }
    rmdir(path);
}

static void world_clear(struct world *w)
{
    block_run(w->loop, co_free_graph, w);
    object_unref(w->root);
    event_loop_unref(w->loop);
    fdsets_free(w->fdsets);
    clocks_unref(w->clocks);
    log_free(w->log);
    remove_dir(w->dir);
    g_free(w->dir);
}

/* ---- One image and what it ought to hold ---- */

struct layout {
    const char *name, *options; /* members of BlockdevCreateOptionsQcow2, JSON */
    bool backing;
};

struct image {
    struct world *w;
    const struct layout *layout;
    GRand *random;
    char *path, *data_path, *base_path;
    struct block_node *node;
    struct block_user *user;
    uint64_t size;
    uint8_t *model, *buffer, *base;
    unsigned operations;
    bool has_snapshot;
    uint64_t snapshot_size;
    uint8_t *snapshot;
};

static json_object *file_ref(const char *path)
{
    json_object *file = json_object_new_object();

    json_object_object_add(file, "driver", json_object_new_string("file"));
    json_object_object_add(file, "filename", json_object_new_string(path));
    return file;
}

static void touch(const char *path)
{
    GError *error = NULL;

    g_file_set_contents(path, "", 0, &error);
    g_assert_no_error(error);
}

static void co_create_image(struct image *im)
{
    json_object *json =
        im->layout->options ? json_tokener_parse(im->layout->options) : json_object_new_object();
    struct qapi_blockdev_create_options options;
    json_object *member;
    GError *error = NULL;

    touch(im->path);
    json_object_object_add(json, "driver", json_object_new_string("qcow2"));
    json_object_object_add(json, "size", json_object_new_int64(im->size));
    json_object_object_add(json, "file", file_ref(im->path));
    if (json_object_object_get_ex(json, "data-file", &member)) {
        touch(im->data_path);
        json_object_object_add(json, "data-file", file_ref(im->data_path));
    }
    if (im->layout->backing) {
        json_object_object_add(json, "backing-file", json_object_new_string(im->base_path));
        json_object_object_add(json, "backing-fmt", json_object_new_string("raw"));
    }
    qapi_from_json(&qapi_type_blockdev_create_options, json, &options, &error);
    g_assert_no_error(error);
    block_driver_find("qcow2")->co_create(im->w->graph, &options, &error);
    g_assert_no_error(error);
    qapi_clear(&qapi_type_blockdev_create_options, &options);
    json_object_put(json);
}

static void co_open_image(struct image *im)
{
    json_object *json = json_object_new_object();
    GError *error = NULL;

    json_object_object_add(json, "driver", json_object_new_string("qcow2"));
    json_object_object_add(json, "discard", json_object_new_string("unmap"));
    json_object_object_add(json, "file", file_ref(im->path));
    /* Small: tables come and go. */
    json_object_object_add(json, "l2-cache-entry-size", json_object_new_int(512));
    json_object_object_add(json, "l2-cache-size", json_object_new_int(4096));
    im->node = co_block_open_loose(im->w->graph, NULL, json, BLOCK_OPEN_PROBE, &error);
    g_assert_no_error(error);
    json_object_put(json);
    block_user_attach(im->user, im->node, BLOCK_PERM_ALL & ~BLOCK_PERM_WRITE_UNCHANGED,
                      BLOCK_PERM_ALL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(block_user_length(im->user), ==, im->size);
}

static void co_close_image(struct image *im)
{
    block_user_detach(im->user);
    co_block_node_unref(im->node);
    im->node = NULL;
}

/* ---- Operations ---- */

static void pick_range(struct image *im, uint64_t *offset, uint64_t *bytes)
{
    static const unsigned units[] = {1, 512, 4096, 65536};
    unsigned unit = units[g_rand_int_range(im->random, 0, G_N_ELEMENTS(units))];
    uint64_t n = im->size / unit;

    *offset = n ? g_rand_int_range(im->random, 0, n) * (uint64_t)unit : 0;
    *bytes = (1 + (uint64_t)g_rand_int_range(im->random, 0, 24)) * unit;
    if (g_rand_int_range(im->random, 0, 8) == 0) {
        *bytes = g_rand_int_range(im->random, 1, 400000);
    }
    *bytes = MIN(*bytes, im->size - *offset);
}

static void co_check_range(struct image *im, uint64_t offset, uint64_t bytes)
{
    uint64_t i;

    memset(im->buffer, 0xee, bytes);
    g_assert_cmpint(co_block_read(im->user, offset, bytes, BLOCK_BUFFER(im->buffer, bytes), 0), ==,
                    0);
    if (memcmp(im->buffer, im->model + offset, bytes)) {
        for (i = 0; im->buffer[i] == im->model[offset + i]; i++) {
        }
        g_error("%s: operation %u: byte %" G_GUINT64_FORMAT " is %#x, not %#x", im->layout->name,
                im->operations, offset + i, im->buffer[i], im->model[offset + i]);
    }
}

static void co_write(struct image *im, uint64_t offset, uint64_t bytes, unsigned flags)
{
    uint64_t i;
    uint32_t seed = g_rand_int(im->random);

    for (i = 0; i < bytes; i++) {
        im->model[offset + i] = seed >> (i & 15) ^ (i >> 8);
    }
    memcpy(im->buffer, im->model + offset, bytes);
    g_assert_cmpint(co_block_write(im->user, offset, bytes, BLOCK_BUFFER(im->buffer, bytes), flags),
                    ==, 0);
}

static void co_zero(struct image *im, uint64_t offset, uint64_t bytes, unsigned flags)
{
    memset(im->model + offset, 0, bytes);
    g_assert_cmpint(co_block_write_zeroes(im->user, offset, bytes, flags), ==, 0);
}

/* What is there afterwards is the image's affair: the model learns it, and holds it to that. */
static void co_discard(struct image *im, uint64_t offset, uint64_t bytes)
{
    g_assert_cmpint(co_block_discard(im->user, offset, bytes), ==, 0);
    g_assert_cmpint(
        co_block_read(im->user, offset, bytes, BLOCK_BUFFER(im->model + offset, bytes), 0), ==, 0);
}

static void co_resize(struct image *im)
{
    uint64_t size = (uint64_t)g_rand_int_range(im->random, 1, MAX_SIZE / 512) * 512;
    GError *error = NULL;

    if (im->has_snapshot) {
        return;
    }
    co_block_truncate(im->user, size, true, QAPI_PREALLOC_MODE_OFF, 0, &error);
    g_assert_no_error(error);
    if (size > im->size) {
        memset(im->model + im->size, 0, size - im->size);
    }
    im->size = size;
}

static void co_snapshot(struct image *im)
{
    const struct block_snapshot_ops *ops = im->node->driver->snapshots;
    struct qapi_snapshot_info info = {.name = (char *)"s"};
    GError *error = NULL;

    if (strstr(im->layout->name, "data-file") || strstr(im->layout->name, "refcount-1")) {
        return;
    }
    if (!im->has_snapshot) {
        ops->co_create(im->node, &info, &error);
        memcpy(im->snapshot, im->model, im->size);
        im->snapshot_size = im->size;
        im->has_snapshot = true;
    } else if (g_rand_boolean(im->random)) {
        ops->co_goto(im->node, "s", &error);
        memcpy(im->model, im->snapshot, im->size);
    } else {
        ops->co_delete(im->node, NULL, "s", &error);
        im->has_snapshot = false;
    }
    g_assert_no_error(error);
}

static void co_operation(struct image *im)
{
    uint64_t offset, bytes;
    unsigned what = g_rand_int_range(im->random, 0, 100);

    pick_range(im, &offset, &bytes);
    if (what < 45) {
        co_write(im, offset, bytes, what < 5 ? BLOCK_FUA : 0);
    } else if (what < 65) {
        co_check_range(im, offset, bytes);
    } else if (what < 75) {
        co_zero(im, offset, bytes, what < 70 ? BLOCK_MAY_UNMAP : 0);
    } else if (what < 85) {
        co_discard(im, offset, bytes);
    } else if (what < 92) {
        g_assert_cmpint(co_block_flush(im->user), ==, 0);
    } else if (what < 94) {
        co_resize(im);
    } else if (what < 97) {
        co_snapshot(im);
    } else {
        co_close_image(im);
        co_open_image(im);
    }
    im->operations++;
}

static bool run(const char *const *argv, const struct image *im)
{
    g_autofree char *out = NULL, *err = NULL;
    GError *error = NULL;
    int status;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err,
                      &status, &error)) {
        g_clear_error(&error);
        return false; /* QEMU isn't there */
    }
    if (status) {
        g_error("%s after %u operations: %s %s:\n%s%s", im->layout->name, im->operations, argv[0],
                argv[1], out, err);
    }
    return true;
}

static void ask_qemu(struct image *im)
{
    g_autofree char *raw = g_build_filename(im->w->dir, "expected.raw", NULL);
    const char *check[] = {"qemu-img", "check", im->path, NULL};
    const char *compare[] = {"qemu-img", "compare", im->path, raw, NULL};
    GError *error = NULL;

    if (run(check, im)) {
        g_file_set_contents(raw, (const char *)im->model, im->size, &error);
        g_assert_no_error(error);
        run(compare, im);
    }
}

static void co_first(void *opaque)
{
    struct image *im = opaque;

    co_create_image(im);
    co_open_image(im);
}

static void co_some(void *opaque)
{
    struct image *im = opaque;
    unsigned i;

    for (i = 0; i < 150; i++) {
        co_operation(im);
    }
    co_check_range(im, 0, im->size);
    co_close_image(im);
}

static void co_reopen(void *opaque)
{
    co_open_image(opaque);
}

static const struct layout layouts[] = {
    {"default", NULL, false},
    {"v2", "{'version': 'v2'}", false},
    {"backing", NULL, true},
    {"cluster-512", "{'cluster-size': 512}", true},
    {"cluster-2M", "{'cluster-size': 2097152}", true},
    {"refcount-1", "{'refcount-bits': 1, 'cluster-size': 4096}", false},
    {"refcount-4", "{'refcount-bits': 4, 'cluster-size': 4096}", true},
    {"refcount-64", "{'refcount-bits': 64, 'cluster-size': 512}", false},
    {"lazy", "{'lazy-refcounts': true, 'cluster-size': 4096}", true},
    {"extended-l2", "{'extended-l2': true, 'cluster-size': 65536}", true},
    {"extended-l2-16k", "{'extended-l2': true, 'cluster-size': 16384}", false},
    {"data-file", "{'data-file': '', 'cluster-size': 4096}", false},
};

static void image_init(struct image *im, struct world *w, const struct layout *layout,
                       unsigned seed)
{
    GError *error = NULL;
    unsigned i;

    *im = (struct image){
        .w = w, .layout = layout, .random = g_rand_new_with_seed(seed), .size = 1 << 20};
    im->path = g_build_filename(w->dir, "image.qcow2", NULL);
    im->data_path = g_build_filename(w->dir, "image.data", NULL);
    im->base_path = g_build_filename(w->dir, "base.raw", NULL);
    im->model = g_malloc0(MAX_SIZE);
    im->snapshot = g_malloc0(MAX_SIZE);
    im->buffer = g_malloc(MAX_SIZE);
    if (layout->backing) {
        for (i = 0; i < 700 << 10; i++) {
            im->model[i] = i >> 9 ^ seed;
        }
        g_file_set_contents(im->base_path, (char *)im->model, 700 << 10, &error);
        g_assert_no_error(error);
    }
    im->user = block_user_new(w->graph, "test", NULL, NULL);
}

static void image_clear(struct image *im)
{
    block_user_free(im->user);
    g_rand_free(im->random);
    g_free(im->path);
    g_free(im->data_path);
    g_free(im->base_path);
    g_free(im->model);
    g_free(im->snapshot);
    g_free(im->buffer);
}

static void test_random(gconstpointer data)
{
    const char *runs = g_getenv("NANDU_QCOW2_RUNS");
    unsigned n = runs ? atoi(runs) : 2, seed, round;
    struct world w;
    struct image im;

    world_init(&w);
    for (seed = 1; seed <= n; seed++) {
        image_init(&im, &w, data, seed);
        block_run(w.loop, co_first, &im);
        for (round = 0; round < 3; round++) {
            block_run(w.loop, co_some, &im);
            ask_qemu(&im);
            block_run(w.loop, co_reopen, &im);
        }
        block_run(w.loop, co_some, &im);
        image_clear(&im);
    }
    world_clear(&w);
}

int main(int argc, char **argv)
{
    unsigned i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/random/%s", layouts[i].name);

        g_test_add_data_func(path, &layouts[i], test_random);
    }
    return g_test_run();
}
