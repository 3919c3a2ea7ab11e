/* -netdev, -nic and -net. */
#ifndef NANDU_CLI_NETWORKS_H
#define NANDU_CLI_NETWORKS_H

#include <glib.h>
#include <stdbool.h>

struct netdev_context;
struct system_options;
struct vm;

/*
 * Netdevs, after chardevs and before the machine. NICs that -nic and -net ask for are put into
 * *devices (json_object, of key=value, owned) for networks_add_nics.
 */
bool networks_create(const struct system_options *options, const struct netdev_context *context,
                     GPtrArray *devices, GError **error);
/* With the machine there, before vm_machine_ready. Warns of what has no peer. */
bool networks_add_nics(struct vm *vm, const GPtrArray *devices, GError **error);

#endif
