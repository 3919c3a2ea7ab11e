/*
 * Networks on the command line. -nic is a netdev and a NIC in one; -net, the oldest form, makes
 * netdevs and NICs that are all on hub 0.
 */
#include "cli/networks.h"

#include <string.h>

#include "cli/system_options.h"
#include "machine/devices.h"
#include "machine/vm.h"
#include "net/net.h"
#include "object/device.h"

/* Where neither model= nor the board says another. */
static const char default_model[] = "virtio-net-device";

struct state {
    const struct netdev_context *context;
    GPtrArray *devices;         /* of NICs */
    unsigned n_ids, n_ports;
};

static bool fail(GError **error, const char *text)
{
    g_set_error_literal(error, QAPI_ERROR, QAPI_ERROR_GENERIC, text);
    return false;
}

static bool create(struct state *s, const struct qapi_netdev *options, GError **error)
{
    return netdev_new(s->context, options, error);
}

static bool create_words(struct state *s, json_object *words, GError **error)
{
    struct qapi_netdev options;
    bool ok = netdev_from_words(words, &options, error) && create(s, &options, error);

    qapi_clear(&qapi_type_netdev, &options);
    return ok;
}

static void put(json_object *object, const char *key, const char *value)
{
    json_object_object_add(object, key, json_object_new_string(value));
}

/* A member, which is taken out; NULL: there is none. Caller frees. */
static char *take(json_object *words, const char *key)
{
    json_object *value;
    char *text = NULL;

    if (json_object_object_get_ex(words, key, &value)) {
        text = g_strdup(json_object_get_string(value));
        json_object_object_del(words, key);
    }
    return text;
}

/* The members of a NIC in words become a device on that netdev. */
static void add_nic(struct state *s, json_object *words, const char *netdev)
{
    g_autofree char *model = take(words, "model"), *mac = take(words, "mac");
    g_autofree char *macaddr = take(words, "macaddr"), *addr = take(words, "addr");
    g_autofree char *vectors = take(words, "vectors");
    json_object *device = json_object_new_object();

    /* "virtio" is what other programs call it. */
    put(device, "driver", g_strcmp0(model, "virtio") == 0 ? "virtio-net-pci"
                          : model                         ? model
                                                          : default_model);
    put(device, "netdev", netdev);
    if (mac || macaddr) {
        put(device, "mac", mac ? mac : macaddr);
    }
    if (addr) {
        put(device, "addr", addr);
    }
    if (vectors) {
        put(device, "vectors", vectors);
    }
    g_ptr_array_add(s->devices, device);
}

/* The id of a netdev that has none: no user's begins with "#". */
static char *take_id(struct state *s, json_object *words)
{
    char *id = take(words, "id");

    return id ? id : g_strdup_printf("#net%03u", s->n_ids++);
}

static const char *type_of(json_object *words)
{
    json_object *type;

    return json_object_object_get_ex(words, "type", &type) ? json_object_get_string(type) : "";
}

/* -nic TYPE[,PROPERTY=VALUE...][,model=M][,mac=A] */
static bool create_nic(struct state *s, const char *text, GError **error)
{
    g_autoptr(json_object) words = netdev_parse_words(text, error);
    g_autofree char *id = NULL;

    if (!words) {
        return false;
    }
    if (!*type_of(words)) {
        put(words, "type", "user");
    }
    if (g_str_equal(type_of(words), "none")) {
        return true;
    }
    id = take_id(s, words);
    add_nic(s, words, id);
    put(words, "id", id);
    return create_words(s, words, error);
}

/* A port of hub 0, with a netdev or for a NIC. Its id; NULL and *error. Caller frees. */
static char *add_port(struct state *s, const char *netdev, GError **error)
{
    g_autofree char *id = g_strdup_printf("hub0port%u", s->n_ports++);
    struct qapi_netdev options = {
        .id = id, .type = QAPI_NET_CLIENT_DRIVER_HUBPORT,
        .u.hubport.netdev = (char *)(uintptr_t)netdev};

    return create(s, &options, error) ? g_steal_pointer(&id) : NULL;
}

/* -net nic[,netdev=ID][,model=M][,macaddr=A] or -net TYPE[,PROPERTY=VALUE...] */
static bool create_net(struct state *s, const char *text, GError **error)
{
    g_autoptr(json_object) words = netdev_parse_words(text, error);
    g_autofree char *id = NULL, *port = NULL, *name = NULL;
    bool is_nic;

    if (!words) {
        return false;
    }
    is_nic = g_str_equal(type_of(words), "nic");
    if (g_str_equal(type_of(words), "none")) {
        return true;
    }
    name = take(words, "name");
    if (is_nic) {
        id = take(words, "netdev");
        port = id ? NULL : add_port(s, NULL, error);
        if (!id && !port) {
            return false;
        }
        add_nic(s, words, id ? id : port);
        json_object_object_del(words, "type");
        json_object_object_del(words, "id");
        return json_object_object_length(words) == 0 ||
               fail(error, "-net nic takes model, macaddr, netdev, addr and vectors only");
    }
    id = name ? g_strdup(name) : take_id(s, words);
    put(words, "id", id);
    if (!create_words(s, words, error)) {
        return false;
    }
    port = add_port(s, id, error);
    return port != NULL;
}

static bool create_netdev(struct state *s, const char *text, GError **error)
{
    struct qapi_netdev options;
    bool ok = netdev_parse(text, &options, error) && create(s, &options, error);

    qapi_clear(&qapi_type_netdev, &options);
    return ok;
}

static bool create_all(struct state *s, const GPtrArray *texts, const char *option,
                       bool (*fn)(struct state *s, const char *text, GError **error),
                       GError **error)
{
    for (guint i = 0; i < texts->len; i++) {
        if (!fn(s, texts->pdata[i], error)) {
            g_prefix_error(error, "-%s %s: ", option, (const char *)texts->pdata[i]);
            return false;
        }
    }
    return true;
}

bool networks_create(const struct system_options *options, const struct netdev_context *context,
                     GPtrArray *devices, GError **error)
{
    struct state s = {.context = context, .devices = devices};

    return create_all(&s, options->netdevs, "netdev", create_netdev, error) &&
           create_all(&s, options->nics, "nic", create_nic, error) &&
           create_all(&s, options->nets, "net", create_net, error);
}

bool networks_add_nics(struct vm *vm, const GPtrArray *devices, GError **error)
{
    for (guint i = 0; i < devices->len; i++) {
        if (!vm_add_device(vm, devices->pdata[i], true, error)) {
            g_prefix_error(error, "-nic: ");
            return false;
        }
    }
    if (object_child(vm->root, "netdevs")) {
        net_check_peers(net_of(vm->root));
    }
    return true;
}
