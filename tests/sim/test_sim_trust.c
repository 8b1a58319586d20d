/* A follower trusts its leader while it hears the leader's node; and what ends that. */
#include "group_host.h"

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

/* Not as soon as of the log: a commit of the state may take its time. */
static void expect_state_disk_stuck(struct fixture *f, enum peer_op op) {
    struct group_request req = {.group = ARC, .bytes = (const uint8_t *)"?", .size = 1};
    struct buf b;
    buf_init(&b, BODY_MAX);
    group_request_encode(&req, &b);
    sim_disk_hang_one(sim_host(f->sim, 1), DISK_META, sim_now_us(f->sim) + 20 * (uint64_t)SIM_SECOND);
    run_ms(f, 2000);
    const struct answer *a = ask(f, op, &b);
    run_ms(f, 7000);
    assert_false(a->here);
    assert_false(groups_disk_stuck(f->hosts[1].groups));
    assert_true(peers_alive(f->hosts[LEADER].peers, 1));
    run_ms(f, 5000);
    assert_true(groups_disk_stuck(f->hosts[1].groups));
    assert_false(peers_alive(f->hosts[LEADER].peers, 1));
    run_ms(f, 8000);
    assert_false(groups_disk_stuck(f->hosts[1].groups));
    assert_true(peers_alive(f->hosts[LEADER].peers, 1));
    buf_release(&b);
}

static void a_state_disk_that_applies_nothing_has_stopped(void **state) {
    expect_state_disk_stuck(world(state, true), OP_PROPOSE);
}

static void a_state_disk_that_reads_nothing_has_stopped(void **state) {
    expect_state_disk_stuck(world(state, true), OP_QUERY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_leader_that_lists_the_group_is_trusted),
        TEST(a_leader_that_does_not_list_the_group_is_trusted_no_more),
        TEST(a_leader_whose_node_is_lost_is_trusted_no_more),
        TEST(a_disk_that_has_stopped_is_said_to_be),
        TEST(a_state_disk_that_applies_nothing_has_stopped),
        TEST(a_state_disk_that_reads_nothing_has_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
