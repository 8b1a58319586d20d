/* Which nodes are heard, and what follows for the groups: one liveness per pair of nodes stands for the heartbeats of
 * all groups they share.
 *
 * A follower that trusts its leader's node could sleep on for ever if it were wrong about who leads. So every node
 * tells every other from time to time which groups it leads there; whoever expected more wakes up. */
#include "internal.h"

static void tell_replicas(struct groups *g, uint32_t node, bool alive) {
    for (uint32_t i = 0; g->running && i < g->count; i++) {
        if (g->replicas[i]) {
            struct raft_event ev = {.kind = RAFT_EV_NODE, .liveness = {.node = node, .alive = alive}};
            (void)replica_step(g->replicas[i], &ev);
        }
    }
}

void groups_peer_alive(struct groups *g, uint32_t node) {
    int rc = raft_nodes_set(g->nodes, node, true, clock_now_ms(g->params.clock));
    CHECK(rc == 0); /* bounded by MEMBERS_MAX */
    tell_replicas(g, node, true);
    reconcile_soon(g);
}

void groups_peer_lapsed(struct groups *g, uint32_t node, uint64_t heard_ms) {
    int rc = raft_nodes_set(g->nodes, node, false, heard_ms);
    CHECK(rc == 0);
    tell_replicas(g, node, false);
    calls_lapsed(g, node);
}

void groups_peer_opened(struct groups *g, uint32_t node) {
    if (!g->running) {
        return;
    }
    outgoing_announce_all(g, node);
    if (raft_nodes_alive(g->nodes, node)) {
        tell_replicas(g, node, true); /* what was said while there was no session is said again */
    }
    reconcile_soon(g);
}

void groups_peer_lost(struct groups *g, uint32_t node) {
    for (uint32_t i = 0; g->running && i < g->count; i++) {
        struct replica *r = g->replicas[i];
        if (r && r->leading) {
            struct raft_event ev = {.kind = RAFT_EV_UNREACHABLE, .node = node};
            (void)replica_step(r, &ev);
        }
    }
}

/* ---- the own disk ----------------------------------------------------------------------------------------------- */

void liveness_disk_begins(struct groups *g, enum watch_kind kind) {
    struct watch *w = &g->watches[kind];
    if (w->under_way++ == 0) {
        w->ms = clock_now_ms(g->params.clock);
    }
}

/* While the disk was stuck nothing was said (see outgoing_message): it is said again. */
void liveness_disk_ends(struct groups *g, enum watch_kind kind) {
    struct watch *w = &g->watches[kind];
    bool was_stuck = groups_disk_stuck(g);
    CHECK(w->under_way > 0);
    w->under_way--;
    w->ms = clock_now_ms(g->params.clock);
    bool works_again = was_stuck && !groups_disk_stuck(g);
    for (size_t i = 0; works_again && !g->stopped && g->members && i < members_count(g->members); i++) {
        uint32_t node = members_at(g->members, i)->node;
        if (raft_nodes_alive(g->nodes, node)) {
            tell_replicas(g, node, true);
        }
    }
}

bool groups_disk_stuck(const struct groups *g) {
    static const uint64_t limit_ms[WATCHES] = {
        [WATCH_LOG] = GROUPS_STUCK_MS, [WATCH_STATE] = GROUPS_STATE_STUCK_MS, [WATCH_READS] = GROUPS_STATE_STUCK_MS};
    uint64_t now = clock_now_ms(g->params.clock);
    bool stuck = false;
    for (int kind = 0; kind < WATCHES; kind++) {
        const struct watch *w = &g->watches[kind];
        stuck = stuck || (w->under_way > 0 && now > w->ms + limit_ms[kind]);
    }
    return stuck;
}

/* ---- who leads what --------------------------------------------------------------------------------------------- */

static void tell_led(struct groups *g, uint32_t node, struct buf *out) {
    struct led_batch batch;
    peer_led_begin(&batch, out, 0);
    for (uint32_t i = 0; i < g->count; i++) {
        const struct replica *r = g->replicas[i];
        if (!r || !r->leading || !raft_config_find_node(raft_config(r->raft), node)) {
            continue;
        }
        uint64_t term = raft_hard(r->raft).term;
        if (!peer_led_add(&batch, i, term)) {
            peer_led_end(&batch, i - 1);
            peer_led_begin(&batch, out, i);
            bool added = peer_led_add(&batch, i, term);
            CHECK(added);
        }
    }
    peer_led_end(&batch, g->count - 1);
}

void liveness_tell_fire(struct timer *t) {
    struct groups *g = (struct groups *)((char *)t - offsetof(struct groups, telling));
    bool stuck = groups_disk_stuck(g);
    for (size_t i = 0; g->members && !stuck && i < members_count(g->members); i++) {
        uint32_t node = members_at(g->members, i)->node;
        struct buf *out = node == g->self ? NULL : peers_control(g->params.peers, node);
        if (out) {
            tell_led(g, node, out);
        }
    }
    timer_start(g->params.timers, &g->telling, clock_now_ms(g->params.clock) + GROUPS_TELL_MS);
}

/* Trusted without reason? The messages of a leadership come before the list that holds it, on the same session. */
static void compare(struct replica *r, uint32_t from, uint64_t term_told) {
    struct raft_status st;
    raft_status(r->raft, &st);
    if (st.trusts && st.leader_node == from && term_told < st.term) {
        struct raft_event ev = {.kind = RAFT_EV_NODE, .liveness = {.node = from, .alive = false}};
        (void)replica_step(r, &ev);
    }
}

void groups_led(struct groups *g, uint32_t from, const uint8_t *frame, size_t size) {
    struct led_reader rows;
    uint32_t group = 0;
    uint64_t term = 0;
    if (!g->running || g->stopped || peer_led_open(frame, size, &rows)) {
        return;
    }
    bool more = peer_led_next(&rows, &group, &term) == 0;
    for (uint32_t i = rows.first; i < g->count && i <= rows.last; i++) {
        uint64_t told = more && group == i ? term : 0;
        if (g->replicas[i]) {
            compare(g->replicas[i], from, told);
        }
        if (more && group == i) {
            more = peer_led_next(&rows, &group, &term) == 0;
        }
    }
}
