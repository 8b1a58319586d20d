#include "command.h"

#include "check.h"
#include "errors.h"
#include "machine_fields.h"
#include "peer.h"

#define HEAD_FIELDS 4 /* kind, client, seq, ack_below */
#define RESULT_FIELDS 6

/* Items after the head, by kind: the array is exactly as long as its kind says. */
static const uint8_t field_counts[COMMAND_KINDS] = {
    [COMMAND_NAME_PUT] = FIELDS_NAME + 4 + FIELDS_CONTENT,
    [COMMAND_NAME_RM] = FIELDS_NAME + 2,
    [COMMAND_REF_ADD] = 2 + FIELDS_NAME,
    [COMMAND_REF_DEL] = 2,
    [COMMAND_REF_CONFIRM] = 2,
    [COMMAND_OUTBOX_DONE] = FIELDS_NAME + 1,
    [COMMAND_VERSION_SETTLE] = FIELDS_NAME + 1,
    [COMMAND_ROOT_INIT] = FIELDS_SETTINGS + 1,
    [COMMAND_TICKET_ADD] = 4,
    [COMMAND_MEMBER_JOIN] = 4,
    [COMMAND_MEMBER_SET] = 1,
    [COMMAND_MEMBER_STATE] = 3,
};

/* ---- writing ---- */

static void put_name_put(const struct command *c, struct buf *out) {
    const struct content content = {
        .is_inline = c->u.put.is_inline,
        .bytes = c->u.put.bytes,
        .chunk_count = c->u.put.chunk_count,
        .chunks = c->u.put.chunks,
    };
    fields_put_name(out, &c->u.put.name);
    fields_put_version(out, &c->u.put.version);
    cbor_put_uint(out, c->u.put.size);
    cbor_put_uint(out, c->u.put.condition);
    fields_put_version(out, &c->u.put.match);
    fields_put_content(out, &content, c->u.put.size);
}

static void put_name_rm(const struct command *c, struct buf *out) {
    fields_put_name(out, &c->u.rm.name);
    cbor_put_uint(out, c->u.rm.condition);
    fields_put_version(out, &c->u.rm.match);
}

static void put_refs(const struct command *c, struct buf *out) {
    fields_put_version(out, &c->u.refs.version);
    fields_put_chunks(out, c->u.refs.chunks, c->u.refs.chunk_count);
    if (c->kind == COMMAND_REF_ADD) {
        fields_put_name(out, &c->u.refs.name);
    }
}

static void put_version(const struct command *c, struct buf *out) {
    fields_put_name(out, &c->u.version.name);
    fields_put_version(out, &c->u.version.version);
}

static void put_ticket(const struct command *c, struct buf *out) {
    cbor_put_bytes(out, c->u.ticket.id, sizeof(c->u.ticket.id));
    fields_put_digest(out, &c->u.ticket.verifier);
    cbor_put_uint(out, c->u.ticket.expires_ms);
    cbor_put_uint(out, c->u.ticket.uses);
}

static void put_join(const struct command *c, struct buf *out) {
    struct member row = c->u.join.row;
    row.node = 0; /* what the machine decides is not carried */
    row.state = MEMBER_JOINING;
    row.changed = 0;
    cbor_put_bytes(out, c->u.join.ticket, sizeof(c->u.join.ticket));
    cbor_put_bytes(out, c->u.join.handshake, sizeof(c->u.join.handshake));
    fields_put_digest(out, &c->u.join.proof);
    member_row_encode(&row, out);
}

static void put_init(const struct command *c, struct buf *out) {
    fields_put_settings(out, &c->u.init.settings);
    member_row_encode(&c->u.init.founder, out);
}

static void put_member(const struct command *c, struct buf *out) {
    member_row_encode(&c->u.member, out);
}

static void put_state(const struct command *c, struct buf *out) {
    CHECK(c->u.state.to <= MEMBER_GONE);
    cbor_put_uint(out, c->u.state.node);
    cbor_put_uint(out, c->u.state.seen);
    cbor_put_uint(out, c->u.state.to);
}

