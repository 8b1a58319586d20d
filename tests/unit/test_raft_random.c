/* Many short random histories of a small group: messages lost, delayed, doubled and reordered, crashes that lose what
 * was not durable, slow disks, configuration changes, snapshots and compaction. After every step the safety
 * properties of Raft (figure 3 of the paper) are checked against a global record, and at the end of each history
 * everything heals and the group must come to agreement. SEED=n replays one history, SEEDS=n runs that many. */
#include "raft_cluster.h"

#define SEEDS_DEFAULT 3000
#define STEPS 900
#define HISTORY_MAX 1024 /* longest log of one history */
#define TERMS_MAX 4096
#define HANDLES_MAX 1024
#define HEAL_ROUNDS 600

struct history {
    struct cluster *c;
    uint64_t seed;
    uint64_t rng;
    uint64_t leader_of[TERMS_MAX];        /* election safety */
    uint64_t committed_term[HISTORY_MAX]; /* state machine safety; 0: not known committed */
    uint64_t committed_max;
    struct raft_config config_at[HISTORY_MAX]; /* in force at each committed index */
    uint64_t read_floor[HANDLES_MAX];          /* what was committed anywhere when the read was asked */
    uint64_t handles;
    uint64_t next_replica;
    bool cut[CLUSTER_MAX + 1][CLUSTER_MAX + 1];
    uint64_t reads_served, commits, installs, changes, elections, transfers;
};

static uint64_t draw(struct history *h) {
    h->rng ^= h->rng << 13;
    h->rng ^= h->rng >> 7;
    h->rng ^= h->rng << 17;
    return h->rng * UINT64_C(0x2545F4914F6CDD1D);
}

static uint64_t below(struct history *h, uint64_t n) {
    return (draw(h) >> 11) % n;
}

#define must(h, condition)                                                           \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fail_msg("seed %llu: %s (line %d)", U((h)->seed), #condition, __LINE__); \
        }                                                                            \
    } while (0)

/* ---- checkers --------------------------------------------------------------------------------------------------- */

static uint64_t term_held(const struct raft *r, uint64_t index) {
    uint64_t base_index, base_term;
    const struct raft_config *config;
    raft_base(r, &base_index, &base_term, &config);
    if (index == base_index) {
        return base_term;
    }
    const struct raft_entry *e = raft_entry_at(r, index);
    return e ? e->term : 0;
}

/* Leader Completeness (§5.4.3): every committed entry is in the log of a new leader. */
static void check_new_leader(struct history *h, const struct cluster_replica *n, const struct raft_status *s) {
    must(h, s->term < TERMS_MAX);
    must(h, h->leader_of[s->term] == 0 || h->leader_of[s->term] == n->id); /* Election Safety (§5.2) */
    if (h->leader_of[s->term] == 0) {
        h->leader_of[s->term] = n->id;
        h->elections++;
        must(h, s->last >= h->committed_max);
        for (uint64_t i = s->first; i <= h->committed_max; i++) {
            must(h, term_held(n->raft, i) == h->committed_term[i]);
        }
    }
}

/* State Machine Safety (§5.4.3): nobody ever commits another entry at the same index. */
static void check_commits(struct history *h, struct cluster_replica *n, const struct raft_status *s) {
    must(h, s->commit < HISTORY_MAX);
    for (uint64_t i = s->first; i <= s->commit; i++) {
        uint64_t term = term_held(n->raft, i);
        must(h, h->committed_term[i] == 0 || h->committed_term[i] == term);
        if (h->committed_term[i] == 0) {
            must(h, i == 1 || h->committed_term[i - 1] != 0);
            h->committed_term[i] = term;
            h->config_at[i] = i == 1 ? *raft_config_committed(n->raft) : h->config_at[i - 1];
            const struct raft_entry *e = raft_entry_at(n->raft, i);
            if (e && e->kind == RAFT_ENTRY_CONFIG) {
                must(h, raft_config_decode(e->data, e->size, i, &h->config_at[i]) == 0);
            }
            h->committed_max = i;
            h->commits++;
        }
    }
}

static void check_reads(struct history *h, const struct raft_update *u) {
    for (uint32_t i = 0; i < u->read_count; i++) {
        must(h, u->reads[i].handle < HANDLES_MAX);
        if (u->reads[i].status == 0) {
            must(h, u->reads[i].index >= h->read_floor[u->reads[i].handle]);
            h->reads_served++;
        }
    }
}

