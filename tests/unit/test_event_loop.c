/* The event loop, on io_uring and on epoll. */
#include "util/event_loop_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/iothread.h"

struct fixture {
    struct event_loop *loop;
    int fds[2]; /* a socket pair */
};

static void set_up(struct fixture *f, gconstpointer backend)
{
    g_autoptr(GError) error = NULL;

    f->loop = event_loop_new_with("test", backend, &error);
    g_assert_no_error(error);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, f->fds), ==,
                    0);
}

static void tear_down(struct fixture *f, gconstpointer backend)
{
    for (int i = 0; i < 2; i++) {
        if (f->fds[i] >= 0) {
            event_loop_watch(f->loop, f->fds[i], NULL, NULL, NULL);
            close(f->fds[i]);
        }
    }
    event_loop_unref(f->loop);
}

/* Runs what is ready, also what io_uring needs another turn to find out. */
static void settle(struct event_loop *loop)
{
    for (int i = 0; i < 3; i++) {
        event_loop_iterate(loop, false);
    }
}

static void count(void *opaque)
{
    ++*(int *)opaque;
}

/* ---- bottom halves ---- */

static void append_1(void *opaque)
{
    g_string_append_c(opaque, '1');
}

static void append_2(void *opaque)
{
    g_string_append_c(opaque, '2');
}

static void append_3(void *opaque)
{
    g_string_append_c(opaque, '3');
}

static void test_post(struct fixture *f, gconstpointer backend)
{
    g_autoptr(GString) text = g_string_new(NULL);

    g_assert_false(event_loop_iterate(f->loop, false));
    event_loop_post(f->loop, append_1, text);
    event_loop_post(f->loop, append_2, text);
    event_loop_post(f->loop, append_3, text);
    g_assert_cmpstr(text->str, ==, "");
    g_assert_true(event_loop_iterate(f->loop, true));
    g_assert_cmpstr(text->str, ==, "123");
    g_assert_false(event_loop_iterate(f->loop, false));
    /* Dropped with the loop. */
    event_loop_post(f->loop, append_1, text);
}

struct bh_test {
    struct bottom_half *bh, *other;
    int n;
};

static void again(void *opaque)
{
    struct bh_test *t = opaque;

    if (++t->n < 3) {
        bottom_half_schedule(t->bh);
    }
}

static void free_both(void *opaque)
{
    struct bh_test *t = opaque;

    t->n++;
    bottom_half_free(t->bh);
    bottom_half_free(t->other);
}

static void test_bottom_half(struct fixture *f, gconstpointer backend)
{
    struct bh_test t = {0};

    t.bh = bottom_half_new(f->loop, again, &t);
    bottom_half_schedule(t.bh);
    bottom_half_schedule(t.bh);
    event_loop_iterate(f->loop, true);
    g_assert_cmpint(t.n, ==, 1);
    event_loop_iterate(f->loop, true);
    event_loop_iterate(f->loop, true);
    g_assert_cmpint(t.n, ==, 3);
    g_assert_false(event_loop_iterate(f->loop, false));

    bottom_half_schedule(t.bh);
    bottom_half_cancel(t.bh);
    event_loop_iterate(f->loop, false);
    g_assert_cmpint(t.n, ==, 3);
    bottom_half_schedule(t.bh);
    bottom_half_cancel(t.bh);
    bottom_half_schedule(t.bh);
    event_loop_iterate(f->loop, false);
    g_assert_cmpint(t.n, ==, 4);
    bottom_half_schedule(t.bh);
    bottom_half_free(t.bh);
    event_loop_iterate(f->loop, false);
    g_assert_cmpint(t.n, ==, 4);

    t.n = 0;
    t.bh = bottom_half_new(f->loop, free_both, &t);
    t.other = bottom_half_new(f->loop, again, &t);
    bottom_half_schedule(t.bh);
    bottom_half_schedule(t.other);
    settle(f->loop);
    g_assert_cmpint(t.n, ==, 1);
}

