/*
 * throttle-group: limits that several users have in common. They may be on different threads.
 */
#include "object/throttle.h"

#include "qapi/error.h"
#include "qapi/qapi_types.h"
#include "util/clock.h"

struct throttle_group {
    struct object object;
    struct throttle_config config;      /* main thread */
    GMutex lock;                        /* of what is below */
    struct throttle throttle;
};

static int64_t *limit_of(struct qapi_throttle_limits *limits, size_t offset)
{
    return (int64_t *)((char *)limits + offset);
}

static bool get_limits(struct object *obj, const struct property *prop, void *value, GError **error)
{
    throttle_config_to_limits(&((struct throttle_group *)obj)->config, value);
    return true;
}

static void apply(struct throttle_group *group)
{
    int64_t now = clocks_now(object_context(&group->object)->clocks, CLOCK_REAL);

    g_mutex_lock(&group->lock);
    throttle_init(&group->throttle, &group->config, now);
    g_mutex_unlock(&group->lock);
}

static bool set_limits(struct object *obj, const struct property *prop, const void *value,
                       GError **error)
{
    struct throttle_group *group = (struct throttle_group *)obj;
    struct throttle_config config = group->config;

    if (!throttle_config_update(&config, value, error) ||
        (obj->completed && !throttle_config_check(&config, error))) {
        return false;
    }
    group->config = config;
    if (obj->completed) {
        apply(group);
    }
    return true;
}

/* One limit: the row's offset is that of the member in ThrottleLimits. */
static bool get_limit(struct object *obj, const struct property *prop, void *value, GError **error)
{
    struct qapi_throttle_limits limits = {0};

    throttle_config_to_limits(&((struct throttle_group *)obj)->config, &limits);
    *(int64_t *)value = *limit_of(&limits, prop->offset);
    return true;
}

static bool set_limit(struct object *obj, const struct property *prop, const void *value,
                      GError **error)
{
    struct throttle_group *group = (struct throttle_group *)obj;
    int64_t limit = *(const int64_t *)value;
    struct qapi_throttle_limits limits = {0};

    if (limit < 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "%s value must be in range [0, %" G_GINT64_FORMAT "]", prop->name, G_MAXINT64);
        return false;
    }
    throttle_config_to_limits(&group->config, &limits);
    *limit_of(&limits, prop->offset) = limit;
    return throttle_config_update(&group->config, &limits, error);
}

static void group_init(struct object *obj)
{
    struct throttle_group *group = (struct throttle_group *)obj;

    throttle_config_init(&group->config);
    g_mutex_init(&group->lock);
}

static bool group_complete(struct object *obj, GError **error)
{
    struct throttle_group *group = (struct throttle_group *)obj;

    if (!throttle_config_check(&group->config, error)) {
        return false;
    }
    apply(group);
    return true;
}

/* A member has a reference; the tree has the other one. */
static bool group_can_be_deleted(struct object *obj, GError **error)
{
    if (obj->refs > 1) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "object '%s' is in use, can not be deleted", obj->name);
        return false;
    }
    return true;
}

static void group_finalize(struct object *obj)
{
    g_mutex_clear(&((struct throttle_group *)obj)->lock);
}

struct object *throttle_group_find(struct object *root, const char *id, GError **error)
{
    struct object *obj = object_child(object_container(root, "/objects"), id);

    if (!obj || !object_is(obj, "throttle-group") || !obj->completed) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "throttle group '%s' not found", id);
        return NULL;
    }
    return obj;
}

int64_t throttle_group_admit(struct object *obj, bool is_write, uint64_t bytes, int64_t now)
{
    struct throttle_group *group = (struct throttle_group *)obj;
    int64_t wait;

    g_mutex_lock(&group->lock);
    wait = throttle_wait(&group->throttle, is_write, now);
    if (!wait) {
        throttle_account(&group->throttle, is_write, bytes);
    }
    g_mutex_unlock(&group->lock);
    return wait;
}

#define LIMIT(name_, member)                                                                       \
    {.name = "x-" name_, .offset = offsetof(struct qapi_throttle_limits, member),                  \
     .type = &qapi_type_int, .get = get_limit, .set = set_limit}

static const struct property group_properties[] = {
    {.name = "limits", .type = &qapi_type_throttle_limits, .flags = PROPERTY_RUNTIME,
     .get = get_limits, .set = set_limits},
    LIMIT("iops-total", iops_total),
    LIMIT("iops-total-max", iops_total_max),
    LIMIT("iops-total-max-length", iops_total_max_length),
    LIMIT("iops-read", iops_read),
    LIMIT("iops-read-max", iops_read_max),
    LIMIT("iops-read-max-length", iops_read_max_length),
    LIMIT("iops-write", iops_write),
    LIMIT("iops-write-max", iops_write_max),
    LIMIT("iops-write-max-length", iops_write_max_length),
    LIMIT("bps-total", bps_total),
    LIMIT("bps-total-max", bps_total_max),
    LIMIT("bps-total-max-length", bps_total_max_length),
    LIMIT("bps-read", bps_read),
    LIMIT("bps-read-max", bps_read_max),
    LIMIT("bps-read-max-length", bps_read_max_length),
    LIMIT("bps-write", bps_write),
    LIMIT("bps-write-max", bps_write_max),
    LIMIT("bps-write-max-length", bps_write_max_length),
    LIMIT("iops-size", iops_size),
};

static const char *const group_interfaces[] = {"user-creatable", NULL};

static const struct object_type group_type = {
    .name = "throttle-group",
    .parent = "object",
    .instance_size = sizeof(struct throttle_group),
    .properties = group_properties,
    .n_properties = G_N_ELEMENTS(group_properties),
    .interfaces = group_interfaces,
    .init = group_init,
    .complete = group_complete,
    .can_be_deleted = group_can_be_deleted,
    .finalize = group_finalize,
};
OBJECT_TYPE(group_type);
