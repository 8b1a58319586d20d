/* All the groups of a node: creation, loading, and the way of messages to their replicas. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static void flush_fire(struct timer *t) {
    struct groups *g = (struct groups *)((char *)t - offsetof(struct groups, flush));
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
    TAILQ_INIT(&g->apply);
    TAILQ_INIT(&g->unsettled);
    TAILQ_INIT(&g->announce);
    TAILQ_INIT(&g->asks);
    TAILQ_INIT(&g->calls);
    TAILQ_INIT(&g->snapshots);
    TAILQ_INIT(&g->snapshots_waiting);
    TAILQ_INIT(&g->sequence_order);
    g->client = random_u64(params->random) | 1;
    g->next_seq = 1;
    *ret_groups = g;
    return 0;
}

void groups_stop(struct groups *g) {
    g->stopped = true;
    timer_stop(g->params.timers, &g->flush);
    timer_stop(g->params.timers, &g->reconcile);
    timer_stop(g->params.timers, &g->orphans);
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
    routes_free(g->routes);
    free(g->replicas);
    free(g->tombstones);
    free(g);
}

/* ---- creation and loading --------------------------------------------------------------------------------------- */

/* Every group begins as if a snapshot at index 1 held its first configuration: this node alone. */
int groups_create_swarm(struct txn *t, unsigned bits, uint32_t self) {
    struct raft_config c = {.index = 1, .next_id = 2, .count = 1};
    c.replicas[0] = (struct raft_replica){.id = 1, .node = self, .flags = RAFT_VOTER};
    struct hard_row hard = {.replica = 1, .hard = {.term = 1}, .base_index = 1, .base_term = 1, .config = c};
    struct applied_row applied = {.index = 1, .term = 1, .config = c};
    CHECK(bits <= RING_BITS_MAX && self > 0);
    for (uint32_t group = 0; group <= 1u << bits; group++) {
        int rc = hard_row_put(t, group, &hard);
        rc = rc ? rc : applied_row_put(t, group, &applied);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

struct load_op {
    struct disk_op op;
    struct groups *groups;
    uint32_t count;
    void (*started)(void *ctx, int status);
    void *ctx;
    struct load_row {
        struct hard_row hard;
        struct applied_row applied;
        struct raft_entry **entries;
        size_t entry_count;
    } rows[];
};

static int load_row(struct txn *t, uint32_t group, struct load_row *row) {
    int rc = hard_row_get(t, group, &row->hard);
    if (rc == ERR_NOT_FOUND || (rc == 0 && row->hard.replica == 0)) {
        return 0;
    }
    rc = rc ? rc : applied_row_get(t, group, &row->applied);
    if (rc == ERR_NOT_FOUND) {
        rc = 0; /* a replica that awaits its first snapshot */
    }
    return rc ? rc : log_load(t, group, row->hard.base_index + 1, &row->entries, &row->entry_count);
}

static int load_run(struct txn *t, struct disk_op *op) {
    struct load_op *l = (struct load_op *)op;
    int rc = 0;
    for (uint32_t i = 0; i < l->count && !rc; i++) {
        rc = load_row(t, i, &l->rows[i]);
    }
    return rc;
}

static int begin_replica(struct groups *g, uint32_t group, struct load_row *row) {
    int rc = 0;
    g->tombstones[group] = row->hard.tombstone;
    if (row->hard.replica == 0) {
        return 0;
    }
    struct replica *r = replica_new(g, group, &row->hard, &row->applied, row->entries, row->entry_count, &rc);
    if (!r) {
        return rc;
    }
    g->replicas[group] = r;
    replica_learn_route(r);
    g->params.hooks.installed(g->params.hooks.ctx, group, r->applied);
    return 0;
}

/* A group whose only voter is here need not wait for an election timeout. */
static void campaign_alone(struct groups *g) {
    for (uint32_t i = 0; i < g->count; i++) {
        struct replica *r = g->replicas[i];
        const struct raft_config *c = r ? raft_config(r->raft) : NULL;
        if (c && c->count == 1 && c->replicas[0].id == r->id) {
            struct raft_event ev = {.kind = RAFT_EV_CAMPAIGN};
            (void)replica_step(r, &ev);
        }
    }
}

static void load_done(struct disk_op *op, int status) {
    struct load_op *l = (struct load_op *)op;
    struct groups *g = l->groups;
    int rc = status;
    for (uint32_t i = 0; i < l->count; i++) {
        if (!rc && !g->stopped) {
            rc = begin_replica(g, i, &l->rows[i]);
        }
        for (size_t k = 0; k < l->rows[i].entry_count; k++) {
            raft_entry_unref(l->rows[i].entries[k]);
        }
        free(l->rows[i].entries);
    }
    if (!g->stopped) {
        g->running = rc == 0;
        if (!rc) {
            snapshot_clear(g, 0, g->count);
            campaign_alone(g);
            timer_start(g->params.timers, &g->orphans, clock_now_ms(g->params.clock) + GROUPS_ORPHAN_MS);
        }
        l->started(l->ctx, rc);
    }
    free(l);
}

void groups_start(struct groups *g, unsigned bits, uint32_t self, void (*started)(void *ctx, int status), void *ctx) {
    uint32_t count = (1u << bits) + 1;
    CHECK(bits <= RING_BITS_MAX && self > 0 && !g->replicas);
    struct load_op *l = calloc(1, sizeof(*l) + count * sizeof(l->rows[0]));
    g->bits = bits;
    g->self = self;
    g->count = count;
    g->replicas = calloc(count, sizeof(struct replica *));
    g->tombstones = calloc(count, sizeof(uint64_t));
    int rc = routes_new(count, &g->routes);
    CHECK(l && g->replicas && g->tombstones && rc == 0);
    l->op.run = load_run;
    l->op.done = load_done;
    l->groups = g;
    l->count = count;
    l->started = started;
    l->ctx = ctx;
    disk_read(g->params.disk, DISK_META, &l->op);
}

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
    m->from_node = from;
    struct raft_event ev = {.kind = RAFT_EV_MESSAGE, .message = m};
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

void groups_routes(struct groups *g, uint32_t from, const uint8_t *frame, size_t size) {
    struct routes_reader reader;
    struct group_route heard;
    (void)from;
    if (!g->running || peer_routes_open(frame, size, &reader)) {
        return;
    }
    while (peer_routes_next(&reader, &heard) == 0) {
        if (heard.group < g->count) {
            (void)routes_learn(g->routes, heard.group, &heard.route);
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

void groups_peer_opened(struct groups *g, uint32_t node) {
    (void)node;
    for (uint32_t i = 0; g->running && i < g->count; i++) {
        if (g->replicas[i] && g->replicas[i]->leading) {
            outgoing_announce(g->replicas[i]);
        }
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

void groups_invariant(const struct groups *g) {
    for (uint32_t i = 0; g->running && i < g->count; i++) {
        const struct replica *r = g->replicas[i];
        if (r) {
            CHECK(r->group == i && !r->dead && r->id > g->tombstones[i]);
            CHECK(r->commit >= r->applied || r->installing);
            raft_invariant(r->raft);
        }
    }
}
