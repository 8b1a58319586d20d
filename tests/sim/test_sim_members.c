/* The life of members after they joined: they drain, are removed, are out for a while and come back; under load, and
 * whoever leads what meanwhile. Nothing acknowledged is lost by it. */
#include "identity.h"
#include "swarm_use.h"
#include "witness.h"

#define NODES_MAX 6
#define ARC_BITS 4
#define WHOLE_US (180 * (uint64_t)SIM_SECOND)
#define LEAVE_US (120 * (uint64_t)SIM_SECOND)
#define GRACE_MS 20000 /* until a silent member is out */
#define PUTTERS 4
#define FILES_EACH 150
#define FILE_SIZE 70000 /* one chunk */

struct world {
    struct swarm swarm;
    uint64_t capacity; /* of each node; 0: CAPACITY */
    unsigned replicas; /* 0: 3 */
    bool odd;          /* rare paths are made common: see swarm.h */
    struct load load;
};

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static int change(struct world *w, uint32_t through, enum client_action action, uint32_t member, bool force) {
    struct user_request q = {.kind = USER_MEMBER, .action = action, .member = member, .force = force};
    const struct user_result *r = ask(&w->swarm, through, &q);
    if (r->status != 0) {
        print_message("%s\n", r->message);
    }
    assert_true(r->answered);
    return r->status;
}

/* ---- the swarm --------------------------------------------------------------------------------------------------- */

static void expect_whole(struct world *w) {
    expect_whole_within(&w->swarm, WHOLE_US);
}

/* Hosts 1 to `nodes`, as the members of the same numbers. */
static void begin(struct world *w, uint64_t seed, uint32_t nodes, uint64_t grace_ms) {
    const struct swarm_options options = {.seed = seed,
                                          .nodes = nodes,
                                          .bits = ARC_BITS,
                                          .replicas = w->replicas ? w->replicas : 3,
                                          .capacity = w->capacity ? w->capacity : CAPACITY,
                                          .out_after_ms = grace_ms,
                                          .odd = w->odd};
    found(&w->swarm, &options);
    expect_whole(w);
}

/* What host `number` knows of a member. */
static enum member_state state_at(struct world *w, uint32_t number, uint32_t member) {
    const struct member *row = members_find(node_members(swarm_node(&w->swarm, number)->node), member);
    assert_non_null(row);
    return row->state;
}

/* Every host that serves knows the member to be in this state within the time. */
static void expect_state(struct world *w, uint32_t member, enum member_state state, uint64_t within_us) {
    uint64_t until = sim_now_us(w->swarm.sim) + within_us;
    for (uint32_t number = 1; number <= w->swarm.count;) {
        struct swarm_node *n = swarm_node(&w->swarm, number);
        if (!n->ready || n->left || state_at(w, number, member) == state) {
            number++;
            continue;
        }
        if (sim_now_us(w->swarm.sim) > until) {
            fail_msg("seed %llu: node %u knows member %u to be %s, not %s", (unsigned long long)sim_seed(w->swarm.sim),
                     (unsigned)number, (unsigned)member, member_state_name(state_at(w, number, member)),
                     member_state_name(state));
        }
        run_ms(&w->swarm, 100);
    }
}

/* A leader's configuration names the member. */
static bool serves_anything(struct world *w, uint32_t member) {
    struct groups_info info;
    for (uint32_t group = 0; group <= 1u << ARC_BITS; group++) {
        for (uint32_t number = 1; number <= w->swarm.count; number++) {
            struct swarm_node *n = swarm_node(&w->swarm, number);
            if (!n->ready || number == member) {
                continue;
            }
            groups_info(node_groups(n->node), group, &info);
            if (info.here && info.leading && raft_config_find_node(&info.config, member)) {
                return true;
            }
        }
    }
    return false;
}

