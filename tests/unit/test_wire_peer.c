/* Peer frames and bodies: what goes in comes out, field by field, and what no correct peer sends is refused. */
#include "wire_sweep.h"
#include "wire_samples.h"
#include "codec.h"

static struct buf scratch(void) {
    struct buf b;
    buf_init(&b, FAMILY_BUF_MAX);
    return b;
}

static void assert_config(const struct raft_config *a, const struct raft_config *b) {
    assert_int_equal(a->index, b->index);
    assert_int_equal(a->next_id, b->next_id);
    assert_int_equal(a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        assert_int_equal(a->replicas[i].id, b->replicas[i].id);
        assert_int_equal(a->replicas[i].node, b->replicas[i].node);
        assert_int_equal(a->replicas[i].flags, b->replicas[i].flags);
    }
}

static void assert_route(const struct group_route *a, const struct group_route *b) {
    assert_int_equal(a->group, b->group);
    assert_int_equal(a->route.config, b->route.config);
    assert_int_equal(a->route.term, b->route.term);
    assert_int_equal(a->route.leader, b->route.leader);
    assert_int_equal(a->route.count, b->route.count);
    assert_memory_equal(a->route.nodes, b->route.nodes, sizeof(a->route.nodes));
}

static void assert_member(const struct member *a, const struct member *b) {
    assert_int_equal(a->node, b->node);
    assert_memory_equal(a->id, b->id, sizeof(a->id));
    assert_memory_equal(a->dh, b->dh, sizeof(a->dh));
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->capacity, b->capacity);
    assert_int_equal(a->changed, b->changed);
    assert_string_equal(a->addr, b->addr);
    assert_string_equal(a->zone, b->zone);
}

static void test_hello(void **state) {
    (void)state;
    struct buf b = scratch();
    for (int role = HELLO_MEMBER; role <= HELLO_GUEST; role++) {
        for (int lane = 0; lane < LANES; lane++) {
            struct hello in = {.role = (enum hello_role)role, .lane = (enum lane)lane};
            struct hello out;
            sample_fill(in.id, sizeof(in.id), 77);
            buf_clear(&b);
            hello_encode(&in, &b);
            assert_int_equal(hello_decode(b.bytes, b.size, &out), 0);
            assert_int_equal(out.role, role);
            assert_int_equal(out.lane, lane);
            assert_memory_equal(out.id, in.id, sizeof(in.id));
        }
    }
    buf_release(&b);
}

static void test_ping(void **state) {
    (void)state;
    struct buf b = scratch();
    struct peer_ping in = {1, UINT64_MAX, 3, 4, UINT32_MAX, 6};
    struct peer_ping out;
    enum peer_kind kind;
    peer_ping_frame(&in, &b);
    assert_int_equal(get_u32(b.bytes), b.size - 4);
    assert_int_equal(peer_kind_of(b.bytes + 4, b.size - 4, &kind), 0);
    assert_int_equal(kind, PEER_PING);
    assert_int_equal(peer_ping_decode(b.bytes + 4, b.size - 4, &out), 0);
    assert_int_equal(out.epoch, 1);
    assert_int_equal(out.incarnation, UINT64_MAX);
    assert_int_equal(out.used, 3);
    assert_int_equal(out.led, 4);
    assert_int_equal(out.healthy, UINT32_MAX);
    assert_int_equal(out.under, 6);
    struct peer_request other;
    assert_int_equal(peer_request_decode(b.bytes + 4, b.size - 4, &other), ERR_PROTOCOL);
    buf_release(&b);
}

