#include "block/qcow2.h"

/* After that many pieces on the list a write back flushes in order to reuse them. */
enum { MANY_FREES = 4096 };

unsigned qcow2_request_begin(struct qcow2 *q)
{
    for (;;) {
        unsigned epoch = q->epoch & 1;

        q->active[epoch]++;
        /* Else it counts for an epoch that may be over, and hasn't looked up anything yet. */
        if ((q->epoch & 1) == epoch) {
            return epoch;
        }
        q->active[epoch]--;
    }
}

void qcow2_request_end(struct qcow2 *q, unsigned epoch)
{
    q->active[epoch]--;
}

int co_qcow2_flush_file(struct qcow2 *q)
{
    int ret = 0;

    if (q->data != q->file && q->data_unflushed) {
        ret = co_child_flush(q->data);
    }
    if (ret == 0) {
        ret = co_child_flush(q->file);
    }
    if (ret == 0) {
        q->counts_unflushed = q->l2_unflushed = q->data_unflushed = false;
        q->frees_flushed = q->frees_written;
    }
    return ret;
}

/*
 * Entries first to last (inclusive) of a table, which is in memory in host byte order, as whole
 * sectors.
 */
static int co_write_entries(struct qcow2 *q, const uint64_t *entries, uint64_t n_entries,
                            uint64_t table, uint32_t first, uint32_t last, unsigned sort)
{
    enum { PER_SECTOR = 512 / sizeof(uint64_t) };
    uint64_t from = first / PER_SECTOR * PER_SECTOR;
    uint64_t to = MIN(n_entries, (uint64_t)(last / PER_SECTOR + 1) * PER_SECTOR);
    uint64_t i, bytes = (to - from) * sizeof(uint64_t);
    g_autofree uint64_t *big = g_new(uint64_t, to - from);
    int ret;

    for (i = from; i < to; i++) {
        big[i - from] = GUINT64_TO_BE(entries[i]);
    }
    ret = co_qcow2_check_overlap(q, sort, table + from * sizeof(uint64_t), bytes);
    if (ret < 0) {
        return ret;
    }
    if (sort == QCOW2_META_ACTIVE_L1) {
        co_qcow2_event(q, L1_UPDATE);
    } else {
        co_qcow2_event(q, REFBLOCK_ALLOC_HOOKUP);
    }
    return co_child_write(q->file, table + from * sizeof(uint64_t), bytes, BLOCK_BUFFER(big, bytes),
                          0);
}

/* Refcount blocks, then the table that refers to them. */
static int co_write_counts(struct qcow2 *q)
{
    int ret;

    if (q->reftable_dirty) {
        co_qcow2_event(q, REFBLOCK_ALLOC_WRITE);
    }
    ret = co_qcow2_cache_write(q->refcount_cache);
    if (ret < 0 || !q->reftable_dirty) {
        return ret;
    }
    ret = co_qcow2_flush_file(q);
    if (ret < 0) {
        return ret;
    }
    ret = co_write_entries(q, q->reftable, q->reftable_size, q->header.reftable_offset,
                           q->reftable_dirty_first, q->reftable_dirty_last, QCOW2_META_REFTABLE);
    if (ret < 0) {
        return ret;
    }
    q->reftable_dirty = false;
    q->counts_unflushed = true;
    q->write_generation++;
    return 0;
}

/* L2 slices, then the L1 table. */
static int co_write_mappings(struct qcow2 *q)
{
    bool counts = q->counts_unflushed && !q->lazy_refcounts;
    int ret = 0;

    if (qcow2_cache_is_dirty(q->l2_cache)) {
        if (counts || q->data_unflushed) {
            ret = co_qcow2_flush_file(q);
        }
        if (ret == 0) {
            ret = co_qcow2_cache_write(q->l2_cache);
        }
        if (ret < 0) {
            return ret;
        }
    }
    if (!q->l1_dirty) {
        return 0;
    }
    if (q->l2_unflushed || q->counts_unflushed) {
        ret = co_qcow2_flush_file(q);
        if (ret < 0) {
            return ret;
        }
    }
    ret = co_write_entries(q, q->l1, q->header.l1_size, q->header.l1_offset, q->l1_dirty_first,
                           q->l1_dirty_last, QCOW2_META_ACTIVE_L1);
    if (ret < 0) {
        return ret;
    }
    q->l1_dirty = false;
    q->l2_unflushed = true; /* L1 rather, which is no less */
    q->write_generation++;
    return 0;
}

