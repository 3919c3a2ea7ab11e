/*
 * netdev tap: an interface of the host (Linux' tun driver). Packets have the header of virtio in
 * front (10 bytes of it) where the kernel can, so that checksums and segments are left to whoever
 * can do them best.
 *
 * The program that is to run when the interface goes is started together with the netdev, by a
 * shell that waits for the end of its input: later the sandbox forbids new processes, and it runs
 * even if this program is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/netdev.h"
#include "util/event_loop.h"
#include "util/log.h"

enum {
    HEADER_SIZE = sizeof(struct virtio_net_hdr),
    MAX_BURST = 64,             /* packets that are read in a turn of the loop */
    MAX_SEGMENTS = 1024,
};

static const char default_script[] = "/etc/qemu-ifup", default_downscript[] = "/etc/qemu-ifdown";

struct tap_queue {
    struct net_client *client;
    int fd;
    bool blocked;               /* the peer has no room: nothing is read */
    bool full;                  /* the kernel has none */
    size_t waiting;             /* bytes in buffer that the peer hasn't taken */
    uint8_t *buffer;
};

struct tap {
    struct netdev netdev;
    char name[IFNAMSIZ];
    bool has_header;
    unsigned n_queues;
    struct tap_queue *queues;
    GPid down;                  /* the shell; 0: none */
    int down_pipe;              /* its input */
};

static struct tap *self(struct netdev *netdev)
{
    return (struct tap *)netdev;
}

static struct tap_queue *queue_of(struct net_client *client)
{
    return &self(client->netdev)->queues[client->index];
}

static void readable(void *opaque);
static void writable(void *opaque);

static void watch(struct tap_queue *q)
{
    event_loop_watch(net_loop(q->client->net), q->fd, q->blocked ? NULL : readable,
                     q->full ? writable : NULL, q);
}

/* ---- From the host ---- */

static bool send_waiting(struct tap_queue *q)
{
    const struct tap *tap = self(q->client->netdev);
    size_t header = tap->has_header ? HEADER_SIZE : 0;
    struct iovec iov = {q->buffer + header, q->waiting - header};
    struct net_packet packet = {.iov = &iov, .n_iov = 1, .size = iov.iov_len};

    if (header) {
        struct virtio_net_hdr h;

        memcpy(&h, q->buffer, sizeof(h));
        packet.offload = (struct net_offload){h.flags & (NET_NEEDS_CSUM | NET_CSUM_VALID),
                                              h.gso_type,   h.hdr_len,    h.gso_size,
                                              h.csum_start, h.csum_offset};
    }
    return net_send(q->client, &packet);
}

static void readable(void *opaque)
{
    struct tap_queue *q = opaque;
    size_t header = self(q->client->netdev)->has_header ? HEADER_SIZE : 0;

    for (unsigned i = 0; i < MAX_BURST; i++) {
        ssize_t n = read(q->fd, q->buffer, HEADER_SIZE + NET_MAX_PACKET);

        if (n <= (ssize_t)header) {
            return;
        }
        q->waiting = (size_t)n;
        if (!send_waiting(q)) {
            q->blocked = true;
            watch(q);
            return;
        }
        q->waiting = 0;
    }
}

static void can_send(struct net_client *client)
{
    struct tap_queue *q = queue_of(client);

    if (q->blocked && send_waiting(q)) {
        q->waiting = 0;
        q->blocked = false;
        watch(q);
    }
}

/* ---- To the host ---- */

static void writable(void *opaque)
{
    struct tap_queue *q = opaque;

    q->full = false;
    watch(q);
    net_ready(q->client);
}

/* What the kernel refuses otherwise (the interface is down) is lost, as on a wire. */
static bool receive(struct net_client *client, const struct net_packet *packet)
{
    struct tap_queue *q = queue_of(client);
    const struct net_offload *o = &packet->offload;
    struct virtio_net_hdr header = {
        .flags = o->flags & NET_NEEDS_CSUM, .gso_type = o->gso_type, .hdr_len = o->header_size,
        .gso_size = o->gso_size, .csum_start = o->csum_start, .csum_offset = o->csum_offset};
    struct iovec iov[MAX_SEGMENTS + 1];
    unsigned n = 0;
    ssize_t done;

    if (packet->n_iov > MAX_SEGMENTS) {
        return true;
    }
    if (self(client->netdev)->has_header) {
        iov[n++] = (struct iovec){&header, sizeof(header)};
    }
    memcpy(iov + n, packet->iov, packet->n_iov * sizeof(*iov));
    do {
        done = writev(q->fd, iov, (int)(n + packet->n_iov));
    } while (done < 0 && errno == EINTR);
    if (done < 0 && errno == EAGAIN) {
        q->full = true;
        watch(q);
        return false;
    }
    return true;
}

