/*
 * The record of what is mapped for the guest: sorted, disjoint ranges of guest addresses with their
 * protection. Adjacent ranges that agree are one.
 *
 * Readers take no lock: the array never moves, and a sequence number that is odd while it is being
 * changed tells a reader to look again. Writers are serialised by their caller (mm.lock).
 */
#ifndef NANDU_LINUX_USER_MM_RANGES_H
#define NANDU_LINUX_USER_MM_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MM_SHARED = 1,    /* MAP_SHARED, or a System V segment */
    MM_GROWSDOWN = 2, /* MAP_GROWSDOWN: the host's kernel extends it downwards */
    MM_STACK = 4,     /* the main thread's stack */
    MM_SHM = 8,       /* attached by shmat */
};

struct mm_range {
    uint64_t start, end; /* guest addresses, multiples of the page size */
    uint32_t prot;       /* PROT_* as the guest asked */
    uint32_t flags;      /* MM_* */
};

struct mm_ranges {
    struct mm_range *r;
    uint32_t n, max;
    uint32_t seq;
    uint64_t pages_bytes; /* sum of the ranges' sizes */
};

/* Room for [max] ranges (reserved, not used). False: out of address space. */
bool mm_ranges_init(struct mm_ranges *m, uint32_t max);
void mm_ranges_free(struct mm_ranges *m);

/* ---- Readers, without a lock ---- */

/* The range that contains [addr], or else the lowest one above it; false if there is none. */
bool mm_ranges_find(const struct mm_ranges *m, uint64_t addr, struct mm_range *range);
/* True if every byte of [start, end) is mapped, and with some protection of the mask [prot] (0:
 * whatever it is). */
bool mm_ranges_covered(const struct mm_ranges *m, uint64_t start, uint64_t end, uint32_t prot);

/* ---- Writers and those who hold the same lock ---- */

/* Index of the first range that ends above [addr]; m->n if there is none. */
uint32_t mm_ranges_index(const struct mm_ranges *m, uint64_t addr);
/* True if no byte of [start, end) is mapped. */
bool mm_ranges_unused(const struct mm_ranges *m, uint64_t start, uint64_t end);
/* True if some byte of [start, end) is mapped with a protection of [prot]. */
bool mm_ranges_any(const struct mm_ranges *m, uint64_t start, uint64_t end, uint32_t prot);
/* True if there is room for what one set or clear may add. */
bool mm_ranges_room(const struct mm_ranges *m);
/* Replace what is recorded in [start, end). The caller has asked mm_ranges_room. */
void mm_ranges_set(struct mm_ranges *m, uint64_t start, uint64_t end, uint32_t prot,
                   uint32_t flags);
void mm_ranges_clear(struct mm_ranges *m, uint64_t start, uint64_t end);
/* Set the protection of what is mapped in [start, end). Room: twice that of mm_ranges_room at most,
 * since ranges in between are only merged. */
void mm_ranges_protect(struct mm_ranges *m, uint64_t start, uint64_t end, uint32_t prot);
/* The highest start of a hole of [size] bytes, a multiple of [align], in [low, high); [gap] bytes
 * below a stack or a MM_GROWSDOWN range are not used. 0: none. */
uint64_t mm_ranges_hole(const struct mm_ranges *m, uint64_t size, uint64_t align, uint64_t low,
                        uint64_t high, uint64_t gap);

#endif
