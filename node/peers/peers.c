/* Who the peers are, who is alive, and the way of the net port's events to their links. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define LOG_LINE_MAX 256
#define LATE_MS 100 /* a timer that is so late was held up */

/* What strangers do is logged, but they do not decide how much. */
void peers_log(struct peers *p, const char *format, ...) {
    uint64_t now = clock_now_ms(p->params.clock);
    char line[LOG_LINE_MAX];
    va_list args;
    if (now >= p->log_window_ms + LOG_WINDOW_MS) {
        p->log_window_ms = now;
        p->log_lines = 0;
    }
    if (p->log_lines++ >= LOG_LINES_MAX) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    p->params.events.log(p->params.events.ctx, line);
}

struct peer *peer_find(const struct peers *p, uint32_t node) {
    struct peer *peer;
    HASH_FIND(hh, p->peers, &node, sizeof(node), peer);
    return peer;
}

/* A session over which nothing was heard for long may hang in the retransmissions of a path that has come back since:
 * a fresh one is quicker. */
static void renew_stale(struct peer *peer) {
    struct link *l = peer->out[LANE_CONTROL];
    uint64_t now = clock_now_ms(peer->peers->params.clock);
    if (!l || l->state != LINK_OPEN || now < peer->heard_ms + PEERS_STALE_MS || now < l->opened_ms + PEERS_STALE_MS) {
        return;
    }
    link_close(l, NULL);
    if (peer->out[LANE_BULK]) {
        link_close(peer->out[LANE_BULK], NULL);
    }
}

/* ---- who is alive -----------------------------------------------------------------------------------------------
 *
 * Only what stops when the sender's disk stops counts as heard: its pings and its raft messages. */

void peer_lapsed(struct peer *peer) {
    struct peers *p = peer->peers;
    timer_stop(p->params.timers, &peer->silence);
    if (peer->alive) {
        peer->alive = false;
        p->params.events.lapsed(p->params.events.ctx, peer->node, peer->heard_ms);
    }
}

void peer_heard(struct peer *peer) {
    peer->heard_ms = clock_now_ms(peer->peers->params.clock);
}

void peer_pinged(struct peer *peer, const struct peer_ping *ping) {
    struct peers *p = peer->peers;
    if (peer->ping.incarnation != ping->incarnation) {
        peer_lapsed(peer); /* it has forgotten what it knew when it was heard last */
    }
    peer_heard(peer);
    peer->ping = *ping;
    if (!peer->alive) {
        peer->alive = true;
        timer_start(p->params.timers, &peer->silence, peer->heard_ms + PEERS_DEAD_MS);
        p->params.events.alive(p->params.events.ctx, peer->node);
    }
}

/* A timer that fires late says that this node was held up, not that the peer was silent: what it said may wait in the
 * socket and is read first. */
static void silence_fire(struct timer *t) {
    struct peer *peer = (struct peer *)((char *)t - offsetof(struct peer, silence));
    struct peers *p = peer->peers;
    uint64_t now = clock_now_ms(p->params.clock);
    bool held_up = now >= peer->silence.at_ms + LATE_MS;
    if (now >= peer->heard_ms + PEERS_DEAD_MS && !held_up) {
        peer_lapsed(peer);
        return;
    }
    uint64_t next = peer->heard_ms + PEERS_DEAD_MS;
    timer_start(p->params.timers, &peer->silence, next > now ? next : now + LATE_MS / 2);
}

static void ping_fire(struct timer *t) {
    struct peers *p = (struct peers *)((char *)t - offsetof(struct peers, pinging));
    struct peer_ping ping = {0};
    struct peer *peer, *next;
    bool fit = p->params.events.make_ping(p->params.events.ctx, &ping);
    HASH_ITER(hh, p->peers, peer, next) {
        struct buf *b = fit ? peers_control(p, peer->node) : NULL;
        if (b) {
            peer_ping_frame(&ping, b);
        }
        renew_stale(peer);
    }
    timer_start(p->params.timers, &p->pinging, clock_now_ms(p->params.clock) + PEERS_PING_MS);
}

int peers_new(const struct peers_params *params, struct peers **ret_peers) {
    struct peers *p = calloc(1, sizeof(*p));
    if (!p) {
        return ERR_NOMEM;
    }
    p->params = *params;
    TAILQ_INIT(&p->links);
    TAILQ_INIT(&p->dirty);
    TAILQ_INIT(&p->calls);
    p->flush.fire = link_flush_fire;
    p->pinging.fire = ping_fire;
    p->next_serial = 1;
    p->next_request = random_u64(params->random) >> 16; /* answers of an earlier life match nothing */
    buf_init(&p->scratch, FRAME_MAX + 4);
    buf_init(&p->joining.body, PEER_BODY_MAX);
    *ret_peers = p;
    return 0;
}

