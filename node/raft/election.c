/* Elections (§5.2, §5.4.1), with pre-vote (thesis §9.6) and leader stickiness (thesis §4.2.3).
 *
 * A vote is a promise that must survive a crash. The own vote counts, and the requests leave, only when the new term
 * is durable: a candidate that forgot its term could otherwise run twice in it, the second time with a log shorter
 * than the one the first votes were given for. */
#include "raft_internal.h"

#define RANKS_PER_TIMEOUT 8 /* voters that campaign one after the other within an election timeout */
#define HURRY_PER_TIMEOUT 4 /* pre-votes that can be repeated within one */

uint64_t raft_ms_since(const struct raft *r, uint64_t then_ms) {
    CHECK(then_ms <= r->now_ms);
    return r->now_ms - then_ms;
}

static uint64_t when_free(const struct raft *r) {
    return r->sticky_ms > r->now_ms ? r->sticky_ms : r->now_ms;
}

/* A lone voter has nobody to wait for, except its disk, and a leader whom it has promised not to vote. */
void raft_draw_timeout(struct raft *r) {
    if (r->role == RAFT_FOLLOWER && raft_config_only_voter(raft_chain_effective(&r->chain), r->self)) {
        r->election_ms = when_free(r);
        return;
    }
    uint64_t span = r->timing.election_max_ms - r->timing.election_min_ms;
    CHECK(span > 0);
    r->election_ms = r->now_ms + r->timing.election_min_ms + r->random % span;
}

void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader, uint32_t leader_node) {
    CHECK(term >= r->hard.term);
    CHECK(leader != r->self);
    if (term > r->hard.term) {
        r->hard = (struct raft_hard){.term = term};
        r->change.hard = true;
        r->verified = 0;
        r->promises = (struct raft_promises){0};
    }
    if (r->role == RAFT_LEADER) {
        raft_reads_fail(r);
        raft_peers_release(r);
    }
    r->leave_index = 0;
    raft_set_role(r, RAFT_FOLLOWER);
    r->leader = leader;
    r->leader_node = leader_node;
    r->trust = false;
    r->transferring = false;
    r->hurry_ms = 0;
    r->granted = 0;
    r->votes_asked = false;
    raft_draw_timeout(r);
}

/* How many living voters campaign before this one. */
static uint64_t rank_of(const struct raft *r) {
    const struct raft_config *config = raft_chain_effective(&r->chain);
    uint64_t rank = 0;
    for (uint32_t i = 0; i < config->count && config->replicas[i].id != r->self; i++) {
        const struct raft_replica *row = &config->replicas[i];
        rank += raft_config_voter(config, row->id) && raft_nodes_alive(r->nodes, row->node) ? 1 : 0;
    }
    return rank;
}

/* When the node of a leader is lost, all its groups wake at once: the first living voter of each campaigns first, and
 * the others only if it does not. A pre-vote that comes to nothing, because others still hear the leader, is repeated
 * sooner than an election would be: it costs nobody anything. */
void raft_wake_soon(struct raft *r) {
    CHECK(r->role != RAFT_LEADER && r->nodes);
    uint64_t step = r->timing.election_min_ms / RANKS_PER_TIMEOUT + 1;
    r->trust = false;
    r->hurry_ms = r->timing.election_min_ms / HURRY_PER_TIMEOUT + 1;
    r->election_ms = when_free(r) + rank_of(r) * step + r->random % step;
}

bool raft_follower_trusts(const struct raft *r) {
    return r->role == RAFT_FOLLOWER && r->leader != 0 && r->trust && r->commit == raft_log_last(&r->log);
}

/* Whoever votes in any configuration that may still be in force may be needed as leader, also when its newest one
 * leaves it out: a leader that removes itself must be able to finish that after a restart (thesis §4.2.2). */
bool raft_may_campaign(const struct raft *r) {
    for (const struct raft_link *link = r->chain.committed; link; link = TAILQ_NEXT(link, links)) {
        if (raft_config_voter(&link->config, r->self)) {
            return true;
        }
    }
    return false;
}

static bool granted_by(void *ctx, uint64_t id) {
    const struct raft *r = ctx;
    int row = raft_config_row(raft_chain_effective(&r->chain), id);
    CHECK(row >= 0);
    return r->granted >> row & 1;
}

static bool count_vote(struct raft *r, uint64_t from) {
    const struct raft_config *config = raft_chain_effective(&r->chain);
    int row = raft_config_row(config, from);
    if (row >= 0) {
        r->granted |= UINT32_C(1) << row;
    }
    return raft_config_quorum(config, granted_by, r);
}

