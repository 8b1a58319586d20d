/* Everything the groups must make durable in one turn of the loop goes to the writer as one operation. */
#include <stdlib.h>

#include "internal.h"

struct persist_item {
    STAILQ_ENTRY(persist_item) link;
    struct replica *replica; /* NULL: a tombstone for a replica that never was here */
    uint32_t group;
    struct machine_arc arc;
    struct peers_call *call; /* answered when durable */
    uint64_t seq;            /* 0: raft need not hear */
    bool write_hard, install, remove;
    struct hard_row hard;
    struct applied_row applied;   /* install; and a new replica's */
    uint64_t del_first, del_last; /* log rows to delete first; 0: none */
    uint32_t count;
    struct raft_entry *entries[];
};

struct persist_op {
    struct disk_op op;
    struct groups *groups;
    STAILQ_HEAD(, persist_item) items;
};

static int item_run(struct txn *t, struct persist_item *it) {
    int rc = 0;
    if (it->remove) {
        rc = machine_wipe(t, &it->arc);
        rc = rc ? rc : machine_stage_clear(t, it->group);
        rc = rc ? rc : applied_row_del(t, it->group);
    }
    if (!rc && it->install) {
        rc = machine_install(t, it->group, &it->arc);
        rc = rc ? rc : applied_row_put(t, it->group, &it->applied);
    }
    if (!rc && it->del_first) {
        rc = log_del(t, it->group, it->del_first, it->del_last);
    }
    if (!rc && it->write_hard) {
        rc = hard_row_put(t, it->group, &it->hard);
    }
    for (uint32_t i = 0; !rc && i < it->count; i++) {
        rc = log_put(t, it->group, it->entries[i]);
    }
    return rc;
}

static int persist_run(struct txn *t, struct disk_op *op) {
    struct persist_op *p = (struct persist_op *)op;
    struct persist_item *it;
    int rc = 0;
    STAILQ_FOREACH(it, &p->items, link) {
        rc = rc ? rc : item_run(t, it);
    }
    return rc;
}

static void item_free(struct persist_item *it) {
    for (uint32_t i = 0; i < it->count; i++) {
        raft_entry_unref(it->entries[i]);
    }
    free(it);
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
        r->installing = false;
        r->applied = it->applied.index;
        r->applied_term = it->applied.term;
        r->stamp_ms = it->applied.stamp_ms;
        r->applied_config = it->applied.config;
        g->params.hooks.installed(g->params.hooks.ctx, r->group, r->applied);
        if (r->group == GROUPS_ROOT) {
            g->params.hooks.root_changed(g->params.hooks.ctx);
        }
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
    while (!STAILQ_EMPTY(&p->items)) {
        struct persist_item *it = STAILQ_FIRST(&p->items);
        STAILQ_REMOVE_HEAD(&p->items, link);
        item_done(p->groups, it);
        item_free(it);
    }
    free(p);
}

static struct persist_item *item_add(struct groups *g, uint32_t group, uint32_t count) {
    struct persist_item *it = calloc(1, sizeof(*it) + count * sizeof(it->entries[0]));
    if (!g->persist) {
        g->persist = calloc(1, sizeof(*g->persist));
        if (g->persist) {
            g->persist->groups = g;
            g->persist->op.run = persist_run;
            g->persist->op.done = persist_done;
            STAILQ_INIT(&g->persist->items);
        }
    }
    CHECK(it && g->persist); /* a replica that cannot promise durability must not go on */
    it->group = group;
    groups_arc(g, group, &it->arc);
    STAILQ_INSERT_TAIL(&g->persist->items, it, link);
    groups_flush_soon(g);
    return it;
}

static struct persist_item *item_new(struct replica *r, uint32_t count) {
    struct persist_item *it = item_add(r->groups, r->group, count);
    it->replica = r;
    r->ops++;
    return it;
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
    if (u->hard_changed || u->install) {
        fill_hard(r, it);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct raft_entry *e = raft_entry_at(r->raft, u->append_from + i);
        CHECK(e && e->index == u->append_from + i);
        it->entries[i] = raft_entry_ref(e);
    }
    it->count = count;
    if (u->install) {
        CHECK(r->in);
        it->install = true;
        it->applied = (struct applied_row){.index = it->hard.base_index,
                                           .term = it->hard.base_term,
                                           .stamp_ms = r->in->stamp_ms,
                                           .config = it->hard.config};
        it->del_first = 1;
        it->del_last = UINT64_MAX;
        r->installing = true;
        r->stored_last = it->hard.base_index;
    } else if (u->append_from && u->append_from <= r->stored_last) {
        it->del_first = u->append_from;
        it->del_last = r->stored_last;
    }
    if (u->append_from) {
        r->stored_last = u->append_to;
    }
}

void persist_compact(struct replica *r, uint64_t old_base) {
    struct persist_item *it = item_new(r, 0);
    fill_hard(r, it);
    CHECK(it->hard.base_index > old_base && it->hard.base_index <= r->applied);
    it->del_first = old_base + 1;
    it->del_last = it->hard.base_index;
}

void persist_create(struct replica *r, struct peers_call *call) {
    struct persist_item *it = item_new(r, 0);
    fill_hard(r, it);
    it->call = call;
}

static void bury(struct groups *g, struct persist_item *it) {
    it->write_hard = true;
    it->hard = (struct hard_row){.tombstone = g->tombstones[it->group]};
}

/* The tombstone outlives everything: no later message can bring the same replica id back. */
void persist_remove(struct replica *r, struct peers_call *call) {
    struct persist_item *it = item_new(r, 0);
    bury(r->groups, it);
    it->call = call;
    it->remove = true;
    it->del_first = 1;
    it->del_last = UINT64_MAX;
}

void persist_tombstone(struct groups *g, uint32_t group, struct peers_call *call) {
    struct persist_item *it = item_add(g, group, 0);
    bury(g, it);
    it->call = call;
}

void persist_flush(struct groups *g) {
    if (g->persist) {
        struct persist_op *p = g->persist;
        g->persist = NULL;
        disk_write(g->params.disk, DISK_META, &p->op);
    }
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
