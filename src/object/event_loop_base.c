#include "object/event_loop_base.h"

#include <limits.h>

#include "qapi/error.h"

bool event_loop_base_check_count(struct object *obj, const struct property *prop, const void *value,
                                 GError **error)
{
    if (*(const int64_t *)value < 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "%s value must be in range [0, %" G_GINT64_FORMAT "]", prop->name, G_MAXINT64);
        return false;
    }
    return true;
}

static bool check_pool(int64_t min, int64_t max, GError **error)
{
    if (max < 1 || max > INT_MAX || min > max) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "bad thread-pool-min/thread-pool-max values");
        return false;
    }
    return true;
}

/* While the object is being made the other one may still come; complete checks both then. */
static bool set_min(struct object *obj, const struct property *prop, const void *value,
                    GError **error)
{
    const struct event_loop_base *base = (const struct event_loop_base *)obj;

    return event_loop_base_check_count(obj, prop, value, error) &&
           (!obj->completed || check_pool(*(const int64_t *)value, base->thread_pool_max, error));
}

static bool set_max(struct object *obj, const struct property *prop, const void *value,
                    GError **error)
{
    const struct event_loop_base *base = (const struct event_loop_base *)obj;

    return event_loop_base_check_count(obj, prop, value, error) &&
           (!obj->completed || check_pool(base->thread_pool_min, *(const int64_t *)value, error));
}

static bool base_complete(struct object *obj, GError **error)
{
    const struct event_loop_base *base = (const struct event_loop_base *)obj;

    return check_pool(base->thread_pool_min, base->thread_pool_max, error);
}

static const struct property base_properties[] = {
    PROPERTY("aio-max-batch", event_loop_base, aio_max_batch, qapi_type_int, NULL, NULL,
             .flags = PROPERTY_RUNTIME, .set = event_loop_base_check_count),
    PROPERTY("thread-pool-min", event_loop_base, thread_pool_min, qapi_type_int, NULL, NULL,
             .flags = PROPERTY_RUNTIME, .set = set_min),
    PROPERTY("thread-pool-max", event_loop_base, thread_pool_max, qapi_type_int, "64", NULL,
             .flags = PROPERTY_RUNTIME, .set = set_max),
};

static const char *const base_interfaces[] = {"user-creatable", NULL};

static const struct object_type base_type = {
    .name = "event-loop-base",
    .parent = "object",
    .abstract = true,
    .instance_size = sizeof(struct event_loop_base),
    .properties = base_properties,
    .n_properties = G_N_ELEMENTS(base_properties),
    .interfaces = base_interfaces,
    .complete = base_complete,
};
OBJECT_TYPE(base_type);

/* main-loop: the settings of the main thread's loop, once. */

static bool is_other_main_loop(struct object *obj, void *opaque)
{
    struct object **self = opaque;

    if (obj != *self && object_is(obj, "main-loop")) {
        *self = NULL;
    }
    return *self != NULL;
}

static bool main_loop_complete(struct object *obj, GError **error)
{
    struct object *only = obj;

    object_foreach_child(obj->parent, is_other_main_loop, &only);
    if (!only) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "only one main-loop instance allowed");
    }
    return only != NULL;
}

static bool main_loop_can_be_deleted(struct object *obj, GError **error)
{
    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "object '%s' is in use, can not be deleted",
                obj->name);
    return false;
}

static const struct object_type main_loop_type = {
    .name = "main-loop",
    .parent = "event-loop-base",
    .complete = main_loop_complete,
    .can_be_deleted = main_loop_can_be_deleted,
};
OBJECT_TYPE(main_loop_type);
