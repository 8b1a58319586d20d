/* Shared by the files of this folder only. */
#ifndef SHOAL_GROUPS_INTERNAL_H
#define SHOAL_GROUPS_INTERNAL_H

#include <stddef.h>

#include <bsd/sys/queue.h>
#include <uthash.h>

#include "check.h"
#include "codec.h"
#include "errors.h"
#include "groups.h"
#include "journal.h"
#include "rows.h"

#define STAMP_SIZE 8           /* leader's wall clock before every command */
#define GROUPS_ATTEMPT_MS 3000 /* one try of a call */
#define GROUPS_BACKOFF_MIN_MS 20
#define GROUPS_BACKOFF_MAX_MS 400
#define GROUPS_PATIENCE_MS 10 /* what nobody waits for is applied in batches */
#define GROUPS_FORETOLD_MAX                                                                             \
    (16 * 1024 * 1024)           /* bytes of entries answered and not yet applied: beyond, answers wait \
                                  */
#define GROUPS_RECONCILE_MS 250  /* between looks at groups that wait for somebody, */
#define GROUPS_MOVING_MS 20      /* and while one is under way */
#define GROUPS_RESUME_MS 300     /* before a piece whose session broke is sent again */
#define GROUPS_SNAPSHOT_MS 15000 /* for one piece */
#define GROUPS_REMOVED_MAX 4
#define GROUPS_RETRY_MS 1000    /* between repeats of a message of a move */
#define GROUPS_ORPHAN_MS 10000  /* without a leader for this long: does it still belong? */
#define GROUPS_LOG_STRETCH 4    /* a log may be so many times too long while a snapshot is sent, or the state lags */
#define GROUPS_BALANCE_MS 1000  /* between looks at who should lead, */
#define GROUPS_HANDING_MS 100   /* and while leaderships are handed over: */
#define GROUPS_TRANSFERS_MAX 16 /* so many at once */
#define GROUPS_STEADY_MS 3000   /* a node must have been heard for so long before it is to lead */
#define GROUPS_TELL_MS 10000    /* between lists of what is led here */
#define GROUPS_STUCK_MS 1000    /* a disk that finishes no batch of the logs for so long has stopped; */
/* one that neither applies nor reads anything of the state, for so long. What is applied waits for the commit before
 * it: up to 16 MiB of pages all over the file, which take a slow disk some seconds. A node that falls silent at every
 * one of them would cost its groups more than it does by being slow. */
#define GROUPS_STATE_STUCK_MS 10000
#define GROUPS_CATCH_UP_MS 1000 /* a follower that holds up the log and gets nothing on for so long is given up */
#define GROUPS_SLACK 64         /* entries a follower may be behind and still count as caught up */

struct persist_item;
struct persist_op;
struct replica;
TAILQ_HEAD(replica_list, replica);

/* Somebody's command in the log, waiting to be applied. */
struct pending {
    TAILQ_ENTRY(pending) link;
    uint64_t index, term;
    struct peers_call *call; /* NULL: answered */
    size_t size;             /* of the entry */
    struct buf foretold;     /* the answer, if it is known before the entry is applied */
    bool told;               /* and it was given */
};

/* Somebody's query: first for its read index, then for the state to reach it, then at the disk. */
struct read {
    TAILQ_ENTRY(read) link;
    struct replica *replica;
    struct peers_call *call;
    uint64_t index;
    struct buf query;
};

struct snapshot_in {
    uint64_t from, term, index, index_term, stamp_ms;
    struct raft_config config;
    uint32_t node;     /* that sends it */
    uint32_t next;     /* piece wanted */
    bool staging;      /* a piece is at the disk */
    uint64_t heard_ms; /* last piece */
};

struct removed_replica {
    uint64_t id;
    uint32_t node;
    uint64_t index;
};

/* What the leader of a group is doing about its configuration. */
struct move {
    uint64_t created;    /* replica id whose node said it exists, */
    uint64_t refused;    /* or that it is dead there for ever */
    uint64_t deciding;   /* replica id that is to be promoted, once it lacks nothing referenced */
    uint64_t decided_at; /* up to this index */
    uint64_t complete;   /* replica id that lacks no chunk */
    uint64_t joint;      /* index of the joint configuration that is to be left */
    uint32_t whole;      /* bits of its rows: replicas that lack nothing referenced before it */
    uint32_t asked_row;
    uint64_t asked_ms; /* last message */
    bool asking;
    uint32_t removed_count;
    struct removed_replica removed[GROUPS_REMOVED_MAX];
};

