/* Raft batches: every field, filling a frame, and what no correct peer sends. */
#include "wire_sweep.h"
#include "wire_samples.h"
#include "codec.h"

static struct buf scratch(void) {
    struct buf b;
    buf_init(&b, FAMILY_BUF_MAX);
    return b;
}

static void assert_message(const struct raft_message *a, const struct raft_message *b) {
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->reject, b->reject);
    assert_int_equal(a->from, b->from);
    assert_int_equal(a->to, b->to);
    assert_int_equal(a->term, b->term);
    assert_int_equal(a->index, b->index);
    assert_int_equal(a->log_term, b->log_term);
    assert_int_equal(a->commit, b->commit);
    assert_int_equal(a->context, b->context);
    assert_int_equal(a->entry_count, b->entry_count);
}

static struct raft_message message_of(enum raft_message_kind kind) {
    return (struct raft_message){.kind = kind,
                                 .from = 3,
                                 .to = UINT64_MAX,
                                 .term = 1000,
                                 .index = 70000,
                                 .log_term = 999,
                                 .commit = UINT64_MAX - 1,
                                 .context = 1ULL << 33};
}

static void test_every_kind_and_field(void **state) {
    (void)state;
    struct buf b = scratch();
    struct raft_batch batch;
    struct raft_batch_reader *reader = NULL;
    struct raft_message *got = NULL;
    uint32_t group = 0;
    enum peer_kind kind;
    peer_raft_begin(&batch, &b);
    for (int k = 0; k < RAFT_MESSAGE_KINDS; k++) {
        struct raft_message m = message_of((enum raft_message_kind)k);
        m.reject = k % 2 == 1;
        assert_true(peer_raft_add(&batch, UINT32_MAX - (uint32_t)k, &m));
    }
    peer_raft_end(&batch);
    assert_int_equal(get_u32(b.bytes), b.size - 4);
    assert_int_equal(peer_kind_of(b.bytes + 4, b.size - 4, &kind), 0);
    assert_int_equal(kind, PEER_RAFT);
    assert_int_equal(raft_batch_open(b.bytes + 4, b.size - 4, &reader), 0);
    for (int k = 0; k < RAFT_MESSAGE_KINDS; k++) {
        struct raft_message m = message_of((enum raft_message_kind)k);
        m.reject = k % 2 == 1;
        assert_int_equal(raft_batch_next(reader, &group, &got), 0);
        assert_int_equal(group, UINT32_MAX - (uint32_t)k);
        assert_message(got, &m);
    }
    assert_int_equal(raft_batch_next(reader, &group, &got), ERR_NOT_FOUND);
    assert_int_equal(raft_batch_next(reader, &group, &got), ERR_NOT_FOUND);
    raft_batch_close(reader);
    buf_release(&b);
}

static void test_entries(void **state) {
    (void)state;
    struct buf b = scratch();
    struct raft_batch batch;
    struct raft_batch_reader *reader = NULL;
    struct raft_message *got = NULL;
    uint32_t group = 0;
    struct raft_entry *entries[] = {raft_entry_new(70001, 999, RAFT_ENTRY_NOOP, NULL, 0),
                                    raft_entry_new(70002, 999, RAFT_ENTRY_COMMAND, "command", 7),
                                    raft_entry_new(70003, 1000, RAFT_ENTRY_CONFIG, "any bytes", 9)};
    struct raft_message m = message_of(RAFT_APPEND);
    m.entries = entries;
    m.entry_count = 3;
    peer_raft_begin(&batch, &b);
    assert_true(peer_raft_add(&batch, 5, &m));
    peer_raft_end(&batch);
    assert_int_equal(raft_batch_open(b.bytes + 4, b.size - 4, &reader), 0);
    assert_int_equal(raft_batch_next(reader, &group, &got), 0);
    assert_message(got, &m);
    struct raft_entry *kept = raft_entry_ref(got->entries[1]);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(got->entries[i]->index, entries[i]->index);
        assert_int_equal(got->entries[i]->term, entries[i]->term);
        assert_int_equal(got->entries[i]->kind, entries[i]->kind);
        assert_int_equal(got->entries[i]->size, entries[i]->size);
        assert_memory_equal(got->entries[i]->data, entries[i]->data, entries[i]->size);
        raft_entry_unref(entries[i]);
    }
    raft_batch_close(reader);
    assert_memory_equal(kept->data, "command", 7);
    raft_entry_unref(kept);
    buf_release(&b);
}

