/*
 * What carries packets between processes: stream sockets (stream.c) and datagram sockets (dgram.c),
 * for the netdevs of socket.c. Each belongs to one client, whose operations call it. Main loop's
 * thread.
 */
#ifndef NANDU_NET_LINK_H
#define NANDU_NET_LINK_H

#include "net/netdev.h"

/*
 * Streams: each packet has its length in front, 4 bytes, big endian. A connection that carries
 * anything else is closed. While there is none packets are lost.
 */
struct net_stream;

struct net_stream_config {
    const struct qapi_socket_address *address;      /* copied; NULL: fd is connected */
    int fd;
    bool server;                /* listens, for one peer at a time, and again when it left */
    int64_t reconnect_ms;       /* until a client tries again; 0: never */
    bool events;                /* NETDEV_STREAM_CONNECTED and _DISCONNECTED are sent */
};

/* False and *error: it can't listen. A client connects later, and warns if that fails. */
struct net_stream *net_stream_new(struct net_client *client, const struct netdev_context *context,
                                  const struct net_stream_config *config, GError **error);
void net_stream_free(struct net_stream *stream);
bool net_stream_receive(struct net_stream *stream, const struct net_packet *packet);
void net_stream_can_send(struct net_stream *stream);

/* Datagrams, a packet each. */
struct net_dgram;

/* Both of type inet, or both of type unix: bound to local, and only what remote sends is taken. */
struct net_dgram *net_dgram_new_pair(struct net_client *client,
                                     const struct qapi_socket_address *local,
                                     const struct qapi_socket_address *remote, GError **error);
/* All who joined the group. address: of the interface that is used; NULL: the host chooses. */
struct net_dgram *net_dgram_new_group(struct net_client *client,
                                      const struct qapi_inet_socket_address *group,
                                      const char *address, GError **error);
/* A socket that knows where to send to; it is owned then. */
struct net_dgram *net_dgram_new_fd(struct net_client *client, int fd);
void net_dgram_free(struct net_dgram *dgram);
bool net_dgram_receive(struct net_dgram *dgram, const struct net_packet *packet);
void net_dgram_can_send(struct net_dgram *dgram);
/* The address is that of a group (IPv4). */
bool net_dgram_is_group(const struct qapi_socket_address *address);

#endif
