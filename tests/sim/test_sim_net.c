/* The simulated network: streams stay streams, whatever is done to the paths under them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "errors.h"
#include "net.h"
#include "sim.h"

#define HOSTS 3
#define ENDS_MAX 64

/* One end of a connection, as its node sees it. Bytes of a stream count up from 0, so that loss, repetition and
 * disorder all show. */
struct end {
    struct net_conn *conn; /* NULL once closed */
    uint64_t sent, received;
    uint64_t last_us;
    int accepted, connected, drained, closed;
    int status;
    bool echo;
    bool may_be_wrong;
    uint64_t wrong; /* bytes */
};

struct peer {
    struct fixture *fixture;
    struct net *net;
    struct end ends[ENDS_MAX];
    size_t count;
    bool echo;
};

struct fixture {
    struct sim *sim;
    struct peer peers[HOSTS + 1];
};

static struct end *new_end(struct peer *p, struct net_conn *c) {
    assert_true(p->count < ENDS_MAX);
    struct end *e = &p->ends[p->count++];
    memset(e, 0, sizeof(*e));
    e->conn = c;
    e->echo = p->echo;
    net_set_user(c, e);
    return e;
}

static void send_more(struct end *e, size_t size) {
    uint8_t block[4096];
    while (size > 0) {
        size_t part = size < sizeof(block) ? size : sizeof(block);
        for (size_t i = 0; i < part; i++) {
            block[i] = (uint8_t)((e->sent + i) % 251);
        }
        assert_int_equal(net_send(e->conn, block, part), 0);
        e->sent += part;
        size -= part;
    }
}

/* The same as one piece, written where it leaves from. */
static void extend_more(struct end *e, size_t size) {
    uint8_t *room = NULL;
    assert_int_equal(net_extend(e->conn, size, &room), 0);
    for (size_t i = 0; i < size; i++) {
        room[i] = (uint8_t)((e->sent + i) % 251);
    }
    e->sent += size;
}

static void on_accepted(void *ctx, struct net_conn *c, enum net_kind kind) {
    struct peer *p = ctx;
    assert_int_equal(kind, NET_PEER);
    new_end(p, c)->accepted = 1;
}

static void on_connected(void *ctx, struct net_conn *c) {
    (void)ctx;
    struct end *e = net_user(c);
    assert_int_equal(e->connected + e->closed + e->accepted, 0);
    e->connected = 1;
}

static void on_received(void *ctx, struct net_conn *c, const uint8_t *bytes, size_t size) {
    struct peer *p = ctx;
    struct end *e = net_user(c);
    assert_true(e->connected || e->accepted);
    assert_false(e->closed);
    assert_true(size > 0 && size <= 256 * 1024);
    for (size_t i = 0; i < size; i++) {
        bool wrong = bytes[i] != (uint8_t)((e->received + i) % 251);
        assert_true(!wrong || e->may_be_wrong);
        e->wrong += wrong;
    }
    e->received += size;
    e->last_us = sim_now_us(p->fixture->sim);
    if (e->echo) {
        send_more(e, size);
    }
}

static void on_drained(void *ctx, struct net_conn *c) {
    (void)ctx;
    struct end *e = net_user(c);
    assert_int_equal(net_unsent(c), 0);
    e->drained++;
}

static void on_closed(void *ctx, struct net_conn *c, int status) {
    (void)ctx;
    struct end *e = net_user(c);
    assert_int_equal(e->closed, 0);
    uint8_t *room = NULL;
    assert_int_equal(net_send(c, (const uint8_t *)"x", 1), ERR_CLOSED);
    assert_int_equal(net_extend(c, 1, &room), ERR_CLOSED);
    e->closed = 1;
    e->status = status;
    e->conn = NULL;
}

static void boot(void *ctx, struct sim_host *h, const struct sim_ports *ports) {
    struct fixture *f = ctx;
    struct peer *p = &f->peers[sim_host_number(h)];
    p->fixture = f;
    p->net = ports->net;
    const struct net_events events = {on_accepted, on_connected, on_received, on_drained, on_closed, p};
    net_on_events(ports->net, &events);
    char bound[SIM_ADDR_SIZE];
    assert_int_equal(net_listen(ports->net, NET_PEER, sim_host_addr(h), bound, sizeof(bound)), 0);
    assert_string_equal(bound, sim_host_addr(h));
}

