/* Channels: waiting, watches, descriptors, WebSocket (the handshake, frames, what is refused). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "control.h"
#include "io/channel.h"
#include "io/websocket.h"

struct pair {
    struct control c;
    struct io_channel *a, *b;
};

static void pair_init(struct pair *p)
{
    int fds[2];

    control_init(&p->c);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    p->a = io_channel_socket_new(p->c.loop, fds[0]);
    p->b = io_channel_socket_new(p->c.loop, fds[1]);
}

static void pair_clear(struct pair *p)
{
    io_channel_unref(p->a);
    io_channel_unref(p->b);
    control_clear(&p->c);
}

/* ---- Coroutines at both ends ---- */

enum { BIG = 1 << 20 };

struct transfer {
    struct io_channel *ch;
    guint8 *data;
    size_t size;
    bool done;
    GError *error;
    bool ok;
};

static void co_write(void *opaque)
{
    struct transfer *t = opaque;

    t->ok = io_write_all(t->ch, t->data, t->size, &t->error) && io_flush(t->ch, &t->error);
    t->done = true;
}

static void co_read_all(void *opaque)
{
    struct transfer *t = opaque;

    t->ok = io_read_all(t->ch, t->data, t->size, &t->error);
    t->done = true;
}

static guint8 *random_bytes(size_t size)
{
    guint8 *data = g_malloc(size);

    for (size_t i = 0; i < size; i++) {
        data[i] = (guint8)g_test_rand_int();
    }
    return data;
}

