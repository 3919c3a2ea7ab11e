/*
 * Driver copy-on-read: a filter that writes what is read from backing images to the image above
 * them, so that it is read there the next time. With "bottom", only what is in the layers down to
 * that one, itself included.
 */
#include <errno.h>
#include <stdlib.h>

#include "block/driver.h"
#include "block/range.h"
#include "qapi/error.h"

enum { MAX_COPY = 1 << 20, BUFFER_ALIGN = 4096 };

struct cor_state {
    struct block_node *bottom;      /* a reference; NULL: all layers */
    /* A write of the guest's waits for a copy of the same place, which would undo it. */
    struct block_ranges ranges;
    bool has_ranges;
};

/* Whether the node's chain of backing images has it. */
static bool is_in_chain(const struct block_node *top, const struct block_node *node)
{
    while (top && top != node) {
        const struct block_edge *below = top->backing;

        if (!below && top->driver->is_filter && top->children->len) {
            below = top->children->pdata[0];
        }
        top = below ? below->node : NULL;
    }
    return top != NULL;
}

static bool find_bottom(struct block_node *node, const char *name, GError **error)
{
    struct cor_state *s = node->state;
    struct block_node *bottom = block_node_find(node->graph, name, error);

    if (!bottom) {
        return false;
    }
    if (bottom->driver->is_filter || !is_in_chain(node->file->node, bottom)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "bottom: node '%s' is %s", name,
                    bottom->driver->is_filter ? "a filter" : "not in the chain below");
        return false;
    }
    s->bottom = block_node_ref(bottom);
    return true;
}

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    const struct qapi_blockdev_options_cor *own = &options->u.copy_on_read;
    struct cor_state *s = node->state;
    struct block_edge *file;

    block_ranges_init(&s->ranges);
    s->has_ranges = true;
    file = co_block_open_child(node, "file", own->file, BLOCK_ROLE_FILTERED | BLOCK_ROLE_PRIMARY,
                               error);
    if (!file) {
        return false;
    }
    node->length = file->node->length;
    return !own->bottom || find_bottom(node, own->bottom, error);
}

static void co_close(struct block_node *node)
{
    struct cor_state *s = node->state;

    co_block_node_unref(s->bottom);
    if (s->has_ranges) {
        block_ranges_clear(&s->ranges);
    }
}

static void child_perm(const struct block_node *node, const struct block_edge *edge, unsigned perm,
                       unsigned shared, unsigned *need, unsigned *share)
{
    *need = perm | BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE_UNCHANGED;
    *share = shared;
}

/* Whether the next bytes, of which *n tells how many, are read from a backing image that counts. */
static int look(struct block_node *node, uint64_t offset, uint64_t bytes, bool *copy, uint64_t *n)
{
    const struct cor_state *s = node->state;
    struct block_node *base = s->bottom && s->bottom->backing ? s->bottom->backing->node : NULL;
    struct block_status status;
    int result = co_node_status(node->file->node, offset, bytes, &status);

    if (result < 0) {
        return result;
    }
    *n = status.bytes ? MIN(status.bytes, bytes) : bytes;
    *copy = !(status.flags & BLOCK_STATUS_ALLOCATED);
    if (*copy) {
        result = co_node_status_above(node->file->node, base, offset, *n, &status);
        if (result >= 0 && status.bytes) {
            *n = MIN(status.bytes, *n);
        }
        *copy = (status.flags & BLOCK_STATUS_ALLOCATED) != 0;
    }
    return MIN(result, 0);
}

/* With the range locked: what it is now is written again, one layer up. */
static int co_copy(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    void *memory;
    int result = 0;
    uint64_t n;

    if (posix_memalign(&memory, MAX(node->limits.memory_align, BUFFER_ALIGN),
                       MIN(bytes, MAX_COPY))) {
        return -ENOMEM;
    }
    for (uint64_t at = 0; at < bytes && result >= 0; at += n) {
        struct block_buffer piece;

        n = MIN(bytes - at, MAX_COPY);
        piece = BLOCK_BUFFER(memory, n);
        result = co_child_read(node->file, offset + at, n, piece, 0);
        if (result < 0) {
            break;
        }
        result = block_buffer_is_zero(piece, n)
                     ? co_child_write_zeroes(node->file, offset + at, n, BLOCK_UNCHANGED)
                     : co_child_write(node->file, offset + at, n, piece, BLOCK_UNCHANGED);
        if (!(flags & BLOCK_PREFETCH)) {
            /* It was read: that it can't be kept is no reason to refuse it. */
            block_buffer_from(block_buffer_skip(buffer, at), memory, n);
            result = 0;
        }
    }
    free(memory);
    return result;
}

static int co_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    struct cor_state *s = node->state;
    int result = 0;
    uint64_t n;

    for (uint64_t at = 0; at < bytes && result >= 0; at += n) {
        struct block_range range;
        bool copy;

        co_block_range_lock(&s->ranges, &range, offset + at, bytes - at, true);
        result = look(node, offset + at, bytes - at, &copy, &n);
        if (result >= 0 && copy) {
            result = co_copy(node, offset + at, n, block_buffer_skip(buffer, at), flags);
        } else if (result >= 0 && !(flags & BLOCK_PREFETCH)) {
            result = co_child_read(node->file, offset + at, n, block_buffer_skip(buffer, at),
                                   flags);
        }
        block_range_unlock(&s->ranges, &range);
    }
    return MIN(result, 0);
}

static int co_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    struct cor_state *s = node->state;
    struct block_range range;
    int result;

    co_block_range_lock(&s->ranges, &range, offset, bytes, false);
    result = co_child_write(node->file, offset, bytes, buffer, flags);
    block_range_unlock(&s->ranges, &range);
    return result;
}

static int co_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct cor_state *s = node->state;
    struct block_range range;
    int result;

    co_block_range_lock(&s->ranges, &range, offset, bytes, false);
    result = co_child_write_zeroes(node->file, offset, bytes, flags);
    block_range_unlock(&s->ranges, &range);
    return result;
}

static int co_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    struct cor_state *s = node->state;
    struct block_range range;
    int result;

    co_block_range_lock(&s->ranges, &range, offset, bytes, false);
    result = co_child_discard(node->file, offset, bytes);
    block_range_unlock(&s->ranges, &range);
    return result;
}

static const struct block_driver copy_on_read = {
    .name = "copy-on-read",
    .kind = QAPI_BLOCKDEV_DRIVER_COPY_ON_READ,
    .is_filter = true,
    .state_size = sizeof(struct cor_state),
    .co_open = co_open,
    .co_close = co_close,
    .co_read = co_read,
    .co_write = co_write,
    .co_write_zeroes = co_write_zeroes,
    .co_discard = co_discard,
    .child_perm = child_perm,
};
BLOCK_DRIVER(copy_on_read);
