/* Groups that have nothing to do run no timer: they go by what is heard of nodes. And what wakes them. */
#include "raft_cluster.h"

#define STEP_MS (CLUSTER_TIMING.election_min_ms / 8 + 1)

static uint64_t wake_of(struct cluster *c, uint64_t id) {
    return raft_wake_ms(cluster_at(c, id)->raft);
}

static bool all_sleep(struct cluster *c, uint64_t count) {
    for (uint64_t id = 1; id <= count; id++) {
        if (wake_of(c, id) != UINT64_MAX) {
            return false;
        }
    }
    return true;
}

/* `count` voters that know of nodes, led by 1, an hour later: whoever may be wary of votes is not any more. */
static struct cluster *quiet_cluster(uint64_t count) {
    struct cluster *c = cluster_new();
    c->knows_nodes = true;
    cluster_found(c, count);
    cluster_elect(c, 1);
    assert_true(all_sleep(c, count));
    c->now_ms += 3600 * 1000;
    return c;
}

static void group_that_agrees_says_nothing(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    for (uint64_t id = 1; id <= 3; id++) {
        assert_int_equal(cluster_tick(c, id), 0);
    }
    expect(c, "");
    assert_true(all_sleep(c, 3));
    assert_true(cluster_status(c, 2).trusts);
    assert_true(cluster_status(c, 1).progress[0].active);
    cluster_free(c);
}

/* One entry costs no heartbeat round: the commit index travels, is confirmed, and everybody sleeps again. */
static void an_entry_wakes_everybody_for_its_own_time_only(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    assert_int_equal(wake_of(c, 1), c->now_ms + CLUSTER_TIMING.heartbeat_ms);
    cluster_persist(c, 1);
    cluster_deliver(c, 1, 2);
    assert_true(wake_of(c, 2) != UINT64_MAX); /* it holds an entry that may never be committed */
    cluster_settle(c);
    assert_true(all_sleep(c, 3));
    assert_int_equal(cluster_status(c, 3).commit, 2);
    cluster_free(c);
}

static void a_follower_that_does_not_answer_keeps_the_leader_awake(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    for (int i = 0; i < 5; i++) {
        cluster_drop(c, 1, 3);
        cluster_persist_all(c);
        cluster_deliver(c, 0, 0);
    }
    cluster_drop(c, 0, 0);
    cluster_forget_trace(c);
    cluster_wake(c, 1);
    expect(c, "n1>n3 beat t1 commit 1 round 1\n"); /* 2 has all it needs */
    cluster_settle(c);
    assert_true(all_sleep(c, 3));
    cluster_free(c);
}

static void commit_index_that_was_lost_is_told_again(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    for (int i = 0; i < 6; i++) {
        cluster_persist_all(c);
        cluster_deliver(c, 2, 1);
        cluster_deliver(c, 3, 1);
        if (cluster_status(c, 1).commit == 2) {
            cluster_drop(c, 1, 0);
        }
        cluster_deliver(c, 1, 0);
    }
    assert_int_equal(cluster_status(c, 1).commit, 2);
    assert_int_equal(cluster_status(c, 2).commit, 1);
    assert_true(wake_of(c, 1) != UINT64_MAX);
    cluster_wake(c, 1);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 2).commit, 2);
    assert_true(all_sleep(c, 3));
    cluster_free(c);
}

static void a_dead_node_keeps_nobody_awake_and_is_probed_when_it_is_back(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    cluster_hears(c, 1, 3, false);
    cluster_hears(c, 2, 3, false);
    assert_true(wake_of(c, 1) == UINT64_MAX);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    for (int i = 0; i < 4; i++) {
        cluster_drop(c, 1, 3);
        cluster_persist_all(c);
        cluster_deliver(c, 0, 0);
    }
    cluster_drop(c, 1, 3);
    assert_int_equal(cluster_status(c, 1).commit, 2);
    assert_true(wake_of(c, 1) == UINT64_MAX);
    assert_true(wake_of(c, 2) == UINT64_MAX);
    cluster_forget_trace(c);
    cluster_hears(c, 1, 3, true);
    expect(c, "n1>n3 append t1 prev 1/1 n1 commit 2\n");
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 3).commit, 2);
    assert_true(all_sleep(c, 3));
    cluster_free(c);
}

/* ---- the leader is lost ----------------------------------------------------------------------------------------- */

