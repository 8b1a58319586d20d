#include "check.h"
#include "errors.h"
#include "fields.h"
#include "peer.h"

#define HELLO_FIELDS 3
#define PING_FIELDS 7 /* the kind is one of a frame's fields */
#define REQUEST_FIELDS 4
#define REPLY_FIELDS 4
#define FRAME_FIELDS_MAX 8

void hello_encode(const struct hello *h, struct buf *out) {
    CHECK(h->role <= HELLO_GUEST);
    CHECK(h->lane < LANES);
    cbor_put_array(out, HELLO_FIELDS);
    cbor_put_uint(out, h->role);
    cbor_put_uint(out, h->lane);
    cbor_put_bytes(out, h->id, sizeof(h->id));
}

int hello_decode(const uint8_t *bytes, size_t size, struct hello *out) {
    struct cbor_reader r;
    struct hello h;
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, HELLO_FIELDS);
    h.role = (enum hello_role)cbor_get_uint(&r, HELLO_GUEST);
    h.lane = (enum lane)cbor_get_uint(&r, LANES - 1);
    cbor_get_fixed(&r, h.id, sizeof(h.id));
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = h;
    }
    return rc;
}

int peer_kind_of(const uint8_t *frame, size_t size, enum peer_kind *ret_kind) {
    struct cbor_reader r;
    cbor_reader_init(&r, frame, size);
    cbor_get_array(&r, FRAME_FIELDS_MAX);
    uint64_t kind = cbor_get_uint(&r, PEER_KINDS - 1);
    if (r.error) {
        return r.error;
    }
    CHECK(kind < PEER_KINDS);
    *ret_kind = (enum peer_kind)kind;
    return 0;
}

static void put_kind(struct buf *out, enum peer_kind kind, uint64_t fields) {
    CHECK(kind < PEER_KINDS);
    CHECK(fields <= FRAME_FIELDS_MAX);
    cbor_put_array(out, fields);
    cbor_put_uint(out, kind);
}

static void expect_kind(struct cbor_reader *r, enum peer_kind kind, uint64_t fields) {
    CHECK(kind < PEER_KINDS);
    CHECK(fields <= FRAME_FIELDS_MAX);
    cbor_expect_array(r, fields);
    field_require(r, cbor_get_uint(r, PEER_KINDS - 1) == kind);
}

void peer_ping_frame(const struct peer_ping *p, struct buf *out) {
    size_t mark = frame_begin(out);
    put_kind(out, PEER_PING, PING_FIELDS);
    cbor_put_uint(out, p->epoch);
    cbor_put_uint(out, p->incarnation);
    cbor_put_uint(out, p->used);
    cbor_put_uint(out, p->led);
    cbor_put_uint(out, p->healthy);
    cbor_put_uint(out, p->under);
    frame_end(out, mark);
}

int peer_ping_decode(const uint8_t *frame, size_t size, struct peer_ping *out) {
    struct cbor_reader r;
    struct peer_ping p;
    cbor_reader_init(&r, frame, size);
    expect_kind(&r, PEER_PING, PING_FIELDS);
    p.epoch = cbor_get_uint(&r, UINT64_MAX);
    p.incarnation = cbor_get_uint(&r, UINT64_MAX);
    p.used = cbor_get_uint(&r, UINT64_MAX);
    p.led = field_get_u32(&r);
    p.healthy = field_get_u32(&r);
    p.under = field_get_u32(&r);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = p;
    }
    return rc;
}

static void check_body_size(struct buf *out, size_t body_size) {
    if (body_size > PEER_BODY_MAX && !out->error) {
        out->error = ERR_TOO_LARGE;
    }
}

void peer_request_frame(const struct peer_request *r, struct buf *out) {
    CHECK(r->op < PEER_OPS);
    CHECK(r->body || r->body_size == 0);
    check_body_size(out, r->body_size);
    size_t mark = frame_begin(out);
    put_kind(out, PEER_REQUEST, REQUEST_FIELDS);
    cbor_put_uint(out, r->id);
    cbor_put_uint(out, r->op);
    cbor_put_bytes(out, r->body, r->body_size);
    frame_end(out, mark);
}

void peer_chunk_put_frame(uint64_t id, const struct chunk_put_request *put, struct buf *out) {
    CHECK(put->bytes || put->size == 0);
    size_t body_size = chunk_put_size(put);
    check_body_size(out, body_size);
    size_t mark = frame_begin(out);
    put_kind(out, PEER_REQUEST, REQUEST_FIELDS);
    cbor_put_uint(out, id);
    cbor_put_uint(out, OP_CHUNK_PUT);
    field_put_bytes_head(out, body_size);
    size_t body_at = out->size;
    chunk_put_encode(put, out);
    CHECK(out->error || out->size - body_at == body_size);
    frame_end(out, mark);
}

int peer_request_decode(const uint8_t *frame, size_t size, struct peer_request *out) {
    struct cbor_reader r;
    struct peer_request request;
    cbor_reader_init(&r, frame, size);
    expect_kind(&r, PEER_REQUEST, REQUEST_FIELDS);
    request.id = cbor_get_uint(&r, UINT64_MAX);
    request.op = (enum peer_op)cbor_get_uint(&r, PEER_OPS - 1);
    request.body = cbor_get_bytes(&r, PEER_BODY_MAX, &request.body_size);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = request;
    }
    return rc;
}

/* The errors that come with the sender's better knowledge of who serves the group. */
static bool status_has_body(int status) {
    return status == 0 || status == ERR_NOT_LEADER || status == ERR_MOVED;
}

void peer_reply_frame(const struct peer_reply *r, struct buf *out) {
    CHECK(r->body || r->body_size == 0);
    CHECK(status_has_body(r->status) || r->body_size == 0);
    check_body_size(out, r->body_size);
    size_t mark = frame_begin(out);
    put_kind(out, PEER_REPLY, REPLY_FIELDS);
    cbor_put_uint(out, r->id);
    field_put_status(out, r->status);
    cbor_put_bytes(out, r->body, r->body_size);
    frame_end(out, mark);
}

int peer_reply_decode(const uint8_t *frame, size_t size, struct peer_reply *out) {
    struct cbor_reader r;
    struct peer_reply reply;
    cbor_reader_init(&r, frame, size);
    expect_kind(&r, PEER_REPLY, REPLY_FIELDS);
    reply.id = cbor_get_uint(&r, UINT64_MAX);
    reply.status = field_get_status(&r);
    reply.body = cbor_get_bytes(&r, PEER_BODY_MAX, &reply.body_size);
    field_require(&r, status_has_body(reply.status) || reply.body_size == 0);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = reply;
    }
    return rc;
}