/* The oldest frees, up to number end. */
static int co_apply(struct qcow2 *q, uint64_t end)
{
    unsigned n = end - q->frees_first, i;
    int ret, first_error = 0;

    for (i = 0; i < n; i++) {
        struct qcow2_free what = g_array_index(q->frees, struct qcow2_free, i);

        /* One that can't be applied is a leak, no reason to keep the others. */
        ret = co_qcow2_count_down(q, &what);
        if (ret < 0 && !first_error) {
            first_error = ret;
        }
    }
    g_array_remove_range(q->frees, 0, n);
    q->frees_first = end;
    return first_error;
}

static int co_apply_frees(struct qcow2 *q)
{
    int ret = 0;

    /* At most twice: what the other epoch was waited for, and what can follow at once. */
    while (ret == 0) {
        if (q->frees_grace > q->frees_first) {
            if (q->active[!(q->epoch & 1)]) {
                return 0;
            }
            ret = co_apply(q, q->frees_grace);
        } else if (q->frees_flushed > q->frees_first) {
            q->frees_grace = q->frees_flushed;
            q->epoch++;
        } else {
            return 0;
        }
    }
    return ret;
}

int co_qcow2_write_back(struct qcow2 *q)
{
    int ret;

    if (q->broken) {
        return -EIO;
    }
    ret = co_write_counts(q);
    if (ret == 0) {
        ret = co_write_mappings(q);
    }
    if (ret < 0) {
        return ret;
    }
    q->frees_written = q->frees_first + q->frees->len;
    if (q->frees->len >= MANY_FREES) {
        ret = co_qcow2_flush_file(q);
        if (ret < 0) {
            return ret;
        }
    }
    return co_apply_frees(q);
}

int co_qcow2_settle(struct qcow2 *q)
{
    int ret = co_qcow2_write_back(q);

    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    if (ret == 0) {
        ret = co_apply_frees(q);
    }
    /* Counts that went down. */
    if (ret == 0) {
        ret = co_qcow2_write_back(q);
    }
    return ret < 0 ? ret : co_qcow2_flush_file(q);
}

/* The rest of a flush: without the lock, so that nobody waits for the disk. */
static int co_flush_unlocked(struct qcow2 *q, uint64_t generation, uint64_t frees_written)
{
    int ret = q->data != q->file ? co_child_flush(q->data) : 0;

    if (ret == 0) {
        ret = co_child_flush(q->file);
    }
    if (ret < 0) {
        return ret;
    }
    co_mutex_lock(&q->lock);
    if (q->write_generation == generation) {
        q->counts_unflushed = q->l2_unflushed = q->data_unflushed = false;
    }
    q->frees_flushed = MAX(q->frees_flushed, frees_written);
    ret = co_apply_frees(q);
    co_mutex_unlock(&q->lock);
    return ret;
}

int co_qcow2_flush(struct block_node *node)
{
    struct qcow2 *q = node->state;
    uint64_t generation, frees_written;
    bool needed;
    int ret;

    co_qcow2_event(q, FLUSH_TO_OS);
    co_mutex_lock(&q->lock);
    ret = co_qcow2_write_back(q);
    generation = q->write_generation;
    frees_written = q->frees_written;
    needed = q->counts_unflushed || q->l2_unflushed || q->data_unflushed || q->frees->len;
    co_mutex_unlock(&q->lock);
    co_qcow2_event(q, FLUSH_TO_DISK);
    /* Else nothing of the image's own is to be flushed: the core flushes what guests wrote. */
    return ret < 0 || !needed ? ret : co_flush_unlocked(q, generation, frees_written);
}

bool qcow2_is_stable(struct qcow2 *q)
{
    return !qcow2_cache_is_dirty(q->l2_cache) && !q->l1_dirty && !q->l2_unflushed &&
           !q->counts_unflushed;
}
