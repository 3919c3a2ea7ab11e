/* Coroutines, on one loop and between several. */
#include "util/coroutine.h"

#include <errno.h>
#include <fenv.h>
#include <poll.h>
#include <seccomp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/event_loop_priv.h"
#include "util/iothread.h"
#include "util/thread_pool.h"

static struct event_loop *new_loop(void)
{
    g_autoptr(GError) error = NULL;
    struct event_loop *loop = event_loop_new("test", &error);

    g_assert_no_error(error);
    return loop;
}

static void run_until(struct event_loop *loop, const int *flag)
{
    while (!*flag) {
        event_loop_iterate(loop, true);
    }
}

struct basic {
    struct event_loop *loop;
    struct coroutine *co;
    int step, done;
};

static void three_steps(void *opaque)
{
    struct basic *b = opaque;

    g_assert_nonnull(coroutine_self());
    b->co = coroutine_self();
    g_assert_true(coroutine_loop(b->co) == b->loop);
    b->step = 1;
    co_yield ();
    b->step = 2;
    co_yield ();
    b->step = 3;
}

static void test_enter(void)
{
    auto_ptr(event_loop) loop = new_loop();
    struct basic b = {.loop = loop};

    for (int i = 0; i < 1000; i++) { /* also with a stack from the pool */
        coroutine_start(loop, three_steps, &b);
        g_assert_cmpint(b.step, ==, 1);
        g_assert_null(coroutine_self());
        coroutine_enter(b.co);
        g_assert_cmpint(b.step, ==, 2);
        coroutine_wake(b.co);
        coroutine_wake(b.co);
        g_assert_cmpint(b.step, ==, 2);
        event_loop_iterate(loop, true);
        g_assert_cmpint(b.step, ==, 3);
        event_loop_iterate(loop, false);
    }
}

static void inner(void *opaque)
{
    struct basic *b = opaque;

    b->co = coroutine_self();
    b->step++;
    co_yield ();
    b->step++;
}

static void outer(void *opaque)
{
    struct basic *b = opaque;
    struct coroutine *self = coroutine_self();

    coroutine_start(b->loop, inner, b);
    g_assert_true(coroutine_self() == self);
    g_assert_cmpint(b->step, ==, 1);
    coroutine_enter(b->co);
    g_assert_cmpint(b->step, ==, 2);
    b->done = 1;
}

static void test_nested(void)
{
    auto_ptr(event_loop) loop = new_loop();
    struct basic b = {.loop = loop};

    coroutine_start(loop, outer, &b);
    g_assert_cmpint(b.done, ==, 1);
}

/* A wake-up that arrives when the coroutine has ended already. */
static void test_late_wake(void)
{
    auto_ptr(event_loop) loop = new_loop();
    struct basic b = {.loop = loop};

    coroutine_start(loop, inner, &b);
    coroutine_wake(b.co);
    coroutine_enter(b.co);
    g_assert_cmpint(b.step, ==, 2);
    event_loop_iterate(loop, false);
    g_assert_cmpint(b.step, ==, 2);
}

/* Uses registers and floating-point modes that must survive a switch. */
static void compute(void *opaque)
{
    struct basic *b = opaque;
    double sum = 0, expected = 0;

    fesetround(b->step % 2 ? FE_UPWARD : FE_DOWNWARD);
    for (int i = 0; i < 10; i++) {
        sum += i * 0.5;
        b->co = coroutine_self();
        coroutine_wake(b->co);
        co_yield ();
        expected += i * 0.5;
    }
    g_assert_true(sum == expected);
    g_assert_cmpint(fegetround(), ==, b->step % 2 ? FE_UPWARD : FE_DOWNWARD);
    b->done = 1;
}

static void test_registers(void)
{
    auto_ptr(event_loop) loop = new_loop();
    struct basic b[4] = {{.step = 0}, {.step = 1}, {.step = 2}, {.step = 3}};
    int round = fegetround();

    for (int i = 0; i < 4; i++) {
        coroutine_start(loop, compute, &b[i]);
        g_assert_cmpint(fegetround(), ==, round);
    }
    for (int i = 0; i < 4; i++) {
        run_until(loop, &b[i].done);
    }
    g_assert_cmpint(fegetround(), ==, round);
}