static void test_request(void **state) {
    (void)state;
    struct buf b = scratch();
    enum peer_kind kind;
    for (int op = 0; op < PEER_OPS; op++) {
        struct peer_request in = {UINT64_MAX - (uint64_t)op, (enum peer_op)op, (const uint8_t *)"abc", 3};
        struct peer_request out;
        buf_clear(&b);
        peer_request_frame(&in, &b);
        assert_int_equal(peer_kind_of(b.bytes + 4, b.size - 4, &kind), 0);
        assert_int_equal(kind, PEER_REQUEST);
        assert_int_equal(peer_request_decode(b.bytes + 4, b.size - 4, &out), 0);
        assert_int_equal(out.id, in.id);
        assert_int_equal(out.op, op);
        assert_int_equal(out.body_size, 3);
        assert_memory_equal(out.body, "abc", 3);
        assert_true(out.body > b.bytes && out.body + 3 <= b.bytes + b.size);
    }
    buf_release(&b);
}

static void test_reply_carries_every_status(void **state) {
    (void)state;
    struct buf b = scratch();
    for (int status = 0; err_known(status); status--) {
        bool body = status == 0 || status == ERR_NOT_LEADER || status == ERR_MOVED;
        struct peer_reply in = {9, status, (const uint8_t *)"xy", body ? 2 : 0};
        struct peer_reply out;
        buf_clear(&b);
        peer_reply_frame(&in, &b);
        assert_int_equal(peer_reply_decode(b.bytes + 4, b.size - 4, &out), 0);
        assert_int_equal(out.id, 9);
        assert_int_equal(out.status, status);
        assert_int_equal(out.body_size, in.body_size);
    }
    buf_release(&b);
}

static int decode_reply_of(int64_t status, size_t body_size) {
    struct buf b = scratch();
    struct peer_reply out;
    cbor_put_array(&b, 4);
    cbor_put_uint(&b, PEER_REPLY);
    cbor_put_uint(&b, 1);
    cbor_put_int(&b, status);
    cbor_put_bytes(&b, "body", body_size);
    int rc = peer_reply_decode(b.bytes, b.size, &out);
    buf_release(&b);
    return rc;
}

static void test_reply_refuses_what_is_no_status(void **state) {
    (void)state;
    assert_int_equal(decode_reply_of(0, 4), 0);
    assert_int_equal(decode_reply_of(1, 0), ERR_PROTOCOL);
    assert_int_equal(decode_reply_of(-1000, 0), ERR_PROTOCOL);
    assert_int_equal(decode_reply_of(-4294967296 + ERR_BUSY, 0), ERR_PROTOCOL);
    assert_int_equal(decode_reply_of(-4294967296, 0), ERR_PROTOCOL);
    assert_int_equal(decode_reply_of(INT64_MIN, 0), ERR_PROTOCOL);
    assert_int_equal(decode_reply_of(ERR_BUSY, 0), 0);
    assert_int_equal(decode_reply_of(ERR_BUSY, 4), ERR_PROTOCOL);
}

static void test_body_limit_is_exact(void **state) {
    (void)state;
    struct buf b = scratch();
    uint8_t *body = calloc(1, PEER_BODY_MAX + 1);
    assert_non_null(body);
    struct peer_request in = {UINT64_MAX, OP_QUERY, body, PEER_BODY_MAX};
    struct peer_request out;
    peer_request_frame(&in, &b);
    assert_int_equal(b.error, 0);
    assert_int_equal(peer_request_decode(b.bytes + 4, b.size - 4, &out), 0);
    assert_int_equal(out.body_size, PEER_BODY_MAX);
    buf_clear(&b);
    in.body_size++;
    peer_request_frame(&in, &b);
    assert_int_equal(b.error, ERR_TOO_LARGE);
    free(body);
    buf_release(&b);
}

