/* Large values that lie apart from their rows: whatever is done, the table shows what a plain map would, and what
 * nobody points to any more does not pile up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "buf.h"
#include "errors.h"
#include "heap.h"
#include "scratch.h"
#include "store.h"
#include "store_use.h"

#define MAP_SIZE (512u << 20)
#define KEYS 1000
#define HOT 100 /* of them */
#define KEY_SIZE 12
#define VALUE_MAX (200u * 1024)

/* What the table must show: 0, or the seed and size of a value. */
struct model {
    struct {
        uint32_t seed;
        uint32_t size;
    } rows[KEYS];
};

struct world {
    char directory[SCRATCH_SIZE];
    struct store *store;
    struct model committed;
    uint64_t random;
    uint8_t *value;
};

static uint32_t draw(struct world *w, uint32_t below) {
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w->random >> 33) % below;
}

static int setup(void **state) {
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    scratch_make(w->directory);
    w->value = malloc(VALUE_MAX);
    assert_non_null(w->value);
    w->random = 42;
    *state = w;
    return store_open_lmdb(w->directory, MAP_SIZE, &w->store);
}

static int teardown(void **state) {
    struct world *w = *state;
    store_close(w->store);
    scratch_remove(w->directory);
    free(w->value);
    free(w);
    return 0;
}

static void reopen(struct world *w) {
    store_close(w->store);
    assert_int_equal(store_open_lmdb(w->directory, MAP_SIZE, &w->store), 0);
}

static struct slice key_of(uint8_t key[KEY_SIZE], uint32_t row) {
    memcpy(key, "row-....-key", KEY_SIZE);
    put_u32(key + 4, row);
    return (struct slice){key, KEY_SIZE};
}

static void fill(uint8_t *bytes, uint32_t seed, uint32_t size) {
    for (uint32_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(seed * 2654435761u >> (i % 24)) ^ (uint8_t)i;
    }
}

/* Around every boundary: empty, the threshold, a segment, larger than one. */
static uint32_t draw_size(struct world *w) {
    static const uint32_t sizes[] = {0,
                                     1,
                                     HEAP_VALUE_MIN - 1,
                                     HEAP_VALUE_MIN,
                                     HEAP_VALUE_MIN + 1,
                                     4096,
                                     4200,
                                     HEAP_SEGMENT - KEY_SIZE - 7,
                                     HEAP_SEGMENT - KEY_SIZE - 6,
                                     HEAP_SEGMENT,
                                     VALUE_MAX};
    uint32_t at = draw(w, 40);
    return at < sizeof(sizes) / sizeof(sizes[0]) ? sizes[at] : draw(w, 9000);
}

static void put(struct world *w, struct txn *t, struct model *m, uint32_t row, uint32_t size) {
    uint8_t key[KEY_SIZE];
    uint32_t seed = draw(w, 1u << 30) + 1;
    fill(w->value, seed, size);
    assert_int_equal(txn_put(t, TABLE_NAMES, key_of(key, row), (struct slice){w->value, size}), 0);
    m->rows[row].seed = seed;
    m->rows[row].size = size;
}

static void del(struct txn *t, struct model *m, uint32_t row) {
    uint8_t key[KEY_SIZE];
    assert_int_equal(txn_del(t, TABLE_NAMES, key_of(key, row)), m->rows[row].seed ? 0 : ERR_NOT_FOUND);
    m->rows[row].seed = 0;
}

static void del_some(struct txn *t, struct model *m, uint32_t from, uint32_t to) {
    uint8_t first[KEY_SIZE], last[KEY_SIZE];
    size_t deleted, there = 0;
    for (uint32_t row = from; row <= to; row++) {
        there += m->rows[row].seed != 0;
        m->rows[row].seed = 0;
    }
    assert_int_equal(txn_del_range(t, TABLE_NAMES, key_of(first, from), key_of(last, to), KEYS + 1, &deleted), 0);
    assert_int_equal(deleted, there);
}

static void check_row(struct world *w, const struct model *m, uint32_t row, int status, struct slice value) {
    if (m->rows[row].seed == 0) {
        assert_int_equal(status, ERR_NOT_FOUND);
        return;
    }
    assert_int_equal(status, 0);
    assert_int_equal(value.size, m->rows[row].size);
    fill(w->value, m->rows[row].seed, m->rows[row].size);
    assert_memory_equal(value.bytes, w->value, value.size);
}

