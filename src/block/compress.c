/* Driver compress: a filter by which whole clusters are written compressed. */
#include <errno.h>

#include "block/block_priv.h"
#include "block/sparse.h"

enum { MAX_ALIGN = BLOCK_ZEROES };

struct compress {
    struct block_edge *file;
    uint64_t cluster; /* bytes */
};

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    struct compress *s = node->state;
    struct qapi_image_info info;
    struct block_node *child;

    s->file = co_block_open_child(node, "file", options->u.compress.file,
                                  BLOCK_ROLE_FILTERED | BLOCK_ROLE_PRIMARY, error);
    if (!s->file) {
        return false;
    }
    child = s->file->node;
    node->length = child->length;
    if (!(child->supported_write_flags & BLOCK_COMPRESSED)) {
        return block_error(error, "Compression is not supported for driver '%s'",
                            child->driver->name);
    }
    if (!co_block_image_info(child, false, &info, error)) {
        qapi_clear(&qapi_type_image_info, &info);
        return false;
    }
    s->cluster = info.has_cluster_size ? (uint64_t)info.cluster_size : 0;
    qapi_clear(&qapi_type_image_info, &info);
    if (!s->cluster || s->cluster & (s->cluster - 1)) {
        return block_error(error, "the image has no clusters");
    }
    node->supported_write_flags = BLOCK_FUA;
    return true;
}

/* Parts of clusters are read, changed and written as a whole by the core, as far as it does that.
 */
static void refresh_limits(struct block_node *node)
{
    const struct compress *s = node->state;

    node->limits = s->file->node->limits;
    node->limits.request_align =
        (uint32_t)MAX(node->limits.request_align, MIN(s->cluster, MAX_ALIGN));
}

static int co_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    const struct compress *s = node->state;

    return co_child_read(s->file, offset, bytes, buffer, flags);
}

static int co_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    const struct compress *s = node->state;
    int result = 0;

    while (bytes && result >= 0) {
        uint64_t n = MIN(bytes, s->cluster - offset % s->cluster);
        bool whole = n == s->cluster || (offset % s->cluster == 0 && offset + n >= node->length);

        /* In larger clusters a part stays as it is. */
        result = co_child_write(s->file, offset, MIN(n, node->length - offset), buffer,
                                flags | (whole ? BLOCK_COMPRESSED : 0));
        offset += n;
        bytes -= n;
        buffer = bytes ? block_buffer_skip(buffer, n) : buffer;
    }
    return MIN(result, 0);
}

static int co_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    const struct compress *s = node->state;

    return co_child_write_zeroes(s->file, offset, MIN(bytes, node->length - offset), flags);
}

static const struct block_driver compress_driver = {
    .name = "compress",
    .kind = QAPI_BLOCKDEV_DRIVER_COMPRESS,
    .is_filter = true,
    .state_size = sizeof(struct compress),
    .co_open = co_open,
    .refresh_limits = refresh_limits,
    .co_read = co_read,
    .co_write = co_write,
    .co_write_zeroes = co_write_zeroes,
};
BLOCK_DRIVER(compress_driver);
