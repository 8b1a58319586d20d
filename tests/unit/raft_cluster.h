/* A tiny world for tests of the consensus core: replicas, their disks, and the messages between them. Nothing moves
 * by itself: a test delivers, drops, persists, ticks and crashes, and reads what happened as a trace of short lines:
 *
 *   n1 persist #2 hard t1 v1        a batch handed to the disk (log [a..b], install)
 *   n1>n2 append t1 prev 0/0 n1 commit 0 round 0
 *   n1 leader t1 · n1 commit 1 · n1 config 3 · n1 read 7 at 4 · n1 snapshot for n3
 *
 * The disk takes batches in order; a crash loses those not yet persisted. */
#ifndef SHOAL_TEST_RAFT_CLUSTER_H
#define SHOAL_TEST_RAFT_CLUSTER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "errors.h"
#include "raft.h"

#define CLUSTER_MAX 8
#define CLUSTER_LOG_MAX 8192
#define CLUSTER_BATCHES_MAX 2048
#define CLUSTER_PACKETS_MAX 8192
#define CLUSTER_TRACE_MAX 65536
#define CLUSTER_ROUNDS_MAX 20000
#define CLUSTER_READS_MAX 4096
#define CLUSTER_NODE(id) ((uint32_t)(100 + (id)))

static const struct raft_timing CLUSTER_TIMING = {
    .heartbeat_ms = 100, .election_min_ms = 1000, .election_max_ms = 2000};

struct cluster_batch {
    uint64_t seq;
    bool hard_changed, install;
    struct raft_hard hard;
    uint64_t append_from, append_to;
    struct raft_entry **entries;
    uint64_t base_index, base_term;
    struct raft_config base_config;
};

struct cluster_disk {
    struct raft_hard hard;
    uint64_t base_index, base_term, applied;
    struct raft_config base_config;
    struct raft_entry **entries; /* base_index + 1 ... */
    size_t count;
};

struct cluster_replica {
    uint64_t id;
    struct raft *raft; /* NULL: down, or not created */
    struct raft_nodes *nodes;
    struct cluster_disk disk;
    struct cluster_batch *batches; /* not yet durable, oldest first */
    size_t batch_count;
    uint64_t commit;
    uint32_t snapshot_count;
    uint64_t snapshot_to[RAFT_REPLICAS_MAX]; /* asked for and not served */
    uint32_t read_count;
    struct raft_read reads[CLUSTER_READS_MAX]; /* answers since last looked at */
    uint64_t ret_index;
};

struct cluster_packet {
    struct raft_message m;
};

struct cluster {
    struct cluster_replica replicas[CLUSTER_MAX + 1]; /* by id, 0 unused */
    uint64_t now_ms;
    uint64_t random; /* what the next events carry */
    /* of replicas that start from now on */
    bool stays_joint;
    bool knows_nodes; /* everybody hears everybody to begin with */
    uint32_t lease_ms;
    struct cluster_packet *packets;
    size_t packet_count;
    bool tracing;
    size_t trace_size;
    char trace[CLUSTER_TRACE_MAX];
    /* called after every step, for checkers */
    void (*watch)(struct cluster *c, struct cluster_replica *n, const struct raft_update *u);
    void (*watch_apply)(struct cluster *c, struct cluster_replica *n, const struct raft_entry *e);
    void *ctx;
    struct raft_update update;
};

/* ---- trace ------------------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static inline void cluster_say(struct cluster *c, const char *format, ...) {
    if (!c->tracing) {
        return;
    }
    va_list args;
    va_start(args, format);
    int n = vsnprintf(c->trace + c->trace_size, CLUSTER_TRACE_MAX - c->trace_size, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < CLUSTER_TRACE_MAX - c->trace_size);
    c->trace_size += (size_t)n;
}

static inline void cluster_forget_trace(struct cluster *c) {
    c->trace_size = 0;
    c->trace[0] = '\0';
}

/* What happened since the last look is exactly this. */
#define expect(c, text)                          \
    do {                                         \
        assert_string_equal((c)->trace, (text)); \
        cluster_forget_trace(c);                 \
    } while (0)

#define U(x) ((unsigned long long)(x))

