/*
 * Persistent dirty bitmaps while an image is open. The image never has less of a bitmap than what
 * was written: before data are changed where an enabled bitmap is clean in the image, its bits
 * there are set in the image and flushed. So a bitmap is valid at each moment, also after a kill,
 * and need not be marked as in use; it is only too dirty then, for bits are set a word (64
 * granules) at a time, and cleared when the image is closed. Requests that come while one waits for
 * the flush share the next one.
 *
 * Bitmaps that are marked as in use were left so by a program that doesn't do this: they are
 * inconsistent.
 *
 * Locks: `store` (between coroutines) is held by who changes what the file has of bitmaps; q->lock
 * is taken inside of it. `lock` guards the list of who waits.
 */
#include "block/qcow2_bitmap.h"

#include <string.h>

#include "util/log.h"

enum { WORD = 64, SECTOR_WORDS = 64, SECTOR = 512, MIN_GRANULARITY_BITS = 9, TYPE_DIRTY = 1 };

/* Of the bits of one image's bitmaps, bytes; those that come after that can't be used. */
#define MAX_MEMORY (1ull << 30)

/* A request that waits for bits on the disk. */
struct wanted {
    uint64_t offset, bytes;
    bool done;
    int result;
};

static struct qcow2_bitmaps *bitmaps_of(struct qcow2 *q)
{
    if (!q->bitmaps) {
        q->bitmaps = g_new0(struct qcow2_bitmaps, 1);
        q->bitmaps->list = g_ptr_array_new_with_free_func(qcow2_stored_bitmap_free);
        co_mutex_init(&q->bitmaps->store);
        g_mutex_init(&q->bitmaps->lock);
        g_queue_init(&q->bitmaps->waiting);
    }
    return q->bitmaps;
}

void qcow2_bitmaps_free(struct qcow2 *q)
{
    if (q->bitmaps) {
        g_ptr_array_unref(q->bitmaps->list);
        co_mutex_clear(&q->bitmaps->store);
        g_mutex_clear(&q->bitmaps->lock);
        g_clear_pointer(&q->bitmaps, g_free);
    }
}

static struct qcow2_stored_bitmap *find(const struct qcow2 *q, const char *name)
{
    guint i;

    for (i = 0; q->bitmaps && i < q->bitmaps->list->len; i++) {
        struct qcow2_stored_bitmap *b = q->bitmaps->list->pdata[i];

        if (!strcmp(b->name, name)) {
            return b;
        }
    }
    return NULL;
}

/* ---- Sizes ---- */

static uint64_t n_bits(const struct dirty_bitmap *live)
{
    return live->size / live->granularity + !!(live->size % live->granularity);
}

static uint64_t table_entries(const struct qcow2 *q, const struct dirty_bitmap *live)
{
    return qcow2_bitmap_entries(q, live->size, live->granularity);
}

/* The bits of a word that mean something. */
static uint64_t valid_bits(const struct dirty_bitmap *live, uint64_t w)
{
    uint64_t n = n_bits(live);

    return w < n / WORD ? UINT64_MAX : w == n / WORD ? (1ull << n % WORD) - 1 : 0;
}

/* ---- Loading ---- */

static void make_live(struct qcow2_stored_bitmap *b, const struct qcow2 *q,
                      struct dirty_bitmap *live)
{
    b->live = live;
    b->table_size = table_entries(q, live);
    b->table = g_new0(uint64_t, b->table_size + 1);
    b->in_file = g_new0(uint64_t, live->n_words);
    b->full = g_new0(_Atomic uint64_t, live->n_words / WORD + 1);
    live->persistent = true;
}

static int co_load_cluster(struct qcow2 *q, struct qcow2_stored_bitmap *b, uint64_t i,
                           uint64_t *buffer)
{
    uint64_t words = q->cluster_size / sizeof(uint64_t), first = i * words, w;
    uint64_t offset = b->table[i] & QCOW2_OFFSET_MASK;
    int ret = 0;

    if (!offset && !(b->table[i] & 1)) {
        return 0;
    }
    if (offset) {
        ret = co_child_read(q->file, offset, q->cluster_size, BLOCK_BUFFER(buffer, q->cluster_size),
                            0);
    } else {
        memset(buffer, 0xff, q->cluster_size);
    }
    for (w = first; ret == 0 && w < first + words && w < b->live->n_words; w++) {
        b->in_file[w] = GUINT64_FROM_LE(buffer[w - first]);
        b->live->words[w] = b->in_file[w] & valid_bits(b->live, w);
    }
    return ret;
}

