/*
 * Version 2 has no clusters that read as zeroes by themselves: without a backing image they become
 * unallocated, else they are written. That is done in the tables as they are, each once, however
 * many snapshots share it: what it reads as stays the same for all of them.
 */
#include "block/qcow2.h"

#include <string.h>

struct expansion {
    struct qcow2 *q;
    GHashTable *seen; /* clusters of L2 tables that are done */
    uint8_t *buffer;  /* a cluster */
};

/* A table: what refers to it, and what its first entry stands for. */
struct table {
    uint64_t offset, guest; /* bytes */
    uint64_t times;
    bool active;
};

/* A cluster of zeroes that so many tables will refer to, or -errno. */
static int64_t co_new_zeroes(struct expansion *x, uint64_t guest, uint64_t times)
{
    struct qcow2 *q = x->q;
    int64_t host = co_qcow2_allocate(q, q->cluster_size);
    int ret = 0;

    if (host < 0) {
        return host;
    }
    if (times > 1) {
        ret = co_qcow2_refcount_add(q, host >> q->cluster_bits, 1, times - 1);
    }
    memset(x->buffer, 0, q->cluster_size);
    if (ret == 0 && q->crypto) {
        ret = co_qcow2_encrypt(q, guest, host, x->buffer, q->cluster_size);
    }
    if (ret == 0) {
        ret = co_child_write(q->file, host, q->cluster_size,
                             BLOCK_BUFFER(x->buffer, q->cluster_size), 0);
    }
    /* They come before the table that refers to them. */
    q->data_unflushed = true;
    q->write_generation++;
    return ret < 0 ? ret : host;
}

static int co_expand_entry(struct expansion *x, const struct table *t, void *slice, uint32_t i,
                           uint64_t guest)
{
    struct qcow2 *q = x->q;
    uint64_t *words = slice, entry = GUINT64_FROM_BE(words[i]), k;
    int64_t host = 0;

    if (entry & QCOW2_COMPRESSED || !(entry & QCOW2_ZERO)) {
        return 0;
    }
    if (q->node->backing) {
        host = co_new_zeroes(x, guest, t->times);
        if (host < 0) {
            return host;
        }
    }
    qcow2_cache_dirty(q->l2_cache, slice);
    g_mutex_lock(&q->tables);
    words[i] = GUINT64_TO_BE(host | (host && t->active && t->times == 1 ? QCOW2_COPIED : 0));
    g_mutex_unlock(&q->tables);
    for (k = 0; k < t->times; k++) {
        qcow2_free_entry(q, entry & ~QCOW2_ZERO, QCOW2_DISCARD_OTHER);
    }
    return 0;
}

static int co_expand_table(struct expansion *x, const struct table *t)
{
    struct qcow2 *q = x->q;
    uint32_t n = 1u << q->slice_bits, i;
    uint64_t at, guest = t->guest;
    void *slice;
    int ret = 0;

    for (at = 0; at < q->cluster_size && ret == 0; at += (uint64_t)n * q->l2_entry_size) {
        ret = co_qcow2_cache_get(q->l2_cache, t->offset + at, &slice);
        if (ret < 0) {
            return ret;
        }
        for (i = 0; i < n && ret == 0; i++, guest += q->cluster_size) {
            ret = co_expand_entry(x, t, slice, i, guest);
        }
        qcow2_cache_put(q->l2_cache, slice);
    }
    return ret;
}

static int co_expand_l1(struct expansion *x, const uint64_t *l1, uint32_t size, bool active)
{
    struct qcow2 *q = x->q;
    uint32_t i;
    int ret = 0;

    for (i = 0; i < size && ret == 0; i++) {
        struct table t = {.offset = l1[i] & QCOW2_OFFSET_MASK,
                          .guest = ((uint64_t)i << q->l2_bits) << q->cluster_bits,
                          .active = active};

        if (!t.offset || !g_hash_table_add(x->seen, GSIZE_TO_POINTER(t.offset))) {
            continue;
        }
        ret = co_qcow2_refcount(q, t.offset >> q->cluster_bits, &t.times);
        if (ret == 0 && !t.times) {
            ret = co_qcow2_corrupt(q, true, t.offset, q->cluster_size,
                                   "L2 table %#" PRIx64 " has a reference count of 0", t.offset);
        }
        if (ret == 0) {
            ret = co_expand_table(x, &t);
        }
    }
    return ret;
}

int co_qcow2_expand_zeroes(struct qcow2 *q)
{
    struct expansion x = {
        .q = q, .seen = g_hash_table_new(NULL, NULL), .buffer = g_malloc(q->cluster_size)};
    int ret = co_expand_l1(&x, q->l1, q->header.l1_size, true);
    uint32_t i, size;
    uint64_t offset;

    for (i = 0; i < q->n_snapshots && ret == 0; i++) {
        g_autofree uint64_t *l1 = co_qcow2_snapshot_table(q, i, 0, NULL);

        qcow2_snapshot_l1(q, i, &offset, &size);
        ret = l1 ? co_expand_l1(&x, l1, size, false) : -EIO;
    }
    g_hash_table_unref(x.seen);
    g_free(x.buffer);
    return ret;
}
