/* Commands on disks that a device has, by the device's id or path, or its drive's name. */
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
