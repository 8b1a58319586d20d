/* Sessions, requests and strangers: two nodes of nothing but peers on the simulated ports, and a third host that says
 * what it likes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check.h"
#include "errors.h"
#include "peers.h"
#include "session.h"
#include "sim.h"

#define HOSTS 3
#define RAW 3 /* the host that is no node */
#define CONNS_MAX 256
#define LARGE 100000 /* bytes of an answer that must take the bulk lane */

/* What host RAW does on a connection. */
enum manner { SILENT, GARBAGE, AS_MEMBER, AS_GUEST };

struct raw {
    struct fixture *fixture;
    enum manner manner;
    struct identity *identity;
    struct net_conn *conn; /* NULL: never dialled, or closed */
    struct session *session;
    struct frame_reader frames;
    int replies, farewells, status;
    uint64_t closed_us;
};

struct peer_host {
    struct fixture *fixture;
    uint32_t number;
    struct sim_ports ports;
    struct timers timers;
    struct identity identity;
    struct peers *peers;
    int requests, opened, lost, accepted, logs, farewells;
    uint64_t farewell_epoch;
    int alive, lapsed; /* how often it was told so of anybody */
    uint64_t heard_ms; /* what the last lapse said */
    uint64_t lapsed_us;
    bool unfit;
    uint64_t incarnation;
    uint32_t from;
    bool hold; /* do not answer */
    struct peers_call *held;
    size_t answer_size;
};

struct fixture {
    struct sim *sim;
    struct members *members;
    uint8_t swarm[32];
    struct peer_host hosts[HOSTS + 1];
    struct identity stranger;
    unsigned aes; /* bit n: the processor of host n has AES instructions */
    struct raw raws[CONNS_MAX];
    uint8_t bytes[LARGE];
    int answers, status;
    size_t answer_size;
};

static bool has_aes(const struct fixture *f, uint32_t host) {
    return (f->aes >> host & 1) != 0 && noise_aesgcm_available();
}

/* ---- a node of peers -------------------------------------------------------------------------------------------- */

static void on_ping(void *ctx, uint32_t from, const struct peer_ping *ping) {
    (void)ctx;
    (void)from;
    (void)ping;
}

static void on_frame(void *ctx, uint32_t from, const uint8_t *frame, size_t size) {
    (void)ctx;
    (void)from;
    (void)frame;
    (void)size;
}

static void on_request(void *ctx, struct peers_call *call, enum peer_op op, const uint8_t *body, size_t size) {
    struct peer_host *h = ctx;
    (void)op;
    (void)body;
    (void)size;
    h->requests++;
    h->from = call->from;
    if (h->hold) {
        h->held = call;
    } else {
        peers_reply(call, 0, h->fixture->bytes, h->answer_size);
    }
}

static void on_opened(void *ctx, uint32_t node) {
    (void)node;
    ((struct peer_host *)ctx)->opened++;
}

static void on_lost(void *ctx, uint32_t node) {
    (void)node;
    ((struct peer_host *)ctx)->lost++;
}

static void on_alive(void *ctx, uint32_t node) {
    (void)node;
    ((struct peer_host *)ctx)->alive++;
}

static void on_lapsed(void *ctx, uint32_t node, uint64_t heard_ms) {
    struct peer_host *h = ctx;
    (void)node;
    h->lapsed++;
    h->heard_ms = heard_ms;
    h->lapsed_us = sim_now_us(h->fixture->sim);
}

static void on_log(void *ctx, const char *line) {
    (void)line;
    ((struct peer_host *)ctx)->logs++;
}

static void on_farewell(void *ctx, uint64_t epoch, const struct member *row) {
    struct peer_host *h = ctx;
    assert_int_equal(row->state, MEMBER_GONE);
    assert_memory_equal(row->id, h->identity.public_key, sizeof(row->id));
    h->farewells++;
    h->farewell_epoch = epoch;
}

static bool on_make_ping(void *ctx, struct peer_ping *out) {
    const struct peer_host *h = ctx;
    out->incarnation = h->incarnation;
    return !h->unfit;
}

static void on_accepted(void *ctx, struct net_conn *c, enum net_kind kind) {
    struct peer_host *h = ctx;
    assert_int_equal(kind, NET_PEER);
    h->accepted++;
    peers_accepted(h->peers, c);
}

static void on_connected(void *ctx, struct net_conn *c) {
    peers_connected(((struct peer_host *)ctx)->peers, c);
}

static void on_received(void *ctx, struct net_conn *c, const uint8_t *bytes, size_t size) {
    if (net_user(c)) {
        peers_received(((struct peer_host *)ctx)->peers, c, bytes, size);
    }
}

static void on_drained(void *ctx, struct net_conn *c) {
    peers_drained(((struct peer_host *)ctx)->peers, c);
}

