/* The retained log: entries base+1 .. last, held by reference, contiguous so that a message can borrow a slice. */
#include <stdlib.h>
#include <string.h>

#include "raft_internal.h"

#define LOG_CAPACITY_MIN 8

static size_t entry_bytes(const struct raft_entry *e) {
    return sizeof *e + e->size;
}

uint64_t raft_log_last(const struct raft_log *log) {
    return log->base_index + log->count;
}

struct raft_entry *raft_log_at(const struct raft_log *log, uint64_t index) {
    if (index <= log->base_index || index > raft_log_last(log)) {
        return NULL;
    }
    struct raft_entry *e = log->slots[log->head + (size_t)(index - log->base_index - 1)];
    CHECK(e->index == index);
    return e;
}

uint64_t raft_log_term(const struct raft_log *log, uint64_t index) {
    CHECK(index >= log->base_index);
    CHECK(index <= raft_log_last(log));
    return index == log->base_index ? log->base_term : raft_log_at(log, index)->term;
}

uint64_t raft_log_last_term(const struct raft_log *log) {
    return raft_log_term(log, raft_log_last(log));
}

bool raft_log_matches(const struct raft_log *log, uint64_t index, uint64_t term) {
    return index >= log->base_index && index <= raft_log_last(log) && raft_log_term(log, index) == term;
}

uint64_t raft_log_find_term(const struct raft_log *log, uint64_t index, uint64_t term) {
    if (index < log->base_index) {
        return index;
    }
    if (log->base_term > term) {
        return log->base_index > 0 ? log->base_index - 1 : 0;
    }
    uint64_t low = log->base_index;
    uint64_t high = index < raft_log_last(log) ? index : raft_log_last(log);
    while (low < high) { /* terms never fall along the log (§5.3), so bisection finds the border */
        uint64_t middle = low + (high - low + 1) / 2;
        if (raft_log_term(log, middle) <= term) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    CHECK(raft_log_term(log, low) <= term);
    return low;
}

static int log_resize(struct raft_log *log, size_t capacity) {
    CHECK(capacity >= log->count);
    struct raft_entry **slots = malloc(capacity * sizeof *slots);
    if (!slots) {
        return ERR_NOMEM;
    }
    if (log->count > 0) {
        memcpy(slots, log->slots + log->head, log->count * sizeof *slots);
    }
    free(log->slots);
    log->slots = slots;
    log->head = 0;
    log->capacity = capacity;
    return 0;
}

static int log_make_room(struct raft_log *log) {
    if (log->head + log->count < log->capacity) {
        return 0;
    }
    if (log->head > log->capacity / 2) {
        memmove(log->slots, log->slots + log->head, log->count * sizeof *log->slots);
        log->head = 0;
        return 0;
    }
    return log_resize(log, log->capacity ? 2 * log->capacity : LOG_CAPACITY_MIN);
}

int raft_log_push(struct raft_log *log, struct raft_entry *e) {
    CHECK(e->index == raft_log_last(log) + 1);
    CHECK(e->term >= raft_log_last_term(log));
    int rc = log_make_room(log);
    if (rc != 0) {
        return rc;
    }
    log->slots[log->head + log->count++] = e;
    log->bytes += entry_bytes(e);
    return 0;
}

static void log_drop(struct raft_log *log, size_t slot) {
    struct raft_entry *e = log->slots[slot];
    CHECK(log->bytes >= entry_bytes(e));
    log->bytes -= entry_bytes(e);
    raft_entry_unref(e);
}

void raft_log_truncate(struct raft_log *log, uint64_t from) {
    CHECK(from > log->base_index);
    while (raft_log_last(log) >= from) {
        log_drop(log, log->head + log->count - 1);
        log->count--;
    }
}

/* A group that has become quiet gives its memory back; failing to is harmless. */
static void log_shrink(struct raft_log *log) {
    if (log->count == 0) {
        free(log->slots);
        log->slots = NULL;
        log->head = log->capacity = 0;
    } else if (log->capacity > 4 * log->count && log->capacity > 4 * LOG_CAPACITY_MIN) {
        (void)log_resize(log, 2 * log->count);
    }
}

void raft_log_compact(struct raft_log *log, uint64_t index) {
    CHECK(index >= log->base_index);
    CHECK(index <= raft_log_last(log));
    uint64_t term = raft_log_term(log, index);
    while (log->base_index < index) {
        log_drop(log, log->head);
        log->head++;
        log->count--;
        log->base_index++;
    }
    log->base_term = term;
    log_shrink(log);
}

void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term) {
    for (size_t i = 0; i < log->count; i++) {
        log_drop(log, log->head + i);
    }
    CHECK(log->bytes == 0);
    log->head = log->count = 0;
    log->base_index = index;
    log->base_term = term;
    log_shrink(log);
}

void raft_log_release(struct raft_log *log) {
    raft_log_reset(log, 0, 0);
    CHECK(log->slots == NULL);
}
