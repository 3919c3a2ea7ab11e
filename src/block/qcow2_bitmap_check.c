/*
 * Check and repair of persistent bitmaps. What they are for allows to be generous: a bitmap that
 * says that more is dirty than there is makes a backup longer, one that is gone makes it a full
 * one. So an entry of a table that can't be believed becomes "all dirty", and a bitmap whose table
 * is nowhere, or is something else at the same time, is dropped. Clusters of one that will be
 * dropped aren't counted, and become free with other leaks; so that no directory leads to free
 * clusters, all bitmaps are void (the autoclear bit) from before that until the new directory is
 * there.
 */
#include "block/qcow2_bitmap.h"
#include "block/qcow2_check.h"

enum { READ_AT_ONCE = 1 << 20, MAX_BAD = 4096, ALL_SET = 1 };

struct checked_bitmap {
    struct qcow2_stored_bitmap *b; /* owned */
    bool drop;
    GArray *bad; /* uint32_t: entries of the table */
};

static void checked_bitmap_free(void *opaque)
{
    struct checked_bitmap *checked = opaque;

    qcow2_stored_bitmap_free(checked->b);
    g_array_unref(checked->bad);
    g_free(checked);
}

static void G_GNUC_PRINTF(2, 3) found(struct qcow2_checker *c, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    qcow2_check_say(c, "ERROR %s", text);
    c->result->corruptions++;
    c->bitmap_errors++;
}

/* ---- Counting ---- */

/* The clusters of the refcount structure, which is counted after the bitmaps. */
static GHashTable *structure(const struct qcow2 *q)
{
    GHashTable *clusters = g_hash_table_new(NULL, NULL);
    uint64_t start = q->header.reftable_offset >> q->cluster_bits, i;

    for (i = 0; i < q->header.reftable_clusters; i++) {
        g_hash_table_add(clusters, GSIZE_TO_POINTER(start + i));
    }
    for (i = 0; i < q->reftable_size; i++) {
        if (q->reftable[i] & QCOW2_REFTABLE_MASK) {
            g_hash_table_add(clusters, GSIZE_TO_POINTER((q->reftable[i] & QCOW2_REFTABLE_MASK) >>
                                                        q->cluster_bits));
        }
    }
    return clusters;
}

/* Whether bytes at offset are in the file, and nobody else's. */
static bool is_own(struct qcow2_checker *c, GHashTable *others, uint64_t offset, uint64_t bytes)
{
    const struct qcow2 *q = c->q;
    uint64_t i;

    if (qcow2_in_cluster(q, offset) || offset > INT64_MAX - bytes ||
        (offset + bytes > c->file_length && offset + bytes - c->file_length >= q->cluster_size)) {
        return false;
    }
    for (i = offset >> q->cluster_bits; bytes && i <= (offset + bytes - 1) >> q->cluster_bits;
         i++) {
        if (qcow2_counts_get(c, i) || g_hash_table_contains(others, GSIZE_TO_POINTER(i))) {
            return false;
        }
    }
    return true;
}

static void check_entry(struct qcow2_checker *c, GHashTable *others, struct checked_bitmap *checked,
                        uint32_t i, uint64_t entry)
{
    struct qcow2 *q = c->q;
    uint64_t offset = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_BITMAP_TABLE_RESERVED || (offset && entry & 1)) {
        found(c, "entry %" PRIu32 " of the table of bitmap '%s' makes no sense: %" PRIx64, i,
              checked->b->name, entry);
    } else if (!offset) {
        return;
    } else if (!is_own(c, others, offset, q->cluster_size)) {
        found(c,
              "entry %" PRIu32 " of the table of bitmap '%s' refers to cluster %#" PRIx64
              ", which isn't in the file or is something else, too",
              i, checked->b->name, offset);
    } else {
        qcow2_count_region(c, offset, q->cluster_size, 1);
        return;
    }
    g_array_append_val(checked->bad, i);
}

