/*
 * netdev hubport: what one port of a hub gets, all the others of the same number send on. The peer
 * of a port is a NIC, or the netdev that its option names.
 */
#include "net/netdev.h"

struct hubport {
    struct netdev netdev;
    int32_t hub;
};

static bool is_hubport(const struct net_client *client)
{
    return client->netdev && client->netdev->kind == &netdev_hubport;
}

struct flood {
    struct net_client *from;
    int32_t hub;
    const struct net_packet *packet;
};

static bool flood_port(struct net_client *client, void *opaque)
{
    const struct flood *flood = opaque;

    if (client != flood->from && is_hubport(client) &&
        ((struct hubport *)client->netdev)->hub == flood->hub) {
        net_send_now(client, flood->packet);
    }
    return true;
}

/* Ports take no offloads: the packet is complete. A peer that has no room loses it, as with any
 * hub. */
static bool receive(struct net_client *client, const struct net_packet *packet)
{
    struct flood flood = {.from = client, .hub = ((struct hubport *)client->netdev)->hub,
                          .packet = packet};

    net_foreach(client->net, flood_port, &flood);
    return true;
}

static bool open_port(struct netdev *netdev, const struct netdev_context *context,
                      const struct qapi_netdev *options, GError **error)
{
    const char *id = options->u.hubport.netdev;
    struct netdev *other = id ? netdev_find(context->root, id) : NULL;

    ((struct hubport *)netdev)->hub = options->u.hubport.hubid;
    net_client_set_info(&netdev->clients[0], "hubport,hubid=%d", options->u.hubport.hubid);
    if (!id) {
        return true;
    }
    if (!other || other == netdev) {
        return net_error(error, "netdev '%s' not found", id);
    }
    if (other->n_clients > 1 || other->clients[0].peer || other->kind == &netdev_hubport) {
        return net_error(error, "netdev '%s' is in use, or can't be on a hub", id);
    }
    net_connect(&netdev->clients[0], &other->clients[0]);
    return true;
}

static void close_port(struct netdev *netdev)
{
}

static const struct net_client_ops ops = {.receive = receive};

const struct netdev_kind netdev_hubport = {
    .driver = QAPI_NET_CLIENT_DRIVER_HUBPORT,
    .size = sizeof(struct hubport),
    .ops = &ops,
    .open = open_port,
    .close = close_port,
};
