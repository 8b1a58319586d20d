/* What other nodes (and this one) ask of a replica: proposals and linearizable queries. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define QUERY_ANSWER_MAX PEER_BODY_MAX
#define SPACE_OF_STATE 2
#define SPACE_OF_ENTRY 3 /* times its size: in the log, in the state, and in what the state's tables need */

void serve_reply_route(struct groups *g, struct peers_call *call, int status, uint32_t group) {
    struct group_route route = {.group = group, .route = *routes_get(g->routes, group)};
    struct buf body;
    buf_init(&body, PEER_BODY_MAX);
    if (status == ERR_NOT_LEADER || status == ERR_MOVED) {
        group_route_encode(&route, &body);
    }
    peers_reply(call, status, body.bytes, body.size);
    buf_release(&body);
}

/* The replica that may serve a request, or NULL after an answer that says where to look. */
static struct replica *serving(struct groups *g, struct peers_call *call, uint32_t group) {
    if (group >= g->count) {
        peers_reply(call, ERR_INVALID, NULL, 0);
        return NULL;
    }
    struct replica *r = g->replicas[group];
    if (!r || !r->leading) {
        serve_reply_route(g, call, r ? ERR_NOT_LEADER : ERR_MOVED, group);
        return NULL;
    }
    return r;
}

/* The leader's stamp is the only time the state machine sees. */
static uint64_t next_stamp(struct replica *r) {
    uint64_t now = clock_wall_ms(r->groups->params.clock);
    if (now < r->stamp_ms) {
        now = r->stamp_ms;
    }
    if (now < r->proposed_stamp_ms) {
        now = r->proposed_stamp_ms;
    }
    r->proposed_stamp_ms = now;
    return now;
}

/* Commands that bring something to keep. What is left of a full disk is for those that take away. */
static bool grows(const struct group_request *req) {
    struct cbor_reader r;
    cbor_reader_init(&r, req->bytes, req->size);
    (void)cbor_get_array(&r, UINT8_MAX);
    uint64_t kind = cbor_get_uint(&r, COMMAND_KINDS - 1);
    return !r.error && (kind == COMMAND_NAME_PUT || kind == COMMAND_REF_ADD);
}

/* What is in the logs and not in the state yet takes its room there, too. */
static bool has_room(const struct groups *g, const struct group_request *req) {
    struct disk *d = g->params.disk;
    uint64_t space = SPACE_OF_ENTRY * (uint64_t)req->size;
    return disk_has_room(d, DISK_LOG, space) &&
           (!grows(req) || disk_has_room(d, DISK_META, space + SPACE_OF_STATE * g->log_excess));
}

/* Most writes need no look at the state to know that they succeed: they are answered when they are committed, however
 * far behind the state is. */
static void foretell(struct replica *r, struct pending *p, const struct group_request *req, uint64_t stamp) {
    struct machine_arc arc;
    buf_init(&p->foretold, PEER_BODY_MAX);
    groups_arc(r->groups, r->group, &arc);
    if (req->again || !machine_foretell(&arc, stamp, req->bytes, req->size, &p->foretold)) {
        buf_release(&p->foretold);
    }
}

void serve_propose(struct groups *g, struct peers_call *call, const struct group_request *req) {
    struct replica *r = serving(g, call, req->group);
    if (!r) {
        return;
    }
    if (!has_room(g, req)) {
        peers_reply(call, ERR_NO_SPACE, NULL, 0); /* a commit that fails for want of room is the end of the node */
        return;
    }
    if (replica_crowded(r) || replica_held_up(r)) {
        peers_reply(call, ERR_BUSY, NULL, 0);
        return;
    }
    struct pending *p = calloc(1, sizeof(*p));
    struct buf data;
    uint64_t stamp = next_stamp(r);
    buf_init(&data, RAFT_ENTRY_MAX);
    uint8_t *head = buf_extend(&data, STAMP_SIZE);
    if (head) {
        put_u64(head, stamp);
    }
    buf_append(&data, req->bytes, req->size);
    if (!p || data.error) {
        peers_reply(call, data.error ? data.error : ERR_NOMEM, NULL, 0);
        goto done;
    }
    p->call = call;
    p->size = data.size;
    foretell(r, p, req, stamp);
    struct raft_event ev = {.kind = RAFT_EV_PROPOSE, .propose = {.data = data.bytes, .size = data.size}};
    int rc = replica_step(r, &ev);
    if (rc) {
        serve_reply_route(g, call, rc, r->group);
        goto done;
    }
    p->index = g->update.ret_index;
    p->term = g->update.ret_term;
    CHECK(p->index > r->applied);
    TAILQ_INSERT_TAIL(&r->pending, p, link);
    p = NULL;
    apply_foretold(r); /* a lone voter may have committed it in the same step */
done:
    if (p) {
        pending_free(r, p);
    }
    buf_release(&data);
}

/* ---- queries --------------------------------------------------------------------------------------------------- */

