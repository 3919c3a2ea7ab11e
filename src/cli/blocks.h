/* -blockdev, -drive and their abbreviations. */
#ifndef NANDU_CLI_BLOCKS_H
#define NANDU_CLI_BLOCKS_H

#include <glib.h>
#include <stdbool.h>

struct block_graph;
struct event_loop;
struct system_options;
struct vm;

/* Nodes and drives, after objects and before the machine, whose properties pflash0 and pflash1
 * they may be. loop doesn't run yet. */
bool blocks_create(struct block_graph *graph, struct event_loop *loop,
                   struct system_options *options, GError **error);
/* Devices of drives with if=virtio; with the machine there, before vm_machine_ready. */
bool blocks_add_devices(struct block_graph *graph, struct vm *vm, GError **error);
/* Once no device is left, and loop doesn't run any more. */
void blocks_close(struct block_graph *graph, struct event_loop *loop);

#endif
