/* nandu-img convert: options, sources, the target. */
#include "cli/img_convert.h"

#include <stdio.h>
#include <string.h>

#include "qapi/keyval.h"

enum { DEFAULT_SPARSE = 4096, SECTOR = 512, DEFAULT_WORKERS = 8, MAX_WORKERS = 16 };

struct convert {
    struct img *img;
    const struct img_args *args;
    struct img_copy copy;
    const char *format, *base, *base_format, *target;
    char **names; /* of the sources, n_sources */
    json_object *options;
};

/* ---- Options ---- */

static bool parse_numbers(struct convert *v)
{
    const struct img_args *args = v->args;
    uint64_t number;
    int64_t size;

    v->copy.n_workers = DEFAULT_WORKERS;
    if (args->parallel) {
        if (!g_ascii_string_to_unsigned(args->parallel, 10, 1, MAX_WORKERS, &number, NULL)) {
            img_fail(v->img, "Invalid number of coroutines specified. Must be between 1 and %d.",
                     MAX_WORKERS);
            return false;
        }
        v->copy.n_workers = (unsigned)number;
    }
    v->copy.sparse = DEFAULT_SPARSE;
    if (args->sparse) {
        size = img_size(args->sparse, G_MAXUINT32);
        if (size < 0 || size % SECTOR) {
            img_fail(v->img, "Invalid buffer size for sparse output specified: '%s'.",
                     args->sparse);
            return false;
        }
        v->copy.sparse = (uint64_t)size;
    }
    if (args->rate) {
        size = img_size(args->rate, INT64_MAX);
        if (size < 0) {
            img_fail(v->img, "Invalid rate limit specified: '%s'.", args->rate);
            return false;
        }
        v->copy.rate = (uint64_t)size;
    }
    return true;
}

static const char *contradiction(const struct img_args *args)
{
    if (args->target_image_opts && !args->no_create) {
        return "--target-image-opts requires use of -n flag";
    }
    if (args->target_is_zero && !args->no_create) {
        return "--target-is-zero requires use of -n flag";
    }
    if (args->skip_broken && !args->bitmaps) {
        return "Use of --skip-broken-bitmaps requires --bitmaps";
    }
    if (args->no_create && args->options) {
        return "-o has no effect when skipping image creation";
    }
    if (args->copy_range && args->compress) {
        return "Cannot enable copy offloading when -c is used";
    }
    if (args->copy_range && args->sparse) {
        return "Cannot enable copy offloading when -S is used";
    }
    if (args->salvage && args->copy_range) {
        return "Cannot use copy offloading in salvaging mode";
    }
    return NULL;
}

static bool take_options(struct convert *v)
{
    const struct img_args *args = v->args;
    const char *wrong = contradiction(args);
    json_object *value;

    if (wrong) {
        img_fail(v->img, "%s", wrong);
        return false;
    }
    v->options = img_parse_options(v->img, args->options);
    if (!v->options || !parse_numbers(v)) {
        return false;
    }
    v->base = args->base;
    v->base_format = args->base_format;
    if (!v->base && json_object_object_get_ex(v->options, "backing_file", &value)) {
        v->base = json_object_get_string(value);
    }
    if (!v->base_format && json_object_object_get_ex(v->options, "backing_fmt", &value)) {
        v->base_format = json_object_get_string(value);
    }
    if (v->base && v->copy.n_sources > 1) {
        img_fail(
            v->img,
            "Having a backing file for the target makes no sense when concatenating multiple input "
            "images");
        return false;
    }
    if (v->base && !v->base_format) {
        img_fail(v->img, "Use of backing file requires explicit backing format");
        return false;
    }
    return true;
}

/* ---- Sources ---- */

static bool co_open_sources(struct convert *v)
{
    const struct img_args *args = v->args;

    for (unsigned i = 0; i < v->copy.n_sources; i++) {
        struct img_image image = {
            .filename = v->names[i],
            .format = args->format,
            .image_opts = args->image_opts,
            .cache = args->cache,
            .force_share = args->force_share,
            .quiet = args->quiet,
        };
        struct img_source *source = &v->copy.sources[i];

        source->user = co_img_open(v->img, &image);
        if (!source->user ||
            (args->snapshot && !co_img_load_snapshot(v->img, source->user, args->snapshot))) {
            return false;
        }
        source->start = v->copy.total;
        source->length = block_user_length(source->user);
        v->copy.total += source->length;
    }
    return true;
}

/* ---- The target ---- */

static bool check_target_format(struct convert *v)
{
    const struct block_driver *driver = img_driver(v->img, v->format);

    if (!driver) {
        return false;
    }
    if (v->args->compress && driver->kind != QAPI_BLOCKDEV_DRIVER_QCOW2) {
        img_fail(v->img, "Compression not supported for this file format");
        return false;
    }
    if ((v->args->base || v->args->base_format) && !driver->supports_backing) {
        img_fail(v->img, "Backing file%s not supported for file format '%s'",
                 v->args->base ? "" : " format", v->format);
        return false;
    }
    return true;
}

