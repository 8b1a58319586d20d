/* Chunks as pieces, on both stores: every boundary size, damage, deletion, iteration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "chunks.h"
#include "errors.h"
#include "scratch.h"
#include "store.h"

#define FIRST_PIECE (CHUNK_PIECE - 8)

struct place {
    char directory[SCRATCH_SIZE];
    struct store *store;
    struct txn *txn; /* one write transaction for the whole test */
    uint8_t *stored; /* CHUNK_STORED_MAX bytes */
    uint8_t *read;
};

static int setup(void **state, bool lmdb) {
    struct place *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    scratch_make(p->directory);
    assert_int_equal(lmdb ? store_open_lmdb(p->directory, 64u << 20, &p->store) : store_open_mem(&p->store), 0);
    assert_int_equal(store_begin(p->store, true, &p->txn), 0);
    p->stored = malloc(CHUNK_STORED_MAX);
    p->read = malloc(CHUNK_STORED_MAX);
    assert_true(p->stored && p->read);
    for (size_t i = 0; i < CHUNK_STORED_MAX; i++) {
        p->stored[i] = (uint8_t)(i * 7 + i / 65536);
    }
    *state = p;
    return 0;
}

static int setup_lmdb(void **state) {
    return setup(state, true);
}

static int setup_mem(void **state) {
    return setup(state, false);
}

static int teardown(void **state) {
    struct place *p = *state;
    store_abort(p->txn);
    store_close(p->store);
    scratch_remove(p->directory);
    free(p->stored);
    free(p->read);
    free(p);
    return 0;
}

static struct digest numbered(uint8_t n) {
    struct digest d = {{0}};
    d.bytes[0] = n;
    d.bytes[DIGEST_SIZE - 1] = 0xff;
    return d;
}

static size_t count_pieces(struct place *p) {
    size_t count = 0;
    struct slice key = {0};
    struct slice value;
    int status = txn_seek(p->txn, TABLE_CHUNKS, key, &key, &value);
    while (status == 0) {
        assert_true(value.size <= CHUNK_PIECE);
        count++;
        status = txn_next(p->txn, TABLE_CHUNKS, key, &key, &value);
    }
    assert_int_equal(status, ERR_NOT_FOUND);
    return count;
}

static void test_every_boundary_size_round_trips(void **state) {
    struct place *p = *state;
    static const struct {
        size_t size, pieces;
    } cases[] = {
        {CHUNK_HEADER_SIZE, 1},
        {CHUNK_HEADER_SIZE + 1, 1},
        {FIRST_PIECE - 1, 1},
        {FIRST_PIECE, 1},
        {FIRST_PIECE + 1, 2},
        {FIRST_PIECE + CHUNK_PIECE, 2},
        {FIRST_PIECE + CHUNK_PIECE + 1, 3},
        {CHUNK_STORED_MAX - 1, 17},
        {CHUNK_STORED_MAX, 17},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct digest d = numbered((uint8_t)i);
        size_t size = 0;
        assert_int_equal(chunk_has(p->txn, &d), ERR_NOT_FOUND);
        assert_int_equal(chunk_put(p->txn, &d, p->stored, cases[i].size), 0);
        assert_int_equal(count_pieces(p), cases[i].pieces);
        assert_int_equal(chunk_has(p->txn, &d), 0);
        memset(p->read, 0, CHUNK_STORED_MAX);
        assert_int_equal(chunk_get(p->txn, &d, p->read, CHUNK_STORED_MAX, &size), 0);
        assert_int_equal(size, cases[i].size);
        assert_memory_equal(p->read, p->stored, size);
        assert_int_equal(chunk_get(p->txn, &d, p->read, cases[i].size, &size), 0);
        assert_int_equal(chunk_get(p->txn, &d, p->read, cases[i].size - 1, &size), ERR_TOO_LARGE);
        assert_int_equal(chunk_del(p->txn, &d), 0);
        assert_int_equal(count_pieces(p), 0);
    }
}

