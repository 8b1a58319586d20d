/* Requests and their answers, ours and theirs. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* ---- ours ------------------------------------------------------------------------------------------------------- */

static void request_detach(struct request *r) {
    struct peers *p = r->peers;
    HASH_DEL(p->requests, r);
    if (r->peer) {
        TAILQ_REMOVE(&r->peer->requests, r, link);
    }
    timer_stop(p->params.timers, &r->timer);
}

static void request_finish(struct request *r, int status, const uint8_t *body, size_t size) {
    request_detach(r);
    r->cb(r->ctx, status, body, size);
    buf_release(&r->body);
    free(r);
}

/* Completes in a later turn: for answers that are known while a caller is still on the stack. */
static void request_later(struct request *r, int status) {
    r->state = REQUEST_DONE;
    r->status = status;
    timer_start(r->peers->params.timers, &r->timer, clock_now_ms(r->peers->params.clock));
}

static int send_on(struct link *l, struct request *r, const struct buf *body) {
    struct peer_request req = {.id = r->id, .op = r->op, .body = body->bytes, .body_size = body->size};
    if (l->lane == LANE_BULK && net_unsent(l->conn) + l->out.size > PEERS_BULK_UNSENT_MAX) {
        return ERR_BUSY;
    }
    if (l->lane == LANE_CONTROL && net_unsent(l->conn) + l->out.size > PEERS_CONTROL_UNSENT_MAX) {
        return ERR_BUSY;
    }
    peer_request_frame(&req, &l->out);
    link_queue(l);
    return l->out.error;
}

static struct call *call_new(struct peers *p, uint32_t from, enum lane lane, uint64_t id) {
    struct call *c = p->call_count < PEERS_CALLS_MAX ? calloc(1, sizeof(*c)) : NULL;
    if (c) {
        c->pub.from = from;
        c->pub.lane = lane;
        c->pub.peers = p;
        c->id = id;
        p->call_count++;
        TAILQ_INSERT_TAIL(&p->calls, c, link);
    }
    return c;
}

/* To ourselves: as if it had come over the net. */
static void deliver_loop(struct request *r) {
    struct peers *p = r->peers;
    const struct peers_events *ev = &p->params.events;
    struct call *c = call_new(p, p->self, r->lane, r->id);
    if (!c) {
        request_finish(r, ERR_BUSY, NULL, 0);
        return;
    }
    struct buf body = r->body;
    enum peer_op op = r->op;
    buf_init(&r->body, PEER_BODY_MAX);
    r->state = REQUEST_WAITING;
    timer_start(p->params.timers, &r->timer, r->deadline_ms);
    ev->request(ev->ctx, &c->pub, op, body.bytes, body.size);
    buf_release(&body);
}

static void request_fire(struct timer *t) {
    struct request *r = (struct request *)((char *)t - offsetof(struct request, timer));
    switch (r->state) {
    case REQUEST_LOOP:
        deliver_loop(r);
        break;
    case REQUEST_DONE:
        request_finish(r, r->status, r->body.bytes, r->body.size);
        break;
    case REQUEST_QUEUED:
        request_finish(r, ERR_UNREACHABLE, NULL, 0);
        break;
    case REQUEST_WAITING:
        request_finish(r, ERR_TIMEOUT, NULL, 0);
        break;
    }
}

static void request_route(struct request *r, struct peer *peer, const struct buf *body) {
    struct link *l = peer->out[r->lane];
    if (l && l->state == LINK_OPEN) {
        int rc = send_on(l, r, body);
        if (rc) {
            request_later(r, rc);
            return;
        }
        r->state = REQUEST_WAITING;
        return;
    }
    r->state = REQUEST_QUEUED;
    buf_append(&r->body, body->bytes, body->size);
    dial(peer, r->lane);
}