static int co_load_bits(struct qcow2 *q, struct qcow2_stored_bitmap *b)
{
    uint64_t bytes = (uint64_t)b->table_size * sizeof(uint64_t), i;
    g_autofree uint64_t *buffer = g_malloc(q->cluster_size);
    int ret = bytes
                  ? co_child_read(q->file, b->table_offset, bytes, BLOCK_BUFFER(b->table, bytes), 0)
                  : 0;

    for (i = 0; ret == 0 && i < b->table_size; i++) {
        b->table[i] = GUINT64_FROM_BE(b->table[i]);
        if (b->table[i] & QCOW2_BITMAP_TABLE_RESERVED ||
            qcow2_in_cluster(q, b->table[i] & QCOW2_OFFSET_MASK)) {
            return -EINVAL;
        }
        ret = co_load_cluster(q, b, i, buffer);
    }
    return ret;
}

/* One that can't be used is shown as inconsistent, if it can be shown at all. */
static void co_load(struct qcow2 *q, struct qcow2_stored_bitmap *b, uint64_t *memory)
{
    struct dirty_bitmap *live = dirty_bitmap_new(q->node, b->name, 1u << b->granularity_bits, NULL);
    struct log *log = object_context(block_graph_root(q->node->graph))->log;
    int ret;

    if (!live) {
        log_warn(log, "qcow2: %s: bitmap '%s' is too large, or there twice: it isn't used",
                 q->node->name, b->name);
        return;
    }
    live->enabled = b->flags & QCOW2_BITMAP_AUTO;
    live->persistent = true;
    if (b->flags & QCOW2_BITMAP_IN_USE || b->extra || table_entries(q, live) != b->table_size ||
        *memory > MAX_MEMORY - live->n_words * sizeof(uint64_t)) {
        live->inconsistent = true;
        live->enabled = false;
        return;
    }
    *memory += live->n_words * sizeof(uint64_t);
    make_live(b, q, live);
    ret = co_load_bits(q, b);
    if (ret < 0) {
        log_warn(log, "qcow2: %s: bitmap '%s' can't be read: %s", q->node->name, b->name,
                 g_strerror(-ret));
        live->inconsistent = true;
        live->enabled = false;
        b->live = NULL;
    }
}

bool co_qcow2_bitmaps_open(struct qcow2 *q, GError **error)
{
    uint64_t memory = 0;
    GPtrArray *list;
    guint i;

    if (!q->header.n_bitmaps) {
        return true;
    }
    list = co_qcow2_read_directory(q, NULL, error);
    if (!list) {
        g_prefix_error(error, "Bitmaps are damaged (nandu-img check -r all repairs that): ");
        return false;
    }
    g_ptr_array_unref(bitmaps_of(q)->list);
    q->bitmaps->list = list;
    /* Without I/O their names are all that is asked for. */
    for (i = 0; i < list->len && !(q->node->open_flags & BLOCK_OPEN_NO_IO); i++) {
        co_load(q, list->pdata[i], &memory);
    }
    return true;
}

/* ---- Writing bits ---- */

static int co_write_table_entry(struct qcow2 *q, const struct qcow2_stored_bitmap *b, uint64_t i)
{
    uint64_t big = GUINT64_TO_BE(b->table[i]);

    return co_child_write(q->file, b->table_offset + i * sizeof(big), sizeof(big),
                          BLOCK_BUFFER(&big, sizeof(big)), 0);
}

/* Words from first on, n of them, which are in one cluster, as in_file has them. */
static int co_write_words(struct qcow2 *q, const struct qcow2_stored_bitmap *b, uint64_t first,
                          uint64_t n, uint64_t at)
{
    g_autofree uint64_t *little = g_new0(uint64_t, n);
    uint64_t w;

    for (w = 0; w < n && first + w < b->live->n_words; w++) {
        little[w] = GUINT64_TO_LE(b->in_file[first + w]);
    }
    return co_child_write(q->file, at, n * sizeof(uint64_t),
                          BLOCK_BUFFER(little, n * sizeof(uint64_t)), 0);
}

/* A cluster for entry i of the table: all of its words, on the disk, before the entry leads there.
 */
