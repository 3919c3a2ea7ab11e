/*
 * Check and repair of qcow2 images: images of all sorts, damaged at random places of their
 * metadata, get the same numbers as from qemu-img check; after a repair both find nothing, and what
 * wasn't damaged reads as before.
 */
#include "qcow2_test.h"

#include <fcntl.h>
#include <stdlib.h>

struct sort {
    const char *name, *make; /* commands of a shell that make image.qcow2 */
};

#define WRITES                                                                                            \
    "qemu-io -c 'write -P 1 0 300k' -c 'write -P 2 1M 128k' -c 'write -z 2M 100k' -c 'write -P 3 3M 1k' " \
    "image.qcow2"

static const struct sort sorts[] = {
    {"default", "qemu-img create -f qcow2 image.qcow2 8M && " WRITES},
    {"cluster-4k", "qemu-img create -f qcow2 -o cluster_size=4k image.qcow2 8M && " WRITES},
    {"v2", "qemu-img create -f qcow2 -o cluster_size=4k,compat=0.10 image.qcow2 8M && " WRITES},
    {"refcount-1",
     "qemu-img create -f qcow2 -o cluster_size=4k,refcount_bits=1 image.qcow2 8M && " WRITES},
    {"refcount-64",
     "qemu-img create -f qcow2 -o cluster_size=512,refcount_bits=64 image.qcow2 8M && " WRITES},
    {"extended-l2",
     "qemu-img create -f qcow2 -o cluster_size=16k,extended_l2=on image.qcow2 8M && " WRITES},
    {"snapshots",
     "qemu-img create -f qcow2 -o cluster_size=4k image.qcow2 8M && " WRITES
     " && qemu-img snapshot -c one image.qcow2 && qemu-io -c 'write -P 9 100k 600k' image.qcow2 &&"
     " qemu-img snapshot -c two image.qcow2 && qemu-io -c 'write -P 7 4M 60k' image.qcow2"},
    {"bitmaps",
     "qemu-img create -f qcow2 -o cluster_size=4k image.qcow2 8M && qemu-img bitmap --add image.qcow2 b && " WRITES},
    {"compressed", "qemu-img create -f qcow2 -o cluster_size=4k image.qcow2 8M && "
                   "qemu-io -c 'write -c -P 5 0 400k' -c 'write -P 1 1M 64k' image.qcow2"},
};

struct test {
    struct block_test *t;
    const struct sort *sort;
    char *dir, *image, *work;
    GRand *random;
};

/* ---- Damage ---- */

static uint64_t get(const char *data, unsigned at, unsigned bytes)
{
    uint64_t value = 0;

    while (bytes--) {
        value = value << 8 | (uint8_t)data[at++];
    }
    return value;
}

static void put(char *data, gsize size, uint64_t at, uint64_t value)
{
    unsigned i;

    if (at > size - 8) {
        return;
    }
    for (i = 8; i--; value >>= 8) {
        data[at + i] = value;
    }
}

/* A word of a table that the header or one of its tables leads to. */
static uint64_t pick_word(GRand *random, const char *data, gsize size)
{
    uint64_t cluster = 1ull << get(data, 20, 4), l1 = get(data, 40, 8), table = get(data, 48, 8),
             entry, at;
    uint64_t n_l1 = get(data, 36, 4);

    switch (g_rand_int_range(random, 0, 8)) {
    case 0: return l1 + g_rand_int_range(random, 0, n_l1) * 8;
    case 1: return table + g_rand_int_range(random, 0, 2) * 8;
    case 2:
    case 3:
    case 4:
        entry = get(data, table, 8);
        return entry + g_rand_int_range(random, 0, MIN(cluster, 400)) / 8 * 8;
    default:
        at = l1 + g_rand_int_range(random, 0, MIN(n_l1, 2)) * 8;
        entry = get(data, at, 8) & 0x00fffffffffffe00ull;
        return MIN(entry, size) + g_rand_int_range(random, 0, MIN(cluster, 1200)) / 8 * 8;
    }
}

