/* ReadIndex: §6.4 of Ongaro's thesis, §8 of the Raft paper. */
#include "raft_cluster.h"

static void read_waits_for_a_quorum_of_heartbeats(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    assert_int_equal(cluster_read(c, 1, 7), 0);
    expect(c, "n1>n2 beat t1 commit 1 round 1\n"
              "n1>n3 beat t1 commit 1 round 1\n");
    cluster_deliver(c, 1, 3);
    expect(c, "n3>n1 beat-ok t1 at 1 round 1\n");
    cluster_deliver(c, 3, 1);
    expect(c, "n1 read 7 at 1\n");
    cluster_free(c);
}

static void lone_voter_answers_at_once(void **state) {
    (void)state;
    struct cluster *c = cluster_of(1);
    cluster_elect(c, 1);
    assert_int_equal(cluster_read(c, 1, 7), 0);
    expect(c, "n1 read 7 at 1\n");
    cluster_free(c);
}

/* A new leader may not know what its predecessor committed until its own no-op is (§8). */
static void read_before_the_no_op_waits_for_it(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_persist(c, 1);
    cluster_deliver(c, 1, 2);
    cluster_persist(c, 2);
    cluster_deliver(c, 2, 1);
    assert_int_equal(cluster_status(c, 1).commit, 2);
    cluster_drop(c, 0, 0); /* 2 holds the entry and does not know that it is committed */
    assert_int_equal(cluster_status(c, 2).commit, 1);
    cluster_crash(c, 1);
    c->now_ms += CLUSTER_TIMING.election_max_ms;
    cluster_campaign(c, 2);
    cluster_until(c, cluster_role(c, 2) == RAFT_LEADER);
    cluster_forget_trace(c);
    assert_int_equal(cluster_read(c, 2, 9), 0);
    assert_int_equal(cluster_read(c, 2, 10), 0);
    expect(c, "");
    cluster_settle(c);
    assert_int_equal(cluster_at(c, 2)->read_count, 2);
    assert_int_equal(cluster_at(c, 2)->reads[0].status, 0);
    assert_true(cluster_at(c, 2)->reads[0].index >= 2);
    cluster_free(c);
}

static void reads_share_a_round_and_late_ones_wait_for_the_next(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    for (uint64_t handle = 1; handle <= 3; handle++) {
        assert_int_equal(cluster_read(c, 1, handle), 0);
    }
    expect(c, "n1>n2 beat t1 commit 1 round 1\n"
              "n1>n3 beat t1 commit 1 round 1\n");
    cluster_deliver(c, 1, 2);
    cluster_forget_trace(c);
    cluster_deliver(c, 2, 1); /* reads 2 and 3 arrived after the round had left: they are not covered by it */
    expect(c, "n1>n2 beat t1 commit 1 round 2\n"
              "n1>n3 beat t1 commit 1 round 2\n"
              "n1 read 1 at 1\n");
    cluster_deliver(c, 1, 2);
    cluster_forget_trace(c);
    cluster_deliver(c, 2, 1);
    expect(c, "n1 read 2 at 1\n"
              "n1 read 3 at 1\n");
    cluster_free(c);
}

static void answers_to_an_earlier_round_prove_nothing(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    cluster_wake(c, 1);
    cluster_deliver(c, 1, 0); /* both have answered round 1, and the answers are under way */
    assert_int_equal(cluster_read(c, 1, 7), 0);
    cluster_drop(c, 1, 0);
    cluster_deliver(c, 0, 1);
    assert_int_equal(cluster_at(c, 1)->read_count, 0);
    cluster_wake(c, 1); /* the next heartbeat proves it */
    cluster_settle(c);
    assert_int_equal(cluster_at(c, 1)->read_count, 1);
    cluster_free(c);
}

static void deposed_leader_fails_its_reads(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    assert_int_equal(cluster_read(c, 1, 7), 0);
    assert_int_equal(cluster_read(c, 1, 8), 0);
    cluster_drop(c, 0, 0);
    cluster_forget_trace(c);
    struct raft_message m = {.kind = RAFT_HEARTBEAT_REPLY, .from = 2, .to = 1, .term = 5};
    assert_int_equal(cluster_receive(c, 1, &m), 0);
    expect(c, "n1 follower t5\n"
              "n1 persist #3 hard t5 v0\n"
              "n1 read 7 NOT_LEADER\n"
              "n1 read 8 NOT_LEADER\n");
    assert_int_equal(cluster_read(c, 1, 9), ERR_NOT_LEADER);
    cluster_free(c);
}

