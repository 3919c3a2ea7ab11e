/* QMP commands on nodes and drives. */
#include <errno.h>

#include "block/block_priv.h"
#include "block/dirty_bitmap.h"
#include "block/limits.h"
#include "block/drive.h"
#include "block/file.h"
#include "qapi/qapi_commands.h"

/* ---- Making and giving up ---- */

bool qmp_blockdev_add(struct qmp_context *ctx, const struct qapi_blockdev_options *arg,
                      GError **error)
{
    struct block_node *node;

    if (!arg->node_name) {
        return block_error(error, "'node-name' must be specified for the root node");
    }
    block_graph_enter(ctx->blocks);
    node = co_block_open(ctx->blocks, arg, BLOCK_OPEN_MONITOR_OWNED, error);
    block_graph_leave(ctx->blocks);
    return node != NULL;
}

bool qmp_blockdev_del(struct qmp_context *ctx, const struct qapi_blockdev_del_arg *arg,
                      GError **error)
{
    bool ok;

    block_graph_enter(ctx->blocks);
    ok = co_block_graph_delete(ctx->blocks, arg->node_name, error);
    block_graph_leave(ctx->blocks);
    return ok;
}

bool qmp_blockdev_reopen(struct qmp_context *ctx, const struct qapi_blockdev_reopen_arg *arg,
                         GError **error)
{
    bool ok;

    block_graph_enter(ctx->blocks);
    ok = co_block_reopen(ctx->blocks, arg->options.v, arg->options.n, error);
    block_graph_leave(ctx->blocks);
    return ok;
}

/* ---- Sizes ---- */

static struct block_node *find_either(struct block_graph *graph, const char *device,
                                      const char *node_name, GError **error)
{
    const struct block_drive *drive;

    if (!device == !node_name) {
        block_error(error, "Either 'device' or 'node-name' must be given, and not both");
        return NULL;
    }
    if (node_name) {
        struct block_node *node = block_node_find(graph, node_name, NULL);

        if (!node) {
            block_error(error, "Cannot find device='' nor node-name='%s'", node_name);
        }
        return node;
    }
    drive = block_drive_find(graph, device);
    if (!drive) {
        block_error(error, "Cannot find device='%s' nor node-name=''", device);
    } else if (!drive->node) {
        block_error(error, "Device '%s' has no medium", device);
    }
    return drive ? drive->node : NULL;
}

static bool co_resize(struct block_node *node, uint64_t size, GError **error)
{
    auto_ptr(block_user) user = block_user_new(node->graph, "block_resize", NULL, NULL);
    int result;

    if (!block_user_attach(user, node, BLOCK_PERM_RESIZE, BLOCK_PERM_ALL, error)) {
        return false;
    }
    /* Below users, which are held back: none of them sees the change half-way. */
    co_block_drain_begin(node->graph, node);
    result = co_node_truncate(node, size, false, QAPI_PREALLOC_MODE_OFF, 0, error);
    block_drain_end(node->graph, node);
    return result >= 0;
}

bool qmp_block_resize(struct qmp_context *ctx, const struct qapi_block_resize_arg *arg,
                      GError **error)
{
    struct block_node *node = find_either(ctx->blocks, arg->device, arg->node_name, error);
    bool ok;

    if (!node) {
        return false;
    }
    if (arg->size < 0) {
        return block_error(error, "Parameter 'size' expects a >0 size");
    }
    block_graph_enter(ctx->blocks);
    ok = co_resize(node, (uint64_t)arg->size, error);
    block_graph_leave(ctx->blocks);
    return ok;
}

/* ---- Nodes ---- */

static int depth(const struct block_node *node)
{
    int n = 0;

    while (node->backing) {
        node = node->backing->node;
        n++;
    }
    return n;
}

