/*
 * The guest's address space: mremap, madvise, System V shared memory. mm.c has the rest.
 */
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux_user/mm_priv.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* ---- mremap ---- */

struct remap {
    uint64_t old, old_size, new_size, new_addr;
    int flags;
    struct mm_range range; /* the one that is moved or resized */
};

static int check_mremap(const struct lu_mm *mm, const struct remap *m)
{
    if (m->flags & ~(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP) ||
        (m->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(m->flags & MREMAP_MAYMOVE)) ||
        (m->flags & MREMAP_DONTUNMAP && m->old_size != m->new_size) || !mm_aligned(m->old) ||
        m->new_size == 0) {
        return -EINVAL;
    }
    if (m->new_size > mm->task_size) {
        return m->flags & MREMAP_FIXED ? -EINVAL : -ENOMEM;
    }
    if (m->old >= mm->task_size || m->old_size > mm->task_size - m->old) {
        return m->flags & MREMAP_FIXED ? -EINVAL : -EFAULT;
    }
    if (m->flags & MREMAP_FIXED &&
        (!mm_aligned(m->new_addr) || m->new_addr > mm->task_size - m->new_size ||
         (m->old < m->new_addr + m->new_size && m->new_addr < m->old + m->old_size))) {
        return -EINVAL;
    }
    return 0;
}

/* What the kernel does to the mapping, at the same place or at one that is claimed. */
static int host_mremap(struct lu_mm *mm, const struct remap *m, int flags, uint64_t to)
{
    void *got = mremap(mm_host(mm, m->old), m->old_size, m->new_size, flags, mm_host(mm, to));

    return got == MAP_FAILED ? -errno : 0;
}

/* The host has moved it: the record follows. */
static void moved(struct lu_mm *mm, const struct remap *m, uint64_t to)
{
    bool had_code =
        m->range.prot & PROT_EXEC || mm_ranges_any(&mm->ranges, to, to + m->new_size, PROT_EXEC);

    if (!(m->flags & MREMAP_DONTUNMAP) && m->old_size > 0) {
        mm_ranges_clear(&mm->ranges, m->old, m->old + m->old_size);
        if (mm->window) {
            mm_release(mm, m->old, m->old_size);
        }
    }
    mm_ranges_set(&mm->ranges, to, to + m->new_size, m->range.prot, m->range.flags & ~MM_STACK);
    if (had_code) {
        mm_invalidate(mm, m->old, m->old_size);
        mm_invalidate(mm, to, m->new_size);
        mm_code_added(mm, to, m->new_size);
    }
}

static int64_t remap_fixed(struct lu_mm *mm, const struct remap *m)
{
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (m->flags & MREMAP_DONTUNMAP);
    int ret = mm_claim_holes(mm, m->new_addr, m->new_size);

    if (ret < 0) {
        return ret;
    }
    ret = host_mremap(mm, m, flags, m->new_addr);
    if (ret < 0) {
        /* The kernel may have unmapped what was at the new place, or not: make it so. */
        mm_unmap(mm, m->new_addr, m->new_size);
        mm_unclaim_holes(mm, m->new_addr, m->new_size);
        return ret;
    }
    moved(mm, m, m->new_addr);
    return (int64_t)m->new_addr;
}

static int64_t remap_elsewhere(struct lu_mm *mm, const struct remap *m)
{
    int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (m->flags & MREMAP_DONTUNMAP);
    uint64_t to = m->new_addr;
    int ret = -EEXIST;

    /* MREMAP_DONTUNMAP takes the address as a hint. */
    if (m->flags & MREMAP_DONTUNMAP && to && mm_aligned(to) && to <= mm->task_size - m->new_size &&
        mm_ranges_unused(&mm->ranges, to, to + m->new_size)) {
        ret = mm_map_unused(mm, to, m->new_size, &mm_claim);
    }
    if (ret < 0) {
        ret = mm_place(mm, m->new_size, LU_PAGE_SIZE, &mm_claim, &to);
    }
    if (ret < 0) {
        return ret;
    }
    ret = host_mremap(mm, m, flags, to);
    if (ret < 0) {
        mm_release(mm, to, m->new_size);
        return ret;
    }
    moved(mm, m, to);
    return (int64_t)to;
}

