/*
 * Driver vdi: images of VirtualBox, version 1.1. A header, a table with a number for each block of
 * 1 MiB, the blocks in the order in which they were allocated.
 */
#include <errno.h>
#include <string.h>

#include "block/sparse.h"

enum {
    SIGNATURE = (int)0xbeda107fu,
    VERSION = 0x00010001,
    TYPE_DYNAMIC = 1,
    TYPE_STATIC = 2,
    SECTOR = 512,
    BLOCK = 1 << 20,
    MAX_BLOCKS = 0x1fffffff,
    HEADER_BYTES = 512,
};

static const uint32_t unallocated = 0xffffffff, discarded = 0xfffffffe;

/* All little-endian. */
struct header {
    char text[64];
    uint32_t signature, version, header_size, image_type, image_flags;
    char description[256];
    uint32_t offset_map, offset_data;
    uint32_t cylinders, heads, sectors, sector_size, unused1;
    uint64_t disk_size;
    uint32_t block_size, block_extra, n_blocks, n_allocated;
    uint8_t uuid[16], uuid_last_snapshot[16], uuid_link[16], uuid_parent[16];
    uint64_t unused2[7];
} __attribute__((packed));

struct vdi {
    struct sparse sparse;
    uint64_t offset_map, offset_data;
    uint32_t n_blocks, n_allocated;
};

static int probe(const uint8_t *data, size_t size, const char *filename)
{
    const struct header *h = (const struct header *)data;

    return size >= sizeof(*h) && GUINT32_FROM_LE(h->signature) == (uint32_t)SIGNATURE ? 100 : 0;
}

static bool is_null(const uint8_t *uuid)
{
    static const uint8_t null[16];

    return !memcmp(uuid, null, sizeof(null));
}

static bool check_header(const struct block_node *node, const struct header *h, GError **error)
{
    uint32_t version = GUINT32_FROM_LE(h->version), n_blocks = GUINT32_FROM_LE(h->n_blocks);
    uint64_t size = GUINT64_FROM_LE(h->disk_size);

    if (GUINT32_FROM_LE(h->signature) != (uint32_t)SIGNATURE) {
        return block_error(error, "Image not in VDI format (bad signature %08" PRIx32 ")",
                            GUINT32_FROM_LE(h->signature));
    }
    if (version != VERSION) {
        return block_error(error, "unsupported VDI image (version %" PRIu32 ".%" PRIu32 ")",
                            version >> 16, version & 0xffff);
    }
    if (GUINT32_FROM_LE(h->offset_map) % SECTOR || GUINT32_FROM_LE(h->offset_data) % SECTOR) {
        return block_error(error,
                            "unsupported VDI image (its block map at 0x%" PRIx32
                            " or its data at 0x%" PRIx32 " don't begin at a sector)",
                            GUINT32_FROM_LE(h->offset_map), GUINT32_FROM_LE(h->offset_data));
    }
    if (GUINT32_FROM_LE(h->sector_size) != SECTOR || GUINT32_FROM_LE(h->block_size) != BLOCK) {
        return block_error(error,
                            "unsupported VDI image (sectors of %" PRIu32 " and blocks of %" PRIu32
                            " bytes; %d and %d are supported)",
                            GUINT32_FROM_LE(h->sector_size), GUINT32_FROM_LE(h->block_size), SECTOR,
                            BLOCK);
    }
    if (n_blocks > MAX_BLOCKS || size > (uint64_t)n_blocks * BLOCK) {
        return block_error(error,
                            "unsupported VDI image (disk size %" PRIu64
                            ", image bitmap has room for %" PRIu64 ")",
                            size, (uint64_t)MIN(n_blocks, MAX_BLOCKS) * BLOCK);
    }
    if (!is_null(h->uuid_link) || !is_null(h->uuid_parent)) {
        return block_error(error, "unsupported VDI image (it depends on another one)");
    }
    return true;
}

static int co_map(struct block_node *node, uint64_t offset, struct sparse_extent *extent)
{
    struct vdi *s = node->state;
    uint32_t entry;
    int result =
        co_table_read(s->sparse.tables, node->file, s->offset_map + offset / BLOCK * sizeof(entry),
                      &entry, sizeof(entry));

    entry = GUINT32_FROM_LE(entry);
    extent->cluster = offset - offset % BLOCK;
    extent->cluster_size = BLOCK;
    extent->bytes = BLOCK - offset % BLOCK;
    extent->kind = entry == unallocated ? SPARSE_UNALLOCATED
                   : entry == discarded ? SPARSE_ZERO
                                        : SPARSE_DATA;
    extent->file = node->file;
    extent->host = s->offset_data + (uint64_t)entry * BLOCK + offset % BLOCK;
    return result;
}