static void test_chunk_put_frame_equals_its_two_steps(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 23, 24, 255, 256, 65535, 65536, 1024 * 1024 + 64};
    static const uint32_t groups[] = {0, 24, 1024, UINT32_MAX};
    uint8_t *bytes = malloc(sizes[8]);
    assert_non_null(bytes);
    sample_fill(bytes, sizes[8], 3);
    for (size_t i = 0; i < 9 * 4; i++) {
        struct buf body = scratch();
        struct buf two = scratch();
        struct buf one = scratch();
        struct chunk_put_request put = {.group = groups[i % 4], .bytes = bytes, .size = sizes[i / 4]};
        chunk_put_encode(&put, &body);
        assert_int_equal(body.size, chunk_put_size(&put));
        struct peer_request request = {300, OP_CHUNK_PUT, body.bytes, body.size};
        peer_request_frame(&request, &two);
        peer_chunk_put_frame(300, &put, &one);
        assert_int_equal(one.error, 0);
        assert_int_equal(one.size, two.size);
        assert_memory_equal(one.bytes, two.bytes, one.size);
        buf_release(&body);
        buf_release(&two);
        buf_release(&one);
    }
    free(bytes);
}

static void test_chunk_put_and_get(void **state) {
    (void)state;
    struct buf b = scratch();
    struct chunk_put_request in = {.group = UINT32_MAX, .bytes = (const uint8_t *)"stored", .size = 6};
    struct chunk_put_request out;
    struct chunk_get_request get = {.doubt = true}, got;
    sample_fill(in.version, sizeof(in.version), 1);
    sample_fill(in.digest.bytes, sizeof(in.digest.bytes), 50);
    chunk_put_encode(&in, &b);
    assert_int_equal(chunk_put_decode(b.bytes, b.size, &out), 0);
    assert_int_equal(out.group, UINT32_MAX);
    assert_memory_equal(out.version, in.version, sizeof(in.version));
    assert_memory_equal(out.digest.bytes, in.digest.bytes, sizeof(in.digest.bytes));
    assert_int_equal(out.size, 6);
    assert_memory_equal(out.bytes, "stored", 6);
    buf_clear(&b);
    get.digest = in.digest;
    chunk_get_encode(&get, &b);
    assert_int_equal(chunk_get_decode(b.bytes, b.size, &got), 0);
    assert_memory_equal(got.digest.bytes, in.digest.bytes, sizeof(got.digest.bytes));
    assert_true(got.doubt);
    buf_release(&b);
}

static void test_group_request(void **state) {
    (void)state;
    struct buf b = scratch();
    struct group_request in = {1024, true, (const uint8_t *)"command", 7};
    struct group_request out;
    group_request_encode(&in, &b);
    assert_int_equal(group_request_decode(b.bytes, b.size, &out), 0);
    assert_true(out.again);
    assert_int_equal(out.group, 1024);
    assert_int_equal(out.size, 7);
    assert_memory_equal(out.bytes, "command", 7);
    buf_release(&b);
}

static void test_propose_reply(void **state) {
    (void)state;
    struct buf b = scratch();
    struct propose_reply in[] = {{sample_config(40), (const uint8_t *)"result", 6},
                                 {sample_config_max(UINT64_MAX), NULL, 0}};
    for (size_t i = 0; i < 2; i++) {
        struct propose_reply out;
        buf_clear(&b);
        propose_reply_encode(&in[i], &b);
        assert_int_equal(propose_reply_decode(b.bytes, b.size, &out), 0);
        assert_config(&out.config, &in[i].config);
        assert_int_equal(out.result_size, in[i].result_size);
        assert_memory_equal(out.result, "result", out.result_size);
    }
    buf_release(&b);
}

static void test_a_configuration_without_replicas_is_refused(void **state) {
    (void)state;
    struct buf b = scratch();
    struct propose_reply out;
    cbor_put_array(&b, 3);
    cbor_put_uint(&b, 40);
    cbor_put_bytes(&b, "\x82\x06\x80", 3); /* next id 6, no rows */
    cbor_put_bytes(&b, "", 0);
    assert_int_equal(propose_reply_decode(b.bytes, b.size, &out), ERR_PROTOCOL);
    buf_release(&b);
}

