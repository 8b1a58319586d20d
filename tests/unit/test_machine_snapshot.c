/* Snapshots: what comes out goes in elsewhere as the same state; what no machine could have written is refused. Runs
 * on both stores. */
#include "machine_world.h"
#include "codec.h"
#include "identity.h"
#include "scratch.h"

#include <unistd.h>

#define GROUP 7
#define MAP_SIZE (64u << 20)

/* ---- random commands ---- */

static uint64_t next_random(uint64_t *seed) {
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 33;
}

static struct chunk_ref some_chunks[4];
static char some_name[512];

/* Few names, versions and chunks, so that commands meet each other. */
static struct command random_command(uint64_t *seed) {
    static const char *const names[] = {"a", "b/c", "b/d", "z/1/2"};
    const char *name = names[next_random(seed) % 4];
    uint8_t version = (uint8_t)(1 + next_random(seed) % 12);
    uint32_t count = (uint32_t)(1 + next_random(seed) % 4);
    struct command c;
    for (uint32_t i = 0; i < count; i++) {
        some_chunks[i] = chunked((uint8_t)(next_random(seed) % 8));
    }
    if (next_random(seed) % 4 == 0) {
        memset(some_name, 'n', 450);
        snprintf(some_name + 450, sizeof(some_name) - 450, "%u", (unsigned)(next_random(seed) % 4));
        name = some_name;
    }
    switch (next_random(seed) % 9) {
    case 0:
        c = put_inline(name, version, "some text");
        break;
    case 1:
    case 2:
        c = put_chunks(name, version, some_chunks, count);
        c.u.put.condition = (enum name_condition)(next_random(seed) % 3);
        c.u.put.match = versioned((uint8_t)(1 + next_random(seed) % 12));
        break;
    case 3:
        c = rm(name);
        break;
    case 4:
        c = refs(COMMAND_REF_DEL, version, "", some_chunks, count);
        break;
    case 5:
        c = refs(COMMAND_REF_CONFIRM, version, "", some_chunks, count);
        break;
    case 6:
        c = of_version(next_random(seed) % 2 ? COMMAND_OUTBOX_DONE : COMMAND_VERSION_SETTLE, name, version);
        break;
    default:
        c = refs(COMMAND_REF_ADD, version, name, some_chunks, count);
        break;
    }
    c.client = next_random(seed) % 4;
    c.seq = 5 + next_random(seed) % 50;
    c.ack_below = c.seq - next_random(seed) % 6;
    return c;
}

static void apply_random(struct world *w, uint64_t *seed, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        struct command c = random_command(seed);
        w->stamp_ms += next_random(seed) % 3 ? 10 : 3 * 60 * 60 * 1000;
        world_apply(w, &c);
    }
}

/* ---- moving ---- */

static void stage(struct world *w, const uint8_t *piece, size_t size) {
    struct txn *t = begin(w->store, true);
    assert_int_equal(machine_stage(t, GROUP, &w->arc, piece, size), 0);
    assert_int_equal(store_commit(t), 0);
}

static void install(struct world *w) {
    struct txn *t = begin(w->store, true);
    assert_int_equal(machine_install(t, GROUP, &w->arc), 0);
    assert_int_equal(store_commit(t), 0);
}

/* Exports `from` in pieces of about max_bytes and stages them at `to`; returns how many. */
static unsigned carry(struct world *from, struct world *to, size_t max_bytes) {
    struct machine_cursor cursor;
    struct buf piece;
    unsigned pieces = 0;
    buf_init(&piece, MACHINE_PIECE_MAX);
    machine_cursor_init(&cursor);
    struct txn *t = begin(from->store, false);
    while (!cursor.done) {
        buf_clear(&piece);
        assert_int_equal(machine_export(t, &from->arc, &cursor, max_bytes, &piece), 0);
        assert_true(piece.size > 0 || cursor.done);
        stage(to, piece.bytes, piece.size);
        pieces++;
    }
    store_abort(t);
    buf_release(&piece);
    return pieces;
}

static void check_equal(struct world *a, struct world *b) {
    assert_true(same_digest(world_digest(a), world_digest(b)));
}

/* Two machines with the same commands, one of them begun from a snapshot of the other half-way, stay equal. */
static void run_seed(struct world *a, struct world *b, uint64_t seed, size_t max_bytes) {
    uint64_t again;
    apply_random(a, &seed, 150);
    apply_random(b, &(uint64_t){seed + 1}, 20); /* to be wiped */
    assert_true(carry(a, b, max_bytes) > (max_bytes < 1000 ? 10 : 0));
    install(b);
    check_equal(a, b);
    assert_int_equal(world_rows(b, TABLE_STAGE), 0);
    b->stamp_ms = a->stamp_ms;
    again = seed;
    apply_random(a, &seed, 150);
    apply_random(b, &again, 150);
    check_equal(a, b);
}

