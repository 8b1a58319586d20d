/* The receiving side: entries, heartbeats and snapshots from a leader (§5.3, §7), and the promises made to it.
 *
 * `verified` is how far the log is known to equal that of the current term's leader. It starts at the own commit
 * index (committed entries are in the log of every later leader, §5.4.3) and only an append that matched moves it.
 * Commit indexes are believed up to there and no further, so a heartbeat can never commit a leftover entry of an
 * older leader. */
#include "raft_internal.h"

static int check_entries(const struct raft_message *m) {
    uint64_t term = m->log_term;
    size_t bytes = 0;
    for (uint32_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *e = m->entries[i];
        if (e->index != m->index + 1 + i || e->term < term || e->term > m->term || e->term == 0) {
            return ERR_PROTOCOL;
        }
        if (e->kind > RAFT_ENTRY_CONFIG || e->size > RAFT_ENTRY_MAX) {
            return ERR_PROTOCOL;
        }
        struct raft_config config;
        if (e->kind == RAFT_ENTRY_CONFIG && raft_config_from_entry(e, &config) != 0) {
            return ERR_PROTOCOL;
        }
        term = e->term;
        bytes += e->size;
    }
    return bytes > RAFT_APPEND_BYTES_MAX && m->entry_count > 1 ? ERR_PROTOCOL : 0;
}

/* A correct leader never contradicts what is committed, nor what it has already sent in its term. */
static int check_against_log(const struct raft *r, const struct raft_message *m) {
    uint64_t base = r->log.base_index;
    uint64_t sure = m->term == r->hard.term && r->verified > r->commit ? r->verified : r->commit;
    CHECK(sure <= raft_log_last(&r->log));
    if (m->index >= base && m->index <= sure && !raft_log_matches(&r->log, m->index, m->log_term)) {
        return ERR_PROTOCOL;
    }
    for (uint32_t i = 0; i < m->entry_count && m->entries[i]->index <= sure; i++) {
        const struct raft_entry *e = m->entries[i];
        if (e->index >= base && !raft_log_matches(&r->log, e->index, e->term)) {
            return ERR_PROTOCOL;
        }
    }
    return 0;
}

static int check_append(const struct raft *r, const struct raft_message *m) {
    if (m->entry_count > RAFT_APPEND_ENTRIES_MAX || m->index > RAFT_INDEX_MAX || m->log_term > m->term) {
        return ERR_PROTOCOL;
    }
    int rc = check_entries(m);
    return rc == 0 && m->term >= r->hard.term ? check_against_log(r, m) : rc;
}

/* Two leaders in one term cannot be (§5.2). */
static bool rival_leader(const struct raft *r, const struct raft_message *m) {
    return m->term == r->hard.term && r->leader != 0 && r->leader != m->from;
}

static void heed_leader(struct raft *r, const struct raft_message *m) {
    CHECK(m->term >= r->hard.term);
    uint32_t node = raft_node_of(r, m->from, m->from_node);
    raft_become_follower(r, m->term, m->from, node);
    r->trust = r->nodes && raft_nodes_alive(r->nodes, node);
    r->sticky_ms = r->now_ms + r->timing.election_min_ms;
    if (r->verified < r->commit) {
        r->verified = r->commit;
    }
}

/* Where the leader should try next: no later than the own last entry, skipping back over whole terms that the leader
 * cannot have (§5.3, the optimisation at its end). */
static void reject_append(struct raft *r, const struct raft_message *m, struct raft_update *out) {
    uint64_t last = raft_log_last(&r->log);
    CHECK(m->index > r->commit);
    uint64_t hint = raft_log_find_term(&r->log, m->index - 1 < last ? m->index - 1 : last, m->log_term);
    if (hint < r->commit) {
        hint = r->commit;
    }
    struct raft_message *reply = raft_say(r, out, RAFT_APPEND_REPLY, m->from, r->leader_node);
    reply->reject = true;
    reply->index = hint;
    reply->log_term = raft_log_term(&r->log, hint);
    reply->context = m->context;
}

static void truncate_log(struct raft *r, uint64_t from) {
    CHECK(from > r->commit);
    CHECK(from > r->verified);
    raft_log_truncate(&r->log, from);
    raft_durable_truncate(&r->durable, from - 1);
    if (raft_chain_truncate(&r->chain, from)) {
        r->change.config = true;
    }
    r->change.append_from = from;
}

