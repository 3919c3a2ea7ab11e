/* Clients, their queues and links, and the list of them. */
#include "net/net.h"

#include <stdio.h>
#include <string.h>

#include "net/filter.h"
#include "net/netdev.h"
#include "qapi/error.h"
#include "util/event_loop.h"
#include "util/log.h"

enum {
    /* From here on senders that can wait do so, until half of it is gone. */
    BUSY_PACKETS = 256,
    BUSY_BYTES = 1 << 20,
    /* From here on packets of those that can't are dropped. */
    FULL_PACKETS = 10000,
    FULL_BYTES = 32 << 20,
};

struct net {
    struct object object;
    GPtrArray *clients;         /* struct net_client, borrowed */
    GPtrArray *netdevs;         /* struct netdev, borrowed: netdev.c's */
    GHashTable *names;          /* prefix -> how many names it has */
    GHashTable *macs;           /* the last three bytes of those that are in use */
};

bool net_error(GError **error, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

/* ---- The list ---- */

static void init(struct object *obj)
{
    struct net *net = (struct net *)obj;

    net->clients = g_ptr_array_new();
    net->netdevs = g_ptr_array_new();
    net->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    net->macs = g_hash_table_new(NULL, NULL);
}

static void finalize(struct object *obj)
{
    struct net *net = (struct net *)obj;

    g_ptr_array_unref(net->clients);
    g_ptr_array_unref(net->netdevs);
    g_hash_table_unref(net->names);
    g_hash_table_unref(net->macs);
}

static const struct object_type net_type = {
    .name = "net",
    .parent = "object",
    .instance_size = sizeof(struct net),
    .init = init,
    .finalize = finalize,
};
OBJECT_TYPE(net_type);

struct net *net_of(struct object *root)
{
    struct object *obj = object_child(root, "netdevs");

    if (!obj) {
        auto_ptr(object) new = object_new(&net_type);
        bool added = object_add_child(root, "netdevs", new, NULL) && object_complete(new, NULL);

        g_assert(added);
        obj = new;
    }
    return (struct net *)obj;
}

GPtrArray *net_netdevs(struct net *net)
{
    return net->netdevs;
}

const struct object_context *net_context(const struct net *net)
{
    return object_context((struct object *)&net->object);
}

struct event_loop *net_loop(const struct net *net)
{
    return net_context(net)->loop;
}

void net_foreach(struct net *net, net_visit *fn, void *opaque)
{
    for (guint i = 0; i < net->clients->len; i++) {
        if (!fn(net->clients->pdata[i], opaque)) {
            return;
        }
    }
}

static bool name_is_used(struct net *net, const char *name)
{
    for (guint i = 0; i < net->clients->len; i++) {
        if (g_str_equal(((struct net_client *)net->clients->pdata[i])->name, name)) {
            return true;
        }
    }
    return false;
}

char *net_new_name(struct net *net, const char *prefix)
{
    unsigned n = GPOINTER_TO_UINT(g_hash_table_lookup(net->names, prefix));
    char *name = NULL;

    do {
        g_free(name);
        name = g_strdup_printf("%s.%u", prefix, n++);
    } while (name_is_used(net, name));
    g_hash_table_insert(net->names, g_strdup(prefix), GUINT_TO_POINTER(n));
    return name;
}

/* ---- MAC addresses ---- */

static const uint8_t mac_prefix[] = {0x52, 0x54, 0x00};
enum { FIRST_MAC = 0x123456 };

static unsigned mac_number(const uint8_t *mac)
{
    return (unsigned)mac[3] << 16 | (unsigned)mac[4] << 8 | mac[5];
}

void net_use_mac(struct net *net, const uint8_t mac[NET_MAC_SIZE])
{
    if (memcmp(mac, mac_prefix, sizeof(mac_prefix)) == 0) {
        g_hash_table_add(net->macs, GUINT_TO_POINTER(mac_number(mac)));
    }
}

void net_new_mac(struct net *net, uint8_t mac[NET_MAC_SIZE])
{
    unsigned number = FIRST_MAC;

    while (g_hash_table_contains(net->macs, GUINT_TO_POINTER(number))) {
        number = (number + 1) & 0xffffff;
    }
    memcpy(mac, mac_prefix, sizeof(mac_prefix));
    mac[3] = (uint8_t)(number >> 16);
    mac[4] = (uint8_t)(number >> 8);
    mac[5] = (uint8_t)number;
    net_use_mac(net, mac);
}

bool net_parse_mac(const char *text, uint8_t mac[NET_MAC_SIZE])
{
    for (unsigned i = 0; i < NET_MAC_SIZE; i++) {
        int high = g_ascii_xdigit_value(text[0]), low;

        if (high < 0) {
            return false;
        }
        low = g_ascii_xdigit_value(text[1]);
        text += low < 0 ? 1 : 2;
        mac[i] = (uint8_t)(low < 0 ? high : high << 4 | low);
        if (i + 1 < NET_MAC_SIZE) {
            if (*text != ':' && *text != '-') {
                return false;
            }
            text++;
        }
    }
    return *text == '\0';
}

char *net_format_mac(const uint8_t mac[NET_MAC_SIZE])
{
    return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
                           mac[5]);
}

