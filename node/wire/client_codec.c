#include "check.h"
#include "client.h"
#include "client_rows.h"
#include "errors.h"
#include "fields.h"
#include "ticket.h"

#define FIELDS_MAX 16

/* ---- each kind: its fields after the kind, in order ---- */

static void put_put(const struct client_message *m, struct buf *out) {
    CHECK(m->u.put.condition <= CLIENT_MATCH);
    client_put_text(out, m->u.put.name);
    cbor_put_uint(out, m->u.put.condition);
    cbor_put_bytes(out, m->u.put.match, sizeof(m->u.put.match));
    cbor_put_uint(out, m->u.put.size);
}
static void get_put(struct cbor_reader *r, struct client_message *m) {
    m->u.put.name = client_get_text(r, CLIENT_NAME_MAX);
    m->u.put.condition = (uint8_t)cbor_get_uint(r, CLIENT_MATCH);
    cbor_get_fixed(r, m->u.put.match, sizeof(m->u.put.match));
    m->u.put.size = cbor_get_uint(r, UINT64_MAX);
}

/* Removing what must be absent means nothing. */
static void put_rm(const struct client_message *m, struct buf *out) {
    CHECK(m->u.put.condition == CLIENT_ANY || m->u.put.condition == CLIENT_MATCH);
    client_put_text(out, m->u.put.name);
    cbor_put_uint(out, m->u.put.condition);
    cbor_put_bytes(out, m->u.put.match, sizeof(m->u.put.match));
}
static void get_rm(struct cbor_reader *r, struct client_message *m) {
    m->u.put.name = client_get_text(r, CLIENT_NAME_MAX);
    m->u.put.condition = (uint8_t)cbor_get_uint(r, CLIENT_MATCH);
    field_require(r, m->u.put.condition != CLIENT_ABSENT);
    cbor_get_fixed(r, m->u.put.match, sizeof(m->u.put.match));
}

static void put_data(const struct client_message *m, struct buf *out) {
    CHECK(m->u.data.size <= CLIENT_DATA_MAX);
    CHECK(m->u.data.bytes || m->u.data.size == 0);
    cbor_put_bytes(out, m->u.data.bytes, m->u.data.size);
}
static void get_data(struct cbor_reader *r, struct client_message *m) {
    m->u.data.bytes = cbor_get_bytes(r, CLIENT_DATA_MAX, &m->u.data.size);
}

static void put_nothing(const struct client_message *m, struct buf *out) {
    (void)m;
    (void)out;
}
static void get_nothing(struct cbor_reader *r, struct client_message *m) {
    (void)r;
    (void)m;
}

static void put_get(const struct client_message *m, struct buf *out) {
    client_put_text(out, m->u.get.name);
    cbor_put_uint(out, m->u.get.offset);
    cbor_put_uint(out, m->u.get.length);
}
static void get_get(struct cbor_reader *r, struct client_message *m) {
    m->u.get.name = client_get_text(r, CLIENT_NAME_MAX);
    m->u.get.offset = cbor_get_uint(r, UINT64_MAX);
    m->u.get.length = cbor_get_uint(r, UINT64_MAX);
}

static void put_head(const struct client_message *m, struct buf *out) {
    cbor_put_uint(out, m->u.head.size);
    cbor_put_uint(out, m->u.head.modified_ms);
    cbor_put_bytes(out, m->u.head.version, sizeof(m->u.head.version));
}
static void get_head(struct cbor_reader *r, struct client_message *m) {
    m->u.head.size = cbor_get_uint(r, UINT64_MAX);
    m->u.head.modified_ms = cbor_get_uint(r, UINT64_MAX);
    cbor_get_fixed(r, m->u.head.version, sizeof(m->u.head.version));
}

static void put_ls(const struct client_message *m, struct buf *out) {
    CHECK(m->u.ls.limit > 0);
    CHECK(m->u.ls.limit <= CLIENT_LIST_MAX);
    client_put_text(out, m->u.ls.prefix);
    client_put_text(out, m->u.ls.after);
    cbor_put_uint(out, m->u.ls.limit);
}
static void get_ls(struct cbor_reader *r, struct client_message *m) {
    m->u.ls.prefix = client_get_text(r, CLIENT_NAME_MAX);
    m->u.ls.after = client_get_text(r, CLIENT_NAME_MAX);
    m->u.ls.limit = (uint32_t)cbor_get_uint(r, CLIENT_LIST_MAX);
    field_require(r, m->u.ls.limit > 0);
}

/* Of LIST and STATUS_REPLY, everything up to and with the count of the rows. */
static void get_list(struct cbor_reader *r, struct client_message *m) {
    m->u.list.more = cbor_get_bool(r);
    m->u.list.count = (uint32_t)cbor_get_array(r, CLIENT_LIST_MAX);
}

