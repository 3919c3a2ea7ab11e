#include "block/accounting.h"

#include <string.h>

#include "qapi/error.h"
#include "util/clock.h"

#define N_TIMED BLOCK_ACCOUNTING_UNMAP     /* kinds before it have their latencies looked at */

static const int64_t second = 1000000000;

/* Latencies since a time. */
struct window {
    int64_t ends;                   /* when it begins anew */
    uint64_t count, sum, min, max;
};

/*
 * Figures of the last so many seconds: of two windows of that length, which begin half of it apart,
 * the older one counts. So what is told is of at least half of the time, and nothing is older.
 */
struct interval {
    int64_t length;                 /* ns */
    struct window windows[N_TIMED][2];
};

struct histogram {
    uint64_t *boundaries, *bins;    /* n, n + 1; NULL: there is none */
    size_t n;
};

struct block_accounting {
    GMutex lock;                    /* of everything */
    bool account_invalid, account_failed;
    int64_t last_access;            /* 0: there was none */
    struct {
        uint64_t bytes, operations, time, merged, failed, invalid;
    } kinds[BLOCK_ACCOUNTING_N_KINDS];
    struct histogram histograms[N_TIMED];
    GArray *intervals;              /* struct interval */
};

static int64_t now(void)
{
    return clocks_now(NULL, CLOCK_REAL);
}

struct block_accounting *block_accounting_new(void)
{
    struct block_accounting *a = g_new0(struct block_accounting, 1);

    g_mutex_init(&a->lock);
    a->account_invalid = a->account_failed = true;
    a->intervals = g_array_new(FALSE, FALSE, sizeof(struct interval));
    return a;
}

static void clear_histogram(struct histogram *h)
{
    g_free(h->boundaries);
    g_free(h->bins);
    *h = (struct histogram){0};
}

void block_accounting_free(struct block_accounting *a)
{
    for (unsigned i = 0; i < N_TIMED; i++) {
        clear_histogram(&a->histograms[i]);
    }
    g_array_unref(a->intervals);
    g_mutex_clear(&a->lock);
    g_free(a);
}

static bool is_on(enum qapi_on_off_auto value, bool before)
{
    return value == QAPI_ON_OFF_AUTO_AUTO ? before : value == QAPI_ON_OFF_AUTO_ON;
}

void block_accounting_set_policy(struct block_accounting *a, enum qapi_on_off_auto invalid,
                                 enum qapi_on_off_auto failed)
{
    g_mutex_lock(&a->lock);
    a->account_invalid = is_on(invalid, a->account_invalid);
    a->account_failed = is_on(failed, a->account_failed);
    g_mutex_unlock(&a->lock);
}

/* ---- Intervals ---- */

static void begin_window(struct window *w, int64_t ends)
{
    *w = (struct window){.ends = ends, .min = UINT64_MAX};
}

/* Windows that are over begin anew, still half a length apart. */
static void turn_windows(struct interval *interval, int64_t time)
{
    for (unsigned i = 0; i < N_TIMED * 2; i++) {
        struct window *w = &interval->windows[i / 2][i % 2];

        if (time >= w->ends) {
            int64_t over = (time - w->ends) / interval->length + 1;

            begin_window(w, w->ends + over * interval->length);
        }
    }
}

bool block_accounting_add_interval(struct block_accounting *a, uint32_t seconds, GError **error)
{
    struct interval interval = {.length = seconds * second};
    bool known = false;

    g_mutex_lock(&a->lock);
    for (guint i = 0; i < a->intervals->len; i++) {
        known |= g_array_index(a->intervals, struct interval, i).length == interval.length;
    }
    if (seconds && !known) {
        int64_t time = now();

        for (unsigned i = 0; i < N_TIMED; i++) {
            begin_window(&interval.windows[i][0], time + interval.length / 2);
            begin_window(&interval.windows[i][1], time + interval.length);
        }
        g_array_append_val(a->intervals, interval);
    }
    g_mutex_unlock(&a->lock);
    if (seconds == 0 || known) {
        g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                    known ? "Interval %u is given twice" : "Invalid interval length: %u", seconds);
        return false;
    }
    return true;
}

static void count_in_window(struct window *w, uint64_t latency)
{
    w->count++;
    w->sum += latency;
    w->min = MIN(w->min, latency);
    w->max = MAX(w->max, latency);
}

