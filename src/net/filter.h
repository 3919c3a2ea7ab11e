/*
 * Filters: objects that see the packets of a netdev. "rx" are those that the netdev gets, "tx"
 * those that it sends, as QEMU's words are. Main thread.
 */
#ifndef NANDU_NET_FILTER_H
#define NANDU_NET_FILTER_H

#include "net/net.h"

/* Type "netfilter", abstract. */
struct net_filter {
    struct object object;
    char *netdev, *position;       /* properties */
    enum qapi_net_filter_direction queue;
    enum qapi_netfilter_insert insert;
    bool on;
    struct net_client *client;              /* NULL: its netdev is gone */
};

/* class_data */
struct net_filter_class {
    bool (*open)(struct net_filter *filter, GError **error);
    void (*see)(struct net_filter *filter, const struct net_packet *packet);
};

/* A packet goes from one to the other. */
void net_filters_see(struct net_client *from, struct net_client *to,
                     const struct net_packet *packet);
/* The client goes. */
void net_filters_detach(struct net_client *client);

#endif
