#include "cli/user_options.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "util/nearest.h"

#define OPTION_ERROR G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE

typedef bool set_fn(struct user_command *c, const char *arg, GError **error);

struct option_row {
    const char *name;
    const char *env; /* the name of its variable behind QEMU_ and NANDU_; NULL: none */
    const char *arg; /* what its argument is; NULL: it has none */
    set_fn *set;
    const char *help;
};

/* ---- Numbers ---- */

/* A number in C's notation with an optional suffix k, M or G of the ones in [suffixes]. */
static bool parse_number(const char *option, const char *text, const char *suffixes,
                         uint64_t *value, GError **error)
{
    static const char all[] = "kMG";
    char *end;
    unsigned shift = 0;

    errno = 0;
    *value = strtoull(text, &end, 0);
    if (end == text || *text == '-' || errno) {
        g_set_error(error, OPTION_ERROR, "-%s: '%s' is not a number", option, text);
        return false;
    }
    for (unsigned i = 0; i < 3 && *end; i++) {
        if (g_ascii_tolower(*end) == g_ascii_tolower(all[i]) && strchr(suffixes, all[i])) {
            shift = 10 * (i + 1);
            end++;
            break;
        }
    }
    if (*end || *value > UINT64_MAX >> shift) {
        g_set_error(error, OPTION_ERROR, "-%s: '%s' is not a number%s%s%s", option, text,
                    *suffixes ? " with one of the suffixes " : "", suffixes,
                    *value > UINT64_MAX >> shift ? " that fits in 64 bits" : "");
        return false;
    }
    *value <<= shift;
    return true;
}

/* ---- -d ---- */

struct log_row {
    const char *name;
    unsigned dbt; /* DBT_LOG_* */
    size_t flag;  /* or an unsigned of lu_options */
    const char *help;
};

enum { LOG_STRACE = 1, LOG_NOCHAIN };

static const struct log_row log_rows[] = {
    {"out_asm", DBT_LOG_OUT_ASM, 0, "host code of each block"},
    {"in_asm", DBT_LOG_IN_ASM, 0, "guest code of each block"},
    {"op", DBT_LOG_OP, 0, "intermediate code as it was lifted"},
    {"op_opt", DBT_LOG_OP_OPT, 0, "intermediate code after optimisation"},
    {"int", 0, offsetof(struct lu_options, log_int), "signals and faults"},
    {"exec", DBT_LOG_EXEC, 0, "each entry into translated code (lots of lines)"},
    {"unimp", 0, offsetof(struct lu_options, log_unimp), "what the guest asks for and isn't there"},
    {"page", 0, offsetof(struct lu_options, log_page), "the guest's mappings at the start"},
    {"nochain", 0, LOG_NOCHAIN, "don't chain blocks, so that \"exec\" shows each"},
    {"strace", 0, LOG_STRACE, "each system call with arguments and result"},
};

static bool unknown_name(const char *what, const char *name, const char *const *names, size_t n,
                         const char *more, GError **error)
{
    const char *near = util_nearest(name, names, n);

    g_set_error(error, OPTION_ERROR, "unknown %s '%s'%s%s%s%s", what, name,
                near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "", more);
    return false;
}

static bool set_log_item(struct user_command *c, const char *item, GError **error)
{
    const char *names[G_N_ELEMENTS(log_rows)];

    for (unsigned i = 0; i < G_N_ELEMENTS(log_rows); i++) {
        const struct log_row *row = &log_rows[i];

        names[i] = row->name;
        if (strcmp(item, row->name) != 0) {
            continue;
        }
        c->options.dbt.log |= row->dbt;
        if (row->flag == LOG_STRACE) {
            c->options.strace = true;
        } else if (row->flag == LOG_NOCHAIN) {
            c->options.dbt.no_chain = true;
        } else if (row->flag) {
            *(unsigned *)((char *)&c->options + row->flag) = 1;
        }
        return true;
    }
    return unknown_name("log item", item, names, G_N_ELEMENTS(names), " (-d help lists them)",
                        error);
}

static bool set_log(struct user_command *c, const char *arg, GError **error)
{
    g_auto(GStrv) items = g_strsplit(arg, ",", -1);

    if (strcmp(arg, "help") == 0 || strcmp(arg, "?") == 0) {
        c->action = USER_LOG_HELP;
        return true;
    }
    for (char **item = items; *item; item++) {
        if (!set_log_item(c, *item, error)) {
            return false;
        }
    }
    return true;
}

