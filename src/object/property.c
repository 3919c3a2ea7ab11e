/*
 * Properties: typed values of objects, by the tables of their types.
 */
#include "object/property.h"

#include <string.h>

#include "qapi/error.h"
#include "util/nearest.h"

static void *field(struct object *obj, const struct property *prop)
{
    return (char *)obj + prop->offset;
}

/* The object that has it: obj, or what obj stands for. */
static struct object *holder(struct object *obj, const struct property *prop)
{
    return object_type_own_property(obj->type, prop->name)
               ? obj
               : object_child(obj, object_type_proxied_child(obj->type));
}

static bool is_plain_field(const struct property *prop)
{
    return !prop->link && !prop->get;
}

static bool is_inline_pointer(const struct qapi_type *type)
{
    return type->kind == QAPI_KIND_STRUCT || type->kind == QAPI_KIND_UNION ||
           type->kind == QAPI_KIND_ALTERNATE;
}

bool property_is_settable(const struct property *prop)
{
    return !(prop->flags & PROPERTY_READ_ONLY) && (!prop->get || prop->set);
}

/*
 * A value (type->size bytes, freed with qapi_free) from JSON or key=value. It is read as the
 * member of a structure that has only this one, so that errors name it.
 */
static void *value_from_json(const struct property *prop, struct json_object *json, bool keyval,
                             GError **error)
{
    const struct qapi_type *type = prop->type;
    const struct qapi_member member = {.name = prop->name, .type = type, .has_offset = -1};
    const struct qapi_type wrapper = {
        .name = "property",
        .kind = QAPI_KIND_STRUCT,
        .size = MAX(type->size, sizeof(void *)),
        .members = &member,
        .n_members = 1,
    };
    g_autoptr(json_object) object = json_object_new_object();
    g_autofree void *value = g_malloc0(wrapper.size);

    json_object_object_add(object, prop->name, json_object_get(json));
    if (!(keyval ? qapi_from_keyval : qapi_from_json)(&wrapper, object, value, error)) {
        return NULL;
    }
    return is_inline_pointer(type) ? *(void **)value : g_steal_pointer(&value);
}

struct object *property_link(struct object *obj, const struct property *prop)
{
    return *(struct object **)field(holder(obj, prop), prop);
}

static bool set_link(struct object *obj, const struct property *prop, const char *path,
                     GError **error)
{
    struct object **link = field(obj, prop);
    struct object *target = NULL;
    bool ambiguous = false;

    if (*path) {
        target = object_resolve(object_root_of(obj), path, prop->link, &ambiguous);
    }
    if (*path && !target) {
        struct object *other = object_resolve(object_root_of(obj), path, NULL, NULL);

        if (ambiguous) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Path '%s' is ambiguous", path);
        } else if (other) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "Invalid parameter type for '%s', expected: %s; '%s' is of type '%s'",
                        prop->name, prop->link, path, other->type->name);
        } else {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found",
                        path);
        }
        return false;
    }
    if (target && !target->completed) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "'%s' can't be linked to '%s', which isn't set up yet", prop->name, path);
        return false;
    }
    if (target) {
        object_ref(target);
    }
    if (*link) {
        object_unref(*link);
    }
    *link = target;
    return true;
}

static bool store(struct object *obj, const struct property *prop, void *value, GError **error)
{
    if (prop->set && !prop->set(obj, prop, value, error)) {
        return false;
    }
    if (prop->link) {
        return set_link(obj, prop, *(char **)value, error);
    }
    if (is_plain_field(prop)) {
        qapi_clear(prop->type, field(obj, prop));
        memcpy(field(obj, prop), value, prop->type->size);
        memset(value, 0, prop->type->size);
    }
    return true;
}

static bool set_property(struct object *obj, const struct property *prop, struct json_object *json,
                         bool keyval, GError **error)
{
    void *value;
    bool ok;

    obj = holder(obj, prop);
    if (!property_is_settable(prop)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Property '%s.%s' is not writable",
                    obj->type->name, prop->name);
        return false;
    }
    if (obj->completed && !(prop->flags & PROPERTY_RUNTIME)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Property '%s' can no longer be set",
                    prop->name);
        return false;
    }
    value = value_from_json(prop, json, keyval, error);
    if (!value) {
        return false;
    }
    ok = store(obj, prop, value, error);
    qapi_free(prop->type, value);
    if (ok && obj->completed && prop->changed) {
        prop->changed(obj, prop);
    }
    return ok;
}

static char *nearest_property(const struct object_type *type, const char *name)
{
    g_autoptr(GPtrArray) props = object_type_properties(type);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *near;

    for (guint i = 0; i < props->len; i++) {
        const struct property *prop = g_ptr_array_index(props, i);

        if (property_is_settable(prop)) {
            g_ptr_array_add(names, (void *)prop->name);
        }
    }
    near = util_nearest(name, (const char *const *)names->pdata, names->len);
    return near ? g_strdup_printf("; did you mean '%s'?", near) : g_strdup("");
}

static void no_property(const struct object *obj, const char *name, GError **error)
{
    g_autofree char *near = nearest_property(obj->type, name);

    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Property '%s.%s' not found%s",
                obj->type->name, name, near);
}

