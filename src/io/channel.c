/*
 * What all channels have in common: references, waiting, and the loops around reads and writes.
 *
 * Who waits is a pair of callbacks (io_watch) or up to two coroutines (io_wait). From them update()
 * finds what the descriptor has to be watched for, since a layer on top may need to write before it
 * can read; what can get on without the descriptor is called from a bottom half.
 */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include "io/channel.h"

GQuark io_error_quark(void)
{
    return g_quark_from_static_string("io-error-quark");
}

void io_set_error(GError **error, int err, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, IO_ERROR, err, err ? "%s: %s" : "%s", text, g_strerror(err));
}

static void dispatch(struct io_channel *ch, short revents);
static void stop_watching(struct io_channel *ch);

static void on_readable(void *opaque)
{
    dispatch(opaque, POLLIN);
}

static void on_writable(void *opaque)
{
    dispatch(opaque, POLLOUT);
}

static void on_ready(void *opaque)
{
    struct io_channel *ch = opaque;

    dispatch(ch, ch->always_ready ? POLLIN | POLLOUT : 0);
}

void io_channel_init(struct io_channel *ch, const struct io_channel_ops *ops,
                     struct event_loop *loop, int fd)
{
    ch->ops = ops;
    ch->loop = event_loop_ref(loop);
    ch->refs = 1;
    ch->fd = fd;
    ch->ready = bottom_half_new(loop, on_ready, ch);
}

struct io_channel *io_channel_ref(struct io_channel *ch)
{
    assert(ch->refs > 0);
    ch->refs++;
    return ch;
}

void io_channel_unref(struct io_channel *ch)
{
    struct event_loop *loop;

    if (!ch || --ch->refs > 0) {
        return;
    }
    assert(!ch->reader && !ch->writer);
    if (ch->ops->flush && !ch->shut_write) {
        ch->ops->flush(ch);
    }
    stop_watching(ch);
    bottom_half_free(ch->ready);
    loop = ch->loop;
    ch->ops->free(ch);
    event_loop_unref(loop);
}

/* ---- Waiting ---- */

static bool has_unsent(struct io_channel *ch)
{
    return ch->ops->has_unsent && !ch->shut_write && ch->ops->has_unsent(ch);
}

/* Whether a read gets on without the descriptor. */
static bool read_is_ready(struct io_channel *ch)
{
    return ch->shut_read || (ch->ops->has_pending && ch->ops->has_pending(ch));
}

static void stop_watching(struct io_channel *ch)
{
    if (ch->watched) {
        ch->watched = 0;
        event_loop_watch(ch->loop, ch->fd, NULL, NULL, NULL);
    }
}

static void update(struct io_channel *ch)
{
    bool wants_read = ch->read || ch->reader;
    bool wants_write = ch->write || ch->writer;
    short events = 0;

    if (ch->covered || ch->dispatching) {
        return;
    }
    if (wants_read) {
        events |= ch->ops->read_events(ch);
    }
    if (wants_write || has_unsent(ch)) {
        events |= ch->ops->write_events(ch);
    }
    if ((events && ch->always_ready) || (wants_read && read_is_ready(ch)) ||
        (wants_write && ch->shut_write)) {
        bottom_half_schedule(ch->ready);
    }
    if (ch->always_ready || events == ch->watched) {
        return;
    }
    ch->watched = events;
    event_loop_watch(ch->loop, ch->fd, events & POLLIN ? on_readable : NULL,
                     events & POLLOUT ? on_writable : NULL, ch);
}

void io_channel_cover(struct io_channel *ch, bool covered)
{
    assert(!ch->read && !ch->write && !ch->reader && !ch->writer);
    if (covered) {
        stop_watching(ch);
        bottom_half_cancel(ch->ready);
    }
    ch->covered = covered;
}

static void enter(struct coroutine **waiter)
{
    struct coroutine *co = *waiter;

    *waiter = NULL;
    coroutine_enter(co);
}

/* Something happened: revents of the descriptor, or 0. Callbacks may do anything to the channel. */
static void dispatch(struct io_channel *ch, short revents)
{
    bool can_read, can_write;

    io_channel_ref(ch);
    ch->dispatching = true;
    can_read = read_is_ready(ch) || (revents & ch->ops->read_events(ch));
    can_write = ch->shut_write || (revents & ch->ops->write_events(ch));
    if (can_write && has_unsent(ch)) {
        ch->ops->flush(ch);
        can_write = !has_unsent(ch);
    }
    if (can_read && ch->reader) {
        enter(&ch->reader);
    } else if (can_read && ch->read) {
        ch->read(ch->opaque);
    }
    if (can_write && ch->writer) {
        enter(&ch->writer);
    } else if (can_write && ch->write) {
        ch->write(ch->opaque);
    }
    ch->dispatching = false;
    update(ch);
    io_channel_unref(ch);
}

