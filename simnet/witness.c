#include "witness.h"

#include <inttypes.h>
#include <stdlib.h>

#include "check.h"
#include "copies.h"
#include "errors.h"
#include "internal.h"
#include "machine.h"
#include "quorum.h"
#include "ring.h"
#include "rows.h"
#include "store.h"

/* ---- life -------------------------------------------------------------------------------------------------------- */

void witness_init(struct witness *w, struct swarm *swarm, unsigned bits) {
    *w = (struct witness){.swarm = swarm, .groups = (1u << bits) + 1};
    w->ledgers = calloc(w->groups, sizeof(*w->ledgers));
    w->tables = calloc(w->groups, sizeof(*w->tables));
    w->hosts = calloc(swarm->count, sizeof(*w->hosts));
    CHECK(w->ledgers != NULL && w->tables != NULL && w->hosts != NULL);
    for (uint32_t i = 0; i < swarm->count; i++) {
        w->hosts[i].views = calloc(w->groups, sizeof(*w->hosts[i].views));
        w->hosts[i].dead = calloc(w->groups, sizeof(*w->hosts[i].dead));
        w->hosts[i].held = calloc(w->groups, sizeof(*w->hosts[i].held));
        w->hosts[i].logs = calloc(w->groups, sizeof(*w->hosts[i].logs));
        journal_init(&w->hosts[i].journal);
        CHECK(w->hosts[i].views != NULL && w->hosts[i].dead != NULL && w->hosts[i].held != NULL &&
              w->hosts[i].logs != NULL);
    }
}

void witness_release(struct witness *w) {
    for (uint32_t i = 0; w->hosts != NULL && i < w->swarm->count; i++) {
        free(w->hosts[i].views);
        free(w->hosts[i].dead);
        free(w->hosts[i].held);
        free(w->hosts[i].logs);
        journal_release(&w->hosts[i].journal);
    }
    for (uint32_t i = 0; i < w->groups; i++) {
        ledger_release(&w->ledgers[i]);
    }
    free(w->hosts);
    free(w->tables);
    free(w->ledgers);
    *w = (struct witness){0};
}

static void trouble(struct witness *w, uint32_t host, uint32_t group, const char *what) {
    if (what != NULL) {
        swarm_fail(w->swarm, "group %" PRIu32 ", node %" PRIu32 ": %s", group, host, what);
    }
}

const struct raft_config *witness_config(const struct witness *w, uint32_t group) {
    CHECK(group < w->groups);
    return ledger_config(&w->ledgers[group]);
}

/* ---- what lies on a disk ----------------------------------------------------------------------------------------- */

static struct txn *read_disk(struct witness *w, uint32_t host, enum disk_env env) {
    struct txn *t;
    CHECK(store_begin(sim_host_store(sim_host(w->swarm->sim, host), env), false, &t) == 0);
    return t;
}

/* Tombstones are for ever. */
static void read_tombstones(struct witness *w, uint32_t host) {
    struct txn *t = read_disk(w, host, DISK_LOG);
    for (uint32_t group = 0; group < w->groups; group++) {
        struct hard_row hard;
        uint64_t *dead = &w->hosts[host - 1].dead[group];
        uint64_t *held = &w->hosts[host - 1].held[group];
        int status = hard_row_get(t, group, &hard);
        if (status == ERR_NOT_FOUND) {
            hard = (struct hard_row){0};
        }
        if (status != 0 && status != ERR_NOT_FOUND) {
            trouble(w, host, group, "its hard state cannot be decoded");
        } else if (hard.tombstone < *dead) {
            trouble(w, host, group, "a tombstone is gone");
        } else if (hard.replica != *held && hard.tombstone < *held) {
            trouble(w, host, group, "a replica is gone and has left no tombstone");
        } else {
            *dead = hard.tombstone;
            *held = hard.replica > *held ? hard.replica : *held;
        }
    }
    store_abort(t);
}

