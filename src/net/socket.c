/* netdevs socket, stream and dgram: packets to other processes (link.h). */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/socket.h"
#include "net/link.h"

struct socket_netdev {
    struct netdev netdev;
    struct net_stream *stream;  /* one of them, */
    struct net_dgram *dgram;    /* or none while it is made */
};

static struct socket_netdev *self(struct netdev *netdev)
{
    return (struct socket_netdev *)netdev;
}

static bool receive(struct net_client *client, const struct net_packet *packet)
{
    struct socket_netdev *s = self(client->netdev);

    return s->stream ? net_stream_receive(s->stream, packet)
                     : net_dgram_receive(s->dgram, packet);
}

static void can_send(struct net_client *client)
{
    struct socket_netdev *s = self(client->netdev);

    if (s->stream) {
        net_stream_can_send(s->stream);
    } else {
        net_dgram_can_send(s->dgram);
    }
}

static const struct net_client_ops ops = {.receive = receive, .can_send = can_send};

static void close_link(struct netdev *netdev)
{
    struct socket_netdev *s = self(netdev);

    g_clear_pointer(&s->stream, net_stream_free);
    g_clear_pointer(&s->dgram, net_dgram_free);
}

static bool set_stream(struct socket_netdev *s, const struct netdev_context *context,
                       const struct net_stream_config *config, GError **error)
{
    s->stream = net_stream_new(&s->netdev.clients[0], context, config, error);
    return s->stream != NULL;
}

/* SOCK_STREAM, ...; -1 and *error: it isn't a socket. */
static int type_of(int fd, GError **error)
{
    socklen_t size = sizeof(int);
    int type;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0) {
        net_error(error, "can't get socket option SO_TYPE: the descriptor must be a socket's");
        return -1;
    }
    return type;
}

