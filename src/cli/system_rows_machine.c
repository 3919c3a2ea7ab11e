/* Options: what the machine is, and how it starts and ends. */
#include "cli/system_rows.h"

#include <stdlib.h>
#include <string.h>

#include "cli/date.h"
#include "guest/riscv/riscv.h"
#include "machine/vm.h"
#include "object/object.h"

/* The version of QEMU whose interface this is. */
#define QEMU_VERSION "10.0.2"

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
            return option_fail(
                error, "unsupported machine type\nUse -machine help to list supported machines");
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

/* thread=: who runs the vCPUs. Other properties are the accelerator's, which is tried out. */
static bool set_accel_property(struct system_options *o, const char *key, json_object *value,
                               GError **error)
{
    const char *text = json_object_get_string(value);
    auto_ptr(object) trial = NULL;

    if (g_str_equal(key, "thread")) {
        o->single_thread = g_str_equal(text, "single");
        return o->single_thread || g_str_equal(text, "multi") ||
               option_fail(error, "Invalid 'thread' setting %s", text);
    }
    trial = object_new(object_type_find("tcg-accel"));
    if (!object_set(trial, key, value, true, error)) {
        return false;
    }
    if (!o->accel_properties) {
        o->accel_properties = json_object_new_object();
    }
    json_object_object_add(o->accel_properties, key, json_object_get(value));
    return true;
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
        } else if (!set_accel_property(o, key, member, error)) {
            return false;
        }
    }
    text = name ? json_object_get_string(name) : "";
    if (!g_str_equal(text, "tcg") && !g_str_equal(text, "kvm")) {
        return option_fail(error, "invalid accelerator %s; there are tcg and kvm", text);
    }
    /* Each use names one more to try after the others. */
    g_string_append_printf(o->accels, "%s%s", o->accels->len ? ":" : "", text);
    return true;
}

static bool cpu(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    struct riscv_model *model;

    if (option_is_help(given->text)) {
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
        return option_fail(
            error, "Invalid CPU topology: CPU topology parameters must be greater than zero");
    }
    option_keep(&o->smp, &qapi_type_smp_configuration, typed);
    return true;
}

static bool memory(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    struct qapi_memory_options *m = *typed;
    json_object *size = NULL;
    const char *text;

    if (m->has_slots || m->has_maxmem) {
        return option_fail(error, "plugging memory is not built yet in Nandu " NANDU_VERSION);
    }
    if (!m->has_size) {
        return option_fail(error, "Parameter 'size' is missing");
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

static bool boot(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    const struct qapi_boot_options *b = *typed;

    if (b->has_reboot_timeout && (b->reboot_timeout < -1 || b->reboot_timeout > 0xffff)) {
        return option_fail(error, "reboot-timeout is -1 or 0 to 65535 ms");
    }
    option_keep(&o->boot, &qapi_type_boot_options, typed);
    return true;
}

static bool rtc(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    const struct qapi_rtc_options *r = *typed;

    if (r->has_clock && r->clock != QAPI_RTC_CLOCK_HOST) {
        return option_fail(
            error, "a clock of the day that follows another clock than host is not built yet in "
                   "Nandu " NANDU_VERSION);
    }
    if (r->has_driftfix && r->driftfix != QAPI_RTC_DRIFT_FIX_NONE) {
        return option_fail(
            error, "driftfix is for a PC's clock, which is not built yet in Nandu " NANDU_VERSION);
    }
    return date_offset(r->base ? r->base : "utc", g_get_real_time(), &o->date_offset, error);
}

static bool name(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    option_keep(&o->name, &qapi_type_name_options, typed);
    return true;
}

static bool uuid(struct system_options *o, const struct given *given, void **typed, GError **error)
{
    if (!g_uuid_string_is_valid(given->text)) {
        return option_fail(error, "failed to parse UUID string: wrong format "
                                  "(expected xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)");
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
        return option_fail(error, "Invalid seed number: %s", given->text);
    }
    return o->has_seed = true;
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

static const struct option_row rows[] = {
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
     .argument = "[accel=]NAME[,thread=multi|single][,PROPERTY=VALUE...]",
     .help = "What runs the vCPUs: tcg (the translator); \"-accel help\" lists them. Each has a\n"
             "thread of its own; thread=single is for machines of one vCPU.",
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
};

const struct option_table system_machine_options = {rows, G_N_ELEMENTS(rows)};
