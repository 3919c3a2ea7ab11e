/*
 * Driver vpc: images of Virtual PC and Hyper-V ("VHD", specification 1.0), fixed and dynamic. A
 * fixed image is the disk's bytes and a footer of 512 bytes. A dynamic one begins with a copy of
 * the footer, a header and a table (BAT) of the blocks' first sectors; a block is a bitmap of its
 * sectors and its data; the footer follows the last block.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "block/sparse.h"

enum {
    SECTOR = 512,
    TYPE_FIXED = 2,
    TYPE_DYNAMIC = 3,
    VERSION = 0x00010000,
    FOOTER_BYTES = 512,
    DYNAMIC_BYTES = 1024,
    DYNAMIC_OFFSET = FOOTER_BYTES,
    TABLE_OFFSET = FOOTER_BYTES + DYNAMIC_BYTES,
    DEFAULT_BLOCK = 2 << 20,
    MAX_CYLINDERS = 65535,
    MAX_HEADS = 16,
    MAX_SECTORS_PER_TRACK = 255,
    EPOCH = 946684800, /* 2000-01-01, in seconds of 1970 */
};

static const uint32_t no_block = 0xffffffff;
static const uint64_t max_geometry = (uint64_t)MAX_CYLINDERS * MAX_HEADS * MAX_SECTORS_PER_TRACK;
static const uint64_t max_sectors = 0xff000000; /* 2040 GiB */

/* All big-endian. */
struct footer {
    char cookie[8];
    uint32_t features, version;
    uint64_t data_offset;
    uint32_t timestamp;
    char creator[4];
    uint16_t major, minor;
    char creator_os[4];
    uint64_t original_size, current_size;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t type, checksum;
    uint8_t uuid[16], in_saved_state;
    uint8_t reserved[427];
} __attribute__((packed));

struct dynamic_header {
    char cookie[8];
    uint64_t data_offset, table_offset;
    uint32_t version, n_blocks, block_size, checksum;
    uint8_t parent_uuid[16];
    uint32_t parent_timestamp, reserved;
    uint8_t parent_name[512], parent_locator[8][24], reserved2[256];
} __attribute__((packed));

struct vpc {
    struct sparse sparse;
    bool is_dynamic;
    uint64_t table_offset;
    uint32_t n_blocks, block_size, bitmap_size; /* bitmap: bytes, whole sectors */
    uint64_t end;                               /* of the last block: where the footer is */
    struct footer footer;
};

static int probe(const uint8_t *data, size_t size, const char *filename)
{
    return size >= 8 && !memcmp(data, "conectix", 8) ? 100 : 0;
}

/* The one's complement of the sum of all bytes but the checksum itself. */
static uint32_t checksum(const void *data, size_t size, size_t at)
{
    const uint8_t *bytes = data;
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i++) {
        sum += i - at < 4 ? 0 : bytes[i];
    }
    return ~sum;
}

static void seal_footer(struct footer *f)
{
    f->checksum = GUINT32_TO_BE(checksum(f, sizeof(*f), offsetof(struct footer, checksum)));
}

/* ---- Geometry: the algorithm of the specification's appendix ---- */

struct geometry {
    uint32_t cylinders, heads, sectors;
};

static struct geometry find_geometry(uint64_t total)
{
    struct geometry g = {MAX_CYLINDERS, MAX_HEADS, MAX_SECTORS_PER_TRACK};
    uint64_t tracks;

    if (total > max_geometry) {
        return g;
    }
    if (total >= (uint64_t)MAX_CYLINDERS * 16 * 63) {
        tracks = total / g.sectors;
    } else {
        g.sectors = 17;
        tracks = total / 17;
        g.heads = MAX((uint32_t)((tracks + 1023) / 1024), 4u);
        if (tracks >= g.heads * 1024ull || g.heads > 16) {
            g = (struct geometry){0, 16, 31};
            tracks = total / 31;
        }
        if (tracks >= g.heads * 1024ull) {
            g = (struct geometry){0, 16, 63};
            tracks = total / 63;
        }
    }
    g.cylinders = (uint32_t)(tracks / g.heads);
    return g;
}

static uint64_t geometry_sectors(struct geometry g)
{
    return (uint64_t)g.cylinders * g.heads * g.sectors;
}

/* Whether who made the image says by its geometry how large it is, and not by the size. */
static bool counts_by_geometry(const struct footer *f)
{
    static const char by_size[][4] = {"win ", "qem2",          "d2v ", {'t', 'a', 'p', 0},
                                      "CTXS", {'w', 'a', 0, 0}};

    for (size_t i = 0; i < G_N_ELEMENTS(by_size); i++) {
        if (!memcmp(f->creator, by_size[i], 4)) {
            return false;
        }
    }
    return true;
}

