/* Type "iothread": a thread with an event loop, for back ends and devices that name it. */
#ifndef NANDU_OBJECT_IOTHREAD_H
#define NANDU_OBJECT_IOTHREAD_H

#include "object/object.h"

struct event_loop;

/*
 * The object called id; NULL and *error if it isn't there or isn't an iothread. Who puts
 * something on its loop takes a reference (object_ref) until that is gone from it.
 */
struct object *iothread_object_find(struct object *root, const char *id, GError **error);
struct event_loop *iothread_object_loop(struct object *iothread);

#endif
