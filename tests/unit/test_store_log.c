/* The store with a write-ahead log in front: it agrees with the in-memory twin through commits, aborts and reopenings;
 * and after a crash, which is a copy of its directory with the last write missing, torn or whole, it has what was
 * committed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
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
#define SEGMENT_BYTES (64u << 10)
#define BLOCK 4096
#define PATH_SIZE 256
#define VALUE_MAX 20000

struct place {
    char root[SCRATCH_SIZE];
    char dir[PATH_SIZE];
    struct store *store;
    unsigned copies;
};

/* ---- helpers ---- */

static int open_dir(const char *dir, struct store **ret) {
    return store_open_log(dir, MAP_SIZE, SEGMENT_BYTES, ret);
}

static int setup(void **state) {
    struct place *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    scratch_make(p->root);
    (void)snprintf(p->dir, sizeof(p->dir), "%s/store", p->root);
    assert_int_equal(open_dir(p->dir, &p->store), 0);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    struct place *p = *state;
    store_close(p->store);
    scratch_remove(p->root);
    free(p);
    return 0;
}

static void reopen(struct place *p) {
    store_close(p->store);
    p->store = NULL;
    assert_int_equal(open_dir(p->dir, &p->store), 0);
}

static void copy_file(const char *from, const char *to) {
    static uint8_t bytes[1 << 16];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t n;
    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, bytes, sizeof(bytes))) > 0) {
        assert_int_equal(write(out, bytes, (size_t)n), n);
    }
    assert_int_equal(n, 0);
    assert_int_equal(close(in) | close(out), 0);
}

/* The directory as a crash would leave it. */
static void copy_dir(struct place *p, char ret_dir[PATH_SIZE]) {
    char from[2 * PATH_SIZE], to[2 * PATH_SIZE];
    (void)snprintf(ret_dir, PATH_SIZE, "%s/copy-%u", p->root, p->copies++);
    assert_int_equal(mkdir(ret_dir, 0700), 0);
    DIR *dir = opendir(p->dir);
    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (e->d_name[0] != '.') {
            (void)snprintf(from, sizeof(from), "%s/%s", p->dir, e->d_name);
            (void)snprintf(to, sizeof(to), "%s/%s", ret_dir, e->d_name);
            copy_file(from, to);
        }
    }
    assert_int_equal(closedir(dir), 0);
}

static void put_one(struct store *s, enum txn_table table, const char *key, const char *value) {
    struct txn *t = begin(s, true);
    assert_int_equal(txn_put(t, table, text(key), text(value)), 0);
    assert_int_equal(store_commit(t), 0);
}

static void del_one(struct store *s, enum txn_table table, const char *key) {
    struct txn *t = begin(s, true);
    assert_int_equal(txn_del(t, table, text(key)), 0);
    assert_int_equal(store_commit(t), 0);
}

/* value NULL: absent */
static void expect_one(struct store *s, enum txn_table table, const char *key, const char *value) {
    struct slice got;
    struct txn *t = begin(s, false);
    int status = txn_get(t, table, text(key), &got);
    assert_int_equal(status, value ? 0 : ERR_NOT_FOUND);
    if (value) {
        assert_int_equal(got.size, strlen(value));
        assert_memory_equal(got.bytes, value, got.size);
    }
    store_abort(t);
}

static void state_of(struct store *s, struct digest *out) {
    static const enum txn_table tables[] = {TABLE_LOCAL, TABLE_HARD, TABLE_LOG};
    struct digest digests[3];
    struct txn *t = begin(s, false);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(store_table_digest(t, tables[i], &digests[i]), 0);
    }
    digest_of(digests, sizeof(digests), out);
    store_abort(t);
}

static void expect_state(struct store *s, const struct digest *wanted) {
    struct digest got;
    state_of(s, &got);
    assert_memory_equal(&got, wanted, sizeof(got));
}

static uint64_t random_next(uint64_t *seed) {
    uint64_t x = *seed += 0x9e3779b97f4a7c15ULL;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return x ^ x >> 31;
}

