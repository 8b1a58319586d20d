/* The checker itself: it must accept what an atomic register can do, and refuse what it cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "linear.h"
#include "prng.h"

#define STEPS 20000000

/* Short words for histories: times are call and return. */
static struct linear_op put(uint64_t call, uint64_t ret, uint64_t content) {
    return (struct linear_op){
        .call_us = call, .return_us = ret, .kind = LINEAR_PUT, .content = content, .version = content};
}
static struct linear_op get(uint64_t call, uint64_t ret, uint64_t content) {
    return (struct linear_op){.call_us = call,
                              .return_us = ret,
                              .kind = LINEAR_GET,
                              .content = content,
                              .version = content,
                              .result = content == 0 ? LINEAR_MISSING : LINEAR_DONE};
}
static struct linear_op rm(uint64_t call, uint64_t ret, enum linear_result result) {
    return (struct linear_op){.call_us = call, .return_us = ret, .kind = LINEAR_REMOVE, .result = result};
}
static struct linear_op lost(struct linear_op op) {
    op.return_us = LINEAR_NEVER;
    op.result = LINEAR_UNKNOWN;
    return op;
}
static struct linear_op refused(struct linear_op op) {
    op.result = LINEAR_REFUSED;
    return op;
}
static struct linear_op if_absent(struct linear_op op) {
    op.condition = LINEAR_ABSENT;
    return op;
}
static struct linear_op if_match(struct linear_op op, uint64_t version) {
    op.condition = LINEAR_MATCH;
    op.match = version;
    return op;
}
static struct linear_op unseen_version(struct linear_op op) {
    op.version = 0;
    return op;
}

#define HISTORY(...) ((const struct linear_op[]){__VA_ARGS__})
#define EXPECT(verdict, ...)                                                                                      \
    assert_int_equal(                                                                                             \
        linear_check(HISTORY(__VA_ARGS__), sizeof(HISTORY(__VA_ARGS__)) / sizeof(struct linear_op), STEPS, NULL), \
        verdict)

static void an_empty_history_is_fine(void **state) {
    (void)state;
    assert_int_equal(linear_check(NULL, 0, STEPS, NULL), LINEAR_YES);
}

static void reads_see_the_last_write(void **state) {
    (void)state;
    EXPECT(LINEAR_YES, get(0, 1, 0), put(2, 3, 7), get(4, 5, 7), put(6, 7, 8), get(8, 9, 8));
    EXPECT(LINEAR_NO, put(2, 3, 7), get(4, 5, 0));                        /* lost */
    EXPECT(LINEAR_NO, put(2, 3, 7), put(4, 5, 8), get(6, 7, 7));          /* stale */
    EXPECT(LINEAR_NO, get(0, 1, 7), put(2, 3, 7));                        /* from the future */
    EXPECT(LINEAR_NO, put(2, 3, 7), get(4, 5, 9));                        /* out of nowhere */
    EXPECT(LINEAR_NO, put(2, 3, 7), rm(4, 5, LINEAR_DONE), get(6, 7, 7)); /* back from the dead */
    EXPECT(LINEAR_YES, put(2, 3, 7), rm(4, 5, LINEAR_DONE), get(6, 7, 0));
}

static void overlapping_operations_may_come_in_any_order(void **state) {
    (void)state;
    EXPECT(LINEAR_YES, put(0, 10, 1), put(0, 10, 2), get(11, 12, 1));
    EXPECT(LINEAR_YES, put(0, 10, 1), put(0, 10, 2), get(11, 12, 2));
    EXPECT(LINEAR_YES, put(0, 10, 1), get(1, 2, 0), get(3, 4, 1));
    EXPECT(LINEAR_NO, put(0, 10, 1), get(1, 2, 1), get(3, 4, 0)); /* a read must not go back */
    EXPECT(LINEAR_NO, put(0, 10, 1), put(0, 10, 2), get(11, 12, 1), get(13, 14, 2));
    EXPECT(LINEAR_YES, put(0, 10, 1), get(10, 12, 0)); /* touching is overlapping */
}

static void two_readers_must_agree_on_the_order(void **state) {
    (void)state;
    EXPECT(LINEAR_YES, put(0, 20, 1), put(0, 20, 2), get(1, 2, 1), get(3, 4, 2), get(5, 6, 2));
    EXPECT(LINEAR_NO, put(0, 20, 1), put(0, 20, 2), get(1, 2, 1), get(3, 4, 2), get(5, 6, 1));
}

