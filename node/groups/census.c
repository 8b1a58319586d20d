/* What the groups led here say about one member: does anything still depend on it? */
#include "internal.h"

static bool holds_node(const struct raft_config *c, uint32_t node) {
    return raft_config_find_node(c, node) != NULL;
}

/* Also a configuration that is not committed yet counts, and one that is being replaced. */
static bool names(const struct replica *r, uint32_t node) {
    return holds_node(raft_config(r->raft), node) || holds_node(raft_config_committed(r->raft), node);
}

/* Every node of the goal that lives has its vote already, but not every node of the goal lives. */
static bool stuck(const struct replica *r) {
    const struct raft_config *c = raft_config(r->raft);
    const uint32_t *goal;
    unsigned count = groups_placed(r->groups, r->group, &goal);
    bool dead = false;
    for (unsigned i = 0; i < count; i++) {
        const struct raft_replica *row = raft_config_find_node(c, goal[i]);
        bool alive = peers_alive(r->groups->params.peers, goal[i]);
        if (alive && !(row && (row->flags & RAFT_VOTER))) {
            return false;
        }
        dead = dead || !alive;
    }
    return dead;
}

static bool majority_without(const struct replica *r, uint32_t node, uint8_t flag) {
    const struct raft_config *c = raft_config(r->raft);
    uint32_t voters = 0, alive = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct raft_replica *row = &c->replicas[i];
        if (row->flags & flag) {
            voters++;
            alive += row->node != node && peers_alive(r->groups->params.peers, row->node);
        }
    }
    return voters == 0 || alive * 2 > voters;
}

static void count_group(const struct replica *r, uint32_t node, struct census *out) {
    if (!names(r, node)) {
        return;
    }
    out->named++;
    out->stuck += stuck(r);
    if (majority_without(r, node, RAFT_VOTER) && majority_without(r, node, RAFT_VOTER_OLD)) {
        return;
    }
    out->stranded++;
    if (out->listed < CENSUS_LISTED_MAX) {
        out->groups[out->listed++] = r->group;
    }
}

void groups_census(const struct groups *g, uint32_t node, struct buf *space, struct census *out) {
    *out = (struct census){.epoch = g->members ? members_epoch(g->members) : 0,
                           .heard = peers_alive(g->params.peers, node)};
    size_t size = g->count / 8 + 1;
    uint8_t *led = buf_extend(space, size);
    if (!led) {
        return; /* leads nothing that anybody hears of */
    }
    memset(led, 0, size);
    for (uint32_t i = 0; i < g->count; i++) {
        const struct replica *r = g->replicas[i];
        struct raft_status st;
        if (!r || !r->leading) {
            continue;
        }
        raft_status(r->raft, &st);
        if (st.own_term_committed) { /* before that its configuration may be taken back */
            led[i / 8] |= (uint8_t)(1u << (i % 8));
            count_group(r, node, out);
        }
    }
    out->led = led;
    out->led_size = size;
}

void groups_replica_counts(const struct groups *g, uint32_t *counts, uint32_t size) {
    for (uint32_t i = 0; i < g->count; i++) {
        const struct route *route = routes_get(g->routes, i);
        for (uint8_t k = 0; k < route->count; k++) {
            if (route->nodes[k] < size) {
                counts[route->nodes[k]]++;
            }
        }
    }
}