bool object_set(struct object *obj, const char *name, struct json_object *value, bool keyval,
                GError **error)
{
    const struct property *prop = object_type_property(obj->type, name);

    if (!prop && object_child(obj, name)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Property '%s.%s' is not writable",
                    obj->type->name, name);
        return false;
    }
    if (!prop) {
        no_property(obj, name, error);
        return false;
    }
    return set_property(obj, prop, value, keyval, error);
}

bool object_set_str(struct object *obj, const char *name, const char *value, GError **error)
{
    g_autoptr(json_object) json = json_object_new_string(value);

    return object_set(obj, name, json, true, error);
}

static bool check_required(struct object *obj, struct json_object *options, GError **error)
{
    g_autoptr(GPtrArray) props = object_type_properties(obj->type);

    for (guint i = 0; i < props->len; i++) {
        const struct property *prop = g_ptr_array_index(props, i);

        if ((prop->flags & PROPERTY_REQUIRED) &&
            !json_object_object_get_ex(options, prop->name, NULL)) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Parameter '%s' is missing",
                        prop->name);
            return false;
        }
    }
    return true;
}

bool object_set_all(struct object *obj, struct json_object *options, const char *const *skip,
                    bool keyval, GError **error)
{
    struct json_object_iterator it = json_object_iter_begin(options);
    struct json_object_iterator end = json_object_iter_end(options);

    if (!check_required(obj, options, error)) {
        return false;
    }
    for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
        const char *name = json_object_iter_peek_name(&it);
        const struct property *prop;

        if (skip && g_strv_contains(skip, name)) {
            continue;
        }
        prop = object_type_property(obj->type, name);
        if (!prop) {
            g_autofree char *near = nearest_property(obj->type, name);

            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        keyval ? "Invalid parameter '%s'%s" : "Parameter '%s' is unexpected%s",
                        name, near);
            return false;
        }
        if (!set_property(obj, prop, json_object_iter_peek_value(&it), keyval, error)) {
            return false;
        }
    }
    return true;
}

static json_object *value_to_json(const struct qapi_type *type, const void *value)
{
    if (type->kind == QAPI_KIND_STR && !*(char *const *)value) {
        return json_object_new_string("");
    }
    return qapi_to_json(type, value);
}

static json_object *get_computed(struct object *obj, const struct property *prop, GError **error)
{
    void *value = g_malloc0(prop->type->size);
    json_object *json = NULL;

    if (prop->get(obj, prop, value, error)) {
        json = value_to_json(prop->type, value);
    }
    qapi_free(prop->type, value);
    return json;
}

json_object *object_get(struct object *obj, const char *name, GError **error)
{
    const struct property *prop = object_type_property(obj->type, name);
    struct object *target = object_child(obj, name);

    if (!prop && !target) {
        no_property(obj, name, error);
        return NULL;
    }
    if (prop && (prop->flags & PROPERTY_WRITE_ONLY)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Property '%s.%s' is not readable",
                    obj->type->name, name);
        return NULL;
    }
    if (prop && prop->link) {
        target = property_link(obj, prop);
    } else if (prop) {
        obj = holder(obj, prop);
        return prop->get ? get_computed(obj, prop, error)
                         : value_to_json(prop->type, field(obj, prop));
    }
    g_autofree char *path = target ? object_path(target) : g_strdup("");

    return json_object_new_string(path);
}

static void *parse_default(const struct property *prop)
{
    g_autoptr(json_object) json = json_object_new_string(prop->default_value);
    g_autoptr(GError) error = NULL;
    void *value = value_from_json(prop, json, true, &error);

    if (!value) {
        g_error("default of property '%s': %s", prop->name, error->message);
    }
    return value;
}

json_object *property_default(const struct property *prop)
{
    json_object *json;
    void *value;

    if (!prop->default_value) {
        return NULL;
    }
    value = parse_default(prop);
    json = qapi_to_json(prop->type, value);
    qapi_free(prop->type, value);
    return json;
}

void property_set_defaults(struct object *obj)
{
    g_autoptr(GPtrArray) props = object_type_own_properties(obj->type);

    for (guint i = 0; i < props->len; i++) {
        const struct property *prop = g_ptr_array_index(props, i);

        if (prop->default_value && is_plain_field(prop)) {
            void *value = parse_default(prop);

            memcpy(field(obj, prop), value, prop->type->size);
            g_free(value);
        }
    }
}

void property_clear_all(struct object *obj)
{
    g_autoptr(GPtrArray) props = object_type_own_properties(obj->type);

    for (guint i = 0; i < props->len; i++) {
        const struct property *prop = g_ptr_array_index(props, i);

        if (prop->link) {
            set_link(obj, prop, "", NULL);
        } else if (is_plain_field(prop)) {
            qapi_clear(prop->type, field(obj, prop));
        }
    }
}

static const char *scalar_name(const struct object_type *owner, const struct qapi_type *type)
{
    bool is_device = object_type_is(owner, "device");

    switch (type->kind) {
    case QAPI_KIND_STR:
        return is_device ? "str" : "string";
    case QAPI_KIND_INT:
    case QAPI_KIND_UINT:
    case QAPI_KIND_SIZE:
        return is_device ? type->name : "int";
    case QAPI_KIND_LIST:
        return scalar_name(owner, type->element);
    default:
        return type->name;
    }
}

char *property_type_name(const struct object_type *owner, const struct property *prop)
{
    return prop->link ? g_strdup_printf("link<%s>", prop->link) :
                        g_strdup(scalar_name(owner, prop->type));
}