static int co_add_cluster(struct qcow2 *q, struct qcow2_stored_bitmap *b, uint64_t i)
{
    uint64_t words = q->cluster_size / sizeof(uint64_t);
    int64_t host;
    int ret;

    co_mutex_lock(&q->lock);
    host = co_qcow2_allocate(q, q->cluster_size);
    ret = host < 0 ? host : co_qcow2_write_back(q);
    co_mutex_unlock(&q->lock);
    if (ret == 0) {
        ret = co_write_words(q, b, i * words, words, host);
    }
    if (ret == 0) {
        ret = co_child_flush(q->file);
    }
    if (ret == 0) {
        b->table[i] = host;
        ret = co_write_table_entry(q, b, i);
    }
    return ret;
}

/* Words first to last of in_file to the file, as whole sectors. No flush at the end. */
static int co_put_words(struct qcow2 *q, struct qcow2_stored_bitmap *b, uint64_t first,
                        uint64_t last)
{
    uint64_t words = q->cluster_size / sizeof(uint64_t), w = first / SECTOR_WORDS * SECTOR_WORDS;
    int ret = 0;

    while (ret == 0 && w <= last) {
        uint64_t i = w / words,
                 end = MIN((last / SECTOR_WORDS + 1) * SECTOR_WORDS, (i + 1) * words);
        uint64_t offset = b->table[i] & QCOW2_OFFSET_MASK;

        if (offset) {
            ret = co_write_words(q, b, w, end - w, offset + w % words * sizeof(uint64_t));
        } else {
            ret = co_add_cluster(q, b, i);
        }
        w = end;
    }
    return ret;
}

static void words_of(const struct qcow2_stored_bitmap *b, uint64_t offset, uint64_t bytes,
                     uint64_t *first, uint64_t *last)
{
    uint64_t end = MIN(offset + bytes, b->live->size);

    *first = offset / b->live->granularity / WORD;
    *last = (MAX(end, offset + 1) - 1) / b->live->granularity / WORD;
}

/* The image has all bits of these words set, for good. */
static bool is_full(const struct qcow2_stored_bitmap *b, uint64_t first, uint64_t last)
{
    for (; first <= last; first++) {
        if (!(b->full[first / WORD] >> first % WORD & 1)) {
            return false;
        }
    }
    return true;
}

static bool records(const struct qcow2_stored_bitmap *b, uint64_t offset)
{
    return b->live && b->live->enabled && offset < b->live->size;
}

static bool is_covered(const struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    guint i;

    for (i = 0; i < q->bitmaps->list->len; i++) {
        const struct qcow2_stored_bitmap *b = q->bitmaps->list->pdata[i];
        uint64_t first, last;

        if (records(b, offset)) {
            words_of(b, offset, bytes, &first, &last);
            if (!is_full(b, first, last)) {
                return false;
            }
        }
    }
    return true;
}

static int co_fill(struct qcow2 *q, struct qcow2_stored_bitmap *b, uint64_t offset, uint64_t bytes)
{
    uint64_t first, last, w;

    words_of(b, offset, bytes, &first, &last);
    if (is_full(b, first, last)) {
        return 0;
    }
    for (w = first; w <= last; w++) {
        b->in_file[w] = valid_bits(b->live, w);
    }
    return co_put_words(q, b, first, last);
}

static void mark_full(struct qcow2 *q, const struct wanted *wanted)
{
    guint i;

    for (i = 0; i < q->bitmaps->list->len; i++) {
        struct qcow2_stored_bitmap *b = q->bitmaps->list->pdata[i];
        uint64_t first, last;

        if (records(b, wanted->offset)) {
            for (words_of(b, wanted->offset, wanted->bytes, &first, &last); first <= last;
                 first++) {
                atomic_fetch_or(&b->full[first / WORD], 1ull << first % WORD);
            }
        }
    }
}

/* What all that wait want, with one flush. With `store`. */
static void co_serve(struct qcow2 *q)
{
    struct qcow2_bitmaps *all = q->bitmaps;
    GQueue served;
    GList *l;
    int ret = 0;
    guint i;

    g_mutex_lock(&all->lock);
    served = all->waiting;
    g_queue_init(&all->waiting);
    g_mutex_unlock(&all->lock);
    for (l = served.head; l && ret == 0; l = l->next) {
        const struct wanted *wanted = l->data;

        for (i = 0; i < all->list->len && ret == 0; i++) {
            if (records(all->list->pdata[i], wanted->offset)) {
                ret = co_fill(q, all->list->pdata[i], wanted->offset, wanted->bytes);
            }
        }
    }
    if (ret == 0) {
        ret = co_child_flush(q->file);
    }
    while ((l = g_queue_pop_head_link(&served))) {
        struct wanted *wanted = l->data;

        if (ret == 0) {
            mark_full(q, wanted);
        }
        g_list_free_1(l);
        /* Its owner waits for `store`, which is held. */
        wanted->result = ret;
        wanted->done = true;
    }
}

