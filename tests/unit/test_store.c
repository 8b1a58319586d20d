/* One conformance suite for both stores, then what only LMDB can do: be full, be locked, be killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "buf.h"
#include "digest.h"
#include "errors.h"
#include "scratch.h"
#include "store.h"
#include "store_use.h"

#define MAP_SIZE (64u << 20)

/* ---- helpers ---- */

struct place {
    char directory[SCRATCH_SIZE];
    struct store *store;
};

static void place_make(struct place *p) {
    scratch_make(p->directory);
    p->store = NULL;
}

static void place_remove(struct place *p) {
    store_close(p->store);
    scratch_remove(p->directory);
}

static void place_open(struct place *p, uint64_t map_size) {
    assert_int_equal(store_open_lmdb(p->directory, map_size, &p->store), 0);
}

static void place_close(struct place *p) {
    store_close(p->store);
    p->store = NULL;
}

static int setup_lmdb(void **state) {
    struct place *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    place_make(p);
    place_open(p, MAP_SIZE);
    *state = p;
    return 0;
}

static int setup_mem(void **state) {
    struct place *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    place_make(p);
    assert_int_equal(store_open_mem(&p->store), 0);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    struct place *p = *state;
    place_remove(p);
    free(p);
    return 0;
}

static void put(struct txn *t, const char *key, const char *value) {
    assert_int_equal(txn_put(t, TABLE_NAMES, text(key), text(value)), 0);
}

static void expect(struct txn *t, const char *key, const char *value) {
    struct slice got;
    int status = txn_get(t, TABLE_NAMES, text(key), &got);
    if (!value) {
        assert_int_equal(status, ERR_NOT_FOUND);
        return;
    }
    assert_int_equal(status, 0);
    assert_int_equal(got.size, strlen(value));
    assert_memory_equal(got.bytes, value, got.size);
}

static void expect_committed(struct store *s, const char *key, const char *value) {
    struct txn *t = begin(s, false);
    expect(t, key, value);
    store_abort(t);
}

/* All keys of NAMES, in order, separated by spaces. */
static void expect_keys(struct txn *t, const char *keys) {
    char seen[256] = {0};
    size_t length = 0;
    struct slice key = {0};
    struct slice value;
    int status = txn_seek(t, TABLE_NAMES, key, &key, &value);
    while (status == 0) {
        assert_true(length + key.size + 1 < sizeof(seen));
        memcpy(seen + length, key.bytes, key.size);
        length += key.size;
        seen[length++] = ' ';
        status = txn_next(t, TABLE_NAMES, key, &key, &value);
    }
    assert_int_equal(status, ERR_NOT_FOUND);
    assert_string_equal(seen, keys);
}

/* ---- conformance ---- */

static void test_put_get_del(void **state) {
    struct place *p = *state;
    struct txn *t = begin(p->store, true);
    expect(t, "a", NULL);
    put(t, "a", "1");
    put(t, "empty", "");
    expect(t, "a", "1");
    put(t, "a", "22");
    expect(t, "a", "22");
    expect(t, "empty", "");
    assert_int_equal(txn_del(t, TABLE_NAMES, text("b")), ERR_NOT_FOUND);
    put(t, "gone", "x");
    assert_int_equal(txn_del(t, TABLE_NAMES, text("gone")), 0);
    expect(t, "gone", NULL);
    assert_int_equal(store_commit(t), 0);
    expect_committed(p->store, "a", "22");
    expect_committed(p->store, "gone", NULL);
}

static void test_tables_are_apart(void **state) {
    struct place *p = *state;
    struct slice value;
    struct txn *t = begin(p->store, true);
    for (int table = 0; table < TABLE_COUNT; table++) {
        uint8_t v = (uint8_t)table;
        assert_int_equal(txn_put(t, table, text("key"), (struct slice){&v, 1}), 0);
    }
    assert_int_equal(txn_del(t, TABLE_LOG, text("key")), 0);
    assert_int_equal(store_commit(t), 0);
    t = begin(p->store, false);
    for (int table = 0; table < TABLE_COUNT; table++) {
        assert_int_equal(txn_get(t, table, text("key"), &value), table == TABLE_LOG ? ERR_NOT_FOUND : 0);
        assert_true(table == TABLE_LOG || (value.size == 1 && value.bytes[0] == table));
    }
    store_abort(t);
}

