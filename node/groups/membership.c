/* Replicas come to this node and leave it. A replica is created only by an explicit message, never by a vote request;
 * a removed one leaves a tombstone, so that its id never votes again (I4). */
#include <stdlib.h>

#include "internal.h"

/* Frees nothing yet: operations at the disk may still refer to it. */
static void replica_destroy(struct replica *r, struct peers_call *call) {
    struct groups *g = r->groups;
    const struct groups_hooks *hooks = &g->params.hooks;
    bool led = r->leading;
    if (g->tombstones[r->group] < r->id) {
        g->tombstones[r->group] = r->id;
    }
    r->leading = false;
    replica_fail_waiting(r, ERR_MOVED);
    while (!TAILQ_EMPTY(&r->reads)) {
        struct read *rd = TAILQ_FIRST(&r->reads);
        TAILQ_REMOVE(&r->reads, rd, link);
        serve_reply_route(g, rd->call, ERR_MOVED, r->group);
        read_free(rd);
    }
    apply_unqueue(r);
    if (r->announced) {
        TAILQ_REMOVE(&g->announce, r, announce_link);
    }
    reconcile_unmark(r);
    timer_stop(g->params.timers, &r->timer);
    routes_forget_leader(g->routes, r->group, g->self);
    persist_remove(r, call);
    r->dead = true;
    g->replicas[r->group] = NULL;
    if (led) {
        hooks->leader(hooks->ctx, r->group, false);
    }
    hooks->removed(hooks->ctx, r->group);
}

void serve_replica_create(struct groups *g, struct peers_call *call, const struct replica_request *req) {
    struct replica *r = req->group < g->count ? g->replicas[req->group] : NULL;
    int rc = 0;
    if (req->group >= g->count || req->replica == 0) {
        peers_reply(call, ERR_INVALID, NULL, 0);
        return;
    }
    if (r && r->id == req->replica) {
        persist_create(r, call); /* asked again: the first time may not be durable yet */
        return;
    }
    if (req->replica <= g->tombstones[req->group] || (r && r->id > req->replica)) {
        peers_reply(call, ERR_STALE, NULL, 0);
        return;
    }
    if (r) {
        /* A configuration holds a node once, and ids only grow: the old replica is no member any more. */
        replica_destroy(r, NULL);
    }
    struct hard_row hard = {.replica = req->replica, .tombstone = g->tombstones[req->group]};
    struct applied_row applied = {0};
    r = replica_new(g, req->group, &hard, &applied, NULL, 0, &rc);
    if (!r) {
        peers_reply(call, rc, NULL, 0);
        return;
    }
    g->replicas[req->group] = r;
    persist_create(r, call);
}

void serve_replica_remove(struct groups *g, struct peers_call *call, const struct replica_request *req) {
    if (req->group >= g->count) {
        peers_reply(call, ERR_INVALID, NULL, 0);
        return;
    }
    struct replica *r = g->replicas[req->group];
    const struct raft_config *c = r && r->id == req->replica ? raft_config_committed(r->raft) : NULL;
    if (c && c->count > 0 && c->index >= req->index && raft_config_find(c, r->id)) {
        peers_reply(call, ERR_STALE, NULL, 0); /* what is known here is newer, and this replica is in it */
        return;
    }
    if (r && r->id > req->replica) {
        persist_create(r, call); /* the tombstone came with this replica: the answer waits until both are durable */
        return;
    }
    if (g->tombstones[req->group] < req->replica) {
        g->tombstones[req->group] = req->replica;
    }
    if (r) {
        replica_destroy(r, call); /* also one that is older than the removed one: see serve_replica_create */
    } else {
        persist_tombstone(g, req->group, call);
    }
}

void serve_replica_chunks(struct groups *g, struct peers_call *call, const struct replica_request *req) {
    const struct groups_hooks *hooks = &g->params.hooks;
    struct replica *r = req->group < g->count ? g->replicas[req->group] : NULL;
    if (!r || r->id != req->replica) {
        peers_reply(call, ERR_MOVED, NULL, 0);
    } else if (r->applied < req->index || !hooks->complete(hooks->ctx, r->group, req->index)) {
        peers_reply(call, ERR_BUSY, NULL, 0);
    } else {
        peers_reply(call, 0, NULL, 0);
    }
}

/* Proof that a replica was removed: a committed configuration that is newer than its id and does not hold it. */
static bool proves_removal(const struct raft_config *c, uint64_t id) {
    return c->count > 0 && id < c->next_id && !raft_config_find(c, id);
}