/* ---- Requests ---- */

static int co_map(struct block_node *node, uint64_t offset, struct sparse_extent *extent)
{
    struct vpc *s = node->state;
    uint64_t index;
    uint32_t entry;
    int result;

    extent->file = node->file;
    if (!s->is_dynamic) {
        extent->kind = SPARSE_DATA;
        extent->host = offset;
        extent->bytes = node->length - offset;
        return 0;
    }
    index = offset / s->block_size;
    result = co_table_read(s->sparse.tables, node->file, s->table_offset + index * sizeof(entry),
                           &entry, sizeof(entry));
    entry = GUINT32_FROM_BE(entry);
    extent->cluster_size = s->block_size;
    extent->cluster = index * s->block_size;
    extent->bytes = s->block_size - offset % s->block_size;
    extent->kind = entry == no_block ? SPARSE_UNALLOCATED : SPARSE_DATA;
    extent->host = (uint64_t)entry * SECTOR + s->bitmap_size + offset % s->block_size;
    return result;
}

/* Behind the last block. The footer that is there is written again behind the new one, before the
 * old one goes. */
static int co_allocate(struct block_node *node, struct sparse_extent *extent)
{
    struct vpc *s = node->state;
    uint64_t end = s->end + s->bitmap_size + s->block_size;
    g_autofree uint8_t *bitmap = g_malloc(s->bitmap_size);
    int result;

    if (end / SECTOR >= no_block) {
        return -EFBIG;
    }
    memset(bitmap, 0xff, s->bitmap_size);
    result =
        co_child_write(node->file, end, FOOTER_BYTES, BLOCK_BUFFER(&s->footer, FOOTER_BYTES), 0);
    if (result >= 0) {
        result = co_child_write(node->file, s->end, s->bitmap_size,
                                BLOCK_BUFFER(bitmap, s->bitmap_size), 0);
    }
    extent->file = node->file;
    extent->host = s->end + s->bitmap_size;
    return result;
}

static int co_link(struct block_node *node, const struct sparse_extent *extent)
{
    struct vpc *s = node->state;
    uint32_t entry = GUINT32_TO_BE((uint32_t)(s->end / SECTOR));
    int result = co_table_write(s->sparse.tables, node->file,
                                s->table_offset + extent->cluster / s->block_size * sizeof(entry),
                                &entry, sizeof(entry));

    if (result >= 0) {
        s->end += s->bitmap_size + s->block_size;
    }
    return result;
}

static const struct sparse_ops ops = {
    .co_map = co_map, .co_allocate = co_allocate, .co_link = co_link};

/* ---- Open ---- */

/* Of a fixed image it is at the end only. */
static bool co_read_footer(struct block_node *node, GError **error)
{
    struct vpc *s = node->state;
    uint64_t length = node->file->node->length;

    if (!format_read(node, node->file, 0, &s->footer, FOOTER_BYTES, "footer", error)) {
        return false;
    }
    if (memcmp(s->footer.cookie, "conectix", 8)) {
        if (!format_read(node, node->file, length - FOOTER_BYTES, &s->footer, FOOTER_BYTES,
                         "footer", error)) {
            return false;
        }
        if (memcmp(s->footer.cookie, "conectix", 8)) {
            return block_error(error,
                                "invalid VPC image: there is no footer at its begin or its end");
        }
        if (GUINT32_FROM_BE(s->footer.type) != TYPE_FIXED) {
            return block_error(error,
                                "the copy of the footer at the begin of the image is damaged");
        }
    }
    if (GUINT32_FROM_BE(s->footer.type) != TYPE_FIXED &&
        GUINT32_FROM_BE(s->footer.type) != TYPE_DYNAMIC) {
        return block_error(error,
                            "disks of type %" PRIu32 " (differencing ones) aren't supported",
                            GUINT32_FROM_BE(s->footer.type));
    }
    return true;
}

/* Where the last block ends. */
static bool co_find_end(struct block_node *node, GError **error)
{
    struct vpc *s = node->state;
    uint64_t end = s->table_offset + s->n_blocks * 4ull;
    uint32_t entry;

    s->end = (end + SECTOR - 1) & ~(uint64_t)(SECTOR - 1);
    for (uint32_t i = 0; i < s->n_blocks; i++) {
        int result = co_table_read(s->sparse.tables, node->file, s->table_offset + i * 4ull, &entry,
                                   sizeof(entry));

        if (result < 0) {
            return block_error(error, "could not read the block table: %s",
                                g_strerror(-result));
        }
        entry = GUINT32_FROM_BE(entry);
        if (entry != no_block) {
            uint64_t start = (uint64_t)entry * SECTOR;

            if (start < end || start >= node->file->node->length) {
                return block_error(error,
                                    "block %" PRIu32 " is at offset %" PRIu64
                                    ", where no block can be",
                                    i, start);
            }
            s->end = MAX(s->end, start + s->bitmap_size + s->block_size);
        }
    }
    return true;
}