/* Both directions at once, more than any buffer holds. */
static void exchange(struct control *c, struct io_channel *a, struct io_channel *b)
{
    struct transfer t[4] = {
        {.ch = a, .data = random_bytes(BIG), .size = BIG},
        {.ch = b, .data = g_malloc(BIG), .size = BIG},
        {.ch = b, .data = random_bytes(BIG), .size = BIG},
        {.ch = a, .data = g_malloc(BIG), .size = BIG},
    };

    for (unsigned i = 0; i < 4; i++) {
        coroutine_start(c->loop, i & 1 ? co_read_all : co_write, &t[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        control_run_until(c, &t[i].done);
        g_assert_no_error(t[i].error);
    }
    g_assert_cmpmem(t[0].data, BIG, t[1].data, BIG);
    g_assert_cmpmem(t[2].data, BIG, t[3].data, BIG);
    for (unsigned i = 0; i < 4; i++) {
        g_free(t[i].data);
    }
}

static void test_socket(void)
{
    struct pair p;

    pair_init(&p);
    exchange(&p.c, p.a, p.b);
    pair_clear(&p);
}

/* The end of the stream: for who waits, for who asks, in the middle of what was to come. */
static void test_end(void)
{
    char buffer[8];
    struct transfer t = {.data = (guint8 *)buffer, .size = sizeof(buffer)};
    struct iovec iov = {buffer, sizeof(buffer)};
    GError *error = NULL;
    struct pair p;

    pair_init(&p);
    t.ch = p.a;
    coroutine_start(p.c.loop, co_read_all, &t);
    iov.iov_len = 3;
    g_assert_cmpint(io_try_writev(p.b, &iov, 1, NULL, 0, &error), ==, 3);
    event_loop_iterate(p.c.loop, false);
    g_assert_false(t.done);
    io_shutdown(p.b, SHUT_WR);
    control_run_until(&p.c, &t.done);
    g_assert_false(t.ok);
    assert_error_matches(t.error, "The connection ended after 3 of 8 bytes");
    g_clear_error(&t.error);
    g_assert_cmpint(io_try_readv(p.a, &iov, 1, NULL, &error), ==, 0);
    g_assert_cmpint(io_try_writev(p.b, &iov, 1, NULL, 0, &error), ==, -1);
    assert_error_matches(error, "*closed for writing*");
    g_assert_cmpint(error->code, ==, EPIPE);
    g_clear_error(&error);
    pair_clear(&p);
}

/* io_shutdown ends the wait of this end, whatever is below. */
static void test_cancel(void)
{
    int fds[2];
    char buffer[8];
    struct transfer t = {.data = (guint8 *)buffer, .size = sizeof(buffer)};
    struct control c;

    control_init(&c);
    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    t.ch = io_channel_fd_new(c.loop, fds[0]);
    coroutine_start(c.loop, co_read_all, &t);
    g_assert_false(t.done);
    io_shutdown(t.ch, SHUT_RDWR);
    g_assert_false(t.done);
    control_run_until(&c, &t.done);
    assert_error_matches(t.error, "The connection ended*");
    g_clear_error(&t.error);
    io_channel_unref(t.ch);
    close(fds[1]);
    control_clear(&c);
}

static void test_pipe_and_file(void)
{
    g_autofree char *path = NULL;
    struct transfer w = {.data = (guint8 *)"hello", .size = 5}, r = {.size = 5};
    char buffer[5] = "";
    GError *error = NULL;
    struct control c;
    int fds[2];

    control_init(&c);
    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    r.ch = io_channel_fd_new(c.loop, fds[0]);
    w.ch = io_channel_fd_new(c.loop, fds[1]);
    r.data = (guint8 *)buffer;
    coroutine_start(c.loop, co_read_all, &r);
    coroutine_start(c.loop, co_write, &w);
    control_run_until(&c, &r.done);
    g_assert_cmpmem(buffer, 5, "hello", 5);
    g_assert_cmpint(io_try_writev(w.ch, &(struct iovec){buffer, 1}, 1, fds, 1, &error), ==, -1);
    assert_error_matches(error, "*unix socket only*");
    g_clear_error(&error);
    io_channel_unref(r.ch);
    g_assert_cmpint(io_try_writev(w.ch, &(struct iovec){buffer, 1}, 1, NULL, 0, &error), ==, -1);
    g_assert_cmpint(error->code, ==, EPIPE);
    g_clear_error(&error);
    io_channel_unref(w.ch);

    /* Files can't be waited for, and always are ready. */
    path = control_file(&c, "file", "from a file", -1);
    r = (struct transfer){.data = (guint8 *)buffer, .size = 5};
    r.ch = io_channel_fd_new(c.loop, open(path, O_RDONLY | O_CLOEXEC));
    coroutine_start(c.loop, co_read_all, &r);
    control_run_until(&c, &r.done);
    g_assert_cmpmem(buffer, 5, "from ", 5);
    io_channel_unref(r.ch);
    control_clear(&c);
}

/* ---- Watches ---- */

struct watcher {
    struct io_channel *ch;
    GString *got;
    unsigned reads, writes;
    bool ended, drop;
};

static void on_read(void *opaque)
{
    struct watcher *w = opaque;
    char buffer[4];
    GError *error = NULL;
    ssize_t n = io_try_readv(w->ch, &(struct iovec){buffer, sizeof(buffer)}, 1, NULL, &error);

    w->reads++;
    g_assert_no_error(error);
    if (n > 0) {
        g_string_append_len(w->got, buffer, n);
    } else if (n == 0) {
        w->ended = true;
        io_watch(w->ch, NULL, NULL, NULL);
        if (w->drop) {
            g_clear_pointer(&w->ch, io_channel_unref);
        }
    }
}

static void on_write(void *opaque)
{
    struct watcher *w = opaque;

    w->writes++;
    io_watch(w->ch, on_read, NULL, w);
}

static void test_watch(void)
{
    struct watcher w = {.got = g_string_new(NULL), .drop = true};
    GError *error = NULL;
    struct pair p;

    pair_init(&p);
    w.ch = p.a;
    io_watch(p.a, on_read, on_write, &w);
    while (w.writes == 0) {
        event_loop_iterate(p.c.loop, true);
    }
    g_assert_cmpint(
        io_try_writev(p.b, &(struct iovec){(char *)"0123456789", 10}, 1, NULL, 0, &error), ==, 10);
    io_shutdown(p.b, SHUT_WR);
    control_run_until(&p.c, &w.ended);
    g_assert_cmpstr(w.got->str, ==, "0123456789");
    g_assert_cmpuint(w.writes, ==, 1);
    g_assert_null(w.ch);
    g_string_free(w.got, TRUE);
    p.a = NULL; /* freed in its own callback */
    pair_clear(&p);
}

/* ---- Descriptors ---- */

static void test_fds(void)
{
    g_autoptr(GArray) got = g_array_new(FALSE, FALSE, sizeof(int));
    int fds[IO_MAX_FDS + 1], pipe_fds[2];
    char byte = 'x', back = 0;
    struct iovec iov = {&byte, 1};
    GError *error = NULL;
    struct pair p;

    pair_init(&p);
    g_assert_true(p.a->can_pass_fds);
    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = pipe_fds[1];
    }
    g_assert_cmpint(io_try_writev(p.a, &iov, 1, fds, IO_MAX_FDS + 1, &error), ==, -1);
    assert_error_matches(error, "Too many file descriptors*");
    g_clear_error(&error);
    g_assert_cmpint(io_try_writev(p.a, &iov, 1, fds, IO_MAX_FDS, &error), ==, 1);
    g_assert_cmpint(io_try_readv(p.b, &iov, 1, got, &error), ==, 1);
    g_assert_cmpuint(got->len, ==, IO_MAX_FDS);
    g_assert_cmpint(write(g_array_index(got, int, IO_MAX_FDS - 1), "y", 1), ==, 1);
    g_assert_cmpint(read(pipe_fds[0], &back, 1), ==, 1);
    g_assert_cmpint(back, ==, 'y');
    for (unsigned i = 0; i < got->len; i++) {
        int fd = g_array_index(got, int, i);

        g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);
        close(fd);
    }
    /* Who doesn't ask for them leaves none behind: the pipe ends when its last writer goes. */
    g_assert_cmpint(io_try_writev(p.a, &iov, 1, fds, 1, &error), ==, 1);
    g_assert_cmpint(io_try_readv(p.b, &iov, 1, NULL, &error), ==, 1);
    close(pipe_fds[1]);
    g_assert_cmpint(read(pipe_fds[0], &back, 1), ==, 0);
    close(pipe_fds[0]);
    pair_clear(&p);
}

