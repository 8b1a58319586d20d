#include "client_rows.h"

#include "check.h"
#include "errors.h"
#include "fields.h"

#define ENTRY_FIELDS 4
#define MEMBER_FIELDS 10

void client_put_text(struct buf *out, struct client_text text) {
    CHECK(text.bytes || text.size == 0);
    cbor_put_text(out, text.bytes, text.size);
}

struct client_text client_get_text(struct cbor_reader *r, size_t max) {
    struct client_text text = {0};
    text.bytes = cbor_get_text(r, max, &text.size);
    CHECK(text.size <= max);
    return text;
}

void client_put_entries(struct buf *out, const struct client_entry *entries, uint32_t count) {
    CHECK(count <= CLIENT_LIST_MAX);
    cbor_put_array(out, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct client_entry *e = &entries[i];
        CHECK(e->name.size <= CLIENT_NAME_MAX);
        cbor_put_array(out, ENTRY_FIELDS);
        client_put_text(out, e->name);
        cbor_put_uint(out, e->size);
        cbor_put_uint(out, e->modified_ms);
        cbor_put_bytes(out, e->version, sizeof(e->version));
    }
}

static void get_entry(struct cbor_reader *r, struct client_entry *out) {
    cbor_expect_array(r, ENTRY_FIELDS);
    out->name = client_get_text(r, CLIENT_NAME_MAX);
    out->size = cbor_get_uint(r, UINT64_MAX);
    out->modified_ms = cbor_get_uint(r, UINT64_MAX);
    cbor_get_fixed(r, out->version, sizeof(out->version));
}

void client_put_members(struct buf *out, const struct client_member *members, uint32_t count) {
    CHECK(count <= MEMBERS_MAX);
    cbor_put_array(out, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct client_member *m = &members[i];
        CHECK(m->state <= MEMBER_GONE);
        cbor_put_array(out, MEMBER_FIELDS);
        cbor_put_uint(out, m->node);
        cbor_put_bytes(out, m->id, sizeof(m->id));
        field_put_string(out, m->addr);
        field_put_string(out, m->zone);
        cbor_put_uint(out, m->state);
        cbor_put_bool(out, m->alive);
        cbor_put_uint(out, m->capacity);
        cbor_put_uint(out, m->used);
        cbor_put_uint(out, m->leaders);
        cbor_put_uint(out, m->replicas);
    }
}

static void get_member(struct cbor_reader *r, struct client_member *out) {
    cbor_expect_array(r, MEMBER_FIELDS);
    out->node = field_get_u32(r);
    cbor_get_fixed(r, out->id, sizeof(out->id));
    field_get_string(r, out->addr, sizeof(out->addr));
    field_get_string(r, out->zone, sizeof(out->zone));
    out->state = (uint8_t)cbor_get_uint(r, MEMBER_GONE);
    out->alive = cbor_get_bool(r);
    out->capacity = cbor_get_uint(r, UINT64_MAX);
    out->used = cbor_get_uint(r, UINT64_MAX);
    out->leaders = field_get_u32(r);
    out->replicas = field_get_u32(r);
    field_require(r, out->node != 0);
}

/* A cursor at the next row: 0, or ERR_NOT_FOUND past the last, ERR_PROTOCOL when bytes follow it. */
static int rows_begin(const struct client_rows *rows, struct cbor_reader *ret_reader) {
    CHECK(rows->offset <= rows->size);
    if (rows->left == 0) {
        return rows->offset == rows->size ? ERR_NOT_FOUND : ERR_PROTOCOL;
    }
    cbor_reader_init(ret_reader, rows->bytes + rows->offset, rows->size - rows->offset);
    return 0;
}

static void rows_end(struct client_rows *rows, const struct cbor_reader *r) {
    CHECK(r->error == 0);
    CHECK(rows->left > 0);
    rows->offset += r->offset;
    rows->left--;
}

int client_list_next(struct client_rows *rows, struct client_entry *out) {
    struct cbor_reader r;
    struct client_entry entry;
    int rc = rows_begin(rows, &r);
    if (rc) {
        return rc;
    }
    get_entry(&r, &entry);
    if (r.error) {
        return r.error;
    }
    rows_end(rows, &r);
    *out = entry;
    return 0;
}

int client_member_next(struct client_rows *rows, struct client_member *out) {
    struct cbor_reader r;
    struct client_member member;
    int rc = rows_begin(rows, &r);
    if (rc) {
        return rc;
    }
    get_member(&r, &member);
    if (r.error) {
        return r.error;
    }
    rows_end(rows, &r);
    *out = member;
    return 0;
}
