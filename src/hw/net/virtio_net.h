/* virtio-net-device: what its files have in common. */
#ifndef NANDU_HW_NET_VIRTIO_NET_H
#define NANDU_HW_NET_VIRTIO_NET_H

#include "hw/virtio/virtio.h"
#include "net/net.h"

/* Feature bits (virtio 1.2, 5.1.3). */
enum {
    VIRTIO_NET_F_CSUM = 0,
    VIRTIO_NET_F_GUEST_CSUM = 1,
    VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2,
    VIRTIO_NET_F_MTU = 3,
    VIRTIO_NET_F_MAC = 5,
    VIRTIO_NET_F_GUEST_TSO4 = 7,
    VIRTIO_NET_F_GUEST_TSO6 = 8,
    VIRTIO_NET_F_GUEST_ECN = 9,
    VIRTIO_NET_F_HOST_TSO4 = 11,
    VIRTIO_NET_F_HOST_TSO6 = 12,
    VIRTIO_NET_F_HOST_ECN = 13,
    VIRTIO_NET_F_MRG_RXBUF = 15,
    VIRTIO_NET_F_STATUS = 16,
    VIRTIO_NET_F_CTRL_VQ = 17,
    VIRTIO_NET_F_CTRL_RX = 18,
    VIRTIO_NET_F_CTRL_VLAN = 19,
    VIRTIO_NET_F_CTRL_RX_EXTRA = 20,
    VIRTIO_NET_F_GUEST_ANNOUNCE = 21,
    VIRTIO_NET_F_MQ = 22,
    VIRTIO_NET_F_CTRL_MAC_ADDR = 23,
    VIRTIO_NET_F_SPEED_DUPLEX = 63,
};

enum { VIRTIO_NET_S_LINK_UP = 1, VIRTIO_NET_S_ANNOUNCE = 2 };

enum {
    VIRTIO_NET_MAX_MACS = 64,       /* in the table of addresses */
    VIRTIO_NET_N_VLANS = 4096,
};

struct virtio_net {
    struct virtio_device vdev;
    /* Properties. */
    char *mac_text, *netdev, *duplex;
    uint16_t rx_size, tx_size, mtu;
    int32_t bootindex;              /* for the board: machine/boot_order.h; -1: none */
    int32_t speed;                  /* Mbit/s; -1: unknown */
    bool csum, guest_csum, gso, guest_tso4, guest_tso6, guest_ecn, host_tso4, host_tso6, host_ecn;
    bool mrg_rxbuf, has_status, ctrl_vq, ctrl_rx, ctrl_rx_extra, ctrl_vlan, ctrl_mac_addr;
    bool ctrl_guest_offloads, guest_announce, mq;

    uint8_t own_mac[NET_MAC_SIZE];  /* that it has after a reset */
    unsigned n_pairs;
    struct net_client *clients;     /* one for each pair of queues; main thread */
    struct bottom_half *settle;     /* what the driver negotiated goes to the clients */
    bool stale;                     /* the driver went: what waits isn't for the next one */
    bool link_up;                   /* of clients[0]; under the lock */
    uint8_t *tx_buffer;             /* NET_MAX_PACKET bytes */

    /* Saved; under the lock. */
    uint8_t mac[NET_MAC_SIZE];
    uint16_t active_pairs;
    bool announce;                  /* VIRTIO_NET_S_ANNOUNCE */
    bool promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
    bool multicast_overflow, unicast_overflow;
    uint32_t n_unicast, n_multicast;
    uint8_t unicast[VIRTIO_NET_MAX_MACS * NET_MAC_SIZE];    /* both tables together have so many */
    uint8_t multicast[VIRTIO_NET_MAX_MACS * NET_MAC_SIZE];
    uint8_t vlans[VIRTIO_NET_N_VLANS / 8];                  /* a bit each */
    uint64_t guest_offloads;        /* features GUEST_* that are switched on */
    bool filter_told;               /* NIC_RX_FILTER_CHANGED was sent, nobody has asked since */
};

/* ---- virtio_net_ctrl.c; the lock is held ---- */

/* Works the control queue off (5.1.6.5). */
void virtio_net_handle_control(struct virtio_net *s, struct virtqueue *vq);
/* Whether the driver wants this packet (5.1.6.5.1 to 3). */
bool virtio_net_wants(const struct virtio_net *s, const uint8_t *data, size_t size);
/* As after a reset: everything is taken. */
void virtio_net_reset_filter(struct virtio_net *s);
void virtio_net_describe_filter(const struct virtio_net *s, struct qapi_rx_filter_info *info);
/* The GUEST_ offloads that the driver negotiated. */
uint64_t virtio_net_negotiated_offloads(const struct virtio_net *s);

#endif
