/* New vmdk images: extents, and the descriptor in the only one of them or in a file of its own. */
#include <string.h>

#include "block/vmdk.h"

enum { DESCRIPTOR_SECTOR = 1, DESCRIPTOR_SECTORS = 20, MAX_CREATE_DESCRIPTOR = 4 << 20 };

static const uint64_t split_bytes = 0x80000000; /* of twoGbMaxExtent...: at most so many each */

const struct block_create_option vmdk_create_options[] = {
    {"adapter_type", "adapter-type", "str",
     "Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX", NULL,
     false},
    {"backing_file", "backing-file", "str", "File name of a base image", NULL, false},
    {"backing_fmt", "backing-fmt", "str", "Must be 'vmdk' if present", NULL, false},
    {"compat6", NULL, "bool (on/off)", "VMDK version 6 image", "off", false},
    {"hwversion", NULL, "str", "VMDK hardware version", "undefined", false},
    {"size", NULL, "size", "Virtual disk size", NULL, false},
    {"subformat", NULL, "str",
     "VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | twoGbMaxExtentSparse | "
     "twoGbMaxExtentFlat | streamOptimized} ",
     NULL, false},
    {"toolsversion", NULL, "str", "VMware guest tools version", NULL, false},
    {"zeroed_grain", "zeroed-grain", "bool (on/off)",
     "Enable efficient zero writes using the zeroed-grain GTE feature", "off", false},
    {0},
};

static bool is_flat(enum qapi_blockdev_vmdk_subformat f)
{
    return f == QAPI_BLOCKDEV_VMDK_SUBFORMAT_MONOLITHICFLAT ||
           f == QAPI_BLOCKDEV_VMDK_SUBFORMAT_TWOGBMAXEXTENTFLAT;
}

static bool is_split(enum qapi_blockdev_vmdk_subformat f)
{
    return f == QAPI_BLOCKDEV_VMDK_SUBFORMAT_TWOGBMAXEXTENTSPARSE ||
           f == QAPI_BLOCKDEV_VMDK_SUBFORMAT_TWOGBMAXEXTENTFLAT;
}

static bool is_single(enum qapi_blockdev_vmdk_subformat f)
{
    return !is_split(f) && !is_flat(f);
}

/* ---- Extents ---- */

static uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

/* A directory at sector at, whose tables follow it. */
static bool co_write_directory(struct format_file *file, uint64_t at, uint64_t directory_sectors,
                               uint64_t n_tables, GError **error)
{
    g_autofree uint32_t *entries = g_malloc0(MAX(directory_sectors, 1) * VMDK_SECTOR);
    uint64_t table_sectors = VMDK_TABLE_ENTRIES * 4 / VMDK_SECTOR;

    for (uint64_t i = 0; i < n_tables; i++) {
        entries[i] = GUINT32_TO_LE((uint32_t)(at + directory_sectors + i * table_sectors));
    }
    return co_format_write(file, at * VMDK_SECTOR, entries, directory_sectors * VMDK_SECTOR, error);
}

static bool co_make_sparse(struct format_file *file, uint64_t size, bool compressed,
                           bool zero_grain, GError **error)
{
    uint64_t grains =
        (size + VMDK_GRAIN_SECTORS * VMDK_SECTOR - 1) / (VMDK_GRAIN_SECTORS * VMDK_SECTOR);
    uint64_t tables = (grains + VMDK_TABLE_ENTRIES - 1) / VMDK_TABLE_ENTRIES;
    uint64_t directory_sectors = round_up(tables * 4, VMDK_SECTOR) / VMDK_SECTOR;
    uint64_t all = directory_sectors + tables * (VMDK_TABLE_ENTRIES * 4 / VMDK_SECTOR);
    uint64_t first = DESCRIPTOR_SECTOR + DESCRIPTOR_SECTORS, second = first + all;
    uint64_t overhead = round_up(second + all, VMDK_GRAIN_SECTORS);
    uint32_t flags = VMDK_FLAG_NEWLINES | VMDK_FLAG_REDUNDANT |
                     (zero_grain ? VMDK_FLAG_ZERO_GRAIN : 0) |
                     (compressed ? VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS : 0);
    struct vmdk_header h = {
        .version = GUINT32_TO_LE(compressed   ? 3
                                 : zero_grain ? 2
                                              : 1),
        .flags = GUINT32_TO_LE(flags),
        .capacity = GUINT64_TO_LE(size / VMDK_SECTOR),
        .granularity = GUINT64_TO_LE(VMDK_GRAIN_SECTORS),
        .desc_offset = GUINT64_TO_LE(DESCRIPTOR_SECTOR),
        .desc_size = GUINT64_TO_LE(DESCRIPTOR_SECTORS),
        .table_entries = GUINT32_TO_LE(VMDK_TABLE_ENTRIES),
        .redundant_offset = GUINT64_TO_LE(first),
        .directory_offset = GUINT64_TO_LE(second),
        .overhead = GUINT64_TO_LE(overhead),
        .newlines = {'\n', ' ', '\r', '\n'},
        .compression = GUINT16_TO_LE(compressed ? VMDK_DEFLATE : 0),
    };

    memcpy(h.magic, "KDMV", 4);
    return co_format_resize(file, overhead * VMDK_SECTOR, QAPI_PREALLOC_MODE_OFF, error) &&
           co_format_write(file, 0, &h, sizeof(h), error) &&
           co_write_directory(file, first, directory_sectors, tables, error) &&
           co_write_directory(file, second, directory_sectors, tables, error);
}

