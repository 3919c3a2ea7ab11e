/*
 * The event loop: bottom halves, turns, adaptive polling, the GLib source. Watches are in
 * event_loop_watch.c, what waits in the kernel is in event_loop_uring.c or event_loop_epoll.c,
 * timers are in clock.c.
 *
 * Waking up: who schedules something puts it in the list and then looks at `waiting`; the owner
 * sets `waiting` and then looks at the list. Both are sequentially consistent, so one of the two
 * sees the other, and the eventfd is written only if the owner sleeps or is about to.
 */
#include "util/event_loop_priv.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "util/thread_pool.h"
#include "util/trace.h"

enum {
    POLL_START_NS = 4000, /* the first step of adaptive polling */
    POLL_GROW = 2,
    /* With more, a sleep gathers several answers, which polling would take one by one. */
    POLL_MAX_IN_FLIGHT = 4,
};

/*
 * The one thing that isn't passed down: callbacks of other libraries, and code that must know
 * whether it runs in a loop, have nobody to get it from; and what it says is a property of the
 * thread.
 */
static _Thread_local struct event_loop *current_loop;

struct event_loop *event_loop_current(void)
{
    return current_loop;
}

bool event_loop_is_owner(const struct event_loop *loop)
{
    GThread *owner = __atomic_load_n(&loop->owner, __ATOMIC_ACQUIRE);

    return !owner || owner == g_thread_self();
}

const char *event_loop_name(const struct event_loop *loop)
{
    return loop->name;
}

void event_loop_set_log(struct event_loop *loop, struct log *log)
{
    loop->log = log;
}

struct log *event_loop_log(const struct event_loop *loop)
{
    return loop->log;
}

/* To wake up is all that the eventfd is for. */
static void woken(void *opaque)
{
}

static void event_loop_free(struct event_loop *loop);

struct event_loop *event_loop_new_with(const char *name, const struct event_backend *backend,
                                       GError **error)
{
    struct event_loop *loop = g_new0(struct event_loop, 1);

    g_atomic_ref_count_init(&loop->refs);
    loop->name = g_strdup(name);
    loop->backend = backend;
    loop->owner = g_thread_self();
    loop->poll_grow = POLL_GROW;
    g_mutex_init(&loop->lock);
    g_mutex_init(&loop->fixed_lock);
    if (!backend->open(loop, error)) {
        g_mutex_clear(&loop->lock);
        g_mutex_clear(&loop->fixed_lock);
        g_free(loop->name);
        g_free(loop);
        return NULL;
    }
    loop->by_fd = g_hash_table_new(NULL, NULL);
    loop->pollers = g_ptr_array_new();
    loop->threads = thread_pool_new();
    loop->timer_lists = g_ptr_array_new();
    loop->timer_fd_deadline = INT64_MAX;
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->timer_fd < 0 || loop->wake_fd < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "Could not make an event loop: %s: %s",
                    loop->timer_fd < 0 ? "timerfd_create" : "eventfd", g_strerror(errno));
        event_loop_free(loop);
        return NULL;
    }
    event_loop_watch_edge(loop, loop->wake_fd, woken);
    return loop;
}

struct event_loop *event_loop_new(const char *name, GError **error)
{
    struct event_loop *loop = event_loop_new_with(name, &event_backend_uring, NULL);

    return loop ? loop : event_loop_new_with(name, &event_backend_epoll, error);
}

struct event_loop *event_loop_ref(struct event_loop *loop)
{
    g_atomic_ref_count_inc(&loop->refs);
    return loop;
}

static struct bottom_half *take_pending(struct event_loop *loop)
{
    struct bottom_half *bh = __atomic_exchange_n(&loop->pending, NULL, __ATOMIC_SEQ_CST);
    struct bottom_half *first = NULL;

    while (bh) {
        struct bottom_half *next = bh->next;

        bh->next = first;
        first = bh;
        bh = next;
    }
    return first;
}