/* It is gone, and was not a moment before nobody needed it any more. */
static void expect_drained(struct world *w, uint32_t member) {
    uint64_t until = sim_now_us(w->swarm.sim) + LEAVE_US;
    bool gone = false;
    while (!gone && sim_now_us(w->swarm.sim) < until) {
        run_ms(&w->swarm, 5);
        for (uint32_t number = 1; number <= w->swarm.count; number++) {
            struct swarm_node *n = swarm_node(&w->swarm, number);
            gone = gone || (n->ready && !n->left && state_at(w, number, member) == MEMBER_GONE);
        }
    }
    assert_false(serves_anything(w, member));
    expect_state(w, member, MEMBER_GONE, 10 * (uint64_t)SIM_SECOND);
}

/* The node has said good-bye, and does so again whenever it is started. */
static void expect_left(struct world *w, uint32_t number) {
    struct swarm_node *n = swarm_node(&w->swarm, number);
    uint64_t until = sim_now_us(w->swarm.sim) + 10 * (uint64_t)SIM_SECOND;
    while (sim_host_up(n->host) && sim_now_us(w->swarm.sim) < until) {
        run_ms(&w->swarm, 100);
    }
    assert_true(n->left);
    assert_false(sim_host_up(n->host));
    n->left = false;
    sim_host_start(n->host);
    run_ms(&w->swarm, 10000);
    assert_true(n->left);
    assert_false(sim_host_up(n->host));
}

/* ---- load -------------------------------------------------------------------------------------------------------- */

/* Through the hosts from first on, so that those before it may go. */
static void load_from(struct world *w, uint32_t first) {
    w->load = (struct load){
        .swarm = &w->swarm, .putters = PUTTERS, .files_each = FILES_EACH, .size = FILE_SIZE, .mixed = true};
    load_start(&w->load, first, w->swarm.count);
}

/* ---- draining ---------------------------------------------------------------------------------------------------- */

static void a_member_drains_under_load(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct world w = {0};
        begin(&w, seed, 5, 0);
        load_from(&w, 2);
        run_ms(&w.swarm, 2000);
        assert_int_equal(change(&w, 2, CLIENT_DRAIN, 1, false), 0); /* the founder, by another's word */
        assert_int_equal(state_at(&w, 2, 1), MEMBER_DRAINING);
        assert_int_equal(change(&w, 1, CLIENT_DRAIN, 0, false), 0); /* again, by its own */
        expect_drained(&w, 1);
        expect_left(&w, 1);
        load_stop(&w.load);
        expect_whole(&w);
        expect_all_stored(&w.load, 3);
        end(&w.swarm);
    }
}

static void one_that_leads_everything_drains(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct world w = {0};
        begin(&w, seed, 4, 0); /* whoever made the swarm leads its groups as long as nobody has a reason to elect */
        struct groups_info info;
        uint32_t led = 0;
        for (uint32_t group = 0; group <= 1u << ARC_BITS; group++) {
            groups_info(node_groups(swarm_node(&w.swarm, 1)->node), group, &info);
            led += info.here && info.leading;
        }
        assert_true(led > 0);
        load_from(&w, 2);
        assert_int_equal(change(&w, 3, CLIENT_DRAIN, 1, false), 0);
        expect_drained(&w, 1);
        expect_left(&w, 1);
        load_stop(&w.load);
        expect_whole(&w);
        expect_all_stored(&w.load, 2);
        end(&w.swarm);
    }
}

/* One replica: the last copy of everything moves, and then its disk is gone. */
static void the_only_copies_outlive_a_drain(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct world w = {.replicas = 1};
        begin(&w, seed, 4, 0);
        load_from(&w, 2);
        run_ms(&w.swarm, 500);
        assert_int_equal(change(&w, 2, CLIENT_DRAIN, 1, false), 0);
        expect_drained(&w, 1);
        expect_left(&w, 1);
        sim_disk_wipe(sim_host(w.swarm.sim, 1));
        witness_wiped(w.swarm.witness, 1);
        load_stop(&w.load);
        expect_whole(&w);
        expect_all_stored(&w.load, 4);
        end(&w.swarm);
    }
}

