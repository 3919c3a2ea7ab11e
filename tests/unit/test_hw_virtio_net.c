/* virtio-net as a driver sees it, and restored at each step. Its netdev is a port of a hub whose
 * other port is the test's. */
#include "net_test.h"
#include "qapi/error.h"
#include "virtio_test.h"

#include "hw/net/virtio_net.h"

#define V1 (1ull << VIRTIO_F_VERSION_1)

enum {
    RX = 0,
    TX = 1,
    CONTROL = 2,
    RX_DATA = HW_TEST_RAM + VT_DATA,
    TX_DATA = HW_TEST_RAM + VT_DATA + 0x20000,
};

struct card {
    struct vt v;
    struct test_nic peer;
    struct vt_queue *queues[3];
    bool replace; /* the device is replaced now and then */
    unsigned header;
};

static void card_init(struct card *x, const char *properties, bool legacy)
{
    g_autofree char *all = g_strdup_printf("{\"netdev\": \"h0\"%s%s}", properties ? ", " : "",
                                           properties ? properties : "");

    *x = (struct card){0};
    vt_init(&x->v, NULL, NULL, legacy);
    test_netdev(&x->v.t.control, "hubport,id=h0,hubid=0");
    test_netdev(&x->v.t.control, "hubport,id=h1,hubid=0");
    test_nic_init(&x->peer, &x->v.t.control, "h1");
    x->v.type = "virtio-net-device";
    x->v.properties = g_intern_string(all);
    vt_plug(&x->v);
}

static void card_start(struct card *x, uint64_t features)
{
    vt_negotiate(&x->v, features);
    x->header =
        vt_has(&x->v, VIRTIO_F_VERSION_1) || vt_has(&x->v, VIRTIO_NET_F_MRG_RXBUF) ? 12 : 10;
    for (unsigned i = 0; i < (vt_has(&x->v, VIRTIO_NET_F_CTRL_VQ) ? 3 : 2); i++) {
        x->queues[i] = vt_queue(&x->v, i, 16);
    }
    vt_go(&x->v);
    hw_run_loop(&x->v.t);
}

static void card_clear(struct card *x)
{
    vt_unplug(&x->v);
    net_client_clear(&x->peer.client);
    netdev_close_all(x->v.t.control.root);
    vt_clear(&x->v);
}

static void maybe_replace(struct card *x)
{
    if (x->replace) {
        vt_replace(&x->v);
        hw_run_loop(&x->v.t);
    }
}

/* ---- Packets ---- */

static void test_config(void)
{
    struct card x;

    card_init(&x,
              "\"mac\": \"52:54:00:00:00:01\", \"host_mtu\": 1400, \"speed\": 1000, "
              "\"duplex\": \"full\"",
              false);
    g_assert_cmpuint(vt_reg(&x.v, 8), ==, 1);
    card_start(&x, UINT64_MAX);
    g_assert_true(vt_has(&x.v, VIRTIO_NET_F_MAC) && vt_has(&x.v, VIRTIO_NET_F_CSUM));
    g_assert_false(vt_has(&x.v, VIRTIO_NET_F_HOST_TSO4) || vt_has(&x.v, VIRTIO_NET_F_MQ));
    g_assert_cmphex(vt_reg(&x.v, 0x100), ==, 0x00005452);
    g_assert_cmphex(hw_read(&x.v.t, 0x104, 2), ==, 0x0100);
    g_assert_cmphex(hw_read(&x.v.t, 0x106, 2), ==, 1); /* the link is up */
    g_assert_cmpuint(hw_read(&x.v.t, 0x10a, 2), ==, 1400);
    g_assert_cmpuint(hw_read(&x.v.t, 0x10c, 4), ==, 1000);
    g_assert_cmpuint(hw_read(&x.v.t, 0x110, 1), ==, 1);
    g_assert_true(net_set_link(x.peer.client.net, "h0", false, NULL));
    g_assert_cmphex(hw_read(&x.v.t, 0x106, 2), ==, 0);
    g_assert_cmpuint(vt_take_interrupt(&x.v), ==, VIRTIO_ISR_CONFIG);
    g_assert_true(net_set_link(x.peer.client.net, "h0", true, NULL));
    g_assert_true(netdev_delete(x.v.t.control.root, "h0", NULL));
    g_assert_cmphex(hw_read(&x.v.t, 0x106, 2), ==, 0);
    card_clear(&x);
}

