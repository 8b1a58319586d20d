/* Proposals and queries of this node, carried to the leader of a group wherever it is.
 *
 *   try the hinted leader ──answer──▶ done
 *      │ not leader / moved: learn the route, try again
 *      │ busy, unreachable, timed out: forget the hint, next candidate after a pause
 *      │   (timed out: here, or there, because it leads no more; the attempt may have succeeded)
 *      │ its node is lost, or a newer leader is heard of: ask elsewhere at once
 *      └ deadline: unavailable */
#include <stdlib.h>

#include "internal.h"

struct call {
    TAILQ_ENTRY(call) link;
    struct groups *groups;
    struct timer timer;
    uint32_t group;
    enum peer_op op;
    struct buf body;
    uint64_t deadline_ms;
    uint32_t backoff_ms;
    uint32_t attempts;
    uint32_t tried;      /* node asked last, */
    uint64_t tried_term; /* in which it was believed to lead; 0: nobody was */
    uint64_t request;    /* asking: as peers_cancel wants it */
    bool asking;
    bool unsure; /* an earlier attempt may have been applied: no refusal of a later one is the whole truth */
    int status;  /* refused before the first try */
    groups_cb *cb;
    void *ctx;
};

static void call_finish(struct call *c, int status, const struct raft_config *config, const uint8_t *result,
                        size_t size) {
    struct groups *g = c->groups;
    timer_stop(g->params.timers, &c->timer);
    TAILQ_REMOVE(&g->calls, c, link);
    g->call_count--;
    c->cb(c->ctx, status, config, result, size);
    buf_release(&c->body);
    free(c);
}

/* Who may be the leader: the hint, then everyone of the route, of the placement and of the swarm in turn. */
static uint32_t candidate(struct call *c) {
    struct groups *g = c->groups;
    const struct route *route = routes_get(g->routes, c->group);
    uint32_t arc = c->group == GROUPS_ROOT ? 0 : c->group - 1;
    const uint32_t *placed = NULL;
    if (route->leader && peers_alive(g->params.peers, route->leader)) {
        return route->leader;
    }
    unsigned placed_count = g->placement ? placement_of(g->placement, arc, &placed) : 0;
    size_t total = route->count + placed_count + (g->members ? members_count(g->members) : 0);
    for (size_t i = 0; i < total; i++) {
        size_t k = (c->attempts + i) % total;
        uint32_t node;
        if (k < route->count) {
            node = route->nodes[k];
        } else if (k < (size_t)route->count + placed_count) {
            node = placed[k - route->count];
        } else {
            node = members_at(g->members, k - route->count - placed_count)->node;
        }
        if (peers_alive(g->params.peers, node) && (node != c->tried || i + 1 == total)) {
            return node;
        }
    }
    return 0;
}

static void call_pause(struct call *c) {
    struct groups *g = c->groups;
    uint64_t now = clock_now_ms(g->params.clock);
    uint64_t jitter = random_u64(g->params.random) % (c->backoff_ms + 1);
    timer_start(g->params.timers, &c->timer, now + c->backoff_ms / 2 + jitter);
    if (c->backoff_ms < GROUPS_BACKOFF_MAX_MS) {
        c->backoff_ms *= 2;
    }
}

static void finish_propose(struct call *c, const uint8_t *body, size_t size) {
    struct propose_reply reply;
    int rc = propose_reply_decode(body, size, &reply);
    if (rc) {
        call_finish(c, rc, NULL, NULL, 0);
    } else {
        call_finish(c, 0, &reply.config, reply.result, reply.result_size);
    }
}

/* It did not lead in the term in which it was believed to. A leadership heard of since is another matter. */
static void forget_tried(struct call *c) {
    struct routes *routes = c->groups->routes;
    if (routes_get(routes, c->group)->term == c->tried_term) {
        routes_forget_leader(routes, c->group, c->tried);
    }
}

static void call_redirect(struct call *c, const uint8_t *body, size_t size) {
    struct groups *g = c->groups;
    struct group_route heard;
    uint64_t now = clock_now_ms(g->params.clock);
    forget_tried(c);
    if (group_route_decode(body, size, &heard) == 0 && heard.group == c->group && heard.route.leader != c->tried) {
        groups_learn_route(g, c->group, &heard.route);
        if (heard.route.leader && c->attempts < 4) {
            timer_start(g->params.timers, &c->timer, now);
            return;
        }
    }
    call_pause(c);
}

static void call_reply(void *ctx, int status, const uint8_t *body, size_t size) {
    struct call *c = ctx;
    c->asking = false;
    if (status == 0) {
        if (c->op == OP_PROPOSE) {
            finish_propose(c, body, size);
        } else {
            call_finish(c, 0, NULL, body, size);
        }
        return;
    }
    switch (status) {
    case ERR_NOT_LEADER:
    case ERR_MOVED:
        call_redirect(c, body, size);
        break;
    case ERR_UNREACHABLE:
    case ERR_TIMEOUT:
    case ERR_CLOSED:
        c->unsure = c->unsure || status != ERR_UNREACHABLE;
        forget_tried(c);
        call_pause(c);
        break;
    case ERR_BUSY:
    case ERR_NOMEM:
        call_pause(c);
        break;
    default:
        call_finish(c, c->unsure && c->op == OP_PROPOSE ? ERR_UNAVAILABLE : status, NULL, NULL, 0);
    }
}

/* Whoever answers a repeat must not take it for the first. */
static void say_again(struct call *c) {
    struct group_request req;
    struct buf body;
    int rc = group_request_decode(c->body.bytes, c->body.size, &req);
    CHECK(rc == 0);
    if (req.again) {
        return;
    }
    req.again = true;
    buf_init(&body, PEER_BODY_MAX);
    group_request_encode(&req, &body);
    buf_release(&c->body);
    c->body = body;
    c->status = body.error;
}

