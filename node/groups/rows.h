/* How a replica lies on disk.
 *   HARD     group (4)            -> replica id, tombstone, term, vote, log base and the configuration at it
 *   LOG      group (4), index (8) -> term (8), kind (1), data
 *   APPLIED  group (4)            -> applied index, its term, last stamp, configuration in force there
 * Everything of one replica changes together in the writer's transactions, so a restart finds a state that some moment
 * of the past had. */
#ifndef SHOAL_ROWS_H
#define SHOAL_ROWS_H

#include "raft.h"
#include "txn.h"

struct hard_row {
    uint64_t replica;   /* 0: none here */
    uint64_t tombstone; /* replica ids up to this one are dead for ever on this node */
    struct raft_hard hard;
    uint64_t base_index, base_term;
    struct raft_config config; /* at the base; count 0: awaiting the first snapshot */
};
struct applied_row {
    uint64_t index, term, stamp_ms;
    struct raft_config config;
};

int hard_row_put(struct txn *t, uint32_t group, const struct hard_row *row);
int hard_row_get(struct txn *t, uint32_t group, struct hard_row *out); /* ERR_NOT_FOUND, ERR_CORRUPT */
int applied_row_put(struct txn *t, uint32_t group, const struct applied_row *row);
int applied_row_get(struct txn *t, uint32_t group, struct applied_row *out);
int applied_row_del(struct txn *t, uint32_t group); /* absence is fine */

int log_put(struct txn *t, uint32_t group, const struct raft_entry *e);
/* Deletes the entries first..last (inclusive). */
int log_del(struct txn *t, uint32_t group, uint64_t first, uint64_t last);
/* The entries from `first` on, in order; the array and one reference each are the caller's. ERR_CORRUPT for rows that
 * are no entries, or when one is missing. */
int log_load(struct txn *t, uint32_t group, uint64_t first, struct raft_entry ***ret_entries, size_t *ret_count);

#endif