char *user_options_log_help(void)
{
    GString *text = g_string_new("Log items (comma separated):\n");

    for (unsigned i = 0; i < G_N_ELEMENTS(log_rows); i++) {
        g_string_append_printf(text, "%-15s %s\n", log_rows[i].name, log_rows[i].help);
    }
    return g_string_free(text, FALSE);
}

/* ---- -dbt ---- */

struct dbt_row {
    const char *name;
    size_t offset; /* in struct dbt_config */
    enum { DBT_BOOL, DBT_UNSIGNED, DBT_SIZE } type;
    const char *on; /* another word for "on" */
};

static const struct dbt_row dbt_rows[] = {
    {"interp", offsetof(struct dbt_config, interpreter), DBT_BOOL, NULL},
    {"lockstep", offsetof(struct dbt_config, lockstep), DBT_BOOL, NULL},
    {"flush", offsetof(struct dbt_config, flush_every), DBT_UNSIGNED, NULL},
    {"poll", offsetof(struct dbt_config, poll_always), DBT_BOOL, "always"},
    {"far", offsetof(struct dbt_config, far_paths), DBT_BOOL, NULL},
    {"cache-size", offsetof(struct dbt_config, cache_size), DBT_SIZE, NULL},
    {"max-insns", offsetof(struct dbt_config, max_insns), DBT_UNSIGNED, NULL},
    {"no-chain", offsetof(struct dbt_config, no_chain), DBT_BOOL, NULL},
    {"verify", offsetof(struct dbt_config, verify), DBT_BOOL, NULL},
};

static bool set_dbt_bool(const struct dbt_row *row, bool *to, const char *value, GError **error)
{
    if (!value || strcmp(value, "on") == 0 || (row->on && strcmp(value, row->on) == 0)) {
        *to = true;
    } else if (strcmp(value, "off") == 0) {
        *to = false;
    } else {
        g_set_error(error, OPTION_ERROR, "-dbt %s: '%s' is neither on%s%s nor off", row->name,
                    value, row->on ? ", " : "", row->on ? row->on : "");
        return false;
    }
    return true;
}

static bool set_dbt_number(const struct dbt_row *row, void *to, const char *value, GError **error)
{
    g_autofree char *option = g_strconcat("dbt ", row->name, NULL);
    uint64_t number;

    if (!value) {
        g_set_error(error, OPTION_ERROR, "-dbt %s needs a number: %s=N", row->name, row->name);
        return false;
    }
    if (!parse_number(option, value, row->type == DBT_SIZE ? "kMG" : "", &number, error)) {
        return false;
    }
    if (row->type == DBT_SIZE) {
        *(size_t *)to = number;
        return true;
    }
    if (number > UINT32_MAX) {
        g_set_error(error, OPTION_ERROR, "-%s: %s is too large", option, value);
        return false;
    }
    *(unsigned *)to = (unsigned)number;
    return true;
}

static bool set_dbt_key(struct user_command *c, const char *key, const char *value, GError **error)
{
    const char *names[G_N_ELEMENTS(dbt_rows)];

    for (unsigned i = 0; i < G_N_ELEMENTS(dbt_rows); i++) {
        const struct dbt_row *row = &dbt_rows[i];
        void *to = (char *)&c->options.dbt + row->offset;

        names[i] = row->name;
        if (strcmp(key, row->name) == 0) {
            return row->type == DBT_BOOL ? set_dbt_bool(row, to, value, error)
                                         : set_dbt_number(row, to, value, error);
        }
    }
    return unknown_name("key of -dbt", key, names, G_N_ELEMENTS(names), "", error);
}

static bool set_dbt(struct user_command *c, const char *arg, GError **error)
{
    g_auto(GStrv) items = g_strsplit(arg, ",", -1);

    for (char **item = items; *item; item++) {
        char *value = strchr(*item, '=');

        if (value) {
            *value++ = '\0';
        }
        if (!set_dbt_key(c, *item, value, error)) {
            return false;
        }
    }
    return true;
}

/* ---- The others ---- */

static bool set_help(struct user_command *c, const char *arg, GError **error)
{
    c->action = USER_HELP;
    return true;
}

static bool set_version(struct user_command *c, const char *arg, GError **error)
{
    c->action = USER_VERSION;
    return true;
}

static bool set_binfmt(struct user_command *c, const char *arg, GError **error)
{
    c->action = USER_BINFMT_CONF;
    return true;
}

