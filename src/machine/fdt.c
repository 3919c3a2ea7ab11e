#include "machine/fdt.h"

#include <libfdt.h>
#include <string.h>

#include "qapi/error.h"

enum { FIRST_SIZE = 16 * 1024 };

struct fdt {
    void *blob;             /* grown as needed */
    uint32_t last_phandle;
};

/* libfdt edits in place: calls op until there is room. Anything but a lack of room would be a
 * bug of ours. */
#define EDIT(fdt, op)                                                                              \
    do {                                                                                           \
        int edit_result;                                                                           \
                                                                                                   \
        while ((edit_result = (op)) == -FDT_ERR_NOSPACE) {                                         \
            grow(fdt);                                                                             \
        }                                                                                          \
        g_assert(edit_result >= 0);                                                                \
    } while (0)

static void grow(struct fdt *fdt)
{
    size_t size = fdt_totalsize(fdt->blob) * 2;

    fdt->blob = g_realloc(fdt->blob, size);
    g_assert(fdt_open_into(fdt->blob, fdt->blob, (int)size) == 0);
}

struct fdt *fdt_new(void)
{
    struct fdt *fdt = g_new0(struct fdt, 1);

    fdt->blob = g_malloc(FIRST_SIZE);
    g_assert(fdt_create_empty_tree(fdt->blob, FIRST_SIZE) == 0);
    return fdt;
}

struct fdt *fdt_new_from(const void *blob, size_t size, GError **error)
{
    struct fdt *fdt;
    int result = fdt_check_full(blob, size);
    uint32_t last;

    if (result < 0 || fdt_totalsize(blob) > G_MAXINT / 4 || fdt_find_max_phandle(blob, &last) < 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "not a valid device tree blob: %s",
                    fdt_strerror(result));
        return NULL;
    }
    fdt = g_new0(struct fdt, 1);
    fdt->last_phandle = last;
    size = fdt_totalsize(blob) + FIRST_SIZE;
    fdt->blob = g_malloc(size);
    result = fdt_open_into(blob, fdt->blob, (int)size);
    if (result < 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "the device tree blob can't be extended: %s", fdt_strerror(result));
        fdt_free(fdt);
        return NULL;
    }
    return fdt;
}

void fdt_free(struct fdt *fdt)
{
    g_free(fdt->blob);
    g_free(fdt);
}

uint32_t fdt_new_phandle(struct fdt *fdt)
{
    return ++fdt->last_phandle;
}

bool fdt_has_node(const struct fdt *fdt, const char *path)
{
    return fdt_path_offset(fdt->blob, path) >= 0;
}

static int node(const struct fdt *fdt, const char *path)
{
    int offset = fdt_path_offset(fdt->blob, path);

    g_assert(offset >= 0);
    return offset;
}

void fdt_add_node(struct fdt *fdt, const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    g_autofree char *parent = name == path + 1 ? g_strdup("/") : g_strndup(path, name - path - 1);

    if (!fdt_has_node(fdt, path)) {
        EDIT(fdt, fdt_add_subnode(fdt->blob, node(fdt, parent), name));
    }
}

void fdt_set_bytes(struct fdt *fdt, const char *path, const char *name, const void *data,
                   size_t size)
{
    EDIT(fdt, fdt_setprop(fdt->blob, node(fdt, path), name, data, (int)size));
}

void fdt_set_empty(struct fdt *fdt, const char *path, const char *name)
{
    fdt_set_bytes(fdt, path, name, NULL, 0);
}

void fdt_set_string(struct fdt *fdt, const char *path, const char *name, const char *value)
{
    fdt_set_bytes(fdt, path, name, value, strlen(value) + 1);
}

void fdt_set_strings(struct fdt *fdt, const char *path, const char *name, const char *const *values)
{
    g_autoptr(GByteArray) all = g_byte_array_new();

    for (; *values; values++) {
        g_byte_array_append(all, (const guint8 *)*values, (guint)strlen(*values) + 1);
    }
    fdt_set_bytes(fdt, path, name, all->data, all->len);
}

void fdt_set_cells(struct fdt *fdt, const char *path, const char *name, const uint32_t *cells,
                   size_t n)
{
    g_autofree fdt32_t *data = g_new(fdt32_t, n);

    for (size_t i = 0; i < n; i++) {
        data[i] = cpu_to_fdt32(cells[i]);
    }
    fdt_set_bytes(fdt, path, name, data, n * sizeof(*data));
}

void fdt_set_reg(struct fdt *fdt, const char *path, uint64_t address, uint64_t size)
{
    fdt_set(fdt, path, "reg", (uint32_t)(address >> 32), (uint32_t)address, (uint32_t)(size >> 32),
            (uint32_t)size);
}

GBytes *fdt_to_bytes(const struct fdt *fdt)
{
    size_t size = fdt_totalsize(fdt->blob);
    void *copy = g_memdup2(fdt->blob, size);

    g_assert(fdt_pack(copy) == 0);
    return g_bytes_new_take(copy, fdt_totalsize(copy));
}