static void test_replica_request(void **state) {
    (void)state;
    struct buf b = scratch();
    struct replica_request in = {1024, UINT64_MAX, 7};
    struct replica_request out;
    replica_request_encode(&in, &b);
    assert_int_equal(replica_request_decode(b.bytes, b.size, &out), 0);
    assert_int_equal(out.group, 1024);
    assert_int_equal(out.replica, UINT64_MAX);
    assert_int_equal(out.index, 7);
    assert_int_equal(replica_request_decode((const uint8_t[]){0x83, 1, 0, 7}, 4, &out), ERR_PROTOCOL);
    buf_release(&b);
}

static void test_snapshot_piece(void **state) {
    (void)state;
    struct buf b = scratch();
    struct snapshot_piece in = {.group = 5, .from = 1, .to = UINT64_MAX, .term = 8, .index = 900, .index_term = 8};
    struct snapshot_piece out;
    in.stamp_ms = 1700000000000;
    in.config = sample_config(900);
    in.number = UINT32_MAX;
    in.last = true;
    in.bytes = (const uint8_t *)"rows";
    in.size = 4;
    snapshot_piece_encode(&in, &b);
    assert_int_equal(snapshot_piece_decode(b.bytes, b.size, &out), 0);
    assert_int_equal(out.group, 5);
    assert_int_equal(out.from, 1);
    assert_int_equal(out.to, UINT64_MAX);
    assert_int_equal(out.term, 8);
    assert_int_equal(out.index, 900);
    assert_int_equal(out.index_term, 8);
    assert_int_equal(out.stamp_ms, 1700000000000);
    assert_config(&out.config, &in.config);
    assert_int_equal(out.number, UINT32_MAX);
    assert_true(out.last);
    assert_int_equal(out.size, 4);
    assert_memory_equal(out.bytes, "rows", 4);
    buf_release(&b);
}

static void test_group_route(void **state) {
    (void)state;
    struct buf b = scratch();
    struct group_route in[] = {sample_route(), sample_route_max(), {0}};
    for (size_t i = 0; i < 3; i++) {
        struct group_route out;
        buf_clear(&b);
        group_route_encode(&in[i], &b);
        assert_int_equal(group_route_decode(b.bytes, b.size, &out), 0);
        assert_route(&out, &in[i]);
    }
    buf_release(&b);
}

static void test_a_route_names_each_node_once(void **state) {
    (void)state;
    struct group_route out;
    static const uint8_t good[] = {0x85, 1, 2, 3, 4, 0x82, 5, 6};
    static const uint8_t twice[] = {0x85, 1, 2, 3, 4, 0x82, 5, 5};
    static const uint8_t zero[] = {0x85, 1, 2, 3, 4, 0x82, 5, 0};
    static const uint8_t many[] = {0x85, 1, 2, 3, 4, 0x91, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17};
    assert_int_equal(group_route_decode(good, sizeof(good), &out), 0);
    assert_int_equal(group_route_decode(twice, sizeof(twice), &out), ERR_PROTOCOL);
    assert_int_equal(group_route_decode(zero, sizeof(zero), &out), ERR_PROTOCOL);
    assert_int_equal(group_route_decode(many, sizeof(many), &out), ERR_PROTOCOL);
}

static void test_routes_fill_one_message(void **state) {
    (void)state;
    struct buf b = scratch();
    struct raft_batch batch;
    struct routes_reader rows;
    struct group_route out;
    peer_routes_begin(&batch, &b);
    struct group_route in = sample_route_max();
    for (uint32_t i = 0; i < PEER_ROUTES_MAX; i++) {
        in.group = i;
        assert_true(peer_routes_add(&batch, &in));
    }
    assert_false(peer_routes_add(&batch, &in));
    peer_routes_end(&batch);
    assert_int_equal(b.error, 0);
    assert_int_equal(peer_routes_open(b.bytes + 4, b.size - 4, &rows), 0);
    for (uint32_t i = 0; i < PEER_ROUTES_MAX; i++) {
        in.group = i;
        assert_int_equal(peer_routes_next(&rows, &out), 0);
        assert_route(&out, &in);
    }
    assert_int_equal(peer_routes_next(&rows, &out), ERR_NOT_FOUND);
    buf_release(&b);
}