static void on_closed(void *ctx, struct net_conn *c, int status) {
    peers_closed(((struct peer_host *)ctx)->peers, c, status);
}

static void on_wake(void *ctx) {
    struct peer_host *h = ctx;
    timers_run(&h->timers, clock_now_ms(h->ports.clock));
    clock_wake_at(h->ports.clock, timers_next(&h->timers));
}

static void on_arm(void *ctx, uint64_t at_ms) {
    clock_wake_at(((struct peer_host *)ctx)->ports.clock, at_ms);
}

static void boot_peers(struct peer_host *h) {
    struct peers_params pp = {.net = h->ports.net,
                              .clock = h->ports.clock,
                              .random = h->ports.random,
                              .timers = &h->timers,
                              .identity = &h->identity,
                              .aesgcm = has_aes(h->fixture, h->number),
                              .events = {.ping = on_ping,
                                         .raft = on_frame,
                                         .routes = on_frame,
                                         .led = on_frame,
                                         .request = on_request,
                                         .opened = on_opened,
                                         .lost = on_lost,
                                         .alive = on_alive,
                                         .lapsed = on_lapsed,
                                         .log = on_log,
                                         .farewell = on_farewell,
                                         .make_ping = on_make_ping,
                                         .ctx = h}};
    const struct net_events events = {on_accepted, on_connected, on_received, on_drained, on_closed, h};
    timers_init(&h->timers, on_arm, h);
    clock_on_wake(h->ports.clock, on_wake, h);
    assert_int_equal(peers_new(&pp, &h->peers), 0);
    net_on_events(h->ports.net, &events);
}

/* ---- a host that says what it likes ------------------------------------------------------------------------------ */

static int raw_room(void *ctx, size_t size, uint8_t **ret_room) {
    return net_extend(((struct raw *)ctx)->conn, size, ret_room);
}

static int raw_frame(void *ctx, const uint8_t *frame, size_t size) {
    struct raw *r = ctx;
    struct peer_reply reply;
    enum peer_kind kind;
    assert_int_equal(peer_kind_of(frame, size, &kind), 0);
    if (kind == PEER_FAREWELL) {
        r->farewells++;
        return 0;
    }
    assert_int_equal(peer_reply_decode(frame, size, &reply), 0);
    r->replies++;
    r->status = reply.status;
    return 0;
}

static int raw_plain(void *ctx, const uint8_t *bytes, size_t size) {
    struct raw *r = ctx;
    return frame_read(&r->frames, bytes, size, raw_frame, r);
}

static void raw_accepted(void *ctx, struct net_conn *c, enum net_kind kind) {
    (void)ctx;
    (void)kind;
    net_close(c); /* whoever answers a member that is none has dialled in vain */
}

static void raw_handshake(struct raw *r) {
    struct hello hello = {.role = r->manner == AS_MEMBER ? HELLO_MEMBER : HELLO_GUEST, .lane = LANE_CONTROL};
    uint8_t prologue[sizeof(WIRE_PROTOCOL) - 1 + 32];
    struct buf b;
    memcpy(prologue, WIRE_PROTOCOL, sizeof(WIRE_PROTOCOL) - 1);
    memcpy(prologue + sizeof(WIRE_PROTOCOL) - 1, r->fixture->swarm, 32);
    memcpy(hello.id, r->identity->public_key, sizeof(hello.id));
    buf_init(&b, SESSION_HELLO_MAX);
    hello_encode(&hello, &b);
    struct session_params sp = {.initiator = true,
                                .aesgcm = has_aes(r->fixture, RAW),
                                .self = r->identity,
                                .prologue = prologue,
                                .prologue_size = sizeof(prologue),
                                .ephemeral_secret = {1, 2, 3},
                                .hello = b.bytes,
                                .hello_size = b.size};
    assert_int_equal(session_new(&sp, &r->session), 0);
    assert_int_equal(session_start(r->session, raw_room, r), 0);
    buf_release(&b);
}

static void raw_connected(void *ctx, struct net_conn *c) {
    struct raw *r = net_user(c);
    (void)ctx;
    if (r->manner == GARBAGE) {
        assert_int_equal(net_send(c, r->fixture->bytes, 4096), 0);
    } else if (r->manner != SILENT) {
        raw_handshake(r);
    }
}

static void raw_received(void *ctx, struct net_conn *c, const uint8_t *bytes, size_t size) {
    struct raw *r = net_user(c);
    const struct session_callbacks cb = {.room = raw_room, .plain = raw_plain, .ctx = r};
    (void)ctx;
    if (r && r->session) {
        assert_int_equal(session_receive(r->session, bytes, size, &cb), 0);
    }
}

