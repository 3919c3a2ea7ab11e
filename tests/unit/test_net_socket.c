/* netdevs socket, stream and dgram: pairs of them in one process, and peers that misbehave. */
#include "net_test.h"

#include <arpa/inet.h>
#include <sys/un.h>

enum { SIZE = 60, MANY = 2000 };

static void spin(struct control *c, bool (*done)(void *opaque), void *opaque)
{
    while (!done(opaque)) {
        event_loop_iterate(c->loop, true);
    }
}

static bool has_packet(void *opaque)
{
    return net_queue_head(&((struct test_nic *)opaque)->client) != NULL;
}

static bool is_connected(void *opaque)
{
    struct net_client *client = opaque;

    return client->info &&
           (strstr(client->info, "socket: connect") || strstr(client->info, "stream,tcp:") ||
            strstr(client->info, "stream,unix:"));
}

static bool is_not_connected(void *opaque)
{
    return !is_connected(opaque);
}

static uint16_t free_port(int type)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(in);
    int fd = socket(AF_INET, type, 0);

    g_assert_cmpint(bind(fd, (struct sockaddr *)&in, sizeof(in)), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&in, &size), ==, 0);
    close(fd);
    return ntohs(in.sin_port);
}

/* Both directions; several sizes; then many at once, none of which is lost where the link keeps
 * order and waits. */
static void check_pair(struct control *c, struct net_client *left, struct net_client *right,
                       bool is_reliable)
{
    static const size_t sizes[] = {14, SIZE, 1514, 60000};
    g_autofree uint8_t *data = g_malloc(NET_MAX_PACKET);
    struct test_nic a, b;
    unsigned sent = 0, got = 0;

    test_nic_init(&a, c, NULL);
    test_nic_init(&b, c, NULL);
    net_connect(&a.client, left);
    net_connect(&b.client, right);
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        memset(data, (int)i + 1, sizes[i]);
        g_assert_true(test_send(&a.client, data, sizes[i], NULL));
        spin(c, has_packet, &b);
        g_assert_cmpmem(net_queue_head(&b.client)->data, net_queue_head(&b.client)->size, data,
                        sizes[i]);
        net_queue_pop(&b.client);
        g_assert_true(test_send(&b.client, data, sizes[i], NULL));
        spin(c, has_packet, &a);
        g_assert_cmpuint(net_queue_head(&a.client)->size, ==, sizes[i]);
        net_queue_pop(&a.client);
    }
    while (is_reliable && got < MANY) {
        memset(data, 0, 1500);
        for (;;) {
            memcpy(data, &sent, sizeof(sent));
            if (sent == MANY || !test_send(&a.client, data, 1500, NULL)) {
                break;
            }
            sent++;
        }
        event_loop_iterate(c->loop, false);
        /* Slowly: the receiver's queue, too, gets full. */
        for (unsigned i = 0; i < 10 && has_packet(&b); i++) {
            g_assert_cmpmem(net_queue_head(&b.client)->data, sizeof(got), &got, sizeof(got));
            net_queue_pop(&b.client);
            got++;
        }
    }
    net_client_clear(&a.client);
    net_client_clear(&b.client);
}

static void test_stream(void)
{
    for (unsigned kind = 0; kind < 3; kind++) {
        struct control c;
        g_autofree char *server = NULL, *client = NULL;
        struct net_client *left, *right;
        uint16_t port = free_port(SOCK_STREAM);

        control_init(&c);
        if (kind == 0) {
            server = g_strdup_printf("socket,id=a,listen=127.0.0.1:%u", port);
            client = g_strdup_printf("socket,id=b,connect=127.0.0.1:%u", port);
        } else if (kind == 1) {
            server = g_strdup_printf("stream,id=a,server=on,addr.type=inet,addr.host=127.0.0.1,"
                                     "addr.port=%u", port);
            client = g_strdup_printf("stream,id=b,addr.type=inet,addr.host=127.0.0.1,addr.port=%u",
                                     port);
        } else {
            server = g_strdup_printf("stream,id=a,server,addr.type=unix,addr.path=%s/s", c.dir);
            client = g_strdup_printf("stream,id=b,addr.type=unix,addr.path=%s/s", c.dir);
        }
        left = test_netdev(&c, server);
        right = test_netdev(&c, client);
        spin(&c, is_connected, left);
        spin(&c, is_connected, right);
        check_pair(&c, left, right, true);
        netdev_close_all(c.root);
        test_run_loop(&c);
        control_clear(&c);
    }
}

