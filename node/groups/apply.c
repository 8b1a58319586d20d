/* Committed entries are applied inside the state's transaction: state and applied index change together. Their results
 * count from then on, for the log is durable on a majority; that the state is durable comes later, and lets the log be
 * shortened. Only what is durable in the own log is applied, so the state is never ahead of it. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct apply_op {
    struct disk_op op;
    struct replica *replica;
    uint32_t group;
    struct machine_arc arc;
    struct applied_row row; /* before, then after */
    struct buf results;     /* all answers, one behind the other */
    struct machine_effects effects;
    uint32_t count;
    struct apply_slot {
        struct raft_entry *entry;
        size_t result_at;
    } slots[];
};

#define APPLY_RESULTS_MAX (64 * 1024 * 1024)

static int apply_entry(struct txn *t, struct apply_op *a, const struct raft_entry *e) {
    a->row.index = e->index;
    a->row.term = e->term;
    if (e->kind == RAFT_ENTRY_CONFIG) {
        return raft_config_decode(e->data, e->size, e->index, &a->row.config) ? ERR_CORRUPT : 0;
    }
    if (e->kind == RAFT_ENTRY_NOOP) {
        return 0;
    }
    /* One that is too short for its stamp is no command, as the machine says of all that it cannot read. A leader that
     * is not as it should be must not be able to end every replica. */
    uint32_t head = e->size < STAMP_SIZE ? e->size : STAMP_SIZE;
    uint64_t stamp = head == STAMP_SIZE ? get_u64(e->data) : 0;
    if (stamp > a->row.stamp_ms) {
        a->row.stamp_ms = stamp;
    }
    return machine_apply(t, &a->arc, a->row.stamp_ms, e->data + head, e->size - head, &a->results, &a->effects);
}

static int apply_run(struct txn *t, struct disk_op *op) {
    struct apply_op *a = (struct apply_op *)op;
    for (uint32_t i = 0; i < a->count; i++) {
        a->slots[i].result_at = a->results.size;
        int rc = apply_entry(t, a, a->slots[i].entry);
        if (rc || a->results.error) {
            return rc ? rc : a->results.error;
        }
    }
    return applied_row_put(t, a->group, &a->row);
}

static void reply(struct pending *p, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct propose_reply reply = {.config = *config, .result = result, .result_size = size};
    struct buf body;
    buf_init(&body, PEER_BODY_MAX);
    propose_reply_encode(&reply, &body);
    peers_reply(p->call, body.error, body.bytes, body.error ? 0 : body.size);
    buf_release(&body);
    p->call = NULL;
}

static void answer(struct replica *r, struct apply_op *a, uint32_t i) {
    const struct raft_entry *e = a->slots[i].entry;
    struct pending *p = TAILQ_FIRST(&r->pending);
    if (e->kind == RAFT_ENTRY_CONFIG) {
        int rc = raft_config_decode(e->data, e->size, e->index, &r->applied_config);
        CHECK(rc == 0); /* the writer decoded the same bytes */
    }
    if (!p || p->index != e->index) {
        return;
    }
    size_t end = i + 1 < a->count ? a->slots[i + 1].result_at : a->results.size;
    if (p->term != e->term) {
        CHECK(p->call); /* foretold only when committed */
        serve_reply_route(r->groups, p->call, ERR_NOT_LEADER, r->group);
    } else if (p->call) {
        reply(p, &r->applied_config, a->results.bytes + a->slots[i].result_at, end - a->slots[i].result_at);
    }
    pending_free(r, p);
}

/* The word that ends a leadership may be the one that replaces its last entries, and commits what replaces them. */
static bool is_logged(const struct replica *r, const struct pending *p) {
    const struct raft_entry *e = raft_entry_at(r->raft, p->index);
    return e && e->term == p->term;
}

void apply_foretold(struct replica *r) {
    struct groups *g = r->groups;
    struct pending *p;
    TAILQ_FOREACH(p, &r->pending, link) {
        if (p->index > r->commit || !is_logged(r, p)) {
            return;
        }
        if (p->call && p->foretold.size > 0 && g->foretold_bytes + p->size <= GROUPS_FORETOLD_MAX) {
            CHECK(p->index > r->applied);
            g->foretold_bytes += p->size;
            p->told = true;
            reply(p, raft_config_committed(r->raft), p->foretold.bytes, p->foretold.size);
        }
    }
}

