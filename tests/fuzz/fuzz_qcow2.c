/*
 * Fuzzer of qcow2 images: each input is a file in memory, which is checked, opened, mapped, read,
 * written, has snapshots made and taken, and is repaired. What comes out doesn't matter, that it
 * ends does; but a repair that says that nothing is left must leave an image in which the next
 * check finds nothing.
 *
 * Without libFuzzer inputs are small good images with some words of their metadata changed.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/block_priv.h"
#include "block/dirty_bitmap.h"
#include "util/fdset.h"
#include "util/log.h"

enum { MAX_FILE = 4 << 20, MOST_INPUT = 1 << 20, MAX_READ = 1 << 20 };

/* ---- A file in memory ---- */

struct mem {
    uint8_t *data; /* MAX_FILE */
};

static int co_mem_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                       struct block_buffer buffer, unsigned flags)
{
    struct mem *m = node->state;

    (void)flags;
    if (offset + bytes > MAX_FILE) {
        return -EIO;
    }
    block_buffer_from(buffer, m->data + offset, bytes);
    return 0;
}

static int co_mem_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                        struct block_buffer buffer, unsigned flags)
{
    struct mem *m = node->state;

    (void)flags;
    if (offset + bytes > MAX_FILE) {
        return -ENOSPC;
    }
    block_buffer_to(buffer, m->data + offset, bytes);
    return 0;
}

static int co_mem_truncate(struct block_node *node, uint64_t size, bool exact,
                           enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    struct mem *m = node->state;

    (void)exact, (void)prealloc, (void)flags;
    if (size > MAX_FILE) {
        g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC, "The file would be too long");
        return -ENOSPC;
    }
    if (size < node->length) {
        memset(m->data + size, 0, node->length - size);
    }
    node->length = size;
    return 0;
}

static const struct block_driver mem_driver = {
    .name = "memory",
    .state_size = sizeof(struct mem),
    .co_read = co_mem_read,
    .co_write = co_mem_write,
    .co_truncate = co_mem_truncate,
};

struct world {
    struct object_context context;
    struct object *root;
    struct block_graph *graph;
    struct block_node *file;
    struct block_user *user;
    uint8_t *buffer; /* MAX_READ */
    const uint8_t *input;
    size_t size;
    uint64_t random;
};

static struct block_node *file_new(struct world *w)
{
    struct block_node *node = block_node_new(w->graph, &mem_driver);
    struct mem *m = node->state;

    block_node_set_name(node, "file", NULL);
    node->options = json_object_new_object();
    node->limits.request_align = 512;
    m->data = g_malloc0(MAX_FILE);
    block_node_refresh_limits(node);
    return node;
}

static void world_init(struct world *w)
{
    g_autoptr(GError) error = NULL;

    w->context.loop = event_loop_new("main", &error);
    w->context.fdsets = fdsets_new();
    w->context.log = log_new("fuzz_qcow2");
    w->root = object_root_new(&w->context);
    w->graph = block_graph_new(w->root);
    w->file = file_new(w);
    w->user = block_user_new(w->graph, "fuzz", NULL, NULL);
    w->buffer = g_malloc0(MAX_READ);
    /* Thousands of lines on damage say nothing here. */
    if (!g_getenv("NANDU_FUZZ_SHOW") && !freopen("/dev/null", "w", stderr)) {
        exit(1);
    }
}

static struct world *get_world(void)
{
    static struct world w; /* kept between inputs */

    if (!w.graph) {
        world_init(&w);
    }
    return &w;
}

static void bug(const char *what)
{
    printf("fuzz_qcow2: %s\n", what);
    fflush(stdout);
    abort();
}

/* ---- What is done with an image ---- */

static void set_file(struct world *w, const uint8_t *data, size_t size)
{
    struct mem *m = w->file->state;

    memset(m->data, 0, MAX_FILE);
    memcpy(m->data, data, size);
    w->file->length = size;
}