static int depth(int n, volatile char *above)
{
    volatile char here[256];

    here[0] = (char)n;
    return n ? depth(n - 1, here) + here[0] * 0 + 1 : above[0] * 0;
}

static void deep(void *opaque)
{
    volatile char c = 0;

    *(int *)opaque = depth(1000, &c);
}

static void test_deep(void)
{
    auto_ptr(event_loop) loop = new_loop();
    int n = 0;

    coroutine_start(loop, deep, &n);
    g_assert_cmpint(n, ==, 1000);
}

static void wait_a_while(void *opaque)
{
    co_sleep(1000000);
    ++*(int *)opaque;
}

static void test_many(void)
{
    enum { N = 500 }; /* more than the pool keeps */
    auto_ptr(event_loop) loop = new_loop();
    int n = 0;

    for (int i = 0; i < N; i++) {
        coroutine_start(loop, wait_a_while, &n);
    }
    while (n < N) {
        event_loop_iterate(loop, true);
    }
}

/* ---- waiting ---- */

static void sleep_20ms(void *opaque)
{
    struct basic *b = opaque;
    int64_t start = clocks_now(NULL, CLOCK_REAL);

    b->co = coroutine_self();
    co_sleep(20000000);
    g_assert_cmpint(clocks_now(NULL, CLOCK_REAL) - start, >=, 20000000);
    b->done = 1;
}

static void test_sleep(void)
{
    auto_ptr(event_loop) loop = new_loop();
    struct basic b = {.loop = loop};

    coroutine_start(loop, sleep_20ms, &b);
    coroutine_wake(b.co); /* by somebody else: it sleeps on */
    run_until(loop, &b.done);
}

struct transfer {
    struct event_loop *loop;
    int fd;
    size_t size, n;
    int done, cancelled;
};

static void send_all(void *opaque)
{
    struct transfer *t = opaque;
    char buf[4096] = {0};

    while (t->n < t->size) {
        ssize_t n = write(t->fd, buf, MIN(sizeof(buf), t->size - t->n));

        if (n < 0) {
            g_assert_cmpint(errno, ==, EAGAIN);
            g_assert_true(co_wait_fd(t->fd, POLLOUT));
        } else {
            t->n += (size_t)n;
        }
    }
    t->done = 1;
}

static void receive_all(void *opaque)
{
    struct transfer *t = opaque;
    char buf[3000];

    while (t->n < t->size) {
        ssize_t n = read(t->fd, buf, sizeof(buf));

        if (n < 0) {
            g_assert_cmpint(errno, ==, EAGAIN);
            g_assert_true(co_wait_fd(t->fd, POLLIN));
        } else {
            t->n += (size_t)n;
        }
    }
    t->done = 1;
}

static void wait_and_see(void *opaque)
{
    struct transfer *t = opaque;

    t->cancelled = !co_wait_fd(t->fd, POLLIN | POLLOUT);
    t->done = 1;
}

static void wait_for_input(void *opaque)
{
    struct transfer *t = opaque;

    t->cancelled = !co_wait_fd(t->fd, POLLIN);
    t->done = 1;
}

/* Both directions of both ends at the same time. */
static void test_wait_fd(gconstpointer backend)
{
    auto_ptr(event_loop) loop = event_loop_new_with("test", backend, NULL);
    struct transfer t[4];
    int fds[2];

    if (!loop) {
        g_test_skip("the kernel forbids it");
        return;
    }
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), ==, 0);
    for (int i = 0; i < 4; i++) {
        t[i] = (struct transfer){.loop = loop, .fd = fds[i / 2], .size = 3000000};
        coroutine_start(loop, i % 2 ? send_all : receive_all, &t[i]);
    }
    for (int i = 0; i < 4; i++) {
        run_until(loop, &t[i].done);
    }

    t[0] = (struct transfer){.loop = loop, .fd = fds[0]};
    coroutine_start(loop, wait_and_see, &t[0]);
    run_until(loop, &t[0].done);
    g_assert_false(t[0].cancelled);

    t[0] = (struct transfer){.loop = loop, .fd = fds[0]};
    coroutine_start(loop, wait_for_input, &t[0]);
    event_loop_iterate(loop, false);
    co_cancel_wait(loop, fds[0]);
    co_cancel_wait(loop, fds[1]);
    run_until(loop, &t[0].done);
    g_assert_true(t[0].cancelled);
    close(fds[0]);
    close(fds[1]);
}

