#include "hw/bus.h"

#include "object/device.h"
#include "qapi/error.h"

enum { MAX_NUMBER = 4096 };

static void init(struct object *obj)
{
    ((struct bus *)obj)->devices = g_ptr_array_new();
}

static void finalize(struct object *obj)
{
    g_ptr_array_unref(((struct bus *)obj)->devices);
}

static const struct object_type bus_type = {
    .name = "bus",
    .parent = "object",
    .abstract = true,
    .instance_size = sizeof(struct bus),
    .init = init,
    .finalize = finalize,
};
OBJECT_TYPE(bus_type);

/* The bus of this name; *ambiguous: there are several. */
static struct object *by_name(struct object *root, const char *name, bool *ambiguous)
{
    return object_resolve(root, name, "bus", ambiguous);
}

static struct bus *make(struct object *owner, const char *type, const char *name,
                        const struct hw_context *hw, GError **error)
{
    auto_ptr(object) obj = object_new(object_type_find(type));
    struct bus *bus = (struct bus *)obj;

    bus->hw = hw;
    return object_add_child(owner, name, obj, error) && object_complete(obj, error) ? bus : NULL;
}

struct bus *bus_new_named(struct object *owner, const char *type, const char *name,
                          const struct hw_context *hw, GError **error)
{
    bool ambiguous = false;

    if (by_name(object_root_of(owner), name, &ambiguous) || ambiguous) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "There is a bus '%s' already", name);
        return NULL;
    }
    return make(owner, type, name, hw, error);
}

struct bus *bus_new(struct object *owner, const char *type, const char *prefix,
                    const struct hw_context *hw, GError **error)
{
    struct object *root = object_root_of(owner);

    for (unsigned i = 0; i < MAX_NUMBER; i++) {
        g_autofree char *name = g_strdup_printf("%s.%u", prefix, i);
        bool ambiguous = false;

        if (!by_name(root, name, &ambiguous) && !ambiguous) {
            return make(owner, type, name, hw, error);
        }
    }
    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "There are too many buses called '%s.N'",
                prefix);
    return NULL;
}

static bool has_room(const struct bus *bus)
{
    return bus->max_devices == 0 || bus->devices->len < bus->max_devices;
}

/* A device that is plugged in is looked at where it is plugged in, not where the tree has it. */
static bool is_plugged(const struct object *obj)
{
    return object_is(obj, "device") && ((const struct device *)obj)->parent_bus;
}

static struct bus *look(struct object *obj, const char *type)
{
    struct bus *bus = object_is(obj, "bus") ? (struct bus *)obj : NULL, *found = NULL;

    if (bus && object_is(obj, type) && has_room(bus)) {
        return bus;
    }
    for (guint i = bus ? bus->devices->len : 0; i-- > 0 && !found;) {
        found = look(bus->devices->pdata[i], type);
    }
    for (guint i = obj->child_order ? obj->child_order->len : 0; i-- > 0 && !found;) {
        struct object *child = obj->child_order->pdata[i];

        found = is_plugged(child) ? NULL : look(child, type);
    }
    return found;
}

static struct bus *find_named(struct object *root, const char *bus_type, const char *name,
                              const char *device, GError **error)
{
    struct object *obj = by_name(root, name, NULL);

    if (!obj) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Bus '%s' not found", name);
        return NULL;
    }
    if (!object_is(obj, bus_type)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Device '%s' can't go on %s bus",
                    device, obj->type->name);
        return NULL;
    }
    if (!has_room((struct bus *)obj)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Bus '%s' is full", name);
        return NULL;
    }
    return (struct bus *)obj;
}

static struct bus *find(struct object *root, const char *bus_type, const char *name,
                        const char *device, GError **error)
{
    struct bus *bus;

    if (name) {
        return find_named(root, bus_type, name, device, error);
    }
    bus = look(root, bus_type);
    if (!bus) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "No '%s' bus found for device '%s'",
                    bus_type, device);
    }
    return bus;
}

struct bus *bus_find(struct object *root, const char *bus_type, const char *name, GError **error)
{
    return find(root, bus_type, name, bus_type, error);
}

struct bus *bus_find_for(struct object *root, const struct object_type *device, const char *name,
                         GError **error)
{
    const struct object_type *type = device;

    while (!type->bus) {
        type = object_type_parent(type);
    }
    return find(root, type->bus, name, device->name, error);
}

bool bus_add(struct bus *bus, struct object *obj, GError **error)
{
    if (!has_room(bus)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Bus '%s' is full", bus->object.name);
        return false;
    }
    g_ptr_array_add(bus->devices, obj);
    ((struct device *)obj)->parent_bus = &bus->object;
    return true;
}

void bus_remove(struct bus *bus, struct object *obj)
{
    g_ptr_array_remove(bus->devices, obj);
    ((struct device *)obj)->parent_bus = NULL;
}
