#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "errors.h"
#include "members.h"

#define STATES (MEMBER_GONE + 1)

static int setup(void **state) {
    struct members *m = NULL;
    int rc = members_new(&m);
    *state = m;
    return rc;
}

static int teardown(void **state) {
    members_free(*state);
    return 0;
}

/* A row with keys of its own for each node number. */
static struct member row_of(uint32_t node, enum member_state s, uint64_t epoch) {
    struct member row = {.node = node, .state = s, .capacity = 1000, .changed = epoch};
    memcpy(row.id, &node, sizeof node);
    memcpy(row.dh, &node, sizeof node);
    row.id[31] = 1;
    row.dh[31] = 2;
    snprintf(row.addr, sizeof row.addr, "192.0.2.1:%u", node);
    snprintf(row.zone, sizeof row.zone, "rack %u", node % 3);
    return row;
}

static int apply(struct members *m, struct member row) {
    return members_apply(m, &row, row.changed);
}

static void a_new_table_is_empty_at_epoch_zero(void **state) {
    assert_int_equal(members_count(*state), 0);
    assert_int_equal(members_epoch(*state), 0);
    assert_null(members_find(*state, 1));
    struct member row = row_of(1, MEMBER_UP, 1);
    assert_null(members_find_id(*state, row.id));
    assert_null(members_find_dh(*state, row.dh));
}

static void a_row_is_found_by_number_and_both_keys(void **state) {
    for (uint32_t node = 1; node <= 100; node++)
        assert_int_equal(apply(*state, row_of(node, MEMBER_UP, node)), 0);
    for (uint32_t node = 1; node <= 100; node++) {
        struct member row = row_of(node, MEMBER_UP, node);
        const struct member *found = members_find(*state, node);
        assert_non_null(found);
        assert_memory_equal(found, &row, sizeof row);
        assert_ptr_equal(members_find_id(*state, row.id), found);
        assert_ptr_equal(members_find_dh(*state, row.dh), found);
    }
    assert_null(members_find(*state, 101));
    assert_int_equal(members_epoch(*state), 100);
}

static void rows_are_ordered_by_number_whatever_the_order_of_arrival(void **state) {
    for (uint32_t i = 0; i < 97; i++)
        assert_int_equal(apply(*state, row_of(1 + i * 31 % 97, MEMBER_UP, 7)), 0);
    assert_int_equal(members_count(*state), 97);
    for (uint32_t i = 0; i < 97; i++)
        assert_int_equal(members_at(*state, i)->node, i + 1);
}

static void a_row_keeps_its_place_in_memory(void **state) {
    assert_int_equal(apply(*state, row_of(500, MEMBER_JOINING, 1)), 0);
    const struct member *row = members_find(*state, 500);
    for (uint32_t node = 1; node <= 100; node++)
        assert_int_equal(apply(*state, row_of(node, MEMBER_UP, 2)), 0);
    assert_int_equal(apply(*state, row_of(500, MEMBER_UP, 3)), 0);
    assert_ptr_equal(members_find(*state, 500), row);
    assert_int_equal(row->state, MEMBER_UP);
}

static void steps_are_those_of_the_diagram(void **state) {
    (void)state;
    static const char *const allowed[STATES] = {
        [MEMBER_JOINING] = "joining up gone",
        [MEMBER_UP] = "up draining out gone",
        [MEMBER_DRAINING] = "draining up gone",
        [MEMBER_OUT] = "out up gone",
        [MEMBER_GONE] = "",
    };
    for (unsigned from = 0; from < STATES; from++) {
        for (unsigned to = 0; to < STATES; to++) {
            bool expected = strstr(allowed[from], member_state_name(to)) != NULL;
            assert_int_equal(member_transition_allowed(from, to), expected);
        }
    }
}