/* ---- Clients ---- */

static bool is_busy(const struct net_client *client)
{
    return client->queue.length >= BUSY_PACKETS || client->queue_bytes >= BUSY_BYTES;
}

static void wake_peer(void *opaque)
{
    struct net_client *client = opaque, *peer = client->peer;

    if (client->peer_waits && !is_busy(client)) {
        client->peer_waits = false;
        if (peer && peer->ops->can_send) {
            peer->ops->can_send(peer);
        }
    }
}

void net_client_init(struct net_client *client, struct net *net, const struct net_client_ops *ops,
                     const char *name, unsigned index)
{
    client->ops = ops;
    client->net = net;
    client->name = g_strdup(name);
    client->index = index;
    client->filters = g_ptr_array_new();
    g_queue_init(&client->queue);
    client->wake = bottom_half_new(net_loop(net), wake_peer, client);
    g_ptr_array_add(net->clients, client);
}

void net_queue_clear(struct net_client *client)
{
    g_queue_clear_full(&client->queue, g_free);
    client->queue_bytes = 0;
    net_ready(client);
}

void net_client_clear(struct net_client *client)
{
    if (!client->net) {
        return;
    }
    net_disconnect(client);
    net_filters_detach(client);
    net_queue_clear(client);
    bottom_half_free(client->wake);
    g_ptr_array_remove(client->net->clients, client);
    g_ptr_array_unref(client->filters);
    g_free(client->name);
    g_free(client->info);
    *client = (struct net_client){0};
}

void net_client_set_info(struct net_client *client, const char *format, ...)
{
    va_list args;

    g_free(client->info);
    va_start(args, format);
    client->info = g_strdup_vprintf(format, args);
    va_end(args);
}

void net_connect(struct net_client *a, struct net_client *b)
{
    g_assert(!a->peer && !b->peer);
    a->peer = b;
    b->peer = a;
}

void net_disconnect(struct net_client *client)
{
    struct net_client *peer = client->peer;

    if (peer) {
        client->peer = peer->peer = NULL;
        client->peer_waits = peer->peer_waits = false;
    }
}

static void tell_link(struct net_client *client)
{
    if (client && client->ops->link_changed) {
        client->ops->link_changed(client);
    }
}

void net_set_takes(struct net_client *client, unsigned takes)
{
    if (client->takes != takes) {
        client->takes = takes;
        tell_link(client->peer);
    }
}

bool net_link_is_up(const struct net_client *client)
{
    return client->peer && !client->link_down && !client->peer->link_down;
}

static void set_link_down(struct net_client *client, bool down)
{
    if (client->link_down != down) {
        client->link_down = down;
        tell_link(client);
        if (!down && client->peer && client->peer->ops->can_send) {
            client->peer->ops->can_send(client->peer);
        }
    }
}

/* A netdev's link takes that of its NIC along, so that the guest sees it. */
bool net_set_link(struct net *net, const char *name, bool up, GError **error)
{
    bool found = false;

    for (guint i = 0; i < net->clients->len; i++) {
        struct net_client *client = net->clients->pdata[i];

        if (g_str_equal(client->name, name)) {
            found = true;
            set_link_down(client, !up);
            if (client->peer && client->peer->is_nic) {
                set_link_down(client->peer, !up);
            }
        }
    }
    if (!found) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", name);
    }
    return found;
}

/* ---- Packets ---- */

size_t net_packet_copy(const struct net_packet *packet, void *data, size_t size)
{
    size_t done = 0;

    for (unsigned i = 0; i < packet->n_iov && done < size; i++) {
        size_t n = MIN(packet->iov[i].iov_len, size - done);

        memcpy((uint8_t *)data + done, packet->iov[i].iov_base, n);
        done += n;
    }
    return done;
}

/* Whether it became part of the packet that waits last. */
static bool coalesce(struct net_client *to, const struct net_packet *packet)
{
    const unsigned needed = NET_TAKES_CSUM | NET_TAKES_TSO4;
    GList *last = g_queue_peek_tail_link(&to->queue);
    struct net_buffer *buffer = last ? last->data : NULL;
    size_t before = buffer ? buffer->size : 0;

    if (!buffer || (to->takes & needed) != needed || !net_coalesce(&buffer, packet)) {
        return false;
    }
    last->data = buffer;
    to->queue_bytes += buffer->size - before;
    return true;
}

static void enqueue(struct net_client *to, const struct net_packet *packet)
{
    struct net_buffer *buffer;

    if (coalesce(to, packet)) {
        return;
    }
    buffer = g_malloc(sizeof(*buffer) + packet->size);
    buffer->size = buffer->room = packet->size;
    buffer->offload = packet->offload;
    net_packet_copy(packet, buffer->data, packet->size);
    to->queue_bytes += buffer->size;
    g_queue_push_tail(&to->queue, buffer);
    if (to->ops->queued) {
        to->ops->queued(to);
    }
}

