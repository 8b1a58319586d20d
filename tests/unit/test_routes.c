#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "routes.h"

#define GROUP 3

static int setup(void **state) {
    struct routes *r = NULL;
    int rc = routes_new(GROUP + 1, &r);
    *state = r;
    return rc;
}

static int teardown(void **state) {
    routes_free(*state);
    return 0;
}

static struct route heard(uint64_t config, uint64_t term, uint32_t leader) {
    return (struct route){.config = config, .term = term, .leader = leader, .count = 3, .nodes = {1, 2, 3}};
}

static void nothing_is_known_at_first(void **state) {
    for (uint32_t group = 0; group <= GROUP; group++) {
        const struct route *own = routes_get(*state, group);
        assert_int_equal(own->config, 0);
        assert_int_equal(own->leader, 0);
        assert_int_equal(own->count, 0);
    }
}

static void a_larger_configuration_replaces_the_voters(void **state) {
    struct route first = heard(5, 1, 1);
    assert_true(routes_learn(*state, GROUP, &first));
    struct route second = {.config = 9, .term = 1, .count = 2, .nodes = {1, 4, 77}};
    assert_true(routes_learn(*state, GROUP, &second));
    const struct route *own = routes_get(*state, GROUP);
    assert_int_equal(own->config, 9);
    assert_int_equal(own->count, 2);
    assert_int_equal(own->nodes[1], 4);
    assert_int_equal(own->nodes[2], 0); /* beyond count nothing is kept */
    assert_int_equal(own->leader, 1);   /* same term, still a voter */
    assert_int_equal(routes_get(*state, 0)->config, 0);
}

static void an_older_configuration_changes_no_voters(void **state) {
    struct route newer = heard(9, 4, 2), older = {.config = 5, .term = 4, .leader = 2, .count = 1, .nodes = {8}};
    assert_true(routes_learn(*state, GROUP, &newer));
    assert_false(routes_learn(*state, GROUP, &older));
    assert_int_equal(routes_get(*state, GROUP)->count, 3);
}

static void hearing_the_same_again_changes_nothing(void **state) {
    struct route same = heard(9, 4, 2);
    assert_true(routes_learn(*state, GROUP, &same));
    assert_false(routes_learn(*state, GROUP, &same));
}

static void a_larger_term_replaces_the_leader(void **state) {
    struct route old = heard(9, 4, 2), new_term = heard(9, 5, 3), stale = heard(9, 4, 1);
    assert_true(routes_learn(*state, GROUP, &old));
    assert_true(routes_learn(*state, GROUP, &new_term));
    assert_false(routes_learn(*state, GROUP, &stale));
    assert_int_equal(routes_get(*state, GROUP)->leader, 3);
    assert_int_equal(routes_get(*state, GROUP)->term, 5);
}

static void a_larger_term_without_a_leader_forgets_the_old_one(void **state) {
    struct route old = heard(9, 4, 2), election = heard(9, 5, 0);
    assert_true(routes_learn(*state, GROUP, &old));
    assert_true(routes_learn(*state, GROUP, &election));
    assert_int_equal(routes_get(*state, GROUP)->leader, 0);
}

static void a_term_has_one_leader(void **state) {
    struct route unknown = heard(9, 4, 0), first = heard(9, 4, 2), second = heard(9, 4, 3);
    assert_true(routes_learn(*state, GROUP, &unknown));
    assert_true(routes_learn(*state, GROUP, &first));
    assert_false(routes_learn(*state, GROUP, &second));
    assert_int_equal(routes_get(*state, GROUP)->leader, 2);
}

static void a_larger_term_counts_even_with_an_older_configuration(void **state) {
    struct route newer = heard(9, 4, 2), older = {.config = 5, .term = 6, .leader = 3, .count = 1, .nodes = {3}};
    assert_true(routes_learn(*state, GROUP, &newer));
    assert_true(routes_learn(*state, GROUP, &older));
    assert_int_equal(routes_get(*state, GROUP)->config, 9);
    assert_int_equal(routes_get(*state, GROUP)->count, 3);
    assert_int_equal(routes_get(*state, GROUP)->leader, 3);
}

static void a_leader_that_is_no_voter_any_more_is_forgotten(void **state) {
    struct route old = heard(5, 4, 2), without = {.config = 9, .term = 4, .leader = 0, .count = 2, .nodes = {1, 3}};
    assert_true(routes_learn(*state, GROUP, &old));
    assert_true(routes_learn(*state, GROUP, &without));
    assert_int_equal(routes_get(*state, GROUP)->leader, 0);
    assert_int_equal(routes_get(*state, GROUP)->term, 4);
}

static void an_implausible_route_is_refused(void **state) {
    struct route many = heard(9, 4, 2), nobody = heard(9, 4, 2);
    many.count = ROUTE_NODES_MAX + 1;
    nobody.nodes[1] = 0;
    assert_false(routes_learn(*state, GROUP, &many));
    assert_false(routes_learn(*state, GROUP, &nobody));
    assert_int_equal(routes_get(*state, GROUP)->config, 0);
    assert_int_equal(routes_get(*state, GROUP)->term, 0);
}

static void a_wrong_leader_is_forgotten_and_only_that_one(void **state) {
    struct route route = heard(9, 4, 2);
    assert_true(routes_learn(*state, GROUP, &route));
    routes_forget_leader(*state, GROUP, 3);
    assert_int_equal(routes_get(*state, GROUP)->leader, 2);
    routes_forget_leader(*state, GROUP, 2);
    assert_int_equal(routes_get(*state, GROUP)->leader, 0);
    assert_int_equal(routes_get(*state, GROUP)->term, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_known_at_first),
        TEST(a_larger_configuration_replaces_the_voters),
        TEST(an_older_configuration_changes_no_voters),
        TEST(hearing_the_same_again_changes_nothing),
        TEST(a_larger_term_replaces_the_leader),
        TEST(a_larger_term_without_a_leader_forgets_the_old_one),
        TEST(a_term_has_one_leader),
        TEST(a_larger_term_counts_even_with_an_older_configuration),
        TEST(a_leader_that_is_no_voter_any_more_is_forgotten),
        TEST(an_implausible_route_is_refused),
        TEST(a_wrong_leader_is_forgotten_and_only_that_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
