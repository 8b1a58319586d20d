/* Apportion: gives each arc its replicas, distinct nodes from as many zones as shares allow, each node close to its
 * share. Internal to dht/; README.md says why it works this way. */
#ifndef SHOAL_APPORTION_H
#define SHOAL_APPORTION_H

#include <stdint.h>

#include "shares.h"

/* Picks `replicas` distinct nodes for each of the 2^bits arcs: ret_picks[arc * replicas + k] is an index into
 * s->nodes. seeds[i] is the digest of node i: it decides which arcs the node likes. Deterministic. ERR_NOMEM,
 * ERR_TOO_LARGE. */
int apportion(const struct shares *s, const uint64_t *seeds, unsigned bits, unsigned replicas, uint32_t *ret_picks);

/* A well-mixed 64-bit value of a 64-bit value: the finalizer of SplitMix64 (Steele, Lea, Flood 2014), a bijection. */
uint64_t mix64(uint64_t x);

#endif