static void check(struct world *w, struct txn *t, const struct model *m) {
    struct slice key = {0}, value;
    uint32_t row = 0;
    int status = txn_seek(t, TABLE_NAMES, key, &key, &value);
    while (status == 0) {
        uint8_t at[KEY_SIZE];
        assert_int_equal(key.size, KEY_SIZE);
        memcpy(at, key.bytes, KEY_SIZE);
        for (; row < get_u32(at + 4); row++) {
            assert_int_equal(m->rows[row].seed, 0);
        }
        check_row(w, m, row, 0, value);
        row++;
        status = txn_next(t, TABLE_NAMES, (struct slice){at, KEY_SIZE}, &key, &value);
    }
    assert_int_equal(status, ERR_NOT_FOUND);
    for (; row < KEYS; row++) {
        assert_int_equal(m->rows[row].seed, 0);
    }
}

static void check_committed(struct world *w, const struct model *m) {
    struct txn *t = begin(w->store, false);
    check(w, t, m);
    store_abort(t);
}

static void some_writes(struct world *w, struct txn *t, struct model *m, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t what = draw(w, 20), row = draw(w, KEYS);
        uint8_t key[KEY_SIZE];
        struct slice value = {0};
        if (what < 14) {
            put(w, t, m, row, draw_size(w));
        } else if (what < 17) {
            del(t, m, row);
        } else if (what == 17) {
            del_some(t, m, row, row + draw(w, KEYS - row));
        } else {
            check_row(w, m, row, txn_get(t, TABLE_NAMES, key_of(key, row), &value), value);
        }
    }
}

/* Transactions of any size, some of them given up, readers that stay behind, and now and then a new start. */
static void it_shows_what_a_map_would(void **state) {
    struct world *w = *state;
    for (uint32_t round = 0; round < 150; round++) {
        struct model next = w->committed;
        struct txn *t, *reader;
        reader = begin(w->store, false);
        t = begin(w->store, true);
        some_writes(w, t, &next, 1 + draw(w, 60));
        check(w, t, &next);
        if (draw(w, 4) == 0) {
            store_abort(t);
        } else {
            assert_int_equal(store_commit(t), 0);
            check(w, reader, &w->committed);
            w->committed = next;
        }
        store_abort(reader);
        check_committed(w, &w->committed);
        if (draw(w, 10) == 0) {
            reopen(w);
            check_committed(w, &w->committed);
        }
    }
}

/* Every segment gets one value that stays for long, so that only moving these gives the space back. */
static void leftovers_do_not_pile_up(void **state) {
    struct world *w = *state;
    struct model m = {0};
    uint64_t live = (uint64_t)KEYS * 4200, worst = 0;
    for (uint32_t i = 0; i < 60 * 225; i += 225) { /* 57 MB in all */
        struct txn *t = begin(w->store, true);
        for (uint32_t k = i; k < i + 225; k++) {
            put(w, t, &m, k % 15 == 0 ? HOT + k / 15 % (KEYS - HOT) : draw(w, HOT), 4200);
        }
        assert_int_equal(store_commit(t), 0);
        uint64_t used = store_used_bytes(w->store);
        worst = used > worst ? used : worst;
        if (i % (225 * 20) == 0) {
            reopen(w);
        }
    }
    check_committed(w, &m);
    assert_true(worst < 2 * live + HEAP_GARBAGE_MIN + (2u << 20));
    struct txn *t = begin(w->store, true);
    del_some(t, &m, 0, KEYS - 1);
    assert_int_equal(store_commit(t), 0);
    assert_true(store_used_bytes(w->store) < 64 * 1024); /* nothing is left of it */
}

/* Who only removes gets space back, too: nobody else may put anything while the disk is full. */
static void removals_alone_give_space_back(void **state) {
    struct world *w = *state;
    struct model m = {0};
    struct txn *t;
    for (uint32_t row = 0; row < KEYS; row += 100) {
        t = begin(w->store, true);
        for (uint32_t k = row; k < row + 100; k++) {
            put(w, t, &m, k, k % 2 == 0 ? 60000 : 1100); /* in each segment one of either */
        }
        assert_int_equal(store_commit(t), 0);
    }
    assert_true(store_used_bytes(w->store) > KEYS / 2 * 60000);
    for (uint32_t row = 0; row < KEYS; row += 2) {
        t = begin(w->store, true);
        del(t, &m, row);
        assert_int_equal(store_commit(t), 0);
    }
    check_committed(w, &m);
    assert_true(store_used_bytes(w->store) < 2 * KEYS / 2 * 1100 + HEAP_GARBAGE_MIN + (2u << 20));
}