static void watch(struct cluster *c, struct cluster_replica *n, const struct raft_update *u) {
    struct history *h = c->ctx;
    c->random = draw(h);
    struct raft_status s;
    raft_status(n->raft, &s);
    if (u->commit > h->committed_max || u->role_changed || u->install) {
        check_commits(h, n, &s);
    }
    must(h, h->committed_term[s.commit] == term_held(n->raft, s.commit) || s.commit == 0);
    if (s.role == RAFT_LEADER && u->role_changed) {
        check_new_leader(h, n, &s);
    }
    check_reads(h, u);
    n->read_count = 0;
}

static void watch_apply(struct cluster *c, struct cluster_replica *n, const struct raft_entry *e) {
    struct history *h = c->ctx;
    (void)n;
    must(h, h->committed_term[e->index] == e->term);
}

/* Log Matching (§5.3): same index and term, same entries before. */
static void check_pair(struct history *h, const struct raft *a, const struct raft *b) {
    struct raft_status sa, sb;
    raft_status(a, &sa);
    raft_status(b, &sb);
    uint64_t last = sa.last < sb.last ? sa.last : sb.last;
    uint64_t first = sa.first > sb.first ? sa.first : sb.first;
    bool same = false;
    for (uint64_t i = last; i >= first && i > 0; i--) {
        const struct raft_entry *x = raft_entry_at(a, i);
        const struct raft_entry *y = raft_entry_at(b, i);
        must(h, !same || x->term == y->term);
        if (x->term == y->term) {
            same = true;
            must(h, x->kind == y->kind && x->size == y->size && memcmp(x->data, y->data, x->size) == 0);
        }
    }
}

static void check_logs(struct history *h) {
    for (uint64_t a = 1; a <= CLUSTER_MAX; a++) {
        for (uint64_t b = a + 1; b <= CLUSTER_MAX; b++) {
            if (h->c->replicas[a].raft && h->c->replicas[b].raft) {
                check_pair(h, h->c->replicas[a].raft, h->c->replicas[b].raft);
            }
        }
    }
}

/* ---- what happens ----------------------------------------------------------------------------------------------- */

static uint64_t pick_running(struct history *h) {
    for (int i = 0; i < 32; i++) {
        uint64_t id = 1 + below(h, CLUSTER_MAX);
        if (h->c->replicas[id].raft) {
            return id;
        }
    }
    return 0;
}

static void net_turn(struct history *h) {
    struct cluster *c = h->c;
    if (c->packet_count == 0) {
        return;
    }
    size_t window = c->packet_count < 6 ? c->packet_count : 6; /* some reordering, some order */
    size_t i = below(h, 4) == 0 ? below(h, c->packet_count) : below(h, window);
    const struct raft_message *m = &c->packets[i].m;
    uint64_t luck = below(h, 100);
    if (luck < 6 || h->cut[m->from][m->to]) {
        struct cluster_packet p = cluster_take(c, i);
        cluster_packet_release(&p);
    } else if (luck < 12) { /* delivered, and kept to come again */
        struct raft_message copy = *m;
        if (c->replicas[m->to].raft) {
            must(h, cluster_receive(c, m->to, &copy) == 0);
        }
    } else {
        must(h, cluster_deliver_at(c, i) == 0);
    }
}

static void propose(struct history *h, uint64_t id) {
    char text[32];
    (void)snprintf(text, sizeof text, "%llx", U(draw(h)));
    (void)cluster_propose(h->c, id, text);
}

static void ask_read(struct history *h, uint64_t id) {
    if (h->handles < HANDLES_MAX) {
        h->read_floor[h->handles] = h->committed_max;
        (void)cluster_read(h->c, id, h->handles++);
    }
}

/* Adds a learner, or swaps voters through a joint configuration. */
static void change_config(struct history *h, uint64_t id) {
    const struct raft_config *now = raft_config(h->c->replicas[id].raft);
    struct raft_config want = *now;
    want.index = 0;
    if (below(h, 2) == 0 && h->next_replica <= CLUSTER_MAX && want.count < RAFT_REPLICAS_MAX) {
        cluster_row(&want, h->next_replica, RAFT_LEARNER);
        if (want.replicas[want.count - 1].id < now->next_id) {
            return;
        }
        if (cluster_configure(h->c, id, &want) == 0) {
            struct raft_config nobody = {.next_id = 1};
            cluster_create(h->c, h->next_replica, &nobody);
            cluster_boot(h->c, h->next_replica++);
            h->changes++;
        }
        return;
    }
    bool voter = false;
    for (uint32_t i = 0; i < want.count; i++) {
        struct raft_replica *row = &want.replicas[i];
        unsigned old = row->flags & RAFT_VOTER ? RAFT_VOTER_OLD : 0;
        unsigned to = below(h, 3) > 0 ? RAFT_VOTER : below(h, 2) > 0 ? RAFT_LEARNER : 0;
        row->flags = (uint8_t)(old | to);
        if (row->flags == 0) {
            row->flags = RAFT_LEARNER;
        }
        voter = voter || (to & RAFT_VOTER);
    }
    if (voter && raft_config_joint(&want) && cluster_configure(h->c, id, &want) == 0) {
        h->changes++;
    }
}

