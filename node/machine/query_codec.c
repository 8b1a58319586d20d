#include <string.h>

#include "check.h"
#include "command.h"
#include "errors.h"
#include "machine_fields.h"

/* Items by kind, the kind itself included. */
static const uint8_t field_counts[QUERY_KINDS] = {
    [QUERY_NAME] = 1 + FIELDS_NAME,
    [QUERY_LIST] = 1 + FIELDS_NAME + 3,
    [QUERY_PENDING] = 1 + 5,
    [QUERY_REFS] = 1 + 5,
    [QUERY_REF] = 1 + 2,
    [QUERY_USED] = 1 + 1,
    [QUERY_OUTBOX] = 1 + 4,
    [QUERY_ROOT] = 1,
};

void query_encode(const struct query *q, struct buf *out) {
    CHECK(q->kind < QUERY_KINDS);
    cbor_put_array(out, field_counts[q->kind]);
    cbor_put_uint(out, q->kind);
    switch (q->kind) {
    case QUERY_NAME:
        fields_put_name(out, &q->name);
        break;
    case QUERY_LIST:
        CHECK(q->after_size <= NAME_KEY_MAX);
        fields_put_name(out, &q->name);
        cbor_put_uint(out, q->shard);
        cbor_put_text(out, q->after, q->after_size);
        cbor_put_uint(out, q->limit);
        break;
    case QUERY_PENDING:
    case QUERY_REFS:
        cbor_put_uint(out, q->limit);
        cbor_put_uint(out, q->before_ms);
        cbor_put_bool(out, q->from_start);
        fields_put_digest(out, &q->after_digest);
        fields_put_version(out, &q->after_version);
        break;
    case QUERY_REF:
        fields_put_digest(out, &q->digest);
        fields_put_version(out, &q->version);
        break;
    case QUERY_USED:
        fields_put_digest(out, &q->digest);
        break;
    case QUERY_OUTBOX:
        cbor_put_uint(out, q->limit);
        cbor_put_bool(out, q->from_start);
        cbor_put_uint(out, q->position);
        fields_put_version(out, &q->version);
        break;
    case QUERY_ROOT:
    case QUERY_KINDS:
        break;
    }
}

static void get_list(struct cbor_reader *r, struct query *q) {
    fields_get_prefix(r, &q->name);
    q->shard = (unsigned)cbor_get_uint(r, NAME_SHARDS - 1);
    fields_get_key(r, q->after, &q->after_size);
    q->limit = field_get_u32(r);
}

static void get_refs_page(struct cbor_reader *r, struct query *q) {
    q->limit = field_get_u32(r);
    q->before_ms = cbor_get_uint(r, UINT64_MAX);
    q->from_start = cbor_get_bool(r);
    fields_get_digest(r, &q->after_digest);
    fields_get_version(r, &q->after_version);
}

static void get_outbox(struct cbor_reader *r, struct query *q) {
    q->limit = field_get_u32(r);
    q->from_start = cbor_get_bool(r);
    q->position = cbor_get_uint(r, UINT64_MAX);
    fields_get_version(r, &q->version);
}

static void get_fields(struct cbor_reader *r, struct query *q) {
    switch (q->kind) {
    case QUERY_NAME:
        fields_get_name(r, &q->name);
        break;
    case QUERY_LIST:
        get_list(r, q);
        break;
    case QUERY_PENDING:
    case QUERY_REFS:
        get_refs_page(r, q);
        break;
    case QUERY_REF:
        fields_get_digest(r, &q->digest);
        fields_get_version(r, &q->version);
        break;
    case QUERY_USED:
        fields_get_digest(r, &q->digest);
        break;
    case QUERY_OUTBOX:
        get_outbox(r, q);
        break;
    case QUERY_ROOT:
    case QUERY_KINDS:
        break;
    }
}

int query_decode(const uint8_t *bytes, size_t size, struct query *out) {
    struct cbor_reader r;
    struct query q = {0};
    cbor_reader_init(&r, bytes, size);
    uint64_t count = cbor_get_array(&r, UINT8_MAX);
    q.kind = (enum query_kind)cbor_get_uint(&r, QUERY_KINDS - 1);
    CHECK(q.kind < QUERY_KINDS);
    field_require(&r, count == field_counts[q.kind]);
    get_fields(&r, &q);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = q;
    }
    return rc;
}
