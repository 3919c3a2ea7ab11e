/* chardev/: sockets as character devices: connections that come and go, what is on top of them. */
#include <netinet/in.h>
#include <sys/resource.h>

#include "chardev/telnet.h"
#include "chardev_test.h"
#include "util/coroutine.h"

static void test_unix_server(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    g_autofree char *name = g_strdup_printf("unix:%s,server=on", path);
    g_autofree char *unconnected = g_strconcat("disconnected:", name, NULL);
    struct chardev *chr = make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    struct probe probe;
    int fd, second;

    expect_filename(chr, unconnected);
    probe_init(&probe, chr);
    g_assert_cmpint(chardev_write(chr, "x", 1), ==, -1);
    fd = connect_unix(path);
    RUN_UNTIL(f, probe.events->len == 1);
    expect_filename(chr, name);
    put(fd, "to the guest");
    expect_got(f, &probe, "to the guest");
    g_assert_cmpint(chardev_write(chr, "from it", 7), ==, 7);
    expect_read(f, fd, "from it");

    /* No more than it takes. */
    probe.room = 3;
    probe.fills = true;
    put(fd, "abcdefgh");
    RUN_UNTIL(f, probe.got->len >= 3);
    run_a_little(f);
    g_assert_cmpuint(probe.got->len, ==, 3);
    probe.room = 100;
    chardev_accept_input(chr);
    expect_got(f, &probe, "abcdefgh");

    /* One client at a time; the next one is served afterwards. */
    second = connect_unix(path);
    put(second, "second");
    run_a_little(f);
    g_assert_cmpuint(probe.got->len, ==, 0);
    put(fd, "last words");
    close(fd);
    expect_got(f, &probe, "last words");
    expect_got(f, &probe, "second");
    g_assert_cmpstr(probe.events->str, ==, "oco");
    close(second);
    RUN_UNTIL(f, probe.events->len == 4);
    expect_filename(chr, unconnected);
    probe_clear(&probe);
    expect(f, "chardev-remove", "{'id':'s'}", "{}");
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

/* A client that leaves is noticed though nobody reads what it sent, and the next one is served. */
static void test_linger(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    struct chardev *chr = make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    struct probe probe;
    int fd;

    for (int i = 0; i < 3; i++) {
        fd = connect_unix(path);
        RUN_UNTIL(f, chardev_is_open(chr));
        close(fd);
        RUN_UNTIL(f, !chardev_is_open(chr));
    }
    probe_init(&probe, chr);
    probe.room = 0;
    fd = connect_unix(path);
    put(fd, "unread");
    RUN_UNTIL(f, chardev_is_open(chr));
    close(fd);
    run_a_little(f);
    g_assert_true(chardev_is_open(chr));
    fd = connect_unix(path);
    put(fd, "read");
    RUN_UNTIL(f, probe.events->len == 3);
    g_assert_cmpstr(probe.events->str, ==, "oco");
    probe.room = 2;
    chardev_accept_input(chr);
    expect_got(f, &probe, "read");
    close(fd);

    /* What was sent is not lost if it is wanted in the end. */
    RUN_UNTIL(f, probe.events->len == 4);
    probe.room = 0;
    fd = connect_unix(path);
    put(fd, "last");
    close(fd);
    run_a_little(f);
    probe.room = 3;
    chardev_accept_input(chr);
    expect_got(f, &probe, "last");
    RUN_UNTIL(f, probe.events->len == 6);
    probe_clear(&probe);
}

static void test_descriptor(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    g_autoptr(GError) error = NULL;
    int listener = listen_unix(path), fd, pair[2];
    struct probe probe;

    probe_init(&probe, make(f, "socket,id=s,fd=%d,server=on,wait=off", listener));
    fd = connect_unix(path);
    put(fd, "hello");
    expect_got(f, &probe, "hello");
    close(fd);
    probe_clear(&probe);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    probe_init(&probe, make(f, "socket,id=c,fd=%d", pair[0]));
    put(pair[1], "hello");
    expect_got(f, &probe, "hello");
    probe_clear(&probe);
    close(pair[1]);
    g_assert_null(chardev_new_option(&f->context, "socket,id=d,fd=2147483647", &error));
    g_assert_nonnull(error);
}

static void test_abstract(struct fixture *f, gconstpointer data)
{
    g_autofree char *name = g_strdup_printf("nandu-test-%d", getpid());
    struct probe one, two;

    probe_init(&one, make(f, "socket,id=s,path=%s,abstract=on,server=on,wait=off", name));
    expect_filename(one.chr, "disconnected:unix:nandu-test-*,abstract=on,tight=on,server=on");
    probe_init(&two, make(f, "socket,id=c,path=%s,abstract=on", name));
    g_assert_cmpint(chardev_write(two.chr, "hello", 5), ==, 5);
    expect_got(f, &one, "hello");
    probe_clear(&one);
    probe_clear(&two);
}

/* Without a free descriptor the client waits until there is one. */
static void test_no_descriptors(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    struct chardev *chr = make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    int fd = connect_unix(path);
    struct rlimit before, none;

    getrlimit(RLIMIT_NOFILE, &before);
    none = (struct rlimit){3, before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    run_a_little(f);
    g_assert_false(chardev_is_open(chr));
    setrlimit(RLIMIT_NOFILE, &before);
    RUN_UNTIL(f, chardev_is_open(chr));
    close(fd);
}

/* What doesn't fit waits, in order, up to a limit. */
static void test_queue(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    struct chardev *chr = make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    g_autoptr(GString) sent = g_string_new(NULL);
    struct probe probe;
    int fd = connect_unix(path);

    probe_init(&probe, chr);
    RUN_UNTIL(f, chardev_is_open(chr));
    for (int i = 0; i < 1000; i++) {
        g_autofree char *line = g_strdup_printf("%0*d\n", 1000, i);

        if (!chardev_write_queued(chr, line, strlen(line), 100000)) {
            break;
        }
        g_string_append(sent, line);
        g_assert_cmpint(i, <, 999);
    }
    g_assert_cmpint(chardev_write(chr, "x", 1), ==, 0);
    chardev_on_writable(chr, count_writable, &probe);
    run_a_little(f);
    g_assert_cmpuint(probe.writable, ==, 0);
    expect_read(f, fd, sent->str);
    RUN_UNTIL(f, probe.writable == 1);
    g_assert_cmpint(chardev_write(chr, "x", 1), ==, 1);
    expect_read(f, fd, "x");

    /* Who waits when it is closed is told, too. */
    while (chardev_write(chr, sent->str, sent->len) > 0) {
    }
    chardev_on_writable(chr, count_writable, &probe);
    close(fd);
    RUN_UNTIL(f, probe.writable == 2 && probe.events->len == 2);
    probe_clear(&probe);
}

static void test_pass_fds(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    struct chardev *chr = make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    char control[CMSG_SPACE(2 * sizeof(int))], text[8] = "fd";
    struct iovec iov = {text, 2};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = CMSG_SPACE(2 * sizeof(int))};
    struct cmsghdr *cmsg = (struct cmsghdr *)control;
    int fd = connect_unix(path), pipes[2], received;
    struct probe probe;

    probe_init(&probe, chr);
    g_assert_cmpint(pipe(pipes), ==, 0);
    memset(control, 0, sizeof(control));
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(cmsg), pipes, sizeof(pipes));
    g_assert_cmpint(sendmsg(fd, &message, 0), ==, 2);
    expect_got(f, &probe, "fd");
    received = chardev_take_fd(chr);
    g_assert_cmpint(received, >=, 0);
    put(pipes[1], "through");
    expect_read(f, received, "through");
    close(received);
    /* The other one is closed with the connection. */

    g_assert_true(chardev_set_fds(chr, pipes, 1));
    g_assert_cmpint(chardev_write(chr, "here", 4), ==, 4);
    iov.iov_len = sizeof(text);
    message.msg_controllen = sizeof(control);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    RUN_UNTIL(f, recvmsg(fd, &message, MSG_CMSG_CLOEXEC) == 4);
    cmsg = CMSG_FIRSTHDR(&message);
    g_assert_nonnull(cmsg);
    g_assert_cmpuint(cmsg->cmsg_len, ==, CMSG_LEN(sizeof(int)));
    memcpy(&received, CMSG_DATA(cmsg), sizeof(int));
    put(pipes[1], "back");
    expect_read(f, received, "back");
    close(received);
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
    probe_clear(&probe);
}