static inline void cluster_say_message(struct cluster *c, const struct raft_message *m) {
    static const char *const names[] = {"prevote", "prevote", "vote", "vote", "append", "append", "beat", "beat-ok"};
    cluster_say(c, "n%llu>n%llu ", U(m->from), U(m->to));
    switch (m->kind) {
    case RAFT_PREVOTE:
    case RAFT_VOTE:
        cluster_say(c, "%s t%llu last %llu/%llu\n", names[m->kind], U(m->term), U(m->index), U(m->log_term));
        break;
    case RAFT_PREVOTE_REPLY:
    case RAFT_VOTE_REPLY:
        cluster_say(c, "%s-%s t%llu\n", names[m->kind], m->reject ? "no" : "ok", U(m->term));
        break;
    case RAFT_APPEND:
        cluster_say(c, "append t%llu prev %llu/%llu n%u commit %llu\n", U(m->term), U(m->index), U(m->log_term),
                    m->entry_count, U(m->commit));
        break;
    case RAFT_APPEND_REPLY:
        if (m->reject) {
            cluster_say(c, "nack t%llu hint %llu/%llu\n", U(m->term), U(m->index), U(m->log_term));
        } else {
            cluster_say(c, "ack t%llu match %llu\n", U(m->term), U(m->index));
        }
        break;
    case RAFT_HEARTBEAT:
        cluster_say(c, "beat t%llu commit %llu round %llu\n", U(m->term), U(m->commit), U(m->context));
        break;
    case RAFT_HEARTBEAT_REPLY:
        cluster_say(c, "beat-ok t%llu at %llu round %llu\n", U(m->term), U(m->index), U(m->context));
        break;
    case RAFT_TIMEOUT_NOW:
        cluster_say(c, "take over t%llu\n", U(m->term));
        break;
    default:
        fail_msg("unknown message kind");
    }
}

static inline void cluster_say_durable(struct cluster *c, uint64_t id, const struct cluster_batch *b) {
    cluster_say(c, "n%llu persist #%llu", U(id), U(b->seq));
    if (b->install) {
        cluster_say(c, " install %llu/%llu", U(b->base_index), U(b->base_term));
    }
    if (b->hard_changed) {
        cluster_say(c, " hard t%llu v%llu", U(b->hard.term), U(b->hard.vote));
    }
    if (b->append_from) {
        cluster_say(c, " log [%llu..%llu]", U(b->append_from), U(b->append_to));
    }
    cluster_say(c, "\n");
}

/* ---- disk ------------------------------------------------------------------------------------------------------- */

static inline void cluster_batch_release(struct cluster_batch *b) {
    for (uint64_t i = 0; b->append_from && b->append_from + i <= b->append_to; i++) {
        raft_entry_unref(b->entries[i]);
    }
    free(b->entries);
}

static inline void cluster_batch_add(struct cluster *c, struct cluster_replica *n, const struct raft_update *u) {
    assert_true(n->batch_count < CLUSTER_BATCHES_MAX);
    struct cluster_batch *b = &n->batches[n->batch_count++];
    *b = (struct cluster_batch){.seq = u->persist_seq,
                                .hard_changed = u->hard_changed,
                                .install = u->install,
                                .hard = raft_hard(n->raft),
                                .append_from = u->append_from,
                                .append_to = u->append_to};
    const struct raft_config *config;
    raft_base(n->raft, &b->base_index, &b->base_term, &config);
    b->base_config = *config;
    if (u->append_from && u->append_to >= u->append_from) {
        b->entries = calloc((size_t)(u->append_to - u->append_from + 1), sizeof(struct raft_entry *));
        assert_non_null(b->entries);
        for (uint64_t i = u->append_from; i <= u->append_to; i++) {
            b->entries[i - u->append_from] = raft_entry_ref(raft_entry_at(n->raft, i));
        }
    }
    cluster_say_durable(c, n->id, b);
}

static inline uint64_t cluster_disk_last(const struct cluster_disk *d) {
    return d->base_index + d->count;
}

static inline void cluster_disk_truncate(struct cluster_disk *d, uint64_t from) {
    while (d->count > 0 && cluster_disk_last(d) >= from) {
        raft_entry_unref(d->entries[--d->count]);
    }
}