/* Deletes some keys in a row; the store itself hands them on, from what it has just found. */
static void random_range(struct txn *const *twins, size_t count, uint64_t *seed) {
    static const enum txn_table tables[] = {TABLE_LOG, TABLE_HARD, TABLE_LOCAL};
    uint8_t first[2] = {7, (uint8_t)(random_next(seed) % 24)};
    uint8_t last[2] = {7, (uint8_t)(first[1] + random_next(seed) % 4)};
    enum txn_table table = tables[random_next(seed) % 3];
    size_t deleted[2];
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(
            txn_del_range(twins[i], table, (struct slice){first, 2}, (struct slice){last, 2}, SIZE_MAX, &deleted[i]),
            0);
        assert_int_equal(deleted[i], deleted[0]);
    }
}

/* Puts under few keys, small or large, or deletes. */
static void random_step(struct txn *const *twins, size_t count, uint64_t *seed) {
    static uint8_t bytes[VALUE_MAX];
    static const enum txn_table tables[] = {TABLE_LOG, TABLE_LOG, TABLE_HARD, TABLE_LOCAL};
    uint8_t key[2] = {7, (uint8_t)(random_next(seed) % 24)};
    enum txn_table table = tables[random_next(seed) % 4];
    size_t size = random_next(seed) % (table == TABLE_LOG ? VALUE_MAX : 200);
    bool del = random_next(seed) % 3 == 0;
    int first = 0;
    if (random_next(seed) % 8 == 0) {
        random_range(twins, count, seed);
        return;
    }
    memset(bytes, (int)(random_next(seed) & 0xff), size);
    for (size_t i = 0; i < count; i++) {
        int status = del ? txn_del(twins[i], table, (struct slice){key, 2})
                         : txn_put(twins[i], table, (struct slice){key, 2}, (struct slice){bytes, size});
        assert_true(status == 0 || (del && status == ERR_NOT_FOUND));
        first = i == 0 ? status : first;
        assert_int_equal(status, first);
    }
}

static unsigned count_files(const struct place *p, const char *prefix) {
    unsigned count = 0;
    DIR *dir = opendir(p->dir);
    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        count += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    }
    assert_int_equal(closedir(dir), 0);
    return count;
}

/* The log's file whose segment has the highest number, and where its records end. */
static void newest_file(const char *dir_path, char ret_path[2 * PATH_SIZE], off_t *ret_last, off_t *ret_end) {
    uint64_t newest = 0;
    uint8_t block[BLOCK];
    char path[2 * PATH_SIZE];
    DIR *dir = opendir(dir_path);
    assert_non_null(dir);
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (strncmp(e->d_name, "wal-", 4) != 0) {
            continue;
        }
        (void)snprintf(path, sizeof(path), "%s/%s", dir_path, e->d_name);
        int fd = open(path, O_RDONLY);
        assert_int_equal(read(fd, block, sizeof(block)), sizeof(block));
        uint64_t number = get_u64(block + 16), salt = get_u64(block + 32);
        if (number > newest) {
            newest = number;
            (void)snprintf(ret_path, 2 * PATH_SIZE, "%s", path);
            *ret_last = *ret_end = BLOCK;
            while (pread(fd, block, sizeof(block), *ret_end) == BLOCK && get_u64(block) == salt &&
                   get_u64(block + 8) == number) {
                *ret_last = *ret_end;
                *ret_end += ((off_t)get_u32(block + 24) + 40 + BLOCK - 1) / BLOCK * BLOCK;
            }
        }
        assert_int_equal(close(fd), 0);
    }
    assert_int_equal(closedir(dir), 0);
    assert_true(newest > 0);
}

static void damage(const char *path, off_t offset, uint8_t flip) {
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= flip;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    assert_int_equal(close(fd), 0);
}

static void blank(const char *path, off_t offset, size_t size) {
    static const uint8_t zeros[BLOCK];
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (size_t at = 0; at < size; at += BLOCK) {
        assert_int_equal(pwrite(fd, zeros, BLOCK, offset + (off_t)at), BLOCK);
    }
    assert_int_equal(close(fd), 0);
}

