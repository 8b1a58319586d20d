/* Placement: the pure function member table -> for each arc, the ordered list of nodes that should serve it.
 * Consistent hashing (Karger et al. 1997) in its rendezvous form (Thaler, Ravishankar 1998): each node offers itself to
 * arcs in proportion to its capacity, an arc takes the offers nearest to its first position, from separate zones while
 * there are enough, and loads are bounded (Mirrokni et al. 2018, c = 1.05). Deterministic: every node computes the same
 * table from the same rows, in integer arithmetic only. README.md explains the rule and what it promises. */
#ifndef SHOAL_PLACEMENT_H
#define SHOAL_PLACEMENT_H

#include "members.h"
#include "ring.h"

#define PLACEMENT_REPLICAS_MAX 7

struct placement;

/* min(replicas, serving members) nodes for each of the 2^bits arcs. ERR_INVALID for replicas 0 or > MAX; a table
 * without serving members gives empty lists. */
int placement_new(const struct members *members, unsigned bits, unsigned replicas, struct placement **ret_placement);
void placement_free(struct placement *p);
uint64_t placement_epoch(const struct placement *p);
/* The list of one arc, preferred leader first: returns its length, *ret_nodes points into p. */
unsigned placement_of(const struct placement *p, uint32_t arc, const uint32_t **ret_nodes);

#endif