/* A bottom half may outlive its maker's reference of the loop. */
static void test_order_of_freeing(struct fixture *f, gconstpointer backend)
{
    struct event_loop *loop = event_loop_new_with("short", backend, NULL);
    struct bottom_half *bh;
    struct timer *timer;
    int n = 0;

    bh = bottom_half_new(loop, count, &n);
    timer = timer_new(loop, NULL, CLOCK_REAL, count, &n);
    timer_arm(timer, 0);
    bottom_half_schedule(bh);
    event_loop_unref(loop);
    bottom_half_free(bh);
    timer_free(timer);
}

enum { N_THREADS = 4, N_POSTS = 5000 };

struct poster {
    struct event_loop *loop;
    struct bottom_half *bh;
    int n; /* the loop's thread */
    int done;
};

static void post_done(void *opaque)
{
    struct poster *p = opaque;

    if (++p->done == N_THREADS) {
        event_loop_stop(p->loop);
    }
}

static gpointer post_many(gpointer opaque)
{
    struct poster *p = opaque;

    for (int i = 0; i < N_POSTS; i++) {
        event_loop_post(p->loop, count, &p->n);
        bottom_half_schedule(p->bh);
    }
    event_loop_post(p->loop, post_done, p);
    return NULL;
}

static void test_threads(struct fixture *f, gconstpointer backend)
{
    struct poster p = {.loop = f->loop};
    GThread *threads[N_THREADS];
    int bh_runs = 0;

    p.bh = bottom_half_new(f->loop, count, &bh_runs);
    for (int i = 0; i < N_THREADS; i++) {
        threads[i] = g_thread_new("post", post_many, &p);
    }
    event_loop_run(f->loop);
    for (int i = 0; i < N_THREADS; i++) {
        g_thread_join(threads[i]);
    }
    settle(f->loop);
    g_assert_cmpint(p.n, ==, N_THREADS * N_POSTS);
    g_assert_cmpint(bh_runs, >=, 1);
    g_assert_cmpint(bh_runs, <=, N_THREADS * N_POSTS);
    bottom_half_free(p.bh);
}

static gpointer post_later(gpointer opaque)
{
    struct poster *p = opaque;

    g_usleep(20000);
    event_loop_post(p->loop, count, &p->n);
    return NULL;
}

static void test_wake(struct fixture *f, gconstpointer backend)
{
    struct poster p = {.loop = f->loop};

    for (int i = 0; i < 3; i++) {
        GThread *thread = g_thread_new("post", post_later, &p);

        while (p.n == i) {
            event_loop_iterate(f->loop, true);
        }
        g_thread_join(thread);
    }
    g_assert_cmpint(p.n, ==, 3);
}

/* ---- watches ---- */

struct watch_test {
    struct event_loop *loop;
    int fd, other;
    int reads, writes;
    bool remove, remove_other;
};

static void on_read(void *opaque)
{
    struct watch_test *t = opaque;

    g_assert_true(event_loop_current() == t->loop);
    t->reads++;
    if (t->remove) {
        event_loop_watch(t->loop, t->fd, NULL, NULL, NULL);
    }
    if (t->remove_other) {
        event_loop_watch(t->loop, t->other, NULL, NULL, NULL);
        event_loop_watch(t->loop, t->fd, NULL, NULL, NULL);
    }
}

static void on_write(void *opaque)
{
    struct watch_test *t = opaque;

    t->writes++;
}

