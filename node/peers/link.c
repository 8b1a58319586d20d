/* One connection: handshake, who is at the other end, frames in, frames out. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static void link_fire(struct timer *t) {
    struct link *l = (struct link *)((char *)t - offsetof(struct link, timer));
    link_close(l, l->dialled || l->role == LINK_GONE ? NULL : "nothing usable within the time for a handshake");
}

static struct link *link_new(struct peers *p, struct net_conn *c, bool dialled) {
    struct link *l = calloc(1, sizeof(*l));
    if (!l) {
        return NULL;
    }
    l->magic = LINK_MAGIC;
    l->peers = p;
    l->conn = c;
    l->serial = p->next_serial++;
    l->dialled = dialled;
    l->state = dialled ? LINK_CONNECTING : LINK_HANDSHAKE;
    l->timer.fire = link_fire;
    buf_init(&l->out, LINK_OUT_MAX);
    frame_reader_init(&l->frames, FRAME_GUEST_MAX);
    TAILQ_INSERT_TAIL(&p->links, l, link);
    net_set_user(c, l);
    timer_start(p->params.timers, &l->timer, clock_now_ms(p->params.clock) + PEERS_HANDSHAKE_MS);
    return l;
}

void link_free(struct link *l) {
    struct peers *p = l->peers;
    timer_stop(p->params.timers, &l->timer);
    if (l->out_queued) {
        TAILQ_REMOVE(&p->dirty, l, out_link);
    }
    if (!l->dialled && l->role != LINK_MEMBER) {
        p->strangers--;
    }
    TAILQ_REMOVE(&p->links, l, link);
    session_free(l->session);
    frame_reader_release(&l->frames);
    buf_release(&l->out);
    l->magic = 0;
    free(l);
}

int link_dial(struct peers *p, const char *addr, struct link **ret_link) {
    struct net_conn *c;
    int rc = net_connect(p->params.net, addr, &c);
    if (rc) {
        return rc;
    }
    struct link *l = link_new(p, c, true);
    if (!l) {
        net_close(c);
        return ERR_NOMEM;
    }
    *ret_link = l;
    return 0;
}

void link_close(struct link *l, const char *why) {
    if (l->state == LINK_CLOSING) {
        return;
    }
    if (why) {
        peers_log(l->peers, "cut off %s: %s", net_peer_name(l->conn), why);
    }
    l->state = LINK_CLOSING;
    net_close(l->conn);
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

static int link_room(void *ctx, size_t size, uint8_t **ret_room) {
    struct link *l = ctx;
    return net_extend(l->conn, size, ret_room);
}

void link_queue(struct link *l) {
    struct peers *p = l->peers;
    if (l->state != LINK_OPEN) {
        return; /* it waits for the session: see dial_opened */
    }
    if (!l->out_queued) {
        l->out_queued = true;
        TAILQ_INSERT_TAIL(&p->dirty, l, out_link);
    }
    if (p->flush.slot == 0) {
        timer_start(p->params.timers, &p->flush, clock_now_ms(p->params.clock));
    }
}

void link_flush_fire(struct timer *t) {
    struct peers *p = (struct peers *)((char *)t - offsetof(struct peers, flush));
    while (!TAILQ_EMPTY(&p->dirty)) {
        struct link *l = TAILQ_FIRST(&p->dirty);
        TAILQ_REMOVE(&p->dirty, l, out_link);
        l->out_queued = false;
        if (l->state == LINK_OPEN && l->out.size) {
            int rc = l->out.error;
            rc = rc ? rc : session_send(l->session, l->out.bytes, l->out.size, link_room, l);
            if (rc) {
                link_close(l, NULL);
            }
        }
        if (l->out.capacity > FRAME_MAX) {
            buf_release(&l->out); /* a burst does not keep its memory */
        } else {
            buf_clear(&l->out);
        }
    }
}

/* ---- who is there ----------------------------------------------------------------------------------------------- */

static int start_session(struct link *l) {
    struct peers *p = l->peers;
    const uint8_t *swarm = l->role == LINK_JOINING ? p->joining.swarm : p->swarm;
    uint8_t prologue[sizeof(WIRE_PROTOCOL) - 1 + SWARM_ID_SIZE];
    struct hello hello = {.role = l->role == LINK_JOINING ? HELLO_GUEST : HELLO_MEMBER, .lane = l->lane};
    struct buf b;
    memcpy(prologue, WIRE_PROTOCOL, sizeof(WIRE_PROTOCOL) - 1);
    memcpy(prologue + sizeof(WIRE_PROTOCOL) - 1, swarm, SWARM_ID_SIZE);
    memcpy(hello.id, p->params.identity->public_key, sizeof(hello.id));
    buf_init(&b, SESSION_HELLO_MAX);
    hello_encode(&hello, &b);
    struct session_params sp = {.initiator = l->dialled,
                                .aesgcm = p->params.aesgcm,
                                .self = p->params.identity,
                                .prologue = prologue,
                                .prologue_size = sizeof(prologue),
                                .hello = b.bytes,
                                .hello_size = b.size};
    random_fill(p->params.random, sp.ephemeral_secret, sizeof(sp.ephemeral_secret));
    int rc = b.error ? b.error : session_new(&sp, &l->session);
    buf_release(&b);
    return rc ? rc : session_start(l->session, link_room, l);
}

