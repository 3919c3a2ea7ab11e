/*
 * Sparse extents of vmdk: a directory of tables of grains. KDMV ("hosted"), its stream-optimized
 * form with compressed grains, COWD and SESPARSE of ESX, of which the latter two are only read.
 */
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "block/vmdk.h"

enum {
    COWD_TABLE_ENTRIES = 4096,
    MAX_GRAIN = 64 << 20,
    MARKER_BYTES = 12, /* in front of a compressed grain: its first sector (8), bytes (4) */
    MARKER_FOOTER = 3,
    SESPARSE_TABLE_ENTRIES = 4096,
    SESPARSE_GRAIN_SECTORS = 8,
};

struct cowd_header {
    char magic[4];
    uint32_t version, flags, sectors, granularity, directory_offset, directory_size, file_sectors;
    uint32_t cylinders, heads, sectors_per_track;
} __attribute__((packed));

struct sesparse_header {
    uint64_t magic, version, capacity, grain_size, table_size, flags, reserved[4]; /* sectors */
    uint64_t volatile_offset, volatile_size, journal_header_offset, journal_header_size;
    uint64_t journal_offset, journal_size, directory_offset, directory_size, tables_offset,
        tables_size;
    uint64_t bitmap_offset, bitmap_size, backmap_offset, backmap_size, grains_offset, grains_size;
} __attribute__((packed));

static const uint64_t sesparse_magic = 0xcafebabe, sesparse_version = 0x0000000200000001;

/* ---- Open ---- */

/* The directory is in the file, and all of it can be addressed. */
static bool check_layout(struct block_node *node, struct vmdk_extent *x, uint64_t sectors,
                         uint64_t grain_sectors, unsigned entry_size, GError **error)
{
    uint64_t length = x->file->node->length, per_table;

    if (!grain_sectors || grain_sectors & (grain_sectors - 1) ||
        grain_sectors > MAX_GRAIN / VMDK_SECTOR) {
        return block_error(error,
                            "invalid granularity of %" PRIu64 " sectors, image may be corrupt",
                            grain_sectors);
    }
    if (!x->table_entries || sectors > INT64_MAX / VMDK_SECTOR) {
        return block_error(error,
                            "invalid size of %" PRIu64 " sectors or tables of %" PRIu32 " entries",
                            sectors, x->table_entries);
    }
    x->grain = grain_sectors * VMDK_SECTOR;
    x->bytes = sectors * VMDK_SECTOR;
    per_table = x->grain * x->table_entries;
    x->n_tables = (x->bytes + per_table - 1) / per_table;
    if (x->directory > length || x->n_tables * entry_size > length - x->directory) {
        return block_error(error,
                            "its directory of %" PRIu64 " grain tables is beyond the end of '%s'",
                            x->n_tables, x->file->node->filename);
    }
    x->end = (length + VMDK_SECTOR - 1) & ~(uint64_t)(VMDK_SECTOR - 1);
    return true;
}

static uint64_t in_bytes(uint64_t n)
{
    return n > INT64_MAX / VMDK_SECTOR ? INT64_MAX : n * VMDK_SECTOR;
}

/* A stream's header doesn't know where the directory is; a copy behind it does. */
static bool co_read_stream_footer(struct block_node *node, struct vmdk_extent *x,
                                  struct vmdk_header *h, GError **error)
{
    struct {
        uint64_t value;
        uint32_t size, type;
        uint8_t pad[496];
    } __attribute__((packed)) marker;
    uint64_t length = x->file->node->length;

    if (length < 4 * VMDK_SECTOR) {
        return block_error(error, "the stream-optimized image has no footer");
    }
    if (!format_read(node, x->file, length - 3 * VMDK_SECTOR, &marker, sizeof(marker),
                     "footer marker", error) ||
        !format_read(node, x->file, length - 2 * VMDK_SECTOR, h, sizeof(*h), "footer", error)) {
        return false;
    }
    return (marker.size == 0 && GUINT32_FROM_LE(marker.type) == MARKER_FOOTER &&
            !memcmp(h->magic, "KDMV", 4)) ||
           block_error(error, "the stream-optimized image has no footer");
}

