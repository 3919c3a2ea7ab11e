/*
 * Type "device".
 */
#include "object/device.h"

static bool get_realized(struct object *obj, const struct property *prop, void *value,
                         GError **error)
{
    *(bool *)value = obj->completed;
    return true;
}

static bool get_hotplugged(struct object *obj, const struct property *prop, void *value,
                           GError **error)
{
    *(bool *)value = ((struct device *)obj)->hotplugged;
    return true;
}

const char *device_id(const struct object *device)
{
    return device->parent && g_strcmp0(device->parent->name, "peripheral") == 0 ? device->name
                                                                                : NULL;
}

static const struct property device_properties[] = {
    {.name = "realized", .type = &qapi_type_bool, .get = get_realized},
    {.name = "hotplugged", .type = &qapi_type_bool, .get = get_hotplugged},
};

static const struct object_type device_type = {
    .name = "device",
    .parent = "object",
    .abstract = true,
    .instance_size = sizeof(struct device),
    .properties = device_properties,
    .n_properties = G_N_ELEMENTS(device_properties),
};
OBJECT_TYPE(device_type);
