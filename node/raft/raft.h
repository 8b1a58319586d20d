/* Consensus of one group (Ongaro & Ousterhout 2014, "Raft", and Ongaro's thesis): a pure step function. No clock, no
 * IO, no randomness of its own: time and random bits come in with every event, and everything that must happen comes
 * out in an update.
 *
 *                       pre-vote won            vote won
 *   FOLLOWER ──timeout──▶ PRECANDIDATE ──────▶ CANDIDATE ──────▶ LEADER
 *      ▲                     │                    │                │
 *      └────── higher term, leader heard ─────────┴─ quorum lost ──┘
 *
 * The log kept by the core is the retained log: everything after the base (the last compacted or installed index). The
 * host stores the same entries on disk and hands them back to raft_new after a restart.
 *
 * Ownership: entries are reference counted (struct raft_entry); an update lends pointers that are valid until the
 * next raft_step of the same group; whoever keeps an entry longer takes a reference. Counts are touched on the loop
 * thread only. */
#ifndef SHOAL_RAFT_H
#define SHOAL_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define RAFT_REPLICAS_MAX 16               /* rows of one configuration */
#define RAFT_ENTRY_MAX (256 * 1024)        /* bytes of one entry's data */
#define RAFT_APPEND_BYTES_MAX (512 * 1024) /* payload of one append message, unless a single entry is larger */
#define RAFT_APPEND_ENTRIES_MAX 256
#define RAFT_INFLIGHT_MAX 16                  /* append messages under way to one replica, */
#define RAFT_INFLIGHT_BYTES_MAX (1024 * 1024) /* and their payload: beyond, the next waits for an acknowledgement */
#define RAFT_READS_MAX 4096                   /* reads waiting for their quorum */
#define RAFT_PENDING_MAX 4096                 /* entries appended by a leader and not committed: beyond, ERR_BUSY */
#define RAFT_PENDING_BYTES_MAX (8 * 1024 * 1024)

/* ---- configurations -------------------------------------------------------------------------------------------- */

enum raft_membership {
    RAFT_VOTER = 1,     /* votes (in a joint configuration: in the new half) */
    RAFT_VOTER_OLD = 2, /* votes in the old half of a joint configuration */
    RAFT_LEARNER = 4    /* receives everything, counts for nothing; still answers vote requests */
};

struct raft_replica {
    uint64_t id;   /* never reused within the group */
    uint32_t node; /* the member that holds it */
    uint8_t flags; /* of enum raft_membership */
};

/* Effective from the moment its entry is appended (§6), rolled back when the entry is truncated. */
struct raft_config {
    uint64_t index;   /* of the entry that set it; 0 only before the first */
    uint64_t next_id; /* the next replica id to give out */
    uint32_t count;
    struct raft_replica replicas[RAFT_REPLICAS_MAX];
};

bool raft_config_joint(const struct raft_config *c);
const struct raft_replica *raft_config_find(const struct raft_config *c, uint64_t id);        /* NULL: none */
const struct raft_replica *raft_config_find_node(const struct raft_config *c, uint32_t node); /* NULL: none */
/* Structural rules: distinct ids and nodes, ids < next_id, at least one VOTER, sane flags. 0 or ERR_INVALID. */
int raft_config_check(const struct raft_config *c);
/* Whether the replicas for which `has(ctx, id)` holds are a quorum (of both halves when joint). */
bool raft_config_quorum(const struct raft_config *c, bool (*has)(void *ctx, uint64_t id), void *ctx);
/* What follows a joint configuration: the rows of its new half. */
void raft_config_leave(const struct raft_config *joint, struct raft_config *out);
/* CBOR, deterministic; index is not part of it (it is the index of the entry). */
void raft_config_encode(const struct raft_config *c, struct buf *out);
/* ERR_PROTOCOL when malformed, ERR_INVALID when raft_config_check refuses it; the empty configuration (count 0, of a
 * replica that awaits its first snapshot) decodes. *out is untouched on failure. */
int raft_config_decode(const uint8_t *bytes, size_t size, uint64_t index, struct raft_config *out);

/* ---- entries --------------------------------------------------------------------------------------------------- */

enum raft_entry_kind { RAFT_ENTRY_NOOP, RAFT_ENTRY_COMMAND, RAFT_ENTRY_CONFIG };

