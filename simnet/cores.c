#include "cores.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "internal.h"
#include "quorum.h"

#define NODE_OF(id) ((uint32_t)(100 + (id)))
#define PASSES_MAX 64 /* of messages within one millisecond */
#define ELECT_MS_MAX 120000

static const struct raft_timing timing = {.heartbeat_ms = 100, .election_min_ms = 1000, .election_max_ms = 2000};

static struct core *core_at(const struct cores *c, uint64_t id) {
    CHECK(id >= 1 && id <= CORES_MAX);
    return &c->cores[id];
}

static bool running(const struct cores *c, uint64_t id) {
    return core_at(c, id)->raft != NULL;
}

/* ---- what the cores show ----------------------------------------------------------------------------------------- */

static void judge(struct cores *c, uint64_t id, const char *trouble) {
    if (trouble != NULL) {
        script_fail(c->script, RUN_INVARIANT, "core %" PRIu64 ": %s", id, trouble);
    }
}

static uint64_t term_before(const struct core *n, uint64_t index) {
    uint64_t base_index, base_term;
    const struct raft_config *config;
    raft_base(n->raft, &base_index, &base_term, &config);
    return index - 1 == base_index ? base_term : raft_entry_at(n->raft, index - 1)->term;
}

/* An entry on the disks, for quorum_has. */
struct on_disk {
    const struct cores *cores;
    uint64_t index, term;
};

static bool has_on_disk(void *ctx, uint64_t id) {
    const struct on_disk *e = ctx;
    const struct core *n = core_at(e->cores, id);
    if (e->index <= n->base_index) {
        return true;
    }
    return e->index <= n->base_index + n->entry_count && n->entries[e->index - n->base_index - 1]->term == e->term;
}

static void show(struct cores *c, struct core *n, const struct raft_update *u) {
    uint64_t base_index, base_term;
    const struct raft_config *config;
    raft_invariant(n->raft);
    struct raft_status status;
    raft_status(n->raft, &status);
    raft_base(n->raft, &base_index, &base_term, &config);
    for (uint64_t i = u->append_from; i != 0 && i <= u->append_to; i++) {
        judge(c, n->id, ledger_entry(&c->ledger, raft_entry_at(n->raft, i), term_before(n, i)));
    }
    for (uint64_t i = n->commit + 1; i <= u->commit && !c->script->failed; i++) {
        if (i > base_index) {
            judge(c, n->id, ledger_commit(&c->ledger, raft_entry_at(n->raft, i), status.term));
        }
    }
    if (status.role == RAFT_LEADER && u->commit > n->commit && u->commit > base_index) {
        struct on_disk e = {c, u->commit, raft_entry_at(n->raft, u->commit)->term};
        bool durable = quorum_has(raft_config(n->raft), has_on_disk, &e);
        judge(c, n->id, durable ? NULL : "it commits what is not on the disks of a quorum");
        judge(c, n->id, e.term == status.term ? NULL : "it commits an entry of another term by counting");
    }
    if (status.role == RAFT_LEADER && u->role_changed) {
        judge(c, n->id, ledger_lead(&c->ledger, status.term, (uint32_t)n->id, c->boots));
        judge(c, n->id, ledger_complete(&c->ledger, status.term, n->raft));
        script_tell(c->script, "%" PRIu64 " leads in term %" PRIu64, n->id, status.term);
    }
    n->commit = u->commit > n->commit ? u->commit : n->commit;
}

/* ---- disks ------------------------------------------------------------------------------------------------------- */

static void batch_add(struct core *n, const struct raft_update *u) {
    const struct raft_config *config;
    CHECK(n->batch_count < CORES_BATCHES_MAX);
    struct core_batch *b = &n->batches[n->batch_count++];
    *b = (struct core_batch){.seq = u->persist_seq,
                             .hard_changed = u->hard_changed,
                             .install = u->install,
                             .hard = raft_hard(n->raft),
                             .append_from = u->append_from,
                             .append_to = u->append_to};
    raft_base(n->raft, &b->base_index, &b->base_term, &config);
    b->base_config = *config;
    for (uint64_t i = u->append_from; i != 0 && i <= u->append_to; i++) {
        CHECK(i - u->append_from < CORES_LOG_MAX);
        b->entries[i - u->append_from] = raft_entry_ref(raft_entry_at(n->raft, i));
    }
}

static void batch_release(struct core_batch *b) {
    for (uint64_t i = b->append_from; i != 0 && i <= b->append_to; i++) {
        raft_entry_unref(b->entries[i - b->append_from]);
    }
}

