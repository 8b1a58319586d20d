/* The leader's picture of each replica: what it holds, what is under way to it, and in which manner it is fed. */
#include <stdlib.h>

#include "raft_internal.h"

static void inflight_clear(struct raft_peer *p) {
    p->inflight_head = p->inflight_count = 0;
}

void raft_peer_init(struct raft_peer *p, const struct raft_replica *row, uint64_t next, uint64_t now_ms) {
    CHECK(next > 0);
    *p = (struct raft_peer){
        .id = row->id, .node = row->node, .state = RAFT_PEER_PROBE, .next = next, .heard_ms = now_ms};
}

void raft_peer_probe(struct raft_peer *p, uint64_t next) {
    CHECK(next > p->match);
    p->state = RAFT_PEER_PROBE;
    p->next = next;
    p->probe_sent = p->probe_bare = p->poke = false;
    p->mark_round = 0;
    inflight_clear(p);
}

void raft_peer_replicate(struct raft_peer *p) {
    p->state = RAFT_PEER_REPLICATE;
    p->next = p->match + 1;
    p->poke = false;
    p->mark_round = 0;
    inflight_clear(p);
}

void raft_peer_snapshot(struct raft_peer *p) {
    CHECK(p->state != RAFT_PEER_SNAPSHOT);
    p->state = RAFT_PEER_SNAPSHOT;
    p->poke = false;
    p->mark_round = 0;
    inflight_clear(p);
}

bool raft_peer_inflight_full(const struct raft_peer *p) {
    CHECK(p->inflight_count <= RAFT_INFLIGHT_MAX);
    return p->inflight_count == RAFT_INFLIGHT_MAX;
}

void raft_peer_inflight_add(struct raft_peer *p, uint64_t last) {
    CHECK(!raft_peer_inflight_full(p));
    p->inflight[(p->inflight_head + p->inflight_count) % RAFT_INFLIGHT_MAX] = last;
    p->inflight_count++;
}

static void inflight_free_up_to(struct raft_peer *p, uint64_t match) {
    while (p->inflight_count > 0 && p->inflight[p->inflight_head] <= match) {
        p->inflight_head = (p->inflight_head + 1) % RAFT_INFLIGHT_MAX;
        p->inflight_count--;
    }
}

void raft_peer_accepted(struct raft_peer *p, uint64_t match, uint64_t base) {
    if (match < p->match) {
        return; /* overtaken by a later acknowledgement */
    }
    p->match = match;
    inflight_free_up_to(p, match);
    bool fed_by_log = p->state == RAFT_PEER_SNAPSHOT && match >= base;
    if (p->state == RAFT_PEER_PROBE || fed_by_log) {
        raft_peer_replicate(p);
    } else if (p->next <= match) {
        p->next = match + 1;
    }
    CHECK(p->next > p->match);
}

struct raft_peer *raft_peer_find(const struct raft *r, uint64_t id) {
    for (size_t i = 0; i < r->peer_count; i++) {
        if (r->peers[i].id == id) {
            return &r->peers[i];
        }
    }
    return NULL;
}

int raft_peers_rebuild(struct raft *r) {
    CHECK(r->role == RAFT_LEADER);
    const struct raft_config *config = raft_chain_effective(&r->chain);
    CHECK(config->count > 0);
    struct raft_peer *peers = calloc(config->count, sizeof *peers);
    if (!peers) {
        return ERR_NOMEM;
    }
    size_t count = 0;
    for (uint32_t i = 0; i < config->count; i++) {
        const struct raft_replica *row = &config->replicas[i];
        if (row->id == r->self) {
            continue;
        }
        const struct raft_peer *before = raft_peer_find(r, row->id);
        if (before) {
            peers[count++] = *before;
        } else {
            raft_peer_init(&peers[count++], row, raft_log_last(&r->log) + 1, r->now_ms);
        }
    }
    free(r->peers);
    r->peers = peers;
    r->peer_count = count;
    return 0;
}

void raft_peers_release(struct raft *r) {
    free(r->peers);
    r->peers = NULL;
    r->peer_count = 0;
}
