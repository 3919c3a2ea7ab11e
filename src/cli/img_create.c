/* Images to be made: create, and what convert and dd make. */
#include "cli/img.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qapi/error.h"
#include "qapi/json.h"
#include "qapi/keyval.h"
#include "qapi/qapi_types.h"

static bool refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool refuse(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error) {
        *error = g_error_new_valist(QAPI_ERROR, QAPI_ERROR_GENERIC, format, args);
    }
    va_end(args);
    return false;
}

const struct block_driver *img_driver(struct img *img, const char *name)
{
    const struct block_driver *driver = block_driver_find(name);

    if (!driver) {
        img_fail(img, "Unknown file format '%s'", name);
    }
    return driver;
}

/* ---- -o ---- */

bool img_wants_help(GPtrArray *options)
{
    for (guint i = 0; options && i < options->len; i++) {
        g_auto(GStrv) parts = g_strsplit(options->pdata[i], ",", -1);

        if (g_strv_contains((const char *const *)parts, "help") ||
            g_strv_contains((const char *const *)parts, "?")) {
            return true;
        }
    }
    return false;
}

json_object *img_parse_options(struct img *img, GPtrArray *options)
{
    json_object *all = json_object_new_object();

    for (guint i = 0; options && i < options->len; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(json_object) part = keyval_parse_flat(options->pdata[i], NULL, NULL, &error);

        if (!part) {
            img_fail_error(img, &error, "Invalid options '%s'", (const char *)options->pdata[i]);
            json_object_put(all);
            return NULL;
        }
        json_object_object_foreach(part, key, value)
        {
            json_object_object_add(all, key, json_object_get(value));
        }
    }
    return all;
}

static const struct block_create_option *find_option(const struct block_create_option *rows,
                                                     const char *name)
{
    for (; rows && rows->name; rows++) {
        if (g_str_equal(rows->name, name)) {
            return rows;
        }
    }
    return NULL;
}

static const struct block_create_option *file_rows(void)
{
    const struct block_driver *file = block_driver_find("file");

    return file ? file->create_options : NULL;
}

/* raw has no structure of its own: its options are the file's. */
static bool is_plain(const struct block_driver *driver)
{
    return driver->kind == QAPI_BLOCKDEV_DRIVER_RAW || driver->kind == QAPI_BLOCKDEV_DRIVER_FILE;
}

static const struct block_create_option *rows_of(const struct block_driver *driver)
{
    return is_plain(driver) ? file_rows() : driver->create_options;
}

static bool version_of(const char *compat, const char **version, GError **error)
{
    if (g_str_equal(compat, "0.10") || g_str_equal(compat, "v2")) {
        *version = "v2";
    } else if (g_str_equal(compat, "1.1") || g_str_equal(compat, "v3")) {
        *version = "v3";
    } else {
        return refuse(error, "Unknown compatibility level %s", compat);
    }
    return true;
}

json_object *img_schema_options(const struct block_driver *driver, json_object *options, bool file,
                                GError **error)
{
    json_object *result = json_object_new_object();

    json_object_object_foreach(options, key, value)
    {
        const struct block_create_option *row = find_option(rows_of(driver), key);
        const char *text = json_object_get_string(value);

        if (!row) {
            row = find_option(driver->amend_options, key); /* which refuses what isn't its own */
        }
        if (!row) {
            if (file && find_option(file_rows(), key)) {
                continue;
            }
            refuse(error, "Invalid parameter '%s'", key);
            json_object_put(result);
            return NULL;
        }
        if (g_str_equal(key, "compat") && !version_of(text, &text, error)) {
            json_object_put(result);
            return NULL;
        }
        json_put_path(result, row->member ? row->member : row->name, json_object_new_string(text));
    }
    return result;
}

