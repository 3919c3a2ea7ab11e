/* From guest to host offsets: L1 and L2 tables (spec, "Cluster mapping"). */
#include "block/qcow2.h"

#include <string.h>

#define SUB_ALLOCATED(s) (1ull << (s))
#define SUB_ZERO(s)      (1ull << ((s) + QCOW2_SUBCLUSTERS))
#define ALL_ZERO         0xffffffff00000000ull

/* Where a guest offset is looked up. */
struct place {
    uint64_t l1_index;
    uint32_t slice; /* of the L2 table */
    uint32_t index; /* of the entry in the slice */
};

static struct place place_of(const struct qcow2 *q, uint64_t offset)
{
    uint64_t cluster = offset >> q->cluster_bits;
    uint32_t in_table = cluster & ((1u << q->l2_bits) - 1);

    return (struct place){cluster >> q->l2_bits, in_table >> q->slice_bits,
                          in_table & ((1u << q->slice_bits) - 1)};
}

static uint64_t slice_size(const struct qcow2 *q)
{
    return (uint64_t)q->l2_entry_size << q->slice_bits;
}

static uint64_t get_entry(const struct qcow2 *q, const void *slice, uint32_t i)
{
    return GUINT64_FROM_BE(
        ((const uint64_t *)slice)[(size_t)i * q->l2_entry_size / sizeof(uint64_t)]);
}

static uint64_t get_bitmap(const struct qcow2 *q, const void *slice, uint32_t i)
{
    return q->subclusters == 1 ? 0 : GUINT64_FROM_BE(((const uint64_t *)slice)[i * 2 + 1]);
}

/* The slice is pinned, q->lock is held. Readers of qcow2_map_fast see both words or neither. */
static void set_entry(struct qcow2 *q, void *slice, uint32_t i, uint64_t entry, uint64_t bitmap)
{
    uint64_t *words = (uint64_t *)slice + (size_t)i * q->l2_entry_size / sizeof(uint64_t);

    qcow2_cache_dirty(q->l2_cache, slice);
    g_mutex_lock(&q->tables);
    words[0] = GUINT64_TO_BE(entry);
    if (q->subclusters > 1) {
        words[1] = GUINT64_TO_BE(bitmap);
    }
    g_mutex_unlock(&q->tables);
}

/* With an external data file offset 0 is a cluster like others: COPIED tells. */
static bool has_host(const struct qcow2 *q, uint64_t entry)
{
    return entry & QCOW2_OFFSET_MASK || (q->data != q->file && entry & QCOW2_COPIED);
}

static uint64_t host_of(uint64_t entry)
{
    return entry & QCOW2_OFFSET_MASK;
}

/* What subcluster s of a cluster is; -1: the entry contradicts itself. */
static int kind_of(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, unsigned s)
{
    bool host = has_host(q, entry);

    if (entry & QCOW2_COMPRESSED) {
        return bitmap || q->data != q->file ? -1 : QCOW2_COMPRESSED_DATA;
    }
    if (qcow2_in_cluster(q, host_of(entry))) {
        return -1;
    }
    if (q->subclusters == 1) {
        return entry & QCOW2_ZERO ? host ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN
               : host             ? QCOW2_NORMAL
                                  : QCOW2_UNALLOCATED;
    }
    if (bitmap & SUB_ALLOCATED(s)) {
        return !host || bitmap & SUB_ZERO(s) ? -1 : QCOW2_NORMAL;
    }
    if (bitmap & SUB_ZERO(s)) {
        return host ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN;
    }
    return host ? QCOW2_UNALLOCATED_ALLOC : QCOW2_UNALLOCATED;
}

static unsigned subcluster_of(const struct qcow2 *q, uint64_t offset)
{
    return qcow2_in_cluster(q, offset) / q->subcluster_size;
}

