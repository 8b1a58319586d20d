/* Client messages: what goes in comes out, and what no correct program sends is refused. */
#include "wire_sweep.h"
#include "wire_samples.h"
#include "codec.h"

static struct buf scratch(void) {
    struct buf b;
    buf_init(&b, FAMILY_BUF_MAX);
    return b;
}

static void assert_text(struct client_text text, const char *expected) {
    assert_int_equal(text.size, strlen(expected));
    assert_memory_equal(text.bytes, expected, text.size);
}

/* Encodes and decodes; texts of the result lie in *b, which the caller releases. */
static struct client_message again(const struct client_message *m, struct buf *b) {
    struct client_message out;
    *b = scratch();
    client_encode(m, b);
    assert_int_equal(b->error, 0);
    assert_int_equal(get_u32(b->bytes), b->size - 4);
    assert_int_equal(client_decode(b->bytes + 4, b->size - 4, &out, NULL), 0);
    assert_int_equal(out.kind, m->kind);
    return out;
}

static void test_put_and_rm(void **state) {
    (void)state;
    struct buf b;
    for (int condition = CLIENT_ANY; condition <= CLIENT_MATCH; condition++) {
        struct client_message m = {.kind = CLIENT_PUT};
        m.u.put.name = sample_text("photos/caf\xc3\xa9.jpg");
        m.u.put.condition = (uint8_t)condition;
        sample_fill(m.u.put.match, sizeof(m.u.put.match), 9);
        m.u.put.size = CLIENT_SIZE_UNKNOWN;
        struct client_message out = again(&m, &b);
        assert_text(out.u.put.name, "photos/caf\xc3\xa9.jpg");
        assert_int_equal(out.u.put.condition, condition);
        assert_memory_equal(out.u.put.match, m.u.put.match, 16);
        assert_int_equal(out.u.put.size, CLIENT_SIZE_UNKNOWN);
        buf_release(&b);
        m.kind = CLIENT_RM;
        if (condition != CLIENT_ABSENT) {
            out = again(&m, &b);
            assert_text(out.u.put.name, "photos/caf\xc3\xa9.jpg");
            assert_int_equal(out.u.put.condition, condition);
            assert_memory_equal(out.u.put.match, m.u.put.match, 16);
            buf_release(&b);
        }
    }
}

static void test_rm_of_what_must_be_absent_is_refused(void **state) {
    (void)state;
    struct buf b = scratch();
    struct client_message out;
    static const uint8_t zeros[16];
    cbor_put_array(&b, 4);
    cbor_put_uint(&b, CLIENT_RM);
    cbor_put_text(&b, "a", 1);
    cbor_put_uint(&b, CLIENT_ABSENT);
    cbor_put_bytes(&b, zeros, sizeof(zeros));
    assert_int_equal(client_decode(b.bytes, b.size, &out, NULL), ERR_PROTOCOL);
    buf_release(&b);
}

static void test_data_up_to_its_limit(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 65536, CLIENT_DATA_MAX};
    uint8_t *bytes = malloc(CLIENT_DATA_MAX + 1);
    assert_non_null(bytes);
    sample_fill(bytes, CLIENT_DATA_MAX + 1, 5);
    for (size_t i = 0; i < 4; i++) {
        struct buf b;
        struct client_message m = {.kind = CLIENT_DATA, .u.data = {bytes, sizes[i]}};
        struct client_message out = again(&m, &b);
        assert_int_equal(out.u.data.size, sizes[i]);
        assert_memory_equal(out.u.data.bytes, bytes, sizes[i]);
        buf_release(&b);
    }
    struct buf over = scratch();
    struct client_message out;
    cbor_put_array(&over, 2);
    cbor_put_uint(&over, CLIENT_DATA);
    cbor_put_bytes(&over, bytes, CLIENT_DATA_MAX + 1);
    assert_int_equal(client_decode(over.bytes, over.size, &out, NULL), ERR_PROTOCOL);
    buf_release(&over);
    free(bytes);
}