/* Every call on a dead port must be harmless. */
static void dead(void *ctx, struct sim_host *h) {
    struct fixture *f = ctx;
    struct peer *p = &f->peers[sim_host_number(h)];
    for (size_t i = 0; i < p->count; i++) {
        struct net_conn *c = p->ends[i].conn;
        if (c != NULL) {
            assert_int_equal(net_send(c, (const uint8_t *)"x", 1), ERR_CLOSED);
            net_pause(c);
            net_resume(c);
            net_close(c);
            p->ends[i].conn = NULL;
        }
    }
    p->net = NULL;
}

static void open_world(struct fixture *f, uint64_t seed) {
    memset(f, 0, sizeof(*f));
    const struct sim_options options = {.seed = seed, .hosts = HOSTS, .capacity_bytes = 1u << 20};
    const struct sim_program program = {.boot = boot, .dead = dead, .ctx = f};
    f->sim = sim_new(&options, &program);
    for (uint32_t n = 1; n <= HOSTS; n++) {
        sim_host_start(sim_host(f->sim, n));
    }
}

static struct end *dial(struct fixture *f, uint32_t from, const char *addr) {
    struct net_conn *c;
    assert_int_equal(net_connect(f->peers[from].net, addr, &c), 0);
    return new_end(&f->peers[from], c);
}

static void run_for(struct fixture *f, uint64_t us) {
    sim_run_until(f->sim, sim_now_us(f->sim) + us);
}

/* Both ends of a fresh connection 1 -> 2. */
static struct end *join(struct fixture *f, struct end **ret_far) {
    size_t before = f->peers[2].count;
    struct end *near = dial(f, 1, "node2:7440");
    run_for(f, SIM_SECOND);
    assert_int_equal(near->connected, 1);
    assert_int_equal(f->peers[2].count, before + 1);
    *ret_far = &f->peers[2].ends[before];
    return near;
}

static void set_links(struct fixture *f, const struct sim_link *link) {
    for (uint32_t from = 1; from <= HOSTS; from++) {
        for (uint32_t to = 1; to <= HOSTS; to++) {
            sim_link_set(f->sim, from, to, link);
        }
    }
}

static void bytes_arrive_once_and_in_order(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct fixture f;
        open_world(&f, seed);
        struct end *far, *near = join(&f, &far);
        far->echo = true;
        set_links(&f, &(struct sim_link){.delay_us = 100, .jitter_us = 20000, .loss_millionths = 100000});
        for (int i = 0; i < 200; i++) {
            send_more(near, (size_t)i * 37 + 1);
            run_for(&f, 3 * SIM_MS);
        }
        run_for(&f, 120 * SIM_SECOND);
        assert_int_equal(far->received, near->sent);
        assert_int_equal(near->received, near->sent);
        sim_free(f.sim);
    }
}

static void bytes_written_in_place_keep_their_order_among_copied_ones(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct fixture f;
        open_world(&f, seed);
        struct end *far, *near = join(&f, &far);
        far->echo = true;
        set_links(&f, &(struct sim_link){.delay_us = 100, .jitter_us = 20000, .loss_millionths = 100000});
        for (int i = 0; i < 200; i++) {
            extend_more(near, (size_t)i * 337 + 1);
            send_more(near, (size_t)i * 37 + 1);
            extend_more(near, 9);
            run_for(&f, 3 * SIM_MS);
        }
        extend_more(near, NET_EXTEND_MAX);
        run_for(&f, 300 * SIM_SECOND);
        assert_int_equal(far->received, near->sent);
        assert_int_equal(near->received, near->sent);
        sim_free(f.sim);
    }
}

static void unsent_bytes_wait_for_a_slow_reader(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    net_pause(far->conn);
    send_more(near, 2 << 20);
    run_for(&f, SIM_SECOND);
    assert_true(net_unsent(near->conn) > 1 << 20);
    assert_int_equal(far->received, 0);
    assert_int_equal(near->drained, 0);
    net_resume(far->conn);
    run_for(&f, SIM_SECOND);
    assert_int_equal(far->received, 2 << 20);
    assert_int_equal(near->drained, 1);
    sim_free(f.sim);
}

