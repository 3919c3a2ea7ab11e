/*
 * Driver qed (its published specification, version 1): a header, a table of tables of clusters. A
 * flag in the header says, while clusters are allocated, that the tables have to be checked after a
 * crash.
 */
#include <errno.h>
#include <string.h>

#include "block/sparse.h"

enum {
    FEATURE_BACKING = 1,
    FEATURE_NEED_CHECK = 2,
    FEATURE_BACKING_RAW = 4,
    FEATURES = 7,
    MIN_CLUSTER = 4096,
    MAX_CLUSTER = 64 << 20,
    DEFAULT_CLUSTER = 65536,
    MAX_TABLE = 16,
    DEFAULT_TABLE = 4, /* clusters */
    MAX_HEADER = 4,    /* clusters that are looked at for the backing image's name */
    MAX_NAME = 1023,
    SECTOR = 512,
};
static const uint64_t zero_entry = 1;

/* All little-endian. */
struct header {
    char magic[4];
    uint32_t cluster_size, table_size, header_size; /* bytes, clusters, clusters */
    uint64_t features, compatible, autoclear;
    uint64_t l1_offset, image_size; /* bytes */
    uint32_t backing_offset, backing_bytes;
} __attribute__((packed));

struct qed {
    struct sparse sparse;
    struct header header;
    uint64_t cluster, n, table_bytes, l1_offset; /* n: entries of a table */
    uint64_t end;                                /* where the next cluster goes */
    bool marked;                                 /* need-check is set in the file */
};

static int probe(const uint8_t *data, size_t size, const char *filename)
{
    return size >= sizeof(struct header) && !memcmp(data, "QED", 4) ? 100 : 0;
}

/* ---- Tables; with the lock ---- */

static int co_read_entry(struct block_node *node, uint64_t table, uint64_t index, uint64_t *entry)
{
    struct qed *s = node->state;
    int result = co_table_read(s->sparse.tables, node->file, table + index * 8, entry, 8);

    *entry = GUINT64_FROM_LE(*entry);
    return result;
}

static int co_write_entry(struct block_node *node, uint64_t table, uint64_t index, uint64_t entry)
{
    struct qed *s = node->state;

    entry = GUINT64_TO_LE(entry);
    return co_table_write(s->sparse.tables, node->file, table + index * 8, &entry, 8);
}

static bool is_valid(const struct block_node *node, uint64_t offset, uint64_t bytes)
{
    const struct qed *s = node->state;

    return offset % s->cluster == 0 && offset >= s->cluster && offset < node->file->node->length &&
           bytes <= ((node->file->node->length + s->cluster - 1) & ~(s->cluster - 1)) - offset;
}

static int co_map(struct block_node *node, uint64_t offset, struct sparse_extent *extent)
{
    struct qed *s = node->state;
    uint64_t cluster = offset / s->cluster, entry;
    int result = co_read_entry(node, s->l1_offset, cluster / s->n, &entry);

    extent->file = node->file;
    extent->cluster_size = s->cluster;
    extent->cluster = cluster * s->cluster;
    extent->bytes = s->cluster - offset % s->cluster;
    if (result < 0 || !entry) {
        extent->bytes += (s->n - 1 - cluster % s->n) * s->cluster;
        return result;
    }
    if (!is_valid(node, entry, s->table_bytes)) {
        return -EIO;
    }
    result = co_read_entry(node, entry, cluster % s->n, &entry);
    extent->kind = !entry ? SPARSE_UNALLOCATED : entry == zero_entry ? SPARSE_ZERO : SPARSE_DATA;
    extent->host = entry + offset % s->cluster;
    return result >= 0 && entry > zero_entry && !is_valid(node, entry, 1) ? -EIO : result;
}

static int co_allocate(struct block_node *node, struct sparse_extent *extent)
{
    struct qed *s = node->state;

    extent->file = node->file;
    extent->host = s->end;
    return 0;
}

/* A table with one entry, then the entry of the table. */
static int co_add_table(struct block_node *node, uint64_t l1_index, uint64_t l2_index,
                        uint64_t entry)
{
    struct qed *s = node->state;
    uint64_t table = s->end;
    int result = co_child_write_zeroes(node->file, table, s->table_bytes, 0);

    s->end += s->table_bytes;
    if (result >= 0) {
        result = co_write_entry(node, table, l2_index, entry);
    }
    if (result >= 0) {
        result = co_child_flush(node->file);
    }
    return result < 0 ? result : co_write_entry(node, s->l1_offset, l1_index, table);
}