static void a_delta_may_skip_states_but_not_go_back(void **state) {
    static const char *const reachable[STATES] = {
        [MEMBER_JOINING] = "joining up draining out gone",
        [MEMBER_UP] = "up draining out gone",
        [MEMBER_DRAINING] = "up draining out gone",
        [MEMBER_OUT] = "up draining out gone",
        [MEMBER_GONE] = "",
    };
    uint32_t node = 0;
    uint64_t epoch = 0;
    for (unsigned from = 0; from < STATES; from++) {
        for (unsigned to = 0; to < STATES; to++) {
            node++;
            assert_int_equal(apply(*state, row_of(node, from, ++epoch)), 0);
            bool expected = strstr(reachable[from], member_state_name(to)) != NULL;
            assert_int_equal(apply(*state, row_of(node, to, ++epoch)), expected ? 0 : ERR_INVALID);
            assert_int_equal(members_find(*state, node)->state, expected ? to : from);
        }
    }
}

static void only_up_serves(void **state) {
    (void)state;
    for (unsigned s = 0; s < STATES; s++) {
        struct member row = row_of(1, s, 1);
        assert_int_equal(member_serves(&row), s == MEMBER_UP);
    }
}

static void a_key_is_never_used_twice(void **state) {
    assert_int_equal(apply(*state, row_of(1, MEMBER_UP, 1)), 0);
    struct member same_id = row_of(2, MEMBER_JOINING, 2), same_dh = same_id;
    memcpy(same_id.id, row_of(1, MEMBER_UP, 1).id, sizeof same_id.id);
    assert_int_equal(apply(*state, same_id), ERR_INVALID);
    memcpy(same_dh.dh, row_of(1, MEMBER_UP, 1).dh, sizeof same_dh.dh);
    assert_int_equal(apply(*state, same_dh), ERR_INVALID);
    assert_int_equal(members_count(*state), 1);
}

static void a_gone_member_returns_neither_by_id_nor_by_the_negated_id(void **state) {
    assert_int_equal(apply(*state, row_of(1, MEMBER_GONE, 1)), 0);
    struct member again = row_of(1, MEMBER_UP, 2);
    assert_int_equal(apply(*state, again), ERR_INVALID);
    again.node = 2;
    assert_int_equal(apply(*state, again), ERR_INVALID);
    again.id[31] ^= 0x80; /* an Ed25519 point and its negation differ in this bit and share one X25519 key */
    assert_int_equal(apply(*state, again), ERR_INVALID);
    assert_int_equal(members_find(*state, 1)->state, MEMBER_GONE);
    assert_int_equal(members_epoch(*state), 1);
}

static void the_keys_of_a_node_never_change(void **state) {
    assert_int_equal(apply(*state, row_of(1, MEMBER_UP, 1)), 0);
    struct member other_id = row_of(1, MEMBER_UP, 2), other_dh = other_id;
    other_id.id[5] = 1;
    other_dh.dh[5] = 1;
    assert_int_equal(apply(*state, other_id), ERR_INVALID);
    assert_int_equal(apply(*state, other_dh), ERR_INVALID);
}

static void epochs_do_not_go_back(void **state) {
    assert_int_equal(apply(*state, row_of(1, MEMBER_UP, 5)), 0);
    assert_int_equal(apply(*state, row_of(2, MEMBER_UP, 5)), 0);
    assert_int_equal(apply(*state, row_of(3, MEMBER_UP, 4)), ERR_STALE);
    struct member older = row_of(1, MEMBER_DRAINING, 4);
    assert_int_equal(members_apply(*state, &older, 6), ERR_STALE);
    struct member future = row_of(3, MEMBER_UP, 7);
    assert_int_equal(members_apply(*state, &future, 6), ERR_INVALID);
    assert_int_equal(members_epoch(*state), 5);
    assert_int_equal(members_find(*state, 1)->state, MEMBER_UP);
    assert_null(members_find(*state, 3));
}

static void a_row_may_arrive_twice(void **state) {
    assert_int_equal(apply(*state, row_of(1, MEMBER_GONE, 5)), 0);
    struct member again = row_of(1, MEMBER_GONE, 5);
    memset(again.addr + strlen(again.addr) + 1, 'x', 4); /* what follows a text does not count */
    assert_int_equal(members_apply(*state, &again, 8), 0);
    assert_int_equal(members_epoch(*state), 8);
}

