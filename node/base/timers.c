#include "timers.h"

#include <stdbool.h>
#include <stdlib.h>

#include "check.h"

#define TIMERS_CAPACITY_MIN 64

void timers_init(struct timers *ts, void (*arm)(void *ctx, uint64_t at_ms), void *ctx) {
    *ts = (struct timers){.arm = arm, .ctx = ctx};
}

void timers_release(struct timers *ts) {
    free(ts->heap);
    timers_init(ts, NULL, NULL);
}

static bool timer_before(const struct timer *a, const struct timer *b) {
    return a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order);
}

static void heap_set(struct timers *ts, size_t slot, struct timer *t) {
    ts->heap[slot - 1] = t;
    t->slot = slot;
}

static void heap_up(struct timers *ts, struct timer *t) {
    size_t slot = t->slot;
    while (slot > 1 && timer_before(t, ts->heap[slot / 2 - 1])) {
        heap_set(ts, slot, ts->heap[slot / 2 - 1]);
        slot /= 2;
    }
    heap_set(ts, slot, t);
}

static void heap_down(struct timers *ts, struct timer *t) {
    size_t slot = t->slot;
    while (slot * 2 <= ts->count) {
        size_t child = slot * 2;
        if (child < ts->count && timer_before(ts->heap[child], ts->heap[child - 1])) {
            child++;
        }
        if (!timer_before(ts->heap[child - 1], t)) {
            break;
        }
        heap_set(ts, slot, ts->heap[child - 1]);
        slot = child;
    }
    heap_set(ts, slot, t);
}

static void heap_append(struct timers *ts, struct timer *t) {
    CHECK(ts->count < TIMERS_MAX);
    if (ts->count == ts->capacity) {
        size_t capacity = ts->capacity ? ts->capacity * 2 : TIMERS_CAPACITY_MIN;
        struct timer **heap = reallocarray(ts->heap, capacity, sizeof(struct timer *));
        CHECK(heap);
        ts->heap = heap;
        ts->capacity = capacity;
    }
    ts->count++;
    heap_set(ts, ts->count, t);
}

void timer_start(struct timers *ts, struct timer *t, uint64_t at_ms) {
    CHECK(t->fire);
    CHECK(t->slot == 0 || (t->slot <= ts->count && ts->heap[t->slot - 1] == t));
    /* A start for the past sorts behind everything that is due already: this is what lets timers_run tell by the
     * order alone what was started inside it. */
    t->at_ms = at_ms > ts->ran_ms ? at_ms : ts->ran_ms;
    t->order = ts->next_order++;
    if (t->slot == 0) {
        heap_append(ts, t);
    }
    heap_up(ts, t);
    heap_down(ts, t);
    if (t->slot == 1 && ts->arm) {
        ts->arm(ts->ctx, t->at_ms);
    }
}

void timer_stop(struct timers *ts, struct timer *t) {
    if (t->slot == 0) {
        return;
    }
    CHECK(t->slot <= ts->count);
    CHECK(ts->heap[t->slot - 1] == t);
    struct timer *last = ts->heap[ts->count - 1];
    ts->count--;
    if (last != t) {
        heap_set(ts, t->slot, last);
        heap_up(ts, last);
        heap_down(ts, last);
    }
    t->slot = 0;
}

uint64_t timers_next(const struct timers *ts) {
    return ts->count > 0 ? ts->heap[0]->at_ms : UINT64_MAX;
}

void timers_run(struct timers *ts, uint64_t now_ms) {
    CHECK(now_ms >= ts->ran_ms);
    ts->ran_ms = now_ms;
    uint64_t started_before = ts->next_order;
    while (ts->count > 0) {
        struct timer *t = ts->heap[0];
        if (t->at_ms > now_ms || t->order >= started_before) {
            break;
        }
        timer_stop(ts, t);
        t->fire(t);
    }
}
