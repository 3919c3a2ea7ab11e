/*
 * Driver preallocate: a filter between a format and its file. When the format writes beyond the end
 * of the file, much more than that is allocated at once; what wasn't used is cut off when it is
 * closed.
 */
#include <errno.h>

#include "block/block_priv.h"
#include "block/sparse.h"

enum { DEFAULT_ALIGN = 1 << 20, DEFAULT_SIZE = 128 << 20 };

struct preallocate {
    struct block_edge *file;
    uint64_t align, size;
    struct co_mutex lock; /* of the rest */
    uint64_t data_end;    /* what the parent takes for the end of the file */
    uint64_t file_end;    /* beyond data_end it reads as zeroes */
    bool ready;
};

static bool take_options(struct block_node *node, const struct qapi_blockdev_options_preallocate *o,
                         GError **error)
{
    struct preallocate *s = node->state;

    if ((o->has_prealloc_align && o->prealloc_align <= 0) ||
        (o->has_prealloc_size && o->prealloc_size <= 0)) {
        return block_error(error, "prealloc-align and prealloc-size must be more than 0");
    }
    s->align = o->has_prealloc_align ? (uint64_t)o->prealloc_align : DEFAULT_ALIGN;
    s->size = o->has_prealloc_size ? (uint64_t)o->prealloc_size : DEFAULT_SIZE;
    if (s->align % 512) {
        return block_error(error,
                            "prealloc-align parameter of preallocate filter is not aligned to 512");
    }
    if (s->align > 1ull << 40 || s->size > 1ull << 50) {
        return block_error(error, "prealloc-align or prealloc-size is too large");
    }
    return true;
}

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    struct preallocate *s = node->state;

    co_mutex_init(&s->lock);
    s->file = co_block_open_child(node, "file", options->u.preallocate.file,
                                  BLOCK_ROLE_FILTERED | BLOCK_ROLE_PRIMARY, error);
    if (!s->file || !take_options(node, &options->u.preallocate, error)) {
        return false;
    }
    node->length = s->data_end = s->file_end = s->file->node->length;
    node->supported_write_flags = s->file->node->supported_write_flags;
    node->supported_zeroes_flags = s->file->node->supported_zeroes_flags;
    s->ready = true;
    return true;
}

static void co_close(struct block_node *node)
{
    struct preallocate *s = node->state;

    if (s->ready && s->file_end > s->data_end && s->file->perm & BLOCK_PERM_RESIZE) {
        co_child_truncate(s->file, s->data_end, true, QAPI_PREALLOC_MODE_OFF, 0, NULL);
    }
    co_mutex_clear(&s->lock);
}

/* Its own: what is cut off at the end. */
static void child_perm(const struct block_node *node, const struct block_edge *edge, unsigned perm,
                       unsigned shared, unsigned *need, unsigned *share)
{
    *need = perm;
    *share = shared;
    if (!node->read_only) {
        *need |= BLOCK_PERM_RESIZE | BLOCK_PERM_WRITE;
        *share &= ~(unsigned)(BLOCK_PERM_RESIZE | BLOCK_PERM_WRITE);
    }
}

/* Before what ends at end is written. *zeroed: it was beyond the file, and is zeroes now. Not being
 * able to is no reason not to write. */
static void co_extend(struct preallocate *s, uint64_t offset, uint64_t end, bool *zeroed)
{
    *zeroed = false;
    co_mutex_lock(&s->lock);
    if (end > s->file_end) {
        uint64_t target = (end + s->size + s->align - 1) / s->align * s->align;

        if (target <= INT64_MAX && co_child_write_zeroes(s->file, s->file_end, target - s->file_end,
                                                         BLOCK_NO_FALLBACK) >= 0) {
            s->file_end = target;
        }
    }
    *zeroed = offset >= s->data_end && end <= s->file_end;
    s->data_end = MAX(s->data_end, end);
    s->file_end = MAX(s->file_end, s->data_end);
    co_mutex_unlock(&s->lock);
}

static int co_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    const struct preallocate *s = node->state;

    return co_child_read(s->file, offset, bytes, buffer, flags);
}

static int co_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    struct preallocate *s = node->state;
    bool zeroed;

    co_extend(s, offset, offset + bytes, &zeroed);
    return co_child_write(s->file, offset, bytes, buffer, flags);
}

static int co_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct preallocate *s = node->state;
    bool zeroed;

    co_extend(s, offset, offset + bytes, &zeroed);
    return zeroed ? 0 : co_child_write_zeroes(s->file, offset, bytes, flags);
}

static int co_truncate(struct block_node *node, uint64_t size, bool exact,
                       enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    struct preallocate *s = node->state;
    int result;

    co_mutex_lock(&s->lock);
    result = co_child_truncate(s->file, size, exact, prealloc, flags, error);
    if (result >= 0) {
        s->data_end = s->file_end = s->file->node->length;
    }
    co_mutex_unlock(&s->lock);
    return result;
}

static int64_t co_length(struct block_node *node)
{
    return (int64_t)((const struct preallocate *)node->state)->data_end;
}

static const struct block_driver preallocate = {
    .name = "preallocate",
    .kind = QAPI_BLOCKDEV_DRIVER_PREALLOCATE,
    .is_filter = true,
    .state_size = sizeof(struct preallocate),
    .co_open = co_open,
    .co_close = co_close,
    .child_perm = child_perm,
    .co_read = co_read,
    .co_write = co_write,
    .co_write_zeroes = co_write_zeroes,
    .co_truncate = co_truncate,
    .co_length = co_length,
};
BLOCK_DRIVER(preallocate);
