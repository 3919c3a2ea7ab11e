/*
 * The guest's address space: mmap, munmap, mprotect, brk, and the checks of pointers.
 *
 * The guest shares the host's address space with Nandu. What belongs to the guest is on record
 * (mm_ranges.h); everything else is either free or Nandu's, and the kernel tells which:
 * MAP_FIXED_NOREPLACE fails where something is. So no request of the guest can replace, change or
 * unmap memory of Nandu's.
 *
 * Mappings without an address go downwards from a stack below 2^45, far from where the host's
 * kernel puts Nandu's own (just below 2^47, at 2/3 of that, or with "ulimit -s unlimited" upwards
 * from 1/3 of it). So a pointer that a thread passes to a system call while another unmaps it finds
 * nothing, not something of Nandu's.
 */
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "linux_user/mm_priv.h"
#include "linux_user/usercopy.h"

enum { MAX_RANGES = 256 * 1024 };

/* Flags that only x86 has: MAP_32BIT, MAP_ABOVE4G. They mean nothing to the guest. */
enum { X86_FLAGS = 0x40 | 0x80 };

#define LAYOUT_TOP ((uint64_t)1 << 45)
/* The kernel's choice of addresses for huge pages: mappings of so many bytes are aligned to it. */
#define HUGE_PAGE ((uint64_t)2 << 20)

const struct host_map mm_claim = {
    .prot = PROT_NONE,
    .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
    .fd = -1,
};

/* ---- Set-up ---- */

static uint64_t stack_size_limit(const struct lu_options *options)
{
    struct rlimit limit;

    if (options->stack_size) {
        return options->stack_size;
    }
    if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        return limit.rlim_cur;
    }
    return 0;
}

static bool reserve_window(struct lu_mm *mm, const struct lu_options *options, GError **error)
{
    uint64_t size = options->reserved_va & ~(uint64_t)(LU_PAGE_SIZE - 1);
    void *want = options->have_guest_base ? (void *)(uintptr_t)options->guest_base : NULL;
    void *map;

    if (size > mm->task_size) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "-R: at most 0x%" G_GINT64_MODIFIER "x bytes can be reserved", mm->task_size);
        return false;
    }
    map = mmap(want, size, PROT_NONE, mm_claim.flags | (want ? MAP_FIXED_NOREPLACE : 0), -1, 0);
    if (map == MAP_FAILED) {
        g_set_error(error, G_FILE_ERROR, (gint)g_file_error_from_errno(errno),
                    "can't reserve 0x%" G_GINT64_MODIFIER
                    "x bytes of address space for the guest (-R): %s",
                    size, g_strerror(errno));
        return false;
    }
    mm->window = true;
    mm->base = (uint64_t)(uintptr_t)map;
    mm->task_size = size;
    return true;
}

static void set_layout(struct lu_mm *mm, const struct lu_options *options)
{
    uint64_t top = MIN(mm->task_size, LAYOUT_TOP);
    /* As the kernel: room for the stack, between 128 MiB and 5/6 of everything. */
    uint64_t gap = CLAMP(mm_page_up(stack_size_limit(options)) + MM_STACK_GAP, (uint64_t)128 << 20,
                         top / 6 * 5);

    if (gap > top / 4 && !options->stack_size) {
        gap = top / 4;
    }
    mm->stack_top = top & ~(uint64_t)(LU_PAGE_SIZE - 1);
    mm->mmap_top = (top - gap) & ~(uint64_t)(LU_PAGE_SIZE - 1);
    mm->mmap_low = MIN((uint64_t)1 << 20, top / 16);
    mm->pie_base = (top / 3 * 2) & ~(uint64_t)(LU_PAGE_SIZE - 1);
}