static void an_unknown_outcome_may_take_effect_late_or_never(void **state) {
    (void)state;
    EXPECT(LINEAR_YES, lost(put(0, 1, 1)), get(2, 3, 0));
    EXPECT(LINEAR_YES, lost(put(0, 1, 1)), get(2, 3, 0), get(4, 5, 1));
    EXPECT(LINEAR_YES, lost(put(0, 1, 1)), put(2, 3, 2), get(4, 5, 1));
    EXPECT(LINEAR_NO, lost(put(0, 1, 1)), get(2, 3, 1), get(4, 5, 0));               /* once only */
    EXPECT(LINEAR_NO, lost(put(0, 1, 1)), get(2, 3, 1), put(4, 5, 2), get(6, 7, 1)); /* not twice */
    EXPECT(LINEAR_NO, get(0, 1, 1), lost(put(2, 3, 1)));                             /* not before its call */
    EXPECT(LINEAR_YES, put(0, 1, 1), lost(rm(2, 3, LINEAR_DONE)), get(4, 5, 1), get(6, 7, 0));
    EXPECT(LINEAR_NO, put(0, 1, 1), lost(rm(2, 3, LINEAR_DONE)), get(4, 5, 0), get(6, 7, 1));
    EXPECT(LINEAR_YES, lost(get(0, 1, 1)));
}

static void put_if_absent_has_one_winner(void **state) {
    (void)state;
    EXPECT(LINEAR_YES, if_absent(put(0, 10, 1)), refused(if_absent(put(0, 10, 2))), get(11, 12, 1));
    EXPECT(LINEAR_NO, if_absent(put(0, 10, 1)), if_absent(put(0, 10, 2)));
    EXPECT(LINEAR_NO, refused(if_absent(put(0, 10, 2))));
    EXPECT(LINEAR_NO, if_absent(put(0, 1, 1)), refused(if_absent(put(2, 3, 2))), get(4, 5, 2));
    EXPECT(LINEAR_YES, lost(put(0, 1, 1)), refused(if_absent(put(2, 3, 2))));
    EXPECT(LINEAR_YES, if_absent(put(0, 1, 1)), rm(2, 3, LINEAR_DONE), if_absent(put(4, 5, 2)));
}

static void put_if_match_needs_the_version(void **state) {
    (void)state;
    EXPECT(LINEAR_YES, put(0, 1, 1), if_match(put(2, 3, 2), 1), get(4, 5, 2));
    EXPECT(LINEAR_NO, put(0, 1, 1), if_match(put(2, 3, 2), 9));
    EXPECT(LINEAR_NO, put(0, 1, 1), refused(if_match(put(2, 3, 2), 1)));
    EXPECT(LINEAR_YES, put(0, 1, 1), refused(if_match(put(2, 3, 2), 9)), get(4, 5, 1));
    EXPECT(LINEAR_NO, put(0, 1, 1), if_match(put(2, 9, 2), 1), if_match(put(2, 9, 3), 1)); /* a lost update */
    EXPECT(LINEAR_YES, refused(if_match(put(2, 9, 3), 1)));
    EXPECT(LINEAR_NO, if_match(put(2, 9, 3), 1));
    EXPECT(LINEAR_YES, unseen_version(lost(put(0, 1, 1))), if_match(put(2, 3, 2), 77));
}

static void removal_says_whether_there_was_something(void **state) {
    (void)state;
    EXPECT(LINEAR_YES, rm(0, 1, LINEAR_MISSING), put(2, 3, 1), rm(4, 5, LINEAR_DONE), rm(6, 7, LINEAR_MISSING));
    EXPECT(LINEAR_NO, rm(0, 1, LINEAR_DONE));
    EXPECT(LINEAR_NO, put(0, 1, 1), rm(2, 3, LINEAR_MISSING));
    EXPECT(LINEAR_NO, put(0, 1, 1), rm(2, 9, LINEAR_DONE), rm(2, 9, LINEAR_DONE));
    EXPECT(LINEAR_YES, put(0, 1, 1), if_match(rm(2, 3, LINEAR_DONE), 1));
    EXPECT(LINEAR_NO, put(0, 1, 1), if_match(rm(2, 3, LINEAR_DONE), 2));
    EXPECT(LINEAR_YES, put(0, 1, 1), refused(if_match(rm(2, 3, LINEAR_DONE), 2)));
}

static void equal_contents_are_told_apart_by_their_versions(void **state) {
    (void)state;
    struct linear_op first = put(0, 1, 5), second = put(2, 3, 5), read = get(4, 5, 5);
    first.version = 10;
    second.version = 11;
    read.version = 11;
    EXPECT(LINEAR_YES, first, second, read);
    read.version = 10;
    EXPECT(LINEAR_NO, first, second, read);
    read.content = 0; /* only the version was asked for */
    EXPECT(LINEAR_NO, first, second, read);
    read.version = 11;
    EXPECT(LINEAR_YES, first, second, read);
}

