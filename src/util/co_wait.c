/*
 * What coroutines wait for. A coroutine may be entered by somebody who isn't whom it waits for, so
 * each wait goes on until its own condition holds.
 *
 * Who wakes a coroutine of another thread does so under the lock under which the coroutine looks
 * whether it may go on: otherwise it could have gone on, and have ended, before it is woken.
 */
#include "util/coroutine.h"

#include <assert.h>

#include "util/event_loop_priv.h"
#include "util/thread_pool.h"

/* ---- time ---- */

struct sleep {
    struct coroutine *co;
    bool over;
};

static void sleep_over(void *opaque)
{
    struct sleep *sleep = opaque;

    sleep->over = true;
    coroutine_enter(sleep->co);
}

void co_sleep(int64_t ns)
{
    struct sleep sleep = { .co = coroutine_self() };
    struct event_loop *loop = coroutine_loop(sleep.co);
    auto_ptr(timer) timer = timer_new(loop, NULL, CLOCK_REAL, sleep_over, &sleep);
    int64_t deadline;

    if (__builtin_add_overflow(clocks_now(NULL, CLOCK_REAL), MAX(ns, 0), &deadline)) {
        deadline = INT64_MAX;
    }
    timer_arm(timer, deadline);
    while (!sleep.over) {
        co_yield();
    }
}

/* ---- descriptors ---- */

struct fd_wait {
    struct coroutine *co;
    int fd;
    bool over, cancelled;
};

static void fd_ready(void *opaque);

/* Both directions, if it is this wait's. */
static void end_fd_wait(struct fd_wait *wait)
{
    const short directions[] = { POLLIN, POLLOUT };
    struct event_loop *loop = coroutine_loop(wait->co);

    for (size_t i = 0; i < G_N_ELEMENTS(directions); i++) {
        const struct watch_side *side = event_loop_watched_side(loop, wait->fd, directions[i]);

        if (side && side->fn == fd_ready && side->opaque == wait) {
            event_loop_watch_side(loop, wait->fd, directions[i], NULL, NULL);
        }
    }
    wait->over = true;
}

static void fd_ready(void *opaque)
{
    struct fd_wait *wait = opaque;

    end_fd_wait(wait);
    coroutine_enter(wait->co);
}

bool co_wait_fd(int fd, short events)
{
    struct fd_wait wait = { .co = coroutine_self(), .fd = fd };
    struct event_loop *loop = coroutine_loop(wait.co);

    assert(events && !(events & ~(POLLIN | POLLOUT)));
    if (events & POLLIN) {
        event_loop_watch_side(loop, fd, POLLIN, fd_ready, &wait);
    }
    if (events & POLLOUT) {
        event_loop_watch_side(loop, fd, POLLOUT, fd_ready, &wait);
    }
    while (!wait.over) {
        co_yield();
    }
    return !wait.cancelled;
}

static void cancel_side(struct event_loop *loop, int fd, short direction)
{
    const struct watch_side *side = event_loop_watched_side(loop, fd, direction);

    if (side && side->fn == fd_ready) {
        struct fd_wait *wait = side->opaque;

        wait->cancelled = true;
        end_fd_wait(wait);
        coroutine_wake(wait->co);
    }
}

void co_cancel_wait(struct event_loop *loop, int fd)
{
    cancel_side(loop, fd, POLLIN);
    cancel_side(loop, fd, POLLOUT);
}

/* ---- threads ---- */

struct job {
    event_fn *fn;
    void *opaque;
    struct coroutine *co;
    struct co_serial *serial; /* of a job in one */
    struct bottom_half done;
    bool over;
};

static void end_job(struct job *job)
{
    /* Freeing the loop waits for this thread, so the thread mustn't be the one that frees it. */
    bottom_half_schedule_alive(&job->done);
}

static void run_job(void *opaque)
{
    struct job *job = opaque;

    job->fn(job->opaque);
    end_job(job);
}

static void job_done(void *opaque)
{
    struct job *job = opaque;

    job->over = true;
    coroutine_enter(job->co);
}

static void init_job(struct job *job, event_fn *fn, void *opaque)
{
    *job = (struct job) { .fn = fn, .opaque = opaque, .co = coroutine_self() };
    bottom_half_init(&job->done, coroutine_loop(job->co), job_done, job, NULL);
}

static void wait_for_job(struct job *job)
{
    while (!job->over) {
        co_yield();
    }
}

void co_run_in_pool(event_fn *fn, void *opaque)
{
    struct job job;

    init_job(&job, fn, opaque);
    thread_pool_run(coroutine_loop(job.co)->threads, run_job, &job);
    wait_for_job(&job);
}

/* ---- co_serial ---- */

void co_serial_init(struct co_serial *serial)
{
    *serial = (struct co_serial) { 0 };
    g_mutex_init(&serial->lock);
    g_queue_init(&serial->waiting);
}

void co_serial_clear(struct co_serial *serial)
{
    assert(!serial->running);
    g_mutex_clear(&serial->lock);
}

