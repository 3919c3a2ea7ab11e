#include "object/iothread.h"

#include "object/event_loop_base.h"
#include "qapi/error.h"
#include "qapi/qapi_commands.h"
#include "util/iothread.h"

struct iothread_object {
    struct event_loop_base base;
    struct iothread *thread;            /* NULL: not started */
    int64_t poll_max_ns, poll_grow, poll_shrink;
};

static void polling_changed(struct object *obj, const struct property *prop)
{
    struct iothread_object *self = (struct iothread_object *)obj;

    iothread_set_polling(self->thread, self->poll_max_ns, self->poll_grow, self->poll_shrink);
}

static bool complete(struct object *obj, GError **error)
{
    struct iothread_object *self = (struct iothread_object *)obj;
    g_autofree char *name = g_strdup_printf("IO %s", obj->name);

    self->thread = iothread_new(name, object_context(obj)->log, error);
    if (!self->thread) {
        g_prefix_error(error, "iothread '%s' can't be started: ", obj->name);
        return false;
    }
    event_loop_base_attach(&self->base, iothread_loop(self->thread));
    polling_changed(obj, NULL);
    return true;
}

/* What runs on it has a reference; the tree has the other one. */
static bool can_be_deleted(struct object *obj, GError **error)
{
    if (obj->refs > 1) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "object '%s' is in use, can not be deleted", obj->name);
        return false;
    }
    return true;
}

static void finalize(struct object *obj)
{
    struct iothread_object *self = (struct iothread_object *)obj;

    g_clear_pointer(&self->thread, iothread_free);
}

#define POLL(name, field, default_, description)                                                   \
    PROPERTY(name, iothread_object, field, qapi_type_int, default_, description,                   \
             .flags = PROPERTY_RUNTIME, .set = event_loop_base_check_count,                        \
             .changed = polling_changed)

static const struct property iothread_properties[] = {
    POLL("poll-max-ns", poll_max_ns, "32768", "Longest time of polling before it sleeps"),
    POLL("poll-grow", poll_grow, NULL, "Factor by which that time grows; 0: as it suits"),
    POLL("poll-shrink", poll_shrink, NULL, "Divisor by which it shrinks; 0: as it suits"),
};

static const struct object_type iothread_type = {
    .name = "iothread",
    .parent = "event-loop-base",
    .instance_size = sizeof(struct iothread_object),
    .properties = iothread_properties,
    .n_properties = G_N_ELEMENTS(iothread_properties),
    .complete = complete,
    .can_be_deleted = can_be_deleted,
    .finalize = finalize,
};
OBJECT_TYPE(iothread_type);

struct object *iothread_object_find(struct object *root, const char *id, GError **error)
{
    struct object *obj = object_child(object_container(root, "/objects"), id);

    if (!obj || !object_is(obj, "iothread") || !obj->completed) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Cannot find iothread %s", id);
        return NULL;
    }
    return obj;
}

struct event_loop *iothread_object_loop(struct object *obj)
{
    return iothread_loop(((struct iothread_object *)obj)->thread);
}

static bool append_info(struct object *obj, void *opaque)
{
    const struct iothread_object *self = (const struct iothread_object *)obj;
    struct qapi_io_thread_info *info;

    if (!object_is(obj, "iothread")) {
        return true;
    }
    info = qapi_list_append(&qapi_type_io_thread_info_list, opaque);
    info->id = g_strdup(obj->name);
    info->thread_id = iothread_thread_id(self->thread);
    info->poll_max_ns = self->poll_max_ns;
    info->poll_grow = self->poll_grow;
    info->poll_shrink = self->poll_shrink;
    info->aio_max_batch = self->base.aio_max_batch;
    return true;
}

bool qmp_query_iothreads(struct qmp_context *ctx, struct qapi_io_thread_info_list *ret,
                         GError **error)
{
    object_foreach_child(object_container(ctx->root, "/objects"), append_info, ret);
    return true;
}
