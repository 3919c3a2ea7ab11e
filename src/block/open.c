/* Opening nodes by options of the schema. What is loose (file names, probing) is made strict in
 * open_loose.c. */
#include <assert.h>

#include "block/block_priv.h"

/* ---- Limits ---- */

static void take_strictest(struct block_limits *limits, const struct block_limits *child)
{
    limits->memory_align = MAX(limits->memory_align, child->memory_align);
    limits->optimal_transfer = MAX(limits->optimal_transfer, child->optimal_transfer);
    if (child->max_transfer &&
        (!limits->max_transfer || child->max_transfer < limits->max_transfer)) {
        limits->max_transfer = child->max_transfer;
    }
    if (child->max_iov && (!limits->max_iov || child->max_iov < limits->max_iov)) {
        limits->max_iov = child->max_iov;
    }
}

void block_node_refresh_limits(struct block_node *node)
{
    const struct block_edge *filtered = block_node_filtered(node);
    uint32_t align;

    if (node->driver->refresh_limits) {
        node->driver->refresh_limits(node);
    } else if (filtered) {
        node->limits = filtered->node->limits;
    } else {
        /* Buffers go down as they are; offsets are the format's affair, and the child's core
         * rounds them. */
        align = node->limits.request_align;
        for (guint i = 0; i < node->children->len; i++) {
            const struct block_edge *edge = node->children->pdata[i];

            if (!(edge->role & BLOCK_ROLE_BACKING)) {
                take_strictest(&node->limits, &edge->node->limits);
            }
        }
        node->limits.request_align = align;
    }
    assert(node->limits.request_align &&
           !(node->limits.request_align & (node->limits.request_align - 1)));
    assert(node->limits.request_align <= BLOCK_ZEROES);
    node->requests->track |= node->limits.request_align > 1;
}

/* ---- A node ---- */

static bool take_common_options(struct block_node *node,
                                const struct qapi_blockdev_options *options, unsigned flags,
                                GError **error)
{
    node->open_flags = flags;
    node->read_only = options->read_only;
    node->auto_read_only = options->auto_read_only;
    node->force_share = options->force_share;
    node->discard = options->discard;
    node->detect_zeroes = options->detect_zeroes;
    node->direct = options->cache && options->cache->direct;
    node->no_flush = options->cache && options->cache->no_flush;
    if (node->detect_zeroes == QAPI_BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP &&
        node->discard != QAPI_BLOCKDEV_DISCARD_OPTIONS_UNMAP) {
        return block_error(
            error,
            "setting detect-zeroes to unmap is not allowed without setting discard operation to "
            "unmap");
    }
    if (node->force_share && !node->read_only) {
        return block_error(error, "force-share=on can only be used with read-only images");
    }
    return true;
}

static void name_file(struct block_node *node)
{
    struct block_edge *primary = block_node_primary(node);

    if (!node->filename && primary && primary->node->filename) {
        node->filename = g_strdup(primary->node->filename);
    }
    if (!node->filename) {
        g_autofree char *json = json_print(node->options, false);

        node->filename = g_strconcat("json:", json, NULL);
    }
}

static bool open_driver(struct block_node *node, const struct qapi_blockdev_options *options,
                        GError **error)
{
    if (!node->driver->co_open(node, options, error)) {
        return false;
    }
    block_node_refresh_limits(node);
    name_file(node);
    /* Now the driver can say what it really needs. */
    return block_node_refresh_perms(node, error);
}

struct block_node *co_block_open(struct block_graph *graph,
                                 const struct qapi_blockdev_options *options, unsigned flags,
                                 GError **error)
{
    const char *name = qapi_enum_name(&qapi_type_blockdev_driver, (int)options->driver);
    const struct block_driver *driver = block_driver_find(name);
    struct block_node *node;

    if (!driver) {
        block_error(error, "Unknown driver '%s'", name);
        return NULL;
    }
    if (flags / BLOCK_OPEN_LEVEL > BLOCK_OPEN_MAX_LEVEL) {
        block_error(
            error,
            "More than %d images on top of each other: one seems to be its own backing image",
            BLOCK_OPEN_MAX_LEVEL);
        return NULL;
    }
    node = block_node_new(graph, driver);
    node->options = qapi_to_json(&qapi_type_blockdev_options, options);
    if (!block_node_set_name(node, options->node_name, error) ||
        !take_common_options(node, options, flags, error) || !open_driver(node, options, error)) {
        node->read_only = true; /* nothing to flush */
        co_block_node_unref(node);
        return NULL;
    }
    return node;
}

/* ---- Children ---- */

/* What a child that is described in place takes over from its parent. */
void block_inherit_options(const struct block_node *parent, unsigned role,
                           struct qapi_blockdev_options *options)
{
    bool backing = role & BLOCK_ROLE_BACKING;

    if (!options->cache) {
        options->cache = g_new0(struct qapi_blockdev_cache_options, 1);
    }
    if (!options->cache->has_direct) {
        options->cache->has_direct = true;
        options->cache->direct = parent->direct;
    }
    if (!options->cache->has_no_flush) {
        options->cache->has_no_flush = true;
        options->cache->no_flush = parent->no_flush;
    }
    if (!options->has_force_share) {
        options->has_force_share = true;
        options->force_share = parent->force_share;
    }
    if (!options->has_read_only) {
        options->has_read_only = true;
        options->read_only = backing || parent->read_only;
    }
    if (!options->has_auto_read_only) {
        options->has_auto_read_only = true;
        options->auto_read_only = !backing && parent->auto_read_only;
    }
    if (!options->has_discard && !backing) {
        /* The parent decides; what it passes on is meant. */
        options->has_discard = true;
        options->discard = QAPI_BLOCKDEV_DISCARD_OPTIONS_UNMAP;
    }
}

struct block_edge *block_node_add_child(struct block_node *node, const char *name,
                                        struct block_node *child, unsigned role, GError **error)
{
    struct block_edge *edge =
        block_edge_new(name, child, node, NULL, role, 0, BLOCK_PERM_ALL, error);

    if (!edge) {
        co_block_node_unref(child);
    }
    return edge;
}

static struct block_node *open_definition(struct block_node *parent, unsigned role,
                                          const struct qapi_blockdev_options *definition,
                                          GError **error)
{
    unsigned flags = parent->open_flags & (BLOCK_OPEN_NO_IO | BLOCK_OPEN_NO_BACKING);
    struct qapi_blockdev_options options;
    struct block_node *child;

    qapi_copy(&qapi_type_blockdev_options, definition, &options);
    block_inherit_options(parent, role, &options);
    flags += parent->open_flags / BLOCK_OPEN_LEVEL * BLOCK_OPEN_LEVEL + BLOCK_OPEN_LEVEL;
    child = co_block_open(parent->graph, &options, flags, error);
    qapi_clear(&qapi_type_blockdev_options, &options);
    return child;
}

struct block_edge *co_block_open_child(struct block_node *node, const char *name,
                                       const struct qapi_blockdev_ref *ref, unsigned role,
                                       GError **error)
{
    struct block_node *child;

    if (!ref) {
        return NULL;
    }
    if (ref->kind == QAPI_BLOCKDEV_REF_KIND_REFERENCE) {
        child = block_node_find(node->graph, ref->u.reference, error);
        if (child) {
            block_node_ref(child);
        }
    } else {
        child = open_definition(node, role, &ref->u.definition, error);
    }
    return child ? block_node_add_child(node, name, child, role, error) : NULL;
}
