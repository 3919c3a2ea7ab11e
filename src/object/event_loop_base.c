#include "object/event_loop_base.h"

#include <limits.h>

#include "qapi/error.h"
#include "util/event_loop.h"

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

/* They are started at once, so a typing error mustn't take all of the host's. */
enum { MAX_READY_THREADS = 1024 };

static bool check_pool(int64_t min, int64_t max, GError **error)
{
    if (max < 1 || max > INT_MAX || min > max || min > MAX_READY_THREADS) {
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

static void limits_changed(struct object *obj, const struct property *prop)
{
    const struct event_loop_base *base = (const struct event_loop_base *)obj;

    event_loop_set_threads(base->loop, base->thread_pool_min, base->thread_pool_max);
}

void event_loop_base_attach(struct event_loop_base *base, struct event_loop *loop)
{
    base->loop = loop;
    limits_changed(&base->object, NULL);
}

static bool base_complete(struct object *obj, GError **error)
{
    const struct event_loop_base *base = (const struct event_loop_base *)obj;

    return check_pool(base->thread_pool_min, base->thread_pool_max, error);
}

static const struct property base_properties[] = {
    PROPERTY("aio-max-batch", event_loop_base, aio_max_batch, qapi_type_int, NULL,
             "Requests given to the kernel at once; 0: as it suits",
             .flags = PROPERTY_RUNTIME, .set = event_loop_base_check_count),
    PROPERTY("thread-pool-min", event_loop_base, thread_pool_min, qapi_type_int, NULL,
             "Threads kept ready for blocking work", .flags = PROPERTY_RUNTIME, .set = set_min,
             .changed = limits_changed),
    PROPERTY("thread-pool-max", event_loop_base, thread_pool_max, qapi_type_int, "64",
             "Threads that do blocking work at most", .flags = PROPERTY_RUNTIME, .set = set_max,
             .changed = limits_changed),
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
        return false;
    }
    event_loop_base_attach((struct event_loop_base *)obj, object_context(obj)->loop);
    return true;
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
