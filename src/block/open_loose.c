/*
 * Opening by what people write: file names with and without a protocol, "json:{...}", options that
 * are strings, with dots for nesting, and without the driver. All of it becomes options of the
 * schema.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "block/block_priv.h"
#include "qapi/keyval.h"
#include "util/log.h"

enum { PROBE_BYTES = 2048 };

/* ---- Options as nested objects of strings ---- */

static json_object *to_strings(json_object *value);

static json_object *list_to_strings(json_object *list)
{
    json_object *result = json_object_new_array();

    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object_array_add(result, to_strings(json_object_array_get_idx(list, i)));
    }
    return result;
}

/* The object at the path in front of the last dot of key, made if need be; NULL: something else is
 * there. */
static json_object *folder_of(json_object *object, const char *key, const char **last)
{
    const char *dot;

    while ((dot = strchr(key, '.'))) {
        g_autofree char *name = g_strndup(key, (gsize)(dot - key));
        json_object *next;

        if (!json_object_object_get_ex(object, name, &next)) {
            next = json_object_new_object();
            json_object_object_add(object, name, next);
        }
        if (!json_object_is_type(next, json_type_object)) {
            return NULL;
        }
        object = next;
        key = dot + 1;
    }
    *last = key;
    return object;
}

/* from's members become into's, but for those that it has. False: a member is both a value and a
 * folder. */
static bool merge(json_object *into, json_object *from, GError **error)
{
    json_object_object_foreach(from, key, value)
    {
        const char *last;
        json_object *folder = folder_of(into, key, &last), *there;

        if (!folder) {
            return block_error(error, "'%s' is given as a value and as a structure", key);
        }
        if (!json_object_object_get_ex(folder, last, &there)) {
            json_object_object_add(folder, last, to_strings(value));
        } else if (json_object_is_type(there, json_type_object) &&
                   json_object_is_type(value, json_type_object) && !merge(there, value, error)) {
            return false;
        }
    }
    return true;
}

static json_object *to_strings(json_object *value)
{
    json_object *result;

    switch (json_object_get_type(value)) {
    case json_type_object:
        result = json_object_new_object();
        /* Of what is in a structure nothing is there twice but for dots, which JSON's names don't
         * have. */
        merge(result, value, NULL);
        return result;
    case json_type_array: return list_to_strings(value);
    case json_type_boolean:
        return json_object_new_string(json_object_get_boolean(value) ? "on" : "off");
    case json_type_null: return json_object_new_string(""); /* no backing image */
    default: return json_object_new_string(json_object_get_string(value));
    }
}

/* {"0": A, "1": B} as a list; NULL: it isn't one. */
static json_object *as_list(json_object *value)
{
    int n = json_object_is_type(value, json_type_object) ? json_object_object_length(value) : 0;
    json_object *list = n ? json_object_new_array() : NULL;

    for (int i = 0; i < n && list; i++) {
        g_autofree char *key = g_strdup_printf("%d", i);
        json_object *element;

        if (json_object_object_get_ex(value, key, &element)) {
            json_object_array_add(list, json_object_get(element));
        } else {
            g_clear_pointer(&list, json_object_put);
        }
    }
    return list;
}

/* Lists that were written with dots ("children.0.driver"). */
static void make_lists(json_object *options)
{
    json_object_object_foreach(options, key, value)
    {
        json_object *list;

        if (json_object_is_type(value, json_type_object)) {
            make_lists(value);
        }
        list = as_list(value);
        if (list) {
            json_object_object_add(options, key, list); /* in its place */
        }
    }
}

static const char *get(json_object *object, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(object, key, &value) &&
                   json_object_is_type(value, json_type_string)
               ? json_object_get_string(value)
               : NULL;
}

static void put(json_object *object, const char *key, const char *value)
{
    json_object_object_add(object, key, json_object_new_string(value));
}

static json_object *structure(json_object *object, const char *key, GError **error)
{
    json_object *value;

    if (!json_object_object_get_ex(object, key, &value)) {
        value = json_object_new_object();
        json_object_object_add(object, key, value);
    } else if (!json_object_is_type(value, json_type_object)) {
        block_error(error, "Cannot specify both a file name and '%s' as a reference to a node",
                    key);
        return NULL;
    }
    return value;
}

/* ---- File names ---- */

/* "nbd" of "nbd://host"; NULL: a path. Caller frees. */
static char *protocol_of(const char *filename)
{
    size_t n =
        strspn(filename, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-_");

    return n && filename[n] == ':' ? g_strndup(filename, n) : NULL;
}

static const char *driver_of_path(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode)) ? "host_device"
                                                                                : "file";
}

