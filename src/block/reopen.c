/*
 * Opening nodes again with other options, in place: their users stay. All that was asked for
 * happens, or nothing: what may fail comes first, with everything that was changed written down.
 * Main thread; the graph is drained.
 */
#include <assert.h>

#include "block/block_priv.h"

/* What of a node changes, and what it was. */
struct change {
    struct block_node *node; /* held */
    struct qapi_blockdev_options options;
    json_object *json; /* the same */
    bool read_only, auto_read_only, force_share, direct, no_flush;
    enum qapi_blockdev_discard_options discard;
    enum qapi_blockdev_detect_zeroes_options detect_zeroes;
    struct block_node *backing; /* held; NULL: none */
    bool swap_backing;          /* backing is to be, or was, another one */
    bool prepared;              /* by the driver */
    void *pending;
};

static void change_free(void *opaque)
{
    struct change *c = opaque;

    co_block_node_unref(c->backing);
    co_block_node_unref(c->node);
    qapi_clear(&qapi_type_blockdev_options, &c->options);
    json_object_put(c->json);
    g_free(c);
}

#define SWAP(a, b)                 \
    do {                           \
        __typeof__(a) swap_ = (a); \
        (a) = (b);                 \
        (b) = swap_;               \
    } while (0)

static void swap_options(struct change *c)
{
    struct block_node *node = c->node;

    SWAP(c->read_only, node->read_only);
    SWAP(c->auto_read_only, node->auto_read_only);
    SWAP(c->force_share, node->force_share);
    SWAP(c->direct, node->direct);
    SWAP(c->no_flush, node->no_flush);
    SWAP(c->discard, node->discard);
    SWAP(c->detect_zeroes, node->detect_zeroes);
    SWAP(c->json, node->options);
}

/* ---- What is asked for ---- */

static bool enqueue(GPtrArray *queue, struct block_node *node,
                    const struct qapi_blockdev_options *options, GError **error);

static bool is_common(const char *key)
{
    static const char *const keys[] = {
        "driver",         "node-name",   "discard",       "cache", "read-only",
        "auto-read-only", "force-share", "detect-zeroes", NULL,
    };

    return g_strv_contains(keys, key);
}

static struct block_edge *find_child(const struct block_node *node, const char *name)
{
    for (guint i = 0; i < node->children->len; i++) {
        struct block_edge *edge = node->children->pdata[i];

        if (g_str_equal(edge->name, name)) {
            return edge;
        }
    }
    return NULL;
}

/* A child in place: its options are among the parent's, and it changes with it. */
static bool enqueue_child(GPtrArray *queue, struct change *c, const struct block_edge *edge,
                          json_object *definition, GError **error)
{
    struct qapi_blockdev_options options;
    bool ok;

    if (!qapi_from_json(&qapi_type_blockdev_options, definition, &options, error)) {
        return false;
    }
    swap_options(c);
    block_inherit_options(c->node, edge->role, &options); /* of what the parent is going to be */
    swap_options(c);
    ok = enqueue(queue, edge->node, &options, error);
    qapi_clear(&qapi_type_blockdev_options, &options);
    return ok;
}

static bool take_backing(struct change *c, json_object *value, GError **error)
{
    const char *name = value ? json_object_get_string(value) : "";
    struct block_node *now = c->node->backing ? c->node->backing->node : NULL;

    if (*name) {
        c->backing = block_node_find(c->node->graph, name, error);
        if (!c->backing) {
            return false;
        }
        block_node_ref(c->backing);
    }
    c->swap_backing = c->backing != now;
    return true;
}

/* Whether the driver has a say in what becomes of the member. */
static bool is_mutable(const struct block_driver *driver, const char *key)
{
    return driver->mutable_options ? g_strv_contains(driver->mutable_options, key)
                                   : driver->co_reopen_prepare != NULL;
}

static bool take_member(GPtrArray *queue, struct change *c, const char *key, json_object *value,
                        GError **error)
{
    const struct block_edge *edge = find_child(c->node, key);
    json_object *old = NULL;

    if (g_str_equal(key, "backing") && !json_object_is_type(value, json_type_object)) {
        return take_backing(c, value, error);
    }
    if (edge && json_object_is_type(value, json_type_object)) {
        if (g_str_equal(key, "backing")) {
            c->backing = block_node_ref(edge->node);
        }
        return enqueue_child(queue, c, edge, value, error);
    }
    if (edge && g_str_equal(json_object_get_string(value), edge->node->name)) {
        return true;
    }
    json_object_object_get_ex(c->node->options, key, &old);
    if (edge || (!is_mutable(c->node->driver, key) && !json_object_equal(old, value))) {
        return block_error(error, "Cannot change the option '%s' of node '%s'", key, c->node->name);
    }
    return true;
}

/* What is left out would have its default again. */
static bool check_left_out(const struct change *c, GError **error)
{
    json_object_object_foreach(c->node->options, key, value)
    {
        (void)value;
        if (!is_common(key) && !is_mutable(c->node->driver, key) && !find_child(c->node, key) &&
            !json_object_object_get_ex(c->json, key, NULL)) {
            return block_error(error,
                               "Option '%s' of node '%s' cannot be reset to its default value", key,
                               c->node->name);
        }
    }
    return true;
}

