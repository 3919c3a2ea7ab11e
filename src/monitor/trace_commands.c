/* Handlers of the commands about trace events. */
#include "qapi/qapi_commands.h"
#include "qapi/qapi_types.h"

#include "monitor/monitor_priv.h"
#include "util/trace_control.h"

static void add_event(void *opaque, enum trace_event event, const char *name, bool enabled)
{
    struct qapi_trace_event_info *info = qapi_list_append(&qapi_type_trace_event_info_list, opaque);

    info->name = g_strdup(name);
    info->state = enabled ? QAPI_TRACE_EVENT_STATE_ENABLED : QAPI_TRACE_EVENT_STATE_DISABLED;
}

bool qmp_trace_event_get_state(struct qmp_context *ctx,
                               const struct qapi_trace_event_get_state_arg *arg,
                               struct qapi_trace_event_info_list *ret, GError **error)
{
    if (!trace_foreach(ctx->monitor->owner->log, arg->name, add_event, ret) &&
        !trace_is_pattern(arg->name)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "unknown event \"%s\"", arg->name);
        return false;
    }
    return true;
}

bool qmp_trace_event_set_state(struct qmp_context *ctx,
                               const struct qapi_trace_event_set_state_arg *arg, GError **error)
{
    return trace_set(ctx->monitor->owner->log, arg->name, arg->enable, error);
}
