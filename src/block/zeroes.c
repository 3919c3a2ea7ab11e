/*
 * Requests without data: zeroes, discards, truncation, copies within the host. Any event loop, but
 * for truncation, which is the main thread's.
 */
#include <assert.h>
#include <errno.h>

#include "block/block_priv.h"

enum { ZERO_IOV = 64 };

/* ---- Zeroes ---- */

/* A list of zeroes for up to ZERO_IOV * BLOCK_ZEROES bytes. */
static struct block_buffer zeroes(const struct block_node *node, uint64_t bytes, struct iovec *iov)
{
    unsigned n = (unsigned)((bytes + BLOCK_ZEROES - 1) / BLOCK_ZEROES);

    for (unsigned i = 0; i < n; i++) {
        iov[i] = (struct iovec){node->graph->zeroes,
                                i + 1 < n ? BLOCK_ZEROES : bytes - i * (uint64_t)BLOCK_ZEROES};
    }
    return (struct block_buffer){iov, n, 0};
}

/* The way of those that have no better one; aligned. */
static int write_them(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct iovec iov[ZERO_IOV];
    int result = 0;

    while (bytes && result >= 0) {
        uint64_t size = MIN(bytes, ZERO_IOV * (uint64_t)BLOCK_ZEROES);

        result = co_node_write_aligned(node, offset, size, zeroes(node, size, iov),
                                       flags & (BLOCK_FUA | BLOCK_UNCHANGED));
        offset += size;
        bytes -= size;
    }
    return result;
}

/* Up to the next multiple of align that isn't offset, and at most most (0: any). */
static uint64_t piece(uint64_t offset, uint64_t bytes, uint64_t align, uint64_t most)
{
    uint64_t head = align ? offset & (align - 1) : 0;

    if (head) {
        return MIN(bytes, align - head);
    }
    if (most && bytes > most) {
        return align && most > align ? most & ~(align - 1) : most;
    }
    return align && bytes > align ? bytes & ~(align - 1) : bytes;
}

static int driver_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    const struct block_limits *limits = &node->limits;
    unsigned pass;
    bool flush;
    int result = 0;

    pass = block_node_take_fua(node, flags, node->supported_zeroes_flags, &flush) &
           node->supported_zeroes_flags;
    while (bytes && result >= 0) {
        uint64_t size = piece(offset, bytes, limits->zeroes_align, limits->max_zeroes);

        result = node->driver->co_write_zeroes(node, offset, size, pass);
        if (result >= 0) {
            block_node_changed(node, offset, size);
        } else if (result == -ENOTSUP && !(flags & BLOCK_NO_FALLBACK)) {
            result = write_them(node, offset, size, flags);
        }
        offset += size;
        bytes -= size;
    }
    return result >= 0 && flush ? co_node_flush(node) : result;
}

static int aligned_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct block_edge *filtered;
    int result;

    if (node->driver->co_write_zeroes) {
        return driver_zeroes(node, offset, bytes, flags);
    }
    filtered = node->driver->co_write ? NULL : block_node_filtered(node);
    if (!filtered) {
        return flags & BLOCK_NO_FALLBACK ? -ENOTSUP : write_them(node, offset, bytes, flags);
    }
    result = co_node_write_zeroes(filtered->node, offset, bytes, flags);
    if (result >= 0) {
        block_node_changed(node, offset, bytes);
    }
    return result;
}

/* A part of a block: a write that reads the rest. */
static int write_part(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct iovec iov[ZERO_IOV];

    /* request_align isn't more than a list of zeroes can hold; see block_node_refresh_limits. */
    return co_node_write_as_is(node, offset, bytes, zeroes(node, bytes, iov),
                               flags & (BLOCK_FUA | BLOCK_UNCHANGED));
}

int co_node_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct block_node_requests *requests = node->requests;
    uint64_t align = node->limits.request_align, head = offset & (align - 1), tail;
    struct block_range range;
    int result = 0;

    if (node->discard != QAPI_BLOCKDEV_DISCARD_OPTIONS_UNMAP) {
        flags &= ~(unsigned)BLOCK_MAY_UNMAP;
    }
    if (head && bytes) {
        uint64_t size = MIN(bytes, align - head);

        result = write_part(node, offset, size, flags);
        offset += size;
        bytes -= size;
    }
    tail = bytes & (align - 1);
    bytes -= tail;
    if (result >= 0 && bytes) {
        if (requests->track) {
            co_block_range_lock(&requests->ranges, &range, offset, bytes, flags & BLOCK_SERIALISE);
        }
        result = aligned_zeroes(node, offset, bytes, flags);
        if (requests->track) {
            block_range_unlock(&requests->ranges, &range);
        }
    }
    return result >= 0 && tail ? write_part(node, offset + bytes, tail, flags) : result;
}