void io_watch(struct io_channel *ch, event_fn *read, event_fn *write, void *opaque)
{
    ch->read = read;
    ch->write = write;
    ch->opaque = opaque;
    update(ch);
}

void io_wait(struct io_channel *ch, short direction)
{
    struct coroutine **waiter = direction == POLLIN ? &ch->reader : &ch->writer;
    struct coroutine *self = coroutine_self();

    assert(self && !*waiter);
    io_channel_ref(ch);
    *waiter = self;
    update(ch);
    co_yield();
    /* Still there if it was somebody else who woke this coroutine. */
    if (*waiter == self) {
        *waiter = NULL;
        update(ch);
    }
    io_channel_unref(ch);
}

void io_shutdown(struct io_channel *ch, int how)
{
    if (how != SHUT_RD && !ch->shut_write && ch->ops->flush) {
        ch->ops->flush(ch);
    }
    if (ch->ops->shutdown) {
        ch->ops->shutdown(ch, how);
    }
    ch->shut_read |= how != SHUT_WR;
    ch->shut_write |= how != SHUT_RD;
    update(ch);
}

/* ---- Reading and writing ---- */

ssize_t io_try_readv(struct io_channel *ch, const struct iovec *iov, size_t n, GArray *fds,
                     GError **error)
{
    ssize_t result = 0;

    if (!ch->shut_read) {
        result = ch->ops->readv(ch, iov, n, ch->can_pass_fds ? fds : NULL, error);
        update(ch);
    }
    return result;
}

ssize_t io_try_writev(struct io_channel *ch, const struct iovec *iov, size_t n, const int *fds,
                      size_t n_fds, GError **error)
{
    ssize_t result;

    if (ch->shut_write) {
        io_set_error(error, EPIPE, "The channel is closed for writing");
        return -1;
    }
    if (n_fds > 0 && (!ch->can_pass_fds || n_fds > IO_MAX_FDS)) {
        io_set_error(error, EINVAL, "%s",
                     ch->can_pass_fds ? "Too many file descriptors for one message"
                                      : "File descriptors can be sent by a unix socket only");
        return -1;
    }
    result = ch->ops->writev(ch, iov, n, fds, n_fds, error);
    update(ch);
    return result;
}

ssize_t io_read(struct io_channel *ch, void *data, size_t size, GError **error)
{
    struct iovec iov = {.iov_base = data, .iov_len = size};
    ssize_t result;

    for (;;) {
        result = io_try_readv(ch, &iov, 1, NULL, error);
        if (result != IO_WOULD_BLOCK) {
            return result;
        }
        io_wait(ch, POLLIN);
    }
}

bool io_read_all(struct io_channel *ch, void *data, size_t size, GError **error)
{
    size_t done = 0;
    ssize_t result;

    while (done < size) {
        result = io_read(ch, (char *)data + done, size - done, error);
        if (result == 0) {
            io_set_error(error, 0, "The connection ended after %zu of %zu bytes", done, size);
        }
        if (result <= 0) {
            return false;
        }
        done += (size_t)result;
    }
    return true;
}

bool io_writev_all(struct io_channel *ch, const struct iovec *iov, size_t n, GError **error)
{
    g_autofree struct iovec *rest = g_memdup2(iov, n * sizeof(*iov));
    size_t first = 0;
    ssize_t result;

    for (;;) {
        while (first < n && rest[first].iov_len == 0) {
            first++;
        }
        if (first == n) {
            return true;
        }
        result = io_try_writev(ch, rest + first, n - first, NULL, 0, error);
        if (result == IO_WOULD_BLOCK) {
            io_wait(ch, POLLOUT);
            continue;
        }
        if (result < 0) {
            return false;
        }
        for (size_t left = (size_t)result; left > 0;) {
            size_t step = MIN(left, rest[first].iov_len);

            rest[first].iov_base = (char *)rest[first].iov_base + step;
            rest[first].iov_len -= step;
            left -= step;
            first += rest[first].iov_len == 0;
        }
    }
}

bool io_write_all(struct io_channel *ch, const void *data, size_t size, GError **error)
{
    struct iovec iov = {.iov_base = (void *)data, .iov_len = size};

    return io_writev_all(ch, &iov, 1, error);
}

bool io_flush(struct io_channel *ch, GError **error)
{
    for (;;) {
        if (has_unsent(ch)) {
            ch->ops->flush(ch);
        }
        if (!has_unsent(ch)) {
            /* Nothing is written; an error that flush met is told. */
            return io_try_writev(ch, NULL, 0, NULL, 0, error) != -1;
        }
        io_wait(ch, POLLOUT);
    }
}