static bool co_make_extent(struct format_file *file,
                           const struct qapi_blockdev_create_options_vmdk *o, uint64_t size,
                           GError **error)
{
    return is_flat(o->subformat)
               ? co_format_resize(file, size, QAPI_PREALLOC_MODE_OFF, error)
               : co_make_sparse(file, size,
                                o->subformat == QAPI_BLOCKDEV_VMDK_SUBFORMAT_STREAMOPTIMIZED,
                                o->has_zeroed_grain && o->zeroed_grain, error);
}

/* ---- The descriptor ---- */

static void add_extent_line(GString *lines, const struct qapi_blockdev_create_options_vmdk *o,
                            const char *filename, uint64_t size)
{
    g_autofree char *name = g_path_get_basename(filename);

    g_string_append_printf(lines, "RW %" PRIu64 " %s \"%s\"%s\n", size / VMDK_SECTOR,
                           is_flat(o->subformat) ? "FLAT" : "SPARSE", name,
                           is_flat(o->subformat) ? " 0" : "");
}

static GString *make_descriptor(const struct qapi_blockdev_create_options_vmdk *o,
                                const GString *lines, uint32_t parent_cid)
{
    const char *adapter =
        qapi_enum_name(&qapi_type_blockdev_vmdk_adapter_type, (int)o->adapter_type);
    bool ide = o->adapter_type == QAPI_BLOCKDEV_VMDK_ADAPTER_TYPE_IDE;
    unsigned heads = ide ? 16 : 255;
    GString *text = g_string_new(NULL);

    g_string_append_printf(text,
                           "# Disk DescriptorFile\nversion=1\nCID=%" PRIx32 "\nparentCID=%" PRIx32
                           "\n"
                           "createType=\"%s\"\n",
                           g_random_int() | 0x10000000, parent_cid,
                           qapi_enum_name(&qapi_type_blockdev_vmdk_subformat, (int)o->subformat));
    if (o->backing_file) {
        g_string_append_printf(text, "parentFileNameHint=\"%s\"\n", o->backing_file);
    }
    g_string_append_printf(
        text,
        "\n# Extent description\n%s\n# The Disk Data Base\n#DDB\n\n"
        "ddb.virtualHWVersion = \"%s\"\n"
        "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
        "ddb.geometry.heads = \"%u\"\n"
        "ddb.geometry.sectors = \"63\"\n"
        "ddb.adapterType = \"%s\"\n"
        "ddb.toolsVersion = \"%s\"\n",
        lines->str, o->hwversion && !g_str_equal(o->hwversion, "undefined") ? o->hwversion : "4",
        o->size / (63 * heads * VMDK_SECTOR), heads, adapter,
        o->toolsversion ? o->toolsversion : "2147483647");
    return text;
}

/* The CID of the image that is to be below. */
static bool co_parent_cid(struct block_graph *graph, const char *filename, const char *backing,
                          uint32_t *cid, GError **error)
{
    g_autofree char *path = block_combine_names(filename, backing);
    g_autoptr(json_object) options = json_object_new_object();
    struct block_node *node;
    bool ok;

    json_object_object_add(options, "read-only", json_object_new_boolean(true));
    json_object_object_add(options, "force-share", json_object_new_boolean(true));
    node =
        co_block_open_loose(graph, path, options, BLOCK_OPEN_PROBE | BLOCK_OPEN_NO_BACKING, error);
    if (!node) {
        return false;
    }
    ok = node->driver->kind == QAPI_BLOCKDEV_DRIVER_VMDK;
    if (ok) {
        *cid = ((const struct vmdk *)node->state)->cid;
    } else {
        block_error(error, "Invalid backing file: '%s' isn't a VMDK image", backing);
    }
    co_block_node_unref(node);
    return ok;
}

