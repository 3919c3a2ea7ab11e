/*
 * qcow2 images whose host stops at any moment: a driver below the image writes down each write and flush. For every
 * moment the file is made again as it may be then: all writes up to there, or, since nobody promised more, those before
 * the last flush and some sectors of those after it. It must open, have leaks at most, and every byte that was flushed.
 */
#include "block/dirty_bitmap.h"
#include "qcow2_test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { MAX_FILE = 12 << 20, SECTOR = 512, IMAGE = 1 << 20, VARIANTS = 4 };

/* ---- What reached the file, in its order ---- */

struct entry {
    enum { WRITE, ZEROES, TRUNCATE, FLUSH } kind;
    uint64_t offset, bytes;
    uint8_t *data;
};

/* What a guest did, in its order. */
struct event {
    bool flush;
    uint64_t offset, bytes;
    uint32_t seed;       /* 0: zeroes; DISCARD: nothing is known of it until it is written again */
    unsigned begin, end; /* of the log */
};

#define DISCARD UINT32_MAX

struct recorder {
    GArray *log;   /* struct entry */
    uint8_t *data; /* MAX_FILE */
};

struct record_state {
    struct recorder *to; /* NULL: nothing is written down */
    uint8_t *data;
};

static void log_entry(struct record_state *s, int kind, uint64_t offset, uint64_t bytes,
                      const uint8_t *data)
{
    struct entry entry = {.kind = kind, .offset = offset, .bytes = bytes};

    if (s->to) {
        entry.data = data ? g_memdup2(data, bytes) : NULL;
        g_array_append_val(s->to->log, entry);
    }
}

static int record_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                       struct block_buffer buffer, unsigned flags)
{
    struct record_state *s = node->state;

    block_buffer_from(buffer, s->data + offset, bytes);
    return 0;
}

static int record_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                        struct block_buffer buffer, unsigned flags)
{
    struct record_state *s = node->state;

    if (offset + bytes > MAX_FILE) {
        return -ENOSPC;
    }
    block_buffer_to(buffer, s->data + offset, bytes);
    log_entry(s, WRITE, offset, bytes, s->data + offset);
    return 0;
}

static int record_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct record_state *s = node->state;

    if (offset + bytes > MAX_FILE) {
        return -ENOSPC;
    }
    memset(s->data + offset, 0, bytes);
    log_entry(s, ZEROES, offset, bytes, NULL);
    return 0;
}

static int record_flush(struct block_node *node)
{
    log_entry(node->state, FLUSH, 0, 0, NULL);
    return 0;
}

static int record_truncate(struct block_node *node, uint64_t size, bool exact,
                           enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    struct record_state *s = node->state;

    if (size < node->length) {
        memset(s->data + size, 0, node->length - size);
    }
    node->length = size;
    log_entry(s, TRUNCATE, size, 0, NULL);
    return 0;
}

static const struct block_driver record_driver = {
    .name = "record",
    .state_size = sizeof(struct record_state),
    .co_read = record_read,
    .co_write = record_write,
    .co_write_zeroes = record_zeroes,
    .co_flush = record_flush,
    .co_truncate = record_truncate,
};

static struct block_node *record_open(struct block_test *t, const char *name, uint8_t *data,
                                      uint64_t size, struct recorder *to)
{
    struct block_node *node = block_node_new(t->graph, &record_driver);
    struct record_state *s = node->state;
    GError *error = NULL;

    block_node_set_name(node, name, &error);
    g_assert_no_error(error);
    node->options = json_object_new_object();
    node->length = size;
    node->limits.request_align = SECTOR;
    s->data = data;
    s->to = to;
    block_node_refresh_limits(node);
    return node;
}

/* ---- A run that is written down ---- */

struct layout {
    const char *name, *options;
    bool snapshots, lazy, bitmap;
};

struct test {
    struct block_test *t;
    const struct layout *layout;
    GRand *random;
    struct recorder recorder;
    GArray *events;
    struct block_user *user;
    struct block_node *node; /* of the image */
    uint8_t *buffer;
    bool has_snapshot;
    unsigned seed;
};

static void fill(uint8_t *data, uint64_t bytes, uint32_t seed)
{
    uint64_t i;

    for (i = 0; i < bytes; i++) {
        data[i] = seed ? (seed >> i % 3 * 8) ^ (i >> 9) : 0;
    }
}

