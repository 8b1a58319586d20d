/* The simulator's own counting of majorities, so that a mistake in the node's does not hide itself. */
#ifndef SHOAL_QUORUM_H
#define SHOAL_QUORUM_H

#include "raft.h"

/* Whether a majority of the voters has it, and in a joint configuration one of the old voters, too. */
bool quorum_has(const struct raft_config *c, bool (*has)(void *ctx, uint64_t id), void *ctx);

#endif
