/*
 * Hotplug: who is asked when an object is put into or taken out of a machine that is set up
 * already. A handler is a type with hotplug ops: a bus, a board, a controller.
 */
#ifndef NANDU_OBJECT_HOTPLUG_H
#define NANDU_OBJECT_HOTPLUG_H

#include "object/object.h"

/* Each may be NULL. handler: of the type with these ops. */
struct hotplug_ops {
    /* Before obj is completed: may it come, what does it get (an address, a slot)? */
    bool (*pre_plug)(struct object *handler, struct object *obj, GError **error);
    /* It is complete: tell the guest. Can't fail: what may, belongs to pre_plug. */
    void (*plug)(struct object *handler, struct object *obj);
    /* Ask the guest to let go of obj; it calls hotplug_unplug when it has. NULL: unplugged at
     * once. */
    bool (*unplug_request)(struct object *handler, struct object *obj, GError **error);
    /* It goes now. Also called when completing failed after pre_plug. */
    void (*unplug)(struct object *handler, struct object *obj);
};

/* pre_plug, object_complete, plug. On failure obj stays in the tree, incomplete: the caller
 * removes it. */
bool hotplug_plug(struct object *handler, struct object *obj, GError **error);
bool hotplug_unplug_request(struct object *handler, struct object *obj, GError **error);
/* Unplugs and removes obj from the tree. */
void hotplug_unplug(struct object *handler, struct object *obj);

#endif
