/*
 * The command line of user mode: options and environment of qemu-riscv64, and Nandu's own.
 */
#ifndef NANDU_CLI_USER_OPTIONS_H
#define NANDU_CLI_USER_OPTIONS_H

#include <glib.h>
#include <stdbool.h>

#include "linux_user/linux_user.h"

/* What was asked for instead of running a program. */
enum user_action {
    USER_RUN,
    USER_HELP,
    USER_VERSION,
    USER_CPU_HELP,
    USER_LOG_HELP,
    USER_BINFMT_CONF,
};

struct user_command {
    enum user_action action;
    struct lu_options options; /* points into argv, the environment, and what is below */
    int log_fd;                /* -log-fd; -1: none */
    const char *binfmt_flags;
    char **envp; /* the guest's environment; owned */
    int program; /* index of the program in argv */
};

/* Set all from the environment, then from argv[first...]: false and *error in one line. In a
 * program that has gained privileges (AT_SECURE) the environment sets nothing. */
bool user_options_parse(struct user_command *command, int argc, char **argv, int first,
                        GError **error);
/* The environment only, for a program that binfmt_misc started. */
bool user_options_from_environment(struct user_command *command, GError **error);
void user_options_clear(struct user_command *command);

/* Texts of -h and -d help. g_malloc'ed. */
char *user_options_help(const char *program, const char *arch);
char *user_options_log_help(void);

#endif