static int co_set_entry(struct block_node *node, uint64_t offset, uint64_t entry)
{
    struct qed *s = node->state;
    uint64_t cluster = offset / s->cluster, table;
    int result = co_read_entry(node, s->l1_offset, cluster / s->n, &table);

    if (result < 0) {
        return result;
    }
    return table ? co_write_entry(node, table, cluster % s->n, entry)
                 : co_add_table(node, cluster / s->n, cluster % s->n, entry);
}

static int co_link(struct block_node *node, const struct sparse_extent *extent)
{
    struct qed *s = node->state;

    s->end += s->cluster;
    return co_set_entry(node, extent->cluster, extent->host);
}

static int co_zero(struct block_node *node, const struct sparse_extent *extent)
{
    return co_set_entry(node, extent->cluster, zero_entry);
}

static int co_write_header(struct block_node *node)
{
    struct qed *s = node->state;

    return co_child_write(node->file, 0, sizeof(s->header),
                          BLOCK_BUFFER(&s->header, sizeof(s->header)), BLOCK_FUA);
}

static int co_mark(struct block_node *node)
{
    struct qed *s = node->state;
    int result;

    if (s->marked) {
        return 0;
    }
    s->header.features |= GUINT64_TO_LE(FEATURE_NEED_CHECK);
    result = co_write_header(node);
    s->marked = result >= 0;
    return MIN(result, 0);
}

static int co_unmark(struct block_node *node)
{
    struct qed *s = node->state;
    int result = co_child_flush(node->file);

    if (result >= 0) {
        s->header.features &= ~GUINT64_TO_LE(FEATURE_NEED_CHECK);
        result = co_write_header(node);
        s->marked = false;
    }
    return MIN(result, 0);
}

static const struct sparse_ops ops = {
    .co_map = co_map,
    .co_allocate = co_allocate,
    .co_link = co_link,
    .co_zero = co_zero,
    .co_before_write = co_mark,
};

/* ---- Check ---- */

struct check {
    struct block_node *node;
    struct qed *s;
    uint8_t *used; /* a bit for each cluster of the file */
    uint64_t n_clusters;
    bool fix;
    struct qapi_image_check *result;
};

/* False: it is where none can be, or used already. */
static bool take(struct check *c, uint64_t offset, uint64_t clusters)
{
    uint64_t first = offset / c->s->cluster;

    if (!is_valid(c->node, offset, clusters * c->s->cluster) || first + clusters > c->n_clusters) {
        return false;
    }
    for (uint64_t i = first; i < first + clusters; i++) {
        if (c->used[i / 8] & 1 << i % 8) {
            return false;
        }
        c->used[i / 8] |= 1 << i % 8;
    }
    return true;
}

static int co_found_bad(struct check *c, uint64_t table, uint64_t index)
{
    int result = 0;

    c->result->corruptions++;
    if (c->fix) {
        result = co_write_entry(c->node, table, index, 0);
        c->result->corruptions_fixed += result >= 0;
    }
    return result;
}

static int co_check_l2(struct check *c, uint64_t table)
{
    int result = 0;

    for (uint64_t i = 0; i < c->s->n && result >= 0; i++) {
        uint64_t entry;

        result = co_read_entry(c->node, table, i, &entry);
        if (result >= 0 && entry > zero_entry) {
            if (take(c, entry, 1)) {
                c->result->allocated_clusters++;
            } else {
                result = co_found_bad(c, table, i);
            }
        }
    }
    return result;
}

static int co_check_tables(struct check *c)
{
    uint64_t table_clusters = c->s->table_bytes / c->s->cluster, leaks = 0;
    int result = 0;

    take(c, c->s->l1_offset, table_clusters);
    for (uint64_t i = 0; i < c->s->n && result >= 0; i++) {
        uint64_t entry;

        result = co_read_entry(c->node, c->s->l1_offset, i, &entry);
        if (result >= 0 && entry) {
            result = take(c, entry, table_clusters) ? co_check_l2(c, entry)
                                                    : co_found_bad(c, c->s->l1_offset, i);
        }
    }
    for (uint64_t i = GUINT32_FROM_LE(c->s->header.header_size); i < c->n_clusters; i++) {
        leaks += !(c->used[i / 8] & 1 << i % 8);
    }
    c->result->leaks = (int64_t)leaks;
    return result;
}

