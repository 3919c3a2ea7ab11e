/*
 * memory-backend-memfd: memory with a descriptor and no name, sealed so that who gets the
 * descriptor can't shrink it under the guest.
 */
#include "memory/backend_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "qapi/error.h"

struct memfd_backend {
    struct memory_backend parent;
    bool hugetlb, seal;
    uint64_t hugetlbsize;
};

static bool set_hugetlbsize(struct object *obj, const struct property *prop, const void *value,
                            GError **error)
{
    uint64_t size = *(const uint64_t *)value;

    if (!size || (size & (size - 1))) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "property '%s' of %s must be the size of a huge page, a power of two",
                    prop->name, obj->type->name);
        return false;
    }
    return true;
}

static int create(const struct memfd_backend *memfd, GError **error)
{
    unsigned flags = MFD_CLOEXEC | (memfd->seal ? MFD_ALLOW_SEALING : 0);
    int fd;

    if (memfd->hugetlb) {
        flags |= MFD_HUGETLB;
        if (memfd->hugetlbsize) {
            flags |= (unsigned)__builtin_ctzll(memfd->hugetlbsize) << MAP_HUGE_SHIFT;
        }
    }
    fd = memfd_create(memfd->parent.object.type->name, flags);
    if (fd < 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "failed to create memfd%s: %s",
                    memfd->hugetlb ? " of huge pages" : "", g_strerror(errno));
        return -1;
    }
    if (ftruncate(fd, memfd->parent.size) != 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "failed to resize memfd to %" G_GUINT64_FORMAT ": %s", memfd->parent.size,
                    g_strerror(errno));
        close(fd);
        return -1;
    }
    if (memfd->seal && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "failed to seal memfd: %s",
                    g_strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

static bool map_memfd(struct memory_backend *backend, GError **error)
{
    struct host_mapping mapping = {.shared = backend->share, .writable = true};

    mapping.fd = create((struct memfd_backend *)backend, error);
    if (mapping.fd < 0) {
        return false;
    }
    mapping.page_size = host_page_size_of(mapping.fd);
    return host_memory_map(backend, &mapping, error);
}

static const struct memory_backend_class memfd_class = {.map = map_memfd};

static const struct property memfd_properties[] = {
    PROPERTY("hugetlb", memfd_backend, hugetlb, qapi_type_bool, "off", "Use huge pages"),
    PROPERTY("hugetlbsize", memfd_backend, hugetlbsize, qapi_type_size, NULL,
             "Huge pages size (ex: 2M, 1G)", .set = set_hugetlbsize),
    PROPERTY("seal", memfd_backend, seal, qapi_type_bool, "on", "Seal growing & shrinking"),
    PROPERTY("share", memfd_backend, parent.share, qapi_type_bool, "on",
             "Mark the memory as private to the emulator or shared"),
};

static const struct object_type memfd_type = {
    .name = "memory-backend-memfd",
    .parent = "memory-backend",
    .instance_size = sizeof(struct memfd_backend),
    .properties = memfd_properties,
    .n_properties = G_N_ELEMENTS(memfd_properties),
    .class_data = &memfd_class,
};
OBJECT_TYPE(memfd_type);
