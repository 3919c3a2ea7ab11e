/* What guests read and write. */
#include "block/qcow2.h"

#include <stdlib.h>
#include <string.h>

enum { BOUNCE_ALIGN = 4096, MAX_COPY = 4 << 20 };

/* Freed with free. NULL: there is no memory. */
static void *bounce_new(size_t bytes)
{
    void *memory;

    return posix_memalign(&memory, BOUNCE_ALIGN, MAX(bytes, 1)) == 0 ? memory : NULL;
}

/* ---- Reading ---- */

static int co_read_backing(struct qcow2 *q, uint64_t offset, uint64_t bytes,
                           struct block_buffer buffer)
{
    if (!q->node->backing) {
        block_buffer_zero(buffer, bytes);
        return 0;
    }
    co_qcow2_event(q, READ_BACKING_AIO);
    /* What is behind its end reads as zeroes. */
    return co_child_read(q->node->backing, offset, bytes, buffer, 0);
}

/* Sectors that the range touches are decrypted as a whole. */
static int co_read_encrypted(struct qcow2 *q, uint64_t offset, uint64_t host, uint64_t bytes,
                             struct block_buffer buffer)
{
    uint64_t head = host & 511, size = (head + bytes + 511) & ~511ull;
    void *bounce = bounce_new(size);
    int ret;

    if (!bounce) {
        return -ENOMEM;
    }
    ret = co_child_read(q->data, host - head, size, BLOCK_BUFFER(bounce, size), 0);
    if (ret == 0) {
        ret = co_qcow2_decrypt(q, offset - head, host - head, bounce, size);
    }
    if (ret == 0) {
        block_buffer_from(buffer, (uint8_t *)bounce + head, bytes);
    }
    free(bounce);
    return ret;
}

static int co_read_compressed(struct qcow2 *q, uint64_t offset, const struct qcow2_extent *extent,
                              uint64_t bytes, struct block_buffer buffer)
{
    uint8_t *bounce = bounce_new(extent->compressed_bytes), *cluster = bounce_new(q->cluster_size);
    int ret = -ENOMEM;

    if (bounce && cluster) {
        co_qcow2_event(q, READ_COMPRESSED);
        ret = co_child_read(q->file, extent->host, extent->compressed_bytes,
                            BLOCK_BUFFER(bounce, extent->compressed_bytes), 0);
        if (ret == 0) {
            ret = co_qcow2_decompress(q, bounce, extent->compressed_bytes, cluster);
        }
        if (ret == 0) {
            block_buffer_from(buffer, cluster + qcow2_in_cluster(q, offset), bytes);
        }
    }
    free(bounce);
    free(cluster);
    return ret;
}

static int co_map(struct qcow2 *q, uint64_t offset, uint64_t bytes, struct qcow2_extent *extent)
{
    int ret;

    if (qcow2_map_fast(q, offset, bytes, extent)) {
        return 0;
    }
    co_mutex_lock(&q->lock);
    ret = co_qcow2_map(q, offset, bytes, extent);
    co_mutex_unlock(&q->lock);
    return ret;
}

static int co_read_extent(struct qcow2 *q, uint64_t offset, const struct qcow2_extent *extent,
                          struct block_buffer buffer, unsigned flags)
{
    switch (extent->kind) {
    case QCOW2_ZERO_PLAIN:
    case QCOW2_ZERO_ALLOC: block_buffer_zero(buffer, extent->bytes); return 0;
    case QCOW2_UNALLOCATED:
    case QCOW2_UNALLOCATED_ALLOC: return co_read_backing(q, offset, extent->bytes, buffer);
    case QCOW2_COMPRESSED_DATA: return co_read_compressed(q, offset, extent, extent->bytes, buffer);
    case QCOW2_NORMAL: break;
    }
    co_block_debug_event(q->data, QAPI_BLKDEBUG_EVENT_READ_AIO);
    if (q->crypto) {
        return co_read_encrypted(q, offset, extent->host, extent->bytes, buffer);
    }
    return co_child_read(q->data, extent->host, extent->bytes, buffer, flags & BLOCK_REGISTERED);
}

static int co_read_range(struct qcow2 *q, uint64_t offset, uint64_t bytes,
                         struct block_buffer buffer, unsigned flags)
{
    struct qcow2_extent extent;
    int ret = 0;

    while (bytes) {
        ret = co_map(q, offset, bytes, &extent);
        if (ret == 0) {
            ret = co_read_extent(q, offset, &extent, buffer, flags);
        }
        if (ret < 0 || extent.bytes == bytes) {
            break;
        }
        offset += extent.bytes;
        bytes -= extent.bytes;
        buffer = block_buffer_skip(buffer, extent.bytes);
    }
    return ret;
}

int co_qcow2_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                  struct block_buffer buffer, unsigned flags)
{
    struct qcow2 *q = node->state;
    unsigned epoch = qcow2_request_begin(q);
    int ret = co_read_range(q, offset, bytes, buffer, flags);

    qcow2_request_end(q, epoch);
    return ret;
}

