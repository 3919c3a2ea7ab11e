/* Limits of what a user of the block graph does in a second (block_set_io_throttle). Main
 * thread. */
#ifndef NANDU_BLOCK_LIMITS_H
#define NANDU_BLOCK_LIMITS_H

#include "block/block.h"

/* ThrottleLimits of what block_set_io_throttle has: "bps", "iops_rd_max_length", ... A new
 * reference. */
json_object *block_limits_from_names(json_object *named);
/*
 * The user joins the throttle group called group (NULL: the one that it is in, or one called own),
 * which gets these limits; it leaves its group if there are none. False and *error: they contradict
 * each other. In a coroutine of the main loop, not in a drained section.
 */
bool co_block_user_set_limits(struct block_user *user, const char *group, const char *own,
                              json_object *limits, GError **error);
/*
 * What -drive has of limits ("throttling.iops-total", "iops", "throttling.group", ...), key=value
 * in the flat form: taken out of options. *group: a reference of a group that has them, called own
 * unless options say how; NULL: there are none. False and *error: they aren't numbers, or
 * contradict each other.
 */
bool block_limits_take(struct block_graph *graph, json_object *options, const char *own,
                       struct object **group, GError **error);
/* Drops a reference of a group, and a group that nobody uses. group may be NULL. */
void block_limits_drop(struct object *group);
/* Fills them in. */
void block_user_describe_limits(const struct block_user *user, struct qapi_block_device_info *info);

#endif