static inline void cluster_disk_write(struct cluster_disk *d, struct cluster_batch *b) {
    if (b->install) {
        cluster_disk_truncate(d, 0);
        d->base_index = b->base_index;
        d->base_term = b->base_term;
        d->base_config = b->base_config;
        d->applied = b->base_index;
    }
    if (b->hard_changed) {
        d->hard = b->hard;
    }
    if (b->append_from) {
        cluster_disk_truncate(d, b->append_from);
        assert_int_equal(cluster_disk_last(d) + 1, b->append_from);
        for (uint64_t i = b->append_from; i <= b->append_to; i++) {
            assert_true(d->count < CLUSTER_LOG_MAX);
            d->entries[d->count++] = raft_entry_ref(b->entries[i - b->append_from]);
        }
    }
}

static inline void cluster_disk_compact(struct cluster_disk *d, uint64_t index, uint64_t term,
                                        const struct raft_config *config) {
    assert_true(index >= d->base_index && index <= cluster_disk_last(d));
    size_t drop = (size_t)(index - d->base_index);
    for (size_t i = 0; i < drop; i++) {
        raft_entry_unref(d->entries[i]);
    }
    d->count -= drop;
    memmove(d->entries, d->entries + drop, d->count * sizeof *d->entries);
    d->base_index = index;
    d->base_term = term;
    d->base_config = *config;
}

/* ---- steps ------------------------------------------------------------------------------------------------------ */

static inline struct cluster_replica *cluster_at(struct cluster *c, uint64_t id) {
    assert_true(id > 0 && id <= CLUSTER_MAX);
    return &c->replicas[id];
}

static inline void cluster_send(struct cluster *c, const struct raft_message *m) {
    cluster_say_message(c, m);
    assert_int_equal(m->to_node, CLUSTER_NODE(m->to));
    assert_true(c->packet_count < CLUSTER_PACKETS_MAX);
    struct cluster_packet *p = &c->packets[c->packet_count++];
    p->m = *m;
    p->m.to_node = 0;
    p->m.from_node = CLUSTER_NODE(m->from);
    p->m.entries = NULL;
    if (m->entry_count > 0) {
        p->m.entries = calloc(m->entry_count, sizeof(struct raft_entry *));
        assert_non_null(p->m.entries);
        for (uint32_t i = 0; i < m->entry_count; i++) { /* a copy, as over a wire */
            const struct raft_entry *e = m->entries[i];
            p->m.entries[i] = raft_entry_new(e->index, e->term, (enum raft_entry_kind)e->kind, e->data, e->size);
        }
    }
}

static inline void cluster_packet_release(struct cluster_packet *p) {
    for (uint32_t i = 0; i < p->m.entry_count; i++) {
        raft_entry_unref(p->m.entries[i]);
    }
    free(p->m.entries);
}

static inline void cluster_take_update(struct cluster *c, struct cluster_replica *n, const struct raft_update *u) {
    static const char *const roles[] = {"follower", "precandidate", "candidate", "leader"};
    if (u->role_changed) {
        struct raft_status s;
        raft_status(n->raft, &s);
        cluster_say(c, "n%llu %s t%llu\n", U(n->id), roles[s.role], U(s.term));
    }
    if (u->config_changed) {
        cluster_say(c, "n%llu config %llu\n", U(n->id), U(raft_config(n->raft)->index));
    }
    if (u->persist_seq) {
        cluster_batch_add(c, n, u);
    }
    for (uint32_t i = 0; i < u->message_count; i++) {
        cluster_send(c, &u->messages[i]);
    }
    if (u->commit != n->commit) {
        cluster_say(c, "n%llu commit %llu\n", U(n->id), U(u->commit));
        n->commit = u->commit;
    }
    for (uint32_t i = 0; i < u->read_count; i++) {
        const struct raft_read *read = &u->reads[i];
        if (read->status == 0) {
            cluster_say(c, "n%llu read %llu at %llu\n", U(n->id), U(read->handle), U(read->index));
        } else {
            cluster_say(c, "n%llu read %llu %s\n", U(n->id), U(read->handle), err_name(read->status));
        }
        assert_true(n->read_count < CLUSTER_READS_MAX);
        n->reads[n->read_count++] = *read;
    }
    for (uint32_t i = 0; i < u->snapshot_count; i++) {
        cluster_say(c, "n%llu snapshot for n%llu\n", U(n->id), U(u->snapshot_to[i]));
        assert_true(n->snapshot_count < RAFT_REPLICAS_MAX);
        n->snapshot_to[n->snapshot_count++] = u->snapshot_to[i];
    }
}