static bool co_open_kdmv(struct block_node *node, struct vmdk_extent *x, struct vmdk_header *h,
                         GError **error)
{
    uint32_t flags, version;

    if (h->directory_offset == UINT64_MAX && !co_read_stream_footer(node, x, h, error)) {
        return false;
    }
    flags = GUINT32_FROM_LE(h->flags);
    version = GUINT32_FROM_LE(h->version);
    x->compressed = GUINT16_FROM_LE(h->compression) == VMDK_DEFLATE && flags & VMDK_FLAG_COMPRESSED;
    if (version > 3 || GUINT16_FROM_LE(h->compression) > VMDK_DEFLATE) {
        return block_error(error,
                            "VMDK version %" PRIu32 " with compression %u isn't supported", version,
                            GUINT16_FROM_LE(h->compression));
    }
    x->read_only = version == 3 && !x->compressed; /* it may have change tracking */
    x->markers = flags & VMDK_FLAG_MARKERS;
    x->zero_grain = flags & VMDK_FLAG_ZERO_GRAIN;
    x->table_entries = GUINT32_FROM_LE(h->table_entries);
    x->directory = in_bytes(GUINT64_FROM_LE(h->directory_offset));
    x->redundant = flags & VMDK_FLAG_REDUNDANT ? in_bytes(GUINT64_FROM_LE(h->redundant_offset)) : 0;
    if (x->table_entries > VMDK_TABLE_ENTRIES) {
        return block_error(error, "L2 table size too big: %" PRIu32 " entries",
                            x->table_entries);
    }
    if (!check_layout(node, x, GUINT64_FROM_LE(h->capacity), GUINT64_FROM_LE(h->granularity), 4,
                      error)) {
        return false;
    }
    if (x->redundant > x->file->node->length ||
        x->redundant + x->n_tables * 4 > x->file->node->length) {
        return block_error(error, "its second directory is beyond the end of '%s'",
                            x->file->node->filename);
    }
    return true;
}

static bool co_open_cowd(struct block_node *node, struct vmdk_extent *x,
                         const struct cowd_header *h, GError **error)
{
    x->read_only = true;
    x->table_entries = COWD_TABLE_ENTRIES;
    x->directory = in_bytes(GUINT32_FROM_LE(h->directory_offset));
    return check_layout(node, x, GUINT32_FROM_LE(h->sectors), GUINT32_FROM_LE(h->granularity), 4,
                        error);
}

static bool co_open_sesparse(struct block_node *node, struct vmdk_extent *x, GError **error)
{
    struct sesparse_header h;

    if (!format_read(node, x->file, 0, &h, sizeof(h), "header", error)) {
        return false;
    }
    if (GUINT64_FROM_LE(h.version) != sesparse_version ||
        GUINT64_FROM_LE(h.grain_size) != SESPARSE_GRAIN_SECTORS ||
        GUINT64_FROM_LE(h.table_size) != SESPARSE_TABLE_ENTRIES * 8 / VMDK_SECTOR) {
        return block_error(error,
                            "unsupported seSparse version, grain size or grain table size");
    }
    x->read_only = x->is_sesparse = true;
    x->table_entries = SESPARSE_TABLE_ENTRIES;
    x->directory = in_bytes(GUINT64_FROM_LE(h.directory_offset));
    x->tables = in_bytes(GUINT64_FROM_LE(h.tables_offset));
    x->grains = in_bytes(GUINT64_FROM_LE(h.grains_offset));
    return check_layout(node, x, GUINT64_FROM_LE(h.capacity), SESPARSE_GRAIN_SECTORS, 8, error);
}

bool co_vmdk_open_sparse(struct block_node *node, struct vmdk_extent *x, struct vmdk_header *h,
                         GError **error)
{
    uint64_t magic;

    if (!format_read(node, x->file, 0, h, sizeof(*h), "header", error)) {
        return false;
    }
    memcpy(&magic, h, sizeof(magic));
    if (!memcmp(h->magic, "KDMV", 4)) {
        /* A header that only holds a descriptor has no size. */
        return !h->capacity || co_open_kdmv(node, x, h, error);
    }
    if (!memcmp(h->magic, "COWD", 4)) {
        struct cowd_header cowd;

        memcpy(&cowd, h, sizeof(cowd));
        return co_open_cowd(node, x, &cowd, error);
    }
    if (GUINT64_FROM_LE(magic) == sesparse_magic) {
        return co_open_sesparse(node, x, error);
    }
    return block_error(error, "'%s' isn't a sparse extent", x->file->node->filename);
}

/* ---- Tables ---- */

