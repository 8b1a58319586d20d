#include "check.h"
#include "errors.h"
#include "machine_rows.h"
#include "peer.h"

#define NAME_ROW_FIELDS (4 + FIELDS_CONTENT)
#define REF_FIELDS (3 + FIELDS_NAME)
#define OUTBOX_FIELDS (FIELDS_NAME + 1)
#define CLIENT_FIELDS 2
#define ROOT_FIELDS (FIELDS_SETTINGS + 2)
#define TICKET_FIELDS 3

static struct cbor_reader reader_of(struct slice value) {
    struct cbor_reader r;
    cbor_reader_init(&r, value.bytes, value.size);
    return r;
}

/* ---- NAMES ---- */

void name_row_encode(const struct name_row *row, struct buf *out) {
    const struct content content = {
        .is_inline = row->is_inline,
        .bytes = row->bytes,
        .chunk_count = row->chunk_count,
        .chunks = row->chunks,
    };
    CHECK(row->key_size > 0 && row->key_size <= NAME_KEY_MAX);
    cbor_put_array(out, NAME_ROW_FIELDS);
    cbor_put_text(out, row->key, row->key_size);
    fields_put_version(out, &row->version);
    cbor_put_uint(out, row->size);
    cbor_put_uint(out, row->modified_ms);
    fields_put_content(out, &content, row->size);
}

int name_row_decode(const uint8_t *bytes, size_t size, struct chunk_ref *space, struct name_row *out) {
    struct name_row row = {0};
    struct content content;
    struct cbor_reader r;
    CHECK(space);
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, NAME_ROW_FIELDS);
    fields_get_key(&r, row.key, &row.key_size);
    field_require(&r, row.key_size > 0);
    fields_get_version(&r, &row.version);
    row.size = cbor_get_uint(&r, UINT64_MAX);
    row.modified_ms = cbor_get_uint(&r, UINT64_MAX);
    fields_get_content(&r, row.size, space, &content);
    row.is_inline = content.is_inline;
    row.bytes = content.bytes;
    row.chunk_count = content.chunk_count;
    row.chunks = content.chunks;
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = row;
    }
    return rc;
}

int name_head_decode(struct slice value, struct name_head *out) {
    struct name_head head = {0};
    struct cbor_reader r = reader_of(value);
    cbor_expect_array(&r, NAME_ROW_FIELDS);
    head.key = cbor_get_text(&r, NAME_KEY_MAX, &head.key_size);
    fields_get_version(&r, &head.version);
    head.size = cbor_get_uint(&r, UINT64_MAX);
    head.modified_ms = cbor_get_uint(&r, UINT64_MAX);
    head.is_inline = cbor_get_bool(&r);
    field_require(&r, head.key_size > 0 && r.offset < r.size);
    if (r.error) {
        return r.error;
    }
    if (!head.is_inline) {
        head.chunks = (struct slice){value.bytes + r.offset, value.size - r.offset};
    }
    *out = head;
    return 0;
}

/* ---- REFS ---- */

void ref_value_encode(const struct ref_value *v, struct buf *out) {
    cbor_put_array(out, REF_FIELDS);
    cbor_put_uint(out, v->size);
    cbor_put_bool(out, v->pending);
    cbor_put_uint(out, v->stamp_ms);
    fields_put_name(out, &v->name);
}

int ref_value_decode(struct slice value, struct ref_value *out) {
    struct ref_value v;
    struct cbor_reader r = reader_of(value);
    cbor_expect_array(&r, REF_FIELDS);
    v.size = field_get_u32(&r);
    v.pending = cbor_get_bool(&r);
    v.stamp_ms = cbor_get_uint(&r, UINT64_MAX);
    fields_get_name(&r, &v.name);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = v;
    }
    return rc;
}

/* ---- OUTBOX, ABORTED ---- */

void outbox_value_encode(const struct name *n, struct slice chunks, struct buf *out) {
    CHECK(chunks.size > 0);
    cbor_put_array(out, OUTBOX_FIELDS);
    fields_put_name(out, n);
    buf_append(out, chunks.bytes, chunks.size);
}

void outbox_value_read(struct cbor_reader *r, struct chunk_ref *space, struct name *ret_name, uint32_t *ret_count) {
    CHECK(space);
    cbor_expect_array(r, OUTBOX_FIELDS);
    fields_get_name(r, ret_name);
    *ret_count = fields_get_chunks(r, space);
    field_require(r, *ret_count > 0);
}

int outbox_value_decode(struct slice value, struct chunk_ref *space, struct name *ret_name, uint32_t *ret_count) {
    struct name name;
    uint32_t count = 0;
    struct cbor_reader r = reader_of(value);
    outbox_value_read(&r, space, &name, &count);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *ret_name = name;
        *ret_count = count;
    }
    return rc;
}

void stamp_value_encode(uint64_t stamp_ms, struct buf *out) {
    cbor_put_uint(out, stamp_ms);
}

int stamp_value_decode(struct slice value, uint64_t *ret_stamp_ms) {
    struct cbor_reader r = reader_of(value);
    uint64_t stamp_ms = cbor_get_uint(&r, UINT64_MAX);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *ret_stamp_ms = stamp_ms;
    }
    return rc;
}

/* ---- CLIENTS ---- */

void client_value_encode(const struct client_value *v, struct buf *out) {
    cbor_put_array(out, CLIENT_FIELDS);
    cbor_put_uint(out, v->ack_below);
    cbor_put_uint(out, v->stamp_ms);
}

int client_value_decode(struct slice value, struct client_value *out) {
    struct client_value v;
    struct cbor_reader r = reader_of(value);
    cbor_expect_array(&r, CLIENT_FIELDS);
    v.ack_below = cbor_get_uint(&r, UINT64_MAX);
    v.stamp_ms = cbor_get_uint(&r, UINT64_MAX);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = v;
    }
    return rc;
}

/* ---- ROOT ---- */

void root_value_encode(const struct root_value *v, struct buf *out) {
    CHECK(v->next_node > 0);
    cbor_put_array(out, ROOT_FIELDS);
    fields_put_settings(out, &v->settings);
    cbor_put_uint(out, v->epoch);
    cbor_put_uint(out, v->next_node);
}

int root_value_decode(struct slice value, struct root_value *out) {
    struct root_value v;
    struct cbor_reader r = reader_of(value);
    cbor_expect_array(&r, ROOT_FIELDS);
    fields_get_settings(&r, &v.settings);
    v.epoch = cbor_get_uint(&r, UINT64_MAX);
    v.next_node = field_get_u32(&r);
    field_require(&r, v.next_node > 0);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = v;
    }
    return rc;
}

void ticket_value_encode(const struct ticket_value *v, struct buf *out) {
    cbor_put_array(out, TICKET_FIELDS);
    fields_put_digest(out, &v->verifier);
    cbor_put_uint(out, v->expires_ms);
    cbor_put_uint(out, v->uses);
}

int ticket_value_decode(struct slice value, struct ticket_value *out) {
    struct ticket_value v;
    struct cbor_reader r = reader_of(value);
    cbor_expect_array(&r, TICKET_FIELDS);
    fields_get_digest(&r, &v.verifier);
    v.expires_ms = cbor_get_uint(&r, UINT64_MAX);
    v.uses = field_get_u32(&r);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = v;
    }
    return rc;
}
