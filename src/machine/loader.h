/*
 * What is in a machine's memory when it starts: firmware, kernel, initial RAM disk, device tree.
 * Files are checked once; each reset puts the same bytes to their places again. Files that aren't
 * packed are kept open rather than in memory, and must stay as they are while the machine runs.
 */
#ifndef NANDU_MACHINE_LOADER_H
#define NANDU_MACHINE_LOADER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/auto.h"

struct address_space;

/* ram_base, ram_size: the memory that everything must fit into, bytes. */
struct loader;
struct loader *loader_new(uint64_t ram_base, uint64_t ram_size);
void loader_free(struct loader *loader);
DEFINE_AUTO_PTR(loader, loader_free)

/* What was found in a file. */
struct loader_image {
    uint64_t entry;         /* where it begins to run */
    uint64_t start, end;    /* memory that it takes */
};

/* A symbol whose value a board wants of ELF files. */
struct loader_symbol {
    const char *name;
    bool found;
    uint64_t value;
};

/*
 * An executable: ELF64 for the machine (loaded where its program headers say, by physical address),
 * a Linux Image or any other flat file, which goes to address. If unpack, it may also be packed by
 * gzip or zstd, and be inside of an EFI zboot program. symbols (n of them) are looked up in an ELF
 * file's symbol table; those that are found already stay. False and *error, which names the file.
 */
bool loader_add_executable(struct loader *loader, const char *path, uint64_t address, bool unpack,
                           struct loader_symbol *symbols, size_t n_symbols,
                           struct loader_image *image, GError **error);
/* The same for a file of any kind that isn't unpacked; what names it in errors: "loader". */
bool loader_add_program(struct loader *loader, const char *what, const char *path, uint64_t address,
                        struct loader_image *image, GError **error);
/* A flat file at an address. what names it in errors: "initrd". */
bool loader_add_file(struct loader *loader, const char *what, const char *path, uint64_t address,
                     struct loader_image *image, GError **error);
/* Bytes at an address. Takes a reference. */
bool loader_add_bytes(struct loader *loader, const char *what, uint64_t address, GBytes *data,
                      GError **error);

/* A file of at most max bytes. NULL and *error. */
GBytes *loader_read_file(const char *what, const char *path, uint64_t max, GError **error);

/* Writes everything into memory. False and *error: a file isn't what it was any more. */
bool loader_write(const struct loader *loader, struct address_space *memory, GError **error);

#endif
