/* What query-blockstats tells: counts, latencies of intervals, histograms; delays by a limit. */
#include "block/accounting.h"

#include "block/block.h"
#include "block/delay.h"
#include "control.h"
#include "object/throttle.h"
#include "qapi/qapi_types.h"

static void request(struct block_accounting *a, enum block_accounting_kind kind, int64_t latency,
                    bool ok)
{
    struct block_accounting_cookie cookie;

    block_accounting_start(a, &cookie, 512, kind);
    cookie.start -= latency;
    (ok ? block_accounting_done : block_accounting_failed)(a, &cookie);
}

static void query(struct block_accounting *a, struct qapi_block_device_stats *stats)
{
    *stats = (struct qapi_block_device_stats){0};
    block_accounting_query(a, stats);
}

static void test_counts(void)
{
    auto_ptr(block_accounting) a = block_accounting_new();
    struct qapi_block_device_stats stats;

    query(a, &stats);
    g_assert_false(stats.has_idle_time_ns);
    g_assert_true(stats.account_invalid && stats.account_failed);
    qapi_clear(&qapi_type_block_device_stats, &stats);

    block_accounting_set_policy(a, QAPI_ON_OFF_AUTO_OFF, QAPI_ON_OFF_AUTO_OFF);
    block_accounting_set_policy(a, QAPI_ON_OFF_AUTO_AUTO, QAPI_ON_OFF_AUTO_AUTO); /* stays */
    block_accounting_invalid(a, BLOCK_ACCOUNTING_UNMAP);
    request(a, BLOCK_ACCOUNTING_WRITE, 1000, false);
    query(a, &stats);
    g_assert_false(stats.has_idle_time_ns);
    g_assert_cmpint(stats.invalid_unmap_operations, ==, 1);
    g_assert_cmpint(stats.failed_wr_operations, ==, 1);
    g_assert_cmpint(stats.wr_total_time_ns, ==, 0);
    qapi_clear(&qapi_type_block_device_stats, &stats);

    block_accounting_set_policy(a, QAPI_ON_OFF_AUTO_ON, QAPI_ON_OFF_AUTO_ON);
    request(a, BLOCK_ACCOUNTING_WRITE, 1000000, false);
    request(a, BLOCK_ACCOUNTING_READ, 5000, true);
    request(a, BLOCK_ACCOUNTING_READ, 5000, true);
    request(a, BLOCK_ACCOUNTING_UNMAP, 0, true);
    block_accounting_merged(a, BLOCK_ACCOUNTING_READ, 3);
    query(a, &stats);
    g_assert_true(stats.has_idle_time_ns);
    g_assert_cmpint(stats.rd_operations, ==, 2);
    g_assert_cmpint(stats.rd_bytes, ==, 1024);
    g_assert_cmpint(stats.rd_merged, ==, 3);
    g_assert_cmpint(stats.rd_total_time_ns, >=, 10000);
    g_assert_cmpint(stats.failed_wr_operations, ==, 2);
    g_assert_cmpint(stats.wr_operations, ==, 0);
    g_assert_cmpint(stats.wr_total_time_ns, >=, 1000000);
    g_assert_cmpint(stats.unmap_bytes, ==, 512);
    qapi_clear(&qapi_type_block_device_stats, &stats);
}

static void test_intervals(void)
{
    auto_ptr(block_accounting) a = block_accounting_new();
    struct qapi_block_device_stats stats;

    g_assert_false(block_accounting_add_interval(a, 0, NULL));
    g_assert_true(block_accounting_add_interval(a, 1, NULL));
    g_assert_false(block_accounting_add_interval(a, 1, NULL));
    g_assert_true(block_accounting_add_interval(a, 3600, NULL));
    request(a, BLOCK_ACCOUNTING_READ, 2000000, true);
    request(a, BLOCK_ACCOUNTING_READ, 8000000, true);
    query(a, &stats);
    g_assert_cmpuint(stats.timed_stats.n, ==, 2);
    for (unsigned i = 0; i < 2; i++) {
        const struct qapi_block_device_timed_stats *timed = &stats.timed_stats.v[i];

        g_assert_cmpint(timed->interval_length, ==, i ? 3600 : 1);
        g_assert_cmpint(timed->min_rd_latency_ns / 1000000, ==, 2);
        g_assert_cmpint(timed->max_rd_latency_ns / 1000000, ==, 8);
        g_assert_cmpint(timed->avg_rd_latency_ns / 1000000, ==, 5);
        g_assert_cmpint(timed->min_wr_latency_ns, ==, 0);
        g_assert_cmpint(timed->max_flush_latency_ns, ==, 0);
        g_assert_cmpfloat(timed->avg_rd_queue_depth, >, 0);
    }
    qapi_clear(&qapi_type_block_device_stats, &stats);
    /* The short one forgets. */
    g_usleep(1600000);
    query(a, &stats);
    g_assert_cmpint(stats.timed_stats.v[0].max_rd_latency_ns, ==, 0);
    g_assert_cmpint(stats.timed_stats.v[1].max_rd_latency_ns / 1000000, ==, 8);
    qapi_clear(&qapi_type_block_device_stats, &stats);
}

