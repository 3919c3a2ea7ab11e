/*
 * The one kind of event loop. A loop belongs to one thread, its owner: the main thread attaches it to
 * GLib's context (event_loop_attach), an iothread runs it by event_loop_run. It waits in io_uring
 * (epoll where the kernel has no io_uring or forbids it), polls adaptively before that if asked to,
 * and is never run from inside one of its own callbacks.
 *
 * Callbacks run on the owner's thread, one at a time, each to its end. Unless a function says
 * otherwise it is called on the owner's thread.
 */
#ifndef NANDU_UTIL_EVENT_LOOP_H
#define NANDU_UTIL_EVENT_LOOP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/auto.h"

struct event_loop;
struct io_uring_sqe;

typedef void event_fn(void *opaque);

/* name is for logs and the thread's name; copied. NULL and *error if the kernel refuses. */
struct event_loop *event_loop_new(const char *name, GError **error);
struct event_loop *event_loop_ref(struct event_loop *loop);
/* From any thread; the last reference frees what is left of timers, watches and bottom halves. */
void event_loop_unref(struct event_loop *loop);
DEFINE_AUTO_PTR(event_loop, event_loop_unref)

/* Main thread: drives the loop from a GLib context (NULL: the default one) until the loop is freed. */
void event_loop_attach(struct event_loop *loop, GMainContext *context);
/* iothread: returns after event_loop_stop. The caller becomes the owner. */
void event_loop_run(struct event_loop *loop);
/* Any thread. */
void event_loop_stop(struct event_loop *loop);
/* One turn: runs what is ready; waits for something first if wait. For tests and for iothreads. */
bool event_loop_iterate(struct event_loop *loop, bool wait);
/* Whether the calling thread is the owner. */
bool event_loop_is_owner(const struct event_loop *loop);
/* The loop that runs on this thread, or NULL. */
struct event_loop *event_loop_current(void);

/* Busy polling before waiting: up to max_ns, adapted by factors grow and shrink (0: their defaults). */
void event_loop_set_polling(struct event_loop *loop, int64_t max_ns, int64_t grow, int64_t shrink);

/*
 * Calls read/write (either may be NULL) with opaque while fd is readable/writable (level triggered;
 * errors and hang-ups count as both). A second call for the same fd replaces the first; NULL, NULL
 * removes it, which must come before close(fd). The loop doesn't own fd. May be called in a callback.
 */
void event_loop_watch(struct event_loop *loop, int fd, event_fn *read, event_fn *write, void *opaque);

/* Bottom halves: run once for each time (or burst) of scheduling, at the loop's next turn. */
struct bottom_half;
struct bottom_half *bottom_half_new(struct event_loop *loop, event_fn *fn, void *opaque);
void bottom_half_schedule(struct bottom_half *bh);      /* any thread; wakes the loop */
void bottom_half_cancel(struct bottom_half *bh);
void bottom_half_free(struct bottom_half *bh);          /* also in its own callback */
/* Any thread: fn runs once, at the loop's next turn. */
void event_loop_post(struct event_loop *loop, event_fn *fn, void *opaque);

/* A user-space condition for adaptive polling (a ring's index): true if it found something to do. */
struct event_poller {
    bool (*poll)(void *opaque);
    void *opaque;
};
void event_loop_add_poller(struct event_loop *loop, const struct event_poller *poller);
void event_loop_remove_poller(struct event_loop *loop, const struct event_poller *poller);

/*
 * Requests to io_uring. event_loop_sqe returns an entry to fill in (never NULL: it submits when the
 * ring is full), or NULL if this loop has no io_uring; complete(request, result) is called with the
 * CQE's res. Entries are submitted once a turn, together.
 */
struct uring_request {
    void (*complete)(struct uring_request *request, int result);
};
bool event_loop_has_uring(const struct event_loop *loop);
struct io_uring_sqe *event_loop_sqe(struct event_loop *loop, struct uring_request *request);

#endif
