/* Everything the groups must make durable in one turn of the loop goes to the log's writer as one operation: the rows
 * of the replicas concerned, and one batch of the journal. */
#include <stdlib.h>

#include "internal.h"

struct persist_item {
    STAILQ_ENTRY(persist_item) link;
    struct replica *replica; /* NULL: a tombstone for a replica that never was here, or entries written again */
    uint32_t group;
    uint64_t id;             /* replica */
    struct peers_call *call; /* answered when durable */
    uint64_t seq;            /* 0: raft need not hear */
    bool write_hard;
    bool install; /* a snapshot that has become the state */
    struct hard_row hard;
    uint64_t cut; /* the stored log ends before it; 0: it stays */
    uint64_t first;
    uint32_t count;
    struct raft_entry *entries[];
};

struct persist_op {
    struct disk_op op;
    struct groups *groups;
    uint64_t batch;                 /* 0: no entries */
    uint64_t bytes;                 /* of entries, without those that are written again */
    uint64_t drop_first, drop_last; /* batches; 0: none */
    STAILQ_HEAD(, persist_item) items;
};

static bool in_journal(const struct persist_item *it) {
    return it->count > 0 || it->cut > 0;
}

/* ---- on the writer ----------------------------------------------------------------------------------------------- */

static int write_batch(struct txn *t, const struct persist_op *p) {
    struct journal_writer w;
    const struct persist_item *it;
    journal_write_begin(&w, t, p->batch);
    STAILQ_FOREACH(it, &p->items, link) {
        if (in_journal(it)) {
            journal_write_run(&w, it->group, it->id, it->cut, it->first, it->entries, it->count);
        }
    }
    return journal_write_end(&w);
}

static int persist_run(struct txn *t, struct disk_op *op) {
    struct persist_op *p = (struct persist_op *)op;
    const struct persist_item *it;
    int rc = 0;
    STAILQ_FOREACH(it, &p->items, link) {
        if (!rc && it->write_hard) {
            rc = hard_row_put(t, it->group, &it->hard);
        }
    }
    if (!rc && p->batch) {
        rc = write_batch(t, p);
    }
    if (!rc && p->drop_first) {
        rc = journal_delete(t, p->drop_first, p->drop_last);
    }
    return rc;
}

/* ---- when durable ------------------------------------------------------------------------------------------------ */

static void item_free(struct persist_item *it) {
    for (uint32_t i = 0; i < it->count; i++) {
        raft_entry_unref(it->entries[i]);
    }
    free(it);
}

static void installed(struct replica *r, const struct hard_row *hard) {
    struct groups *g = r->groups;
    r->installing = false;
    CHECK(r->applied == hard->base_index);
    g->params.hooks.installed(g->params.hooks.ctx, r->group, r->applied);
    if (r->group == GROUPS_ROOT) {
        g->params.hooks.root_changed(g->params.hooks.ctx);
    }
}

static void item_done(struct groups *g, struct persist_item *it) {
    struct replica *r = it->replica;
    bool dead = r && r->dead;
    if (it->call && !g->stopped) {
        peers_reply(it->call, 0, NULL, 0);
    }
    if (r) {
        replica_op_done(r);
    }
    if (!r || dead || g->stopped) {
        return;
    }
    if (it->install) {
        installed(r, &it->hard);
    }
    if (it->seq) {
        struct raft_event ev = {.kind = RAFT_EV_PERSISTED, .seq = it->seq};
        (void)replica_step(r, &ev);
        replica_reads_ready(r);
    }
}

static void persist_done(struct disk_op *op, int status) {
    struct persist_op *p = (struct persist_op *)op;
    CHECK(status == 0); /* a failed write is fatal and completes nothing */
    liveness_disk_ends(p->groups, WATCH_LOG);
    while (!STAILQ_EMPTY(&p->items)) {
        struct persist_item *it = STAILQ_FIRST(&p->items);
        STAILQ_REMOVE_HEAD(&p->items, link);
        item_done(p->groups, it);
        item_free(it);
    }
    free(p);
}

/* ---- gathering --------------------------------------------------------------------------------------------------- */

static struct persist_op *gathering(struct groups *g) {
    if (!g->persist) {
        g->persist = calloc(1, sizeof(*g->persist));
        CHECK(g->persist); /* who cannot promise durability must not go on */
        g->persist->groups = g;
        g->persist->op.run = persist_run;
        g->persist->op.done = persist_done;
        STAILQ_INIT(&g->persist->items);
    }
    return g->persist;
}