static void test_a_batch_is_full_at_its_count(void **state) {
    (void)state;
    struct buf b = scratch();
    struct raft_batch batch;
    struct raft_message m = message_of(RAFT_HEARTBEAT);
    peer_raft_begin(&batch, &b);
    for (uint32_t i = 0; i < PEER_RAFT_MAX; i++) {
        assert_true(peer_raft_add(&batch, i, &m));
    }
    assert_false(peer_raft_add(&batch, 0, &m));
    peer_raft_end(&batch);
    assert_int_equal(b.error, 0);
    assert_int_equal(raft_batch_pass(b.bytes + 4, b.size - 4), 0);
    buf_release(&b);
}

/* The largest append the core makes: many entries, the last of which went over the limit of bytes. */
static void test_a_batch_is_full_at_its_bytes(void **state) {
    (void)state;
    struct buf b = scratch();
    struct raft_batch batch;
    struct raft_entry *entries[RAFT_APPEND_ENTRIES_MAX];
    struct raft_message m = message_of(RAFT_APPEND);
    uint8_t *data = calloc(1, RAFT_ENTRY_MAX);
    assert_non_null(data);
    m.entries = entries;
    m.entry_count = RAFT_APPEND_ENTRIES_MAX;
    for (uint32_t i = 0; i < m.entry_count; i++) {
        size_t size = i + 1 < m.entry_count ? RAFT_APPEND_BYTES_MAX / RAFT_APPEND_ENTRIES_MAX : RAFT_ENTRY_MAX;
        entries[i] = raft_entry_new(m.index + 1 + i, 1000, RAFT_ENTRY_COMMAND, data, size);
        assert_non_null(entries[i]);
    }
    peer_raft_begin(&batch, &b);
    assert_true(peer_raft_add(&batch, 1, &m));
    size_t before = b.size;
    assert_false(peer_raft_add(&batch, 2, &m));
    assert_int_equal(b.size, before);
    peer_raft_end(&batch);
    assert_int_equal(b.error, 0);
    assert_true(b.size < FRAME_MAX);
    assert_int_equal(raft_batch_pass(b.bytes + 4, b.size - 4), 0);
    for (uint32_t i = 0; i < m.entry_count; i++) {
        raft_entry_unref(entries[i]);
    }
    free(data);
    buf_release(&b);
}

static void test_several_batches_share_a_buffer(void **state) {
    (void)state;
    static const uint32_t counts[] = {0, 1, 23, 24, 255, 256, 1000};
    struct buf b = scratch();
    struct raft_message m = message_of(RAFT_VOTE);
    for (size_t i = 0; i < 7; i++) {
        struct raft_batch batch;
        peer_raft_begin(&batch, &b);
        for (uint32_t k = 0; k < counts[i]; k++) {
            assert_true(peer_raft_add(&batch, k, &m));
        }
        peer_raft_end(&batch);
    }
    size_t at = 0;
    for (size_t i = 0; i < 7; i++) {
        size_t size = get_u32(b.bytes + at);
        struct raft_batch_reader *reader = NULL;
        struct raft_message *got = NULL;
        uint32_t group = 0;
        uint32_t count = 0;
        assert_int_equal(raft_batch_open(b.bytes + at + 4, size, &reader), 0);
        while (raft_batch_next(reader, &group, &got) == 0) {
            assert_int_equal(group, count++);
            assert_message(got, &m);
        }
        assert_int_equal(count, counts[i]);
        raft_batch_close(reader);
        at += 4 + size;
    }
    assert_int_equal(at, b.size);
    buf_release(&b);
}

