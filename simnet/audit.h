/* What must hold on the disks of a swarm that is whole and quiet: every replica of a group has the same state, where
 * the placement wants it; no reference without its chunk, no chunk without a reference, no reference to a version that
 * is not live, and no live version without its references; no row of an arc that its host does not serve. */
#ifndef SHOAL_AUDIT_H
#define SHOAL_AUDIT_H

#include "swarm.h"

/* True when all of it holds; otherwise the first trouble, as one line. Work may simply not be done yet: ask again
 * later, within a limit. */
bool audit_swarm(struct swarm *w, char *message, size_t message_size);
/* Bytes on all disks that no digest vouches for; reads every chunk, so asked once. */
bool audit_bytes(struct swarm *w, char *message, size_t message_size);

#endif