static struct block_node *co_open(struct world *w, bool read_only, unsigned flags)
{
    json_object *json = json_object_new_object();
    struct qapi_blockdev_options options;
    g_autoptr(GError) error = NULL;
    struct block_node *node = NULL;

    json_object_object_add(json, "driver", json_object_new_string("qcow2"));
    json_object_object_add(json, "file", json_object_new_string("file"));
    json_object_object_add(json, "discard", json_object_new_string("unmap"));
    json_object_object_add(json, "read-only", json_object_new_boolean(read_only));
    if (qapi_from_json(&qapi_type_blockdev_options, json, &options, &error)) {
        node = co_block_open(w->graph, &options, flags | BLOCK_OPEN_NO_BACKING, &error);
        qapi_clear(&qapi_type_blockdev_options, &options);
    }
    json_object_put(json);
    if (!node && (!error || !error->message[0] || strchr(error->message, '\n'))) {
        bug("no message of one line");
    }
    return node;
}

/* Whether there is no damage; false, too, if it can't be opened. Leaks aren't damage: a file that was cut off has counts of
 * clusters behind its end. */
static bool co_check(struct world *w, unsigned fix, bool *opened)
{
    struct block_node *node = co_open(w, !fix, BLOCK_OPEN_CHECK);
    struct qapi_image_check result = {0};
    bool ok;

    *opened = node != NULL;
    ok = node && node->driver->co_check(node, fix, &result, NULL) && !result.corruptions &&
         !result.check_errors;
    co_block_node_unref(node);
    return ok;
}

static void co_read_all(struct world *w, struct block_node *node)
{
    uint64_t end = MIN(node->length, MAX_READ), offset;
    struct block_status status;
    unsigned i;

    for (offset = 0, i = 0; offset < node->length && i < 1000; offset += status.bytes, i++) {
        if (co_node_status(node, offset, node->length - offset, &status) < 0 || !status.bytes) {
            break;
        }
    }
    for (offset = 0; offset < end; offset += 8192) {
        uint64_t bytes = MIN(8192, end - offset);

        co_node_read(node, offset, bytes, BLOCK_BUFFER(w->buffer, bytes), 0);
    }
}

static void co_look(struct world *w)
{
    struct block_node *node = co_open(w, true, 0);
    struct qapi_image_info info;

    if (!node) {
        return;
    }
    co_read_all(w, node);
    co_block_image_info(node, false, &info, NULL);
    qapi_clear(&qapi_type_image_info, &info);
    if (node->driver->snapshots->co_load_temporarily(node, NULL, "s", NULL)) {
        co_read_all(w, node);
    }
    co_block_node_unref(node);
}

static void co_amend(struct block_node *node, unsigned choice)
{
    static const char *const choices[] = {
        "{'version': 'v2', 'refcount-bits': '16', 'lazy-refcounts': 'off'}",
        "{'version': 'v3', 'lazy-refcounts': 'on'}",
        "{'refcount-bits': '64'}",
        "{'refcount-bits': '8'}",
    };
    json_object *options = json_tokener_parse(choices[choice % G_N_ELEMENTS(choices)]);

    node->driver->co_amend(node, options, false, NULL);
    json_object_put(options);
}

