/*
 * Check and repair. First everything that refers to a cluster is counted (qcow2_count.c), which
 * says what the counts should be; then the refcount blocks are compared with that, and COPIED of
 * the active tables with the counts. Counts are corrected where they are, unless clusters in use
 * aren't counted at all or the refcount structure itself is damaged: then a new one is made
 * (qcow2_rebuild.c). All of it works on the file, not on the caches, which are read again
 * afterwards.
 */
#include "block/qcow2_check.h"

#include <stdio.h>
#include <string.h>

#include "util/log.h"

/* Memory for counts, however small the image is on the disk; and how much sparser than full its use
 * of clusters may be. */
enum { LEAST_PIECES = 4096, SPARSENESS = 32 };

/* Bytes that a file may lack at its end: data that were on their way when the host stopped. */
enum { MAX_EXTENSION = 1 << 30 };

void qcow2_check_say(struct qcow2_checker *c, const char *format, ...)
{
    const struct block_node *node = c->q->node;
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    if (node->open_flags & BLOCK_OPEN_CHECK) {
        fprintf(stderr, "%s\n", text);
    } else {
        log_warn(object_context(block_graph_root(node->graph))->log, "qcow2: %s: %s", node->name,
                 text);
    }
}

/* ---- Counts on the disk against counts as they should be ---- */

/* Whether the count is put right. */
static bool mismatch(struct qcow2_checker *c, uint64_t cluster, uint64_t on_disk,
                     uint64_t references, unsigned fix)
{
    int64_t *fixed = NULL;

    if (!on_disk) {
        c->rebuild = true;
    } else if (on_disk > references && fix & BLOCK_FIX_LEAKS) {
        fixed = &c->result->leaks_fixed;
    } else if (on_disk < references && fix & BLOCK_FIX_ERRORS) {
        fixed = &c->result->corruptions_fixed;
    }
    qcow2_check_say(c, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
                    fixed                  ? "Repairing"
                    : on_disk < references ? "ERROR"
                                           : "Leaked",
                    cluster, on_disk, references);
    if (fixed) {
        ++*fixed;
        return true;
    }
    ++*(on_disk < references ? &c->result->corruptions : &c->result->leaks);
    if (references) {
        uint64_t *key = g_memdup2(&cluster, sizeof(cluster)),
                 *value = g_memdup2(&on_disk, sizeof(on_disk));

        g_hash_table_insert(c->on_disk, key, value);
    }
    return false;
}

/* Counts k << refblock_bits and on, which are in block. */
static int co_compare_block(struct qcow2_checker *c, uint64_t k, uint64_t offset, void *block,
                            unsigned fix)
{
    struct qcow2 *q = c->q;
    uint64_t n = 1ull << q->refblock_bits, first = k << q->refblock_bits, j;
    bool changed = false;

    for (j = 0; j < n; j++) {
        uint64_t cluster = first + j, on_disk = qcow2_get_count(q, block, j), references;

        if (cluster >= c->file_clusters && !(cluster & (QCOW2_PIECE - 1)) &&
            !qcow2_counts_get(c, cluster)) {
            /* Behind the end of the file by more than what may be cut off: nothing can be there. */
            break;
        }
        references = qcow2_counts_get(c, cluster);
        if (cluster >= c->file_clusters && !references) {
            continue;
        }
        if (on_disk || references) {
            c->highest = MAX(c->highest, cluster);
        }
        if (on_disk != references && mismatch(c, cluster, on_disk, references, fix)) {
            qcow2_set_count(q, block, j, references);
            changed = true;
        }
    }
    return changed ? co_child_write(q->file, offset, q->cluster_size,
                                    BLOCK_BUFFER(block, q->cluster_size), 0)
                   : 0;
}

static void compare_uncounted(struct qcow2_checker *c, GHashTable *blocks, unsigned fix)
{
    struct qcow2 *q = c->q;
    g_autoptr(GArray) pieces = qcow2_counts_pieces(c);
    guint i;

    for (i = 0; i < pieces->len; i++) {
        uint64_t first = g_array_index(pieces, uint64_t, i) * QCOW2_PIECE, cluster;

        for (cluster = first; cluster < first + QCOW2_PIECE; cluster++) {
            uint64_t references = qcow2_counts_get(c, cluster);

            if (references &&
                !g_hash_table_contains(blocks, GSIZE_TO_POINTER(cluster >> q->refblock_bits))) {
                c->highest = MAX(c->highest, cluster);
                mismatch(c, cluster, 0, references, fix);
            }
        }
    }
}

