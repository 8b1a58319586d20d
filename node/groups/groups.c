/* All the groups of a node: creation, loading, and the way of messages to their replicas. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static void flush_fire(struct timer *t) {
    struct groups *g = (struct groups *)((char *)t - offsetof(struct groups, flush));
    if (g->routes_changed) {
        calls_reconsider(g);
    }
    persist_flush(g);
    apply_flush(g);
    snapshot_send_flush(g);
    outgoing_flush(g);
}

/* At the end of this turn of the loop: everything that gathered goes out together. */
void groups_flush_soon(struct groups *g) {
    if (g->flush.slot == 0 && !g->stopped) {
        timer_start(g->params.timers, &g->flush, clock_now_ms(g->params.clock));
    }
}

void groups_fatal(struct groups *g, int status, const char *what) {
    g->params.hooks.failed(g->params.hooks.ctx, status, what);
}

int groups_new(const struct groups_params *params, struct groups **ret_groups) {
    struct groups *g = calloc(1, sizeof(*g));
    if (!g) {
        return ERR_NOMEM;
    }
    g->params = *params;
    g->flush.fire = flush_fire;
    g->reconcile.fire = reconcile_fire;
    g->orphans.fire = membership_fire;
    g->telling.fire = liveness_tell_fire;
    g->patience.fire = apply_later_fire;
    g->balancing.fire = balance_fire;
    TAILQ_INIT(&g->apply);
    TAILQ_INIT(&g->apply_later);
    TAILQ_INIT(&g->unsettled);
    TAILQ_INIT(&g->announce);
    TAILQ_INIT(&g->asks);
    TAILQ_INIT(&g->calls);
    TAILQ_INIT(&g->snapshots);
    TAILQ_INIT(&g->snapshots_waiting);
    TAILQ_INIT(&g->sequence_order);
    if (raft_nodes_new(&g->nodes)) {
        free(g);
        return ERR_NOMEM;
    }
    journal_init(&g->journal);
    g->client = random_u64(params->random) | 1;
    g->next_seq = 1;
    *ret_groups = g;
    return 0;
}

void groups_stop(struct groups *g) {
    g->stopped = true;
    timer_stop(g->params.timers, &g->flush);
    timer_stop(g->params.timers, &g->patience);
    timer_stop(g->params.timers, &g->reconcile);
    timer_stop(g->params.timers, &g->orphans);
    timer_stop(g->params.timers, &g->telling);
    timer_stop(g->params.timers, &g->balancing);
    for (uint32_t i = 0; g->replicas && i < g->count; i++) {
        if (g->replicas[i]) {
            timer_stop(g->params.timers, &g->replicas[i]->timer);
        }
    }
}

void groups_free(struct groups *g) {
    struct sequence *s, *next;
    if (!g) {
        return;
    }
    persist_drop(g);
    calls_release(g);
    while (!TAILQ_EMPTY(&g->asks)) {
        ask_free(TAILQ_FIRST(&g->asks));
    }
    snapshot_send_release(g);
    outgoing_release(g);
    for (uint32_t i = 0; g->replicas && i < g->count; i++) {
        if (g->replicas[i]) {
            replica_free(g->replicas[i]);
        }
    }
    HASH_ITER(hh, g->sequences, s, next) {
        HASH_DEL(g->sequences, s);
        free(s);
    }
    journal_release(&g->journal);
    routes_free(g->routes);
    raft_nodes_free(g->nodes);
    free(g->replicas);
    free(g->tombstones);
    free(g);
}

/* ---- the goal ---------------------------------------------------------------------------------------------------- */

