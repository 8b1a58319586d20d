/* The families of messages as the unit tests and the fuzzers see them. Each `pass` decodes, walks everything that was
 * decoded, checks its bounds, and encodes it again: what decodes must encode to the very same bytes (the encoding is
 * canonical). It returns the decoder's error; anything wrong on our side aborts. */
#ifndef SHOAL_WIRE_FAMILIES_H
#define SHOAL_WIRE_FAMILIES_H

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "client.h"
#include "errors.h"
#include "peer.h"

#define FAMILY_BUF_MAX (2 * FRAME_MAX)
#define FRAME_PREFIX 4

struct wire_family {
    const char *name;
    int (*pass)(const uint8_t *bytes, size_t size);
};

/* Ends a pass: the re-encoding, after `skip` bytes of prefix, must be the input. */
static inline void family_same(struct buf *again, size_t skip, const uint8_t *bytes, size_t size) {
    CHECK(again->error == 0);
    CHECK(again->size == size + skip);
    CHECK(size == 0 || memcmp(again->bytes + skip, bytes, size) == 0);
    buf_release(again);
}

/* Reads every byte, so that a pointer out of the input is caught. */
static inline void family_touch(const void *bytes, size_t size) {
    const uint8_t *p = bytes;
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + p[i]);
    }
}

#define FAMILY_BODY(name, type)                                        \
    static inline int name##_pass(const uint8_t *bytes, size_t size) { \
        type message;                                                  \
        int rc = name##_decode(bytes, size, &message);                 \
        if (rc) {                                                      \
            CHECK(rc == ERR_PROTOCOL);                                 \
            return rc;                                                 \
        }                                                              \
        struct buf again;                                              \
        buf_init(&again, FAMILY_BUF_MAX);                              \
        name##_encode(&message, &again);                               \
        family_same(&again, 0, bytes, size);                           \
        return 0;                                                      \
    }

#define FAMILY_FRAME(name, type)                                       \
    static inline int name##_pass(const uint8_t *bytes, size_t size) { \
        type message;                                                  \
        int rc = name##_decode(bytes, size, &message);                 \
        if (rc) {                                                      \
            CHECK(rc == ERR_PROTOCOL);                                 \
            return rc;                                                 \
        }                                                              \
        enum peer_kind kind;                                           \
        CHECK(peer_kind_of(bytes, size, &kind) == 0);                  \
        struct buf again;                                              \
        buf_init(&again, FAMILY_BUF_MAX);                              \
        name##_frame(&message, &again);                                \
        family_same(&again, FRAME_PREFIX, bytes, size);                \
        return 0;                                                      \
    }

FAMILY_BODY(hello, struct hello)
FAMILY_FRAME(peer_ping, struct peer_ping)
FAMILY_FRAME(peer_request, struct peer_request)
FAMILY_FRAME(peer_reply, struct peer_reply)
FAMILY_BODY(group_request, struct group_request)
FAMILY_BODY(group_route, struct group_route)
FAMILY_BODY(propose_reply, struct propose_reply)
FAMILY_BODY(replica_request, struct replica_request)
FAMILY_BODY(snapshot_piece, struct snapshot_piece)
FAMILY_BODY(chunk_put, struct chunk_put_request)
FAMILY_BODY(chunk_get, struct chunk_get_request)
FAMILY_BODY(join_request, struct join_request)
FAMILY_BODY(join_reply, struct join_reply)
FAMILY_BODY(member_row, struct member)
FAMILY_BODY(census, struct census)

static inline int census_request_pass(const uint8_t *bytes, size_t size) {
    uint32_t node = 0;
    int rc = census_request_decode(bytes, size, &node);
    if (rc) {
        CHECK(rc == ERR_PROTOCOL);
        return rc;
    }
    struct buf again;
    buf_init(&again, FAMILY_BUF_MAX);
    census_request_encode(node, &again);
    family_same(&again, 0, bytes, size);
    return 0;
}

static inline int farewell_pass(const uint8_t *bytes, size_t size) {
    struct member row;
    uint64_t epoch = 0;
    int rc = peer_farewell_decode(bytes, size, &epoch, &row);
    if (rc) {
        CHECK(rc == ERR_PROTOCOL);
        return rc;
    }
    struct buf again;
    buf_init(&again, FAMILY_BUF_MAX);
    peer_farewell_frame(epoch, &row, &again);
    family_same(&again, FRAME_PREFIX, bytes, size);
    return 0;
}

static inline int members_request_pass(const uint8_t *bytes, size_t size) {
    uint64_t since = 0;
    int rc = members_request_decode(bytes, size, &since);
    if (rc) {
        CHECK(rc == ERR_PROTOCOL);
        return rc;
    }
    struct buf again;
    buf_init(&again, FAMILY_BUF_MAX);
    members_request_encode(since, &again);
    family_same(&again, 0, bytes, size);
    return 0;
}

