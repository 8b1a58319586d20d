/* Placement is the goal, the group's own log the authority (I3): the leader of each group compares its configuration
 * with the placement and moves toward it, one change at a time.
 *
 *   a node of the goal is missing ──▶ learner ──▶ its replica is created ──▶ caught up ──▶ lacks no chunk
 *     ──▶ joint swap (a node outside the goal leaves in the same step) ──▶ a majority of the new voters lacks no chunk
 *     ──▶ the old half goes ──▶ the left replica is told to remove itself */
#include <string.h>

#include "internal.h"

struct goal {
    const uint32_t *nodes;
    unsigned count;
};

static struct goal goal_of(const struct replica *r) {
    struct goal goal = {0};
    uint32_t arc = r->group == GROUPS_ROOT ? 0 : r->group - 1;
    if (r->groups->placement) {
        goal.count = placement_of(r->groups->placement, arc, &goal.nodes);
    }
    return goal;
}

static bool goal_has(const struct goal *goal, uint32_t node) {
    for (unsigned i = 0; i < goal->count; i++) {
        if (goal->nodes[i] == node) {
            return true;
        }
    }
    return false;
}

/* Whether a node of the goal holds no replica; *ret_node: the first of those that are alive, 0 when none is. */
static bool goal_lacking(const struct replica *r, const struct raft_config *c, const struct goal *goal,
                         uint32_t *ret_node) {
    bool lacking = false;
    *ret_node = 0;
    for (unsigned i = 0; i < goal->count && *ret_node == 0; i++) {
        if (!raft_config_find_node(c, goal->nodes[i])) {
            lacking = true;
            *ret_node = peers_alive(r->groups->params.peers, goal->nodes[i]) ? goal->nodes[i] : 0;
        }
    }
    return lacking;
}

/* A learner whose node is gone holds up nobody else who could take a replica. */
static bool in_the_way(const struct replica *r, const struct raft_config *c, const struct raft_replica *learner,
                       const struct goal *goal) {
    uint32_t other;
    return !peers_alive(r->groups->params.peers, learner->node) && goal_lacking(r, c, goal, &other) && other != 0;
}

void reconcile_mark(struct replica *r) {
    if (!r->dead && r->leading && !r->unsettled) {
        r->unsettled = true;
        TAILQ_INSERT_TAIL(&r->groups->unsettled, r, unsettled_link);
    }
    reconcile_soon(r->groups);
}

void reconcile_unmark(struct replica *r) {
    if (r->unsettled) {
        r->unsettled = false;
        TAILQ_REMOVE(&r->groups->unsettled, r, unsettled_link);
    }
}

void reconcile_soon(struct groups *g) {
    uint64_t now = clock_now_ms(g->params.clock);
    if (g->running && !TAILQ_EMPTY(&g->unsettled) && (g->reconcile.slot == 0 || g->reconcile.at_ms > now)) {
        timer_start(g->params.timers, &g->reconcile, now);
    }
}

static void forget_removed(struct replica *r, uint64_t id) {
    struct move *m = &r->move;
    for (uint32_t i = 0; i < m->removed_count; i++) {
        if (m->removed[i].id == id) {
            m->removed[i] = m->removed[--m->removed_count];
            return;
        }
    }
}

/* ---- leaving a joint configuration ------------------------------------------------------------------------------ */

_Static_assert(RAFT_REPLICAS_MAX <= 32, "a row has a bit in move.whole");

/* Nothing if that configuration is not the one any more. */
static void joint_whole(struct replica *r, uint64_t id) {
    const struct raft_config *c = raft_config(r->raft);
    const struct raft_replica *row = raft_config_find(c, id);
    if (row && raft_config_joint(c) && c->index == r->move.joint) {
        r->move.whole |= 1u << (row - c->replicas);
    }
}

static bool is_whole(void *ctx, uint64_t id) {
    const struct replica *r = ctx;
    const struct raft_config *c = raft_config(r->raft);
    const struct raft_replica *row = raft_config_find(c, id);
    return row && (r->move.whole & 1u << (row - c->replicas));
}

