/* Repair: every replica of a chunk's group comes to hold the chunk, whatever it missed or lost behind its back. */
#include "chunks.h"
#include "store.h"
#include "swarm_use.h"

#define NODES 3
#define ARC_BITS 3
#define WHOLE_US (120 * (uint64_t)SIM_SECOND) /* for a new swarm to reach its configurations */
#define REPAIR_US (60 * (uint64_t)SIM_SECOND)
#define CALM_MS 10000 /* longer than a replica waits for bytes before it looks for them */
#define FILES 6
#define FILE_SIZE (2 * CHUNK_PLAIN_MAX + 12345) /* three chunks */
#define READS_MAX 20
#define HOUR_MS ((uint64_t)3600 * 1000)
#define EARLY_US (180 * (uint64_t)SIM_SECOND)

static void put_files(struct swarm *w, uint32_t through) {
    for (uint64_t i = 1; i <= FILES; i++) {
        struct user_request q = {.kind = USER_PUT, .content = i, .size = FILE_SIZE};
        name_file(&q, i);
        assert_int_equal(ask(w, through, &q)->status, 0);
    }
}

static void read_files(struct swarm *w, uint32_t through) {
    for (uint64_t i = 1; i <= FILES; i++) {
        struct user_request q = {.kind = USER_GET};
        name_file(&q, i);
        const struct user_result *r = ask(w, through, &q);
        assert_int_equal(r->status, 0);
        assert_int_equal(r->size, FILE_SIZE);
        assert_true(r->content == content_identity(i, FILE_SIZE));
    }
}

/* ---- the swarm --------------------------------------------------------------------------------------------------- */

static void begin_settling(struct swarm *w, uint64_t seed, unsigned replicas, uint64_t settle_ms) {
    const struct swarm_options options = {.seed = seed,
                                          .nodes = NODES,
                                          .bits = ARC_BITS,
                                          .replicas = replicas,
                                          .capacity = CAPACITY,
                                          .settle_ms = settle_ms};
    found(w, &options);
    expect_whole_within(w, WHOLE_US);
}

