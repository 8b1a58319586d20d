#include <string.h>

#include "check.h"
#include "errors.h"
#include "fields.h"
#include "peer.h"
#include "ring.h"

#define CENSUS_REQUEST_FIELDS 1
#define CENSUS_FIELDS 7
#define CENSUS_LED_MAX (((size_t)1 << RING_BITS_MAX) / 8 + 1) /* a bit for every arc, and one for the root */

void census_request_encode(uint32_t node, struct buf *out) {
    CHECK(node != 0);
    cbor_put_array(out, CENSUS_REQUEST_FIELDS);
    cbor_put_uint(out, node);
}

int census_request_decode(const uint8_t *bytes, size_t size, uint32_t *ret_node) {
    struct cbor_reader r;
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, CENSUS_REQUEST_FIELDS);
    uint32_t node = field_get_u32(&r);
    field_require(&r, node != 0);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *ret_node = node;
    }
    return rc;
}

void census_encode(const struct census *c, struct buf *out) {
    CHECK(c->listed <= CENSUS_LISTED_MAX && c->listed <= c->stranded);
    CHECK(c->led_size <= CENSUS_LED_MAX);
    cbor_put_array(out, CENSUS_FIELDS);
    cbor_put_uint(out, c->epoch);
    cbor_put_bool(out, c->heard);
    cbor_put_uint(out, c->named);
    cbor_put_uint(out, c->stuck);
    cbor_put_uint(out, c->stranded);
    cbor_put_array(out, c->listed);
    for (uint32_t i = 0; i < c->listed; i++) {
        cbor_put_uint(out, c->groups[i]);
    }
    cbor_put_bytes(out, c->led, c->led_size);
}

int census_decode(const uint8_t *bytes, size_t size, struct census *out) {
    struct cbor_reader r;
    struct census c = {0};
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, CENSUS_FIELDS);
    c.epoch = cbor_get_uint(&r, UINT64_MAX);
    c.heard = cbor_get_bool(&r);
    c.named = field_get_u32(&r);
    c.stuck = (uint32_t)cbor_get_uint(&r, c.named);
    c.stranded = (uint32_t)cbor_get_uint(&r, c.named);
    c.listed = (uint32_t)cbor_get_array(&r, CENSUS_LISTED_MAX);
    field_require(&r, c.listed <= c.stranded);
    for (uint32_t i = 0; i < c.listed && !r.error; i++) {
        c.groups[i] = field_get_u32(&r);
    }
    c.led = cbor_get_bytes(&r, CENSUS_LED_MAX, &c.led_size);
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = c;
    }
    return rc;
}