struct lu_mm *lu_mm_new(const struct lu_options *options, const struct lu_abi *abi,
                        uint64_t *guest_base, GError **error)
{
    struct lu_mm *mm = g_new0(struct lu_mm, 1);

    mm->task_size = abi->task_size;
    if (options->reserved_va) {
        if (!reserve_window(mm, options, error)) {
            g_free(mm);
            return NULL;
        }
    } else if (options->have_guest_base) {
        if (!mm_aligned(options->guest_base) || options->guest_base >= mm->task_size) {
            g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                        "-B: the guest's base must be a "
                        "multiple of %d below 0x%" G_GINT64_MODIFIER "x",
                        LU_PAGE_SIZE, mm->task_size);
            g_free(mm);
            return NULL;
        }
        mm->base = options->guest_base;
        mm->task_size -= options->guest_base;
    }
    if (!mm_ranges_init(&mm->ranges, MAX_RANGES)) {
        g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_NOMEM,
                            "no address space left for the record of the guest's mappings");
        g_free(mm);
        return NULL;
    }
    set_layout(mm, options);
    mm->segments = g_array_new(FALSE, FALSE, sizeof(struct mm_segment));
    pthread_mutex_init(&mm->lock, NULL);
    *guest_base = mm->base;
    return mm;
}

void lu_mm_set_dbt(struct lu_mm *mm, struct dbt *dbt)
{
    mm->dbt = dbt;
}
uint64_t lu_mm_pie_base(const struct lu_mm *mm)
{
    return mm->pie_base;
}
uint64_t lu_mm_task_size(const struct lu_mm *mm)
{
    return mm->task_size;
}

void lu_mm_before_fork(struct lu_mm *mm)
{
    pthread_mutex_lock(&mm->lock);
}

void lu_mm_after_fork(struct lu_mm *mm, bool child)
{
    (void)child;
    pthread_mutex_unlock(&mm->lock);
}

uint64_t lu_mm_size(struct lu_mm *mm)
{
    return __atomic_load_n(&mm->ranges.pages_bytes, __ATOMIC_RELAXED);
}

/* ---- Locking ---- */

/* The kernel has extended MAP_GROWSDOWN mappings where they were touched: put that on record. */
static void sync_growsdown(struct lu_mm *mm)
{
    for (uint32_t i = 0; i < mm->ranges.n; i++) {
        struct mm_range r = mm->ranges.r[i];
        uint64_t bottom = i > 0 ? mm->ranges.r[i - 1].end : 0, start = r.start;
        unsigned char in_core;

        if (!(r.flags & MM_GROWSDOWN) || !mm_ranges_room(&mm->ranges)) {
            continue;
        }
        while (start > bottom &&
               mincore(mm_host(mm, start - LU_PAGE_SIZE), LU_PAGE_SIZE, &in_core) == 0) {
            start -= LU_PAGE_SIZE;
        }
        if (start < r.start) {
            mm_ranges_set(&mm->ranges, start, r.start, r.prot, r.flags);
        }
    }
}

void mm_lock(struct lu_mm *mm)
{
    pthread_mutex_lock(&mm->lock);
    if (mm->has_growsdown && !mm->window) {
        sync_growsdown(mm);
    }
}

void mm_unlock(struct lu_mm *mm)
{
    pthread_mutex_unlock(&mm->lock);
}

/* ---- Checks of pointers ---- */

/* True if all pages of [start, end) are mapped on the host. */
static bool host_mapped(struct lu_mm *mm, uint64_t start, uint64_t end)
{
    unsigned char in_core[256];

    while (start < end) {
        uint64_t size = MIN(end - start, sizeof(in_core) * LU_PAGE_SIZE);

        if (mincore(mm_host(mm, start), size, in_core) < 0) {
            return false;
        }
        start += size;
    }
    return true;
}

/*
 * [addr, addr + size) isn't on record as it should be: is it just below a mapping that grows? Then
 * touching it made it grow, and everything up to that mapping is there; the kernel keeps other
 * mappings away from it. The record gets to know it with the next mm_lock. (No lock here: this may
 * run in a function that translated code calls.)
 */