static void truncate_disk(struct core *n, uint64_t from) {
    while (n->entry_count > 0 && n->base_index + n->entry_count >= from) {
        raft_entry_unref(n->entries[--n->entry_count]);
    }
}

static void write_batch(struct core *n, const struct core_batch *b) {
    if (b->install) {
        truncate_disk(n, 0);
        n->base_index = b->base_index;
        n->base_term = b->base_term;
        n->base_config = b->base_config;
        n->applied = b->base_index;
    }
    if (b->hard_changed) {
        n->hard = b->hard;
    }
    if (b->append_from != 0) {
        truncate_disk(n, b->append_from);
        CHECK(n->base_index + n->entry_count + 1 == b->append_from);
    }
    for (uint64_t i = b->append_from; i != 0 && i <= b->append_to; i++) {
        CHECK(n->entry_count < CORES_LOG_MAX);
        n->entries[n->entry_count++] = raft_entry_ref(b->entries[i - b->append_from]);
    }
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static void send_message(struct cores *c, const struct raft_message *m) {
    CHECK(c->packet_count < CORES_PACKETS_MAX);
    struct raft_message *p = &c->packets[c->packet_count++];
    *p = *m;
    p->to_node = 0;
    p->from_node = NODE_OF(m->from);
    p->entries = NULL;
    if (m->entry_count > 0) {
        p->entries = calloc(m->entry_count, sizeof(*p->entries));
        CHECK(p->entries != NULL);
    }
    for (uint32_t i = 0; i < m->entry_count; i++) { /* copies, as over a wire */
        const struct raft_entry *e = m->entries[i];
        p->entries[i] = raft_entry_new(e->index, e->term, (enum raft_entry_kind)e->kind, e->data, e->size);
        CHECK(p->entries[i] != NULL);
    }
    const uint64_t words[] = {c->now_ms, m->from, m->to, m->kind, m->term, m->index, m->commit};
    c->script->hash = sim_fold(c->script->hash, words, sizeof(words));
}

static void release_message(struct raft_message *m) {
    for (uint32_t i = 0; i < m->entry_count; i++) {
        raft_entry_unref(m->entries[i]);
    }
    free(m->entries);
}

static int step(struct cores *c, uint64_t id, struct raft_event event) {
    struct core *n = core_at(c, id);
    struct raft_update *u = &c->update;
    if (c->script->failed || n->raft == NULL) {
        return ERR_CLOSED;
    }
    event.now_ms = c->now_ms;
    event.random = prng_u64(&c->prng);
    int status = raft_step(n->raft, &event, u);
    show(c, n, u);
    if (u->persist_seq != 0) {
        batch_add(n, u);
    }
    for (uint32_t i = 0; i < u->message_count; i++) {
        send_message(c, &u->messages[i]);
    }
    for (uint32_t i = 0; i < u->read_count && n->read_count < CORES_READS_MAX; i++) {
        n->reads[n->read_count++] = u->reads[i];
    }
    for (uint32_t i = 0; i < u->snapshot_count; i++) {
        CHECK(u->snapshot_to[i] <= CORES_MAX);
        n->wanted_snapshot[u->snapshot_to[i]] = true;
    }
    return status;
}

bool cores_persist_one(struct cores *c, uint64_t id) {
    struct core *n = core_at(c, id);
    if (c->script->failed || n->raft == NULL || n->batch_count == 0) {
        return false;
    }
    uint64_t seq = n->batches[0].seq;
    write_batch(n, &n->batches[0]);
    batch_release(&n->batches[0]);
    n->batch_count--;
    memmove(n->batches, n->batches + 1, n->batch_count * sizeof(*n->batches));
    struct raft_event event = {.kind = RAFT_EV_PERSISTED};
    event.seq = seq;
    script_expect(c->script, step(c, id, event) == 0, "core %" PRIu64 " refuses that a batch is durable", id);
    return true;
}

/* What is committed and durable is applied. */
static bool apply(struct cores *c, uint64_t id) {
    struct core *n = core_at(c, id);
    uint64_t upto = n->base_index + n->entry_count;
    upto = n->commit < upto ? n->commit : upto;
    if (n->raft == NULL || n->batch_count > 0 || upto <= n->applied) {
        return false;
    }
    n->applied = upto;
    struct raft_event event = {.kind = RAFT_EV_APPLIED};
    event.index = upto;
    script_expect(c->script, step(c, id, event) == 0, "core %" PRIu64 " refuses that an entry is applied", id);
    return true;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static struct raft_message take_packet(struct cores *c, size_t i) {
    struct raft_message m = c->packets[i];
    c->packet_count--;
    memmove(c->packets + i, c->packets + i + 1, (c->packet_count - i) * sizeof(m));
    return m;
}

static void arrive(struct cores *c, struct raft_message *m) {
    struct raft_event event = {.kind = RAFT_EV_MESSAGE};
    event.message = m;
    int status = c->cut[m->from][m->to] ? ERR_CLOSED : step(c, m->to, event);
    script_expect(c->script, status == 0 || status == ERR_CLOSED,
                  "core %" PRIu64 " takes a message of %" PRIu64 " for one that no correct peer sends", m->to, m->from);
    release_message(m);
}

/* Everything that is under way now, but what is held. */
static bool deliver(struct cores *c) {
    bool any = false;
    size_t left = c->packet_count;
    for (size_t i = 0; left > 0; left--) {
        const struct raft_message *m = &c->packets[i];
        if ((c->held[m->from][m->to] >> m->kind & 1) != 0) {
            i++;
            continue;
        }
        struct raft_message taken = take_packet(c, i);
        arrive(c, &taken);
        any = true;
    }
    return any;
}

void cores_lose(struct cores *c, uint64_t from, uint64_t to) {
    for (size_t i = 0; i < c->packet_count;) {
        if (c->packets[i].from == from && c->packets[i].to == to) {
            struct raft_message m = take_packet(c, i);
            release_message(&m);
        } else {
            i++;
        }
    }
}

size_t cores_waiting(const struct cores *c, uint64_t from, uint64_t to, enum raft_message_kind kind) {
    size_t count = 0;
    for (size_t i = 0; i < c->packet_count; i++) {
        const struct raft_message *m = &c->packets[i];
        count += m->from == from && m->to == to && m->kind == kind && !m->reject;
    }
    return count;
}

uint64_t cores_acknowledged(const struct cores *c, uint64_t from, uint64_t to) {
    uint64_t index = 0;
    for (size_t i = 0; i < c->packet_count; i++) {
        const struct raft_message *m = &c->packets[i];
        if (m->from == from && m->to == to && m->kind == RAFT_APPEND_REPLY && !m->reject && m->index > index) {
            index = m->index;
        }
    }
    return index;
}

void cores_cut(struct cores *c, uint64_t a, uint64_t b, bool cut) {
    script_tell(c->script, "%s between %" PRIu64 " and %" PRIu64, cut ? "nothing passes" : "messages pass again", a, b);
    c->cut[a][b] = c->cut[b][a] = cut;
}

void cores_isolate(struct cores *c, uint64_t id, bool cut) {
    script_tell(c->script, "%" PRIu64 " %s", id, cut ? "is cut off" : "is back");
    for (uint64_t other = 1; other <= CORES_MAX; other++) {
        c->cut[id][other] = c->cut[other][id] = cut;
    }
}

void cores_hold(struct cores *c, uint64_t from, uint64_t to, unsigned kinds) {
    c->held[from][to] = kinds;
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

static void tick(struct cores *c) {
    for (uint64_t id = 1; id <= CORES_MAX; id++) {
        bool ticks = c->favourite == 0 || c->favourite == id;
        if (ticks && running(c, id) && raft_wake_ms(core_at(c, id)->raft) <= c->now_ms) {
            (void)step(c, id, (struct raft_event){.kind = RAFT_EV_TICK});
        }
    }
}

static bool work(struct cores *c) {
    bool any = deliver(c);
    for (uint64_t id = 1; id <= CORES_MAX; id++) {
        while (!core_at(c, id)->stuck && cores_persist_one(c, id)) {
            any = true;
        }
        any = apply(c, id) || any;
    }
    return any;
}

void cores_pass(struct cores *c, uint64_t ms) {
    for (uint64_t until = c->now_ms + ms; c->now_ms < until && !c->script->failed;) {
        c->now_ms++;
        tick(c);
        for (int i = 0; i < PASSES_MAX && work(c); i++) {
        }
    }
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void cores_boot(struct cores *c, uint64_t id) {
    struct core *n = core_at(c, id);
    CHECK(n->raft == NULL);
    struct raft_start start = {.self = n->id,
                               .timing = c->timing,
                               .stays_joint = c->stays_joint,
                               .hard = n->hard,
                               .base_index = n->base_index,
                               .base_term = n->base_term,
                               .base_config = &n->base_config,
                               .applied = n->applied,
                               .entries = n->entries,
                               .entry_count = n->entry_count,
                               .now_ms = c->now_ms,
                               .random = prng_u64(&c->prng)};
    c->boots++;
    script_expect(c->script, raft_new(&start, &n->raft) == 0, "core %" PRIu64 " does not start from its disk", id);
    n->commit = n->applied;
}

void cores_crash(struct cores *c, uint64_t id) {
    struct core *n = core_at(c, id);
    script_tell(c->script, "%" PRIu64 " crashes, %zu batches are lost", id, n->batch_count);
    raft_free(n->raft);
    n->raft = NULL;
    for (size_t i = 0; i < n->batch_count; i++) {
        batch_release(&n->batches[i]);
    }
    n->batch_count = 0;
    n->read_count = 0;
    memset(n->wanted_snapshot, 0, sizeof(n->wanted_snapshot));
}

static void create(struct cores *c, uint64_t id, const struct raft_config *config) {
    struct core *n = core_at(c, id);
    CHECK(n->id == 0);
    n->id = id;
    n->base_config = *config;
    n->batches = calloc(CORES_BATCHES_MAX, sizeof(*n->batches));
    CHECK(n->batches != NULL);
    cores_boot(c, id);
}

void cores_create(struct cores *c, uint64_t id) {
    create(c, id, &(const struct raft_config){0});
}

void cores_row(struct raft_config *config, uint64_t id, unsigned flags) {
    CHECK(config->count < RAFT_REPLICAS_MAX);
    config->replicas[config->count++] = (struct raft_replica){.id = id, .node = NODE_OF(id), .flags = (uint8_t)flags};
    config->next_id = id >= config->next_id ? id + 1 : config->next_id;
}

static uint64_t now_us(void *ctx) {
    return ((const struct cores *)ctx)->now_ms * SIM_MS;
}

struct cores *cores_new(struct script *s, uint64_t voters) {
    return cores_new_leased(s, voters, 0);
}

struct cores *cores_new_leased(struct script *s, uint64_t voters, uint32_t lease_ms) {
    struct cores *c = calloc(1, sizeof(*c));
    CHECK(c != NULL);
    c->cores = calloc(CORES_MAX + 1, sizeof(*c->cores));
    CHECK(c->cores != NULL);
    c->script = s;
    c->timing = timing;
    c->timing.lease_ms = lease_ms;
    c->now_ms = 10000;
    prng_init(&c->prng, s->seed, PRNG_SCENARIO, 3);
    s->now_us = now_us;
    s->now_ctx = c;
    struct raft_config config = {.next_id = 1};
    for (uint64_t id = 1; id <= voters; id++) {
        cores_row(&config, id, RAFT_VOTER);
    }
    ledger_begin(&c->ledger, 0, 0, &config);
    for (uint64_t id = 1; id <= voters; id++) {
        create(c, id, &config);
    }
    return c;
}

void cores_free(struct cores *c) {
    c->script->result->simulated_us = c->now_ms * SIM_MS;
    c->script->now_us = NULL;
    for (size_t i = 0; i < c->packet_count; i++) {
        release_message(&c->packets[i]);
    }
    for (uint64_t id = 1; id <= CORES_MAX; id++) {
        struct core *n = core_at(c, id);
        for (size_t i = 0; i < n->batch_count; i++) {
            batch_release(&n->batches[i]);
        }
        raft_free(n->raft);
        truncate_disk(n, 0);
        free(n->batches);
    }
    ledger_release(&c->ledger);
    free(c->cores);
    free(c);
}

/* ---- what a host does -------------------------------------------------------------------------------------------- */

void cores_campaign(struct cores *c, uint64_t id) {
    (void)step(c, id, (struct raft_event){.kind = RAFT_EV_CAMPAIGN});
}

static bool settled(const struct cores *c, uint64_t id) {
    return cores_leads(c, id) && cores_status(c, id).own_term_committed && cores_leader(c) == id;
}

static void favour(struct cores *c, uint64_t id, bool (*done)(const struct cores *c, uint64_t id)) {
    c->favourite = id;
    for (uint64_t until = c->now_ms + ELECT_MS_MAX; c->now_ms < until && !c->script->failed && !done(c, id);) {
        if (cores_status(c, id).role == RAFT_FOLLOWER) {
            cores_campaign(c, id);
        }
        cores_pass(c, timing.election_min_ms / 4);
    }
    c->favourite = 0;
    script_arose(c->script, done(c, id), "core %" PRIu64 " is elected", id);
}

void cores_win(struct cores *c, uint64_t id) {
    favour(c, id, cores_leads);
}

void cores_elect(struct cores *c, uint64_t id) {
    favour(c, id, settled);
}

uint64_t cores_propose(struct cores *c, uint64_t id, const char *text) {
    struct raft_event event = {.kind = RAFT_EV_PROPOSE};
    event.propose.data = text;
    event.propose.size = strlen(text);
    int status = step(c, id, event);
    script_tell(c->script, "%" PRIu64 " is asked for '%s': %s", id, text, status == 0 ? "appended" : err_name(status));
    return status == 0 ? c->update.ret_index : 0;
}

int cores_change(struct cores *c, uint64_t id, const struct raft_config *config) {
    struct raft_event event = {.kind = RAFT_EV_CONFIG};
    event.config = config;
    int status = step(c, id, event);
    script_tell(c->script, "%" PRIu64 " is asked for another configuration: %s", id,
                status == 0 ? "appended" : err_name(status));
    return status;
}

int cores_read(struct cores *c, uint64_t id, uint64_t handle) {
    struct raft_event event = {.kind = RAFT_EV_READ};
    event.read = handle;
    script_tell(c->script, "%" PRIu64 " is asked for read %" PRIu64, id, handle);
    return step(c, id, event);
}

int cores_transfer(struct cores *c, uint64_t id, uint64_t to) {
    struct raft_event event = {.kind = RAFT_EV_TRANSFER};
    event.transfer = to;
    script_tell(c->script, "%" PRIu64 " is asked to hand over to %" PRIu64, id, to);
    return step(c, id, event);
}

int cores_compact(struct cores *c, uint64_t id, uint64_t index) {
    struct raft_event event = {.kind = RAFT_EV_COMPACT};
    struct core *n = core_at(c, id);
    const struct raft_config *config;
    event.index = index;
    int status = step(c, id, event);
    if (status == 0) {
        uint64_t drop = index - n->base_index;
        for (uint64_t i = 0; i < drop; i++) {
            raft_entry_unref(n->entries[i]);
        }
        n->entry_count -= drop;
        memmove(n->entries, n->entries + drop, n->entry_count * sizeof(*n->entries));
        raft_base(n->raft, &n->base_index, &n->base_term, &config);
        n->base_config = *config;
    }
    return status;
}

int cores_snapshot_at(struct cores *c, uint64_t from, uint64_t to, uint64_t index, uint64_t leader_term) {
    const struct core *n = core_at(c, from);
    struct raft_event event = {.kind = RAFT_EV_SNAPSHOT};
    if (n->raft == NULL || index < n->base_index || index > n->applied) {
        script_fail(c->script, RUN_SITUATION, "core %" PRIu64 " has no state of index %" PRIu64, from, index);
        return ERR_CLOSED;
    }
    event.snapshot.index = index;
    event.snapshot.term = index == n->base_index ? n->base_term : n->entries[index - n->base_index - 1]->term;
    event.snapshot.config = raft_config_committed(n->raft);
    event.snapshot.from = from;
    event.snapshot.from_node = NODE_OF(from);
    event.snapshot.leader_term = leader_term;
    script_tell(c->script, "%" PRIu64 " has received a snapshot of index %" PRIu64, to, index);
    return step(c, to, event);
}

int cores_snapshot(struct cores *c, uint64_t from, uint64_t to, uint64_t leader_term) {
    return cores_snapshot_at(c, from, to, core_at(c, from)->applied, leader_term);
}

void cores_snapshot_sent(struct cores *c, uint64_t leader, uint64_t to, uint64_t index, bool ok) {
    struct raft_event event = {.kind = RAFT_EV_SNAPSHOT_SENT};
    event.sent.replica = to;
    event.sent.index = index;
    event.sent.ok = ok;
    core_at(c, leader)->wanted_snapshot[to] = false;
    (void)step(c, leader, event);
}

/* ---- views ------------------------------------------------------------------------------------------------------- */

struct raft_status cores_status(const struct cores *c, uint64_t id) {
    struct raft_status status = {0};
    if (running(c, id)) {
        raft_status(core_at(c, id)->raft, &status);
    }
    return status;
}

bool cores_leads(const struct cores *c, uint64_t id) {
    return running(c, id) && cores_status(c, id).role == RAFT_LEADER;
}

uint64_t cores_leader(const struct cores *c) {
    uint64_t leader = 0, term = 0;
    for (uint64_t id = 1; id <= CORES_MAX; id++) {
        struct raft_status status = cores_status(c, id);
        if (running(c, id) && status.role == RAFT_LEADER && status.term > term) {
            leader = id;
            term = status.term;
        }
    }
    return leader;
}