/* ---- Discard ---- */

static int driver_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    const struct block_limits *limits = &node->limits;
    int result = 0;

    while (bytes && (result >= 0 || result == -ENOTSUP)) {
        uint64_t size = piece(offset, bytes, limits->discard_align, limits->max_discard);

        result = node->driver->co_discard(node, offset, size);
        offset += size;
        bytes -= size;
    }
    return result;
}

int co_node_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    struct block_node_requests *requests = node->requests;
    uint64_t mask = node->limits.request_align - 1, start = (offset + mask) & ~mask,
             end = (offset + bytes) & ~mask;
    struct block_edge *filtered = block_node_filtered(node);
    struct block_range range;
    int result = -ENOTSUP;

    /* It is a hint: parts of blocks are left alone. */
    if (node->discard != QAPI_BLOCKDEV_DISCARD_OPTIONS_UNMAP || start >= end) {
        return 0;
    }
    if (requests->track) {
        co_block_range_lock(&requests->ranges, &range, start, end - start, false);
    }
    if (node->driver->co_discard) {
        result = driver_discard(node, start, end - start);
    } else if (filtered) {
        result = co_node_discard(filtered->node, start, end - start);
    }
    if (requests->track) {
        block_range_unlock(&requests->ranges, &range);
    }
    if (result >= 0) {
        block_node_changed(node, 0, 0);
    }
    return result == -ENOTSUP ? 0 : result;
}

/* ---- Truncation ---- */

static int driver_truncate(struct block_node *node, uint64_t size, bool exact,
                           enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    struct block_edge *filtered = block_node_filtered(node);

    if (node->driver->co_truncate) {
        return node->driver->co_truncate(node, size, exact, prealloc, flags, error);
    }
    if (filtered) {
        return co_child_truncate(filtered, size, exact, prealloc, flags, error);
    }
    block_error(error, "Image format driver '%s' does not support resize", node->driver->name);
    return -ENOTSUP;
}

int co_node_truncate(struct block_node *node, uint64_t size, bool exact,
                     enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    struct block_node_requests *requests = node->requests;
    uint64_t old = node->length;
    struct block_range range;
    int result;

    if (node->read_only) {
        block_error(error, "Image is read-only");
        return -EACCES;
    }
    if (size > INT64_MAX) {
        block_error(error,
                    "Image size cannot be negative, and %" G_GUINT64_FORMAT
                    " is beyond what a file can have",
                    size);
        return -EFBIG;
    }
    if (requests->track) {
        co_block_range_lock(&requests->ranges, &range, MIN(old, size), UINT64_MAX - MIN(old, size),
                            true);
    }
    result = driver_truncate(node, size, exact, prealloc, flags, error);
    if (requests->track) {
        block_range_unlock(&requests->ranges, &range);
    }
    if (result >= 0) {
        int64_t length = node->driver->co_length ? node->driver->co_length(node) : (int64_t)size;

        block_node_changed(node, 0, 0);
        node->length = length >= 0 ? (uint64_t)length : size;
        block_user_resized(node);
    }
    return result;
}

/* ---- Copies ---- */

int co_node_copy_range(struct block_node *from, uint64_t from_offset, struct block_node *to,
                       uint64_t to_offset, uint64_t bytes, unsigned flags)
{
    uint64_t from_mask = from->limits.request_align - 1, to_mask = to->limits.request_align - 1;
    struct block_node_requests *requests = to->requests;
    struct block_edge *filtered = block_node_filtered(from);
    struct block_range range;
    bool flush;
    int result;

    if (!bytes) {
        return 0;
    }
    if (((from_offset | bytes) & from_mask) || ((to_offset | bytes) & to_mask) ||
        from_offset + bytes > from->length || (!from->driver->co_copy_range && !filtered)) {
        return -ENOTSUP; /* who asked reads and writes */
    }
    flags = block_node_take_fua(to, flags, 0, &flush);
    if (requests->track) {
        co_block_range_lock(&requests->ranges, &range, to_offset, bytes, false);
    }
    result = from->driver->co_copy_range
                 ? from->driver->co_copy_range(from, from_offset, to, to_offset, bytes, flags)
                 : co_node_copy_range(filtered->node, from_offset, to, to_offset, bytes, flags);
    if (requests->track) {
        block_range_unlock(&requests->ranges, &range);
    }
    if (result >= 0) {
        block_node_changed(to, to_offset, bytes);
    }
    return result >= 0 && flush ? co_node_flush(to) : result;
}
