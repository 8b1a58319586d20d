/* Leaders: the order of each list. Internal to dht/. Its first node should lead the arc. */
#ifndef SHOAL_LEADERS_H
#define SHOAL_LEADERS_H

#include <stdint.h>

/* Orders the `arcs` lists of `length` indexes below `count`, each list without repetition, so that every node comes
 * first in about one of `length` lists that contain it. seeds[i] is the digest of node i. ERR_NOMEM leaves lists in
 * any order. */
int leaders_spread(const uint64_t *seeds, uint32_t count, uint32_t arcs, unsigned length, uint32_t *lists);

#endif