/* ---- WebSocket ---- */

#define REQUEST                                                                  \
    "GET /websockify HTTP/1.1\r\nHost: localhost:5900\r\nUpgrade: WebSocket\r\n" \
    "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define TAIL "Sec-WebSocket-Protocol: base64, binary\r\nSec-WebSocket-Version: 13\r\n\r\n"

struct server {
    struct io_channel *below, *ch;
    GError *error;
    bool done;
};

static void co_serve(void *opaque)
{
    struct server *s = opaque;

    s->ch = io_channel_websocket_new(s->below, &s->error);
    s->done = true;
}

static void send_text(struct io_channel *ch, const void *data, size_t size)
{
    GError *error = NULL;

    g_assert_cmpint(io_try_writev(ch, &(struct iovec){(void *)data, size}, 1, NULL, 0, &error), ==,
                    size);
    g_assert_no_error(error);
}

static size_t receive(struct io_channel *ch, void *data, size_t size)
{
    GError *error = NULL;
    ssize_t n = io_try_readv(ch, &(struct iovec){data, size}, 1, NULL, &error);

    g_assert_no_error(error);
    return n > 0 ? (size_t)n : 0;
}

/* The server's end of a connection whose other end is p->b; the answer is read. */
static struct io_channel *open_websocket(struct pair *p, const char *request, char *answer,
                                         size_t size, GError **error)
{
    struct server s = {.below = p->a};

    coroutine_start(p->c.loop, co_serve, &s);
    send_text(p->b, request, strlen(request));
    control_run_until(&p->c, &s.done);
    answer[receive(p->b, answer, size - 1)] = '\0';
    if (s.error) {
        g_propagate_error(error, s.error);
    }
    return s.ch;
}