struct replica {
    struct groups *groups;
    uint32_t group;
    uint64_t id;
    struct raft *raft;
    struct timer timer;
    unsigned ops; /* at the disk: freed only at 0 */
    bool dead;    /* removed; waits for its operations */
    bool leading;
    bool installing;                 /* a snapshot becomes the state, and the log begins after it */
    bool holding;                    /* that state is not durable yet: what belongs into the log waits in held */
    bool unsettled, announced;       /* on which lists of struct groups */
    struct replica_list *apply_list; /* apply or apply_later; NULL: on neither */
    bool applying;
    uint64_t steps, led_term; /* for groups_glance */
    uint64_t log_bytes;       /* retained, as counted in struct groups */
    struct {
        uint64_t replica, match; /* of the follower that holds up the log, when looked at last, */
        uint64_t ms;             /* and since when it has that much */
    } slow;
    uint64_t commit;
    uint64_t base;                            /* of the log on disk */
    uint64_t stored_last;                     /* highest index ever given to the disk and not truncated since */
    uint64_t applied, applied_term, stamp_ms; /* visible to who reads the latest */
    uint64_t saved;                           /* durably applied */
    uint64_t peeked;                          /* on a list to be applied: looked through up to here */
    uint64_t recovered;                       /* the log's end at the start: state may be behind what was seen before */
    uint64_t proposed_stamp_ms;
    struct raft_config applied_config;
    STAILQ_HEAD(, persist_item) held;
    TAILQ_HEAD(pending_list, pending) pending;
    TAILQ_HEAD(, read) reads; /* waiting for a read index or for the state */
    struct snapshot_in *in;
    struct move move;
    uint64_t led_ms;      /* last word of its leader; the core of a learner never gives a leader up */
    bool asking;          /* whether it still belongs */
    uint64_t stranger_ms; /* when a removed replica was last told so */
    TAILQ_ENTRY(replica) apply_link, unsettled_link, announce_link;
};

/* A group with nothing to do costs at most 2 KiB: this, its core (tests/unit/test_raft_memory.c), its route, and its
 * places in the tables of struct groups. */
#define QUIET_GROUP_BYTES 2048
#define QUIET_CORE_BYTES 1088
_Static_assert(sizeof(struct replica) + QUIET_CORE_BYTES + sizeof(struct route) + 2 * sizeof(void *) + 16 <=
                   QUIET_GROUP_BYTES,
               "a thousand quiet groups are cheap");

/* Frames for one peer, gathered during a turn of the loop. */
struct outgoing {
    uint32_t node;
    struct buf frames;
    struct raft_batch batch;
    bool open;
    UT_hash_handle hh;
};

/* Of these, something is at the disk most of the time, and each has a queue of its own there. */
enum watch_kind {
    WATCH_LOG,   /* batches of the logs */
    WATCH_STATE, /* what its writer is to run: entries to be applied, reads of what is not committed */
    WATCH_READS, /* of the state as it is committed */
    WATCHES
};
struct watch {
    uint32_t under_way;
    uint64_t ms; /* when it came to be under way, or one was last finished */
};

/* A question of a replica to another node, until it is answered. */
struct ask {
    TAILQ_ENTRY(ask) link;
    struct groups *groups;
    uint32_t group;
    uint64_t asker;  /* replica id that asked */
    uint64_t target; /* replica id it is about */
    uint64_t index;  /* that it asks about, if any */
    enum peer_op op;
};

struct call;
struct snapshot_out;
TAILQ_HEAD(snapshot_list, snapshot_out);

struct sequence {
    uint64_t seq;
    TAILQ_ENTRY(sequence) link;
    UT_hash_handle hh;
};

struct groups {
    struct groups_params params;
    unsigned bits;
    uint32_t self;
    uint32_t count; /* arcs + 1 */
    bool running, stopped;
    struct replica **replicas; /* by group; NULL: none here */
    uint64_t *tombstones;      /* by group */
    struct routes *routes;
    const struct members *members;
    const struct placement *placement;
    struct raft_nodes *nodes; /* who is heard */
    struct watch watches[WATCHES];
    struct raft_update update; /* scratch of replica_step, which never nests */
    bool stepping;
    struct timer flush;
    struct timer reconcile;
    struct timer orphans;
    size_t foretold_bytes;
    struct timer telling;
    struct timer balancing;
    bool routes_changed;        /* a call may go elsewhere */
    struct persist_op *persist; /* gathering */
    struct journal journal;
    uint64_t log_bytes;  /* retained by all replicas, */
    uint64_t log_excess; /* and of that, what each has beyond compact_bytes */
    struct replica_list apply, apply_later, unsettled, announce;
    struct timer patience; /* of those on apply_later */
    struct outgoing *outgoing;
    uint64_t messages; /* sent */
    TAILQ_HEAD(, ask) asks;
    TAILQ_HEAD(, call) calls;
    uint32_t call_count;
    struct snapshot_list snapshots, snapshots_waiting;
    uint32_t snapshots_sending;
    uint64_t steps;  /* of all replicas */
    uint32_t moving; /* groups led here whose configuration is under way */
    uint64_t client;
    uint64_t next_seq;
    struct sequence *sequences; /* by seq */
    TAILQ_HEAD(, sequence) sequence_order;
};

/* replica.c */
struct replica *replica_new(struct groups *g, uint32_t group, const struct hard_row *hard,
                            const struct applied_row *applied, struct raft_entry **entries, size_t count, int *ret);
