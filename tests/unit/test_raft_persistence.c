/* What may be said and counted before the disk has answered, and what a restart finds. */
#include "raft_cluster.h"

static void lone_leader_commits_only_what_is_durable(void **state) { /* trap: acknowledgement before fsync */
    (void)state;
    struct cluster *c = cluster_of(1);
    cluster_elect(c, 1);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    assert_int_equal(cluster_propose(c, 1, "y"), 0);
    expect(c, "n1 persist #3 log [2..2]\n"
              "n1 persist #4 log [3..3]\n");
    cluster_persist_some(c, 1, 1);
    expect(c, "n1 commit 2\n");
    cluster_persist(c, 1);
    expect(c, "n1 commit 3\n");
    cluster_free(c);
}

/* Thesis §10.2.1: the leader's own disk works in parallel with the network, and does not count until it is done. */
static void leader_sends_before_its_disk_and_counts_after(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_deliver(c, 1, 2);
    cluster_persist(c, 2);
    cluster_deliver(c, 2, 1);
    assert_int_equal(cluster_status(c, 1).commit, 1); /* one durable copy of three */
    cluster_persist(c, 1);
    assert_int_equal(cluster_status(c, 1).commit, 2);
    cluster_free(c);
}

static void followers_alone_can_commit_for_a_slow_leader_disk(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_deliver(c, 1, 0);
    cluster_persist(c, 2);
    cluster_persist(c, 3);
    cluster_deliver(c, 0, 1);
    assert_int_equal(cluster_status(c, 1).commit, 2);
    assert_int_equal(cluster_at(c, 1)->batch_count, 1);
    cluster_free(c);
}

static void follower_acknowledges_as_its_disk_goes(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    assert_int_equal(cluster_propose(c, 1, "y"), 0);
    cluster_forget_trace(c);
    cluster_deliver(c, 1, 2);
    expect(c, "n2 persist #3 log [2..2]\n"
              "n2 persist #4 log [3..3]\n");
    cluster_persist_some(c, 2, 1);
    expect(c, "n2>n1 ack t1 match 2\n");
    cluster_persist_some(c, 2, 1);
    expect(c, "n2>n1 ack t1 match 3\n");
    cluster_free(c);
}

static struct raft_message append_of(uint64_t from, uint64_t term, uint64_t index, uint64_t log_term,
                                     struct raft_entry **entries, uint32_t count) {
    return (struct raft_message){.kind = RAFT_APPEND,
                                 .from = from,
                                 .to = 2,
                                 .term = term,
                                 .index = index,
                                 .log_term = log_term,
                                 .entry_count = count,
                                 .entries = entries};
}

/* The trap of acknowledgement ABA: index 1 is written in term 1, cut off, and written again in term 2. The disk's word
 * for the first says nothing about the second. */
static void confirmation_of_cut_entries_vouches_for_nothing(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    struct raft_entry *old[] = {raft_entry_new(1, 1, RAFT_ENTRY_NOOP, NULL, 0),
                                raft_entry_new(2, 1, RAFT_ENTRY_COMMAND, "a", 1)};
    struct raft_entry *new[] = {raft_entry_new(1, 2, RAFT_ENTRY_NOOP, NULL, 0),
                                raft_entry_new(2, 2, RAFT_ENTRY_COMMAND, "b", 1)};
    struct raft_message m = append_of(1, 1, 0, 0, old, 2);
    assert_int_equal(cluster_receive(c, 2, &m), 0);
    m = append_of(3, 2, 0, 0, new, 2);
    assert_int_equal(cluster_receive(c, 2, &m), 0);
    expect(c, "n2 persist #1 hard t1 v0 log [1..2]\n"
              "n2 persist #2 hard t2 v0 log [1..2]\n");
    cluster_persist_some(c, 2, 1);
    expect(c, ""); /* neither the old leader nor the new one is told anything */
    cluster_persist(c, 2);
    expect(c, "n2>n3 ack t2 match 2\n");
    for (int i = 0; i < 2; i++) {
        raft_entry_unref(old[i]);
        raft_entry_unref(new[i]);
    }
    cluster_free(c);
}

/* The same with the term already durable, so that only the entries decide. */
static void confirmation_of_cut_entries_vouches_for_nothing_within_durable_terms(void **state) {
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(3);
    cluster_create(c, 2, &config);
    cluster_seed(c, 2, "1", 3, 1);
    cluster_boot(c, 2);
    struct raft_entry *old[] = {raft_entry_new(2, 2, RAFT_ENTRY_NOOP, NULL, 0),
                                raft_entry_new(3, 2, RAFT_ENTRY_COMMAND, "a", 1)};
    struct raft_entry *new = raft_entry_new(2, 3, RAFT_ENTRY_NOOP, NULL, 0);
    struct raft_message m = append_of(1, 3, 1, 1, old, 2); /* older entries, sent by the leader of term 3 */
    assert_int_equal(cluster_receive(c, 2, &m), 0);
    struct raft_message beat = {.kind = RAFT_HEARTBEAT, .from = 3, .to = 2, .term = 4};
    assert_int_equal(cluster_receive(c, 2, &beat), 0);
    m = append_of(3, 4, 1, 1, &new, 1);
    assert_int_equal(cluster_receive(c, 2, &m), 0);
    cluster_forget_trace(c);
    cluster_persist_some(c, 2, 2);       /* entries 2..3 of term 2, and term 4 */
    expect(c, "n2>n3 ack t4 match 1\n"); /* what it has shared with everybody all along */
    cluster_persist(c, 2);
    expect(c, "n2>n3 ack t4 match 2\n");
    raft_entry_unref(old[0]);
    raft_entry_unref(old[1]);
    raft_entry_unref(new);
    cluster_free(c);
}