/* ---- as a store ---- */

static void test_agrees_with_the_twin(void **state) {
    struct place *p = *state;
    struct store *mem;
    struct digest wanted;
    uint64_t seed = 20261121;
    assert_int_equal(store_open_mem(&mem), 0);
    for (int round = 0; round < 400; round++) {
        struct txn *twins[2] = {begin(p->store, true), begin(mem, true)};
        for (uint64_t left = random_next(&seed) % 12; left > 0; left--) {
            random_step(twins, 2, &seed);
        }
        bool keep = random_next(&seed) % 4 > 0;
        for (size_t i = 0; i < 2; i++) {
            if (keep) {
                assert_int_equal(store_commit(twins[i]), 0);
            } else {
                store_abort(twins[i]);
            }
        }
        if (random_next(&seed) % 8 == 0) {
            reopen(p);
        }
        if (random_next(&seed) % 4 == 0) {
            state_of(mem, &wanted);
            expect_state(p->store, &wanted);
        }
    }
    state_of(mem, &wanted);
    expect_state(p->store, &wanted);
    store_close(mem);
}

static void test_a_transaction_sees_what_it_wrote(void **state) {
    struct place *p = *state;
    struct slice key, value;
    put_one(p->store, TABLE_LOG, "b", "old");
    struct txn *t = begin(p->store, true);
    assert_int_equal(txn_put(t, TABLE_LOG, text("a"), text("new")), 0);
    assert_int_equal(txn_del(t, TABLE_LOG, text("b")), 0);
    assert_int_equal(txn_put(t, TABLE_LOG, text("c"), text("")), 0);
    assert_int_equal(txn_seek(t, TABLE_LOG, (struct slice){0}, &key, &value), 0);
    assert_int_equal(value.size, 3);
    assert_memory_equal(value.bytes, "new", 3);
    assert_int_equal(txn_next(t, TABLE_LOG, text("a"), &key, &value), 0);
    assert_memory_equal(key.bytes, "c", 1);
    assert_int_equal(value.size, 0);
    assert_int_equal(txn_del(t, TABLE_LOG, text("b")), ERR_NOT_FOUND);
    store_abort(t);
    expect_one(p->store, TABLE_LOG, "a", NULL);
    expect_one(p->store, TABLE_LOG, "b", "old");
}

/* What others committed since the segment began goes with an aborted transaction, and is brought back. */
static void test_an_abort_takes_nothing_else(void **state) {
    struct place *p = *state;
    put_one(p->store, TABLE_HARD, "term", "1");
    struct txn *t = begin(p->store, true);
    assert_int_equal(txn_put(t, TABLE_HARD, text("term"), text("2")), 0);
    assert_int_equal(txn_put(t, TABLE_LOG, text("entry"), text("x")), 0);
    store_abort(t);
    expect_one(p->store, TABLE_HARD, "term", "1");
    expect_one(p->store, TABLE_LOG, "entry", NULL);
    put_one(p->store, TABLE_HARD, "vote", "3");
    reopen(p);
    expect_one(p->store, TABLE_HARD, "term", "1");
    expect_one(p->store, TABLE_HARD, "vote", "3");
}

/* One value stays, as many others come and go. */
static void test_files_are_used_again(void **state) {
    struct place *p = *state;
    static uint8_t bytes[30000];
    char key[16], old[16];
    put_one(p->store, TABLE_LOG, "kept", "for long");
    put_one(p->store, TABLE_HARD, "term", "9");
    for (unsigned i = 0; i < 300; i++) {
        struct txn *t = begin(p->store, true);
        (void)snprintf(key, sizeof(key), "m%06u", i);
        assert_int_equal(txn_put(t, TABLE_LOG, text(key), (struct slice){bytes, sizeof(bytes)}), 0);
        if (i >= 4) {
            (void)snprintf(old, sizeof(old), "m%06u", i - 4);
            assert_int_equal(txn_del(t, TABLE_LOG, text(old)), 0);
        }
        assert_int_equal(store_commit(t), 0);
        assert_true(count_files(p, "wal-") <= 12);
        assert_true(store_used_bytes(p->store) <= 12 * 2 * SEGMENT_BYTES);
        if (i % 50 == 0) {
            reopen(p);
            expect_one(p->store, TABLE_LOG, "kept", "for long");
        }
    }
    expect_one(p->store, TABLE_HARD, "term", "9");
    del_one(p->store, TABLE_LOG, "kept");
    reopen(p);
    expect_one(p->store, TABLE_LOG, "kept", NULL);
    expect_one(p->store, TABLE_HARD, "term", "9");
}

