/* What the files of this folder share. Nothing outside includes it. */
#ifndef SHOAL_RAFT_INTERNAL_H
#define SHOAL_RAFT_INTERNAL_H

#include <bsd/sys/queue.h>

#include "check.h"
#include "errors.h"
#include "raft.h"

/* Appends to one replica in one update. With a heartbeat each and the answers of the step itself, RAFT_MESSAGES_MAX
 * is never reached; what is left follows with the next acknowledgement. */
#define RAFT_SENDS_MAX 3
#define RAFT_ANSWERS_MAX 4
_Static_assert((RAFT_REPLICAS_MAX - 1) * (RAFT_SENDS_MAX + 1) + RAFT_ANSWERS_MAX <= RAFT_MESSAGES_MAX,
               "one update must hold everything one step can say");

#define RAFT_RUNS_MAX 1024              /* batches under way to the disk that are told apart */
#define RAFT_TERM_MAX (UINT64_MAX / 2)  /* a peer's term beyond is refused, so that term + 1 never wraps */
#define RAFT_INDEX_MAX (UINT64_MAX / 2) /* likewise for indexes */

/* ---- log.c: the retained entries, contiguous in memory so that messages can borrow a slice ---------------------- */

struct raft_log {
    struct raft_entry **slots;
    size_t head, count, capacity; /* slots[head .. head + count) */
    uint64_t base_index, base_term;
    uint64_t bytes;
};

void raft_log_release(struct raft_log *log);
uint64_t raft_log_last(const struct raft_log *log);
uint64_t raft_log_last_term(const struct raft_log *log);
struct raft_entry *raft_log_at(const struct raft_log *log, uint64_t index); /* NULL outside */
/* The term at index; index must be in [base, last]. */
uint64_t raft_log_term(const struct raft_log *log, uint64_t index);
/* Whether the log holds (or was compacted exactly at) this index with this term. */
bool raft_log_matches(const struct raft_log *log, uint64_t index, uint64_t term);
/* The largest place <= index whose term is <= term; below the base when the base itself is too new. O(log n). */
uint64_t raft_log_find_term(const struct raft_log *log, uint64_t index, uint64_t term);
int raft_log_push(struct raft_log *log, struct raft_entry *e); /* keeps the caller's reference; ERR_NOMEM: does not */
void raft_log_truncate(struct raft_log *log, uint64_t from);
void raft_log_compact(struct raft_log *log, uint64_t index);
void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term);

/* ---- durable.c: what the disk has confirmed --------------------------------------------------------------------- */

/* Entries up to `last` that are still in the log are durable once batch `seq` is. */
struct raft_run {
    uint64_t seq, last;
};

struct raft_durable {
    uint64_t seq;      /* of the newest batch handed to the host */
    uint64_t done;     /* of the newest batch confirmed */
    uint64_t hard_seq; /* the batch that holds the current term and vote */
    uint64_t index;    /* entries of the log up to here are durable */
    struct raft_run *runs;
    size_t count, capacity;
};

void raft_durable_release(struct raft_durable *d);
int raft_durable_note(struct raft_durable *d, uint64_t seq, uint64_t last);
void raft_durable_truncate(struct raft_durable *d, uint64_t last);
void raft_durable_reset(struct raft_durable *d); /* nothing of the log is durable any more (install) */
void raft_durable_confirm(struct raft_durable *d, uint64_t seq);
bool raft_durable_hard(const struct raft_durable *d); /* term and vote have reached the disk */

/* ---- chain.c: the configurations from the base to the end of the log -------------------------------------------- */

struct raft_link {
    TAILQ_ENTRY(raft_link) links;
    struct raft_config config;
};

struct raft_chain {
    TAILQ_HEAD(raft_links, raft_link) links; /* first: in force at the base; last: effective. Never empty */
    struct raft_link *committed;
};

int raft_chain_init(struct raft_chain *chain, const struct raft_config *base);
void raft_chain_release(struct raft_chain *chain);
int raft_chain_push(struct raft_chain *chain, const struct raft_config *config);
bool raft_chain_truncate(struct raft_chain *chain, uint64_t from); /* whether the effective one changed */
void raft_chain_commit(struct raft_chain *chain, uint64_t commit);
void raft_chain_compact(struct raft_chain *chain, uint64_t index);
const struct raft_config *raft_chain_base(const struct raft_chain *chain);
const struct raft_config *raft_chain_effective(const struct raft_chain *chain);

/* ---- config.c --------------------------------------------------------------------------------------------------- */

