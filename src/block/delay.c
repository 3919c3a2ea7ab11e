#include "block/delay.h"

#include "block/block_priv.h"
#include "object/throttle.h"
#include "util/clock.h"

struct block_delays {
    GMutex lock;                    /* of the rest */
    unsigned hurries;
    GQueue waiting;                 /* struct delay */
};

struct delay {
    struct block_delays *delays;
    struct coroutine *co;
    bool over;                      /* under the lock */
    GList link;                     /* in waiting, until it is over */
};

struct block_delays *block_delays_new(void)
{
    struct block_delays *delays = g_new0(struct block_delays, 1);

    g_mutex_init(&delays->lock);
    return delays;
}

void block_delays_free(struct block_delays *delays)
{
    g_assert(!delays->waiting.length);
    g_mutex_clear(&delays->lock);
    g_free(delays);
}

/* With the lock: it isn't looked at any more once that is released, unless to end it. */
static void end(struct delay *delay)
{
    if (!delay->over) {
        delay->over = true;
        g_queue_unlink(&delay->delays->waiting, &delay->link);
        coroutine_wake(delay->co);
    }
}

void block_hurry_begin(struct block_graph *graph)
{
    struct block_delays *delays = graph->delays;

    g_mutex_lock(&delays->lock);
    delays->hurries++;
    while (delays->waiting.head) {
        end(delays->waiting.head->data);
    }
    g_mutex_unlock(&delays->lock);
}

void block_hurry_end(struct block_graph *graph)
{
    g_mutex_lock(&graph->delays->lock);
    graph->delays->hurries--;
    g_mutex_unlock(&graph->delays->lock);
}

static void time_is_up(void *opaque)
{
    struct delay *delay = opaque;

    g_mutex_lock(&delay->delays->lock);
    end(delay);
    g_mutex_unlock(&delay->delays->lock);
}

/* False: somebody is in a hurry. */
static bool co_delay(struct block_delays *delays, int64_t ns)
{
    struct delay delay = {.delays = delays, .co = coroutine_self()};
    struct timer *timer;
    bool hurry;

    g_mutex_lock(&delays->lock);
    if (delays->hurries) {
        g_mutex_unlock(&delays->lock);
        return false;
    }
    delay.link.data = &delay;
    g_queue_push_tail_link(&delays->waiting, &delay.link);
    timer = timer_new(coroutine_loop(delay.co), NULL, CLOCK_REAL, time_is_up, &delay);
    timer_arm(timer, clocks_now(NULL, CLOCK_REAL) + ns);
    while (!delay.over) {
        g_mutex_unlock(&delays->lock);
        co_yield();
        g_mutex_lock(&delays->lock);
    }
    hurry = delays->hurries != 0;
    g_mutex_unlock(&delays->lock);
    timer_free(timer);
    return !hurry;
}

void co_block_throttle(struct block_graph *graph, struct object *group, bool is_write,
                       uint64_t bytes)
{
    int64_t wait;

    do {
        wait = throttle_group_admit(group, is_write, bytes, clocks_now(NULL, CLOCK_REAL));
    } while (wait && co_delay(graph->delays, wait));
}