/* What is needed is more than a share of the files: it stays where it is. */
static void test_much_that_is_needed_stays(void **state) {
    struct place *p = *state;
    static uint8_t bytes[30000];
    uint8_t key[4];
    struct slice got;
    for (uint32_t i = 0; i < 100; i++) {
        struct txn *t = begin(p->store, true);
        put_u32(key, i);
        memset(bytes, (int)i, sizeof(bytes));
        assert_int_equal(txn_put(t, TABLE_LOG, (struct slice){key, 4}, (struct slice){bytes, sizeof(bytes)}), 0);
        assert_int_equal(store_commit(t), 0);
    }
    assert_true(store_used_bytes(p->store) >= 100 * sizeof(bytes));
    reopen(p);
    struct txn *t = begin(p->store, false);
    for (uint32_t i = 0; i < 100; i++) {
        put_u32(key, i);
        memset(bytes, (int)i, sizeof(bytes));
        assert_int_equal(txn_get(t, TABLE_LOG, (struct slice){key, 4}, &got), 0);
        assert_int_equal(got.size, sizeof(bytes));
        assert_memory_equal(got.bytes, bytes, sizeof(bytes));
    }
    store_abort(t);
}

static void test_restarts_and_small_commits_take_no_room(void **state) {
    struct place *p = *state;
    char value[16];
    put_one(p->store, TABLE_LOG, "kept", "for long");
    for (unsigned i = 0; i < 60; i++) {
        reopen(p);
        (void)snprintf(value, sizeof(value), "%u", i);
        put_one(p->store, TABLE_HARD, "term", value);
    }
    assert_true(count_files(p, "wal-") <= 6);
    for (unsigned i = 0; i < 400; i++) {
        (void)snprintf(value, sizeof(value), "%u", i);
        put_one(p->store, TABLE_HARD, "term", value);
    }
    assert_true(count_files(p, "wal-") <= 10);
    reopen(p);
    expect_one(p->store, TABLE_HARD, "term", "399");
    expect_one(p->store, TABLE_LOG, "kept", "for long");
}

static void test_a_record_may_be_larger_than_a_segment(void **state) {
    struct place *p = *state;
    size_t size = (size_t)5 << 20;
    uint8_t *bytes = malloc(size);
    struct slice got;
    assert_non_null(bytes);
    memset(bytes, 'x', size);
    struct txn *t = begin(p->store, true);
    assert_int_equal(txn_put(t, TABLE_LOG, text("large"), (struct slice){bytes, size}), 0);
    assert_int_equal(store_commit(t), 0);
    put_one(p->store, TABLE_LOG, "small", "after");
    for (int i = 0; i < 2; i++) {
        t = begin(p->store, false);
        assert_int_equal(txn_get(t, TABLE_LOG, text("large"), &got), 0);
        assert_int_equal(got.size, size);
        assert_memory_equal(got.bytes, bytes, size);
        store_abort(t);
        expect_one(p->store, TABLE_LOG, "small", "after");
        reopen(p);
    }
    free(bytes);
}

/* ---- crashes ---- */