static void two_drain_at_once_and_a_third_is_called_back(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct world w = {0};
        begin(&w, seed, 6, 0);
        load_from(&w, 4);
        assert_int_equal(change(&w, 4, CLIENT_DRAIN, 1, false), 0);
        assert_int_equal(change(&w, 5, CLIENT_DRAIN, 2, false), 0);
        assert_int_equal(change(&w, 6, CLIENT_DRAIN, 3, false), 0);
        assert_int_equal(change(&w, 4, CLIENT_DRAIN_STOP, 3, false), 0);
        expect_drained(&w, 1);
        expect_drained(&w, 2);
        expect_state(&w, 3, MEMBER_UP, 0);
        expect_left(&w, 1);
        expect_left(&w, 2);
        load_stop(&w.load);
        expect_whole(&w);
        expect_all_stored(&w.load, 3);
        end(&w.swarm);
    }
}

/* It cannot hand over anything itself: the others have everything. */
static void one_that_died_while_draining_is_gone_all_the_same(void **state) {
    (void)state;
    struct world w = {0};
    begin(&w, 1, 5, 0);
    load_from(&w, 1);
    run_ms(&w.swarm, 1000);
    load_stop(&w.load);
    assert_int_equal(change(&w, 1, CLIENT_DRAIN, 5, false), 0);
    run_ms(&w.swarm, 20);
    sim_host_crash(sim_host(w.swarm.sim, 5), SIM_CRASH_POWER);
    expect_drained(&w, 5);
    swarm_node(&w.swarm, 5)->left = true;
    expect_left(&w, 5);
    expect_whole(&w);
    expect_all_stored(&w.load, 1);
    end(&w.swarm);
}

static void the_last_one_up_is_not_sent_away(void **state) {
    (void)state;
    struct world w = {0};
    begin(&w, 1, 2, 0);
    assert_int_equal(change(&w, 2, CLIENT_DRAIN, 1, false), 0);
    assert_int_equal(change(&w, 2, CLIENT_DRAIN, 2, false), ERR_REFUSED);
    assert_int_equal(change(&w, 2, CLIENT_DISMISS, 2, true), ERR_REFUSED);
    expect_drained(&w, 1);
    expect_left(&w, 1);
    assert_int_equal(change(&w, 2, CLIENT_DRAIN, 0, false), ERR_REFUSED);
    assert_int_equal(change(&w, 2, CLIENT_DRAIN, 1, false), 0); /* it is so already */
    assert_int_equal(change(&w, 2, CLIENT_DRAIN_STOP, 1, false), ERR_REFUSED);
    assert_int_equal(change(&w, 2, CLIENT_DRAIN, 3, false), ERR_NOT_FOUND);
    expect_whole(&w);
    end(&w.swarm);
}

static void no_drain_without_room_elsewhere(void **state) {
    (void)state;
    struct world w = {.capacity = 100u << 20, .replicas = 1};
    begin(&w, 1, 2, 0);
    for (uint64_t i = 1; i <= 95; i++) {
        struct user_request q = {.kind = USER_PUT, .content = i, .size = 1 << 20};
        name_file(&q, i);
        assert_int_equal(ask(&w.swarm, 1, &q)->status, 0);
    }
    expect_whole(&w);
    run_ms(&w.swarm, 2000); /* until everybody has told how much it uses */
    assert_int_equal(change(&w, 1, CLIENT_DRAIN, 2, false), ERR_NO_SPACE);
    assert_int_equal(state_at(&w, 1, 2), MEMBER_UP);
    end(&w.swarm);
}

/* ---- removing ---------------------------------------------------------------------------------------------------- */

static void a_dead_member_is_removed(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct world w = {0};
        begin(&w, seed, 5, 0);
        load_from(&w, 2);
        run_ms(&w.swarm, 1000);
        assert_int_equal(change(&w, 2, CLIENT_DISMISS, 1, false), ERR_REFUSED); /* it lives */
        sim_host_crash(sim_host(w.swarm.sim, 1), SIM_CRASH_PROCESS);
        run_ms(&w.swarm, 15000); /* its groups have other leaders */
        assert_int_equal(change(&w, 2, CLIENT_DISMISS, 1, false), 0);
        swarm_node(&w.swarm, 1)->left = true;
        load_stop(&w.load);
        expect_state(&w, 1, MEMBER_GONE, SIM_SECOND);
        expect_whole(&w);
        expect_all_stored(&w.load, 5);
        expect_left(&w, 1);
        end(&w.swarm);
    }
}