/* ---- All of it ---- */

static bool check_options(const struct qapi_blockdev_create_options_vmdk *o, uint64_t n_extents,
                          GError **error)
{
    static const uint64_t most =
        (uint64_t)UINT32_MAX * VMDK_SECTOR; /* what sector numbers of 32 bits reach */

    if (o->size % VMDK_SECTOR || o->size > (is_flat(o->subformat) ? INT64_MAX / 2 : most)) {
        return block_error(error, o->size % VMDK_SECTOR
                                      ? "vmdk: the size must be a multiple of 512 bytes"
                                      : "vmdk: the size is too large for this subformat");
    }
    if (o->backing_file && is_flat(o->subformat)) {
        return block_error(error, "Flat image can't have backing file");
    }
    if (is_flat(o->subformat) && o->has_zeroed_grain && o->zeroed_grain) {
        return block_error(error, "Flat image can't enable zeroed grain");
    }
    if (o->has_adapter_type && is_flat(o->subformat) &&
        o->adapter_type == QAPI_BLOCKDEV_VMDK_ADAPTER_TYPE_LEGACYESX) {
        return block_error(error, "Flat images have no adapter type legacyESX");
    }
    if (n_extents > VMDK_MAX_EXTENTS) {
        return block_error(error, "%" PRIu64 " extents are more than the %d that there can be",
                           n_extents, VMDK_MAX_EXTENTS);
    }
    if ((o->backing_file && strpbrk(o->backing_file, "\"\n\r")) ||
        (o->hwversion && strpbrk(o->hwversion, "\"\n\r")) ||
        (o->toolsversion && strpbrk(o->toolsversion, "\"\n\r"))) {
        return block_error(error, "vmdk: quotes and line ends can't be in a descriptor");
    }
    if (is_single(o->subformat) ? o->has_extents && o->extents.n : o->extents.n != n_extents) {
        return block_error(error, "vmdk: %" PRIu64 " extents are needed, and not %zu",
                           is_single(o->subformat) ? 0 : n_extents, o->extents.n);
    }
    return true;
}

static uint64_t count_extents(const struct qapi_blockdev_create_options_vmdk *o)
{
    return is_split(o->subformat) ? MAX((o->size + split_bytes - 1) / split_bytes, 1) : 1;
}

static bool co_make_extents(struct block_graph *graph,
                            const struct qapi_blockdev_create_options_vmdk *o, GString *lines,
                            GError **error)
{
    uint64_t left = o->size;

    for (size_t i = 0; i < o->extents.n; i++) {
        uint64_t size = is_split(o->subformat) ? MIN(left, split_bytes) : left;
        struct format_file file;
        bool ok;

        if (!co_format_open(graph, &o->extents.v[i], &file, error)) {
            return false;
        }
        add_extent_line(lines, o, file.node->filename, size);
        ok = co_make_extent(&file, o, size, error);
        if (!co_format_close(&file, ok, error)) {
            return false;
        }
        left -= size;
    }
    return true;
}

static bool co_make_main(struct block_graph *graph, struct format_file *file,
                         const struct qapi_blockdev_create_options_vmdk *o, GString *lines,
                         GError **error)
{
    g_autofree char *padded = NULL;
    uint32_t parent_cid = UINT32_MAX;
    uint64_t size, at = 0;
    GString *text;

    if (o->backing_file &&
        !co_parent_cid(graph, file->node->filename, o->backing_file, &parent_cid, error)) {
        return false;
    }
    if (is_single(o->subformat)) {
        if (!co_make_extent(file, o, o->size, error)) {
            return false;
        }
        add_extent_line(lines, o, file->node->filename, o->size);
        at = DESCRIPTOR_SECTOR * VMDK_SECTOR;
    }
    text = make_descriptor(o, lines, parent_cid);
    if (at && text->len > DESCRIPTOR_SECTORS * VMDK_SECTOR) {
        g_string_free(text, true);
        return block_error(error, "vmdk: the descriptor is too long; give shorter names");
    }
    size = text->len;
    padded = g_string_free(text, false);
    return co_format_write(file, at, padded, size, error);
}

