/* Replication: §5.3 and §5.4.2 of the Raft paper, §10.2 of Ongaro's thesis. */
#include "raft_cluster.h"

/* A leader 1 of three, everyone at index 1 (the no-op). */
static struct cluster *led_by_one(void) {
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    return c;
}

static void commit_reaches_followers_within_one_hop(void **state) {
    (void)state;
    struct cluster *c = led_by_one();
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    expect(c, "n1 persist #3 log [2..2]\n"
              "n1>n2 append t1 prev 1/1 n1 commit 1\n"
              "n1>n3 append t1 prev 1/1 n1 commit 1\n");
    cluster_persist(c, 1);
    cluster_deliver(c, 1, 2);
    cluster_persist(c, 2);
    expect(c, "n2 persist #3 log [2..2]\n"
              "n2>n1 ack t1 match 2\n");
    cluster_deliver(c, 2, 1);
    expect(c, "n1>n2 beat t1 commit 2 round 0\n"
              "n1 commit 2\n"); /* 3 has not acknowledged: a heartbeat may not name the index to it */
    cluster_deliver(c, 1, 2);
    expect(c, "n2>n1 beat-ok t1 at 2 round 0\n"
              "n2 commit 2\n");
    cluster_free(c);
}

static void appends_are_pipelined_up_to_the_limit(void **state) { /* thesis §10.2.1 */
    (void)state;
    struct cluster *c = led_by_one();
    for (int i = 0; i < RAFT_INFLIGHT_MAX + 4; i++) {
        assert_int_equal(cluster_propose(c, 1, "x"), 0);
    }
    assert_int_equal(c->packet_count, 2 * RAFT_INFLIGHT_MAX);
    cluster_forget_trace(c);
    cluster_deliver(c, 1, 2);
    cluster_persist(c, 2);
    assert_int_equal(cluster_status(c, 2).last, 1 + RAFT_INFLIGHT_MAX);
    cluster_forget_trace(c);
    cluster_deliver(c, 2, 1); /* what had to wait leaves as one message */
    expect(c, "n1>n2 append t1 prev 17/1 n4 commit 1\n");
    cluster_free(c);
}

static void messages_have_a_size_limit(void **state) {
    (void)state;
    struct cluster *c = led_by_one();
    static char big[RAFT_ENTRY_MAX + 1];
    memset(big, 'x', sizeof big - 1);
    for (int i = 0; i < RAFT_INFLIGHT_MAX; i++) {
        assert_int_equal(cluster_propose(c, 1, "x"), 0);
    }
    for (int i = 0; i < 5; i++) {
        assert_int_equal(cluster_propose(c, 1, big), 0);
    }
    cluster_deliver(c, 1, 2);
    cluster_persist(c, 2);
    cluster_forget_trace(c);
    cluster_deliver(c, 2, 1); /* two entries of the largest size fill a message, and four are enough to be under way */
    expect(c, "n1>n2 append t1 prev 17/1 n2 commit 1\n"
              "n1>n2 append t1 prev 19/1 n2 commit 1\n");
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 3).commit, 22);
    cluster_free(c);
}

static void messages_have_an_entry_limit(void **state) {
    (void)state;
    struct cluster *c = led_by_one();
    c->tracing = false;
    for (int i = 0; i < 1200; i++) {
        assert_int_equal(cluster_propose(c, 1, "x"), 0);
    }
    cluster_deliver(c, 1, 2);
    cluster_persist(c, 2);
    size_t before = c->packet_count;
    cluster_deliver(c, 2, 1);
    size_t sent = 0;
    for (size_t i = 0; i < c->packet_count; i++) {
        const struct raft_message *m = &c->packets[i].m;
        assert_true(m->entry_count <= RAFT_APPEND_ENTRIES_MAX);
        sent += m->to == 2 && m->entry_count == RAFT_APPEND_ENTRIES_MAX;
    }
    assert_true(before > 0);
    assert_int_equal(sent, 3); /* paced: the rest follows the next acknowledgement */
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 2).commit, 1201);
    cluster_free(c);
}

