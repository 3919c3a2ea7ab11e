/*
 * Internal snapshots (spec, "Snapshots"). All in drained sections, with q->lock held by the
 * operation as a whole; each settles the image first, so that counts are exact and nothing is on
 * its way.
 *
 * A snapshot is an L1 table. Whatever it and the active one refer to both is counted twice, and has
 * COPIED clear in the active tables. Each step leaves leaks at most when it is the last that gets
 * to the disk: counts go up and are flushed before something refers to them, and go down after
 * nothing does. To go to a snapshot is one write of the header: before it everything is as it was,
 * after it everything as it was then.
 */
#include "block/qcow2.h"

#include <string.h>

enum {
    ENTRY_SIZE = 40,
    MIN_EXTRA = 16,
    MAX_EXTRA = 1024,
    MAX_NAME = 65535,
    MAX_TABLE_BYTES = 1024 * QCOW2_MAX_SNAPSHOTS
};

struct qcow2_snapshot {
    uint64_t l1_offset;
    uint32_t l1_size; /* entries */
    char *id, *name;
    uint32_t date_sec, date_nsec;
    uint64_t clock_ns;
    uint64_t vm_state_size;
    uint64_t disk_size;
    uint64_t icount; /* UINT64_MAX: not known */
    GBytes *extra;   /* beyond what is known; NULL: none */
};

/* ---- The table ---- */

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    while (bytes--) {
        value = value << 8 | *at++;
    }
    return value;
}

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    while (bytes--) {
        at[bytes] = value;
        value >>= 8;
    }
}

static void snapshot_clear(struct qcow2_snapshot *s)
{
    g_free(s->id);
    g_free(s->name);
    g_clear_pointer(&s->extra, g_bytes_unref);
}

void qcow2_snapshot_l1(const struct qcow2 *q, uint32_t i, uint64_t *offset, uint32_t *size)
{
    *offset = q->snapshots[i].l1_offset;
    *size = q->snapshots[i].l1_size;
}

void qcow2_snapshots_free(struct qcow2 *q)
{
    uint32_t i;

    for (i = 0; i < q->n_snapshots; i++) {
        snapshot_clear(&q->snapshots[i]);
    }
    g_clear_pointer(&q->snapshots, g_free);
    q->n_snapshots = 0;
}

static bool co_read_at(struct qcow2 *q, uint64_t *at, void *data, size_t bytes, GError **error)
{
    int ret = bytes ? co_child_read(q->file, *at, bytes, BLOCK_BUFFER(data, bytes), 0) : 0;

    if (ret < 0) {
        return block_error_errno(error, ret, "Failed to read snapshot table");
    }
    *at += bytes;
    return true;
}

static void take_extra(const struct qcow2 *q, struct qcow2_snapshot *s, const uint8_t *extra,
                       uint32_t size)
{
    s->disk_size = size >= 16 ? get(extra + 8, 8) : q->header.size;
    s->icount = size >= 24 ? get(extra + 16, 8) : UINT64_MAX;
    if (size >= 8) {
        s->vm_state_size = get(extra, 8);
    }
    if (size > 24) {
        s->extra = g_bytes_new(extra + 24, size - 24);
    }
}

