/* New images, and images that get another size. */
#include "block/qcow2.h"

#include "object/object.h"

enum { DEFAULT_CLUSTER = 65536, N_FIRST_CLUSTERS = 3 }; /* header, refcount table, refcount block */

const struct block_create_option qcow2_create_options[] = {
    {"backing_file", "backing-file", "str", "File name of a base image", NULL, true},
    {"backing_fmt", "backing-fmt", "str", "Image format of the base image", NULL, true},
    {"cluster_size", "cluster-size", "size", "qcow2 cluster size", "65536", false},
    {"compat", "version", "str", "Compatibility level (v2 [0.10] or v3 [1.1])", "1.1", true},
    {"compression_type", "compression-type", "str",
     "Compression method used for image cluster compression", "zlib", false},
    {"data_file", "data-file", "str", "File name of an external data file", NULL, true},
    {"data_file_raw", "data-file-raw", "bool (on/off)",
     "The external data file must stay valid as a raw image", "off", true},
    {"encrypt.cipher-alg", NULL, "str", "Name of encryption cipher algorithm", NULL, false},
    {"encrypt.cipher-mode", NULL, "str", "Name of encryption cipher mode", NULL, false},
    {"encrypt.format", NULL, "str", "Encrypt the image, format choices: 'aes', 'luks'", NULL,
     false},
    {"encrypt.hash-alg", NULL, "str", "Name of encryption hash algorithm", NULL, false},
    {"encrypt.iter-time", NULL, "num", "Time to spend in PBKDF in milliseconds", NULL, false},
    {"encrypt.ivgen-alg", NULL, "str", "Name of IV generator algorithm", NULL, false},
    {"encrypt.ivgen-hash-alg", NULL, "str", "Name of IV generator hash algorithm", NULL, false},
    {"encrypt.key-secret", NULL, "str", "ID of secret providing qcow AES key or LUKS passphrase",
     NULL, false},
    {"encryption", NULL, "bool (on/off)",
     "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)", NULL,
     false},
    {"extended_l2", "extended-l2", "bool (on/off)", "Extended L2 tables", "off", false},
    {"lazy_refcounts", "lazy-refcounts", "bool (on/off)", "Postpone refcount updates", "off", true},
    {"preallocation", NULL, "str",
     "Preallocation mode (allowed values: off, metadata, falloc, full)", "off", false},
    {"refcount_bits", "refcount-bits", "num", "Width of a reference count entry in bits", "16",
     true},
    {"size", NULL, "size", "Virtual disk size", NULL, true},
    {0},
};

/* ---- What a header for these options is ---- */