static void asked(void *ctx, int status, const uint8_t *body, size_t size) {
    struct ask *a = ctx;
    struct replica *r = a->groups->replicas[a->group];
    (void)body;
    (void)size;
    if (r && r->id == a->asker && r->leading) {
        r->move.asking = false;
        if (a->op == OP_REPLICA_CREATE && status == 0) {
            r->move.created = a->target;
        } else if (a->op == OP_REPLICA_CREATE && status == ERR_STALE) {
            r->move.refused = a->target;
        } else if (a->op == OP_REPLICA_CHUNKS && status == 0 && a->index == r->move.joint) {
            joint_whole(r, a->target);
        } else if (a->op == OP_REPLICA_CHUNKS && status == 0 && r->move.deciding == a->target &&
                   r->move.decided_at == a->index) {
            r->move.complete = a->target;
        } else if (a->op == OP_REPLICA_CHUNKS && status == ERR_MOVED) {
            r->move.created = 0;
        } else if (a->op == OP_REPLICA_REMOVE && (status == 0 || status == ERR_MOVED || status == ERR_STALE)) {
            forget_removed(r, a->target);
        }
        if (status == 0) {
            r->move.asked_ms = 0;
            reconcile_mark(r);
        }
    }
    ask_free(a);
}

/* One question of a group is out at a time, repeated at a pace. */
static void ask(struct replica *r, uint32_t node, enum peer_op op, uint64_t target, uint64_t index) {
    struct groups *g = r->groups;
    uint64_t now = clock_now_ms(g->params.clock);
    uint64_t pace = op == OP_REPLICA_CHUNKS ? GROUPS_MOVING_MS : GROUPS_RECONCILE_MS; /* its answer comes soon */
    if (r->move.asking || (r->move.asked_ms && now < r->move.asked_ms + pace) || !peers_alive(g->params.peers, node)) {
        return;
    }
    struct ask *a = ask_new(r, target, op);
    if (!a) {
        return;
    }
    a->index = index;
    struct replica_request req = {.group = r->group, .replica = target, .index = index};
    struct buf body;
    buf_init(&body, PEER_BODY_MAX);
    replica_request_encode(&req, &body);
    r->move.asking = true;
    r->move.asked_ms = now;
    peers_request(g->params.peers, node, LANE_CONTROL, op, &body, GROUPS_ATTEMPT_MS, asked, a);
    buf_release(&body);
}

static bool majority_alive(const struct replica *r, const struct raft_config *c, uint8_t flag) {
    uint32_t voters = 0, alive = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->replicas[i].flags & flag) {
            voters++;
            alive += peers_alive(r->groups->params.peers, c->replicas[i].node);
        }
    }
    return alive * 2 > voters || voters == 0;
}

static bool propose(struct replica *r, const struct raft_config *c) {
    if (!majority_alive(r, c, RAFT_VOTER) || !majority_alive(r, c, RAFT_VOTER_OLD)) {
        return false;
    }
    CHECK(raft_config_check(c) == 0);
    struct raft_event ev = {.kind = RAFT_EV_CONFIG, .config = c};
    return replica_step(r, &ev) == 0;
}

static void note_removed(struct replica *r, const struct raft_replica *row) {
    struct move *m = &r->move;
    if (m->removed_count < GROUPS_REMOVED_MAX) {
        m->removed[m->removed_count++] = (struct removed_replica){.id = row->id, .node = row->node};
    }
}

static bool add_learner(struct replica *r, const struct raft_config *now, uint32_t node) {
    struct raft_config c = *now;
    if (c.count == RAFT_REPLICAS_MAX) {
        return false;
    }
    c.replicas[c.count++] = (struct raft_replica){.id = c.next_id++, .node = node, .flags = RAFT_LEARNER};
    return propose(r, &c);
}

static bool drop_learner(struct replica *r, const struct raft_config *now, const struct raft_replica *learner) {
    struct raft_config c = *now;
    uint32_t i = (uint32_t)(learner - now->replicas);
    memmove(&c.replicas[i], &c.replicas[i + 1], (c.count - i - 1) * sizeof(c.replicas[0]));
    c.count--;
    if (!propose(r, &c)) {
        return false;
    }
    note_removed(r, learner);
    return true;
}

