/* The commands of HMP, but for info's. */
#include "monitor/hmp.h"

#include <string.h>

#include "monitor/hmp_block.h"
#include "monitor/hmp_debug.h"
#include "monitor/hmp_net.h"
#include "monitor/hmp_devices.h"
#include "object/object.h"
#include "qapi/keyval.h"
#include "qapi/qapi_types.h"
#include "util/log.h"
#include "util/trace_control.h"

static bool help(struct hmp *hmp, struct json_object *args, GError **error)
{
    hmp_help(hmp, &hmp_table, "", hmp_str(args, "name"));
    return true;
}

static void print_character(struct hmp *hmp, unsigned char c)
{
    if (c == '\n' || c == '\r') {
        hmp_print(hmp, c == '\n' ? "'\\n'\n" : "'\\r'\n");
    } else if (c < ' ' || c >= 0x7f) {
        hmp_print(hmp, "'\\x%02x'\n", c);
    } else {
        hmp_print(hmp, "'%s%c'\n", c == '\'' || c == '\\' ? "\\" : "", c);
    }
}

/* print/x: the format is d, u, o, x or c. */
static bool print(struct hmp *hmp, struct json_object *args, GError **error)
{
    const char *format = hmp_str(args, "fmt");
    int64_t value = hmp_int(args, "val");

    switch (format ? format[0] : 'x') {
    case 'd': hmp_print(hmp, "%" G_GINT64_FORMAT "\n", value); break;
    case 'u': hmp_print(hmp, "%" G_GUINT64_FORMAT "\n", (uint64_t)value); break;
    case 'o': hmp_print(hmp, "%#" G_GINT64_MODIFIER "o\n", (uint64_t)value); break;
    case 'x': hmp_print(hmp, "%#" G_GINT64_MODIFIER "x\n", (uint64_t)value); break;
    case 'c': print_character(hmp, (unsigned char)value); break;
    default:
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "format '%s' isn't one of d, u, o, x, c",
                    format);
        return false;
    }
    return true;
}

/* ---- Objects ---- */

static bool object_add(struct hmp *hmp, struct json_object *args, GError **error)
{
    bool want_help = false;
    g_autoptr(json_object) options =
        keyval_parse(hmp_str(args, "object"), "qom-type", &want_help, error);
    g_autofree char *text = NULL;
    const char *name;
    const struct object_type *type;

    if (!want_help) {
        return options && object_create_user(hmp->context.root, options, true, error);
    }
    name = options ? hmp_str(options, "qom-type") : NULL;
    type = name ? object_type_find(name) : NULL;
    if (name && (!type || !object_type_is(type, "user-creatable"))) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Parameter 'qom-type' does not accept value '%s'", name);
        return false;
    }
    text = type ? object_type_help(type)
                : object_types_help("user-creatable", "List of user creatable objects:");
    hmp_print(hmp, "%s", text);
    return true;
}

static bool visit_id(struct object *obj, void *opaque)
{
    GPtrArray *candidates = opaque;

    g_ptr_array_add(candidates, g_strdup(obj->name));
    return true;
}

static void complete_children(const struct hmp *hmp, const char *path, GPtrArray *candidates)
{
    object_foreach_child(object_container(hmp->context.root, path), visit_id, candidates);
}

static void complete_object(const struct hmp *hmp, unsigned n, GPtrArray *candidates)
{
    if (n == 0) {
        complete_children(hmp, "/objects", candidates);
    }
}

static void complete_object_type(const struct hmp *hmp, unsigned n, GPtrArray *candidates)
{
    g_autoptr(GPtrArray) types = object_type_list("user-creatable", false);

    for (guint i = 0; n == 0 && i < types->len; i++) {
        const struct object_type *type = types->pdata[i];

        g_ptr_array_add(candidates, g_strdup(type->name));
    }
}

