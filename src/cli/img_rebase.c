/* nandu-img rebase: an image gets another backing image, or none, and reads as it did. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/img.h"
#include "qapi/qapi_types.h"

enum { CHUNK = 2 << 20, ALIGN = 4096 };

struct rebase {
    struct img *img;
    const struct img_args *args;
    struct block_user *user, *old, *new; /* old, new: NULL: no backing image, which is zeroes */
    uint8_t *old_data, *new_data;
    uint64_t unit; /* bytes that are compared and written at once */
};

/* What a backing image shows at offset; zeroes behind its end. */
static bool co_read(struct rebase *r, struct block_user *user, uint64_t offset, uint64_t bytes,
                    uint8_t *data)
{
    uint64_t length = user ? block_user_length(user) : 0;
    uint64_t there = offset < length ? MIN(bytes, length - offset) : 0;
    int ret = there ? co_block_read(user, offset, there, BLOCK_BUFFER(data, there), 0) : 0;

    memset(data + there, 0, bytes - there);
    if (ret < 0) {
        img_fail(r->img, "error while reading from %s backing file: %s",
                 user == r->old ? "old" : "new", g_strerror(-ret));
    }
    return ret >= 0;
}

static bool co_write(struct rebase *r, uint64_t offset, uint64_t bytes, const uint8_t *data)
{
    uint64_t cut = r->args->compress ? r->unit : bytes;

    for (uint64_t done = 0; done < bytes; done += cut) {
        uint64_t n = MIN(cut, bytes - done);
        int ret = co_block_write(r->user, offset + done, n, BLOCK_BUFFER(data + done, n),
                                 r->args->compress ? BLOCK_COMPRESSED : 0);

        if (ret < 0) {
            img_fail(r->img, "Error while writing to COW image: %s", g_strerror(-ret));
            return false;
        }
    }
    return true;
}

/* Where both differ the image gets what the old one shows. */
static bool co_keep(struct rebase *r, uint64_t offset, uint64_t bytes)
{
    uint64_t done = 0, n;

    if (!co_read(r, r->old, offset, bytes, r->old_data) ||
        !co_read(r, r->new, offset, bytes, r->new_data)) {
        return false;
    }
    for (; done < bytes; done += n) {
        bool differ, first = false;

        /* A run of units that are the same, or that differ. */
        for (n = 0; done + n < bytes;) {
            uint64_t next = MIN(r->unit - (offset + done + n) % r->unit, bytes - done - n);

            differ = memcmp(r->old_data + done + n, r->new_data + done + n, next) != 0;
            if (n && differ != first) {
                break;
            }
            first = differ;
            n += next;
        }
        if (first && !co_write(r, offset + done, n, r->old_data + done)) {
            return false;
        }
    }
    return true;
}

static bool co_keep_all(struct rebase *r)
{
    struct block_node *node = block_user_node(r->user);
    uint64_t size = node->length, offset = 0;

    while (offset < size) {
        uint64_t bytes = MIN(size - offset, CHUNK - offset % CHUNK);
        struct block_status status;
        int ret = co_node_status(node, offset, bytes, &status);

        if (ret < 0) {
            img_fail(r->img, "error while reading image metadata: %s", g_strerror(-ret));
            return false;
        }
        bytes = MIN(bytes, status.bytes);
        if (!(status.flags & BLOCK_STATUS_ALLOCATED) && !co_keep(r, offset, bytes)) {
            return false;
        }
        offset += bytes;
        img_progress_add(r->img, bytes);
    }
    return true;
}

/* ---- Opening ---- */

static uint64_t unit_of(struct block_node *node)
{
    struct qapi_image_info info = {0};
    uint64_t unit = 4096;

    if (node->driver->co_describe) {
        node->driver->co_describe(node, &info);
        unit = info.has_cluster_size && info.cluster_size ? (uint64_t)info.cluster_size : unit;
        qapi_clear(&qapi_type_image_info, &info);
    }
    return MIN(unit, CHUNK);
}

static bool co_open_bases(struct rebase *r)
{
    struct block_node *node = block_user_node(r->user);
    const struct img_args *args = r->args;
    g_autoptr(GError) error = NULL;
    const char *above = node->file ? node->file->node->filename : node->filename;

    if (node->backing) {
        r->old = block_user_new(r->img->graph, "old", NULL, NULL);
        if (!block_user_attach(r->old, node->backing->node, BLOCK_PERM_CONSISTENT_READ,
                               BLOCK_PERM_ALL, &error)) {
            img_fail_error(r->img, &error, "Could not open old backing file");
            return false;
        }
    }
    if (args->base && *args->base) {
        g_autofree char *path = block_combine_names(above, args->base);
        g_autoptr(json_object) options = json_object_new_object();
        struct block_node *base;
        bool direct, no_flush, writethrough;

        if (!img_cache_mode(args->target_cache, &direct, &no_flush, &writethrough)) {
            img_fail(r->img, "Invalid source cache option: %s", args->target_cache);
            return false;
        }
        if (args->base_format) {
            json_object_object_add(options, "driver", json_object_new_string(args->base_format));
        }
        json_object_object_add(options, "read-only", json_object_new_string("on"));
        json_object_object_add(options, "cache.direct",
                               json_object_new_string(direct ? "on" : "off"));
        json_object_object_add(options, "force-share",
                               json_object_new_string(args->force_share ? "on" : "off"));
        base = co_block_open_loose(r->img->graph, path, options, BLOCK_OPEN_PROBE, &error);
        r->new = block_user_new(r->img->graph, "new", NULL, NULL);
        if (!base ||
            !block_user_attach(r->new, base, BLOCK_PERM_CONSISTENT_READ, BLOCK_PERM_ALL, &error)) {
            co_block_node_unref(base);
            img_fail_error(r->img, &error, "Could not open new backing file '%s'", args->base);
            return false;
        }
    }
    return true;
}