static void test_what_was_committed_survives_a_crash(void **state) {
    struct place *p = *state;
    uint64_t seed = 7;
    for (int round = 0; round < 60; round++) {
        char dir[PATH_SIZE];
        struct digest wanted;
        struct store *crashed;
        struct txn *t = begin(p->store, true);
        for (uint64_t left = random_next(&seed) % 6; left > 0; left--) {
            random_step(&t, 1, &seed);
        }
        assert_int_equal(store_commit(t), 0);
        state_of(p->store, &wanted);
        t = begin(p->store, true);
        random_step(&t, 1, &seed); /* a transaction that is open at the crash */
        copy_dir(p, dir);
        store_abort(t);
        assert_int_equal(open_dir(dir, &crashed), 0);
        expect_state(crashed, &wanted);
        put_one(crashed, TABLE_LOG, "it", "goes on");
        store_close(crashed);
        assert_int_equal(open_dir(dir, &crashed), 0);
        expect_one(crashed, TABLE_LOG, "it", "goes on");
        store_close(crashed);
    }
}

/* Of the last record, which nobody was promised, any blocks may be missing. */
static void test_a_torn_record_ends_the_log(void **state) {
    struct place *p = *state;
    char filler[3 * BLOCK];
    struct digest before;
    memset(filler, 'f', sizeof(filler));
    put_one(p->store, TABLE_HARD, "term", "1");
    put_one(p->store, TABLE_LOG, "first", "1");
    state_of(p->store, &before);
    struct txn *t = begin(p->store, true);
    assert_int_equal(txn_put(t, TABLE_LOG, text("torn"), (struct slice){(const uint8_t *)filler, sizeof(filler)}), 0);
    assert_int_equal(txn_put(t, TABLE_HARD, text("term"), text("2")), 0);
    assert_int_equal(store_commit(t), 0);
    for (unsigned missing = 1; missing < 16; missing++) {
        char dir[PATH_SIZE], path[2 * PATH_SIZE];
        off_t last = 0, end = 0;
        struct store *crashed;
        copy_dir(p, dir);
        newest_file(dir, path, &last, &end);
        assert_int_equal(end - last, 4 * BLOCK);
        for (unsigned block = 0; block < 4; block++) {
            if (missing >> block & 1) {
                blank(path, last + (off_t)block * BLOCK, BLOCK);
            }
        }
        assert_int_equal(open_dir(dir, &crashed), 0);
        expect_state(crashed, &before);
        put_one(crashed, TABLE_LOG, "next", "2");
        store_close(crashed);
        assert_int_equal(open_dir(dir, &crashed), 0); /* with a torn record in a segment that is not the last */
        expect_one(crashed, TABLE_LOG, "next", "2");
        expect_one(crashed, TABLE_HARD, "term", "1");
        store_close(crashed);
    }
}

static void test_every_damaged_byte_of_the_last_record_is_seen(void **state) {
    struct place *p = *state;
    struct digest before;
    char path[2 * PATH_SIZE];
    off_t last = 0, end = 0;
    put_one(p->store, TABLE_LOG, "first", "1");
    state_of(p->store, &before);
    put_one(p->store, TABLE_LOG, "second", "with a value of some length");
    newest_file(p->dir, path, &last, &end);
    for (off_t at = 0; at < 40 + 8 + 6 + 27; at++) {
        char dir[PATH_SIZE], copy[2 * PATH_SIZE];
        struct store *crashed;
        copy_dir(p, dir);
        newest_file(dir, copy, &last, &end);
        damage(copy, last + at, 0x10);
        assert_int_equal(open_dir(dir, &crashed), 0);
        expect_state(crashed, &before);
        store_close(crashed);
        scratch_remove(dir);
    }
}

