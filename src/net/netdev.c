/* Netdevs: making, finding and removing them; the form of their options on a command line. */
#include "net/netdev.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "qapi/error.h"
#include "qapi/keyval.h"

static const struct netdev_kind *const kinds[] = {
    [QAPI_NET_CLIENT_DRIVER_USER] = &netdev_user,
    [QAPI_NET_CLIENT_DRIVER_TAP] = &netdev_tap,
    [QAPI_NET_CLIENT_DRIVER_HUBPORT] = &netdev_hubport,
};

struct netdev *netdev_find(struct object *root, const char *id)
{
    GPtrArray *all = net_netdevs(net_of(root));

    for (guint i = 0; i < all->len; i++) {
        struct netdev *netdev = all->pdata[i];

        if (g_str_equal(netdev->id, id)) {
            return netdev;
        }
    }
    return NULL;
}

unsigned netdev_n_queues(const struct netdev *netdev)
{
    return netdev->n_clients;
}

struct net_client *netdev_client(struct netdev *netdev, unsigned queue)
{
    g_assert(queue < netdev->n_clients);
    return &netdev->clients[queue];
}

/* The NICs see that their link is gone. */
static void free_netdev(struct netdev *netdev)
{
    netdev->kind->close(netdev);
    g_ptr_array_remove(net_netdevs(netdev->net), netdev);
    for (unsigned i = 0; i < netdev->n_clients; i++) {
        struct net_client *peer = netdev->clients[i].peer;

        net_client_clear(&netdev->clients[i]);
        if (peer && peer->ops->link_changed) {
            peer->ops->link_changed(peer);
        }
    }
    g_free(netdev->clients);
    g_free(netdev->id);
    g_free(netdev);
}

bool netdev_new(const struct netdev_context *context, const struct qapi_netdev *options,
                GError **error)
{
    const struct netdev_kind *kind = kinds[options->type];
    unsigned n = kind->n_queues ? kind->n_queues(options) : 1;
    struct netdev *netdev;

    if (!object_id_valid(options->id) && options->id[0] != '#') {
        return net_error(error, "Parameter 'id' expects an identifier");
    }
    if (netdev_find(context->root, options->id)) {
        return net_error(error, "Duplicate ID '%s' for netdev", options->id);
    }
    if (n < 1 || n > NET_MAX_QUEUES) {
        return net_error(error, "netdev '%s' can have 1 to %d queues", options->id, NET_MAX_QUEUES);
    }
    netdev = g_malloc0(kind->size);
    netdev->kind = kind;
    netdev->net = net_of(context->root);
    netdev->id = g_strdup(options->id);
    netdev->clients = g_new0(struct net_client, n);
    for (; netdev->n_clients < n; netdev->n_clients++) {
        struct net_client *client = &netdev->clients[netdev->n_clients];

        net_client_init(client, netdev->net, kind->ops, netdev->id, netdev->n_clients);
        client->netdev = netdev;
    }
    g_ptr_array_add(net_netdevs(netdev->net), netdev);
    if (!kind->open(netdev, context, options, error)) {
        free_netdev(netdev);
        return false;
    }
    return true;
}

bool netdev_delete(struct object *root, const char *id, GError **error)
{
    struct netdev *netdev = netdev_find(root, id);

    if (!netdev) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
        return false;
    }
    free_netdev(netdev);
    return true;
}

void netdev_close_all(struct object *root)
{
    GPtrArray *all;

    if (object_child(root, "netdevs")) {
        all = net_netdevs(net_of(root));
        while (all->len) {
            free_netdev(all->pdata[all->len - 1]);
        }
    }
}

int netdev_take_fd(const struct netdev_context *context, const char *name, GError **error)
{
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    int fd, flags;

    if (g_ascii_isdigit(*name) && *end == '\0' && number <= G_MAXINT) {
        fd = (int)number;
    } else if (context->take_fd) {
        fd = context->take_fd(context->take_fd_opaque, name, error);
        if (fd < 0) {
            return -1;
        }
    } else {
        net_error(error, "'%s' is not the number of a file descriptor", name);
        return -1;
    }
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        net_error(error, "Can't use file descriptor %s: %s", name, g_strerror(errno));
        return -1;
    }
    return fd;
}