static void test_abort_leaves_no_trace(void **state) {
    struct place *p = *state;
    struct txn *t = begin(p->store, true);
    put(t, "a", "1");
    put(t, "b", "2");
    assert_int_equal(store_commit(t), 0);
    uint64_t used = store_used_bytes(p->store);
    t = begin(p->store, true);
    put(t, "a", "changed");
    put(t, "c", "new");
    assert_int_equal(txn_del(t, TABLE_NAMES, text("b")), 0);
    expect_keys(t, "a c ");
    store_abort(t);
    assert_true(store_used_bytes(p->store) == used);
    t = begin(p->store, false);
    expect_keys(t, "a b ");
    expect(t, "a", "1");
    store_abort(t);
}

static void test_a_transaction_knows_about_what_it_holds(void **state) {
    static const uint8_t bytes[100000];
    struct place *p = *state;
    struct txn *t = begin(p->store, true);
    assert_true(store_txn_bytes(t) == 0);
    put(t, "a", "1");
    assert_true(store_txn_bytes(t) > 0 && store_txn_bytes(t) < 10000);
    assert_int_equal(txn_put(t, TABLE_NAMES, text("b"), (struct slice){bytes, sizeof(bytes)}), 0);
    uint64_t before = store_txn_bytes(t);
    assert_true(before >= sizeof(bytes) && before < sizeof(bytes) + 20000);
    expect(t, "a", "1");
    assert_true(store_txn_bytes(t) == before); /* reading holds nothing */
    assert_int_equal(txn_del(t, TABLE_NAMES, text("a")), 0);
    assert_true(store_txn_bytes(t) > before);
    assert_int_equal(store_commit(t), 0);
    t = begin(p->store, true);
    assert_true(store_txn_bytes(t) == 0);
    store_abort(t);
}

static void test_readers_keep_their_snapshot(void **state) {
    struct place *p = *state;
    struct txn *t = begin(p->store, true);
    put(t, "a", "1");
    put(t, "b", "1");
    assert_int_equal(store_commit(t), 0);
    struct txn *first = begin(p->store, false);
    t = begin(p->store, true);
    put(t, "a", "2");
    assert_int_equal(txn_del(t, TABLE_NAMES, text("b")), 0);
    expect(first, "a", "1");
    struct txn *during = begin(p->store, false);
    assert_int_equal(store_commit(t), 0);
    struct txn *after = begin(p->store, false);
    expect(first, "a", "1");
    expect_keys(first, "a b ");
    expect(during, "a", "1");
    expect(during, "b", "1");
    expect(after, "a", "2");
    expect_keys(after, "a ");
    store_abort(first);
    store_abort(after);
    expect(during, "b", "1");
    assert_int_equal(store_commit(during), 0); /* either ends a read transaction */
}

static void test_order_is_that_of_memcmp(void **state) {
    struct place *p = *state;
    struct txn *t = begin(p->store, true);
    static const char *const keys[] = {"b", "aa", "a", "\x80", "B", "abcdefghi", "abcdefgh", "abcdefghh", "ab", "\xff"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        put(t, keys[i], "");
    }
    expect_keys(t, "B a aa ab abcdefgh abcdefghh abcdefghi b \x80 \xff ");
    /* Zero bytes count: "a" < "a\0" < "a\0\0" */
    assert_int_equal(txn_put(t, TABLE_REFS, (struct slice){(const uint8_t *)"a\0\0", 3}, text("3")), 0);
    assert_int_equal(txn_put(t, TABLE_REFS, (struct slice){(const uint8_t *)"a", 1}, text("1")), 0);
    assert_int_equal(txn_put(t, TABLE_REFS, (struct slice){(const uint8_t *)"a\0", 2}, text("2")), 0);
    struct slice key = {0};
    struct slice value;
    for (size_t size = 1; size <= 3; size++) {
        assert_int_equal(txn_next(t, TABLE_REFS, key, &key, &value), 0);
        assert_int_equal(key.size, size);
        assert_int_equal(value.bytes[0], '0' + size);
    }
    assert_int_equal(txn_next(t, TABLE_REFS, key, &key, &value), ERR_NOT_FOUND);
    store_abort(t);
}