static void test_dgram(void)
{
    for (unsigned kind = 0; kind < 3; kind++) {
        struct control c;
        struct net_client *clients[2];
        uint16_t ports[2] = {free_port(SOCK_DGRAM), free_port(SOCK_DGRAM)};

        control_init(&c);
        for (unsigned i = 0; i < 2; i++) {
            g_autofree char *text = NULL;

            if (kind == 0) {
                text = g_strdup_printf("socket,id=n%u,udp=127.0.0.1:%u,localaddr=127.0.0.1:%u", i,
                                       ports[!i], ports[i]);
            } else if (kind == 1) {
                text = g_strdup_printf(
                    "dgram,id=n%u,local.type=inet,local.host=127.0.0.1,local.port=%u,"
                    "remote.type=inet,remote.host=127.0.0.1,remote.port=%u",
                    i, ports[i], ports[!i]);
            } else {
                text = g_strdup_printf("dgram,id=n%u,local.type=unix,local.path=%s/%u,"
                                       "remote.type=unix,remote.path=%s/%u",
                                       i, c.dir, i, c.dir, !i);
            }
            clients[i] = test_netdev(&c, text);
        }
        check_pair(&c, clients[0], clients[1], false);
        netdev_close_all(c.root);
        test_run_loop(&c);
        control_clear(&c);
    }
}

/* All in the group get it, also who sent it. */
static void test_group(void)
{
    static const char *const texts[] = {
        "socket,id=n0,mcast=239.1.2.3:%u,localaddr=127.0.0.1",
        "dgram,id=n1,remote.type=inet,remote.host=239.1.2.3,remote.port=%u,local.type=inet,"
        "local.host=127.0.0.1,local.port=0"};
    uint16_t port = free_port(SOCK_DGRAM);
    struct test_nic nics[2];
    uint8_t packet[SIZE];
    struct control c;

    control_init(&c);
    for (unsigned i = 0; i < 2; i++) {
        g_auto(GStrv) parts = g_strsplit(texts[i], "%u", 2);
        g_autofree char *text = g_strdup_printf("%s%u%s", parts[0], port, parts[1]);

        test_nic_init(&nics[i], &c, NULL);
        net_connect(&nics[i].client, test_netdev(&c, text));
    }
    test_packet(packet, 1, 2, 3);
    g_assert_true(test_send(&nics[0].client, packet, SIZE, NULL));
    spin(&c, has_packet, &nics[1]);
    spin(&c, has_packet, &nics[0]);
    g_assert_cmpmem(net_queue_head(&nics[1].client)->data, SIZE, packet, SIZE);
    for (unsigned i = 0; i < 2; i++) {
        net_client_clear(&nics[i].client);
    }
    netdev_close_all(c.root);
    test_run_loop(&c);
    control_clear(&c);
}

static int connect_unix(struct control *c)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", c->dir);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    return fd;
}

/* A peer that sends what is no packet is dropped, and the next one is served; packets come in
 * whatever pieces. */
static void test_hostile_peer(void)
{
    static const uint8_t wrong[] = {0xff, 0xff, 0xff, 0xff, 1, 2, 3};
    uint8_t right[4 + SIZE] = {0, 0, 0, SIZE};
    g_autofree char *text = NULL;
    struct net_client *client;
    struct test_nic nic;
    struct control c;
    char byte;
    int fd;

    control_init(&c);
    text = g_strdup_printf("stream,id=a,server=on,addr.type=unix,addr.path=%s/s", c.dir);
    client = test_netdev(&c, text);
    test_nic_init(&nic, &c, "a");
    fd = connect_unix(&c);
    g_assert_cmpint(write(fd, wrong, sizeof(wrong)), ==, sizeof(wrong));
    spin(&c, is_connected, client);
    spin(&c, is_not_connected, client);
    g_assert_cmpint(read(fd, &byte, 1), <=, 0);
    close(fd);
    g_assert_cmpstr(client->info, ==, "stream,listening");

    fd = connect_unix(&c);
    spin(&c, is_connected, client);
    test_packet(right + 4, 1, 2, 9);
    g_assert_cmpint(write(fd, (uint8_t[4]){0}, 4), ==, 4);          /* nothing at all */
    for (size_t i = 0; i < sizeof(right); i++) {
        g_assert_false(has_packet(&nic));
        g_assert_cmpint(write(fd, right + i, 1), ==, 1);
        test_run_loop(&c);
    }
    spin(&c, has_packet, &nic);
    g_assert_cmpmem(net_queue_head(&nic.client)->data, SIZE, right + 4, SIZE);
    close(fd);
    spin(&c, is_not_connected, client);
    net_client_clear(&nic.client);
    netdev_close_all(c.root);
    test_run_loop(&c);
    control_clear(&c);
}

