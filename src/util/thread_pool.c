#include "util/thread_pool.h"

#include <assert.h>

enum {
    MAX_THREADS = 64,
    IDLE_US = 10 * 1000 * 1000,
};

struct job {
    event_fn *fn;
    void *opaque;
};

struct thread_pool {
    GMutex lock;            /* for all */
    GCond work;             /* a job, closing, or other limits */
    GCond ended;            /* the last thread */
    GQueue jobs;            /* of struct job */
    unsigned threads, idle; /* idle: in g_cond_wait, also if woken already */
    unsigned min, max;
    bool closing;
};

struct thread_pool *thread_pool_new(void)
{
    struct thread_pool *pool = g_new0(struct thread_pool, 1);

    g_mutex_init(&pool->lock);
    g_cond_init(&pool->work);
    g_cond_init(&pool->ended);
    g_queue_init(&pool->jobs);
    pool->max = MAX_THREADS;
    return pool;
}

/* Under the lock. NULL: the thread has to end. */
static struct job *next_job(struct thread_pool *pool)
{
    int64_t end = g_get_monotonic_time() + IDLE_US;
    bool in_time = true;

    while (!pool->jobs.length) {
        if (pool->closing || pool->threads > pool->max || (!in_time && pool->threads > pool->min)) {
            return NULL;
        }
        pool->idle++;
        if (in_time) {
            in_time = g_cond_wait_until(&pool->work, &pool->lock, end);
        } else {
            g_cond_wait(&pool->work, &pool->lock);
        }
        pool->idle--;
    }
    return g_queue_pop_head(&pool->jobs);
}

static gpointer thread_main(gpointer data)
{
    struct thread_pool *pool = data;
    struct job *job;

    g_mutex_lock(&pool->lock);
    while ((job = next_job(pool))) {
        g_mutex_unlock(&pool->lock);
        job->fn(job->opaque);
        g_free(job);
        g_mutex_lock(&pool->lock);
    }
    if (!--pool->threads) {
        g_cond_signal(&pool->ended);
    }
    g_mutex_unlock(&pool->lock);
    return NULL;
}

/* Under the lock. */
static bool start_thread(struct thread_pool *pool)
{
    GThread *thread = g_thread_try_new("worker", thread_main, pool, NULL);

    if (!thread) {
        return false;
    }
    g_thread_unref(thread);
    pool->threads++;
    return true;
}

void thread_pool_free(struct thread_pool *pool)
{
    g_mutex_lock(&pool->lock);
    pool->closing = true;
    g_cond_broadcast(&pool->work);
    while (pool->threads) {
        g_cond_wait(&pool->ended, &pool->lock);
    }
    g_mutex_unlock(&pool->lock);
    assert(!pool->jobs.length);
    g_cond_clear(&pool->ended);
    g_cond_clear(&pool->work);
    g_mutex_clear(&pool->lock);
    g_free(pool);
}

void thread_pool_set_limits(struct thread_pool *pool, unsigned min, unsigned max)
{
    assert(max && min <= max);
    g_mutex_lock(&pool->lock);
    pool->min = min;
    pool->max = max;
    while (pool->threads < min && start_thread(pool)) {
    }
    g_cond_broadcast(&pool->work);
    g_mutex_unlock(&pool->lock);
}

void thread_pool_run(struct thread_pool *pool, event_fn *fn, void *opaque)
{
    struct job *job = g_new(struct job, 1);
    bool here = false;

    *job = (struct job) { fn, opaque };
    g_mutex_lock(&pool->lock);
    g_queue_push_tail(&pool->jobs, job);
    if (pool->idle >= pool->jobs.length) {
        g_cond_signal(&pool->work);
    } else if (pool->threads < pool->max && !start_thread(pool)) {
        here = !pool->threads;
    }
    if (here) {
        g_queue_pop_tail(&pool->jobs);
    }
    g_mutex_unlock(&pool->lock);
    if (here) {
        g_free(job);
        fn(opaque);
    }
}

unsigned thread_pool_threads(struct thread_pool *pool)
{
    unsigned n;

    g_mutex_lock(&pool->lock);
    n = pool->threads;
    g_mutex_unlock(&pool->lock);
    return n;
}