static void test_get_head_stat(void **state) {
    (void)state;
    struct buf b;
    struct client_message m = {.kind = CLIENT_GET, .u.get = {sample_text("a"), 4096, CLIENT_SIZE_UNKNOWN}};
    struct client_message out = again(&m, &b);
    assert_text(out.u.get.name, "a");
    assert_int_equal(out.u.get.offset, 4096);
    assert_int_equal(out.u.get.length, CLIENT_SIZE_UNKNOWN);
    buf_release(&b);
    m = (struct client_message){.kind = CLIENT_HEAD, .u.head = {UINT64_MAX, 5, {1, 2, 3}}};
    out = again(&m, &b);
    assert_int_equal(out.u.head.size, UINT64_MAX);
    assert_int_equal(out.u.head.modified_ms, 5);
    assert_memory_equal(out.u.head.version, m.u.head.version, 16);
    buf_release(&b);
    m = (struct client_message){.kind = CLIENT_STAT, .u.stat = {sample_text("b/c")}};
    out = again(&m, &b);
    assert_text(out.u.stat.name, "b/c");
    buf_release(&b);
}

static void test_stat_reply(void **state) {
    (void)state;
    struct buf b;
    struct client_message m = {.kind = CLIENT_STAT_REPLY};
    m.u.stat_reply.name = sample_text("b/c");
    m.u.stat_reply.size = UINT64_MAX;
    m.u.stat_reply.modified_ms = 6;
    sample_fill(m.u.stat_reply.version, 16, 7);
    m.u.stat_reply.chunks = 8;
    m.u.stat_reply.is_inline = true;
    m.u.stat_reply.arc = 9;
    m.u.stat_reply.leader = 10;
    m.u.stat_reply.replica_count = ROUTE_NODES_MAX;
    for (uint32_t i = 0; i < ROUTE_NODES_MAX; i++) {
        m.u.stat_reply.replicas[i] = UINT32_MAX - i;
    }
    m.u.stat_reply.chunk_replicas_min = 255;
    struct client_message out = again(&m, &b);
    assert_text(out.u.stat_reply.name, "b/c");
    assert_int_equal(out.u.stat_reply.size, UINT64_MAX);
    assert_int_equal(out.u.stat_reply.modified_ms, 6);
    assert_memory_equal(out.u.stat_reply.version, m.u.stat_reply.version, 16);
    assert_int_equal(out.u.stat_reply.chunks, 8);
    assert_true(out.u.stat_reply.is_inline);
    assert_int_equal(out.u.stat_reply.arc, 9);
    assert_int_equal(out.u.stat_reply.leader, 10);
    assert_int_equal(out.u.stat_reply.replica_count, ROUTE_NODES_MAX);
    assert_memory_equal(out.u.stat_reply.replicas, m.u.stat_reply.replicas, sizeof(m.u.stat_reply.replicas));
    assert_int_equal(out.u.stat_reply.chunk_replicas_min, 255);
    buf_release(&b);
}

static void test_ls_invite_text(void **state) {
    (void)state;
    struct buf b;
    struct client_message m = {.kind = CLIENT_LS, .u.ls = {sample_text("p"), sample_text("p/q"), CLIENT_LIST_MAX}};
    struct client_message out = again(&m, &b);
    assert_text(out.u.ls.prefix, "p");
    assert_text(out.u.ls.after, "p/q");
    assert_int_equal(out.u.ls.limit, CLIENT_LIST_MAX);
    buf_release(&b);
    m = (struct client_message){.kind = CLIENT_INVITE, .u.invite = {UINT64_MAX, UINT32_MAX}};
    out = again(&m, &b);
    assert_int_equal(out.u.invite.expires_ms, UINT64_MAX);
    assert_int_equal(out.u.invite.uses, UINT32_MAX);
    buf_release(&b);
    m = (struct client_message){.kind = CLIENT_TEXT, .u.text = sample_text("shoal1abc")};
    out = again(&m, &b);
    assert_text(out.u.text, "shoal1abc");
    buf_release(&b);
}

static void test_result_carries_every_status(void **state) {
    (void)state;
    for (int status = 0; err_known(status); status--) {
        struct buf b;
        struct client_message m = {.kind = CLIENT_RESULT, .u.result = {status, sample_text("why"), {1}, 2, 3}};
        struct client_message out = again(&m, &b);
        assert_int_equal(out.u.result.status, status);
        assert_text(out.u.result.message, "why");
        assert_memory_equal(out.u.result.version, m.u.result.version, 16);
        assert_int_equal(out.u.result.size, 2);
        assert_int_equal(out.u.result.modified_ms, 3);
        buf_release(&b);
    }
}

