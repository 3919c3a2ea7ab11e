/* Driver qcow2: options, open and close, what the core asks. */
#include "block/qcow2.h"

#include "block/block_priv.h"
#include "qapi/command.h"
#include "qapi/qapi_events.h"
#include "util/clock.h"
#include "util/log.h"

enum {
    DEFAULT_L2_CACHE_MAX = 32 << 20,
    DEFAULT_SLICE = 4096,
    MIN_TABLES = 4, /* of a cache: so many can be pinned at a time, and one more */
    DEFAULT_TRIM_SECONDS = 600,
    MAX_CACHE = 1 << 30,
};

static void tell_corrupted(const struct block_node *node, char *text, int64_t offset, int64_t size,
                           bool fatal)
{
    const GPtrArray *drives = node->graph->drives;
    struct qapi_block_image_corrupted_event event = {
        .device = (char *)"",
        .node_name = node->name,
        .msg = text,
        .has_offset = offset >= 0,
        .offset = offset,
        .has_size = size >= 0,
        .size = size,
        .fatal = fatal,
    };

    for (guint i = 0; i < drives->len; i++) {
        const struct block_drive *drive = drives->pdata[i];

        event.device = drive->node == node ? drive->id : event.device;
    }
    qapi_event_block_image_corrupted(node->graph->events, &event);
}

int co_qcow2_corrupt(struct qcow2 *q, bool fatal, int64_t offset, int64_t size, const char *format,
                     ...)
{
    struct block_node *node = q->node;
    const struct object_context *context = object_context(block_graph_root(node->graph));
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    if (q->broken || (!fatal && q->damage_told)) {
        return -EIO;
    }
    q->damage_told = true;
    q->broken = fatal && !node->read_only;
    tell_corrupted(node, text, offset, size, q->broken);
    log_warn(context->log, "qcow2: %s: %s; the image is marked as corrupt", node->name, text);
    /* Nothing else is written any more; this bit keeps the next one from writing. */
    if (q->broken && q->header.version >= 3 && !(q->header.incompatible & QCOW2_INCOMPAT_CORRUPT)) {
        q->header.incompatible |= QCOW2_INCOMPAT_CORRUPT;
        co_qcow2_write_header(q);
    }
    return -EIO;
}

/* ---- Options ---- */

static unsigned overlap_template(enum qapi_qcow2_overlap_check_mode mode)
{
    unsigned constant = QCOW2_META_HEADER | QCOW2_META_ACTIVE_L1 | QCOW2_META_REFTABLE |
                        QCOW2_META_SNAPSHOT_TABLE | QCOW2_META_BITMAP_DIRECTORY;
    unsigned cached =
        constant | QCOW2_META_ACTIVE_L2 | QCOW2_META_REFBLOCK | QCOW2_META_INACTIVE_L1;

    switch (mode) {
    case QAPI_QCOW2_OVERLAP_CHECK_MODE_NONE: return 0;
    case QAPI_QCOW2_OVERLAP_CHECK_MODE_CONSTANT: return constant;
    case QAPI_QCOW2_OVERLAP_CHECK_MODE_ALL: return cached | QCOW2_META_INACTIVE_L2;
    default: return cached;
    }
}

static unsigned overlap_checks(const struct qapi_qcow2_overlap_checks *checks)
{
    const struct qapi_qcow2_overlap_check_flags *f;
    unsigned bits;

    if (!checks) {
        return overlap_template(QAPI_QCOW2_OVERLAP_CHECK_MODE_CACHED);
    }
    if (checks->kind == QAPI_QCOW2_OVERLAP_CHECKS_KIND_MODE) {
        return overlap_template(checks->u.mode);
    }
    f = &checks->u.flags;
    bits = overlap_template(f->has_template ? f->template : QAPI_QCOW2_OVERLAP_CHECK_MODE_CACHED);
#define FLAG(member, bit)                                          \
    if (f->has_##member) {                                         \
        bits = f->member ? bits | (bit) : bits & ~(unsigned)(bit); \
    }
    FLAG(main_header, QCOW2_META_HEADER)
    FLAG(active_l1, QCOW2_META_ACTIVE_L1)
    FLAG(active_l2, QCOW2_META_ACTIVE_L2)
    FLAG(refcount_table, QCOW2_META_REFTABLE)
    FLAG(refcount_block, QCOW2_META_REFBLOCK)
    FLAG(snapshot_table, QCOW2_META_SNAPSHOT_TABLE)
    FLAG(inactive_l1, QCOW2_META_INACTIVE_L1)
    FLAG(inactive_l2, QCOW2_META_INACTIVE_L2)
    FLAG(bitmap_directory, QCOW2_META_BITMAP_DIRECTORY)
#undef FLAG
    return bits;
}