static void call_fire(struct timer *t) {
    struct call *c = (struct call *)((char *)t - offsetof(struct call, timer));
    struct groups *g = c->groups;
    uint64_t now = clock_now_ms(g->params.clock);
    CHECK(!c->asking);
    if (c->status || now >= c->deadline_ms) {
        call_finish(c, c->status ? c->status : ERR_UNAVAILABLE, NULL, NULL, 0);
        return;
    }
    const struct route *route = routes_get(g->routes, c->group);
    uint32_t node = candidate(c);
    if (c->attempts > 0 && c->op == OP_PROPOSE) {
        say_again(c);
    }
    c->attempts++;
    if (!node) {
        c->tried = 0;
        call_pause(c);
        return;
    }
    uint64_t left = c->deadline_ms - now;
    c->tried = node;
    c->tried_term = route->leader == node ? route->term : 0;
    c->asking = true;
    c->request = peers_request(g->params.peers, node, LANE_CONTROL, c->op, &c->body,
                               left < GROUPS_ATTEMPT_MS ? left : GROUPS_ATTEMPT_MS, call_reply, c);
}

static void call_begin(struct groups *g, enum peer_op op, uint32_t group, const struct buf *bytes, uint64_t timeout_ms,
                       groups_cb *cb, void *ctx) {
    struct call *c = calloc(1, sizeof(*c));
    uint64_t now = clock_now_ms(g->params.clock);
    CHECK(c && group < g->count);
    c->groups = g;
    c->group = group;
    c->op = op;
    c->cb = cb;
    c->ctx = ctx;
    c->deadline_ms = now + timeout_ms;
    c->backoff_ms = GROUPS_BACKOFF_MIN_MS;
    c->timer.fire = call_fire;
    buf_init(&c->body, PEER_BODY_MAX);
    struct group_request req = {.group = group, .bytes = bytes->bytes, .size = bytes->size};
    group_request_encode(&req, &c->body);
    c->status = bytes->error ? bytes->error : c->body.error;
    if (op == OP_PROPOSE && bytes->size > RAFT_ENTRY_MAX - STAMP_SIZE) {
        c->status = ERR_TOO_LARGE;
    }
    if (g->call_count >= GROUPS_CALLS_MAX) {
        c->status = ERR_BUSY;
    }
    g->call_count++;
    TAILQ_INSERT_TAIL(&g->calls, c, link);
    timer_start(g->params.timers, &c->timer, now);
}

void groups_propose(struct groups *g, uint32_t group, const struct buf *command, uint64_t timeout_ms, groups_cb *cb,
                    void *ctx) {
    call_begin(g, OP_PROPOSE, group, command, timeout_ms, cb, ctx);
}

void groups_query(struct groups *g, uint32_t group, const struct buf *query, uint64_t timeout_ms, groups_cb *cb,
                  void *ctx) {
    call_begin(g, OP_QUERY, group, query, timeout_ms, cb, ctx);
}

void calls_ask(struct groups *g, uint32_t group, const struct buf *id, uint64_t timeout_ms, groups_cb *cb, void *ctx) {
    call_begin(g, OP_REPLICA_ASK, group, id, timeout_ms, cb, ctx);
}

/* ---- leaders that change ---------------------------------------------------------------------------------------- */

/* Whether what was asked is done we shall not hear. */
static void call_again(struct call *c) {
    struct groups *g = c->groups;
    peers_cancel(g->params.peers, c->request);
    c->asking = false;
    c->unsure = true;
    timer_start(g->params.timers, &c->timer, clock_now_ms(g->params.clock));
}

void calls_lapsed(struct groups *g, uint32_t node) {
    struct call *c;
    TAILQ_FOREACH(c, &g->calls, link) {
        if (c->asking && c->tried == node) {
            forget_tried(c);
            call_again(c);
        }
    }
}

void calls_reconsider(struct groups *g) {
    struct call *c;
    g->routes_changed = false;
    TAILQ_FOREACH(c, &g->calls, link) {
        const struct route *route = routes_get(g->routes, c->group);
        bool other = route->leader != c->tried && route->term >= c->tried_term;
        bool again = !c->asking && route->term > c->tried_term;
        if (route->leader == 0 || (!other && !again) || !peers_alive(g->params.peers, route->leader)) {
            continue;
        }
        if (c->asking) {
            call_again(c);
        } else if (c->attempts > 0) {
            timer_start(g->params.timers, &c->timer, clock_now_ms(g->params.clock));
        }
    }
}

void calls_release(struct groups *g) {
    while (!TAILQ_EMPTY(&g->calls)) {
        struct call *c = TAILQ_FIRST(&g->calls);
        TAILQ_REMOVE(&g->calls, c, link);
        timer_stop(g->params.timers, &c->timer);
        buf_release(&c->body);
        free(c);
    }
}

/* ---- exactly once ----------------------------------------------------------------------------------------------- */

void groups_sequence(struct groups *g, struct command *c) {
    struct sequence *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->seq = g->next_seq++;
    HASH_ADD(hh, g->sequences, seq, sizeof(s->seq), s);
    TAILQ_INSERT_TAIL(&g->sequence_order, s, link);
    c->client = g->client;
    c->seq = s->seq;
    c->ack_below = TAILQ_FIRST(&g->sequence_order)->seq;
}

void groups_sequence_done(struct groups *g, uint64_t seq) {
    struct sequence *s;
    HASH_FIND(hh, g->sequences, &seq, sizeof(seq), s);
    CHECK(s);
    HASH_DEL(g->sequences, s);
    TAILQ_REMOVE(&g->sequence_order, s, link);
    free(s);
}