static void test_led_lists_groups_in_order(void **state) {
    (void)state;
    struct buf b = scratch();
    struct led_batch batch;
    struct led_reader rows;
    uint32_t group = 0;
    uint64_t term = 0;
    peer_led_begin(&batch, &b, 7);
    assert_true(peer_led_add(&batch, 7, 3));
    assert_true(peer_led_add(&batch, UINT32_MAX - 1, UINT64_MAX));
    peer_led_end(&batch, UINT32_MAX);
    assert_int_equal(peer_led_open(b.bytes + 4, b.size - 4, &rows), 0);
    assert_int_equal(rows.first, 7);
    assert_int_equal(rows.last, UINT32_MAX);
    assert_int_equal(peer_led_next(&rows, &group, &term), 0);
    assert_int_equal(group, 7);
    assert_int_equal(term, 3);
    assert_int_equal(peer_led_next(&rows, &group, &term), 0);
    assert_int_equal(group, UINT32_MAX - 1);
    assert_true(term == UINT64_MAX);
    assert_int_equal(peer_led_next(&rows, &group, &term), ERR_NOT_FOUND);
    buf_release(&b);
}

static void test_led_is_full_at_its_limit_and_small(void **state) {
    (void)state;
    struct buf b = scratch();
    struct led_batch batch;
    struct led_reader rows;
    peer_led_begin(&batch, &b, 0);
    for (uint32_t i = 0; i < PEER_LED_MAX; i++) {
        assert_true(peer_led_add(&batch, 3 * i, 20));
    }
    assert_false(peer_led_add(&batch, 3 * PEER_LED_MAX, 20));
    peer_led_end(&batch, 3 * PEER_LED_MAX - 1);
    assert_true(b.size < 2 * PEER_LED_MAX + 32); /* two bytes a group: idle pairs of nodes exchange nothing else */
    assert_int_equal(peer_led_open(b.bytes + 4, b.size - 4, &rows), 0);
    assert_int_equal(rows.left, PEER_LED_MAX);
    buf_release(&b);
}

