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
#define PROMISE_SAMPLED_MAX (512u * 1024)

/* How it lies there does not matter: bits may have rotted since. */
static bool has_chunk(struct swarm *w, uint32_t host, const struct digest *d) {
    struct txn *t;
    CHECK(store_begin(sim_host_store(sim_host(w->sim, host), DISK_CHUNKS), false, &t) == 0);
    bool there = chunk_has(t, d) == 0;
    store_abort(t);
    return there;
}

static void check_chunk(struct swarm *w, uint64_t content, const struct digest *d) {
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
        swarm_fail(w,
                   "group %" PRIu32 ": %" PRIu32 " of %" PRIu32 " disks hold a chunk of content %016" PRIx64
                   ", which is said to be stored",
                   group, have, voters, content);
    }
}

void promise_check(struct swarm *w, const struct history *h, uint32_t name) {
    const struct history_name *n = &h->names[name];
    if (n->size <= INLINE_MAX || !history_promised(h, name)) {
        return;
    }
    uint8_t *stored = malloc(CHUNK_STORED_MAX);
    CHECK(stored != NULL);
    for (uint64_t at = 0; at < n->size; at += CHUNK_PLAIN_MAX) {
        size_t part = n->size - at < CHUNK_PLAIN_MAX ? (size_t)(n->size - at) : CHUNK_PLAIN_MAX;
        struct digest d;
        chunk_header_encode(stored, 0, part);
        content_fill(n->content, at, stored + CHUNK_HEADER_SIZE, part);
        digest_of(stored, CHUNK_HEADER_SIZE + part, &d);
        check_chunk(w, n->content, &d);
    }
    free(stored);
}

void promise_sample(struct swarm *w, const struct history *h) {
    uint32_t name = h->name_count > 0 ? (uint32_t)(sim_now_us(w->sim) / PROMISE_EVERY_US % h->name_count) : 0;
    if (h->name_count > 0 && h->names[name].size <= PROMISE_SAMPLED_MAX) {
        promise_check(w, h, name);
    }
}
