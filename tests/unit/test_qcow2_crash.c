/*
 * qcow2 images whose host stops at any moment: a driver below the image writes down each write and
 * flush. For every moment the file is made again as it may be then: all writes up to there, or,
 * since nobody promised more, those before the last flush and some sectors of those after it. It
 * must open, have leaks at most, and every byte that was flushed. What changes the whole image (its
 * size, going to a snapshot) has happened or it hasn't; snapshots that are there hold what they
 * held.
 */
#include "block/dirty_bitmap.h"
#include "qcow2_test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    MAX_FILE = 16 << 20,
    SECTOR = 512,
    IMAGE = 1 << 20,
    UNIT = 64 << 10,
    VARIANTS = 3,
    STEPS = 50,
    MAX_SNAPSHOTS = 3
};

/* ---- What reached the file, in its order ---- */

struct entry {
    enum { WRITE, ZEROES, TRUNCATE, FLUSH } kind;
    uint64_t offset, bytes;
    uint8_t *data;
};

/* What was done, in its order. */
struct event {
    /* All but CHANGE end with a flush. */
    enum { CHANGE, BARRIER, RESIZE, GOTO, CREATE, DELETE } kind;
    uint64_t offset, bytes; /* CHANGE: what may be different */
    unsigned snapshot;      /* number, from 1 on */
    unsigned begin, end;    /* of the log */
    uint64_t size;          /* of the disk, afterwards */
    uint8_t *after;         /* its contents (IMAGE) */
};

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
    bool snapshots, lazy, bitmap, resize, amend, compress;
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
    uint8_t *model;                    /* of the disk (IMAGE) */
    unsigned snapshots[MAX_SNAPSHOTS]; /* that there are now: numbers; 0: none */
    unsigned n_created;
    bool second_bitmap;
    unsigned seed;
};

