/* The disk port over real threads: order, group commit, lazy writes, durability, views, failure, closing, sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "buf.h"
#include "check.h"
#include "errors.h"
#include "scratch.h"
#include "txn.h"
#include "uv_disk.h"

#define CAPACITY ((uint64_t)32 << 20)
#define OPS 3000
#define LIMIT_MS 20000

struct place {
    uv_loop_t loop;
    char directory[SCRATCH_SIZE];
    struct disk *disk;
    uv_timer_t limit;
    int open;     /* disks not closed yet */
    int failures; /* calls of on_failed */
    int failure;
    uint32_t done; /* operations done */
    uint32_t ran;  /* lazy ones told to have run */
    uint32_t told; /* either, each operation counted once */
};

struct probe {
    struct disk_op op; /* first: callbacks cast back */
    struct place *place;
    uint32_t number;
    uint32_t order; /* how many were done before this one */
    bool lazy;
    bool ran;
    uint32_t told;  /* how many were told of before this one */
    int status;     /* what done was given; 1: not called */
    uint32_t found; /* by a read */
    int answer;     /* what run returns */
    size_t size;    /* of the value to write */
    uv_sem_t *gate; /* a write waits here */
    struct disk *then_close;
    struct probe *then_write;
};

static void on_failed(void *ctx, int status) {
    struct place *p = ctx;
    p->failures++;
    p->failure = status;
}

static void on_closed(void *ctx) {
    struct place *p = ctx;
    p->open--;
}

static void on_limit(uv_timer_t *t) {
    (void)t;
    fail_msg("took longer than %d ms", LIMIT_MS);
}

static void place_open(struct place *p) {
    const struct uv_disk_options options = {.dir = p->directory, .capacity = CAPACITY};
    assert_int_equal(uv_disk_open(&p->loop, &options, &p->disk), 0);
    disk_on_failed(p->disk, on_failed, p);
    p->open = 1;
}

static int setup(void **state) {
    struct place *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    scratch_make(p->directory);
    assert_int_equal(uv_loop_init(&p->loop), 0);
    assert_int_equal(uv_timer_init(&p->loop, &p->limit), 0);
    assert_int_equal(uv_timer_start(&p->limit, on_limit, LIMIT_MS, 0), 0);
    place_open(p);
    *state = p;
    return 0;
}

