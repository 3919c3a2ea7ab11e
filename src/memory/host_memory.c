/*
 * Mapping host memory, and what the host's kernel is told about it.
 */
#include "memory/backend_priv.h"

#include <errno.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "qapi/error.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

enum {
    THP_SIZE = 2 << 20,             /* an alignment with which the host can use large pages */
    MAX_NODES = 128,
    MAX_PREALLOC_THREADS = 256,
};

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static size_t mapped_size(const struct memory_backend *backend)
{
    return round_up(backend->memory.size, backend->memory.page_size);
}

static bool fail(GError **error, int code, const char *what)
{
    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "%s: %s", what, g_strerror(code));
    return false;
}

uint64_t host_page_size_of(int fd)
{
    struct statfs fs;

    if (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC) {
        return fs.f_bsize;
    }
    return sysconf(_SC_PAGESIZE);
}

/* A host that never overcommits reserves what it maps, whatever it is told. */
static bool check_reserve(const struct memory_backend *backend, GError **error)
{
    g_autofree char *mode = NULL;

    if (!backend->reserve &&
        g_file_get_contents("/proc/sys/vm/overcommit_memory", &mode, NULL, NULL) && *mode == '2') {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "'reserve=off' is not possible here: /proc/sys/vm/overcommit_memory is 2");
        return false;
    }
    return true;
}

/*
 * First address space only, so that there is room to align in and the page behind stays without
 * access: running over the end of a guest's RAM must fault and not hit something else. NULL and
 * errno.
 */
static void *map_area(struct memory_backend *backend, const struct host_mapping *mapping)
{
    uint64_t align = MAX(mapping->align, mapping->page_size);
    int protection = PROT_READ | (mapping->writable ? PROT_WRITE : 0);
    int flags = MAP_FIXED | (mapping->shared ? MAP_SHARED : MAP_PRIVATE) |
                (mapping->fd < 0 ? MAP_ANONYMOUS : 0) | (backend->reserve ? 0 : MAP_NORESERVE);
    size_t size, area_size;
    char *area, *base;

    if (backend->size >= THP_SIZE) {
        align = MAX(align, THP_SIZE);
    }
    if (backend->size > PTRDIFF_MAX / 2 || align > PTRDIFF_MAX / 4) {
        errno = ENOMEM;
        return NULL;
    }
    size = round_up(backend->size, mapping->page_size);
    area_size = size + align + mapping->page_size;
    area = mmap(NULL, area_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) {
        return NULL;
    }
    base = (char *)(uintptr_t)round_up((uintptr_t)area, align);
    if (mmap(base, size, protection, flags, mapping->fd, mapping->offset) == MAP_FAILED) {
        int code = errno;

        munmap(area, area_size);
        errno = code;
        return NULL;
    }
    backend->area = area;
    backend->area_size = area_size;
    return base;
}

bool host_memory_map(struct memory_backend *backend, const struct host_mapping *mapping,
                     GError **error)
{
    void *base = NULL;

    if (check_reserve(backend, error)) {
        base = map_area(backend, mapping);
        if (!base) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "cannot set up guest memory '%s': %s", backend->object.name,
                        g_strerror(errno));
        }
    }
    if (!base) {
        if (mapping->fd >= 0) {
            close(mapping->fd);
        }
        return false;
    }
    backend->memory = (struct host_memory){
        .base = base,
        .size = backend->size,
        .page_size = mapping->page_size,
        .fd = mapping->fd,
        .fd_offset = mapping->offset,
        .shared = mapping->shared,
        .writable = mapping->writable,
        .rom = !mapping->writable,
    };
    return true;
}

void host_memory_unmap(struct memory_backend *backend)
{
    if (!backend->area) {
        return;
    }
    munmap(backend->area, backend->area_size);
    if (backend->memory.fd >= 0) {
        close(backend->memory.fd);
    }
    backend->area = NULL;
}

