/* New vhdx images. In the file: headers, log, metadata, BAT, blocks. */
#include <string.h>

#include "block/vhdx.h"

enum { METADATA_BYTES = VHDX_MIB, FIRST_ITEM = 64 << 10, BAT_STEP = 1 << 16 };

const struct block_create_option vhdx_create_options[] = {
    {"block_size", "block-size", "size",
     "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size.", NULL, false},
    {"block_state_zero", "block-state-zero", "bool (on/off)",
     "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  Do not set to 'off' when using 'qemu-img "
     "convert' with subformat=dynamic.",
     NULL, false},
    {"log_size", "log-size", "size", "Log size; min 1MB.", "1048576", false},
    {"size", NULL, "size", "Virtual disk size; max of 64TB.", NULL, false},
    {"subformat", NULL, "str",
     "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'.", NULL, false},
    {0},
};

struct layout {
    uint64_t size, block_size, log_size, n_blocks, chunk_ratio, n_entries;
    uint64_t metadata, bat, bat_bytes, data; /* offsets, but for bat_bytes */
    bool fixed, zero;
};

static bool choose(struct layout *l, const struct qapi_blockdev_create_options_vhdx *o,
                   GError **error)
{
    *l = (struct layout){
        .size = o->size,
        .block_size = o->block_size,
        .log_size = o->has_log_size && o->log_size ? o->log_size : VHDX_MIB,
        .fixed = o->has_subformat && o->subformat == QAPI_BLOCKDEV_VHDX_SUBFORMAT_FIXED,
        .zero = !o->has_block_state_zero || o->block_state_zero,
    };
    if (!l->block_size) {
        l->block_size = l->size > 32ull << 40    ? 64 << 20
                        : l->size > 100ull << 30 ? 32 << 20
                        : l->size > 1 << 30      ? 16 << 20
                                                 : 8 << 20;
    }
    if (l->size > vhdx_max_size || l->size % 512) {
        return block_error(error, "Image size too large; max of 64TB, in multiples of 512 bytes");
    }
    if (l->block_size & (l->block_size - 1) || l->block_size < VHDX_MIN_BLOCK ||
        l->block_size > VHDX_MAX_BLOCK) {
        return block_error(error, "Block size must be a power of two from 1 MiB to 256 MiB");
    }
    if (l->log_size % VHDX_MIB || l->log_size > UINT32_MAX) {
        return block_error(error, "Log size must be a multiple of 1 MB, and less than 4 GiB");
    }
    l->n_blocks = (l->size + l->block_size - 1) / l->block_size;
    l->chunk_ratio = (1ull << 23) * 512 / l->block_size;
    l->n_entries = l->n_blocks ? l->n_blocks + (l->n_blocks - 1) / l->chunk_ratio : 0;
    l->metadata = VHDX_MIB + l->log_size;
    l->bat = l->metadata + METADATA_BYTES;
    l->bat_bytes = MAX((l->n_entries * 8 + VHDX_MIB - 1) & ~(uint64_t)(VHDX_MIB - 1), VHDX_MIB);
    l->data = l->bat + l->bat_bytes;
    return true;
}

static bool co_write_headers(struct format_file *file, const struct layout *l, GError **error)
{
    static const char creator[] = "Nandu";
    g_autofree struct vhdx_header *h = g_new0(struct vhdx_header, 1);
    uint8_t identifier[520] = "vhdxfile";

    for (size_t i = 0; i < sizeof(creator) - 1; i++) {
        identifier[8 + 2 * i] = (uint8_t)creator[i]; /* UTF-16 */
    }
    memcpy(h->signature, "head", 4);
    vhdx_make_guid(h->file_write_guid);
    vhdx_make_guid(h->data_write_guid);
    h->version = GUINT16_TO_LE(1);
    h->log_length = GUINT32_TO_LE((uint32_t)l->log_size);
    h->log_offset = GUINT64_TO_LE(VHDX_MIB);
    if (!co_format_write(file, 0, identifier, sizeof(identifier), error)) {
        return false;
    }
    for (unsigned i = 0; i < 2; i++) {
        h->sequence = GUINT64_TO_LE(i + 1);
        h->checksum = 0;
        h->checksum = GUINT32_TO_LE(vhdx_checksum(h, sizeof(*h)));
        if (!co_format_write(file, i ? VHDX_HEADER_2 : VHDX_HEADER_1, h, sizeof(*h), error)) {
            return false;
        }
    }
    return true;
}

