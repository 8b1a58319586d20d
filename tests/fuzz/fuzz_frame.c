/* However a byte stream is cut, the reader delivers the same frames and the same verdict. The first byte sets the
 * limit, the second the seed of the cuts, the rest is the stream. */
#include <string.h>

#include "check.h"
#include "digest.h"
#include "errors.h"
#include "frame.h"

#define PIECE_MAX 37

struct delivered {
    struct digest chain; /* of all frames so far */
    size_t frames;
    size_t bytes;
    size_t limit;
};

static int on_frame(void *ctx, const uint8_t *frame, size_t size) {
    struct delivered *d = ctx;
    CHECK(size > 0);
    CHECK(size <= d->limit);
    const struct digest_part parts[] = {{d->chain.bytes, sizeof(d->chain.bytes)}, {frame, size}};
    digest_of_parts(parts, 2, &d->chain);
    d->frames++;
    d->bytes += size;
    /* A frame may be refused by its receiver: the verdict is passed on. */
    return frame[0] == 0xff ? ERR_REFUSED : 0;
}

static int read_in_pieces(const uint8_t *bytes, size_t size, uint8_t seed, size_t limit, struct delivered *out) {
    struct frame_reader reader;
    int rc = 0;
    *out = (struct delivered){.limit = limit};
    frame_reader_init(&reader, limit);
    for (size_t at = 0; at < size && rc == 0;) {
        size_t piece = seed ? 1 + (at * seed + seed) % PIECE_MAX : size;
        piece = piece < size - at ? piece : size - at;
        rc = frame_read(&reader, bytes + at, piece, on_frame, out);
        CHECK(reader.partial.size <= 4 + limit);
        CHECK(reader.partial.capacity <= 64 + 2 * (at + piece));
        at += piece;
    }
    frame_reader_release(&reader);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    struct delivered whole;
    struct delivered pieces;
    size_t limit = 1 + (size_t)data[0] * 16;
    int rc = read_in_pieces(data + 2, size - 2, 0, limit, &whole);
    CHECK(read_in_pieces(data + 2, size - 2, (uint8_t)(data[1] | 1), limit, &pieces) == rc);
    CHECK(rc == 0 || rc == ERR_PROTOCOL || rc == ERR_REFUSED);
    CHECK(pieces.frames == whole.frames);
    CHECK(pieces.bytes == whole.bytes);
    CHECK(digest_equal(&pieces.chain, &whole.chain));
    return 0;
}
