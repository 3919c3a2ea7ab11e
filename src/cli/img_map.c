/* nandu-img map: which parts of an image are where. */
#include "cli/img.h"

#include <stdio.h>

#include "cli/img_map.h"

enum { STEP = 1 << 30 }; /* asked for at once, bytes */

/* ---- Entries ---- */

static bool fits(const struct img_extent *a, const struct img_extent *b)
{
    return a->present == b->present && a->zero == b->zero && a->data == b->data &&
           a->compressed == b->compressed && a->depth == b->depth &&
           a->has_offset == b->has_offset && a->file == b->file && a->layer == b->layer &&
           (!a->has_offset || a->offset + a->length == b->offset);
}

/* What is at start: from the layer that has it. -errno. */
static int co_extent_at(struct block_node *top, uint64_t start, uint64_t bytes,
                        struct img_extent *extent)
{
    struct block_status status = {0};
    struct block_node *node = top;
    unsigned depth = 0;

    for (;;) {
        const struct block_edge *below = node->backing;
        int ret = co_node_status(node, start, bytes, &status);

        if (ret < 0) {
            return ret;
        }
        if (!status.bytes) { /* beyond the end of a shorter backing image */
            status = (struct block_status){.flags = BLOCK_STATUS_ZERO, .bytes = bytes};
        }
        bytes = MIN(bytes, status.bytes);
        if (status.flags & (BLOCK_STATUS_ZERO | BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED)) {
            break;
        }
        if (!below) {
            status.flags |= BLOCK_STATUS_ZERO;
            break;
        }
        if (start >= below->node->length) {
            status.flags |= BLOCK_STATUS_ZERO;
            break;
        }
        bytes = MIN(bytes, below->node->length - start);
        node = below->node;
        depth++;
    }
    *extent = (struct img_extent){
        .start = start,
        .length = bytes,
        .offset = status.offset,
        .depth = depth,
        .layer = node,
        .present = status.flags & BLOCK_STATUS_ALLOCATED,
        .zero = status.flags & BLOCK_STATUS_ZERO,
        .data = status.flags & BLOCK_STATUS_DATA,
        .compressed = status.flags & BLOCK_STATUS_COMPRESSED,
        .has_offset = status.flags & BLOCK_STATUS_OFFSET,
        .file = status.flags & BLOCK_STATUS_OFFSET ? status.file : NULL,
    };
    return 0;
}

bool co_img_map(struct img *img, struct block_user *user, uint64_t start, uint64_t end,
                img_extent_fn *fn, void *opaque)
{
    struct img_extent whole = {0}, next;

    while (start < end) {
        int ret = co_extent_at(block_user_node(user), start, MIN(end - start, STEP), &next);

        if (ret < 0) {
            img_fail(img, "Failed to read image metadata: %s", g_strerror(-ret));
            return false;
        }
        start += next.length;
        if (whole.length && fits(&whole, &next)) {
            whole.length += next.length;
            continue;
        }
        if (whole.length && !fn(img, &whole, false, opaque)) {
            return false;
        }
        whole = next;
    }
    return !whole.length || fn(img, &whole, true, opaque);
}

/* ---- As text ---- */

static bool print_human(struct img *img, const struct img_extent *e, bool last, void *opaque)
{
    if (!e->data || e->zero) {
        return true;
    }
    if (!e->has_offset) {
        img_fail(img, "File contains external, encrypted or compressed clusters.");
        return false;
    }
    printf("%#-16" G_GINT64_MODIFIER "x%#-16" G_GINT64_MODIFIER "x%#-16" G_GINT64_MODIFIER "x%s\n",
           e->start, e->length, e->offset, e->file && e->file->filename ? e->file->filename : "");
    return true;
}

static const char *word(bool value)
{
    return value ? "true" : "false";
}

static bool print_json(struct img *img, const struct img_extent *e, bool last, void *opaque)
{
    printf("{ \"start\": %" G_GUINT64_FORMAT ", \"length\": %" G_GUINT64_FORMAT
           ", \"depth\": %u, \"present\": %s, "
           "\"zero\": %s, \"data\": %s, \"compressed\": %s",
           e->start, e->length, e->depth, word(e->present), word(e->zero), word(e->data),
           word(e->compressed));
    if (e->has_offset) {
        printf(", \"offset\": %" G_GUINT64_FORMAT, e->offset);
    }
    fputs(last ? "}" : "},\n", stdout);
    return true;
}

/* ---- The subcommand ---- */

static bool parse_range(struct img *img, const struct img_args *args, uint64_t length,
                        uint64_t *start, uint64_t *end)
{
    int64_t from = args->start_offset ? img_size(args->start_offset, INT64_MAX) : 0;
    int64_t bytes = args->max_length ? img_size(args->max_length, INT64_MAX) : INT64_MAX;

    if (from < 0 || bytes < 0) {
        img_fail(img, "Invalid %s specified: '%s'.", from < 0 ? "start offset" : "max length",
                 from < 0 ? args->start_offset : args->max_length);
        return false;
    }
    *start = MIN((uint64_t)from, length);
    *end = *start + MIN((uint64_t)bytes, length - *start);
    return true;
}

static bool co_print(struct img *img, const struct img_args *args, struct block_user *user,
                     bool json)
{
    uint64_t start, end;
    bool ok;

    if (!parse_range(img, args, block_user_length(user), &start, &end)) {
        return false;
    }
    if (args->image) {
        return co_img_map_picture(img, user, start, end, args->image);
    }
    if (json) {
        putchar('[');
        ok = co_img_map(img, user, start, end, print_json, NULL);
        puts("]");
    } else {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
        ok = co_img_map(img, user, start, end, print_human, NULL);
    }
    return ok;
}

static int co_map(struct img *img, const struct img_args *args)
{
    struct img_image image = {
        .format = args->format, .image_opts = args->image_opts, .force_share = args->force_share};
    struct block_user *user;
    int json = img_output(img, args);
    bool ok;

    if (json < 0) {
        return 1;
    }
    if (args->n_operands != 1) {
        return img_usage_error(img, "Expecting one image file name");
    }
    image.filename = args->operands[0];
    user = co_img_open(img, &image);
    if (!user) {
        return 1;
    }
    ok = co_print(img, args, user, json);
    co_img_close(user);
    return !ok;
}

static const struct img_option options[] = {
    IMG_ROW_FORMAT,
    IMG_ROW_IMAGE_OPTS,
    {"start-offset", 's', "OFFSET", "from there on", IMG_STRING, IMG_AT(start_offset)},
    {"max-length", 'l', "LENGTH", "so much at most", IMG_STRING, IMG_AT(max_length)},
    {"image", 0, "FILE.svg", "a picture of it into FILE.svg", IMG_STRING, IMG_AT(image)},
    IMG_ROW_OUTPUT,
    IMG_ROW_SHARE,
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_map = {
    "map", "show what is where in an image", "FILENAME", options, co_map, 1};
