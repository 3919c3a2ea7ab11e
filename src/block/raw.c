/* Driver raw: the bytes of another node, or a part of them. */
#include <errno.h>

#include "block/block_priv.h"
#include "qapi/error.h"

/* Where formats have their magic numbers; where writes are looked at if nobody said that it is
 * raw. */
enum { HEADER_BYTES = 512 };

struct raw_state {
    uint64_t offset; /* bytes */
    bool has_size;   /* it ends where it is told to */
    uint64_t size;
};

static int probe(const uint8_t *data, size_t size, const char *filename)
{
    return 1; /* what nobody else knows */
}

static bool set_length(struct block_node *node, uint64_t file_length, GError **error)
{
    const struct raw_state *s = node->state;

    if (s->offset > file_length || (s->has_size && s->size > file_length - s->offset)) {
        return block_error(
            error,
            "The sum of offset and size must be smaller or equal to the actual size of the containing "
            "file");
    }
    node->length = s->has_size ? s->size : file_length - s->offset;
    return true;
}

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    const struct qapi_blockdev_options_raw *raw = &options->u.raw;
    struct raw_state *s = node->state;
    bool partial = raw->has_offset || raw->has_size;
    struct block_edge *file;

    if (raw->offset < 0 || raw->size < 0) {
        return block_error(error, "offset and size cannot be negative");
    }
    s->offset = (uint64_t)raw->offset;
    s->has_size = raw->has_size;
    s->size = (uint64_t)raw->size;
    file =
        co_block_open_child(node, "file", raw->file,
                            BLOCK_ROLE_PRIMARY | (partial ? BLOCK_ROLE_DATA : BLOCK_ROLE_FILTERED),
                            error);
    if (!file || !set_length(node, file->node->length, error)) {
        return false;
    }
    /* What auto-read-only made of the file. */
    node->read_only |= file->node->read_only && node->auto_read_only;
    if (!partial) {
        node->supported_write_flags = BLOCK_REGISTERED;
    }
    node->supported_write_flags |= BLOCK_FUA | BLOCK_UNCHANGED | BLOCK_SERIALISE;
    node->supported_zeroes_flags =
        BLOCK_FUA | BLOCK_UNCHANGED | BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK;
    return true;
}

static void refresh_limits(struct block_node *node)
{
    const struct raw_state *s = node->state;
    const struct block_limits *file = &node->file->node->limits;

    node->limits = *file;
    if (node->open_flags & BLOCK_OPEN_GUESSED_RAW) {
        /* A header comes in one write then, never in pieces. */
        node->limits.request_align = MAX(node->limits.request_align, HEADER_BYTES);
        return;
    }
    if (s->offset & (file->request_align - 1)) {
        node->limits.request_align = 1; /* the file's core does what is needed */
        node->limits.zeroes_align = node->limits.discard_align = 0;
    }
}

static int co_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    const struct raw_state *s = node->state;

    co_block_debug_event(node->file, QAPI_BLKDEBUG_EVENT_READ_AIO);
    return co_child_read(node->file, s->offset + offset, bytes, buffer, flags);
}

/* -ENOSPC rather than what is behind the part. */
static bool is_outside(const struct block_node *node, uint64_t offset, uint64_t bytes)
{
    const struct raw_state *s = node->state;

    return s->has_size && (offset > s->size || bytes > s->size - offset);
}

/*
 * A guest that makes its raw disk look like another format could, when it is opened next and its
 * format is guessed again, name any file of the host as its backing image.
 */
static bool becomes_another_format(const struct block_node *node, uint64_t offset,
                                   struct block_buffer buffer)
{
    uint8_t header[HEADER_BYTES];

    if (!(node->open_flags & BLOCK_OPEN_GUESSED_RAW) || offset) {
        return false;
    }
    block_buffer_to(buffer, header, sizeof(header));
    return block_driver_probe(header, sizeof(header), node->filename) != node->driver;
}

static int co_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    const struct raw_state *s = node->state;

    if (is_outside(node, offset, bytes)) {
        return -ENOSPC;
    }
    if (becomes_another_format(node, offset, buffer)) {
        return -EPERM;
    }
    co_block_debug_event(node->file, QAPI_BLKDEBUG_EVENT_WRITE_AIO);
    return co_child_write(node->file, s->offset + offset, bytes, buffer, flags);
}

static int co_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    const struct raw_state *s = node->state;

    if (is_outside(node, offset, bytes)) {
        return -ENOSPC;
    }
    return co_child_write_zeroes(node->file, s->offset + offset, bytes, flags);
}

static int co_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    const struct raw_state *s = node->state;

    return is_outside(node, offset, bytes)
               ? -ENOSPC
               : co_child_discard(node->file, s->offset + offset, bytes);
}

static int co_status(struct block_node *node, uint64_t offset, uint64_t bytes,
                     struct block_status *status)
{
    const struct raw_state *s = node->state;

    return co_node_status(node->file->node, s->offset + offset, bytes, status);
}

static int co_truncate(struct block_node *node, uint64_t size, bool exact,
                       enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    const struct raw_state *s = node->state;

    if (s->has_size) {
        block_error(error, "Cannot resize fixed-size raw disks");
        return -ENOTSUP;
    }
    if (size > INT64_MAX - s->offset) {
        block_error(error, "Disk size too large for the chosen offset");
        return -EINVAL;
    }
    return co_child_truncate(node->file, s->offset + size, exact, prealloc, flags, error);
}

static int64_t co_length(struct block_node *node)
{
    const struct raw_state *s = node->state;
    uint64_t length = node->file->node->length;

    return s->has_size ? (int64_t)s->size : length > s->offset ? (int64_t)(length - s->offset) : 0;
}

static const struct block_driver raw = {
    .name = "raw",
    .kind = QAPI_BLOCKDEV_DRIVER_RAW,
    .state_size = sizeof(struct raw_state),
    .probe = probe,
    .co_open = co_open,
    .refresh_limits = refresh_limits,
    .co_read = co_read,
    .co_write = co_write,
    .co_write_zeroes = co_write_zeroes,
    .co_discard = co_discard,
    .co_status = co_status,
    .co_truncate = co_truncate,
    .co_length = co_length,
};
BLOCK_DRIVER(raw);
