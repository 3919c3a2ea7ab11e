/*
 * Coroutines: stacks, switching, waking. What coroutines wait for is in co_wait.c.
 *
 * A coroutine gets its stack when it is entered for the first time and gives it back to its loop's
 * pool when it ends; both happen on the loop's thread, so the pool needs no lock.
 */
#include "util/coroutine.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/event_loop_priv.h"
#include "util/trace.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define TSAN 1
#include <sanitizer/tsan_interface.h>
#endif

enum {
    STACK_SIZE = 1 << 20,   /* address space; memory is used as it is touched */
    POOLED_STACKS = 64,
};

/* At the end of its own memory, above the coroutine's frames. */
struct stack {
    struct stack *next;     /* in the pool */
};

struct coroutine_pool {
    struct stack *first;
    unsigned n;
};

struct coroutine {
    struct bottom_half wake;        /* holds the reference of the loop; destroying it frees all */
    event_fn *fn;
    void *opaque;
    struct stack *stack;            /* NULL: not entered yet */
    void *sp;                       /* of the coroutine while it doesn't run */
    void *caller_sp;                /* of who entered it while it runs */
    bool entered, finished;
#ifdef ASAN
    const void *caller_bottom;
    size_t caller_size;
#endif
#ifdef TSAN
    void *fiber, *caller_fiber;
#endif
};

void coroutine_switch(void **save, void *load);
void *coroutine_prepare(void *top, void (*entry)(void *), void *argument);

/*
 * A property of the thread, as the loop that it runs (event_loop.c): the functions that wait would
 * need it as an argument through all layers, and could be given the wrong one.
 */
static _Thread_local struct coroutine *current;

struct coroutine *coroutine_self(void)
{
    return current;
}

struct event_loop *coroutine_loop(const struct coroutine *co)
{
    return co->wake.loop;
}

/* ---- stacks ---- */

static char *stack_bottom(struct stack *stack)
{
    return (char *)(stack + 1) - STACK_SIZE;
}

static struct stack *stack_get(struct event_loop *loop)
{
    struct coroutine_pool *pool = loop->coroutines;
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    char *memory;

    if (pool && pool->first) {
        struct stack *stack = pool->first;

        pool->first = stack->next;
        pool->n--;
        return stack;
    }
    memory = mmap(NULL, guard + STACK_SIZE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, guard, PROT_NONE) < 0) {
        g_error("no memory for the stack of a coroutine");  /* as g_malloc does */
    }
    return (struct stack *)(memory + guard + STACK_SIZE) - 1;
}

static void stack_unmap(struct stack *stack)
{
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);

    munmap(stack_bottom(stack) - guard, guard + STACK_SIZE);
}

static void stack_put(struct event_loop *loop, struct stack *stack)
{
    struct coroutine_pool *pool = loop->coroutines;

#ifdef ASAN
    /* The frames that never returned. */
    __asan_unpoison_memory_region(stack_bottom(stack), STACK_SIZE);
#endif
    if (!pool) {
        pool = loop->coroutines = g_new0(struct coroutine_pool, 1);
    }
    if (pool->n == POOLED_STACKS) {
        stack_unmap(stack);
        return;
    }
    stack->next = pool->first;
    pool->first = stack;
    pool->n++;
}

void coroutine_pool_free(struct coroutine_pool *pool)
{
    while (pool && pool->first) {
        struct stack *next = pool->first->next;

        stack_unmap(pool->first);
        pool->first = next;
    }
    g_free(pool);
}

/* ---- switching ---- */

static void switch_in(struct coroutine *co)
{
#ifdef ASAN
    void *fake_stack;

    __sanitizer_start_switch_fiber(&fake_stack, stack_bottom(co->stack), STACK_SIZE);
#endif
#ifdef TSAN
    co->caller_fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(co->fiber, 0);
#endif
    coroutine_switch(&co->caller_sp, co->sp);
#ifdef ASAN
    __sanitizer_finish_switch_fiber(fake_stack, NULL, NULL);
#endif
}

static void switch_out(struct coroutine *co)
{
#ifdef ASAN
    void *fake_stack = NULL;

    /* NULL: the frames of a coroutine that ends are given up. */
    __sanitizer_start_switch_fiber(co->finished ? NULL : &fake_stack, co->caller_bottom,
                                   co->caller_size);
#endif
#ifdef TSAN
    __tsan_switch_to_fiber(co->caller_fiber, 0);
#endif
    coroutine_switch(&co->sp, co->caller_sp);
#ifdef ASAN
    __sanitizer_finish_switch_fiber(fake_stack, &co->caller_bottom, &co->caller_size);
#endif
}

static void coroutine_main(void *opaque)
{
    struct coroutine *co = opaque;

#ifdef ASAN
    __sanitizer_finish_switch_fiber(NULL, &co->caller_bottom, &co->caller_size);
#endif
    co->fn(co->opaque);
    co->finished = true;
    switch_out(co);
    g_assert_not_reached();
}

static void first_enter(struct coroutine *co)
{
    co->stack = stack_get(co->wake.loop);
    co->sp = coroutine_prepare((void *)((uintptr_t)co->stack & ~(uintptr_t)15), coroutine_main, co);
#ifdef TSAN
    co->fiber = __tsan_create_fiber(0);
#endif
}

static void coroutine_destroy(struct bottom_half *bh)
{
    struct event_loop *loop = bh->loop;

    g_free(bh);     /* the coroutine's first member */
    event_loop_unref(loop);
}

void coroutine_enter(struct coroutine *co)
{
    struct coroutine *outer = current;

    assert(event_loop_is_owner(co->wake.loop) && !co->entered);
    trace_coroutine_enter(co->wake.loop->log, outer, co);
    if (!co->stack) {
        first_enter(co);
    }
    /* Who woke it gets what was wanted. */
    bottom_half_cancel(&co->wake);
    co->entered = true;
    current = co;
    switch_in(co);
    current = outer;
    co->entered = false;
    if (co->finished) {
        trace_coroutine_end(co->wake.loop->log, co);
#ifdef TSAN
        __tsan_destroy_fiber(co->fiber);
#endif
        stack_put(co->wake.loop, co->stack);
        bottom_half_free(&co->wake);
    }
}

void co_yield(void)
{
    assert(current);
    switch_out(current);
}

static void wake_up(void *opaque)
{
    coroutine_enter(opaque);
}

void coroutine_wake(struct coroutine *co)
{
    bottom_half_schedule(&co->wake);
}

struct coroutine *coroutine_new(struct event_loop *loop, event_fn *fn, void *opaque)
{
    struct coroutine *co = g_new0(struct coroutine, 1);

    _Static_assert(offsetof(struct coroutine, wake) == 0, "destroyed by its bottom half");
    bottom_half_init(&co->wake, event_loop_ref(loop), wake_up, co, coroutine_destroy);
    co->fn = fn;
    co->opaque = opaque;
    return co;
}

void coroutine_start(struct event_loop *loop, event_fn *fn, void *opaque)
{
    coroutine_enter(coroutine_new(loop, fn, opaque));
}