bool raft_config_voter(const struct raft_config *c, uint64_t id); /* in either half */
bool raft_config_only_voter(const struct raft_config *c, uint64_t id);
int raft_config_row(const struct raft_config *c, uint64_t id); /* -1: none */
/* Whether `to` may follow `from`: ids never reused, replicas never moved, voters changed only through a joint. */
int raft_config_check_change(const struct raft_config *from, const struct raft_config *to);
/* The configuration an entry carries: decoded, checked, not empty. */
int raft_config_from_entry(const struct raft_entry *e, struct raft_config *out);

/* ---- progress.c: the leader's picture of one replica -------------------------------------------------------------
 *
 *            accepted                    too far behind
 *   PROBE ────────────▶ REPLICATE      PROBE, REPLICATE ────────▶ SNAPSHOT
 *     ▲                     │                                        │
 *     ├── rejected, lost ───┘            sent, gave up (or caught up: REPLICATE)
 *     └──────────────────────────────────────────────────────────────┘ */

enum raft_peer_state { RAFT_PEER_PROBE, RAFT_PEER_REPLICATE, RAFT_PEER_SNAPSHOT };

struct raft_peer {
    uint64_t id;
    uint32_t node;
    uint8_t state;
    bool probe_sent;     /* PROBE: wait for the answer or the next heartbeat time */
    bool probe_bare;     /* PROBE: it went unanswered, so repeat it without entries */
    bool want_heartbeat; /* owed at the end of this step */
    bool poke;           /* owed an append even without entries: to learn what it holds */
    uint64_t match;      /* durable there */
    uint64_t next;       /* first entry not sent */
    uint64_t heard_ms;
    uint64_t round;       /* newest heartbeat round it answered */
    uint64_t commit_sent; /* what it can know of the commit index when nothing was lost */
    uint64_t mark;        /* last entry sent before round mark_round; 0 rounds: no mark */
    uint64_t mark_round;
    uint64_t commit_known;        /* the commit index it said it knows */
    struct raft_flights *flights; /* appends under way; NULL: none */
};

struct raft_flights {
    uint32_t head, count;
    uint64_t bytes;
    struct {
        uint64_t last; /* entry of the append */
        uint32_t bytes;
    } slots[RAFT_INFLIGHT_MAX];
};

void raft_peer_init(struct raft_peer *p, const struct raft_replica *row, uint64_t next, uint64_t now_ms);
void raft_peer_probe(struct raft_peer *p, uint64_t next);
void raft_peer_replicate(struct raft_peer *p);
void raft_peer_snapshot(struct raft_peer *p);
/* Whether another append may be under way (false also when there is no memory for it), and that it is. */
bool raft_peer_may_fly(struct raft_peer *p);
void raft_peer_flies(struct raft_peer *p, uint64_t last, size_t bytes);
void raft_peer_accepted(struct raft_peer *p, uint64_t match, uint64_t base);
struct raft_peer *raft_peer_find(const struct raft *r, uint64_t id);
int raft_peers_rebuild(struct raft *r); /* one for each row of the effective configuration except the own */
void raft_peers_release(struct raft *r);
void raft_peers_land(struct raft *r); /* gives back the memory of what was under way */

/* ---- the core --------------------------------------------------------------------------------------------------- */

struct raft_reads {
    struct raft_read *slots;
    size_t count, capacity;
    size_t answered; /* first ones: lent out by the last update, dropped at the next step */
    size_t asked;    /* after those: waiting for `round` */
    uint64_t round;
};

/* Promises of a follower that wait for the disk. A new term voids them. */
struct raft_promises {
    uint64_t vote_to; /* candidate that was granted the vote; 0: none owed */
    uint32_t vote_node;
    uint64_t ack_to; /* leader owed an acknowledgement; 0: none owed */
    uint32_t ack_node;
    uint64_t ack_need; /* the debt is paid when this much was acknowledged */
    uint64_t ack_sent; /* acknowledged so far in this term */
    uint64_t ack_context;
};

struct raft {
    uint64_t self;
    struct raft_timing timing;
    const struct raft_nodes *nodes;
    bool stays_joint;
    uint64_t leave_index; /* of the joint configuration that may be left */
    enum raft_role role;
    struct raft_hard hard;
    uint64_t leader;
    uint32_t leader_node;
    uint64_t now_ms;
    uint64_t random;

    struct raft_log log;
    struct raft_durable durable;
    struct raft_chain chain;
    uint64_t commit;
    uint64_t applied;
    uint64_t install_index; /* a snapshot on its way to the disk; 0: none */
    uint64_t install_seq;

    /* not leader */
    bool trust;           /* the leader's node was heard without a break since the leader's last word */
    bool transferring;    /* CANDIDATE: the leader asked for it */
    uint32_t hurry_ms;    /* the next pre-vote comes so soon after this one; 0: at the usual time */
    uint64_t election_ms; /* when to campaign */
    uint64_t sticky_ms;   /* no vote, nor pre-vote, before: the leader may count on it (thesis §4.2.3, §6.4.1) */
    uint32_t granted;     /* votes or pre-votes, one bit for each row of the effective configuration */
    bool votes_asked;     /* CANDIDATE: the own vote is durable and the requests are out */
    uint64_t verified;    /* the log equals the current term's leader's up to here */
    struct raft_promises promises;