int co_qcow2_bitmaps_before_write(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
    struct wanted wanted = {.offset = offset, .bytes = bytes};
    struct qcow2_bitmaps *all = q->bitmaps;

    if (!all || is_covered(q, offset, bytes)) {
        return 0;
    }
    g_mutex_lock(&all->lock);
    g_queue_push_tail(&all->waiting, &wanted);
    g_mutex_unlock(&all->lock);
    co_mutex_lock(&all->store);
    if (!wanted.done) {
        co_serve(q);
    }
    co_mutex_unlock(&all->store);
    return wanted.result;
}

/* ---- As they are, exactly ---- */

/* Cluster i becomes what live says; *given_back: a cluster of the file that is free once the table
 * is on the disk. */
static int co_store_cluster(struct qcow2 *q, struct qcow2_stored_bitmap *b, uint64_t i,
                            uint64_t *given_back)
{
    uint64_t words = q->cluster_size / sizeof(uint64_t), first = i * words,
             end = MIN(first + words, b->live->n_words), w;
    bool changed = false, any = false;

    *given_back = 0;
    for (w = first; w < end; w++) {
        uint64_t word = b->live->words[w] & valid_bits(b->live, w);

        changed |= b->in_file[w] != word;
        any |= word != 0;
        b->in_file[w] = word;
    }
    if (!any && b->table[i]) {
        *given_back = b->table[i] & QCOW2_OFFSET_MASK;
        b->table[i] = 0;
        return co_write_table_entry(q, b, i);
    }
    return changed && any ? co_put_words(q, b, first, first + words - 1) : 0;
}

static int co_store_bits(struct qcow2 *q, struct qcow2_stored_bitmap *b)
{
    g_autoptr(GArray) free_later = g_array_new(false, false, sizeof(uint64_t));
    uint64_t i, given_back;
    int ret = 0;
    guint k;

    memset((void *)b->full, 0, (b->live->n_words / WORD + 1) * sizeof(uint64_t));
    for (i = 0; i < b->table_size && ret == 0; i++) {
        ret = co_store_cluster(q, b, i, &given_back);
        if (given_back) {
            g_array_append_val(free_later, given_back);
        }
    }
    if (ret == 0) {
        ret = co_child_flush(q->file);
    }
    co_mutex_lock(&q->lock);
    for (k = 0; k < free_later->len && ret == 0; k++) {
        qcow2_free(q, g_array_index(free_later, uint64_t, k), q->cluster_size, QCOW2_DISCARD_OTHER);
    }
    co_mutex_unlock(&q->lock);
    return ret;
}

/* The directory elsewhere, then the header. */
static int co_write_directory(struct qcow2 *q)
{
    g_autoptr(GByteArray) out = qcow2_format_directory(q->bitmaps->list);
    struct qcow2_header old = q->header;
    int64_t offset = 0;
    int ret = 0;

    co_mutex_lock(&q->lock);
    if (out->len) {
        offset = co_qcow2_allocate(q, out->len);
        ret = offset < 0 ? offset : co_qcow2_write_back(q);
    }
    if (ret == 0 && out->len) {
        ret = co_child_write(q->file, offset, out->len, BLOCK_BUFFER(out->data, out->len), 0);
    }
    if (ret == 0) {
        ret = co_qcow2_flush_file(q);
    }
    if (ret == 0) {
        q->header.n_bitmaps = q->bitmaps->list->len;
        q->header.bitmaps_offset = offset;
        q->header.bitmaps_size = out->len;
        q->header.autoclear = out->len ? q->header.autoclear | QCOW2_AUTOCLEAR_BITMAPS
                                       : q->header.autoclear & ~(uint64_t)QCOW2_AUTOCLEAR_BITMAPS;
        ret = co_qcow2_write_header(q);
        if (ret == 0) {
            ret = co_qcow2_flush_file(q);
        }
    }
    if (ret < 0) {
        q->header = old;
    } else {
        qcow2_metadata_add(q, offset, out->len, QCOW2_META_BITMAP_DIRECTORY);
        qcow2_free(q, old.bitmaps_offset, old.bitmaps_size, QCOW2_DISCARD_OTHER);
    }
    co_mutex_unlock(&q->lock);
    return ret;
}

