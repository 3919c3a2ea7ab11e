/*
 * Reads, writes and flushes of a node. What arrives is of any alignment and size; what the driver
 * gets keeps to the node's limits. Any event loop.
 *
 *  - An unaligned read goes through a bounce buffer.
 *  - The ends of an unaligned write are read, changed and written back, in one write with the
 *    middle. Meanwhile other writes that overlap wait; only nodes that need alignment keep account
 *    of ranges for that.
 *  - A flush covers all changes that had ended when it began, so of many that arrive while one is
 *    under way the next one does for all.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/block_priv.h"
#include "block/dirty_bitmap.h"

enum { MAX_BOUNCE = 1 << 20, STACK_IOV = 16 };

struct flush_wait {
    struct coroutine *co;
    bool over;
};

void block_node_requests_init(struct block_node *node)
{
    struct block_node_requests *requests = g_new0(struct block_node_requests, 1);

    block_ranges_init(&requests->ranges);
    /* The first flush is a real one: who had the image before may have left something. */
    requests->write_generation = 1;
    g_mutex_init(&requests->flush_lock);
    g_queue_init(&requests->flush_waiting);
    node->requests = requests;
}

void block_node_requests_free(struct block_node *node)
{
    dirty_bitmaps_free(node);
    block_ranges_clear(&node->requests->ranges);
    g_mutex_clear(&node->requests->flush_lock);
    g_free(node->requests);
}

static void raise_to(_Atomic uint64_t *value, uint64_t least)
{
    uint64_t now = atomic_load_explicit(value, memory_order_relaxed);

    while (now < least && !atomic_compare_exchange_weak(value, &now, least)) {
    }
}

void block_node_changed(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    atomic_fetch_add_explicit(&node->requests->write_generation, 1, memory_order_release);
    if (bytes) {
        dirty_bitmaps_record(node, offset, bytes);
        raise_to(&node->requests->wr_highest_offset, offset + bytes);
        raise_to(&node->length, offset + bytes);
    }
}

unsigned block_node_take_fua(const struct block_node *node, unsigned flags, unsigned supported,
                             bool *flush)
{
    *flush = false;
    if ((flags & BLOCK_FUA) && node->no_flush && !node->children->len) {
        return flags & ~(unsigned)BLOCK_FUA;
    }
    if ((flags & BLOCK_FUA) && !(supported & BLOCK_FUA)) {
        *flush = true;
        return flags & ~(unsigned)BLOCK_FUA;
    }
    return flags;
}

/* ---- To the driver: aligned ---- */

/* Of node's limits; fn is co_read or co_write. */
typedef int transfer_fn(struct block_node *node, uint64_t offset, uint64_t bytes,
                        struct block_buffer buffer, unsigned flags);

/* Bytes that a list of max_iov entries holds, in whole blocks; 0: not one block. */
static uint64_t fitting_iov(const struct block_node *node, struct block_buffer buffer,
                            uint64_t bytes)
{
    uint64_t size = 0;

    for (unsigned i = 0; i < node->limits.max_iov && i < buffer.n_iov && size < bytes; i++) {
        size += buffer.iov[i].iov_len - (i ? 0 : buffer.skip);
    }
    size = MIN(size, bytes);
    return size == bytes ? size : size & ~(uint64_t)(node->limits.request_align - 1);
}

static uint64_t transfer_size(const struct block_node *node, struct block_buffer buffer,
                              uint64_t bytes)
{
    const struct block_limits *limits = &node->limits;

    if (limits->max_transfer && bytes > limits->max_transfer) {
        bytes = limits->max_transfer & ~(limits->request_align - 1);
    }
    return limits->max_iov && buffer.n_iov > limits->max_iov ? fitting_iov(node, buffer, bytes)
                                                             : bytes;
}

static void *bounce_new(const struct block_node *node, uint64_t bytes)
{
    void *memory;

    return posix_memalign(&memory, MAX(node->limits.memory_align, 512u), bytes) == 0 ? memory
                                                                                     : NULL;
}

