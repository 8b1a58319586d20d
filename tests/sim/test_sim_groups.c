/* Replicas that come and go: one node of groups, and another that asks it for things a leader would ask for. */
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
    int asks; /* whether a replica still belongs */
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
    uint32_t piece_bytes;
    struct placement *placement;
};

static void pupil_hears(struct group_host *h, const uint8_t *frame, size_t size);
static void pupil_is_asked(struct group_host *h, struct peers_call *call, enum peer_op op, const uint8_t *body,
                           size_t size);

/* ---- a node of peers, and of groups on host 1 -------------------------------------------------------------------- */

static void on_ping(void *ctx, uint32_t from, const struct peer_ping *ping) {
    (void)ctx;
    (void)from;
    (void)ping;
}

static void on_raft(void *ctx, uint32_t from, const uint8_t *frame, size_t size) {
    struct group_host *h = ctx;
    if (h->groups) {
        groups_raft(h->groups, from, frame, size);
    } else if (h->pupil.here) {
        pupil_hears(h, frame, size);
    }
}

static void on_routes(void *ctx, uint32_t from, const uint8_t *frame, size_t size) {
    struct group_host *h = ctx;
    if (h->groups) {
        groups_routes(h->groups, from, frame, size);
    }
}

static void on_request(void *ctx, struct peers_call *call, enum peer_op op, const uint8_t *body, size_t size) {
    struct group_host *h = ctx;
    h->asks += op == OP_REPLICA_ASK;
    if (h->groups && h->started) {
        groups_request(h->groups, call, op, body, size);
    } else if (h->pupil.here) {
        pupil_is_asked(h, call, op, body, size);
    } else {
        peers_reply(call, ERR_BUSY, NULL, 0);
    }
}

static void on_node(void *ctx, uint32_t node) {
    (void)ctx;
    (void)node;
}

static void on_led(void *ctx, uint32_t from, const uint8_t *frame, size_t size) {
    struct group_host *h = ctx;
    if (h->groups) {
        groups_led(h->groups, from, frame, size);
    }
}

static void on_alive(void *ctx, uint32_t node) {
    struct group_host *h = ctx;
    if (h->groups) {
        groups_peer_alive(h->groups, node);
    }
}

static void on_lapsed(void *ctx, uint32_t node, uint64_t heard_ms) {
    struct group_host *h = ctx;
    if (h->groups) {
        groups_peer_lapsed(h->groups, node, heard_ms);
    }
}

static void on_log(void *ctx, const char *line) {
    (void)ctx;
    (void)line;
}

static bool on_make_ping(void *ctx, struct peer_ping *out) {
    const struct group_host *h = ctx;
    out->incarnation = 1;
    return !h->groups || !groups_disk_stuck(h->groups);
}

static void on_accepted(void *ctx, struct net_conn *c, enum net_kind kind) {
    (void)kind;
    peers_accepted(((struct group_host *)ctx)->peers, c);
}

static void on_connected(void *ctx, struct net_conn *c) {
    peers_connected(((struct group_host *)ctx)->peers, c);
}

static void on_received(void *ctx, struct net_conn *c, const uint8_t *bytes, size_t size) {
    if (net_user(c)) {
        peers_received(((struct group_host *)ctx)->peers, c, bytes, size);
    }
}

static void on_drained(void *ctx, struct net_conn *c) {
    peers_drained(((struct group_host *)ctx)->peers, c);
}

static void on_closed(void *ctx, struct net_conn *c, int status) {
    peers_closed(((struct group_host *)ctx)->peers, c, status);
}

static void on_wake(void *ctx) {
    struct group_host *h = ctx;
    timers_run(&h->timers, clock_now_ms(h->ports.clock));
    clock_wake_at(h->ports.clock, timers_next(&h->timers));
}

static void on_arm(void *ctx, uint64_t at_ms) {
    clock_wake_at(((struct group_host *)ctx)->ports.clock, at_ms);
}

static void hook_applied(void *ctx, uint32_t group, uint64_t index, const struct machine_effect *effects,
                         size_t count) {
    (void)ctx;
    (void)group;
    (void)index;
    (void)effects;
    (void)count;
}

static void hook_installed(void *ctx, uint32_t group, uint64_t index) {
    (void)ctx;
    (void)group;
    (void)index;
}

static void hook_removed(void *ctx, uint32_t group) {
    (void)group;
    ((struct group_host *)ctx)->removed++;
}

static void hook_leader(void *ctx, uint32_t group, bool leading) {
    (void)ctx;
    (void)group;
    (void)leading;
}

static bool hook_complete(void *ctx, uint32_t group, uint64_t index) {
    (void)ctx;
    (void)group;
    (void)index;
    return true;
}