static void fill(uint8_t *data, uint64_t bytes, uint32_t seed)
{
    uint64_t i;

    for (i = 0; i < bytes; i++) {
        data[i] = (seed >> i % 3 * 8) ^ (i >> 9);
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

static struct block_node *co_open_on(struct test *test, const char *file, bool read_only,
                                     unsigned flags, GError **error)
{
    g_autofree char *text =
        g_strdup_printf("{\"driver\": \"qcow2\", \"file\": \"%s\", \"discard\": \"unmap\", "
                        "\"l2-cache-entry-size\": 512, \"l2-cache-size\": 2048, "
                        "\"read-only\": %s}",
                        file, read_only ? "true" : "false");
    json_object *json = json_tokener_parse(text);
    struct qapi_blockdev_options options;
    struct block_node *node;

    qapi_from_json(&qapi_type_blockdev_options, json, &options, error);
    node = co_block_open(test->t->graph, &options, flags, error);
    qapi_clear(&qapi_type_blockdev_options, &options);
    json_object_put(json);
    return node;
}

/* ---- What is done ---- */

static void co_change(struct test *test, struct event *e, unsigned what)
{
    static const unsigned units[] = {SECTOR, 4096, UNIT};
    unsigned unit = units[g_rand_int_range(test->random, 0, 3)];
    uint64_t size = test->node->length, n = size / unit;
    int ret;

    e->offset = g_rand_int_range(test->random, 0, n) * (uint64_t)unit;
    e->bytes = (uint64_t)g_rand_int_range(test->random, 1, 9) * unit;
    e->bytes = MIN(e->bytes, size - e->offset);
    if (what < 55) {
        bool compress = test->layout->compress && unit == UNIT && !(e->bytes % UNIT);

        fill(test->model + e->offset, e->bytes, g_rand_int(test->random) | 1);
        memcpy(test->buffer, test->model + e->offset, e->bytes);
        ret = co_block_write(test->user, e->offset, e->bytes, BLOCK_BUFFER(test->buffer, e->bytes),
                             compress ? BLOCK_COMPRESSED : 0);
    } else if (what < 65) {
        memset(test->model + e->offset, 0, e->bytes);
        ret =
            co_block_write_zeroes(test->user, e->offset, e->bytes, what < 60 ? BLOCK_MAY_UNMAP : 0);
    } else {
        /* What is there afterwards is the image's affair. */
        ret = co_block_discard(test->user, e->offset, e->bytes);
        g_assert_cmpint(ret, ==, 0);
        ret = co_block_read(test->user, e->offset, e->bytes,
                            BLOCK_BUFFER(test->model + e->offset, e->bytes), 0);
    }
    g_assert_cmpint(ret, ==, 0);
}

/* The snapshot as it was made. */
static const struct event *find_created(const struct test *test, unsigned snapshot)
{
    const struct event *e = &g_array_index(test->events, struct event, 0);

    while (e->kind != CREATE || e->snapshot != snapshot) {
        e++;
    }
    return e;
}

static void co_snapshot(struct test *test, struct event *e)
{
    const struct block_snapshot_ops *ops = test->node->driver->snapshots;
    unsigned *slot = &test->snapshots[g_rand_int_range(test->random, 0, MAX_SNAPSHOTS)];
    char name[16];
    struct qapi_snapshot_info info = {.name = name};
    GError *error = NULL;

    e->snapshot = *slot ? *slot : ++test->n_created;
    g_snprintf(name, sizeof(name), "s%u", e->snapshot);
    if (!*slot) {
        e->kind = CREATE;
        *slot = e->snapshot;
        ops->co_create(test->node, &info, &error);
    } else if (g_rand_boolean(test->random)) {
        e->kind = GOTO;
        ops->co_goto(test->node, name, &error);
        memcpy(test->model, find_created(test, e->snapshot)->after, IMAGE);
    } else {
        e->kind = DELETE;
        *slot = 0;
        ops->co_delete(test->node, NULL, name, &error);
    }
    g_assert_no_error(error);
}

static void co_resize(struct test *test, struct event *e)
{
    uint64_t size = (uint64_t)g_rand_int_range(test->random, IMAGE / 4 / SECTOR, IMAGE / SECTOR);
    GError *error = NULL;

    e->kind = RESIZE;
    /* Version 2 doesn't allow it where there are snapshots. */
    if (co_block_truncate(test->user, size * SECTOR, true, QAPI_PREALLOC_MODE_OFF, 0, &error) < 0) {
        g_assert_true(test->layout->amend || test->layout->snapshots);
        g_clear_error(&error);
    }
    memset(test->model + test->node->length, 0, IMAGE - test->node->length);
}

static void co_amend(struct test *test, struct event *e)
{
    static const char *const choices[] = {
        "{'version': 'v3', 'refcount-bits': '64'}",
        "{'version': 'v3', 'refcount-bits': '8', 'lazy-refcounts': 'off'}",
        "{'version': 'v2', 'refcount-bits': '16', 'lazy-refcounts': 'off'}",
    };
    json_object *options =
        json_tokener_parse(choices[g_rand_int_range(test->random, 0, G_N_ELEMENTS(choices))]);
    GError *error = NULL;

    e->kind = BARRIER;
    /* Snapshots of other sizes and bitmaps don't allow each. */
    if (!test->node->driver->co_amend(test->node, options, false, &error)) {
        g_clear_error(&error);
    }
    json_object_put(options);
}

static void co_other_bitmap(struct test *test, struct event *e)
{
    GError *error = NULL;

    e->kind = BARRIER;
    if (test->second_bitmap) {
        co_dirty_bitmap_remove(test->node, "c", &error);
    } else {
        co_dirty_bitmap_add(test->node, "c", SECTOR, true, g_rand_boolean(test->random), &error);
    }
    g_assert_no_error(error);
    test->second_bitmap = !test->second_bitmap;
}

static void co_step(struct test *test)
{
    const struct layout *l = test->layout;
    unsigned what = g_rand_int_range(test->random, 0, 100);
    struct event e = {.begin = test->recorder.log->len};

    if (what < 75) {
        co_change(test, &e, what);
    } else if (what >= 90 && l->snapshots) {
        co_snapshot(test, &e);
    } else if (what >= 86 && l->resize) {
        co_resize(test, &e);
    } else if (what >= 83 && l->amend) {
        co_amend(test, &e);
    } else if (what >= 81 && l->bitmap) {
        co_other_bitmap(test, &e);
    } else {
        e.kind = BARRIER;
    }
    if (e.kind != CHANGE) {
        g_assert_cmpint(co_block_flush(test->user), ==, 0);
    }
    e.end = test->recorder.log->len;
    e.size = test->node->length;
    e.after = g_memdup2(test->model, IMAGE);
    g_array_append_val(test->events, e);
}

static void co_record(void *opaque)
{
    struct test *test = opaque;
    struct block_node *file = record_open(test->t, "rec", test->recorder.data, 0, &test->recorder);
    GError *error = NULL;
    unsigned i;

    co_create(test, file);
    test->node = co_open_on(test, "rec", false, 0, &error);
    g_assert_no_error(error);
    test->user = block_user_new(test->t->graph, "test", NULL, NULL);
    block_user_attach(test->user, test->node, BLOCK_PERM_ALL & ~BLOCK_PERM_WRITE_UNCHANGED,
                      BLOCK_PERM_ALL, &error);
    g_assert_no_error(error);
    if (test->layout->bitmap) {
        co_dirty_bitmap_add(test->node, "b", 4096, true, false, &error);
        g_assert_no_error(error);
    }
    for (i = 0; i < STEPS; i++) {
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
    bool look_at_snapshots;
    uint8_t *data;
    uint64_t size, longest;
    /* What the disk must hold, and may hold instead: the state of one event, but what was written
     * since. */
    const struct event *state, *instead;
    bool *sure; /* sectors of state */
    uint8_t *zeroes;
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

    /* All that the last one may have come to, with what a repair appends. */
    memset(r->data, 0, r->longest);
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
    unsigned i, first = 0;
    uint64_t s;

    r->state = r->instead = NULL;
    for (i = 0; i < events->len; i++) {
        const struct event *e = &g_array_index(events, struct event, i);

        if (e->kind != CHANGE && e->end <= r->at) {
            r->state = e;
            first = i + 1;
        }
    }
    for (s = 0; s < IMAGE / SECTOR; s++) {
        r->sure[s] = true;
    }
    for (i = first; i < events->len; i++) {
        const struct event *e = &g_array_index(events, struct event, i);

        if (e->begin >= r->at) {
            break;
        }
        for (s = e->offset / SECTOR; s < (e->offset + e->bytes) / SECTOR; s++) {
            r->sure[s] = false;
        }
        if (e->kind == RESIZE || e->kind == GOTO) {
            r->instead = e;
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
    node = co_open_on(r->test, "left", false, BLOCK_OPEN_CHECK, &error);
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
    GError *error = NULL;
    const struct dirty_bitmap *b = dirty_bitmap_find(node, "b", &error);
    uint64_t s;

    if (!b || b->inconsistent) {
        show(r, b ? "the bitmap is inconsistent" : error->message, "");
    }
    for (s = 0; s < node->length / SECTOR; s++) {
        if (memcmp(r->test->buffer + s * SECTOR, r->zeroes, SECTOR) &&
            !dirty_bitmap_get(b, s * SECTOR)) {
            g_autofree char *text = g_strdup_printf("sector %u", (unsigned)s);

            show(r, "the bitmap doesn't know what was written", text);
        }
    }
}

/* The first sector that differs from contents of so many bytes, which zeroes follow; -1: none.
 * sure NULL: of all. */
static int64_t differs(const struct remains *r, uint64_t length, const uint8_t *contents,
                       uint64_t size, const bool *sure)
{
    uint64_t s;

    for (s = 0; s < length / SECTOR; s++) {
        const uint8_t *expected = s < size / SECTOR && contents ? contents + s * SECTOR : r->zeroes;

        if ((!sure || sure[s]) && memcmp(r->test->buffer + s * SECTOR, expected, SECTOR)) {
            return s;
        }
    }
    return -1;
}

/* Whether the disk is as the event that was under way makes it. */
static bool is_instead(const struct remains *r, uint64_t length)
{
    const struct event *e = r->instead;

    if (!e || length != e->size) {
        return false;
    }
    if (e->kind == GOTO) {
        const struct event *made = find_created(r->test, e->snapshot);

        return differs(r, length, made->after, made->size, NULL) < 0;
    }
    return differs(r, length, r->state ? r->state->after : NULL, r->state ? r->state->size : IMAGE,
                   r->sure) < 0;
}

static void check_disk(struct remains *r, uint64_t length)
{
    uint64_t size = r->state ? r->state->size : IMAGE, s;
    int64_t found;
    g_autofree char *text = NULL;

    if (is_instead(r, length)) {
        return;
    }
    /* What a smaller size cuts off may be gone before the size is smaller. */
    for (s = r->instead && r->instead->kind == RESIZE ? r->instead->size / SECTOR : IMAGE / SECTOR;
         s < IMAGE / SECTOR; s++) {
        r->sure[s] = false;
    }
    found =
        length == size ? differs(r, length, r->state ? r->state->after : NULL, size, r->sure) : 0;
    if (found >= 0) {
        text = g_strdup_printf("size %u, sector %u", (unsigned)length, (unsigned)found);
        show(r, "flushed data are gone", text);
    }
}

static struct block_user *co_read_left(struct remains *r, bool read_only, struct block_node **node)
{
    GError *error = NULL;
    struct block_user *user = block_user_new(r->test->t->graph, "reader", NULL, NULL);

    *node = co_open_on(r->test, "left", read_only, 0, &error);
    if (!*node) {
        show(r, error->message, "");
    }
    block_user_attach(user, *node, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL, &error);
    g_assert_no_error(error);
    return user;
}

static void co_check_data(struct remains *r)
{
    struct block_node *node;
    struct block_user *user = co_read_left(r, false, &node);

    g_assert_cmpint(co_block_read(user, 0, node->length,
                                  BLOCK_BUFFER(r->test->buffer, node->length), 0),
                    ==, 0);
    check_disk(r, node->length);
    if (r->test->layout->bitmap) {
        check_bitmap(r, node);
    }
    block_user_free(user);
    co_block_node_unref(node);
}

static void co_check_snapshot(struct remains *r, unsigned number)
{
    g_autofree char *name = g_strdup_printf("s%u", number);
    const struct event *made = find_created(r->test, number);
    struct block_node *node;
    struct block_user *user = co_read_left(r, true, &node);
    GError *error = NULL;

    if (!node->driver->snapshots->co_load_temporarily(node, NULL, name, &error)) {
        show(r, error->message, name);
    }
    g_assert_cmpint(co_block_read(user, 0, node->length,
                                  BLOCK_BUFFER(r->test->buffer, node->length), 0),
                    ==, 0);
    if (node->length != made->size ||
        differs(r, node->length, made->after, made->size, NULL) >= 0) {
        show(r, "a snapshot isn't what it was", name);
    }
    block_user_free(user);
    co_block_node_unref(node);
}

/* Those that were made, and nobody began to delete. */
static void co_check_snapshots(struct remains *r)
{
    const GArray *events = r->test->events;
    bool there[STEPS + 1] = {false};
    unsigned i;

    for (i = 0; i < events->len; i++) {
        const struct event *e = &g_array_index(events, struct event, i);

        if (e->kind == CREATE && e->end <= r->at) {
            there[e->snapshot] = true;
        } else if (e->kind == DELETE && e->begin < r->at) {
            there[e->snapshot] = false;
        }
    }
    for (i = 1; i <= STEPS; i++) {
        if (there[i]) {
            co_check_snapshot(r, i);
        }
    }
}

static void co_look(void *opaque)
{
    struct remains *r = opaque;
    struct block_node *file = record_open(r->test->t, "left", r->data, r->size, NULL);

    /* What was damaged is shown as it was before the repair. */
    co_check_tables(r);
    co_check_data(r);
    if (r->look_at_snapshots) {
        co_check_snapshots(r);
    }
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
                        .zeroes = g_malloc0(SECTOR),
                        .sure = g_new(bool, IMAGE / SECTOR)};
    unsigned variant, i;

    for (i = 0; i < test->recorder.log->len; i++) {
        const struct entry *e = &g_array_index(test->recorder.log, struct entry, i);

        r.longest = MAX(r.longest, e->offset + e->bytes);
    }
    r.longest = MIN(r.longest + IMAGE, MAX_FILE);
    for (r.at = first_moment(test); r.at <= test->recorder.log->len; r.at++) {
        for (variant = 0; variant < VARIANTS; variant++) {
            expect(&r);
            r.look_at_snapshots = test->layout->snapshots && variant == 1 && r.at % 2;
            rebuild(&r, variant ? test->random : NULL);
            block_run(test->t->context.loop, co_look, &r);
        }
    }
    g_free(r.data);
    g_free(r.zeroes);
    g_free(r.sure);
}

static void clear_entry(void *opaque)
{
    g_free(((struct entry *)opaque)->data);
}

static void clear_event(void *opaque)
{
    g_free(((struct event *)opaque)->after);
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
        g_array_set_clear_func(test.events, clear_event);
        test.buffer = g_malloc(IMAGE);
        test.model = g_malloc0(IMAGE);
        block_run(t.context.loop, co_record, &test);
        look_at_all(&test);
        g_array_unref(test.recorder.log);
        g_array_unref(test.events);
        g_free(test.recorder.data);
        g_free(test.buffer);
        g_free(test.model);
        g_rand_free(test.random);
        block_test_clear(&t);
    }
}

static const struct layout layouts[] = {
    {"default", "{}", .resize = true, .compress = true},
    {"cluster-512", "{'cluster-size': 512}"},
    {"cluster-4k", "{'cluster-size': 4096}", .compress = true},
    {"v2", "{'version': 'v2', 'cluster-size': 4096}", .resize = true},
    {"refcount-64", "{'refcount-bits': 64, 'cluster-size': 512}"},
    {"extended-l2", "{'extended-l2': true, 'cluster-size': 16384}", .resize = true},
    {"lazy", "{'lazy-refcounts': true, 'cluster-size': 4096}", .lazy = true},
    {"snapshots", "{'cluster-size': 4096}", .snapshots = true, .resize = true, .compress = true},
    {"snapshots-512", "{'cluster-size': 512}", .snapshots = true, .resize = true},
    {"amend", "{'cluster-size': 4096}", .snapshots = true, .amend = true, .compress = true},
    {"bitmap", "{'cluster-size': 4096}", .bitmap = true, .resize = true},
    {"bitmap-snapshots", "{'cluster-size': 512}", .snapshots = true, .bitmap = true,
     .resize = true},
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