static bool co_describe_node(struct block_node *node, const struct block_user *user, bool flat,
                             struct qapi_block_device_info *info, GError **error)
{
    info->file = g_strdup(node->filename);
    info->node_name = g_strdup(node->name);
    info->ro = node->read_only;
    info->drv = g_strdup(node->driver->name);
    info->backing_file = node->backing ? g_strdup(node->backing->node->filename) : NULL;
    info->backing_file_depth = depth(node);
    info->active = true;
    info->detect_zeroes = node->detect_zeroes;
    info->image = g_new0(struct qapi_image_info, 1);
    info->cache = g_new0(struct qapi_blockdev_cache_info, 1);
    info->cache->writeback = !user || block_user_write_cache(user);
    info->cache->direct = node->direct;
    info->cache->no_flush = node->no_flush;
    if (user) {
        block_user_describe_limits(user, info);
    }
    if (!co_block_image_info(node, !flat, info->image, error)) {
        return false;
    }
    info->encrypted = info->image->encrypted;
    dirty_bitmaps_describe(node, &info->dirty_bitmaps);
    info->has_dirty_bitmaps = info->dirty_bitmaps.n > 0;
    return true;
}

static void hold_node(struct block_node *node, void *opaque)
{
    g_ptr_array_add(opaque, block_node_ref(node));
}

/* All nodes, held, since a description may wait. */
static GPtrArray *hold_all(struct block_graph *graph)
{
    GPtrArray *nodes = g_ptr_array_new();

    block_graph_foreach(graph, hold_node, nodes);
    return nodes;
}

static void co_let_go(GPtrArray *nodes)
{
    for (guint i = 0; i < nodes->len; i++) {
        co_block_node_unref(nodes->pdata[i]);
    }
    g_ptr_array_unref(nodes);
}

bool qmp_query_named_block_nodes(struct qmp_context *ctx,
                                 const struct qapi_query_named_block_nodes_arg *arg,
                                 struct qapi_block_device_info_list *ret, GError **error)
{
    GPtrArray *nodes;
    bool ok = true;

    block_graph_enter(ctx->blocks);
    nodes = hold_all(ctx->blocks);
    for (guint i = nodes->len; ok && i-- > 0;) {
        ok = co_describe_node(nodes->pdata[i], NULL, arg->flat,
                              qapi_list_append(&qapi_type_block_device_info_list, ret), error);
    }
    co_let_go(nodes);
    block_graph_leave(ctx->blocks);
    return ok;
}

/* ---- Devices ---- */

/* A device, a drive, or both. */
struct device {
    const struct block_drive *drive;
    const struct block_user *user;
    struct block_node *node; /* held */
};

/* The node that people know of: not a filter that stands for an option of -drive. */
static struct block_node *hold_explicit(struct block_node *node)
{
    while (node && (node->open_flags & BLOCK_OPEN_IMPLICIT)) {
        node = block_node_filtered(node)->node;
    }
    return node ? block_node_ref(node) : NULL;
}

static void add_drive(const struct block_drive *drive, void *opaque)
{
    struct device device = {drive, drive->user, hold_explicit(drive->node)};

    g_array_append_val(opaque, device);
}

static bool has_drive(const GArray *devices, const struct block_user *user)
{
    for (guint i = 0; i < devices->len; i++) {
        if (g_array_index(devices, struct device, i).user == user) {
            return true;
        }
    }
    return false;
}

/* Drives, and devices without one. */
static GArray *list_devices(struct block_graph *graph)
{
    GArray *devices = g_array_new(false, false, sizeof(struct device));

    block_drives_foreach(graph, add_drive, devices);
    for (guint i = 0; i < graph->users->len; i++) {
        const struct block_user *user = graph->users->pdata[i];

        if (user->ops && user->ops->describe && !has_drive(devices, user)) {
            struct device device = {NULL, user,
                                    hold_explicit(user->edge ? user->edge->node : NULL)};

            g_array_append_val(devices, device);
        }
    }
    return devices;
}

static void co_free_devices(GArray *devices)
{
    for (guint i = 0; i < devices->len; i++) {
        co_block_node_unref(g_array_index(devices, struct device, i).node);
    }
    g_array_unref(devices);
}

/* Describing the one before may have waited. */
static bool is_there(const struct block_graph *graph, const struct device *device)
{
    return (!device->drive || g_ptr_array_find(graph->drives, device->drive, NULL)) &&
           (!device->user || g_ptr_array_find(graph->users, device->user, NULL));
}

static char *qdev_of(const struct block_user *user)
{
    return user && user->ops && user->ops->describe ? user->ops->describe(user->opaque) : NULL;
}

