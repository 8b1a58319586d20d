/* From the disk to running replicas. Log and state are durable at different times, so a crash can leave one ahead of
 * the other; every way in which that can be has its answer in `resolve`. */
#include <stdlib.h>

#include "internal.h"

#define LOAD_ENTRIES_MAX (1u << 24) /* of one replica */

struct load_row {
    struct hard_row hard;
    struct applied_row applied;
    struct raft_entry **entries; /* after the base; NULL where none was found */
    size_t count, capacity;
    bool has_state;
};

struct load_op {
    struct disk_op op;
    struct groups *groups;
    struct journal journal;
    void (*started)(void *ctx, int status);
    void *ctx;
    uint32_t count;
    struct load_row rows[];
};

/* ---- a new swarm --------------------------------------------------------------------------------------------------
 */

/* Every group begins as if a snapshot at index 1 held its first configuration: this node alone. */
static struct raft_config first_config(uint32_t self) {
    struct raft_config c = {.index = 1, .next_id = 2, .count = 1};
    c.replicas[0] = (struct raft_replica){.id = 1, .node = self, .flags = RAFT_VOTER};
    return c;
}

int groups_create_state(struct txn *t, unsigned bits, uint32_t self) {
    struct applied_row row = {.replica = 1, .index = 1, .term = 1, .config = first_config(self)};
    int rc = 0;
    CHECK(bits <= RING_BITS_MAX && self > 0);
    for (uint32_t group = 0; group <= 1u << bits && !rc; group++) {
        rc = applied_row_put(t, group, &row);
    }
    return rc;
}

int groups_create_logs(struct txn *t, unsigned bits, uint32_t self) {
    struct hard_row row = {
        .replica = 1, .hard = {.term = 1}, .base_index = 1, .base_term = 1, .config = first_config(self)};
    int rc = 0;
    CHECK(bits <= RING_BITS_MAX && self > 0);
    for (uint32_t group = 0; group <= 1u << bits && !rc; group++) {
        rc = hard_row_put(t, group, &row);
    }
    return rc;
}

/* ---- the log's environment ----------------------------------------------------------------------------------------
 */

static struct load_row *row_of(struct load_op *l, const struct journal_run *run) {
    struct load_row *row = run->group < l->count ? &l->rows[run->group] : NULL;
    return row && row->hard.replica == run->replica ? row : NULL;
}

static void drop_entries_after(struct load_row *row, uint64_t keep) {
    while (row->count > keep) {
        struct raft_entry *e = row->entries[--row->count];
        if (e) {
            raft_entry_unref(e);
        }
    }
}

static int on_run(void *ctx, const struct journal_run *run, uint64_t cut) {
    struct load_row *row = row_of(ctx, run);
    uint64_t keep = row && cut > row->hard.base_index ? cut - row->hard.base_index - 1 : 0;
    if (row && cut > 0) {
        drop_entries_after(row, keep);
    }
    return 0;
}

static int grow(struct load_row *row, uint64_t count) {
    size_t capacity = row->capacity ? row->capacity : 16;
    while (capacity < count) {
        capacity *= 2;
    }
    if (capacity > row->capacity) {
        struct raft_entry **grown = realloc(row->entries, capacity * sizeof(*grown));
        if (!grown) {
            return ERR_NOMEM;
        }
        row->entries = grown;
        row->capacity = capacity;
    }
    while (row->count < count) {
        row->entries[row->count++] = NULL;
    }
    return 0;
}

static int on_entry(void *ctx, const struct journal_run *run, struct raft_entry *e) {
    struct load_row *row = row_of(ctx, run);
    if (!row || e->index <= row->hard.base_index) {
        raft_entry_unref(e);
        return 0;
    }
    uint64_t at = e->index - row->hard.base_index - 1;
    int rc = at < LOAD_ENTRIES_MAX ? 0 : ERR_CORRUPT;
    rc = rc ? rc : grow(row, at + 1);
    if (rc) {
        raft_entry_unref(e);
        return rc;
    }
    if (row->entries[at]) {
        raft_entry_unref(row->entries[at]);
    }
    row->entries[at] = e;
    return 0;
}