/* Posts that nobody will run any more; the others hold references, and so can't be here. */
static void drop_pending(struct event_loop *loop)
{
    struct bottom_half *bh = take_pending(loop);

    while (bh) {
        struct bottom_half *next = bh->next;

        bh->destroy(bh);
        bh = next;
    }
}

void *event_loop_local(struct event_loop *loop, const void *key)
{
    for (guint i = 0; loop->locals && i < loop->locals->len; i++) {
        const struct loop_local *local = &g_array_index(loop->locals, struct loop_local, i);

        if (local->key == key) {
            return local->value;
        }
    }
    return NULL;
}

void event_loop_set_local(struct event_loop *loop, const void *key, void *value,
                          void (*destroy)(void *value))
{
    struct loop_local local = {key, value, destroy};

    assert(event_loop_is_owner(loop) && !event_loop_local(loop, key));
    if (!loop->locals) {
        loop->locals = g_array_new(false, false, sizeof(struct loop_local));
    }
    g_array_append_val(loop->locals, local);
}

static void free_locals(GArray *locals)
{
    for (guint i = 0; locals && i < locals->len; i++) {
        const struct loop_local *local = &g_array_index(locals, struct loop_local, i);

        local->destroy(local->value);
    }
    g_clear_pointer(&locals, g_array_unref);
}

static void event_loop_free(struct event_loop *loop)
{
    assert(!loop->in_turn);
    /* Waits for threads that still have to wake somebody up. */
    thread_pool_free(loop->threads);
    if (loop->source) {
        g_source_destroy(loop->source);
        g_source_unref(loop->source);
    }
    drop_pending(loop);
    loop->backend->close(loop);
    while (loop->watches.head) {
        struct watch *watch = loop->watches.head->data;

        g_queue_unlink(&loop->watches, &watch->link);
        g_free(watch);
    }
    g_queue_clear(&loop->ready);
    free_locals(loop->locals);
    timers_clear(loop);
    coroutine_pool_free(loop->coroutines);
    g_ptr_array_free(loop->timer_lists, TRUE);
    g_ptr_array_free(loop->pollers, TRUE);
    g_hash_table_destroy(loop->by_fd);
    if (loop->timer_fd >= 0) {
        close(loop->timer_fd);
    }
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    g_mutex_clear(&loop->lock);
    g_mutex_clear(&loop->fixed_lock);
    g_free(loop->name);
    g_free(loop);
}

void event_loop_unref(struct event_loop *loop)
{
    if (g_atomic_ref_count_dec(&loop->refs)) {
        event_loop_free(loop);
    }
}

/* ---- bottom halves ---- */

void event_loop_kick(struct event_loop *loop)
{
    const uint64_t one = 1;

    if (__atomic_load_n(&loop->waiting, __ATOMIC_SEQ_CST) &&
        __atomic_exchange_n(&loop->waiting, 0, __ATOMIC_SEQ_CST)) {
        trace_event_loop_kick(loop->log, loop);
        /* It can't fail: the counter would have to be near 2^64. */
        if (write(loop->wake_fd, &one, sizeof(one)) < 0) {
            assert(errno == EAGAIN);
        }
    }
}

static void enqueue(struct event_loop *loop, struct bottom_half *bh)
{
    bh->next = __atomic_load_n(&loop->pending, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&loop->pending, &bh->next, bh, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED)) {
    }
}

static void schedule(struct event_loop *loop, struct bottom_half *bh, unsigned flags)
{
    if (!(__atomic_fetch_or(&bh->flags, flags | BH_QUEUED, __ATOMIC_ACQ_REL) & BH_QUEUED)) {
        enqueue(loop, bh);
        event_loop_kick(loop);
    }
}

static void run_pending(struct event_loop *loop)
{
    struct bottom_half *bh = take_pending(loop);

    while (bh) {
        struct bottom_half *next = bh->next;
        unsigned flags =
            __atomic_fetch_and(&bh->flags, ~(BH_QUEUED | BH_SCHEDULED), __ATOMIC_ACQ_REL);

        if (flags & BH_DELETED) {
            bh->destroy(bh);
        } else if (flags & BH_ONCE) {
            loop->progress = true;
            bh->fn(bh->opaque);
            bh->destroy(bh);
        } else if (flags & BH_SCHEDULED) {
            loop->progress = true;
            bh->fn(bh->opaque);
        }
        bh = next;
    }
}

