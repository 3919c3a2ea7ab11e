/*
 * The one kind of event loop. A loop belongs to one thread, its owner: the main thread attaches it
 * to GLib's context (event_loop_attach), an iothread runs it by event_loop_run. It waits in
 * io_uring (epoll where the kernel has no io_uring or forbids it), polls adaptively before that if
 * asked to, and is never run from inside one of its own callbacks.
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
struct log;

typedef void event_fn(void *opaque);

/*
 * name is for logs; copied. NULL and *error if the kernel refuses. The owner is the caller until
 * event_loop_run is called, and any thread after that has returned.
 */
struct event_loop *event_loop_new(const char *name, GError **error);
struct event_loop *event_loop_ref(struct event_loop *loop);
/*
 * From any thread (the last one of an attached loop: from that thread). Timers, bottom halves and
 * coroutines hold references, so that they may be freed before or after their maker gives up the
 * loop; watches don't: the last reference frees what is left of them.
 */
void event_loop_unref(struct event_loop *loop);
DEFINE_AUTO_PTR(event_loop, event_loop_unref)

/* Main thread: GLib's context (NULL: the default one) drives the loop until it is freed. */
void event_loop_attach(struct event_loop *loop, GMainContext *context);
/* iothread: returns after event_loop_stop. The caller becomes the owner. */
void event_loop_run(struct event_loop *loop);
/* Any thread: event_loop_run returns after this turn, or at once when it is called. */
void event_loop_stop(struct event_loop *loop);
/* For tests: runs what is ready; waits for something first if wait. Whether anything was called. */
bool event_loop_iterate(struct event_loop *loop, bool wait);
/* Whether the calling thread is the owner. */
bool event_loop_is_owner(const struct event_loop *loop);
/* The loop whose callback runs on this thread, or NULL. */
struct event_loop *event_loop_current(void);
const char *event_loop_name(const struct event_loop *loop);
/* Where its trace events go (util/log.h); must outlive the loop. */
void event_loop_set_log(struct event_loop *loop, struct log *log);
struct log *event_loop_log(const struct event_loop *loop); /* NULL: none */

/*
 * What a part of the program keeps for each loop: found by key (any address of its own), set once,
 * given to destroy when the loop is freed and waits for nothing any more. NULL: not set.
 */
void *event_loop_local(struct event_loop *loop, const void *key);
void event_loop_set_local(struct event_loop *loop, const void *key, void *value,
                          void (*destroy)(void *value));

/* Limits of the threads of co_run_in_pool (util/coroutine.h). 1 <= max, min <= max; any thread. */
void event_loop_set_threads(struct event_loop *loop, unsigned min, unsigned max);

/*
 * Busy polling before waiting: up to max_ns, adapted by the factor grow (0: 2) and the divisor
 * shrink (0: no polling at all after a wait that was longer than max_ns). Attached loops don't
 * poll, nor does one whose ring has many requests.
 */
void event_loop_set_polling(struct event_loop *loop, int64_t max_ns, int64_t grow, int64_t shrink);

/*
 * Calls read/write (either may be NULL) with opaque while fd is readable/writable (level triggered;
 * errors and hang-ups count as both). A second call for the same fd replaces the first; NULL, NULL
 * removes it, which must come before close(fd). The loop doesn't own fd. May be called in a
 * callback.
 */
void event_loop_watch(struct event_loop *loop, int fd, event_fn *read, event_fn *write,
                      void *opaque);

/*
 * Bottom halves: run once for each time (or burst) of scheduling, at the loop's next turn. To be
 * made by any thread, freed by the owner.
 */
struct bottom_half;
struct bottom_half *bottom_half_new(struct event_loop *loop, event_fn *fn, void *opaque);
void bottom_half_schedule(struct bottom_half *bh); /* any thread; wakes the loop */
void bottom_half_cancel(struct bottom_half *bh);
void bottom_half_free(struct bottom_half *bh); /* also in its own callback */
/* Any thread: fn runs once, at the loop's next turn. */
void event_loop_post(struct event_loop *loop, event_fn *fn, void *opaque);

/*
 * A user-space condition for adaptive polling (a ring's index). poll does what it finds to do, and
 * returns whether there was something; it may not remove pollers. The loop keeps the pointer.
 */
struct event_poller {
    bool (*poll)(void *opaque);
    void *opaque;
};
void event_loop_add_poller(struct event_loop *loop, const struct event_poller *poller);
void event_loop_remove_poller(struct event_loop *loop, const struct event_poller *poller);

/*
 * Requests to io_uring. event_loop_sqe returns an entry to fill in (never NULL: it submits when the
 * ring is full), or NULL if this loop has no io_uring; complete(request, result) is called with the
 * CQE's res. Entries are submitted once a turn, together, but no more than max_batch at once.
 */
struct uring_request {
    void (*complete)(struct uring_request *request, int result);
};
/* aio-max-batch; 0: the loop's own. Any thread. */
void event_loop_set_max_batch(struct event_loop *loop, unsigned max);
bool event_loop_has_uring(const struct event_loop *loop);
/*
 * Numbers that io_uring knows an open file (IOSQE_FIXED_FILE) or memory (buf_index; at most 1 GiB)
 * by, which spares it work for each request. -1: it has none to give (no io_uring, an old one, all
 * are taken, no more memory may be locked): requests go without. A fixed file stays open, fixed
 * memory stays resident, until it is unfixed. Any thread, as long as the loop is there.
 */
int event_loop_fix_file(struct event_loop *loop, int fd);
/* The number is fd's from now on. False: it must not be used any more. */
bool event_loop_refix_file(struct event_loop *loop, int index, int fd);
void event_loop_unfix_file(struct event_loop *loop, int index);
int event_loop_fix_buffer(struct event_loop *loop, void *data, size_t size);
void event_loop_unfix_buffer(struct event_loop *loop, int index);
struct io_uring_sqe *event_loop_sqe(struct event_loop *loop, struct uring_request *request);

#endif
