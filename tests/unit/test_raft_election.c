/* Elections: §5.2 and §5.4.1 of the Raft paper; pre-vote, stickiness and check-quorum of Ongaro's thesis. */
#include "raft_cluster.h"

static void lone_voter_leads_once_its_vote_is_durable(void **state) { /* §5.2: acknowledgement before fsync */
    (void)state;
    struct cluster *c = cluster_of(1);
    assert_int_equal(raft_wake_ms(cluster_at(c, 1)->raft), c->now_ms);
    cluster_tick(c, 1);
    expect(c, "n1 candidate t1\n"
              "n1 persist #1 hard t1 v1\n");
    cluster_persist(c, 1);
    expect(c, "n1 leader t1\n"
              "n1 persist #2 log [1..1]\n");
    cluster_persist(c, 1);
    expect(c, "n1 commit 1\n");
    assert_int_equal(raft_wake_ms(cluster_at(c, 1)->raft), UINT64_MAX);
    cluster_free(c);
}

static void three_voters_elect_in_two_rounds(void **state) { /* §5.2, thesis §9.6 */
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_wake(c, 1);
    expect(c, "n1 precandidate t0\n"
              "n1>n2 prevote t1 last 0/0\n"
              "n1>n3 prevote t1 last 0/0\n");
    cluster_deliver(c, 1, 0);
    expect(c, "n2>n1 prevote-ok t1\n"
              "n3>n1 prevote-ok t1\n");
    cluster_deliver(c, 2, 1);
    expect(c, "n1 candidate t1\n"
              "n1 persist #1 hard t1 v1\n");
    cluster_drop(c, 0, 0);
    cluster_persist(c, 1);
    expect(c, "n1>n2 vote t1 last 0/0\n"
              "n1>n3 vote t1 last 0/0\n");
    cluster_deliver(c, 1, 0);
    expect(c, "n2 persist #1 hard t1 v1\n"
              "n3 persist #1 hard t1 v1\n");
    cluster_persist(c, 3);
    expect(c, "n3>n1 vote-ok t1\n");
    cluster_deliver(c, 3, 1);
    expect(c, "n1 leader t1\n"
              "n1 persist #2 log [1..1]\n"
              "n1>n2 append t1 prev 0/0 n1 commit 0\n"
              "n1>n3 append t1 prev 0/0 n1 commit 0\n");
    cluster_free(c);
}

static void own_vote_waits_for_the_disk(void **state) { /* a term that a crash forgets was never asked for */
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_campaign(c, 1);
    cluster_deliver(c, 1, 2);
    cluster_deliver(c, 2, 1);
    cluster_drop(c, 0, 0);
    cluster_forget_trace(c);
    c->now_ms += 5000;
    cluster_tick(c, 1); /* the disk hangs: no second term is tried either */
    expect(c, "");
    cluster_restart(c, 1);
    assert_int_equal(cluster_status(c, 1).term, 0);
    cluster_free(c);
}

static void granted_vote_is_told_only_when_durable(void **state) { /* §5.2; vote forgotten in a crash */
    (void)state;
    struct cluster *c = cluster_of(3);
    struct raft_message vote = cluster_request(RAFT_VOTE, 3, 2, 1, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &vote), 0);
    expect(c, "n2 persist #1 hard t1 v3\n");
    cluster_persist(c, 2);
    expect(c, "n2>n3 vote-ok t1\n");
    cluster_restart(c, 2);
    cluster_unstick(c);
    struct raft_message rival = cluster_request(RAFT_VOTE, 1, 2, 1, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &rival), 0);
    expect(c, "n2>n1 vote-no t1\n");
    assert_int_equal(cluster_receive(c, 2, &vote), 0); /* the same candidate asks again: the same answer */
    expect(c, "n2>n3 vote-ok t1\n");
    cluster_free(c);
}

static void newer_term_voids_a_vote_held_back(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    struct raft_message vote = cluster_request(RAFT_VOTE, 3, 2, 1, 0, 0);
    struct raft_message newer = cluster_request(RAFT_VOTE, 1, 2, 2, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &vote), 0);
    assert_int_equal(cluster_receive(c, 2, &newer), 0);
    cluster_forget_trace(c);
    cluster_persist_some(c, 2, 1);
    expect(c, "");
    cluster_persist(c, 2);
    expect(c, "n2>n1 vote-ok t2\n");
    cluster_free(c);
}

