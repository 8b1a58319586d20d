/* The simulated world: order, determinism, clocks, crashes, clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "clock.h"
#include "errors.h"
#include "net.h"
#include "random.h"
#include "sim.h"

#define HOSTS 4
#define TICK_MS 50

/* ---- events and streams of random numbers ------------------------------------------------------------------------ */

struct numbered {
    struct event event;
    int number;
    int *order;
    int *count;
};

static void record(struct event *e) {
    struct numbered *n = (struct numbered *)e;
    n->order[(*n->count)++] = n->number;
}

static void events_come_by_time_then_by_order_of_scheduling(void **state) {
    (void)state;
    struct events q;
    events_init(&q);
    struct numbered n[300];
    int order[300], count = 0;
    for (int i = 0; i < 300; i++) {
        n[i] = (struct numbered){.event = {.fire = record}, .number = i, .order = order, .count = &count};
        events_add(&q, &n[i].event, (uint64_t)(i * 7 % 10));
    }
    for (int i = 0; i < 300; i += 3) {
        events_cancel(&q, &n[i].event);
        events_cancel(&q, &n[i].event); /* a second time does nothing */
    }
    events_add(&q, &n[0].event, 4); /* comes after the others of that time */
    struct event *e;
    uint64_t at, last = 0;
    while ((e = events_pop(&q, &at)) != NULL) {
        assert_true(at >= last);
        last = at;
        e->fire(e);
    }
    assert_int_equal(count, 201);
    for (int i = 1; i < count; i++) {
        int before = order[i - 1], after = order[i];
        int before_at = before == 0 ? 4 : before * 7 % 10, after_at = after == 0 ? 4 : after * 7 % 10;
        assert_true(before_at < after_at || (before_at == after_at && (after == 0 || (before < after && before))));
    }
    events_release(&q);
}

static void random_streams_are_independent_and_fair(void **state) {
    (void)state;
    struct prng a, b, c, again;
    prng_init(&a, 7, PRNG_DELAY, 1);
    prng_init(&b, 7, PRNG_DELAY, 2);
    prng_init(&c, 7, PRNG_LOSS, 1);
    prng_init(&again, 7, PRNG_DELAY, 1);
    uint64_t sum = 0, chances = 0, largest = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t x = prng_u64(&a);
        assert_int_equal(x, prng_u64(&again));
        assert_int_not_equal(x, prng_u64(&b));
        uint64_t e = prng_exponential(&c, 1000);
        sum += e;
        largest = e > largest ? e : largest;
        chances += prng_chance(&c, 250000);
        uint64_t r = prng_range(&c, 5, 7);
        assert_true(r >= 5 && r <= 7);
    }
    assert_in_range(sum / 20000, 950, 1060);
    assert_in_range(chances, 4700, 5300);
    assert_true(largest > 6000 && largest <= 44000);
    assert_int_equal(prng_exponential(&c, 0), 0);
    assert_int_equal(prng_below(&c, 0), 0);
}

/* ---- a world of hosts that chatter ------------------------------------------------------------------------------- */

struct chatter {
    struct world *world;
    struct sim_ports ports;
    struct net_conn *conns[HOSTS + 1];
    struct net_conn *local;
    uint32_t number;
    uint64_t wakes, received, accepted;
    uint64_t wake_at_ms, early;
    bool ticking;
};

struct world {
    struct sim *sim;
    struct chatter *hosts[HOSTS + 1];
    int boots, deaths;
    uint64_t received;
    char *trace;
    size_t trace_size;
};

static void tick(void *ctx) {
    struct chatter *c = ctx;
    uint64_t now = clock_now_ms(c->ports.clock);
    c->wakes++;
    c->early += now < c->wake_at_ms;
    for (uint32_t n = 1; n <= HOSTS; n++) {
        if (n != c->number && c->conns[n] == NULL) {
            char addr[SIM_ADDR_SIZE];
            snprintf(addr, sizeof(addr), "node%u:%u", (unsigned)n, SIM_PORT);
            assert_int_equal(net_connect(c->ports.net, addr, &c->conns[n]), 0);
        } else if (n != c->number) {
            uint8_t bytes[100];
            random_fill(c->ports.random, bytes, sizeof(bytes));
            net_send(c->conns[n], bytes, 1 + random_u64(c->ports.random) % sizeof(bytes));
        }
    }
    c->wake_at_ms = now + TICK_MS;
    clock_wake_at(c->ports.clock, c->wake_at_ms);
}

static void on_accepted(void *ctx, struct net_conn *conn, enum net_kind kind) {
    struct chatter *c = ctx;
    c->accepted++;
    if (kind == NET_LOCAL) {
        c->local = conn;
    }
}