static void fill_compressed(const struct qcow2 *q, uint64_t entry, struct qcow2_extent *extent)
{
    unsigned bits = 62 - (q->cluster_bits - 8);

    extent->host = entry & ((1ull << bits) - 1);
    extent->compressed_bytes =
        ((entry >> bits & ((1ull << (q->cluster_bits - 8)) - 1)) + 1) * 512 - (extent->host & 511);
}

/*
 * What is in a slice from entry `index` on: as far as it is of one kind and, where it has a host
 * offset, contiguous. False: the first entry makes no sense.
 */
static bool scan(const struct qcow2 *q, const void *slice, uint32_t index, uint64_t offset,
                 uint64_t bytes, struct qcow2_extent *extent)
{
    uint64_t entry = get_entry(q, slice, index), bitmap = get_bitmap(q, slice, index);
    unsigned s = subcluster_of(q, offset);
    int kind = kind_of(q, entry, bitmap, s);
    uint64_t done, next_host;

    if (kind < 0) {
        return false;
    }
    *extent = (struct qcow2_extent){.kind = kind, .copied = entry & QCOW2_COPIED};
    if (kind == QCOW2_COMPRESSED_DATA) {
        fill_compressed(q, entry, extent);
        extent->bytes = MIN(bytes, q->cluster_size - qcow2_in_cluster(q, offset));
        return true;
    }
    if (has_host(q, entry)) {
        extent->host = host_of(entry) + qcow2_in_cluster(q, offset);
    }
    done = q->subcluster_size - offset % q->subcluster_size;
    next_host = host_of(entry) + q->cluster_size;
    while (done < bytes) {
        if (++s == q->subclusters) {
            s = 0;
            if (++index >> q->slice_bits) {
                break;
            }
            entry = get_entry(q, slice, index);
            bitmap = get_bitmap(q, slice, index);
            if (has_host(q, entry) && !(entry & QCOW2_COMPRESSED)) {
                if (host_of(entry) != next_host || !!(entry & QCOW2_COPIED) != extent->copied) {
                    break;
                }
                next_host += q->cluster_size;
            }
        }
        if (kind_of(q, entry, bitmap, s) != kind) {
            break;
        }
        done += q->subcluster_size;
    }
    extent->bytes = MIN(done, bytes);
    return true;
}

/* No L2 table at all: to the end of what it would be of. */
static void hole(const struct qcow2 *q, uint64_t offset, uint64_t bytes,
                 struct qcow2_extent *extent)
{
    uint64_t table = q->cluster_size << q->l2_bits;

    *extent = (struct qcow2_extent){.kind = QCOW2_UNALLOCATED,
                                    .bytes = MIN(bytes, table - (offset & (table - 1)))};
}

bool qcow2_map_fast(struct qcow2 *q, uint64_t offset, uint64_t bytes, struct qcow2_extent *extent)
{
    struct place place = place_of(q, offset);
    uint64_t l1_entry;
    const void *slice;
    bool found;

    g_mutex_lock(&q->tables);
    l1_entry = place.l1_index < q->header.l1_size ? q->l1[place.l1_index] : 0;
    if (!(l1_entry & QCOW2_OFFSET_MASK)) {
        hole(q, offset, bytes, extent);
        found = true;
    } else {
        slice = qcow2_cache_peek(q->l2_cache,
                                 (l1_entry & QCOW2_OFFSET_MASK) + place.slice * slice_size(q));
        found = slice && scan(q, slice, place.index, offset, bytes, extent);
    }
    g_mutex_unlock(&q->tables);
    return found;
}

static int co_bad_entry(struct qcow2 *q, uint64_t offset, uint64_t entry)
{
    return co_qcow2_corrupt(q, true, offset, q->cluster_size,
                            "L2 entry %#" PRIx64 " of guest offset %#" PRIx64 " makes no sense",
                            entry, offset);
}