/* The host may send what the NIC's driver can take. */
static void link_changed(struct net_client *client)
{
    const struct tap *tap = self(client->netdev);
    unsigned takes = client->peer ? client->peer->takes : 0, offload = 0;

    if (!tap->has_header || !tap->queues) {
        return;
    }
    if (takes & NET_TAKES_CSUM) {
        offload |= TUN_F_CSUM;
        offload |= takes & NET_TAKES_TSO4 ? TUN_F_TSO4 : 0;
        offload |= takes & NET_TAKES_TSO6 ? TUN_F_TSO6 : 0;
        offload |= takes & (NET_TAKES_TSO4 | NET_TAKES_TSO6) && takes & NET_TAKES_ECN
                       ? TUN_F_TSO_ECN : 0;
    }
    if (ioctl(tap->queues[client->index].fd, TUNSETOFFLOAD, offload) < 0) {
        log_warn(net_context(client->net)->log, "netdev %s: TUNSETOFFLOAD: %s", client->name,
                 g_strerror(errno));
    }
}

/* ---- Programs ---- */

static bool is_program(const char *script)
{
    return *script && !g_str_equal(script, "no");
}

static bool run_script(const char *script, const char *name, GError **error)
{
    const char *argv[] = {script, name, NULL};
    GError *failed = NULL;
    int status;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL,
                      NULL, &status, &failed) ||
        !g_spawn_check_wait_status(status, &failed)) {
        net_error(error, "network script %s failed: %s; script=no runs none", script,
                  failed->message);
        g_error_free(failed);
        return false;
    }
    return true;
}

static bool start_downscript(struct tap *tap, const char *script, GError **error)
{
    const char *argv[] = {"/bin/sh", "-c", "read -r x; exec \"$0\" \"$1\"", script, tap->name,
                          NULL};

    if (access(script, X_OK) < 0) {
        /* The default one needn't be there: nothing says so before the end. */
        return true;
    }
    return g_spawn_async_with_pipes(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                                    NULL, &tap->down, &tap->down_pipe, NULL, NULL, error);
}

/* ---- The netdev ---- */

static unsigned n_fds(const char *fds)
{
    unsigned n = 1;

    for (; *fds; fds++) {
        n += *fds == ':';
    }
    return n;
}

static unsigned n_queues(const struct qapi_netdev *options)
{
    const struct qapi_netdev_tap_options *o = &options->u.tap;

    return o->fds ? n_fds(o->fds) : o->has_queues ? o->queues : 1;
}

static bool check_options(const struct qapi_netdev_tap_options *o, GError **error)
{
    bool makes = o->ifname || o->script || o->downscript || o->has_vnet_hdr || o->has_queues;

    if ((o->has_vhost && o->vhost) || (o->has_vhostforce && o->vhostforce) || o->vhostfd ||
        o->vhostfds || o->has_poll_us) {
        return net_error(error, "vhost is not built in Nandu " NANDU_VERSION "; use vhost=off");
    }
    if (o->br || o->helper) {
        return net_error(error, "helpers of bridges are not built in Nandu " NANDU_VERSION
                         "; make the tap first and use ifname= or fd=");
    }
    if (o->fd && o->fds) {
        return net_error(error, "fd= and fds= are mutually exclusive");
    }
    if ((o->fd || o->fds) && makes) {
        return net_error(error, "ifname=, script=, downscript=, vnet_hdr= and queues= are invalid "
                         "with %s=", o->fd ? "fd" : "fds");
    }
    if (o->has_sndbuf && o->sndbuf > INT_MAX) {
        return net_error(error, "sndbuf must be less than 2 GiB");
    }
    return true;
}

/* A new queue of the interface, which the first one makes. */
static int open_queue(struct tap *tap, const struct qapi_netdev_tap_options *o, GError **error)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    unsigned features = 0;
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) {
        net_error(error, "could not open /dev/net/tun: %s", g_strerror(errno));
        return -1;
    }
    if (ioctl(fd, TUNGETFEATURES, &features) == 0 && features & IFF_VNET_HDR &&
        (!o->has_vnet_hdr || o->vnet_hdr)) {
        request.ifr_flags |= IFF_VNET_HDR;
        tap->has_header = true;
    } else if (o->has_vnet_hdr && o->vnet_hdr) {
        net_error(error, "vnet_hdr=on requested, but the kernel doesn't support IFF_VNET_HDR");
        close(fd);
        return -1;
    }
    if (tap->netdev.n_clients > 1) {
        request.ifr_flags |= IFF_MULTI_QUEUE;
    }
    g_strlcpy(request.ifr_name, *tap->name ? tap->name : "tap%d", sizeof(request.ifr_name));
    if (ioctl(fd, TUNSETIFF, &request) < 0) {
        net_error(error, "could not configure /dev/net/tun (%s): %s", request.ifr_name,
                  g_strerror(errno));
        close(fd);
        return -1;
    }
    g_strlcpy(tap->name, request.ifr_name, sizeof(tap->name));
    return fd;
}