/* A client that is told to comes again; what is sent meanwhile is lost. */
static void test_reconnect(void)
{
    g_autofree char *server = NULL, *text = NULL;
    struct net_client *client;
    uint8_t packet[SIZE] = {0};
    struct test_nic nic;
    struct control c;

    control_init(&c);
    server = g_strdup_printf("stream,id=a,server=on,addr.type=unix,addr.path=%s/s", c.dir);
    text = g_strdup_printf("stream,id=b,addr.type=unix,addr.path=%s/s,reconnect-ms=10", c.dir);
    client = test_netdev(&c, text);
    test_nic_init(&nic, &c, "b");
    for (unsigned i = 0; i < 3; i++) {
        g_assert_true(test_send(&nic.client, packet, SIZE, NULL));
        test_netdev(&c, server);
        spin(&c, is_connected, client);
        g_assert_true(netdev_delete(c.root, "a", NULL));
        spin(&c, is_not_connected, client);
    }
    net_client_clear(&nic.client);
    netdev_close_all(c.root);
    test_run_loop(&c);
    control_clear(&c);
}

static void test_descriptors(void)
{
    static const struct {
        int type;
        const char *text;
    } rows[] = {
        {SOCK_STREAM, "socket,id=%c,fd=%d"},
        {SOCK_STREAM, "stream,id=%c,addr.type=fd,addr.str=%d"},
        {SOCK_DGRAM, "socket,id=%c,fd=%d"},
        {SOCK_DGRAM, "dgram,id=%c,local.type=fd,local.str=%d"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(GStrv) parts = g_strsplit_set(rows[i].text, "%", -1);
        struct net_client *clients[2];
        struct control c;
        int fds[2];

        control_init(&c);
        g_assert_cmpint(socketpair(AF_UNIX, rows[i].type, 0, fds), ==, 0);
        for (unsigned n = 0; n < 2; n++) {
            g_autofree char *text = g_strdup_printf("%s%c%s%d", parts[0], 'a' + n, parts[1] + 1,
                                                    fds[n]);

            clients[n] = test_netdev(&c, text);
        }
        check_pair(&c, clients[0], clients[1], rows[i].type == SOCK_STREAM);
        netdev_close_all(c.root);
        test_run_loop(&c);
        control_clear(&c);
    }
}

static void test_bad_options(void)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"socket,id=a", "exactly one of *"},
        {"socket,id=a,listen=:1,connect=:2", "exactly one of *"},
        {"socket,id=a,listen=:1,localaddr=1.1.1.1", "localaddr= is only valid with*"},
        {"socket,id=a,udp=127.0.0.1:3", "localaddr= is mandatory with udp="},
        {"socket,id=a,mcast=1.2.3.4:5", "*1.2.3.4 does not contain a multicast address"},
        {"socket,id=a,mcast=239.1.2.3:x", "*invalid*"},
        {"socket,id=a,mcast=239.1.2.3:5,localaddr=y", "*not a valid*"},
        {"socket,id=a,listen=xx", "host address 'xx' doesn't contain ':'*"},
        {"socket,id=a,fd=0x", "*'0x'*"},
        {"stream,id=a", "*addr*"},
        {"stream,id=a,addr=1", "*addr*"},
        {"stream,id=a,addr.type=unix,addr.path=/x,server=on,reconnect-ms=1", "*server mode*"},
        {"stream,id=a,addr.type=unix,addr.path=/x,reconnect=1,reconnect-ms=1", "*exclusive*"},
        {"stream,id=a,addr.type=unix,addr.path=/x,reconnect-ms=-1", "reconnect-ms must not*"},
        {"stream,id=a,addr.type=unix,addr.path=/nonexistent/x,server=on", "*/nonexistent/x*"},
        {"dgram,id=a", "dgram requires local= parameter"},
        {"dgram,id=a,local.type=inet,local.host=127.0.0.1,local.port=1", "*requires remote*"},
        {"dgram,id=a,local.type=unix,local.path=/x,remote.type=inet,remote.host=1.1.1.1,"
         "remote.port=1", "remote and local types must be the same"},
        {"dgram,id=a,local.type=fd,local.str=1,remote.type=unix,remote.path=/x",
         "don't set remote with local.fd"},
        {"dgram,id=a,local.type=vsock,local.cid=1,local.port=1,remote.type=vsock,remote.cid=1,"
         "remote.port=1", "only support*"},
        {"dgram,id=a,local.type=unix,local.path=/nonexistent/x,remote.type=unix,remote.path=/x",
         "*/nonexistent/x*"},
    };
    struct control c;

    control_init(&c);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(test_netdev_try(&c, rows[i].text, &error));
        if (!g_pattern_match_simple(rows[i].message, error->message)) {
            g_error("%s: %s", rows[i].text, error->message);
        }
        g_assert_null(netdev_find(c.root, "a"));
    }
    control_clear(&c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/socket/stream", test_stream);
    g_test_add_func("/net/socket/dgram", test_dgram);
    g_test_add_func("/net/socket/group", test_group);
    g_test_add_func("/net/socket/hostile-peer", test_hostile_peer);
    g_test_add_func("/net/socket/reconnect", test_reconnect);
    g_test_add_func("/net/socket/descriptors", test_descriptors);
    g_test_add_func("/net/socket/bad-options", test_bad_options);
    return g_test_run();
}
