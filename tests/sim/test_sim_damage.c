/* Damage to chunks: bits that change where they lie, and reads that find another chunk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "chunks.h"
#include "errors.h"
#include "identity.h"
#include "sim.h"
#include "store.h"

#define READS 200
#define SIZE 200000 /* in several pieces */

struct fixture;

struct read_op {
    struct disk_op op;
    struct digest asked, found;
    int status;
};

struct fixture {
    struct sim *sim;
    struct sim_host *host;
    struct sim_ports ports;
    struct digest digests[2];
    uint8_t bytes[2][SIZE];
    struct read_op reads[READS];
};

static void boot(void *ctx, struct sim_host *h, const struct sim_ports *ports) {
    struct fixture *f = ctx;
    f->host = h;
    f->ports = *ports;
}

static void dead(void *ctx, struct sim_host *h) {
    (void)ctx;
    (void)h;
}

static void put(struct fixture *f, int i, size_t size) {
    struct txn *t;
    memset(f->bytes[i], 'a' + i, size);
    digest_of(f->bytes[i], size, &f->digests[i]);
    assert_int_equal(store_begin(sim_host_store(f->host, DISK_CHUNKS), true, &t), 0);
    assert_int_equal(chunk_put(t, &f->digests[i], f->bytes[i], size), 0);
    assert_int_equal(store_commit(t), 0);
}

static void open_world(struct fixture *f) {
    memset(f, 0, sizeof(*f));
    const struct sim_options options = {.seed = 1, .hosts = 1, .capacity_bytes = 64u << 20};
    const struct sim_program program = {.boot = boot, .dead = dead, .ctx = f};
    f->sim = sim_new(&options, &program);
    sim_host_start(sim_host(f->sim, 1));
}

static int run_read(struct txn *t, struct disk_op *op) {
    struct read_op *r = (struct read_op *)op;
    static uint8_t bytes[CHUNK_STORED_MAX];
    size_t size;
    int status = chunk_get(t, &r->asked, bytes, sizeof(bytes), &size);
    if (status == 0) {
        digest_of(bytes, size, &r->found);
    }
    return status;
}

static void on_read(struct disk_op *op, int status) {
    ((struct read_op *)op)->status = status;
}

static void read_often(struct fixture *f) {
    for (int i = 0; i < READS; i++) {
        struct read_op *r = &f->reads[i];
        *r = (struct read_op){.op = {.run = run_read, .done = on_read}, .asked = f->digests[i % 2], .status = -1};
        disk_read(f->ports.disk, DISK_CHUNKS, &r->op);
    }
    sim_run_until(f->sim, sim_now_us(f->sim) + SIM_SECOND);
}

static uint32_t count_wrong(struct fixture *f) {
    uint32_t wrong = 0;
    for (int i = 0; i < READS; i++) {
        const struct read_op *r = &f->reads[i];
        assert_int_equal(r->status, 0);
        if (!digest_equal(&r->asked, &r->found)) {
            assert_true(digest_equal(&r->found, &f->digests[(i + 1) % 2]));
            wrong++;
        }
    }
    return wrong;
}

static void some_reads_find_another_chunk(void **state) {
    (void)state;
    static struct fixture f;
    open_world(&f);
    put(&f, 0, SIZE);
    put(&f, 1, SIZE);
    read_often(&f);
    assert_int_equal(count_wrong(&f), 0);
    sim_disk_misread(f.host, 300000);
    read_often(&f);
    assert_in_range(count_wrong(&f), READS / 5, READS * 2 / 5);
    sim_disk_repair(f.host);
    read_often(&f);
    assert_int_equal(count_wrong(&f), 0);
    sim_free(f.sim);
}

static void the_only_chunk_is_not_mistaken_for_another(void **state) {
    (void)state;
    static struct fixture f;
    open_world(&f);
    put(&f, 0, 100);
    f.digests[1] = f.digests[0];
    sim_disk_misread(f.host, PRNG_MILLION);
    read_often(&f);
    assert_int_equal(count_wrong(&f), 0);
    sim_free(f.sim);
}

static void a_bit_that_rots_stays_wrong_until_the_chunk_is_written_anew(void **state) {
    (void)state;
    static struct fixture f;
    static uint8_t found[CHUNK_STORED_MAX];
    open_world(&f);
    put(&f, 0, SIZE);
    for (uint64_t random = 1; random < 20; random++) {
        struct txn *t;
        size_t size = 0, different = 0;
        assert_true(sim_disk_rot(f.host, &f.digests[0], prng_mix(random)));
        assert_int_equal(store_begin(sim_host_store(f.host, DISK_CHUNKS), false, &t), 0);
        int status = chunk_get(t, &f.digests[0], found, sizeof(found), &size);
        store_abort(t);
        for (size_t i = 0; status == 0 && i < SIZE; i++) {
            different += found[i] != f.bytes[0][i];
        }
        assert_true(status == ERR_CORRUPT || status == ERR_TOO_LARGE || different == 1); /* a length may rot, too */
        put(&f, 0, SIZE);
    }
    assert_false(sim_disk_rot(f.host, &f.digests[1], 1));
    sim_free(f.sim);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_reads_find_another_chunk),
        cmocka_unit_test(the_only_chunk_is_not_mistaken_for_another),
        cmocka_unit_test(a_bit_that_rots_stays_wrong_until_the_chunk_is_written_anew),
    };
    return crypto_init() != 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