static void co_create(struct test *test, struct block_node *file)
{
    json_object *json = json_tokener_parse(test->layout->options);
    struct qapi_blockdev_create_options options;
    GError *error = NULL;

    json_object_object_add(json, "driver", json_object_new_string("qcow2"));
    json_object_object_add(json, "size", json_object_new_int64(IMAGE));
    json_object_object_add(json, "file", json_object_new_string(file->name));
    qapi_from_json(&qapi_type_blockdev_create_options, json, &options, &error);
    g_assert_no_error(error);
    block_driver_find("qcow2")->co_create(test->t->graph, &options, &error);
    g_assert_no_error(error);
    qapi_clear(&qapi_type_blockdev_create_options, &options);
    json_object_put(json);
}

static struct block_node *co_open_on(struct test *test, const char *file, unsigned flags,
                                     GError **error)
{
    g_autofree char *text =
        g_strdup_printf("{\"driver\": \"qcow2\", \"file\": \"%s\", \"discard\": \"unmap\", "
                        "\"l2-cache-entry-size\": 512, \"l2-cache-size\": 2048}",
                        file);
    json_object *json = json_tokener_parse(text);
    struct qapi_blockdev_options options;
    struct block_node *node;

    qapi_from_json(&qapi_type_blockdev_options, json, &options, error);
    node = co_block_open(test->t->graph, &options, flags, error);
    qapi_clear(&qapi_type_blockdev_options, &options);
    json_object_put(json);
    return node;
}

static void co_snapshot(struct test *test)
{
    const struct block_snapshot_ops *ops = test->node->driver->snapshots;
    struct qapi_snapshot_info info = {.name = (char *)"s"};
    GError *error = NULL;

    if (!test->has_snapshot) {
        ops->co_create(test->node, &info, &error);
    } else {
        ops->co_delete(test->node, NULL, "s", &error);
    }
    g_assert_no_error(error);
    test->has_snapshot = !test->has_snapshot;
}

static void co_step(struct test *test)
{
    static const unsigned units[] = {SECTOR, 4096, 65536};
    unsigned unit = units[g_rand_int_range(test->random, 0, 3)],
             what = g_rand_int_range(test->random, 0, 100);
    uint64_t n = IMAGE / unit;
    struct event event = {.begin = test->recorder.log->len};

    event.offset = g_rand_int_range(test->random, 0, n) * (uint64_t)unit;
    event.bytes = (uint64_t)g_rand_int_range(test->random, 1, 9) * unit;
    event.bytes = MIN(event.bytes, IMAGE - event.offset);
    if (what < 55) {
        event.seed = g_rand_int(test->random) | 1;
        fill(test->buffer, event.bytes, event.seed);
        g_assert_cmpint(co_block_write(test->user, event.offset, event.bytes,
                                       BLOCK_BUFFER(test->buffer, event.bytes), 0),
                        ==, 0);
    } else if (what < 65) {
        g_assert_cmpint(co_block_write_zeroes(test->user, event.offset, event.bytes,
                                              what < 60 ? BLOCK_MAY_UNMAP : 0),
                        ==, 0);
    } else if (what < 75) {
        event.seed = DISCARD;
        g_assert_cmpint(co_block_discard(test->user, event.offset, event.bytes), ==, 0);
    } else if (what < 95 || !test->layout->snapshots) {
        event.flush = true;
        g_assert_cmpint(co_block_flush(test->user), ==, 0);
    } else {
        co_snapshot(test);
        return;
    }
    event.end = test->recorder.log->len;
    g_array_append_val(test->events, event);
}

static void co_record(void *opaque)
{
    struct test *test = opaque;
    struct block_node *file = record_open(test->t, "rec", test->recorder.data, 0, &test->recorder);
    GError *error = NULL;
    unsigned i;

    co_create(test, file);
    test->node = co_open_on(test, "rec", 0, &error);
    g_assert_no_error(error);
    test->user = block_user_new(test->t->graph, "test", NULL, NULL);
    block_user_attach(test->user, test->node, BLOCK_PERM_ALL & ~BLOCK_PERM_WRITE_UNCHANGED,
                      BLOCK_PERM_ALL, &error);
    g_assert_no_error(error);
    if (test->layout->bitmap) {
        co_dirty_bitmap_add(test->node, "b", 4096, true, false, &error);
        g_assert_no_error(error);
    }
    for (i = 0; i < 80; i++) {
        co_step(test);
    }
    block_user_free(test->user);
    co_block_node_unref(test->node);
    co_block_node_unref(file);
}

/* ---- What may be left of it ---- */

struct remains {
    struct test *test;
    unsigned at; /* entries of the log that were begun */
    uint8_t *data;
    uint64_t size;
    uint8_t *expected;
    bool *sure; /* sectors of the image */
};

