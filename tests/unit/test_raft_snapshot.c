/* Snapshots and compaction: §7 of the Raft paper. */
#include "raft_cluster.h"

/* Leader 1 has compacted everything up to index 4; 3 has seen nothing past index 1. */
static struct cluster *with_a_straggler(void) {
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(cluster_propose(c, 1, "x"), 0);
        cluster_drop(c, 1, 3);
        cluster_settle(c);
    }
    cluster_compact(c, 1, 4);
    cluster_forget_trace(c);
    return c;
}

static void ask_for_one(struct cluster *c) {
    cluster_wake(c, 1);
    cluster_settle(c);
    cluster_wake(c, 1);
    cluster_settle(c);
    assert_int_equal(cluster_at(c, 1)->snapshot_count, 1);
    cluster_forget_trace(c);
}

static void follower_too_far_behind_needs_a_snapshot_once(void **state) {
    (void)state;
    struct cluster *c = with_a_straggler();
    cluster_wake(c, 1);
    cluster_deliver(c, 1, 3);
    cluster_forget_trace(c);
    cluster_deliver(c, 3, 1);
    expect(c, "n1 snapshot for n3\n");
    assert_true(cluster_status(c, 1).progress[1].snapshot);
    cluster_wake(c, 1);
    cluster_settle(c);
    assert_int_equal(cluster_at(c, 1)->snapshot_count, 1); /* and not again while it is on its way */
    cluster_free(c);
}

static void install_is_acknowledged_when_durable(void **state) {
    (void)state;
    struct cluster *c = with_a_straggler();
    ask_for_one(c);
    struct raft_config config = cluster_voters(3);
    assert_int_equal(cluster_install(c, 3, 1, 4, 1, 1, &config), 0);
    expect(c, "n3 config 0\n"
              "n3 persist #3 install 4/1\n"
              "n3 commit 4\n");
    assert_int_equal(cluster_status(c, 3).applied, 1);
    cluster_persist(c, 3);
    expect(c, "n3>n1 ack t1 match 4\n");
    assert_int_equal(cluster_status(c, 3).applied, 4);
    assert_int_equal(cluster_status(c, 3).first, 5);
    cluster_sent(c, 1, 3, 4, true);
    cluster_settle(c);
    assert_int_equal(cluster_propose(c, 1, "y"), 0);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 3).commit, 5);
    cluster_free(c);
}

static void acknowledgement_overtaking_the_report_resumes_feeding(void **state) {
    (void)state;
    struct cluster *c = with_a_straggler();
    ask_for_one(c);
    struct raft_config config = cluster_voters(3);
    assert_int_equal(cluster_install(c, 3, 1, 4, 1, 1, &config), 0);
    cluster_settle(c);
    assert_false(cluster_status(c, 1).progress[1].snapshot);
    cluster_sent(c, 1, 3, 4, true); /* late, and harmless */
    assert_int_equal(cluster_propose(c, 1, "y"), 0);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 3).commit, 5);
    cluster_free(c);
}

static void report_of_a_snapshot_resumes_by_probing(void **state) {
    (void)state;
    struct cluster *c = with_a_straggler();
    ask_for_one(c);
    cluster_sent(c, 1, 3, 4, true);
    expect(c, "n1>n3 append t1 prev 4/1 n0 commit 4\n");
    cluster_free(c);
}

static void failed_snapshot_is_asked_for_again_at_heartbeat_pace(void **state) {
    (void)state;
    struct cluster *c = with_a_straggler();
    ask_for_one(c);
    cluster_sent(c, 1, 3, 4, false);
    expect(c, "");
    cluster_wake(c, 1);
    assert_int_equal(cluster_at(c, 1)->snapshot_count, 1);
    cluster_free(c);
}

static void silent_replica_is_sent_no_snapshot(void **state) {
    (void)state;
    struct cluster *c = with_a_straggler();
    for (int i = 0; i < 40; i++) {
        cluster_wake(c, 1);
        cluster_drop(c, 1, 3);
        cluster_settle(c);
    }
    assert_int_equal(cluster_at(c, 1)->snapshot_count, 0);
    ask_for_one(c); /* it is back */
    cluster_free(c);
}

static void snapshot_behind_the_commit_index_is_only_acknowledged(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_settle(c);
    cluster_forget_trace(c);
    struct raft_config config = cluster_voters(3);
    assert_int_equal(cluster_install(c, 3, 1, 1, 1, 1, &config), 0);
    expect(c, "n3>n1 ack t1 match 2\n");
    assert_false(c->update.install);
    cluster_free(c);
}