static void close_sends_what_is_queued(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    send_more(near, 2 << 20);
    net_close(near->conn);
    assert_int_equal(net_send(near->conn, (const uint8_t *)"x", 1), ERR_CLOSED);
    assert_int_equal(near->closed, 0); /* never from inside the call */
    run_for(&f, SIM_SECOND);
    assert_int_equal(near->closed, 1);
    assert_int_equal(near->status, 0);
    assert_int_equal(far->received, 2 << 20);
    assert_int_equal(far->closed, 1);
    assert_int_equal(far->status, ERR_CLOSED);
    sim_free(f.sim);
}

static void close_waits_a_second_for_a_stuck_reader(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    net_pause(far->conn);
    send_more(near, 2 << 20);
    run_for(&f, SIM_SECOND);
    net_close(near->conn);
    run_for(&f, SIM_SECOND + SIM_MS);
    assert_int_equal(near->closed, 1);
    assert_int_equal(far->closed, 0);
    net_resume(far->conn);
    run_for(&f, SIM_SECOND);
    assert_int_equal(far->closed, 1);
    assert_true(far->received > 0 && far->received < 2 << 20);
    sim_free(f.sim);
}

static void closing_while_dialling_ends_with_0(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *near = dial(&f, 1, "node2:7440");
    net_close(near->conn);
    run_for(&f, 20 * SIM_SECOND);
    assert_int_equal(near->closed, 1);
    assert_int_equal(near->connected, 0);
    assert_int_equal(near->status, 0);
    sim_free(f.sim);
}

static void dialling_nobody_fails(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct net_conn *c;
    static const char *const no_addr[] = {"", ":", "node2", "node2:", ":7440", "node2:x", "node2:65536", "node2:0"};
    for (size_t i = 0; i < sizeof(no_addr) / sizeof(*no_addr); i++) {
        assert_int_equal(net_connect(f.peers[1].net, no_addr[i], &c), ERR_INVALID);
    }
    struct end *port = dial(&f, 1, "node2:7441");
    struct end *name = dial(&f, 1, "elsewhere:7440");
    struct end *padded = dial(&f, 1, "node02:7440");
    sim_host_crash(sim_host(f.sim, 2), SIM_CRASH_PROCESS);
    sim_host_crash(sim_host(f.sim, 3), SIM_CRASH_POWER);
    struct end *refused = dial(&f, 1, "node2:7440");
    struct end *silent = dial(&f, 1, "node3:7440");
    run_for(&f, SIM_SECOND);
    assert_int_equal(port->closed + name->closed + padded->closed + refused->closed, 4);
    assert_int_equal(silent->closed, 0); /* no machine is there to refuse */
    run_for(&f, 20 * SIM_SECOND);
    assert_int_equal(silent->closed, 1);
    assert_int_equal(silent->status, ERR_UNREACHABLE);
    assert_int_equal(refused->status, ERR_UNREACHABLE);
    assert_int_equal(name->status, ERR_UNREACHABLE);
    assert_int_equal(port->status, ERR_UNREACHABLE);
    assert_int_equal(refused->connected + silent->connected, 0);
    sim_free(f.sim);
}

static void a_short_partition_only_delays(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    const bool first_part[HOSTS + 1] = {[1] = true};
    sim_partition(f.sim, first_part);
    send_more(near, 1000);
    run_for(&f, 5 * SIM_SECOND);
    assert_int_equal(far->received, 0);
    sim_heal(f.sim);
    run_for(&f, 5 * SIM_SECOND);
    assert_int_equal(far->received, 1000);
    run_for(&f, 120 * SIM_SECOND);
    assert_int_equal(near->closed + far->closed, 0);
    sim_free(f.sim);
}

static void a_long_partition_breaks_only_the_sender(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    const bool first_part[HOSTS + 1] = {[1] = true};
    sim_partition(f.sim, first_part);
    send_more(near, 1000);
    run_for(&f, 100 * SIM_SECOND);
    assert_int_equal(near->closed, 1);
    assert_int_equal(near->status, ERR_IO);
    assert_int_equal(far->closed, 0); /* it waits, as it has nothing to say */
    sim_heal(f.sim);
    send_more(far, 1);
    run_for(&f, 5 * SIM_SECOND);
    assert_int_equal(far->closed, 1);
    assert_int_equal(far->status, ERR_IO);
    assert_int_equal(near->received, 0);
    sim_free(f.sim);
}

