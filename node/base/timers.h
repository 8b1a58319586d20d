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
};

void timers_init(struct timers *ts);
void timers_release(struct timers *ts); /* all timers must be stopped or abandoned */
/* (Re)starts t to fire once at at_ms (monotonic). Aborts the process when memory for the heap runs out. */
void timer_start(struct timers *ts, struct timer *t, uint64_t at_ms);
void timer_stop(struct timers *ts, struct timer *t);
/* Time of the next timer, UINT64_MAX when none. */
uint64_t timers_next(const struct timers *ts);
/* Fires everything due at now_ms, in order; timers started inside for <= now_ms fire in the next call. */
void timers_run(struct timers *ts, uint64_t now_ms);

#endif