static inline int cluster_step(struct cluster *c, uint64_t id, struct raft_event event) {
    struct cluster_replica *n = cluster_at(c, id);
    assert_non_null(n->raft);
    event.now_ms = c->now_ms;
    event.random = c->random;
    int rc = raft_step(n->raft, &event, &c->update);
    raft_invariant(n->raft);
    n->ret_index = c->update.ret_index;
    cluster_take_update(c, n, &c->update);
    if (c->watch) {
        c->watch(c, n, &c->update);
    }
    return rc;
}

/* Applies what is committed and on the disk with the same content as in memory. */
static inline void cluster_apply(struct cluster *c, uint64_t id) {
    struct cluster_replica *n = cluster_at(c, id);
    struct cluster_disk *d = &n->disk;
    uint64_t before = d->applied;
    while (d->applied < n->commit && d->applied < cluster_disk_last(d) && d->applied >= d->base_index) {
        const struct raft_entry *stored = d->entries[d->applied - d->base_index];
        const struct raft_entry *held = raft_entry_at(n->raft, d->applied + 1);
        if (!held || held->term != stored->term) {
            break;
        }
        d->applied++;
        if (c->watch_apply) {
            c->watch_apply(c, n, stored);
        }
    }
    if (d->applied != before) {
        (void)cluster_step(c, id, (struct raft_event){.kind = RAFT_EV_APPLIED, .index = d->applied});
    }
}

/* Makes the oldest `count` batches durable, and reports them. */
static inline void cluster_persist_some(struct cluster *c, uint64_t id, size_t count) {
    struct cluster_replica *n = cluster_at(c, id);
    assert_true(count <= n->batch_count);
    if (count > 0) {
        uint64_t seq = n->batches[count - 1].seq;
        for (size_t i = 0; i < count; i++) {
            cluster_disk_write(&n->disk, &n->batches[i]);
            cluster_batch_release(&n->batches[i]);
        }
        n->batch_count -= count;
        memmove(n->batches, n->batches + count, n->batch_count * sizeof *n->batches);
        assert_int_equal(cluster_step(c, id, (struct raft_event){.kind = RAFT_EV_PERSISTED, .seq = seq}), 0);
    }
    cluster_apply(c, id);
}

static inline void cluster_persist(struct cluster *c, uint64_t id) {
    cluster_persist_some(c, id, cluster_at(c, id)->batch_count);
}

static inline int cluster_tick(struct cluster *c, uint64_t id) {
    return cluster_step(c, id, (struct raft_event){.kind = RAFT_EV_TICK});
}

/* Moves the clock to when this replica wants its tick, and ticks it. */
static inline void cluster_wake(struct cluster *c, uint64_t id) {
    uint64_t at = raft_wake_ms(cluster_at(c, id)->raft);
    assert_true(at != UINT64_MAX);
    c->now_ms = at > c->now_ms ? at : c->now_ms;
    assert_int_equal(cluster_tick(c, id), 0);
}

static inline void cluster_campaign(struct cluster *c, uint64_t id) {
    assert_int_equal(cluster_step(c, id, (struct raft_event){.kind = RAFT_EV_CAMPAIGN}), 0);
}

static inline int cluster_propose(struct cluster *c, uint64_t id, const char *text) {
    struct raft_event event = {.kind = RAFT_EV_PROPOSE};
    event.propose.data = text;
    event.propose.size = strlen(text);
    return cluster_step(c, id, event);
}

static inline int cluster_read(struct cluster *c, uint64_t id, uint64_t handle) {
    return cluster_step(c, id, (struct raft_event){.kind = RAFT_EV_READ, .read = handle});
}

static inline int cluster_configure(struct cluster *c, uint64_t id, const struct raft_config *config) {
    return cluster_step(c, id, (struct raft_event){.kind = RAFT_EV_CONFIG, .config = config});
}

/* For cluster_receive: what a test says in the name of a replica. */
static inline struct raft_message cluster_request(enum raft_message_kind kind, uint64_t from, uint64_t to,
                                                  uint64_t term, uint64_t index, uint64_t log_term) {
    return (struct raft_message){.kind = kind,
                                 .from = from,
                                 .from_node = CLUSTER_NODE(from),
                                 .to = to,
                                 .term = term,
                                 .index = index,
                                 .log_term = log_term};
}