static void test_seek_and_next(void **state) {
    struct place *p = *state;
    struct slice key = {0};
    struct slice value = {0};
    struct txn *t = begin(p->store, true);
    assert_int_equal(txn_seek(t, TABLE_NAMES, (struct slice){0}, &key, &value), ERR_NOT_FOUND);
    assert_null(key.bytes); /* untouched on failure */
    put(t, "b", "1");
    put(t, "d", "2");
    assert_int_equal(txn_seek(t, TABLE_NAMES, text("b"), &key, &value), 0);
    assert_memory_equal(key.bytes, "b", 1);
    assert_int_equal(txn_seek(t, TABLE_NAMES, text("c"), &key, &value), 0);
    assert_memory_equal(key.bytes, "d", 1);
    assert_memory_equal(value.bytes, "2", 1);
    assert_int_equal(txn_next(t, TABLE_NAMES, text("a"), &key, &value), 0);
    assert_memory_equal(key.bytes, "b", 1);
    assert_int_equal(txn_next(t, TABLE_NAMES, text("b"), &key, &value), 0);
    assert_memory_equal(key.bytes, "d", 1);
    assert_int_equal(txn_next(t, TABLE_NAMES, text("d"), &key, &value), ERR_NOT_FOUND);
    assert_int_equal(txn_seek(t, TABLE_NAMES, text("e"), &key, &value), ERR_NOT_FOUND);
    store_abort(t);
}

static void test_iteration_while_writing(void **state) {
    struct place *p = *state;
    struct slice key = {0};
    struct slice value;
    uint8_t at[4];
    uint32_t visited = 0;
    struct txn *t = begin(p->store, true);
    for (uint32_t i = 0; i < 2000; i += 2) {
        put_u32(at, i);
        assert_int_equal(txn_put(t, TABLE_LOG, (struct slice){at, 4}, text("even")), 0);
    }
    /* Delete what was visited, insert behind and ahead: every even key is still met once, in order. */
    int status = txn_seek(t, TABLE_LOG, key, &key, &value);
    while (status == 0) {
        uint32_t i = get_u32(key.bytes);
        if (i % 2 == 0) {
            assert_int_equal(i, 2 * visited);
            visited++;
            put_u32(at, i + 3);
            assert_int_equal(txn_put(t, TABLE_LOG, (struct slice){at, 4}, text("odd")), 0);
            put_u32(at, i);
            assert_int_equal(txn_del(t, TABLE_LOG, (struct slice){at, 4}), 0);
        }
        put_u32(at, i);
        status = txn_next(t, TABLE_LOG, (struct slice){at, 4}, &key, &value);
    }
    assert_int_equal(status, ERR_NOT_FOUND);
    assert_int_equal(visited, 1000);
    store_abort(t);
}