static void place_close(struct place *p) {
    if (p->disk) {
        uv_disk_close(p->disk, on_closed, p);
        p->disk = NULL;
    }
    while (p->open > 0) {
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
}

static int teardown(void **state) {
    struct place *p = *state;
    place_close(p);
    uv_close((uv_handle_t *)&p->limit, NULL);
    assert_int_equal(uv_run(&p->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&p->loop), 0);
    scratch_remove(p->directory);
    free(p);
    return 0;
}

static void wait_done(struct place *p, uint32_t done) {
    while (p->done < done) {
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
}

/* ---- probes; `run` is on another thread and therefore asserts with CHECK ---- */

static struct slice number_key(uint32_t number, uint8_t out[4]) {
    put_u32(out, number);
    return (struct slice){out, 4};
}

static int run_write(struct txn *txn, struct disk_op *op) {
    struct probe *b = (struct probe *)op;
    static const uint8_t bytes[65536] = {1};
    uint8_t key[4];
    CHECK(b->size <= sizeof(bytes));
    if (b->gate) {
        uv_sem_wait(b->gate);
    }
    int status = txn_put(txn, TABLE_LOG, number_key(b->number, key), (struct slice){bytes, b->size});
    return status ? status : b->answer;
}

/* Counts the entries; a view or a read transaction must not change under it. */
static int run_count(struct txn *txn, struct disk_op *op) {
    struct probe *b = (struct probe *)op;
    struct slice key = {0};
    struct slice value;
    b->found = 0;
    int status = txn_seek(txn, TABLE_LOG, key, &key, &value);
    for (; status == 0; b->found++) {
        status = txn_next(txn, TABLE_LOG, key, &key, &value);
    }
    CHECK(status == ERR_NOT_FOUND);
    return b->answer;
}

/* Keys are the places in the order of the calls: what came before must be there, and nothing of what came after. */
static int run_check_latest(struct txn *txn, struct disk_op *op) {
    struct probe *b = (struct probe *)op;
    uint8_t before[4];
    uint8_t after[4];
    struct slice key;
    struct slice value;
    int status = b->found == UINT32_MAX ? 0 : txn_get(txn, TABLE_LOG, number_key(b->found, before), &value);
    CHECK(status == 0);
    CHECK(txn_seek(txn, TABLE_LOG, number_key(b->number, after), &key, &value) == ERR_NOT_FOUND);
    return b->answer;
}

static int run_work(struct txn *txn, struct disk_op *op) {
    struct probe *b = (struct probe *)op;
    CHECK(!txn);
    b->found = b->number * 2;
    return b->answer;
}

static void on_done(struct disk_op *op, int status) {
    struct probe *b = (struct probe *)op;
    assert_int_equal(b->status, 1); /* once */
    b->status = status;
    b->order = b->place->done++;
    assert_int_equal(b->ran, b->lazy);
    b->told = b->lazy ? b->told : b->place->told++;
    if (b->then_close) {
        uv_disk_close(b->then_close, on_closed, b->place);
        b->place->disk = NULL;
    }
    if (b->then_write) {
        disk_write(b->op.disk, DISK_META, &b->then_write->op);
    }
}

static void on_ran(struct disk_op *op) {
    struct probe *b = (struct probe *)op;
    assert_true(b->lazy);
    assert_false(b->ran);
    assert_int_equal(b->status, 1); /* before done */
    b->ran = true;
    b->told = b->place->told++;
    b->place->ran++;
}

static void write_lazy(struct disk *d, enum disk_env env, struct probe *b) {
    b->lazy = true;
    disk_write_lazy(d, env, &b->op);
}

static void probe_init(struct probe *b, struct place *p, uint32_t number,
                       int (*run)(struct txn *txn, struct disk_op *op)) {
    *b = (struct probe){
        .op = {.run = run, .ran = on_ran, .done = on_done}, .place = p, .number = number, .status = 1, .size = 8};
}

static struct probe *probes_new(struct place *p, size_t count, int (*run)(struct txn *txn, struct disk_op *op)) {
    struct probe *b = calloc(count, sizeof(*b));
    assert_non_null(b);
    for (uint32_t i = 0; i < count; i++) {
        probe_init(&b[i], p, i, run);
    }
    return b;
}

static void write_some(struct place *p, enum disk_env env, uint32_t first, uint32_t count) {
    struct probe *b = probes_new(p, count, run_write);
    for (uint32_t i = 0; i < count; i++) {
        b[i].number = first + i;
        disk_write(p->disk, env, &b[i].op);
    }
    wait_done(p, p->done + count);
    free(b);
}

static uint32_t count_entries(struct place *p, enum disk_env env) {
    struct probe b;
    probe_init(&b, p, 0, run_count);
    disk_read(p->disk, env, &b.op);
    wait_done(p, p->done + 1);
    assert_int_equal(b.status, 0);
    return b.found;
}

/* ---- tests ---- */

static void test_writes_finish_in_order_and_share_commits(void **state) {
    struct place *p = *state;
    struct probe *b = probes_new(p, OPS, run_write);
    uv_sem_t gate;
    assert_int_equal(uv_sem_init(&gate, 0), 0);
    b[0].gate = &gate; /* the first transaction stays open until all the others are queued */
    for (uint32_t i = 0; i < OPS; i++) {
        disk_write(p->disk, DISK_META, &b[i].op);
    }
    uv_sem_post(&gate);
    assert_int_equal(p->done, 0); /* never from inside the call */
    wait_done(p, OPS);
    for (uint32_t i = 0; i < OPS; i++) {
        assert_int_equal(b[i].status, 0);
        assert_int_equal(b[i].order, i);
    }
    uint64_t commits = uv_disk_commits(p->disk, DISK_META);
    assert_true(commits == 1 || commits == 2); /* 1: the writer woke up last */
    assert_true(uv_disk_commits(p->disk, DISK_CHUNKS) == 0);
    uv_sem_destroy(&gate);
    free(b);
}

static void test_a_batch_is_bounded(void **state) {
    struct place *p = *state;
    write_some(p, DISK_CHUNKS, 0, 1000);
    assert_true(uv_disk_commits(p->disk, DISK_CHUNKS) >= 4);
    assert_int_equal(count_entries(p, DISK_CHUNKS), 1000);
}

static void test_lazy_writes_are_told_at_once_and_gathered(void **state) {
    struct place *p = *state;
    struct probe *b = probes_new(p, 500, run_write);
    uint64_t begin_ms = uv_hrtime() / 1000000;
    for (uint32_t i = 0; i < 500; i++) {
        write_lazy(p->disk, DISK_META, &b[i]);
        while (p->ran == i) {
            (void)uv_run(&p->loop, UV_RUN_ONCE);
        }
        assert_int_equal(b[i].told, i);
    }
    wait_done(p, 500);
    uint64_t elapsed_ms = uv_hrtime() / 1000000 - begin_ms;
    assert_true(uv_disk_commits(p->disk, DISK_META) <= elapsed_ms / DISK_LAZY_MS + 1);
    for (uint32_t i = 0; i < 500; i++) {
        assert_int_equal(b[i].status, 0);
        assert_int_equal(b[i].order, i);
    }
    assert_int_equal(count_entries(p, DISK_META), 500);
    free(b);
}

/* Queues `count` lazy writes of `size` bytes behind a write that waits until all are queued. */
static uint64_t commits_of_lazy(struct place *p, uint32_t count, size_t size) {
    struct probe *b = probes_new(p, count, run_write);
    uv_sem_t gate;
    assert_int_equal(uv_sem_init(&gate, 0), 0);
    b[0].gate = &gate;
    disk_write(p->disk, DISK_META, &b[0].op);
    for (uint32_t i = 1; i < count; i++) {
        b[i].size = size;
        write_lazy(p->disk, DISK_META, &b[i]);
    }
    uv_sem_post(&gate);
    wait_done(p, count);
    uv_sem_destroy(&gate);
    free(b);
    return uv_disk_commits(p->disk, DISK_META);
}

static void test_lazy_writes_that_wait_are_bounded_in_number(void **state) {
    assert_true(commits_of_lazy(*state, 3 * DISK_LAZY_OPS, 8) >= 3);
}

static void test_lazy_writes_that_wait_are_bounded_in_bytes(void **state) {
    assert_true(commits_of_lazy(*state, 600, 65520) >= 3); /* 18.7 MiB, of which 8 may wait */
}

static void test_a_write_takes_the_lazy_ones_along(void **state) {
    struct place *p = *state;
    struct probe *b = probes_new(p, 201, run_write);
    uv_sem_t gate;
    assert_int_equal(uv_sem_init(&gate, 0), 0);
    b[0].gate = &gate;
    disk_write(p->disk, DISK_LOG, &b[0].op);
    for (uint32_t i = 1; i < 200; i++) {
        write_lazy(p->disk, DISK_LOG, &b[i]);
    }
    disk_write(p->disk, DISK_LOG, &b[200].op);
    uv_sem_post(&gate);
    wait_done(p, 201);
    for (uint32_t i = 0; i <= 200; i++) {
        assert_int_equal(b[i].told, i);
    }
    assert_true(uv_disk_commits(p->disk, DISK_LOG) <= 2);
    uv_sem_destroy(&gate);
    free(b);
}

/* Whatever is mixed, the loop is told of it in the order of the calls, and what is read is what was queued before. */
static void mix(struct place *p, enum disk_env env, struct probe *b, uint32_t count, uint32_t seed) {
    uint32_t last = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        seed = seed * 1664525 + 1013904223;
        unsigned draw = seed >> 24;
        if (draw < 60) {
            b[i].op.run = run_check_latest;
            b[i].found = last;
            b[i].answer = draw < 20 ? ERR_NOT_FOUND : 0; /* harms nobody */
            disk_read_latest(p->disk, env, &b[i].op);
        } else if (draw < 70) {
            disk_write(p->disk, env, &b[i].op);
            last = b[i].number;
        } else {
            write_lazy(p->disk, env, &b[i]);
            last = b[i].number;
        }
        if (draw == 255) {
            (void)uv_run(&p->loop, UV_RUN_NOWAIT);
        }
    }
}

static void test_what_is_told_comes_in_the_order_of_the_calls(void **state) {
    struct place *p = *state;
    for (uint32_t round = 0; round < 4; round++) {
        struct probe *b = probes_new(p, OPS, run_write);
        p->done = p->told = 0;
        for (uint32_t i = 0; i < OPS; i++) {
            b[i].number = round * OPS + i;
        }
        mix(p, DISK_META, b, OPS, round);
        wait_done(p, OPS);
        for (uint32_t i = 0; i < OPS; i++) {
            assert_int_equal(b[i].told, i);
            assert_int_equal(b[i].status, b[i].answer);
        }
        free(b);
    }
    assert_int_equal(p->failures, 0);
}

static void test_environments_do_not_wait_for_each_other(void **state) {
    struct place *p = *state;
    struct probe *b = probes_new(p, 3, run_write);
    uv_sem_t gate;
    assert_int_equal(uv_sem_init(&gate, 0), 0);
    b[0].gate = &gate;
    write_lazy(p->disk, DISK_META, &b[0]);
    disk_write(p->disk, DISK_LOG, &b[1].op);
    write_lazy(p->disk, DISK_CHUNKS, &b[2]);
    wait_done(p, 2);
    assert_int_equal(b[0].status, 1);
    uv_sem_post(&gate);
    wait_done(p, 3);
    uv_sem_destroy(&gate);
    free(b);
}

static void test_reads_see_what_is_done(void **state) {
    struct place *p = *state;
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(count_entries(p, DISK_META), i);
        write_some(p, DISK_META, i, 1);
    }
    assert_int_equal(count_entries(p, DISK_CHUNKS), 0);
}

