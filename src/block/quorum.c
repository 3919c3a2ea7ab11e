/*
 * Driver quorum: several children with the same data. A read asks all of them, and what most have
 * is what counts, if these are enough; or (read-pattern=fifo) the first one that can. Writes go to
 * all.
 */
#include <errno.h>
#include <string.h>

#include "block/block_priv.h"
#include "block/sparse.h"
#include "qapi/command.h"
#include "qapi/qapi_events.h"
#include "util/log.h"

enum { MAX_CHILDREN = 32, MAX_READ = 1 << 20, SECTOR = 512 };

struct quorum {
    struct block_edge *children[MAX_CHILDREN];
    unsigned n, threshold;
    bool blkverify, rewrite, fifo;
};

/* ---- One request to all children at the same time ---- */

struct request {
    struct block_node *node;
    enum { READ, WRITE, WRITE_ZEROES, FLUSH } op;
    uint64_t offset, bytes;
    struct block_buffer buffer;  /* of writes */
    uint8_t *data[MAX_CHILDREN]; /* of reads */
    unsigned flags;
    int results[MAX_CHILDREN];
    unsigned under_way;
    struct coroutine *co;
};

struct part {
    struct request *request;
    unsigned child;
};

static void co_part(void *opaque)
{
    struct part *part = opaque;
    struct request *r = part->request;
    const struct quorum *s = r->node->state;
    struct block_edge *child = s->children[part->child];
    int *result = &r->results[part->child];

    switch (r->op) {
    case READ:
        *result = co_child_read(child, r->offset, r->bytes,
                                BLOCK_BUFFER(r->data[part->child], r->bytes), 0);
        break;
    case WRITE: *result = co_child_write(child, r->offset, r->bytes, r->buffer, r->flags); break;
    case WRITE_ZEROES: *result = co_child_write_zeroes(child, r->offset, r->bytes, r->flags); break;
    case FLUSH: *result = co_child_flush(child); break;
    }
    if (--r->under_way == 0) {
        coroutine_wake(r->co);
    }
}

static void co_run(struct request *r)
{
    const struct quorum *s = r->node->state;
    struct part parts[MAX_CHILDREN];

    r->co = coroutine_self();
    r->under_way = s->n + 1;
    for (unsigned i = 0; i < s->n; i++) {
        parts[i] = (struct part){r, i};
        coroutine_start(coroutine_loop(r->co), co_part, &parts[i]);
    }
    if (--r->under_way) {
        while (r->under_way) {
            co_yield ();
        }
    }
}

/* ---- Reports ---- */

static void report_failure(const struct request *r)
{
    struct qapi_quorum_failure_event event = {
        .reference = r->node->name,
        .sector_num = (int64_t)(r->offset / SECTOR),
        .sectors_count = (int64_t)((r->bytes + SECTOR - 1) / SECTOR),
    };

    qapi_event_quorum_failure(r->node->graph->events, &event);
}

/* error 0: it has other data. */
static void report_bad(const struct request *r, unsigned child, int error)
{
    static const enum qapi_quorum_op_type types[] = {
        [READ] = QAPI_QUORUM_OP_TYPE_READ,
        [WRITE] = QAPI_QUORUM_OP_TYPE_WRITE,
        [WRITE_ZEROES] = QAPI_QUORUM_OP_TYPE_WRITE,
        [FLUSH] = QAPI_QUORUM_OP_TYPE_FLUSH,
    };
    const struct quorum *s = r->node->state;
    struct qapi_quorum_report_bad_event event = {
        .type = types[r->op],
        .error = error < 0 ? (char *)g_strerror(-error) : NULL,
        .node_name = s->children[child]->node->name,
        .sector_num = (int64_t)(r->offset / SECTOR),
        .sectors_count = (int64_t)((r->bytes + SECTOR - 1) / SECTOR),
    };

    qapi_event_quorum_report_bad(r->node->graph->events, &event);
}

/* The error that most have. */
static int vote_error(const struct request *r)
{
    const struct quorum *s = r->node->state;
    unsigned best = 0;
    int error = -EIO;

    for (unsigned i = 0; i < s->n; i++) {
        unsigned votes = 0;

        for (unsigned j = 0; r->results[i] < 0 && j < s->n; j++) {
            votes += r->results[j] == r->results[i];
        }
        if (votes > best) {
            best = votes;
            error = r->results[i];
        }
    }
    return error;
}