/* Extend in place: 0, or -errno if that can't be. */
static int grow_in_place(struct lu_mm *mm, const struct remap *m)
{
    uint64_t end = m->old + m->old_size, new_end = m->old + m->new_size;
    int ret;

    if (new_end > mm->task_size || !mm_ranges_unused(&mm->ranges, end, new_end)) {
        return -ENOMEM;
    }
    if (mm->window) {
        munmap(mm_host(mm, end), new_end - end); /* the reservation makes way */
    }
    ret = host_mremap(mm, m, 0, m->old);
    if (ret < 0 && mm->window) {
        mm_map_unused(mm, end, new_end - end, &mm_claim);
    }
    return ret;
}

static int64_t resize(struct lu_process *p, const struct remap *m)
{
    struct lu_mm *mm = p->mm;
    int ret;

    if (m->new_size <= m->old_size) {
        mm_unmap(mm, m->old + m->new_size, m->old_size - m->new_size);
        return (int64_t)m->old;
    }
    ret = grow_in_place(mm, m);
    if (ret == 0) {
        mm_ranges_set(&mm->ranges, m->old + m->old_size, m->old + m->new_size, m->range.prot,
                      m->range.flags);
        mm_code_added(mm, m->old, m->new_size);
        return (int64_t)m->old;
    }
    return m->flags & MREMAP_MAYMOVE ? remap_elsewhere(mm, m) : ret;
}

static int64_t do_mremap(struct lu_process *p, struct remap *m)
{
    struct lu_mm *mm = p->mm;

    if (!mm_ranges_find(&mm->ranges, m->old, &m->range) || m->range.start > m->old) {
        return -EFAULT;
    }
    if (!mm_ranges_room(&mm->ranges)) {
        return -ENOMEM;
    }
    /* Only the part that shrinks may lie in other mappings. */
    if (MIN(m->old_size, m->new_size) > m->range.end - m->old ||
        (m->new_size > m->old_size && m->old_size > m->range.end - m->old)) {
        return -EFAULT;
    }
    if (m->new_size > m->old_size && mm_over_limit(p, m->new_size - m->old_size)) {
        return -ENOMEM;
    }
    if (m->flags & MREMAP_FIXED) {
        if (m->new_size < m->old_size) {
            mm_unmap(mm, m->old + m->new_size, m->old_size - m->new_size);
            m->old_size = m->new_size;
        }
        return remap_fixed(mm, m);
    }
    if (m->old_size == 0) { /* one more view of a shared mapping */
        return m->flags & MREMAP_MAYMOVE ? remap_elsewhere(mm, m) : -EINVAL;
    }
    if (m->flags & MREMAP_DONTUNMAP) {
        return remap_elsewhere(mm, m);
    }
    return resize(p, m);
}

int64_t lu_mremap(struct lu_process *p, uint64_t old, uint64_t old_size, uint64_t new_size,
                  int flags, uint64_t new_addr)
{
    struct remap m = {
        .old = old,
        .old_size = mm_page_up(old_size),
        .new_size = mm_page_up(new_size),
        .new_addr = new_addr,
        .flags = flags,
    };
    struct lu_mm *mm = p->mm;
    int64_t ret;

    if (m.old_size < old_size || m.new_size < new_size) {
        return -EINVAL; /* the rounding went round */
    }
    ret = check_mremap(mm, &m);
    if (ret < 0) {
        return ret;
    }
    mm_lock(mm);
    ret = do_mremap(p, &m);
    mm_unlock(mm);
    return ret;
}

/* ---- madvise ---- */

/* Advice after which the content is another one. */
static bool changes_content(int advice)
{
    return advice == MADV_DONTNEED || advice == MADV_FREE || advice == MADV_REMOVE ||
           advice == 24 /* MADV_DONTNEED_LOCKED */;
}

int64_t lu_madvise(struct lu_process *p, uint64_t addr, uint64_t size, int advice)
{
    struct lu_mm *mm = p->mm;
    uint64_t end, at;
    int64_t ret = 0;
    bool hole = false, had_code;

    if (!mm_aligned(addr) || mm_page_up(size) < size) {
        return -EINVAL;
    }
    size = mm_page_up(size);
    end = addr + size;
    if (end < addr) {
        return -EINVAL;
    }
    if (size == 0) {
        /* Only whether the advice is known. */
        return madvise(NULL, 0, advice) < 0 ? -errno : 0;
    }
    mm_lock(mm);
    had_code = mm_ranges_any(&mm->ranges, addr, end, PROT_EXEC);
    at = addr;
    for (uint32_t i = mm_ranges_index(&mm->ranges, addr);
         i < mm->ranges.n && mm->ranges.r[i].start < end && ret == 0; i++) {
        uint64_t start = MAX(mm->ranges.r[i].start, addr);
        uint64_t stop = MIN(mm->ranges.r[i].end, end);

        hole = hole || start > at;
        /* The kernel itself checks the advice against the mapping. */
        if (madvise(mm_host(mm, start), stop - start, advice) < 0) {
            ret = -errno;
        }
        at = stop;
    }
    hole = hole || at < end;
    if (had_code && changes_content(advice)) {
        mm_invalidate(mm, addr, size);
    }
    mm_unlock(mm);
    if (ret == 0 && hole) {
        /* An unknown advice is found out even where nothing is mapped. */
        ret = madvise(NULL, 0, advice) < 0 ? -errno : -ENOMEM;
    }
    return ret;
}

