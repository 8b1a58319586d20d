/* The address a node tells the others when it listens on all of its machine's. */
#ifndef SHOAL_ADVERTISE_H
#define SHOAL_ADVERTISE_H

#include <stdbool.h>
#include <stddef.h>

#include "net_addr.h"

/* 0.0.0.0 or [::] */
bool addr_is_wildcard(const struct net_addr *addr);
/* The first address of a network interface that is up, not loopback and not link-local; loopback when there is none:
 * then the whole swarm is on this machine. IPv4 before IPv6 (a node on [::] takes both); for 0.0.0.0 only IPv4.
 * ERR_IO, ERR_TOO_LARGE. */
int advertise_guess(const struct net_addr *listen, char *out, size_t size);

#endif