static bool enqueue(GPtrArray *queue, struct block_node *node,
                    const struct qapi_blockdev_options *options, GError **error)
{
    struct change *c;

    if (options->driver != node->driver->kind) {
        return block_error(error, "Cannot change the option 'driver' of node '%s'", node->name);
    }
    if (options->detect_zeroes == QAPI_BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP &&
        options->discard != QAPI_BLOCKDEV_DISCARD_OPTIONS_UNMAP) {
        return block_error(
            error,
            "setting detect-zeroes to unmap is not allowed without setting discard operation to "
            "unmap");
    }
    c = g_new0(struct change, 1);
    c->node = block_node_ref(node);
    qapi_copy(&qapi_type_blockdev_options, options, &c->options);
    c->json = qapi_to_json(&qapi_type_blockdev_options, options);
    c->read_only = options->read_only;
    c->auto_read_only = options->auto_read_only;
    c->force_share = options->force_share;
    c->direct = options->cache && options->cache->direct;
    c->no_flush = options->cache && options->cache->no_flush;
    c->discard = options->discard;
    c->detect_zeroes = options->detect_zeroes;
    g_ptr_array_add(queue, c);
    if (node->driver->supports_backing && !json_object_object_get_ex(c->json, "backing", NULL)) {
        return block_error(error, "backing is missing for '%s'", node->name);
    }
    if (c->direct != node->direct && !node->driver->co_reopen_prepare && !node->children->len) {
        return block_error(error, "Cannot change the option 'cache.direct' of node '%s'",
                           node->name);
    }
    json_object_object_foreach(c->json, key, value)
    {
        if (!is_common(key) && !take_member(queue, c, key, value, error)) {
            return false;
        }
    }
    return check_left_out(c, error);
}

/* ---- Doing it, and taking it back ---- */

/* The backing image becomes c->backing, which becomes what it was. */
static bool co_swap_backing(struct change *c, GError **error)
{
    struct block_edge *edge = c->node->backing;
    struct block_node *old = edge ? block_node_ref(edge->node) : NULL;
    bool ok = true;

    if (edge && c->backing) {
        ok = block_edge_replace(edge, c->backing, error);
        if (ok) {
            c->backing->refs--; /* the edge has its own now */
        }
    } else if (edge) {
        block_edge_remove(edge);
        old->refs--; /* the edge's */
    } else {
        ok = block_node_add_child(c->node, "backing", block_node_ref(c->backing),
                                  BLOCK_ROLE_BACKING, error);
        if (ok) {
            c->backing->refs--;
        }
    }
    if (ok) {
        c->backing = old;
    } else {
        co_block_node_unref(old);
    }
    return ok;
}

static bool co_prepare(struct change *c, GError **error)
{
    const struct block_driver *driver = c->node->driver;

    c->prepared = !driver->co_reopen_prepare ||
                  driver->co_reopen_prepare(c->node, &c->options, c->read_only, &c->pending, error);
    return c->prepared;
}

static bool refresh_all(GPtrArray *queue, GError **error)
{
    for (guint i = 0; i < queue->len; i++) {
        if (!block_node_refresh_perms(((struct change *)queue->pdata[i])->node, error)) {
            return false;
        }
    }
    return true;
}

/* Those of what is above follow from the node's. */
static void refresh_limits(struct block_node *node)
{
    block_node_refresh_limits(node);
    for (guint i = 0; i < node->parents->len; i++) {
        const struct block_edge *edge = node->parents->pdata[i];

        if (edge->parent) {
            refresh_limits(edge->parent);
        }
    }
}

static void co_finish(struct change *c, bool ok)
{
    const struct block_driver *driver = c->node->driver;

    if (c->prepared && driver->co_reopen_prepare) {
        if (ok) {
            driver->co_reopen_commit(c->node, c->pending);
        } else {
            driver->co_reopen_abort(c->node, c->pending);
        }
    }
    refresh_limits(c->node); /* prepare may have changed them */
}

static bool co_apply(GPtrArray *queue, GError **error)
{
    guint n_swapped = 0;
    bool ok = true;

    for (guint i = 0; ok && i < queue->len; i++) {
        ok = co_prepare(queue->pdata[i], error);
    }
    for (guint i = 0; i < queue->len; i++) {
        swap_options(queue->pdata[i]);
    }
    for (; ok && n_swapped < queue->len; n_swapped += ok) {
        struct change *c = queue->pdata[n_swapped];

        ok = !c->swap_backing || co_swap_backing(c, error);
    }
    ok = ok && refresh_all(queue, error);
    if (!ok) {
        for (guint i = 0; i < queue->len; i++) {
            swap_options(queue->pdata[i]);
        }
        for (guint i = 0; i < n_swapped; i++) {
            struct change *c = queue->pdata[i];

            if (c->swap_backing) {
                co_swap_backing(c, NULL);
            }
        }
        refresh_all(queue, NULL);
    }
    /* Children first: a parent's limits follow from theirs. */
    for (guint i = queue->len; i-- > 0;) {
        co_finish(queue->pdata[i], ok);
    }
    return ok;
}

bool co_block_reopen(struct block_graph *graph, const struct qapi_blockdev_options *options,
                     size_t n, GError **error)
{
    GPtrArray *queue = g_ptr_array_new_with_free_func(change_free);
    bool ok = true;

    co_block_drain_begin(graph, NULL);
    for (size_t i = 0; ok && i < n; i++) {
        struct block_node *node =
            options[i].node_name ? block_node_find(graph, options[i].node_name, error) : NULL;

        if (!options[i].node_name) {
            block_error(error, "node-name not specified");
        }
        ok = node && enqueue(queue, node, &options[i], error);
    }
    ok = ok && co_apply(queue, error);
    block_drain_end(graph, NULL);
    g_ptr_array_unref(queue);
    return ok;
}
