/* The root group: settings, tickets, admission, and what members may change about themselves. */
#include "machine_world.h"
#include "identity.h"
#include "ticket.h"

#define EXPIRES_MS 10000
#define TICKETS 64

static const uint8_t secret[TICKET_SECRET_SIZE] = {1, 2, 3};

static void ticket_id(uint32_t number, uint8_t out[TICKET_ID_SIZE]) {
    memset(out, 0, TICKET_ID_SIZE);
    put_u32(out, number);
}

static struct command root_init(void) {
    struct command c = {.kind = COMMAND_ROOT_INIT};
    c.u.init.settings = (struct swarm_settings){.swarm = {9}, .bits = 4, .replicas = 3};
    c.u.init.founder = member_numbered(1, MEMBER_UP);
    return c;
}

static struct command ticket_add(uint32_t number, uint32_t uses, uint64_t expires_ms) {
    struct command c = {.kind = COMMAND_TICKET_ADD};
    ticket_id(number, c.u.ticket.id);
    ticket_verifier(secret, &c.u.ticket.verifier);
    c.u.ticket.uses = uses;
    c.u.ticket.expires_ms = expires_ms;
    return c;
}

/* `member` stands for who joins: its number decides its keys, not what it gets. */
static struct command join(uint32_t number, uint32_t member, uint8_t session) {
    struct command c = {.kind = COMMAND_MEMBER_JOIN};
    struct digest verifier;
    ticket_id(number, c.u.join.ticket);
    memset(c.u.join.handshake, session, sizeof(c.u.join.handshake));
    ticket_verifier(secret, &verifier);
    ticket_prove(&verifier, c.u.join.handshake, &c.u.join.proof);
    c.u.join.row = member_numbered(member, MEMBER_UP);
    return c;
}

static struct command set(struct member row) {
    struct command c = {.kind = COMMAND_MEMBER_SET};
    c.u.member = row;
    return c;
}

static struct command step(uint32_t node, uint64_t seen, enum member_state to) {
    return (struct command){.kind = COMMAND_MEMBER_STATE, .u.state = {.node = node, .seen = seen, .to = to}};
}

static int setup_empty(void **state) {
    struct world *w = malloc(sizeof(*w));
    assert_non_null(w);
    world_open(w, root_arc());
    *state = w;
    return 0;
}

static int setup(void **state) {
    struct command c = root_init();
    setup_empty(state);
    assert_int_equal(world_apply(*state, &c).status, 0);
    return 0;
}

static int teardown(void **state) {
    world_close(*state);
    free(*state);
    return 0;
}

static struct command_result apply(struct world *w, struct command c) {
    return world_apply(w, &c);
}

/* The whole table; returns how many members. */
static size_t read_root(struct world *w, struct member *rows, size_t max, uint64_t *ret_epoch) {
    const struct query q = {.kind = QUERY_ROOT};
    struct page_reader p = world_page(w, &q);
    struct swarm_settings settings;
    size_t count = 0;
    assert_int_equal(page_root_settings(&p, &settings, ret_epoch), 0);
    assert_int_equal(settings.bits, 4);
    assert_int_equal(settings.replicas, 3);
    assert_int_equal(settings.swarm[0], 9);
    while (count < max && page_member_next(&p, &rows[count]) == 0) {
        count++;
    }
    assert_int_equal(page_member_next(&p, rows), ERR_NOT_FOUND);
    return count;
}

static void test_init_writes_settings_and_founder(void **state) {
    struct world *w = *state;
    struct member rows[3];
    uint64_t epoch = 0;
    struct command_result r = apply(w, root_init());
    assert_int_equal(r.status, 0);
    assert_int_equal(r.node, 1);
    assert_true(r.epoch == 1);
    assert_int_equal(effects_of(w, EFFECT_ROOT), 1);
    assert_int_equal(read_root(w, rows, 2, &epoch), 1);
    assert_true(epoch == 1 && rows[0].changed == 1 && rows[0].node == 1 && rows[0].state == MEMBER_UP);
    assert_string_equal(rows[0].addr, "10.0.0.1:7000");
}

static void test_init_only_once(void **state) {
    struct world *w = *state;
    struct digest before = world_digest(w);
    struct command_result r = apply(w, root_init());
    assert_int_equal(r.status, ERR_EXISTS);
    assert_true(r.epoch == 1);
    assert_int_equal(w->effects.count, 0);
    assert_true(same_digest(before, world_digest(w)));
}