static void raw_closed(void *ctx, struct net_conn *c, int status) {
    struct raw *r = net_user(c);
    (void)ctx;
    (void)status;
    if (r) {
        r->conn = NULL;
        r->closed_us = sim_now_us(r->fixture->sim);
    }
}

static void raw_drained(void *ctx, struct net_conn *c) {
    (void)ctx;
    (void)c;
}

static struct raw *raw_dial(struct fixture *f, int slot, enum manner manner, struct identity *identity) {
    struct raw *r = &f->raws[slot];
    *r = (struct raw){.fixture = f, .manner = manner, .identity = identity};
    frame_reader_init(&r->frames, FRAME_MAX);
    assert_int_equal(net_connect(f->hosts[RAW].ports.net, sim_host_addr(sim_host(f->sim, 1)), &r->conn), 0);
    net_set_user(r->conn, r);
    return r;
}

static void raw_ask(struct raw *r, uint64_t id, enum peer_op op, size_t body_size) {
    struct peer_request req = {.id = id, .op = op, .body = r->fixture->bytes, .body_size = body_size};
    struct buf b;
    buf_init(&b, FRAME_MAX + 4);
    peer_request_frame(&req, &b);
    assert_int_equal(b.error, 0);
    assert_int_equal(session_state(r->session), SESSION_OPEN);
    assert_int_equal(session_send(r->session, b.bytes, b.size, raw_room, r), 0);
    buf_release(&b);
}

/* ---- the world --------------------------------------------------------------------------------------------------- */

static void boot(void *ctx, struct sim_host *host, const struct sim_ports *ports) {
    struct fixture *f = ctx;
    struct peer_host *h = &f->hosts[sim_host_number(host)];
    const struct net_events raw = {raw_accepted, raw_connected, raw_received, raw_drained, raw_closed, h};
    h->ports = *ports;
    if (sim_host_number(host) == RAW) {
        net_on_events(ports->net, &raw);
    } else {
        boot_peers(h);
    }
    assert_int_equal(net_listen(ports->net, NET_PEER, sim_host_addr(host), NULL, 0), 0);
}

static void dead(void *ctx, struct sim_host *host) {
    struct fixture *f = ctx;
    struct peer_host *h = &f->hosts[sim_host_number(host)];
    if (h->peers) {
        peers_free(h->peers);
        timers_release(&h->timers);
        h->peers = NULL;
    }
}

static void set_member(struct fixture *f, uint32_t node, enum member_state state, uint64_t epoch) {
    struct member m = {.node = node, .state = state, .capacity = 1, .changed = epoch};
    const struct identity *id = &f->hosts[node].identity;
    memcpy(m.id, id->public_key, sizeof(m.id));
    memcpy(m.dh, id->dh_public, sizeof(m.dh));
    assert_true(snprintf(m.addr, sizeof(m.addr), "%s", sim_host_addr(sim_host(f->sim, node))) > 0);
    assert_int_equal(members_apply(f->members, &m, epoch), 0);
}

/* The node knows its swarm and everybody in the table. */
static void enter(struct fixture *f, uint32_t node) {
    peers_set_swarm(f->hosts[node].peers, f->swarm, node);
    peers_set_members(f->hosts[node].peers, f->members);
}

static void run_ms(struct fixture *f, uint64_t ms) {
    sim_run_until(f->sim, sim_now_us(f->sim) + ms * SIM_MS);
}

static void make_identity(struct identity *id, uint8_t tag) {
    uint8_t seed[IDENTITY_SEED_SIZE];
    memset(seed, tag, sizeof(seed));
    assert_int_equal(identity_from_seed(seed, id), 0);
}

/* Members 1 and 2 are up and in the table, but not yet entered; host RAW is up and in no table. */
static struct fixture *fixture_new(unsigned aes) {
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(crypto_init(), 0);
    f->aes = aes;
    const struct sim_options options = {.seed = 1, .hosts = HOSTS, .capacity_bytes = 1u << 30};
    const struct sim_program program = {.boot = boot, .dead = dead, .ctx = f};
    f->sim = sim_new(&options, &program);
    memset(f->swarm, 0x77, sizeof(f->swarm));
    memset(f->bytes, 0xc3, sizeof(f->bytes));
    make_identity(&f->stranger, 99);
    assert_int_equal(members_new(&f->members), 0);
    for (uint32_t i = 1; i <= HOSTS; i++) {
        f->hosts[i].fixture = f;
        f->hosts[i].number = i;
        make_identity(&f->hosts[i].identity, (uint8_t)i);
        sim_host_start(sim_host(f->sim, i));
    }
    set_member(f, 1, MEMBER_UP, 1);
    set_member(f, 2, MEMBER_UP, 1);
    return f;
}

