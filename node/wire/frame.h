/* Frames: a 4-byte big-endian length and that many bytes (one CBOR item), on both sealed peer streams and local
 * sockets. The reader keeps at most one partial frame and refuses a length over its limit before it takes any memory
 * for it; memory grows only with bytes that really arrived. */
#ifndef SHOAL_FRAME_H
#define SHOAL_FRAME_H

#include "buf.h"

#define FRAME_MAX (2 * 1024 * 1024)
#define FRAME_GUEST_MAX 4096 /* before a peer is known to be a member */

struct frame_reader {
    struct buf partial; /* length prefix included */
    size_t limit;       /* may be raised by the owner, up to FRAME_MAX */
};

typedef int frame_sink(void *ctx, const uint8_t *frame, size_t size);

void frame_reader_init(struct frame_reader *r, size_t limit);
void frame_reader_release(struct frame_reader *r);
/* Calls sink for every complete frame, in order; stops at its first error and returns it. ERR_PROTOCOL for a length of
 * 0 or over the limit. Whole frames inside `bytes` are passed without copying. The sink must not touch the reader;
 * after an error the stream is out of step, and only frame_reader_release is left. */
int frame_read(struct frame_reader *r, const uint8_t *bytes, size_t size, frame_sink *sink, void *ctx);

/* Writing: reserves the prefix, then frame_end fills it in. */
size_t frame_begin(struct buf *b);
void frame_end(struct buf *b, size_t mark); /* sets b->error ERR_TOO_LARGE when over FRAME_MAX */

#endif