struct raft_entry {
    uint32_t refs;
    uint8_t kind;
    uint32_t size;
    uint64_t index;
    uint64_t term;
    uint8_t data[];
};

struct raft_entry *raft_entry_new(uint64_t index, uint64_t term, enum raft_entry_kind kind, const void *data,
                                  size_t size); /* NULL: out of memory */
struct raft_entry *raft_entry_ref(struct raft_entry *e);
void raft_entry_unref(struct raft_entry *e);

/* ---- messages -------------------------------------------------------------------------------------------------- */

enum raft_message_kind {
    RAFT_PREVOTE,         /* term: the term it would start; index, log_term: last entry */
    RAFT_PREVOTE_REPLY,   /* reject; term: the term asked for when granted, the own term when rejected */
    RAFT_VOTE,            /* index, log_term: last entry; context: RAFT_VOTE_TRANSFER or 0 */
    RAFT_VOTE_REPLY,      /* reject */
    RAFT_APPEND,          /* index, log_term: the entry before; commit; entries; context: read round */
    RAFT_APPEND_REPLY,    /* index: match, or when rejected: the index to retry after; log_term: term there; context;
                             commit: as the follower knows it */
    RAFT_HEARTBEAT,       /* commit (never past what is known to match, §5.3); context: read round */
    RAFT_HEARTBEAT_REPLY, /* context; index: up to where the follower has verified its log against this leader's;
                             commit: as the follower knows it */
    RAFT_TIMEOUT_NOW,     /* the leader hands its leadership over (thesis §3.10) */
    RAFT_MESSAGE_KINDS
};

#define RAFT_VOTE_TRANSFER 1 /* the leader itself asked for this election: nobody needs to stick to it */

struct raft_message {
    enum raft_message_kind kind;
    bool reject;
    uint64_t from, to;  /* replica ids */
    uint32_t to_node;   /* filled by the core for the sender's host; not part of the wire message */
    uint32_t from_node; /* filled by the receiver's host: where it came from, so that replicas not (yet) in the own
                           configuration can be answered; not part of the wire message */
    uint64_t term;
    uint64_t index;
    uint64_t log_term;
    uint64_t commit;
    uint64_t context;
    uint32_t entry_count;
    struct raft_entry **entries; /* borrowed */
};

/* ---- events ---------------------------------------------------------------------------------------------------- */

enum raft_event_kind {
    RAFT_EV_TICK,          /* the time asked for by raft_wake_ms has come (earlier is harmless) */
    RAFT_EV_MESSAGE,       /* from a peer. Entries of an APPEND are taken by reference. */
    RAFT_EV_PROPOSE,       /* command bytes; leader only. ret_index/ret_term in the update */
    RAFT_EV_CONFIG,        /* a new configuration; see below */
    RAFT_EV_LEAVE,         /* the joint configuration of this index may be left; see below */
    RAFT_EV_READ,          /* asks for a read index (§6.4 of the thesis); answered in update.reads */
    RAFT_EV_PERSISTED,     /* everything up to update.persist_seq == seq is durable; cumulative */
    RAFT_EV_APPLIED,       /* the state machine has durably applied everything up to index */
    RAFT_EV_COMPACT,       /* entries up to index (<= applied) may be dropped; becomes the new base */
    RAFT_EV_SNAPSHOT,      /* a snapshot has been received and staged completely: may it be installed? */
    RAFT_EV_SNAPSHOT_SENT, /* the host finished (ok) or gave up (!ok) sending one to a replica */
    RAFT_EV_UNREACHABLE,   /* messages to a node may have been lost: back to probing */
    RAFT_EV_NODE,          /* what raft_start.nodes says of a node has changed, or may be doubted; see there */
    RAFT_EV_TRANSFER,      /* hand the leadership to a replica (thesis §3.10); see below */
    RAFT_EV_CAMPAIGN       /* start an election at once (a group created with this single voter; tests) */
};

