/* The ring: a 64-bit circle of positions, cut into 2^bits equal arcs. */
#ifndef SHOAL_RING_H
#define SHOAL_RING_H

#include <stdint.h>

#include "digest.h"

#define RING_BITS_MAX 20 /* at most 1,048,576 arcs */
#define RING_BITS_DEFAULT 10

/* First 8 bytes, big-endian. */
uint64_t ring_position(const struct digest *d);
/* Which arc serves a position. bits may be 0: one arc. */
uint32_t ring_arc(uint64_t position, unsigned bits);
/* First and last position of an arc, both inclusive. */
void ring_arc_range(uint32_t arc, unsigned bits, uint64_t *ret_first, uint64_t *ret_last);
/* log2 of `arcs`, or ERR_INVALID when it is not a power of two within the limit. */
int ring_bits_of(uint64_t arcs, unsigned *ret_bits);

#endif
