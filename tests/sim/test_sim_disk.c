/* The simulated disk: group commit, lazy writes, order, what a crash keeps, faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "errors.h"
#include "sim.h"
#include "store.h"

#define OPS_MAX 64

struct fixture;

struct write_op {
    struct disk_op op;
    struct fixture *fixture;
    uint8_t key;
    int fail_with;
    int times_done;
    int status;
    uint64_t done_us;
    int times_ran;
    uint64_t ran_us;
};

struct fixture {
    struct sim *sim;
    struct sim_host *host;
    struct sim_ports ports;
    struct write_op ops[OPS_MAX];
    uint8_t run_order[OPS_MAX], done_order[OPS_MAX];
    size_t run_count, done_count;
    int failed_count, failed_status;
    bool up, abandon;
};

static void on_failed(void *ctx, int status) {
    struct fixture *f = ctx;
    f->failed_count++;
    f->failed_status = status;
}

static void boot(void *ctx, struct sim_host *h, const struct sim_ports *ports) {
    struct fixture *f = ctx;
    f->host = h;
    f->ports = *ports;
    f->up = true;
    disk_on_failed(ports->disk, on_failed, f);
}

static void dead(void *ctx, struct sim_host *h) {
    struct fixture *f = ctx;
    assert_ptr_equal(f->host, h);
    f->up = false;
    if (f->abandon) {
        sim_host_abandon_ops(h);
    }
}

static void open_world(struct fixture *f, uint64_t seed) {
    memset(f, 0, sizeof(*f));
    const struct sim_options options = {.seed = seed, .hosts = 1, .capacity_bytes = 64u << 20};
    const struct sim_program program = {.boot = boot, .dead = dead, .ctx = f};
    f->sim = sim_new(&options, &program);
    sim_host_start(sim_host(f->sim, 1));
}

static int run_write(struct txn *txn, struct disk_op *op) {
    struct write_op *w = (struct write_op *)op;
    w->fixture->run_order[w->fixture->run_count++] = w->key;
    if (w->fail_with != 0) {
        return w->fail_with;
    }
    struct slice s = {&w->key, 1};
    return txn_put(txn, TABLE_LOCAL, s, s);
}

static int run_write_much(struct txn *txn, struct disk_op *op) {
    struct write_op *w = (struct write_op *)op;
    static const uint8_t bytes[9u << 20];
    return txn_put(txn, TABLE_LOCAL, (struct slice){&w->key, 1}, (struct slice){bytes, sizeof(bytes)});
}

static int run_get(struct txn *txn, struct disk_op *op) {
    struct write_op *w = (struct write_op *)op;
    struct slice key = {&w->key, 1}, value;
    return txn_get(txn, TABLE_LOCAL, key, &value);
}

static int run_work(struct txn *txn, struct disk_op *op) {
    (void)op;
    return txn == NULL ? ERR_EXISTS : 0;
}

static void on_done(struct disk_op *op, int status) {
    struct write_op *w = (struct write_op *)op;
    w->times_done++;
    w->status = status;
    w->done_us = sim_now_us(w->fixture->sim);
    w->fixture->done_order[w->fixture->done_count++] = w->key;
}

static void on_ran(struct disk_op *op) {
    struct write_op *w = (struct write_op *)op;
    assert_int_equal(w->times_done, 0);
    w->times_ran++;
    w->ran_us = sim_now_us(w->fixture->sim);
}

static struct write_op *make_op(struct fixture *f, uint8_t key, int (*run)(struct txn *, struct disk_op *)) {
    struct write_op *w = &f->ops[key];
    memset(w, 0, sizeof(*w));
    w->fixture = f;
    w->key = key;
    w->op.run = run;
    w->op.ran = on_ran;
    w->op.done = on_done;
    return w;
}

static struct write_op *write_key(struct fixture *f, uint8_t key) {
    struct write_op *w = make_op(f, key, run_write);
    disk_write(f->ports.disk, DISK_META, &w->op);
    return w;
}

static struct write_op *write_key_lazily(struct fixture *f, uint8_t key) {
    struct write_op *w = make_op(f, key, run_write);
    disk_write_lazy(f->ports.disk, DISK_META, &w->op);
    return w;
}

static struct write_op *read_key_latest(struct fixture *f, uint8_t key) {
    struct write_op *w = make_op(f, key, run_get);
    disk_read_latest(f->ports.disk, DISK_META, &w->op);
    return w;
}

static void step_until_ran(struct fixture *f, const struct write_op *w) {
    while (w->times_ran == 0) {
        assert_true(sim_step(f->sim, SIM_SECOND));
    }
}

static bool stored(struct fixture *f, uint8_t key) {
    struct txn *t;
    struct slice k = {&key, 1}, value;
    assert_int_equal(store_begin(sim_host_store(f->host, DISK_META), false, &t), 0);
    int status = txn_get(t, TABLE_LOCAL, k, &value);
    store_abort(t);
    return status == 0;
}

static void writes_queued_during_a_commit_share_the_next_one(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    for (uint8_t key = 1; key <= 10; key++) {
        write_key(&f, key);
    }
    sim_run_until(f.sim, SIM_SECOND);
    assert_int_equal(f.done_count, 10);
    for (uint8_t key = 1; key <= 10; key++) {
        assert_int_equal(f.run_order[key - 1], key);
        assert_int_equal(f.done_order[key - 1], key);
        assert_int_equal(f.ops[key].times_done, 1);
        assert_true(stored(&f, key));
    }
    assert_true(f.ops[1].done_us > 0);
    assert_true(f.ops[2].done_us > f.ops[1].done_us); /* the first one went alone: the writer was idle */
    assert_int_equal(f.ops[10].done_us, f.ops[2].done_us);
    sim_free(f.sim);
}