/* §7: "if existing log entry has same index and term as the snapshot's last included entry, retain log entries
 * following it". They may have been acknowledged to a newer leader. */
static void snapshot_that_the_log_matches_only_commits(void **state) {
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(3);
    cluster_create(c, 3, &config);
    cluster_seed(c, 3, "11122", 2, 1);
    cluster_boot(c, 3);
    assert_int_equal(cluster_install(c, 3, 1, 3, 1, 2, &config), 0);
    expect(c, "n3>n1 ack t2 match 3\n"
              "n3 commit 3\n");
    assert_false(c->update.install);
    assert_terms(c, 3, "11122");
    cluster_free(c);
}

/* The entry at the snapshot's index contradicts a committed one: neither it nor what follows can ever be committed. */
static void snapshot_that_the_log_contradicts_replaces_it(void **state) {
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(3);
    cluster_create(c, 3, &config);
    cluster_seed(c, 3, "11111", 1, 1);
    cluster_boot(c, 3);
    assert_int_equal(cluster_install(c, 3, 1, 4, 2, 2, &config), 0);
    expect(c, "n3 config 0\n"
              "n3 persist #1 install 4/2 hard t2 v0\n"
              "n3 commit 4\n");
    assert_int_equal(cluster_status(c, 3).last, 4);
    cluster_free(c);
}

static void snapshot_of_an_older_term_is_still_committed_state(void **state) { /* §5.4.3 */
    (void)state;
    struct cluster *c = cluster_new();
    struct raft_config config = cluster_voters(3);
    cluster_create(c, 3, &config);
    cluster_seed(c, 3, "1", 7, 1);
    cluster_boot(c, 3);
    assert_int_equal(cluster_install(c, 3, 1, 9, 2, 2, &config), 0);
    assert_true(c->update.install);
    cluster_forget_trace(c);
    cluster_persist(c, 3);
    expect(c, "n3>n1 ack t7 match 9\n"); /* which also tells the old leader that its term is over */
    cluster_free(c);
}

/* Trap: a snapshot racing truncation. The confirmation of entries that the installation has thrown away must not
 * acknowledge the installed index. */
static void install_is_not_confirmed_by_earlier_batches(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(cluster_propose(c, 1, "x"), 0);
    }
    cluster_deliver(c, 1, 3); /* entries 2..4, not yet durable */
    struct raft_config config = cluster_voters(3);
    assert_int_equal(cluster_install(c, 3, 1, 9, 1, 1, &config), 0);
    cluster_forget_trace(c);
    size_t batches = cluster_at(c, 3)->batch_count;
    assert_int_equal(batches, 4);
    cluster_persist_some(c, 3, batches - 1);
    expect(c, "");
    cluster_persist(c, 3);
    expect(c, "n3>n1 ack t1 match 9\n");
    cluster_free(c);
}

static void entries_after_an_install_wait_for_it(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    struct raft_config config = cluster_voters(3);
    struct raft_entry *e = raft_entry_new(6, 1, RAFT_ENTRY_COMMAND, "x", 1);
    struct raft_message m = {.kind = RAFT_APPEND, .from = 1, .to = 3, .term = 1, .index = 5, .log_term = 1};
    m.entry_count = 1;
    m.entries = &e;
    assert_int_equal(cluster_install(c, 3, 1, 5, 1, 1, &config), 0);
    assert_int_equal(cluster_receive(c, 3, &m), 0);
    expect(c, "n3 config 0\n"
              "n3 persist #1 install 5/1 hard t1 v0\n"
              "n3 commit 5\n"
              "n3 persist #2 log [6..6]\n");
    cluster_persist_some(c, 3, 1);
    expect(c, "n3>n1 ack t1 match 5\n");
    cluster_persist(c, 3);
    expect(c, "n3>n1 ack t1 match 6\n");
    raft_entry_unref(e);
    cluster_free(c);
}

static void crash_before_the_install_is_durable_keeps_the_old_state(void **state) {
    (void)state;
    struct cluster *c = with_a_straggler();
    struct raft_config config = cluster_voters(3);
    assert_int_equal(cluster_install(c, 3, 1, 4, 1, 1, &config), 0);
    cluster_restart(c, 3);
    assert_int_equal(cluster_status(c, 3).last, 1);
    assert_int_equal(cluster_status(c, 3).commit, 1);
    cluster_free(c);
}