/* Who is deleted and still in the list holds the loop, which runs no more. */
static void drop_deleted(struct event_loop *loop)
{
    struct bottom_half *bh = take_pending(loop);

    while (bh) {
        struct bottom_half *next = bh->next;

        if (__atomic_load_n(&bh->flags, __ATOMIC_ACQUIRE) & BH_DELETED) {
            bh->destroy(bh);
        } else {
            enqueue(loop, bh);
        }
        bh = next;
    }
}

void bottom_half_init(struct bottom_half *bh, struct event_loop *loop, event_fn *fn, void *opaque,
                      void (*destroy)(struct bottom_half *bh))
{
    *bh = (struct bottom_half){
        .loop = loop,
        .fn = fn,
        .opaque = opaque,
        .destroy = destroy,
    };
}

static void destroy_bottom_half(struct bottom_half *bh)
{
    struct event_loop *loop = bh->loop;

    g_free(bh);
    event_loop_unref(loop);
}

static void destroy_post(struct bottom_half *bh)
{
    g_free(bh);
}

struct bottom_half *bottom_half_new(struct event_loop *loop, event_fn *fn, void *opaque)
{
    struct bottom_half *bh = g_new(struct bottom_half, 1);

    bottom_half_init(bh, event_loop_ref(loop), fn, opaque, destroy_bottom_half);
    return bh;
}

void bottom_half_schedule(struct bottom_half *bh)
{
    /* Once it is in the list it may run and be gone, and take the loop's last reference with it. */
    struct event_loop *loop = event_loop_ref(bh->loop);

    schedule(loop, bh, BH_SCHEDULED);
    event_loop_unref(loop);
}

void bottom_half_schedule_alive(struct bottom_half *bh)
{
    schedule(bh->loop, bh, BH_SCHEDULED);
}

void bottom_half_cancel(struct bottom_half *bh)
{
    if (__atomic_load_n(&bh->flags, __ATOMIC_ACQUIRE) & BH_SCHEDULED) {
        __atomic_fetch_and(&bh->flags, ~BH_SCHEDULED, __ATOMIC_ACQ_REL);
    }
}

void bottom_half_free(struct bottom_half *bh)
{
    if (!(__atomic_fetch_or(&bh->flags, BH_DELETED, __ATOMIC_ACQ_REL) & BH_QUEUED)) {
        bh->destroy(bh);
    }
}

/* A post holds no reference: the loop drops what it didn't come to. */
void event_loop_post(struct event_loop *loop, event_fn *fn, void *opaque)
{
    struct bottom_half *bh = g_new(struct bottom_half, 1);

    bottom_half_init(bh, loop, fn, opaque, destroy_post);
    schedule(loop, bh, BH_SCHEDULED | BH_ONCE);
}

/* ---- polling ---- */

void event_loop_set_polling(struct event_loop *loop, int64_t max_ns, int64_t grow, int64_t shrink)
{
    assert(event_loop_is_owner(loop));
    loop->poll_max_ns = MAX(max_ns, 0);
    loop->poll_grow = grow > 0 ? grow : POLL_GROW;
    loop->poll_shrink = MAX(shrink, 0);
    loop->poll_ns = 0;
}

void event_loop_add_poller(struct event_loop *loop, const struct event_poller *poller)
{
    assert(event_loop_is_owner(loop));
    g_ptr_array_add(loop->pollers, (void *)poller);
}

void event_loop_remove_poller(struct event_loop *loop, const struct event_poller *poller)
{
    assert(event_loop_is_owner(loop));
    g_ptr_array_remove(loop->pollers, (void *)poller);
}

static bool run_pollers(struct event_loop *loop)
{
    bool found = false;

    for (guint i = 0; i < loop->pollers->len; i++) {
        const struct event_poller *poller = loop->pollers->pdata[i];

        found |= poller->poll(poller->opaque);
    }
    loop->progress |= found;
    return found;
}

