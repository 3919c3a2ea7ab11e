/*
 * Suggestions for mistyped names.
 */
#ifndef NANDU_UTIL_NEAREST_H
#define NANDU_UTIL_NEAREST_H

#include <stddef.h>

/* The one of [n] names that takes the fewest edits (a character added, left out, changed, or
 * swapped with its neighbour) to make of [word]; NULL if none is near enough to be meant. */
const char *util_nearest(const char *word, const char *const *names, size_t n);

#endif
