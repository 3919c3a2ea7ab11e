/*
 * virtio-net-device: a network card (virtio 1.2, 5.1). Its queues are worked off on the main loop,
 * where its netdev is too. Packets for the guest wait in its clients' queues (net/net.h) until the
 * driver has buffers; those of the guest wait in its rings until the netdev takes them.
 */
#include "hw/net/virtio_net.h"

#include <string.h>

#include "hw/boot_index.h"
#include "qapi/error.h"
#include "util/event_loop.h"

enum {
    LEGACY_HEADER = 10,             /* bytes in front of a packet (5.1.6) */
    HEADER = 12,
    CONTROL_SIZE = 64,              /* entries of the control queue */
    MIN_QUEUE = 64,
    MIN_PACKET = 14,
    MIN_MTU = 68,

    CONFIG_STATUS = 6,
    CONFIG_MAX_PAIRS = 8,
    CONFIG_MTU = 10,
    CONFIG_SPEED = 12,
    CONFIG_DUPLEX = 16,
    CONFIG_SIZE = 17,
    DUPLEX_HALF = 0,
    DUPLEX_FULL = 1,
    DUPLEX_UNKNOWN = 0xff,
};

struct header {
    uint8_t flags, gso_type;
    uint16_t header_size, gso_size, csum_start, csum_offset, n_buffers;
};

static struct virtio_net *self(struct virtio_device *vdev)
{
    return (struct virtio_net *)vdev;
}

static bool has(const struct virtio_net *s, unsigned feature)
{
    return virtio_has_feature(&s->vdev, feature);
}

static size_t header_size(const struct virtio_net *s)
{
    return has(s, VIRTIO_F_VERSION_1) || has(s, VIRTIO_NET_F_MRG_RXBUF) ? HEADER : LEGACY_HEADER;
}

/* Without MQ the driver knows one pair, and the control queue comes after it (5.1.2). */
static uint32_t control_index(const struct virtio_net *s)
{
    return has(s, VIRTIO_NET_F_MQ) ? 2 * s->n_pairs : 2;
}

static struct virtqueue *rx_queue(struct virtio_net *s, unsigned pair)
{
    return &s->vdev.queues[2 * pair];
}

static struct virtqueue *tx_queue(struct virtio_net *s, unsigned pair)
{
    return &s->vdev.queues[2 * pair + 1];
}

/* ---- To the guest ---- */

static void swap_header(struct header *h)
{
    h->header_size = GUINT16_TO_LE(h->header_size);
    h->gso_size = GUINT16_TO_LE(h->gso_size);
    h->csum_start = GUINT16_TO_LE(h->csum_start);
    h->csum_offset = GUINT16_TO_LE(h->csum_offset);
    h->n_buffers = GUINT16_TO_LE(h->n_buffers);
}

/* The chains that a packet goes to, in their order. */
struct room {
    GPtrArray *chains;              /* owned */
    uint64_t size;
};

static void give_back(struct virtqueue *vq, struct room *room)
{
    for (guint i = room->chains->len; i-- > 0;) {
        virtqueue_rewind(vq, room->chains->pdata[i]);
    }
    g_ptr_array_set_size(room->chains, 0);
}

/* Chains for size bytes. False: there aren't enough now; the queue is run again once there are. */
static bool find_room(struct virtio_net *s, struct virtqueue *vq, struct room *room, uint64_t size)
{
    bool merge = has(s, VIRTIO_NET_F_MRG_RXBUF);

    while (room->size < size && (merge || room->chains->len == 0)) {
        struct virtio_chain *chain = virtqueue_pop(vq);

        if (chain) {
            room->size += chain->in_size;
            g_ptr_array_add(room->chains, chain);
        } else if (vq->budget == 0 && room->chains->len < vq->size) {
            virtqueue_kick(vq);
            return false;
        } else if (room->chains->len == vq->size || !virtqueue_wait(vq)) {
            return false;
        }
    }
    return true;
}