static bool qom_list(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) list = NULL;

    if (!hmp_str(args, "path")) {
        hmp_print(hmp, "/\n");
        return true;
    }
    if (!hmp_call(hmp, "qom-list", args, &list, error)) {
        return false;
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *row = json_object_array_get_idx(list, i);

        hmp_print(hmp, "%s (%s)\n", hmp_str(row, "name"), hmp_str(row, "type"));
    }
    return true;
}

static bool qom_get(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) value = NULL;
    g_autofree char *text = NULL;

    if (!hmp_call(hmp, "qom-get", args, &value, error)) {
        return false;
    }
    text = json_print(value, true);
    hmp_print(hmp, "%s\n", text);
    return true;
}

/* A value is text as on a command line, or with -j JSON. */
static bool qom_set(struct hmp *hmp, struct json_object *args, GError **error)
{
    const char *path = hmp_str(args, "path"), *text = hmp_str(args, "value");
    GError *failed = NULL;
    struct object *obj;
    bool ambiguous = false;

    if (hmp_bool(args, "json")) {
        json_object *value = json_parse(text, &failed);

        if (failed) {
            g_propagate_error(error, failed);
            return false;
        }
        json_object_object_del(args, "json");
        json_object_object_add(args, "value", value);
        return hmp_call(hmp, "qom-set", args, NULL, error);
    }
    obj = object_resolve(hmp->context.root, path, NULL, &ambiguous);
    if (!obj) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND,
                    ambiguous ? "Path '%s' is ambiguous" : "Device '%s' not found", path);
        return false;
    }
    return object_set_str(obj, hmp_str(args, "property"), text, error);
}

/* ---- Character devices ---- */

/* The backend as QMP takes it. *id is NULL if the text has none. */
static json_object *parse_chardev(struct json_object *args, char **id, GError **error)
{
    struct qapi_chardev_backend backend = {0};
    json_object *json = NULL;

    if (chardev_parse_option(hmp_str(args, "args"), id, &backend, NULL, error)) {
        json = qapi_to_json(&qapi_type_chardev_backend, &backend);
    }
    qapi_clear(&qapi_type_chardev_backend, &backend);
    return json;
}

static bool call_chardev(struct hmp *hmp, const char *command, const char *id, json_object *backend,
                         GError **error)
{
    g_autoptr(json_object) args = json_object_new_object(), value = NULL;
    const char *pty;

    json_object_object_add(args, "id", json_object_new_string(id));
    json_object_object_add(args, "backend", backend);
    if (!hmp_call(hmp, command, args, &value, error)) {
        return false;
    }
    pty = hmp_str(value, "pty");
    if (pty) {
        hmp_print(hmp, "char device redirected to %s (label %s)\n", pty, id);
    }
    return true;
}

static bool chardev_add_row(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autofree char *id = NULL;
    g_autoptr(json_object) backend = parse_chardev(args, &id, error);

    if (!backend) {
        return false;
    }
    if (!id) {
        g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "chardev: no id specified");
        return false;
    }
    return call_chardev(hmp, "chardev-add", id, g_steal_pointer(&backend), error);
}

static bool chardev_change_row(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autofree char *id = NULL;
    g_autoptr(json_object) backend = parse_chardev(args, &id, error);

    if (!backend) {
        return false;
    }
    if (id && !g_str_equal(id, hmp_str(args, "id"))) {
        g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                            "the id goes in front of the back end, and stays as it is");
        return false;
    }
    return call_chardev(hmp, "chardev-change", hmp_str(args, "id"), g_steal_pointer(&backend),
                        error);
}

static void complete_chardev(const struct hmp *hmp, unsigned n, GPtrArray *candidates)
{
    if (n == 0) {
        complete_children(hmp, "/chardevs", candidates);
    }
}

static void complete_backend(const struct hmp *hmp, unsigned n, GPtrArray *candidates)
{
    for (int i = 0; n == 0 && i < QAPI_CHARDEV_BACKEND_KIND__COUNT; i++) {
        g_ptr_array_add(candidates, g_strdup(qapi_enum_name(&qapi_type_chardev_backend_kind, i)));
    }
}

