#include <string.h>

#include "check.h"
#include "machine_rows.h"
#include "ring.h"

#define POSITION_SIZE 8

_Static_assert(POSITION_SIZE + 1 + NAME_BUCKET_MAX + NAME_INDEX_KEY + DIGEST_SIZE + 5 <= TXN_KEY_MAX,
               "the longest key fits, also behind group and table in STAGE");

bool slice_equal(struct slice a, struct slice b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.bytes, b.bytes, a.size) == 0);
}

bool slice_starts(struct slice s, struct slice prefix) {
    return s.size >= prefix.size && (prefix.size == 0 || memcmp(s.bytes, prefix.bytes, prefix.size) == 0);
}

bool machine_arc_holds(const struct machine_arc *arc, uint64_t position) {
    CHECK(arc->root || arc->first <= arc->last);
    return !arc->root && position >= arc->first && position <= arc->last;
}

static void add_bytes(struct row_key *k, const void *bytes, size_t size) {
    CHECK(size <= sizeof(k->bytes) - k->size);
    memcpy(k->bytes + k->size, bytes, size);
    k->size += size;
}

static void add_u8(struct row_key *k, uint8_t v) {
    add_bytes(k, &v, sizeof(v));
}

static void add_u64(struct row_key *k, uint64_t v) {
    uint8_t bytes[8];
    put_u64(bytes, v);
    add_bytes(k, bytes, sizeof(bytes));
}

static void key_bucket(uint64_t position, const char *bucket, size_t bucket_size, struct row_key *out) {
    CHECK(bucket_size > 0 && bucket_size <= NAME_BUCKET_MAX);
    out->size = 0;
    add_u64(out, position);
    add_u8(out, (uint8_t)bucket_size);
    add_bytes(out, bucket, bucket_size);
}

void row_key_bucket(const char *bucket, size_t bucket_size, unsigned shard, struct row_key *out) {
    key_bucket(name_shard_position(bucket, bucket_size, shard), bucket, bucket_size, out);
}

void row_key_name(const struct name *n, struct row_key *out) {
    CHECK(n->key_size > 0 && n->key_size <= NAME_KEY_MAX);
    key_bucket(name_position(n), n->bucket, n->bucket_size, out);
    if (n->key_size <= NAME_INDEX_KEY) {
        add_bytes(out, n->key, n->key_size);
        return;
    }
    struct digest d;
    digest_of(n->key, n->key_size, &d);
    add_bytes(out, n->key, NAME_INDEX_KEY);
    add_bytes(out, d.bytes, sizeof(d.bytes));
}

void row_key_digest(const struct digest *d, struct row_key *out) {
    out->size = 0;
    add_bytes(out, d->bytes, sizeof(d->bytes));
}

void row_key_ref(const struct digest *d, const struct version *v, struct row_key *out) {
    row_key_digest(d, out);
    add_bytes(out, v->bytes, sizeof(v->bytes));
}

void row_key_version(uint64_t position, const struct version *v, struct row_key *out) {
    out->size = 0;
    add_u64(out, position);
    add_bytes(out, v->bytes, sizeof(v->bytes));
}

enum txn_table row_client_table(const struct machine_arc *arc) {
    return arc->root ? TABLE_ROOT : TABLE_CLIENTS;
}

void row_key_clients(const struct machine_arc *arc, struct row_key *out) {
    out->size = 0;
    if (arc->root) {
        add_u8(out, ROOT_CLIENT);
    } else {
        add_u64(out, arc->first);
    }
}

void row_key_client(const struct machine_arc *arc, uint64_t client, struct row_key *out) {
    row_key_clients(arc, out);
    add_u64(out, client);
}

void row_key_answer(const struct machine_arc *arc, uint64_t client, uint64_t seq, struct row_key *out) {
    row_key_client(arc, client, out);
    add_u64(out, seq);
}

void row_key_root(enum root_tag tag, const void *id, size_t id_size, struct row_key *out) {
    out->size = 0;
    add_u8(out, (uint8_t)tag);
    if (id_size > 0) {
        add_bytes(out, id, id_size);
    }
}

const enum txn_table *machine_tables(const struct machine_arc *arc, size_t *ret_count) {
    static const enum txn_table of_arc[] = {TABLE_NAMES, TABLE_REFS, TABLE_OUTBOX, TABLE_ABORTED, TABLE_CLIENTS};
    static const enum txn_table of_root[] = {TABLE_ROOT};
    *ret_count = arc->root ? sizeof(of_root) / sizeof(of_root[0]) : sizeof(of_arc) / sizeof(of_arc[0]);
    return arc->root ? of_root : of_arc;
}

void machine_range(const struct machine_arc *arc, struct row_key *ret_first, struct row_key *ret_last) {
    ret_first->size = 0;
    ret_last->size = 0;
    if (arc->root) {
        add_u8(ret_first, 0);
        add_u8(ret_last, UINT8_MAX);
        return;
    }
    CHECK(arc->first <= arc->last);
    add_u64(ret_first, arc->first);
    add_u64(ret_last, arc->last);
}
