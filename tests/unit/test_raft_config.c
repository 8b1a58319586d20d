/* Configurations: §6 of the Raft paper, chapter 4 of Ongaro's thesis. */
#include "raft_cluster.h"

/* ---- as values -------------------------------------------------------------------------------------------------- */

struct holders {
    const char *ids; /* one digit each */
};

static bool holds(void *ctx, uint64_t id) {
    const struct holders *h = ctx;
    return strchr(h->ids, (int)('0' + id)) != NULL;
}

static bool quorum(const struct raft_config *config, const char *ids) {
    struct holders h = {ids};
    return raft_config_quorum(config, holds, &h);
}

static void quorum_is_a_majority_of_voters(void **state) {
    (void)state;
    struct raft_config config = cluster_voters(4);
    cluster_row(&config, 5, RAFT_LEARNER);
    assert_false(quorum(&config, "12"));
    assert_false(quorum(&config, "125"));
    assert_true(quorum(&config, "124"));
    struct raft_config nobody = {.next_id = 1};
    assert_false(quorum(&nobody, "1"));
}

static void joint_quorum_is_a_majority_of_each_half(void **state) { /* §6 */
    (void)state;
    struct raft_config config = {.next_id = 1};
    cluster_row(&config, 1, RAFT_VOTER | RAFT_VOTER_OLD);
    cluster_row(&config, 2, RAFT_VOTER_OLD);
    cluster_row(&config, 3, RAFT_VOTER_OLD | RAFT_LEARNER);
    cluster_row(&config, 4, RAFT_VOTER);
    cluster_row(&config, 5, RAFT_VOTER);
    assert_true(raft_config_joint(&config));
    assert_false(quorum(&config, "123"));
    assert_false(quorum(&config, "145"));
    assert_true(quorum(&config, "124"));
}

static void structural_rules_are_checked(void **state) {
    (void)state;
    struct raft_config good = cluster_voters(3);
    assert_int_equal(raft_config_check(&good), 0);
    struct raft_config bad = good;
    bad.replicas[1].id = 1;
    assert_int_equal(raft_config_check(&bad), ERR_INVALID);
    bad = good;
    bad.replicas[1].node = bad.replicas[0].node;
    assert_int_equal(raft_config_check(&bad), ERR_INVALID);
    bad = good;
    bad.next_id = 3;
    assert_int_equal(raft_config_check(&bad), ERR_INVALID);
    bad = good;
    bad.replicas[0].id = 0;
    assert_int_equal(raft_config_check(&bad), ERR_INVALID);
    bad = good;
    bad.count = RAFT_REPLICAS_MAX + 1;
    assert_int_equal(raft_config_check(&bad), ERR_INVALID);
    static const uint8_t odd[] = {0, RAFT_VOTER | RAFT_LEARNER, 7, 8};
    for (size_t i = 0; i < sizeof odd; i++) {
        bad = good;
        bad.replicas[0].flags = odd[i];
        assert_int_equal(raft_config_check(&bad), ERR_INVALID);
    }
    bad = good;
    for (int i = 0; i < 3; i++) {
        bad.replicas[i].flags = RAFT_LEARNER;
    }
    assert_int_equal(raft_config_check(&bad), ERR_INVALID);
}

static void encoding_is_exact_and_returns(void **state) {
    (void)state;
    struct raft_config config = {.next_id = 1};
    cluster_row(&config, 1, RAFT_VOTER);
    cluster_row(&config, 2, RAFT_LEARNER);
    struct buf b;
    buf_init(&b, 1024);
    raft_config_encode(&config, &b);
    static const uint8_t bytes[] = {0x82, 3, 0x82, 0x83, 1, 0x18, 101, 1, 0x83, 2, 0x18, 102, 4};
    assert_int_equal(b.error, 0);
    assert_int_equal(b.size, sizeof bytes);
    assert_memory_equal(b.bytes, bytes, sizeof bytes);
    struct raft_config back;
    assert_int_equal(raft_config_decode(b.bytes, b.size, 9, &back), 0);
    assert_int_equal(back.index, 9);
    assert_int_equal(back.next_id, 3);
    assert_int_equal(back.count, 2);
    assert_int_equal(back.replicas[1].node, 102);
    for (size_t cut = 0; cut < b.size; cut++) {
        assert_int_not_equal(raft_config_decode(b.bytes, cut, 9, &back), 0);
    }
    b.bytes[7] = 0; /* flags of the first row */
    assert_int_equal(raft_config_decode(b.bytes, b.size, 9, &back), ERR_INVALID);
    buf_release(&b);
}

