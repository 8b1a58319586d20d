/* Keeping sessions to the members: the control lane always, the bulk lane once somebody needs it. */
#include <string.h>

#include "internal.h"

void dial_later(struct peer *peer, enum lane lane) {
    struct redial *rd = &peer->redial[lane];
    struct peers *p = peer->peers;
    uint64_t jitter = random_u64(p->params.random) % (rd->backoff_ms + 1);
    if (peer->gone || peer->out[lane] || rd->timer.slot) {
        return;
    }
    timer_start(p->params.timers, &rd->timer, clock_now_ms(p->params.clock) + rd->backoff_ms / 2 + jitter);
    rd->backoff_ms = rd->backoff_ms * 2 < PEERS_REDIAL_MAX_MS ? rd->backoff_ms * 2 : PEERS_REDIAL_MAX_MS;
}

/* A machine that lost its disk is back as another member at the address of the old one; the table holds both until the
 * old one is removed. The address belongs to whoever is there: to us, if it is ours, or to a member whom we reach. */
static bool taken(const struct peer *peer) {
    const struct peers *p = peer->peers;
    const struct member *self = p->members ? members_find(p->members, p->self) : NULL;
    if (self && strcmp(self->addr, peer->addr) == 0) {
        return true;
    }
    struct peer *other, *next;
    if (!peer->mistaken) {
        return false;
    }
    HASH_ITER(hh, p->peers, other, next) {
        const struct link *l = other->out[LANE_CONTROL];
        if (other != peer && l && l->state == LINK_OPEN && strcmp(other->addr, peer->addr) == 0) {
            return true;
        }
    }
    return false;
}

/* Most peers never see this, so that only those who do pay for the search among all others. */
void dial_mistaken(struct link *l) {
    struct peer *peer = peer_find(l->peers, l->node);
    if (peer) {
        peer->mistaken = true;
    }
}

void dial(struct peer *peer, enum lane lane) {
    struct link *l;
    if (peer->gone || peer->out[lane]) {
        return;
    }
    timer_stop(peer->peers->params.timers, &peer->redial[lane].timer);
    if (taken(peer)) {
        dial_later(peer, lane);
        return;
    }
    if (link_dial(peer->peers, peer->addr, &l)) {
        dial_later(peer, lane);
        return;
    }
    l->node = peer->node;
    l->role = LINK_MEMBER;
    l->lane = lane;
    peer->out[lane] = l;
}

void redial_fire(struct timer *t) {
    struct redial *rd = (struct redial *)((char *)t - offsetof(struct redial, timer));
    if (rd->lane == LANE_CONTROL || !TAILQ_EMPTY(&rd->peer->requests)) {
        dial(rd->peer, rd->lane);
    }
}

void dial_opened(struct link *l) {
    struct peers *p = l->peers;
    struct peer *peer = peer_find(p, l->node);
    CHECK(peer && peer->out[l->lane] == l);
    peer->mistaken = false;
    if (l->lane == LANE_CONTROL) {
        /* The other side learns at once that we are here. */
        struct peer_ping ping = {0};
        if (p->params.events.make_ping(p->params.events.ctx, &ping)) {
            peer_ping_frame(&ping, &l->out);
            link_queue(l);
        }
        p->params.events.opened(p->params.events.ctx, peer->node);
    }
    requests_opened(peer, l->lane);
    if (l->out.size) {
        link_queue(l); /* answers that waited for the session, too */
    }
}

void dial_closed(struct link *l) {
    struct peer *peer = peer_find(l->peers, l->node);
    if (!peer) {
        return;
    }
    if (!l->dialled) {
        if (peer->in[l->lane] == l) {
            peer->in[l->lane] = NULL;
            if (l->lane == LANE_CONTROL) {
                peer_lapsed(peer); /* with the session, messages may be lost */
            }
        }
        return;
    }
    CHECK(peer->out[l->lane] == l);
    peer->out[l->lane] = NULL;
    requests_lost(peer, l->lane, l->opened ? ERR_CLOSED : ERR_UNREACHABLE);
    if (l->opened && clock_now_ms(l->peers->params.clock) >= l->opened_ms + PEERS_SETTLED_MS) {
        /* Not sooner: who does not know us (any more) cuts us off only after the session opened on our side. */
        peer->redial[l->lane].backoff_ms = PEERS_REDIAL_MIN_MS;
    }
    if (l->lane == LANE_CONTROL) {
        if (l->opened) {
            l->peers->params.events.lost(l->peers->params.events.ctx, peer->node);
        }
        if (l->opened && peer->out[LANE_BULK]) {
            /* Nothing is sent on an idle bulk lane, so after a power cut over there it looks alive until an answer is
             * lost on it. The control lane, which pings, speaks for both. */
            link_close(peer->out[LANE_BULK], NULL);
        }
        dial_later(peer, l->lane);
    }
}