static int co_read_entry32(struct block_node *node, const struct vmdk_extent *x, uint64_t at,
                           uint32_t *entry)
{
    struct vmdk *s = node->state;
    int result = co_table_read(s->sparse.tables, x->file, at, entry, sizeof(*entry));

    *entry = GUINT32_FROM_LE(*entry);
    return result;
}

static int co_map_sesparse(struct block_node *node, const struct vmdk_extent *x, uint64_t table,
                           uint64_t index, struct sparse_extent *found)
{
    struct vmdk *s = node->state;
    uint64_t entry;
    int result =
        co_table_read(s->sparse.tables, x->file, x->directory + table * 8, &entry, sizeof(entry));

    entry = GUINT64_FROM_LE(entry);
    if (result < 0 || !entry) {
        found->kind = SPARSE_UNALLOCATED;
        return result;
    }
    /* The upper half says that there is a table, the lower one which. */
    if (entry >> 32 != 0x10000000) {
        return -EIO;
    }
    result = co_table_read(s->sparse.tables, x->file,
                           x->tables + (entry & UINT32_MAX) * (SESPARSE_TABLE_ENTRIES * 8ull) +
                               index * 8,
                           &entry, sizeof(entry));
    entry = GUINT64_FROM_LE(entry);
    switch (entry >> 60) {
    case 0: found->kind = SPARSE_UNALLOCATED; return entry ? -EIO : result;
    case 1:
    case 2: found->kind = SPARSE_ZERO; return result;
    case 3:
        found->kind = SPARSE_DATA;
        found->host = x->grains + (((entry & 0x0fff000000000000) >> 48) |
                                   ((entry & 0x0000ffffffffffff) << 12)) *
                                      (SESPARSE_GRAIN_SECTORS * VMDK_SECTOR);
        return found->host > INT64_MAX ? -EIO : result;
    default: return -EIO;
    }
}

int co_vmdk_map_grain(struct block_node *node, const struct vmdk_extent *x, uint64_t offset,
                      struct sparse_extent *found)
{
    uint64_t within = offset - x->start, grain = within / x->grain,
             table = grain / x->table_entries;
    uint32_t entry;
    int result;

    found->file = x->file;
    found->cluster = x->start + grain * x->grain;
    found->cluster_size = MIN(x->grain, x->start + x->bytes - found->cluster);
    found->bytes = found->cluster + found->cluster_size - offset;
    if (x->is_sesparse) {
        result = co_map_sesparse(node, x, table, grain % x->table_entries, found);
    } else {
        result = co_read_entry32(node, x, x->directory + table * 4, &entry);
        if (result >= 0 && !entry) { /* no table */
            found->bytes = MIN((table + 1) * x->table_entries * x->grain, x->bytes) - within;
        }
        if (result >= 0 && entry) {
            result = co_read_entry32(
                node, x, entry * (uint64_t)VMDK_SECTOR + grain % x->table_entries * 4, &entry);
        }
        found->kind = !entry                        ? SPARSE_UNALLOCATED
                      : entry == 1 && x->zero_grain ? SPARSE_ZERO
                      : x->compressed               ? SPARSE_COMPRESSED
                                                    : SPARSE_DATA;
        found->host = entry * (uint64_t)VMDK_SECTOR;
    }
    if (found->kind == SPARSE_DATA) {
        found->host += offset - found->cluster;
    }
    return result;
}

/* A table of nothing. */
static int co_add_table(struct block_node *node, struct vmdk_extent *x, uint64_t slot,
                        uint32_t *sector)
{
    struct vmdk *s = node->state;
    uint64_t size = (x->table_entries * 4ull + VMDK_SECTOR - 1) & ~(uint64_t)(VMDK_SECTOR - 1);
    uint32_t entry;
    int result;

    if (x->end / VMDK_SECTOR + size / VMDK_SECTOR > UINT32_MAX) {
        return -EFBIG;
    }
    *sector = (uint32_t)(x->end / VMDK_SECTOR);
    result = co_child_write_zeroes(x->file, x->end, size, 0);
    x->end += size;
    entry = GUINT32_TO_LE(*sector);
    return result < 0 ? result
                      : co_table_write(s->sparse.tables, x->file, slot, &entry, sizeof(entry));
}

