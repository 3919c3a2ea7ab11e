/*
 * The command line of nandu-system-ARCH: options and forms as qemu-system-ARCH's. Tables of rows
 * (system_rows_*.c) say what each option takes; parsing has two steps, so that -readconfig, -set
 * and -writeconfig see all of it: first everything is collected as JSON values, then each row's
 * handler stores its value below.
 */
#ifndef NANDU_CLI_SYSTEM_OPTIONS_H
#define NANDU_CLI_SYSTEM_OPTIONS_H

#include "qapi/keyval.h"
#include "qapi/qapi_types.h"
#include "util/log.h"

struct globals;
struct option_row;

/* One use of an option. */
struct given {
    const struct option_row *row;
    char *text;         /* as given; NULL: an option without argument, or from a file */
    json_object *value; /* of the key=value and JSON forms; else NULL */
    bool is_json;       /* value's scalars are JSON's, not strings */
};

/* What -serial, -monitor and -qmp make, in their order. */
enum console_kind { CONSOLE_SERIAL, CONSOLE_HMP, CONSOLE_QMP, CONSOLE_QMP_PRETTY };
struct console {
    enum console_kind kind;
    const char *text;
};

/* What -drive and its abbreviations make. */
struct drive_given {
    const struct given *given;
    json_object *value; /* of -drive's form; owned */
};

struct system_options {
    const char *program; /* basename of argv[0] */
    const char *arch;
    GPtrArray *given; /* struct given; owns all texts and values that are pointed to below */
    char *print;      /* a help text was asked for: print it and stop. Owned */

    const char *machine;             /* NULL: default */
    json_object *machine_properties; /* key=value strings; owned */
    GString *accels;                 /* "kvm:tcg"; empty: default */
    json_object *accel_properties;   /* key=value strings; owned; NULL: none */
    bool single_thread;              /* -accel thread=single */
    const char *cpu;                 /* NULL: default */
    uint64_t ram_size;               /* bytes */
    struct qapi_name_options *name;
    struct qapi_message_options *msg;
    struct qapi_sandbox_options *sandbox;
    struct qapi_run_with_options *run_with;
    struct qapi_action_options *action;
    struct qapi_overcommit_options *overcommit;
    struct qapi_boot_options *boot;
    struct qapi_smp_configuration *smp;
    struct qapi_compat_policy *compat;
    GPtrArray *add_fds;               /* struct qapi_add_fd_options */
    GPtrArray *mons;                  /* struct qapi_monitor_options */
    GPtrArray *traces;                /* struct qapi_trace_options */
    GPtrArray *objects;               /* struct given, borrowed */
    GPtrArray *devices;               /* struct given, borrowed */
    struct globals *globals;          /* NULL: none */
    GPtrArray *chardevs;              /* const char *, borrowed */
    GPtrArray *blockdevs;             /* struct given, borrowed */
    GArray *drives;                   /* struct drive_given */
    GPtrArray *netdevs, *nics, *nets; /* of -netdev, -nic, -net: const char *, borrowed */
    GArray *consoles;                 /* struct console */
    const char *uuid, *pidfile, *log_items, *log_ranges, *log_file, *gdb, *display;
    uint8_t escape_key;  /* 0: Ctrl-A */
    int64_t date_offset; /* -rtc: ns that the guest's clock of the day starts ahead of the host's */
    bool has_seed;
    uint64_t seed;
    bool snapshot; /* drives' writes are thrown away */
    bool stopped, no_defaults, no_user_config, nographic, daemonize, preconfig;
};

/* False and *error, one line without the program's name. argv is kept. */
bool system_options_parse(struct system_options *options, const char *arch, int argc, char **argv,
                          GError **error);
void system_options_clear(struct system_options *options);
char *system_options_help(const char *program, const char *arch);
bool system_options_list(const char *option, struct qapi_command_line_option_info_list *ret,
                         GError **error);

/* The tables' side. */
enum option_form {
    OPTION_FLAG,       /* no argument */
    OPTION_TEXT,       /* one as it is */
    OPTION_VALUE,      /* key=value, JSON, @file */
    OPTION_FLAT,       /* key=value in the older, flat form */
    OPTION_LATER,      /* known and not built: with an argument */
    OPTION_LATER_FLAG, /* without one */
};

struct option_row {
    const char *name; /* without dashes */
    enum option_form form;
    const char
        *group; /* its name for -readconfig, -set and query-command-line-options; NULL: none */
    const struct qapi_type *type; /* VALUE, FLAT: a structure; NULL: members depend on the value */
    const char *implied_key;
    bool merge;           /* used several times it counts as one, later keys win */
    const char *argument; /* for help; of LATER: what isn't built ("networks"). NULL: not listed */
    const char *help;
    char *(*handle_help)(void); /* "help" as the argument; NULL: a structure's members are listed */
    /* typed: of row->type if there is one; taken over if the handler sets *typed to NULL. */
    bool (*handle)(struct system_options *options, const struct given *given, void **typed,
                   GError **error);
};

#endif