/* What the driver didn't negotiate can't be left to it (it may have come after the packet did). */
static bool adapt(const struct virtio_net *s, struct net_offload *offload, uint8_t *data,
                  size_t size)
{
    uint64_t on = s->guest_offloads;
    unsigned type = offload->gso_type & ~(unsigned)NET_GSO_ECN;

    if (!(on & virtio_bit(VIRTIO_NET_F_GUEST_CSUM))) {
        if (type != NET_GSO_NONE ||
            (offload->flags & NET_NEEDS_CSUM && !net_complete_checksum(data, size, offload))) {
            return false;
        }
        *offload = (struct net_offload){0};
    }
    return type == NET_GSO_NONE ||
           (type == NET_GSO_TCPV4 && on & virtio_bit(VIRTIO_NET_F_GUEST_TSO4)) ||
           (type == NET_GSO_TCPV6 && on & virtio_bit(VIRTIO_NET_F_GUEST_TSO6));
}

static void fill(struct virtio_net *s, struct virtqueue *vq, const struct room *room,
                 const struct net_offload *offload, const uint8_t *data, size_t size)
{
    struct header header = {offload->flags,      offload->gso_type,    offload->header_size,
                            offload->gso_size,   offload->csum_start,  offload->csum_offset,
                            (uint16_t)room->chains->len};
    g_autofree uint32_t *written = g_new(uint32_t, room->chains->len);
    size_t skip = header_size(s), done = 0;

    swap_header(&header);
    for (guint i = 0; i < room->chains->len; i++, skip = 0) {
        const struct virtio_chain *chain = room->chains->pdata[i];
        size_t n = MIN(size - done, chain->in_size - skip);

        if (skip && virtio_chain_write(chain, 0, &header, skip) != skip) {
            return;
        }
        if (virtio_chain_write(chain, skip, data + done, n) != n) {
            return;
        }
        done += n;
        written[i] = (uint32_t)(skip + n);
    }
    virtqueue_push_all(vq, (const struct virtio_chain *const *)room->chains->pdata, written,
                       room->chains->len);
}

/* False: no room, the packet waits. */
static bool put_packet(struct virtio_net *s, struct virtqueue *vq, const struct net_buffer *buffer)
{
    g_autoptr(GPtrArray) chains = g_ptr_array_new_with_free_func(g_free);
    struct room room = {chains, 0};
    uint64_t size = header_size(s) + buffer->size;
    struct net_offload offload = buffer->offload;

    if (!virtio_net_wants(s, buffer->data, buffer->size) ||
        !adapt(s, &offload, (uint8_t *)(uintptr_t)buffer->data, buffer->size)) {
        return true;
    }
    if (!find_room(s, vq, &room, size) && room.chains->len < vq->size) {
        give_back(vq, &room);
        return false;
    }
    if (room.size < size || ((const struct virtio_chain *)chains->pdata[0])->in_size < HEADER) {
        /* No ring of this driver's will ever take it. */
        give_back(vq, &room);
        return true;
    }
    fill(s, vq, &room, &offload, buffer->data, buffer->size);
    return true;
}

/* The next client whose packets go to this pair's queue: the first takes those of idle ones. */
static struct net_client *next_client(struct virtio_net *s, unsigned pair)
{
    if (net_queue_head(&s->clients[pair])) {
        return &s->clients[pair];
    }
    for (unsigned i = s->active_pairs; pair == 0 && i < s->n_pairs; i++) {
        if (net_queue_head(&s->clients[i])) {
            return &s->clients[i];
        }
    }
    return NULL;
}

static void handle_rx(struct virtio_net *s, struct virtqueue *vq, unsigned pair)
{
    struct net_client *client;

    vq->quiet = true;
    while (pair < s->active_pairs && virtio_is_live(&s->vdev) && (client = next_client(s, pair)) &&
           put_packet(s, vq, net_queue_head(client))) {
        net_queue_pop(client);
    }
}