/* Control characters would confuse the terminal. */
static bool ringbuf_read(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) data = NULL;

    if (!hmp_call(hmp, "ringbuf-read", args, &data, error)) {
        return false;
    }
    for (const char *at = json_object_get_string(data); *at; at++) {
        if (*at == '\\') {
            hmp_print(hmp, "\\\\");
        } else if (((unsigned char)*at < ' ' && *at != '\n') || *at == 0x7f) {
            hmp_print(hmp, "\\u%04X", (unsigned)*at);
        } else {
            hmp_print(hmp, "%c", *at);
        }
    }
    hmp_print(hmp, "\n");
    return true;
}

/* ---- The log ---- */

static char *log_help(void)
{
    return log_items_help();
}

static bool log_row(struct hmp *hmp, struct json_object *args, GError **error)
{
    const char *items = hmp_str(args, "items");

    if (g_str_equal(items, "help") || g_str_equal(items, "?")) {
        g_autofree char *text = log_items_help();

        hmp_print(hmp, "%s", text);
        return true;
    }
    return log_set_items(hmp->log, items, error);
}

static bool logfile(struct hmp *hmp, struct json_object *args, GError **error)
{
    return log_set_file(hmp->log, hmp_str(args, "filename"), error);
}

static void add_event(void *opaque, enum trace_event event, const char *name, bool enabled)
{
    g_ptr_array_add(opaque, g_strdup(name));
}

static void complete_trace_event(const struct hmp *hmp, unsigned n, GPtrArray *candidates)
{
    if (n == 0) {
        trace_foreach(hmp->log, "*", add_event, candidates);
    } else if (n == 1) {
        g_ptr_array_add(candidates, g_strdup("on"));
        g_ptr_array_add(candidates, g_strdup("off"));
    }
}

/* ---- The machine ---- */

static bool watchdog_action(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) actions = json_object_new_object();

    json_object_object_add(actions, "watchdog", json_object_new_string(hmp_str(args, "action")));
    return hmp_call(hmp, "set-action", actions, NULL, error);
}

static void complete_watchdog_action(const struct hmp *hmp, unsigned n, GPtrArray *candidates)
{
    for (int i = 0; n == 0 && i < QAPI_WATCHDOG_ACTION__COUNT; i++) {
        g_ptr_array_add(candidates, g_strdup(qapi_enum_name(&qapi_type_watchdog_action, i)));
    }
}

/* The command counts bytes, people mebibytes. */
static bool balloon(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autoptr(json_object) bytes = json_object_new_object();
    int64_t value;

    if (__builtin_mul_overflow(hmp_int(args, "value"), INT64_C(1) << 20, &value)) {
        value = INT64_MAX;
    }
    json_object_object_add(bytes, "value", json_object_new_int64(value));
    return hmp_call(hmp, "balloon", bytes, NULL, error);
}