static struct job *next_in(struct co_serial *serial)
{
    struct job *next;

    g_mutex_lock(&serial->lock);
    next = g_queue_pop_head(&serial->waiting);
    serial->running = next;
    g_mutex_unlock(&serial->lock);
    return next;
}

/* In a thread of the job's loop's pool, which goes on with the next jobs of this loop. */
static void run_series(void *opaque)
{
    struct job *job = opaque, *next;
    struct event_loop *loop = coroutine_loop(job->co), *other;

    for (; job; job = next) {
        job->fn(job->opaque);
        /* Before the end of this one, with which the series may be gone. */
        next = next_in(job->serial);
        end_job(job);
        if (next && coroutine_loop(next->co) != loop) {
            other = event_loop_ref(coroutine_loop(next->co));
            thread_pool_run(other->threads, run_series, next);
            event_loop_unref(other);
            break;
        }
    }
}

void co_run_serially(struct co_serial *serial, event_fn *fn, void *opaque)
{
    struct job job;
    bool run;

    init_job(&job, fn, opaque);
    job.serial = serial;
    g_mutex_lock(&serial->lock);
    run = !serial->running;
    serial->running = true;
    if (!run) {
        g_queue_push_tail(&serial->waiting, &job);
    }
    g_mutex_unlock(&serial->lock);
    if (run) {
        thread_pool_run(coroutine_loop(job.co)->threads, run_series, &job);
    }
    wait_for_job(&job);
}

/* ---- co_mutex ---- */

void co_mutex_init(struct co_mutex *mutex)
{
    *mutex = (struct co_mutex) { 0 };
    g_mutex_init(&mutex->lock);
    g_queue_init(&mutex->waiting);
}

void co_mutex_clear(struct co_mutex *mutex)
{
    assert(!mutex->owner && !mutex->waiting.length);
    g_mutex_clear(&mutex->lock);
}

static bool owns(struct co_mutex *mutex, const struct coroutine *co)
{
    bool result;

    g_mutex_lock(&mutex->lock);
    result = mutex->owner == co;
    g_mutex_unlock(&mutex->lock);
    return result;
}

void co_mutex_lock(struct co_mutex *mutex)
{
    struct coroutine *self = coroutine_self();
    bool locked;

    assert(self);
    g_mutex_lock(&mutex->lock);
    assert(mutex->owner != self);
    locked = !mutex->owner;
    if (locked) {
        mutex->owner = self;
    } else {
        g_queue_push_tail(&mutex->waiting, self);
    }
    g_mutex_unlock(&mutex->lock);
    while (!locked) {
        co_yield();
        locked = owns(mutex, self);
    }
}

void co_mutex_unlock(struct co_mutex *mutex)
{
    struct coroutine *next;

    g_mutex_lock(&mutex->lock);
    assert(mutex->owner == coroutine_self());
    next = g_queue_pop_head(&mutex->waiting);
    mutex->owner = next;
    if (next) {
        coroutine_wake(next);
    }
    g_mutex_unlock(&mutex->lock);
}

/* ---- co_queue ---- */

struct queue_wait {
    struct coroutine *co;
    bool over;
};

void co_queue_init(struct co_queue *queue)
{
    g_mutex_init(&queue->lock);
    g_queue_init(&queue->waiting);
}

void co_queue_clear(struct co_queue *queue)
{
    assert(!queue->waiting.length);
    g_mutex_clear(&queue->lock);
}

static bool is_over(struct co_queue *queue, const struct queue_wait *wait)
{
    bool result;

    g_mutex_lock(&queue->lock);
    result = wait->over;
    g_mutex_unlock(&queue->lock);
    return result;
}

void co_queue_wait(struct co_queue *queue, struct co_mutex *mutex)
{
    struct queue_wait wait = { .co = coroutine_self() };

    assert(wait.co);
    g_mutex_lock(&queue->lock);
    g_queue_push_tail(&queue->waiting, &wait);
    g_mutex_unlock(&queue->lock);
    if (mutex) {
        co_mutex_unlock(mutex);
    }
    do {
        co_yield();
    } while (!is_over(queue, &wait));
    if (mutex) {
        co_mutex_lock(mutex);
    }
}

/* Under the lock. */
static bool wake_first(struct co_queue *queue)
{
    struct queue_wait *wait = g_queue_pop_head(&queue->waiting);

    if (wait) {
        wait->over = true;
        coroutine_wake(wait->co);
    }
    return wait;
}

bool co_queue_wake_one(struct co_queue *queue)
{
    bool woken;

    g_mutex_lock(&queue->lock);
    woken = wake_first(queue);
    g_mutex_unlock(&queue->lock);
    return woken;
}

void co_queue_wake_all(struct co_queue *queue)
{
    g_mutex_lock(&queue->lock);
    while (wake_first(queue)) {
    }
    g_mutex_unlock(&queue->lock);
}
