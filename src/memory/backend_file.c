/*
 * memory-backend-file: memory that is a file, or a new one without a name in a folder (of a file
 * system with huge pages, mostly).
 */
#include "memory/backend_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qapi/error.h"

struct file_backend {
    struct memory_backend parent;
    char *mem_path;
    uint64_t align, offset;
    bool discard_data, pmem, readonly;
    enum qapi_on_off_auto rom;
};

static bool set_pmem(struct object *obj, const struct property *prop, const void *value,
                     GError **error)
{
    if (*(const bool *)value) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "property 'pmem' = 'on' is not supported: Nandu is built without libpmem");
        return false;
    }
    return true;
}

static bool check_rom(const struct file_backend *file, GError **error)
{
    if (file->rom == QAPI_ON_OFF_AUTO_ON && !file->readonly) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "property 'rom' = 'on' is not supported with 'readonly' = 'off'");
        return false;
    }
    if (file->rom == QAPI_ON_OFF_AUTO_OFF && file->readonly && file->parent.share) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "property 'rom' = 'off' is incompatible with 'readonly' = 'on' and 'share' = "
                    "'on'");
        return false;
    }
    return true;
}

/* A descriptor, or -1 and *error. *created: the file is new and to be removed if the rest fails. */
static int open_file(const struct file_backend *file, bool *created, GError **error)
{
    int flags = O_CLOEXEC | (file->readonly ? O_RDONLY : O_RDWR);
    int fd = open(file->mem_path, flags);

    if (fd < 0 && errno == EISDIR && !file->readonly) {
        g_autofree char *name = g_build_filename(file->mem_path, "nandu-ram.XXXXXX", NULL);

        fd = g_mkstemp_full(name, O_RDWR | O_CLOEXEC, 0600);
        if (fd >= 0) {
            unlink(name);
        }
    } else if (fd < 0 && errno == ENOENT && !file->readonly) {
        fd = open(file->mem_path, flags | O_CREAT | O_EXCL, 0644);
        *created = fd >= 0;
    }
    if (fd < 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "can't open backing store %s for guest RAM: %s", file->mem_path,
                    g_strerror(errno));
    }
    return fd;
}

/* An empty file is made as large as is asked for; the size of another one is never changed. */
static bool fit_size(const struct file_backend *file, int fd, uint64_t page_size, GError **error)
{
    const struct memory_backend *backend = &file->parent;
    uint64_t needed, have;
    struct stat st = {0};

    if (__builtin_add_overflow(backend->size, file->offset, &needed) ||
        __builtin_add_overflow(needed, page_size - 1, &needed) || needed > INT64_MAX) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "'size' option 0x%" G_GINT64_MODIFIER
                    "x plus 'offset' option 0x%" G_GINT64_MODIFIER "x is too large for a file",
                    backend->size, file->offset);
        return false;
    }
    needed = needed / page_size * page_size;
    if (fstat(fd, &st) != 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "can't find out the size of %s: %s",
                    file->mem_path, g_strerror(errno));
        return false;
    }
    have = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : UINT64_MAX;
    if (have == 0 && !file->readonly) {
        if (ftruncate(fd, needed) != 0) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "can't make backing store %s 0x%" G_GINT64_MODIFIER "x bytes large: %s",
                        file->mem_path, needed, g_strerror(errno));
            return false;
        }
        return true;
    }
    if (have < backend->size + file->offset) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "%s backing store size 0x%" G_GINT64_MODIFIER
                    "x is too small for 'size' option 0x%" G_GINT64_MODIFIER
                    "x plus 'offset' option 0x%" G_GINT64_MODIFIER "x",
                    backend->object.name, have, backend->size, file->offset);
        return false;
    }
    return true;
}

static bool check_align(const struct file_backend *file, uint64_t page_size, GError **error)
{
    if (file->align % page_size || (file->align & (file->align - 1))) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "alignment 0x%" G_GINT64_MODIFIER
                    "x must be a power of two and a multiple of the "
                    "page size 0x%" G_GINT64_MODIFIER "x",
                    file->align, page_size);
        return false;
    }
    if (file->offset % page_size) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "offset 0x%" G_GINT64_MODIFIER "x must be a multiple of the page size 0x%"
                    G_GINT64_MODIFIER "x", file->offset, page_size);
        return false;
    }
    return true;
}

static bool map_file(struct memory_backend *backend, GError **error)
{
    struct file_backend *file = (struct file_backend *)backend;
    struct host_mapping mapping = {
        .offset = file->offset,
        .align = file->align,
        .shared = backend->share,
        /* What is private can be written, the file is not. */
        .writable = !file->readonly || (file->rom == QAPI_ON_OFF_AUTO_OFF && !backend->share),
    };
    bool created = false;
    bool ok;

    if (!*file->mem_path) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "mem-path property not set");
        return false;
    }
    if (!check_rom(file, error)) {
        return false;
    }
    mapping.fd = open_file(file, &created, error);
    if (mapping.fd < 0) {
        return false;
    }
    mapping.page_size = host_page_size_of(mapping.fd);
    ok = check_align(file, mapping.page_size, error) &&
         fit_size(file, mapping.fd, mapping.page_size, error);
    if (!ok) {
        close(mapping.fd);
    } else {
        ok = host_memory_map(backend, &mapping, error);
    }
    if (!ok && created) {
        unlink(file->mem_path);
    }
    return ok;
}

static void file_finalize(struct object *obj)
{
    struct file_backend *file = (struct file_backend *)obj;
    const struct host_memory *memory = &file->parent.memory;

    /* Not an error if the file system can't: it is an optimization, the file keeps what it has. */
    if (file->discard_data && obj->completed && memory->shared && memory->writable) {
        madvise(memory->base, memory->size, MADV_REMOVE);
    }
}

static const struct memory_backend_class file_class = {.map = map_file};

static const struct property file_properties[] = {
    PROPERTY("align", file_backend, align, qapi_type_size, NULL,
             "The host address is a multiple of this (ex: 2M)"),
    PROPERTY("discard-data", file_backend, discard_data, qapi_type_bool, "off",
             "Drop the contents when the object goes"),
    PROPERTY("mem-path", file_backend, mem_path, qapi_type_str, NULL,
             "The file, or a folder in which one without a name is made",
             .flags = PROPERTY_REQUIRED),
    PROPERTY("offset", file_backend, offset, qapi_type_size, NULL,
             "Offset into the target file (ex: 1G)"),
    PROPERTY("pmem", file_backend, pmem, qapi_type_bool, "off",
             "Persistent memory; not supported here", .set = set_pmem),
    PROPERTY("readonly", file_backend, readonly, qapi_type_bool, "off",
             "Open the file for reading only"),
    PROPERTY("rom", file_backend, rom, qapi_type_on_off_auto, "auto",
             "Whether to create Read Only Memory (ROM)"),
};

static const struct object_type file_type = {
    .name = "memory-backend-file",
    .parent = "memory-backend",
    .instance_size = sizeof(struct file_backend),
    .properties = file_properties,
    .n_properties = G_N_ELEMENTS(file_properties),
    .class_data = &file_class,
    .finalize = file_finalize,
};
OBJECT_TYPE(file_type);
