/* What a user was promised, looked for on the disks at the moment of the promise. */
#ifndef SHOAL_PROMISE_H
#define SHOAL_PROMISE_H

#include "swarm.h"

/* A file of this content and size was just said to be stored, and nobody has taken it away since: each of its chunks
 * lies on the disks of a majority of the voters of its group. Otherwise swarm_fail. */
void promise_check(struct swarm *w, uint64_t content, uint64_t size);

#endif