static void test_watch(struct fixture *f, gconstpointer backend)
{
    struct watch_test t = {.loop = f->loop, .fd = f->fds[0]};
    char buf[8];

    event_loop_watch(f->loop, t.fd, on_read, NULL, &t);
    settle(f->loop);
    g_assert_cmpint(t.reads, ==, 0);
    g_assert_cmpint(write(f->fds[1], "abc", 3), ==, 3);
    /* Level triggered. */
    for (int i = 1; i <= 3; i++) {
        while (t.reads < i) {
            event_loop_iterate(f->loop, true);
        }
    }
    g_assert_cmpint(read(t.fd, buf, sizeof(buf)), ==, 3);
    settle(f->loop);
    t.reads = 0;
    settle(f->loop);
    g_assert_cmpint(t.reads, ==, 0);

    event_loop_watch(f->loop, t.fd, on_read, on_write, &t);
    settle(f->loop);
    g_assert_cmpint(t.reads, ==, 0);
    g_assert_cmpint(t.writes, >=, 1);
    event_loop_watch(f->loop, t.fd, NULL, on_write, &t);
    g_assert_cmpint(write(f->fds[1], "abc", 3), ==, 3);
    settle(f->loop);
    g_assert_cmpint(t.reads, ==, 0);
    event_loop_watch(f->loop, t.fd, on_read, NULL, &t);
    t.writes = 0;
    settle(f->loop);
    settle(f->loop);
    g_assert_cmpint(t.reads, >=, 1);
    g_assert_cmpint(t.writes, ==, 0);

    /* Removed: never again. */
    event_loop_watch(f->loop, t.fd, NULL, NULL, NULL);
    t.reads = 0;
    settle(f->loop);
    g_assert_cmpint(t.reads, ==, 0);
    event_loop_watch(f->loop, t.fd, NULL, NULL, NULL);
}

static void test_watch_remove(struct fixture *f, gconstpointer backend)
{
    struct watch_test a = {f->loop, f->fds[0], f->fds[1], .remove_other = true};
    struct watch_test b = {f->loop, f->fds[1], f->fds[0], .remove_other = true};
    struct watch_test c = {.loop = f->loop, .fd = f->fds[0], .remove = true};

    /* Both are ready in the same turn; the first one to be called removes the other. */
    g_assert_cmpint(write(f->fds[0], "a", 1), ==, 1);
    g_assert_cmpint(write(f->fds[1], "b", 1), ==, 1);
    event_loop_watch(f->loop, a.fd, on_read, NULL, &a);
    event_loop_watch(f->loop, b.fd, on_read, NULL, &b);
    settle(f->loop);
    g_assert_cmpint(a.reads + b.reads, ==, 1);

    /* Removed in its read callback, it gets no write callback. */
    event_loop_watch(f->loop, c.fd, on_read, on_write, &c);
    settle(f->loop);
    g_assert_cmpint(c.reads, ==, 1);
    g_assert_cmpint(c.writes, <=, 1);
    c.writes = 0;
    settle(f->loop);
    g_assert_cmpint(c.writes, ==, 0);
}

static void replace(void *opaque)
{
    struct watch_test *t = opaque;

    t->reads++;
    event_loop_watch(t->loop, t->other, NULL, NULL, NULL);
    event_loop_watch(t->loop, t->other, on_write, NULL, t); /* counts as a write */
    event_loop_watch(t->loop, t->fd, NULL, NULL, NULL);
}

/* New handlers get no readiness that was found for old ones and may be stale. */
static void test_watch_replace(struct fixture *f, gconstpointer backend)
{
    struct watch_test t = {.loop = f->loop, .fd = f->fds[0], .other = f->fds[1]};
    struct watch_test o = {.loop = f->loop, .fd = f->fds[1], .other = f->fds[0]};

    g_assert_cmpint(write(f->fds[0], "a", 1), ==, 1);
    g_assert_cmpint(write(f->fds[1], "b", 1), ==, 1);
    event_loop_watch(f->loop, t.fd, replace, NULL, &t);
    event_loop_watch(f->loop, o.fd, replace, NULL, &o);
    while (!t.reads && !o.reads) {
        event_loop_iterate(f->loop, true);
    }
    g_assert_cmpint(t.reads + o.reads, ==, 1);
    g_assert_cmpint(t.writes + o.writes, ==, 0);
    settle(f->loop);
    g_assert_cmpint(t.reads + o.reads, ==, 1);
    g_assert_cmpint(t.writes + o.writes, >=, 1);
}