static void test_a_long_message_is_cut_between_characters(void **state) {
    (void)state;
    char text[CLIENT_MESSAGE_MAX + 3];
    struct buf b;
    memset(text, 'x', sizeof(text));
    memcpy(text + CLIENT_MESSAGE_MAX - 1, "\xe2\x82\xac", 3); /* the euro sign, across the limit */
    struct client_message m = {.kind = CLIENT_RESULT};
    m.u.result.status = ERR_IO;
    m.u.result.message = (struct client_text){text, CLIENT_MESSAGE_MAX + 2};
    struct client_message out = again(&m, &b);
    assert_int_equal(out.u.result.message.size, CLIENT_MESSAGE_MAX - 1);
    buf_release(&b);
    memset(text, 'x', sizeof(text));
    out = again(&m, &b);
    assert_int_equal(out.u.result.message.size, CLIENT_MESSAGE_MAX);
    buf_release(&b);
}

static void test_list(void **state) {
    (void)state;
    struct buf b = scratch();
    struct client_message m;
    struct client_rows rows;
    struct client_entry *in = calloc(CLIENT_LIST_MAX, sizeof(*in));
    struct client_entry out;
    char name[CLIENT_NAME_MAX];
    assert_non_null(in);
    memset(name, 'n', sizeof(name));
    for (uint32_t i = 0; i < CLIENT_LIST_MAX; i++) {
        in[i] = (struct client_entry){{name, CLIENT_NAME_MAX - i}, UINT64_MAX - i, i, {(uint8_t)i}};
    }
    client_encode_list(true, in, CLIENT_LIST_MAX, &b);
    assert_int_equal(b.error, 0);
    assert_int_equal(client_decode(b.bytes + 4, b.size - 4, &m, &rows), 0);
    assert_int_equal(m.kind, CLIENT_LIST);
    assert_true(m.u.list.more);
    assert_int_equal(m.u.list.count, CLIENT_LIST_MAX);
    for (uint32_t i = 0; i < CLIENT_LIST_MAX; i++) {
        assert_int_equal(client_list_next(&rows, &out), 0);
        assert_int_equal(out.name.size, CLIENT_NAME_MAX - i);
        assert_memory_equal(out.name.bytes, name, out.name.size);
        assert_int_equal(out.size, UINT64_MAX - i);
        assert_int_equal(out.modified_ms, i);
        assert_memory_equal(out.version, in[i].version, 16);
    }
    assert_int_equal(client_list_next(&rows, &out), ERR_NOT_FOUND);
    free(in);
    buf_release(&b);
}

static void test_status_reply(void **state) {
    (void)state;
    struct buf b = scratch();
    struct client_message m = {.kind = CLIENT_STATUS_REPLY};
    struct client_message out;
    struct client_rows rows;
    struct client_member row;
    struct client_member members[2] = {
        {1, {1}, "127.0.0.1:7400", "", MEMBER_UP, true, 2, 3, 4, 5},
        {UINT32_MAX, {2}, "[::1]:7400", "z", MEMBER_GONE, false, UINT64_MAX, UINT64_MAX, UINT32_MAX, 0}};
    sample_fill(m.u.status_reply.swarm, 32, 1);
    m.u.status_reply.self = 2;
    m.u.status_reply.epoch = UINT64_MAX;
    m.u.status_reply.replicas = 3;
    m.u.status_reply.arcs_total = 4;
    m.u.status_reply.arcs_healthy = 5;
    m.u.status_reply.arcs_under = 6;
    m.u.status_reply.arcs_leaderless = 7;
    m.u.status_reply.count = 2;
    client_encode_status(&m, members, &b);
    assert_int_equal(client_decode(b.bytes + 4, b.size - 4, &out, &rows), 0);
    assert_memory_equal(out.u.status_reply.swarm, m.u.status_reply.swarm, 32);
    assert_int_equal(out.u.status_reply.self, 2);
    assert_int_equal(out.u.status_reply.epoch, UINT64_MAX);
    assert_int_equal(out.u.status_reply.replicas, 3);
    assert_int_equal(out.u.status_reply.arcs_total, 4);
    assert_int_equal(out.u.status_reply.arcs_healthy, 5);
    assert_int_equal(out.u.status_reply.arcs_under, 6);
    assert_int_equal(out.u.status_reply.arcs_leaderless, 7);
    assert_int_equal(out.u.status_reply.count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(client_member_next(&rows, &row), 0);
        assert_int_equal(row.node, members[i].node);
        assert_memory_equal(row.id, members[i].id, 32);
        assert_string_equal(row.addr, members[i].addr);
        assert_string_equal(row.zone, members[i].zone);
        assert_int_equal(row.state, members[i].state);
        assert_int_equal(row.alive, members[i].alive);
        assert_int_equal(row.capacity, members[i].capacity);
        assert_int_equal(row.used, members[i].used);
        assert_int_equal(row.leaders, members[i].leaders);
        assert_int_equal(row.replicas, members[i].replicas);
    }
    assert_int_equal(client_member_next(&rows, &row), ERR_NOT_FOUND);
    buf_release(&b);
}

