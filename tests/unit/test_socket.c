/*
 * Addresses: their text, listening, connecting, datagrams, descriptors; what is refused and how it
 * is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "control.h"
#include "io/socket.h"

/* ---- Text ---- */

static void test_parse(void)
{
    static const char *const rows[][2] = {
        {"localhost:5900", "localhost:5900"},
        {"tcp:localhost:5900", "localhost:5900"},
        {":5900", ":5900"},
        {"[::1]:5900", "[::1]:5900"},
        {"tcp:[fe80::1%eth0]:1", "[fe80::1%eth0]:1"},
        {"host:http,ipv4", "host:http"},
        {"unix:/run/x", "unix:/run/x"},
        {"unix:/run/a,b:c", "unix:/run/a,b:c"},
        {"vsock:2:1234", "vsock:2:1234"},
        {"fd:name", "fd:name"},
        {"fd:7", "fd:7"},
    };
    struct qapi_socket_address *address;
    GError *error = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = NULL;

        address = socket_parse(rows[i][0], &error);
        g_assert_no_error(error);
        text = socket_to_text(address);
        g_assert_cmpstr(text, ==, rows[i][1]);
        qapi_socket_address_free(address);
    }
    address = socket_parse("h:1,to=20,ipv4=off,ipv6,keep-alive=on,numeric=off,mptcp=off", &error);
    g_assert_no_error(error);
    g_assert_cmpint(address->type, ==, QAPI_SOCKET_ADDRESS_TYPE_INET);
    g_assert_true(address->u.inet.has_to && address->u.inet.to == 20);
    g_assert_true(address->u.inet.has_ipv4 && !address->u.inet.ipv4);
    g_assert_true(address->u.inet.has_ipv6 && address->u.inet.ipv6);
    g_assert_true(address->u.inet.has_keep_alive && address->u.inet.keep_alive);
    g_assert_true(address->u.inet.has_numeric && !address->u.inet.numeric);
    g_assert_true(address->u.inet.has_mptcp && !address->u.inet.mptcp);
    qapi_socket_address_free(address);
}

static void test_parse_bad(void)
{
    static const char *const rows[][2] = {
        {"", "*HOST:PORT"},
        {"host", "*HOST:PORT"},
        {"host:", "*HOST:PORT"},
        {"[::1]", "*HOST:PORT"},
        {"[::1:5", "*HOST:PORT"},
        {"::1:5900", "*in brackets*"},
        {"tcp:", "*HOST:PORT"},
        {"unix:", "*unix:PATH"},
        {"fd:", "*fd:NAME"},
        {"vsock:2", "*vsock:CID:PORT"},
        {"vsock:2:", "*vsock:CID:PORT"},
        {"h:1,to", "*'to'*"},
        {"h:1,to=x", "*'to'*"},
        {"h:1,to=65536", "*'to'*"},
        {"h:1,ipv4=maybe", "*'ipv4'*"},
        {"h:1,foo", "*'foo'*"},
        {"h:1,", "*''*"},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        GError *error = NULL;

        g_assert_null(socket_parse(rows[i][0], &error));
        assert_error_matches(error, rows[i][1]);
        g_error_free(error);
    }
}

/* ---- Connections ---- */

static struct qapi_socket_address *parse(const char *format, ...) G_GNUC_PRINTF(1, 2);

static struct qapi_socket_address *parse(const char *format, ...)
{
    struct qapi_socket_address *address;
    g_autofree char *text = NULL;
    GError *error = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    address = socket_parse(text, &error);
    g_assert_no_error(error);
    return address;
}

struct connecting {
    const struct qapi_socket_address *address;
    int fd;
    GError *error;
    bool done;
};

static void co_connect(void *opaque)
{
    struct connecting *k = opaque;

    k->fd = socket_connect(k->address, NULL, NULL, &k->error);
    k->done = true;
}

static int connect_in_coroutine(struct control *c, const struct qapi_socket_address *address,
                                GError **error)
{
    struct connecting k = {.address = address};

    coroutine_start(c->loop, co_connect, &k);
    control_run_until(c, &k.done);
    if (k.error) {
        g_propagate_error(error, k.error);
    }
    return k.fd;
}