bool host_memory_set_merge(struct memory_backend *backend, bool merge, GError **error)
{
    /* EINVAL: this kernel can't merge, so nothing is lost by not asking it to. */
    if (madvise(backend->memory.base, mapped_size(backend),
                merge ? MADV_MERGEABLE : MADV_UNMERGEABLE) != 0 &&
        errno != EINVAL) {
        return fail(error, errno,
                    merge ? "cannot allow merging of memory" : "cannot forbid merging of memory");
    }
    return true;
}

bool host_memory_set_dump(struct memory_backend *backend, bool dump, GError **error)
{
    if (madvise(backend->memory.base, mapped_size(backend), dump ? MADV_DODUMP : MADV_DONTDUMP) !=
        0) {
        return fail(error, errno,
                    dump ? "cannot put memory into core dumps"
                         : "cannot keep memory out of core dumps");
    }
    return true;
}

bool host_memory_bind(struct memory_backend *backend, GError **error)
{
    static const int modes[] = {
        [QAPI_HOST_MEM_POLICY_DEFAULT] = MPOL_DEFAULT,
        [QAPI_HOST_MEM_POLICY_PREFERRED] = MPOL_PREFERRED,
        [QAPI_HOST_MEM_POLICY_BIND] = MPOL_BIND,
        [QAPI_HOST_MEM_POLICY_INTERLEAVE] = MPOL_INTERLEAVE,
    };
    enum { BITS = 8 * sizeof(unsigned long) };
    unsigned long mask[MAX_NODES / BITS] = {0};

    if (!backend->host_nodes.n) {
        return true;
    }
    for (size_t i = 0; i < backend->host_nodes.n; i++) {
        unsigned node = backend->host_nodes.v[i];

        g_assert(node < MAX_NODES);     /* checked when it was set */
        mask[node / BITS] |= 1ul << (node % BITS);
    }
    /* The kernel reads one bit less than it is told. */
    if (syscall(SYS_mbind, backend->memory.base, mapped_size(backend), modes[backend->policy], mask,
                (unsigned long)MAX_NODES + 1, MPOL_MF_STRICT | MPOL_MF_MOVE) != 0) {
        return fail(error, errno, "cannot bind memory to host NUMA nodes");
    }
    return true;
}

struct prealloc_part {
    char *start;
    size_t size;
    int advice;
    int code;                       /* errno's; 0: done */
};

static void *prealloc_thread(void *opaque)
{
    struct prealloc_part *part = opaque;

    /* Not by writing: where there are too few huge pages that would be a SIGBUS, this is an
     * error. */
    while (madvise(part->start, part->size, part->advice) != 0) {
        if (errno != EINTR && errno != EAGAIN) {
            part->code = errno;
            break;
        }
    }
    return NULL;
}

bool host_memory_prealloc(struct memory_backend *backend, GError **error)
{
    struct host_memory *memory = &backend->memory;
    size_t pages = mapped_size(backend) / memory->page_size;
    size_t n = MIN(MIN(backend->prealloc_threads, MAX_PREALLOC_THREADS), pages);
    g_autofree struct prealloc_part *parts = g_new0(struct prealloc_part, n);
    g_autofree GThread **threads = g_new0(GThread *, n);
    int code = 0;

    for (size_t i = 0; i < n; i++) {
        size_t first = pages * i / n, end = pages * (i + 1) / n;

        parts[i].start = (char *)memory->base + first * memory->page_size;
        parts[i].size = (end - first) * memory->page_size;
        parts[i].advice = memory->writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
        threads[i] = i ? g_thread_try_new("prealloc", prealloc_thread, &parts[i], NULL) : NULL;
        if (i && !threads[i]) {
            prealloc_thread(&parts[i]);
        }
    }
    prealloc_thread(&parts[0]);
    for (size_t i = 0; i < n; i++) {
        if (threads[i]) {
            g_thread_join(threads[i]);
        }
        code = code ? code : parts[i].code;
    }
    if (code == EINVAL) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "memory can't be preallocated: that needs Linux 5.14 or newer");
        return false;
    }
    return code ? fail(error, code, "cannot preallocate memory") : true;
}