/* RAFT_EV_CONFIG: the host gives the wanted rows. The core refuses (ERR_BUSY) unless it is leader, has committed an
 * entry of its own term, and no other configuration is uncommitted or joint. A change of voters of more than adding
 * or removing learners must be given as a joint configuration (VOTER / VOTER_OLD); when that is committed the leader
 * itself appends the final one (rows that are only VOTER_OLD dropped); a host that `stays_joint` says when, by
 * RAFT_EV_LEAVE. A leader that is not a voter of a committed final configuration hands over and steps down.
 *
 * RAFT_EV_TRANSFER: refused unless leader (ERR_NOT_LEADER), settled and not handing over already (ERR_BUSY), and given
 * another voter (ERR_INVALID). Until the replica has caught up and campaigned, or an election timeout has passed,
 * proposals get ERR_BUSY. */
struct raft_event {
    enum raft_event_kind kind;
    uint64_t now_ms;
    uint64_t random; /* fresh random bits */
    union {
        struct raft_message *message;
        struct {
            const void *data;
            size_t size;
        } propose;
        const struct raft_config *config;
        uint64_t read; /* the host's handle, given back */
        uint64_t seq;
        uint64_t index;
        struct {
            uint64_t index, term;             /* last index and term the snapshot covers */
            const struct raft_config *config; /* in force at that index */
            uint64_t from;                    /* replica that sent it */
            uint32_t from_node;               /* the node that holds it */
            uint64_t leader_term;             /* term in which it was sent */
        } snapshot;
        struct {
            uint64_t replica;
            uint64_t index; /* covered by it */
            bool ok;
        } sent;
        uint32_t node;
        struct {
            uint32_t node;
            bool alive; /* false to doubt a single leader, too: this replica takes its node for lost */
        } liveness;
        uint64_t transfer; /* replica id */
    };
};

#define RAFT_MESSAGES_MAX 64 /* in one update; the core never needs more: it paces itself */

struct raft_read {
    uint64_t handle;
    uint64_t index; /* serve when applied >= index */
    int status;     /* 0, ERR_NOT_LEADER */
};

/* Everything the host must do, in this order: make durable (one batch: install, hard state, truncation and entries)
 * and report RAFT_EV_PERSISTED with persist_seq when durable; send messages (they may go at once: the core itself
 * holds back what must wait for the disk); apply (applied, commit] in order and report RAFT_EV_APPLIED; answer reads;
 * send snapshots. */
struct raft_update {
    /* durable */
    uint64_t persist_seq; /* 0: nothing to make durable */
    bool hard_changed;    /* term or vote: raft_hard() */
    uint64_t append_from; /* 0: none. Delete stored entries >= append_from, store [append_from, append_to] */
    uint64_t append_to;   /* may be append_from - 1: truncation only */
    bool install;         /* make the staged snapshot the state: base becomes raft_base(), the stored log is emptied */
    /* volatile */
    uint64_t commit; /* everything up to here may be applied */
    bool role_changed;
    bool config_changed; /* the effective configuration differs from before the step */
    uint32_t message_count;
    struct raft_message messages[RAFT_MESSAGES_MAX];
    uint32_t read_count;
    struct raft_read *reads; /* borrowed, valid until the next step */
    uint32_t snapshot_count;
    uint64_t snapshot_to[RAFT_REPLICAS_MAX]; /* replicas that need a snapshot now (asked for once each) */
    /* RAFT_EV_PROPOSE and RAFT_EV_CONFIG */
    uint64_t ret_index, ret_term;
};

/* ---- the core -------------------------------------------------------------------------------------------------- */

struct raft;