static void ask_for_votes(struct raft *r, enum raft_message_kind kind, uint64_t term, struct raft_update *out) {
    const struct raft_config *config = raft_chain_effective(&r->chain);
    for (uint32_t i = 0; i < config->count; i++) {
        const struct raft_replica *row = &config->replicas[i];
        if (row->id == r->self || !raft_config_voter(config, row->id)) {
            continue;
        }
        struct raft_message *m = raft_say(r, out, kind, row->id, row->node);
        m->term = term;
        m->index = raft_log_last(&r->log);
        m->log_term = raft_log_last_term(&r->log);
        m->context = kind == RAFT_VOTE && r->transferring ? RAFT_VOTE_TRANSFER : 0;
    }
}

static void become_candidate(struct raft *r) {
    raft_set_role(r, RAFT_CANDIDATE);
    r->hard.term++;
    r->hard.vote = r->self;
    r->change.hard = true;
    r->verified = 0;
    r->promises = (struct raft_promises){0};
    r->granted = 0;
    r->votes_asked = false;
    raft_draw_timeout(r);
}

static void draw_hurried(struct raft *r) {
    raft_draw_timeout(r);
    if (r->hurry_ms != 0) {
        r->election_ms = r->now_ms + r->hurry_ms + r->random % r->hurry_ms;
        r->hurry_ms = 2 * r->hurry_ms < r->timing.election_min_ms ? 2 * r->hurry_ms : 0;
    }
}

int raft_campaign(struct raft *r, struct raft_update *out) {
    CHECK(r->role != RAFT_LEADER);
    if (!raft_may_campaign(r)) {
        return 0;
    }
    if (r->role == RAFT_CANDIDATE && !r->votes_asked) {
        raft_draw_timeout(r); /* the disk has not confirmed the last candidacy: another would not be faster */
        return 0;
    }
    raft_set_role(r, RAFT_PRECANDIDATE);
    r->leader = 0;
    r->leader_node = 0;
    r->trust = false;
    r->transferring = false;
    r->granted = 0;
    r->votes_asked = false;
    draw_hurried(r);
    if (count_vote(r, r->self)) {
        become_candidate(r);
    } else {
        ask_for_votes(r, RAFT_PREVOTE, r->hard.term + 1, out);
    }
    return 0;
}

static int become_leader(struct raft *r) {
    raft_set_role(r, RAFT_LEADER);
    r->leader = r->self;
    r->leader_node = raft_node_of(r, r->self, 0);
    r->round = 0;
    r->lease_round = r->lease_ms = 0;
    r->lease_void = false;
    r->transfer_to = 0;
    r->heartbeat_due_ms = r->now_ms + r->timing.heartbeat_ms;
    r->granted = 0;
    CHECK(r->promises.vote_to == 0);
    r->promises = (struct raft_promises){0};
    r->verified = 0;
    r->pending_bytes = 0;
    for (uint64_t i = r->commit + 1; i <= raft_log_last(&r->log); i++) {
        r->pending_bytes += raft_log_at(&r->log, i)->size;
    }
    int rc = raft_peers_rebuild(r);
    if (rc != 0) {
        return rc;
    }
    return raft_append_own(r, RAFT_ENTRY_NOOP, NULL, 0); /* §8: makes earlier entries committable */
}

int raft_election_persisted(struct raft *r, struct raft_update *out) {
    if (r->role != RAFT_CANDIDATE || r->votes_asked || !raft_durable_hard(&r->durable)) {
        return 0;
    }
    CHECK(r->hard.vote == r->self);
    r->votes_asked = true;
    ask_for_votes(r, RAFT_VOTE, r->hard.term, out);
    return count_vote(r, r->self) ? become_leader(r) : 0;
}

/* Thesis §4.2.3: a replica that hears a live leader does not help to depose it, whatever the term. */
static bool leader_alive(const struct raft *r) {
    return r->role == RAFT_LEADER || r->now_ms < r->sticky_ms || raft_follower_trusts(r);
}

static bool up_to_date(const struct raft *r, const struct raft_message *m) { /* §5.4.1 */
    uint64_t last_term = raft_log_last_term(&r->log);
    return m->log_term > last_term || (m->log_term == last_term && m->index >= raft_log_last(&r->log));
}

/* Whoever asks for a term beyond the one it leads has given that one up. */
static void leader_gave_up(struct raft *r) {
    r->leader = 0;
    r->leader_node = 0;
    r->sticky_ms = 0;
    if (r->nodes) {
        raft_wake_soon(r);
    }
}