struct journal_reading {
    struct witness *witness;
    uint32_t host;
};

static int read_run(void *ctx, const struct journal_run *run, uint64_t cut) {
    const struct journal_reading *j = ctx;
    if (run->group >= j->witness->groups) {
        return ERR_CORRUPT;
    }
    struct witness_log *log = &j->witness->hosts[j->host - 1].logs[run->group];
    if (log->replica != run->replica) {
        *log = (struct witness_log){.replica = run->replica};
    }
    for (size_t i = 0; i < WITNESS_ENTRIES && cut > 0; i++) {
        if (log->entries[i].index >= cut) {
            log->entries[i].index = 0;
        }
    }
    return 0;
}

static int read_entry(void *ctx, const struct journal_run *run, struct raft_entry *e) {
    const struct journal_reading *j = ctx;
    struct witness_log *log = &j->witness->hosts[j->host - 1].logs[run->group];
    size_t at = e->index % WITNESS_ENTRIES;
    if (log->entries[at].index <= e->index) { /* what is written again is older than the end */
        log->entries[at].index = e->index;
        log->entries[at].term = e->term;
    }
    raft_entry_unref(e);
    return 0;
}

/* Whatever has been added to the journal of a host since it was read last. */
static void read_journal(struct witness *w, uint32_t host, struct txn *t) {
    struct journal_reading reading = {.witness = w, .host = host};
    const struct journal_visitor visitor = {.run = read_run, .entry = read_entry, .ctx = &reading};
    struct journal *j = &w->hosts[host - 1].journal;
    if (journal_load(t, j, &visitor) != 0) {
        swarm_fail(w->swarm, "node %" PRIu32 ": its journal cannot be decoded", host);
    }
    journal_release(j);
}

/* Who starts again may begin its journal anew. */
static void forget_journal(struct witness *w, uint32_t host) {
    struct witness_host *h = &w->hosts[host - 1];
    for (uint32_t group = 0; group < w->groups; group++) {
        h->logs[group] = (struct witness_log){0};
    }
    journal_init(&h->journal);
}

void witness_started(struct witness *w, uint32_t host) {
    struct witness_host *h = &w->hosts[host - 1];
    h->boots++;
    h->steps = 0;
    for (uint32_t group = 0; group < w->groups; group++) {
        h->views[group] = (struct witness_view){0};
    }
    read_tombstones(w, host);
    forget_journal(w, host);
}

void witness_wiped(struct witness *w, uint32_t host) {
    for (uint32_t group = 0; group < w->groups; group++) {
        w->hosts[host - 1].dead[group] = w->hosts[host - 1].held[group] = 0;
    }
}

/* ---- one replica ------------------------------------------------------------------------------------------------- */

static void see_replica(struct witness *w, uint32_t host, uint32_t group, const struct groups_glance *now) {
    struct ledger *l = &w->ledgers[group];
    struct witness_view *v = &w->hosts[host - 1].views[group];
    uint64_t base, base_term;
    const struct raft_config *config;
    struct hard_row disk;
    *v = (struct witness_view){.replica = now->replica};
    raft_base(now->raft, &base, &base_term, &config);
    if (ledger_config(l) == NULL) {
        ledger_begin(l, base, base_term, config);
    }
    trouble(w, host, group, ledger_holder(l, now->replica, host));
    if (now->replica <= w->hosts[host - 1].dead[group]) {
        trouble(w, host, group, "a replica lives whose id has a tombstone");
    }
    /* After a restart: what the disk says of it is the least that holds. */
    struct txn *t = read_disk(w, host, DISK_LOG);
    if (hard_row_get(t, group, &disk) == 0 && disk.replica == now->replica) {
        v->hard = disk.hard;
    }
    store_abort(t);
}

static const char *check_hard(const struct witness_view *v, const struct raft_hard *hard) {
    if (hard->term < v->hard.term) {
        return "a term falls";
    }
    bool changed = hard->term == v->hard.term && v->hard.vote != 0 && hard->vote != v->hard.vote;
    return changed ? "a vote changes within a term" : NULL;
}

