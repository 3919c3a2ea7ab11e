/*
 * The code cache's memory, and the blocks in it: the hash by guest pc, the lists by guest page.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "dbt/dbt_priv.h"

/* ---- Memory ---- */

/*
 * Both views are of one shared anonymous mapping: mremap with an old size of 0 makes another
 * mapping of the same pages. (perf takes such memory for just-in-time code, and looks for its map
 * file.) With [at_rw] and [at_rx] the views replace what is there.
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

/*
 * A copy costs half a millisecond a MiB, nearly all of it the kernel's for fresh pages; translating
 * again what has been translated costs ten times as much. A small program's child, a shell's or an
 * interpreter's, runs enough of it again; of a large one it is likely to run little.
 */
enum { MAX_FORK_COPY = 8 << 20 };

void code_cache_before_fork(struct code_cache *cache)
{
    cache->copy = NULL;
    if (cache->used > MAX_FORK_COPY)
        return;
    void *copy = mmap(NULL, cache->size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (copy == MAP_FAILED)
        return;
    madvise(copy, cache->used, MADV_POPULATE_WRITE); /* all at once, where the kernel can */
    memcpy(copy, cache->rw, cache->used);
    cache->copy = copy;
}

void code_cache_after_fork(struct code_cache *cache)
{
    if (cache->copy)
        munmap(cache->copy, cache->size);
    cache->copy = NULL;
}

bool code_cache_adopt_copy(struct code_cache *cache)
{
    uint8_t *copy = cache->copy, *rx = (uint8_t *)(uintptr_t)cache->rx;

    cache->copy = NULL;
    if (!copy)
        return false;
    if (mremap(copy, cache->size, cache->size, MREMAP_MAYMOVE | MREMAP_FIXED, cache->rw) ==
        MAP_FAILED) {
        munmap(copy, cache->size);
        return false;
    }
    return mremap(cache->rw, 0, cache->size, MREMAP_MAYMOVE | MREMAP_FIXED, rx) != MAP_FAILED &&
           mprotect(rx, cache->size, PROT_READ | PROT_EXEC) == 0;
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

/* Code that is near is near in the hash too: its pages are copied when a process that forked first
 * writes there. Regions of as many buckets as there are start at scattered places. */
static struct block **bucket(const struct dbt *dbt, uint64_t key, uint64_t phys, uint32_t mode)
{
    uint64_t at = dbt->config.mmu ? phys : key;
    uint64_t region = (at >> (dbt->hash_bits + 1)) ^ (uint64_t)mode << 40;
    uint64_t start = (region * 0x9e3779b97f4a7c15) >> (64 - dbt->hash_bits);
    return &dbt->hash[((at >> 1) + start) & ((1u << dbt->hash_bits) - 1)];
}

bool block_is_relative(const struct dbt *dbt, uint32_t mode)
{
    return dbt->config.mmu && (!dbt->arch->mode_relative || dbt->arch->mode_relative(mode));
}

uint64_t block_key(const struct dbt *dbt, uint64_t pc, uint32_t mode)
{
    return !dbt->breakpoints->len && block_is_relative(dbt, mode) ? 0 : pc;
}

static uint64_t key_of(const struct block *b)
{
    return b->keyed ? b->pc : 0;
}

static bool is_block(const struct block *b, uint64_t key, uint64_t phys, uint32_t mode)
{
    return b->phys == phys && b->mode == mode && key_of(b) == key;
}

struct block *block_lookup(const struct dbt *dbt, uint64_t key, uint64_t phys, uint32_t mode)
{
    struct block *b = __atomic_load_n(bucket(dbt, key, phys, mode), __ATOMIC_ACQUIRE);
    while (b && !is_block(b, key, phys, mode))
        b = __atomic_load_n(&b->hash_next, __ATOMIC_ACQUIRE);
    return b;
}

struct block *block_lookup_next(const struct block *b)
{
    struct block *next = __atomic_load_n(&b->hash_next, __ATOMIC_ACQUIRE);
    while (next && !is_block(next, key_of(b), b->phys, b->mode))
        next = __atomic_load_n(&next->hash_next, __ATOMIC_ACQUIRE);
    return next;
}

static struct page_link **page_list(struct dbt *dbt, uint64_t page)
{
    return &dbt->pages[page & ((1 << PAGE_HASH_BITS) - 1)];
}

void block_insert(struct dbt *dbt, struct block *b)
{
    struct block **head = bucket(dbt, key_of(b), b->phys, b->mode);

    dbt->blocks[b->index] = b;
    __atomic_store_n(&dbt->n_blocks, b->index + 1, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < b->n_pages; i++) {
        struct page_link *link = &b->pages[i], **list = page_list(dbt, link->page);
        link->block = b;
        link->next = *list;
        *list = link;
    }
    if (b->unstable) {
        b->unstable_next = dbt->unstable;
        dbt->unstable = b;
    }
    b->hash_next = *head;
    __atomic_store_n(head, b, __ATOMIC_RELEASE);
}

void block_invalidate(struct dbt *dbt, struct block *b)
{
    struct block **link = bucket(dbt, key_of(b), b->phys, b->mode);

    if (b->invalid)
        return;
    b->invalid = true;
    while (*link != b)
        link = &(*link)->hash_next;
    __atomic_store_n(link, b->hash_next, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < b->n_pages; i++) {
        struct page_link **p = page_list(dbt, b->pages[i].page);
        while (*p != &b->pages[i])
            p = &(*p)->next;
        *p = b->pages[i].next;
    }
    if (!b->interpret)
        host_unlink_block(dbt, b);
    dbt->stats.invalidations++;
}

static void invalidate_if_in(struct dbt *dbt, struct block *b, uint64_t start, uint64_t size)
{
    if (b->pc < start + size && b->pc + b->size > start)
        block_invalidate(dbt, b);
}

void block_invalidate_virtual(struct dbt *dbt, uint64_t start, uint64_t size)
{
    for (uint32_t i = 0; i < dbt->n_blocks; i++)
        invalidate_if_in(dbt, dbt->blocks[i], start, size);
}

void block_invalidate_range(struct dbt *dbt, uint64_t start, uint64_t size)
{
    uint64_t first = start >> BLOCK_PAGE_SHIFT, last = (start + size - 1) >> BLOCK_PAGE_SHIFT;

    if (last - first >= dbt->n_blocks) {
        block_invalidate_virtual(dbt, start, size);
        return;
    }
    for (uint64_t page = first; page <= last; page++) {
        /* A link that was taken off the list still leads back to it. */
        for (struct page_link *l = *page_list(dbt, page); l; l = l->next) {
            if (l->page == page)
                invalidate_if_in(dbt, l->block, start, size);
        }
    }
}

void block_invalidate_page(struct dbt *dbt, uint64_t page)
{
    for (struct page_link *l = *page_list(dbt, page); l; l = l->next) {
        if (l->page == page)
            block_invalidate(dbt, l->block);
    }
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

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
};

void *dbt_arena_alloc(struct dbt *dbt, size_t size)
{
    size = (size + 7) & ~(size_t)7;
    if (size > (size_t)(dbt->arena_end - dbt->arena)) {
        size_t bytes = MAX(size + sizeof(struct arena_chunk), (size_t)ARENA_CHUNK);
        struct arena_chunk *chunk =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (chunk == MAP_FAILED)
            g_error("out of memory for the translator's tables");
        *chunk = (struct arena_chunk){ .next = dbt->arena_chunks, .size = bytes };
        dbt->arena_chunks = chunk;
        dbt->arena = (uint8_t *)(chunk + 1);
        dbt->arena_end = (uint8_t *)chunk + bytes;
    }
    void *p = dbt->arena;
    dbt->arena += size;
    return p;
}

void dbt_arena_reset(struct dbt *dbt)
{
    while (dbt->arena_chunks) {
        struct arena_chunk *chunk = dbt->arena_chunks;
        dbt->arena_chunks = chunk->next;
        munmap(chunk, chunk->size);
    }
    dbt->arena = dbt->arena_end = NULL;
}

/* Forget all blocks. Nobody is in translated code. */
void dbt_forget_blocks(struct dbt *dbt)
{
    for (uint32_t i = 0; i < dbt->n_blocks; i++)
        *bucket(dbt, key_of(dbt->blocks[i]), dbt->blocks[i]->phys, dbt->blocks[i]->mode) = NULL;
    dbt->n_blocks = 0;
    dbt->cache.used = dbt->cache.fixed;
    memset(dbt->pages, 0, sizeof(dbt->pages));
    dbt->unstable = NULL;
    if (dbt->config.mmu)
        code_pages_forget(&dbt->code_pages);
    dbt_arena_reset(dbt);
}
