#include "monitor/hmp_net.h"

#include "net/net.h"
#include "qapi/qapi_types.h"

static bool add_name(struct net_client *client, void *opaque)
{
    if (client->index == 0) {
        g_ptr_array_add(opaque, g_strdup(client->name));
    }
    return true;
}

static bool add_netdev_name(struct net_client *client, void *opaque)
{
    return client->is_nic || add_name(client, opaque);
}

void hmp_complete_netdev(const struct hmp *hmp, unsigned n, GPtrArray *candidates)
{
    if (n == 0) {
        net_foreach(net_of(hmp->context.root), add_netdev_name, candidates);
    }
}

void hmp_complete_link(const struct hmp *hmp, unsigned n, GPtrArray *candidates)
{
    if (n == 0) {
        net_foreach(net_of(hmp->context.root), add_name, candidates);
    } else if (n == 1) {
        g_ptr_array_add(candidates, g_strdup("on"));
        g_ptr_array_add(candidates, g_strdup("off"));
    }
}

/* With one word it is the rule, with two the first is the netdev. */
static void split(struct json_object *args, const char **id, const char **rule)
{
    *rule = hmp_str(args, "rule");
    *id = *rule ? hmp_str(args, "id") : NULL;
    if (!*rule) {
        *rule = hmp_str(args, "id");
    }
}

bool hmp_hostfwd_add(struct hmp *hmp, struct json_object *args, GError **error)
{
    const char *id, *rule;

    split(args, &id, &rule);
    return netdev_user_add_forward(hmp->context.root, id, rule, error);
}

bool hmp_hostfwd_remove(struct hmp *hmp, struct json_object *args, GError **error)
{
    const char *id, *rule;

    split(args, &id, &rule);
    if (!netdev_user_remove_forward(hmp->context.root, id, rule, error)) {
        return false;
    }
    hmp_print(hmp, "host forwarding rule for %s removed\n", rule);
    return true;
}

bool hmp_netdev_add(struct hmp *hmp, struct json_object *args, GError **error)
{
    struct qapi_netdev netdev;
    g_autoptr(json_object) json = NULL;

    if (netdev_parse(hmp_str(args, "device"), &netdev, error)) {
        json = qapi_to_json(&qapi_type_netdev, &netdev);
    }
    qapi_clear(&qapi_type_netdev, &netdev);
    return json && hmp_call(hmp, "netdev_add", json, NULL, error);
}

bool hmp_set_link(struct hmp *hmp, struct json_object *args, GError **error)
{
    return net_set_link(net_of(hmp->context.root), hmp_str(args, "name"), hmp_bool(args, "up"),
                        error);
}

bool hmp_info_network(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autofree char *text = net_describe(net_of(hmp->context.root));

    hmp_print(hmp, "%s", text);
    return true;
}

bool hmp_info_usernet(struct hmp *hmp, struct json_object *args, GError **error)
{
    g_autofree char *text = netdev_user_describe(hmp->context.root);

    hmp_print(hmp, "%s", text);
    return true;
}
