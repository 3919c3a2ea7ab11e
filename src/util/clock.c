/*
 * Clocks and timers.
 *
 * A loop has a heap of timers for each clock that it uses, guarded by the loop's lock. A virtual
 * clock knows those heaps, in order to wake their loops when it starts or is moved. Locks: clocks,
 * then loop.
 */
#include "util/clock.h"

#include <assert.h>
#include <time.h>

#include "util/event_loop_priv.h"
#include "util/trace.h"

enum virtual_mode { VIRTUAL_STOPPED, VIRTUAL_RUNNING, VIRTUAL_MANUAL };

struct clocks_listener {
    clocks_changed *fn;
    void *opaque;
};

struct clocks {
    gatomicrefcount refs;
    GMutex lock;
    /* The virtual clock: read without the lock, and again if sequence was odd or changed. */
    unsigned sequence;
    enum virtual_mode mode;
    int64_t base;               /* its time; running: minus the monotonic clock's */
    GPtrArray *lists;           /* of struct timer_list on the virtual clock */
    GArray *listeners;          /* of struct clocks_listener; of the thread that starts and stops */
};

struct timer_list {
    struct event_loop *loop;    /* which owns it */
    struct clocks *clocks;      /* a reference; NULL: none was given */
    enum clock_kind kind;
    GPtrArray *heap;            /* of struct timer, the earliest first */
};

struct timer {
    struct timer_list *list;
    struct event_loop *loop;    /* a reference */
    event_fn *fn;
    void *opaque;
    int64_t deadline;
    int index;                  /* in the heap; -1: not armed */
};

/* ---- clocks ---- */

