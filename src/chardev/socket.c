/*
 * socket: a stream socket, server or client, with TLS, WebSocket or Telnet on top.
 *
 *     listening, or waiting to connect again <--------------------+
 *       |  accept, connect (in a coroutine)                       |
 *       v                                                         |
 *     attempt: handshakes of TLS and WebSocket (in a coroutine) --+  failed, took too long, yank
 *       |                                                         |
 *       v                                                         |
 *     channel: connected -----------------------------------------+  end of the stream, error, yank
 *
 * A server has one client at a time; while it has one that stays, nothing is accepted.
 *
 * Input is read ahead by one buffer, also while the front end takes none: else it would go unseen
 * that a client has left, and the next one would wait for a guest that doesn't read.
 */
#include "chardev/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chardev/socket_config.h"
#include "chardev/telnet.h"
#include "util/clock.h"
#include "util/coroutine.h"
#include "util/log.h"

#define NS_PER_MS          1000000
#define HANDSHAKE_LIMIT_NS (10000LL * NS_PER_MS) /* else one that hangs keeps all others out */
#define NO_DESCRIPTORS_NS  (1000LL * NS_PER_MS)  /* until accepting is tried again */

enum { BACKLOG = 16 }; /* clients that may wait for their turn */

struct socket_backend;

/*
 * A connection that is being made. It may outlive its place in the back end, and is cancelled then.
 */
struct attempt {
    struct socket_backend *s; /* a reference to base */
    struct io_channel *raw;   /* below the handshakes; NULL: not connected yet */
    bool cancelled;
};

struct socket_backend {
    struct chardev_backend base;
    struct qapi_chardev_socket config; /* a copy */
    struct qapi_socket_address address;
    bool server, is_telnet, is_websocket;
    int64_t reconnect_ms;     /* 0: never */
    struct object *creds;     /* a reference; NULL: no TLS */
    GArray *listeners;        /* descriptors */
    struct timer *timer;      /* to connect or listen again; while there is an attempt, its limit */
    struct bottom_half *drop; /* ends the connection, not from inside of writing */
    struct attempt *attempt;
    struct io_channel *channel;
    uint8_t ahead[CHARDEV_READ_SIZE]; /* what was read and the front end didn't take yet: */
    size_t ahead_at, n_ahead;         /* n_ahead bytes from ahead_at on */
    bool at_end;                      /* of what the peer sends; disconnected when all is taken */
    struct bottom_half *deliver;      /* gives what is ahead to the front end */
    struct coroutine *waiter;         /* wants the connection */
    bool want_write, error_told;
    GArray *in_fds, *out_fds;
    struct telnet telnet;
};

static void disconnect(void *opaque);
static void start_session(struct socket_backend *s, int fd);
static void start_connecting(struct socket_backend *s);

static void arm(struct socket_backend *s, int64_t ns)
{
    timer_arm(s->timer, clocks_now(s->base.chr->context->clocks, CLOCK_REAL) + ns);
}

static void clear_fds(GArray *fds)
{
    for (guint i = 0; i < fds->len; i++) {
        close(g_array_index(fds, int, i));
    }
    g_array_set_size(fds, 0);
}

/* What query-chardev shows. */

static void show_disconnected(struct socket_backend *s)
{
    struct qapi_socket_address *real = NULL;
    g_autofree char *text = NULL;

    /* The port that port 0 became. */
    if (s->listeners->len && s->address.type == QAPI_SOCKET_ADDRESS_TYPE_INET) {
        real = socket_local_address(g_array_index(s->listeners, int, 0), NULL);
    }
    text = socket_config_text(&s->config, real ? real : &s->address);
    chardev_set_filename(&s->base, "disconnected:%s%s", text, s->server ? ",server=on" : "");
    if (real) {
        qapi_free(&qapi_type_socket_address, real);
    }
}

