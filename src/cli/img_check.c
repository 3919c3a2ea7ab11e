/* nandu-img check and measure. */
#include <stdio.h>

#include "cli/img.h"
#include "qapi/qapi_types.h"

/* ---- check ---- */

enum { CLEAN = 0, NOT_CHECKED = 1, CORRUPT = 2, LEAKS = 3, NO_CHECK = 63 };

static void print_human(const struct qapi_image_check *c)
{
    double total = (double)c->total_clusters, allocated = (double)c->allocated_clusters;

    if (!c->corruptions && !c->leaks && !c->check_errors) {
        puts("No errors were found on the image.");
    }
    if (c->corruptions) {
        printf("\n%" G_GINT64_FORMAT " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n",
               c->corruptions);
    }
    if (c->leaks) {
        printf("\n%" G_GINT64_FORMAT " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n",
               c->leaks);
    }
    if (c->check_errors) {
        printf("\n%" G_GINT64_FORMAT " internal errors have occurred during the check.\n",
               c->check_errors);
    }
    if (c->total_clusters && c->allocated_clusters) {
        printf("%" G_GINT64_FORMAT "/%" G_GINT64_FORMAT
               " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed "
               "clusters\n",
               c->allocated_clusters, c->total_clusters, allocated * 100 / total,
               (double)c->fragmented_clusters * 100 / allocated,
               (double)c->compressed_clusters * 100 / allocated);
    }
    if (c->image_end_offset > 0) {
        printf("Image end offset: %" G_GINT64_FORMAT "\n", c->image_end_offset);
    }
}

static void print_result(struct qapi_image_check *c, bool json)
{
    g_autoptr(json_object) value = NULL;

    if (!json) {
        print_human(c);
        return;
    }
    /* What is 0 isn't told. */
    c->has_image_end_offset = c->image_end_offset;
    c->has_corruptions = c->corruptions;
    c->has_leaks = c->leaks;
    c->has_corruptions_fixed = c->corruptions_fixed;
    c->has_leaks_fixed = c->leaks_fixed;
    c->has_total_clusters = c->total_clusters;
    c->has_allocated_clusters = c->allocated_clusters;
    c->has_fragmented_clusters = c->fragmented_clusters;
    c->has_compressed_clusters = c->compressed_clusters;
    value = qapi_to_json(&qapi_type_image_check, c);
    img_print_json(stdout, value);
}

static bool co_check_once(struct img *img, struct block_node *node, const char *filename,
                          unsigned fix, struct qapi_image_check *result)
{
    g_autoptr(GError) error = NULL;
    bool ok;

    qapi_clear(&qapi_type_image_check, result);
    co_block_drain_begin(img->graph, node);
    ok = node->driver->co_check(node, fix, result, &error);
    block_drain_end(img->graph, node);
    g_free(result->filename);
    g_free(result->format);
    result->filename = g_strdup(filename);
    result->format = g_strdup(node->driver->name);
    if (!ok) {
        img_fail_error(img, &error, "Check failed");
    }
    return ok;
}

static int status_of(const struct qapi_image_check *result)
{
    return result->check_errors  ? NOT_CHECKED
           : result->corruptions ? CORRUPT
           : result->leaks       ? LEAKS
                                 : CLEAN;
}

static int co_check_opened(struct img *img, const struct img_args *args, struct block_node *node,
                           unsigned fix, bool json)
{
    struct qapi_image_check result = {0};
    int status = NOT_CHECKED;
    bool ok;

    if (!node->driver->co_check) {
        img_fail(img, "This image format does not support checks");
        return NO_CHECK;
    }
    ok = co_check_once(img, node, args->operands[0], fix, &result);
    if (ok && (result.corruptions_fixed || result.leaks_fixed)) {
        int64_t corruptions = result.corruptions_fixed, leaks = result.leaks_fixed;
        bool more = result.leaks || result.corruptions;

        if (!json && !args->quiet) {
            printf("The following inconsistencies were found and repaired:\n\n    %" G_GINT64_FORMAT
                   " leaked clusters\n    %" G_GINT64_FORMAT
                   " corruptions\n\nDouble checking the fixed image now...\n",
                   leaks, corruptions);
            fflush(stdout);
        }
        ok = co_check_once(img, node, args->operands[0], more ? fix : 0, &result);
        result.corruptions_fixed = corruptions;
        result.leaks_fixed = leaks;
    }
    if (ok) {
        if (!args->quiet) {
            print_result(&result, json);
        }
        status = status_of(&result);
    }
    qapi_clear(&qapi_type_image_check, &result);
    return status;
}

static int co_check(struct img *img, const struct img_args *args)
{
    struct img_image image = {
        .format = args->format,
        .image_opts = args->image_opts,
        .cache = args->cache,
        .check = true,
        .force_share = args->force_share,
        .writable = args->repair != NULL,
        .resizable = args->repair != NULL,
        .no_backing = true,
    };
    bool direct, no_flush, writethrough;
    struct block_user *user;
    int json = img_output(img, args), status;
    unsigned fix = 0;

    if (json < 0) {
        return 1;
    }
    if (args->repair) {
        fix = g_str_equal(args->repair, "leaks") ? BLOCK_FIX_LEAKS
              : g_str_equal(args->repair, "all") ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS
                                                 : 0;
        if (!fix) {
            return img_usage_error(img, "--repair (-r) expects 'leaks' or 'all' not '%s'",
                                   args->repair);
        }
    }
    if (args->n_operands != 1) {
        return img_usage_error(img, "Expecting one image file name");
    }
    if (!img_cache_mode(args->cache, &direct, &no_flush, &writethrough)) {
        return img_fail(img, "Invalid source cache option: %s", args->cache);
    }
    image.filename = args->operands[0];
    user = co_img_open(img, &image);
    if (!user) {
        return NOT_CHECKED;
    }
    status = co_check_opened(img, args, block_user_node(user), fix, json);
    co_img_close(user);
    return status;
}

