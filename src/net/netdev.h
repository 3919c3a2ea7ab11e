/* What back ends are made of. */
#ifndef NANDU_NET_NETDEV_H
#define NANDU_NET_NETDEV_H

#include "net/net.h"

struct netdev_kind {
    enum qapi_net_client_driver driver;
    size_t size;            /* of the structure that begins with struct netdev */
    unsigned (*n_queues)(const struct qapi_netdev *options);    /* NULL: 1 */
    const struct net_client_ops *ops;
    /* Its clients are there. Sets their info and takes. */
    bool (*open)(struct netdev *netdev, const struct netdev_context *context,
                 const struct qapi_netdev *options, GError **error);
    /* Undoes it, also half-way; the clients are there still. */
    void (*close)(struct netdev *netdev);
};

struct netdev {
    const struct netdev_kind *kind;
    struct net *net;
    char *id;
    unsigned n_clients;
    struct net_client *clients;
};

extern const struct netdev_kind netdev_user, netdev_tap, netdev_hubport, netdev_socket,
    netdev_stream, netdev_dgram;

bool net_error(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* A descriptor by name or number; not blocking any more, close-on-exec. -1 and *error. */
int netdev_take_fd(const struct netdev_context *context, const char *name, GError **error);
/* The list of net.c, in the order of making. */
GPtrArray *net_netdevs(struct net *net);

/*
 * Puts the packet behind the data of a TCP segment that waits, *at, if it goes on there; *at may
 * move. For a receiver that takes checksums and segments of IPv4. False: nothing was done.
 */
bool net_coalesce(struct net_buffer **at, const struct net_packet *packet);
/* Copies the packet's bytes, at most size; how many. */
size_t net_packet_copy(const struct net_packet *packet, void *data, size_t size);

#endif
