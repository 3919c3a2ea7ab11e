/* Driver vhdx (vhdx.h): opening an image, and requests. */
#include "block/vhdx.h"

#include <errno.h>
#include <string.h>

/* Of GUID text the first three numbers are little-endian. */
#define GUID(a, b, c, d0, d1, d2, d3, d4, d5, d6, d7)                                            \
    {                                                                                            \
        (a) & 0xff, (a) >> 8 & 0xff, (a) >> 16 & 0xff, (uint8_t)((a) >> 24), (b)&0xff, (b) >> 8, \
            (c)&0xff, (c) >> 8, d0, d1, d2, d3, d4, d5, d6, d7                                   \
    }
const uint8_t vhdx_guid_bat[] =
    GUID(0x2dc27766u, 0xf623, 0x4200, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08);
const uint8_t vhdx_guid_metadata[] =
    GUID(0x8b7ca206u, 0x4790, 0x4b9a, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e);
const uint8_t vhdx_guid_parameters[] =
    GUID(0xcaa16737u, 0xfa36, 0x4d43, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b);
const uint8_t vhdx_guid_size[] =
    GUID(0x2fa54224u, 0xcd1b, 0x4876, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8);
const uint8_t vhdx_guid_disk_id[] =
    GUID(0xbeca12abu, 0xb2e6, 0x4523, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46);
const uint8_t vhdx_guid_logical_sector[] =
    GUID(0x8141bf1du, 0xa96f, 0x4709, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f);
const uint8_t vhdx_guid_physical_sector[] =
    GUID(0xcda348c7u, 0x445d, 0x4471, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56);
const uint8_t vhdx_guid_parent[] =
    GUID(0xa8d35f2du, 0xb30b, 0x454d, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c);
#undef GUID

static int probe(const uint8_t *data, size_t size, const char *filename)
{
    return size >= 8 && !memcmp(data, "vhdxfile", 8) ? 100 : 0;
}

uint32_t vhdx_checksum(const void *data, size_t size)
{
    static const uint32_t of_nibble[] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *bytes = data;
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ of_nibble[crc & 15];
        crc = crc >> 4 ^ of_nibble[crc & 15];
    }
    return ~crc;
}

void vhdx_make_guid(uint8_t guid[16])
{
    for (int i = 0; i < VHDX_GUID_BYTES; i++) {
        guid[i] = (uint8_t)g_random_int();
    }
    guid[7] = (guid[7] & 0x0f) | 0x40;
    guid[8] = (guid[8] & 0x3f) | 0x80;
}

bool vhdx_guid_is_null(const uint8_t *guid)
{
    static const uint8_t null[VHDX_GUID_BYTES];

    return !memcmp(guid, null, sizeof(null));
}

/* ---- Headers ---- */

/* Whether data, whose checksum is at 4, is what it was when it was written. */
static bool is_sealed(uint8_t *data, size_t size)
{
    uint32_t checksum;

    memcpy(&checksum, data + 4, 4);
    memset(data + 4, 0, 4);
    return vhdx_checksum(data, size) == GUINT32_FROM_LE(checksum);
}

static bool co_read_headers(struct block_node *node, GError **error)
{
    static const uint64_t places[] = {VHDX_HEADER_1, VHDX_HEADER_2};
    struct vhdx *s = node->state;
    bool found = false;

    for (unsigned i = 0; i < 2; i++) {
        g_autofree struct vhdx_header *h = g_new0(struct vhdx_header, 1);

        if (!format_read(node, node->file, places[i], h, sizeof(*h), "header", error)) {
            return false;
        }
        if (!memcmp(h->signature, "head", 4) && is_sealed((uint8_t *)h, sizeof(*h)) &&
            GUINT16_FROM_LE(h->version) == 1 &&
            (!found || GUINT64_FROM_LE(h->sequence) > GUINT64_FROM_LE(s->header.sequence))) {
            s->header = *h;
            s->current = i;
            found = true;
        }
    }
    return found || block_error(error, "No valid VHDX header found");
}

static int co_write_one_header(struct block_node *node)
{
    struct vhdx *s = node->state;

    s->current ^= 1;
    s->header.sequence = GUINT64_TO_LE(GUINT64_FROM_LE(s->header.sequence) + 1);
    s->header.checksum = 0;
    s->header.checksum = GUINT32_TO_LE(vhdx_checksum(&s->header, sizeof(s->header)));
    return co_child_write(node->file, s->current ? VHDX_HEADER_2 : VHDX_HEADER_1, sizeof(s->header),
                          BLOCK_BUFFER(&s->header, sizeof(s->header)), BLOCK_FUA);
}