/* Figure 7: whatever the follower's log looks like, it becomes the leader's. Terms as in the figure. */
static void follower_logs_of_figure_7_converge(void **state) {
    (void)state;
    static const char leader[] = "1114455666";
    static const char *const followers[] = {"111445566",    "1114",    "11144556666",
                                            "111445566677", "1114444", "11122233333"};
    for (size_t i = 0; i < sizeof followers / sizeof *followers; i++) {
        struct cluster *c = cluster_new();
        struct raft_config config = cluster_voters(3);
        cluster_create(c, 1, &config);
        cluster_create(c, 2, &config);
        cluster_create(c, 3, &config);
        cluster_seed(c, 1, leader, 7, 0);
        cluster_seed(c, 2, followers[i], 7, 0);
        cluster_seed(c, 3, "", 7, 0);
        cluster_boot(c, 1);
        cluster_boot(c, 2);
        cluster_boot(c, 3);
        cluster_unstick(c);
        cluster_campaign(c, 1);
        cluster_drop(c, 1, 2); /* it is elected by 3 in any case */
        cluster_deliver(c, 1, 3);
        cluster_deliver(c, 3, 1);
        cluster_persist(c, 1);
        cluster_drop(c, 1, 2);
        cluster_settle(c);
        assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
        cluster_wake(c, 1);
        cluster_settle(c);
        assert_terms(c, 1, "11144556668");
        assert_terms(c, 2, "11144556668");
        assert_int_equal(cluster_status(c, 2).commit, 11);
        cluster_free(c);
    }
}

static void rejection_skips_whole_terms(void **state) { /* §5.3, the optimisation at its end */
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(3);
    cluster_create(c, 2, &config);
    cluster_seed(c, 2, "1113333333", 3, 0);
    cluster_boot(c, 2);
    struct raft_message m = {.kind = RAFT_APPEND, .from = 1, .to = 2, .term = 4, .index = 9, .log_term = 2};
    assert_int_equal(cluster_receive(c, 2, &m), 0);
    expect(c, "n2 persist #1 hard t4 v0\n"
              "n2>n1 nack t4 hint 3/1\n");
    m.index = 20; /* beyond its log */
    m.log_term = 4;
    assert_int_equal(cluster_receive(c, 2, &m), 0);
    expect(c, "n2>n1 nack t4 hint 10/3\n");
    cluster_free(c);
}

/* Figure 8: an older-term entry is not committed by counting (§5.4.2). 1 leads again in term 4 with an entry of term
 * 2 that a majority holds; only an entry of term 4 may commit it. */
static void figure_8_older_term_is_not_committed_by_counting(void **state) {
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(5);
    static const char *const logs[] = {"12", "12", "1", "1", "13"};
    for (uint64_t id = 1; id <= 5; id++) {
        cluster_create(c, id, &config);
        cluster_seed(c, id, logs[id - 1], 3, 0);
        cluster_boot(c, id);
    }
    cluster_unstick(c);
    cluster_campaign(c, 1);
    for (int i = 0; i < 10 && cluster_role(c, 1) != RAFT_LEADER; i++) {
        cluster_drop(c, 0, 4);
        cluster_drop(c, 0, 5);
        cluster_deliver(c, 0, 0);
        cluster_persist_all(c);
    }
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    assert_int_equal(cluster_status(c, 1).term, 4);
    cluster_drop(c, 0, 0);
    /* Acknowledgements for the entry of term 2 alone: 1, 2 and 3 are a majority of five. */
    cluster_forget_trace(c);
    for (uint64_t from = 2; from <= 3; from++) {
        struct raft_message ack = {.kind = RAFT_APPEND_REPLY, .from = from, .to = 1, .term = 4, .index = 2};
        assert_int_equal(cluster_receive(c, 1, &ack), 0);
    }
    assert_int_equal(cluster_status(c, 1).commit, 0);
    cluster_persist(c, 1);
    assert_int_equal(cluster_status(c, 1).commit, 0);
    for (uint64_t from = 2; from <= 3; from++) {
        struct raft_message ack = {.kind = RAFT_APPEND_REPLY, .from = from, .to = 1, .term = 4, .index = 3};
        assert_int_equal(cluster_receive(c, 1, &ack), 0);
    }
    assert_int_equal(cluster_status(c, 1).commit, 3); /* the own entry, and with it everything before */
    cluster_free(c);
}

