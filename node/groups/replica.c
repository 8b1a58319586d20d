/* One replica of one group: feeds the consensus core and does what it asks for. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static void replica_fire(struct timer *t) {
    struct replica *r = (struct replica *)((char *)t - offsetof(struct replica, timer));
    struct raft_event ev = {.kind = RAFT_EV_TICK};
    (void)replica_step(r, &ev);
}

static uint64_t excess(const struct groups *g, uint64_t bytes) {
    uint32_t usual = g->params.tuning.compact_bytes;
    return bytes > usual ? bytes - usual : 0;
}

static void count_log(struct replica *r, uint64_t bytes) {
    struct groups *g = r->groups;
    CHECK(g->log_bytes >= r->log_bytes && g->log_excess >= excess(g, r->log_bytes));
    g->log_bytes += bytes - r->log_bytes;
    g->log_excess += excess(g, bytes) - excess(g, r->log_bytes);
    r->log_bytes = bytes;
}

struct replica *replica_new(struct groups *g, uint32_t group, const struct hard_row *hard,
                            const struct applied_row *applied, struct raft_entry **entries, size_t count, int *ret) {
    struct replica *r = calloc(1, sizeof(*r));
    if (!r) {
        *ret = ERR_NOMEM;
        return NULL;
    }
    r->groups = g;
    r->group = group;
    r->id = hard->replica;
    r->timer.fire = replica_fire;
    r->led_ms = clock_now_ms(g->params.clock);
    r->applied = applied->index;
    r->applied_term = applied->term;
    r->stamp_ms = applied->stamp_ms;
    r->applied_config = applied->config;
    r->commit = applied->index;
    r->saved = applied->index;
    r->base = hard->base_index;
    r->stored_last = r->recovered = hard->base_index + count;
    STAILQ_INIT(&r->held);
    TAILQ_INIT(&r->pending);
    TAILQ_INIT(&r->reads);
    struct raft_start start = {.self = hard->replica,
                               .timing = g->params.tuning.timing,
                               .nodes = g->nodes,
                               .stays_joint = true,
                               .hard = hard->hard,
                               .base_index = hard->base_index,
                               .base_term = hard->base_term,
                               .base_config = &hard->config,
                               .applied = applied->index,
                               .entries = entries,
                               .entry_count = count,
                               .now_ms = clock_now_ms(g->params.clock),
                               .random = random_u64(g->params.random)};
    *ret = raft_new(&start, &r->raft);
    if (*ret) {
        free(r);
        return NULL;
    }
    count_log(r, raft_log_bytes(r->raft));
    timer_start(g->params.timers, &r->timer, raft_wake_ms(r->raft));
    return r;
}

void pending_free(struct replica *r, struct pending *p) {
    if (p->index > 0) {
        TAILQ_REMOVE(&r->pending, p, link);
    }
    if (p->told) {
        CHECK(r->groups->foretold_bytes >= p->size);
        r->groups->foretold_bytes -= p->size;
    }
    buf_release(&p->foretold);
    free(p);
}

void replica_free(struct replica *r) {
    while (!TAILQ_EMPTY(&r->pending)) {
        pending_free(r, TAILQ_FIRST(&r->pending));
    }
    while (!TAILQ_EMPTY(&r->reads)) {
        struct read *rd = TAILQ_FIRST(&r->reads);
        TAILQ_REMOVE(&r->reads, rd, link);
        read_free(rd);
    }
    persist_held(r, true);
    count_log(r, 0);
    free(r->in);
    raft_free(r->raft);
    free(r);
}

void replica_op_done(struct replica *r) {
    CHECK(r->ops > 0);
    r->ops--;
    if (r->dead && r->ops == 0) {
        replica_free(r);
    }
}

/* A leader refuses first: what followers refuse has to be sent again. */
bool replica_crowded(const struct replica *r) {
    const struct groups *g = r->groups;
    const struct groups_tuning *tuning = &g->params.tuning;
    uint64_t all_max = (uint64_t)(r->leading ? 1 : 2) * tuning->logs_bytes_max;
    uint64_t bytes = raft_log_bytes(r->raft);
    return r->commit > r->saved && (bytes > (uint64_t)GROUPS_LOG_STRETCH * tuning->log_bytes_max ||
                                    (g->log_excess > all_max && bytes > tuning->compact_bytes));
}

/* The voter that is alive and has least of the log, unless it is being fed a snapshot. Learners take their time. */
static const struct raft_progress *slowest_voter(const struct replica *r, const struct raft_status *st) {
    const struct raft_progress *slowest = NULL;
    for (uint32_t i = 0; i < st->progress_count; i++) {
        const struct raft_progress *p = &st->progress[i];
        bool counts = p->active && !p->snapshot && p->id != r->id && (p->flags & (RAFT_VOTER | RAFT_VOTER_OLD)) != 0;
        if (counts && (!slowest || p->match < slowest->match)) {
            slowest = p;
        }
    }
    return slowest;
}

static bool lacks_most(const struct raft_status *st, uint64_t match) {
    uint64_t base = st->first - 1;
    uint64_t has = match > base ? match - base : 0;
    return has < (st->last - base) / 2;
}

/* A follower that is slower than the log grows would be left behind by what is retained, and need a snapshot; and the
 * work of that would put it further behind. So it is waited for, as long as it gets on. */