/* 0 if enough could do it; the others are told of. */
static int judge_results(const struct request *r)
{
    const struct quorum *s = r->node->state;
    unsigned good = 0;

    for (unsigned i = 0; i < s->n; i++) {
        good += r->results[i] >= 0;
        if (r->results[i] < 0) {
            report_bad(r, i, r->results[i]);
        }
    }
    if (good >= s->threshold) {
        return 0;
    }
    report_failure(r);
    return vote_error(r);
}

/* ---- Reads ---- */

/* The child whose data win, or -1. */
static int vote(const struct request *r)
{
    const struct quorum *s = r->node->state;
    unsigned best = 0;
    int winner = -1;

    for (unsigned i = 0; i < s->n; i++) {
        unsigned votes = 0;

        for (unsigned j = 0; r->results[i] >= 0 && j < s->n; j++) {
            votes += r->results[j] >= 0 && !memcmp(r->data[i], r->data[j], r->bytes);
        }
        if (votes > best) {
            best = votes;
            winner = (int)i;
        }
    }
    return best >= s->threshold ? winner : -1;
}

static int co_rewrite(const struct request *r, unsigned winner)
{
    const struct quorum *s = r->node->state;
    int result = 0;

    for (unsigned i = 0; i < s->n; i++) {
        if (r->results[i] < 0 || memcmp(r->data[i], r->data[winner], r->bytes)) {
            int ret = co_child_write(s->children[i], r->offset, r->bytes,
                                     BLOCK_BUFFER(r->data[winner], r->bytes), 0);

            result = ret < 0 ? ret : result;
        }
    }
    return result;
}

static int co_decide(struct request *r, struct block_buffer buffer)
{
    const struct quorum *s = r->node->state;
    int result = judge_results(r), winner;

    if (result < 0) {
        return result;
    }
    winner = vote(r);
    if (winner < 0) {
        if (s->blkverify) {
            log_error(object_context(block_graph_root(r->node->graph))->log,
                      "quorum: offset=%" PRIu64 " bytes=%" PRIu64
                      ": the contents of the children differ",
                      r->offset, r->bytes);
        }
        report_failure(r);
        return -EIO;
    }
    for (unsigned i = 0; i < s->n; i++) {
        if (r->results[i] >= 0 && memcmp(r->data[i], r->data[winner], r->bytes)) {
            report_bad(r, i, 0);
        }
    }
    if (s->rewrite && !r->node->read_only) {
        co_rewrite(r, (unsigned)winner);
    }
    block_buffer_from(buffer, r->data[winner], r->bytes);
    return 0;
}

static int co_read_all(struct block_node *node, uint64_t offset, uint64_t bytes,
                       struct block_buffer buffer)
{
    const struct quorum *s = node->state;
    struct request r = {.node = node, .op = READ, .offset = offset, .bytes = bytes};
    g_autofree uint8_t *data = g_try_malloc(bytes * s->n);

    if (!data) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < s->n; i++) {
        r.data[i] = data + i * bytes;
    }
    co_run(&r);
    return co_decide(&r, buffer);
}

static int co_read_first(struct block_node *node, uint64_t offset, uint64_t bytes,
                         struct block_buffer buffer)
{
    const struct quorum *s = node->state;
    struct request r = {.node = node, .op = READ, .offset = offset, .bytes = bytes};
    int result = -EIO;

    for (unsigned i = 0; i < s->n; i++) {
        result = co_child_read(s->children[i], offset, bytes, buffer, 0);
        if (result >= 0) {
            return 0;
        }
        report_bad(&r, i, result);
    }
    return result;
}

static int co_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    const struct quorum *s = node->state;
    int result = 0;

    while (bytes && result >= 0) {
        uint64_t n = MIN(bytes, MAX_READ);

        result =
            s->fifo ? co_read_first(node, offset, n, buffer) : co_read_all(node, offset, n, buffer);
        offset += n;
        bytes -= n;
        buffer = bytes ? block_buffer_skip(buffer, n) : buffer;
    }
    return result;
}

/* ---- Other requests ---- */

static int co_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    struct request r = {
        .node = node,
        .op = WRITE,
        .offset = offset,
        .bytes = bytes,
        .buffer = buffer,
        .flags = flags,
    };

    co_run(&r);
    return judge_results(&r);
}

static int co_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct request r = {
        .node = node, .op = WRITE_ZEROES, .offset = offset, .bytes = bytes, .flags = flags};

    co_run(&r);
    return judge_results(&r);
}

static int co_flush(struct block_node *node)
{
    struct request r = {.node = node, .op = FLUSH};

    co_run(&r);
    return judge_results(&r);
}

/* Zeroes if all say so. */
static int co_status(struct block_node *node, uint64_t offset, uint64_t bytes,
                     struct block_status *status)
{
    const struct quorum *s = node->state;
    bool zero = true;

