#include <string.h>

#include "check.h"
#include "chunks.h"
#include "machine_fields.h"
#include "machine_name.h"
#include "peer.h"
#include "placement.h"
#include "ring.h"

/* ---- names ---- */

void fields_put_name(struct buf *b, const struct name *n) {
    CHECK(n->bucket_size <= NAME_BUCKET_MAX);
    CHECK(n->key_size <= NAME_KEY_MAX);
    cbor_put_text(b, n->bucket, n->bucket_size);
    cbor_put_text(b, n->key, n->key_size);
}

static void get_bucket(struct cbor_reader *r, struct name *out) {
    size_t size = 0;
    const char *bucket = cbor_get_text(r, NAME_BUCKET_MAX, &size);
    field_require(r, !r->error && name_set_bucket(out, bucket, size) == 0);
}

void fields_get_name(struct cbor_reader *r, struct name *out) {
    size_t size = 0;
    *out = (struct name){0};
    get_bucket(r, out);
    const char *key = cbor_get_text(r, NAME_KEY_MAX, &size);
    field_require(r, !r->error && name_set_key(out, key, size) == 0);
}

void fields_get_prefix(struct cbor_reader *r, struct name *out) {
    *out = (struct name){0};
    get_bucket(r, out);
    fields_get_key(r, out->key, &out->key_size);
}

void fields_get_key(struct cbor_reader *r, char out[NAME_KEY_MAX + 1], size_t *ret_size) {
    size_t size = 0;
    const char *key = cbor_get_text(r, NAME_KEY_MAX, &size);
    CHECK(size <= NAME_KEY_MAX);
    if (size > 0) {
        memcpy(out, key, size);
    }
    out[size] = 0;
    *ret_size = size;
}

/* ---- versions, digests, chunks ---- */

void fields_put_version(struct buf *b, const struct version *v) {
    cbor_put_bytes(b, v->bytes, sizeof(v->bytes));
}

void fields_get_version(struct cbor_reader *r, struct version *out) {
    cbor_get_fixed(r, out->bytes, sizeof(out->bytes));
}

bool version_is_zero(const struct version *v) {
    static const struct version zero;
    return version_equal(v, &zero);
}

bool version_equal(const struct version *a, const struct version *b) {
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

void fields_put_digest(struct buf *b, const struct digest *d) {
    cbor_put_bytes(b, d->bytes, sizeof(d->bytes));
}

void fields_get_digest(struct cbor_reader *r, struct digest *out) {
    cbor_get_fixed(r, out->bytes, sizeof(out->bytes));
}

void fields_put_chunks(struct buf *b, const struct chunk_ref *chunks, uint32_t count) {
    CHECK(count <= COMMAND_CHUNKS_MAX);
    CHECK(chunks || count == 0);
    cbor_put_array(b, count);
    for (uint32_t i = 0; i < count; i++) {
        cbor_put_array(b, 2);
        fields_put_digest(b, &chunks[i].digest);
        cbor_put_uint(b, chunks[i].size);
    }
}

uint32_t fields_get_chunks(struct cbor_reader *r, struct chunk_ref *space) {
    uint32_t count = (uint32_t)cbor_get_array(r, COMMAND_CHUNKS_MAX);
    CHECK(count <= COMMAND_CHUNKS_MAX);
    for (uint32_t i = 0; i < count && !r->error; i++) {
        cbor_expect_array(r, 2);
        fields_get_digest(r, &space[i].digest);
        space[i].size = (uint32_t)cbor_get_uint(r, CHUNK_PLAIN_MAX);
    }
    return r->error ? 0 : count;
}

void fields_put_content(struct buf *b, const struct content *c, uint64_t size) {
    cbor_put_bool(b, c->is_inline);
    if (c->is_inline) {
        CHECK(size <= INLINE_MAX);
        cbor_put_bytes(b, c->bytes, (size_t)size);
        return;
    }
    fields_put_chunks(b, c->chunks, c->chunk_count);
}

static void get_inline(struct cbor_reader *r, uint64_t size, struct content *out) {
    size_t got = 0;
    out->bytes = cbor_get_bytes(r, INLINE_MAX, &got);
    field_require(r, got == size);
}

void fields_get_content(struct cbor_reader *r, uint64_t size, struct chunk_ref *space, struct content *out) {
    *out = (struct content){.is_inline = cbor_get_bool(r)};
    if (out->is_inline) {
        get_inline(r, size, out);
        return;
    }
    out->chunk_count = fields_get_chunks(r, space);
    out->chunks = space;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < out->chunk_count; i++) {
        sum += space[i].size;
    }
    field_require(r, out->chunk_count > 0 && sum == size);
}

/* ---- of the root ---- */

void fields_put_settings(struct buf *b, const struct swarm_settings *s) {
    CHECK(s->bits <= RING_BITS_MAX);
    CHECK(s->replicas > 0 && s->replicas <= PLACEMENT_REPLICAS_MAX);
    cbor_put_bytes(b, s->swarm, sizeof(s->swarm));
    cbor_put_uint(b, s->bits);
    cbor_put_uint(b, s->replicas);
}

void fields_get_settings(struct cbor_reader *r, struct swarm_settings *out) {
    cbor_get_fixed(r, out->swarm, sizeof(out->swarm));
    out->bits = (uint32_t)cbor_get_uint(r, RING_BITS_MAX);
    out->replicas = (uint32_t)cbor_get_uint(r, PLACEMENT_REPLICAS_MAX);
    field_require(r, out->replicas > 0);
}

void fields_get_last_member(struct cbor_reader *r, struct member *out) {
    CHECK(r->offset <= r->size);
    *out = (struct member){0};
    int rc = r->error ? r->error : member_row_decode(r->bytes + r->offset, r->size - r->offset, out);
    field_require(r, rc == 0);
    if (rc == 0) {
        r->offset = r->size;
    }
}