/* The slice for reading; NULL: there is no L2 table. */
static int co_get_slice(struct qcow2 *q, const struct place *place, void **slice)
{
    uint64_t l2 =
        place->l1_index < q->header.l1_size ? q->l1[place->l1_index] & QCOW2_OFFSET_MASK : 0;

    *slice = NULL;
    if (!l2) {
        return 0;
    }
    if (qcow2_in_cluster(q, l2)) {
        return co_qcow2_corrupt(q, true, l2, -1,
                                "L2 table offset %#" PRIx64 " unaligned (L1 index: %#" PRIx64 ")",
                                l2, place->l1_index);
    }
    return co_qcow2_cache_get(q->l2_cache, l2 + place->slice * slice_size(q), slice);
}

int co_qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t bytes, struct qcow2_extent *extent)
{
    struct place place = place_of(q, offset);
    void *slice;
    int ret = co_get_slice(q, &place, &slice);

    if (ret < 0) {
        return ret;
    }
    if (!slice) {
        hole(q, offset, bytes, extent);
        return 0;
    }
    if (!scan(q, slice, place.index, offset, bytes, extent)) {
        ret = co_bad_entry(q, offset, get_entry(q, slice, place.index));
    }
    qcow2_cache_put(q->l2_cache, slice);
    return ret;
}

/* ---- Changing L2 ---- */

static void set_l1(struct qcow2 *q, uint64_t i, uint64_t entry)
{
    g_mutex_lock(&q->tables);
    q->l1[i] = entry;
    g_mutex_unlock(&q->tables);
    q->l1_dirty_first = q->l1_dirty ? MIN(q->l1_dirty_first, i) : i;
    q->l1_dirty_last = q->l1_dirty ? MAX(q->l1_dirty_last, i) : i;
    q->l1_dirty = true;
}

/* An L2 table of the image's own: a copy of the one that it shares with a snapshot, or an empty
 * one. */
static int co_own_l2(struct qcow2 *q, uint64_t l1_index)
{
    uint64_t old = q->l1[l1_index] & QCOW2_OFFSET_MASK, at;
    int64_t l2 = co_qcow2_allocate(q, q->cluster_size);
    void *from, *to;
    int ret = 0;

    if (l2 < 0) {
        return l2;
    }
    if (old) {
        co_qcow2_event(q, L2_ALLOC_COW_READ);
    }
    for (at = 0; at < q->cluster_size && ret == 0; at += slice_size(q)) {
        from = NULL;
        if (old) {
            ret = co_qcow2_cache_get(q->l2_cache, old + at, &from);
        }
        if (ret == 0) {
            ret = co_qcow2_cache_get_empty(q->l2_cache, l2 + at, &to);
        }
        if (ret == 0) {
            if (from) {
                memcpy(to, from, slice_size(q));
            }
            qcow2_cache_put(q->l2_cache, to);
        }
        if (from) {
            qcow2_cache_put(q->l2_cache, from);
        }
    }
    if (ret < 0) {
        qcow2_cache_forget(q->l2_cache, l2, q->cluster_size);
        qcow2_free(q, l2, q->cluster_size, QCOW2_DISCARD_NEVER);
        return ret;
    }
    co_qcow2_event(q, L2_ALLOC_WRITE);
    set_l1(q, l1_index, l2 | QCOW2_COPIED);
    qcow2_metadata_add(q, l2, 1, QCOW2_META_ACTIVE_L2);
    if (old) {
        qcow2_free(q, old, q->cluster_size, QCOW2_DISCARD_OTHER);
    }
    return 0;
}

/* The slice for writing. */
static int co_own_slice(struct qcow2 *q, const struct place *place, void **slice)
{
    int ret;

    if (place->l1_index >= q->header.l1_size) {
        ret = co_qcow2_grow_l1(q, place->l1_index + 1, false);
        if (ret < 0) {
            return ret;
        }
    }
    if (!(q->l1[place->l1_index] & QCOW2_COPIED) || !(q->l1[place->l1_index] & QCOW2_OFFSET_MASK)) {
        ret = co_own_l2(q, place->l1_index);
        if (ret < 0) {
            return ret;
        }
    }
    return co_get_slice(q, place, slice);
}

