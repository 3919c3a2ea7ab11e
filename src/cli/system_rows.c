/* The table of options. Order: as they are listed by -h. */
#include <stdlib.h>
#include <string.h>

#include "chardev/chardev.h"
#include "cli/date.h"
#include "cli/system_options.h"
#include "guest/riscv/riscv.h"
#include "machine/globals.h"
#include "machine/vm.h"
#include "net/net.h"
#include "object/device.h"
#include "object/object.h"
#include "util/trace_control.h"

/* The version of QEMU whose interface this is. */
#define QEMU_VERSION "10.0.2"

static bool fail(GError **error, const char *text)
{
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

/* Takes a typed value over; the later one of two wins. */
static void keep(void *slot, const struct qapi_type *type, void **typed)
{
    void **pointer = slot;

    qapi_free(type, *pointer);
    *pointer = g_steal_pointer(typed);
}

static bool is_help(const char *text)
{
    return g_str_equal(text, "help") || g_str_equal(text, "?");
}

/* ---- Help ---- */

static bool help(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    o->print = system_options_help(o->program, o->arch);
    return true;
}

static bool version(struct system_options *o, const struct given *given, void **typed,
                    GError **error)
{
    /* Under QEMU's name the line is the one that tools parse. */
    o->print =
        g_str_has_prefix(o->program, "qemu-")
            ? g_strdup("QEMU emulator version " QEMU_VERSION " (Nandu " NANDU_VERSION ")\n"
                       "Nandu with the interface of QEMU " QEMU_VERSION "; no code is QEMU's.\n")
            : g_strdup_printf("nandu-system-%s version " NANDU_VERSION "\n", o->arch);
    return true;
}

static gint by_name(gconstpointer a, gconstpointer b)
{
    const struct machine_class *x = *(const struct machine_class *const *)a;
    const struct machine_class *y = *(const struct machine_class *const *)b;

    return strcmp(x->name, y->name);
}

static char *machines_help(const char *arch)
{
    g_autoptr(GPtrArray) classes = machine_list(arch);
    g_autoptr(GString) s = g_string_new("Supported machines are:\n");

    g_ptr_array_sort(classes, by_name);
    for (guint i = 0; i < classes->len; i++) {
        const struct machine_class *class = classes->pdata[i];

        if (class->alias) {
            g_string_append_printf(s, "%-20s %s (alias of %s)\n", class->alias, class->description,
                                   class->name);
        }
        g_string_append_printf(s, "%-20s %s%s%s\n", class->name, class->description,
                               class->is_default ? " (default)" : "",
                               class->deprecated ? " (deprecated)" : "");
    }
    return g_string_free(g_steal_pointer(&s), FALSE);
}

/* ---- Machine ---- */

static bool machine(struct system_options *o, const struct given *given, void **typed,
                    GError **error)
{
    json_object *type = NULL, *accel = NULL;

    json_object_object_get_ex(given->value, "type", &type);
    if (json_object_object_get_ex(given->value, "help", NULL)) {
        g_autofree char *name = NULL;
        const struct object_type *t;

        if (!type) {
            o->print = machines_help(o->arch);
            return true;
        }
        name = g_strdup_printf("%s-machine", json_object_get_string(type));
        t = object_type_find(name);
        if (!t) {
            return fail(error,
                        "unsupported machine type\nUse -machine help to list supported machines");
        }
        o->print = object_type_help(t);
        return true;
    }
    if (json_object_object_get_ex(given->value, "accel", &accel)) {
        g_string_assign(o->accels, json_object_get_string(accel));
    }
    if (type) {
        o->machine = json_object_get_string(type);
    }
    json_object_object_foreach(given->value, key, member)
    {
        if (!g_str_equal(key, "type") && !g_str_equal(key, "accel")) {
            json_object_object_add(o->machine_properties, key, json_object_get(member));
        }
    }
    return true;
}

/* -kernel and the like are properties of the machine. */
static bool machine_property(struct system_options *o, const struct given *given, const char *name)
{
    json_object_object_add(o->machine_properties, name, json_object_new_string(given->text));
    return true;
}

static bool bios(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    return machine_property(o, given, "firmware");
}

static bool kernel(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    return machine_property(o, given, "kernel");
}

static bool initrd(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    return machine_property(o, given, "initrd");
}

static bool append(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    return machine_property(o, given, "append");
}

static bool dtb(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    return machine_property(o, given, "dtb");
}

static bool accel(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    json_object *name = NULL;
    const char *text;

    if (json_object_object_get_ex(given->value, "help", NULL)) {
        o->print = g_strdup("Accelerators supported in QEMU binary:\ntcg\n");
        return true;
    }
    json_object_object_foreach(given->value, key, member)
    {
        if (g_str_equal(key, "accel")) {
            name = member;
        } else if (object_type_property(object_type_find("tcg-accel"), key)) {
            if (!o->accel_properties) {
                o->accel_properties = json_object_new_object();
            }
            json_object_object_add(o->accel_properties, key, json_object_get(member));
        } else {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Invalid parameter '%s'", key);
            return false;
        }
    }
    text = name ? json_object_get_string(name) : "";
    if (!g_str_equal(text, "tcg") && !g_str_equal(text, "kvm")) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "invalid accelerator %s; there are tcg and kvm", text);
        return false;
    }
    /* Each use names one more to try after the others. */
    g_string_append_printf(o->accels, "%s%s", o->accels->len ? ":" : "", text);
    return true;
}

