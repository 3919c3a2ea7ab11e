/*
 * Waits that a limit asks for (throttling), and how they are cut short: who must have requests end
 * (a drained section, a reset, unplugging a device) isn't kept waiting by what is there to slow a
 * guest down.
 */
#ifndef NANDU_BLOCK_DELAY_H
#define NANDU_BLOCK_DELAY_H

#include <stdbool.h>
#include <stdint.h>

struct block_graph;
struct object;

/* Of a graph; NULL: no memory of it yet. */
struct block_delays;
struct block_delays *block_delays_new(void);
void block_delays_free(struct block_delays *delays);

/* From now on no request of the graph is delayed, and those that are go on, until as many _end. Any
 * thread. */
void block_hurry_begin(struct block_graph *graph);
void block_hurry_end(struct block_graph *graph);

/* Until the throttle-group lets a request of so many bytes go on, or somebody is in a hurry. */
void co_block_throttle(struct block_graph *graph, struct object *group, bool is_write,
                       uint64_t bytes);

#endif
