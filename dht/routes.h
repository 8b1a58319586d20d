/* Routes: what this node believes about who serves each group, newest configuration wins. Hints, never authority:
 * a replica that knows better answers `moved`. */
#ifndef SHOAL_ROUTES_H
#define SHOAL_ROUTES_H

#include <stdbool.h>
#include <stdint.h>

#define ROUTE_NODES_MAX 16

struct route {
    uint64_t config; /* index of the group's configuration entry; 0: nothing known */
    uint64_t term;   /* of the leader hint */
    uint32_t leader; /* node number, 0 when unknown */
    uint8_t count;   /* voters, both halves of a joint configuration */
    uint32_t nodes[ROUTE_NODES_MAX];
};

struct routes;

int routes_new(uint32_t groups, struct routes **ret_routes); /* group numbers 0 .. groups-1 */
void routes_free(struct routes *r);
const struct route *routes_get(const struct routes *r, uint32_t group); /* never NULL; group < groups is checked */
/* Takes what is newer: a larger config replaces the voters; a larger term (or an equal term with a leader where none
 * was known) replaces the leader. Returns whether anything changed. */
bool routes_learn(struct routes *r, uint32_t group, const struct route *heard);
/* A leader hint that turned out wrong (did not answer, or is not the leader any more). */
void routes_forget_leader(struct routes *r, uint32_t group, uint32_t node);

#endif
