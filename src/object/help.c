/*
 * Help on types, in the form that tools which parse QEMU's read.
 */
#include "object/device.h"
#include "object/property.h"

#include <string.h>

#include "qapi/error.h"
#include "util/nearest.h"

char *object_types_help(const char *ancestor, const char *heading)
{
    g_autoptr(GPtrArray) types = object_type_list(ancestor, false);
    GString *text = g_string_new(heading);

    g_string_append_c(text, '\n');
    for (guint i = 0; i < types->len; i++) {
        const struct object_type *type = g_ptr_array_index(types, i);

        g_string_append_printf(text, "  %s\n", type->name);
    }
    return g_string_free(text, FALSE);
}

/* Strings are quoted; booleans and enums are as on a command line. */
static char *default_text(const struct property *prop)
{
    g_autoptr(json_object) json = property_default(prop);

    if (!json) {
        return NULL;
    }
    if (prop->type->kind == QAPI_KIND_BOOL) {
        return g_strdup(json_object_get_boolean(json) ? "on" : "off");
    }
    return g_strdup(prop->type->kind == QAPI_KIND_ENUM ? json_object_get_string(json) :
                                                         json_object_to_json_string_ext(json, 0));
}

static char *property_help(const struct object_type *type, const struct property *prop)
{
    g_autofree char *type_name = property_type_name(type, prop);
    g_autofree char *left = g_strdup_printf("%s=<%s>", prop->name, type_name);
    g_autofree char *value = default_text(prop);

    if (!prop->description && !value) {
        return g_strdup_printf("  %s\n", left);
    }
    return g_strdup_printf("  %-22s - %s%s%s%s\n", left, prop->description ? prop->description : "",
                           value ? " (default: " : "", value ? value : "", value ? ")" : "");
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *properties_help(const struct object_type *type, GPtrArray *props)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < props->len; i++) {
        const struct property *prop = g_ptr_array_index(props, i);

        if (property_is_settable(prop)) {
            g_ptr_array_add(lines, property_help(type, prop));
        }
    }
    g_ptr_array_sort(lines, compare_lines);
    g_string_printf(text, lines->len ? "%s options:\n" : "There are no options for %s.\n",
                    type->name);
    for (guint i = 0; i < lines->len; i++) {
        g_string_append(text, g_ptr_array_index(lines, i));
    }
    return g_string_free(text, FALSE);
}

char *object_type_help(const struct object_type *type)
{
    g_autoptr(GPtrArray) props = object_type_properties(type);

    return properties_help(type, props);
}

const struct object_type *device_type_find(const char *name, GError **error)
{
    const struct object_type *type = object_type_find(name);

    if (!type) {
        g_autoptr(GPtrArray) types = object_type_list("device", false);
        g_autoptr(GPtrArray) names = g_ptr_array_new();
        const char *near;

        for (guint i = 0; i < types->len; i++) {
            const struct object_type *device = g_ptr_array_index(types, i);

            g_ptr_array_add(names, (void *)device->name);
        }
        near = util_nearest(name, (const char *const *)names->pdata, names->len);
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found%s%s%s",
                    name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        return NULL;
    }
    if (type->abstract || !object_type_is(type, "device")) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "Parameter 'typename' expects a non-abstract device type");
        return NULL;
    }
    return type;
}

GPtrArray *device_type_properties(const struct object_type *type)
{
    GPtrArray *props = object_type_properties(type);
    const struct object_type *device = object_type_find("device");

    for (guint i = 0; i < props->len;) {
        const struct property *prop = g_ptr_array_index(props, i);

        if (object_type_property(device, prop->name)) {
            g_ptr_array_remove_index(props, i);
        } else {
            i++;
        }
    }
    return props;
}

char *device_type_help(const char *name, GError **error)
{
    const struct object_type *type = device_type_find(name, error);
    g_autoptr(GPtrArray) props = NULL;

    if (!type) {
        return NULL;
    }
    props = device_type_properties(type);
    return properties_help(type, props);
}

/* Types that -device takes have a category; what only a board can make has none. */
static const char *device_category(const struct object_type *type)
{
    return object_type_inherited(type, offsetof(struct object_type, category));
}

static int compare_by_category(const void *a, const void *b)
{
    const struct object_type *const *x = a, *const *y = b;
    int order = strcmp(device_category(*x), device_category(*y));

    return order ? order : strcmp((*x)->name, (*y)->name);
}

char *device_types_help(void)
{
    g_autoptr(GPtrArray) all = object_type_list("device", false);
    g_autoptr(GPtrArray) types = g_ptr_array_new();
    GString *text = g_string_new(NULL);
    const char *last = "";

    for (guint i = 0; i < all->len; i++) {
        if (device_category(g_ptr_array_index(all, i))) {
            g_ptr_array_add(types, g_ptr_array_index(all, i));
        }
    }
    g_ptr_array_sort(types, compare_by_category);
    for (guint i = 0; i < types->len; i++) {
        const struct object_type *type = g_ptr_array_index(types, i);
        const char *category = device_category(type);
        const char *bus = object_type_inherited(type, offsetof(struct object_type, bus));

        if (!g_str_equal(category, last)) {
            g_string_append_printf(text, "%s%s devices:\n", *last ? "\n" : "", category);
            last = category;
        }
        g_string_append_printf(text, "name \"%s\"", type->name);
        if (bus) {
            g_string_append_printf(text, ", bus %s", bus);
        }
        if (type->description) {
            g_string_append_printf(text, ", desc \"%s\"", type->description);
        }
        g_string_append_c(text, '\n');
    }
    return g_string_free(text, FALSE);
}