static void co_compare(struct qcow2_checker *c, unsigned fix)
{
    struct qcow2 *q = c->q;
    g_autofree void *block = g_malloc(q->cluster_size);
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL),
                          blocks = g_hash_table_new(NULL, NULL);
    uint64_t k;

    g_hash_table_remove_all(c->on_disk);
    c->highest = 0;
    for (k = 0; k < q->reftable_size; k++) {
        uint64_t offset = q->reftable[k] & QCOW2_REFTABLE_MASK;
        bool zero;
        int ret;

        /* One that is there twice counts for the first; it needs a new structure anyway. */
        if (!offset || qcow2_in_cluster(q, offset) ||
            !g_hash_table_add(seen, GSIZE_TO_POINTER(offset))) {
            continue;
        }
        ret = co_qcow2_check_read(c, offset, q->cluster_size, block, &zero);
        if (ret == 0 && !zero) {
            g_hash_table_add(blocks, GSIZE_TO_POINTER(k));
            ret = co_compare_block(c, k, offset, block, fix);
        }
        if (ret < 0) {
            qcow2_check_say(c, "ERROR: I/O error in the refcount block at %#" PRIx64 ": %s", offset,
                            g_strerror(-ret));
            c->result->check_errors++;
        }
    }
    compare_uncounted(c, blocks, fix);
}

/* ---- COPIED ---- */

static uint64_t count_on_disk(struct qcow2_checker *c, uint64_t cluster)
{
    const uint64_t *found = g_hash_table_lookup(c->on_disk, &cluster);

    return found ? *found : qcow2_counts_get(c, cluster);
}

/* Whether it differed; *entry is what it should be. */
static bool check_copied(struct qcow2_checker *c, uint64_t *entry, uint64_t count)
{
    if ((count == 1) == !!(*entry & QCOW2_COPIED)) {
        return false;
    }
    c->result->corruptions++;
    *entry ^= QCOW2_COPIED;
    return true;
}

static void fixed(struct qcow2_checker *c, uint64_t n)
{
    c->result->corruptions -= n;
    c->result->corruptions_fixed += n;
}

static int co_check_copied_l2(struct qcow2_checker *c, const struct qcow2_l2_table *table,
                              uint64_t *big, bool repair)
{
    struct qcow2 *q = c->q;
    uint64_t offset = table->offset;
    uint32_t words = q->l2_entry_size / sizeof(uint64_t), i, n = 0;
    bool zero;
    int ret;

    /* Not if the table is something else at the same time. */
    repair = repair && !qcow2_in_cluster(q, offset) &&
             qcow2_counts_get(c, offset >> q->cluster_bits) == table->times;
    ret = co_qcow2_check_read(c, offset, q->cluster_size, big, &zero);

    for (i = 0; ret == 0 && !zero && i < 1u << q->l2_bits; i++) {
        uint64_t entry = GUINT64_FROM_BE(big[i * words]), old = entry,
                 host = entry & QCOW2_OFFSET_MASK, count = 1;

        if (entry & QCOW2_COMPRESSED ||
            (!host && (q->data == q->file || !(entry & QCOW2_COPIED)))) {
            continue;
        }
        if (q->data == q->file) {
            count = count_on_disk(c, host >> q->cluster_bits);
        }
        if (check_copied(c, &entry, count)) {
            qcow2_check_say(c,
                            "%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%" PRIu64,
                            repair ? "Repairing" : "ERROR", old, count);
            big[i * words] = GUINT64_TO_BE(entry);
            n++;
        }
    }
    if (ret == 0 && n && repair) {
        ret =
            co_child_write(q->file, offset, q->cluster_size, BLOCK_BUFFER(big, q->cluster_size), 0);
        if (ret == 0) {
            fixed(c, n);
        }
    }
    return ret;
}

static int co_check_copied_l1(struct qcow2_checker *c, bool repair)
{
    struct qcow2 *q = c->q;
    uint32_t i;
    int ret = 0;

    for (i = 0; i < q->header.l1_size && ret == 0; i++) {
        uint64_t entry = c->l1[i], l2 = entry & QCOW2_OFFSET_MASK, count, big;

        if (!l2) {
            continue;
        }
        count = count_on_disk(c, l2 >> q->cluster_bits);
        if (!check_copied(c, &entry, count)) {
            continue;
        }
        qcow2_check_say(c,
                        "%s OFLAG_COPIED L2 cluster: l1_index=%u l1_entry=%" PRIx64
                        " refcount=%" PRIu64,
                        repair ? "Repairing" : "ERROR", i, c->l1[i], count);
        if (repair) {
            big = GUINT64_TO_BE(entry);
            ret = co_child_write(q->file, q->header.l1_offset + i * sizeof(big), sizeof(big),
                                 BLOCK_BUFFER(&big, sizeof(big)), 0);
            if (ret == 0) {
                c->l1[i] = entry;
                fixed(c, 1);
            }
        }
    }
    return ret;
}