static bool co_check(struct block_node *node, unsigned fix, struct qapi_image_check *result,
                     GError **error)
{
    struct qed *s = node->state;
    struct check c = {node,
                      s,
                      NULL,
                      (node->file->node->length + s->cluster - 1) / s->cluster,
                      fix & BLOCK_FIX_ERRORS,
                      result};
    int ret;

    c.used = g_try_malloc0(c.n_clusters / 8 + 1);
    if (!c.used) {
        return block_error(error,
                            "there is no memory to check a file of %" PRIu64 " clusters",
                            c.n_clusters);
    }
    co_mutex_lock(&s->sparse.lock);
    ret = co_check_tables(&c);
    if (ret >= 0 && c.fix && GUINT64_FROM_LE(s->header.features) & FEATURE_NEED_CHECK) {
        ret = co_unmark(node);
    }
    co_mutex_unlock(&s->sparse.lock);
    g_free(c.used);
    result->has_corruptions = result->has_leaks = result->has_total_clusters =
        result->has_allocated_clusters = true;
    result->has_corruptions_fixed = c.fix;
    result->corruptions -= result->corruptions_fixed;
    result->total_clusters = (int64_t)((node->length + s->cluster - 1) / s->cluster);
    return ret >= 0 ||
           block_error(error, "could not check the tables: %s", g_strerror(-ret));
}

/* ---- Open and close ---- */

static bool check_header(struct block_node *node, GError **error)
{
    struct qed *s = node->state;
    const struct header *h = &s->header;
    uint64_t features = GUINT64_FROM_LE(h->features), table = GUINT32_FROM_LE(h->table_size);

    if (memcmp(h->magic, "QED", 4)) {
        return block_error(error, "Image not in QED format");
    }
    if (features & ~(uint64_t)FEATURES) {
        return block_error(error, "Unsupported QED features: 0x%" PRIx64,
                            features & ~(uint64_t)FEATURES);
    }
    s->cluster = GUINT32_FROM_LE(h->cluster_size);
    if (s->cluster < MIN_CLUSTER || s->cluster > MAX_CLUSTER || s->cluster & (s->cluster - 1) ||
        !table || table > MAX_TABLE || table & (table - 1)) {
        return block_error(error,
                            "QED cluster size %" PRIu64 " or table size %" PRIu64 " is invalid",
                            s->cluster, table);
    }
    s->table_bytes = s->cluster * table;
    s->n = s->table_bytes / 8;
    s->l1_offset = GUINT64_FROM_LE(h->l1_offset);
    node->length = GUINT64_FROM_LE(h->image_size);
    if (node->length % SECTOR || node->length > INT64_MAX ||
        (node->length + s->cluster - 1) / s->cluster > s->n * s->n) {
        return block_error(error, "its size of %" PRIu64 " bytes can't be",
                            (uint64_t)node->length);
    }
    if (!is_valid(node, s->l1_offset, s->table_bytes)) {
        return block_error(error,
                            "its L1 table at offset %" PRIu64 " is beyond the end of the file",
                            s->l1_offset);
    }
    return true;
}

static bool co_read_backing_name(struct block_node *node, GError **error)
{
    struct qed *s = node->state;
    uint64_t features = GUINT64_FROM_LE(s->header.features);
    uint32_t offset = GUINT32_FROM_LE(s->header.backing_offset),
             bytes = GUINT32_FROM_LE(s->header.backing_bytes);
    char name[MAX_NAME + 1] = {0};

    if (!(features & FEATURE_BACKING)) {
        return true;
    }
    if (bytes > MAX_NAME ||
        (uint64_t)offset + bytes > s->cluster * GUINT32_FROM_LE(s->header.header_size)) {
        return block_error(error, "the name of its backing image isn't where it can be");
    }
    if (!format_read(node, node->file, offset, name, bytes, "backing image's name", error)) {
        return false;
    }
    for (const char *c = name; *c; c++) {
        if (g_ascii_iscntrl(*c)) {
            return block_error(error, "the name of its backing image is damaged");
        }
    }
    node->backing_name = g_strdup(name);
    node->backing_format = features & FEATURE_BACKING_RAW ? g_strdup("raw") : NULL;
    return true;
}