static void open_as(struct link *l, enum link_role role, size_t frame_limit) {
    if (!l->dialled && role == LINK_MEMBER) {
        l->peers->strangers--;
    }
    l->role = role;
    l->state = LINK_OPEN;
    l->opened = true;
    l->opened_ms = clock_now_ms(l->peers->params.clock);
    frame_reader_release(&l->frames);
    frame_reader_init(&l->frames, frame_limit);
}

static int accept_member(struct link *l, const struct member *m, enum lane lane) {
    struct peer *peer = peer_find(l->peers, m->node);
    if (!peer || peer->gone) {
        return ERR_AUTH;
    }
    timer_stop(l->peers->params.timers, &l->timer);
    l->node = m->node;
    l->lane = lane;
    open_as(l, LINK_MEMBER, FRAME_MAX);
    if (peer->in[lane]) {
        struct link *old = peer->in[lane];
        peer->in[lane] = NULL;
        link_close(old, NULL); /* it dialled anew: the older session is a leftover */
        if (lane == LANE_CONTROL) {
            peer_lapsed(peer);
        }
    }
    peer->in[lane] = l;
    dial(peer, lane); /* who speaks to us wants answers */
    return 0;
}

/* Told that it is gone, by its row; nothing it says is heard. It hangs up, or the timer of the handshake does. */
static int accept_gone(struct link *l, const struct member *m) {
    open_as(l, LINK_GONE, FRAME_MAX);
    peer_farewell_frame(members_epoch(l->peers->members), m, &l->out);
    link_queue(l);
    return l->out.error;
}

/* Accepted: a member by its key, or a guest that said so. Dialled: the key we expect, or nobody. */
static int session_opened(void *ctx) {
    struct link *l = ctx;
    struct peers *p = l->peers;
    const uint8_t *key = session_remote_key(l->session);
    size_t size;
    const uint8_t *bytes = session_remote_hello(l->session, &size);
    struct hello hello;
    uint8_t dh[32];
    if (hello_decode(bytes, size, &hello) || identity_dh_public(hello.id, dh) || memcmp(dh, key, sizeof(dh)) != 0) {
        return ERR_AUTH;
    }
    if (l->role == LINK_JOINING) {
        if (memcmp(p->joining.inviter_dh, key, sizeof(p->joining.inviter_dh)) != 0) {
            return ERR_AUTH; /* before it counts as opened: what the guest is told depends on that */
        }
        open_as(l, LINK_JOINING, FRAME_MAX);
        return join_opened(l);
    }
    if (l->dialled) {
        struct peer *peer = peer_find(p, l->node);
        if (!peer || memcmp(peer->dh, key, sizeof(peer->dh)) != 0) {
            dial_mistaken(l);
            return ERR_AUTH;
        }
        timer_stop(p->params.timers, &l->timer);
        open_as(l, LINK_MEMBER, FRAME_GUEST_MAX);
        dial_opened(l);
        return 0;
    }
    if (hello.role == HELLO_GUEST) {
        memcpy(l->guest_id, hello.id, sizeof(l->guest_id));
        open_as(l, LINK_GUEST, FRAME_GUEST_MAX);
        return 0;
    }
    const struct member *m = p->members ? members_find_dh(p->members, key) : NULL;
    if (m && m->state == MEMBER_GONE) {
        return accept_gone(l, m);
    }
    return m ? accept_member(l, m, hello.lane) : ERR_AUTH;
}

/* ---- receiving -------------------------------------------------------------------------------------------------- */

static int member_frame(struct link *l, enum peer_kind kind, const uint8_t *frame, size_t size) {
    const struct peers_events *ev = &l->peers->params.events;
    struct peer *peer = peer_find(l->peers, l->node);
    struct peer_ping ping;
    switch (kind) {
    case PEER_PING:
        if (peer_ping_decode(frame, size, &ping)) {
            return ERR_PROTOCOL;
        }
        peer_pinged(peer, &ping);
        ev->ping(ev->ctx, l->node, &ping);
        return 0;
    case PEER_RAFT:
        peer_heard(peer);
        ev->raft(ev->ctx, l->node, frame, size);
        return 0;
    case PEER_ROUTES:
        ev->routes(ev->ctx, l->node, frame, size);
        return 0;
    case PEER_LED:
        ev->led(ev->ctx, l->node, frame, size);
        return 0;
    case PEER_REQUEST:
        return request_frame(l, frame, size);
    case PEER_REPLY:
        return reply_frame(l, frame, size);
    default:
        return ERR_PROTOCOL;
    }
}