/* A replica that applied its own removal knows it first hand. */
void membership_applied(struct replica *r) {
    if (!raft_config_joint(&r->applied_config) && proves_removal(&r->applied_config, r->id)) {
        replica_destroy(r, NULL);
    }
}

/* ---- orphans: whoever hears of no leader for long asks whether it still belongs
 * -------------------------------------- */

struct ask *ask_new(struct replica *r, uint64_t target, enum peer_op op) {
    struct ask *a = calloc(1, sizeof(*a));
    if (a) {
        *a = (struct ask){.groups = r->groups, .group = r->group, .asker = r->id, .target = target, .op = op};
        TAILQ_INSERT_TAIL(&r->groups->asks, a, link);
    }
    return a;
}

void ask_free(struct ask *a) {
    TAILQ_REMOVE(&a->groups->asks, a, link);
    free(a);
}

static void orphan_answer(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct ask *a = ctx;
    struct replica *r = a->groups->replicas[a->group];
    (void)config;
    (void)result;
    (void)size;
    if (r && r->id == a->asker) {
        r->asking = false;
        if (status == 0) {
            replica_destroy(r, NULL);
        }
    }
    ask_free(a);
}

static void orphan_ask(struct replica *r) {
    struct ask *a = ask_new(r, r->id, OP_REPLICA_ASK);
    struct buf id;
    if (!a) {
        return;
    }
    buf_init(&id, sizeof(r->id));
    put_u64(buf_extend(&id, sizeof(r->id)), r->id);
    r->asking = true;
    calls_ask(r->groups, r->group, &id, GROUPS_ATTEMPT_MS, orphan_answer, a);
    buf_release(&id);
}

/* Now and then: who has no leader, and whose snapshot broke off? */
void membership_fire(struct timer *t) {
    struct groups *g = (struct groups *)((char *)t - offsetof(struct groups, orphans));
    uint64_t now = clock_now_ms(g->params.clock);
    for (uint32_t i = 0; i < g->count; i++) {
        struct replica *r = g->replicas[i];
        if (r) {
            snapshot_receive_tick(r);
        }
        if (!r || r->asking) {
            continue;
        }
        struct raft_status st;
        raft_status(r->raft, &st);
        if (r->leading || st.trusts) {
            r->led_ms = now;
        } else if (now > r->led_ms + GROUPS_ORPHAN_MS) {
            r->led_ms = now;
            orphan_ask(r);
        }
    }
    timer_start(g->params.timers, &g->orphans, now + GROUPS_ORPHAN_MS / 4);
}

/* Answered by any leader: what is committed stays true. */
void serve_replica_ask(struct groups *g, struct peers_call *call, const struct group_request *req) {
    struct replica *r = req->group < g->count ? g->replicas[req->group] : NULL;
    if (req->group >= g->count || req->size != sizeof(uint64_t)) {
        peers_reply(call, ERR_INVALID, NULL, 0);
    } else if (!r || !r->leading) {
        serve_reply_route(g, call, r ? ERR_NOT_LEADER : ERR_MOVED, req->group);
    } else {
        bool gone = proves_removal(raft_config_committed(r->raft), get_u64(req->bytes));
        peers_reply(call, gone ? 0 : ERR_EXISTS, NULL, 0);
    }
}

static void told(void *ctx, int status, const uint8_t *body, size_t size) {
    (void)ctx;
    (void)status;
    (void)body;
    (void)size;
}

/* A replica that asks for votes and is in no configuration of ours any more has missed its removal. */
void membership_stranger(struct replica *r, uint32_t node, uint64_t id) {
    struct groups *g = r->groups;
    const struct raft_config *c = raft_config_committed(r->raft);
    uint64_t now = clock_now_ms(g->params.clock);
    if (!proves_removal(c, id) || raft_config_find(raft_config(r->raft), id) ||
        (r->stranger_ms && now < r->stranger_ms + GROUPS_RETRY_MS)) {
        return;
    }
    struct replica_request req = {.group = r->group, .replica = id, .index = c->index};
    struct buf body;
    buf_init(&body, PEER_BODY_MAX);
    replica_request_encode(&req, &body);
    r->stranger_ms = now;
    peers_request(g->params.peers, node, LANE_CONTROL, OP_REPLICA_REMOVE, &body, GROUPS_ATTEMPT_MS, told, NULL);
    buf_release(&body);
}