bool co_vmdk_create(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                    GError **error)
{
    const struct qapi_blockdev_create_options_vmdk *o = &options->u.vmdk;
    g_autoptr(GString) lines = g_string_new(NULL);
    struct format_file file;

    if (!check_options(o, count_extents(o), error) || !co_make_extents(graph, o, lines, error) ||
        !co_format_open(graph, o->file, &file, error)) {
        return false;
    }
    return co_format_close(&file, co_make_main(graph, &file, o, lines, error), error);
}

/* ---- By a file name ---- */

static char *extent_name(const char *filename, bool flat, bool split, uint64_t i)
{
    const char *slash = strrchr(filename, '/'), *dot = strrchr(slash ? slash : filename, '.');
    int n = (int)(dot ? (size_t)(dot - filename) : strlen(filename));

    if (!split) {
        return g_strdup_printf("%.*s-flat%s", n, filename, dot ? dot : "");
    }
    return g_strdup_printf("%.*s-%c%03" PRIu64 "%s", n, filename, flat ? 'f' : 's', i + 1,
                           dot ? dot : "");
}

static bool co_touch(struct block_graph *graph, const char *path, GError **error)
{
    struct qapi_blockdev_create_options options = {.driver = QAPI_BLOCKDEV_DRIVER_FILE};

    options.u.file.filename = (char *)path;
    return block_driver_find("file")->co_create(graph, &options, error);
}

static bool take_compat6(json_object *options, GError **error)
{
    json_object *value, *other;
    bool on;

    if (!json_object_object_get_ex(options, "compat6", &value)) {
        return true;
    }
    on = g_str_equal(json_object_get_string(value), "on") ||
         g_str_equal(json_object_get_string(value), "true");
    if (on && json_object_object_get_ex(options, "hwversion", &other) &&
        !g_str_equal(json_object_get_string(other), "undefined")) {
        return block_error(error, "compat6 cannot be enabled with hwversion set");
    }
    json_object_object_del(options, "compat6");
    if (on) {
        json_object_object_add(options, "hwversion", json_object_new_string("6"));
    }
    return true;
}

bool co_vmdk_create_prepare(struct block_graph *graph, const char *filename, json_object *options,
                            GError **error)
{
    struct qapi_blockdev_create_options_vmdk o = {0};
    g_autoptr(json_object) extents = json_object_new_array();
    json_object *value;
    const char *subformat = json_object_object_get_ex(options, "subformat", &value)
                                ? json_object_get_string(value)
                                : "monolithicSparse";
    uint64_t n;

    if (json_object_object_get_ex(options, "backing-fmt", &value)) {
        if (!g_str_equal(json_object_get_string(value), "vmdk")) {
            return block_error(error, "backing_file must be a vmdk image");
        }
        json_object_object_del(options, "backing-fmt");
    }
    if (!take_compat6(options, error)) {
        return false;
    }
    while (o.subformat < QAPI_BLOCKDEV_VMDK_SUBFORMAT__COUNT &&
           !g_str_equal(qapi_enum_name(&qapi_type_blockdev_vmdk_subformat, (int)o.subformat),
                        subformat)) {
        o.subformat++;
    }
    if (o.subformat == QAPI_BLOCKDEV_VMDK_SUBFORMAT__COUNT || is_single(o.subformat)) {
        return true; /* what is wrong with it, the schema says */
    }
    o.size = json_object_object_get_ex(options, "size", &value) ? json_object_get_uint64(value) : 0;
    n = count_extents(&o);
    if (n > VMDK_MAX_EXTENTS) {
        return block_error(error, "%" PRIu64 " extents are more than the %d that there can be", n,
                           VMDK_MAX_EXTENTS);
    }
    for (uint64_t i = 0; i < n; i++) {
        g_autofree char *name =
            extent_name(filename, is_flat(o.subformat), is_split(o.subformat), i);
        json_object *extent = json_object_new_object();

        json_object_object_add(extent, "driver", json_object_new_string("file"));
        json_object_object_add(extent, "filename", json_object_new_string(name));
        json_object_array_add(extents, extent);
        if (!co_touch(graph, name, error)) {
            return false;
        }
    }
    json_object_object_add(options, "extents", g_steal_pointer(&extents));
    return true;
}