uint64_t peers_request(struct peers *p, uint32_t node, enum lane lane, enum peer_op op, const struct buf *body,
                       uint64_t timeout_ms, peers_reply_cb *cb, void *ctx) {
    struct request *r = calloc(1, sizeof(*r));
    struct peer *peer = peer_find(p, node);
    uint64_t now = clock_now_ms(p->params.clock);
    CHECK(r && p->known);
    *r = (struct request){
        .id = p->next_request++, .peers = p, .node = node, .lane = lane, .op = op, .cb = cb, .ctx = ctx};
    r->deadline_ms = now + timeout_ms;
    r->timer.fire = request_fire;
    buf_init(&r->body, PEER_BODY_MAX);
    bool full = HASH_COUNT(p->requests) >= PEERS_REQUESTS_MAX;
    HASH_ADD(hh, p->requests, id, sizeof(r->id), r);
    if (peer) {
        r->peer = peer;
        TAILQ_INSERT_TAIL(&peer->requests, r, link);
    }
    if (body->error || full) {
        request_later(r, body->error ? body->error : ERR_BUSY);
    } else if (node == p->self) {
        buf_append(&r->body, body->bytes, body->size);
        r->state = REQUEST_LOOP;
        timer_start(p->params.timers, &r->timer, now);
    } else if (!peer || peer->gone) {
        request_later(r, ERR_UNREACHABLE);
    } else {
        timer_start(p->params.timers, &r->timer, r->deadline_ms);
        request_route(r, peer, body);
    }
    return r->id;
}

void peers_cancel(struct peers *p, uint64_t id) {
    struct request *r;
    HASH_FIND(hh, p->requests, &id, sizeof(id), r);
    CHECK(r);
    request_detach(r);
    buf_release(&r->body);
    free(r);
}

void requests_opened(struct peer *peer, enum lane lane) {
    struct request *r, *next;
    for (r = TAILQ_FIRST(&peer->requests); r; r = next) {
        next = TAILQ_NEXT(r, link);
        if (r->state == REQUEST_QUEUED && r->lane == lane) {
            int rc = send_on(peer->out[lane], r, &r->body);
            buf_release(&r->body);
            if (rc) {
                request_later(r, rc);
            } else {
                r->state = REQUEST_WAITING;
            }
        }
    }
}

void requests_lost(struct peer *peer, enum lane lane, int status) {
    struct request *r;
    TAILQ_FOREACH(r, &peer->requests, link) {
        if (r->lane == lane && (r->state == REQUEST_WAITING || r->state == REQUEST_QUEUED)) {
            buf_release(&r->body);
            request_later(r, status);
        }
    }
}

int reply_frame(struct link *l, const uint8_t *frame, size_t size) {
    struct peers *p = l->peers;
    struct peer_reply reply;
    struct request *r;
    if (peer_reply_decode(frame, size, &reply)) {
        return ERR_PROTOCOL;
    }
    HASH_FIND(hh, p->requests, &reply.id, sizeof(reply.id), r);
    if (r && r->node == l->node && r->state == REQUEST_WAITING) {
        request_finish(r, reply.status, reply.body, reply.body_size);
    }
    return 0; /* an answer that nobody waits for any more is no offence */
}

/* ---- theirs ----------------------------------------------------------------------------------------------------- */

static struct link *open_link(struct peer *peer, enum lane lane) {
    struct link *l = peer->out[lane];
    return l && l->state == LINK_OPEN ? l : NULL;
}

/* Members are answered on our own session of the same lane. While the bulk lane is only being dialled, a short answer
 * may take the control lane: it is no burden there. Any other waits in the session that is being dialled: losing it
 * would cost the asker its whole timeout. */
static struct link *reply_link(struct peers *p, const struct call *c, size_t size) {
    struct link *l;
    if (c->pub.from) {
        struct peer *peer = peer_find(p, c->pub.from);
        l = peer ? open_link(peer, c->pub.lane) : NULL;
        if (peer && !l) {
            dial(peer, c->pub.lane);
            l = size <= REPLY_ON_CONTROL_MAX ? open_link(peer, LANE_CONTROL) : NULL;
            l = l ? l : peer->out[c->pub.lane];
        }
        return l && l->state != LINK_CLOSING ? l : NULL;
    }
    TAILQ_FOREACH(l, &p->links, link) {
        if (l->serial == c->serial) {
            return l->state == LINK_OPEN ? l : NULL;
        }
    }
    return NULL;
}