static void voters_of_a_lost_leader_wake_by_rank(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(5);
    c->random = UINT64_MAX / 2;
    cluster_hears(c, 4, 2, false); /* 4 is third of those it hears */
    for (uint64_t id = 2; id <= 5; id++) {
        cluster_hears(c, id, 1, false);
    }
    uint64_t jitter = c->random % STEP_MS;
    assert_int_equal(wake_of(c, 2), c->now_ms + jitter);
    assert_int_equal(wake_of(c, 3), c->now_ms + STEP_MS + jitter);
    assert_int_equal(wake_of(c, 4), c->now_ms + STEP_MS + jitter);
    assert_int_equal(wake_of(c, 5), c->now_ms + 3 * STEP_MS + jitter);
    cluster_wake(c, 2);
    cluster_drop(c, 2, 1);
    cluster_until(c, cluster_role(c, 2) == RAFT_LEADER);
    assert_true(c->now_ms - 3600 * 1000 < 20000);
    cluster_free(c);
}

static void whoever_still_hears_the_leader_helps_nobody_to_depose_it(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    cluster_hears(c, 2, 1, false);
    cluster_wake(c, 2);
    cluster_forget_trace(c);
    cluster_deliver(c, 2, 3);
    expect(c, "");
    cluster_deliver(c, 2, 1); /* the leader itself answers: here I am */
    expect(c, "n1>n2 beat t1 commit 1 round 0\n");
    cluster_hears(c, 2, 1, true);
    cluster_settle(c);
    assert_true(all_sleep(c, 3));
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    assert_int_equal(cluster_status(c, 1).term, 1);
    cluster_free(c);
}

/* 3 hears the leader, 2 does not, until 3 does not either: 2 tries again soon enough to notice. */
static void a_prevote_that_came_too_early_is_soon_repeated(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    cluster_crash(c, 1);
    cluster_hears(c, 2, 1, false);
    uint64_t lost_ms = c->now_ms;
    cluster_wake(c, 2);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 2), RAFT_PRECANDIDATE);
    cluster_hears(c, 3, 1, false);
    c->random = 0;
    cluster_wake(c, 2);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 2), RAFT_LEADER);
    assert_true(c->now_ms < lost_ms + CLUSTER_TIMING.election_min_ms);
    cluster_free(c);
}

/* The first to campaign lacks what the second holds: the second need not wait for its turn. */
static void a_fitter_voter_follows_at_once(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_persist(c, 1);
    cluster_drop(c, 1, 2);
    cluster_settle(c);
    cluster_crash(c, 1);
    cluster_drop(c, 0, 0);
    c->now_ms += CLUSTER_TIMING.election_min_ms;
    cluster_hears(c, 2, 1, false);
    cluster_hears(c, 3, 1, false);
    uint64_t lost_ms = c->now_ms;
    cluster_wake(c, 2);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 2), RAFT_PRECANDIDATE);
    cluster_wake(c, 3);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 3), RAFT_LEADER);
    assert_true(c->now_ms <= lost_ms + 2 * (uint64_t)STEP_MS);
    cluster_free(c);
}

static void leader_that_lost_its_quorum_tells_those_who_trust_it(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    assert_int_equal(
        raft_nodes_set(cluster_at(c, 1)->nodes, CLUSTER_NODE(2), false, c->now_ms - CLUSTER_TIMING.election_min_ms), 0);
    assert_int_equal(
        raft_nodes_set(cluster_at(c, 1)->nodes, CLUSTER_NODE(3), false, c->now_ms - CLUSTER_TIMING.election_min_ms), 0);
    struct raft_event event = {.kind = RAFT_EV_NODE};
    event.liveness.node = CLUSTER_NODE(3);
    assert_int_equal(cluster_step(c, 1, event), 0);
    expect(c, "n1 precandidate t1\n"
              "n1>n2 prevote t2 last 1/1\n"
              "n1>n3 prevote t2 last 1/1\n");
    cluster_deliver(c, 1, 0); /* it can still speak, and hears nobody */
    cluster_drop(c, 0, 1);
    assert_int_equal(cluster_status(c, 2).leader, 0);
    cluster_wake(c, 2);
    cluster_drop(c, 0, 1);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 2), RAFT_LEADER);
    cluster_free(c);
}

