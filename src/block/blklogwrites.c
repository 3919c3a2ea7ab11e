/*
 * Driver blklogwrites: a filter that writes down what is written, in the format of the kernel's
 * dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst), so that any moment can be
 * replayed.
 */
#include <errno.h>
#include <string.h>

#include "block/block_priv.h"
#include "block/sparse.h"

enum {
    LOG_FLUSH = 1,
    LOG_FUA = 2,
    LOG_DISCARD = 4,
    LOG_VERSION = 1,
    DEFAULT_SECTOR = 512,
    MAX_SECTOR = 64 << 10,
    DEFAULT_INTERVAL = 4096,
};
static const uint64_t log_magic = 0x6a736677736872;

/* All little-endian; each in a sector of its own. */
struct super {
    uint64_t magic, version, n_entries;
    uint32_t sector_size;
} __attribute__((packed));

struct entry {
    uint64_t sector, n_sectors, flags, data_bytes;
} __attribute__((packed));

struct blklogwrites {
    struct block_edge *file, *log;
    uint32_t sector;
    uint64_t interval;
    struct co_mutex lock;     /* of the rest: the order of entries */
    uint64_t next, n_entries; /* sector of the next entry */
};

static int co_write_super(struct blklogwrites *s)
{
    g_autofree uint8_t *sector = g_malloc0(s->sector);
    struct super super = {
        GUINT64_TO_LE(log_magic),
        GUINT64_TO_LE(LOG_VERSION),
        GUINT64_TO_LE(s->n_entries),
        GUINT32_TO_LE(s->sector),
    };
    int result;

    memcpy(sector, &super, sizeof(super));
    result = co_child_write(s->log, 0, s->sector, BLOCK_BUFFER(sector, s->sector), 0);
    return result < 0 ? result : co_child_flush(s->log);
}

/* ---- Open ---- */

/* Behind the entries that are there. */
static bool co_find_end(struct block_node *node, GError **error)
{
    struct blklogwrites *s = node->state;
    uint64_t n, length = s->log->node->length;
    struct super super;

    if (!format_read(node, s->log, 0, &super, sizeof(super), "log's superblock", error)) {
        return false;
    }
    s->sector = GUINT32_FROM_LE(super.sector_size);
    if (GUINT64_FROM_LE(super.magic) != log_magic ||
        GUINT64_FROM_LE(super.version) != LOG_VERSION || s->sector < DEFAULT_SECTOR ||
        s->sector > MAX_SECTOR || s->sector & (s->sector - 1)) {
        return block_error(error, "Not a valid log superblock to append to");
    }
    n = GUINT64_FROM_LE(super.n_entries);
    s->next = 1;
    for (s->n_entries = 0; s->n_entries < n; s->n_entries++) {
        struct entry e;
        uint64_t data;

        if (s->next > length / s->sector ||
            !format_read(node, s->log, s->next * s->sector, &e, sizeof(e), "log entry", error)) {
            return error && *error ? false
                                   : block_error(error, "its log is shorter than it says");
        }
        data = GUINT64_FROM_LE(e.flags) & LOG_DISCARD ? 0 : GUINT64_FROM_LE(e.n_sectors);
        if (data > length / s->sector) {
            return block_error(error, "entry %" PRIu64 " of its log is damaged",
                                s->n_entries);
        }
        s->next += 1 + data;
    }
    return true;
}

static bool take_options(struct block_node *node,
                         const struct qapi_blockdev_options_blklogwrites *o, GError **error)
{
    struct blklogwrites *s = node->state;
    bool append = o->has_log_append && o->log_append;

    if (append && o->has_log_sector_size) {
        return block_error(error, "log-append and log-sector-size are mutually exclusive");
    }
    s->sector = o->has_log_sector_size ? o->log_sector_size : DEFAULT_SECTOR;
    s->interval =
        o->has_log_super_update_interval ? o->log_super_update_interval : DEFAULT_INTERVAL;
    if (s->sector < DEFAULT_SECTOR || s->sector > MAX_SECTOR || s->sector & (s->sector - 1)) {
        return block_error(error,
                            "Invalid log sector size %" PRIu32 ": a power of 2 from 512 to 65536",
                            s->sector);
    }
    if (!s->interval) {
        return block_error(error, "Invalid log superblock update interval 0");
    }
    s->next = 1;
    return !append || co_find_end(node, error);
}

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    const struct qapi_blockdev_options_blklogwrites *o = &options->u.blklogwrites;
    struct blklogwrites *s = node->state;

    co_mutex_init(&s->lock);
    s->file =
        co_block_open_child(node, "file", o->file, BLOCK_ROLE_FILTERED | BLOCK_ROLE_PRIMARY, error);
    if (!s->file) {
        return false;
    }
    s->log = co_block_open_child(node, "log", o->log, BLOCK_ROLE_METADATA, error);
    if (!s->log || !take_options(node, o, error)) {
        return false;
    }
    node->length = s->file->node->length;
    node->supported_write_flags = BLOCK_FUA;
    node->supported_zeroes_flags = BLOCK_FUA;
    return true;
}

