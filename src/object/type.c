/*
 * The table of types: rows that OBJECT_TYPE put into a section of the program.
 */
#include "object/property.h"

#include <string.h>

extern const struct object_type *const __start_nandu_object_types[];
extern const struct object_type *const __stop_nandu_object_types[];

const struct object_type *object_type_find(const char *name)
{
    for (const struct object_type *const *row = __start_nandu_object_types;
         row < __stop_nandu_object_types; row++) {
        if (g_str_equal((*row)->name, name)) {
            return *row;
        }
    }
    return NULL;
}

const struct object_type *object_type_parent(const struct object_type *type)
{
    const struct object_type *parent;

    if (!type->parent) {
        return NULL;
    }
    parent = object_type_find(type->parent);
    g_assert(parent);
    return parent;
}

static bool has_interface(const struct object_type *type, const char *name)
{
    return type->interfaces && g_strv_contains(type->interfaces, name);
}

bool object_type_is(const struct object_type *type, const char *ancestor)
{
    for (; type; type = object_type_parent(type)) {
        if (g_str_equal(type->name, ancestor) || has_interface(type, ancestor)) {
            return true;
        }
    }
    return false;
}

bool object_is(const struct object *obj, const char *ancestor)
{
    return object_type_is(obj->type, ancestor);
}

static int compare_names(const void *a, const void *b)
{
    const struct object_type *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

GPtrArray *object_type_list(const char *ancestor, bool with_abstract)
{
    GPtrArray *types = g_ptr_array_new();

    for (const struct object_type *const *row = __start_nandu_object_types;
         row < __stop_nandu_object_types; row++) {
        if ((with_abstract || !(*row)->abstract) && (!ancestor || object_type_is(*row, ancestor))) {
            g_ptr_array_add(types, (void *)*row);
        }
    }
    g_ptr_array_sort(types, compare_names);
    return types;
}

const void *object_class_data(const struct object *obj)
{
    const struct object_type *type = obj->type;

    while (type && !type->class_data) {
        type = object_type_parent(type);
    }
    return type ? type->class_data : NULL;
}

const char *object_type_inherited(const struct object_type *type, size_t offset)
{
    const char *text = NULL;

    for (; type && !text; type = object_type_parent(type)) {
        text = *(const char *const *)((const char *)type + offset);
    }
    return text;
}

const struct object_type *object_type_proxied(const struct object_type *type)
{
    const char *name = object_type_inherited(type, offsetof(struct object_type, proxied));

    return name ? object_type_find(name) : NULL;
}

const char *object_type_proxied_child(const struct object_type *type)
{
    return object_type_inherited(type, offsetof(struct object_type, proxied_child));
}

const struct property *object_type_own_property(const struct object_type *type, const char *name)
{
    for (; type; type = object_type_parent(type)) {
        for (size_t i = 0; i < type->n_properties; i++) {
            if (g_str_equal(type->properties[i].name, name)) {
                return &type->properties[i];
            }
        }
    }
    return NULL;
}

const struct property *object_type_property(const struct object_type *type, const char *name)
{
    const struct property *own = object_type_own_property(type, name);
    const struct object_type *proxied = own ? NULL : object_type_proxied(type);

    return proxied ? object_type_own_property(proxied, name) : own;
}

static void collect_properties(GPtrArray *list, const struct object_type *type,
                               const struct object_type *leaf)
{
    const struct object_type *parent = object_type_parent(type);

    if (parent) {
        collect_properties(list, parent, leaf);
    }
    for (size_t i = 0; i < type->n_properties; i++) {
        const struct property *prop = &type->properties[i];

        if (object_type_own_property(leaf, prop->name) == prop) {
            g_ptr_array_add(list, (void *)prop);
        }
    }
}

GPtrArray *object_type_own_properties(const struct object_type *type)
{
    GPtrArray *list = g_ptr_array_new();

    collect_properties(list, type, type);
    return list;
}

GPtrArray *object_type_properties(const struct object_type *type)
{
    const struct object_type *proxied = object_type_proxied(type);
    GPtrArray *list = object_type_own_properties(type);
    g_autoptr(GPtrArray) others = proxied ? object_type_own_properties(proxied) : NULL;

    for (guint i = 0; others && i < others->len; i++) {
        const struct property *prop = others->pdata[i];

        if (!object_type_own_property(type, prop->name)) {
            g_ptr_array_add(list, (void *)prop);
        }
    }
    return list;
}
