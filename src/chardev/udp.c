/* udp: each write is a datagram, each datagram is input. */
#include "chardev/backend.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_DATAGRAM = 65536 };

struct udp_backend {
    struct chardev_backend base;
    int fd; /* -1: none */
    bool want_write;
    uint8_t *datagram; /* the last one, of which n bytes from at on are left */
    size_t at, n;
    struct bottom_half *deliver; /* gives the front end what is left */
};

static void udp_readable(void *opaque);

static void udp_writable(void *opaque)
{
    struct udp_backend *u = opaque;

    chardev_writable(&u->base);
}

static void update_watch(struct udp_backend *u)
{
    bool room;

    if (u->base.closed) {
        return;
    }
    room = chardev_room(&u->base, 1);
    if (room && u->n) {
        bottom_half_schedule(u->deliver);
    }
    event_loop_watch(u->base.chr->context->loop, u->fd, room && !u->n ? udp_readable : NULL,
                     u->want_write ? udp_writable : NULL, u);
}

static void deliver(void *opaque)
{
    struct udp_backend *u = opaque;
    auto_ptr(chardev_backend) keep = chardev_backend_ref(&u->base);
    size_t n = chardev_room(&u->base, u->n);

    if (n) {
        u->at += n;
        u->n -= n;
        chardev_receive(&u->base, u->datagram + u->at - n, n);
    }
    update_watch(u);
}

static void udp_readable(void *opaque)
{
    struct udp_backend *u = opaque;
    ssize_t n = recv(u->fd, u->datagram, MAX_DATAGRAM, MSG_DONTWAIT);

    /* Errors are those of what was sent ("connection refused"): UDP doesn't tell lost output. */
    if (n > 0) {
        u->at = 0;
        u->n = n;
        deliver(u);
    }
}

static ssize_t udp_write(struct chardev_backend *b, const void *data, size_t size)
{
    struct udp_backend *u = (struct udp_backend *)b;
    ssize_t n = send(u->fd, data, MIN(size, 65507), MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)) {
        return 0;
    }
    return n < 0 ? (ssize_t)size : n;
}

static void udp_watch_writable(struct chardev_backend *b, bool on)
{
    struct udp_backend *u = (struct udp_backend *)b;

    if (u->want_write != on) {
        u->want_write = on;
        update_watch(u);
    }
}

static void udp_accept_input(struct chardev_backend *b)
{
    update_watch((struct udp_backend *)b);
}

static bool udp_open(struct chardev_backend *b, const struct chardev_setup *setup, GError **error)
{
    struct udp_backend *u = (struct udp_backend *)b;
    const struct qapi_chardev_udp *config = setup->config->u.udp.data;
    struct qapi_socket_address remote, local;

    chardev_flatten_address(config->remote, &remote);
    if (config->local) {
        chardev_flatten_address(config->local, &local);
    }
    u->fd = socket_datagram(&remote, config->local ? &local : NULL, error);
    qapi_clear(&qapi_type_socket_address, &remote);
    if (config->local) {
        qapi_clear(&qapi_type_socket_address, &local);
    }
    if (u->fd < 0) {
        return false;
    }
    u->datagram = g_malloc(MAX_DATAGRAM);
    u->deliver = bottom_half_new(b->chr->context->loop, deliver, u);
    chardev_set_filename(b, "udp");
    chardev_opened(b);
    return true;
}

static void udp_close(struct chardev_backend *b)
{
    struct udp_backend *u = (struct udp_backend *)b;

    if (u->deliver) {
        bottom_half_free(u->deliver);
        event_loop_watch(b->chr->context->loop, u->fd, NULL, NULL, NULL);
        close(u->fd);
        g_free(u->datagram);
    }
}

static const struct chardev_backend_ops udp_ops = {
    .size = sizeof(struct udp_backend),
    .open = udp_open,
    .close = udp_close,
    .write = udp_write,
    .watch_writable = udp_watch_writable,
    .accept_input = udp_accept_input,
};

static const struct object_type chardev_udp_type = {
    .name = "chardev-udp",
    .parent = "chardev",
    .description = "UDP datagrams",
    .class_data = &udp_ops,
};
OBJECT_TYPE(chardev_udp_type);