static void empty_configuration_returns(void **state) { /* of a replica that awaits its first snapshot */
    (void)state;
    struct raft_config nobody = {.next_id = 1};
    struct raft_config back = cluster_voters(2);
    struct buf b;
    buf_init(&b, 1024);
    raft_config_encode(&nobody, &b);
    assert_int_equal(raft_config_decode(b.bytes, b.size, 0, &back), 0);
    assert_int_equal(back.count, 0);
    buf_release(&b);
}

/* ---- in a group ------------------------------------------------------------------------------------------------- */

static void create_awaiting(struct cluster *c, uint64_t id) {
    struct raft_config nobody = {.next_id = 1};
    cluster_create(c, id, &nobody);
    cluster_boot(c, id);
}

/* A leader 1 of voters 1..3, and an empty replica 4. */
static struct cluster *three_and_one(void) {
    struct cluster *c = cluster_of(3);
    create_awaiting(c, 4);
    cluster_elect(c, 1);
    return c;
}

static void configuration_counts_from_the_moment_it_is_appended(void **state) { /* §6; trap: effective on apply */
    (void)state;
    struct cluster *c = three_and_one();
    struct raft_config wider = cluster_voters(3);
    cluster_row(&wider, 4, RAFT_LEARNER);
    assert_int_equal(cluster_configure(c, 1, &wider), 0);
    assert_int_equal(cluster_at(c, 1)->ret_index, 2);
    expect(c, "n1 config 2\n"
              "n1 persist #3 log [2..2]\n"
              "n1>n2 append t1 prev 1/1 n1 commit 1\n"
              "n1>n3 append t1 prev 1/1 n1 commit 1\n"
              "n1>n4 append t1 prev 2/1 n0 commit 1\n");
    assert_int_equal(raft_config(cluster_at(c, 1)->raft)->count, 4);
    assert_int_equal(raft_config_committed(cluster_at(c, 1)->raft)->count, 3);
    cluster_deliver(c, 1, 2);
    expect(c, "n2 config 2\n"
              "n2 persist #3 log [2..2]\n");
    cluster_settle(c);
    assert_int_equal(raft_config_committed(cluster_at(c, 4)->raft)->count, 4);
    assert_int_equal(cluster_status(c, 4).last, 2);
    cluster_free(c);
}

static void learners_do_not_count_for_commits(void **state) {
    (void)state;
    struct cluster *c = three_and_one();
    struct raft_config wider = cluster_voters(3);
    cluster_row(&wider, 4, RAFT_LEARNER);
    assert_int_equal(cluster_configure(c, 1, &wider), 0);
    cluster_settle(c);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_drop(c, 1, 2);
    cluster_drop(c, 1, 3);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 4).last, 3);
    assert_int_equal(cluster_status(c, 1).commit, 2);
    cluster_free(c);
}

static struct raft_config swap_3_for_4(void) {
    struct raft_config joint = {.next_id = 1};
    cluster_row(&joint, 1, RAFT_VOTER | RAFT_VOTER_OLD);
    cluster_row(&joint, 2, RAFT_VOTER | RAFT_VOTER_OLD);
    cluster_row(&joint, 3, RAFT_VOTER_OLD);
    cluster_row(&joint, 4, RAFT_VOTER);
    return joint;
}

static void joint_is_left_by_the_leader_when_committed(void **state) { /* §6 */
    (void)state;
    struct cluster *c = three_and_one();
    struct raft_config joint = swap_3_for_4();
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    cluster_persist(c, 1);
    cluster_deliver(c, 1, 2);
    cluster_persist(c, 2);
    cluster_forget_trace(c);
    cluster_deliver(c, 2, 1); /* 1 and 2: a majority of both halves */
    expect(c, "n1 config 3\n"
              "n1 persist #4 log [3..3]\n"
              "n1>n2 append t1 prev 2/1 n1 commit 2\n"
              "n1 commit 2\n"); /* 4 is still being probed; 3 is not fed any more */
    const struct raft_config *now = raft_config(cluster_at(c, 1)->raft);
    assert_false(raft_config_joint(now));
    assert_int_equal(now->count, 3);
    assert_null(raft_config_find(now, 3));
    assert_int_equal(now->next_id, 5);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 4).commit, 3);
    cluster_free(c);
}

/* The voters may need more than the log before they can do without the old ones; a new leader does not know that they
 * have it, whatever the last one was told. */
