/* All the groups of this node: the replicas it holds, their logs on disk, applying, reading, snapshots, and the
 * reconciliation that moves each group's configuration toward the placement. Group 0 is the root; the group of arc a
 * is a + 1. */
#ifndef SHOAL_GROUPS_H
#define SHOAL_GROUPS_H

#include "blob.h"
#include "disk.h"
#include "machine.h"
#include "peers.h"
#include "placement.h"

#define GROUPS_ROOT 0
#define GROUPS_CALLS_MAX 65536 /* own proposals and queries under way */

struct groups;

struct groups_tuning {
    struct raft_timing timing; /* of a group that has something to do */
    uint32_t compact_entries;  /* log length that starts compaction */
    uint32_t compact_bytes;
    uint32_t log_bytes_max;  /* a follower further behind than this gets a snapshot */
    uint32_t logs_bytes_max; /* what the logs of all groups may have beyond compact_bytes each: above it followers that
                              * are behind get snapshots, too */
    uint32_t moves_max;      /* groups this node may be growing or moving at once */
    uint32_t snapshots_max;  /* sent at once; fewer than DISK_VIEWS_MAX */
    uint32_t piece_bytes;    /* of a snapshot, about; at most MACHINE_PIECE_MAX */
    uint32_t apply_max;      /* entries applied by one operation of the disk */
};

struct groups_hooks {
    /* What a batch of applied entries means for the files. Of entries that may have been applied before a crash, that
     * they drop a chunk is not told: later ones may need it. */
    void (*applied)(void *ctx, uint32_t group, uint64_t index, const struct machine_effect *effects, size_t count);
    /* This node's replica of the group was created or its state replaced by a snapshot (audit its chunks), */
    void (*installed)(void *ctx, uint32_t group, uint64_t index);
    /* or removed with its state. */
    void (*removed)(void *ctx, uint32_t group);
    void (*leader)(void *ctx, uint32_t group, bool leading);
    /* Does the replica lack no chunk that was referenced at `index`? */
    bool (*complete)(void *ctx, uint32_t group, uint64_t index);
    /* Root state changed here: re-read by groups_query_local(QUERY_ROOT). */
    void (*root_changed)(void *ctx);
    void (*failed)(void *ctx, int status, const char *what);
    void *ctx;
};

struct groups_params {
    struct clock *clock;
    struct random *random;
    struct timers *timers;
    struct disk *disk;
    struct peers *peers;
    struct groups_tuning tuning;
    struct groups_hooks hooks;
};

int groups_new(const struct groups_params *params, struct groups **ret_groups);
void groups_free(struct groups *g);

/* Write the first replica of every group of a new swarm, inside the transactions of the caller's operations: its state
 * into DISK_META; when that is durable, its terms and configurations into DISK_LOG. */
int groups_create_state(struct txn *t, unsigned bits, uint32_t self);
int groups_create_logs(struct txn *t, unsigned bits, uint32_t self);
/* Loads every replica from disk and begins; `started` is called once. */
void groups_start(struct groups *g, unsigned bits, uint32_t self, void (*started)(void *ctx, int status), void *ctx);
void groups_stop(struct groups *g);
/* The goal changed. Both stay the caller's and are valid until the next call. */
void groups_set_placement(struct groups *g, const struct members *m, const struct placement *p);

/* Peers' messages. */
void groups_raft(struct groups *g, uint32_t from, const uint8_t *frame, size_t size);
void groups_routes(struct groups *g, uint32_t from, const uint8_t *frame, size_t size);
void groups_request(struct groups *g, struct peers_call *call, enum peer_op op, const uint8_t *body, size_t size);
void groups_led(struct groups *g, uint32_t from, const uint8_t *frame, size_t size);
void groups_peer_opened(struct groups *g, uint32_t node);
void groups_peer_lost(struct groups *g, uint32_t node);
void groups_peer_alive(struct groups *g, uint32_t node);
void groups_peer_lapsed(struct groups *g, uint32_t node, uint64_t heard_ms);
/* Something was given to the disk of the logs, or of the state, and nothing comes back: this node must not be taken for
 * alive. Raft messages are not sent meanwhile. */
bool groups_disk_stuck(const struct groups *g);

/* status: 0 (answered: the machine's own status is inside result), ERR_UNAVAILABLE at the deadline, ERR_BUSY,
 * ERR_NO_SPACE (a command that adds something, and the leader's disk is full). config:
 * in force where the command was applied; NULL for queries. Exactly once, never from inside the call, not after
 * groups_free. */
typedef void groups_cb(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size);
/* Replicates a command_encode()d command through the leader of the group, wherever it is, trying again until the
 * deadline: a command must be idempotent or carry (client, seq). bytes are copied. */
void groups_propose(struct groups *g, uint32_t group, const struct buf *command, uint64_t timeout_ms, groups_cb *cb,
                    void *ctx);
/* Linearizable: answered by the leader after a read index round. */
void groups_query(struct groups *g, uint32_t group, const struct buf *query, uint64_t timeout_ms, groups_cb *cb,
                  void *ctx);
/* From this node's own tables as they stand (everything already given to hooks.applied, durable or not); an arc that is
 * not served here is empty. */
void groups_query_local(struct groups *g, uint32_t group, const struct buf *query, groups_cb *cb, void *ctx);

/* For exactly-once commands: fills client, seq, ack_below of c. finish when its answer came or it was given up. */
void groups_sequence(struct groups *g, struct command *c);
void groups_sequence_done(struct groups *g, uint64_t seq);

uint32_t groups_of(const struct groups *g, uint64_t position); /* the group that serves a position */
uint32_t groups_count(const struct groups *g);
unsigned groups_bits(const struct groups *g);
uint32_t groups_self(const struct groups *g); /* this node's number */
const struct route *groups_route(const struct groups *g, uint32_t group);
/* Where the placement wants the group: for who has not heard of its configuration. *ret_nodes lies in the placement. */
unsigned groups_placed(const struct groups *g, uint32_t group, const uint32_t **ret_nodes);
void groups_arc(const struct groups *g, uint32_t group, struct machine_arc *out);

struct groups_info {
    bool here, leading;
    uint64_t replica, term, applied, commit;
    uint64_t saved; /* applied, and durably so */
    bool
        recovered; /* has applied everything that was in its log at the start: what it applied before a crash, it has */
    struct raft_config config; /* effective; count 0 when not here */
    struct raft_config committed;
};
void groups_info(const struct groups *g, uint32_t group, struct groups_info *out);
/* A cheaper look, for who asks after every event. */
struct groups_glance {
    const struct raft *raft; /* borrowed until the next event; NULL: no replica is here, and the rest is 0 */
    uint64_t replica;
    uint64_t steps;    /* taken since the node's start */
    uint64_t led_term; /* the highest term in which it led since then */
};
void groups_glance(const struct groups *g, uint32_t group, struct groups_glance *out);
uint64_t groups_steps(const struct groups *g); /* of all replicas, also of those that are gone */
/* Over the arcs led here. */
void groups_health(const struct groups *g, uint32_t *ret_led, uint32_t *ret_healthy, uint32_t *ret_under);
/* What is led here and names a member; out->led lies in space. */
void groups_census(const struct groups *g, uint32_t node, struct buf *space, struct census *out);
/* counts[n]: how many groups node n serves, as far as is known here; nodes from `size` on are left out. Adds. */
void groups_replica_counts(const struct groups *g, uint32_t *counts, uint32_t size);
/* Raft messages sent since the start: groups with nothing to do send none. */
uint64_t groups_messages(const struct groups *g);
void groups_invariant(const struct groups *g);

#endif
