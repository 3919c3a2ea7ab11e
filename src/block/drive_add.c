/* What -drive's options mean: names, defaults and abbreviations that -blockdev doesn't have. Main
 * thread. */
#include <limits.h>
#include <string.h>

#include "block/block_priv.h"
#include "block/limits.h"
#include "block/drive.h"
#include "qapi/keyval.h"
#include "util/log.h"

static const char *const interface_names[BLOCK_N_IFS] = {
    "none", "ide", "scsi", "floppy", "pflash", "mtd", "sd", "virtio", "xen",
};

const char *block_interface_name(enum block_interface interface)
{
    return interface_names[interface];
}

int block_interface_parse(const char *name, GError **error)
{
    for (int i = 0; i < BLOCK_N_IFS; i++) {
        if (g_str_equal(name, interface_names[i])) {
            return i;
        }
    }
    block_error(error, "unsupported bus type '%s'; there are none, pflash and virtio", name);
    return -1;
}

/* ---- Taking members out ---- */

/* NULL: there is none. Caller frees. */
static char *take(json_object *options, const char *key)
{
    json_object *value;
    char *text = NULL;

    if (json_object_object_get_ex(options, key, &value)) {
        text = g_strdup(json_object_get_string(value));
        json_object_object_del(options, key);
    }
    return text;
}

static bool take_number(json_object *options, const char *key, int *number, GError **error)
{
    g_autofree char *text = take(options, key);
    guint64 value;

    if (!text) {
        return true;
    }
    if (!g_ascii_string_to_unsigned(text, 10, 0, INT_MAX, &value, NULL)) {
        return block_error(error, "Parameter '%s' expects a number", key);
    }
    *number = (int)value;
    return true;
}

static bool take_bool(json_object *options, const char *key, bool *value, GError **error)
{
    g_autofree char *text = take(options, key);

    if (text && !keyval_parse_bool(text, value, NULL)) {
        return block_error(error, "Parameter '%s' expects 'on' or 'off'", key);
    }
    return true;
}

static void put_default(json_object *options, const char *key, const char *value)
{
    if (!json_object_object_get_ex(options, key, NULL)) {
        json_object_object_add(options, key, json_object_new_string(value));
    }
}

/* ---- Values ---- */

static const struct {
    const char *name;
    bool write_cache, direct, no_flush;
} cache_modes[] = {
    {"writeback", true, false, false}, {"none", true, true, false},
    {"off", true, true, false},        {"directsync", false, true, false},
    {"unsafe", true, false, true},     {"writethrough", false, false, false},
};

static bool take_cache(json_object *options, bool *write_cache, GError **error)
{
    g_autofree char *mode = take(options, "cache");

    *write_cache = true;
    for (size_t i = 0; mode && i < G_N_ELEMENTS(cache_modes); i++) {
        if (g_str_equal(mode, cache_modes[i].name)) {
            *write_cache = cache_modes[i].write_cache;
            put_default(options, "cache.direct", cache_modes[i].direct ? "on" : "off");
            put_default(options, "cache.no-flush", cache_modes[i].no_flush ? "on" : "off");
            g_clear_pointer(&mode, g_free);
        }
    }
    if (mode) {
        return block_error(
            error,
            "invalid cache option '%s'; there are none, writeback, writethrough, directsync and "
            "unsafe",
            mode);
    }
    return take_bool(options, "cache.writeback", write_cache, error);
}

static bool take_on_error(json_object *options, bool is_read, enum qapi_blockdev_on_error *action,
                          GError **error)
{
    g_autofree char *text = take(options, is_read ? "rerror" : "werror");
    int value;

    /* Without: report for reads, enospc for writes, which devices know. */
    *action = QAPI_BLOCKDEV_ON_ERROR_AUTO;
    if (!text) {
        return true;
    }
    value = qapi_enum_parse(&qapi_type_blockdev_on_error, text, NULL);
    if (value < 0 || value == QAPI_BLOCKDEV_ON_ERROR_AUTO ||
        (is_read && value == QAPI_BLOCKDEV_ON_ERROR_ENOSPC)) {
        return block_error(error, "'%s' invalid %s error action", text, is_read ? "read" : "write");
    }
    *action = (enum qapi_blockdev_on_error)value;
    return true;
}

