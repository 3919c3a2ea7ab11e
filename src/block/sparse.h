/*
 * What sparse formats other than qcow2 share: clusters that are mapped one by one and allocated at
 * the end of a file, tables of which only a part is in memory, and new images.
 *
 * A driver's state begins with struct sparse. Its co_map says where bytes are; the requests here
 * read, fill new clusters (from the backing image, or with zeroes) and have them linked by co_link
 * after their data are written. Tables are written through: nothing has to be flushed that isn't in
 * the file.
 */
#ifndef NANDU_BLOCK_SPARSE_H
#define NANDU_BLOCK_SPARSE_H

#include "block/driver.h"

/* ---- Tables ---- */

/* Pieces of a file that were read, up to 16 MiB of them. Used under one lock. */
struct table_cache;

struct table_cache *table_cache_new(void);
void table_cache_free(struct table_cache *cache); /* NULL: nothing */
/* As co_child_read and _write, of a few bytes. */
int co_table_read(struct table_cache *cache, struct block_edge *file, uint64_t offset, void *data,
                  size_t bytes);
int co_table_write(struct table_cache *cache, struct block_edge *file, uint64_t offset,
                   const void *data, size_t bytes);
/* Written by other ways: what is remembered of it is forgotten. */
void table_cache_drop(struct table_cache *cache);

/* ---- Clusters ---- */

enum sparse_kind { SPARSE_UNALLOCATED, SPARSE_ZERO, SPARSE_DATA, SPARSE_COMPRESSED };

struct sparse_extent {
    enum sparse_kind kind;
    uint64_t bytes;          /* that are so, not 0; may be more than were asked for */
    struct block_edge *file; /* of SPARSE_DATA, SPARSE_COMPRESSED */
    uint64_t host; /* where the first one is in it; of SPARSE_COMPRESSED where the cluster is */
    uint64_t cluster; /* the one it is in: offset of its first byte in the image */
    uint64_t cluster_size; /* bytes */
};

/* All are called with the lock held. 0 or -errno. */
struct sparse_ops {
    int (*co_map)(struct block_node *node, uint64_t offset, struct sparse_extent *extent);
    /* Space for the extent's cluster: sets file, and host for the cluster's first byte. */
    int (*co_allocate)(struct block_node *node, struct sparse_extent *extent);
    /* Its data are there. */
    int (*co_link)(struct block_node *node, const struct sparse_extent *extent);
    /* A cluster without data becomes one that reads as zeroes. NULL, -ENOTSUP: it can't. */
    int (*co_zero)(struct block_node *node, const struct sparse_extent *extent);
    /* A compressed cluster to data, which has cluster_size bytes. NULL: there are none. */
    int (*co_decompress)(struct block_node *node, const struct sparse_extent *extent,
                         uint8_t *data);
    /* The image is about to be changed, by each writing request; NULL: that is of no interest. */
    int (*co_before_write)(struct block_node *node);
};

struct sparse {
    const struct sparse_ops *ops;
    struct table_cache *tables;
    struct co_mutex lock;
    uint32_t zeroes_align; /* bytes: clusters are multiples of it */
};

void sparse_init(struct sparse *s, const struct sparse_ops *ops);
void sparse_clear(struct sparse *s); /* also of one that was never initialised */

/* For the driver's table. */
int co_sparse_read(struct block_node *node, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags);
int co_sparse_write(struct block_node *node, uint64_t offset, uint64_t bytes,
                    struct block_buffer buffer, unsigned flags);
int co_sparse_write_zeroes(struct block_node *node, uint64_t offset, uint64_t bytes,
                           unsigned flags);
int co_sparse_status(struct block_node *node, uint64_t offset, uint64_t bytes,
                     struct block_status *status);
void sparse_refresh_limits(struct block_node *node);

/* ---- Reading headers, and new images (format.c) ---- */

bool format_read(const struct block_node *node, struct block_edge *file, uint64_t offset,
                 void *data, size_t bytes, const char *what, GError **error);

/* A file that an image is made in. */
struct format_file {
    struct block_node *node;
    struct block_user *user;
};
/* What ref says, made empty. False: *file needs no co_format_close. */
bool co_format_open(struct block_graph *graph, const struct qapi_blockdev_ref *ref,
                    struct format_file *file, GError **error);
bool co_format_write(struct format_file *file, uint64_t offset, const void *data, size_t bytes,
                     GError **error);
/* The file has so many bytes; what is added reads as zeroes. */
bool co_format_resize(struct format_file *file, uint64_t size, enum qapi_prealloc_mode prealloc,
                      GError **error);
/* Writes back; ok: what came before. False: that wasn't so or has failed. */
bool co_format_close(struct format_file *file, bool ok, GError **error);

#endif