static GArray *listen_at(const struct qapi_socket_address *address)
{
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
    GError *error = NULL;

    g_assert_true(socket_listen(address, 1, NULL, NULL, fds, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(fds->len, >, 0);
    return fds;
}

static void close_all(GArray *fds)
{
    for (unsigned i = 0; i < fds->len; i++) {
        close(g_array_index(fds, int, i));
    }
    g_array_unref(fds);
}

static unsigned port_of(int fd)
{
    struct qapi_socket_address *address;
    GError *error = NULL;
    unsigned port;

    address = socket_local_address(fd, &error);
    g_assert_no_error(error);
    port = (unsigned)atoi(address->u.inet.port);
    qapi_socket_address_free(address);
    return port;
}

static int accept_one(int fd)
{
    return accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* A byte from one end to the other; both are closed. */
static void check_pair(int client, int server)
{
    char byte = 0;

    g_assert_cmpint(server, >=, 0);
    g_assert_cmpint(fcntl(server, F_GETFL) & O_NONBLOCK, !=, 0);
    g_assert_cmpint(fcntl(server, F_GETFD) & FD_CLOEXEC, !=, 0);
    g_assert_cmpint(fcntl(client, F_GETFL) & O_NONBLOCK, !=, 0);
    g_assert_cmpint(fcntl(client, F_GETFD) & FD_CLOEXEC, !=, 0);
    g_assert_cmpint(write(client, "x", 1), ==, 1);
    g_assert_cmpint(recv(server, &byte, 1, 0), ==, 1);
    g_assert_cmpint(byte, ==, 'x');
    close(client);
    close(server);
}

/* A bare container has no /etc/hosts. */
static bool knows_localhost(void)
{
    const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;

    if (getaddrinfo("localhost", NULL, &hints, &found) != 0) {
        return false;
    }
    freeaddrinfo(found);
    return true;
}

static void test_tcp(void)
{
    struct qapi_socket_address *address, *at;
    GError *error = NULL;
    struct control c;
    GArray *fds;

    control_init(&c);
    address = parse("127.0.0.1:0,keep-alive");
    fds = listen_at(address);
    g_assert_cmpuint(fds->len, ==, 1);
    g_assert_cmpint(accept_one(g_array_index(fds, int, 0)), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
    at = socket_local_address(g_array_index(fds, int, 0), &error);
    g_assert_cmpstr(at->u.inet.host, ==, "127.0.0.1");
    /*
     * The last time by a name, which is looked up in the pool, if this machine knows one of its
     * own.
     */
    for (unsigned i = 0; i < (knows_localhost() ? 3 : 2); i++) {
        int client, server, on = 0;
        socklen_t size = sizeof(on);

        if (i == 2) {
            g_free(at->u.inet.host);
            at->u.inet.host = g_strdup("localhost");
            at->u.inet.has_ipv4 = at->u.inet.ipv4 = true;
        }
        client = i ? connect_in_coroutine(&c, at, &error)
                   : socket_connect_blocking(at, NULL, NULL, &error);
        g_assert_no_error(error);
        server = accept_one(g_array_index(fds, int, 0));
        g_assert_cmpint(getsockopt(server, SOL_SOCKET, SO_KEEPALIVE, &on, &size), ==, 0);
        g_assert_cmpint(on, ==, 1);
        check_pair(client, server);
    }
    close_all(fds);

    /* Nobody is there any more. */
    g_assert_cmpint(connect_in_coroutine(&c, at, &error), ==, -1);
    assert_error_matches(error, "Failed to connect to '*:*': Connection refused");
    g_clear_error(&error);
    qapi_socket_address_free(at);
    qapi_socket_address_free(address);
    control_clear(&c);
}

/* One port for both versions of IP; the next one if it is taken. */
static void test_listen_to(void)
{
    struct qapi_socket_address *first = parse(":0"), *second, *third;
    GArray *fds = listen_at(first), *more;
    unsigned port = port_of(g_array_index(fds, int, 0));
    GError *error = NULL;

    for (unsigned i = 1; i < fds->len; i++) {
        g_assert_cmpuint(port_of(g_array_index(fds, int, i)), ==, port);
    }
    second = parse("127.0.0.1:%u,to=%u", port, MIN(port + 50, 65535u));
    more = listen_at(second);
    g_assert_cmpuint(port_of(g_array_index(more, int, 0)), >, port);
    close_all(more);

    third = parse("127.0.0.1:%u", port);
    more = g_array_new(FALSE, FALSE, sizeof(int));
    g_assert_false(socket_listen(third, 1, NULL, NULL, more, &error));
    assert_error_matches(error, "Failed to listen at '127.0.0.1:*': Address already in use");
    g_clear_error(&error);
    third->u.inet.has_to = true;
    third->u.inet.to = (uint16_t)(port - 1);
    g_assert_false(socket_listen(third, 1, NULL, NULL, more, &error));
    assert_error_matches(error, "'to' is *below the port*");
    g_clear_error(&error);
    g_assert_cmpuint(more->len, ==, 0);
    close_all(more);
    close_all(fds);
    qapi_socket_address_free(first);
    qapi_socket_address_free(second);
    qapi_socket_address_free(third);
}

static bool host_has_ipv6(void)
{
    const struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof(any)) == 0;

    if (fd >= 0) {
        close(fd);
    }
    return has;
}

static void test_ip_versions(void)
{
    static const struct {
        const char *text;
        int families; /* 4, 6, or 46 */
    } rows[] = {
        {":0,ipv4", 4}, {":0,ipv6=off", 4},   {":0,ipv4=off", 6},
        {":0,ipv6", 6}, {":0,ipv4,ipv6", 46}, {":0", 46},
    };
    bool has_ipv6 = host_has_ipv6();
    struct qapi_socket_address *both;
    GError *error = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct qapi_socket_address *address = parse("%s", rows[i].text);
        int families = 0;
        GArray *fds;

        if (!has_ipv6 && rows[i].families != 4) {
            qapi_socket_address_free(address);
            continue;
        }
        fds = listen_at(address);
        for (unsigned j = 0; j < fds->len; j++) {
            int domain = 0;
            socklen_t size = sizeof(domain);

            getsockopt(g_array_index(fds, int, j), SOL_SOCKET, SO_DOMAIN, &domain, &size);
            families += domain == AF_INET ? 40 : 6;
        }
        g_assert_cmpint(families, ==, rows[i].families == 4 ? 40 : rows[i].families);
        close_all(fds);
        qapi_socket_address_free(address);
    }
    both = parse(":0,ipv4=off,ipv6=off");
    g_assert_cmpint(socket_connect_blocking(both, NULL, NULL, &error), ==, -1);
    g_clear_error(&error);
    g_assert_false(socket_listen(both, 1, NULL, NULL, NULL, &error));
    assert_error_matches(error, "Cannot disable IPv4 and IPv6 at same time");
    g_clear_error(&error);
    qapi_socket_address_free(both);
}

static void test_bad_names(void)
{
    static const char *const rows[][2] = {
        {"nonexistent.invalid:1", "address resolution failed for nonexistent.invalid:1: *"},
        {"127.0.0.1:no-such-service", "address resolution failed for 127.0.0.1:no-such-service: *"},
        {"localhost:1,numeric", "address resolution failed for localhost:1: *"},
        {":1", "host and/or port not specified"},
    };
    GError *error = NULL;
    struct control c;

    control_init(&c);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct qapi_socket_address *address = parse("%s", rows[i][0]);

        g_assert_cmpint(connect_in_coroutine(&c, address, &error), ==, -1);
        assert_error_matches(error, rows[i][1]);
        g_clear_error(&error);
        qapi_socket_address_free(address);
    }
    control_clear(&c);
}

static void test_mptcp(void)
{
    struct qapi_socket_address *address = parse("127.0.0.1:0,mptcp"), *at;
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
    GError *error = NULL;

    if (socket_listen(address, 1, NULL, NULL, fds, &error)) {
        int protocol = 0, client;
        socklen_t size = sizeof(protocol);

        g_assert_cmpint(getsockopt(g_array_index(fds, int, 0), SOL_SOCKET, SO_PROTOCOL, &protocol,
                                   &size),
                        ==, 0);
        g_assert_cmpint(protocol, ==, 262);
        at = socket_local_address(g_array_index(fds, int, 0), &error);
        at->u.inet.has_mptcp = at->u.inet.mptcp = true;
        client = socket_connect_blocking(at, NULL, NULL, &error);
        g_assert_no_error(error);
        check_pair(client, accept_one(g_array_index(fds, int, 0)));
        qapi_socket_address_free(at);
    } else {
        g_assert_nonnull(error);
        g_clear_error(&error);
        g_test_skip("the host has no Multipath TCP");
    }
    close_all(fds);
    qapi_socket_address_free(address);
}

/* ---- Unix sockets ---- */

static void test_unix(void)
{
    struct qapi_socket_address *address, *at;
    g_autofree char *path = NULL;
    GError *error = NULL;
    struct stat st;
    struct control c;
    GArray *fds;
    int client;

    control_init(&c);
    address = parse("unix:%s/s", c.dir);
    path = g_build_filename(c.dir, "s", NULL);
    g_assert_cmpint(connect_in_coroutine(&c, address, &error), ==, -1);
    assert_error_matches(error, "Failed to connect to '*/s': No such file or directory");
    g_clear_error(&error);
    for (unsigned i = 0; i < 2; i++) {
        /* The second time the file of the first is in the way. */
        fds = listen_at(address);
        client = connect_in_coroutine(&c, address, &error);
        g_assert_no_error(error);
        at = socket_remote_address(client, &error);
        g_assert_cmpstr(at->u.unix_.path, ==, path);
        g_assert_false(at->u.unix_.abstract);
        qapi_socket_address_free(at);
        check_pair(client, accept_one(g_array_index(fds, int, 0)));
        close_all(fds);
    }
    socket_unlink(address);
    g_assert_cmpint(stat(path, &st), ==, -1);

    /* Other files are left alone. */
    g_free(control_file(&c, "s", "precious", -1));
    fds = g_array_new(FALSE, FALSE, sizeof(int));
    g_assert_false(socket_listen(address, 1, NULL, NULL, fds, &error));
    assert_error_matches(error, "Failed to bind socket to *: Address already in use");
    g_clear_error(&error);
    socket_unlink(address);
    g_assert_cmpint(stat(path, &st), ==, 0);
    qapi_socket_address_free(address);

    address = parse("unix:/%0200d", 7);
    g_assert_false(socket_listen(address, 1, NULL, NULL, fds, &error));
    assert_error_matches(error, "UNIX socket path '*' is too long*");
    g_clear_error(&error);
    qapi_socket_address_free(address);
    g_array_unref(fds);
    control_clear(&c);
}

/* A queue that is full: the kernel has no way to wait for it. */
static void test_unix_full_queue(void)
{
    struct connecting k[4] = {{0}};
    struct qapi_socket_address *address;
    unsigned accepted = 0;
    struct control c;
    GArray *fds;

    control_init(&c);
    address = parse("unix:%s/s", c.dir);
    fds = listen_at(address);
    for (unsigned i = 0; i < 4; i++) {
        k[i].address = address;
        coroutine_start(c.loop, co_connect, &k[i]);
    }
    g_assert_false(k[3].done);
    while (!k[0].done || !k[1].done || !k[2].done || !k[3].done) {
        int server = accept_one(g_array_index(fds, int, 0));

        if (server >= 0) {
            accepted++;
            close(server);
        }
        event_loop_iterate(c.loop, false);
    }
    for (unsigned i = 0; i < 4; i++) {
        g_assert_no_error(k[i].error);
        close(k[i].fd);
    }
    g_assert_cmpuint(accepted, >=, 2);
    close_all(fds);
    qapi_socket_address_free(address);
    control_clear(&c);
}

static void test_abstract(void)
{
    struct qapi_socket_address address = {.type = QAPI_SOCKET_ADDRESS_TYPE_UNIX}, *at;
    struct qapi_unix_socket_address *un = &address.u.unix_;
    g_autofree char *text = NULL;
    GError *error = NULL;
    struct control c;
    GArray *fds;
    int client;

    control_init(&c);
    un->path = g_strdup_printf("nandu-test-%d", getpid());
    un->has_abstract = un->abstract = true;
    text = socket_to_text(&address);
    g_assert_true(g_str_has_prefix(text, "unix:@nandu-test-"));
    for (unsigned i = 0; i < 2; i++) {
        un->has_tight = true;
        un->tight = i == 0;
        fds = listen_at(&address);
        client = connect_in_coroutine(&c, &address, &error);
        g_assert_no_error(error);
        at = socket_remote_address(client, &error);
        g_assert_cmpstr(at->u.unix_.path, ==, un->path);
        g_assert_true(at->u.unix_.abstract);
        g_assert_true(at->u.unix_.has_tight && at->u.unix_.tight == un->tight);
        qapi_socket_address_free(at);
        check_pair(client, accept_one(g_array_index(fds, int, 0)));
        /* They are different names. */
        un->tight = !un->tight;
        g_assert_cmpint(connect_in_coroutine(&c, &address, &error), ==, -1);
        assert_error_matches(error, "*Connection refused");
        g_clear_error(&error);
        close_all(fds);
    }
    g_free(un->path);
    control_clear(&c);
}

/* ---- Descriptors, vsock ---- */

static int get_fd(void *opaque, const char *name, GError **error)
{
    if (strcmp(name, "mine") != 0) {
        g_set_error(error, IO_ERROR, 0, "No file descriptor '%s'", name);
        return -1;
    }
    return *(int *)opaque;
}

static void test_fd(void)
{
    struct qapi_socket_address *named = parse("fd:mine"), *unknown = parse("fd:other"), *number;
    int pair[2], fd;
    GError *error = NULL;
    GArray *fds;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    fd = socket_connect_blocking(named, get_fd, &pair[0], &error);
    g_assert_no_error(error);
    g_assert_cmpint(fd, ==, pair[0]);
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    fcntl(pair[1], F_SETFD, FD_CLOEXEC);
    check_pair(fd, pair[1]);

    g_assert_cmpint(socket_connect_blocking(unknown, get_fd, &pair[0], &error), ==, -1);
    assert_error_matches(error, "No file descriptor 'other'");
    g_clear_error(&error);
    g_assert_cmpint(socket_connect_blocking(unknown, NULL, NULL, &error), ==, -1);
    assert_error_matches(error, "*'other'*");
    g_clear_error(&error);

    /* A listening one, by number, as a service manager gives it. */
    fd = socket(AF_INET, SOCK_STREAM, 0);
    number = parse("fd:%d", fd);
    fds = g_array_new(FALSE, FALSE, sizeof(int));
    g_assert_true(socket_listen(number, 1, get_fd, NULL, fds, &error));
    g_assert_no_error(error);
    g_assert_cmpint(g_array_index(fds, int, 0), ==, fd);
    close_all(fds);
    /* Closed by now. */
    g_assert_cmpint(socket_connect_blocking(number, NULL, NULL, &error), ==, -1);
    assert_error_matches(error, "File descriptor '*' is not a socket");
    g_clear_error(&error);
    qapi_socket_address_free(named);
    qapi_socket_address_free(unknown);
    qapi_socket_address_free(number);
}

static void test_vsock(void)
{
    static const char *const bad[] = {"vsock:x:1", "vsock:2:x", "vsock:4294967296:1", "vsock:-1:1"};
    GError *error = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct qapi_socket_address *address = parse("%s", bad[i]);

        g_assert_cmpint(socket_connect_blocking(address, NULL, NULL, &error), ==, -1);
        assert_error_matches(error, "Failed to parse vsock *");
        g_clear_error(&error);
        qapi_socket_address_free(address);
    }
}

