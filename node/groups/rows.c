#include "rows.h"

#include <string.h>

#include "codec.h"
#include "errors.h"

#define ROW_MAX 4096

static struct slice slice_of(const void *bytes, size_t size) {
    return (struct slice){.bytes = bytes, .size = size};
}

static void put_config(struct buf *b, const struct raft_config *c) {
    struct buf inner;
    buf_init(&inner, ROW_MAX);
    cbor_put_uint(b, c->index);
    if (c->count > 0) {
        raft_config_encode(c, &inner);
    }
    if (inner.error) {
        b->error = inner.error;
    }
    cbor_put_bytes(b, inner.bytes, inner.size);
    buf_release(&inner);
}

static int get_config(struct cbor_reader *r, struct raft_config *out) {
    uint64_t index = cbor_get_uint(r, UINT64_MAX);
    size_t size = 0;
    const uint8_t *bytes = cbor_get_bytes(r, ROW_MAX, &size);
    memset(out, 0, sizeof(*out));
    out->index = index;
    if (r->error || size == 0) {
        return r->error;
    }
    return raft_config_decode(bytes, size, index, out);
}

static int put_row(struct txn *t, enum txn_table table, uint32_t group, struct buf *row) {
    uint8_t key[4];
    put_u32(key, group);
    int rc = row->error;
    if (!rc) {
        rc = txn_put(t, table, slice_of(key, sizeof(key)), slice_of(row->bytes, row->size));
    }
    buf_release(row);
    return rc;
}

static int get_row(struct txn *t, enum txn_table table, uint32_t group, struct cbor_reader *out) {
    uint8_t key[4];
    put_u32(key, group);
    struct slice value;
    int rc = txn_get(t, table, slice_of(key, sizeof(key)), &value);
    if (!rc) {
        cbor_reader_init(out, value.bytes, value.size);
    }
    return rc;
}

int hard_row_put(struct txn *t, uint32_t group, const struct hard_row *row) {
    struct buf b;
    buf_init(&b, ROW_MAX);
    cbor_put_array(&b, 8);
    cbor_put_uint(&b, row->replica);
    cbor_put_uint(&b, row->tombstone);
    cbor_put_uint(&b, row->hard.term);
    cbor_put_uint(&b, row->hard.vote);
    cbor_put_uint(&b, row->base_index);
    cbor_put_uint(&b, row->base_term);
    put_config(&b, &row->config);
    return put_row(t, TABLE_HARD, group, &b);
}

int hard_row_get(struct txn *t, uint32_t group, struct hard_row *out) {
    struct cbor_reader r;
    struct hard_row row = {0};
    int rc = get_row(t, TABLE_HARD, group, &r);
    if (rc) {
        return rc;
    }
    cbor_expect_array(&r, 8);
    row.replica = cbor_get_uint(&r, UINT64_MAX);
    row.tombstone = cbor_get_uint(&r, UINT64_MAX);
    row.hard.term = cbor_get_uint(&r, UINT64_MAX);
    row.hard.vote = cbor_get_uint(&r, UINT64_MAX);
    row.base_index = cbor_get_uint(&r, UINT64_MAX);
    row.base_term = cbor_get_uint(&r, UINT64_MAX);
    rc = get_config(&r, &row.config);
    if (rc || cbor_finish(&r)) {
        return ERR_CORRUPT;
    }
    *out = row;
    return 0;
}

int applied_row_put(struct txn *t, uint32_t group, const struct applied_row *row) {
    struct buf b;
    buf_init(&b, ROW_MAX);
    cbor_put_array(&b, 6);
    cbor_put_uint(&b, row->replica);
    cbor_put_uint(&b, row->index);
    cbor_put_uint(&b, row->term);
    cbor_put_uint(&b, row->stamp_ms);
    put_config(&b, &row->config);
    return put_row(t, TABLE_APPLIED, group, &b);
}

int applied_row_get(struct txn *t, uint32_t group, struct applied_row *out) {
    struct cbor_reader r;
    struct applied_row row = {0};
    int rc = get_row(t, TABLE_APPLIED, group, &r);
    if (rc) {
        return rc;
    }
    cbor_expect_array(&r, 6);
    row.replica = cbor_get_uint(&r, UINT64_MAX);
    row.index = cbor_get_uint(&r, UINT64_MAX);
    row.term = cbor_get_uint(&r, UINT64_MAX);
    row.stamp_ms = cbor_get_uint(&r, UINT64_MAX);
    rc = get_config(&r, &row.config);
    if (rc || cbor_finish(&r)) {
        return ERR_CORRUPT;
    }
    *out = row;
    return 0;
}
