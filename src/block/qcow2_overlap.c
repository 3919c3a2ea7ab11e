/*
 * Whether a write meets metadata that it has nothing to do with: only a damaged image lets that
 * happen, and then nothing is written. Each cluster of metadata is in a hash table with what it is
 * (q->tables guards it), from when it is allocated, or the image opened, until nobody counts it any
 * more.
 */
#include "block/qcow2.h"

static const struct {
    enum qcow2_metadata sort;
    const char *name;
} sorts[] = {
    {QCOW2_META_HEADER, "qcow2_header"},
    {QCOW2_META_ACTIVE_L1, "active L1 table"},
    {QCOW2_META_ACTIVE_L2, "active L2 table"},
    {QCOW2_META_REFBLOCK, "refcount block"},
    {QCOW2_META_REFTABLE, "refcount table"},
    {QCOW2_META_SNAPSHOT_TABLE, "snapshot table"},
    {QCOW2_META_INACTIVE_L1, "inactive L1 table"},
    {QCOW2_META_INACTIVE_L2, "inactive L2 table"},
    {QCOW2_META_BITMAP_DIRECTORY, "bitmap directory"},
};

static gpointer key(const struct qcow2 *q, uint64_t offset)
{
    return GSIZE_TO_POINTER(offset >> q->cluster_bits);
}

void qcow2_metadata_add(struct qcow2 *q, uint64_t offset, uint64_t bytes, enum qcow2_metadata sort)
{
    uint64_t end = offset + bytes;

    /* What a damaged image says of places that no file has can't be met. */
    if (!(q->overlap_checks & sort) || offset > INT64_MAX - bytes) {
        return;
    }
    g_mutex_lock(&q->tables);
    for (offset -= qcow2_in_cluster(q, offset); offset < end; offset += q->cluster_size) {
        unsigned old = GPOINTER_TO_UINT(g_hash_table_lookup(q->metadata, key(q, offset)));

        g_hash_table_insert(q->metadata, key(q, offset), GUINT_TO_POINTER(old | sort));
    }
    g_mutex_unlock(&q->tables);
}

void qcow2_metadata_remove(struct qcow2 *q, uint64_t offset)
{
    g_mutex_lock(&q->tables);
    g_hash_table_remove(q->metadata, key(q, offset));
    g_mutex_unlock(&q->tables);
}

void qcow2_metadata_load(struct qcow2 *q)
{
    const struct qcow2_header *h = &q->header;
    uint64_t i;

    qcow2_metadata_add(q, 0, 1, QCOW2_META_HEADER);
    qcow2_metadata_add(q, h->l1_offset, (uint64_t)h->l1_size * sizeof(uint64_t),
                       QCOW2_META_ACTIVE_L1);
    qcow2_metadata_add(q, h->reftable_offset, (uint64_t)h->reftable_clusters << q->cluster_bits,
                       QCOW2_META_REFTABLE);
    for (i = 0; i < h->l1_size; i++) {
        if (q->l1[i] & QCOW2_OFFSET_MASK) {
            qcow2_metadata_add(q, q->l1[i] & QCOW2_OFFSET_MASK, 1, QCOW2_META_ACTIVE_L2);
        }
    }
    for (i = 0; i < q->reftable_size; i++) {
        if (q->reftable[i] & QCOW2_REFTABLE_MASK) {
            qcow2_metadata_add(q, q->reftable[i] & QCOW2_REFTABLE_MASK, 1, QCOW2_META_REFBLOCK);
        }
    }
    for (i = 0; i < q->n_snapshots; i++) {
        uint64_t offset;
        uint32_t size;

        qcow2_snapshot_l1(q, i, &offset, &size);
        if (size > QCOW2_MAX_L1_BYTES / sizeof(uint64_t) ||
            offset > INT64_MAX - QCOW2_MAX_L1_BYTES) {
            continue; /* an image that is opened to be checked */
        }
        qcow2_metadata_add(q, offset, (uint64_t)size * sizeof(uint64_t), QCOW2_META_INACTIVE_L1);
    }
    if (h->n_snapshots) {
        qcow2_metadata_add(q, h->snapshots_offset, q->snapshots_bytes, QCOW2_META_SNAPSHOT_TABLE);
    }
    if (h->n_bitmaps) {
        qcow2_metadata_add(q, h->bitmaps_offset, h->bitmaps_size, QCOW2_META_BITMAP_DIRECTORY);
    }
}

int co_qcow2_check_overlap(struct qcow2 *q, unsigned ignore, uint64_t offset, uint64_t bytes)
{
    uint64_t at = offset - qcow2_in_cluster(q, offset);
    unsigned met = 0, i;

    g_mutex_lock(&q->tables);
    for (; at < offset + bytes && !met; at += q->cluster_size) {
        met = GPOINTER_TO_UINT(g_hash_table_lookup(q->metadata, key(q, at))) & ~ignore;
    }
    g_mutex_unlock(&q->tables);
    for (i = 0; met && i < G_N_ELEMENTS(sorts); i++) {
        if (met & sorts[i].sort) {
            return co_qcow2_corrupt(q, true, offset, bytes,
                                    "Preventing invalid write on metadata (overlaps with %s)",
                                    sorts[i].name);
        }
    }
    return 0;
}
