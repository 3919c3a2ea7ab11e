/*
 * Locks of byte ranges between coroutines of any loops: shared ones exclude exclusive ones that
 * overlap. First come, first served, so that nobody starves, and nobody waits for who came later:
 * no deadlock among them.
 */
#ifndef NANDU_BLOCK_RANGE_H
#define NANDU_BLOCK_RANGE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct block_range {
    uint64_t offset, end;
    bool exclusive;
    struct block_range *previous, *next;
    GSList *waiting; /* struct range_wait, of those that came later */
};

struct block_ranges {
    GMutex lock;
    struct block_range *first, *last; /* in the order in which they came */
    unsigned n_exclusive;
};

void block_ranges_init(struct block_ranges *ranges);
void block_ranges_clear(struct block_ranges *ranges);
/* range is the caller's memory until it is unlocked. */
void co_block_range_lock(struct block_ranges *ranges, struct block_range *range, uint64_t offset,
                         uint64_t bytes, bool exclusive);
void block_range_unlock(struct block_ranges *ranges, struct block_range *range);

#endif
