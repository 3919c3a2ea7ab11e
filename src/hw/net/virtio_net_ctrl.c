/* virtio-net's control queue (virtio 1.2, 5.1.6.5), and the filter that it sets up. */
#include <string.h>

#include "hw/net/virtio_net.h"
#include "qapi/qapi_events.h"
#include "util/event_loop.h"

/* Classes and commands. */
enum {
    CLASS_RX = 0,
    RX_PROMISC = 0,
    RX_ALLMULTI = 1,
    RX_ALLUNI = 2,
    RX_NOMULTI = 3,
    RX_NOUNI = 4,
    RX_NOBCAST = 5,

    CLASS_MAC = 1,
    MAC_TABLE_SET = 0,
    MAC_ADDR_SET = 1,

    CLASS_VLAN = 2,
    VLAN_ADD = 0,
    VLAN_DEL = 1,

    CLASS_ANNOUNCE = 3,
    ANNOUNCE_ACK = 0,

    CLASS_MQ = 4,
    MQ_VQ_PAIRS_SET = 0,

    CLASS_GUEST_OFFLOADS = 5,
    GUEST_OFFLOADS_SET = 0,

    HEADER_SIZE = 2,
    ACK_OK = 0,
    ACK_ERROR = 1,

    ETHERTYPE_AT = 12,
    VLAN_TAG = 0x8100,
};

static bool has(const struct virtio_net *s, unsigned feature)
{
    return virtio_has_feature(&s->vdev, feature);
}

uint64_t virtio_net_negotiated_offloads(const struct virtio_net *s)
{
    static const uint8_t offloads[] = {VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4,
                                       VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN};
    uint64_t set = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(offloads); i++) {
        set |= virtio_bit(offloads[i]);
    }
    return set & s->vdev.guest_features;
}

/* ---- The filter ---- */

void virtio_net_reset_filter(struct virtio_net *s)
{
    s->promiscuous = true;
    s->all_multicast = s->all_unicast = false;
    s->no_multicast = s->no_unicast = s->no_broadcast = false;
    s->multicast_overflow = s->unicast_overflow = false;
    s->n_unicast = s->n_multicast = 0;
    memset(s->vlans, 0, sizeof(s->vlans));
}

static bool in_table(const uint8_t *table, uint32_t n, const uint8_t *mac)
{
    for (uint32_t i = 0; i < n; i++) {
        if (memcmp(table + i * NET_MAC_SIZE, mac, NET_MAC_SIZE) == 0) {
            return true;
        }
    }
    return false;
}

bool virtio_net_wants(const struct virtio_net *s, const uint8_t *data, size_t size)
{
    static const uint8_t broadcast[NET_MAC_SIZE] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (size < ETHERTYPE_AT + 2) {
        return false;
    }
    if (s->promiscuous) {
        return true;
    }
    if (has(s, VIRTIO_NET_F_CTRL_VLAN) && size >= ETHERTYPE_AT + 4 &&
        (data[ETHERTYPE_AT] << 8 | data[ETHERTYPE_AT + 1]) == VLAN_TAG) {
        unsigned vlan = (data[ETHERTYPE_AT + 2] << 8 | data[ETHERTYPE_AT + 3]) & 0xfff;

        if (!(s->vlans[vlan / 8] & 1 << vlan % 8)) {
            return false;
        }
    }
    if (memcmp(data, broadcast, NET_MAC_SIZE) == 0) {
        return !s->no_broadcast;
    }
    if (data[0] & 1) {
        return !s->no_multicast && (s->all_multicast || s->multicast_overflow ||
                                    in_table(s->multicast, s->n_multicast, data));
    }
    return !s->no_unicast && (s->all_unicast || s->unicast_overflow ||
                              memcmp(data, s->mac, NET_MAC_SIZE) == 0 ||
                              in_table(s->unicast, s->n_unicast, data));
}

static void add_macs(struct qapi_str_list *list, const uint8_t *table, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        *(char **)qapi_list_append(&qapi_type_str_list, list) =
            net_format_mac(table + i * NET_MAC_SIZE);
    }
}