static enum qapi_block_device_io_status io_status(const struct block_user *user)
{
    switch (atomic_load_explicit(&user->io_error, memory_order_relaxed)) {
    case 0: return QAPI_BLOCK_DEVICE_IO_STATUS_OK;
    case ENOSPC: return QAPI_BLOCK_DEVICE_IO_STATUS_NOSPACE;
    default: return QAPI_BLOCK_DEVICE_IO_STATUS_FAILED;
    }
}

/* What doesn't wait, first: drive and user may be gone afterwards. */
static bool co_describe_device(const struct device *device, struct qapi_block_info *info,
                               GError **error)
{
    info->device = g_strdup(device->drive ? device->drive->id : "");
    info->qdev = qdev_of(device->user);
    info->type = g_strdup("unknown");
    info->removable = device->drive && device->drive->removable;
    if (device->user && !(device->user->ops && device->user->ops->no_io_status)) {
        info->has_io_status = true;
        info->io_status = io_status(device->user);
    }
    if (!device->node) {
        return true;
    }
    info->inserted = g_new0(struct qapi_block_device_info, 1);
    return co_describe_node(device->node, device->user, false, info->inserted, error);
}

bool qmp_query_block(struct qmp_context *ctx, struct qapi_block_info_list *ret, GError **error)
{
    GArray *devices;
    bool ok = true;

    block_graph_enter(ctx->blocks);
    devices = list_devices(ctx->blocks);
    for (guint i = 0; ok && i < devices->len; i++) {
        struct device *device = &g_array_index(devices, struct device, i);

        if (is_there(ctx->blocks, device)) {
            ok = co_describe_device(device, qapi_list_append(&qapi_type_block_info_list, ret),
                                    error);
        }
    }
    co_free_devices(devices);
    block_graph_leave(ctx->blocks);
    return ok;
}

/* ---- Counts ---- */

static struct qapi_block_stats_specific *specific(const struct block_node *node)
{
    enum qapi_blockdev_driver kind = node->driver->kind;
    struct qapi_block_stats_specific *stats;
    const struct file_state *s = node->state;

    if (kind != QAPI_BLOCKDEV_DRIVER_FILE && kind != QAPI_BLOCKDEV_DRIVER_HOST_DEVICE) {
        return NULL;
    }
    stats = g_new0(struct qapi_block_stats_specific, 1);
    stats->driver = kind;
    stats->u.file = (struct qapi_block_stats_specific_file){
        .discard_nb_ok = s->discards_ok,
        .discard_nb_failed = s->discards_failed,
        .discard_bytes_ok = s->discarded_bytes,
    };
    return stats;
}

static void count_node(const struct block_node *node, struct qapi_block_stats *stats)
{
    stats->node_name = g_strdup(node->name);
    stats->driver_specific = specific(node);
    if (!stats->stats) {
        stats->stats = g_new0(struct qapi_block_device_stats, 1);
    }
    stats->stats->wr_highest_offset = (int64_t)node->requests->wr_highest_offset;
    if (node->file) {
        stats->parent = g_new0(struct qapi_block_stats, 1);
        count_node(node->file->node, stats->parent);
    }
    if (node->backing) {
        stats->backing = g_new0(struct qapi_block_stats, 1);
        count_node(node->backing->node, stats->backing);
    }
}

static void count_device(const struct device *device, struct qapi_block_stats *stats)
{
    stats->device = device->drive ? g_strdup(device->drive->id) : g_strdup("");
    stats->qdev = qdev_of(device->user);
    stats->stats = g_new0(struct qapi_block_device_stats, 1);
    block_accounting_query(device->user ? device->user->accounting : device->drive->accounting,
                           stats->stats);
    if (device->node) {
        count_node(device->node, stats);
    }
}

static void count_one(struct block_node *node, void *opaque)
{
    count_node(node, qapi_list_append(&qapi_type_block_stats_list, opaque));
}

bool qmp_query_blockstats(struct qmp_context *ctx, const struct qapi_query_blockstats_arg *arg,
                          struct qapi_block_stats_list *ret, GError **error)
{
    GArray *devices;

    if (arg->query_nodes) {
        block_graph_foreach(ctx->blocks, count_one, ret);
        return true;
    }
    devices = list_devices(ctx->blocks);
    for (guint i = 0; i < devices->len; i++) {
        count_device(&g_array_index(devices, struct device, i),
                     qapi_list_append(&qapi_type_block_stats_list, ret));
    }
    co_free_devices(devices);
    return true;
}