static bool co_read_snapshot(struct qcow2 *q, uint64_t *at, struct qcow2_snapshot *s,
                             GError **error)
{
    uint8_t raw[ENTRY_SIZE], extra[MAX_EXTRA];
    uint32_t extra_size, id_size, name_size;

    if (!co_read_at(q, at, raw, sizeof(raw), error)) {
        return false;
    }
    s->l1_offset = get(raw, 8);
    s->l1_size = get(raw + 8, 4);
    id_size = get(raw + 12, 2);
    name_size = get(raw + 14, 2);
    s->date_sec = get(raw + 16, 4);
    s->date_nsec = get(raw + 20, 4);
    s->clock_ns = get(raw + 24, 8);
    s->vm_state_size = get(raw + 32, 4);
    extra_size = get(raw + 36, 4);
    if (extra_size > MAX_EXTRA) {
        return block_error(error, "Too much extra metadata in snapshot table entry");
    }
    s->id = g_malloc0(id_size + 1);
    s->name = g_malloc0(name_size + 1);
    if (!co_read_at(q, at, extra, extra_size, error) || !co_read_at(q, at, s->id, id_size, error) ||
        !co_read_at(q, at, s->name, name_size, error)) {
        return false;
    }
    take_extra(q, s, extra, extra_size);
    *at = (*at + 7) & ~7ull;
    /* Else it is the check that tells. */
    if (q->node->open_flags & BLOCK_OPEN_CHECK) {
        return true;
    }
    if (qcow2_in_cluster(q, s->l1_offset) || s->l1_offset > INT64_MAX - QCOW2_MAX_L1_BYTES ||
        s->l1_size > QCOW2_MAX_L1_BYTES / sizeof(uint64_t)) {
        return block_error(error, "Snapshot L1 table of '%s' can't be where and what the image says",
                      s->name);
    }
    return true;
}

bool co_qcow2_snapshots_open(struct qcow2 *q, GError **error)
{
    uint64_t at = q->header.snapshots_offset;
    uint32_t i;

    if (!q->header.n_snapshots) {
        return true;
    }
    for (i = 0; i < q->header.n_snapshots; i++) {
        struct qcow2_snapshot *s;

        if (at >= q->file->node->length) {
            return block_error(error, "The snapshot table ends behind the end of the file");
        }
        if (!(i & (i - 1))) { /* a power of 2: room for as many again */
            q->snapshots = g_renew(struct qcow2_snapshot, q->snapshots, MAX(2 * i, 1));
        }
        s = &q->snapshots[i];
        memset(s, 0, sizeof(*s));
        q->n_snapshots = i + 1;
        if (!co_read_snapshot(q, &at, s, error)) {
            return false;
        }
        if (at - q->header.snapshots_offset > MAX_TABLE_BYTES) {
            return block_error(error, "Snapshot table is too large");
        }
    }
    q->snapshots_bytes = at - q->header.snapshots_offset;
    return true;
}

static void append_snapshot(GByteArray *out, const struct qcow2_snapshot *s)
{
    static const uint8_t zeroes[8];
    uint8_t raw[ENTRY_SIZE + 24] = {0};
    size_t id_size = strlen(s->id), name_size = strlen(s->name);
    gsize unknown = 0;
    const void *extra = s->extra ? g_bytes_get_data(s->extra, &unknown) : NULL;
    unsigned known = s->icount != UINT64_MAX || unknown ? 24 : 16;

    put(raw, s->l1_offset, 8);
    put(raw + 8, s->l1_size, 4);
    put(raw + 12, id_size, 2);
    put(raw + 14, name_size, 2);
    put(raw + 16, s->date_sec, 4);
    put(raw + 20, s->date_nsec, 4);
    put(raw + 24, s->clock_ns, 8);
    put(raw + 32, s->vm_state_size <= UINT32_MAX ? s->vm_state_size : 0, 4);
    put(raw + 36, known + unknown, 4);
    put(raw + 40, s->vm_state_size, 8);
    put(raw + 48, s->disk_size, 8);
    put(raw + 56, s->icount, 8);
    g_byte_array_append(out, raw, ENTRY_SIZE + known);
    if (unknown) {
        g_byte_array_append(out, extra, unknown);
    }
    g_byte_array_append(out, (const uint8_t *)s->id, id_size);
    g_byte_array_append(out, (const uint8_t *)s->name, name_size);
    g_byte_array_append(out, zeroes, -out->len & 7);
}

