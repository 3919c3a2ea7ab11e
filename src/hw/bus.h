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
    bool hotpluggable;          /* devices may come and go while the machine runs */
};

/* A bus of this type, child of owner, called "PREFIX.N" with the first N that no bus has yet;
 * owner's tree has the reference. Borrowed. */
struct bus *bus_new(struct object *owner, const char *type, const char *prefix,
                    const struct hw_context *hw, GError **error);
/* The same, called name. False and *error if there is one of this name. */
struct bus *bus_new_named(struct object *owner, const char *type, const char *name,
                          const struct hw_context *hw, GError **error);
/*
 * Where a device goes whose type says bus_type: the bus called name (or whose path it is); or the
 * first that has room, newest devices before older ones and a bus before those of the devices on
 * it. NULL and *error: there is none, it is of another type, or full. device names it in errors.
 */
struct bus *bus_find(struct object *root, const char *bus_type, const char *name, GError **error);
struct bus *bus_find_for(struct object *root, const struct object_type *device, const char *name,
                         GError **error);
/* For a bus's pre_plug and unplug: false and *error if it is full. obj is a device. */
bool bus_add(struct bus *bus, struct object *obj, GError **error);
void bus_remove(struct bus *bus, struct object *obj);

#endif
