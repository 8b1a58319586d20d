#include "quorum.h"

#include "check.h"

bool quorum_has(const struct raft_config *c, bool (*has)(void *ctx, uint64_t id), void *ctx) {
    uint32_t voters = 0, old_voters = 0, with = 0, old_with = 0;
    CHECK(c->count <= RAFT_REPLICAS_MAX);
    for (uint32_t i = 0; i < c->count; i++) {
        bool voter = (c->replicas[i].flags & RAFT_VOTER) != 0, old = (c->replicas[i].flags & RAFT_VOTER_OLD) != 0;
        bool there = (voter || old) && has(ctx, c->replicas[i].id);
        voters += voter;
        with += voter && there;
        old_voters += old;
        old_with += old && there;
    }
    return 2 * with > voters && (old_voters == 0 || 2 * old_with > old_voters);
}
