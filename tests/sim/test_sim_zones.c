/* The checker of long histories: by hand, and against the other checker on small random ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "linear.h"
#include "prng.h"
#include "zones.h"

static struct zones_op put(uint64_t call, uint64_t ret, uint64_t value) {
    return (struct zones_op){.call = call, .ret = ret, .value = value, .writes = true};
}
static struct zones_op lost(uint64_t call, uint64_t value) {
    return put(call, ZONES_NEVER, value);
}
static struct zones_op get(uint64_t call, uint64_t ret, uint64_t value) {
    return (struct zones_op){.call = call, .ret = ret, .value = value};
}

#define HISTORY(...) ((const struct zones_op[]){__VA_ARGS__})
#define CHECKED(fault, ...) \
    zones_check(HISTORY(__VA_ARGS__), sizeof(HISTORY(__VA_ARGS__)) / sizeof(struct zones_op), fault)
#define EXPECT(verdict, ...)                                       \
    do {                                                           \
        struct zones_fault ignored;                                \
        assert_int_equal(CHECKED(&ignored, __VA_ARGS__), verdict); \
    } while (0)

static void an_empty_history_is_fine(void **state) {
    (void)state;
    assert_int_equal(zones_check(NULL, 0, NULL), ZONES_LINEARIZABLE);
}

static void reads_see_the_last_write(void **state) {
    (void)state;
    EXPECT(ZONES_LINEARIZABLE, get(1, 2, 0), put(3, 4, 7), get(5, 6, 7), put(7, 8, 9), get(9, 10, 9), get(11, 12, 9));
    EXPECT(ZONES_OUT_OF_ORDER, put(3, 4, 7), get(5, 6, 0));               /* lost */
    EXPECT(ZONES_OUT_OF_ORDER, put(3, 4, 7), put(5, 6, 8), get(7, 8, 7)); /* stale */
    EXPECT(ZONES_FROM_FUTURE, get(1, 2, 7), put(3, 4, 7));
    EXPECT(ZONES_NO_WRITE, put(3, 4, 7), get(5, 6, 9));
    EXPECT(ZONES_WRITTEN_TWICE, put(3, 4, 7), put(5, 6, 7));
}

static void overlapping_operations_may_come_in_any_order(void **state) {
    (void)state;
    EXPECT(ZONES_LINEARIZABLE, put(1, 10, 1), put(1, 10, 2), get(11, 12, 1));
    EXPECT(ZONES_LINEARIZABLE, put(1, 10, 1), put(1, 10, 2), get(11, 12, 2));
    EXPECT(ZONES_LINEARIZABLE, put(1, 10, 1), get(2, 3, 0), get(4, 5, 1));
    EXPECT(ZONES_OUT_OF_ORDER, put(1, 10, 1), get(2, 3, 1), get(4, 5, 0)); /* a read must not go back */
    EXPECT(ZONES_OUT_OF_ORDER, put(1, 10, 1), put(1, 10, 2), get(11, 12, 1), get(13, 14, 2));
    EXPECT(ZONES_LINEARIZABLE, put(1, 10, 1), get(10, 12, 0)); /* touching is overlapping */
}

static void an_unknown_outcome_may_take_effect_late_or_never(void **state) {
    (void)state;
    EXPECT(ZONES_LINEARIZABLE, lost(1, 1), get(2, 3, 0));
    EXPECT(ZONES_LINEARIZABLE, lost(1, 1), put(2, 3, 2), get(4, 5, 2), get(6, 7, 1), get(8, 9, 1));
    EXPECT(ZONES_OUT_OF_ORDER, lost(1, 1), get(2, 3, 1), get(4, 5, 0));               /* happened, and undone */
    EXPECT(ZONES_OUT_OF_ORDER, lost(1, 1), get(2, 3, 1), put(4, 5, 2), get(6, 7, 1)); /* not twice */
    EXPECT(ZONES_FROM_FUTURE, get(1, 2, 1), lost(3, 1));
}

static void the_culprit_is_named(void **state) {
    (void)state;
    struct zones_fault f;
    assert_int_equal(CHECKED(&f, put(3, 4, 7), put(5, 6, 8), get(7, 8, 7)), ZONES_OUT_OF_ORDER);
    assert_int_equal(f.culprit, 2);
    assert_int_equal(f.own_first, 0);
    assert_int_equal(f.other, 1);
    assert_int_equal(f.other_first, 1);
    assert_int_equal(CHECKED(&f, get(1, 2, 7), put(3, 4, 7)), ZONES_FROM_FUTURE);
    assert_int_equal(f.culprit, 0);
    assert_int_equal(f.other, 1);
    assert_int_equal(CHECKED(&f, put(1, 2, 7), get(3, 4, 7), get(5, 6, 9)), ZONES_NO_WRITE);
    assert_int_equal(f.culprit, 2);
}