static inline int cluster_receive(struct cluster *c, uint64_t id, struct raft_message *m) {
    return cluster_step(c, id, (struct raft_event){.kind = RAFT_EV_MESSAGE, .message = m});
}

static inline void cluster_compact(struct cluster *c, uint64_t id, uint64_t index) {
    (void)cluster_step(c, id, (struct raft_event){.kind = RAFT_EV_COMPACT, .index = index});
    uint64_t base_index, base_term;
    const struct raft_config *config;
    struct cluster_replica *n = cluster_at(c, id);
    raft_base(n->raft, &base_index, &base_term, &config);
    if (base_index > n->disk.base_index && base_index <= n->disk.applied) {
        cluster_disk_compact(&n->disk, base_index, base_term, config);
    }
}

/* The snapshot that `from` would send now, received by `to`. */
static inline int cluster_install(struct cluster *c, uint64_t to, uint64_t from, uint64_t index, uint64_t term,
                                  uint64_t leader_term, const struct raft_config *config) {
    struct raft_event event = {.kind = RAFT_EV_SNAPSHOT};
    event.snapshot.index = index;
    event.snapshot.term = term;
    event.snapshot.config = config;
    event.snapshot.from = from;
    event.snapshot.from_node = CLUSTER_NODE(from);
    event.snapshot.leader_term = leader_term;
    return cluster_step(c, to, event);
}

static inline void cluster_sent(struct cluster *c, uint64_t id, uint64_t replica, uint64_t index, bool ok) {
    struct raft_event event = {.kind = RAFT_EV_SNAPSHOT_SENT};
    event.sent.replica = replica;
    event.sent.index = index;
    event.sent.ok = ok;
    struct cluster_replica *n = cluster_at(c, id);
    for (uint32_t i = 0; i < n->snapshot_count; i++) {
        if (n->snapshot_to[i] == replica) {
            n->snapshot_to[i] = n->snapshot_to[--n->snapshot_count];
        }
    }
    assert_int_equal(cluster_step(c, id, event), 0);
}

/* ---- the network ------------------------------------------------------------------------------------------------ */

/* Takes packet i off the network; the caller releases it. */
static inline struct cluster_packet cluster_take(struct cluster *c, size_t i) {
    assert_true(i < c->packet_count);
    struct cluster_packet p = c->packets[i];
    c->packet_count--;
    memmove(c->packets + i, c->packets + i + 1, (c->packet_count - i) * sizeof p);
    return p;
}

static inline int cluster_deliver_at(struct cluster *c, size_t i) {
    struct cluster_packet p = cluster_take(c, i);
    int rc = 0;
    if (cluster_at(c, p.m.to)->raft) {
        rc = cluster_receive(c, p.m.to, &p.m);
    }
    cluster_packet_release(&p);
    return rc;
}

/* Delivers what is under way from one replica to another now (0: any); answers stay under way. */
static inline void cluster_deliver(struct cluster *c, uint64_t from, uint64_t to) {
    size_t left = c->packet_count;
    size_t i = 0;
    while (left-- > 0) {
        const struct raft_message *m = &c->packets[i].m;
        if ((from == 0 || m->from == from) && (to == 0 || m->to == to)) {
            assert_int_equal(cluster_deliver_at(c, i), 0);
        } else {
            i++;
        }
    }
}

static inline void cluster_drop(struct cluster *c, uint64_t from, uint64_t to) {
    for (size_t i = 0; i < c->packet_count;) {
        const struct raft_message *m = &c->packets[i].m;
        if ((from == 0 || m->from == from) && (to == 0 || m->to == to)) {
            struct cluster_packet p = cluster_take(c, i);
            cluster_packet_release(&p);
        } else {
            i++;
        }
    }
}

static inline bool cluster_persist_all(struct cluster *c) {
    bool any = false;
    for (uint64_t id = 1; id <= CLUSTER_MAX; id++) {
        struct cluster_replica *n = cluster_at(c, id);
        if (n->raft && (n->batch_count > 0 || n->disk.applied < n->commit)) {
            uint64_t applied = n->disk.applied;
            any = any || n->batch_count > 0;
            cluster_persist(c, id);
            any = any || n->disk.applied > applied;
        }
    }
    return any;
}