static void test_led_refuses_what_is_no_list(void **state) {
    (void)state;
    struct led_reader rows;
    static const uint8_t odd[] = {0x84, PEER_LED, 0, 0x81, 1, 9};
    static const uint8_t beyond_last[] = {0x84, PEER_LED, 0, 0x82, 9, 1, 8};
    static const uint8_t backwards[] = {0x84, PEER_LED, 9, 0x80, 8};
    static const uint8_t overflow[] = {0x84, PEER_LED, 1,    0x82, 0x1a, 0xff, 0xff, 0xff,
                                       0xff, 1,        0x1a, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t too_many[] = {0x84, PEER_LED, 0, 0x99, 0x20, 0x02};
    static const uint8_t trailing[] = {0x84, PEER_LED, 0, 0x80, 8, 0};
    assert_int_equal(peer_led_open(odd, sizeof(odd), &rows), ERR_PROTOCOL);
    assert_int_equal(peer_led_open(beyond_last, sizeof(beyond_last), &rows), ERR_PROTOCOL);
    assert_int_equal(peer_led_open(backwards, sizeof(backwards), &rows), ERR_PROTOCOL);
    assert_int_equal(peer_led_open(overflow, sizeof(overflow), &rows), ERR_PROTOCOL);
    assert_int_equal(peer_led_open(too_many, sizeof(too_many), &rows), ERR_PROTOCOL);
    assert_int_equal(peer_led_open(trailing, sizeof(trailing), &rows), ERR_PROTOCOL);
}

static void test_join(void **state) {
    (void)state;
    struct buf b = scratch();
    struct join_request in = {.row = sample_member_max()};
    struct join_request out;
    sample_fill(in.ticket, sizeof(in.ticket), 1);
    sample_fill(in.proof.bytes, sizeof(in.proof.bytes), 2);
    join_request_encode(&in, &b);
    assert_true(b.size <= FRAME_GUEST_MAX / 2);
    assert_int_equal(join_request_decode(b.bytes, b.size, &out), 0);
    assert_memory_equal(out.ticket, in.ticket, sizeof(in.ticket));
    assert_memory_equal(out.proof.bytes, in.proof.bytes, sizeof(in.proof.bytes));
    assert_memory_equal(out.row.id, in.row.id, sizeof(in.row.id));
    assert_int_equal(out.row.capacity, UINT64_MAX);
    assert_string_equal(out.row.addr, in.row.addr);
    assert_string_equal(out.row.zone, in.row.zone);
    assert_int_equal(out.row.node, 0);

    struct join_reply reply_in = {.node = UINT32_MAX,
                                  .bits = 20,
                                  .replicas = 7,
                                  .epoch = UINT64_MAX,
                                  .members = (const uint8_t *)"xyz",
                                  .members_size = 3};
    struct join_reply reply_out;
    buf_clear(&b);
    join_reply_encode(&reply_in, &b);
    assert_int_equal(join_reply_decode(b.bytes, b.size, &reply_out), 0);
    assert_int_equal(reply_out.node, UINT32_MAX);
    assert_int_equal(reply_out.bits, 20);
    assert_int_equal(reply_out.replicas, 7);
    assert_int_equal(reply_out.epoch, UINT64_MAX);
    assert_int_equal(reply_out.members_size, 3);
    assert_memory_equal(reply_out.members, "xyz", 3);
    buf_release(&b);
}

static void test_join_reply_refuses_absurd_settings(void **state) {
    (void)state;
    struct join_reply out;
    assert_int_equal(join_reply_decode((const uint8_t[]){0x85, 1, 10, 3, 1, 0x40}, 6, &out), 0);
    assert_int_equal(join_reply_decode((const uint8_t[]){0x85, 0, 10, 3, 1, 0x40}, 6, &out), ERR_PROTOCOL);
    assert_int_equal(join_reply_decode((const uint8_t[]){0x85, 1, 21, 3, 1, 0x40}, 6, &out), ERR_PROTOCOL);
    assert_int_equal(join_reply_decode((const uint8_t[]){0x85, 1, 10, 0, 1, 0x40}, 6, &out), ERR_PROTOCOL);
    assert_int_equal(join_reply_decode((const uint8_t[]){0x85, 1, 10, 8, 1, 0x40}, 6, &out), ERR_PROTOCOL);
}

static void test_member_row(void **state) {
    (void)state;
    struct buf b = scratch();
    struct member in[] = {sample_member(1), sample_member(0), sample_member_max()};
    for (size_t i = 0; i < 3; i++) {
        struct member out;
        buf_clear(&b);
        member_row_encode(&in[i], &b);
        assert_int_equal(member_row_decode(b.bytes, b.size, &out), 0);
        assert_member(&out, &in[i]);
    }
    buf_release(&b);
}

static void test_member_row_refuses_control_characters(void **state) {
    (void)state;
    struct buf b = scratch();
    struct member in = sample_member(1);
    struct member out;
    memcpy(in.addr, "10.0\n0.1:7400", 14);
    member_row_encode(&in, &b);
    assert_int_equal(member_row_decode(b.bytes, b.size, &out), ERR_PROTOCOL);
    buf_release(&b);
}

static struct members *table_of(uint32_t count) {
    struct members *table = NULL;
    assert_int_equal(members_new(&table), 0);
    for (uint32_t node = 1; node <= count; node++) {
        struct member row = sample_member_max();
        row.node = node;
        row.state = MEMBER_UP;
        row.changed = 2 * (uint64_t)node;
        put_u32(row.id, node);
        put_u32(row.dh, node);
        assert_int_equal(members_apply(table, &row, row.changed), 0);
    }
    return table;
}

static void test_members_delta_holds_what_changed(void **state) {
    (void)state;
    struct buf b = scratch();
    struct members *table = table_of(10);
    struct members_delta delta;
    struct codec_position rows;
    struct member row;
    members_delta_encode(table, 10, 3, 14, &b);
    assert_int_equal(members_delta_open(b.bytes, b.size, &delta, &rows), 0);
    assert_int_equal(delta.epoch, 20);
    assert_int_equal(delta.bits, 10);
    assert_int_equal(delta.replicas, 3);
    assert_int_equal(delta.count, 3);
    for (uint32_t node = 8; node <= 10; node++) {
        assert_int_equal(members_delta_next(&rows, &row), 0);
        assert_member(&row, members_find(table, node));
    }
    assert_int_equal(members_delta_next(&rows, &row), ERR_NOT_FOUND);
    members_free(table);
    buf_release(&b);
}

/* The asker repeats its request with the epoch it got to, as nodes do. */
static void test_a_table_too_large_for_one_message_comes_in_several(void **state) {
    (void)state;
    struct members *table = table_of(MEMBERS_MAX);
    uint64_t epoch = 0;
    uint32_t node = 0;
    unsigned messages = 0;
    while (epoch < members_epoch(table)) {
        struct buf b;
        struct members_delta delta;
        struct codec_position rows;
        struct member row;
        buf_init(&b, PEER_BODY_MAX);
        members_delta_encode(table, 10, 3, epoch, &b);
        assert_int_equal(b.error, 0);
        assert_int_equal(members_delta_open(b.bytes, b.size, &delta, &rows), 0);
        assert_true(delta.epoch > epoch);
        while (members_delta_next(&rows, &row) == 0) {
            assert_int_equal(row.node, ++node);
        }
        epoch = delta.epoch;
        messages++;
        buf_release(&b);
    }
    assert_int_equal(node, MEMBERS_MAX);
    assert_true(messages > 1 && messages < 10);
    members_free(table);
}

static void test_claims_of_counts_take_no_memory(void **state) {
    (void)state;
    struct members_delta delta;
    struct codec_position position;
    struct routes_reader routes;
    struct member member;
    struct group_route route;
    /* arrays of 2^60 items, and of the most that is allowed, with nothing in them */
    static const uint8_t delta_2_60[] = {0x84, 1, 10, 3, 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t delta_max[] = {0x84, 1, 10, 3, 0x99, 0x40, 0};
    static const uint8_t routes_2_60[] = {0x82, PEER_ROUTES, 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t routes_max[] = {0x82, PEER_ROUTES, 0x99, 0x04, 0};
    assert_int_equal(members_delta_open(delta_2_60, sizeof(delta_2_60), &delta, &position), ERR_PROTOCOL);
    assert_int_equal(members_delta_open(delta_max, sizeof(delta_max), &delta, &position), 0);
    assert_int_equal(members_delta_next(&position, &member), ERR_PROTOCOL);
    assert_int_equal(peer_routes_open(routes_2_60, sizeof(routes_2_60), &routes), ERR_PROTOCOL);
    assert_int_equal(peer_routes_open(routes_max, sizeof(routes_max), &routes), 0);
    assert_int_equal(peer_routes_next(&routes, &route), ERR_PROTOCOL);
    /* a body of 4 GiB, and one of 2^60 bytes */
    static const uint8_t body_4g[] = {0x84, PEER_REQUEST, 1, OP_QUERY, 0x5a, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t body_2_60[] = {0x84, PEER_REQUEST, 1, OP_QUERY, 0x5b, 0x10, 0, 0, 0, 0, 0, 0, 0};
    struct peer_request request;
    assert_int_equal(peer_request_decode(body_4g, sizeof(body_4g), &request), ERR_PROTOCOL);
    assert_int_equal(peer_request_decode(body_2_60, sizeof(body_2_60), &request), ERR_PROTOCOL);
}

static void test_failed_decodes_leave_the_output(void **state) {
    (void)state;
    struct peer_ping ping = {.epoch = 42};
    struct hello hello = {.lane = LANE_BULK};
    enum peer_kind kind = PEER_ROUTES;
    assert_int_equal(peer_ping_decode((const uint8_t[]){0x87, PEER_PING, 1}, 3, &ping), ERR_PROTOCOL);
    assert_int_equal(ping.epoch, 42);
    assert_int_equal(hello_decode((const uint8_t[]){0x83, 0, 0}, 3, &hello), ERR_PROTOCOL);
    assert_int_equal(hello.lane, LANE_BULK);
    assert_int_equal(peer_kind_of((const uint8_t[]){0x81, PEER_KINDS}, 2, &kind), ERR_PROTOCOL);
    assert_int_equal(peer_kind_of((const uint8_t[]){0}, 0, &kind), ERR_PROTOCOL);
    assert_int_equal(kind, PEER_ROUTES);
}

static void test_encoders_stop_at_a_full_buffer(void **state) {
    (void)state;
    struct group_route route = sample_route();
    struct propose_reply reply = {sample_config_max(4), (const uint8_t *)"r", 1};
    struct chunk_put_request put = {.bytes = (const uint8_t *)"stored", .size = 6};
    for (size_t limit = 0; limit < 40; limit++) {
        struct buf b;
        struct raft_batch batch;
        buf_init(&b, limit);
        peer_chunk_put_frame(1, &put, &b);
        assert_int_equal(b.error, ERR_TOO_LARGE);
        buf_clear(&b);
        propose_reply_encode(&reply, &b);
        assert_int_equal(b.error, ERR_TOO_LARGE);
        buf_clear(&b);
        peer_routes_begin(&batch, &b);
        for (int i = 0; i < 3; i++) {
            assert_true(peer_routes_add(&batch, &route));
        }
        peer_routes_end(&batch);
        assert_int_equal(b.error, ERR_TOO_LARGE);
        assert_true(b.capacity <= limit);
        buf_release(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_reply_carries_every_status),
        cmocka_unit_test(test_reply_refuses_what_is_no_status),
        cmocka_unit_test(test_body_limit_is_exact),
        cmocka_unit_test(test_chunk_put_frame_equals_its_two_steps),
        cmocka_unit_test(test_chunk_put_and_get),
        cmocka_unit_test(test_group_request),
        cmocka_unit_test(test_propose_reply),
        cmocka_unit_test(test_a_configuration_without_replicas_is_refused),
        cmocka_unit_test(test_replica_request),
        cmocka_unit_test(test_snapshot_piece),
        cmocka_unit_test(test_group_route),
        cmocka_unit_test(test_a_route_names_each_node_once),
        cmocka_unit_test(test_routes_fill_one_message),
        cmocka_unit_test(test_led_lists_groups_in_order),
        cmocka_unit_test(test_led_is_full_at_its_limit_and_small),
        cmocka_unit_test(test_led_refuses_what_is_no_list),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_join_reply_refuses_absurd_settings),
        cmocka_unit_test(test_member_row),
        cmocka_unit_test(test_member_row_refuses_control_characters),
        cmocka_unit_test(test_members_delta_holds_what_changed),
        cmocka_unit_test(test_a_table_too_large_for_one_message_comes_in_several),
        cmocka_unit_test(test_claims_of_counts_take_no_memory),
        cmocka_unit_test(test_failed_decodes_leave_the_output),
        cmocka_unit_test(test_encoders_stop_at_a_full_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
