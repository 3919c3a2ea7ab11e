/* Clocks and timers. */
#include "util/clock.h"

#include <stdlib.h>

static void count(void *opaque)
{
    ++*(int *)opaque;
}

static void test_virtual(void)
{
    auto_ptr(clocks) clocks = clocks_new();
    int64_t a, b;

    g_assert_cmpint(clocks_now(clocks, CLOCK_VIRTUAL), ==, 0);
    g_usleep(2000);
    g_assert_cmpint(clocks_now(clocks, CLOCK_VIRTUAL), ==, 0);
    clocks_start_virtual(clocks);
    clocks_start_virtual(clocks);
    g_usleep(2000);
    clocks_stop_virtual(clocks);
    clocks_stop_virtual(clocks);
    a = clocks_now(clocks, CLOCK_VIRTUAL);
    g_assert_cmpint(a, >=, 2000000);
    g_usleep(2000);
    g_assert_cmpint(clocks_now(clocks, CLOCK_VIRTUAL), ==, a);
    clocks_start_virtual(clocks);
    b = clocks_now(clocks, CLOCK_VIRTUAL);
    g_assert_cmpint(b, >=, a);
    g_assert_cmpint(b, <, a + 1000000000);

    clocks_set_manual(clocks);
    a = clocks_now(clocks, CLOCK_VIRTUAL);
    g_assert_cmpint(a, >=, b);
    clocks_start_virtual(clocks);       /* moves by steps only */
    g_usleep(2000);
    g_assert_cmpint(clocks_now(clocks, CLOCK_VIRTUAL), ==, a);
    clocks_step(clocks, 100);
    g_assert_cmpint(clocks_now(clocks, CLOCK_VIRTUAL), ==, a + 100);
    clocks_step(clocks, -5);
    g_assert_cmpint(clocks_now(clocks, CLOCK_VIRTUAL), ==, a + 100);
    clocks_step(clocks, INT64_MAX);
    g_assert_cmpint(clocks_now(clocks, CLOCK_VIRTUAL), ==, INT64_MAX);
}

static void changed(void *opaque, bool runs)
{
    g_string_append(opaque, runs ? "+" : "-");
}

static void test_listeners(void)
{
    auto_ptr(clocks) clocks = clocks_new();
    g_autoptr(GString) seen = g_string_new(NULL), other = g_string_new(NULL);

    g_assert_false(clocks_virtual_runs(clocks));
    clocks_set_virtual(clocks, 5000);
    g_assert_cmpint(clocks_now(clocks, CLOCK_VIRTUAL), ==, 5000);
    clocks_add_listener(clocks, changed, seen);
    clocks_add_listener(clocks, changed, other);
    clocks_stop_virtual(clocks);            /* it stands already */
    clocks_start_virtual(clocks);
    clocks_start_virtual(clocks);
    g_assert_true(clocks_virtual_runs(clocks));
    g_assert_cmpint(clocks_now(clocks, CLOCK_VIRTUAL), >=, 5000);
    clocks_remove_listener(clocks, other);
    clocks_stop_virtual(clocks);
    clocks_set_manual(clocks);
    g_assert_true(clocks_virtual_runs(clocks));
    clocks_set_virtual(clocks, 7);
    clocks_step(clocks, 3);
    g_assert_cmpint(clocks_now(clocks, CLOCK_VIRTUAL), ==, 10);
    g_assert_cmpstr(seen->str, ==, "+-+");
    g_assert_cmpstr(other->str, ==, "+");
}

static void test_host(void)
{
    auto_ptr(clocks) clocks = clocks_new();
    int64_t host = clocks_now(clocks, CLOCK_HOST) / 1000 - g_get_real_time();
    int64_t real = clocks_now(clocks, CLOCK_REAL) / 1000 - g_get_monotonic_time();

    g_assert_cmpint(llabs(host), <, 10000000);
    g_assert_cmpint(llabs(real), <, 10000000);
}

static gpointer turn_on_and_off(gpointer opaque)
{
    for (int i = 0; i < 20000; i++) {
        clocks_start_virtual(opaque);
        clocks_stop_virtual(opaque);
    }
    return NULL;
}