/* Trap: the commit index in a heartbeat says nothing about a log that has not been compared (§5.3). */
static void heartbeat_commits_nothing_without_a_log_match(void **state) {
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(3);
    cluster_create(c, 2, &config);
    cluster_seed(c, 2, "1111", 1, 1); /* entries 2..4 may be leftovers of a deposed leader */
    cluster_boot(c, 2);
    struct raft_message beat = {.kind = RAFT_HEARTBEAT, .from = 1, .to = 2, .term = 2, .commit = 4};
    assert_int_equal(cluster_receive(c, 2, &beat), 0);
    assert_int_equal(cluster_status(c, 2).commit, 1);
    struct raft_message append = {.kind = RAFT_APPEND, .from = 1, .to = 2, .term = 2, .index = 2, .log_term = 1};
    append.commit = 4;
    assert_int_equal(cluster_receive(c, 2, &append), 0);
    assert_int_equal(cluster_status(c, 2).commit, 2); /* as far as it was compared */
    cluster_free(c);
}

static void leader_names_no_commit_that_does_not_match(void **state) { /* §5.3 */
    (void)state;
    struct cluster *c = led_by_one();
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_drop(c, 1, 3);
    cluster_settle(c);
    cluster_forget_trace(c);
    assert_int_equal(cluster_read(c, 1, 5), 0);
    expect(c, "n1>n2 beat t1 commit 2 round 1\n"
              "n1>n3 beat t1 commit 1 round 1\n");
    cluster_free(c);
}

/* Recovers what was lost from one direction of one link, within two heartbeats. */
static void recovers_from_loss(uint64_t lost_from, uint64_t lost_to) {
    struct cluster *c = led_by_one();
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    if (lost_from == 1) {
        cluster_drop(c, 1, lost_to);
    }
    for (int i = 0; i < 4; i++) {
        cluster_persist_all(c);
        if (lost_from != 1) {
            cluster_drop(c, lost_from, 1);
        }
        cluster_deliver(c, 0, 0);
    }
    assert_int_equal(cluster_status(c, 1).progress[1].match, 1);
    cluster_drop(c, 0, 0);
    for (int i = 0; i < 2; i++) {
        cluster_wake(c, 1);
        cluster_settle(c);
    }
    assert_int_equal(cluster_status(c, 1).progress[1].match, 2);
    assert_int_equal(cluster_status(c, 3).commit, 2);
    cluster_free(c);
}

static void lost_append_is_sent_again(void **state) {
    (void)state;
    recovers_from_loss(1, 3);
}

static void lost_acknowledgement_is_asked_for(void **state) {
    (void)state;
    recovers_from_loss(3, 1);
}

static void lost_append_is_noticed_by_the_heartbeat_after_it(void **state) {
    (void)state;
    struct cluster *c = led_by_one();
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_drop(c, 1, 3);
    cluster_wake(c, 1);
    cluster_deliver(c, 1, 3);
    cluster_forget_trace(c);
    cluster_deliver(c, 3, 1);
    expect(c, "n1>n3 append t1 prev 1/1 n1 commit 1\n");
    cluster_free(c);
}

static void entries_under_way_are_not_sent_again(void **state) { /* a slow disk at the follower is not a loss */
    (void)state;
    struct cluster *c = led_by_one();
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_wake(c, 1);
    cluster_deliver(c, 1, 3); /* it has the entry, and the heartbeat; its disk has not confirmed */
    cluster_forget_trace(c);
    cluster_deliver(c, 3, 1);
    expect(c, "n1>n3 append t1 prev 2/1 n0 commit 1\n"); /* only asked about */
    cluster_free(c);
}

static void restarted_follower_verifies_its_log_anew(void **state) {
    (void)state;
    struct cluster *c = led_by_one();
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_persist(c, 1);
    cluster_deliver(c, 1, 0);
    cluster_persist_some(c, 3, 1); /* holds entry 2, does not know it is committed */
    cluster_persist_some(c, 2, 1);
    cluster_deliver(c, 0, 1);
    cluster_drop(c, 1, 3);
    cluster_restart(c, 3);
    assert_int_equal(cluster_status(c, 3).commit, 1);
    cluster_wake(c, 1); /* nothing is left to send: the heartbeat finds out */
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 3).commit, 2);
    cluster_free(c);
}

