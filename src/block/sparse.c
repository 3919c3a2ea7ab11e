/* Requests of sparse formats (sparse.h). Any event loop. */
#include <errno.h>

#include "block/sparse.h"

enum {
    MAX_COPY = 1 << 20,
    MAX_STATUS_STEPS = 4096, /* extents that one question about status puts together */
};

void sparse_init(struct sparse *s, const struct sparse_ops *ops)
{
    s->ops = ops;
    s->tables = table_cache_new();
    co_mutex_init(&s->lock);
}

void sparse_clear(struct sparse *s)
{
    if (s->ops) {
        table_cache_free(s->tables);
        co_mutex_clear(&s->lock);
    }
}

void sparse_refresh_limits(struct block_node *node)
{
    const struct sparse *s = node->state;

    node->limits = node->file->node->limits;
    node->limits.request_align = 1;
    node->limits.max_transfer = node->limits.max_discard = node->limits.discard_align = 0;
    node->limits.zeroes_align = node->limits.max_zeroes = s->zeroes_align;
}

/* What co_map says, made safe: something of the image, and in the file. */
static int co_map(struct block_node *node, uint64_t offset, uint64_t bytes,
                  struct sparse_extent *extent)
{
    struct sparse *s = node->state;
    int result;

    *extent = (struct sparse_extent){0};
    result = s->ops->co_map(node, offset, extent);
    if (result < 0) {
        return result;
    }
    if (!extent->bytes ||
        (extent->kind >= SPARSE_DATA && extent->host >= extent->file->node->length)) {
        return -EIO;
    }
    extent->bytes = MIN(extent->bytes, bytes);
    return 0;
}

/* ---- Reads ---- */

static int co_read_compressed(struct block_node *node, uint64_t offset,
                              const struct sparse_extent *extent, struct block_buffer buffer)
{
    struct sparse *s = node->state;
    g_autofree uint8_t *cluster = g_try_malloc(extent->cluster_size);
    int result = cluster ? s->ops->co_decompress(node, extent, cluster) : -ENOMEM;

    if (result >= 0) {
        block_buffer_from(buffer, cluster + (offset - extent->cluster), extent->bytes);
    }
    return result;
}

int co_sparse_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    struct sparse *s = node->state;
    int result = 0;

    while (bytes && result >= 0) {
        struct sparse_extent extent;

        co_mutex_lock(&s->lock);
        result = co_map(node, offset, bytes, &extent);
        co_mutex_unlock(&s->lock);
        if (result < 0) {
            break;
        }
        if (extent.kind == SPARSE_DATA) {
            co_block_debug_event(extent.file, QAPI_BLKDEBUG_EVENT_READ_AIO);
            result = co_child_read(extent.file, extent.host, extent.bytes, buffer, 0);
        } else if (extent.kind == SPARSE_COMPRESSED) {
            result = co_read_compressed(node, offset, &extent, buffer);
        } else if (extent.kind == SPARSE_UNALLOCATED && node->backing) {
            result = co_child_read(node->backing, offset, extent.bytes, buffer, 0);
        } else {
            block_buffer_zero(buffer, extent.bytes);
        }
        offset += extent.bytes;
        bytes -= extent.bytes;
        buffer = bytes ? block_buffer_skip(buffer, extent.bytes) : buffer;
    }
    return MIN(result, 0);
}

int co_sparse_status(struct block_node *node, uint64_t offset, uint64_t bytes,
                     struct block_status *status)
{
    static const unsigned flags_of[] = {
        [SPARSE_UNALLOCATED] = 0,
        [SPARSE_ZERO] = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED,
        [SPARSE_DATA] = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET,
        [SPARSE_COMPRESSED] = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_COMPRESSED,
    };
    struct sparse *s = node->state;
    struct sparse_extent first, next;
    int result;

    co_mutex_lock(&s->lock);
    result = co_map(node, offset, bytes, &first);
    for (unsigned i = 0; result >= 0 && first.bytes < bytes && i < MAX_STATUS_STEPS; i++) {
        if (co_map(node, offset + first.bytes, bytes - first.bytes, &next) < 0 ||
            next.kind != first.kind ||
            (first.kind == SPARSE_DATA &&
             (next.file != first.file || next.host != first.host + first.bytes))) {
            break;
        }
        first.bytes += next.bytes;
    }
    co_mutex_unlock(&s->lock);
    if (result < 0) {
        return result;
    }
    *status = (struct block_status){.flags = flags_of[first.kind], .bytes = first.bytes};
    if (first.kind == SPARSE_UNALLOCATED && !node->driver->supports_backing) {
        status->flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED;
    } else if (first.kind == SPARSE_DATA) {
        status->offset = first.host;
        status->file = first.file->node;
    }
    return 0;
}

/* ---- Writes ---- */