void groups_set_placement(struct groups *g, const struct members *m, const struct placement *p) {
    g->members = m;
    g->placement = p;
    for (uint32_t i = 0; g->running && i < g->count; i++) {
        if (g->replicas[i]) {
            reconcile_mark(g->replicas[i]);
        }
    }
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

static void one_message(struct groups *g, uint32_t from, uint32_t group, struct raft_message *m) {
    struct replica *r = group < g->count ? g->replicas[group] : NULL;
    if (!r || r->id != m->to) {
        return;
    }
    const struct raft_replica *row = raft_config_find(raft_config(r->raft), m->from);
    if (row && row->node != from) {
        return; /* one member may not speak for another's replica */
    }
    if (!row && (m->kind == RAFT_PREVOTE || m->kind == RAFT_VOTE)) {
        membership_stranger(r, from, m->from);
    }
    struct raft_message taken = *m;
    taken.from_node = from;
    if (m->kind == RAFT_APPEND && (replica_crowded(r) || !disk_has_room(g->params.disk, DISK_LOG, 0))) {
        taken.entry_count = 0; /* what the leader may say at any time; those entries come again, like lost ones */
    }
    struct raft_event ev = {.kind = RAFT_EV_MESSAGE, .message = &taken};
    int rc = replica_step(r, &ev); /* ERR_PROTOCOL: dropped */
    if (!rc && (m->kind == RAFT_APPEND || m->kind == RAFT_HEARTBEAT) && m->term >= raft_hard(r->raft).term) {
        r->led_ms = clock_now_ms(g->params.clock);
    }
}

void groups_raft(struct groups *g, uint32_t from, const uint8_t *frame, size_t size) {
    struct raft_batch_reader *reader;
    struct raft_message *m;
    uint32_t group;
    if (!g->running || g->stopped || raft_batch_open(frame, size, &reader)) {
        return;
    }
    while (raft_batch_next(reader, &group, &m) == 0) {
        one_message(g, from, group, m);
    }
    raft_batch_close(reader);
}

void groups_learn_route(struct groups *g, uint32_t group, const struct route *heard) {
    if (routes_learn(g->routes, group, heard)) {
        g->routes_changed = true;
        groups_flush_soon(g);
    }
}

void groups_routes(struct groups *g, uint32_t from, const uint8_t *frame, size_t size) {
    struct routes_reader reader;
    struct group_route heard;
    (void)from;
    if (!g->running || peer_routes_open(frame, size, &reader)) {
        return;
    }
    while (peer_routes_next(&reader, &heard) == 0) {
        if (heard.group < g->count) {
            groups_learn_route(g, heard.group, &heard.route);
        }
    }
}

void groups_request(struct groups *g, struct peers_call *call, enum peer_op op, const uint8_t *body, size_t size) {
    struct group_request req;
    struct replica_request replica;
    struct snapshot_piece piece;
    int rc = ERR_UNAVAILABLE;
    if (g->running && !g->stopped) {
        switch (op) {
        case OP_PROPOSE:
        case OP_QUERY:
        case OP_REPLICA_ASK:
            rc = group_request_decode(body, size, &req);
            break;
        case OP_SNAPSHOT:
            rc = snapshot_piece_decode(body, size, &piece);
            break;
        default:
            rc = replica_request_decode(body, size, &replica);
        }
    }
    if (rc) {
        peers_reply(call, rc == ERR_UNAVAILABLE ? ERR_BUSY : rc, NULL, 0);
    } else if (op == OP_PROPOSE) {
        serve_propose(g, call, &req);
    } else if (op == OP_QUERY) {
        serve_query(g, call, &req);
    } else if (op == OP_REPLICA_ASK) {
        serve_replica_ask(g, call, &req);
    } else if (op == OP_SNAPSHOT) {
        snapshot_receive(g, call, &piece);
    } else if (op == OP_REPLICA_CREATE) {
        serve_replica_create(g, call, &replica);
    } else if (op == OP_REPLICA_REMOVE) {
        serve_replica_remove(g, call, &replica);
    } else {
        CHECK(op == OP_REPLICA_CHUNKS);
        serve_replica_chunks(g, call, &replica);
    }
}

/* ---- what others may know --------------------------------------------------------------------------------------- */

uint32_t groups_of(const struct groups *g, uint64_t position) {
    return ring_arc(position, g->bits) + 1;
}

uint32_t groups_count(const struct groups *g) {
    return g->count;
}

unsigned groups_bits(const struct groups *g) {
    return g->bits;
}

uint32_t groups_self(const struct groups *g) {
    return g->self;
}

const struct route *groups_route(const struct groups *g, uint32_t group) {
    return routes_get(g->routes, group);
}

unsigned groups_placed(const struct groups *g, uint32_t group, const uint32_t **ret_nodes) {
    uint32_t arc = group == GROUPS_ROOT ? 0 : group - 1;
    return g->placement ? placement_of(g->placement, arc, ret_nodes) : 0;
}

void groups_arc(const struct groups *g, uint32_t group, struct machine_arc *out) {
    *out = (struct machine_arc){.root = group == GROUPS_ROOT};
    if (!out->root) {
        ring_arc_range(group - 1, g->bits, &out->first, &out->last);
    }
}

void groups_info(const struct groups *g, uint32_t group, struct groups_info *out) {
    struct replica *r = group < g->count ? g->replicas[group] : NULL;
    *out = (struct groups_info){0};
    if (r) {
        struct raft_status st;
        raft_status(r->raft, &st);
        out->here = true;
        out->leading = r->leading;
        out->replica = r->id;
        out->term = st.term;
        out->applied = r->applied;
        out->saved = r->saved;
        out->recovered = r->applied >= r->recovered;
        out->commit = st.commit;
        out->config = *raft_config(r->raft);
        out->committed = *raft_config_committed(r->raft);
    }
}

void groups_glance(const struct groups *g, uint32_t group, struct groups_glance *out) {
    const struct replica *r = g->running && group < g->count ? g->replicas[group] : NULL;
    *out = (struct groups_glance){0};
    if (r) {
        *out = (struct groups_glance){.raft = r->raft, .replica = r->id, .steps = r->steps, .led_term = r->led_term};
    }
}

uint64_t groups_steps(const struct groups *g) {
    return g->steps;
}

void groups_health(const struct groups *g, uint32_t *ret_led, uint32_t *ret_healthy, uint32_t *ret_under) {
    uint32_t led = 0, healthy = 0;
    for (uint32_t i = 1; g->running && i < g->count; i++) {
        const struct replica *r = g->replicas[i];
        if (r && r->leading) {
            led++;
            healthy += reconcile_healthy(r);
        }
    }
    *ret_led = led;
    *ret_healthy = healthy;
    *ret_under = led - healthy;
}

uint64_t groups_messages(const struct groups *g) {
    return g->messages;
}

void groups_invariant(const struct groups *g) {
    uint64_t log_bytes = 0, usual = 0;
    for (uint32_t i = 0; g->running && i < g->count; i++) {
        const struct replica *r = g->replicas[i];
        if (r) {
            CHECK(r->group == i && !r->dead && r->id > g->tombstones[i]);
            CHECK(r->commit >= r->applied || r->installing);
            CHECK(r->applied >= r->saved && r->saved >= r->base);
            CHECK(r->log_bytes == raft_log_bytes(r->raft));
            log_bytes += r->log_bytes;
            usual += g->params.tuning.compact_bytes;
            raft_invariant(r->raft);
        }
    }
    CHECK(log_bytes <= g->log_bytes); /* a dead one counts until it is gone */
    CHECK(log_bytes <= g->log_excess + usual);
}