static void co_one_change(struct world *w, struct block_node *node)
{
    uint64_t r = next_random(&w->random), length = node->length, offset, bytes;
    struct qapi_snapshot_info info = {.name = (char *)"t"};

    if (!length) {
        return;
    }
    /* Mostly where there is something. */
    offset = (r >> 8) % (r & 128 ? length : MIN(length, 65536));
    bytes = MIN(1 + (r >> 40) % 5000, length - offset);
    switch (r % 13) {
    case 0: co_block_discard(w->user, offset, bytes); break;
    case 1: co_block_write_zeroes(w->user, offset, bytes, r & 64 ? BLOCK_MAY_UNMAP : 0); break;
    case 2: co_block_flush(w->user); break;
    case 3: node->driver->snapshots->co_create(node, &info, NULL); break;
    case 4: node->driver->snapshots->co_delete(node, NULL, r & 64 ? "s" : "t", NULL); break;
    case 5: node->driver->snapshots->co_goto(node, r & 64 ? "s" : "t", NULL); break;
    case 6:
        co_block_truncate(w->user, (offset + 511) & ~511ull, false, QAPI_PREALLOC_MODE_OFF, 0,
                          NULL);
        break;
    case 7:
        co_dirty_bitmap_remove(node, "b", NULL);
        co_dirty_bitmap_add(node, "c", 4096, true, false, NULL);
        break;
    case 8: co_amend(node, r >> 16); break;
    default:
        co_block_write(w->user, offset, bytes, BLOCK_BUFFER(w->buffer, bytes),
                       r & 64 ? BLOCK_FUA : 0);
    }
}

static void co_change(struct world *w)
{
    struct block_node *node = co_open(w, false, 0);
    unsigned i;

    if (!node) {
        return;
    }
    if (!block_user_attach(w->user, node, BLOCK_PERM_ALL & ~BLOCK_PERM_WRITE_UNCHANGED,
                           BLOCK_PERM_ALL, NULL)) {
        bug("nobody else is there, and it can't be used");
    }
    for (i = 0; i < 12; i++) {
        co_one_change(w, node);
    }
    block_user_detach(w->user);
    co_block_node_unref(node);
}