static void show_connected(struct socket_backend *s)
{
    struct qapi_socket_address *local = socket_local_address(s->channel->fd, NULL);
    struct qapi_socket_address *remote = socket_remote_address(s->channel->fd, NULL);
    const char *server = s->server ? ",server=on" : "";

    if (local && remote && local->type == QAPI_SOCKET_ADDRESS_TYPE_INET &&
        remote->type == QAPI_SOCKET_ADDRESS_TYPE_INET) {
        g_autofree char *here = socket_config_text(&s->config, local),
                        *there = socket_config_text(&s->config, remote);

        chardev_set_filename(&s->base, "%s%s <-> %s", here, server, strchr(there, ':') + 1);
    } else {
        g_autofree char *text = socket_config_text(&s->config, &s->address);

        chardev_set_filename(&s->base, "%s%s", text, server);
    }
    if (local) {
        qapi_free(&qapi_type_socket_address, local);
    }
    if (remote) {
        qapi_free(&qapi_type_socket_address, remote);
    }
}

/* Listening. */

static void stop_listening(struct socket_backend *s)
{
    for (guint i = 0; i < s->listeners->len; i++) {
        event_loop_watch(s->base.chr->context->loop, g_array_index(s->listeners, int, i), NULL,
                         NULL, NULL);
    }
}

static bool accept_client(struct socket_backend *s)
{
    for (guint i = 0; i < s->listeners->len; i++) {
        int fd =
            accept4(g_array_index(s->listeners, int, i), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            disconnect(s);
            if (s->base.closed) {
                close(fd);
                return false;
            }
            stop_listening(s);
            start_session(s, fd);
            return true;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            stop_listening(s);
            arm(s, NO_DESCRIPTORS_NS);
            return false;
        }
    }
    return false;
}

static void somebody_knocks(void *opaque)
{
    struct socket_backend *s = opaque;
    auto_ptr(chardev_backend) keep = chardev_backend_ref(&s->base);

    accept_client(s);
}

static void listen_again(struct socket_backend *s)
{
    for (guint i = 0; i < s->listeners->len; i++) {
        event_loop_watch(s->base.chr->context->loop, g_array_index(s->listeners, int, i),
                         somebody_knocks, NULL, s);
    }
}

/* There is no connection (any more); prepares the next one. */
static void try_again(struct socket_backend *s)
{
    if (s->base.closed) {
        return;
    }
    if (s->server) {
        listen_again(s);
    } else if (s->reconnect_ms) {
        arm(s, s->reconnect_ms * NS_PER_MS);
    }
}

static void tell_error(struct socket_backend *s, const GError *error)
{
    /* One of a row of failures is enough. */
    if (!s->error_told) {
        s->error_told = true;
        log_warn(s->base.chr->context->log, "chardev '%s' can't be connected: %s", s->base.chr->id,
                 error->message);
    }
}

static void on_timer(void *opaque)
{
    struct socket_backend *s = opaque;

    if (s->attempt) {
        if (s->attempt->raw) {
            io_shutdown(s->attempt->raw, SHUT_RDWR);
        }
    } else if (s->server) {
        listen_again(s);
    } else if (s->channel) {
        disconnect(s);
    } else {
        start_connecting(s);
    }
}

/* Connected. */

static void update_watch(struct socket_backend *s);

static void disconnect(void *opaque)
{
    struct socket_backend *s = opaque;
    auto_ptr(chardev_backend) keep = chardev_backend_ref(&s->base);

    if (!s->channel) {
        return;
    }
    bottom_half_cancel(s->drop);
    io_watch(s->channel, NULL, NULL, NULL);
    io_channel_unref(g_steal_pointer(&s->channel));
    s->n_ahead = 0;
    clear_fds(s->in_fds);
    clear_fds(s->out_fds);
    show_disconnected(s);
    try_again(s);
    chardev_closed(&s->base);
}

/* Gives the front end what it takes of what is there. */
static void deliver(struct socket_backend *s)
{
    size_t n;

    while (!s->base.closed && (n = chardev_room(&s->base, s->n_ahead)) > 0) {
        s->ahead_at += n;
        s->n_ahead -= n;
        chardev_receive(&s->base, s->ahead + s->ahead_at - n, n);
    }
    if (!s->base.closed && s->channel && s->at_end && !s->n_ahead) {
        disconnect(s);
    }
    update_watch(s);
}

static void deliver_later(void *opaque)
{
    struct socket_backend *s = opaque;
    auto_ptr(chardev_backend) keep = chardev_backend_ref(&s->base);

    deliver(s);
}

