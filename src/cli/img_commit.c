/*
 * nandu-img commit: what the layers from the image down to its base have goes into the base.
 *
 * The layers are opened each by itself, without those below: what a layer has is what its own
 * tables say, and so the base can be written to while the others are read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/img.h"
#include "util/clock.h"

enum { CHUNK = 2 << 20, ALIGN = 4096 };

struct layer {
    char *filename, *format;
    struct block_user *user;
};

struct commit {
    struct img *img;
    const struct img_args *args;
    GArray *layers; /* struct layer, the image first, its base last */
    uint8_t *buffer;
    uint64_t rate; /* bytes a second; 0: any */
};

static struct block_node *node_of(const struct commit *c, guint i)
{
    return block_user_node(g_array_index(c->layers, struct layer, i).user);
}

/* ---- Layers ---- */

static bool co_add(struct commit *c, const char *filename, const char *format, bool image_opts,
                   bool writable)
{
    struct img_image image = {
        .filename = filename,
        .format = format,
        .image_opts = image_opts,
        .cache = c->args->cache,
        .writable = writable,
        .resizable = writable,
        .no_backing = true,
        .discard = true,
        .quiet = c->args->quiet,
    };
    struct layer layer = {.user = co_img_open(c->img, &image)};

    if (!layer.user) {
        return false;
    }
    layer.filename = g_strdup(filename);
    layer.format = g_strdup(block_user_node(layer.user)->driver->name);
    g_array_append_val(c->layers, layer);
    return true;
}

static bool same_file(const char *a, const char *b)
{
    g_autofree char *x = realpath(a, NULL), *y = realpath(b, NULL);

    return g_str_equal(a, b) || (x && y && g_str_equal(x, y));
}

/* The image below the last layer; NULL: there is none. Caller frees. */
static char *below(const struct commit *c, char **format)
{
    const struct block_node *node = node_of(c, c->layers->len - 1);
    const char *base = node->file ? node->file->node->filename : node->filename;

    *format = g_strdup(node->backing_format);
    return node->backing_name && *node->backing_name ? block_combine_names(base, node->backing_name)
                                                     : NULL;
}

/* -b names a layer as the one above it does, or by the path that this gives. */
static bool is_base(const struct commit *c, const char *path)
{
    const struct block_node *above = node_of(c, c->layers->len - 1);

    return !c->args->base || g_str_equal(c->args->base, above->backing_name) ||
           same_file(c->args->base, path);
}

static bool co_open_layers(struct commit *c)
{
    bool found = false;

    if (!co_add(c, c->args->operands[0], c->args->format, c->args->image_opts, true)) {
        return false;
    }
    while (!found) {
        g_autofree char *format = NULL, *path = below(c, &format);

        if (!path) {
            if (c->args->base) {
                img_fail(c->img, "Did not find '%s' in the backing chain of '%s'", c->args->base,
                         c->args->operands[0]);
            } else {
                img_fail(c->img, "Image does not have a backing file");
            }
            return false;
        }
        if (c->layers->len > BLOCK_OPEN_MAX_LEVEL) {
            img_fail(
                c->img,
                "More than %d images on top of each other: one seems to be its own backing image",
                BLOCK_OPEN_MAX_LEVEL);
            return false;
        }
        found = is_base(c, path);
        if (!co_add(c, path, format, false, found)) {
            return false;
        }
    }
    return true;
}

/* ---- Data ---- */

static bool check(struct commit *c, const char *what, uint64_t offset, int ret)
{
    if (ret < 0) {
        img_fail(c->img, "error while %s at byte %" G_GUINT64_FORMAT ": %s", what, offset,
                 g_strerror(-ret));
    }
    return ret >= 0;
}

/* The layer that has what is at offset, and for how many bytes; the base: none of those above it.
 */
static bool co_find_layer(struct commit *c, uint64_t offset, uint64_t *bytes, guint *layer,
                          bool *zero)
{
    for (*layer = 0; *layer + 1 < c->layers->len; (*layer)++) {
        struct block_status status;
        int ret = co_node_status(node_of(c, *layer), offset, *bytes, &status);

        if (!check(c, "reading block status", offset, ret)) {
            return false;
        }
        if (!status.bytes) { /* the layer is shorter: what is below isn't seen through it */
            *zero = true;
            return true;
        }
        *bytes = MIN(*bytes, status.bytes);
        if (status.flags & BLOCK_STATUS_ALLOCATED) {
            *zero = status.flags & BLOCK_STATUS_ZERO;
            return true;
        }
    }
    return true;
}

static bool co_copy(struct commit *c, struct block_user *from, struct block_user *to,
                    uint64_t offset, uint64_t bytes)
{
    struct block_buffer buffer = BLOCK_BUFFER(c->buffer, bytes);

    return check(c, "reading", offset, co_block_read(from, offset, bytes, buffer, 0)) &&
           check(c, "writing", offset, co_block_write(to, offset, bytes, buffer, 0));
}