static int co_check_table(struct qcow2_checker *c, GHashTable *others,
                          struct checked_bitmap *checked)
{
    const struct qcow2_stored_bitmap *b = checked->b;
    uint64_t bytes = (uint64_t)b->table_size * sizeof(uint64_t), done, here, i;
    g_autofree uint64_t *big = g_malloc(MIN(bytes, READ_AT_ONCE) + 1);
    bool zero;

    qcow2_count_region(c, b->table_offset, bytes, 1);
    for (done = 0; done < bytes && !c->too_sparse; done += here) {
        int ret;

        here = MIN(bytes - done, READ_AT_ONCE);
        ret = co_qcow2_check_read(c, b->table_offset + done, here, big, &zero);
        if (ret < 0) {
            return ret;
        }
        for (i = 0; i < here / sizeof(uint64_t) && !zero; i++) {
            check_entry(c, others, checked, done / sizeof(uint64_t) + i, GUINT64_FROM_BE(big[i]));
            if (checked->bad->len > MAX_BAD) {
                checked->drop = true;
                return 0;
            }
        }
    }
    return 0;
}

static void co_check_bitmap(struct qcow2_checker *c, GHashTable *others,
                            struct checked_bitmap *checked)
{
    const struct qcow2_stored_bitmap *b = checked->b;
    int ret;

    if (!is_own(c, others, b->table_offset, (uint64_t)b->table_size * sizeof(uint64_t))) {
        found(c,
              "the table of bitmap '%s', at %#" PRIx64
              ", isn't in the file or is something else, too",
              b->name, b->table_offset);
        checked->drop = true;
        return;
    }
    ret = co_check_table(c, others, checked);
    if (ret < 0) {
        qcow2_check_say(c, "ERROR: I/O error in the table of bitmap '%s': %s", b->name,
                        g_strerror(-ret));
        c->result->check_errors++;
    }
}

static bool co_check_directory(struct qcow2_checker *c, GHashTable *others)
{
    const struct qcow2_header *h = &c->q->header;
    g_autoptr(GPtrArray) list = NULL;
    g_autoptr(GError) error = NULL;
    unsigned lost = 0;
    guint i;

    c->directory_counted = is_own(c, others, h->bitmaps_offset, h->bitmaps_size);
    if (c->directory_counted) {
        qcow2_count_region(c, h->bitmaps_offset, h->bitmaps_size, 1);
    } else {
        found(c, "the directory of bitmaps isn't in the file or is something else, too");
    }
    list = co_qcow2_read_directory(c->q, &lost, &error);
    if (!list) {
        qcow2_check_say(c, "ERROR: %s", error->message);
        c->result->check_errors++;
        return false;
    }
    if (lost || list->len != h->n_bitmaps) {
        found(c, "the directory of bitmaps has %u entries that make sense, of %" PRIu32, list->len,
              h->n_bitmaps);
    }
    c->new_directory = c->bitmap_errors;
    for (i = 0; i < list->len; i++) {
        struct checked_bitmap checked = {.b = list->pdata[i],
                                         .bad = g_array_new(false, false, sizeof(uint32_t))};

        g_ptr_array_add(c->bitmaps, g_memdup2(&checked, sizeof(checked)));
    }
    g_ptr_array_set_free_func(list, NULL);
    return true;
}

void co_qcow2_count_bitmaps(struct qcow2_checker *c)
{
    g_autoptr(GHashTable) others = NULL;
    guint i;

    g_clear_pointer(&c->bitmaps, g_ptr_array_unref);
    c->bitmaps = g_ptr_array_new_with_free_func(checked_bitmap_free);
    c->bitmap_errors = 0;
    c->new_directory = c->directory_counted = false;
    if (!c->q->header.n_bitmaps) {
        return;
    }
    others = structure(c->q);
    if (!co_check_directory(c, others)) {
        return;
    }
    for (i = 0; i < c->bitmaps->len && !c->too_sparse; i++) {
        struct checked_bitmap *checked = c->bitmaps->pdata[i];

        co_check_bitmap(c, others, checked);
        c->new_directory |= checked->drop;
    }
}

