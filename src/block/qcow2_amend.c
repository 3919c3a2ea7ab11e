/* Images that get other options; and how large new ones would be. */
#include "block/qcow2_check.h"

#include <string.h>

#include "qapi/keyval.h"

static bool has(json_object *options, const char *member)
{
    return json_object_object_get_ex(options, member, NULL);
}

/* Members of BlockdevCreateOptionsQcow2 as strings. *all is the caller's to clear. */
static bool parse(json_object *options, struct qapi_blockdev_create_options *all, GError **error)
{
    json_object *complete = json_object_new_object();
    bool ok;

    json_object_object_add(complete, "driver", json_object_new_string("qcow2"));
    json_object_object_add(complete, "file", json_object_new_string("file"));
    json_object_object_add(complete, "size", json_object_new_string("0"));
    json_object_object_foreach(options, key, value)
    {
        json_object_object_add(complete, key, json_object_get(value));
    }
    ok = qapi_from_keyval(&qapi_type_blockdev_create_options, complete, all, error);
    json_object_put(complete);
    return ok;
}

/* ---- The header ---- */

/* Writes q->header, or makes it old again. */
static bool co_write_changed_header(struct qcow2 *q, struct qcow2_header *old, const char *what,
                                    GError **error)
{
    int ret = co_qcow2_write_header(q);

    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    if (ret == 0) {
        return true;
    }
    q->header = *old;
    return block_error_errno(error, ret, what);
}

static bool co_set_data_file(struct qcow2 *q, const char *name, GError **error)
{
    char *old = q->header.data_file;

    if (q->data == q->file) {
        return block_error(error, "Cannot set a data file on an image that has none");
    }
    q->header.data_file = g_strdup(name);
    if (co_qcow2_write_header(q) < 0) {
        g_free(q->header.data_file);
        q->header.data_file = old;
        return block_error(
            error,
            "The name of the data file couldn't be written: does it fit into the first cluster?");
    }
    g_free(old);
    return true;
}

static bool co_set_data_file_raw(struct qcow2 *q, bool raw, GError **error)
{
    struct qcow2_header old = q->header;

    if (raw == q->data_file_raw) {
        return true;
    }
    if (raw) {
        return block_error(error, "data-file-raw cannot be set on existing images");
    }
    q->header.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_DATA_FILE_RAW;
    if (!co_write_changed_header(q, &old, "Could not change data-file-raw", error)) {
        return false;
    }
    q->data_file_raw = false;
    return true;
}

static bool co_set_lazy(struct qcow2 *q, bool lazy, GError **error)
{
    struct qcow2_header old = q->header;

    if (q->dirty) {
        int ret = co_qcow2_settle(q);

        if (ret == 0) {
            ret = co_qcow2_set_incompatible(q, 0, QCOW2_INCOMPAT_DIRTY);
        }
        if (ret < 0) {
            return block_error_errno(error, ret, "Could not write refcounts");
        }
        old = q->header;
    }
    q->header.compatible = lazy ? q->header.compatible | QCOW2_COMPAT_LAZY_REFCOUNTS
                                : q->header.compatible & ~(uint64_t)QCOW2_COMPAT_LAZY_REFCOUNTS;
    if (!co_write_changed_header(q, &old, "Could not change lazy_refcounts", error)) {
        return false;
    }
    q->lazy_refcounts = lazy;
    return true;
}

/* ---- Versions ---- */

static bool co_upgrade(struct qcow2 *q, GError **error)
{
    struct qcow2_header old = q->header;

    q->header.version = 3;
    q->header.length = QCOW2_V3_HEADER_SIZE + 8;
    return co_write_changed_header(q, &old, "Could not write a header of version 3", error);
}

/* With q->lock. */
static bool co_downgrade(struct qcow2 *q, GError **error)
{
    const char *reason = qcow2_snapshots_need_v3(q);
    struct qcow2_header old;
    int ret;

    if (q->refcount_bits != 16) {
        return block_error(error, "compat=0.10 requires refcount_bits=16");
    }
    if (q->header.incompatible & ~(uint64_t)QCOW2_INCOMPAT_DIRTY) {
        return block_error(error, "Cannot downgrade an image with incompatible features set");
    }
    if (q->header.n_bitmaps) {
        return block_error(error, "Cannot downgrade an image with bitmaps: remove them first");
    }
    if (reason) {
        return block_error(error, "Internal snapshots prevent downgrade of image: %s", reason);
    }
    ret = co_qcow2_settle(q);
    if (ret == 0) {
        ret = co_qcow2_expand_zeroes(q);
    }
    if (ret == 0) {
        ret = co_qcow2_settle(q);
    }
    if (ret < 0) {
        return block_error_errno(error, ret, "Failed to turn zero into data clusters");
    }
    old = q->header;
    q->header.version = 2;
    q->header.length = QCOW2_V2_HEADER_SIZE;
    q->header.incompatible = q->header.compatible = q->header.autoclear = 0;
    if (!co_write_changed_header(q, &old, "Could not write a header of version 2", error)) {
        return false;
    }
    q->dirty = q->lazy_refcounts = false;
    return true;
}

