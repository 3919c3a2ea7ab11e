/* nandu-img dd: a part of an image into a new one. */
#include <stdio.h>
#include <string.h>

#include "cli/img_convert.h"

struct dd {
    const char *in, *out;
    int64_t block, count, skip; /* bytes; blocks, -1: all; blocks */
};

static bool parse_operand(struct img *img, const char *text, struct dd *dd)
{
    static const char *const names[] = {"bs", "count", "if", "of", "skip"};
    const char *equals = strchr(text, '=');
    g_autofree char *name = equals ? g_strndup(text, (gsize)(equals - text)) : NULL;
    int64_t *number;
    bool known = false;

    for (size_t i = 0; name && i < G_N_ELEMENTS(names); i++) {
        known |= g_str_equal(name, names[i]);
    }
    if (!known) {
        img_fail(img, "unrecognized operand %s", name ? name : text);
        return false;
    }
    if (g_str_equal(name, "if") || g_str_equal(name, "of")) {
        *(name[0] == 'i' ? &dd->in : &dd->out) = equals + 1;
        return true;
    }
    number = name[0] == 'b' ? &dd->block : name[0] == 'c' ? &dd->count : &dd->skip;
    *number = img_size(equals + 1, number == &dd->block ? G_MAXINT32 : INT64_MAX);
    if (*number < 0 || (number == &dd->block && !*number)) {
        if (equals[1] == '-') {
            img_fail(img, "Invalid %s specified. Must be between 0 and %" G_GINT64_FORMAT ".", name,
                     INT64_MAX);
        } else {
            img_fail(img, "Invalid %s specified: '%s'.", name, equals + 1);
        }
        return false;
    }
    return true;
}

/* What of the source is copied: bytes. */
static void range_of(const struct dd *dd, uint64_t length, uint64_t *start, uint64_t *end)
{
    uint64_t skip, count;

    *end = length;
    /* Counted from the beginning, what is skipped with it. */
    if (dd->count >= 0 &&
        !__builtin_mul_overflow((uint64_t)dd->count, (uint64_t)dd->block, &count)) {
        *end = MIN(*end, count);
    }
    *start = __builtin_mul_overflow((uint64_t)dd->skip, (uint64_t)dd->block, &skip)
                 ? *end
                 : MIN(skip, *end);
}

/* A part of a node as a node of its own: all that copies sees only that. */
static struct block_user *co_open_part(struct img *img, struct block_user *whole, uint64_t start,
                                       uint64_t size)
{
    g_autoptr(json_object) options = json_object_new_object();
    struct img_image image = {
        .filename = block_user_node(whole)->filename, .format = "raw", .options = options};
    g_autofree char *from = g_strdup_printf("%" G_GUINT64_FORMAT, start);
    g_autofree char *bytes = g_strdup_printf("%" G_GUINT64_FORMAT, size);
    g_autofree char *text = NULL;

    text = g_strdup_printf("file=%s,offset=%s,size=%s", block_user_node(whole)->name, from, bytes);
    image.filename = text;
    image.image_opts = true;
    return co_img_open(img, &image);
}

static bool co_copy(struct img *img, const struct img_args *args, const struct dd *dd,
                    struct block_user *whole, const char *format)
{
    struct img_image target = {.filename = dd->out, .format = format, .writable = true};
    struct img_new image = {
        .filename = dd->out, .format = format, .doing = "error while creating output image"};
    struct img_source source;
    struct img_copy copy = {
        .img = img,
        .sources = &source,
        .n_sources = 1,
        .n_workers = 8,
        .sparse = 4096,
        .zero = true,
    };
    struct qapi_image_info info = {0};
    uint64_t start, end;
    bool ok = false;

    range_of(dd, block_user_length(whole), &start, &end);
    if (dd->skip && start == end) {
        img_fail(img, "%s: cannot skip to specified offset", dd->in);
    }
    image.size = end - start;
    if (!co_img_create(img, &image)) {
        return false;
    }
    copy.target = co_img_open(img, &target);
    source = (struct img_source){NULL, 0, end - start};
    if (copy.target && end > start) {
        source.user = co_open_part(img, whole, start, end - start);
        copy.total = end - start;
        ok = source.user != NULL;
        if (ok && block_user_node(copy.target)->driver->co_describe) {
            block_user_node(copy.target)->driver->co_describe(block_user_node(copy.target), &info);
            copy.cluster = (uint64_t)info.cluster_size;
            copy.in_order = true;
            qapi_clear(&qapi_type_image_info, &info);
        }
        img_progress_start(img, false, copy.total);
        ok = ok && co_img_copy(&copy);
        img_progress_end(img, ok);
    } else {
        ok = copy.target != NULL;
    }
    co_img_close(source.user);
    co_img_close(copy.target);
    return ok;
}

static int co_dd(struct img *img, const struct img_args *args)
{
    struct dd dd = {.block = 512, .count = -1};
    const char *format = args->target_format ? args->target_format : "raw";
    struct img_image image = {
        .format = args->format, .image_opts = args->image_opts, .force_share = args->force_share};
    struct block_user *whole;
    bool ok;

    for (int i = 0; i < args->n_operands; i++) {
        if (!parse_operand(img, args->operands[i], &dd)) {
            return 1;
        }
    }
    if (!dd.in || !dd.out) {
        return img_fail(img, "Must specify both input and output files");
    }
    if (args->image_opts && args->format) {
        return img_fail(img, "--image-opts and --format are mutually exclusive");
    }
    if (!block_driver_find(format)) {
        return img_fail(img, "Unknown file format");
    }
    image.filename = dd.in;
    whole = co_img_open(img, &image);
    ok = whole && co_copy(img, args, &dd, whole, format);
    co_img_close(whole);
    return !ok;
}

static const struct img_option options[] = {
    {"format", 'f', "FMT", "format of the input", IMG_STRING, IMG_AT(format)},
    {"image-opts", 0, NULL, "the input is a list of options", IMG_FLAG, IMG_AT(image_opts)},
    {"output-format", 'O', "FMT", "format of the output (default: raw)", IMG_STRING,
     IMG_AT(target_format)},
    IMG_ROW_SHARE,
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_dd = {
    "dd",
    "copy blocks of an image to a new one",
    "[bs=SIZE] [count=BLOCKS] [skip=BLOCKS] if=INPUT of=OUTPUT",
    options,
    co_dd,
    1,
};