/* Two that campaign at the same time would both win their pre-votes, and then split the votes. */
static void yield_to(struct raft *r, uint64_t id) {
    const struct raft_config *config = raft_chain_effective(&r->chain);
    int row = raft_config_row(config, id);
    if (r->role == RAFT_PRECANDIDATE && row >= 0 && row < raft_config_row(config, r->self)) {
        uint32_t hurry_ms = r->hurry_ms;
        raft_become_follower(r, r->hard.term, 0, 0);
        r->hurry_ms = hurry_ms;
        draw_hurried(r);
    }
}

int raft_on_prevote(struct raft *r, const struct raft_message *m, struct raft_update *out) {
    if (r->role == RAFT_FOLLOWER && m->from == r->leader && m->term > r->hard.term) {
        leader_gave_up(r);
    }
    struct raft_peer *p = r->role == RAFT_LEADER && r->nodes ? raft_peer_find(r, m->from) : NULL;
    if (p) { /* it has lost sight of its leader, and no heartbeat is due: here it is */
        p->want_heartbeat = true;
        p->commit_known = 0;
    }
    bool promised = leader_alive(r);
    if (promised && r->leader != 0) {
        return 0;
    }
    bool grant = !promised && m->term > r->hard.term && up_to_date(r, m);
    struct raft_message *reply = raft_say(r, out, RAFT_PREVOTE_REPLY, m->from, raft_node_of(r, m->from, m->from_node));
    reply->reject = !grant;
    if (grant) {
        reply->term = m->term;
        yield_to(r, m->from);
    } else if (r->nodes && r->role == RAFT_FOLLOWER && !up_to_date(r, m)) {
        uint64_t planned_ms = r->election_ms;
        raft_wake_soon(r); /* this one is fitter to lead, and need not wait for its turn */
        r->election_ms = planned_ms < r->election_ms ? planned_ms : r->election_ms;
    }
    return 0;
}

int raft_on_prevote_reply(struct raft *r, const struct raft_message *m) {
    if (!raft_config_find(raft_chain_effective(&r->chain), m->from)) {
        return 0;
    }
    if (m->reject) {
        if (m->term > r->hard.term) {
            raft_become_follower(r, m->term, 0, 0);
        }
        return 0;
    }
    if (r->role == RAFT_PRECANDIDATE && m->term == r->hard.term + 1 && count_vote(r, m->from)) {
        become_candidate(r);
    }
    return 0;
}

/* Answers replicas that the own configuration does not know, too: it may be the older one (§6). */
int raft_on_vote(struct raft *r, const struct raft_message *m, struct raft_update *out) {
    if (leader_alive(r) && m->context != RAFT_VOTE_TRANSFER) {
        return 0;
    }
    if (m->term > r->hard.term) {
        raft_become_follower(r, m->term, 0, 0);
    }
    uint32_t node = raft_node_of(r, m->from, m->from_node);
    bool free_to_vote = r->hard.vote == 0 || r->hard.vote == m->from;
    if (m->term < r->hard.term || !free_to_vote || !up_to_date(r, m)) {
        raft_say(r, out, RAFT_VOTE_REPLY, m->from, node)->reject = true;
        return 0;
    }
    if (r->hard.vote == 0) {
        r->hard.vote = m->from;
        r->change.hard = true;
    }
    raft_become_follower(r, r->hard.term, 0, 0);
    r->promises.vote_to = m->from;
    r->promises.vote_node = node;
    return 0;
}

int raft_on_vote_reply(struct raft *r, const struct raft_message *m) {
    if (!raft_config_find(raft_chain_effective(&r->chain), m->from)) {
        return 0;
    }
    if (m->term > r->hard.term) {
        raft_become_follower(r, m->term, 0, 0);
        return 0;
    }
    if (r->role != RAFT_CANDIDATE || !r->votes_asked || m->term != r->hard.term || m->reject) {
        return 0;
    }
    return count_vote(r, m->from) ? become_leader(r) : 0;
}

/* Thesis §3.10: no pre-vote, as the leader itself wants the election. */
int raft_on_timeout_now(struct raft *r, const struct raft_message *m) {
    bool from_leader = r->role == RAFT_FOLLOWER && m->from == r->leader && m->term == r->hard.term;
    if (!from_leader || !raft_config_voter(raft_chain_effective(&r->chain), r->self)) {
        return 0;
    }
    raft_set_role(r, RAFT_PRECANDIDATE);
    r->leader = 0;
    r->leader_node = 0;
    r->trust = false;
    become_candidate(r);
    r->transferring = true;
    return 0;
}
