/* What must hold between any two steps. */
#include "raft_internal.h"

#define TAIL_CHECKED 8 /* entries looked at from the end, so that the check stays cheap on long logs */

static void check_log(const struct raft *r) {
    const struct raft_log *log = &r->log;
    CHECK(log->head + log->count <= log->capacity);
    uint64_t last = raft_log_last(log);
    CHECK(raft_log_last_term(log) <= r->hard.term);
    for (uint64_t i = last; i > log->base_index && i + TAIL_CHECKED > last; i--) {
        const struct raft_entry *e = raft_log_at(log, i);
        CHECK(e->refs > 0);
        CHECK(e->term >= raft_log_term(log, i - 1));
    }
    CHECK(log->base_index <= r->commit);
    CHECK(r->commit <= last);
    CHECK(r->applied <= r->commit);
    CHECK(r->applied >= log->base_index || r->install_index != 0);
    CHECK(r->verified <= last);
}

static void check_durable(const struct raft *r) {
    const struct raft_durable *d = &r->durable;
    CHECK(d->done <= d->seq);
    CHECK(d->hard_seq <= d->seq);
    CHECK(d->index <= raft_log_last(&r->log));
    CHECK(r->install_seq <= d->seq);
    CHECK((r->install_index != 0) == (r->install_seq != 0));
    for (size_t i = 0; i < d->count; i++) {
        CHECK(d->runs[i].seq > d->done && d->runs[i].seq <= d->seq);
        CHECK(d->runs[i].last <= raft_log_last(&r->log));
        CHECK(i == 0 || (d->runs[i - 1].seq < d->runs[i].seq && d->runs[i - 1].last <= d->runs[i].last));
    }
    /* Everything in the log is durable or on its way. */
    uint64_t covered = d->count > 0 ? d->runs[d->count - 1].last : d->index;
    CHECK(covered == raft_log_last(&r->log) || d->index == raft_log_last(&r->log));
}

static void check_chain(const struct raft *r) {
    const struct raft_chain *chain = &r->chain;
    CHECK(chain->committed != NULL);
    CHECK(raft_chain_base(chain)->index <= r->log.base_index);
    const struct raft_link *before = NULL;
    const struct raft_link *newest = NULL;
    const struct raft_link *link;
    TAILQ_FOREACH(link, &chain->links, links) {
        if (before) {
            const struct raft_entry *e = raft_log_at(&r->log, link->config.index);
            CHECK(e && e->kind == RAFT_ENTRY_CONFIG);
            CHECK(before->config.index < link->config.index);
        }
        if (!before || link->config.index <= r->commit) {
            newest = link;
        }
        before = link;
    }
    CHECK(newest == chain->committed);
}

static void check_peer(const struct raft *r, const struct raft_peer *p) {
    uint64_t last = raft_log_last(&r->log);
    CHECK(raft_config_find(raft_chain_effective(&r->chain), p->id) != NULL);
    CHECK(p->match < p->next);
    CHECK(p->match <= last);
    CHECK(p->next <= last + 1);
    CHECK(p->round <= r->round);
    CHECK(p->mark_round <= r->round);
    CHECK(p->commit_known <= last);
    const struct raft_flights *f = p->flights;
    CHECK(!f || f->count == 0 || p->state == RAFT_PEER_REPLICATE);
    uint64_t before = p->match;
    uint64_t bytes = 0;
    for (uint32_t i = 0; f && i < f->count; i++) {
        uint64_t index = f->slots[(f->head + i) % RAFT_INFLIGHT_MAX].last;
        CHECK(index > before && index < p->next);
        before = index;
        bytes += f->slots[(f->head + i) % RAFT_INFLIGHT_MAX].bytes;
    }
    CHECK(!f || f->bytes == bytes);
}

static void check_leader(const struct raft *r) {
    CHECK(r->leader == r->self);
    CHECK(r->hard.vote == r->self);
    CHECK(raft_durable_hard(&r->durable));
    CHECK(raft_log_last_term(&r->log) == r->hard.term); /* the no-op at least */
    const struct raft_config *config = raft_chain_effective(&r->chain);
    CHECK(r->peer_count + (raft_config_find(config, r->self) ? 1 : 0) == config->count);
    for (size_t i = 0; i < r->peer_count; i++) {
        check_peer(r, &r->peers[i]);
    }
    uint64_t bytes = 0;
    for (uint64_t i = r->commit + 1; i <= raft_log_last(&r->log) && i <= r->commit + TAIL_CHECKED; i++) {
        bytes += raft_log_at(&r->log, i)->size;
    }
    CHECK(r->pending_bytes >= bytes);
    CHECK(r->transfer_to == 0 || raft_config_voter(config, r->transfer_to));
    CHECK(r->lease_round <= r->round);
}

static void check_follower(const struct raft *r) {
    CHECK(r->peers == NULL && r->peer_count == 0);
    CHECK(r->leader != r->self);
    CHECK(r->reads.count == r->reads.answered);
    CHECK(r->promises.vote_to == 0 || r->promises.vote_to == r->hard.vote);
    CHECK(r->promises.ack_sent <= raft_log_last(&r->log));
    CHECK(r->role == RAFT_FOLLOWER || r->leader == 0);
    CHECK(!r->trust || (r->leader != 0 && r->nodes));
    CHECK(!r->transferring || r->role == RAFT_CANDIDATE);
    CHECK(r->role != RAFT_CANDIDATE || r->hard.vote == r->self);
}

void raft_invariant(const struct raft *r) {
    CHECK(r->self != 0);
    CHECK(r->hard.term > 0 || r->hard.vote == 0);
    check_log(r);
    check_durable(r);
    check_chain(r);
    CHECK(r->reads.answered + r->reads.asked <= r->reads.count);
    if (r->role == RAFT_LEADER) {
        check_leader(r);
    } else {
        check_follower(r);
    }
}