static void test_founder_must_be_first_and_well_formed(void **state) {
    struct world *w = *state;
    struct command c = root_init();
    c.u.init.founder.node = 2;
    assert_int_equal(apply(w, c).status, ERR_INVALID);
    c = root_init();
    c.u.init.founder.state = MEMBER_GONE;
    assert_int_equal(apply(w, c).status, ERR_INVALID);
    assert_int_equal(world_rows(w, TABLE_ROOT), 0);
}

static void test_nothing_works_before_init(void **state) {
    struct world *w = *state;
    struct page_reader p;
    const struct query q = {.kind = QUERY_ROOT};
    assert_int_equal(apply(w, ticket_add(1, 1, EXPIRES_MS)).status, ERR_NOT_FOUND);
    assert_int_equal(apply(w, join(1, 2, 1)).status, ERR_AUTH);
    assert_int_equal(apply(w, set(member_numbered(1, MEMBER_UP))).status, ERR_NOT_FOUND);
    assert_int_equal(apply(w, step(1, 1, MEMBER_GONE)).status, ERR_NOT_FOUND);
    assert_int_equal(world_rows(w, TABLE_ROOT), 0);
    assert_int_equal(world_query(w, &q), 0);
    assert_int_equal(page_open(w->answer.bytes, w->answer.size, &p), ERR_NOT_FOUND);
}

static void test_arc_command_at_the_root(void **state) {
    struct world *w = *state;
    assert_int_equal(apply(w, put_inline("f", 1, "x")).status, ERR_INVALID);
    assert_int_equal(apply(w, rm("f")).status, ERR_INVALID);
}

/* ---- admission ---- */

static void test_join(void **state) {
    struct world *w = *state;
    struct member rows[4];
    uint64_t epoch = 0;
    struct command_result r = apply(w, ticket_add(1, 2, EXPIRES_MS));
    assert_int_equal(r.status, 0);
    assert_true(r.epoch == 1);
    assert_int_equal(w->effects.count, 0);
    r = apply(w, join(1, 7, 1));
    assert_int_equal(r.status, 0);
    assert_int_equal(r.node, 2);
    assert_true(r.epoch == 2);
    assert_int_equal(effects_of(w, EFFECT_ROOT), 1);
    r = apply(w, join(1, 8, 2));
    assert_int_equal(r.node, 3);
    assert_int_equal(read_root(w, rows, 3, &epoch), 3);
    assert_true(epoch == 3);
    assert_int_equal(rows[1].node, 2);
    assert_int_equal(rows[1].state, MEMBER_JOINING);
    assert_true(rows[1].changed == 2 && rows[2].changed == 3);
    assert_string_equal(rows[1].addr, "10.0.0.7:7000");
}

static void test_join_with_an_unknown_ticket(void **state) {
    struct world *w = *state;
    assert_int_equal(apply(w, join(1, 2, 1)).status, ERR_AUTH);
}

static void test_join_with_a_wrong_proof(void **state) {
    struct world *w = *state;
    assert_int_equal(apply(w, ticket_add(1, 1, EXPIRES_MS)).status, 0);
    struct digest before = world_digest(w);
    struct command c = join(1, 2, 1);
    c.u.join.handshake[5] ^= 1; /* a proof made for another session */
    assert_int_equal(apply(w, c).status, ERR_AUTH);
    c = join(1, 2, 1);
    c.u.join.proof.bytes[31] ^= 1;
    assert_int_equal(apply(w, c).status, ERR_AUTH);
    assert_true(same_digest(before, world_digest(w)));
    assert_int_equal(apply(w, join(1, 2, 1)).status, 0);
}

static void test_join_with_an_expired_ticket(void **state) {
    struct world *w = *state;
    assert_int_equal(apply(w, ticket_add(1, 2, EXPIRES_MS)).status, 0);
    w->stamp_ms = EXPIRES_MS - 1;
    assert_int_equal(apply(w, join(1, 2, 1)).status, 0);
    w->stamp_ms = EXPIRES_MS;
    assert_int_equal(apply(w, join(1, 3, 2)).status, ERR_EXPIRED);
}

static void test_join_with_a_used_up_ticket(void **state) {
    struct world *w = *state;
    assert_int_equal(apply(w, ticket_add(1, 1, EXPIRES_MS)).status, 0);
    assert_int_equal(apply(w, join(1, 2, 1)).status, 0);
    struct command_result r = apply(w, join(1, 3, 2));
    assert_int_equal(r.status, ERR_USED_UP);
    assert_int_equal(r.node, 0);
    assert_true(r.epoch == 2);
}