/* A leader cut off from its group, which has moved on, cannot serve an old value. */
static void partitioned_leader_serves_no_stale_read(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    c->now_ms += CLUSTER_TIMING.election_max_ms - 1;
    cluster_campaign(c, 2);
    for (int i = 0; i < 20; i++) {
        cluster_persist_all(c);
        cluster_drop(c, 0, 1);
        cluster_drop(c, 1, 0);
        cluster_deliver(c, 0, 0);
    }
    assert_int_equal(cluster_role(c, 2), RAFT_LEADER);
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    assert_int_equal(cluster_propose(c, 2, "new"), 0);
    assert_int_equal(cluster_read(c, 1, 7), 0);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 1), RAFT_FOLLOWER);
    assert_int_equal(cluster_at(c, 1)->reads[0].status, ERR_NOT_LEADER);
    cluster_free(c);
}

static void joint_read_needs_both_halves(void **state) { /* §6 */
    (void)state;
    struct cluster *c = cluster_of(1);
    struct raft_config nobody = {.next_id = 1};
    cluster_create(c, 2, &nobody);
    cluster_boot(c, 2);
    cluster_elect(c, 1);
    struct raft_config joint = {.next_id = 1};
    cluster_row(&joint, 1, RAFT_VOTER | RAFT_VOTER_OLD);
    cluster_row(&joint, 2, RAFT_VOTER);
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    cluster_drop(c, 0, 0);
    cluster_forget_trace(c);
    assert_int_equal(cluster_read(c, 1, 7), 0);
    expect(c, "n1>n2 beat t1 commit 0 round 1\n");
    cluster_deliver(c, 1, 2);
    cluster_forget_trace(c);
    cluster_deliver(c, 2, 1);
    expect(c, "n1 read 7 at 1\n");
    cluster_free(c);
}

static void learners_confirm_nothing(void **state) {
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(2);
    cluster_row(&config, 3, RAFT_LEARNER);
    for (uint64_t id = 1; id <= 3; id++) {
        cluster_create(c, id, &config);
        cluster_boot(c, id);
    }
    cluster_elect(c, 1);
    assert_int_equal(cluster_read(c, 1, 7), 0);
    expect(c, "n1>n2 beat t1 commit 1 round 1\n");
    cluster_wake(c, 1);
    cluster_deliver(c, 1, 3);
    cluster_deliver(c, 3, 1);
    assert_int_equal(cluster_at(c, 1)->read_count, 0);
    cluster_free(c);
}

static void reads_are_bounded(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    c->tracing = false;
    cluster_elect(c, 1);
    for (uint64_t handle = 0; handle < RAFT_READS_MAX; handle++) {
        assert_int_equal(cluster_read(c, 1, handle), 0);
    }
    assert_int_equal(cluster_read(c, 1, RAFT_READS_MAX), ERR_BUSY);
    cluster_settle(c);
    assert_int_equal(cluster_at(c, 1)->read_count, RAFT_READS_MAX);
    for (uint64_t i = 0; i < RAFT_READS_MAX; i++) {
        assert_int_equal(cluster_at(c, 1)->reads[i].handle, i);
    }
    cluster_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_waits_for_a_quorum_of_heartbeats),
        cmocka_unit_test(lone_voter_answers_at_once),
        cmocka_unit_test(read_before_the_no_op_waits_for_it),
        cmocka_unit_test(reads_share_a_round_and_late_ones_wait_for_the_next),
        cmocka_unit_test(answers_to_an_earlier_round_prove_nothing),
        cmocka_unit_test(deposed_leader_fails_its_reads),
        cmocka_unit_test(partitioned_leader_serves_no_stale_read),
        cmocka_unit_test(joint_read_needs_both_halves),
        cmocka_unit_test(learners_confirm_nothing),
        cmocka_unit_test(reads_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