static void apply(struct remains *r, const struct entry *e, GRand *some)
{
    uint64_t i;

    switch (e->kind) {
    case WRITE:
    case ZEROES:
        for (i = 0; i < e->bytes; i += SECTOR) {
            if (some && g_rand_boolean(some)) {
                continue;
            }
            if (e->kind == WRITE) {
                memcpy(r->data + e->offset + i, e->data + i, SECTOR);
            } else {
                memset(r->data + e->offset + i, 0, SECTOR);
            }
            r->size = MAX(r->size, e->offset + i + SECTOR);
        }
        return;
    case TRUNCATE:
        if (e->offset < r->size) {
            memset(r->data + e->offset, 0, r->size - e->offset);
        }
        r->size = e->offset;
        return;
    case FLUSH: return;
    }
}

/* some NULL: all of the writes. */
static void rebuild(struct remains *r, GRand *some)
{
    const GArray *log = r->test->recorder.log;
    unsigned flushed = 0, i;

    memset(r->data, 0, MAX_FILE);
    r->size = 0;
    for (i = 0; i < r->at; i++) {
        if (g_array_index(log, struct entry, i).kind == FLUSH) {
            flushed = i;
        }
    }
    for (i = 0; i < r->at; i++) {
        /* Some writes in part, some not at all. */
        bool cut = some && i > flushed && g_array_index(log, struct entry, i).kind <= ZEROES;

        if (!cut || g_rand_int_range(some, 0, 3)) {
            apply(r, &g_array_index(log, struct entry, i),
                  cut && g_rand_boolean(some) ? some : NULL);
        }
    }
}

static void expect(struct remains *r)
{
    const GArray *events = r->test->events;
    unsigned i, last = 0;
    uint64_t s;

    memset(r->expected, 0, IMAGE);
    for (s = 0; s < IMAGE / SECTOR; s++) {
        r->sure[s] = true;
    }
    for (i = 0; i < events->len; i++) {
        const struct event *e = &g_array_index(events, struct event, i);

        if (e->flush && e->end <= r->at) {
            last = i + 1;
        }
    }
    for (i = 0; i < events->len; i++) {
        const struct event *e = &g_array_index(events, struct event, i);

        if (e->flush || (i >= last && e->begin >= r->at)) {
            continue;
        }
        for (s = e->offset / SECTOR; s < (e->offset + e->bytes) / SECTOR; s++) {
            r->sure[s] = i < last && e->seed != DISCARD;
        }
        if (i < last) {
            fill(r->expected + e->offset, e->bytes, e->seed);
        }
    }
}

static char *read_back(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = g_malloc0(size + 1);

    g_assert_cmpint(pread(fd, text, size, 0), ==, size);
    return text;
}

static void show(struct remains *r, const char *why, const char *text)
{
    g_autofree char *path = g_strdup_printf("%s/nandu-crash-%s-%u.qcow2", g_get_tmp_dir(),
                                            r->test->layout->name, r->at);
    GError *error = NULL;

    g_file_set_contents(path, (char *)r->data, r->size, &error);
    g_error("%s, seed %u, after %u writes: %s; the image is %s\n%s", r->test->layout->name,
            r->test->seed, r->at, why, path, text);
}

/* COPIED of a cluster that a snapshot has, too: the next write would change both. */
static bool is_shared_in_place(const char *text)
{
    g_autoptr(GRegex) regex =
        g_regex_new("OFLAG_COPIED.*entry=[89a-f][0-9a-f]{15} refcount", G_REGEX_DEFAULT, 0, NULL);

    return g_regex_match(regex, text, 0, NULL);
}

static void co_check_tables(struct remains *r)
{
    struct block_node *node;
    struct qapi_image_check result = {0};
    g_autofree char *text = NULL;
    GError *error = NULL;
    int old = dup(2), fd = memfd_create("stderr", MFD_CLOEXEC);
    unsigned fix = BLOCK_FIX_LEAKS;
    bool ok, dirty;

    dup2(fd, 2);
    node = co_open_on(r->test, "left", BLOCK_OPEN_CHECK, &error);
    dirty = r->test->layout->lazy;
    ok = node && node->driver->co_check(node, dirty ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS : fix,
                                        &result, &error);
    co_block_node_unref(node);
    dup2(old, 2);
    text = read_back(fd);
    close(old);
    close(fd);
    if (!ok) {
        show(r, error->message, text);
    }
    if (result.check_errors || result.corruptions || (!dirty && strstr(text, "ERROR")) ||
        is_shared_in_place(text)) {
        show(r, "damage", text);
    }
}

