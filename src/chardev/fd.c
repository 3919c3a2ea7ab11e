/* What back ends over descriptors have in common. */
#include "chardev/backend.h"

static void fd_readable(void *opaque);
static void fd_writable(void *opaque);

static void update_watch(struct fd_backend *fd)
{
    bool want_read = fd->in && !fd->at_end && chardev_room(&fd->base, 1);

    if (fd->base.closed) {
        return;
    }
    if (fd->in && fd->in != fd->out) {
        io_watch(fd->in, want_read ? fd_readable : NULL, NULL, fd);
        want_read = false;
    }
    if (fd->out) {
        io_watch(fd->out, want_read ? fd_readable : NULL, fd->want_write ? fd_writable : NULL, fd);
    }
}

static void fd_readable(void *opaque)
{
    struct fd_backend *fd = opaque;
    auto_ptr(chardev_backend) keep = chardev_backend_ref(&fd->base);
    uint8_t data[CHARDEV_READ_SIZE];
    struct iovec iov = {data, chardev_room(&fd->base, sizeof(data))};
    ssize_t n = iov.iov_len ? io_try_readv(fd->in, &iov, 1, NULL, NULL) : IO_WOULD_BLOCK;

    if (n > 0) {
        chardev_receive(&fd->base, data, n);
    } else if (n != IO_WOULD_BLOCK) {
        fd->at_end = true;
        if (fd->hung_up) {
            fd->hung_up(fd);
        }
    }
    update_watch(fd);
}

static void fd_writable(void *opaque)
{
    struct fd_backend *fd = opaque;

    chardev_writable(&fd->base);
}

void fd_backend_start(struct fd_backend *fd, int in, int out)
{
    struct event_loop *loop = fd->base.chr->context->loop;

    fd->out = io_channel_fd_new(loop, out);
    if (in == out) {
        fd->in = io_channel_ref(fd->out);
    } else if (in >= 0) {
        fd->in = io_channel_fd_new(loop, in);
    }
}

void fd_backend_accept_input(struct chardev_backend *b)
{
    update_watch((struct fd_backend *)b);
}

ssize_t fd_backend_write(struct chardev_backend *b, const void *data, size_t size)
{
    struct fd_backend *fd = (struct fd_backend *)b;
    struct iovec iov = {(void *)data, size};
    ssize_t n = io_try_writev(fd->out, &iov, 1, NULL, 0, NULL);

    return n == IO_WOULD_BLOCK ? 0 : n;
}

void fd_backend_watch_writable(struct chardev_backend *b, bool on)
{
    struct fd_backend *fd = (struct fd_backend *)b;

    if (fd->want_write != on) {
        fd->want_write = on;
        update_watch(fd);
    }
}

void fd_backend_close(struct chardev_backend *b)
{
    struct fd_backend *fd = (struct fd_backend *)b;

    if (fd->in) {
        io_watch(fd->in, NULL, NULL, NULL);
        io_channel_unref(g_steal_pointer(&fd->in));
    }
    if (fd->out) {
        io_watch(fd->out, NULL, NULL, NULL);
        io_channel_unref(g_steal_pointer(&fd->out));
    }
}