/* filename becomes members of file, whose driver may be known. */
static bool take_filename(json_object *file, const char *filename, GError **error)
{
    g_autofree char *protocol = protocol_of(filename);
    const char *name = get(file, "driver");
    const struct block_driver *driver = name ? block_driver_find(name) : NULL;

    if (name && !driver) {
        return block_error(error, "Unknown driver '%s'", name);
    }
    if (protocol && !driver) {
        driver = block_driver_of_protocol(protocol);
        if (!driver) {
            return block_error(error, "Unknown protocol '%s' (for a file of that name write ./%s)",
                               protocol, filename);
        }
        put(file, "driver", driver->name);
    }
    if (protocol && driver->protocols && g_strv_contains(driver->protocols, protocol)) {
        json_object_object_del(file, "filename");
        return driver->parse_filename(filename, file, error);
    }
    if (!driver) {
        put(file, "driver", driver_of_path(filename));
    }
    put(file, "filename", filename);
    return true;
}

static bool complete_children(json_object *options, GError **error);

static bool complete_child(json_object *child, bool is_image, GError **error)
{
    const char *filename;

    if (!json_object_is_type(child, json_type_object)) {
        return true;
    }
    filename = is_image || get(child, "driver") ? NULL : get(child, "filename");
    if (filename) {
        g_autofree char *copy = g_strdup(filename);

        return take_filename(child, copy, error);
    }
    return complete_children(child, error);
}

/* Children that have a file name and no driver yet are what a protocol gives, but for those that
 * are images with a format of their own. */
static bool complete_children(json_object *options, GError **error)
{
    json_object_object_foreach(options, key, value)
    {
        if (json_object_is_type(value, json_type_array)) {
            for (size_t i = 0; i < json_object_array_length(value); i++) {
                if (!complete_child(json_object_array_get_idx(value, i), true, error)) {
                    return false;
                }
            }
        } else if (!complete_child(value, g_str_equal(key, "backing"), error)) {
            return false;
        }
    }
    return true;
}

static bool place_filename(json_object *options, const char *filename, GError **error)
{
    const char *name = get(options, "driver");
    const struct block_driver *driver = name ? block_driver_find(name) : NULL;
    json_object *file;

    if (name && !driver) {
        return block_error(error, "Unknown driver '%s'", name);
    }
    if (driver && driver->protocols) {
        return take_filename(options, filename, error);
    }
    file = structure(options, "file", error);
    if (!file) {
        return false;
    }
    if (get(file, "filename")) {
        return block_error(error, "Cannot specify 'file' and 'file.filename' at the same time");
    }
    return take_filename(file, filename, error);
}

/* ---- Finding the format ---- */

/* A look at the beginning, which nobody is kept from writing to meanwhile. */
static const struct block_driver *co_probe(struct block_graph *graph, json_object *options,
                                           GError **error)
{
    g_autoptr(json_object) look = json_object_new_object();
    json_object *file_options;
    const struct block_driver *driver = NULL;
    struct qapi_blockdev_options strict;
    uint8_t data[PROBE_BYTES];
    struct block_node *node;
    int result;

    json_object_object_get_ex(options, "file", &file_options);
    if (json_object_is_type(file_options, json_type_string)) {
        node = block_node_find(graph, json_object_get_string(file_options), error);
        node = node ? block_node_ref(node) : NULL;
    } else {
        put(look, "read-only", "on");
        put(look, "force-share", "on");
        if (!merge(look, file_options, error) ||
            !qapi_from_keyval(&qapi_type_blockdev_options, look, &strict, error)) {
            return NULL;
        }
        g_clear_pointer(&strict.node_name, g_free);
        strict.read_only = strict.force_share = true;
        node = co_block_open(graph, &strict, BLOCK_OPEN_NO_IO, error);
        qapi_clear(&qapi_type_blockdev_options, &strict);
    }
    if (!node) {
        return NULL;
    }
    result = co_node_read(node, 0, sizeof(data), BLOCK_BUFFER(data, sizeof(data)), 0);
    if (result < 0) {
        block_error(error, "Could not read image for determining its format: %s",
                    g_strerror(-result));
    } else {
        driver = block_driver_probe(data, MIN(sizeof(data), node->length), node->filename);
    }
    co_block_node_unref(node);
    return driver;
}

