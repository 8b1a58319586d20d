/* Shares: what part of all replicas each zone and each node should hold. Internal to dht/.
 *
 * A share is the chance that an arc has a replica there, in units of 2^-32: SHARE_ONE is "every arc". A zone's share
 * may pass SHARE_ONE: then some arcs have several replicas in it. All shares add up to replicas * SHARE_ONE, less
 * what rounding down loses. */
#ifndef SHOAL_SHARES_H
#define SHOAL_SHARES_H

#include <stddef.h>
#include <stdint.h>

#include "members.h"

#define SHARE_ONE (UINT64_C(1) << 32)

struct share_node {
    const struct member *row;
    uint32_t zone;   /* index into zones */
    uint64_t weight; /* capacity, scaled so that all products fit; at least 1 */
    uint64_t earned; /* share by weight alone; at most SHARE_ONE */
    uint64_t share;  /* after zones above one replica per arc gave to those below; at most SHARE_ONE */
};

struct share_zone {
    const char *name;
    uint64_t earned;
    uint64_t share;
    uint32_t first; /* its nodes: nodes[first .. first + count - 1] */
    uint32_t count;
    unsigned least; /* replicas of every arc: the whole part of share */
    unsigned most;  /* one more where share has a fraction */
};

struct shares {
    struct share_node *nodes; /* by zone name, then node number */
    struct share_zone *zones;
    uint32_t node_count;
    uint32_t zone_count;
};

/* The shares of all serving members for `replicas` copies of each arc; replicas <= number of serving members.
 * In each zone at least `most` nodes have a share; the sums of all `least` and of all `most` enclose `replicas`.
 * ERR_NOMEM leaves nothing behind. */
int shares_init(struct shares *s, const struct members *members, uint32_t serving, unsigned replicas);
void shares_release(struct shares *s);

#endif