/* ---- From the guest ---- */

static bool is_allowed(const struct virtio_net *s, uint8_t gso_type)
{
    if (gso_type & NET_GSO_ECN && !has(s, VIRTIO_NET_F_HOST_ECN)) {
        return false;
    }
    switch (gso_type & ~NET_GSO_ECN) {
    case NET_GSO_NONE: return true;
    case NET_GSO_TCPV4: return has(s, VIRTIO_NET_F_HOST_TSO4);
    case NET_GSO_TCPV6: return has(s, VIRTIO_NET_F_HOST_TSO6);
    default: return false;
    }
}

/* The chain's packet, in tx_buffer; what makes no sense becomes one of no bytes. */
static bool read_packet(struct virtio_net *s, const struct virtio_chain *chain,
                        struct net_offload *offload, size_t *size)
{
    size_t skip = header_size(s);
    struct header h = {0};

    *size = 0;
    if (chain->out_size < skip) {
        virtio_broken(&s->vdev, "a packet to send without its header");
        return false;
    }
    if (chain->out_size - skip > NET_MAX_PACKET || chain->out_size - skip < MIN_PACKET) {
        return true;
    }
    if (virtio_chain_read(chain, 0, &h, skip) != skip) {
        return false;
    }
    swap_header(&h);
    *size = chain->out_size - skip;
    if (virtio_chain_read(chain, skip, s->tx_buffer, *size) != *size) {
        return false;
    }
    *offload = (struct net_offload){has(s, VIRTIO_NET_F_CSUM) ? h.flags & NET_NEEDS_CSUM : 0,
                                    h.gso_type, h.header_size, h.gso_size, h.csum_start,
                                    h.csum_offset};
    if (!is_allowed(s, h.gso_type) || (h.gso_type && (!offload->flags || h.gso_size == 0)) ||
        (offload->flags && h.csum_start + h.csum_offset + 2u > *size)) {
        *size = 0;
    }
    return true;
}

/* False: the netdev can't take it now. */
static bool send_packet(struct virtio_net *s, struct net_client *client,
                        struct net_offload *offload, size_t size)
{
    struct iovec iov = {s->tx_buffer, size};
    struct net_packet packet = {.iov = &iov, .n_iov = 1, .size = size};

    /* Here it needs no copy. */
    if (offload->flags & NET_NEEDS_CSUM && client->peer &&
        !(client->peer->takes & NET_TAKES_CSUM)) {
        net_complete_checksum(s->tx_buffer, size, offload);
        offload->flags = 0;
    }
    packet.offload = *offload;
    return net_send(client, &packet);
}

static void handle_tx(struct virtio_net *s, struct virtqueue *vq, unsigned pair)
{
    struct virtio_chain *chain;

    while ((chain = virtqueue_pop(vq))) {
        struct net_offload offload = {0};
        size_t size;

        if (!read_packet(s, chain, &offload, &size)) {
            g_free(chain);
            return;
        }
        if (size && !send_packet(s, &s->clients[pair], &offload, size)) {
            virtqueue_rewind(vq, chain);
            g_free(chain);
            vq->quiet = true;       /* can_send runs it */
            return;
        }
        virtqueue_push(vq, chain, 0);
        g_free(chain);
    }
}

static void handle(struct virtio_device *vdev, struct virtqueue *vq)
{
    struct virtio_net *s = self(vdev);

    if (has(s, VIRTIO_NET_F_CTRL_VQ) && vq->index == control_index(s)) {
        virtio_net_handle_control(s, vq);
    } else if (vq->index / 2 >= s->n_pairs) {
        return;
    } else if (vq->index & 1) {
        handle_tx(s, vq, vq->index / 2);
    } else {
        handle_rx(s, vq, vq->index / 2);
    }
}

/* ---- What the netdev says ---- */