static void put_status_reply(const struct client_message *m, struct buf *out) {
    cbor_put_bytes(out, m->u.status_reply.swarm, sizeof(m->u.status_reply.swarm));
    cbor_put_uint(out, m->u.status_reply.self);
    cbor_put_uint(out, m->u.status_reply.epoch);
    cbor_put_uint(out, m->u.status_reply.replicas);
    cbor_put_uint(out, m->u.status_reply.arcs_total);
    cbor_put_uint(out, m->u.status_reply.arcs_healthy);
    cbor_put_uint(out, m->u.status_reply.arcs_under);
    cbor_put_uint(out, m->u.status_reply.arcs_leaderless);
}
static void get_status_reply(struct cbor_reader *r, struct client_message *m) {
    cbor_get_fixed(r, m->u.status_reply.swarm, sizeof(m->u.status_reply.swarm));
    m->u.status_reply.self = field_get_u32(r);
    m->u.status_reply.epoch = cbor_get_uint(r, UINT64_MAX);
    m->u.status_reply.replicas = field_get_u32(r);
    m->u.status_reply.arcs_total = field_get_u32(r);
    m->u.status_reply.arcs_healthy = field_get_u32(r);
    m->u.status_reply.arcs_under = field_get_u32(r);
    m->u.status_reply.arcs_leaderless = field_get_u32(r);
    m->u.status_reply.count = (uint32_t)cbor_get_array(r, MEMBERS_MAX);
}

static void put_stat(const struct client_message *m, struct buf *out) {
    client_put_text(out, m->u.stat.name);
}
static void get_stat(struct cbor_reader *r, struct client_message *m) {
    m->u.stat.name = client_get_text(r, CLIENT_NAME_MAX);
}

static void put_stat_reply(const struct client_message *m, struct buf *out) {
    client_put_text(out, m->u.stat_reply.name);
    cbor_put_uint(out, m->u.stat_reply.size);
    cbor_put_uint(out, m->u.stat_reply.modified_ms);
    cbor_put_bytes(out, m->u.stat_reply.version, sizeof(m->u.stat_reply.version));
    cbor_put_uint(out, m->u.stat_reply.chunks);
    cbor_put_bool(out, m->u.stat_reply.is_inline);
    cbor_put_uint(out, m->u.stat_reply.arc);
    cbor_put_uint(out, m->u.stat_reply.leader);
    field_put_nodes(out, m->u.stat_reply.replicas, m->u.stat_reply.replica_count);
    cbor_put_uint(out, m->u.stat_reply.chunk_replicas_min);
}
static void get_stat_reply(struct cbor_reader *r, struct client_message *m) {
    m->u.stat_reply.name = client_get_text(r, CLIENT_NAME_MAX);
    m->u.stat_reply.size = cbor_get_uint(r, UINT64_MAX);
    m->u.stat_reply.modified_ms = cbor_get_uint(r, UINT64_MAX);
    cbor_get_fixed(r, m->u.stat_reply.version, sizeof(m->u.stat_reply.version));
    m->u.stat_reply.chunks = field_get_u32(r);
    m->u.stat_reply.is_inline = cbor_get_bool(r);
    m->u.stat_reply.arc = field_get_u32(r);
    m->u.stat_reply.leader = field_get_u32(r);
    m->u.stat_reply.replica_count = field_get_nodes(r, m->u.stat_reply.replicas);
    m->u.stat_reply.chunk_replicas_min = (uint8_t)cbor_get_uint(r, UINT8_MAX);
}

static void put_invite(const struct client_message *m, struct buf *out) {
    cbor_put_uint(out, m->u.invite.expires_ms);
    cbor_put_uint(out, m->u.invite.uses);
}
static void get_invite(struct cbor_reader *r, struct client_message *m) {
    m->u.invite.expires_ms = cbor_get_uint(r, UINT64_MAX);
    m->u.invite.uses = field_get_u32(r);
}

static void put_member(const struct client_message *m, struct buf *out) {
    CHECK(m->u.member.action < CLIENT_ACTIONS);
    cbor_put_uint(out, m->u.member.action);
    cbor_put_uint(out, m->u.member.node);
    cbor_put_bool(out, m->u.member.force);
}
static void get_member(struct cbor_reader *r, struct client_message *m) {
    m->u.member.action = (uint8_t)cbor_get_uint(r, CLIENT_ACTIONS - 1);
    m->u.member.node = field_get_u32(r);
    m->u.member.force = cbor_get_bool(r);
}

static void put_text(const struct client_message *m, struct buf *out) {
    CHECK(m->u.text.size <= TICKET_TEXT_MAX);
    client_put_text(out, m->u.text);
}
static void get_text(struct cbor_reader *r, struct client_message *m) {
    m->u.text = client_get_text(r, TICKET_TEXT_MAX);
}