static void absurd_fields_are_refused(void **state) {
    struct member good = row_of(1, MEMBER_UP, 1), bad;
    assert_int_equal(member_check(&good), 0);
    good.addr[0] = '\0';
    good.zone[0] = '\0';
    good.capacity = 0;
    assert_int_equal(member_check(&good), 0);
#define REFUSED(change)                                    \
    do {                                                   \
        bad = row_of(1, MEMBER_UP, 1);                     \
        change;                                            \
        assert_int_equal(member_check(&bad), ERR_INVALID); \
        assert_int_equal(apply(*state, bad), ERR_INVALID); \
    } while (0)
    REFUSED(bad.node = 0);
    REFUSED(bad.state = STATES);
    REFUSED(bad.state = (enum member_state) - 1);
    REFUSED(memset(bad.id, 0, sizeof bad.id));
    REFUSED(memset(bad.dh, 0, sizeof bad.dh));
    REFUSED(memset(bad.addr, 'a', sizeof bad.addr));
    REFUSED(memset(bad.zone, 'a', sizeof bad.zone));
    REFUSED(bad.addr[1] = ' ');
    REFUSED(bad.addr[1] = '\n');
    REFUSED(bad.zone[1] = '\x1b');
    REFUSED(bad.zone[1] = '\x7f');
    REFUSED(bad.zone[1] = (char)0xc3);
#undef REFUSED
    assert_int_equal(members_count(*state), 0);
}

static void the_table_has_a_maximum(void **state) {
    for (uint32_t node = 1; node <= MEMBERS_MAX; node++)
        assert_int_equal(apply(*state, row_of(node, MEMBER_JOINING, 1)), 0);
    assert_int_equal(apply(*state, row_of(MEMBERS_MAX + 1, MEMBER_JOINING, 2)), ERR_TOO_LARGE);
    assert_int_equal(members_epoch(*state), 1);
    assert_int_equal(apply(*state, row_of(MEMBERS_MAX, MEMBER_UP, 2)), 0);
}

static void a_delta_brings_a_copy_up_to_date(void **state) {
    struct members *copy;
    assert_int_equal(members_new(&copy), 0);
    for (uint32_t node = 1; node <= 10; node++) {
        assert_int_equal(apply(*state, row_of(node, MEMBER_JOINING, node)), 0);
        assert_int_equal(apply(copy, row_of(node, MEMBER_JOINING, node)), 0);
    }
    assert_int_equal(apply(*state, row_of(4, MEMBER_UP, 11)), 0);
    assert_int_equal(apply(*state, row_of(4, MEMBER_DRAINING, 12)), 0);
    assert_int_equal(apply(*state, row_of(2, MEMBER_UP, 13)), 0);
    uint64_t since = members_epoch(copy);
    size_t sent = 0;
    for (size_t i = 0; i < members_count(*state); i++) {
        const struct member *row = members_at(*state, i);
        if (row->changed <= since)
            continue;
        assert_int_equal(members_apply(copy, row, members_epoch(*state)), 0);
        sent++;
    }
    assert_int_equal(sent, 2);
    assert_int_equal(members_epoch(copy), 13);
    for (size_t i = 0; i < members_count(*state); i++)
        assert_memory_equal(members_at(*state, i), members_at(copy, i), sizeof(struct member));
    members_free(copy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_new_table_is_empty_at_epoch_zero),
        TEST(a_row_is_found_by_number_and_both_keys),
        TEST(rows_are_ordered_by_number_whatever_the_order_of_arrival),
        TEST(a_row_keeps_its_place_in_memory),
        TEST(steps_are_those_of_the_diagram),
        TEST(a_delta_may_skip_states_but_not_go_back),
        TEST(only_up_serves),
        TEST(a_key_is_never_used_twice),
        TEST(a_gone_member_returns_neither_by_id_nor_by_the_negated_id),
        TEST(the_keys_of_a_node_never_change),
        TEST(epochs_do_not_go_back),
        TEST(a_row_may_arrive_twice),
        TEST(absurd_fields_are_refused),
        TEST(the_table_has_a_maximum),
        TEST(a_delta_brings_a_copy_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
