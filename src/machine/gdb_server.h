/*
 * The gdb server of a machine: a debugger on a character device, whose threads are the vCPUs. Main
 * thread.
 */
#ifndef NANDU_MACHINE_GDB_SERVER_H
#define NANDU_MACHINE_GDB_SERVER_H

#include <glib.h>
#include <stdbool.h>

#include "util/auto.h"

struct chardev_context;
struct gdb_server;
struct vm;

/* Closed. run_hmp runs a monitor's line for "monitor" and returns what it printed, for the caller
 * to free. What is given must outlive it. */
struct gdb_server *gdb_server_new(struct vm *vm, const struct chardev_context *chardevs,
                                  char *(*run_hmp)(void *opaque, const char *line), void *opaque);
/* A debugger that waits for the machine is told that it has ended. Before the machine is freed. */
void gdb_server_free(struct gdb_server *server);
DEFINE_AUTO_PTR(gdb_server, gdb_server_free)
/*
 * Waits for debuggers, one after the other, on device (-gdb's: "tcp::1234", ..., "none": nowhere)
 * in the place of what it waited on. False and *error: there is no such device, or no vCPU to
 * debug.
 */
bool gdb_server_open(struct gdb_server *server, const char *device, GError **error);

#endif