/* The lock may be held or not. */
static void queued(struct net_client *client)
{
    struct virtio_net *s = (struct virtio_net *)client->nic;
    unsigned pair = client->index < __atomic_load_n(&s->active_pairs, __ATOMIC_RELAXED)
                        ? client->index : 0;

    virtqueue_kick(rx_queue(s, pair));
}

static void can_send(struct net_client *client)
{
    virtqueue_kick(tx_queue((struct virtio_net *)client->nic, client->index));
}

static void link_changed(struct net_client *client)
{
    struct virtio_net *s = (struct virtio_net *)client->nic;
    bool up = net_link_is_up(client);

    if (client->index) {
        return;
    }
    virtio_lock(&s->vdev);
    if (s->link_up != up) {
        s->link_up = up;
        if (s->has_status) {
            virtio_config_changed(&s->vdev);
        }
    }
    virtio_unlock(&s->vdev);
    for (unsigned i = 0; up && i < s->n_pairs; i++) {
        virtqueue_kick(tx_queue(s, i));
    }
}

static void rx_filter(struct net_client *client, struct qapi_rx_filter_info *info)
{
    struct virtio_net *s = (struct virtio_net *)client->nic;

    virtio_lock(&s->vdev);
    s->filter_told = false;
    virtio_net_describe_filter(s, info);
    virtio_unlock(&s->vdev);
}

static const struct net_client_ops client_ops = {
    .queued = queued, .can_send = can_send, .link_changed = link_changed, .rx_filter = rx_filter,
};

/* ---- What the driver says ---- */

static unsigned takes_of(uint64_t offloads)
{
    static const struct {
        uint8_t feature;
        unsigned takes;
    } rows[] = {
        {VIRTIO_NET_F_GUEST_CSUM, NET_TAKES_CSUM},
        {VIRTIO_NET_F_GUEST_TSO4, NET_TAKES_TSO4},
        {VIRTIO_NET_F_GUEST_TSO6, NET_TAKES_TSO6},
        {VIRTIO_NET_F_GUEST_ECN, NET_TAKES_ECN},
    };
    unsigned takes = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        takes |= offloads & virtio_bit(rows[i].feature) ? rows[i].takes : 0;
    }
    return takes;
}

/* On the main loop: clients are its own. */
static void settle(void *opaque)
{
    struct virtio_net *s = opaque;
    uint64_t offloads;
    bool stale;

    virtio_lock(&s->vdev);
    offloads = s->guest_offloads;
    stale = s->stale;
    s->stale = false;
    virtio_unlock(&s->vdev);
    for (unsigned i = 0; i < s->n_pairs; i++) {
        if (stale) {
            net_queue_clear(&s->clients[i]);
        }
        net_set_takes(&s->clients[i], takes_of(offloads));
        virtqueue_kick(rx_queue(s, i));
    }
}

static void set_status(struct virtio_device *vdev, uint8_t old)
{
    struct virtio_net *s = self(vdev);

    if (~old & vdev->status & VIRTIO_DRIVER_OK) {
        s->guest_offloads = virtio_net_negotiated_offloads(s);
        bottom_half_schedule(s->settle);
    }
}

static void reset(struct virtio_device *vdev)
{
    struct virtio_net *s = self(vdev);

    memcpy(s->mac, s->own_mac, sizeof(s->mac));
    virtio_net_reset_filter(s);
    s->stale = true;
    if (s->settle) {
        bottom_half_schedule(s->settle);
    }
}

static void put16(uint8_t *p, uint16_t value)
{
    value = GUINT16_TO_LE(value);
    memcpy(p, &value, sizeof(value));
}