/* ---- System V shared memory ---- */

static int64_t do_shmat(struct lu_process *p, int id, uint64_t addr, uint64_t size, int flags)
{
    struct lu_mm *mm = p->mm;
    uint32_t prot =
        PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) | (flags & SHM_EXEC ? PROT_EXEC : 0);
    struct mm_segment segment;
    bool had_code;
    int ret;

    if (!mm_ranges_room(&mm->ranges) || mm_over_limit(p, size)) {
        return -ENOMEM;
    }
    if (addr == 0) {
        ret = mm_place(mm, size, LU_PAGE_SIZE, &mm_claim, &addr);
    } else if (size > mm->task_size || addr > mm->task_size - size ||
               (!(flags & SHM_REMAP) && !mm_ranges_unused(&mm->ranges, addr, addr + size))) {
        return -EINVAL;
    } else {
        ret = mm_claim_holes(mm, addr, size);
        ret = ret == -ENOMEM ? -EINVAL : ret;
    }
    if (ret < 0) {
        return ret;
    }
    /* What is there is the claim, or the guest's own and to be replaced. */
    if (shmat(id, mm_host(mm, addr), (flags & SHM_RDONLY) | SHM_REMAP) == (void *)-1) {
        ret = -errno;
        mm_unclaim_holes(mm, addr, size);
        return ret;
    }
    had_code = mm_ranges_any(&mm->ranges, addr, addr + size, PROT_EXEC);
    mm_ranges_set(&mm->ranges, addr, addr + size, prot, MM_SHARED | MM_SHM);
    segment = (struct mm_segment){addr, size};
    g_array_append_val(mm->segments, segment);
    if (had_code) {
        mm_invalidate(mm, addr, size);
    }
    mm_code_added(mm, addr, size);
    return (int64_t)addr;
}

int64_t lu_shmat(struct lu_process *p, int id, uint64_t addr, int flags)
{
    struct lu_mm *mm = p->mm;
    struct shmid_ds info;
    int64_t ret;

    if (!mm_aligned(addr)) {
        if (!(flags & SHM_RND)) {
            return -EINVAL;
        }
        addr &= ~(uint64_t)(LU_PAGE_SIZE - 1);
    }
    if (addr == 0 && flags & SHM_REMAP) {
        return -EINVAL;
    }
    if (shmctl(id, IPC_STAT, &info) < 0) {
        return -errno;
    }
    mm_lock(mm);
    ret = do_shmat(p, id, addr, mm_page_up(info.shm_segsz), flags);
    mm_unlock(mm);
    return ret;
}

int64_t lu_shmdt(struct lu_process *p, uint64_t addr)
{
    struct lu_mm *mm = p->mm;
    int64_t ret = -EINVAL;

    mm_lock(mm);
    for (guint i = mm->segments->len; i-- > 0 && ret < 0;) {
        struct mm_segment s = g_array_index(mm->segments, struct mm_segment, i);
        uint64_t end = s.start + s.size;

        if (s.start != addr) {
            continue;
        }
        g_array_remove_index_fast(mm->segments, i);
        /* What the guest has since mapped over parts of it stays. */
        for (uint64_t at = addr; at < end && mm_ranges_room(&mm->ranges);) {
            struct mm_range r;

            if (!mm_ranges_find(&mm->ranges, at, &r) || r.start >= end) {
                break;
            }
            at = MAX(r.start, at);
            if (r.flags & MM_SHM) {
                mm_unmap(mm, at, MIN(r.end, end) - at);
                ret = 0;
            }
            at = MIN(r.end, end);
        }
    }
    mm_unlock(mm);
    return ret;
}
