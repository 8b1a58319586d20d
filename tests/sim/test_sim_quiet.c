/* Whole nodes with nothing to do, and what happens when one that leads is lost. */
#include "groups.h"
#include "swarm_use.h"

#define NODES 3
#define ARC_BITS 4
#define SETTLE_MS 40000
#define WRITERS 32 /* names, so that every node leads some of them */
#define FAILOVER_MS 1000

struct writer {
    struct world *world;
    uint64_t done_us; /* 0: not yet */
    int status;
};

struct world {
    struct swarm swarm;
    struct writer writers[WRITERS];
};

static void run_checked_ms(struct world *w, uint64_t ms) {
    uint64_t until = sim_now_us(w->swarm.sim) + ms * SIM_MS;
    while (sim_step(w->swarm.sim, until)) {
        swarm_check(&w->swarm);
    }
    assert_string_equal(w->swarm.failure, "");
}

static struct groups_info info_of(struct world *w, uint32_t number, uint32_t group) {
    struct groups_info info;
    groups_info(node_groups(swarm_node(&w->swarm, number)->node), group, &info);
    return info;
}

static uint32_t led_by(struct world *w, uint32_t number) {
    uint32_t led = 0;
    for (uint32_t group = 0; group <= 1u << ARC_BITS; group++) {
        led += info_of(w, number, group).leading;
    }
    return led;
}

static uint32_t leads_most(struct world *w) {
    uint32_t most = 1;
    for (uint32_t number = 2; number <= NODES; number++) {
        most = led_by(w, number) > led_by(w, most) ? number : most;
    }
    return most;
}

/* Three nodes that hold every arc, at rest. */
static void world_init(struct world *w, uint64_t seed) {
    *w = (struct world){0};
    const struct swarm_options options = {
        .seed = seed, .nodes = NODES, .bits = ARC_BITS, .replicas = NODES, .capacity = CAPACITY};
    found(&w->swarm, &options);
    run_checked_ms(w, SETTLE_MS);
    expect_whole_within(&w->swarm, 0);
}

static uint64_t messages(struct world *w) {
    uint64_t sum = 0;
    for (uint32_t number = 1; number <= NODES; number++) {
        sum += groups_messages(node_groups(swarm_node(&w->swarm, number)->node));
    }
    return sum;
}

static void nodes_at_rest_exchange_no_raft_message(void **state) {
    static struct world w;
    (void)state;
    world_init(&w, 1);
    uint64_t before = messages(&w);
    run_checked_ms(&w, 60000);
    assert_int_equal(messages(&w) - before, 0);
    struct user_request q = {.kind = USER_PUT, .name = "x", .content = 1, .size = 100};
    assert_int_equal(ask(&w.swarm, 2, &q)->status, 0);
    run_checked_ms(&w, 1000);
    assert_true(messages(&w) > before);
    before = messages(&w);
    run_checked_ms(&w, 60000);
    assert_int_equal(messages(&w) - before, 0);
    end(&w.swarm);
}

/* ---- writers ------------------------------------------------------------------------------------------------------
 */

static void on_written(void *ctx, const struct user_result *result) {
    struct writer *writer = ctx;
    writer->done_us = sim_now_us(writer->world->swarm.sim);
    writer->status = result->status;
}

static void write_all(struct world *w, uint32_t through) {
    for (uint32_t i = 0; i < WRITERS; i++) {
        struct user_request q = {.kind = USER_PUT, .content = i, .size = 100, .timeout_us = CALL_US};
        (void)snprintf(q.name, sizeof(q.name), "file-%u", (unsigned)i);
        w->writers[i] = (struct writer){.world = w};
        user_call(sim_host(w->swarm.sim, through), &q, on_written, &w->writers[i]);
    }
}

