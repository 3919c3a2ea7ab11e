/* Reference counts (spec, "Host cluster management"). */
#include "block/qcow2.h"

#include <string.h>

/* Offsets of clusters have 56 bits. */
#define MAX_CLUSTER(q) ((QCOW2_OFFSET_MASK >> (q)->cluster_bits) + 1)

/* ---- One count in a block; widths of less than a byte begin at its least significant bit ---- */

uint64_t qcow2_get_count(const struct qcow2 *q, const void *block, uint64_t i)
{
    const uint8_t *bytes = block;

    switch (q->refcount_bits) {
    case 64: return GUINT64_FROM_BE(((const uint64_t *)block)[i]);
    case 32: return GUINT32_FROM_BE(((const uint32_t *)block)[i]);
    case 16: return GUINT16_FROM_BE(((const uint16_t *)block)[i]);
    case 8: return bytes[i];
    default: return bytes[i * q->refcount_bits / 8] >> i * q->refcount_bits % 8 & q->refcount_max;
    }
}

void qcow2_set_count(const struct qcow2 *q, void *block, uint64_t i, uint64_t count)
{
    uint8_t *bytes = block;
    unsigned shift;

    switch (q->refcount_bits) {
    case 64: ((uint64_t *)block)[i] = GUINT64_TO_BE(count); return;
    case 32: ((uint32_t *)block)[i] = GUINT32_TO_BE(count); return;
    case 16: ((uint16_t *)block)[i] = GUINT16_TO_BE(count); return;
    case 8: bytes[i] = count; return;
    default:
        shift = i * q->refcount_bits % 8;
        bytes += i * q->refcount_bits / 8;
        *bytes = (*bytes & ~(q->refcount_max << shift)) | count << shift;
    }
}

/* ---- Blocks ---- */

static uint64_t block_mask(const struct qcow2 *q)
{
    return (1ull << q->refblock_bits) - 1;
}

bool co_qcow2_read_reftable(struct qcow2 *q, GError **error)
{
    uint64_t bytes = (uint64_t)q->header.reftable_clusters << q->cluster_bits, i;
    int ret;

    q->reftable_size = bytes / sizeof(uint64_t);
    q->reftable = g_try_malloc(bytes);
    if (!q->reftable) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM,
                    "There is no memory for a refcount table of %" PRIu64 " bytes", bytes);
        return false;
    }
    co_qcow2_event(q, REFTABLE_LOAD);
    ret = co_child_read(q->file, q->header.reftable_offset, bytes, BLOCK_BUFFER(q->reftable, bytes),
                        0);
    if (ret < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-ret),
                    "Could not read refcount table: %s", g_strerror(-ret));
        return false;
    }
    for (i = 0; i < q->reftable_size; i++) {
        q->reftable[i] = GUINT64_FROM_BE(q->reftable[i]);
    }
    return true;
}

/* The block of the counts of clusters k << refblock_bits and on: NULL if there is none, which means
 * 0. */
static int co_get_block(struct qcow2 *q, uint64_t k, void **block)
{
    uint64_t entry = k < q->reftable_size ? q->reftable[k] : 0;

    *block = NULL;
    if (!(entry & QCOW2_REFTABLE_MASK)) {
        return 0;
    }
    if (entry & ~QCOW2_REFTABLE_MASK || qcow2_in_cluster(q, entry)) {
        return co_qcow2_corrupt(q, true, -1, -1,
                                "Refblock offset %#" PRIx64 " unaligned (reftable index: %#" PRIx64
                                ")",
                                entry, k);
    }
    return co_qcow2_cache_get(q->refcount_cache, entry, block);
}

static void put_block(struct qcow2 *q, void *block)
{
    if (block) {
        qcow2_cache_put(q->refcount_cache, block);
    }
}

int co_qcow2_refcount(struct qcow2 *q, uint64_t i, uint64_t *count)
{
    void *block;
    int ret = co_get_block(q, i >> q->refblock_bits, &block);

    if (ret < 0) {
        return ret;
    }
    *count = block ? qcow2_get_count(q, block, i & block_mask(q)) : 0;
    put_block(q, block);
    return 0;
}

