#include "codec.h"

#include <cbor/encoding.h>
#include <cbor/streaming.h>
#include <string.h>

#include "check.h"
#include "errors.h"

#define CBOR_HEAD_MAX 9 /* initial byte and a 64-bit argument: RFC 8949 §3 */

/* ---- writing ---- */

static void put_head(struct buf *b, const uint8_t head[CBOR_HEAD_MAX], size_t size) {
    CHECK(size > 0);
    CHECK(size <= CBOR_HEAD_MAX);
    buf_append(b, head, size);
}

void cbor_put_uint(struct buf *b, uint64_t v) {
    uint8_t head[CBOR_HEAD_MAX];
    put_head(b, head, cbor_encode_uint(v, head, sizeof(head)));
}

void cbor_put_int(struct buf *b, int64_t v) {
    uint8_t head[CBOR_HEAD_MAX];
    if (v >= 0) {
        cbor_put_uint(b, (uint64_t)v);
        return;
    }
    put_head(b, head, cbor_encode_negint((uint64_t)(-1 - v), head, sizeof(head)));
}

void cbor_put_bytes(struct buf *b, const void *bytes, size_t size) {
    uint8_t head[CBOR_HEAD_MAX];
    put_head(b, head, cbor_encode_bytestring_start(size, head, sizeof(head)));
    buf_append(b, bytes, size);
}

void cbor_put_text(struct buf *b, const char *text, size_t size) {
    uint8_t head[CBOR_HEAD_MAX];
    put_head(b, head, cbor_encode_string_start(size, head, sizeof(head)));
    buf_append(b, text, size);
}

void cbor_put_bool(struct buf *b, bool v) {
    uint8_t head[CBOR_HEAD_MAX];
    put_head(b, head, cbor_encode_bool(v, head, sizeof(head)));
}

void cbor_put_array(struct buf *b, uint64_t count) {
    uint8_t head[CBOR_HEAD_MAX];
    put_head(b, head, cbor_encode_array_start(count, head, sizeof(head)));
}

/* ---- reading: one call of the streaming decoder yields one item ---- */

enum item_kind { ITEM_REFUSED, ITEM_UINT, ITEM_NEGATIVE, ITEM_BYTES, ITEM_TEXT, ITEM_ARRAY, ITEM_BOOL };

struct item {
    enum item_kind kind;
    uint64_t argument;    /* value, length or count: what the head carries */
    const uint8_t *bytes; /* of BYTES and TEXT */
};

static void on_uint8(void *item, uint8_t v) {
    *(struct item *)item = (struct item){.kind = ITEM_UINT, .argument = v};
}
static void on_uint16(void *item, uint16_t v) {
    *(struct item *)item = (struct item){.kind = ITEM_UINT, .argument = v};
}
static void on_uint32(void *item, uint32_t v) {
    *(struct item *)item = (struct item){.kind = ITEM_UINT, .argument = v};
}
static void on_uint64(void *item, uint64_t v) {
    *(struct item *)item = (struct item){.kind = ITEM_UINT, .argument = v};
}
static void on_negint8(void *item, uint8_t v) {
    *(struct item *)item = (struct item){.kind = ITEM_NEGATIVE, .argument = v};
}
static void on_negint16(void *item, uint16_t v) {
    *(struct item *)item = (struct item){.kind = ITEM_NEGATIVE, .argument = v};
}
static void on_negint32(void *item, uint32_t v) {
    *(struct item *)item = (struct item){.kind = ITEM_NEGATIVE, .argument = v};
}
static void on_negint64(void *item, uint64_t v) {
    *(struct item *)item = (struct item){.kind = ITEM_NEGATIVE, .argument = v};
}
static void on_bytes(void *item, cbor_data bytes, size_t size) {
    *(struct item *)item = (struct item){.kind = ITEM_BYTES, .argument = size, .bytes = bytes};
}
static void on_text(void *item, cbor_data bytes, size_t size) {
    *(struct item *)item = (struct item){.kind = ITEM_TEXT, .argument = size, .bytes = bytes};
}
static void on_array(void *item, size_t count) {
    *(struct item *)item = (struct item){.kind = ITEM_ARRAY, .argument = count};
}
static void on_bool(void *item, bool v) {
    *(struct item *)item = (struct item){.kind = ITEM_BOOL, .argument = v};
}

/* The null callbacks leave the item ITEM_REFUSED. */
static const struct cbor_callbacks item_callbacks = {
    .uint8 = on_uint8,
    .uint16 = on_uint16,
    .uint32 = on_uint32,
    .uint64 = on_uint64,
    .negint8 = on_negint8,
    .negint16 = on_negint16,
    .negint32 = on_negint32,
    .negint64 = on_negint64,
    .byte_string_start = cbor_null_byte_string_start_callback,
    .byte_string = on_bytes,
    .string = on_text,
    .string_start = cbor_null_string_start_callback,
    .indef_array_start = cbor_null_indef_array_start_callback,
    .array_start = on_array,
    .indef_map_start = cbor_null_indef_map_start_callback,
    .map_start = cbor_null_map_start_callback,
    .tag = cbor_null_tag_callback,
    .float2 = cbor_null_float2_callback,
    .float4 = cbor_null_float4_callback,
    .float8 = cbor_null_float8_callback,
    .undefined = cbor_null_undefined_callback,
    .null = cbor_null_null_callback,
    .boolean = on_bool,
    .indef_break = cbor_null_indef_break_callback,
};

