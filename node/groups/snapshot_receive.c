/* Taking a snapshot: pieces are staged on disk; the last one lets the core decide, and the staged state replaces the
 * old one in a single transaction. A crash in between leaves the old state and a stage that the next first piece
 * clears. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct stage_op {
    struct disk_op op;
    struct replica *replica;
    struct peers_call *call;
    uint32_t group;
    struct machine_arc arc;
    bool first, last;
    int status; /* what is wrong with the piece */
    size_t size;
    uint8_t bytes[];
};

static int stage_run(struct txn *t, struct disk_op *op) {
    struct stage_op *s = (struct stage_op *)op;
    int rc = s->first ? machine_stage_clear(t, s->group) : 0;
    if (rc) {
        return rc;
    }
    rc = machine_stage(t, s->group, &s->arc, s->bytes, s->size);
    if (rc == ERR_PROTOCOL) {
        s->status = rc; /* the peer's fault, not the disk's */
        rc = machine_stage_clear(t, s->group);
    }
    return rc;
}

/* ---- leftovers ----------------------------------------------------------------------------------------------------
 */

struct clear_op {
    struct disk_op op;
    uint32_t first, count; /* groups */
};

static int clear_run(struct txn *t, struct disk_op *op) {
    struct clear_op *c = (struct clear_op *)op;
    int rc = 0;
    for (uint32_t i = 0; i < c->count && !rc; i++) {
        rc = machine_stage_clear(t, c->first + i);
    }
    return rc;
}

static void clear_done(struct disk_op *op, int status) {
    CHECK(status == 0);
    free(op);
}

/* What is staged and will not be installed goes: a transfer that broke off, or one from before a restart. */
void snapshot_clear(struct groups *g, uint32_t first, uint32_t count) {
    struct clear_op *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->op.run = clear_run;
    c->op.done = clear_done;
    c->first = first;
    c->count = count;
    disk_write(g->params.disk, DISK_META, &c->op);
}

void snapshot_receive_tick(struct replica *r) {
    uint64_t now = clock_now_ms(r->groups->params.clock);
    if (r->in && !r->in->staging && now > r->in->heard_ms + GROUPS_SNAPSHOT_MS) {
        free(r->in);
        r->in = NULL;
        snapshot_clear(r->groups, r->group, 1);
    }
}

/* ---- installing ---------------------------------------------------------------------------------------------------
 */

static void install(struct replica *r) {
    struct snapshot_in *in = r->in;
    struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT,
                            .snapshot = {.index = in->index,
                                         .term = in->index_term,
                                         .config = &in->config,
                                         .from = in->from,
                                         .from_node = in->node,
                                         .leader_term = in->term}};
    (void)replica_step(r, &ev);
    if (!r->installing) {
        snapshot_clear(r->groups, r->group, 1); /* the core had no use for it */
    }
    free(r->in);
    r->in = NULL;
}

static void stage_done(struct disk_op *op, int status) {
    struct stage_op *s = (struct stage_op *)op;
    struct replica *r = s->replica;
    bool gone = r->dead || r->groups->stopped;
    CHECK(status == 0);
    if (!gone) {
        CHECK(r->in && r->in->staging);
        r->in->staging = false;
        r->in->next++;
        if (s->status) {
            free(r->in);
            r->in = NULL;
        } else if (s->last) {
            install(r);
        }
    }
    if (!r->groups->stopped) {
        peers_reply(s->call, gone ? ERR_MOVED : s->status, NULL, 0);
    }
    replica_op_done(r);
    free(s);
}

/* 0: to be staged. ERR_EXISTS: it is staged already, and the answer that said so was lost. ERR_BUSY: not at the moment.
 * ERR_STALE: something else is wanted, so all of it has to come again. */
static int accept_piece(struct replica *r, uint32_t node, const struct snapshot_piece *p) {
    if (r->installing || (r->in && r->in->staging)) {
        return ERR_BUSY;
    }
    if (p->number == 0) {
        free(r->in);
        r->in = calloc(1, sizeof(*r->in));
        if (!r->in) {
            return ERR_NOMEM;
        }
        r->in->from = p->from;
        r->in->node = node;
        r->in->term = p->term;
        r->in->index = p->index;
        r->in->index_term = p->index_term;
        r->in->stamp_ms = p->stamp_ms;
        r->in->config = p->config;
        return 0;
    }
    bool same = r->in && r->in->from == p->from && r->in->index == p->index && r->in->index_term == p->index_term;
    if (same && r->in->next == p->number) {
        return 0;
    }
    return same && r->in->next == p->number + 1 ? ERR_EXISTS : ERR_STALE;
}

void snapshot_receive(struct groups *g, struct peers_call *call, const struct snapshot_piece *piece) {
    struct replica *r = piece->group < g->count ? g->replicas[piece->group] : NULL;
    if (!r || r->id != piece->to) {
        peers_reply(call, ERR_MOVED, NULL, 0);
        return;
    }
    if (piece->from == 0 || piece->from == r->id) {
        peers_reply(call, ERR_INVALID, NULL, 0); /* nobody feeds itself, and the core would answer to it */
        return;
    }
    int rc = accept_piece(r, call->from, piece);
    struct stage_op *s = rc == 0 ? calloc(1, sizeof(*s) + piece->size) : NULL;
    if (rc == ERR_EXISTS) {
        r->in->heard_ms = clock_now_ms(g->params.clock);
    }
    if (!s) {
        peers_reply(call, rc == ERR_EXISTS ? 0 : rc ? rc : ERR_NOMEM, NULL, 0);
        return;
    }
    s->op.run = stage_run;
    s->op.done = stage_done;
    s->replica = r;
    s->call = call;
    s->group = r->group;
    groups_arc(g, r->group, &s->arc);
    s->first = piece->number == 0;
    s->last = piece->last;
    s->size = piece->size;
    if (piece->size) {
        memcpy(s->bytes, piece->bytes, piece->size);
    }
    r->in->staging = true;
    r->in->heard_ms = clock_now_ms(g->params.clock);
    r->ops++;
    disk_write(g->params.disk, DISK_META, &s->op);
}
