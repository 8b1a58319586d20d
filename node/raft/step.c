/* The step: one event in, one update out. What an event means is in the file of its subject; here is what all events
 * share: time, the table of roles, appending, and gathering the update. */
#include <stdlib.h>
#include <string.h>

#include "raft_internal.h"

void raft_set_role(struct raft *r, enum raft_role role) {
    static const bool allowed[4][4] = {
        [RAFT_FOLLOWER] = {[RAFT_FOLLOWER] = true, [RAFT_PRECANDIDATE] = true},
        [RAFT_PRECANDIDATE] = {[RAFT_FOLLOWER] = true, [RAFT_PRECANDIDATE] = true, [RAFT_CANDIDATE] = true},
        [RAFT_CANDIDATE] = {[RAFT_FOLLOWER] = true, [RAFT_PRECANDIDATE] = true, [RAFT_LEADER] = true},
        [RAFT_LEADER] = {[RAFT_FOLLOWER] = true},
    };
    CHECK(role <= RAFT_LEADER);
    CHECK(allowed[r->role][role]);
    r->role = role;
}

uint32_t raft_node_of(const struct raft *r, uint64_t id, uint32_t fallback) {
    const struct raft_replica *row = raft_config_find(raft_chain_effective(&r->chain), id);
    return row ? row->node : fallback;
}

struct raft_message *raft_say(struct raft *r, struct raft_update *out, enum raft_message_kind kind, uint64_t to,
                              uint32_t node) {
    CHECK(out->message_count < RAFT_MESSAGES_MAX);
    CHECK(to != r->self);
    struct raft_message *m = &out->messages[out->message_count++];
    *m = (struct raft_message){.kind = kind, .from = r->self, .to = to, .to_node = node, .term = r->hard.term};
    return m;
}

/* ---- appending -------------------------------------------------------------------------------------------------- */

int raft_append(struct raft *r, struct raft_entry *e, const struct raft_config *config) {
    CHECK((config != NULL) == (e->kind == RAFT_ENTRY_CONFIG));
    CHECK(!config || config->index == e->index);
    int rc = raft_log_push(&r->log, e);
    if (rc != 0) {
        raft_entry_unref(e);
        return rc;
    }
    if (r->change.append_from == 0) {
        r->change.append_from = e->index;
    }
    if (r->role == RAFT_LEADER) {
        r->pending_bytes += e->size;
    }
    if (config) {
        r->change.config = true;
        rc = raft_chain_push(&r->chain, config);
    }
    return rc;
}

static int append_new(struct raft *r, enum raft_entry_kind kind, const void *data, size_t size,
                      const struct raft_config *config) {
    CHECK(r->role == RAFT_LEADER);
    struct raft_entry *e = raft_entry_new(raft_log_last(&r->log) + 1, r->hard.term, kind, data, size);
    return e ? raft_append(r, e, config) : ERR_NOMEM;
}

int raft_append_own(struct raft *r, enum raft_entry_kind kind, const void *data, size_t size) {
    CHECK(kind != RAFT_ENTRY_CONFIG);
    return append_new(r, kind, data, size, NULL);
}

int raft_append_config(struct raft *r, const struct raft_config *config) {
    struct raft_config indexed = *config;
    indexed.index = raft_log_last(&r->log) + 1;
    CHECK(raft_config_check(&indexed) == 0);
    struct buf bytes;
    buf_init(&bytes, RAFT_ENTRY_MAX);
    raft_config_encode(&indexed, &bytes);
    int rc = bytes.error;
    if (rc == 0) {
        rc = append_new(r, RAFT_ENTRY_CONFIG, bytes.bytes, bytes.size, &indexed);
    }
    if (rc == 0) {
        rc = raft_peers_rebuild(r);
    }
    r->lease_ms = r->lease_round = 0; /* it was given by the voters of another configuration */
    buf_release(&bytes);
    return rc;
}

