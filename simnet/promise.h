/* What users were promised, looked for on the disks. */
#ifndef SHOAL_PROMISE_H
#define SHOAL_PROMISE_H

#include "history.h"
#include "swarm.h"

/* What was said to be stored last under a name, if nobody can have taken it away since: each of its chunks lies on the
 * disks of a majority of the voters of its group, whatever has moved since. Otherwise swarm_fail. */
void promise_check(struct swarm *w, const struct history *h, uint32_t name);
/* One name after the other, by the time; only those whose chunks are computed quickly. */
void promise_sample(struct swarm *w, const struct history *h);

#endif