static int decode_stat_of(const char *name, size_t size) {
    struct buf b = scratch();
    struct client_message out;
    cbor_put_array(&b, 2);
    cbor_put_uint(&b, CLIENT_STAT);
    cbor_put_text(&b, name, size);
    int rc = client_decode(b.bytes, b.size, &out, NULL);
    buf_release(&b);
    return rc;
}

static void test_names_are_checked(void **state) {
    (void)state;
    char longest[CLIENT_NAME_MAX + 1];
    memset(longest, 'a', sizeof(longest));
    assert_int_equal(decode_stat_of("", 0), 0);
    assert_int_equal(decode_stat_of(longest, CLIENT_NAME_MAX), 0);
    assert_int_equal(decode_stat_of(longest, CLIENT_NAME_MAX + 1), ERR_PROTOCOL);
    assert_int_equal(decode_stat_of("a\0b", 3), ERR_PROTOCOL);
    assert_int_equal(decode_stat_of("\xc0\x80", 2), ERR_PROTOCOL);
    assert_int_equal(decode_stat_of("\xff", 1), ERR_PROTOCOL);
}

static void test_counts_and_limits_are_checked(void **state) {
    (void)state;
    struct client_message out;
    struct client_rows rows;
    struct client_entry entry;
    static const uint8_t list_2_60[] = {0x83, CLIENT_LIST, 0xf4, 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t list_over[] = {0x83, CLIENT_LIST, 0xf4, 0x99, 0x01, 0xf5};
    static const uint8_t list_none[] = {0x83, CLIENT_LIST, 0xf4, 0x99, 0x01, 0xf4};
    static const uint8_t list_more[] = {0x83, CLIENT_LIST, 0xf4, 0x80, 0x00};
    static const uint8_t ls_zero[] = {0x84, CLIENT_LS, 0x60, 0x60, 0x00};
    static const uint8_t ls_over[] = {0x84, CLIENT_LS, 0x60, 0x60, 0x19, 0x01, 0xf5};
    static const uint8_t kind_over[] = {0x81, CLIENT_KINDS};
    static const uint8_t wrong_fields[] = {0x82, CLIENT_END, 0};
    assert_int_equal(client_decode(list_2_60, sizeof(list_2_60), &out, &rows), ERR_PROTOCOL);
    assert_int_equal(client_decode(list_over, sizeof(list_over), &out, &rows), ERR_PROTOCOL);
    assert_int_equal(client_decode(list_none, sizeof(list_none), &out, &rows), 0);
    assert_int_equal(client_list_next(&rows, &entry), ERR_PROTOCOL);
    assert_int_equal(client_list_next(&rows, &entry), ERR_PROTOCOL);
    assert_int_equal(client_decode(list_more, sizeof(list_more), &out, &rows), 0);
    assert_int_equal(client_list_next(&rows, &entry), ERR_PROTOCOL);
    assert_int_equal(client_decode(ls_zero, sizeof(ls_zero), &out, NULL), ERR_PROTOCOL);
    assert_int_equal(client_decode(ls_over, sizeof(ls_over), &out, NULL), ERR_PROTOCOL);
    assert_int_equal(client_decode(kind_over, sizeof(kind_over), &out, NULL), ERR_PROTOCOL);
    assert_int_equal(client_decode(wrong_fields, sizeof(wrong_fields), &out, NULL), ERR_PROTOCOL);
    assert_int_equal(client_decode((const uint8_t[]){0}, 0, &out, NULL), ERR_PROTOCOL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_and_rm),
        cmocka_unit_test(test_rm_of_what_must_be_absent_is_refused),
        cmocka_unit_test(test_data_up_to_its_limit),
        cmocka_unit_test(test_get_head_stat),
        cmocka_unit_test(test_stat_reply),
        cmocka_unit_test(test_ls_invite_text),
        cmocka_unit_test(test_result_carries_every_status),
        cmocka_unit_test(test_a_long_message_is_cut_between_characters),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_status_reply),
        cmocka_unit_test(test_names_are_checked),
        cmocka_unit_test(test_counts_and_limits_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