/* ---- Repair ---- */

static int co_write_header(struct qcow2 *q, uint64_t autoclear)
{
    int ret;

    q->header.autoclear = autoclear;
    ret = co_qcow2_write_header(q);
    return ret < 0 ? ret : co_child_flush(q->file);
}

int co_qcow2_void_bitmaps(struct qcow2_checker *c)
{
    struct qcow2 *q = c->q;

    return c->new_directory && c->fix & BLOCK_FIX_ERRORS
               ? co_write_header(q, q->header.autoclear & ~(uint64_t)QCOW2_AUTOCLEAR_BITMAPS)
               : 0;
}

static int co_repair_table(struct qcow2 *q, const struct checked_bitmap *checked)
{
    uint64_t big = GUINT64_TO_BE(ALL_SET);
    int ret = 0;
    guint i;

    for (i = 0; i < checked->bad->len && ret == 0; i++) {
        uint64_t at = g_array_index(checked->bad, uint32_t, i) * sizeof(big);

        ret = co_child_write(q->file, checked->b->table_offset + at, sizeof(big),
                             BLOCK_BUFFER(&big, sizeof(big)), 0);
    }
    return ret;
}

/* Those that are kept in a directory elsewhere. The old one is given back. */
static int co_replace_directory(struct qcow2_checker *c, const GPtrArray *kept)
{
    struct qcow2 *q = c->q;
    g_autoptr(GByteArray) out = qcow2_format_directory(kept);
    struct qcow2_header old = q->header;
    int64_t offset = out->len ? co_qcow2_allocate(q, out->len) : 0;
    int ret = offset < 0 ? offset : co_qcow2_write_back(q);

    if (ret == 0 && out->len) {
        ret = co_child_write(q->file, offset, out->len, BLOCK_BUFFER(out->data, out->len), 0);
    }
    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    if (ret < 0) {
        return ret;
    }
    q->header.n_bitmaps = kept->len;
    q->header.bitmaps_offset = offset;
    q->header.bitmaps_size = out->len;
    ret = co_write_header(q, old.autoclear | (out->len ? QCOW2_AUTOCLEAR_BITMAPS : 0));
    if (ret < 0) {
        q->header = old;
        return ret;
    }
    qcow2_metadata_add(q, offset, out->len, QCOW2_META_BITMAP_DIRECTORY);
    if (c->directory_counted) {
        qcow2_free(q, old.bitmaps_offset, old.bitmaps_size, QCOW2_DISCARD_OTHER);
    }
    return co_qcow2_settle(q);
}

static int co_repair(struct qcow2_checker *c)
{
    g_autoptr(GPtrArray) kept = g_ptr_array_new();
    int ret = 0;
    guint i;

    for (i = 0; i < c->bitmaps->len && ret == 0; i++) {
        const struct checked_bitmap *checked = c->bitmaps->pdata[i];

        if (checked->drop) {
            qcow2_check_say(c, "Dropping bitmap '%s': the next backup by it has to be a full one",
                            checked->b->name);
            continue;
        }
        if (checked->bad->len) {
            qcow2_check_say(c, "Repairing bitmap '%s': all is dirty where it is damaged",
                            checked->b->name);
            ret = co_repair_table(c->q, checked);
        }
        g_ptr_array_add(kept, checked->b);
    }
    if (ret == 0 && c->new_directory) {
        ret = co_replace_directory(c, kept);
    }
    return ret == 0 ? co_child_flush(c->q->file) : ret;
}

int co_qcow2_finish_bitmaps(struct qcow2_checker *c, bool repair)
{
    struct qcow2 *q = c->q;
    int ret;

    if (!repair) {
        return c->new_directory ? co_write_header(q, q->header.autoclear | QCOW2_AUTOCLEAR_BITMAPS)
                                : 0;
    }
    ret = co_repair(c);
    if (ret == 0) {
        c->result->corruptions -= c->bitmap_errors;
        c->result->corruptions_fixed += c->bitmap_errors;
    }
    return ret;
}
