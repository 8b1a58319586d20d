#include "events.h"

#include <stdbool.h>
#include <stdlib.h>

#include "check.h"

void events_init(struct events *q) {
    CHECK(q != NULL);
    *q = (struct events){0};
}

void events_release(struct events *q) {
    CHECK(q != NULL);
    free(q->heap);
    *q = (struct events){0};
}

static bool earlier(const struct event_entry *a, const struct event_entry *b) {
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void place(struct events *q, size_t slot, struct event_entry entry) {
    q->heap[slot - 1] = entry;
    entry.event->slot = slot;
}

static void sift_up(struct events *q, size_t slot) {
    struct event_entry entry = q->heap[slot - 1];
    while (slot > 1 && earlier(&entry, &q->heap[slot / 2 - 1])) {
        place(q, slot, q->heap[slot / 2 - 1]);
        slot /= 2;
    }
    place(q, slot, entry);
}

static void sift_down(struct events *q, size_t slot) {
    struct event_entry entry = q->heap[slot - 1];
    for (size_t child = slot * 2; child <= q->count; child = slot * 2) {
        if (child < q->count && earlier(&q->heap[child], &q->heap[child - 1])) {
            child++;
        }
        if (!earlier(&q->heap[child - 1], &entry)) {
            break;
        }
        place(q, slot, q->heap[child - 1]);
        slot = child;
    }
    place(q, slot, entry);
}

static void grow(struct events *q) {
    size_t capacity = q->capacity == 0 ? 1024 : q->capacity * 2;
    CHECK(capacity <= EVENTS_MAX);
    struct event_entry *heap = realloc(q->heap, capacity * sizeof(*heap));
    CHECK(heap != NULL);
    q->heap = heap;
    q->capacity = capacity;
}

void events_add(struct events *q, struct event *e, uint64_t at_us) {
    CHECK(e->fire != NULL);
    events_cancel(q, e);
    if (q->count == q->capacity) {
        grow(q);
    }
    q->count++;
    place(q, q->count, (struct event_entry){.at_us = at_us, .order = q->next_order++, .event = e});
    sift_up(q, q->count);
}

void events_cancel(struct events *q, struct event *e) {
    size_t slot = e->slot;
    if (slot == 0) {
        return;
    }
    CHECK(slot <= q->count);
    CHECK(q->heap[slot - 1].event == e);
    e->slot = 0;
    struct event_entry last = q->heap[q->count - 1];
    q->count--;
    if (last.event == e) {
        return;
    }
    place(q, slot, last);
    sift_up(q, slot);
    sift_down(q, last.event->slot);
}

uint64_t events_time(const struct events *q, const struct event *e) {
    CHECK(e->slot > 0 && e->slot <= q->count);
    CHECK(q->heap[e->slot - 1].event == e);
    return q->heap[e->slot - 1].at_us;
}

uint64_t events_next_time(const struct events *q) {
    return q->count == 0 ? UINT64_MAX : q->heap[0].at_us;
}

struct event *events_pop(struct events *q, uint64_t *ret_at_us) {
    if (q->count == 0) {
        return NULL;
    }
    struct event *e = q->heap[0].event;
    *ret_at_us = q->heap[0].at_us;
    events_cancel(q, e);
    CHECK(e->slot == 0);
    return e;
}