/* The time from the fault to the last answer. */
static uint64_t all_written_ms(struct world *w, uint64_t since_us) {
    uint64_t last = since_us;
    for (uint32_t i = 0; i < WRITERS; i++) {
        while (w->writers[i].done_us == 0) {
            run_checked_ms(w, 1);
        }
        assert_int_equal(w->writers[i].status, 0);
        last = w->writers[i].done_us > last ? w->writers[i].done_us : last;
    }
    return (last - since_us) / SIM_MS;
}

/* ---- where leaders are ------------------------------------------------------------------------------------------- */

static void expect_preferred_leaders(struct world *w) {
    for (uint32_t group = 0; group <= 1u << ARC_BITS; group++) {
        const uint32_t *nodes = NULL;
        assert_int_equal(groups_placed(node_groups(swarm_node(&w->swarm, 1)->node), group, &nodes), NODES);
        assert_true(info_of(w, nodes[0], group).leading);
    }
}

static void leadership_goes_where_the_placement_wants_it(void **state) {
    static struct world w;
    (void)state;
    world_init(&w, 1);
    expect_preferred_leaders(&w);
    for (uint32_t number = 1; number <= NODES; number++) {
        assert_true(led_by(&w, number) >= 3); /* of 17 */
    }
    sim_host_crash(sim_host(w.swarm.sim, 2), SIM_CRASH_PROCESS);
    run_checked_ms(&w, 2000);
    assert_int_equal(led_by(&w, 1) + led_by(&w, 3), (1u << ARC_BITS) + 1);
    start(&w.swarm, 2);
    run_checked_ms(&w, 10000);
    expect_preferred_leaders(&w);
    end(&w.swarm);
}

/* Handing over is no pause that a user would notice. */
static void writes_go_on_while_leadership_moves(void **state) {
    static struct world w;
    (void)state;
    world_init(&w, 2);
    sim_host_crash(sim_host(w.swarm.sim, 2), SIM_CRASH_PROCESS);
    run_checked_ms(&w, 2000);
    start(&w.swarm, 2);
    uint32_t before = led_by(&w, 2);
    uint64_t worst = 0;
    for (int i = 0; i < 400; i++) {
        uint64_t since_us = sim_now_us(w.swarm.sim);
        write_all(&w, 1);
        uint64_t ms = all_written_ms(&w, since_us);
        worst = ms > worst ? ms : worst;
        run_checked_ms(&w, 20);
    }
    print_message("the slowest write took %u ms\n", (unsigned)worst);
    assert_int_equal(before, 0);
    assert_true(led_by(&w, 2) > 0);
    assert_true(worst < 200);
    end(&w.swarm);
}

/* ---- a leader is lost ------------------------------------------------------------------------------------------- */

enum fault { KILL, POWER, HANG, CUT, DEAF, MUTE, DISK, FAULTS };

static void inflict(struct world *w, enum fault fault, uint32_t victim) {
    struct sim *sim = w->swarm.sim;
    struct sim_host *host = sim_host(sim, victim);
    switch (fault) {
    case KILL:
        sim_host_crash(host, SIM_CRASH_PROCESS);
        break;
    case POWER:
        sim_host_crash(host, SIM_CRASH_POWER);
        break;
    case HANG:
        sim_host_pause(host, sim_now_us(sim) + 10 * (uint64_t)SIM_SECOND);
        break;
    case DISK:
        sim_disk_hang(host, sim_now_us(sim) + 20 * (uint64_t)SIM_SECOND);
        break;
    default:
        for (uint32_t other = 1; other <= NODES; other++) {
            if (other != victim) {
                sim_link_block(sim, other, victim, fault != MUTE);
                sim_link_block(sim, victim, other, fault != DEAF);
            }
        }
    }
}