static void transmit(struct card *x, const uint8_t *packet, size_t size, bool split)
{
    struct vt_buffer buffers[] = {{TX_DATA, x->header, false},
                                  {TX_DATA + x->header, (uint32_t)size, false}};
    uint16_t id;
    uint32_t written;

    memset(vt_host(&x->v, TX_DATA), 0, x->header);
    memcpy(vt_host(&x->v, TX_DATA + x->header), packet, size);
    if (!split) {
        buffers[0].size += (uint32_t)size;
    }
    vt_add(&x->v, x->queues[TX], buffers, split ? 2 : 1, false);
    vt_set_reg(&x->v, 0x50, TX);
    maybe_replace(x);
    hw_run_loop(&x->v.t);
    g_assert_true(vt_get(&x->v, x->queues[TX], &id, &written));
    g_assert_cmpuint(written, ==, 0);
}

static void offer(struct card *x, unsigned n, uint32_t size)
{
    for (unsigned i = 0; i < n; i++) {
        struct vt_buffer buffer = {RX_DATA + i * 4096, size, true};

        vt_add(&x->v, x->queues[RX], &buffer, 1, false);
    }
    vt_kick(&x->v, x->queues[RX]);
}

static void expect(struct card *x, uint64_t at, const uint8_t *packet, size_t size)
{
    uint16_t id;
    uint32_t written;

    hw_run_loop(&x->v.t);
    g_assert_true(vt_get(&x->v, x->queues[RX], &id, &written));
    g_assert_cmpuint(written, ==, x->header + size);
    g_assert_cmpmem(vt_host(&x->v, at + x->header), size, packet, size);
    if (x->header == 12) {
        g_assert_cmpuint(*vt_word(&x->v, at + 10), ==, 1);
    }
}

static void exchange(struct card *x)
{
    uint8_t packet[60];

    for (uint8_t i = 0; i < 40; i++) {
        test_packet(packet, 2, 1, i);
        transmit(x, packet, sizeof(packet), i & 1);
        g_assert_nonnull(net_queue_head(&x->peer.client));
        g_assert_cmpmem(net_queue_head(&x->peer.client)->data, 60, packet, 60);
        net_queue_pop(&x->peer.client);
        offer(x, 1, 2048);
        maybe_replace(x);
        g_assert_true(test_send(&x->peer.client, packet, sizeof(packet), NULL));
        expect(x, RX_DATA, packet, sizeof(packet));
    }
}

static void test_packets(void)
{
    static const struct {
        const char *properties;
        bool legacy;
        uint64_t features;
    } rows[] = {
        {NULL, false, UINT64_MAX},
        {"\"packed\": true", false, UINT64_MAX},
        {"\"event_idx\": false", false, UINT64_MAX},
        {"\"mrg_rxbuf\": false, \"ctrl_vq\": false", false, UINT64_MAX},
        {NULL, true, UINT64_MAX},
        {NULL, true, 0},
        {NULL, false, V1},
    };

    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(rows); i++) {
        struct card x;

        card_init(&x, rows[i / 2].properties, rows[i / 2].legacy);
        x.replace = i & 1;
        card_start(&x, rows[i / 2].features);
        exchange(&x);
        card_clear(&x);
    }
}