static int log_run(struct txn *t, struct disk_op *op) {
    struct load_op *l = (struct load_op *)op;
    const struct journal_visitor visitor = {.run = on_run, .entry = on_entry, .ctx = l};
    for (uint32_t i = 0; i < l->count; i++) {
        int rc = hard_row_get(t, i, &l->rows[i].hard);
        if (rc && rc != ERR_NOT_FOUND) {
            return rc;
        }
    }
    return journal_load(t, &l->journal, &visitor);
}

static int state_run(struct txn *t, struct disk_op *op) {
    struct load_op *l = (struct load_op *)op;
    for (uint32_t i = 0; i < l->count; i++) {
        int rc = applied_row_get(t, i, &l->rows[i].applied);
        if (rc && rc != ERR_NOT_FOUND) {
            return rc;
        }
        l->rows[i].has_state = rc == 0;
    }
    return 0;
}

/* ---- what the two say together ------------------------------------------------------------------------------------
 */

static bool whole(const struct load_row *row) {
    for (size_t i = 0; i < row->count; i++) {
        if (!row->entries[i]) {
            return false; /* what follows it was acknowledged, so what is missing was, too */
        }
    }
    return true;
}

/* Whether the log can have led to that state. */
static bool log_reaches(const struct load_row *row) {
    const struct applied_row *a = &row->applied;
    uint64_t base = row->hard.base_index;
    if (a->index == base) {
        return a->term == row->hard.base_term;
    }
    const struct raft_entry *e = a->index - base <= row->count ? row->entries[a->index - base - 1] : NULL;
    return e && e->term == a->term;
}

/* A snapshot was made the state, and the log was to begin after it. Its term may have been heard of only then: a vote
 * in it cannot have been given away, for that would have been durable. */
static void begin_after_state(struct load_row *row) {
    const struct applied_row *a = &row->applied;
    drop_entries_after(row, 0);
    row->hard.base_index = a->index;
    row->hard.base_term = a->term;
    row->hard.config = a->config;
    if (row->hard.hard.term < a->term) {
        row->hard.hard = (struct raft_hard){.term = a->term};
    }
}

enum load_verdict { LOAD_NOTHING, LOAD_REPLICA, LOAD_REBASED, LOAD_LEFTOVERS, LOAD_REMOVED, LOAD_CORRUPT };

/*   log says          state says          what happened                            what to do
 *   no replica        nothing             -                                        nothing
 *   no replica        some replica        removed; its state not yet wiped         wipe
 *   replica r         an older one        it was removed before, likewise          wipe; r awaits its snapshot
 *   replica r         a newer one         r was removed, its tombstone is lost     bury r; wipe: the newer one promised
 *                                                                                  nothing yet
 *   replica r         wiped, r            likewise                                 bury r
 *   r, log to n       r, applied a <= n   -                                        go on
 *   r, log to n       r, applied a > n,   a snapshot was installed; the log        the log begins at a
 *                     or another term     was to follow */
static enum load_verdict resolve(struct load_row *row) {
    const struct applied_row *a = &row->applied;
    bool wiped = !row->has_state || a->index == 0;
    if (row->hard.replica == 0) {
        return wiped ? LOAD_NOTHING : LOAD_LEFTOVERS;
    }
    if (row->has_state && a->replica > row->hard.replica) {
        return LOAD_REMOVED;
    }
    if (row->hard.base_index == 0) {
        if (a->replica == row->hard.replica && !wiped) {
            begin_after_state(row);
            return LOAD_REBASED;
        }
        return wiped ? LOAD_REPLICA : LOAD_LEFTOVERS;
    }
    if (!row->has_state || a->replica != row->hard.replica) {
        return LOAD_CORRUPT;
    }
    if (wiped) {
        return LOAD_REMOVED;
    }
    if (a->index < row->hard.base_index) {
        return LOAD_CORRUPT; /* the log was shortened only when that was durable */
    }
    if (!log_reaches(row)) {
        begin_after_state(row);
        return LOAD_REBASED;
    }
    return whole(row) ? LOAD_REPLICA : LOAD_CORRUPT;
}

static int begin_replica(struct groups *g, uint32_t group, struct load_row *row) {
    int rc = 0;
    struct replica *r = replica_new(g, group, &row->hard, &row->applied, row->entries, row->count, &rc);
    if (!r) {
        return rc;
    }
    g->replicas[group] = r;
    replica_learn_route(r);
    g->params.hooks.installed(g->params.hooks.ctx, group, r->applied);
    return 0;
}