/* ---- Width of counts ---- */

static void set_width(struct qcow2 *q, unsigned order)
{
    q->header.refcount_order = order;
    q->refcount_bits = 1u << order;
    q->refcount_max = q->refcount_bits == 64 ? INT64_MAX : (1ull << q->refcount_bits) - 1;
    q->refblock_bits = q->cluster_bits + 3 - order;
}

static bool co_set_refcount_bits(struct qcow2 *q, unsigned bits, GError **error)
{
    unsigned order = g_bit_storage(bits) - 1, old = q->header.refcount_order;
    int ret;

    if (bits < 1 || bits > 64 || bits & (bits - 1)) {
        return block_error(error, "Refcount width must be a power of two and may not exceed 64 bits");
    }
    if (order == old) {
        return true;
    }
    ret = co_qcow2_settle(q);
    if (ret == 0 && q->frees->len) {
        ret = -EBUSY; /* requests are under way that hold clusters */
    }
    if (ret < 0) {
        return block_error_errno(error, ret, "Could not write metadata");
    }
    /* Counts of the new width behind all that there is; the header says both at once. */
    qcow2_cache_empty(q->refcount_cache);
    set_width(q, order);
    if (!co_qcow2_recount(q, error)) {
        set_width(q, old);
        return false;
    }
    return true;
}

/* ---- Amend ---- */

static bool check_members(json_object *options, GError **error)
{
    json_object_object_foreach(options, key, value)
    {
        const struct block_create_option *o = qcow2_create_options;

        (void)value;
        while (o->name && strcmp(o->member ? o->member : o->name, key)) {
            o++;
        }
        if (!o->name) {
            return block_error(error, "Invalid parameter '%s'", key);
        }
        if (!o->amendable) {
            return block_error(
                error, "Invalid parameter '%s': this option is only supported for image creation",
                o->name);
        }
    }
    return true;
}

static bool co_amend_locked(struct qcow2 *q, const struct qapi_blockdev_create_options_qcow2 *o,
                            const char *data_file, GError **error)
{
    return (!o->has_refcount_bits || co_set_refcount_bits(q, o->refcount_bits, error)) &&
           (!o->has_lazy_refcounts || co_set_lazy(q, o->lazy_refcounts, error)) &&
           (!data_file || co_set_data_file(q, data_file, error)) &&
           (!o->has_data_file_raw || co_set_data_file_raw(q, o->data_file_raw, error));
}

/* What can't be done is found before anything is changed. */
static bool check_wishes(const struct qcow2 *q, const struct qapi_blockdev_create_options_qcow2 *o,
                         uint32_t version, GError **error)
{
    const char *format =
        o->has_backing_fmt ? qapi_enum_name(&qapi_type_blockdev_driver, o->backing_fmt) : NULL;

    if ((o->backing_file && g_strcmp0(o->backing_file, q->header.backing_file)) ||
        (format && g_strcmp0(format, q->header.backing_format))) {
        return block_error(error, "Cannot amend the backing file: use 'rebase' instead");
    }
    if (version < 3 && o->has_refcount_bits && o->refcount_bits != 16) {
        return block_error(
            error,
            "Refcount widths other than 16 bits require compatibility level 1.1 or above (use "
            "compat=1.1 or greater)");
    }
    if (version < 3 && o->has_lazy_refcounts && o->lazy_refcounts) {
        return block_error(
            error,
            "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or "
            "greater)");
    }
    return true;
}

static bool co_change(struct block_node *node, json_object *options,
                      const struct qapi_blockdev_create_options_qcow2 *o, GError **error)
{
    struct qcow2 *q = node->state;
    uint32_t version = !o->has_version                                ? q->header.version
                       : o->version == QAPI_BLOCKDEV_QCOW2_VERSION_V2 ? 2
                                                                      : 3;
    json_object *data_file = NULL;
    bool ok = true;

    json_object_object_get_ex(options, "data-file", &data_file);
    if (!check_wishes(q, o, version, error)) {
        return false;
    }
    if (version > q->header.version) {
        co_mutex_lock(&q->lock);
        ok = co_upgrade(q, error);
        co_mutex_unlock(&q->lock);
    }
    if (ok) {
        co_mutex_lock(&q->lock);
        ok = co_amend_locked(q, o, data_file ? json_object_get_string(data_file) : NULL, error);
        co_mutex_unlock(&q->lock);
    }
    if (ok && has(options, "size")) {
        ok = co_qcow2_truncate(node, o->size, false, QAPI_PREALLOC_MODE_OFF, 0, error) == 0;
    }
    /* Last, for what was wanted besides may be needed for it. */
    if (ok && version < q->header.version) {
        co_mutex_lock(&q->lock);
        ok = co_downgrade(q, error);
        co_mutex_unlock(&q->lock);
    }
    return ok;
}

