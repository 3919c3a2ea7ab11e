/* Commands: from JSON to the handler and back. Events: to JSON. */
#include "qapi/command.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "qapi/compat.h"

static int compare(const void *name, const void *command)
{
    return strcmp(name, ((const struct qapi_command *)command)->name);
}

const struct qapi_command *qapi_find_command(const struct qapi_schema *schema, const char *name)
{
    if (!schema->n_commands) {
        return NULL;
    }
    return bsearch(name, schema->commands, schema->n_commands, sizeof(*schema->commands), compare);
}

/* error of the functions here isn't NULL. */

/* The arguments as the handler gets them. */
static bool read_arguments(const struct qapi_command *command, json_object *arguments, void **arg,
                           GError **error)
{
    static const struct qapi_type none = {.name = "none", .kind = QAPI_KIND_STRUCT, .size = 1};
    const struct qapi_type *type = command->arg ? command->arg : &none;

    *arg = g_malloc0(type->size);
    if (!qapi_from_json(type, arguments, *arg, error)) {
        g_clear_pointer(arg, g_free);
        return false;
    }
    return true;
}

/* gen: false: JSON goes in, JSON comes out. */
static json_object *invoke_raw(const struct qapi_command *command, struct qmp_context *ctx,
                               json_object *arguments, GError **error)
{
    json_object *ret = NULL;
    void *none;
    bool ok;

    if (!command->arg) {
        if (!read_arguments(command, arguments, &none, error)) {
            return NULL;
        }
        g_free(none);
    }
    ok = command->invoke(ctx, arguments, &ret, error);
    assert(ok == !*error);
    if (!ok) {
        json_object_put(ret);
        return NULL;
    }
    return command->ret ? ret : json_object_new_object();
}

static json_object *invoke_typed(const struct qapi_command *command, struct qmp_context *ctx,
                                 json_object *arguments, GError **error)
{
    json_object *json = NULL;
    void *arg, *ret = NULL;
    bool ok;

    if (!read_arguments(command, arguments, &arg, error)) {
        return NULL;
    }
    if (command->ret) {
        ret = g_malloc0(command->ret->size);
    }
    ok = command->invoke(ctx, arg, ret, error);
    assert(ok == !*error);
    if (ok) {
        json = command->ret ? qapi_to_json(command->ret, ret) : json_object_new_object();
    }
    if (command->ret) {
        qapi_free(command->ret, ret);
    }
    if (command->arg) {
        qapi_free(command->arg, arg);
    } else {
        g_free(arg);
    }
    return json;
}

json_object *qapi_invoke(const struct qapi_command *command, struct qmp_context *ctx,
                         json_object *arguments, GError **error)
{
    g_autoptr(json_object) given =
        arguments ? json_object_get(arguments) : json_object_new_object();
    GError *local = NULL;
    json_object *json;

    if (!qapi_compat_check(ctx->compat, command, given, error)) {
        return NULL;
    }
    if (command->gen) {
        json = invoke_typed(command, ctx, given, &local);
    } else {
        json = invoke_raw(command, ctx, given, &local);
    }
    qapi_compat_hide(ctx->compat, command->ret, json);
    if (local) {
        g_propagate_error(error, local);
    }
    return json;
}

void qapi_emit(struct qapi_event_sink *sink, const struct qapi_event *event, const void *arg)
{
    if (sink) {
        sink->emit(sink, event, event->arg ? qapi_to_json(event->arg, arg) : NULL);
    }
}
