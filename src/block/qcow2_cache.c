#include "block/qcow2.h"

#include <string.h>
#include <sys/mman.h>

enum { NO_TABLE = UINT32_MAX, MAX_RUN = 64 }; /* tables that are written in one request */

struct table {
    uint64_t offset; /* 0: holds nothing (the header is there, never a table) */
    uint32_t next;   /* in its bucket; NO_TABLE: the last */
    uint16_t pins;
    bool dirty;
    bool used; /* since the hand came by: it gets a second chance */
    bool seen; /* since the last trim */
};

struct qcow2_cache {
    struct qcow2 *q;
    const char *what;
    size_t size; /* of a table, bytes; a power of 2 */
    uint32_t n, hand, n_dirty;
    uint32_t mask; /* buckets - 1 */
    uint32_t *buckets;
    struct table *tables;
    uint8_t *memory; /* n * size */
};

static uint32_t *bucket(struct qcow2_cache *cache, uint64_t offset)
{
    return &cache->buckets[(uint32_t)((offset / cache->size) * 0x9e3779b97f4a7c15ull >> 32) &
                           cache->mask];
}

static struct table *find(struct qcow2_cache *cache, uint64_t offset)
{
    uint32_t i;

    for (i = *bucket(cache, offset); i != NO_TABLE; i = cache->tables[i].next) {
        if (cache->tables[i].offset == offset) {
            return &cache->tables[i];
        }
    }
    return NULL;
}

static void *contents(const struct qcow2_cache *cache, const struct table *table)
{
    return cache->memory + (size_t)(table - cache->tables) * cache->size;
}

static struct table *table_of(struct qcow2_cache *cache, const void *table)
{
    size_t i = (size_t)((const uint8_t *)table - cache->memory) / cache->size;

    g_assert(i < cache->n);
    return &cache->tables[i];
}

/* With q->tables. */
static void insert(struct qcow2_cache *cache, struct table *table, uint64_t offset)
{
    uint32_t *head = bucket(cache, offset);

    table->offset = offset;
    table->next = *head;
    *head = table - cache->tables;
}

/* With q->tables. */
static void remove_table(struct qcow2_cache *cache, struct table *table)
{
    uint32_t *link;

    if (!table->offset) {
        return;
    }
    for (link = bucket(cache, table->offset); *link != (uint32_t)(table - cache->tables);) {
        link = &cache->tables[*link].next;
    }
    *link = table->next;
    table->offset = 0;
    if (table->dirty) {
        table->dirty = false;
        cache->n_dirty--;
    }
}

struct qcow2_cache *qcow2_cache_new(struct qcow2 *q, size_t size, unsigned n, const char *what)
{
    struct qcow2_cache *cache;
    uint32_t n_buckets = 16;
    void *memory = mmap(NULL, n * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        return NULL;
    }
    while (n_buckets < n) {
        n_buckets *= 2;
    }
    cache = g_new0(struct qcow2_cache, 1);
    *cache = (struct qcow2_cache){
        .q = q, .what = what, .size = size, .n = n, .memory = memory, .mask = n_buckets - 1};
    cache->buckets = g_new(uint32_t, n_buckets);
    memset(cache->buckets, 0xff, n_buckets * sizeof(*cache->buckets));
    cache->tables = g_new0(struct table, n);
    return cache;
}

void qcow2_cache_free(struct qcow2_cache *cache)
{
    if (!cache) {
        return;
    }
    munmap(cache->memory, cache->n * cache->size);
    g_free(cache->buckets);
    g_free(cache->tables);
    g_free(cache);
}

void qcow2_cache_set_owner(struct qcow2_cache *cache, struct qcow2 *q)
{
    cache->q = q;
}

/* A table that may be given to another offset, or NULL: each is pinned or dirty. */
static struct table *victim(struct qcow2_cache *cache)
{
    uint32_t turns;

