/*
 * A device tree (Devicetree Specification v0.4) while it is made. Nodes are named by their paths; a
 * node's parent is there before it. A tree that was loaded from a file can be extended in the same
 * way.
 */
#ifndef NANDU_MACHINE_FDT_H
#define NANDU_MACHINE_FDT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/auto.h"

struct fdt;
struct fdt *fdt_new(void);
/* From a blob, which is checked; NULL and *error: it isn't a tree, or is damaged. */
struct fdt *fdt_new_from(const void *blob, size_t size, GError **error);
void fdt_free(struct fdt *fdt);
DEFINE_AUTO_PTR(fdt, fdt_free)

/* A number for a property phandle, new in this tree. */
uint32_t fdt_new_phandle(struct fdt *fdt);
bool fdt_has_node(const struct fdt *fdt, const char *path);
/* Nothing if it is there. Of several children the one that was added last comes first. */
void fdt_add_node(struct fdt *fdt, const char *path);
/* Properties; one that is there gets another value. */
void fdt_set_empty(struct fdt *fdt, const char *path, const char *name);
void fdt_set_string(struct fdt *fdt, const char *path, const char *name, const char *value);
/* values: NULL-terminated. */
void fdt_set_strings(struct fdt *fdt, const char *path, const char *name,
                     const char *const *values);
void fdt_set_bytes(struct fdt *fdt, const char *path, const char *name, const void *data,
                   size_t size);
void fdt_set_cells(struct fdt *fdt, const char *path, const char *name, const uint32_t *cells,
                   size_t n);
#define fdt_set(fdt, path, name, ...)                               \
    fdt_set_cells(fdt, path, name, (const uint32_t[]){__VA_ARGS__}, \
                  sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
/* reg with an address and a size of two cells each. */
void fdt_set_reg(struct fdt *fdt, const char *path, uint64_t address, uint64_t size);

/* The finished tree, packed. Caller unrefs. */
GBytes *fdt_to_bytes(const struct fdt *fdt);

#endif