static const struct img_option check_options[] = {
    IMG_ROW_QUIET,
    IMG_ROW_FORMAT,
    IMG_ROW_IMAGE_OPTS,
    IMG_ROW_CACHE('T', "cache", cache, "cache mode (default: writeback)"),
    IMG_ROW_SHARE,
    IMG_ROW_OUTPUT,
    {"repair", 'r', "leaks|all", "repair what was found", IMG_STRING, IMG_AT(repair)},
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_check = {
    "check",
    "look for damage in an image: 0 none, 1 not checked, 2 damage, 3 leaks, 63 the format has no check",
    "FILENAME",
    check_options,
    co_check,
    1,
};

/* ---- measure ---- */

struct sizes {
    uint64_t required, full, bitmaps;
    bool has_bitmaps;
};

static void print_sizes(const struct sizes *s, bool json)
{
    g_autoptr(json_object) value = NULL;

    if (!json) {
        printf("required size: %" G_GUINT64_FORMAT "\nfully allocated size: %" G_GUINT64_FORMAT
               "\n",
               s->required, s->full);
        if (s->has_bitmaps) {
            printf("bitmaps size: %" G_GUINT64_FORMAT "\n", s->bitmaps);
        }
        return;
    }
    value = json_object_new_object();
    json_object_object_add(value, "required", json_object_new_uint64(s->required));
    json_object_object_add(value, "fully-allocated", json_object_new_uint64(s->full));
    if (s->has_bitmaps) {
        json_object_object_add(value, "bitmaps", json_object_new_uint64(s->bitmaps));
    }
    img_print_json(stdout, value);
}

static bool measure_as(struct img *img, const struct img_args *args,
                       const struct block_driver *driver, struct block_node *source, uint64_t size,
                       struct sizes *sizes)
{
    g_autoptr(json_object) given = img_parse_options(img, args->options), members = NULL;
    g_autoptr(GError) error = NULL;

    if (!given) {
        return false;
    }
    members = img_schema_options(driver, given, true, &error);
    if (!members) {
        img_fail_error(img, &error, NULL);
        return false;
    }
    if (driver->kind == QAPI_BLOCKDEV_DRIVER_RAW) {
        sizes->required = sizes->full = source ? source->length : (size + 511) & ~511ull;
        return true;
    }
    if (!driver->measure) {
        img_fail(img, "Block driver '%s' does not support size measurement", driver->name);
        return false;
    }
    sizes->bitmaps = UINT64_MAX;
    if (!driver->measure(members, source, size, &sizes->required, &sizes->full, &sizes->bitmaps,
                         &error)) {
        img_fail_error(img, &error, NULL);
        return false;
    }
    sizes->has_bitmaps = sizes->bitmaps != UINT64_MAX;
    return true;
}

static int co_measure(struct img *img, const struct img_args *args)
{
    struct img_image image = {
        .format = args->format, .image_opts = args->image_opts, .force_share = args->force_share};
    const char *format = args->target_format ? args->target_format : "raw";
    const struct block_driver *driver;
    struct block_user *user = NULL;
    struct sizes sizes = {0};
    int64_t size = 0;
    int json = img_output(img, args);
    bool ok = true;

    if (json < 0) {
        return 1;
    }
    if (args->n_operands > 1) {
        return img_fail(img, "At most one filename argument is allowed.");
    }
    if (args->n_operands && args->size) {
        return img_fail(img, "--size N cannot be used together with a filename.");
    }
    if (!args->n_operands && (args->image_opts || args->format || args->snapshot)) {
        return img_fail(img, "--image-opts, -f, and -l require a filename argument.");
    }
    if (!args->n_operands && !args->size) {
        return img_fail(img, "Either --size N or one filename must be specified.");
    }
    if (args->size) {
        size = img_size(args->size, INT64_MAX);
        if (size < 0) {
            return img_fail(img, "Invalid image size specified: '%s'.", args->size);
        }
    }
    if (args->n_operands) {
        image.filename = args->operands[0];
        user = co_img_open(img, &image);
        ok = user && (!args->snapshot || co_img_load_snapshot(img, user, args->snapshot));
    }
    if (ok) {
        driver = img_driver(img, format);
        ok = driver && measure_as(img, args, driver, user ? block_user_node(user) : NULL,
                                  (uint64_t)size, &sizes);
    }
    if (ok) {
        print_sizes(&sizes, json);
    }
    co_img_close(user);
    return !ok;
}

static const struct img_option measure_options[] = {
    {"target-format", 'O', "FMT", "format that an image would have (default: raw)", IMG_STRING,
     IMG_AT(target_format)},
    {"target-options", 'o', "OPTIONS", "options of this format", IMG_LIST, IMG_AT(options)},
    {"size", 's', "SIZE", "size of a new image", IMG_STRING, IMG_AT(size)},
    IMG_ROW_FORMAT,
    IMG_ROW_IMAGE_OPTS,
    {"snapshot", 'l', "SNAPSHOT", "measure this snapshot of FILENAME", IMG_STRING,
     IMG_AT(snapshot)},
    IMG_ROW_OUTPUT,
    IMG_ROW_SHARE,
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_measure = {
    "measure",
    "say how large the file of an image would be",
    "FILENAME | --size SIZE",
    measure_options,
    co_measure,
    1,
};