/* ---- Writes ---- */

static bool overlaps(const struct qcow2_allocation *a, uint64_t offset, uint64_t bytes)
{
    return offset < a->offset + a->bytes && a->offset < offset + bytes;
}

/* Waits until no allocation is on the way in the range. */
static void co_wait_for_allocations(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    GList *l;

restart:
    for (l = q->allocations.head; l; l = l->next) {
        struct qcow2_allocation *a = l->data;

        if (overlaps(a, offset, bytes)) {
            co_queue_wait(&a->waiting, &q->lock);
            goto restart;
        }
    }
}

/* How much of bytes can be had before an allocation on the way; 0: it begins in one, which was
 * waited for. */
static uint64_t co_clear_of_allocations(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    GList *l;

    for (l = q->allocations.head; l; l = l->next) {
        struct qcow2_allocation *a = l->data;

        if (!overlaps(a, offset, bytes)) {
            continue;
        }
        if (offset >= a->offset) {
            co_queue_wait(&a->waiting, &q->lock);
            return 0;
        }
        bytes = a->offset - offset;
    }
    return bytes;
}

/* What is to become of a cluster that is written to. */
enum fate {
    IN_PLACE,
    REUSE,
    NEW
}; /* REUSE: its host cluster, for more subclusters or in place of zeroes */

static enum fate fate_of(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, unsigned first,
                         unsigned last)
{
    unsigned s;

    if (entry & QCOW2_COMPRESSED || !has_host(q, entry) || !(entry & QCOW2_COPIED)) {
        return NEW;
    }
    for (s = first; s <= last; s++) {
        if (kind_of(q, entry, bitmap, s) != QCOW2_NORMAL) {
            return REUSE;
        }
    }
    return IN_PLACE;
}

/* Whether a cluster has data that have to come along into a new cluster, besides those that are
 * written. */
static bool has_data(const struct qcow2 *q, uint64_t entry, uint64_t bitmap)
{
    return entry & QCOW2_COMPRESSED || q->subclusters == 1 || (bitmap & 0xffffffffu);
}

/* The range of subclusters that must be complete when [offset, end) is written to these clusters,
 * which are alike. */
static void set_copy_range(const struct qcow2 *q, struct qcow2_allocation *a, bool whole_first,
                           bool whole_last)
{
    uint64_t end = a->write_offset + a->write_bytes;
    uint64_t first_unit = whole_first ? q->cluster_size : q->subcluster_size;
    uint64_t last_unit = whole_last ? q->cluster_size : q->subcluster_size;

    a->copy_offset = a->write_offset / first_unit * first_unit;
    a->copy_end = (end + last_unit - 1) / last_unit * last_unit;
}

/*
 * Subclusters that may be written in place are left out of an allocation that reuses their cluster:
 * others may be writing them. The first one from s on, or the number of them.
 */
static unsigned first_in_place(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, unsigned s)
{
    while (s < q->subclusters && kind_of(q, entry, bitmap, s) != QCOW2_NORMAL) {
        s++;
    }
    return s;
}

/* In a slice, from entry index on: the clusters that share a fate. */
static int plan(struct qcow2 *q, const void *slice, uint32_t index, uint64_t offset, uint64_t bytes,
                struct qcow2_allocation *a, enum fate *fate)
{
    uint64_t start = offset - qcow2_in_cluster(q, offset), end = offset + bytes, at;
    bool whole_first = true, whole_last = true;