static bool grow_down(struct lu_mm *mm, uint64_t addr, uint64_t size, uint32_t prot)
{
    struct mm_range r;
    uint8_t byte;

    if (!mm_ranges_find(&mm->ranges, addr, &r) || r.start <= addr || !(r.flags & MM_GROWSDOWN) ||
        !(r.prot & prot) || lu_usercopy(&byte, mm_host(mm, addr), 1) < 0 ||
        !host_mapped(mm, addr & ~(uint64_t)(LU_PAGE_SIZE - 1), r.start)) {
        return false;
    }
    return addr + size <= r.start || mm_ranges_covered(&mm->ranges, r.start, addr + size, prot);
}

bool lu_access_ok(const struct lu_process *p, uint64_t addr, uint64_t size, unsigned access)
{
    struct lu_mm *mm = p->mm;
    /* What is mapped at all can be read, also code. */
    uint32_t prot = access & LU_WRITE ? PROT_WRITE : PROT_READ | PROT_WRITE | PROT_EXEC;

    if (size == 0) {
        return true;
    }
    if (addr >= mm->task_size || size > mm->task_size - addr) {
        return false;
    }
    return mm_ranges_covered(&mm->ranges, addr, addr + size, prot) ||
           (__atomic_load_n(&mm->has_growsdown, __ATOMIC_RELAXED) &&
            grow_down(mm, addr, size, prot));
}

int lu_mm_prot(struct lu_process *p, uint64_t addr)
{
    struct mm_range r;

    if (!mm_ranges_find(&p->mm->ranges, addr, &r) || r.start > addr) {
        return -1;
    }
    return (int)r.prot;
}

size_t lu_mm_fetch(void *opaque, uint64_t pc, void *buf, size_t size, bool *stable)
{
    struct lu_process *p = opaque;
    size_t n = 0;

    *stable = true;
    while (n < size) {
        struct mm_range r;

        if (!mm_ranges_find(&p->mm->ranges, pc + n, &r) || r.start > pc + n ||
            !(r.prot & PROT_EXEC)) {
            break;
        }
        if (r.prot & PROT_WRITE || r.flags & MM_SHARED) {
            *stable = false;
        }
        n += MIN(size - n, r.end - (pc + n));
    }
    if (n > 0 && lu_usercopy(buf, lu_g2h(p, pc), n) < 0) {
        /* Beyond the end of a mapped file, or unmapped just now: what is left of the page. */
        n = MIN(n, LU_PAGE_SIZE - pc % LU_PAGE_SIZE);
        if (lu_usercopy(buf, lu_g2h(p, pc), n) < 0) {
            n = 0;
        }
    }
    return n;
}

/* ---- The host's mappings ---- */

int mm_host_prot(uint32_t prot)
{
    return (int)((prot & (PROT_READ | PROT_WRITE)) | (prot & PROT_EXEC ? PROT_READ : 0));
}

static int host_mmap(struct lu_mm *mm, uint64_t addr, uint64_t size, const struct host_map *map,
                     int fixed)
{
    void *at = mm_host(mm, addr);
    void *got = mmap(at, size, map->prot, map->flags | fixed, map->fd, map->offset);

    if (got == MAP_FAILED) {
        return -errno;
    }
    if (got != at) { /* a kernel that doesn't know MAP_FIXED_NOREPLACE takes it for a hint */
        munmap(got, size);
        return -EEXIST;
    }
    return 0;
}

int mm_map_unused(struct lu_mm *mm, uint64_t addr, uint64_t size, const struct host_map *map)
{
    int ret;

    if (mm->window) {
        return host_mmap(mm, addr, size, map, MAP_FIXED);
    }
    if ((map->flags & MAP_TYPE) != MAP_SHARED_VALIDATE) {
        return host_mmap(mm, addr, size, map, MAP_FIXED_NOREPLACE);
    }
    /* The kernel takes MAP_FIXED_NOREPLACE for a flag to be validated: in two steps, then. */
    ret = host_mmap(mm, addr, size, &mm_claim, MAP_FIXED_NOREPLACE);
    if (ret == 0) {
        ret = host_mmap(mm, addr, size, map, MAP_FIXED);
        if (ret < 0) {
            mm_release(mm, addr, size);
        }
    }
    return ret;
}

