#include "buf.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"

#define BUF_CAPACITY_MIN 64

void buf_init(struct buf *b, size_t limit) {
    *b = (struct buf){.limit = limit};
}

void buf_release(struct buf *b) {
    free(b->bytes);
    buf_init(b, b->limit);
}

void buf_clear(struct buf *b) {
    b->size = 0;
    b->error = 0;
}

/* Doubles, so that n appends cost O(n), but never past the limit. */
static void buf_reserve(struct buf *b, size_t needed) {
    CHECK(needed > b->capacity);
    CHECK(needed <= b->limit);
    size_t capacity = b->capacity > b->limit / 2 ? b->limit : b->capacity * 2;
    if (capacity < BUF_CAPACITY_MIN) {
        capacity = BUF_CAPACITY_MIN < b->limit ? BUF_CAPACITY_MIN : b->limit;
    }
    if (capacity < needed) {
        capacity = needed;
    }
    uint8_t *bytes = realloc(b->bytes, capacity);
    if (!bytes) {
        b->error = ERR_NOMEM;
        return;
    }
    b->bytes = bytes;
    b->capacity = capacity;
}

uint8_t *buf_extend(struct buf *b, size_t size) {
    CHECK(size > 0);
    CHECK(b->size <= b->capacity);
    CHECK(b->capacity <= b->limit);
    if (b->error) {
        return NULL;
    }
    if (size > b->limit - b->size) {
        b->error = ERR_TOO_LARGE;
        return NULL;
    }
    if (b->size + size > b->capacity) {
        buf_reserve(b, b->size + size);
    }
    if (b->error) {
        return NULL;
    }
    uint8_t *room = b->bytes + b->size;
    b->size += size;
    return room;
}

void buf_append(struct buf *b, const void *bytes, size_t size) {
    CHECK(bytes || size == 0);
    if (size == 0) {
        return;
    }
    uint8_t *room = buf_extend(b, size);
    if (room) {
        memcpy(room, bytes, size);
    }
}

void buf_drop_front(struct buf *b, size_t size) {
    CHECK(size <= b->size);
    b->size -= size;
    if (b->size > 0 && size > 0) {
        memmove(b->bytes, b->bytes + size, b->size);
    }
}

void buf_detach(struct buf *b, uint8_t **ret_bytes, size_t *ret_size) {
    if (b->error) {
        free(b->bytes);
        b->bytes = NULL;
        b->size = 0;
    }
    *ret_bytes = b->bytes;
    *ret_size = b->size;
    b->bytes = NULL;
    b->size = 0;
    b->capacity = 0;
}
