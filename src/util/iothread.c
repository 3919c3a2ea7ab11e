#include "util/iothread.h"

#include <unistd.h>

#include "util/trace.h"

struct iothread {
    struct event_loop *loop;
    GThread *thread;
    GMutex lock;            /* of what follows */
    GCond started;
    int64_t thread_id;      /* 0: hasn't started yet */
    int64_t poll_max_ns, poll_grow, poll_shrink;    /* what the loop gets at its next turn */
};

static gpointer iothread_main(gpointer data)
{
    struct iothread *self = data;

    g_mutex_lock(&self->lock);
    self->thread_id = gettid();
    g_cond_signal(&self->started);
    g_mutex_unlock(&self->lock);
    event_loop_run(self->loop);
    return NULL;
}

static void release(struct iothread *self)
{
    event_loop_unref(self->loop);
    g_cond_clear(&self->started);
    g_mutex_clear(&self->lock);
    g_free(self);
}

struct iothread *iothread_new(const char *name, struct log *log, GError **error)
{
    struct event_loop *loop = event_loop_new(name, error);
    struct iothread *self;

    if (!loop) {
        return NULL;
    }
    event_loop_set_log(loop, log);
    self = g_new0(struct iothread, 1);
    self->loop = loop;
    g_mutex_init(&self->lock);
    g_cond_init(&self->started);
    self->thread = g_thread_try_new(name, iothread_main, self, error);
    if (!self->thread) {
        release(self);
        return NULL;
    }
    g_mutex_lock(&self->lock);
    while (!self->thread_id) {
        g_cond_wait(&self->started, &self->lock);
    }
    g_mutex_unlock(&self->lock);
    trace_iothread_start(log, loop, name, self->thread_id);
    return self;
}

void iothread_free(struct iothread *self)
{
    trace_iothread_stop(event_loop_log(self->loop), self->loop);
    event_loop_stop(self->loop);
    g_thread_join(self->thread);
    release(self);
}

struct event_loop *iothread_loop(const struct iothread *self)
{
    return self->loop;
}

int64_t iothread_thread_id(const struct iothread *self)
{
    return self->thread_id;
}

static void set_polling(void *opaque)
{
    struct iothread *self = opaque;

    g_mutex_lock(&self->lock);
    event_loop_set_polling(self->loop, self->poll_max_ns, self->poll_grow, self->poll_shrink);
    g_mutex_unlock(&self->lock);
}

void iothread_set_polling(struct iothread *self, int64_t max_ns, int64_t grow, int64_t shrink)
{
    g_mutex_lock(&self->lock);
    self->poll_max_ns = max_ns;
    self->poll_grow = grow;
    self->poll_shrink = shrink;
    g_mutex_unlock(&self->lock);
    event_loop_post(self->loop, set_polling, self);
}
