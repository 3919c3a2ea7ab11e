/*
 * A mutex whose owner can be found dead.
 *
 * A guest's vfork child is a task of its own that runs in its parent's memory, and it may be killed
 * at any instruction, with the translator's lock held. The C library can't tell: child and parent
 * are the same thread to it, also to its robust mutexes. So the word that is the lock names its
 * owner by an address on the owner's stack.
 */
#ifndef NANDU_DBT_LOCK_H
#define NANDU_DBT_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero is free. */
struct dbt_lock {
    uint64_t owner;    /* an address on the stack of who holds it; 0: free */
    uint32_t waiters;
    uint32_t sequence; /* what waiters sleep on */
};

void dbt_lock(struct dbt_lock *lock);
bool dbt_trylock(struct dbt_lock *lock);
void dbt_unlock(struct dbt_lock *lock);
/* The task that ran on [stack] is gone: true if it held the lock, which is now the caller's. */
bool dbt_lock_take_over(struct dbt_lock *lock, const void *stack, size_t size);

#endif
