/* nandu-img resize, snapshot and amend. */
#include <stdio.h>
#include <string.h>

#include "cli/img.h"
#include "qapi/keyval.h"
#include "qapi/qapi_types.h"

/* ---- resize ---- */

/* "+1G", "-1G" or "1G" of what is there: bytes; -1 after a message. */
static int64_t new_size(struct img *img, const char *text, uint64_t now)
{
    uint64_t bytes, size;
    bool fits;

    if (!keyval_parse_size(*text == '+' || *text == '-' ? text + 1 : text, 'B', &bytes, NULL)) {
        img_fail(
            img,
            "Parameter 'size' expects a non-negative number below 2^64\nOptional suffix k, M, G, T, P or E "
            "means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.");
        return -1;
    }
    if (*text == '-') {
        fits = bytes <= now;
        size = now - bytes;
    } else {
        fits = !__builtin_add_overflow(*text == '+' ? now : 0, bytes, &size) && size <= INT64_MAX;
    }
    if (!fits || !size) {
        img_fail(img, "New image size must be positive");
        return -1;
    }
    return (int64_t)size;
}

static bool co_resize_to(struct img *img, const struct img_args *args, struct block_user *user,
                         uint64_t size, enum qapi_prealloc_mode prealloc)
{
    uint64_t now = block_user_length(user);
    g_autoptr(GError) error = NULL;

    if (size <= now && prealloc != QAPI_PREALLOC_MODE_OFF) {
        img_fail(img, "Preallocation can only be used for growing images");
        return false;
    }
    if (size < now && !args->shrink) {
        img_fail(img, "Use the --shrink option to perform a shrink operation.");
        log_warn(
            img->log,
            "Shrinking an image will delete all data beyond the shrunken image's end. Before performing "
            "such an operation, make sure there is no important data there.");
        return false;
    }
    if (co_block_truncate(user, size, false, prealloc, 0, &error) < 0) {
        img_fail_error(img, &error, NULL);
        return false;
    }
    if (!args->quiet) {
        puts("Image resized.");
    }
    return true;
}

static int co_resize(struct img *img, const struct img_args *args)
{
    struct img_image image = {
        .format = args->format,
        .image_opts = args->image_opts,
        .writable = true,
        .resizable = true,
        .discard = true,
        .quiet = args->quiet,
    };
    int prealloc = QAPI_PREALLOC_MODE_OFF;
    struct block_user *user;
    int64_t size;
    bool ok = false;

    if (args->n_operands != 2) {
        return img_usage_error(img, "Expecting image file name and size");
    }
    if (args->preallocation) {
        prealloc = qapi_enum_parse(&qapi_type_prealloc_mode, args->preallocation, NULL);
        if (prealloc < 0) {
            return img_fail(img, "Invalid preallocation mode '%s'", args->preallocation);
        }
    }
    image.filename = args->operands[0];
    user = co_img_open(img, &image);
    if (user) {
        size = new_size(img, args->operands[1], block_user_length(user));
        ok = size >= 0 &&
             co_resize_to(img, args, user, (uint64_t)size, (enum qapi_prealloc_mode)prealloc);
    }
    co_img_close(user);
    return !ok;
}