bool co_qcow2_amend(struct block_node *node, json_object *options, bool force, GError **error)
{
    struct qapi_blockdev_create_options all = {0};
    json_object *slots;
    bool ok;

    if (json_object_object_get_ex(options, "encrypt", &slots)) {
        if (json_object_object_length(options) > 1) {
            return block_error(error,
                          "Key slots (encrypt.*) are changed by themselves, without other options");
        }
        return co_qcow2_amend_crypto(node->state, slots, force, error);
    }
    if (!check_members(options, error) || !parse(options, &all, error)) {
        return false;
    }
    ok = co_change(node, options, &all.u.qcow2, error);
    qapi_clear(&qapi_type_blockdev_create_options, &all);
    return ok;
}

/* ---- Measure ---- */

static uint64_t round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Bytes for refcount blocks and table of so many clusters, and of themselves. */
static uint64_t refcount_bytes(uint64_t clusters, uint64_t cluster_size, unsigned refcount_bits)
{
    uint64_t per_block = cluster_size * 8 / refcount_bits, blocks = 0, table = 0, last;

    do {
        last = blocks + table;
        blocks = (clusters + table + blocks + per_block - 1) / per_block;
        table = (blocks * sizeof(uint64_t) + cluster_size - 1) / cluster_size;
    } while (blocks + table != last);
    return last * cluster_size;
}

/* Of an image in which everything is allocated. */
static uint64_t full_size(uint64_t size, uint64_t cluster_size, unsigned refcount_bits,
                          unsigned entry_size)
{
    uint64_t per_table = cluster_size / entry_size,
             l2 = round_up(size / cluster_size, per_table) * entry_size;
    uint64_t l1 = round_up(l2 / cluster_size, cluster_size / sizeof(uint64_t)) * sizeof(uint64_t);
    uint64_t bytes = cluster_size + l2 + l1;

    return bytes + size +
           refcount_bytes((bytes + size) / cluster_size, cluster_size, refcount_bits);
}

static int co_needed(struct block_node *source, uint64_t cluster_size, uint64_t *needed)
{
    uint64_t offset = 0, length = source->length;

    *needed = 0;
    while (offset < length) {
        struct block_status status;
        int ret = co_node_status_above(source, NULL, offset, length - offset, &status);

        if (ret < 0) {
            return ret;
        }
        if (!(status.flags & BLOCK_STATUS_ZERO) && status.flags & BLOCK_STATUS_DATA) {
            uint64_t end = round_up(offset + status.bytes, cluster_size);

            *needed += end - offset / cluster_size * cluster_size;
            offset = end;
        } else {
            offset += status.bytes;
        }
    }
    return 0;
}

static bool co_measure(const struct qapi_blockdev_create_options_qcow2 *o,
                       struct block_node *source, uint64_t size, uint64_t *required, uint64_t *full,
                       GError **error)
{
    uint64_t cluster_size = o->has_cluster_size ? o->cluster_size : 65536, needed = 0;
    unsigned refcount_bits = o->has_refcount_bits ? o->refcount_bits : 16;
    unsigned entry_size = o->has_extended_l2 && o->extended_l2 ? 16 : 8;
    int ret = 0;

    if (!qcow2_check_create_options(o, error)) {
        return false;
    }
    size = source ? source->length : size;
    if (size > INT64_MAX - cluster_size ||
        size / cluster_size / (cluster_size / entry_size) > QCOW2_MAX_L1_BYTES / sizeof(uint64_t)) {
        return block_error(error, "The image size is too large (try using a larger cluster size)");
    }
    size = round_up(size, cluster_size);
    if (source && o->backing_file) {
        needed = size; /* how much of it the backing file has isn't known */
    } else if (source) {
        ret = co_needed(source, cluster_size, &needed);
    }
    if (ret < 0) {
        return block_error_errno(error, ret, "Unable to get block status");
    }
    if (o->has_preallocation && (o->preallocation == QAPI_PREALLOC_MODE_FULL ||
                                 o->preallocation == QAPI_PREALLOC_MODE_FALLOC)) {
        needed = size;
    }
    *full = full_size(size, cluster_size, refcount_bits, entry_size) +
            qcow2_crypto_overhead(o->encrypt, cluster_size);
    *required = *full - size + needed;
    return true;
}

bool co_qcow2_measure(json_object *options, struct block_node *source, uint64_t size,
                      uint64_t *required, uint64_t *fully_allocated, uint64_t *bitmaps,
                      GError **error)
{
    struct qapi_blockdev_create_options all = {0};
    uint64_t cluster_size;
    bool ok;

    if (!co_qcow2_create_prepare(NULL, NULL, options, error) || !parse(options, &all, error)) {
        return false;
    }
    cluster_size = all.u.qcow2.has_cluster_size ? all.u.qcow2.cluster_size : 65536;
    ok = co_measure(&all.u.qcow2, source, size, required, fully_allocated, error);
    if (ok && source &&
        !(all.u.qcow2.has_version && all.u.qcow2.version == QAPI_BLOCKDEV_QCOW2_VERSION_V2)) {
        ok = co_qcow2_measure_bitmaps(source, cluster_size, bitmaps, error);
    }
    qapi_clear(&qapi_type_blockdev_create_options, &all);
    return ok;
}
