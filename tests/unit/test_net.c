/* Networks: queues and links, filters, options; the user network with libslirp itself. */
#include "net_test.h"

#include <arpa/inet.h>

#include "qapi/json.h"

static void test_macs(void)
{
    struct control c;
    struct net *net;
    uint8_t mac[NET_MAC_SIZE];
    g_autofree char *text = NULL;
    static const char *const wrong[] = {"",
                                        "1",
                                        "52:54:00:12:34",
                                        "52:54:00:12:34:56:78",
                                        "52:54:00:12:34:5g",
                                        "525400123456",
                                        "52::54:0:0:0:0"};

    control_init(&c);
    net = net_of(c.root);
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_assert_false(net_parse_mac(wrong[i], mac));
    }
    g_assert_true(net_parse_mac("52:54:0:12-34:56", mac));
    text = net_format_mac(mac);
    g_assert_cmpstr(text, ==, "52:54:00:12:34:56");
    net_use_mac(net, (uint8_t[]){0x52, 0x54, 0, 0x12, 0x34, 0x57});
    net_new_mac(net, mac);
    g_assert_cmphex(mac[5], ==, 0x56);
    net_new_mac(net, mac);
    g_assert_cmphex(mac[5], ==, 0x58);
    control_clear(&c);
}

/* Against a sum that is computed in the obvious way. */
static void test_checksum(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);

    for (unsigned n = 0; n < 2000; n++) {
        uint8_t data[300];
        size_t size = (size_t)g_rand_int_range(rand, 20, sizeof(data));
        struct net_offload offload = {
            .flags = NET_NEEDS_CSUM,
            .csum_start = (uint16_t)g_rand_int_range(rand, 0, (gint32)size - 4),
        };
        uint32_t sum = 0;

        for (size_t i = 0; i < size; i++) {
            data[i] = (uint8_t)g_rand_int(rand);
        }
        offload.csum_offset =
            (uint16_t)g_rand_int_range(rand, 0, (gint32)size - offload.csum_start - 2) & ~1u;
        for (size_t i = offload.csum_start; i < size; i++) {
            sum += (uint32_t)data[i] << ((i - offload.csum_start) & 1 ? 0 : 8);
        }
        sum = (sum & 0xffff) + (sum >> 16);
        sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
        g_assert_true(net_complete_checksum(data, size, &offload));
        g_assert_cmphex(data[offload.csum_start + offload.csum_offset] << 8 |
                            data[offload.csum_start + offload.csum_offset + 1],
                        ==, sum ? sum : 0xffff);
    }
    g_assert_false(
        net_complete_checksum((uint8_t[8]){0}, 8, &(struct net_offload){1, .csum_start = 8}));
    g_assert_false(net_complete_checksum(
        (uint8_t[8]){0}, 8, &(struct net_offload){1, .csum_start = 2, .csum_offset = 5}));
    g_assert_false(net_complete_checksum(
        (uint8_t[8]){0}, 8, &(struct net_offload){1, .csum_start = 0xffff, .csum_offset = 0xffff}));
}

/* A sender waits while much waits for the NIC, and hears when it is less. */
static void test_back_pressure(void)
{
    struct control c;
    struct test_nic a, b;
    uint8_t packet[60];
    unsigned sent = 0;

    control_init(&c);
    test_nic_init(&a, &c, NULL);
    test_nic_init(&b, &c, NULL);
    test_packet(packet, 1, 2, 0);
    g_assert_true(test_send(&a.client, packet, sizeof(packet), NULL)); /* nobody is there */
    net_connect(&a.client, &b.client);
    while (test_send(&a.client, packet, sizeof(packet), NULL)) {
        g_assert_cmpuint(++sent, <, 100000);
    }
    g_assert_cmpuint(b.n_queued, ==, sent);
    for (unsigned i = 0; i < sent; i++) {
        test_run_loop(&c);
        g_assert_cmpuint(a.n_can_send, ==, i > sent / 2 ? 1 : a.n_can_send);
        g_assert_cmpmem(net_queue_head(&b.client)->data, net_queue_head(&b.client)->size, packet,
                        sizeof(packet));
        net_queue_pop(&b.client);
    }
    test_run_loop(&c);
    g_assert_cmpuint(a.n_can_send, ==, 1);
    g_assert_null(net_queue_head(&b.client));
    /* A peer that goes takes what waits along. */
    g_assert_true(test_send(&a.client, packet, sizeof(packet), NULL));
    net_client_clear(&b.client);
    g_assert_true(test_send(&a.client, packet, sizeof(packet), NULL));
    net_client_clear(&a.client);
    test_run_loop(&c);
    control_clear(&c);
}