/* ---- Help ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct block_create_option *const *)a)->name,
                  (*(const struct block_create_option *const *)b)->name);
}

static void print_option(const struct block_create_option *row)
{
    g_autofree char *bare = g_strdup(row->type);
    g_autofree char *left = NULL;

    g_strdelimit(bare, "<>", ' ');
    g_strstrip(bare);
    left = g_strdup_printf("%s=<%s>", row->name, bare);
    printf("  %-22s - %s\n", left, row->description);
}

int img_print_create_help(struct img *img, const char *filename, const char *format, bool amend)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new();
    const struct block_driver *driver = img_driver(img, format);

    if (!driver) {
        return 1;
    }
    if (amend ? !driver->co_amend : !rows_of(driver)) {
        return amend ? img_fail(img, "Format driver '%s' does not support option amendment", format)
                     : img_fail(img, "Format driver '%s' does not support image creation", format);
    }
    for (const struct block_create_option *row =
             amend && driver->amend_options ? driver->amend_options : rows_of(driver);
         row->name; row++) {
        if (!amend || row->amendable) {
            g_ptr_array_add(rows, (void *)row);
        }
    }
    for (const struct block_create_option *row = file_rows(); filename && row && row->name; row++) {
        if (!find_option(rows_of(driver), row->name)) {
            g_ptr_array_add(rows, (void *)row);
        }
    }
    g_ptr_array_sort(rows, by_name);
    if (amend) {
        printf("Amend options for '%s':\n", format);
    } else if (filename) {
        puts("Supported options:");
    } else {
        printf("Supported %s options:\n", format);
    }
    for (guint i = 0; i < rows->len; i++) {
        print_option(rows->pdata[i]);
    }
    if (!filename && !amend && !is_plain(driver)) {
        puts(
            "\nThe protocol level may support further options.\nSpecify the target filename to include those "
            "options.");
    }
    return 0;
}

/* ---- Making ---- */

static bool create_by(struct block_graph *graph, const struct block_driver *driver,
                      json_object *options, GError **error)
{
    struct qapi_blockdev_create_options strict;
    bool ok;

    if (!qapi_from_keyval(&qapi_type_blockdev_create_options, options, &strict, error)) {
        return false;
    }
    ok = driver->co_create(graph, &strict, error);
    qapi_clear(&qapi_type_blockdev_create_options, &strict);
    return ok;
}

static const char *path_of(const char *filename)
{
    return g_str_has_prefix(filename, "file:") ? filename + strlen("file:") : filename;
}

static void put_number(json_object *members, const char *name, uint64_t number)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);

    json_object_object_add(members, name, json_object_new_string(text));
}

static struct block_node *co_open_file(struct img *img, const char *filename, GError **error)
{
    g_autoptr(json_object) options = json_object_new_object();
    struct stat st;
    bool device = stat(path_of(filename), &st) == 0 && S_ISBLK(st.st_mode);

    json_object_object_add(options, "driver",
                           json_object_new_string(device ? "host_device" : "file"));
    json_object_object_add(options, "filename", json_object_new_string(path_of(filename)));
    json_object_object_add(options, "discard", json_object_new_string("unmap"));
    return co_block_open_loose(img->graph, NULL, options, 0, error);
}

/* A device is as large as it is. */
static bool co_check_device(struct img *img, const char *filename, uint64_t size, GError **error)
{
    struct block_node *node = co_open_file(img, filename, error);
    bool fits = node && size <= node->length;

    if (node && !fits) {
        g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Cannot grow device files");
    }
    if (node) {
        co_block_node_unref(node);
    }
    return fits;
}

/* The file itself, with those of options that are its. size: 0 for what a format lays out itself.
 */
static bool co_create_file(struct img *img, const char *filename, const struct block_driver *format,
                           json_object *options, uint64_t size, GError **error)
{
    const struct block_driver *driver = block_driver_find("file");
    g_autoptr(json_object) members = json_object_new_object();
    struct stat st;

    if (stat(path_of(filename), &st) == 0 && S_ISBLK(st.st_mode)) {
        return co_check_device(img, filename, size, error);
    }
    json_object_object_foreach(options, key, value)
    {
        const struct block_create_option *row = find_option(driver->create_options, key);

        if (row && (is_plain(format) || !find_option(format->create_options, key))) {
            json_object_object_add(members, row->member ? row->member : row->name,
                                   json_object_get(value));
        }
    }
    json_object_object_add(members, "driver", json_object_new_string("file"));
    json_object_object_add(members, "filename", json_object_new_string(path_of(filename)));
    put_number(members, "size", size);
    return create_by(img->graph, driver, members, error);
}

static void put_node(json_object *members, const char *name, const struct block_node *node)
{
    json_object_object_add(members, name, json_object_new_string(node->name));
}

/* A format on a file that is there now. */
static bool co_create_format(struct img *img, const char *filename,
                             const struct block_driver *driver, json_object *options,
                             json_object *members, GError **error)
{
    struct block_node *file, *data = NULL;
    json_object *data_name = NULL;
    struct stat st;
    bool ok = true;

    file = co_open_file(img, filename, error);
    if (!file) {
        return false;
    }
    if (json_object_object_get_ex(options, "data_file", &data_name)) {
        const char *name = json_object_get_string(data_name);
        g_autoptr(json_object) none = json_object_new_object();

        ok = co_create_file(img, name, block_driver_find("file"), none, 0, error);
        data = ok ? co_open_file(img, name, error) : NULL;
        ok = data != NULL;
        if (ok) {
            put_node(members, "data-file", data);
        }
    }
    put_node(members, "file", file);
    json_object_object_add(members, "driver", json_object_new_string(driver->name));
    ok = ok &&
         (!driver->co_create_prepare ||
          driver->co_create_prepare(img->graph, filename, members, error)) &&
         create_by(img->graph, driver, members, error);
    co_block_node_unref(data);
    co_block_node_unref(file);
    if (!ok && lstat(path_of(filename), &st) == 0 && S_ISREG(st.st_mode)) {
        unlink(path_of(filename)); /* it is empty, or half of an image */
    }
    return ok;
}

