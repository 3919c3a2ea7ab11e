/*
 * Dirty bitmaps of nodes: which parts were written since. A bit for each `granularity` bytes; bits
 * are set by requests of any loop, after the data are written. The list of a node's bitmaps, and
 * their names and states, belong to the main thread and change in drained sections.
 *
 * A persistent bitmap is kept up in the image by its format (struct block_bitmap_ops), so that
 * whatever happens a part that was written is dirty in the image, too.
 */
#ifndef NANDU_BLOCK_DIRTY_BITMAP_H
#define NANDU_BLOCK_DIRTY_BITMAP_H

#include <stdatomic.h>

#include "block/driver.h"

struct dirty_bitmap {
    char *name;
    struct block_node *node; /* borrowed: it has the bitmap */
    uint64_t granularity;    /* bytes; a power of 2 */
    uint64_t size;           /* of the node, bytes */
    _Atomic uint64_t *words; /* n_words; bit i of word w: granule w * 64 + i */
    uint64_t n_words;
    bool enabled; /* records what is written */
    bool persistent;
    bool inconsistent; /* what the image has of it can't be trusted: it may only be removed */
    unsigned busy;     /* jobs and exports that use it */
};

enum { DIRTY_BITMAP_MAX_NAME = 1023 };
#define DIRTY_BITMAP_MAX_BYTES (256ull << 20) /* of its words */

/* ---- Main thread ---- */

/* What granularity is without another wish: the cluster size in 4 KiB to 64 KiB. */
uint32_t dirty_bitmap_default_granularity(const struct block_node *node);
/* Enabled, clean, in the node's list. NULL and *error: the name is taken, or it would be too large.
 */
struct dirty_bitmap *dirty_bitmap_new(struct block_node *node, const char *name,
                                      uint32_t granularity, GError **error);
/* Out of the node's list. */
void dirty_bitmap_free(struct dirty_bitmap *bitmap);
/* All of a node that is being closed. */
void dirty_bitmaps_free(struct block_node *node);
/* NULL and *error: there is none. Borrowed. */
struct dirty_bitmap *dirty_bitmap_find(const struct block_node *node, const char *name,
                                       GError **error);
/* struct dirty_bitmap, borrowed; NULL: none. */
const GPtrArray *dirty_bitmaps_of(const struct block_node *node);
/* The node got another size: bits of what is new are clean. In a drained section. */
void dirty_bitmap_resize(struct dirty_bitmap *bitmap, uint64_t size);
/* The same for all of a node that was truncated. */
void dirty_bitmaps_resized(struct block_node *node);
/* What query-named-block-nodes and query-block say. */
void dirty_bitmaps_describe(const struct block_node *node, struct qapi_block_dirty_info_list *list);

/* What the commands of these names do, and nandu-img bitmap; in coroutines. granularity 0: the
 * default. */
bool co_dirty_bitmap_add(struct block_node *node, const char *name, uint32_t granularity,
                         bool persistent, bool disabled, GError **error);
bool co_dirty_bitmap_remove(struct block_node *node, const char *name, GError **error);
bool co_dirty_bitmap_clear(struct block_node *node, const char *name, GError **error);
bool co_dirty_bitmap_enable(struct block_node *node, const char *name, bool enable, GError **error);
/* What is dirty in source, which may be another node's of the same size, becomes dirty in target.
 */
bool co_dirty_bitmap_merge(struct dirty_bitmap *target, const struct dirty_bitmap *source,
                           GError **error);

/* ---- Any loop ---- */

/* The core's, after each change of data: in all that are enabled. */
void dirty_bitmaps_record(struct block_node *node, uint64_t offset, uint64_t bytes);
void dirty_bitmap_set(struct dirty_bitmap *bitmap, uint64_t offset, uint64_t bytes);
/* All granules that the range touches. */
void dirty_bitmap_clear(struct dirty_bitmap *bitmap, uint64_t offset, uint64_t bytes);
bool dirty_bitmap_get(const struct dirty_bitmap *bitmap, uint64_t offset);
/* The next dirty range from *offset on, at most *bytes (0: to the end); false: none. */
bool dirty_bitmap_next(const struct dirty_bitmap *bitmap, uint64_t *offset, uint64_t *bytes);
/* Dirty bytes. */
uint64_t dirty_bitmap_count(const struct dirty_bitmap *bitmap);

#endif