int co_vhdx_write_header(struct block_node *node)
{
    int result = co_write_one_header(node);

    return result < 0 ? result : co_write_one_header(node);
}

/* ---- Regions and metadata ---- */

static bool in_file(const struct block_node *node, uint64_t offset, uint64_t length)
{
    return offset % VHDX_MIB == 0 && length % VHDX_MIB == 0 && offset >= VHDX_MIB && length &&
           offset <= node->file->node->length && length <= node->file->node->length - offset;
}

/* The table at place, or NULL if it is damaged. */
static uint8_t *co_read_region_table(struct block_node *node, uint64_t place)
{
    g_autofree uint8_t *table = g_malloc0(VHDX_REGIONS_BYTES);
    struct vhdx_region_header h;

    if (co_child_read(node->file, place, VHDX_REGIONS_BYTES,
                      BLOCK_BUFFER(table, VHDX_REGIONS_BYTES), 0) < 0 ||
        memcmp(table, "regi", 4) || !is_sealed(table, VHDX_REGIONS_BYTES)) {
        return NULL;
    }
    memcpy(&h, table, sizeof(h));
    return GUINT32_FROM_LE(h.n) <= VHDX_MAX_REGIONS ? g_steal_pointer(&table) : NULL;
}

static bool co_read_regions(struct block_node *node, struct vhdx_region *metadata, GError **error)
{
    struct vhdx *s = node->state;
    g_autofree uint8_t *table = co_read_region_table(node, VHDX_REGIONS_1);
    struct vhdx_region_header h;

    if (!table) {
        table = co_read_region_table(node, VHDX_REGIONS_2);
    }
    if (!table) {
        return block_error(error, "both region tables are damaged");
    }
    memcpy(&h, table, sizeof(h));
    for (uint32_t i = 0; i < GUINT32_FROM_LE(h.n); i++) {
        struct vhdx_region r;

        memcpy(&r, table + sizeof(h) + i * sizeof(r), sizeof(r));
        r.offset = GUINT64_FROM_LE(r.offset);
        r.length = GUINT32_FROM_LE(r.length);
        if (!memcmp(r.guid, vhdx_guid_bat, VHDX_GUID_BYTES) && !s->bat_length &&
            in_file(node, r.offset, r.length)) {
            s->bat_offset = r.offset;
            s->bat_length = r.length;
        } else if (!memcmp(r.guid, vhdx_guid_metadata, VHDX_GUID_BYTES) && !metadata->length &&
                   in_file(node, r.offset, r.length)) {
            *metadata = r;
        } else if (GUINT32_FROM_LE(r.required) & 1) {
            return block_error(error,
                                "region %" PRIu32
                                " of its region table isn't known, or isn't in the file",
                                i);
        }
    }
    return (s->bat_length && metadata->length) ||
           block_error(error, "its region table lacks the BAT or the metadata region");
}

/* The value of an item, of exactly bytes. */
static bool co_read_item(struct block_node *node, const struct vhdx_region *region,
                         const struct vhdx_metadata *table, unsigned n, const uint8_t *guid,
                         void *value, size_t bytes, const char *what, GError **error)
{
    for (unsigned i = 0; i < n; i++) {
        if (!memcmp(table[i].guid, guid, VHDX_GUID_BYTES)) {
            uint32_t offset = GUINT32_FROM_LE(table[i].offset);

            if (GUINT32_FROM_LE(table[i].length) < bytes || offset < 65536 ||
                offset > region->length - bytes) {
                return block_error(error, "its %s (metadata) isn't where it can be", what);
            }
            return format_read(node, node->file, region->offset + offset, value, bytes, what,
                               error);
        }
    }
    return block_error(error, "its metadata lacks the %s", what);
}

