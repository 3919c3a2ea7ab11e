/*
 * Copying images, for convert and dd: several coroutines each take the next piece, read it, and
 * write it.
 *
 * Writes of one after another begin in the order of the image, so that a format that allocates as
 * it is written to lays data out in a row; they run side by side all the same. Nothing of it is
 * needed for what is on the disk to be right, and -W does without.
 */
#ifndef NANDU_CLI_IMG_CONVERT_H
#define NANDU_CLI_IMG_CONVERT_H

#include "cli/img.h"

struct img_source {
    struct block_user *user;
    uint64_t start, length; /* bytes, in the target */
};

struct img_copy {
    struct img *img;
    struct img_source *sources; /* one behind the other */
    unsigned n_sources;
    struct block_user *target;
    uint64_t total;       /* bytes to be copied */
    uint64_t target_base; /* where the target's backing image ends; 0: it has none */
    uint64_t cluster;     /* the target's, 0: none */
    uint64_t sparse;      /* what is zeroes for so long isn't written; 0: write everything */
    uint64_t rate;        /* bytes a second; 0: as fast as it goes */
    unsigned n_workers;
    /* zero: the target reads as zeroes; direct: it is written to past the host's cache. */
    bool has_base, zero, compress, salvage, copy_range, in_order, direct, quiet;
};

/* False after a message. */
bool co_img_copy(const struct img_copy *copy);

#endif
