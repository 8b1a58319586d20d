/* A CBOR (RFC 8949) writer and a reader with a sticky error, over libcbor's streaming encoder and decoder: no
 * allocation is driven by what the bytes claim. Deterministic encoding (RFC 8949 §4.2): definite lengths, shortest
 * integers; the reader refuses anything else, and tags and floats. */
#ifndef SHOAL_CODEC_H
#define SHOAL_CODEC_H

#include <stdbool.h>

#include "buf.h"

/* Hidden, because libcbor's item interface, which is not used here, exports functions by two of these names: its own
 * calls must go on finding its own. */
#pragma GCC visibility push(hidden)

/* Writing: appends to a struct buf, whose sticky error covers everything. */
void cbor_put_uint(struct buf *b, uint64_t v);
void cbor_put_int(struct buf *b, int64_t v);
void cbor_put_bytes(struct buf *b, const void *bytes, size_t size);
void cbor_put_text(struct buf *b, const char *text, size_t size);
void cbor_put_bool(struct buf *b, bool v);
void cbor_put_array(struct buf *b, uint64_t count);

struct cbor_reader {
    const uint8_t *bytes;
    size_t size;
    size_t offset;
    int error; /* ERR_PROTOCOL, sticky: every later read returns zeros */
};

void cbor_reader_init(struct cbor_reader *r, const void *bytes, size_t size);
uint64_t cbor_get_uint(struct cbor_reader *r, uint64_t max); /* error when larger than max */
int64_t cbor_get_int(struct cbor_reader *r);
/* Points into the input; at most max bytes. */
const uint8_t *cbor_get_bytes(struct cbor_reader *r, size_t max, size_t *ret_size);
void cbor_get_fixed(struct cbor_reader *r, void *out, size_t size); /* exactly size bytes; zeros on error */
/* Valid UTF-8 without NUL is required; points into the input, not terminated. */
const char *cbor_get_text(struct cbor_reader *r, size_t max, size_t *ret_size);
bool cbor_get_bool(struct cbor_reader *r);
uint64_t cbor_get_array(struct cbor_reader *r, uint64_t max); /* number of items that follow */
void cbor_expect_array(struct cbor_reader *r, uint64_t count);
/* The whole input was read and nothing was wrong: 0 or ERR_PROTOCOL. */
int cbor_finish(struct cbor_reader *r);

#pragma GCC visibility pop

#endif
