/*
 * Memory: the calls that change mappings go to mm.c; the others are checked to stay in the guest's
 * mappings and are made by the host's kernel.
 */
#include "linux_user/sys.h"

#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>

#include "linux_user/mm_priv.h"

bool lu_mapped(const struct lu_process *p, uint64_t addr, uint64_t size)
{
    uint64_t start = addr & -(uint64_t)LU_PAGE_SIZE;
    uint64_t end;

    if (size == 0) {
        return true;
    }
    if (__builtin_add_overflow(addr, size, &end) || end > p->mm->task_size) {
        return false;
    }
    return mm_ranges_covered(&p->mm->ranges, start, end, 0);
}

uint64_t lu_range_ptr(const struct lu_process *p, uint64_t addr, uint64_t size)
{
    /* Above all that a process of the host can have mapped. */
    const uint64_t host_end = UINT64_C(1) << 47;

    if (lu_mapped(p, addr, size)) {
        return addr + p->guest_base;
    }
    return addr >= host_end ? addr : (uintptr_t)LU_BAD_POINTER | addr % LU_PAGE_SIZE;
}

int64_t sys_brk(struct lu_thread *t, const uint64_t a[6])
{
    return lu_brk(t->process, a[0]);
}

int64_t sys_mmap(struct lu_thread *t, const uint64_t a[6])
{
    return lu_mmap(t->process, a[0], a[1], (int)a[2], (int)a[3], (int)a[4], a[5]);
}

int64_t sys_munmap(struct lu_thread *t, const uint64_t a[6])
{
    return lu_munmap(t->process, a[0], a[1]);
}

int64_t sys_mremap(struct lu_thread *t, const uint64_t a[6])
{
    return lu_mremap(t->process, a[0], a[1], a[2], (int)a[3], a[4]);
}

int64_t sys_mprotect(struct lu_thread *t, const uint64_t a[6])
{
    return lu_mprotect(t->process, a[0], a[1], (int)a[2]);
}

int64_t sys_madvise(struct lu_thread *t, const uint64_t a[6])
{
    return lu_madvise(t->process, a[0], a[1], (int)a[2]);
}

int64_t sys_mincore(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    uint64_t pages = a[1] / LU_PAGE_SIZE + (a[1] % LU_PAGE_SIZE != 0);

    return LU_HOST(SYS_mincore, lu_range_ptr(p, a[0], a[1]), a[1],
                   lu_ptr(p, a[2], pages, LU_WRITE));
}

int64_t sys_remap_file_pages(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    /* Both are rounded down, by the kernel too. */
    uint64_t start = a[0] & -(uint64_t)LU_PAGE_SIZE, size = a[1] & -(uint64_t)LU_PAGE_SIZE;
    int64_t result;

    if (!lu_mapped(p, start, size)) {
        return -EINVAL;
    }
    result = LU_HOST(SYS_remap_file_pages, lu_g2h(p, start), size, a[2], a[3], a[4]);
    if (result == 0) {
        dbt_invalidate(p->dbt, start, size);
    }
    return result;
}

/* ---- NUMA ---- */

/* Bytes of a node mask of [max_node] bits as mbind and its relatives count them: one less. */
static uint64_t node_mask_size(uint64_t max_node)
{
    return max_node <= 1 ? 0 : (max_node - 1 + 63) / 64 * 8;
}

/* Checked node mask; a number of bits that the kernel refuses (more than a page) isn't looked at.
 * */
static void *node_mask(const struct lu_process *p, uint64_t addr, uint64_t max_node,
                       unsigned access)
{
    if (max_node > LU_PAGE_SIZE * 8 + 1) {
        return lu_bad_ptr(p, addr);
    }
    return lu_ptr(p, addr, node_mask_size(max_node), access);
}

int64_t sys_mbind(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;

    return LU_HOST(SYS_mbind, lu_range_ptr(p, a[0], a[1]), a[1], a[2],
                   node_mask(p, a[3], a[4], LU_READ), a[4], a[5]);
}

int64_t sys_get_mempolicy(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    uint64_t addr = a[3];

    if (a[4] & MPOL_F_ADDR) {
        addr = lu_range_ptr(p, addr, 1);
    }
    return LU_HOST(SYS_get_mempolicy, lu_ptr(p, a[0], 4, LU_WRITE),
                   node_mask(p, a[1], a[2], LU_WRITE), a[2], addr, a[4]);
}

int64_t sys_set_mempolicy(struct lu_thread *t, const uint64_t a[6])
{
    return LU_HOST(SYS_set_mempolicy, a[0], node_mask(t->process, a[1], a[2], LU_READ), a[2]);
}