static void begin(struct swarm *w, uint64_t seed, unsigned replicas) {
    begin_settling(w, seed, replicas, 0);
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */

static void flip(struct txn *t, const struct digest *d) {
    uint8_t key[DIGEST_SIZE + 1] = {0}; /* the first piece */
    static uint8_t const wrong = 0x40;
    struct slice value;
    memcpy(key, d->bytes, DIGEST_SIZE);
    const struct slice k = {key, sizeof(key)};
    assert_int_equal(txn_get(t, TABLE_CHUNKS, k, &value), 0);
    uint8_t *bytes = malloc(value.size);
    assert_non_null(bytes);
    memcpy(bytes, value.bytes, value.size);
    bytes[value.size - 1] ^= wrong;
    assert_int_equal(txn_put(t, TABLE_CHUNKS, k, (struct slice){bytes, value.size}), 0);
    free(bytes);
}

/* Damages or deletes every chunk of a node; says how many. */
static uint32_t ruin(struct swarm *w, uint32_t number, bool delete) {
    struct txn *t;
    struct digest d = {0};
    uint32_t count = 0;
    assert_int_equal(store_begin(sim_host_store(sim_host(w->sim, number), DISK_CHUNKS), true, &t), 0);
    while (chunk_next(t, &d, &d) == 0) {
        if (delete) {
            assert_int_equal(chunk_del(t, &d), 0);
        } else {
            flip(t, &d);
        }
        count++;
    }
    assert_int_equal(store_commit(t), 0);
    return count;
}

/* Whole, and nobody has any reason to look after a chunk. */
static void calm_down(struct swarm *w) {
    run_ms(w, CALM_MS);
    expect_whole_within(w, REPAIR_US);
}

static bool intact(struct swarm *w) {
    char message[SWARM_MESSAGE_SIZE];
    return audit_bytes(w, message, sizeof(message));
}

/* ---- what must heal ---------------------------------------------------------------------------------------------- */

static void a_node_that_was_down_gets_the_chunks_it_missed(void **state) {
    struct swarm w;
    (void)state;
    begin(&w, 1, NODES);
    sim_host_crash(sim_host(w.sim, 3), SIM_CRASH_POWER);
    put_files(&w, 1);
    start(&w, 3);
    expect_whole_within(&w, REPAIR_US);
    assert_true(intact(&w));
    read_files(&w, 3);
    end(&w);
}

/* It heard of the reference in time, but the bytes never came. */
static void a_node_that_only_missed_the_bytes_pulls_them(void **state) {
    struct swarm w;
    (void)state;
    begin(&w, 2, NODES);
    sim_disk_full(sim_host(w.sim, 3), true);
    put_files(&w, 1);
    sim_disk_full(sim_host(w.sim, 3), false);
    expect_whole_within(&w, REPAIR_US);
    assert_true(intact(&w));
    end(&w);
}

static void chunks_deleted_while_a_node_was_down_come_back_when_it_starts(void **state) {
    struct swarm w;
    (void)state;
    begin(&w, 3, NODES);
    put_files(&w, 2);
    calm_down(&w);
    sim_host_crash(sim_host(w.sim, 2), SIM_CRASH_PROCESS);
    assert_int_equal(ruin(&w, 2, true), 3 * FILES);
    start(&w, 2);
    expect_whole_within(&w, REPAIR_US);
    assert_true(intact(&w));
    end(&w);
}

static void a_chunk_that_is_read_and_not_found_comes_back(void **state) {
    struct swarm w;
    (void)state;
    begin(&w, 4, NODES);
    put_files(&w, 1);
    calm_down(&w);
    assert_int_equal(ruin(&w, 1, true), 3 * FILES);
    read_files(&w, 1);
    expect_whole_within(&w, REPAIR_US);
    assert_true(intact(&w));
    end(&w);
}

static void a_damaged_chunk_that_is_read_is_replaced(void **state) {
    struct swarm w;
    (void)state;
    begin(&w, 5, NODES);
    put_files(&w, 3);
    calm_down(&w);
    assert_int_equal(ruin(&w, 3, false), 3 * FILES);
    assert_false(intact(&w));
    read_files(&w, 3);
    run_ms(&w, REPAIR_US / SIM_MS);
    assert_true(intact(&w));
    expect_whole_within(&w, SIM_SECOND);
    end(&w);
}

/* With two replicas of each chunk, the readers ask the node with the damage for those they do not hold themselves. */
static void a_damaged_chunk_that_another_node_reads_is_replaced(void **state) {
    struct swarm w;
    (void)state;
    begin(&w, 6, NODES - 1);
    put_files(&w, 1);
    calm_down(&w);
    assert_true(ruin(&w, 2, false) > 0);
    for (uint32_t reads = 0; reads < READS_MAX && !intact(&w); reads++) {
        read_files(&w, reads % 2 ? 1 : 3);
        run_ms(&w, 1000);
    }
    assert_true(intact(&w));
    expect_whole_within(&w, REPAIR_US);
    end(&w);
}

/* A copy that was found bad is kept while no good one is to be had. */
static void a_damaged_chunk_waits_for_the_node_with_the_good_copy(void **state) {
    struct swarm w;
    (void)state;
    begin(&w, 7, NODES);
    put_files(&w, 1);
    calm_down(&w);
    assert_int_equal(ruin(&w, 1, false), 3 * FILES);
    assert_int_equal(ruin(&w, 2, false), 3 * FILES);
    sim_host_crash(sim_host(w.sim, 3), SIM_CRASH_PROCESS);
    struct user_request q = {.kind = USER_GET};
    name_file(&q, 1);
    assert_int_equal(ask(&w, 1, &q)->status, ERR_CORRUPT);
    start(&w, 3);
    read_files(&w, 1);
    read_files(&w, 2);
    run_ms(&w, REPAIR_US / SIM_MS);
    assert_true(intact(&w));
    expect_whole_within(&w, SIM_SECOND);
    end(&w);
}

/* A put that died between a reference and its bytes. */
static void referenced(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    bool *answered = ctx;
    (void)config;
    (void)result;
    (void)size;
    assert_int_equal(status, 0);
    *answered = true;
}

static void a_reference_to_a_chunk_that_nobody_has_is_settled_early(void **state) {
    struct swarm w;
    char message[SWARM_MESSAGE_SIZE];
    struct chunk_ref chunk = {.digest = {{0x5a}}, .size = 1};
    struct command c = {.kind = COMMAND_REF_ADD, .u.refs = {.version = {{1}}, .chunk_count = 1, .chunks = &chunk}};
    struct buf b;
    bool answered = false;
    (void)state;
    begin_settling(&w, 8, NODES, HOUR_MS);
    put_files(&w, 1);
    struct groups *g = (struct groups *)(uintptr_t)node_groups(swarm_node(&w, 1)->node);
    assert_int_equal(name_parse("never", 5, &c.u.refs.name), 0);
    buf_init(&b, PEER_BODY_MAX);
    command_encode(&c, &b);
    groups_propose(g, groups_of(g, ring_position(&chunk.digest)), &b, CALL_US / 1000, referenced, &answered);
    buf_release(&b);
    while (!answered) {
        sim_step(w.sim, sim_now_us(w.sim) + CALL_US);
    }
    assert_false(audit_swarm(&w, message, sizeof(message)));
    expect_whole_within(&w, EARLY_US);
    read_files(&w, 2); /* theirs, as unconfirmed but with bytes, were left alone */
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_that_was_down_gets_the_chunks_it_missed),
        cmocka_unit_test(a_node_that_only_missed_the_bytes_pulls_them),
        cmocka_unit_test(chunks_deleted_while_a_node_was_down_come_back_when_it_starts),
        cmocka_unit_test(a_chunk_that_is_read_and_not_found_comes_back),
        cmocka_unit_test(a_damaged_chunk_that_is_read_is_replaced),
        cmocka_unit_test(a_damaged_chunk_that_another_node_reads_is_replaced),
        cmocka_unit_test(a_damaged_chunk_waits_for_the_node_with_the_good_copy),
        cmocka_unit_test(a_reference_to_a_chunk_that_nobody_has_is_settled_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
