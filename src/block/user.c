/* Users: where requests enter. They are counted and checked; in a drained section they wait. */
#include <assert.h>
#include <errno.h>

#include "block/block_priv.h"
#include "block/delay.h"

struct user_wait {
    struct coroutine *co;
    bool over;
};

/* ---- Life; main thread ---- */

struct block_user *block_user_new(struct block_graph *graph, const char *name,
                                  const struct block_user_ops *ops, void *opaque)
{
    struct block_user *user = g_new0(struct block_user, 1);

    user->graph = graph;
    user->name = g_strdup(name);
    user->ops = ops;
    user->opaque = opaque;
    user->write_cache = true;
    user->accounting = block_accounting_new();
    g_mutex_init(&user->lock);
    g_queue_init(&user->waiting);
    g_ptr_array_add(graph->users, user);
    return user;
}

void block_user_free(struct block_user *user)
{
    if (!user) {
        return;
    }
    assert(!(user->state & ~BLOCK_USER_DRAINED));
    block_user_detach(user);
    block_drain_forget(user);
    g_ptr_array_remove(user->graph->users, user);
    g_mutex_clear(&user->lock);
    block_user_leave_limits(user);
    block_accounting_free(user->accounting);
    g_free(user->name);
    g_free(user);
}

bool block_user_attach(struct block_user *user, struct block_node *node, unsigned perm,
                       unsigned shared, GError **error)
{
    assert(!user->edge);
    user->edge = block_edge_new("root", node, NULL, user, BLOCK_ROLE_DATA, perm, shared, error);
    if (!user->edge) {
        return false;
    }
    block_node_ref(node);
    block_drain_adopt(user);
    block_drive_attach(user);
    return true;
}

void block_user_detach(struct block_user *user)
{
    struct block_edge *edge = user->edge;
    struct block_node *node;

    if (edge) {
        node = edge->node;
        block_drive_detach(user);
        user->edge = NULL;
        block_edge_remove(edge);
        block_node_unref(node);
    }
}

bool block_user_set_perm(struct block_user *user, unsigned perm, unsigned shared, GError **error)
{
    return !user->edge || block_edge_set_perm(user->edge, perm, shared, error);
}

struct block_node *block_user_node(const struct block_user *user)
{
    return user->edge ? user->edge->node : NULL;
}

const char *block_user_name(const struct block_user *user)
{
    return user->name ? user->name : "";
}

struct block_accounting *block_user_accounting(const struct block_user *user)
{
    return user->accounting;
}

void block_user_set_io_error(struct block_user *user, int error)
{
    atomic_store_explicit(&user->io_error, error, memory_order_relaxed);
}

void block_user_set_write_cache(struct block_user *user, bool on)
{
    user->write_cache = on;
}

bool block_user_write_cache(const struct block_user *user)
{
    return user->write_cache;
}

uint64_t block_user_length(const struct block_user *user)
{
    return user->edge ? atomic_load_explicit(&user->edge->node->length, memory_order_relaxed) : 0;
}

const struct block_limits *block_user_limits(const struct block_user *user)
{
    return user->edge ? &user->edge->node->limits : NULL;
}

static void tell_parents(struct block_node *node)
{
    for (guint i = 0; i < node->parents->len; i++) {
        struct block_edge *edge = node->parents->pdata[i];

        if (edge->user) {
            if (edge->user->ops && edge->user->ops->resized) {
                edge->user->ops->resized(edge->user->opaque);
            }
        } else if (edge->role & BLOCK_ROLE_FILTERED) {
            edge->parent->length = node->length;
            tell_parents(edge->parent);
        }
    }
}

void block_user_resized(struct block_node *node)
{
    tell_parents(node);
}

/* ---- Holding back ---- */