struct job {
    struct event_loop *loop;
    GThread *thread;
    int done, *count;
};

static void in_thread(void *opaque)
{
    struct job *job = opaque;

    job->thread = g_thread_self();
    g_usleep(1000);
}

static void use_pool(void *opaque)
{
    struct job *job = opaque;

    co_run_in_pool(in_thread, job);
    g_assert_true(job->thread != g_thread_self());
    co_run_in_pool(in_thread, job);
    job->done = 1;
    ++*job->count;
}

static void add_one(void *opaque)
{
    ++*(int *)opaque;
}

static void in_pool_or_here(void *opaque)
{
    int n = 0;

    co_run_in_pool(add_one, &n);
    *(int *)opaque = n;
}

static void test_pool(void)
{
    enum { N = 100 };
    auto_ptr(event_loop) loop = new_loop();
    struct job jobs[N];
    int n = 0;

    for (int i = 0; i < N; i++) {
        jobs[i] = (struct job){.loop = loop, .count = &n};
        coroutine_start(loop, use_pool, &jobs[i]);
    }
    while (n < N) {
        event_loop_iterate(loop, true);
    }
}

static void use_pool_many(struct event_loop *loop, struct job *jobs, int n)
{
    int done = 0;

    for (int i = 0; i < n; i++) {
        jobs[i] = (struct job){.loop = loop, .count = &done};
        coroutine_start(loop, use_pool, &jobs[i]);
    }
    while (done < n) {
        event_loop_iterate(loop, true);
    }
}

static int different_threads(const struct job *jobs, int n)
{
    g_autoptr(GHashTable) set = g_hash_table_new(NULL, NULL);

    for (int i = 0; i < n; i++) {
        g_hash_table_add(set, jobs[i].thread);
    }
    return (int)g_hash_table_size(set);
}

static void test_pool_limits(void)
{
    enum { N = 30 };
    auto_ptr(event_loop) loop = new_loop();
    struct job jobs[N];

    g_assert_cmpuint(thread_pool_threads(loop->threads), ==, 0);
    event_loop_set_threads(loop, 2, 3);
    g_assert_cmpuint(thread_pool_threads(loop->threads), ==, 2);
    use_pool_many(loop, jobs, N);
    g_assert_cmpint(different_threads(jobs, N), <=, 3);
    event_loop_set_threads(loop, 0, 1);
    while (thread_pool_threads(loop->threads) > 1) {
        g_usleep(1000);
    }
    use_pool_many(loop, jobs, N);
    g_assert_cmpint(different_threads(jobs, N), ==, 1);
}

/* The system gives no thread: the work is done all the same. */
static void test_pool_no_threads(void)
{
    if (g_test_subprocess()) {
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
        auto_ptr(event_loop) loop = new_loop();
        int n = 0;

        g_assert_cmpint(seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAGAIN), SCMP_SYS(clone3), 0), ==,
                        0);
        g_assert_cmpint(seccomp_load(filter), ==, 0);
        seccomp_release(filter);
        coroutine_start(loop, in_pool_or_here, &n);
        run_until(loop, &n);
        g_assert_cmpuint(thread_pool_threads(loop->threads), ==, 0);
        return;
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_passed();
}

/* ---- jobs in a series ---- */

struct series {
    struct co_serial serial;
    int inside, n, running; /* inside, n: of the jobs only */
    bool overlapped;
};

static void one_of_series(void *opaque)
{
    struct series *s = opaque;

    s->overlapped |= s->inside++;
    g_thread_yield();
    s->n++;
    s->inside--;
}

