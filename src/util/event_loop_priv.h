/*
 * The event loop's inside: for event_loop*.c, and for clock.c and coroutine.c, which keep their
 * state in it (a program may have several loops, and there are no globals).
 *
 * Who may touch what: `lock` guards the timers (any thread arms them); `pending`, `waiting` and
 * `stopping` are atomics; all else belongs to the owner's thread.
 */
#ifndef NANDU_UTIL_EVENT_LOOP_PRIV_H
#define NANDU_UTIL_EVENT_LOOP_PRIV_H

#include <liburing.h>
#include <poll.h>

#include "util/event_loop.h"

struct log;

struct watch_side {
    event_fn *fn;
    void *opaque;
};

/*
 * One watched descriptor. Freed when it is removed, not in the ready list and unknown to the
 * kernel.
 */
struct watch {
    int fd;
    struct watch_side read, write;
    short ready; /* POLLIN, POLLOUT: reported and not dispatched yet */
    bool queued; /* in loop->ready, or being dispatched */
    bool removed;
    bool edge;  /* the loop's own eventfd: reports each write, is never read */
    GList link; /* in loop->watches */
    /* The back end's. */
    short armed;     /* what the kernel was asked for; 0: nothing */
    bool cancelling; /* io_uring: armed, and the request to forget that is on its way */
    bool always;     /* epoll: a file that it doesn't take, which is always ready */
};

/* What waits in the kernel. */
struct event_backend {
    const char *name;
    bool (*open)(struct event_loop *loop, GError **error);
    void (*close)(struct event_loop *loop);
    /* The descriptor that is readable when wait() wouldn't block. */
    int (*fd)(const struct event_loop *loop);
    /* What the watch waits for may have changed, or it was dispatched. */
    void (*update)(struct event_loop *loop, struct watch *watch);
    /* The watch was removed: afterwards the kernel has no reference to the file any more. */
    void (*forget)(struct event_loop *loop, struct watch *watch);
    /* Hands to the kernel what is queued for it. */
    void (*submit)(struct event_loop *loop);
    /* Whether wait() has something, as far as can be seen without a system call. */
    bool (*peek)(const struct event_loop *loop);
    /* Waits up to timeout_ns (-1: for ever), then calls event_loop_ready and completes requests. */
    void (*wait)(struct event_loop *loop, int64_t timeout_ns);
};

extern const struct event_backend event_backend_uring, event_backend_epoll;

struct bottom_half {
    struct bottom_half *next; /* in loop->pending */
    unsigned flags;           /* BH_, atomic */
    struct event_loop *loop;
    event_fn *fn;
    void *opaque;
    void (*destroy)(struct bottom_half *bh);
};

enum {
    BH_SCHEDULED = 1, /* its function is to be called */
    BH_QUEUED = 2,    /* is in the list: of all who schedule it, one puts it there */
    BH_DELETED = 4,   /* to be destroyed when it is taken from the list */
    BH_ONCE = 8,      /* destroyed after the call */
};

/* What somebody keeps for the loop. */
struct loop_local {
    const void *key;
    void *value;
    void (*destroy)(void *value);
};

struct timer_list;
struct coroutine_pool;
struct thread_pool;

/* Numbers of io_uring's fixed files or buffers. */
struct fixed_table {
    bool tried, usable; /* the kernel was asked for it, and made it */
    uint64_t used;      /* a bit each */
};

struct event_loop {
    gatomicrefcount refs;
    char *name;
    const struct event_backend *backend;
    struct log *log;
    GThread *owner; /* atomic; NULL: no thread runs it now */
    bool in_turn;
    bool progress;     /* this turn called somebody */
    unsigned stopping; /* atomic */

    /* Other threads' way in. */
    struct bottom_half *pending; /* atomic; last in, first out */
    unsigned waiting;            /* atomic: the owner sleeps, or is about to: write wake_fd */
    int wake_fd;

    GHashTable *by_fd; /* fd -> struct watch, not the removed ones */
    GQueue watches;    /* all */
    GQueue ready;      /* of struct watch */

    GPtrArray *pollers;
    int64_t poll_ns, poll_max_ns, poll_grow, poll_shrink;
    unsigned in_flight;     /* requests that the ring has */

    GMutex lock;
    GPtrArray *timer_lists; /* of struct timer_list, one for each clock in use */
    GSource *source;        /* attached: the GLib side */
    int timer_fd;           /* for an attached loop: GLib's own timeouts are too coarse */
    int64_t timer_fd_deadline;

    struct coroutine_pool *coroutines;
    struct thread_pool *threads; /* co_run_in_pool's */
    GArray *locals;              /* struct loop_local; few */

    struct io_uring ring;
    GMutex fixed_lock; /* of these */
    struct fixed_table fixed_files, fixed_buffers;
    unsigned max_batch; /* io_uring: entries that wait for the end of the turn; atomic; 0: a few */
    int epoll_fd;
    GQueue always_ready; /* epoll: the watches that are `always` */
    bool no_pwait2;      /* epoll: the kernel is older than 5.11 */
};

/* With the given back end only, for tests. */
struct event_loop *event_loop_new_with(const char *name, const struct event_backend *backend,
                                       GError **error);

/* Back ends report with it: events are POLLIN and the like. */
void event_loop_ready(struct event_loop *loop, struct watch *watch, short events);
/* What a watch waits for. */
short watch_wanted(const struct watch *watch);
/* Frees a removed watch that nobody refers to any more. */
void watch_release(struct event_loop *loop, struct watch *watch);

/* event_loop_watch for one direction (POLLIN or POLLOUT); fn NULL removes it. */
void event_loop_watch_side(struct event_loop *loop, int fd, short direction, event_fn *fn,
                           void *opaque);
/* The side of the watch of fd, or NULL. */
const struct watch_side *event_loop_watched_side(struct event_loop *loop, int fd, short direction);

/* Watches an eventfd that is never read. */
void event_loop_watch_edge(struct event_loop *loop, int fd, event_fn *fn);
void event_loop_dispatch_ready(struct event_loop *loop);

/* Makes the owner look at pending and at the timers. Any thread. */
void event_loop_kick(struct event_loop *loop);

/* A bottom half inside of another structure, which keeps the loop alive; destroy ends its use. */
void bottom_half_init(struct bottom_half *bh, struct event_loop *loop, event_fn *fn, void *opaque,
                      void (*destroy)(struct bottom_half *bh));

/* bottom_half_schedule for callers who know that the loop is there until it returns. */
void bottom_half_schedule_alive(struct bottom_half *bh);

/* clock.c: the earliest deadline on the host's monotonic clock, ns; 0: now; INT64_MAX: none. */
int64_t timers_deadline(struct event_loop *loop);
void timers_run(struct event_loop *loop);
void timers_clear(struct event_loop *loop);
/* The host's monotonic clock, ns. */
int64_t clock_monotonic(void);

/* event_loop_fixed.c: nothing is fixed any more, and nothing will be: the ring goes. */
void event_loop_close_fixed(struct event_loop *loop);

/* coroutine.c */
void coroutine_pool_free(struct coroutine_pool *pool);

#endif
