/*
 * RAM blocks: host memory, and for each page who waits for it to be written.
 *
 * A byte a page has a bit for each client for which the page is clean. All zeroes, that is dirty,
 * is where it starts, so that the table of RAM that nobody tracks is never touched.
 */
#include "memory/memory_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/backend.h"
#include "qapi/error.h"

enum {
    PAGE_BITS = 12,
    LARGE_PAGE = 2 << 20,   /* alignment with which hosts can use large pages */
};

struct ram_block {
    unsigned refs;
    char *name;
    uint8_t *host;
    uint64_t size;
    bool writable;
    struct memory_backend *backend;     /* claimed; NULL: area is the block's own */
    void *area;
    size_t area_size;
    uint8_t *clean;                     /* a page each: 1 << enum dirty_client */
    size_t clean_size;
};

static uint64_t n_pages(const struct ram_block *block)
{
    return (block->size + (1 << PAGE_BITS) - 1) >> PAGE_BITS;
}

/* Zeroed pages that take memory when they are touched. */
static void *map_anonymous(size_t size, int protection)
{
    void *area = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return area == MAP_FAILED ? NULL : area;
}

static bool set_size(struct ram_block *block, uint64_t size)
{
    block->size = size;
    block->clean_size = n_pages(block);
    block->clean = map_anonymous(block->clean_size, PROT_READ | PROT_WRITE);
    return block->clean;
}

/* With room to align in, and without access behind the end: running over it must fault. */
static bool map_own(struct ram_block *block)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t align = block->size >= LARGE_PAGE ? LARGE_PAGE : page;
    size_t size = (block->size + page - 1) & ~(page - 1);

    block->area_size = size + align + page;
    block->area = map_anonymous(block->area_size, PROT_NONE);
    if (!block->area) {
        return false;
    }
    block->host = (uint8_t *)(((uintptr_t)block->area + align - 1) & ~(uintptr_t)(align - 1));
    if (mprotect(block->host, size, PROT_READ | PROT_WRITE) != 0) {
        return false;
    }
    /* Without large pages it works, too. */
    (void)madvise(block->host, size, MADV_HUGEPAGE);
    return true;
}

static struct ram_block *block_new(const char *name)
{
    struct ram_block *block = g_new0(struct ram_block, 1);

    block->refs = 1;
    block->name = g_strdup(name);
    return block;
}

struct ram_block *ram_block_new(const char *name, uint64_t size, GError **error)
{
    auto_ptr(ram_block) block = block_new(name);

    block->writable = true;
    errno = ENOMEM;
    if (!size || size > PTRDIFF_MAX / 2 || !set_size(block, size) || !map_own(block)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "cannot set up guest memory '%s' of %" G_GUINT64_FORMAT " bytes: %s", name,
                    size, size ? g_strerror(errno) : "its size can't be 0");
        return NULL;
    }
    return g_steal_pointer(&block);
}

struct ram_block *ram_block_new_backend(const char *name, struct memory_backend *backend,
                                        GError **error)
{
    const struct host_memory *memory = memory_backend_memory(backend);
    auto_ptr(ram_block) block = block_new(name);

    if (!memory_backend_claim(backend, error)) {
        return NULL;
    }
    block->backend = backend;
    block->host = memory->base;
    block->writable = memory->writable && !memory->rom;
    if (!set_size(block, memory->size)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "cannot set up guest memory '%s': %s",
                    name, g_strerror(errno));
        return NULL;
    }
    return g_steal_pointer(&block);
}

struct ram_block *ram_block_ref(struct ram_block *block)
{
    __atomic_fetch_add(&block->refs, 1, __ATOMIC_RELAXED);
    return block;
}

void ram_block_unref(struct ram_block *block)
{
    if (__atomic_fetch_sub(&block->refs, 1, __ATOMIC_ACQ_REL) != 1) {
        return;
    }
    if (block->backend) {
        memory_backend_release(block->backend);
    }
    if (block->area) {
        munmap(block->area, block->area_size);
    }
    if (block->clean) {
        munmap(block->clean, block->clean_size);
    }
    g_free(block->name);
    g_free(block);
}

uint8_t *ram_block_host(const struct ram_block *block)
{
    return block->host;
}

uint64_t ram_block_size(const struct ram_block *block)
{
    return block->size;
}

const char *ram_block_name(const struct ram_block *block)
{
    return block->name;
}

bool ram_block_writable(const struct ram_block *block)
{
    return block->writable;
}

bool ram_block_mark_written(struct ram_block *block, uint64_t offset, uint64_t size)
{
    uint8_t found = 0;

    if (!size) {
        return false;
    }
    g_assert(offset < block->size && size <= block->size - offset);
    for (uint64_t i = offset >> PAGE_BITS; i <= (offset + size - 1) >> PAGE_BITS; i++) {
        /* An exchange also where it is zero: it orders the bytes that were written before it
         * against who clears the page and then reads them. */
        found |= __atomic_exchange_n(&block->clean[i], 0, __ATOMIC_SEQ_CST);
    }
    return found & 1 << DIRTY_CODE;
}

void ram_block_set_dirty(struct ram_block *block, uint64_t offset, uint64_t size)
{
    ram_block_mark_written(block, offset, size);
}

bool ram_block_test_and_clear_dirty(struct ram_block *block, enum dirty_client client,
                                    uint64_t page)
{
    g_assert(page < n_pages(block));
    return !(__atomic_fetch_or(&block->clean[page], 1 << client, __ATOMIC_SEQ_CST) & 1 << client);
}

bool ram_block_is_dirty(const struct ram_block *block, enum dirty_client client, uint64_t page)
{
    g_assert(page < n_pages(block));
    return !(__atomic_load_n(&block->clean[page], __ATOMIC_SEQ_CST) & 1 << client);
}

void ram_block_set_code(struct ram_block *block, uint64_t offset)
{
    ram_block_test_and_clear_dirty(block, DIRTY_CODE, offset >> PAGE_BITS);
}

bool ram_block_is_watched(const struct ram_block *block, uint64_t offset)
{
    g_assert(offset < block->size);
    return __atomic_load_n(&block->clean[offset >> PAGE_BITS], __ATOMIC_SEQ_CST);
}
