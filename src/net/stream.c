/*
 *     listening, or waiting to connect (again) <------+
 *       |  accept, connect (in a coroutine)           |
 *       v                                             |
 *     fd: connected ----------------------------------+  end of the stream, error, a wrong length
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chardev/chardev.h"
#include "io/socket.h"
#include "net/link.h"
#include "qapi/qapi_events.h"
#include "util/coroutine.h"
#include "util/log.h"

enum {
    LENGTH_SIZE = 4,
    OUT_SIZE = LENGTH_SIZE + NET_MAX_PACKET,
    IN_SIZE = 2 * OUT_SIZE,
    MAX_BURST = 16,             /* reads in a turn of the loop */
    NS_PER_MS = 1000000,
};

/* A connection that is being made; it may outlive the stream. */
struct attempt {
    struct net_stream *s;       /* NULL: nobody wants it any more */
    struct qapi_socket_address address;
};

struct net_stream {
    struct net_client *client;
    const struct chardev_context *chardevs;     /* where events go; may be NULL */
    struct qapi_socket_address address;
    bool has_address, server, events;
    int64_t reconnect_ns;       /* 0: never */
    GArray *listeners;          /* descriptors */
    struct timer *timer;        /* to connect again */
    struct attempt *attempt;
    int fd;                     /* -1: not connected */
    bool blocked;               /* the peer in this process has no room: nothing is read */
    size_t in_at, n_in;         /* what was read and isn't delivered yet: in[in_at] to in[n_in] */
    size_t out_at, n_out;       /* the packet that isn't sent completely yet, likewise */
    uint8_t *in, *out;
};

static void somebody_knocks(void *opaque);
static void readable(void *opaque);
static void writable(void *opaque);
static void start_connecting(void *opaque);

static struct event_loop *loop_of(const struct net_stream *s)
{
    return net_loop(s->client->net);
}

static void watch(struct net_stream *s)
{
    if (s->fd >= 0) {
        event_loop_watch(loop_of(s), s->fd, s->blocked ? NULL : readable,
                         s->n_out ? writable : NULL, s);
    }
}

static void listen_on(struct net_stream *s, bool on)
{
    for (guint i = 0; i < s->listeners->len; i++) {
        event_loop_watch(loop_of(s), g_array_index(s->listeners, int, i),
                         on ? somebody_knocks : NULL, NULL, s);
    }
}

/* ---- What the user sees ---- */

static const char *type_name(const struct net_stream *s)
{
    return qapi_enum_name(&qapi_type_net_client_driver, s->client->netdev->kind->driver);
}

static void show_state(struct net_stream *s, const char *text)
{
    net_client_set_info(s->client, "%s,%s", type_name(s), text);
}

static struct qapi_event_sink *sink_of(const struct net_stream *s)
{
    return s->events && s->chardevs ? s->chardevs->events : NULL;
}

static void show_connected(struct net_stream *s)
{
    auto_ptr(qapi_socket_address) remote = socket_remote_address(s->fd, NULL);
    g_autofree char *peer = remote ? socket_to_text(remote) : NULL;
    bool is_inet = remote && remote->type == QAPI_SOCKET_ADDRESS_TYPE_INET;

    if (!s->events) {
        net_client_set_info(s->client, "%s,socket: %s %s", type_name(s),
                            s->server ? "connection from" : "connect to", peer ? peer : "?");
    } else {
        net_client_set_info(s->client, "%s,%s%s", type_name(s), is_inet ? "tcp:" : "",
                            peer ? peer : "?");
    }
    if (sink_of(s) && remote) {
        struct qapi_netdev_stream_connected_event event = {.netdev_id = s->client->name,
                                                           .addr = remote};

        qapi_event_netdev_stream_connected(sink_of(s), &event);
    }
}

/* ---- Connected ---- */