/* A session may break for less time than an election takes. */
static void leader_bears_a_short_loss_of_its_quorum(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    cluster_hears(c, 1, 2, false);
    cluster_hears(c, 1, 3, false);
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    c->now_ms += CLUSTER_TIMING.heartbeat_ms;
    cluster_hears(c, 1, 2, true);
    cluster_hears(c, 1, 3, true);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    assert_true(all_sleep(c, 3));
    cluster_hears(c, 1, 2, false);
    cluster_hears(c, 1, 3, false);
    for (int i = 0; cluster_role(c, 1) == RAFT_LEADER; i++) {
        assert_true(i < 12);
        cluster_wake(c, 1);
    }
    cluster_free(c);
}

static void trust_ends_with_doubt_and_begins_with_a_word(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    cluster_hears(c, 2, 1, false);
    cluster_hears(c, 2, 1, true); /* it is back, and may have forgotten that it leads */
    assert_false(cluster_status(c, 2).trusts);
    assert_true(wake_of(c, 2) != UINT64_MAX);
    struct raft_message beat = cluster_request(RAFT_HEARTBEAT, 1, 2, 1, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &beat), 0);
    assert_true(wake_of(c, 2) == UINT64_MAX);
    cluster_free(c);
}

/* ---- promises to a leader --------------------------------------------------------------------------------------- */

/* Whatever is heard of its node: a lease may depend on it. */
static void no_vote_within_an_election_timeout_of_the_leaders_word(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    struct raft_message beat = cluster_request(RAFT_HEARTBEAT, 1, 2, 1, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &beat), 0);
    cluster_forget_trace(c);
    cluster_hears(c, 2, 1, false);
    assert_true(wake_of(c, 2) >= c->now_ms + CLUSTER_TIMING.election_min_ms);
    c->now_ms += CLUSTER_TIMING.election_min_ms - 1;
    struct raft_message vote = cluster_request(RAFT_VOTE, 3, 2, 2, 1, 1);
    assert_int_equal(cluster_receive(c, 2, &vote), 0);
    expect(c, "");
    c->now_ms += 1;
    assert_int_equal(cluster_receive(c, 2, &vote), 0);
    cluster_persist(c, 2);
    expect(c, "n2 persist #3 hard t2 v3\n"
              "n2>n3 vote-ok t2\n");
    cluster_free(c);
}

static void no_vote_within_an_election_timeout_of_a_restart(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    cluster_restart(c, 2);
    assert_true(wake_of(c, 2) >= c->now_ms + CLUSTER_TIMING.election_min_ms);
    struct raft_message prevote = cluster_request(RAFT_PREVOTE, 3, 2, 2, 1, 1);
    c->now_ms += CLUSTER_TIMING.election_min_ms - 1;
    cluster_forget_trace(c);
    assert_int_equal(cluster_receive(c, 2, &prevote), 0);
    expect(c, "n2>n3 prevote-no t1\n");
    c->now_ms += 1;
    assert_int_equal(cluster_receive(c, 2, &prevote), 0);
    expect(c, "n2>n3 prevote-ok t2\n");
    cluster_free(c);
}

/* A joint configuration that leaves a replica as the only voter does not free it at once. */
static void the_last_voter_keeps_its_promise(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(2);
    struct raft_config joint = cluster_voters(2);
    joint.replicas[0].flags = RAFT_VOTER_OLD;
    joint.replicas[1].flags |= RAFT_VOTER_OLD;
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    cluster_until(c, raft_config(cluster_at(c, 2)->raft)->count == 1);
    assert_true(wake_of(c, 2) >= c->now_ms + CLUSTER_TIMING.election_min_ms);
    cluster_free(c);
}

/* ---- leases ----------------------------------------------------------------------------------------------------- */

static struct cluster *leased_cluster(void) {
    struct cluster *c = cluster_new();
    c->knows_nodes = true;
    c->lease_ms = CLUSTER_TIMING.election_min_ms * 8 / 10;
    cluster_found(c, 3);
    cluster_elect(c, 1);
    c->now_ms += CLUSTER_TIMING.election_max_ms;
    return c;
}

