/*
 * Edges and their permissions. What an edge may do (perm) and what it lets the node's other
 * parents do (shared) follows from the parents above it: a change at the top goes down the graph.
 * It is worked out for all nodes concerned first, so that it happens as a whole or not at all.
 * Main thread.
 */
#include <assert.h>

#include "block/block_priv.h"

static const char *perm_name(unsigned perm)
{
    return perm & BLOCK_PERM_CONSISTENT_READ   ? "consistent read"
           : perm & BLOCK_PERM_WRITE           ? "write"
           : perm & BLOCK_PERM_WRITE_UNCHANGED ? "write unchanged"
                                               : "resize";
}

void block_node_cumulative(const struct block_node *node, unsigned *perm, unsigned *shared)
{
    *perm = 0;
    *shared = BLOCK_PERM_ALL;
    for (guint i = 0; i < node->parents->len; i++) {
        const struct block_edge *edge = node->parents->pdata[i];

        *perm |= edge->perm;
        *shared &= edge->shared;
    }
    if (node->force_share) {
        *shared = BLOCK_PERM_ALL;
    }
}

/* What a format with its metadata, or a filter, needs of a child. */
static void default_child_perm(const struct block_node *node, const struct block_edge *edge,
                               unsigned perm, unsigned shared, unsigned *need, unsigned *share)
{
    if (edge->role & BLOCK_ROLE_BACKING) {
        *need = perm & BLOCK_PERM_CONSISTENT_READ;
        *share = BLOCK_PERM_CONSISTENT_READ | BLOCK_PERM_WRITE_UNCHANGED;
        if (shared & BLOCK_PERM_WRITE) {
            *share |= BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE;
        }
        return;
    }
    *need = perm;
    *share = shared;
    if (edge->role & BLOCK_ROLE_METADATA) {
        /* Tables may change without a request of a guest: clean flags, caches. */
        if (!node->read_only) {
            *need |= BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE;
        }
        if (!(node->open_flags & BLOCK_OPEN_NO_IO)) {
            *need |= BLOCK_PERM_CONSISTENT_READ;
        }
        *share &= ~(unsigned)(BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE);
    }
    if (edge->role & BLOCK_ROLE_DATA) {
        if (perm & BLOCK_PERM_WRITE) {
            *need |= BLOCK_PERM_RESIZE;
        }
        *share &= ~(unsigned)BLOCK_PERM_RESIZE;
    }
}

static void child_perm(const struct block_node *node, const struct block_edge *edge, unsigned perm,
                       unsigned shared, unsigned *need, unsigned *share)
{
    if (node->driver->child_perm) {
        node->driver->child_perm(node, edge, perm, shared, need, share);
    } else {
        default_child_perm(node, edge, perm, shared, need, share);
    }
    if (node->force_share || edge->node->force_share) {
        *share = BLOCK_PERM_ALL;
    }
}

/* ---- A change as a whole ---- */

struct old_perm {
    struct block_edge *edge;
    unsigned perm, shared;
};

struct change {
    GArray *old; /* struct old_perm */
};

static void visit(struct block_node *node, GPtrArray *post_order)
{
    if (g_ptr_array_find(post_order, node, NULL)) {
        return;
    }
    for (guint i = 0; i < node->children->len; i++) {
        visit(((struct block_edge *)node->children->pdata[i])->node, post_order);
    }
    g_ptr_array_add(post_order, node);
}

static void set(struct change *change, struct block_edge *edge, unsigned perm, unsigned shared)
{
    struct old_perm old = {edge, edge->perm, edge->shared};

    g_array_append_val(change->old, old);
    edge->perm = perm;
    edge->shared = shared;
}

static bool refuse(const struct block_node *node, const struct block_edge *who,
                   const struct block_edge *other, GError **error)
{
    unsigned conflict = who->perm & ~other->shared;
    g_autofree char *a = block_edge_describe(who), *b = block_edge_describe(other);

    return block_error(
        error,
        "Permission conflict on node '%s': permission '%s' is required by %s (uses node '%s' as "
        "'%s' child) and unshared by %s (uses node '%s' as '%s' child)",
        node->name, perm_name(conflict), a, node->name, who->name, b, node->name, other->name);
}

static bool check_parents(const struct block_node *node, GError **error)
{
    for (guint i = 0; i < node->parents->len; i++) {
        for (guint j = 0; j < node->parents->len; j++) {
            const struct block_edge *who = node->parents->pdata[i],
                                    *other = node->parents->pdata[j];

            if (i != j && (who->perm & ~other->shared)) {
                return refuse(node, who, other, error);
            }
        }
    }
    return true;
}

static bool check_node(struct change *change, struct block_node *node, GError **error)
{
    const unsigned changing = BLOCK_PERM_WRITE | BLOCK_PERM_WRITE_UNCHANGED | BLOCK_PERM_RESIZE;
    unsigned perm, shared;

    if (!check_parents(node, error)) {
        return false;
    }
    block_node_cumulative(node, &perm, &shared);
    /* One that made itself read-only may find that it can be written after all. */
    if ((perm & changing) && node->read_only &&
        !(node->auto_read_only && node->driver->perm_check)) {
        return block_error(error, "Block node '%s' is read-only", node->name ? node->name : "");
    }
    for (guint i = 0; i < node->children->len; i++) {
        struct block_edge *edge = node->children->pdata[i];
        unsigned need, share;

        child_perm(node, edge, perm, shared, &need, &share);
        set(change, edge, need, share);
    }
    return !node->driver->perm_check || node->driver->perm_check(node, perm, shared, error);
}