    /* leader */
    struct raft_peer *peers;
    size_t peer_count;
    uint64_t heartbeat_due_ms; /* UINT64_MAX: the group is quiet */
    uint64_t round;            /* of heartbeats, for reads and for noticing losses */
    uint64_t lease_round;      /* its answers renew the lease; 0: none is out */
    uint64_t lease_round_ms;   /* when it began */
    uint64_t lease_ms;         /* reads need no round before */
    bool lease_void;           /* for this term: somebody was allowed to ignore it */
    uint64_t transfer_to;      /* replica that is to lead; 0: none */
    uint64_t transfer_ms;      /* until when */
    bool transfer_sent;
    uint64_t pending_bytes;
    struct raft_reads reads;

    /* of the step under way */
    struct {
        bool hard;
        bool install;
        bool config;
        uint64_t append_from; /* 0: none */
        enum raft_role role_before;
    } change;
};

/* step.c */
void raft_set_role(struct raft *r, enum raft_role role);
/* A new message of the update, addressed and with the own term. */
struct raft_message *raft_say(struct raft *r, struct raft_update *out, enum raft_message_kind kind, uint64_t to,
                              uint32_t node);
uint32_t raft_node_of(const struct raft *r, uint64_t id, uint32_t fallback);
int raft_append(struct raft *r, struct raft_entry *e, const struct raft_config *config); /* takes the reference */
int raft_append_own(struct raft *r, enum raft_entry_kind kind, const void *data, size_t size);
int raft_append_config(struct raft *r, const struct raft_config *config);
void raft_set_commit(struct raft *r, uint64_t commit);

/* election.c */
void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader, uint32_t leader_node);
void raft_draw_timeout(struct raft *r);
bool raft_may_campaign(const struct raft *r);
int raft_campaign(struct raft *r, struct raft_update *out);
void raft_wake_soon(struct raft *r); /* the leader is lost: campaign before the others, or after them, by rank */
bool raft_follower_trusts(const struct raft *r);
int raft_election_persisted(struct raft *r, struct raft_update *out);
int raft_on_prevote(struct raft *r, const struct raft_message *m, struct raft_update *out);
int raft_on_prevote_reply(struct raft *r, const struct raft_message *m);
int raft_on_vote(struct raft *r, const struct raft_message *m, struct raft_update *out);
int raft_on_vote_reply(struct raft *r, const struct raft_message *m);
int raft_on_timeout_now(struct raft *r, const struct raft_message *m);

/* follower.c */
int raft_on_append(struct raft *r, const struct raft_message *m, struct raft_update *out);
int raft_on_heartbeat(struct raft *r, const struct raft_message *m, struct raft_update *out);
int raft_on_snapshot(struct raft *r, const struct raft_event *event);
void raft_keep_promises(struct raft *r, struct raft_update *out);

/* replication.c */
int raft_on_append_reply(struct raft *r, const struct raft_message *m);
int raft_on_heartbeat_reply(struct raft *r, const struct raft_message *m);
void raft_on_snapshot_sent(struct raft *r, uint64_t replica, uint64_t index, bool ok);
void raft_on_unreachable(struct raft *r, uint32_t node);
int raft_on_node(struct raft *r, uint32_t node, bool alive, struct raft_update *out);
int raft_on_transfer(struct raft *r, uint64_t to);
int raft_leader_tick(struct raft *r, struct raft_update *out);
bool raft_leader_settled(const struct raft *r); /* its configuration, and not handing over */
void raft_leader_rest(struct raft *r);          /* sets the timer, or none */
bool raft_peer_active(const struct raft *r, const struct raft_peer *p);
int raft_leader_settle(struct raft *r); /* commit, leave a joint configuration, start and finish read rounds */
void raft_leader_send(struct raft *r, struct raft_update *out);
bool raft_leader_must_resign(const struct raft *r);
void raft_leader_resign(struct raft *r, struct raft_update *out);
bool raft_own_term_committed(const struct raft *r);
uint64_t raft_ms_since(const struct raft *r, uint64_t then_ms);

/* reads.c */
int raft_reads_add(struct raft *r, uint64_t handle);
void raft_round_begin(struct raft *r);
void raft_reads_settle(struct raft *r);
void raft_reads_fail(struct raft *r); /* the leadership is over */
void raft_reads_drop_answered(struct raft *r);
void raft_reads_release(struct raft_reads *reads);

#endif