/* Bytes for both caches, as the options divide them. */
static bool cache_sizes(struct qcow2 *q, const struct qapi_blockdev_options_qcow2 *o, uint64_t *l2,
                        uint64_t *refcount, GError **error)
{
    uint64_t min_refcount = MIN_TABLES * q->cluster_size;
    /* What the L2 tables of the whole image take. */
    uint64_t max_l2 = qcow2_clusters(q, q->header.size) * q->l2_entry_size;

    if ((o->has_cache_size && o->cache_size < 0) ||
        (o->has_l2_cache_size && o->l2_cache_size < 0) ||
        (o->has_refcount_cache_size && o->refcount_cache_size < 0)) {
        return block_error(error, "Cache sizes may not be negative");
    }
    *l2 = o->has_l2_cache_size ? (uint64_t)o->l2_cache_size : MIN(max_l2, DEFAULT_L2_CACHE_MAX);
    *refcount = o->has_refcount_cache_size ? (uint64_t)o->refcount_cache_size : min_refcount;
    if (o->has_cache_size) {
        uint64_t all = o->cache_size;

        if (o->has_l2_cache_size && o->has_refcount_cache_size) {
            return block_error(
                error,
                "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time");
        }
        if (o->has_l2_cache_size && *l2 > all) {
            return block_error(error, "l2-cache-size may not exceed cache-size");
        }
        if (o->has_refcount_cache_size && *refcount > all) {
            return block_error(error, "refcount-cache-size may not exceed cache-size");
        }
        if (o->has_l2_cache_size) {
            *refcount = all - *l2;
        } else if (o->has_refcount_cache_size) {
            *l2 = all - *refcount;
        } else {
            *l2 = MIN(all, max_l2);
            *refcount = MAX(min_refcount, all - *l2);
        }
    }
    if (*l2 > MAX_CACHE || *refcount > MAX_CACHE) {
        return block_error(error, "Caches of more than %d bytes aren't of use: give a smaller cache size",
                    MAX_CACHE);
    }
    return true;
}

static bool make_caches(struct qcow2 *q, const struct qapi_blockdev_options_qcow2 *o,
                        GError **error)
{
    uint64_t slice = o->has_l2_cache_entry_size ? (uint64_t)o->l2_cache_entry_size
                                                : MIN(DEFAULT_SLICE, q->cluster_size);
    uint64_t l2 = 0, refcount = 0;

    if (slice < 512 || slice > q->cluster_size || slice & (slice - 1)) {
        return block_error(
            error,
            "L2 cache entry size must be a power of two between 512 and the cluster size (%" PRIu64
            ")",
            q->cluster_size);
    }
    if (!cache_sizes(q, o, &l2, &refcount, error)) {
        return false;
    }
    q->slice_bits = g_bit_storage(slice / q->l2_entry_size) - 1;
    q->l2_cache = qcow2_cache_new(q, slice, MAX(l2 / slice, MIN_TABLES), "L2");
    q->refcount_cache = qcow2_cache_new(q, q->cluster_size,
                                        MAX(refcount / q->cluster_size, MIN_TABLES), "refcounts");
    if (!q->l2_cache || !q->refcount_cache) {
        return block_error(error, "There is no memory for the metadata caches: give a smaller cache-size");
    }
    return true;
}