static void newer_term_voids_an_acknowledgement_held_back(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    struct raft_entry *e = raft_entry_new(1, 1, RAFT_ENTRY_NOOP, NULL, 0);
    struct raft_message m = append_of(1, 1, 0, 0, &e, 1);
    assert_int_equal(cluster_receive(c, 2, &m), 0);
    c->now_ms += CLUSTER_TIMING.election_max_ms;
    struct raft_message vote = {.kind = RAFT_VOTE, .from = 3, .to = 2, .term = 2, .index = 1, .log_term = 1};
    assert_int_equal(cluster_receive(c, 2, &vote), 0);
    cluster_forget_trace(c);
    cluster_persist(c, 2);
    expect(c, "n2>n3 vote-ok t2\n");
    raft_entry_unref(e);
    cluster_free(c);
}

static void crash_loses_only_what_was_not_acknowledged(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_settle(c);
    assert_int_equal(cluster_propose(c, 1, "y"), 0);
    cluster_deliver(c, 1, 0);
    cluster_drop(c, 0, 0);
    for (uint64_t id = 1; id <= 3; id++) {
        cluster_restart(c, id);
        assert_int_equal(cluster_status(c, id).last, 2);
        assert_int_equal(cluster_status(c, id).term, 1);
    }
    cluster_elect(c, 3);
    assert_terms(c, 1, "112");
    cluster_free(c);
}

static void more_batches_than_are_told_apart_are_confirmed_late_not_early(void **state) {
    (void)state;
    struct cluster *c = cluster_of(1);
    cluster_elect(c, 1);
    c->tracing = false;
    for (int i = 0; i < 1500; i++) {
        assert_int_equal(cluster_propose(c, 1, "x"), 0);
    }
    for (uint64_t left = 1500; left > 0; left -= 100) {
        cluster_persist_some(c, 1, 100);
        struct raft_status s = cluster_status(c, 1);
        assert_true(s.commit <= 1501 - (left - 100));
    }
    assert_int_equal(cluster_status(c, 1).commit, 1501);
    cluster_free(c);
}

static void start_refuses_parts_that_contradict_each_other(void **state) {
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(3);
    cluster_create(c, 1, &config);
    cluster_seed(c, 1, "122", 2, 1);
    struct raft_start good = cluster_start_of(c, cluster_at(c, 1));
    struct raft *r = NULL;
    struct raft_start bad = good;
    bad.hard.term = 1; /* older than an entry */
    assert_int_equal(raft_new(&bad, &r), ERR_CORRUPT);
    bad = good;
    bad.applied = 4; /* beyond the log */
    assert_int_equal(raft_new(&bad, &r), ERR_CORRUPT);
    bad = good;
    bad.entries = good.entries + 1; /* a hole */
    bad.entry_count = 2;
    assert_int_equal(raft_new(&bad, &r), ERR_CORRUPT);
    bad = good;
    bad.base_index = 2; /* overlap */
    bad.applied = 2;
    assert_int_equal(raft_new(&bad, &r), ERR_CORRUPT);
    bad = good;
    bad.base_term = 9; /* terms would fall */
    assert_int_equal(raft_new(&bad, &r), ERR_CORRUPT);
    struct raft_config broken = config;
    broken.replicas[0].flags = 0;
    bad = good;
    bad.base_config = &broken;
    assert_int_equal(raft_new(&bad, &r), ERR_CORRUPT);
    assert_null(r);
    assert_int_equal(raft_new(&good, &r), 0);
    raft_free(r);
    cluster_free(c);
}

static void start_takes_up_the_configurations_of_the_log(void **state) {
    (void)state;
    struct cluster *c = cluster_of(1);
    cluster_elect(c, 1);
    struct raft_config wider = cluster_voters(1);
    cluster_row(&wider, 2, RAFT_LEARNER);
    assert_int_equal(cluster_configure(c, 1, &wider), 0);
    cluster_settle(c);
    cluster_restart(c, 1);
    assert_int_equal(raft_config(cluster_at(c, 1)->raft)->index, 2);
    assert_int_equal(raft_config_committed(cluster_at(c, 1)->raft)->index, 2);
    cluster_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lone_leader_commits_only_what_is_durable),
        cmocka_unit_test(leader_sends_before_its_disk_and_counts_after),
        cmocka_unit_test(followers_alone_can_commit_for_a_slow_leader_disk),
        cmocka_unit_test(follower_acknowledges_as_its_disk_goes),
        cmocka_unit_test(confirmation_of_cut_entries_vouches_for_nothing),
        cmocka_unit_test(confirmation_of_cut_entries_vouches_for_nothing_within_durable_terms),
        cmocka_unit_test(newer_term_voids_an_acknowledgement_held_back),
        cmocka_unit_test(crash_loses_only_what_was_not_acknowledged),
        cmocka_unit_test(more_batches_than_are_told_apart_are_confirmed_late_not_early),
        cmocka_unit_test(start_refuses_parts_that_contradict_each_other),
        cmocka_unit_test(start_takes_up_the_configurations_of_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
