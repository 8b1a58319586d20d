/* Where copies of chunks are, so that no fault takes the last good one of something a user may have been promised. */
#ifndef SHOAL_COPIES_H
#define SHOAL_COPIES_H

#include "swarm.h"

/* The first chunk after `from`, all around, of which this host has a good copy that can be spared: good copies on the
 * disks of a majority of the voters are left. False: there is none. */
bool copies_spare(struct swarm *w, uint32_t host, const struct digest *from, struct digest *ret_found);
/* Whether everything this host holds can be spared: each group it votes in has its quorum without it, whose disks hold
 * all that was committed and all its chunks, and nothing is about to change that. */
bool copies_spare_host(struct swarm *w, uint32_t host);
/* The host of the member of that number; 0: there is none. */
uint32_t copies_host(const struct swarm *w, uint32_t node);

#endif
