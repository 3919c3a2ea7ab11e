/*
 * Inside of the guest's address space: what mm.c (mmap and its kin), mm_remap.c (mremap, madvise,
 * System V segments) and mm_maps.c (/proc) share.
 *
 * Everything is under mm.lock, except that the ranges may be read without it (mm_ranges.h). The
 * order of a change is: the host's mapping, the record, the translator (dbt_invalidate): what was
 * translated in between from what is no longer true is thrown away by the last step.
 */
#ifndef NANDU_LINUX_USER_MM_PRIV_H
#define NANDU_LINUX_USER_MM_PRIV_H

#include <errno.h>
#include <sys/mman.h>

#include "linux_user/mm.h"
#include "linux_user/mm_ranges.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* What the kernel keeps free below a stack (stack_guard_gap). */
#define MM_STACK_GAP ((uint64_t)256 * LU_PAGE_SIZE)

struct mm_segment { /* attached by shmat */
    uint64_t start, size;
};

struct lu_mm {
    pthread_mutex_t lock;
    struct mm_ranges ranges;
    struct dbt *dbt;    /* NULL until lu_mm_set_dbt */
    uint64_t base;      /* host address = guest address + base */
    uint64_t task_size; /* end of the guest's addresses */
    uint64_t mmap_low;  /* mappings without an address go between these, high ones first */
    uint64_t mmap_top;
    uint64_t stack_top;
    uint64_t pie_base;
    bool window;        /* all of [base, base + task_size) is reserved: there is nothing else */
    bool has_growsdown; /* there was a MAP_GROWSDOWN mapping */
    uint64_t brk_start, brk;
    GArray *segments; /* struct mm_segment */
    uint32_t watched_word; /* mm_watch.c: looked for in code; 0: not, or not any more */
    bool word_found;
};

/* Arguments of a host mmap, without the address. */
struct host_map {
    int prot;
    int flags; /* without MAP_FIXED and MAP_FIXED_NOREPLACE */
    int fd;
    off_t offset;
};

/* A mapping that keeps a place. */
extern const struct host_map mm_claim;

static inline void *mm_host(const struct lu_mm *mm, uint64_t addr)
{
    return (void *)(uintptr_t)(addr + mm->base);
}

static inline uint64_t mm_page_up(uint64_t addr)
{
    return (addr + LU_PAGE_SIZE - 1) & ~(uint64_t)(LU_PAGE_SIZE - 1);
}

static inline bool mm_aligned(uint64_t addr)
{
    return addr % LU_PAGE_SIZE == 0;
}

/* Protection of the host for that of the guest: guest code is read, never executed. */
int mm_host_prot(uint32_t prot);

/* Lock, and bring the record up to date. */
void mm_lock(struct lu_mm *mm);
void mm_unlock(struct lu_mm *mm);

/* Map where the guest has nothing; -EEXIST if the place is taken by Nandu. */
int mm_map_unused(struct lu_mm *mm, uint64_t addr, uint64_t size, const struct host_map *map);
/* Find a place between mmap_low and task_size, map there. 0 or -errno. */
int mm_place(struct lu_mm *mm, uint64_t size, uint64_t align, const struct host_map *map,
             uint64_t *addr);
/* Take away a mapping of the host's that the record doesn't know (any more). */
void mm_release(struct lu_mm *mm, uint64_t addr, uint64_t size);
/* Claim what the guest doesn't have of [addr, addr + size), so that all of it may be replaced;
 * -ENOMEM if some of it is Nandu's. mm_unclaim undoes it. */
int mm_claim_holes(struct lu_mm *mm, uint64_t addr, uint64_t size);
void mm_unclaim_holes(struct lu_mm *mm, uint64_t addr, uint64_t size);
/* Unmap what the guest has of [addr, addr + size): the host's mappings, record and code. */
void mm_unmap(struct lu_mm *mm, uint64_t addr, uint64_t size);
/* Guest code in the range is no longer what it was. */
void mm_invalidate(struct lu_mm *mm, uint64_t addr, uint64_t size);
/* What is executable in the range may not have been before. Only what can't be found in time has to
 * be told; see mm_watch.c. */
void mm_code_added(struct lu_mm *mm, uint64_t addr, uint64_t size);
/* True if the guest's RLIMIT_AS forbids [size] more bytes. */
bool mm_over_limit(struct lu_process *p, uint64_t size);

#endif
