/*
 * Networks: back ends (netdevs) and NICs that exchange Ethernet packets.
 *
 * A client is one end of a link: a queue of a netdev, or a queue of a NIC. It has at most one
 * peer. All clients of a machine are in its object at /netdevs, struct net.
 *
 * Packets go by net_send. A client that takes packets when it likes (a NIC: when its driver has
 * given buffers) has no receive operation: they wait in its queue, it is told (queued), and takes
 * them with net_queue_head and net_queue_pop. Once much waits there the sender is told to wait,
 * and can_send says when it may go on. Others get each packet from inside net_send, or refuse it
 * for the time being (receive returns false), so that the NIC in turn waits.
 *
 * Threads and locks: all of it belongs to the main loop's thread. No operation of a client but
 * queued is called from inside a function that this client itself calls here, and queued only
 * schedules. So a NIC may hold its own lock when it calls, and none is needed below it.
 *
 * Ownership: a netdev owns its clients and belongs to struct net; a NIC owns its own. Either may go
 * first: the other one is told by link_changed, and has no peer then.
 */
#ifndef NANDU_NET_NET_H
#define NANDU_NET_NET_H

#include <sys/uio.h>

#include "object/object.h"
#include "qapi/qapi_types.h"

struct chardev_context;
struct event_loop;
struct net;
struct net_client;
struct netdev;
struct qmp_context;

enum {
    NET_MAC_SIZE = 6,
    NET_MAX_PACKET = 65536 + 256,   /* bytes of a packet, at most: larger ones are dropped */
    NET_MAX_QUEUES = 256,           /* of a netdev or a NIC */
};

/* What a packet lacks and its receiver must do or tolerate, as virtio 1.2, 5.1.6 has it. */
enum { NET_NEEDS_CSUM = 1, NET_CSUM_VALID = 2 };
enum { NET_GSO_NONE = 0, NET_GSO_TCPV4 = 1, NET_GSO_UDP = 3, NET_GSO_TCPV6 = 4, NET_GSO_UDP_L4 = 5,
       NET_GSO_ECN = 0x80 };

struct net_offload {
    uint8_t flags, gso_type;
    uint16_t header_size, gso_size, csum_start, csum_offset;
};

/* What a client takes besides plain packets: sets of these. */
enum {
    NET_TAKES_CSUM = 1,             /* NET_NEEDS_CSUM, and what GSO needs */
    NET_TAKES_TSO4 = 2,
    NET_TAKES_TSO6 = 4,
    NET_TAKES_ECN = 8,
    NET_TAKES_UFO = 16,
    NET_TAKES_USO = 32,
};

struct net_packet {
    const struct iovec *iov;
    unsigned n_iov;
    size_t size;                    /* bytes in all */
    struct net_offload offload;
};

/* A packet that waits. */
struct net_buffer {
    size_t size, room;              /* bytes in data, and how many it has place for */
    struct net_offload offload;
    uint8_t data[];
};

struct net_client_ops {
    /* NULL: packets wait in the queue. False: not now, nothing was taken; net_ready says when. */
    bool (*receive)(struct net_client *client, const struct net_packet *packet);
    /* The queue isn't empty any more. A lock may be held: it only schedules. */
    void (*queued)(struct net_client *client);
    /* net_send returned false and may work again. May be NULL. */
    void (*can_send)(struct net_client *client);
    /* link_down or the peer changed, also the peer's takes. May be NULL. */
    void (*link_changed)(struct net_client *client);
    /* What a NIC's driver wants to get; *info is zeroed. NULL: it can't say. */
    void (*rx_filter)(struct net_client *client, struct qapi_rx_filter_info *info);
};

struct net_client {
    const struct net_client_ops *ops;
    struct net *net;
    struct net_client *peer;
    char *name;                     /* id of the netdev or the NIC */
    unsigned index;                 /* queue */
    bool is_nic;
    void *nic;                      /* its device */
    bool link_down;
    unsigned takes;                 /* see above */
    struct netdev *netdev;          /* NULL: a NIC's */
    GPtrArray *filters;             /* struct net_filter (net/filter.h); borrowed */
    char *info;                     /* what "info network" says behind type=; owned */
    /* The rest is net.c's. */
    GQueue queue;                   /* struct net_buffer */
    size_t queue_bytes;
    bool peer_waits;                /* it was told to */
    bool refused;                   /* receive returned false the last time */
    struct bottom_half *wake;       /* calls the peer's can_send */
};

/* ---- Clients ---- */

/* Puts a client that is zeroed into net. name is copied. */
void net_client_init(struct net_client *client, struct net *net, const struct net_client_ops *ops,
                     const char *name, unsigned index);