static void test_join_again_after_a_lost_answer(void **state) {
    struct world *w = *state;
    assert_int_equal(apply(w, ticket_add(1, 2, EXPIRES_MS)).status, 0);
    assert_int_equal(apply(w, join(1, 2, 1)).node, 2);
    struct digest before = world_digest(w);
    struct command_result r = apply(w, join(1, 2, 9));
    assert_int_equal(r.status, 0);
    assert_int_equal(r.node, 2);
    assert_true(r.epoch == 2);
    assert_int_equal(w->effects.count, 0);
    assert_true(same_digest(before, world_digest(w)));
    /* it used one, so another member may still come */
    assert_int_equal(apply(w, join(1, 3, 3)).node, 3);
    assert_int_equal(apply(w, join(1, 2, 9)).node, 2);
    w->stamp_ms = EXPIRES_MS;
    assert_int_equal(apply(w, join(1, 2, 9)).node, 2);
}

static void test_join_of_one_who_is_gone(void **state) {
    struct world *w = *state;
    assert_int_equal(apply(w, ticket_add(1, 5, EXPIRES_MS)).status, 0);
    assert_int_equal(apply(w, join(1, 2, 1)).node, 2);
    assert_int_equal(apply(w, step(2, 2, MEMBER_GONE)).status, 0);
    assert_int_equal(apply(w, join(1, 2, 2)).status, ERR_REFUSED);
    assert_int_equal(apply(w, set(member_numbered(2, MEMBER_UP))).status, ERR_REFUSED);
}

static void test_join_with_a_known_key(void **state) {
    struct world *w = *state;
    assert_int_equal(apply(w, ticket_add(1, 5, EXPIRES_MS)).status, 0);
    struct command c = join(1, 2, 1);
    memcpy(c.u.join.row.dh, member_numbered(1, MEMBER_UP).dh, 32);
    assert_int_equal(apply(w, c).status, ERR_REFUSED);
    c = join(1, 2, 1);
    memcpy(c.u.join.row.id, member_numbered(1, MEMBER_UP).id, 32);
    assert_int_equal(apply(w, c).status, ERR_REFUSED);
}

static void test_numbers_are_never_given_twice(void **state) {
    struct world *w = *state;
    assert_int_equal(apply(w, ticket_add(1, 5, EXPIRES_MS)).status, 0);
    assert_int_equal(apply(w, join(1, 2, 1)).node, 2);
    assert_int_equal(apply(w, step(2, 2, MEMBER_GONE)).status, 0);
    assert_int_equal(apply(w, join(1, 3, 1)).node, 3);
}

/* ---- tickets ---- */

static void test_ticket_refusals(void **state) {
    struct world *w = *state;
    struct digest before = world_digest(w);
    assert_int_equal(apply(w, ticket_add(1, 0, EXPIRES_MS)).status, ERR_INVALID);
    assert_int_equal(apply(w, ticket_add(1, 1, w->stamp_ms)).status, ERR_EXPIRED);
    assert_true(same_digest(before, world_digest(w)));
    assert_int_equal(apply(w, ticket_add(1, 1, EXPIRES_MS)).status, 0);
    assert_int_equal(apply(w, ticket_add(1, 9, EXPIRES_MS)).status, ERR_EXISTS);
    assert_int_equal(apply(w, join(1, 2, 1)).status, 0);
    assert_int_equal(apply(w, join(1, 3, 1)).status, ERR_USED_UP);
}

static void test_expired_tickets_make_room(void **state) {
    struct world *w = *state;
    size_t empty = world_rows(w, TABLE_ROOT);
    for (uint32_t i = 0; i < TICKETS; i++) {
        assert_int_equal(apply(w, ticket_add(i, 1, i % 2 ? EXPIRES_MS : 2 * EXPIRES_MS)).status, 0);
    }
    assert_int_equal(world_rows(w, TABLE_ROOT), empty + TICKETS);
    w->stamp_ms = EXPIRES_MS;
    assert_int_equal(apply(w, ticket_add(5000, 1, 3 * EXPIRES_MS)).status, 0);
    assert_int_equal(world_rows(w, TABLE_ROOT), empty + TICKETS / 2 + 1);
}

/* ---- what members change ---- */