/* Whether clusters i to i + n - 1 can be counted so many more times: 0, or -ERANGE. */
static int co_check_add(struct qcow2 *q, uint64_t i, uint64_t n, uint64_t add)
{
    uint64_t count;
    int ret;

    for (; n; i++, n--) {
        ret = co_qcow2_refcount(q, i, &count);
        if (ret < 0) {
            return ret;
        }
        if (add > q->refcount_max - count) {
            return -ERANGE;
        }
    }
    return 0;
}

int co_qcow2_refcount_add(struct qcow2 *q, uint64_t i, uint64_t n, uint64_t add)
{
    int ret = co_check_add(q, i, n, add);
    void *block;

    while (ret == 0 && n) {
        uint64_t in_block = i & block_mask(q);
        uint64_t here = MIN(n, (1ull << q->refblock_bits) - in_block), j;

        ret = co_get_block(q, i >> q->refblock_bits, &block);
        if (ret < 0) {
            break;
        }
        if (!block) {
            return co_qcow2_corrupt(q, true, i << q->cluster_bits, q->cluster_size,
                                    "Cluster %#" PRIx64 " is in use and has no reference count",
                                    i << q->cluster_bits);
        }
        qcow2_cache_dirty(q->refcount_cache, block);
        for (j = in_block; j < in_block + here; j++) {
            qcow2_set_count(q, block, j, qcow2_get_count(q, block, j) + add);
        }
        put_block(q, block);
        i += here;
        n -= here;
    }
    return ret;
}

/* ---- Allocation ---- */

/* The first run of n free clusters from number i on. */
static int co_find_run(struct qcow2 *q, uint64_t i, uint64_t n, uint64_t *run)
{
    uint64_t start = i;
    void *block;
    int ret;

    while (i - start < n) {
        uint64_t in_block = i & block_mask(q), j;

        if (start + n > MAX_CLUSTER(q)) {
            return -EFBIG;
        }
        ret = co_get_block(q, i >> q->refblock_bits, &block);
        if (ret < 0) {
            return ret;
        }
        for (j = in_block; j <= block_mask(q) && block && i - start < n; j++, i++) {
            if (qcow2_get_count(q, block, j)) {
                start = i + 1;
            }
        }
        if (!block) {
            i += block_mask(q) + 1 - in_block;
        }
        put_block(q, block);
    }
    *run = start;
    return 0;
}

/* How many blocks are missing for the counts of clusters i to i + n - 1. */
static uint64_t missing_blocks(const struct qcow2 *q, uint64_t i, uint64_t n)
{
    uint64_t k, missing = 0;

    for (k = i >> q->refblock_bits; k <= (i + n - 1) >> q->refblock_bits; k++) {
        missing += k >= q->reftable_size || !(q->reftable[k] & QCOW2_REFTABLE_MASK);
    }
    return missing;
}

/* Finds n free clusters with room behind them for the blocks that their counts need: *blocks
 * clusters. */
static int co_find_with_blocks(struct qcow2 *q, uint64_t from, uint64_t n, uint64_t *run,
                               uint64_t *blocks)
{
    int ret;

    for (*blocks = 0;;) {
        uint64_t missing;

        ret = co_find_run(q, from, n + *blocks, run);
        if (ret < 0) {
            return ret;
        }
        missing = missing_blocks(q, *run, n + *blocks);
        if (missing > *blocks) {
            *blocks = missing;
            continue;
        }
        /* A longer run that was found elsewhere may need fewer. */
        for (; missing < *blocks; missing = missing_blocks(q, *run, n + *blocks)) {
            *blocks = missing;
        }
        return 0;
    }
}

/* Makes the blocks that are missing for clusters i to i + n - 1, at clusters at and following.
 * reftable is large enough, and gets them. */
static int co_make_blocks(struct qcow2 *q, uint64_t *reftable, uint64_t i, uint64_t n, uint64_t at)
{
    uint64_t k;
    void *block;
    int ret;

    co_qcow2_event(q, REFBLOCK_ALLOC);
    for (k = i >> q->refblock_bits; k <= (i + n - 1) >> q->refblock_bits; k++) {
        if (reftable[k] & QCOW2_REFTABLE_MASK) {
            continue;
        }
        ret = co_qcow2_cache_get_empty(q->refcount_cache, at << q->cluster_bits, &block);
        if (ret < 0) {
            return ret;
        }
        put_block(q, block);
        reftable[k] = at++ << q->cluster_bits;
        qcow2_metadata_add(q, reftable[k], 1, QCOW2_META_REFBLOCK);
        if (reftable != q->reftable) {
            continue;
        }
        q->reftable_dirty_first = q->reftable_dirty ? MIN(q->reftable_dirty_first, k) : k;
        q->reftable_dirty_last = q->reftable_dirty ? MAX(q->reftable_dirty_last, k) : k;
        q->reftable_dirty = true;
    }
    return 0;
}

