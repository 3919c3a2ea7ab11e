/*
 * netdev user: a network of its own behind the host's sockets, by libslirp. Its descriptors and
 * deadlines hang in the main loop: what it waits for is asked once a turn in which it was run
 * (update), what has become ready is handed over once a turn (poll). Its time is the virtual
 * clock's, so that the guest's connections don't time out while the machine is stopped.
 */
#include "net/user.h"

#include <poll.h>
#include <poll.h>
#include <string.h>

#include "util/clock.h"
#include "util/event_loop.h"
#include "util/log.h"

struct user_fd {
    struct user_net *user;
    int fd;
    int wanted, ready;          /* SLIRP_POLL_... */
    unsigned round;             /* in which it was wanted last */
};

static const int64_t ns_per_ms = 1000000;

static struct user_net *self(struct netdev *netdev)
{
    return (struct user_net *)netdev;
}

void user_changed(struct user_net *user)
{
    bottom_half_schedule(user->update);
}

/* ---- Descriptors ---- */

static void fd_readable(void *opaque)
{
    struct user_fd *f = opaque;

    f->ready |= SLIRP_POLL_IN;
    bottom_half_schedule(f->user->ready);
}

static void fd_writable(void *opaque)
{
    struct user_fd *f = opaque;

    f->ready |= SLIRP_POLL_OUT;
    bottom_half_schedule(f->user->ready);
}

static void watch(struct user_fd *f)
{
    event_loop_watch(f->user->loop, f->fd, f->wanted & SLIRP_POLL_IN ? fd_readable : NULL,
                     f->wanted & SLIRP_POLL_OUT ? fd_writable : NULL, f);
}

static int add_poll(int fd, int events, void *opaque)
{
    struct user_net *user = opaque;
    struct user_fd *f = g_hash_table_lookup(user->fds, GINT_TO_POINTER(fd));

    events &= SLIRP_POLL_IN | SLIRP_POLL_OUT;
    if (!f) {
        f = g_new0(struct user_fd, 1);
        f->user = user;
        f->fd = fd;
        g_hash_table_insert(user->fds, GINT_TO_POINTER(fd), f);
    }
    if (f->round == user->round) {
        events |= f->wanted;
    }
    f->round = user->round;
    if (f->wanted != events) {
        f->wanted = events;
        watch(f);
    }
    g_ptr_array_add(user->polled, f);
    return (int)user->polled->len - 1;
}

static int get_ready(int index, void *opaque)
{
    struct user_net *user = opaque;
    const struct user_fd *f =
        index >= 0 && (guint)index < user->polled->len ? user->polled->pdata[index] : NULL;

    return f ? f->ready & f->wanted : 0;
}

static gboolean is_unwanted(gpointer key, gpointer value, gpointer opaque)
{
    const struct user_net *user = opaque;
    const struct user_fd *f = value;

    if (f->round == user->round) {
        return FALSE;
    }
    event_loop_watch(user->loop, f->fd, NULL, NULL, NULL);
    return TRUE;
}

/* libslirp is about to close it. */
static void forget_fd(int fd, void *opaque)
{
    struct user_net *user = opaque;
    struct user_fd *f = g_hash_table_lookup(user->fds, GINT_TO_POINTER(fd));
    guint i;

    if (f) {
        event_loop_watch(user->loop, fd, NULL, NULL, NULL);
        while (g_ptr_array_find(user->polled, f, &i)) {
            user->polled->pdata[i] = NULL;
        }
        g_hash_table_remove(user->fds, GINT_TO_POINTER(fd));
    }
}

static void update(void *opaque)
{
    struct user_net *user = opaque;
    uint32_t ms = UINT32_MAX;

    user->round++;
    g_ptr_array_set_size(user->polled, 0);
    slirp_pollfds_fill(user->slirp, &ms, add_poll, user);
    g_hash_table_foreach_remove(user->fds, is_unwanted, user);
    if (ms == UINT32_MAX) {
        timer_disarm(user->timeout);
    } else {
        timer_arm(user->timeout, clocks_now(user->clocks, CLOCK_VIRTUAL) + ms * ns_per_ms);
    }
}