static bool set_sizes(struct block_node *node, uint32_t block, uint32_t flags, uint64_t size,
                      uint32_t sector, GError **error)
{
    struct vhdx *s = node->state;
    uint64_t n, entries;

    if (flags & VHDX_HAS_PARENT) {
        return block_error(error, "differencing images aren't supported");
    }
    if (block < VHDX_MIN_BLOCK || block > VHDX_MAX_BLOCK || block & (block - 1) ||
        (sector != 512 && sector != 4096) || size > vhdx_max_size || size % sector) {
        return block_error(error,
                            "invalid sizes: blocks of %" PRIu32 ", sectors of %" PRIu32
                            ", a disk of %" PRIu64 " bytes",
                            block, sector, size);
    }
    s->block_size = block;
    s->chunk_ratio = (1ull << 23) * sector / block;
    n = (size + block - 1) / block;
    entries = n ? n + (n - 1) / s->chunk_ratio : 0;
    if (entries * 8 > s->bat_length) {
        return block_error(error,
                            "its BAT of %" PRIu32 " bytes is too small for %" PRIu64 " blocks",
                            s->bat_length, n);
    }
    node->length = size;
    s->sparse.zeroes_align = block;
    return true;
}

static bool co_read_metadata(struct block_node *node, const struct vhdx_region *region,
                             GError **error)
{
    struct vhdx_metadata_header h;
    g_autofree struct vhdx_metadata *table = NULL;
    uint32_t parameters[2], sector;
    uint64_t size;
    unsigned n;

    if (!format_read(node, node->file, region->offset, &h, sizeof(h), "metadata table", error)) {
        return false;
    }
    n = GUINT16_FROM_LE(h.n);
    if (memcmp(h.signature, "metadata", 8) || n > VHDX_MAX_METADATA - 1) {
        return block_error(error, "its metadata table is damaged");
    }
    table = g_new(struct vhdx_metadata, n + 1);
    if (!format_read(node, node->file, region->offset + sizeof(h), table, n * sizeof(*table),
                     "metadata table", error) ||
        !co_read_item(node, region, table, n, vhdx_guid_parameters, parameters, sizeof(parameters),
                      "file parameters", error) ||
        !co_read_item(node, region, table, n, vhdx_guid_size, &size, sizeof(size),
                      "virtual disk size", error) ||
        !co_read_item(node, region, table, n, vhdx_guid_logical_sector, &sector, sizeof(sector),
                      "logical sector size", error)) {
        return false;
    }
    return set_sizes(node, GUINT32_FROM_LE(parameters[0]), GUINT32_FROM_LE(parameters[1]),
                     GUINT64_FROM_LE(size), GUINT32_FROM_LE(sector), error);
}

/* ---- Requests; with the lock ---- */

static uint64_t entry_at(const struct vhdx *s, uint64_t offset)
{
    uint64_t block = offset / s->block_size;

    return s->bat_offset + (block + block / s->chunk_ratio) * 8;
}

static int co_map(struct block_node *node, uint64_t offset, struct sparse_extent *extent)
{
    struct vhdx *s = node->state;
    uint64_t entry, within = offset & (s->block_size - 1);
    int result =
        co_table_read(s->sparse.tables, node->file, entry_at(s, offset), &entry, sizeof(entry));

    entry = GUINT64_FROM_LE(entry);
    extent->cluster = offset - within;
    extent->cluster_size = s->block_size;
    extent->bytes = s->block_size - within;
    extent->file = node->file;
    switch (entry & 7) {
    case VHDX_NOT_PRESENT:
    case VHDX_UNDEFINED:
    case VHDX_ZERO:
    case VHDX_UNMAPPED:
    case VHDX_UNMAPPED_OLD: extent->kind = SPARSE_ZERO; return result;
    case VHDX_PRESENT:
        extent->kind = SPARSE_DATA;
        extent->host = (entry & ~(uint64_t)(VHDX_MIB - 1)) + within;
        /* Block 0 and what follows it are headers, log and tables. */
        return extent->host < VHDX_MIB || extent->host > INT64_MAX ? -EIO : result;
    default: return -EIO; /* partially: only of differencing images */
    }
}

static int co_allocate(struct block_node *node, struct sparse_extent *extent)
{
    struct vhdx *s = node->state;

    extent->file = node->file;
    extent->host = s->end;
    return 0;
}

static int co_link(struct block_node *node, const struct sparse_extent *extent)
{
    struct vhdx *s = node->state;
    uint64_t entry = GUINT64_TO_LE(extent->host | VHDX_PRESENT);

    s->end += s->block_size;
    return co_vhdx_write_logged(node, entry_at(s, extent->cluster), &entry, sizeof(entry));
}

/* The image isn't what it was: who remembers it by these numbers learns that. */
static int co_begin_writing(struct block_node *node)
{
    struct vhdx *s = node->state;
    int result;

    if (s->write_begun) {
        return 0;
    }
    vhdx_make_guid(s->header.file_write_guid);
    vhdx_make_guid(s->header.data_write_guid);
    result = co_vhdx_write_header(node);
    s->write_begun = result >= 0;
    return MIN(result, 0);
}