/* ---- at random ----------------------------------------------------------------------------------------------------
 */

#define RANDOM_OPS 12
#define RANDOM_HISTORIES 60000

/* Operations of a register that works, each taking effect at some moment between its call and its return; then some
 * reads are made to have seen something else, or nothing is changed. */
static size_t random_history(struct prng *p, struct zones_op *ops) {
    size_t count = 1 + prng_below(p, RANDOM_OPS);
    uint64_t effect[RANDOM_OPS] = {0};
    for (size_t i = 0; i < count; i++) {
        ops[i] = (struct zones_op){.call = 1 + prng_below(p, 40), .writes = prng_below(p, 2) == 0};
        ops[i].ret = ops[i].call + prng_below(p, 20);
        effect[i] = (ops[i].call + prng_below(p, ops[i].ret - ops[i].call + 1)) * RANDOM_OPS + i;
        ops[i].value = ops[i].writes ? i + 1 : 0;
        if (ops[i].writes && prng_below(p, 4) == 0) {
            ops[i].ret = ZONES_NEVER;
            effect[i] += prng_below(p, 3) * 10 * RANDOM_OPS;
        }
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t latest = 0;
        for (size_t j = 0; j < count && !ops[i].writes; j++) {
            if (ops[j].writes && effect[j] < effect[i] && effect[j] >= latest) {
                latest = effect[j];
                ops[i].value = j + 1;
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (!ops[i].writes && prng_below(p, 10) == 0) {
            ops[i].value = prng_below(p, count + 2);
        }
    }
    return count;
}

static enum linear_verdict other_opinion(const struct zones_op *ops, size_t count) {
    struct linear_op same[RANDOM_OPS];
    for (size_t i = 0; i < count; i++) {
        same[i] = (struct linear_op){.call_us = ops[i].call,
                                     .return_us = ops[i].ret,
                                     .kind = ops[i].writes ? LINEAR_PUT : LINEAR_GET,
                                     .content = ops[i].value,
                                     .version = ops[i].value};
        if (ops[i].ret == ZONES_NEVER) {
            same[i].result = LINEAR_UNKNOWN;
        } else if (ops[i].value == ZONES_ABSENT) {
            same[i].result = LINEAR_MISSING;
        }
    }
    return linear_check(same, count, 10000000, NULL);
}

static void both_checkers_agree_on_random_histories(void **state) {
    (void)state;
    struct prng p;
    size_t good = 0;
    prng_init(&p, 7, PRNG_SCENARIO, 0);
    for (size_t n = 0; n < RANDOM_HISTORIES; n++) {
        struct zones_op ops[RANDOM_OPS];
        struct zones_fault fault;
        size_t count = random_history(&p, ops);
        bool linearizable = zones_check(ops, count, &fault) == ZONES_LINEARIZABLE;
        enum linear_verdict verdict = other_opinion(ops, count);
        assert_int_not_equal(verdict, LINEAR_UNDECIDED);
        assert_int_equal(linearizable, verdict == LINEAR_YES);
        good += linearizable;
    }
    /* Neither kind is rare, or little was compared. */
    assert_in_range(good, RANDOM_HISTORIES / 5, RANDOM_HISTORIES / 5 * 4);
}

#define LONG_OPS 500000

/* Many writers at once, some never heard of again, over a long time; one stale read among half a million. */
static void half_a_million_operations_are_checked(void **state) {
    (void)state;
    struct zones_op *ops = calloc(LONG_OPS, sizeof(*ops));
    struct zones_fault fault;
    assert_non_null(ops);
    uint64_t value = 0;
    for (size_t i = 0; i < LONG_OPS; i++) {
        uint64_t at = 1000 + i * 10;
        bool writes = i % 2 == 0;
        value = writes ? i + 1 : value;
        ops[i] = writes ? put(at - 300, at + 300, value) : get(at - 200, at + 400, value);
        if (i % 100 == 0) {
            ops[i] = lost(at - 300, value);
        }
    }
    assert_int_equal(zones_check(ops, LONG_OPS, &fault), ZONES_LINEARIZABLE);
    ops[LONG_OPS - 1].value = LONG_OPS / 2 + 3;
    assert_int_equal(zones_check(ops, LONG_OPS, &fault), ZONES_OUT_OF_ORDER);
    assert_int_equal(fault.culprit, LONG_OPS - 1);
    free(ops);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_history_is_fine),
        cmocka_unit_test(reads_see_the_last_write),
        cmocka_unit_test(overlapping_operations_may_come_in_any_order),
        cmocka_unit_test(an_unknown_outcome_may_take_effect_late_or_never),
        cmocka_unit_test(the_culprit_is_named),
        cmocka_unit_test(both_checkers_agree_on_random_histories),
        cmocka_unit_test(half_a_million_operations_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