/* What the loop reported may have been taken since, and libslirp's datagram sockets block. */
static void check_ready(struct user_fd *f)
{
    struct pollfd p = {.fd = f->fd};

    p.events = (f->ready & SLIRP_POLL_IN ? POLLIN : 0) | (f->ready & SLIRP_POLL_OUT ? POLLOUT : 0);
    if (poll(&p, 1, 0) <= 0) {
        f->ready = 0;
    } else if (!(p.revents & (POLLERR | POLLHUP))) {
        f->ready &= (p.revents & POLLIN ? SLIRP_POLL_IN : 0) |
                    (p.revents & POLLOUT ? SLIRP_POLL_OUT : 0);
    }
}

static void poll_slirp(void *opaque)
{
    struct user_net *user = opaque;
    GHashTableIter iter;
    gpointer f;

    g_hash_table_iter_init(&iter, user->fds);
    while (g_hash_table_iter_next(&iter, NULL, &f)) {
        if (((struct user_fd *)f)->ready) {
            check_ready(f);
        }
    }
    user->inside = true;
    slirp_pollfds_poll(user->slirp, 0, get_ready, user);
    user->inside = false;
    g_hash_table_iter_init(&iter, user->fds);
    while (g_hash_table_iter_next(&iter, NULL, &f)) {
        ((struct user_fd *)f)->ready = 0;
    }
    net_ready(&user->netdev.clients[0]);
    update(user);
}

/* ---- What libslirp calls ---- */

static ssize_t send_packet(const void *data, size_t size, void *opaque)
{
    struct user_net *user = opaque;
    struct iovec iov = {(void *)(uintptr_t)data, size};
    /* It has just computed the checksums. */
    struct net_packet packet = {.iov = &iov, .n_iov = 1, .size = size,
                                .offload.flags = NET_CSUM_VALID};

    net_send_now(&user->netdev.clients[0], &packet);
    return (ssize_t)size;
}

static void guest_error(const char *message, void *opaque)
{
    struct user_net *user = opaque;

    if (log_enabled(user->log, LOG_GUEST_ERROR)) {
        log_write(user->log, LOG_GUEST_ERROR, "netdev %s: %s\n", user->netdev.id, message);
    }
}

static int64_t now(void *opaque)
{
    return clocks_now(((struct user_net *)opaque)->clocks, CLOCK_VIRTUAL);
}

struct user_timer {
    struct user_net *user;
    struct timer *timer;
    SlirpTimerId id;
    void *opaque;
};

static void timer_due(void *opaque)
{
    struct user_timer *t = opaque;

    t->user->inside = true;
    slirp_handle_timer(t->user->slirp, t->id, t->opaque);
    t->user->inside = false;
    user_changed(t->user);
}

static void *new_timer(SlirpTimerId id, void *timer_opaque, void *opaque)
{
    struct user_net *user = opaque;
    struct user_timer *t = g_new0(struct user_timer, 1);

    *t = (struct user_timer){.user = user, .id = id, .opaque = timer_opaque};
    t->timer = timer_new(user->loop, user->clocks, CLOCK_VIRTUAL, timer_due, t);
    return t;
}

static void free_timer(void *timer, void *opaque)
{
    struct user_timer *t = timer;

    timer_free(t->timer);
    g_free(t);
}

static void arm_timer(void *timer, int64_t ms, void *opaque)
{
    timer_arm(((struct user_timer *)timer)->timer, ms * ns_per_ms);
}

static void register_fd(int fd, void *opaque)
{
}

/* Room for what comes from guestfwd's devices, or something to send. */
static void notify(void *opaque)
{
    struct user_net *user = opaque;

    user_changed(user);
    bottom_half_schedule(user->ready);
}