void virtio_net_describe_filter(const struct virtio_net *s, struct qapi_rx_filter_info *info)
{
    info->name = g_strdup(s->clients[0].name);
    info->promiscuous = s->promiscuous;
    info->multicast = s->no_multicast    ? QAPI_RX_STATE_NONE
                      : s->all_multicast ? QAPI_RX_STATE_ALL
                                         : QAPI_RX_STATE_NORMAL;
    info->unicast = s->no_unicast    ? QAPI_RX_STATE_NONE
                    : s->all_unicast ? QAPI_RX_STATE_ALL
                                     : QAPI_RX_STATE_NORMAL;
    info->vlan = has(s, VIRTIO_NET_F_CTRL_VLAN) ? QAPI_RX_STATE_NORMAL : QAPI_RX_STATE_ALL;
    info->broadcast_allowed = !s->no_broadcast;
    info->multicast_overflow = s->multicast_overflow;
    info->unicast_overflow = s->unicast_overflow;
    info->main_mac = net_format_mac(s->mac);
    for (unsigned vlan = 0; vlan < VIRTIO_NET_N_VLANS; vlan++) {
        if (s->vlans[vlan / 8] & 1 << vlan % 8) {
            *(int64_t *)qapi_list_append(&qapi_type_int_list, &info->vlan_table) = vlan;
        }
    }
    add_macs(&info->unicast_table, s->unicast, s->n_unicast);
    add_macs(&info->multicast_table, s->multicast, s->n_multicast);
}

static void tell_filter(struct virtio_net *s)
{
    const struct hw_context *hw = s->vdev.hw;
    g_autofree char *path = NULL;

    if (!s->filter_told && hw->vm_ops && hw->vm_ops->events) {
        struct qapi_nic_rx_filter_changed_event event = {.name = s->clients[0].name};

        event.path = path = object_path(&s->vdev.device.object);
        s->filter_told = true;
        qapi_event_nic_rx_filter_changed(hw->vm_ops->events(hw->vm), &event);
    }
}

/* ---- Commands ---- */

struct request {
    struct virtio_net *s;
    const struct virtio_chain *chain;
    uint64_t at;                /* of what hasn't been read */
};

static bool take(struct request *r, void *data, size_t size)
{
    size_t n = virtio_chain_read(r->chain, r->at, data, size);

    r->at += n;
    return n == size;
}

static bool set_rx_mode(struct request *r, uint8_t command)
{
    struct virtio_net *s = r->s;
    bool *const modes[] = {
        [RX_PROMISC] = &s->promiscuous,   [RX_ALLMULTI] = &s->all_multicast,
        [RX_ALLUNI] = &s->all_unicast,    [RX_NOMULTI] = &s->no_multicast,
        [RX_NOUNI] = &s->no_unicast,      [RX_NOBCAST] = &s->no_broadcast,
    };
    unsigned needed = command <= RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX : VIRTIO_NET_F_CTRL_RX_EXTRA;
    uint8_t on;

    if (command >= G_N_ELEMENTS(modes) || !has(s, needed) || !take(r, &on, sizeof(on))) {
        return false;
    }
    *modes[command] = on != 0;
    tell_filter(s);
    return true;
}

/* One of the two tables; what doesn't fit makes it take all (room: addresses that do fit). */
static bool take_table(struct request *r, uint8_t *table, uint32_t *n, bool *overflow,
                       uint32_t room)
{
    uint32_t count;

    if (!take(r, &count, sizeof(count))) {
        return false;
    }
    count = GUINT32_FROM_LE(count);
    if ((uint64_t)count * NET_MAC_SIZE > r->chain->out_size - r->at) {
        return false;
    }
    *overflow = count > room;
    *n = *overflow ? 0 : count;
    if (*overflow) {
        r->at += (uint64_t)count * NET_MAC_SIZE;
        return true;
    }
    return take(r, table, count * NET_MAC_SIZE);
}

