/*
 * The guest's mappings: mm_ranges.h says how it may be used.
 *
 * An array, since there are tens to hundreds of ranges, and look-ups, which each pointer of each
 * system call needs, are many times more frequent than changes.
 */
#include "linux_user/mm_ranges.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>

bool mm_ranges_init(struct mm_ranges *m, uint32_t max)
{
    void *map = mmap(NULL, max * sizeof(struct mm_range), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (map == MAP_FAILED) {
        return false;
    }
    *m = (struct mm_ranges){.r = map, .max = max};
    return true;
}

void mm_ranges_free(struct mm_ranges *m)
{
    munmap(m->r, m->max * sizeof(struct mm_range));
    m->r = NULL;
}

/* ---- Readers ---- */

static uint32_t read_begin(const struct mm_ranges *m)
{
    uint32_t seq;

    while ((seq = __atomic_load_n(&m->seq, __ATOMIC_ACQUIRE)) & 1) {
        __builtin_ia32_pause();
    }
    return seq;
}

static bool read_retry(const struct mm_ranges *m, uint32_t seq)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&m->seq, __ATOMIC_RELAXED) != seq;
}

/* As mm_ranges_index, of [n] ranges. What it finds while a writer is at work is any index <= n. */
static uint32_t find_index(const struct mm_ranges *m, uint32_t n, uint64_t addr)
{
    uint32_t low = 0;

    while (low < n) {
        uint32_t mid = low + (n - low) / 2;

        if (__atomic_load_n(&m->r[mid].end, __ATOMIC_RELAXED) > addr) {
            n = mid;
        } else {
            low = mid + 1;
        }
    }
    return low;
}

static struct mm_range load_range(const struct mm_ranges *m, uint32_t i)
{
    const struct mm_range *r = &m->r[i];

    return (struct mm_range){
        .start = __atomic_load_n(&r->start, __ATOMIC_RELAXED),
        .end = __atomic_load_n(&r->end, __ATOMIC_RELAXED),
        .prot = __atomic_load_n(&r->prot, __ATOMIC_RELAXED),
        .flags = __atomic_load_n(&r->flags, __ATOMIC_RELAXED),
    };
}

bool mm_ranges_find(const struct mm_ranges *m, uint64_t addr, struct mm_range *range)
{
    uint32_t seq, n, i;
    bool found;

    do {
        seq = read_begin(m);
        n = __atomic_load_n(&m->n, __ATOMIC_RELAXED);
        i = find_index(m, n, addr);
        found = i < n;
        if (found) {
            *range = load_range(m, i);
        }
    } while (read_retry(m, seq));
    return found;
}

bool mm_ranges_covered(const struct mm_ranges *m, uint64_t start, uint64_t end, uint32_t prot)
{
    uint32_t seq;
    bool covered;

    do {
        uint64_t addr = start;
        uint32_t n, i;

        seq = read_begin(m);
        n = __atomic_load_n(&m->n, __ATOMIC_RELAXED);
        for (i = find_index(m, n, addr); i < n && addr < end; i++) {
            struct mm_range r = load_range(m, i);

            if (r.start > addr || (prot && !(r.prot & prot))) {
                break;
            }
            addr = r.end;
        }
        covered = addr >= end;
    } while (read_retry(m, seq));
    return covered;
}

/* ---- Writers ---- */