static void co_run_input(void *opaque)
{
    struct world *w = opaque;
    bool opened, was_good;

    w->random = w->size * 0x9e3779b97f4a7c15ull | 1;
    set_file(w, w->input, w->size);
    was_good = co_check(w, 0, &opened);
    co_look(w);
    co_change(w);
    if (was_good && !co_check(w, 0, &opened) && opened) {
        bug("an image that was good isn't any more");
    }
    set_file(w, w->input, w->size);
    if (co_check(w, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &opened) && !co_check(w, 0, &opened)) {
        bug("a repaired image isn't good");
    }
    co_change(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world *w = get_world();

    if (size && size <= MOST_INPUT) {
        w->input = data;
        w->size = size;
        block_run(w->context.loop, co_run_input, w);
    }
    return 0;
}

#ifndef NANDU_LIBFUZZER

/* ---- Without libFuzzer ---- */

static const char *const layouts[] = {
    "{'cluster-size': 512}",
    "{'cluster-size': 4096}",
    "{'cluster-size': 512, 'refcount-bits': 1}",
    "{'cluster-size': 512, 'version': 'v2'}",
    "{'cluster-size': 16384, 'extended-l2': true}",
    "{'cluster-size': 4096, 'lazy-refcounts': true, 'compression-type': 'zstd'}",
};

struct good {
    const char *layout;
    uint8_t *data;
    size_t size;
};

static void co_fill(struct world *w, struct block_node *node)
{
    struct qapi_snapshot_info info = {.name = (char *)"s"};
    unsigned i;

    for (i = 0; i < MAX_READ; i++) {
        w->buffer[i] = i >> 7;
    }
    co_dirty_bitmap_add(node, "b", 4096, true, false, NULL);
    co_block_write(w->user, 0, 10000, BLOCK_BUFFER(w->buffer, 10000), 0);
    co_block_write(w->user, 32768, 16384, BLOCK_BUFFER(w->buffer, 16384), BLOCK_COMPRESSED);
    node->driver->snapshots->co_create(node, &info, NULL);
    co_block_write(w->user, 5000, 3000, BLOCK_BUFFER(w->buffer, 3000), 0);
    co_block_write_zeroes(w->user, 20000, 8000, 0);
}

static void co_make_good(void *opaque)
{
    struct good *good = opaque;
    struct world *w = get_world();
    json_object *json = json_tokener_parse(good->layout);
    struct qapi_blockdev_create_options options;
    struct block_node *node;

    set_file(w, (const uint8_t *)"", 0);
    json_object_object_add(json, "driver", json_object_new_string("qcow2"));
    json_object_object_add(json, "size", json_object_new_int64(1 << 20));
    json_object_object_add(json, "file", json_object_new_string("file"));
    if (!qapi_from_json(&qapi_type_blockdev_create_options, json, &options, NULL) ||
        !block_driver_find("qcow2")->co_create(w->graph, &options, NULL)) {
        bug("no image can be made");
    }
    qapi_clear(&qapi_type_blockdev_create_options, &options);
    json_object_put(json);
    node = co_open(w, false, 0);
    if (!node || !block_user_attach(w->user, node, BLOCK_PERM_ALL & ~BLOCK_PERM_WRITE_UNCHANGED,
                                    BLOCK_PERM_ALL, NULL)) {
        bug("what was made can't be opened");
    }
    co_fill(w, node);
    block_user_detach(w->user);
    co_block_node_unref(node);
    good->size = w->file->length;
    good->data = g_memdup2(((struct mem *)w->file->state)->data, good->size);
}

static const struct good *get_good(unsigned i)
{
    static struct good images[G_N_ELEMENTS(layouts)]; /* made once */

    if (!images[i].data) {
        images[i].layout = layouts[i];
        block_run(get_world()->context.loop, co_make_good, &images[i]);
    }
    return &images[i];
}

static uint64_t get64(const GByteArray *file, uint64_t at)
{
    uint64_t value = 0;

    if (at + 8 <= file->len) {
        memcpy(&value, file->data + at, 8);
    }
    return GUINT64_FROM_BE(value);
}

/* A place in the header or in a table that it leads to, and perhaps in what that leads to. */
static uint64_t pick_place(uint64_t *state, const GByteArray *file)
{
    /*
     * L1, refcounts, snapshots, and the directory of bitmaps in an extension right after the
     * header.
     */
    static const uint8_t tables[] = {40, 48, 64, 136};
    uint64_t r = next_random(state), at;

    if (r % 4 == 0) {
        return (r >> 8) % 160;
    }
    at = get64(file, tables[(r >> 8) % 4]) + (r >> 12) % 4 * 8;
    if (r % 4 == 1) {
        return at;
    }
    at = (get64(file, at) & 0x00fffffffffffe00ull) + (r >> 16) % 96 * 8;
    return r % 4 == 2 ? at : (get64(file, at) & 0x00fffffffffffe00ull) + (r >> 24) % 64 * 8;
}

void fuzz_make_input(uint64_t *state, GByteArray *input)
{
    static const uint64_t values[] = {
        0,          1,
        2,          3,
        8,          9,
        21,         22,
        63,         64,
        0xff,       0x200,
        0x1000,     0xffff,
        0x10000,    0x7fffffff,
        0xffffffff, 1ull << 32,
        1ull << 40, 1ull << 55,
        1ull << 56, 1ull << 62,
        INT64_MAX,  1ull << 63,
        UINT64_MAX, UINT64_MAX - 511,
    };
    const struct good *good = get_good(next_random(state) % G_N_ELEMENTS(layouts));
    unsigned changes = next_random(state) % 6;

    g_byte_array_append(input, good->data, good->size);
    while (changes--) {
        uint64_t at = pick_place(state, input), r = next_random(state),
                 value = values[r % G_N_ELEMENTS(values)];
        unsigned width = 1u << (r >> 8) % 4;

        if (r >> 20 & 1) {
            value = ((r >> 24) % (good->size / 512 + 3) * 512) | (r >> 21 & 3) << 62;
            width = 8;
        }
        value = r >> 60 & 1 ? get64(input, at) ^ 1ull << (r >> 54 & 63) : value;
        value = GUINT64_TO_BE(value << (64 - 8 * width));
        if (at + width <= input->len) {
            memcpy(input->data + at, &value, width);
        }
    }
    if (next_random(state) % 16 == 0) {
        g_byte_array_set_size(input, next_random(state) % input->len);
    }
}

#endif
