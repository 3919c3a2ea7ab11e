/*
 * Memory back ends: objects memory-backend-ram, -file and -memfd, which hold the host memory
 * behind a guest's RAM. One is mapped when it is made; who puts it into a machine claims it, so
 * that object-del refuses until it is released.
 */
#ifndef NANDU_MEMORY_BACKEND_H
#define NANDU_MEMORY_BACKEND_H

#include "object/object.h"

struct memory_backend;

/* The host memory of a back end; stays as it is while the object lives. */
struct host_memory {
    uint8_t *base;
    uint64_t size;              /* bytes; what is mapped is rounded up to page_size */
    uint64_t page_size;         /* of what is behind it: huge pages may be */
    int fd;                     /* owned by the back end; -1: memory that can't be mapped again */
    uint64_t fd_offset;         /* of base in fd */
    bool shared;                /* MAP_SHARED: other mappings of fd see what is written */
    bool writable;              /* by the host */
    bool rom;                   /* the guest is to see it as ROM */
};

/* The object called id, which must be set up. NULL and *error if it isn't there or isn't a back
 * end. */
struct memory_backend *memory_backend_find(struct object *root, const char *id, GError **error);
const struct host_memory *memory_backend_memory(const struct memory_backend *backend);
/* The name that its RAM has in a migration stream; caller frees. */
char *memory_backend_block_name(const struct memory_backend *backend);
/* False and *error if it belongs to a machine already. Takes a reference; release drops it. */
bool memory_backend_claim(struct memory_backend *backend, GError **error);
void memory_backend_release(struct memory_backend *backend);

#endif