static void test_del_range(void **state) {
    struct place *p = *state;
    size_t deleted = 99;
    struct txn *t = begin(p->store, true);
    static const char *const keys[] = {"a", "b", "b1", "b2", "c", "c1", "d"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        put(t, keys[i], "");
    }
    assert_int_equal(txn_del_range(t, TABLE_NAMES, text("x"), text("y"), 10, &deleted), 0);
    assert_int_equal(deleted, 0);
    assert_int_equal(txn_del_range(t, TABLE_NAMES, text("b1"), text("c"), 2, &deleted), 0);
    assert_int_equal(deleted, 2);
    expect_keys(t, "a b c c1 d ");
    assert_int_equal(txn_del_range(t, TABLE_NAMES, text("b1"), text("c"), 10, &deleted), 0);
    assert_int_equal(deleted, 2); /* c1 starts with c */
    expect_keys(t, "a b d ");
    assert_int_equal(txn_del_range(t, TABLE_NAMES, text("d"), text("a"), 10, &deleted), 0);
    assert_int_equal(deleted, 0);
    assert_int_equal(txn_del_range(t, TABLE_NAMES, (struct slice){0}, (struct slice){0}, 10, &deleted), 0);
    assert_int_equal(deleted, 3); /* no bounds: all of the table */
    expect_keys(t, "");
    store_abort(t);
}

static void test_key_and_value_limits(void **state) {
    struct place *p = *state;
    uint8_t long_key[TXN_KEY_MAX + 2];
    struct slice key;
    struct slice value;
    size_t deleted;
    memset(long_key, 'k', sizeof(long_key));
    struct slice most = {long_key, TXN_KEY_MAX};
    struct slice over = {long_key, TXN_KEY_MAX + 1};
    struct slice none = {long_key, 0};
    struct txn *t = begin(p->store, true);
    assert_int_equal(txn_put(t, TABLE_NAMES, over, text("v")), ERR_INVALID);
    assert_int_equal(txn_put(t, TABLE_NAMES, none, text("v")), ERR_INVALID);
    assert_int_equal(txn_put(t, TABLE_NAMES, most, (struct slice){long_key, (size_t)TXN_VALUE_MAX + 1}), ERR_INVALID);
    assert_int_equal(txn_get(t, TABLE_NAMES, over, &value), ERR_INVALID);
    assert_int_equal(txn_get(t, TABLE_NAMES, none, &value), ERR_INVALID);
    assert_int_equal(txn_del(t, TABLE_NAMES, over), ERR_INVALID);
    assert_int_equal(txn_seek(t, TABLE_NAMES, over, &key, &value), ERR_INVALID);
    assert_int_equal(txn_next(t, TABLE_NAMES, over, &key, &value), ERR_INVALID);
    assert_int_equal(txn_del_range(t, TABLE_NAMES, none, over, 1, &deleted), ERR_INVALID);
    assert_int_equal(txn_del_range(t, TABLE_NAMES, over, none, 1, &deleted), ERR_INVALID);
    /* ERR_INVALID does no harm to the transaction; the longest key works everywhere. */
    assert_int_equal(txn_put(t, TABLE_NAMES, most, text("v")), 0);
    put(t, "z", "last");
    assert_int_equal(txn_seek(t, TABLE_NAMES, most, &key, &value), 0);
    assert_int_equal(key.size, TXN_KEY_MAX);
    assert_int_equal(txn_next(t, TABLE_NAMES, most, &key, &value), 0);
    assert_memory_equal(key.bytes, "z", 1);
    assert_int_equal(txn_del(t, TABLE_NAMES, most), 0);
    expect_keys(t, "z ");
    assert_int_equal(store_commit(t), 0);
}

