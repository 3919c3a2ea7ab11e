#include "dbt/lock.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool acquire(struct dbt_lock *lock, const void *frame)
{
    uint64_t none = 0;

    return __atomic_compare_exchange_n(&lock->owner, &none, (uintptr_t)frame, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void wake(struct dbt_lock *lock, int n)
{
    __atomic_fetch_add(&lock->sequence, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &lock->sequence, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

bool dbt_trylock(struct dbt_lock *lock)
{
    return acquire(lock, __builtin_frame_address(0));
}

void dbt_lock(struct dbt_lock *lock)
{
    const void *frame = __builtin_frame_address(0);

    if (acquire(lock, frame)) {
        return;
    }
    /* A waiter that is killed leaves the count too high, which costs wake-ups and nothing else. */
    __atomic_fetch_add(&lock->waiters, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        uint32_t sequence = __atomic_load_n(&lock->sequence, __ATOMIC_SEQ_CST);

        if (acquire(lock, frame)) {
            break;
        }
        syscall(SYS_futex, &lock->sequence, FUTEX_WAIT_PRIVATE, sequence, NULL, NULL, 0);
    }
    __atomic_fetch_sub(&lock->waiters, 1, __ATOMIC_SEQ_CST);
}

void dbt_unlock(struct dbt_lock *lock)
{
    __atomic_store_n(&lock->owner, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&lock->waiters, __ATOMIC_SEQ_CST)) {
        wake(lock, 1);
    }
}

bool dbt_lock_take_over(struct dbt_lock *lock, const void *stack, size_t size)
{
    uint64_t owner = __atomic_load_n(&lock->owner, __ATOMIC_SEQ_CST);

    if (owner - (uintptr_t)stack < size) {
        __atomic_store_n(&lock->owner, (uintptr_t)__builtin_frame_address(0), __ATOMIC_SEQ_CST);
        return true;
    }
    /* It may have died between giving the lock back and waking who waits for it. */
    wake(lock, INT_MAX);
    return false;
}