    for (turns = 0; turns < 2 * cache->n; turns++) {
        struct table *table = &cache->tables[cache->hand];

        cache->hand = cache->hand + 1 == cache->n ? 0 : cache->hand + 1;
        if (table->pins || table->dirty) {
            continue;
        }
        if (table->used && table->offset) {
            table->used = false;
            continue;
        }
        return table;
    }
    return NULL;
}

/*
 * Counts may always be written: they only go down when that is safe. Where L2 slices refer to has
 * to be on the disk before them.
 */
static int co_make_room(struct qcow2_cache *cache)
{
    return cache == cache->q->refcount_cache ? co_qcow2_cache_write(cache)
                                             : co_qcow2_write_back(cache->q);
}

static int co_take(struct qcow2_cache *cache, struct table **result)
{
    struct table *table;
    int ret;

    /* Much of it is dirty: written in one go rather than one by one. */
    if (cache->n_dirty > cache->n / 2) {
        ret = co_make_room(cache);
        if (ret < 0) {
            return ret;
        }
    }
    table = victim(cache);
    if (!table) {
        ret = co_make_room(cache);
        if (ret < 0) {
            return ret;
        }
        table = victim(cache);
        if (!table) {
            return -ENOMEM; /* all are pinned: a cache of at least a few tables doesn't get there */
        }
    }
    g_mutex_lock(&cache->q->tables);
    remove_table(cache, table);
    g_mutex_unlock(&cache->q->tables);
    table->pins = 1;
    *result = table;
    return 0;
}

static void show(struct qcow2_cache *cache, struct table *table, uint64_t offset)
{
    g_mutex_lock(&cache->q->tables);
    insert(cache, table, offset);
    table->used = table->seen = true;
    g_mutex_unlock(&cache->q->tables);
}

int co_qcow2_cache_get(struct qcow2_cache *cache, uint64_t offset, void **result)
{
    struct qcow2 *q = cache->q;
    struct table *table = find(cache, offset);
    int ret;

    if (offset == 0 || offset & (cache->size - 1)) {
        return co_qcow2_corrupt(q, true, offset, cache->size,
                                "Table (%s) at offset %#" PRIx64 " isn't where a table can be",
                                cache->what, offset);
    }
    if (table) {
        table->pins++;
        table->used = table->seen = true;
        *result = contents(cache, table);
        return 0;
    }
    ret = co_take(cache, &table);
    if (ret < 0) {
        return ret;
    }
    if (cache == q->l2_cache) {
        co_qcow2_event(q, L2_LOAD);
    } else {
        co_qcow2_event(q, REFBLOCK_LOAD);
    }
    ret = co_child_read(q->file, offset, cache->size,
                        BLOCK_BUFFER(contents(cache, table), cache->size), 0);
    if (ret < 0) {
        table->pins = 0;
        return ret;
    }
    show(cache, table, offset);
    *result = contents(cache, table);
    return 0;
}

int co_qcow2_cache_get_empty(struct qcow2_cache *cache, uint64_t offset, void **result)
{
    struct table *table;
    int ret;

    if (!offset || !qcow2_cache_forget(cache, offset, cache->size)) {
        return co_qcow2_corrupt(cache->q, true, offset, cache->size,
                                "Table (%s) at offset %#" PRIx64 " is in use and has "
                                "a reference count of 0",
                                cache->what, offset);
    }
    ret = co_take(cache, &table);
    if (ret < 0) {
        return ret;
    }
    memset(contents(cache, table), 0, cache->size);
    show(cache, table, offset);
    *result = contents(cache, table);
    qcow2_cache_dirty(cache, *result);
    return 0;
}

void qcow2_cache_put(struct qcow2_cache *cache, void *contents)
{
    struct table *table = table_of(cache, contents);

    g_assert(table->pins);
    table->pins--;
}

void qcow2_cache_dirty(struct qcow2_cache *cache, void *contents)
{
    struct table *table = table_of(cache, contents);

    if (!table->dirty) {
        table->dirty = true;
        cache->n_dirty++;
    }
}

const void *qcow2_cache_peek(struct qcow2_cache *cache, uint64_t offset)
{
    struct table *table = find(cache, offset);

    if (!table) {
        return NULL;
    }
    table->used = table->seen = true;
    return contents(cache, table);
}