bool co_qcow2_bitmaps_close(struct qcow2 *q)
{
    bool ok = true;
    guint i;

    for (i = 0; q->bitmaps && i < q->bitmaps->list->len; i++) {
        struct qcow2_stored_bitmap *b = q->bitmaps->list->pdata[i];
        int ret = b->live ? co_store_bits(q, b) : 0;

        if (ret < 0) {
            log_warn(object_context(block_graph_root(q->node->graph))->log,
                     "qcow2: %s: bitmap '%s' can't be written: %s; "
                     "the image has more of it as dirty than there is",
                     q->node->name, b->name, g_strerror(-ret));
            ok = false;
        }
    }
    return ok;
}

/* ---- What the core asks for ---- */

static bool co_can_store(struct block_node *node, const char *name, uint32_t granularity,
                         GError **error)
{
    const struct qcow2 *q = node->state;

    if (q->header.version < 3) {
        return block_error(error, "Cannot store dirty bitmaps in qcow2 v2 files");
    }
    if (node->read_only || q->broken) {
        return block_error(error, "Cannot store dirty bitmaps in '%s': it is read-only", node->name);
    }
    if (granularity < 1u << MIN_GRANULARITY_BITS) {
        return block_error(error, "Granularity is under minimum (512 bytes)");
    }
    if (q->header.n_bitmaps >= QCOW2_MAX_BITMAPS) {
        return block_error(error, "Maximum number of persistent bitmaps is already reached");
    }
    if (find(q, name)) {
        return block_error(error, "The image has a bitmap '%s' already", name);
    }
    return true;
}

/* An entry for a new bitmap, with a table that is empty. */
static struct qcow2_stored_bitmap *co_new_entry(struct qcow2 *q, struct dirty_bitmap *live,
                                                int *ret)
{
    struct qcow2_stored_bitmap *b = g_new0(struct qcow2_stored_bitmap, 1);
    uint64_t bytes;
    int64_t offset;

    b->name = g_strdup(live->name);
    b->type = TYPE_DIRTY;
    b->granularity_bits = __builtin_ctzll(live->granularity);
    make_live(b, q, live);
    bytes = (uint64_t)b->table_size * sizeof(uint64_t);
    if (bytes) {
        co_mutex_lock(&q->lock);
        offset = co_qcow2_allocate(q, bytes);
        *ret = offset < 0 ? offset : co_qcow2_write_back(q);
        co_mutex_unlock(&q->lock);
        b->table_offset = MAX(offset, 0);
        if (*ret == 0) {
            *ret = co_child_write(q->file, offset, bytes, BLOCK_BUFFER(b->table, bytes), 0);
        }
        if (*ret == 0) {
            *ret = co_child_flush(q->file);
        }
    }
    g_ptr_array_add(q->bitmaps->list, b);
    return b;
}

static bool co_store(struct block_node *node, struct dirty_bitmap *live, GError **error)
{
    struct qcow2 *q = node->state;
    struct qcow2_bitmaps *all = bitmaps_of(q);
    struct qcow2_stored_bitmap *b = find(q, live->name);
    uint32_t flags = live->enabled ? QCOW2_BITMAP_AUTO : 0;
    bool is_new = !b;
    int ret = 0;

    co_mutex_lock(&all->store);
    if (is_new) {
        b = co_new_entry(q, live, &ret);
    }
    if (ret == 0) {
        ret = co_store_bits(q, b);
    }
    if (ret == 0 && (is_new || flags != b->flags)) {
        b->flags = flags;
        ret = co_write_directory(q);
    }
    if (ret < 0 && is_new) {
        g_ptr_array_remove(all->list, b);
    }
    co_mutex_unlock(&all->store);
    return ret == 0 || block_error(error, "Bitmap '%s' can't be written to the image: %s", live->name,
                              g_strerror(-ret));
}