typedef void put_fields(const struct command *c, struct buf *out);
static put_fields *const put_by_kind[COMMAND_KINDS] = {
    [COMMAND_NAME_PUT] = put_name_put,      [COMMAND_NAME_RM] = put_name_rm,   [COMMAND_REF_ADD] = put_refs,
    [COMMAND_REF_DEL] = put_refs,           [COMMAND_REF_CONFIRM] = put_refs,  [COMMAND_OUTBOX_DONE] = put_version,
    [COMMAND_VERSION_SETTLE] = put_version, [COMMAND_ROOT_INIT] = put_init,    [COMMAND_TICKET_ADD] = put_ticket,
    [COMMAND_MEMBER_JOIN] = put_join,       [COMMAND_MEMBER_SET] = put_member, [COMMAND_MEMBER_STATE] = put_state,
};

void command_encode(const struct command *c, struct buf *out) {
    CHECK(c->kind < COMMAND_KINDS);
    CHECK(put_by_kind[c->kind]);
    cbor_put_array(out, HEAD_FIELDS + field_counts[c->kind]);
    cbor_put_uint(out, c->kind);
    cbor_put_uint(out, c->client);
    cbor_put_uint(out, c->seq);
    cbor_put_uint(out, c->ack_below);
    put_by_kind[c->kind](c, out);
}

/* ---- reading ---- */

static void get_name_put(struct cbor_reader *r, struct chunk_ref *space, struct command *out) {
    struct content content;
    fields_get_name(r, &out->u.put.name);
    fields_get_version(r, &out->u.put.version);
    field_require(r, !version_is_zero(&out->u.put.version));
    out->u.put.size = cbor_get_uint(r, UINT64_MAX);
    out->u.put.condition = (enum name_condition)cbor_get_uint(r, CONDITION_MATCH);
    fields_get_version(r, &out->u.put.match);
    fields_get_content(r, out->u.put.size, space, &content);
    out->u.put.is_inline = content.is_inline;
    out->u.put.bytes = content.bytes;
    out->u.put.chunk_count = content.chunk_count;
    out->u.put.chunks = content.chunks;
}

static void get_name_rm(struct cbor_reader *r, struct chunk_ref *space, struct command *out) {
    (void)space;
    fields_get_name(r, &out->u.rm.name);
    out->u.rm.condition = (enum name_condition)cbor_get_uint(r, CONDITION_MATCH);
    field_require(r, out->u.rm.condition != CONDITION_ABSENT);
    fields_get_version(r, &out->u.rm.match);
}

static void get_refs(struct cbor_reader *r, struct chunk_ref *space, struct command *out) {
    fields_get_version(r, &out->u.refs.version);
    field_require(r, !version_is_zero(&out->u.refs.version));
    out->u.refs.chunk_count = fields_get_chunks(r, space);
    field_require(r, out->u.refs.chunk_count > 0);
    out->u.refs.chunks = space;
    if (out->kind == COMMAND_REF_ADD) {
        fields_get_name(r, &out->u.refs.name);
    }
}

static void get_version(struct cbor_reader *r, struct chunk_ref *space, struct command *out) {
    (void)space;
    fields_get_name(r, &out->u.version.name);
    fields_get_version(r, &out->u.version.version);
    field_require(r, !version_is_zero(&out->u.version.version));
}

static void get_init(struct cbor_reader *r, struct chunk_ref *space, struct command *out) {
    (void)space;
    fields_get_settings(r, &out->u.init.settings);
    fields_get_last_member(r, &out->u.init.founder);
}

static void get_ticket(struct cbor_reader *r, struct chunk_ref *space, struct command *out) {
    (void)space;
    cbor_get_fixed(r, out->u.ticket.id, sizeof(out->u.ticket.id));
    fields_get_digest(r, &out->u.ticket.verifier);
    out->u.ticket.expires_ms = cbor_get_uint(r, UINT64_MAX);
    out->u.ticket.uses = field_get_u32(r);
}