bool qcow2_cache_is_dirty(const struct qcow2_cache *cache)
{
    return cache->n_dirty != 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct table *const *x = a, *const *y = b;

    return (*x)->offset < (*y)->offset ? -1 : 1;
}

/* The run of tables from the first on that are adjacent in the file. */
static int co_write_run(struct qcow2_cache *cache, struct table **tables, unsigned n,
                        unsigned *done)
{
    struct iovec iov[MAX_RUN];
    unsigned i;
    int ret;

    for (i = 0; i < n && i < MAX_RUN && tables[i]->offset == tables[0]->offset + i * cache->size;
         i++) {
        iov[i] = (struct iovec){contents(cache, tables[i]), cache->size};
    }
    ret = co_qcow2_check_overlap(
        cache->q, cache == cache->q->refcount_cache ? QCOW2_META_REFBLOCK : QCOW2_META_ACTIVE_L2,
        tables[0]->offset, i * cache->size);
    if (ret < 0) {
        return ret;
    }
    if (cache == cache->q->l2_cache) {
        co_qcow2_event(cache->q, L2_UPDATE);
    } else {
        co_qcow2_event(cache->q, REFBLOCK_UPDATE_PART);
    }
    ret = co_child_write(cache->q->file, tables[0]->offset, i * cache->size,
                         (struct block_buffer){iov, i, 0}, 0);
    if (ret < 0) {
        return ret;
    }
    if (cache == cache->q->refcount_cache) {
        cache->q->counts_unflushed = true;
    } else {
        cache->q->l2_unflushed = true;
    }
    cache->q->write_generation++;
    *done = i;
    while (i--) {
        tables[i]->dirty = false;
        cache->n_dirty--;
    }
    return 0;
}

int co_qcow2_cache_write(struct qcow2_cache *cache)
{
    g_autofree struct table **dirty = NULL;
    unsigned n = 0, done;
    uint32_t i;
    int ret;

    if (!cache->n_dirty) {
        return 0;
    }
    dirty = g_new(struct table *, cache->n_dirty);
    for (i = 0; i < cache->n && n < cache->n_dirty; i++) {
        if (cache->tables[i].dirty) {
            dirty[n++] = &cache->tables[i];
        }
    }
    qsort(dirty, n, sizeof(*dirty), by_offset);
    for (i = 0; i < n; i += done) {
        ret = co_write_run(cache, dirty + i, n - i, &done);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

bool qcow2_cache_forget(struct qcow2_cache *cache, uint64_t offset, uint64_t bytes)
{
    uint64_t at = offset & ~(uint64_t)(cache->size - 1);
    bool all = true;

    g_mutex_lock(&cache->q->tables);
    for (; at < offset + bytes; at += cache->size) {
        struct table *table = find(cache, at);

        if (table && table->pins) {
            all = false;
        } else if (table) {
            remove_table(cache, table);
        }
    }
    g_mutex_unlock(&cache->q->tables);
    return all;
}

void qcow2_cache_empty(struct qcow2_cache *cache)
{
    uint32_t i;

    g_mutex_lock(&cache->q->tables);
    for (i = 0; i < cache->n; i++) {
        g_assert(!cache->tables[i].pins && !cache->tables[i].dirty);
        remove_table(cache, &cache->tables[i]);
    }
    g_mutex_unlock(&cache->q->tables);
}

void qcow2_cache_trim(struct qcow2_cache *cache)
{
    uint32_t i;

    for (i = 0; i < cache->n; i++) {
        struct table *table = &cache->tables[i];

        if (!table->seen && table->offset && !table->pins && !table->dirty) {
            g_mutex_lock(&cache->q->tables);
            remove_table(cache, table);
            g_mutex_unlock(&cache->q->tables);
            /* Tables smaller than a page share one: it is given back when the kernel is asked for
             * the whole. */
            madvise(contents(cache, table), cache->size, MADV_DONTNEED);
        }
        table->seen = false;
    }
}