/* With two of three gone, somebody must say that they are lost, and even then it takes a majority to hear it. */
static void who_is_needed_is_removed_only_by_force(void **state) {
    (void)state;
    struct world w = {0};
    begin(&w, 1, 4, 0);
    load_from(&w, 1);
    run_ms(&w.swarm, 1000);
    load_stop(&w.load);
    sim_host_crash(sim_host(w.swarm.sim, 4), SIM_CRASH_PROCESS);
    run_ms(&w.swarm, 10000);
    assert_int_equal(change(&w, 1, CLIENT_DISMISS, 3, true), 0); /* it lives, and was needed beside 4 */
    expect_left(&w, 3);
    assert_int_equal(change(&w, 1, CLIENT_DISMISS, 4, false), ERR_REFUSED);
    start(&w.swarm, 4);
    expect_whole(&w);
    expect_all_stored(&w.load, 1);
    end(&w.swarm);
}

/* Two hosts that are no majority of the root group between them. */
static void choose_minority(struct world *w, bool *far, uint32_t *ret_victim, uint32_t *ret_other) {
    struct groups_info info = {0};
    uint32_t chosen = 0, in_root = 0;
    for (uint32_t number = 1; number <= w->swarm.count && !info.leading; number++) {
        groups_info(node_groups(swarm_node(&w->swarm, number)->node), GROUPS_ROOT, &info);
    }
    assert_true(info.leading);
    for (uint32_t number = 1; number <= w->swarm.count && chosen < 2; number++) {
        bool holds = raft_config_find_node(&info.config, number) != NULL;
        if (!holds || in_root == 0) {
            in_root += holds;
            far[number] = true;
            *(chosen++ == 0 ? ret_victim : ret_other) = number;
        }
    }
    assert_int_equal(chosen, 2);
}

static void one_is_removed_while_it_is_cut_off(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct world w = {0};
        bool far[NODES_MAX + 1] = {false};
        uint32_t victim = 0, other = 0, near = 1;
        begin(&w, seed, 5, 0);
        load_from(&w, 1);
        run_ms(&w.swarm, 1000);
        w.load.stopping = true;
        choose_minority(&w, far, &victim, &other);
        while (far[near]) {
            near++;
        }
        sim_partition(w.swarm.sim, far);
        run_ms(&w.swarm, 15000);
        assert_int_equal(change(&w, victim, CLIENT_DISMISS, near, true),
                         ERR_UNAVAILABLE); /* a minority decides nothing */
        assert_int_equal(change(&w, near, CLIENT_DISMISS, victim, true), 0);
        run_ms(&w.swarm, 5000);
        assert_int_equal(state_at(&w, victim, victim), MEMBER_UP); /* how should it know? */
        assert_int_equal(state_at(&w, other, victim), MEMBER_UP);
        sim_heal(w.swarm.sim);
        expect_state(&w, victim, MEMBER_GONE, 60 * (uint64_t)SIM_SECOND);
        expect_left(&w, victim);
        load_stop(&w.load);
        expect_whole(&w);
        expect_all_stored(&w.load, other);
        end(&w.swarm);
    }
}

/* ---- out, and back ----------------------------------------------------------------------------------------------- */

static void expect_replaced(struct world *w, uint32_t member) {
    uint64_t until = sim_now_us(w->swarm.sim) + LEAVE_US;
    while (serves_anything(w, member) && sim_now_us(w->swarm.sim) < until) {
        run_ms(&w->swarm, 500);
    }
    assert_false(serves_anything(w, member));
}

static void a_silent_member_is_out_and_comes_back(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct world w = {0};
        begin(&w, seed, 5, GRACE_MS);
        load_from(&w, 2);
        sim_host_crash(sim_host(w.swarm.sim, 1), SIM_CRASH_POWER);
        run_ms(&w.swarm, GRACE_MS - 2000);
        assert_int_equal(state_at(&w, 2, 1), MEMBER_UP); /* not before its time */
        expect_state(&w, 1, MEMBER_OUT, 30 * (uint64_t)SIM_SECOND);
        expect_replaced(&w, 1);
        start(&w.swarm, 1);
        expect_state(&w, 1, MEMBER_UP, 30 * (uint64_t)SIM_SECOND);
        load_stop(&w.load);
        expect_whole(&w);
        expect_all_stored(&w.load, 1);
        end(&w.swarm);
    }
}

