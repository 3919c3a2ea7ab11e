/*
 * nandu-user: runs one Linux program of another architecture.
 *
 * The name that it is called by picks the guest: nandu-ARCH or qemu-ARCH. When the kernel calls it
 * for a program (binfmt_misc), arguments are: this program, the guest's path, and with flag P its
 * argv[0] before the other arguments; no options.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "cli/binfmt.h"
#include "cli/user_options.h"
#include "guest/riscv/riscv.h"

/* In AT_FLAGS: binfmt_misc's P. */
enum { AT_FLAGS_PRESERVE_ARGV0 = 1 };

/* The version of QEMU's interface that a program called qemu-ARCH has. */
#define QEMU_VERSION "10.0.2"

struct invocation {
    const char *name; /* last part of argv[0] */
    const struct lu_abi *abi;
    bool as_qemu;
};

static bool find_guest(struct invocation *in, const char *argv0)
{
    static const struct lu_abi *const guests[] = {&lu_abi_riscv64};
    const char *slash, *name, *dash;

    slash = argv0 ? strrchr(argv0, '/') : NULL;
    name = slash ? slash + 1 : argv0 ? argv0 : "nandu-user";
    in->name = name;
    in->as_qemu = g_str_has_prefix(name, "qemu-");
    dash = strchr(name, '-');
    for (unsigned i = 0; dash && i < G_N_ELEMENTS(guests); i++) {
        size_t length = strlen(guests[i]->name);
        const char *rest = dash + 1 + length;

        /* qemu-riscv64-static is the same */
        if (strncmp(dash + 1, guests[i]->name, length) == 0 && (*rest == '\0' || *rest == '-')) {
            in->abi = guests[i];
            return true;
        }
    }
    /* Under any other name (nandu-user, a copy, /dev/fd/N) the only guest there is; a name that
     * asks for another one is an error. */
    in->abi = guests[0];
    return !(in->as_qemu || g_str_has_prefix(name, "nandu-")) || strcmp(name, "nandu-user") == 0;
}

static void print_version(const struct invocation *in)
{
    if (in->as_qemu) {
        printf("qemu-%s version " QEMU_VERSION " (Nandu " NANDU_VERSION ")\n", in->abi->name);
    } else {
        printf("nandu-%s version " NANDU_VERSION "\n", in->abi->name);
    }
}

/* Text for standard output, which it frees; the exit status. */
static int print_text(const struct invocation *in, char *text, int status)
{
    if (!text) {
        fprintf(stderr, "%s: the path of this executable can't be read from /proc/self/exe\n",
                in->name);
        return EXIT_FAILURE;
    }
    fputs(text, stdout);
    g_free(text);
    return status;
}

/* Anything but running a program. Lists end with the status that they have in QEMU. */
static int inform(const struct invocation *in, const struct user_command *c)
{
    switch (c->action) {
    case USER_HELP: return print_text(in, user_options_help(in->name, in->abi->name), 0);
    case USER_LOG_HELP: return print_text(in, user_options_log_help(), EXIT_FAILURE);
    case USER_CPU_HELP: return print_text(in, riscv_model_help(), EXIT_FAILURE);
    case USER_BINFMT_CONF:
        return print_text(in, binfmt_rows(in->as_qemu ? "qemu" : "nandu", c->binfmt_flags), 0);
    default: print_version(in); return 0;
    }
}

/*
 * The descriptor of the log, or -1. A program that was executed by a guest's gets its log by
 * -log-fd (a path may lead elsewhere by then, in a chroot); with %d in the name it has one of its
 * own, if that can be. It adds to what is there, since its process may have written that.
 */
static int open_log_file(const struct user_command *c, GError **error)
{
    const char *name = c->options.log_name;
    g_autofree char *pid = g_strdup_printf("%d", (int)getpid());
    g_autoptr(GString) path = g_string_new(name);
    int fd = c->log_fd, own = -1;

    if (fd < 0 || (name && strstr(name, "%d"))) {
        g_string_replace(path, "%d", pid, 0);
        own = open(path->str, O_WRONLY | O_CREAT | (fd < 0 ? O_TRUNC : 0) | O_APPEND | O_CLOEXEC,
                   0666);
    }
    if (own < 0 && fd < 0) {
        g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(errno),
                    "-D: can't write '%s': %s", path->str, g_strerror(errno));
    }
    if (own >= 0 && fd >= 0) {
        close(fd);
    }
    return own >= 0 ? own : fd;
}

/* The log: a stream on a descriptor out of the guest's way. */
static bool open_log(struct user_command *c, GError **error)
{
    enum { FIRST_OWN_FD = 500 };
    int fd, high;

    c->options.log_file = stderr;
    c->options.dbt.log_file = stderr;
    if (!c->options.log_name && c->log_fd < 0) {
        return true;
    }
    fd = open_log_file(c, error);
    if (fd < 0) {
        return false;
    }
    high = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_OWN_FD);
    if (high >= 0) {
        close(fd);
        fd = high;
    }
    c->options.log_file = fdopen(fd, "w");
    if (!c->options.log_file) {
        g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(errno),
                    "the log can't be written: %s", g_strerror(errno));
        return false;
    }
    setvbuf(c->options.log_file, NULL, _IOLBF, 0);
    c->options.dbt.log_file = c->options.log_file;
    return true;
}

static int run(const struct invocation *in, struct user_command *c, int exec_fd,
               const char *program, char **guest_argv)
{
    GError *error = NULL;
    int status = EXIT_FAILURE;

    if (c->options.argv0) {
        guest_argv[0] = (char *)c->options.argv0;
    }
    if (open_log(c, &error)) {
        status = lu_main(&c->options, in->abi, exec_fd, program, guest_argv, c->envp, &error);
    }
    if (error) {
        fprintf(stderr, "%s: %s\n", in->name, error->message);
        g_error_free(error);
    }
    return status;
}

/* True if binfmt_misc started this process; *exec_fd: the guest's program, or -1 (flag O). */
static bool from_binfmt(int *exec_fd)
{
    unsigned long fd;

    errno = 0;
    fd = getauxval(AT_EXECFD);
    *exec_fd = errno == 0 ? (int)fd : -1;
    return *exec_fd >= 0 || getauxval(AT_FLAGS) & AT_FLAGS_PRESERVE_ARGV0;
}

int main(int argc, char **argv)
{
    struct invocation in = {0};
    struct user_command c = {0};
    GError *error = NULL;
    int exec_fd, status;
    bool ok, binfmt = from_binfmt(&exec_fd) && argc > 1;

    if (!find_guest(&in, argc > 0 ? argv[0] : NULL)) {
        fprintf(stderr, "%s: there is no guest of this name; nandu-%s is one\n", in.name,
                in.abi->name);
        return EXIT_FAILURE;
    }
    ok = binfmt ? user_options_from_environment(&c, &error)
                : user_options_parse(&c, argc, argv, 1, &error);
    if (!ok) {
        fprintf(stderr, "%s: %s\n", in.name, error->message);
        g_error_free(error);
        status = EXIT_FAILURE;
    } else if (c.action != USER_RUN) {
        status = inform(&in, &c);
    } else if (binfmt) {
        bool preserved = argc > 2 && getauxval(AT_FLAGS) & AT_FLAGS_PRESERVE_ARGV0;

        status = run(&in, &c, exec_fd, argv[1], argv + (preserved ? 2 : 1));
    } else {
        status = run(&in, &c, -1, argv[c.program], argv + c.program);
    }
    user_options_clear(&c);
    return status;
}