static struct persist_item *item_alloc(uint32_t group, uint32_t count) {
    struct persist_item *it = calloc(1, sizeof(*it) + count * sizeof(it->entries[0]));
    CHECK(it);
    it->group = group;
    it->count = count;
    return it;
}

static struct persist_item *item_new(struct replica *r, uint32_t count) {
    struct persist_item *it = item_alloc(r->group, count);
    it->replica = r;
    it->id = r->id;
    r->ops++;
    return it;
}

static void submit(struct groups *g, struct persist_item *it) {
    struct persist_op *p = gathering(g);
    STAILQ_INSERT_TAIL(&p->items, it, link);
    if (in_journal(it)) {
        p->bytes += journal_run_bytes(it->entries, it->count);
    }
    if (p->bytes >= JOURNAL_BATCH_BYTES) {
        persist_flush(g);
    }
    groups_flush_soon(g);
}

/* What follows a snapshot in the log must not be on disk before it. */
static void submit_in_turn(struct replica *r, struct persist_item *it) {
    if (r->holding) {
        STAILQ_INSERT_TAIL(&r->held, it, link);
    } else {
        submit(r->groups, it);
    }
}

void persist_held(struct replica *r, bool drop) {
    while (!STAILQ_EMPTY(&r->held)) {
        struct persist_item *it = STAILQ_FIRST(&r->held);
        STAILQ_REMOVE_HEAD(&r->held, link);
        if (!drop) {
            submit(r->groups, it);
            continue;
        }
        if (it->call && !r->groups->stopped) {
            peers_reply(it->call, ERR_MOVED, NULL, 0);
        }
        CHECK(r->ops > 0);
        r->ops--;
        item_free(it);
    }
}

static void fill_hard(struct replica *r, struct persist_item *it) {
    const struct raft_config *config;
    it->write_hard = true;
    it->hard.replica = r->id;
    it->hard.tombstone = r->groups->tombstones[r->group];
    it->hard.hard = raft_hard(r->raft);
    raft_base(r->raft, &it->hard.base_index, &it->hard.base_term, &config);
    it->hard.config = *config;
}

void persist_update(struct replica *r, const struct raft_update *u) {
    uint32_t count =
        u->append_from && u->append_to >= u->append_from ? (uint32_t)(u->append_to - u->append_from + 1) : 0;
    struct persist_item *it = item_new(r, count);
    it->seq = u->persist_seq;
    it->first = u->append_from ? u->append_from : 1;
    if (u->hard_changed || u->install) {
        fill_hard(r, it);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct raft_entry *e = raft_entry_at(r->raft, u->append_from + i);
        CHECK(e && e->index == u->append_from + i);
        it->entries[i] = raft_entry_ref(e);
    }
    if (u->install) {
        it->cut = 1;
        it->install = true;
        r->stored_last = it->hard.base_index;
        r->recovered = r->recovered < r->stored_last ? r->recovered : r->stored_last;
        r->installing = true;
        install_state(r, &it->hard);
    } else if (u->append_from && u->append_from <= r->stored_last) {
        it->cut = u->append_from;
        r->recovered = r->recovered < it->cut ? r->recovered : it->cut - 1;
    }
    if (u->append_from) {
        r->stored_last = u->append_to;
    }
    submit_in_turn(r, it);
}

/* Not urgent: it goes with whatever goes next. */
void persist_compact(struct replica *r) {
    struct persist_item *it = item_new(r, 0);
    CHECK(!r->installing);
    fill_hard(r, it);
    CHECK(it->hard.base_index <= r->saved);
    STAILQ_INSERT_TAIL(&gathering(r->groups)->items, it, link);
    r->base = it->hard.base_index;
}

void persist_rebase(struct replica *r) {
    struct persist_item *it = item_new(r, 0);
    fill_hard(r, it);
    it->first = 1;
    it->cut = 1;
    submit(r->groups, it);
}

void persist_create(struct replica *r, struct peers_call *call) {
    struct persist_item *it = item_new(r, 0);
    fill_hard(r, it);
    it->call = call;
    submit_in_turn(r, it);
}

static void bury(struct groups *g, struct persist_item *it) {
    it->write_hard = true;
    it->hard = (struct hard_row){.tombstone = g->tombstones[it->group]};
}

/* The tombstone outlives everything: no later message can bring the same replica id back. The entries in the journal
 * belong to nobody any more. */
