/*
 * The code cache's memory, and the blocks in it: the hash by guest pc, the lists by guest page.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "dbt/dbt_priv.h"

/* ---- Memory ---- */

/*
 * Both views are of one shared anonymous mapping: mremap with an old size of 0 makes another mapping of
 * the same pages. (perf takes such memory for just-in-time code, and looks for its map file.) With
 * [at_rw] and [at_rx] the views replace what is there.
 */
static bool map_views(size_t size, uint8_t *at_rw, uint8_t *at_rx, uint8_t **rw, uint8_t **rx)
{
    int fixed = at_rw ? MAP_FIXED : 0;
    *rw = mmap(at_rw, size, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
    if (*rw == MAP_FAILED)
        return false;
    *rx = mremap(*rw, 0, size, MREMAP_MAYMOVE | (at_rx ? MREMAP_FIXED : 0), at_rx);
    if (*rx == MAP_FAILED || mprotect(*rx, size, PROT_READ | PROT_EXEC) < 0) {
        int error = errno;
        if (*rx != MAP_FAILED)
            munmap(*rx, size);
        munmap(*rw, size);
        errno = error;
        return false;
    }
    return true;
}

bool code_cache_init(struct code_cache *cache, size_t size, GError **error)
{
    uint8_t *rw, *rx;
    if (!map_views(size, NULL, NULL, &rw, &rx)) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "no memory for a code cache of %zu MiB (%s): try a smaller -dbt cache-size",
                    size >> 20, g_strerror(errno));
        return false;
    }
    cache->rw = rw;
    cache->rx = rx;
    cache->size = size;
    return true;
}

void code_cache_free(struct code_cache *cache)
{
    munmap(cache->rw, cache->size);
    munmap((void *)(uintptr_t)cache->rx, cache->size);
}

bool code_cache_unshare(struct code_cache *cache)
{
    g_autofree void *fixed = g_memdup2(cache->rw, cache->fixed);
    uint8_t *rw, *rx;
    if (!map_views(cache->size, cache->rw, (uint8_t *)(uintptr_t)cache->rx, &rw, &rx))
        return false;
    memcpy(cache->rw, fixed, cache->fixed);
    return true;
}

/* ---- Blocks ---- */

static struct block **bucket(const struct dbt *dbt, uint64_t pc, uint32_t mode)
{
    uint64_t h = ((pc >> 1) ^ (uint64_t)mode << 40) * 0x9e3779b97f4a7c15;
    return &dbt->hash[h >> (64 - HASH_BITS)];
}

struct block *block_lookup(const struct dbt *dbt, uint64_t pc, uint32_t mode)
{
    struct block *b = __atomic_load_n(bucket(dbt, pc, mode), __ATOMIC_ACQUIRE);
    while (b && (b->pc != pc || b->mode != mode))
        b = __atomic_load_n(&b->hash_next, __ATOMIC_ACQUIRE);
    return b;
}

static gpointer page_key(uint64_t page)
{
    return (gpointer)(uintptr_t)page;
}

void block_insert(struct dbt *dbt, struct block *b)
{
    struct block **head = bucket(dbt, b->pc, b->mode);

    dbt->blocks[b->index] = b;
    __atomic_store_n(&dbt->n_blocks, b->index + 1, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < b->n_pages; i++) {
        b->page_next[i] = g_hash_table_lookup(dbt->pages, page_key(b->pages[i]));
        g_hash_table_insert(dbt->pages, page_key(b->pages[i]), b);
    }
    if (b->unstable)
        g_ptr_array_add(dbt->unstable, b);
    b->hash_next = *head;
    __atomic_store_n(head, b, __ATOMIC_RELEASE);
}

void block_invalidate(struct dbt *dbt, struct block *b)
{
    struct block **link = bucket(dbt, b->pc, b->mode);

    if (b->invalid)
        return;
    b->invalid = true;
    while (*link != b)
        link = &(*link)->hash_next;
    __atomic_store_n(link, b->hash_next, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < b->n_pages; i++) {
        struct block *p = g_hash_table_lookup(dbt->pages, page_key(b->pages[i]));
        struct block **next = NULL;
        while (p != b) {
            unsigned k = 0;
            while (p->pages[k] != b->pages[i])
                k++;
            next = &p->page_next[k];
            p = *next;
        }
        if (next)
            *next = b->page_next[i];
        else if (b->page_next[i])
            g_hash_table_insert(dbt->pages, page_key(b->pages[i]), b->page_next[i]);
        else
            g_hash_table_remove(dbt->pages, page_key(b->pages[i]));
    }
    if (!b->interpret)
        host_unlink_block(dbt, b);
    dbt->stats.invalidations++;
}

struct block *block_find_host(const struct dbt *dbt, uint32_t offset)
{
    uint32_t low = 0, high = __atomic_load_n(&dbt->n_blocks, __ATOMIC_ACQUIRE);
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (dbt->blocks[mid]->code_end <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == dbt->n_blocks || dbt->blocks[low]->code > offset)
        return NULL;
    return dbt->blocks[low];
}

/* ---- Memory of blocks ---- */

enum { ARENA_CHUNK = 256 * 1024 };

void *dbt_arena_alloc(struct dbt *dbt, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > (size_t)(dbt->arena_end - dbt->arena)) {
        size_t chunk = MAX(size, (size_t)ARENA_CHUNK);
        dbt->arena = g_malloc(chunk);
        dbt->arena_end = dbt->arena + chunk;
        g_ptr_array_add(dbt->arena_chunks, dbt->arena);
    }
    void *p = dbt->arena;
    dbt->arena += size;
    return p;
}

void dbt_arena_reset(struct dbt *dbt)
{
    g_ptr_array_set_size(dbt->arena_chunks, 0);
    dbt->arena = dbt->arena_end = NULL;
}

/* Forget all blocks. Nobody is in translated code. */
void dbt_forget_blocks(struct dbt *dbt)
{
    for (uint32_t i = 0; i < dbt->n_blocks; i++)
        *bucket(dbt, dbt->blocks[i]->pc, dbt->blocks[i]->mode) = NULL;
    dbt->n_blocks = 0;
    dbt->n_exits = 0;
    dbt->cache.used = dbt->cache.fixed;
    g_hash_table_remove_all(dbt->pages);
    g_ptr_array_set_size(dbt->unstable, 0);
    dbt_arena_reset(dbt);
}
