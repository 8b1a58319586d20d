/* Every allocation of the core fails in turn: the step says ERR_NOMEM, and nothing leaks or is freed twice. The core
 * is compiled into this program with its allocator counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <malloc.h>

#include <cmocka.h>

static long allocations_left; /* until the failing one */
static long blocks_live;
static size_t bytes_live;

static int allocation_fails(void) {
    return allocations_left-- == 0;
}

static void *counted(void *block) {
    blocks_live += block ? 1 : 0;
    bytes_live += block ? malloc_usable_size(block) : 0;
    return block;
}

static void *counted_malloc(size_t size) {
    return allocation_fails() ? NULL : counted(malloc(size));
}

static void *counted_calloc(size_t count, size_t size) {
    return allocation_fails() ? NULL : counted(calloc(count, size));
}

static void *counted_realloc(void *block, size_t size) {
    if (allocation_fails()) {
        return NULL;
    }
    blocks_live -= block ? 1 : 0;
    bytes_live -= block ? malloc_usable_size(block) : 0;
    return counted(realloc(block, size));
}

static void counted_free(void *block) {
    blocks_live -= block ? 1 : 0;
    bytes_live -= block ? malloc_usable_size(block) : 0;
    free(block);
}

#define malloc(size) counted_malloc(size)
#define calloc(count, size) counted_calloc(count, size)
#define realloc(block, size) counted_realloc(block, size)
#define free(block) counted_free(block)
/* NOLINTBEGIN(bugprone-suspicious-include) */
#include "../../node/raft/chain.c"
#include "../../node/raft/config.c"
#include "../../node/raft/durable.c"
#include "../../node/raft/election.c"
#include "../../node/raft/entry.c"
#include "../../node/raft/follower.c"
#include "../../node/raft/invariant.c"
#include "../../node/raft/life.c"
#include "../../node/raft/log.c"
#include "../../node/raft/nodes.c"
#include "../../node/raft/progress.c"
#include "../../node/raft/reads.c"
#include "../../node/raft/replication.c"
#include "../../node/raft/step.c"
/* NOLINTEND(bugprone-suspicious-include) */

#define SCENARIO_ALLOCATIONS_MAX 1000
#define QUIET_CORE_MAX 1088

/* One replica, with a disk that confirms at once. */
struct subject {
    struct raft *raft;
    struct raft_update update;
    int rc; /* of the first step that failed */
};

static void feed(struct subject *s, struct raft_event event) {
    if (s->rc != 0) {
        return;
    }
    event.now_ms = 1000;
    s->rc = raft_step(s->raft, &event, &s->update);
    if (s->rc == 0) {
        raft_invariant(s->raft);
    }
    if (s->rc == 0 && s->update.persist_seq != 0) {
        feed(s, (struct raft_event){.kind = RAFT_EV_PERSISTED, .seq = s->update.persist_seq});
    }
}

static void born(struct subject *s, uint64_t self, const struct raft_config *config) {
    struct raft_entry *entries[2] = {raft_entry_new(1, 1, RAFT_ENTRY_COMMAND, "a", 1),
                                     raft_entry_new(2, 1, RAFT_ENTRY_COMMAND, "b", 1)};
    struct raft_start start = {.self = self,
                               .timing = {.heartbeat_ms = 10, .election_min_ms = 100, .election_max_ms = 200},
                               .hard = {.term = 1},
                               .base_config = config,
                               .entries = entries,
                               .entry_count = 2};
    s->rc = entries[0] && entries[1] ? raft_new(&start, &s->raft) : ERR_NOMEM;
    for (int i = 0; i < 2; i++) {
        if (entries[i]) {
            raft_entry_unref(entries[i]);
        }
    }
}

