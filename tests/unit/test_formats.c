/*
 * Image formats of other programs against a model: new images of all kinds, random writes and
 * zeroes, new openings; what is read is what was written, and qemu-img (if it is there) reads the
 * same. Then images that qemu-img made.
 */
#include <glib/gstdio.h>
#include <unistd.h>

#include "block_test.h"

enum { SIZE = 9 << 20, MAX_PIECE = 300000, STEPS = 60 };

struct kind {
    const char *name, *driver;
    const char *options;      /* members of create options, key=value, as nandu-img's -o */
    const char *qemu_options; /* -o of qemu-img */
    bool backing;             /* on a backing image of the same format, half as large */
};

static const struct kind kinds[] = {
    {"vdi", "vdi", NULL, NULL, false},
    {"vdi-static", "vdi", "static=on", "static=on", false},
    {"vpc", "vpc", "force-size=on", "force_size=on", false},
    {"vpc-fixed", "vpc", "subformat=fixed,force-size=on", "subformat=fixed,force_size=on", false},
    {"vmdk", "vmdk", NULL, NULL, false},
    {"vmdk-zero", "vmdk", "zeroed-grain=on", "zeroed_grain=on", true},
    {"vmdk-flat", "vmdk", "subformat=monolithicFlat", "subformat=monolithicFlat", false},
    {"vmdk-split", "vmdk", "subformat=twoGbMaxExtentSparse", "subformat=twoGbMaxExtentSparse",
     false},
    {"vmdk-split-flat", "vmdk", "subformat=twoGbMaxExtentFlat", "subformat=twoGbMaxExtentFlat",
     false},
    {"vmdk-stream", "vmdk", "subformat=streamOptimized", "subformat=streamOptimized", false},
    {"vmdk-backing", "vmdk", NULL, NULL, true},
    {"vhdx", "vhdx", NULL, NULL, false},
    {"vhdx-1M", "vhdx", "block-size=1048576", "block_size=1M", false},
    {"vhdx-fixed", "vhdx", "subformat=fixed", "subformat=fixed", false},
    {"qed", "qed", NULL, NULL, false},
    {"qed-backing", "qed", "cluster-size=4096,table-size=2", "cluster_size=4096,table_size=2",
     true},
};

struct test {
    struct block_test t;
    const struct kind *kind;
    GRand *random;
    char *dir, *image, *base, *raw;
    struct block_user *user;
    uint8_t *model, *buffer;
    bool read_only;
};

/* ---- Files ---- */

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

/* False: qemu-img isn't there. */
static bool qemu_img(const struct test *t, const char *const *argv)
{
    g_autofree char *out = NULL, *err = NULL;
    int status;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err,
                      &status, NULL)) {
        return false;
    }
    if (status) {
        g_error("%s: %s %s:\n%s%s", t->kind->name, argv[0], argv[1], out, err);
    }
    return true;
}

/* ---- Images ---- */

static void co_create(struct test *t, const char *path, uint64_t size, const char *backing)
{
    g_autoptr(json_object) json = json_object_new_object();
    json_object *file = json_object_new_object();
    const struct block_driver *driver = block_driver_find(t->kind->driver);
    g_auto(GStrv) options = g_strsplit(t->kind->options ? t->kind->options : "", ",", -1);
    struct qapi_blockdev_create_options create;
    g_autoptr(GError) error = NULL;
    char digits[24];

    g_assert_nonnull(driver);
    g_file_set_contents(path, "", 0, &error);
    g_assert_no_error(error);
    snprintf(digits, sizeof(digits), "%" PRIu64, size);
    json_object_object_add(json, "size", json_object_new_string(digits));
    for (char **option = options; *option; option++) {
        g_auto(GStrv) pair = g_strsplit(*option, "=", 2);

        json_object_object_add(json, pair[0], json_object_new_string(pair[1]));
    }
    if (backing) {
        json_object_object_add(json, "backing-file", json_object_new_string(backing));
    }
    if (driver->co_create_prepare) {
        driver->co_create_prepare(t->t.graph, path, json, &error);
        g_assert_no_error(error);
    }
    json_object_object_add(file, "driver", json_object_new_string("file"));
    json_object_object_add(file, "filename", json_object_new_string(path));
    json_object_object_add(json, "file", file);
    json_object_object_add(json, "driver", json_object_new_string(t->kind->driver));
    g_assert_true(qapi_from_keyval(&qapi_type_blockdev_create_options, json, &create, &error));
    g_assert_no_error(error);
    driver->co_create(t->t.graph, &create, &error);
    g_assert_no_error(error);
    qapi_clear(&qapi_type_blockdev_create_options, &create);
}