static void an_asymmetric_block_lets_the_other_way_pass(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    sim_link_block(f.sim, 1, 2, true);
    send_more(near, 1000);
    send_more(far, 1000);
    run_for(&f, 5 * SIM_SECOND);
    assert_int_equal(far->received, 0);
    assert_int_equal(near->received, 1000);
    run_for(&f, 100 * SIM_SECOND);
    assert_int_equal(near->status, ERR_IO); /* its bytes never arrived */
    assert_int_equal(far->status, ERR_IO);  /* no acknowledgement came back */
    sim_free(f.sim);
}

static void a_partition_leaves_others_alone(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    const bool first_part[HOSTS + 1] = {[3] = true};
    sim_partition(f.sim, first_part);
    struct end *far, *near = join(&f, &far);
    struct end *cut_off = dial(&f, 1, "node3:7440");
    send_more(near, 10);
    run_for(&f, 20 * SIM_SECOND);
    assert_int_equal(far->received, 10);
    assert_int_equal(cut_off->connected, 0);
    assert_int_equal(cut_off->status, ERR_UNREACHABLE);
    sim_free(f.sim);
}

static void a_clogged_path_holds_back(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    sim_link_clog(f.sim, 1, 2, 30 * SIM_SECOND);
    send_more(near, 10);
    sim_run_until(f.sim, 30 * SIM_SECOND - 1);
    assert_int_equal(far->received, 0);
    run_for(&f, SIM_SECOND);
    assert_int_equal(far->received, 10);
    sim_free(f.sim);
}

static void connections_overtake_each_other(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far[20], *near[20];
    for (int i = 0; i < 20; i++) {
        near[i] = join(&f, &far[i]);
    }
    set_links(&f, &(struct sim_link){.delay_us = 100, .jitter_us = 10000});
    for (int i = 0; i < 20; i++) {
        send_more(near[i], 1);
    }
    run_for(&f, SIM_SECOND);
    int overtaken = 0;
    for (int i = 1; i < 20; i++) {
        overtaken += far[i]->last_us < far[i - 1]->last_us;
    }
    assert_true(overtaken > 3);
    sim_free(f.sim);
}

static void resets_are_seen_at_both_ends(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    set_links(&f, &(struct sim_link){.delay_us = 100, .reset_millionths = PRNG_MILLION});
    send_more(near, 1);
    run_for(&f, SIM_SECOND);
    assert_int_equal(near->status, ERR_IO);
    assert_int_equal(far->status, ERR_IO);
    sim_free(f.sim);
}

static void a_garbled_link_changes_single_bits(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    set_links(&f, &(struct sim_link){.delay_us = 100, .garble_millionths = PRNG_MILLION});
    far->wrong = 0;
    far->may_be_wrong = true;
    for (int i = 0; i < 50; i++) {
        send_more(near, 100);
        run_for(&f, 10 * SIM_MS);
    }
    assert_int_equal(far->received, 5000);
    assert_in_range(far->wrong, 50, 60); /* one for each delivery, and some come in two */
    sim_free(f.sim);
}

static void a_reset_host_loses_every_connection_and_may_dial_anew(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    struct end *other_far, *other = join(&f, &other_far);
    sim_host_reset(sim_host(f.sim, 2));
    run_for(&f, SIM_SECOND);
    assert_int_equal(near->status, ERR_IO);
    assert_int_equal(far->status, ERR_IO);
    assert_int_equal(other->status, ERR_IO);
    assert_int_equal(other_far->status, ERR_IO);
    near = join(&f, &far);
    send_more(near, 1000);
    run_for(&f, SIM_SECOND);
    assert_int_equal(far->received, 1000);
    sim_free(f.sim);
}

static void a_killed_process_closes_its_connections(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    send_more(far, 1000);
    sim_host_crash(sim_host(f.sim, 2), SIM_CRASH_PROCESS);
    run_for(&f, SIM_SECOND);
    assert_int_equal(near->received, 1000); /* was on the wire */
    assert_int_equal(near->status, ERR_CLOSED);
    assert_int_equal(far->closed, 0); /* no callback into the dead */
    sim_free(f.sim);
}