/* Bytes of the shortest head that carries the argument (RFC 8949 §4.2.1). */
static size_t shortest_head(const struct item *item) {
    if (item->kind == ITEM_BOOL || item->argument < 24) {
        return 1;
    }
    if (item->argument <= UINT8_MAX) {
        return 2;
    }
    if (item->argument <= UINT16_MAX) {
        return 3;
    }
    return item->argument <= UINT32_MAX ? 5 : 9;
}

static bool decode_item(const struct cbor_reader *r, enum item_kind wanted, struct item *out, size_t *ret_read) {
    size_t left = r->size - r->offset;
    if (left == 0) {
        return false;
    }
    struct cbor_decoder_result result = cbor_stream_decode(r->bytes + r->offset, left, &item_callbacks, out);
    if (result.status != CBOR_DECODER_FINISHED || out->kind != wanted) {
        return false;
    }
    CHECK(result.read <= left);
    *ret_read = result.read;
    return result.read - (out->bytes ? out->argument : 0) == shortest_head(out);
}

/* The next item, which must be of the wanted kind; zeros after an error. */
static struct item next_item(struct cbor_reader *r, enum item_kind wanted) {
    struct item item = {.kind = ITEM_REFUSED};
    size_t read = 0;
    CHECK(r->offset <= r->size);
    CHECK(wanted != ITEM_REFUSED);
    if (r->error || !decode_item(r, wanted, &item, &read)) {
        r->error = ERR_PROTOCOL;
        return (struct item){.kind = ITEM_REFUSED};
    }
    r->offset += read;
    return item;
}

void cbor_reader_init(struct cbor_reader *r, const void *bytes, size_t size) {
    CHECK(bytes || size == 0);
    *r = (struct cbor_reader){.bytes = bytes, .size = size};
}

/* The argument of the next item, which must be of the wanted kind and at most max; 0 after an error. */
static uint64_t get_argument(struct cbor_reader *r, enum item_kind wanted, uint64_t max) {
    struct item item = next_item(r, wanted);
    if (item.argument > max) {
        r->error = ERR_PROTOCOL;
        return 0;
    }
    return item.argument;
}

uint64_t cbor_get_uint(struct cbor_reader *r, uint64_t max) {
    return get_argument(r, ITEM_UINT, max);
}

int64_t cbor_get_int(struct cbor_reader *r) {
    /* Major type 1 is the only one whose initial byte is 0b001xxxxx. */
    bool negative = r->offset < r->size && r->bytes[r->offset] >> 5 == 1;
    uint64_t argument = get_argument(r, negative ? ITEM_NEGATIVE : ITEM_UINT, INT64_MAX);
    if (r->error) {
        return 0;
    }
    return negative ? -1 - (int64_t)argument : (int64_t)argument;
}

static const uint8_t *get_string(struct cbor_reader *r, enum item_kind wanted, size_t max, size_t *ret_size) {
    struct item item = next_item(r, wanted);
    if (item.argument > max) {
        r->error = ERR_PROTOCOL;
    }
    *ret_size = r->error ? 0 : (size_t)item.argument;
    return r->error ? NULL : item.bytes;
}

const uint8_t *cbor_get_bytes(struct cbor_reader *r, size_t max, size_t *ret_size) {
    return get_string(r, ITEM_BYTES, max, ret_size);
}

void cbor_get_fixed(struct cbor_reader *r, void *out, size_t size) {
    size_t got = 0;
    const uint8_t *bytes = get_string(r, ITEM_BYTES, size, &got);
    if (r->error || got != size) {
        r->error = ERR_PROTOCOL;
        memset(out, 0, size);
        return;
    }
    memcpy(out, bytes, size);
}

/* Length of the UTF-8 sequence at p, 0 when it is not one: the table of RFC 3629 §4, which leaves no overlong forms,
 * surrogates, or values past U+10FFFF. */
static size_t utf8_sequence(const uint8_t *p, size_t left) {
    uint8_t lead = p[0];
    if (lead < 0x80) {
        return 1;
    }
    size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (lead < 0xc2 || lead > 0xf4 || length > left) {
        return 0;
    }
    uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

static bool text_valid(const uint8_t *p, size_t size) {
    size_t at = 0;
    while (at < size) {
        size_t length = p[at] == 0 ? 0 : utf8_sequence(p + at, size - at);
        if (length == 0) {
            return false;
        }
        at += length;
    }
    CHECK(at == size);
    return true;
}

const char *cbor_get_text(struct cbor_reader *r, size_t max, size_t *ret_size) {
    const uint8_t *text = get_string(r, ITEM_TEXT, max, ret_size);
    if (text && !text_valid(text, *ret_size)) {
        r->error = ERR_PROTOCOL;
        *ret_size = 0;
        return NULL;
    }
    return (const char *)text;
}

bool cbor_get_bool(struct cbor_reader *r) {
    return get_argument(r, ITEM_BOOL, 1) == 1;
}

uint64_t cbor_get_array(struct cbor_reader *r, uint64_t max) {
    return get_argument(r, ITEM_ARRAY, max);
}

void cbor_expect_array(struct cbor_reader *r, uint64_t count) {
    if (cbor_get_array(r, count) != count) {
        r->error = ERR_PROTOCOL;
    }
}

int cbor_finish(struct cbor_reader *r) {
    if (r->offset != r->size) {
        r->error = ERR_PROTOCOL;
    }
    return r->error;
}