static void test_offloads(void)
{
    struct control c;
    struct test_nic a, b;
    uint8_t packet[60] = {0};
    struct net_offload csum = {.flags = NET_NEEDS_CSUM, .csum_start = 20, .csum_offset = 4};
    struct net_offload tso = csum;
    struct iovec iov = {packet, sizeof(packet)};
    struct net_packet big = {.iov = &iov, .n_iov = 1, .size = NET_MAX_PACKET + 1};

    control_init(&c);
    test_nic_init(&a, &c, NULL);
    test_nic_init(&b, &c, NULL);
    net_connect(&a.client, &b.client);
    tso.gso_type = NET_GSO_TCPV4;
    tso.gso_size = 10;
    /* Checksums are computed for who doesn't; segments aren't made. */
    g_assert_true(test_send(&a.client, packet, sizeof(packet), &csum));
    g_assert_cmpuint(net_queue_head(&b.client)->offload.flags, ==, 0);
    g_assert_cmphex(net_queue_head(&b.client)->data[24], ==, 0xff);
    net_queue_pop(&b.client);
    g_assert_true(test_send(&a.client, packet, sizeof(packet), &tso));
    g_assert_null(net_queue_head(&b.client));
    net_set_takes(&b.client, NET_TAKES_CSUM | NET_TAKES_TSO4);
    g_assert_cmpuint(a.n_link_changed, ==, 1);
    g_assert_true(test_send(&a.client, packet, sizeof(packet), &tso));
    g_assert_cmpuint(net_queue_head(&b.client)->offload.gso_size, ==, 10);
    g_assert_cmphex(net_queue_head(&b.client)->data[24], ==, 0);
    net_queue_pop(&b.client);
    tso.gso_type |= NET_GSO_ECN;
    g_assert_true(test_send(&a.client, packet, sizeof(packet), &tso));
    tso.gso_type = 0x7f;
    g_assert_true(test_send(&a.client, packet, sizeof(packet), &tso));
    g_assert_true(net_send(&a.client, &big));
    g_assert_null(net_queue_head(&b.client));
    net_client_clear(&a.client);
    net_client_clear(&b.client);
    control_clear(&c);
}

/* A TCP segment of IPv4 with so many bytes of data. */
static size_t make_segment(uint8_t *p, uint32_t sequence, size_t size, uint8_t flags)
{
    static const uint8_t headers[54] = {2,  0,    0, 0, 0,  1, 2, 0,    0, 0,    0,    2, 8,
                                        0,  0x45, 0, 0, 0,  0, 0, 0x40, 0, 64,   6,    0, 0,
                                        10, 0,    2, 2, 10, 0, 2, 15,   0, 80,   0x80, 0, 0,
                                        0,  0,    0, 0, 0,  0, 9, 0x50, 0, 0x20, 0};

    memcpy(p, headers, sizeof(headers));
    p[16] = (uint8_t)((40 + size) >> 8);
    p[17] = (uint8_t)(40 + size);
    for (unsigned i = 0; i < 4; i++) {
        p[38 + i] = (uint8_t)(sequence >> (24 - 8 * i));
    }
    p[47] = flags;
    for (size_t i = 0; i < size; i++) {
        p[54 + i] = (uint8_t)((sequence + i) * 7);
    }
    return 54 + size;
}

