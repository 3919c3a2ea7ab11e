/*
 * QMP commands on the object tree.
 */
#include "object/device.h"
#include "object/object.h"
#include "qapi/qapi_commands.h"

static struct object *resolve(struct qmp_context *ctx, const char *path, GError **error)
{
    bool ambiguous = false;
    struct object *obj = object_resolve(ctx->root, path, NULL, &ambiguous);

    if (ambiguous) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Path '%s' is ambiguous", path);
    } else if (!obj) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", path);
    }
    return obj;
}

static struct qapi_object_property_info *append_info(struct qapi_object_property_info_list *list,
                                                     const char *name, char *type)
{
    struct qapi_object_property_info *info =
        qapi_list_append(&qapi_type_object_property_info_list, list);

    info->name = g_strdup(name);
    info->type = type;
    return info;
}

static void append_properties(struct qapi_object_property_info_list *list,
                              const struct object_type *type, GPtrArray *props, bool verbose)
{
    for (guint i = 0; i < props->len; i++) {
        const struct property *prop = g_ptr_array_index(props, i);
        struct qapi_object_property_info *info =
            append_info(list, prop->name, property_type_name(type, prop));

        if (verbose) {
            info->description = g_strdup(prop->description);
            info->default_value = property_default(prop);
        }
    }
}

bool qmp_qom_list(struct qmp_context *ctx, const struct qapi_qom_list_arg *arg,
                  struct qapi_object_property_info_list *ret, GError **error)
{
    struct object *obj = resolve(ctx, arg->path, error);
    g_autoptr(GPtrArray) props = NULL;

    if (!obj) {
        return false;
    }
    props = object_type_properties(obj->type);
    append_properties(ret, obj->type, props, false);
    for (guint i = 0; obj->child_order && i < obj->child_order->len; i++) {
        const struct object *child = g_ptr_array_index(obj->child_order, i);

        append_info(ret, child->name, g_strdup_printf("child<%s>", child->type->name));
    }
    return true;
}

bool qmp_qom_get(struct qmp_context *ctx, const struct qapi_qom_get_arg *arg, json_object **ret,
                 GError **error)
{
    struct object *obj = resolve(ctx, arg->path, error);
    GError *failed = NULL;

    if (!obj) {
        return false;
    }
    *ret = object_get(obj, arg->property, &failed);
    if (failed) {
        g_propagate_error(error, failed);
    }
    return !failed;
}

bool qmp_qom_set(struct qmp_context *ctx, const struct qapi_qom_set_arg *arg, GError **error)
{
    struct object *obj = resolve(ctx, arg->path, error);

    return obj && object_set(obj, arg->property, arg->value, false, error);
}

bool qmp_qom_list_types(struct qmp_context *ctx, const struct qapi_qom_list_types_arg *arg,
                        struct qapi_object_type_info_list *ret, GError **error)
{
    g_autoptr(GPtrArray) types =
        object_type_list(arg->implements, arg->has_abstract && arg->abstract);

    for (guint i = 0; i < types->len; i++) {
        const struct object_type *type = g_ptr_array_index(types, i);
        struct qapi_object_type_info *info =
            qapi_list_append(&qapi_type_object_type_info_list, ret);

        info->name = g_strdup(type->name);
        info->parent = g_strdup(type->parent);
        info->has_abstract = info->abstract = type->abstract;
    }
    return true;
}

bool qmp_qom_list_properties(struct qmp_context *ctx,
                             const struct qapi_qom_list_properties_arg *arg,
                             struct qapi_object_property_info_list *ret, GError **error)
{
    const struct object_type *type = object_type_find(arg->typename);
    g_autoptr(GPtrArray) props = NULL;

    if (!type) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND, "Class '%s' not found",
                    arg->typename);
        return false;
    }
    props = object_type_properties(type);
    append_properties(ret, type, props, true);
    return true;
}

bool qmp_device_list_properties(struct qmp_context *ctx,
                                const struct qapi_device_list_properties_arg *arg,
                                struct qapi_object_property_info_list *ret, GError **error)
{
    const struct object_type *type = device_type_find(arg->typename, error);
    g_autoptr(GPtrArray) props = NULL;

    if (!type) {
        return false;
    }
    props = device_type_properties(type);
    append_properties(ret, type, props, true);
    return true;
}

bool qmp_object_add(struct qmp_context *ctx, const struct qapi_object_options *arg, GError **error)
{
    g_autoptr(json_object) options = qapi_to_json(&qapi_type_object_options, arg);

    return object_create_user(ctx->root, options, false, error) != NULL;
}

bool qmp_object_del(struct qmp_context *ctx, const struct qapi_object_del_arg *arg, GError **error)
{
    return object_delete_user(ctx->root, arg->id, error);
}