/* The new table is on the disk: the header leads to it. */
static int co_switch_reftable(struct qcow2 *q, uint64_t offset, uint32_t clusters)
{
    uint64_t old_offset = q->header.reftable_offset;
    uint32_t old_clusters = q->header.reftable_clusters;
    int ret;

    q->header.reftable_offset = offset;
    q->header.reftable_clusters = clusters;
    co_qcow2_event(q, REFBLOCK_ALLOC_SWITCH_TABLE);
    ret = co_qcow2_write_header(q);
    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    if (ret < 0) {
        q->header.reftable_offset = old_offset;
        q->header.reftable_clusters = old_clusters;
        return ret;
    }
    qcow2_metadata_add(q, offset, (uint64_t)clusters << q->cluster_bits, QCOW2_META_REFTABLE);
    qcow2_free(q, old_offset, (uint64_t)old_clusters << q->cluster_bits, QCOW2_DISCARD_OTHER);
    return 0;
}

/* A larger table, with room for counts up to cluster number last: it and the blocks of its own
 * counts are a run. */
static int co_grow_reftable(struct qcow2 *q, uint64_t last)
{
    uint64_t entries = (last >> q->refblock_bits) + 1, clusters, blocks, run,
             old_size = q->reftable_size, i, bytes;
    uint64_t *old = q->reftable, *table;
    g_autofree uint64_t *big = NULL;
    int ret;

    /* Half as much again, and what it needs itself; the run is further back than last at most by
     * these. */
    entries += entries / 2 + 64;
    clusters = qcow2_clusters(q, entries * sizeof(uint64_t));
    if (clusters << q->cluster_bits > QCOW2_MAX_REFTABLE_BYTES) {
        clusters = QCOW2_MAX_REFTABLE_BYTES >> q->cluster_bits;
    }
    co_qcow2_event(q, REFTABLE_GROW);
    ret = co_find_with_blocks(q, q->free_hint, clusters, &run, &blocks);
    if (ret < 0) {
        return ret;
    }
    bytes = clusters << q->cluster_bits;
    entries = bytes / sizeof(uint64_t);
    if ((run + clusters + blocks - 1) >> q->refblock_bits >= entries ||
        last >> q->refblock_bits >= entries) {
        return -EFBIG;
    }
    table = g_try_malloc0(bytes);
    big = g_try_malloc(bytes);
    if (!table || !big) {
        g_free(table);
        return -ENOMEM;
    }
    memcpy(table, old, MIN(old_size, entries) * sizeof(uint64_t));
    ret = co_make_blocks(q, table, run, clusters + blocks, run + clusters);
    if (ret == 0) {
        for (i = 0; i < entries; i++) {
            big[i] = GUINT64_TO_BE(table[i]);
        }
        q->reftable = table;
        q->reftable_size = entries;
        ret = co_qcow2_refcount_add(q, run, clusters + blocks, 1);
    }
    if (ret == 0) {
        co_qcow2_event(q, REFBLOCK_ALLOC_WRITE_BLOCKS);
        ret = co_qcow2_cache_write(q->refcount_cache);
    }
    if (ret == 0) {
        co_qcow2_event(q, REFBLOCK_ALLOC_WRITE_TABLE);
        ret = co_child_write(q->file, run << q->cluster_bits, bytes, BLOCK_BUFFER(big, bytes), 0);
    }
    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    if (ret == 0) {
        ret = co_switch_reftable(q, run << q->cluster_bits, clusters);
    }
    if (ret < 0) {
        /* Blocks of the run were only referred to by the new table. */
        qcow2_cache_forget(q->refcount_cache, (run + clusters) << q->cluster_bits,
                           blocks << q->cluster_bits);
        q->reftable = old;
        q->reftable_size = old_size;
        g_free(table);
        return ret;
    }
    q->reftable_dirty = false; /* all of it was written */
    g_free(old);
    return 0;
}

