/*
 * Persistent bitmaps of an image that gets another size, or another active state (a snapshot's).
 * Each that can be used gets a new table, the image gets a new directory, and the one write of the
 * header that changes the image leads to them: at each moment the bitmaps in the file are of the
 * size that the header says. Clusters with bits stay where they are. Granules that the image gets
 * are clean.
 */
#include "block/qcow2_bitmap.h"

#include <string.h>

enum { WORD = 64, ALL_SET = 1 };

/* What one bitmap of the list becomes. */
struct new_table {
    uint64_t offset;
    uint32_t size;   /* entries */
    uint32_t flags;
    uint64_t *table; /* NULL: it can't be used, and is marked so */
    bool all_dirty;
};

struct qcow2_bitmaps_change {
    uint64_t size;
    uint64_t old_directory, old_directory_bytes;
    struct new_table *tables; /* of the list, in its order */
};

void co_qcow2_bitmaps_lock(struct qcow2 *q)
{
    if (q->bitmaps) {
        co_mutex_lock(&q->bitmaps->store);
    }
}

void qcow2_bitmaps_unlock(struct qcow2 *q)
{
    if (q->bitmaps) {
        co_mutex_unlock(&q->bitmaps->store);
    }
}

/* ---- Before the header is written ---- */

static bool can_change(const struct qcow2_stored_bitmap *b, uint64_t size, GError **error)
{
    const struct dirty_bitmap *live = b->live;

    if (live && live->busy) {
        return block_error(error, "Bitmap '%s' is currently in use by another operation", b->name);
    }
    if (live && size / live->granularity / 8 >= DIRTY_BITMAP_MAX_BYTES) {
        return block_error(error,
                           "Bitmap '%s' would be too large: remove it, or make it again with a "
                           "larger granularity",
                           b->name);
    }
    return true;
}

bool qcow2_bitmaps_can_change(const struct qcow2 *q, uint64_t size, GError **error)
{
    guint i;

    if (!q->header.n_bitmaps) {
        return true;
    }
    if (!q->bitmaps) {
        return block_error(error, "The image's bitmaps weren't loaded: its size can't be changed");
    }
    for (i = 0; i < q->bitmaps->list->len; i++) {
        if (!can_change(q->bitmaps->list->pdata[i], size, error)) {
            return false;
        }
    }
    return true;
}

static int co_write_table(struct qcow2 *q, const struct new_table *t)
{
    uint64_t bytes = (uint64_t)t->size * sizeof(uint64_t);
    g_autofree uint64_t *big = g_new(uint64_t, t->size);
    uint32_t i;

    for (i = 0; i < t->size; i++) {
        big[i] = GUINT64_TO_BE(t->table[i]);
    }
    return bytes ? co_child_write(q->file, t->offset, bytes, BLOCK_BUFFER(big, bytes), 0) : 0;
}

/* A place for a bitmap's table, and what will be there. */
static int co_make_table(struct qcow2 *q, const struct qcow2_stored_bitmap *b, uint64_t size,
                         bool all_dirty, struct new_table *t)
{
    uint64_t i;
    int64_t offset;

    *t = (struct new_table){.offset = b->table_offset, .size = b->table_size, .flags = b->flags};
    if (!b->live) {
        t->flags |= QCOW2_BITMAP_IN_USE;
        return 0;
    }
    t->all_dirty = all_dirty && b->live->enabled;
    t->size = qcow2_bitmap_entries(q, size, b->live->granularity);
    t->table = g_new0(uint64_t, t->size + 1);
    for (i = 0; i < t->size; i++) {
        t->table[i] = t->all_dirty ? ALL_SET : i < b->table_size ? b->table[i] : 0;
    }
    offset = t->size ? co_qcow2_allocate(q, t->size * sizeof(uint64_t)) : 0;
    t->offset = MAX(offset, 0);
    return MIN(offset, 0);
}

static GByteArray *format_directory(const struct qcow2 *q, const struct new_table *tables)
{
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(g_free);
    guint i;

    for (i = 0; i < q->bitmaps->list->len; i++) {
        struct qcow2_stored_bitmap *b =
            g_memdup2(q->bitmaps->list->pdata[i], sizeof(struct qcow2_stored_bitmap));

        b->table_offset = tables[i].offset;
        b->table_size = tables[i].size;
        b->flags = tables[i].flags;
        g_ptr_array_add(entries, b);
    }
    return qcow2_format_directory(entries);
}