/* Segments that follow each other arrive as one; anything else stays as it is. */
static void test_coalesce(void)
{
    static const struct {
        uint32_t sequence;
        size_t size;
        uint8_t flags;
        bool joins;
    } rows[] = {
        {1000, 1460, 0x10, false}, {2460, 1460, 0x10, true}, {3920, 1460, 0x10, true},
        {5380, 100, 0x10, true},   {5480, 100, 0x10, false}, {5580, 90, 0x18, true},
        {5670, 10, 0x10, false},   {6000, 10, 0x10, false},  {6010, 20, 0x10, false},
        {6030, 20, 0x12, false},   {6050, 0, 0x10, false},   {6050, 20, 0x11, false},
    };
    struct control c;
    struct test_nic a, b;
    unsigned waiting = 0;

    control_init(&c);
    test_nic_init(&a, &c, NULL);
    test_nic_init(&b, &c, NULL);
    net_connect(&a.client, &b.client);
    net_set_takes(&b.client, NET_TAKES_CSUM | NET_TAKES_TSO4);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        uint8_t data[1514];
        struct iovec iov = {data,
                            make_segment(data, rows[i].sequence, rows[i].size, rows[i].flags)};
        struct net_packet packet = {
            .iov = &iov, .n_iov = 1, .size = iov.iov_len, .offload.flags = NET_CSUM_VALID};

        net_send_now(&a.client, &packet);
        waiting += !rows[i].joins;
        g_assert_cmpuint(b.client.queue.length, ==, waiting);
    }
    {
        const struct net_buffer *head = net_queue_head(&b.client);
        struct net_offload ip = {.csum_start = 14, .csum_offset = 10};
        uint8_t expected[54], header[34];

        make_segment(expected, 1000, 0, 0x10);
        g_assert_cmpuint(head->size, ==, 54 + 3 * 1460 + 100);
        g_assert_cmpuint(head->offload.gso_size, ==, 1460);
        g_assert_cmpuint(head->offload.gso_type, ==, NET_GSO_TCPV4);
        g_assert_cmpuint(head->offload.flags, ==, NET_NEEDS_CSUM);
        g_assert_cmpuint(head->data[16] << 8 | head->data[17], ==, head->size - 14);
        for (size_t i = 54; i < head->size; i++) {
            g_assert_cmphex(head->data[i], ==, (uint8_t)((1000 + i - 54) * 7));
        }
        /* The header's sum comes out right. */
        memcpy(header, head->data, sizeof(header));
        g_assert_true(net_complete_checksum(header, sizeof(header), &ip));
        g_assert_cmphex(header[24] << 8 | header[25], ==, 0xffff);
    }
    net_client_clear(&a.client);
    net_client_clear(&b.client);
    control_clear(&c);
}

static void test_links(void)
{
    struct control c;
    struct test_nic nic;
    struct net_client *port;
    GError *error = NULL;

    control_init(&c);
    port = test_netdev(&c, "hubport,id=h,hubid=1");
    test_nic_init(&nic, &c, "h");
    g_assert_true(net_link_is_up(&nic.client));
    g_assert_true(net_set_link(net_of(c.root), "h", false, &error));
    g_assert_true(port->link_down && nic.client.link_down);
    g_assert_cmpuint(nic.n_link_changed, ==, 1);
    g_assert_true(net_set_link(net_of(c.root), "nic", true, &error));
    g_assert_false(net_link_is_up(&nic.client));
    g_assert_true(net_set_link(net_of(c.root), "h", true, &error));
    g_assert_true(net_link_is_up(&nic.client));
    g_assert_false(net_set_link(net_of(c.root), "nobody", true, &error));
    g_clear_error(&error);
    g_assert_true(netdev_delete(c.root, "h", &error));
    g_assert_cmpuint(nic.n_link_changed, ==, 3);
    g_assert_false(net_link_is_up(&nic.client));
    net_client_clear(&nic.client);
    control_clear(&c);
}

static void test_hub(void)
{
    struct control c;
    struct test_nic nics[3];
    uint8_t packet[60];
    static const char *const ports[] = {"hubport,id=h0,hubid=1", "hubport,id=h1,hubid=1",
                                        "hubport,id=h2,hubid=2"};

    control_init(&c);
    test_packet(packet, 1, 2, 9);
    for (unsigned i = 0; i < 3; i++) {
        g_autofree char *id = g_strdup_printf("h%u", i);

        test_netdev(&c, ports[i]);
        test_nic_init(&nics[i], &c, id);
    }
    g_assert_true(test_send(&nics[0].client, packet, sizeof(packet), NULL));
    g_assert_null(net_queue_head(&nics[0].client));
    g_assert_cmpmem(net_queue_head(&nics[1].client)->data, 60, packet, 60);
    g_assert_null(net_queue_head(&nics[2].client));
    for (unsigned i = 0; i < 3; i++) {
        net_client_clear(&nics[i].client);
    }
    netdev_close_all(c.root);
    control_clear(&c);
}

/* ---- filter-dump ---- */