void mm_release(struct lu_mm *mm, uint64_t addr, uint64_t size)
{
    if (mm->window) {
        host_mmap(mm, addr, size, &mm_claim, MAP_FIXED);
    } else {
        munmap(mm_host(mm, addr), size);
    }
}

void mm_invalidate(struct lu_mm *mm, uint64_t addr, uint64_t size)
{
    if (mm->dbt) {
        dbt_invalidate(mm->dbt, addr, size);
    }
}

/* The record with what else the host has mapped; false if /proc isn't there. */
static bool host_ranges(struct lu_mm *mm, struct mm_ranges *all)
{
    g_autofree char *text = NULL;
    unsigned long long start, end;

    if (!g_file_get_contents("/proc/self/maps", &text, NULL, NULL) ||
        !mm_ranges_init(all, mm->ranges.max)) {
        return false;
    }
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (sscanf(line, "%llx-%llx", &start, &end) == 2 && mm_ranges_room(all) && end > mm->base &&
            end - mm->base <= mm->task_size) {
            mm_ranges_set(all, start > mm->base ? start - mm->base : 0, end - mm->base, 0, 0);
        }
    }
    for (uint32_t i = 0; i < mm->ranges.n && mm_ranges_room(all); i++) {
        const struct mm_range *r = &mm->ranges.r[i];

        mm_ranges_set(all, r->start, r->end, r->prot, r->flags);
    }
    return true;
}

static uint64_t find_hole(struct lu_mm *mm, const struct mm_ranges *used, uint64_t size,
                          uint64_t align)
{
    uint64_t addr = mm_ranges_hole(used, size, align, mm->mmap_low, mm->mmap_top, MM_STACK_GAP);

    if (addr == 0) {
        addr = mm_ranges_hole(used, size, align, mm->stack_top, mm->task_size, MM_STACK_GAP);
    }
    return addr;
}

/* The first choice was taken by something of Nandu's. */
static int place_elsewhere(struct lu_mm *mm, uint64_t size, uint64_t align,
                           const struct host_map *map, uint64_t *addr)
{
    void *got;

    for (unsigned attempt = 0; attempt < 4; attempt++) {
        struct mm_ranges all;
        int ret;

        if (!host_ranges(mm, &all)) {
            break;
        }
        *addr = find_hole(mm, &all, size, align);
        mm_ranges_free(&all);
        if (*addr == 0) {
            return -ENOMEM;
        }
        ret = mm_map_unused(mm, *addr, size, map);
        if (ret != -EEXIST) {
            return ret;
        }
    }
    /* Without /proc, the kernel knows best. */
    got = mmap(NULL, size, map->prot, map->flags, map->fd, map->offset);
    if (got == MAP_FAILED) {
        return -errno;
    }
    *addr = (uint64_t)(uintptr_t)got - mm->base;
    if (*addr >= mm->task_size || size > mm->task_size - *addr || *addr % align != 0) {
        munmap(got, size);
        return -ENOMEM;
    }
    return 0;
}

int mm_place(struct lu_mm *mm, uint64_t size, uint64_t align, const struct host_map *map,
             uint64_t *addr)
{
    int ret;

    if (size % HUGE_PAGE == 0 && map->flags & MAP_ANONYMOUS) {
        align = MAX(align, HUGE_PAGE);
    }
    *addr = find_hole(mm, &mm->ranges, size, align);
    if (*addr == 0 && align == HUGE_PAGE && !(map->flags & MAP_HUGETLB)) {
        align = LU_PAGE_SIZE;
        *addr = find_hole(mm, &mm->ranges, size, align);
    }
    if (*addr == 0) {
        return -ENOMEM;
    }
    ret = mm_map_unused(mm, *addr, size, map);
    if (ret == -EEXIST) {
        ret = place_elsewhere(mm, size, align, map, addr);
    }
    return ret;
}

