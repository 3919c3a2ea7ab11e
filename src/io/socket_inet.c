/*
 * TCP and UDP: looking up names, listening at several addresses, connecting to the first that
 * answers.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "io/socket_priv.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* How often a port that the kernel chose may turn out to be taken for the other IP version. */
enum { CHOSEN_PORT_TRIES = 16 };

/* ---- Looking up ---- */

struct lookup {
    const char *host, *port;
    struct addrinfo hints;
    struct addrinfo *result;
    int status;
};

static void do_lookup(void *opaque)
{
    struct lookup *lookup = opaque;

    lookup->status = getaddrinfo(lookup->host, lookup->port, &lookup->hints, &lookup->result);
}

static bool find_family(const struct qapi_inet_socket_address *inet, int *family, GError **error)
{
    bool ipv4_on = inet->has_ipv4 && inet->ipv4, ipv4_off = inet->has_ipv4 && !inet->ipv4;
    bool ipv6_on = inet->has_ipv6 && inet->ipv6, ipv6_off = inet->has_ipv6 && !inet->ipv6;

    if (ipv4_off && ipv6_off) {
        io_set_error(error, 0, "Cannot disable IPv4 and IPv6 at same time");
        return false;
    }
    if (ipv4_on && ipv6_on) {
        *family = AF_UNSPEC;
    } else if (ipv6_on || ipv4_off) {
        *family = AF_INET6;
    } else if (ipv4_on || ipv6_off) {
        *family = AF_INET;
    } else {
        *family = AF_UNSPEC;
    }
    return true;
}

/*
 * flags: AI_PASSIVE to listen. An empty host then is all addresses; otherwise it is this host.
 * Freed with freeaddrinfo; NULL and *error.
 */
static struct addrinfo *look_up(const struct qapi_inet_socket_address *inet, int type, int flags,
                                enum socket_waiting waiting, GError **error)
{
    struct lookup lookup = {
        .host = *inet->host ? inet->host : NULL,
        .port = *inet->port ? inet->port : "0",
        .hints = {.ai_socktype = type, .ai_flags = flags | AI_NUMERICHOST | AI_NUMERICSERV},
    };

    if (!find_family(inet, &lookup.hints.ai_family, error)) {
        return NULL;
    }
    /* Addresses first: they don't wait. */
    do_lookup(&lookup);
    if (lookup.status != 0 && !inet->numeric) {
        lookup.hints.ai_flags = flags;
        if (waiting == SOCKET_WAITS_IN_COROUTINE) {
            co_run_in_pool(do_lookup, &lookup);
        } else {
            do_lookup(&lookup);
        }
    }
    if (lookup.status != 0) {
        io_set_error(error, 0, "address resolution failed for %s:%s: %s", inet->host, inet->port,
                     gai_strerror(lookup.status));
        return NULL;
    }
    return lookup.result;
}

static enum socket_waiting waiting_here(void)
{
    return coroutine_self() ? SOCKET_WAITS_IN_COROUTINE : SOCKET_BLOCKS;
}

static int new_socket(const struct qapi_inet_socket_address *inet, const struct addrinfo *at)
{
    bool mptcp = inet->mptcp && at->ai_socktype == SOCK_STREAM;

    return socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                  mptcp ? IPPROTO_MPTCP : at->ai_protocol);
}

static void set_option(int fd, int level, int option, int value)
{
    setsockopt(fd, level, option, &value, sizeof(value));
}

static in_port_t *port_of(struct sockaddr *addr)
{
    return addr->sa_family == AF_INET6 ? &((struct sockaddr_in6 *)addr)->sin6_port
                                       : &((struct sockaddr_in *)addr)->sin_port;
}

/* ---- Listening ---- */

struct listening {
    const struct qapi_inet_socket_address *inet;
    struct addrinfo *addresses;
    bool v6only;
    int backlog;
};

/* A listening descriptor, or -1 and errno. *port 0: the kernel chooses, and it is told here. */
static int listen_at(const struct listening *l, struct addrinfo *at, unsigned *port)
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);
    int fd = new_socket(l->inet, at), err;

    if (fd < 0) {
        return -1;
    }
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (l->inet->keep_alive) {
        /* Connections inherit it. */
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    }
    if (at->ai_family == AF_INET6) {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, l->v6only);
    }
    *port_of(at->ai_addr) = htons((uint16_t)*port);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, l->backlog) == 0 &&
        getsockname(fd, (struct sockaddr *)&bound, &size) == 0) {
        *port = ntohs(*port_of((struct sockaddr *)&bound));
        return fd;
    }
    err = errno;
    close(fd);
    errno = err;
    return -1;
}

/* Listens at all addresses with one port. 0 or an errno value; then nothing was added to fds. */
static int listen_at_all(const struct listening *l, unsigned port, GArray *fds)
{
    guint old = fds->len;
    int err = 0;

    for (struct addrinfo *at = l->addresses; at; at = at->ai_next) {
        int fd = listen_at(l, at, &port);

        if (fd >= 0) {
            g_array_append_val(fds, fd);
            continue;
        }
        err = errno;
        /* A host without IPv6 (or IPv4) gives its addresses all the same. */
        if (err != EAFNOSUPPORT && err != EADDRNOTAVAIL) {
            break;
        }
    }
    if (fds->len > old && (err == 0 || err == EAFNOSUPPORT || err == EADDRNOTAVAIL)) {
        return 0;
    }
    for (guint i = old; i < fds->len; i++) {
        close(g_array_index(fds, int, i));
    }
    g_array_set_size(fds, old);
    return err;
}

