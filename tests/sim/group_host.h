/* For tests of replicas that come and go: one node of groups, and another that asks it for things a leader would ask
 * for. */
#ifndef SHOAL_TEST_GROUP_HOST_H
#define SHOAL_TEST_GROUP_HOST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "errors.h"
#include "groups.h"
#include "journal.h"
#include "sim.h"
#include "store.h"

#define HOSTS 2
#define LEADER 2 /* the host that asks */
#define BITS 0
#define ARC 1 /* the only group that is not the root */
#define ANSWERS_MAX 8
#define BODY_MAX 65536

struct answer {
    struct fixture *fixture;
    bool here;
    int status;
    uint8_t body[BODY_MAX];
    size_t size;
};

struct group_host {
    struct fixture *fixture;
    struct sim_ports ports;
    struct timers timers;
    struct identity identity;
    struct peers *peers;
    struct groups *groups;
    bool started;
    int removed;
    int asks;        /* whether a replica still belongs */
    const int *says; /* answers of host 2 to proposals, one after the other */
    int says_count;
    struct pupil {
        bool here;               /* host 2 plays replica 2, which knows nothing yet */
        int silent_at;           /* this piece, counted from 1, is not answered */
        int pieces;              /* that came, */
        uint32_t first, highest; /* number of the first after the silence; of all */
    } pupil;
};

struct fixture {
    struct sim *sim;
    struct members *members;
    uint8_t swarm[32];
    struct group_host hosts[HOSTS + 1];
    struct answer answers[ANSWERS_MAX];
    int asked;
    struct answer local;
    uint32_t piece_bytes, log_bytes_max, logs_bytes_max;
    struct placement *placement;
};

/* ---- a replica that knows nothing ---------------------------------------------------------------------------------
 */

/* It rejects whatever the log offers. */
static inline void pupil_hears(struct group_host *h, const uint8_t *frame, size_t size) {
    struct raft_batch_reader *reader;
    struct raft_message *m;
    uint32_t group;
    struct buf *out = peers_control(h->peers, 1);
    assert_int_equal(raft_batch_open(frame, size, &reader), 0);
    while (out && raft_batch_next(reader, &group, &m) == 0) {
        struct raft_message no = {.kind = RAFT_APPEND_REPLY, .reject = true, .from = 2, .to = 1, .term = m->term};
        struct raft_batch batch;
        if (m->kind == RAFT_APPEND) {
            no.context = m->context;
            peer_raft_begin(&batch, out);
            assert_true(peer_raft_add(&batch, group, &no));
            peer_raft_end(&batch);
        }
    }
    raft_batch_close(reader);
}

static inline void pupil_is_asked(struct group_host *h, struct peers_call *call, enum peer_op op, const uint8_t *body,
                                  size_t size) {
    struct pupil *pupil = &h->pupil;
    struct snapshot_piece piece;
    if (op == OP_SNAPSHOT) {
        assert_int_equal(snapshot_piece_decode(body, size, &piece), 0);
    }
    if (op != OP_SNAPSHOT || piece.group != ARC) {
        peers_reply(call, op == OP_REPLICA_CREATE ? 0 : ERR_BUSY, NULL, 0);
        return;
    }
    pupil->pieces++;
    pupil->first = pupil->pieces == pupil->silent_at + 1 ? piece.number : pupil->first;
    pupil->highest = piece.number > pupil->highest ? piece.number : pupil->highest;
    if (pupil->pieces != pupil->silent_at) {
        peers_reply(call, 0, NULL, 0);
    }
}

/* ---- a node of peers, and of groups on host 1 -------------------------------------------------------------------- */

static inline void on_ping(void *ctx, uint32_t from, const struct peer_ping *ping) {
    (void)ctx;
    (void)from;
    (void)ping;
}

static inline void on_raft(void *ctx, uint32_t from, const uint8_t *frame, size_t size) {
    struct group_host *h = ctx;
    if (h->groups) {
        groups_raft(h->groups, from, frame, size);
    } else if (h->pupil.here) {
        pupil_hears(h, frame, size);
    }
}