/* "ignore" and "unmap" have other names, too. */
static bool take_discard(json_object *options, GError **error)
{
    g_autofree char *text = take(options, "discard");
    bool unmap = text && (g_str_equal(text, "unmap") || g_str_equal(text, "on"));

    if (text && !unmap && !g_str_equal(text, "ignore") && !g_str_equal(text, "off")) {
        return block_error(error, "Invalid discard option '%s'; there are ignore and unmap", text);
    }
    put_default(options, "discard", unmap ? "unmap" : "ignore");
    return true;
}

/* What belongs to the file rather than to the format on it. */
static void move_aio(json_object *options)
{
    g_autofree char *aio = take(options, "aio");
    json_object *driver;
    bool is_file = json_object_object_get_ex(options, "driver", &driver) &&
                   (g_str_equal(json_object_get_string(driver), "file") ||
                    g_str_equal(json_object_get_string(driver), "host_device"));

    if (aio) {
        put_default(options, is_file ? "aio" : "file.aio", aio);
    }
}

/* format= and driver= are the same. */
static bool take_format(json_object *options, GError **error)
{
    g_autofree char *format = take(options, "format");

    if (format && json_object_object_get_ex(options, "driver", NULL)) {
        return block_error(error, "Cannot specify both 'driver' and 'format'");
    }
    if (format) {
        put_default(options, "driver", format);
    }
    return true;
}

static bool take_intervals(json_object *options, struct block_accounting *accounting,
                           GError **error)
{
    for (unsigned i = 0;; i++) {
        g_autofree char *key = g_strdup_printf("stats-intervals.%u", i);
        g_autofree char *text = take(options, key);
        guint64 seconds;

        if (!text) {
            return true;
        }
        if (!g_ascii_string_to_unsigned(text, 10, 1, UINT_MAX, &seconds, NULL)) {
            return block_error(error, "Invalid interval length: %s", text);
        }
        if (!block_accounting_add_interval(accounting, (uint32_t)seconds, error)) {
            return false;
        }
    }
}

static bool take_accounting(json_object *options, struct block_accounting *accounting,
                            GError **error)
{
    bool invalid = true, failed = true;

    if (!take_bool(options, "stats-account-invalid", &invalid, error) ||
        !take_bool(options, "stats-account-failed", &failed, error)) {
        return false;
    }
    block_accounting_set_policy(accounting, invalid ? QAPI_ON_OFF_AUTO_ON : QAPI_ON_OFF_AUTO_OFF,
                                failed ? QAPI_ON_OFF_AUTO_ON : QAPI_ON_OFF_AUTO_OFF);
    return take_intervals(options, accounting, error);
}

/* What is put on top of the image that the other options say. */
struct top {
    bool snapshot, copy_on_read;
};

static bool take_top(struct block_graph *graph, json_object *options, struct top *top,
                     GError **error)
{
    json_object *read_only;

    if (!take_bool(options, "snapshot", &top->snapshot, error) ||
        !take_bool(options, "copy-on-read", &top->copy_on_read, error)) {
        return false;
    }
    if (top->copy_on_read && json_object_object_get_ex(options, "read-only", &read_only) &&
        g_str_equal(json_object_get_string(read_only), "on")) {
        log_warn(object_context(graph->root)->log, "disabling copy-on-read on read-only drive");
        top->copy_on_read = false;
    }
    return true;
}

/* ---- The drive ---- */

static bool is_taken(const struct block_graph *graph, int interface, unsigned bus, unsigned unit)
{
    for (guint i = 0; i < graph->drives->len; i++) {
        const struct block_drive *drive = graph->drives->pdata[i];

        if (drive->interface == interface && drive->bus == bus && drive->unit == unit) {
            return true;
        }
    }
    return false;
}

