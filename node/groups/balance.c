/* Who leads: the first node of the placement's list that can. Every node hands over the groups that another should
 * lead, a few at a time, so that leaders spread as evenly as the placement does. A group on the move is left alone. */
#include "internal.h"

/* The replica that should lead instead of this one; 0: none, or not yet. */
static uint64_t heir(const struct replica *r, const struct raft_status *st) {
    const struct groups *g = r->groups;
    const struct raft_config *c = raft_config(r->raft);
    const uint32_t *nodes = NULL;
    uint64_t now = clock_now_ms(g->params.clock);
    unsigned count = groups_placed(g, r->group, &nodes);
    for (unsigned i = 0; i < count && nodes[i] != g->self; i++) {
        const struct raft_replica *row = raft_config_find_node(c, nodes[i]);
        if (!row || !(row->flags & RAFT_VOTER) || !peers_alive(g->params.peers, nodes[i])) {
            continue;
        }
        /* Soon it can: no need to hand over twice. */
        bool steady = now >= raft_nodes_since_ms(g->nodes, nodes[i]) + GROUPS_STEADY_MS;
        return steady && replica_caught_up(st, row->id) ? row->id : 0;
    }
    return 0;
}

/* Whether leadership of r is being handed over at the end. */
static bool balance(struct replica *r, bool may_start) {
    struct raft_status st;
    raft_status(r->raft, &st);
    if (st.handing_over || !may_start || r->unsettled) {
        return st.handing_over;
    }
    struct raft_event ev = {.kind = RAFT_EV_TRANSFER, .transfer = heir(r, &st)};
    return ev.transfer != 0 && replica_step(r, &ev) == 0;
}

void balance_fire(struct timer *t) {
    struct groups *g = (struct groups *)((char *)t - offsetof(struct groups, balancing));
    uint32_t under_way = 0;
    for (uint32_t k = 0; k < g->count; k++) {
        struct replica *r = g->replicas[k];
        if (r && r->leading && r->log_bytes > g->params.tuning.compact_bytes) {
            apply_compact(r); /* nothing may be applied here for long, and the others go by what all logs have */
        }
        if (r && r->leading) {
            under_way += balance(r, under_way < GROUPS_TRANSFERS_MAX);
        }
    }
    uint64_t pause = under_way ? GROUPS_HANDING_MS : GROUPS_BALANCE_MS;
    timer_start(g->params.timers, &g->balancing, clock_now_ms(g->params.clock) + pause);
}
