#include "promise.h"

#include <inttypes.h>
#include <stdlib.h>

#include "check.h"
#include "chunks.h"
#include "command.h"
#include "content.h"
#include "copies.h"
#include "internal.h"
#include "ring.h"
#include "store.h"
#include "witness.h"

#define PROMISE_EVERY_US (250 * SIM_MS)
#define PROMISE_OLD_US (60 * (uint64_t)SIM_SECOND) /* longer than a move takes from its decision to its commit */

/* How it lies there does not matter: bits may have rotted since. */
static bool has_chunk(struct swarm *w, uint32_t host, const struct digest *d) {
    struct txn *t;
    CHECK(store_begin(sim_host_store(sim_host(w->sim, host), DISK_CHUNKS), false, &t) == 0);
    bool there = chunk_has(t, d) == 0;
    store_abort(t);
    return there;
}

static void check_chunk(struct swarm *w, const char *name, const struct digest *d) {
    uint32_t group = 1 + ring_arc(ring_position(d), w->bits);
    const struct raft_config *c = witness_config(w->witness, group);
    uint32_t voters = 0, have = 0;
    if (c == NULL || raft_config_joint(c)) {
        return; /* between two majorities: which of them counted is over soon */
    }
    for (uint32_t i = 0; i < c->count; i++) {
        uint32_t host = copies_host(w, c->replicas[i].node);
        if ((c->replicas[i].flags & RAFT_VOTER) != 0) {
            voters++;
            have += host == 0 || has_chunk(w, host, d); /* whose disk was lost could be spared */
        }
    }
    if (have <= voters / 2) {
        swarm_fail(
            w, "group %" PRIu32 ": %" PRIu32 " of %" PRIu32 " disks hold a chunk of %.60s, which was said to be stored",
            group, have, voters, name);
    }
}

static void check(const struct promises *p, uint32_t name) {
    for (uint32_t i = 0; i < p->list[name].count && history_promised(p->history, name); i++) {
        check_chunk(p->swarm, p->history->names[name].text, &p->list[name].chunks[i]);
    }
}

void promises_made(struct promises *p, uint32_t name, uint64_t content, uint64_t size) {
    struct promise *promise = &p->list[name];
    uint8_t *stored = size > INLINE_MAX ? malloc(CHUNK_STORED_MAX) : NULL;
    *promise = (struct promise){.since_us = sim_now_us(p->swarm->sim)};
    CHECK(stored != NULL || size <= INLINE_MAX);
    for (uint64_t at = 0; size > INLINE_MAX && at < size; at += CHUNK_PLAIN_MAX) {
        size_t part = size - at < CHUNK_PLAIN_MAX ? (size_t)(size - at) : CHUNK_PLAIN_MAX;
        CHECK(promise->count < PROMISE_CHUNKS_MAX);
        chunk_header_encode(stored, 0, part);
        content_fill(content, at, stored + CHUNK_HEADER_SIZE, part);
        digest_of(stored, CHUNK_HEADER_SIZE + part, &promise->chunks[promise->count++]);
    }
    free(stored);
    check(p, name);
}

void promises_sample(const struct promises *p) {
    if (p->history->name_count > 0) {
        check(p, (uint32_t)(sim_now_us(p->swarm->sim) / PROMISE_EVERY_US % p->history->name_count));
    }
}

/* A learner becomes a voter: it lacks nothing that was stored well before. */
static void promoted(void *ctx, uint32_t group, uint32_t node) {
    const struct promises *p = ctx;
    uint32_t host = copies_host(p->swarm, node);
    for (uint32_t name = 0; name < p->history->name_count && host != 0; name++) {
        const struct promise *promise = &p->list[name];
        bool old = promise->since_us + PROMISE_OLD_US < sim_now_us(p->swarm->sim);
        for (uint32_t i = 0; i < promise->count && old && history_promised(p->history, name); i++) {
            bool here = 1 + ring_arc(ring_position(&promise->chunks[i]), p->swarm->bits) == group;
            if (here && !has_chunk(p->swarm, host, &promise->chunks[i])) {
                swarm_fail(p->swarm, "group %" PRIu32 ": node %" PRIu32 " becomes a voter and lacks a chunk of %.60s",
                           group, host, p->history->names[name].text);
            }
        }
    }
}

void promises_init(struct promises *p, struct swarm *w, const struct history *h) {
    *p = (struct promises){.swarm = w, .history = h};
    w->witness->promoted = promoted;
    w->witness->ctx = p;
}