/* The first entry that has not been looked at. What was committed before cannot have been truncated since. */
static uint64_t first_unseen(const struct witness_view *v, const struct raft *r, uint64_t base) {
    const struct raft_entry *e = v->last > base ? raft_entry_at(r, v->last) : NULL;
    uint64_t seen = e != NULL && e->term == v->last_term ? v->last : v->commit;
    return (seen > base ? seen : base) + 1;
}

static const char *check_log(struct ledger *l, struct witness_view *v, const struct raft *r, uint64_t base,
                             uint64_t base_term, uint64_t last) {
    const char *wrong = NULL;
    uint64_t from = first_unseen(v, r, base);
    uint64_t before = from == base + 1 ? base_term : from <= last ? raft_entry_at(r, from - 1)->term : 0;
    for (uint64_t i = from; i <= last && wrong == NULL; i++) {
        const struct raft_entry *e = raft_entry_at(r, i);
        wrong = ledger_entry(l, e, before);
        before = e->term;
    }
    v->last = last;
    v->last_term = last > base ? raft_entry_at(r, last)->term : base_term;
    return wrong;
}

/* Two configurations of one log that are not committed yet could each decide without the other (§4.1 of the thesis). */
static const char *check_pending_configs(const struct ledger *l, const struct raft *r, uint64_t last) {
    uint32_t configs = 0;
    for (uint64_t i = last; i > l->committed; i--) {
        const struct raft_entry *e = raft_entry_at(r, i);
        configs += e != NULL && e->kind == RAFT_ENTRY_CONFIG;
    }
    return configs <= 1 ? NULL : "a log holds two configurations that are not committed";
}

static const char *check_commits(struct ledger *l, struct witness_view *v, const struct raft *r, uint64_t base,
                                 uint64_t commit, uint64_t term) {
    const char *wrong = commit < v->commit ? "a commit index falls" : NULL;
    for (uint64_t i = (v->commit > base ? v->commit : base) + 1; i <= commit && wrong == NULL; i++) {
        const struct raft_entry *e = raft_entry_at(r, i);
        wrong = e == NULL ? "an entry is committed that the log lacks" : ledger_commit(l, e, term);
    }
    v->commit = commit;
    return wrong;
}

static void tell_promotions(const struct witness *w, uint32_t group) {
    const struct ledger *l = &w->ledgers[group];
    const struct raft_config *now = &l->configs[l->config_count - 1], *before = now - 1;
    for (uint32_t i = 0; i < now->count && w->promoted != NULL; i++) {
        const struct raft_replica *old = raft_config_find(before, now->replicas[i].id);
        if ((now->replicas[i].flags & RAFT_VOTER) != 0 && old != NULL && old->flags == RAFT_LEARNER) {
            w->promoted(w->ctx, group, now->replicas[i].node);
        }
    }
}

/* ---- leaders ----------------------------------------------------------------------------------------------------- */

struct durable { /* what a quorum's disks are asked about */
    struct witness *witness;
    const struct raft_config *config;
    uint32_t group;
    uint64_t index, term;
    uint64_t leader; /* 0: about an entry */
};

/* A deposed leader that slept may count what a replica acknowledged before a newer configuration, which it has not
 * heard of, let it go: the journal had it then. */
static bool entry_held(struct txn *t, const struct witness_log *log, uint32_t group, uint64_t replica, uint64_t index,
                       uint64_t term) {
    struct hard_row hard;
    size_t at = index % WITNESS_ENTRIES;
    bool found = log->replica == replica && log->entries[at].index == index && log->entries[at].term == term;
    if (hard_row_get(t, group, &hard) != 0) {
        return false;
    }
    if (hard.replica != replica) {
        return found && hard.tombstone >= replica;
    }
    return hard.base_index >= index || found;
}