static void test_member_set(void **state) {
    struct world *w = *state;
    struct member row = member_numbered(1, MEMBER_UP), rows[2];
    uint64_t epoch = 0;
    snprintf(row.addr, sizeof(row.addr), "host.example:1");
    struct command_result r = apply(w, set(row));
    assert_int_equal(r.status, 0);
    assert_true(r.epoch == 2);
    assert_int_equal(effects_of(w, EFFECT_ROOT), 1);
    assert_int_equal(read_root(w, rows, 1, &epoch), 1);
    assert_string_equal(rows[0].addr, "host.example:1");
    assert_true(epoch == 2 && rows[0].changed == 2);
}

static void test_member_set_without_a_change(void **state) {
    struct world *w = *state;
    struct digest before = world_digest(w);
    struct member row = member_numbered(1, MEMBER_UP);
    row.changed = 99;
    struct command_result r = apply(w, set(row));
    assert_int_equal(r.status, 0);
    assert_true(r.epoch == 1);
    assert_int_equal(w->effects.count, 0);
    assert_true(same_digest(before, world_digest(w)));
}

static void test_member_set_refusals(void **state) {
    struct world *w = *state;
    struct digest before = world_digest(w);
    struct member row = member_numbered(1, MEMBER_UP);
    assert_int_equal(apply(w, set(member_numbered(2, MEMBER_UP))).status, ERR_NOT_FOUND);
    row.id[0] ^= 1;
    assert_int_equal(apply(w, set(row)).status, ERR_REFUSED);
    row = member_numbered(1, MEMBER_UP);
    row.dh[0] ^= 1;
    assert_int_equal(apply(w, set(row)).status, ERR_REFUSED);
    row = member_numbered(1, MEMBER_UP);
    row.node = 0;
    assert_int_equal(apply(w, set(row)).status, ERR_INVALID);
    assert_true(same_digest(before, world_digest(w)));
}

/* ---- the steps of members ---- */

#define STATES (MEMBER_GONE + 1)

/* Members 1 to `count`, all up. The epoch of the last step is in *ret_epoch. */
static void swarm_of(struct world *w, uint32_t count, uint64_t *ret_epoch) {
    struct member rows[8];
    assert_true(count <= 8);
    assert_int_equal(apply(w, ticket_add(1, 20, EXPIRES_MS)).status, 0);
    for (uint32_t node = 2; node <= count; node++) {
        assert_int_equal(apply(w, join(1, node, 1)).node, node);
        assert_int_equal(apply(w, set(member_numbered(node, MEMBER_UP))).status, 0);
    }
    assert_int_equal(read_root(w, rows, count, ret_epoch), count);
}

static struct member row_of(struct world *w, uint32_t node) {
    struct member rows[8];
    uint64_t epoch = 0;
    size_t count = read_root(w, rows, 8, &epoch);
    assert_true(node >= 1 && node <= count && rows[node - 1].node == node);
    return rows[node - 1];
}

/* One step, decided on the row as it stands. */
static int go(struct world *w, uint32_t node, enum member_state to) {
    return apply(w, step(node, row_of(w, node).changed, to)).status;
}

/* Brings member `node`, which is up, into the state, with the others staying up. */
static void bring(struct world *w, uint32_t node, enum member_state to) {
    if (to != MEMBER_UP) {
        assert_int_equal(go(w, node, to), 0);
    }
}

static void steps_are_exactly_those_allowed(void **state) {
    static const char *const allowed[STATES] = {
        [MEMBER_JOINING] = "joining up gone",
        [MEMBER_UP] = "up draining out gone",
        [MEMBER_DRAINING] = "draining up gone",
        [MEMBER_OUT] = "out up gone",
        [MEMBER_GONE] = "gone",
    };
    (void)state;
    for (enum member_state from = MEMBER_JOINING; from <= MEMBER_GONE; from++) {
        for (enum member_state to = MEMBER_JOINING; to <= MEMBER_GONE; to++) {
            void *fresh = NULL;
            uint64_t epoch = 0;
            assert_int_equal(setup(&fresh), 0);
            struct world *w = fresh;
            swarm_of(w, 4, &epoch);
            uint32_t node = 4;
            if (from == MEMBER_JOINING) {
                assert_int_equal(apply(w, join(1, 5, 1)).node, 5);
                node = 5;
            } else {
                bring(w, node, from);
            }
            struct digest before = world_digest(w);
            int status = go(w, node, to);
            bool expected = strstr(allowed[from], member_state_name(to)) != NULL;
            assert_int_equal(status, expected ? 0 : ERR_REFUSED);
            assert_int_equal(row_of(w, node).state, expected ? to : from);
            assert_int_equal(effects_of(w, EFFECT_ROOT), expected && to != from);
            assert_int_equal(same_digest(before, world_digest(w)), !expected || to == from);
            teardown(&fresh);
        }
    }
}