static int co_set_in(struct block_node *node, struct vmdk_extent *x, uint64_t directory,
                     uint64_t grain, uint32_t entry)
{
    struct vmdk *s = node->state;
    uint64_t slot = directory + grain / x->table_entries * 4;
    uint32_t table;
    int result = co_read_entry32(node, x, slot, &table);

    if (result >= 0 && !table) {
        result = co_add_table(node, x, slot, &table);
    }
    entry = GUINT32_TO_LE(entry);
    return result < 0 ? result
                      : co_table_write(s->sparse.tables, x->file,
                                       table * (uint64_t)VMDK_SECTOR + grain % x->table_entries * 4,
                                       &entry, sizeof(entry));
}

int co_vmdk_set_grain(struct block_node *node, struct vmdk_extent *x, uint64_t offset,
                      uint32_t entry)
{
    uint64_t grain = (offset - x->start) / x->grain;
    int result = co_set_in(node, x, x->directory, grain, entry);

    return result < 0 || !x->redundant ? result : co_set_in(node, x, x->redundant, grain, entry);
}

/* ---- Compressed grains ---- */

int co_vmdk_decompress(struct block_node *node, const struct vmdk_extent *x,
                       const struct sparse_extent *found, uint8_t *data)
{
    /* A grain that gets longer by being compressed does so by little. */
    uint64_t most = MIN(x->grain + x->grain / 8 + 4096, x->file->node->length - found->host),
             skip = 0;
    g_autofree uint8_t *in = g_try_malloc(most), *out = g_try_malloc(x->grain);
    uLongf size = x->grain;
    uint32_t bytes = (uint32_t)most;
    int result;

    if (!in || !out) {
        return -ENOMEM;
    }
    result = co_child_read(x->file, found->host, most, BLOCK_BUFFER(in, most), 0);
    if (result < 0) {
        return result;
    }
    if (x->markers) {
        skip = MARKER_BYTES;
        if (most < skip) {
            return -EIO;
        }
        memcpy(&bytes, in + 8, sizeof(bytes));
        bytes = GUINT32_FROM_LE(bytes);
    }
    if (!bytes || bytes > most - skip) {
        return -EIO;
    }
    result = uncompress(out, &size, in + skip, bytes);
    if ((result != Z_OK && (x->markers || result != Z_DATA_ERROR)) || size < found->cluster_size) {
        return -EIO;
    }
    memcpy(data, out, found->cluster_size);
    return 0;
}

static int co_write_grain(struct block_node *node, struct vmdk_extent *x, uint64_t offset,
                          uint8_t *grain, uint8_t *packed, uint64_t room)
{
    uLongf size = room - MARKER_BYTES;
    uint64_t lba = GUINT64_TO_LE((offset - x->start) / VMDK_SECTOR), total;
    uint32_t bytes;
    int result;

    if (compress(packed + MARKER_BYTES, &size, grain, x->grain) != Z_OK) {
        return -EINVAL;
    }
    bytes = GUINT32_TO_LE((uint32_t)size);
    memcpy(packed, &lba, 8);
    memcpy(packed + 8, &bytes, 4);
    total = (size + MARKER_BYTES + VMDK_SECTOR - 1) & ~(uint64_t)(VMDK_SECTOR - 1);
    memset(packed + MARKER_BYTES + size, 0, total - MARKER_BYTES - size);
    if (x->end / VMDK_SECTOR + total / VMDK_SECTOR > UINT32_MAX) {
        return -EFBIG;
    }
    result = co_child_write(x->file, x->end, total, BLOCK_BUFFER(packed, total), 0);
    if (result >= 0) {
        result = co_vmdk_set_grain(node, x, offset, (uint32_t)(x->end / VMDK_SECTOR));
        x->end += total;
    }
    return result;
}

int co_vmdk_write_compressed(struct block_node *node, struct vmdk_extent *x, uint64_t offset,
                             uint64_t bytes, struct block_buffer buffer)
{
    uint64_t room = MARKER_BYTES + compressBound(x->grain) + VMDK_SECTOR;
    g_autofree uint8_t *grain = g_try_malloc(x->grain), *packed = g_try_malloc(room);
    int result = grain && packed ? 0 : -ENOMEM;

    if (!x->markers || (offset - x->start) % x->grain) {
        return -EINVAL;
    }
    while (bytes && result >= 0) {
        uint64_t n = MIN(bytes, x->grain);

        memset(grain, 0, x->grain);
        block_buffer_to(buffer, grain, n);
        result = co_write_grain(node, x, offset, grain, packed, room);
        offset += n;
        bytes -= n;
        buffer = bytes ? block_buffer_skip(buffer, n) : buffer;
    }
    return result;
}
