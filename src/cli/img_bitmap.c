/* nandu-img bitmap: persistent dirty bitmaps in an image. */
#include <stdio.h>
#include <string.h>

#include "block/dirty_bitmap.h"
#include "cli/img.h"

/* ---- Copying, for convert ---- */

static bool co_copy_one(struct img *img, const struct dirty_bitmap *from, struct block_node *to)
{
    g_autoptr(GError) error = NULL;
    struct dirty_bitmap *target;

    if (!co_dirty_bitmap_add(to, from->name, (uint32_t)from->granularity, true, !from->enabled,
                             &error)) {
        img_fail_error(img, &error, "Failed to create bitmap %s", from->name);
        return false;
    }
    target = dirty_bitmap_find(to, from->name, &error);
    if (!target || !co_dirty_bitmap_merge(target, from, &error)) {
        img_fail_error(img, &error, "Failed to populate bitmap %s", from->name);
        co_dirty_bitmap_remove(to, from->name, NULL);
        return false;
    }
    return true;
}

bool co_img_copy_bitmaps(struct img *img, struct block_user *from, struct block_user *to,
                         bool skip_broken)
{
    struct block_node *node = block_user_node(to);
    const GPtrArray *bitmaps = dirty_bitmaps_of(block_user_node(from));

    if (!node->driver->bitmaps) {
        img_fail(img, "Format driver '%s' does not support bitmaps", node->driver->name);
        return false;
    }
    for (guint i = 0; bitmaps && i < bitmaps->len; i++) {
        const struct dirty_bitmap *bitmap = bitmaps->pdata[i];

        if (!bitmap->persistent) {
            continue;
        }
        if (bitmap->inconsistent && skip_broken) {
            log_warn(img->log, "Skipping inconsistent bitmap '%s'", bitmap->name);
            continue;
        }
        if (bitmap->inconsistent) {
            img_fail(
                img,
                "Cannot copy inconsistent bitmap '%s'\nTry --skip-broken-bitmaps, or remove it with "
                "'%s bitmap --remove'",
                bitmap->name, img->program);
            return false;
        }
        if (!co_copy_one(img, bitmap, node)) {
            return false;
        }
    }
    return true;
}

/* ---- The subcommand ---- */

struct change {
    struct img *img;
    const struct img_args *args;
    struct block_node *node, *source; /* source: of --merge */
    const char *name;
    uint32_t granularity; /* bytes; 0: the default */
};

static bool co_merge(const struct change *c, const char *name, GError **error)
{
    struct dirty_bitmap *target = dirty_bitmap_find(c->node, c->name, error);
    const struct dirty_bitmap *source = target ? dirty_bitmap_find(c->source, name, error) : NULL;

    return source && co_dirty_bitmap_merge(target, source, error);
}

static bool co_act(const struct change *c, const char *action, const char *argument)
{
    g_autoptr(GError) error = NULL;
    bool ok;

    if (g_str_equal(action, "add")) {
        ok = co_dirty_bitmap_add(c->node, c->name, c->granularity, true, false, &error);
    } else if (g_str_equal(action, "remove")) {
        ok = co_dirty_bitmap_remove(c->node, c->name, &error);
    } else if (g_str_equal(action, "clear")) {
        ok = co_dirty_bitmap_clear(c->node, c->name, &error);
    } else if (g_str_equal(action, "merge")) {
        ok = co_merge(c, argument, &error);
    } else {
        ok = co_dirty_bitmap_enable(c->node, c->name, g_str_equal(action, "enable"), &error);
    }
    if (!ok) {
        img_fail_error(c->img, &error, "Operation %s on bitmap %s failed", action, c->name);
    }
    return ok;
}

static bool has_action(const struct img_args *args, const char *name)
{
    for (guint i = 0; args->actions && i < args->actions->len; i += 2) {
        if (g_str_equal(args->actions->pdata[i], name)) {
            return true;
        }
    }
    return false;
}

/* What is wrong with the options, or NULL. */
static const char *mistake(const struct img_args *args)
{
    if (!args->actions) {
        return "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge";
    }
    if (args->granularity && !has_action(args, "add")) {
        return "granularity only supported with --add";
    }
    if (args->base_format && !args->merge_source) {
        return "-F only supported with -b";
    }
    if (args->merge_source && !has_action(args, "merge")) {
        return "Merge bitmap source file only supported with --merge";
    }
    return NULL;
}

static bool co_change(struct change *c, struct block_user *source)
{
    const GPtrArray *actions = c->args->actions;

    c->source = source ? block_user_node(source) : c->node;
    if (!c->node->driver->bitmaps) {
        img_fail(c->img,
                 "Operation %s on bitmap %s failed: Format driver '%s' does not support bitmaps",
                 (const char *)actions->pdata[0], c->name, c->node->driver->name);
        return false;
    }
    for (guint i = 0; i < actions->len; i += 2) {
        if (!co_act(c, actions->pdata[i], actions->pdata[i + 1])) {
            return false;
        }
    }
    return true;
}

static int co_bitmap(struct img *img, const struct img_args *args)
{
    struct img_image image = {
        .format = args->format, .image_opts = args->image_opts, .writable = true};
    struct img_image other = {.filename = args->merge_source, .format = args->base_format};
    struct change c = {.img = img, .args = args};
    struct block_user *user, *source = NULL;
    const char *wrong = mistake(args);
    int64_t granularity = args->granularity ? img_size(args->granularity, G_MAXINT32) : 0;
    bool ok;

    if (granularity < 0) {
        return img_fail(img, "Invalid granularity specified: '%s'.", args->granularity);
    }
    if (args->actions && args->n_operands != 2) {
        return img_fail(img, "Expecting filename and bitmap name");
    }
    if (wrong) {
        return img_fail(img, "%s", wrong);
    }
    c.granularity = (uint32_t)granularity;
    c.name = args->operands[1];
    image.filename = args->operands[0];
    user = co_img_open(img, &image);
    ok = user != NULL;
    if (ok && args->merge_source) {
        source = co_img_open(img, &other);
        ok = source != NULL;
    }
    if (ok) {
        c.node = block_user_node(user);
        ok = co_change(&c, source);
    }
    co_img_close(source);
    co_img_close(user);
    return !ok;
}

static const struct img_option options[] = {
    IMG_ROW_FORMAT,
    IMG_ROW_IMAGE_OPTS,
    {"add", 0, NULL, "make BITMAP, which records writes from now on", IMG_ACTION, IMG_AT(actions)},
    {"granularity", 'g', "SIZE", "what a bit of it stands for; with --add", IMG_STRING,
     IMG_AT(granularity)},
    {"remove", 0, NULL, "remove it", IMG_ACTION, IMG_AT(actions)},
    {"clear", 0, NULL, "make all of it clean", IMG_ACTION, IMG_AT(actions)},
    {"enable", 0, NULL, "record writes", IMG_ACTION, IMG_AT(actions)},
    {"disable", 0, NULL, "don't", IMG_ACTION, IMG_AT(actions)},
    {"merge", 0, "SOURCE", "add what is dirty in SOURCE", IMG_ACTION, IMG_AT(actions)},
    {"source-file", 'b', "FILENAME", "image that SOURCE is in (default: the same)", IMG_STRING,
     IMG_AT(merge_source)},
    {"source-format", 'F', "FMT", "its format", IMG_STRING, IMG_AT(base_format)},
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_bitmap = {
    "bitmap",          "make, remove and change bitmaps in an image; in the order of the options",
    "FILENAME BITMAP", options,
    co_bitmap,         1,
};