static void a_round_pays_for_the_reads_of_the_lease(void **state) {
    (void)state;
    struct cluster *c = leased_cluster();
    assert_int_equal(cluster_read(c, 1, 1), 0);
    expect(c, "n1>n2 beat t1 commit 1 round 1\n"
              "n1>n3 beat t1 commit 1 round 1\n");
    c->now_ms += 50;
    cluster_settle(c);
    cluster_forget_trace(c);
    c->now_ms += c->lease_ms - 51; /* counted from the beginning of the round */
    assert_int_equal(cluster_read(c, 1, 2), 0);
    expect(c, "n1 read 2 at 1\n");
    c->now_ms += 1;
    assert_int_equal(cluster_read(c, 1, 3), 0);
    expect(c, "n1>n2 beat t1 commit 1 round 2\n"
              "n1>n3 beat t1 commit 1 round 2\n");
    cluster_free(c);
}

static void a_lease_waits_for_the_no_op(void **state) {
    (void)state;
    struct cluster *c = leased_cluster();
    cluster_crash(c, 1);
    c->now_ms += CLUSTER_TIMING.election_max_ms;
    cluster_hears(c, 2, 1, false);
    cluster_hears(c, 3, 1, false);
    cluster_wake(c, 2);
    cluster_until(c, cluster_role(c, 2) == RAFT_LEADER);
    cluster_wake(c, 2); /* a round that is answered */
    cluster_deliver(c, 2, 3);
    cluster_deliver(c, 3, 2);
    assert_false(cluster_status(c, 2).own_term_committed);
    cluster_forget_trace(c);
    assert_int_equal(cluster_read(c, 2, 1), 0);
    expect(c, "");
    cluster_free(c);
}

static void a_lease_ends_with_a_change_of_voters_and_with_a_transfer(void **state) {
    (void)state;
    struct cluster *c = leased_cluster();
    assert_int_equal(cluster_read(c, 1, 1), 0);
    cluster_settle(c);
    struct raft_config wider = cluster_voters(3);
    cluster_row(&wider, 4, RAFT_LEARNER);
    assert_int_equal(cluster_configure(c, 1, &wider), 0);
    cluster_settle(c);
    cluster_forget_trace(c);
    assert_int_equal(cluster_read(c, 1, 2), 0);
    assert_int_equal(cluster_at(c, 1)->read_count, 1);
    cluster_settle(c);
    assert_int_equal(cluster_at(c, 1)->read_count, 2);
    struct raft_event event = {.kind = RAFT_EV_TRANSFER, .transfer = 2};
    assert_int_equal(cluster_step(c, 1, event), 0);
    cluster_drop(c, 1, 2); /* the word to take over is lost, or late: who knows */
    assert_int_equal(cluster_read(c, 1, 3), 0);
    assert_int_equal(cluster_at(c, 1)->read_count, 2);
    c->now_ms += CLUSTER_TIMING.election_max_ms;
    cluster_tick(c, 1);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    assert_int_equal(cluster_read(c, 1, 4), 0); /* not in this term any more */
    assert_int_equal(cluster_at(c, 1)->read_count, 3);
    cluster_settle(c);
    assert_int_equal(cluster_at(c, 1)->read_count, 4);
    cluster_free(c);
}

/* ---- handing over ----------------------------------------------------------------------------------------------- */

static void leader_hands_over_without_a_pause(void **state) { /* thesis §3.10 */
    (void)state;
    struct cluster *c = quiet_cluster(3);
    struct raft_event event = {.kind = RAFT_EV_TRANSFER, .transfer = 3};
    assert_int_equal(cluster_step(c, 1, event), 0);
    expect(c, "n1>n3 take over t1\n");
    assert_int_equal(cluster_propose(c, 1, "x"), ERR_BUSY);
    cluster_settle(c); /* 2 trusts 1 and votes all the same */
    assert_int_equal(cluster_role(c, 3), RAFT_LEADER);
    assert_int_equal(cluster_role(c, 1), RAFT_FOLLOWER);
    assert_int_equal(cluster_status(c, 3).term, 2);
    assert_true(all_sleep(c, 3));
    cluster_free(c);
}

static void heir_is_brought_up_to_date_first(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_forget_trace(c);
    struct raft_event event = {.kind = RAFT_EV_TRANSFER, .transfer = 3};
    assert_int_equal(cluster_step(c, 1, event), 0);
    expect(c, "");
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 3), RAFT_LEADER);
    assert_int_equal(cluster_status(c, 3).commit, 3);
    cluster_free(c);
}

static void transfer_that_fails_ends(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    struct raft_event event = {.kind = RAFT_EV_TRANSFER, .transfer = 3};
    assert_int_equal(cluster_step(c, 1, event), 0);
    cluster_crash(c, 3);
    assert_int_equal(cluster_step(c, 1, event), ERR_BUSY);
    c->now_ms += CLUSTER_TIMING.election_max_ms;
    cluster_wake(c, 1);
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_free(c);
}

