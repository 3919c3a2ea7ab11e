#include "block/range.h"

#include <assert.h>

#include "util/coroutine.h"

struct range_wait {
    struct coroutine *co;
    bool over; /* under the lock */
};

void block_ranges_init(struct block_ranges *ranges)
{
    *ranges = (struct block_ranges){0};
    g_mutex_init(&ranges->lock);
}

void block_ranges_clear(struct block_ranges *ranges)
{
    assert(!ranges->first);
    g_mutex_clear(&ranges->lock);
}

/* An earlier one that must end first, or NULL. */
static struct block_range *obstacle(struct block_ranges *ranges, const struct block_range *range)
{
    if (!ranges->n_exclusive) {
        return NULL;
    }
    for (struct block_range *other = ranges->first; other != range; other = other->next) {
        if ((other->exclusive || range->exclusive) && other->offset < range->end &&
            range->offset < other->end) {
            return other;
        }
    }
    return NULL;
}

static void append(struct block_ranges *ranges, struct block_range *range)
{
    range->previous = ranges->last;
    if (ranges->last) {
        ranges->last->next = range;
    } else {
        ranges->first = range;
    }
    ranges->last = range;
    ranges->n_exclusive += range->exclusive;
}

void co_block_range_lock(struct block_ranges *ranges, struct block_range *range, uint64_t offset,
                         uint64_t bytes, bool exclusive)
{
    struct range_wait wait = {.co = coroutine_self()};
    struct block_range *other;
    uint64_t end;

    if (__builtin_add_overflow(offset, bytes, &end)) {
        end = UINT64_MAX;
    }
    *range = (struct block_range){.offset = offset, .end = end, .exclusive = exclusive};
    g_mutex_lock(&ranges->lock);
    append(ranges, range);
    while ((other = obstacle(ranges, range))) {
        wait.over = false;
        other->waiting = g_slist_prepend(other->waiting, &wait);
        while (!wait.over) {
            g_mutex_unlock(&ranges->lock);
            co_yield ();
            g_mutex_lock(&ranges->lock);
        }
    }
    g_mutex_unlock(&ranges->lock);
}

void block_range_unlock(struct block_ranges *ranges, struct block_range *range)
{
    g_mutex_lock(&ranges->lock);
    *(range->previous ? &range->previous->next : &ranges->first) = range->next;
    *(range->next ? &range->next->previous : &ranges->last) = range->previous;
    ranges->n_exclusive -= range->exclusive;
    for (GSList *l = range->waiting; l; l = l->next) {
        struct range_wait *wait = l->data;

        wait->over = true;
        coroutine_wake(wait->co);
    }
    g_mutex_unlock(&ranges->lock);
    g_slist_free(range->waiting);
}