static bool co_open_dynamic(struct block_node *node, GError **error)
{
    struct vpc *s = node->state;
    uint64_t at = GUINT64_FROM_BE(s->footer.data_offset), length = node->file->node->length, blocks;
    struct dynamic_header h;

    if (!format_read(node, node->file, at, &h, sizeof(h), "dynamic disk header", error)) {
        return false;
    }
    if (memcmp(h.cookie, "cxsparse", 8)) {
        return block_error(error,
                            "invalid VPC image: no dynamic disk header at offset %" PRIu64, at);
    }
    s->table_offset = GUINT64_FROM_BE(h.table_offset);
    s->n_blocks = GUINT32_FROM_BE(h.n_blocks);
    s->block_size = GUINT32_FROM_BE(h.block_size);
    if (s->block_size < SECTOR || s->block_size & (s->block_size - 1)) {
        return block_error(error, "Invalid block size %" PRIu32, s->block_size);
    }
    s->bitmap_size = (s->block_size / SECTOR / 8 + SECTOR - 1) & ~(SECTOR - 1u);
    blocks = (node->length + s->block_size - 1) / s->block_size;
    if (blocks > s->n_blocks || s->table_offset < FOOTER_BYTES || s->table_offset > length ||
        s->n_blocks * 4ull > length - s->table_offset) {
        return block_error(error,
                            "its table of %" PRIu32 " blocks at offset %" PRIu64
                            " is too small for %" PRIu64 " blocks, or isn't in the file",
                            s->n_blocks, s->table_offset, blocks);
    }
    s->n_blocks = (uint32_t)blocks;
    s->sparse.zeroes_align = s->block_size;
    if (node->read_only) {
        return true;
    }
    return co_find_end(node, error);
}

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    struct vpc *s = node->state;
    uint64_t sectors;

    if (!co_block_open_child(node, "file", options->u.vpc.file,
                             BLOCK_ROLE_PRIMARY | BLOCK_ROLE_METADATA | BLOCK_ROLE_DATA, error) ||
        !co_read_footer(node, error)) {
        return false;
    }
    s->is_dynamic = GUINT32_FROM_BE(s->footer.type) == TYPE_DYNAMIC;
    sectors = geometry_sectors((struct geometry){GUINT16_FROM_BE(s->footer.cylinders),
                                                 s->footer.heads, s->footer.sectors});
    if (!counts_by_geometry(&s->footer) || sectors == max_geometry) {
        sectors = GUINT64_FROM_BE(s->footer.current_size) / SECTOR;
    }
    if (sectors > max_sectors) {
        return block_error(error,
                            "its size of %" PRIu64 " sectors is more than the %" PRIu64
                            " that there can be",
                            sectors, max_sectors);
    }
    node->length = sectors * SECTOR;
    sparse_init(&s->sparse, &ops);
    s->sparse.zeroes_align = SECTOR;
    node->supported_zeroes_flags = BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK;
    if (s->is_dynamic) {
        return co_open_dynamic(node, error);
    }
    return node->length <= node->file->node->length ||
           block_error(error, "the file is shorter than the disk of %" PRIu64 " bytes",
                        (uint64_t)node->length);
}

static void co_close(struct block_node *node)
{
    sparse_clear(node->state);
}

static void co_describe(struct block_node *node, struct qapi_image_info *info)
{
    const struct vpc *s = node->state;

    info->has_cluster_size = s->is_dynamic;
    info->cluster_size = s->block_size;
}

/* ---- New images ---- */

static const struct block_create_option create_options[] = {
    {"force_size", "force-size", "bool (on/off)",
     "Force disk size calculation to use the actual size specified, rather than using the nearest CHS-based calculation",
     NULL, false},
    {"size", NULL, "size", "Virtual disk size", NULL, false},
    {"subformat", NULL, "str",
     "Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} ", NULL,
     false},
    {0},
};

/* Size of the disk, in sectors; 0: too large. */
static uint64_t choose_size(uint64_t size, bool force, struct geometry *g)
{
    uint64_t sectors = size / SECTOR;

    *g = (struct geometry){MAX_CYLINDERS, MAX_HEADS, MAX_SECTORS_PER_TRACK};
    if (!force) {
        *g = find_geometry(sectors);
        for (uint64_t i = 1; geometry_sectors(*g) < sectors && geometry_sectors(*g) != max_geometry;
             i++) {
            *g = find_geometry(sectors + i);
        }
    }
    if (geometry_sectors(*g) != max_geometry) {
        return geometry_sectors(*g);
    }
    return sectors > max_sectors ? 0 : sectors;
}