static void test_done_is_durable_across_reopening(void **state) {
    struct place *p = *state;
    write_some(p, DISK_META, 0, 100);
    write_some(p, DISK_CHUNKS, 0, 50);
    write_some(p, DISK_LOG, 0, 70);
    place_close(p);
    place_open(p);
    assert_int_equal(count_entries(p, DISK_LOG), 70);
    assert_int_equal(count_entries(p, DISK_META), 100);
    assert_int_equal(count_entries(p, DISK_CHUNKS), 50);
}

static void test_work_and_reads_report_their_status(void **state) {
    struct place *p = *state;
    struct probe *b = probes_new(p, 200, run_work);
    for (uint32_t i = 0; i < 200; i++) {
        b[i].answer = i % 2 ? ERR_CORRUPT : 0;
        if (i >= 100) {
            b[i].op.run = run_count;
            disk_read(p->disk, DISK_META, &b[i].op);
        } else {
            disk_work(p->disk, &b[i].op);
        }
    }
    wait_done(p, 200);
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(b[i].status, i % 2 ? ERR_CORRUPT : 0);
        assert_int_equal(b[i].found, i < 100 ? i * 2 : 0);
    }
    assert_int_equal(p->failures, 0); /* an error of a read harms nobody else */
    free(b);
}

static void test_a_view_stands_still_while_writes_go_on(void **state) {
    struct place *p = *state;
    write_some(p, DISK_META, 0, 10);
    struct disk_view *v = disk_view_open(p->disk, DISK_META);
    struct probe *writes = probes_new(p, 500, run_write);
    struct probe *reads = probes_new(p, 50, run_count);
    assert_non_null(v);
    uint32_t before = p->done;
    for (uint32_t i = 0; i < 500; i++) {
        writes[i].number = 100 + i;
        disk_write(p->disk, DISK_META, &writes[i].op);
        if (i % 10 == 0) {
            disk_view_read(v, &reads[i / 10].op);
        }
    }
    wait_done(p, before + 550);
    uint32_t order = 0;
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(reads[i].found, 10);
        assert_true(i == 0 || reads[i].order > order); /* one at a time, in order */
        order = reads[i].order;
    }
    disk_view_close(v);
    assert_int_equal(count_entries(p, DISK_META), 510);
    free(writes);
    free(reads);
}

