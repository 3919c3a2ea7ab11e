/* What is where in an image: for nandu-img map and its picture. */
#ifndef NANDU_CLI_IMG_MAP_H
#define NANDU_CLI_IMG_MAP_H

#include "cli/img.h"

/* A stretch of the image that is the same all over. Bytes. */
struct img_extent {
    uint64_t start, length, offset; /* offset: in file, if has_offset */
    unsigned depth;                 /* layers below the image */
    const struct block_node *layer; /* that has it */
    const struct block_node *file;
    bool present, zero, data, compressed, has_offset;
};

/* last: no other comes. False ends it. */
typedef bool img_extent_fn(struct img *img, const struct img_extent *extent, bool last,
                           void *opaque);
/* Calls fn for all stretches of start..end, as long as they can be. False: fn's, or after a
 * message. */
bool co_img_map(struct img *img, struct block_user *user, uint64_t start, uint64_t end,
                img_extent_fn *fn, void *opaque);
/* Draws start..end into a file. False after a message. */
bool co_img_map_picture(struct img *img, struct block_user *user, uint64_t start, uint64_t end,
                        const char *path);

#endif