/* A voter of a later term may have voted for anybody before. */
static bool vote_held(struct txn *t, uint32_t group, uint64_t replica, uint64_t leader, uint64_t term) {
    struct hard_row hard;
    if (hard_row_get(t, group, &hard) != 0 || hard.replica != replica) {
        return false;
    }
    return hard.hard.term > term || (hard.hard.term == term && hard.hard.vote == leader);
}

static bool on_disk(void *ctx, uint64_t id) {
    struct durable *d = ctx;
    const struct raft_replica *row = raft_config_find(d->config, id);
    uint32_t host = row != NULL ? copies_host(d->witness->swarm, row->node) : 0;
    if (host == 0) {
        return true; /* its host was wiped since: nobody can tell */
    }
    struct txn *t = read_disk(d->witness, host, DISK_LOG);
    read_journal(d->witness, host, t);
    const struct witness_log *log = &d->witness->hosts[host - 1].logs[d->group];
    bool held = d->leader != 0 ? vote_held(t, d->group, id, d->leader, d->term)
                               : entry_held(t, log, d->group, id, d->index, d->term);
    store_abort(t);
    return held;
}

/* A leader is one by votes that no crash can take back. */
static const char *check_votes(struct witness *w, uint32_t group, const struct raft *r, const struct raft_status *st) {
    struct durable d = {.witness = w, .config = raft_config(r), .group = group, .leader = st->self, .term = st->term};
    return quorum_has(d.config, on_disk, &d) ? NULL : "a leader has no quorum of votes on disk";
}

/* A leader's commit index went on to this one while it led. */
static const char *check_counting(struct witness *w, uint32_t group, const struct raft *r, uint64_t commit,
                                  uint64_t term) {
    const struct raft_entry *e = raft_entry_at(r, commit);
    if (e == NULL || e->term != term) {
        return "a leader commits an entry of an earlier term by counting";
    }
    struct durable d = {.witness = w, .config = raft_config(r), .group = group, .index = commit, .term = term};
    bool durable = quorum_has(d.config, on_disk, &d);
    if (!durable && d.config->index > commit) {
        d.config = raft_config_committed(r); /* the newer one may have been appended after the counting */
        durable = quorum_has(d.config, on_disk, &d);
    }
    return durable ? NULL : "an entry is committed that no quorum has on disk";
}

static const char *check_leader(struct witness *w, uint32_t host, uint32_t group, const struct groups_glance *now,
                                const struct raft_status *st, uint64_t commit_before) {
    struct ledger *l = &w->ledgers[group];
    struct witness_view *v = &w->hosts[host - 1].views[group];
    const char *wrong = NULL;
    bool again = v->leading && v->led_term == now->led_term;
    v->leading = st->role == RAFT_LEADER;
    if (now->led_term > v->led_term) {
        v->led_term = now->led_term;
        wrong = ledger_lead(l, now->led_term, host, w->hosts[host - 1].boots);
    }
    if (wrong == NULL && v->leading && !again) {
        wrong = ledger_complete(l, st->term, now->raft);
        wrong = wrong != NULL ? wrong : check_votes(w, group, now->raft, st);
    }
    if (wrong == NULL && v->leading && again && v->commit > commit_before) {
        wrong = check_counting(w, group, now->raft, v->commit, st->term);
    }
    return wrong;
}