static void co_open(struct test *t, const char *path)
{
    g_autoptr(json_object) json = json_object_new_object();
    unsigned perm =
        t->read_only ? BLOCK_PERM_CONSISTENT_READ : BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE;
    g_autoptr(GError) error = NULL;
    struct block_node *node;

    /* Without the format: probing is tested, too. But of a fixed vpc image that says nothing at its
     * begin. */
    if (g_str_equal(t->kind->name, "vpc-fixed")) {
        json_object_object_add(json, "driver", json_object_new_string("vpc"));
    }
    json_object_object_add(json, "read-only", json_object_new_boolean(t->read_only));
    json_object_object_add(json, "discard", json_object_new_string("unmap"));
    node = co_block_open_loose(t->t.graph, path, json, BLOCK_OPEN_PROBE, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(node->driver->name, ==, t->kind->driver);
    t->user = block_user_new(t->t.graph, "test", NULL, NULL);
    block_user_attach(t->user, node, perm, BLOCK_PERM_ALL, &error);
    g_assert_no_error(error);
}

static void co_close(struct test *t)
{
    struct block_node *node = block_user_node(t->user);

    block_user_free(t->user);
    co_block_node_unref(node);
}

/* ---- Operations ---- */

static void pick(struct test *t, uint64_t size, uint64_t *offset, uint64_t *bytes)
{
    static const uint64_t units[] = {1, 512, 4096, 65536, 1 << 20};
    uint64_t unit = units[g_rand_int_range(t->random, 0, G_N_ELEMENTS(units))];

    *offset = (uint64_t)g_rand_int_range(t->random, 0, (int)size) / unit * unit;
    *bytes = MAX((uint64_t)g_rand_int_range(t->random, 1, MAX_PIECE) / unit * unit, unit);
    *bytes = MIN(*bytes, size - *offset);
}

static void co_step(struct test *t, uint64_t size)
{
    unsigned what = (unsigned)g_rand_int_range(t->random, 0, 10);
    uint64_t offset, bytes;

    pick(t, size, &offset, &bytes);
    if (what < 5) {
        uint8_t seed = (uint8_t)g_rand_int(t->random);

        for (uint64_t i = 0; i < bytes; i++) {
            t->model[offset + i] = (uint8_t)(seed + i / 512 + i * 7);
        }
        memcpy(t->buffer, t->model + offset, bytes);
        g_assert_cmpint(co_block_write(t->user, offset, bytes, BLOCK_BUFFER(t->buffer, bytes), 0),
                        ==, 0);
    } else if (what < 7) {
        memset(t->model + offset, 0, bytes);
        g_assert_cmpint(
            co_block_write_zeroes(t->user, offset, bytes, what == 5 ? BLOCK_MAY_UNMAP : 0), ==, 0);
    } else {
        g_assert_cmpint(co_block_read(t->user, offset, bytes, BLOCK_BUFFER(t->buffer, bytes), 0),
                        ==, 0);
        g_assert_cmpmem(t->buffer, bytes, t->model + offset, bytes);
    }
}

/* All of it, and what status says of zeroes is so. */
static void co_check(struct test *t)
{
    struct block_status status;

    g_assert_cmpint(co_block_read(t->user, 0, SIZE, BLOCK_BUFFER(t->buffer, SIZE), 0), ==, 0);
    g_assert_cmpmem(t->buffer, SIZE, t->model, SIZE);
    for (uint64_t offset = 0; offset < SIZE; offset += status.bytes) {
        g_assert_cmpint(co_node_status_above(block_user_node(t->user), NULL, offset, SIZE - offset,
                                             &status),
                        >=, 0);
        g_assert_cmpuint(status.bytes, >, 0);
        g_assert_true(
            !(status.flags & BLOCK_STATUS_ZERO) ||
            block_buffer_is_zero(BLOCK_BUFFER(t->model + offset, status.bytes), status.bytes));
    }
}

static void co_make_base(struct test *t)
{
    if (t->kind->backing) {
        co_create(t, t->base, SIZE / 2, NULL);
        co_open(t, t->base);
        for (int i = 0; i < 10; i++) {
            co_step(t, SIZE / 2);
        }
        co_close(t);
    }
}

static void co_ours(void *opaque)
{
    struct test *t = opaque;

    co_make_base(t);
    co_create(t, t->image, SIZE, t->kind->backing ? "base" : NULL);
    for (int round = 0; round < 3; round++) {
        co_open(t, t->image);
        for (int i = 0; i < STEPS; i++) {
            co_step(t, SIZE);
        }
        co_check(t);
        g_assert_cmpint(co_block_flush(t->user), ==, 0);
        co_close(t);
    }
}

static void co_read_only(void *opaque)
{
    struct test *t = opaque;

    t->read_only = true;
    co_open(t, t->image);
    co_check(t);
    co_close(t);
    t->read_only = false;
}

static void co_go_on(void *opaque)
{
    struct test *t = opaque;

    co_open(t, t->image);
    for (int i = 0; i < STEPS; i++) {
        co_step(t, SIZE);
    }
    co_check(t);
    co_close(t);
}

static void save_model(struct test *t)
{
    g_autoptr(GError) error = NULL;

    g_file_set_contents(t->raw, (const char *)t->model, SIZE, &error);
    g_assert_no_error(error);
}

static void qemu_compares(struct test *t)
{
    const char *compare[] = {"qemu-img",      "compare", "-f",     "raw", "-F",
                             t->kind->driver, t->raw,    t->image, NULL};

    save_model(t);
    qemu_img(t, compare);
}

/* qemu-img makes the image from what the model has. */
static bool qemu_converts(struct test *t)
{
    const char *with[] = {"qemu-img", "convert",       "-f", "raw",
                          "-O",       t->kind->driver, "-o", t->kind->qemu_options,
                          t->raw,     t->image,        NULL};
    const char *without[] = {"qemu-img",      "convert", "-f",     "raw", "-O",
                             t->kind->driver, t->raw,    t->image, NULL};

    save_model(t);
    return qemu_img(t, t->kind->qemu_options ? with : without);
}

static void test_kind(gconstpointer data)
{
    const char *runs = g_getenv("NANDU_FORMAT_RUNS");
    int n = runs ? atoi(runs) : 1;

    for (int seed = 1; seed <= n; seed++) {
        struct test t = {.kind = data, .random = g_rand_new_with_seed((guint32)seed)};

        block_test_init(&t.t);
        t.dir = g_dir_make_tmp("nandu-formats-XXXXXX", NULL);
        t.image = g_build_filename(t.dir, "image", NULL);
        t.base = g_build_filename(t.dir, "base", NULL);
        t.raw = g_build_filename(t.dir, "raw", NULL);
        t.model = g_malloc0(SIZE);
        t.buffer = g_malloc0(SIZE);
        block_run(t.t.context.loop, co_ours, &t);
        qemu_compares(&t);
        if (!t.kind->backing && qemu_converts(&t)) {
            block_run(t.t.context.loop, co_read_only, &t);
            block_run(t.t.context.loop, co_go_on, &t);
            qemu_compares(&t);
        }
        block_test_clear(&t.t);
        remove_dir(t.dir);
        g_free(t.dir);
        g_free(t.image);
        g_free(t.base);
        g_free(t.raw);
        g_free(t.model);
        g_free(t.buffer);
        g_rand_free(t.random);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *path = g_strconcat("/formats/", kinds[i].name, NULL);

        if (block_driver_find(kinds[i].driver)) {
            g_test_add_data_func(path, &kinds[i], test_kind);
        }
    }
    return g_test_run();
}