    for (at = start; at < end && !(index >> q->slice_bits); at += q->cluster_size, index++) {
        uint64_t entry = slice ? get_entry(q, slice, index) : 0,
                 bitmap = slice ? get_bitmap(q, slice, index) : 0;
        unsigned first = at < offset ? subcluster_of(q, offset) : 0;
        unsigned last = at + q->cluster_size > end ? subcluster_of(q, end - 1) : q->subclusters - 1;
        enum fate here;

        if (kind_of(q, entry, bitmap, first) < 0) {
            return at == start ? co_bad_entry(q, at, entry) : 0;
        }
        here = fate_of(q, entry, bitmap, first, last);
        if (at == start) {
            *fate = here;
            a->host = host_of(entry);
        } else if (here != *fate || (here == REUSE && host_of(entry) != a->host + (at - start))) {
            break;
        }
        if (at == start) {
            whole_first = here == NEW && has_data(q, entry, bitmap);
        }
        whole_last = here == NEW && has_data(q, entry, bitmap);
        if (here == REUSE) {
            unsigned s = first_in_place(q, entry, bitmap, first);

            if (s <= last) {
                end = at + s * q->subcluster_size;
                a->bytes = s ? at + q->cluster_size - start : a->bytes;
                break;
            }
        }
        a->bytes = at + q->cluster_size - start;
    }
    a->offset = start;
    a->write_offset = offset;
    a->write_bytes = MIN(end, start + a->bytes) - offset;
    /* Without subclusters what isn't written of a cluster is copied always. */
    set_copy_range(q, a, whole_first, whole_last);
    return 0;
}

/* Host clusters for an allocation; fewer than asked for if the disk has no run of them. */
static int co_allocate_data(struct qcow2 *q, struct qcow2_allocation *a)
{
    int64_t host;

    if (q->data != q->file) {
        a->host = a->offset;
        return 0;
    }
    host = co_qcow2_allocate(q, a->bytes);
    if (host < 0) {
        return host;
    }
    a->host = host;
    a->fresh = (uint64_t)host >= q->fresh_from;
    q->fresh_from = MAX(q->fresh_from, (uint64_t)host + a->bytes);
    return 0;
}

int co_qcow2_prepare_write(struct qcow2 *q, uint64_t offset, uint64_t *bytes, uint64_t *host,
                           struct qcow2_allocation **allocation)
{
    struct qcow2_allocation a = {0};
    struct place place = place_of(q, offset);
    struct qcow2_extent extent;
    uint64_t wanted;
    enum fate fate = NEW;
    void *slice;
    int ret;

    *allocation = NULL;
    do {
        wanted = co_clear_of_allocations(q, offset, *bytes);
    } while (!wanted);
    ret = co_qcow2_map(q, offset, wanted, &extent);
    if (ret < 0) {
        return ret;
    }
    if (extent.kind == QCOW2_NORMAL && extent.copied) {
        *bytes = extent.bytes;
        *host = extent.host;
        return 0;
    }
    ret = co_get_slice(q, &place, &slice);
    if (ret < 0) {
        return ret;
    }
    ret = plan(q, slice, place.index, offset, wanted, &a, &fate);
    if (slice) {
        qcow2_cache_put(q->l2_cache, slice);
    }
    if (ret < 0) {
        return ret;
    }
    a.new_clusters = fate == NEW;
    if (a.new_clusters) {
        ret = co_allocate_data(q, &a);
        if (ret < 0) {
            return ret;
        }
    }
    *bytes = a.write_bytes;
    *host = a.host + (offset - a.offset);
    *allocation = g_memdup2(&a, sizeof(a));
    co_queue_init(&(*allocation)->waiting);
    g_queue_push_tail(&q->allocations, *allocation);
    return 0;
}

/* The bits of subclusters of the cluster at `at` that are complete after the allocation. */
static uint64_t written_bits(const struct qcow2 *q, const struct qcow2_allocation *a, uint64_t at)
{
    uint64_t from = MAX(at, a->copy_offset) - at, to = MIN(at + q->cluster_size, a->copy_end) - at;

    from /= q->subcluster_size;
    to /= q->subcluster_size;
    return ((1ull << (to - from)) - 1) << from;
}