static void test_websocket_handshake(void)
{
    char answer[1024];
    GError *error = NULL;
    struct io_channel *ws;
    struct pair p;

    pair_init(&p);
    ws = open_websocket(&p, REQUEST TAIL, answer, sizeof(answer), &error);
    g_assert_no_error(error);
    g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 101 "));
    /* The key and its answer are the RFC's example (1.3). */
    g_assert_nonnull(strstr(answer, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    g_assert_nonnull(strstr(answer, "Sec-WebSocket-Protocol: binary\r\n"));
    g_assert_true(g_str_has_suffix(answer, "\r\n\r\n"));
    io_channel_unref(ws);
    pair_clear(&p);

    /* Without a protocol there is none in the answer. */
    pair_init(&p);
    ws = open_websocket(&p, REQUEST "Sec-WebSocket-Version: 13\r\n\r\n", answer, sizeof(answer),
                        &error);
    g_assert_no_error(error);
    g_assert_null(strstr(answer, "Protocol:"));
    io_channel_unref(ws);
    pair_clear(&p);
}

static void test_websocket_bad_handshake(void)
{
    g_autofree char *longest = g_strnfill(WEBSOCKET_MAX_REQUEST + 100, 'x');
    static const char *const bad[][2] = {
        {"\r\n\r\n", "*isn't GET"},
        {"POST / HTTP/1.1\r\n\r\n", "*isn't GET"},
        {"GET / HTTP/1.0\r\nHost: a\r\n\r\n", "*isn't HTTP/1.1"},
        {"GET / HTTP/1.1\r\n\r\n", "*no Host"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "*no Host"},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "*doesn't ask for a websocket"},
        {REQUEST "\r\n", "*version isn't 13"},
        {REQUEST "Sec-WebSocket-Version: 8\r\n\r\n", "*version isn't 13"},
        {REQUEST "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: xx\r\n\r\n", "*no valid key"},
        {REQUEST "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n", "*'binary'"},
    };
    char answer[1024];
    GError *error = NULL;
    struct pair p;

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        pair_init(&p);
        g_assert_null(open_websocket(&p, bad[i][0], answer, sizeof(answer), &error));
        assert_error_matches(error, bad[i][1]);
        g_clear_error(&error);
        g_assert_true(g_str_has_prefix(answer, "HTTP/1.1 400 "));
        pair_clear(&p);
    }
    pair_init(&p);
    g_assert_null(open_websocket(&p, longest, answer, sizeof(answer), &error));
    assert_error_matches(error, "*longer than 4096 bytes");
    g_clear_error(&error);
    pair_clear(&p);
}

static size_t client_frame(guint8 *out, guint8 first, const void *data, size_t size)
{
    static const guint8 mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    size_t n = websocket_header(out, WEBSOCKET_BINARY, size);

    out[0] = first;
    out[1] |= 0x80;
    memcpy(out + n, mask, 4);
    for (size_t i = 0; i < size; i++) {
        out[n + 4 + i] = ((const guint8 *)data)[i] ^ mask[i & 3];
    }
    return n + 4 + size;
}

