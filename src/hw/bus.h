/*
 * Buses: what a device with a bus in its type (object_type.bus) plugs into. One is an object that
 * descends from "bus", a child of the device that has it; it is a hotplug handler
 * (object/hotplug.h), by which devices come and go. Main thread.
 */
#ifndef NANDU_HW_BUS_H
#define NANDU_HW_BUS_H

#include "object/hotplug.h"
#include "object/object.h"

struct hw_context;

struct bus {
    struct object object;
    const struct hw_context *hw;
    GPtrArray *devices;         /* struct object, borrowed, in the order of plugging */
    unsigned max_devices;       /* 0: any number */
};

/* A bus of this type, child of owner, called "PREFIX.N" with the first N that no bus has yet;
 * owner's tree has the reference. Borrowed. */
struct bus *bus_new(struct object *owner, const char *type, const char *prefix,
                    const struct hw_context *hw, GError **error);
/*
 * Where a device of a type for bus_type goes: the bus called name (or whose path it is), or the
 * newest one that has room. NULL and *error: there is none, it is of another type, or full.
 */
struct bus *bus_find(struct object *root, const char *bus_type, const char *name, GError **error);
/* For a bus's pre_plug and unplug: false and *error if it is full. */
bool bus_add(struct bus *bus, struct object *obj, GError **error);
void bus_remove(struct bus *bus, struct object *obj);

#endif
