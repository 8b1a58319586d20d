/* How the nodes of a run are set up. Many seeds draw settings that make rare paths common: logs that are compacted at
 * once, so that followers need snapshots; snapshots in many small pieces; one move at a time; background work that
 * comes every few seconds. None of them may change what users are promised. */
#ifndef SHOAL_TUNING_H
#define SHOAL_TUNING_H

#include "node.h"

/* What a run needs at least: background work that waits for minutes or hours on real nodes comes often enough to be
 * seen. */
void tuning_usual(struct node_tuning *out);
/* The tuning of one host; the same at each of its starts. */
void tuning_draw(struct node_tuning *out, uint64_t seed, uint32_t host);
/* Whether the host's processor has AES instructions: in some runs all have, in some none, in others some. */
bool tuning_aes(uint64_t seed, uint32_t host);

#endif