static void test_histogram(void)
{
    static const uint64_t boundaries[] = {1000000000, 2000000000, 3000000000},
                          bad[] = {1000, 1000}, zero[] = {0, 5};
    static const unsigned seconds[] = {0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 100};
    auto_ptr(block_accounting) a = block_accounting_new();
    struct qapi_block_device_stats stats;

    g_assert_false(block_accounting_set_histogram(a, BLOCK_ACCOUNTING_READ, bad, 2, NULL));
    g_assert_false(block_accounting_set_histogram(a, BLOCK_ACCOUNTING_READ, zero, 2, NULL));
    g_assert_true(block_accounting_set_histogram(a, BLOCK_ACCOUNTING_FLUSH, boundaries, 3, NULL));
    for (unsigned i = 0; i < G_N_ELEMENTS(seconds); i++) {
        request(a, BLOCK_ACCOUNTING_FLUSH, seconds[i] * INT64_C(1000000000), true);
    }
    query(a, &stats);
    g_assert_null(stats.rd_latency_histogram);
    g_assert_cmpuint(stats.flush_latency_histogram->bins.n, ==, 4);
    for (unsigned i = 0; i < 4; i++) {
        g_assert_cmpuint(stats.flush_latency_histogram->bins.v[i], ==, i < 3 ? i + 1 : 5);
    }
    qapi_clear(&qapi_type_block_device_stats, &stats);
    g_assert_true(block_accounting_set_histogram(a, BLOCK_ACCOUNTING_FLUSH, NULL, 0, NULL));
    query(a, &stats);
    g_assert_null(stats.flush_latency_histogram);
    qapi_clear(&qapi_type_block_device_stats, &stats);
}

/* ---- Delays ---- */

struct delays {
    struct control control;
    struct block_graph *graph;
    struct object *group;
    unsigned n;                     /* that went on */
};

static void delayed(void *opaque)
{
    struct delays *d = opaque;

    co_block_throttle(d->graph, d->group, false, 512);
    d->n++;
}

static void close_graph(void *opaque)
{
    co_block_graph_free(((struct delays *)opaque)->graph);
}

static void iterate(struct delays *d)
{
    while (event_loop_iterate(d->control.loop, false)) {
    }
}

static void test_delays(void)
{
    struct delays d = {.n = 0};
    unsigned at_once;

    control_init(&d.control);
    d.graph = block_graph_new(d.control.root);
    d.group = control_add(&d.control, "{'qom-type': 'throttle-group', 'id': 'g', 'limits': "
                          "{'iops-total': 20}}");
    for (unsigned i = 0; i < 50; i++) {
        coroutine_start(d.control.loop, delayed, &d);
    }
    iterate(&d);
    at_once = d.n;
    g_assert_cmpuint(at_once, <, 10);
    g_usleep(300000);
    iterate(&d);
    g_assert_cmpuint(d.n, >, at_once);
    g_assert_cmpuint(d.n, <, 30);
    block_hurry_begin(d.graph);
    iterate(&d);
    g_assert_cmpuint(d.n, ==, 50);
    coroutine_start(d.control.loop, delayed, &d);
    g_assert_cmpuint(d.n, ==, 51);
    block_hurry_end(d.graph);
    block_run(d.control.loop, close_graph, &d);
    control_clear(&d.control);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/block-accounting/counts", test_counts);
    g_test_add_func("/block-accounting/intervals", test_intervals);
    g_test_add_func("/block-accounting/histogram", test_histogram);
    g_test_add_func("/block-accounting/delays", test_delays);
    return g_test_run();
}