bool qcow2_take_options(struct qcow2 *q, const struct qapi_blockdev_options_qcow2 *o,
                        GError **error)
{
    bool discards = q->node->discard == QAPI_BLOCKDEV_DISCARD_OPTIONS_UNMAP;

    q->overlap_checks = overlap_checks(o->overlap_check);
    q->discard_passthrough[0] = o->has_pass_discard_request ? o->pass_discard_request : discards;
    q->discard_passthrough[3] = o->has_pass_discard_request;
    q->discard_passthrough[1] = o->has_pass_discard_snapshot ? o->pass_discard_snapshot : true;
    q->discard_passthrough[2] = o->has_pass_discard_other ? o->pass_discard_other : false;
    q->discard_no_unref = o->has_discard_no_unref && o->discard_no_unref;
    q->lazy_refcounts = o->has_lazy_refcounts ? o->lazy_refcounts
                                              : q->header.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS;
    if (q->discard_no_unref && q->header.version < 3) {
        return block_error(error, "discard-no-unref is only supported since qcow2 version 3");
    }
    if (q->lazy_refcounts && q->header.version < 3) {
        return block_error(
            error,
            "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level");
    }
    if (o->has_cache_clean_interval &&
        (o->cache_clean_interval < 0 || o->cache_clean_interval > UINT32_MAX)) {
        return block_error(error, "Cache clean interval too big");
    }
    q->trim_interval =
        (o->has_cache_clean_interval ? o->cache_clean_interval : DEFAULT_TRIM_SECONDS) *
        1000000000ll;
    return make_caches(q, o, error);
}

/* ---- Memory of tables that nobody uses ---- */

static void co_trim(void *opaque)
{
    struct qcow2 *q = opaque;

    co_mutex_lock(&q->lock);
    qcow2_cache_trim(q->l2_cache);
    qcow2_cache_trim(q->refcount_cache);
    co_mutex_unlock(&q->lock);
    q->trimming = false;
    if (q->trim_timer) {
        timer_arm(q->trim_timer, clocks_now(NULL, CLOCK_REAL) + q->trim_interval);
    }
    co_queue_wake_all(&q->trimmed);
}

static void trim(void *opaque)
{
    struct qcow2 *q = opaque;

    q->trimming = true;
    coroutine_start(object_context(block_graph_root(q->node->graph))->loop, co_trim, q);
}

void qcow2_start_trimming(struct qcow2 *q)
{
    struct event_loop *loop = object_context(block_graph_root(q->node->graph))->loop;

    if (q->trim_interval) {
        q->trim_timer = timer_new(loop, NULL, CLOCK_REAL, trim, q);
        timer_arm(q->trim_timer, clocks_now(NULL, CLOCK_REAL) + q->trim_interval);
    }
}

void co_qcow2_stop_trimming(struct qcow2 *q)
{
    g_clear_pointer(&q->trim_timer, timer_free);
    while (q->trimming) {
        co_queue_wait(&q->trimmed, NULL);
    }
}

/* ---- Open ---- */

static void set_layout(struct qcow2 *q)
{
    const struct qcow2_header *h = &q->header;

    q->cluster_bits = h->cluster_bits;
    q->cluster_size = 1ull << h->cluster_bits;
    q->subclusters = h->incompatible & QCOW2_INCOMPAT_EXTL2 ? QCOW2_SUBCLUSTERS : 1;
    q->subcluster_size = q->cluster_size / q->subclusters;
    q->l2_entry_size = q->subclusters > 1 ? 16 : 8;
    q->l2_bits = h->cluster_bits - (q->subclusters > 1 ? 4 : 3);
    q->refcount_bits = 1u << h->refcount_order;
    q->refcount_max = q->refcount_bits == 64 ? INT64_MAX : (1ull << q->refcount_bits) - 1;
    q->refblock_bits = h->cluster_bits + 3 - h->refcount_order;
    q->dirty = h->incompatible & QCOW2_INCOMPAT_DIRTY;
    q->data_file_raw = h->autoclear & QCOW2_AUTOCLEAR_DATA_FILE_RAW;
}

static bool co_read_l1(struct qcow2 *q, GError **error)
{
    uint64_t bytes = (uint64_t)q->header.l1_size * sizeof(uint64_t);
    uint32_t i;
    int ret;

    q->l1 = g_try_malloc(MAX(bytes, 1));
    if (!q->l1) {
        return block_error(error, "Could not allocate L1 table");
    }
    ret = bytes ? co_child_read(q->file, q->header.l1_offset, bytes, BLOCK_BUFFER(q->l1, bytes), 0)
                : 0;
    if (ret < 0) {
        return block_error(error, "Could not read L1 table: %s", g_strerror(-ret));
    }
    for (i = 0; i < q->header.l1_size; i++) {
        q->l1[i] = GUINT64_FROM_BE(q->l1[i]);
    }
    return true;
}

