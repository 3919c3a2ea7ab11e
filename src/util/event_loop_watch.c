/* Watched file descriptors. */
#include "util/event_loop_priv.h"

#include <assert.h>

#include "util/trace.h"

enum { FAILURES = POLLERR | POLLHUP | POLLNVAL };

short watch_wanted(const struct watch *watch)
{
    return (watch->read.fn ? POLLIN : 0) | (watch->write.fn ? POLLOUT : 0);
}

void watch_release(struct event_loop *loop, struct watch *watch)
{
    if (watch->removed && !watch->queued && !watch->armed) {
        g_queue_unlink(&loop->watches, &watch->link);
        g_free(watch);
    }
}

void event_loop_ready(struct event_loop *loop, struct watch *watch, short events)
{
    if (events & FAILURES) {
        events |= POLLIN | POLLOUT;
    }
    watch->ready |= events & (POLLIN | POLLOUT);
    if (!watch->queued) {
        watch->queued = true;
        g_queue_push_tail(&loop->ready, watch);
    }
}

static struct watch *find_watch(struct event_loop *loop, int fd)
{
    return g_hash_table_lookup(loop->by_fd, GINT_TO_POINTER(fd));
}

static struct watch *add_watch(struct event_loop *loop, int fd)
{
    struct watch *watch = g_new0(struct watch, 1);

    watch->fd = fd;
    watch->link.data = watch;
    g_queue_push_tail_link(&loop->watches, &watch->link);
    g_hash_table_insert(loop->by_fd, GINT_TO_POINTER(fd), watch);
    return watch;
}

/*
 * Readiness that was reported for other handlers is forgotten: they may have changed it. The kernel
 * reports it again, so for the same handlers it is kept, or who sets them each turn would get
 * nothing.
 */
static void set_side(struct watch *watch, short direction, event_fn *fn, void *opaque)
{
    struct watch_side *side = direction == POLLIN ? &watch->read : &watch->write;

    if (side->fn != fn || side->opaque != opaque) {
        *side = (struct watch_side) { fn, opaque };
        watch->ready &= ~direction;
    }
}

static void watch_changed(struct event_loop *loop, struct watch *watch)
{
    trace_event_loop_watch(loop->log, loop, watch->fd, watch_wanted(watch));
    if (watch_wanted(watch)) {
        loop->backend->update(loop, watch);
        return;
    }
    g_hash_table_remove(loop->by_fd, GINT_TO_POINTER(watch->fd));
    watch->removed = true;
    loop->backend->forget(loop, watch);
    watch_release(loop, watch);
}

void event_loop_watch(struct event_loop *loop, int fd, event_fn *read, event_fn *write,
                      void *opaque)
{
    struct watch *watch = find_watch(loop, fd);

    assert(event_loop_is_owner(loop));
    if (!watch && (read || write)) {
        watch = add_watch(loop, fd);
    }
    if (watch) {
        set_side(watch, POLLIN, read, opaque);
        set_side(watch, POLLOUT, write, opaque);
        watch_changed(loop, watch);
    }
}

void event_loop_watch_side(struct event_loop *loop, int fd, short direction, event_fn *fn,
                           void *opaque)
{
    struct watch *watch = find_watch(loop, fd);

    assert(event_loop_is_owner(loop));
    if (!watch && fn) {
        watch = add_watch(loop, fd);
    }
    if (watch) {
        set_side(watch, direction, fn, opaque);
        watch_changed(loop, watch);
    }
}

const struct watch_side *event_loop_watched_side(struct event_loop *loop, int fd, short direction)
{
    const struct watch *watch = find_watch(loop, fd);

    return !watch ? NULL : direction == POLLIN ? &watch->read : &watch->write;
}

void event_loop_watch_edge(struct event_loop *loop, int fd, event_fn *fn)
{
    struct watch *watch = add_watch(loop, fd);

    watch->edge = true;
    set_side(watch, POLLIN, fn, NULL);
    watch_changed(loop, watch);
}

static void dispatch_side(struct event_loop *loop, struct watch *watch, short direction,
                          const struct watch_side *side)
{
    if (watch->ready & direction) {
        watch->ready &= ~direction;
        if (side->fn) {
            loop->progress |= !watch->edge;
            side->fn(side->opaque);
        }
    }
}

/* Those that are ready now; what becomes ready meanwhile comes in the next turn. */
void event_loop_dispatch_ready(struct event_loop *loop)
{
    for (guint n = loop->ready.length; n; n--) {
        struct watch *watch = g_queue_pop_head(&loop->ready);

        /* A removed watch has no functions any more, whoever removed it. */
        dispatch_side(loop, watch, POLLIN, &watch->read);
        dispatch_side(loop, watch, POLLOUT, &watch->write);
        watch->queued = false;
        if (watch->removed) {
            watch_release(loop, watch);
        } else {
            loop->backend->update(loop, watch);
        }
    }
}
