/*
 * What refers to which cluster. A hostile image can make this no longer than its data on the disk:
 * tables that are referred to several times are read once, holes of the file not at all, and counts
 * are kept only of clusters that something refers to.
 */
#include "block/qcow2_check.h"

#include <string.h>

enum { READ_AT_ONCE = 1 << 20 };

#define L1_RESERVED      0x7f000000000001ffull
#define L2_RESERVED      0x3f000000000001feull /* of clusters that aren't compressed */
#define L2_ALL_ALLOCATED 0xffffffffull

/* ---- Counts ---- */

static uint32_t *piece(struct qcow2_checker *c, uint64_t cluster, bool make)
{
    struct qcow2_counts *counts = &c->counts;
    uint64_t number = cluster / QCOW2_PIECE;
    uint32_t *found;

    if (counts->last && counts->last_number == number) {
        return counts->last;
    }
    found = g_hash_table_lookup(counts->pieces, GSIZE_TO_POINTER(number));
    if (!found && make) {
        if (g_hash_table_size(counts->pieces) >= counts->max_pieces) {
            c->too_sparse = true;
            return NULL;
        }
        found = g_new0(uint32_t, QCOW2_PIECE);
        g_hash_table_insert(counts->pieces, GSIZE_TO_POINTER(number), found);
    }
    if (found) {
        counts->last = found;
        counts->last_number = number;
    }
    return found;
}

uint32_t qcow2_counts_get(struct qcow2_checker *c, uint64_t cluster)
{
    const uint32_t *found = piece(c, cluster, false);

    return found ? found[cluster % QCOW2_PIECE] : 0;
}

void qcow2_counts_clear(struct qcow2_checker *c)
{
    g_hash_table_remove_all(c->counts.pieces);
    c->counts.last = NULL;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

GArray *qcow2_counts_pieces(struct qcow2_checker *c)
{
    GArray *numbers = g_array_new(false, false, sizeof(uint64_t));
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, c->counts.pieces);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        uint64_t number = GPOINTER_TO_SIZE(key);

        g_array_append_val(numbers, number);
    }
    g_array_sort(numbers, by_number);
    return numbers;
}

void qcow2_count_region(struct qcow2_checker *c, uint64_t offset, uint64_t bytes, uint64_t times)
{
    const struct qcow2 *q = c->q;
    uint64_t most = MIN(q->refcount_max, UINT32_MAX), i, last;

    if (!bytes) {
        return;
    }
    /* The last cluster of the file may be cut off. */
    if (offset > INT64_MAX - bytes ||
        (offset + bytes > c->file_length && offset + bytes - c->file_length >= q->cluster_size)) {
        qcow2_check_say(
            c,
            "ERROR: counting reference for region exceeding the end of the file by one cluster or more: "
            "offset 0x%" PRIx64 " size 0x%" PRIx64,
            offset, bytes);
        c->result->corruptions += times;
        return;
    }
    last = (offset + bytes - 1) >> q->cluster_bits;
    for (i = offset >> q->cluster_bits; i <= last; i++) {
        uint32_t *found = piece(c, i, true), *count;

        if (!found) {
            return;
        }
        count = &found[i % QCOW2_PIECE];
        if (times > most - *count) {
            qcow2_check_say(c, "ERROR: overflow cluster offset=0x%" PRIx64, i << q->cluster_bits);
            c->result->corruptions += times - (most - *count);
            *count = most;
        } else {
            *count += times;
        }
    }
}

/* Asks the file what is at offset, and keeps the answer. */
static void co_look(struct qcow2_checker *c, uint64_t offset)
{
    struct block_status status;
    uint64_t end;

    if (co_node_status(c->q->file->node, offset, c->file_length - offset, &status) < 0) {
        return;
    }
    /* What is behind the end reads as zeroes, too. */
    end = offset + status.bytes == c->file_length ? INT64_MAX : offset + status.bytes;
    if (status.flags & BLOCK_STATUS_ZERO) {
        c->hole_from = offset;
        c->hole_to = end;
    } else {
        c->data_from = offset;
        c->data_to = end;
    }
}