/* Writes the table elsewhere, then the header; the old one is given back. */
static int co_write_snapshots(struct qcow2 *q)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    uint64_t old_offset = q->header.snapshots_offset, old_bytes = q->snapshots_bytes;
    uint32_t old_n = q->header.n_snapshots, i;
    int64_t offset = 0;
    int ret = 0;

    for (i = 0; i < q->n_snapshots; i++) {
        append_snapshot(out, &q->snapshots[i]);
    }
    if (out->len > MAX_TABLE_BYTES) {
        return -EFBIG;
    }
    if (out->len) {
        offset = co_qcow2_allocate(q, out->len);
        if (offset < 0) {
            return offset;
        }
        ret = co_qcow2_write_back(q);
        if (ret == 0) {
            ret = co_child_write(q->file, offset, out->len, BLOCK_BUFFER(out->data, out->len), 0);
        }
    }
    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    if (ret == 0) {
        q->header.snapshots_offset = offset;
        q->header.n_snapshots = q->n_snapshots;
        ret = co_qcow2_write_header(q);
        if (ret == 0) {
            ret = co_qcow2_flush_file(q);
        }
    }
    if (ret < 0) {
        q->header.snapshots_offset = old_offset;
        q->header.n_snapshots = old_n;
        qcow2_free(q, offset, out->len, QCOW2_DISCARD_OTHER);
        return ret;
    }
    q->snapshots_bytes = out->len;
    qcow2_metadata_add(q, offset, out->len, QCOW2_META_SNAPSHOT_TABLE);
    qcow2_free(q, old_offset, old_bytes, QCOW2_DISCARD_SNAPSHOT);
    return 0;
}

/* ---- Counting what a table refers to ---- */

/* The clusters that an entry refers to: of compressed data perhaps two. 0: none. */
static uint64_t entry_clusters(const struct qcow2 *q, uint64_t entry, uint64_t *first)
{
    if (entry & QCOW2_COMPRESSED) {
        unsigned bits = 62 - (q->cluster_bits - 8);
        uint64_t offset = entry & ((1ull << bits) - 1);
        uint64_t end = (offset & ~511ull) +
                       ((entry >> bits & ((1ull << (q->cluster_bits - 8)) - 1)) + 1) * 512;

        *first = offset >> q->cluster_bits;
        return ((end - 1) >> q->cluster_bits) - *first + 1;
    }
    *first = (entry & QCOW2_OFFSET_MASK) >> q->cluster_bits;
    return entry & QCOW2_OFFSET_MASK ? 1 : 0;
}

/* Adds (1), gives back later (-1) or leaves (0) one entry's clusters; the entry as it is then. */
static int co_count_entry(struct qcow2 *q, uint64_t *entry, int change)
{
    uint64_t first, n = q->data == q->file ? entry_clusters(q, *entry, &first) : 0, count;
    int ret = 0;

    if (!n) {
        return 0;
    }
    if (!(*entry & QCOW2_COMPRESSED) && qcow2_in_cluster(q, *entry & QCOW2_OFFSET_MASK)) {
        return co_qcow2_corrupt(q, true, *entry & QCOW2_OFFSET_MASK, -1,
                                "Cluster allocation offset %#" PRIx64 " unaligned",
                                (uint64_t)(*entry & QCOW2_OFFSET_MASK));
    }
    if (change > 0) {
        ret = co_qcow2_refcount_add(q, first, n, 1);
    } else if (change < 0) {
        qcow2_free(q, first << q->cluster_bits, n << q->cluster_bits, QCOW2_DISCARD_SNAPSHOT);
    }
    if (ret < 0 || *entry & QCOW2_COMPRESSED) {
        return ret;
    }
    ret = co_qcow2_refcount(q, first, &count);
    *entry = count == 1 && change >= 0 ? *entry | QCOW2_COPIED : *entry & ~QCOW2_COPIED;
    return ret;
}

static int co_count_slice(struct qcow2 *q, uint64_t offset, int change)
{
    uint64_t *words;
    void *slice;
    size_t i, step = q->l2_entry_size / sizeof(uint64_t), n = step << q->slice_bits;
    int ret = co_qcow2_cache_get(q->l2_cache, offset, &slice);

    if (ret < 0) {
        return ret;
    }
    words = slice;
    for (i = 0; i < n && ret == 0; i += step) {
        uint64_t entry = GUINT64_FROM_BE(words[i]), old = entry;

        ret = co_count_entry(q, &entry, change);
        /* A table that goes away isn't worth a write. */
        if (ret == 0 && entry != old && change >= 0) {
            qcow2_cache_dirty(q->l2_cache, slice);
            g_mutex_lock(&q->tables);
            words[i] = GUINT64_TO_BE(entry);
            g_mutex_unlock(&q->tables);
        }
    }
    qcow2_cache_put(q->l2_cache, slice);
    return ret;
}