static void a_read_sees_what_was_done_before_it(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 2);
    write_key(&f, 1);
    sim_run_until(f.sim, SIM_SECOND);
    struct write_op *present = make_op(&f, 1, run_get);
    struct write_op *absent = make_op(&f, 2, run_get);
    struct write_op *work = make_op(&f, 3, run_work);
    disk_read(f.ports.disk, DISK_META, &present->op);
    disk_read(f.ports.disk, DISK_META, &absent->op);
    disk_work(f.ports.disk, &work->op);
    assert_int_equal(present->times_done, 0); /* never from inside the call */
    sim_run_until(f.sim, 2 * SIM_SECOND);
    assert_int_equal(present->status, 0);
    assert_int_equal(absent->status, ERR_NOT_FOUND);
    assert_int_equal(work->status, ERR_EXISTS);
    assert_int_equal(present->times_done + absent->times_done + work->times_done, 3);
    sim_free(f.sim);
}

static void a_view_does_not_see_later_writes(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 3);
    struct disk_view *v = disk_view_open(f.ports.disk, DISK_META);
    assert_non_null(v);
    write_key(&f, 1);
    sim_run_until(f.sim, SIM_SECOND);
    assert_true(stored(&f, 1));
    struct write_op *first = make_op(&f, 1, run_get);
    struct write_op *second = make_op(&f, 2, run_get);
    disk_view_read(v, &first->op);
    disk_view_read(v, &second->op);
    sim_run_until(f.sim, 2 * SIM_SECOND);
    assert_int_equal(first->status, ERR_NOT_FOUND);
    assert_int_equal(second->times_done, 1);
    assert_true(second->done_us > first->done_us); /* one at a time, in order */
    disk_view_close(v);
    struct disk_view *views[DISK_VIEWS_MAX];
    for (int i = 0; i < DISK_VIEWS_MAX; i++) {
        views[i] = disk_view_open(f.ports.disk, DISK_META);
        assert_non_null(views[i]);
    }
    assert_null(disk_view_open(f.ports.disk, DISK_META));
    disk_view_close(views[0]); /* the others are open still when the world ends */
    sim_free(f.sim);
}