/* ---- Options ---- */

/* Keys that may come several times: lists of String. */
static bool is_list(const char *key)
{
    static const char *const lists[] = {"hostfwd", "guestfwd", "dnssearch", NULL};

    return g_strv_contains(lists, key);
}

static void put(json_object *words, const char *key, const char *value)
{
    json_object *list, *text;

    if (!is_list(key)) {
        json_object_object_add(words, key, json_object_new_string(value));
        return;
    }
    if (!json_object_object_get_ex(words, key, &list)) {
        list = json_object_new_array();
        json_object_object_add(words, key, list);
    }
    text = json_object_new_object();
    json_object_object_add(text, "str", json_object_new_string(value));
    json_object_array_add(list, text);
}

/* The next word, without its comma; ",," is a comma in it. */
static char *next_word(const char **text)
{
    GString *word = g_string_new(NULL);

    for (; **text; ++*text) {
        if (**text == ',') {
            if ((*text)[1] != ',') {
                break;
            }
            ++*text;
        }
        g_string_append_c(word, **text);
    }
    if (**text == ',') {
        ++*text;
    }
    return g_string_free(word, FALSE);
}

json_object *netdev_parse_words(const char *text, GError **error)
{
    g_autoptr(json_object) words = json_object_new_object();

    for (bool first = true; *text; first = false) {
        g_autofree char *word = next_word(&text);
        char *equals = strchr(word, '=');

        if (equals) {
            *equals = '\0';
            put(words, word, equals + 1);
        } else if (first) {
            put(words, "type", word);
        } else if (!*word) {
            net_error(error, "Expected a parameter between two commas");
            return NULL;
        } else {
            bool off = g_str_has_prefix(word, "no");

            put(words, off ? word + 2 : word, off ? "off" : "on");
        }
    }
    return g_steal_pointer(&words);
}

/* ipv6-net=PREFIX/BITS stands for two members. */
static bool split_ipv6_net(json_object *words, GError **error)
{
    g_auto(GStrv) parts = NULL;
    json_object *value;

    if (!json_object_object_get_ex(words, "ipv6-net", &value)) {
        return true;
    }
    parts = g_strsplit(json_object_get_string(value), "/", 2);
    if (!parts[0] || !*parts[0]) {
        return net_error(error, "Parameter 'ipv6-net' expects PREFIX[/BITS]");
    }
    put(words, "ipv6-prefix", parts[0]);
    put(words, "ipv6-prefixlen", parts[1] ? parts[1] : "64");
    json_object_object_del(words, "ipv6-net");
    return true;
}

bool netdev_from_words(json_object *words, struct qapi_netdev *out, GError **error)
{
    *out = (struct qapi_netdev){0};
    return split_ipv6_net(words, error) &&
           qapi_from_keyval(&qapi_type_netdev, words, out, error);
}

bool netdev_parse(const char *text, struct qapi_netdev *out, GError **error)
{
    g_autoptr(json_object) json = NULL;

    *out = (struct qapi_netdev){0};
    if (*text == '{') {
        GError *failed = NULL;

        json = json_parse(text, &failed);
        if (failed) {
            g_propagate_error(error, failed);
            return false;
        }
        return qapi_from_json(&qapi_type_netdev, json, out, error);
    }
    json = netdev_parse_words(text, error);
    return json && netdev_from_words(json, out, error);
}

char *netdev_help(void)
{
    GString *text = g_string_new("Available netdev backend types:\n");

    for (int i = 0; i < QAPI_NET_CLIENT_DRIVER__COUNT; i++) {
        g_string_append_printf(text, "%s\n", qapi_enum_name(&qapi_type_net_client_driver, i));
    }
    return g_string_free(text, FALSE);
}