static int co_write_change(struct qcow2 *q, const struct new_table *tables)
{
    g_autoptr(GByteArray) out = format_directory(q, tables);
    int64_t offset = co_qcow2_allocate(q, out->len);
    int ret = offset < 0 ? offset : co_qcow2_write_back(q);
    guint i;

    for (i = 0; i < q->bitmaps->list->len && ret == 0; i++) {
        ret = tables[i].table ? co_write_table(q, &tables[i]) : 0;
    }
    if (ret == 0) {
        ret = co_child_write(q->file, offset, out->len, BLOCK_BUFFER(out->data, out->len), 0);
    }
    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    if (ret == 0) {
        q->header.bitmaps_offset = offset;
        q->header.bitmaps_size = out->len;
    }
    return ret;
}

static void change_free(const struct qcow2 *q, struct qcow2_bitmaps_change *change)
{
    guint i;

    for (i = 0; i < q->bitmaps->list->len; i++) {
        g_free(change->tables[i].table);
    }
    g_free(change->tables);
    g_free(change);
}

struct qcow2_bitmaps_change *co_qcow2_bitmaps_change(struct qcow2 *q, uint64_t size, bool all_dirty,
                                                     GError **error)
{
    struct qcow2_bitmaps_change *change;
    int ret = 0;
    guint i;

    change = g_new(struct qcow2_bitmaps_change, 1);
    *change = (struct qcow2_bitmaps_change){
        .size = size,
        .old_directory = q->header.bitmaps_offset,
        .old_directory_bytes = q->header.bitmaps_size,
        .tables = g_new0(struct new_table, q->bitmaps->list->len),
    };
    for (i = 0; i < q->bitmaps->list->len && ret == 0; i++) {
        ret = co_make_table(q, q->bitmaps->list->pdata[i], size, all_dirty, &change->tables[i]);
    }
    if (ret == 0) {
        ret = co_write_change(q, change->tables);
    }
    if (ret < 0) {
        block_error_errno(error, ret, "Bitmaps for the new size can't be written");
        change_free(q, change);
        return NULL;
    }
    return change;
}

/* ---- Afterwards ---- */

static void free_old_clusters(struct qcow2 *q, const struct qcow2_stored_bitmap *b,
                              const struct new_table *t)
{
    uint32_t i;

    for (i = t->all_dirty ? 0 : t->size; i < b->table_size; i++) {
        if (b->table[i] & QCOW2_OFFSET_MASK) {
            qcow2_free(q, b->table[i] & QCOW2_OFFSET_MASK, q->cluster_size, QCOW2_DISCARD_OTHER);
        }
    }
    qcow2_free(q, b->table_offset, (uint64_t)b->table_size * sizeof(uint64_t), QCOW2_DISCARD_OTHER);
}

/* What the file has of bits that there were no words for. */
static void set_new_words(const struct qcow2 *q, struct qcow2_stored_bitmap *b, uint64_t first)
{
    uint64_t words = q->cluster_size / sizeof(uint64_t), w;

    for (w = first; w < b->live->n_words && w / words < b->table_size; w++) {
        b->in_file[w] = b->table[w / words] == ALL_SET ? UINT64_MAX : 0;
    }
}

static void take_table(struct qcow2 *q, struct qcow2_stored_bitmap *b, struct new_table *t,
                       uint64_t size)
{
    uint64_t old_words = b->live->n_words;

    free_old_clusters(q, b, t);
    g_free(b->table);
    b->table = g_steal_pointer(&t->table);
    b->table_size = t->size;
    b->table_offset = t->offset;
    dirty_bitmap_resize(b->live, size);
    b->in_file = g_renew(uint64_t, b->in_file, b->live->n_words);
    g_free((void *)b->full);
    b->full = g_new0(_Atomic uint64_t, b->live->n_words / WORD + 1);
    if (b->live->n_words > old_words) {
        memset(b->in_file + old_words, 0, (b->live->n_words - old_words) * sizeof(uint64_t));
    }
    set_new_words(q, b, t->all_dirty ? 0 : old_words);
    if (t->all_dirty && size) {
        dirty_bitmap_set(b->live, 0, size);
    }
}

void qcow2_bitmaps_changed(struct qcow2 *q, struct qcow2_bitmaps_change *change, bool success)
{
    guint i;

    for (i = 0; i < q->bitmaps->list->len && success; i++) {
        struct qcow2_stored_bitmap *b = q->bitmaps->list->pdata[i];

        b->flags = change->tables[i].flags;
        if (change->tables[i].table) {
            take_table(q, b, &change->tables[i], change->size);
        }
    }
    if (success) {
        qcow2_metadata_add(q, q->header.bitmaps_offset, q->header.bitmaps_size,
                           QCOW2_META_BITMAP_DIRECTORY);
        qcow2_free(q, change->old_directory, change->old_directory_bytes, QCOW2_DISCARD_OTHER);
    }
    change_free(q, change);
}