static bool co_write_regions(struct format_file *file, const struct layout *l, GError **error)
{
    g_autofree uint8_t *table = g_malloc0(VHDX_REGIONS_BYTES);
    struct vhdx_region_header h = {.n = GUINT32_TO_LE(2)};
    struct vhdx_region regions[2] = {
        {.offset = GUINT64_TO_LE(l->bat),
         .length = GUINT32_TO_LE((uint32_t)l->bat_bytes),
         .required = GUINT32_TO_LE(1)},
        {.offset = GUINT64_TO_LE(l->metadata),
         .length = GUINT32_TO_LE(METADATA_BYTES),
         .required = GUINT32_TO_LE(1)},
    };

    memcpy(h.signature, "regi", 4);
    memcpy(regions[0].guid, vhdx_guid_bat, VHDX_GUID_BYTES);
    memcpy(regions[1].guid, vhdx_guid_metadata, VHDX_GUID_BYTES);
    memcpy(table, &h, sizeof(h));
    memcpy(table + sizeof(h), regions, sizeof(regions));
    h.checksum = GUINT32_TO_LE(vhdx_checksum(table, VHDX_REGIONS_BYTES));
    memcpy(table, &h, sizeof(h));
    return co_format_write(file, VHDX_REGIONS_1, table, VHDX_REGIONS_BYTES, error) &&
           co_format_write(file, VHDX_REGIONS_2, table, VHDX_REGIONS_BYTES, error);
}

struct item {
    const uint8_t *guid;
    const void *value;
    uint32_t bytes, flags;
};

static bool co_write_metadata(struct format_file *file, const struct layout *l, GError **error)
{
    uint32_t parameters[2] = {GUINT32_TO_LE((uint32_t)l->block_size),
                              GUINT32_TO_LE(l->fixed ? VHDX_FIXED : 0)};
    uint64_t size = GUINT64_TO_LE(l->size);
    uint32_t sector = GUINT32_TO_LE(512);
    uint8_t disk_id[VHDX_GUID_BYTES];
    const struct item items[] = {
        {vhdx_guid_parameters, parameters, sizeof(parameters), VHDX_META_REQUIRED},
        {vhdx_guid_size, &size, sizeof(size), VHDX_META_REQUIRED | VHDX_META_DISK},
        {vhdx_guid_disk_id, disk_id, sizeof(disk_id), VHDX_META_REQUIRED | VHDX_META_DISK},
        {vhdx_guid_logical_sector, &sector, sizeof(sector), VHDX_META_REQUIRED | VHDX_META_DISK},
        {vhdx_guid_physical_sector, &sector, sizeof(sector), VHDX_META_REQUIRED | VHDX_META_DISK},
    };
    struct vhdx_metadata_header h = {.n = GUINT16_TO_LE(G_N_ELEMENTS(items))};
    uint8_t table[sizeof(h) + G_N_ELEMENTS(items) * sizeof(struct vhdx_metadata)],
        values[128] = {0};
    uint32_t at = 0;

    vhdx_make_guid(disk_id);
    memcpy(h.signature, "metadata", 8);
    memcpy(table, &h, sizeof(h));
    for (size_t i = 0; i < G_N_ELEMENTS(items); i++) {
        struct vhdx_metadata entry = {
            .offset = GUINT32_TO_LE(FIRST_ITEM + at),
            .length = GUINT32_TO_LE(items[i].bytes),
            .flags = GUINT32_TO_LE(items[i].flags),
        };

        memcpy(entry.guid, items[i].guid, VHDX_GUID_BYTES);
        memcpy(table + sizeof(h) + i * sizeof(entry), &entry, sizeof(entry));
        memcpy(values + at, items[i].value, items[i].bytes);
        at += items[i].bytes;
    }
    return co_format_write(file, l->metadata, table, sizeof(table), error) &&
           co_format_write(file, l->metadata + FIRST_ITEM, values, at, error);
}

/* Of each chunk_ratio blocks an entry follows that stands for a bitmap, which only differencing
 * images have. */
static bool co_write_bat(struct format_file *file, const struct layout *l, GError **error)
{
    g_autofree uint64_t *entries = g_new(uint64_t, BAT_STEP);
    uint64_t block = 0;

    if (!l->fixed && !l->zero) {
        return true;
    }
    for (uint64_t done = 0; done < l->n_entries; done += BAT_STEP) {
        uint64_t n = MIN(l->n_entries - done, BAT_STEP);

        for (uint64_t i = 0; i < n; i++) {
            if ((done + i + 1) % (l->chunk_ratio + 1) == 0) {
                entries[i] = 0;
                continue;
            }
            entries[i] = GUINT64_TO_LE(l->fixed ? (l->data + block * l->block_size) | VHDX_PRESENT
                                                : VHDX_ZERO);
            block++;
        }
        if (!co_format_write(file, l->bat + done * 8, entries, n * 8, error)) {
            return false;
        }
    }
    return true;
}

static bool co_write_all(struct format_file *file, const struct layout *l, GError **error)
{
    uint64_t end = l->data + (l->fixed ? l->n_blocks * l->block_size : 0);

    return co_format_resize(file, end, QAPI_PREALLOC_MODE_OFF, error) &&
           co_write_headers(file, l, error) && co_write_regions(file, l, error) &&
           co_write_metadata(file, l, error) && co_write_bat(file, l, error);
}

bool co_vhdx_create(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                    GError **error)
{
    struct format_file file;
    struct layout layout;

    return choose(&layout, &options->u.vhdx, error) &&
           co_format_open(graph, options->u.vhdx.file, &file, error) &&
           co_format_close(&file, co_write_all(&file, &layout, error), error);
}
