#include <string.h>

#include "check.h"
#include "errors.h"
#include "fields.h"
#include "peer.h"
#include "placement.h"
#include "ring.h"

#define ROW_FIELDS 8
#define JOIN_REQUEST_FIELDS 6
#define JOIN_REPLY_FIELDS 5
#define MEMBERS_REQUEST_FIELDS 1
#define DELTA_FIELDS 4
#define FAREWELL_FIELDS 3

#define ROW_BYTES_MAX 112 /* without its texts: two 34-byte keys, heads, and integers of at most 9 bytes */
#define DELTA_BYTES_MAX (PEER_BODY_MAX - 64) /* the rest is for the heads of a delta and of a join reply around it */

/* ---- one row ---- */

void member_row_encode(const struct member *m, struct buf *out) {
    CHECK(m->state <= MEMBER_GONE);
    cbor_put_array(out, ROW_FIELDS);
    cbor_put_uint(out, m->node);
    cbor_put_bytes(out, m->id, sizeof(m->id));
    cbor_put_bytes(out, m->dh, sizeof(m->dh));
    cbor_put_uint(out, m->state);
    cbor_put_uint(out, m->capacity);
    cbor_put_uint(out, m->changed);
    field_put_string(out, m->addr);
    field_put_string(out, m->zone);
}

/* A row that asks for admission has no number yet; everything else must already be in order. */
static void require_row(struct cbor_reader *r, const struct member *row) {
    if (r->error) {
        return;
    }
    struct member numbered = *row;
    numbered.node = row->node ? row->node : 1;
    field_require(r, member_check(&numbered) == 0);
}

static void get_row(struct cbor_reader *r, struct member *out) {
    *out = (struct member){0};
    cbor_expect_array(r, ROW_FIELDS);
    out->node = field_get_u32(r);
    cbor_get_fixed(r, out->id, sizeof(out->id));
    cbor_get_fixed(r, out->dh, sizeof(out->dh));
    out->state = (enum member_state)cbor_get_uint(r, MEMBER_GONE);
    out->capacity = cbor_get_uint(r, UINT64_MAX);
    out->changed = cbor_get_uint(r, UINT64_MAX);
    field_get_string(r, out->addr, sizeof(out->addr));
    field_get_string(r, out->zone, sizeof(out->zone));
    require_row(r, out);
}

int member_row_decode(const uint8_t *bytes, size_t size, struct member *out) {
    struct cbor_reader r;
    struct member row;
    cbor_reader_init(&r, bytes, size);
    get_row(&r, &row);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = row;
    }
    return rc;
}

/* ---- good-bye ---- */

void peer_farewell_frame(uint64_t epoch, const struct member *row, struct buf *out) {
    CHECK(row->node != 0 && row->state == MEMBER_GONE && row->changed <= epoch);
    size_t mark = frame_begin(out);
    cbor_put_array(out, FAREWELL_FIELDS);
    cbor_put_uint(out, PEER_FAREWELL);
    cbor_put_uint(out, epoch);
    member_row_encode(row, out);
    frame_end(out, mark);
}

int peer_farewell_decode(const uint8_t *frame, size_t size, uint64_t *ret_epoch, struct member *out) {
    struct cbor_reader r;
    struct member row;
    cbor_reader_init(&r, frame, size);
    cbor_expect_array(&r, FAREWELL_FIELDS);
    field_require(&r, cbor_get_uint(&r, PEER_KINDS - 1) == PEER_FAREWELL);
    uint64_t epoch = cbor_get_uint(&r, UINT64_MAX);
    get_row(&r, &row);
    field_require(&r, row.node != 0 && row.state == MEMBER_GONE && row.changed <= epoch);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *ret_epoch = epoch;
        *out = row;
    }
    return rc;
}

/* ---- joining ---- */

void join_request_encode(const struct join_request *r, struct buf *out) {
    cbor_put_array(out, JOIN_REQUEST_FIELDS);
    cbor_put_bytes(out, r->ticket, sizeof(r->ticket));
    cbor_put_bytes(out, r->proof.bytes, sizeof(r->proof.bytes));
    cbor_put_bytes(out, r->row.id, sizeof(r->row.id));
    cbor_put_uint(out, r->row.capacity);
    field_put_string(out, r->row.addr);
    field_put_string(out, r->row.zone);
}

/* As if it were admitted: the number and the session's static key are what it still lacks. */
static void require_join_row(struct cbor_reader *r, const struct member *row) {
    struct member admitted = *row;
    memcpy(admitted.dh, row->id, sizeof(admitted.dh));
    require_row(r, &admitted);
}

int join_request_decode(const uint8_t *bytes, size_t size, struct join_request *out) {
    struct cbor_reader r;
    struct join_request request = {0};
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, JOIN_REQUEST_FIELDS);
    cbor_get_fixed(&r, request.ticket, sizeof(request.ticket));
    cbor_get_fixed(&r, request.proof.bytes, sizeof(request.proof.bytes));
    cbor_get_fixed(&r, request.row.id, sizeof(request.row.id));
    request.row.capacity = cbor_get_uint(&r, UINT64_MAX);
    field_get_string(&r, request.row.addr, sizeof(request.row.addr));
    field_get_string(&r, request.row.zone, sizeof(request.row.zone));
    require_join_row(&r, &request.row);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = request;
    }
    return rc;
}