static void get_join(struct cbor_reader *r, struct chunk_ref *space, struct command *out) {
    (void)space;
    cbor_get_fixed(r, out->u.join.ticket, sizeof(out->u.join.ticket));
    cbor_get_fixed(r, out->u.join.handshake, sizeof(out->u.join.handshake));
    fields_get_digest(r, &out->u.join.proof);
    fields_get_last_member(r, &out->u.join.row);
    const struct member *row = &out->u.join.row;
    field_require(r, row->node == 0 && row->state == MEMBER_JOINING && row->changed == 0);
}

static void get_member(struct cbor_reader *r, struct chunk_ref *space, struct command *out) {
    (void)space;
    fields_get_last_member(r, &out->u.member);
}

static void get_state(struct cbor_reader *r, struct chunk_ref *space, struct command *out) {
    (void)space;
    out->u.state.node = field_get_u32(r);
    out->u.state.seen = cbor_get_uint(r, UINT64_MAX);
    out->u.state.to = (enum member_state)cbor_get_uint(r, MEMBER_GONE);
}

typedef void get_fields(struct cbor_reader *r, struct chunk_ref *space, struct command *out);
static get_fields *const get_by_kind[COMMAND_KINDS] = {
    [COMMAND_NAME_PUT] = get_name_put,      [COMMAND_NAME_RM] = get_name_rm,   [COMMAND_REF_ADD] = get_refs,
    [COMMAND_REF_DEL] = get_refs,           [COMMAND_REF_CONFIRM] = get_refs,  [COMMAND_OUTBOX_DONE] = get_version,
    [COMMAND_VERSION_SETTLE] = get_version, [COMMAND_ROOT_INIT] = get_init,    [COMMAND_TICKET_ADD] = get_ticket,
    [COMMAND_MEMBER_JOIN] = get_join,       [COMMAND_MEMBER_SET] = get_member, [COMMAND_MEMBER_STATE] = get_state,
};

int command_decode(const uint8_t *bytes, size_t size, struct chunk_ref *space, struct command *out) {
    struct cbor_reader r;
    struct command c = {0};
    CHECK(space);
    cbor_reader_init(&r, bytes, size);
    uint64_t count = cbor_get_array(&r, UINT8_MAX);
    c.kind = (enum command_kind)cbor_get_uint(&r, COMMAND_KINDS - 1);
    CHECK(c.kind < COMMAND_KINDS);
    field_require(&r, count == (uint64_t)HEAD_FIELDS + field_counts[c.kind]);
    c.client = cbor_get_uint(&r, UINT64_MAX);
    c.seq = cbor_get_uint(&r, UINT64_MAX);
    c.ack_below = cbor_get_uint(&r, UINT64_MAX);
    get_by_kind[c.kind](&r, space, &c);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = c;
    }
    return rc;
}

/* ---- the answer ---- */

void command_result_encode(const struct command_result *r, struct buf *out) {
    CHECK(err_known(r->status));
    cbor_put_array(out, RESULT_FIELDS);
    cbor_put_int(out, r->status);
    fields_put_version(out, &r->version);
    cbor_put_uint(out, r->modified_ms);
    cbor_put_uint(out, r->node);
    cbor_put_uint(out, r->epoch);
    cbor_put_bool(out, r->live);
}

int command_result_decode(const uint8_t *bytes, size_t size, struct command_result *out) {
    struct cbor_reader r;
    struct command_result result = {0};
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, RESULT_FIELDS);
    result.status = field_get_status(&r);
    fields_get_version(&r, &result.version);
    result.modified_ms = cbor_get_uint(&r, UINT64_MAX);
    result.node = field_get_u32(&r);
    result.epoch = cbor_get_uint(&r, UINT64_MAX);
    result.live = cbor_get_bool(&r);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = result;
    }
    return rc;
}