static void test_websocket_frames(void)
{
    guint8 frames[70000], data[66000], back[70000];
    char answer[1024];
    GError *error = NULL;
    struct io_channel *ws;
    struct pair p;
    size_t n;

    pair_init(&p);
    ws = open_websocket(&p, REQUEST TAIL, answer, sizeof(answer), &error);

    /* Two fragments with a ping between them. */
    n = client_frame(frames, 0x02, "Hel", 3);
    n += client_frame(frames + n, 0x89, "are you there", 13);
    n += client_frame(frames + n, 0x80, "lo", 2);
    send_text(p.b, frames, n);
    g_assert_cmpuint(receive(ws, back, sizeof(back)), ==, 5);
    g_assert_cmpmem(back, 5, "Hello", 5);
    g_assert_cmpuint(receive(p.b, back, sizeof(back)), ==, 15);
    g_assert_cmpmem(back, 15,
                    "\x8a\x0d"
                    "are you there",
                    15);
    g_assert_cmpint(io_try_readv(ws, &(struct iovec){back, 1}, 1, NULL, &error), ==,
                    IO_WOULD_BLOCK);

    /* All three forms of the length, byte by byte for one of them; empty frames are nothing. */
    memset(data, 'd', sizeof(data));
    for (unsigned i = 0; i < 3; i++) {
        const size_t sizes[] = {125, 126, 66000};
        size_t got = 0;

        n = client_frame(frames, 0x82, data, sizes[i]);
        n += client_frame(frames + n, 0x82, "", 0);
        for (size_t sent = 0; sent < n; sent += i == 1 ? 1 : n) {
            send_text(p.b, frames + sent, i == 1 ? 1 : n);
            if (i == 1) {
                got += receive(ws, back + got, sizeof(back) - got);
            }
        }
        while (got < sizes[i]) {
            got += receive(ws, back + got, sizeof(back) - got);
        }
        g_assert_cmpmem(back, got, data, sizes[i]);
    }

    /* Ours aren't masked. */
    send_text(ws, "abc", 3);
    g_assert_cmpuint(receive(p.b, back, sizeof(back)), ==, 5);
    g_assert_cmpmem(back, 5,
                    "\x82\x03"
                    "abc",
                    5);

    /* The client closes: we answer, and the stream ends. */
    n = client_frame(frames, 0x88,
                     "\x03\xe8"
                     "bye",
                     5);
    send_text(p.b, frames, n);
    g_assert_cmpint(io_try_readv(ws, &(struct iovec){back, 1}, 1, NULL, &error), ==, 0);
    g_assert_cmpuint(receive(p.b, back, sizeof(back)), ==, 4);
    g_assert_cmpmem(back, 4, "\x88\x02\x03\xe8", 4);
    g_assert_cmpint(io_try_writev(ws, &(struct iovec){back, 1}, 1, NULL, 0, &error), ==, -1);
    assert_error_matches(error, "The websocket is closed*");
    g_clear_error(&error);
    io_channel_unref(ws);
    pair_clear(&p);
}

static void test_websocket_bad_frames(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *message;
        unsigned status;
    } bad[] = {
        {"\x82\x01"
         "a",
         3, "*must be masked", 1002},
        {"\xc2\x81", 2, "*reserved bits", 1002},
        {"\x81\x80", 2, "*only binary*", 1003},
        {"\x80\x80", 2, "*out of place", 1002},
        {"\x83\x80", 2, "*unknown kind*", 1002},
        {"\x09\x80", 2, "*can't be split", 1002},
        {"\x89\xfe", 2, "*too large", 1002},
        {"\x82\xfe\x00\x01"
         "mask",
         8, "*bad length*", 1002},
        {"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff"
         "mask",
         14, "*bad length*", 1002},
        {"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00"
         "mask",
         14, "*bad length*", 1002},
        {"\x02\x80"
         "mask"
         "\x82\x80",
         8, "*inside another*", 1002},
    };
    char answer[1024];
    guint8 back[64];
    GError *error = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct io_channel *ws;
        struct pair p;

        pair_init(&p);
        ws = open_websocket(&p, REQUEST TAIL, answer, sizeof(answer), &error);
        send_text(p.b, bad[i].bytes, bad[i].size);
        g_assert_cmpint(io_try_readv(ws, &(struct iovec){back, 64}, 1, NULL, &error), ==, -1);
        assert_error_matches(error, bad[i].message);
        g_clear_error(&error);
        g_assert_cmpint(io_try_readv(ws, &(struct iovec){back, 64}, 1, NULL, &error), ==, 0);
        g_assert_cmpuint(receive(p.b, back, sizeof(back)), ==, 4);
        g_assert_cmpuint(back[0], ==, 0x88);
        g_assert_cmpuint(back[2] << 8 | back[3], ==, bad[i].status);
        io_channel_unref(ws);
        pair_clear(&p);
    }
}