/* Calls [fn] for each hole of the record in [addr, addr + size) until it fails. */
static int for_holes(struct lu_mm *mm, uint64_t addr, uint64_t size,
                     int (*fn)(struct lu_mm *mm, uint64_t addr, uint64_t size))
{
    uint64_t end = addr + size;

    for (uint32_t i = mm_ranges_index(&mm->ranges, addr); addr < end; i++) {
        uint64_t hole_end = i < mm->ranges.n ? MIN(mm->ranges.r[i].start, end) : end;
        int ret = addr < hole_end ? fn(mm, addr, hole_end - addr) : 0;

        if (ret < 0) {
            return ret;
        }
        addr = i < mm->ranges.n ? mm->ranges.r[i].end : end;
    }
    return 0;
}

static int claim_hole(struct lu_mm *mm, uint64_t addr, uint64_t size)
{
    return mm_map_unused(mm, addr, size, &mm_claim);
}

static int release_hole(struct lu_mm *mm, uint64_t addr, uint64_t size)
{
    mm_release(mm, addr, size);
    return 0;
}

void mm_unclaim_holes(struct lu_mm *mm, uint64_t addr, uint64_t size)
{
    for_holes(mm, addr, size, release_hole);
}

int mm_claim_holes(struct lu_mm *mm, uint64_t addr, uint64_t size)
{
    uint64_t end = addr + size, start = addr;

    if (mm->window) {
        return 0;
    }
    for (uint32_t i = mm_ranges_index(&mm->ranges, addr); addr < end; i++) {
        uint64_t hole_end = i < mm->ranges.n ? MIN(mm->ranges.r[i].start, end) : end;

        if (addr < hole_end) {
            int ret = claim_hole(mm, addr, hole_end - addr);

            if (ret < 0) {
                if (addr > start) {
                    mm_unclaim_holes(mm, start, addr - start);
                }
                return ret == -EEXIST ? -ENOMEM : ret;
            }
        }
        addr = i < mm->ranges.n ? mm->ranges.r[i].end : end;
    }
    return 0;
}

bool mm_over_limit(struct lu_process *p, uint64_t size)
{
    enum { LIMIT_AS = 2 }; /* see lu_process.rlimits */
    uint64_t used = p->mm->ranges.pages_bytes, limit;

    if (!p->rlimit_set[LIMIT_AS]) {
        return false;
    }
    limit = p->rlimits[LIMIT_AS][0];
    return used > limit || size > limit - used;
}

/* ---- mmap ---- */

static int check_mmap(const struct lu_mm *mm, uint64_t addr, uint64_t size, int flags, int fd,
                      uint64_t offset)
{
    int type = flags & MAP_TYPE;

    if (!mm_aligned(offset) || size == 0 ||
        (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE)) {
        return -EINVAL;
    }
    if (size > mm->task_size || mm_page_up(size) > mm->task_size) {
        return -ENOMEM;
    }
    if (offset + mm_page_up(size) < offset) {
        return -EOVERFLOW;
    }
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (!mm_aligned(addr)) {
            return -EINVAL;
        }
        if (addr > mm->task_size - mm_page_up(size)) {
            return -ENOMEM;
        }
    }
    if (!(flags & MAP_ANONYMOUS) && fd < 0) {
        return -EBADF;
    }
    return 0;
}

static int map_fixed(struct lu_mm *mm, uint64_t addr, uint64_t size, const struct host_map *map,
                     bool replace)
{
    int ret;

    if (mm_ranges_unused(&mm->ranges, addr, addr + size)) {
        ret = mm_map_unused(mm, addr, size, map);
        return ret == -EEXIST && replace ? -ENOMEM : ret;
    }
    if (!replace) {
        return -EEXIST;
    }
    ret = mm_claim_holes(mm, addr, size);
    if (ret == 0) {
        ret = host_mmap(mm, addr, size, map, MAP_FIXED);
        if (ret < 0) {
            mm_unclaim_holes(mm, addr, size);
        }
    }
    return ret;
}