static void transfer_has_conditions(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    struct raft_event to_itself = {.kind = RAFT_EV_TRANSFER, .transfer = 1};
    struct raft_event to_nobody = {.kind = RAFT_EV_TRANSFER, .transfer = 8};
    struct raft_event to_2 = {.kind = RAFT_EV_TRANSFER, .transfer = 2};
    assert_int_equal(cluster_step(c, 1, to_itself), ERR_INVALID);
    assert_int_equal(cluster_step(c, 1, to_nobody), ERR_INVALID);
    assert_int_equal(cluster_step(c, 3, to_2), ERR_NOT_LEADER);
    struct raft_config wider = cluster_voters(3);
    cluster_row(&wider, 4, RAFT_LEARNER);
    assert_int_equal(cluster_configure(c, 1, &wider), 0);
    assert_int_equal(cluster_step(c, 1, to_2), ERR_BUSY);
    cluster_free(c);
}

/* Only the leader's own word lifts what its followers promised, and only in its term. */
static void nobody_else_can_tell_a_follower_to_take_over(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(3);
    struct raft_message from_3 = cluster_request(RAFT_TIMEOUT_NOW, 3, 2, 1, 0, 0);
    struct raft_message late = cluster_request(RAFT_TIMEOUT_NOW, 1, 2, 1, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &from_3), 0);
    expect(c, "");
    struct raft_message newer = cluster_request(RAFT_HEARTBEAT, 3, 2, 2, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &newer), 0);
    cluster_forget_trace(c);
    assert_int_equal(cluster_receive(c, 2, &late), 0);
    expect(c, "");
    cluster_free(c);
}

static void payload_under_way_is_bounded(void **state) {
    (void)state;
    struct cluster *c = quiet_cluster(2);
    static char big[RAFT_ENTRY_MAX + 1];
    memset(big, 'x', sizeof big - 1);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(cluster_propose(c, 1, big), 0);
    }
    size_t bytes = 0;
    for (size_t i = 0; i < c->packet_count; i++) {
        for (uint32_t k = 0; k < c->packets[i].m.entry_count; k++) {
            bytes += c->packets[i].m.entries[k]->size;
        }
    }
    assert_int_equal(bytes, RAFT_INFLIGHT_BYTES_MAX);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 2).commit, 8);
    cluster_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group_that_agrees_says_nothing),
        cmocka_unit_test(an_entry_wakes_everybody_for_its_own_time_only),
        cmocka_unit_test(a_follower_that_does_not_answer_keeps_the_leader_awake),
        cmocka_unit_test(commit_index_that_was_lost_is_told_again),
        cmocka_unit_test(a_dead_node_keeps_nobody_awake_and_is_probed_when_it_is_back),
        cmocka_unit_test(voters_of_a_lost_leader_wake_by_rank),
        cmocka_unit_test(whoever_still_hears_the_leader_helps_nobody_to_depose_it),
        cmocka_unit_test(a_prevote_that_came_too_early_is_soon_repeated),
        cmocka_unit_test(a_fitter_voter_follows_at_once),
        cmocka_unit_test(leader_that_lost_its_quorum_tells_those_who_trust_it),
        cmocka_unit_test(leader_bears_a_short_loss_of_its_quorum),
        cmocka_unit_test(trust_ends_with_doubt_and_begins_with_a_word),
        cmocka_unit_test(no_vote_within_an_election_timeout_of_the_leaders_word),
        cmocka_unit_test(no_vote_within_an_election_timeout_of_a_restart),
        cmocka_unit_test(the_last_voter_keeps_its_promise),
        cmocka_unit_test(a_round_pays_for_the_reads_of_the_lease),
        cmocka_unit_test(a_lease_waits_for_the_no_op),
        cmocka_unit_test(a_lease_ends_with_a_change_of_voters_and_with_a_transfer),
        cmocka_unit_test(leader_hands_over_without_a_pause),
        cmocka_unit_test(heir_is_brought_up_to_date_first),
        cmocka_unit_test(transfer_that_fails_ends),
        cmocka_unit_test(transfer_has_conditions),
        cmocka_unit_test(nobody_else_can_tell_a_follower_to_take_over),
        cmocka_unit_test(payload_under_way_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