static void test_dump(void)
{
    struct control c;
    struct test_nic nics[2];
    uint8_t packet[60];
    g_autofree char *data = NULL;
    size_t size;
    GError *error = NULL;
    g_autofree char *path = NULL;

    control_init(&c);
    path = g_build_filename(c.dir, "dump", NULL);
    test_netdev(&c, "hubport,id=h0,hubid=1");
    test_netdev(&c, "hubport,id=h1,hubid=1");
    test_nic_init(&nics[0], &c, "h0");
    test_nic_init(&nics[1], &c, "h1");
    control_add(&c,
                "{\"qom-type\": \"filter-dump\", \"id\": \"f\", \"netdev\": \"h0\", "
                "\"file\": \"%s\", \"maxlen\": 20, \"queue\": \"rx\"}",
                path);
    control_add_fails(&c, "*not found at netdev*",
                      "{\"qom-type\": \"filter-dump\", \"id\": \"g\", \"netdev\": \"h0\", "
                      "\"file\": \"%s\", \"position\": \"id=nobody\"}",
                      path);
    control_add_fails(&c, "*maxlen*",
                      "{\"qom-type\": \"filter-dump\", \"id\": \"g\", \"netdev\": \"h0\", "
                      "\"file\": \"%s\", \"maxlen\": 0}",
                      path);
    test_packet(packet, 1, 2, 3);
    g_assert_true(test_send(&nics[0].client, packet, sizeof(packet), NULL));
    g_assert_true(test_send(&nics[1].client, packet, sizeof(packet), NULL));
    /* Only what h0 gets. */
    g_assert_true(g_file_get_contents(path, &data, &size, NULL));
    g_assert_cmpuint(size, ==, 24 + 16 + 20);
    g_assert_cmpmem(data + 24 + 8, 8, ((uint32_t[]){20, 60}), 8);
    g_assert_cmpmem(data + 24 + 16, 20, packet, 20);
    g_assert_true(object_set_str(object_child(object_container(c.root, "/objects"), "f"), "status",
                                 "off", &error));
    g_assert_true(test_send(&nics[0].client, packet, sizeof(packet), NULL));
    g_clear_pointer(&data, g_free);
    g_assert_true(g_file_get_contents(path, &data, &size, NULL));
    g_assert_cmpuint(size, ==, 24 + 16 + 20);
    g_assert_false(object_set_str(object_child(object_container(c.root, "/objects"), "f"), "status",
                                  "maybe", &error));
    g_clear_error(&error);
    /* The netdev may go first. */
    g_assert_true(netdev_delete(c.root, "h0", &error));
    g_assert_true(object_delete_user(c.root, "f", &error));
    net_client_clear(&nics[0].client);
    net_client_clear(&nics[1].client);
    netdev_close_all(c.root);
    control_clear(&c);
}

/* ---- Options ---- */