static unsigned needed_to_take(const struct net_offload *offload)
{
    unsigned needed = offload->gso_type & NET_GSO_ECN ? NET_TAKES_ECN : 0;

    switch (offload->gso_type & ~NET_GSO_ECN) {
    case NET_GSO_NONE: return 0;
    case NET_GSO_TCPV4: return needed | NET_TAKES_TSO4;
    case NET_GSO_TCPV6: return needed | NET_TAKES_TSO6;
    case NET_GSO_UDP: return needed | NET_TAKES_UFO;
    case NET_GSO_UDP_L4: return needed | NET_TAKES_USO;
    default: return ~0u;
    }
}

static bool give(struct net_client *from, struct net_client *to, const struct net_packet *packet)
{
    if (!to->ops->receive) {
        if (is_busy(to)) {
            to->peer_waits = true;
            return false;
        }
        net_filters_see(from, to, packet);
        enqueue(to, packet);
        return true;
    }
    /* What it refuses comes again: filters see it once. */
    if (!to->refused) {
        net_filters_see(from, to, packet);
    }
    to->refused = !to->ops->receive(to, packet);
    to->peer_waits |= to->refused;
    return !to->refused;
}

/* With the checksum that the receiver doesn't compute. */
static bool give_completed(struct net_client *from, struct net_client *to,
                           const struct net_packet *packet)
{
    g_autofree uint8_t *data = g_malloc(packet->size);
    struct iovec iov = {data, packet->size};
    struct net_packet plain = {.iov = &iov, .n_iov = 1, .size = packet->size,
                               .offload = packet->offload};

    net_packet_copy(packet, data, packet->size);
    if (!net_complete_checksum(data, packet->size, &packet->offload)) {
        return true;
    }
    plain.offload.flags = 0;
    return give(from, to, &plain);
}

bool net_send(struct net_client *client, const struct net_packet *packet)
{
    struct net_client *to = client->peer;

    if (!net_link_is_up(client) || packet->size > NET_MAX_PACKET || packet->size == 0 ||
        (needed_to_take(&packet->offload) & ~to->takes)) {
        return true;
    }
    if (packet->offload.flags & NET_NEEDS_CSUM && !(to->takes & NET_TAKES_CSUM)) {
        return give_completed(client, to, packet);
    }
    return give(client, to, packet);
}

void net_send_now(struct net_client *client, const struct net_packet *packet)
{
    struct net_client *to = client->peer;

    if (to && to->ops->receive) {
        net_send(client, packet);
    } else if (net_link_is_up(client) && packet->size && packet->size <= NET_MAX_PACKET &&
               to->queue.length < FULL_PACKETS && to->queue_bytes < FULL_BYTES) {
        g_assert(packet->offload.gso_type == NET_GSO_NONE &&
                 !(packet->offload.flags & NET_NEEDS_CSUM));
        net_filters_see(client, to, packet);
        enqueue(to, packet);
    }
}

void net_ready(struct net_client *client)
{
    if (client->peer_waits) {
        bottom_half_schedule(client->wake);
    }
}

const struct net_buffer *net_queue_head(const struct net_client *client)
{
    return g_queue_peek_head((GQueue *)&client->queue);
}

void net_queue_pop(struct net_client *client)
{
    struct net_buffer *buffer = g_queue_pop_head(&client->queue);

    client->queue_bytes -= buffer->size;
    g_free(buffer);
    if (client->queue.length <= BUSY_PACKETS / 2 && client->queue_bytes <= BUSY_BYTES / 2) {
        net_ready(client);
    }
}

/* ---- For people ---- */

void net_check_peers(struct net *net)
{
    for (guint i = 0; i < net->clients->len; i++) {
        const struct net_client *client = net->clients->pdata[i];

        if (!client->peer && client->index == 0) {
            log_warn(net_context(net)->log, "%s %s has no peer", client->is_nic ? "nic" : "netdev",
                     client->name);
        }
    }
}

static void describe(GString *text, const struct net_client *client)
{
    g_string_append_printf(text, "%s: index=%u,type=%s\n", client->name, client->index,
                           client->info ? client->info : "none");
    if (client->filters->len) {
        g_string_append(text, "filters:\n");
    }
    for (guint i = 0; i < client->filters->len; i++) {
        const struct net_filter *filter = client->filters->pdata[i];

        g_string_append_printf(text, "  - %s: type=%s,netdev=%s,status=%s\n", filter->object.name,
                               filter->object.type->name, filter->netdev,
                               filter->on ? "on" : "off");
    }
}

char *net_describe(struct net *net)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < net->clients->len; i++) {
        const struct net_client *client = net->clients->pdata[i];

        /* A netdev with a NIC is shown below it. */
        if (client->is_nic || !client->peer || !client->peer->is_nic) {
            describe(text, client);
            if (client->is_nic && client->peer) {
                g_string_append(text, " \\ ");
                describe(text, client->peer);
            }
        }
    }
    return g_string_free(text, FALSE);
}