/* The end came. If the front end didn't take all yet, who comes next doesn't wait for that. */
static void linger(struct socket_backend *s)
{
    s->at_end = true;
    if (s->n_ahead) {
        try_again(s);
    }
}

/* Those that came with bytes that the front end has are of no use any more. */
static void take_over_fds(struct socket_backend *s, GArray *fds)
{
    if (!s->n_ahead) {
        clear_fds(s->in_fds);
    }
    for (guint i = 0; i < fds->len; i++) {
        int fd = g_array_index(fds, int, i);

        if (s->in_fds->len < IO_MAX_FDS) {
            g_array_append_val(s->in_fds, fd);
        } else {
            close(fd);
        }
    }
}

static void socket_readable(void *opaque)
{
    struct socket_backend *s = opaque;
    auto_ptr(chardev_backend) keep = chardev_backend_ref(&s->base);
    g_autoptr(GArray) fds = g_array_new(false, false, sizeof(int));
    uint8_t *end = s->ahead + s->n_ahead;
    struct iovec iov = {end, sizeof(s->ahead) - s->n_ahead};
    bool brk = false;
    ssize_t n;

    memmove(s->ahead, s->ahead + s->ahead_at, s->n_ahead);
    s->ahead_at = 0;
    n = io_try_readv(s->channel, &iov, 1, fds, NULL);
    if (fds->len) {
        take_over_fds(s, fds);
    }
    if (n != IO_WOULD_BLOCK && n <= 0) {
        linger(s);
    } else if (n > 0) {
        s->n_ahead += s->is_telnet ? telnet_filter(&s->telnet, end, n, &brk) : (size_t)n;
    }
    if (brk) {
        chardev_break(&s->base);
    }
    deliver(s);
}

static void socket_writable(void *opaque)
{
    struct socket_backend *s = opaque;

    chardev_writable(&s->base);
}

static void update_watch(struct socket_backend *s)
{
    if (!s->base.closed && s->channel) {
        io_watch(s->channel, s->n_ahead == sizeof(s->ahead) || s->at_end ? NULL : socket_readable,
                 s->want_write ? socket_writable : NULL, s);
    }
}

/* Takes over the reference to channel. */
static void connected(struct socket_backend *s, struct io_channel *channel)
{
    auto_ptr(chardev_backend) keep = chardev_backend_ref(&s->base);

    timer_disarm(s->timer);
    s->channel = channel;
    s->error_told = s->at_end = false;
    s->telnet = (struct telnet){0};
    show_connected(s);
    if (s->server && s->is_telnet) {
        struct iovec iov = {(void *)telnet_greeting, telnet_greeting_size};

        /* The first bytes of a connection always fit. */
        io_try_writev(channel, &iov, 1, NULL, 0, NULL);
    }
    chardev_opened(&s->base);
    update_watch(s);
    if (s->waiter) {
        coroutine_wake(g_steal_pointer(&s->waiter));
    }
}

/* Making a connection. */

static struct attempt *attempt_new(struct socket_backend *s, struct io_channel *raw)
{
    struct attempt *attempt = g_new0(struct attempt, 1);

    chardev_backend_ref(&s->base);
    attempt->s = s;
    attempt->raw = raw;
    s->attempt = attempt;
    return attempt;
}

static void attempt_cancel(struct socket_backend *s)
{
    if (s->attempt) {
        s->attempt->cancelled = true;
        if (s->attempt->raw) {
            io_shutdown(s->attempt->raw, SHUT_RDWR);
        }
        s->attempt = NULL;
    }
}

/* True if the attempt's result is still wanted. */
static bool attempt_end(struct attempt *attempt)
{
    bool wanted = !attempt->cancelled;

    if (wanted) {
        attempt->s->attempt = NULL;
        timer_disarm(attempt->s->timer);
    }
    if (attempt->raw) {
        io_channel_unref(attempt->raw);
    }
    g_free(attempt);
    return wanted;
}