static int bounced(struct block_node *node, bool is_write, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    uint64_t most = MIN(bytes, MAX((uint64_t)MAX_BOUNCE, node->limits.request_align));
    void *bounce;
    int result = 0;

    if (node->limits.max_transfer && most > node->limits.max_transfer) {
        most = node->limits.max_transfer & ~(node->limits.request_align - 1);
    }
    bounce = bounce_new(node, most);
    if (!bounce) {
        return -ENOMEM;
    }
    flags &= ~(unsigned)BLOCK_REGISTERED;
    for (uint64_t done = 0; done < bytes && result >= 0;) {
        uint64_t size = MIN(bytes - done, most);

        if (is_write) {
            block_buffer_to(buffer, bounce, size);
            result = node->driver->co_write(node, offset + done, size, BLOCK_BUFFER(bounce, size),
                                            flags);
        } else {
            result =
                node->driver->co_read(node, offset + done, size, BLOCK_BUFFER(bounce, size), flags);
            if (result >= 0) {
                block_buffer_from(buffer, bounce, size);
            }
        }
        done += size;
        buffer = done < bytes ? block_buffer_skip(buffer, size) : buffer;
    }
    free(bounce);
    return result;
}

static int transfer(struct block_node *node, bool is_write, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    const struct block_limits *limits = &node->limits;
    transfer_fn *fn = is_write ? node->driver->co_write : node->driver->co_read;
    int result = 0;

    if (limits->memory_align > 1 && !block_buffer_is_aligned(buffer, bytes, limits->memory_align)) {
        return bounced(node, is_write, offset, bytes, buffer, flags);
    }
    while (bytes && result >= 0) {
        uint64_t size = transfer_size(node, buffer, bytes);

        if (!size) { /* a block in more pieces than the driver takes */
            size = MIN(bytes, limits->request_align);
            result = bounced(node, is_write, offset, size, buffer, flags);
        } else {
            result = fn(node, offset, size, buffer, flags);
        }
        offset += size;
        bytes -= size;
        buffer = bytes ? block_buffer_skip(buffer, size) : buffer;
    }
    return result;
}

static int driver_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                       struct block_buffer buffer, unsigned flags)
{
    struct block_edge *filtered;

    if (node->driver->co_read) {
        return transfer(node, false, offset, bytes, buffer, flags);
    }
    filtered = block_node_filtered(node);
    return filtered ? co_node_read(filtered->node, offset, bytes, buffer, flags) : -ENOTSUP;
}

int co_node_write_aligned(struct block_node *node, uint64_t offset, uint64_t bytes,
                          struct block_buffer buffer, unsigned flags)
{
    struct block_edge *filtered = block_node_filtered(node);
    bool flush;
    int result = -ENOTSUP;

    flags = block_node_take_fua(node, flags, node->supported_write_flags, &flush);
    if (node->driver->co_write) {
        result = transfer(node, true, offset, bytes, buffer,
                          flags & (node->supported_write_flags | BLOCK_COMPRESSED));
    } else if (filtered) {
        result = co_node_write(filtered->node, offset, bytes, buffer, flags);
    }
    if (result >= 0) {
        block_node_changed(node, offset, bytes);
    }
    return result >= 0 && flush ? co_node_flush(node) : result;
}

/* ---- Any alignment ---- */

static int unaligned_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                          struct block_buffer buffer, unsigned flags)
{
    uint64_t mask = node->limits.request_align - 1, step = MAX((uint64_t)MAX_BOUNCE, mask + 1);
    uint64_t most = MIN(step, ((offset + bytes + mask) & ~mask) - (offset & ~mask));
    void *bounce = bounce_new(node, most);
    int result = bounce ? 0 : -ENOMEM;

    while (bytes && result >= 0) {
        uint64_t start = offset & ~mask;
        uint64_t size = MIN(most, ((offset + bytes + mask) & ~mask) - start);
        uint64_t here = MIN(bytes, start + size - offset);

        result = driver_read(node, start, size, BLOCK_BUFFER(bounce, size),
                             flags & ~(unsigned)BLOCK_REGISTERED);
        if (result >= 0) {
            block_buffer_from(buffer, (char *)bounce + (offset - start), here);
        }
        offset += here;
        bytes -= here;
        buffer = bytes ? block_buffer_skip(buffer, here) : buffer;
    }
    free(bounce);
    return result;
}

int co_node_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                 struct block_buffer buffer, unsigned flags)
{
    uint64_t mask = node->limits.request_align - 1;
    uint64_t length = atomic_load_explicit(&node->length, memory_order_relaxed);

    /* What is beyond the end of a child reads as zeroes: its parent may be longer. */
    if (G_UNLIKELY(offset + bytes > length)) {
        uint64_t here = offset < length ? length - offset : 0;

        if (!(flags & BLOCK_PREFETCH)) {
            block_buffer_zero(here ? block_buffer_skip(buffer, here) : buffer, bytes - here);
        }
        bytes = here;
    }
    if (!bytes) {
        return 0;
    }
    if (G_LIKELY(!((offset | bytes) & mask))) {
        return driver_read(node, offset, bytes, buffer, flags);
    }
    return unaligned_read(node, offset, bytes, buffer, flags);
}

