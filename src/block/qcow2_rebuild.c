/*
 * A new refcount structure. It is put behind everything that the image has, so that the old one
 * stays as it is until the header leads to the new one; the old one's clusters are free then.
 */
#include "block/qcow2_check.h"

#include <string.h>

struct layout {
    GArray *blocks; /* uint64_t: the numbers of blocks that are needed, ascending */
    uint64_t first; /* cluster of the first block; the table follows the last */
    uint64_t table_clusters;
};

/* The blocks for what is counted, ascending. */
static GArray *needed_blocks(struct qcow2_checker *c)
{
    g_autoptr(GArray) pieces = qcow2_counts_pieces(c);
    GArray *blocks = g_array_new(false, false, sizeof(uint64_t));
    guint i;

    for (i = 0; i < pieces->len; i++) {
        uint64_t first = g_array_index(pieces, uint64_t, i) * QCOW2_PIECE, cluster;

        for (cluster = first; cluster < first + QCOW2_PIECE; cluster++) {
            uint64_t k = cluster >> c->q->refblock_bits;

            if (qcow2_counts_get(c, cluster) &&
                (!blocks->len || g_array_index(blocks, uint64_t, blocks->len - 1) != k)) {
                g_array_append_val(blocks, k);
            }
        }
    }
    return blocks;
}

/* The blocks and the table count themselves, which may take more blocks. */
static int plan(struct qcow2_checker *c, struct layout *l)
{
    const struct qcow2 *q = c->q;
    uint64_t end,
        last = l->blocks->len ? g_array_index(l->blocks, uint64_t, l->blocks->len - 1) : 0, k;

    l->table_clusters = 1;
    for (;;) {
        uint64_t clusters;

        end = l->first + l->blocks->len + l->table_clusters;
        k = MAX(l->first >> q->refblock_bits, l->blocks->len ? last + 1 : 0);
        if (k <= (end - 1) >> q->refblock_bits) {
            g_array_append_val(l->blocks, k);
            last = k;
            continue;
        }
        clusters = qcow2_clusters(q, (last + 1) * sizeof(uint64_t));
        if (clusters << q->cluster_bits > QCOW2_MAX_REFTABLE_BYTES) {
            return -EFBIG;
        }
        if (clusters <= l->table_clusters) {
            return 0;
        }
        l->table_clusters = clusters;
    }
}

static int co_write_block(struct qcow2_checker *c, uint64_t k, uint64_t at, uint8_t *block)
{
    struct qcow2 *q = c->q;
    uint64_t first = k << q->refblock_bits, j;

    memset(block, 0, q->cluster_size);
    for (j = 0; j < 1ull << q->refblock_bits; j++) {
        uint32_t count = qcow2_counts_get(c, first + j);

        if (count) {
            qcow2_set_count(q, block, j, count);
        }
    }
    return co_child_write(q->file, at, q->cluster_size, BLOCK_BUFFER(block, q->cluster_size), 0);
}

static int co_write_structure(struct qcow2_checker *c, const struct layout *l)
{
    struct qcow2 *q = c->q;
    uint64_t bytes = l->table_clusters << q->cluster_bits, at = l->first << q->cluster_bits;
    g_autofree uint64_t *table = g_malloc0(bytes);
    g_autofree uint8_t *block = g_malloc(q->cluster_size);
    int ret = 0;
    guint i;

    for (i = 0; i < l->blocks->len && ret == 0; i++, at += q->cluster_size) {
        uint64_t k = g_array_index(l->blocks, uint64_t, i);

        table[k] = GUINT64_TO_BE(at);
        ret = co_write_block(c, k, at, block);
    }
    if (ret == 0) {
        ret = co_child_write(q->file, at, bytes, BLOCK_BUFFER(table, bytes), 0);
    }
    if (ret == 0) {
        ret = co_child_flush(q->file);
    }
    if (ret < 0) {
        return ret;
    }
    q->header.reftable_offset = at;
    q->header.reftable_clusters = l->table_clusters;
    ret = co_qcow2_write_header(q);
    return ret < 0 ? ret : co_child_flush(q->file);
}

int co_qcow2_rebuild_refcounts(struct qcow2_checker *c)
{
    struct qcow2 *q = c->q;
    uint64_t old_offset = q->header.reftable_offset;
    uint32_t old_clusters = q->header.reftable_clusters;
    g_autoptr(GArray) blocks = needed_blocks(c);
    struct layout l = {.blocks = blocks, .first = MAX(c->file_clusters, c->highest) + 1};
    int ret = plan(c, &l);

    if (ret == 0) {
        /* What was counted may be cut off at the end of the file by less than a cluster. */
        c->file_length =
            MAX(c->file_length, (l.first + blocks->len + l.table_clusters) << q->cluster_bits);
        c->file_clusters = qcow2_clusters(q, c->file_length);
        c->hole_from = c->hole_to = c->data_from = c->data_to = 0;
        qcow2_count_region(c, l.first << q->cluster_bits,
                           (blocks->len + l.table_clusters) << q->cluster_bits, 1);
        ret = c->too_sparse ? -EFBIG : co_write_structure(c, &l);
    }
    if (ret < 0) {
        q->header.reftable_offset = old_offset;
        q->header.reftable_clusters = old_clusters;
        return ret;
    }
    g_clear_pointer(&q->reftable, g_free);
    return co_qcow2_read_reftable(q, NULL) ? 0 : -EIO;
}

bool co_qcow2_check_reload(struct qcow2_checker *c, GError **error)
{
    struct qcow2 *q = c->q;

    qcow2_cache_empty(q->l2_cache);
    qcow2_cache_empty(q->refcount_cache);
    g_mutex_lock(&q->tables);
    memcpy(q->l1, c->l1, (size_t)q->header.l1_size * sizeof(uint64_t));
    g_hash_table_remove_all(q->metadata);
    g_mutex_unlock(&q->tables);
    q->free_hint = q->compressed_next = 0;
    g_clear_pointer(&q->reftable, g_free);
    if (!co_qcow2_read_reftable(q, error)) {
        return false;
    }
    qcow2_metadata_load(q);
    q->fresh_from =
        MAX(q->fresh_from, (q->file->node->length + q->cluster_size - 1) & ~(q->cluster_size - 1));
    return true;
}