/* A connected socket that somebody else made. wanted: its type; 0: any. */
static bool take_socket(struct socket_netdev *s, const struct netdev_context *context,
                        const char *name, int wanted, bool events, GError **error)
{
    int fd = netdev_take_fd(context, name, error);
    int type = fd < 0 ? -1 : type_of(fd, error);
    struct net_stream_config config = {.fd = fd, .events = events};

    if (type < 0 || (wanted && type != wanted) || (type != SOCK_STREAM && type != SOCK_DGRAM)) {
        if (type >= 0) {
            net_error(error, "descriptor %s: a socket of another type is needed", name);
        }
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    if (type == SOCK_STREAM) {
        return set_stream(s, context, &config, error);
    }
    s->dgram = net_dgram_new_fd(&s->netdev.clients[0], fd);
    net_client_set_info(&s->netdev.clients[0], "%s,fd=%s",
                        qapi_enum_name(&qapi_type_net_client_driver, s->netdev.kind->driver), name);
    return true;
}

/* ---- socket ---- */

/* "host:port" */
static struct qapi_socket_address *parse(const char *text, GError **error)
{
    g_autofree char *full = g_strconcat("tcp:", text, NULL);

    if (!strchr(text, ':')) {
        net_error(error, "host address '%s' doesn't contain ':' separating host from port", text);
        return NULL;
    }
    return socket_parse(full, error);
}

static bool open_stream_socket(struct socket_netdev *s, const struct netdev_context *context,
                               const char *text, bool server, GError **error)
{
    auto_ptr(qapi_socket_address) address = parse(text, error);
    struct net_stream_config config = {.address = address, .server = server};

    return address && set_stream(s, context, &config, error);
}

static bool open_group(struct socket_netdev *s, const struct qapi_netdev_socket_options *o,
                       GError **error)
{
    auto_ptr(qapi_socket_address) group = parse(o->mcast, error);

    s->dgram = group ? net_dgram_new_group(&s->netdev.clients[0], &group->u.inet, o->localaddr,
                                           error)
                     : NULL;
    net_client_set_info(&s->netdev.clients[0], "socket,socket: mcast=%s", o->mcast);
    return s->dgram != NULL;
}

static bool open_udp(struct socket_netdev *s, const struct qapi_netdev_socket_options *o,
                     GError **error)
{
    auto_ptr(qapi_socket_address) remote = parse(o->udp, error);
    auto_ptr(qapi_socket_address) local = remote ? parse(o->localaddr, error) : NULL;

    s->dgram = local ? net_dgram_new_pair(&s->netdev.clients[0], local, remote, error) : NULL;
    net_client_set_info(&s->netdev.clients[0], "socket,socket: udp=%s", o->udp);
    return s->dgram != NULL;
}

static bool open_socket(struct netdev *netdev, const struct netdev_context *context,
                        const struct qapi_netdev *options, GError **error)
{
    const struct qapi_netdev_socket_options *o = &options->u.socket;
    struct socket_netdev *s = self(netdev);

    if (!!o->fd + !!o->listen + !!o->connect + !!o->mcast + !!o->udp != 1) {
        return net_error(error,
                         "exactly one of fd=, listen=, connect=, mcast= or udp= is required");
    }
    if (o->localaddr && !o->mcast && !o->udp) {
        return net_error(error, "localaddr= is only valid with mcast= or udp=");
    }
    if (o->udp && !o->localaddr) {
        return net_error(error, "localaddr= is mandatory with udp=");
    }
    if (o->fd) {
        return take_socket(s, context, o->fd, 0, false, error);
    }
    return o->listen    ? open_stream_socket(s, context, o->listen, true, error)
           : o->connect ? open_stream_socket(s, context, o->connect, false, error)
           : o->mcast   ? open_group(s, o, error)
                        : open_udp(s, o, error);
}

/* ---- stream ---- */

static bool open_stream(struct netdev *netdev, const struct netdev_context *context,
                        const struct qapi_netdev *options, GError **error)
{
    const struct qapi_netdev_stream_options *o = &options->u.stream;
    struct net_stream_config config = {
        .address = o->addr, .server = o->has_server && o->server, .events = true};

    if (o->has_reconnect && o->has_reconnect_ms) {
        return net_error(error, "'reconnect' and 'reconnect-ms' are mutually exclusive");
    }
    config.reconnect_ms = o->has_reconnect_ms ? o->reconnect_ms : 0;
    if (o->has_reconnect) {
        if (o->reconnect < 0 || o->reconnect > G_MAXINT32) {
            return net_error(error, "reconnect must be 0 to %d seconds", G_MAXINT32);
        }
        config.reconnect_ms = o->reconnect * 1000;
    }
    if (config.reconnect_ms < 0 || config.reconnect_ms > G_MAXINT32 * INT64_C(1000)) {
        return net_error(error, "reconnect-ms must not be negative, or more than %" PRId64,
                         G_MAXINT32 * INT64_C(1000));
    }
    if (config.server && (o->has_reconnect || o->has_reconnect_ms)) {
        return net_error(error, "'reconnect' and 'reconnect-ms' options are incompatible with "
                         "socket in server mode");
    }
    if (!config.server && o->addr->type == QAPI_SOCKET_ADDRESS_TYPE_FD) {
        if (config.reconnect_ms) {
            return net_error(error, "a descriptor can't be connected again: leave reconnect-ms "
                             "out");
        }
        return take_socket(self(netdev), context, o->addr->u.fd.str, SOCK_STREAM, true, error);
    }
    return set_stream(self(netdev), context, &config, error);
}

/* ---- dgram ---- */

static bool open_dgram_group(struct socket_netdev *s, const struct qapi_netdev_dgram_options *o,
                             GError **error)
{
    const struct qapi_inet_socket_address *group = &o->remote->u.inet;

    if (o->local && o->local->type != QAPI_SOCKET_ADDRESS_TYPE_INET) {
        return net_error(error, "with a group, local must be of type inet: the address of the "
                         "interface");
    }
    s->dgram = net_dgram_new_group(&s->netdev.clients[0], group,
                                   o->local ? o->local->u.inet.host : NULL, error);
    net_client_set_info(&s->netdev.clients[0], "dgram,mcast=%s:%s", group->host, group->port);
    return s->dgram != NULL;
}

static bool check_dgram(const struct qapi_netdev_dgram_options *o, GError **error)
{
    if (!o->local) {
        return net_error(error, "dgram requires local= parameter");
    }
    if (o->local->type == QAPI_SOCKET_ADDRESS_TYPE_FD) {
        return !o->remote || net_error(error, "don't set remote with local.fd");
    }
    if (!o->remote) {
        return net_error(error, "type=inet or type=unix requires remote parameter");
    }
    if (o->remote->type != o->local->type) {
        return net_error(error, "remote and local types must be the same");
    }
    if (o->local->type == QAPI_SOCKET_ADDRESS_TYPE_VSOCK) {
        return net_error(error, "only support inet, unix or fd type for local");
    }
    return true;
}

static bool open_dgram(struct netdev *netdev, const struct netdev_context *context,
                       const struct qapi_netdev *options, GError **error)
{
    const struct qapi_netdev_dgram_options *o = &options->u.dgram;
    struct socket_netdev *s = self(netdev);
    struct net_client *client = &netdev->clients[0];

    if (o->remote && net_dgram_is_group(o->remote)) {
        return open_dgram_group(s, o, error);
    }
    if (!check_dgram(o, error)) {
        return false;
    }
    if (o->local->type == QAPI_SOCKET_ADDRESS_TYPE_FD) {
        return take_socket(s, context, o->local->u.fd.str, SOCK_DGRAM, false, error);
    }
    s->dgram = net_dgram_new_pair(client, o->local, o->remote, error);
    if (o->local->type == QAPI_SOCKET_ADDRESS_TYPE_UNIX) {
        net_client_set_info(client, "dgram,udp=%s:%s", o->local->u.unix_.path,
                            o->remote->u.unix_.path);
    } else {
        net_client_set_info(client, "dgram,udp=%s:%s/%s:%s", o->local->u.inet.host,
                            o->local->u.inet.port, o->remote->u.inet.host, o->remote->u.inet.port);
    }
    return s->dgram != NULL;
}

#define KIND(name, driver_, open_)                                                                 \
    const struct netdev_kind netdev_##name = {                                                     \
        .driver = (driver_), .size = sizeof(struct socket_netdev), .ops = &ops, .open = (open_),   \
        .close = close_link}

KIND(socket, QAPI_NET_CLIENT_DRIVER_SOCKET, open_socket);
KIND(stream, QAPI_NET_CLIENT_DRIVER_STREAM, open_stream);
KIND(dgram, QAPI_NET_CLIENT_DRIVER_DGRAM, open_dgram);
