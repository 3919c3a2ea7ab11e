/*
 * Objects and their tree.
 */
#include "object/object.h"

#include <string.h>

#include "object/property.h"
#include "qapi/error.h"
#include "util/nearest.h"
#include "util/trace.h"

/* The folders of the tree, and its root. */
struct container {
    struct object object;
    const struct object_context *context;       /* of the root */
};

static bool get_type(struct object *obj, const struct property *prop, void *value, GError **error)
{
    *(char **)value = g_strdup(obj->type->name);
    return true;
}

static const struct property object_properties[] = {
    {.name = "type", .type = &qapi_type_str, .get = get_type},
};

static const struct object_type object_type = {
    .name = "object",
    .abstract = true,
    .instance_size = sizeof(struct object),
    .properties = object_properties,
    .n_properties = G_N_ELEMENTS(object_properties),
};
OBJECT_TYPE(object_type);

static const struct object_type container_type = {
    .name = "container",
    .parent = "object",
    .instance_size = sizeof(struct container),
};
OBJECT_TYPE(container_type);

static size_t instance_size(const struct object_type *type)
{
    while (!type->instance_size) {
        type = object_type_parent(type);
    }
    return type->instance_size;
}

static void init_by_type(struct object *obj, const struct object_type *type)
{
    const struct object_type *parent = object_type_parent(type);

    if (parent) {
        init_by_type(obj, parent);
    }
    if (type->init) {
        type->init(obj);
    }
}

struct object *object_new(const struct object_type *type)
{
    struct object *obj;

    g_assert(!type->abstract);
    obj = g_malloc0(instance_size(type));
    obj->type = type;
    obj->refs = 1;
    property_set_defaults(obj);
    init_by_type(obj, type);
    return obj;
}

struct object *object_ref(struct object *obj)
{
    obj->refs++;
    return obj;
}

static void free_children(struct object *obj)
{
    if (!obj->children) {
        return;
    }
    /* The youngest first: it may use older ones. */
    while (obj->child_order->len) {
        object_remove(g_ptr_array_index(obj->child_order, obj->child_order->len - 1));
    }
    g_hash_table_unref(obj->children);
    g_ptr_array_unref(obj->child_order);
}

void object_unref(struct object *obj)
{
    g_assert(obj->refs > 0);
    if (--obj->refs) {
        return;
    }
    obj->refs = 1;      /* what finalize calls may take and drop references */
    free_children(obj);
    for (const struct object_type *type = obj->type; type; type = object_type_parent(type)) {
        if (type->finalize) {
            type->finalize(obj);
        }
    }
    g_assert(obj->refs == 1 && !obj->parent);
    property_clear_all(obj);
    g_free(obj->name);
    g_free(obj);
}

static bool complete_by_type(struct object *obj, const struct object_type *type, GError **error)
{
    const struct object_type *parent = object_type_parent(type);

    return (!parent || complete_by_type(obj, parent, error)) &&
           (!type->complete || type->complete(obj, error));
}

bool object_complete(struct object *obj, GError **error)
{
    g_assert(!obj->completed);
    obj->completed = complete_by_type(obj, obj->type, error);
    return obj->completed;
}

struct object *object_root_new(const struct object_context *context)
{
    struct object *root = object_new(&container_type);

    ((struct container *)root)->context = context;
    root->completed = true;
    object_container(root, "/objects");
    object_container(root, "/chardevs");
    return root;
}

struct object *object_root_of(struct object *obj)
{
    while (obj->parent) {
        obj = obj->parent;
    }
    return obj;
}

const struct object_context *object_context(struct object *obj)
{
    struct object *root = object_root_of(obj);

    g_assert(root->type == &container_type);
    return ((struct container *)root)->context;
}

/* Properties and children are found by the same names. But a device's bus is called as the user
 * called the device: there the property is what is found, and the child by its path. */
static bool is_taken(const struct object *parent, const char *name)
{
    return object_child(parent, name) ||
           (object_type_property(parent->type, name) && !object_is(parent, "device"));
}

bool object_add_child(struct object *parent, const char *name, struct object *child, GError **error)
{
    g_assert(!child->parent && !child->name);
    if (!*name || strchr(name, '/')) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "'%s' can't be the name of an object",
                    name);
        return false;
    }
    if (is_taken(parent, name)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "attempt to add duplicate property '%s' to object (type '%s')", name,
                    parent->type->name);
        return false;
    }
    if (!parent->children) {
        parent->children = g_hash_table_new(g_str_hash, g_str_equal);
        parent->child_order = g_ptr_array_new();
    }
    child->name = g_strdup(name);
    child->parent = parent;
    g_hash_table_insert(parent->children, child->name, object_ref(child));
    g_ptr_array_add(parent->child_order, child);
    return true;
}

void object_remove(struct object *obj)
{
    struct object *parent = obj->parent;

    g_assert(parent);
    g_hash_table_remove(parent->children, obj->name);
    g_ptr_array_remove(parent->child_order, obj);
    obj->parent = NULL;
    g_clear_pointer(&obj->name, g_free);
    object_unref(obj);
}

struct object *object_child(const struct object *parent, const char *name)
{
    return parent->children ? g_hash_table_lookup(parent->children, name) : NULL;
}

char *object_path(const struct object *obj)
{
    g_autofree char *parent = NULL;

    if (!obj->parent) {
        return g_strdup("/");
    }
    parent = object_path(obj->parent);
    return g_strconcat(obj->parent->parent ? parent : "", "/", obj->name, NULL);
}

/* The child or link called name. */
static struct object *step(struct object *obj, const char *name)
{
    struct object *child = object_child(obj, name);
    const struct property *prop = child ? NULL : object_type_property(obj->type, name);