static int co_allocate(struct block_node *node, struct sparse_extent *extent)
{
    struct vdi *s = node->state;

    if (s->n_allocated >= s->n_blocks) {
        return -ENOSPC; /* the count in the header is wrong */
    }
    extent->file = node->file;
    extent->host = s->offset_data + (uint64_t)s->n_allocated * BLOCK;
    return 0;
}

static int co_link(struct block_node *node, const struct sparse_extent *extent)
{
    struct vdi *s = node->state;
    uint32_t count = GUINT32_TO_LE(s->n_allocated + 1), entry = GUINT32_TO_LE(s->n_allocated);
    int result = co_table_write(s->sparse.tables, node->file, offsetof(struct header, n_allocated),
                                &count, sizeof(count));

    if (result >= 0) {
        s->n_allocated++;
        result = co_table_write(s->sparse.tables, node->file,
                                s->offset_map + extent->cluster / BLOCK * sizeof(entry), &entry,
                                sizeof(entry));
    }
    return result;
}

static const struct sparse_ops ops = {
    .co_map = co_map, .co_allocate = co_allocate, .co_link = co_link};

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    struct vdi *s = node->state;
    struct header h;
    uint64_t end;

    if (!co_block_open_child(node, "file", options->u.vdi.file,
                             BLOCK_ROLE_PRIMARY | BLOCK_ROLE_METADATA | BLOCK_ROLE_DATA, error) ||
        !format_read(node, node->file, 0, &h, sizeof(h), "header", error) ||
        !check_header(node, &h, error)) {
        return false;
    }
    s->offset_map = GUINT32_FROM_LE(h.offset_map);
    s->offset_data = GUINT32_FROM_LE(h.offset_data);
    s->n_blocks = GUINT32_FROM_LE(h.n_blocks);
    s->n_allocated = GUINT32_FROM_LE(h.n_allocated);
    end = s->offset_map + (uint64_t)s->n_blocks * sizeof(uint32_t);
    if (end > node->file->node->length || end > s->offset_data || s->offset_map < HEADER_BYTES) {
        return block_error(error,
                            "the block map of %" PRIu32 " blocks at 0x%" PRIx64
                            " isn't between the header, "
                            "the data and the end of the file",
                            s->n_blocks, s->offset_map);
    }
    sparse_init(&s->sparse, &ops);
    s->sparse.zeroes_align = BLOCK;
    node->length = (GUINT64_FROM_LE(h.disk_size) + SECTOR - 1) & ~(uint64_t)(SECTOR - 1);
    node->supported_zeroes_flags = BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK;
    return true;
}

static void co_close(struct block_node *node)
{
    sparse_clear(node->state);
}

static void co_describe(struct block_node *node, struct qapi_image_info *info)
{
    info->has_cluster_size = true;
    info->cluster_size = BLOCK;
}

/* ---- Check: the table as a whole ---- */

/* Each block that is in the file is used once. */
static int co_check_map(struct block_node *node, struct qapi_image_check *result)
{
    struct vdi *s = node->state;
    uint64_t in_file = node->file->node->length > s->offset_data
                           ? (node->file->node->length - s->offset_data + BLOCK - 1) / BLOCK
                           : 0;
    g_autofree uint8_t *used = g_try_malloc0(MIN(in_file, s->n_blocks) / 8 + 1);
    uint32_t entry, n_found = 0;

    if (!used) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < s->n_blocks; i++) {
        int ret = co_table_read(s->sparse.tables, node->file,
                                s->offset_map + i * (uint64_t)sizeof(entry), &entry, sizeof(entry));

        if (ret < 0) {
            return ret;
        }
        entry = GUINT32_FROM_LE(entry);
        if (entry == unallocated || entry == discarded) {
            continue;
        }
        n_found++;
        if (entry >= MIN(in_file, s->n_blocks) || used[entry / 8] & 1 << entry % 8) {
            result->corruptions++;
        } else {
            used[entry / 8] |= 1 << entry % 8;
        }
    }
    result->has_total_clusters = result->has_allocated_clusters = true;
    result->total_clusters = s->n_blocks;
    result->allocated_clusters = n_found;
    result->corruptions += n_found != s->n_allocated;
    return 0;
}

static bool co_check(struct block_node *node, unsigned fix, struct qapi_image_check *result,
                     GError **error)
{
    struct vdi *s = node->state;
    int ret;

    if (fix) {
        return block_error(error,
                            "images of this format can't be repaired; make a new one with convert");
    }
    co_mutex_lock(&s->sparse.lock);
    ret = co_check_map(node, result);
    co_mutex_unlock(&s->sparse.lock);
    result->has_corruptions = true;
    return ret >= 0 ||
           block_error(error, "could not read the block map: %s", g_strerror(-ret));
}

/* ---- New images ---- */

static const struct block_create_option create_options[] = {
    {"size", NULL, "size", "Virtual disk size", NULL, false},
    {"static", NULL, "bool (on/off)", "VDI static (pre-allocated) image", "off", false},
    {0},
};