    for (unsigned i = 0; i < s->n; i++) {
        struct block_status one;
        int result = co_node_status_above(s->children[i]->node, NULL, offset, bytes, &one);

        if (result < 0 || !one.bytes) {
            zero = false;
            continue;
        }
        bytes = MIN(bytes, one.bytes);
        zero = zero && one.flags & BLOCK_STATUS_ZERO;
    }
    *status = (struct block_status){
        .flags = BLOCK_STATUS_ALLOCATED | (zero ? BLOCK_STATUS_ZERO : BLOCK_STATUS_DATA),
        .bytes = bytes,
    };
    return 0;
}

static int64_t co_allocated_size(struct block_node *node)
{
    const struct quorum *s = node->state;
    int64_t all = 0;

    for (unsigned i = 0; i < s->n; i++) {
        int64_t size = co_block_allocated_size(s->children[i]->node);

        if (size < 0) {
            return size;
        }
        all += size;
    }
    return all;
}

/* ---- Open ---- */

static bool take_options(struct block_node *node, const struct qapi_blockdev_options_quorum *o,
                         GError **error)
{
    struct quorum *s = node->state;

    if (o->children.n < 1 || o->children.n > MAX_CHILDREN) {
        return block_error(error, "Number of provided children must be from 1 to %d",
                            MAX_CHILDREN);
    }
    if (o->vote_threshold < 1 || (uint64_t)o->vote_threshold > o->children.n) {
        return block_error(error,
                            "threshold %" G_GINT64_FORMAT
                            " may not exceed children count, and is at least 1",
                            o->vote_threshold);
    }
    s->threshold = (unsigned)o->vote_threshold;
    s->fifo = o->has_read_pattern && o->read_pattern == QAPI_QUORUM_READ_PATTERN_FIFO;
    s->blkverify = o->has_blkverify && o->blkverify && !s->fifo;
    s->rewrite = o->has_rewrite_corrupted && o->rewrite_corrupted && !s->fifo;
    if (s->blkverify && (o->children.n != 2 || s->threshold != 2)) {
        return block_error(error,
            "blkverify=on can only be set if there are exactly two files and vote-threshold is "
            "2");
    }
    if (s->rewrite && s->blkverify) {
        return block_error(error, "rewrite-corrupted=on cannot be used with blkverify=on");
    }
    return true;
}

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    const struct qapi_blockdev_options_quorum *o = &options->u.quorum;
    struct quorum *s = node->state;

    if (!take_options(node, o, error)) {
        return false;
    }
    for (s->n = 0; s->n < o->children.n; s->n++) {
        g_autofree char *name = g_strdup_printf("children.%u", s->n);
        struct block_edge *child =
            co_block_open_child(node, name, &o->children.v[s->n], BLOCK_ROLE_DATA, error);

        if (!child) {
            return false;
        }
        s->children[s->n] = child;
        if (child->node->length != s->children[0]->node->length) {
            return block_error(error,
                                "child '%s' has %" PRIu64 " bytes, and '%s' has %" PRIu64,
                                child->node->name, (uint64_t)child->node->length,
                                s->children[0]->node->name, (uint64_t)s->children[0]->node->length);
        }
    }
    node->length = s->children[0]->node->length;
    node->supported_write_flags = BLOCK_FUA | BLOCK_UNCHANGED;
    node->supported_zeroes_flags = BLOCK_FUA | BLOCK_UNCHANGED | BLOCK_MAY_UNMAP;
    return true;
}

/* Who rewrites has to be able to write, also if nobody else does. */
static void child_perm(const struct block_node *node, const struct block_edge *edge, unsigned perm,
                       unsigned shared, unsigned *need, unsigned *share)
{
    const struct quorum *s = node->state;

    *need = perm & ~(unsigned)BLOCK_PERM_RESIZE;
    if (s->rewrite && !node->read_only) {
        *need |= BLOCK_PERM_WRITE;
    }
    /* The copies stay the same only if all writes come through here. */
    *share = shared & (BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE_UNCHANGED);
}

static const struct block_driver quorum = {
    .name = "quorum",
    .kind = QAPI_BLOCKDEV_DRIVER_QUORUM,
    .state_size = sizeof(struct quorum),
    .co_open = co_open,
    .child_perm = child_perm,
    .co_read = co_read,
    .co_write = co_write,
    .co_write_zeroes = co_write_zeroes,
    .co_flush = co_flush,
    .flushes_children = true,
    .co_status = co_status,
    .co_allocated_size = co_allocated_size,
};
BLOCK_DRIVER(quorum);
