/* Commands on disks that a device has, by the device's id or path, or its drive's name. */
#include "block/limits.h"
#include "hw/block/virtio_blk.h"

#include "qapi/error.h"
#include "qapi/qapi_commands.h"

struct search {
    const char *id;
    struct virtio_blk *found;
};

static bool is_called(struct object *obj, const char *id)
{
    const struct virtio_blk *s = (struct virtio_blk *)obj;
    const char *drive = s->user ? block_user_name(s->user) : NULL;
    g_autofree char *path = object_path(obj);

    return g_str_equal(path, id) || g_strcmp0(drive, id) == 0 || g_strcmp0(obj->name, id) == 0 ||
           (obj->parent && g_strcmp0(obj->parent->name, id) == 0);
}

static bool look(struct object *obj, void *opaque)
{
    struct search *search = opaque;

    if (obj->completed && object_is(obj, "virtio-blk-device")) {
        if (is_called(obj, search->id)) {
            search->found = (struct virtio_blk *)obj;
        }
    } else {
        object_foreach_child(obj, look, search);
    }
    return !search->found;
}

static struct virtio_blk *find(struct qmp_context *ctx, const char *id, GError **error)
{
    struct search search = {.id = id};

    object_foreach_child(ctx->root, look, &search);
    if (!search.found) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
    }
    return search.found;
}

bool qmp_block_latency_histogram_set(struct qmp_context *ctx,
                                     const struct qapi_block_latency_histogram_set_arg *arg,
                                     GError **error)
{
    struct virtio_blk *s = find(ctx, arg->id, error);
    const struct {
        bool has;
        const struct qapi_uint64_list *boundaries;
    } kinds[] = {
        [BLOCK_ACCOUNTING_READ] = {arg->has_boundaries_read, &arg->boundaries_read},
        [BLOCK_ACCOUNTING_WRITE] = {arg->has_boundaries_write, &arg->boundaries_write},
        [BLOCK_ACCOUNTING_FLUSH] = {arg->has_boundaries_flush, &arg->boundaries_flush},
    };
    bool any = arg->has_boundaries || arg->has_boundaries_zap;

    if (!s) {
        return false;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        any |= kinds[i].has;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        const struct qapi_uint64_list *list = kinds[i].has ? kinds[i].boundaries
                                                           : &arg->boundaries;

        if ((kinds[i].has || arg->has_boundaries || !any) &&
            !block_accounting_set_histogram(s->accounting, i, list->v, list->n, error)) {
            return false;
        }
    }
    return true;
}

/* Commands that take the drive's name or the device's id. */
static struct virtio_blk *find_either(struct qmp_context *ctx, const char *device, const char *id,
                                      GError **error)
{
    if (!device == !id) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Need exactly one of 'device' and 'id'");
        return NULL;
    }
    return find(ctx, device ? device : id, error);
}

bool qmp_block_set_io_throttle(struct qmp_context *ctx,
                               const struct qapi_block_set_io_throttle_arg *arg, GError **error)
{
    struct virtio_blk *s = find_either(ctx, arg->device, arg->id, error);
    g_autoptr(json_object) named = NULL;
    g_autoptr(json_object) limits = NULL;
    const char *own = arg->id ? arg->id : arg->device;

    if (!s) {
        return false;
    }
    named = qapi_to_json(&qapi_type_block_set_io_throttle_arg, arg);
    limits = block_limits_from_names(named);
    return co_block_user_set_limits(s->user, arg->group, own, limits, error);
}

/* ---- Media ---- */

/* No device that is built has a medium that can be taken out. */
static bool refuse_media(struct qmp_context *ctx, const char *device, const char *id,
                         GError **error)
{
    if (find_either(ctx, device, id, error)) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC, "Device '%s' is not removable",
                    device ? device : id);
    }
    return false;
}

bool qmp_eject(struct qmp_context *ctx, const struct qapi_eject_arg *arg, GError **error)
{
    return refuse_media(ctx, arg->device, arg->id, error);
}

bool qmp_blockdev_open_tray(struct qmp_context *ctx, const struct qapi_blockdev_open_tray_arg *arg,
                            GError **error)
{
    return refuse_media(ctx, arg->device, arg->id, error);
}

bool qmp_blockdev_close_tray(struct qmp_context *ctx,
                             const struct qapi_blockdev_close_tray_arg *arg, GError **error)
{
    return refuse_media(ctx, arg->device, arg->id, error);
}

bool qmp_blockdev_remove_medium(struct qmp_context *ctx,
                                const struct qapi_blockdev_remove_medium_arg *arg, GError **error)
{
    return refuse_media(ctx, NULL, arg->id, error);
}

bool qmp_blockdev_insert_medium(struct qmp_context *ctx,
                                const struct qapi_blockdev_insert_medium_arg *arg, GError **error)
{
    return refuse_media(ctx, NULL, arg->id, error);
}