static void co_check_copied(struct qcow2_checker *c)
{
    const struct qapi_image_check *r = c->result;
    g_autofree uint64_t *big = g_malloc(c->q->cluster_size);
    bool repair = c->fix & BLOCK_FIX_ERRORS;
    guint i;
    int ret;

    /* Counts that are right now make it safe. */
    if (c->fix == BLOCK_FIX_LEAKS) {
        repair = !r->check_errors && !r->corruptions && !r->leaks;
    }
    ret = co_check_copied_l1(c, repair);
    for (i = 0; i < c->l2_tables->len && ret == 0; i++) {
        const struct qcow2_l2_table *table = &g_array_index(c->l2_tables, struct qcow2_l2_table, i);

        if (table->active_times && table->offset) {
            ret = co_check_copied_l2(c, table, big, repair);
        }
    }
    if (ret < 0) {
        qcow2_check_say(c, "ERROR: I/O error in L1 and L2 tables: %s", g_strerror(-ret));
        c->result->check_errors++;
    }
}

/* ---- The whole ---- */

/* Counts what refers to clusters, and compares. */
static bool co_look_at_all(struct qcow2_checker *c)
{
    if (!co_qcow2_count_all(c) || !co_qcow2_count_refcounts(c)) {
        return false;
    }
    co_compare(c, 0);
    return true;
}

static bool co_rebuild(struct qcow2_checker *c)
{
    struct qapi_image_check old = *c->result;
    int ret;

    qcow2_check_say(c, "Rebuilding refcount structure");
    if (!co_qcow2_count_all(c)) {
        return false;
    }
    ret = co_qcow2_rebuild_refcounts(c);
    if (ret < 0) {
        qcow2_check_say(c, "ERROR: the refcount structure could not be written: %s",
                        g_strerror(-ret));
        c->result->check_errors++;
        return false;
    }
    c->result->corruptions = c->result->leaks = 0;
    c->rebuild = false;
    if (!co_look_at_all(c)) {
        return false;
    }
    if (c->rebuild) {
        qcow2_check_say(c, "ERROR rebuilt refcount structure is still broken");
    }
    c->result->corruptions_fixed += MAX(old.corruptions - c->result->corruptions, 0);
    c->result->leaks_fixed += MAX(old.leaks - c->result->leaks, 0);
    return true;
}

static bool co_check_all(struct qcow2_checker *c)
{
    struct qapi_image_check *r = c->result;
    int64_t corruptions;

    if (!co_qcow2_count_all(c) || !co_qcow2_count_refcounts(c)) {
        return false;
    }
    if (co_qcow2_void_bitmaps(c) < 0) {
        r->check_errors++;
        return false;
    }
    corruptions = r->corruptions;
    co_compare(c, 0);
    if (c->rebuild && c->fix & BLOCK_FIX_ERRORS) {
        if (!co_rebuild(c)) {
            return false;
        }
    } else if (c->fix && c->rebuild) {
        qcow2_check_say(c, "ERROR need to rebuild refcount structures");
        r->check_errors++;
        return false;
    } else if (c->fix && (r->leaks || r->corruptions)) {
        r->corruptions = corruptions;
        r->leaks = 0;
        co_compare(c, c->fix);
    }
    co_check_copied(c);
    r->image_end_offset = (c->highest + 1) << c->q->cluster_bits;
    return true;
}

static bool checker_init(struct qcow2_checker *c, struct qcow2 *q, unsigned fix,
                         struct qapi_image_check *result, GError **error)
{
    int64_t on_disk = co_block_allocated_size(q->file->node);
    uint64_t length = q->file->node->length, clusters;

    clusters = qcow2_clusters(q, on_disk >= 0 ? (uint64_t)on_disk : length);
    *c = (struct qcow2_checker){.q = q,
                                .fix = fix,
                                .result = result,
                                .file_length = length,
                                .max_length = MIN(length, INT64_MAX / 2) + MAX_EXTENSION,
                                .file_clusters = qcow2_clusters(q, length)};
    c->l1 = g_try_malloc0((size_t)q->header.l1_size * sizeof(uint64_t) + 1);
    if (!c->l1) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM,
                    "There is no memory for an L1 table of %" PRIu32 " entries", q->header.l1_size);
        return false;
    }
    c->counts.pieces = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    c->counts.max_pieces = LEAST_PIECES + clusters / QCOW2_PIECE * SPARSENESS;
    c->on_disk = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    c->l2_tables = g_array_new(false, false, sizeof(struct qcow2_l2_table));
    c->l2_by_offset = g_hash_table_new(NULL, NULL);
    return true;
}

static void checker_clear(struct qcow2_checker *c)
{
    g_hash_table_unref(c->counts.pieces);
    g_hash_table_unref(c->on_disk);
    g_array_unref(c->l2_tables);
    g_hash_table_unref(c->l2_by_offset);
    g_clear_pointer(&c->bitmaps, g_ptr_array_unref);
    g_free(c->l1);
}

