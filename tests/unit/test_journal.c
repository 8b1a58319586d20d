/* The journal: what was written is read again, in order, whatever its size; what is damaged is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "buf.h"
#include "errors.h"
#include "journal.h"
#include "store.h"

#define ENTRIES_MAX 4096
#define RUNS_MAX 64
#define KEY_SIZE 10

struct seen {
    struct journal_run runs[RUNS_MAX];
    uint64_t cuts[RUNS_MAX];
    size_t run_count;
    struct raft_entry *entries[ENTRIES_MAX];
    size_t entry_count;
};

struct fixture {
    struct store *store;
    struct txn *txn;
    struct journal journal;
    struct seen seen;
};

static void forget(struct fixture *f) {
    while (f->seen.entry_count > 0) {
        raft_entry_unref(f->seen.entries[--f->seen.entry_count]);
    }
    f->seen.run_count = 0;
    journal_release(&f->journal);
    journal_init(&f->journal);
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    *state = f;
    if (!f) {
        return -1;
    }
    journal_init(&f->journal);
    return store_open_mem(&f->store) || store_begin(f->store, true, &f->txn);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    forget(f);
    store_abort(f->txn);
    store_close(f->store);
    free(f);
    return 0;
}

static int on_run(void *ctx, const struct journal_run *run, uint64_t cut) {
    struct seen *s = ctx;
    assert_true(s->run_count < RUNS_MAX);
    s->cuts[s->run_count] = cut;
    s->runs[s->run_count++] = *run;
    return 0;
}

static int on_entry(void *ctx, const struct journal_run *run, struct raft_entry *e) {
    struct seen *s = ctx;
    assert_true(s->entry_count < ENTRIES_MAX);
    assert_true(e->index >= run->first && e->index <= run->last);
    s->entries[s->entry_count++] = e;
    return 0;
}

static int load(struct fixture *f) {
    const struct journal_visitor visitor = {.run = on_run, .entry = on_entry, .ctx = &f->seen};
    forget(f);
    return journal_load(f->txn, &f->journal, &visitor);
}

static void fill(struct raft_entry *e, uint8_t with) {
    for (uint32_t i = 0; i < e->size; i++) {
        e->data[i] = (uint8_t)(with + i);
    }
}

static struct raft_entry *entry(uint64_t index, uint64_t term, size_t size) {
    uint8_t *data = calloc(1, size + 1);
    assert_non_null(data);
    struct raft_entry *e = raft_entry_new(index, term, RAFT_ENTRY_COMMAND, data, size);
    assert_non_null(e);
    fill(e, (uint8_t)index);
    free(data);
    return e;
}

/* One batch of one run. */
static void write_batch(struct fixture *f, uint64_t batch, uint64_t cut, uint64_t first, uint32_t count, size_t size) {
    struct raft_entry *entries[ENTRIES_MAX];
    struct journal_writer w;
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = entry(first + i, 7, size);
    }
    journal_write_begin(&w, f->txn, batch);
    journal_write_run(&w, 3, 9, cut, first, entries, count);
    assert_int_equal(journal_write_end(&w), 0);
    for (uint32_t i = 0; i < count; i++) {
        raft_entry_unref(entries[i]);
    }
}

static void assert_entry(const struct raft_entry *e, uint64_t index, size_t size) {
    assert_int_equal(e->index, index);
    assert_int_equal(e->term, 7);
    assert_int_equal(e->size, size);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(e->data[i], (uint8_t)(index + i));
    }
}

static void an_empty_journal_is_no_error(void **state) {
    struct fixture *f = *state;
    assert_int_equal(load(f), 0);
    assert_int_equal(f->journal.next, 1);
    assert_true(STAILQ_EMPTY(&f->journal.batches));
}

/* Sizes that leave heads and data cut by the ends of parts in every way. */
static void what_is_written_is_read(void **state) {
    static const size_t sizes[] = {0, 1, 100, 4096, 8170, 8191, 21000, JOURNAL_PART - 45, JOURNAL_PART, RAFT_ENTRY_MAX};
    struct fixture *f = *state;
    uint64_t index = 1;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        write_batch(f, i + 5, 0, index, 9, sizes[i]);
        index += 9;
    }
    assert_int_equal(load(f), 0);
    assert_int_equal(f->seen.entry_count, index - 1);
    for (uint64_t i = 0; i < index - 1; i++) {
        assert_entry(f->seen.entries[i], i + 1, sizes[i / 9]);
    }
    assert_int_equal(f->journal.next, 5 + sizeof(sizes) / sizeof(sizes[0]));
}

static void the_loop_knows_what_lies_on_disk(void **state) {
    struct fixture *f = *state;
    write_batch(f, 1, 0, 1, 2, 100);
    write_batch(f, 4, 2, 2, 3, 100);
    write_batch(f, 9, 3, 3, 0, 0);
    assert_int_equal(load(f), 0);
    const struct journal_batch *b = STAILQ_FIRST(&f->journal.batches);
    assert_int_equal(b->number, 1);
    assert_int_equal(b->count, 1);
    assert_int_equal(b->bytes, 32 + 2 * 113);
    b = STAILQ_NEXT(b, link);
    assert_int_equal(b->number, 4);
    assert_int_equal(b->runs[0].first, 2);
    assert_int_equal(b->runs[0].last, 4);
    assert_int_equal(f->seen.cuts[1], 2);
    b = STAILQ_NEXT(b, link);
    assert_int_equal(b->number, 9);
    assert_int_equal(b->runs[0].last, 2); /* only a cut */
    assert_null(STAILQ_NEXT(b, link));
    assert_int_equal(f->journal.bytes, 32 * 3 + 5 * 113);
    assert_int_equal(f->journal.next, 10);
    journal_drop_oldest(&f->journal);
    assert_int_equal(f->journal.bytes, 32 * 2 + 3 * 113);
}