static void serve_snapshot(struct history *h, uint64_t id) {
    struct cluster_replica *n = &h->c->replicas[id];
    if (n->snapshot_count == 0) {
        return;
    }
    uint64_t to = n->snapshot_to[0];
    uint64_t index = n->disk.applied;
    bool ok = below(h, 4) > 0 && h->c->replicas[to].raft && index > 0 && !h->cut[id][to];
    if (ok) {
        struct raft_status s;
        raft_status(n->raft, &s);
        must(h, cluster_install(h->c, to, id, index, h->committed_term[index], s.term, &h->config_at[index]) == 0);
        h->installs++;
    }
    cluster_sent(h->c, id, to, index, ok && below(h, 5) > 0);
}

static void shake(struct history *h) {
    uint64_t a = 1 + below(h, CLUSTER_MAX);
    uint64_t b = 1 + below(h, CLUSTER_MAX);
    switch (below(h, 4)) {
    case 0: /* one-way or two-way cut */
        h->cut[a][b] = a != b;
        h->cut[b][a] = h->cut[b][a] || below(h, 2) == 0;
        break;
    case 1: /* isolate one */
        for (uint64_t i = 1; i <= CLUSTER_MAX; i++) {
            h->cut[a][i] = h->cut[i][a] = true;
        }
        break;
    default:
        memset(h->cut, 0, sizeof h->cut);
    }
}

static void disturb(struct history *h, uint64_t id) {
    uint64_t what = below(h, 10);
    if (what < 3) {
        shake(h);
    } else if (what < 5) {
        struct raft_event event = {.kind = RAFT_EV_UNREACHABLE, .node = CLUSTER_NODE(1 + below(h, CLUSTER_MAX))};
        (void)cluster_step(h->c, id, event);
    } else if (what < 7) { /* true or not: only elections depend on it */
        uint64_t other = 1 + below(h, CLUSTER_MAX);
        if (h->c->replicas[id].nodes && other != id) {
            cluster_hears(h->c, id, other, below(h, 2) == 0);
        }
    } else {
        cluster_crash(h->c, id);
    }
}

static void transfer(struct history *h, uint64_t id) {
    const struct raft_config *config = raft_config(h->c->replicas[id].raft);
    struct raft_event event = {.kind = RAFT_EV_TRANSFER};
    if (config->count > 0) {
        event.transfer = config->replicas[below(h, config->count)].id;
        h->transfers += cluster_step(h->c, id, event) == 0;
    }
}

static void act(struct history *h) {
    struct cluster *c = h->c;
    uint64_t id = pick_running(h);
    uint64_t what = below(h, 100);
    c->random = draw(h);
    if (what < 52) {
        net_turn(h);
    } else if (id == 0 || what < 55) {
        uint64_t down = 1 + below(h, CLUSTER_MAX);
        if (c->replicas[down].id != 0 && !c->replicas[down].raft) {
            cluster_boot(c, down);
        }
    } else if (what < 70) {
        cluster_persist_some(c, id, below(h, c->replicas[id].batch_count + 1));
    } else if (what < 78) {
        c->now_ms += below(h, 8) == 0 ? below(h, 700) : below(h, 60);
        (void)cluster_tick(c, id);
    } else if (what < 79) {
        if (raft_wake_ms(c->replicas[id].raft) != UINT64_MAX) {
            cluster_wake(c, id);
        }
    } else if (what < 86) {
        propose(h, id);
    } else if (what < 89) {
        ask_read(h, id);
    } else if (what < 90) {
        transfer(h, id);
    } else if (what < 92) {
        change_config(h, id);
    } else if (what < 94) {
        cluster_compact(c, id, c->replicas[id].disk.applied);
    } else if (what < 97) {
        serve_snapshot(h, id);
    } else {
        disturb(h, id);
    }
}

/* ---- healing ---------------------------------------------------------------------------------------------------- */

static bool agreed(struct history *h) {
    struct cluster *c = h->c;
    for (uint64_t id = 1; id <= CLUSTER_MAX; id++) {
        if (!c->replicas[id].raft || cluster_role(c, id) != RAFT_LEADER) {
            continue;
        }
        struct raft_status s = cluster_status(c, id);
        const struct raft_config *config = raft_config(c->replicas[id].raft);
        bool all = s.own_term_committed && s.commit == s.last && !raft_config_joint(config);
        for (uint32_t i = 0; i < config->count && all; i++) {
            const struct cluster_replica *n = &c->replicas[config->replicas[i].id];
            all = n->raft && n->commit == s.commit && n->disk.applied == s.commit;
        }
        if (all) {
            return true;
        }
    }
    return false;
}