static void write_begin(struct mm_ranges *m)
{
    __atomic_store_n(&m->seq, m->seq + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static void write_end(struct mm_ranges *m)
{
    __atomic_store_n(&m->seq, m->seq + 1, __ATOMIC_RELEASE);
}

uint32_t mm_ranges_index(const struct mm_ranges *m, uint64_t addr)
{
    return find_index(m, m->n, addr);
}

bool mm_ranges_unused(const struct mm_ranges *m, uint64_t start, uint64_t end)
{
    uint32_t i = mm_ranges_index(m, start);

    return i == m->n || m->r[i].start >= end;
}

bool mm_ranges_any(const struct mm_ranges *m, uint64_t start, uint64_t end, uint32_t prot)
{
    for (uint32_t i = mm_ranges_index(m, start); i < m->n && m->r[i].start < end; i++) {
        if (m->r[i].prot & prot) {
            return true;
        }
    }
    return false;
}

bool mm_ranges_room(const struct mm_ranges *m)
{
    return m->n + 4 <= m->max;
}

/* Make place for, or take away: [n_new] ranges at [first] in place of [n_old]. */
static struct mm_range *splice(struct mm_ranges *m, uint32_t first, uint32_t n_old, uint32_t n_new)
{
    assert(m->n - n_old + n_new <= m->max);
    if (n_old != n_new) {
        memmove(&m->r[first + n_new], &m->r[first + n_old],
                (m->n - first - n_old) * sizeof(m->r[0]));
    }
    m->n = m->n - n_old + n_new;
    return &m->r[first];
}

static bool can_merge(const struct mm_range *a, const struct mm_range *b)
{
    return a->end == b->start && a->prot == b->prot && a->flags == b->flags;
}

/* Put [range] in place of all that is in [start, end); NULL: only take that away. */
static void replace(struct mm_ranges *m, uint64_t start, uint64_t end, const struct mm_range *range)
{
    uint32_t first = mm_ranges_index(m, start), last = first, n = 0;
    struct mm_range put[3];

    while (last < m->n && m->r[last].start < end) {
        m->pages_bytes -= MIN(m->r[last].end, end) - MAX(m->r[last].start, start);
        last++;
    }
    if (first < last && m->r[first].start < start) {
        put[n] = m->r[first];
        put[n++].end = start;
    }
    if (range) {
        put[n++] = *range;
        m->pages_bytes += range->end - range->start;
    }
    if (first < last && m->r[last - 1].end > end) {
        put[n] = m->r[last - 1];
        put[n++].start = end;
    }
    /* Merge with the neighbours, and what is put with each other. */
    if (first > 0 && n > 0 && can_merge(&m->r[first - 1], &put[0])) {
        put[0].start = m->r[--first].start;
    }
    if (last < m->n && n > 0 && can_merge(&put[n - 1], &m->r[last])) {
        put[n - 1].end = m->r[last++].end;
    }
    for (uint32_t i = 1; i < n;) {
        if (can_merge(&put[i - 1], &put[i])) {
            put[i - 1].end = put[i].end;
            memmove(&put[i], &put[i + 1], (n - i - 1) * sizeof(put[0]));
            n--;
        } else {
            i++;
        }
    }
    write_begin(m);
    memcpy(splice(m, first, last - first, n), put, n * sizeof(put[0]));
    write_end(m);
}

void mm_ranges_set(struct mm_ranges *m, uint64_t start, uint64_t end, uint32_t prot, uint32_t flags)
{
    struct mm_range range = {start, end, prot, flags};

    replace(m, start, end, &range);
}

void mm_ranges_clear(struct mm_ranges *m, uint64_t start, uint64_t end)
{
    replace(m, start, end, NULL);
}

void mm_ranges_protect(struct mm_ranges *m, uint64_t start, uint64_t end, uint32_t prot)
{
    while (start < end) {
        uint32_t i = mm_ranges_index(m, start);
        struct mm_range r;

        if (i == m->n || m->r[i].start >= end) {
            return;
        }
        r = m->r[i];
        r.start = MAX(r.start, start);
        r.end = MIN(r.end, end);
        start = r.end;
        if (r.prot != prot) {
            r.prot = prot;
            replace(m, r.start, r.end, &r);
        }
    }
}

uint64_t mm_ranges_hole(const struct mm_ranges *m, uint64_t size, uint64_t align, uint64_t low,
                        uint64_t high, uint64_t gap)
{
    /* Ranges below index i end at or below [high]. */
    uint32_t i = mm_ranges_index(m, high);

    if (i < m->n && m->r[i].start < high) {
        high = m->r[i].start;
    }
    if (i < m->n && m->r[i].flags & (MM_STACK | MM_GROWSDOWN) && m->r[i].start <= high + gap) {
        high = m->r[i].start > gap ? MIN(high, m->r[i].start - gap) : 0;
    }
    for (;;) {
        uint64_t bottom = MAX(i > 0 ? m->r[i - 1].end : 0, low);
        uint64_t start;

        if (high >= size && high - size >= bottom) {
            start = (high - size) & ~(align - 1);
            if (start >= bottom && start != 0) {
                return start;
            }
        }
        if (i == 0 || m->r[i - 1].start <= low) {
            return 0;
        }
        i--;
        high = m->r[i].start;
        if (m->r[i].flags & (MM_STACK | MM_GROWSDOWN)) {
            high = high > gap ? high - gap : 0;
        }
    }
}