static struct io_channel *shake_hands(struct socket_backend *s, struct io_channel *raw,
                                      GError **error)
{
    auto_ptr(io_channel) ch = io_channel_ref(raw);

    if (s->creds) {
        bool named = !s->server && s->address.type == QAPI_SOCKET_ADDRESS_TYPE_INET;
        struct io_channel *tls =
            io_channel_tls_new(ch, s->creds, s->server, named ? s->address.u.inet.host : NULL,
                               s->config.tls_authz, error);

        io_channel_unref(ch);
        ch = tls;
    }
    if (ch && s->is_websocket) {
        struct io_channel *websocket = io_channel_websocket_new(ch, error);

        io_channel_unref(ch);
        ch = websocket;
    }
    return g_steal_pointer(&ch);
}

static void handshake_coroutine(void *opaque)
{
    struct attempt *attempt = opaque;
    struct socket_backend *s = attempt->s;
    auto_ptr(chardev_backend) keep = &s->base; /* the attempt's */
    g_autoptr(GError) error = NULL;
    struct io_channel *ch = shake_hands(s, attempt->raw, &error);

    if (!attempt_end(attempt)) {
        if (ch) {
            io_channel_unref(ch);
        }
    } else if (ch) {
        connected(s, ch);
    } else {
        tell_error(s, error);
        try_again(s);
    }
}

/* Takes the connected socket. */
static void start_session(struct socket_backend *s, int fd)
{
    struct event_loop *loop = s->base.chr->context->loop;
    struct io_channel *raw;
    int on = 1;

    if (s->config.nodelay) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    raw = io_channel_socket_new(loop, fd);
    if (!s->creds && !s->is_websocket) {
        connected(s, raw);
        return;
    }
    arm(s, HANDSHAKE_LIMIT_NS);
    coroutine_start(loop, handshake_coroutine, attempt_new(s, raw));
}

static void connect_coroutine(void *opaque)
{
    struct attempt *attempt = opaque;
    struct socket_backend *s = attempt->s;
    auto_ptr(chardev_backend) keep = &s->base; /* the attempt's */
    g_autoptr(GError) error = NULL;
    int fd = socket_connect(&s->address, NULL, NULL, &error);

    if (!attempt_end(attempt)) {
        if (fd >= 0) {
            close(fd);
        }
    } else if (fd >= 0) {
        start_session(s, fd);
    } else {
        tell_error(s, error);
        try_again(s);
    }
}

static void start_connecting(struct socket_backend *s)
{
    coroutine_start(s->base.chr->context->loop, connect_coroutine, attempt_new(s, NULL));
}

/* The back end's functions. */

static ssize_t write_bytes(struct socket_backend *s, const void *data, size_t size)
{
    struct iovec iov = {(void *)data, size};
    ssize_t n = io_try_writev(s->channel, &iov, 1, (const int *)(void *)s->out_fds->data,
                              s->out_fds->len, NULL);

    if (n == IO_WOULD_BLOCK) {
        return 0;
    }
    if (n >= 0) {
        clear_fds(s->out_fds);
        return n;
    }
    /* What the peer sent before it went can still be read: that finds its end then. */
    if (s->n_ahead == sizeof(s->ahead)) {
        bottom_half_schedule(s->drop);
    }
    return -1;
}

/* 255 is sent twice (RFC 854, "the data byte 255"). */
static ssize_t write_telnet(struct socket_backend *s, const uint8_t *data, size_t size)
{
    static const uint8_t escaped[] = {TELNET_IAC, TELNET_IAC};
    size_t done = 0;

    while (done < size) {
        const uint8_t *special = memchr(data + done, TELNET_IAC, size - done);
        size_t plain = special ? (size_t)(special - data) - done : size - done;
        ssize_t n;

        if (s->telnet.owed_iac) {
            n = write_bytes(s, escaped, 1);
            if (n > 0) {
                s->telnet.owed_iac = false;
                continue;
            }
        } else if (plain) {
            n = write_bytes(s, data + done, plain);
            done += MAX(n, 0);
        } else {
            n = write_bytes(s, escaped, 2);
            done += n > 0;
            s->telnet.owed_iac = n == 1;
        }
        if (n <= 0) {
            return done ? (ssize_t)done : n;
        }
    }
    return done;
}

static ssize_t socket_write(struct chardev_backend *b, const void *data, size_t size)
{
    struct socket_backend *s = (struct socket_backend *)b;

    if (!s->channel) {
        return -1;
    }
    if (s->is_telnet) {
        return write_telnet(s, data, size);
    }
    return write_bytes(s, data, size);
}