static bool cpu(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    struct riscv_model *model;

    if (is_help(given->text)) {
        o->print = riscv_model_help();
        return true;
    }
    model = riscv_model_parse_machine(given->text, error);
    if (!model) {
        return false;
    }
    riscv_model_free(model);
    o->cpu = given->text;
    return true;
}

static bool smp(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    const struct qapi_smp_configuration *s = *typed;

    if ((s->has_cpus && s->cpus < 1) || (s->has_maxcpus && s->maxcpus < 1) ||
        (s->has_sockets && s->sockets < 1) || (s->has_cores && s->cores < 1) ||
        (s->has_threads && s->threads < 1)) {
        return fail(error,
                    "Invalid CPU topology: CPU topology parameters must be greater than zero");
    }
    keep(&o->smp, &qapi_type_smp_configuration, typed);
    return true;
}

static bool memory(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    struct qapi_memory_options *m = *typed;
    json_object *size = NULL;
    const char *text;

    if (m->has_slots || m->has_maxmem) {
        return fail(error, "plugging memory is not built yet in Nandu " NANDU_VERSION);
    }
    if (!m->has_size) {
        return fail(error, "Parameter 'size' is missing");
    }
    json_object_object_get_ex(given->value, "size", &size);
    text = json_object_get_string(size);
    /* A bare number means MiB here. */
    if (!given->is_json && !keyval_parse_size(text, 'M', &m->size, error)) {
        return false;
    }
    o->ram_size = m->size;
    return true;
}

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
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "'%s' is not a user creatable object", json_object_get_string(type));
            return false;
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
        return fail(error, "Parameter 'driver' is missing");
    }
    g_ptr_array_add(o->devices, (gpointer)given);
    return true;
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