enum raft_role { RAFT_FOLLOWER, RAFT_PRECANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

/* ---- the nodes ------------------------------------------------------------------------------------------------- */

/* Which nodes the host hears. One table for all groups of a host, so that a thousand groups need no heartbeats of
 * their own:
 *   - a follower that knows everything committed trusts its leader while the leader's node is heard without a break,
 *     and runs no timer;
 *   - a leader whose replicas on living nodes have all confirmed that they know everything committed runs none either.
 * It holds on these conditions, for which the host answers: a message between two living nodes is lost only when a
 * session breaks; a session that breaks is told (RAFT_EV_UNREACHABLE at the sender, RAFT_EV_NODE not alive at the
 * receiver); so is a node that came back with another memory (not alive, then alive).
 * The host changes the table first, then tells every replica that has to do with the node by RAFT_EV_NODE; `alive` is
 * also told when messages pass again after a session broke. Trust is no promise: only elections depend on it. */
struct raft_nodes;

int raft_nodes_new(struct raft_nodes **ret_nodes);
void raft_nodes_free(struct raft_nodes *nodes);
/* since_ms: alive since then; or last heard then. ERR_NOMEM: nothing changed. */
int raft_nodes_set(struct raft_nodes *nodes, uint32_t node, bool alive, uint64_t since_ms);
bool raft_nodes_alive(const struct raft_nodes *nodes, uint32_t node);        /* false: never heard of */
uint64_t raft_nodes_since_ms(const struct raft_nodes *nodes, uint32_t node); /* 0: never heard of */

struct raft_timing {
    uint32_t heartbeat_ms;    /* of a group with something to do */
    uint32_t election_min_ms; /* timeouts are drawn from [min, max) */
    uint32_t election_max_ms;
    uint32_t lease_ms; /* a leader that a quorum heard within this time answers reads by itself; less than
                          election_min_ms by more than clocks may run apart within it. 0: every read asks a quorum */
};

struct raft_hard {
    uint64_t term;
    uint64_t vote; /* replica id, 0: none */
};

struct raft_start {
    uint64_t self; /* own replica id */
    struct raft_timing timing;
    const struct raft_nodes *nodes; /* outlives the core; NULL: heartbeats and timers as in the paper */
    bool stays_joint; /* a joint configuration is left when the host says so: voters need more than the log */
    struct raft_hard hard;
    uint64_t base_index, base_term;        /* the log starts after this */
    const struct raft_config *base_config; /* in force at the base; count 0 for a replica that awaits its first
                                              snapshot: it knows nobody, campaigns never, but answers votes */
    uint64_t applied;                      /* >= base_index */
    struct raft_entry **entries;           /* base_index+1 ..., references are taken */
    size_t entry_count;
    uint64_t now_ms;
    uint64_t random;
};

/* ERR_NOMEM, ERR_CORRUPT when the parts contradict each other. */
int raft_new(const struct raft_start *start, struct raft **ret_raft);
void raft_free(struct raft *r);
/* Clears *out and fills it. Errors: ERR_NOT_LEADER, ERR_BUSY, ERR_INVALID, ERR_TOO_LARGE for PROPOSE, CONFIG and READ
 * (nothing changed, out is empty but valid); ERR_PROTOCOL for a message that no correct peer sends (dropped);
 * ERR_NOMEM (fatal to the group). Host-made events out of contract are caught by CHECK. */
int raft_step(struct raft *r, const struct raft_event *event, struct raft_update *out);
/* When the next RAFT_EV_TICK is wanted (monotonic ms); UINT64_MAX: not at all. */
uint64_t raft_wake_ms(const struct raft *r);

struct raft_hard raft_hard(const struct raft *r);
/* The entries up to here are durable in the own log. */
uint64_t raft_durable(const struct raft *r);
/* Memory of the retained entries. */
uint64_t raft_log_bytes(const struct raft *r);
void raft_base(const struct raft *r, uint64_t *ret_index, uint64_t *ret_term, const struct raft_config **ret_config);
struct raft_entry *raft_entry_at(const struct raft *r, uint64_t index); /* NULL outside the retained log; borrowed */
const struct raft_config *raft_config(const struct raft *r);            /* effective */
const struct raft_config *raft_config_committed(const struct raft *r);  /* newest committed */

struct raft_progress {
    uint64_t id;
    uint32_t node;
    uint8_t flags;
    uint64_t match;
    bool active;   /* heard from within an election timeout; or on a living node and up to date */
    bool snapshot; /* being fed one */
};

struct raft_status {
    enum raft_role role;
    uint64_t self, term, leader;           /* leader: replica id, 0 unknown */
    uint32_t leader_node;                  /* 0 unknown */
    bool trusts;                           /* follower: its leader, by its node, without a timer */
    uint64_t commit, applied, first, last; /* first: base + 1 */
    uint64_t log_bytes;                    /* memory of the retained entries */
    bool own_term_committed;
    bool handing_over;
    uint32_t progress_count; /* leader only */
    struct raft_progress progress[RAFT_REPLICAS_MAX];
};
void raft_status(const struct raft *r, struct raft_status *out);
/* Internal consistency; simulated runs call it after every step. Aborts by CHECK when violated. */
void raft_invariant(const struct raft *r);

#endif
