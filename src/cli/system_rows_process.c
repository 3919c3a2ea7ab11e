/* Options: the process, its log, what it may do; and those of what isn't built yet. */
#include "cli/system_rows.h"

#include "util/trace_control.h"

static bool add_fd(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    g_ptr_array_add(o->add_fds, g_steal_pointer(typed));
    return true;
}

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
    if (option_is_help(given->text)) {
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
    option_keep(&o->msg, &qapi_type_message_options, typed);
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
    option_keep(&o->sandbox, &qapi_type_sandbox_options, typed);
    return true;
}

static bool run_with(struct system_options *o, const struct given *given, void **typed,
                     GError **error)
{
    option_keep(&o->run_with, &qapi_type_run_with_options, typed);
    return true;
}

static bool overcommit(struct system_options *o, const struct given *given, void **typed,
                       GError **error)
{
    const struct qapi_overcommit_options *v = *typed;

    if (v->has_cpu_pm && v->cpu_pm) {
        return option_fail(error,
                           "cpu-pm=on needs KVM, which is not built yet in Nandu " NANDU_VERSION);
    }
    option_keep(&o->overcommit, &qapi_type_overcommit_options, typed);
    return true;
}

static bool compat(struct system_options *o, const struct given *given, void **typed,
                   GError **error)
{
    option_keep(&o->compat, &qapi_type_compat_policy, typed);
    return true;
}

static const struct option_row rows[] = {
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

const struct option_table system_process_options = {rows, G_N_ELEMENTS(rows)};
