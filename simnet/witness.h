/* Looks at every replica after each event that stepped it, and compares what it shows with what every replica of its
 * group has ever shown (ledger.h) and with what lies on the disks. What it finds is a violation at once, not a symptom
 * of one:
 *
 *   one leader in a term, with a quorum's votes on their disks; it lacks nothing that was committed before its term; it
 *   commits by counting only what is durable on a quorum's disks, and only entries of its own term; logs match; what is
 * committed never changes, over restarts too; configurations form one chain; terms never fall, votes never change; an
 * id that is dead on a disk never lives again; replicas that have applied the same have the same tables, byte by byte.
 */
#ifndef SHOAL_WITNESS_H
#define SHOAL_WITNESS_H

#include "journal.h"
#include "ledger.h"
#include "swarm.h"

#define WITNESS_DIGESTS 8 /* of the tables of one group, remembered */

struct witness_view { /* of one replica, since its node's start */
    uint64_t replica; /* 0: not seen yet */
    uint64_t steps, led_term;
    uint64_t base, commit;
    uint64_t last, last_term; /* of the log, looked through up to there */
    struct raft_hard hard;
    bool leading;
};

#define WITNESS_ENTRIES 256

struct witness_log { /* the end of one replica's log, as it lies on its disk */
    uint64_t replica;
    struct {
        uint64_t index, term;
    } entries[WITNESS_ENTRIES]; /* each at its index modulo their number; index 0: none */
};

struct witness_host {
    uint32_t boots;
    struct journal journal;   /* read up to its next batch */
    struct witness_log *logs; /* by group */
    uint64_t steps;
    struct witness_view *views; /* by group */
    uint64_t *dead;             /* by group: replica ids up to this one have a tombstone on the disk */
    uint64_t *held;             /* by group: the highest replica id that was on the disk */
};

struct witness_tables { /* of a group, at some applied indexes */
    uint64_t index[WITNESS_DIGESTS];
    struct digest digest[WITNESS_DIGESTS];
    uint32_t next;
};

struct witness {
    struct swarm *swarm;
    uint32_t groups;
    struct ledger *ledgers;        /* by group */
    struct witness_tables *tables; /* by group */
    struct witness_host *hosts;    /* by number - 1 */
    uint32_t next_table;           /* group to be looked at by witness_sample */
    /* A configuration was committed in which a learner became a voter. May be NULL. */
    void (*promoted)(void *ctx, uint32_t group, uint32_t node);
    void *ctx;
};

void witness_init(struct witness *w, struct swarm *swarm, unsigned bits);
void witness_release(struct witness *w);
/* The node of a host has been started: it remembers no more than its disks. */
void witness_started(struct witness *w, uint32_t host);
/* The disks of a host are empty: nothing that it promised holds. */
void witness_wiped(struct witness *w, uint32_t host);
/* After every event of a host that is up. Trouble goes to swarm_fail. */
void witness_look(struct witness *w, uint32_t host);
/* Now and then: compares the tables of one group after the other. */
void witness_sample(struct witness *w);
/* The host's disk holds everything of the group that was ever committed. */
bool witness_whole(struct witness *w, uint32_t host, uint32_t group);
/* The newest committed configuration of a group; NULL: none yet. */
const struct raft_config *witness_config(const struct witness *w, uint32_t group);

#endif