static void test_a_failed_buffer_never_says_full(void **state) {
    (void)state;
    struct buf b;
    struct raft_batch batch;
    struct raft_message m = message_of(RAFT_VOTE);
    buf_init(&b, 100);
    peer_raft_begin(&batch, &b);
    for (uint32_t i = 0; i < 2 * PEER_RAFT_MAX; i++) {
        assert_true(peer_raft_add(&batch, i, &m));
    }
    peer_raft_end(&batch);
    assert_int_equal(b.error, ERR_TOO_LARGE);
    buf_release(&b);
}

/* One message as a peer might write it. */
struct forged {
    uint64_t kind, from, to, term, index, log_term;
    bool reject;
    uint64_t entry_count; /* claimed */
    uint64_t entry_kind, entry_term, entry_size;
    bool entry; /* one is really there */
};

static const struct forged honest = {.kind = RAFT_APPEND,
                                     .from = 1,
                                     .to = 2,
                                     .term = 7,
                                     .index = 10,
                                     .log_term = 5,
                                     .entry_count = 1,
                                     .entry_kind = RAFT_ENTRY_COMMAND,
                                     .entry_term = 6,
                                     .entry_size = 3,
                                     .entry = true};

static void put_forged(struct buf *b, const struct forged *f) {
    static const uint8_t zeros[RAFT_ENTRY_MAX + 1];
    cbor_put_array(b, 11);
    cbor_put_uint(b, 4);
    cbor_put_uint(b, f->kind);
    cbor_put_bool(b, f->reject);
    cbor_put_uint(b, f->from);
    cbor_put_uint(b, f->to);
    cbor_put_uint(b, f->term);
    cbor_put_uint(b, f->index);
    cbor_put_uint(b, f->log_term);
    cbor_put_uint(b, 0);
    cbor_put_uint(b, 0);
    cbor_put_array(b, f->entry_count);
    if (f->entry) {
        cbor_put_array(b, 3);
        cbor_put_uint(b, f->entry_term);
        cbor_put_uint(b, f->entry_kind);
        cbor_put_bytes(b, zeros, f->entry_size);
    }
}

static int read_forged(struct forged f) {
    struct buf b = scratch();
    cbor_put_array(&b, 2);
    cbor_put_uint(&b, PEER_RAFT);
    cbor_put_array(&b, 1);
    put_forged(&b, &f);
    assert_int_equal(b.error, 0);
    int rc = sweep_exact(raft_batch_pass, b.bytes, b.size);
    buf_release(&b);
    return rc;
}

#define ASSERT_FORGED(expected, ...)                  \
    do {                                              \
        struct forged f = honest;                     \
        __VA_ARGS__;                                  \
        assert_int_equal(read_forged(f), (expected)); \
    } while (0)

static void test_forged_messages_are_refused(void **state) {
    (void)state;
    ASSERT_FORGED(0, f.term = 7);
    ASSERT_FORGED(ERR_PROTOCOL, f.kind = RAFT_MESSAGE_KINDS);
    ASSERT_FORGED(ERR_PROTOCOL, f.kind = UINT64_MAX);
    ASSERT_FORGED(ERR_PROTOCOL, f.from = 0);
    ASSERT_FORGED(ERR_PROTOCOL, f.to = 0);
    ASSERT_FORGED(ERR_PROTOCOL, f.reject = true);
    ASSERT_FORGED(ERR_PROTOCOL, f.kind = RAFT_HEARTBEAT);
    ASSERT_FORGED(0, f.kind = RAFT_HEARTBEAT, f.entry = false, f.entry_count = 0);
    ASSERT_FORGED(ERR_PROTOCOL, f.index = UINT64_MAX);
    ASSERT_FORGED(0, f.index = UINT64_MAX - 1);
}

static void test_forged_entries_are_refused(void **state) {
    (void)state;
    ASSERT_FORGED(ERR_PROTOCOL, f.entry_kind = RAFT_ENTRY_CONFIG + 1);
    ASSERT_FORGED(ERR_PROTOCOL, f.entry_kind = RAFT_ENTRY_NOOP);
    ASSERT_FORGED(0, f.entry_kind = RAFT_ENTRY_NOOP, f.entry_size = 0);
    ASSERT_FORGED(ERR_PROTOCOL, f.entry_term = 8);
    ASSERT_FORGED(ERR_PROTOCOL, f.entry_term = 4);
    ASSERT_FORGED(ERR_PROTOCOL, f.entry_term = 0, f.log_term = 0);
    ASSERT_FORGED(0, f.entry_size = RAFT_ENTRY_MAX);
    ASSERT_FORGED(ERR_PROTOCOL, f.entry_size = RAFT_ENTRY_MAX + 1);
}