static void socket_watch_writable(struct chardev_backend *b, bool on)
{
    struct socket_backend *s = (struct socket_backend *)b;

    if (s->want_write != on) {
        s->want_write = on;
        update_watch(s);
    }
}

static void socket_accept_input(struct chardev_backend *b)
{
    struct socket_backend *s = (struct socket_backend *)b;

    if (s->n_ahead) {
        bottom_half_schedule(s->deliver);
    }
}

static int socket_take_fd(struct chardev_backend *b)
{
    struct socket_backend *s = (struct socket_backend *)b;
    int fd;

    if (!s->in_fds->len) {
        return -1;
    }
    fd = g_array_index(s->in_fds, int, 0);
    g_array_remove_index(s->in_fds, 0);
    return fd;
}

static bool socket_set_fds(struct chardev_backend *b, const int *fds, size_t n)
{
    struct socket_backend *s = (struct socket_backend *)b;

    clear_fds(s->out_fds);
    if (!s->channel || !s->channel->can_pass_fds || n > IO_MAX_FDS) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

        if (fd < 0) {
            clear_fds(s->out_fds);
            return false;
        }
        g_array_append_val(s->out_fds, fd);
    }
    return true;
}

/*
 * Waits for a client outside of the event loop. Signals that end the program, which may be blocked
 * so that the loop gets them, end the waiting.
 */
static bool wait_for_client(struct socket_backend *s, GError **error)
{
    struct pollfd pfds[8];
    nfds_t n = MIN(s->listeners->len, G_N_ELEMENTS(pfds) - 1);
    const char *id = s->base.chr->id;
    bool interrupted = false;
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    for (nfds_t i = 0; i < n; i++) {
        pfds[i] = (struct pollfd){.fd = g_array_index(s->listeners, int, i), .events = POLLIN};
    }
    pfds[n] = (struct pollfd){.fd = signalfd(-1, &signals, SFD_CLOEXEC), .events = POLLIN};
    while (!interrupted && !accept_client(s)) {
        interrupted = (poll(pfds, n + 1, -1) < 0 && errno != EINTR) || pfds[n].revents;
    }
    if (pfds[n].fd >= 0) {
        close(pfds[n].fd);
    }
    if (interrupted) {
        return chardev_error(error, "chardev '%s': waiting for a client was interrupted", id);
    }
    return true;
}

static bool socket_wait_connected(struct chardev_backend *b, GError **error)
{
    struct socket_backend *s = (struct socket_backend *)b;
    auto_ptr(chardev_backend) keep = chardev_backend_ref(b);

    if (!s->server || !s->config.wait || s->channel) {
        return true;
    }
    if (coroutine_self()) {
        while (!s->channel && !b->closed) {
            s->waiter = coroutine_self();
            co_yield();
        }
        return s->channel || chardev_error(error, "The chardev went while it waited for a client");
    }
    if (s->attempt) {
        return true;                /* its handshakes go on in the event loop */
    }
    log_error(b->chr->context->log, "info: waiting for connection on: %s", b->filename);
    return wait_for_client(s, error);
}

static void socket_yank(struct chardev_backend *b)
{
    struct socket_backend *s = (struct socket_backend *)b;

    if (s->attempt) {
        attempt_cancel(s);
        timer_disarm(s->timer);
        try_again(s);
    } else if (s->channel) {
        io_shutdown(s->channel, SHUT_RDWR);
        bottom_half_schedule(s->drop);
    }
}

