/* Which groups a node leads, among those that the receiver has a replica of: [kind, first, [gap, term, ...], last].
 * The list covers the groups first..last; rows rise, and each says how many groups lie between it and the one before.
 */
#include "check.h"
#include "errors.h"
#include "fields.h"
#include "peer.h"

#define LED_FIELDS 4

void peer_led_begin(struct led_batch *b, struct buf *out, uint32_t first) {
    *b = (struct led_batch){.out = out, .mark = frame_begin(out), .next = first};
    cbor_put_array(out, LED_FIELDS);
    cbor_put_uint(out, PEER_LED);
    cbor_put_uint(out, first);
    b->count_at = out->size;
}

bool peer_led_add(struct led_batch *b, uint32_t group, uint64_t term) {
    CHECK(group >= b->next);
    CHECK(b->count <= PEER_LED_MAX);
    if (b->count == PEER_LED_MAX) {
        return false;
    }
    cbor_put_uint(b->out, group - b->next);
    cbor_put_uint(b->out, term);
    b->next = group + 1;
    b->count++;
    return true;
}

void peer_led_end(struct led_batch *b, uint32_t last) {
    CHECK(b->count == 0 || last >= b->next - 1);
    field_wrap_array(b->out, b->count_at, 2 * (uint64_t)b->count);
    cbor_put_uint(b->out, last);
    frame_end(b->out, b->mark);
}

static void get_row(struct cbor_reader *r, uint32_t next, uint32_t *ret_group, uint64_t *ret_term) {
    uint32_t gap = field_get_u32(r);
    *ret_term = cbor_get_uint(r, UINT64_MAX);
    field_require(r, gap <= UINT32_MAX - 1 - next); /* the group after it is still a number */
    *ret_group = next + (r->error ? 0 : gap);
}

/* The whole frame is looked at first: what is wrong at its end must not be found after its rows were believed. */
int peer_led_open(const uint8_t *frame, size_t size, struct led_reader *out) {
    struct cbor_reader r;
    struct led_reader rows = {.bytes = frame, .size = size};
    cbor_reader_init(&r, frame, size);
    cbor_expect_array(&r, LED_FIELDS);
    field_require(&r, cbor_get_uint(&r, PEER_KINDS - 1) == PEER_LED);
    rows.first = rows.next = field_get_u32(&r);
    uint64_t count = cbor_get_array(&r, 2 * (uint64_t)PEER_LED_MAX);
    field_require(&r, count % 2 == 0);
    rows.offset = r.offset;
    rows.left = (uint32_t)(count / 2);
    uint32_t next = rows.first;
    for (uint32_t i = 0; i < rows.left && !r.error; i++) {
        uint32_t group = 0;
        uint64_t term = 0;
        get_row(&r, next, &group, &term);
        next = group + 1;
    }
    rows.last = field_get_u32(&r);
    field_require(&r, rows.last >= rows.first && (rows.left == 0 || rows.last >= next - 1));
    int rc = cbor_finish(&r);
    if (rc == 0) {
        *out = rows;
    }
    return rc;
}

int peer_led_next(struct led_reader *rows, uint32_t *ret_group, uint64_t *ret_term) {
    struct cbor_reader r;
    if (rows->left == 0) {
        return ERR_NOT_FOUND;
    }
    cbor_reader_init(&r, rows->bytes + rows->offset, rows->size - rows->offset);
    get_row(&r, rows->next, ret_group, ret_term);
    CHECK(r.error == 0); /* read once already */
    rows->offset += r.offset;
    rows->next = *ret_group + 1;
    rows->left--;
    return 0;
}
