/* netdev user: hostfwd and guestfwd, at start and by the monitor. */
#include <string.h>

#include "chardev/chardev.h"
#include "net/user.h"
#include "util/event_loop.h"

enum { MAX_PORT = 65535, QUEUE_LIMIT = 16 << 20 };

/* A chardev on an address of the guest's network. */
struct guest_forward {
    struct user_net *user;
    struct chardev *chr;
    struct in_addr server;
    int port;
};

struct rule {
    bool udp;
    struct in_addr host, guest;
    int host_port, guest_port;
};

/* What is in front of the separator, which is skipped; NULL: there is none. Caller frees. */
static char *take_part(const char **text, char separator)
{
    const char *end = strchr(*text, separator);
    char *part = end ? g_strndup(*text, end - *text) : NULL;

    if (end) {
        *text = end + 1;
    }
    return part;
}

static bool parse_port(const char *text, int min, int *port)
{
    guint64 value;

    if (!g_ascii_string_to_unsigned(text, 10, min, MAX_PORT, &value, NULL)) {
        return false;
    }
    *port = (int)value;
    return true;
}

static const char *parse_protocol(const char **text, bool *udp)
{
    g_autofree char *protocol = take_part(text, ':');

    if (!protocol) {
        return "Missing : separator";
    }
    *udp = g_str_equal(protocol, "udp");
    return *udp || !*protocol || g_str_equal(protocol, "tcp") ? NULL : "Bad protocol name";
}

static const char *parse_address(const char **text, struct in_addr *address, const char *missing,
                                 const char *bad)
{
    g_autofree char *part = take_part(text, ':');

    address->s_addr = INADDR_ANY;
    return !part ? missing : *part && !inet_aton(part, address) ? bad : NULL;
}

/* [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT; NULL or what is wrong. */
static const char *parse_rule(const char *text, struct rule *rule)
{
    const char *wrong = parse_protocol(&text, &rule->udp);
    g_autofree char *port = NULL;

    if (!wrong) {
        wrong = parse_address(&text, &rule->host, "Missing : separator", "Bad host address");
    }
    if (wrong) {
        return wrong;
    }
    port = take_part(&text, '-');
    if (!port) {
        return "Bad host port separator";
    }
    if (!parse_port(port, 0, &rule->host_port)) {
        return "Bad host port";
    }
    wrong = parse_address(&text, &rule->guest, "Missing guest address", "Bad guest address");
    if (wrong) {
        return wrong;
    }
    return parse_port(text, 1, &rule->guest_port) ? NULL : "Bad guest port";
}

bool user_add_host_forward(struct user_net *user, const char *text, GError **error)
{
    struct rule rule;
    const char *wrong = parse_rule(text, &rule);

    if (wrong) {
        return net_error(error, "Invalid host forwarding rule '%s' (%s)", text, wrong);
    }
    if (slirp_add_hostfwd(user->slirp, rule.udp, rule.host, rule.host_port, rule.guest,
                          rule.guest_port) < 0) {
        return net_error(error, "Could not set up host forwarding rule '%s'", text);
    }
    user_changed(user);
    return true;
}

/* ---- guestfwd ---- */

static size_t can_receive(void *opaque)
{
    struct guest_forward *f = opaque;

    return slirp_socket_can_recv(f->user->slirp, f->server, f->port);
}

static void receive(void *opaque, const uint8_t *data, size_t size)
{
    struct guest_forward *f = opaque;

    slirp_socket_recv(f->user->slirp, f->server, f->port, data, (int)size);
    user_changed(f->user);
}

static const struct chardev_frontend_ops frontend = {
    .can_receive = can_receive, .receive = receive,
};

/* From inside libslirp, which can't be told to wait. */
static ssize_t write_chardev(const void *data, size_t size, void *opaque)
{
    struct guest_forward *f = opaque;

    chardev_write_queued(f->chr, data, size, QUEUE_LIMIT);
    return (ssize_t)size;
}

void user_guest_forwards_ready(struct user_net *user)
{
    for (guint i = 0; i < user->guest_forwards->len; i++) {
        chardev_accept_input(((struct guest_forward *)user->guest_forwards->pdata[i])->chr);
    }
}