/* Reads the blocks that the write covers in part into bounce: the first one, and behind it the
 * last one. */
static int read_ends(struct block_node *node, uint64_t offset, uint64_t end, uint8_t *bounce)
{
    uint64_t align = node->limits.request_align, mask = align - 1;
    uint64_t first = offset & ~mask, last = (end - 1) & ~mask;
    int result = 0;

    if ((offset & mask) || (first == last && (end & mask))) {
        result = co_node_read(node, first, align, BLOCK_BUFFER(bounce, align), 0);
    }
    if (result >= 0 && first != last && (end & mask)) {
        result = co_node_read(node, last, align, BLOCK_BUFFER(bounce + align, align), 0);
    }
    return result;
}

static int write_with_ends(struct block_node *node, uint64_t offset, uint64_t bytes,
                           struct block_buffer buffer, unsigned flags)
{
    uint64_t align = node->limits.request_align, mask = align - 1, end = offset + bytes;
    uint64_t start = offset & ~mask, tail = end & mask ? align - (end & mask) : 0;
    uint64_t last = (end - 1) & ~mask;
    struct iovec on_stack[STACK_IOV], *iov = on_stack;
    uint8_t *bounce = bounce_new(node, 2 * align);
    unsigned n = 0;
    int result = bounce ? read_ends(node, offset, end, bounce) : -ENOMEM;

    if (result >= 0) {
        if (buffer.n_iov + 2 > STACK_IOV) {
            iov = g_new(struct iovec, buffer.n_iov + 2);
        }
        if (offset > start) {
            iov[n++] = (struct iovec){bounce, offset - start};
        }
        n += block_buffer_slice(buffer, bytes, iov + n);
        if (tail) {
            iov[n++] = (struct iovec){bounce + (last > start ? align : 0) + (end & mask), tail};
        }
        result =
            co_node_write_aligned(node, start, end + tail - start, (struct block_buffer){iov, n, 0},
                                  flags & ~(unsigned)BLOCK_REGISTERED);
        if (iov != on_stack) {
            g_free(iov);
        }
    }
    free(bounce);
    return result;
}

static bool becomes_zeroes(const struct block_node *node, uint64_t bytes,
                           struct block_buffer buffer, unsigned flags)
{
    return node->detect_zeroes != QAPI_BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF &&
           !(flags & BLOCK_COMPRESSED) && block_buffer_is_zero(buffer, bytes);
}

int co_node_write_as_is(struct block_node *node, uint64_t offset, uint64_t bytes,
                        struct block_buffer buffer, unsigned flags)
{
    struct block_node_requests *requests = node->requests;
    uint64_t mask = node->limits.request_align - 1;
    bool unaligned = (offset | bytes) & mask;
    struct block_range range;
    int result;

    if (!requests->track) {
        return unaligned ? write_with_ends(node, offset, bytes, buffer, flags)
                         : co_node_write_aligned(node, offset, bytes, buffer, flags);
    }
    co_block_range_lock(&requests->ranges, &range, offset & ~mask,
                        ((offset + bytes + mask) & ~mask) - (offset & ~mask),
                        unaligned || (flags & BLOCK_SERIALISE));
    result = unaligned ? write_with_ends(node, offset, bytes, buffer, flags)
                       : co_node_write_aligned(node, offset, bytes, buffer, flags);
    block_range_unlock(&requests->ranges, &range);
    return result;
}

int co_node_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                  struct block_buffer buffer, unsigned flags)
{
    if (!bytes) {
        return 0;
    }
    if (becomes_zeroes(node, bytes, buffer, flags)) {
        bool unmap = node->detect_zeroes == QAPI_BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP;

        return co_node_write_zeroes(node, offset, bytes,
                                    (flags & (BLOCK_FUA | BLOCK_UNCHANGED)) |
                                        (unmap ? BLOCK_MAY_UNMAP : 0));
    }
    return co_node_write_as_is(node, offset, bytes, buffer, flags);
}

/* ---- Flush ---- */