/* The virtual clock never goes back, whatever another thread does to it. */
static void test_monotonic(void)
{
    auto_ptr(clocks) clocks = clocks_new();
    GThread *thread = g_thread_new("switch", turn_on_and_off, clocks);
    int64_t last = 0;

    for (int i = 0; i < 200000; i++) {
        int64_t now = clocks_now(clocks, CLOCK_VIRTUAL);

        g_assert_cmpint(now, >=, last);
        last = now;
    }
    g_thread_join(thread);
}

struct entry {
    struct timer *timer;
    int64_t deadline;
    int64_t *last;      /* deadline of the one that ran before */
    int fired;
};

static void in_order(void *opaque)
{
    struct entry *e = opaque;

    g_assert_cmpint(e->deadline, >=, *e->last);
    *e->last = e->deadline;
    e->fired++;
}

static void run_ready(struct event_loop *loop)
{
    while (event_loop_iterate(loop, false)) {
    }
}

/* Against the plain rule: those whose deadline has come, each once, the earliest first. */
static void test_heap(void)
{
    enum { N = 300 };
    auto_ptr(event_loop) loop = event_loop_new("test", NULL);
    auto_ptr(clocks) clocks = clocks_new();
    struct entry entries[N] = { 0 };
    bool armed[N] = { 0 };
    int64_t last;

    clocks_set_manual(clocks);
    for (int i = 0; i < N; i++) {
        entries[i].last = &last;
        entries[i].timer = timer_new(loop, clocks, CLOCK_VIRTUAL, in_order, &entries[i]);
    }
    for (int round = 0; round < 200; round++) {
        int64_t now = clocks_now(clocks, CLOCK_VIRTUAL), earliest = -1;

        for (int n = g_test_rand_int_range(0, 40); n; n--) {
            int i = g_test_rand_int_range(0, N);

            armed[i] = g_test_rand_int_range(0, 4) != 0;
            if (armed[i]) {
                entries[i].deadline = now + g_test_rand_int_range(0, 1000);
                timer_arm(entries[i].timer, entries[i].deadline);
            } else {
                timer_disarm(entries[i].timer);
            }
        }
        for (int i = 0; i < N; i++) {
            const struct timer *timer = entries[i].timer;

            g_assert_true(timer_is_armed(timer) == armed[i]);
            g_assert_cmpint(timer_deadline(timer), ==, armed[i] ? entries[i].deadline : -1);
            if (armed[i] && (earliest < 0 || entries[i].deadline < earliest)) {
                earliest = entries[i].deadline;
            }
            entries[i].fired = 0;
        }
        g_assert_cmpint(clocks_next_deadline(clocks), ==, earliest);
        clocks_step(clocks, g_test_rand_int_range(0, 200));
        last = 0;
        run_ready(loop);
        now = clocks_now(clocks, CLOCK_VIRTUAL);
        for (int i = 0; i < N; i++) {
            bool due = armed[i] && entries[i].deadline <= now;

            g_assert_cmpint(entries[i].fired, ==, due);
            armed[i] &= !due;
        }
    }
    for (int i = 0; i < N; i++) {
        timer_free(entries[i].timer);
    }
}

struct periodic {
    struct timer *timer, *other;
    int64_t deadline;
    int n;
    bool free;
};

static void again_in_the_past(void *opaque)
{
    struct periodic *p = opaque;

    p->n++;
    timer_arm(p->timer, 0);
}

static void free_both(void *opaque)
{
    struct periodic *p = opaque;

    p->n++;
    timer_free(p->timer);
    timer_free(p->other);
}

static void test_callbacks(void)
{
    auto_ptr(event_loop) loop = event_loop_new("test", NULL);
    auto_ptr(clocks) clocks = clocks_new();
    struct periodic p = { 0 };
    int n = 0;

    clocks_set_manual(clocks);
    p.timer = timer_new(loop, clocks, CLOCK_VIRTUAL, again_in_the_past, &p);
    timer_arm(p.timer, 0);
    event_loop_post(loop, count, &n);
    event_loop_iterate(loop, true);
    g_assert_cmpint(p.n, ==, 1);        /* once a turn; others get theirs */
    event_loop_iterate(loop, true);
    g_assert_cmpint(p.n, ==, 2);
    timer_free(p.timer);

    p.n = 0;
    p.timer = timer_new(loop, clocks, CLOCK_VIRTUAL, free_both, &p);
    p.other = timer_new(loop, clocks, CLOCK_VIRTUAL, count, &n);
    timer_arm(p.timer, -5);
    timer_arm(p.other, 0);
    n = 0;
    run_ready(loop);
    g_assert_cmpint(p.n, ==, 1);
    g_assert_cmpint(n, ==, 0);
}

