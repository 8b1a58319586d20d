#include "copies.h"

#include <stdlib.h>

#include "check.h"
#include "chunks.h"
#include "internal.h"
#include "ring.h"
#include "store.h"
#include "witness.h"

#define COPIES_TRIES 64 /* chunks looked at */

uint32_t copies_host(const struct swarm *w, uint32_t node) {
    for (uint32_t i = 0; i < w->count; i++) {
        if (w->nodes[i].number == node) {
            return i + 1;
        }
    }
    return 0;
}

static bool good_copy(struct swarm *w, uint32_t host, const struct digest *d, uint8_t *space) {
    struct txn *t;
    struct digest found;
    size_t size;
    CHECK(store_begin(sim_host_store(sim_host(w->sim, host), DISK_CHUNKS), false, &t) == 0);
    bool good = chunk_get(t, d, space, CHUNK_STORED_MAX, &size) == 0;
    store_abort(t);
    if (good) {
        digest_of(space, size, &found);
    }
    return good && digest_equal(&found, d);
}

/* Without this host's copy, a majority of the voters has one. */
static bool spare(struct swarm *w, uint32_t host, const struct digest *d, uint8_t *space) {
    const struct raft_config *c = witness_config(w->witness, 1 + ring_arc(ring_position(d), w->bits));
    uint32_t voters = 0, good = 0;
    if (c == NULL || raft_config_joint(c) || !good_copy(w, host, d, space)) {
        return false;
    }
    for (uint32_t i = 0; i < c->count; i++) {
        uint32_t other = copies_host(w, c->replicas[i].node);
        if ((c->replicas[i].flags & RAFT_VOTER) != 0) {
            voters++;
            good += other != 0 && other != host && good_copy(w, other, d, space);
        }
    }
    return good > voters / 2;
}

/* The chunk after d, or the first one. */
static bool next_chunk(struct txn *t, const struct digest *d, struct digest *ret_next) {
    return chunk_next(t, d, ret_next) == 0 || chunk_next(t, NULL, ret_next) == 0;
}

bool copies_spare(struct swarm *w, uint32_t host, const struct digest *from, struct digest *ret_found) {
    uint8_t *space = malloc(CHUNK_STORED_MAX);
    struct digest at = *from;
    struct txn *t;
    bool found = false;
    CHECK(space != NULL);
    CHECK(store_begin(sim_host_store(sim_host(w->sim, host), DISK_CHUNKS), false, &t) == 0);
    for (int i = 0; i < COPIES_TRIES && !found && next_chunk(t, &at, &at); i++) {
        found = spare(w, host, &at, space);
    }
    store_abort(t);
    free(space);
    if (found) {
        *ret_found = at;
    }
    return found;
}

/* ---- a whole host ------------------------------------------------------------------------------------------------ */

static bool chunks_spare(struct swarm *w, uint32_t host) {
    uint8_t *space = malloc(CHUNK_STORED_MAX);
    struct digest d, *after = NULL;
    struct txn *t;
    bool all = true;
    CHECK(space != NULL);
    CHECK(store_begin(sim_host_store(sim_host(w->sim, host), DISK_CHUNKS), false, &t) == 0);
    while (all && chunk_next(t, after, &d) == 0) {
        all = spare(w, host, &d, space);
        after = &d;
    }
    store_abort(t);
    free(space);
    return all;
}

/* The committed configuration is the only one there is, and all its voters but the host hold the whole log. */
static bool group_spares(struct swarm *w, uint32_t host, uint32_t group) {
    const struct raft_config *c = witness_config(w->witness, group);
    uint32_t voters = 0, whole = 0;
    bool concerned = false;
    if (c == NULL || raft_config_joint(c)) {
        return false;
    }
    for (uint32_t i = 0; i < c->count; i++) {
        uint32_t holder = copies_host(w, c->replicas[i].node);
        bool voter = (c->replicas[i].flags & RAFT_VOTER) != 0;
        concerned = concerned || holder == host;
        voters += voter;
        whole += voter && holder != 0 && holder != host && witness_whole(w->witness, holder, group);
    }
    return !concerned || (whole > voters / 2 && whole + 1 == voters);
}

static bool nothing_pends(struct swarm *w, uint32_t group) {
    const struct raft_config *c = witness_config(w->witness, group);
    for (uint32_t i = 0; c != NULL && i < w->count; i++) {
        const struct swarm_node *n = &w->nodes[i];
        struct groups_glance now;
        if (n->belongs && !n->left && !n->ready) {
            return false;
        }
        if (n->ready) {
            groups_glance(node_groups(n->node), group, &now);
            if (now.raft != NULL && raft_config(now.raft)->index > c->index) {
                return false;
            }
        }
    }
    return c != NULL;
}

bool copies_spare_host(struct swarm *w, uint32_t host) {
    for (uint32_t group = 0; group <= 1u << w->bits; group++) {
        if (!group_spares(w, host, group) || !nothing_pends(w, group)) {
            return false;
        }
    }
    return chunks_spare(w, host);
}