static bool set_binfmt_flags(struct user_command *c, const char *arg, GError **error)
{
    if (arg[strspn(arg, "POCF")] != '\0') {
        g_set_error(error, OPTION_ERROR, "-binfmt-flags: '%s' has others than P, O, C and F", arg);
        return false;
    }
    c->binfmt_flags = arg;
    return true;
}

static bool set_gdb(struct user_command *c, const char *arg, GError **error)
{
    c->options.gdb = arg;
    return true;
}

static bool set_prefix(struct user_command *c, const char *arg, GError **error)
{
    g_autofree char *path = g_canonicalize_filename(arg, NULL); /* the guest may chdir */

    c->options.prefix = !*arg || strcmp(path, "/") == 0 ? NULL : g_intern_string(path);
    return true;
}

static bool set_stack(struct user_command *c, const char *arg, GError **error)
{
    if (!parse_number("s", arg, "kMG", &c->options.stack_size, error)) {
        return false;
    }
    if (c->options.stack_size == 0 || c->options.stack_size > (uint64_t)1 << 40) {
        g_set_error(error, OPTION_ERROR, "-s: a stack of %s bytes is not possible", arg);
        return false;
    }
    return true;
}

static bool set_cpu(struct user_command *c, const char *arg, GError **error)
{
    if (strcmp(arg, "help") == 0 || strcmp(arg, "?") == 0) {
        c->action = USER_CPU_HELP;
    }
    c->options.cpu = arg;
    return true;
}

static bool set_env(struct user_command *c, const char *arg, GError **error)
{
    g_auto(GStrv) items = g_strsplit(arg, ",", -1);

    for (char **item = items; *item; item++) {
        char *value = strchr(*item, '=');

        if (!value || value == *item) {
            g_set_error(error, OPTION_ERROR, "-E: '%s' is not of the form name=value", *item);
            return false;
        }
        *value++ = '\0';
        c->envp = g_environ_setenv(c->envp, *item, value, TRUE);
    }
    return true;
}

static bool unset_env(struct user_command *c, const char *arg, GError **error)
{
    g_auto(GStrv) items = g_strsplit(arg, ",", -1);

    for (char **item = items; *item; item++) {
        if (**item == '\0' || strchr(*item, '=')) {
            g_set_error(error, OPTION_ERROR, "-U: '%s' is not the name of a variable", *item);
            return false;
        }
        c->envp = g_environ_unsetenv(c->envp, *item);
    }
    return true;
}

static bool set_argv0(struct user_command *c, const char *arg, GError **error)
{
    c->options.argv0 = arg;
    return true;
}

static bool set_uname(struct user_command *c, const char *arg, GError **error)
{
    c->options.uname_release = arg;
    return true;
}

static bool set_base(struct user_command *c, const char *arg, GError **error)
{
    c->options.have_guest_base = true;
    return parse_number("B", arg, "", &c->options.guest_base, error);
}

static bool set_reserved(struct user_command *c, const char *arg, GError **error)
{
    if (!parse_number("R", arg, "kMG", &c->options.reserved_va, error)) {
        return false;
    }
    if (c->options.reserved_va % LU_PAGE_SIZE != 0) {
        g_set_error(error, OPTION_ERROR, "-R: %s is not a multiple of %d", arg, LU_PAGE_SIZE);
        return false;
    }
    return true;
}

static bool set_log_name(struct user_command *c, const char *arg, GError **error)
{
    g_autofree char *path = g_canonicalize_filename(arg, NULL); /* the guest may chdir */

    c->options.log_name = g_intern_string(path);
    return true;
}

static bool set_log_fd(struct user_command *c, const char *arg, GError **error)
{
    uint64_t fd;

    if (!parse_number("log-fd", arg, "", &fd, error)) {
        return false;
    }
    if (fd > INT_MAX || fcntl((int)fd, F_GETFD) < 0) {
        g_set_error(error, OPTION_ERROR, "-log-fd: %s is not an open descriptor", arg);
        return false;
    }
    c->log_fd = (int)fd;
    return true;
}

static bool set_page_size(struct user_command *c, const char *arg, GError **error)
{
    uint64_t size;

    if (!parse_number("p", arg, "k", &size, error)) {
        return false;
    }
    if (size != LU_PAGE_SIZE) {
        g_set_error(error, OPTION_ERROR, "-p: pages of the guest have %d bytes, as the host's",
                    LU_PAGE_SIZE);
        return false;
    }
    return true;
}