/* A timer that is due waits until its clock goes on. */
static void test_stopped(void)
{
    auto_ptr(event_loop) loop = event_loop_new("test", NULL);
    auto_ptr(clocks) clocks = clocks_new();
    auto_ptr(timer) timer = NULL;
    int n = 0;

    timer = timer_new(loop, clocks, CLOCK_VIRTUAL, count, &n);
    timer_arm(timer, 0);
    run_ready(loop);
    g_assert_cmpint(n, ==, 0);
    clocks_start_virtual(clocks);
    run_ready(loop);
    g_assert_cmpint(n, ==, 1);
    timer_arm(timer, clocks_now(clocks, CLOCK_VIRTUAL) + 5000000);
    while (n < 2) {
        event_loop_iterate(loop, true);
    }
    timer_arm(timer, INT64_MAX);
    run_ready(loop);
    timer_arm(timer, INT64_MIN);
    run_ready(loop);
    g_assert_cmpint(n, ==, 3);
}

struct waker {
    struct clocks *clocks;
    struct timer *timer;
};

static gpointer step_later(gpointer opaque)
{
    struct waker *w = opaque;

    g_usleep(10000);
    clocks_step(w->clocks, 1000);
    return NULL;
}

static gpointer arm_later(gpointer opaque)
{
    struct waker *w = opaque;

    g_usleep(10000);
    timer_arm(w->timer, clocks_now(w->clocks, CLOCK_HOST));
    return NULL;
}

/* The loop sleeps, and another thread makes a timer due. */
static void test_wake(void)
{
    auto_ptr(event_loop) loop = event_loop_new("test", NULL);
    auto_ptr(clocks) clocks = clocks_new();
    struct waker w = { clocks, NULL };
    GThread *thread;
    int n = 0;

    clocks_set_manual(clocks);
    w.timer = timer_new(loop, clocks, CLOCK_VIRTUAL, count, &n);
    timer_arm(w.timer, 1000);
    thread = g_thread_new("step", step_later, &w);
    while (n < 1) {
        event_loop_iterate(loop, true);
    }
    g_thread_join(thread);
    timer_free(w.timer);

    w.timer = timer_new(loop, clocks, CLOCK_HOST, count, &n);
    thread = g_thread_new("arm", arm_later, &w);
    while (n < 2) {
        event_loop_iterate(loop, true);
    }
    g_thread_join(thread);
    timer_free(w.timer);
}

struct storm {
    struct timer *timers[8];
    struct clocks *clocks;
};

static gpointer arm_and_disarm(gpointer opaque)
{
    struct storm *s = opaque;

    for (int i = 0; i < 10000; i++) {
        struct timer *timer = s->timers[i % G_N_ELEMENTS(s->timers)];

        if (i % 3) {
            timer_arm(timer, clocks_now(s->clocks, CLOCK_REAL) + i % 7 * 1000);
        } else {
            timer_disarm(timer);
        }
    }
    return NULL;
}

static void test_threads(void)
{
    auto_ptr(event_loop) loop = event_loop_new("test", NULL);
    struct storm s = { .clocks = clocks_new() };
    GThread *threads[3];
    int n = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(s.timers); i++) {
        s.timers[i] = timer_new(loop, s.clocks, CLOCK_REAL, count, &n);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = g_thread_new("storm", arm_and_disarm, &s);
    }
    for (int i = 0; i < 1000; i++) {
        event_loop_iterate(loop, false);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(s.timers); i++) {
        timer_free(s.timers[i]);
    }
    clocks_unref(s.clocks);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/clock/virtual", test_virtual);
    g_test_add_func("/clock/listeners", test_listeners);
    g_test_add_func("/clock/host", test_host);
    g_test_add_func("/clock/monotonic", test_monotonic);
    g_test_add_func("/timer/heap", test_heap);
    g_test_add_func("/timer/callbacks", test_callbacks);
    g_test_add_func("/timer/stopped", test_stopped);
    g_test_add_func("/timer/wake", test_wake);
    g_test_add_func("/timer/threads", test_threads);
    return g_test_run();
}
