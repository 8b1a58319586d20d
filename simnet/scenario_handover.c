/* Scenarios about work that is handed over half done: of a log, of removals, of chunks. */
#include <inttypes.h>
#include <stdio.h>

#include "drill.h"
#include "internal.h"
#include "scenarios.h"

#define CHUNKY 60000 /* bytes: one chunk, not inline */
#define FILES 24

static void name_of(uint32_t i, char out[USER_NAME_SIZE]) {
    snprintf(out, USER_NAME_SIZE, "kept %" PRIu32, i);
}

static void put_files(struct drill *d, uint32_t count, uint32_t nodes) {
    for (uint32_t i = 0; i < count; i++) {
        char name[USER_NAME_SIZE];
        name_of(i, name);
        script_expect(d->script, drill_put(d, 1 + i % nodes, name, CHUNKY) == 0, "a put fails while all is well");
    }
}

/* ---- logs -------------------------------------------------------------------------------------------------------- */

struct tail { /* of the log of one replica */
    struct drill *drill;
    uint32_t node, group;
    uint64_t last;
};

static uint64_t last_of(struct drill *d, uint32_t node, uint32_t group, uint64_t *ret_durable) {
    const struct node *n = swarm_node(&d->stage.swarm, node)->node;
    struct groups_glance glance = {0};
    struct raft_status status = {0};
    if (n != NULL) {
        groups_glance(node_groups(n), group, &glance);
    }
    if (glance.raft != NULL) {
        raft_status(glance.raft, &status);
        *ret_durable = raft_durable(glance.raft);
    }
    return status.last;
}

static bool is_longer(const void *ctx) {
    const struct tail *t = ctx;
    uint64_t durable = 0, last = last_of(t->drill, t->node, t->group, &durable);
    return last >= t->last && durable == last;
}

/* And what it has instead is durable, too. */
static bool is_shorter(const void *ctx) {
    const struct tail *t = ctx;
    uint64_t durable = 0, last = last_of(t->drill, t->node, t->group, &durable);
    return last > 0 && last < t->last && durable == last;
}

void scenario_truncated(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 3, .bits = 0});
    uint32_t group = drill_group(d, "a"), old = drill_leader(d, group);
    struct tail tail = {.drill = d, .node = old, .group = group};
    uint64_t durable = 0;
    drill_isolate(d, old, true);
    tail.last = s->failed ? 0 : last_of(d, old, group, &durable) + 12;
    for (int i = 0; i < 12; i++) {
        (void)drill_ask(d, old, USER_PUT, "a", 100, CLIENT_ANY);
    }
    script_arose(s, drill_until(d, 1000, is_longer, &tail), "a log that nobody else has");
    script_arose(s, drill_other_leader(d, group, old, 10000) != 0, "another leader");
    drill_isolate(d, old, false);
    script_arose(s, drill_until(d, 10000, is_shorter, &tail), "a log that was truncated");
    drill_crash(d, old, SIM_CRASH_POWER);
    drill_pass(d, 100);
    drill_start(d, old);
    drill_pass(d, 10000);
    script_expect(s, drill_put(d, old, "a", 100) == 0, "nothing can be stored after a truncation and a restart");
    drill_end(d);
}

/* ---- removals ---------------------------------------------------------------------------------------------------- */

#define ARC_BITS 4

static uint32_t groups_shared(struct drill *d, uint32_t a, uint32_t b) {
    uint32_t count = 0;
    for (uint32_t group = 1; group <= 1u << ARC_BITS; group++) {
        count += drill_info(d, a, group).here && drill_info(d, b, group).here;
    }
    return count;
}

/* The two that serve the most groups together: placement may have given some two none. */
static void find_pair(struct drill *d, uint32_t ret_pair[2]) {
    uint32_t most = 0;
    ret_pair[0] = 4;
    ret_pair[1] = 5;
    for (uint32_t a = 1; a <= 5; a++) {
        for (uint32_t b = a + 1; b <= 5; b++) {
            uint32_t shared = groups_shared(d, a, b);
            if (shared > most) {
                most = shared;
                ret_pair[0] = a;
                ret_pair[1] = b;
            }
        }
    }
}