static void batches_are_deleted_by_range(void **state) {
    struct fixture *f = *state;
    for (uint64_t batch = 1; batch <= 6; batch++) {
        write_batch(f, batch, 0, batch * 100, 20, 8000); /* three parts */
    }
    assert_int_equal(journal_delete(f->txn, 1, 4), 0);
    assert_int_equal(load(f), 0);
    assert_int_equal(f->seen.run_count, 2);
    assert_int_equal(f->seen.runs[0].first, 500);
    assert_int_equal(f->seen.entry_count, 40);
    assert_int_equal(journal_delete(f->txn, 1, UINT64_MAX), 0);
    assert_int_equal(load(f), 0);
    assert_int_equal(f->seen.run_count, 0);
}

static void put_part(struct fixture *f, uint64_t batch, uint16_t part, const uint8_t *bytes, size_t size,
                     size_t key_size) {
    uint8_t key[KEY_SIZE];
    put_u64(key, batch);
    put_u16(key + 8, part);
    assert_int_equal(txn_put(f->txn, TABLE_LOG, (struct slice){key, key_size}, (struct slice){bytes, size}), 0);
}

static uint64_t add_batch(struct journal *j, uint64_t bytes) {
    struct journal_batch *b = journal_add(j, j->next);
    journal_add_run(j, b, &(struct journal_run){.group = 1, .replica = 1, .first = 1}, bytes);
    return bytes;
}

static void a_journal_that_is_needed_is_not_sparse(void **state) {
    struct journal *j = &((struct fixture *)*state)->journal;
    add_batch(j, JOURNAL_KEEP_BYTES);
    assert_false(journal_is_sparse(j, 0));
    add_batch(j, JOURNAL_KEEP_BYTES);
    assert_true(journal_is_sparse(j, 0));
    assert_true(journal_is_sparse(j, JOURNAL_KEEP_BYTES / 4));
    assert_false(journal_is_sparse(j, JOURNAL_KEEP_BYTES / 2));
    assert_false(journal_is_sparse(j, (uint64_t)2 * JOURNAL_KEEP_BYTES));
}

/* Otherwise a journal that is too long would go round and round by itself. */
static void no_more_is_written_again_than_is_written(void **state) {
    struct journal *j = &((struct fixture *)*state)->journal;
    uint64_t fresh = 0, again = 0;
    add_batch(j, (uint64_t)8 * JOURNAL_KEEP_BYTES);
    for (int turn = 0; turn < 1000; turn++) {
        uint64_t here = 0;
        while (journal_is_sparse(j, 0) && journal_spend(j, 500)) {
            here += add_batch(j, 500);
        }
        again += here;
        fresh += add_batch(j, 1000);
        journal_earn(j, 1000);
    }
    assert_true(again <= fresh);
    assert_true(again >= fresh - 1000);
    assert_false(journal_spend(j, (uint64_t)1 << 40));
    journal_earn(j, UINT64_MAX);
    assert_false(journal_spend(j, JOURNAL_KEEP_BYTES + 1));
    assert_true(journal_spend(j, JOURNAL_KEEP_BYTES));
    assert_false(journal_spend(j, 1));
}

/* Every prefix of a batch but its whole runs, every count and size that lies, every part that is missing. */
static void damaged_batches_are_refused(void **state) {
    struct fixture *f = *state;
    struct slice stored;
    uint8_t key[KEY_SIZE], bytes[512];
    write_batch(f, 2, 0, 1, 3, 20);
    put_u64(key, 2);
    put_u16(key + 8, 0);
    assert_int_equal(txn_get(f->txn, TABLE_LOG, (struct slice){key, KEY_SIZE}, &stored), 0);
    size_t size = stored.size;
    memcpy(bytes, stored.bytes, size);
    assert_int_equal(size, 32 + 3 * 33);
    for (size_t cut = 0; cut <= size; cut++) {
        put_part(f, 2, 0, bytes, cut, KEY_SIZE);
        assert_int_equal(load(f), cut == 0 || cut == size ? 0 : ERR_CORRUPT);
    }
    static const struct {
        size_t at;
        uint8_t value;
    } lies[] = {{31, 4}, {28, 0xff}, {27, 0}, {20, 0xff}, {40, RAFT_ENTRY_CONFIG + 1}, {41, 1}, {44, 21}};
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        uint8_t was = bytes[lies[i].at];
        bytes[lies[i].at] = lies[i].value;
        put_part(f, 2, 0, bytes, size, KEY_SIZE);
        if (lies[i].at != 20) { /* an absurd first index is whole as a row; who loads the replica refuses it */
            assert_int_equal(load(f), ERR_CORRUPT);
        }
        bytes[lies[i].at] = was;
    }
    put_part(f, 2, 0, bytes, size, KEY_SIZE);
    assert_int_equal(load(f), 0);
    put_part(f, 2, 2, bytes, size, KEY_SIZE); /* part 1 is missing */
    assert_int_equal(load(f), ERR_CORRUPT);
    assert_int_equal(journal_delete(f->txn, 2, 2), 0);
    put_part(f, 3, 0, bytes, size, KEY_SIZE - 1);
    assert_int_equal(load(f), ERR_CORRUPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_journal_is_no_error, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_written_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(the_loop_knows_what_lies_on_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(batches_are_deleted_by_range, setup, teardown),
        cmocka_unit_test_setup_teardown(a_journal_that_is_needed_is_not_sparse, setup, teardown),
        cmocka_unit_test_setup_teardown(no_more_is_written_again_than_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_batches_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