/* Anywhere, but at [hint] if that is free. */
static int map_anywhere(struct lu_mm *mm, uint64_t hint, uint64_t size, uint64_t align,
                        const struct host_map *map, uint64_t *addr)
{
    hint &= ~(uint64_t)(LU_PAGE_SIZE - 1);
    if (hint >= mm->mmap_low && size <= mm->task_size && hint <= mm->task_size - size &&
        hint % align == 0 && mm_ranges_unused(&mm->ranges, hint, hint + size)) {
        struct mm_range next;
        int ret;

        if (!mm_ranges_find(&mm->ranges, hint, &next) ||
            !(next.flags & (MM_STACK | MM_GROWSDOWN)) ||
            next.start - (hint + size) >= MM_STACK_GAP) {
            ret = mm_map_unused(mm, hint, size, map);
            if (ret != -EEXIST && ret != -EPERM) {
                *addr = hint;
                return ret;
            }
        }
    }
    return mm_place(mm, size, align, map, addr);
}

static uint32_t record_flags(int flags)
{
    return ((flags & MAP_TYPE) != MAP_PRIVATE ? MM_SHARED : 0) |
           (flags & MAP_GROWSDOWN ? MM_GROWSDOWN : 0);
}

static int64_t do_mmap(struct lu_process *p, uint64_t addr, uint64_t size, uint64_t align,
                       uint32_t prot, const struct host_map *map, int fixed)
{
    struct lu_mm *mm = p->mm;
    uint64_t old = 0;
    bool had_code;
    int ret;

    if (fixed && !mm_ranges_unused(&mm->ranges, addr, addr + size)) {
        old = size; /* what is replaced doesn't count; near enough */
    }
    if (!mm_ranges_room(&mm->ranges) || mm_over_limit(p, size - old)) {
        return -ENOMEM;
    }
    if (fixed) {
        ret = map_fixed(mm, addr, size, map, !(fixed & MAP_FIXED_NOREPLACE));
    } else {
        ret = map_anywhere(mm, addr, size, align, map, &addr);
    }
    if (ret < 0) {
        return ret;
    }
    had_code = mm_ranges_any(&mm->ranges, addr, addr + size, PROT_EXEC);
    mm_ranges_set(&mm->ranges, addr, addr + size, prot, record_flags(map->flags));
    if (map->flags & MAP_GROWSDOWN) {
        __atomic_store_n(&mm->has_growsdown, true, __ATOMIC_RELAXED);
    }
    if (had_code) {
        mm_invalidate(mm, addr, size);
    }
    if (prot & PROT_EXEC) {
        mm_code_added(mm, addr, size);
    }
    return (int64_t)addr;
}

int64_t lu_mmap(struct lu_process *p, uint64_t addr, uint64_t size, int prot, int flags, int fd,
                uint64_t offset)
{
    struct lu_mm *mm = p->mm;
    uint64_t align = LU_PAGE_SIZE;
    struct host_map map;
    int64_t ret;

    ret = check_mmap(mm, addr, size, flags, fd, offset);
    if (ret < 0) {
        return ret;
    }
    prot &= PROT_READ | PROT_WRITE | PROT_EXEC;
    if (prot & PROT_EXEC && !(flags & MAP_ANONYMOUS)) {
        struct statvfs fs;

        /* The kernel doesn't see that code is mapped. */
        if (fstatvfs(fd, &fs) == 0 && fs.f_flag & ST_NOEXEC) {
            return -EPERM;
        }
    }
    size = mm_page_up(size);
    if (flags & MAP_HUGETLB && flags & MAP_ANONYMOUS) {
        unsigned shift = (unsigned)flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;

        align = shift ? (uint64_t)1 << shift : HUGE_PAGE;
        size = (size + align - 1) & ~(align - 1);
        if (align < LU_PAGE_SIZE || size == 0 || size > mm->task_size) {
            return -EINVAL;
        }
    }
    map = (struct host_map){
        .prot = mm_host_prot((uint32_t)prot),
        .flags = flags & ~(MAP_FIXED | MAP_FIXED_NOREPLACE | X86_FLAGS),
        .fd = flags & MAP_ANONYMOUS ? -1 : fd,
        .offset = flags & MAP_ANONYMOUS ? 0 : (off_t)offset,
    };
    if (mm->window) {
        /* What is below it is mapped (the reservation), so that the kernel can't extend it. */
        map.flags &= ~MAP_GROWSDOWN;
    }
    mm_lock(mm);
    ret = do_mmap(p, addr, size, align, (uint32_t)prot, &map,
                  flags & (MAP_FIXED | MAP_FIXED_NOREPLACE));
    mm_unlock(mm);
    return ret;
}

