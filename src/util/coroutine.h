/*
 * Stackful coroutines. A coroutine runs on the thread of an event loop, from its start to its end
 * on the same loop; it waits by yielding and is woken on that loop. Stacks are pooled, with a guard
 * page.
 *
 * The functions that wait (co_...) may only be called in a coroutine.
 */
#ifndef NANDU_UTIL_COROUTINE_H
#define NANDU_UTIL_COROUTINE_H

#include <sys/uio.h>

#include "util/clock.h"
#include "util/event_loop.h"

struct coroutine;

/* Makes a coroutine that will run fn(opaque) on loop; it is freed when fn returns. */
struct coroutine *coroutine_new(struct event_loop *loop, event_fn *fn, void *opaque);
/* Runs co until it yields or ends. Only on its loop's thread, not from inside co itself. */
void coroutine_enter(struct coroutine *co);
/* From any thread: co is entered at its loop's next turn. */
void coroutine_wake(struct coroutine *co);
/* coroutine_new and coroutine_enter. */
void coroutine_start(struct event_loop *loop, event_fn *fn, void *opaque);
/* NULL outside of a coroutine. */
struct coroutine *coroutine_self(void);
struct event_loop *coroutine_loop(const struct coroutine *co);

/* Waits until somebody enters or wakes this coroutine. */
void co_yield(void);
/* Waits ns on the real clock. */
void co_sleep(int64_t ns);
/*
 * Waits until fd is ready for events (POLLIN, POLLOUT), the loop's only watch of it in this
 * direction. False if co_cancel_wait(fd) was called meanwhile.
 */
bool co_wait_fd(int fd, short events);
void co_cancel_wait(struct event_loop *loop, int fd);
/* Runs fn(opaque) in one of the loop's pool of threads and waits for it. */
void co_run_in_pool(event_fn *fn, void *opaque);

/* What runs one after the other in the pool, first come, first served: for calls that would wait for
 * each other in the kernel anyway. Any loops' coroutines, each in its own loop's pool. */
struct co_serial {
    GMutex lock;
    GQueue waiting; /* struct job */
    bool running;
};
void co_serial_init(struct co_serial *serial);
/* Nothing runs. */
void co_serial_clear(struct co_serial *serial);
void co_run_serially(struct co_serial *serial, event_fn *fn, void *opaque);

/* A mutex between coroutines of one or several loops: first come, first served. */
struct co_mutex {
    GMutex lock;
    GQueue waiting;
    struct coroutine *owner;
};
void co_mutex_init(struct co_mutex *mutex);
void co_mutex_clear(struct co_mutex *mutex);
void co_mutex_lock(struct co_mutex *mutex);
void co_mutex_unlock(struct co_mutex *mutex);

/*
 * Coroutines that wait for a condition; like a condition variable under a co_mutex (may be NULL).
 */
struct co_queue {
    GMutex lock;
    GQueue waiting;
};
void co_queue_init(struct co_queue *queue);
void co_queue_clear(struct co_queue *queue);
void co_queue_wait(struct co_queue *queue, struct co_mutex *mutex);
bool co_queue_wake_one(struct co_queue *queue);     /* false: nobody waited. Any thread */
void co_queue_wake_all(struct co_queue *queue);

#endif