static void show(struct cluster *c) {
    for (uint64_t id = 1; id <= CLUSTER_MAX; id++) {
        if (c->replicas[id].raft) {
            struct raft_status s = cluster_status(c, id);
            const struct raft_config *config = raft_config(c->replicas[id].raft);
            print_message("n%llu role %d t%llu log %llu..%llu commit %llu applied %llu config %llu:", U(id), s.role,
                          U(s.term), U(s.first), U(s.last), U(s.commit), U(s.applied), U(config->index));
            for (uint32_t i = 0; i < config->count; i++) {
                print_message(" %llu/%x", U(config->replicas[i].id), config->replicas[i].flags);
            }
            print_message("\n");
        }
    }
}

/* Sessions are made anew: whoever had been heard is lost, then heard. */
static void hear_all(struct history *h) {
    for (uint64_t id = 1; id <= CLUSTER_MAX; id++) {
        for (uint64_t other = 1; other <= CLUSTER_MAX && h->c->replicas[id].nodes; other++) {
            if (other != id) {
                cluster_hears(h->c, id, other, false);
                cluster_hears(h->c, id, other, true);
            }
        }
    }
}

static void heal(struct history *h) {
    struct cluster *c = h->c;
    memset(h->cut, 0, sizeof h->cut);
    cluster_drop(c, 0, 0);
    for (uint64_t id = 1; id <= CLUSTER_MAX; id++) {
        if (c->replicas[id].id != 0 && !c->replicas[id].raft) {
            cluster_boot(c, id);
        }
    }
    hear_all(h);
    for (int round = 0; round < HEAL_ROUNDS && !agreed(h); round++) {
        c->now_ms += CLUSTER_TIMING.heartbeat_ms;
        for (uint64_t id = 1; id <= CLUSTER_MAX; id++) {
            struct cluster_replica *n = &c->replicas[id];
            if (n->raft) {
                c->random = draw(h);
                (void)cluster_tick(c, id);
                for (int i = 0; i < RAFT_REPLICAS_MAX && n->snapshot_count > 0; i++) {
                    serve_snapshot(h, id);
                }
            }
        }
        cluster_settle(c);
    }
    if (!agreed(h)) {
        show(c);
    }
    must(h, agreed(h));
    check_logs(h);
}

static void run_history(uint64_t seed, struct history *total) {
    struct history *h = calloc(1, sizeof *h);
    assert_non_null(h);
    h->seed = seed;
    h->rng = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    uint64_t count = 1 + below(h, 5);
    h->c = cluster_new();
    h->c->knows_nodes = below(h, 4) > 0;
    cluster_found(h->c, count);
    h->c->tracing = false;
    h->c->ctx = h;
    h->c->watch = watch;
    h->c->watch_apply = watch_apply;
    h->next_replica = count + 1;
    for (int i = 0; i < STEPS; i++) {
        act(h);
    }
    check_logs(h);
    heal(h);
    total->commits += h->commits;
    total->reads_served += h->reads_served;
    total->installs += h->installs;
    total->changes += h->changes;
    total->elections += h->elections;
    total->transfers += h->transfers;
    cluster_free(h->c);
    free(h);
}

static uint64_t number_from(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void random_histories_are_safe_and_heal(void **state) {
    (void)state;
    static const uint64_t first_seed = 1;
    uint64_t one = number_from("SEED", 0);
    uint64_t from = one ? one : first_seed;
    uint64_t count = one ? 1 : number_from("SEEDS", SEEDS_DEFAULT);
    struct history *total = calloc(1, sizeof *total);
    assert_non_null(total);
    for (uint64_t seed = from; seed < from + count; seed++) {
        run_history(seed, total);
    }
    print_message("seeds %llu..%llu: %llu elections, %llu transfers, %llu commits, %llu reads, %llu configurations, "
                  "%llu snapshots\n",
                  U(from), U(from + count - 1), U(total->elections), U(total->transfers), U(total->commits),
                  U(total->reads_served), U(total->changes), U(total->installs));
    if (!one && count >= SEEDS_DEFAULT) { /* the histories reach what they are meant to reach */
        assert_true(total->elections > count && total->commits > 5 * count && total->reads_served > count);
        assert_true(total->changes > count / 4 && total->installs > count / 20 && total->transfers > count / 20);
    }
    free(total);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_histories_are_safe_and_heal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