static bool socket_open(struct chardev_backend *b, const struct chardev_setup *setup,
                        GError **error)
{
    struct socket_backend *s = (struct socket_backend *)b;
    const struct qapi_chardev_socket *config = setup->config->u.socket.data;
    const struct chardev_context *context = b->chr->context;
    int fd;

    qapi_copy(&qapi_type_chardev_socket, config, &s->config);
    chardev_flatten_address(config->addr, &s->address);
    s->server = !config->has_server || config->server;
    s->is_telnet = config->has_telnet && config->telnet;
    s->is_websocket = config->has_websocket && config->websocket;
    s->reconnect_ms = config->has_reconnect      ? config->reconnect * 1000
                      : config->has_reconnect_ms ? config->reconnect_ms
                                                 : 0;
    s->listeners = g_array_new(false, false, sizeof(int));
    s->in_fds = g_array_new(false, false, sizeof(int));
    s->out_fds = g_array_new(false, false, sizeof(int));
    if (!socket_config_check(config, s->server, error) ||
        !socket_config_creds(config, context->root, s->server, &s->creds, error)) {
        s->creds = NULL;
        return false;
    }
    if (s->creds) {
        object_ref(s->creds);
    }
    s->timer = timer_new(context->loop, context->clocks, CLOCK_REAL, on_timer, s);
    s->drop = bottom_half_new(context->loop, disconnect, s);
    s->deliver = bottom_half_new(context->loop, deliver_later, s);
    if (s->server) {
        if (!socket_listen(&s->address, BACKLOG, setup->get_fd, setup->get_fd_opaque, s->listeners,
                           error)) {
            return false;
        }
        show_disconnected(s);
        listen_again(s);
        return true;
    }
    show_disconnected(s);
    if (s->reconnect_ms) {
        start_connecting(s);
        return true;
    }
    fd = (coroutine_self() ? socket_connect : socket_connect_blocking)(&s->address, setup->get_fd,
                                                                       setup->get_fd_opaque, error);
    if (fd < 0) {
        return false;
    }
    start_session(s, fd);
    return true;
}

static void socket_close(struct chardev_backend *b)
{
    struct socket_backend *s = (struct socket_backend *)b;

    attempt_cancel(s);
    if (s->channel) {
        io_watch(s->channel, NULL, NULL, NULL);
        io_channel_unref(g_steal_pointer(&s->channel));
    }
    if (s->listeners->len) {
        stop_listening(s);
        socket_unlink(&s->address);
    }
    clear_fds(s->listeners);
    clear_fds(s->in_fds);
    clear_fds(s->out_fds);
    if (s->timer) {
        timer_free(s->timer);
        bottom_half_free(s->drop);
        bottom_half_free(s->deliver);
    }
    if (s->waiter) {
        coroutine_wake(g_steal_pointer(&s->waiter));
    }
}

static void socket_finalize(struct chardev_backend *b)
{
    struct socket_backend *s = (struct socket_backend *)b;

    if (s->creds) {
        object_unref(s->creds);
    }
    g_array_unref(s->listeners);
    g_array_unref(s->in_fds);
    g_array_unref(s->out_fds);
    qapi_clear(&qapi_type_chardev_socket, &s->config);
    qapi_clear(&qapi_type_socket_address, &s->address);
}

static const struct chardev_backend_ops socket_ops = {
    .size = sizeof(struct socket_backend),
    .open = socket_open,
    .close = socket_close,
    .finalize = socket_finalize,
    .write = socket_write,
    .watch_writable = socket_watch_writable,
    .accept_input = socket_accept_input,
    .take_fd = socket_take_fd,
    .set_fds = socket_set_fds,
    .wait_connected = socket_wait_connected,
    .yank = socket_yank,
};

static bool get_address(struct object *obj, const struct property *prop, void *value,
                        GError **error)
{
    struct socket_backend *s = (struct socket_backend *)((struct chardev *)obj)->backend;

    if (!s) {
        return chardev_error(error, "the chardev has no address yet");
    }
    qapi_copy(&qapi_type_socket_address, &s->address, value);
    return true;
}

static bool get_connected(struct object *obj, const struct property *prop, void *value,
                          GError **error)
{
    *(bool *)value = ((struct chardev *)obj)->open;
    return true;
}

static const struct property socket_properties[] = {
    {.name = "connected",
     .type = &qapi_type_bool,
     .get = get_connected,
     .flags = PROPERTY_READ_ONLY,
     .description = "whether there is a connection"},
    {.name = "addr",
     .type = &qapi_type_socket_address,
     .get = get_address,
     .flags = PROPERTY_READ_ONLY,
     .description = "where it listens or connects to"},
};

static const struct object_type chardev_socket_type = {
    .name = "chardev-socket",
    .parent = "chardev",
    .description = "stream socket",
    .properties = socket_properties,
    .n_properties = G_N_ELEMENTS(socket_properties),
    .class_data = &socket_ops,
};
OBJECT_TYPE(chardev_socket_type);