/* The first that is out leaves groups behind that wait for the second, so that the second must be out, too. */
static void of_five_two_are_out_one_after_the_other(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct world w = {0};
        begin(&w, seed, 5, GRACE_MS);
        load_from(&w, 3);
        run_ms(&w.swarm, 2000);
        w.load.stopping = true;
        sim_host_crash(sim_host(w.swarm.sim, 1), SIM_CRASH_POWER);
        sim_host_crash(sim_host(w.swarm.sim, 2), SIM_CRASH_PROCESS);
        uint64_t until = sim_now_us(w.swarm.sim) + 180 * (uint64_t)SIM_SECOND, first_us = 0;
        uint32_t out = 0;
        while (out < 2 && sim_now_us(w.swarm.sim) < until) {
            run_ms(&w.swarm, 100);
            out = (state_at(&w, 3, 1) == MEMBER_OUT) + (state_at(&w, 3, 2) == MEMBER_OUT);
            first_us = out == 1 && first_us == 0 ? sim_now_us(w.swarm.sim) : first_us;
        }
        assert_int_equal(out, 2);
        assert_true(first_us > 0 && sim_now_us(w.swarm.sim) > first_us + GRACE_MS / 4 * SIM_MS - SIM_SECOND);
        start(&w.swarm, 2);
        start(&w.swarm, 1);
        expect_state(&w, 1, MEMBER_UP, 60 * (uint64_t)SIM_SECOND);
        expect_state(&w, 2, MEMBER_UP, 60 * (uint64_t)SIM_SECOND);
        load_stop(&w.load);
        expect_whole(&w);
        expect_all_stored(&w.load, 2);
        end(&w.swarm);
    }
}

static void a_majority_is_never_out(void **state) {
    (void)state;
    struct world w = {0};
    begin(&w, 1, 3, GRACE_MS);
    sim_host_crash(sim_host(w.swarm.sim, 3), SIM_CRASH_PROCESS);
    expect_state(&w, 3, MEMBER_OUT, 60 * (uint64_t)SIM_SECOND);
    run_ms(&w.swarm, 20000); /* two are left to serve it all */
    sim_host_crash(sim_host(w.swarm.sim, 2), SIM_CRASH_PROCESS);
    run_ms(&w.swarm, 5 * GRACE_MS);
    assert_int_equal(state_at(&w, 1, 2), MEMBER_UP);
    start(&w.swarm, 2);
    start(&w.swarm, 3);
    expect_state(&w, 3, MEMBER_UP, 60 * (uint64_t)SIM_SECOND);
    expect_whole(&w);
    end(&w.swarm);
}

/* The leader of the root group hears nothing of it; the others do. */
static void one_whom_others_hear_is_not_out(void **state) {
    (void)state;
    struct world w = {0};
    uint32_t leader = 0;
    struct groups_info info;
    begin(&w, 1, 4, GRACE_MS);
    for (uint32_t number = 1; number <= 4; number++) {
        groups_info(node_groups(swarm_node(&w.swarm, number)->node), GROUPS_ROOT, &info);
        leader = info.here && info.leading ? number : leader;
    }
    assert_true(leader != 0);
    uint32_t unheard = leader == 4 ? 3 : 4;
    sim_link_block(w.swarm.sim, unheard, leader, true);
    sim_link_block(w.swarm.sim, leader, unheard, true);
    run_ms(&w.swarm, 4 * GRACE_MS);
    groups_info(node_groups(swarm_node(&w.swarm, leader)->node), GROUPS_ROOT, &info);
    assert_true(info.leading);
    assert_int_equal(state_at(&w, leader, unheard), MEMBER_UP);
    assert_true(members_find(node_members(swarm_node(&w.swarm, leader)->node), unheard)->changed < 8);
    sim_heal(w.swarm.sim);
    expect_whole(&w);
    end(&w.swarm);
}