static void test_large_values(void **state) {
    struct place *p = *state;
    static const size_t sizes[] = {1, 2000, 4096, 65520, 65536, 1u << 20, 5u << 20};
    struct slice value;
    uint8_t *bytes = malloc(5u << 20);
    assert_non_null(bytes);
    for (size_t i = 0; i < 5u << 20; i++) {
        bytes[i] = (uint8_t)(i * 31 + i / 4096);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t key = (uint8_t)i;
        struct txn *t = begin(p->store, true);
        assert_int_equal(txn_put(t, TABLE_CHUNKS, (struct slice){&key, 1}, (struct slice){bytes, sizes[i]}), 0);
        assert_int_equal(store_commit(t), 0);
        t = begin(p->store, false);
        assert_int_equal(txn_get(t, TABLE_CHUNKS, (struct slice){&key, 1}, &value), 0);
        assert_int_equal(value.size, sizes[i]);
        assert_memory_equal(value.bytes, bytes, sizes[i]);
        store_abort(t);
    }
    assert_true(store_used_bytes(p->store) >= 6u << 20);
    assert_true(store_map_bytes(p->store) >= MAP_SIZE);
    struct txn *t = begin(p->store, true);
    size_t deleted;
    assert_int_equal(txn_del_range(t, TABLE_CHUNKS, (struct slice){0}, (struct slice){0}, 100, &deleted), 0);
    assert_int_equal(store_commit(t), 0);
    assert_true(store_used_bytes(p->store) < 1u << 20); /* room given back is not in use */
    free(bytes);
}

static void test_table_digest_tells_differences(void **state) {
    struct place *p = *state;
    struct digest empty;
    struct digest one;
    struct digest other;
    struct txn *t = begin(p->store, true);
    assert_int_equal(store_table_digest(t, TABLE_NAMES, &empty), 0);
    put(t, "ab", "c");
    assert_int_equal(store_table_digest(t, TABLE_NAMES, &one), 0);
    assert_false(digest_equal(&empty, &one));
    assert_int_equal(txn_del(t, TABLE_NAMES, text("ab")), 0);
    put(t, "a", "bc");
    assert_int_equal(store_table_digest(t, TABLE_NAMES, &other), 0);
    assert_false(digest_equal(&one, &other));
    assert_int_equal(txn_del(t, TABLE_NAMES, text("a")), 0);
    assert_int_equal(store_table_digest(t, TABLE_NAMES, &other), 0);
    assert_true(digest_equal(&empty, &other));
    store_abort(t);
}

/* ---- the twins do the same ---- */

#define TWIN_STEPS 6000
#define TWIN_KEYS 400

static uint32_t random_next(uint64_t *seed) {
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*seed >> 33);
}

/* Short keys of few different bytes, so that they meet and share prefixes. */
static struct slice random_key(uint64_t *seed, uint8_t out[16]) {
    uint32_t n = random_next(seed) % TWIN_KEYS;
    size_t size = 1 + n % 13;
    memset(out, 'p', 16);
    put_u16(out + (n % 7), (uint16_t)(n * 257));
    return (struct slice){out, size};
}

static void step_both(struct txn *twins[2], uint64_t *seed) {
    static const uint8_t bytes[6000] = {1, 2, 3};
    uint8_t key_bytes[16];
    uint8_t last_bytes[16];
    enum txn_table table = random_next(seed) % 2 ? TABLE_NAMES : TABLE_REFS;
    uint32_t what = random_next(seed) % 100;
    struct slice key = random_key(seed, key_bytes);
    struct slice last = random_key(seed, last_bytes);
    struct slice value = {bytes, random_next(seed) % (what == 0 ? sizeof(bytes) : 100)};
    int status[2];
    struct slice got_key[2] = {{0}, {0}};
    struct slice got_value[2] = {{0}, {0}};
    size_t deleted[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        if (what < 50) {
            status[i] = txn_put(twins[i], table, key, value);
        } else if (what < 70) {
            status[i] = txn_del(twins[i], table, key);
        } else if (what < 80) {
            status[i] = txn_get(twins[i], table, key, &got_value[i]);
        } else if (what < 88) {
            status[i] = txn_seek(twins[i], table, key, &got_key[i], &got_value[i]);
        } else if (what < 97) {
            status[i] = txn_next(twins[i], table, key, &got_key[i], &got_value[i]);
        } else {
            status[i] = txn_del_range(twins[i], table, key, last, 1 + what % 3 * 10, &deleted[i]);
        }
    }
    assert_int_equal(status[0], status[1]);
    assert_int_equal(deleted[0], deleted[1]);
    assert_int_equal(got_key[0].size, got_key[1].size);
    assert_int_equal(got_value[0].size, got_value[1].size);
    assert_true(got_key[0].size == 0 || memcmp(got_key[0].bytes, got_key[1].bytes, got_key[0].size) == 0);
    assert_true(got_value[0].size == 0 || memcmp(got_value[0].bytes, got_value[1].bytes, got_value[0].size) == 0);
}