static void the_culprit_is_named(void **state) {
    (void)state;
    size_t culprit = 99;
    const struct linear_op ops[] = {put(0, 1, 1), get(2, 3, 1), get(4, 5, 0), get(6, 7, 1)};
    assert_int_equal(linear_check(ops, 4, STEPS, &culprit), LINEAR_NO);
    assert_int_equal(culprit, 2);
    assert_int_equal(linear_check(ops, 4, 2, NULL), LINEAR_UNDECIDED);
}

/* A real register, with operations that take effect at a random moment between call and return. */
static size_t make_history(struct prng *p, struct linear_op *ops, size_t count, uint32_t lost_millionths) {
    uint64_t now = 20, there = 0;
    for (size_t i = 0; i < count; i++) {
        struct linear_op *op = &ops[i];
        now += 1 + prng_below(p, 4);
        uint64_t call = now - prng_below(p, 12);
        uint64_t kind = prng_below(p, 10);
        *op = kind < 5 ? get(call, 0, there) : kind < 9 ? put(call, 0, i + 1) : rm(call, 0, LINEAR_DONE);
        if (op->kind == LINEAR_PUT && prng_chance(p, 300000)) {
            *op = if_absent(*op);
            op->result = there != 0 ? LINEAR_REFUSED : LINEAR_DONE;
        }
        if (op->kind == LINEAR_REMOVE && there == 0) {
            op->result = LINEAR_MISSING;
        }
        if (op->result == LINEAR_DONE && op->kind != LINEAR_GET) {
            there = op->kind == LINEAR_PUT ? i + 1 : 0;
        }
        op->return_us = now + prng_below(p, 12);
        if (op->kind != LINEAR_GET && prng_chance(p, lost_millionths)) {
            *op = unseen_version(lost(*op));
        }
    }
    return count;
}

static void random_true_histories_pass_and_broken_ones_fail(void **state) {
    (void)state;
    struct linear_op ops[300];
    int found = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct prng p;
        prng_init(&p, seed, PRNG_SCENARIO, 0);
        size_t count = make_history(&p, ops, 300, 50000);
        assert_int_equal(linear_check(ops, count, STEPS, NULL), LINEAR_YES);
        size_t victim = 200;
        while (ops[victim].kind != LINEAR_GET || ops[victim].result != LINEAR_DONE) {
            victim++;
        }
        ops[victim].content = ops[victim].version = 999999;
        assert_int_equal(linear_check(ops, count, STEPS, NULL), LINEAR_NO);
        found++;
    }
    assert_int_equal(found, 60);
}

static void many_open_outcomes_can_be_decided(void **state) {
    (void)state;
    struct linear_op ops[1000];
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct prng p;
        prng_init(&p, seed, PRNG_SCENARIO, 1);
        size_t count = make_history(&p, ops, 1000, 200000);
        assert_int_equal(linear_check(ops, count, STEPS, NULL), LINEAR_YES);
    }
}

static void a_known_version_is_only_that_put(void **state) {
    (void)state;
    EXPECT(LINEAR_NO, put(0, 1, 1), unseen_version(lost(put(2, 3, 2))), put(4, 5, 3), if_match(put(6, 7, 4), 1));
    EXPECT(LINEAR_YES, put(0, 1, 1), unseen_version(lost(put(2, 3, 2))), put(4, 5, 3), if_match(put(6, 7, 4), 3));
    EXPECT(LINEAR_YES, put(0, 1, 1), unseen_version(lost(put(2, 3, 2))), if_match(put(6, 7, 4), 9));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_history_is_fine),
        cmocka_unit_test(reads_see_the_last_write),
        cmocka_unit_test(overlapping_operations_may_come_in_any_order),
        cmocka_unit_test(two_readers_must_agree_on_the_order),
        cmocka_unit_test(an_unknown_outcome_may_take_effect_late_or_never),
        cmocka_unit_test(put_if_absent_has_one_winner),
        cmocka_unit_test(put_if_match_needs_the_version),
        cmocka_unit_test(removal_says_whether_there_was_something),
        cmocka_unit_test(equal_contents_are_told_apart_by_their_versions),
        cmocka_unit_test(the_culprit_is_named),
        cmocka_unit_test(many_open_outcomes_can_be_decided),
        cmocka_unit_test(a_known_version_is_only_that_put),
        cmocka_unit_test(random_true_histories_pass_and_broken_ones_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
