#include "machine/globals.h"

#include <string.h>

#include "qapi/error.h"
#include "qapi/keyval.h"
#include "util/log.h"

struct global {
    char *driver, *property, *value;
    bool used;
};

struct globals {
    GPtrArray *list;            /* struct global */
};

static void free_global(void *opaque)
{
    struct global *global = opaque;

    g_free(global->driver);
    g_free(global->property);
    g_free(global->value);
    g_free(global);
}

struct globals *globals_new(void)
{
    struct globals *globals = g_new0(struct globals, 1);

    globals->list = g_ptr_array_new_with_free_func(free_global);
    return globals;
}

void globals_free(struct globals *globals)
{
    g_ptr_array_unref(globals->list);
    g_free(globals);
}

static bool check(const struct global *global, GError **error)
{
    const struct object_type *type = object_type_find(global->driver);

    if (!type || !object_type_is(type, "device")) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "there is no device type '%s' (-device help lists those that can be added)",
                    global->driver);
        return false;
    }
    /* Of a type that is only a common ancestor each that descends from it may have its own. */
    if (!type->abstract && !object_type_property(type, global->property)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Property '%s.%s' not found",
                    global->driver, global->property);
        return false;
    }
    return true;
}

static char *get(json_object *options, const char *name)
{
    json_object *value = NULL;

    json_object_object_get_ex(options, name, &value);
    return g_strdup(value ? json_object_get_string(value) : NULL);
}

bool globals_add(struct globals *globals, const char *text, GError **error)
{
    const char *equals = strchr(text, '='), *dot = strchr(text, '.');
    struct global *global = g_new0(struct global, 1);

    g_ptr_array_add(globals->list, global);
    if (equals && dot && dot < equals) {
        global->driver = g_strndup(text, (gsize)(dot - text));
        global->property = g_strndup(dot + 1, (gsize)(equals - dot - 1));
        global->value = g_strdup(equals + 1);
    } else {
        g_autoptr(json_object) options = keyval_parse_flat(text, NULL, NULL, error);

        if (!options) {
            return false;
        }
        global->driver = get(options, "driver");
        global->property = get(options, "property");
        global->value = get(options, "value");
    }
    if (!global->driver || !global->property || !global->value) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "it is DRIVER.PROPERTY=VALUE, or driver=...,property=...,value=...");
        return false;
    }
    return check(global, error);
}

static bool is_for(const struct global *global, const struct object_type *type)
{
    return object_type_is(type, global->driver) && object_type_property(type, global->property);
}

static bool set(struct global *global, struct object *obj, GError **error)
{
    global->used = true;
    if (!object_set_str(obj, global->property, global->value, error)) {
        g_prefix_error(error, "-global %s.%s=%s: ", global->driver, global->property,
                       global->value);
        return false;
    }
    return true;
}

bool globals_apply(const struct globals *globals, struct object *obj, GError **error)
{
    for (guint i = 0; globals && i < globals->list->len; i++) {
        struct global *global = globals->list->pdata[i];

        if (is_for(global, obj->type) && !set(global, obj, error)) {
            return false;
        }
    }
    for (guint i = 0; globals && obj->child_order && i < obj->child_order->len; i++) {
        if (!globals_apply(globals, obj->child_order->pdata[i], error)) {
            return false;
        }
    }
    return true;
}

/* By way of an object that is never completed: it knows what the text means. */
bool globals_apply_json(const struct globals *globals, const struct object_type *type,
                        json_object *props, GError **error)
{
    for (guint i = 0; globals && type && i < globals->list->len; i++) {
        struct global *global = globals->list->pdata[i];
        auto_ptr(object) example = NULL;

        if (!is_for(global, type) || json_object_object_get_ex(props, global->property, NULL)) {
            continue;
        }
        example = object_new(type);
        if (!set(global, example, error)) {
            return false;
        }
        json_object_object_add(props, global->property,
                               object_get(example, global->property, NULL));
    }
    return true;
}

void globals_warn_unused(const struct globals *globals, struct log *log)
{
    for (guint i = 0; globals && i < globals->list->len; i++) {
        const struct global *global = globals->list->pdata[i];

        if (!global->used) {
            log_error(log, "warning: -global %s.%s=%s: no such device was made", global->driver,
                      global->property, global->value);
        }
    }
}