    return prop && prop->link ? property_link(obj, prop) : child;
}

static struct object *walk(struct object *obj, char *const *parts)
{
    for (; obj && *parts; parts++) {
        obj = step(obj, *parts);
    }
    return obj;
}

/* An object that parts lead to from anywhere below obj. */
static struct object *resolve_partial(struct object *obj, char *const *parts, const char *of_type,
                                      bool *ambiguous)
{
    struct object *found = walk(obj, parts);

    if (found && of_type && !object_is(found, of_type)) {
        found = NULL;
    }
    for (guint i = 0; obj->child_order && i < obj->child_order->len && !*ambiguous; i++) {
        struct object *below =
            resolve_partial(g_ptr_array_index(obj->child_order, i), parts, of_type, ambiguous);

        *ambiguous |= found && below && found != below;
        found = found ? found : below;
    }
    return *ambiguous ? NULL : found;
}

struct object *object_resolve(struct object *root, const char *path, const char *of_type,
                              bool *ambiguous)
{
    g_auto(GStrv) split = g_strsplit(path, "/", -1);
    g_autoptr(GPtrArray) parts = g_ptr_array_new();
    struct object *found;
    bool several = false;

    for (char **part = split; *part; part++) {
        if (**part) {
            g_ptr_array_add(parts, *part);
        }
    }
    g_ptr_array_add(parts, NULL);
    if (*path == '/') {
        found = walk(root, (char *const *)parts->pdata);
        if (found && of_type && !object_is(found, of_type)) {
            found = NULL;
        }
    } else {
        found = resolve_partial(root, (char *const *)parts->pdata, of_type, &several);
    }
    if (ambiguous) {
        *ambiguous = several;
    }
    return found;
}

struct object *object_container(struct object *root, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    struct object *obj = root;

    for (char **part = parts; *part; part++) {
        struct object *next = **part ? object_child(obj, *part) : obj;

        if (!next) {
            next = object_new(&container_type);
            next->completed = true;
            if (!object_add_child(obj, *part, next, NULL)) {
                g_assert_not_reached();
            }
            object_unref(next);     /* the tree has it */
        }
        obj = next;
    }
    return obj;
}

void object_foreach_child(struct object *parent, object_visit *fn, void *opaque)
{
    g_autoptr(GPtrArray) children = g_ptr_array_new_with_free_func((GDestroyNotify)object_unref);

    /* A copy: fn may add and remove. */
    for (guint i = 0; parent->child_order && i < parent->child_order->len; i++) {
        g_ptr_array_add(children, object_ref(g_ptr_array_index(parent->child_order, i)));
    }
    for (guint i = 0; i < children->len; i++) {
        if (!fn(g_ptr_array_index(children, i), opaque)) {
            return;
        }
    }
}

bool object_id_valid(const char *id)
{
    if (!g_ascii_isalpha(*id)) {
        return false;
    }
    return id[strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")] ==
           '\0';
}

static const char *string_option(struct json_object *options, const char *name, GError **error)
{
    json_object *value;

    if (!json_object_object_get_ex(options, name, &value)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Parameter '%s' is missing", name);
        return NULL;
    }
    if (!json_object_is_type(value, json_type_string)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Invalid parameter type for '%s', expected: string", name);
        return NULL;
    }
    return json_object_get_string(value);
}

static const struct object_type *user_type(const char *name, GError **error)
{
    const struct object_type *type = object_type_find(name);
    g_autoptr(GPtrArray) types = NULL, names = g_ptr_array_new();
    const char *near;

    if (type && !type->abstract && object_type_is(type, "user-creatable")) {
        return type;
    }
    types = object_type_list("user-creatable", false);
    for (guint i = 0; i < types->len; i++) {
        g_ptr_array_add(names,
                        (void *)((const struct object_type *)g_ptr_array_index(types, i))->name);
    }
    near = util_nearest(name, (const char *const *)names->pdata, names->len);
    g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                "Parameter 'qom-type' does not accept value '%s'%s%s%s", name,
                near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
}

static struct log *root_log(struct object *root)
{
    return object_context(root)->log;
}

struct object *object_create_user(struct object *root, struct json_object *options, bool keyval,
                                  GError **error)
{
    static const char *const skip[] = {"qom-type", "id", NULL};
    const char *type_name = string_option(options, "qom-type", error);
    const struct object_type *type = type_name ? user_type(type_name, error) : NULL;
    const char *id = type ? string_option(options, "id", error) : NULL;
    auto_ptr(object) obj = NULL;

    if (!id) {
        return NULL;
    }
    if (!object_id_valid(id)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Parameter 'id' expects an identifier");
        return NULL;
    }
    trace_object_create(root_log(root), type->name, id);
    obj = object_new(type);
    obj->user_created = true;
    if (!object_add_child(object_container(root, "/objects"), id, obj, error)) {
        return NULL;
    }
    if (!object_set_all(obj, options, skip, keyval, error) || !object_complete(obj, error)) {
        object_remove(obj);
        return NULL;
    }
    return obj;
}

bool object_can_be_deleted(struct object *obj, GError **error)
{
    for (const struct object_type *type = obj->type; type; type = object_type_parent(type)) {
        if (type->can_be_deleted && !type->can_be_deleted(obj, error)) {
            return false;
        }
    }
    return true;
}

bool object_delete_user(struct object *root, const char *id, GError **error)
{
    struct object *obj = object_child(object_container(root, "/objects"), id);

    if (!obj || !obj->user_created) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "object '%s' not found", id);
        return false;
    }
    if (!object_can_be_deleted(obj, error)) {
        return false;
    }
    trace_object_delete(root_log(root), id);
    object_remove(obj);
    return true;
}
