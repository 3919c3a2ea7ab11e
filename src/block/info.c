/* What is told of nodes. In coroutines. */
#include <errno.h>

#include "block/block_priv.h"

int64_t co_block_allocated_size(struct block_node *node)
{
    struct block_edge *primary = block_node_primary(node);

    if (node->driver->co_allocated_size) {
        return node->driver->co_allocated_size(node);
    }
    return primary ? co_block_allocated_size(primary->node) : -ENOTSUP;
}

/* The image as a path from here, as far as that can be said. */
static void describe_backing(struct block_node *node, struct qapi_image_info *info)
{
    struct block_edge *primary = block_node_primary(node);
    const char *base = primary ? primary->node->filename : node->filename;

    if (node->backing_name && *node->backing_name) {
        info->backing_filename = g_strdup(node->backing_name);
        info->full_backing_filename = block_combine_names(base, node->backing_name);
        info->backing_filename_format =
            node->backing_format && *node->backing_format ? g_strdup(node->backing_format) : NULL;
    }
}

static bool list_snapshots(struct block_node *node, struct qapi_image_info *info, GError **error)
{
    const struct block_snapshot_ops *ops = node->driver->snapshots;

    if (!ops || !ops->co_list) {
        return true;
    }
    if (!ops->co_list(node, &info->snapshots, error)) {
        return false;
    }
    info->has_snapshots = info->snapshots.n > 0;
    return true;
}

bool co_block_image_info(struct block_node *node, bool with_backing, struct qapi_image_info *info,
                         GError **error)
{
    GError *own_error = NULL;
    int64_t allocated;

    *info = (struct qapi_image_info){
        .filename = g_strdup(node->filename),
        .format = g_strdup(node->driver->name),
        .virtual_size = (int64_t)node->length,
    };
    allocated = co_block_allocated_size(node);
    info->has_actual_size = allocated >= 0;
    info->actual_size = MAX(allocated, 0);
    if (node->driver->co_describe) {
        node->driver->co_describe(node, info);
    }
    describe_backing(node, info);
    if (node->driver->co_info) {
        info->format_specific = node->driver->co_info(node, &own_error);
        if (own_error) {
            g_propagate_error(error, own_error);
            return false;
        }
    }
    if (!list_snapshots(node, info, error)) {
        return false;
    }
    if (with_backing && node->backing) {
        info->backing_image = g_new0(struct qapi_image_info, 1);
        return co_block_image_info(node->backing->node, true, info->backing_image, error);
    }
    return true;
}
