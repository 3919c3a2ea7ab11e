#include "hw/boot_index.h"

#include "qapi/error.h"

struct search {
    const struct object *asking;
    int32_t index;
    bool found;
};

static bool look_at(struct object *obj, void *opaque)
{
    struct search *search = opaque;
    const struct property *prop = object_type_property(obj->type, "bootindex");

    /* What stands for another device has that one's. */
    if (prop && obj != search->asking && !object_type_proxied(obj->type)) {
        search->found |= *(const int32_t *)((const char *)obj + prop->offset) == search->index;
    }
    object_foreach_child(obj, look_at, search);
    return !search->found;
}

bool boot_index_check(struct object *obj, const struct property *prop, const void *value,
                      GError **error)
{
    struct search search = {obj, *(const int32_t *)value, false};

    if (search.index >= 0) {
        object_foreach_child(object_root_of(obj), look_at, &search);
    }
    if (search.found) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "The bootindex %d has already been used",
                    search.index);
    }
    return !search.found;
}