static void test_absent_chunks_are_not_found(void **state) {
    struct place *p = *state;
    struct digest d = numbered(1);
    size_t size = 77;
    assert_int_equal(chunk_get(p->txn, &d, p->read, CHUNK_STORED_MAX, &size), ERR_NOT_FOUND);
    assert_int_equal(size, 77);
    assert_int_equal(chunk_del(p->txn, &d), ERR_NOT_FOUND);
    assert_int_equal(chunk_next(p->txn, NULL, &d), ERR_NOT_FOUND);
}

static void test_storing_again_replaces_a_damaged_copy(void **state) {
    struct place *p = *state;
    struct digest d = numbered(1);
    size_t size;
    static const size_t damaged[] = {1000, 150000, 200000, CHUNK_STORED_MAX - 1};
    for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
        assert_int_equal(chunk_put(p->txn, &d, p->stored + 1, damaged[i]), 0);
        assert_int_equal(chunk_put(p->txn, &d, p->stored, 200000), 0);
        assert_int_equal(chunk_put(p->txn, &d, p->stored, 200000), 0);
        assert_int_equal(chunk_get(p->txn, &d, p->read, CHUNK_STORED_MAX, &size), 0);
        assert_int_equal(size, 200000);
        assert_memory_equal(p->read, p->stored, 200000);
        assert_int_equal(chunk_del(p->txn, &d), 0);
        assert_int_equal(chunk_del(p->txn, &d), ERR_NOT_FOUND); /* no piece of the longer one was left */
    }
}

static void test_deleting_spares_the_neighbours(void **state) {
    struct place *p = *state;
    for (uint8_t n = 1; n <= 3; n++) {
        struct digest d = numbered(n);
        assert_int_equal(chunk_put(p->txn, &d, p->stored, 200000), 0);
    }
    struct digest middle = numbered(2);
    assert_int_equal(chunk_del(p->txn, &middle), 0);
    assert_int_equal(chunk_has(p->txn, &middle), ERR_NOT_FOUND);
    for (uint8_t n = 1; n <= 3; n += 2) {
        struct digest d = numbered(n);
        size_t size;
        assert_int_equal(chunk_get(p->txn, &d, p->read, CHUNK_STORED_MAX, &size), 0);
        assert_memory_equal(p->read, p->stored, 200000);
    }
}

static void test_next_meets_each_chunk_once(void **state) {
    struct place *p = *state;
    struct digest d;
    struct digest found;
    for (uint8_t n = 9; n > 0; n -= 3) {
        d = numbered(n);
        assert_int_equal(chunk_put(p->txn, &d, p->stored, 200000), 0);
    }
    memset(d.bytes, 0xff, DIGEST_SIZE);
    assert_int_equal(chunk_put(p->txn, &d, p->stored, 20), 0);
    assert_int_equal(chunk_next(p->txn, NULL, &found), 0);
    assert_int_equal(found.bytes[0], 3);
    assert_int_equal(chunk_next(p->txn, &found, &found), 0);
    assert_int_equal(found.bytes[0], 6);
    assert_int_equal(chunk_next(p->txn, &found, &found), 0);
    assert_int_equal(found.bytes[0], 9);
    assert_int_equal(chunk_next(p->txn, &found, &found), 0);
    assert_true(digest_equal(&found, &d));
    assert_int_equal(chunk_next(p->txn, &found, &found), ERR_NOT_FOUND);
}