static void run_series_of(void *opaque)
{
    struct series *s = opaque;

    for (int i = 0; i < 100; i++) {
        co_run_serially(&s->serial, one_of_series, s);
    }
    g_atomic_int_dec_and_test(&s->running);
}

/*
 * Coroutines of several loops: one job at a time, none lost; the last one ends the series itself.
 */
static void test_series(void)
{
    enum { LOOPS = 3, EACH = 10 };
    struct iothread *threads[LOOPS];
    struct series *s = g_new0(struct series, 1);

    co_serial_init(&s->serial);
    s->running = LOOPS * EACH;
    for (int i = 0; i < LOOPS; i++) {
        threads[i] = iothread_new("io", NULL, NULL);
        g_assert_nonnull(threads[i]);
    }
    for (int i = 0; i < LOOPS * EACH; i++) {
        coroutine_wake(coroutine_new(iothread_loop(threads[i % LOOPS]), run_series_of, s));
    }
    while (g_atomic_int_get(&s->running)) {
        g_usleep(1000);
    }
    g_assert_cmpint(s->n, ==, LOOPS * EACH * 100);
    g_assert_false(s->overlapped);
    co_serial_clear(&s->serial);
    g_free(s);
    for (int i = 0; i < LOOPS; i++) {
        iothread_free(threads[i]);
    }
}

/* ---- mutexes and queues ---- */

struct mutual {
    struct co_mutex mutex;
    struct co_queue queue;
    int inside, n, order, running;
    int64_t items;
};

static void enter_in_turn(void *opaque)
{
    struct mutual *m = opaque;
    int ticket = m->order++;

    co_mutex_lock(&m->mutex);
    g_assert_cmpint(m->n, ==, ticket); /* first come, first served */
    g_assert_cmpint(m->inside++, ==, 0);
    co_sleep(100000);
    g_assert_cmpint(--m->inside, ==, 0);
    m->n++;
    co_mutex_unlock(&m->mutex);
}

static void test_mutex(void)
{
    auto_ptr(event_loop) loop = new_loop();
    struct mutual m = {0};

    co_mutex_init(&m.mutex);
    for (int i = 0; i < 20; i++) {
        coroutine_start(loop, enter_in_turn, &m);
    }
    while (m.n < 20) {
        event_loop_iterate(loop, true);
    }
    co_mutex_clear(&m.mutex);
}

enum { N_LOOPS = 3, N_COROUTINES = 8, N_ROUNDS = 300 };

/* Takes turns with coroutines of other threads. */
static void contend(void *opaque)
{
    struct mutual *m = opaque;

    for (int i = 0; i < N_ROUNDS; i++) {
        co_mutex_lock(&m->mutex);
        g_assert_cmpint(m->inside++, ==, 0);
        if (i % 16 == 0) {
            co_sleep(1000);
        }
        m->n++;
        g_assert_cmpint(--m->inside, ==, 0);
        co_mutex_unlock(&m->mutex);
    }
    __atomic_fetch_sub(&m->running, 1, __ATOMIC_SEQ_CST);
}

static void produce(void *opaque)
{
    struct mutual *m = opaque;

    for (int i = 0; i < N_ROUNDS; i++) {
        co_mutex_lock(&m->mutex);
        m->items++;
        co_mutex_unlock(&m->mutex);
        co_queue_wake_one(&m->queue);
        if (i % 16 == 0) {
            co_sleep(1000);
        }
    }
    __atomic_fetch_sub(&m->running, 1, __ATOMIC_SEQ_CST);
}

static void consume(void *opaque)
{
    struct mutual *m = opaque;

    for (int i = 0; i < N_ROUNDS; i++) {
        co_mutex_lock(&m->mutex);
        while (!m->items) {
            co_queue_wait(&m->queue, &m->mutex);
        }
        m->items--;
        m->n++;
        co_mutex_unlock(&m->mutex);
    }
    __atomic_fetch_sub(&m->running, 1, __ATOMIC_SEQ_CST);
}

