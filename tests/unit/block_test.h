/* What tests of the block layer share: a graph with a main loop, and a driver over memory that
 * keeps account. */
#ifndef NANDU_TEST_BLOCK_TEST_H
#define NANDU_TEST_BLOCK_TEST_H

#include <glib.h>
#include <stdatomic.h>
#include <string.h>

#include "block/block_priv.h"
#include "util/fdset.h"
#include "util/log.h"

struct block_test {
    struct object_context context;
    struct object *root;
    struct block_graph *graph;
};

static inline void block_test_init(struct block_test *t)
{
    g_autoptr(GError) error = NULL;

    *t = (struct block_test){0};
    t->context.loop = event_loop_new("main", &error);
    g_assert_no_error(error);
    t->context.fdsets = fdsets_new();
    t->context.log = log_new("test");
    t->root = object_root_new(&t->context);
    t->graph = block_graph_new(t->root);
}

static inline void block_test_free_graph(void *opaque)
{
    co_block_graph_free(opaque);
}

static inline void block_test_clear(struct block_test *t)
{
    block_run(t->context.loop, block_test_free_graph, t->graph);
    object_unref(t->root);
    log_free(t->context.log);
    fdsets_free(t->context.fdsets);
    event_loop_unref(t->context.loop);
}

/* fn(t) as a coroutine, with a graph of its own. */
static inline void block_test_run(event_fn *fn)
{
    struct block_test t;

    block_test_init(&t);
    block_run(t.context.loop, fn, &t);
    block_test_clear(&t);
}

/* A node by JSON of the schema, and a user of it with all permissions, which holds it. */
static inline struct block_node *block_test_open(struct block_test *t, const char *json,
                                                 GError **error)
{
    g_autoptr(json_object) value = json_parse(json, error);
    struct qapi_blockdev_options options;
    struct block_node *node;

    if (!value || !qapi_from_json(&qapi_type_blockdev_options, value, &options, error)) {
        return NULL;
    }
    node = co_block_open(t->graph, &options, 0, error);
    qapi_clear(&qapi_type_blockdev_options, &options);
    return node;
}

static inline struct block_user *block_test_use(struct block_test *t, struct block_node *node)
{
    struct block_user *user = block_user_new(t->graph, "test", NULL, NULL);
    g_autoptr(GError) error = NULL;

    block_user_attach(user, node, BLOCK_PERM_ALL, BLOCK_PERM_ALL, &error);
    g_assert_no_error(error);
    co_block_node_unref(node);
    return user;
}

static inline struct block_user *block_test_open_user(struct block_test *t, const char *json)
{
    g_autoptr(GError) error = NULL;
    struct block_node *node = block_test_open(t, json, &error);

    g_assert_no_error(error);
    return block_test_use(t, node);
}

/* ---- The driver: memory, as strict as the limits that it was given ---- */

struct mem_state {
    uint8_t *data;
    uint64_t size;
    bool slow;      /* requests give others a turn in the middle */
    bool no_zeroes; /* write_zeroes is -ENOTSUP */
    int fail_flush; /* -errno, once */
    _Atomic unsigned reads, writes, fua_writes, zeroes, unmaps, discards, flushes;
    _Atomic unsigned under_way, most_under_way;
    uint64_t unflushed; /* bytes written and neither flushed nor FUA */
};

static inline void mem_check(const struct block_node *node, uint64_t offset, uint64_t bytes)
{
    const struct mem_state *s = node->state;
    uint64_t mask = node->limits.request_align - 1;

    g_assert(bytes && !((offset | bytes) & mask) && offset + bytes <= ((s->size + mask) & ~mask));
}

static inline void mem_check_buffer(const struct block_node *node, uint64_t bytes,
                                    struct block_buffer buffer)
{
    struct iovec iov[1024];
    unsigned n;

    g_assert_cmpuint(buffer.n_iov, <=, G_N_ELEMENTS(iov));
    n = block_buffer_slice(buffer, bytes, iov);
    g_assert(!node->limits.max_iov || n <= node->limits.max_iov);
    g_assert(!node->limits.max_transfer || bytes <= node->limits.max_transfer);
    g_assert(block_buffer_is_aligned(buffer, bytes, node->limits.memory_align));
}

static inline void mem_begin(struct mem_state *s)
{
    unsigned now = ++s->under_way;

    if (now > s->most_under_way) {
        s->most_under_way = now;
    }
    if (s->slow) {
        coroutine_wake(coroutine_self());
        co_yield ();
    }
}

static int mem_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    struct mem_state *s = node->state;

    mem_check(node, offset, bytes);
    mem_check_buffer(node, bytes, buffer);
    mem_begin(s);
    s->reads++;
    block_buffer_from(buffer, s->data + offset, bytes);
    s->under_way--;
    return 0;
}

static int mem_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                     struct block_buffer buffer, unsigned flags)
{
    struct mem_state *s = node->state;

    mem_check(node, offset, bytes);
    mem_check_buffer(node, bytes, buffer);
    mem_begin(s);
    s->writes++;
    s->fua_writes += flags & BLOCK_FUA ? 1 : 0;
    s->unflushed += flags & BLOCK_FUA ? 0 : bytes;
    block_buffer_to(buffer, s->data + offset, bytes);
    s->under_way--;
    return 0;
}

static int mem_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes,
                            unsigned flags)
{
    struct mem_state *s = node->state;

    mem_check(node, offset, bytes);
    g_assert(!node->limits.max_zeroes || bytes <= node->limits.max_zeroes);
    if (s->no_zeroes) {
        return -ENOTSUP;
    }
    s->zeroes++;
    s->unmaps += flags & BLOCK_MAY_UNMAP ? 1 : 0;
    s->unflushed += flags & BLOCK_FUA ? 0 : bytes;
    memset(s->data + offset, 0, bytes);
    return 0;
}

static int mem_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    struct mem_state *s = node->state;

    mem_check(node, offset, bytes);
    s->discards++;
    return 0;
}

static int mem_flush(struct block_node *node)
{
    struct mem_state *s = node->state;
    uint64_t covered = s->unflushed;
    int result = s->fail_flush;

    mem_begin(s);
    s->flushes++;
    s->fail_flush = 0;
    s->unflushed -= result ? 0 : covered;
    s->under_way--;
    return result;
}

static void mem_close(struct block_node *node)
{
    g_free(((struct mem_state *)node->state)->data);
}

static const struct block_driver mem_driver = {
    .name = "mem",
    .state_size = sizeof(struct mem_state),
    .co_close = mem_close,
    .co_read = mem_read,
    .co_write = mem_write,
    .co_write_zeroes = mem_write_zeroes,
    .co_discard = mem_discard,
    .co_flush = mem_flush,
};

/* limits NULL: none. Flags of writes and zeroes that it takes itself. */
static inline struct block_node *mem_open(struct block_test *t, const char *name, uint64_t size,
                                          const struct block_limits *limits, unsigned flags)
{
    struct block_node *node = block_node_new(t->graph, &mem_driver);
    struct mem_state *s = node->state;
    g_autoptr(GError) error = NULL;

    block_node_set_name(node, name, &error);
    g_assert_no_error(error);
    node->options = json_object_new_object();
    s->data = g_malloc0(size + 4096);
    s->size = size;
    node->length = size;
    if (limits) {
        node->limits = *limits;
    }
    node->supported_write_flags = node->supported_zeroes_flags = flags;
    block_node_refresh_limits(node);
    return node;
}

#endif