/* What isn't as it was when the bitmap was made is dirty in it. */
static void check_bitmap(struct remains *r, const struct block_node *node)
{
    static const uint8_t zeroes[SECTOR];
    GError *error = NULL;
    const struct dirty_bitmap *b = dirty_bitmap_find(node, "b", &error);
    uint64_t s;

    if (!b || b->inconsistent) {
        show(r, b ? "the bitmap is inconsistent" : error->message, "");
    }
    for (s = 0; s < IMAGE / SECTOR; s++) {
        if (memcmp(r->test->buffer + s * SECTOR, zeroes, SECTOR) &&
            !dirty_bitmap_get(b, s * SECTOR)) {
            g_autofree char *text = g_strdup_printf("sector %u", (unsigned)s);

            show(r, "the bitmap doesn't know what was written", text);
        }
    }
}

static void co_check_data(struct remains *r)
{
    GError *error = NULL;
    struct block_node *node = co_open_on(r->test, "left", 0, &error);
    struct block_user *user = block_user_new(r->test->t->graph, "reader", NULL, NULL);
    uint64_t s;

    if (!node) {
        show(r, error->message, "");
    }
    block_user_attach(user, node, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(co_block_read(user, 0, IMAGE, BLOCK_BUFFER(r->test->buffer, IMAGE), 0), ==, 0);
    for (s = 0; s < IMAGE / SECTOR; s++) {
        if (r->sure[s] && memcmp(r->test->buffer + s * SECTOR, r->expected + s * SECTOR, SECTOR)) {
            g_autofree char *text = g_strdup_printf("sector %u", (unsigned)s);

            show(r, "flushed data are gone", text);
        }
    }
    if (r->test->layout->bitmap) {
        check_bitmap(r, node);
    }
    block_user_free(user);
    co_block_node_unref(node);
}

static void co_look(void *opaque)
{
    struct remains *r = opaque;
    struct block_node *file = record_open(r->test->t, "left", r->data, r->size, NULL);

    /* What was damaged is shown as it was before the repair. */
    co_check_tables(r);
    co_check_data(r);
    co_block_node_unref(file);
}

static unsigned first_moment(const struct test *test)
{
    return test->events->len ? g_array_index(test->events, struct event, 0).begin : 0;
}

static void look_at_all(struct test *test)
{
    struct remains r = {.test = test,
                        .data = g_malloc0(MAX_FILE),
                        .expected = g_malloc(IMAGE),
                        .sure = g_new(bool, IMAGE / SECTOR)};
    unsigned variant;

    for (r.at = first_moment(test); r.at <= test->recorder.log->len; r.at++) {
        expect(&r);
        for (variant = 0; variant < VARIANTS; variant++) {
            rebuild(&r, variant ? test->random : NULL);
            block_run(test->t->context.loop, co_look, &r);
        }
    }
    g_free(r.data);
    g_free(r.expected);
    g_free(r.sure);
}

static void clear_entry(void *opaque)
{
    g_free(((struct entry *)opaque)->data);
}

static void test_crash(gconstpointer data)
{
    const char *runs = g_getenv("NANDU_QCOW2_RUNS");
    unsigned n = runs ? atoi(runs) : 1, seed;

    for (seed = 1; seed <= n; seed++) {
        struct block_test t;
        struct test test = {
            .layout = data, .t = &t, .seed = seed, .random = g_rand_new_with_seed(seed)};

        block_test_init(&t);
        test.recorder.log = g_array_new(false, false, sizeof(struct entry));
        g_array_set_clear_func(test.recorder.log, clear_entry);
        test.recorder.data = g_malloc0(MAX_FILE);
        test.events = g_array_new(false, false, sizeof(struct event));
        test.buffer = g_malloc(IMAGE);
        block_run(t.context.loop, co_record, &test);
        look_at_all(&test);
        g_array_unref(test.recorder.log);
        g_array_unref(test.events);
        g_free(test.recorder.data);
        g_free(test.buffer);
        g_rand_free(test.random);
        block_test_clear(&t);
    }
}

static const struct layout layouts[] = {
    {"default", "{}", false, false},
    {"cluster-512", "{'cluster-size': 512}", false, false},
    {"cluster-4k", "{'cluster-size': 4096}", false, false},
    {"v2", "{'version': 'v2', 'cluster-size': 4096}", false, false},
    {"refcount-64", "{'refcount-bits': 64, 'cluster-size': 512}", false, false},
    {"extended-l2", "{'extended-l2': true, 'cluster-size': 16384}", false, false},
    {"lazy", "{'lazy-refcounts': true, 'cluster-size': 4096}", false, true},
    {"snapshots", "{'cluster-size': 4096}", true, false},
    {"bitmap", "{'cluster-size': 4096}", false, false, true},
    {"bitmap-snapshots", "{'cluster-size': 512}", true, false, true},
};

int main(int argc, char **argv)
{
    unsigned i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/crash/%s", layouts[i].name);

        g_test_add_data_func(path, &layouts[i], test_crash);
    }
    return g_test_run();
}
