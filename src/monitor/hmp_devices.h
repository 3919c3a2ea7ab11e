/* Handlers of HMP's commands on devices. */
#ifndef NANDU_MONITOR_HMP_DEVICES_H
#define NANDU_MONITOR_HMP_DEVICES_H

#include "monitor/hmp.h"

bool hmp_device_add(struct hmp *hmp, struct json_object *args, GError **error);
void hmp_complete_device(const struct hmp *hmp, unsigned n, GPtrArray *candidates);
void hmp_complete_device_type(const struct hmp *hmp, unsigned n, GPtrArray *candidates);
bool hmp_info_pci(struct hmp *hmp, struct json_object *args, GError **error);
bool hmp_info_qtree(struct hmp *hmp, struct json_object *args, GError **error);

#endif