/* A lone voter leads, proposes, reads, widens its configuration, compacts. */
static int leading(void) {
    struct raft_config config = {.next_id = 2, .count = 1, .replicas = {{.id = 1, .node = 1, .flags = RAFT_VOTER}}};
    struct subject s = {0};
    born(&s, 1, &config);
    feed(&s, (struct raft_event){.kind = RAFT_EV_CAMPAIGN});
    for (int i = 0; i < 20; i++) {
        struct raft_event propose = {.kind = RAFT_EV_PROPOSE};
        propose.propose.data = "x";
        propose.propose.size = 1;
        feed(&s, propose);
        feed(&s, (struct raft_event){.kind = RAFT_EV_READ, .read = 1});
    }
    config.replicas[config.count++] = (struct raft_replica){.id = 2, .node = 2, .flags = RAFT_VOTER};
    config.replicas[0].flags |= RAFT_VOTER_OLD;
    config.next_id = 3;
    feed(&s, (struct raft_event){.kind = RAFT_EV_CONFIG, .config = &config});
    struct raft_message ack = {.kind = RAFT_APPEND_REPLY, .from = 2, .to = 1, .term = 2, .index = 24};
    feed(&s, (struct raft_event){.kind = RAFT_EV_MESSAGE, .message = &ack});
    feed(&s, (struct raft_event){.kind = RAFT_EV_APPLIED, .index = 20});
    feed(&s, (struct raft_event){.kind = RAFT_EV_COMPACT, .index = 20});
    raft_free(s.raft);
    return s.rc;
}

/* A follower takes entries in place of its own, a configuration among them, and then a snapshot. */
static int following(void) {
    struct raft_config config = {
        .next_id = 3,
        .count = 2,
        .replicas = {{.id = 1, .node = 1, .flags = RAFT_VOTER}, {.id = 2, .node = 2, .flags = RAFT_VOTER}}};
    static const uint8_t encoded[] = {0x82, 3, 0x82, 0x83, 1, 1, 1, 0x83, 2, 2, 4};
    struct subject s = {0};
    born(&s, 2, &config);
    struct raft_entry *sent[2] = {raft_entry_new(2, 5, RAFT_ENTRY_CONFIG, encoded, sizeof encoded),
                                  raft_entry_new(3, 5, RAFT_ENTRY_COMMAND, "c", 1)};
    struct raft_message append = {.kind = RAFT_APPEND, .from = 1, .to = 2, .term = 5, .index = 1, .log_term = 1};
    append.entries = sent;
    append.entry_count = 2;
    if (sent[0] && sent[1]) {
        feed(&s, (struct raft_event){.kind = RAFT_EV_MESSAGE, .message = &append});
    } else {
        s.rc = ERR_NOMEM;
    }
    for (int i = 0; i < 2; i++) {
        if (sent[i]) {
            raft_entry_unref(sent[i]);
        }
    }
    struct raft_event snapshot = {.kind = RAFT_EV_SNAPSHOT};
    snapshot.snapshot.index = 9;
    snapshot.snapshot.term = 5;
    snapshot.snapshot.config = &config;
    snapshot.snapshot.from = 1;
    snapshot.snapshot.leader_term = 5;
    feed(&s, snapshot);
    raft_free(s.raft);
    return s.rc;
}

static void each_allocation_fails_once(int (*scenario)(void)) {
    long n = 0;
    bool failed = true;
    for (; failed && n < SCENARIO_ALLOCATIONS_MAX; n++) {
        allocations_left = n;
        blocks_live = 0;
        int rc = scenario();
        failed = allocations_left < 0;
        assert_int_equal(blocks_live, 0);
        /* Only giving memory back may fail without a word. */
        assert_true(rc == ERR_NOMEM || rc == 0);
        assert_true(failed || rc == 0);
    }
    assert_false(failed);
    assert_true(n > 5);
}

static void leader_survives_every_failing_allocation(void **state) {
    (void)state;
    each_allocation_fails_once(leading);
}

static void follower_survives_every_failing_allocation(void **state) {
    (void)state;
    each_allocation_fails_once(following);
}

/* ---- what a quiet group costs ----------------------------------------------------------------------------------- */