static void test_equal_after_snapshot(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world a, b;
        world_open(&a, whole_ring());
        world_open(&b, whole_ring());
        run_seed(&a, &b, seed, seed % 2 ? 300 : MACHINE_PIECE_MAX);
        world_close(&a);
        world_close(&b);
    }
}

static void test_equal_on_lmdb(void **state) {
    (void)state;
    char directory[SCRATCH_SIZE];
    struct store *store = NULL;
    struct world a, b;
    scratch_make(directory);
    assert_int_equal(store_open_lmdb(directory, MAP_SIZE, &store), 0);
    world_open(&a, whole_ring());
    world_init(&b, store, whole_ring());
    run_seed(&a, &b, 99, 5000);
    world_close(&a);
    world_close(&b);
    scratch_remove(directory);
}

/* The same commands give the same answers as well. */
static void test_equal_answers(void **state) {
    (void)state;
    struct world a, b;
    uint64_t seed = 4;
    world_open(&a, whole_ring());
    world_open(&b, whole_ring());
    for (unsigned i = 0; i < 500; i++) {
        struct command c = random_command(&seed);
        a.stamp_ms = b.stamp_ms += 7;
        world_apply(&a, &c);
        world_apply(&b, &c);
        assert_int_equal(a.answer.size, b.answer.size);
        assert_memory_equal(a.answer.bytes, b.answer.bytes, a.answer.size);
        assert_int_equal(a.effects.count, b.effects.count);
    }
    check_equal(&a, &b);
    world_close(&a);
    world_close(&b);
}

static void test_empty_state(void **state) {
    (void)state;
    struct world a, b;
    world_open(&a, whole_ring());
    world_open(&b, whole_ring());
    apply_random(&b, &(uint64_t){1}, 50);
    assert_int_equal(carry(&a, &b, 1000), 1);
    install(&b);
    check_equal(&a, &b);
    for (int table = TABLE_NAMES; table <= TABLE_STAGE; table++) {
        assert_int_equal(world_rows(&b, (enum txn_table)table), 0);
    }
    world_close(&a);
    world_close(&b);
}

/* An arc is a range: its neighbours in the same store are neither carried nor touched. */
static void test_neighbouring_arcs(void **state) {
    (void)state;
    struct world a, b;
    unsigned bits = 3;
    struct digest digests[8];
    world_open(&a, whole_ring());
    world_open(&b, whole_ring());
    uint64_t seed = 8;
    for (unsigned i = 0; i < 400; i++) {
        struct command c = random_command(&seed);
        for (uint32_t arc = 0; arc < 8; arc++) {
            ring_arc_range(arc, bits, &a.arc.first, &a.arc.last);
            world_apply(&a, &c);
        }
    }
    unsigned filled = 0;
    for (uint32_t arc = 0; arc < 8; arc++) {
        ring_arc_range(arc, bits, &a.arc.first, &a.arc.last);
        b.arc = a.arc;
        filled += carry(&a, &b, 200) > 1;
        install(&b);
        digests[arc] = world_digest(&a);
        assert_true(same_digest(world_digest(&b), digests[arc]));
    }
    assert_true(filled >= 4);
    ring_arc_range(2, bits, &a.arc.first, &a.arc.last);
    struct txn *t = begin(a.store, true);
    assert_int_equal(machine_wipe(t, &a.arc), 0);
    assert_int_equal(store_commit(t), 0);
    for (uint32_t arc = 0; arc < 8; arc++) {
        ring_arc_range(arc, bits, &a.arc.first, &a.arc.last);
        assert_int_equal(same_digest(world_digest(&a), digests[arc]), arc != 2);
    }
    world_close(&a);
    world_close(&b);
}