static void co_close(struct block_node *node)
{
    struct blklogwrites *s = node->state;

    co_mutex_clear(&s->lock);
}

static void refresh_limits(struct block_node *node)
{
    const struct blklogwrites *s = node->state;

    node->limits = s->file->node->limits;
    node->limits.request_align = MAX(node->limits.request_align, s->sector);
}

/* The log can't be used by others; of the file what everybody does. */
static void child_perm(const struct block_node *node, const struct block_edge *edge, unsigned perm,
                       unsigned shared, unsigned *need, unsigned *share)
{
    if (g_str_equal(edge->name, "log")) {
        *need = BLOCK_PERM_CONSISTENT_READ |
                (node->read_only ? 0 : BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE);
        *share = BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE_UNCHANGED;
        return;
    }
    *need = perm;
    *share = shared;
}

/* ---- The log ---- */

/* buffer NULL: zeroes. */
static int co_log_data(struct blklogwrites *s, uint64_t at, uint64_t bytes,
                       const struct block_buffer *buffer)
{
    return buffer ? co_child_write(s->log, at, bytes, *buffer, 0)
                  : co_child_write_zeroes(s->log, at, bytes, 0);
}

static int co_log(struct block_node *node, uint64_t offset, uint64_t bytes,
                  const struct block_buffer *buffer, unsigned flags)
{
    struct blklogwrites *s = node->state;
    struct entry e = {GUINT64_TO_LE(offset / s->sector), GUINT64_TO_LE(bytes / s->sector),
                      GUINT64_TO_LE(flags), 0};
    uint64_t data = flags & LOG_DISCARD ? 0 : bytes;
    g_autofree uint8_t *sector = g_malloc0(s->sector);
    int result;

    memcpy(sector, &e, sizeof(e));
    co_mutex_lock(&s->lock);
    result =
        co_child_write(s->log, s->next * s->sector, s->sector, BLOCK_BUFFER(sector, s->sector), 0);
    if (result >= 0 && data) {
        result = co_log_data(s, (s->next + 1) * s->sector, data, buffer);
    }
    if (result >= 0) {
        s->next += 1 + data / s->sector;
        s->n_entries++;
        if (flags & (LOG_FLUSH | LOG_FUA) || s->n_entries % s->interval == 0) {
            result = co_write_super(s);
        }
    }
    co_mutex_unlock(&s->lock);
    return MIN(result, 0);
}

/* ---- Requests: the file, then the log ---- */

static int co_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    const struct blklogwrites *s = node->state;

    return co_child_read(s->file, offset, bytes, buffer, flags);
}

static int co_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags)
{
    const struct blklogwrites *s = node->state;
    int result = co_child_write(s->file, offset, bytes, buffer, flags);
    int logged = co_log(node, offset, bytes, &buffer, flags & BLOCK_FUA ? LOG_FUA : 0);

    return result < 0 ? result : logged;
}

static int co_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    const struct blklogwrites *s = node->state;
    int result = co_child_write_zeroes(s->file, offset, bytes, flags);
    int logged = co_log(node, offset, bytes, NULL, flags & BLOCK_FUA ? LOG_FUA : 0);

    return result < 0 ? result : logged;
}

static int co_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    const struct blklogwrites *s = node->state;
    int result = co_child_discard(s->file, offset, bytes);
    int logged = co_log(node, offset, bytes, NULL, LOG_DISCARD);

    return result < 0 ? result : logged;
}

static int co_flush(struct block_node *node)
{
    const struct blklogwrites *s = node->state;
    int result = co_child_flush(s->file);
    int logged = co_log(node, 0, 0, NULL, LOG_FLUSH);

    return result < 0 ? result : logged;
}

static const struct block_driver blklogwrites = {
    .name = "blklogwrites",
    .kind = QAPI_BLOCKDEV_DRIVER_BLKLOGWRITES,
    .is_filter = true,
    .state_size = sizeof(struct blklogwrites),
    .co_open = co_open,
    .co_close = co_close,
    .refresh_limits = refresh_limits,
    .child_perm = child_perm,
    .co_read = co_read,
    .co_write = co_write,
    .co_write_zeroes = co_write_zeroes,
    .co_discard = co_discard,
    .co_flush = co_flush,
};
BLOCK_DRIVER(blklogwrites);