static void get_config(struct virtio_device *vdev, uint8_t *config)
{
    const struct virtio_net *s = self(vdev);
    uint32_t speed = GUINT32_TO_LE((uint32_t)s->speed);

    memcpy(config, s->mac, NET_MAC_SIZE);
    put16(config + CONFIG_STATUS, (uint16_t)((s->link_up ? VIRTIO_NET_S_LINK_UP : 0) |
                                             (s->announce ? VIRTIO_NET_S_ANNOUNCE : 0)));
    put16(config + CONFIG_MAX_PAIRS, (uint16_t)s->n_pairs);
    put16(config + CONFIG_MTU, s->mtu);
    memcpy(config + CONFIG_SPEED, &speed, sizeof(speed));
    config[CONFIG_DUPLEX] = !s->duplex                       ? DUPLEX_UNKNOWN
                            : g_str_equal(s->duplex, "full") ? DUPLEX_FULL
                                                             : DUPLEX_HALF;
}

/* Legacy drivers write their address here (5.1.4.1). */
static void set_config(struct virtio_device *vdev, const uint8_t *config)
{
    struct virtio_net *s = self(vdev);

    if (!has(s, VIRTIO_F_VERSION_1) && !has(s, VIRTIO_NET_F_CTRL_MAC_ADDR)) {
        memcpy(s->mac, config, NET_MAC_SIZE);
    }
}

/* ---- Making it ---- */

