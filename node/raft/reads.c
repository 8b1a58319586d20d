/* ReadIndex (thesis §6.4): a read may be served at the commit index of its arrival once the leader has committed an
 * entry of its own term and, after the read arrived, heard from a quorum that it is still the leader. Reads share
 * rounds: while one round is under way, later reads wait for the next. */
#include <stdlib.h>
#include <string.h>

#include "raft_internal.h"

#define READS_CAPACITY_MIN 16

void raft_reads_release(struct raft_reads *reads) {
    free(reads->slots);
    *reads = (struct raft_reads){0};
}

void raft_reads_drop_answered(struct raft *r) {
    struct raft_reads *reads = &r->reads;
    CHECK(reads->answered + reads->asked <= reads->count);
    if (reads->answered == 0) {
        return;
    }
    reads->count -= reads->answered;
    memmove(reads->slots, reads->slots + reads->answered, reads->count * sizeof *reads->slots);
    reads->answered = 0;
    if (reads->count == 0) {
        raft_reads_release(reads); /* a quiet group keeps nothing */
    }
}

int raft_reads_add(struct raft *r, uint64_t handle) {
    struct raft_reads *reads = &r->reads;
    CHECK(reads->answered == 0);
    if (r->role != RAFT_LEADER) {
        return ERR_NOT_LEADER;
    }
    if (reads->count >= RAFT_READS_MAX) {
        return ERR_BUSY;
    }
    if (reads->count == reads->capacity) {
        size_t capacity = reads->capacity ? 2 * reads->capacity : READS_CAPACITY_MIN;
        struct raft_read *slots = realloc(reads->slots, capacity * sizeof *slots);
        if (!slots) {
            return ERR_NOMEM;
        }
        reads->slots = slots;
        reads->capacity = capacity;
    }
    reads->slots[reads->count++] = (struct raft_read){.handle = handle};
    return 0;
}

static bool answered_round(void *ctx, uint64_t id) {
    const struct raft *r = ctx;
    if (id == r->self) {
        return true;
    }
    const struct raft_peer *p = raft_peer_find(r, id);
    CHECK(p != NULL);
    return p->round >= r->reads.round;
}

static bool finish_round(struct raft *r) {
    struct raft_reads *reads = &r->reads;
    if (!raft_config_quorum(raft_chain_effective(&r->chain), answered_round, r)) {
        return false;
    }
    reads->answered += reads->asked;
    reads->asked = 0;
    return true;
}

void raft_round_begin(struct raft *r) {
    r->round++;
    if (r->lease_round == 0) {
        r->lease_round = r->round;
        r->lease_round_ms = r->now_ms;
    }
}

static bool answered_lease(void *ctx, uint64_t id) {
    const struct raft *r = ctx;
    const struct raft_peer *p = id == r->self ? NULL : raft_peer_find(r, id);
    CHECK(id == r->self || p != NULL);
    return !p || p->round >= r->lease_round;
}

/* Everyone of the quorum that answered a round votes for nobody else within an election timeout of hearing it, also
 * after a restart, so until a little less than that after the round began nobody else leads (thesis §6.4.1). Clocks
 * are assumed to run apart within that time by less than the difference. */
static void renew_lease(struct raft *r) {
    if (r->lease_round != 0 && raft_config_quorum(raft_chain_effective(&r->chain), answered_lease, r)) {
        r->lease_ms = r->lease_round_ms + r->timing.lease_ms;
        r->lease_round = 0;
    }
}

static bool lease_holds(const struct raft *r) {
    return r->timing.lease_ms > 0 && r->now_ms < r->lease_ms && !r->lease_void && r->transfer_to == 0;
}

static void answer_by_lease(struct raft *r) {
    struct raft_reads *reads = &r->reads;
    for (size_t i = reads->answered + reads->asked; i < reads->count; i++) {
        reads->slots[i].index = r->commit;
    }
    reads->answered = reads->count;
    reads->asked = 0;
}

static void start_round(struct raft *r) {
    struct raft_reads *reads = &r->reads;
    CHECK(reads->asked == 0);
    raft_round_begin(r);
    reads->round = r->round;
    for (size_t i = reads->answered; i < reads->count; i++) {
        reads->slots[i].index = r->commit;
    }
    reads->asked = reads->count - reads->answered;
    const struct raft_config *config = raft_chain_effective(&r->chain);
    for (size_t i = 0; i < r->peer_count; i++) {
        if (raft_config_voter(config, r->peers[i].id)) {
            r->peers[i].want_heartbeat = true;
        }
    }
}

void raft_reads_settle(struct raft *r) {
    struct raft_reads *reads = &r->reads;
    renew_lease(r);
    if (lease_holds(r) && raft_own_term_committed(r)) {
        answer_by_lease(r);
        return;
    }
    if (reads->asked > 0 && !finish_round(r)) {
        return;
    }
    if (reads->answered < reads->count && raft_own_term_committed(r)) {
        start_round(r);
        (void)finish_round(r); /* a lone voter is its own quorum */
    }
}

void raft_reads_fail(struct raft *r) {
    struct raft_reads *reads = &r->reads;
    for (size_t i = reads->answered; i < reads->count; i++) {
        reads->slots[i].status = ERR_NOT_LEADER;
    }
    reads->answered = reads->count;
    reads->asked = 0;
}