/* An answer that would queue up behind too many others is no answer, but says so. */
static void send_reply(struct link *l, uint64_t id, int status, const void *body, size_t size) {
    bool room = net_unsent(l->conn) + l->out.size <= PEERS_BULK_UNSENT_MAX;
    struct peer_reply reply = {.id = id, .status = status, .body = body, .body_size = size};
    if (!room) {
        reply = (struct peer_reply){.id = id, .status = ERR_BUSY};
    }
    if (net_unsent(l->conn) + l->out.size <= PEERS_BULK_UNSENT_MAX + FRAME_MAX) {
        peer_reply_frame(&reply, &l->out);
        link_queue(l);
    }
}

static void reply_loop(struct peers *p, const struct call *c, int status, const void *body, size_t size) {
    struct request *r;
    HASH_FIND(hh, p->requests, &c->id, sizeof(c->id), r);
    if (r && r->state == REQUEST_WAITING) {
        buf_append(&r->body, body, size);
        request_later(r, r->body.error ? r->body.error : status);
    }
}

void peers_reply(struct peers_call *call, int status, const void *body, size_t size) {
    struct call *c = (struct call *)call;
    struct peers *p = call->peers;
    bool to_self = call->from && call->from == p->self;
    struct link *l = to_self ? NULL : reply_link(p, c, size);
    CHECK(err_known(status));
    if (to_self) {
        reply_loop(p, c, status, body, size);
    } else if (l) {
        send_reply(l, c->id, status, body, size);
    }
    TAILQ_REMOVE(&p->calls, c, link);
    p->call_count--;
    free(c);
}

int request_frame(struct link *l, const uint8_t *frame, size_t size) {
    struct peers *p = l->peers;
    const struct peers_events *ev = &p->params.events;
    struct peer_request req;
    if (peer_request_decode(frame, size, &req)) {
        return ERR_PROTOCOL;
    }
    if ((l->role == LINK_GUEST) != (req.op == OP_JOIN)) {
        return ERR_PROTOCOL; /* guests may ask to join and nothing else; members have joined */
    }
    if (l->role == LINK_GUEST) {
        if (l->asked) {
            return ERR_PROTOCOL;
        }
        l->asked = true;
        timer_start(p->params.timers, &l->timer, clock_now_ms(p->params.clock) + PEERS_GUEST_MS);
    }
    struct call *c = call_new(p, l->role == LINK_GUEST ? 0 : l->node, l->lane, req.id);
    if (!c) {
        struct call refused = {.pub = {.from = l->node, .lane = l->lane}, .serial = l->serial};
        struct link *back = reply_link(p, &refused, 0);
        if (back) {
            send_reply(back, req.id, ERR_BUSY, NULL, 0);
        }
        return 0;
    }
    if (l->role == LINK_GUEST) {
        c->serial = l->serial;
        memcpy(c->pub.guest_id, l->guest_id, sizeof(c->pub.guest_id));
        memcpy(c->pub.handshake, session_hash(l->session), sizeof(c->pub.handshake));
    }
    ev->request(ev->ctx, &c->pub, req.op, req.body, req.body_size);
    return 0;
}

void requests_release(struct peers *p) {
    struct request *r, *next;
    HASH_ITER(hh, p->requests, r, next) {
        HASH_DEL(p->requests, r);
        if (r->peer) {
            TAILQ_REMOVE(&r->peer->requests, r, link);
        }
        timer_stop(p->params.timers, &r->timer);
        buf_release(&r->body);
        free(r);
    }
    while (!TAILQ_EMPTY(&p->calls)) {
        struct call *c = TAILQ_FIRST(&p->calls);
        TAILQ_REMOVE(&p->calls, c, link);
        free(c);
    }
}