static bool refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool refuse(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

static bool is_queue_size(uint16_t size)
{
    return size >= MIN_QUEUE && size <= VIRTIO_MAX_QUEUE_SIZE && (size & (size - 1)) == 0;
}

static bool check_properties(struct virtio_net *s, GError **error)
{
    if (!is_queue_size(s->rx_size) || !is_queue_size(s->tx_size)) {
        return refuse(error,
                      "Invalid %s_queue_size (= %u), must be a power of 2 between %d and %d.",
                      is_queue_size(s->rx_size) ? "tx" : "rx",
                      is_queue_size(s->rx_size) ? s->tx_size : s->rx_size, MIN_QUEUE,
                      VIRTIO_MAX_QUEUE_SIZE);
    }
    if (s->duplex && !g_str_equal(s->duplex, "half") && !g_str_equal(s->duplex, "full")) {
        return refuse(error, "'duplex' must be 'half' or 'full'");
    }
    if (s->speed < -1) {
        return refuse(error, "'speed' must be between 0 and INT_MAX");
    }
    if (s->mtu && s->mtu < MIN_MTU) {
        return refuse(error, "'host_mtu' must be at least %d", MIN_MTU);
    }
    if (s->mac_text && !net_parse_mac(s->mac_text, s->own_mac)) {
        return refuse(error, "Property 'virtio-net-device.mac' doesn't take value '%s'",
                      s->mac_text);
    }
    if (s->mac_text && s->own_mac[0] & 1) {
        return refuse(error, "mac %s is that of a group; give one whose first byte is even",
                      s->mac_text);
    }
    return true;
}

static bool find_netdev(struct virtio_net *s, struct netdev **netdev, GError **error)
{
    struct object *root = object_root_of(&s->vdev.device.object);

    *netdev = s->netdev ? netdev_find(root, s->netdev) : NULL;
    if (s->netdev && !*netdev) {
        return refuse(error, "Property 'virtio-net-device.netdev' can't find value '%s'",
                      s->netdev);
    }
    if (*netdev && netdev_client(*netdev, 0)->peer) {
        return refuse(error, "Property 'virtio-net-device.netdev' can't take value '%s', it's in "
                      "use", s->netdev);
    }
    return true;
}

/* What -device was given an id for: the device, or the one of its transport. */
static char *nic_name(struct virtio_net *s)
{
    const struct object *obj = &s->vdev.device.object;
    struct net *net = net_of(object_root_of(&s->vdev.device.object));

    if (!obj->user_created && obj->parent && obj->parent->user_created) {
        obj = obj->parent;
    }
    return obj->user_created && object_id_valid(obj->name) ? g_strdup(obj->name)
                                                           : net_new_name(net, obj->type->name);
}

static const char *nic_model(struct virtio_net *s)
{
    const struct object *obj = &s->vdev.device.object;

    return g_strcmp0(obj->name, "virtio-backend") == 0 && obj->parent ? obj->parent->type->name
                                                                      : obj->type->name;
}

static void make_clients(struct virtio_net *s, struct netdev *netdev)
{
    struct net *net = net_of(object_root_of(&s->vdev.device.object));
    g_autofree char *name = nic_name(s), *mac = NULL;

    if (s->mac_text) {
        net_use_mac(net, s->own_mac);
    } else {
        net_new_mac(net, s->own_mac);
    }
    mac = net_format_mac(s->own_mac);
    s->clients = g_new0(struct net_client, s->n_pairs);
    for (unsigned i = 0; i < s->n_pairs; i++) {
        struct net_client *client = &s->clients[i];

        net_client_init(client, net, &client_ops, name, i);
        client->is_nic = true;
        client->nic = s;
        net_client_set_info(client, "nic,model=%s,macaddr=%s", nic_model(s), mac);
        if (netdev && i < netdev_n_queues(netdev)) {
            net_connect(client, netdev_client(netdev, i));
        }
    }
    s->link_up = net_link_is_up(&s->clients[0]);
}

static uint64_t features(const struct virtio_net *s)
{
    const struct net_client *peer = s->clients[0].peer;
    unsigned takes = peer ? peer->takes : 0;
    bool csum = s->csum, guest_csum = s->guest_csum, merge = s->mrg_rxbuf;
    bool tso4 = takes & NET_TAKES_TSO4, tso6 = takes & NET_TAKES_TSO6, ecn = takes & NET_TAKES_ECN;
    const struct {
        bool on;
        uint8_t feature;
    } rows[] = {
        {csum, VIRTIO_NET_F_CSUM},
        {guest_csum, VIRTIO_NET_F_GUEST_CSUM},
        {s->ctrl_vq && s->ctrl_guest_offloads && guest_csum, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS},
        {s->mtu, VIRTIO_NET_F_MTU},
        {true, VIRTIO_NET_F_MAC},
        {guest_csum && merge && s->guest_tso4 && tso4, VIRTIO_NET_F_GUEST_TSO4},
        {guest_csum && merge && s->guest_tso6 && tso6, VIRTIO_NET_F_GUEST_TSO6},
        {guest_csum && merge && s->guest_ecn && ecn && (s->guest_tso4 || s->guest_tso6),
         VIRTIO_NET_F_GUEST_ECN},
        {csum && s->gso && s->host_tso4 && tso4, VIRTIO_NET_F_HOST_TSO4},
        {csum && s->gso && s->host_tso6 && tso6, VIRTIO_NET_F_HOST_TSO6},
        {csum && s->gso && s->host_ecn && ecn && (s->host_tso4 || s->host_tso6),
         VIRTIO_NET_F_HOST_ECN},
        {merge, VIRTIO_NET_F_MRG_RXBUF},
        {s->has_status, VIRTIO_NET_F_STATUS},
        {s->ctrl_vq, VIRTIO_NET_F_CTRL_VQ},
        {s->ctrl_vq && s->ctrl_rx, VIRTIO_NET_F_CTRL_RX},
        {s->ctrl_vq && s->ctrl_vlan, VIRTIO_NET_F_CTRL_VLAN},
        {s->ctrl_vq && s->ctrl_rx_extra, VIRTIO_NET_F_CTRL_RX_EXTRA},
        {s->ctrl_vq && s->has_status && s->guest_announce, VIRTIO_NET_F_GUEST_ANNOUNCE},
        {s->ctrl_vq && s->mq && s->n_pairs > 1, VIRTIO_NET_F_MQ},
        {s->ctrl_vq && s->ctrl_mac_addr, VIRTIO_NET_F_CTRL_MAC_ADDR},
        {!s->vdev.legacy_only && (s->speed >= 0 || s->duplex), VIRTIO_NET_F_SPEED_DUPLEX},
    };
    uint64_t set = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        set |= rows[i].on ? virtio_bit(rows[i].feature) : 0;
    }
    return set;
}