static void test_client(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    int listener, fd;
    struct probe probe;
    struct chardev *chr = make(f, "socket,id=c,path=%s,reconnect-ms=50", path);

    probe_init(&probe, chr);
    run_a_little(f);
    g_assert_cmpstr(probe.events->str, ==, "");
    listener = listen_unix(path);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    RUN_UNTIL(f, (fd = accept(listener, NULL, NULL)) >= 0);
    put(fd, "hello");
    expect_got(f, &probe, "hello");
    close(fd);
    RUN_UNTIL(f, (fd = accept(listener, NULL, NULL)) >= 0);
    put(fd, "again");
    expect_got(f, &probe, "again");
    g_assert_cmpstr(probe.events->str, ==, "oco");

    /* Without reconnect it is connected at once, or not made. */
    make(f, "socket,id=d,path=%s", path);
    close(accept(listener, NULL, NULL));
    expect(f, "query-yank", NULL,
           "[{\"type\": \"chardev\", \"id\": \"c\"}, {\"type\": \"chardev\", \"id\": \"d\"}]");
    expect(f, "yank", "{'instances':[{'type':'chardev','id':'c'},{'type':'chardev','id':'x'}]}",
           "Instance not found");
    run_a_little(f);
    g_assert_cmpstr(probe.events->str, ==, "oco");
    expect(f, "yank", "{'instances':[{'type':'chardev','id':'c'}]}", "{}");
    expect_end(f, fd);
    RUN_UNTIL(f, probe.events->len == 5);
    close(fd);
    close(listener);
    probe_clear(&probe);
}