/* A process that was stopped has heard nobody, and must not conclude anything from that. */
static void one_that_slept_judges_nobody(void **state) {
    (void)state;
    struct world w = {0};
    begin(&w, 1, 3, GRACE_MS);
    for (uint32_t number = 1; number <= 3; number++) {
        sim_host_pause(sim_host(w.swarm.sim, number), sim_now_us(w.swarm.sim) + 3 * GRACE_MS * SIM_MS);
    }
    run_ms(&w.swarm, 4 * GRACE_MS);
    for (uint32_t number = 1; number <= 3; number++) {
        assert_int_equal(state_at(&w, 1, number), MEMBER_UP);
        assert_true(members_find(node_members(swarm_node(&w.swarm, 1)->node), number)->changed < 6);
    }
    expect_whole(&w);
    end(&w.swarm);
}

/* Blocks or frees the paths between the host and all that are near. */
static void block_from_near(struct world *w, const bool *far, uint32_t number, bool blocked) {
    for (uint32_t near = 1; near <= w->swarm.count; near++) {
        if (!far[near]) {
            sim_link_block(w->swarm.sim, number, near, blocked);
            sim_link_block(w->swarm.sim, near, number, blocked);
        }
    }
}

/* Whoever is told that it is gone hears its own row and no other: nobody takes the table of that epoch from it. */
static void one_that_is_told_to_go_spreads_no_table(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct world w = {0};
        bool far[NODES_MAX + 1] = {false};
        uint32_t victim = 0, other = 0, near = 1, dead = NODES_MAX;
        begin(&w, seed, NODES_MAX, GRACE_MS);
        sim_host_crash(sim_host(w.swarm.sim, dead), SIM_CRASH_POWER);
        expect_state(&w, dead, MEMBER_OUT, 60 * (uint64_t)SIM_SECOND);
        expect_replaced(&w, dead);
        choose_minority(&w, far, &victim, &other);
        while (far[near]) {
            near++;
        }
        block_from_near(&w, far, victim, true);
        block_from_near(&w, far, other, true);
        run_ms(&w.swarm, 5000);
        assert_int_equal(change(&w, near, CLIENT_DISMISS, dead, true), 0);
        assert_int_equal(change(&w, near, CLIENT_DISMISS, victim, true), 0);
        swarm_node(&w.swarm, dead)->left = true;
        assert_int_equal(state_at(&w, victim, dead), MEMBER_OUT);
        assert_int_equal(state_at(&w, other, dead), MEMBER_OUT);
        block_from_near(&w, far, victim, false);
        expect_left(&w, victim);
        sim_heal(w.swarm.sim);
        expect_state(&w, victim, MEMBER_GONE, 10 * (uint64_t)SIM_SECOND);
        expect_state(&w, dead, MEMBER_GONE, 10 * (uint64_t)SIM_SECOND);
        expect_whole(&w);
        end(&w.swarm);
    }
}

/* ---- a lost disk ------------------------------------------------------------------------------------------------- */

static void a_machine_without_its_disk_is_another_member(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct world w = {0};
        uint8_t fresh[IDENTITY_SEED_SIZE] = {77};
        begin(&w, seed, 4, GRACE_MS);
        load_from(&w, 1);
        run_ms(&w.swarm, 2000);
        load_stop(&w.load);
        expect_whole(&w);
        struct swarm_node *n = swarm_node(&w.swarm, 4);
        sim_host_crash(n->host, SIM_CRASH_POWER);
        sim_disk_wipe(n->host);
        witness_wiped(w.swarm.witness, 4);
        run_ms(&w.swarm, 5000);
        identity_release(&n->identity);
        assert_int_equal(identity_from_seed(fresh, &n->identity), 0);
        struct user_request q = {.kind = USER_INVITE, .uses = 1};
        const struct user_result *r = ask(&w.swarm, 1, &q);
        assert_int_equal(r->status, 0);
        ticket_release(&n->ticket);
        assert_int_equal(ticket_decode(r->ticket, strlen(r->ticket), &n->ticket), 0);
        start(&w.swarm, 4);
        assert_int_equal(node_self(n->node), 5);
        assert_int_equal(change(&w, 2, CLIENT_DISMISS, 4, false), 0);
        expect_state(&w, 4, MEMBER_GONE, SIM_SECOND);
        expect_whole(&w);
        expect_all_stored(&w.load, 4);
        end(&w.swarm);
    }
}

