/* Options: devices, what is behind them, and monitors. */
#include "cli/system_rows.h"

#include <string.h>

#include "block/driver.h"
#include "chardev/chardev.h"
#include "machine/globals.h"
#include "net/net.h"
#include "object/device.h"
#include "object/object.h"

static bool object(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    json_object *type = NULL;

    if (json_object_object_get_ex(given->value, "help", NULL)) {
        const struct object_type *t;

        if (!json_object_object_get_ex(given->value, "qom-type", &type)) {
            o->print = object_types_help("user-creatable", "List of user creatable objects:");
            return true;
        }
        t = object_type_find(json_object_get_string(type));
        if (!t || !object_type_is(t, "user-creatable")) {
            return option_fail(error, "'%s' is not a user creatable object",
                               json_object_get_string(type));
        }
        o->print = object_type_help(t);
        return true;
    }
    g_ptr_array_add(o->objects, (gpointer)given);
    return true;
}

static bool device(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    json_object *driver = NULL;
    const char *name;

    json_object_object_get_ex(given->value, "driver", &driver);
    name = driver ? json_object_get_string(driver) : NULL;
    if (json_object_object_get_ex(given->value, "help", NULL)) {
        o->print = name ? device_type_help(name, error) : device_types_help();
        return o->print != NULL;
    }
    if (!name) {
        return option_fail(error, "Parameter 'driver' is missing");
    }
    g_ptr_array_add(o->devices, (gpointer)given);
    return true;
}

static bool snapshot(struct system_options *o, const struct given *given, void **typed,
                     GError **error)
{
    return o->snapshot = true;
}

static bool global(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    if (!o->globals) {
        o->globals = globals_new();
    }
    return globals_add(o->globals, given->text, error);
}

static bool blockdev(struct system_options *o, const struct given *given, void **typed,
                     GError **error)
{
    g_ptr_array_add(o->blockdevs, (gpointer)given);
    return true;
}

static void add_drive(struct system_options *o, const struct given *given, json_object *value)
{
    struct drive_given drive = {given, value};

    g_array_append_val(o->drives, drive);
}

/* Formats and protocols alike. */
static char *formats_help(void)
{
    const struct qapi_type *drivers = &qapi_type_blockdev_driver;
    GString *text = g_string_new("Supported formats:");

    for (uint32_t i = 0; i < drivers->n_values; i++) {
        if (block_driver_find(drivers->values[i].name)) {
            g_string_append_printf(text, " %s", drivers->values[i].name);
        }
    }
    g_string_append_c(text, '\n');
    return g_string_free(text, FALSE);
}

static bool drive(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    json_object *format;

    if (json_object_object_get_ex(given->value, "format", &format) &&
        option_is_help(json_object_get_string(format))) {
        o->print = formats_help();
        return true;
    }
    if (json_object_object_get_ex(given->value, "help", NULL)) {
        return option_fail(error, "Must specify either driver or file; -drive format=help lists "
                                  "formats");
    }
    add_drive(o, given, json_object_get(given->value));
    return true;
}

/* -hda and the like are -drive with a file and some more. */
static bool drive_file(struct system_options *o, const struct given *given, void **typed,
                       GError **error)
{
    static const struct {
        const char *option, *key, *value, *media;
    } forms[] = {
        {"hda", "index", "0", "disk"},    {"hdb", "index", "1", "disk"},
        {"hdc", "index", "2", "disk"},    {"hdd", "index", "3", "disk"},
        {"cdrom", "index", "2", "cdrom"}, {"pflash", "if", "pflash", "disk"},
    };
    json_object *value = json_object_new_object();

    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        if (g_str_equal(given->row->name, forms[i].option)) {
            json_object_object_add(value, forms[i].key, json_object_new_string(forms[i].value));
            json_object_object_add(value, "media", json_object_new_string(forms[i].media));
        }
    }
    json_object_object_add(value, "file", json_object_new_string(given->text));
    add_drive(o, given, value);
    return true;
}

static bool chardev(struct system_options *o, const struct given *given, void **typed,
                    GError **error)
{
    if (option_is_help(given->text)) {
        o->print = chardev_help();
        return true;
    }
    g_ptr_array_add(o->chardevs, given->text);
    return true;
}

static void add_console(struct system_options *o, enum console_kind kind, const char *text)
{
    struct console console = {.kind = kind, .text = text};

    g_array_append_val(o->consoles, console);
}

static bool serial(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    add_console(o, CONSOLE_SERIAL, given->text);
    return true;
}

static bool monitor(struct system_options *o, const struct given *given, void **typed,
                    GError **error)
{
    add_console(o, CONSOLE_HMP, given->text);
    return true;
}

static bool qmp(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    add_console(o, CONSOLE_QMP, given->text);
    return true;
}

static bool qmp_pretty(struct system_options *o, const struct given *given, void **typed,
                       GError **error)
{
    add_console(o, CONSOLE_QMP_PRETTY, given->text);
    return true;
}

static bool mon(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    g_ptr_array_add(o->mons, g_steal_pointer(typed));
    return true;
}

static bool echr(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    guint64 code;

    bool hex = g_str_has_prefix(given->text, "0x");

    if (!g_ascii_string_to_unsigned(given->text + (hex ? 2 : 0), hex ? 16 : 10, 1, 255, &code,
                                    NULL)) {
        return option_fail(error, "expected the code of a character, 1 to 255");
    }
    o->escape_key = code;
    return true;
}

static bool netdev(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    if (option_is_help(given->text)) {
        o->print = netdev_help();
        return true;
    }
    g_ptr_array_add(o->netdevs, given->text);
    return true;
}