/* Leaves its peer and net; what waits is dropped. What was never initialized may be cleared. */
void net_client_clear(struct net_client *client);
void net_client_set_info(struct net_client *client, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Both have no peer. Tells neither of them. */
void net_connect(struct net_client *a, struct net_client *b);
/* Undoes it; tells neither. */
void net_disconnect(struct net_client *client);
/* What the client takes changes: its peer is told. */
void net_set_takes(struct net_client *client, unsigned takes);
/* The link is up: neither side has it down, and there is a peer. */
bool net_link_is_up(const struct net_client *client);
/* As set_link: all clients of this name, and the NICs they lead to. */
bool net_set_link(struct net *net, const char *name, bool up, GError **error);

/*
 * Gives a packet to the peer. False: the peer can't take it now, and nothing was taken; can_send is
 * called later. True: it is on its way, or was dropped since there is no link. What the peer
 * doesn't take of offloads is done here (checksums) or the packet is dropped (segmentation).
 */
bool net_send(struct net_client *client, const struct net_packet *packet);
/* For who can't wait: it waits here as long as there is room, or is dropped. */
void net_send_now(struct net_client *client, const struct net_packet *packet);
/* The peer may send again. */
void net_ready(struct net_client *client);
/* The packet that waits longest; NULL: none. Borrowed until it is popped. */
const struct net_buffer *net_queue_head(const struct net_client *client);
void net_queue_pop(struct net_client *client);
/* Drops all that waits. */
void net_queue_clear(struct net_client *client);

/*
 * In place of bytes with NET_NEEDS_CSUM: the checksum. False: what the offload says lies outside
 * of the packet.
 */
bool net_complete_checksum(uint8_t *data, size_t size, const struct net_offload *offload);

/* ---- All of a machine ---- */

/* Of the machine whose tree this is; made when it is first asked for. Borrowed. */
struct net *net_of(struct object *root);
struct event_loop *net_loop(const struct net *net);
const struct object_context *net_context(const struct net *net);
typedef bool net_visit(struct net_client *client, void *opaque);    /* false: stop */
void net_foreach(struct net *net, net_visit *fn, void *opaque);
/* A name that nothing has: "PREFIX.N" for the next N of this prefix. Caller frees. */
char *net_new_name(struct net *net, const char *prefix);
/* 52:54:00:12:34:56 and up, none twice. */
void net_new_mac(struct net *net, uint8_t mac[NET_MAC_SIZE]);
/* One that was given: net_new_mac leaves it out. */
void net_use_mac(struct net *net, const uint8_t mac[NET_MAC_SIZE]);
bool net_parse_mac(const char *text, uint8_t mac[NET_MAC_SIZE]);
char *net_format_mac(const uint8_t mac[NET_MAC_SIZE]);              /* caller frees */
/* Warns of netdevs and NICs without a peer. */
void net_check_peers(struct net *net);
/* "info network". Caller frees. */
char *net_describe(struct net *net);

/* ---- Netdevs ---- */

/* What making a netdev needs. */
struct netdev_context {
    struct object *root;
    const struct chardev_context *chardevs;     /* for guestfwd; may be NULL */
    /* A descriptor by its name or number, the caller's then; may be NULL: only numbers. */
    int (*take_fd)(void *opaque, const char *name, GError **error);
    void *take_fd_opaque;
};

/* False and *error: nothing stays behind. */
bool netdev_new(const struct netdev_context *context, const struct qapi_netdev *options,
                GError **error);
bool netdev_delete(struct object *root, const char *id, GError **error);
/* All of them, at the end of the program: their chardevs are still there. */
void netdev_close_all(struct object *root);
/* NULL: there is none. */
struct netdev *netdev_find(struct object *root, const char *id);
unsigned netdev_n_queues(const struct netdev *netdev);
struct net_client *netdev_client(struct netdev *netdev, unsigned queue);
/*
 * -netdev's text: key=value in the flat form, where keys may come several times, or JSON. *out is
 * clear on failure.
 */
bool netdev_parse(const char *text, struct qapi_netdev *out, GError **error);
/* The flat form alone: an object whose scalars are strings, "type" for the first word. */
json_object *netdev_parse_words(const char *text, GError **error);
/* Of what netdev_parse_words made. */
bool netdev_from_words(json_object *words, struct qapi_netdev *out, GError **error);
char *netdev_help(void);            /* caller frees */

/* For the monitor; NULL id: the only netdev of type user. Caller frees results. */
char *netdev_user_describe(struct object *root);
bool netdev_user_add_forward(struct object *root, const char *id, const char *rule,
                             GError **error);
bool netdev_user_remove_forward(struct object *root, const char *id, const char *rule,
                                GError **error);

#endif
