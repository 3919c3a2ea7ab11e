/* Events on their way to the clients: from any thread, some not more often than once a second. */
#include "monitor/monitor_priv.h"

#include "qapi/compat.h"
#include "util/trace.h"

/*
 * What a guest can cause as often as it likes. Of each kind (and each value of the member key)
 * only the newest is sent, when period is over.
 */
struct rate_limit {
    const char *event;
    int64_t period;  /* ns */
    const char *key; /* NULL: the kind alone counts */
};

static const struct rate_limit rate_limits[] = {
    {"BALLOON_CHANGE", G_GINT64_CONSTANT(1000000000)},
    {"BLOCK_IO_ERROR", G_GINT64_CONSTANT(1000000000), "qom-path"},
    {"HV_BALLOON_STATUS_REPORT", G_GINT64_CONSTANT(1000000000)},
    {"MEMORY_DEVICE_SIZE_CHANGE", G_GINT64_CONSTANT(1000000000), "qom-path"},
    {"QUORUM_FAILURE", G_GINT64_CONSTANT(1000000000)},
    {"QUORUM_REPORT_BAD", G_GINT64_CONSTANT(1000000000), "node-name"},
    {"RTC_CHANGE", G_GINT64_CONSTANT(1000000000)},
    {"VSERPORT_CHANGE", G_GINT64_CONSTANT(1000000000), "id"},
    {"WATCHDOG", G_GINT64_CONSTANT(1000000000)},
};

struct events {
    struct qapi_event_sink sink;
    struct monitors *monitors;
    GMutex lock;
    GQueue queue; /* of struct queued; under lock */
    struct bottom_half *bh;
    GHashTable *throttled; /* char * -> struct throttle */
};

struct queued {
    const struct qapi_event *event;
    json_object *message;
};

/* One was sent less than period ago. */
struct throttle {
    struct events *events;
    const struct rate_limit *limit;
    struct timer *timer;
    char *key;           /* in the table */
    json_object *latest; /* to be sent then; NULL: none came since */
};

static void throttle_free(void *opaque)
{
    struct throttle *throttle = opaque;

    timer_free(throttle->timer);
    json_object_put(throttle->latest);
    g_free(throttle->key);
    g_free(throttle);
}

static void arm(struct throttle *throttle)
{
    int64_t now = clocks_now(throttle->events->monitors->clocks, CLOCK_REAL);

    timer_arm(throttle->timer, now + throttle->limit->period);
}

static void period_over(void *opaque)
{
    struct throttle *throttle = opaque;
    g_autoptr(json_object) latest = g_steal_pointer(&throttle->latest);

    if (!latest) {
        g_hash_table_remove(throttle->events->throttled, throttle->key);
        return;
    }
    monitors_send_event(throttle->events->monitors, latest);
    arm(throttle);
}

static const struct rate_limit *find_limit(const struct qapi_event *event)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rate_limits); i++) {
        if (g_str_equal(rate_limits[i].event, event->name)) {
            return &rate_limits[i];
        }
    }
    return NULL;
}

static char *throttle_key(const struct rate_limit *limit, struct json_object *message)
{
    struct json_object *data, *member = NULL;

    if (limit->key && json_object_object_get_ex(message, "data", &data)) {
        json_object_object_get_ex(data, limit->key, &member);
    }
    return g_strdup_printf("%s %s", limit->event, member ? json_object_get_string(member) : "");
}

/* message is taken. */
static void send_limited(struct events *events, const struct rate_limit *limit,
                         json_object *message)
{
    char *key = throttle_key(limit, message);
    struct throttle *throttle = g_hash_table_lookup(events->throttled, key);

    if (throttle) {
        json_object_put(throttle->latest);
        throttle->latest = message;
        g_free(key);
        return;
    }
    throttle = g_new0(struct throttle, 1);
    throttle->events = events;
    throttle->limit = limit;
    throttle->key = key;
    throttle->timer = timer_new(events->monitors->context->loop, events->monitors->clocks,
                                CLOCK_REAL, period_over, throttle);
    g_hash_table_insert(events->throttled, key, throttle);
    arm(throttle);
    monitors_send_event(events->monitors, message);
    json_object_put(message);
}

void events_flush(struct events *events)
{
    for (;;) {
        const struct rate_limit *limit;
        struct queued *queued;

        g_mutex_lock(&events->lock);
        queued = g_queue_pop_head(&events->queue);
        g_mutex_unlock(&events->lock);
        if (!queued) {
            return;
        }
        limit = find_limit(queued->event);
        if (limit) {
            send_limited(events, limit, queued->message);
        } else {
            monitors_send_event(events->monitors, queued->message);
            json_object_put(queued->message);
        }
        g_free(queued);
    }
}

static void on_queued(void *opaque)
{
    events_flush(opaque);
}

static json_object *timestamp(struct events *events)
{
    int64_t now = clocks_now(events->monitors->clocks, CLOCK_HOST);
    json_object *object = json_object_new_object();

    json_object_object_add(object, "seconds", json_object_new_int64(now / 1000000000));
    json_object_object_add(object, "microseconds", json_object_new_int64(now % 1000000000 / 1000));
    return object;
}

/*
 * On the main thread an event is sent before this returns, so that what a command causes comes
 * before its answer.
 */
static void emit(struct qapi_event_sink *sink, const struct qapi_event *event, json_object *data)
{
    struct events *events = (struct events *)sink;
    const struct qapi_compat_policy *compat = events->monitors->context->compat;
    struct queued *queued;

    if (qapi_compat_hides_event(compat, event)) {
        json_object_put(data);
        return;
    }
    trace_monitor_event(events->monitors->log, event->name);
    qapi_compat_hide(compat, event->arg, data);
    queued = g_new(struct queued, 1);
    queued->event = event;
    queued->message = json_object_new_object();
    json_object_object_add(queued->message, "timestamp", timestamp(events));
    json_object_object_add(queued->message, "event", json_object_new_string(event->name));
    if (data) {
        json_object_object_add(queued->message, "data", data);
    }
    g_mutex_lock(&events->lock);
    g_queue_push_tail(&events->queue, queued);
    g_mutex_unlock(&events->lock);
    if (event_loop_is_owner(events->monitors->context->loop)) {
        events_flush(events);
    } else {
        bottom_half_schedule(events->bh);
    }
}

struct qapi_event_sink *events_sink(struct events *events)
{
    return &events->sink;
}

struct events *events_new(struct monitors *monitors)
{
    struct events *events = g_new0(struct events, 1);

    events->sink.emit = emit;
    events->monitors = monitors;
    g_mutex_init(&events->lock);
    g_queue_init(&events->queue);
    events->bh = bottom_half_new(monitors->context->loop, on_queued, events);
    events->throttled = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, throttle_free);
    return events;
}

static void queued_free(void *opaque)
{
    struct queued *queued = opaque;

    json_object_put(queued->message);
    g_free(queued);
}

void events_free(struct events *events)
{
    bottom_half_free(events->bh);
    g_hash_table_unref(events->throttled);
    g_queue_clear_full(&events->queue, queued_free);
    g_mutex_clear(&events->lock);
    g_free(events);
}
