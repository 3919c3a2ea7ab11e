/*
 * Futexes: the host's kernel does the work on the guest's memory; here addresses are checked and
 * timeouts copied. And the lists of robust futexes, which the kernel walks only for the host's
 * threads (futex(2), set_robust_list(2), Linux Documentation/locking/robust-futex-ABI).
 */
#include <linux/futex.h>
#include <string.h>
#include <time.h>

#include "linux_user/signals.h"
#include "linux_user/sys.h"
#include "linux_user/threads.h"

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

enum { ROBUST_HEAD_SIZE = 24 }; /* struct robust_list_head, 64 bits */
enum { FUTEX_V_MAX = 128 };

/* Size bits of futex2 flags: 2 is 32 bits, the only size that there is. */
enum { FUTEX2_FLAG_MASK = 0x83 | 4 };

/* The host's address of a futex word that is read or written. Errors are the kernel's. */
static int futex_word(const struct lu_process *p, uint64_t addr, unsigned access, void **host)
{
    if (addr & 3) {
        return -EINVAL;
    }
    if (!lu_access_ok(p, addr, sizeof(uint32_t), access)) {
        return -EFAULT;
    }
    *host = lu_g2h(p, addr);
    return 0;
}

/* For wake-ups: the word need not be mapped (a mutex may be gone by the time it is woken). */
static int futex_key(const struct lu_process *p, uint64_t addr, void **host)
{
    if (addr & 3) {
        return -EINVAL;
    }
    if (addr >= p->abi->task_size) {
        return -EFAULT;
    }
    *host = lu_g2h(p, addr);
    return 0;
}

static int get_timeout(const struct lu_process *p, uint64_t addr, struct timespec *ts,
                       struct timespec **out)
{
    *out = NULL;
    if (!addr) {
        return 0;
    }
    if (lu_copy_from_guest(p, ts, addr, sizeof(*ts)) < 0) {
        return -EFAULT;
    }
    *out = ts;
    return 0;
}

/* op, with the fourth argument as a timeout. */
static int64_t futex_wait_op(struct lu_thread *t, const uint64_t a[6], bool second)
{
    const struct lu_process *p = t->process;
    struct timespec ts, *timeout;
    void *word, *word2 = NULL;
    int error;

    if ((error = get_timeout(p, a[3], &ts, &timeout)) < 0 ||
        (error = futex_word(p, a[0], LU_READ, &word)) < 0 ||
        (second && (error = futex_word(p, a[4], LU_READ | LU_WRITE, &word2)) < 0)) {
        return error;
    }
    return LU_BLOCK(t, SYS_futex, word, (int)a[1], (uint32_t)a[2], timeout, word2, (uint32_t)a[5]);
}

int64_t sys_futex(struct lu_thread *t, const uint64_t a[6])
{
    const struct lu_process *p = t->process;
    void *word, *word2;
    int error;

    switch ((int)a[1] & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2: return futex_wait_op(t, a, false);
    case FUTEX_WAIT_REQUEUE_PI: return futex_wait_op(t, a, true);
    case FUTEX_TRYLOCK_PI:
    case FUTEX_UNLOCK_PI:
        if ((error = futex_word(p, a[0], LU_READ | LU_WRITE, &word)) < 0) {
            return error;
        }
        return LU_HOST(SYS_futex, word, (int)a[1], (uint32_t)a[2]);
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET:
        if ((error = futex_key(p, a[0], &word)) < 0) {
            return error;
        }
        return LU_HOST(SYS_futex, word, (int)a[1], (uint32_t)a[2], 0, 0, (uint32_t)a[5]);
    case FUTEX_WAKE_OP:
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
    case FUTEX_CMP_REQUEUE_PI:
        if ((error = futex_word(p, a[0], LU_READ, &word)) < 0 ||
            (error = futex_word(p, a[4], LU_READ, &word2)) < 0) {
            return error;
        }
        return LU_HOST(SYS_futex, word, (int)a[1], (uint32_t)a[2], (uint32_t)a[3], word2,
                       (uint32_t)a[5]);
    default: return -ENOSYS; /* as the kernel, also for FUTEX_FD */
    }
}

/* struct futex_waitv of the generic ABI */
struct guest_futex_waitv {
    uint64_t val, uaddr;
    uint32_t flags, reserved;
};

int64_t sys_futex_waitv(struct lu_thread *t, const uint64_t a[6])
{
    const struct lu_process *p = t->process;
    struct guest_futex_waitv v[FUTEX_V_MAX];
    struct timespec ts, *timeout;
    uint32_t n = (uint32_t)a[1];
    int error;

    if ((uint32_t)a[2] || n == 0 || n > FUTEX_V_MAX || !a[0]) {
        return -EINVAL;
    }
    if ((error = get_timeout(p, a[3], &ts, &timeout)) < 0) {
        return error;
    }
    if (lu_copy_from_guest(p, v, a[0], n * sizeof(v[0])) < 0) {
        return -EFAULT;
    }
    for (uint32_t i = 0; i < n; i++) {
        void *word;

        if ((v[i].flags & ~(uint32_t)FUTEX2_FLAG_MASK) || v[i].reserved) {
            return -EINVAL;
        }
        if ((error = futex_word(p, v[i].uaddr, LU_READ, &word)) < 0) {
            return error;
        }
        v[i].uaddr = (uintptr_t)word;
    }
    return LU_BLOCK(t, SYS_futex_waitv, v, n, 0, timeout, (int)a[4]);
}

int64_t sys_futex_wake(struct lu_thread *t, const uint64_t a[6])
{
    void *word;
    int error = futex_key(t->process, a[0], &word);

    return error ? error : LU_HOST(SYS_futex_wake, word, a[1], (int)a[2], (uint32_t)a[3]);
}