static void a_lazy_write_is_told_before_it_is_stored(void **state) {
    (void)state;
    struct fixture f;
    uint64_t shortest_us = SIM_SECOND, longest_us = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        open_world(&f, seed);
        struct write_op *w = write_key_lazily(&f, 1);
        assert_int_equal(w->times_ran, 0); /* never from inside the call */
        step_until_ran(&f, w);
        assert_true(w->ran_us < SIM_MS);
        assert_int_equal(w->times_done, 0);
        assert_false(stored(&f, 1));
        sim_run_until(f.sim, SIM_SECOND);
        assert_int_equal(w->times_ran + w->times_done, 2);
        assert_true(stored(&f, 1));
        uint64_t held_us = w->done_us - w->ran_us;
        assert_true(held_us < (DISK_LAZY_MS + 10) * SIM_MS);
        shortest_us = held_us < shortest_us ? held_us : shortest_us;
        longest_us = held_us > longest_us ? held_us : longest_us;
        sim_free(f.sim);
    }
    assert_true(shortest_us < 10 * SIM_MS);
    assert_true(longest_us > 40 * SIM_MS);
}

static void the_latest_is_seen_before_it_is_stored(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 1);
    struct write_op *nothing = read_key_latest(&f, 9);
    struct write_op *w = write_key_lazily(&f, 1);
    (void)write_key_lazily(&f, 2);
    struct write_op *present = make_op(&f, 3, run_get);
    present->key = 1;
    disk_read_latest(f.ports.disk, DISK_META, &present->op);
    struct write_op *absent = make_op(&f, 4, run_get);
    absent->key = 5;
    disk_read_latest(f.ports.disk, DISK_META, &absent->op);
    (void)write_key_lazily(&f, 5);
    sim_run_until(f.sim, SIM_SECOND);
    assert_int_equal(nothing->status, ERR_NOT_FOUND);
    assert_int_equal(present->status, 0);
    assert_int_equal(absent->status, ERR_NOT_FOUND); /* and not what came after it */
    assert_true(present->done_us >= w->ran_us);
    assert_true(present->done_us < w->done_us);
    sim_free(f.sim);
}

static void a_write_takes_the_lazy_ones_along(void **state) {
    (void)state;
    struct fixture f;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        open_world(&f, seed);
        struct write_op *first = write_key_lazily(&f, 1);
        struct write_op *plain = write_key(&f, 2);
        struct write_op *behind = write_key_lazily(&f, 3);
        sim_run_until(f.sim, SIM_SECOND);
        assert_true(first->done_us == plain->done_us || first->done_us < plain->ran_us);
        assert_true(first->ran_us < plain->done_us);
        assert_true(behind->ran_us >= plain->done_us);
        assert_true(plain->done_us < 30 * SIM_MS);
        assert_int_equal(f.run_order[0] * 100 + f.run_order[1] * 10 + f.run_order[2], 123);
        assert_true(stored(&f, 1) && stored(&f, 2) && stored(&f, 3));
        sim_free(f.sim);
    }
}

static void a_crash_loses_what_was_only_told(void **state) {
    (void)state;
    struct fixture f;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        open_world(&f, seed);
        write_key(&f, 1);
        sim_run_until(f.sim, SIM_SECOND / 2);
        struct write_op *w = write_key_lazily(&f, 2);
        step_until_ran(&f, w);
        sim_host_crash(f.host, seed % 2 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        sim_host_start(f.host);
        assert_true(stored(&f, 1));
        assert_false(stored(&f, 2));
        write_key_lazily(&f, 3);
        sim_run_until(f.sim, 2 * SIM_SECOND);
        assert_true(stored(&f, 3));
        assert_int_equal(w->times_done, 0);
        sim_free(f.sim);
    }
}

static void a_crash_in_a_commit_keeps_the_lazy_ones_with_the_write(void **state) {
    (void)state;
    struct fixture f;
    int whole = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        open_world(&f, seed);
        struct write_op *w = write_key_lazily(&f, 1);
        step_until_ran(&f, w);
        write_key(&f, 2);
        write_key_lazily(&f, 3);
        sim_host_crash(f.host, SIM_CRASH_POWER);
        assert_int_equal(stored(&f, 1), stored(&f, 2));
        assert_false(stored(&f, 3));
        whole += stored(&f, 1);
        sim_free(f.sim);
    }
    assert_true(whole > 3 && whole < 37);
}