static void expect_same_tables(struct txn *a, struct txn *b) {
    for (int table = 0; table < TABLE_COUNT; table++) {
        struct digest digests[2];
        assert_int_equal(store_table_digest(a, table, &digests[0]), 0);
        assert_int_equal(store_table_digest(b, table, &digests[1]), 0);
        assert_true(digest_equal(&digests[0], &digests[1]));
    }
}

static void test_random_operations_agree(void **state) {
    struct place *p = *state;
    struct store *mem;
    uint64_t seed = 20240229;
    struct txn *snapshots[2] = {NULL, NULL};
    assert_int_equal(store_open_mem(&mem), 0);
    for (int step = 0; step < TWIN_STEPS;) {
        struct txn *twins[2] = {begin(p->store, true), begin(mem, true)};
        for (uint32_t left = random_next(&seed) % 200; left > 0; left--, step++) {
            step_both(twins, &seed);
        }
        bool keep = random_next(&seed) % 3 > 0;
        if (snapshots[0]) {
            expect_same_tables(snapshots[0], snapshots[1]);
            store_abort(snapshots[0]);
            store_abort(snapshots[1]);
        }
        snapshots[0] = begin(p->store, false);
        snapshots[1] = begin(mem, false);
        for (int i = 0; i < 2; i++) {
            if (keep) {
                assert_int_equal(store_commit(twins[i]), 0);
            } else {
                store_abort(twins[i]);
            }
        }
    }
    store_abort(snapshots[0]);
    store_abort(snapshots[1]);
    struct txn *twins[2] = {begin(p->store, false), begin(mem, false)};
    expect_same_tables(twins[0], twins[1]);
    store_abort(twins[0]);
    store_abort(twins[1]);
    store_close(mem);
}

static void test_the_twin_gives_all_memory_back(void **state) {
    struct place *p = *state;
    uint8_t key[8];
    size_t deleted;
    struct txn *t = begin(p->store, true);
    for (uint64_t i = 0; i < 5000; i++) {
        put_u64(key, i * 0x9e3779b97f4a7c15ULL);
        assert_int_equal(txn_put(t, TABLE_LOG, (struct slice){key, 8}, text("12345678")), 0);
    }
    assert_int_equal(store_commit(t), 0);
    assert_true(store_used_bytes(p->store) == 5000 * 16);
    t = begin(p->store, true);
    assert_int_equal(txn_del_range(t, TABLE_LOG, (struct slice){0}, (struct slice){0}, 4000, &deleted), 0);
    assert_int_equal(deleted, 4000);
    assert_int_equal(store_commit(t), 0);
    assert_true(store_used_bytes(p->store) == 1000 * 16); /* the sanitizer looks for the rest */
}

/* ---- LMDB alone ---- */

static void test_survives_reopening(void **state) {
    struct place *p = *state;
    struct txn *t = begin(p->store, true);
    put(t, "a", "1");
    assert_int_equal(store_commit(t), 0);
    place_close(p);
    place_open(p, MAP_SIZE);
    expect_committed(p->store, "a", "1");
}

static void test_directory_is_exclusive(void **state) {
    struct place *p = *state;
    struct store *second = NULL;
    assert_int_equal(store_open_lmdb(p->directory, MAP_SIZE, &second), ERR_IN_USE);
    assert_null(second);
    place_close(p);
    place_open(p, MAP_SIZE);
}