int64_t sys_futex_wait(struct lu_thread *t, const uint64_t a[6])
{
    struct timespec ts, *timeout;
    void *word;
    int error;

    if ((error = get_timeout(t->process, a[4], &ts, &timeout)) < 0 ||
        (error = futex_word(t->process, a[0], LU_READ, &word)) < 0) {
        return error;
    }
    return LU_BLOCK(t, SYS_futex_wait, word, a[1], a[2], (uint32_t)a[3], timeout, (int)a[5]);
}

int64_t sys_futex_requeue(struct lu_thread *t, const uint64_t a[6])
{
    struct guest_futex_waitv v[2];
    void *word;
    int error;

    if (!a[0] || (uint32_t)a[1]) {
        return -EINVAL;
    }
    if (lu_copy_from_guest(t->process, v, a[0], sizeof(v)) < 0) {
        return -EFAULT;
    }
    for (int i = 0; i < 2; i++) {
        if ((error = futex_word(t->process, v[i].uaddr, LU_READ, &word)) < 0) {
            return error;
        }
        v[i].uaddr = (uintptr_t)word;
    }
    return LU_HOST(SYS_futex_requeue, v, 0, (int)a[2], (int)a[3]);
}

void lu_futex_wake_one(const struct lu_process *p, uint64_t addr)
{
    syscall(SYS_futex, lu_g2h(p, addr), FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* ---- Robust lists ---- */

/* One futex of a list: false if the list can't be followed further. [pending]: it was being taken
 * or released when the thread ended. */
static bool futex_owner_died(const struct lu_process *p, uint64_t addr, pid_t tid, bool pi,
                             bool pending)
{
    uint32_t value;

    if ((addr & 3) || lu_copy_from_guest(p, &value, addr, sizeof(value)) < 0) {
        return false;
    }
    if (pending && !pi && value == 0) {
        lu_futex_wake_one(p, addr); /* released, but the wake-up may not have been made */
        return true;
    }
    for (;;) {
        uint32_t seen = value, died = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        int r;

        if ((value & FUTEX_TID_MASK) != (uint32_t)tid) {
            return true;
        }
        if (!lu_access_ok(p, addr, sizeof(value), LU_WRITE)) {
            return false;
        }
        r = lu_user_cmpxchg32(lu_g2h(p, addr), &seen, died);
        if (r < 0) {
            return false;
        }
        if (r == 0) {
            break;
        }
        value = seen;
    }
    if (!pi && (value & FUTEX_WAITERS)) {
        lu_futex_wake_one(p, addr);
    }
    return true;
}

void lu_robust_list_exit(const struct lu_process *p, uint64_t head, pid_t tid)
{
    uint64_t h[3]; /* first entry, offset of the futex in an entry, entry in progress */
    uint64_t entry;

    if (!head || lu_copy_from_guest(p, h, head, sizeof(h)) < 0) {
        return;
    }
    entry = h[0];
    for (int i = 0; i < ROBUST_LIST_LIMIT && (entry & ~(uint64_t)1) != head; i++) {
        uint64_t addr = entry & ~(uint64_t)1, next;
        /* Read before the entry is marked: its next owner may change it then. */
        bool have_next = lu_copy_from_guest(p, &next, addr, sizeof(next)) == 0;

        if (addr != (h[2] & ~(uint64_t)1) &&
            !futex_owner_died(p, addr + h[1], tid, entry & 1, false)) {
            return;
        }
        if (!have_next) {
            break;
        }
        entry = next;
    }
    if (h[2]) {
        futex_owner_died(p, (h[2] & ~(uint64_t)1) + h[1], tid, h[2] & 1, true);
    }
}

int lu_host_robust_list(const struct lu_process *p, uint64_t head)
{
    if (head && p->guest_base) {
        return 0; /* the entries hold addresses that the kernel couldn't follow */
    }
    /* This takes the place of the C library's own list, which Nandu doesn't use. */
    return (int)LU_HOST(SYS_set_robust_list, head, ROBUST_HEAD_SIZE);
}

int64_t sys_set_robust_list(struct lu_thread *t, const uint64_t a[6])
{
    int error;

    if (a[1] != ROBUST_HEAD_SIZE) {
        return -EINVAL;
    }
    if ((error = lu_host_robust_list(t->process, a[0])) < 0) {
        return error;
    }
    t->robust_list = a[0];
    t->robust_list_size = a[1];
    return 0;
}

int64_t sys_get_robust_list(struct lu_thread *t, const uint64_t a[6])
{
    struct lu_process *p = t->process;
    pid_t tid = (pid_t)a[0];
    uint64_t head = 0, size = ROBUST_HEAD_SIZE;
    bool found = false;

    pthread_mutex_lock(&p->lock);
    for (struct lu_thread *i = p->threads; i && !found; i = i->next) {
        if (i->tid == tid || (tid == 0 && i == t)) {
            head = i->robust_list;
            found = true;
        }
    }
    pthread_mutex_unlock(&p->lock);
    if (!found) {
        /* Of another process: the kernel knows, if that runs without an offset too. */
        void *host_head = NULL;
        size_t host_size = 0;
        int64_t r = LU_HOST(SYS_get_robust_list, tid, &host_head, &host_size);

        if (r < 0) {
            return r;
        }
        head = (uintptr_t)host_head;
    }
    if (lu_copy_to_guest(p, a[2], &size, sizeof(size)) < 0 ||
        lu_copy_to_guest(p, a[1], &head, sizeof(head)) < 0) {
        return -EFAULT;
    }
    return 0;
}
