/* What the groups say to other nodes leaves together, once per turn of the loop. */
#include <stdlib.h>

#include "internal.h"

#define OUTGOING_MAX (8 * 1024 * 1024) /* of one turn to one peer; what does not fit costs the session */

static struct outgoing *outgoing_to(struct groups *g, uint32_t node) {
    struct outgoing *o;
    HASH_FIND(hh, g->outgoing, &node, sizeof(node), o);
    if (!o) {
        o = calloc(1, sizeof(*o));
        if (!o) {
            return NULL;
        }
        o->node = node;
        buf_init(&o->frames, OUTGOING_MAX);
        HASH_ADD(hh, g->outgoing, node, sizeof(o->node), o);
    }
    return o;
}

void outgoing_message(struct groups *g, uint32_t group, const struct raft_message *m) {
    if (m->to_node == 0 || m->to_node == g->self || groups_disk_stuck(g) ||
        !peers_control(g->params.peers, m->to_node)) {
        return;
    }
    struct outgoing *o = outgoing_to(g, m->to_node);
    if (!o || o->frames.size > OUTGOING_MAX - FRAME_MAX) {
        peers_break(g->params.peers, m->to_node);
        return;
    }
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!o->open) {
            peer_raft_begin(&o->batch, &o->frames);
            o->open = true;
        }
        if (peer_raft_add(&o->batch, group, m)) {
            g->messages++;
            break;
        }
        peer_raft_end(&o->batch);
        o->open = false;
    }
    groups_flush_soon(g);
}

void outgoing_announce(struct replica *r) {
    if (!r->announced && !r->dead) {
        r->announced = true;
        TAILQ_INSERT_TAIL(&r->groups->announce, r, announce_link);
        groups_flush_soon(r->groups);
    }
}

/* Leaders tell everybody where their groups live. */
struct announcement {
    struct raft_batch batch;
    bool open;
};

static void announce(struct announcement *a, const struct replica *r, struct buf *out) {
    struct group_route route = {.group = r->group, .route = *routes_get(r->groups->routes, r->group)};
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!a->open) {
            peer_routes_begin(&a->batch, out);
            a->open = true;
        }
        if (peer_routes_add(&a->batch, &route)) {
            return;
        }
        peer_routes_end(&a->batch);
        a->open = false;
    }
}

static void announce_end(struct announcement *a) {
    if (a->open) {
        peer_routes_end(&a->batch);
    }
}

void outgoing_announce_all(struct groups *g, uint32_t node) {
    struct announcement a = {.open = false};
    struct buf *out = peers_control(g->params.peers, node);
    for (uint32_t i = 0; out && i < g->count; i++) {
        if (g->replicas[i] && g->replicas[i]->leading) {
            announce(&a, g->replicas[i], out);
        }
    }
    announce_end(&a);
}

static void announce_flush(struct groups *g) {
    struct buf frames;
    if (TAILQ_EMPTY(&g->announce)) {
        return;
    }
    buf_init(&frames, OUTGOING_MAX);
    struct announcement a = {.open = false};
    const struct replica *news;
    TAILQ_FOREACH(news, &g->announce, announce_link) {
        if (news->leading) {
            announce(&a, news, &frames);
        }
    }
    announce_end(&a);
    for (size_t i = 0; g->members && frames.size && i < members_count(g->members); i++) {
        const struct member *m = members_at(g->members, i);
        struct buf *b = m->node == g->self ? NULL : peers_control(g->params.peers, m->node);
        if (b) {
            buf_append(b, frames.bytes, frames.size);
        }
    }
    buf_release(&frames);
    while (!TAILQ_EMPTY(&g->announce)) {
        struct replica *r = TAILQ_FIRST(&g->announce);
        TAILQ_REMOVE(&g->announce, r, announce_link);
        r->announced = false;
    }
}

void outgoing_flush(struct groups *g) {
    struct outgoing *o, *next;
    announce_flush(g);
    HASH_ITER(hh, g->outgoing, o, next) {
        if (o->open) {
            peer_raft_end(&o->batch);
            o->open = false;
        }
        struct buf *b = o->frames.size ? peers_control(g->params.peers, o->node) : NULL;
        if (b && o->frames.error) {
            peers_break(g->params.peers, o->node);
        } else if (b) {
            buf_append(b, o->frames.bytes, o->frames.size);
        }
        buf_clear(&o->frames);
    }
}

void outgoing_release(struct groups *g) {
    struct outgoing *o, *next;
    HASH_ITER(hh, g->outgoing, o, next) {
        HASH_DEL(g->outgoing, o);
        buf_release(&o->frames);
        free(o);
    }
}