int co_qcow2_check_read(struct qcow2_checker *c, uint64_t offset, uint64_t bytes, void *buffer,
                        bool *zero)
{
    *zero = offset >= c->file_length;
    if (*zero) {
        return 0;
    }
    if ((offset < c->hole_from || offset >= c->hole_to) &&
        (offset < c->data_from || offset >= c->data_to)) {
        co_look(c, offset);
    }
    *zero = offset >= c->hole_from && offset + bytes <= c->hole_to;
    return *zero ? 0 : co_child_read(c->q->file, offset, bytes, BLOCK_BUFFER(buffer, bytes), 0);
}

/* ---- L1 ---- */

static void count_l1_entry(struct qcow2_checker *c, uint64_t entry, bool active, uint32_t times)
{
    struct qcow2 *q = c->q;
    uint64_t offset = entry & QCOW2_OFFSET_MASK;
    struct qcow2_l2_table *table;
    guint index;

    if (!entry) {
        return;
    }
    if (entry & L1_RESERVED) {
        qcow2_check_say(c, "ERROR found L1 entry with reserved bits set: %" PRIx64, entry);
        c->result->corruptions += times;
    }
    qcow2_count_region(c, offset, q->cluster_size, times);
    if (qcow2_in_cluster(q, offset)) {
        qcow2_check_say(c,
                        "ERROR l2_offset=%" PRIx64
                        ": Table is not cluster aligned; L1 entry corrupted",
                        offset);
        c->result->corruptions += times;
    }
    index = GPOINTER_TO_UINT(g_hash_table_lookup(c->l2_by_offset, GSIZE_TO_POINTER(offset)));
    if (!index) {
        struct qcow2_l2_table new_table = {.offset = offset};

        g_array_append_val(c->l2_tables, new_table);
        index = c->l2_tables->len;
        g_hash_table_insert(c->l2_by_offset, GSIZE_TO_POINTER(offset), GUINT_TO_POINTER(index));
    }
    table = &g_array_index(c->l2_tables, struct qcow2_l2_table, index - 1);
    table->times += MIN(times, UINT32_MAX - table->times);
    table->active_times += active;
}

/* Of the active table the entries are kept. */
static bool co_count_l1(struct qcow2_checker *c, uint64_t offset, uint32_t size, bool active,
                        uint32_t times)
{
    uint64_t bytes = (uint64_t)size * sizeof(uint64_t), done, here;
    g_autofree uint64_t *big = g_malloc(MIN(bytes, READ_AT_ONCE) + 1);
    bool zero;

    qcow2_count_region(c, offset, bytes, times);
    for (done = 0; done < bytes; done += here) {
        uint64_t i;
        int ret;

        here = MIN(bytes - done, READ_AT_ONCE);
        ret = co_qcow2_check_read(c, offset + done, here, big, &zero);
        if (ret < 0) {
            qcow2_check_say(c, "ERROR: I/O error in the L1 table at %#" PRIx64 ": %s",
                            offset + done, g_strerror(-ret));
            c->result->check_errors++;
            return false;
        }
        for (i = 0; i < here / sizeof(uint64_t) && !zero; i++) {
            uint64_t entry = GUINT64_FROM_BE(big[i]);

            count_l1_entry(c, entry, active, times);
            if (active) {
                c->l1[done / sizeof(uint64_t) + i] = entry;
            }
        }
    }
    return true;
}