static void hook_root_changed(void *ctx) {
    (void)ctx;
}

static void hook_failed(void *ctx, int status, const char *what) {
    (void)ctx;
    fail_msg("%s: %s", what, err_text(status));
}

static void on_started(void *ctx, int status) {
    assert_int_equal(status, 0);
    ((struct group_host *)ctx)->started = true;
}

static void boot_peers(struct group_host *h) {
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

static void boot_groups(struct group_host *h) {
    struct groups_params gp = {
        .clock = h->ports.clock,
        .random = h->ports.random,
        .timers = &h->timers,
        .disk = h->ports.disk,
        .peers = h->peers,
        .tuning = {.timing = {.heartbeat_ms = 150, .election_min_ms = 500, .election_max_ms = 1000},
                   .compact_entries = 256,
                   .compact_bytes = 65536,
                   .log_bytes_max = 1u << 20,
                   .moves_max = 4,
                   .snapshots_max = 6,
                   .piece_bytes = h->fixture->piece_bytes,
                   .apply_max = 512},
        .hooks = {hook_applied, hook_installed, hook_removed, hook_leader, hook_complete, hook_root_changed,
                  hook_failed, h}};
    assert_int_equal(groups_new(&gp, &h->groups), 0);
    groups_start(h->groups, BITS, 1, on_started, h);
}

static void boot(void *ctx, struct sim_host *host, const struct sim_ports *ports) {
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

static void dead(void *ctx, struct sim_host *host) {
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

static void run_ms(struct fixture *f, uint64_t ms) {
    sim_run_until(f->sim, sim_now_us(f->sim) + ms * SIM_MS);
}

static void add_member(struct fixture *f, uint32_t node) {
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
static struct fixture *world(void **state, bool founder) {
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

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    *state = f;
    assert_int_equal(crypto_init(), 0);
    f->piece_bytes = MACHINE_PIECE_MAX;
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

static int teardown(void **state) {
    struct fixture *f = *state;
    sim_free(f->sim);
    members_free(f->members);
    placement_free(f->placement);
    free(f);
    return 0;
}

/* ---- what the leader asks -----------------------------------------------------------------------------------------
 */

static void on_answer(void *ctx, int status, const uint8_t *body, size_t size) {
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
static struct answer *ask(struct fixture *f, enum peer_op op, const struct buf *body) {
    struct answer *a = &f->answers[f->asked++ % ANSWERS_MAX];
    *a = (struct answer){.fixture = f};
    peers_request(f->hosts[LEADER].peers, 1, LANE_CONTROL, op, body, 10000, on_answer, a);
    return a;
}

static struct answer *ask_replica(struct fixture *f, enum peer_op op, uint64_t id, uint64_t index) {
    struct replica_request req = {.group = ARC, .replica = id, .index = index};
    struct buf b;
    buf_init(&b, BODY_MAX);
    replica_request_encode(&req, &b);
    struct answer *a = ask(f, op, &b);
    buf_release(&b);
    return a;
}

static void expect(struct fixture *f, const struct answer *a, int status) {
    run_ms(f, 500);
    assert_true(a->here);
    assert_int_equal(a->status, status);
}

static void expect_create(struct fixture *f, uint64_t id, int status) {
    expect(f, ask_replica(f, OP_REPLICA_CREATE, id, 1), status);
}

static void expect_remove(struct fixture *f, uint64_t id, int status) {
    expect(f, ask_replica(f, OP_REPLICA_REMOVE, id, 100), status);
}

static uint64_t replica_here(struct fixture *f) {
    struct groups_info info;
    groups_info(f->hosts[1].groups, ARC, &info);
    return info.here ? info.replica : 0;
}

static void restart(struct fixture *f) {
    sim_host_crash(sim_host(f->sim, 1), SIM_CRASH_PROCESS);
    sim_host_start(sim_host(f->sim, 1));
    run_ms(f, 3000);
    assert_true(f->hosts[1].started);
    assert_true(peers_alive(f->hosts[LEADER].peers, 1));
}

/* ---- birth and death -----------------------------------------------------------------------------------------------
 */

static void a_removed_replica_never_comes_back(void **state) {
    struct fixture *f = world(state, false);
    expect_create(f, 5, 0);
    assert_int_equal(replica_here(f), 5);
    expect_create(f, 5, 0);
    expect_remove(f, 5, 0);
    assert_int_equal(replica_here(f), 0);
    assert_int_equal(f->hosts[1].removed, 1);
    expect_remove(f, 5, 0);
    expect_create(f, 5, ERR_STALE);
    expect_create(f, 4, ERR_STALE);
    restart(f);
    expect_create(f, 5, ERR_STALE);
    expect_create(f, 6, 0);
    restart(f);
    assert_int_equal(replica_here(f), 6);
    expect_create(f, 5, ERR_STALE);
}

static void a_replica_removed_before_its_creation_arrives_is_never_created(void **state) {
    struct fixture *f = world(state, false);
    expect_remove(f, 5, 0);
    expect_create(f, 5, ERR_STALE);
    restart(f);
    expect_create(f, 5, ERR_STALE);
    assert_int_equal(replica_here(f), 0);
}

static void a_removal_that_overtakes_the_creation_ends_the_older_replica_too(void **state) {
    struct fixture *f = world(state, false);
    expect_create(f, 5, 0);
    expect_remove(f, 7, 0);
    assert_int_equal(replica_here(f), 0);
    expect_create(f, 7, ERR_STALE);
    restart(f);
    expect_create(f, 7, ERR_STALE);
    expect_create(f, 8, 0);
}

static void a_newer_replica_takes_the_place_of_the_older(void **state) {
    struct fixture *f = world(state, false);
    expect_create(f, 5, 0);
    expect_create(f, 9, 0);
    assert_int_equal(replica_here(f), 9);
    expect_create(f, 5, ERR_STALE);
    expect_remove(f, 5, 0);
    assert_int_equal(replica_here(f), 9);
}

static void a_replica_in_a_newer_configuration_is_not_removed(void **state) {
    struct fixture *f = world(state, true);
    expect(f, ask_replica(f, OP_REPLICA_REMOVE, 1, 1), ERR_STALE);
    assert_int_equal(replica_here(f), 1);
}

static void nothing_is_confirmed_before_it_is_durable(void **state) {
    struct fixture *f = world(state, false);
    sim_disk_hang(sim_host(f->sim, 1), sim_now_us(f->sim) + 4 * SIM_SECOND);
    struct answer *first = ask_replica(f, OP_REPLICA_CREATE, 5, 1);
    run_ms(f, 500);
    struct answer *second = ask_replica(f, OP_REPLICA_CREATE, 5, 1);
    run_ms(f, 500);
    struct answer *third = ask_replica(f, OP_REPLICA_REMOVE, 5, 100);
    run_ms(f, 500);
    struct answer *fourth = ask_replica(f, OP_REPLICA_REMOVE, 5, 100);
    run_ms(f, 500);
    assert_false(first->here || second->here || third->here || fourth->here);
    run_ms(f, 3000);
    assert_true(first->here && second->here && third->here && fourth->here);
    assert_int_equal(first->status | second->status | third->status | fourth->status, 0);
}

static void what_is_no_group_or_no_replica_is_refused(void **state) {
    struct fixture *f = world(state, false);
    struct replica_request req = {.group = ARC + 1, .replica = 5, .index = 1};
    struct buf b;
    buf_init(&b, BODY_MAX);
    replica_request_encode(&req, &b);
    expect(f, ask(f, OP_REPLICA_CREATE, &b), ERR_INVALID);
    expect(f, ask(f, OP_REPLICA_REMOVE, &b), ERR_INVALID);
    expect(f, ask(f, OP_REPLICA_CHUNKS, &b), ERR_MOVED);
    buf_clear(&b);
    buf_append(&b, "garbage", 7);
    expect(f, ask(f, OP_REPLICA_CREATE, &b), ERR_PROTOCOL);
    expect(f, ask(f, OP_PROPOSE, &b), ERR_PROTOCOL);
    expect(f, ask(f, OP_SNAPSHOT, &b), ERR_PROTOCOL);
    expect(f, ask_replica(f, OP_REPLICA_CHUNKS, 5, 1), ERR_MOVED);
    buf_release(&b);
}

/* ---- queries ------------------------------------------------------------------------------------------------------
 */

/* The query has its read index, and is on its way to the disk, when the replica and its rows are removed. */
static void a_query_overtaken_by_the_removal_finds_nothing_out(void **state) {
    struct fixture *f = world(state, true);
    struct query q = {.kind = QUERY_USED};
    struct buf query, b;
    buf_init(&query, BODY_MAX);
    buf_init(&b, BODY_MAX);
    query_encode(&q, &query);
    assert_int_equal(query.error, 0);
    struct group_request req = {.group = ARC, .bytes = query.bytes, .size = query.size};
    group_request_encode(&req, &b);
    expect(f, ask(f, OP_QUERY, &b), 0);
    struct answer *overtaken = ask(f, OP_QUERY, &b);
    struct answer *removal = ask_replica(f, OP_REPLICA_REMOVE, 1, 100);
    expect(f, removal, 0);
    expect(f, overtaken, ERR_MOVED);
    buf_release(&query);
    buf_release(&b);
}

/* ---- snapshots ----------------------------------------------------------------------------------------------------
 */

/* The state of a root group with a swarm in it, as one piece for replica `to` of group ROOT. */
static void root_piece(struct fixture *f, uint64_t from, uint64_t to, struct buf *out) {
    const struct machine_arc arc = {.root = true};
    struct command c = {.kind = COMMAND_ROOT_INIT};
    struct machine_effects effects = {0};
    struct machine_cursor cursor;
    struct store *store;
    struct txn *t;
    struct buf bytes, result, rows;
    buf_init(&bytes, BODY_MAX);
    buf_init(&result, BODY_MAX);
    buf_init(&rows, BODY_MAX);
    c.u.init.settings = (struct swarm_settings){.bits = BITS, .replicas = 1};
    memcpy(c.u.init.settings.swarm, f->swarm, sizeof(f->swarm));
    c.u.init.settings.swarm[0] = 1;
    c.u.init.founder = *members_find(f->members, 1);
    command_encode(&c, &bytes);
    assert_int_equal(store_open_mem(&store), 0);
    assert_int_equal(store_begin(store, true, &t), 0);
    assert_int_equal(machine_apply(t, &arc, 1000, bytes.bytes, bytes.size, &result, &effects), 0);
    machine_cursor_init(&cursor);
    assert_int_equal(machine_export(t, &arc, &cursor, MACHINE_PIECE_MAX, &rows), 0);
    assert_true(cursor.done && rows.size > 0 && !rows.error);
    struct snapshot_piece piece = {.from = from,
                                   .to = to,
                                   .term = 3,
                                   .index = 10,
                                   .index_term = 2,
                                   .stamp_ms = 1000,
                                   .config = {.index = 7, .next_id = 20, .count = 2},
                                   .last = true,
                                   .bytes = rows.bytes,
                                   .size = rows.size};
    piece.config.replicas[0] = (struct raft_replica){.id = from == to ? 1 : from, .node = LEADER, .flags = RAFT_VOTER};
    piece.config.replicas[1] = (struct raft_replica){.id = to, .node = 1, .flags = RAFT_LEARNER};
    snapshot_piece_encode(&piece, out);
    store_abort(t);
    store_close(store);
    machine_effects_release(&effects);
    buf_release(&bytes);
    buf_release(&result);
    buf_release(&rows);
}

static struct answer *create_root(struct fixture *f, uint64_t id) {
    struct replica_request req = {.group = GROUPS_ROOT, .replica = id, .index = 1};
    struct buf b;
    buf_init(&b, BODY_MAX);
    replica_request_encode(&req, &b);
    struct answer *a = ask(f, OP_REPLICA_CREATE, &b);
    buf_release(&b);
    return a;
}

static void on_local(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct answer *a = ctx;
    struct page_reader page;
    struct swarm_settings settings;
    uint64_t epoch;
    (void)config;
    a->here = true;
    a->status = status ? status : page_open(result, size, &page);
    a->status = a->status ? a->status : page_root_settings(&page, &settings, &epoch);
}

static int root_status(struct fixture *f) {
    struct query q = {.kind = QUERY_ROOT};
    struct buf b;
    buf_init(&b, BODY_MAX);
    query_encode(&q, &b);
    f->local = (struct answer){.fixture = f};
    groups_query_local(f->hosts[1].groups, GROUPS_ROOT, &b, on_local, &f->local);
    buf_release(&b);
    run_ms(f, 500);
    assert_true(f->local.here);
    return f->local.status;
}

static void a_snapshot_becomes_the_state(void **state) {
    struct fixture *f = world(state, false);
    struct groups_info info;
    struct buf b;
    buf_init(&b, BODY_MAX);
    root_piece(f, 1, 5, &b);
    expect(f, create_root(f, 5), 0);
    assert_int_equal(root_status(f), ERR_NOT_FOUND);
    expect(f, ask(f, OP_SNAPSHOT, &b), 0);
    assert_int_equal(root_status(f), 0);
    groups_info(f->hosts[1].groups, GROUPS_ROOT, &info);
    assert_int_equal(info.applied, 10);
    assert_int_equal(info.config.index, 7);
    restart(f);
    assert_int_equal(root_status(f), 0);
    groups_info(f->hosts[1].groups, GROUPS_ROOT, &info);
    assert_int_equal(info.applied, 10);
    buf_release(&b);
}

static struct answer *send_piece(struct fixture *f, const struct snapshot_piece *whole, uint32_t number, bool last) {
    struct snapshot_piece piece = *whole;
    struct buf b;
    buf_init(&b, BODY_MAX);
    piece.number = number;
    piece.last = last;
    piece.size = number == 0 ? whole->size : 0;
    snapshot_piece_encode(&piece, &b);
    struct answer *a = ask(f, OP_SNAPSHOT, &b);
    buf_release(&b);
    return a;
}

/* A session broke, and with it the answer to a piece: it comes again, and the transfer goes on from there. */
static void a_piece_that_comes_twice_is_staged_once(void **state) {
    struct fixture *f = world(state, false);
    struct snapshot_piece whole;
    struct buf b;
    buf_init(&b, BODY_MAX);
    root_piece(f, 1, 5, &b);
    assert_int_equal(snapshot_piece_decode(b.bytes, b.size, &whole), 0);
    expect(f, create_root(f, 5), 0);
    expect(f, send_piece(f, &whole, 1, false), ERR_STALE); /* the beginning is missing */
    expect(f, send_piece(f, &whole, 0, false), 0);
    expect(f, send_piece(f, &whole, 1, false), 0);
    expect(f, send_piece(f, &whole, 1, false), 0);
    expect(f, send_piece(f, &whole, 3, false), ERR_STALE); /* one is missing */
    expect(f, send_piece(f, &whole, 0, false), 0);         /* from the start: also after something was lost for good */
    expect(f, send_piece(f, &whole, 1, false), 0);
    expect(f, send_piece(f, &whole, 2, true), 0);
    assert_int_equal(root_status(f), 0);
    expect(f, send_piece(f, &whole, 2, true), ERR_STALE); /* it is installed: nothing is wanted any more */
    buf_release(&b);
}

static void blind_put_of(const char *name, uint8_t version, struct buf *out);
static struct answer *ask_put(struct fixture *f, const struct buf *put, bool again); /* takes the bytes */

/* It rejects whatever the log offers. */
static void pupil_hears(struct group_host *h, const uint8_t *frame, size_t size) {
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

static void pupil_is_asked(struct group_host *h, struct peers_call *call, enum peer_op op, const uint8_t *body,
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

static void a_transfer_goes_on_where_its_session_broke(void **state) {
    struct fixture *f = *state;
    struct pupil *pupil = &f->hosts[LEADER].pupil;
    f->piece_bytes = 1; /* a row each */
    (void)world(state, true);
    for (uint8_t i = 1; i <= 5; i++) {
        const char name[] = {'a', '/', (char)('a' + i), '\0'};
        struct buf put;
        blind_put_of(name, i, &put);
        expect(f, ask_put(f, &put, false), 0);
    }
    *pupil = (struct pupil){.here = true, .silent_at = 3};
    assert_int_equal(placement_new(f->members, BITS, 2, &f->placement), 0);
    groups_set_placement(f->hosts[1].groups, f->members, f->placement);
    for (int i = 0; i < 10000 && pupil->pieces < 3; i++) {
        run_ms(f, 1);
    }
    assert_int_equal(pupil->pieces, 3);
    assert_int_equal(pupil->highest, 2);
    sim_host_crash(sim_host(f->sim, LEADER), SIM_CRASH_PROCESS);
    sim_host_start(sim_host(f->sim, LEADER));
    run_ms(f, 5000);
    assert_int_equal(pupil->first, 2); /* not from the start */
    assert_true(pupil->highest > 2);
}

/* The removal of the older replica clears the stage: before the first piece for the newer one, never after it. */
static void a_replica_created_and_fed_in_one_turn_keeps_its_first_piece(void **state) {
    struct fixture *f = world(state, false);
    struct buf b;
    buf_init(&b, BODY_MAX);
    root_piece(f, 1, 9, &b);
    expect(f, create_root(f, 5), 0);
    struct answer *created = create_root(f, 9), *fed = ask(f, OP_SNAPSHOT, &b);
    expect(f, created, 0);
    expect(f, fed, 0);
    assert_int_equal(root_status(f), 0);
    buf_release(&b);
}

static void a_snapshot_from_the_replica_itself_is_refused(void **state) {
    struct fixture *f = world(state, false);
    struct buf b;
    buf_init(&b, BODY_MAX);
    root_piece(f, 5, 5, &b);
    expect(f, create_root(f, 5), 0);
    expect(f, ask(f, OP_SNAPSHOT, &b), ERR_INVALID);
    assert_int_equal(root_status(f), ERR_NOT_FOUND);
    buf_release(&b);
}

/* ---- trust --------------------------------------------------------------------------------------------------------
 */

/* Host 2 says that it leads as replica 1, once; replica 5 has nothing to catch up with. */
static void lead_by_word(struct fixture *f) {
    groups_set_placement(f->hosts[1].groups, f->members, NULL); /* whom to ask */
    struct raft_message m = {.kind = RAFT_HEARTBEAT, .from = 1, .to = 5, .term = 3};
    struct raft_batch batch;
    struct buf *out = peers_control(f->hosts[LEADER].peers, 1);
    assert_non_null(out);
    peer_raft_begin(&batch, out);
    assert_true(peer_raft_add(&batch, ARC, &m));
    peer_raft_end(&batch);
    run_ms(f, 100);
}

static void tell(struct fixture *f, uint64_t term) {
    struct led_batch batch;
    struct buf *out = peers_control(f->hosts[LEADER].peers, 1);
    assert_non_null(out);
    peer_led_begin(&batch, out, 0);
    if (term > 0) {
        assert_true(peer_led_add(&batch, ARC, term));
    }
    peer_led_end(&batch, ARC);
    run_ms(f, 1000);
}

/* Whoever lost its leader asks before long whether it still belongs. */
static int asks_within_ms(struct fixture *f, uint64_t ms) {
    int before = f->hosts[LEADER].asks;
    run_ms(f, ms);
    return f->hosts[LEADER].asks - before;
}

static void a_leader_that_lists_the_group_is_trusted(void **state) {
    struct fixture *f = world(state, false);
    expect_create(f, 5, 0);
    lead_by_word(f);
    assert_int_equal(asks_within_ms(f, 30000), 0);
    tell(f, 3);
    tell(f, 4); /* of a newer leadership the first message may still be on its way */
    assert_int_equal(asks_within_ms(f, 30000), 0);
}

static void a_leader_that_does_not_list_the_group_is_trusted_no_more(void **state) {
    struct fixture *f = world(state, false);
    expect_create(f, 5, 0);
    lead_by_word(f);
    tell(f, 0);
    assert_true(asks_within_ms(f, 20000) > 0);
    lead_by_word(f);
    assert_int_equal(asks_within_ms(f, 30000), 0);
    tell(f, 2);
    assert_true(asks_within_ms(f, 20000) > 0);
}

static void a_leader_whose_node_is_lost_is_trusted_no_more(void **state) {
    struct fixture *f = world(state, false);
    expect_create(f, 5, 0);
    lead_by_word(f);
    sim_host_pause(sim_host(f->sim, LEADER), sim_now_us(f->sim) + 2 * (uint64_t)SIM_SECOND);
    assert_true(asks_within_ms(f, 25000) > 0);
}

static void a_disk_that_has_stopped_is_said_to_be(void **state) {
    struct fixture *f = world(state, true);
    sim_disk_hang(sim_host(f->sim, 1), sim_now_us(f->sim) + 4 * (uint64_t)SIM_SECOND);
    run_ms(f, 1500);
    assert_false(groups_disk_stuck(f->hosts[1].groups)); /* nobody asked it for anything */
    assert_true(peers_alive(f->hosts[LEADER].peers, 1));
    (void)ask_replica(f, OP_REPLICA_REMOVE, 1, 100);
    run_ms(f, 1900);
    assert_true(groups_disk_stuck(f->hosts[1].groups));
    assert_false(peers_alive(f->hosts[LEADER].peers, 1));
    run_ms(f, 1500);
    assert_false(groups_disk_stuck(f->hosts[1].groups));
    assert_true(peers_alive(f->hosts[LEADER].peers, 1));
}

/* ---- answers before the state is reached --------------------------------------------------------------------------
 */

/* The command of a put that needs no look at the state. */
static void blind_put_of(const char *name, uint8_t version, struct buf *out) {
    struct command c = {.kind = COMMAND_NAME_PUT};
    assert_int_equal(name_parse(name, strlen(name), &c.u.put.name), 0);
    memset(&c.u.put.version, version, sizeof(c.u.put.version));
    c.u.put.condition = CONDITION_ANY;
    c.u.put.is_inline = true;
    c.u.put.bytes = (const uint8_t *)"content";
    c.u.put.size = 7;
    buf_init(out, BODY_MAX);
    command_encode(&c, out);
    assert_int_equal(out->error, 0);
}

static void blind_put(uint8_t version, struct buf *out) {
    blind_put_of("a/b", version, out);
}

static struct answer *ask_put(struct fixture *f, const struct buf *put, bool again) {
    struct buf command = *put, b;
    struct group_request req = {.group = ARC, .again = again, .bytes = command.bytes, .size = command.size};
    buf_init(&b, BODY_MAX);
    group_request_encode(&req, &b);
    struct answer *a = ask(f, OP_PROPOSE, &b);
    buf_release(&command);
    buf_release(&b);
    return a;
}

static struct answer *ask_blind_put(struct fixture *f, uint8_t version, bool again) {
    struct buf command;
    blind_put(version, &command);
    return ask_put(f, &command, again);
}

static void put_result(const struct answer *a, struct command_result *out) {
    struct propose_reply reply;
    assert_true(a->here);
    assert_int_equal(a->status, 0);
    assert_int_equal(propose_reply_decode(a->body, a->size, &reply), 0);
    assert_int_equal(command_result_decode(reply.result, reply.result_size, out), 0);
    assert_int_equal(out->status, 0);
}

/* Host 2 leads as replica 9, in a later term, and has one entry more than host 1 has committed. */
static void append_one(struct fixture *f, struct raft_entry *e, uint64_t commit) {
    struct groups_info info;
    groups_info(f->hosts[1].groups, ARC, &info);
    struct raft_message m = {.kind = RAFT_APPEND,
                             .from = 9,
                             .to = 1,
                             .term = e->term,
                             .index = info.commit,
                             .log_term = info.term,
                             .commit = commit,
                             .entry_count = 1,
                             .entries = &e};
    struct raft_batch batch;
    struct buf *out = peers_control(f->hosts[LEADER].peers, 1);
    assert_non_null(out);
    assert_int_equal(e->index, info.commit + 1);
    peer_raft_begin(&batch, out);
    assert_true(peer_raft_add(&batch, ARC, &m));
    peer_raft_end(&batch);
}

static uint64_t committed(struct fixture *f) {
    struct groups_info info;
    groups_info(f->hosts[1].groups, ARC, &info);
    return info.commit;
}

static uint64_t term(struct fixture *f) {
    struct groups_info info;
    groups_info(f->hosts[1].groups, ARC, &info);
    return info.term;
}

/* The first word of the new leader replaces the entry and says that what replaces it is committed. */
static void a_put_that_was_replaced_is_not_answered_by_the_commit_of_another(void **state) {
    struct fixture *f = world(state, true);
    uint64_t before = committed(f);
    expect(f, ask_blind_put(f, 1, false), 0);
    assert_int_equal(committed(f), before + 1);
    sim_disk_hang(sim_host(f->sim, 1), sim_now_us(f->sim) + 800 * SIM_MS);
    struct answer *replaced = ask_blind_put(f, 2, false);
    run_ms(f, 300);
    assert_false(replaced->here);
    assert_int_equal(committed(f), before + 1);
    struct raft_entry *e = raft_entry_new(before + 2, term(f) + 1, RAFT_ENTRY_NOOP, NULL, 0);
    append_one(f, e, before + 2);
    run_ms(f, 300);
    assert_int_equal(committed(f), before + 2);
    assert_true(replaced->here);
    assert_int_equal(replaced->status, ERR_NOT_LEADER);
    raft_entry_unref(e);
}

/* The clock of the leader before was ahead, and of its last entry nothing has been seen but the log. */
static void a_put_answered_at_commit_tells_the_time_that_it_gets(void **state) {
    struct fixture *f = world(state, true);
    struct groups_info info;
    struct buf command, data;
    struct command_result told, is;
    blind_put(1, &command);
    buf_init(&data, BODY_MAX);
    put_u64(buf_extend(&data, 8), clock_wall_ms(f->hosts[1].ports.clock) + 3600000);
    buf_append(&data, command.bytes, command.size);
    struct raft_entry *e =
        raft_entry_new(committed(f) + 1, term(f) + 1, RAFT_ENTRY_COMMAND, data.bytes, (uint32_t)data.size);
    uint64_t later = e->term + 1;
    sim_disk_slow(sim_host(f->sim, 1), DISK_LOG, 100);
    append_one(f, e, committed(f));
    groups_info(f->hosts[1].groups, ARC, &info);
    for (int i = 0; i < 3000 && !(info.leading && info.term >= later); i++) {
        run_ms(f, 1);
        groups_info(f->hosts[1].groups, ARC, &info);
    }
    assert_true(info.leading && info.applied < e->index);
    struct answer *a = ask_blind_put(f, 2, false);
    for (int i = 0; i < 3000 && !a->here; i++) {
        run_ms(f, 1);
    }
    put_result(a, &told);
    sim_disk_slow(sim_host(f->sim, 1), DISK_LOG, 1);
    run_ms(f, 5000);
    struct answer *b = ask_blind_put(f, 2, true);
    run_ms(f, 5000);
    put_result(b, &is);
    assert_int_equal(told.modified_ms, is.modified_ms);
    raft_entry_unref(e);
    buf_release(&command);
    buf_release(&data);
}

/* ---- the journal --------------------------------------------------------------------------------------------------
 */

#define LARGE 250000 /* bytes of an entry */
#define HELD 80      /* entries */

/* Of replica 9 to replica 1 of the root group, which holds the snapshot and what follows it. */
static void feed_root(struct fixture *f, uint64_t index, uint64_t log_term, struct raft_entry *e, uint64_t commit) {
    struct raft_message m = {.kind = RAFT_APPEND,
                             .from = 9,
                             .to = 1,
                             .term = 3,
                             .index = index,
                             .log_term = log_term,
                             .commit = commit,
                             .entry_count = e ? 1 : 0,
                             .entries = &e};
    struct raft_batch batch;
    struct buf *out = peers_control(f->hosts[LEADER].peers, 1);
    assert_non_null(out);
    peer_raft_begin(&batch, out);
    assert_true(peer_raft_add(&batch, GROUPS_ROOT, &m));
    peer_raft_end(&batch);
    run_ms(f, 20);
}

static struct raft_status root_log(struct fixture *f) {
    struct groups_glance glance;
    struct raft_status st;
    groups_glance(f->hosts[1].groups, GROUPS_ROOT, &glance);
    assert_non_null(glance.raft);
    raft_status(glance.raft, &st);
    return st;
}

/* Host 1 is fed a snapshot of the root group, and while that becomes its state, many entries behind it. */
static void hold_many(struct fixture *f, const uint8_t *bytes) {
    struct groups_info info;
    struct buf b;
    buf_init(&b, BODY_MAX);
    root_piece(f, 9, 1, &b);
    sim_disk_slow(sim_host(f->sim, 1), DISK_META, 5000);
    struct answer *fed = ask(f, OP_SNAPSHOT, &b);
    for (int i = 0; i < 10000 && !fed->here; i++) {
        run_ms(f, 1);
    }
    assert_true(fed->here && fed->status == 0);
    for (uint64_t i = 0; i < HELD; i++) {
        struct raft_entry *e = raft_entry_new(11 + i, 3, RAFT_ENTRY_COMMAND, bytes, LARGE);
        feed_root(f, 10 + i, i == 0 ? 2 : 3, e, 10);
        raft_entry_unref(e);
    }
    groups_info(f->hosts[1].groups, GROUPS_ROOT, &info);
    assert_true(info.applied < 10);
    assert_int_equal(root_log(f).last, 10 + HELD);
    sim_disk_slow(sim_host(f->sim, 1), DISK_META, 1);
    run_ms(f, 20000);
    groups_info(f->hosts[1].groups, GROUPS_ROOT, &info);
    assert_int_equal(info.applied, 10);
    buf_release(&b);
}

/* What was held is one large batch, and its last entry stays needed while another group goes on. */
static void a_large_batch_with_one_needed_entry_does_not_stay_for_ever(void **state) {
    struct fixture *f = world(state, true);
    uint8_t *bytes = calloc(1, LARGE);
    assert_non_null(bytes);
    hold_many(f, bytes);
    feed_root(f, 10 + HELD, 3, NULL, 10 + HELD - 1);
    run_ms(f, 3000);
    assert_int_equal(root_log(f).first, 10 + HELD);
    struct group_request req = {.group = ARC, .bytes = bytes, .size = LARGE};
    struct buf b;
    buf_init(&b, 2 * LARGE);
    group_request_encode(&req, &b);
    for (int i = 0; i < 200; i++) {
        struct answer *a = ask(f, OP_PROPOSE, &b);
        run_ms(f, 300);
        assert_true(a->here && a->status == 0);
    }
    assert_true(store_used_bytes(sim_host_store(sim_host(f->sim, 1), DISK_LOG)) < (uint64_t)2 * JOURNAL_KEEP_BYTES);
    restart(f);
    assert_int_equal(root_log(f).last, 10 + HELD);
    buf_release(&b);
    free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_leader_that_lists_the_group_is_trusted),
        TEST(a_leader_that_does_not_list_the_group_is_trusted_no_more),
        TEST(a_leader_whose_node_is_lost_is_trusted_no_more),
        TEST(a_disk_that_has_stopped_is_said_to_be),
        TEST(a_removed_replica_never_comes_back),
        TEST(a_replica_removed_before_its_creation_arrives_is_never_created),
        TEST(a_removal_that_overtakes_the_creation_ends_the_older_replica_too),
        TEST(a_newer_replica_takes_the_place_of_the_older),
        TEST(a_replica_in_a_newer_configuration_is_not_removed),
        TEST(nothing_is_confirmed_before_it_is_durable),
        TEST(what_is_no_group_or_no_replica_is_refused),
        TEST(a_query_overtaken_by_the_removal_finds_nothing_out),
        TEST(a_snapshot_becomes_the_state),
        TEST(a_piece_that_comes_twice_is_staged_once),
        TEST(a_transfer_goes_on_where_its_session_broke),
        TEST(a_replica_created_and_fed_in_one_turn_keeps_its_first_piece),
        TEST(a_snapshot_from_the_replica_itself_is_refused),
        TEST(a_put_that_was_replaced_is_not_answered_by_the_commit_of_another),
        TEST(a_put_answered_at_commit_tells_the_time_that_it_gets),
        TEST(a_large_batch_with_one_needed_entry_does_not_stay_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
