/* Under load, a follower that is slower than the others: it is waited for, not left behind until only a snapshot of all
 * the state can help it. */
#include "groups.h"
#include "swarm_use.h"

#define NODES 3
#define SLOW 3
#define SLOWER 60        /* times, its log's disk */
#define VALUE_SIZE 32000 /* inline */
#define LOG_MAX (4u << 20)
#define WHOLE_US (120 * (uint64_t)SIM_SECOND)

struct seen {
    uint64_t log_bytes_max; /* of one group, at its leader */
    bool snapshot;          /* somebody was sent one */
};

static void look(struct swarm *w, struct seen *seen) {
    for (uint32_t host = 1; host <= NODES; host++) {
        const struct groups *g = node_groups(swarm_node(w, host)->node);
        for (uint32_t group = 0; group < groups_count(g); group++) {
            struct groups_glance glance;
            struct raft_status st;
            groups_glance(g, group, &glance);
            if (!glance.raft) {
                continue;
            }
            raft_status(glance.raft, &st);
            bool leads = st.role == RAFT_LEADER;
            seen->log_bytes_max = leads && st.log_bytes > seen->log_bytes_max ? st.log_bytes : seen->log_bytes_max;
            for (uint32_t i = 0; i < st.progress_count; i++) {
                seen->snapshot = seen->snapshot || st.progress[i].snapshot;
            }
        }
    }
}

static bool is_busy(const struct load *l) {
    bool busy = false;
    for (uint32_t i = 0; i < l->putters; i++) {
        busy = busy || l->list[i].busy;
    }
    return busy;
}

static void a_slow_follower_is_waited_for(void **state) {
    struct swarm w;
    struct seen seen = {0};
    struct load load = {.swarm = &w, .putters = PUTTERS_MAX, .files_each = FILES_EACH_MAX, .size = VALUE_SIZE};
    const struct swarm_options options = {
        .seed = 1, .nodes = NODES, .bits = 1, .replicas = NODES, .capacity = CAPACITY};
    (void)state;
    found(&w, &options);
    expect_whole_within(&w, WHOLE_US);
    sim_disk_slow(sim_host(w.sim, SLOW), DISK_LOG, SLOWER);
    load_start(&load, 1, 2);
    while (is_busy(&load)) {
        run_ms(&w, 2);
        look(&w, &seen);
    }
    printf("a leader retained up to %llu bytes\n", (unsigned long long)seen.log_bytes_max);
    assert_true(seen.log_bytes_max > LOG_MAX / 2); /* the situation arose */
    assert_false(seen.snapshot);
    sim_disk_slow(sim_host(w.sim, SLOW), DISK_LOG, 1);
    expect_whole_within(&w, WHOLE_US);
    expect_all_stored(&load, SLOW);
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_follower_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