/* Packets wait until there are buffers, in order; the doorbell is asked for then. */
static void test_no_buffers(void)
{
    struct card x;
    uint8_t packet[60];

    card_init(&x, NULL, false);
    card_start(&x, UINT64_MAX);
    for (unsigned round = 0; round < 20; round++) {
        for (uint8_t i = 0; i < 10; i++) {
            test_packet(packet, 1, 2, i);
            g_assert_true(test_send(&x.peer.client, packet, sizeof(packet), NULL));
        }
        hw_run_loop(&x.v.t);
        for (uint8_t i = 0; i < 10; i++) {
            test_packet(packet, 1, 2, i);
            offer(&x, 1, 2048);
            expect(&x, RX_DATA, packet, sizeof(packet));
        }
    }
    card_clear(&x);
}

/* A large packet goes to several buffers, once they are there. */
static void test_merge(void)
{
    static const char *const properties[] = {NULL, "\"packed\": true"};

    for (unsigned n = 0; n < G_N_ELEMENTS(properties); n++) {
        struct card x;
        uint8_t packet[5000];
        uint16_t id;
        uint32_t written;

        card_init(&x, properties[n], false);
        card_start(&x, UINT64_MAX);
        for (unsigned i = 0; i < sizeof(packet); i++) {
            packet[i] = (uint8_t)(i * 7);
        }
        test_packet(packet, 1, 2, 1);
        offer(&x, 2, 2000);
        g_assert_true(test_send(&x.peer.client, packet, sizeof(packet), NULL));
        hw_run_loop(&x.v.t);
        g_assert_false(vt_get(&x.v, x.queues[RX], &id, &written));
        for (unsigned i = 2; i < 4; i++) {
            struct vt_buffer buffer = {RX_DATA + i * 4096, 2000, true};

            vt_add(&x.v, x.queues[RX], &buffer, 1, false);
            g_assert_true(vt_wants_kick(&x.v, x.queues[RX]) || i > 2);
            vt_kick(&x.v, x.queues[RX]);
        }
        g_assert_cmpuint(*vt_word(&x.v, RX_DATA + 10), ==, 3);
        for (unsigned i = 0; i < 3; i++) {
            unsigned size = i == 0 ? 1988 : i == 1 ? 2000 : 5000 - 3988;

            g_assert_true(vt_get(&x.v, x.queues[RX], &id, &written));
            g_assert_cmpuint(written, ==, i ? size : 2000);
            g_assert_cmpmem(vt_host(&x.v, RX_DATA + i * 4096 + (i ? 0 : 12)), size,
                            packet + (i == 0   ? 0
                                      : i == 1 ? 1988
                                               : 3988),
                            size);
        }
        g_assert_false(vt_get(&x.v, x.queues[RX], &id, &written));
        card_clear(&x);
    }
}

/* What a driver asks to have done to its packets. */
static void test_transmit_offload(void)
{
    struct card x;
    uint8_t packet[60];
    struct vt_buffer buffer = {TX_DATA, 12 + 60, false};
    uint8_t *header;
    uint16_t id;
    uint32_t written;

    card_init(&x, NULL, false);
    card_start(&x, UINT64_MAX);
    header = vt_host(&x.v, TX_DATA);
    test_packet(packet, 2, 1, 0);
    memcpy(header + 12, packet, 60);
    for (unsigned i = 0; i < 3; i++) {
        memset(header, 0, 12);
        header[0] = 1;
        header[6] = i == 2 ? 70 : 34; /* beyond its end: lost */
        header[8] = 16;
        header[1] = i == 1; /* a segment's size wasn't negotiated: lost */
        header[4] = 100;
        vt_add(&x.v, x.queues[TX], &buffer, 1, false);
        vt_kick(&x.v, x.queues[TX]);
        g_assert_true(vt_get(&x.v, x.queues[TX], &id, &written));
        if (i == 0) {
            g_assert_nonnull(net_queue_head(&x.peer.client));
            g_assert_cmphex(net_queue_head(&x.peer.client)->data[50], ==, 0xff);
            net_queue_pop(&x.peer.client);
        }
        g_assert_null(net_queue_head(&x.peer.client));
    }
    /* Too short for a header. */
    buffer.size = 5;
    vt_add(&x.v, x.queues[TX], &buffer, 1, false);
    vt_kick(&x.v, x.queues[TX]);
    g_assert_true(vt_reg(&x.v, 0x70) & VIRTIO_NEEDS_RESET);
    card_clear(&x);
}

