/* The event loop on epoll: where the kernel has no io_uring, or forbids it. */
#include "util/event_loop_priv.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MAX_EVENTS = 64 };   /* a turn; the others come in the next one */

static bool epoll_open(struct event_loop *loop, GError **error)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "Could not make an event loop: epoll_create1: %s", g_strerror(errno));
        return false;
    }
    return true;
}

static void epoll_close(struct event_loop *loop)
{
    close(loop->epoll_fd);
    g_queue_clear(&loop->always_ready);
}

static int epoll_get_fd(const struct event_loop *loop)
{
    return loop->epoll_fd;
}

static void set_always(struct event_loop *loop, struct watch *watch, bool always)
{
    if (watch->always == always) {
        return;
    }
    watch->always = always;
    if (always) {
        g_queue_push_tail(&loop->always_ready, watch);
    } else {
        g_queue_remove(&loop->always_ready, watch);
    }
}

/* EPOLLIN and EPOLLOUT have poll()'s values, on every architecture. */
static void epoll_update(struct event_loop *loop, struct watch *watch)
{
    struct epoll_event event = { .data.ptr = watch };
    short wanted = watch_wanted(watch);
    int op;

    if (wanted == watch->armed) {
        return;
    }
    op = watch->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    event.events = (unsigned)wanted | (watch->edge ? EPOLLET : 0);
    if (watch->always) {
        watch->armed = wanted;
        return;
    }
    /* The descriptor may have been closed and opened again behind our back, or duplicated: the list
     * in the kernel isn't ours alone. */
    if (epoll_ctl(loop->epoll_fd, op, watch->fd, &event) < 0) {
        op = errno == ENOENT ? EPOLL_CTL_ADD : errno == EEXIST ? EPOLL_CTL_MOD : 0;

        if (!op || epoll_ctl(loop->epoll_fd, op, watch->fd, &event) < 0) {
            set_always(loop, watch, true);
        }
    }
    watch->armed = wanted;
}

static void epoll_forget(struct event_loop *loop, struct watch *watch)
{
    if (watch->always) {
        set_always(loop, watch, false);
    } else if (watch->armed) {
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    }
    watch->armed = 0;
}

static void epoll_submit(struct event_loop *loop)
{
}

static bool epoll_peek(const struct event_loop *loop)
{
    return loop->always_ready.length != 0;
}

static int wait_events(struct event_loop *loop, struct epoll_event *events, int64_t timeout_ns)
{
    int64_t ms;

    if (timeout_ns > 0 && !loop->no_pwait2) {
        struct timespec timeout = { timeout_ns / 1000000000, timeout_ns % 1000000000 };
        int n = epoll_pwait2(loop->epoll_fd, events, MAX_EVENTS, &timeout, NULL);

        if (n >= 0 || errno != ENOSYS) {
            return n;
        }
        loop->no_pwait2 = true;
    }
    /* Rather late than too early, which would be a busy loop. */
    ms = timeout_ns < 0 ? -1 : timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
    return epoll_wait(loop->epoll_fd, events, MAX_EVENTS, (int)MIN(ms, G_MAXINT));
}

static void epoll_wait_turn(struct event_loop *loop, int64_t timeout_ns)
{
    struct epoll_event events[MAX_EVENTS];
    int n = wait_events(loop, events, loop->always_ready.length ? 0 : timeout_ns);

    for (int i = 0; i < n; i++) {
        event_loop_ready(loop, events[i].data.ptr, (short)events[i].events);
    }
    for (GList *l = loop->always_ready.head; l; l = l->next) {
        event_loop_ready(loop, l->data, POLLIN | POLLOUT);
    }
}

const struct event_backend event_backend_epoll = {
    .name = "epoll",
    .open = epoll_open,
    .close = epoll_close,
    .fd = epoll_get_fd,
    .update = epoll_update,
    .forget = epoll_forget,
    .submit = epoll_submit,
    .peek = epoll_peek,
    .wait = epoll_wait_turn,
};