/* Before the first write: what others left half done. */
static bool co_start_writing(struct block_node *node, GError **error)
{
    struct qed *s = node->state;
    struct qapi_image_check result = {0};
    int ret;

    if (node->read_only || node->open_flags & (BLOCK_OPEN_NO_IO | BLOCK_OPEN_CHECK)) {
        return true;
    }
    if (s->header.autoclear) {
        s->header.autoclear = 0;
        ret = co_write_header(node);
        if (ret < 0) {
            return block_error(error, "could not write the header: %s", g_strerror(-ret));
        }
    }
    return !(GUINT64_FROM_LE(s->header.features) & FEATURE_NEED_CHECK) ||
           co_check(node, BLOCK_FIX_ERRORS, &result, error);
}

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    struct qed *s = node->state;

    sparse_init(&s->sparse, &ops);
    if (!co_block_open_child(node, "file", options->u.qed.file,
                             BLOCK_ROLE_PRIMARY | BLOCK_ROLE_METADATA | BLOCK_ROLE_DATA, error) ||
        !format_read(node, node->file, 0, &s->header, sizeof(s->header), "header", error) ||
        !check_header(node, error) || !co_read_backing_name(node, error) ||
        !co_block_open_backing(node, options->u.qed.backing, error)) {
        return false;
    }
    s->sparse.zeroes_align = (uint32_t)s->cluster;
    s->end = (node->file->node->length + s->cluster - 1) & ~(s->cluster - 1);
    node->supported_zeroes_flags = BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK;
    return co_start_writing(node, error);
}

static void co_close(struct block_node *node)
{
    struct qed *s = node->state;

    if (s->marked) {
        co_unmark(node);
    }
    sparse_clear(&s->sparse);
}

static void co_describe(struct block_node *node, struct qapi_image_info *info)
{
    const struct qed *s = node->state;

    info->has_cluster_size = true;
    info->cluster_size = (int64_t)s->cluster;
    if (GUINT64_FROM_LE(s->header.features) & FEATURE_NEED_CHECK) {
        info->has_dirty_flag = info->dirty_flag = true;
    }
}

/* ---- Changes of the header ---- */

static int co_truncate(struct block_node *node, uint64_t size, bool exact,
                       enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    struct qed *s = node->state;
    int result;

    if (prealloc != QAPI_PREALLOC_MODE_OFF || size < node->length) {
        block_error(error,
                     size < node->length ? "shrinking images is not supported"
                                         : "preallocation isn't supported");
        return -ENOTSUP;
    }
    if (size % SECTOR || (size + s->cluster - 1) / s->cluster > s->n * s->n) {
        block_error(error, "a size of %" PRIu64 " bytes can't be", size);
        return -EINVAL;
    }
    s->header.image_size = GUINT64_TO_LE(size);
    result = co_write_header(node);
    if (result < 0) {
        s->header.image_size = GUINT64_TO_LE(node->length);
        block_error(error, "could not write the header: %s", g_strerror(-result));
    }
    return MIN(result, 0);
}

static bool co_change_backing(struct block_node *node, const char *file, const char *format,
                              GError **error)
{
    struct qed *s = node->state;
    size_t bytes = file ? strlen(file) : 0;
    uint64_t features =
        GUINT64_FROM_LE(s->header.features) & ~(uint64_t)(FEATURE_BACKING | FEATURE_BACKING_RAW);
    int result = 0;

    if (bytes > MAX_NAME || sizeof(struct header) + bytes > s->cluster) {
        return block_error(error, "the name of the backing image is too long");
    }
    if (bytes) {
        features |=
            FEATURE_BACKING | (format && g_str_equal(format, "raw") ? FEATURE_BACKING_RAW : 0);
        result =
            co_child_write(node->file, sizeof(struct header), bytes, BLOCK_BUFFER(file, bytes), 0);
    }
    s->header.features = GUINT64_TO_LE(features);
    s->header.backing_offset = bytes ? GUINT32_TO_LE(sizeof(struct header)) : 0;
    s->header.backing_bytes = GUINT32_TO_LE((uint32_t)bytes);
    if (result >= 0) {
        result = co_write_header(node);
    }
    if (result < 0) {
        return block_error(error, "could not write the header: %s", g_strerror(-result));
    }
    g_free(node->backing_name);
    g_free(node->backing_format);
    node->backing_name = bytes ? g_strdup(file) : NULL;
    node->backing_format = features & FEATURE_BACKING_RAW ? g_strdup("raw") : NULL;
    return true;
}