static void test_bad_places_are_refused(void **state) {
    struct place *p = *state;
    struct store *s = NULL;
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/no/such", p->directory);
    assert_int_equal(store_open_lmdb(path, MAP_SIZE, &s), ERR_IO);
    (void)snprintf(path, sizeof(path), "%s/data.mdb", p->directory); /* a file */
    assert_int_equal(store_open_lmdb(path, MAP_SIZE, &s), ERR_IO);
    place_close(p);
    (void)snprintf(path, sizeof(path), "%s/data.mdb", p->directory);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    for (int i = 0; i < 8192; i++) {
        assert_int_equal(fputc('x', f), 'x');
    }
    assert_int_equal(fclose(f), 0);
    assert_int_equal(store_open_lmdb(p->directory, MAP_SIZE, &s), ERR_CORRUPT);
    assert_null(s);
}

/* Writes one key of one named table with LMDB itself. */
static void write_raw(const char *directory, const char *table, const char *key, const char *value) {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    char bytes[2][32];
    (void)snprintf(bytes[0], sizeof(bytes[0]), "%s", key);
    (void)snprintf(bytes[1], sizeof(bytes[1]), "%s", value);
    MDB_val k = {strlen(key), bytes[0]};
    MDB_val v = {strlen(value), bytes[1]};
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 2), 0);
    assert_int_equal(mdb_env_open(env, directory, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, MDB_CREATE, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void test_foreign_formats_are_refused(void **state) {
    struct place *p = *state;
    struct place foreign;
    place_close(p);
    write_raw(p->directory, "format", "format", "shoal store 999");
    assert_int_equal(store_open_lmdb(p->directory, MAP_SIZE, &p->store), ERR_VERSION);
    place_make(&foreign);
    write_raw(foreign.directory, "other", "a", "b");
    assert_int_equal(store_open_lmdb(foreign.directory, MAP_SIZE, &foreign.store), ERR_VERSION);
    place_remove(&foreign);
}

static void test_map_full_keeps_the_earlier_state(void **state) {
    struct place *p = *state;
    static const uint8_t bytes[4000] = {7};
    uint8_t key[4];
    uint32_t i = 0;
    int status = 0;
    place_close(p);
    place_open(p, 1u << 20);
    struct txn *t = begin(p->store, true);
    put(t, "kept", "yes");
    assert_int_equal(store_commit(t), 0);
    t = begin(p->store, true);
    for (; i < 1000 && status == 0; i++) {
        put_u32(key, i);
        status = txn_put(t, TABLE_NAMES, (struct slice){key, 4}, (struct slice){bytes, sizeof(bytes)});
    }
    assert_int_equal(status, ERR_NO_SPACE);
    /* Nothing but an abort is left. */
    assert_int_equal(txn_put(t, TABLE_NAMES, text("x"), text("y")), ERR_NO_SPACE);
    assert_int_equal(store_commit(t), ERR_NO_SPACE);
    t = begin(p->store, false);
    expect_keys(t, "kept ");
    expect(t, "kept", "yes");
    store_abort(t);
    t = begin(p->store, true);
    put(t, "small", "fits");
    assert_int_equal(store_commit(t), 0);
    place_close(p);
    place_open(p, MAP_SIZE);
    t = begin(p->store, false);
    expect_keys(t, "kept small ");
    store_abort(t);
}

/* Runs in a forked child; its exit code is what it found. */
static int child_fails_to_commit(const char *directory) {
    struct store *s;
    struct txn *t;
    static const uint8_t bytes[65536] = {7};
    const struct rlimit limit = {256 * 1024, 256 * 1024};
    if (store_open_lmdb(directory, MAP_SIZE, &s) != 0 || signal(SIGXFSZ, SIG_IGN) == SIG_ERR) {
        return 1;
    }
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || store_begin(s, true, &t) != 0) {
        return 2;
    }
    for (uint8_t i = 0; i < 16; i++) {
        if (txn_put(t, TABLE_CHUNKS, (struct slice){&i, 1}, (struct slice){bytes, sizeof(bytes)}) != 0) {
            return 3;
        }
    }
    int status = store_commit(t);
    return status == ERR_NO_SPACE || status == ERR_IO ? 42 : 4;
}

static int child_dies_in_a_transaction(const char *directory) {
    struct store *s;
    struct txn *t;
    uint8_t key[4];
    static const uint8_t bytes[3000] = {9};
    if (store_open_lmdb(directory, MAP_SIZE, &s) != 0) {
        return 1;
    }
    for (int commit = 0; commit < 2; commit++) {
        if (store_begin(s, true, &t) != 0) {
            return 2;
        }
        for (uint32_t i = 0; i < 500; i++) {
            put_u32(key, i);
            struct slice value = {bytes, commit == 0 ? 100 : sizeof(bytes)};
            if (txn_put(t, TABLE_LOG, (struct slice){key, 4}, value) != 0) {
                return 3;
            }
        }
        if (commit == 0 && store_commit(t) != 0) {
            return 4;
        }
    }
    return 42; /* with the second transaction open */
}

static void run_child(int (*child)(const char *directory), const char *directory) {
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(child(directory));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
}

static void test_failed_commit_keeps_the_earlier_state(void **state) {
    struct place *p = *state;
    struct slice key;
    struct slice value;
    struct txn *t = begin(p->store, true);
    put(t, "kept", "yes");
    assert_int_equal(store_commit(t), 0);
    place_close(p);
    run_child(child_fails_to_commit, p->directory);
    place_open(p, MAP_SIZE);
    t = begin(p->store, false);
    expect(t, "kept", "yes");
    assert_int_equal(txn_seek(t, TABLE_CHUNKS, (struct slice){0}, &key, &value), ERR_NOT_FOUND);
    store_abort(t);
}

static void test_killed_in_a_transaction_keeps_what_was_committed(void **state) {
    struct place *p = *state;
    struct slice key = {0};
    struct slice value;
    uint32_t count = 0;
    place_close(p);
    run_child(child_dies_in_a_transaction, p->directory);
    place_open(p, MAP_SIZE);
    struct txn *t = begin(p->store, false);
    int status = txn_seek(t, TABLE_LOG, key, &key, &value);
    for (; status == 0; count++) {
        assert_int_equal(get_u32(key.bytes), count);
        assert_int_equal(value.size, 100);
        status = txn_next(t, TABLE_LOG, key, &key, &value);
    }
    assert_int_equal(count, 500);
    store_abort(t);
}

#define ON_BOTH(test)                                     \
    {"lmdb: " #test, test, setup_lmdb, teardown, NULL}, { \
        "mem: " #test, test, setup_mem, teardown, NULL    \
    }
#define ON_LMDB(test) cmocka_unit_test_setup_teardown(test, setup_lmdb, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_put_get_del),
        ON_BOTH(test_tables_are_apart),
        ON_BOTH(test_abort_leaves_no_trace),
        ON_BOTH(test_a_transaction_knows_about_what_it_holds),
        ON_BOTH(test_readers_keep_their_snapshot),
        ON_BOTH(test_order_is_that_of_memcmp),
        ON_BOTH(test_seek_and_next),
        ON_BOTH(test_iteration_while_writing),
        ON_BOTH(test_del_range),
        ON_BOTH(test_key_and_value_limits),
        ON_BOTH(test_large_values),
        ON_BOTH(test_table_digest_tells_differences),
        ON_BOTH(test_random_operations_agree),
        cmocka_unit_test_setup_teardown(test_the_twin_gives_all_memory_back, setup_mem, teardown),
        ON_LMDB(test_survives_reopening),
        ON_LMDB(test_directory_is_exclusive),
        ON_LMDB(test_bad_places_are_refused),
        ON_LMDB(test_foreign_formats_are_refused),
        ON_LMDB(test_map_full_keeps_the_earlier_state),
        ON_LMDB(test_failed_commit_keeps_the_earlier_state),
        ON_LMDB(test_killed_in_a_transaction_keeps_what_was_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