static void test_hang_up(struct fixture *f, gconstpointer backend)
{
    struct watch_test t = {.loop = f->loop, .fd = f->fds[0]};
    char c;

    event_loop_watch(f->loop, f->fds[1], on_read, NULL, &t);
    settle(f->loop);
    event_loop_watch(f->loop, f->fds[1], NULL, NULL, NULL);
    close(f->fds[1]);
    /*
     * Nothing keeps the closed end open: the other one sees it at once, without a turn of the loop.
     */
    g_assert_cmpint(read(f->fds[0], &c, 1), ==, 0);
    f->fds[1] = -1;

    event_loop_watch(f->loop, t.fd, on_read, NULL, &t);
    settle(f->loop);
    g_assert_cmpint(t.reads, >=, 1);
    event_loop_watch(f->loop, t.fd, NULL, on_write, &t);
    t.reads = 0;
    settle(f->loop);
    g_assert_cmpint(t.reads, ==, 0);
    g_assert_cmpint(t.writes, >=, 1);
}

/* A descriptor number that means another file now, with and without telling the loop. */
static void test_reuse(struct fixture *f, gconstpointer backend)
{
    struct watch_test t = {.loop = f->loop, .fd = f->fds[0]};
    int other[2];

    event_loop_watch(f->loop, t.fd, on_read, NULL, &t);
    settle(f->loop);
    event_loop_watch(f->loop, t.fd, NULL, NULL, NULL);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other), ==, 0);
    g_assert_cmpint(dup2(other[0], t.fd), ==, t.fd);
    event_loop_watch(f->loop, t.fd, on_read, NULL, &t);
    settle(f->loop);
    g_assert_cmpint(t.reads, ==, 0);
    g_assert_cmpint(write(other[1], "a", 1), ==, 1);
    settle(f->loop);
    g_assert_cmpint(t.reads, >=, 1);
    close(other[0]);
    close(other[1]);
}

static void test_regular_file(struct fixture *f, gconstpointer backend)
{
    struct watch_test t = {.loop = f->loop};

    t.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    event_loop_watch(f->loop, t.fd, on_read, NULL, &t);
    event_loop_iterate(f->loop, true);
    event_loop_iterate(f->loop, true);
    settle(f->loop);
    g_assert_cmpint(t.reads, >=, 2);
    event_loop_watch(f->loop, t.fd, NULL, NULL, NULL);
    t.reads = 0;
    settle(f->loop);
    g_assert_cmpint(t.reads, ==, 0);
    close(t.fd);
}

/* One of many descriptors that are watched, written, closed at random, also in callbacks. */
struct random_end {
    struct random_end *all;
    struct event_loop *loop;
    int fd;
    bool reads, writes; /* what it is watched for */
    int64_t calls;
};

enum { N_ENDS = 16 };

static void act(struct random_end *all, int n);

static void random_read(void *opaque)
{
    struct random_end *end = opaque;
    char c;

    g_assert_true(end->reads);
    end->calls++;
    /* It doesn't block: what was reported is still so. */
    g_assert_cmpint(read(end->fd, &c, 1), >=, 0);
    act(end->all, 2);
}

static void random_write(void *opaque)
{
    struct random_end *end = opaque;

    g_assert_true(end->writes);
    end->calls++;
    act(end->all, 1);
}

static void watch_randomly(struct random_end *end, int what)
{
    end->reads = what & 1;
    end->writes = what & 2;
    event_loop_watch(end->loop, end->fd, end->reads ? random_read : NULL,
                     end->writes ? random_write : NULL, end);
}

static void open_ends(struct random_end *a, struct random_end *b)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
    a->fd = fds[0];
    b->fd = fds[1];
}

static void close_end(struct random_end *end)
{
    watch_randomly(end, 0);
    close(end->fd);
}

static void act(struct random_end *all, int n)
{
    for (; n; n--) {
        int i = g_test_rand_int_range(0, N_ENDS), what = g_test_rand_int_range(0, 16);
        struct random_end *end = &all[i];

        if (what < 6) {
            watch_randomly(end, what & 3);
        } else if (what < 14) {
            g_assert_cmpint(send(end->fd, "x", 1, MSG_NOSIGNAL), <=, 1);
        } else {
            close_end(end);
            close_end(&all[i ^ 1]);
            open_ends(end, &all[i ^ 1]);
        }
    }
}