static inline void on_routes(void *ctx, uint32_t from, const uint8_t *frame, size_t size) {
    struct group_host *h = ctx;
    if (h->groups) {
        groups_routes(h->groups, from, frame, size);
    }
}

static inline void on_request(void *ctx, struct peers_call *call, enum peer_op op, const uint8_t *body, size_t size) {
    struct group_host *h = ctx;
    h->asks += op == OP_REPLICA_ASK;
    if (h->groups && h->started) {
        groups_request(h->groups, call, op, body, size);
    } else if (h->pupil.here) {
        pupil_is_asked(h, call, op, body, size);
    } else if (op == OP_PROPOSE && h->says_count > 0) {
        h->says_count--;
        peers_reply(call, *h->says++, NULL, 0);
    } else {
        peers_reply(call, ERR_BUSY, NULL, 0);
    }
}

static inline void on_node(void *ctx, uint32_t node) {
    (void)ctx;
    (void)node;
}

static inline void on_led(void *ctx, uint32_t from, const uint8_t *frame, size_t size) {
    struct group_host *h = ctx;
    if (h->groups) {
        groups_led(h->groups, from, frame, size);
    }
}

static inline void on_alive(void *ctx, uint32_t node) {
    struct group_host *h = ctx;
    if (h->groups) {
        groups_peer_alive(h->groups, node);
    }
}

static inline void on_lapsed(void *ctx, uint32_t node, uint64_t heard_ms) {
    struct group_host *h = ctx;
    if (h->groups) {
        groups_peer_lapsed(h->groups, node, heard_ms);
    }
}

static inline void on_log(void *ctx, const char *line) {
    (void)ctx;
    (void)line;
}

static inline bool on_make_ping(void *ctx, struct peer_ping *out) {
    const struct group_host *h = ctx;
    out->incarnation = 1;
    return !h->groups || !groups_disk_stuck(h->groups);
}

static inline void on_accepted(void *ctx, struct net_conn *c, enum net_kind kind) {
    (void)kind;
    peers_accepted(((struct group_host *)ctx)->peers, c);
}

static inline void on_connected(void *ctx, struct net_conn *c) {
    peers_connected(((struct group_host *)ctx)->peers, c);
}

static inline void on_received(void *ctx, struct net_conn *c, const uint8_t *bytes, size_t size) {
    if (net_user(c)) {
        peers_received(((struct group_host *)ctx)->peers, c, bytes, size);
    }
}

static inline void on_drained(void *ctx, struct net_conn *c) {
    peers_drained(((struct group_host *)ctx)->peers, c);
}

static inline void on_closed(void *ctx, struct net_conn *c, int status) {
    peers_closed(((struct group_host *)ctx)->peers, c, status);
}

static inline void on_wake(void *ctx) {
    struct group_host *h = ctx;
    timers_run(&h->timers, clock_now_ms(h->ports.clock));
    clock_wake_at(h->ports.clock, timers_next(&h->timers));
}

static inline void on_arm(void *ctx, uint64_t at_ms) {
    clock_wake_at(((struct group_host *)ctx)->ports.clock, at_ms);
}

static inline void hook_applied(void *ctx, uint32_t group, uint64_t index, const struct machine_effect *effects,
                                size_t count) {
    (void)ctx;
    (void)group;
    (void)index;
    (void)effects;
    (void)count;
}

static inline void hook_installed(void *ctx, uint32_t group, uint64_t index) {
    (void)ctx;
    (void)group;
    (void)index;
}

static inline void hook_removed(void *ctx, uint32_t group) {
    (void)group;
    ((struct group_host *)ctx)->removed++;
}

static inline void hook_leader(void *ctx, uint32_t group, bool leading) {
    (void)ctx;
    (void)group;
    (void)leading;
}

static inline bool hook_complete(void *ctx, uint32_t group, uint64_t index) {
    (void)ctx;
    (void)group;
    (void)index;
    return true;
}

static inline void hook_root_changed(void *ctx) {
    (void)ctx;
}

static inline void hook_failed(void *ctx, int status, const char *what) {
    (void)ctx;
    fail_msg("%s: %s", what, err_text(status));
}

static inline void on_started(void *ctx, int status) {
    assert_int_equal(status, 0);
    ((struct group_host *)ctx)->started = true;
}

