#include "tuning.h"

#include "prng.h"

#define ODD_RUNS 600000   /* millionths of the seeds have odd settings at all; */
#define LEASE_RUNS 500000 /* read by leases */
#define ODD_FIELD 350000  /* and of the fields of such a run */

#define SETTLE_MS 60000
#define SETTLE_EVERY_MS 10000
#define SWEEP_EVERY_MS 20000

static uint32_t odd32(struct prng *p, uint32_t usual, uint32_t low, uint32_t high) {
    uint32_t value = (uint32_t)prng_range(p, low, high);
    return prng_chance(p, ODD_FIELD) ? value : usual;
}

static uint64_t odd64(struct prng *p, uint64_t usual, uint64_t low, uint64_t high) {
    uint64_t value = prng_range(p, low, high);
    return prng_chance(p, ODD_FIELD) ? value : usual;
}

/* What all nodes must have alike: how long a leader may be silent, and when a reference is too old. */
static void draw_common(struct node_tuning *t, struct prng *p) {
    struct raft_timing *timing = &t->groups.timing;
    timing->heartbeat_ms = odd32(p, timing->heartbeat_ms, 50, 600);
    if (timing->election_min_ms < 4 * timing->heartbeat_ms || prng_chance(p, ODD_FIELD)) {
        timing->election_min_ms = 4 * timing->heartbeat_ms;
        timing->election_max_ms = timing->election_min_ms + (uint32_t)prng_range(p, 100, 2000);
    }
    t->files.settle_ms = odd64(p, t->files.settle_ms, 4000, 120000);
    t->members.out_after_ms = odd64(p, t->members.out_after_ms, 8000, 60000);
}

static void draw_own(struct node_tuning *t, struct prng *p) {
    struct groups_tuning *g = &t->groups;
    g->compact_entries = odd32(p, g->compact_entries, 1, 16);
    g->compact_bytes = odd32(p, g->compact_bytes, 256, 8192);
    g->log_bytes_max = odd32(p, g->log_bytes_max, 4096, 65536);
    g->logs_bytes_max = odd32(p, g->logs_bytes_max, 16384, 524288);
    g->moves_max = odd32(p, g->moves_max, 1, 3);
    g->snapshots_max = odd32(p, g->snapshots_max, 1, 2);
    g->piece_bytes = odd32(p, g->piece_bytes, 100, 8192);
    g->apply_max = odd32(p, g->apply_max, 1, 4);
    t->files.settle_every_ms = odd64(p, t->files.settle_every_ms, 1000, 30000);
    t->files.sweep_every_ms = odd64(p, t->files.sweep_every_ms, 1000, 60000);
    t->files.put_window = odd32(p, t->files.put_window, 1, 2);
    t->files.puts_bytes = odd32(p, t->files.puts_bytes, 1 << 16, 1 << 21);
    t->files.gets_ahead = odd32(p, t->files.gets_ahead, 1, 4);
    t->files.ref_dels = odd32(p, t->files.ref_dels, 1, 4);
    t->files.repair_items = odd32(p, t->files.repair_items, 2, 32);
    t->files.page_rows = odd32(p, t->files.page_rows, 1, 4);
    t->files.grace_ms = odd64(p, t->files.grace_ms, 50, 8000);
}

void tuning_usual(struct node_tuning *out) {
    node_tuning_default(out);
    out->files.settle_ms = SETTLE_MS;
    out->files.settle_every_ms = SETTLE_EVERY_MS;
    out->files.sweep_every_ms = SWEEP_EVERY_MS;
}

void tuning_draw(struct node_tuning *out, uint64_t seed, uint32_t host) {
    struct prng common, own;
    prng_init(&common, seed, PRNG_SCENARIO, 3);
    prng_init(&own, seed, PRNG_SCENARIO, (uint64_t)host << 32 | 3);
    tuning_usual(out);
    if (prng_chance(&common, ODD_RUNS)) {
        draw_common(out, &common);
        draw_own(out, &own);
    }
    struct prng lease;
    prng_init(&lease, seed, PRNG_SCENARIO, 5);
    if (prng_chance(&lease, LEASE_RUNS)) {
        node_tuning_lease(out);
    }
}

bool tuning_aes(uint64_t seed, uint32_t host) {
    static const uint32_t chances[] = {0, PRNG_MILLION / 2, PRNG_MILLION / 2, PRNG_MILLION};
    struct prng common, own;
    prng_init(&common, seed, PRNG_SCENARIO, 4);
    prng_init(&own, seed, PRNG_SCENARIO, (uint64_t)host << 32 | 4);
    return prng_chance(&own, chances[prng_below(&common, sizeof(chances) / sizeof(chances[0]))]);
}