static bool set_one_insn(struct user_command *c, const char *arg, GError **error)
{
    c->options.dbt.one_insn = true;
    return true;
}

static bool set_tb_size(struct user_command *c, const char *arg, GError **error)
{
    uint64_t size;

    if (!parse_number("tb-size", arg, "", &size, error)) {
        return false;
    }
    if (size == 0 || size > 1 << 20) {
        g_set_error(error, OPTION_ERROR, "-tb-size: a code cache of %s MiB is not possible", arg);
        return false;
    }
    c->options.dbt.cache_size = size << 20;
    return true;
}

static bool set_strace(struct user_command *c, const char *arg, GError **error)
{
    c->options.strace = true;
    return true;
}

static bool set_seed(struct user_command *c, const char *arg, GError **error)
{
    c->options.have_seed = true;
    return parse_number("seed", arg, "", &c->options.seed, error);
}

static bool set_perf_map(struct user_command *c, const char *arg, GError **error)
{
    c->options.dbt.perf_map = true;
    return true;
}

static bool set_jitdump(struct user_command *c, const char *arg, GError **error)
{
    c->options.dbt.jitdump = true;
    return true;
}

/* ---- The table ---- */

static const struct option_row option_rows[] = {
    {"h", NULL, NULL, set_help, "print this help"},
    {"help", NULL, NULL, set_help, ""},
    {"g", "GDB", "port", set_gdb, "wait for gdb on a TCP port, or the path of a Unix socket"},
    {"L", "LD_PREFIX", "path", set_prefix, "look for the guest's files below 'path' first"},
    {"s", "STACK_SIZE", "size", set_stack, "size of the main thread's stack in bytes"},
    {"cpu", "CPU", "model", set_cpu, "select the CPU (-cpu help for a list)"},
    {"E", "SET_ENV", "var=value", set_env, "set a variable of the guest's environment (see below)"},
    {"U", "UNSET_ENV", "var", unset_env, "remove one (see below)"},
    {"0", "ARGV0", "argv0", set_argv0, "what the guest sees as its own name"},
    {"r", "UNAME", "uname", set_uname, "the kernel's release that uname shows"},
    {"B", "GUEST_BASE", "address", set_base, "host address of guest address 0"},
    {"R", "RESERVED_VA", "size", set_reserved, "reserve so much address space for the guest"},
    {"d", "LOG", "item[,...]", set_log, "log these items (-d help for a list)"},
    {"D", "LOG_FILENAME", "logfile", set_log_name,
     "write logs to this file (%d: process id), not to stderr"},
    {"log-fd", NULL, "fd", set_log_fd, "write logs to this open file, unless -D has a %d"},
    {"p", "PAGESIZE", "pagesize", set_page_size, "for compatibility: only 4096 is possible"},
    {"one-insn-per-tb", "ONE_INSN_PER_TB", NULL, set_one_insn,
     "translate one guest instruction at a time"},
    {"tb-size", "TB_SIZE", "size", set_tb_size, "size of the code cache in MiB"},
    {"strace", "STRACE", NULL, set_strace, "log system calls"},
    {"seed", "RAND_SEED", "number", set_seed,
     "seed of the random bytes that the guest starts with"},
    {"version", "VERSION", NULL, set_version, "print the version"},
    {"perfmap", "PERFMAP", NULL, set_perf_map, "write /tmp/perf-PID.map for perf"},
    {"jitdump", "JITDUMP", NULL, set_jitdump, "write jit-PID.dump for perf inject"},
    {"dbt", "DBT", "key=value[,...]", set_dbt, "options of the translator (see below)"},
    {"binfmt-conf", NULL, NULL, set_binfmt, "print the rows for binfmt_misc"},
    {"binfmt-flags", NULL, "flags", set_binfmt_flags, "flags of these rows (POCF)"},
};

static const struct option_row *find_option(const char *name, GError **error)
{
    const char *names[G_N_ELEMENTS(option_rows)];
    const char *near;

    for (unsigned i = 0; i < G_N_ELEMENTS(option_rows); i++) {
        names[i] = option_rows[i].name;
        if (strcmp(name, option_rows[i].name) == 0) {
            return &option_rows[i];
        }
    }
    near = util_nearest(name, names, G_N_ELEMENTS(names));
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_UNKNOWN_OPTION, "unknown option '%s'%s%s%s",
                name, near ? "; did you mean '-" : " (-h lists them)", near ? near : "",
                near ? "'?" : "");
    return NULL;
}