/* ---- The control queue ---- */

static uint8_t control(struct card *x, uint8_t class, uint8_t command, const void *data,
                       size_t size)
{
    struct vt_buffer buffers[] = {
        {TX_DATA, 2, false}, {TX_DATA + 64, (uint32_t)size, false}, {TX_DATA + 4096, 1, true}};
    uint8_t *header = vt_host(&x->v, TX_DATA), *ack = vt_host(&x->v, TX_DATA + 4096);
    uint16_t id;
    uint32_t written;

    header[0] = class;
    header[1] = command;
    memcpy(vt_host(&x->v, TX_DATA + 64), data, size);
    *ack = 0xee;
    vt_add(&x->v, x->queues[CONTROL], buffers, 3, false);
    vt_kick(&x->v, x->queues[CONTROL]);
    g_assert_true(vt_get(&x->v, x->queues[CONTROL], &id, &written));
    g_assert_cmpuint(written, ==, 1);
    maybe_replace(x);
    return *ack;
}

/* Whether the driver gets a packet to this address. */
static bool gets(struct card *x, const uint8_t *to, uint16_t ethertype, uint16_t tag)
{
    uint8_t packet[60] = {0};
    uint16_t id;
    uint32_t written;
    bool got;

    memcpy(packet, to, NET_MAC_SIZE);
    packet[12] = (uint8_t)(ethertype >> 8);
    packet[13] = (uint8_t)ethertype;
    packet[14] = (uint8_t)(tag >> 8);
    packet[15] = (uint8_t)tag;
    g_assert_true(test_send(&x->peer.client, packet, sizeof(packet), NULL));
    hw_run_loop(&x->v.t);
    got = vt_get(&x->v, x->queues[RX], &id, &written);
    if (got) {
        offer(x, 1, 1500);
    }
    return got;
}

static void check_filter(struct card *x)
{
    static const uint8_t own[] = {0x52, 0x54, 0, 0, 0, 1}, other[] = {0x52, 0x54, 0, 0, 0, 9};
    static const uint8_t group[] = {0x33, 0x33, 0, 0, 0, 1}, all[] = {255, 255, 255, 255, 255, 255};
    static const uint8_t table[] = {1, 0, 0, 0, 0x52, 0x54, 0, 0, 0, 9,
                                    1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 1};
    static const uint8_t empty[8] = {0}, bad[] = {255, 255, 255, 255, 0, 0, 0, 0};
    uint8_t many[8 + 65 * 6] = {65};
    static const uint8_t on[] = {1}, off[] = {0}, vlan[] = {5, 0}, no_vlan[] = {0, 16};

    g_assert_true(gets(x, other, 0x800, 0) && gets(x, group, 0x800, 0));
    g_assert_cmpuint(control(x, 0, 0, off, 1), ==, 0);
    g_assert_true(gets(x, own, 0x800, 0) && gets(x, all, 0x800, 0));
    g_assert_false(gets(x, other, 0x800, 0) || gets(x, group, 0x800, 0));
    g_assert_cmpuint(control(x, 1, 0, table, sizeof(table)), ==, 0);
    g_assert_true(gets(x, other, 0x800, 0) && gets(x, group, 0x800, 0));
    g_assert_cmpuint(control(x, 0, 3, on, 1), ==, 0); /* no multicast */
    g_assert_false(gets(x, group, 0x800, 0));
    g_assert_cmpuint(control(x, 0, 3, off, 1), ==, 0);
    g_assert_cmpuint(control(x, 0, 5, on, 1), ==, 0); /* no broadcast */
    g_assert_false(gets(x, all, 0x800, 0));
    g_assert_cmpuint(control(x, 1, 0, empty, sizeof(empty)), ==, 0);
    g_assert_false(gets(x, other, 0x800, 0));
    g_assert_cmpuint(control(x, 1, 0, bad, sizeof(bad)), ==, 1);
    g_assert_cmpuint(control(x, 1, 0, many, sizeof(many)), ==, 0);
    g_assert_true(gets(x, other, 0x800, 0)); /* more than it can hold: all */
    g_assert_false(gets(x, own, 0x8100, 5));
    g_assert_cmpuint(control(x, 2, 0, vlan, 2), ==, 0);
    g_assert_true(gets(x, own, 0x8100, 5));
    g_assert_cmpuint(control(x, 2, 0, no_vlan, 2), ==, 1);
    g_assert_cmpuint(control(x, 2, 1, vlan, 2), ==, 0);
    g_assert_false(gets(x, own, 0x8100, 5));
    g_assert_cmpuint(control(x, 1, 0, empty, sizeof(empty)), ==, 0);
    g_assert_cmpuint(control(x, 1, 1, other, 6), ==, 0);
    g_assert_true(gets(x, other, 0x800, 0));
    g_assert_false(gets(x, own, 0x800, 0));
    g_assert_cmphex(hw_read(&x->v.t, 0x105, 1), ==, 9);
}