void user_close_guest_forwards(struct user_net *user)
{
    for (guint i = 0; i < user->guest_forwards->len; i++) {
        struct guest_forward *f = user->guest_forwards->pdata[i];

        chardev_detach(f->chr, f);
        chardev_remove(f->chr, NULL);
        g_free(f);
    }
    g_ptr_array_set_size(user->guest_forwards, 0);
}

static bool forward_to_chardev(struct user_net *user, const struct netdev_context *context,
                               const char *device, struct in_addr server, int port,
                               const char *text, GError **error)
{
    g_autofree char *label = g_strdup_printf("guestfwd.tcp.%d", port);
    struct guest_forward *f;
    struct chardev *chr;

    if (!context->chardevs) {
        return net_error(error, "There are no character devices for '%s'", text);
    }
    chr = chardev_new_short(context->chardevs, label, device, false, error);
    if (!chr) {
        g_prefix_error(error, "Could not open guest forwarding device '%s': ", label);
        return false;
    }
    f = g_new0(struct guest_forward, 1);
    *f = (struct guest_forward){user, chr, server, port};
    if (!chardev_attach(chr, &frontend, f, error)) {
        g_free(f);
        return false;
    }
    g_ptr_array_add(user->guest_forwards, f);
    if (slirp_add_guestfwd(user->slirp, write_chardev, f, &f->server, port) < 0) {
        return net_error(error, "Conflicting/invalid host:port in guest forwarding rule '%s'",
                         text);
    }
    return true;
}

/* [tcp]:SERVER:PORT-DEVICE, or -cmd:COMMAND */
bool user_add_guest_forward(struct user_net *user, const struct netdev_context *context,
                            const char *rule, GError **error)
{
    const char *text = rule;
    struct in_addr server;
    bool udp;
    bool ok = !parse_protocol(&text, &udp) && !udp && !parse_address(&text, &server, "", "");
    g_autofree char *port_text = ok ? take_part(&text, '-') : NULL;
    int port;

    if (!port_text || !parse_port(port_text, 1, &port)) {
        return net_error(error, "Invalid guest forwarding rule '%s'", rule);
    }
    if (!g_str_has_prefix(text, "cmd:")) {
        return forward_to_chardev(user, context, text, server, port, rule, error);
    }
    if (slirp_add_exec(user->slirp, text + strlen("cmd:"), &server, port) < 0) {
        return net_error(error, "Conflicting/invalid host:port in guest forwarding rule '%s'",
                         rule);
    }
    return true;
}

/* ---- The monitor's ---- */

static struct user_net *find_user(struct object *root, const char *id, GError **error)
{
    GPtrArray *all = net_netdevs(net_of(root));

    for (guint i = 0; i < all->len; i++) {
        struct netdev *netdev = all->pdata[i];

        if (netdev->kind == &netdev_user && (!id || g_str_equal(netdev->id, id))) {
            return (struct user_net *)netdev;
        }
    }
    if (id) {
        net_error(error, "unrecognized netdev id '%s'", id);
    } else {
        net_error(error, "user mode network stack not in use");
    }
    return NULL;
}

char *netdev_user_describe(struct object *root)
{
    GPtrArray *all = net_netdevs(net_of(root));
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < all->len; i++) {
        struct netdev *netdev = all->pdata[i];

        if (netdev->kind == &netdev_user) {
            char *info = slirp_connection_info(((struct user_net *)netdev)->slirp);

            g_string_append_printf(text, "Hub -1 (%s):\n%s", netdev->id, info);
            g_free(info);
        }
    }
    return g_string_free(text, FALSE);
}

bool netdev_user_add_forward(struct object *root, const char *id, const char *rule, GError **error)
{
    struct user_net *user = find_user(root, id, error);

    return user && user_add_host_forward(user, rule, error);
}

/* [tcp|udp]:[HOSTADDR]:HOSTPORT */
bool netdev_user_remove_forward(struct object *root, const char *id, const char *rule,
                                GError **error)
{
    struct user_net *user = find_user(root, id, error);
    const char *text = rule;
    struct in_addr host;
    int port;
    bool udp;

    if (!user) {
        return false;
    }
    if (parse_protocol(&text, &udp) || parse_address(&text, &host, "", "") ||
        !parse_port(text, 1, &port)) {
        return net_error(error, "invalid format");
    }
    if (slirp_remove_hostfwd(user->slirp, udp, host, port) < 0) {
        return net_error(error, "host forwarding rule for %s not found", rule);
    }
    user_changed(user);
    return true;
}
