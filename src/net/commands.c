/* QMP commands on networks. */
#include "net/netdev.h"
#include "qapi/command.h"
#include "qapi/error.h"
#include "qapi/qapi_commands.h"

static int take_fd(void *opaque, const char *name, GError **error)
{
    struct qmp_context *ctx = opaque;

    return ctx->take_fd(ctx->monitor, name, error);
}

bool qmp_netdev_add(struct qmp_context *ctx, const struct qapi_netdev *arg, GError **error)
{
    struct netdev_context context = {.root = ctx->root, .chardevs = ctx->chardevs};

    if (ctx->monitor && ctx->take_fd) {
        context.take_fd = take_fd;
        context.take_fd_opaque = ctx;
    }
    return netdev_new(&context, arg, error);
}

bool qmp_netdev_del(struct qmp_context *ctx, const struct qapi_netdev_del_arg *arg, GError **error)
{
    return netdev_delete(ctx->root, arg->id, error);
}

bool qmp_set_link(struct qmp_context *ctx, const struct qapi_set_link_arg *arg, GError **error)
{
    return net_set_link(net_of(ctx->root), arg->name, arg->up, error);
}

struct query {
    const char *name;           /* NULL: all */
    struct qapi_rx_filter_info_list *ret;
    bool found;
    GError *error;
};

static bool add_rx_filter(struct net_client *client, void *opaque)
{
    struct query *query = opaque;

    if (query->name && !g_str_equal(query->name, client->name)) {
        return true;
    }
    query->found = true;
    if (!client->is_nic) {
        if (query->name) {
            net_error(&query->error, "net client(%s) isn't a NIC", query->name);
        }
        return !query->name;
    }
    if (!client->ops->rx_filter) {
        if (query->name) {
            net_error(&query->error, "net client(%s) doesn't support rx-filter querying",
                      query->name);
        }
        return !query->name;
    }
    if (client->index == 0) {
        client->ops->rx_filter(client,
                               qapi_list_append(&qapi_type_rx_filter_info_list, query->ret));
    }
    return true;
}

bool qmp_query_rx_filter(struct qmp_context *ctx, const struct qapi_query_rx_filter_arg *arg,
                         struct qapi_rx_filter_info_list *ret, GError **error)
{
    struct query query = {.name = arg->name, .ret = ret};

    net_foreach(net_of(ctx->root), add_rx_filter, &query);
    if (query.error) {
        g_propagate_error(error, query.error);
        return false;
    }
    if (!query.found && query.name) {
        return net_error(error, "invalid net client name: %s", query.name);
    }
    return true;
}