static void on_connected(void *ctx, struct net_conn *conn) {
    (void)ctx;
    assert_non_null(net_peer_name(conn));
}

static void on_received(void *ctx, struct net_conn *conn, const uint8_t *bytes, size_t size) {
    struct chatter *c = ctx;
    c->received += size;
    c->world->received += size;
    if (conn == c->local) {
        assert_string_equal(net_peer_name(conn), "local");
        assert_int_equal(net_send(conn, bytes, size), 0);
    }
}

static void on_closed(void *ctx, struct net_conn *conn, int status) {
    struct chatter *c = ctx;
    (void)status;
    for (uint32_t n = 1; n <= HOSTS; n++) {
        if (c->conns[n] == conn) {
            c->conns[n] = NULL;
        }
    }
    if (c->local == conn) {
        c->local = NULL;
    }
}

static void boot(void *ctx, struct sim_host *h, const struct sim_ports *ports) {
    struct world *w = ctx;
    struct chatter *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    c->world = w;
    c->ports = *ports;
    c->number = sim_host_number(h);
    w->hosts[c->number] = c;
    w->boots++;
    const struct net_events events = {on_accepted, on_connected, on_received, NULL, on_closed, c};
    net_on_events(ports->net, &events);
    assert_int_equal(net_listen(ports->net, NET_PEER, sim_host_addr(h), NULL, 0), 0);
    assert_int_equal(net_listen(ports->net, NET_PEER, sim_host_addr(h), NULL, 0), ERR_IN_USE);
    assert_int_equal(net_listen(ports->net, NET_LOCAL, "socket", NULL, 0), 0);
    clock_on_wake(ports->clock, tick, c);
    c->wake_at_ms = clock_now_ms(ports->clock) + TICK_MS;
    clock_wake_at(ports->clock, c->wake_at_ms);
}

static void dead(void *ctx, struct sim_host *h) {
    struct world *w = ctx;
    struct chatter *c = w->hosts[sim_host_number(h)];
    clock_wake_at(c->ports.clock, 0);
    free(c);
    w->hosts[sim_host_number(h)] = NULL;
    w->deaths++;
}

static void open_world(struct world *w, uint64_t seed) {
    memset(w, 0, sizeof(*w));
    const struct sim_options options = {.seed = seed, .hosts = HOSTS, .capacity_bytes = 1u << 20};
    const struct sim_program program = {.boot = boot, .dead = dead, .ctx = w};
    w->sim = sim_new(&options, &program);
    for (uint32_t n = 1; n <= HOSTS; n++) {
        sim_host_start(sim_host(w->sim, n));
    }
}