static bool co_create_target(struct convert *v)
{
    g_autofree char *doing = g_strdup_printf("error while converting %s", v->format);
    struct img_new image = {
        .doing = doing,
        .filename = v->target,
        .format = v->format,
        .options = v->args->options,
        .base = v->args->base,
        .base_format = v->args->base_format,
        .size = UINT64_MAX,
        .unsafe = false,
    };
    g_autoptr(json_object) options = img_parse_options(v->img, v->args->options);

    if (!json_object_object_get_ex(options, "size", NULL)) {
        image.size = v->copy.total;
    }
    return co_img_create(v->img, &image);
}

/* How large the target's backing image is: behind that what the source doesn't have reads as
 * zeroes. */
static void look_at_base(struct convert *v, const struct block_node *node)
{
    v->copy.has_base = v->base && *v->base;
    if (v->copy.has_base && node->backing) {
        v->copy.target_base = node->backing->node->length;
    }
}

static bool co_describe_target(struct convert *v)
{
    struct img_copy *copy = &v->copy;
    struct block_node *node = block_user_node(copy->target);
    struct qapi_image_info info = {0};
    bool device;

    if (node->length < copy->total) {
        img_fail(v->img, "output file is smaller than input file");
        return false;
    }
    if (v->args->compress && !(node->supported_write_flags & BLOCK_COMPRESSED)) {
        img_fail(v->img, "Compression not supported for this file format");
        return false;
    }
    if (node->driver->co_describe) {
        node->driver->co_describe(node, &info);
    }
    device = node->driver->kind == QAPI_BLOCKDEV_DRIVER_HOST_DEVICE ||
             (node->file && node->driver->kind == QAPI_BLOCKDEV_DRIVER_RAW &&
              node->file->node->driver->kind == QAPI_BLOCKDEV_DRIVER_HOST_DEVICE);
    copy->cluster = info.has_cluster_size ? (uint64_t)info.cluster_size : 0;
    qapi_clear(&qapi_type_image_info, &info);
    look_at_base(v, node);
    /* What was never written of an encrypted image is noise. */
    copy->zero = v->args->target_is_zero || (!v->args->no_create && !copy->has_base && !device &&
                                             node->driver->kind != QAPI_BLOCKDEV_DRIVER_LUKS);
    return true;
}

/* An encrypted target is opened with the secret that it was made with. NULL: it has none. */
static json_object *key_options(struct convert *v)
{
    g_autoptr(json_object) given = img_parse_options(v->img, v->args->options);
    json_object *keys = NULL;

    if (!given) {
        return NULL;
    }
    json_object_object_foreach(given, name, value)
    {
        if (g_str_has_suffix(name, "key-secret") || g_str_equal(name, "encrypt.format")) {
            keys = keys ? keys : json_object_new_object();
            json_object_object_add(keys, name, json_object_get(value));
        }
    }
    return keys;
}

static bool co_open_target(struct convert *v)
{
    g_autoptr(json_object) keys = key_options(v);
    struct img_image image = {
        .filename = v->target,
        .format = v->args->target_image_opts ? NULL : v->format,
        .image_opts = v->args->target_image_opts,
        .cache = v->args->target_cache ? v->args->target_cache : "unsafe",
        .writable = true,
        .discard = true,
        .quiet = v->args->quiet,
        .options = keys,
    };

    v->copy.target = co_img_open(v->img, &image);
    return v->copy.target && co_describe_target(v);
}

/* ---- The subcommand ---- */

static bool co_convert_opened(struct convert *v)
{
    const struct img_args *args = v->args;
    bool ok;
    int ret;

    v->copy.compress = args->compress;
    v->copy.salvage = args->salvage;
    v->copy.copy_range = args->copy_range;
    v->copy.in_order = !args->out_of_order && v->copy.cluster;
    v->copy.quiet = args->quiet;
    if (args->copy_range) {
        v->copy.sparse = 0;
    }
    img_progress_start(v->img, args->progress && !args->quiet, v->copy.total);
    ok = co_img_copy(&v->copy);
    img_progress_end(v->img, ok);
    if (ok) {
        ret = co_block_flush(v->copy.target);
        ok = ret >= 0;
        if (!ok) {
            img_fail(v->img, "error while flushing '%s': %s", v->target, g_strerror(-ret));
        }
    }
    return ok;
}

static bool co_run(struct convert *v)
{
    if (!take_options(v) || (!v->args->no_create && !check_target_format(v)) ||
        !co_open_sources(v)) {
        return false;
    }
    if (v->args->bitmaps && !block_user_node(v->copy.sources[0].user)->driver->bitmaps) {
        img_fail(v->img, "Source lacks bitmap support");
        return false;
    }
    return (v->args->no_create || co_create_target(v)) && co_open_target(v) &&
           co_convert_opened(v) &&
           (!v->args->bitmaps || co_img_copy_bitmaps(v->img, v->copy.sources[0].user,
                                                     v->copy.target, v->args->skip_broken));
}