/* A crash after a segment has its header and before LMDB knows of it: LMDB's file is from before, twice over. */
static void test_a_crash_in_a_turn(void **state) {
    struct place *p = *state;
    char dir[PATH_SIZE], from[2 * PATH_SIZE], to[2 * PATH_SIZE];
    struct digest wanted;
    struct store *crashed;
    put_one(p->store, TABLE_HARD, "term", "1");
    put_one(p->store, TABLE_LOG, "entry", "1");
    state_of(p->store, &wanted);
    store_close(p->store);
    p->store = NULL;
    copy_dir(p, dir);
    (void)snprintf(from, sizeof(from), "%s/data.mdb", p->dir);
    (void)snprintf(to, sizeof(to), "%s/data.mdb", dir);
    for (int times = 0; times < 3; times++) {
        assert_int_equal(open_dir(dir, &crashed), 0);
        expect_state(crashed, &wanted);
        store_abort(begin(crashed, true)); /* turns */
        store_close(crashed);
        copy_file(from, to);
    }
    assert_int_equal(open_dir(dir, &crashed), 0);
    expect_state(crashed, &wanted);
    put_one(crashed, TABLE_LOG, "entry", "2");
    store_close(crashed);
    assert_int_equal(open_dir(dir, &crashed), 0);
    expect_one(crashed, TABLE_LOG, "entry", "2");
    expect_one(crashed, TABLE_HARD, "term", "1");
    store_close(crashed);
}

/* A file system may forget that a file was deleted. */
static void test_a_deleted_file_may_come_back(void **state) {
    struct place *p = *state;
    static uint8_t bytes[30000];
    char first[2 * PATH_SIZE], saved[2 * PATH_SIZE];
    off_t last = 0, end = 0;
    put_one(p->store, TABLE_LOG, "a", "1");
    newest_file(p->dir, first, &last, &end);
    (void)snprintf(saved, sizeof(saved), "%s/saved", p->root);
    copy_file(first, saved);
    del_one(p->store, TABLE_LOG, "a");
    for (unsigned i = 0; i < 40; i++) {
        struct txn *t = begin(p->store, true);
        assert_int_equal(txn_put(t, TABLE_LOG, text("b"), (struct slice){bytes, sizeof(bytes)}), 0);
        assert_int_equal(store_commit(t), 0);
    }
    put_one(p->store, TABLE_LOG, "c", "3");
    store_close(p->store);
    p->store = NULL;
    (void)snprintf(first, sizeof(first), "%s/wal-77", p->dir);
    copy_file(saved, first);
    assert_int_equal(open_dir(p->dir, &p->store), 0);
    expect_one(p->store, TABLE_LOG, "a", NULL);
    expect_one(p->store, TABLE_LOG, "c", "3");
    assert_int_equal(access(first, F_OK), -1);
}

/* ---- damage ---- */

static void test_damage_before_the_end_is_reported(void **state) {
    struct place *p = *state;
    struct store *s = NULL;
    char path[2 * PATH_SIZE];
    off_t last = 0, end = 0;
    put_one(p->store, TABLE_LOG, "first", "1");
    newest_file(p->dir, path, &last, &end);
    put_one(p->store, TABLE_LOG, "second", "2");
    store_close(p->store);
    p->store = NULL;
    damage(path, last + 50, 1);
    assert_int_equal(open_dir(p->dir, &s), ERR_CORRUPT);
    damage(path, last + 50, 1);
    damage(path, 20, 1); /* the segment's header */
    assert_int_equal(open_dir(p->dir, &s), ERR_CORRUPT);
    damage(path, 20, 1);
    assert_int_equal(open_dir(p->dir, &p->store), 0);
    expect_one(p->store, TABLE_LOG, "first", "1");
    expect_one(p->store, TABLE_LOG, "second", "2");
}

/* The end of one segment, when another follows. */
static void test_a_missing_end_or_file_is_reported(void **state) {
    struct place *p = *state;
    struct store *s = NULL;
    char path[2 * PATH_SIZE], away[2 * PATH_SIZE + 8];
    off_t last = 0, end = 0;
    put_one(p->store, TABLE_LOG, "first", "1");
    newest_file(p->dir, path, &last, &end);
    reopen(p);
    put_one(p->store, TABLE_LOG, "second", "2");
    store_close(p->store);
    p->store = NULL;
    damage(path, last + 50, 1);
    assert_int_equal(open_dir(p->dir, &s), ERR_CORRUPT);
    damage(path, last + 50, 1);
    (void)snprintf(away, sizeof(away), "%s.away", path);
    assert_int_equal(rename(path, away), 0);
    assert_int_equal(open_dir(p->dir, &s), ERR_CORRUPT);
    assert_int_equal(rename(away, path), 0);
    newest_file(p->dir, path, &last, &end);
    (void)snprintf(away, sizeof(away), "%s.away", path);
    assert_int_equal(rename(path, away), 0);
    assert_int_equal(open_dir(p->dir, &s), ERR_CORRUPT);
    assert_int_equal(rename(away, path), 0);
    assert_int_equal(open_dir(p->dir, &p->store), 0);
    expect_one(p->store, TABLE_LOG, "second", "2");
}