/* Asks a replica whose log has terms 1,1,2 (in term 3) for its vote. */
static bool votes_for(uint64_t index, uint64_t log_term, enum raft_message_kind kind) {
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(3);
    cluster_create(c, 2, &config);
    cluster_seed(c, 2, "112", 3, 0);
    cluster_boot(c, 2);
    cluster_unstick(c);
    struct raft_message m = cluster_request(kind, 1, 2, 4, index, log_term);
    assert_int_equal(cluster_receive(c, 2, &m), 0);
    cluster_persist(c, 2);
    assert_int_equal(c->packet_count, 1);
    bool granted = !c->packets[0].m.reject;
    cluster_free(c);
    return granted;
}

static void only_an_up_to_date_log_gets_votes(void **state) { /* §5.4.1 */
    (void)state;
    static const enum raft_message_kind kinds[] = {RAFT_PREVOTE, RAFT_VOTE};
    for (size_t i = 0; i < 2; i++) {
        assert_false(votes_for(2, 2, kinds[i])); /* same last term, shorter */
        assert_true(votes_for(3, 2, kinds[i]));
        assert_true(votes_for(4, 2, kinds[i]));
        assert_false(votes_for(9, 1, kinds[i])); /* longer, older last term */
        assert_true(votes_for(1, 3, kinds[i]));  /* shorter, newer last term */
    }
}

static void replica_cut_off_does_not_raise_its_term(void **state) { /* pre-vote, thesis §9.6 */
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    for (int i = 0; i < 5; i++) {
        cluster_wake(c, 3);
        cluster_drop(c, 3, 0);
    }
    assert_int_equal(cluster_role(c, 3), RAFT_PRECANDIDATE);
    assert_int_equal(cluster_status(c, 3).term, cluster_status(c, 1).term);
    cluster_free(c);
}

static void prevote_changes_nothing_at_the_voter(void **state) { /* thesis §9.6 */
    (void)state;
    struct cluster *c = cluster_of(3);
    uint64_t wake = raft_wake_ms(cluster_at(c, 2)->raft);
    struct raft_message ask = cluster_request(RAFT_PREVOTE, 1, 2, 7, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &ask), 0);
    expect(c, "n2>n1 prevote-ok t7\n");
    ask = cluster_request(RAFT_PREVOTE, 3, 2, 7, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &ask), 0);
    expect(c, "n2>n3 prevote-ok t7\n");
    assert_int_equal(raft_hard(cluster_at(c, 2)->raft).term, 0);
    assert_int_equal(raft_wake_ms(cluster_at(c, 2)->raft), wake);
    cluster_free(c);
}

static void follower_of_a_live_leader_ignores_votes(void **state) { /* thesis §4.2.3 */
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    uint64_t term = cluster_status(c, 1).term;
    struct raft_message vote = cluster_request(RAFT_VOTE, 3, 2, term + 5, 9, term);
    struct raft_message prevote = cluster_request(RAFT_PREVOTE, 3, 2, term + 5, 9, term);
    struct raft_message to_leader = cluster_request(RAFT_VOTE, 3, 1, term + 5, 9, term);
    c->now_ms += CLUSTER_TIMING.election_min_ms - 1;
    assert_int_equal(cluster_receive(c, 2, &vote), 0);
    assert_int_equal(cluster_receive(c, 2, &prevote), 0);
    assert_int_equal(cluster_receive(c, 1, &to_leader), 0);
    expect(c, "");
    c->now_ms += 1;
    assert_int_equal(cluster_receive(c, 2, &vote), 0);
    expect(c, "n2 persist #3 hard t6 v3\n");
    cluster_free(c);
}

static void leader_without_a_quorum_steps_down(void **state) { /* check-quorum, thesis §6.2 */
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    uint64_t until = c->now_ms + CLUSTER_TIMING.election_max_ms + CLUSTER_TIMING.heartbeat_ms;
    while (cluster_role(c, 1) == RAFT_LEADER && c->now_ms < until) {
        cluster_wake(c, 1);
        cluster_drop(c, 0, 0);
    }
    assert_int_equal(cluster_role(c, 1), RAFT_FOLLOWER);
    assert_true(c->now_ms <= until);
    assert_int_equal(cluster_status(c, 1).leader, 0);
    cluster_free(c);
}

static void leader_with_a_bare_quorum_stays(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    for (int i = 0; i < 50; i++) {
        cluster_wake(c, 1);
        cluster_drop(c, 1, 3);
        cluster_settle(c);
    }
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    assert_true(cluster_status(c, 1).progress[0].active);
    assert_false(cluster_status(c, 1).progress[1].active);
    cluster_free(c);
}