static void disconnect(struct net_stream *s)
{
    bool had_packet = s->n_out > 0;

    event_loop_watch(loop_of(s), s->fd, NULL, NULL, NULL);
    close(s->fd);
    s->fd = -1;
    s->blocked = false;
    s->in_at = s->n_in = s->out_at = s->n_out = 0;
    show_state(s, s->server ? "listening" : s->reconnect_ns ? "connecting" : "disconnected");
    if (sink_of(s)) {
        struct qapi_netdev_stream_disconnected_event event = {.netdev_id = s->client->name};

        qapi_event_netdev_stream_disconnected(sink_of(s), &event);
    }
    listen_on(s, true);
    if (s->reconnect_ns) {
        timer_arm(s->timer, clocks_now(net_context(s->client->net)->clocks, CLOCK_REAL) +
                                s->reconnect_ns);
    }
    if (had_packet) {
        net_ready(s->client);
    }
}

/* False: nothing more is to be read for now. */
static bool deliver(struct net_stream *s)
{
    while (s->n_in - s->in_at >= LENGTH_SIZE) {
        uint32_t length;

        memcpy(&length, s->in + s->in_at, sizeof(length));
        length = ntohl(length);
        if (length > NET_MAX_PACKET) {
            log_warn(net_context(s->client->net)->log,
                     "netdev '%s': the other side sends what is no packet (%u bytes); the "
                     "connection is closed", s->client->name, length);
            disconnect(s);
            return false;
        }
        if (s->n_in - s->in_at - LENGTH_SIZE < length) {
            break;
        }
        struct iovec iov = {s->in + s->in_at + LENGTH_SIZE, length};
        struct net_packet packet = {.iov = &iov, .n_iov = 1, .size = length};

        if (length && !net_send(s->client, &packet)) {
            s->blocked = true;
            return false;
        }
        s->in_at += LENGTH_SIZE + length;
    }
    s->n_in -= s->in_at;
    memmove(s->in, s->in + s->in_at, s->n_in);
    s->in_at = 0;
    return true;
}

static void readable(void *opaque)
{
    struct net_stream *s = opaque;

    for (unsigned i = 0; i < MAX_BURST; i++) {
        ssize_t n = recv(s->fd, s->in + s->n_in, IN_SIZE - s->n_in, MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            disconnect(s);
            return;
        }
        s->n_in += (size_t)n;
        if (!deliver(s)) {
            watch(s);
            return;
        }
    }
}

void net_stream_can_send(struct net_stream *s)
{
    if (s->blocked) {
        s->blocked = false;
        deliver(s);
        watch(s);
    }
}

/* What the kernel doesn't take now is sent later. After an error the reader sees the end. */
static void flush(struct net_stream *s)
{
    while (s->out_at < s->n_out) {
        ssize_t n = send(s->fd, s->out + s->out_at, s->n_out - s->out_at,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0 && errno != EINTR) {
            break;
        }
        s->out_at += n > 0 ? (size_t)n : 0;
    }
    s->out_at = s->n_out = 0;
}

static void writable(void *opaque)
{
    struct net_stream *s = opaque;

    flush(s);
    if (!s->n_out) {
        watch(s);
        net_ready(s->client);
    }
}

bool net_stream_receive(struct net_stream *s, const struct net_packet *packet)
{
    uint32_t length = htonl((uint32_t)packet->size);

    if (s->fd < 0 || packet->size > NET_MAX_PACKET) {
        return true;
    }
    if (s->n_out) {
        return false;
    }
    memcpy(s->out, &length, sizeof(length));
    s->n_out = LENGTH_SIZE + net_packet_copy(packet, s->out + LENGTH_SIZE, NET_MAX_PACKET);
    flush(s);
    if (s->n_out) {
        watch(s);
    }
    return true;
}

/* ---- Connecting ---- */