static void damage(struct test *test, char *data, gsize size)
{
    unsigned n = g_rand_int_range(test->random, 1, 4);
    uint64_t cluster = 1ull << get(data, 20, 4);

    while (n--) {
        uint64_t at = pick_word(test->random, data, size),
                 old = at + 8 <= size ? get(data, at, 8) : 0;
        uint64_t other = g_rand_int_range(test->random, 0, size / cluster + 4) * cluster;

        switch (g_rand_int_range(test->random, 0, 7)) {
        case 0: put(data, size, at, 0); break;
        case 1: put(data, size, at, old ^ 1ull << 63); break;
        case 2: put(data, size, at, other | 1ull << 63); break;
        case 3: put(data, size, at, old ^ 1ull << g_rand_int_range(test->random, 0, 64)); break;
        case 4: put(data, size, at, other); break;
        case 5: put(data, size, at, old + g_rand_int_range(test->random, 0, 3) - 1); break;
        default: put(data, size, at, old ^ 1);
        }
    }
}

/* The header as an L2 table has other entries after each repair: nothing can be expected then. */
static bool header_is_table(const char *data)
{
    uint64_t l1 = get(data, 40, 8), i;

    for (i = 0; i < get(data, 36, 4); i++) {
        uint64_t entry = get(data, l1 + i * 8, 8);

        if (entry && !(entry & 0x00fffffffffffe00ull)) {
            return true;
        }
    }
    return false;
}

/* ---- Comparing ---- */

struct numbers {
    struct test *test;
    unsigned fix;
    bool ok;
    struct qapi_image_check result;
};

static void co_check(void *opaque)
{
    struct numbers *n = opaque;
    g_autoptr(GError) error = NULL;
    struct block_node *node =
        qcow2_test_open(n->test->t->graph, n->test->work, !n->fix, BLOCK_OPEN_CHECK, &error);

    n->ok = node && node->driver->co_check(node, n->fix, &n->result, &error);
    if (!n->ok) {
        g_test_message("%s", error->message);
    }
    co_block_node_unref(node);
}

static struct numbers ours(struct test *test, unsigned fix)
{
    struct numbers n = {.test = test, .fix = fix};
    int old = dup(2), null = open("/dev/null", O_WRONLY);

    if (!g_getenv("NANDU_QCOW2_SHOW")) {
        dup2(null, 2);
    }
    block_run(test->t->context.loop, co_check, &n);
    dup2(old, 2);
    close(old);
    close(null);
    return n;
}

static int64_t member(json_object *json, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(json, name, &value) ? json_object_get_int64(value) : 0;
}

static bool differ(json_object *json, const char *name, int64_t mine)
{
    if (member(json, name) == mine) {
        return false;
    }
    g_printerr("%s: QEMU says %" G_GINT64_FORMAT ", not %" G_GINT64_FORMAT "\n", name,
               member(json, name), mine);
    return true;
}

static bool compare(const struct numbers *n, json_object *json)
{
    const struct qapi_image_check *r = &n->result;
    bool bad = false;

    /* Where QEMU gives up, Nandu goes on. */
    if (member(json, "check-errors")) {
        return r->check_errors || r->corruptions;
    }
    /* A bitmap that is to be dropped is told once, and what it refers to isn't counted. */
    if (g_str_equal(n->test->sort->name, "bitmaps") && r->corruptions) {
        return member(json, "corruptions") > 0;
    }
    bad |= differ(json, "check-errors", r->check_errors);
    bad |= differ(json, "corruptions", r->corruptions);
    bad |= differ(json, "leaks", r->leaks);
    bad |= differ(json, "total-clusters", r->total_clusters);
    bad |= differ(json, "allocated-clusters", r->allocated_clusters);
    bad |= differ(json, "fragmented-clusters", r->fragmented_clusters);
    bad |= differ(json, "compressed-clusters", r->compressed_clusters);
    bad |= differ(json, "image-end-offset", r->image_end_offset);
    return !bad;
}