static void abandoned_lazy_writes_are_told_and_done_once(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 4);
    f.abandon = true;
    struct write_op *ran = write_key_lazily(&f, 1);
    step_until_ran(&f, ran);
    struct write_op *begun = write_key_lazily(&f, 2);
    struct write_op *queued = write_key_lazily(&f, 3);
    struct write_op *latest = read_key_latest(&f, 4);
    sim_host_crash(f.host, SIM_CRASH_PROCESS);
    assert_int_equal(ran->times_ran + begun->times_ran + queued->times_ran, 3);
    assert_int_equal(ran->times_done + begun->times_done + queued->times_done, 3);
    assert_int_equal(ran->status + begun->status + queued->status, 0);
    assert_int_equal(latest->status, ERR_ABORTED);
    sim_free(f.sim);
}

static void a_failed_commit_loses_what_was_only_told(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 5);
    sim_disk_fail_commit(f.host, DISK_META);
    struct write_op *w = write_key_lazily(&f, 1);
    sim_run_until(f.sim, SIM_SECOND);
    assert_int_equal(w->times_ran, 1);
    assert_int_equal(w->times_done, 0);
    assert_int_equal(f.failed_count, 1);
    assert_false(stored(&f, 1));
    struct write_op *later = write_key_lazily(&f, 2);
    sim_run_until(f.sim, 2 * SIM_SECOND);
    assert_int_equal(later->times_ran, 0);
    sim_free(f.sim);
}

static void a_hung_disk_runs_no_lazy_write(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 6);
    sim_disk_hang(f.host, 5 * SIM_SECOND);
    struct write_op *w = write_key_lazily(&f, 1);
    sim_run_until(f.sim, 5 * SIM_SECOND - 1);
    assert_int_equal(w->times_ran, 0);
    sim_run_until(f.sim, 6 * SIM_SECOND);
    assert_int_equal(w->times_done, 1);
    sim_free(f.sim);
}

static void one_environment_hangs_alone(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 6);
    sim_disk_hang_one(f.host, DISK_CHUNKS, 5 * SIM_SECOND);
    struct write_op *w = write_key_lazily(&f, 1);
    sim_run_until(f.sim, SIM_SECOND);
    assert_int_equal(w->times_done, 1);
    sim_disk_hang_one(f.host, DISK_META, 5 * SIM_SECOND);
    w = write_key_lazily(&f, 2);
    sim_run_until(f.sim, 5 * SIM_SECOND - 1);
    assert_int_equal(w->times_ran, 0);
    sim_run_until(f.sim, 6 * SIM_SECOND);
    assert_int_equal(w->times_done, 1);
    sim_free(f.sim);
}

static void lazy_writes_that_wait_are_bounded_in_bytes(void **state) {
    (void)state;
    struct fixture f;
    int early = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        open_world(&f, seed);
        struct write_op *w = make_op(&f, 1, run_write_much);
        disk_write_lazy(f.ports.disk, DISK_META, &w->op);
        sim_run_until(f.sim, SIM_SECOND);
        early += w->done_us - w->ran_us < 8 * SIM_MS;
        sim_free(f.sim);
    }
    assert_int_equal(early, 10); /* where a hold of up to 50 ms is drawn otherwise */
}

