/* The guest's side of joining: one session to the inviter, one request, one answer. */
#include <string.h>

#include "internal.h"

static void join_report(struct joining *j, int status, const uint8_t *body, size_t size) {
    j->active = false;
    j->cb(j->ctx, status, body, size);
}

static void join_fire(struct timer *t) {
    struct peers *p = (struct peers *)((char *)t - offsetof(struct peers, joining.timer));
    struct joining *j = &p->joining;
    if (j->link) {
        link_close(j->link, NULL);
        j->link = NULL; /* its end is no news for the next attempt */
    }
    if (j->active) {
        join_report(j, j->status ? j->status : ERR_TIMEOUT, NULL, 0);
    }
}

void peers_join(struct peers *p, const uint8_t swarm[32], const char *addr, const uint8_t inviter[32],
                peers_prove_cb *prove, uint64_t timeout_ms, peers_reply_cb *cb, void *ctx) {
    struct joining *j = &p->joining;
    uint64_t now = clock_now_ms(p->params.clock);
    CHECK(!j->active);
    j->active = true;
    j->status = 0;
    j->prove = prove;
    j->cb = cb;
    j->ctx = ctx;
    j->timer.fire = join_fire;
    memcpy(j->swarm, swarm, sizeof(j->swarm));
    struct link *l = NULL;
    j->status = identity_dh_public(inviter, j->inviter_dh);
    j->status = j->status ? j->status : link_dial(p, addr, &l);
    timer_start(p->params.timers, &j->timer, j->status ? now : now + timeout_ms);
    if (l) {
        l->role = LINK_JOINING;
        j->link = l;
    }
}

int join_opened(struct link *l) {
    struct peers *p = l->peers;
    struct joining *j = &p->joining;
    struct join_request req = {0};
    struct buf body;
    if (l != j->link) {
        return ERR_AUTH;
    }
    timer_stop(p->params.timers, &l->timer);
    j->prove(j->ctx, session_hash(l->session), &req);
    buf_init(&body, PEER_BODY_MAX);
    join_request_encode(&req, &body);
    j->id = p->next_request++;
    struct peer_request frame = {.id = j->id, .op = OP_JOIN, .body = body.bytes, .body_size = body.size};
    peer_request_frame(&frame, &l->out);
    link_queue(l);
    int rc = body.error;
    buf_release(&body);
    return rc;
}

int join_frame(struct link *l, const uint8_t *frame, size_t size) {
    struct peers *p = l->peers;
    struct joining *j = &p->joining;
    struct peer_reply reply;
    if (peer_reply_decode(frame, size, &reply) || reply.id != j->id) {
        return ERR_PROTOCOL;
    }
    timer_stop(p->params.timers, &j->timer);
    j->link = NULL;
    l->role = LINK_MEMBER; /* closed() has nothing more to report */
    l->node = 0;
    link_close(l, NULL);
    if (j->active) {
        join_report(j, reply.status, reply.body, reply.body_size);
    }
    return 0;
}

void join_closed(struct link *l, int status) {
    struct peers *p = l->peers;
    struct joining *j = &p->joining;
    if (j->link != l) {
        return;
    }
    j->link = NULL;
    if (j->active) {
        /* A session that breaks before it opens means the keys or the swarm do not match. */
        timer_stop(p->params.timers, &j->timer);
        bool refused = status != ERR_UNREACHABLE && l->session && !l->opened;
        join_report(j, refused ? ERR_AUTH : status ? status : ERR_CLOSED, NULL, 0);
    }
}