/* More than the socket holds waits in the channel, and goes out while nobody writes. */
static void test_websocket_backlog(void)
{
    guint8 data[1000], back[70000];
    struct transfer w;
    char answer[1024];
    GError *error = NULL;
    struct io_channel *ws;
    struct pair p;
    size_t total = 0, written = 0;
    ssize_t n;

    pair_init(&p);
    ws = open_websocket(&p, REQUEST TAIL, answer, sizeof(answer), &error);
    memset(data, 'd', sizeof(data));
    do {
        n = io_try_writev(ws, &(struct iovec){data, sizeof(data)}, 1, NULL, 0, &error);
        written += n > 0 ? (size_t)n + 4 : 0;
    } while (n > 0);
    g_assert_cmpint(n, ==, IO_WOULD_BLOCK);
    while (total < written) {
        total += receive(p.b, back, sizeof(back));
        event_loop_iterate(p.c.loop, false);
    }
    g_assert_cmpuint(total, ==, written);

    w = (struct transfer){.ch = ws, .data = g_malloc0(BIG), .size = BIG};
    coroutine_start(p.c.loop, co_write, &w);
    while (!w.done) {
        receive(p.b, back, sizeof(back));
        event_loop_iterate(p.c.loop, false);
    }
    g_assert_no_error(w.error);
    g_free(w.data);
    io_channel_unref(ws);
    pair_clear(&p);
}

/* A client that only pings and never reads must not make the channel grow. */
static void test_websocket_ping_flood(void)
{
    guint8 frames[20000], back[16];
    char answer[1024];
    GError *error = NULL;
    struct io_channel *ws;
    struct pair p;
    size_t n = 0;

    pair_init(&p);
    ws = open_websocket(&p, REQUEST TAIL, answer, sizeof(answer), &error);
    while (n + 200 < sizeof(frames)) {
        n += client_frame(frames + n, 0x89, answer, 125);
    }
    for (unsigned i = 0; i < 200; i++) {
        send_text(p.b, frames, n);
        g_assert_cmpint(io_try_readv(ws, &(struct iovec){back, 16}, 1, NULL, &error), ==,
                        IO_WOULD_BLOCK);
    }
    io_channel_unref(ws);
    pair_clear(&p);
}

/* ---- A client that is not ours ---- */

static void co_echo(void *opaque)
{
    struct server *s = opaque;
    char buffer[5000];
    ssize_t n;

    s->ch = io_channel_websocket_new(s->below, &s->error);
    while (s->ch && !s->error && (n = io_read(s->ch, buffer, sizeof(buffer), &s->error)) > 0) {
        io_write_all(s->ch, buffer, (size_t)n, &s->error);
    }
    s->done = true;
}

static void test_websocket_python(void)
{
    static const char *const args[] = {"websocket", NULL};
    struct server s = {0};
    struct control c;
    GPid pid;

    control_init(&c);
    s.below = io_channel_socket_new(c.loop, control_start_peer(&pid, args));
    coroutine_start(c.loop, co_echo, &s);
    control_run_until(&c, &s.done);
    g_assert_no_error(s.error);
    io_channel_unref(s.ch);
    io_channel_unref(s.below);
    control_finish_peer(pid);
    control_clear(&c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/io/socket", test_socket);
    g_test_add_func("/io/end", test_end);
    g_test_add_func("/io/cancel", test_cancel);
    g_test_add_func("/io/pipe-and-file", test_pipe_and_file);
    g_test_add_func("/io/watch", test_watch);
    g_test_add_func("/io/fds", test_fds);
    g_test_add_func("/io/websocket/handshake", test_websocket_handshake);
    g_test_add_func("/io/websocket/bad-handshake", test_websocket_bad_handshake);
    g_test_add_func("/io/websocket/frames", test_websocket_frames);
    g_test_add_func("/io/websocket/bad-frames", test_websocket_bad_frames);
    g_test_add_func("/io/websocket/backlog", test_websocket_backlog);
    g_test_add_func("/io/websocket/ping-flood", test_websocket_ping_flood);
    g_test_add_func("/io/websocket/python", test_websocket_python);
    return g_test_run();
}
