/*
 * Type "device": what a machine is made of (boards, buses and devices come from it). Read-only
 * properties realized and hotplugged are of all of them.
 */
#ifndef NANDU_OBJECT_DEVICE_H
#define NANDU_OBJECT_DEVICE_H

#include "object/object.h"

struct device {
    struct object object;
    struct object *parent_bus;      /* that it is plugged into, borrowed; NULL: none */
    bool hotplugged;                /* came after the machine was started */
    bool pending_deletion;          /* the guest was asked to let go of it */
};

/* The id that the user gave it; NULL: none. Borrowed. */
const char *device_id(const struct object *device);
/* The type of -device and device-list-properties: descends from "device", not abstract. Error as
 * QEMU's. */
const struct object_type *device_type_find(const char *name, GError **error);
/* Properties that can be given with -device: all but what every device has. Free with
 * g_ptr_array_unref. */
GPtrArray *device_type_properties(const struct object_type *type);
/* "-device help": by category, a line 'name "X", bus Y, desc "..."' each. Caller frees. */
char *device_types_help(void);
/* "-device X,help". NULL and *error if there is no such device. Caller frees. */
char *device_type_help(const char *name, GError **error);

#endif