static void link_cluster(struct qcow2 *q, void *slice, uint32_t index,
                         const struct qcow2_allocation *a, uint64_t at)
{
    uint64_t entry = get_entry(q, slice, index), bitmap = get_bitmap(q, slice, index);
    uint64_t new_entry = (a->host + (at - a->offset)) | QCOW2_COPIED;

    if (q->subclusters > 1 && !a->reserve_only) {
        uint64_t bits = written_bits(q, a, at);

        bitmap = (bitmap | bits) & ~(bits << QCOW2_SUBCLUSTERS);
    }
    set_entry(q, slice, index, new_entry, bitmap);
    if (a->new_clusters) {
        qcow2_free_entry(q, entry, QCOW2_DISCARD_NEVER);
    }
}

static int co_link(struct qcow2 *q, const struct qcow2_allocation *a)
{
    struct place place = place_of(q, a->offset);
    uint64_t at;
    void *slice;
    int ret = co_own_slice(q, &place, &slice);

    if (ret < 0) {
        return ret;
    }
    for (at = a->offset; at < a->offset + a->bytes; at += q->cluster_size) {
        link_cluster(q, slice, place.index++, a, at);
    }
    qcow2_cache_put(q->l2_cache, slice);
    return 0;
}

int co_qcow2_finish_write(struct qcow2 *q, struct qcow2_allocation *a, bool success)
{
    int ret = 0;

    if (success) {
        /* If the counts got to the disk before the data, nothing else makes L2 wait for these. */
        if (a->copied || (a->new_clusters && !q->lazy_refcounts && !q->counts_unflushed &&
                          !qcow2_cache_is_dirty(q->refcount_cache))) {
            q->data_unflushed = true;
            q->write_generation++;
        }
        ret = co_link(q, a);
    }
    if ((!success || ret < 0) && a->new_clusters && q->data == q->file) {
        qcow2_free(q, a->host, a->bytes, QCOW2_DISCARD_NEVER);
    }
    g_queue_remove(&q->allocations, a);
    co_queue_wake_all(&a->waiting);
    co_queue_clear(&a->waiting);
    g_free(a);
    return ret;
}

int co_qcow2_set_compressed(struct qcow2 *q, uint64_t offset, uint64_t host,
                            uint64_t compressed_bytes)
{
    struct place place = place_of(q, offset);
    unsigned bits = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (host + compressed_bytes - 1) / 512 - host / 512;
    uint64_t old;
    void *slice;
    int ret;

    co_wait_for_allocations(q, offset, q->cluster_size);
    ret = co_own_slice(q, &place, &slice);
    if (ret < 0) {
        return ret;
    }
    co_qcow2_event(q, L2_UPDATE_COMPRESSED);
    old = get_entry(q, slice, place.index);
    set_entry(q, slice, place.index, QCOW2_COMPRESSED | sectors << bits | host, 0);
    qcow2_free_entry(q, old, QCOW2_DISCARD_NEVER);
    qcow2_cache_put(q->l2_cache, slice);
    return 0;
}

/* ---- Zeroes and discard ---- */

/* An entry that keeps its host cluster (if it has one) and reads as zeroes, or one that has none.
 */
static void zero_cluster(struct qcow2 *q, void *slice, uint32_t index, unsigned flags)
{
    uint64_t entry = get_entry(q, slice, index), bitmap = get_bitmap(q, slice, index), new_entry;
    bool unmap = entry & QCOW2_COMPRESSED || (flags & BLOCK_MAY_UNMAP && has_host(q, entry));

    if (unmap && q->discard_no_unref && !(entry & QCOW2_COMPRESSED)) {
        unmap = false;
    }
    new_entry = unmap ? 0 : entry & ~QCOW2_ZERO;
    if (q->subclusters == 1) {
        new_entry |= QCOW2_ZERO;
    }
    if (new_entry == entry && (q->subclusters == 1 || bitmap == ALL_ZERO)) {
        return;
    }
    set_entry(q, slice, index, new_entry, ALL_ZERO);
    if (unmap) {
        qcow2_free_entry(q, entry, QCOW2_DISCARD_REQUEST);
    }
}