/* Entries every live follower has are dropped once there are enough of them; whoever is further behind than the hard
 * limit gets a snapshot instead of an endless log. What follows a snapshot under way stays for a while longer: dropped
 * before the snapshot is through, it would cost another one, and under a steady load another one without end. */
void apply_compact(struct replica *r) {
    const struct groups_tuning *tuning = &r->groups->params.tuning;
    struct raft_status st;
    raft_status(r->raft, &st);
    uint64_t base = st.first - 1, upto = r->saved;
    if (upto <= base || (st.last - base < tuning->compact_entries && st.log_bytes < tuning->compact_bytes)) {
        return;
    }
    bool roomy = st.log_bytes < tuning->log_bytes_max && r->groups->log_excess < tuning->logs_bytes_max;
    for (uint32_t i = 0; i < st.progress_count && roomy; i++) {
        const struct raft_progress *p = &st.progress[i];
        if (p->active && p->match < upto) {
            upto = p->match;
        }
    }
    uint64_t keeps = st.log_bytes / GROUPS_LOG_STRETCH < tuning->log_bytes_max ? snapshot_send_keeps(r) : UINT64_MAX;
    upto = upto < keeps ? upto : keeps;
    if (upto <= base) {
        return;
    }
    struct raft_event ev = {.kind = RAFT_EV_COMPACT, .index = upto};
    if (!r->installing && replica_step(r, &ev) == 0) {
        persist_compact(r);
    }
}

static void release_results(struct apply_op *a) {
    for (uint32_t i = 0; i < a->count; i++) {
        raft_entry_unref(a->slots[i].entry);
    }
    a->count = 0;
    buf_release(&a->results);
    machine_effects_release(&a->effects);
}

/* What was in the log at the start may have been applied before. Bytes that it drops may be there for the sake of a
 * later entry that was applied before, too, and is yet to be applied again: they stay, until somebody looks for what is
 * needed by nobody. */
static void keep_chunks(struct machine_effects *e) {
    size_t kept = 0;
    for (size_t i = 0; i < e->count; i++) {
        if (e->items[i].kind != EFFECT_CHUNK_DROPPED) {
            e->items[kept++] = e->items[i];
        }
    }
    e->count = kept;
}

static void report_effects(struct replica *r, struct apply_op *a) {
    const struct groups_hooks *hooks = &r->groups->params.hooks;
    bool root = false;
    for (size_t i = 0; i < a->effects.count; i++) {
        root = root || a->effects.items[i].kind == EFFECT_ROOT;
    }
    hooks->applied(hooks->ctx, r->group, a->row.index, a->effects.items, a->effects.count);
    if (root) {
        hooks->root_changed(hooks->ctx);
    }
}

static void apply_ran(struct disk_op *op) {
    struct apply_op *a = (struct apply_op *)op;
    struct replica *r = a->replica;
    r->applying = false;
    if (!r->dead && !r->groups->stopped && a->row.index > r->applied) {
        if (r->applied < r->recovered) {
            keep_chunks(&a->effects);
        }
        r->applied = a->row.index;
        r->applied_term = a->row.term;
        r->stamp_ms = a->row.stamp_ms;
        for (uint32_t i = 0; i < a->count; i++) {
            answer(r, a, i);
        }
        report_effects(r, a);
        replica_reads_ready(r);
        apply_queue(r);
        membership_applied(r);
    }
    liveness_disk_ends(r->groups, WATCH_STATE);
    release_results(a);
}

static void apply_done(struct disk_op *op, int status) {
    struct apply_op *a = (struct apply_op *)op;
    struct replica *r = a->replica;
    bool dead = r->dead, stopped = r->groups->stopped;
    uint64_t index = a->row.index;
    CHECK(status == 0);
    release_results(a); /* of an operation that was given back before it ran */
    free(a);
    replica_op_done(r);
    if (!dead && !stopped && index > r->saved) {
        r->saved = index;
        struct raft_event ev = {.kind = RAFT_EV_APPLIED, .index = r->saved};
        (void)replica_step(r, &ev);
        apply_compact(r);
    }
}

/* As far as may be applied. */
static uint64_t ripe(const struct replica *r) {
    uint64_t durable = raft_durable(r->raft);
    return r->commit < durable ? r->commit : durable;
}