/* A message may quote a name longer than itself: it is cut, and not inside a character. */
static struct client_text cut_message(struct client_text text) {
    if (text.size <= CLIENT_MESSAGE_MAX) {
        return text;
    }
    size_t size = CLIENT_MESSAGE_MAX;
    while (size > 0 && ((unsigned char)text.bytes[size] & 0xc0) == 0x80) {
        size--;
    }
    CHECK(size <= CLIENT_MESSAGE_MAX);
    return (struct client_text){.bytes = text.bytes, .size = size};
}
static void put_result(const struct client_message *m, struct buf *out) {
    field_put_status(out, m->u.result.status);
    client_put_text(out, cut_message(m->u.result.message));
    cbor_put_bytes(out, m->u.result.version, sizeof(m->u.result.version));
    cbor_put_uint(out, m->u.result.size);
    cbor_put_uint(out, m->u.result.modified_ms);
}
static void get_result(struct cbor_reader *r, struct client_message *m) {
    m->u.result.status = field_get_status(r);
    m->u.result.message = client_get_text(r, CLIENT_MESSAGE_MAX);
    cbor_get_fixed(r, m->u.result.version, sizeof(m->u.result.version));
    m->u.result.size = cbor_get_uint(r, UINT64_MAX);
    m->u.result.modified_ms = cbor_get_uint(r, UINT64_MAX);
}

/* ---- the table of kinds ---- */

static const struct {
    uint64_t fields; /* the kind is one of them */
    bool rows;       /* the last field is an array that is read and written row by row */
    void (*put)(const struct client_message *m, struct buf *out);
    void (*get)(struct cbor_reader *r, struct client_message *m);
} kinds[CLIENT_KINDS] = {
    [CLIENT_PUT] = {5, false, put_put, get_put},
    [CLIENT_DATA] = {2, false, put_data, get_data},
    [CLIENT_END] = {1, false, put_nothing, get_nothing},
    [CLIENT_GET] = {4, false, put_get, get_get},
    [CLIENT_HEAD] = {4, false, put_head, get_head},
    [CLIENT_RM] = {4, false, put_rm, get_rm},
    [CLIENT_LS] = {4, false, put_ls, get_ls},
    [CLIENT_LIST] = {3, true, put_nothing, get_list},
    [CLIENT_STAT] = {2, false, put_stat, get_stat},
    [CLIENT_STAT_REPLY] = {11, false, put_stat_reply, get_stat_reply},
    [CLIENT_STATUS] = {1, false, put_nothing, get_nothing},
    [CLIENT_STATUS_REPLY] = {10, true, put_status_reply, get_status_reply},
    [CLIENT_INVITE] = {3, false, put_invite, get_invite},
    [CLIENT_TEXT] = {2, false, put_text, get_text},
    [CLIENT_RESULT] = {6, false, put_result, get_result},
    [CLIENT_MEMBER] = {4, false, put_member, get_member},
};

static size_t begin(enum client_kind kind, struct buf *out) {
    CHECK(kind < CLIENT_KINDS);
    CHECK(kinds[kind].fields > 0);
    size_t mark = frame_begin(out);
    cbor_put_array(out, kinds[kind].fields);
    cbor_put_uint(out, kind);
    return mark;
}

void client_encode(const struct client_message *m, struct buf *out) {
    size_t mark = begin(m->kind, out);
    CHECK(!kinds[m->kind].rows);
    kinds[m->kind].put(m, out);
    frame_end(out, mark);
}

void client_encode_list(bool more, const struct client_entry *entries, uint32_t count, struct buf *out) {
    CHECK(entries || count == 0);
    size_t mark = begin(CLIENT_LIST, out);
    cbor_put_bool(out, more);
    client_put_entries(out, entries, count);
    frame_end(out, mark);
}

void client_encode_status(const struct client_message *m, const struct client_member *members, struct buf *out) {
    CHECK(m->kind == CLIENT_STATUS_REPLY);
    CHECK(members || m->u.status_reply.count == 0);
    size_t mark = begin(m->kind, out);
    put_status_reply(m, out);
    client_put_members(out, members, m->u.status_reply.count);
    frame_end(out, mark);
}

static uint64_t rows_count(const struct client_message *m) {
    CHECK(kinds[m->kind].rows);
    return m->kind == CLIENT_LIST ? m->u.list.count : m->u.status_reply.count;
}

int client_decode(const uint8_t *frame, size_t size, struct client_message *out, struct client_rows *rows) {
    struct cbor_reader r;
    struct client_message m = {0};
    cbor_reader_init(&r, frame, size);
    uint64_t fields = cbor_get_array(&r, FIELDS_MAX);
    m.kind = (enum client_kind)cbor_get_uint(&r, CLIENT_KINDS - 1);
    field_require(&r, fields == kinds[m.kind].fields);
    if (r.error) {
        return r.error;
    }
    kinds[m.kind].get(&r, &m);
    int rc = kinds[m.kind].rows ? r.error : cbor_finish(&r);
    if (rc) {
        return rc;
    }
    CHECK(r.offset <= size);
    if (rows && kinds[m.kind].rows) {
        *rows = (struct client_rows){.bytes = frame, .size = size, .offset = r.offset, .left = rows_count(&m)};
    }
    *out = m;
    return 0;
}