/* One crash in the middle of a commit of three, with two more queued behind. Returns how many were kept. */
static int crash_in_a_commit(uint64_t seed, enum sim_crash how) {
    struct fixture f;
    open_world(&f, seed);
    write_key(&f, 1);
    write_key(&f, 2);
    write_key(&f, 3);
    write_key(&f, 4);
    while (f.done_count < 1) {
        assert_true(sim_step(f.sim, SIM_SECOND));
    }
    write_key(&f, 5);
    write_key(&f, 6);
    struct write_op *read = make_op(&f, 7, run_get);
    disk_read(f.ports.disk, DISK_META, &read->op);
    sim_host_crash(f.host, how);
    assert_false(f.up);
    sim_run_until(f.sim, SIM_SECOND);
    assert_int_equal(f.done_count, 1);
    assert_int_equal(read->times_done, 0);
    sim_host_start(f.host);
    assert_true(f.up);
    assert_true(stored(&f, 1));
    int kept = stored(&f, 2) + stored(&f, 3) + stored(&f, 4);
    assert_false(stored(&f, 5));
    assert_false(stored(&f, 6));
    sim_run_until(f.sim, 2 * SIM_SECOND);
    assert_int_equal(f.done_count, 1);
    sim_free(f.sim);
    return kept;
}

static void a_crash_keeps_the_batch_whole_or_loses_it_whole(void **state) {
    (void)state;
    int whole = 0, lost = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        int kept = crash_in_a_commit(seed, seed % 2 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        assert_true(kept == 0 || kept == 3);
        whole += kept == 3;
        lost += kept == 0;
    }
    assert_true(whole > 5);
    assert_true(lost > 5);
}

static void abandoned_operations_come_back_to_be_freed(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 4);
    f.abandon = true;
    write_key(&f, 1);
    write_key(&f, 2);
    struct write_op *read = make_op(&f, 3, run_get);
    struct write_op *work = make_op(&f, 4, run_work);
    disk_read(f.ports.disk, DISK_CHUNKS, &read->op);
    disk_work(f.ports.disk, &work->op);
    size_t ran = f.run_count;
    sim_host_crash(f.host, SIM_CRASH_PROCESS);
    assert_int_equal(f.done_count, 4);
    assert_true(f.run_count <= ran + 1); /* at most the batch that was kept: the first write alone */
    assert_int_equal(f.ops[1].status + f.ops[2].status, 0);
    assert_int_equal(read->status, ERR_ABORTED);
    assert_int_equal(work->status, ERR_ABORTED);
    sim_free(f.sim);
}

static void a_failed_commit_ends_the_disk(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 4);
    sim_disk_fail_commit(f.host, DISK_META);
    write_key(&f, 1);
    write_key(&f, 2);
    sim_run_until(f.sim, SIM_SECOND);
    struct write_op *read = make_op(&f, 3, run_get);
    disk_read(f.ports.disk, DISK_META, &read->op);
    write_key(&f, 4);
    sim_run_until(f.sim, 2 * SIM_SECOND);
    assert_int_equal(f.failed_count, 1);
    assert_int_equal(f.failed_status, ERR_IO);
    assert_int_equal(f.done_count, 0);
    assert_false(stored(&f, 1));
    sim_host_crash(f.host, SIM_CRASH_PROCESS);
    sim_host_start(f.host);
    write_key(&f, 5);
    sim_run_until(f.sim, 3 * SIM_SECOND);
    assert_true(stored(&f, 5)); /* a new start has a working disk */
    sim_free(f.sim);
}

static void an_error_of_a_write_takes_its_batch_down(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 5);
    write_key(&f, 1);
    write_key(&f, 2);
    struct write_op *bad = make_op(&f, 3, run_write);
    bad->fail_with = ERR_CORRUPT;
    disk_write(f.ports.disk, DISK_META, &bad->op);
    sim_run_until(f.sim, SIM_SECOND);
    assert_int_equal(f.failed_count, 1);
    assert_int_equal(f.failed_status, ERR_CORRUPT);
    assert_true(stored(&f, 1));
    assert_false(stored(&f, 2));
    sim_free(f.sim);
}

static void a_hung_disk_completes_nothing_until_its_end(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 6);
    sim_disk_hang(f.host, 5 * SIM_SECOND);
    write_key(&f, 1);
    struct write_op *read = make_op(&f, 2, run_get);
    disk_read(f.ports.disk, DISK_META, &read->op);
    struct write_op *work = make_op(&f, 3, run_work);
    disk_work(f.ports.disk, &work->op);
    sim_run_until(f.sim, 5 * SIM_SECOND - 1);
    assert_int_equal(f.done_count, 1); /* the work, which needs no disk */
    assert_int_equal(work->times_done, 1);
    sim_run_until(f.sim, 6 * SIM_SECOND);
    assert_int_equal(f.done_count, 3);
    sim_free(f.sim);
}