static const struct img_option resize_options[] = {
    IMG_ROW_QUIET,
    IMG_ROW_FORMAT,
    IMG_ROW_IMAGE_OPTS,
    {"shrink", 0, NULL, "it may become smaller, and what was behind is lost", IMG_FLAG,
     IMG_AT(shrink)},
    {"preallocation", 0, "MODE", "of what is new: off, metadata, falloc, full", IMG_STRING,
     IMG_AT(preallocation)},
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_resize = {
    "resize",
    "give an image another size",
    "FILENAME [+-]SIZE[bkKMGTPE]",
    resize_options,
    co_resize,
    1,
    true,
};

/* ---- snapshot ---- */

static bool co_list(struct block_node *node, GError **error)
{
    struct qapi_snapshot_info_list list = {0};
    bool ok = node->driver->snapshots->co_list(node, &list, error);

    if (ok && list.n) {
        puts("Snapshot list:");
        img_print_snapshots(stdout, &list);
    }
    for (size_t i = 0; i < list.n; i++) {
        qapi_clear(&qapi_type_snapshot_info, &list.v[i]);
    }
    g_free(list.v);
    return ok;
}

static bool co_take(struct block_node *node, const char *name, GError **error)
{
    int64_t now = g_get_real_time();
    struct qapi_snapshot_info info = {
        .id = (char *)"",
        .name = (char *)name,
        .date_sec = now / G_USEC_PER_SEC,
        .date_nsec = now % G_USEC_PER_SEC * 1000,
        .has_icount = true,
    };

    return node->driver->snapshots->co_create(node, &info, error);
}

/* The snapshot of this name; by_id: or of this id, which goes first. *id: the caller's to free;
 * NULL: there is none. */
static bool co_find(struct block_node *node, const char *name, bool by_id, char **id,
                    GError **error)
{
    struct qapi_snapshot_info_list list = {0};
    bool ok = node->driver->snapshots->co_list(node, &list, error);

    *id = NULL;
    for (int pass = !by_id; ok && pass < 2; pass++) {
        for (size_t i = 0; i < list.n && !*id; i++) {
            if (g_str_equal(pass ? list.v[i].name : list.v[i].id, name)) {
                *id = g_strdup(list.v[i].id);
            }
        }
    }
    for (size_t i = 0; i < list.n; i++) {
        qapi_clear(&qapi_type_snapshot_info, &list.v[i]);
    }
    g_free(list.v);
    return ok;
}

static int co_apply_or_delete(struct img *img, struct block_node *node, const char *name,
                              bool apply)
{
    const char *what = apply ? "apply" : "delete";
    const struct block_snapshot_ops *ops = node->driver->snapshots;
    g_autofree char *id = NULL;
    g_autoptr(GError) error = NULL;

    if (!co_find(node, name, apply, &id, &error)) {
        return img_fail_error(img, &error, "Could not %s snapshot '%s'", what, name);
    }
    if (!id) {
        return img_fail(
            img,
            apply
                ? "Could not apply snapshot '%s': Failed to load snapshot: No such file or directory"
                : "Could not delete snapshot '%s': snapshot not found",
            name);
    }
    if (apply ? ops->co_goto(node, id, &error) : ops->co_delete(node, id, NULL, &error)) {
        return 0;
    }
    return img_fail_error(img, &error, "Could not %s snapshot '%s'", what, name);
}

static int co_do_snapshot(struct img *img, const struct img_args *args, struct block_node *node)
{
    g_autoptr(GError) error = NULL;
    int status = 0;

    if (!node->driver->snapshots) {
        return args->create
                   ? img_fail(img, "Could not create snapshot '%s': Operation not supported",
                              args->create)
               : args->apply
                   ? img_fail(
                         img,
                         "Could not apply snapshot '%s': Block driver does not support snapshots",
                         args->apply)
               : args->delete ? img_fail(img, "Could not delete snapshot '%s': snapshot not found",
                                         args->delete)
                              : 0;
    }
    co_block_drain_begin(img->graph, node);
    if (args->create) {
        if (!co_take(node, args->create, &error)) {
            status = img_fail_error(img, &error, "Could not create snapshot '%s'", args->create);
        }
    } else if (args->apply || args->delete) {
        status =
            co_apply_or_delete(img, node, args->apply ? args->apply : args->delete, args->apply);
    } else if (!co_list(node, &error)) {
        status = img_fail_error(img, &error, "Could not list snapshots");
    }
    block_drain_end(img->graph, node);
    return status;
}

static int co_snapshot(struct img *img, const struct img_args *args)
{
    int n = args->list + !!args->create + !!args->apply + !!args->delete;
    struct img_image image = {
        .format = args->format,
        .image_opts = args->image_opts,
        .force_share = args->force_share,
        .writable = args->create || args->apply || args->delete,
        .discard = true,
        .quiet = args->quiet,
    };
    struct block_user *user;
    int status;

    if (n > 1) {
        return img_usage_error(img, "Cannot mix '-l', '-a', '-c', '-d'");
    }
    if (args->n_operands != 1) {
        return img_usage_error(img, "Expecting one image file name");
    }
    image.filename = args->operands[0];
    image.resizable = image.writable;
    user = co_img_open(img, &image);
    if (!user) {
        return 1;
    }
    status = co_do_snapshot(img, args, block_user_node(user));
    co_img_close(user);
    return status;
}

static const struct img_option snapshot_options[] = {
    IMG_ROW_QUIET,
    IMG_ROW_FORMAT,
    IMG_ROW_IMAGE_OPTS,
    IMG_ROW_SHARE,
    {"list", 'l', NULL, "list them (the default)", IMG_FLAG, IMG_AT(list)},
    {"create", 'c', "SNAPSHOT", "make one of this name", IMG_STRING, IMG_AT(create)},
    {"apply", 'a', "SNAPSHOT", "the image becomes what it was then", IMG_STRING, IMG_AT(apply)},
    {"delete", 'd', "SNAPSHOT", "delete it", IMG_STRING, IMG_AT(delete)},
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_snapshot = {
    "snapshot",  "list, make, apply or delete snapshots in an image",
    "FILENAME",  snapshot_options,
    co_snapshot, 1,
};

/* ---- amend ---- */

static bool co_amend_opened(struct img *img, const struct img_args *args, struct block_node *node)
{
    g_autoptr(json_object) given = img_parse_options(img, args->options), members = NULL;
    g_autoptr(GError) error = NULL;

    if (!given) {
        return false;
    }
    if (!node->driver->co_amend) {
        img_fail(img, "Format driver '%s' does not support option amendment", node->driver->name);
        return false;
    }
    members = img_schema_options(node->driver, given, false, &error);
    if (!members) {
        img_fail_error(img, &error, NULL);
        return false;
    }
    if (!node->driver->co_amend(node, members, args->force, &error)) {
        img_fail_error(img, &error, NULL);
        return false;
    }
    return true;
}

static int co_amend(struct img *img, const struct img_args *args)
{
    struct img_image image = {
        .format = args->format,
        .image_opts = args->image_opts,
        .cache = args->cache,
        .writable = true,
        .resizable = true,
        .quiet = args->quiet,
    };
    const struct block_driver *driver = args->format ? block_driver_find(args->format) : NULL;
    struct block_user *user;
    bool ok;

    if (!args->options) {
        return img_usage_error(img, "Must specify options (-o)");
    }
    if (args->format && img_wants_help(args->options)) {
        return img_print_create_help(img, NULL, args->format, true);
    }
    if (args->n_operands != 1) {
        return img_usage_error(img, "Expecting one image file name");
    }
    if (driver && !driver->co_amend) {
        return img_fail(img, "Format driver '%s' does not support option amendment", args->format);
    }
    image.filename = args->operands[0];
    user = co_img_open(img, &image);
    if (!user) {
        return 1;
    }
    if (img_wants_help(args->options)) {
        ok = img_print_create_help(img, NULL, block_user_node(user)->driver->name, true) == 0;
    } else {
        img_progress_start(img, args->progress && !args->quiet, 1);
        ok = co_amend_opened(img, args, block_user_node(user));
        img_progress_end(img, ok);
    }
    co_img_close(user);
    return !ok;
}

static const struct img_option amend_options[] = {
    IMG_ROW_QUIET,
    IMG_ROW_PROGRESS,
    IMG_ROW_FORMAT,
    IMG_ROW_IMAGE_OPTS,
    {"options", 'o', "OPTIONS", "what is to be different (-o help lists it)", IMG_LIST,
     IMG_AT(options)},
    IMG_ROW_CACHE('t', "cache", cache, "cache mode (default: writeback)"),
    {"force", 0, NULL, "also what may lose data", IMG_FLAG, IMG_AT(force)},
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_amend = {
    "amend", "change options of an image's format", "FILENAME", amend_options, co_amend, 1,
};