static bool take_place(struct block_graph *graph, json_object *options, enum block_interface usual,
                       struct block_drive *drive, GError **error)
{
    g_autofree char *interface = take(options, "if");
    int bus = 0, unit = -1, index = -1,
        kind = interface ? block_interface_parse(interface, error) : (int)usual;

    if (kind < 0 || !take_number(options, "bus", &bus, error) ||
        !take_number(options, "unit", &unit, error) ||
        !take_number(options, "index", &index, error)) {
        return false;
    }
    if (index >= 0 && (bus || unit >= 0)) {
        return block_error(error, "index cannot be used with bus and unit");
    }
    unit = index >= 0 ? index : unit;
    if (unit < 0) {
        for (unit = 0; is_taken(graph, kind, (unsigned)bus, (unsigned)unit);) {
            unit++;
        }
    } else if (is_taken(graph, kind, (unsigned)bus, (unsigned)unit)) {
        return block_error(error, "drive with bus=%d, unit=%d (index=%d) exists", bus, unit, unit);
    }
    drive->interface = kind;
    drive->bus = (unsigned)bus;
    drive->unit = (unsigned)unit;
    return true;
}

static bool take_media(json_object *options, struct block_drive *drive, GError **error)
{
    g_autofree char *media = take(options, "media"), *old = take(options, "readonly");
    bool read_only = false;

    if (media && !g_str_equal(media, "disk") && !g_str_equal(media, "cdrom")) {
        return block_error(error, "'%s' invalid media", media);
    }
    if (old) {
        put_default(options, "read-only", old);
    }
    drive->removable = media && g_str_equal(media, "cdrom");
    if (!take_bool(options, "read-only", &read_only, error)) {
        return false;
    }
    put_default(options, "read-only", read_only || drive->removable ? "on" : "off");
    put_default(options, "auto-read-only", "on");
    return true;
}

static bool take_id(struct block_graph *graph, json_object *options, struct block_drive *drive,
                    GError **error)
{
    drive->id = take(options, "id");
    if (!drive->id) {
        const char *media = drive->interface != BLOCK_IF_IDE && drive->interface != BLOCK_IF_SCSI
                                ? ""
                            : drive->removable ? "-cd"
                                               : "-hd";

        drive->id =
            g_strdup_printf("%s%s%u", interface_names[drive->interface], media, drive->unit);
    } else if (!object_id_valid(drive->id)) {
        return block_error(
            error,
            "Parameter 'id' expects an identifier: letters, digits, '-', '.' and '_', a letter "
            "first");
    }
    if (block_drive_find(graph, drive->id)) {
        return block_error(error, "Device with id '%s' already exists", drive->id);
    }
    if (block_node_find(graph, drive->id, NULL)) {
        return block_error(error, "Device name '%s' conflicts with an existing node name",
                           drive->id);
    }
    return true;
}

/* Whether options say anything of an image. */
static bool has_image(json_object *options)
{
    json_object_object_foreach(options, key, value)
    {
        (void)value;
        if (g_str_equal(key, "driver") || g_str_equal(key, "node-name") ||
            g_str_has_prefix(key, "file.") || g_str_equal(key, "backing")) {
            return true;
        }
    }
    return false;
}

/* What concerns the node that a device sees, rather than the image that it began as. */
static json_object *take_uppermost(json_object *options)
{
    static const char *const keys[] = {"read-only", "discard", "detect-zeroes"};
    json_object *taken = json_object_new_object(), *value;

    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (json_object_object_get_ex(options, keys[i], &value)) {
            json_object_object_add(taken, keys[i], json_object_get(value));
            json_object_object_del(options, keys[i]);
        }
    }
    return taken;
}