void raft_set_commit(struct raft *r, uint64_t commit) {
    CHECK(commit > r->commit);
    CHECK(commit <= raft_log_last(&r->log));
    r->commit = commit;
    raft_chain_commit(&r->chain, commit);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

static int on_tick(struct raft *r, struct raft_update *out) {
    if (r->role == RAFT_LEADER) {
        return raft_leader_tick(r, out);
    }
    return r->now_ms >= r->election_ms && !raft_follower_trusts(r) ? raft_campaign(r, out) : 0;
}

static int on_message(struct raft *r, const struct raft_message *m, struct raft_update *out) {
    bool request = m->kind == RAFT_PREVOTE || m->kind == RAFT_VOTE || m->kind == RAFT_APPEND ||
                   m->kind == RAFT_HEARTBEAT || m->kind == RAFT_TIMEOUT_NOW;
    if (m->to != r->self || m->from == 0 || m->from == r->self || m->term > RAFT_TERM_MAX ||
        (request && m->term == 0)) {
        return ERR_PROTOCOL;
    }
    switch (m->kind) {
    case RAFT_PREVOTE:
        return raft_on_prevote(r, m, out);
    case RAFT_PREVOTE_REPLY:
        return raft_on_prevote_reply(r, m);
    case RAFT_VOTE:
        return raft_on_vote(r, m, out);
    case RAFT_VOTE_REPLY:
        return raft_on_vote_reply(r, m);
    case RAFT_APPEND:
        return raft_on_append(r, m, out);
    case RAFT_APPEND_REPLY:
        return raft_on_append_reply(r, m);
    case RAFT_HEARTBEAT:
        return raft_on_heartbeat(r, m, out);
    case RAFT_HEARTBEAT_REPLY:
        return raft_on_heartbeat_reply(r, m);
    case RAFT_TIMEOUT_NOW:
        return raft_on_timeout_now(r, m);
    case RAFT_MESSAGE_KINDS:
        break;
    }
    return ERR_PROTOCOL;
}

static int on_propose(struct raft *r, const void *data, size_t size, struct raft_update *out) {
    if (r->role != RAFT_LEADER) {
        return ERR_NOT_LEADER;
    }
    if (size > RAFT_ENTRY_MAX) {
        return ERR_TOO_LARGE;
    }
    if (r->transfer_to != 0 || raft_log_last(&r->log) - r->commit >= RAFT_PENDING_MAX ||
        r->pending_bytes + size > RAFT_PENDING_BYTES_MAX) {
        return ERR_BUSY;
    }
    int rc = raft_append_own(r, RAFT_ENTRY_COMMAND, data, size);
    out->ret_index = raft_log_last(&r->log);
    out->ret_term = r->hard.term;
    return rc;
}

/* One change at a time, and none before the own term has a committed entry: otherwise two leaders could work with
 * configurations whose majorities do not meet (Ongaro's correction of single-step changes, 2015). */
static int on_config(struct raft *r, const struct raft_config *wanted, struct raft_update *out) {
    if (r->role != RAFT_LEADER) {
        return ERR_NOT_LEADER;
    }
    const struct raft_config *current = raft_chain_effective(&r->chain);
    if (!raft_leader_settled(r)) {
        return ERR_BUSY;
    }
    int rc = raft_config_check_change(current, wanted);
    if (rc != 0) {
        return rc;
    }
    rc = raft_append_config(r, wanted);
    out->ret_index = raft_log_last(&r->log);
    out->ret_term = r->hard.term;
    return rc;
}

static int on_persisted(struct raft *r, uint64_t seq, struct raft_update *out) {
    raft_durable_confirm(&r->durable, seq);
    if (r->install_index != 0 && r->durable.done >= r->install_seq) {
        r->applied = r->install_index > r->applied ? r->install_index : r->applied;
        r->install_index = r->install_seq = 0;
    }
    return raft_election_persisted(r, out);
}

static void on_applied(struct raft *r, uint64_t index) {
    CHECK(index <= r->commit);
    r->applied = index > r->applied ? index : r->applied;
}

static void on_compact(struct raft *r, uint64_t index) {
    if (index <= r->log.base_index) {
        return; /* overtaken by an installed snapshot */
    }
    CHECK(index <= r->applied);
    raft_log_compact(&r->log, index);
    raft_chain_compact(&r->chain, index);
    if (r->durable.index < index) {
        r->durable.index = index; /* applied durably, so nothing is lost that was acknowledged */
    }
}

static int dispatch(struct raft *r, const struct raft_event *event, struct raft_update *out) {
    switch (event->kind) {
    case RAFT_EV_TICK:
        return on_tick(r, out);
    case RAFT_EV_MESSAGE:
        return on_message(r, event->message, out);
    case RAFT_EV_PROPOSE:
        return on_propose(r, event->propose.data, event->propose.size, out);
    case RAFT_EV_CONFIG:
        return on_config(r, event->config, out);
    case RAFT_EV_LEAVE:
        r->leave_index = r->role == RAFT_LEADER ? event->index : 0;
        return r->role == RAFT_LEADER ? 0 : ERR_NOT_LEADER;
    case RAFT_EV_READ:
        return raft_reads_add(r, event->read);
    case RAFT_EV_PERSISTED:
        return on_persisted(r, event->seq, out);
    case RAFT_EV_APPLIED:
        on_applied(r, event->index);
        return 0;
    case RAFT_EV_COMPACT:
        on_compact(r, event->index);
        return 0;
    case RAFT_EV_SNAPSHOT:
        return raft_on_snapshot(r, event);
    case RAFT_EV_SNAPSHOT_SENT:
        raft_on_snapshot_sent(r, event->sent.replica, event->sent.index, event->sent.ok);
        return 0;
    case RAFT_EV_UNREACHABLE:
        raft_on_unreachable(r, event->node);
        return 0;
    case RAFT_EV_NODE:
        return raft_on_node(r, event->liveness.node, event->liveness.alive, out);
    case RAFT_EV_TRANSFER:
        return raft_on_transfer(r, event->transfer);
    case RAFT_EV_CAMPAIGN:
        return r->role == RAFT_LEADER ? 0 : raft_campaign(r, out);
    }
    CHECK(!"an event kind of the enum");
    return ERR_INVALID;
}

/* ---- the update ------------------------------------------------------------------------------------------------- */

static void begin(struct raft *r, const struct raft_event *event, struct raft_update *out) {
    /* The messages are the bulk of an update, and each is written whole by raft_say. */
    memset(out, 0, offsetof(struct raft_update, messages));
    memset((char *)out + offsetof(struct raft_update, read_count), 0,
           sizeof *out - offsetof(struct raft_update, read_count));
    raft_reads_drop_answered(r);
    if (event->now_ms > r->now_ms) {
        r->now_ms = event->now_ms;
    }
    r->random = event->random;
    memset(&r->change, 0, sizeof r->change);
    r->change.role_before = r->role;
    out->commit = r->commit;
}

static int gather_durable(struct raft *r, struct raft_update *out) {
    bool entries = r->change.append_from != 0;
    if (!r->change.hard && !entries && !r->change.install) {
        return 0;
    }
    uint64_t seq = ++r->durable.seq;
    out->persist_seq = seq;
    out->hard_changed = r->change.hard;
    out->install = r->change.install;
    if (r->change.hard) {
        r->durable.hard_seq = seq;
    }
    if (r->change.install) {
        r->install_seq = seq;
    }
    if (entries) {
        out->append_from = r->change.append_from;
        out->append_to = raft_log_last(&r->log);
    }
    return entries || r->change.install ? raft_durable_note(&r->durable, seq, raft_log_last(&r->log)) : 0;
}

static int finish(struct raft *r, struct raft_update *out) {
    int rc = r->role == RAFT_LEADER ? raft_leader_settle(r) : 0;
    if (rc == 0) {
        rc = gather_durable(r, out);
    }
    if (rc != 0) {
        return rc;
    }
    if (r->role == RAFT_LEADER) {
        raft_leader_send(r, out);
    }
    raft_keep_promises(r, out);
    if (raft_leader_must_resign(r)) {
        raft_leader_resign(r, out);
    } else if (r->role == RAFT_LEADER) {
        raft_leader_rest(r);
    }
    out->commit = r->commit;
    out->role_changed = r->role != r->change.role_before;
    out->config_changed = r->change.config;
    out->reads = r->reads.slots;
    out->read_count = (uint32_t)r->reads.answered;
    return 0;
}

int raft_step(struct raft *r, const struct raft_event *event, struct raft_update *out) {
    begin(r, event, out);
    int rc = dispatch(r, event, out);
    return rc == 0 ? finish(r, out) : rc;
}

uint64_t raft_wake_ms(const struct raft *r) {
    if (r->role == RAFT_LEADER) {
        return r->peer_count > 0 ? r->heartbeat_due_ms : UINT64_MAX;
    }
    return raft_may_campaign(r) && !raft_follower_trusts(r) ? r->election_ms : UINT64_MAX;
}