/* Where Debian's packages of QEMU look for the files of a guest. */
static void default_prefix(struct user_command *c)
{
    static const char dir[] = "/etc/qemu-binfmt/riscv64";

    if (access(dir, F_OK) == 0) {
        c->options.prefix = dir;
    }
}

bool user_options_from_environment(struct user_command *c, GError **error)
{
    *c = (struct user_command){.envp = g_get_environ(), .binfmt_flags = "POCF", .log_fd = -1};
    c->options.cpu = "max";
    default_prefix(c);
    if (getauxval(AT_SECURE)) {
        return true;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(option_rows); i++) {
        const struct option_row *row = &option_rows[i];
        static const char *const prefixes[] = {"NANDU_", "QEMU_"};

        for (unsigned j = 0; row->env && j < G_N_ELEMENTS(prefixes); j++) {
            g_autofree char *name = g_strconcat(prefixes[j], row->env, NULL);
            const char *value = getenv(name);

            if (!value) {
                continue;
            }
            if (!row->set(c, value, error)) {
                g_prefix_error(error, "environment variable %s: ", name);
                return false;
            }
            break;
        }
    }
    return true;
}

bool user_options_parse(struct user_command *c, int argc, char **argv, int first, GError **error)
{
    int i;

    if (!user_options_from_environment(c, error)) {
        return false;
    }
    for (i = first; i < argc; i++) {
        const char *name = argv[i], *arg = NULL;
        const struct option_row *row;

        if (name[0] != '-' || name[1] == '\0') {
            i += name[0] == '-'; /* "-" alone ends the options */
            break;
        }
        name += name[1] == '-' ? 2 : 1;
        if (*name == '\0') { /* so does "--" */
            i++;
            break;
        }
        row = find_option(name, error);
        if (!row) {
            return false;
        }
        if (row->arg) {
            arg = argv[++i];
            if (!arg) {
                g_set_error(error, OPTION_ERROR, "missing argument for option '%s': -%s %s", name,
                            name, row->arg);
                return false;
            }
        }
        if (!row->set(c, arg, error)) {
            return false;
        }
    }
    c->program = i;
    if (c->action == USER_RUN && i >= argc) {
        g_set_error_literal(error, OPTION_ERROR, "no user program specified (-h prints help)");
        return false;
    }
    return true;
}

void user_options_clear(struct user_command *c)
{
    g_clear_pointer(&c->envp, g_strfreev);
}

char *user_options_help(const char *program, const char *arch)
{
    GString *text = g_string_new(NULL);

    g_string_append_printf(text,
                           "usage: %s [options] program [arguments...]\n"
                           "Runs a Linux program for %s.\n\n"
                           "Options and associated environment variables:\n\n"
                           "%-22s %-22s %s\n",
                           program, arch, "Argument", "Env-variable", "Description");
    for (unsigned i = 0; i < G_N_ELEMENTS(option_rows); i++) {
        const struct option_row *row = &option_rows[i];
        g_autofree char *left = g_strdup_printf("-%s %s", row->name, row->arg ? row->arg : "");
        g_autofree char *env = g_strconcat(row->env ? "QEMU_" : "", row->env, NULL);

        g_string_append_printf(text, "%-22s %-22s %s", left, env, row->help);
        while (text->str[text->len - 1] == ' ') {
            g_string_truncate(text, text->len - 1);
        }
        g_string_append_c(text, '\n');
    }
    g_string_append(
        text, "\nEach variable may also begin with NANDU_ in place of QEMU_; then it "
              "wins. Options win\nover variables. -E and -U take several variables "
              "separated by commas, and may be\ngiven more than once; these do the same:\n"
              "    -E var1=val2 -E var2=val2 -U LD_PRELOAD -U LD_DEBUG\n"
              "    -E var1=val2,var2=val2 -U LD_PRELOAD,LD_DEBUG\n"
              "    QEMU_SET_ENV=var1=val2,var2=val2 QEMU_UNSET_ENV=LD_PRELOAD,LD_DEBUG\n"
              "\nOptions of the translator, for tests: interp (no host code), lockstep "
              "(check it against\nthe interpreter), cache-size=N[kMG], max-insns=N (in a "
              "block), flush=N (after N blocks),\npoll=always, far, no-chain, verify (the IR).\n");
    return g_string_free(text, FALSE);
}