/* "static" is how the schema's preallocation is called here. */
static bool co_create_prepare(struct block_graph *graph, const char *filename, json_object *options,
                              GError **error)
{
    json_object *value;
    bool on;

    if (!json_object_object_get_ex(options, "static", &value)) {
        return true;
    }
    on = g_str_equal(json_object_get_string(value), "on") ||
         g_str_equal(json_object_get_string(value), "true");
    if (!on && !g_str_equal(json_object_get_string(value), "off") &&
        !g_str_equal(json_object_get_string(value), "false")) {
        return block_error(error, "Parameter 'static' expects 'on' or 'off'");
    }
    json_object_object_del(options, "static");
    json_object_object_add(options, "preallocation",
                           json_object_new_string(on ? "metadata" : "off"));
    return true;
}

static void make_uuid(uint8_t uuid[16])
{
    for (int i = 0; i < 16; i++) {
        uuid[i] = (uint8_t)g_random_int();
    }
    uuid[6] = (uuid[6] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

static void make_header(struct header *h, uint64_t size, uint32_t n_blocks, bool is_static)
{
    uint64_t data = (HEADER_BYTES + (uint64_t)n_blocks * 4 + SECTOR - 1) & ~(uint64_t)(SECTOR - 1);

    *h = (struct header){
        .text = "<<< Nandu VM Virtual Disk Image >>>\n",
        .signature = GUINT32_TO_LE((uint32_t)SIGNATURE),
        .version = GUINT32_TO_LE(VERSION),
        .header_size = GUINT32_TO_LE(0x180),
        .image_type = GUINT32_TO_LE(is_static ? TYPE_STATIC : TYPE_DYNAMIC),
        .offset_map = GUINT32_TO_LE(HEADER_BYTES),
        .offset_data = GUINT32_TO_LE((uint32_t)data),
        .sector_size = GUINT32_TO_LE(SECTOR),
        .disk_size = GUINT64_TO_LE(size),
        .block_size = GUINT32_TO_LE(BLOCK),
        .n_blocks = GUINT32_TO_LE(n_blocks),
        .n_allocated = GUINT32_TO_LE(is_static ? n_blocks : 0),
    };
    make_uuid(h->uuid);
    make_uuid(h->uuid_last_snapshot);
}

static bool co_write_map(struct format_file *file, uint32_t n_blocks, bool is_static,
                         GError **error)
{
    enum { STEP = 1 << 16 };
    g_autofree uint32_t *map = g_new(uint32_t, STEP);
    uint64_t end = (HEADER_BYTES + (uint64_t)n_blocks * 4 + SECTOR - 1) & ~(uint64_t)(SECTOR - 1);

    if (!co_format_resize(file, end, QAPI_PREALLOC_MODE_OFF, error)) {
        return false;
    }
    for (uint32_t done = 0; done < n_blocks; done += STEP) {
        uint32_t n = MIN(n_blocks - done, STEP);

        for (uint32_t i = 0; i < n; i++) {
            map[i] = GUINT32_TO_LE(is_static ? done + i : unallocated);
        }
        if (!co_format_write(file, HEADER_BYTES + done * 4ull, map, n * 4ull, error)) {
            return false;
        }
    }
    return !is_static ||
           co_format_resize(file, end + (uint64_t)n_blocks * BLOCK, QAPI_PREALLOC_MODE_OFF, error);
}

static bool co_create(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                      GError **error)
{
    const struct qapi_blockdev_create_options_vdi *o = &options->u.vdi;
    bool is_static = o->has_preallocation && o->preallocation == QAPI_PREALLOC_MODE_METADATA;
    uint64_t size = (o->size + SECTOR - 1) & ~(uint64_t)(SECTOR - 1),
             n_blocks = (size + BLOCK - 1) / BLOCK;
    struct format_file file;
    struct header h;

    if (o->has_preallocation && !is_static && o->preallocation != QAPI_PREALLOC_MODE_OFF) {
        return block_error(error, "vdi: preallocation can be off or metadata");
    }
    if (o->size > (uint64_t)MAX_BLOCKS * BLOCK) {
        return block_error(error,
                           "Unsupported VDI image size (size is 0x%" PRIx64
                           ", max supported is 0x%" PRIx64 ")",
                           o->size, (uint64_t)MAX_BLOCKS * BLOCK);
    }
    make_header(&h, size, (uint32_t)n_blocks, is_static);
    return co_format_open(graph, o->file, &file, error) &&
           co_format_close(&file,
                           co_format_write(&file, 0, &h, sizeof(h), error) &&
                               co_write_map(&file, (uint32_t)n_blocks, is_static, error),
                           error);
}

static const struct block_driver vdi = {
    .name = "vdi",
    .kind = QAPI_BLOCKDEV_DRIVER_VDI,
    .state_size = sizeof(struct vdi),
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
    .co_create = co_create,
    .create_options = create_options,
    .co_create_prepare = co_create_prepare,
};
BLOCK_DRIVER(vdi);