/* 1 leads; 1 and 3 cannot hear each other, 2 hears both. 3 times out again and again and must not depose 1, which
 * keeps a quorum through the bridge. */
static void bridge_node_keeps_the_leader(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    uint64_t term = cluster_status(c, 1).term;
    for (int i = 0; i < 60; i++) {
        c->now_ms += CLUSTER_TIMING.heartbeat_ms;
        cluster_tick(c, 1);
        cluster_tick(c, 3);
        for (int k = 0; k < 6; k++) {
            cluster_drop(c, 1, 3);
            cluster_drop(c, 3, 1);
            cluster_deliver(c, 0, 0);
        }
    }
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    assert_int_equal(cluster_role(c, 3), RAFT_PRECANDIDATE);
    assert_int_equal(cluster_status(c, 3).term, term);
    cluster_free(c);
}

static void deposed_leader_learns_of_the_newer_term(void **state) { /* §5.1 */
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    c->now_ms += CLUSTER_TIMING.election_max_ms;
    cluster_campaign(c, 2);
    cluster_drop(c, 0, 1);
    cluster_deliver(c, 2, 3);
    cluster_deliver(c, 3, 2);
    cluster_persist(c, 2); /* candidate in the next term; 1 knows nothing of it */
    cluster_drop(c, 0, 0);
    assert_int_equal(cluster_propose(c, 1, "late"), 0);
    cluster_forget_trace(c);
    cluster_drop(c, 1, 3);
    cluster_deliver(c, 1, 2);
    expect(c, "n2>n1 nack t2 hint 0/0\n");
    cluster_deliver(c, 2, 1);
    expect(c, "n1 follower t2\n"
              "n1 persist #4 hard t2 v0\n");
    cluster_free(c);
}

static void stuck_higher_term_is_adopted_by_prevotes(void **state) { /* a short log in a high term blocks nobody */
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(3);
    for (uint64_t id = 1; id <= 2; id++) {
        cluster_create(c, id, &config);
    }
    cluster_seed(c, 1, "11", 1, 0);
    cluster_seed(c, 2, "1", 9, 0);
    cluster_boot(c, 1);
    cluster_boot(c, 2);
    cluster_unstick(c);
    cluster_campaign(c, 1);
    cluster_drop(c, 1, 3);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 1).term, 9);
    cluster_campaign(c, 1);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    assert_int_equal(cluster_status(c, 1).term, 10);
    cluster_free(c);
}

static void learner_answers_votes_and_never_campaigns(void **state) { /* thesis §4.2.1 */
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(2);
    cluster_row(&config, 3, RAFT_LEARNER);
    cluster_create(c, 3, &config);
    cluster_boot(c, 3);
    assert_int_equal(raft_wake_ms(cluster_at(c, 3)->raft), UINT64_MAX);
    c->now_ms += 100000;
    cluster_tick(c, 3);
    cluster_campaign(c, 3);
    expect(c, "");
    struct raft_message vote = cluster_request(RAFT_VOTE, 1, 3, 1, 0, 0);
    assert_int_equal(cluster_receive(c, 3, &vote), 0);
    cluster_persist(c, 3);
    expect(c, "n3 persist #1 hard t1 v1\n"
              "n3>n1 vote-ok t1\n");
    cluster_free(c);
}

static void learners_are_not_asked_for_votes(void **state) {
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(2);
    cluster_row(&config, 3, RAFT_LEARNER);
    cluster_create(c, 1, &config);
    cluster_boot(c, 1);
    cluster_campaign(c, 1);
    expect(c, "n1 precandidate t0\n"
              "n1>n2 prevote t1 last 0/0\n");
    cluster_free(c);
}

static void stranger_is_answered_when_it_asks_for_a_vote(void **state) { /* §6: our configuration may be older */
    (void)state;
    struct cluster *c = cluster_of(3);
    struct raft_message ask = cluster_request(RAFT_PREVOTE, 7, 2, 1, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &ask), 0);
    expect(c, "n2>n7 prevote-ok t1\n");
    ask = cluster_request(RAFT_VOTE, 7, 2, 1, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &ask), 0);
    cluster_persist(c, 2);
    expect(c, "n2 persist #1 hard t1 v7\n"
              "n2>n7 vote-ok t1\n");
    cluster_free(c);
}

