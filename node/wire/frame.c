#include "frame.h"

#include "check.h"
#include "errors.h"

#define PREFIX_SIZE 4
#define PARTIAL_KEEP (64 * 1024) /* memory an idle reader may hold on to */

void frame_reader_init(struct frame_reader *r, size_t limit) {
    CHECK(limit > 0);
    CHECK(limit <= FRAME_MAX);
    r->limit = limit;
    /* The owner may raise r->limit once it knows the peer, so the buffer has room for the largest frame there is. */
    buf_init(&r->partial, PREFIX_SIZE + FRAME_MAX);
}

void frame_reader_release(struct frame_reader *r) {
    buf_release(&r->partial);
}

/* What of the current frame is missing, as far as the bytes seen tell: the prefix first, then the frame. */
static int partial_missing(const struct frame_reader *r, size_t *ret_missing) {
    size_t have = r->partial.size;
    if (have < PREFIX_SIZE) {
        *ret_missing = PREFIX_SIZE - have;
        return 0;
    }
    size_t length = get_u32(r->partial.bytes);
    if (length == 0 || length > r->limit) {
        return ERR_PROTOCOL;
    }
    CHECK(have <= PREFIX_SIZE + length);
    *ret_missing = PREFIX_SIZE + length - have;
    return 0;
}

static int partial_deliver(struct frame_reader *r, frame_sink *sink, void *ctx) {
    CHECK(r->partial.size > PREFIX_SIZE);
    int rc = sink(ctx, r->partial.bytes + PREFIX_SIZE, r->partial.size - PREFIX_SIZE);
    if (r->partial.capacity > PARTIAL_KEEP) {
        buf_release(&r->partial);
    } else {
        buf_clear(&r->partial);
    }
    return rc;
}

/* Adds to the partial frame no more than it lacks, and delivers it when complete. */
static int partial_feed(struct frame_reader *r, const uint8_t *bytes, size_t size, size_t *ret_used, frame_sink *sink,
                        void *ctx) {
    size_t missing = 0;
    int rc = partial_missing(r, &missing);
    if (rc) {
        return rc;
    }
    CHECK(missing > 0);
    size_t take = missing < size ? missing : size;
    buf_append(&r->partial, bytes, take);
    if (r->partial.error) {
        return r->partial.error;
    }
    *ret_used = take;
    rc = partial_missing(r, &missing);
    if (rc || missing > 0) {
        return rc;
    }
    return partial_deliver(r, sink, ctx);
}

/* A frame that lies whole in the input, 0 when there is none. */
static size_t whole_frame(const struct frame_reader *r, const uint8_t *bytes, size_t size) {
    if (r->partial.size > 0 || size < PREFIX_SIZE) {
        return 0;
    }
    size_t length = get_u32(bytes);
    return length <= r->limit && length <= size - PREFIX_SIZE ? length : 0;
}

int frame_read(struct frame_reader *r, const uint8_t *bytes, size_t size, frame_sink *sink, void *ctx) {
    CHECK(r->limit > 0);
    CHECK(r->limit <= FRAME_MAX);
    int rc = 0;
    for (size_t at = 0; at < size && rc == 0;) {
        size_t length = whole_frame(r, bytes + at, size - at);
        if (length > 0) {
            rc = sink(ctx, bytes + at + PREFIX_SIZE, length);
            at += PREFIX_SIZE + length;
            continue;
        }
        size_t used = 0;
        rc = partial_feed(r, bytes + at, size - at, &used, sink, ctx);
        at += used;
    }
    return rc;
}

size_t frame_begin(struct buf *b) {
    size_t mark = b->size;
    uint8_t *prefix = buf_extend(b, PREFIX_SIZE);
    if (prefix) {
        put_u32(prefix, 0);
    }
    return mark;
}

void frame_end(struct buf *b, size_t mark) {
    if (b->error) {
        return;
    }
    CHECK(b->size > PREFIX_SIZE);
    CHECK(mark < b->size - PREFIX_SIZE);
    size_t length = b->size - PREFIX_SIZE - mark;
    if (length > FRAME_MAX) {
        b->error = ERR_TOO_LARGE;
        return;
    }
    put_u32(b->bytes + mark, (uint32_t)length);
}