static int take_entries(struct raft *r, const struct raft_message *m) {
    for (uint32_t i = 0; i < m->entry_count; i++) {
        struct raft_entry *e = m->entries[i];
        if (e->index <= r->verified || raft_log_matches(&r->log, e->index, e->term)) {
            continue;
        }
        if (e->index <= raft_log_last(&r->log)) {
            truncate_log(r, e->index);
        }
        struct raft_config config;
        bool is_config = e->kind == RAFT_ENTRY_CONFIG;
        if (is_config) {
            int rc = raft_config_from_entry(e, &config);
            CHECK(rc == 0); /* checked before anything was changed */
        }
        int rc = raft_append(r, raft_entry_ref(e), is_config ? &config : NULL);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static void believe_commit(struct raft *r, uint64_t commit) {
    uint64_t believed = commit < r->verified ? commit : r->verified;
    if (believed > r->commit) {
        raft_set_commit(r, believed);
    }
}

static void owe_ack(struct raft *r, uint64_t to, uint32_t node, uint64_t need, uint64_t context) {
    struct raft_promises *p = &r->promises;
    bool more = p->ack_to == to && p->ack_need > need;
    p->ack_to = to;
    p->ack_node = node;
    p->ack_need = more ? p->ack_need : need;
    p->ack_context = context > p->ack_context ? context : p->ack_context;
}

int raft_on_append(struct raft *r, const struct raft_message *m, struct raft_update *out) {
    int rc = check_append(r, m);
    if (rc != 0 || rival_leader(r, m)) {
        return ERR_PROTOCOL;
    }
    if (m->term < r->hard.term) { /* tells a deposed leader so */
        raft_say(r, out, RAFT_APPEND_REPLY, m->from, raft_node_of(r, m->from, m->from_node))->reject = true;
        return 0;
    }
    heed_leader(r, m);
    if (m->index > r->verified && !raft_log_matches(&r->log, m->index, m->log_term)) {
        reject_append(r, m, out);
        return 0;
    }
    rc = take_entries(r, m);
    if (rc != 0) {
        return rc;
    }
    uint64_t matched = m->index + m->entry_count;
    if (matched > r->verified) {
        r->verified = matched;
    }
    believe_commit(r, m->commit);
    owe_ack(r, m->from, r->leader_node, matched, m->context);
    return 0;
}

int raft_on_heartbeat(struct raft *r, const struct raft_message *m, struct raft_update *out) {
    if (rival_leader(r, m)) {
        return ERR_PROTOCOL;
    }
    if (m->term >= r->hard.term) {
        heed_leader(r, m);
        believe_commit(r, m->commit);
    }
    struct raft_message *reply =
        raft_say(r, out, RAFT_HEARTBEAT_REPLY, m->from, raft_node_of(r, m->from, m->from_node));
    if (m->term == r->hard.term) {
        reply->context = m->context;
        reply->index = r->verified;
        reply->commit = r->commit;
    }
    return 0;
}

static int install(struct raft *r, uint64_t index, uint64_t term, const struct raft_config *config) {
    CHECK(index > r->commit);
    struct raft_chain chain;
    int rc = raft_chain_init(&chain, config);
    if (rc != 0) {
        return rc;
    }
    struct raft_link *only = chain.committed;
    TAILQ_REMOVE(&chain.links, only, links);
    raft_chain_release(&r->chain);
    TAILQ_INSERT_TAIL(&r->chain.links, only, links);
    r->chain.committed = only;
    raft_log_reset(&r->log, index, term);
    raft_durable_reset(&r->durable);
    r->commit = index;
    r->install_index = index;
    r->verified = index;
    r->promises.ack_need = 0;
    r->change.install = true;
    r->change.config = true;
    if (r->role != RAFT_FOLLOWER) { /* votes were counted under another configuration */
        raft_become_follower(r, r->hard.term, 0, 0);
    }
    return 0;
}

/* A snapshot is committed state, whoever sent it and in whatever term: no later leader can contradict it (§5.4.3).
 * So the sender's term does not decide. What decides is whether the log could be worth more:
 *   - commit >= index: nothing to gain;
 *   - the log holds (index, term): it equals the snapshot up to there and may continue with entries that were
 *     acknowledged to a newer leader, which must not be thrown away: only the commit index moves;
 *   - otherwise the entry here at index, if there is one, contradicts a committed one, so neither it nor anything
 *     after it can ever be committed: discarding the whole log is safe. */
int raft_on_snapshot(struct raft *r, const struct raft_event *event) {
    uint64_t index = event->snapshot.index;
    uint64_t term = event->snapshot.term;
    uint64_t leader_term = event->snapshot.leader_term;
    const struct raft_config *config = event->snapshot.config;
    bool sane = index > 0 && index <= RAFT_INDEX_MAX && term <= leader_term && leader_term <= RAFT_TERM_MAX &&
                config->index <= index && raft_config_check(config) == 0;
    bool held = index <= r->commit || raft_log_matches(&r->log, index, term);
    if (!sane || (!held && leader_term <= r->hard.term && index <= r->verified)) {
        return ERR_PROTOCOL;
    }
    if (leader_term > r->hard.term) {
        raft_become_follower(r, leader_term, 0, 0);
    }
    if (r->role == RAFT_LEADER) {
        return held ? 0 : ERR_PROTOCOL; /* its log holds everything committed (§5.4.3) */
    }
    if (!held) {
        int rc = install(r, index, term, config);
        if (rc != 0) {
            return rc;
        }
    } else if (index > r->commit) {
        raft_set_commit(r, index);
    }
    if (r->verified < r->commit) {
        r->verified = r->commit;
    }
    owe_ack(r, event->snapshot.from, raft_node_of(r, event->snapshot.from, event->snapshot.from_node), index, 0);
    return 0;
}

/* Says what the disk has made true. Partial progress is worth saying; the debt stays until all of it is durable. */
void raft_keep_promises(struct raft *r, struct raft_update *out) {
    struct raft_promises *p = &r->promises;
    if (!raft_durable_hard(&r->durable)) {
        return;
    }
    if (p->vote_to != 0) {
        CHECK(r->hard.vote == p->vote_to);
        (void)raft_say(r, out, RAFT_VOTE_REPLY, p->vote_to, p->vote_node);
        p->vote_to = 0;
    }
    if (p->ack_to == 0) {
        return;
    }
    uint64_t match = r->verified < r->durable.index ? r->verified : r->durable.index;
    if (match >= p->ack_need || match > p->ack_sent) {
        struct raft_message *reply = raft_say(r, out, RAFT_APPEND_REPLY, p->ack_to, p->ack_node);
        reply->index = match;
        reply->context = p->ack_context;
        reply->commit = r->commit;
        p->ack_sent = match;
        if (match >= p->ack_need) {
            p->ack_to = 0;
        }
    }
}
