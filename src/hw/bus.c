#include "hw/bus.h"

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

struct bus *bus_new(struct object *owner, const char *type, const char *prefix,
                    const struct hw_context *hw, GError **error)
{
    struct object *root = object_root_of(owner);
    auto_ptr(object) obj = object_new(object_type_find(type));
    struct bus *bus = (struct bus *)obj;

    bus->hw = hw;
    for (unsigned i = 0; i < MAX_NUMBER; i++) {
        g_autofree char *name = g_strdup_printf("%s.%u", prefix, i);
        bool ambiguous = false;

        if (!object_resolve(root, name, "bus", &ambiguous) && !ambiguous) {
            if (!object_add_child(owner, name, obj, error) || !object_complete(obj, error)) {
                return NULL;
            }
            return bus;
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

struct search {
    const char *type;
    struct bus *found;
    bool any;           /* one of the type is there, but full */
};

static bool look(struct object *obj, void *opaque)
{
    struct search *search = opaque;

    if (object_is(obj, search->type)) {
        search->any = true;
        if (has_room((struct bus *)obj)) {
            search->found = (struct bus *)obj;  /* the last one wins */
        }
    }
    object_foreach_child(obj, look, search);
    return true;
}

struct bus *bus_find(struct object *root, const char *bus_type, const char *name, GError **error)
{
    struct search search = {.type = bus_type};

    if (name) {
        struct object *obj = object_resolve(root, name, "bus", NULL);

        if (!obj) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Bus '%s' not found", name);
        } else if (!object_is(obj, bus_type)) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Bus '%s' is not of type %s", name,
                        bus_type);
        } else if (!has_room((struct bus *)obj)) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Bus '%s' is full", name);
        } else {
            search.found = (struct bus *)obj;
        }
        return search.found;
    }
    look(root, &search);
    if (!search.found) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    search.any ? "All '%s' buses are full" : "No '%s' bus found for the device",
                    bus_type);
    }
    return search.found;
}

bool bus_add(struct bus *bus, struct object *obj, GError **error)
{
    if (!has_room(bus)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Bus '%s' is full", bus->object.name);
        return false;
    }
    g_ptr_array_add(bus->devices, obj);
    return true;
}

void bus_remove(struct bus *bus, struct object *obj)
{
    g_ptr_array_remove(bus->devices, obj);
}