static void test_root(void **state) {
    (void)state;
    struct world a, b;
    struct command c = {.kind = COMMAND_ROOT_INIT, .client = 1, .seq = 1};
    world_open(&a, root_arc());
    world_open(&b, root_arc());
    c.u.init.settings = (struct swarm_settings){.swarm = {9}, .bits = 4, .replicas = 3};
    c.u.init.founder = member_numbered(1, MEMBER_UP);
    assert_int_equal(world_apply(&a, &c).status, 0);
    c = (struct command){.kind = COMMAND_TICKET_ADD};
    c.u.ticket.uses = 3;
    c.u.ticket.expires_ms = 99999;
    assert_int_equal(world_apply(&a, &c).status, 0);
    assert_true(carry(&a, &b, 60) > 2);
    install(&b);
    check_equal(&a, &b);
    assert_int_equal(world_rows(&b, TABLE_ROOT), world_rows(&a, TABLE_ROOT));
    assert_int_equal(world_rows(&b, TABLE_ROOT), 5);
    world_close(&a);
    world_close(&b);
}

static void test_stage_clear_is_of_one_group(void **state) {
    (void)state;
    struct world a, b;
    world_open(&a, whole_ring());
    world_open(&b, whole_ring());
    apply_random(&a, &(uint64_t){1}, 50);
    carry(&a, &b, 1000);
    size_t staged = world_rows(&b, TABLE_STAGE);
    assert_true(staged > 0);
    struct txn *t = begin(b.store, true);
    assert_int_equal(machine_stage_clear(t, GROUP + 1), 0);
    assert_int_equal(store_commit(t), 0);
    assert_int_equal(world_rows(&b, TABLE_STAGE), staged);
    t = begin(b.store, true);
    assert_int_equal(machine_stage_clear(t, GROUP), 0);
    assert_int_equal(store_commit(t), 0);
    assert_int_equal(world_rows(&b, TABLE_STAGE), 0);
    world_close(&a);
    world_close(&b);
}

/* ---- pieces no machine wrote ---- */

static int stage_status(struct world *w, const uint8_t *piece, size_t size) {
    struct txn *t = begin(w->store, true);
    int rc = machine_stage(t, GROUP, &w->arc, piece, size);
    store_abort(t);
    return rc;
}

static int stage_row(struct world *w, enum txn_table table, const void *key, size_t key_size, struct buf *value) {
    struct buf piece;
    buf_init(&piece, 4096);
    cbor_put_array(&piece, 3);
    cbor_put_uint(&piece, table);
    cbor_put_bytes(&piece, key, key_size);
    cbor_put_bytes(&piece, value->bytes, value->size);
    assert_int_equal(piece.error, 0);
    int rc = stage_status(w, piece.bytes, piece.size);
    buf_release(&piece);
    buf_clear(value);
    return rc;
}

static int stage_stamp(struct world *w, enum txn_table table, const void *key, size_t key_size) {
    struct buf value;
    buf_init(&value, 64);
    cbor_put_uint(&value, 5);
    int rc = stage_row(w, table, key, key_size, &value);
    buf_release(&value);
    return rc;
}

static void test_rows_that_do_not_belong(void **state) {
    (void)state;
    struct world w;
    uint8_t key[24] = {0};
    world_open(&w, (struct machine_arc){.first = 1ull << 60, .last = (2ull << 60) - 1});
    put_u64(key, w.arc.first);
    assert_int_equal(stage_stamp(&w, TABLE_ABORTED, key, sizeof(key)), 0);
    put_u64(key, w.arc.last);
    assert_int_equal(stage_stamp(&w, TABLE_ABORTED, key, sizeof(key)), 0);
    put_u64(key, w.arc.first - 1);
    assert_int_equal(stage_stamp(&w, TABLE_ABORTED, key, sizeof(key)), ERR_PROTOCOL);
    put_u64(key, w.arc.last + 1);
    assert_int_equal(stage_stamp(&w, TABLE_ABORTED, key, sizeof(key)), ERR_PROTOCOL);
    put_u64(key, w.arc.first);
    assert_int_equal(stage_stamp(&w, TABLE_ABORTED, key, sizeof(key) - 1), ERR_PROTOCOL);
    assert_int_equal(stage_stamp(&w, TABLE_ABORTED, key, 0), ERR_PROTOCOL);
    for (int table = 0; table < TABLE_COUNT; table++) {
        int expected = table == TABLE_ABORTED ? 0 : ERR_PROTOCOL;
        assert_int_equal(stage_stamp(&w, (enum txn_table)table, key, sizeof(key)), expected);
    }
    w.arc = root_arc();
    assert_int_equal(stage_stamp(&w, TABLE_ABORTED, key, sizeof(key)), ERR_PROTOCOL);
    assert_int_equal(stage_stamp(&w, TABLE_ROOT, "x", 1), ERR_PROTOCOL);
    world_close(&w);
}

