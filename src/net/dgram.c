#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/socket.h"
#include "net/link.h"
#include "util/event_loop.h"

enum { MAX_BURST = 64 };        /* packets that are read in a turn of the loop */

struct net_dgram {
    struct net_client *client;
    int fd;
    struct sockaddr_storage to; /* of size to_size; 0: the socket knows */
    socklen_t to_size;
    char *path;                 /* of a unix socket, which is removed at the end; NULL: none */
    bool blocked;               /* the peer in this process has no room: nothing is read */
    bool full;                  /* the kernel has none */
    size_t waiting;             /* bytes in `in` that the peer hasn't taken */
    uint8_t *in, *out;
};

static void readable(void *opaque);
static void writable(void *opaque);

static void watch(struct net_dgram *d)
{
    event_loop_watch(net_loop(d->client->net), d->fd, d->blocked ? NULL : readable,
                     d->full ? writable : NULL, d);
}

/* ---- From outside ---- */

static bool send_waiting(struct net_dgram *d)
{
    struct iovec iov = {d->in, d->waiting};
    struct net_packet packet = {.iov = &iov, .n_iov = 1, .size = d->waiting};

    return net_send(d->client, &packet);
}

static void readable(void *opaque)
{
    struct net_dgram *d = opaque;

    for (unsigned i = 0; i < MAX_BURST; i++) {
        ssize_t n = recv(d->fd, d->in, NET_MAX_PACKET, MSG_DONTWAIT);

        /* An error is that of a packet sent earlier, which nobody took. */
        if (n < 0 && errno != ECONNREFUSED) {
            return;
        }
        if (n <= 0) {
            continue;
        }
        d->waiting = (size_t)n;
        if (!send_waiting(d)) {
            d->blocked = true;
            watch(d);
            return;
        }
    }
}

void net_dgram_can_send(struct net_dgram *d)
{
    if (d->blocked && send_waiting(d)) {
        d->blocked = false;
        watch(d);
    }
}

/* ---- To outside ---- */

static void writable(void *opaque)
{
    struct net_dgram *d = opaque;

    d->full = false;
    watch(d);
    net_ready(d->client);
}

/* What can't be sent is lost. That includes what the reader of a unix socket has no room for: the
 * kernel doesn't tell when it has again. */
bool net_dgram_receive(struct net_dgram *d, const struct net_packet *packet)
{
    size_t size = net_packet_copy(packet, d->out, NET_MAX_PACKET);
    ssize_t done;

    do {
        done = sendto(d->fd, d->out, size, MSG_DONTWAIT | MSG_NOSIGNAL,
                      d->to_size ? (struct sockaddr *)&d->to : NULL, d->to_size);
    } while (done < 0 && errno == EINTR);
    if (done < 0 && errno == EAGAIN && d->to.ss_family != AF_UNIX) {
        d->full = true;
        watch(d);
        return false;
    }
    return true;
}

/* ---- Life ---- */

struct net_dgram *net_dgram_new_fd(struct net_client *client, int fd)
{
    struct net_dgram *d = g_new0(struct net_dgram, 1);
    struct sockaddr_storage own;
    socklen_t size = sizeof(own);

    d->client = client;
    d->fd = fd;
    if (getsockname(fd, (struct sockaddr *)&own, &size) == 0) {
        d->to.ss_family = own.ss_family;
    }
    d->in = g_malloc(NET_MAX_PACKET);
    d->out = g_malloc(NET_MAX_PACKET);
    watch(d);
    return d;
}

void net_dgram_free(struct net_dgram *d)
{
    if (!d) {
        return;
    }
    event_loop_watch(net_loop(d->client->net), d->fd, NULL, NULL, NULL);
    close(d->fd);
    if (d->path) {
        unlink(d->path);
    }
    g_free(d->path);
    g_free(d->in);
    g_free(d->out);
    g_free(d);
}

/* ---- Pairs ---- */