int64_t lu_mm_map_stack(struct lu_process *p, uint64_t size, int prot)
{
    struct lu_mm *mm = p->mm;
    struct host_map map = {
        .prot = mm_host_prot((uint32_t)prot),
        .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK,
        .fd = -1,
    };
    uint64_t addr = mm->stack_top - size;
    int ret = -ENOMEM;

    size = mm_page_up(size);
    mm_lock(mm);
    if (size < mm->stack_top && mm_ranges_room(&mm->ranges)) {
        addr = mm->stack_top - size;
        ret = map_anywhere(mm, addr, size, LU_PAGE_SIZE, &map, &addr);
    }
    if (ret == 0) {
        mm_ranges_set(&mm->ranges, addr, addr + size, (uint32_t)prot, MM_STACK);
    }
    mm_unlock(mm);
    return ret < 0 ? ret : (int64_t)addr;
}

/* ---- munmap, mprotect ---- */

void mm_unmap(struct lu_mm *mm, uint64_t addr, uint64_t size)
{
    bool had_code = mm_ranges_any(&mm->ranges, addr, addr + size, PROT_EXEC);
    uint64_t end = addr + size, at = addr;

    while (at < end) {
        uint32_t i = mm_ranges_index(&mm->ranges, at);
        uint64_t stop;

        if (i == mm->ranges.n || mm->ranges.r[i].start >= end) {
            break;
        }
        /* As much as lies together. */
        at = MAX(at, mm->ranges.r[i].start);
        stop = mm->ranges.r[i].end;
        while (stop < end && ++i < mm->ranges.n && mm->ranges.r[i].start == stop) {
            stop = mm->ranges.r[i].end;
        }
        stop = MIN(stop, end);
        mm_release(mm, at, stop - at);
        mm_ranges_clear(&mm->ranges, at, stop);
        at = stop;
    }
    if (had_code) {
        mm_invalidate(mm, addr, size);
    }
}

int64_t lu_munmap(struct lu_process *p, uint64_t addr, uint64_t size)
{
    struct lu_mm *mm = p->mm;
    int64_t ret = 0;

    if (!mm_aligned(addr) || addr > mm->task_size || size > mm->task_size - addr || size == 0) {
        return -EINVAL;
    }
    mm_lock(mm);
    if (mm_ranges_room(&mm->ranges)) {
        mm_unmap(mm, addr, mm_page_up(size));
    } else {
        ret = -ENOMEM;
    }
    mm_unlock(mm);
    return ret;
}

/* Set the protection of [addr, end), which is mapped. */
static int protect(struct lu_mm *mm, uint64_t addr, uint64_t end, uint32_t prot)
{
    bool had_code = mm_ranges_any(&mm->ranges, addr, end, PROT_EXEC);

    if (!mm_ranges_room(&mm->ranges)) {
        return -ENOMEM;
    }
    if (mprotect(mm_host(mm, addr), end - addr, mm_host_prot(prot)) < 0) {
        return -errno;
    }
    mm_ranges_protect(&mm->ranges, addr, end, prot);
    /* Code that is written to in full view of the translator, and code that is none any more. */
    if (had_code && (prot & PROT_WRITE || !(prot & PROT_EXEC))) {
        mm_invalidate(mm, addr, end - addr);
    }
    if (prot & PROT_EXEC) {
        mm_code_added(mm, addr, end - addr);
    }
    return 0;
}