/* One that was made by somebody else. */
static bool look_at(struct tap *tap, int fd, const char *text, GError **error)
{
    struct ifreq request = {0};
    bool has_header;

    if (ioctl(fd, TUNGETIFF, &request) < 0 || !(request.ifr_flags & IFF_TAP)) {
        return net_error(error, "file descriptor %s isn't a tap", text);
    }
    has_header = request.ifr_flags & IFF_VNET_HDR;
    if (*tap->name && has_header != tap->has_header) {
        return net_error(error, "vnet_hdr not consistent across given tap fds");
    }
    tap->has_header = has_header;
    g_strlcpy(tap->name, request.ifr_name, sizeof(tap->name));
    return true;
}

static bool set_up_queue(struct tap *tap, const struct qapi_netdev_tap_options *o, int fd,
                         GError **error)
{
    struct tap_queue *q = &tap->queues[tap->n_queues];
    int size = HEADER_SIZE, room = o->has_sndbuf && o->sndbuf ? (int)o->sndbuf : INT_MAX;

    *q = (struct tap_queue){.client = &tap->netdev.clients[tap->n_queues], .fd = fd,
                            .buffer = g_malloc(HEADER_SIZE + NET_MAX_PACKET)};
    tap->n_queues++;
    if (tap->has_header && ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) {
        return net_error(error, "TUNSETVNETHDRSZ: %s", g_strerror(errno));
    }
    if (ioctl(fd, TUNSETSNDBUF, &room) < 0 && o->has_sndbuf) {
        return net_error(error, "TUNSETSNDBUF: %s", g_strerror(errno));
    }
    if (tap->has_header) {
        q->client->takes = NET_TAKES_CSUM | NET_TAKES_TSO4 | NET_TAKES_TSO6 | NET_TAKES_ECN;
    }
    watch(q);
    return true;
}

static bool open_given(struct tap *tap, const struct netdev_context *context,
                       const struct qapi_netdev_tap_options *o, GError **error)
{
    g_auto(GStrv) names = g_strsplit(o->fd ? o->fd : o->fds, ":", -1);

    for (unsigned i = 0; names[i]; i++) {
        int fd = netdev_take_fd(context, names[i], error);

        if (fd < 0) {
            g_prefix_error(error, "%s: ", tap->netdev.id);
            return false;
        }
        if (!look_at(tap, fd, names[i], error)) {
            close(fd);
            return false;
        }
        if (!set_up_queue(tap, o, fd, error)) {
            return false;
        }
    }
    return true;
}

static bool open_new(struct tap *tap, const struct qapi_netdev_tap_options *o, GError **error)
{
    const char *script = o->script ? o->script : default_script;
    const char *downscript = o->downscript ? o->downscript : default_downscript;

    if (o->ifname) {
        if (strlen(o->ifname) >= sizeof(tap->name)) {
            return net_error(error, "'%s' is too long for the name of an interface", o->ifname);
        }
        g_strlcpy(tap->name, o->ifname, sizeof(tap->name));
    }
    for (unsigned i = 0; i < tap->netdev.n_clients; i++) {
        int fd = open_queue(tap, o, error);

        if (fd < 0 || !set_up_queue(tap, o, fd, error)) {
            return false;
        }
    }
    return (!is_program(script) || run_script(script, tap->name, error)) &&
           (!is_program(downscript) || start_downscript(tap, downscript, error));
}

static bool open_tap(struct netdev *netdev, const struct netdev_context *context,
                     const struct qapi_netdev *options, GError **error)
{
    const struct qapi_netdev_tap_options *o = &options->u.tap;
    struct tap *tap = self(netdev);
    bool given = o->fd || o->fds;

    if (!check_options(o, error)) {
        return false;
    }
    tap->queues = g_new0(struct tap_queue, netdev->n_clients);
    if (given ? !open_given(tap, context, o, error) : !open_new(tap, o, error)) {
        return false;
    }
    for (unsigned i = 0; i < netdev->n_clients; i++) {
        if (given) {
            net_client_set_info(&netdev->clients[i], "tap,fd=%d", tap->queues[i].fd);
        } else {
            net_client_set_info(&netdev->clients[i], "tap,ifname=%s,script=%s,downscript=%s",
                                tap->name, o->script ? o->script : default_script,
                                o->downscript ? o->downscript : default_downscript);
        }
        link_changed(&netdev->clients[i]);
    }
    return true;
}

static void close_tap(struct netdev *netdev)
{
    struct tap *tap = self(netdev);

    if (tap->down) {
        close(tap->down_pipe);
        while (waitpid(tap->down, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    for (unsigned i = 0; i < tap->n_queues; i++) {
        event_loop_watch(net_loop(netdev->net), tap->queues[i].fd, NULL, NULL, NULL);
        close(tap->queues[i].fd);
        g_free(tap->queues[i].buffer);
    }
    g_clear_pointer(&tap->queues, g_free);
}

static const struct net_client_ops ops = {
    .receive = receive, .can_send = can_send, .link_changed = link_changed,
};

const struct netdev_kind netdev_tap = {
    .driver = QAPI_NET_CLIENT_DRIVER_TAP,
    .size = sizeof(struct tap),
    .n_queues = n_queues,
    .ops = &ops,
    .open = open_tap,
    .close = close_tap,
};