int64_t co_qcow2_allocate(struct qcow2 *q, uint64_t bytes)
{
    uint64_t n = qcow2_clusters(q, bytes), run, blocks;
    int ret;

    if (q->broken) {
        return -EIO;
    }
    co_qcow2_event(q, CLUSTER_ALLOC);
    for (;;) {
        ret = co_find_with_blocks(q, q->free_hint, n, &run, &blocks);
        if (ret < 0) {
            return ret;
        }
        if ((run + n + blocks - 1) >> q->refblock_bits < q->reftable_size) {
            break;
        }
        ret = co_grow_reftable(q, run + n + blocks - 1);
        if (ret < 0) {
            return ret;
        }
    }
    if (!run) {
        return co_qcow2_corrupt(q, true, 0, q->cluster_size,
                                "The header has a reference count of 0");
    }
    if (blocks) {
        ret = co_make_blocks(q, q->reftable, run, n + blocks, run + n);
        if (ret < 0) {
            return ret;
        }
    }
    ret = co_qcow2_refcount_add(q, run, n + blocks, 1);
    if (ret < 0) {
        return ret;
    }
    /* Smaller holes before the run are left for who needs less. */
    if (n == 1 || run == q->free_hint) {
        q->free_hint = run + n + blocks;
    }
    return run << q->cluster_bits;
}

int64_t co_qcow2_allocate_at(struct qcow2 *q, uint64_t offset, uint64_t n)
{
    uint64_t i = offset >> q->cluster_bits, k, count;
    int ret;

    for (k = 0; k < n && i + k < MAX_CLUSTER(q); k++) {
        if (missing_blocks(q, i + k, 1)) {
            break;
        }
        ret = co_qcow2_refcount(q, i + k, &count);
        if (ret < 0) {
            return ret;
        }
        if (count) {
            break;
        }
    }
    if (k) {
        ret = co_qcow2_refcount_add(q, i, k, 1);
        if (ret < 0) {
            return ret;
        }
    }
    return k;
}

int64_t co_qcow2_allocate_bytes(struct qcow2 *q, uint64_t bytes)
{
    uint64_t room =
                 q->compressed_next ? q->cluster_size - qcow2_in_cluster(q, q->compressed_next) : 0,
             cluster;
    int64_t ret, offset = q->compressed_next;

    g_assert(bytes && bytes <= q->cluster_size);
    co_qcow2_event(q, CLUSTER_ALLOC_BYTES);
    cluster = offset >> q->cluster_bits;
    if (room && room < bytes) {
        /* On into the next cluster, if it is free. Both count it. */
        ret = co_check_add(q, cluster, 1, 1);
        if (ret == 0) {
            ret = co_qcow2_allocate_at(q, (cluster + 1) << q->cluster_bits, 1);
            if (ret < 0) {
                return ret;
            }
            room += ret ? q->cluster_size : 0;
        }
    }
    if (room >= bytes) {
        ret = co_qcow2_refcount_add(q, cluster, 1, 1);
        if (ret < 0 && ret != -ERANGE) {
            return ret;
        }
        room = ret < 0 ? 0 : room;
    }
    if (room < bytes) {
        offset = co_qcow2_allocate(q, q->cluster_size);
        if (offset < 0) {
            return offset;
        }
    }
    q->compressed_next = qcow2_in_cluster(q, offset + bytes) ? offset + bytes : 0;
    return offset;
}

/* ---- Release ---- */

static bool discards(const struct qcow2 *q, enum qcow2_discard kind)
{
    switch (kind) {
    case QCOW2_DISCARD_NEVER: return false;
    case QCOW2_DISCARD_ALWAYS: return true;
    default: return q->discard_passthrough[kind - QCOW2_DISCARD_REQUEST];
    }
}

void qcow2_free(struct qcow2 *q, uint64_t offset, uint64_t bytes, enum qcow2_discard kind)
{
    uint64_t first = offset >> q->cluster_bits, last;
    bool discard = discards(q, kind);
    struct qcow2_free what;

    if (!bytes) {
        return;
    }
    last = (offset + bytes - 1) >> q->cluster_bits;
    if (q->frees->len) {
        struct qcow2_free *newest = &g_array_index(q->frees, struct qcow2_free, q->frees->len - 1);

        /* Neighbours are given back in one piece, if the newest is still to be written as this one
         * is. */
        if (q->frees_first + q->frees->len > q->frees_written && newest->discard == discard &&
            newest->offset + (newest->n << q->cluster_bits) == first << q->cluster_bits) {
            newest->n += last - first + 1;
            return;
        }
    }
    what = (struct qcow2_free){
        .offset = first << q->cluster_bits, .n = last - first + 1, .discard = discard};
    g_array_append_val(q->frees, what);
}