/* False: one that began late enough has ended well. */
static bool begin_flush(struct block_node_requests *requests, uint64_t wanted, uint64_t *covers)
{
    struct flush_wait wait = {.co = coroutine_self()};
    bool needed;

    g_mutex_lock(&requests->flush_lock);
    while (requests->flushing && requests->flushed_generation < wanted) {
        wait.over = false;
        g_queue_push_tail(&requests->flush_waiting, &wait);
        while (!wait.over) {
            g_mutex_unlock(&requests->flush_lock);
            co_yield ();
            g_mutex_lock(&requests->flush_lock);
        }
    }
    needed = requests->flushed_generation < wanted;
    if (needed) {
        requests->flushing = true;
        *covers = atomic_load_explicit(&requests->write_generation, memory_order_acquire);
    }
    g_mutex_unlock(&requests->flush_lock);
    return needed;
}

static void end_flush(struct block_node_requests *requests, uint64_t covers, bool ok)
{
    struct flush_wait *wait;

    g_mutex_lock(&requests->flush_lock);
    requests->flushing = false;
    if (ok) {
        requests->flushed_generation = covers;
    }
    while ((wait = g_queue_pop_head(&requests->flush_waiting))) {
        wait->over = true;
        coroutine_wake(wait->co);
    }
    g_mutex_unlock(&requests->flush_lock);
}

static int flush_now(struct block_node *node)
{
    /* Of a format its own caches are written in any case: others may read the file. */
    bool mine = node->driver->co_flush && !(node->no_flush && !node->children->len);
    int result = mine ? node->driver->co_flush(node) : 0;

    for (guint i = 0; i < node->children->len && !node->driver->flushes_children; i++) {
        struct block_edge *edge = node->children->pdata[i];

        if (!(edge->role & BLOCK_ROLE_BACKING) && !edge->node->read_only) {
            int child = co_node_flush(edge->node);

            result = result < 0 ? result : child;
        }
    }
    return result;
}

int co_node_flush(struct block_node *node)
{
    struct block_node_requests *requests = node->requests;
    uint64_t wanted = atomic_load_explicit(&requests->write_generation, memory_order_acquire),
             covers;
    int result;

    if (!begin_flush(requests, wanted, &covers)) {
        return 0;
    }
    result = flush_now(node);
    end_flush(requests, covers, result >= 0);
    return result;
}

/* ---- From a parent's driver ---- */

int co_child_read(struct block_edge *child, uint64_t offset, uint64_t bytes,
                  struct block_buffer buffer, unsigned flags)
{
    return offset + bytes < offset ? -EIO : co_node_read(child->node, offset, bytes, buffer, flags);
}

int co_child_write(struct block_edge *child, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    if (!(child->perm &
          (BLOCK_PERM_WRITE | (flags & BLOCK_UNCHANGED ? BLOCK_PERM_WRITE_UNCHANGED : 0)))) {
        return -EPERM;
    }
    return offset + bytes < offset ? -EIO
                                   : co_node_write(child->node, offset, bytes, buffer, flags);
}

int co_child_write_zeroes(struct block_edge *child, uint64_t offset, uint64_t bytes, unsigned flags)
{
    if (!(child->perm &
          (BLOCK_PERM_WRITE | (flags & BLOCK_UNCHANGED ? BLOCK_PERM_WRITE_UNCHANGED : 0)))) {
        return -EPERM;
    }
    return offset + bytes < offset ? -EIO : co_node_write_zeroes(child->node, offset, bytes, flags);
}

int co_child_discard(struct block_edge *child, uint64_t offset, uint64_t bytes)
{
    if (!(child->perm & BLOCK_PERM_WRITE)) {
        return -EPERM;
    }
    return offset + bytes < offset ? -EIO : co_node_discard(child->node, offset, bytes);
}

int co_child_flush(struct block_edge *child)
{
    return co_node_flush(child->node);
}

int co_child_truncate(struct block_edge *child, uint64_t size, bool exact,
                      enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    if (!(child->perm & BLOCK_PERM_RESIZE)) {
        block_error(error, "No permission to resize node '%s'", child->node->name);
        return -EPERM;
    }
    return co_node_truncate(child->node, size, exact, prealloc, flags, error);
}

int co_child_copy_range(struct block_edge *from, uint64_t from_offset, struct block_edge *to,
                        uint64_t to_offset, uint64_t bytes, unsigned flags)
{
    if (!(to->perm & BLOCK_PERM_WRITE)) {
        return -EPERM;
    }
    return co_node_copy_range(from->node, from_offset, to->node, to_offset, bytes, flags);
}
