#include "check.h"
#include "errors.h"
#include "fields.h"
#include "peer.h"

#define GROUP_REQUEST_FIELDS 3
#define PROPOSE_REPLY_FIELDS 3 /* a configuration is two items */
#define REPLICA_REQUEST_FIELDS 3
#define SNAPSHOT_FIELDS 12
#define CHUNK_PUT_FIELDS 4
#define CHUNK_GET_FIELDS 2

void group_request_encode(const struct group_request *r, struct buf *out) {
    CHECK(r->bytes || r->size == 0);
    cbor_put_array(out, GROUP_REQUEST_FIELDS);
    cbor_put_uint(out, r->group);
    cbor_put_bool(out, r->again);
    cbor_put_bytes(out, r->bytes, r->size);
}

int group_request_decode(const uint8_t *bytes, size_t size, struct group_request *out) {
    struct cbor_reader r;
    struct group_request request;
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, GROUP_REQUEST_FIELDS);
    request.group = field_get_u32(&r);
    request.again = cbor_get_bool(&r);
    request.bytes = cbor_get_bytes(&r, PEER_BODY_MAX, &request.size);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = request;
    }
    return rc;
}

void propose_reply_encode(const struct propose_reply *r, struct buf *out) {
    CHECK(r->result || r->result_size == 0);
    cbor_put_array(out, PROPOSE_REPLY_FIELDS);
    field_put_config(out, &r->config);
    cbor_put_bytes(out, r->result, r->result_size);
}

int propose_reply_decode(const uint8_t *bytes, size_t size, struct propose_reply *out) {
    struct cbor_reader r;
    struct propose_reply reply;
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, PROPOSE_REPLY_FIELDS);
    field_get_config(&r, &reply.config);
    reply.result = cbor_get_bytes(&r, PEER_BODY_MAX, &reply.result_size);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = reply;
    }
    return rc;
}

void replica_request_encode(const struct replica_request *r, struct buf *out) {
    CHECK(r->replica != 0);
    cbor_put_array(out, REPLICA_REQUEST_FIELDS);
    cbor_put_uint(out, r->group);
    cbor_put_uint(out, r->replica);
    cbor_put_uint(out, r->index);
}

int replica_request_decode(const uint8_t *bytes, size_t size, struct replica_request *out) {
    struct cbor_reader r;
    struct replica_request request;
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, REPLICA_REQUEST_FIELDS);
    request.group = field_get_u32(&r);
    request.replica = cbor_get_uint(&r, UINT64_MAX);
    request.index = cbor_get_uint(&r, UINT64_MAX);
    field_require(&r, request.replica != 0);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = request;
    }
    return rc;
}

void snapshot_piece_encode(const struct snapshot_piece *p, struct buf *out) {
    CHECK(p->from != 0);
    CHECK(p->to != 0);
    CHECK(p->index_term <= p->term);
    CHECK(p->config.index <= p->index);
    cbor_put_array(out, SNAPSHOT_FIELDS);
    cbor_put_uint(out, p->group);
    cbor_put_uint(out, p->from);
    cbor_put_uint(out, p->to);
    cbor_put_uint(out, p->term);
    cbor_put_uint(out, p->index);
    cbor_put_uint(out, p->index_term);
    cbor_put_uint(out, p->stamp_ms);
    field_put_config(out, &p->config);
    cbor_put_uint(out, p->number);
    cbor_put_bool(out, p->last);
    cbor_put_bytes(out, p->bytes, p->size);
}

static void get_snapshot_piece(struct cbor_reader *r, struct snapshot_piece *out) {
    cbor_expect_array(r, SNAPSHOT_FIELDS);
    out->group = field_get_u32(r);
    out->from = cbor_get_uint(r, UINT64_MAX);
    out->to = cbor_get_uint(r, UINT64_MAX);
    out->term = cbor_get_uint(r, UINT64_MAX);
    out->index = cbor_get_uint(r, UINT64_MAX);
    out->index_term = cbor_get_uint(r, out->term); /* no log is ahead of its replica's term */
    out->stamp_ms = cbor_get_uint(r, UINT64_MAX);
    field_get_config(r, &out->config);
    out->number = field_get_u32(r);
    out->last = cbor_get_bool(r);
    out->bytes = cbor_get_bytes(r, PEER_BODY_MAX, &out->size);
    field_require(r, out->from != 0);
    field_require(r, out->to != 0);
    field_require(r, out->config.index <= out->index);
}

int snapshot_piece_decode(const uint8_t *bytes, size_t size, struct snapshot_piece *out) {
    struct cbor_reader r;
    struct snapshot_piece piece = {0};
    cbor_reader_init(&r, bytes, size);
    get_snapshot_piece(&r, &piece);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = piece;
    }
    return rc;
}

size_t chunk_put_size(const struct chunk_put_request *r) {
    return field_head_size(CHUNK_PUT_FIELDS) + field_head_size(r->group) + field_head_size(sizeof(r->version)) +
           sizeof(r->version) + field_head_size(sizeof(r->digest.bytes)) + sizeof(r->digest.bytes) +
           field_head_size(r->size) + r->size;
}

void chunk_put_encode(const struct chunk_put_request *r, struct buf *out) {
    CHECK(r->bytes || r->size == 0);
    cbor_put_array(out, CHUNK_PUT_FIELDS);
    cbor_put_uint(out, r->group);
    cbor_put_bytes(out, r->version, sizeof(r->version));
    cbor_put_bytes(out, r->digest.bytes, sizeof(r->digest.bytes));
    cbor_put_bytes(out, r->bytes, r->size);
}

int chunk_put_decode(const uint8_t *bytes, size_t size, struct chunk_put_request *out) {
    struct cbor_reader r;
    struct chunk_put_request request;
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, CHUNK_PUT_FIELDS);
    request.group = field_get_u32(&r);
    cbor_get_fixed(&r, request.version, sizeof(request.version));
    cbor_get_fixed(&r, request.digest.bytes, sizeof(request.digest.bytes));
    request.bytes = cbor_get_bytes(&r, PEER_BODY_MAX, &request.size);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = request;
    }
    return rc;
}

void chunk_get_encode(const struct chunk_get_request *r, struct buf *out) {
    cbor_put_array(out, CHUNK_GET_FIELDS);
    cbor_put_bytes(out, r->digest.bytes, sizeof(r->digest.bytes));
    cbor_put_bool(out, r->doubt);
}

int chunk_get_decode(const uint8_t *bytes, size_t size, struct chunk_get_request *out) {
    struct cbor_reader r;
    struct chunk_get_request request;
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, CHUNK_GET_FIELDS);
    cbor_get_fixed(&r, request.digest.bytes, sizeof(request.digest.bytes));
    request.doubt = cbor_get_bool(&r);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = request;
    }
    return rc;
}