/* ---- all of it, for a while -------------------------------------------------------------------------------------- */

#define STORM_STEPS 40
#define STORM_STEP_MS 8000 /* at most, between two events */

struct storm {
    struct world *w;
    struct prng prng;
    uint32_t down;       /* a host that is, or 0 */
    uint32_t drained;    /* a host whose member was last asked to drain, or 0 */
    uint32_t identities; /* made so far */
    uint32_t left, came;
};

static uint32_t any_host(struct storm *s) {
    return 1 + (uint32_t)prng_below(&s->prng, s->w->swarm.count);
}

static bool serving(struct storm *s, uint32_t number) {
    const struct swarm_node *n = swarm_node(&s->w->swarm, number);
    return n->ready && !n->left && number != s->down;
}

/* Whatever comes of it: an answer may be lost with its node. */
static int storm_change(struct storm *s, enum client_action action, uint32_t member) {
    struct user_request q = {.kind = USER_MEMBER, .action = action, .member = member};
    uint32_t through = any_host(s);
    return serving(s, through) ? ask(&s->w->swarm, through, &q)->status : ERR_UNREACHABLE;
}

static void storm_wake(struct storm *s) {
    if (s->down) {
        sim_host_start(sim_host(s->w->swarm.sim, s->down));
        s->down = 0;
    }
}

static void storm_crash(struct storm *s) {
    uint32_t number = any_host(s);
    if (s->down == 0 && serving(s, number)) {
        enum sim_crash how = prng_below(&s->prng, 2) ? SIM_CRASH_POWER : SIM_CRASH_PROCESS;
        sim_host_crash(sim_host(s->w->swarm.sim, number), how);
        s->down = number;
    } else {
        storm_wake(s);
    }
}

static void storm_cut(struct storm *s) {
    bool far[NODES_MAX + 1] = {false};
    far[any_host(s)] = true;
    if (s->down == 0) {
        sim_partition(s->w->swarm.sim, far);
        run_ms(&s->w->swarm, prng_below(&s->prng, GRACE_MS * 2));
        sim_heal(s->w->swarm.sim);
    }
}

static void storm_drain(struct storm *s) {
    uint32_t number = any_host(s);
    if (serving(s, number)) {
        if (storm_change(s, CLIENT_DRAIN, swarm_node(&s->w->swarm, number)->number) == 0) {
            s->drained = number;
        }
    }
}

static void storm_cancel(struct storm *s) {
    if (s->drained) {
        (void)storm_change(s, CLIENT_DRAIN_STOP, swarm_node(&s->w->swarm, s->drained)->number);
    }
}

/* Only one that is down, and without force: it may hold what others need. */
static void storm_dismiss(struct storm *s) {
    if (s->down && storm_change(s, CLIENT_DISMISS, swarm_node(&s->w->swarm, s->down)->number) == 0) {
        swarm_node(&s->w->swarm, s->down)->left = true;
        s->down = 0;
    }
}

/* A host that left comes back as another member. */
static void storm_rejoin(struct storm *s, uint32_t number) {
    struct swarm_node *n = swarm_node(&s->w->swarm, number);
    struct user_request q = {.kind = USER_INVITE, .uses = 1};
    uint32_t through = any_host(s);
    uint8_t fresh[IDENTITY_SEED_SIZE] = {0};
    if (!serving(s, through) || sim_host_up(n->host)) {
        return;
    }
    const struct user_result *r = ask(&s->w->swarm, through, &q);
    if (r->status != 0) {
        return;
    }
    sim_disk_wipe(n->host);
    witness_wiped(s->w->swarm.witness, number);
    put_u32(fresh, ++s->identities);
    identity_release(&n->identity);
    assert_int_equal(identity_from_seed(fresh, &n->identity), 0);
    ticket_release(&n->ticket);
    assert_int_equal(ticket_decode(r->ticket, strlen(r->ticket), &n->ticket), 0);
    n->left = false;
    n->number = 0;
    start(&s->w->swarm, number);
    s->came++;
}

