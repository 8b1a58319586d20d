/* What the groups say to other nodes leaves together, once per turn of the loop. */
#include <stdlib.h>

#include "internal.h"

#define OUTGOING_MAX (8 * 1024 * 1024) /* of one turn to one peer; what does not fit is lost, as messages may be */

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
    if (m->to_node == 0 || m->to_node == g->self || !peers_control(g->params.peers, m->to_node)) {
        return;
    }
    struct outgoing *o = outgoing_to(g, m->to_node);
    if (!o || o->frames.size > OUTGOING_MAX - FRAME_MAX) {
        return;
    }
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!o->open) {
            peer_raft_begin(&o->batch, &o->frames);
            o->open = true;
        }
        if (peer_raft_add(&o->batch, group, m)) {
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
static void encode_routes(struct groups *g, const struct replica_list *list, struct buf *out) {
    struct raft_batch batch;
    struct replica *r;
    bool open = false;
    TAILQ_FOREACH(r, list, announce_link) {
        struct group_route route = {.group = r->group, .route = *routes_get(g->routes, r->group)};
        for (int attempt = 0; r->leading && attempt < 2; attempt++) {
            if (!open) {
                peer_routes_begin(&batch, out);
                open = true;
            }
            if (peer_routes_add(&batch, &route)) {
                break;
            }
            peer_routes_end(&batch);
            open = false;
        }
    }
    if (open) {
        peer_routes_end(&batch);
    }
}

static void announce_flush(struct groups *g) {
    struct buf frames;
    if (TAILQ_EMPTY(&g->announce)) {
        return;
    }
    buf_init(&frames, OUTGOING_MAX);
    encode_routes(g, &g->announce, &frames);
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
        struct buf *b = o->frames.size && !o->frames.error ? peers_control(g->params.peers, o->node) : NULL;
        if (b) {
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
