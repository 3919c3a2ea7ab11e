/* A thread that runs an event loop. */
#ifndef NANDU_UTIL_IOTHREAD_H
#define NANDU_UTIL_IOTHREAD_H

#include "util/auto.h"
#include "util/event_loop.h"

struct iothread;

/*
 * Starts the thread. name is the loop's, and (its first 15 bytes) the thread's; log may be NULL,
 * and must outlive it. NULL and *error if the kernel refuses.
 */
struct iothread *iothread_new(const char *name, struct log *log, GError **error);
/* Stops the loop after its current turn and joins the thread. Not from the thread itself. */
void iothread_free(struct iothread *iothread);
DEFINE_AUTO_PTR(iothread, iothread_free)

/* The iothread holds the reference. */
struct event_loop *iothread_loop(const struct iothread *iothread);
/* The kernel's number of the thread (gettid). */
int64_t iothread_thread_id(const struct iothread *iothread);
/* event_loop_set_polling, from any thread; soon. */
void iothread_set_polling(struct iothread *iothread, int64_t max_ns, int64_t grow, int64_t shrink);

#endif