static int co_convert(struct img *img, const struct img_args *args)
{
    struct convert v = {
        .img = img, .args = args, .format = args->target_format ? args->target_format : "raw"};
    bool direct, no_flush, writethrough, ok;

    if (img_wants_help(args->options)) {
        return img_print_create_help(
            img, args->n_operands ? args->operands[args->n_operands - 1] : NULL, v.format, false);
    }
    if (args->n_operands < 2) {
        return img_fail(img, "Must specify image file name");
    }
    if (args->image_opts && args->format) {
        return img_fail(img, "--image-opts and --format are mutually exclusive");
    }
    if (!img_cache_mode(args->cache, &direct, &no_flush, &writethrough)) {
        return img_fail(img, "Invalid source cache option: %s", args->cache);
    }
    if (!img_cache_mode(args->target_cache, &v.copy.direct, &no_flush, &writethrough)) {
        return img_fail(img, "Invalid cache option: %s", args->target_cache);
    }
    v.names = args->operands;
    v.target = args->operands[args->n_operands - 1];
    v.copy.img = img;
    v.copy.n_sources = (unsigned)args->n_operands - 1;
    v.copy.sources = g_new0(struct img_source, v.copy.n_sources);
    ok = co_run(&v);
    co_img_close(v.copy.target);
    for (unsigned i = 0; i < v.copy.n_sources; i++) {
        co_img_close(v.copy.sources[i].user);
    }
    g_free(v.copy.sources);
    json_object_put(v.options);
    return !ok;
}

static const struct img_option options[] = {
    IMG_ROW_QUIET,
    IMG_ROW_PROGRESS,
    {"source-format", 'f', "SRC_FMT", "format of the sources", IMG_STRING, IMG_AT(format)},
    {"source-image-opts", 0, NULL, "sources are lists of options", IMG_FLAG, IMG_AT(image_opts)},
    {"image-opts", 0, NULL, "the same", IMG_FLAG, IMG_AT(image_opts)},
    {"source-snapshot", 'l', "SNAPSHOT",
     "copy this snapshot: its name, or snapshot.id=ID,snapshot.name=NAME", IMG_STRING,
     IMG_AT(snapshot)},
    IMG_ROW_CACHE('T', "source-cache", cache, "cache mode of the sources (default: writeback)"),
    {"target-format", 'O', "FMT", "format of the target (default: raw)", IMG_STRING,
     IMG_AT(target_format)},
    {"target-image-opts", 0, NULL, "the target is a list of options; with -n", IMG_FLAG,
     IMG_AT(target_image_opts)},
    {"target-options", 'o', "OPTIONS", "options of the target's format (-o help lists them)",
     IMG_LIST, IMG_AT(options)},
    {"compress", 'c', NULL, "compress the target (qcow2)", IMG_FLAG, IMG_AT(compress)},
    IMG_ROW_CACHE('t', "target-cache", target_cache, "cache mode of the target (default: unsafe)"),
    {"backing", 'B', "BACKING", "the target is on top of BACKING", IMG_STRING, IMG_AT(base)},
    {"backing-format", 'F', "FMT", "format of BACKING", IMG_STRING, IMG_AT(base_format)},
    {"no-create", 'n', NULL, "the target is there: don't make it", IMG_FLAG, IMG_AT(no_create)},
    {"target-is-zero", 0, NULL, "the target reads as zeroes; with -n", IMG_FLAG,
     IMG_AT(target_is_zero)},
    {"sparse-size", 'S', "SIZE",
     "leave out runs of zeroes of this size (default: 4k); 0: leave nothing out", IMG_STRING,
     IMG_AT(sparse)},
    {"bitmaps", 0, NULL, "copy persistent bitmaps, too", IMG_FLAG, IMG_AT(bitmaps)},
    {"skip-broken-bitmaps", 0, NULL, "but those that are inconsistent", IMG_FLAG,
     IMG_AT(skip_broken)},
    IMG_ROW_SHARE,
    {"rate", 'r', "RATE", "bytes a second at most", IMG_STRING, IMG_AT(rate)},
    {"parallel", 'm', "NUMBER", "pieces that are copied at a time (default: 8, at most 16)",
     IMG_STRING, IMG_AT(parallel)},
    {"copy-range-offloading", 'C', NULL, "let the kernel copy (keeps no holes)", IMG_FLAG,
     IMG_AT(copy_range)},
    {"salvage", 0, NULL, "what can't be read becomes zeroes", IMG_FLAG, IMG_AT(salvage)},
    {"oob-writes", 'W', NULL, "write in any order", IMG_FLAG, IMG_AT(out_of_order)},
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_convert = {
    "convert",
    "copy an image to another, perhaps of another format",
    "SRC_FILENAME... TGT_FILENAME",
    options,
    co_convert,
    1,
};