static void test_options(void)
{
    struct control c;
    struct qapi_netdev netdev;
    GError *error = NULL;

    control_init(&c);
    g_assert_true(netdev_parse("user,id=a,hostfwd=tcp::1-:2,restrict,hostfwd=udp:,,:3-:4,noipv6,"
                               "ipv6-net=fec0:1::/48",
                               &netdev, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(netdev.u.user.hostfwd.n, ==, 2);
    g_assert_cmpstr(netdev.u.user.hostfwd.v[1].str, ==, "udp:,:3-:4");
    g_assert_true(netdev.u.user.restrict_ && netdev.u.user.has_ipv6 && !netdev.u.user.ipv6);
    g_assert_cmpstr(netdev.u.user.ipv6_prefix, ==, "fec0:1::");
    g_assert_cmpint(netdev.u.user.ipv6_prefixlen, ==, 48);
    qapi_clear(&qapi_type_netdev, &netdev);
    g_assert_true(
        netdev_parse("{\"type\": \"hubport\", \"id\": \"h\", \"hubid\": 3}", &netdev, &error));
    g_assert_cmpint(netdev.u.hubport.hubid, ==, 3);
    qapi_clear(&qapi_type_netdev, &netdev);
    g_assert_false(netdev_parse("user,id=a,foo", &netdev, NULL));
    g_assert_false(netdev_parse("", &netdev, NULL));
    g_assert_false(netdev_parse("{", &netdev, NULL));
    g_assert_false(test_netdev_try(&c, "user,id=a,net=1.2.3.4/3", &error));
    g_clear_error(&error);
    g_assert_null(netdev_find(c.root, "a"));
    control_clear(&c);
}

/* ---- The user network ---- */

struct arp {
    uint8_t to[6], from[6];
    uint16_t ethertype, hardware, protocol;
    uint8_t sizes[2];
    uint16_t operation;
    uint8_t sender[6], sender_ip[4], target[6], target_ip[4];
} __attribute__((packed));

static void test_user_arp(void)
{
    static const struct {
        const char *option;
        uint8_t gateway[4];
    } rows[] = {
        {"user,id=u", {10, 0, 2, 2}},
        {"user,id=u,net=192.168.7.0/24,host=192.168.7.1", {192, 168, 7, 1}},
        {"user,id=u,net=172.20.0.0", {172, 16, 2, 2}},
        {"user,id=u,ip=10.5.0.0,ipv6=off", {10, 5, 0, 2}},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct control c;
        struct test_nic nic;
        struct arp arp = {.to = {255, 255, 255, 255, 255, 255},
                          .from = {0x52, 0x54, 0, 0, 0, 1},
                          .ethertype = htons(0x0806),
                          .hardware = htons(1),
                          .protocol = htons(0x0800),
                          .sizes = {6, 4},
                          .operation = htons(1),
                          .sender = {0x52, 0x54, 0, 0, 0, 1}};
        const struct arp *reply;

        control_init(&c);
        clocks_set_manual(c.context.clocks);
        test_netdev(&c, rows[i].option);
        test_nic_init(&nic, &c, "u");
        memcpy(arp.target_ip, rows[i].gateway, 4);
        memcpy(arp.sender_ip, rows[i].gateway, 3);
        arp.sender_ip[3] = 99;
        g_assert_true(test_send(&nic.client, &arp, sizeof(arp), NULL));
        test_run_loop(&c);
        g_assert_nonnull(net_queue_head(&nic.client));
        reply = (const struct arp *)net_queue_head(&nic.client)->data;
        g_assert_cmpuint(ntohs(reply->operation), ==, 2);
        g_assert_cmpmem(reply->sender_ip, 4, rows[i].gateway, 4);
        g_assert_cmpuint(net_queue_head(&nic.client)->offload.flags, ==, NET_CSUM_VALID);
        clocks_step(c.context.clocks, 10000000000);
        test_run_loop(&c);
        net_client_clear(&nic.client);
        netdev_close_all(c.root);
        test_run_loop(&c);
        control_clear(&c);
    }
}

/* Packets of nonsense, also with one more netdev on the hub. */
static void test_user_nonsense(void)
{
    struct control c;
    struct test_nic nic;
    g_autoptr(GRand) rand = g_rand_new_with_seed(3);

    control_init(&c);
    clocks_set_manual(c.context.clocks);
    test_netdev(&c, "user,id=u");
    test_netdev(&c, "user,id=v");
    test_netdev(&c, "hubport,id=h0,hubid=0,netdev=u");
    test_netdev(&c, "hubport,id=h1,hubid=0,netdev=v");
    test_netdev(&c, "hubport,id=h2,hubid=0");
    test_nic_init(&nic, &c, "h2");
    for (unsigned n = 0; n < 3000; n++) {
        uint8_t data[400];
        size_t size = (size_t)g_rand_int_range(rand, 14, sizeof(data));

        for (size_t i = 0; i < size; i++) {
            data[i] = (uint8_t)g_rand_int(rand);
        }
        memcpy(data, (uint8_t[]){0x52, 0x55, 10, 0, 2, 2}, 6);
        memcpy(data + 12, (uint8_t[]){0x08, n % 3 ? 0 : 6, 0x45, 0}, 4);
        data[23] = n & 1 ? 6 : 17;
        g_assert_true(test_send(&nic.client, data, size, NULL));
        net_queue_clear(&nic.client);
        if (n % 100 == 0) {
            clocks_step(c.context.clocks, 1000000);
            test_run_loop(&c);
        }
    }
    test_run_loop(&c);
    net_client_clear(&nic.client);
    netdev_close_all(c.root);
    test_run_loop(&c);
    control_clear(&c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/macs", test_macs);
    g_test_add_func("/net/checksum", test_checksum);
    g_test_add_func("/net/back-pressure", test_back_pressure);
    g_test_add_func("/net/offloads", test_offloads);
    g_test_add_func("/net/coalesce", test_coalesce);
    g_test_add_func("/net/links", test_links);
    g_test_add_func("/net/hub", test_hub);
    g_test_add_func("/net/dump", test_dump);
    g_test_add_func("/net/options", test_options);
    g_test_add_func("/net/user/arp", test_user_arp);
    g_test_add_func("/net/user/nonsense", test_user_nonsense);
    return g_test_run();
}
