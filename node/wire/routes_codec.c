#include "check.h"
#include "errors.h"
#include "fields.h"
#include "peer.h"

#define BATCH_FIELDS 2 /* kind, array of routes */
#define ROUTE_FIELDS 5

static void put_route(struct buf *out, const struct group_route *r) {
    CHECK(r->route.count <= ROUTE_NODES_MAX);
    cbor_put_array(out, ROUTE_FIELDS);
    cbor_put_uint(out, r->group);
    cbor_put_uint(out, r->route.config);
    cbor_put_uint(out, r->route.term);
    cbor_put_uint(out, r->route.leader);
    field_put_nodes(out, r->route.nodes, r->route.count);
}

static void get_route(struct cbor_reader *r, struct group_route *out) {
    *out = (struct group_route){0};
    cbor_expect_array(r, ROUTE_FIELDS);
    out->group = field_get_u32(r);
    out->route.config = cbor_get_uint(r, UINT64_MAX);
    out->route.term = cbor_get_uint(r, UINT64_MAX);
    out->route.leader = field_get_u32(r);
    out->route.count = field_get_nodes(r, out->route.nodes);
}

void group_route_encode(const struct group_route *r, struct buf *out) {
    put_route(out, r);
}

int group_route_decode(const uint8_t *bytes, size_t size, struct group_route *out) {
    struct cbor_reader r;
    struct group_route route;
    cbor_reader_init(&r, bytes, size);
    get_route(&r, &route);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = route;
    }
    return rc;
}

void peer_routes_begin(struct raft_batch *b, struct buf *out) {
    *b = (struct raft_batch){.out = out, .mark = frame_begin(out)};
    cbor_put_array(out, BATCH_FIELDS);
    cbor_put_uint(out, PEER_ROUTES);
    b->count_at = out->size;
}

bool peer_routes_add(struct raft_batch *b, const struct group_route *r) {
    CHECK(b->count <= PEER_ROUTES_MAX);
    if (b->count == PEER_ROUTES_MAX) {
        return false;
    }
    put_route(b->out, r);
    b->count++;
    return true;
}

void peer_routes_end(struct raft_batch *b) {
    CHECK(b->count <= PEER_ROUTES_MAX);
    field_wrap_array(b->out, b->count_at, b->count);
    frame_end(b->out, b->mark);
}

int peer_routes_open(const uint8_t *frame, size_t size, struct routes_reader *out) {
    struct cbor_reader r;
    cbor_reader_init(&r, frame, size);
    cbor_expect_array(&r, BATCH_FIELDS);
    field_require(&r, cbor_get_uint(&r, PEER_KINDS - 1) == PEER_ROUTES);
    uint64_t count = cbor_get_array(&r, PEER_ROUTES_MAX);
    if (r.error) {
        return r.error;
    }
    CHECK(r.offset <= size);
    *out = (struct routes_reader){.bytes = frame, .size = size, .offset = r.offset, .left = count};
    return 0;
}

int peer_routes_next(struct routes_reader *rows, struct group_route *out) {
    CHECK(rows->offset <= rows->size);
    if (rows->left == 0) {
        return rows->offset == rows->size ? ERR_NOT_FOUND : ERR_PROTOCOL;
    }
    struct cbor_reader r;
    struct group_route route;
    cbor_reader_init(&r, rows->bytes + rows->offset, rows->size - rows->offset);
    get_route(&r, &route);
    if (r.error) {
        return r.error;
    }
    rows->offset += r.offset;
    rows->left--;
    *out = route;
    return 0;
}