static bool co_open_data_file(struct qcow2 *q, const struct qapi_blockdev_options_qcow2 *o,
                              GError **error)
{
    bool needed = q->header.incompatible & QCOW2_INCOMPAT_DATA_FILE;

    q->data = q->file;
    if (!needed) {
        return o->data_file
                   ? block_error(error,
                          "'data-file' can only be set for images with an external data file")
                   : true;
    }
    if (q->node->open_flags & BLOCK_OPEN_NO_IO) {
        return true;
    }
    if (o->data_file) {
        q->data = co_block_open_child(q->node, "data-file", o->data_file, BLOCK_ROLE_DATA, error);
    } else if (q->header.data_file) {
        q->data = co_block_open_file_child(q->node, "data-file", q->header.data_file,
                                           BLOCK_ROLE_DATA, error);
    } else {
        return block_error(error, "'data-file' is required for this image");
    }
    return q->data != NULL;
}

/* Features of others that this one doesn't keep up, and whether counts may be wrong. */
bool co_qcow2_start_writing(struct qcow2 *q, GError **error)
{
    uint64_t kept = q->header.autoclear & QCOW2_AUTOCLEAR_ALL;
    struct qapi_image_check result = {0};
    int ret;

    if (q->node->read_only || q->node->open_flags & (BLOCK_OPEN_NO_IO | BLOCK_OPEN_CHECK)) {
        return true;
    }
    if (q->header.autoclear != kept) {
        q->header.autoclear = kept;
        ret = co_qcow2_write_header(q);
        if (ret < 0) {
            return block_error(error, "Could not update qcow2 header: %s", g_strerror(-ret));
        }
    }
    if (q->dirty) {
        if (!co_qcow2_check(q->node, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &result, error)) {
            g_prefix_error(error, "Could not repair dirty image: ");
            return false;
        }
        if (result.check_errors || result.corruptions) {
            return block_error(error, "Could not repair dirty image");
        }
    }
    return true;
}

static bool co_open_tables(struct qcow2 *q, const struct qapi_blockdev_options_qcow2 *o,
                           GError **error)
{
    if (!co_qcow2_read_header(q, error)) {
        return false;
    }
    set_layout(q);
    if (q->header.incompatible & QCOW2_INCOMPAT_CORRUPT && !q->node->read_only &&
        !(q->node->open_flags & BLOCK_OPEN_CHECK)) {
        return block_error(error, "qcow2: Image is corrupt; cannot be opened read/write");
    }
    if (!qcow2_take_options(q, o, error) || !co_qcow2_open_crypto(q, o, error) ||
        !co_open_data_file(q, o, error) || !co_read_l1(q, error) ||
        !co_qcow2_read_reftable(q, error)) {
        return false;
    }
    if (!co_qcow2_snapshots_open(q, error)) {
        if (!(q->node->open_flags & BLOCK_OPEN_CHECK)) {
            return false;
        }
        g_clear_error(error);
        q->snapshots_damaged = true;
    }
    q->metadata = g_hash_table_new(NULL, NULL);
    qcow2_metadata_load(q);
    return true;
}

static bool co_open(struct block_node *node, const struct qapi_blockdev_options *options,
                    GError **error)
{
    const struct qapi_blockdev_options_qcow2 *o = &options->u.qcow2;
    struct qcow2 *q = node->state;

    q->node = node;
    co_mutex_init(&q->lock);
    g_mutex_init(&q->tables);
    co_queue_init(&q->trimmed);
    g_queue_init(&q->allocations);
    q->frees = g_array_new(false, false, sizeof(struct qcow2_free));
    qcow2_compress_init(q);
    q->file = co_block_open_child(
        node, "file", o->file, BLOCK_ROLE_PRIMARY | BLOCK_ROLE_METADATA | BLOCK_ROLE_DATA, error);
    if (!q->file || !co_open_tables(q, o, error)) {
        return false;
    }
    node->length = q->header.size;
    node->backing_name = g_strdup(q->header.backing_file);
    node->backing_format = g_strdup(q->header.backing_format);
    node->supported_write_flags = BLOCK_FUA | BLOCK_REGISTERED | BLOCK_COMPRESSED;
    node->supported_zeroes_flags = BLOCK_MAY_UNMAP | BLOCK_NO_FALLBACK;
    q->fresh_from = (q->data->node->length + q->cluster_size - 1) & ~(q->cluster_size - 1);
    if (!co_block_open_backing(node, o->backing, error) || !co_qcow2_start_writing(q, error) ||
        (!(node->open_flags & BLOCK_OPEN_CHECK) && !co_qcow2_bitmaps_open(q, error))) {
        return false;
    }
    qcow2_start_trimming(q);
    return true;
}

