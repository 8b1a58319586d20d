/* The journal: the log entries of all replicas of this node in the order in which they came, so that one turn of the
 * loop costs one sequential write however many groups it concerns.
 *
 * On disk a batch is the entries of one operation, written as parts that fill their pages:
 *
 *   LOG   batch (8), part (2)  ->  up to JOURNAL_PART bytes of:
 *         run: group (4), replica (8), cut (8), first (8), count (4), then count times: term (8), kind (1), size (4),
 * data
 *
 * Batches are read in order. A run first drops the replica's entries from `cut` on (0: none), then sets its own, from
 * `first` on. Batches go in order too, the oldest first, so what a cut dropped can never come back.
 *
 * The oldest batch goes when nothing in it is needed; when too much is kept because of a few entries in it, these are
 * written again at the end. Too much is relative to what is needed, as in any log-structured store: a journal of which
 * most is needed gains nothing by going round and round. */
#ifndef SHOAL_JOURNAL_H
#define SHOAL_JOURNAL_H

#include <stdbool.h>

#include <bsd/sys/queue.h>

#include "raft.h"
#include "txn.h"

#define JOURNAL_PART (16u * 4096 - 16)          /* a value of whole pages, less the header of the first */
#define JOURNAL_KEEP_BYTES (16u * 1024 * 1024)  /* what may stay beside two times what is needed */
#define JOURNAL_BATCH_BYTES (32u * 1024 * 1024) /* a batch that has reached this much is closed */

struct journal_run {
    uint32_t group;
    uint64_t replica;
    uint64_t first, last; /* last == first - 1: only a cut */
};

struct journal_batch {
    STAILQ_ENTRY(journal_batch) link;
    uint64_t number;
    uint64_t bytes;
    uint32_t count, capacity;
    uint32_t dead; /* the first so many runs are needed no more, or are written again */
    struct journal_run *runs;
};

/* What lies on disk, as the loop knows it. */
struct journal {
    STAILQ_HEAD(, journal_batch) batches; /* the oldest first */
    uint64_t next;                        /* number of the next batch */
    uint64_t bytes;
    uint64_t credit; /* bytes that may be written again: as many as were written for the first time */
};

void journal_init(struct journal *j);
void journal_release(struct journal *j);
/* A batch at the end. */
struct journal_batch *journal_add(struct journal *j, uint64_t number);
void journal_add_run(struct journal *j, struct journal_batch *b, const struct journal_run *run, uint64_t bytes);
void journal_drop_oldest(struct journal *j);
/* So many bytes of a batch are written for the first time. */
void journal_earn(struct journal *j, uint64_t bytes);
/* Whether entries of the oldest batch are to be written again, when `needed` bytes of all that is there are needed. */
bool journal_is_sparse(const struct journal *j, uint64_t needed);
/* They are so many bytes; false: more than may be written again by now. */
bool journal_spend(struct journal *j, uint64_t bytes);
uint64_t journal_run_bytes(struct raft_entry *const *entries, uint32_t count);

/* ---- on disk ----------------------------------------------------------------------------------------------------- */

struct journal_writer {
    struct txn *txn;
    uint64_t batch;
    uint16_t part;
    uint32_t used;
    int error; /* sticky */
    uint8_t *bytes;
};

void journal_write_begin(struct journal_writer *w, struct txn *t, uint64_t batch);
void journal_write_run(struct journal_writer *w, uint32_t group, uint64_t replica, uint64_t cut, uint64_t first,
                       struct raft_entry *const *entries, uint32_t count);
int journal_write_end(struct journal_writer *w);

int journal_delete(struct txn *t, uint64_t first_batch, uint64_t last_batch);

struct journal_visitor {
    /* A run begins; entries follow in order. Errors end the reading. */
    int (*run)(void *ctx, const struct journal_run *run, uint64_t cut);
    int (*entry)(void *ctx, const struct journal_run *run, struct raft_entry *e); /* takes the reference */
    void *ctx;
};
/* Reads the batches from j->next on; j gets them. ERR_CORRUPT for bytes that are no batch. */
int journal_load(struct txn *t, struct journal *j, const struct journal_visitor *visitor);

#endif
