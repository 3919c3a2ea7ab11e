/* QMP commands on character devices. */
#include "chardev/backend.h"

#include "qapi/qapi_commands.h"

static bool add_chardev_info(struct object *obj, void *opaque)
{
    struct chardev *chr = chardev_of_object(obj);
    struct qapi_chardev_info *info;

    if (chr) {
        info = qapi_list_append(&qapi_type_chardev_info_list, opaque);
        info->label = g_strdup(chardev_id(chr));
        info->filename = g_strdup(chardev_filename(chr));
        info->frontend_open = chr->frontend_open;
    }
    return true;
}

bool qmp_query_chardev(struct qmp_context *ctx, struct qapi_chardev_info_list *ret, GError **error)
{
    object_foreach_child(object_container(ctx->root, "/chardevs"), add_chardev_info, ret);
    return true;
}

bool qmp_query_chardev_backends(struct qmp_context *ctx, struct qapi_chardev_backend_info_list *ret,
                                GError **error)
{
    for (int i = 0; i < QAPI_CHARDEV_BACKEND_KIND__COUNT; i++) {
        struct qapi_chardev_backend_info *info =
            qapi_list_append(&qapi_type_chardev_backend_info_list, ret);

        info->name = g_strdup(qapi_enum_name(&qapi_type_chardev_backend_kind, i));
    }
    return true;
}

static struct chardev *find(struct qmp_context *ctx, const char *id, GError **error)
{
    struct chardev *chr = chardev_find(ctx->root, id);

    if (!chr) {
        chardev_error(error, "Chardev '%s' not found", id);
    }
    return chr;
}

static int take_fd(void *opaque, const char *name, GError **error)
{
    struct qmp_context *ctx = opaque;

    return ctx->take_fd(ctx->monitor, name, error);
}

static void set_up(struct qmp_context *ctx, const struct qapi_chardev_backend *backend,
                   struct chardev_setup *setup)
{
    if (ctx->monitor && ctx->take_fd) {
        *setup = (struct chardev_setup){backend, take_fd, ctx};
    } else {
        *setup =
            (struct chardev_setup){backend, ctx->chardevs->get_fd, ctx->chardevs->get_fd_opaque};
    }
}

bool qmp_chardev_add(struct qmp_context *ctx, const struct qapi_chardev_add_arg *arg,
                     struct qapi_chardev_return *ret, GError **error)
{
    struct object *folder = object_container(ctx->root, "/chardevs");
    struct chardev_setup setup;
    struct chardev *chr;

    if (object_child(folder, arg->id)) {
        return chardev_error(error, "Chardev with id '%s' already exists", arg->id);
    }
    set_up(ctx, arg->backend, &setup);
    chr = chardev_add(ctx->chardevs, arg->id, &setup, error);
    if (!chr) {
        g_prefix_error(error, "Failed to add chardev '%s': ", arg->id);
        return false;
    }
    ret->pty = g_strdup(chardev_pty(chr));
    return chardev_wait_connected(chr, error);
}

bool qmp_chardev_change(struct qmp_context *ctx, const struct qapi_chardev_change_arg *arg,
                        struct qapi_chardev_return *ret, GError **error)
{
    struct chardev *chr = chardev_find(ctx->root, arg->id);
    struct chardev_setup setup;

    if (!chr) {
        return chardev_error(error, "Chardev '%s' does not exist", arg->id);
    }
    set_up(ctx, arg->backend, &setup);
    if (!chardev_replace(chr, &setup, error)) {
        g_prefix_error(error, "Failed to change chardev '%s': ", arg->id);
        return false;
    }
    ret->pty = g_strdup(chardev_pty(chr));
    return true;
}

bool qmp_chardev_remove(struct qmp_context *ctx, const struct qapi_chardev_remove_arg *arg,
                        GError **error)
{
    struct chardev *chr = find(ctx, arg->id, error);

    return chr && chardev_remove(chr, error);
}

bool qmp_chardev_send_break(struct qmp_context *ctx, const struct qapi_chardev_send_break_arg *arg,
                            GError **error)
{
    struct chardev *chr = find(ctx, arg->id, error);

    if (chr) {
        chardev_send_break(chr);
    }
    return chr != NULL;
}

static bool add_yank_instance(struct object *obj, void *opaque)
{
    struct chardev *chr = chardev_of_object(obj);
    struct qapi_yank_instance *instance;

    if (chr && chr->backend->ops->yank) {
        instance = qapi_list_append(&qapi_type_yank_instance_list, opaque);
        instance->type = QAPI_YANK_INSTANCE_TYPE_CHARDEV;
        instance->u.chardev.id = g_strdup(chardev_id(chr));
    }
    return true;
}

bool qmp_query_yank(struct qmp_context *ctx, struct qapi_yank_instance_list *ret, GError **error)
{
    object_foreach_child(object_container(ctx->root, "/chardevs"), add_yank_instance, ret);
    return true;
}

bool qmp_yank(struct qmp_context *ctx, const struct qapi_yank_arg *arg, GError **error)
{
    g_autoptr(GPtrArray) chosen = g_ptr_array_new();

    for (size_t i = 0; i < arg->instances.n; i++) {
        struct chardev *chr = chardev_find(ctx->root, arg->instances.v[i].u.chardev.id);

        if (!chr || !chr->backend->ops->yank) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND, "Instance not found");
            return false;
        }
        g_ptr_array_add(chosen, chr);
    }
    for (guint i = 0; i < chosen->len; i++) {
        struct chardev *chr = g_ptr_array_index(chosen, i);

        if (!chr->backend->closed) {
            chr->backend->ops->yank(chr->backend);
        }
    }
    return true;
}
