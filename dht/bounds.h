/* Bounds: how far the load of a node may be from its share. Internal to dht/. */
#ifndef SHOAL_BOUNDS_H
#define SHOAL_BOUNDS_H

#include <stdint.h>

/* In arcs; low <= fair <= high. */
struct bounds {
    uint32_t low;  /* below it the node is given more, */
    uint32_t fair; /* others are not moved past this one while they can be kept from it, */
    uint32_t high; /* and above it the node gives some away */
};

/* For a node that should hold `share` (as in shares.h) of 2^bits arcs. */
struct bounds bounds_of(uint64_t share, unsigned bits, uint64_t seed);

#endif