static void count_in_intervals(struct block_accounting *a, enum block_accounting_kind kind,
                               uint64_t latency, int64_t time)
{
    for (guint i = 0; i < a->intervals->len; i++) {
        struct interval *interval = &g_array_index(a->intervals, struct interval, i);

        turn_windows(interval, time);
        count_in_window(&interval->windows[kind][0], latency);
        count_in_window(&interval->windows[kind][1], latency);
    }
}

/* ---- Histograms ---- */

bool block_accounting_set_histogram(struct block_accounting *a, enum block_accounting_kind kind,
                                    const uint64_t *boundaries, size_t n, GError **error)
{
    struct histogram *h;

    g_assert(kind < N_TIMED);
    for (size_t i = 0; i < n; i++) {
        if (boundaries[i] <= (i ? boundaries[i - 1] : 0)) {
            g_set_error(error, QAPI_ERROR, QAPI_ERROR_GENERIC,
                        "boundaries of a histogram must ascend, the first one from 1 on");
            return false;
        }
    }
    h = &a->histograms[kind];
    g_mutex_lock(&a->lock);
    clear_histogram(h);
    if (n) {
        h->n = n;
        h->boundaries = g_memdup2(boundaries, n * sizeof(*boundaries));
        h->bins = g_new0(uint64_t, n + 1);
    }
    g_mutex_unlock(&a->lock);
    return true;
}