static void awaiting_replica_takes_its_configuration_from_the_snapshot(void **state) {
    (void)state;
    struct cluster *c = with_a_straggler();
    struct raft_config nobody = {.next_id = 1};
    cluster_create(c, 4, &nobody);
    cluster_boot(c, 4);
    struct raft_config wider = cluster_voters(3);
    cluster_row(&wider, 4, RAFT_LEARNER);
    assert_int_equal(cluster_configure(c, 1, &wider), 0);
    cluster_settle(c);
    assert_true(cluster_status(c, 1).progress[2].snapshot);
    struct raft_config config = cluster_voters(3);
    assert_int_equal(cluster_install(c, 4, 1, 4, 1, 1, &config), 0);
    cluster_sent(c, 1, 4, 4, true);
    cluster_settle(c);
    assert_int_equal(raft_config(cluster_at(c, 4)->raft)->index, 5);
    assert_int_equal(cluster_status(c, 4).commit, 5);
    assert_int_equal(raft_wake_ms(cluster_at(c, 4)->raft), UINT64_MAX); /* a learner */
    cluster_free(c);
}

static void impossible_snapshots_are_refused(void **state) {
    (void)state;
    struct cluster *c = with_a_straggler();
    struct raft_config config = cluster_voters(3);
    struct raft_config nobody = {.next_id = 1};
    struct raft_config later = config;
    later.index = 9;
    assert_int_equal(cluster_install(c, 3, 1, 0, 1, 1, &config), ERR_PROTOCOL);
    assert_int_equal(cluster_install(c, 3, 1, 4, 2, 1, &config), ERR_PROTOCOL); /* a term from the future */
    assert_int_equal(cluster_install(c, 3, 1, 4, 1, 1, &nobody), ERR_PROTOCOL);
    assert_int_equal(cluster_install(c, 3, 1, 4, 1, 1, &later), ERR_PROTOCOL);
    assert_int_equal(cluster_install(c, 3, 1, 4, 1, UINT64_MAX, &config), ERR_PROTOCOL);
    assert_int_equal(cluster_install(c, 1, 2, 99, 1, 1, &config), ERR_PROTOCOL); /* the leader lacks nothing */
    expect(c, "");
    cluster_free(c);
}

static void compaction_frees_what_it_drops(void **state) {
    (void)state;
    struct cluster *c = cluster_of(1);
    cluster_elect(c, 1);
    c->tracing = false;
    for (int i = 0; i < 500; i++) {
        assert_int_equal(cluster_propose(c, 1, "0123456789"), 0);
    }
    cluster_settle(c);
    uint64_t bytes = cluster_status(c, 1).log_bytes;
    assert_true(bytes > 5000);
    cluster_compact(c, 1, 251);
    assert_true(cluster_status(c, 1).log_bytes <= bytes / 2);
    assert_int_equal(cluster_status(c, 1).first, 252);
    assert_null(raft_entry_at(cluster_at(c, 1)->raft, 251));
    assert_int_equal(raft_entry_at(cluster_at(c, 1)->raft, 252)->index, 252);
    cluster_compact(c, 1, 501);
    assert_int_equal(cluster_status(c, 1).log_bytes, 0);
    assert_int_equal(cluster_propose(c, 1, "after"), 0);
    cluster_settle(c);
    cluster_restart(c, 1);
    assert_int_equal(cluster_status(c, 1).last, 502);
    cluster_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follower_too_far_behind_needs_a_snapshot_once),
        cmocka_unit_test(install_is_acknowledged_when_durable),
        cmocka_unit_test(acknowledgement_overtaking_the_report_resumes_feeding),
        cmocka_unit_test(report_of_a_snapshot_resumes_by_probing),
        cmocka_unit_test(failed_snapshot_is_asked_for_again_at_heartbeat_pace),
        cmocka_unit_test(silent_replica_is_sent_no_snapshot),
        cmocka_unit_test(snapshot_behind_the_commit_index_is_only_acknowledged),
        cmocka_unit_test(snapshot_that_the_log_matches_only_commits),
        cmocka_unit_test(snapshot_that_the_log_contradicts_replaces_it),
        cmocka_unit_test(snapshot_of_an_older_term_is_still_committed_state),
        cmocka_unit_test(install_is_not_confirmed_by_earlier_batches),
        cmocka_unit_test(entries_after_an_install_wait_for_it),
        cmocka_unit_test(crash_before_the_install_is_durable_keeps_the_old_state),
        cmocka_unit_test(awaiting_replica_takes_its_configuration_from_the_snapshot),
        cmocka_unit_test(impossible_snapshots_are_refused),
        cmocka_unit_test(compaction_frees_what_it_drops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