static void joint_is_kept_until_the_host_lets_go(void **state) {
    (void)state;
    struct cluster *c = three_and_one();
    struct raft_config joint = swap_3_for_4();
    c->stays_joint = true;
    for (uint64_t id = 1; id <= 4; id++) {
        cluster_restart(c, id);
    }
    cluster_elect(c, 1);
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    uint64_t index = cluster_at(c, 1)->ret_index;
    cluster_settle(c);
    assert_int_equal(raft_config_committed(cluster_at(c, 1)->raft)->index, index);
    assert_true(raft_config_joint(raft_config(cluster_at(c, 1)->raft)));
    const struct raft_event other = {.kind = RAFT_EV_LEAVE, .index = index - 1};
    assert_int_equal(cluster_step(c, 1, other), 0);
    cluster_elect(c, 2);
    const struct raft_event leave = {.kind = RAFT_EV_LEAVE, .index = index};
    assert_int_equal(cluster_step(c, 1, leave), ERR_NOT_LEADER);
    cluster_settle(c);
    assert_true(raft_config_joint(raft_config(cluster_at(c, 2)->raft)));
    assert_int_equal(cluster_step(c, 2, leave), 0);
    cluster_settle(c);
    assert_false(raft_config_joint(raft_config_committed(cluster_at(c, 2)->raft)));
    assert_int_equal(raft_config_committed(cluster_at(c, 4)->raft)->count, 3);
    cluster_free(c);
}

static void joint_commits_need_both_halves(void **state) { /* §6 */
    (void)state;
    struct cluster *c = cluster_of(1);
    create_awaiting(c, 2);
    create_awaiting(c, 3);
    cluster_elect(c, 1);
    struct raft_config joint = {.next_id = 1};
    cluster_row(&joint, 1, RAFT_VOTER | RAFT_VOTER_OLD);
    cluster_row(&joint, 2, RAFT_VOTER);
    cluster_row(&joint, 3, RAFT_VOTER);
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    cluster_persist(c, 1);
    assert_int_equal(cluster_status(c, 1).commit, 1); /* the old half alone */
    cluster_free(c);

    c = cluster_of(2);
    create_awaiting(c, 3);
    cluster_elect(c, 1);
    joint = (struct raft_config){.next_id = 1};
    cluster_row(&joint, 1, RAFT_VOTER | RAFT_VOTER_OLD);
    cluster_row(&joint, 2, RAFT_VOTER_OLD);
    cluster_row(&joint, 3, RAFT_VOTER);
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    cluster_drop(c, 1, 2);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 3).last, 2);
    assert_int_equal(cluster_status(c, 1).commit, 1); /* the new half alone */
    cluster_free(c);
}

static void new_leader_finishes_a_joint_it_finds(void **state) { /* §6 */
    (void)state;
    struct cluster *c = three_and_one();
    struct raft_config joint = swap_3_for_4();
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    cluster_persist(c, 1);
    cluster_deliver(c, 1, 0);
    cluster_persist_all(c);
    cluster_drop(c, 0, 0);
    cluster_crash(c, 1);
    assert_true(raft_config_joint(raft_config(cluster_at(c, 2)->raft)));
    c->now_ms += CLUSTER_TIMING.election_max_ms;
    cluster_campaign(c, 2);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 2), RAFT_LEADER);
    assert_false(raft_config_joint(raft_config_committed(cluster_at(c, 2)->raft)));
    assert_int_equal(raft_config_committed(cluster_at(c, 4)->raft)->count, 3);
    cluster_free(c);
}

static void truncation_rolls_the_configuration_back(void **state) { /* §6 */
    (void)state;
    struct cluster *c = three_and_one();
    struct raft_config joint = swap_3_for_4();
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    cluster_persist(c, 1);
    cluster_drop(c, 0, 0); /* nobody else ever hears of it */
    assert_int_equal(raft_config(cluster_at(c, 1)->raft)->index, 2);
    cluster_crash(c, 1);
    c->now_ms += CLUSTER_TIMING.election_max_ms;
    cluster_campaign(c, 2);
    cluster_settle(c);
    cluster_boot(c, 1);
    assert_int_equal(raft_config(cluster_at(c, 1)->raft)->index, 2);
    cluster_wake(c, 2);
    cluster_settle(c);
    assert_terms(c, 1, "12");
    assert_int_equal(raft_config(cluster_at(c, 1)->raft)->index, 0);
    assert_int_equal(raft_config(cluster_at(c, 1)->raft)->count, 3);
    cluster_free(c);
}