static void test_watch_random(struct fixture *f, gconstpointer backend)
{
    struct random_end ends[N_ENDS];
    int64_t calls = 0;

    for (int i = 0; i < N_ENDS; i++) {
        ends[i] = (struct random_end){.all = ends, .loop = f->loop};
    }
    for (int i = 0; i < N_ENDS; i += 2) {
        open_ends(&ends[i], &ends[i + 1]);
    }
    for (int i = 0; i < 5000; i++) {
        act(ends, 3);
        event_loop_iterate(f->loop, false);
    }
    for (int i = 0; i < N_ENDS; i++) {
        calls += ends[i].calls;
        close_end(&ends[i]);
    }
    g_assert_cmpint(calls, >, 5000);
    /* Nothing is left but the loop's own. */
    settle(f->loop);
    g_assert_cmpuint(f->loop->watches.length, ==, 1);
}

/* ---- waiting ---- */

static void test_timeout(struct fixture *f, gconstpointer backend)
{
    auto_ptr(timer) timer = NULL;
    int64_t start = clocks_now(NULL, CLOCK_REAL), now;
    int n = 0;

    timer = timer_new(f->loop, NULL, CLOCK_REAL, count, &n);
    timer_arm(timer, start + 30000000);
    while (!n) {
        event_loop_iterate(f->loop, true);
    }
    now = clocks_now(NULL, CLOCK_REAL);
    g_assert_cmpint(now - start, >=, 30000000);
    g_assert_cmpint(now - start, <, 2000000000);
}

/* A deadline that comes just when the loop gets ready to wait: it must not wait for ever. */
static void test_soon(struct fixture *f, gconstpointer backend)
{
    auto_ptr(timer) timer = NULL;
    int n = 0;

    timer = timer_new(f->loop, NULL, CLOCK_REAL, count, &n);
    for (int i = 0; i < 10000; i++) {
        timer_arm(timer, clocks_now(NULL, CLOCK_REAL) + i % 2000);
        while (n <= i) {
            event_loop_iterate(f->loop, true);
        }
    }
}

/* It sleeps all the while: no turn without a reason. */
static void test_idle(struct fixture *f, gconstpointer backend)
{
    struct watch_test w = {f->loop, f->fds[0], -1};
    auto_ptr(timer) timer = NULL;
    int n = 0, turns = 0;

    event_loop_post(f->loop, count, &n);
    event_loop_watch(f->loop, w.fd, on_read, NULL, &w);
    settle(f->loop);
    timer = timer_new(f->loop, NULL, CLOCK_REAL, count, &n);
    timer_arm(timer, clocks_now(NULL, CLOCK_REAL) + 30000000);
    while (n < 2) {
        event_loop_iterate(f->loop, true);
        turns++;
    }
    g_assert_cmpint(turns, <=, 5);
    event_loop_watch(f->loop, w.fd, NULL, NULL, NULL);
}

struct poll_test {
    struct event_poller poller;
    int polls, found;
};

static bool poll_once(void *opaque)
{
    struct poll_test *t = opaque;

    t->polls++;
    if (t->polls == 1000) {
        t->found++;
        return true;
    }
    return false;
}

static void test_polling(struct fixture *f, gconstpointer backend)
{
    struct poll_test t = {.poller = {poll_once, &t}};
    auto_ptr(timer) timer = NULL;
    int n = 0;

    event_loop_add_poller(f->loop, &t.poller);
    event_loop_iterate(f->loop, false);
    g_assert_cmpint(t.polls, ==, 1);
    event_loop_set_polling(f->loop, 50000000, 4, 2);
    timer = timer_new(f->loop, NULL, CLOCK_REAL, count, &n);
    for (int i = 0; i < 20 && !t.found; i++) {
        n = 0;
        timer_arm(timer, clocks_now(NULL, CLOCK_REAL) + 1000000);
        while (!n && !t.found) {
            event_loop_iterate(f->loop, true);
        }
    }
    g_assert_cmpint(t.found, ==, 1);
    g_assert_cmpint(f->loop->poll_ns, >=, 4000);
    /* Longer than it may poll: less of it. */
    event_loop_set_polling(f->loop, 100000, 0, 0);
    f->loop->poll_ns = 100000;
    n = 0;
    timer_arm(timer, clocks_now(NULL, CLOCK_REAL) + 10000000);
    while (!n) {
        event_loop_iterate(f->loop, true);
    }
    g_assert_cmpint(f->loop->poll_ns, ==, 0);
    event_loop_remove_poller(f->loop, &t.poller);
}