int64_t lu_mprotect(struct lu_process *p, uint64_t addr, uint64_t size, int prot)
{
    enum { PROT_SEM_BIT = 8, PROT_ALL = PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM_BIT };
    struct lu_mm *mm = p->mm;
    uint64_t end;
    int64_t ret = 0;
    bool down = prot & PROT_GROWSDOWN;

    prot &= ~PROT_GROWSDOWN;
    if (!mm_aligned(addr) || prot & PROT_GROWSUP) {
        return -EINVAL;
    }
    if (size == 0) {
        return 0;
    }
    size = mm_page_up(size);
    if (size == 0 || addr > mm->task_size || size > mm->task_size - addr) {
        return -ENOMEM;
    }
    if (prot & ~PROT_ALL) {
        return -EINVAL;
    }
    prot &= PROT_READ | PROT_WRITE | PROT_EXEC;
    end = addr + size;
    mm_lock(mm);
    if (down) {
        struct mm_range r;

        if (!mm_ranges_find(&mm->ranges, addr, &r) || r.start >= end) {
            ret = -ENOMEM;
        } else if (!(r.flags & (MM_STACK | MM_GROWSDOWN))) {
            ret = -EINVAL;
        } else {
            addr = r.start;
        }
    }
    if (ret == 0) {
        /* Up to the first hole, as the kernel. */
        uint64_t stop = addr;

        for (uint32_t i = mm_ranges_index(&mm->ranges, addr);
             i < mm->ranges.n && mm->ranges.r[i].start <= stop && stop < end; i++) {
            stop = mm->ranges.r[i].end;
        }
        stop = MIN(stop, end);
        if (stop > addr) {
            ret = protect(mm, addr, stop, (uint32_t)prot);
        }
        if (ret == 0 && stop < end) {
            ret = -ENOMEM;
        }
    }
    mm_unlock(mm);
    return ret;
}

/* ---- brk ---- */

void lu_mm_set_brk(struct lu_mm *mm, uint64_t brk)
{
    mm->brk_start = mm->brk = mm_page_up(brk);
}

void lu_mm_get_brk(struct lu_mm *mm, uint64_t *start, uint64_t *end)
{
    mm_lock(mm);
    *start = mm->brk_start;
    *end = mm->brk;
    mm_unlock(mm);
}

int64_t lu_brk(struct lu_process *p, uint64_t addr)
{
    static const struct host_map heap = {
        .prot = PROT_READ | PROT_WRITE,
        .flags = MAP_PRIVATE | MAP_ANONYMOUS,
        .fd = -1,
    };
    enum { LIMIT_DATA = 0 };
    struct lu_mm *mm = p->mm;
    uint64_t old_end, new_end, result;
    struct mm_range next;

    mm_lock(mm);
    if (addr < mm->brk_start || addr > mm->task_size ||
        (p->rlimit_set[LIMIT_DATA] && addr - mm->brk_start > p->rlimits[LIMIT_DATA][0])) {
        goto out;
    }
    old_end = mm_page_up(mm->brk);
    new_end = mm_page_up(addr);
    if (new_end > old_end) {
        if (!mm_ranges_room(&mm->ranges) || mm_over_limit(p, new_end - old_end) ||
            (mm_ranges_find(&mm->ranges, old_end, &next) &&
             next.start < new_end + (next.flags & MM_STACK ? MM_STACK_GAP : 0)) ||
            mm_map_unused(mm, old_end, new_end - old_end, &heap) < 0) {
            goto out;
        }
        mm_ranges_set(&mm->ranges, old_end, new_end, PROT_READ | PROT_WRITE, 0);
    } else if (new_end < old_end) {
        if (!mm_ranges_room(&mm->ranges)) {
            goto out;
        }
        mm_unmap(mm, new_end, old_end - new_end);
    }
    mm->brk = addr;
out:
    result = mm->brk;
    mm_unlock(mm);
    return (int64_t)result;
}