/* What is read from the image at offset, where nothing is allocated, to the new cluster. */
static int co_copy_up(struct block_node *node, const struct sparse_extent *extent, uint64_t offset,
                      uint64_t bytes)
{
    uint64_t most = MIN(bytes, MAX_COPY);
    g_autofree uint8_t *data = bytes ? g_try_malloc(most) : NULL;
    int result = bytes && !data ? -ENOMEM : 0;

    while (bytes && result >= 0) {
        uint64_t n = MIN(bytes, most);

        result = co_child_read(node->backing, offset, n, BLOCK_BUFFER(data, n), 0);
        if (result >= 0) {
            result = co_child_write(extent->file, extent->host + (offset - extent->cluster), n,
                                    BLOCK_BUFFER(data, n), 0);
        }
        offset += n;
        bytes -= n;
    }
    return result;
}

/* A new cluster with bytes of data from offset; the rest is as it was. */
static int co_fill(struct block_node *node, const struct sparse_extent *extent, uint64_t offset,
                   uint64_t bytes, struct block_buffer buffer)
{
    uint64_t head = offset - extent->cluster, end = offset + bytes,
             tail = extent->cluster_size - head - bytes;
    bool copies = node->backing && extent->kind == SPARSE_UNALLOCATED;
    int result = 0;

    if (!copies && (head || tail)) {
        result = co_child_write_zeroes(extent->file, extent->host, extent->cluster_size,
                                       BLOCK_MAY_UNMAP);
    }
    if (result >= 0 && copies) {
        result = co_copy_up(node, extent, extent->cluster, head);
    }
    if (result >= 0) {
        result = co_child_write(extent->file, extent->host + head, bytes, buffer, 0);
    }
    if (result >= 0 && copies) {
        result = co_copy_up(node, extent, end, tail);
        /* Before the tables hide what is below. */
        result = result < 0 ? result : co_child_flush(extent->file);
    }
    return result;
}

/* Under the lock: nobody else allocates the same. */
static int co_write_new(struct block_node *node, struct sparse_extent *extent, uint64_t offset,
                        uint64_t bytes, struct block_buffer buffer)
{
    struct sparse *s = node->state;
    int result;

    if (extent->kind == SPARSE_COMPRESSED || !s->ops->co_allocate) {
        return -ENOTSUP;
    }
    result = s->ops->co_allocate(node, extent);
    if (result >= 0) {
        result = co_fill(node, extent, offset, bytes, buffer);
    }
    return result < 0 ? result : s->ops->co_link(node, extent);
}

static int co_before_write(struct block_node *node)
{
    struct sparse *s = node->state;
    int result = 0;

    if (s->ops->co_before_write) {
        co_mutex_lock(&s->lock);
        result = s->ops->co_before_write(node);
        co_mutex_unlock(&s->lock);
    }
    return result;
}

int co_sparse_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    struct sparse *s = node->state;
    int result = co_before_write(node);

    while (bytes && result >= 0) {
        struct sparse_extent extent;
        uint64_t n;

        co_mutex_lock(&s->lock);
        result = co_map(node, offset, bytes, &extent);
        n = extent.bytes;
        if (result >= 0 && extent.kind != SPARSE_DATA) {
            n = MIN(bytes, extent.cluster_size - (offset - extent.cluster));
            result = co_write_new(node, &extent, offset, n, buffer);
        }
        co_mutex_unlock(&s->lock);
        if (result >= 0 && extent.kind == SPARSE_DATA) {
            co_block_debug_event(extent.file, QAPI_BLKDEBUG_EVENT_WRITE_AIO);
            result = co_child_write(extent.file, extent.host, n, buffer, 0);
        }
        if (result < 0) {
            break;
        }
        offset += n;
        bytes -= n;
        buffer = bytes ? block_buffer_skip(buffer, n) : buffer;
    }
    return MIN(result, 0);
}

/* A cluster or a part of one. */
static int co_zero(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct sparse_extent *extent)
{
    struct sparse *s = node->state;
    uint64_t end;

    if (extent->kind == SPARSE_ZERO || (extent->kind == SPARSE_UNALLOCATED && !node->backing)) {
        return 0;
    }
    if (extent->kind != SPARSE_UNALLOCATED || !s->ops->co_zero) {
        return -ENOTSUP;
    }
    end = MIN(extent->cluster + extent->cluster_size, node->length);
    return offset == extent->cluster && offset + bytes >= end ? s->ops->co_zero(node, extent)
                                                              : -ENOTSUP;
}

int co_sparse_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct sparse *s = node->state;
    int result = co_before_write(node);

    while (bytes && result >= 0) {
        struct sparse_extent extent;
        uint64_t n = 0;

        co_mutex_lock(&s->lock);
        result = co_map(node, offset, bytes, &extent);
        if (result >= 0) {
            n = extent.bytes;
            if (extent.kind != SPARSE_DATA) {
                n = MIN(bytes, extent.cluster_size - (offset - extent.cluster));
                result = co_zero(node, offset, n, &extent);
            }
        }
        co_mutex_unlock(&s->lock);
        if (result >= 0 && extent.kind == SPARSE_DATA) {
            result = co_child_write_zeroes(extent.file, extent.host, n, flags);
        }
        offset += n;
        bytes -= n;
    }
    return MIN(result, 0);
}
