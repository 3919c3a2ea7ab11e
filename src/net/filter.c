#include "net/filter.h"

#include <string.h>

#include "net/netdev.h"
#include "qapi/error.h"

static struct net_filter *self(struct object *obj)
{
    return (struct net_filter *)obj;
}

static void see(GPtrArray *filters, bool sent, const struct net_packet *packet)
{
    for (guint i = 0; i < filters->len; i++) {
        /* What the netdev sends passes them in their order, what it gets in the other. */
        struct net_filter *filter = filters->pdata[sent ? i : filters->len - 1 - i];
        const struct net_filter_class *class = object_class_data(&filter->object);

        if (filter->on && (filter->queue == QAPI_NET_FILTER_DIRECTION_ALL ||
                           filter->queue == (sent ? QAPI_NET_FILTER_DIRECTION_TX
                                                  : QAPI_NET_FILTER_DIRECTION_RX))) {
            class->see(filter, packet);
        }
    }
}

void net_filters_see(struct net_client *from, struct net_client *to,
                     const struct net_packet *packet)
{
    see(from->filters, true, packet);
    see(to->filters, false, packet);
}

void net_filters_detach(struct net_client *client)
{
    for (guint i = 0; i < client->filters->len; i++) {
        ((struct net_filter *)client->filters->pdata[i])->client = NULL;
    }
    g_ptr_array_set_size(client->filters, 0);
}

static bool set_status(struct object *obj, const struct property *prop, const void *value,
                       GError **error)
{
    const char *status = *(char *const *)value;

    if (g_strcmp0(status, "on") != 0 && g_strcmp0(status, "off") != 0) {
        return net_error(error, "Invalid value for netfilter status, should be 'on' or 'off'");
    }
    self(obj)->on = g_str_equal(status, "on");
    return true;
}

static bool get_status(struct object *obj, const struct property *prop, void *value, GError **error)
{
    *(char **)value = g_strdup(self(obj)->on ? "on" : "off");
    return true;
}

/* Where it goes among the netdev's filters. */
static bool find_place(struct net_filter *filter, const GPtrArray *filters, guint *place,
                       GError **error)
{
    const char *position = filter->position ? filter->position : "tail";

    if (g_str_equal(position, "head") || g_str_equal(position, "tail")) {
        *place = g_str_equal(position, "head") ? 0 : filters->len;
        return true;
    }
    if (!g_str_has_prefix(position, "id=")) {
        return net_error(error, "Parameter 'position' expects 'head', 'tail', or 'id=<id>'");
    }
    for (guint i = 0; i < filters->len; i++) {
        const struct net_filter *other = filters->pdata[i];

        if (g_strcmp0(other->object.name, position + 3) == 0) {
            *place = i + (filter->insert == QAPI_NETFILTER_INSERT_BEHIND);
            return true;
        }
    }
    return net_error(error, "netfilter '%s' not found at netdev '%s'", position + 3,
                     filter->netdev);
}

static bool complete(struct object *obj, GError **error)
{
    struct net_filter *filter = self(obj);
    const struct net_filter_class *class = object_class_data(obj);
    struct netdev *netdev;
    struct net_client *client;
    guint place;

    if (!filter->netdev) {
        return net_error(error, "netfilter needs 'netdev' property set");
    }
    netdev = netdev_find(object_root_of(obj), filter->netdev);
    if (!netdev) {
        return net_error(error, "Parameter 'netdev' expects a network backend id");
    }
    if (netdev_n_queues(netdev) > 1) {
        return net_error(error, "multiqueue is not supported");
    }
    client = netdev_client(netdev, 0);
    if (!find_place(filter, client->filters, &place, error) || !class->open(filter, error)) {
        return false;
    }
    g_ptr_array_insert(client->filters, (gint)place, filter);
    filter->client = client;
    return true;
}

static void init(struct object *obj)
{
    self(obj)->on = true;
}

static void finalize(struct object *obj)
{
    struct net_filter *filter = self(obj);

    if (filter->client) {
        g_ptr_array_remove(filter->client->filters, filter);
    }
}

static const struct property properties[] = {
    PROPERTY("netdev", net_filter, netdev, qapi_type_str, NULL, "The netdev whose packets it sees",
             .flags = PROPERTY_REQUIRED),
    PROPERTY("queue", net_filter, queue, qapi_type_net_filter_direction, "all",
             "Which of them: all, rx (those that the netdev gets), tx (those that it sends)"),
    {.name = "status", .type = &qapi_type_str, .get = get_status,
     .set = set_status, .flags = PROPERTY_RUNTIME, .description = "on (default) or off"},
    PROPERTY("position", net_filter, position, qapi_type_str, "tail",
             "Place among the netdev's filters: head, tail, id=FILTER"),
    PROPERTY("insert", net_filter, insert, qapi_type_netfilter_insert, "behind",
             "With position=id=FILTER: before or behind it"),
};

static const char *const interfaces[] = {"user-creatable", NULL};

static const struct object_type filter_type = {
    .name = "netfilter",
    .parent = "object",
    .abstract = true,
    .instance_size = sizeof(struct net_filter),
    .properties = properties,
    .n_properties = G_N_ELEMENTS(properties),
    .interfaces = interfaces,
    .init = init,
    .complete = complete,
    .finalize = finalize,
};
OBJECT_TYPE(filter_type);