/* The image itself is only read then. */
static struct block_node *co_open_spared(struct block_graph *graph, const char *filename,
                                         json_object *options, GError **error)
{
    g_autoptr(json_object) above = take_uppermost(options);
    struct block_node *base;

    json_object_object_add(options, "read-only", json_object_new_string("on"));
    json_object_object_add(options, "auto-read-only", json_object_new_string("off"));
    base = co_block_open_loose(graph, filename, options, BLOCK_OPEN_PROBE, error);
    return base ? co_block_open_temporary(base, above, error) : NULL;
}

/* Takes the reference of node over, also when it fails. */
static struct block_node *co_add_copy_on_read(struct block_node *node, GError **error)
{
    g_autoptr(json_object) options = json_object_new_object();
    struct block_node *filter;

    json_object_object_add(options, "driver", json_object_new_string("copy-on-read"));
    json_object_object_add(options, "file", json_object_new_string(node->name));
    put_default(options, "cache.direct", node->direct ? "on" : "off");
    put_default(options, "cache.no-flush", node->no_flush ? "on" : "off");
    put_default(options, "discard", "unmap"); /* node decides */
    filter = co_block_open_loose(node->graph, NULL, options, BLOCK_OPEN_IMPLICIT, error);
    co_block_node_unref(node);
    return filter;
}

static bool co_open_image(struct block_graph *graph, json_object *options, const struct top *top,
                          struct block_drive *drive, GError **error)
{
    g_autofree char *filename = take(options, "file");

    if (filename && !*filename) {
        g_clear_pointer(&filename, g_free);
    }
    if (!filename && !has_image(options)) {
        return true; /* no medium */
    }
    /* "file" is also the name of a node, but nobody could tell it from a file's. */
    drive->node = top->snapshot
                      ? co_open_spared(graph, filename, options, error)
                      : co_block_open_loose(graph, filename, options, BLOCK_OPEN_PROBE, error);
    if (drive->node && top->copy_on_read) {
        drive->node = co_add_copy_on_read(drive->node, error);
    }
    return drive->node != NULL;
}

const struct block_drive *co_block_drive_add(struct block_graph *graph, json_object *given,
                                             enum block_interface usual, GError **error)
{
    struct block_drive *drive = g_new0(struct block_drive, 1);
    g_autoptr(json_object) options = NULL;
    struct top top = {0};

    drive->accounting = block_accounting_new();
    json_object_deep_copy(given, &options, NULL);
    if (!take_place(graph, options, usual, drive, error) || !take_media(options, drive, error) ||
        !take_id(graph, options, drive, error) ||
        !take_cache(options, &drive->write_cache, error) ||
        !take_on_error(options, true, &drive->read_error, error) ||
        !take_on_error(options, false, &drive->write_error, error) ||
        !take_discard(options, error) || !take_format(options, error) ||
        !take_top(graph, options, &top, error) ||
        !take_accounting(options, drive->accounting, error) ||
        !block_limits_take(graph, options, drive->id, &drive->limits, error)) {
        block_drive_free(drive);
        return NULL;
    }
    move_aio(options);
    /* Listed before it waits, so that nobody takes its name meanwhile. */
    g_ptr_array_add(graph->drives, drive);
    if (!co_open_image(graph, options, &top, drive, error)) {
        g_ptr_array_remove(graph->drives, drive);
        block_drive_free(drive);
        return NULL;
    }
    return drive;
}

bool co_block_drive_delete(struct block_graph *graph, const char *id, GError **error)
{
    struct block_drive *drive = (struct block_drive *)block_drive_find(graph, id);

    if (!drive) {
        return block_error(error, "Device '%s' not found", id);
    }
    if (drive->user) {
        return block_error(error, "Device '%s' is in use", id);
    }
    g_ptr_array_remove(graph->drives, drive);
    co_block_node_unref(drive->node);
    block_drive_free(drive);
    return true;
}

void block_drives_foreach(struct block_graph *graph, block_visit_drive *fn, void *opaque)
{
    for (guint i = 0; i < graph->drives->len; i++) {
        fn(graph->drives->pdata[i], opaque);
    }
}