static void awaiting_replica_answers_votes_and_never_campaigns(void **state) {
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config nobody = {.next_id = 1};
    cluster_create(c, 4, &nobody);
    cluster_boot(c, 4);
    assert_int_equal(raft_wake_ms(cluster_at(c, 4)->raft), UINT64_MAX);
    cluster_campaign(c, 4);
    expect(c, "");
    struct raft_message ask = cluster_request(RAFT_VOTE, 1, 4, 3, 5, 2);
    assert_int_equal(cluster_receive(c, 4, &ask), 0);
    cluster_persist(c, 4);
    expect(c, "n4 persist #1 hard t3 v1\n"
              "n4>n1 vote-ok t3\n");
    cluster_free(c);
}

static void answers_of_strangers_depose_nobody(void **state) { /* a removed replica with a high term */
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    static const enum raft_message_kind kinds[] = {RAFT_PREVOTE_REPLY, RAFT_VOTE_REPLY, RAFT_APPEND_REPLY,
                                                   RAFT_HEARTBEAT_REPLY};
    for (size_t i = 0; i < 4; i++) {
        struct raft_message m = cluster_request(kinds[i], 8, 1, 99, 0, 0);
        m.reject = true;
        assert_int_equal(cluster_receive(c, 1, &m), 0);
    }
    expect(c, "");
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    cluster_free(c);
}

/* Joint configuration {1,2} -> {3,4}: neither half elects alone (§6). */
static void joint_configuration_needs_both_halves(void **state) {
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = {.next_id = 1};
    cluster_row(&config, 1, RAFT_VOTER_OLD);
    cluster_row(&config, 2, RAFT_VOTER_OLD);
    cluster_row(&config, 3, RAFT_VOTER);
    cluster_row(&config, 4, RAFT_VOTER);
    for (uint64_t id = 1; id <= 4; id++) {
        cluster_create(c, id, &config);
        cluster_boot(c, id);
    }
    cluster_campaign(c, 1);
    cluster_deliver(c, 1, 2);
    cluster_deliver(c, 2, 1);
    assert_int_equal(cluster_role(c, 1), RAFT_PRECANDIDATE); /* the old half only */
    cluster_deliver(c, 1, 3);
    cluster_deliver(c, 3, 1);
    assert_int_equal(cluster_role(c, 1), RAFT_PRECANDIDATE); /* one of two in the new half */
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 1), RAFT_FOLLOWER); /* led, left the joint, was not in the result, resigned */
    assert_int_equal(raft_config_committed(cluster_at(c, 3)->raft)->count, 2);
    cluster_free(c);
}

/* 1 led {1} -> {2} through the joint configuration and appended the final one, which leaves 1 out; then it crashed.
 * 2 has the joint entry only, so it needs the vote of 1, whose log is longer: only 1 itself can win (thesis §4.2.2). */
static void joint_left_leaderless_is_finished_by_the_one_that_leaves(void **state) {
    (void)state;
    struct cluster *c = cluster_of(1);
    struct raft_config nobody = {.next_id = 1};
    cluster_create(c, 2, &nobody);
    cluster_boot(c, 2);
    cluster_elect(c, 1);
    struct raft_config joint = {.next_id = 1};
    cluster_row(&joint, 1, RAFT_VOTER_OLD);
    cluster_row(&joint, 2, RAFT_VOTER);
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    cluster_until(c, !raft_config_joint(raft_config(cluster_at(c, 1)->raft)));
    cluster_drop(c, 0, 0);
    cluster_persist(c, 1);
    cluster_drop(c, 0, 0);
    cluster_restart(c, 1);
    cluster_restart(c, 2);
    assert_true(raft_config_joint(raft_config(cluster_at(c, 2)->raft)));
    assert_null(raft_config_find(raft_config(cluster_at(c, 1)->raft), 1));
    cluster_campaign(c, 2);
    cluster_settle(c);
    assert_int_not_equal(cluster_role(c, 2), RAFT_LEADER);
    c->now_ms += CLUSTER_TIMING.election_max_ms;
    assert_int_not_equal(raft_wake_ms(cluster_at(c, 1)->raft), UINT64_MAX);
    cluster_campaign(c, 1);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 1), RAFT_FOLLOWER); /* finished the change and resigned */
    assert_int_equal(raft_config_committed(cluster_at(c, 2)->raft)->count, 1);
    cluster_campaign(c, 2);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 2), RAFT_LEADER);
    cluster_free(c);
}