static void fixture_free(struct fixture *f) {
    sim_free(f->sim);
    for (int i = 0; i < CONNS_MAX; i++) {
        session_free(f->raws[i].session);
        frame_reader_release(&f->raws[i].frames);
    }
    members_free(f->members);
    free(f);
}

static int setup(void **state) {
    *state = fixture_new(0);
    return 0;
}

static int teardown(void **state) {
    fixture_free(*state);
    return 0;
}

static struct fixture *two_members(void **state) {
    struct fixture *f = *state;
    enter(f, 1);
    enter(f, 2);
    run_ms(f, 1000);
    assert_true(peers_alive(f->hosts[1].peers, 2));
    assert_true(peers_alive(f->hosts[2].peers, 1));
    return f;
}

static void on_answer(void *ctx, int status, const uint8_t *body, size_t size) {
    struct fixture *f = ctx;
    f->answers++;
    f->status = status;
    f->answer_size = size;
    if (size > 0) {
        assert_memory_equal(body, f->bytes, size);
    }
}

static void ask(struct fixture *f, uint32_t node, enum lane lane, uint64_t timeout_ms) {
    struct buf body;
    buf_init(&body, PEER_BODY_MAX);
    buf_append(&body, "question", 8);
    peers_request(f->hosts[1].peers, node, lane, OP_MEMBERS, &body, timeout_ms, on_answer, f);
    assert_int_equal(f->answers, 0); /* never from inside the call */
    buf_release(&body);
}

static void assert_answered(struct fixture *f, int status) {
    assert_int_equal(f->answers, 1);
    assert_int_equal(f->status, status);
    f->answers = 0;
}

/* ---- liveness ---------------------------------------------------------------------------------------------------- */

static void silence_of_a_stopped_peer_is_noticed_soon(void **state) {
    struct fixture *f = two_members(state);
    struct peer_host *h = &f->hosts[1];
    assert_int_equal(h->alive, 1);
    run_ms(f, 30000);
    assert_int_equal(h->lapsed, 0);
    uint64_t stopped_us = sim_now_us(f->sim);
    sim_host_pause(sim_host(f->sim, 2), stopped_us + 3 * (uint64_t)SIM_SECOND);
    run_ms(f, 2500);
    assert_int_equal(h->lapsed, 1);
    assert_true(h->lapsed_us <= stopped_us + (PEERS_DEAD_MS + 5) * SIM_MS);
    assert_true(h->lapsed_us >= stopped_us + (PEERS_DEAD_MS - PEERS_PING_MS - 5) * SIM_MS);
    assert_true(clock_now_ms(h->ports.clock) >= h->heard_ms + 2000);
    assert_false(peers_alive(h->peers, 2));
    run_ms(f, 2000);
    assert_int_equal(h->alive, 2);
    assert_true(peers_alive(h->peers, 2));
}

static void a_broken_session_is_noticed_at_once(void **state) {
    struct fixture *f = two_members(state);
    uint64_t killed_us = sim_now_us(f->sim);
    sim_host_crash(sim_host(f->sim, 2), SIM_CRASH_PROCESS);
    run_ms(f, 100);
    assert_int_equal(f->hosts[1].lapsed, 1);
    assert_true(f->hosts[1].lapsed_us <= killed_us + 50 * SIM_MS);
}

/* What it said before it was held up still waits to be read: nobody else was silent. */
static void a_node_that_was_held_up_does_not_blame_the_others(void **state) {
    struct fixture *f = two_members(state);
    sim_host_pause(sim_host(f->sim, 1), sim_now_us(f->sim) + 5 * (uint64_t)SIM_SECOND);
    run_ms(f, 8000);
    assert_int_equal(f->hosts[1].lapsed, 0);
    assert_int_equal(f->hosts[2].lapsed, 1);
}

static void a_node_with_another_memory_is_another_node(void **state) {
    struct fixture *f = two_members(state);
    f->hosts[2].incarnation = 7;
    run_ms(f, 500);
    assert_int_equal(f->hosts[1].lapsed, 1);
    assert_int_equal(f->hosts[1].alive, 2);
}

static void a_node_that_is_not_fit_is_not_alive(void **state) {
    struct fixture *f = two_members(state);
    f->hosts[2].unfit = true;
    run_ms(f, 1000);
    assert_false(peers_alive(f->hosts[1].peers, 2));
    assert_true(peers_alive(f->hosts[2].peers, 1));
    ask(f, 2, LANE_CONTROL, 1000); /* its answers say nothing about it */
    run_ms(f, 500);
    assert_answered(f, 0);
    assert_false(peers_alive(f->hosts[1].peers, 2));
}