/* Everything is delivered and durable, until nothing more happens. No time passes. */
static inline void cluster_settle(struct cluster *c) {
    for (int i = 0; i < CLUSTER_ROUNDS_MAX; i++) {
        bool any = cluster_persist_all(c);
        any = any || c->packet_count > 0;
        if (c->packet_count > 0) {
            (void)cluster_deliver_at(c, 0);
        }
        if (!any) {
            return;
        }
    }
    fail_msg("the cluster does not come to rest");
}

/* Persists and delivers in turns until the condition holds. */
#define cluster_until(c, condition)            \
    do {                                       \
        for (int i_ = 0; !(condition); i_++) { \
            assert_true(i_ < 100);             \
            (void)cluster_persist_all(c);      \
            cluster_deliver((c), 0, 0);        \
        }                                      \
    } while (0)

/* ---- life ------------------------------------------------------------------------------------------------------- */

/* What replica `id` hears of the node of another. */
static inline void cluster_hears(struct cluster *c, uint64_t id, uint64_t other, bool alive) {
    struct cluster_replica *n = cluster_at(c, id);
    struct raft_event event = {.kind = RAFT_EV_NODE};
    event.liveness.node = CLUSTER_NODE(other);
    event.liveness.alive = alive;
    assert_int_equal(raft_nodes_set(n->nodes, CLUSTER_NODE(other), alive, c->now_ms), 0);
    assert_int_equal(cluster_step(c, id, event), 0);
}

static inline void cluster_nodes_boot(struct cluster *c, struct cluster_replica *n) {
    if (c->knows_nodes && !n->nodes) {
        assert_int_equal(raft_nodes_new(&n->nodes), 0);
        for (uint64_t id = 1; id <= CLUSTER_MAX; id++) {
            assert_int_equal(raft_nodes_set(n->nodes, CLUSTER_NODE(id), true, c->now_ms), 0);
        }
    }
}

static inline struct raft_start cluster_start_of(struct cluster *c, struct cluster_replica *n) {
    struct raft_timing timing = CLUSTER_TIMING;
    timing.lease_ms = c->lease_ms;
    return (struct raft_start){.self = n->id,
                               .timing = timing,
                               .nodes = n->nodes,
                               .stays_joint = c->stays_joint,
                               .hard = n->disk.hard,
                               .base_index = n->disk.base_index,
                               .base_term = n->disk.base_term,
                               .base_config = &n->disk.base_config,
                               .applied = n->disk.applied,
                               .entries = n->disk.entries,
                               .entry_count = n->disk.count,
                               .now_ms = c->now_ms,
                               .random = c->random};
}

static inline void cluster_boot(struct cluster *c, uint64_t id) {
    struct cluster_replica *n = cluster_at(c, id);
    assert_null(n->raft);
    cluster_nodes_boot(c, n);
    struct raft_start start = cluster_start_of(c, n);
    assert_int_equal(raft_new(&start, &n->raft), 0);
    raft_invariant(n->raft);
    n->commit = n->disk.applied;
}

static inline void cluster_crash(struct cluster *c, uint64_t id) {
    struct cluster_replica *n = cluster_at(c, id);
    raft_free(n->raft);
    n->raft = NULL;
    for (size_t i = 0; i < n->batch_count; i++) {
        cluster_batch_release(&n->batches[i]);
    }
    n->batch_count = 0;
    n->snapshot_count = 0;
    n->read_count = 0;
}

/* Whoever has just started votes for nobody for a while, if it may have known a leader. */
static inline void cluster_unstick(struct cluster *c) {
    c->now_ms += CLUSTER_TIMING.election_min_ms;
}

static inline void cluster_restart(struct cluster *c, uint64_t id) {
    cluster_crash(c, id);
    cluster_boot(c, id);
}

/* A row: "voter 3" is row(3, RAFT_VOTER). */
static inline void cluster_row(struct raft_config *config, uint64_t id, unsigned flags) {
    assert_true(config->count < RAFT_REPLICAS_MAX);
    config->replicas[config->count++] =
        (struct raft_replica){.id = id, .node = CLUSTER_NODE(id), .flags = (uint8_t)flags};
    config->next_id = id >= config->next_id ? id + 1 : config->next_id;
}

