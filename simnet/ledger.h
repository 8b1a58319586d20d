/* What the replicas of one group have ever shown, over all hosts and restarts, and what contradicts it. Knows the rules
 * of consensus only, not the world: whoever looks at replicas tells it what it saw. */
#ifndef SHOAL_LEDGER_H
#define SHOAL_LEDGER_H

#include "raft.h"

#define LEDGER_TERMS_MAX (1u << 20)   /* leaderships of one group */
#define LEDGER_ENTRIES_MAX (1u << 26) /* indexes of one group */

/* One content that was seen at an index. */
struct ledger_entry {
    struct ledger_entry *other; /* at the same index, of another term */
    uint64_t term, before;      /* before: the term of the entry in front of it */
    uint64_t digest;
};

struct ledger_slot { /* of one index */
    struct ledger_entry *seen;
    const struct ledger_entry *committed; /* one of those; NULL: not known to be */
    uint64_t committed_in;                /* the term of the leader that committed it */
};

struct ledger_leader {
    uint64_t term;
    uint32_t host, boot;
};

struct ledger {
    struct ledger_slot *slots; /* by index - 1 */
    uint64_t slot_count;
    uint64_t committed; /* everything up to here is */
    struct ledger_leader *leaders;
    size_t leader_count, leader_capacity;
    uint32_t *holders; /* by replica id - 1: the host that holds it; 0: not seen */
    uint64_t holder_count;
    struct raft_config *configs; /* committed, in order */
    size_t config_count, config_capacity;
};

void ledger_release(struct ledger *l);
/* Each: NULL when it agrees with everything before, otherwise what is wrong, in a few words. */

/* The first replica of all: the group begins with this snapshot. */
void ledger_begin(struct ledger *l, uint64_t index, uint64_t term, const struct raft_config *config);
/* A log holds this entry, and before it one of that term (Raft §5.3: the same index and term, the same log). */
const char *ledger_entry(struct ledger *l, const struct raft_entry *e, uint64_t before);
/* A replica in `term` knows the entry, which was given to ledger_entry, as committed (§5.4: it never changes). */
const char *ledger_commit(struct ledger *l, const struct raft_entry *e, uint64_t term);
/* A replica's log begins after this one, with this configuration in force. */
const char *ledger_base(const struct ledger *l, uint64_t index, uint64_t term, const struct raft_config *config);
/* A replica leads in this term (§5.2: one at most). */
const char *ledger_lead(struct ledger *l, uint64_t term, uint32_t host, uint32_t boot);
/* A replica that leads in this term holds this log (§5.4: all that was committed in earlier ones). */
const char *ledger_complete(const struct ledger *l, uint64_t term, const struct raft *r);
/* The replica of that id lives on that host: there, and nowhere else. */
const char *ledger_holder(struct ledger *l, uint64_t replica, uint32_t host);
/* The newest committed configuration; NULL before ledger_begin. */
const struct raft_config *ledger_config(const struct ledger *l);

#endif