static void initialized(Slirp *slirp, void *opaque)
{
}

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = now,
    .timer_free = free_timer,
    .timer_mod = arm_timer,
    .register_poll_fd = register_fd,
    .unregister_poll_fd = forget_fd,
    .notify = notify,
    .init_completed = initialized,
    .timer_new_opaque = new_timer,
};

/* ---- The netdev ---- */

/* TCP segments may be longer than the MTU: libslirp takes them as they are. */
static bool receive(struct net_client *client, const struct net_packet *packet)
{
    struct user_net *user = self(client->netdev);
    g_autofree uint8_t *copy = NULL;
    const uint8_t *data = packet->iov[0].iov_base;

    if (user->inside) {
        return false;
    }
    if (packet->n_iov > 1) {
        copy = g_malloc(packet->size);
        net_packet_copy(packet, copy, packet->size);
        data = copy;
    }
    user->inside = true;
    slirp_input(user->slirp, data, (int)packet->size);
    user->inside = false;
    user_changed(user);
    return true;
}

static void ready(void *opaque)
{
    struct user_net *user = opaque;

    poll_slirp(user);
    user_guest_forwards_ready(user);
}

static bool add_forwards(struct user_net *user, const struct netdev_context *context,
                         const struct qapi_netdev_user_options *options, GError **error)
{
    for (size_t i = 0; i < options->hostfwd.n; i++) {
        if (!user_add_host_forward(user, options->hostfwd.v[i].str, error)) {
            return false;
        }
    }
    for (size_t i = 0; i < options->guestfwd.n; i++) {
        if (!user_add_guest_forward(user, context, options->guestfwd.v[i].str, error)) {
            return false;
        }
    }
    return true;
}

static bool open_user(struct netdev *netdev, const struct netdev_context *context,
                      const struct qapi_netdev *options, GError **error)
{
    const struct object_context *program = net_context(netdev->net);
    struct user_net *user = self(netdev);
    struct user_config config;
    char network[INET_ADDRSTRLEN];
    bool ok;

    user->loop = program->loop;
    user->clocks = program->clocks;
    user->log = program->log;
    user->guest_forwards = g_ptr_array_new();
    user->fds = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    user->polled = g_ptr_array_new();
    user->update = bottom_half_new(user->loop, update, user);
    user->ready = bottom_half_new(user->loop, ready, user);
    user->timeout = timer_new(user->loop, user->clocks, CLOCK_VIRTUAL, poll_slirp, user);
    ok = user_config_init(&config, &options->u.user, error);
    if (ok) {
        inet_ntop(AF_INET, &config.slirp.vnetwork, network, sizeof(network));
        net_client_set_info(&netdev->clients[0], "user,net=%s,restrict=%s", network,
                            config.slirp.restricted ? "on" : "off");
        netdev->clients[0].takes = NET_TAKES_TSO4;
        user->slirp = slirp_new(&config.slirp, &callbacks, user);
        ok = user->slirp || net_error(error, "libslirp can't make such a network");
    }
    user_config_clear(&config);
    ok = ok && add_forwards(user, context, &options->u.user, error);
    if (ok) {
        user_changed(user);
    }
    return ok;
}

static void close_user(struct netdev *netdev)
{
    struct user_net *user = self(netdev);

    user_close_guest_forwards(user);
    if (user->slirp) {
        slirp_cleanup(user->slirp);
    }
    /* What it closed without a word is unwatched here. */
    user->round++;
    g_hash_table_foreach_remove(user->fds, is_unwanted, user);
    g_hash_table_unref(user->fds);
    g_ptr_array_unref(user->polled);
    g_ptr_array_unref(user->guest_forwards);
    bottom_half_free(user->update);
    bottom_half_free(user->ready);
    timer_free(user->timeout);
}

static const struct net_client_ops ops = {.receive = receive};

const struct netdev_kind netdev_user = {
    .driver = QAPI_NET_CLIENT_DRIVER_USER,
    .size = sizeof(struct user_net),
    .ops = &ops,
    .open = open_user,
    .close = close_user,
};