static void co_close(struct block_node *node)
{
    struct qcow2 *q = node->state;
    bool writable =
        q->metadata && !node->read_only && !(node->open_flags & BLOCK_OPEN_NO_IO) && !q->broken;

    co_qcow2_stop_trimming(q);
    if (writable) {
        co_qcow2_bitmaps_close(q);
        co_mutex_lock(&q->lock);
        /* An image whose counts couldn't be written stays marked. */
        if (co_qcow2_settle(q) == 0 && q->dirty && !(node->open_flags & BLOCK_OPEN_CHECK)) {
            co_qcow2_set_incompatible(q, 0, QCOW2_INCOMPAT_DIRTY);
        }
        co_mutex_unlock(&q->lock);
    }
    qcow2_bitmaps_free(q);
    qcow2_snapshots_free(q);
    qcow2_compress_free(q);
    qcow2_cache_free(q->l2_cache);
    qcow2_cache_free(q->refcount_cache);
    g_clear_pointer(&q->metadata, g_hash_table_unref);
    qcow2_crypto_free(q);
    qcow2_header_clear(&q->header);
    g_free(q->l1);
    g_free(q->reftable);
    g_clear_pointer(&q->frees, g_array_unref); /* none if opening failed early */
    co_queue_clear(&q->trimmed);
    co_mutex_clear(&q->lock);
    g_mutex_clear(&q->tables);
}

static void refresh_limits(struct block_node *node)
{
    struct qcow2 *q = node->state;

    node->limits = q->data->node->limits;
    node->limits.request_align = q->crypto ? 512 : 1;
    node->limits.max_transfer = 0;
    node->limits.max_iov = 0;
    node->limits.zeroes_align = q->subcluster_size;
    node->limits.max_zeroes = 0;
    node->limits.discard_align = q->cluster_size;
    node->limits.max_discard = 0;
}

/* ---- Requests that aren't reads or writes ---- */

static int co_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct qcow2 *q = node->state;
    bool at_end = offset + bytes == node->length;
    int ret;

    if (offset % q->subcluster_size || (bytes % q->subcluster_size && !at_end)) {
        /* A part of a cluster: nothing needs to be done, or it is written. */
        return co_qcow2_reads_zero(q, offset, bytes) ? 0 : -ENOTSUP;
    }
    ret = co_qcow2_bitmaps_before_write(q, offset, bytes);
    if (ret < 0) {
        return ret;
    }
    co_mutex_lock(&q->lock);
    ret = q->broken ? -EIO : co_qcow2_zero(q, offset, bytes, flags);
    co_mutex_unlock(&q->lock);
    return ret;
}

static int co_discard(struct block_node *node, uint64_t offset, uint64_t bytes)
{
    struct qcow2 *q = node->state;
    uint64_t end = offset + bytes, mask = q->cluster_size - 1;
    int ret;

    /* Parts of clusters stay, but the last one may be cut off by the end of the image. */
    offset = (offset + mask) & ~mask;
    if (end != node->length) {
        end &= ~mask;
    }
    if (offset >= end) {
        return 0;
    }
    ret = co_qcow2_bitmaps_before_write(q, offset, end - offset);
    if (ret < 0) {
        return ret;
    }
    co_mutex_lock(&q->lock);
    ret = q->broken ? -EIO : co_qcow2_unmap(q, offset, end - offset, QCOW2_DISCARD_REQUEST, false);
    co_mutex_unlock(&q->lock);
    return ret;
}

static int co_status(struct block_node *node, uint64_t offset, uint64_t bytes,
                     struct block_status *status)
{
    struct qcow2 *q = node->state;
    struct qcow2_extent extent;
    int ret = 0;

    if (!qcow2_map_fast(q, offset, bytes, &extent)) {
        co_mutex_lock(&q->lock);
        ret = co_qcow2_map(q, offset, bytes, &extent);
        co_mutex_unlock(&q->lock);
    }
    if (ret < 0) {
        return ret;
    }
    *status = (struct block_status){.bytes = extent.bytes};
    switch (extent.kind) {
    case QCOW2_UNALLOCATED:
    case QCOW2_UNALLOCATED_ALLOC: break;
    case QCOW2_ZERO_PLAIN: status->flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED; break;
    case QCOW2_ZERO_ALLOC:
        status->flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET;
        break;
    case QCOW2_COMPRESSED_DATA:
        status->flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_COMPRESSED;
        break;
    case QCOW2_NORMAL:
        status->flags =
            BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED | (q->crypto ? 0 : BLOCK_STATUS_OFFSET);
        break;
    }
    if (status->flags & BLOCK_STATUS_OFFSET) {
        status->offset = extent.host;
        status->file = q->data->node;
    }
    return 0;
}

