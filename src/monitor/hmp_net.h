/* Handlers of HMP's commands on networks. */
#ifndef NANDU_MONITOR_HMP_NET_H
#define NANDU_MONITOR_HMP_NET_H

#include "monitor/hmp.h"

bool hmp_hostfwd_add(struct hmp *hmp, struct json_object *args, GError **error);
bool hmp_hostfwd_remove(struct hmp *hmp, struct json_object *args, GError **error);
bool hmp_netdev_add(struct hmp *hmp, struct json_object *args, GError **error);
bool hmp_set_link(struct hmp *hmp, struct json_object *args, GError **error);
bool hmp_info_network(struct hmp *hmp, struct json_object *args, GError **error);
bool hmp_info_usernet(struct hmp *hmp, struct json_object *args, GError **error);

/* Netdevs, and with them NICs, for completion. */
void hmp_complete_netdev(const struct hmp *hmp, unsigned n, GPtrArray *candidates);
void hmp_complete_link(const struct hmp *hmp, unsigned n, GPtrArray *candidates);

#endif
