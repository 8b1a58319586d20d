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
#define LOG_KEY_SIZE 12

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

static void the_applied_row_is_read_as_written_and_deleted(void **state) {
    struct txn *t = txn_of(state);
    struct applied_row in = {.index = 77, .term = 5, .stamp_ms = 1700000000000, .config = three_replicas(70)}, out;
    assert_int_equal(applied_row_put(t, GROUP, &in), 0);
    assert_int_equal(applied_row_get(t, GROUP, &out), 0);
    assert_int_equal(out.index, in.index);
    assert_int_equal(out.term, in.term);
    assert_int_equal(out.stamp_ms, in.stamp_ms);
    assert_config_equal(&out.config, &in.config);
    assert_int_equal(applied_row_get(t, GROUP + 1, &out), ERR_NOT_FOUND);
    assert_int_equal(applied_row_del(t, GROUP), 0);
    assert_int_equal(applied_row_get(t, GROUP, &out), ERR_NOT_FOUND);
    assert_int_equal(applied_row_del(t, GROUP), 0);
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

/* ---- the log ---------------------------------------------------------------------------------------------------- */

static void put_entry(struct txn *t, uint32_t group, uint64_t index, uint64_t term, enum raft_entry_kind kind,
                      const void *data, size_t size) {
    struct raft_entry *e = raft_entry_new(index, term, kind, data, size);
    assert_non_null(e);
    assert_int_equal(log_put(t, group, e), 0);
    raft_entry_unref(e);
}

static void free_entries(struct raft_entry **entries, size_t count) {
    for (size_t i = 0; i < count; i++) {
        raft_entry_unref(entries[i]);
    }
    free(entries);
}

static size_t loaded(struct txn *t, uint32_t group, uint64_t first) {
    struct raft_entry **entries = NULL;
    size_t count = 0;
    assert_int_equal(log_load(t, group, first, &entries, &count), 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(entries[i]->index, first + i);
    }
    free_entries(entries, count);
    return count;
}

static void the_log_is_read_as_written(void **state) {
    struct txn *t = txn_of(state);
    struct raft_entry **entries = NULL;
    size_t count = 0;
    uint8_t *big = malloc(RAFT_ENTRY_MAX);
    assert_non_null(big);
    memset(big, 0xa5, RAFT_ENTRY_MAX);
    put_entry(t, GROUP, 5, 2, RAFT_ENTRY_NOOP, NULL, 0);
    put_entry(t, GROUP, 6, 2, RAFT_ENTRY_COMMAND, "command", 7);
    put_entry(t, GROUP, 7, 3, RAFT_ENTRY_CONFIG, big, RAFT_ENTRY_MAX);
    put_entry(t, GROUP + 1, 8, 3, RAFT_ENTRY_NOOP, NULL, 0);
    assert_int_equal(log_load(t, GROUP, 5, &entries, &count), 0);
    assert_int_equal(count, 3);
    assert_int_equal(entries[0]->kind, RAFT_ENTRY_NOOP);
    assert_int_equal(entries[0]->size, 0);
    assert_int_equal(entries[1]->kind, RAFT_ENTRY_COMMAND);
    assert_int_equal(entries[1]->term, 2);
    assert_memory_equal(entries[1]->data, "command", 7);
    assert_int_equal(entries[2]->index, 7);
    assert_int_equal(entries[2]->term, 3);
    assert_int_equal(entries[2]->size, RAFT_ENTRY_MAX);
    assert_memory_equal(entries[2]->data, big, RAFT_ENTRY_MAX);
    free_entries(entries, count);
    free(big);
}

static void an_empty_log_is_no_error(void **state) {
    struct txn *t = txn_of(state);
    assert_int_equal(loaded(t, GROUP, 1), 0);
    put_entry(t, GROUP + 1, 1, 1, RAFT_ENTRY_NOOP, NULL, 0);
    assert_int_equal(loaded(t, GROUP, 1), 0);
}

static void a_range_is_deleted_with_both_its_ends(void **state) {
    struct txn *t = txn_of(state);
    for (uint64_t i = 1; i <= 3000; i++) {
        put_entry(t, GROUP, i, 1, RAFT_ENTRY_NOOP, NULL, 0);
    }
    put_entry(t, GROUP + 1, 1, 1, RAFT_ENTRY_NOOP, NULL, 0);
    assert_int_equal(log_del(t, GROUP, 1, 100), 0);
    assert_int_equal(loaded(t, GROUP, 101), 2900);
    assert_int_equal(log_del(t, GROUP, 2501, UINT64_MAX), 0);
    assert_int_equal(loaded(t, GROUP, 101), 2400);
    assert_int_equal(log_del(t, GROUP, 1, UINT64_MAX), 0);
    assert_int_equal(loaded(t, GROUP, 1), 0);
    assert_int_equal(loaded(t, GROUP + 1, 1), 1);
}

static void a_log_with_a_missing_entry_is_corrupt(void **state) {
    struct txn *t = txn_of(state);
    struct raft_entry **entries = NULL;
    size_t count = 0;
    for (uint64_t i = 1; i <= 5; i++) {
        put_entry(t, GROUP, i, 1, RAFT_ENTRY_NOOP, NULL, 0);
    }
    assert_int_equal(log_del(t, GROUP, 3, 3), 0);
    assert_int_equal(log_load(t, GROUP, 1, &entries, &count), ERR_CORRUPT);
    assert_int_equal(log_load(t, GROUP, 3, &entries, &count), ERR_CORRUPT);
    assert_int_equal(loaded(t, GROUP, 4), 2);
}

static void rows_that_are_no_entries_are_corrupt(void **state) {
    struct txn *t = txn_of(state);
    struct raft_entry **entries = NULL;
    size_t count = 0;
    uint8_t key[LOG_KEY_SIZE + 1] = {0};
    static const uint8_t too_short[8], unknown_kind[9] = {0, 0, 0, 0, 0, 0, 0, 1, RAFT_ENTRY_CONFIG + 1};
    put_u32(key, GROUP);
    put_u64(key + 4, 2);
    put_entry(t, GROUP, 1, 1, RAFT_ENTRY_NOOP, NULL, 0);
    struct slice at = {key, LOG_KEY_SIZE};
    assert_int_equal(txn_put(t, TABLE_LOG, at, (struct slice){too_short, sizeof(too_short)}), 0);
    assert_int_equal(log_load(t, GROUP, 1, &entries, &count), ERR_CORRUPT);
    assert_int_equal(txn_put(t, TABLE_LOG, at, (struct slice){unknown_kind, sizeof(unknown_kind)}), 0);
    assert_int_equal(log_load(t, GROUP, 1, &entries, &count), ERR_CORRUPT);
    assert_int_equal(txn_put(t, TABLE_LOG, (struct slice){key, sizeof(key)}, (struct slice){unknown_kind, 9}), 0);
    assert_int_equal(txn_del(t, TABLE_LOG, at), 0);
    assert_int_equal(log_load(t, GROUP, 1, &entries, &count), ERR_CORRUPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_hard_row_is_read_as_written, setup, teardown),
        cmocka_unit_test_setup_teardown(a_replica_that_awaits_its_snapshot_has_no_configuration, setup, teardown),
        cmocka_unit_test_setup_teardown(the_largest_configuration_fits_a_row, setup, teardown),
        cmocka_unit_test_setup_teardown(the_applied_row_is_read_as_written_and_deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_rows_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_log_is_read_as_written, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_log_is_no_error, setup, teardown),
        cmocka_unit_test_setup_teardown(a_range_is_deleted_with_both_its_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_with_a_missing_entry_is_corrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_that_are_no_entries_are_corrupt, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