static void test_datagram(void)
{
    struct qapi_socket_address *any = parse("127.0.0.1:0"), *at_a, *at_b, *wrong = parse("unix:/x");
    struct qapi_socket_address *discard = parse("127.0.0.1:9");
    GError *error = NULL;
    char byte = 0;
    int a, b;

    a = socket_datagram(discard, any, &error);
    g_assert_no_error(error);
    at_a = socket_local_address(a, &error);
    b = socket_datagram(at_a, any, &error);
    g_assert_no_error(error);
    at_b = socket_local_address(b, &error);
    close(a);
    a = socket_datagram(at_b, at_a, &error);
    g_assert_no_error(error);
    g_assert_cmpint(send(a, "x", 1, 0), ==, 1);
    g_assert_cmpint(recv(b, &byte, 1, 0), ==, 1);
    g_assert_cmpint(byte, ==, 'x');
    close(a);
    close(b);
    g_assert_cmpint(socket_datagram(wrong, NULL, &error), ==, -1);
    assert_error_matches(error, "Datagrams need addresses of type inet");
    g_clear_error(&error);
    qapi_socket_address_free(any);
    qapi_socket_address_free(at_a);
    qapi_socket_address_free(at_b);
    qapi_socket_address_free(wrong);
    qapi_socket_address_free(discard);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/socket/parse", test_parse);
    g_test_add_func("/socket/parse-bad", test_parse_bad);
    g_test_add_func("/socket/tcp", test_tcp);
    g_test_add_func("/socket/listen-to", test_listen_to);
    g_test_add_func("/socket/ip-versions", test_ip_versions);
    g_test_add_func("/socket/bad-names", test_bad_names);
    g_test_add_func("/socket/mptcp", test_mptcp);
    g_test_add_func("/socket/unix", test_unix);
    g_test_add_func("/socket/unix-full-queue", test_unix_full_queue);
    g_test_add_func("/socket/abstract", test_abstract);
    g_test_add_func("/socket/fd", test_fd);
    g_test_add_func("/socket/vsock", test_vsock);
    g_test_add_func("/socket/datagram", test_datagram);
    return g_test_run();
}