static inline void boot_peers(struct group_host *h) {
    struct peers_params pp = {.net = h->ports.net,
                              .clock = h->ports.clock,
                              .random = h->ports.random,
                              .timers = &h->timers,
                              .identity = &h->identity,
                              .events = {.ping = on_ping,
                                         .raft = on_raft,
                                         .routes = on_routes,
                                         .led = on_led,
                                         .request = on_request,
                                         .opened = on_node,
                                         .lost = on_node,
                                         .alive = on_alive,
                                         .lapsed = on_lapsed,
                                         .log = on_log,
                                         .make_ping = on_make_ping,
                                         .ctx = h}};
    const struct net_events events = {on_accepted, on_connected, on_received, on_drained, on_closed, h};
    timers_init(&h->timers, on_arm, h);
    clock_on_wake(h->ports.clock, on_wake, h);
    assert_int_equal(peers_new(&pp, &h->peers), 0);
    net_on_events(h->ports.net, &events);
}

static inline void boot_groups(struct group_host *h) {
    struct groups_params gp = {
        .clock = h->ports.clock,
        .random = h->ports.random,
        .timers = &h->timers,
        .disk = h->ports.disk,
        .peers = h->peers,
        .tuning = {.timing = {.heartbeat_ms = 150, .election_min_ms = 500, .election_max_ms = 1000},
                   .compact_entries = 256,
                   .compact_bytes = 65536,
                   .log_bytes_max = h->fixture->log_bytes_max,
                   .logs_bytes_max = h->fixture->logs_bytes_max,
                   .moves_max = 4,
                   .snapshots_max = 6,
                   .piece_bytes = h->fixture->piece_bytes,
                   .apply_max = 512},
        .hooks = {hook_applied, hook_installed, hook_removed, hook_leader, hook_complete, hook_root_changed,
                  hook_failed, h}};
    assert_int_equal(groups_new(&gp, &h->groups), 0);
    groups_start(h->groups, BITS, 1, on_started, h);
}

static inline void boot(void *ctx, struct sim_host *host, const struct sim_ports *ports) {
    struct fixture *f = ctx;
    uint32_t number = sim_host_number(host);
    struct group_host *h = &f->hosts[number];
    h->ports = *ports;
    boot_peers(h);
    assert_int_equal(net_listen(ports->net, NET_PEER, sim_host_addr(host), NULL, 0), 0);
    peers_set_swarm(h->peers, f->swarm, number);
    peers_set_members(h->peers, f->members);
    if (number != LEADER) {
        boot_groups(h);
    }
}

static inline void dead(void *ctx, struct sim_host *host) {
    struct fixture *f = ctx;
    struct group_host *h = &f->hosts[sim_host_number(host)];
    if (h->groups) {
        groups_stop(h->groups);
        sim_host_abandon_ops(host);
    }
    while (h->timers.count > 0) {
        timer_stop(&h->timers, h->timers.heap[0]);
    }
    groups_free(h->groups);
    peers_free(h->peers);
    timers_release(&h->timers);
    h->groups = NULL;
    h->peers = NULL;
    h->started = false;
}

/* ---- the world --------------------------------------------------------------------------------------------------- */

static inline void run_ms(struct fixture *f, uint64_t ms) {
    sim_run_until(f->sim, sim_now_us(f->sim) + ms * SIM_MS);
}

static inline void add_member(struct fixture *f, uint32_t node) {
    struct member m = {.node = node, .state = MEMBER_UP, .capacity = 1, .changed = 1};
    uint8_t seed[IDENTITY_SEED_SIZE];
    memset(seed, (int)node, sizeof(seed));
    struct identity *id = &f->hosts[node].identity;
    assert_int_equal(identity_from_seed(seed, id), 0);
    memcpy(m.id, id->public_key, sizeof(m.id));
    memcpy(m.dh, id->dh_public, sizeof(m.dh));
    assert_true(snprintf(m.addr, sizeof(m.addr), "%s", sim_host_addr(sim_host(f->sim, node))) > 0);
    assert_int_equal(members_apply(f->members, &m, 1), 0);
}