static inline struct raft_config cluster_voters(uint64_t count) {
    struct raft_config config = {.next_id = 1};
    for (uint64_t id = 1; id <= count; id++) {
        cluster_row(&config, id, RAFT_VOTER);
    }
    return config;
}

/* The replica exists on its disk, with this configuration at base 0, and is not running yet. */
static inline void cluster_create(struct cluster *c, uint64_t id, const struct raft_config *config) {
    struct cluster_replica *n = cluster_at(c, id);
    assert_int_equal(n->id, 0);
    n->id = id;
    n->disk.base_config = *config;
    n->disk.entries = calloc(CLUSTER_LOG_MAX, sizeof(struct raft_entry *));
    n->batches = calloc(CLUSTER_BATCHES_MAX, sizeof *n->batches);
    assert_non_null(n->disk.entries);
    assert_non_null(n->batches);
}

/* Seeds the disk: one letter for each entry, its term; '4' is term 4. */
static inline void cluster_seed(struct cluster *c, uint64_t id, const char *terms, uint64_t term, uint64_t applied) {
    struct cluster_disk *d = &cluster_at(c, id)->disk;
    d->hard.term = term;
    d->applied = applied;
    for (const char *t = terms; *t; t++) {
        uint64_t index = cluster_disk_last(d) + 1;
        char text[32];
        int size = snprintf(text, sizeof text, "seed %c", *t);
        d->entries[d->count++] = raft_entry_new(index, (uint64_t)(*t - '0'), RAFT_ENTRY_COMMAND, text, (size_t)size);
    }
}

static inline struct cluster *cluster_new(void) {
    struct cluster *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->packets = calloc(CLUSTER_PACKETS_MAX, sizeof *c->packets);
    assert_non_null(c->packets);
    c->tracing = true;
    c->now_ms = 10000;
    return c;
}

static inline void cluster_found(struct cluster *c, uint64_t count) {
    struct raft_config config = cluster_voters(count);
    for (uint64_t id = 1; id <= count; id++) {
        cluster_create(c, id, &config);
        cluster_boot(c, id);
    }
}

/* `count` voters with empty logs, running. */
static inline struct cluster *cluster_of(uint64_t count) {
    struct cluster *c = cluster_new();
    cluster_found(c, count);
    return c;
}

static inline void cluster_free(struct cluster *c) {
    cluster_drop(c, 0, 0);
    for (uint64_t id = 1; id <= CLUSTER_MAX; id++) {
        struct cluster_replica *n = &c->replicas[id];
        cluster_crash(c, id);
        raft_nodes_free(n->nodes);
        cluster_disk_truncate(&n->disk, 0);
        free(n->disk.entries);
        free(n->batches);
    }
    free(c->packets);
    free(c);
}

/* ---- views ------------------------------------------------------------------------------------------------------ */

static inline struct raft_status cluster_status(struct cluster *c, uint64_t id) {
    struct raft_status s;
    raft_status(cluster_at(c, id)->raft, &s);
    return s;
}

static inline enum raft_role cluster_role(struct cluster *c, uint64_t id) {
    return cluster_status(c, id).role;
}

/* The terms of the retained log, one letter each. */
static inline const char *cluster_terms(struct cluster *c, uint64_t id, char out[64]) {
    struct raft_status s = cluster_status(c, id);
    size_t at = 0;
    for (uint64_t i = s.first; i <= s.last; i++) {
        assert_true(at < 63);
        out[at++] = (char)('0' + raft_entry_at(cluster_at(c, id)->raft, i)->term);
    }
    out[at] = '\0';
    return out;
}

#define assert_terms(c, id, text)                                \
    do {                                                         \
        char terms_[64];                                         \
        assert_string_equal(cluster_terms(c, id, terms_), text); \
    } while (0)

/* Makes `id` the leader of everyone reachable, and settles. */
static inline void cluster_elect(struct cluster *c, uint64_t id) {
    c->now_ms += CLUSTER_TIMING.election_max_ms; /* nobody sticks to an earlier leader */
    cluster_campaign(c, id);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, id), RAFT_LEADER);
    cluster_forget_trace(c);
}

#endif
