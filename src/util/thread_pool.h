/*
 * Threads for what blocks. They are started as they are needed, up to a limit, and end when they
 * have had nothing to do for a while. Any thread may call these functions.
 */
#ifndef NANDU_UTIL_THREAD_POOL_H
#define NANDU_UTIL_THREAD_POOL_H

#include "util/auto.h"
#include "util/event_loop.h"

struct thread_pool;

/* No thread is started yet. At most 64, until that is changed. */
struct thread_pool *thread_pool_new(void);
/* Waits for the jobs. Not from one of its threads. */
void thread_pool_free(struct thread_pool *pool);
DEFINE_AUTO_PTR(thread_pool, thread_pool_free)

/* Keeps min threads ready; max at least 1 and min. */
void thread_pool_set_limits(struct thread_pool *pool, unsigned min, unsigned max);
/*
 * Runs fn(opaque) in one of the threads, first come, first served. If no thread can be had (the
 * system's limit), it runs before this returns: later is better than never.
 */
void thread_pool_run(struct thread_pool *pool, event_fn *fn, void *opaque);
/* How many threads there are now. */
unsigned thread_pool_threads(struct thread_pool *pool);

#endif