static void test_foreign_files_and_formats(void **state) {
    struct place *p = *state;
    struct store *s = NULL;
    char path[2 * PATH_SIZE];
    store_close(p->store);
    p->store = NULL;
    (void)snprintf(path, sizeof(path), "%s/wal-0.old", p->dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(open_dir(p->dir, &p->store), 0);
    assert_int_equal(open_dir(p->dir, &s), ERR_IN_USE);
    (void)snprintf(path, sizeof(path), "%s/lmdb", p->root);
    assert_int_equal(store_open_lmdb(path, MAP_SIZE, &s), 0);
    put_one(s, TABLE_LOG, "entry", "of a log in LMDB");
    store_close(s);
    assert_int_equal(open_dir(path, &s), ERR_VERSION);
    assert_int_equal(open_dir("/no/such/directory", &s), ERR_IO);
}

/* Runs in a forked child: no file may grow past a segment. Returns 42 when the commit that needs more fails, and
 * nothing works after it. */
static int child_fails(const char *dir) {
    static uint8_t bytes[4 * SEGMENT_BYTES];
    const struct rlimit limit = {2 * SEGMENT_BYTES, 2 * SEGMENT_BYTES};
    struct store *s;
    struct txn *t;
    if (open_dir(dir, &s) != 0 || signal(SIGXFSZ, SIG_IGN) == SIG_ERR || setrlimit(RLIMIT_FSIZE, &limit) != 0) {
        return 1;
    }
    if (store_begin(s, true, &t) != 0 || txn_put(t, TABLE_HARD, text("term"), text("2")) != 0 ||
        txn_put(t, TABLE_LOG, text("large"), (struct slice){bytes, sizeof(bytes)}) != 0) {
        return 2;
    }
    if (store_commit(t) != ERR_NO_SPACE) {
        return 3;
    }
    return store_begin(s, true, &t) == ERR_NO_SPACE ? 42 : 4;
}

static void test_a_full_disk_keeps_the_earlier_state(void **state) {
    struct place *p = *state;
    struct digest before;
    int status;
    put_one(p->store, TABLE_HARD, "term", "1");
    put_one(p->store, TABLE_LOG, "entry", "1");
    state_of(p->store, &before);
    store_close(p->store);
    p->store = NULL;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(child_fails(p->dir));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    assert_int_equal(open_dir(p->dir, &p->store), 0);
    expect_state(p->store, &before);
    del_one(p->store, TABLE_LOG, "entry");
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_agrees_with_the_twin),
        TEST(test_a_transaction_sees_what_it_wrote),
        TEST(test_an_abort_takes_nothing_else),
        TEST(test_files_are_used_again),
        TEST(test_much_that_is_needed_stays),
        TEST(test_restarts_and_small_commits_take_no_room),
        TEST(test_a_record_may_be_larger_than_a_segment),
        TEST(test_what_was_committed_survives_a_crash),
        TEST(test_a_torn_record_ends_the_log),
        TEST(test_every_damaged_byte_of_the_last_record_is_seen),
        TEST(test_a_crash_in_a_turn),
        TEST(test_a_deleted_file_may_come_back),
        TEST(test_damage_before_the_end_is_reported),
        TEST(test_a_missing_end_or_file_is_reported),
        TEST(test_foreign_files_and_formats),
        TEST(test_a_full_disk_keeps_the_earlier_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
