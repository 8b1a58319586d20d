/* The leader's picture of each replica: what it holds, what is under way to it, and in which manner it is fed. */
#include <stdlib.h>

#include "raft_internal.h"

static void flights_clear(struct raft_peer *p) {
    if (p->flights) {
        p->flights->head = p->flights->count = 0;
        p->flights->bytes = 0;
    }
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
    p->commit_known = 0; /* who has to be asked may have forgotten */
    flights_clear(p);
}

void raft_peer_replicate(struct raft_peer *p) {
    p->state = RAFT_PEER_REPLICATE;
    p->next = p->match + 1;
    p->poke = false;
    p->mark_round = 0;
    flights_clear(p);
}

void raft_peer_snapshot(struct raft_peer *p) {
    CHECK(p->state != RAFT_PEER_SNAPSHOT);
    p->state = RAFT_PEER_SNAPSHOT;
    p->poke = false;
    p->mark_round = 0;
    flights_clear(p);
}

bool raft_peer_may_fly(struct raft_peer *p) {
    if (!p->flights) {
        p->flights = calloc(1, sizeof *p->flights);
    }
    const struct raft_flights *f = p->flights;
    return f && f->count < RAFT_INFLIGHT_MAX && f->bytes < RAFT_INFLIGHT_BYTES_MAX;
}

void raft_peer_flies(struct raft_peer *p, uint64_t last, size_t bytes) {
    struct raft_flights *f = p->flights;
    CHECK(f && f->count < RAFT_INFLIGHT_MAX);
    CHECK(bytes <= UINT32_MAX);
    uint32_t at = (f->head + f->count) % RAFT_INFLIGHT_MAX;
    f->slots[at].last = last;
    f->slots[at].bytes = (uint32_t)bytes;
    f->count++;
    f->bytes += bytes;
}

static void flights_land(struct raft_peer *p, uint64_t match) {
    struct raft_flights *f = p->flights;
    while (f && f->count > 0 && f->slots[f->head].last <= match) {
        CHECK(f->bytes >= f->slots[f->head].bytes);
        f->bytes -= f->slots[f->head].bytes;
        f->head = (f->head + 1) % RAFT_INFLIGHT_MAX;
        f->count--;
    }
}

void raft_peer_accepted(struct raft_peer *p, uint64_t match, uint64_t base) {
    if (match < p->match) {
        return; /* overtaken by a later acknowledgement */
    }
    p->match = match;
    flights_land(p, match);
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
    size_t others = config->count - (raft_config_find(config, r->self) ? 1 : 0);
    struct raft_peer *peers = others > 0 ? calloc(others, sizeof *peers) : NULL;
    if (!peers && others > 0) {
        return ERR_NOMEM;
    }
    size_t count = 0;
    for (uint32_t i = 0; i < config->count; i++) {
        const struct raft_replica *row = &config->replicas[i];
        if (row->id == r->self) {
            continue;
        }
        CHECK(peers && count < others);
        struct raft_peer *before = raft_peer_find(r, row->id);
        if (before) {
            peers[count++] = *before;
            before->flights = NULL; /* moved */
        } else {
            raft_peer_init(&peers[count++], row, raft_log_last(&r->log) + 1, r->now_ms);
        }
    }
    CHECK(count == others);
    raft_peers_release(r);
    r->peers = peers;
    r->peer_count = count;
    return 0;
}

void raft_peers_land(struct raft *r) {
    for (size_t i = 0; i < r->peer_count; i++) {
        struct raft_peer *p = &r->peers[i];
        if (p->flights && p->flights->count == 0) {
            free(p->flights);
            p->flights = NULL;
        }
    }
}

void raft_peers_release(struct raft *r) {
    for (size_t i = 0; i < r->peer_count; i++) {
        free(r->peers[i].flights);
    }
    free(r->peers);
    r->peers = NULL;
    r->peer_count = 0;
}