static bool has_pending(struct event_loop *loop)
{
    return __atomic_load_n(&loop->pending, __ATOMIC_SEQ_CST);
}

static bool is_stopping(struct event_loop *loop)
{
    return __atomic_load_n(&loop->stopping, __ATOMIC_SEQ_CST);
}

/* On the monotonic clock, as timers_deadline(). */
static int64_t next_deadline(struct event_loop *loop)
{
    return has_pending(loop) || is_stopping(loop) ? 0 : timers_deadline(loop);
}

/* Until something is there, or end (on the monotonic clock) is reached. */
static bool poll_until(struct event_loop *loop, int64_t end)
{
    do {
        for (int i = 0; i < 16; i++) { /* the clock takes longer than the look */
            if (run_pollers(loop) || has_pending(loop) || is_stopping(loop) ||
                loop->backend->peek(loop)) {
                return true;
            }
            __builtin_ia32_pause();
        }
    } while (clock_monotonic() < end);
    return false;
}

/* waited: from the start of polling until there was something to do. */
static void adapt_polling(struct event_loop *loop, int64_t waited)
{
    int64_t before = loop->poll_ns, grown;

    if (waited <= before) {
        return; /* polling found it, or would have */
    }
    if (waited > loop->poll_max_ns) {
        loop->poll_ns = loop->poll_shrink ? before / loop->poll_shrink : 0;
    } else if (!before) {
        loop->poll_ns = MIN(POLL_START_NS, loop->poll_max_ns);
    } else if (!__builtin_mul_overflow(before, loop->poll_grow, &grown)) {
        loop->poll_ns = MIN(grown, loop->poll_max_ns);
    } else {
        loop->poll_ns = loop->poll_max_ns;
    }
    if (loop->poll_ns != before) {
        trace_event_loop_poll_ns(loop->log, loop, before, loop->poll_ns);
    }
}

void event_loop_set_threads(struct event_loop *loop, unsigned min, unsigned max)
{
    thread_pool_set_limits(loop->threads, min, max);
}

/* ---- turns ---- */

/* How long to wait, ns; -1: for ever. Sets `waiting` unless it is 0. */
static int64_t prepare_to_wait(struct event_loop *loop)
{
    int64_t deadline, timeout = -1;

    __atomic_store_n(&loop->waiting, 1, __ATOMIC_SEQ_CST);
    deadline = next_deadline(loop);
    if (deadline != INT64_MAX) {
        int64_t now = clock_monotonic(); /* MAX evaluates its arguments twice */

        timeout = MAX(deadline - now, 0);
    }
    if (!timeout) {
        __atomic_store_n(&loop->waiting, 0, __ATOMIC_SEQ_CST);
    }
    return timeout;
}

/* Waits, by polling at first if that was asked for. */
static void wait_for_work(struct event_loop *loop, bool block)
{
    int64_t start = 0;

    if (run_pollers(loop)) {
        block = false;
    }
    if (block && loop->poll_max_ns) {
        int64_t deadline = next_deadline(loop);

        start = clock_monotonic();
        if (deadline <= start) {
            start = 0;
        } else if (loop->poll_ns && loop->in_flight <= POLL_MAX_IN_FLIGHT) {
            loop->backend->submit(loop);
            block = !poll_until(loop, MIN(deadline, start + loop->poll_ns));
        }
    }
    loop->backend->wait(loop, block ? prepare_to_wait(loop) : 0);
    __atomic_store_n(&loop->waiting, 0, __ATOMIC_SEQ_CST);
    if (start) {
        adapt_polling(loop, clock_monotonic() - start);
    }
}

/* Whether it did something. */
static bool turn(struct event_loop *loop, bool block)
{
    struct event_loop *outer = current_loop;
    bool progress;

    assert(event_loop_is_owner(loop) && !loop->in_turn);
    event_loop_ref(loop);
    current_loop = loop;
    loop->in_turn = true;
    loop->progress = false;
    wait_for_work(loop, block);
    run_pending(loop);
    timers_run(loop);
    event_loop_dispatch_ready(loop);
    progress = loop->progress;
    loop->in_turn = false;
    current_loop = outer;
    event_loop_unref(loop);
    return progress;
}

