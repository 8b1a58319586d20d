/* One encoded message of every kind, and the extremes of each. They seed the fuzzers (tests/fuzz/corpus) and pin the
 * wire format: test_wire_golden compares them with the files checked in. */
#ifndef SHOAL_WIRE_SAMPLES_H
#define SHOAL_WIRE_SAMPLES_H

#include <string.h>

#include "wire_families.h"

/* `family` is the index in the families of `corpus` ("peer", "raft", "client"); the bytes are without frame prefix. */
typedef void sample_sink(void *ctx, const char *corpus, uint8_t family, const char *name, const uint8_t *bytes,
                         size_t size);

struct samples {
    sample_sink *sink;
    void *ctx;
    struct buf buf;
};

static inline void sample_done(struct samples *s, const char *corpus, const char *family, const char *name,
                               size_t skip) {
    const struct wire_family *table = peer_families;
    size_t count = FAMILY_COUNT(peer_families);
    if (strcmp(corpus, "raft") == 0) {
        table = raft_families;
        count = FAMILY_COUNT(raft_families);
    } else if (strcmp(corpus, "client") == 0) {
        table = client_families;
        count = FAMILY_COUNT(client_families);
    }
    size_t i = 0;
    while (i < count && strcmp(table[i].name, family) != 0) {
        i++;
    }
    CHECK(i < count);
    CHECK(s->buf.error == 0);
    CHECK(s->buf.size > skip);
    s->sink(s->ctx, corpus, (uint8_t)i, name, s->buf.bytes + skip, s->buf.size - skip);
    buf_clear(&s->buf);
}

static inline void sample_fill(void *out, size_t size, uint8_t first) {
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)out)[i] = (uint8_t)(first + i);
    }
}

/* A joint configuration in the midst of replacing one voter. */
static inline struct raft_config sample_config(uint64_t index) {
    return (struct raft_config){.index = index,
                                .next_id = 6,
                                .count = 4,
                                .replicas = {{1, 11, RAFT_VOTER | RAFT_VOTER_OLD},
                                             {2, 12, RAFT_VOTER | RAFT_VOTER_OLD},
                                             {4, 14, RAFT_VOTER_OLD},
                                             {5, 15, RAFT_VOTER}}};
}

static inline struct raft_config sample_config_max(uint64_t index) {
    struct raft_config c = {.index = index, .next_id = UINT64_MAX, .count = RAFT_REPLICAS_MAX};
    for (uint32_t i = 0; i < c.count; i++) {
        c.replicas[i] = (struct raft_replica){UINT64_MAX - c.count + i, UINT32_MAX - c.count + i, RAFT_VOTER};
    }
    return c;
}

static inline struct group_route sample_route(void) {
    return (struct group_route){
        .group = 1023, .route = {.config = 70000, .term = 9, .leader = 3, .count = 3, .nodes = {3, 300, 70000}}};
}

static inline struct group_route sample_route_max(void) {
    struct group_route r = {
        .group = UINT32_MAX,
        .route = {.config = UINT64_MAX, .term = UINT64_MAX, .leader = UINT32_MAX, .count = ROUTE_NODES_MAX}};
    for (uint32_t i = 0; i < ROUTE_NODES_MAX; i++) {
        r.route.nodes[i] = UINT32_MAX - i;
    }
    return r;
}

static inline struct member sample_member(uint32_t node) {
    struct member m = {.node = node,
                       .state = MEMBER_UP,
                       .capacity = 1ULL << 40,
                       .changed = 5,
                       .addr = "10.0.0.1:7400",
                       .zone = "rack-1"};
    sample_fill(m.id, sizeof(m.id), (uint8_t)node);
    sample_fill(m.dh, sizeof(m.dh), (uint8_t)(0x80 + node));
    return m;
}

