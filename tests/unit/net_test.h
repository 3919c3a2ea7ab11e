/*
 * What tests of networks share: a NIC that keeps what it gets, netdevs by their options, packets.
 */
#ifndef NANDU_TESTS_UNIT_NET_TEST_H
#define NANDU_TESTS_UNIT_NET_TEST_H

#include <string.h>

#include "control.h"
#include "net/net.h"

struct test_nic {
    struct net_client client;
    unsigned n_queued, n_can_send, n_link_changed;
};

static inline void test_nic_queued(struct net_client *client)
{
    ((struct test_nic *)client)->n_queued++;
}

static inline void test_nic_can_send(struct net_client *client)
{
    ((struct test_nic *)client)->n_can_send++;
}

static inline void test_nic_link_changed(struct net_client *client)
{
    ((struct test_nic *)client)->n_link_changed++;
}

static const struct net_client_ops test_nic_ops = {
    .queued = test_nic_queued,
    .can_send = test_nic_can_send,
    .link_changed = test_nic_link_changed,
};

/* On the netdev, if it isn't NULL. */
static inline void test_nic_init(struct test_nic *nic, struct control *c, const char *netdev)
{
    *nic = (struct test_nic){0};
    net_client_init(&nic->client, net_of(c->root), &test_nic_ops, "nic", 0);
    nic->client.is_nic = true;
    if (netdev) {
        net_connect(&nic->client, netdev_client(netdev_find(c->root, netdev), 0));
    }
}

static inline bool test_send(struct net_client *client, const void *data, size_t size,
                             const struct net_offload *offload)
{
    struct iovec iov = {(void *)(uintptr_t)data, size};
    struct net_packet packet = {.iov = &iov, .n_iov = 1, .size = size};

    if (offload) {
        packet.offload = *offload;
    }
    return net_send(client, &packet);
}

static inline bool test_netdev_try(struct control *c, const char *text, GError **error)
{
    struct netdev_context context = {.root = c->root};
    struct qapi_netdev options;
    bool ok = netdev_parse(text, &options, error) && netdev_new(&context, &options, error);

    qapi_clear(&qapi_type_netdev, &options);
    return ok;
}

static inline struct net_client *test_netdev(struct control *c, const char *text)
{
    GError *error = NULL;
    g_autofree char *id = NULL;
    const char *at = strstr(text, "id=");

    test_netdev_try(c, text, &error);
    g_assert_no_error(error);
    id = g_strndup(at + 3, strcspn(at + 3, ","));
    return netdev_client(netdev_find(c->root, id), 0);
}

/* A packet of 60 bytes from one address to another, with this in it. */
static inline void test_packet(uint8_t packet[60], uint8_t to, uint8_t from, uint8_t fill)
{
    memset(packet, fill, 60);
    memcpy(packet, (uint8_t[]){0x52, 0x54, 0, 0, 0, to, 0x52, 0x54, 0, 0, 0, from, 0x88, 0xb5}, 14);
}

static inline void test_run_loop(struct control *c)
{
    while (event_loop_iterate(c->loop, false)) {
    }
}

#endif