static void test_views_are_limited_and_reusable(void **state) {
    struct place *p = *state;
    struct disk_view *views[DISK_VIEWS_MAX];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < DISK_VIEWS_MAX; i++) {
            views[i] = disk_view_open(p->disk, i % 2 ? DISK_META : DISK_CHUNKS);
            assert_non_null(views[i]);
        }
        assert_null(disk_view_open(p->disk, DISK_META));
        for (size_t i = 0; i < DISK_VIEWS_MAX; i++) {
            disk_view_close(views[i]);
        }
    }
    /* A view of each environment reads that environment. */
    write_some(p, DISK_META, 0, 3);
    struct disk_view *meta = disk_view_open(p->disk, DISK_META);
    struct disk_view *chunks = disk_view_open(p->disk, DISK_CHUNKS);
    struct probe *b = probes_new(p, 2, run_count);
    uint32_t before = p->done;
    disk_view_read(meta, &b[0].op);
    disk_view_read(chunks, &b[1].op);
    wait_done(p, before + 2);
    assert_int_equal(b[0].found, 3);
    assert_int_equal(b[1].found, 0);
    disk_view_close(meta);
    free(b); /* the other view is left to the closing of the disk */
}

static void test_a_failing_write_is_fatal(void **state) {
    struct place *p = *state;
    write_some(p, DISK_META, 0, 5);
    struct probe *b = probes_new(p, 100, run_write);
    struct probe *later = probes_new(p, 3, run_work);
    uint32_t before = p->done;
    for (uint32_t i = 0; i < 100; i++) {
        b[i].number = 1000 + i;
        b[i].answer = i == 50 ? ERR_CORRUPT : 0;
        disk_write(p->disk, DISK_META, &b[i].op);
    }
    while (p->failures == 0) {
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    uint32_t done = p->done - before;
    assert_true(done <= 50); /* some may have been committed before the failing one was taken */
    disk_work(p->disk, &later[0].op);
    later[1].op.run = run_count;
    disk_read(p->disk, DISK_META, &later[1].op);
    later[2].op.run = run_write;
    disk_write(p->disk, DISK_CHUNKS, &later[2].op);
    place_close(p);
    assert_int_equal(p->failures, 1);
    assert_int_equal(p->failure, ERR_CORRUPT);
    assert_int_equal(p->done - before, done);
    assert_int_equal(b[50].status, 1);
    assert_int_equal(later[0].status, 1);
    place_open(p);
    assert_int_equal(count_entries(p, DISK_META), 5 + done); /* exactly what was reported */
    free(b);
    free(later);
}

static void test_a_failing_write_takes_the_lazy_ones_down(void **state) {
    struct place *p = *state;
    for (uint32_t lazy = 0; lazy < 2; lazy++) {
        struct probe *b = probes_new(p, 100, run_write);
        uint32_t before = p->done;
        uint32_t found = count_entries(p, DISK_META);
        for (uint32_t i = 0; i < 99; i++) {
            b[i].number = 1000 * (lazy + 1) + i;
            write_lazy(p->disk, DISK_META, &b[i]);
        }
        b[99].answer = ERR_CORRUPT;
        b[99].lazy = lazy;
        if (lazy) {
            write_lazy(p->disk, DISK_META, &b[99]);
        } else {
            disk_write(p->disk, DISK_META, &b[99].op);
        }
        while (p->failures == (int)lazy) {
            (void)uv_run(&p->loop, UV_RUN_ONCE);
        }
        uint32_t done = p->done - before - 1; /* less the counting */
        place_close(p);
        assert_int_equal(b[99].status, 1);
        assert_false(b[99].ran);
        place_open(p);
        assert_int_equal(count_entries(p, DISK_META), found + done); /* exactly what was reported */
        free(b);
    }
}

static void test_closing_commits_what_waits(void **state) {
    struct place *p = *state;
    struct probe *b = probes_new(p, 400, run_write);
    for (uint32_t i = 0; i < 200; i++) {
        b[i].then_write = &b[200 + i];
        write_lazy(p->disk, DISK_META, &b[i]);
    }
    place_close(p);
    assert_int_equal(p->ran, 200);
    assert_int_equal(p->done, 400);
    place_open(p);
    assert_int_equal(count_entries(p, DISK_META), 400);
    free(b);
}

static void test_a_full_map_is_fatal_and_keeps_what_was_done(void **state) {
    struct place *p = *state;
    struct probe *b = probes_new(p, 2000, run_write);
    uint32_t i = 0;
    /* Past the capacity, as only a careless caller would: it must ask disk_has_room first. */
    for (; i < 2000 && p->failures == 0; i++) {
        b[i].size = 65520;
        disk_write(p->disk, DISK_CHUNKS, &b[i].op);
        if (i % 256 == 255) {
            (void)uv_run(&p->loop, UV_RUN_ONCE);
        }
    }
    while (p->failures == 0) {
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    assert_int_equal(p->failure, ERR_NO_SPACE);
    uint32_t done = p->done;
    place_close(p);
    place_open(p);
    assert_int_equal(count_entries(p, DISK_CHUNKS), done);
    free(b);
}

static void test_close_finishes_what_is_queued_and_what_that_queues(void **state) {
    struct place *p = *state;
    struct probe *b = probes_new(p, 400, run_write);
    for (uint32_t i = 0; i < 200; i++) {
        b[i].then_write = &b[200 + i];
        disk_write(p->disk, i % 2 ? DISK_META : DISK_CHUNKS, &b[i].op);
    }
    place_close(p);
    assert_int_equal(p->done, 400);
    for (uint32_t i = 0; i < 400; i++) {
        assert_int_equal(b[i].status, 0);
    }
    place_open(p);
    assert_int_equal(count_entries(p, DISK_META), 300);
    free(b);
}

static void test_close_from_inside_the_last_done(void **state) {
    struct place *p = *state;
    struct probe *b = probes_new(p, 2, run_write);
    b[0].then_close = p->disk;
    b[0].then_write = &b[1];
    disk_write(p->disk, DISK_META, &b[0].op);
    while (p->open > 0) {
        (void)uv_run(&p->loop, UV_RUN_ONCE);
    }
    assert_int_equal(b[1].status, 0);
    free(b);
}

static void test_room_shrinks_with_use_and_meta_has_a_reserve(void **state) {
    struct place *p = *state;
    assert_true(disk_has_room(p->disk, DISK_CHUNKS, 1u << 20));
    assert_true(disk_has_room(p->disk, DISK_META, CAPACITY - 1));
    assert_false(disk_has_room(p->disk, DISK_META, CAPACITY + 1));
    assert_true(disk_has_room(p->disk, DISK_LOG, CAPACITY + 1));     /* removals are logged whatever is allowed */
    assert_false(disk_has_room(p->disk, DISK_CHUNKS, CAPACITY - 1)); /* the reserve */
    assert_false(disk_has_room(p->disk, DISK_CHUNKS, UINT64_MAX));
    struct probe *b = probes_new(p, 500, run_write);
    for (uint32_t i = 0; i < 500; i++) { /* 31.25 MiB of 32 */
        b[i].size = 65520;
        disk_write(p->disk, DISK_CHUNKS, &b[i].op);
    }
    wait_done(p, 500);
    /* The writer looks at the sizes again within a second, also when idle; the timer of the test is the limit. */
    while (disk_has_room(p->disk, DISK_CHUNKS, 0)) {
        (void)uv_run(&p->loop, UV_RUN_NOWAIT);
        uv_sleep(5);
    }
    assert_true(disk_has_room(p->disk, DISK_META, 1024));
    assert_true(disk_used_bytes(p->disk) >= (uint64_t)500 * 65520);
    assert_true(disk_used_bytes(p->disk) < CAPACITY);
    free(b);
}

static void test_a_directory_in_use_or_missing_is_refused(void **state) {
    struct place *p = *state;
    struct disk *second = NULL;
    struct uv_disk_options options = {.dir = p->directory, .capacity = CAPACITY};
    assert_int_equal(uv_disk_open(&p->loop, &options, &second), ERR_IN_USE);
    options.dir = "/nonexistent/shoal";
    assert_int_equal(uv_disk_open(&p->loop, &options, &second), ERR_IO);
    assert_null(second);
    write_some(p, DISK_META, 0, 1); /* the first is unharmed */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_writes_finish_in_order_and_share_commits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_batch_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lazy_writes_are_told_at_once_and_gathered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lazy_writes_that_wait_are_bounded_in_number, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lazy_writes_that_wait_are_bounded_in_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_write_takes_the_lazy_ones_along, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_told_comes_in_the_order_of_the_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_environments_do_not_wait_for_each_other, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reads_see_what_is_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_done_is_durable_across_reopening, setup, teardown),
        cmocka_unit_test_setup_teardown(test_work_and_reads_report_their_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_view_stands_still_while_writes_go_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_views_are_limited_and_reusable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failing_write_is_fatal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failing_write_takes_the_lazy_ones_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closing_commits_what_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_map_is_fatal_and_keeps_what_was_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_finishes_what_is_queued_and_what_that_queues, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_from_inside_the_last_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_room_shrinks_with_use_and_meta_has_a_reserve, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_directory_in_use_or_missing_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