static bool unix_name(const struct qapi_unix_socket_address *address, struct sockaddr_un *un,
                      socklen_t *size, GError **error)
{
    size_t length = strlen(address->path), skip = address->has_abstract && address->abstract;

    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (length == 0 || skip + length >= sizeof(un->sun_path)) {
        return net_error(error, "a unix socket's path must have 1 to %zu bytes: '%s'",
                         sizeof(un->sun_path) - 1, address->path);
    }
    memcpy(un->sun_path + skip, address->path, length);
    *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    return true;
}

static struct net_dgram *new_unix_pair(struct net_client *client,
                                       const struct qapi_unix_socket_address *local,
                                       const struct qapi_unix_socket_address *remote,
                                       GError **error)
{
    bool is_file = !(local->has_abstract && local->abstract);
    struct sockaddr_un here, there;
    socklen_t here_size, there_size;
    struct net_dgram *d;
    int fd;

    if (!unix_name(local, &here, &here_size, error) ||
        !unix_name(remote, &there, &there_size, error)) {
        return NULL;
    }
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && is_file) {
        struct qapi_socket_address address = {.type = QAPI_SOCKET_ADDRESS_TYPE_UNIX,
                                              .u.unix_ = *local};

        socket_unlink(&address);
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, here_size) < 0) {
        net_error(error, "can't bind unix=%s to socket: %s", local->path, g_strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    d = net_dgram_new_fd(client, fd);
    memcpy(&d->to, &there, sizeof(there));
    d->to_size = there_size;
    d->path = is_file ? g_strdup(local->path) : NULL;
    return d;
}

struct net_dgram *net_dgram_new_pair(struct net_client *client,
                                     const struct qapi_socket_address *local,
                                     const struct qapi_socket_address *remote, GError **error)
{
    int fd;

    if (local->type == QAPI_SOCKET_ADDRESS_TYPE_UNIX) {
        return new_unix_pair(client, &local->u.unix_, &remote->u.unix_, error);
    }
    fd = socket_datagram(remote, local, error);
    return fd < 0 ? NULL : net_dgram_new_fd(client, fd);
}

/* ---- Groups ---- */

bool net_dgram_is_group(const struct qapi_socket_address *address)
{
    struct in_addr in;

    return address->type == QAPI_SOCKET_ADDRESS_TYPE_INET &&
           inet_pton(AF_INET, address->u.inet.host, &in) == 1 && IN_MULTICAST(ntohl(in.s_addr));
}

static bool join(int fd, const struct sockaddr_in *group, struct in_addr interface)
{
    struct ip_mreq request = {.imr_multiaddr = group->sin_addr, .imr_interface = interface};
    int on = 1;
    unsigned char loop = 1;     /* other processes of this host hear it */

    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
           bind(fd, (const struct sockaddr *)group, sizeof(*group)) == 0 &&
           setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request)) == 0 &&
           setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &loop, sizeof(loop)) == 0 &&
           (interface.s_addr == htonl(INADDR_ANY) ||
            setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof(interface)) == 0);
}

struct net_dgram *net_dgram_new_group(struct net_client *client,
                                      const struct qapi_inet_socket_address *group,
                                      const char *address, GError **error)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct in_addr interface = {htonl(INADDR_ANY)};
    struct net_dgram *d;
    guint64 port;
    int fd;

    if (inet_pton(AF_INET, group->host, &to.sin_addr) != 1 ||
        !IN_MULTICAST(ntohl(to.sin_addr.s_addr))) {
        net_error(error, "specified mcastaddr %s does not contain a multicast address",
                  group->host);
        return NULL;
    }
    if (!g_ascii_string_to_unsigned(group->port, 10, 1, 65535, &port, NULL)) {
        net_error(error, "port number '%s' is invalid", group->port);
        return NULL;
    }
    to.sin_port = htons((uint16_t)port);
    if (address && inet_pton(AF_INET, address, &interface) != 1) {
        net_error(error, "localaddr '%s' is not a valid IPv4 address", address);
        return NULL;
    }
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || !join(fd, &to, interface)) {
        net_error(error, "can't join the multicast group %s:%s: %s", group->host, group->port,
                  g_strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    d = net_dgram_new_fd(client, fd);
    memcpy(&d->to, &to, sizeof(to));
    d->to_size = sizeof(to);
    return d;
}