/* ---- Writing ---- */

/* To a host range that is ours. */
static int co_write_data(struct qcow2 *q, uint64_t offset, uint64_t host, uint64_t bytes,
                         struct block_buffer buffer, unsigned flags)
{
    void *bounce;
    int ret;

    if (q->data == q->file) {
        ret = co_qcow2_check_overlap(q, 0, host, bytes);
        if (ret < 0) {
            return ret;
        }
    }
    flags &= BLOCK_FUA | BLOCK_REGISTERED;
    co_block_debug_event(q->data, QAPI_BLKDEBUG_EVENT_WRITE_AIO);
    if (!q->crypto) {
        return co_child_write(q->data, host, bytes, buffer, flags);
    }
    bounce = bounce_new(bytes);
    if (!bounce) {
        return -ENOMEM;
    }
    block_buffer_to(buffer, bounce, bytes);
    ret = co_qcow2_encrypt(q, offset, host, bounce, bytes);
    if (ret == 0) {
        ret = co_child_write(q->data, host, bytes, BLOCK_BUFFER(bounce, bytes), flags & BLOCK_FUA);
    }
    free(bounce);
    return ret;
}

bool co_qcow2_reads_zero(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    struct qcow2_extent extent;

    while (bytes) {
        if (co_map(q, offset, bytes, &extent) < 0) {
            return false;
        }
        if (extent.kind == QCOW2_UNALLOCATED || extent.kind == QCOW2_UNALLOCATED_ALLOC) {
            if (q->node->backing && offset < q->node->backing->node->length) {
                return false;
            }
        } else if (extent.kind != QCOW2_ZERO_PLAIN && extent.kind != QCOW2_ZERO_ALLOC) {
            return false;
        }
        offset += extent.bytes;
        bytes -= extent.bytes;
    }
    return true;
}

/* Data with what is around them, in one request. */
static int co_write_with_copy(struct qcow2 *q, struct qcow2_allocation *a, uint64_t head,
                              uint64_t tail, struct block_buffer buffer, unsigned flags)
{
    uint64_t end = a->write_offset + a->write_bytes;
    uint64_t host = a->host + (a->copy_offset - a->offset);
    g_autofree struct iovec *iov = g_new(struct iovec, buffer.n_iov + 2);
    uint8_t *bounce = bounce_new(head + tail);
    unsigned n = 0;
    int ret = 0;

    if (!bounce) {
        return -ENOMEM;
    }
    co_qcow2_event(q, COW_READ);
    if (head) {
        ret = co_read_range(q, a->copy_offset, head, BLOCK_BUFFER(bounce, head), 0);
        iov[n++] = (struct iovec){bounce, head};
    }
    n += block_buffer_slice(buffer, a->write_bytes, iov + n);
    if (tail && ret == 0) {
        ret = co_read_range(q, end, tail, BLOCK_BUFFER(bounce + head, tail), 0);
        iov[n++] = (struct iovec){bounce + head, tail};
    }
    if (ret == 0) {
        a->copied = true;
        co_qcow2_event(q, COW_WRITE);
        ret = co_write_data(q, a->copy_offset, host, head + a->write_bytes + tail,
                            (struct block_buffer){iov, n, 0}, flags & ~(unsigned)BLOCK_REGISTERED);
    }
    free(bounce);
    return ret;
}

static int co_write_allocation(struct qcow2 *q, struct qcow2_allocation *a,
                               struct block_buffer buffer, unsigned flags)
{
    uint64_t end = a->write_offset + a->write_bytes;
    uint64_t head = a->write_offset - a->copy_offset, tail = a->copy_end - end;
    uint64_t host = a->host + (a->write_offset - a->offset);
    bool zeroes = (head || tail) && !q->crypto && co_qcow2_reads_zero(q, a->copy_offset, head) &&
                  co_qcow2_reads_zero(q, end, tail);

    if (zeroes && !a->fresh) {
        /* Cheap where the file can do it, and then only what the guest wrote is written. */
        co_block_debug_event(q->data, QAPI_BLKDEBUG_EVENT_CLUSTER_ALLOC_SPACE);
        zeroes = co_child_write_zeroes(q->data, a->host + (a->copy_offset - a->offset),
                                       a->copy_end - a->copy_offset, BLOCK_NO_FALLBACK) == 0;
        a->copied = zeroes;
    }
    if (zeroes || (!head && !tail)) {
        return co_write_data(q, a->write_offset, host, a->write_bytes, buffer, flags);
    }
    return co_write_with_copy(q, a, head, tail, buffer, flags);
}

/* Lazy counts: the image says that they may be wrong before they are. */
static int co_mark_dirty(struct qcow2 *q)
{
    if (!q->lazy_refcounts || q->dirty) {
        return 0;
    }
    return co_qcow2_set_incompatible(q, QCOW2_INCOMPAT_DIRTY, 0);
}