static void make_footer(struct footer *f, uint64_t size, struct geometry g, bool force,
                        bool is_dynamic)
{
    *f = (struct footer){
        .features = GUINT32_TO_BE(2),
        .version = GUINT32_TO_BE(VERSION),
        .data_offset = is_dynamic ? GUINT64_TO_BE(DYNAMIC_OFFSET) : UINT64_MAX,
        .timestamp = GUINT32_TO_BE((uint32_t)(time(NULL) - EPOCH)),
        .major = GUINT16_TO_BE(5),
        .minor = GUINT16_TO_BE(3),
        .original_size = GUINT64_TO_BE(size),
        .current_size = GUINT64_TO_BE(size),
        .cylinders = GUINT16_TO_BE((uint16_t)g.cylinders),
        .heads = (uint8_t)g.heads,
        .sectors = (uint8_t)g.sectors,
        .type = GUINT32_TO_BE(is_dynamic ? TYPE_DYNAMIC : TYPE_FIXED),
    };
    memcpy(f->cookie, "conectix", 8);
    /* The names by which others know whether the size or the geometry counts. */
    memcpy(f->creator, force ? "qem2" : "qemu", 4);
    memcpy(f->creator_os, "Wi2k", 4);
    for (size_t i = 0; i < sizeof(f->uuid); i++) {
        f->uuid[i] = (uint8_t)g_random_int();
    }
    seal_footer(f);
}

static bool co_create_dynamic(struct format_file *file, const struct footer *f, uint64_t size,
                              GError **error)
{
    uint32_t n_blocks = (uint32_t)((size + DEFAULT_BLOCK - 1) / DEFAULT_BLOCK);
    uint64_t table = (n_blocks * 4ull + SECTOR - 1) & ~(uint64_t)(SECTOR - 1);
    g_autofree uint8_t *bat = g_malloc(table);
    struct dynamic_header h = {
        .data_offset = UINT64_MAX,
        .table_offset = GUINT64_TO_BE(TABLE_OFFSET),
        .version = GUINT32_TO_BE(VERSION),
        .n_blocks = GUINT32_TO_BE(n_blocks),
        .block_size = GUINT32_TO_BE(DEFAULT_BLOCK),
    };

    memcpy(h.cookie, "cxsparse", 8);
    h.checksum = GUINT32_TO_BE(checksum(&h, sizeof(h), offsetof(struct dynamic_header, checksum)));
    memset(bat, 0xff, table);
    return co_format_write(file, 0, f, FOOTER_BYTES, error) &&
           co_format_write(file, DYNAMIC_OFFSET, &h, sizeof(h), error) &&
           co_format_write(file, TABLE_OFFSET, bat, table, error) &&
           co_format_write(file, TABLE_OFFSET + table, f, FOOTER_BYTES, error);
}

static bool co_create(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                      GError **error)
{
    const struct qapi_blockdev_create_options_vpc *o = &options->u.vpc;
    bool force = o->has_force_size && o->force_size;
    bool is_dynamic = !o->has_subformat || o->subformat == QAPI_BLOCKDEV_VPC_SUBFORMAT_DYNAMIC;
    struct format_file file;
    struct geometry g;
    struct footer f;
    uint64_t size;

    if (o->size % SECTOR || o->size / SECTOR > max_sectors) {
        return block_error(error, o->size % SECTOR
                                      ? "vpc: the size must be a multiple of 512 bytes"
                                      : "Disk size is too large, max size is 2040 GiB");
    }
    size = choose_size(o->size, force, &g) * SECTOR;
    if (o->size && !size) {
        return block_error(error, "Disk size is too large, max size is 2040 GiB");
    }
    make_footer(&f, size, g, force, is_dynamic);
    if (!co_format_open(graph, o->file, &file, error)) {
        return false;
    }
    return co_format_close(&file,
                           is_dynamic ? co_create_dynamic(&file, &f, size, error)
                                      : co_format_write(&file, size, &f, FOOTER_BYTES, error),
                           error);
}

static const struct block_driver vpc = {
    .name = "vpc",
    .kind = QAPI_BLOCKDEV_DRIVER_VPC,
    .state_size = sizeof(struct vpc),
    .probe = probe,
    .co_open = co_open,
    .co_close = co_close,
    .refresh_limits = sparse_refresh_limits,
    .co_read = co_sparse_read,
    .co_write = co_sparse_write,
    .co_write_zeroes = co_sparse_write_zeroes,
    .co_status = co_sparse_status,
    .co_describe = co_describe,
    .co_create = co_create,
    .create_options = create_options,
};
BLOCK_DRIVER(vpc);
