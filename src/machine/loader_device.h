/* -device loader: bytes or files that are in memory when the machine starts, and where vCPUs
 * start. */
#ifndef NANDU_MACHINE_LOADER_DEVICE_H
#define NANDU_MACHINE_LOADER_DEVICE_H

#include "machine/loader.h"
#include "object/object.h"

/* Adds what a device of type "loader" has to the loader. *cpu is the vCPU, below n_cpus, that
 * starts at *pc; -1: none. False and *error: its properties contradict each other, or don't fit the
 * machine. */
bool loader_device_load(struct object *device, struct loader *loader, unsigned n_cpus, int *cpu,
                        uint64_t *pc, GError **error);

#endif