static void test_client_rows_of_another_arc(void **state) {
    (void)state;
    struct world w;
    struct buf value;
    uint8_t key[16] = {0};
    world_open(&w, whole_ring());
    buf_init(&value, 64);
    cbor_put_array(&value, 2);
    cbor_put_uint(&value, 0);
    cbor_put_uint(&value, 0);
    assert_int_equal(stage_row(&w, TABLE_CLIENTS, key, sizeof(key), &value), 0);
    key[7] = 1;
    cbor_put_array(&value, 2);
    cbor_put_uint(&value, 0);
    cbor_put_uint(&value, 0);
    assert_int_equal(stage_row(&w, TABLE_CLIENTS, key, sizeof(key), &value), ERR_PROTOCOL);
    buf_release(&value);
    world_close(&w);
}

/* A name under a key that is not its own would be found by no one, or by the wrong one. */
static void test_name_under_another_key(void **state) {
    (void)state;
    struct world a, b;
    struct machine_cursor cursor;
    struct buf piece;
    world_open(&a, whole_ring());
    world_open(&b, whole_ring());
    struct command c = put_inline("b/key", 1, "text");
    world_apply(&a, &c);
    buf_init(&piece, 4096);
    machine_cursor_init(&cursor);
    struct txn *t = begin(a.store, false);
    assert_int_equal(machine_export(t, &a.arc, &cursor, 4096, &piece), 0);
    store_abort(t);
    assert_true(cursor.done);
    assert_int_equal(stage_status(&b, piece.bytes, piece.size), 0);
    /* head of the array, table, head of the key, position, length, bucket, key: the last byte of the key */
    size_t last = 1 + 1 + 1 + 8 + 1 + 1 + 3 - 1;
    assert_int_equal(piece.bytes[last], 'y');
    piece.bytes[last] = 'z';
    assert_int_equal(stage_status(&b, piece.bytes, piece.size), ERR_PROTOCOL);
    buf_release(&piece);
    world_close(&a);
    world_close(&b);
}

/* Any damage to a piece is refused or gives rows that the machine can live with: they install and export again. */
static void test_damaged_pieces(void **state) {
    (void)state;
    struct world a, b;
    struct machine_cursor cursor;
    struct buf piece;
    uint64_t seed = 3;
    unsigned refused = 0;
    world_open(&a, whole_ring());
    world_open(&b, whole_ring());
    apply_random(&a, &seed, 60);
    buf_init(&piece, MACHINE_PIECE_MAX);
    machine_cursor_init(&cursor);
    struct txn *t = begin(a.store, false);
    assert_int_equal(machine_export(t, &a.arc, &cursor, MACHINE_PIECE_MAX, &piece), 0);
    store_abort(t);
    for (unsigned i = 0; i < 400; i++) {
        size_t at = next_random(&seed) % piece.size;
        uint8_t was = piece.bytes[at];
        piece.bytes[at] ^= (uint8_t)(1u << next_random(&seed) % 8);
        t = begin(b.store, true);
        int rc = machine_stage(t, GROUP, &b.arc, piece.bytes, piece.size);
        assert_true(rc == 0 || rc == ERR_PROTOCOL);
        refused += rc != 0;
        if (rc == 0) {
            assert_int_equal(machine_install(t, GROUP, &b.arc), 0);
            assert_int_equal(store_commit(t), 0);
            const struct query q = {.kind = QUERY_REFS, .from_start = true};
            assert_int_equal(world_query(&b, &q), 0);
            apply_random(&b, &(uint64_t){i}, 3);
        } else {
            store_abort(t);
        }
        piece.bytes[at] = was;
    }
    assert_in_range(refused, 100, 399);
    for (size_t size = 1; size < piece.size; size += 37) {
        int rc = stage_status(&b, piece.bytes, size);
        assert_true(rc == 0 || rc == ERR_PROTOCOL);
    }
    assert_int_equal(stage_status(&b, piece.bytes, piece.size - 1), ERR_PROTOCOL);
    buf_release(&piece);
    world_close(&a);
    world_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_after_snapshot),
        cmocka_unit_test(test_equal_on_lmdb),
        cmocka_unit_test(test_equal_answers),
        cmocka_unit_test(test_empty_state),
        cmocka_unit_test(test_neighbouring_arcs),
        cmocka_unit_test(test_root),
        cmocka_unit_test(test_stage_clear_is_of_one_group),
        cmocka_unit_test(test_rows_that_do_not_belong),
        cmocka_unit_test(test_client_rows_of_another_arc),
        cmocka_unit_test(test_name_under_another_key),
        cmocka_unit_test(test_damaged_pieces),
    };
    if (crypto_init() != 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