static void unreachable_follower_is_probed_once_a_heartbeat(void **state) {
    (void)state;
    struct cluster *c = led_by_one();
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    struct raft_event event = {.kind = RAFT_EV_UNREACHABLE, .node = CLUSTER_NODE(3)};
    assert_int_equal(cluster_step(c, 1, event), 0);
    cluster_drop(c, 0, 0);
    cluster_forget_trace(c);
    assert_int_equal(cluster_propose(c, 1, "y"), 0);
    expect(c, "n1 persist #4 log [3..3]\n"
              "n1>n2 append t1 prev 2/1 n1 commit 1\n"); /* nothing for 3 */
    cluster_wake(c, 1);
    expect(c, "n1>n2 beat t1 commit 1 round 1\n"
              "n1>n3 append t1 prev 1/1 n0 commit 1\n"
              "n1>n3 beat t1 commit 1 round 1\n");
    cluster_deliver(c, 1, 3);
    cluster_forget_trace(c);
    cluster_deliver(c, 3, 1);
    expect(c, "n1>n3 append t1 prev 1/1 n2 commit 1\n");
    cluster_free(c);
}

static void probe_without_answer_is_repeated_bare(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    c->now_ms += CLUSTER_TIMING.election_max_ms;
    cluster_campaign(c, 1);
    cluster_until(c, cluster_role(c, 1) == RAFT_LEADER);
    cluster_drop(c, 0, 0);
    cluster_forget_trace(c);
    cluster_wake(c, 1);
    expect(c, "n1>n2 append t1 prev 0/0 n0 commit 0\n"
              "n1>n2 beat t1 commit 0 round 1\n"
              "n1>n3 append t1 prev 0/0 n0 commit 0\n"
              "n1>n3 beat t1 commit 0 round 1\n");
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 3).commit, 1);
    cluster_free(c);
}

static void proposals_are_bounded(void **state) {
    (void)state;
    struct cluster *c = led_by_one();
    c->tracing = false;
    assert_int_equal(cluster_propose(c, 2, "x"), ERR_NOT_LEADER);
    static char big[RAFT_ENTRY_MAX + 2];
    memset(big, 'x', sizeof big - 1);
    assert_int_equal(cluster_propose(c, 1, big), ERR_TOO_LARGE);
    for (int i = 0; i < RAFT_PENDING_MAX; i++) {
        cluster_drop(c, 0, 0);
        cluster_persist(c, 1);
        assert_int_equal(cluster_propose(c, 1, "x"), 0);
    }
    assert_int_equal(cluster_propose(c, 1, "x"), ERR_BUSY);
    assert_int_equal(c->update.message_count, 0);
    cluster_wake(c, 1);
    cluster_settle(c);
    cluster_wake(c, 1);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 1).commit, 1 + RAFT_PENDING_MAX);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_free(c);
}

static void proposals_are_bounded_in_bytes(void **state) {
    (void)state;
    struct cluster *c = led_by_one();
    static char big[RAFT_ENTRY_MAX + 1];
    memset(big, 'x', sizeof big - 1);
    for (size_t bytes = 0; bytes < RAFT_PENDING_BYTES_MAX; bytes += RAFT_ENTRY_MAX) {
        assert_int_equal(cluster_propose(c, 1, big), 0);
    }
    assert_int_equal(cluster_propose(c, 1, "x"), ERR_BUSY);
    cluster_settle(c);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_free(c);
}

/* A full configuration with a long backlog: no update ever says more than it can hold. */
static void sends_are_paced(void **state) {
    (void)state;
    struct raft_config config = {.next_id = 1};
    for (uint64_t id = 1; id <= RAFT_REPLICAS_MAX; id++) {
        cluster_row(&config, id, RAFT_VOTER);
    }
    struct cluster *c = cluster_new();
    c->tracing = false;
    cluster_create(c, 1, &config);
    cluster_boot(c, 1);
    cluster_campaign(c, 1);
    for (uint64_t from = 2; from <= 10; from++) {
        struct raft_message m = {.kind = RAFT_PREVOTE_REPLY, .from = from, .to = 1, .term = 1};
        assert_int_equal(cluster_receive(c, 1, &m), 0);
    }
    cluster_persist(c, 1);
    for (uint64_t from = 2; from <= 10; from++) {
        struct raft_message m = {.kind = RAFT_VOTE_REPLY, .from = from, .to = 1, .term = 1};
        assert_int_equal(cluster_receive(c, 1, &m), 0);
    }
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(cluster_propose(c, 1, "x"), 0);
        cluster_persist(c, 1);
        cluster_drop(c, 0, 0);
    }
    uint32_t most = 0;
    for (uint64_t from = 2; from <= RAFT_REPLICAS_MAX; from++) {
        struct raft_message m = {.kind = RAFT_APPEND_REPLY, .from = from, .to = 1, .term = 1, .index = 1};
        assert_int_equal(cluster_receive(c, 1, &m), 0);
        most = c->update.message_count > most ? c->update.message_count : most;
    }
    cluster_wake(c, 1);
    most = c->update.message_count > most ? c->update.message_count : most;
    assert_true(most >= 15 && most < RAFT_MESSAGES_MAX);
    cluster_free(c);
}