bool witness_whole(struct witness *w, uint32_t host, uint32_t group) {
    const struct ledger *l = &w->ledgers[group];
    const struct witness_view *v = &w->hosts[host - 1].views[group];
    if (l->committed == 0 || v->replica == 0) {
        return false;
    }
    struct txn *t = read_disk(w, host, DISK_LOG);
    read_journal(w, host, t);
    bool whole = entry_held(t, &w->hosts[host - 1].logs[group], group, v->replica, l->committed,
                            l->slots[l->committed - 1].committed->term);
    store_abort(t);
    return whole;
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

static const char *look(struct witness *w, uint32_t host, uint32_t group, const struct groups_glance *now) {
    struct ledger *l = &w->ledgers[group];
    struct witness_view *v = &w->hosts[host - 1].views[group];
    const struct raft *r = now->raft;
    struct raft_hard hard = raft_hard(r);
    struct raft_status st;
    uint64_t base, base_term, commit_before = v->commit;
    const struct raft_config *config;
    raft_status(r, &st);
    raft_base(r, &base, &base_term, &config);
    const char *wrong = check_hard(v, &hard);
    v->hard = hard;
    if (wrong == NULL && base != v->base) {
        wrong = ledger_base(l, base, base_term, config);
        v->base = base;
    }
    wrong = wrong != NULL ? wrong : check_log(l, v, r, base, base_term, st.last);
    size_t configs = l->config_count;
    wrong = wrong != NULL ? wrong : check_commits(l, v, r, base, st.commit, hard.term);
    if (l->config_count > configs && configs > 0) {
        tell_promotions(w, group);
    }
    wrong = wrong != NULL ? wrong : check_pending_configs(l, r, st.last);
    if (wrong == NULL && (now->led_term > v->led_term || v->leading)) {
        wrong = check_leader(w, host, group, now, &st, commit_before);
    }
    return wrong;
}

void witness_look(struct witness *w, uint32_t host) {
    const struct node *node = swarm_node(w->swarm, host)->node;
    struct witness_host *h = &w->hosts[host - 1];
    const struct groups *g = node != NULL ? node_groups(node) : NULL;
    if (g == NULL || groups_steps(g) == h->steps || w->swarm->failure[0] != '\0') {
        return;
    }
    h->steps = groups_steps(g);
    for (uint32_t group = 0; group < w->groups; group++) {
        struct groups_glance now;
        struct witness_view *v = &h->views[group];
        groups_glance(g, group, &now);
        if (now.raft == NULL || (v->replica == now.replica && v->steps == now.steps)) {
            continue;
        }
        if (v->replica != now.replica) {
            see_replica(w, host, group, &now);
        }
        v->steps = now.steps;
        trouble(w, host, group, look(w, host, group, &now));
    }
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

/* What one host's disk says of a group's state; false: it has none. */
static bool read_table(struct witness *w, uint32_t host, uint32_t group, uint64_t *ret_index,
                       struct digest *ret_digest) {
    struct machine_arc arc = {.root = group == GROUPS_ROOT};
    struct applied_row applied;
    struct txn *t = read_disk(w, host, DISK_META);
    if (!arc.root) {
        ring_arc_range(group - 1, w->swarm->bits, &arc.first, &arc.last);
    }
    bool there = applied_row_get(t, group, &applied) == 0;
    if (there && machine_digest(t, &arc, ret_digest) != 0) {
        trouble(w, host, group, "its tables cannot be read");
    }
    store_abort(t);
    *ret_index = there ? applied.index : 0;
    return there;
}

static const char *compare_table(struct witness_tables *known, uint64_t index, const struct digest *digest) {
    for (uint32_t i = 0; i < WITNESS_DIGESTS; i++) {
        if (known->index[i] == index) {
            return digest_equal(&known->digest[i], digest) ? NULL : "two replicas differ at the same applied index";
        }
    }
    known->index[known->next] = index;
    known->digest[known->next] = *digest;
    known->next = (known->next + 1) % WITNESS_DIGESTS;
    return NULL;
}

void witness_sample(struct witness *w) {
    uint32_t group = w->next_table;
    w->next_table = (w->next_table + 1) % w->groups;
    for (uint32_t host = 1; host <= w->swarm->count; host++) {
        uint64_t index;
        struct digest digest;
        if (read_table(w, host, group, &index, &digest) && index > 0) {
            trouble(w, host, group, compare_table(&w->tables[group], index, &digest));
        }
        if (group == 0 && sim_host_up(sim_host(w->swarm->sim, host))) {
            read_tombstones(w, host);
        }
    }
}