static bool co_commit_data(struct commit *c)
{
    struct block_user *base = g_array_index(c->layers, struct layer, c->layers->len - 1).user;
    uint64_t size = node_of(c, 0)->length, offset = 0, written = 0;
    int64_t start = clocks_now(NULL, CLOCK_REAL);

    while (offset < size) {
        uint64_t bytes = size - offset;
        bool zero = false;
        guint layer;

        if (!co_find_layer(c, offset, &bytes, &layer, &zero)) {
            return false;
        }
        if (zero) {
            int ret = co_block_write_zeroes(base, offset, bytes, BLOCK_MAY_UNMAP);

            if (!check(c, "writing", offset, ret)) {
                return false;
            }
        } else if (layer + 1 < c->layers->len) {
            bytes = MIN(bytes, CHUNK);
            if (!co_copy(c, g_array_index(c->layers, struct layer, layer).user, base, offset,
                         bytes)) {
                return false;
            }
            written += bytes;
            if (c->rate) {
                int64_t due = start + (int64_t)((double)written / (double)c->rate * 1e9);

                co_sleep(MAX(due - clocks_now(NULL, CLOCK_REAL), 0));
            }
        }
        offset += bytes;
        img_progress_add(c->img, bytes);
    }
    return true;
}

/* ---- All together ---- */

static bool co_grow_base(struct commit *c)
{
    struct block_user *base = g_array_index(c->layers, struct layer, c->layers->len - 1).user;
    uint64_t size = node_of(c, 0)->length;
    g_autoptr(GError) error = NULL;

    if (block_user_length(base) >= size ||
        co_block_truncate(base, size, false, QAPI_PREALLOC_MODE_OFF, 0, &error) >= 0) {
        return true;
    }
    img_fail_error(c->img, &error, "Could not resize the base image");
    return false;
}

static bool co_commit_layers(struct commit *c)
{
    struct block_user *base = g_array_index(c->layers, struct layer, c->layers->len - 1).user;
    struct block_node *top = node_of(c, 0);
    g_autoptr(GError) error = NULL;
    bool ok;

    img_progress_start(c->img, c->args->progress && !c->args->quiet, top->length);
    ok = co_grow_base(c) && co_commit_data(c) && check(c, "flushing", 0, co_block_flush(base));
    img_progress_end(c->img, ok);
    if (!ok) {
        return false;
    }
    /* Only what the base has on stable storage is given up here. */
    if (!c->args->drop && !c->args->base) {
        if (!top->driver->co_make_empty) {
            img_fail(c->img, "Could not empty %s: the format '%s' can't", c->args->operands[0],
                     top->driver->name);
            return false;
        }
        if (!top->driver->co_make_empty(top, &error)) {
            img_fail_error(c->img, &error, "Could not empty %s", c->args->operands[0]);
            return false;
        }
    }
    if (!c->args->quiet) {
        puts("Image committed.");
    }
    return true;
}

static int co_commit(struct img *img, const struct img_args *args)
{
    struct commit c = {.img = img, .args = args};
    int64_t rate;
    bool ok;

    if (args->n_operands != 1) {
        return img_usage_error(img, "Expecting one image file name");
    }
    if (args->rate) {
        rate = img_size(args->rate, INT64_MAX);
        if (rate < 0) {
            return img_fail(img, "Invalid rate limit specified: '%s'.", args->rate);
        }
        c.rate = (uint64_t)rate;
    }
    c.buffer = aligned_alloc(ALIGN, CHUNK);
    c.layers = g_array_new(false, true, sizeof(struct layer));
    ok = c.buffer && co_open_layers(&c) && co_commit_layers(&c);
    for (guint i = 0; i < c.layers->len; i++) {
        struct layer *layer = &g_array_index(c.layers, struct layer, i);

        co_img_close(layer->user);
        g_free(layer->filename);
        g_free(layer->format);
    }
    g_array_unref(c.layers);
    free(c.buffer);
    return !ok;
}

static const struct img_option options[] = {
    IMG_ROW_QUIET,
    IMG_ROW_PROGRESS,
    IMG_ROW_FORMAT,
    IMG_ROW_IMAGE_OPTS,
    IMG_ROW_CACHE('t', "cache", cache, "cache mode of all of them (default: writeback)"),
    {"drop", 'd', NULL, "don't empty FILENAME afterwards", IMG_FLAG, IMG_AT(drop)},
    {"base", 'b', "BASE", "an image further down, to which all goes (implies -d)", IMG_STRING,
     IMG_AT(base)},
    {"rate", 'r', "RATE", "bytes a second at most", IMG_STRING, IMG_AT(rate)},
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_commit = {
    "commit", "write what an image has into its backing image", "FILENAME", options, co_commit, 1,
};
