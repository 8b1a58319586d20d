/* ReadIndex (thesis §6.4): a read may be served at the commit index of its arrival once the leader has committed an
 * entry of its own term and, after the read arrived, heard from a quorum that it is still the leader. Reads share
 * rounds: while one round is under way, later reads wait for the next. */
#include <stdlib.h>
#include <string.h>

#include "raft_internal.h"

#define READS_CAPACITY_MIN 16 /* more is given back when nothing waits */

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
    if (reads->count == 0 && reads->capacity > READS_CAPACITY_MIN) {
        raft_reads_release(reads);
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

static void start_round(struct raft *r) {
    struct raft_reads *reads = &r->reads;
    CHECK(reads->asked == 0);
    reads->round = ++r->round;
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