bool replica_held_up(struct replica *r) {
    const struct groups *g = r->groups;
    const struct groups_tuning *tuning = &g->params.tuning;
    uint64_t bytes = raft_log_bytes(r->raft), now = clock_now_ms(g->params.clock);
    bool together = g->log_excess > tuning->logs_bytes_max / 2 && bytes > tuning->compact_bytes;
    struct raft_status st;
    if (!r->leading || (bytes <= tuning->log_bytes_max / 2 && !together)) {
        return false;
    }
    raft_status(r->raft, &st);
    const struct raft_progress *p = slowest_voter(r, &st);
    if (!p || !lacks_most(&st, p->match)) {
        return false;
    }
    if (p->id != r->slow.replica || p->match > r->slow.match) {
        r->slow.replica = p->id;
        r->slow.match = p->match;
        r->slow.ms = now;
    }
    return now - r->slow.ms < GROUPS_CATCH_UP_MS;
}

/* Another entry is committed in its place. Until then whoever leads next may have it in the log and commit it. */
static bool is_replaced(const struct replica *r, const struct pending *p) {
    const struct raft_entry *e = p->index <= r->commit ? raft_entry_at(r->raft, p->index) : NULL;
    return e && e->term != p->term;
}

/* Everybody who waits for this replica is told to look elsewhere, and whether what they wait for may come to pass. */
void replica_fail_waiting(struct replica *r, int status) {
    while (!TAILQ_EMPTY(&r->pending)) {
        struct pending *p = TAILQ_FIRST(&r->pending);
        if (p->call) {
            serve_reply_route(r->groups, p->call, is_replaced(r, p) ? status : ERR_TIMEOUT, r->group);
        }
        pending_free(r, p);
    }
}

void replica_reads_ready(struct replica *r) {
    struct read *rd, *next;
    for (rd = TAILQ_FIRST(&r->reads); rd; rd = next) {
        next = TAILQ_NEXT(rd, link);
        if (rd->index != 0 && rd->index <= r->applied) {
            struct raft_read ready = {.handle = (uint64_t)(uintptr_t)rd, .index = rd->index};
            serve_read_answer(r, &ready);
        }
    }
}

/* What this replica knows about its group is also this node's route. */
void replica_learn_route(struct replica *r) {
    struct raft_status st;
    const struct raft_config *c = raft_config(r->raft);
    struct route route = {.config = c->index};
    raft_status(r->raft, &st);
    route.term = st.term;
    route.leader = st.role == RAFT_LEADER ? r->groups->self : st.leader_node;
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->replicas[i].flags & (RAFT_VOTER | RAFT_VOTER_OLD)) {
            route.nodes[route.count++] = c->replicas[i].node;
        }
    }
    groups_learn_route(r->groups, r->group, &route);
}

/* No stamp is less than one that is in the log already: the state machine would not take it. */
static void learn_stamps(struct replica *r, uint64_t last) {
    for (uint64_t i = r->applied + 1; i <= last; i++) {
        const struct raft_entry *e = raft_entry_at(r->raft, i);
        uint64_t stamp = e && e->kind == RAFT_ENTRY_COMMAND && e->size >= STAMP_SIZE ? get_u64(e->data) : 0;
        r->proposed_stamp_ms = stamp > r->proposed_stamp_ms ? stamp : r->proposed_stamp_ms;
    }
}

static void role_changed(struct replica *r) {
    struct raft_status st;
    raft_status(r->raft, &st);
    bool leading = st.role == RAFT_LEADER;
    r->led_term = leading ? st.term : r->led_term;
    replica_learn_route(r);
    if (leading == r->leading) {
        return;
    }
    r->leading = leading;
    if (leading) {
        learn_stamps(r, st.last);
    } else {
        replica_fail_waiting(r, ERR_NOT_LEADER);
    }
    r->move = (struct move){0};
    r->slow.replica = 0;
    outgoing_announce(r);
    r->groups->params.hooks.leader(r->groups->params.hooks.ctx, r->group, leading);
}

static void do_update(struct replica *r, const struct raft_update *u) {
    struct groups *g = r->groups;
    if (u->persist_seq) {
        persist_update(r, u);
    }
    for (uint32_t i = 0; i < u->message_count; i++) {
        outgoing_message(g, r->group, &u->messages[i]);
    }
    if (u->commit > r->commit) {
        r->commit = u->commit;
        apply_foretold(r);
    }
    apply_queue(r);
    if (u->config_changed || u->role_changed) {
        role_changed(r);
        reconcile_mark(r);
    }
    if (u->config_changed) {
        outgoing_announce(r);
    }
    for (uint32_t i = 0; i < u->read_count; i++) {
        serve_read_answer(r, &u->reads[i]);
    }
    for (uint32_t i = 0; i < u->snapshot_count; i++) {
        snapshot_send(r, u->snapshot_to[i]);
    }
}

int replica_step(struct replica *r, struct raft_event *event) {
    struct groups *g = r->groups;
    CHECK(!g->stepping);
    if (r->dead || g->stopped) {
        return ERR_CLOSED;
    }
    /* A lease is not judged by a clock that was read before the process was stopped for a while. */
    bool exact = g->params.tuning.timing.lease_ms > 0;
    event->now_ms = exact ? clock_exact_ms(g->params.clock) : clock_now_ms(g->params.clock);
    event->random = random_u64(g->params.random);
    g->stepping = true;
    g->steps++;
    r->steps++;
    int rc = raft_step(r->raft, event, &g->update);
    if (rc == ERR_NOMEM) {
        g->stepping = false;
        groups_fatal(g, rc, "a group ran out of memory");
        return rc;
    }
    count_log(r, raft_log_bytes(r->raft));
    do_update(r, &g->update);
    g->stepping = false;
    uint64_t wake = raft_wake_ms(r->raft);
    if (wake == UINT64_MAX) {
        timer_stop(g->params.timers, &r->timer);
    } else if (r->timer.slot == 0 || r->timer.at_ms != wake) {
        timer_start(g->params.timers, &r->timer, wake);
    }
    return rc;
}