static void test_tcp(struct fixture *f, gconstpointer data)
{
    struct chardev *server =
        make(f, "socket,id=s,host=127.0.0.1,port=0,server=on,wait=off,nodelay");
    const char *port = strchr(strchr(chardev_filename(server), '.'), ':') + 1;
    struct probe one, two;

    expect_filename(server, "disconnected:tcp:127.0.0.1:*,server=on");
    probe_init(&one, server);
    probe_init(&two, make(f, "socket,id=c,host=127.0.0.1,port=%d", atoi(port)));
    RUN_UNTIL(f, chardev_is_open(server));
    expect_filename(server, "tcp:127.0.0.1:*,server=on <-> 127.0.0.1:*");
    expect_filename(two.chr, "tcp:127.0.0.1:* <-> 127.0.0.1:*");
    g_assert_cmpint(chardev_write(one.chr, "ping", 4), ==, 4);
    expect_got(f, &two, "ping");
    g_assert_cmpint(chardev_write(two.chr, "pong", 4), ==, 4);
    expect_got(f, &one, "pong");
    probe_clear(&two);
    expect(f, "chardev-remove", "{'id':'c'}", "{}");
    RUN_UNTIL(f, !chardev_is_open(server));
    probe_clear(&one);
}

static void test_telnet(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    struct chardev *chr = make(f, "socket,id=s,path=%s,server=on,wait=off,telnet=on", path);
    struct probe probe;
    int fd = connect_unix(path);

    probe_init(&probe, chr);
    expect_read(f, fd, "\377\373\1\377\373\3");
    run_a_little(f);
    g_assert_cmpint(read(fd, (char[16]){0}, 16), ==, telnet_greeting_size - 6);
    g_assert_cmpint(chardev_write(chr, "a\377b\377", 4), ==, 4);
    expect_read(f, fd, "a\377\377b\377\377");
    put(fd, "x\377\375\1y\377\372\30\1v\377\360z\377\363\377\377!");
    expect_got(f, &probe, "xyz\377!");
    g_assert_cmpstr(probe.events->str, ==, "ob");
    close(fd);
    probe_clear(&probe);
}

/* Any split of the input gives the same. */
static void test_telnet_filter(void)
{
    static const char input[] =
        "ab\377\377c\377\373\1d\377\372\37\377\377xy\377\360e\377\361f\377\363";

    for (size_t cut = 0; cut < sizeof(input); cut++) {
        struct telnet telnet = {0};
        uint8_t data[sizeof(input)];
        size_t size = sizeof(input) - 1, n, m;
        bool one, two;

        memcpy(data, input, sizeof(input));
        cut = MIN(cut, size);
        n = telnet_filter(&telnet, data, cut, &one);
        m = telnet_filter(&telnet, data + cut, size - cut, &two);
        memmove(data + n, data + cut, m);
        g_assert_cmpmem(data, n + m, "ab\377cdef", 7);
        g_assert_true(one != two);
        if (cut == size) {
            break;
        }
    }
}

static void test_tls(struct fixture *f, gconstpointer data)
{
    static const char *const creds[] = {
        "{'qom-type':'tls-creds-anon','id':'server','endpoint':'server'}",
        "{'qom-type':'tls-creds-anon','id':'client','endpoint':'client'}",
    };
    g_autofree char *path = in_folder(f, "s");
    g_autoptr(GError) error = NULL;
    struct probe one, two;
    int garbage;

    for (size_t i = 0; i < G_N_ELEMENTS(creds); i++) {
        g_autoptr(json_object) options = json_parse(creds[i], NULL);

        object_create_user(f->root, options, false, &error);
        g_assert_no_error(error);
    }
    probe_init(&one, make(f, "socket,id=s,path=%s,server=on,wait=off,tls-creds=server", path));
    garbage = connect_unix(path);
    put(garbage, "GET / HTTP/1.0\r\n\r\n");
    expect_end(f, garbage);
    close(garbage);
    g_assert_cmpstr(one.events->str, ==, "");
    probe_init(&two, make(f, "socket,id=c,path=%s,tls-creds=client,reconnect-ms=100", path));
    RUN_UNTIL(f, one.events->len == 1 && two.events->len == 1);
    g_assert_cmpint(chardev_write(one.chr, "secret", 6), ==, 6);
    expect_got(f, &two, "secret");
    g_assert_cmpint(chardev_write(two.chr, "answer", 6), ==, 6);
    expect_got(f, &one, "answer");
    probe_clear(&two);
    expect(f, "chardev-remove", "{'id':'c'}", "{}");
    RUN_UNTIL(f, one.events->len == 2);

    g_assert_null(
        chardev_new_option(&f->context, "socket,id=x,path=/y,server=on,tls-creds=client", &error));
    g_assert_cmpstr(error->message, ==, "Expected TLS credentials for a server endpoint");
    g_clear_error(&error);
    g_assert_null(
        chardev_new_option(&f->context, "socket,id=x,path=/y,server=on,tls-creds=nope", &error));
    g_assert_cmpstr(error->message, ==, "No TLS credentials with id 'nope'");

    /* Removed in the middle of a handshake. */
    garbage = connect_unix(path);
    run_a_little(f);
    probe_clear(&one);
    expect(f, "chardev-remove", "{'id':'s'}", "{}");
    expect_end(f, garbage);
    close(garbage);
}