/* ---- The base and the size ---- */

static const char *option(json_object *options, const char *name)
{
    json_object *value;

    return json_object_object_get_ex(options, name, &value) ? json_object_get_string(value) : NULL;
}

/* Looks at the base: it must be there, and gives its size. Relative to the new image. */
static bool co_look_at_base(struct img *img, const struct img_new *image, json_object *options,
                            uint64_t *size)
{
    const char *base = option(options, "backing_file"), *format = option(options, "backing_fmt");
    g_autofree char *path = NULL;
    g_autoptr(json_object) open = NULL;
    g_autoptr(GError) error = NULL;
    struct block_node *node;

    if (!base || !*base || (image->unsafe && *size != UINT64_MAX)) {
        return true;
    }
    path = block_combine_names(image->filename, base);
    open = json_object_new_object();
    if (format) {
        json_object_object_add(open, "driver", json_object_new_string(format));
    }
    json_object_object_add(open, "read-only", json_object_new_string("on"));
    node = co_block_open_loose(img->graph, path, open,
                               BLOCK_OPEN_PROBE | BLOCK_OPEN_NO_BACKING | BLOCK_OPEN_NO_IO, &error);
    if (!node) {
        img_fail_error(img, &error, "%s", image->filename);
        fputs("Could not open backing image.\n", stderr);
        return false;
    }
    if (!format) {
        img_fail(img, "%s: Backing file specified without backing format\nDetected format of %s.",
                 image->filename, node->driver->name);
        co_block_node_unref(node);
        return false;
    }
    *size = *size == UINT64_MAX ? node->length : *size;
    co_block_node_unref(node);
    return true;
}

static int fail(struct img *img, const struct img_new *image, GError **error)
{
    return image->doing ? img_fail_error(img, error, "%s: %s", image->filename, image->doing)
                        : img_fail_error(img, error, "%s", image->filename);
}

/* In the order that tools know, which isn't the alphabet's. */
static void print_formatting(const char *filename, const struct block_driver *driver,
                             json_object *options, uint64_t size)
{
    static const char *const order[] = {
        "cluster_size",   "extended_l2",   "preallocation", "compression_type", "size",
        "compat",         "backing_file",  "backing_fmt",   "data_file",        "data_file_raw",
        "lazy_refcounts", "refcount_bits", "nocow",
    };

    printf("Formatting '%s', fmt=%s", filename, driver->name);
    for (size_t i = 0; i < G_N_ELEMENTS(order); i++) {
        const struct block_create_option *row = find_option(rows_of(driver), order[i]);
        const char *value = option(options, order[i]);
        bool silent = g_str_equal(order[i], "preallocation") || g_str_equal(order[i], "nocow") ||
                      g_str_has_prefix(order[i], "data_file") || g_str_equal(order[i], "compat");

        if (g_str_equal(order[i], "preallocation") && is_plain(driver)) {
            continue;
        }
        if (g_str_equal(order[i], "size")) {
            printf(" size=%" G_GUINT64_FORMAT, size);
        } else if (value && *value && row && strstr(row->type, "size") &&
                   img_size(value, INT64_MAX) >= 0) {
            printf(" %s=%" G_GINT64_FORMAT, order[i], img_size(value, INT64_MAX));
        } else if (value && *value) {
            printf(" %s=%s", order[i], value);
        } else if (row && row->default_value && !silent) {
            printf(" %s=%s", order[i], row->default_value);
        }
    }
    json_object_object_foreach(options, key, value)
    {
        if (!g_strv_contains(order, key) ||
            (is_plain(driver) && g_str_equal(key, "preallocation"))) {
            printf(" %s=%s", key, json_object_get_string(value));
        }
    }
    putchar('\n');
    fflush(stdout);
}

static void set(json_object *options, const char *name, const char *value)
{
    json_object_object_add(options, name, json_object_new_string(value));
}