static void test_filter(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct card x;
        static const uint8_t zeroes[8] = {0}, one[8] = {1};

        card_init(&x, "\"mac\": \"52:54:00:00:00:01\"", false);
        card_start(&x, UINT64_MAX);
        x.replace = i;
        offer(&x, 8, 1500);
        check_filter(&x);
        g_assert_cmpuint(control(&x, 9, 0, zeroes, 1), ==, 1);
        g_assert_cmpuint(control(&x, 4, 0, one, 2), ==, 1); /* no pairs of queues */
        g_assert_cmpuint(control(&x, 5, 0, one, 8), ==, 1); /* no such offload */
        g_assert_cmpuint(control(&x, 5, 0, zeroes, 8), ==, 0);
        g_assert_cmpuint(control(&x, 3, 0, zeroes, 1), ==,
                         i ? 0 : 1); /* announced: restored only */
        /* A reset brings its own address back, and takes everything. */
        vt_set_reg(&x.v, 0x70, 0);
        g_assert_cmphex(hw_read(&x.v.t, 0x105, 1), ==, 1);
        x.replace = false;
        card_start(&x, UINT64_MAX);
        offer(&x, 2, 1500);
        g_assert_true(gets(&x, (uint8_t[]){0x52, 0x54, 0, 0, 0, 0x77}, 0x800, 0));
        card_clear(&x);
    }
}

/* What waited for the driver before it was reset isn't for the next one. */
static void test_reset(void)
{
    struct card x;
    uint8_t packet[60];
    uint16_t id;
    uint32_t written;

    card_init(&x, NULL, false);
    card_start(&x, UINT64_MAX);
    test_packet(packet, 1, 2, 1);
    g_assert_true(test_send(&x.peer.client, packet, sizeof(packet), NULL));
    hw_run_loop(&x.v.t);
    vt_set_reg(&x.v, 0x70, 0);
    hw_run_loop(&x.v.t);
    card_start(&x, UINT64_MAX);
    offer(&x, 1, 1500);
    g_assert_false(vt_get(&x.v, x.queues[RX], &id, &written));
    g_assert_true(test_send(&x.peer.client, packet, sizeof(packet), NULL));
    expect(&x, RX_DATA, packet, sizeof(packet));
    card_clear(&x);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hw/virtio-net/config", test_config);
    g_test_add_func("/hw/virtio-net/packets", test_packets);
    g_test_add_func("/hw/virtio-net/no-buffers", test_no_buffers);
    g_test_add_func("/hw/virtio-net/merge", test_merge);
    g_test_add_func("/hw/virtio-net/transmit-offload", test_transmit_offload);
    g_test_add_func("/hw/virtio-net/filter", test_filter);
    g_test_add_func("/hw/virtio-net/reset", test_reset);
    return g_test_run();
}