static inline int routes_pass(const uint8_t *bytes, size_t size) {
    struct routes_reader rows;
    int rc = peer_routes_open(bytes, size, &rows);
    if (rc) {
        CHECK(rc == ERR_PROTOCOL);
        return rc;
    }
    struct buf again;
    struct raft_batch batch;
    struct group_route route;
    buf_init(&again, FAMILY_BUF_MAX);
    peer_routes_begin(&batch, &again);
    while ((rc = peer_routes_next(&rows, &route)) == 0) {
        CHECK(route.route.count <= ROUTE_NODES_MAX);
        CHECK(peer_routes_add(&batch, &route));
    }
    if (rc == ERR_NOT_FOUND) {
        peer_routes_end(&batch);
        family_same(&again, FRAME_PREFIX, bytes, size);
        return 0;
    }
    CHECK(rc == ERR_PROTOCOL);
    CHECK(peer_routes_next(&rows, &route) == rc);
    buf_release(&again);
    return rc;
}

static inline int led_pass(const uint8_t *bytes, size_t size) {
    struct led_reader rows;
    int rc = peer_led_open(bytes, size, &rows);
    if (rc) {
        CHECK(rc == ERR_PROTOCOL);
        return rc;
    }
    struct buf again;
    struct led_batch batch;
    uint32_t group = 0;
    uint64_t term = 0;
    buf_init(&again, FAMILY_BUF_MAX);
    peer_led_begin(&batch, &again, rows.first);
    while (peer_led_next(&rows, &group, &term) == 0) {
        CHECK(group <= rows.last);
        CHECK(peer_led_add(&batch, group, term));
    }
    peer_led_end(&batch, rows.last);
    family_same(&again, FRAME_PREFIX, bytes, size);
    return 0;
}

