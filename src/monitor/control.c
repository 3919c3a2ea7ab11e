/* Handlers of the commands about monitors themselves. */
#include "monitor/monitor_priv.h"

#include <unistd.h>

#include "monitor/hmp.h"
#include "monitor/version.h"
#include "qapi/qapi_commands.h"
#include "qapi/qapi_types.h"
#include "util/fdset.h"

bool qmp_qmp_capabilities(struct qmp_context *ctx, const struct qapi_qmp_capabilities_arg *arg,
                          GError **error)
{
    return qmp_negotiate(ctx->monitor, arg, error);
}

struct qapi_version_info *version_info(void)
{
    struct qapi_version_info *info = g_new0(struct qapi_version_info, 1);

    info->qemu = g_new0(struct qapi_version_triple, 1);
    info->qemu->major = QEMU_VERSION_MAJOR;
    info->qemu->minor = QEMU_VERSION_MINOR;
    info->qemu->micro = QEMU_VERSION_MICRO;
    info->package = g_strdup("Nandu " NANDU_VERSION);
    return info;
}

bool qmp_query_version(struct qmp_context *ctx, struct qapi_version_info *ret, GError **error)
{
    struct qapi_version_info *info = version_info();

    *ret = *info;
    g_free(info);
    return true;
}

bool qmp_query_commands(struct qmp_context *ctx, struct qapi_command_info_list *ret, GError **error)
{
    const struct qapi_schema *schema = ctx->monitor->owner->schema;

    for (size_t i = 0; i < schema->n_commands; i++) {
        struct qapi_command_info *info = qapi_list_append(&qapi_type_command_info_list, ret);

        info->name = g_strdup(schema->commands[i].name);
    }
    return true;
}

bool qmp_query_qmp_schema(struct qmp_context *ctx, json_object **ret, GError **error)
{
    *ret = qapi_introspect(ctx->monitor->owner->schema);
    return true;
}

/* ---- Descriptors ---- */

bool qmp_getfd(struct qmp_context *ctx, const struct qapi_getfd_arg *arg, GError **error)
{
    int fd = monitor_receive_fd(ctx->monitor, error);

    if (fd < 0) {
        return false;
    }
    if (g_ascii_isdigit(arg->fdname[0])) {
        close(fd);
        g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                            "Parameter 'fdname' expects a name not starting with a digit");
        return false;
    }
    monitor_name_fd(ctx->monitor, arg->fdname, fd);
    return true;
}

bool qmp_closefd(struct qmp_context *ctx, const struct qapi_closefd_arg *arg, GError **error)
{
    int fd = monitor_take_fd(ctx->monitor, arg->fdname, NULL);

    if (fd < 0) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "File descriptor named '%s' not found",
                    arg->fdname);
        return false;
    }
    close(fd);
    return true;
}

bool qmp_add_fd(struct qmp_context *ctx, const struct qapi_add_fd_arg *arg,
                struct qapi_addfd_info *ret, GError **error)
{
    int fd = monitor_receive_fd(ctx->monitor, error);

    if (fd < 0) {
        return false;
    }
    if (arg->has_fdset_id && arg->fdset_id < 0) {
        close(fd);
        g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                            "Parameter 'fdset-id' expects a non-negative value");
        return false;
    }
    ret->fd = fd;
    ret->fdset_id =
        fdsets_add(ctx->fdsets, fd, arg->has_fdset_id ? arg->fdset_id : -1, arg->opaque, error);
    return ret->fdset_id >= 0;
}

bool qmp_remove_fd(struct qmp_context *ctx, const struct qapi_remove_fd_arg *arg, GError **error)
{
    if (arg->has_fd && (arg->fd < 0 || arg->fd > G_MAXINT)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    "File descriptor named 'fdset-id:%" G_GINT64_FORMAT ", fd:%" G_GINT64_FORMAT
                    "' not found",
                    arg->fdset_id, arg->fd);
        return false;
    }
    return fdsets_remove(ctx->fdsets, arg->fdset_id, arg->has_fd ? (int)arg->fd : -1, error);
}

static void add_fdset_row(void *opaque, int64_t set, int fd, const char *fd_opaque)
{
    struct qapi_fdset_info_list *list = opaque;
    struct qapi_fdset_info *info = list->n ? &list->v[list->n - 1] : NULL;
    struct qapi_fdset_fd_info *row;

    if (!info || info->fdset_id != set) {
        info = qapi_list_append(&qapi_type_fdset_info_list, list);
        info->fdset_id = set;
    }
    row = qapi_list_append(&qapi_type_fdset_fd_info_list, &info->fds);
    row->fd = fd;
    row->opaque = g_strdup(fd_opaque);
}

bool qmp_query_fdsets(struct qmp_context *ctx, struct qapi_fdset_info_list *ret, GError **error)
{
    fdsets_foreach(ctx->fdsets, add_fdset_row, ret);
    return true;
}

/* ---- HMP ---- */

bool qmp_human_monitor_command(struct qmp_context *ctx,
                               const struct qapi_human_monitor_command_arg *arg, char **ret,
                               GError **error)
{
    struct monitors *monitors = ctx->monitor->owner;
    g_autofree char *printed = NULL;
    g_auto(GStrv) lines = NULL;

    if (arg->has_cpu_index && !hmp_check_cpu(ctx, arg->cpu_index, error)) {
        return false;
    }
    printed = hmp_run(monitors->schema, monitors->log, ctx, NULL, arg->command_line,
                      arg->has_cpu_index ? arg->cpu_index : -1);
    lines = g_strsplit(printed, "\n", -1);
    *ret = g_strjoinv("\r\n", lines);
    return true;
}
