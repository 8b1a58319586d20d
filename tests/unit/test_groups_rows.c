/* How a replica lies on disk: what is written is read again, and what is damaged is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "buf.h"
#include "errors.h"
#include "rows.h"
#include "store.h"

#define GROUP 7
#define KEY_SIZE 4

struct fixture {
    struct store *store;
    struct txn *txn;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    *state = f;
    return f == NULL || store_open_mem(&f->store) || store_begin(f->store, true, &f->txn);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    store_abort(f->txn);
    store_close(f->store);
    free(f);
    return 0;
}

static struct txn *txn_of(void **state) {
    return ((struct fixture *)*state)->txn;
}

static struct raft_config three_replicas(uint64_t index) {
    struct raft_config c = {.index = index, .next_id = 5, .count = 3};
    c.replicas[0] = (struct raft_replica){.id = 1, .node = 10, .flags = RAFT_VOTER | RAFT_VOTER_OLD};
    c.replicas[1] = (struct raft_replica){.id = 3, .node = 11, .flags = RAFT_VOTER};
    c.replicas[2] = (struct raft_replica){.id = 4, .node = 12, .flags = RAFT_LEARNER};
    return c;
}

static void assert_config_equal(const struct raft_config *a, const struct raft_config *b) {
    assert_int_equal(a->index, b->index);
    assert_int_equal(a->next_id, b->next_id);
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        assert_int_equal(a->replicas[i].id, b->replicas[i].id);
        assert_int_equal(a->replicas[i].node, b->replicas[i].node);
        assert_int_equal(a->replicas[i].flags, b->replicas[i].flags);
    }
}

/* ---- hard state and applied state ------------------------------------------------------------------------------- */

static void the_hard_row_is_read_as_written(void **state) {
    struct txn *t = txn_of(state);
    struct hard_row in = {.replica = UINT64_MAX - 1,
                          .tombstone = 2,
                          .hard = {.term = 1ull << 40, .vote = 3},
                          .base_index = 300,
                          .base_term = 299,
                          .config = three_replicas(250)};
    struct hard_row out;
    assert_int_equal(hard_row_put(t, GROUP, &in), 0);
    assert_int_equal(hard_row_get(t, GROUP, &out), 0);
    assert_int_equal(out.replica, in.replica);
    assert_int_equal(out.tombstone, in.tombstone);
    assert_int_equal(out.hard.term, in.hard.term);
    assert_int_equal(out.hard.vote, in.hard.vote);
    assert_int_equal(out.base_index, in.base_index);
    assert_int_equal(out.base_term, in.base_term);
    assert_config_equal(&out.config, &in.config);
}

static void a_replica_that_awaits_its_snapshot_has_no_configuration(void **state) {
    struct txn *t = txn_of(state);
    struct hard_row in = {.replica = 9, .tombstone = 8}, out;
    assert_int_equal(hard_row_put(t, GROUP, &in), 0);
    assert_int_equal(hard_row_get(t, GROUP, &out), 0);
    assert_int_equal(out.replica, 9);
    assert_int_equal(out.tombstone, 8);
    assert_int_equal(out.config.count, 0);
    assert_int_equal(out.config.index, 0);
}

static void the_largest_configuration_fits_a_row(void **state) {
    struct txn *t = txn_of(state);
    struct hard_row in = {.replica = 1, .config = {.index = UINT64_MAX, .next_id = UINT64_MAX}}, out;
    for (uint32_t i = 0; i < RAFT_REPLICAS_MAX; i++) {
        in.config.replicas[in.config.count++] =
            (struct raft_replica){.id = UINT64_MAX - 1 - i, .node = UINT32_MAX - i, .flags = RAFT_VOTER};
    }
    assert_int_equal(hard_row_put(t, GROUP, &in), 0);
    assert_int_equal(hard_row_get(t, GROUP, &out), 0);
    assert_config_equal(&out.config, &in.config);
}

static void the_applied_row_is_read_as_written(void **state) {
    struct txn *t = txn_of(state);
    struct applied_row in = {.replica = 3,
                             .index = 77,
                             .term = 5,
                             .stamp_ms = 1700000000000,
                             .config = three_replicas(70)},
                       out;
    assert_int_equal(applied_row_put(t, GROUP, &in), 0);
    assert_int_equal(applied_row_get(t, GROUP, &out), 0);
    assert_int_equal(out.replica, in.replica);
    assert_int_equal(out.index, in.index);
    assert_int_equal(out.term, in.term);
    assert_int_equal(out.stamp_ms, in.stamp_ms);
    assert_config_equal(&out.config, &in.config);
    assert_int_equal(applied_row_get(t, GROUP + 1, &out), ERR_NOT_FOUND);
}

/* Every prefix of a row, and every row with one byte too many, is damaged; so is a row of the other kind. */
static void damaged_rows_are_refused(void **state) {
    struct txn *t = txn_of(state);
    struct hard_row in = {.replica = 1, .hard = {.term = 1}, .config = three_replicas(3)};
    struct hard_row hard;
    struct applied_row applied;
    struct slice stored;
    uint8_t row[512], key[KEY_SIZE];
    put_u32(key, GROUP);
    struct slice at = {key, sizeof(key)};
    assert_int_equal(hard_row_put(t, GROUP, &in), 0);
    assert_int_equal(txn_get(t, TABLE_HARD, at, &stored), 0);
    size_t size = stored.size;
    assert_true(size + 1 <= sizeof(row));
    memcpy(row, stored.bytes, size);
    row[size] = 0;
    for (size_t cut = 0; cut <= size + 1; cut++) {
        assert_int_equal(txn_put(t, TABLE_HARD, at, (struct slice){row, cut}), 0);
        assert_int_equal(hard_row_get(t, GROUP, &hard), cut == size ? 0 : ERR_CORRUPT);
    }
    assert_int_equal(txn_put(t, TABLE_APPLIED, at, (struct slice){row, size}), 0);
    assert_int_equal(applied_row_get(t, GROUP, &applied), ERR_CORRUPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_hard_row_is_read_as_written, setup, teardown),
        cmocka_unit_test_setup_teardown(a_replica_that_awaits_its_snapshot_has_no_configuration, setup, teardown),
        cmocka_unit_test_setup_teardown(the_largest_configuration_fits_a_row, setup, teardown),
        cmocka_unit_test_setup_teardown(the_applied_row_is_read_as_written, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_rows_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