/* Its table and what that leads to are given back: nothing refers to them any more. */
static void co_free_clusters(struct qcow2 *q, const struct qcow2_stored_bitmap *b)
{
    uint64_t bytes = (uint64_t)b->table_size * sizeof(uint64_t), i;
    g_autofree uint64_t *big = NULL;
    const uint64_t *table = b->table;

    if (!table) {
        big = g_try_malloc0(bytes + 1);
        if (!big ||
            co_child_read(q->file, b->table_offset, bytes, BLOCK_BUFFER(big, bytes), 0) < 0) {
            return;
        }
        for (i = 0; i < b->table_size; i++) {
            big[i] = GUINT64_FROM_BE(big[i]);
        }
        table = big;
    }
    co_mutex_lock(&q->lock);
    for (i = 0; i < b->table_size; i++) {
        uint64_t offset = table[i] & QCOW2_OFFSET_MASK;

        if (offset && !qcow2_in_cluster(q, offset)) {
            qcow2_free(q, offset, q->cluster_size, QCOW2_DISCARD_OTHER);
        }
    }
    qcow2_free(q, b->table_offset, bytes, QCOW2_DISCARD_OTHER);
    co_mutex_unlock(&q->lock);
}

static bool co_remove(struct block_node *node, const char *name, GError **error)
{
    struct qcow2 *q = node->state;
    struct qcow2_stored_bitmap *b = find(q, name);
    guint i;
    int ret;

    if (!b) {
        return block_error(error, "The image has no bitmap '%s'", name);
    }
    co_mutex_lock(&q->bitmaps->store);
    g_ptr_array_find(q->bitmaps->list, b, &i);
    g_ptr_array_steal_index(q->bitmaps->list, i);
    ret = co_write_directory(q);
    if (ret < 0) {
        g_ptr_array_insert(q->bitmaps->list, i, b);
    } else {
        co_free_clusters(q, b);
        qcow2_stored_bitmap_free(b);
    }
    co_mutex_unlock(&q->bitmaps->store);
    return ret == 0 ||
           block_error(error, "The directory of bitmaps can't be written: %s", g_strerror(-ret));
}

void qcow2_bitmaps_describe(const struct qcow2 *q, struct qapi_qcow2_bitmap_info_list *list)
{
    guint i;

    for (i = 0; q->bitmaps && i < q->bitmaps->list->len; i++) {
        const struct qcow2_stored_bitmap *b = q->bitmaps->list->pdata[i];
        struct qapi_qcow2_bitmap_info *info =
            qapi_list_append(&qapi_type_qcow2_bitmap_info_list, list);

        info->name = g_strdup(b->name);
        info->granularity = 1u << b->granularity_bits;
        if (b->flags & QCOW2_BITMAP_IN_USE) {
            enum qapi_qcow2_bitmap_info_flags *flag =
                qapi_list_append(&qapi_type_qcow2_bitmap_info_flags_list, &info->flags);

            *flag = QAPI_QCOW2_BITMAP_INFO_FLAGS_IN_USE;
        }
        if (b->flags & QCOW2_BITMAP_AUTO) {
            enum qapi_qcow2_bitmap_info_flags *flag =
                qapi_list_append(&qapi_type_qcow2_bitmap_info_flags_list, &info->flags);

            *flag = QAPI_QCOW2_BITMAP_INFO_FLAGS_AUTO;
        }
    }
}

bool co_qcow2_measure_bitmaps(struct block_node *source, uint64_t cluster_size, uint64_t *bytes,
                              GError **error)
{
    const GPtrArray *list = dirty_bitmaps_of(source);
    uint64_t directory = 0;
    guint i;

    (void)error;
    *bytes = 0;
    for (i = 0; list && i < list->len; i++) {
        const struct dirty_bitmap *live = list->pdata[i];
        uint64_t clusters;

        if (live->persistent && !live->inconsistent) {
            clusters = ((n_bits(live) + 7) / 8 + cluster_size - 1) / cluster_size;
            *bytes += clusters * cluster_size;
            *bytes +=
                (clusters * sizeof(uint64_t) + cluster_size - 1) / cluster_size * cluster_size;
            directory += (24 + strlen(live->name) + 7) & ~7ull;
        }
    }
    *bytes += (directory + cluster_size - 1) / cluster_size * cluster_size;
    return true;
}

const struct block_bitmap_ops qcow2_bitmap_ops = {
    .co_can_store = co_can_store,
    .co_store = co_store,
    .co_remove = co_remove,
};
