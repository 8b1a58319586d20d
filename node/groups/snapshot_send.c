/* Feeding a follower that is too far behind: a consistent view of the arc, streamed in pieces on the bulk lane, each
 * acknowledged before the next. When the session breaks, the piece that was under way is sent again on the next one:
 * the receiver keeps what it has for a while. */
#include <stdlib.h>

#include "internal.h"

struct snapshot_out {
    TAILQ_ENTRY(snapshot_out) link;
    struct disk_op op;
    struct groups *groups;
    uint32_t group;
    uint64_t from, to; /* replica ids */
    uint32_t node;
    struct machine_arc arc;
    struct disk_view *view; /* NULL: waits for its turn */
    struct machine_cursor cursor;
    struct applied_row row;
    struct buf piece;
    uint32_t piece_bytes;
    uint32_t number;
    struct timer again;
    uint64_t acked_ms; /* last acknowledgement */
    uint64_t index;    /* it covers; 0: not yet known */
    bool overtaken;    /* the core has asked for another one to the same replica since: it hears of that one only */
};

static void out_finish(struct snapshot_out *s, bool ok) {
    struct groups *g = s->groups;
    struct replica *r = g->replicas[s->group];
    TAILQ_REMOVE(&g->snapshots, s, link);
    g->snapshots_sending--;
    disk_view_close(s->view);
    timer_stop(g->params.timers, &s->again);
    if (r && r->id == s->from && !s->overtaken) {
        struct raft_event ev = {.kind = RAFT_EV_SNAPSHOT_SENT,
                                .sent = {.replica = s->to, .index = s->row.index, .ok = ok}};
        (void)replica_step(r, &ev);
    }
    buf_release(&s->piece);
    free(s);
    groups_flush_soon(g);
}

static int out_run(struct txn *t, struct disk_op *op) {
    struct snapshot_out *s = (struct snapshot_out *)((char *)op - offsetof(struct snapshot_out, op));
    buf_clear(&s->piece);
    int rc = s->number == 0 ? applied_row_get(t, s->group, &s->row) : 0;
    return rc ? rc : machine_export(t, &s->arc, &s->cursor, s->piece_bytes, &s->piece);
}

static void out_acknowledged(void *ctx, int status, const uint8_t *body, size_t size) {
    struct snapshot_out *s = ctx;
    const struct groups_params *params = &s->groups->params;
    uint64_t now = clock_now_ms(params->clock);
    bool lost = status == ERR_CLOSED || status == ERR_UNREACHABLE || status == ERR_BUSY;
    (void)body;
    (void)size;
    if (lost && !s->overtaken && now < s->acked_ms + GROUPS_SNAPSHOT_MS) {
        timer_start(params->timers, &s->again, now + GROUPS_RESUME_MS);
        return;
    }
    s->acked_ms = now;
    if (status || s->cursor.done || s->overtaken) {
        out_finish(s, status == 0);
        return;
    }
    s->number++;
    disk_view_read(s->view, &s->op);
}

static void out_send(struct snapshot_out *s) {
    struct groups *g = s->groups;
    struct replica *r = g->replicas[s->group];
    if (s->piece.error || s->overtaken || !r || r->id != s->from || !r->leading || s->row.replica != s->from) {
        out_finish(s, false);
        return;
    }
    s->index = s->row.index;
    struct snapshot_piece piece = {.group = s->group,
                                   .from = s->from,
                                   .to = s->to,
                                   .term = raft_hard(r->raft).term,
                                   .index = s->row.index,
                                   .index_term = s->row.term,
                                   .stamp_ms = s->row.stamp_ms,
                                   .config = s->row.config,
                                   .number = s->number,
                                   .last = s->cursor.done,
                                   .bytes = s->piece.bytes,
                                   .size = s->piece.size};
    struct buf body;
    buf_init(&body, PEER_BODY_MAX);
    snapshot_piece_encode(&piece, &body);
    peers_request(g->params.peers, s->node, LANE_BULK, OP_SNAPSHOT, &body, GROUPS_SNAPSHOT_MS, out_acknowledged, s);
    buf_release(&body);
}

static void out_again_fire(struct timer *t) {
    out_send((struct snapshot_out *)((char *)t - offsetof(struct snapshot_out, again)));
}

static void out_read(struct disk_op *op, int status) {
    struct snapshot_out *s = (struct snapshot_out *)((char *)op - offsetof(struct snapshot_out, op));
    if (s->groups->stopped) {
        return;
    }
    if (status) {
        out_finish(s, false);
    } else {
        out_send(s);
    }
}

static struct snapshot_out *find(const struct snapshot_list *list, const struct replica *r, uint64_t to) {
    struct snapshot_out *s;
    TAILQ_FOREACH(s, list, link) {
        if (s->group == r->group && s->from == r->id && s->to == to && !s->overtaken) {
            return s;
        }
    }
    return NULL;
}

/* The core asks once, but not knowing of a transfer from an earlier leadership, or from before the follower caught up
 * from the log after all. Two transfers to one replica would cut each other off again and again. */
void snapshot_send(struct replica *r, uint64_t to) {
    struct groups *g = r->groups;
    struct snapshot_out *under_way = find(&g->snapshots, r, to);
    if (find(&g->snapshots_waiting, r, to)) {
        return;
    }
    if (under_way) {
        under_way->overtaken = true;
    }
    const struct raft_replica *row = raft_config_find(raft_config(r->raft), to);
    struct snapshot_out *s = row ? calloc(1, sizeof(*s)) : NULL;
    CHECK(row && s);
    s->groups = g;
    s->piece_bytes = g->params.tuning.piece_bytes;
    s->group = r->group;
    s->from = r->id;
    s->to = to;
    s->node = row->node;
    s->op.run = out_run;
    s->op.done = out_read;
    s->again.fire = out_again_fire;
    groups_arc(g, r->group, &s->arc);
    machine_cursor_init(&s->cursor);
    buf_init(&s->piece, PEER_BODY_MAX);
    TAILQ_INSERT_TAIL(&g->snapshots_waiting, s, link);
    groups_flush_soon(g);
}

uint64_t snapshot_send_keeps(const struct replica *r) {
    uint64_t index = UINT64_MAX;
    const struct snapshot_out *s;
    TAILQ_FOREACH(s, &r->groups->snapshots, link) {
        if (s->group == r->group && s->from == r->id && !s->overtaken && s->index != 0 && s->index < index) {
            index = s->index;
        }
    }
    return index;
}

/* Starts what waits, as far as views are to be had. */
void snapshot_send_flush(struct groups *g) {
    struct snapshot_out *s;
    while (!g->stopped && g->snapshots_sending < g->params.tuning.snapshots_max &&
           (s = TAILQ_FIRST(&g->snapshots_waiting))) {
        s->view = disk_view_open(g->params.disk, DISK_META);
        if (!s->view) {
            break;
        }
        TAILQ_REMOVE(&g->snapshots_waiting, s, link);
        TAILQ_INSERT_TAIL(&g->snapshots, s, link);
        g->snapshots_sending++;
        s->acked_ms = clock_now_ms(g->params.clock);
        disk_view_read(s->view, &s->op);
    }
}

static void release_list(struct snapshot_list *list) {
    while (!TAILQ_EMPTY(list)) {
        struct snapshot_out *s = TAILQ_FIRST(list);
        TAILQ_REMOVE(list, s, link);
        timer_stop(s->groups->params.timers, &s->again);
        buf_release(&s->piece);
        free(s);
    }
}

void snapshot_send_release(struct groups *g) {
    release_list(&g->snapshots);
    release_list(&g->snapshots_waiting);
}
