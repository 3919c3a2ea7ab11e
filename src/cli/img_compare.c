/* nandu-img compare: 0 the same, 1 not, 2 and more: it can't be told. */
#include "cli/img.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAME = 0, DIFFERENT = 1, FAILED = 2, NO_STATUS = 3, NO_READ = 4 };
enum { CHUNK = 2 << 20, SECTOR = 512 };

struct side {
    struct block_user *user;
    const char *filename;
    uint64_t size;
    uint8_t *buffer;
    struct block_status status; /* from the place where the comparison is */
};

struct compare {
    struct img *img;
    const struct img_args *args;
    struct side sides[2];
};

static int mismatch(const struct compare *c, uint64_t offset)
{
    if (!c->args->quiet) {
        printf("Content mismatch at offset %" G_GUINT64_FORMAT "!\n", offset);
    }
    return DIFFERENT;
}

static int co_read(struct compare *c, struct side *side, uint64_t offset, uint64_t bytes)
{
    int ret = co_block_read(side->user, offset, bytes, BLOCK_BUFFER(side->buffer, bytes), 0);

    if (ret < 0) {
        img_fail(c->img, "Error while reading offset %" G_GUINT64_FORMAT " of %s: %s", offset,
                 side->filename, g_strerror(-ret));
        return NO_READ;
    }
    return SAME;
}

static int co_status(struct compare *c, struct side *side, uint64_t offset)
{
    int ret = co_block_status(side->user, offset, side->size - offset, &side->status);

    if (ret < 0) {
        img_fail(c->img, "Sector allocation test failed for %s", side->filename);
        return NO_STATUS;
    }
    return SAME;
}

/* bytes (at most CHUNK) of the one, which are zeroes in the other. */
static int co_check_zero(struct compare *c, struct side *side, uint64_t offset, uint64_t bytes)
{
    int status = co_read(c, side, offset, bytes);
    bool zero;
    size_t run;

    if (status == SAME) {
        run = img_run(side->buffer, bytes, SECTOR, &zero);
        status = zero && run == bytes ? SAME : mismatch(c, offset + (zero ? run : 0));
    }
    return status;
}

static int co_check_data(struct compare *c, uint64_t offset, uint64_t bytes)
{
    const uint8_t *a = c->sides[0].buffer, *b = c->sides[1].buffer;
    int status = co_read(c, &c->sides[0], offset, bytes);

    if (status == SAME) {
        status = co_read(c, &c->sides[1], offset, bytes);
    }
    if (status == SAME && memcmp(a, b, bytes)) {
        uint64_t at = 0;

        while (!memcmp(a + at, b + at, MIN(SECTOR, bytes - at))) {
            at += SECTOR;
        }
        status = mismatch(c, offset + at);
    }
    return status;
}

static bool is_zero(const struct side *side)
{
    return side->status.flags & BLOCK_STATUS_ZERO;
}

/* What both have. */
static int co_common(struct compare *c, uint64_t size)
{
    struct side *a = &c->sides[0], *b = &c->sides[1];
    uint64_t offset = 0, bytes;
    int status = SAME;

    while (status == SAME && offset < size) {
        status = co_status(c, a, offset);
        status = status == SAME ? co_status(c, b, offset) : status;
        if (status != SAME) {
            break;
        }
        bytes = MIN(MIN(a->status.bytes, b->status.bytes), size - offset);
        if (c->args->strict && ((a->status.flags ^ b->status.flags) & BLOCK_STATUS_ALLOCATED)) {
            if (!c->args->quiet) {
                printf("Strict mode: Offset %" G_GUINT64_FORMAT " block status mismatch!\n",
                       offset);
            }
            return DIFFERENT;
        }
        if (!is_zero(a) || !is_zero(b)) {
            bytes = MIN(bytes, CHUNK);
            status = is_zero(a)   ? co_check_zero(c, b, offset, bytes)
                     : is_zero(b) ? co_check_zero(c, a, offset, bytes)
                                  : co_check_data(c, offset, bytes);
        }
        offset += bytes;
        img_progress_add(c->img, bytes);
    }
    return status;
}