static void a_slow_disk_takes_its_time(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 7);
    sim_disk_slow(f.host, DISK_META, 1000);
    write_key(&f, 1);
    struct write_op *other = make_op(&f, 2, run_write);
    disk_write(f.ports.disk, DISK_CHUNKS, &other->op);
    sim_run_until(f.sim, 100 * SIM_MS);
    assert_int_equal(f.done_count, 1);
    assert_int_equal(other->times_done, 1); /* the other environment has its own pace */
    sim_run_until(f.sim, 60 * SIM_SECOND);
    assert_int_equal(f.done_count, 2);
    sim_free(f.sim);
}

static void a_full_disk_has_room_for_meta_only(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 8);
    assert_true(disk_has_room(f.ports.disk, DISK_CHUNKS, 1000));
    assert_false(disk_has_room(f.ports.disk, DISK_CHUNKS, 60u << 20)); /* the reserve of meta */
    assert_true(disk_has_room(f.ports.disk, DISK_META, 60u << 20));
    assert_false(disk_has_room(f.ports.disk, DISK_META, UINT64_MAX));
    sim_disk_full(f.host, true);
    assert_false(disk_has_room(f.ports.disk, DISK_CHUNKS, 0));
    assert_true(disk_has_room(f.ports.disk, DISK_META, 1000));
    sim_disk_full(f.host, false);
    assert_true(disk_has_room(f.ports.disk, DISK_CHUNKS, 1000));
    uint64_t before = disk_used_bytes(f.ports.disk);
    write_key(&f, 1);
    sim_run_until(f.sim, SIM_SECOND);
    assert_true(disk_used_bytes(f.ports.disk) > before);
    sim_free(f.sim);
}

static void a_wiped_disk_is_empty(void **state) {
    (void)state;
    struct fixture f;
    open_world(&f, 9);
    write_key(&f, 1);
    sim_run_until(f.sim, SIM_SECOND);
    assert_true(stored(&f, 1));
    sim_host_crash(f.host, SIM_CRASH_POWER);
    sim_disk_wipe(f.host);
    sim_host_start(f.host);
    assert_false(stored(&f, 1));
    sim_free(f.sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_queued_during_a_commit_share_the_next_one),
        cmocka_unit_test(a_read_sees_what_was_done_before_it),
        cmocka_unit_test(a_view_does_not_see_later_writes),
        cmocka_unit_test(a_lazy_write_is_told_before_it_is_stored),
        cmocka_unit_test(the_latest_is_seen_before_it_is_stored),
        cmocka_unit_test(a_write_takes_the_lazy_ones_along),
        cmocka_unit_test(a_crash_loses_what_was_only_told),
        cmocka_unit_test(a_crash_in_a_commit_keeps_the_lazy_ones_with_the_write),
        cmocka_unit_test(abandoned_lazy_writes_are_told_and_done_once),
        cmocka_unit_test(a_failed_commit_loses_what_was_only_told),
        cmocka_unit_test(a_hung_disk_runs_no_lazy_write),
        cmocka_unit_test(one_environment_hangs_alone),
        cmocka_unit_test(lazy_writes_that_wait_are_bounded_in_bytes),
        cmocka_unit_test(a_crash_keeps_the_batch_whole_or_loses_it_whole),
        cmocka_unit_test(abandoned_operations_come_back_to_be_freed),
        cmocka_unit_test(a_failed_commit_ends_the_disk),
        cmocka_unit_test(an_error_of_a_write_takes_its_batch_down),
        cmocka_unit_test(a_hung_disk_completes_nothing_until_its_end),
        cmocka_unit_test(a_slow_disk_takes_its_time),
        cmocka_unit_test(a_full_disk_has_room_for_meta_only),
        cmocka_unit_test(a_wiped_disk_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