static const struct sparse_ops ops = {
    .co_map = co_map,
    .co_allocate = co_allocate,
    .co_link = co_link,
    .co_before_write = co_begin_writing,
};

/* ---- Open and close ---- */

static bool co_use_log(struct block_node *node, GError **error)
{
    struct vhdx *s = node->state;
    uint64_t offset = GUINT64_FROM_LE(s->header.log_offset),
             length = GUINT32_FROM_LE(s->header.log_length);

    if (!in_file(node, offset, length) || GUINT16_FROM_LE(s->header.log_version)) {
        return block_error(error, "its log isn't where it can be, or of an unknown version");
    }
    if (vhdx_guid_is_null(s->header.log_guid)) {
        return true;
    }
    if (!co_vhdx_replay(node, error)) {
        return false;
    }
    /* A new one when there is something to be logged. */
    memset(s->header.log_guid, 0, VHDX_GUID_BYTES);
    return true;
}

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    struct vhdx *s = node->state;
    struct vhdx_region metadata = {0};
    char signature[8];

    sparse_init(&s->sparse, &ops);
    s->sparse.zeroes_align = VHDX_MIB;
    if (!co_block_open_child(node, "file", options->u.vhdx.file,
                             BLOCK_ROLE_PRIMARY | BLOCK_ROLE_METADATA | BLOCK_ROLE_DATA, error) ||
        !format_read(node, node->file, 0, signature, sizeof(signature), "file identifier", error)) {
        return false;
    }
    if (memcmp(signature, "vhdxfile", 8)) {
        return block_error(error, "Image not in VHDX format");
    }
    if (!co_read_headers(node, error) || !co_use_log(node, error) ||
        !co_read_regions(node, &metadata, error) || !co_read_metadata(node, &metadata, error)) {
        return false;
    }
    s->end = (node->file->node->length + VHDX_MIB - 1) & ~(uint64_t)(VHDX_MIB - 1);
    node->supported_zeroes_flags = BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK;
    return true;
}

static void co_close(struct block_node *node)
{
    struct vhdx *s = node->state;

    /* All is in its place; the log isn't needed. */
    if (s->write_begun && !vhdx_guid_is_null(s->header.log_guid) &&
        co_child_flush(node->file) >= 0) {
        memset(s->header.log_guid, 0, VHDX_GUID_BYTES);
        co_vhdx_write_header(node);
    }
    sparse_clear(&s->sparse);
}

static void co_describe(struct block_node *node, struct qapi_image_info *info)
{
    const struct vhdx *s = node->state;

    info->has_cluster_size = true;
    info->cluster_size = (int64_t)s->block_size;
}

/* Each block is in the file; a log that was there was replayed when the image was opened. */
static bool co_check(struct block_node *node, unsigned fix, struct qapi_image_check *result,
                     GError **error)
{
    struct vhdx *s = node->state;

    co_mutex_lock(&s->sparse.lock);
    for (uint64_t offset = 0; offset < node->length; offset += s->block_size) {
        struct sparse_extent extent = {0};

        if (co_map(node, offset, &extent) < 0 ||
            (extent.kind == SPARSE_DATA && extent.host >= node->file->node->length)) {
            result->corruptions++;
        }
        result->allocated_clusters += extent.kind == SPARSE_DATA;
        result->total_clusters++;
    }
    co_mutex_unlock(&s->sparse.lock);
    result->has_corruptions = result->has_allocated_clusters = result->has_total_clusters = true;
    if (s->log_replayed) {
        result->has_corruptions_fixed = true;
        result->corruptions_fixed++;
        s->log_replayed = false;
    }
    return true;
}

static const struct block_driver vhdx = {
    .name = "vhdx",
    .kind = QAPI_BLOCKDEV_DRIVER_VHDX,
    .state_size = sizeof(struct vhdx),
    .probe = probe,
    .co_open = co_open,
    .co_close = co_close,
    .refresh_limits = sparse_refresh_limits,
    .co_read = co_sparse_read,
    .co_write = co_sparse_write,
    .co_write_zeroes = co_sparse_write_zeroes,
    .co_status = co_sparse_status,
    .co_describe = co_describe,
    .co_check = co_check,
    .co_create = co_vhdx_create,
    .create_options = vhdx_create_options,
};
BLOCK_DRIVER(vhdx);
