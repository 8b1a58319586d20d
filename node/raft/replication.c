/* The leader's side of replication (§5.3, thesis §10.2): what to send to whom, and when an entry is committed. */
#include "raft_internal.h"

bool raft_own_term_committed(const struct raft *r) {
    return r->role == RAFT_LEADER && raft_log_term(&r->log, r->commit) == r->hard.term;
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

/* The peer behind an answer of this leadership; NULL when the answer is stale or from a stranger. */
static struct raft_peer *answering_peer(struct raft *r, const struct raft_message *m) {
    if (!raft_config_find(raft_chain_effective(&r->chain), m->from)) {
        return NULL; /* removed: may not depose anybody by its term either */
    }
    if (m->term > r->hard.term) {
        raft_become_follower(r, m->term, 0, 0);
        return NULL;
    }
    if (r->role != RAFT_LEADER || m->term != r->hard.term) {
        return NULL;
    }
    struct raft_peer *p = raft_peer_find(r, m->from);
    CHECK(p != NULL);
    return p;
}

static bool plausible_answer(const struct raft *r, const struct raft_message *m) {
    uint64_t last = raft_log_last(&r->log);
    return m->context <= r->round && m->index <= last && m->commit <= last;
}

static void heard_from(struct raft *r, struct raft_peer *p, const struct raft_message *m) {
    CHECK(m->context <= r->round);
    p->heard_ms = r->now_ms;
    if (m->context > p->round) {
        p->round = m->context;
    }
    if (m->commit > p->commit_known) {
        p->commit_known = m->commit;
    }
}

static void peer_rejected(struct raft *r, struct raft_peer *p, const struct raft_message *m) {
    if (m->index < p->match || p->state == RAFT_PEER_SNAPSHOT) {
        return; /* overtaken */
    }
    uint64_t at = raft_log_find_term(&r->log, m->index, m->log_term);
    uint64_t next = (at > p->match ? at : p->match) + 1;
    raft_peer_probe(p, next < p->next ? next : p->next);
}

int raft_on_append_reply(struct raft *r, const struct raft_message *m) {
    struct raft_peer *p = answering_peer(r, m);
    if (!p) {
        return 0;
    }
    if (!plausible_answer(r, m)) {
        return ERR_PROTOCOL;
    }
    heard_from(r, p, m);
    if (m->reject) {
        peer_rejected(r, p, m);
    } else {
        raft_peer_accepted(p, m->index, r->log.base_index);
    }
    return 0;
}

/* The answer to round mark_round tells what had become of everything sent before it. An append that was lost is sent
 * again from where the follower stands; an acknowledgement that was lost (or still waits for the disk there), and a
 * follower that restarted and has to verify its log anew, are asked about with an empty append. */
int raft_on_heartbeat_reply(struct raft *r, const struct raft_message *m) {
    struct raft_peer *p = answering_peer(r, m);
    if (!p) {
        return 0;
    }
    if (!plausible_answer(r, m)) {
        return ERR_PROTOCOL;
    }
    heard_from(r, p, m);
    if (p->state != RAFT_PEER_REPLICATE) {
        return 0;
    }
    p->poke = p->poke || m->index < p->match;
    if (p->mark_round != 0 && m->context >= p->mark_round) {
        p->mark_round = 0;
        uint64_t has = m->index > p->match ? m->index : p->match;
        if (has < p->mark) {
            raft_peer_replicate(p);
            p->next = has + 1;
        }
        p->poke = p->poke || p->match < p->mark;
    }
    return 0;
}

void raft_on_snapshot_sent(struct raft *r, uint64_t replica, uint64_t index, bool ok) {
    struct raft_peer *p = r->role == RAFT_LEADER ? raft_peer_find(r, replica) : NULL;
    if (!p || p->state != RAFT_PEER_SNAPSHOT) {
        return;
    }
    CHECK(index <= r->commit);
    bool gained = ok && index > p->match;
    raft_peer_probe(p, (gained ? index : p->match) + 1);
    p->probe_sent = !ok; /* after a failure wait for the next heartbeat time before asking for another */
}

void raft_on_unreachable(struct raft *r, uint32_t node) {
    for (size_t i = 0; i < r->peer_count; i++) {
        struct raft_peer *p = &r->peers[i];
        if (p->node == node && p->state == RAFT_PEER_REPLICATE) {
            raft_peer_probe(p, p->match + 1);
            p->probe_sent = true; /* until the next heartbeat time: a dead link must not be hammered */
        }
    }
}

/* ---- time ------------------------------------------------------------------------------------------------------- */

static bool living(const struct raft *r, const struct raft_peer *p) {
    return !r->nodes || raft_nodes_alive(r->nodes, p->node);
}

/* It holds everything, knows that all of it is committed, and has said so. */
static bool at_rest(const struct raft *r, const struct raft_peer *p) {
    uint64_t last = raft_log_last(&r->log);
    return p->state == RAFT_PEER_REPLICATE && p->match == last && p->commit_known == last;
}

bool raft_peer_active(const struct raft *r, const struct raft_peer *p) {
    bool lately = raft_ms_since(r, p->heard_ms) < r->timing.election_max_ms;
    return living(r, p) && (lately || (r->nodes && at_rest(r, p)));
}

static const struct raft_peer *peer_of(const struct raft *r, uint64_t id) {
    const struct raft_peer *p = raft_peer_find(r, id);
    CHECK(p != NULL);
    return p;
}

static bool heard(void *ctx, uint64_t id) {
    const struct raft *r = ctx;
    return id == r->self || living(r, peer_of(r, id));
}

static bool heard_lately(void *ctx, uint64_t id) {
    const struct raft *r = ctx;
    if (id == r->self) {
        return true;
    }
    const struct raft_peer *p = peer_of(r, id);
    if (!r->nodes) {
        return raft_peer_active(r, p);
    }
    uint64_t since_ms = raft_nodes_since_ms(r->nodes, p->node);
    return living(r, p) || r->now_ms < since_ms + r->timing.election_min_ms;
}

/* Check-quorum (thesis §6.2). Those who trust this node are told at once, by the pre-vote for another term. */
static int check_quorum(struct raft *r, struct raft_update *out) {
    if (raft_config_quorum(raft_chain_effective(&r->chain), heard_lately, r)) {
        return 0;
    }
    raft_become_follower(r, r->hard.term, 0, 0);
    return r->nodes ? raft_campaign(r, out) : 0;
}

static void beat(struct raft *r, struct raft_peer *p) {
    p->want_heartbeat = true;
    if (p->state == RAFT_PEER_PROBE && p->probe_sent) {
        p->probe_sent = false;
        p->probe_bare = true;
    }
    if (p->state == RAFT_PEER_REPLICATE && p->mark_round == 0) {
        p->mark = p->next - 1;
        p->mark_round = r->round;
    }
}

int raft_leader_tick(struct raft *r, struct raft_update *out) {
    CHECK(r->role == RAFT_LEADER);
    if (r->peer_count == 0 || r->now_ms < r->heartbeat_due_ms) {
        return 0;
    }
    int rc = check_quorum(r, out);
    if (rc != 0 || r->role != RAFT_LEADER) {
        return rc;
    }
    if (r->now_ms >= r->transfer_ms) {
        r->transfer_to = 0; /* it did not come to it: go on leading */
    }
    r->heartbeat_due_ms = r->now_ms + r->timing.heartbeat_ms;
    raft_round_begin(r);
    for (size_t i = 0; i < r->peer_count; i++) {
        struct raft_peer *p = &r->peers[i];
        bool idle = r->nodes && r->reads.asked == 0 && at_rest(r, p);
        if (living(r, p) && !idle) {
            beat(r, p);
        }
    }
    return 0;
}

int raft_on_node(struct raft *r, uint32_t node, bool alive, struct raft_update *out) {
    if (r->role != RAFT_LEADER) {
        if (r->nodes && !alive && r->leader != 0 && r->leader_node == node) {
            raft_wake_soon(r);
        }
        return 0;
    }
    if (!alive) {
        raft_on_unreachable(r, node);
        return check_quorum(r, out);
    }
    for (size_t i = 0; i < r->peer_count; i++) {
        struct raft_peer *p = &r->peers[i];
        if (p->node == node && p->state == RAFT_PEER_REPLICATE) {
            raft_peer_probe(p, p->match + 1);
        } else if (p->node == node && p->state == RAFT_PEER_PROBE) {
            p->probe_sent = false;
        }
    }
    return 0;
}

static bool quiet(struct raft *r) {
    uint64_t last = raft_log_last(&r->log);
    bool done = r->commit == last && r->durable.index == last && raft_leader_settled(r);
    if (!r->nodes || !done || r->reads.count > r->reads.answered) {
        return false;
    }
    for (size_t i = 0; i < r->peer_count; i++) {
        const struct raft_peer *p = &r->peers[i];
        if (living(r, p) && !at_rest(r, p)) {
            return false;
        }
    }
    return raft_config_quorum(raft_chain_effective(&r->chain), heard, r);
}

void raft_leader_rest(struct raft *r) {
    if (quiet(r)) {
        r->heartbeat_due_ms = UINT64_MAX;
        raft_peers_land(r);
    } else if (r->heartbeat_due_ms == UINT64_MAX) {
        r->heartbeat_due_ms = r->now_ms + r->timing.heartbeat_ms;
    }
}

/* ---- handing over ----------------------------------------------------------------------------------------------- */

bool raft_leader_settled(const struct raft *r) {
    const struct raft_config *config = raft_chain_effective(&r->chain);
    return r->transfer_to == 0 && config == &r->chain.committed->config && !raft_config_joint(config) &&
           raft_own_term_committed(r);
}

int raft_on_transfer(struct raft *r, uint64_t to) {
    if (r->role != RAFT_LEADER) {
        return ERR_NOT_LEADER;
    }
    if (!raft_leader_settled(r)) {
        return ERR_BUSY;
    }
    if (to == r->self || !raft_config_voter(raft_chain_effective(&r->chain), to)) {
        return ERR_INVALID;
    }
    r->transfer_to = to;
    r->transfer_ms = r->now_ms + r->timing.election_max_ms;
    r->transfer_sent = false;
    return 0;
}

static void send_timeout_now(struct raft *r, const struct raft_peer *p, struct raft_update *out) {
    (void)raft_say(r, out, RAFT_TIMEOUT_NOW, p->id, p->node);
    r->transfer_sent = true;
    r->lease_void = true; /* however late that message comes, it lets others vote */
}

bool raft_leader_must_resign(const struct raft *r) {
    const struct raft_config *config = raft_chain_effective(&r->chain);
    return r->role == RAFT_LEADER && config == &r->chain.committed->config && !raft_config_joint(config) &&
           !raft_config_voter(config, r->self);
}

/* The others need not find out by themselves that nobody leads any more. */
void raft_leader_resign(struct raft *r, struct raft_update *out) {
    const struct raft_peer *best = NULL;
    for (size_t i = 0; i < r->peer_count; i++) {
        const struct raft_peer *p = &r->peers[i];
        bool voter = raft_config_voter(raft_chain_effective(&r->chain), p->id);
        if (voter && living(r, p) && (!best || p->match > best->match)) {
            best = p;
        }
    }
    if (best) {
        send_timeout_now(r, best, out);
    }
    raft_become_follower(r, r->hard.term, 0, 0);
}

/* ---- commit ----------------------------------------------------------------------------------------------------- */

static uint64_t match_of(const struct raft *r, uint64_t id) {
    if (id == r->self) {
        return r->durable.index; /* the leader counts itself like anyone else: when durable (thesis §10.2.1) */
    }
    return peer_of(r, id)->match;
}

/* The largest index that a majority of the voters with this flag hold durably. */
static uint64_t half_match(const struct raft *r, const struct raft_config *config, unsigned flag) {
    uint64_t sorted[RAFT_REPLICAS_MAX]; /* falling */
    unsigned count = 0;
    for (uint32_t i = 0; i < config->count; i++) {
        if (!(config->replicas[i].flags & flag)) {
            continue;
        }
        uint64_t match = match_of(r, config->replicas[i].id);
        unsigned at = count++;
        while (at > 0 && sorted[at - 1] < match) {
            sorted[at] = sorted[at - 1];
            at--;
        }
        sorted[at] = match;
    }
    return count == 0 ? UINT64_MAX : sorted[count / 2];
}

static void advance_commit(struct raft *r) {
    const struct raft_config *config = raft_chain_effective(&r->chain);
    uint64_t new_half = half_match(r, config, RAFT_VOTER);
    uint64_t old_half = half_match(r, config, RAFT_VOTER_OLD);
    uint64_t index = new_half < old_half ? new_half : old_half;
    CHECK(index <= raft_log_last(&r->log));
    if (index <= r->commit || raft_log_term(&r->log, index) != r->hard.term) {
        return; /* §5.4.2: only entries of the own term are committed by counting */
    }
    for (uint64_t i = r->commit + 1; i <= index; i++) {
        uint32_t size = raft_log_at(&r->log, i)->size;
        CHECK(r->pending_bytes >= size);
        r->pending_bytes -= size;
    }
    raft_set_commit(r, index);
}

int raft_leader_settle(struct raft *r) {
    CHECK(r->role == RAFT_LEADER);
    advance_commit(r);
    const struct raft_config *config = raft_chain_effective(&r->chain);
    bool may_leave = !r->stays_joint || r->leave_index == config->index;
    if (raft_config_joint(config) && config->index <= r->commit && raft_own_term_committed(r) && may_leave) {
        struct raft_config final;
        raft_config_leave(config, &final);
        int rc = raft_append_config(r, &final);
        if (rc != 0) {
            return rc;
        }
        advance_commit(r);
    }
    raft_reads_settle(r);
    return 0;
}

/* ---- sending ---------------------------------------------------------------------------------------------------- */

/* One at a time, and only to replicas that show life; the host asks again by reporting the end of the transfer. */
static void ask_for_snapshot(const struct raft *r, struct raft_peer *p, struct raft_update *out) {
    if (raft_peer_active(r, p)) {
        raft_peer_snapshot(p);
        CHECK(out->snapshot_count < RAFT_REPLICAS_MAX);
        out->snapshot_to[out->snapshot_count++] = p->id;
    }
}

static uint32_t slice(const struct raft *r, uint64_t from, size_t *ret_bytes) {
    uint32_t count = 0;
    size_t bytes = 0;
    while (count < RAFT_APPEND_ENTRIES_MAX) {
        const struct raft_entry *e = raft_log_at(&r->log, from + count);
        if (!e || (count > 0 && bytes + e->size > RAFT_APPEND_BYTES_MAX)) {
            break;
        }
        bytes += e->size;
        count++;
    }
    *ret_bytes = bytes;
    return count;
}

static void send_append(struct raft *r, struct raft_peer *p, bool bare, struct raft_update *out) {
    uint64_t previous = p->next - 1;
    CHECK(previous >= r->log.base_index);
    struct raft_message *m = raft_say(r, out, RAFT_APPEND, p->id, p->node);
    m->index = previous;
    m->log_term = raft_log_term(&r->log, previous);
    m->commit = r->commit;
    m->context = r->round;
    size_t bytes = 0;
    m->entry_count = bare ? 0 : slice(r, p->next, &bytes);
    if (m->entry_count > 0) {
        m->entries = &r->log.slots[r->log.head + (size_t)(previous - r->log.base_index)];
    }
    uint64_t last = previous + m->entry_count;
    uint64_t visible = last < r->commit ? last : r->commit;
    if (visible > p->commit_sent) {
        p->commit_sent = visible;
    }
    p->poke = false;
    if (p->state == RAFT_PEER_PROBE) {
        p->probe_sent = true;
    } else if (m->entry_count > 0) {
        p->next = last + 1;
        raft_peer_flies(p, last, bytes);
    }
}

static void send_heartbeat(struct raft *r, struct raft_peer *p, uint64_t visible, struct raft_update *out) {
    CHECK(visible <= p->match && visible <= r->commit);
    struct raft_message *m = raft_say(r, out, RAFT_HEARTBEAT, p->id, p->node);
    m->commit = visible;
    m->context = r->round;
    if (visible > p->commit_sent) {
        p->commit_sent = visible;
    }
    p->want_heartbeat = false;
}

/* Returns how many appends were sent. */
static unsigned send_entries(struct raft *r, struct raft_peer *p, struct raft_update *out) {
    if (p->state == RAFT_PEER_SNAPSHOT || (p->state == RAFT_PEER_PROBE && p->probe_sent)) {
        return 0;
    }
    if (p->next - 1 < r->log.base_index) {
        ask_for_snapshot(r, p, out);
        return 0;
    }
    if (p->state == RAFT_PEER_PROBE) {
        send_append(r, p, p->probe_bare, out);
        return 1;
    }
    unsigned sent = 0;
    while (sent < RAFT_SENDS_MAX && p->next <= raft_log_last(&r->log) && raft_peer_may_fly(p)) {
        send_append(r, p, false, out);
        sent++;
    }
    if (sent == 0 && p->poke) {
        send_append(r, p, true, out);
        sent++;
    }
    return sent;
}

void raft_leader_send(struct raft *r, struct raft_update *out) {
    CHECK(r->role == RAFT_LEADER);
    for (size_t i = 0; i < r->peer_count; i++) {
        struct raft_peer *p = &r->peers[i];
        unsigned sent = send_entries(r, p, out);
        uint64_t visible = p->match < r->commit ? p->match : r->commit;
        bool news = sent == 0 && visible > p->commit_sent; /* followers apply within one hop */
        if (p->want_heartbeat || news) {
            send_heartbeat(r, p, visible, out);
        }
        if (p->id == r->transfer_to && !r->transfer_sent && p->match == raft_log_last(&r->log)) {
            send_timeout_now(r, p, out);
        }
    }
}