static bool drive(struct system_options *o, const struct given *given, void **typed, GError **error)
{
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

static bool global(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    if (!o->globals) {
        o->globals = globals_new();
    }
    return globals_add(o->globals, given->text, error);
}

static bool name(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    keep(&o->name, &qapi_type_name_options, typed);
    return true;
}

static bool uuid(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    if (!g_uuid_string_is_valid(given->text)) {
        return fail(
            error,
            "failed to parse UUID string: wrong format (expected xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)");
    }
    o->uuid = given->text;
    return true;
}

static bool stopped(struct system_options *o, const struct given *given, void **typed,
                    GError **error)
{
    return o->stopped = true;
}

static bool gdb(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    o->gdb = given->text;
    return true;
}

static bool gdb_default(struct system_options *o, const struct given *given, void **typed,
                        GError **error)
{
    o->gdb = "tcp::1234";
    return true;
}

static bool preconfig(struct system_options *o, const struct given *given, void **typed,
                      GError **error)
{
    return o->preconfig = true;
}

static bool seed(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    if (!g_ascii_string_to_unsigned(given->text, 10, 0, G_MAXUINT64, &o->seed, NULL)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Invalid seed number: %s", given->text);
        return false;
    }
    return o->has_seed = true;
}

/* ---- Back ends and monitors ---- */

static bool chardev(struct system_options *o, const struct given *given, void **typed,
                    GError **error)
{
    if (is_help(given->text)) {
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
        return fail(error, "expected the code of a character, 1 to 255");
    }
    o->escape_key = code;
    return true;
}

static bool netdev(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    if (is_help(given->text)) {
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
    if (is_help(given->text)) {
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
    if (is_help(given->text)) {
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
    if (is_help(given->text)) {
        o->print = g_strdup("Available display backend types:\nnone\n");
        return true;
    }
    if (!g_str_equal(given->text, "none")) {
        return fail(error, "displays other than none are not built yet in Nandu " NANDU_VERSION);
    }
    o->display = given->text;
    return true;
}

static bool nographic(struct system_options *o, const struct given *given, void **typed,
                      GError **error)
{
    return o->nographic = true;
}

static bool add_fd(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    g_ptr_array_add(o->add_fds, g_steal_pointer(typed));
    return true;
}

/* ---- The process ---- */

static bool no_defaults(struct system_options *o, const struct given *given, void **typed,
                        GError **error)
{
    return o->no_defaults = true;
}

static bool no_user_config(struct system_options *o, const struct given *given, void **typed,
                           GError **error)
{
    return o->no_user_config = true;
}

static bool daemonize(struct system_options *o, const struct given *given, void **typed,
                      GError **error)
{
    return o->daemonize = true;
}

static bool pidfile(struct system_options *o, const struct given *given, void **typed,
                    GError **error)
{
    o->pidfile = given->text;
    return true;
}

static bool log_items(struct system_options *o, const struct given *given, void **typed,
                      GError **error)
{
    if (is_help(given->text)) {
        o->print = log_items_help();
        return true;
    }
    o->log_items = given->text;
    return true;
}

static bool log_file(struct system_options *o, const struct given *given, void **typed,
                     GError **error)
{
    o->log_file = given->text;
    return true;
}

static bool log_ranges(struct system_options *o, const struct given *given, void **typed,
                       GError **error)
{
    o->log_ranges = given->text;
    return true;
}

static bool msg(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    keep(&o->msg, &qapi_type_message_options, typed);
    return true;
}

static bool trace(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    g_ptr_array_add(o->traces, g_steal_pointer(typed));
    return true;
}

static bool sandbox(struct system_options *o, const struct given *given, void **typed,
                    GError **error)
{
    keep(&o->sandbox, &qapi_type_sandbox_options, typed);
    return true;
}

static bool run_with(struct system_options *o, const struct given *given, void **typed,
                     GError **error)
{
    keep(&o->run_with, &qapi_type_run_with_options, typed);
    return true;
}

static bool overcommit(struct system_options *o, const struct given *given, void **typed,
                       GError **error)
{
    const struct qapi_overcommit_options *v = *typed;

    if (v->has_cpu_pm && v->cpu_pm) {
        return fail(error, "cpu-pm=on needs KVM, which is not built yet in Nandu " NANDU_VERSION);
    }
    keep(&o->overcommit, &qapi_type_overcommit_options, typed);
    return true;
}

static bool compat(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    keep(&o->compat, &qapi_type_compat_policy, typed);
    return true;
}

static struct qapi_action_options *actions(struct system_options *o)
{
    if (!o->action) {
        o->action = g_new0(struct qapi_action_options, 1);
    }
    return o->action;
}

static bool action(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    const struct qapi_action_options *from = *typed;
    struct qapi_action_options *to = actions(o);

    if (from->has_reboot) {
        to->has_reboot = true;
        to->reboot = from->reboot;
    }
    if (from->has_shutdown) {
        to->has_shutdown = true;
        to->shutdown = from->shutdown;
    }
    if (from->has_panic) {
        to->has_panic = true;
        to->panic = from->panic;
    }
    if (from->has_watchdog) {
        to->has_watchdog = true;
        to->watchdog = from->watchdog;
    }
    return true;
}

static bool no_reboot(struct system_options *o, const struct given *given, void **typed,
                      GError **error)
{
    actions(o)->reboot = QAPI_REBOOT_ACTION_SHUTDOWN;
    return o->action->has_reboot = true;
}

static bool no_shutdown(struct system_options *o, const struct given *given, void **typed,
                        GError **error)
{
    actions(o)->shutdown = QAPI_SHUTDOWN_ACTION_PAUSE;
    return o->action->has_shutdown = true;
}

static bool boot(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    const struct qapi_boot_options *b = *typed;

    if (b->has_reboot_timeout && (b->reboot_timeout < -1 || b->reboot_timeout > 0xffff)) {
        return fail(error, "reboot-timeout is -1 or 0 to 65535 ms");
    }
    keep(&o->boot, &qapi_type_boot_options, typed);
    return true;
}

static bool rtc(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    const struct qapi_rtc_options *r = *typed;

    if (r->has_clock && r->clock != QAPI_RTC_CLOCK_HOST) {
        return fail(error,
                    "a clock of the day that follows another clock than host is not built yet in "
                    "Nandu " NANDU_VERSION);
    }
    if (r->has_driftfix && r->driftfix != QAPI_RTC_DRIFT_FIX_NONE) {
        return fail(error,
                    "driftfix is for a PC's clock, which is not built yet in Nandu " NANDU_VERSION);
    }
    return date_offset(r->base ? r->base : "utc", g_get_real_time(), &o->date_offset, error);
}

/* The only one there is has no effect: no device makes sound. */
static bool audiodev(struct system_options *o, const struct given *given, void **typed,
                     GError **error)
{
    return true;
}

static bool watchdog_action(struct system_options *o, const struct given *given, void **typed,
                            GError **error)
{
    int value = qapi_enum_parse(&qapi_type_watchdog_action, given->text, error);

    if (value < 0) {
        return false;
    }
    actions(o)->watchdog = value;
    return o->action->has_watchdog = true;
}

#define FLAG(name_, handle_, help_)                                          \
    {                                                                        \
        .name = name_, .form = OPTION_FLAG, .help = help_, .handle = handle_ \
    }
#define TEXT(name_, handle_, argument_, help_)                                    \
    {                                                                             \
        .name = name_, .form = OPTION_TEXT, .argument = argument_, .help = help_, \
        .handle = handle_                                                         \
    }
#define LATER(name_, what)                                    \
    {                                                         \
        .name = name_, .form = OPTION_LATER, .argument = what \
    }
#define LATER_FLAG(name_, what)                                    \
    {                                                              \
        .name = name_, .form = OPTION_LATER_FLAG, .argument = what \
    }

const struct option_row system_option_rows[] = {
    FLAG("h", help, NULL),
    FLAG("help", help, "Print this and stop; -h too."),
    FLAG("version", version, "Print the version and stop."),
    {.name = "machine",
     .form = OPTION_VALUE,
     .group = "machine",
     .implied_key = "type",
     .merge = true,
     .argument = "[type=]NAME[,accel=ACCEL[:ACCEL...]][,PROPERTY=VALUE...]",
     .help = "The machine; \"-machine help\" lists them, \"-machine NAME,help\" their properties.",
     .handle = machine},
    {.name = "M",
     .form = OPTION_VALUE,
     .implied_key = "type",
     .help = "The same as -machine.",
     .handle = machine},
    TEXT("cpu", cpu, "MODEL[,FEATURE=on|off...]", "The vCPUs' model; \"-cpu help\" lists them."),
    {.name = "accel",
     .form = OPTION_FLAT,
     .group = "accel",
     .implied_key = "accel",
     .argument = "[accel=]NAME[,PROPERTY=VALUE...]",
     .help = "What runs the vCPUs: tcg (the translator); \"-accel help\" lists them.",
     .handle = accel},
    {.name = "smp",
     .form = OPTION_VALUE,
     .group = "smp-opts",
     .type = &qapi_type_smp_configuration,
     .implied_key = "cpus",
     .merge = true,
     .argument = "[cpus=]N[,maxcpus=N][,sockets=N][,cores=N][,threads=N]",
     .help = "Number of vCPUs.",
     .handle = smp},
    {.name = "m",
     .form = OPTION_FLAT,
     .group = "memory",
     .type = &qapi_type_memory_options,
     .implied_key = "size",
     .merge = true,
     .argument = "[size=]SIZE",
     .help = "Memory, in MiB or with a suffix k, M, G, T.",
     .handle = memory},
    TEXT("bios", bios, "FILE|default|none",
         "The firmware; the default is OpenSBI's of the package opensbi."),
    TEXT("kernel", kernel, "FILE",
         "The kernel: an ELF file or an Image, packed by gzip or zstd or not."),
    TEXT("initrd", initrd, "FILE", "The kernel's initial RAM disk."),
    TEXT("append", append, "TEXT", "The kernel's command line."),
    TEXT("dtb", dtb, "FILE", "A device tree in place of the machine's own."),
    {.name = "boot",
     .form = OPTION_FLAT,
     .group = "boot-opts",
     .type = &qapi_type_boot_options,
     .merge = true,
     .argument = "[menu=on|off][,strict=on|off][,reboot-timeout=MS]",
     .help = "What firmware does; the order is that of the devices' bootindex.",
     .handle = boot},
    {.name = "rtc",
     .form = OPTION_FLAT,
     .group = "rtc",
     .type = &qapi_type_rtc_options,
     .merge = true,
     .argument = "[base=utc|localtime|DATE][,clock=host]",
     .help = "The date that the machine starts with.",
     .handle = rtc},
    {.name = "audiodev",
     .form = OPTION_VALUE,
     .type = &qapi_type_audiodev_options,
     .implied_key = "driver",
     .argument = "[driver=]none,id=ID",
     .help = "Where sound goes: nowhere.",
     .handle = audiodev},
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
    TEXT("global", global, "TYPE.PROPERTY=VALUE",
         "A property of all devices of a type; or driver=TYPE,property=PROPERTY,value=VALUE."),
    {.name = "name",
     .form = OPTION_FLAT,
     .group = "name",
     .type = &qapi_type_name_options,
     .implied_key = "guest",
     .merge = true,
     .argument = "[guest=]NAME[,process=NAME][,debug-threads=on|off]",
     .help = "The machine's name.",
     .handle = name},
    TEXT("uuid", uuid, "UUID", "The machine's UUID."),
    FLAG("S", stopped, "Start stopped; \"cont\" starts the machine."),
    TEXT("gdb", gdb, "DEVICE", "Wait for gdb there (tcp::PORT, unix:PATH,server=on, ...)."),
    FLAG("s", gdb_default, "-gdb tcp::1234"),
    FLAG("preconfig", preconfig, "Wait for x-exit-preconfig before the machine is made."),
    TEXT("seed", seed, "NUMBER", "Make the guest's random numbers repeatable."),
    {.name = "action",
     .form = OPTION_FLAT,
     .group = "action",
     .type = &qapi_type_action_options,
     .argument = "reboot=...|shutdown=...|panic=...|watchdog=...",
     .help = "What happens when the guest reboots, shuts down, panics, or its watchdog expires.",
     .handle = action},
    FLAG("no-reboot", no_reboot, "-action reboot=shutdown"),
    FLAG("no-shutdown", no_shutdown, "-action shutdown=pause"),
    TEXT("watchdog-action", watchdog_action, "ACTION", "-action watchdog=ACTION"),
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
    {.name = "add-fd",
     .form = OPTION_FLAT,
     .group = "add-fd",
     .type = &qapi_type_add_fd_options,
     .argument = "fd=N,set=N[,opaque=TEXT]",
     .help = "Put an inherited descriptor into a set: /dev/fdset/N.",
     .handle = add_fd},
    TEXT("set", NULL, "GROUP.ID.KEY=VALUE", "Change an option given before."),
    TEXT("readconfig", NULL, "FILE", "Take options from a file."),
    TEXT("writeconfig", NULL, "FILE", "Write what was given to a file (- for standard output)."),
    FLAG("nodefaults", no_defaults, "No default monitor, serial port or devices."),
    FLAG("no-user-config", no_user_config, "Read no configuration of the user's (there is none)."),
    FLAG("daemonize", daemonize, "Go to the background once start-up is over."),
    TEXT("pidfile", pidfile, "FILE", "Write the process id to a file."),
    TEXT("d", log_items, "ITEM[,...]", "Log; \"-d help\" lists items."),
    TEXT("D", log_file, "FILE", "Where the log goes."),
    TEXT("dfilter", log_ranges, "RANGE[,...]",
         "What of the guest's code is logged: addresses FIRST..LAST, FIRST+SIZE."),
    {.name = "msg",
     .form = OPTION_FLAT,
     .group = "msg",
     .type = &qapi_type_message_options,
     .merge = true,
     .argument = "[timestamp=on|off][,guest-name=on|off]",
     .help = "How messages begin.",
     .handle = msg},
    {.name = "trace",
     .form = OPTION_FLAT,
     .group = "trace",
     .type = &qapi_type_trace_options,
     .implied_key = "enable",
     .argument = "[[enable=]PATTERN][,events=FILE][,file=FILE]",
     .help = "Trace events; \"-trace help\" lists them.",
     .handle = trace,
     .handle_help = trace_help},
    {.name = "sandbox",
     .form = OPTION_FLAT,
     .group = "sandbox",
     .type = &qapi_type_sandbox_options,
     .implied_key = "enable",
     .merge = true,
     .argument = "on|off[,obsolete=...][,elevateprivileges=...][,spawn=...][,resourcecontrol=...]",
     .help = "Deny system calls that aren't needed once start-up is over. Default: on.",
     .handle = sandbox},
    {.name = "run-with",
     .form = OPTION_FLAT,
     .group = "run-with",
     .type = &qapi_type_run_with_options,
     .merge = true,
     .argument = "[chroot=DIR][,user=NAME|UID:GID][,async-teardown=on|off]",
     .help = "Who and where the process is once start-up is over.",
     .handle = run_with},
    {.name = "overcommit",
     .form = OPTION_FLAT,
     .group = "overcommit",
     .type = &qapi_type_overcommit_options,
     .merge = true,
     .argument = "[mem-lock=off|on|on-fault]",
     .help = "Lock memory.",
     .handle = overcommit},
    {.name = "compat",
     .form = OPTION_VALUE,
     .group = "compat",
     .type = &qapi_type_compat_policy,
     .merge = true,
     .argument =
         "[deprecated-input=...][,deprecated-output=...][,unstable-input=...][,unstable-output=...]",
     .help = "What to do with deprecated and unstable parts of QMP.",
     .handle = compat},

    LATER("shim", "booting a kernel is"),
    LATER("L", "firmware is"),
    LATER("icount", "counting instructions is"),
    LATER("numa", "NUMA is"),
    LATER("mem-path", "(use -object memory-backend-file) this form is"),
    LATER_FLAG("mem-prealloc", "(use prealloc=on of a memory back end) this form is"),
    LATER("fda", "floppy disks are"),
    LATER("fdb", "floppy disks are"),
    LATER("sd", "SD cards are"),
    LATER("mtdblock", "flash memory of this kind is"),
    LATER_FLAG("snapshot", "throwing writes away is"),
    LATER("iscsi", "block devices are"),
    LATER("fsdev", "shared folders are"),
    LATER("virtfs", "shared folders are"),
    LATER("vnc", "VNC is"),
    LATER("spice", "SPICE is"),
    LATER("vga", "displays are"),
    LATER("k", "keyboard layouts are"),
    LATER_FLAG("full-screen", "displays are"),
    LATER("audio", "sound is"),
    LATER_FLAG("usb", "USB is"),
    LATER("usbdevice", "USB is"),
    LATER("tpmdev", "a TPM is"),
    LATER("smbios", "SMBIOS is"),
    LATER("acpitable", "ACPI is"),
    LATER("fw_cfg", "fw_cfg is"),
    LATER("parallel", "parallel ports are"),
    LATER("debugcon", "the debug port is"),
    LATER("plugin", "plugins are"),
    LATER("loadvm", "snapshots are"),
    LATER("incoming", "migration is"),
    LATER_FLAG("only-migratable", "migration is"),
    LATER("dump-vmstate", "migration is"),
    LATER("option-rom", "option ROMs are"),
    LATER_FLAG("semihosting", "semihosting is"),
    LATER("semihosting-config", "semihosting is"),
    LATER_FLAG("enable-kvm", "KVM is"),
    LATER("qtest", "the test accelerator is"),
    LATER("qtest-log", "the test accelerator is"),
    LATER_FLAG("perfmap", "a perf map of machines is"),
    LATER_FLAG("jitdump", "a jitdump of machines is"),
    LATER_FLAG("enable-sync-profile", "profiling locks is"),
    LATER("runas", "(use -run-with user=) this form is"),
    LATER("chroot", "(use -run-with chroot=) this form is"),
};

const size_t system_n_option_rows = G_N_ELEMENTS(system_option_rows);
