/* Handlers of HMP's commands on disks. */
#ifndef NANDU_MONITOR_HMP_BLOCK_H
#define NANDU_MONITOR_HMP_BLOCK_H

#include "monitor/hmp.h"

bool hmp_info_block(struct hmp *hmp, struct json_object *args, GError **error);
bool hmp_info_blockstats(struct hmp *hmp, struct json_object *args, GError **error);
bool hmp_block_resize(struct hmp *hmp, struct json_object *args, GError **error);
bool hmp_drive_add(struct hmp *hmp, struct json_object *args, GError **error);
bool hmp_drive_del(struct hmp *hmp, struct json_object *args, GError **error);

/* Drives and named nodes, for completion. */
void hmp_complete_block(const struct hmp *hmp, unsigned n, GPtrArray *candidates);

#endif