static void a_step_keeps_the_rest_of_the_row(void **state) {
    struct world *w = *state;
    uint64_t epoch = 0;
    swarm_of(w, 3, &epoch);
    struct member before = row_of(w, 2);
    struct command_result r = apply(w, step(2, before.changed, MEMBER_DRAINING));
    assert_int_equal(r.status, 0);
    assert_int_equal(r.node, 2);
    assert_true(r.epoch == epoch + 1);
    struct member after = row_of(w, 2);
    assert_true(after.changed == epoch + 1);
    assert_int_equal(after.state, MEMBER_DRAINING);
    after.state = before.state;
    after.changed = before.changed;
    assert_memory_equal(&after, &before, sizeof(after));
}

static void a_step_decided_on_an_older_row_is_refused(void **state) {
    struct world *w = *state;
    uint64_t epoch = 0;
    swarm_of(w, 3, &epoch);
    uint64_t seen = row_of(w, 2).changed;
    assert_int_equal(apply(w, step(2, seen, MEMBER_DRAINING)).status, 0);
    assert_int_equal(apply(w, step(2, seen, MEMBER_DRAINING)).status, 0); /* its repeat */
    assert_int_equal(go(w, 2, MEMBER_UP), 0);                             /* called off */
    struct digest before = world_digest(w);
    assert_int_equal(apply(w, step(2, seen, MEMBER_DRAINING)).status, ERR_STALE); /* the repeat comes late */
    assert_int_equal(apply(w, step(2, seen + 100, MEMBER_DRAINING)).status, ERR_STALE);
    assert_true(same_digest(before, world_digest(w)));
}

static void a_repeat_by_sequence_gets_the_first_answer(void **state) {
    struct world *w = *state;
    uint64_t epoch = 0;
    swarm_of(w, 3, &epoch);
    struct command c = step(2, row_of(w, 2).changed, MEMBER_DRAINING);
    c.client = 9;
    c.seq = 1;
    struct command_result first = apply(w, c);
    assert_int_equal(first.status, 0);
    assert_int_equal(go(w, 2, MEMBER_UP), 0);
    struct command_result again = apply(w, c);
    assert_int_equal(again.status, 0);
    assert_true(again.epoch == first.epoch);
    assert_int_equal(row_of(w, 2).state, MEMBER_UP);
}

static void the_last_one_up_stays(void **state) {
    struct world *w = *state;
    uint64_t epoch = 0;
    static const enum member_state leaving[] = {MEMBER_DRAINING, MEMBER_OUT, MEMBER_GONE};
    swarm_of(w, 3, &epoch);
    assert_int_equal(go(w, 2, MEMBER_DRAINING), 0);
    assert_int_equal(go(w, 3, MEMBER_DRAINING), 0);
    struct digest before = world_digest(w);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(go(w, 1, leaving[i]), ERR_PRECONDITION);
    }
    assert_true(same_digest(before, world_digest(w)));
    assert_int_equal(go(w, 2, MEMBER_GONE), 0);
    assert_int_equal(go(w, 3, MEMBER_UP), 0);
    assert_int_equal(go(w, 1, MEMBER_DRAINING), 0); /* the founder is a member like any other */
    assert_int_equal(go(w, 1, MEMBER_GONE), 0);
    assert_int_equal(go(w, 3, MEMBER_GONE), ERR_PRECONDITION);
}

static void a_majority_is_never_out(void **state) {
    struct world *w = *state;
    uint64_t epoch = 0;
    swarm_of(w, 5, &epoch);
    assert_int_equal(go(w, 5, MEMBER_DRAINING), 0); /* still in */
    assert_int_equal(go(w, 2, MEMBER_OUT), 0);
    assert_int_equal(go(w, 3, MEMBER_OUT), 0);
    assert_int_equal(go(w, 4, MEMBER_OUT), ERR_PRECONDITION);
    assert_int_equal(go(w, 3, MEMBER_GONE), 0); /* one less to count */
    assert_int_equal(go(w, 4, MEMBER_OUT), ERR_PRECONDITION);
    assert_int_equal(go(w, 2, MEMBER_UP), 0);
    assert_int_equal(go(w, 4, MEMBER_OUT), 0);
}

