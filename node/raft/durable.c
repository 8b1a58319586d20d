/* What the disk has confirmed. Batches are numbered and finish in order. Entries are remembered by the batch that
 * carries them, as runs: (seq, last) says that the entries now in the log up to `last` are durable once batch seq is.
 * Truncation cuts the runs with the log, so the confirmation of a batch never vouches for entries that have taken the
 * place of those it carried (the acknowledgement ABA). */
#include <stdlib.h>
#include <string.h>

#include "raft_internal.h"

#define RUNS_CAPACITY_MIN 8

void raft_durable_release(struct raft_durable *d) {
    free(d->runs);
    d->runs = NULL;
    d->count = d->capacity = 0;
}

static int durable_grow(struct raft_durable *d) {
    size_t capacity = d->capacity ? 2 * d->capacity : RUNS_CAPACITY_MIN;
    struct raft_run *runs = realloc(d->runs, capacity * sizeof *runs);
    if (!runs) {
        return ERR_NOMEM;
    }
    d->runs = runs;
    d->capacity = capacity;
    return 0;
}

int raft_durable_note(struct raft_durable *d, uint64_t seq, uint64_t last) {
    CHECK(seq == d->seq);
    CHECK(d->count == 0 || d->runs[d->count - 1].seq < seq);
    CHECK(d->count == 0 || d->runs[d->count - 1].last <= last);
    if (d->count == RAFT_RUNS_MAX) { /* merged with the newest: confirmed later than could be, never earlier */
        d->runs[d->count - 1] = (struct raft_run){.seq = seq, .last = last};
        return 0;
    }
    if (d->count == d->capacity) {
        int rc = durable_grow(d);
        if (rc != 0) {
            return rc;
        }
    }
    d->runs[d->count++] = (struct raft_run){.seq = seq, .last = last};
    return 0;
}

void raft_durable_truncate(struct raft_durable *d, uint64_t last) {
    if (d->index > last) {
        d->index = last;
    }
    for (size_t i = d->count; i > 0 && d->runs[i - 1].last > last; i--) {
        d->runs[i - 1].last = last;
    }
}

void raft_durable_reset(struct raft_durable *d) {
    d->index = 0;
    d->count = 0;
}

void raft_durable_confirm(struct raft_durable *d, uint64_t seq) {
    CHECK(seq <= d->seq);
    if (seq <= d->done) {
        return;
    }
    d->done = seq;
    size_t n = 0;
    while (n < d->count && d->runs[n].seq <= seq) {
        if (d->runs[n].last > d->index) {
            d->index = d->runs[n].last;
        }
        n++;
    }
    d->count -= n;
    if (d->count > 0) {
        memmove(d->runs, d->runs + n, d->count * sizeof *d->runs);
    } else {
        raft_durable_release(d); /* a quiet group keeps nothing */
    }
}

bool raft_durable_hard(const struct raft_durable *d) {
    CHECK(d->hard_seq <= d->seq);
    return d->hard_seq <= d->done;
}