static void test_forged_counts_are_refused(void **state) {
    (void)state;
    ASSERT_FORGED(ERR_PROTOCOL, f.entry_count = 2);
    ASSERT_FORGED(ERR_PROTOCOL, f.entry_count = 0);
    ASSERT_FORGED(ERR_PROTOCOL, f.entry_count = RAFT_APPEND_ENTRIES_MAX + 1);
    ASSERT_FORGED(ERR_PROTOCOL, f.entry_count = 1ULL << 60);
    static const uint8_t batch_2_60[] = {0x82, PEER_RAFT, 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t batch_over[] = {0x82, PEER_RAFT, 0x99, 0x04, 0x01};
    static const uint8_t batch_none[] = {0x82, PEER_RAFT, 0x99, 0x04, 0x00};
    struct raft_batch_reader *reader = NULL;
    assert_int_equal(raft_batch_open(batch_2_60, sizeof(batch_2_60), &reader), ERR_PROTOCOL);
    assert_int_equal(raft_batch_open(batch_over, sizeof(batch_over), &reader), ERR_PROTOCOL);
    assert_null(reader);
    assert_int_equal(raft_batch_pass(batch_none, sizeof(batch_none)), ERR_PROTOCOL);
}

static void test_terms_of_entries_never_fall(void **state) {
    (void)state;
    struct buf b = scratch();
    cbor_put_array(&b, 2);
    cbor_put_uint(&b, PEER_RAFT);
    cbor_put_array(&b, 1);
    struct forged f = honest;
    f.entry_count = 2;
    put_forged(&b, &f);
    cbor_put_array(&b, 3);
    size_t term_at = b.size;
    cbor_put_uint(&b, 6);
    cbor_put_uint(&b, RAFT_ENTRY_COMMAND);
    cbor_put_bytes(&b, "x", 1);
    assert_int_equal(raft_batch_pass(b.bytes, b.size), 0);
    b.bytes[term_at] = 5;
    assert_int_equal(raft_batch_pass(b.bytes, b.size), ERR_PROTOCOL);
    buf_release(&b);
}

/* A batch is read as it goes: what came before the damage was a message. */
static void test_messages_before_a_malformed_one_are_delivered(void **state) {
    (void)state;
    struct buf b = scratch();
    struct raft_batch_reader *reader = NULL;
    struct raft_message *got = NULL;
    uint32_t group = 0;
    cbor_put_array(&b, 2);
    cbor_put_uint(&b, PEER_RAFT);
    cbor_put_array(&b, 2);
    put_forged(&b, &honest);
    struct forged bad = honest;
    bad.entry_kind = 9;
    put_forged(&b, &bad);
    assert_int_equal(raft_batch_open(b.bytes, b.size, &reader), 0);
    assert_int_equal(raft_batch_next(reader, &group, &got), 0);
    assert_int_equal(group, 4);
    assert_int_equal(raft_batch_next(reader, &group, &got), ERR_PROTOCOL);
    assert_int_equal(raft_batch_next(reader, &group, &got), ERR_PROTOCOL);
    raft_batch_close(reader);
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_and_field),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_a_batch_is_full_at_its_count),
        cmocka_unit_test(test_a_batch_is_full_at_its_bytes),
        cmocka_unit_test(test_several_batches_share_a_buffer),
        cmocka_unit_test(test_a_failed_buffer_never_says_full),
        cmocka_unit_test(test_forged_messages_are_refused),
        cmocka_unit_test(test_forged_entries_are_refused),
        cmocka_unit_test(test_forged_counts_are_refused),
        cmocka_unit_test(test_terms_of_entries_never_fall),
        cmocka_unit_test(test_messages_before_a_malformed_one_are_delivered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