/* Longest texts, largest numbers. */
static inline struct member sample_member_max(void) {
    struct member m = {.node = UINT32_MAX, .state = MEMBER_GONE, .capacity = UINT64_MAX, .changed = UINT64_MAX};
    memset(m.id, 0xff, sizeof(m.id));
    memset(m.dh, 0xfe, sizeof(m.dh));
    memset(m.addr, 'h', MEMBER_ADDR_SIZE - 1);
    memcpy(m.addr + MEMBER_ADDR_SIZE - 7, ":65535", 6);
    memset(m.zone, 'z', MEMBER_ZONE_SIZE - 1);
    return m;
}

static inline void sample_frames(struct samples *s) {
    struct hello hello = {.role = HELLO_GUEST, .lane = LANE_BULK};
    sample_fill(hello.id, sizeof(hello.id), 1);
    hello_encode(&hello, &s->buf);
    sample_done(s, "peer", "hello", "guest", 0);

    struct peer_ping ping = {3, 0x123456789abcdef0, 1 << 20, 341, 340, 1};
    peer_ping_frame(&ping, &s->buf);
    sample_done(s, "peer", "ping", "usual", FRAME_PREFIX);
    ping = (struct peer_ping){UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    peer_ping_frame(&ping, &s->buf);
    sample_done(s, "peer", "ping", "max", FRAME_PREFIX);

    struct peer_request request = {UINT64_MAX, OP_CHUNK_GET, (const uint8_t *)"body", 4};
    peer_request_frame(&request, &s->buf);
    sample_done(s, "peer", "request", "usual", FRAME_PREFIX);
    request = (struct peer_request){0, OP_JOIN, NULL, 0};
    peer_request_frame(&request, &s->buf);
    sample_done(s, "peer", "request", "empty", FRAME_PREFIX);

    struct peer_reply reply = {24, 0, (const uint8_t *)"answer", 6};
    peer_reply_frame(&reply, &s->buf);
    sample_done(s, "peer", "reply", "usual", FRAME_PREFIX);
    reply = (struct peer_reply){256, ERR_MOVED, (const uint8_t *)"route", 5};
    peer_reply_frame(&reply, &s->buf);
    sample_done(s, "peer", "reply", "moved", FRAME_PREFIX);
    reply = (struct peer_reply){65536, ERR_STALE, NULL, 0};
    peer_reply_frame(&reply, &s->buf);
    sample_done(s, "peer", "reply", "error", FRAME_PREFIX);
}

static inline void sample_group_bodies(struct samples *s) {
    struct group_request request = {1024, true, (const uint8_t *)"command", 7};
    group_request_encode(&request, &s->buf);
    sample_done(s, "peer", "group-request", "usual", 0);

    struct group_route route = sample_route();
    group_route_encode(&route, &s->buf);
    sample_done(s, "peer", "group-route", "usual", 0);
    route = sample_route_max();
    group_route_encode(&route, &s->buf);
    sample_done(s, "peer", "group-route", "max", 0);
    route = (struct group_route){0};
    group_route_encode(&route, &s->buf);
    sample_done(s, "peer", "group-route", "unknown", 0);

    struct propose_reply reply = {sample_config(40), (const uint8_t *)"result", 6};
    propose_reply_encode(&reply, &s->buf);
    sample_done(s, "peer", "propose-reply", "joint", 0);
    reply = (struct propose_reply){sample_config_max(UINT64_MAX), NULL, 0};
    propose_reply_encode(&reply, &s->buf);
    sample_done(s, "peer", "propose-reply", "max", 0);

    struct replica_request replica = {1024, 7, 900};
    replica_request_encode(&replica, &s->buf);
    sample_done(s, "peer", "replica-request", "usual", 0);

    struct snapshot_piece piece = {.group = 5, .from = 1, .to = 5, .term = 8, .index = 900, .index_term = 7};
    piece.stamp_ms = 1700000000000;
    piece.config = sample_config(800);
    piece.number = 2;
    piece.last = true;
    piece.bytes = (const uint8_t *)"rows";
    piece.size = 4;
    snapshot_piece_encode(&piece, &s->buf);
    sample_done(s, "peer", "snapshot-piece", "last", 0);

    struct chunk_put_request put = {.group = 77, .bytes = (const uint8_t *)"stored bytes", .size = 12};
    sample_fill(put.version, sizeof(put.version), 0x40);
    sample_fill(put.digest.bytes, sizeof(put.digest.bytes), 0x60);
    chunk_put_encode(&put, &s->buf);
    sample_done(s, "peer", "chunk-put", "usual", 0);
    chunk_get_encode(&(struct chunk_get_request){.digest = put.digest, .doubt = true}, &s->buf);
    sample_done(s, "peer", "chunk-get", "usual", 0);
}

static inline void sample_members(struct samples *s) {
    struct join_request join = {.row = sample_member(0)};
    sample_fill(join.ticket, sizeof(join.ticket), 1);
    sample_fill(join.proof.bytes, sizeof(join.proof.bytes), 2);
    join_request_encode(&join, &s->buf);
    sample_done(s, "peer", "join-request", "usual", 0);
    struct member row = sample_member(2);
    member_row_encode(&row, &s->buf);
    sample_done(s, "peer", "member-row", "usual", 0);
    row = sample_member_max();
    member_row_encode(&row, &s->buf);
    sample_done(s, "peer", "member-row", "max", 0);
    members_request_encode(UINT64_MAX, &s->buf);
    sample_done(s, "peer", "members-request", "max", 0);
    row = sample_member(2);
    row.state = MEMBER_GONE;
    peer_farewell_frame(6, &row, &s->buf);
    sample_done(s, "peer", "farewell", "usual", FRAME_PREFIX);
    row = sample_member_max();
    peer_farewell_frame(UINT64_MAX, &row, &s->buf);
    sample_done(s, "peer", "farewell", "max", FRAME_PREFIX);

    struct members *table = NULL;
    CHECK(members_new(&table) == 0);
    for (uint32_t node = 1; node <= 3; node++) {
        row = sample_member(node);
        CHECK(members_apply(table, &row, 5) == 0);
    }
    members_delta_encode(table, 10, 3, 0, &s->buf);
    sample_done(s, "peer", "members-delta", "three", 0);
    struct buf delta;
    buf_init(&delta, PEER_BODY_MAX);
    members_delta_encode(table, 10, 3, 0, &delta);
    struct join_reply reply = {4, 10, 3, 5, delta.bytes, delta.size};
    join_reply_encode(&reply, &s->buf);
    sample_done(s, "peer", "join-reply", "usual", 0);
    buf_release(&delta);
    members_delta_encode(table, 20, 7, 5, &s->buf);
    sample_done(s, "peer", "members-delta", "nothing-newer", 0);
    members_free(table);

    struct raft_batch batch;
    struct group_route routes[] = {sample_route(), sample_route_max()};
    peer_routes_begin(&batch, &s->buf);
    CHECK(peer_routes_add(&batch, &routes[0]));
    CHECK(peer_routes_add(&batch, &routes[1]));
    peer_routes_end(&batch);
    sample_done(s, "peer", "routes", "two", FRAME_PREFIX);
    peer_routes_begin(&batch, &s->buf);
    for (int i = 0; i < 30; i++) {
        routes[0].group++;
        CHECK(peer_routes_add(&batch, &routes[0]));
    }
    peer_routes_end(&batch);
    sample_done(s, "peer", "routes", "thirty", FRAME_PREFIX);

    struct led_batch led;
    peer_led_begin(&led, &s->buf, 0);
    peer_led_end(&led, 1024);
    sample_done(s, "peer", "led", "nothing", FRAME_PREFIX);
    peer_led_begin(&led, &s->buf, 5);
    CHECK(peer_led_add(&led, 5, 1));
    CHECK(peer_led_add(&led, 300, UINT64_MAX));
    CHECK(peer_led_add(&led, 301, 24));
    peer_led_end(&led, 1024);
    sample_done(s, "peer", "led", "three", FRAME_PREFIX);
}

static inline void sample_census(struct samples *s) {
    struct census census = {.epoch = 7, .heard = true, .named = 300, .stuck = 2, .stranded = 3, .listed = 2};
    census.groups[0] = 1;
    census.groups[1] = 1024;
    census.led = (const uint8_t *)"\x01\x80";
    census.led_size = 2;
    census_encode(&census, &s->buf);
    sample_done(s, "peer", "census", "usual", 0);
    census_encode(&(struct census){0}, &s->buf);
    sample_done(s, "peer", "census", "nothing", 0);
    census_request_encode(UINT32_MAX, &s->buf);
    sample_done(s, "peer", "census-request", "max", 0);
}

/* One message of every kind, and an append of a no-op, a command and a configuration. */
static inline void sample_raft(struct samples *s) {
    struct raft_batch batch;
    peer_raft_begin(&batch, &s->buf);
    for (int kind = 0; kind < RAFT_MESSAGE_KINDS; kind++) {
        struct raft_message m = {.kind = (enum raft_message_kind)kind, .from = 1, .to = 2, .term = 7, .index = 1000};
        m.log_term = 6;
        m.commit = 990;
        m.context = 55;
        m.reject = kind % 2 == 1;
        CHECK(peer_raft_add(&batch, (uint32_t)kind * 100, &m));
    }
    peer_raft_end(&batch);
    sample_done(s, "raft", "batch", "every-kind", FRAME_PREFIX);

    struct buf config_bytes;
    struct raft_config config = sample_config(0);
    buf_init(&config_bytes, 1024);
    raft_config_encode(&config, &config_bytes);
    struct raft_entry *entries[] = {raft_entry_new(31, 6, RAFT_ENTRY_NOOP, NULL, 0),
                                    raft_entry_new(32, 6, RAFT_ENTRY_COMMAND, "command", 7),
                                    raft_entry_new(33, 7, RAFT_ENTRY_CONFIG, config_bytes.bytes, config_bytes.size)};
    struct raft_message append = {.kind = RAFT_APPEND, .from = 1, .to = 2, .term = 7, .index = 30, .log_term = 5};
    append.entries = entries;
    append.entry_count = 3;
    peer_raft_begin(&batch, &s->buf);
    CHECK(peer_raft_add(&batch, 12, &append));
    peer_raft_end(&batch);
    sample_done(s, "raft", "batch", "append", FRAME_PREFIX);
    for (size_t i = 0; i < 3; i++) {
        raft_entry_unref(entries[i]);
    }

    struct raft_message max = {.kind = RAFT_APPEND_REPLY, .reject = true, .from = UINT64_MAX, .to = UINT64_MAX};
    max.term = max.index = max.log_term = max.commit = max.context = UINT64_MAX;
    peer_raft_begin(&batch, &s->buf);
    for (int i = 0; i < 30; i++) {
        CHECK(peer_raft_add(&batch, UINT32_MAX, &max));
    }
    peer_raft_end(&batch);
    sample_done(s, "raft", "batch", "max", FRAME_PREFIX);

    raft_config_encode(&config, &s->buf);
    sample_done(s, "raft", "config", "joint", 0);
    config = sample_config_max(0);
    raft_config_encode(&config, &s->buf);
    sample_done(s, "raft", "config", "max", 0);
    buf_release(&config_bytes);
}

static inline void sample_client_message(struct samples *s, const char *name, const struct client_message *m) {
    client_encode(m, &s->buf);
    sample_done(s, "client", "client", name, FRAME_PREFIX);
}

static inline struct client_text sample_text(const char *text) {
    return (struct client_text){text, strlen(text)};
}

static inline void sample_client_requests(struct samples *s) {
    struct client_message m = {.kind = CLIENT_PUT};
    m.u.put.name = sample_text("photos/caf\xc3\xa9.jpg");
    m.u.put.condition = CLIENT_MATCH;
    sample_fill(m.u.put.match, sizeof(m.u.put.match), 9);
    m.u.put.size = CLIENT_SIZE_UNKNOWN;
    sample_client_message(s, "put", &m);
    m.kind = CLIENT_RM;
    sample_client_message(s, "rm", &m);
    m = (struct client_message){.kind = CLIENT_DATA, .u.data = {(const uint8_t *)"bytes", 5}};
    sample_client_message(s, "data", &m);
    m = (struct client_message){.kind = CLIENT_END};
    sample_client_message(s, "end", &m);
    m = (struct client_message){.kind = CLIENT_GET, .u.get = {sample_text("a"), 4096, CLIENT_SIZE_UNKNOWN}};
    sample_client_message(s, "get", &m);
    m = (struct client_message){.kind = CLIENT_LS, .u.ls = {sample_text("photos/"), sample_text(""), CLIENT_LIST_MAX}};
    sample_client_message(s, "ls", &m);
    m = (struct client_message){.kind = CLIENT_STAT, .u.stat = {sample_text("a")}};
    sample_client_message(s, "stat", &m);
    m = (struct client_message){.kind = CLIENT_STATUS};
    sample_client_message(s, "status", &m);
    m = (struct client_message){.kind = CLIENT_INVITE, .u.invite = {3600000, 1}};
    sample_client_message(s, "invite", &m);
    m = (struct client_message){.kind = CLIENT_MEMBER, .u.member = {CLIENT_DISMISS, 70000, true}};
    sample_client_message(s, "member", &m);
}

static inline void sample_client_answers(struct samples *s) {
    struct client_message m = {.kind = CLIENT_HEAD, .u.head = {1ULL << 40, 1700000000000, {1}}};
    sample_client_message(s, "head", &m);
    m = (struct client_message){.kind = CLIENT_TEXT, .u.text = sample_text("shoal1abc")};
    sample_client_message(s, "text", &m);
    m = (struct client_message){.kind = CLIENT_RESULT, .u.result = {ERR_PRECONDITION, sample_text("no"), {2}, 3, 4}};
    sample_client_message(s, "result", &m);
    m = (struct client_message){.kind = CLIENT_STAT_REPLY};
    m.u.stat_reply.name = sample_text("a");
    m.u.stat_reply.size = 3 << 20;
    m.u.stat_reply.chunks = 3;
    m.u.stat_reply.arc = 1023;
    m.u.stat_reply.leader = 2;
    m.u.stat_reply.replica_count = 3;
    m.u.stat_reply.replicas[0] = 2;
    m.u.stat_reply.replicas[1] = 1;
    m.u.stat_reply.replicas[2] = 3;
    m.u.stat_reply.chunk_replicas_min = 3;
    sample_client_message(s, "stat-reply", &m);

    struct client_entry entries[2] = {{sample_text("a"), 1, 2, {3}}, {sample_text("b"), UINT64_MAX, 0, {4}}};
    client_encode_list(true, entries, 2, &s->buf);
    sample_done(s, "client", "client", "list", FRAME_PREFIX);
    client_encode_list(false, NULL, 0, &s->buf);
    sample_done(s, "client", "client", "list-empty", FRAME_PREFIX);

    struct client_member members[2] = {
        {1, {1}, "127.0.0.1:7400", "", MEMBER_UP, true, 1 << 30, 4096, 512, 1025},
        {UINT32_MAX, {2}, "[::1]:7400", "z", MEMBER_OUT, false, UINT64_MAX, UINT64_MAX, UINT32_MAX, UINT32_MAX}};
    m = (struct client_message){.kind = CLIENT_STATUS_REPLY};
    m.u.status_reply.self = 1;
    m.u.status_reply.epoch = 2;
    m.u.status_reply.replicas = 3;
    m.u.status_reply.arcs_total = 1024;
    m.u.status_reply.arcs_healthy = 1024;
    m.u.status_reply.count = 2;
    client_encode_status(&m, members, &s->buf);
    sample_done(s, "client", "client", "status-reply", FRAME_PREFIX);
}

static inline void samples_each(sample_sink *sink, void *ctx) {
    struct samples s = {.sink = sink, .ctx = ctx};
    buf_init(&s.buf, FAMILY_BUF_MAX);
    sample_frames(&s);
    sample_group_bodies(&s);
    sample_members(&s);
    sample_census(&s);
    sample_raft(&s);
    sample_client_requests(&s);
    sample_client_answers(&s);
    buf_release(&s.buf);
}

#endif