/* Snapshots that have one table are counted together. */
static bool co_count_snapshots(struct qcow2_checker *c)
{
    struct qcow2 *q = c->q;
    g_autoptr(GHashTable) tables = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    GHashTableIter iter;
    gpointer key, times;
    uint32_t i, size;
    uint64_t offset;

    if (q->data != q->file && q->n_snapshots) {
        qcow2_check_say(c, "ERROR %u snapshots in image with data file", q->n_snapshots);
        c->result->corruptions++;
    }
    for (i = 0; i < q->n_snapshots; i++) {
        qcow2_snapshot_l1(q, i, &offset, &size);
        if (qcow2_in_cluster(q, offset)) {
            qcow2_check_say(c,
                            "ERROR snapshot %u l1_offset=%#" PRIx64
                            ": L1 table is not cluster aligned; snapshot "
                            "table entry corrupted",
                            i, offset);
            c->result->corruptions++;
        } else if (size > QCOW2_MAX_L1_BYTES / sizeof(uint64_t)) {
            qcow2_check_say(c,
                            "ERROR snapshot %u l1_size=%#" PRIx32
                            ": L1 table is too large; snapshot table entry "
                            "corrupted",
                            i, size);
            c->result->corruptions++;
        } else if (size) {
            char *name = g_strdup_printf("%" PRIx64 ":%" PRIx32, offset, size);

            times = g_hash_table_lookup(tables, name);
            g_hash_table_insert(tables, name, GUINT_TO_POINTER(GPOINTER_TO_UINT(times) + 1));
        }
    }
    g_hash_table_iter_init(&iter, tables);
    while (g_hash_table_iter_next(&iter, &key, &times)) {
        char *end;

        offset = g_ascii_strtoull(key, &end, 16);
        size = g_ascii_strtoull(end + 1, NULL, 16);
        if (!co_count_l1(c, offset, size, false, GPOINTER_TO_UINT(times))) {
            return false;
        }
    }
    if (q->n_snapshots) {
        qcow2_count_region(c, q->header.snapshots_offset, q->snapshots_bytes, 1);
    }
    return true;
}

/* ---- L2 ---- */

/* A table under way. */
struct l2_walk {
    const struct qcow2_l2_table *table;
    uint64_t *big; /* in the file's byte order */
    uint64_t next; /* where the next cluster would follow; 0: none came yet */
    bool may_repair, changed;
    int64_t corruptions; /* found before the entry under way */
};

static void count_compressed(struct qcow2_checker *c, struct l2_walk *w, uint32_t i, uint64_t entry,
                             uint64_t bitmap)
{
    uint64_t offset, bytes = qcow2_compressed_range(c->q, entry & ~QCOW2_COPIED, &offset);

    if (entry & QCOW2_COPIED) {
        qcow2_check_say(c,
                        "ERROR: coffset=0x%" PRIx64
                        ": copied flag must never be set for compressed clusters",
                        offset);
        c->result->corruptions += w->table->times;
    }
    if (c->q->data != c->q->file) {
        qcow2_check_say(c, "ERROR compressed cluster %u with data file, entry=0x%" PRIx64, i,
                        entry);
        c->result->corruptions += w->table->times;
        return;
    }
    if (bitmap) {
        qcow2_check_say(
            c,
            "ERROR compressed cluster %u with non-zero subcluster allocation bitmap, entry=0x%" PRIx64,
            i, entry);
        c->result->corruptions += w->table->times;
        return;
    }
    qcow2_count_region(c, offset, bytes, w->table->times);
    c->result->allocated_clusters += w->table->active_times;
    c->result->compressed_clusters += w->table->active_times;
    c->result->fragmented_clusters += w->table->active_times;
}

/* The entry becomes one that reads as zeroes and has no cluster. */
static void zero_entry(struct qcow2_checker *c, struct l2_walk *w, uint32_t i)
{
    uint32_t words = c->q->l2_entry_size / sizeof(uint64_t);

    w->big[i * words] = words > 1 ? 0 : GUINT64_TO_BE(QCOW2_ZERO);
    if (words > 1) {
        w->big[i * words + 1] = GUINT64_TO_BE(~L2_ALL_ALLOCATED);
    }
    w->changed = true;
    c->result->corruptions_fixed += c->result->corruptions - w->corruptions + w->table->times;
    c->result->corruptions = w->corruptions;
}

/* False: its offset can't be, and it was dealt with. */
static bool check_alignment(struct qcow2_checker *c, struct l2_walk *w, uint32_t i, uint64_t entry,
                            uint64_t bitmap)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;
    bool data = c->q->subclusters > 1 ? bitmap & L2_ALL_ALLOCATED : !(entry & QCOW2_ZERO);
    bool repair = !data && w->may_repair && c->q->header.version >= 3;

    if (!qcow2_in_cluster(c->q, offset)) {
        return true;
    }
    qcow2_check_say(c,
                    "%s offset=%" PRIx64
                    ": %s cluster is not properly aligned; L2 entry corrupted.",
                    repair ? "Repairing" : "ERROR", offset, data ? "Data" : "Preallocated");
    if (repair) {
        zero_entry(c, w, i);
        return false;
    }
    c->result->corruptions += w->table->times;
    return true;
}