static bool co_change(struct rebase *r)
{
    struct block_node *node = block_user_node(r->user);
    const struct img_args *args = r->args;
    const char *base = args->base && *args->base ? args->base : NULL;
    const char *format = base ? args->base_format : NULL;
    g_autoptr(GError) error = NULL;

    if (!node->driver->co_change_backing) {
        img_fail(r->img, "Could not change the backing file to '%s': Operation not supported",
                 base ? base : "");
        return false;
    }
    if (base && !format) {
        img_fail(r->img,
                 "Could not change the backing file to '%s': backing format must be specified",
                 base);
        return false;
    }
    if (!node->driver->co_change_backing(node, base, format, &error)) {
        img_fail_error(r->img, &error, "Could not change the backing file to '%s'",
                       base ? base : "");
        return false;
    }
    return true;
}

static bool co_rebase_opened(struct rebase *r)
{
    const struct img_args *args = r->args;
    bool ok = true;

    if (args->base_format && !img_driver(r->img, args->base_format)) {
        return false;
    }
    if (args->compress && !(block_user_node(r->user)->supported_write_flags & BLOCK_COMPRESSED)) {
        img_fail(r->img, "Compression not supported for this file format");
        return false;
    }
    if (!args->unsafe) {
        r->unit = unit_of(block_user_node(r->user));
        r->old_data = aligned_alloc(ALIGN, CHUNK);
        r->new_data = aligned_alloc(ALIGN, CHUNK);
        img_progress_start(r->img, args->progress && !args->quiet, block_user_length(r->user));
        ok = r->old_data && r->new_data && co_open_bases(r) && co_keep_all(r);
        /* What it must have by itself is on stable storage before it loses what showed through. */
        if (ok && co_block_flush(r->user) < 0) {
            ok = img_fail(r->img, "Could not flush '%s'", args->operands[0]) == 0;
        }
        img_progress_end(r->img, ok);
    }
    return ok && co_change(r);
}

static int co_rebase(struct img *img, const struct img_args *args)
{
    struct rebase r = {.img = img, .args = args};
    struct img_image image = {
        .format = args->format,
        .image_opts = args->image_opts,
        .cache = args->cache,
        .writable = true,
        .resizable = true,
        .no_backing = args->unsafe,
        .quiet = args->quiet,
        .force_share = false,
    };
    struct block_node *base;
    bool ok;

    if (args->n_operands != 1) {
        return img_usage_error(img, "Expecting one image file name");
    }
    if (!args->unsafe && !args->base) {
        return img_usage_error(img, "Must specify backing file (-b) or use unsafe mode (-u)");
    }
    image.filename = args->operands[0];
    r.user = co_img_open(img, &image);
    ok = r.user && co_rebase_opened(&r);
    block_user_free(r.old);
    base = r.new ? block_user_node(r.new) : NULL;
    block_user_free(r.new);
    co_block_node_unref(base);
    co_img_close(r.user);
    free(r.old_data);
    free(r.new_data);
    return !ok;
}

static const struct img_option options[] = {
    IMG_ROW_QUIET,
    IMG_ROW_PROGRESS,
    IMG_ROW_FORMAT,
    IMG_ROW_IMAGE_OPTS,
    IMG_ROW_CACHE('t', "cache", cache, "cache mode of FILENAME (default: writeback)"),
    {"backing", 'b', "BACKING", "the new backing image; \"\": none", IMG_STRING, IMG_AT(base)},
    {"backing-format", 'F', "FMT", "its format", IMG_STRING, IMG_AT(base_format)},
    IMG_ROW_CACHE('T', "backing-cache", target_cache, "its cache mode (default: writeback)"),
    {"backing-unsafe", 'u', NULL, "change the name only: contents may change", IMG_FLAG,
     IMG_AT(unsafe)},
    {"compress", 'c', NULL, "compress what is written", IMG_FLAG, IMG_AT(compress)},
    IMG_ROW_SHARE,
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_rebase = {
    "rebase", "change the backing image of an image", "FILENAME", options, co_rebase, 1,
};
