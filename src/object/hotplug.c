/*
 * The order in which a handler and an object are asked and told.
 */
#include "object/hotplug.h"

static const struct hotplug_ops *ops_of(const struct object *handler)
{
    const struct object_type *type = handler->type;

    while (type && !type->hotplug) {
        type = object_type_parent(type);
    }
    g_assert(type);
    return type->hotplug;
}

bool hotplug_plug(struct object *handler, struct object *obj, GError **error)
{
    const struct hotplug_ops *ops = ops_of(handler);

    if (ops->pre_plug && !ops->pre_plug(handler, obj, error)) {
        return false;
    }
    if (!object_complete(obj, error)) {
        if (ops->unplug) {
            ops->unplug(handler, obj);
        }
        return false;
    }
    if (ops->plug) {
        ops->plug(handler, obj);
    }
    return true;
}

bool hotplug_unplug_request(struct object *handler, struct object *obj, GError **error)
{
    const struct hotplug_ops *ops = ops_of(handler);

    if (ops->unplug_request) {
        return ops->unplug_request(handler, obj, error);
    }
    hotplug_unplug(handler, obj);
    return true;
}

void hotplug_unplug(struct object *handler, struct object *obj)
{
    const struct hotplug_ops *ops = ops_of(handler);

    if (ops->unplug) {
        ops->unplug(handler, obj);
    }
    object_remove(obj);
}