/* A minute of everything. The hash of it. */
static uint64_t run_world(uint64_t seed) {
    struct world w;
    open_world(&w, seed);
    struct sim_link link = {.delay_us = 200, .jitter_us = 5000, .loss_millionths = 20000, .reset_millionths = 1000};
    sim_link_set(w.sim, 1, 2, &link);
    for (int second = 1; second <= 60; second++) {
        sim_run_until(w.sim, (uint64_t)second * SIM_SECOND);
        struct sim_host *h = sim_host(w.sim, 1 + (uint32_t)second % HOSTS);
        bool part[HOSTS + 1] = {[1] = true, [2] = second % 2};
        if (second % 5 == 0) {
            sim_host_crash(h, second % 2 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        } else if (second % 5 == 2) {
            sim_partition(w.sim, part);
        } else if (second % 5 == 3) {
            sim_heal(w.sim);
        }
        for (uint32_t n = 1; second % 5 == 4 && n <= HOSTS; n++) {
            if (!sim_host_up(sim_host(w.sim, n))) {
                sim_host_start(sim_host(w.sim, n));
            }
        }
    }
    for (uint32_t n = 1; n <= HOSTS; n++) {
        assert_true(w.hosts[n] == NULL || w.hosts[n]->early == 0);
    }
    assert_true(w.received > 100000);
    uint64_t hash = sim_hash(w.sim);
    sim_free(w.sim);
    assert_int_equal(w.boots, w.deaths);
    return hash;
}

static void the_same_seed_gives_the_same_run(void **state) {
    (void)state;
    uint64_t hashes[4];
    for (uint64_t seed = 0; seed < 4; seed++) {
        hashes[seed] = run_world(seed);
        void *shift = malloc(4096 * (seed + 1)); /* other addresses must not matter */
        assert_int_equal(run_world(seed), hashes[seed]);
        free(shift);
        for (uint64_t other = 0; other < seed; other++) {
            assert_int_not_equal(hashes[seed], hashes[other]);
        }
    }
}

static void one_byte_changes_the_hash(void **state) {
    (void)state;
    uint64_t hashes[2];
    for (int i = 0; i < 2; i++) {
        struct world w;
        open_world(&w, 1);
        sim_note(w.sim, "said %d", i);
        hashes[i] = sim_hash(w.sim);
        sim_free(w.sim);
    }
    assert_int_not_equal(hashes[0], hashes[1]);
}

/* ---- clocks ------------------------------------------------------------------------------------------------------ */

static void clocks_drift_and_wake_on_time(void **state) {
    (void)state;
    struct world w;
    open_world(&w, 3);
    uint64_t started[HOSTS + 1], walls[HOSTS + 1];
    for (uint32_t n = 1; n <= HOSTS; n++) {
        started[n] = clock_now_ms(w.hosts[n]->ports.clock);
        walls[n] = clock_wall_ms(w.hosts[n]->ports.clock);
        assert_in_range(walls[n], SIM_WALL_START_MS - 2000, SIM_WALL_START_MS + 2000);
    }
    sim_run_until(w.sim, 1000 * (uint64_t)SIM_SECOND);
    int different = 0;
    for (uint32_t n = 1; n <= HOSTS; n++) {
        uint64_t passed = clock_now_ms(w.hosts[n]->ports.clock) - started[n];
        assert_in_range(passed, 999800, 1000201);
        assert_in_range(w.hosts[n]->wakes, 1000000 / TICK_MS - 500, 1000000 / TICK_MS + 5); /* 200 ppm fast */
        assert_int_equal(w.hosts[n]->early, 0);
        different += passed != 1000000;
    }
    assert_true(different >= 2);
    uint64_t before = clock_wall_ms(w.hosts[1]->ports.clock);
    uint64_t monotonic = clock_now_ms(w.hosts[1]->ports.clock);
    sim_host_step_wall(sim_host(w.sim, 1), -5000);
    assert_int_equal(clock_wall_ms(w.hosts[1]->ports.clock), before - 5000);
    assert_int_equal(clock_now_ms(w.hosts[1]->ports.clock), monotonic);
    sim_free(w.sim);
}

static void a_clock_that_changes_its_rate_goes_on_from_where_it_was(void **state) {
    (void)state;
    struct world w;
    open_world(&w, 3);
    struct sim_host *h = sim_host(w.sim, 1);
    for (int round = 0; round < 10; round++) {
        uint64_t monotonic = clock_now_ms(w.hosts[1]->ports.clock), wall = clock_wall_ms(w.hosts[1]->ports.clock);
        sim_host_set_rate(h, round % 2 == 0 ? SIM_DRIFT_PPM_MAX : -SIM_DRIFT_PPM_MAX);
        assert_in_range(clock_now_ms(w.hosts[1]->ports.clock), monotonic, monotonic + 1);
        assert_in_range(clock_wall_ms(w.hosts[1]->ports.clock), wall - 1, wall + 1);
        sim_run_until(w.sim, sim_now_us(w.sim) + 100 * (uint64_t)SIM_SECOND);
        uint64_t wanted = round % 2 == 0 ? 100050 : 99950;
        assert_in_range(clock_now_ms(w.hosts[1]->ports.clock) - monotonic, wanted - 1, wanted + 1);
        assert_in_range(clock_wall_ms(w.hosts[1]->ports.clock) - wall, wanted - 2, wanted + 2);
    }
    assert_int_equal(w.hosts[1]->early, 0);
    sim_free(w.sim);
}

static void wake_now(void *ctx) {
    struct chatter *c = ctx;
    c->wakes++;
    clock_wake_at(c->ports.clock, 0);
}

static void virtual_time_goes_on_however_often_a_host_wakes(void **state) {
    (void)state;
    struct world w;
    open_world(&w, 3);
    struct chatter *c = w.hosts[1];
    clock_wake_at(c->ports.clock, UINT64_MAX);
    clock_on_wake(c->ports.clock, wake_now, c);
    clock_wake_at(c->ports.clock, 0);
    sim_run_until(w.sim, SIM_SECOND);
    assert_in_range(c->wakes, 1000, SIM_SECOND);
    uint64_t wakes = c->wakes;
    clock_wake_at(c->ports.clock, UINT64_MAX);
    sim_run_until(w.sim, 2 * SIM_SECOND);
    assert_int_equal(c->wakes, wakes);
    sim_free(w.sim);
}

static void a_pause_delays_every_event_of_the_host_only(void **state) {
    (void)state;
    struct world w;
    open_world(&w, 3);
    sim_run_until(w.sim, SIM_SECOND);
    uint64_t wakes = w.hosts[2]->wakes, received = w.hosts[2]->received, others = w.hosts[3]->wakes;
    sim_host_pause(sim_host(w.sim, 2), 4 * SIM_SECOND);
    sim_run_until(w.sim, 4 * SIM_SECOND - 1);
    assert_int_equal(w.hosts[2]->wakes, wakes);
    assert_int_equal(w.hosts[2]->received, received);
    assert_true(w.hosts[3]->wakes > others + 50);
    sim_run_until(w.sim, 5 * SIM_SECOND);
    assert_true(w.hosts[2]->wakes > wakes);
    assert_true(w.hosts[2]->received > received);
    sim_free(w.sim);
}

static void a_new_start_draws_new_randomness(void **state) {
    (void)state;
    struct world w;
    open_world(&w, 3);
    uint64_t first = random_u64(w.hosts[1]->ports.random);
    assert_int_not_equal(first, random_u64(w.hosts[2]->ports.random));
    sim_host_crash(sim_host(w.sim, 1), SIM_CRASH_POWER);
    assert_null(w.hosts[1]);
    sim_host_start(sim_host(w.sim, 1));
    assert_int_not_equal(first, random_u64(w.hosts[1]->ports.random));
    sim_free(w.sim);
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

struct user {
    struct sim_client *client;
    uint8_t bytes[64];
    size_t received;
    int connected, closed, status;
};

static void user_connected(void *ctx) {
    ((struct user *)ctx)->connected++;
}

static void user_received(void *ctx, const uint8_t *bytes, size_t size) {
    struct user *u = ctx;
    assert_true(u->received + size <= sizeof(u->bytes));
    memcpy(u->bytes + u->received, bytes, size);
    u->received += size;
}

static void user_closed(void *ctx, int status) {
    struct user *u = ctx;
    u->closed++;
    u->status = status;
    u->client = NULL;
}

static void user_open(struct user *u, struct sim_host *h) {
    *u = (struct user){0};
    const struct sim_client_events events = {user_connected, user_received, user_closed, u};
    u->client = sim_client_open(h, &events);
}

static void a_client_talks_to_its_host(void **state) {
    (void)state;
    struct world w;
    open_world(&w, 3);
    struct user u;
    user_open(&u, sim_host(w.sim, 1));
    sim_run_until(w.sim, 10 * SIM_MS);
    assert_int_equal(u.connected, 1);
    assert_int_equal(sim_client_send(u.client, (const uint8_t *)"hello", 5), 0);
    const bool alone[HOSTS + 1] = {[1] = true};
    sim_partition(w.sim, alone); /* local connections know no network */
    sim_run_until(w.sim, 20 * SIM_MS);
    assert_int_equal(u.received, 5);
    assert_memory_equal(u.bytes, "hello", 5);
    assert_int_equal(sim_client_unsent(u.client), 0);
    sim_client_close(u.client);
    sim_run_until(w.sim, 30 * SIM_MS);
    assert_int_equal(u.closed, 1);
    assert_int_equal(u.status, 0);
    assert_null(w.hosts[1]->local);
    sim_free(w.sim);
}

static void a_client_hears_of_the_end_of_its_host(void **state) {
    (void)state;
    struct world w;
    open_world(&w, 3);
    struct user killed, cut, late;
    user_open(&killed, sim_host(w.sim, 1));
    user_open(&cut, sim_host(w.sim, 2));
    sim_run_until(w.sim, 10 * SIM_MS);
    sim_host_crash(sim_host(w.sim, 1), SIM_CRASH_PROCESS);
    sim_host_crash(sim_host(w.sim, 2), SIM_CRASH_POWER);
    user_open(&late, sim_host(w.sim, 1));
    sim_run_until(w.sim, SIM_SECOND);
    assert_int_equal(killed.closed, 1);
    assert_int_equal(killed.status, ERR_CLOSED);
    assert_int_equal(cut.closed, 1); /* it was on the same machine */
    assert_int_equal(late.connected, 0);
    assert_int_equal(late.status, ERR_UNREACHABLE);
    sim_free(w.sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_by_time_then_by_order_of_scheduling),
        cmocka_unit_test(random_streams_are_independent_and_fair),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
        cmocka_unit_test(one_byte_changes_the_hash),
        cmocka_unit_test(clocks_drift_and_wake_on_time),
        cmocka_unit_test(a_clock_that_changes_its_rate_goes_on_from_where_it_was),
        cmocka_unit_test(virtual_time_goes_on_however_often_a_host_wakes),
        cmocka_unit_test(a_pause_delays_every_event_of_the_host_only),
        cmocka_unit_test(a_new_start_draws_new_randomness),
        cmocka_unit_test(a_client_talks_to_its_host),
        cmocka_unit_test(a_client_hears_of_the_end_of_its_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
