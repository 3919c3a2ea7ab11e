/*
 * Clocks and timers. Times are int64_t nanoseconds. Code of devices takes a clock that it is given;
 * nothing else in the program asks the host for the time.
 */
#ifndef NANDU_UTIL_CLOCK_H
#define NANDU_UTIL_CLOCK_H

#include "util/auto.h"
#include "util/event_loop.h"

enum clock_kind {
    CLOCK_REAL,     /* the host's monotonic clock: goes on while the machine is stopped */
    CLOCK_HOST,     /* the host's wall clock since the epoch; may jump */
    CLOCK_VIRTUAL,  /* the machine's: stands while the machine is stopped */
};

/*
 * One machine's clocks. The virtual clock starts at 0, stopped. Thread-safe; timers belong to the
 * loops that they were made on. Where the kind is CLOCK_REAL or CLOCK_HOST, clocks may be NULL.
 */
struct clocks;
struct clocks *clocks_new(void);
struct clocks *clocks_ref(struct clocks *clocks);
void clocks_unref(struct clocks *clocks);
DEFINE_AUTO_PTR(clocks, clocks_unref)

int64_t clocks_now(struct clocks *clocks, enum clock_kind kind);
void clocks_start_virtual(struct clocks *clocks);
void clocks_stop_virtual(struct clocks *clocks);
/* Makes the virtual clock a manual one that only clocks_step moves (tests, -accel qtest). */
void clocks_set_manual(struct clocks *clocks);
/* Moves a manual virtual clock by ns (not back) and wakes the loops whose timers became due. */
void clocks_step(struct clocks *clocks, int64_t ns);
/* Any thread: whether the machine's time goes on, or may be stepped. */
bool clocks_virtual_runs(struct clocks *clocks);
/* The time of a virtual clock that stands (a restored machine's); not negative. */
void clocks_set_virtual(struct clocks *clocks, int64_t ns);
/*
 * What is to stand while the machine's time does: fn(opaque, runs) is called when that changes, by
 * the thread that starts and stops the clock, which is the one that adds and removes listeners. At
 * a stop the clock stands already, at a start it runs.
 */
typedef void clocks_changed(void *opaque, bool runs);
void clocks_add_listener(struct clocks *clocks, clocks_changed *fn, void *opaque);
void clocks_remove_listener(struct clocks *clocks, void *opaque);
/* The earliest deadline of the virtual clock's timers, on all loops; -1: none is armed. */
int64_t clocks_next_deadline(struct clocks *clocks);

struct timer;
/*
 * fn(opaque) runs on loop's thread at or after the deadline, once for each arming. Timers of a
 * virtual clock that is stopped don't run, even if they are due; after a jump of the host's clock
 * its timers may be late.
 */
struct timer *timer_new(struct event_loop *loop, struct clocks *clocks, enum clock_kind kind,
                        event_fn *fn, void *opaque);
/* Absolute; any thread; moves an armed one. */
void timer_arm(struct timer *timer, int64_t deadline_ns);
void timer_disarm(struct timer *timer);                     /* any thread */
bool timer_is_armed(const struct timer *timer);
int64_t timer_deadline(const struct timer *timer);          /* -1: not armed */
void timer_free(struct timer *timer);                       /* owner's thread; also in its own fn */
DEFINE_AUTO_PTR(timer, timer_free)

#endif