static void storm_step(struct storm *s) {
    static void (*const events[])(struct storm * s) = {storm_crash, storm_crash,   storm_cut,    storm_drain,
                                                       storm_drain, storm_dismiss, storm_cancel, storm_wake};
    events[prng_below(&s->prng, sizeof(events) / sizeof(events[0]))](s);
    run_ms(&s->w->swarm, prng_below(&s->prng, STORM_STEP_MS));
    for (uint32_t number = 1; number <= s->w->swarm.count; number++) {
        struct swarm_node *n = swarm_node(&s->w->swarm, number);
        if (n->left && number != s->down) {
            s->left++;
            storm_rejoin(s, number);
        }
    }
    assert_string_equal(s->w->swarm.failure, "");
}

/* Nobody is left draining, so that the end is one that can be told. */
static void storm_end(struct storm *s) {
    storm_wake(s);
    sim_heal(s->w->swarm.sim);
    run_ms(&s->w->swarm, GRACE_MS);
    load_stop(&s->w->load);
    for (uint32_t number = 1; number <= s->w->swarm.count; number++) {
        struct swarm_node *n = swarm_node(&s->w->swarm, number);
        uint64_t until = sim_now_us(s->w->swarm.sim) + LEAVE_US;
        while (!n->left && (!n->ready || state_at(s->w, number, node_self(n->node)) != MEMBER_UP) &&
               sim_now_us(s->w->swarm.sim) < until) {
            run_ms(&s->w->swarm, 500);
        }
    }
}

static void members_come_and_go_and_files_stay(void **state) {
    (void)state;
    const char *first = getenv("SHOAL_SEED"); /* more of them, by hand */
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
    for (uint64_t last = first ? seed : seed + 2; seed <= last; seed++) {
        struct world w = {.odd = seed % 2 == 0, .replicas = seed % 3 == 0 ? 1 : 3};
        struct storm s = {.w = &w};
        prng_init(&s.prng, seed, PRNG_SCENARIO, 7);
        begin(&w, seed, NODES_MAX, GRACE_MS);
        load_from(&w, 1);
        for (uint32_t step = 0; step < STORM_STEPS; step++) {
            storm_step(&s);
        }
        storm_end(&s);
        expect_whole(&w);
        for (uint32_t number = 1; number <= NODES_MAX; number++) {
            if (!swarm_node(&w.swarm, number)->left) {
                expect_all_stored(&w.load, number);
                break;
            }
        }
        assert_true(s.left > 0);
        end(&w.swarm);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_drains_under_load),
        cmocka_unit_test(one_that_leads_everything_drains),
        cmocka_unit_test(the_only_copies_outlive_a_drain),
        cmocka_unit_test(two_drain_at_once_and_a_third_is_called_back),
        cmocka_unit_test(one_that_died_while_draining_is_gone_all_the_same),
        cmocka_unit_test(the_last_one_up_is_not_sent_away),
        cmocka_unit_test(no_drain_without_room_elsewhere),
        cmocka_unit_test(a_dead_member_is_removed),
        cmocka_unit_test(who_is_needed_is_removed_only_by_force),
        cmocka_unit_test(one_is_removed_while_it_is_cut_off),
        cmocka_unit_test(a_silent_member_is_out_and_comes_back),
        cmocka_unit_test(of_five_two_are_out_one_after_the_other),
        cmocka_unit_test(a_majority_is_never_out),
        cmocka_unit_test(one_whom_others_hear_is_not_out),
        cmocka_unit_test(one_that_slept_judges_nobody),
        cmocka_unit_test(one_that_is_told_to_go_spreads_no_table),
        cmocka_unit_test(a_machine_without_its_disk_is_another_member),
        cmocka_unit_test(members_come_and_go_and_files_stay),
    };
    if (getenv("SHOAL_SEED")) {
        cmocka_set_test_filter("members_come_and_go*");
    }
    return crypto_init() != 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
