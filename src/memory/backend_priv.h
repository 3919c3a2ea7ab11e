/* What the kinds of memory back ends share. */
#ifndef NANDU_MEMORY_BACKEND_PRIV_H
#define NANDU_MEMORY_BACKEND_PRIV_H

#include "memory/backend.h"
#include "qapi/qapi_types.h"

struct memory_backend {
    struct object object;
    struct host_memory memory;
    void *area;                 /* what was mapped, with what alignment took and a guard page */
    size_t area_size;
    bool claimed;
    /* properties */
    uint64_t size;
    bool merge, dump, prealloc, share, reserve, canonical_path;
    uint32_t prealloc_threads;
    enum qapi_host_mem_policy policy;
    struct qapi_uint16_list host_nodes;
};

/* class_data: fills in backend->memory by host_memory_map. */
struct memory_backend_class {
    bool (*map)(struct memory_backend *backend, GError **error);
};

/* How a back end is mapped. */
struct host_mapping {
    int fd;                     /* -1: anonymous */
    uint64_t offset;            /* in fd */
    uint64_t page_size;
    uint64_t align;             /* of the host address; 0: page_size. A power of two */
    bool shared, writable;
};

/*
 * Maps backend->size bytes and a guard page behind them. On success fd belongs to the back end;
 * on failure it is closed.
 */
bool host_memory_map(struct memory_backend *backend, const struct host_mapping *mapping,
                     GError **error);
void host_memory_unmap(struct memory_backend *backend);
/* The page size of a file: of its file system if that has huge pages, else the host's. */
uint64_t host_page_size_of(int fd);

/* Applies properties to memory that is mapped. */
bool host_memory_set_merge(struct memory_backend *backend, bool merge, GError **error);
bool host_memory_set_dump(struct memory_backend *backend, bool dump, GError **error);
bool host_memory_bind(struct memory_backend *backend, GError **error);
bool host_memory_prealloc(struct memory_backend *backend, GError **error);

#endif