static void test_glib(struct fixture *f, gconstpointer backend)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    struct event_loop *loop = event_loop_new_with("glib", backend, NULL);
    struct watch_test w = {.loop = loop, .fd = f->fds[0], .remove = true};
    struct poster p = {.loop = loop};
    int64_t start, now;
    struct timer *timer;
    GThread *thread;
    int n = 0;

    event_loop_attach(loop, context);
    g_assert_false(g_main_context_iteration(context, FALSE));
    event_loop_post(loop, count, &n);
    g_main_context_iteration(context, TRUE);
    g_assert_cmpint(n, ==, 1);

    event_loop_watch(loop, w.fd, on_read, NULL, &w);
    g_assert_cmpint(write(f->fds[1], "a", 1), ==, 1);
    while (!w.reads) {
        g_main_context_iteration(context, TRUE);
    }

    timer = timer_new(loop, NULL, CLOCK_REAL, count, &n);
    for (int i = 1; i <= 5; i++) {
        n = 0;
        start = clocks_now(NULL, CLOCK_REAL);
        timer_arm(timer, start + i * 300000);
        while (!n) {
            g_main_context_iteration(context, TRUE);
        }
        now = clocks_now(NULL, CLOCK_REAL);
        g_assert_cmpint(now - start, >=, i * 300000);
        g_assert_cmpint(now - start, <, 1000000000);
    }
    timer_free(timer);

    thread = g_thread_new("post", post_later, &p);
    while (!p.n) {
        g_main_context_iteration(context, TRUE);
    }
    g_thread_join(thread);
    event_loop_unref(loop);
    g_assert_false(g_main_context_iteration(context, FALSE));
}

/* ---- io_uring requests ---- */

struct nop {
    struct uring_request request;
    int *n;
};

static void nop_complete(struct uring_request *request, int result)
{
    g_assert_cmpint(result, ==, 0);
    ++*((struct nop *)request)->n;
}

static void test_requests(struct fixture *f, gconstpointer backend)
{
    enum { N = 5000 }; /* many times what the ring takes */
    g_autofree struct nop *nops = g_new0(struct nop, N);
    int n = 0;

    g_assert_true(event_loop_has_uring(f->loop) == (backend == &event_backend_uring));
    if (!event_loop_has_uring(f->loop)) {
        g_assert_null(event_loop_sqe(f->loop, &nops[0].request));
        return;
    }
    for (int i = 0; i < N; i++) {
        nops[i] = (struct nop){{nop_complete}, &n};
        io_uring_prep_nop(event_loop_sqe(f->loop, &nops[i].request));
    }
    while (n < N) {
        event_loop_iterate(f->loop, true);
    }
    event_loop_set_max_batch(f->loop, 2);
    n = 0;
    for (int i = 0; i < 7; i++) {
        io_uring_prep_nop(event_loop_sqe(f->loop, &nops[i].request));
        g_assert_cmpuint(io_uring_sq_ready(&f->loop->ring), <=, 2);
    }
    while (n < 7) {
        event_loop_iterate(f->loop, true);
    }
}

/* The kernel refuses io_uring, as container runtimes let it do. */
static void test_fallback(void)
{
    if (g_test_subprocess()) {
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
        auto_ptr(event_loop) loop = NULL;
        int n = 0;

        g_assert_cmpint(
            seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0), ==, 0);
        g_assert_cmpint(seccomp_load(filter), ==, 0);
        seccomp_release(filter);
        loop = event_loop_new("test", NULL);
        g_assert_nonnull(loop);
        g_assert_false(event_loop_has_uring(loop));
        event_loop_post(loop, count, &n);
        event_loop_iterate(loop, true);
        g_assert_cmpint(n, ==, 1);
        return;
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_passed();
}