static void commit(struct block_node *node)
{
    unsigned perm, shared;

    block_node_cumulative(node, &perm, &shared);
    if (node->driver->perm_commit) {
        node->driver->perm_commit(node, perm, shared);
    }
}

/* Of node and all below, whose edges from above are already what they are to be. */
static bool finish(struct change *change, struct block_node *node, GError **error)
{
    g_autoptr(GPtrArray) post_order = g_ptr_array_new();
    bool ok = true;
    guint n = 0;

    visit(node, post_order);
    for (guint i = post_order->len; ok && i-- > 0; n += ok) {
        ok = check_node(change, post_order->pdata[i], error);
    }
    for (guint i = 0; ok && i < post_order->len; i++) {
        commit(post_order->pdata[i]);
    }
    if (!ok) {
        for (guint i = change->old->len; i-- > 0;) {
            const struct old_perm *old = &g_array_index(change->old, struct old_perm, i);

            old->edge->perm = old->perm;
            old->edge->shared = old->shared;
        }
        for (guint i = 0; i < n; i++) {
            struct block_node *checked = post_order->pdata[post_order->len - 1 - i];

            if (checked->driver->perm_abort) {
                checked->driver->perm_abort(checked);
            }
        }
    }
    return ok;
}

bool block_edge_set_perm(struct block_edge *edge, unsigned perm, unsigned shared, GError **error)
{
    struct change change = {.old = g_array_new(false, false, sizeof(struct old_perm))};
    bool ok;

    set(&change, edge, perm, shared);
    ok = finish(&change, edge->node, error);
    g_array_unref(change.old);
    return ok;
}

bool block_node_refresh_perms(struct block_node *node, GError **error)
{
    struct change change = {.old = g_array_new(false, false, sizeof(struct old_perm))};
    bool ok = finish(&change, node, error);

    g_array_unref(change.old);
    return ok;
}

/* ---- Edges ---- */

static void link_parent(struct block_edge *edge)
{
    g_ptr_array_add(edge->node->parents, edge);
    if (edge->parent) {
        g_ptr_array_add(edge->parent->children, edge);
        if (g_str_equal(edge->name, "file")) {
            edge->parent->file = edge;
        } else if (g_str_equal(edge->name, "backing")) {
            edge->parent->backing = edge;
        }
    }
}

struct block_edge *block_edge_new(const char *name, struct block_node *node,
                                  struct block_node *parent, struct block_user *user, unsigned role,
                                  unsigned perm, unsigned shared, GError **error)
{
    struct block_edge *edge = g_new0(struct block_edge, 1);

    *edge = (struct block_edge){
        .name = g_strdup(name),
        .node = node,
        .parent = parent,
        .user = user,
        .role = role,
        .shared = BLOCK_PERM_ALL,
    };
    if (parent) {
        unsigned above, above_shared;

        block_node_cumulative(parent, &above, &above_shared);
        child_perm(parent, edge, above, above_shared, &perm, &shared);
    }
    link_parent(edge);
    if (!block_edge_set_perm(edge, perm, shared, error)) {
        block_edge_remove(edge);
        return NULL;
    }
    return edge;
}

static void unlink_edge(struct block_edge *edge)
{
    g_ptr_array_remove(edge->node->parents, edge);
    if (edge->parent) {
        g_ptr_array_remove(edge->parent->children, edge);
        if (edge->parent->file == edge) {
            edge->parent->file = NULL;
        } else if (edge->parent->backing == edge) {
            edge->parent->backing = NULL;
        }
    }
}

void block_edge_remove(struct block_edge *edge)
{
    struct block_node *node = edge->node;

    unlink_edge(edge);
    /* Less is needed of it now, which nobody can refuse. */
    block_node_refresh_perms(node, NULL);
    g_free(edge->name);
    g_free(edge);
}

static bool is_below(const struct block_node *node, const struct block_node *top)
{
    for (guint i = 0; i < top->children->len; i++) {
        const struct block_edge *edge = top->children->pdata[i];

        if (edge->node == node || is_below(node, edge->node)) {
            return true;
        }
    }
    return node == top;
}

bool block_edge_replace(struct block_edge *edge, struct block_node *node, GError **error)
{
    struct block_node *old = edge->node;

    if (edge->parent && is_below(edge->parent, node)) {
        return block_error(error, "Making node '%s' a %s child of '%s' would create a cycle",
                           node->name, edge->name, edge->parent->name);
    }
    g_ptr_array_remove(old->parents, edge);
    edge->node = block_node_ref(node);
    g_ptr_array_add(node->parents, edge);
    if (!block_edge_set_perm(edge, edge->perm, edge->shared, error)) {
        g_ptr_array_remove(node->parents, edge);
        edge->node = old;
        g_ptr_array_add(old->parents, edge);
        node->refs--; /* the caller has one */
        return false;
    }
    block_node_refresh_perms(old, NULL);
    /* Not the last one: who replaces a node holds it. */
    assert(old->refs > 1);
    old->refs--;
    return true;
}
