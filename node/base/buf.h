/* A growing byte buffer with a limit and a sticky error: append everything, check once. */
#ifndef SHOAL_BUF_H
#define SHOAL_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *bytes;
    size_t size;
    size_t capacity;
    size_t limit; /* never grows past this */
    int error;    /* ERR_NOMEM or ERR_TOO_LARGE, sticky */
};

void buf_init(struct buf *b, size_t limit);
void buf_release(struct buf *b); /* leaves it empty and usable with the same limit */
void buf_clear(struct buf *b);   /* keeps the memory, clears the error */
void buf_append(struct buf *b, const void *bytes, size_t size);
/* Room for `size` > 0 more bytes, counted as used; NULL after an error. Valid until the next append. */
uint8_t *buf_extend(struct buf *b, size_t size);
void buf_drop_front(struct buf *b, size_t size);
/* Hands the memory over: *ret_bytes is to be free()d, NULL when nothing was appended or after an error. b is empty
 * afterwards; its error stays until buf_clear. */
void buf_detach(struct buf *b, uint8_t **ret_bytes, size_t *ret_size);

static inline void put_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void put_u32(uint8_t *p, uint32_t v) {
    put_u16(p, (uint16_t)(v >> 16));
    put_u16(p + 2, (uint16_t)v);
}
static inline void put_u64(uint8_t *p, uint64_t v) {
    put_u32(p, (uint32_t)(v >> 32));
    put_u32(p + 4, (uint32_t)v);
}
static inline uint16_t get_u16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t get_u32(const uint8_t *p) {
    return (uint32_t)get_u16(p) << 16 | get_u16(p + 2);
}
static inline uint64_t get_u64(const uint8_t *p) {
    return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}

#endif