static void forget_state(struct groups *g, uint32_t group, struct load_row *row) {
    wipe_leftovers(g, group, row->applied.replica);
    row->applied = (struct applied_row){0};
}

static int begin(struct groups *g, uint32_t group, struct load_row *row) {
    int rc = 0;
    enum load_verdict verdict = resolve(row);
    g->tombstones[group] = row->hard.tombstone;
    switch (verdict) {
    case LOAD_NOTHING:
        break;
    case LOAD_CORRUPT:
        rc = ERR_CORRUPT;
        break;
    case LOAD_REMOVED:
        g->tombstones[group] = row->hard.replica;
        forget_state(g, group, row);
        persist_tombstone(g, group, NULL);
        break;
    case LOAD_LEFTOVERS:
        forget_state(g, group, row);
        rc = row->hard.replica ? begin_replica(g, group, row) : 0;
        break;
    case LOAD_REPLICA:
        rc = begin_replica(g, group, row);
        break;
    case LOAD_REBASED:
        rc = begin_replica(g, group, row);
        if (!rc) {
            persist_rebase(g->replicas[group]);
        }
    }
    return rc;
}

/* A group whose only voter is here need not wait for an election timeout. */
static void campaign_alone(struct groups *g) {
    for (uint32_t i = 0; i < g->count; i++) {
        struct replica *r = g->replicas[i];
        const struct raft_config *c = r ? raft_config(r->raft) : NULL;
        if (c && c->count == 1 && c->replicas[0].id == r->id) {
            struct raft_event ev = {.kind = RAFT_EV_CAMPAIGN};
            (void)replica_step(r, &ev);
        }
    }
}

static void load_free(struct load_op *l) {
    for (uint32_t i = 0; i < l->count; i++) {
        drop_entries_after(&l->rows[i], 0);
        free(l->rows[i].entries);
    }
    journal_release(&l->journal);
    free(l);
}

static void state_done(struct disk_op *op, int status) {
    struct load_op *l = (struct load_op *)op;
    struct groups *g = l->groups;
    int rc = status;
    if (!g->stopped) {
        STAILQ_SWAP(&g->journal.batches, &l->journal.batches, journal_batch);
        g->journal.next = l->journal.next;
        g->journal.bytes = l->journal.bytes;
        l->journal.bytes = 0;
    }
    for (uint32_t i = 0; i < l->count && !rc && !g->stopped; i++) {
        rc = begin(g, i, &l->rows[i]);
    }
    if (!g->stopped) {
        g->running = rc == 0;
        if (!rc) {
            snapshot_clear(g, 0, g->count);
            campaign_alone(g);
            timer_start(g->params.timers, &g->orphans, clock_now_ms(g->params.clock) + GROUPS_ORPHAN_MS);
            timer_start(g->params.timers, &g->telling, clock_now_ms(g->params.clock) + GROUPS_TELL_MS);
            timer_start(g->params.timers, &g->balancing, clock_now_ms(g->params.clock) + GROUPS_STEADY_MS);
        }
        l->started(l->ctx, rc);
    }
    load_free(l);
}

static void log_done(struct disk_op *op, int status) {
    struct load_op *l = (struct load_op *)op;
    struct groups *g = l->groups;
    if (g->stopped || status) {
        if (!g->stopped) {
            l->started(l->ctx, status);
        }
        load_free(l);
        return;
    }
    l->op = (struct disk_op){.run = state_run, .done = state_done};
    disk_read(g->params.disk, DISK_META, &l->op);
}

void groups_start(struct groups *g, unsigned bits, uint32_t self, void (*started)(void *ctx, int status), void *ctx) {
    uint32_t count = (1u << bits) + 1;
    CHECK(bits <= RING_BITS_MAX && self > 0 && !g->replicas);
    struct load_op *l = calloc(1, sizeof(*l) + count * sizeof(l->rows[0]));
    g->bits = bits;
    g->self = self;
    g->count = count;
    g->replicas = calloc(count, sizeof(struct replica *));
    g->tombstones = calloc(count, sizeof(uint64_t));
    int rc = routes_new(count, &g->routes);
    CHECK(l && g->replicas && g->tombstones && rc == 0);
    l->op = (struct disk_op){.run = log_run, .done = log_done};
    l->groups = g;
    l->count = count;
    l->started = started;
    l->ctx = ctx;
    journal_init(&l->journal);
    disk_read(g->params.disk, DISK_LOG, &l->op);
}
