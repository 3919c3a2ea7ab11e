/* Channels over a descriptor that isn't a socket: pipe, pty, file, character device. */
#include <errno.h>
#include <glib-unix.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/channel.h"

static ssize_t fd_readv(struct io_channel *ch, const struct iovec *iov, size_t n, GArray *fds,
                        GError **error)
{
    ssize_t result;

    do {
        result = readv(ch->fd, iov, (int)MIN(n, IOV_MAX));
    } while (result < 0 && errno == EINTR);
    if (result >= 0) {
        return result;
    }
    if (errno == EAGAIN) {
        return IO_WOULD_BLOCK;
    }
    /* A pty whose other end nobody has open, or has any more. */
    if (errno == EIO && isatty(ch->fd)) {
        return 0;
    }
    io_set_error(error, errno, "Can't read");
    return -1;
}

static ssize_t fd_writev(struct io_channel *ch, const struct iovec *iov, size_t n, const int *fds,
                         size_t n_fds, GError **error)
{
    ssize_t result;

    if (n == 0) {
        return 0;
    }
    do {
        result = writev(ch->fd, iov, (int)MIN(n, IOV_MAX));
    } while (result < 0 && errno == EINTR);
    if (result >= 0) {
        return result;
    }
    if (errno == EAGAIN) {
        return IO_WOULD_BLOCK;
    }
    io_set_error(error, errno, "Can't write");
    return -1;
}

static short fd_read_events(struct io_channel *ch)
{
    return POLLIN;
}

static short fd_write_events(struct io_channel *ch)
{
    return POLLOUT;
}

static void fd_free(struct io_channel *ch)
{
    close(ch->fd);
    g_free(ch);
}

static const struct io_channel_ops fd_ops = {
    .name = "fd",
    .readv = fd_readv,
    .writev = fd_writev,
    .read_events = fd_read_events,
    .write_events = fd_write_events,
    .free = fd_free,
};

struct io_channel *io_channel_fd_new(struct event_loop *loop, int fd)
{
    struct io_channel *ch = g_new0(struct io_channel, 1);
    struct stat st;

    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    io_channel_init(ch, &fd_ops, loop, fd);
    ch->always_ready = fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
    return ch;
}
