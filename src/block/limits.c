/*
 * Limits of a user: its requests wait for a throttle-group, one of the user's (-object) or one that
 * is made when somebody names it, and goes with its last member. Main thread; a user's group
 * changes in drained sections.
 */
#include "block/block_priv.h"
#include "block/limits.h"
#include "object/throttle.h"
#include "qapi/error.h"

enum { N_RATES = 6 };               /* rows that are limits by themselves */

static const char own_groups[] = "/block-throttle-groups";

/* Members of BlockDeviceInfo and block_set_io_throttle, and those of ThrottleLimits. */
static const struct {
    const char *name, *limit;
} rows[] = {
    {"bps", "bps-total"},
    {"bps_rd", "bps-read"},
    {"bps_wr", "bps-write"},
    {"iops", "iops-total"},
    {"iops_rd", "iops-read"},
    {"iops_wr", "iops-write"},
    {"bps_max", "bps-total-max"},
    {"bps_rd_max", "bps-read-max"},
    {"bps_wr_max", "bps-write-max"},
    {"iops_max", "iops-total-max"},
    {"iops_rd_max", "iops-read-max"},
    {"iops_wr_max", "iops-write-max"},
    {"bps_max_length", "bps-total-max-length"},
    {"bps_rd_max_length", "bps-read-max-length"},
    {"bps_wr_max_length", "bps-write-max-length"},
    {"iops_max_length", "iops-total-max-length"},
    {"iops_rd_max_length", "iops-read-max-length"},
    {"iops_wr_max_length", "iops-write-max-length"},
    {"iops_size", "iops-size"},
};

json_object *block_limits_from_names(json_object *named)
{
    json_object *limits = json_object_new_object();

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        json_object *value;

        if (json_object_object_get_ex(named, rows[i].name, &value)) {
            json_object_object_add(limits, rows[i].limit, json_object_get(value));
        } else {
            /* What isn't said is no limit, not what it was; a burst lasts a second. */
            bool length = g_str_has_suffix(rows[i].name, "_length");

            json_object_object_add(limits, rows[i].limit, json_object_new_int64(length));
        }
    }
    return limits;
}

static bool is_limiting(json_object *limits)
{
    for (unsigned i = 0; i < N_RATES; i++) {
        json_object *value;

        if (json_object_object_get_ex(limits, rows[i].limit, &value) &&
            json_object_get_int64(value)) {
            return true;
        }
    }
    return false;
}

/* The group of this name with these limits; a reference. */
static struct object *take_group(struct block_graph *graph, const char *name, json_object *limits,
                                 GError **error)
{
    struct object *folder = object_container(graph->root, own_groups);
    struct object *group = throttle_group_find(graph->root, name, NULL);
    auto_ptr(object) made = NULL;

    group = group ? group : object_child(folder, name);
    if (group) {
        return object_set(group, "limits", limits, false, error) ? object_ref(group) : NULL;
    }
    made = object_new(object_type_find("throttle-group"));
    if (!object_set(made, "limits", limits, false, error) ||
        !object_add_child(folder, name, made, error)) {
        return NULL;
    }
    if (!object_complete(made, error)) {
        object_remove(made);
        return NULL;
    }
    return g_steal_pointer(&made);
}

void block_limits_drop(struct object *group)
{
    if (!group) {
        return;
    }
    /* Ours and the tree's: nobody is left. */
    if (group->refs == 2 && !group->user_created) {
        object_remove(group);
    }
    object_unref(group);
}

void block_user_leave_limits(struct block_user *user)
{
    block_limits_drop(g_steal_pointer(&user->limits));
}

/* Takes the number called name, if it is there, to limits. */
static bool take_number(json_object *options, const char *name, json_object *limits,
                        const char *limit, GError **error)
{
    json_object *value;
    guint64 number;

    if (!json_object_object_get_ex(options, name, &value)) {
        return true;
    }
    if (!g_ascii_string_to_unsigned(json_object_get_string(value), 10, 0, INT64_MAX, &number,
                                    NULL)) {
        return block_error(error, "Parameter '%s' expects a number", name);
    }
    json_object_object_add(limits, limit, json_object_new_int64((int64_t)number));
    json_object_object_del(options, name);
    return true;
}

bool block_limits_take(struct block_graph *graph, json_object *options, const char *own,
                       struct object **group, GError **error)
{
    g_autoptr(json_object) nothing = json_object_new_object();
    g_autoptr(json_object) limits = block_limits_from_names(nothing);
    g_autofree char *name = NULL;
    json_object *value;

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *full = g_strdup_printf("throttling.%s", rows[i].limit);

        if (!take_number(options, rows[i].name, limits, rows[i].limit, error) ||
            !take_number(options, full, limits, rows[i].limit, error)) {
            return false;
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        const char *key = i ? "throttling.group" : "group";

        if (json_object_object_get_ex(options, key, &value)) {
            g_free(name);
            name = g_strdup(json_object_get_string(value));
            json_object_object_del(options, key);
        }
    }
    *group = is_limiting(limits) ? take_group(graph, name ? name : own, limits, error) : NULL;
    return *group || !is_limiting(limits);
}

bool co_block_user_set_limits(struct block_user *user, const char *name, const char *own,
                              json_object *limits, GError **error)
{
    struct object *group = NULL;

    if (is_limiting(limits)) {
        if (!name && user->limits) {
            name = user->limits->name;
        }
        group = take_group(user->graph, name ? name : own, limits, error);
        if (!group) {
            return false;
        }
    }
    co_block_drain_begin(user->graph, NULL);
    block_user_leave_limits(user);
    user->limits = group;
    block_drain_end(user->graph, NULL);
    return true;
}

static void set_member(struct qapi_block_device_info *info, const char *name, int64_t value)
{
    const struct qapi_type *type = &qapi_type_block_device_info;

    for (unsigned i = 0; i < type->n_members; i++) {
        const struct qapi_member *member = &type->members[i];

        if (g_str_equal(member->name, name)) {
            *(int64_t *)((char *)info + member->offset) = value;
            if (member->has_offset >= 0) {
                *(bool *)((char *)info + member->has_offset) = true;
            }
        }
    }
}

void block_user_describe_limits(const struct block_user *user, struct qapi_block_device_info *info)
{
    g_autoptr(json_object) limits =
        user->limits ? object_get(user->limits, "limits", NULL) : NULL;

    for (unsigned i = 0; limits && i < G_N_ELEMENTS(rows); i++) {
        json_object *value;

        /* Those of bursts are only there if there are any. */
        if (json_object_object_get_ex(limits, rows[i].limit, &value) &&
            json_object_get_int64(value)) {
            set_member(info, rows[i].name, json_object_get_int64(value));
        }
    }
    info->group = limits ? g_strdup(user->limits->name) : NULL;
}