void block_user_hold(struct block_user *user)
{
    if (user->drains++ == 0) {
        /* The user first: none of its requests comes to wait here, so that the main thread may
         * wait for it. */
        if (user->ops && user->ops->drain_begin) {
            user->ops->drain_begin(user->opaque);
        }
        g_mutex_lock(&user->lock);
        atomic_fetch_or(&user->state, BLOCK_USER_DRAINED);
        g_mutex_unlock(&user->lock);
    }
}

void block_user_release(struct block_user *user)
{
    struct user_wait *wait;

    assert(user->drains);
    if (--user->drains == 0) {
        g_mutex_lock(&user->lock);
        atomic_fetch_and(&user->state, ~BLOCK_USER_DRAINED);
        while ((wait = g_queue_pop_head(&user->waiting))) {
            wait->over = true;
            coroutine_wake(wait->co);
        }
        g_mutex_unlock(&user->lock);
        if (user->ops && user->ops->drain_end) {
            user->ops->drain_end(user->opaque);
        }
    }
}

static void leave(struct block_user *user)
{
    struct block_graph *graph = user->graph;

    /* After this the user may be gone, if it is drained. */
    if (atomic_fetch_sub(&user->state, 1) == (BLOCK_USER_DRAINED | 1)) {
        block_drain_wake(graph);
    }
}

static void wait_until_released(struct block_user *user)
{
    struct user_wait wait = {.co = coroutine_self()};

    g_mutex_lock(&user->lock);
    if (user->state & BLOCK_USER_DRAINED) {
        g_queue_push_tail(&user->waiting, &wait);
        while (!wait.over) {
            g_mutex_unlock(&user->lock);
            co_yield ();
            g_mutex_lock(&user->lock);
        }
    }
    g_mutex_unlock(&user->lock);
}

static void enter(struct block_user *user)
{
    while (G_UNLIKELY(atomic_fetch_add(&user->state, 1) & BLOCK_USER_DRAINED)) {
        leave(user);
        wait_until_released(user);
    }
}

/* ---- Requests ---- */

/* 0, and the node, if the request may go on. */
static int admit(struct block_user *user, uint64_t offset, uint64_t bytes, unsigned perm,
                 struct block_node **node)
{
    const struct block_edge *edge = user->edge;
    uint64_t end;

    if (!edge) {
        return -ENOMEDIUM;
    }
    *node = edge->node;
    if ((edge->perm & perm) != perm) {
        return -EPERM;
    }
    if (__builtin_add_overflow(offset, bytes, &end) ||
        end > atomic_load_explicit(&edge->node->length, memory_order_relaxed)) {
        return -EIO;
    }
    return 0;
}

static unsigned write_flags(struct block_user *user, unsigned flags)
{
    return atomic_load_explicit(&user->write_cache, memory_order_relaxed) ? flags
                                                                          : flags | BLOCK_FUA;
}

/* Waits as long as its limits ask for. */
static void limit(struct block_user *user, bool is_write, uint64_t bytes)
{
    if (G_UNLIKELY(user->limits)) {
        co_block_throttle(user->graph, user->limits, is_write, bytes);
    }
}

static unsigned write_perm(unsigned flags)
{
    return flags & BLOCK_UNCHANGED ? BLOCK_PERM_WRITE_UNCHANGED : BLOCK_PERM_WRITE;
}

int co_block_read(struct block_user *user, uint64_t offset, uint64_t bytes,
                  struct block_buffer buffer, unsigned flags)
{
    struct block_node *node;
    int result;

    enter(user);
    result = admit(user, offset, bytes, 0, &node);
    if (result == 0) {
        limit(user, false, bytes);
        result = co_node_read(node, offset, bytes, buffer, flags);
    }
    leave(user);
    return MIN(result, 0);
}

int co_block_write(struct block_user *user, uint64_t offset, uint64_t bytes,
                   struct block_buffer buffer, unsigned flags)
{
    struct block_node *node;
    int result;

    enter(user);
    result = admit(user, offset, bytes, write_perm(flags), &node);
    if (result == 0) {
        limit(user, true, bytes);
        result = co_node_write(node, offset, bytes, buffer, write_flags(user, flags));
    }
    leave(user);
    return MIN(result, 0);
}