static void malformed_appends_are_refused(void **state) {
    (void)state;
    struct cluster *c = led_by_one();
    struct raft_entry *gap = raft_entry_new(3, 1, RAFT_ENTRY_COMMAND, "x", 1);
    struct raft_entry *newer = raft_entry_new(2, 9, RAFT_ENTRY_COMMAND, "x", 1);
    struct raft_entry *junk = raft_entry_new(2, 1, RAFT_ENTRY_CONFIG, "junk", 4);
    struct raft_entry *other = raft_entry_new(1, 2, RAFT_ENTRY_COMMAND, "x", 1);
    struct raft_entry *bad[] = {gap, newer, junk};
    for (size_t i = 0; i < 3; i++) {
        struct raft_message m = {.kind = RAFT_APPEND, .from = 1, .to = 2, .term = 1, .index = 1, .log_term = 1};
        m.entry_count = 1;
        m.entries = &bad[i];
        assert_int_equal(cluster_receive(c, 2, &m), ERR_PROTOCOL);
        raft_entry_unref(bad[i]);
    }
    /* contradicts what is committed */
    struct raft_message m = {.kind = RAFT_APPEND, .from = 1, .to = 2, .term = 2, .entry_count = 1, .entries = &other};
    assert_int_equal(cluster_receive(c, 2, &m), ERR_PROTOCOL);
    raft_entry_unref(other);
    m = (struct raft_message){.kind = RAFT_APPEND, .from = 1, .to = 2, .term = 1, .index = UINT64_MAX};
    assert_int_equal(cluster_receive(c, 2, &m), ERR_PROTOCOL);
    expect(c, "");
    assert_int_equal(cluster_status(c, 2).last, 1);
    cluster_free(c);
}

static void old_and_doubled_appends_change_nothing(void **state) { /* §5.3: idempotent */
    (void)state;
    struct cluster *c = led_by_one();
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    assert_int_equal(cluster_propose(c, 1, "y"), 0);
    struct cluster_packet first = {0};
    for (size_t i = 0; i < c->packet_count; i++) {
        if (c->packets[i].m.to == 2) {
            first = cluster_take(c, i);
            break;
        }
    }
    assert_int_equal(cluster_receive(c, 2, &first.m), 0);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 2).last, 3);
    cluster_forget_trace(c);
    assert_int_equal(cluster_receive(c, 2, &first.m), 0); /* shorter than what it has: nothing is cut off */
    expect(c, "n2>n1 ack t1 match 3\n");
    assert_int_equal(cluster_status(c, 2).last, 3);
    cluster_packet_release(&first);
    cluster_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commit_reaches_followers_within_one_hop),
        cmocka_unit_test(appends_are_pipelined_up_to_the_limit),
        cmocka_unit_test(messages_have_a_size_limit),
        cmocka_unit_test(messages_have_an_entry_limit),
        cmocka_unit_test(follower_logs_of_figure_7_converge),
        cmocka_unit_test(rejection_skips_whole_terms),
        cmocka_unit_test(figure_8_older_term_is_not_committed_by_counting),
        cmocka_unit_test(heartbeat_commits_nothing_without_a_log_match),
        cmocka_unit_test(leader_names_no_commit_that_does_not_match),
        cmocka_unit_test(lost_append_is_sent_again),
        cmocka_unit_test(lost_acknowledgement_is_asked_for),
        cmocka_unit_test(lost_append_is_noticed_by_the_heartbeat_after_it),
        cmocka_unit_test(entries_under_way_are_not_sent_again),
        cmocka_unit_test(restarted_follower_verifies_its_log_anew),
        cmocka_unit_test(unreachable_follower_is_probed_once_a_heartbeat),
        cmocka_unit_test(probe_without_answer_is_repeated_bare),
        cmocka_unit_test(proposals_are_bounded),
        cmocka_unit_test(proposals_are_bounded_in_bytes),
        cmocka_unit_test(sends_are_paced),
        cmocka_unit_test(malformed_appends_are_refused),
        cmocka_unit_test(old_and_doubled_appends_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
