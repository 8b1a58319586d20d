/* The event queue of a simulated world: an intrusive binary heap ordered by (time, order of scheduling). */
#ifndef SHOAL_EVENTS_H
#define SHOAL_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#define EVENTS_MAX (1u << 22)

struct event {
    void (*fire)(struct event *e);
    uint32_t host; /* a paused host's events wait; 0: the world's own */
    size_t slot;   /* 1-based place in the heap; 0: not scheduled */
};

struct event_entry {
    uint64_t at_us;
    uint64_t order;
    struct event *event;
};

struct events {
    struct event_entry *heap;
    size_t count, capacity;
    uint64_t next_order;
};

void events_init(struct events *q);
void events_release(struct events *q);
/* (Re)schedules. Aborts the process when memory runs out. */
void events_add(struct events *q, struct event *e, uint64_t at_us);
void events_cancel(struct events *q, struct event *e);               /* fine when it is not scheduled */
uint64_t events_time(const struct events *q, const struct event *e); /* of a scheduled one */
/* UINT64_MAX when empty. */
uint64_t events_next_time(const struct events *q);
/* Takes the first one out; NULL when empty. */
struct event *events_pop(struct events *q, uint64_t *ret_at_us);

#endif