static uint32_t get_replicas(struct cbor_reader *r) {
    uint32_t replicas = (uint32_t)cbor_get_uint(r, PLACEMENT_REPLICAS_MAX);
    field_require(r, replicas > 0);
    return replicas;
}

void join_reply_encode(const struct join_reply *r, struct buf *out) {
    CHECK(r->node != 0);
    CHECK(r->bits <= RING_BITS_MAX);
    CHECK(r->replicas > 0 && r->replicas <= PLACEMENT_REPLICAS_MAX);
    CHECK(r->members || r->members_size == 0);
    cbor_put_array(out, JOIN_REPLY_FIELDS);
    cbor_put_uint(out, r->node);
    cbor_put_uint(out, r->bits);
    cbor_put_uint(out, r->replicas);
    cbor_put_uint(out, r->epoch);
    cbor_put_bytes(out, r->members, r->members_size);
}

int join_reply_decode(const uint8_t *bytes, size_t size, struct join_reply *out) {
    struct cbor_reader r;
    struct join_reply reply;
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, JOIN_REPLY_FIELDS);
    reply.node = field_get_u32(&r);
    reply.bits = (uint32_t)cbor_get_uint(&r, RING_BITS_MAX);
    reply.replicas = get_replicas(&r);
    reply.epoch = cbor_get_uint(&r, UINT64_MAX);
    reply.members = cbor_get_bytes(&r, PEER_BODY_MAX, &reply.members_size);
    field_require(&r, reply.node != 0);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = reply;
    }
    return rc;
}

/* ---- the table ---- */

void members_request_encode(uint64_t since_epoch, struct buf *out) {
    cbor_put_array(out, MEMBERS_REQUEST_FIELDS);
    cbor_put_uint(out, since_epoch);
}

int members_request_decode(const uint8_t *bytes, size_t size, uint64_t *ret_since) {
    struct cbor_reader r;
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, MEMBERS_REQUEST_FIELDS);
    uint64_t since = cbor_get_uint(&r, UINT64_MAX);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *ret_since = since;
    }
    return rc;
}

struct span {
    uint64_t oldest; /* change among the rows */
    size_t rows;
    size_t bytes; /* at most, encoded */
};

/* The rows that changed after `since` and not after `until`. */
static struct span measure(const struct members *m, uint64_t since, uint64_t until) {
    struct span s = {.oldest = until};
    size_t count = members_count(m);
    CHECK(count <= MEMBERS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct member *row = members_at(m, i);
        if (row->changed > since && row->changed <= until) {
            s.oldest = row->changed < s.oldest ? row->changed : s.oldest;
            s.rows++;
            s.bytes += ROW_BYTES_MAX + strlen(row->addr) + strlen(row->zone);
        }
    }
    return s;
}

/* The newest epoch up to which everything fits one message. Halving ends at the oldest change, so that every answer
 * brings the asker further. */
static struct span choose_span(const struct members *m, uint64_t since, uint64_t *ret_until) {
    uint64_t until = members_epoch(m);
    struct span s = measure(m, since, until);
    while (s.bytes > DELTA_BYTES_MAX && s.oldest < until) {
        until = s.oldest + (until - s.oldest) / 2;
        s = measure(m, since, until);
    }
    CHECK(until <= members_epoch(m));
    *ret_until = until;
    return s;
}

void members_delta_encode(const struct members *m, uint32_t bits, uint32_t replicas, uint64_t since, struct buf *out) {
    CHECK(bits <= RING_BITS_MAX);
    CHECK(replicas > 0 && replicas <= PLACEMENT_REPLICAS_MAX);
    uint64_t until = 0;
    struct span s = choose_span(m, since, &until);
    cbor_put_array(out, DELTA_FIELDS);
    cbor_put_uint(out, until);
    cbor_put_uint(out, bits);
    cbor_put_uint(out, replicas);
    cbor_put_array(out, s.rows);
    size_t put = 0;
    for (size_t i = 0; i < members_count(m); i++) {
        const struct member *row = members_at(m, i);
        if (row->changed > since && row->changed <= until) {
            member_row_encode(row, out);
            put++;
        }
    }
    CHECK(put == s.rows);
}

int members_delta_open(const uint8_t *bytes, size_t size, struct members_delta *out, struct codec_position *ret_rows) {
    struct cbor_reader r;
    struct members_delta delta;
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, DELTA_FIELDS);
    delta.epoch = cbor_get_uint(&r, UINT64_MAX);
    delta.bits = (uint32_t)cbor_get_uint(&r, RING_BITS_MAX);
    delta.replicas = get_replicas(&r);
    delta.count = (uint32_t)cbor_get_array(&r, MEMBERS_MAX);
    if (r.error) {
        return r.error;
    }
    CHECK(r.offset <= size);
    *out = delta;
    *ret_rows = (struct codec_position){.bytes = bytes, .size = size, .offset = r.offset, .left = delta.count};
    return 0;
}

int members_delta_next(struct codec_position *rows, struct member *out) {
    CHECK(rows->offset <= rows->size);
    if (rows->left == 0) {
        return rows->offset == rows->size ? ERR_NOT_FOUND : ERR_PROTOCOL;
    }
    struct cbor_reader r;
    struct member row;
    cbor_reader_init(&r, rows->bytes + rows->offset, rows->size - rows->offset);
    get_row(&r, &row);
    field_require(&r, row.node != 0);
    if (r.error) {
        return r.error;
    }
    rows->offset += r.offset;
    rows->left--;
    *out = row;
    return 0;
}
