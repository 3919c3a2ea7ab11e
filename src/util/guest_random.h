/*
 * Random bytes for the guest: the kernel's, or with a seed a sequence that is the same in each run.
 * Thread-safe.
 */
#ifndef NANDU_UTIL_GUEST_RANDOM_H
#define NANDU_UTIL_GUEST_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of the kernel, good for keys; waits until it has gathered enough after its start. */
void kernel_random(void *data, size_t size);

struct guest_random;
struct guest_random *guest_random_new(bool has_seed, uint64_t seed);
void guest_random_free(struct guest_random *random);
/* NULL: the kernel's bytes. */
void guest_random_fill(struct guest_random *random, void *data, size_t size);

#endif
