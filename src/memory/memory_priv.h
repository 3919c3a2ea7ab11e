/*
 * What the parts of guest memory share: views, and the domain of address spaces that can see the
 * same regions.
 *
 * How an old view goes. domain_unlock publishes the new one, calls the listeners, and then counts
 * up the domain's epoch: the old view is retired at the new epoch. It is freed when
 *   - each registered reader has said at that epoch that it is quiescent, or is offline, and
 *   - each access that may have begun before (between domain_enter and domain_leave) has ended.
 *
 * Accesses are counted in one of several counters, chosen by thread, so that threads don't fight
 * for a cache line. A counter that is seen at zero after the view was unpublished has nobody in it;
 * that need not be at the same moment for all counters. A handler may change the tree, and then the
 * thread's own counter isn't zero when it looks, however often: therefore who brings a counter to
 * zero notes the epoch there.
 */
#ifndef NANDU_MEMORY_MEMORY_PRIV_H
#define NANDU_MEMORY_MEMORY_PRIV_H

#include <pthread.h>
#include <stdalign.h>

#include "memory/memory.h"

/* ---- Views ---- */

struct view_range {
    uint64_t start, last;       /* addresses, last one included: it may be 2^64 - 1 */
    struct region *region;
    uint64_t offset;            /* of start in the region */
    uint8_t *host;              /* of start, for what reads come from; NULL: a handler */
    bool writable;              /* stores go to host, too */
};

struct view {
    size_t n;
    uint64_t retired;           /* epoch; once it isn't published any more */
    struct view_range ranges[]; /* by address, without overlaps */
};

struct view *view_new(const struct region *root);
bool view_equal(const struct view *a, const struct view *b);
/* The range that has address; *hint is an index that is tried first. NULL: nothing, up to *last. */
const struct view_range *view_find(const struct view *view, uint32_t *hint, uint64_t address,
                                   uint64_t *last);

/* ---- Domains ---- */

enum {
    DOMAIN_SLOT_BITS = 5,
    DOMAIN_SLOTS = 1 << DOMAIN_SLOT_BITS,
    MAX_IOMMUS = 4,             /* that an access can go through, one behind the other */
};

/* Accesses in progress of some of the threads. */
struct domain_slot {
    alignas(64) uint32_t active;
    uint32_t hint;              /* where the last access was found */
    uint64_t quiet;             /* active was zero at this epoch, or later */
};

struct domain {
    struct domain_slot slots[DOMAIN_SLOTS];
    alignas(64) uint64_t epoch;
    bool wants_quiet;           /* leave notes the epoch: there are retired views, or waiters */
    unsigned refs;              /* spaces and readers; atomic */
    GRecMutex lock;             /* of what follows, and of the tree */
    unsigned depth;             /* of begin_changes */
    GPtrArray *spaces;          /* in the order in which they were made */
    GPtrArray *readers;
    GQueue retired;             /* struct view, oldest first */
    unsigned waiters;           /* address_space_synchronize */
    uint64_t bounce_bytes;      /* mapped; atomic */
};

struct domain *domain_new(void);
void domain_ref(struct domain *domain);
void domain_unref(struct domain *domain);
/* The lock of changes. Unlock makes new views of the spaces that were marked stale. */
void domain_lock(struct domain *domain);
void domain_unlock(struct domain *domain);

static inline struct domain_slot *domain_enter(struct domain *domain)
{
    /* Thread control blocks are far apart and aligned: the middle bits differ. */
    uint64_t hash = (uint64_t)(uintptr_t)pthread_self() * 0x9e3779b97f4a7c15ull;
    struct domain_slot *slot = &domain->slots[hash >> (64 - DOMAIN_SLOT_BITS)];

    __atomic_fetch_add(&slot->active, 1, __ATOMIC_SEQ_CST);
    return slot;
}

static inline void domain_leave(struct domain *domain, struct domain_slot *slot)
{
    uint64_t epoch = __atomic_load_n(&domain->epoch, __ATOMIC_SEQ_CST);

    if (__atomic_fetch_sub(&slot->active, 1, __ATOMIC_SEQ_CST) == 1 &&
        __atomic_load_n(&domain->wants_quiet, __ATOMIC_RELAXED)) {
        __atomic_store_n(&slot->quiet, epoch, __ATOMIC_RELEASE);
    }
}

/* ---- Address spaces ---- */

struct space_listener {
    address_space_changed *fn;
    void *opaque;
};

struct address_space {
    struct view *view;          /* published */
    struct domain *domain;
    char *name;
    struct region *root;
    bool stale;                 /* the tree was changed; under the lock of changes */
    GArray *listeners;          /* struct space_listener */
    address_space_code_written *code_written;
    void *code_opaque;
};

static inline const struct view *space_view(const struct address_space *space)
{
    return __atomic_load_n(&space->view, __ATOMIC_SEQ_CST);
}

/* The domain of a space that can see what root sees; NULL: there is none. */
struct domain *region_find_domain(struct region *root);

/* Between domain_enter and domain_leave, or by a reader that is registered. *hint is the slot's,
 * which other threads may use, or the reader's. */
static inline const struct view_range *space_find(const struct address_space *space, uint32_t *hint,
                                                  uint64_t address, uint64_t *last)
{
    uint32_t i = __atomic_load_n(hint, __ATOMIC_RELAXED), old = i;
    const struct view_range *range = view_find(space_view(space), &i, address, last);

    if (i != old) {
        __atomic_store_n(hint, i, __ATOMIC_RELAXED);
    }
    return range;
}

struct address_space_reader {
    alignas(64) uint64_t seen;  /* epoch; UINT64_MAX: offline */
    struct address_space *space;
    struct domain *domain;
    uint32_t hint;
};

/* Code was written in the block: tells all listeners of the domain, by their own addresses. */
void domain_code_written(struct domain *domain, const struct ram_block *block, uint64_t offset,
                         uint64_t size);

/* ---- RAM ---- */

/* False if the host mustn't write to it. */
bool ram_block_writable(const struct ram_block *block);
/* ram_block_set_dirty; true if there may have been code. */
bool ram_block_mark_written(struct ram_block *block, uint64_t offset, uint64_t size);

#endif
