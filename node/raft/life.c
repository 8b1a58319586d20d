/* Birth from what the disk holds, and the views the host has of a group. */
#include <stdlib.h>

#include "raft_internal.h"

static int load_entry(struct raft *r, struct raft_entry *e) {
    if (e->index != raft_log_last(&r->log) + 1 || e->term < raft_log_last_term(&r->log) || e->term > r->hard.term ||
        e->kind > RAFT_ENTRY_CONFIG || e->size > RAFT_ENTRY_MAX) {
        return ERR_CORRUPT;
    }
    if (e->kind == RAFT_ENTRY_CONFIG) {
        struct raft_config config;
        if (raft_config_from_entry(e, &config) != 0) {
            return ERR_CORRUPT;
        }
        int rc = raft_chain_push(&r->chain, &config);
        if (rc != 0) {
            return rc;
        }
    }
    int rc = raft_log_push(&r->log, raft_entry_ref(e));
    if (rc != 0) {
        raft_entry_unref(e);
    }
    return rc;
}

static int check_start(const struct raft_start *start) {
    const struct raft_config *config = start->base_config;
    if (start->base_index > RAFT_INDEX_MAX || start->hard.term > RAFT_TERM_MAX || start->base_term > start->hard.term ||
        config->index > start->base_index) {
        return ERR_CORRUPT;
    }
    if (config->count > 0 && raft_config_check(config) != 0) {
        return ERR_CORRUPT;
    }
    return start->applied < start->base_index ? ERR_CORRUPT : 0;
}

static int load(struct raft *r, const struct raft_start *start) {
    int rc = check_start(start);
    for (size_t i = 0; i < start->entry_count && rc == 0; i++) {
        rc = load_entry(r, start->entries[i]);
    }
    if (rc == 0 && start->applied > raft_log_last(&r->log)) {
        rc = ERR_CORRUPT;
    }
    return rc;
}

int raft_new(const struct raft_start *start, struct raft **ret_raft) {
    CHECK(start->self != 0);
    CHECK(start->timing.heartbeat_ms > 0);
    CHECK(start->timing.election_max_ms > start->timing.election_min_ms);
    CHECK(start->timing.lease_ms < start->timing.election_min_ms);
    struct raft *r = calloc(1, sizeof *r);
    if (!r) {
        return ERR_NOMEM;
    }
    r->self = start->self;
    r->timing = start->timing;
    r->nodes = start->nodes;
    r->stays_joint = start->stays_joint;
    r->hard = start->hard;
    r->now_ms = start->now_ms;
    r->random = start->random;
    r->log.base_index = start->base_index;
    r->log.base_term = start->base_term;
    int rc = raft_chain_init(&r->chain, start->base_config);
    if (rc == 0) {
        rc = load(r, start);
    }
    if (rc != 0) {
        raft_free(r);
        return rc;
    }
    r->commit = r->applied = start->applied;
    raft_chain_commit(&r->chain, r->commit);
    r->durable.index = raft_log_last(&r->log);
    if (r->hard.term > 0 && !raft_config_only_voter(raft_chain_effective(&r->chain), r->self)) {
        r->sticky_ms = r->now_ms + r->timing.election_min_ms; /* to a leader of which it knew before the restart */
    }
    raft_draw_timeout(r);
    *ret_raft = r;
    return 0;
}

void raft_free(struct raft *r) {
    if (!r) {
        return;
    }
    raft_log_release(&r->log);
    raft_chain_release(&r->chain);
    raft_durable_release(&r->durable);
    raft_reads_release(&r->reads);
    raft_peers_release(r);
    free(r);
}

struct raft_hard raft_hard(const struct raft *r) {
    return r->hard;
}

uint64_t raft_durable(const struct raft *r) {
    return r->durable.index;
}

uint64_t raft_log_bytes(const struct raft *r) {
    return r->log.bytes;
}

void raft_base(const struct raft *r, uint64_t *ret_index, uint64_t *ret_term, const struct raft_config **ret_config) {
    *ret_index = r->log.base_index;
    *ret_term = r->log.base_term;
    *ret_config = raft_chain_base(&r->chain);
}

struct raft_entry *raft_entry_at(const struct raft *r, uint64_t index) {
    return raft_log_at(&r->log, index);
}

const struct raft_config *raft_config(const struct raft *r) {
    return raft_chain_effective(&r->chain);
}

const struct raft_config *raft_config_committed(const struct raft *r) {
    CHECK(r->chain.committed != NULL);
    return &r->chain.committed->config;
}

static void status_of_peers(const struct raft *r, struct raft_status *out) {
    const struct raft_config *config = raft_chain_effective(&r->chain);
    CHECK(r->peer_count <= RAFT_REPLICAS_MAX);
    for (size_t i = 0; i < r->peer_count; i++) {
        const struct raft_peer *p = &r->peers[i];
        const struct raft_replica *row = raft_config_find(config, p->id);
        CHECK(row != NULL);
        out->progress[out->progress_count++] = (struct raft_progress){
            .id = p->id,
            .node = p->node,
            .flags = row->flags,
            .match = p->match,
            .active = raft_peer_active(r, p),
            .snapshot = p->state == RAFT_PEER_SNAPSHOT,
        };
    }
}

void raft_status(const struct raft *r, struct raft_status *out) {
    *out = (struct raft_status){
        .role = r->role,
        .self = r->self,
        .term = r->hard.term,
        .leader = r->leader,
        .leader_node = r->leader_node,
        .trusts = raft_follower_trusts(r),
        .commit = r->commit,
        .applied = r->applied,
        .first = r->log.base_index + 1,
        .last = raft_log_last(&r->log),
        .log_bytes = r->log.bytes,
        .own_term_committed = raft_own_term_committed(r),
        .handing_over = r->role == RAFT_LEADER && r->transfer_to != 0,
    };
    status_of_peers(r, out);
}