static const struct hmp_row rows[] = {
    {.name = "balloon",
     .args = "value:l",
     .params = "target",
     .run = balloon,
     .help = "ask the guest to make do with so many MiB of memory"},
    {.name = "block_resize",
     .args = "device:s,size:s",
     .params = "device size",
     .run = hmp_block_resize,
     .complete = hmp_complete_block,
     .help = "change the size of an image (MiB without a suffix)"},
    {.name = "chardev-add",
     .args = "args:S",
     .params = "args",
     .run = chardev_add_row,
     .complete = complete_backend,
     .help = "add a character device, as -chardev does"},
    {.name = "chardev-change",
     .args = "id:s,args:S",
     .params = "id args",
     .run = chardev_change_row,
     .complete = complete_chardev,
     .help = "put another back end behind a character device"},
    {.name = "chardev-remove",
     .args = "id:s",
     .params = "id",
     .command = "chardev-remove",
     .complete = complete_chardev,
     .help = "remove a character device"},
    {.name = "chardev-send-break",
     .args = "id:s",
     .params = "id",
     .command = "chardev-send-break",
     .complete = complete_chardev,
     .help = "send a break on a character device"},
    {.name = "closefd",
     .args = "fdname:s",
     .params = "name",
     .command = "closefd",
     .help = "close a descriptor that getfd gave a name"},
    {.name = "cont|c", .params = "", .command = "cont", .help = "let the machine run"},
    {.name = "cpu",
     .args = "index:i",
     .params = "index",
     .run = hmp_cpu,
     .help = "choose the vCPU that commands are about"},
    {.name = "device_add",
     .args = "device:S",
     .params = "driver[,prop=value][,...]",
     .run = hmp_device_add,
     .complete = hmp_complete_device_type,
     .help = "add a device, as -device does"},
    {.name = "device_del",
     .args = "id:s",
     .params = "device",
     .command = "device_del",
     .complete = hmp_complete_device,
     .help = "remove a device"},
    {.name = "drive_add",
     .args = "address:s,opts:S",
     .params = "address if=none[,file=file][,id=id][,property=value...]",
     .run = hmp_drive_add,
     .help = "make a drive, as -drive does; the address doesn't matter"},
    {.name = "drive_del",
     .args = "id:s",
     .params = "id",
     .run = hmp_drive_del,
     .complete = hmp_complete_block,
     .help = "give up a drive that no device uses"},
    {.name = "exit_preconfig",
     .params = "",
     .command = "x-exit-preconfig",
     .help = "make the machine, which --preconfig put off"},
    {.name = "gdbserver",
     .args = "device:s?",
     .params = "[device]",
     .run = hmp_gdbserver,
     .help = "wait for gdb on a device (tcp::1234), as -gdb does; 'none': don't"},
    {.name = "getfd",
     .args = "fdname:s",
     .params = "name",
     .command = "getfd",
     .help = "give a name to a descriptor that came over the socket (SCM_RIGHTS)"},
    {.name = "gpa2hva",
     .args = "addr:l",
     .params = "addr",
     .run = hmp_gpa2hva,
     .help = "show where a guest-physical address is in this program's memory"},
    {.name = "gva2gpa",
     .args = "addr:l",
     .params = "addr",
     .run = hmp_gva2gpa,
     .help = "show where a virtual address leads"},
    {.name = "help|?",
     .args = "name:S?",
     .params = "[cmd]",
     .run = help,
     .help = "show this list, or one of it"},
    {.name = "hostfwd_add",
     .args = "id:s,rule:s?",
     .params = "[netdev_id] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport",
     .run = hmp_hostfwd_add,
     .complete = hmp_complete_netdev,
     .help = "lead a port of the host to the guest, on a netdev of type user"},
    {.name = "hostfwd_remove",
     .args = "id:s,rule:s?",
     .params = "[netdev_id] [tcp|udp]:[hostaddr]:hostport",
     .run = hmp_hostfwd_remove,
     .complete = hmp_complete_netdev,
     .help = "undo hostfwd_add or hostfwd="},
    {.name = "info",
     .params = "[subcommand]",
     .sub = &hmp_info_table,
     .help = "show the state of something"},
    {.name = "log",
     .args = "items:s",
     .params = "item1[,...]",
     .run = log_row,
     .more_help = log_help,
     .help = "log just these items; 'none': nothing"},
    {.name = "logfile",
     .args = "filename:s",
     .params = "filename",
     .run = logfile,
     .help = "write the log to 'filename'"},
    {.name = "memsave",
     .args = "val:l,size:i,filename:s",
     .params = "addr size file",
     .run = hmp_memsave,
     .help = "write memory at a virtual address to a file"},
    {.name = "netdev_add",
     .args = "device:S",
     .params = "type,id=str[,prop=value][,...]",
     .run = hmp_netdev_add,
     .help = "make a network's back end, as -netdev does"},
    {.name = "netdev_del",
     .args = "id:s",
     .params = "id",
     .command = "netdev_del",
     .complete = hmp_complete_netdev,
     .help = "remove a network's back end"},
    {.name = "nmi", .params = "", .run = hmp_nmi, .help = "inject a non-maskable interrupt"},
    {.name = "object_add",
     .args = "object:S",
     .params = "[qom-type=]type,id=str[,prop=value][,...]",
     .run = object_add,
     .complete = complete_object_type,
     .help = "create an object, as -object does"},
    {.name = "object_del",
     .args = "id:s",
     .params = "id",
     .command = "object-del",
     .complete = complete_object,
     .help = "remove an object"},
    {.name = "pmemsave",
     .args = "val:l,size:i,filename:s",
     .params = "addr size file",
     .command = "pmemsave",
     .help = "write memory at a guest-physical address to a file"},
    {.name = "print|p",
     .args = "fmt:/,val:l",
     .params = "/fmt expr",
     .run = print,
     .help = "compute an expression; formats are d, u, o, x, c"},
    {.name = "qom-get",
     .args = "path:s,property:s",
     .params = "path property",
     .run = qom_get,
     .help = "show a property of an object"},
    {.name = "qom-list",
     .args = "path:s?",
     .params = "path",
     .run = qom_list,
     .help = "list an object's properties and the objects below it"},
    {.name = "qom-set",
     .args = "json:-j,path:s,property:s,value:S",
     .params = "[-j] path property value",
     .run = qom_set,
     .help = "set a property of an object\n\t\t\t-j: the value is JSON"},
    {.name = "quit|q", .params = "", .command = "quit", .help = "end the program"},
    {.name = "ringbuf_read",
     .args = "device:s,size:i",
     .params = "device size",
     .run = ringbuf_read,
     .complete = complete_chardev,
     .help = "read from a ring buffer"},
    {.name = "ringbuf_write",
     .args = "device:s,data:s",
     .params = "device data",
     .command = "ringbuf-write",
     .complete = complete_chardev,
     .help = "write to a ring buffer"},
    {.name = "set_link",
     .args = "name:s,up:b",
     .params = "name on|off",
     .run = hmp_set_link,
     .complete = hmp_complete_link,
     .help = "take the link of a network card or its back end up or down"},
    {.name = "stop|s", .params = "", .command = "stop", .help = "stop the machine"},
    {.name = "sum",
     .args = "start:l,size:i",
     .params = "addr size",
     .run = hmp_sum,
     .help = "compute the checksum of guest-physical memory"},
    {.name = "system_powerdown",
     .params = "",
     .command = "system_powerdown",
     .help = "press the machine's power button"},
    {.name = "system_reset", .params = "", .command = "system_reset", .help = "reset the machine"},
    {.name = "system_wakeup",
     .params = "",
     .command = "system_wakeup",
     .help = "wake a suspended machine"},
    {.name = "trace-event",
     .args = "name:s,enable:b",
     .params = "name on|off",
     .command = "trace-event-set-state",
     .complete = complete_trace_event,
     .help = "switch trace events, of a name or a pattern with *"},
    {.name = "watchdog_action",
     .args = "action:s",
     .params = "[reset|shutdown|poweroff|pause|debug|none|inject-nmi]",
     .run = watchdog_action,
     .complete = complete_watchdog_action,
     .help = "what the watchdog does when it expires"},
    {.name = "x",
     .args = "fmt:f,addr:l",
     .params = "/fmt addr",
     .run = hmp_x,
     .help = "show memory at a virtual address; /4xw: 4 words in hexadecimal, /5i: 5 instructions"},
    {.name = "xp",
     .args = "fmt:f,addr:l",
     .params = "/fmt addr",
     .run = hmp_xp,
     .help = "show memory at a guest-physical address"},
};
const struct hmp_table hmp_table = {rows, G_N_ELEMENTS(rows)};