/* ---- New images ---- */

static const struct block_create_option create_options[] = {
    {"backing_file", "backing-file", "str", "File name of a base image", NULL, false},
    {"backing_fmt", "backing-fmt", "str", "Image format of the base image", NULL, false},
    {"cluster_size", "cluster-size", "size", "Cluster size (in bytes)", "65536", false},
    {"size", NULL, "size", "Virtual disk size", NULL, false},
    {"table_size", "table-size", "size", "L1/L2 table size (in clusters)", NULL, false},
    {0},
};

static bool check_create(const struct qapi_blockdev_create_options_qed *o, uint64_t cluster,
                         uint64_t table, GError **error)
{
    uint64_t n;

    if (cluster < MIN_CLUSTER || cluster > MAX_CLUSTER || cluster & (cluster - 1)) {
        return block_error(error, "QED cluster size must be within range [%d, %d] and power of 2",
                           MIN_CLUSTER, MAX_CLUSTER);
    }
    if (!table || table > MAX_TABLE || table & (table - 1)) {
        return block_error(error, "QED table size must be within range [1, %d] and power of 2",
                           MAX_TABLE);
    }
    n = cluster * table / 8;
    if (o->size % SECTOR || o->size > INT64_MAX || (o->size + cluster - 1) / cluster > n * n) {
        return block_error(
            error,
            "QED image size must be a non-zero multiple of 512 bytes, and at most %" PRIu64
            " clusters",
            n * n);
    }
    if (o->backing_file && strlen(o->backing_file) > MAX_NAME) {
        return block_error(error, "the name of the backing image is too long");
    }
    return true;
}

static bool co_create(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                      GError **error)
{
    const struct qapi_blockdev_create_options_qed *o = &options->u.qed;
    uint64_t cluster = o->has_cluster_size && o->cluster_size ? o->cluster_size : DEFAULT_CLUSTER;
    uint64_t table = o->has_table_size && o->table_size ? (uint64_t)o->table_size : DEFAULT_TABLE;
    bool raw = o->has_backing_fmt && o->backing_fmt == QAPI_BLOCKDEV_DRIVER_RAW;
    size_t bytes = o->backing_file ? strlen(o->backing_file) : 0;
    struct header h = {
        .magic = "QED",
        .cluster_size = GUINT32_TO_LE((uint32_t)cluster),
        .table_size = GUINT32_TO_LE((uint32_t)table),
        .header_size = GUINT32_TO_LE(1),
        .features = GUINT64_TO_LE(bytes ? FEATURE_BACKING | (raw ? FEATURE_BACKING_RAW : 0) : 0),
        .l1_offset = GUINT64_TO_LE(cluster),
        .image_size = GUINT64_TO_LE(o->size),
        .backing_offset = bytes ? GUINT32_TO_LE(sizeof(h)) : 0,
        .backing_bytes = GUINT32_TO_LE((uint32_t)bytes),
    };
    struct format_file file;

    return check_create(o, cluster, table, error) && co_format_open(graph, o->file, &file, error) &&
           co_format_close(&file,
                           co_format_resize(&file, cluster * (1 + table), QAPI_PREALLOC_MODE_OFF,
                                            error) &&
                               co_format_write(&file, 0, &h, sizeof(h), error) &&
                               co_format_write(&file, sizeof(h), o->backing_file, bytes, error),
                           error);
}

static const struct block_driver qed = {
    .name = "qed",
    .kind = QAPI_BLOCKDEV_DRIVER_QED,
    .supports_backing = true,
    .state_size = sizeof(struct qed),
    .probe = probe,
    .co_open = co_open,
    .co_close = co_close,
    .refresh_limits = sparse_refresh_limits,
    .co_read = co_sparse_read,
    .co_write = co_sparse_write,
    .co_write_zeroes = co_sparse_write_zeroes,
    .co_status = co_sparse_status,
    .co_truncate = co_truncate,
    .co_describe = co_describe,
    .co_check = co_check,
    .co_change_backing = co_change_backing,
    .co_create = co_create,
    .create_options = create_options,
};
BLOCK_DRIVER(qed);