static bool realize(struct virtio_device *vdev, GError **error)
{
    struct virtio_net *s = self(vdev);
    uint16_t sizes[2 * NET_MAX_QUEUES + 1];
    struct netdev *netdev;

    if (!check_properties(s, error) || !find_netdev(s, &netdev, error)) {
        return false;
    }
    s->n_pairs = s->mq && netdev ? netdev_n_queues(netdev) : 1;
    make_clients(s, netdev);
    vdev->host_features = features(s);
    for (unsigned i = 0; i < s->n_pairs; i++) {
        sizes[2 * i] = s->rx_size;
        sizes[2 * i + 1] = s->tx_size;
    }
    sizes[2 * s->n_pairs] = CONTROL_SIZE;
    virtio_make_queues(vdev, sizes, 2 * s->n_pairs + s->ctrl_vq);
    s->tx_buffer = g_malloc(NET_MAX_PACKET);
    s->settle = bottom_half_new(vdev->hw->loop, settle, s);
    return true;
}

static void unrealize(struct virtio_device *vdev)
{
    struct virtio_net *s = self(vdev);

    g_clear_pointer(&s->settle, bottom_half_free);
    for (unsigned i = 0; s->clients && i < s->n_pairs; i++) {
        struct net_client *peer = s->clients[i].peer;

        net_client_clear(&s->clients[i]);
        if (peer && peer->ops->link_changed) {
            peer->ops->link_changed(peer);
        }
    }
    g_clear_pointer(&s->clients, g_free);
    g_clear_pointer(&s->tx_buffer, g_free);
}

/* ---- State ---- */

static bool after_load(void *instance, uint32_t version, GError **error)
{
    struct virtio_net *s = instance;

    if (s->active_pairs < 1 || s->active_pairs > s->n_pairs ||
        s->n_unicast > VIRTIO_NET_MAX_MACS || s->n_multicast > VIRTIO_NET_MAX_MACS ||
        s->guest_offloads & ~virtio_net_negotiated_offloads(s)) {
        return refuse(error, "%s: the saved state can't be", s->vdev.device.object.name);
    }
    /* The network may have to learn where the guest is now (5.1.6.5.4). */
    s->announce |= has(s, VIRTIO_NET_F_GUEST_ANNOUNCE) && s->vdev.status & VIRTIO_DRIVER_OK;
    bottom_half_schedule(s->settle);
    return true;
}

static const struct state_field fields[] = {
    STATE_ARRAY(virtio_net, mac, STATE_BYTES),
    STATE_FIELD(virtio_net, active_pairs, STATE_U16, .reset = 1),
    STATE_FIELD(virtio_net, announce, STATE_BOOL),
    STATE_FIELD(virtio_net, promiscuous, STATE_BOOL),
    STATE_FIELD(virtio_net, all_multicast, STATE_BOOL),
    STATE_FIELD(virtio_net, all_unicast, STATE_BOOL),
    STATE_FIELD(virtio_net, no_multicast, STATE_BOOL),
    STATE_FIELD(virtio_net, no_unicast, STATE_BOOL),
    STATE_FIELD(virtio_net, no_broadcast, STATE_BOOL),
    STATE_FIELD(virtio_net, multicast_overflow, STATE_BOOL),
    STATE_FIELD(virtio_net, unicast_overflow, STATE_BOOL),
    STATE_FIELD(virtio_net, n_unicast, STATE_U32),
    STATE_FIELD(virtio_net, n_multicast, STATE_U32),
    STATE_ARRAY(virtio_net, unicast, STATE_BYTES),
    STATE_ARRAY(virtio_net, multicast, STATE_BYTES),
    STATE_ARRAY(virtio_net, vlans, STATE_BYTES),
    STATE_FIELD(virtio_net, guest_offloads, STATE_U64),
};

