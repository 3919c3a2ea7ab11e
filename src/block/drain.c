/*
 * Drained sections: the users above a node begin nothing, and what they had begun has ended.
 * Sections may overlap and nest; a user that comes while one is open is held back, too. Main
 * thread, but for the wake-up.
 */
#include <assert.h>

#include "block/block_priv.h"
#include "block/delay.h"

struct drain {
    struct block_node *node; /* NULL: all */
    GPtrArray *users;        /* struct block_user that it holds */
};

static bool reaches(const struct block_node *from, const struct block_node *node)
{
    if (from == node) {
        return true;
    }
    for (guint i = 0; i < from->children->len; i++) {
        if (reaches(((struct block_edge *)from->children->pdata[i])->node, node)) {
            return true;
        }
    }
    return false;
}

static bool is_above(const struct block_user *user, const struct block_node *node)
{
    return user->edge && (!node || reaches(user->edge->node, node));
}

static void hold(struct drain *drain, struct block_user *user)
{
    if (is_above(user, drain->node) && !g_ptr_array_find(drain->users, user, NULL)) {
        g_ptr_array_add(drain->users, user);
        block_user_hold(user);
    }
}

void block_drain_adopt(struct block_user *user)
{
    for (guint i = 0; i < user->graph->drains->len; i++) {
        hold(user->graph->drains->pdata[i], user);
    }
}

void block_drain_forget(struct block_user *user)
{
    for (guint i = 0; i < user->graph->drains->len; i++) {
        struct drain *drain = user->graph->drains->pdata[i];

        g_ptr_array_remove(drain->users, user);
    }
}

void block_drain_wake(struct block_graph *graph)
{
    g_mutex_lock(&graph->drain_lock);
    for (GList *l = graph->drainers.head; l; l = l->next) {
        coroutine_wake(l->data);
    }
    g_mutex_unlock(&graph->drain_lock);
}

static bool is_busy(const struct drain *drain)
{
    for (guint i = 0; i < drain->users->len; i++) {
        const struct block_user *user = drain->users->pdata[i];

        if (user->state & ~BLOCK_USER_DRAINED) {
            return true;
        }
    }
    return false;
}

void co_block_drain_begin(struct block_graph *graph, struct block_node *node)
{
    struct drain *drain = g_new0(struct drain, 1);
    struct coroutine *self = coroutine_self();

    drain->node = node;
    drain->users = g_ptr_array_new();
    g_ptr_array_add(graph->drains, drain);
    for (guint i = 0; i < graph->users->len; i++) {
        hold(drain, graph->users->pdata[i]);
    }
    block_hurry_begin(graph);
    /* In the list before looking: who ends the last request looks there afterwards. */
    g_mutex_lock(&graph->drain_lock);
    g_queue_push_tail(&graph->drainers, self);
    while (is_busy(drain)) {
        g_mutex_unlock(&graph->drain_lock);
        co_yield ();
        g_mutex_lock(&graph->drain_lock);
    }
    g_queue_remove(&graph->drainers, self);
    g_mutex_unlock(&graph->drain_lock);
    block_hurry_end(graph);
}

void block_drain_end(struct block_graph *graph, struct block_node *node)
{
    struct drain *drain = NULL;
    guint i;

    for (i = graph->drains->len; i-- > 0;) {
        drain = graph->drains->pdata[i];
        if (drain->node == node) {
            break;
        }
        drain = NULL;
    }
    assert(drain);
    g_ptr_array_remove_index(graph->drains, i);
    while (drain->users->len) {
        block_user_release(g_ptr_array_steal_index(drain->users, drain->users->len - 1));
    }
    g_ptr_array_unref(drain->users);
    g_free(drain);
}