static void hear(struct subject *s, struct raft_message m) {
    m.from_node = (uint32_t)m.from;
    m.to = s->raft->self;
    feed(s, (struct raft_event){.kind = RAFT_EV_MESSAGE, .message = &m});
}

/* Two entries and the no-op, committed, applied and compacted; `bytes` is what all of it has cost until then. */
static void settle(struct subject *s) {
    feed(s, (struct raft_event){.kind = RAFT_EV_APPLIED, .index = 3});
    feed(s, (struct raft_event){.kind = RAFT_EV_COMPACT, .index = 3});
    assert_int_equal(s->rc, 0);
    assert_int_equal(s->raft->log.count, 0);
}

static void lead_quietly(struct subject *s) {
    feed(s, (struct raft_event){.kind = RAFT_EV_CAMPAIGN});
    hear(s, (struct raft_message){.kind = RAFT_PREVOTE_REPLY, .from = 2, .term = 2});
    hear(s, (struct raft_message){.kind = RAFT_VOTE_REPLY, .from = 2, .term = 2});
    for (uint64_t from = 2; from <= 3; from++) {
        hear(s, (struct raft_message){.kind = RAFT_APPEND_REPLY, .from = from, .term = 2, .index = 3});
        hear(s, (struct raft_message){.kind = RAFT_HEARTBEAT_REPLY, .from = from, .term = 2, .index = 3, .commit = 3});
    }
    hear(s, (struct raft_message){.kind = RAFT_HEARTBEAT_REPLY, .from = 2, .term = 2, .index = 3, .commit = 3});
    assert_int_equal(s->raft->role, RAFT_LEADER);
}

static void follow_quietly(struct subject *s) {
    struct raft_entry *noop = raft_entry_new(3, 2, RAFT_ENTRY_NOOP, NULL, 0);
    struct raft_message append = {
        .kind = RAFT_APPEND, .from = 2, .term = 2, .index = 2, .log_term = 1, .entry_count = 1, .entries = &noop};
    hear(s, append);
    raft_entry_unref(noop);
    hear(s, (struct raft_message){.kind = RAFT_HEARTBEAT, .from = 2, .term = 2, .commit = 3});
}

static size_t quiet_bytes(void (*become)(struct subject *s)) {
    struct raft_config config = {.next_id = 4,
                                 .count = 3,
                                 .replicas = {{.id = 1, .node = 1, .flags = RAFT_VOTER},
                                              {.id = 2, .node = 2, .flags = RAFT_VOTER},
                                              {.id = 3, .node = 3, .flags = RAFT_VOTER}}};
    struct raft_nodes *nodes = NULL; /* shared by all groups of a node: not part of what one costs */
    struct subject s = {0};
    allocations_left = -1;
    assert_int_equal(raft_nodes_new(&nodes), 0);
    CHECK(nodes != NULL);
    for (uint32_t node = 1; node <= 3; node++) {
        assert_int_equal(raft_nodes_set(nodes, node, true, 0), 0);
    }
    size_t before = bytes_live;
    born(&s, 1, &config);
    CHECK(s.raft != NULL);
    s.raft->nodes = nodes;
    become(&s);
    settle(&s);
    assert_true(raft_wake_ms(s.raft) == UINT64_MAX);
    size_t bytes = bytes_live - before;
    raft_free(s.raft);
    assert_int_equal(bytes_live, before);
    raft_nodes_free(nodes);
    return bytes;
}

/* With what else a node holds for each of its groups (node/groups/internal.h), within 2 KiB. */
static void a_quiet_group_is_small(void **state) {
    (void)state;
    size_t leader = quiet_bytes(lead_quietly);
    size_t follower = quiet_bytes(follow_quietly);
    print_message("a quiet core takes %zu bytes when it leads, %zu when it follows\n", leader, follower);
    assert_true(leader <= QUIET_CORE_MAX);
    assert_true(follower <= QUIET_CORE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_group_is_small),
        cmocka_unit_test(leader_survives_every_failing_allocation),
        cmocka_unit_test(follower_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
