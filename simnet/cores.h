/* A few consensus cores of one group, their disks and the messages between them, without nodes around: for scenarios
 * that decide which message arrives and which batch is durable. Everything that the cores show goes to a ledger, which
 * knows what must never be.
 *
 * Time passes in cores_pass only: timers run out, messages arrive, batches become durable, what is committed is
 * applied. Links can be cut (messages are lost) or held (they wait), disks stuck (batches wait; a crash loses them). */
#ifndef SHOAL_CORES_H
#define SHOAL_CORES_H

#include "ledger.h"
#include "prng.h"
#include "raft.h"
#include "script.h"

#define CORES_MAX 7
#define CORES_LOG_MAX 512
#define CORES_BATCHES_MAX 128
#define CORES_PACKETS_MAX 1024
#define CORES_READS_MAX 16

struct core_batch { /* handed to the disk */
    uint64_t seq;
    bool hard_changed, install;
    struct raft_hard hard;
    uint64_t append_from, append_to; /* 0: nothing of the log */
    struct raft_entry *entries[CORES_LOG_MAX];
    uint64_t base_index, base_term;
    struct raft_config base_config;
};

struct core {
    uint64_t id;
    struct raft *raft; /* NULL: down, or not created */
    bool stuck;
    struct core_batch *batches; /* not durable yet, oldest first */
    size_t batch_count;
    /* On its disk: */
    struct raft_hard hard;
    uint64_t base_index, base_term, applied;
    struct raft_config base_config;
    struct raft_entry *entries[CORES_LOG_MAX]; /* base_index + 1 ... */
    size_t entry_count;
    /* What it said: */
    uint64_t commit;
    bool wanted_snapshot[CORES_MAX + 1]; /* by replica id, of the leader */
    struct raft_read reads[CORES_READS_MAX];
    size_t read_count;
};

struct cores {
    struct script *script;
    uint64_t now_ms;
    uint64_t favourite; /* only its timers run out; 0: everybody's */
    struct prng prng;
    bool stays_joint;
    struct raft_timing timing;
    struct core *cores;                          /* by id; 0 unused */
    bool cut[CORES_MAX + 1][CORES_MAX + 1];      /* from, to */
    unsigned held[CORES_MAX + 1][CORES_MAX + 1]; /* a bit for each kind of message */
    struct raft_message packets[CORES_PACKETS_MAX];
    size_t packet_count;
    struct ledger ledger;
    uint32_t boots;
    struct raft_update update;
};

#define CORES_ALL_KINDS ((1u << RAFT_MESSAGE_KINDS) - 1)

/* Replicas 1..voters, running, with empty logs. */
struct cores *cores_new(struct script *s, uint64_t voters);
/* The same, whose leaders answer reads by a lease of so many milliseconds. */
struct cores *cores_new_leased(struct script *s, uint64_t voters, uint32_t lease_ms);
void cores_free(struct cores *c);
/* One more, which awaits its first snapshot or entries: it knows nobody. */
void cores_create(struct cores *c, uint64_t id);

void cores_crash(struct cores *c, uint64_t id);
void cores_boot(struct cores *c, uint64_t id);
/* Both ways. */
void cores_cut(struct cores *c, uint64_t a, uint64_t b, bool cut);
/* From and to everybody. */
void cores_isolate(struct cores *c, uint64_t id, bool cut);
/* Messages of these kinds wait, or go on. */
void cores_hold(struct cores *c, uint64_t from, uint64_t to, unsigned kinds);
/* How many messages of a kind wait under way, accepting ones only for replies. */
size_t cores_waiting(const struct cores *c, uint64_t from, uint64_t to, enum raft_message_kind kind);
/* The highest index that replies under way acknowledge; 0: none. */
uint64_t cores_acknowledged(const struct cores *c, uint64_t from, uint64_t to);
/* Loses what waits there. */
void cores_lose(struct cores *c, uint64_t from, uint64_t to);

void cores_pass(struct cores *c, uint64_t ms);
/* The oldest batch becomes durable, although the disk is stuck. False: there was none. */
bool cores_persist_one(struct cores *c, uint64_t id);

/* Passes time until this one leads. The timers of the others stand still: nobody beats or runs against it. */
void cores_win(struct cores *c, uint64_t id);
/* And until it has committed an entry of its term. */
void cores_elect(struct cores *c, uint64_t id);
/* Starts an election. */
void cores_campaign(struct cores *c, uint64_t id);
/* 0: refused. */
uint64_t cores_propose(struct cores *c, uint64_t id, const char *text);
/* What raft_step says. */
int cores_change(struct cores *c, uint64_t id, const struct raft_config *config);
int cores_read(struct cores *c, uint64_t id, uint64_t handle);
/* Hands the leadership over; what raft_step says. */
int cores_transfer(struct cores *c, uint64_t id, uint64_t to);
int cores_compact(struct cores *c, uint64_t id, uint64_t index);
/* `from` gives all that it has applied to `to`; what raft_step says. leader_term: of the sending. */
int cores_snapshot(struct cores *c, uint64_t from, uint64_t to, uint64_t leader_term);
/* The same of an older state: what `from` had applied at this index of its log. */
int cores_snapshot_at(struct cores *c, uint64_t from, uint64_t to, uint64_t index, uint64_t leader_term);
void cores_snapshot_sent(struct cores *c, uint64_t leader, uint64_t to, uint64_t index, bool ok);

/* All zero when it is down. */
struct raft_status cores_status(const struct cores *c, uint64_t id);
bool cores_leads(const struct cores *c, uint64_t id);
uint64_t cores_leader(const struct cores *c); /* of the highest term; 0: none */
/* A row more. */
void cores_row(struct raft_config *config, uint64_t id, unsigned flags);

#endif