int co_block_write_zeroes(struct block_user *user, uint64_t offset, uint64_t bytes, unsigned flags)
{
    struct block_node *node;
    int result;

    enter(user);
    result = admit(user, offset, bytes, write_perm(flags), &node);
    if (result == 0) {
        limit(user, true, bytes);
        result = co_node_write_zeroes(node, offset, bytes, write_flags(user, flags));
    }
    leave(user);
    return MIN(result, 0);
}

int co_block_discard(struct block_user *user, uint64_t offset, uint64_t bytes)
{
    struct block_node *node;
    int result;

    enter(user);
    result = admit(user, offset, bytes, BLOCK_PERM_WRITE, &node);
    if (result == 0) {
        limit(user, true, bytes);
        result = co_node_discard(node, offset, bytes);
    }
    leave(user);
    return MIN(result, 0);
}

int co_block_flush(struct block_user *user)
{
    struct block_node *node;
    int result;

    enter(user);
    result = admit(user, 0, 0, 0, &node);
    if (result == 0 && !node->read_only) {
        result = co_node_flush(node);
    }
    leave(user);
    return MIN(result, 0);
}

int co_block_status(struct block_user *user, uint64_t offset, uint64_t bytes,
                    struct block_status *status)
{
    struct block_node *node;
    int result;

    enter(user);
    result = admit(user, offset, 0, 0, &node);
    if (result == 0) {
        result = co_node_status_above(node, NULL, offset, bytes, status);
    }
    leave(user);
    return MIN(result, 0);
}

int co_block_truncate(struct block_user *user, uint64_t size, bool exact,
                      enum qapi_prealloc_mode prealloc, unsigned flags, GError **error)
{
    struct block_node *node;
    int result;

    enter(user);
    result = admit(user, 0, 0, BLOCK_PERM_RESIZE, &node);
    if (result == 0) {
        result = co_node_truncate(node, size, exact, prealloc, flags, error);
    } else {
        block_error(error,
                    result == -ENOMEDIUM ? "No medium found" : "No permission to resize the image");
    }
    leave(user);
    return MIN(result, 0);
}

int co_block_copy_range(struct block_user *from, uint64_t from_offset, struct block_user *to,
                        uint64_t to_offset, uint64_t bytes, unsigned flags)
{
    struct block_node *source, *target;
    int result;

    enter(from);
    enter(to);
    result = admit(from, from_offset, bytes, 0, &source);
    if (result == 0) {
        result = admit(to, to_offset, bytes, BLOCK_PERM_WRITE, &target);
    }
    if (result == 0) {
        result = co_node_copy_range(source, from_offset, target, to_offset, bytes,
                                    write_flags(to, flags));
    }
    leave(to);
    leave(from);
    return MIN(result, 0);
}

/* ---- Without a coroutine of one's own ---- */

static void run_request(void *opaque)
{
    struct block_request *request = opaque;
    struct block_user *user = request->user;

    switch (request->op) {
    case BLOCK_READ:
        request->result =
            co_block_read(user, request->offset, request->bytes, request->buffer, request->flags);
        break;
    case BLOCK_WRITE:
        request->result =
            co_block_write(user, request->offset, request->bytes, request->buffer, request->flags);
        break;
    case BLOCK_WRITE_ZEROES:
        request->result =
            co_block_write_zeroes(user, request->offset, request->bytes, request->flags);
        break;
    case BLOCK_DISCARD:
        request->result = co_block_discard(user, request->offset, request->bytes);
        break;
    case BLOCK_FLUSH: request->result = co_block_flush(user); break;
    }
    request->done(request);
}

void block_submit(struct block_user *user, struct block_request *request)
{
    struct coroutine *self = coroutine_self();
    struct event_loop *loop = self ? coroutine_loop(self) : event_loop_current();

    request->user = user;
    coroutine_start(loop ? loop : object_context(user->graph->root)->loop, run_request, request);
}