static int64_t host_time(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_monotonic(void)
{
    return host_time(CLOCK_MONOTONIC);
}

struct clocks *clocks_new(void)
{
    struct clocks *clocks = g_new0(struct clocks, 1);

    g_atomic_ref_count_init(&clocks->refs);
    g_mutex_init(&clocks->lock);
    clocks->lists = g_ptr_array_new();
    clocks->listeners = g_array_new(FALSE, FALSE, sizeof(struct clocks_listener));
    return clocks;
}

struct clocks *clocks_ref(struct clocks *clocks)
{
    g_atomic_ref_count_inc(&clocks->refs);
    return clocks;
}

void clocks_unref(struct clocks *clocks)
{
    if (g_atomic_ref_count_dec(&clocks->refs)) {
        g_ptr_array_free(clocks->lists, TRUE);
        g_array_unref(clocks->listeners);
        g_mutex_clear(&clocks->lock);
        g_free(clocks);
    }
}

/* The virtual clock's mode and base, which belong together, and its time. */
static int64_t read_virtual(struct clocks *clocks, enum virtual_mode *mode, int64_t *base)
{
    unsigned sequence;
    int64_t now;

    do {
        sequence = __atomic_load_n(&clocks->sequence, __ATOMIC_ACQUIRE);
        *mode = __atomic_load_n(&clocks->mode, __ATOMIC_ACQUIRE);
        *base = __atomic_load_n(&clocks->base, __ATOMIC_ACQUIRE);
        /* In here, so that no reading is later than the one at which the clock was stopped. */
        now = *mode == VIRTUAL_RUNNING ? *base + clock_monotonic() : *base;
    } while (sequence % 2 || sequence != __atomic_load_n(&clocks->sequence, __ATOMIC_ACQUIRE));
    return now;
}

int64_t clocks_now(struct clocks *clocks, enum clock_kind kind)
{
    enum virtual_mode mode;
    int64_t base;

    switch (kind) {
    case CLOCK_REAL:
        return clock_monotonic();
    case CLOCK_HOST:
        return host_time(CLOCK_REALTIME);
    default:
        return read_virtual(clocks, &mode, &base);
    }
}

/* Under the lock. Wakes the loops, which may have to wait for shorter. */
static void set_virtual(struct clocks *clocks, enum virtual_mode mode, int64_t base)
{
    __atomic_store_n(&clocks->sequence, clocks->sequence + 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&clocks->mode, mode, __ATOMIC_RELEASE);
    __atomic_store_n(&clocks->base, base, __ATOMIC_RELEASE);
    __atomic_store_n(&clocks->sequence, clocks->sequence + 1, __ATOMIC_SEQ_CST);
    for (guint i = 0; i < clocks->lists->len; i++) {
        struct timer_list *list = clocks->lists->pdata[i];

        event_loop_kick(list->loop);
    }
}

static void notify(struct clocks *clocks, bool runs)
{
    for (guint i = 0; i < clocks->listeners->len; i++) {
        const struct clocks_listener *l =
            &g_array_index(clocks->listeners, struct clocks_listener, i);

        l->fn(l->opaque, runs);
    }
}

void clocks_add_listener(struct clocks *clocks, clocks_changed *fn, void *opaque)
{
    struct clocks_listener listener = {fn, opaque};

    g_array_append_val(clocks->listeners, listener);
}

void clocks_remove_listener(struct clocks *clocks, void *opaque)
{
    for (guint i = clocks->listeners->len; i-- > 0;) {
        if (g_array_index(clocks->listeners, struct clocks_listener, i).opaque == opaque) {
            g_array_remove_index(clocks->listeners, i);
        }
    }
}

bool clocks_virtual_runs(struct clocks *clocks)
{
    return __atomic_load_n(&clocks->mode, __ATOMIC_ACQUIRE) != VIRTUAL_STOPPED;
}

void clocks_start_virtual(struct clocks *clocks)
{
    bool starts;

    g_mutex_lock(&clocks->lock);
    starts = clocks->mode == VIRTUAL_STOPPED;
    if (starts) {
        set_virtual(clocks, VIRTUAL_RUNNING, clocks->base - clock_monotonic());
    }
    g_mutex_unlock(&clocks->lock);
    if (starts) {
        notify(clocks, true);
    }
}

void clocks_stop_virtual(struct clocks *clocks)
{
    bool stops;

    g_mutex_lock(&clocks->lock);
    stops = clocks->mode == VIRTUAL_RUNNING;
    if (stops) {
        /* First no reader gets through, then its last reading is taken. */
        __atomic_store_n(&clocks->sequence, clocks->sequence + 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&clocks->base, clocks->base + clock_monotonic(), __ATOMIC_RELEASE);
        __atomic_store_n(&clocks->mode, VIRTUAL_STOPPED, __ATOMIC_RELEASE);
        __atomic_store_n(&clocks->sequence, clocks->sequence + 1, __ATOMIC_SEQ_CST);
    }
    g_mutex_unlock(&clocks->lock);
    if (stops) {
        notify(clocks, false);
    }
}

void clocks_set_manual(struct clocks *clocks)
{
    clocks_stop_virtual(clocks);
    g_mutex_lock(&clocks->lock);
    set_virtual(clocks, VIRTUAL_MANUAL, clocks->base);
    g_mutex_unlock(&clocks->lock);
    notify(clocks, true);
}

void clocks_set_virtual(struct clocks *clocks, int64_t ns)
{
    g_mutex_lock(&clocks->lock);
    assert(clocks->mode != VIRTUAL_RUNNING && ns >= 0);
    set_virtual(clocks, clocks->mode, ns);
    g_mutex_unlock(&clocks->lock);
}

void clocks_step(struct clocks *clocks, int64_t ns)
{
    int64_t now;

    g_mutex_lock(&clocks->lock);
    assert(clocks->mode == VIRTUAL_MANUAL);
    if (__builtin_add_overflow(clocks->base, MAX(ns, 0), &now)) {
        now = INT64_MAX;
    }
    set_virtual(clocks, VIRTUAL_MANUAL, now);
    g_mutex_unlock(&clocks->lock);
}

int64_t clocks_next_deadline(struct clocks *clocks)
{
    int64_t earliest = -1;

    g_mutex_lock(&clocks->lock);
    for (guint i = 0; i < clocks->lists->len; i++) {
        struct timer_list *list = clocks->lists->pdata[i];

        g_mutex_lock(&list->loop->lock);
        if (list->heap->len) {
            const struct timer *timer = list->heap->pdata[0];

            earliest = earliest < 0 ? timer->deadline : MIN(earliest, timer->deadline);
        }
        g_mutex_unlock(&list->loop->lock);
    }
    g_mutex_unlock(&clocks->lock);
    return earliest;
}

/* ---- the heap ---- */

static void put_at(GPtrArray *heap, struct timer *timer, int index)
{
    heap->pdata[index] = timer;
    __atomic_store_n(&timer->index, index, __ATOMIC_RELAXED);
}

static void sift_up(GPtrArray *heap, struct timer *timer, int index)
{
    while (index > 0) {
        struct timer *parent = heap->pdata[(index - 1) / 2];

        if (parent->deadline <= timer->deadline) {
            break;
        }
        put_at(heap, parent, index);
        index = (index - 1) / 2;
    }
    put_at(heap, timer, index);
}

static void sift_down(GPtrArray *heap, struct timer *timer, int index)
{
    for (;;) {
        int child = 2 * index + 1;
        struct timer *smaller;

        if (child >= (int)heap->len) {
            break;
        }
        smaller = heap->pdata[child];
        if (child + 1 < (int)heap->len) {
            struct timer *right = heap->pdata[child + 1];

            if (right->deadline < smaller->deadline) {
                smaller = right;
                child++;
            }
        }
        if (timer->deadline <= smaller->deadline) {
            break;
        }
        put_at(heap, smaller, index);
        index = child;
    }
    put_at(heap, timer, index);
}

static void heap_remove(GPtrArray *heap, struct timer *timer)
{
    int index = timer->index;
    struct timer *last = heap->pdata[heap->len - 1];

    g_ptr_array_set_size(heap, (int)heap->len - 1);
    __atomic_store_n(&timer->index, -1, __ATOMIC_RELAXED);
    if (last != timer) {
        sift_up(heap, last, index);
        sift_down(heap, last, last->index);
    }
}

/* ---- timers ---- */

static struct timer_list *find_list(struct event_loop *loop, struct clocks *clocks,
                                    enum clock_kind kind)
{
    for (guint i = 0; i < loop->timer_lists->len; i++) {
        struct timer_list *list = loop->timer_lists->pdata[i];

        if (list->kind == kind && list->clocks == clocks) {
            return list;
        }
    }
    return NULL;
}

static struct timer_list *add_list(struct event_loop *loop, struct clocks *clocks,
                                    enum clock_kind kind)
{
    struct timer_list *list = g_new0(struct timer_list, 1);

    list->loop = loop;
    list->clocks = clocks ? clocks_ref(clocks) : NULL;
    list->kind = kind;
    list->heap = g_ptr_array_new();
    g_ptr_array_add(loop->timer_lists, list);
    if (clocks) {
        g_ptr_array_add(clocks->lists, list);
    }
    return list;
}

struct timer *timer_new(struct event_loop *loop, struct clocks *clocks, enum clock_kind kind,
                        event_fn *fn, void *opaque)
{
    struct timer *timer = g_new0(struct timer, 1);

    assert(clocks || kind != CLOCK_VIRTUAL);
    if (kind != CLOCK_VIRTUAL) {
        clocks = NULL;      /* there is only one of these */
    }
    if (clocks) {
        g_mutex_lock(&clocks->lock);
    }
    g_mutex_lock(&loop->lock);
    timer->list = find_list(loop, clocks, kind);
    if (!timer->list) {
        timer->list = add_list(loop, clocks, kind);
    }
    g_mutex_unlock(&loop->lock);
    if (clocks) {
        g_mutex_unlock(&clocks->lock);
    }
    timer->loop = event_loop_ref(loop);
    timer->fn = fn;
    timer->opaque = opaque;
    timer->index = -1;
    return timer;
}

void timer_arm(struct timer *timer, int64_t deadline_ns)
{
    struct event_loop *loop = timer->loop;
    GPtrArray *heap = timer->list->heap;

    trace_timer_arm(loop->log, timer, deadline_ns);
    g_mutex_lock(&loop->lock);
    if (timer->index >= 0) {
        heap_remove(heap, timer);
    }
    timer->deadline = deadline_ns;
    g_ptr_array_add(heap, timer);
    sift_up(heap, timer, (int)heap->len - 1);
    /* Under the lock: when it is given up the timer may run, be freed, and the loop with it. */
    if (timer->index == 0) {
        event_loop_kick(loop);
    }
    g_mutex_unlock(&loop->lock);
}

void timer_disarm(struct timer *timer)
{
    g_mutex_lock(&timer->loop->lock);
    if (timer->index >= 0) {
        heap_remove(timer->list->heap, timer);
    }
    g_mutex_unlock(&timer->loop->lock);
}

bool timer_is_armed(const struct timer *timer)
{
    return __atomic_load_n(&timer->index, __ATOMIC_RELAXED) >= 0;
}

int64_t timer_deadline(const struct timer *timer)
{
    int64_t deadline;

    g_mutex_lock(&timer->loop->lock);
    deadline = timer->index >= 0 ? timer->deadline : -1;
    g_mutex_unlock(&timer->loop->lock);
    return deadline;
}

void timer_free(struct timer *timer)
{
    struct event_loop *loop = timer->loop;

    timer_disarm(timer);
    g_free(timer);
    event_loop_unref(loop);
}

/* ---- for the loop ---- */

/*
 * When a deadline of the list comes, on the monotonic clock: 0: it has come; INT64_MAX: not
 * foreseen.
 */
static int64_t monotonic_deadline(const struct timer_list *list, int64_t deadline)
{
    enum virtual_mode mode;
    int64_t base, now;

    switch (list->kind) {
    case CLOCK_REAL:
        return MAX(deadline, 0);
    case CLOCK_HOST:
        now = host_time(CLOCK_REALTIME);
        if (deadline <= now) {
            return 0;
        }
        return __builtin_add_overflow(deadline - now, clock_monotonic(), &now) ? INT64_MAX : now;
    default:
        now = read_virtual(list->clocks, &mode, &base);
        if (mode == VIRTUAL_STOPPED) {
            return INT64_MAX;
        }
        if (deadline <= now) {
            return 0;
        }
        if (mode == VIRTUAL_MANUAL || __builtin_sub_overflow(deadline, base, &now)) {
            return INT64_MAX;
        }
        return MAX(now, 0);
    }
}

int64_t timers_deadline(struct event_loop *loop)
{
    int64_t earliest = INT64_MAX;

    g_mutex_lock(&loop->lock);
    for (guint i = 0; i < loop->timer_lists->len; i++) {
        const struct timer_list *list = loop->timer_lists->pdata[i];

        if (list->heap->len) {
            const struct timer *timer = list->heap->pdata[0];
            int64_t deadline = monotonic_deadline(list, timer->deadline);

            earliest = MIN(earliest, deadline);
        }
    }
    g_mutex_unlock(&loop->lock);
    return earliest;
}

static bool stands_still(const struct timer_list *list)
{
    enum virtual_mode mode;
    int64_t base;

    if (list->kind == CLOCK_VIRTUAL) {
        read_virtual(list->clocks, &mode, &base);
        return mode == VIRTUAL_STOPPED;
    }
    return false;
}

/*
 * Takes the first timer of the list if it is due, and says what to call. The timer may be gone as
 * soon as the lock is given up.
 */
static bool take_due(struct timer_list *list, int64_t now, struct watch_side *call)
{
    struct timer *timer;
    bool due = false;

    /* A callback, or another thread, may have stopped the clock: then nothing more of it runs. */
    if (stands_still(list)) {
        return false;
    }
    g_mutex_lock(&list->loop->lock);
    if (list->heap->len) {
        timer = list->heap->pdata[0];
        due = timer->deadline <= now;
        if (due) {
            heap_remove(list->heap, timer);
            *call = (struct watch_side) { timer->fn, timer->opaque };
            trace_timer_fire(list->loop->log, timer, timer->deadline);
        }
    }
    g_mutex_unlock(&list->loop->lock);
    return due;
}

/*
 * No more than n, which there are now: a timer that is armed again in the past mustn't stop the
 * loop.
 */
static void run_list(struct timer_list *list, unsigned n)
{
    int64_t now = clocks_now(list->clocks, list->kind);
    struct watch_side call;

    for (; n && take_due(list, now, &call); n--) {
        list->loop->progress = true;
        call.fn(call.opaque);
    }
}

void timers_run(struct event_loop *loop)
{
    /* Lists are added at the end, by any thread, and live as long as the loop. */
    for (guint i = 0;; i++) {
        struct timer_list *list = NULL;
        unsigned n = 0;

        g_mutex_lock(&loop->lock);
        if (i < loop->timer_lists->len) {
            list = loop->timer_lists->pdata[i];
            n = list->heap->len;
        }
        g_mutex_unlock(&loop->lock);
        if (!list) {
            return;
        }
        if (n) {
            run_list(list, n);
        }
    }
}

void timers_clear(struct event_loop *loop)
{
    for (guint i = 0; i < loop->timer_lists->len; i++) {
        struct timer_list *list = loop->timer_lists->pdata[i];

        assert(!list->heap->len);   /* timers hold references to the loop */
        if (list->clocks) {
            g_mutex_lock(&list->clocks->lock);
            g_ptr_array_remove_fast(list->clocks->lists, list);
            g_mutex_unlock(&list->clocks->lock);
            clocks_unref(list->clocks);
        }
        g_ptr_array_free(list->heap, TRUE);
        g_free(list);
    }
}