static void change_waits_for_an_entry_of_the_own_term(void **state) { /* trap: change before the own-term commit */
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    c->now_ms += CLUSTER_TIMING.election_max_ms;
    cluster_campaign(c, 2);
    cluster_until(c, cluster_role(c, 2) == RAFT_LEADER);
    struct raft_config wider = cluster_voters(3);
    cluster_row(&wider, 4, RAFT_LEARNER);
    assert_false(cluster_status(c, 2).own_term_committed);
    assert_int_equal(cluster_configure(c, 2, &wider), ERR_BUSY);
    assert_int_equal(cluster_configure(c, 3, &wider), ERR_NOT_LEADER);
    assert_int_equal(c->update.message_count, 0);
    cluster_settle(c);
    assert_int_equal(cluster_configure(c, 2, &wider), 0);
    cluster_free(c);
}

static void one_change_at_a_time(void **state) { /* §6 */
    (void)state;
    struct cluster *c = three_and_one();
    struct raft_config wider = cluster_voters(3);
    cluster_row(&wider, 4, RAFT_LEARNER);
    struct raft_config same = cluster_voters(3);
    assert_int_equal(cluster_configure(c, 1, &wider), 0);
    assert_int_equal(cluster_configure(c, 1, &same), ERR_BUSY); /* not committed */
    cluster_settle(c);
    struct raft_config joint = swap_3_for_4();
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    cluster_persist(c, 1);
    cluster_deliver(c, 1, 2);
    cluster_persist(c, 2);
    cluster_deliver(c, 2, 1); /* the joint is committed, the final one appended and not committed */
    assert_false(raft_config_joint(raft_config(cluster_at(c, 1)->raft)));
    assert_int_equal(cluster_configure(c, 1, &same), ERR_BUSY);
    cluster_free(c);
}

static void voters_change_only_through_a_joint(void **state) {
    (void)state;
    struct cluster *c = three_and_one();
    struct raft_config want = cluster_voters(4); /* a fourth voter at once */
    assert_int_equal(cluster_configure(c, 1, &want), ERR_INVALID);
    want = cluster_voters(2); /* one dropped */
    want.next_id = 4;
    assert_int_equal(cluster_configure(c, 1, &want), ERR_INVALID);
    want = cluster_voters(3); /* an old half that is not the present one */
    want.replicas[0].flags |= RAFT_VOTER_OLD;
    want.replicas[1].flags |= RAFT_VOTER_OLD;
    assert_int_equal(cluster_configure(c, 1, &want), ERR_INVALID);
    want = swap_3_for_4(); /* one too many in the old half */
    want.replicas[3].flags |= RAFT_VOTER_OLD;
    assert_int_equal(cluster_configure(c, 1, &want), ERR_INVALID);
    expect(c, "");
    cluster_free(c);
}

static void replica_ids_are_never_reused_nor_moved(void **state) { /* trap: removed replica with an old id */
    (void)state;
    struct cluster *c = three_and_one();
    struct raft_config want = cluster_voters(3);
    cluster_row(&want, 4, RAFT_LEARNER);
    assert_int_equal(cluster_configure(c, 1, &want), 0);
    cluster_settle(c);
    struct raft_config without = cluster_voters(3);
    without.next_id = 5;
    assert_int_equal(cluster_configure(c, 1, &without), 0);
    cluster_settle(c);
    assert_int_equal(cluster_configure(c, 1, &want), ERR_INVALID); /* 4 again */
    struct raft_config shrunk = cluster_voters(3);
    assert_int_equal(cluster_configure(c, 1, &shrunk), ERR_INVALID); /* next_id falls */
    struct raft_config moved = without;
    moved.replicas[2].node = 77;
    assert_int_equal(cluster_configure(c, 1, &moved), ERR_INVALID);
    cluster_free(c);
}

/* The leader takes itself out: it leads until the final configuration is committed, tells the others, and goes. */
static void leader_that_is_left_out_resigns(void **state) { /* §6, thesis §4.2.2 */
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    struct raft_config joint = cluster_voters(3);
    joint.replicas[0].flags = RAFT_VOTER_OLD;
    joint.replicas[1].flags |= RAFT_VOTER_OLD;
    joint.replicas[2].flags |= RAFT_VOTER_OLD;
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    cluster_until(c, !raft_config_joint(raft_config(cluster_at(c, 1)->raft)));
    assert_int_equal(cluster_role(c, 1), RAFT_LEADER);
    cluster_settle(c);
    assert_int_equal(cluster_role(c, 1), RAFT_FOLLOWER);
    assert_int_equal(raft_wake_ms(cluster_at(c, 1)->raft), UINT64_MAX);
    assert_int_equal(cluster_role(c, 2), RAFT_LEADER); /* it was told to take over: no time has passed */
    assert_int_equal(cluster_status(c, 2).commit, 4);
    assert_int_equal(cluster_status(c, 3).commit, 4);
    cluster_free(c);
}