static bool co_find_format(struct block_graph *graph, json_object *options, unsigned *flags,
                           GError **error)
{
    const struct block_driver *driver;

    if (get(options, "driver")) {
        return true;
    }
    if (!json_object_object_get_ex(options, "file", NULL)) {
        return block_error(error, "A block device must be specified for \"file\"");
    }
    if (!(*flags & BLOCK_OPEN_PROBE)) {
        return block_error(error, "Parameter 'driver' is missing");
    }
    driver = co_probe(graph, options, error);
    if (!driver) {
        return false;
    }
    put(options, "driver", driver->name);
    if (driver->kind == QAPI_BLOCKDEV_DRIVER_RAW) {
        *flags |= BLOCK_OPEN_GUESSED_RAW;
    }
    return true;
}

/* ---- Sizes ---- */

/* Members that -drive, --image-opts and json: may write as "64k". The schema has them as numbers,
 * and those of -blockdev are. */
static const struct {
    const char *driver, *member;
} sizes[] = {
    {"blkdebug", "align"},
    {"blkdebug", "max-discard"},
    {"blkdebug", "max-transfer"},
    {"blkdebug", "max-write-zero"},
    {"blkdebug", "opt-discard"},
    {"blkdebug", "opt-write-zero"},
    {"blklogwrites", "log-sector-size"},
    {"null-aio", "size"},
    {"null-co", "size"},
    {"preallocate", "prealloc-align"},
    {"preallocate", "prealloc-size"},
    {"qcow2", "cache-size"},
    {"qcow2", "l2-cache-entry-size"},
    {"qcow2", "l2-cache-size"},
    {"qcow2", "refcount-cache-size"},
    {"raw", "offset"},
    {"raw", "size"},
};

static bool take_size(json_object *options, const char *member, GError **error)
{
    const char *text = get(options, member);
    g_autofree char *number = NULL;
    uint64_t bytes;

    if (!text) {
        return true;
    }
    if (!keyval_parse_size(text, 'B', &bytes, NULL) || bytes > INT64_MAX) {
        return block_error(error,
                           "Parameter '%s' expects a size: a number of bytes below 2^63, or with "
                           "k, M, G, T, P or E after it",
                           member);
    }
    number = g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
    put(options, member, number);
    return true;
}

/* Those of the node and of the children that are described in place. */
static bool take_sizes(json_object *options, GError **error)
{
    const char *driver = get(options, "driver");

    for (size_t i = 0; driver && i < G_N_ELEMENTS(sizes); i++) {
        if (g_str_equal(driver, sizes[i].driver) && !take_size(options, sizes[i].member, error)) {
            return false;
        }
    }
    json_object_object_foreach(options, key, value)
    {
        (void)key;
        if (json_object_is_type(value, json_type_object) && !take_sizes(value, error)) {
            return false;
        }
        for (size_t i = 0;
             json_object_is_type(value, json_type_array) && i < json_object_array_length(value);
             i++) {
            json_object *element = json_object_array_get_idx(value, i);

            if (json_object_is_type(element, json_type_object) && !take_sizes(element, error)) {
                return false;
            }
        }
    }
    return true;
}

/* ---- All together ---- */

static bool take_json(json_object *options, const char *text, GError **error)
{
    g_autoptr(json_object) given = json_parse(text, error);

    if (!given || !json_object_is_type(given, json_type_object)) {
        return error && *error
                   ? (g_prefix_error(error, "Could not parse the JSON options: "), false)
                   : block_error(error, "JSON options are an object: json:{...}");
    }
    return merge(options, given, error);
}

struct block_node *co_block_open_loose(struct block_graph *graph, const char *filename,
                                       json_object *given, unsigned flags, GError **error)
{
    g_autoptr(json_object) options = json_object_new_object();
    struct qapi_blockdev_options strict;
    struct block_node *node;

    if (given && !merge(options, given, error)) {
        return NULL;
    }
    if (filename && g_str_has_prefix(filename, "json:")) {
        if (!take_json(options, filename + strlen("json:"), error)) {
            return NULL;
        }
    } else if (filename && !place_filename(options, filename, error)) {
        return NULL;
    }
    make_lists(options);
    if (!complete_children(options, error) || !take_sizes(options, error) ||
        !co_find_format(graph, options, &flags, error) || !take_sizes(options, error) ||
        !qapi_from_keyval(&qapi_type_blockdev_options, options, &strict, error)) {
        return NULL;
    }
    node = co_block_open(graph, &strict, flags, error);
    qapi_clear(&qapi_type_blockdev_options, &strict);
    if (node && (flags & BLOCK_OPEN_GUESSED_RAW) && !node->read_only) {
        log_warn(
            object_context(graph->root)->log,
            "Image format was not specified for '%s' and probing guessed raw. A guest could write another "
            "format's header, so writes to its first bytes that look like one are refused; format=raw allows "
            "them.",
            node->filename);
    }
    return node;
}
