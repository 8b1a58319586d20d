#include "ring.h"

#include "check.h"
#include "errors.h"

#define POSITION_BITS 64

uint64_t ring_position(const struct digest *d) {
    CHECK(d != NULL);
    uint64_t position = 0;
    for (unsigned i = 0; i < sizeof position; i++)
        position = position << 8 | d->bytes[i];
    return position;
}

uint32_t ring_arc(uint64_t position, unsigned bits) {
    CHECK(bits <= RING_BITS_MAX);
    /* A shift by the full width is undefined in C, so the ring of one arc is its own case. */
    return bits == 0 ? 0 : (uint32_t)(position >> (POSITION_BITS - bits));
}

void ring_arc_range(uint32_t arc, unsigned bits, uint64_t *ret_first, uint64_t *ret_last) {
    CHECK(bits <= RING_BITS_MAX);
    CHECK(arc < UINT32_C(1) << bits);
    uint64_t first = bits == 0 ? 0 : (uint64_t)arc << (POSITION_BITS - bits);
    *ret_first = first;
    *ret_last = first | (UINT64_MAX >> bits);
}

int ring_bits_of(uint64_t arcs, unsigned *ret_bits) {
    CHECK(ret_bits != NULL);
    for (unsigned bits = 0; bits <= RING_BITS_MAX; bits++) {
        if (arcs == UINT64_C(1) << bits) {
            *ret_bits = bits;
            return 0;
        }
    }
    return ERR_INVALID;
}
