#include "monitor/hmp_block.h"

#include <inttypes.h>

#include "block/drive.h"
#include "qapi/error.h"
#include "qapi/keyval.h"

static json_object *member(json_object *object, const char *name)
{
    json_object *value = NULL;

    json_object_object_get_ex(object, name, &value);
    return value;
}

/* ---- info block ---- */

static const char *cache_mode(json_object *cache)
{
    bool writeback = hmp_bool(cache, "writeback"), direct = hmp_bool(cache, "direct");

    if (hmp_bool(cache, "no-flush")) {
        return direct ? "writeback, direct, ignore flushes" : "writeback, ignore flushes";
    }
    return writeback ? direct ? "writeback, direct" : "writeback"
           : direct  ? "writethrough, direct"
                     : "writethrough";
}

static void print_medium(struct hmp *hmp, json_object *inserted)
{
    const char *backing = hmp_str(inserted, "backing_file");
    const char *detect = hmp_str(inserted, "detect_zeroes");

    hmp_print(hmp, ": %s (%s%s%s)\n", hmp_str(inserted, "file"), hmp_str(inserted, "drv"),
              hmp_bool(inserted, "ro") ? ", read-only" : "",
              hmp_bool(inserted, "encrypted") ? ", encrypted" : "");
    (void)backing;
    (void)detect;
}

static void print_medium_details(struct hmp *hmp, json_object *inserted)
{
    const char *backing = hmp_str(inserted, "backing_file");
    const char *detect = hmp_str(inserted, "detect_zeroes");

    hmp_print(hmp, "    Cache mode:       %s\n", cache_mode(member(inserted, "cache")));
    if (backing) {
        hmp_print(hmp, "    Backing file:     %s (chain depth: %" PRId64 ")\n", backing,
                  hmp_int(inserted, "backing_file_depth"));
    }
    if (detect && !g_str_equal(detect, "off")) {
        hmp_print(hmp, "    Detect zeroes:    %s\n", detect);
    }
}

static void print_device(struct hmp *hmp, json_object *info)
{
    json_object *inserted = member(info, "inserted");
    const char *device = hmp_str(info, "device"), *qdev = hmp_str(info, "qdev");
    const char *node = inserted ? hmp_str(inserted, "node-name") : NULL;

    if (*device) {
        hmp_print(hmp, "%s", device);
        if (node) {
            hmp_print(hmp, " (%s)", node);
        }
    } else {
        hmp_print(hmp, "%s", node ? node : qdev ? qdev : "");
    }
    if (inserted) {
        print_medium(hmp, inserted);
    } else {
        hmp_print(hmp, ": [not inserted]\n");
    }
    if (qdev) {
        hmp_print(hmp, "    Attached to:      %s\n", qdev);
    }
    if (hmp_bool(info, "removable")) {
        hmp_print(hmp, "    Removable device: %slocked, tray %s\n",
                  hmp_bool(info, "locked") ? "" : "not ",
                  hmp_bool(info, "tray_open") ? "open" : "closed");
    }
    if (inserted) {
        print_medium_details(hmp, inserted);
    }
}

static bool is_wanted(json_object *info, const char *device)
{
    json_object *inserted = member(info, "inserted");
    const char *node = inserted ? hmp_str(inserted, "node-name") : NULL;

    return !device || g_strcmp0(hmp_str(info, "device"), device) == 0 ||
           g_strcmp0(node, device) == 0;
}

static bool print_devices(struct hmp *hmp, const char *device, GError **error)
{
    g_autoptr(json_object) list = NULL;
    bool found = false;

    if (!hmp_call(hmp, "query-block", NULL, &list, error)) {
        return false;
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *info = json_object_array_get_idx(list, i);

        if (is_wanted(info, device)) {
            hmp_print(hmp, "%s", found ? "\n" : "");
            print_device(hmp, info);
            found = true;
        }
    }
    if (device && !found) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Device '%s' not found", device);
        return false;
    }
    return true;
}