static void count_in_histogram(struct histogram *h, uint64_t latency)
{
    size_t low = 0, high = h->n;    /* the number of boundaries up to latency is in [low, high] */

    if (!h->bins) {
        return;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (h->boundaries[middle] <= latency) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    h->bins[low]++;
}

/* ---- Requests ---- */

void block_accounting_start(struct block_accounting *a, struct block_accounting_cookie *cookie,
                            uint64_t bytes, enum block_accounting_kind kind)
{
    *cookie = (struct block_accounting_cookie){.start = now(), .bytes = bytes, .kind = kind};
}

static void end(struct block_accounting *a, const struct block_accounting_cookie *cookie, bool ok)
{
    enum block_accounting_kind kind = cookie->kind;
    int64_t time = now();
    uint64_t latency = (uint64_t)(time - cookie->start);

    g_mutex_lock(&a->lock);
    if (ok) {
        a->kinds[kind].bytes += cookie->bytes;
        a->kinds[kind].operations++;
    } else {
        a->kinds[kind].failed++;
    }
    if (ok || a->account_failed) {
        a->kinds[kind].time += latency;
        a->last_access = time;
        if (kind < N_TIMED) {
            count_in_intervals(a, kind, latency, time);
            count_in_histogram(&a->histograms[kind], latency);
        }
    }
    g_mutex_unlock(&a->lock);
}

void block_accounting_done(struct block_accounting *a,
                           const struct block_accounting_cookie *cookie)
{
    end(a, cookie, true);
}

void block_accounting_failed(struct block_accounting *a,
                             const struct block_accounting_cookie *cookie)
{
    end(a, cookie, false);
}

void block_accounting_invalid(struct block_accounting *a, enum block_accounting_kind kind)
{
    g_mutex_lock(&a->lock);
    a->kinds[kind].invalid++;
    if (a->account_invalid) {
        a->last_access = now();
    }
    g_mutex_unlock(&a->lock);
}

void block_accounting_merged(struct block_accounting *a, enum block_accounting_kind kind,
                             unsigned n)
{
    g_mutex_lock(&a->lock);
    a->kinds[kind].merged += n;
    g_mutex_unlock(&a->lock);
}

/* ---- Telling ---- */

static struct qapi_block_latency_histogram_info *describe_histogram(const struct histogram *h)
{
    struct qapi_block_latency_histogram_info *info;

    if (!h->bins) {
        return NULL;
    }
    info = g_new0(struct qapi_block_latency_histogram_info, 1);
    info->boundaries.n = h->n;
    info->boundaries.v = g_memdup2(h->boundaries, h->n * sizeof(*h->boundaries));
    info->bins.n = h->n + 1;
    info->bins.v = g_memdup2(h->bins, (h->n + 1) * sizeof(*h->bins));
    return info;
}

/* The older of the two, which ends first. */
static const struct window *older(const struct interval *interval, enum block_accounting_kind kind)
{
    const struct window *w = interval->windows[kind];

    return w[0].ends <= w[1].ends ? &w[0] : &w[1];
}

/* How many requests were under way at a time, on average. */
static double queue_depth(const struct interval *interval, const struct window *w, int64_t time)
{
    int64_t elapsed = time - (w->ends - interval->length);

    return elapsed > 0 ? (double)w->sum / (double)elapsed : 0;
}

static void describe_interval(struct interval *interval,
                              struct qapi_block_device_timed_stats *stats, int64_t time)
{
    const struct window *rd, *wr, *flush;

    turn_windows(interval, time);
    rd = older(interval, BLOCK_ACCOUNTING_READ);
    wr = older(interval, BLOCK_ACCOUNTING_WRITE);
    flush = older(interval, BLOCK_ACCOUNTING_FLUSH);
    *stats = (struct qapi_block_device_timed_stats){
        .interval_length = interval->length / second,
        .min_rd_latency_ns = rd->count ? (int64_t)rd->min : 0,
        .max_rd_latency_ns = (int64_t)rd->max,
        .avg_rd_latency_ns = rd->count ? (int64_t)(rd->sum / rd->count) : 0,
        .min_wr_latency_ns = wr->count ? (int64_t)wr->min : 0,
        .max_wr_latency_ns = (int64_t)wr->max,
        .avg_wr_latency_ns = wr->count ? (int64_t)(wr->sum / wr->count) : 0,
        .min_flush_latency_ns = flush->count ? (int64_t)flush->min : 0,
        .max_flush_latency_ns = (int64_t)flush->max,
        .avg_flush_latency_ns = flush->count ? (int64_t)(flush->sum / flush->count) : 0,
        .avg_rd_queue_depth = queue_depth(interval, rd, time),
        .avg_wr_queue_depth = queue_depth(interval, wr, time),
    };
}

static void describe_kinds(const struct block_accounting *a, struct qapi_block_device_stats *stats)
{
#define KIND(name, KIND)                                                                           \
    stats->name##_operations = (int64_t)a->kinds[KIND].operations;                                 \
    stats->name##_total_time_ns = (int64_t)a->kinds[KIND].time;                                    \
    stats->failed_##name##_operations = (int64_t)a->kinds[KIND].failed;                            \
    stats->invalid_##name##_operations = (int64_t)a->kinds[KIND].invalid
#define DATA(name, KIND)                                                                           \
    stats->name##_bytes = (int64_t)a->kinds[KIND].bytes;                                           \
    stats->name##_merged = (int64_t)a->kinds[KIND].merged

    KIND(rd, BLOCK_ACCOUNTING_READ);
    KIND(wr, BLOCK_ACCOUNTING_WRITE);
    KIND(flush, BLOCK_ACCOUNTING_FLUSH);
    KIND(unmap, BLOCK_ACCOUNTING_UNMAP);
    DATA(rd, BLOCK_ACCOUNTING_READ);
    DATA(wr, BLOCK_ACCOUNTING_WRITE);
    DATA(unmap, BLOCK_ACCOUNTING_UNMAP);
#undef KIND
#undef DATA
}

void block_accounting_query(struct block_accounting *a, struct qapi_block_device_stats *stats)
{
    int64_t time = now();

    g_mutex_lock(&a->lock);
    describe_kinds(a, stats);
    stats->account_invalid = a->account_invalid;
    stats->account_failed = a->account_failed;
    stats->has_idle_time_ns = a->last_access != 0;
    stats->idle_time_ns = a->last_access ? time - a->last_access : 0;
    stats->rd_latency_histogram = describe_histogram(&a->histograms[BLOCK_ACCOUNTING_READ]);
    stats->wr_latency_histogram = describe_histogram(&a->histograms[BLOCK_ACCOUNTING_WRITE]);
    stats->flush_latency_histogram = describe_histogram(&a->histograms[BLOCK_ACCOUNTING_FLUSH]);
    stats->timed_stats.n = a->intervals->len;
    stats->timed_stats.v = g_new0(struct qapi_block_device_timed_stats, a->intervals->len);
    for (guint i = 0; i < a->intervals->len; i++) {
        describe_interval(&g_array_index(a->intervals, struct interval, i),
                          &stats->timed_stats.v[i], time);
    }
    g_mutex_unlock(&a->lock);
}