static void a_power_cut_leaves_half_a_connection(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    struct end *far_idle, *near_idle = join(&f, &far_idle);
    sim_host_crash(sim_host(f.sim, 2), SIM_CRASH_POWER);
    run_for(&f, 200 * SIM_SECOND);
    assert_int_equal(near->closed, 0);
    sim_host_start(sim_host(f.sim, 2));
    send_more(near, 1);
    run_for(&f, SIM_SECOND);
    assert_int_equal(near->status, ERR_IO); /* the new kernel knows no such connection */
    sim_host_crash(sim_host(f.sim, 2), SIM_CRASH_POWER);
    send_more(near_idle, 1);
    run_for(&f, SIM_SECOND);
    assert_int_equal(near_idle->closed, 0);
    run_for(&f, 100 * SIM_SECOND);
    assert_int_equal(near_idle->status, ERR_IO); /* nobody acknowledged */
    assert_int_equal(far->closed + far_idle->closed, 0);
    sim_free(f.sim);
}

static void a_paused_host_loses_nothing(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    uint64_t until = sim_now_us(f.sim) + 30 * SIM_SECOND;
    sim_host_pause(sim_host(f.sim, 2), until);
    for (int i = 0; i < 100; i++) {
        send_more(near, 100);
        run_for(&f, 10 * SIM_MS);
    }
    sim_run_until(f.sim, until - 1);
    assert_int_equal(far->received, 0);
    run_for(&f, SIM_SECOND);
    assert_int_equal(far->received, 10000);
    sim_free(f.sim);
}

static void healing_does_not_revive_a_dropped_stream(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct end *far, *near = join(&f, &far);
    const bool first_part[HOSTS + 1] = {[1] = true};
    sim_partition(f.sim, first_part);
    send_more(near, 1000);
    run_for(&f, SIM_SECOND);
    net_close(near->conn);
    run_for(&f, SIM_SECOND);
    sim_host_crash(sim_host(f.sim, 1), SIM_CRASH_POWER);
    sim_host_start(sim_host(f.sim, 1));
    sim_heal(f.sim);
    send_more(far, 1);
    run_for(&f, 100 * SIM_SECOND);
    assert_int_equal(near->closed, 1);
    assert_int_equal(far->closed, 1);
    assert_int_equal(far->received, 0); /* nobody was left to send it again */
    sim_free(f.sim);
}

static void a_pause_may_outlast_the_patience_of_a_dial(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    sim_link_block(f.sim, 1, 2, true);
    struct end *near = dial(&f, 1, "node2:7440");
    sim_host_pause(sim_host(f.sim, 2), 60 * SIM_SECOND);
    run_for(&f, 100 * SIM_SECOND);
    assert_int_equal(near->status, ERR_UNREACHABLE);
    sim_free(f.sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive_once_and_in_order),
        cmocka_unit_test(bytes_written_in_place_keep_their_order_among_copied_ones),
        cmocka_unit_test(unsent_bytes_wait_for_a_slow_reader),
        cmocka_unit_test(close_sends_what_is_queued),
        cmocka_unit_test(close_waits_a_second_for_a_stuck_reader),
        cmocka_unit_test(closing_while_dialling_ends_with_0),
        cmocka_unit_test(dialling_nobody_fails),
        cmocka_unit_test(a_short_partition_only_delays),
        cmocka_unit_test(a_long_partition_breaks_only_the_sender),
        cmocka_unit_test(an_asymmetric_block_lets_the_other_way_pass),
        cmocka_unit_test(a_partition_leaves_others_alone),
        cmocka_unit_test(a_clogged_path_holds_back),
        cmocka_unit_test(connections_overtake_each_other),
        cmocka_unit_test(resets_are_seen_at_both_ends),
        cmocka_unit_test(a_garbled_link_changes_single_bits),
        cmocka_unit_test(a_reset_host_loses_every_connection_and_may_dial_anew),
        cmocka_unit_test(a_killed_process_closes_its_connections),
        cmocka_unit_test(a_power_cut_leaves_half_a_connection),
        cmocka_unit_test(a_paused_host_loses_nothing),
        cmocka_unit_test(healing_does_not_revive_a_dropped_stream),
        cmocka_unit_test(a_pause_may_outlast_the_patience_of_a_dial),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