/* Writes that were under way through another node, and those that follow. */
static uint64_t failover_ms(enum fault fault, uint64_t seed) {
    static struct world w;
    world_init(&w, seed);
    uint32_t victim = leads_most(&w);
    uint32_t through = 1 + victim % NODES;
    for (uint32_t k = 0; k < 2; k++) {
        write_all(&w, through);
        (void)all_written_ms(&w, sim_now_us(w.swarm.sim));
    }
    run_checked_ms(&w, seed * 77 % 600);
    write_all(&w, through);
    sim_run_until(w.swarm.sim, sim_now_us(w.swarm.sim) + seed % 4 * 200);
    uint64_t since_us = sim_now_us(w.swarm.sim);
    inflict(&w, fault, victim);
    uint64_t ms = all_written_ms(&w, since_us);
    write_all(&w, through);
    uint64_t more = all_written_ms(&w, since_us);
    end(&w.swarm);
    return more > ms ? more : ms;
}

static void expect_failover(enum fault fault, uint64_t limit_ms) {
    uint64_t worst = 0;
    uint64_t sum = 0;
    const char *text = getenv("SEEDS");
    uint64_t seeds = text ? strtoull(text, NULL, 10) : 6;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        uint64_t ms = failover_ms(fault, seed);
        sum += ms;
        if (ms > worst) {
            worst = ms;
        }
        if (ms >= limit_ms) {
            print_message("seed %u: %u ms\n", (unsigned)seed, (unsigned)ms);
        }
    }
    print_message("from the fault to the last of %d writes: mean %u ms, worst %u ms\n", WRITERS,
                  seeds ? (unsigned)(sum / seeds) : 0, (unsigned)worst);
    assert_true(worst < limit_ms);
}

static void a_killed_leader_is_replaced_within_a_second(void **state) {
    (void)state;
    expect_failover(KILL, FAILOVER_MS);
}

static void a_leader_without_power_is_replaced_within_a_second(void **state) {
    (void)state;
    expect_failover(POWER, FAILOVER_MS);
}

static void a_stopped_leader_is_replaced_within_a_second(void **state) {
    (void)state;
    expect_failover(HANG, FAILOVER_MS);
}

static void a_leader_that_is_cut_off_is_replaced_within_a_second(void **state) {
    (void)state;
    expect_failover(CUT, FAILOVER_MS);
}

static void a_leader_that_nobody_hears_is_replaced_within_a_second(void **state) {
    (void)state;
    expect_failover(MUTE, FAILOVER_MS);
}

static void a_leader_that_hears_nobody_is_replaced_within_a_second(void **state) {
    (void)state;
    expect_failover(DEAF, FAILOVER_MS);
}

/* Writes go on without the leader's disk; all the same, who leads should be able to write down what it is told. */
static void a_leader_whose_disk_hangs_is_replaced(void **state) {
    static struct world w;
    (void)state;
    world_init(&w, 1);
    uint32_t victim = leads_most(&w);
    inflict(&w, DISK, victim);
    for (int i = 0; i < 4; i++) {
        uint64_t since_us = sim_now_us(w.swarm.sim);
        write_all(&w, 1 + victim % NODES);
        assert_true(all_written_ms(&w, since_us) < FAILOVER_MS);
        run_checked_ms(&w, 1000);
    }
    assert_int_equal(led_by(&w, victim), 0);
    end(&w.swarm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_at_rest_exchange_no_raft_message),
        cmocka_unit_test(leadership_goes_where_the_placement_wants_it),
        cmocka_unit_test(writes_go_on_while_leadership_moves),
        cmocka_unit_test(a_killed_leader_is_replaced_within_a_second),
        cmocka_unit_test(a_leader_without_power_is_replaced_within_a_second),
        cmocka_unit_test(a_stopped_leader_is_replaced_within_a_second),
        cmocka_unit_test(a_leader_that_is_cut_off_is_replaced_within_a_second),
        cmocka_unit_test(a_leader_that_nobody_hears_is_replaced_within_a_second),
        cmocka_unit_test(a_leader_that_hears_nobody_is_replaced_within_a_second),
        cmocka_unit_test(a_leader_whose_disk_hangs_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