void qcow2_free_entry(struct qcow2 *q, uint64_t entry, enum qcow2_discard kind)
{
    if (entry & QCOW2_COMPRESSED) {
        unsigned bits = 62 - (q->cluster_bits - 8);
        uint64_t offset = entry & ((1ull << bits) - 1);
        uint64_t sectors = (entry >> bits & ((1ull << (q->cluster_bits - 8)) - 1)) + 1;

        if (q->data == q->file) {
            qcow2_free(q, offset, sectors * 512 - (offset & 511), kind);
        }
        return;
    }
    if (!(entry & QCOW2_OFFSET_MASK)) {
        return;
    }
    if (q->data == q->file) {
        qcow2_free(q, entry & QCOW2_OFFSET_MASK, q->cluster_size, kind);
    }
}

/* Nobody uses cluster number i any more. */
static int co_forget_cluster(struct qcow2 *q, uint64_t i)
{
    uint64_t offset = i << q->cluster_bits;
    bool forgotten;

    q->free_hint = MIN(q->free_hint, i);
    if (q->compressed_next && q->compressed_next >> q->cluster_bits == i) {
        q->compressed_next = 0;
    }
    forgotten = qcow2_cache_forget(q->l2_cache, offset, q->cluster_size);
    forgotten = qcow2_cache_forget(q->refcount_cache, offset, q->cluster_size) && forgotten;
    qcow2_metadata_remove(q, offset);
    return forgotten ? 0
                     : co_qcow2_corrupt(q, true, offset, q->cluster_size,
                                        "Cluster %#" PRIx64 " is given back and "
                                        "holds a table that is in use",
                                        offset);
}

/* Clusters from to end - 1 are free. Whether the disk takes note doesn't matter. */
static void co_discard_run(struct qcow2 *q, const struct qcow2_free *what, uint64_t from,
                           uint64_t end)
{
    if (what->discard && from < end) {
        co_child_discard(q->file, from << q->cluster_bits, (end - from) << q->cluster_bits);
    }
}

int co_qcow2_count_down(struct qcow2 *q, const struct qcow2_free *what)
{
    uint64_t i = what->offset >> q->cluster_bits, end = i + what->n, run = i, count;
    void *block;
    int ret;

    co_qcow2_event(q, CLUSTER_FREE);
    for (; i < end; i++) {
        ret = co_get_block(q, i >> q->refblock_bits, &block);
        if (ret < 0) {
            return ret;
        }
        count = block ? qcow2_get_count(q, block, i & block_mask(q)) : 0;
        if (!count) {
            put_block(q, block);
            return co_qcow2_corrupt(q, true, i << q->cluster_bits, q->cluster_size,
                                    "Cluster %#" PRIx64
                                    " is given back and has a reference count of 0",
                                    i << q->cluster_bits);
        }
        qcow2_cache_dirty(q->refcount_cache, block);
        qcow2_set_count(q, block, i & block_mask(q), count - 1);
        put_block(q, block);
        if (count == 1) {
            ret = co_forget_cluster(q, i);
            if (ret < 0) {
                return ret;
            }
            continue;
        }
        co_discard_run(q, what, run, i);
        run = i + 1;
    }
    co_discard_run(q, what, run, end);
    return 0;
}

int co_qcow2_end(struct qcow2 *q, uint64_t *end)
{
    uint64_t k = q->reftable_size, j;
    void *block;
    int ret;

    *end = 0;
    while (k--) {
        ret = co_get_block(q, k, &block);
        if (ret < 0) {
            return ret;
        }
        for (j = block ? block_mask(q) + 1 : 0; j--;) {
            if (qcow2_get_count(q, block, j)) {
                *end = ((k << q->refblock_bits) + j + 1) << q->cluster_bits;
                break;
            }
        }
        put_block(q, block);
        if (*end) {
            return 0;
        }
    }
    return 0;
}
