/* The process: background, pid file, user and root folder, locked memory. */
#ifndef NANDU_CLI_PROCESS_H
#define NANDU_CLI_PROCESS_H

#include "qapi/qapi_types.h"

/*
 * -daemonize, first part: forks before there are threads; the parent waits for daemon_ready and
 * exits with its status. The child goes on here with *ready: the pipe to the parent. False and
 * *error: no fork.
 */
bool daemon_start(int *ready, GError **error);
/* Second part: start-up is over. Standard streams go to /dev/null, the parent exits with status 0.
 */
bool daemon_ready(int ready, GError **error);

/* Writes the pid and locks the file, *fd, for the process's life; another process that has the lock
 * is an error. */
bool pidfile_create(const char *path, int *fd, GError **error);

/* -run-with chroot= and user=; capabilities are dropped with the user. */
bool process_run_with(const struct qapi_run_with_options *options, GError **error);
/* -overcommit mem-lock= */
bool process_lock_memory(enum qapi_mem_lock how, GError **error);

#endif