/* Replaces one piece of a three-piece chunk (size SIZE_MAX: removes it) and expects the read to notice. */
static void expect_noticed(struct place *p, uint8_t piece, size_t size) {
    struct digest d = numbered(5);
    uint8_t key[DIGEST_SIZE + 1];
    size_t got = 77;
    assert_int_equal(chunk_put(p->txn, &d, p->stored, 150000), 0);
    memcpy(key, d.bytes, DIGEST_SIZE);
    key[DIGEST_SIZE] = piece;
    struct slice k = {key, sizeof(key)};
    if (size == SIZE_MAX) {
        assert_int_equal(txn_del(p->txn, TABLE_CHUNKS, k), 0);
    } else {
        assert_int_equal(txn_put(p->txn, TABLE_CHUNKS, k, (struct slice){p->stored, size}), 0);
    }
    assert_int_equal(chunk_get(p->txn, &d, p->read, CHUNK_STORED_MAX, &got), ERR_CORRUPT);
    assert_int_equal(got, 77);
    assert_int_equal(chunk_del(p->txn, &d), 0);
    assert_int_equal(count_pieces(p), 0);
}

static void test_damaged_pieces_are_corrupt(void **state) {
    struct place *p = *state;
    expect_noticed(p, 0, 0);
    expect_noticed(p, 0, 7);
    expect_noticed(p, 0, CHUNK_PIECE); /* its length field now holds a pattern: far too much */
    expect_noticed(p, 1, SIZE_MAX);
    expect_noticed(p, 1, CHUNK_PIECE - 1);
    expect_noticed(p, 2, SIZE_MAX);
    expect_noticed(p, 2, 0);
    expect_noticed(p, 2, CHUNK_PIECE);
}

static void test_headers(void **state) {
    (void)state;
    uint8_t h[CHUNK_HEADER_SIZE];
    uint32_t flags;
    uint64_t plain;
    chunk_header_encode(h, 0, 0x12345);
    assert_memory_equal(h, "SHC1\0\0\0\0\0\0\0\0\0\x01\x23\x45", sizeof(h));
    assert_int_equal(chunk_header_decode(h, 0x12345 + sizeof(h), &flags, &plain), 0);
    assert_int_equal(flags, 0);
    assert_true(plain == 0x12345);
    assert_int_equal(chunk_header_decode(h, 0x12345 + sizeof(h) - 1, &flags, &plain), ERR_CORRUPT);
    assert_int_equal(chunk_header_decode(h, 0x12345 + sizeof(h) + 1, &flags, &plain), ERR_CORRUPT);
    assert_int_equal(chunk_header_decode(h, sizeof(h) - 1, &flags, &plain), ERR_CORRUPT);
    chunk_header_encode(h, 0, CHUNK_PLAIN_MAX);
    assert_int_equal(chunk_header_decode(h, CHUNK_STORED_MAX, &flags, &plain), 0);
    chunk_header_encode(h, 0x80000001, CHUNK_PLAIN_MAX);
    assert_int_equal(chunk_header_decode(h, 100, &flags, &plain), 0); /* packed: any stored size */
    assert_true(flags == 0x80000001);
    assert_int_equal(chunk_header_decode(h, CHUNK_STORED_MAX + 1, &flags, &plain), ERR_CORRUPT);
    h[13]++; /* plain length past the limit */
    assert_int_equal(chunk_header_decode(h, 100, &flags, &plain), ERR_CORRUPT);
    chunk_header_encode(h, 0, 0);
    h[0] = 'X';
    assert_int_equal(chunk_header_decode(h, sizeof(h), &flags, &plain), ERR_CORRUPT);
}

#define ON_BOTH(test)                                     \
    {"lmdb: " #test, test, setup_lmdb, teardown, NULL}, { \
        "mem: " #test, test, setup_mem, teardown, NULL    \
    }

int main(void) {
    const struct CMUnitTest tests[] = {
        ON_BOTH(test_every_boundary_size_round_trips),
        ON_BOTH(test_absent_chunks_are_not_found),
        ON_BOTH(test_storing_again_replaces_a_damaged_copy),
        ON_BOTH(test_deleting_spares_the_neighbours),
        ON_BOTH(test_next_meets_each_chunk_once),
        ON_BOTH(test_damaged_pieces_are_corrupt),
        cmocka_unit_test(test_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
