/* The process's own sandbox: a seccomp filter over all threads. */
#ifndef NANDU_CLI_SANDBOX_H
#define NANDU_CLI_SANDBOX_H

#include "qapi/qapi_types.h"

/*
 * Installs the filter; from then on what a running machine can't need is denied. options NULL: the
 * default, which denies all groups. False and *error: it couldn't be installed, and the program
 * must not go on. Does nothing if options turn it off.
 */
bool sandbox_enter(const struct qapi_sandbox_options *options, GError **error);

#endif