/* What only the longer one has must be zeroes. */
static int co_rest(struct compare *c, struct side *side, uint64_t offset)
{
    int status = SAME;

    while (status == SAME && offset < side->size) {
        uint64_t bytes;

        status = co_status(c, side, offset);
        if (status != SAME) {
            break;
        }
        bytes = MIN(side->status.bytes, side->size - offset);
        if (side->status.flags & BLOCK_STATUS_ALLOCATED && !is_zero(side)) {
            bytes = MIN(bytes, CHUNK);
            status = co_check_zero(c, side, offset, bytes);
        }
        offset += bytes;
        img_progress_add(c->img, bytes);
    }
    return status;
}

static int co_compare_sides(struct compare *c)
{
    uint64_t a = c->sides[0].size, b = c->sides[1].size;
    int status;

    if (c->args->strict && a != b) {
        if (!c->args->quiet) {
            puts("Strict mode: Image size mismatch!");
        }
        return DIFFERENT;
    }
    img_progress_start(c->img, c->args->progress && !c->args->quiet, MAX(a, b));
    status = co_common(c, MIN(a, b));
    if (status == SAME && a != b) {
        if (!c->args->quiet) {
            puts("Warning: Image size mismatch!");
        }
        status = co_rest(c, &c->sides[a < b], MIN(a, b));
    }
    if (status == SAME && !c->args->quiet) {
        puts("Images are identical.");
    }
    img_progress_end(c->img, false);
    return status;
}

static bool co_open_side(struct compare *c, struct side *side, const char *filename,
                         const char *format)
{
    struct img_image image = {
        .filename = filename,
        .format = format,
        .cache = c->args->cache,
        .image_opts = c->args->image_opts,
        .force_share = c->args->force_share,
        .quiet = c->args->quiet,
    };

    side->filename = filename;
    side->user = co_img_open(c->img, &image);
    if (side->user) {
        side->size = block_user_length(side->user);
        side->buffer = aligned_alloc(4096, CHUNK);
    }
    return side->buffer != NULL;
}

static int co_compare(struct img *img, const struct img_args *args)
{
    struct compare c = {.img = img, .args = args};
    bool direct, no_flush, writethrough;
    int status = FAILED;

    if (args->n_operands != 2) {
        return img_usage_error(img, "Expecting two image file names");
    }
    if (!img_cache_mode(args->cache, &direct, &no_flush, &writethrough)) {
        img_fail(img, "Invalid source cache option: %s", args->cache);
        return FAILED;
    }
    if (co_open_side(&c, &c.sides[0], args->operands[0], args->format) &&
        co_open_side(&c, &c.sides[1], args->operands[1], args->target_format)) {
        status = co_compare_sides(&c);
    }
    for (unsigned i = 0; i < 2; i++) {
        co_img_close(c.sides[i].user);
        free(c.sides[i].buffer);
    }
    return status;
}

static const struct img_option options[] = {
    IMG_ROW_QUIET,
    IMG_ROW_PROGRESS,
    {"a-format", 'f', "FMT", "format of FILENAME1", IMG_STRING, IMG_AT(format)},
    {"b-format", 'F', "FMT", "format of FILENAME2", IMG_STRING, IMG_AT(target_format)},
    {"image-opts", 0, NULL, "both names are lists of options", IMG_FLAG, IMG_AT(image_opts)},
    {"strict", 's', NULL, "sizes and allocation must be the same, too", IMG_FLAG, IMG_AT(strict)},
    IMG_ROW_CACHE('T', "cache", cache, "cache mode of both (default: writeback)"),
    IMG_ROW_SHARE,
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_compare = {
    "compare",
    "say whether two images have the same contents",
    "FILENAME1 FILENAME2",
    options,
    co_compare,
    1,
};
