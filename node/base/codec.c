#include "codec.h"

#include <string.h>

#include "check.h"
#include "errors.h"

#define CBOR_HEAD_MAX 9 /* initial byte and a 64-bit argument: RFC 8949 §3 */
#define SIMPLE_FALSE 20
#define SIMPLE_TRUE 21

/* RFC 8949 §3.1; maps, tags and floats are not used. */
enum major { MAJOR_UINT = 0, MAJOR_NEGATIVE = 1, MAJOR_BYTES = 2, MAJOR_TEXT = 3, MAJOR_ARRAY = 4, MAJOR_SIMPLE = 7 };

/* The additional information of an initial byte (RFC 8949 §3): the argument itself, or how many bytes it takes. */
enum info { INFO_DIRECT_MAX = 23, INFO_8 = 24, INFO_16 = 25, INFO_32 = 26, INFO_64 = 27 };

/* ---- writing ---- */

/* The shortest head that carries the argument (RFC 8949 §4.2.1). */
static size_t write_head(uint8_t head[CBOR_HEAD_MAX], enum major major, uint64_t argument) {
    uint8_t initial = (uint8_t)((unsigned)major << 5);
    if (argument <= INFO_DIRECT_MAX) {
        head[0] = (uint8_t)(initial | argument);
        return 1;
    }
    if (argument <= UINT8_MAX) {
        head[0] = initial | INFO_8;
        head[1] = (uint8_t)argument;
        return 2;
    }
    if (argument <= UINT16_MAX) {
        head[0] = initial | INFO_16;
        put_u16(head + 1, (uint16_t)argument);
        return 3;
    }
    if (argument <= UINT32_MAX) {
        head[0] = initial | INFO_32;
        put_u32(head + 1, (uint32_t)argument);
        return 5;
    }
    head[0] = initial | INFO_64;
    put_u64(head + 1, argument);
    return CBOR_HEAD_MAX;
}

static void put_head(struct buf *b, enum major major, uint64_t argument) {
    uint8_t head[CBOR_HEAD_MAX];
    buf_append(b, head, write_head(head, major, argument));
}

void cbor_put_uint(struct buf *b, uint64_t v) {
    put_head(b, MAJOR_UINT, v);
}

void cbor_put_int(struct buf *b, int64_t v) {
    if (v >= 0) {
        put_head(b, MAJOR_UINT, (uint64_t)v);
    } else {
        put_head(b, MAJOR_NEGATIVE, (uint64_t)(-1 - v));
    }
}

void cbor_put_bytes(struct buf *b, const void *bytes, size_t size) {
    put_head(b, MAJOR_BYTES, size);
    buf_append(b, bytes, size);
}

void cbor_put_text(struct buf *b, const char *text, size_t size) {
    put_head(b, MAJOR_TEXT, size);
    buf_append(b, text, size);
}

void cbor_put_bool(struct buf *b, bool v) {
    put_head(b, MAJOR_SIMPLE, v ? SIMPLE_TRUE : SIMPLE_FALSE);
}

void cbor_put_array(struct buf *b, uint64_t count) {
    put_head(b, MAJOR_ARRAY, count);
}

/* ---- reading ---- */

/* The head at p, of which `left` > 0 bytes are there: how many it takes; 0 when it is cut off, not the shortest that
 * carries its argument, or of indefinite length. */
static size_t read_head(const uint8_t *p, size_t left, uint64_t *ret_argument) {
    unsigned info = p[0] & 0x1fU;
    if (info <= INFO_DIRECT_MAX) {
        *ret_argument = info;
        return 1;
    }
    if (info == INFO_8 && left >= 2) {
        *ret_argument = p[1];
        return p[1] > INFO_DIRECT_MAX ? 2 : 0;
    }
    if (info == INFO_16 && left >= 3) {
        *ret_argument = get_u16(p + 1);
        return *ret_argument > UINT8_MAX ? 3 : 0;
    }
    if (info == INFO_32 && left >= 5) {
        *ret_argument = get_u32(p + 1);
        return *ret_argument > UINT16_MAX ? 5 : 0;
    }
    if (info == INFO_64 && left >= CBOR_HEAD_MAX) {
        *ret_argument = get_u64(p + 1);
        return *ret_argument > UINT32_MAX ? CBOR_HEAD_MAX : 0;
    }
    return 0;
}

static bool next_is(const struct cbor_reader *r, enum major major) {
    CHECK(r->offset <= r->size);
    return !r->error && r->offset < r->size && r->bytes[r->offset] >> 5 == (int)major;
}

/* The argument of the next item, which must be of this type and carry at most max; 0 after an error. */
static uint64_t get_argument(struct cbor_reader *r, enum major major, uint64_t max) {
    uint64_t argument = 0;
    size_t read = next_is(r, major) ? read_head(r->bytes + r->offset, r->size - r->offset, &argument) : 0;
    if (read == 0 || argument > max) {
        r->error = ERR_PROTOCOL;
        return 0;
    }
    r->offset += read;
    return argument;
}

void cbor_reader_init(struct cbor_reader *r, const void *bytes, size_t size) {
    CHECK(bytes || size == 0);
    *r = (struct cbor_reader){.bytes = bytes, .size = size};
}

uint64_t cbor_get_uint(struct cbor_reader *r, uint64_t max) {
    return get_argument(r, MAJOR_UINT, max);
}

int64_t cbor_get_int(struct cbor_reader *r) {
    bool negative = next_is(r, MAJOR_NEGATIVE);
    uint64_t argument = get_argument(r, negative ? MAJOR_NEGATIVE : MAJOR_UINT, INT64_MAX);
    if (r->error) {
        return 0;
    }
    return negative ? -1 - (int64_t)argument : (int64_t)argument;
}

static const uint8_t *get_string(struct cbor_reader *r, enum major major, size_t max, size_t *ret_size) {
    uint64_t size = get_argument(r, major, max);
    if (size > r->size - r->offset) {
        r->error = ERR_PROTOCOL;
    }
    *ret_size = r->error ? 0 : (size_t)size;
    if (r->error) {
        return NULL;
    }
    const uint8_t *bytes = r->bytes + r->offset;
    r->offset += *ret_size;
    return bytes;
}

const uint8_t *cbor_get_bytes(struct cbor_reader *r, size_t max, size_t *ret_size) {
    return get_string(r, MAJOR_BYTES, max, ret_size);
}

void cbor_get_fixed(struct cbor_reader *r, void *out, size_t size) {
    size_t got = 0;
    const uint8_t *bytes = get_string(r, MAJOR_BYTES, size, &got);
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
    const uint8_t *text = get_string(r, MAJOR_TEXT, max, ret_size);
    if (text && !text_valid(text, *ret_size)) {
        r->error = ERR_PROTOCOL;
        *ret_size = 0;
        return NULL;
    }
    return (const char *)text;
}

bool cbor_get_bool(struct cbor_reader *r) {
    uint64_t value = get_argument(r, MAJOR_SIMPLE, SIMPLE_TRUE);
    if (value < SIMPLE_FALSE) {
        r->error = ERR_PROTOCOL;
    }
    return value == SIMPLE_TRUE;
}

uint64_t cbor_get_array(struct cbor_reader *r, uint64_t max) {
    return get_argument(r, MAJOR_ARRAY, max);
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
