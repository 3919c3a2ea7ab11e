/*
 * Type "event-loop-base": what iothread and main-loop have in common. How many requests go to the
 * kernel at once is for the back ends that run on the loop.
 */
#ifndef NANDU_OBJECT_EVENT_LOOP_BASE_H
#define NANDU_OBJECT_EVENT_LOOP_BASE_H

#include "object/object.h"

struct event_loop;

struct event_loop_base {
    struct object object;
    struct event_loop *loop;        /* whose settings these are, borrowed; NULL: not set up yet */
    int64_t aio_max_batch;          /* 0: as the back end likes */
    int64_t thread_pool_min, thread_pool_max;
};

/* For complete: the settings are loop's from now on. */
void event_loop_base_attach(struct event_loop_base *base, struct event_loop *loop);
/* Of properties that are counts or times: not negative. */
bool event_loop_base_check_count(struct object *obj, const struct property *prop, const void *value,
                                 GError **error);

#endif