void replica_free(struct replica *r);
int replica_step(struct replica *r, struct raft_event *event); /* fills in time and randomness */
void replica_op_done(struct replica *r);                       /* one disk operation less */
void pending_free(struct replica *r, struct pending *p);       /* takes it off the list, if it is on it */
/* Its log, or all of the node's together, is long, and cannot be shortened before what is committed is durable in the
 * state: nothing more should go into it meanwhile. */
bool replica_crowded(const struct replica *r);
/* A live follower lacks most of a long log, and gets on: nothing more should be proposed meanwhile. */
bool replica_held_up(struct replica *r);
void replica_fail_waiting(struct replica *r, int status);
void replica_reads_ready(struct replica *r);
void replica_learn_route(struct replica *r);
void groups_flush_soon(struct groups *g);
void groups_learn_route(struct groups *g, uint32_t group, const struct route *heard);
void groups_fatal(struct groups *g, int status, const char *what);

/* persist.c */
void persist_update(struct replica *r, const struct raft_update *u);
void persist_compact(struct replica *r);
void persist_rebase(struct replica *r); /* the log on disk is to begin at the base */
void persist_create(struct replica *r, struct peers_call *call);
void persist_remove(struct replica *r, struct peers_call *call); /* call may be NULL */
void persist_tombstone(struct groups *g, uint32_t group, struct peers_call *call);
/* What was held goes on its way, or nowhere. */
void persist_held(struct replica *r, bool drop);
void persist_flush(struct groups *g);
void persist_drop(struct groups *g);

/* state.c */
void install_state(struct replica *r, const struct hard_row *hard);
void wipe_state(struct replica *r);
void wipe_leftovers(struct groups *g, uint32_t group, uint64_t id);

/* apply.c */
void apply_queue(struct replica *r); /* something has become ripe, or somebody waits for what is */
void apply_unqueue(struct replica *r);
void apply_later_fire(struct timer *t);
void apply_flush(struct groups *g);
void apply_compact(struct replica *r); /* what its followers lacked they may have by now */
/* Entries up to the commit index whose answers are foretold are answered. */
void apply_foretold(struct replica *r);

/* outgoing.c */
void outgoing_message(struct groups *g, uint32_t group, const struct raft_message *m);
void outgoing_announce(struct replica *r);
void outgoing_announce_all(struct groups *g, uint32_t node); /* everything led here, to one node */
void outgoing_flush(struct groups *g);
void outgoing_release(struct groups *g);

/* serve.c */
void serve_propose(struct groups *g, struct peers_call *call, const struct group_request *req);
void serve_query(struct groups *g, struct peers_call *call, const struct group_request *req);
void serve_reply_route(struct groups *g, struct peers_call *call, int status, uint32_t group);
void serve_read_answer(struct replica *r, const struct raft_read *read);
void read_free(struct read *rd);

/* membership.c, too */
struct ask *ask_new(struct replica *r, uint64_t target, enum peer_op op); /* NULL: out of memory */
void ask_free(struct ask *a);

/* calls.c */
void calls_ask(struct groups *g, uint32_t group, const struct buf *id, uint64_t timeout_ms, groups_cb *cb, void *ctx);
void calls_lapsed(struct groups *g, uint32_t node);
void calls_reconsider(struct groups *g); /* routes have changed */
void calls_release(struct groups *g);

/* liveness.c */
void liveness_disk_begins(struct groups *g, enum watch_kind kind);
void liveness_disk_ends(struct groups *g, enum watch_kind kind);
void liveness_tell_fire(struct timer *t);

/* snapshot_send.c, snapshot_receive.c */
void snapshot_send(struct replica *r, uint64_t to);
/* Entries after this index follow a snapshot that is under way; UINT64_MAX: none is. */
uint64_t snapshot_send_keeps(const struct replica *r);
void snapshot_send_flush(struct groups *g);
void snapshot_send_release(struct groups *g);
void snapshot_clear(struct groups *g, uint32_t first, uint32_t count);
void snapshot_receive_tick(struct replica *r);
void snapshot_receive(struct groups *g, struct peers_call *call, const struct snapshot_piece *piece);

/* membership.c: replicas come and go on this node */
void serve_replica_create(struct groups *g, struct peers_call *call, const struct replica_request *req);
void serve_replica_remove(struct groups *g, struct peers_call *call, const struct replica_request *req);
void serve_replica_chunks(struct groups *g, struct peers_call *call, const struct replica_request *req);
void serve_replica_ask(struct groups *g, struct peers_call *call, const struct group_request *req);
void membership_stranger(struct replica *r, uint32_t node, uint64_t id);
void membership_applied(struct replica *r);
void membership_fire(struct timer *t);

/* reconcile.c: the leader moves its group toward the placement */
void reconcile_mark(struct replica *r);
void reconcile_unmark(struct replica *r);
void reconcile_soon(struct groups *g);
void reconcile_fire(struct timer *t);
bool reconcile_healthy(const struct replica *r);
bool replica_caught_up(const struct raft_status *st,
                       uint64_t id); /* whether a replica has all its leader has, or nearly */

/* balance.c: leadership goes where the placement wants it */
void balance_fire(struct timer *t);

#endif