static const struct state_table state = {
    .name = "virtio-net-device",
    .version = 1,
    .fields = fields,
    .n_fields = G_N_ELEMENTS(fields),
    .after_load = after_load,
};

static const struct virtio_class net_class = {
    .device_id = 1,
    .config_size = CONFIG_SIZE,
    .state = &state,
    .realize = realize,
    .unrealize = unrealize,
    .get_config = get_config,
    .set_config = set_config,
    .set_status = set_status,
    .reset = reset,
    .handle = handle,
};

#define FEATURE(name_, field, default_, description)                                               \
    PROPERTY(name_, virtio_net, field, qapi_type_bool, default_, description)

static const struct property properties[] = {
    PROPERTY("mac", virtio_net, mac_text, qapi_type_str, NULL,
             "Ethernet address, as 52:54:00:12:34:56"),
    PROPERTY("netdev", virtio_net, netdev, qapi_type_str, NULL, "The netdev that it is on"),
    FEATURE("csum", csum, "on", "The driver may leave checksums to the device"),
    FEATURE("guest_csum", guest_csum, "on", "The device may leave checksums to the driver"),
    FEATURE("gso", gso, "on", "The driver may send what the device makes segments of"),
    FEATURE("guest_tso4", guest_tso4, "on", "The driver gets large TCP segments over IPv4"),
    FEATURE("guest_tso6", guest_tso6, "on", "The driver gets large TCP segments over IPv6"),
    FEATURE("guest_ecn", guest_ecn, "on", "... also with ECN"),
    FEATURE("host_tso4", host_tso4, "on", "The driver sends large TCP segments over IPv4"),
    FEATURE("host_tso6", host_tso6, "on", "The driver sends large TCP segments over IPv6"),
    FEATURE("host_ecn", host_ecn, "on", "... also with ECN"),
    FEATURE("mrg_rxbuf", mrg_rxbuf, "on", "A packet may go to several of the driver's buffers"),
    FEATURE("status", has_status, "on", "The driver sees whether the link is up"),
    FEATURE("ctrl_vq", ctrl_vq, "on", "There is a control queue"),
    FEATURE("ctrl_rx", ctrl_rx, "on", "The driver chooses which packets it gets"),
    FEATURE("ctrl_vlan", ctrl_vlan, "on", "... by VLAN"),
    FEATURE("ctrl_rx_extra", ctrl_rx_extra, "on", "... in more ways"),
    FEATURE("ctrl_mac_addr", ctrl_mac_addr, "on", "The driver can set its address"),
    FEATURE("ctrl_guest_offloads", ctrl_guest_offloads, "on",
            "The driver can switch what it leaves to the device"),
    FEATURE("guest_announce", guest_announce, "on",
            "The driver announces itself to the network after a migration"),
    FEATURE("mq", mq, "off", "A pair of queues for each queue of the netdev"),
    PROPERTY("rx_queue_size", virtio_net, rx_size, qapi_type_uint16, "256",
             "Entries of receive queues"),
    PROPERTY("tx_queue_size", virtio_net, tx_size, qapi_type_uint16, "256",
             "Entries of transmit queues"),
    PROPERTY("host_mtu", virtio_net, mtu, qapi_type_uint16, "0",
             "MTU that the driver is told; 0: none"),
    BOOT_INDEX_PROPERTY(virtio_net, bootindex),
    PROPERTY("speed", virtio_net, speed, qapi_type_int32, "-1",
             "Mbit/s that the driver is told; -1: none"),
    PROPERTY("duplex", virtio_net, duplex, qapi_type_str, NULL,
             "What the driver is told: half or full"),
};

static const struct object_type net_type = {
    .name = "virtio-net-device",
    .parent = "virtio-device",
    .category = "Network",
    .instance_size = sizeof(struct virtio_net),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .class_data = &net_class,
};
OBJECT_TYPE(net_type);