/* Data that a stop of the host kept from the file read as zeroes, as soon as it is long enough. */
static void make_room(struct qcow2_checker *c, uint64_t offset, uint64_t times)
{
    uint64_t end = offset + c->q->cluster_size;

    if (c->fix & BLOCK_FIX_ERRORS && end > c->file_length &&
        end - c->file_length >= c->q->cluster_size && end <= c->max_length) {
        c->file_length = end;
        c->file_clusters = qcow2_clusters(c->q, end);
        c->extended += times;
    }
}

static int co_extend_file(struct qcow2_checker *c)
{
    int ret;

    if (!c->extended) {
        return 0;
    }
    qcow2_check_say(c, "Repairing the file's length: %" PRIu64 " references were behind its end",
                    c->extended);
    ret = co_child_truncate(c->q->file, c->file_length, false, QAPI_PREALLOC_MODE_OFF, 0, NULL);
    if (ret < 0) {
        c->result->check_errors++;
        return ret;
    }
    c->hole_from = c->hole_to = c->data_from = c->data_to = 0;
    c->result->corruptions_fixed += c->extended;
    c->extended = 0;
    return 0;
}

static void count_l2_entry(struct qcow2_checker *c, struct l2_walk *w, uint32_t i)
{
    struct qcow2 *q = c->q;
    uint32_t words = q->l2_entry_size / sizeof(uint64_t), active = w->table->active_times;
    uint64_t entry = GUINT64_FROM_BE(w->big[i * words]), offset = entry & QCOW2_OFFSET_MASK;
    uint64_t bitmap = words > 1 ? GUINT64_FROM_BE(w->big[i * words + 1]) : 0;

    w->corruptions = c->result->corruptions;
    if (entry & QCOW2_COMPRESSED) {
        count_compressed(c, w, i, entry, bitmap);
        return;
    }
    if (entry & L2_RESERVED) {
        qcow2_check_say(c, "ERROR found l2 entry with reserved bits set: %" PRIx64, entry);
        c->result->corruptions += w->table->times;
    }
    if (!offset && !(q->data != q->file && entry & QCOW2_COPIED)) {
        if (bitmap & L2_ALL_ALLOCATED) {
            qcow2_check_say(c, "ERROR: Unallocated cluster has non-zero subcluster allocation map");
            c->result->corruptions += w->table->times;
        }
        return;
    }
    if ((bitmap >> QCOW2_SUBCLUSTERS) & bitmap) {
        qcow2_check_say(c,
                        "ERROR offset=%" PRIx64
                        ": Allocated cluster has corrupted subcluster allocation bitmap",
                        offset);
        c->result->corruptions += w->table->times;
    }
    if (!check_alignment(c, w, i, entry, bitmap)) {
        return;
    }
    c->result->allocated_clusters += active;
    if (w->next && w->next != offset) {
        c->result->fragmented_clusters += active;
    }
    w->next = offset + q->cluster_size;
    if (q->data == q->file) {
        make_room(c, offset, w->table->times);
        qcow2_count_region(c, offset, q->cluster_size, w->table->times);
    }
}

bool qcow2_is_only(struct qcow2_checker *c, uint64_t offset, uint64_t bytes, uint64_t times)
{
    const struct qcow2 *q = c->q;
    uint64_t end = offset + bytes, start = q->header.reftable_offset, at, i;

    if (qcow2_in_cluster(q, offset) ||
        (end > start &&
         offset < start + ((uint64_t)q->header.reftable_clusters << q->cluster_bits))) {
        return false;
    }
    for (at = offset; at < end; at += q->cluster_size) {
        if (qcow2_counts_get(c, at >> q->cluster_bits) != times) {
            return false;
        }
    }
    for (i = 0; i < q->reftable_size; i++) {
        uint64_t block = q->reftable[i] & QCOW2_REFTABLE_MASK;

        if (block < end && block + q->cluster_size > offset) {
            return false;
        }
    }
    return true;
}