/* Some subclusters of one cluster. */
static int zero_subclusters(struct qcow2 *q, void *slice, uint32_t index, unsigned first,
                            unsigned n)
{
    uint64_t entry = get_entry(q, slice, index), bitmap = get_bitmap(q, slice, index);
    uint64_t bits = ((1ull << n) - 1) << first;

    if (entry & QCOW2_COMPRESSED) {
        return -ENOTSUP; /* it has to be written as a whole */
    }
    set_entry(q, slice, index, entry, (bitmap & ~bits) | bits << QCOW2_SUBCLUSTERS);
    return 0;
}

int co_qcow2_zero(struct qcow2 *q, uint64_t offset, uint64_t bytes, unsigned flags)
{
    uint64_t end = offset + bytes;
    void *slice;
    int ret;

    if (q->header.version < 3) {
        return -ENOTSUP;
    }
    co_wait_for_allocations(q, offset, bytes);
    while (offset < end) {
        struct place place = place_of(q, offset);

        ret = co_own_slice(q, &place, &slice);
        if (ret < 0) {
            return ret;
        }
        for (; offset < end && !(place.index >> q->slice_bits) && ret == 0; place.index++) {
            uint64_t here = MIN(end - offset, q->cluster_size - qcow2_in_cluster(q, offset));

            /* The last cluster may be cut off by the end of the image. */
            if (here == q->cluster_size ||
                (!qcow2_in_cluster(q, offset) && end >= q->header.size)) {
                zero_cluster(q, slice, place.index, flags);
            } else {
                ret = zero_subclusters(q, slice, place.index, subcluster_of(q, offset),
                                       (here + q->subcluster_size - 1) / q->subcluster_size);
            }
            offset += ret == 0 ? here : 0;
        }
        qcow2_cache_put(q->l2_cache, slice);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static void unmap_cluster(struct qcow2 *q, void *slice, uint32_t index, enum qcow2_discard kind,
                          bool full)
{
    uint64_t entry = get_entry(q, slice, index), bitmap = get_bitmap(q, slice, index),
             new_entry = 0, new_bitmap = 0;
    bool keep = q->discard_no_unref && !full && kind == QCOW2_DISCARD_REQUEST &&
                has_host(q, entry) && !(entry & QCOW2_COMPRESSED);

    if (!entry && !bitmap && (full || !q->node->backing)) {
        return; /* reads as zeroes as it is */
    }
    if (!full && q->header.version >= 3) {
        new_entry = keep ? entry : 0;
        if (q->subclusters == 1) {
            new_entry |= QCOW2_ZERO;
        } else {
            new_bitmap = ALL_ZERO;
        }
    }
    if (new_entry == entry && new_bitmap == bitmap) {
        return;
    }
    set_entry(q, slice, index, new_entry, new_bitmap);
    if (!keep) {
        qcow2_free_entry(q, entry, kind);
    }
}

int co_qcow2_unmap(struct qcow2 *q, uint64_t offset, uint64_t bytes, enum qcow2_discard kind,
                   bool full)
{
    uint64_t end = offset + bytes;
    void *slice;
    int ret;

    co_wait_for_allocations(q, offset, bytes);
    while (offset < end) {
        struct place place = place_of(q, offset);
        uint64_t left_in_slice = (1ull << q->slice_bits) - place.index;
        uint64_t n = MIN(left_in_slice, qcow2_clusters(q, end - offset));

        offset += n << q->cluster_bits;
        if ((full || !q->node->backing) &&
            (place.l1_index >= q->header.l1_size || !(q->l1[place.l1_index] & QCOW2_OFFSET_MASK))) {
            continue; /* nothing is there */
        }
        ret = co_own_slice(q, &place, &slice);
        if (ret < 0) {
            return ret;
        }
        while (n--) {
            unmap_cluster(q, slice, place.index++, kind, full);
        }
        qcow2_cache_put(q->l2_cache, slice);
    }
    return 0;
}

/* ---- L1 ---- */

void co_qcow2_drop_l2(struct qcow2 *q, uint64_t first)
{
    uint64_t i, l2;

    if (first >= q->header.l1_size) {
        return;
    }
    co_qcow2_event(q, L1_SHRINK_WRITE_TABLE);
    co_qcow2_event(q, L1_SHRINK_FREE_L2_CLUSTERS);
    for (i = first; i < q->header.l1_size; i++) {
        l2 = q->l1[i] & QCOW2_OFFSET_MASK;
        if (l2) {
            set_l1(q, i, 0);
            qcow2_free(q, l2, q->cluster_size, QCOW2_DISCARD_OTHER);
        }
    }
}

/* The header leads to the new table, which is on the disk. */
static int co_switch_l1(struct qcow2 *q, uint64_t offset, uint32_t size)
{
    uint64_t old_offset = q->header.l1_offset;
    uint32_t old_size = q->header.l1_size;
    int ret;

    q->header.l1_offset = offset;
    q->header.l1_size = size;
    co_qcow2_event(q, L1_GROW_ACTIVATE_TABLE);
    ret = co_qcow2_write_header(q);
    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    if (ret < 0) {
        q->header.l1_offset = old_offset;
        q->header.l1_size = old_size;
        return ret;
    }
    qcow2_metadata_add(q, offset, (uint64_t)size * sizeof(uint64_t), QCOW2_META_ACTIVE_L1);
    qcow2_free(q, old_offset, (uint64_t)old_size * sizeof(uint64_t), QCOW2_DISCARD_OTHER);
    return 0;
}

int co_qcow2_grow_l1(struct qcow2 *q, uint64_t entries, bool exact)
{
    g_autofree uint64_t *big = NULL;
    uint64_t *table, *old = q->l1, i;
    uint32_t old_size = q->header.l1_size;
    int64_t offset;
    int ret;

    if (entries <= old_size) {
        return 0;
    }
    if (!exact) {
        entries = MAX(entries, old_size + old_size / 2 + 1);
    }
    if (entries > QCOW2_MAX_L1_BYTES / sizeof(uint64_t)) {
        return -EFBIG;
    }
    /* What the old table says is on the disk, so that the new one may say it, too. */
    ret = co_qcow2_write_back(q);
    if (ret < 0) {
        return ret;
    }
    co_qcow2_event(q, L1_GROW_ALLOC_TABLE);
    offset = co_qcow2_allocate(q, entries * sizeof(uint64_t));
    if (offset < 0) {
        return offset;
    }
    table = g_new0(uint64_t, entries);
    big = g_new0(uint64_t, entries);
    memcpy(table, old, old_size * sizeof(uint64_t));
    for (i = 0; i < old_size; i++) {
        big[i] = GUINT64_TO_BE(old[i]);
    }
    ret = co_qcow2_write_back(q);
    if (ret == 0) {
        co_qcow2_event(q, L1_GROW_WRITE_TABLE);
        ret = co_child_write(q->file, offset, entries * sizeof(uint64_t),
                             BLOCK_BUFFER(big, entries * sizeof(uint64_t)), 0);
    }
    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    if (ret == 0) {
        /* Entries first: who looks up meanwhile finds the old size with them. */
        g_mutex_lock(&q->tables);
        q->l1 = table;
        g_mutex_unlock(&q->tables);
        ret = co_switch_l1(q, offset, entries);
    }
    if (ret < 0) {
        g_mutex_lock(&q->tables);
        q->l1 = old;
        g_mutex_unlock(&q->tables);
        g_free(table);
        qcow2_free(q, offset, entries * sizeof(uint64_t), QCOW2_DISCARD_OTHER);
        return ret;
    }
    g_free(old);
    return 0;
}