bool event_loop_iterate(struct event_loop *loop, bool wait)
{
    return turn(loop, wait);
}

void event_loop_run(struct event_loop *loop)
{
    assert(!loop->source);
    event_loop_ref(loop);
    __atomic_store_n(&loop->owner, g_thread_self(), __ATOMIC_RELEASE);
    /*
     * Otherwise the kernel lets a thread sleep 50 us longer than it asked for. (A timerfd is
     * exact.)
     */
    prctl(PR_SET_TIMERSLACK, 1);
    while (!is_stopping(loop)) {
        turn(loop, true);
    }
    drop_deleted(loop);
    __atomic_store_n(&loop->stopping, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&loop->owner, NULL, __ATOMIC_RELEASE);
    event_loop_unref(loop);
}

void event_loop_stop(struct event_loop *loop)
{
    __atomic_store_n(&loop->stopping, 1, __ATOMIC_SEQ_CST);
    event_loop_kick(loop);
}

/* ---- GLib ---- */

struct loop_source {
    GSource source;
    struct event_loop *loop;
    gpointer fd_tag;
};

/* The timerfd is watched by the back end, whose descriptor becomes readable with it. */
static void arm_timer_fd(struct event_loop *loop, int64_t deadline)
{
    struct itimerspec spec = {0};

    if (deadline == loop->timer_fd_deadline) {
        return;
    }
    if (deadline != INT64_MAX) {
        spec.it_value.tv_sec = deadline / 1000000000;
        spec.it_value.tv_nsec = deadline % 1000000000;
    }
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    loop->timer_fd_deadline = deadline;
}

static void timer_fd_ready(void *opaque)
{
    struct event_loop *loop = opaque;
    uint64_t n;

    /* EAGAIN: it was set anew since it expired. */
    if (read(loop->timer_fd, &n, sizeof(n)) > 0) {
        loop->timer_fd_deadline = INT64_MAX;
    }
}

static gboolean source_prepare(GSource *source, gint *timeout_ms)
{
    struct event_loop *loop = ((struct loop_source *)source)->loop;
    int64_t deadline;

    *timeout_ms = -1;
    loop->backend->submit(loop);
    __atomic_store_n(&loop->waiting, 1, __ATOMIC_SEQ_CST);
    deadline = has_pending(loop) || loop->backend->peek(loop) ? 0 : timers_deadline(loop);
    if (deadline <= 0 || (deadline != INT64_MAX && deadline <= clock_monotonic())) {
        __atomic_store_n(&loop->waiting, 0, __ATOMIC_SEQ_CST);
        return TRUE;
    }
    arm_timer_fd(loop, deadline);
    return FALSE;
}

static gboolean source_check(GSource *source)
{
    struct loop_source *self = (struct loop_source *)source;

    __atomic_store_n(&self->loop->waiting, 0, __ATOMIC_SEQ_CST);
    return g_source_query_unix_fd(source, self->fd_tag) || has_pending(self->loop);
}

static gboolean source_dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
    turn(((struct loop_source *)source)->loop, false);
    return G_SOURCE_CONTINUE;
}

void event_loop_attach(struct event_loop *loop, GMainContext *context)
{
    static const GSourceFuncs funcs = {
        .prepare = source_prepare,
        .check = source_check,
        .dispatch = source_dispatch,
    };
    struct loop_source *self;

    assert(!loop->source && event_loop_is_owner(loop));
    event_loop_watch(loop, loop->timer_fd, timer_fd_ready, NULL, loop);
    loop->source = g_source_new((GSourceFuncs *)&funcs, sizeof(*self));
    self = (struct loop_source *)loop->source;
    self->loop = loop;
    self->fd_tag = g_source_add_unix_fd(loop->source, loop->backend->fd(loop), G_IO_IN);
    g_source_set_name(loop->source, loop->name);
    g_source_attach(loop->source, context);
}