/* On a session that we dialled nobody speaks but to say this. */
static int farewell_frame(struct link *l, const uint8_t *frame, size_t size) {
    const struct peers_events *ev = &l->peers->params.events;
    const struct identity *self = l->peers->params.identity;
    struct member row;
    uint64_t epoch;
    if (peer_farewell_decode(frame, size, &epoch, &row) || row.node != l->peers->self ||
        memcmp(row.id, self->public_key, sizeof(row.id)) != 0) {
        return ERR_PROTOCOL;
    }
    link_close(l, NULL);
    ev->farewell(ev->ctx, epoch, &row);
    return ERR_CLOSED;
}

static int link_frame(void *ctx, const uint8_t *frame, size_t size) {
    struct link *l = ctx;
    enum peer_kind kind;
    if (l->state != LINK_OPEN) {
        return ERR_CLOSED;
    }
    if (peer_kind_of(frame, size, &kind)) {
        return ERR_PROTOCOL;
    }
    if (l->role == LINK_GONE) {
        return 0;
    }
    if (l->role == LINK_JOINING) {
        return kind == PEER_REPLY ? join_frame(l, frame, size) : ERR_PROTOCOL;
    }
    if (l->role == LINK_GUEST) {
        return kind == PEER_REQUEST ? request_frame(l, frame, size) : ERR_PROTOCOL;
    }
    if (l->dialled) {
        return kind == PEER_FAREWELL ? farewell_frame(l, frame, size) : ERR_PROTOCOL;
    }
    return member_frame(l, kind, frame, size);
}

static int link_plain(void *ctx, const uint8_t *bytes, size_t size) {
    struct link *l = ctx;
    return frame_read(&l->frames, bytes, size, link_frame, l);
}

void peers_received(struct peers *p, struct net_conn *c, const uint8_t *bytes, size_t size) {
    struct link *l = net_user(c);
    CHECK(l->magic == LINK_MAGIC && l->peers == p);
    if (l->state != LINK_HANDSHAKE && l->state != LINK_OPEN) {
        return;
    }
    struct session_callbacks cb = {.room = link_room, .plain = link_plain, .opened = session_opened, .ctx = l};
    int rc = session_receive(l->session, bytes, size, &cb);
    if (rc) {
        link_close(l, err_text(rc));
    }
}

/* ---- events of the net port ------------------------------------------------------------------------------------- */

/* Whoever has not even finished a handshake goes before a member that is gone, and that one before a guest. */
static bool evict_oldest(struct peers *p, enum link_role role) {
    struct link *l;
    TAILQ_FOREACH(l, &p->links, link) {
        if (!l->dialled && l->role == role && l->state != LINK_CLOSING) {
            link_close(l, "too many unknown connections: the oldest goes");
            return true;
        }
    }
    return false;
}

void peers_accepted(struct peers *p, struct net_conn *c) {
    if (p->strangers >= PEERS_STRANGERS_MAX && !evict_oldest(p, LINK_STRANGER) && !evict_oldest(p, LINK_GONE)) {
        (void)evict_oldest(p, LINK_GUEST);
    }
    struct link *l = p->known && p->strangers < 2 * PEERS_STRANGERS_MAX ? link_new(p, c, false) : NULL;
    if (!l) {
        net_close(c);
        return;
    }
    p->strangers++;
    if (start_session(l)) {
        link_close(l, NULL);
    }
}

void peers_connected(struct peers *p, struct net_conn *c) {
    struct link *l = net_user(c);
    CHECK(l->magic == LINK_MAGIC && l->peers == p);
    if (l->state == LINK_CONNECTING) {
        l->state = LINK_HANDSHAKE;
        if (start_session(l)) {
            link_close(l, NULL);
        }
    }
}

void peers_drained(struct peers *p, struct net_conn *c) {
    (void)p;
    (void)c;
}

void peers_closed(struct peers *p, struct net_conn *c, int status) {
    struct link *l = net_user(c);
    if (!l) {
        return; /* refused before it became a link */
    }
    CHECK(l->magic == LINK_MAGIC && l->peers == p);
    if (l->role == LINK_JOINING) {
        join_closed(l, status);
    } else if (l->node) {
        dial_closed(l);
    }
    link_free(l);
}

bool peers_owns(const struct peers *p, const struct net_conn *c) {
    const struct link *l = net_user(c);
    return l && l->magic == LINK_MAGIC && l->peers == p;
}