void persist_remove(struct replica *r, struct peers_call *call) {
    persist_held(r, true);
    struct persist_item *it = item_new(r, 0);
    bury(r->groups, it);
    it->call = call;
    submit(r->groups, it);
    wipe_state(r);
}

void persist_tombstone(struct groups *g, uint32_t group, struct peers_call *call) {
    struct persist_item *it = item_alloc(group, 0);
    bury(g, it);
    it->call = call;
    submit(g, it);
}

/* ---- the journal's old end --------------------------------------------------------------------------------------- */

/* Which entries of a run are still needed from it. */
static bool run_needed(const struct groups *g, const struct journal_run *run, uint64_t *ret_first, uint64_t *ret_last) {
    const struct replica *r = run->group < g->count ? g->replicas[run->group] : NULL;
    if (!r || r->id != run->replica) {
        return false;
    }
    *ret_first = run->first > r->base ? run->first : r->base + 1;
    *ret_last = run->last < r->stored_last ? run->last : r->stored_last;
    return *ret_first <= *ret_last;
}

static bool batch_needed(const struct groups *g, struct journal_batch *b) {
    uint64_t first, last;
    while (b->dead < b->count && !run_needed(g, &b->runs[b->dead], &first, &last)) {
        b->dead++;
    }
    return b->dead < b->count;
}

/* The entries as an item of p; false when they are not to be had at the moment, or are more than may be written again
 * already. */
static bool write_again(struct groups *g, struct persist_op *p, const struct journal_run *run) {
    uint64_t first, last;
    bool needed = run_needed(g, run, &first, &last);
    CHECK(needed);
    const struct replica *r = g->replicas[run->group];
    struct persist_item *it = item_alloc(r->group, (uint32_t)(last - first + 1));
    it->id = r->id;
    it->first = first;
    bool whole = !r->installing;
    for (it->count = 0; whole && first + it->count <= last;) {
        struct raft_entry *e = raft_entry_at(r->raft, first + it->count);
        whole = e != NULL;
        if (e) {
            it->entries[it->count++] = raft_entry_ref(e);
        }
    }
    if (!whole || !journal_spend(&g->journal, journal_run_bytes(it->entries, it->count))) {
        item_free(it);
        return false;
    }
    STAILQ_INSERT_TAIL(&p->items, it, link);
    return true;
}

/* Batches go in order, so a few entries of quiet groups can hold up the rest: when that has become much, they are
 * written again, run by run: a batch may be larger than all that may be written again at once. Paced by what is written
 * for the first time, so that the cost is at most as much again. */
static void trim(struct groups *g, struct persist_op *p) {
    struct journal *j = &g->journal;
    struct journal_batch *b;
    while ((b = STAILQ_FIRST(&j->batches)) != NULL) {
        while (batch_needed(g, b)) {
            if (!p->batch || !journal_is_sparse(j, g->log_bytes) || !write_again(g, p, &b->runs[b->dead])) {
                return;
            }
            b->dead++;
        }
        p->drop_first = p->drop_first ? p->drop_first : b->number;
        p->drop_last = b->number;
        journal_drop_oldest(j);
    }
}

static void note_batch(struct groups *g, struct persist_op *p) {
    struct journal *j = &g->journal;
    struct journal_batch *b = journal_add(j, p->batch);
    const struct persist_item *it;
    STAILQ_FOREACH(it, &p->items, link) {
        if (in_journal(it)) {
            struct journal_run run = {
                .group = it->group, .replica = it->id, .first = it->first, .last = it->first + it->count - 1};
            journal_add_run(j, b, &run, journal_run_bytes(it->entries, it->count));
        }
    }
}

void persist_flush(struct groups *g) {
    struct persist_op *p = g->persist;
    if (!p) {
        return;
    }
    g->persist = NULL;
    p->batch = p->bytes > 0 ? g->journal.next : 0;
    trim(g, p);
    if (p->batch) {
        note_batch(g, p);
        journal_earn(&g->journal, p->bytes);
    }
    liveness_disk_begins(g, WATCH_LOG);
    disk_write(g->params.disk, DISK_LOG, &p->op);
}

void persist_drop(struct groups *g) {
    if (!g->persist) {
        return;
    }
    while (!STAILQ_EMPTY(&g->persist->items)) {
        struct persist_item *it = STAILQ_FIRST(&g->persist->items);
        STAILQ_REMOVE_HEAD(&g->persist->items, link);
        item_free(it);
    }
    free(g->persist);
    g->persist = NULL;
}