struct query_op {
    struct disk_op op;
    struct groups *groups;
    uint32_t group;
    uint64_t replica; /* that was to be read; 0: a local query, of whatever is here */
    enum watch_kind watch;
    struct machine_arc arc;
    struct buf query;
    struct buf answer;
    struct peers_call *call; /* of a peer, or */
    groups_cb *cb;           /* a local query */
    void *ctx;
};

static int query_run(struct txn *t, struct disk_op *op) {
    struct query_op *q = (struct query_op *)op;
    int rc = machine_query(t, &q->arc, q->query.bytes, q->query.size, &q->answer);
    return rc ? rc : q->answer.error;
}

/* A replica that was removed meanwhile may have been read when its rows were gone already: what it did not find proves
 * nothing. While it stands, its removal has not even been handed to the disk. */
static bool still_here(const struct query_op *q) {
    const struct replica *r = q->groups->replicas[q->group];
    return r && r->id == q->replica;
}

static void query_done(struct disk_op *op, int status) {
    struct query_op *q = (struct query_op *)op;
    liveness_disk_ends(q->groups, q->watch);
    if (!q->groups->stopped) {
        if (q->call && !still_here(q)) {
            serve_reply_route(q->groups, q->call, ERR_MOVED, q->group);
        } else if (q->call) {
            peers_reply(q->call, status, q->answer.bytes, status ? 0 : q->answer.size);
        } else {
            q->cb(q->ctx, status, NULL, q->answer.bytes, status ? 0 : q->answer.size);
        }
    }
    buf_release(&q->query);
    buf_release(&q->answer);
    free(q);
}

static struct query_op *query_op_new(struct groups *g, uint32_t group, struct buf *query) {
    struct query_op *q = calloc(1, sizeof(*q));
    if (q) {
        q->op.run = query_run;
        q->op.done = query_done;
        q->groups = g;
        q->group = group;
        groups_arc(g, group, &q->arc);
        buf_init(&q->answer, QUERY_ANSWER_MAX);
        q->query = *query;
        buf_init(query, 0);
    }
    return q;
}

/* What is applied but not committed only the writer sees; everything else many may read at once. */
static void query_submit(struct groups *g, struct query_op *q) {
    const struct replica *r = g->replicas[q->group];
    q->watch = r && r->applied == r->saved ? WATCH_READS : WATCH_STATE;
    liveness_disk_begins(g, q->watch);
    if (q->watch == WATCH_READS) {
        disk_read(g->params.disk, DISK_META, &q->op);
    } else {
        disk_read_latest(g->params.disk, DISK_META, &q->op);
    }
}

void read_free(struct read *rd) {
    buf_release(&rd->query);
    free(rd);
}

void serve_read_answer(struct replica *r, const struct raft_read *read) {
    struct groups *g = r->groups;
    struct read *rd = (struct read *)(uintptr_t)read->handle;
    CHECK(rd->replica == r);
    rd->index = read->index;
    if (!read->status && read->index > r->applied) {
        apply_queue(r);
        return; /* replica_reads_ready comes back to it */
    }
    TAILQ_REMOVE(&r->reads, rd, link);
    struct query_op *q = read->status ? NULL : query_op_new(g, r->group, &rd->query);
    if (q) {
        q->call = rd->call;
        q->replica = r->id;
        query_submit(g, q);
    } else {
        serve_reply_route(g, rd->call, read->status ? read->status : ERR_NOMEM, r->group);
    }
    read_free(rd);
}

void serve_query(struct groups *g, struct peers_call *call, const struct group_request *req) {
    struct replica *r = serving(g, call, req->group);
    if (!r) {
        return;
    }
    struct read *rd = calloc(1, sizeof(*rd));
    if (!rd) {
        peers_reply(call, ERR_NOMEM, NULL, 0);
        return;
    }
    buf_init(&rd->query, PEER_BODY_MAX);
    buf_append(&rd->query, req->bytes, req->size);
    rd->replica = r;
    rd->call = call;
    TAILQ_INSERT_TAIL(&r->reads, rd, link);
    struct raft_event ev = {.kind = RAFT_EV_READ, .read = (uint64_t)(uintptr_t)rd};
    int rc = rd->query.error ? rd->query.error : replica_step(r, &ev);
    if (rc) {
        TAILQ_REMOVE(&r->reads, rd, link);
        read_free(rd);
        serve_reply_route(g, call, rc, r->group);
    }
}

void groups_query_local(struct groups *g, uint32_t group, const struct buf *query, groups_cb *cb, void *ctx) {
    struct query_op *q = NULL;
    struct buf copy;
    buf_init(&copy, PEER_BODY_MAX);
    buf_append(&copy, query->bytes, query->size);
    CHECK(group < g->count && !query->error && !copy.error);
    q = query_op_new(g, group, &copy);
    CHECK(q);
    q->cb = cb;
    q->ctx = ctx;
    query_submit(g, q);
}
