/* How a replica lies on disk, besides its entries in the journal.
 *   HARD     group (4)  ->  replica id, tombstone, term, vote, log base and the configuration at it
 *   APPLIED  group (4)  ->  replica id, applied index, its term, last stamp, configuration in force there
 * HARD and the journal are in the log's environment, which is durable before anything is promised. APPLIED and the
 * state that it speaks about change together, in an environment that may be behind and is brought forward from the log.
 */
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
    uint64_t replica;
    uint64_t index; /* 0: nothing; the state was wiped, because that replica is gone */
    uint64_t term, stamp_ms;
    struct raft_config config;
};

int hard_row_put(struct txn *t, uint32_t group, const struct hard_row *row);
int hard_row_get(struct txn *t, uint32_t group, struct hard_row *out); /* ERR_NOT_FOUND, ERR_CORRUPT */
int applied_row_put(struct txn *t, uint32_t group, const struct applied_row *row);
int applied_row_get(struct txn *t, uint32_t group, struct applied_row *out);

#endif