static void timeouts_are_spread_over_the_interval(void **state) { /* §5.2 */
    (void)state;
    unsigned early = 0;
    unsigned late = 0;
    for (uint64_t i = 0; i < 100; i++) {
        struct cluster *c = cluster_new();
        c->random = i * UINT64_C(0x9E3779B97F4A7C15);
        struct raft_config config = cluster_voters(3);
        cluster_create(c, 1, &config);
        cluster_boot(c, 1);
        uint64_t wait = raft_wake_ms(cluster_at(c, 1)->raft) - c->now_ms;
        assert_true(wait >= CLUSTER_TIMING.election_min_ms && wait < CLUSTER_TIMING.election_max_ms);
        early += wait < 1250;
        late += wait >= 1750;
        cluster_free(c);
    }
    assert_true(early > 5 && late > 5);
}

static void heartbeats_hold_off_elections(void **state) { /* §5.2 */
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    for (int i = 0; i < 40; i++) {
        cluster_wake(c, 1);
        cluster_tick(c, 2);
        cluster_tick(c, 3);
        cluster_settle(c);
    }
    assert_int_equal(cluster_role(c, 2), RAFT_FOLLOWER);
    assert_int_equal(cluster_status(c, 2).leader_node, CLUSTER_NODE(1));
    assert_int_equal(cluster_status(c, 1).term, 1);
    cluster_free(c);
}

static void impossible_messages_are_refused(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    struct raft_message m = cluster_request(RAFT_VOTE, 2, 3, 5, 0, 0); /* not for this replica */
    assert_int_equal(cluster_receive(c, 1, &m), ERR_PROTOCOL);
    m = cluster_request(RAFT_VOTE, 1, 1, 5, 0, 0); /* from itself */
    assert_int_equal(cluster_receive(c, 1, &m), ERR_PROTOCOL);
    m = cluster_request(RAFT_VOTE, 2, 1, UINT64_MAX, 0, 0); /* a term that would wrap */
    assert_int_equal(cluster_receive(c, 1, &m), ERR_PROTOCOL);
    m = cluster_request(RAFT_HEARTBEAT, 2, 1, 1, 0, 0); /* a second leader in the term (§5.2) */
    assert_int_equal(cluster_receive(c, 1, &m), ERR_PROTOCOL);
    m = cluster_request(RAFT_HEARTBEAT, 3, 2, 1, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &m), ERR_PROTOCOL);
    m = cluster_request(RAFT_MESSAGE_KINDS, 3, 2, 1, 0, 0);
    assert_int_equal(cluster_receive(c, 2, &m), ERR_PROTOCOL);
    m = cluster_request(RAFT_HEARTBEAT_REPLY, 2, 1, 1, 1, 0);
    m.context = 1000; /* a round that never was */
    assert_int_equal(cluster_receive(c, 1, &m), ERR_PROTOCOL);
    m = cluster_request(RAFT_APPEND_REPLY, 2, 1, 1, 1000, 0); /* beyond the log */
    assert_int_equal(cluster_receive(c, 1, &m), ERR_PROTOCOL);
    expect(c, "");
    cluster_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lone_voter_leads_once_its_vote_is_durable),
        cmocka_unit_test(three_voters_elect_in_two_rounds),
        cmocka_unit_test(own_vote_waits_for_the_disk),
        cmocka_unit_test(granted_vote_is_told_only_when_durable),
        cmocka_unit_test(newer_term_voids_a_vote_held_back),
        cmocka_unit_test(only_an_up_to_date_log_gets_votes),
        cmocka_unit_test(replica_cut_off_does_not_raise_its_term),
        cmocka_unit_test(prevote_changes_nothing_at_the_voter),
        cmocka_unit_test(follower_of_a_live_leader_ignores_votes),
        cmocka_unit_test(leader_without_a_quorum_steps_down),
        cmocka_unit_test(leader_with_a_bare_quorum_stays),
        cmocka_unit_test(bridge_node_keeps_the_leader),
        cmocka_unit_test(deposed_leader_learns_of_the_newer_term),
        cmocka_unit_test(stuck_higher_term_is_adopted_by_prevotes),
        cmocka_unit_test(learner_answers_votes_and_never_campaigns),
        cmocka_unit_test(learners_are_not_asked_for_votes),
        cmocka_unit_test(stranger_is_answered_when_it_asks_for_a_vote),
        cmocka_unit_test(awaiting_replica_answers_votes_and_never_campaigns),
        cmocka_unit_test(answers_of_strangers_depose_nobody),
        cmocka_unit_test(joint_configuration_needs_both_halves),
        cmocka_unit_test(joint_left_leaderless_is_finished_by_the_one_that_leaves),
        cmocka_unit_test(timeouts_are_spread_over_the_interval),
        cmocka_unit_test(heartbeats_hold_off_elections),
        cmocka_unit_test(impossible_messages_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
