/* What replicas show is compared with what all of them showed before: each rule, kept and broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "ledger.h"

static struct raft_config config_of(uint64_t index, uint64_t next_id, uint32_t count, const uint8_t *flags) {
    struct raft_config c = {.index = index, .next_id = next_id, .count = count};
    for (uint32_t i = 0; i < count; i++) {
        c.replicas[i] = (struct raft_replica){.id = i + 1, .node = i + 1, .flags = flags[i]};
    }
    return c;
}

static void begin(struct ledger *l) {
    const uint8_t flags[] = {RAFT_VOTER};
    const struct raft_config c = config_of(1, 2, 1, flags);
    *l = (struct ledger){0};
    ledger_begin(l, 1, 1, &c);
}

static const char *see(struct ledger *l, uint64_t index, uint64_t term, uint64_t before, const char *text) {
    struct raft_entry *e = raft_entry_new(index, term, RAFT_ENTRY_COMMAND, text, strlen(text));
    const char *wrong = ledger_entry(l, e, before);
    raft_entry_unref(e);
    return wrong;
}

static const char *commit(struct ledger *l, uint64_t index, uint64_t term) {
    struct raft_entry *e = raft_entry_new(index, term, RAFT_ENTRY_COMMAND, "", 0);
    const char *wrong = ledger_commit(l, e, term);
    raft_entry_unref(e);
    return wrong;
}

static const char *commit_config(struct ledger *l, const struct raft_config *c) {
    struct buf b;
    buf_init(&b, 4096);
    raft_config_encode(c, &b);
    struct raft_entry *e = raft_entry_new(c->index, 2, RAFT_ENTRY_CONFIG, b.bytes, b.size);
    buf_release(&b);
    const char *wrong = ledger_entry(l, e, c->index == 2 ? 1 : 2);
    wrong = wrong != NULL ? wrong : ledger_commit(l, e, 2);
    raft_entry_unref(e);
    return wrong;
}

static void logs_match(void **state) {
    (void)state;
    struct ledger l;
    begin(&l);
    assert_null(see(&l, 2, 2, 1, "a"));
    assert_null(see(&l, 2, 2, 1, "a"));
    assert_null(see(&l, 2, 3, 1, "b"));
    assert_null(see(&l, 3, 3, 3, "c"));
    assert_non_null(see(&l, 2, 2, 1, "z"));
    assert_non_null(see(&l, 3, 3, 2, "c"));
    ledger_release(&l);
}

static void what_is_committed_stays(void **state) {
    (void)state;
    struct ledger l;
    begin(&l);
    assert_null(see(&l, 2, 2, 1, "a"));
    assert_null(see(&l, 2, 3, 1, "b"));
    assert_null(see(&l, 3, 3, 3, "c"));
    assert_null(see(&l, 4, 3, 3, "d"));
    assert_null(commit(&l, 2, 3));
    assert_null(commit(&l, 2, 3));
    assert_non_null(commit(&l, 2, 2));
    assert_non_null(commit(&l, 4, 3)); /* and 3 is not */
    ledger_release(&l);
}

static void a_snapshot_covers_what_is_committed(void **state) {
    (void)state;
    struct ledger l;
    begin(&l);
    const struct raft_config first = *ledger_config(&l);
    assert_null(see(&l, 2, 2, 1, "a"));
    assert_non_null(ledger_base(&l, 2, 2, &first));
    assert_null(commit(&l, 2, 2));
    assert_null(ledger_base(&l, 2, 2, &first));
    assert_non_null(ledger_base(&l, 2, 3, &first));
    const struct raft_config other = {.index = 2, .next_id = 9, .count = 0};
    assert_non_null(ledger_base(&l, 2, 2, &other));
    ledger_release(&l);
}

static void one_leads_in_a_term(void **state) {
    (void)state;
    struct ledger l;
    begin(&l);
    assert_null(ledger_lead(&l, 2, 1, 1));
    assert_null(ledger_lead(&l, 2, 1, 1));
    assert_null(ledger_lead(&l, 3, 2, 1));
    assert_non_null(ledger_lead(&l, 2, 3, 1));
    assert_non_null(ledger_lead(&l, 3, 2, 2)); /* it was started anew, and must not lead again in that term */
    ledger_release(&l);
}

static void a_replica_id_has_one_home(void **state) {
    (void)state;
    struct ledger l;
    begin(&l);
    assert_null(ledger_holder(&l, 7, 1));
    assert_null(ledger_holder(&l, 7, 1));
    assert_null(ledger_holder(&l, 40, 2));
    assert_non_null(ledger_holder(&l, 7, 2));
    ledger_release(&l);
}

static void configurations_form_a_chain(void **state) {
    (void)state;
    const uint8_t learner[] = {RAFT_VOTER, RAFT_LEARNER}, joint[] = {RAFT_VOTER_OLD, RAFT_VOTER},
                  last[] = {0, RAFT_VOTER};
    struct ledger l;
    begin(&l);
    struct raft_config c = config_of(2, 3, 2, learner);
    assert_null(commit_config(&l, &c));
    c = config_of(3, 3, 2, joint);
    assert_null(commit_config(&l, &c));
    c = config_of(4, 3, 2, last);
    c.replicas[0] = c.replicas[1];
    c.count = 1;
    assert_null(commit_config(&l, &c));
    assert_int_equal(ledger_config(&l)->index, 4);
    ledger_release(&l);
}

static void voters_change_only_by_a_joint_configuration(void **state) {
    (void)state;
    const uint8_t two[] = {RAFT_VOTER, RAFT_VOTER};
    struct ledger l;
    begin(&l);
    struct raft_config c = config_of(2, 3, 2, two);
    assert_non_null(commit_config(&l, &c));
    ledger_release(&l);
}

static void ids_are_not_given_out_again(void **state) {
    (void)state;
    const uint8_t learner[] = {RAFT_VOTER, RAFT_LEARNER}, alone[] = {RAFT_VOTER};
    struct ledger l;
    begin(&l);
    struct raft_config c = config_of(2, 3, 2, learner);
    assert_null(commit_config(&l, &c));
    c = config_of(3, 3, 1, alone);
    assert_null(commit_config(&l, &c));
    c = config_of(4, 3, 2, learner);
    assert_non_null(commit_config(&l, &c));
    ledger_release(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_match),
        cmocka_unit_test(what_is_committed_stays),
        cmocka_unit_test(a_snapshot_covers_what_is_committed),
        cmocka_unit_test(one_leads_in_a_term),
        cmocka_unit_test(a_replica_id_has_one_home),
        cmocka_unit_test(configurations_form_a_chain),
        cmocka_unit_test(voters_change_only_by_a_joint_configuration),
        cmocka_unit_test(ids_are_not_given_out_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