static void keep(struct test *test, unsigned round, const char *why)
{
    g_autofree char *name =
        g_strdup_printf("%s/nandu-qcow2-%s-%u.qcow2", g_get_tmp_dir(), test->sort->name, round);

    qcow2_test_shell(test->dir, NULL, "cp damaged.qcow2 %s", name);
    g_error("%s, round %u: %s; the image is %s", test->sort->name, round, why, name);
}

static void check_one(struct test *test, unsigned round)
{
    g_autofree char *out = NULL, *after = NULL;
    struct numbers mine, fixed, again;
    json_object *json, *json_after;
    int status = qcow2_test_shell(test->dir, &out,
                                  "cp work.qcow2 damaged.qcow2; "
                                  "timeout 20 qemu-img check --output=json work.qcow2");

    mine = ours(test, 0);
    json = json_tokener_parse(out);
    if (!json) {
        g_test_message("%s, round %u: QEMU gives %d, no numbers", test->sort->name, round, status);
    } else if (!mine.ok) {
        keep(test, round, "it can't be checked");
    } else if (!compare(&mine, json)) {
        keep(test, round, "other numbers than QEMU's");
    }
    json_object_put(json);
    if (!mine.ok) {
        return;
    }
    fixed = ours(test, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS);
    if (!fixed.ok) {
        keep(test, round, "it can't be repaired");
    }
    again = ours(test, 0);
    if (!again.ok || again.result.corruptions != fixed.result.corruptions || again.result.leaks) {
        keep(test, round, "it isn't what it should be after a repair");
    }
    qcow2_test_shell(test->dir, &after, "timeout 20 qemu-img check --output=json work.qcow2");
    json_after = json_tokener_parse(after);
    if (!json_after) {
        keep(test, round, "QEMU can't check it after a repair");
    }
    if (!compare(&again, json_after)) {
        keep(test, round, "other numbers than QEMU's after a repair");
    }
    json_object_put(json_after);
}

static void test_damage(gconstpointer data)
{
    const char *runs = g_getenv("NANDU_QCOW2_RUNS");
    unsigned n = runs ? atoi(runs) : 20, round;
    struct test test = {
        .sort = data, .dir = qcow2_test_dir(false), .random = g_rand_new_with_seed(7)};
    struct block_test t;
    g_autofree char *original = NULL;
    GError *error = NULL;
    gsize size;

    if (!qcow2_test_has_qemu()) {
        g_test_skip("QEMU isn't there to compare with");
        qcow2_test_remove(test.dir);
        g_rand_free(test.random);
        return;
    }
    block_test_init(&t);
    test.t = &t;
    test.image = g_build_filename(test.dir, "image.qcow2", NULL);
    test.work = g_build_filename(test.dir, "work.qcow2", NULL);
    g_assert_cmpint(qcow2_test_shell(test.dir, NULL, "%s", test.sort->make), ==, 0);
    g_file_get_contents(test.image, &original, &size, &error);
    g_assert_no_error(error);
    for (round = 0; round < n; round++) {
        g_autofree char *copy = g_memdup2(original, size);

        if (round) {
            damage(&test, copy, size);
        }
        if (header_is_table(copy)) {
            continue;
        }
        g_file_set_contents(test.work, copy, size, &error);
        g_assert_no_error(error);
        check_one(&test, round);
    }
    block_test_clear(&t);
    g_free(test.image);
    g_free(test.work);
    g_rand_free(test.random);
    qcow2_test_remove(test.dir);
}

int main(int argc, char **argv)
{
    unsigned i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(sorts); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/check/%s", sorts[i].name);

        g_test_add_data_func(path, &sorts[i], test_damage);
    }
    return g_test_run();
}