static bool print_nodes(struct hmp *hmp, const char *name, GError **error)
{
    g_autoptr(json_object) list = NULL;
    bool found = false;

    if (!hmp_call(hmp, "query-named-block-nodes", NULL, &list, error)) {
        return false;
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *info = json_object_array_get_idx(list, i);

        if (!name || g_strcmp0(hmp_str(info, "node-name"), name) == 0) {
            hmp_print(hmp, "%s%s", found ? "\n" : "", hmp_str(info, "node-name"));
            print_medium(hmp, info);
            print_medium_details(hmp, info);
            found = true;
        }
    }
    return true;
}

bool hmp_info_block(struct hmp *hmp, struct json_object *args, GError **error)
{
    const char *device = hmp_str(args, "device");

    return hmp_bool(args, "nodes") ? print_nodes(hmp, device, error)
                                   : print_devices(hmp, device, error);
}

bool hmp_info_blockstats(struct hmp *hmp, struct json_object *args, GError **error)
{
    static const char *const names[] = {
        "rd_bytes",         "wr_bytes",         "rd_operations",
        "wr_operations",    "flush_operations", "wr_total_time_ns",
        "rd_total_time_ns", "flush_total_time_ns", "rd_merged",
        "wr_merged",        "idle_time_ns",
    };
    g_autoptr(json_object) list = NULL;

    if (!hmp_call(hmp, "query-blockstats", NULL, &list, error)) {
        return false;
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        json_object *info = json_object_array_get_idx(list, i), *stats = member(info, "stats");
        const char *device = hmp_str(info, "device"), *node = hmp_str(info, "node-name");

        hmp_print(hmp, "%s:", device && *device ? device : node ? node : "");
        for (size_t n = 0; n < G_N_ELEMENTS(names); n++) {
            hmp_print(hmp, " %s=%" PRId64, names[n], hmp_int(stats, names[n]));
        }
        hmp_print(hmp, "\n");
    }
    return true;
}

/* ---- Changes ---- */

bool hmp_block_resize(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) command = json_object_new_object();
    const char *device = hmp_str(args, "device");
    uint64_t size;

    if (!keyval_parse_size(hmp_str(args, "size"), 'M', &size, error)) {
        return false;
    }
    json_object_object_add(command,
                           block_drive_find(hmp->context.blocks, device) ? "device" : "node-name",
                           json_object_new_string(device));
    json_object_object_add(command, "size", json_object_new_int64((int64_t)MIN(size, INT64_MAX)));
    return hmp_call(hmp, "block_resize", command, NULL, error);
}

bool hmp_drive_add(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) options = keyval_parse_flat(hmp_str(args, "opts"), NULL, NULL, error);
    json_object *interface;

    if (!options) {
        return false;
    }
    if (!json_object_object_get_ex(options, "if", &interface) ||
        !g_str_equal(json_object_get_string(interface), "none")) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Can't hot-add drive to type other than none: write if=none, then device_add");
        return false;
    }
    if (!co_block_drive_add(hmp->context.blocks, options, BLOCK_IF_NONE, error)) {
        return false;
    }
    hmp_print(hmp, "OK\n");
    return true;
}

bool hmp_drive_del(struct hmp *hmp, struct json_object *args, GError **error)
{
    return co_block_drive_delete(hmp->context.blocks, hmp_str(args, "id"), error);
}

/* ---- Completion ---- */

static void add_drive(const struct block_drive *drive, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(drive->id));
}

static void add_node(struct block_node *node, void *opaque)
{
    if (node->name[0] != '#') {
        g_ptr_array_add(opaque, g_strdup(node->name));
    }
}

void hmp_complete_block(const struct hmp *hmp, unsigned n, GPtrArray *candidates)
{
    if (n == 0) {
        block_drives_foreach(hmp->context.blocks, add_drive, candidates);
        block_graph_foreach(hmp->context.blocks, add_node, candidates);
    }
}