/* More than one peer may leave unread costs the session, so that both ends know that something was lost. */
static void nothing_is_lost_but_with_its_session(void **state) {
    struct fixture *f = two_members(state);
    sim_host_pause(sim_host(f->sim, 2), sim_now_us(f->sim) + 1 * (uint64_t)SIM_SECOND);
    struct buf *out;
    while ((out = peers_control(f->hosts[1].peers, 2)) != NULL) {
        size_t mark = frame_begin(out);
        buf_append(out, f->bytes, LARGE);
        frame_end(out, mark);
        assert_true(out->size < 2 * (size_t)PEERS_CONTROL_UNSENT_MAX);
    }
    run_ms(f, 5000);
    assert_true(f->hosts[2].lapsed >= 1);
    assert_true(f->hosts[1].lost >= 1);
    assert_true(peers_alive(f->hosts[1].peers, 2));
    assert_true(peers_alive(f->hosts[2].peers, 1));
}

static void a_question_that_is_taken_back_is_never_answered(void **state) {
    struct fixture *f = two_members(state);
    struct buf body;
    buf_init(&body, PEER_BODY_MAX);
    for (uint32_t node = 1; node <= 2; node++) {
        uint64_t id = peers_request(f->hosts[1].peers, node, LANE_CONTROL, OP_MEMBERS, &body, 1000, on_answer, f);
        peers_cancel(f->hosts[1].peers, id);
    }
    run_ms(f, 2000);
    assert_int_equal(f->answers, 0);
    assert_int_equal(f->hosts[2].requests, 1);
    buf_release(&body);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void members_answer_each_other(void **state) {
    struct fixture *f = two_members(state);
    f->hosts[2].answer_size = 10;
    ask(f, 2, LANE_CONTROL, 1000);
    run_ms(f, 500);
    assert_answered(f, 0);
    assert_int_equal(f->answer_size, 10);
    assert_int_equal(f->hosts[2].from, 1);
}

static void a_node_answers_itself(void **state) {
    struct fixture *f = two_members(state);
    f->hosts[1].answer_size = 20;
    ask(f, 1, LANE_BULK, 1000);
    run_ms(f, 10);
    assert_answered(f, 0);
    assert_int_equal(f->answer_size, 20);
    assert_int_equal(f->hosts[1].from, 1);
}

/* The answer is there long before the session that is to carry it. */
static void a_large_answer_waits_for_its_session(void **state) {
    struct fixture *f = two_members(state);
    f->hosts[2].answer_size = LARGE;
    ask(f, 2, LANE_BULK, 10000);
    run_ms(f, 2000);
    assert_answered(f, 0);
    assert_int_equal(f->answer_size, LARGE);
}

static void a_question_without_an_answer_times_out(void **state) {
    struct fixture *f = two_members(state);
    f->hosts[2].hold = true;
    ask(f, 2, LANE_CONTROL, 700);
    run_ms(f, 600);
    assert_int_equal(f->answers, 0);
    run_ms(f, 200);
    assert_answered(f, ERR_TIMEOUT);
    peers_reply(f->hosts[2].held, 0, "late", 4);
    run_ms(f, 500);
    assert_int_equal(f->answers, 0);
    assert_true(peers_alive(f->hosts[1].peers, 2)); /* a late answer is no offence */
}

static void a_question_ends_with_the_session_it_went_out_on(void **state) {
    struct fixture *f = two_members(state);
    f->hosts[2].hold = true;
    ask(f, 2, LANE_CONTROL, 60000);
    run_ms(f, 200);
    assert_int_equal(f->hosts[2].requests, 1);
    sim_host_crash(sim_host(f->sim, 2), SIM_CRASH_PROCESS);
    run_ms(f, 500);
    assert_answered(f, ERR_CLOSED);
    assert_false(peers_alive(f->hosts[1].peers, 2));
}

static void nobody_is_reached_where_nobody_is(void **state) {
    struct fixture *f = *state;
    enter(f, 1);
    sim_host_crash(sim_host(f->sim, 2), SIM_CRASH_PROCESS);
    ask(f, 2, LANE_CONTROL, 60000);
    run_ms(f, 1000);
    assert_answered(f, ERR_UNREACHABLE);
    ask(f, 77, LANE_CONTROL, 60000);
    run_ms(f, 1);
    assert_answered(f, ERR_UNREACHABLE);
}

static void a_question_to_a_node_that_the_table_brings_meanwhile_is_unreachable(void **state) {
    struct fixture *f = two_members(state);
    ask(f, 3, LANE_CONTROL, 60000);
    set_member(f, 3, MEMBER_UP, 2);
    peers_set_members(f->hosts[1].peers, f->members);
    run_ms(f, 10);
    assert_answered(f, ERR_UNREACHABLE);
    ask(f, 2, LANE_CONTROL, 1000);
    run_ms(f, 500);
    assert_answered(f, 0);
}

/* ---- strangers --------------------------------------------------------------------------------------------------- */

static void assert_cut_off(struct fixture *f, const struct raw *r) {
    assert_null(r->conn);
    assert_int_equal(f->hosts[1].requests, 0);
    assert_true(f->hosts[1].logs > 0);
}

static void a_key_of_no_member_is_cut_off(void **state) {
    struct fixture *f = two_members(state);
    struct raw *r = raw_dial(f, 0, AS_MEMBER, &f->stranger);
    run_ms(f, 500);
    assert_cut_off(f, r);
}

static void garbage_is_cut_off_at_once_and_silence_after_a_while(void **state) {
    struct fixture *f = two_members(state);
    struct raw *garbage = raw_dial(f, 0, GARBAGE, NULL), *silent = raw_dial(f, 1, SILENT, NULL);
    run_ms(f, 500);
    assert_cut_off(f, garbage);
    assert_non_null(silent->conn);
    run_ms(f, PEERS_HANDSHAKE_MS);
    assert_cut_off(f, silent);
}

static void a_guest_may_ask_to_join_and_nothing_else(void **state) {
    struct fixture *f = two_members(state);
    struct raw *r = raw_dial(f, 0, AS_GUEST, &f->stranger);
    run_ms(f, 500);
    assert_non_null(r->conn);
    raw_ask(r, 1, OP_MEMBERS, 1);
    run_ms(f, 500);
    assert_cut_off(f, r);
}

static void a_guest_may_not_send_much(void **state) {
    struct fixture *f = two_members(state);
    struct raw *r = raw_dial(f, 0, AS_GUEST, &f->stranger);
    run_ms(f, 500);
    raw_ask(r, 1, OP_JOIN, FRAME_GUEST_MAX);
    run_ms(f, 500);
    assert_cut_off(f, r);
}

static void a_guest_asks_once_and_is_answered_late(void **state) {
    struct fixture *f = two_members(state);
    struct raw *r = raw_dial(f, 0, AS_GUEST, &f->stranger);
    f->hosts[1].hold = true;
    run_ms(f, 500);
    raw_ask(r, 1, OP_JOIN, 1);
    run_ms(f, 2 * PEERS_HANDSHAKE_MS);
    assert_int_equal(f->hosts[1].requests, 1);
    assert_int_equal(f->hosts[1].from, 0);
    assert_memory_equal(f->hosts[1].held->guest_id, f->stranger.public_key, 32);
    assert_non_null(r->conn);
    peers_reply(f->hosts[1].held, ERR_EXPIRED, NULL, 0);
    run_ms(f, 500);
    assert_int_equal(r->replies, 1);
    assert_int_equal(r->status, ERR_EXPIRED);
    raw_ask(r, 2, OP_JOIN, 1);
    run_ms(f, 500);
    assert_null(r->conn);
    assert_int_equal(f->hosts[1].requests, 1);
}

static void crowd(struct fixture *f, enum manner manner) {
    int open = 0;
    for (int i = 0; i < CONNS_MAX; i++) {
        raw_dial(f, i, manner, &f->stranger);
        run_ms(f, 10);
    }
    run_ms(f, 500);
    for (int i = 0; i < CONNS_MAX; i++) {
        open += f->raws[i].conn != NULL;
    }
    assert_true(open > 0);
    assert_true(open <= PEERS_STRANGERS_MAX);
    assert_non_null(f->raws[CONNS_MAX - 1].conn); /* the newest stays */
    assert_true(f->hosts[1].logs <= 20);
    assert_true(peers_alive(f->hosts[1].peers, 2));
    run_ms(f, PEERS_HANDSHAKE_MS);
    for (int i = 0; i < CONNS_MAX; i++) {
        assert_null(f->raws[i].conn);
    }
}

static void silent_strangers_have_a_limit(void **state) {
    crowd(two_members(state), SILENT);
}

static void guests_have_a_limit(void **state) {
    crowd(two_members(state), AS_GUEST);
}

/* ---- members that come anew, and that go ------------------------------------------------------------------------- */

static void a_newer_session_replaces_the_older(void **state) {
    struct fixture *f = *state;
    set_member(f, RAW, MEMBER_UP, 2);
    two_members(state);
    struct raw *first = raw_dial(f, 0, AS_MEMBER, &f->hosts[RAW].identity);
    run_ms(f, 500);
    assert_non_null(first->conn);
    raw_ask(first, 1, OP_MEMBERS, 1);
    run_ms(f, 500);
    assert_int_equal(f->hosts[1].requests, 1);
    assert_int_equal(f->hosts[1].from, RAW);
    struct raw *second = raw_dial(f, 1, AS_MEMBER, &f->hosts[RAW].identity);
    run_ms(f, 500);
    assert_null(first->conn);
    assert_non_null(second->conn);
    raw_ask(second, 2, OP_MEMBERS, 1);
    run_ms(f, 500);
    assert_int_equal(f->hosts[1].requests, 2);
}

static void a_removed_member_is_cut_off_and_stays_out(void **state) {
    struct fixture *f = *state;
    set_member(f, RAW, MEMBER_JOINING, 2);
    two_members(state);
    struct raw *before = raw_dial(f, 0, AS_MEMBER, &f->hosts[RAW].identity);
    run_ms(f, 500);
    assert_non_null(before->conn);
    set_member(f, RAW, MEMBER_GONE, 3);
    peers_set_members(f->hosts[1].peers, f->members);
    struct raw *after = raw_dial(f, 1, AS_MEMBER, &f->hosts[RAW].identity);
    run_ms(f, 1000);
    assert_null(before->conn);
    assert_int_equal(after->farewells, 1);
    if (after->conn) {
        raw_ask(after, 1, OP_MEMBERS, 1); /* it is not heard, and is cut off soon */
    }
    run_ms(f, PEERS_HANDSHAKE_MS);
    assert_null(after->conn);
    assert_int_equal(f->hosts[1].requests, 0);
}

static void a_removed_member_is_told_whenever_it_comes(void **state) {
    struct fixture *f = two_members(state);
    set_member(f, 2, MEMBER_GONE, 3);
    peers_set_members(f->hosts[1].peers, f->members);
    run_ms(f, 5000);
    assert_false(peers_alive(f->hosts[1].peers, 2));
    assert_true(f->hosts[2].farewells >= 1);
    assert_int_equal(f->hosts[2].farewell_epoch, 3);
    assert_int_equal(f->hosts[1].farewells, 0);
    ask(f, 2, LANE_CONTROL, 1000);
    run_ms(f, 1500);
    assert_answered(f, ERR_UNREACHABLE);
}

static void gone_members_have_a_limit(void **state) {
    struct fixture *f = *state;
    set_member(f, RAW, MEMBER_GONE, 2);
    two_members(state);
    f->stranger = f->hosts[RAW].identity;
    crowd(f, AS_MEMBER);
}

/* Member 3 lost its disk; the machine is back as member 2 at the same address. */
static void an_address_belongs_to_whoever_is_there(void **state) {
    struct fixture *f = *state;
    struct member lost = {.node = 3, .state = MEMBER_UP, .capacity = 1, .changed = 1};
    memcpy(lost.id, f->hosts[RAW].identity.public_key, sizeof(lost.id));
    memcpy(lost.dh, f->hosts[RAW].identity.dh_public, sizeof(lost.dh));
    assert_true(snprintf(lost.addr, sizeof(lost.addr), "%s", sim_host_addr(sim_host(f->sim, 2))) > 0);
    assert_int_equal(members_apply(f->members, &lost, 1), 0);
    two_members(state);
    int accepted = f->hosts[2].accepted;
    run_ms(f, 30000);
    assert_int_equal(f->hosts[2].accepted, accepted); /* nobody looks for the lost one there, itself included */
    assert_true(peers_alive(f->hosts[1].peers, 2));
    assert_false(peers_alive(f->hosts[1].peers, 3));
    assert_false(peers_alive(f->hosts[2].peers, 3));
}

/* Node 2 does not know node 1: each session opens on the dialling side before it is cut off. */
static void who_is_not_wanted_does_not_knock_all_the_time(void **state) {
    struct fixture *f = *state;
    struct members *alone;
    assert_int_equal(members_new(&alone), 0);
    const struct member *row = members_find(f->members, 2);
    assert_int_equal(members_apply(alone, row, 1), 0);
    enter(f, 1);
    peers_set_swarm(f->hosts[2].peers, f->swarm, 2);
    peers_set_members(f->hosts[2].peers, alone);
    run_ms(f, 20000);
    assert_true(f->hosts[2].accepted >= 5);
    assert_true(f->hosts[2].accepted <= 30);
    peers_set_members(f->hosts[2].peers, f->members);
    run_ms(f, 2000);
    assert_true(peers_alive(f->hosts[1].peers, 2));
    members_free(alone);
}

/* ---- joining ----------------------------------------------------------------------------------------------------- */

static void prove(void *ctx, const uint8_t handshake[32], struct join_request *out) {
    struct fixture *f = ctx;
    (void)handshake;
    out->row = (struct member){.node = 2, .state = MEMBER_UP, .capacity = 1, .addr = "node2:7440"};
    memcpy(out->row.id, f->hosts[2].identity.public_key, sizeof(out->row.id));
    memcpy(out->row.dh, f->hosts[2].identity.dh_public, sizeof(out->row.dh));
}

static void join(struct fixture *f, const uint8_t *swarm, const struct identity *inviter) {
    peers_join(f->hosts[2].peers, swarm, sim_host_addr(sim_host(f->sim, 1)), inviter->public_key, prove, 3000,
               on_answer, f);
    run_ms(f, 4000);
}

static void a_guest_with_the_inviters_key_is_heard(void **state) {
    struct fixture *f = *state;
    enter(f, 1);
    f->hosts[1].answer_size = 30;
    join(f, f->swarm, &f->hosts[1].identity);
    assert_answered(f, 0);
    assert_int_equal(f->answer_size, 30);
    assert_int_equal(f->hosts[1].requests, 1);
    assert_int_equal(f->hosts[1].from, 0);
}

static void a_guest_tells_nothing_to_another_key_than_the_inviters(void **state) {
    struct fixture *f = *state;
    enter(f, 1);
    join(f, f->swarm, &f->stranger);
    assert_answered(f, ERR_AUTH);
    assert_int_equal(f->hosts[1].requests, 0);
}

static void a_guest_of_another_swarm_is_refused(void **state) {
    struct fixture *f = *state;
    uint8_t other[32] = {1};
    enter(f, 1);
    join(f, other, &f->hosts[1].identity);
    assert_answered(f, ERR_AUTH);
    assert_int_equal(f->hosts[1].requests, 0);
}

static void an_attempt_to_join_may_follow_one_that_timed_out(void **state) {
    struct fixture *f = *state;
    enter(f, 1);
    f->hosts[1].hold = true;
    join(f, f->swarm, &f->hosts[1].identity);
    assert_answered(f, ERR_TIMEOUT);
    f->hosts[1].hold = false;
    join(f, f->swarm, &f->hosts[1].identity);
    assert_answered(f, 0);
}

/* ---- machines with AES instructions and without ------------------------------------------------------------------ */

static void assert_understanding(unsigned aes) {
    struct fixture *f = fixture_new(aes);
    void *state = f;
    enter(f, 1);
    join(f, f->swarm, &f->hosts[1].identity);
    assert_answered(f, 0);
    (void)two_members(&state);
    f->hosts[2].answer_size = LARGE;
    ask(f, 2, LANE_BULK, 1000);
    run_ms(f, 1000);
    assert_answered(f, 0);
    struct raw *guest = raw_dial(f, 0, AS_GUEST, &f->stranger);
    run_ms(f, 500);
    assert_int_equal(session_state(guest->session), SESSION_OPEN);
    bool both = has_aes(f, 1) && has_aes(f, RAW);
    assert_int_equal(session_cipher(guest->session), both ? NOISE_AESGCM : NOISE_CHACHAPOLY);
    fixture_free(f);
}

static void any_two_machines_understand_each_other(void **state) {
    (void)state;
    for (unsigned aes = 0; aes < 1u << (HOSTS + 1); aes += 2) {
        assert_understanding(aes);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(silence_of_a_stopped_peer_is_noticed_soon),
        TEST(a_broken_session_is_noticed_at_once),
        TEST(a_node_that_was_held_up_does_not_blame_the_others),
        TEST(a_node_with_another_memory_is_another_node),
        TEST(a_node_that_is_not_fit_is_not_alive),
        TEST(nothing_is_lost_but_with_its_session),
        TEST(a_question_that_is_taken_back_is_never_answered),
        TEST(members_answer_each_other),
        TEST(a_node_answers_itself),
        TEST(a_large_answer_waits_for_its_session),
        TEST(a_question_without_an_answer_times_out),
        TEST(a_question_ends_with_the_session_it_went_out_on),
        TEST(nobody_is_reached_where_nobody_is),
        TEST(a_question_to_a_node_that_the_table_brings_meanwhile_is_unreachable),
        TEST(a_key_of_no_member_is_cut_off),
        TEST(garbage_is_cut_off_at_once_and_silence_after_a_while),
        TEST(a_guest_may_ask_to_join_and_nothing_else),
        TEST(a_guest_may_not_send_much),
        TEST(a_guest_asks_once_and_is_answered_late),
        TEST(silent_strangers_have_a_limit),
        TEST(guests_have_a_limit),
        TEST(a_newer_session_replaces_the_older),
        TEST(a_removed_member_is_cut_off_and_stays_out),
        TEST(a_removed_member_is_told_whenever_it_comes),
        TEST(gone_members_have_a_limit),
        TEST(an_address_belongs_to_whoever_is_there),
        TEST(who_is_not_wanted_does_not_knock_all_the_time),
        TEST(a_guest_with_the_inviters_key_is_heard),
        TEST(a_guest_tells_nothing_to_another_key_than_the_inviters),
        TEST(a_guest_of_another_swarm_is_refused),
        TEST(an_attempt_to_join_may_follow_one_that_timed_out),
        cmocka_unit_test(any_two_machines_understand_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