/* Runs each function in N_COROUTINES coroutines, spread over the threads. */
static void run_in_threads(struct mutual *m, event_fn *const *fns, int n_fns)
{
    struct iothread *threads[N_LOOPS];

    m->running = N_COROUTINES * n_fns;
    for (int i = 0; i < N_LOOPS; i++) {
        threads[i] = iothread_new("io", NULL, NULL);
        g_assert_nonnull(threads[i]);
    }
    for (int i = 0; i < N_COROUTINES * n_fns; i++) {
        coroutine_wake(coroutine_new(iothread_loop(threads[i % N_LOOPS]), fns[i % n_fns], m));
    }
    while (__atomic_load_n(&m->running, __ATOMIC_SEQ_CST)) {
        g_usleep(1000);
    }
    for (int i = 0; i < N_LOOPS; i++) {
        iothread_free(threads[i]);
    }
}

static void test_mutex_threads(void)
{
    event_fn *const fns[] = {contend};
    struct mutual m = {0};

    co_mutex_init(&m.mutex);
    run_in_threads(&m, fns, 1);
    g_assert_cmpint(m.n, ==, N_COROUTINES * N_ROUNDS);
    co_mutex_clear(&m.mutex);
}

static void test_queue_threads(void)
{
    event_fn *const fns[] = {produce, consume};
    struct mutual m = {0};

    co_mutex_init(&m.mutex);
    co_queue_init(&m.queue);
    run_in_threads(&m, fns, 2);
    g_assert_cmpint(m.n, ==, N_COROUTINES * N_ROUNDS);
    g_assert_cmpint(m.items, ==, 0);
    g_assert_false(co_queue_wake_one(&m.queue));
    co_queue_clear(&m.queue);
    co_mutex_clear(&m.mutex);
}

static void wait_in_queue(void *opaque)
{
    struct mutual *m = opaque;

    co_queue_wait(&m->queue, NULL);
    m->n++;
}

static void test_queue(void)
{
    auto_ptr(event_loop) loop = new_loop();
    struct mutual m = {0};

    co_queue_init(&m.queue);
    for (int i = 0; i < 5; i++) {
        coroutine_start(loop, wait_in_queue, &m);
    }
    g_assert_true(co_queue_wake_one(&m.queue));
    event_loop_iterate(loop, true);
    g_assert_cmpint(m.n, ==, 1);
    co_queue_wake_all(&m.queue);
    event_loop_iterate(loop, true);
    g_assert_cmpint(m.n, ==, 5);
    g_assert_false(co_queue_wake_one(&m.queue));
    co_queue_clear(&m.queue);
}

/* What is below the stack kills the process instead of being somebody else's memory. */
static void overflow(void *opaque)
{
    volatile char c = 0;

    depth(G_MAXINT, &c);
}

static void test_guard(void)
{
    auto_ptr(event_loop) loop = NULL;

    if (g_test_subprocess()) {
        loop = new_loop();
        coroutine_start(loop, overflow, NULL);
        return;
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_failed();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/coroutine/enter", test_enter);
    g_test_add_func("/coroutine/nested", test_nested);
    g_test_add_func("/coroutine/late-wake", test_late_wake);
    g_test_add_func("/coroutine/registers", test_registers);
    g_test_add_func("/coroutine/deep", test_deep);
    g_test_add_func("/coroutine/many", test_many);
    g_test_add_func("/coroutine/guard", test_guard);
    g_test_add_func("/coroutine/sleep", test_sleep);
    g_test_add_data_func("/coroutine/wait-fd/io_uring", &event_backend_uring, test_wait_fd);
    g_test_add_data_func("/coroutine/wait-fd/epoll", &event_backend_epoll, test_wait_fd);
    g_test_add_func("/coroutine/pool", test_pool);
    g_test_add_func("/coroutine/pool-limits", test_pool_limits);
    g_test_add_func("/coroutine/pool-no-threads", test_pool_no_threads);
    g_test_add_func("/coroutine/series", test_series);
    g_test_add_func("/coroutine/mutex", test_mutex);
    g_test_add_func("/coroutine/mutex-threads", test_mutex_threads);
    g_test_add_func("/coroutine/queue", test_queue);
    g_test_add_func("/coroutine/queue-threads", test_queue_threads);
    return g_test_run();
}