/* -b, -F and the size become options as -o's are. False after a message. */
static bool co_complete_options(struct img *img, const struct img_new *image,
                                const struct block_driver *driver, json_object *options,
                                uint64_t *size)
{
    const char *text = option(options, "size");

    *size = image->size;
    if (text && *size == UINT64_MAX) {
        int64_t bytes = img_size(text, INT64_MAX);

        if (bytes < 0) {
            img_fail(img, "%s: Invalid image size specified: '%s'", image->filename, text);
            return false;
        }
        *size = (uint64_t)bytes;
    }
    if (image->base && !find_option(rows_of(driver), "backing_file")) {
        img_fail(img, "%s: Backing file not supported for file format '%s'", image->filename,
                 image->format);
        return false;
    }
    if (image->base) {
        set(options, "backing_file", image->base);
    }
    if (image->base_format) {
        set(options, "backing_fmt", image->base_format);
    }
    text = option(options, "backing_fmt");
    if (text && !block_driver_find(text)) {
        img_fail(img, "%s: Unknown backing file format '%s'", image->filename, text);
        return false;
    }
    text = option(options, "backing_file");
    if (text && g_str_equal(text, image->filename)) {
        img_fail(img,
                 "%s: Error: Trying to create an image with the same filename as the backing file",
                 image->filename);
        return false;
    }
    if (!co_look_at_base(img, image, options, size)) {
        return false;
    }
    if (*size == UINT64_MAX) {
        img_fail(img, "%s: Image creation needs a size parameter", image->filename);
        return false;
    }
    return true;
}

bool co_img_create(struct img *img, const struct img_new *image)
{
    g_autoptr(json_object) options = NULL, members = NULL;
    g_autoptr(GError) error = NULL;
    const struct block_driver *driver = block_driver_find(image->format);
    uint64_t size;
    bool ok;

    if (!driver || !rows_of(driver)) {
        img_fail(img,
                 driver ? "%s: Format driver '%s' does not support image creation"
                        : "%s: Unknown file format '%s'",
                 image->filename, image->format);
        return false;
    }
    options = img_parse_options(img, image->options);
    if (!options) {
        return false;
    }
    members = img_schema_options(driver, options, true, &error);
    if (!members) {
        fail(img, image, &error);
        return false;
    }
    if (!co_complete_options(img, image, driver, options, &size)) {
        return false;
    }
    g_clear_pointer(&members, json_object_put);
    members = img_schema_options(driver, options, true, NULL);
    if (image->print) {
        print_formatting(image->filename, driver, options, size);
    }
    size = (size + 511) & ~511ull;
    put_number(members, "size", size);
    ok = co_create_file(img, image->filename, driver, options, is_plain(driver) ? size : 0,
                        &error) &&
         (is_plain(driver) ||
          co_create_format(img, image->filename, driver, options, members, &error));
    if (!ok) {
        fail(img, image, &error);
    }
    return ok;
}

/* ---- The subcommand ---- */

static int co_create(struct img *img, const struct img_args *args)
{
    const char *format = args->format ? args->format : "raw";
    struct img_new image = {
        .filename = args->operands[0],
        .format = format,
        .options = args->options,
        .base = args->base,
        .base_format = args->base_format,
        .size = UINT64_MAX,
        .unsafe = args->unsafe,
        .print = !args->quiet,
    };
    int64_t size;

    if (img_wants_help(args->options)) {
        return img_print_create_help(img, args->operands[0], format, false);
    }
    if (args->n_operands < 1) {
        return img_usage_error(img, "Expecting image file name");
    }
    if (args->n_operands > 1) {
        size = img_size(args->operands[1], INT64_MAX);
        if (size < 0) {
            return img_fail(img, "Invalid image size specified: '%s'.", args->operands[1]);
        }
        image.size = (uint64_t)size;
    }
    if (args->n_operands > 2) {
        return img_usage_error(img, "Unexpected argument: %s", args->operands[2]);
    }
    return !co_img_create(img, &image);
}

static const struct img_option options[] = {
    IMG_ROW_QUIET,
    {"format", 'f', "FMT", "format of the new image (default: raw)", IMG_STRING, IMG_AT(format)},
    {"options", 'o', "FMT_OPTS", "options of the format (-o help lists them)", IMG_LIST,
     IMG_AT(options)},
    {"backing", 'b', "BACKING", "the new image is on top of BACKING", IMG_STRING, IMG_AT(base)},
    {"backing-format", 'F', "FMT", "format of BACKING", IMG_STRING, IMG_AT(base_format)},
    {"backing-unsafe", 'u', NULL, "don't look whether BACKING is there", IMG_FLAG, IMG_AT(unsafe)},
    IMG_ROW_OBJECT,
    IMG_ROW_END,
};

const struct img_command img_create = {
    "create", "make a new image", "FILENAME [SIZE[bkKMGTPE]]", options, co_create, 1,
};