static char *nic_models_help(void)
{
    return g_strdup("Available NIC models for this configuration:\n"
                    "virtio-net-device\nvirtio-net-pci\n");
}

static bool nic(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    if (option_is_help(given->text)) {
        o->print = netdev_help();
    } else if (strstr(given->text, "model=help")) {
        o->print = nic_models_help();
    } else {
        g_ptr_array_add(o->nics, given->text);
    }
    return true;
}

static bool net(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    if (option_is_help(given->text)) {
        o->print = netdev_help();
    } else if (strstr(given->text, "model=help")) {
        o->print = nic_models_help();
    } else {
        g_ptr_array_add(o->nets, given->text);
    }
    return true;
}

static bool display(struct system_options *o, const struct given *given, void **typed,
                    GError **error)
{
    if (option_is_help(given->text)) {
        o->print = g_strdup("Available display backend types:\nnone\n");
        return true;
    }
    if (!g_str_equal(given->text, "none")) {
        return option_fail(error,
                           "displays other than none are not built yet in Nandu " NANDU_VERSION);
    }
    o->display = given->text;
    return true;
}

static bool nographic(struct system_options *o, const struct given *given, void **typed,
                      GError **error)
{
    return o->nographic = true;
}

/* The only one there is has no effect: no device makes sound. */
static bool audiodev(struct system_options *o, const struct given *given, void **typed,
                     GError **error)
{
    return true;
}

static const struct option_row rows[] = {
    {.name = "object",
     .form = OPTION_VALUE,
     .group = "object",
     .implied_key = "qom-type",
     .argument = "TYPE,id=ID[,PROPERTY=VALUE...]",
     .help = "An object; \"-object help\" lists types, \"-object TYPE,help\" properties.",
     .handle = object},
    {.name = "device",
     .form = OPTION_VALUE,
     .group = "device",
     .implied_key = "driver",
     .argument = "TYPE[,id=ID][,bus=BUS][,PROPERTY=VALUE...]",
     .help = "A device; \"-device help\" lists types, \"-device TYPE,help\" properties.",
     .handle = device},
    FLAG("snapshot", snapshot, "Drives' writes go to temporary images: snapshot=on of each -drive."),
    TEXT("global", global, "TYPE.PROPERTY=VALUE",
         "A property of all devices of a type; or driver=TYPE,property=PROPERTY,value=VALUE."),
    {.name = "blockdev",
     .form = OPTION_VALUE,
     .implied_key = "driver",
     .argument = "DRIVER,node-name=NAME[,PROPERTY=VALUE...]",
     .help = "A node of the block graph: an image, or a file that it is in.",
     .handle = blockdev},
    {.name = "drive",
     .form = OPTION_FLAT,
     .group = "drive",
     .argument = "[file=FILE][,if=virtio|pflash|none][,format=FORMAT][,id=ID][,PROPERTY=VALUE...]",
     .help = "An image, and with if=virtio or pflash a device with it.",
     .handle = drive},
    TEXT("hda", drive_file, "FILE", "-drive file=FILE,index=0,media=disk"),
    TEXT("hdb", drive_file, "FILE", "The same with index=1."),
    TEXT("hdc", drive_file, "FILE", "The same with index=2."),
    TEXT("hdd", drive_file, "FILE", "The same with index=3."),
    TEXT("cdrom", drive_file, "FILE", "-drive file=FILE,index=2,media=cdrom"),
    TEXT("pflash", drive_file, "FILE", "-drive file=FILE,if=pflash"),
    {.name = "chardev",
     .form = OPTION_TEXT,
     .group = "chardev",
     .argument = "TYPE,id=ID[,PROPERTY=VALUE...]",
     .help = "A character device; \"-chardev help\" lists types.",
     .handle = chardev},
    TEXT("serial", serial, "DEVICE", "Where a serial port of the machine goes."),
    TEXT("monitor", monitor, "DEVICE", "An HMP monitor."),
    TEXT("qmp", qmp, "DEVICE", "A QMP monitor."),
    TEXT("qmp-pretty", qmp_pretty, "DEVICE",
         "A QMP monitor whose answers are laid out for reading."),
    {.name = "mon",
     .form = OPTION_FLAT,
     .group = "mon",
     .type = &qapi_type_monitor_options,
     .implied_key = "chardev",
     .argument = "[chardev=]ID[,mode=readline|control][,pretty=on|off]",
     .help = "A monitor on a character device.",
     .handle = mon},
    TEXT("echr", echr, "NUMBER",
         "Code of the terminal's escape character, in place of 1 (Ctrl-A)."),
    {.name = "netdev",
     .form = OPTION_TEXT,
     .group = "netdev",
     .argument = "TYPE,id=ID[,PROPERTY=VALUE...]",
     .help = "A network's back end; \"-netdev help\" lists them.",
     .handle = netdev},
    TEXT("nic", nic, "[TYPE][,model=MODEL][,mac=ADDRESS][,PROPERTY=VALUE...]",
         "A network card and its back end; \"none\": no card."),
    TEXT("net", net, "nic|none|TYPE[,PROPERTY=VALUE...]",
         "The older form: all of them are on one hub."),
    TEXT("display", display, "none", "The display."),
    FLAG("nographic", nographic, "No display; serial port and monitor on the terminal."),
    {.name = "audiodev",
     .form = OPTION_VALUE,
     .type = &qapi_type_audiodev_options,
     .implied_key = "driver",
     .argument = "[driver=]none,id=ID",
     .help = "Where sound goes: nowhere.",
     .handle = audiodev},
};

const struct option_table system_device_options = {rows, G_N_ELEMENTS(rows)};