/* What was repaired gets to the disk, and the header says that it was. */
static bool co_finish(struct qcow2_checker *c, GError **error)
{
    struct qcow2 *q = c->q;
    const struct qapi_image_check *r = c->result;
    uint64_t marks = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT;
    int ret = co_child_flush(q->file);

    if (ret == 0 && !co_qcow2_check_reload(c, error)) {
        return false;
    }
    if (ret == 0 && c->bitmap_errors && c->fix & BLOCK_FIX_ERRORS) {
        ret = co_qcow2_finish_bitmaps(c, !r->check_errors && r->corruptions == c->bitmap_errors);
    }
    if (ret == 0 && (r->leaks_fixed || r->corruptions_fixed) &&
        q->header.autoclear & ~(uint64_t)QCOW2_AUTOCLEAR_ALL) {
        q->header.autoclear &= QCOW2_AUTOCLEAR_ALL;
        ret = co_qcow2_write_header(q);
    }
    if (ret == 0 && !r->check_errors && !r->corruptions) {
        if (q->header.incompatible & marks) {
            ret = co_qcow2_set_incompatible(q, 0, marks);
        }
        q->broken = q->damage_told = ret < 0;
    }
    if (ret < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-ret),
                    "The repaired metadata couldn't be written: %s", g_strerror(-ret));
    }
    return ret == 0;
}

static void set_presence(struct qapi_image_check *r)
{
    r->has_image_end_offset = r->image_end_offset != 0;
    r->has_corruptions = r->corruptions != 0;
    r->has_leaks = r->leaks != 0;
    r->has_corruptions_fixed = r->corruptions_fixed != 0;
    r->has_leaks_fixed = r->leaks_fixed != 0;
    r->has_total_clusters = r->total_clusters != 0;
    r->has_allocated_clusters = r->allocated_clusters != 0;
    r->has_fragmented_clusters = r->fragmented_clusters != 0;
    r->has_compressed_clusters = r->compressed_clusters != 0;
}

static bool co_check(struct qcow2 *q, unsigned fix, struct qapi_image_check *result, GError **error)
{
    struct qcow2_checker c;
    bool ok;

    if (!checker_init(&c, q, fix, result, error)) {
        return false;
    }
    result->total_clusters = qcow2_clusters(q, q->header.size);
    if (q->snapshots_damaged) {
        qcow2_check_say(&c,
                        "ERROR failed to read the snapshot table: what snapshots use isn't known");
        result->check_errors++;
        ok = true;
    } else {
        ok = co_check_all(&c);
        if (c.too_sparse) {
            g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                        "The image refers to clusters that are strewn over "
                        "far more space than it takes: it is too damaged to be checked");
        } else if (!ok) {
            ok = true; /* what there is to say was said and counted */
        }
    }
    if (ok && fix) {
        ok = co_finish(&c, error);
    }
    set_presence(result);
    checker_clear(&c);
    return ok;
}

bool co_qcow2_recount(struct qcow2 *q, GError **error)
{
    struct qapi_image_check result = {0};
    struct qcow2_checker c;
    bool ok;
    int ret = 0;

    if (!checker_init(&c, q, 0, &result, error)) {
        return false;
    }
    ok = co_qcow2_count_all(&c) && !result.corruptions && !result.check_errors;
    if (!ok) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "The image is damaged, or has clusters that are referred "
                    "to more often than counts of %u bits can say",
                    q->refcount_bits);
    } else {
        ret = co_qcow2_rebuild_refcounts(&c);
    }
    if (ok && ret == 0) {
        /* Leaks are gone now: what they kept from being written in place may be. */
        c.fix = BLOCK_FIX_ERRORS;
        co_check_copied(&c);
        ret = result.check_errors ? -EIO : 0;
    }
    if (ret < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-ret),
                    "The new refcounts couldn't be written: %s", g_strerror(-ret));
        ok = false;
    }
    ok = ok && co_qcow2_check_reload(&c, error);
    checker_clear(&c);
    return ok;
}

bool co_qcow2_check(struct block_node *node, unsigned fix, struct qapi_image_check *result,
                    GError **error)
{
    struct qcow2 *q = node->state;
    bool ok = true;
    int ret = 0;

    if (fix && node->read_only) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_ROFS,
                    "'%s' is read-only: it can't be repaired", node->name);
        return false;
    }
    co_mutex_lock(&q->lock);
    if (!node->read_only && !q->broken) {
        ret = co_qcow2_settle(q);
    }
    if (ret == 0 && q->frees->len) {
        ret = -EBUSY; /* requests are under way that hold clusters */
    }
    if (ret < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-ret),
                    "Could not write metadata: %s", g_strerror(-ret));
        ok = false;
    }
    ok = ok && co_check(q, fix, result, error);
    co_mutex_unlock(&q->lock);
    return ok;
}