static int co_write_some(struct qcow2 *q, uint64_t offset, uint64_t *bytes,
                         struct block_buffer buffer, unsigned flags)
{
    struct qcow2_allocation *a = NULL;
    struct qcow2_extent extent;
    uint64_t host;
    int ret, result;

    if (qcow2_map_fast(q, offset, *bytes, &extent) && extent.kind == QCOW2_NORMAL &&
        extent.copied) {
        *bytes = extent.bytes;
        return co_write_data(q, offset, extent.host, extent.bytes, buffer, flags);
    }
    co_mutex_lock(&q->lock);
    ret = co_mark_dirty(q);
    if (ret == 0) {
        ret = co_qcow2_prepare_write(q, offset, bytes, &host, &a);
    }
    co_mutex_unlock(&q->lock);
    if (ret < 0) {
        return ret;
    }
    if (!a) {
        return co_write_data(q, offset, host, *bytes, buffer, flags);
    }
    ret = co_write_allocation(q, a, buffer, flags);
    if (ret == -ENOSPC && a->new_clusters && q->data == q->file) {
        /*
         * What there was space for is what the tables need now, so that earlier writes can be kept.
         */
        co_child_discard(q->file, a->host, a->bytes);
    }
    co_mutex_lock(&q->lock);
    result = co_qcow2_finish_write(q, a, ret == 0);
    co_mutex_unlock(&q->lock);
    return ret < 0 ? ret : result;
}

/* One cluster, which may be cut off by the end of the image. -ENOMEM: it doesn't get smaller. */
static int co_write_compressed(struct qcow2 *q, uint64_t offset, uint64_t bytes,
                               struct block_buffer buffer)
{
    uint8_t *in = bounce_new(q->cluster_size), *out = bounce_new(q->cluster_size);
    int64_t size = -EIO, host;
    int ret;

    if (in && out) {
        block_buffer_to(buffer, in, bytes);
        memset(in + bytes, 0, q->cluster_size - bytes);
        size = co_qcow2_compress(q, in, out);
    }
    free(in);
    if (size < 0) {
        free(out);
        return size;
    }
    co_mutex_lock(&q->lock);
    ret = co_mark_dirty(q);
    host = ret < 0 ? ret : co_qcow2_allocate_bytes(q, size);
    co_mutex_unlock(&q->lock);
    if (host < 0) {
        free(out);
        return host;
    }
    ret = co_qcow2_check_overlap(q, 0, host, size);
    if (ret == 0) {
        co_qcow2_event(q, WRITE_COMPRESSED);
        ret = co_child_write(q->file, host, size, BLOCK_BUFFER(out, size), 0);
    }
    co_mutex_lock(&q->lock);
    if (ret == 0) {
        ret = co_qcow2_set_compressed(q, offset, host, size);
    }
    if (ret < 0) {
        qcow2_free(q, host, size, QCOW2_DISCARD_NEVER);
    }
    co_mutex_unlock(&q->lock);
    free(out);
    return ret;
}

static int co_write_compressed_some(struct qcow2 *q, uint64_t offset, uint64_t *bytes,
                                    struct block_buffer buffer, unsigned flags)
{
    int ret;

    *bytes = MIN(*bytes, q->cluster_size);
    if (qcow2_in_cluster(q, offset) ||
        (*bytes < q->cluster_size && offset + *bytes < q->header.size)) {
        return -EINVAL;
    }
    ret = co_write_compressed(q, offset, *bytes, buffer);
    return ret == -ENOMEM ? co_write_some(q, offset, bytes, buffer, flags) : ret;
}

/* After a FUA write: in place, and where L2 says so for good, the data's own FUA was all. */
static int co_finish_fua(struct qcow2 *q)
{
    int ret;

    if (qcow2_is_stable(q)) {
        return 0;
    }
    ret = co_qcow2_flush(q->node);
    if (ret == 0 && q->data != q->file) {
        ret = co_child_flush(q->data);
    }
    return ret < 0 ? ret : co_child_flush(q->file);
}

int co_qcow2_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    struct qcow2 *q = node->state;
    unsigned epoch = qcow2_request_begin(q);
    bool fua = flags & BLOCK_FUA;
    int ret = q->broken ? -EIO : co_qcow2_bitmaps_before_write(q, offset, bytes);

    if (ret == 0 && flags & BLOCK_COMPRESSED && q->data != q->file) {
        ret = -ENOTSUP;
    }
    while (ret == 0 && bytes) {
        uint64_t here = bytes;

        if (flags & BLOCK_COMPRESSED) {
            ret = co_write_compressed_some(q, offset, &here, buffer, flags);
        } else {
            ret = co_write_some(q, offset, &here, buffer, flags);
        }
        if (here == bytes) {
            break;
        }
        offset += here;
        bytes -= here;
        buffer = block_buffer_skip(buffer, here);
    }
    qcow2_request_end(q, epoch);
    return ret == 0 && fua ? co_finish_fua(q) : ret;
}