/* Host 1 founded the swarm and leads both its groups as replica 1; or it has no replica yet. */
static inline struct fixture *world(void **state, bool founder) {
    struct fixture *f = *state;
    struct txn *t;
    assert_int_equal(store_begin(sim_host_store(sim_host(f->sim, 1), DISK_META), true, &t), 0);
    assert_int_equal(founder ? groups_create_state(t, BITS, 1) : 0, 0);
    assert_int_equal(store_commit(t), 0);
    assert_int_equal(store_begin(sim_host_store(sim_host(f->sim, 1), DISK_LOG), true, &t), 0);
    assert_int_equal(founder ? groups_create_logs(t, BITS, 1) : 0, 0);
    assert_int_equal(store_commit(t), 0);
    sim_host_start(sim_host(f->sim, 1));
    sim_host_start(sim_host(f->sim, LEADER));
    run_ms(f, 1500);
    assert_true(f->hosts[1].started);
    assert_true(peers_alive(f->hosts[LEADER].peers, 1));
    return f;
}

static inline int setup(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    *state = f;
    assert_int_equal(crypto_init(), 0);
    f->piece_bytes = MACHINE_PIECE_MAX;
    f->log_bytes_max = 1u << 20;
    f->logs_bytes_max = 64u << 20;
    const struct sim_options options = {.seed = 1, .hosts = HOSTS, .capacity_bytes = 1u << 30};
    const struct sim_program program = {.boot = boot, .dead = dead, .ctx = f};
    f->sim = sim_new(&options, &program);
    assert_int_equal(members_new(&f->members), 0);
    for (uint32_t i = 1; i <= HOSTS; i++) {
        f->hosts[i].fixture = f;
        add_member(f, i);
    }
    return 0;
}

static inline int teardown(void **state) {
    struct fixture *f = *state;
    sim_free(f->sim);
    members_free(f->members);
    placement_free(f->placement);
    free(f);
    return 0;
}

/* ---- what the leader asks -----------------------------------------------------------------------------------------
 */

static inline void on_answer(void *ctx, int status, const uint8_t *body, size_t size) {
    struct answer *a = ctx;
    assert_false(a->here);
    assert_true(size <= sizeof(a->body));
    a->here = true;
    a->status = status;
    a->size = size;
    if (size > 0) {
        memcpy(a->body, body, size);
    }
}

/* Questions asked in one turn arrive in one turn, in this order. */
static inline struct answer *ask(struct fixture *f, enum peer_op op, const struct buf *body) {
    struct answer *a = &f->answers[f->asked++ % ANSWERS_MAX];
    *a = (struct answer){.fixture = f};
    peers_request(f->hosts[LEADER].peers, 1, LANE_CONTROL, op, body, 10000, on_answer, a);
    return a;
}

static inline struct answer *ask_replica(struct fixture *f, enum peer_op op, uint64_t id, uint64_t index) {
    struct replica_request req = {.group = ARC, .replica = id, .index = index};
    struct buf b;
    buf_init(&b, BODY_MAX);
    replica_request_encode(&req, &b);
    struct answer *a = ask(f, op, &b);
    buf_release(&b);
    return a;
}

static inline void expect(struct fixture *f, const struct answer *a, int status) {
    run_ms(f, 500);
    assert_true(a->here);
    assert_int_equal(a->status, status);
}

static inline void expect_create(struct fixture *f, uint64_t id, int status) {
    expect(f, ask_replica(f, OP_REPLICA_CREATE, id, 1), status);
}

static inline void expect_remove(struct fixture *f, uint64_t id, int status) {
    expect(f, ask_replica(f, OP_REPLICA_REMOVE, id, 100), status);
}

static inline uint64_t replica_here(struct fixture *f) {
    struct groups_info info;
    groups_info(f->hosts[1].groups, ARC, &info);
    return info.here ? info.replica : 0;
}

static inline void restart(struct fixture *f) {
    sim_host_crash(sim_host(f->sim, 1), SIM_CRASH_PROCESS);
    sim_host_start(sim_host(f->sim, 1));
    run_ms(f, 3000);
    assert_true(f->hosts[1].started);
    assert_true(peers_alive(f->hosts[LEADER].peers, 1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