static struct qapi_image_info_specific *co_info(struct block_node *node, GError **error)
{
    struct qcow2 *q = node->state;
    struct qapi_image_info_specific *info = g_new0(struct qapi_image_info_specific, 1);
    struct qapi_image_info_specific_qcow2_wrapper *wrapper = &info->u.qcow2;
    struct qapi_image_info_specific_qcow2 *data = g_new0(struct qapi_image_info_specific_qcow2, 1);

    (void)error;
    info->type = QAPI_IMAGE_INFO_SPECIFIC_KIND_QCOW2;
    wrapper->data = data;
    data->compat = g_strdup(q->header.version < 3 ? "0.10" : "1.1");
    data->refcount_bits = q->refcount_bits;
    data->encrypt = qcow2_describe_crypto(q);
    data->compression_type = q->header.compression == QCOW2_ZSTD ? QAPI_QCOW2_COMPRESSION_TYPE_ZSTD
                                                                 : QAPI_QCOW2_COMPRESSION_TYPE_ZLIB;
    if (q->header.version < 3) {
        return info;
    }
    data->has_lazy_refcounts = true;
    data->lazy_refcounts = q->header.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS;
    data->has_corrupt = true;
    data->corrupt = q->header.incompatible & QCOW2_INCOMPAT_CORRUPT;
    data->has_extended_l2 = true;
    data->extended_l2 = q->subclusters > 1;
    qcow2_bitmaps_describe(q, &data->bitmaps);
    data->has_bitmaps = data->bitmaps.n > 0;
    if (q->header.incompatible & QCOW2_INCOMPAT_DATA_FILE) {
        data->data_file = g_strdup(q->header.data_file);
        data->has_data_file_raw = true;
        data->data_file_raw = q->data_file_raw;
    }
    return info;
}

static int probe(const uint8_t *data, size_t size, const char *filename)
{
    (void)filename;
    return size >= 8 && data[0] == 'Q' && data[1] == 'F' && data[2] == 'I' && data[3] == 0xfb &&
                   !data[4] && !data[5] && !data[6] && data[7] >= 2
               ? 100
               : 0;
}

static void co_describe(struct block_node *node, struct qapi_image_info *info)
{
    const struct qcow2 *q = node->state;

    info->has_cluster_size = true;
    info->cluster_size = (int64_t)q->cluster_size;
    info->has_dirty_flag = info->dirty_flag = q->dirty;
    info->has_encrypted = info->encrypted = q->header.crypt != QCOW2_CRYPT_NONE;
}

static const struct block_driver qcow2_driver = {
    .name = "qcow2",
    .kind = QAPI_BLOCKDEV_DRIVER_QCOW2,
    .supports_backing = true,
    .state_size = sizeof(struct qcow2),
    .probe = probe,
    .co_open = co_open,
    .co_close = co_close,
    .refresh_limits = refresh_limits,
    .co_read = co_qcow2_read,
    .co_write = co_qcow2_write,
    .co_write_zeroes = co_write_zeroes,
    .co_discard = co_discard,
    .co_flush = co_qcow2_flush,
    .co_status = co_status,
    .co_truncate = co_qcow2_truncate,
    .co_create = co_qcow2_create,
    .create_options = qcow2_create_options,
    .co_create_prepare = co_qcow2_create_prepare,
    .co_info = co_info,
    .co_change_backing = co_qcow2_change_backing,
    .co_make_empty = co_qcow2_make_empty,
    .co_describe = co_describe,
    .co_check = co_qcow2_check,
    .co_amend = co_qcow2_amend,
    .amend_options = qcow2_amend_options,
    .measure = co_qcow2_measure,
    .co_reopen_prepare = co_qcow2_reopen_prepare,
    .co_reopen_commit = co_qcow2_reopen_commit,
    .co_reopen_abort = co_qcow2_reopen_abort,
    .snapshots = &qcow2_snapshot_ops,
    .bitmaps = &qcow2_bitmap_ops,
};
BLOCK_DRIVER(qcow2_driver);