/* The table a delta comes from is not at hand: its rows are compared one by one. */
static inline int members_delta_pass(const uint8_t *bytes, size_t size) {
    struct members_delta delta;
    struct codec_position rows;
    int rc = members_delta_open(bytes, size, &delta, &rows);
    if (rc) {
        CHECK(rc == ERR_PROTOCOL);
        return rc;
    }
    CHECK(delta.count <= MEMBERS_MAX);
    struct member row;
    size_t from = rows.offset;
    while ((rc = members_delta_next(&rows, &row)) == 0) {
        struct buf again;
        CHECK(member_check(&row) == 0);
        buf_init(&again, FAMILY_BUF_MAX);
        member_row_encode(&row, &again);
        family_same(&again, 0, bytes + from, rows.offset - from);
        from = rows.offset;
    }
    CHECK(rc == ERR_NOT_FOUND || rc == ERR_PROTOCOL);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static inline void raft_message_bounds(const struct raft_message *m) {
    CHECK(m->kind < RAFT_MESSAGE_KINDS);
    CHECK(m->entry_count <= RAFT_APPEND_ENTRIES_MAX);
    for (uint32_t i = 0; i < m->entry_count; i++) {
        CHECK(m->entries[i]->index == m->index + 1 + i);
        CHECK(m->entries[i]->size <= RAFT_ENTRY_MAX);
        CHECK(m->entries[i]->term >= 1 && m->entries[i]->term <= m->term);
        family_touch(m->entries[i]->data, m->entries[i]->size);
    }
}

static inline int raft_batch_pass(const uint8_t *bytes, size_t size) {
    struct raft_batch_reader *reader = NULL;
    int rc = raft_batch_open(bytes, size, &reader);
    if (rc) {
        CHECK(rc == ERR_PROTOCOL);
        return rc;
    }
    struct buf again;
    struct raft_batch batch;
    struct raft_message *message = NULL;
    uint32_t group = 0;
    bool fits = true;
    buf_init(&again, FAMILY_BUF_MAX);
    peer_raft_begin(&batch, &again);
    while ((rc = raft_batch_next(reader, &group, &message)) == 0) {
        raft_message_bounds(message);
        fits = fits && peer_raft_add(&batch, group, message);
    }
    CHECK(raft_batch_next(reader, &group, &message) == rc);
    raft_batch_close(reader);
    peer_raft_end(&batch);
    if (rc == ERR_NOT_FOUND && fits) {
        family_same(&again, FRAME_PREFIX, bytes, size);
    }
    buf_release(&again);
    CHECK(rc == ERR_NOT_FOUND || rc == ERR_PROTOCOL);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* A configuration's bytes, and as index what its entry would have. */
static inline int raft_config_pass(const uint8_t *bytes, size_t size) {
    struct raft_config config;
    if (raft_config_decode(bytes, size, 7, &config)) {
        return ERR_PROTOCOL;
    }
    CHECK(config.index == 7);
    CHECK(config.count == 0 || raft_config_check(&config) == 0);
    struct buf again;
    buf_init(&again, FAMILY_BUF_MAX);
    raft_config_encode(&config, &again);
    family_same(&again, 0, bytes, size);
    return 0;
}

static inline int client_list_pass(const struct client_message *m, struct client_rows *rows, const uint8_t *bytes,
                                   size_t size) {
    struct client_entry *entries = calloc(CLIENT_LIST_MAX, sizeof(*entries));
    uint32_t count = 0;
    int rc = 0;
    CHECK(entries);
    CHECK(m->u.list.count <= CLIENT_LIST_MAX);
    while (count < m->u.list.count && (rc = client_list_next(rows, &entries[count])) == 0) {
        family_touch(entries[count].name.bytes, entries[count].name.size);
        count++;
    }
    rc = rc ? rc : client_list_next(rows, &entries[0]);
    if (rc == ERR_NOT_FOUND) {
        struct buf again;
        buf_init(&again, FAMILY_BUF_MAX);
        client_encode_list(m->u.list.more, entries, count, &again);
        family_same(&again, FRAME_PREFIX, bytes, size);
        rc = 0;
    }
    free(entries);
    return rc;
}

static inline int client_status_pass(const struct client_message *m, struct client_rows *rows, const uint8_t *bytes,
                                     size_t size) {
    /* Every row takes more than one byte: a larger claim fails before the array is full. */
    size_t capacity = m->u.status_reply.count < size ? m->u.status_reply.count : size;
    struct client_member *members = calloc(capacity + 1, sizeof(*members));
    uint32_t count = 0;
    int rc = 0;
    CHECK(members);
    CHECK(m->u.status_reply.count <= MEMBERS_MAX);
    while (count < capacity && (rc = client_member_next(rows, &members[count])) == 0) {
        CHECK(members[count].state <= MEMBER_GONE);
        CHECK(memchr(members[count].addr, 0, MEMBER_ADDR_SIZE) && memchr(members[count].zone, 0, MEMBER_ZONE_SIZE));
        count++;
    }
    rc = rc ? rc : client_member_next(rows, &members[capacity]);
    if (rc == ERR_NOT_FOUND) {
        struct buf again;
        buf_init(&again, FAMILY_BUF_MAX);
        client_encode_status(m, members, &again);
        family_same(&again, FRAME_PREFIX, bytes, size);
        rc = 0;
    }
    free(members);
    return rc;
}

static inline int client_pass(const uint8_t *bytes, size_t size) {
    struct client_message m;
    struct client_rows rows = {0};
    int rc = client_decode(bytes, size, &m, &rows);
    if (rc == 0 && m.kind == CLIENT_LIST) {
        rc = client_list_pass(&m, &rows, bytes, size);
    } else if (rc == 0 && m.kind == CLIENT_STATUS_REPLY) {
        rc = client_status_pass(&m, &rows, bytes, size);
    } else if (rc == 0) {
        struct buf again;
        buf_init(&again, FAMILY_BUF_MAX);
        client_encode(&m, &again);
        family_same(&again, FRAME_PREFIX, bytes, size);
    }
    CHECK(rc == 0 || rc == ERR_PROTOCOL);
    return rc;
}

/* The order is that of the selector bytes in the seed corpora: new families go to the end. */
static const struct wire_family peer_families[] = {
    {"hello", hello_pass},
    {"ping", peer_ping_pass},
    {"request", peer_request_pass},
    {"reply", peer_reply_pass},
    {"group-request", group_request_pass},
    {"group-route", group_route_pass},
    {"propose-reply", propose_reply_pass},
    {"replica-request", replica_request_pass},
    {"snapshot-piece", snapshot_piece_pass},
    {"chunk-put", chunk_put_pass},
    {"chunk-get", chunk_get_pass},
    {"join-request", join_request_pass},
    {"join-reply", join_reply_pass},
    {"member-row", member_row_pass},
    {"members-request", members_request_pass},
    {"members-delta", members_delta_pass},
    {"routes", routes_pass},
    {"farewell", farewell_pass},
    {"census-request", census_request_pass},
    {"census", census_pass},
    {"led", led_pass},
};
static const struct wire_family raft_families[] = {{"batch", raft_batch_pass}, {"config", raft_config_pass}};
static const struct wire_family client_families[] = {{"client", client_pass}};

#define FAMILY_COUNT(table) (sizeof(table) / sizeof((table)[0]))

#endif