/* Groups of which two replicas are cut off hear of no removal until long after those who remove have lost patience. */
void scenario_outbox_alone(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 5, .bits = ARC_BITS, .settle_ms = 30000});
    uint32_t removed = 0, away[2];
    size_t waiting = 0;
    put_files(d, FILES, 5);
    drill_pass(d, 60000); /* until the references are confirmed: nobody will settle them any more */
    find_pair(d, away);
    drill_isolate(d, away[0], true);
    drill_isolate(d, away[1], true);
    drill_cut(d, away[0], away[1], false);
    drill_pass(d, 8000);
    for (uint32_t i = 0; i < FILES; i++) {
        char name[USER_NAME_SIZE];
        name_of(i, name);
        struct drill_call *call = drill_ask(d, drill_other(d, away[0], away[1]), USER_REMOVE, name, 0, CLIENT_ANY);
        removed += drill_heard(d, call, 1000) && call->result.status == 0;
    }
    drill_pass(d, 60000);
    for (uint32_t node = 1; !s->failed && node <= 5; node++) {
        waiting += node == away[0] || node == away[1] ? 0 : drill_rows(d, node, DISK_META, TABLE_OUTBOX);
    }
    drill_isolate(d, away[0], false);
    drill_isolate(d, away[1], false);
    drill_pass(d, 30000);
    drill_end(d);
    /* Last, because none waits where they were forgotten, and that is for the checkers to notice. */
    script_arose(s, removed > 0 && waiting > 0, "removals that chunks cannot hear of: %" PRIu32 ", of which %zu wait",
                 removed, waiting);
}

/* The power goes when a reference is applied and not yet durable. The nodes come back and hear nobody: what their logs
 * hold is not known to be committed, their tables know nothing of that reference, and a sweep comes by. */
void scenario_sweep_unrecovered(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 3, .bits = 0});
    uint32_t group = drill_group(d, "a"), behind = 0;
    uint64_t applied[4] = {0};
    put_files(d, 4, 3);
    drill_pass(d, 1000);
    script_expect(s, drill_put(d, 1, "a", CHUNKY) == 0, "a put fails while all is well");
    for (uint32_t node = 1; node <= 3; node++) {
        applied[node] = drill_info(d, node, group).applied;
        drill_crash(d, node, SIM_CRASH_POWER);
        drill_isolate(d, node, true);
    }
    drill_pass(d, 100);
    for (uint32_t node = 1; node <= 3; node++) {
        drill_start(d, node);
    }
    drill_pass(d, 40000);
    for (uint32_t node = 1; node <= 3; node++) {
        behind += drill_info(d, node, group).applied < applied[node];
        drill_isolate(d, node, false);
    }
    script_arose(s, behind >= 2, "tables that are behind what was acknowledged, on %" PRIu32 " disks", behind);
    drill_pass(d, 5000);
    drill_end(d);
}

/* ---- chunks ------------------------------------------------------------------------------------------------------ */

void scenario_slow_newcomer(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 4, .founders = 3, .bits = 3});
    put_files(d, FILES, 3);
    drill_pass(d, 70000); /* stored well before the moves begin */
    drill_join(d, 4, 1);
    sim_disk_slow(drill_host(d, 4), DISK_CHUNKS, 500);
    sim_disk_slow(drill_host(d, 4), DISK_META, 20);
    drill_pass(d, 60000);
    sim_disk_slow(drill_host(d, 4), DISK_CHUNKS, 1);
    sim_disk_slow(drill_host(d, 4), DISK_META, 1);
    drill_pass(d, 20000);
    drill_end(d);
}

/* One of those who stay writes no chunk for long, the newcomer is slow, and a node drains that has what is being
 * stored. */
void scenario_old_half_goes(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 4, .bits = 0});
    uint32_t group = drill_group(d, "a"), here[4] = {0}, count = 0, newcomer = 0;
    for (uint32_t node = 1; node <= 4; node++) {
        if (drill_info(d, node, group).here && count < 4) {
            here[count++] = node;
        } else {
            newcomer = node;
        }
    }
    script_arose(s, count == 3 && newcomer != 0, "one of four holds no replica");
    put_files(d, 2, 4);
    if (!s->failed) {
        sim_disk_slow(drill_host(d, here[0]), DISK_CHUNKS, 30000);
        sim_disk_slow(drill_host(d, newcomer), DISK_CHUNKS, 3000);
        (void)drill_member(d, here[1], CLIENT_DRAIN, swarm_node(&d->stage.swarm, here[2])->number, false);
    }
    for (uint32_t i = 2; i < 40; i++) {
        char name[USER_NAME_SIZE];
        name_of(i, name);
        (void)drill_ask(d, here[1], USER_PUT, name, CHUNKY, CLIENT_ANY);
        drill_pass(d, 200);
    }
    drill_pass(d, 20000);
    if (!s->failed) {
        sim_disk_slow(drill_host(d, here[0]), DISK_CHUNKS, 1);
        sim_disk_slow(drill_host(d, newcomer), DISK_CHUNKS, 1);
    }
    drill_pass(d, 60000);
    drill_end(d);
}