/* An L1 table in memory, host byte order; its entries' COPIED are brought up to date. */
static int co_count_table(struct qcow2 *q, uint64_t *l1, uint32_t size, int change)
{
    uint64_t slice_size = (uint64_t)q->l2_entry_size << q->slice_bits, at;
    uint32_t i;
    int ret;

    for (i = 0; i < size; i++) {
        uint64_t l2 = l1[i] & QCOW2_OFFSET_MASK;

        if (!l2) {
            continue;
        }
        for (at = 0; at < q->cluster_size; at += slice_size) {
            ret = co_count_slice(q, l2 + at, change);
            if (ret < 0) {
                return ret;
            }
        }
        ret = co_count_entry(q, &l1[i], change);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static void l1_changed(struct qcow2 *q)
{
    if (q->header.l1_size) {
        q->l1_dirty = true;
        q->l1_dirty_first = 0;
        q->l1_dirty_last = q->header.l1_size - 1;
    }
}

const char *qcow2_snapshots_need_v3(const struct qcow2 *q)
{
    uint32_t i;

    for (i = 0; i < q->n_snapshots; i++) {
        if (q->snapshots[i].disk_size != q->header.size) {
            return "version 2 has no snapshots of another size than the disk's";
        }
        if (q->snapshots[i].vm_state_size > UINT32_MAX) {
            return "version 2 has no snapshots with 4 GiB or more of a machine's state";
        }
    }
    return NULL;
}

static uint64_t *co_read_l1(struct qcow2 *q, const struct qcow2_snapshot *s, uint32_t entries,
                            GError **error)
{
    uint64_t *l1 = g_new0(uint64_t, MAX(entries, s->l1_size) + 1),
             bytes = (uint64_t)s->l1_size * sizeof(uint64_t);
    uint32_t i;
    int ret = bytes ? co_child_read(q->file, s->l1_offset, bytes, BLOCK_BUFFER(l1, bytes), 0) : 0;

    if (ret < 0) {
        g_free(l1);
        block_error_errno(error, ret, "Failed to read the snapshot's L1 table");
        return NULL;
    }
    for (i = 0; i < s->l1_size; i++) {
        l1[i] = GUINT64_FROM_BE(l1[i]);
    }
    return l1;
}

uint64_t *co_qcow2_snapshot_table(struct qcow2 *q, uint32_t i, uint32_t entries, GError **error)
{
    return co_read_l1(q, &q->snapshots[i], entries, error);
}

static int co_write_l1(struct qcow2 *q, const uint64_t *l1, uint32_t entries, uint64_t offset)
{
    uint64_t bytes = (uint64_t)entries * sizeof(uint64_t);
    g_autofree uint64_t *big = g_new(uint64_t, entries + 1);
    uint32_t i;

    for (i = 0; i < entries; i++) {
        big[i] = GUINT64_TO_BE(l1[i]);
    }
    return bytes ? co_child_write(q->file, offset, bytes, BLOCK_BUFFER(big, bytes), 0) : 0;
}

/* ---- Operations ---- */

static int find(const struct qcow2 *q, const char *id, const char *name)
{
    uint32_t i;

    for (i = 0; i < q->n_snapshots; i++) {
        if ((id || name) && (!id || !strcmp(q->snapshots[i].id, id)) &&
            (!name || !strcmp(q->snapshots[i].name, name))) {
            return i;
        }
    }
    return -1;
}

static char *new_id(const struct qcow2 *q)
{
    unsigned long max = 0;
    uint32_t i;

    for (i = 0; i < q->n_snapshots; i++) {
        max = MAX(max, strtoul(q->snapshots[i].id, NULL, 10));
    }
    return g_strdup_printf("%lu", max + 1);
}

static bool co_add(struct qcow2 *q, struct qcow2_snapshot *s, GError **error)
{
    uint64_t bytes = (uint64_t)q->header.l1_size * sizeof(uint64_t);
    int64_t offset;
    int ret = co_qcow2_settle(q);

    if (ret < 0) {
        return block_error_errno(error, ret, "Could not write metadata");
    }
    offset = bytes ? co_qcow2_allocate(q, bytes) : 0;
    if (offset < 0) {
        return block_error_errno(error, offset, "Failed to allocate the snapshot's L1 table");
    }
    s->l1_offset = offset;
    s->l1_size = q->header.l1_size;
    /* Counts first, and without COPIED nobody writes in place; the copy of the table comes after
     * that. */
    ret = co_count_table(q, q->l1, q->header.l1_size, 1);
    l1_changed(q);
    if (ret == 0) {
        ret = co_qcow2_write_back(q);
    }
    if (ret == 0) {
        ret = co_write_l1(q, q->l1, q->header.l1_size, offset);
    }
    if (ret < 0) {
        return block_error_errno(
            error, ret,
            "Failed to count the snapshot's clusters (nandu-img check -r leaks finds what was "
            "counted)");
    }
    q->snapshots = g_renew(struct qcow2_snapshot, q->snapshots, q->n_snapshots + 1);
    q->snapshots[q->n_snapshots++] = *s;
    ret = co_write_snapshots(q);
    if (ret < 0) {
        q->n_snapshots--;
        return block_error_errno(error, ret, "Failed to write the snapshot table");
    }
    *s = (struct qcow2_snapshot){0}; /* the list's now */
    qcow2_metadata_add(q, offset, bytes, QCOW2_META_INACTIVE_L1);
    ret = co_qcow2_settle(q);
    return ret < 0 ? block_error_errno(error, ret, "Could not write metadata") : true;
}

static bool co_create(struct block_node *node, const struct qapi_snapshot_info *info,
                      GError **error)
{
    struct qcow2 *q = node->state;
    struct qcow2_snapshot s = {
        .id = new_id(q),
        .name = g_strdup(info->name ? info->name : ""),
        .date_sec = info->date_sec,
        .date_nsec = info->date_nsec,
        .clock_ns = info->vm_clock_sec * 1000000000ull + info->vm_clock_nsec,
        .vm_state_size = info->vm_state_size,
        .disk_size = q->header.size,
        .icount = info->has_icount ? (uint64_t)info->icount : UINT64_MAX,
    };
    bool ok;

    if (q->data != q->file) {
        snapshot_clear(&s);
        return block_error(error, "Internal snapshots aren't possible with an external data file");
    }
    if (q->n_snapshots >= QCOW2_MAX_SNAPSHOTS || strlen(s.name) > MAX_NAME) {
        snapshot_clear(&s);
        return block_error(
            error,
            "The image has %u snapshots, which is as many as can be, or the name is too long",
            q->n_snapshots);
    }
    co_mutex_lock(&q->lock);
    ok = co_add(q, &s, error);
    co_mutex_unlock(&q->lock);
    if (!ok) {
        snapshot_clear(&s);
    }
    return ok;
}

/* A disk: what is exchanged when the image goes to a snapshot. */
struct state {
    uint64_t *l1; /* host byte order; owned */
    uint64_t l1_offset, size;
    uint32_t entries;
};

static void exchange(struct qcow2 *q, struct state *s)
{
    struct state old = {q->l1, q->header.l1_offset, q->header.size, q->header.l1_size};

    g_mutex_lock(&q->tables);
    q->l1 = s->l1;
    q->header.l1_offset = s->l1_offset;
    q->header.l1_size = s->entries;
    q->header.size = s->size;
    g_mutex_unlock(&q->tables);
    q->node->length = s->size;
    *s = old;
}

/* A copy of the snapshot's table, counted and on the disk; nothing refers to it yet. */
static bool co_copy_state(struct qcow2 *q, const struct qcow2_snapshot *s, struct state *copy,
                          GError **error)
{
    uint64_t entries = MAX(s->l1_size, qcow2_l1_entries(q, s->disk_size));
    uint64_t bytes = entries * sizeof(uint64_t);
    int64_t offset = 0;
    int ret;

    if (bytes > QCOW2_MAX_L1_BYTES) {
        return block_error(error, "The size of snapshot '%s' is more than an image can have",
                           s->name);
    }
    copy->size = s->disk_size;
    copy->entries = entries;
    copy->l1 = co_read_l1(q, s, entries, error);
    if (!copy->l1) {
        return false;
    }
    ret = co_count_table(q, copy->l1, s->l1_size, 1);
    if (ret == 0 && bytes) {
        offset = co_qcow2_allocate(q, bytes);
        ret = MIN(offset, 0);
    }
    if (ret == 0) {
        ret = co_qcow2_write_back(q);
    }
    if (ret == 0) {
        copy->l1_offset = offset;
        ret = co_write_l1(q, copy->l1, entries, offset);
    }
    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    return ret == 0 ? true
                    : block_error_errno(error, ret, "Failed to count the snapshot's clusters");
}

/* One write of the header leads to the new state. *s is the old one then. */
static bool co_switch_header(struct qcow2 *q, struct state *s, GError **error)
{
    struct qcow2_header old = q->header;
    struct qcow2_bitmaps_change *bitmaps = NULL;
    int ret;

    if (old.n_bitmaps) {
        bitmaps = co_qcow2_bitmaps_change(q, s->size, true, error);
        if (!bitmaps) {
            return false;
        }
    }
    exchange(q, s);
    ret = co_qcow2_write_header(q);
    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    if (ret < 0) {
        exchange(q, s);
        q->header = old;
        block_error_errno(error, ret, "Failed to write the header");
    }
    if (bitmaps) {
        qcow2_bitmaps_changed(q, bitmaps, ret == 0);
    }
    return ret == 0;
}

static bool co_switch_to(struct qcow2 *q, const struct qcow2_snapshot *snapshot, GError **error)
{
    struct state s = {0};
    int ret = co_qcow2_settle(q);

    if (ret < 0) {
        return block_error_errno(error, ret, "Could not write metadata");
    }
    if (!co_copy_state(q, snapshot, &s, error) || !co_switch_header(q, &s, error)) {
        g_free(s.l1);
        return false;
    }
    qcow2_metadata_add(q, q->header.l1_offset, (uint64_t)q->header.l1_size * sizeof(uint64_t),
                       QCOW2_META_ACTIVE_L1);
    ret = co_count_table(q, s.l1, s.entries, -1);
    qcow2_free(q, s.l1_offset, (uint64_t)s.entries * sizeof(uint64_t), QCOW2_DISCARD_SNAPSHOT);
    g_free(s.l1);
    if (ret == 0) {
        ret = co_qcow2_settle(q);
    }
    /* What was shared with the old state only may be written in place again. */
    if (ret == 0) {
        ret = co_count_table(q, q->l1, q->header.l1_size, 0);
        l1_changed(q);
    }
    if (ret == 0) {
        ret = co_qcow2_settle(q);
    }
    return ret < 0 ? block_error_errno(error, ret, "Could not write metadata") : true;
}

static bool co_goto(struct block_node *node, const char *id, GError **error)
{
    struct qcow2 *q = node->state;
    int i = find(q, id, NULL);
    bool ok;

    if (q->data != q->file) {
        return block_error(error, "Internal snapshots aren't possible with an external data file");
    }
    if (i < 0) {
        i = find(q, NULL, id);
    }
    if (i < 0) {
        return block_error(error, "Can't find snapshot '%s'", id);
    }
    co_qcow2_bitmaps_lock(q);
    co_mutex_lock(&q->lock);
    ok = qcow2_bitmaps_can_change(q, q->snapshots[i].disk_size, error) &&
         co_switch_to(q, &q->snapshots[i], error);
    co_mutex_unlock(&q->lock);
    qcow2_bitmaps_unlock(q);
    return ok;
}

static bool co_remove(struct qcow2 *q, uint32_t i, GError **error)
{
    struct qcow2_snapshot s = q->snapshots[i];
    g_autofree uint64_t *l1 = NULL;
    int ret = co_qcow2_settle(q);

    if (ret < 0) {
        return block_error_errno(error, ret, "Could not write metadata");
    }
    l1 = co_read_l1(q, &s, 0, error);
    if (!l1) {
        return false;
    }
    /* Nothing refers to it first; then counts go down. */
    memmove(q->snapshots + i, q->snapshots + i + 1,
            (q->n_snapshots - i - 1) * sizeof(*q->snapshots));
    q->n_snapshots--;
    ret = co_write_snapshots(q);
    if (ret < 0) {
        memmove(q->snapshots + i + 1, q->snapshots + i,
                (q->n_snapshots - i) * sizeof(*q->snapshots));
        q->snapshots[i] = s;
        q->n_snapshots++;
        return block_error_errno(error, ret, "Failed to remove snapshot from snapshot list");
    }
    ret = co_count_table(q, l1, s.l1_size, -1);
    qcow2_free(q, s.l1_offset, (uint64_t)s.l1_size * sizeof(uint64_t), QCOW2_DISCARD_SNAPSHOT);
    snapshot_clear(&s);
    if (ret == 0) {
        ret = co_qcow2_settle(q);
    }
    if (ret == 0) {
        ret = co_count_table(q, q->l1, q->header.l1_size, 0);
        l1_changed(q);
    }
    if (ret == 0) {
        ret = co_qcow2_settle(q);
    }
    return ret < 0 ? block_error_errno(error, ret, "Failed to free the snapshot's clusters") : true;
}

static bool co_delete(struct block_node *node, const char *id, const char *name, GError **error)
{
    struct qcow2 *q = node->state;
    int i = find(q, id, name);
    bool ok;

    if (i < 0) {
        return block_error(error, "Can't find the snapshot");
    }
    co_mutex_lock(&q->lock);
    ok = co_remove(q, i, error);
    co_mutex_unlock(&q->lock);
    return ok;
}

static bool co_list(struct block_node *node, struct qapi_snapshot_info_list *list, GError **error)
{
    struct qcow2 *q = node->state;
    uint32_t i;

    (void)error;
    for (i = 0; i < q->n_snapshots; i++) {
        const struct qcow2_snapshot *s = &q->snapshots[i];
        struct qapi_snapshot_info *info = qapi_list_append(&qapi_type_snapshot_info_list, list);

        *info = (struct qapi_snapshot_info){
            .id = g_strdup(s->id),
            .name = g_strdup(s->name),
            .vm_state_size = s->vm_state_size,
            .date_sec = s->date_sec,
            .date_nsec = s->date_nsec,
            .vm_clock_sec = s->clock_ns / 1000000000,
            .vm_clock_nsec = s->clock_ns % 1000000000,
            .has_icount = s->icount != UINT64_MAX,
            .icount = s->icount,
        };
    }
    return true;
}

/* A read-only node shows the snapshot: what is in memory is exchanged, nothing is written. */
static bool co_load_temporarily(struct block_node *node, const char *id, const char *name,
                                GError **error)
{
    struct qcow2 *q = node->state;
    int i = find(q, id, name);
    uint64_t *l1;

    if (!node->read_only) {
        return block_error(error, "Device is not readonly");
    }
    if (i < 0) {
        return block_error(error, "Can't find snapshot");
    }
    l1 = co_read_l1(q, &q->snapshots[i], 0, error);
    if (!l1) {
        return false;
    }
    g_mutex_lock(&q->tables);
    g_free(q->l1);
    q->l1 = l1;
    q->header.l1_size = q->snapshots[i].l1_size;
    q->header.l1_offset = q->snapshots[i].l1_offset;
    g_mutex_unlock(&q->tables);
    q->header.size = q->snapshots[i].disk_size;
    node->length = q->header.size;
    return true;
}

const struct block_snapshot_ops qcow2_snapshot_ops = {
    .co_create = co_create,
    .co_goto = co_goto,
    .co_delete = co_delete,
    .co_list = co_list,
    .co_load_temporarily = co_load_temporarily,
};