static void of_two_none_is_out(void **state) {
    struct world *w = *state;
    uint64_t epoch = 0;
    swarm_of(w, 2, &epoch);
    assert_int_equal(go(w, 2, MEMBER_OUT), ERR_PRECONDITION);
    assert_int_equal(go(w, 2, MEMBER_DRAINING), 0);
}

static void a_step_of_nobody(void **state) {
    struct world *w = *state;
    assert_int_equal(apply(w, step(2, 0, MEMBER_GONE)).status, ERR_NOT_FOUND);
    assert_int_equal(apply(w, step(0, 0, MEMBER_GONE)).status, ERR_NOT_FOUND);
}

static void a_member_says_that_it_came_up_and_no_more(void **state) {
    static const enum member_state expected[STATES][STATES] = {
        /* said:              joining          up               draining         out              gone */
        [MEMBER_UP] = {MEMBER_UP, MEMBER_UP, MEMBER_UP, MEMBER_UP, MEMBER_UP},
        [MEMBER_DRAINING] = {MEMBER_DRAINING, MEMBER_DRAINING, MEMBER_DRAINING, MEMBER_DRAINING, MEMBER_DRAINING},
        [MEMBER_OUT] = {MEMBER_OUT, MEMBER_UP, MEMBER_OUT, MEMBER_OUT, MEMBER_OUT},
    };
    (void)state;
    for (enum member_state is = MEMBER_UP; is <= MEMBER_OUT; is++) {
        for (enum member_state said = MEMBER_JOINING; said <= MEMBER_GONE; said++) {
            void *fresh = NULL;
            uint64_t epoch = 0;
            assert_int_equal(setup(&fresh), 0);
            struct world *w = fresh;
            swarm_of(w, 4, &epoch);
            bring(w, 4, is);
            struct member row = member_numbered(4, said);
            row.capacity = 77; /* which it changes whatever it says of its state */
            assert_int_equal(apply(w, set(row)).status, 0);
            assert_int_equal(row_of(w, 4).state, expected[is][said]);
            assert_true(row_of(w, 4).capacity == 77);
            teardown(&fresh);
        }
    }
}

static void test_exactly_once(void **state) {
    struct world *w = *state;
    struct command c = ticket_add(1, 5, EXPIRES_MS);
    c.client = 3;
    c.seq = 1;
    assert_int_equal(apply(w, c).status, 0);
    assert_int_equal(apply(w, c).status, 0);
    c.client = 4;
    assert_int_equal(apply(w, c).status, ERR_EXISTS);
    assert_int_equal(world_rows(w, TABLE_CLIENTS), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
#define TEST_EMPTY(function) cmocka_unit_test_setup_teardown(function, setup_empty, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_EMPTY(test_init_writes_settings_and_founder),
        TEST(test_init_only_once),
        TEST_EMPTY(test_founder_must_be_first_and_well_formed),
        TEST_EMPTY(test_nothing_works_before_init),
        TEST(test_arc_command_at_the_root),
        TEST(test_join),
        TEST(test_join_with_an_unknown_ticket),
        TEST(test_join_with_a_wrong_proof),
        TEST(test_join_with_an_expired_ticket),
        TEST(test_join_with_a_used_up_ticket),
        TEST(test_join_again_after_a_lost_answer),
        TEST(test_join_of_one_who_is_gone),
        TEST(test_join_with_a_known_key),
        TEST(test_numbers_are_never_given_twice),
        TEST(test_ticket_refusals),
        TEST(test_expired_tickets_make_room),
        TEST(test_member_set),
        TEST(test_member_set_without_a_change),
        TEST(test_member_set_refusals),
        TEST(steps_are_exactly_those_allowed),
        TEST(a_step_keeps_the_rest_of_the_row),
        TEST(a_step_decided_on_an_older_row_is_refused),
        TEST(a_repeat_by_sequence_gets_the_first_answer),
        TEST(the_last_one_up_stays),
        TEST(a_majority_is_never_out),
        TEST(of_two_none_is_out),
        TEST(a_step_of_nobody),
        TEST(a_member_says_that_it_came_up_and_no_more),
        TEST(test_exactly_once),
    };
    if (crypto_init() != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
