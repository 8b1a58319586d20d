/* Timers of one node: an intrusive binary min-heap over the clock port, ordered by (time, start order), so that runs
 * are deterministic. Starting, moving and stopping are O(log n). */
#ifndef SHOAL_TIMERS_H
#define SHOAL_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct timer {
    void (*fire)(struct timer *t);
    uint64_t at_ms;
    uint64_t order;
    size_t slot; /* 1-based place in the heap; 0: not running */
};

struct timers {
    struct timer **heap;
    size_t count;
    size_t capacity;
    uint64_t next_order;
    void (*arm)(void *ctx, uint64_t at_ms); /* the first timer changed to an earlier time; NULL: nobody cares */
    void *ctx;
    uint64_t ran_ms; /* time of the latest timers_run */
};

#define TIMERS_MAX (1u << 20) /* running at once; more means that they are never stopped */

void timers_init(struct timers *ts, void (*arm)(void *ctx, uint64_t at_ms), void *ctx);
void timers_release(struct timers *ts); /* all timers must be stopped or abandoned */
/* (Re)starts t to fire once at at_ms (monotonic); a time before the latest timers_run counts as the time of that run.
 * Aborts the process when memory for the heap runs out. */
void timer_start(struct timers *ts, struct timer *t, uint64_t at_ms);
void timer_stop(struct timers *ts, struct timer *t); /* fine when it is not running */
/* Time of the next timer, UINT64_MAX when none. */
uint64_t timers_next(const struct timers *ts);
/* Fires everything due at now_ms, in order; timers started inside for <= now_ms fire in the next call. A timer is
 * stopped before it is fired, so `fire` may restart or free it. now_ms never goes back. */
void timers_run(struct timers *ts, uint64_t now_ms);

#endif
