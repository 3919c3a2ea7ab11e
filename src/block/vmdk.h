/*
 * The parts of driver vmdk. An image is a text, the descriptor, and extents: pieces of the disk one
 * behind the other, each a file of plain bytes (FLAT, VMFS) or a sparse one. A sparse extent may
 * hold the descriptor, and be the image. Sources: VMware's "Virtual Disk Format 5.0"; of the
 * SESPARSE type what public programs make of it.
 */
#ifndef NANDU_BLOCK_VMDK_H
#define NANDU_BLOCK_VMDK_H

#include "block/sparse.h"

enum {
    VMDK_SECTOR = 512,
    VMDK_MAX_DESCRIPTOR = 1 << 20,
    VMDK_MAX_EXTENTS = 8192,
    VMDK_FLAG_NEWLINES = 1,
    VMDK_FLAG_REDUNDANT = 2,
    VMDK_FLAG_ZERO_GRAIN = 4,
    VMDK_FLAG_COMPRESSED = 1 << 16,
    VMDK_FLAG_MARKERS = 1 << 17,
    VMDK_DEFLATE = 1,
    VMDK_GRAIN_SECTORS = 128,
    VMDK_TABLE_ENTRIES = 512, /* of new images */
};

/* "KDMV", little-endian. */
struct vmdk_header {
    char magic[4];
    uint32_t version, flags;
    uint64_t capacity, granularity, desc_offset, desc_size; /* sectors */
    uint32_t table_entries;
    uint64_t redundant_offset, directory_offset, overhead; /* sectors */
    uint8_t unclean, newlines[4];
    uint16_t compression;
    uint8_t pad[433];
} __attribute__((packed));

struct vmdk_extent {
    struct block_edge *file;
    char *type;            /* "FLAT", ...; "" of the one that holds the descriptor */
    uint64_t start, bytes; /* in the disk */
    bool is_flat, is_sesparse;
    uint64_t flat_offset;
    /* Of sparse ones; bytes. */
    bool compressed, markers, zero_grain, read_only;
    uint64_t grain, directory, redundant; /* redundant 0: there is none */
    uint32_t table_entries;
    uint64_t n_tables;
    uint64_t tables, grains; /* where SESPARSE has them */
    uint64_t end;            /* where the next grain goes */
};

struct vmdk {
    struct sparse sparse;
    struct vmdk_extent *extents;
    unsigned n_extents;
    char *create_type;
    uint32_t cid, parent_cid;
    uint64_t cid_at; /* where its digits are in node->file; 0: unknown */
    unsigned cid_digits;
    bool cid_changed;
};

/* ---- The descriptor (vmdk_descriptor.c) ---- */

struct vmdk_line {
    char *access, *type, *filename;
    uint64_t sectors, offset;
};

struct vmdk_descriptor {
    char *create_type, *parent; /* parent: NULL without */
    uint32_t cid, parent_cid;
    size_t cid_at; /* in the text */
    unsigned cid_digits;
    GArray *lines; /* struct vmdk_line */
};

/* Of size bytes, which may hold anything. False: it isn't one, *error says why. To be cleared in
 * any case. */
bool vmdk_descriptor_parse(struct vmdk_descriptor *d, const char *text, size_t size,
                           GError **error);
void vmdk_descriptor_clear(struct vmdk_descriptor *d);

/* ---- Sparse extents (vmdk_extent.c) ---- */

/* extent->file is set. Reads the header, which may say that there is only a descriptor:
 * extent->bytes is 0 then. */
bool co_vmdk_open_sparse(struct block_node *node, struct vmdk_extent *extent,
                         struct vmdk_header *header, GError **error);
int co_vmdk_map_grain(struct block_node *node, const struct vmdk_extent *extent, uint64_t offset,
                      struct sparse_extent *found);
/* The table entry of the grain that has offset. */
int co_vmdk_set_grain(struct block_node *node, struct vmdk_extent *extent, uint64_t offset,
                      uint32_t entry);
int co_vmdk_decompress(struct block_node *node, const struct vmdk_extent *extent,
                       const struct sparse_extent *found, uint8_t *data);
/* Whole grains, or up to the end. */
int co_vmdk_write_compressed(struct block_node *node, struct vmdk_extent *extent, uint64_t offset,
                             uint64_t bytes, struct block_buffer buffer);

/* ---- New images (vmdk_create.c) ---- */

extern const struct block_create_option vmdk_create_options[];
bool co_vmdk_create(struct block_graph *graph, const struct qapi_blockdev_create_options *options,
                    GError **error);
bool co_vmdk_create_prepare(struct block_graph *graph, const char *filename, json_object *options,
                            GError **error);

#endif
