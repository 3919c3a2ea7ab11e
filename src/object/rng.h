/*
 * Sources of random bytes for guests: objects rng-builtin (the host's kernel) and rng-random (a
 * file or device of the host's). On the main loop's thread.
 */
#ifndef NANDU_OBJECT_RNG_H
#define NANDU_OBJECT_RNG_H

#include <stdint.h>

#include "object/object.h"

struct rng_backend;

/* data: 1 to as many bytes as were asked for. */
typedef void rng_receive(void *opaque, const uint8_t *data, size_t size);

/* The object called id. NULL and *error if it isn't there or isn't a source of random bytes. */
struct rng_backend *rng_find(struct object *root, const char *id, GError **error);
/* Calls receive(opaque, ...) once, from the main loop, when bytes are there; in the order of
 * asking. */
void rng_request(struct rng_backend *rng, size_t size, rng_receive *receive, void *opaque);
/* Forgets the requests with this opaque. Who asks must do this before it goes. */
void rng_cancel(struct rng_backend *rng, void *opaque);

#endif
