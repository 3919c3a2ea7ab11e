/*
 * memory-backend-ram: anonymous memory. Shared memory has a descriptor, so that another process
 * can be given it.
 */
#include "memory/backend_priv.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "qapi/error.h"

static bool map_ram(struct memory_backend *backend, GError **error)
{
    struct host_mapping mapping = {
        .fd = -1,
        .page_size = sysconf(_SC_PAGESIZE),
        .shared = backend->share,
        .writable = true,
    };

    if (backend->share) {
        mapping.fd = memfd_create("ram", MFD_CLOEXEC);
        if (mapping.fd < 0 || ftruncate(mapping.fd, backend->size) != 0) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "cannot set up guest memory '%s': %s", backend->object.name,
                        g_strerror(errno));
            if (mapping.fd >= 0) {
                close(mapping.fd);
            }
            return false;
        }
    }
    return host_memory_map(backend, &mapping, error);
}

static const struct memory_backend_class ram_class = {.map = map_ram};

static const struct object_type ram_type = {
    .name = "memory-backend-ram",
    .parent = "memory-backend",
    .class_data = &ram_class,
};
OBJECT_TYPE(ram_type);