/* ---- damage: bytes of the tables are changed behind the store's back ----------------------------------------------
 */

static int open_raw(struct world *w, const char *table, MDB_env **env, MDB_txn **txn, MDB_dbi *dbi) {
    store_close(w->store);
    w->store = NULL;
    assert_int_equal(mdb_env_create(env), 0);
    assert_int_equal(mdb_env_set_maxdbs(*env, 64), 0);
    assert_int_equal(mdb_env_set_mapsize(*env, MAP_SIZE), 0);
    assert_int_equal(mdb_env_open(*env, w->directory, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(*env, NULL, 0, txn), 0);
    return mdb_dbi_open(*txn, table, 0, dbi);
}

/* Changes one byte of the first value of a table, or drops its last bytes. */
static void damage(struct world *w, const char *table, size_t at, uint8_t with, size_t drop) {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_cursor *cursor;
    MDB_val key, value;
    uint8_t keep[64];
    assert_int_equal(open_raw(w, table, &env, &txn, &dbi), 0);
    assert_int_equal(mdb_cursor_open(txn, dbi, &cursor), 0);
    assert_int_equal(mdb_cursor_get(cursor, &key, &value, MDB_FIRST), 0);
    uint8_t *bytes = malloc(value.mv_size);
    assert_non_null(bytes);
    memcpy(bytes, value.mv_data, value.mv_size);
    memcpy(keep, key.mv_data, key.mv_size);
    key.mv_data = keep;
    assert_true(at < value.mv_size && drop <= value.mv_size);
    bytes[at] ^= with;
    MDB_val changed = {.mv_size = value.mv_size - drop, .mv_data = bytes};
    mdb_cursor_close(cursor);
    assert_int_equal(mdb_put(txn, dbi, &key, &changed, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    free(bytes);
}

static int read_first(struct world *w) {
    uint8_t key[KEY_SIZE];
    struct slice value;
    struct txn *t = begin(w->store, false);
    int status = txn_get(t, TABLE_NAMES, key_of(key, 0), &value);
    store_abort(t);
    return status;
}

static void damage_is_told(void **state) {
    struct world *w = *state;
    static const struct {
        const char *table;
        size_t at, drop;
    } cases[] = {
        {"names", 0, 0},  /* an unknown tag */
        {"names", 8, 0},  /* another segment */
        {"names", 12, 0}, /* another place in it */
        {"names", 16, 0}, /* another size */
        {"names", 0, 17}, /* nothing at all */
        {"names", 1, 1},  /* a pointer cut short */
        {"heap", 0, 0},   /* a record of another table */
        {"heap", 2, 0},   /* of another key size */
        {"heap", 6, 0},   /* of another size */
        {"heap", 8, 0},   /* of another key */
        {"heap", 9, 8},   /* that ends too early */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct model m = {0};
        struct txn *t = begin(w->store, true);
        put(w, t, &m, 0, 5000);
        assert_int_equal(store_commit(t), 0);
        assert_int_equal(read_first(w), 0);
        damage(w, cases[i].table, cases[i].at, 0x40, cases[i].drop);
        assert_int_equal(store_open_lmdb(w->directory, MAP_SIZE, &w->store), 0);
        assert_int_equal(read_first(w), ERR_CORRUPT);
        store_close(w->store);
        w->store = NULL;
        scratch_remove(w->directory);
        assert_int_equal(store_open_lmdb(w->directory, MAP_SIZE, &w->store), 0);
    }
}

static void a_damaged_count_is_refused_at_the_start(void **state) {
    struct world *w = *state;
    struct model m = {0};
    struct txn *t = begin(w->store, true);
    put(w, t, &m, 0, 5000);
    assert_int_equal(store_commit(t), 0);
    damage(w, "heap usage", 0, 0, 3);
    assert_int_equal(store_open_lmdb(w->directory, MAP_SIZE, &w->store), ERR_CORRUPT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_shows_what_a_map_would, setup, teardown),
        cmocka_unit_test_setup_teardown(leftovers_do_not_pile_up, setup, teardown),
        cmocka_unit_test_setup_teardown(removals_alone_give_space_back, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_count_is_refused_at_the_start, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