static void test_udp(struct fixture *f, gconstpointer data)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct probe probe;
    char text[16];

    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, size), ==, 0);
    getsockname(fd, (struct sockaddr *)&address, &size);
    probe_init(&probe, make(f, "udp,id=u,host=127.0.0.1,port=%d,localaddr=127.0.0.1",
                            ntohs(address.sin_port)));
    g_assert_cmpint(chardev_write(probe.chr, "datagram", 8), ==, 8);
    g_assert_cmpint(recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&address, &size), ==, 8);
    probe.room = 3;
    g_assert_cmpint(sendto(fd, "received", 8, 0, (struct sockaddr *)&address, size), ==, 8);
    g_assert_cmpint(sendto(fd, "", 0, 0, (struct sockaddr *)&address, size), ==, 0);
    g_assert_cmpint(sendto(fd, "more", 4, 0, (struct sockaddr *)&address, size), ==, 4);
    expect_got(f, &probe, "receivedmore");
    close(fd);
    /* Nobody there: not an error. */
    for (int i = 0; i < 5; i++) {
        g_assert_cmpint(chardev_write(probe.chr, "lost", 4), ==, 4);
        run_a_little(f);
    }
    probe_clear(&probe);
}

struct connector {
    char *path;
    int fd;
};

static gpointer connect_later(gpointer opaque)
{
    struct connector *connector = opaque;

    g_usleep(50000);
    connector->fd = connect_unix(connector->path);
    return NULL;
}

static void test_wait(struct fixture *f, gconstpointer data)
{
    struct connector connector = {.path = in_folder(f, "s")};
    GThread *thread = g_thread_new("connector", connect_later, &connector);
    struct chardev *chr = make(f, "socket,id=s,path=%s,server", connector.path);

    g_assert_true(chardev_is_open(chr));
    g_thread_join(thread);
    close(connector.fd);
    g_free(connector.path);
}

struct adding {
    struct fixture *f;
    const char *arguments;
    bool done;
};

static void add_in_coroutine(void *opaque)
{
    struct adding *adding = opaque;

    expect(adding->f, "chardev-add", adding->arguments, "{}");
    adding->done = true;
}

/* In a coroutine the loop goes on while chardev-add waits for a client. */
static void test_wait_coroutine(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    g_autofree char *arguments = g_strdup_printf(
        "{'id':'s','backend':{'type':'socket','data':{'addr':{'type':'unix','data':{'path':'%s'}},'wait':true}}}",
        path);
    struct adding adding = {f, arguments, false};
    int fd;

    coroutine_start(f->loop, add_in_coroutine, &adding);
    run_a_little(f);
    g_assert_false(adding.done);
    fd = connect_unix(path);
    RUN_UNTIL(f, adding.done);
    g_assert_true(chardev_is_open(chardev_find(f->root, "s")));
    close(fd);
}

static void test_properties(struct fixture *f, gconstpointer data)
{
    g_autofree char *path = in_folder(f, "s");
    g_autofree char *answer = g_strdup_printf("{\"type\": \"unix\", \"path\": \"%s\"}", path);

    make(f, "socket,id=s,path=%s,server=on,wait=off", path);
    expect(f, "qom-get", "{'path':'/chardevs/s','property':'connected'}", "false");
    expect(f, "qom-get", "{'path':'/chardevs/s','property':'addr'}", answer);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST(unix_server);
    TEST(linger);
    TEST(descriptor);
    TEST(abstract);
    TEST(no_descriptors);
    TEST(queue);
    TEST(pass_fds);
    TEST(client);
    TEST(tcp);
    TEST(telnet);
    TEST(tls);
    TEST(udp);
    TEST(wait);
    TEST(wait_coroutine);
    TEST(properties);
    g_test_add_func("/chardev/telnet_filter", test_telnet_filter);
    return g_test_run();
}
