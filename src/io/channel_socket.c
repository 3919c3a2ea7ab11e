/* Channels over connected sockets, with descriptors as ancillary data of unix ones (unix(7)). */
#include <errno.h>
#include <glib-unix.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/channel.h"

union control {
    char space[CMSG_SPACE(sizeof(int) * IO_MAX_FDS)];
    struct cmsghdr align;
};

static void take_fds(struct msghdr *message, GArray *fds)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            g_array_append_vals(fds, CMSG_DATA(c),
                                (guint)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)));
        }
    }
}

static ssize_t socket_readv(struct io_channel *ch, const struct iovec *iov, size_t n, GArray *fds,
                            GError **error)
{
    union control control;
    struct msghdr message = {
        .msg_iov = (struct iovec *)iov,
        .msg_iovlen = MIN(n, IOV_MAX),
    };
    ssize_t result;

    do {
        /* Without room for them the kernel closes descriptors that come. */
        message.msg_control = fds ? control.space : NULL;
        message.msg_controllen = fds ? sizeof(control.space) : 0;
        result = recvmsg(ch->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (result < 0 && errno == EINTR);
    if (result >= 0) {
        if (fds) {
            take_fds(&message, fds);
        }
        return result;
    }
    if (errno == EAGAIN) {
        return IO_WOULD_BLOCK;
    }
    io_set_error(error, errno, "Can't read from the socket");
    return -1;
}

static ssize_t socket_writev(struct io_channel *ch, const struct iovec *iov, size_t n,
                             const int *fds, size_t n_fds, GError **error)
{
    union control control = {{0}};
    struct msghdr message = {
        .msg_iov = (struct iovec *)iov,
        .msg_iovlen = MIN(n, IOV_MAX),
    };
    ssize_t result;

    if (n == 0) {
        return 0;
    }
    if (n_fds > 0) {
        struct cmsghdr *c;

        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    do {
        result = sendmsg(ch->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (result < 0 && errno == EINTR);
    if (result >= 0) {
        return result;
    }
    if (errno == EAGAIN) {
        return IO_WOULD_BLOCK;
    }
    io_set_error(error, errno, "Can't write to the socket");
    return -1;
}

static short socket_read_events(struct io_channel *ch)
{
    return POLLIN;
}

static short socket_write_events(struct io_channel *ch)
{
    return POLLOUT;
}

static void socket_shutdown(struct io_channel *ch, int how)
{
    shutdown(ch->fd, how);
}

static void socket_free(struct io_channel *ch)
{
    close(ch->fd);
    g_free(ch);
}

static const struct io_channel_ops socket_ops = {
    .name = "socket",
    .readv = socket_readv,
    .writev = socket_writev,
    .read_events = socket_read_events,
    .write_events = socket_write_events,
    .shutdown = socket_shutdown,
    .free = socket_free,
};

struct io_channel *io_channel_socket_new(struct event_loop *loop, int fd)
{
    struct io_channel *ch = g_new0(struct io_channel, 1);
    int domain = 0;
    socklen_t size = sizeof(domain);

    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    io_channel_init(ch, &socket_ops, loop, fd);
    ch->can_pass_fds =
        getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
    return ch;
}