/* The joint step: `learner` (0: none) becomes a voter, `leaving` (0: none) stops being one. */
static bool swap_voters(struct replica *r, const struct raft_config *now, uint64_t learner, uint64_t leaving) {
    struct raft_config c = *now;
    const struct raft_replica *left = NULL;
    for (uint32_t i = 0; i < c.count; i++) {
        struct raft_replica *row = &c.replicas[i];
        if (row->id == learner) {
            row->flags = RAFT_VOTER;
        } else if (row->flags & RAFT_VOTER) {
            row->flags = row->id == leaving ? RAFT_VOTER_OLD : RAFT_VOTER | RAFT_VOTER_OLD;
        }
        left = row->id == leaving ? row : left;
    }
    if (!propose(r, &c)) {
        return false;
    }
    if (left) {
        note_removed(r, left);
    }
    return true;
}

/* A voter the goal does not want: a dead one first, the leader itself last. */
static const struct raft_replica *surplus(const struct replica *r, const struct raft_config *c,
                                          const struct goal *goal) {
    const struct raft_replica *found = NULL;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct raft_replica *row = &c->replicas[i];
        if (!(row->flags & RAFT_VOTER) || goal_has(goal, row->node)) {
            continue;
        }
        if (!peers_alive(r->groups->params.peers, row->node)) {
            return row;
        }
        if (!found || found->id == r->id) {
            found = row;
        }
    }
    return found;
}

static uint32_t voter_count(const struct raft_config *c) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        n += (c->replicas[i].flags & RAFT_VOTER) != 0;
    }
    return n;
}

static const struct raft_progress *progress_of(const struct raft_status *st, uint64_t id) {
    for (uint32_t i = 0; i < st->progress_count; i++) {
        if (st->progress[i].id == id) {
            return &st->progress[i];
        }
    }
    return NULL;
}

bool replica_caught_up(const struct raft_status *st, uint64_t id) {
    const struct raft_progress *p = progress_of(st, id);
    return p && p->active && !p->snapshot && p->match + GROUPS_SLACK >= st->commit && p->match > 0;
}

static void with_learner(struct replica *r, const struct raft_status *st, const struct raft_config *c,
                         const struct raft_replica *learner, const struct goal *goal) {
    const struct raft_progress *p = progress_of(st, learner->id);
    bool silent = !p || !p->active; /* its node may have lost it with its disk */
    if (!goal_has(goal, learner->node) || r->move.refused == learner->id || in_the_way(r, c, learner, goal)) {
        (void)drop_learner(r, c, learner); /* an id that is dead over there stays so: another one will do */
    } else if (r->move.created != learner->id || silent) {
        ask(r, learner->node, OP_REPLICA_CREATE, learner->id, c->index);
    } else if (replica_caught_up(st, learner->id)) {
        if (r->move.complete != learner->id) {
            if (r->move.deciding != learner->id) {
                r->move.deciding = learner->id;
                r->move.decided_at = st->commit;
            }
            ask(r, learner->node, OP_REPLICA_CHUNKS, learner->id, r->move.decided_at);
            return;
        }
        const struct raft_replica *leaving = voter_count(c) >= goal->count ? surplus(r, c, goal) : NULL;
        (void)swap_voters(r, c, learner->id, leaving ? leaving->id : 0);
    }
}

/* What was referenced before the joint configuration is on a majority of the old voters, which need not be one of the
 * new: those who leave may take the last copy with them. So the old half stays until a majority of the new voters lacks
 * nothing of it. What is referenced since is on majorities of both. */
static void with_joint(struct replica *r, const struct raft_config *c) {
    const struct groups_hooks *hooks = &r->groups->params.hooks;
    struct raft_config final;
    if (r->move.joint != c->index) {
        r->move.joint = c->index;
        r->move.whole = 0;
    }
    if (r->applied >= c->index && hooks->complete(hooks->ctx, r->group, c->index)) {
        joint_whole(r, r->id);
    }
    raft_config_leave(c, &final);
    if (raft_config_quorum(&final, is_whole, r)) {
        struct raft_event ev = {.kind = RAFT_EV_LEAVE, .index = c->index};
        (void)replica_step(r, &ev);
        return;
    }
    for (uint32_t i = 0; i < c->count && !r->move.asking; i++) {
        const struct raft_replica *row = &c->replicas[r->move.asked_row++ % c->count];
        if (row->id != r->id && (row->flags & RAFT_VOTER) && !is_whole(r, row->id)) {
            ask(r, row->node, OP_REPLICA_CHUNKS, row->id, c->index);
            return;
        }
    }
}

