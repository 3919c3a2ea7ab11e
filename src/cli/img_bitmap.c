/* nandu-img bitmap: persistent dirty bitmaps in an image. */
#include <stdio.h>
#include <string.h>

#include "cli/img.h"

static const struct block_bitmap_ops *ops_of(struct img *img, struct block_user *user)
{
    struct block_node *node = block_user_node(user);

    if (!node->driver->bitmaps) {
        img_fail(img, "Format driver '%s' does not support bitmaps", node->driver->name);
    }
    return node->driver->bitmaps;
}

bool co_img_copy_bitmaps(struct img *img, struct block_user *from, struct block_user *to, bool skip_broken)
{
    (void)skip_broken;
    return ops_of(img, from) && ops_of(img, to);
}

static int co_bitmap(struct img *img, const struct img_args *args)
{
    struct img_image image = {
        .format = args->format, .image_opts = args->image_opts, .writable = true, .quiet = args->quiet,
    };
    g_autoptr(GError) error = NULL;
    const struct block_bitmap_ops *ops;
    struct block_user *user;
    bool ok;

    if (!args->add && !args->remove && !args->clear && !args->enable && !args->disable && !args->merges) {
        return img_fail(img, "Need at least one of --add, --remove, --clear, --enable, --disable, or --merge");
    }
    if (args->n_operands != 2) {
        return img_usage_error(img, "Expecting filename and bitmap name");
    }
    if (args->granularity && !args->add) {
        return img_fail(img, "granularity only supported with --add");
    }
    image.filename = args->operands[0];
    user = co_img_open(img, &image);
    if (!user) {
        return 1;
    }
    ops = ops_of(img, user);
    ok = ops != NULL;
    if (ok && args->remove) {
        ok = ops->co_remove(block_user_node(user), args->operands[1], &error);
        if (!ok) {
            img_fail_error(img, &error, "Operation remove on bitmap %s failed", args->operands[1]);
        }
    }
    co_img_close(user);
    return !ok;
}

static const struct img_option options[] = {
    IMG_ROW_FORMAT,
    IMG_ROW_IMAGE_OPTS,
    {"add", 0, NULL, "make BITMAP, which records writes from now on", IMG_FLAG, IMG_AT(add)},
    {"granularity", 'g', "SIZE", "what a bit of it stands for; with --add", IMG_STRING, IMG_AT(granularity)},
    {"remove", 0, NULL, "remove it", IMG_FLAG, IMG_AT(remove)},
    {"clear", 0, NULL, "make all of it clean", IMG_FLAG, IMG_AT(clear)},
    {"enable", 0, NULL, "record writes", IMG_FLAG, IMG_AT(enable)},
    {"disable", 0, NULL, "don't", IMG_FLAG, IMG_AT(disable)},
    {"merge", 0, "SOURCE", "add what is dirty in SOURCE", IMG_LIST, IMG_AT(merges)},
    {"source-file", 'b', "FILENAME", "image that SOURCE is in (default: the same)", IMG_STRING, IMG_AT(merge_source)},
    {"source-format", 'F', "FMT", "its format", IMG_STRING, IMG_AT(base_format)},
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_bitmap = {
    "bitmap", "make, remove and change bitmaps in an image", "FILENAME BITMAP", options, co_bitmap, 1,
};