/* Whether an IPv6 socket must leave IPv4 alone: it has one of its own, or isn't wanted. */
static bool is_v6only(const struct qapi_inet_socket_address *inet, const struct addrinfo *addresses)
{
    for (const struct addrinfo *at = addresses; at; at = at->ai_next) {
        if (at->ai_family == AF_INET) {
            return true;
        }
    }
    return inet->has_ipv4 ? !inet->ipv4 : inet->has_ipv6 && inet->ipv6;
}

bool socket_inet_listen(const struct qapi_inet_socket_address *inet, int backlog, GArray *fds,
                        GError **error)
{
    struct listening l = {.inet = inet, .backlog = backlog};
    unsigned first, last;
    int err = 0, tries;

    l.addresses = look_up(inet, SOCK_STREAM, AI_PASSIVE, waiting_here(), error);
    if (!l.addresses) {
        return false;
    }
    l.v6only = is_v6only(inet, l.addresses);
    first = ntohs(*port_of(l.addresses->ai_addr));
    last = inet->has_to ? inet->to : first;
    if (last < first) {
        io_set_error(error, 0, "'to' is %u, which is below the port %u", last, first);
        freeaddrinfo(l.addresses);
        return false;
    }
    for (unsigned port = first; port <= last; port++) {
        tries = port == 0 ? CHOSEN_PORT_TRIES : 1;
        do {
            err = listen_at_all(&l, port, fds);
        } while (err == EADDRINUSE && --tries > 0);
        if (err != EADDRINUSE) {
            break;
        }
    }
    freeaddrinfo(l.addresses);
    if (err && first != last) {
        io_set_error(error, err, "Failed to find an available port from %u to %u at '%s'", first,
                     last, inet->host);
    } else if (err) {
        io_set_error(error, err, "Failed to listen at '%s:%s'", inet->host, inet->port);
    }
    return err == 0;
}

/* ---- Connecting ---- */

int socket_inet_connect(const struct qapi_inet_socket_address *inet, enum socket_waiting waiting,
                        GError **error)
{
    struct addrinfo *addresses;
    int fd = -1, err = 0;

    if (!*inet->host || !*inet->port) {
        io_set_error(error, 0, "host and/or port not specified");
        return -1;
    }
    addresses = look_up(inet, SOCK_STREAM, 0, waiting, error);
    if (!addresses) {
        return -1;
    }
    for (struct addrinfo *at = addresses; at && fd < 0; at = at->ai_next) {
        fd = new_socket(inet, at);
        if (fd < 0) {
            err = errno;
            continue;
        }
        err = socket_finish_connect(fd, at->ai_addr, at->ai_addrlen, waiting);
        if (err) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(addresses);
    if (fd < 0) {
        io_set_error(error, err, "Failed to connect to '%s:%s'", inet->host, inet->port);
        return -1;
    }
    if (inet->keep_alive) {
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    }
    return fd;
}

/* ---- Datagrams ---- */

/* Of an IP version that the other address has; NULL and *error. */
static const struct addrinfo *find_same_family(const struct addrinfo *addresses, int family,
                                               const struct qapi_inet_socket_address *inet,
                                               GError **error)
{
    const struct addrinfo *at = addresses;

    while (at && at->ai_family != family) {
        at = at->ai_next;
    }
    if (!at) {
        io_set_error(error, 0, "'%s' has no address of the IP version of the other one",
                     inet->host);
    }
    return at;
}

static int datagram_between(const struct qapi_inet_socket_address *remote, struct addrinfo *to,
                            const struct qapi_inet_socket_address *local, struct addrinfo *from,
                            GError **error)
{
    const struct addrinfo *bind_at = NULL;
    int fd;

    if (from) {
        bind_at = find_same_family(from, to->ai_family, local, error);
        if (!bind_at) {
            return -1;
        }
    }
    fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        io_set_error(error, errno, "Failed to create socket");
        return -1;
    }
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind_at && bind(fd, bind_at->ai_addr, bind_at->ai_addrlen) < 0) {
        io_set_error(error, errno, "Failed to bind socket to '%s:%s'", local->host, local->port);
    } else if (connect(fd, to->ai_addr, to->ai_addrlen) < 0) {
        io_set_error(error, errno, "Failed to connect to '%s:%s'", remote->host, remote->port);
    } else {
        return fd;
    }
    close(fd);
    return -1;
}

int socket_datagram(const struct qapi_socket_address *remote,
                    const struct qapi_socket_address *local, GError **error)
{
    struct addrinfo *to, *from = NULL;
    int fd = -1;

    if (remote->type != QAPI_SOCKET_ADDRESS_TYPE_INET ||
        (local && local->type != QAPI_SOCKET_ADDRESS_TYPE_INET)) {
        io_set_error(error, 0, "Datagrams need addresses of type inet");
        return -1;
    }
    if (!*remote->u.inet.port) {
        io_set_error(error, 0, "remote port not specified");
        return -1;
    }
    to = look_up(&remote->u.inet, SOCK_DGRAM, 0, waiting_here(), error);
    if (!to) {
        return -1;
    }
    if (local) {
        from = look_up(&local->u.inet, SOCK_DGRAM, AI_PASSIVE, waiting_here(), error);
    }
    if (!local || from) {
        fd = datagram_between(&remote->u.inet, to, local ? &local->u.inet : NULL, from, error);
    }
    freeaddrinfo(to);
    if (from) {
        freeaddrinfo(from);
    }
    return fd;
}