/* Nobody waits for an answer of one who is no member any more. */
static bool is_gone(const struct replica *r, uint32_t node) {
    const struct member *row = r->groups->members ? members_find(r->groups->members, node) : NULL;
    return row && row->state == MEMBER_GONE;
}

static void send_removals(struct replica *r, const struct raft_config *c) {
    for (uint32_t i = r->move.removed_count; i-- > 0;) {
        const struct removed_replica left = r->move.removed[i];
        if (is_gone(r, left.node)) {
            forget_removed(r, left.id);
        } else if (!raft_config_find(c, left.id)) {
            ask(r, left.node, OP_REPLICA_REMOVE, left.id, c->index);
        }
    }
}

enum progress { SETTLED, WAITING, MOVING };

static enum progress step(struct replica *r, bool may_start) {
    struct raft_status st;
    const struct raft_config *c = raft_config(r->raft);
    const struct raft_replica *learner = NULL;
    struct goal goal = goal_of(r);
    uint32_t missing = 0;
    raft_status(r->raft, &st);
    if (!st.own_term_committed || goal.count == 0) {
        return WAITING;
    }
    if (c->index > st.commit) {
        return MOVING;
    }
    if (raft_config_joint(c)) {
        with_joint(r, c);
        return MOVING;
    }
    send_removals(r, c);
    for (uint32_t i = 0; i < c->count; i++) {
        learner = c->replicas[i].flags & RAFT_LEARNER ? &c->replicas[i] : learner;
    }
    if (learner) {
        bool alive = peers_alive(r->groups->params.peers, learner->node); /* asked first: c may change */
        with_learner(r, &st, c, learner, &goal);
        return alive ? MOVING : WAITING;
    }
    if (goal_lacking(r, c, &goal, &missing)) {
        return missing && may_start && add_learner(r, c, missing) ? MOVING : WAITING;
    }
    const struct raft_replica *extra = voter_count(c) > goal.count ? surplus(r, c, &goal) : NULL;
    if (extra) {
        return may_start && swap_voters(r, c, 0, extra->id) ? MOVING : WAITING;
    }
    return r->move.removed_count ? WAITING : SETTLED;
}

void reconcile_fire(struct timer *t) {
    struct groups *g = (struct groups *)((char *)t - offsetof(struct groups, reconcile));
    uint64_t now = clock_now_ms(g->params.clock);
    uint32_t moving = 0;
    struct replica *r, *next;
    for (r = TAILQ_FIRST(&g->unsettled); r; r = next) {
        next = TAILQ_NEXT(r, unsettled_link);
        enum progress p = r->leading ? step(r, moving < g->params.tuning.moves_max) : SETTLED;
        moving += p == MOVING;
        if (p == SETTLED) {
            reconcile_unmark(r);
        }
    }
    if (!TAILQ_EMPTY(&g->unsettled)) {
        timer_start(g->params.timers, &g->reconcile, now + (moving ? GROUPS_MOVING_MS : GROUPS_RECONCILE_MS));
    }
}

bool reconcile_healthy(const struct replica *r) {
    struct raft_status st;
    const struct raft_config *c = raft_config(r->raft);
    struct goal goal = goal_of(r);
    raft_status(r->raft, &st);
    if (st.role != RAFT_LEADER || !st.own_term_committed || c->index > st.commit || c->count != goal.count ||
        raft_config_joint(c)) {
        return false;
    }
    for (uint32_t i = 0; i < c->count; i++) {
        const struct raft_replica *row = &c->replicas[i];
        if (!(row->flags & RAFT_VOTER) || !goal_has(&goal, row->node) ||
            (row->id != r->id && !replica_caught_up(&st, row->id))) {
            return false;
        }
    }
    return true;
}