int64_t sys_migrate_pages(struct lu_thread *t, const uint64_t a[6])
{
    return LU_HOST(SYS_migrate_pages, a[0], a[1], node_mask(t->process, a[2], a[1], LU_READ),
                   node_mask(t->process, a[3], a[1], LU_READ));
}

int64_t sys_move_pages(struct lu_thread *t, const uint64_t a[6])
{
    enum { BATCH = 512 };
    struct lu_process *p = t->process;
    uint64_t pages[BATCH];
    uint64_t count = a[1];
    int64_t total = 0;

    /* In batches, so that a huge number needs no huge buffer; flags and ids are checked with each,
     * and one call is made even for no page. */
    for (uint64_t done = 0; done == 0 || done < count;) {
        uint64_t n = MIN(count - done, BATCH);
        uint64_t nodes = a[3] ? a[3] + done * 4 : 0;
        int64_t result;

        void *list = pages;
        if (lu_copy_from_guest(p, pages, a[2] + done * 8, n * 8) != 0) {
            list = lu_bad_ptr(p, a[2] + done * 8);
            n = MIN(n, 1); /* the first one faults */
        }
        for (uint64_t i = 0; i < n; i++) {
            pages[i] += p->guest_base;
        }
        result = LU_HOST(SYS_move_pages, a[0], n, list, lu_ptr(p, nodes, n * 4, LU_READ),
                         lu_ptr(p, a[4] + done * 4, n * 4, LU_WRITE), a[5]);
        if (result < 0) {
            return result;
        }
        total += result;
        done += n;
        if (n == 0) {
            break;
        }
    }
    return total;
}

/* ---- Memory of other processes ---- */

enum { REMOTE_MAX = UIO_MAXIOV };

/*
 * Ranges in the memory of process [pid], which may be this one: then they are checked like any
 * pointer. Another process is most likely a guest too, with the same guest base; the kernel has it
 * checked that it may be touched. Gives what to pass to the kernel: [v], or an address that it
 * refuses.
 */
static void *remote_ranges(const struct lu_process *p, struct iovec *v, uint64_t addr,
                           uint64_t count, bool self, unsigned access)
{
    if (lu_copy_from_guest(p, v, addr, count * sizeof(*v)) != 0) {
        return lu_bad_ptr(p, addr);
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t base = (uintptr_t)v[i].iov_base;

        v[i].iov_base = self ? lu_ptr(p, base, v[i].iov_len, access) : lu_g2h(p, base);
    }
    return v;
}

static int64_t transfer(struct lu_thread *t, long nr, const uint64_t a[6], bool read)
{
    struct lu_process *p = t->process;
    bool self = (pid_t)a[0] == getpid();
    struct lu_iov local;
    int64_t result;

    if (a[4] > REMOTE_MAX) {
        return -EINVAL;
    }
    if (!self && LU_HOST(SYS_tgkill, getpid(), (pid_t)a[0], 0) == 0) {
        self = true; /* the number of one of our threads */
    }
    g_autofree struct iovec *remote = g_new0(struct iovec, a[4] + 1);
    lu_iov_from_guest(p, &local, a[1], a[2], read ? LU_WRITE : LU_READ);
    result =
        LU_HOST(nr, a[0], local.v, local.count,
                remote_ranges(p, remote, a[3], a[4], self, read ? LU_READ : LU_WRITE), a[4], a[5]);
    lu_iov_clear(&local);
    return result;
}

int64_t sys_process_vm_readv(struct lu_thread *t, const uint64_t a[6])
{
    return transfer(t, SYS_process_vm_readv, a, true);
}

int64_t sys_process_vm_writev(struct lu_thread *t, const uint64_t a[6])
{
    return transfer(t, SYS_process_vm_writev, a, false);
}

int64_t sys_process_madvise(struct lu_thread *t, const uint64_t a[6])
{
    enum { NO_ADVICE = INT32_MAX };
    uint64_t advice = NO_ADVICE;

    if (a[2] > REMOTE_MAX) {
        return -EINVAL;
    }
    /* What may be given to another process loses no data, so that it may be for any address. */
    switch ((int)a[3]) {
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_WILLNEED:
    case 25 /* MADV_COLLAPSE */: advice = a[3]; break;
    default: break;
    }
    g_autofree struct iovec *ranges = g_new0(struct iovec, a[2] + 1);
    return LU_HOST(SYS_process_madvise, a[0],
                   remote_ranges(t->process, ranges, a[1], a[2], false, 0), a[2], advice, a[4]);
}