static void test_errors(void)
{
    struct rlimit limit, none;
    g_autoptr(GError) error = NULL;

    if (g_test_subprocess()) {
        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        none = (struct rlimit){3, limit.rlim_max};
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
        g_assert_null(event_loop_new("test", &error));
        g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_MFILE);
        g_clear_error(&error);
        g_assert_null(iothread_new("test", NULL, &error));
        g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_MFILE);
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        return;
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_passed();
}

/* ---- iothreads ---- */

struct cross {
    struct event_loop *loop;
    int fd, n;
    bool owner;
};

static void read_byte(void *opaque)
{
    struct cross *x = opaque;
    char c;

    g_assert_cmpint(read(x->fd, &c, 1), ==, 1);
    x->owner = event_loop_is_owner(x->loop) && event_loop_current() == x->loop;
    event_loop_watch(x->loop, x->fd, NULL, NULL, NULL);
    __atomic_store_n(&x->n, 1, __ATOMIC_RELEASE);
}

static void start_watch(void *opaque)
{
    struct cross *x = opaque;

    event_loop_watch(x->loop, x->fd, read_byte, NULL, x);
}

static void test_iothread(void)
{
    g_autoptr(GError) error = NULL;
    struct iothread *iothread = iothread_new("io0", NULL, &error);
    struct cross x = {0};
    int fds[2];

    g_assert_no_error(error);
    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    x.loop = iothread_loop(iothread);
    x.fd = fds[0];
    g_assert_cmpstr(event_loop_name(x.loop), ==, "io0");
    g_assert_cmpint(iothread_thread_id(iothread), >, 0);
    g_assert_cmpint(iothread_thread_id(iothread), !=, gettid());
    g_assert_null(event_loop_current());
    iothread_set_polling(iothread, 32768, 0, 0);
    event_loop_post(x.loop, start_watch, &x);
    g_assert_cmpint(write(fds[1], "x", 1), ==, 1);
    while (!__atomic_load_n(&x.n, __ATOMIC_ACQUIRE)) {
        g_usleep(1000);
    }
    g_assert_true(x.owner);
    iothread_free(iothread);
    close(fds[0]);
    close(fds[1]);
}

struct row {
    const char *name;
    void (*fn)(struct fixture *f, gconstpointer backend);
};

int main(int argc, char **argv)
{
    const struct event_backend *const backends[] = {&event_backend_uring, &event_backend_epoll};
    static const struct row rows[] = {
        {"post", test_post},
        {"bottom-half", test_bottom_half},
        {"order-of-freeing", test_order_of_freeing},
        {"threads", test_threads},
        {"wake", test_wake},
        {"watch", test_watch},
        {"watch-remove", test_watch_remove},
        {"watch-replace", test_watch_replace},
        {"hang-up", test_hang_up},
        {"reuse", test_reuse},
        {"regular-file", test_regular_file},
        {"watch-random", test_watch_random},
        {"timeout", test_timeout},
        {"soon", test_soon},
        {"idle", test_idle},
        {"polling", test_polling},
        {"glib", test_glib},
        {"requests", test_requests},
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t b = 0; b < G_N_ELEMENTS(backends); b++) {
        struct event_loop *probe = event_loop_new_with("probe", backends[b], NULL);

        for (size_t i = 0; probe && i < G_N_ELEMENTS(rows); i++) {
            g_autofree char *path =
                g_strdup_printf("/event_loop/%s/%s", backends[b]->name, rows[i].name);

            g_test_add(path, struct fixture, backends[b], set_up, rows[i].fn, tear_down);
        }
        if (probe) {
            event_loop_unref(probe); /* the kernel may have no io_uring; it has epoll */
        }
    }
    g_test_add_func("/event_loop/fallback", test_fallback);
    g_test_add_func("/event_loop/errors", test_errors);
    g_test_add_func("/iothread", test_iothread);
    return g_test_run();
}