static void peer_free(struct peers *p, struct peer *peer) {
    for (int lane = 0; lane < LANES; lane++) {
        timer_stop(p->params.timers, &peer->redial[lane].timer);
    }
    timer_stop(p->params.timers, &peer->silence);
    HASH_DEL(p->peers, peer); // NOLINT(clang-analyzer-core.NullDereference): p->peers holds at least this one
    free(peer);
}

void peers_free(struct peers *p) {
    struct peer *peer, *next;
    if (!p) {
        return;
    }
    requests_release(p);
    while (!TAILQ_EMPTY(&p->links)) {
        link_free(TAILQ_FIRST(&p->links));
    }
    HASH_ITER(hh, p->peers, peer, next) {
        peer_free(p, peer);
    }
    timer_stop(p->params.timers, &p->flush);
    timer_stop(p->params.timers, &p->pinging);
    timer_stop(p->params.timers, &p->joining.timer);
    buf_release(&p->scratch);
    buf_release(&p->joining.body);
    free(p);
}

void peers_set_swarm(struct peers *p, const uint8_t swarm[32], uint32_t self) {
    memcpy(p->swarm, swarm, sizeof(p->swarm));
    p->self = self;
    p->known = true;
    timer_start(p->params.timers, &p->pinging, clock_now_ms(p->params.clock));
}

static void cut_off(struct peer *peer) {
    peer->gone = true;
    peer_lapsed(peer);
    for (int lane = 0; lane < LANES; lane++) {
        timer_stop(peer->peers->params.timers, &peer->redial[lane].timer);
        if (peer->out[lane]) {
            link_close(peer->out[lane], NULL);
        }
        if (peer->in[lane]) {
            link_close(peer->in[lane], NULL);
        }
    }
}

static struct peer *peer_new(struct peers *p, const struct member *m) {
    struct peer *peer = calloc(1, sizeof(*peer));
    CHECK(peer); /* bounded by MEMBERS_MAX */
    peer->peers = p;
    peer->node = m->node;
    memcpy(peer->dh, m->dh, sizeof(peer->dh));
    peer->silence.fire = silence_fire;
    TAILQ_INIT(&peer->requests);
    for (int lane = 0; lane < LANES; lane++) {
        peer->redial[lane].timer.fire = redial_fire;
        peer->redial[lane].peer = peer;
        peer->redial[lane].lane = (enum lane)lane;
        peer->redial[lane].backoff_ms = PEERS_REDIAL_MIN_MS;
    }
    HASH_ADD(hh, p->peers, node, sizeof(peer->node), peer);
    return peer;
}

void peers_set_members(struct peers *p, const struct members *m) {
    CHECK(p->known);
    p->members = m;
    for (size_t i = 0; i < members_count(m); i++) {
        const struct member *row = members_at(m, i);
        struct peer *peer = row->node == p->self ? NULL : peer_find(p, row->node);
        if (row->node == p->self || (row->state == MEMBER_GONE && !peer)) {
            continue;
        }
        if (row->state == MEMBER_GONE) {
            cut_off(peer);
            continue;
        }
        peer = peer ? peer : peer_new(p, row);
        if (strcmp(peer->addr, row->addr) != 0) {
            memcpy(peer->addr, row->addr, sizeof(peer->addr));
            peer->mistaken = false;
            peer->redial[LANE_CONTROL].backoff_ms = PEERS_REDIAL_MIN_MS;
        }
        if (!peer->out[LANE_CONTROL]) {
            dial(peer, LANE_CONTROL);
        }
    }
}

struct buf *peers_control(struct peers *p, uint32_t node) {
    struct peer *peer = peer_find(p, node);
    struct link *l = peer ? peer->out[LANE_CONTROL] : NULL;
    if (!l || l->state != LINK_OPEN) {
        return NULL;
    }
    if (net_unsent(l->conn) + l->out.size > PEERS_CONTROL_UNSENT_MAX) {
        link_close(l, NULL);
        return NULL;
    }
    link_queue(l);
    return &l->out;
}

void peers_break(struct peers *p, uint32_t node) {
    struct peer *peer = peer_find(p, node);
    struct link *l = peer ? peer->out[LANE_CONTROL] : NULL;
    if (l && l->state == LINK_OPEN) {
        link_close(l, NULL);
    }
}

bool peers_alive(const struct peers *p, uint32_t node) {
    if (node == p->self) {
        return true;
    }
    const struct peer *peer = peer_find(p, node);
    return peer && peer->alive && peer->out[LANE_CONTROL] && peer->out[LANE_CONTROL]->state == LINK_OPEN;
}

const struct peer_ping *peers_last_ping(const struct peers *p, uint32_t node) {
    const struct peer *peer = peer_find(p, node);
    return peer && peers_alive(p, node) ? &peer->ping : NULL;
}