/* Nobody waits for these but their caller, who is told when they are committed; all others have effects that are waited
 * for on every replica. */
static bool patient(const struct raft_entry *e) {
    struct cbor_reader r;
    if (e->kind != RAFT_ENTRY_COMMAND || e->size < STAMP_SIZE) {
        return e->kind == RAFT_ENTRY_NOOP;
    }
    cbor_reader_init(&r, e->data + STAMP_SIZE, e->size - STAMP_SIZE);
    (void)cbor_get_array(&r, UINT8_MAX);
    return cbor_get_uint(&r, UINT8_MAX) == COMMAND_NAME_PUT && !r.error;
}

/* Whether what has become ripe since it was looked at last may wait a moment for more. */
static bool may_wait(struct replica *r) {
    uint64_t upto = ripe(r);
    const struct pending *p;
    bool wait = TAILQ_EMPTY(&r->reads) && upto - r->applied < r->groups->params.tuning.apply_max / 2;
    TAILQ_FOREACH_REVERSE(p, &r->pending, pending_list, link) {
        if (p->index <= r->peeked || !wait) {
            break;
        }
        wait = p->index > upto || p->call == NULL;
    }
    while (wait && r->peeked < upto) {
        wait = patient(raft_entry_at(r->raft, ++r->peeked));
    }
    return wait;
}

void apply_unqueue(struct replica *r) {
    if (r->apply_list) {
        TAILQ_REMOVE(r->apply_list, r, apply_link);
        r->apply_list = NULL;
    }
}

static void put_on(struct replica *r, struct replica_list *list) {
    apply_unqueue(r);
    r->apply_list = list;
    TAILQ_INSERT_TAIL(list, r, apply_link);
}

void apply_queue(struct replica *r) {
    struct groups *g = r->groups;
    if (r->apply_list == &g->apply || r->applying || r->installing || r->dead || ripe(r) <= r->applied) {
        return;
    }
    if (!r->apply_list || r->peeked < r->applied) { /* a snapshot came in between */
        r->peeked = r->applied;
    }
    if (!may_wait(r)) {
        put_on(r, &g->apply);
        groups_flush_soon(g);
    } else if (!r->apply_list) {
        put_on(r, &g->apply_later);
        if (g->patience.slot == 0) {
            timer_start(g->params.timers, &g->patience, clock_now_ms(g->params.clock) + GROUPS_PATIENCE_MS);
        }
    }
}

void apply_later_fire(struct timer *t) {
    struct groups *g = (struct groups *)((char *)t - offsetof(struct groups, patience));
    while (!TAILQ_EMPTY(&g->apply_later)) {
        put_on(TAILQ_FIRST(&g->apply_later), &g->apply);
    }
    groups_flush_soon(g);
}

static void apply_start(struct replica *r) {
    struct groups *g = r->groups;
    uint64_t last = ripe(r);
    if (last > r->applied + g->params.tuning.apply_max) {
        last = r->applied + g->params.tuning.apply_max;
    }
    uint32_t count = (uint32_t)(last - r->applied);
    struct apply_op *a = calloc(1, sizeof(*a) + count * sizeof(a->slots[0]));
    CHECK(a); /* a replica that cannot apply must not go on */
    a->op.run = apply_run;
    a->op.ran = apply_ran;
    a->op.done = apply_done;
    a->replica = r;
    a->group = r->group;
    groups_arc(g, r->group, &a->arc);
    a->row = (struct applied_row){.replica = r->id,
                                  .index = r->applied,
                                  .term = r->applied_term,
                                  .stamp_ms = r->stamp_ms,
                                  .config = r->applied_config};
    buf_init(&a->results, APPLY_RESULTS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        struct raft_entry *e = raft_entry_at(r->raft, r->applied + 1 + i);
        CHECK(e && e->index == r->applied + 1 + i);
        a->slots[i].entry = raft_entry_ref(e);
    }
    a->count = count;
    r->applying = true;
    r->ops++;
    liveness_disk_begins(g, WATCH_STATE);
    disk_write_lazy(g->params.disk, DISK_META, &a->op);
}

void apply_flush(struct groups *g) {
    while (!TAILQ_EMPTY(&g->apply)) {
        struct replica *r = TAILQ_FIRST(&g->apply);
        apply_unqueue(r);
        if (!r->installing && !r->applying && ripe(r) > r->applied) {
            apply_start(r);
        }
    }
}