static bool check_cluster_size(uint64_t size, bool extended, GError **error)
{
    if (size & (size - 1) || size < 1u << QCOW2_MIN_CLUSTER_BITS ||
        size > 1u << QCOW2_MAX_CLUSTER_BITS) {
        return block_error(error, "Cluster size must be a power of two between %d and %dk",
                      1 << QCOW2_MIN_CLUSTER_BITS, 1 << (QCOW2_MAX_CLUSTER_BITS - 10));
    }
    if (extended && size < 16384) {
        return block_error(
            error,
            "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
    }
    return true;
}

static bool check_version_3(const struct qapi_blockdev_create_options_qcow2 *o, GError **error)
{
    if (o->has_version && o->version == QAPI_BLOCKDEV_QCOW2_VERSION_V2) {
        if (o->has_lazy_refcounts && o->lazy_refcounts) {
            return block_error(
                error,
                "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 "
                "or greater)");
        }
        if (o->has_refcount_bits && o->refcount_bits != 16) {
            return block_error(
                error,
                "Different refcount widths than 16 bits require compatibility level 1.1 or above (use "
                "version=v3 or greater)");
        }
        if (o->has_compression_type && o->compression_type != QAPI_QCOW2_COMPRESSION_TYPE_ZLIB) {
            return block_error(
                error,
                "Non-zlib compression type is only supported with compatibility level 1.1 and above "
                "(use version=v3 or greater)");
        }
        if (o->has_extended_l2 && o->extended_l2) {
            return block_error(
                error,
                "Extended L2 entries are only supported with compatibility level 1.1 and above (use "
                "version=v3 or greater)");
        }
        if (o->data_file) {
            return block_error(
                error,
                "External data files are only supported with compatibility level 1.1 and above (use "
                "version=v3 or greater)");
        }
    }
    return true;
}

static bool check_combinations(const struct qapi_blockdev_create_options_qcow2 *o, GError **error)
{
    bool preallocates = o->has_preallocation && o->preallocation != QAPI_PREALLOC_MODE_OFF;

    if (o->has_refcount_bits && (o->refcount_bits < 1 || o->refcount_bits > 64 ||
                                 o->refcount_bits & (o->refcount_bits - 1))) {
        return block_error(error, "Refcount width must be a power of two and may not exceed 64 bits");
    }
    if (o->has_backing_fmt && !o->backing_file) {
        return block_error(error, "Backing format cannot be used without backing file");
    }
    if (preallocates && o->backing_file && !(o->has_extended_l2 && o->extended_l2)) {
        return block_error(
            error,
            "Backing file and preallocation can only be used at the same time if extended_l2 is "
            "enabled");
    }
    if (o->has_data_file_raw && o->data_file_raw && !o->data_file) {
        return block_error(error, "data-file-raw requires data-file");
    }
    if (o->has_data_file_raw && o->data_file_raw && o->backing_file) {
        return block_error(error, "Backing file and data-file-raw cannot be used at the same time");
    }
    return true;
}

bool qcow2_check_create_options(const struct qapi_blockdev_create_options_qcow2 *o, GError **error)
{
    uint64_t cluster = o->has_cluster_size ? o->cluster_size : DEFAULT_CLUSTER;

    return check_cluster_size(cluster, o->has_extended_l2 && o->extended_l2, error) &&
           check_version_3(o, error) && check_combinations(o, error);
}

static bool make_header(struct qcow2_header *h, const struct qapi_blockdev_create_options_qcow2 *o,
                        const char *data_file, GError **error)
{
    uint64_t cluster = o->has_cluster_size ? o->cluster_size : DEFAULT_CLUSTER;
    bool extended = o->has_extended_l2 && o->extended_l2;

    if (!qcow2_check_create_options(o, error)) {
        return false;
    }
    *h = (struct qcow2_header){
        .version = o->has_version && o->version == QAPI_BLOCKDEV_QCOW2_VERSION_V2 ? 2 : 3,
        .cluster_bits = g_bit_storage(cluster) - 1,
        .reftable_offset = cluster,
        .reftable_clusters = 1,
        .refcount_order = o->has_refcount_bits ? g_bit_storage(o->refcount_bits) - 1 : 4,
        .compatible = o->has_lazy_refcounts && o->lazy_refcounts ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0,
        .incompatible = extended ? QCOW2_INCOMPAT_EXTL2 : 0,
        .backing_file = g_strdup(o->backing_file),
        .data_file = g_strdup(data_file),
    };
    if (o->has_backing_fmt) {
        h->backing_format = g_strdup(qapi_enum_name(&qapi_type_blockdev_driver, o->backing_fmt));
    }
    if (o->has_compression_type && o->compression_type == QAPI_QCOW2_COMPRESSION_TYPE_ZSTD) {
        h->compression = QCOW2_ZSTD;
        h->incompatible |= QCOW2_INCOMPAT_COMPRESSION;
    }
    if (o->data_file) {
        h->incompatible |= QCOW2_INCOMPAT_DATA_FILE;
        h->autoclear |=
            o->has_data_file_raw && o->data_file_raw ? QCOW2_AUTOCLEAR_DATA_FILE_RAW : 0;
    }
    return true;
}

/* ---- An image of no size ---- */

/* The counts of its clusters: 1 each. */
static void fill_counts(uint8_t *block, unsigned order)
{
    unsigned i, bits = 1u << order;

    for (i = 0; i < N_FIRST_CLUSTERS; i++) {
        if (bits < 8) {
            block[i * bits / 8] |= 1 << i * bits % 8;
        } else {
            block[(i + 1) * (bits / 8) - 1] = 1;
        }
    }
}

static bool co_write_first_clusters(struct block_user *user, const struct qcow2_header *h,
                                    GError **error)
{
    uint64_t cluster = 1ull << h->cluster_bits;
    g_autoptr(GByteArray) header = qcow2_format_header(h, error);
    g_autofree uint8_t *first = g_malloc0(N_FIRST_CLUSTERS * cluster);
    uint64_t block = GUINT64_TO_BE(2 * cluster);
    int ret;

    if (!header) {
        return false;
    }
    memcpy(first, header->data, header->len);
    memcpy(first + cluster, &block, sizeof(block));
    fill_counts(first + 2 * cluster, h->refcount_order);
    ret = co_block_truncate(user, 0, false, QAPI_PREALLOC_MODE_OFF, 0, error) ? -EIO : 0;
    if (ret < 0) {
        return false;
    }
    ret =
        co_block_truncate(user, N_FIRST_CLUSTERS * cluster, false, QAPI_PREALLOC_MODE_OFF, 0, error)
            ? -EIO
            : 0;
    if (ret < 0) {
        return false;
    }
    ret = co_block_write(user, 0, N_FIRST_CLUSTERS * cluster,
                         BLOCK_BUFFER(first, N_FIRST_CLUSTERS * cluster), 0);
    return ret < 0 ? block_error_errno(error, ret, "Could not write qcow2 header") : true;
}

static struct block_node *co_open_ref(struct block_graph *graph,
                                      const struct qapi_blockdev_ref *ref, GError **error)
{
    struct block_node *node;

    if (ref->kind == QAPI_BLOCKDEV_REF_KIND_DEFINITION) {
        return co_block_open(graph, &ref->u.definition, 0, error);
    }
    node = block_node_find(graph, ref->u.reference, error);
    return node ? block_node_ref(node) : NULL;
}

static bool co_make_empty(struct block_graph *graph, struct block_node *file,
                          const struct qcow2_header *h, GError **error)
{
    auto_ptr(block_user) user = block_user_new(graph, "qcow2 create", NULL, NULL);

    return block_user_attach(user, file, BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE, BLOCK_PERM_ALL,
                             error) &&
           co_write_first_clusters(user, h, error);
}

/* Opens the empty image and gives it its size. */
static bool co_give_size(struct block_graph *graph, struct block_node *file,
                         struct block_node *data,
                         const struct qapi_blockdev_create_options_qcow2 *o, GError **error)
{
    auto_ptr(block_user) user = block_user_new(graph, "qcow2 create", NULL, NULL);
    struct qapi_blockdev_options options = {.driver = QAPI_BLOCKDEV_DRIVER_QCOW2};
    struct qapi_blockdev_ref file_ref = {.kind = QAPI_BLOCKDEV_REF_KIND_REFERENCE,
                                         .u.reference = file->name};
    struct qapi_blockdev_ref data_ref = {.kind = QAPI_BLOCKDEV_REF_KIND_REFERENCE};
    struct block_node *node;
    bool ok;

    options.u.qcow2.file = &file_ref;
    if (data) {
        data_ref.u.reference = data->name;
        options.u.qcow2.data_file = &data_ref;
    }
    node = co_block_open(graph, &options, BLOCK_OPEN_NO_BACKING, error);
    if (!node) {
        return false;
    }
    ok = block_user_attach(user, node, BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE, BLOCK_PERM_ALL,
                           error) &&
         (!o->encrypt || co_qcow2_create_crypto(node->state, o->encrypt, error)) &&
         co_block_truncate(user, o->size, false,
                           o->has_preallocation ? o->preallocation : QAPI_PREALLOC_MODE_OFF, 0,
                           error) == 0;
    if (ok && co_block_flush(user) < 0) {
        ok = block_error(error, "Could not flush the new image");
    }
    block_user_detach(user);
    co_block_node_unref(node);
    return ok;
}

bool co_qcow2_create(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                     GError **error)
{
    const struct qapi_blockdev_create_options_qcow2 *o = &options->u.qcow2;
    struct qcow2_header header = {0};
    struct block_node *file, *data = NULL;
    bool ok;

    if (o->size > INT64_MAX || o->size % 512) {
        return block_error(error, o->size % 512 ? "Image size must be a multiple of 512 bytes"
                                           : "Image size is too large");
    }
    file = co_open_ref(graph, o->file, error);
    if (!file) {
        return false;
    }
    ok = true;
    if (o->data_file) {
        data = co_open_ref(graph, o->data_file, error);
        ok = data != NULL;
    }
    ok = ok && make_header(&header, o, data ? data->filename : NULL, error) &&
         co_make_empty(graph, file, &header, error) && co_give_size(graph, file, data, o, error);
    qcow2_header_clear(&header);
    co_block_node_unref(data);
    co_block_node_unref(file);
    return ok;
}

/* ---- Size ---- */

/* Space in the file for new clusters, in which nobody has looked yet. */
static int co_make_space(struct qcow2 *q, struct qcow2_allocation *a,
                         enum qapi_prealloc_mode prealloc, GError **error)
{
    uint64_t end = a->host + a->bytes;
    int ret = 0;

    if (!a->fresh) {
        ret = co_child_write_zeroes(q->data, a->host, a->bytes, 0);
        a->copied = true;
    }
    /* Before tables that come behind them make the file longer, by which there would be holes. */
    if (ret == 0 && prealloc != QAPI_PREALLOC_MODE_METADATA && end > q->data->node->length) {
        return co_child_truncate(q->data, end, false, prealloc, 0, error);
    }
    return ret < 0 ? block_error_errno(error, ret, "Could not zero the new clusters"), ret : 0;
}

/* Host clusters for the range, which hold nothing yet. */
static int co_preallocate(struct qcow2 *q, uint64_t offset, uint64_t end,
                          enum qapi_prealloc_mode prealloc, GError **error)
{
    while (offset < end) {
        struct qcow2_allocation *a;
        uint64_t bytes = end - offset, host;
        int ret = co_qcow2_prepare_write(q, offset, &bytes, &host, &a), result;

        if (ret == 0 && a) {
            ret = q->data == q->file ? co_make_space(q, a, prealloc, error) : 0;
            /* All subclusters count as unallocated still: what is below shows through until they
             * are written. */
            a->reserve_only = q->subclusters > 1;
            result = co_qcow2_finish_write(q, a, ret == 0);
            if (ret < 0) {
                return ret;
            }
            ret = result;
        }
        if (ret < 0) {
            block_error_errno(error, ret, "Could not preallocate metadata");
            return ret;
        }
        offset += bytes;
    }
    return 0;
}

/* The file is as long as what is allocated in it, with the space that the mode asks for. */
static int co_extend_file(struct qcow2 *q, uint64_t size, enum qapi_prealloc_mode prealloc,
                          GError **error)
{
    uint64_t end = size;
    int ret;

    if (q->data == q->file) {
        ret = co_qcow2_end(q, &end);
        if (ret < 0) {
            return block_error_errno(error, ret, "Could not find the end of the image"), ret;
        }
    }
    if (prealloc == QAPI_PREALLOC_MODE_METADATA) {
        prealloc = QAPI_PREALLOC_MODE_OFF;
    }
    if (end <= q->data->node->length && prealloc == QAPI_PREALLOC_MODE_OFF) {
        return 0;
    }
    return co_child_truncate(q->data, MAX(end, q->data->node->length), false, prealloc, 0, error);
}

/* One write of the header says how large the image is, and where bitmaps of that size are. */
static int co_set_size(struct qcow2 *q, uint64_t size, GError **error)
{
    struct qcow2_header old = q->header;
    struct qcow2_bitmaps_change *bitmaps = NULL;
    int ret;

    if (size != old.size && old.n_bitmaps) {
        bitmaps = co_qcow2_bitmaps_change(q, size, false, error);
        if (!bitmaps) {
            return -EIO;
        }
    }
    q->header.size = size;
    ret = co_qcow2_write_header(q);
    if (ret < 0) {
        q->header = old;
        block_error_errno(error, ret, "Failed to update the image size");
    } else {
        q->node->length = size;
    }
    if (bitmaps) {
        qcow2_bitmaps_changed(q, bitmaps, ret == 0);
    }
    return ret;
}

static int co_grow(struct qcow2 *q, uint64_t size, enum qapi_prealloc_mode prealloc, GError **error)
{
    uint64_t old = q->header.size, below = q->node->backing ? q->node->backing->node->length : 0,
             start;
    int ret = co_qcow2_grow_l1(q, qcow2_l1_entries(q, size), true);

    if (ret < 0) {
        block_error_errno(error, ret, "Failed to grow the L1 table");
        return ret;
    }
    /* What the backing image has there was never part of this one. */
    start = (old + q->subcluster_size - 1) & ~(q->subcluster_size - 1);
    if (below > old && start < size) {
        ret = co_qcow2_zero(
            q, start, MIN(((below + q->cluster_size - 1) & ~(q->cluster_size - 1)), size) - start,
            0);
        if (ret < 0) {
            block_error_errno(error, ret, "Failed to zero out the new area");
            return ret;
        }
    }
    if (q->data != q->file) {
        ret = co_extend_file(q, size, prealloc, error);
        if (ret < 0) {
            return ret;
        }
    }
    if (prealloc != QAPI_PREALLOC_MODE_OFF) {
        ret = co_preallocate(q, old - qcow2_in_cluster(q, old), size, prealloc, error);
        if (ret < 0) {
            return ret;
        }
        if (q->data == q->file) {
            ret = co_extend_file(q, size, prealloc, error);
            if (ret < 0) {
                return ret;
            }
        }
    }
    /* What hides old data behind the old end is on the disk before they come to be in the image. */
    ret = co_qcow2_write_back(q);
    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    if (ret < 0) {
        block_error_errno(error, ret, "Could not write metadata");
        return ret;
    }
    return co_set_size(q, size, error);
}

static int co_shrink(struct qcow2 *q, uint64_t size, GError **error)
{
    uint64_t first = (size + q->cluster_size - 1) & ~(q->cluster_size - 1);
    uint64_t old_end = (q->header.size + q->cluster_size - 1) & ~(q->cluster_size - 1), end;
    int ret = 0;

    if (first < old_end) {
        ret = co_qcow2_unmap(q, first, old_end - first, QCOW2_DISCARD_ALWAYS, true);
    }
    if (ret < 0) {
        block_error_errno(error, ret, "Failed to discard cropped clusters");
        return ret;
    }
    co_qcow2_drop_l2(q, qcow2_l1_entries(q, size));
    ret = co_set_size(q, size, error);
    if (ret < 0) {
        return ret;
    }
    ret = co_qcow2_settle(q);
    if (ret == 0 && q->data == q->file) {
        ret = co_qcow2_end(q, &end);
    }
    if (ret < 0) {
        block_error_errno(error, ret, "Failed to give back cropped clusters");
        return ret;
    }
    if (q->data != q->file) {
        return co_child_truncate(q->data, size, false, QAPI_PREALLOC_MODE_OFF, 0, error);
    }
    /* That the file keeps its length harms nobody. */
    if (end < q->file->node->length) {
        co_child_truncate(q->file, end, false, QAPI_PREALLOC_MODE_OFF, 0, NULL);
        q->fresh_from = MIN(q->fresh_from, end);
        q->data_unflushed =
            true; /* that it reads as zeroes there comes before L2 says anything of it */
    }
    return 0;
}

/* What the last cluster, or the backing image below it, has behind the old end becomes visible: it
 * has to be zeroes. */
static int co_clear_tail(struct qcow2 *q, uint64_t size)
{
    uint64_t old = q->header.size,
             end = MIN(size, (old + q->cluster_size - 1) & ~(q->cluster_size - 1));
    g_autofree uint8_t *zeroes = NULL;

    if (old >= end || co_qcow2_reads_zero(q, old, end - old)) {
        return 0;
    }
    zeroes = g_malloc0(end - old);
    return co_qcow2_write(q->node, old, end - old, BLOCK_BUFFER(zeroes, end - old), 0);
}

int co_qcow2_truncate(struct block_node *node, uint64_t size, bool exact,
                      enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    struct qcow2 *q = node->state;
    int ret;

    (void)exact;
    (void)flags;
    if (size % 512) {
        block_error(error, "The new size must be a multiple of 512");
        return -EINVAL;
    }
    if (size < q->header.size && prealloc != QAPI_PREALLOC_MODE_OFF) {
        block_error(error, "Preallocation can't be used for shrinking an image");
        return -EINVAL;
    }
    ret = co_clear_tail(q, size);
    if (ret < 0) {
        block_error_errno(error, ret, "Failed to zero out the new area");
        return ret;
    }
    co_qcow2_bitmaps_lock(q);
    co_mutex_lock(&q->lock);
    q->data_unflushed = true; /* the zeroes, and what was cut off before */
    q->write_generation++;
    if (q->header.version < 3 && q->header.n_snapshots && size != q->header.size) {
        block_error(error, "Can't resize a version 2 image which has snapshots");
        ret = -ENOTSUP;
    } else if (!qcow2_bitmaps_can_change(q, size, error)) {
        ret = -ENOTSUP;
    } else if (size < q->header.size) {
        ret = co_shrink(q, size, error);
    } else {
        ret = co_grow(q, size, prealloc, error);
    }
    co_mutex_unlock(&q->lock);
    qcow2_bitmaps_unlock(q);
    return ret;
}
