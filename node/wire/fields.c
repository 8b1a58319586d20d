#include "fields.h"

#include <limits.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "routes.h"

#define CONFIG_BYTES_MAX 1024 /* RAFT_REPLICAS_MAX rows of at most 17 bytes, and some */
#define HEAD_MAX 9

/* RFC 8949 §3.1: the top three bits of the initial byte. */
enum major { MAJOR_BYTES = 0x40, MAJOR_ARRAY = 0x80 };

void field_require(struct cbor_reader *r, bool holds) {
    if (!holds) {
        r->error = ERR_PROTOCOL;
    }
}

uint32_t field_get_u32(struct cbor_reader *r) {
    return (uint32_t)cbor_get_uint(r, UINT32_MAX);
}

void field_put_string(struct buf *b, const char *text) {
    cbor_put_text(b, text, strlen(text));
}

void field_get_string(struct cbor_reader *r, char *out, size_t capacity) {
    CHECK(capacity > 0);
    size_t size = 0;
    const char *text = cbor_get_text(r, capacity - 1, &size);
    CHECK(size < capacity);
    memset(out, 0, capacity);
    if (size > 0) {
        memcpy(out, text, size);
    }
}

void field_put_status(struct buf *b, int status) {
    CHECK(status <= 0);
    CHECK(err_known(status));
    cbor_put_int(b, status);
}

int field_get_status(struct cbor_reader *r) {
    int64_t status = cbor_get_int(r);
    if (status > 0 || status < INT_MIN || !err_known((int)status)) {
        r->error = ERR_PROTOCOL;
        return 0;
    }
    return (int)status;
}

void field_put_nodes(struct buf *b, const uint32_t *nodes, uint8_t count) {
    CHECK(count <= ROUTE_NODES_MAX);
    cbor_put_array(b, count);
    for (uint8_t i = 0; i < count; i++) {
        CHECK(nodes[i] != 0);
        cbor_put_uint(b, nodes[i]);
    }
}

uint8_t field_get_nodes(struct cbor_reader *r, uint32_t *nodes) {
    uint8_t count = (uint8_t)cbor_get_array(r, ROUTE_NODES_MAX);
    CHECK(count <= ROUTE_NODES_MAX);
    for (uint8_t i = 0; i < count; i++) {
        nodes[i] = field_get_u32(r);
        field_require(r, nodes[i] != 0);
        for (uint8_t j = 0; j < i; j++) {
            field_require(r, nodes[j] != nodes[i]);
        }
    }
    return r->error ? 0 : count;
}

void field_put_config(struct buf *b, const struct raft_config *c) {
    CHECK(c->count > 0);
    CHECK(c->count <= RAFT_REPLICAS_MAX);
    cbor_put_uint(b, c->index);
    size_t at = b->size;
    raft_config_encode(c, b);
    CHECK(b->size - at <= CONFIG_BYTES_MAX);
    field_wrap_bytes(b, at);
}

void field_get_config(struct cbor_reader *r, struct raft_config *out) {
    uint64_t index = cbor_get_uint(r, UINT64_MAX);
    size_t size = 0;
    const uint8_t *bytes = cbor_get_bytes(r, CONFIG_BYTES_MAX, &size);
    if (r->error) {
        return;
    }
    field_require(r, raft_config_decode(bytes, size, index, out) == 0 && out->count > 0);
}

/* Integers and lengths share the form of the head; only the major type differs. */
static void put_head(struct buf *b, enum major major, uint64_t argument) {
    size_t at = b->size;
    cbor_put_uint(b, argument);
    if (!b->error) {
        CHECK((b->bytes[at] & 0xe0) == 0);
        b->bytes[at] |= (uint8_t)major;
    }
}

void field_put_bytes_head(struct buf *b, size_t size) {
    put_head(b, MAJOR_BYTES, size);
}

size_t field_head_size(uint64_t argument) {
    if (argument < 24) {
        return 1;
    }
    if (argument <= UINT8_MAX) {
        return 2;
    }
    if (argument <= UINT16_MAX) {
        return 3;
    }
    return argument <= UINT32_MAX ? 5 : HEAD_MAX;
}

static void wrap(struct buf *b, size_t at, enum major major, uint64_t argument) {
    size_t end = b->size;
    CHECK(at <= end);
    put_head(b, major, argument);
    if (b->error || at == end) {
        return;
    }
    uint8_t head[HEAD_MAX];
    size_t head_size = b->size - end;
    CHECK(head_size <= HEAD_MAX);
    memcpy(head, b->bytes + end, head_size);
    memmove(b->bytes + at + head_size, b->bytes + at, end - at);
    memcpy(b->bytes + at, head, head_size);
}

void field_wrap_bytes(struct buf *b, size_t at) {
    CHECK(at <= b->size);
    wrap(b, at, MAJOR_BYTES, b->size - at);
}

void field_wrap_array(struct buf *b, size_t at, uint64_t count) {
    wrap(b, at, MAJOR_ARRAY, count);
}