static void leader_left_out_does_not_count_itself(void **state) { /* thesis §4.2.2 */
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    struct raft_config joint = cluster_voters(3);
    joint.replicas[0].flags = RAFT_VOTER_OLD;
    joint.replicas[1].flags |= RAFT_VOTER_OLD;
    joint.replicas[2].flags |= RAFT_VOTER_OLD;
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    cluster_until(c, !raft_config_joint(raft_config(cluster_at(c, 1)->raft)));
    cluster_drop(c, 1, 3);
    for (int i = 0; i < 6; i++) {
        cluster_persist_all(c);
        cluster_drop(c, 1, 3);
        cluster_deliver(c, 0, 0);
    }
    assert_int_equal(cluster_status(c, 2).last, 3);
    assert_int_equal(cluster_status(c, 1).commit, 2); /* 1 and 2 hold it; of the voters 2 and 3 only one does */
    cluster_free(c);
}

static void demoted_voter_becomes_a_learner(void **state) {
    (void)state;
    struct cluster *c = cluster_of(3);
    cluster_elect(c, 1);
    struct raft_config joint = cluster_voters(3);
    joint.replicas[0].flags |= RAFT_VOTER_OLD;
    joint.replicas[1].flags |= RAFT_VOTER_OLD;
    joint.replicas[2].flags = RAFT_VOTER_OLD | RAFT_LEARNER;
    assert_int_equal(cluster_configure(c, 1, &joint), 0);
    cluster_settle(c);
    const struct raft_config *now = raft_config_committed(cluster_at(c, 3)->raft);
    assert_int_equal(raft_config_find(now, 3)->flags, RAFT_LEARNER);
    assert_int_equal(raft_wake_ms(cluster_at(c, 3)->raft), UINT64_MAX);
    cluster_free(c);
}

static void compaction_keeps_the_configuration_in_force_at_the_base(void **state) {
    (void)state;
    struct cluster *c = three_and_one();
    struct raft_config wider = cluster_voters(3);
    cluster_row(&wider, 4, RAFT_LEARNER);
    assert_int_equal(cluster_configure(c, 1, &wider), 0);
    assert_int_equal(cluster_propose(c, 1, "x"), 0);
    cluster_settle(c);
    uint64_t index, term;
    const struct raft_config *config;
    cluster_compact(c, 1, 1);
    raft_base(cluster_at(c, 1)->raft, &index, &term, &config);
    assert_int_equal(config->count, 3);
    cluster_compact(c, 1, 3);
    raft_base(cluster_at(c, 1)->raft, &index, &term, &config);
    assert_int_equal(index, 3);
    assert_int_equal(config->index, 2);
    assert_int_equal(config->count, 4);
    cluster_free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quorum_is_a_majority_of_voters),
        cmocka_unit_test(joint_quorum_is_a_majority_of_each_half),
        cmocka_unit_test(structural_rules_are_checked),
        cmocka_unit_test(encoding_is_exact_and_returns),
        cmocka_unit_test(empty_configuration_returns),
        cmocka_unit_test(configuration_counts_from_the_moment_it_is_appended),
        cmocka_unit_test(learners_do_not_count_for_commits),
        cmocka_unit_test(joint_is_left_by_the_leader_when_committed),
        cmocka_unit_test(joint_is_kept_until_the_host_lets_go),
        cmocka_unit_test(joint_commits_need_both_halves),
        cmocka_unit_test(new_leader_finishes_a_joint_it_finds),
        cmocka_unit_test(truncation_rolls_the_configuration_back),
        cmocka_unit_test(change_waits_for_an_entry_of_the_own_term),
        cmocka_unit_test(one_change_at_a_time),
        cmocka_unit_test(voters_change_only_through_a_joint),
        cmocka_unit_test(replica_ids_are_never_reused_nor_moved),
        cmocka_unit_test(leader_that_is_left_out_resigns),
        cmocka_unit_test(leader_left_out_does_not_count_itself),
        cmocka_unit_test(demoted_voter_becomes_a_learner),
        cmocka_unit_test(compaction_keeps_the_configuration_in_force_at_the_base),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