/* Takes fd. */
static void connected(struct net_stream *s, int fd)
{
    int on = 1;

    /* Fails where it isn't TCP, which has nothing to wait for then. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    s->fd = fd;
    listen_on(s, false);
    show_connected(s);
    watch(s);
}

static void somebody_knocks(void *opaque)
{
    struct net_stream *s = opaque;

    for (guint i = 0; i < s->listeners->len; i++) {
        int fd =
            accept4(g_array_index(s->listeners, int, i), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            connected(s, fd);
            return;
        }
    }
}

static void connecting_failed(struct net_stream *s, const GError *error)
{
    g_autofree char *text = g_strdup_printf("error: %s", error->message);

    show_state(s, text);
    if (s->reconnect_ns) {
        timer_arm(s->timer, clocks_now(net_context(s->client->net)->clocks, CLOCK_REAL) +
                                s->reconnect_ns);
    } else {
        log_warn(net_context(s->client->net)->log, "netdev '%s' can't be connected: %s",
                 s->client->name, error->message);
    }
}

static void co_connect(void *opaque)
{
    struct attempt *attempt = opaque;
    g_autoptr(GError) error = NULL;
    int fd = socket_connect(&attempt->address, NULL, NULL, &error);
    struct net_stream *s = attempt->s;

    if (s) {
        s->attempt = NULL;
    }
    if (s && fd >= 0) {
        connected(s, fd);
    } else if (s) {
        connecting_failed(s, error);
    } else if (fd >= 0) {
        close(fd);
    }
    qapi_clear(&qapi_type_socket_address, &attempt->address);
    g_free(attempt);
}

static void start_connecting(void *opaque)
{
    struct net_stream *s = opaque;
    struct attempt *attempt = g_new0(struct attempt, 1);

    attempt->s = s;
    qapi_copy(&qapi_type_socket_address, &s->address, &attempt->address);
    s->attempt = attempt;
    show_state(s, "connecting");
    coroutine_start(loop_of(s), co_connect, attempt);
}

/* ---- Life ---- */

struct net_stream *net_stream_new(struct net_client *client, const struct netdev_context *context,
                                  const struct net_stream_config *config, GError **error)
{
    struct net_stream *s = g_new0(struct net_stream, 1);

    s->client = client;
    s->chardevs = context->chardevs;
    s->server = config->server;
    s->events = config->events;
    s->reconnect_ns = config->reconnect_ms * NS_PER_MS;
    s->listeners = g_array_new(false, false, sizeof(int));
    s->timer = timer_new(loop_of(s), net_context(client->net)->clocks, CLOCK_REAL,
                         start_connecting, s);
    s->fd = -1;
    s->in = g_malloc(IN_SIZE);
    s->out = g_malloc(OUT_SIZE);
    if (!config->address) {
        connected(s, config->fd);
        return s;
    }
    qapi_copy(&qapi_type_socket_address, config->address, &s->address);
    s->has_address = true;
    if (!s->server) {
        start_connecting(s);
    } else if (!socket_listen(&s->address, 1, context->take_fd, context->take_fd_opaque,
                              s->listeners, error)) {
        net_stream_free(s);
        return NULL;
    } else {
        show_state(s, "listening");
        listen_on(s, true);
    }
    return s;
}

void net_stream_free(struct net_stream *s)
{
    if (!s) {
        return;
    }
    if (s->attempt) {
        s->attempt->s = NULL;
    }
    listen_on(s, false);
    if (s->server && s->listeners->len) {
        socket_unlink(&s->address);
    }
    for (guint i = 0; i < s->listeners->len; i++) {
        close(g_array_index(s->listeners, int, i));
    }
    g_array_unref(s->listeners);
    timer_free(s->timer);
    if (s->fd >= 0) {
        event_loop_watch(loop_of(s), s->fd, NULL, NULL, NULL);
        close(s->fd);
    }
    if (s->has_address) {
        qapi_clear(&qapi_type_socket_address, &s->address);
    }
    g_free(s->in);
    g_free(s->out);
    g_free(s);
}