static bool set_mac(struct request *r, uint8_t command)
{
    struct virtio_net *s = r->s;
    uint8_t mac[NET_MAC_SIZE];
    bool ok;

    if (command == MAC_ADDR_SET) {
        if (!has(s, VIRTIO_NET_F_CTRL_MAC_ADDR) || !take(r, mac, sizeof(mac))) {
            return false;
        }
        memcpy(s->mac, mac, sizeof(mac));
        tell_filter(s);
        return true;
    }
    if (command != MAC_TABLE_SET || !has(s, VIRTIO_NET_F_CTRL_RX)) {
        return false;
    }
    s->n_unicast = s->n_multicast = 0;
    ok = take_table(r, s->unicast, &s->n_unicast, &s->unicast_overflow, VIRTIO_NET_MAX_MACS) &&
         take_table(r, s->multicast, &s->n_multicast, &s->multicast_overflow,
                    VIRTIO_NET_MAX_MACS - s->n_unicast);
    if (!ok) {
        s->n_unicast = s->n_multicast = 0;
    }
    tell_filter(s);
    return ok;
}

static bool set_vlan(struct request *r, uint8_t command)
{
    struct virtio_net *s = r->s;
    uint16_t vlan;

    if (!has(s, VIRTIO_NET_F_CTRL_VLAN) || !take(r, &vlan, sizeof(vlan))) {
        return false;
    }
    vlan = GUINT16_FROM_LE(vlan);
    if (vlan >= VIRTIO_NET_N_VLANS || (command != VLAN_ADD && command != VLAN_DEL)) {
        return false;
    }
    if (command == VLAN_ADD) {
        s->vlans[vlan / 8] |= (uint8_t)(1 << vlan % 8);
    } else {
        s->vlans[vlan / 8] &= (uint8_t)~(1 << vlan % 8);
    }
    tell_filter(s);
    return true;
}

static bool ack_announce(struct request *r, uint8_t command)
{
    if (command != ANNOUNCE_ACK || !r->s->announce) {
        return false;
    }
    r->s->announce = false;
    return true;
}

static bool set_pairs(struct request *r, uint8_t command)
{
    struct virtio_net *s = r->s;
    uint16_t pairs;

    if (command != MQ_VQ_PAIRS_SET || !has(s, VIRTIO_NET_F_MQ) ||
        !take(r, &pairs, sizeof(pairs))) {
        return false;
    }
    pairs = GUINT16_FROM_LE(pairs);
    if (pairs < 1 || pairs > s->n_pairs) {
        return false;
    }
    s->active_pairs = pairs;
    bottom_half_schedule(s->settle);
    return true;
}

static bool set_offloads(struct request *r, uint8_t command)
{
    uint64_t offloads;

    if (command != GUEST_OFFLOADS_SET || !has(r->s, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
        !take(r, &offloads, sizeof(offloads))) {
        return false;
    }
    offloads = GUINT64_FROM_LE(offloads);
    if (offloads & ~virtio_net_negotiated_offloads(r->s)) {
        return false;
    }
    r->s->guest_offloads = offloads;
    bottom_half_schedule(r->s->settle);
    return true;
}

static bool run(struct request *r)
{
    uint8_t header[HEADER_SIZE];

    if (!take(r, header, sizeof(header))) {
        return false;
    }
    switch (header[0]) {
    case CLASS_RX: return set_rx_mode(r, header[1]);
    case CLASS_MAC: return set_mac(r, header[1]);
    case CLASS_VLAN: return set_vlan(r, header[1]);
    case CLASS_ANNOUNCE: return ack_announce(r, header[1]);
    case CLASS_MQ: return set_pairs(r, header[1]);
    case CLASS_GUEST_OFFLOADS: return set_offloads(r, header[1]);
    default: return false;
    }
}

void virtio_net_handle_control(struct virtio_net *s, struct virtqueue *vq)
{
    struct virtio_chain *chain;

    while ((chain = virtqueue_pop(vq))) {
        struct request request = {s, chain, 0};
        uint8_t ack;

        if (chain->in_size < sizeof(ack) || chain->out_size < HEADER_SIZE) {
            virtio_broken(&s->vdev, "a control request without a header or a place for its answer");
            g_free(chain);
            return;
        }
        ack = run(&request) ? ACK_OK : ACK_ERROR;
        virtqueue_push(vq, chain, virtio_chain_write(chain, 0, &ack, sizeof(ack)));
        g_free(chain);
    }
}