static bool co_count_l2(struct qcow2_checker *c, const struct qcow2_l2_table *table, uint64_t *big)
{
    struct qcow2 *q = c->q;
    struct l2_walk w = {.table = table, .big = big};
    bool zero;
    uint32_t i;
    int ret = co_qcow2_check_read(c, table->offset, q->cluster_size, big, &zero);

    /* Counts of other L2 tables, data and bitmaps may follow. */
    w.may_repair = c->fix & BLOCK_FIX_ERRORS &&
                   qcow2_is_only(c, table->offset, q->cluster_size, table->times);
    for (i = 0; ret == 0 && !zero && i < 1u << q->l2_bits; i++) {
        count_l2_entry(c, &w, i);
    }
    if (ret == 0 && w.changed) {
        ret = co_child_write(q->file, table->offset, q->cluster_size,
                             BLOCK_BUFFER(big, q->cluster_size), 0);
    }
    if (ret < 0) {
        qcow2_check_say(c, "ERROR: I/O error in the L2 table at %#" PRIx64 ": %s", table->offset,
                        g_strerror(-ret));
        c->result->check_errors++;
        return false;
    }
    return true;
}

static bool co_count_l2_tables(struct qcow2_checker *c)
{
    g_autofree uint64_t *big = g_malloc(c->q->cluster_size);
    guint i;

    for (i = 0; i < c->l2_tables->len && !c->too_sparse; i++) {
        if (!co_count_l2(c, &g_array_index(c->l2_tables, struct qcow2_l2_table, i), big)) {
            return false;
        }
    }
    return co_extend_file(c) >= 0;
}

/* ---- All ---- */

static void count_block(struct qcow2_checker *c, uint64_t i, uint64_t entry)
{
    struct qcow2 *q = c->q;
    uint64_t offset = entry & QCOW2_REFTABLE_MASK, cluster = offset >> q->cluster_bits;

    if (entry & ~QCOW2_REFTABLE_MASK) {
        qcow2_check_say(c, "ERROR refcount table entry %" PRIu64 " has reserved bits set", i);
        c->result->corruptions++;
        c->rebuild = true;
    } else if (qcow2_in_cluster(q, offset)) {
        qcow2_check_say(c,
                        "ERROR refcount block %" PRIu64
                        " is not cluster aligned; refcount table entry corrupted",
                        i);
        c->result->corruptions++;
        c->rebuild = true;
    } else if (cluster >= c->file_clusters) {
        qcow2_check_say(c, "ERROR refcount block %" PRIu64 " is outside image", i);
        c->result->corruptions++;
        c->rebuild = true;
    } else if (offset) {
        uint32_t count;

        qcow2_count_region(c, offset, q->cluster_size, 1);
        count = qcow2_counts_get(c, cluster);
        if (count != 1 && !c->too_sparse) {
            qcow2_check_say(c, "ERROR refcount block %" PRIu64 " refcount=%" PRIu32, i, count);
            c->result->corruptions++;
            c->rebuild = true;
        }
    }
}

bool co_qcow2_count_refcounts(struct qcow2_checker *c)
{
    struct qcow2 *q = c->q;
    uint64_t i;

    qcow2_count_region(c, q->header.reftable_offset,
                       (uint64_t)q->header.reftable_clusters << q->cluster_bits, 1);
    for (i = 0; i < q->reftable_size; i++) {
        if (q->reftable[i]) {
            count_block(c, i, q->reftable[i]);
        }
    }
    return !c->too_sparse;
}

bool co_qcow2_count_all(struct qcow2_checker *c)
{
    struct qcow2 *q = c->q;

    qcow2_counts_clear(c);
    g_array_set_size(c->l2_tables, 0);
    g_hash_table_remove_all(c->l2_by_offset);
    c->result->allocated_clusters = c->result->fragmented_clusters =
        c->result->compressed_clusters = 0;
    memset(c->l1, 0, (size_t)q->header.l1_size * sizeof(uint64_t));
    qcow2_count_region(c, 0, q->cluster_size, 1);
    if (!co_count_l1(c, q->header.l1_offset, q->header.l1_size, true, 1) ||
        !co_count_snapshots(c) || !co_count_l2_tables(c)) {
        return false;
    }
    if (q->header.crypto_length) {
        qcow2_count_region(c, q->header.crypto_offset, q->header.crypto_length, 1);
    }
    co_qcow2_count_bitmaps(c);
    return !c->too_sparse;
}
