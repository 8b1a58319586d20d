/* Scenarios about replicas, configurations and commands, with whole nodes: who serves a group, and what is done once.
 */
#include <inttypes.h>
#include <stdio.h>

#include "drill.h"
#include "errors.h"
#include "scenarios.h"

#define CHUNKY 300000 /* bytes: in chunks, not inline */
#define SOON_MS 10000
#define TERMS_OF_MOVES 5 /* leaderships that moving a group may take: leaders that go hand over */
#define HOUR_MS ((int64_t)3600 * 1000)

static const struct drill_options three = {.nodes = 3, .bits = 2};

static uint32_t group_count(const struct drill *d) {
    return 1 + (1u << d->stage.swarm.bits);
}

/* ---- I3: only the log says who the replicas are ------------------------------------------------------------------ */

/* A newcomer knows by the table of members which arcs it should serve, and is cut off before their groups have taken it
 * in: it must not serve them, and the others must. */
struct newcomer {
    struct drill *drill;
    uint32_t node;
    bool placed[1 + 16]; /* by group: it should serve, and does not */
};

static uint32_t note_placed(struct newcomer *n) {
    const struct swarm_node *node = swarm_node(&n->drill->stage.swarm, n->node);
    uint32_t count = 0;
    for (uint32_t group = 1; node->ready && group < group_count(n->drill); group++) {
        const uint32_t *nodes;
        unsigned wanted = groups_placed(node_groups(node->node), group, &nodes);
        for (unsigned i = 0; i < wanted; i++) {
            n->placed[group] = n->placed[group] || nodes[i] == node->number;
        }
        n->placed[group] = n->placed[group] && !drill_info(n->drill, n->node, group).here;
        count += n->placed[group];
    }
    return count;
}

static bool newcomer_ready(const void *ctx) {
    const struct newcomer *n = ctx;
    return swarm_node(&n->drill->stage.swarm, n->node)->ready;
}

void scenario_placement(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 5, .founders = 4, .bits = 4});
    struct newcomer newcomer = {.drill = d, .node = 5};
    script_expect(s, drill_put(d, 1, "a", CHUNKY) == 0, "a put fails while all is well");
    uint32_t root = drill_leader(d, 0); /* admits it */
    for (uint32_t node = 1; node <= 4; node++) {
        drill_cut(d, node, 5, node != root);
    }
    drill_join(d, 5, root);
    script_arose(s, drill_until(d, 30000, newcomer_ready, &newcomer), "a newcomer");
    drill_isolate(d, 5, true);
    uint32_t count = note_placed(&newcomer);
    script_arose(s, count > 0, "a newcomer should serve arcs that do not know it");
    struct drill_call *call = drill_ask(d, 5, USER_PUT, "b", 100, CLIENT_ANY);
    for (int i = 0; i < 10; i++) {
        script_expect(s, drill_put(d, 1 + (uint32_t)i % 4, "a", 100) == 0, "arcs wait for a newcomer that is cut off");
        drill_pass(d, 2000);
    }
    for (uint32_t group = 1; group < group_count(d); group++) {
        bool here = drill_info(d, 5, group).here;
        script_expect(s, !newcomer.placed[group] || !here, "a newcomer takes group %" PRIu32 " by itself", group);
    }
    script_expect(s, call == NULL || !call->done || call->result.status != 0, "a newcomer stores alone");
    drill_isolate(d, 5, false);
    drill_end(d);
}

/* ---- I4: a removed replica ----------------------------------------------------------------------------------------
 */

/* A node is out of its groups' configurations, and does not know: it was cut off. It comes back with its old replicas,
 * restarts with them, and they must neither win nor disturb anything. */
void scenario_removed_replica(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 5, .bits = 3, .out_after_ms = 10000});
    uint32_t stale = 0, old = 5;
    script_expect(s, drill_put(d, 1, "a", CHUNKY) == 0, "a put fails while all is well");
    drill_isolate(d, old, true);
    drill_pass(d, 60000);
    uint64_t terms[1 + 8] = {0};
    for (uint32_t group = 1; group < group_count(d); group++) {
        struct groups_info leading = drill_info(d, drill_leader(d, group), group), mine = drill_info(d, old, group);
        bool member = s->failed || raft_config_find(&leading.committed, mine.replica) != NULL;
        stale += mine.here && !member;
        terms[group] = drill_term(d, group);
    }
    script_arose(s, stale > 0, "replicas that were removed and do not know");
    drill_crash(d, old, SIM_CRASH_POWER);
    drill_pass(d, 1000);
    drill_start(d, old);
    drill_pass(d, 10000); /* cut off still: they campaign as best they can */
    for (uint32_t group = 1; group < group_count(d); group++) {
        script_expect(s, drill_info(d, old, group).term <= terms[group],
                      "a removed replica of group %" PRIu32 " raises its term alone", group);
    }
    drill_isolate(d, old, false);
    for (int i = 0; i < 20; i++) {
        drill_pass(d, 500);
        script_expect(s, drill_put(d, 1 + (uint32_t)i % 4, "a", 100) == 0, "a removed replica holds up its group");
    }
    for (uint32_t group = 1; group < group_count(d); group++) {
        script_expect(s, drill_term(d, group) <= terms[group] + TERMS_OF_MOVES,
                      "a removed replica costs group %" PRIu32 " elections: term %" PRIu64 " after %" PRIu64, group,
                      drill_term(d, group), terms[group]);
    }
    drill_end(d);
}

/* ---- I5: a command is done once ---------------------------------------------------------------------------------- */

struct progress {
    struct drill *drill;
    uint32_t node, group;
    uint64_t applied;
};

static bool has_applied(const void *ctx) {
    const struct progress *p = ctx;
    return drill_info(p->drill, p->node, p->group).applied > p->applied;
}

/* The leader applies a command, and its answer is lost: the one who asked asks again, and must hear the first answer.
 */
static void lost_answer(struct script *s, bool crash) {
    struct drill *d = drill_new(s, &three);
    uint32_t again = 0;
    for (int i = 0; i < 6; i++) {
        char name[USER_NAME_SIZE];
        snprintf(name, sizeof(name), "once %d", i);
        uint32_t group = drill_group(d, name), leader = drill_leader(d, group), asked = drill_other(d, leader, 0);
        const struct progress p = {d, leader, group, drill_info(d, leader, group).applied};
        struct drill_call *call = drill_ask(d, asked, USER_PUT, name, 100, CLIENT_ABSENT);
        script_arose(s, drill_until(d, 5000, has_applied, &p), "the leader applies the command");
        again += call != NULL && !call->done;
        if (crash) {
            drill_crash(d, leader, SIM_CRASH_POWER);
        } else {
            drill_cut(d, leader, asked, true);
        }
        drill_pass(d, 12000);
        drill_start(d, leader);
        drill_cut(d, leader, asked, false);
        script_expect(s, drill_heard(d, call, 90000), "a request is never answered");
        script_expect(s, call == NULL || call->result.status == 0,
                      "a put of a name that was absent hears %s: it was done twice, or its first answer is lost",
                      call == NULL ? "" : err_name(call->result.status));
        drill_pass(d, 3000);
    }
    script_arose(s, again >= 3, "commands were applied and their answers lost, %" PRIu32 " times", again);
    drill_end(d);
}

void scenario_lost_answer(struct script *s) {
    lost_answer(s, false);
}

void scenario_lost_leader(struct script *s) {
    lost_answer(s, true);
}

/* ---- I7: what was given up never commits ------------------------------------------------------------------------- */

struct refs {
    struct drill *drill;
    bool some; /* wanted: some on any disk, or none */
};

static bool refs_are(const void *ctx) {
    const struct refs *r = ctx;
    size_t rows = 0;
    for (uint32_t node = 1; node <= r->drill->stage.swarm.count && rows == 0; node++) {
        rows += drill_rows(r->drill, node, DISK_META, TABLE_REFS);
    }
    return (rows > 0) == r->some;
}

/* Whoever serves a put does not reach the leader of its name, only those of its chunks: the references stay unsettled
 * for too long, others have the version recorded as given up, and then the leader of the name can be reached. */
void scenario_settled(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 5, .bits = 4, .settle_ms = 3000});
    const struct refs some = {d, true}, none = {d, false};
    uint32_t arose = 0;
    drill_isolate(d, 1, true); /* it leads everything, as it was the first */
    drill_pass(d, 8000);
    drill_isolate(d, 1, false);
    drill_pass(d, 8000);
    for (uint32_t i = 0; i < 10; i++) {
        char name[USER_NAME_SIZE];
        snprintf(name, sizeof(name), "given up %" PRIu32, i);
        uint32_t leader = drill_leader(d, drill_group(d, name));
        uint32_t asked = drill_other(d, leader, 0), third = drill_other(d, leader, asked);
        drill_cut(d, asked, leader, true);
        struct drill_call *call = drill_ask(d, asked, USER_PUT, name, CHUNKY, CLIENT_ANY);
        bool settled = drill_until(d, 4000, refs_are, &some) && drill_until(d, 20000, refs_are, &none) && !call->done;
        script_tell(s, settled ? "the references were settled" : "there were no references, or they stay");
        drill_cut(d, asked, leader, false);
        script_expect(s, drill_heard(d, call, 90000), "a put is never answered");
        script_expect(s, !settled || call->result.status != 0,
                      "a put succeeds after its references were settled as given up");
        arose += settled;
        (void)drill_ask(d, third, USER_REMOVE, name, 0, CLIENT_ANY);
        drill_pass(d, 20000);
    }
    script_arose(s, arose > 0, "references are settled while their put is under way");
    drill_end(d);
}

/* ---- restarts and clocks ----------------------------------------------------------------------------------------- */

void scenario_rolling_restart(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 5, .bits = 3});
    drill_work(d);
    for (uint32_t i = 0; i < 10; i++) {
        uint32_t node = 1 + i % 5;
        drill_crash(d, node, SIM_CRASH_PROCESS);
        drill_pass(d, 300);
        drill_start(d, node);
        struct drill_call *call = drill_ask(d, 1 + (i + 2) % 5, USER_PUT, "rolling", CHUNKY, CLIENT_ANY);
        script_expect(s, drill_heard(d, call, SOON_MS) && call->result.status == 0,
                      "nothing can be stored while one node restarts");
        drill_pass(d, 4000);
    }
    script_arose(s, d->stage.history.answered > 20, "users were at work");
    drill_end(d);
}

void scenario_clock_jump(struct script *s) {
    static const int64_t jumps[] = {HOUR_MS, -HOUR_MS, 24 * HOUR_MS, -25 * HOUR_MS, 400 * 24 * HOUR_MS, -HOUR_MS};
    struct drill *d = drill_new(s, &three);
    uint32_t group = drill_group(d, "a");
    drill_work(d);
    drill_pass(d, 15000); /* leadership has gone where the placement wants it */
    uint64_t term = drill_term(d, group);
    for (uint32_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
        uint32_t node = i % 2 == 0 ? drill_leader(d, group) : drill_other(d, drill_leader(d, group), 0);
        if (!s->failed) {
            script_tell(s, "the clock of node %" PRIu32 " jumps by %" PRId64 " s", node, jumps[i] / 1000);
            sim_host_step_wall(drill_host(d, node), jumps[i]);
        }
        for (uint32_t asked = 1; asked <= 3; asked++) {
            struct drill_call *call = drill_ask(d, asked, USER_PUT, "a", asked == 1 ? CHUNKY : 100, CLIENT_ANY);
            script_expect(s, drill_heard(d, call, SOON_MS) && call->result.status == 0,
                          "a put at node %" PRIu32 " fails after a clock jumped: %s", asked,
                          call != NULL && call->done ? call->result.message : "no answer");
        }
        drill_pass(d, 5000);
    }
    script_expect(s, drill_term(d, group) == term, "a wall clock decides elections");
    drill_end(d);
}

/* ---- I4: what was sent to a replica before it was removed ---------------------------------------------------------
 */

struct removed {
    uint32_t node;
    uint64_t replica;
};

/* The replica of `group` that `was` there at first and is not in `info`'s committed configuration any more. */
static struct removed removed_from(struct drill *d, uint32_t group, const struct raft_config *was) {
    uint32_t leader = stage_leader(&d->stage, group);
    const struct groups_info info = drill_info(d, leader, group);
    for (uint32_t i = 0; i < was->count && leader > 1 && info.committed.count > 0; i++) {
        for (uint32_t node = 2; node <= 4; node++) {
            bool it = swarm_node(&d->stage.swarm, node)->number == was->replicas[i].node;
            if (it && raft_config_find(&info.committed, was->replicas[i].id) == NULL &&
                !drill_info(d, node, group).here) {
                return (struct removed){node, was->replicas[i].id};
            }
        }
    }
    return (struct removed){0};
}

/* The first leader is cut off; what it sent waits in its connections. Meanwhile its groups move, and replicas to which
 * it sent are removed. Then everything that it sent arrives. */
void scenario_old_messages(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 5, .founders = 4, .bits = 4});
    struct raft_config was[1 + 16] = {0};
    struct removed removed[1 + 16] = {0};
    uint32_t count = 0;
    for (uint32_t group = 1; group < group_count(d); group++) {
        struct groups_info info = drill_info(d, 1, group);
        if (info.leading) {
            was[group] = info.config;
        }
    }
    drill_work(d);
    drill_pass(d, 500);
    drill_isolate(d, 1, true);
    drill_pass(d, 3000);
    drill_join(d, 5, 2);
    for (int i = 0; i < 60 && count < 2; i++) {
        drill_pass(d, 100);
        count = 0;
        for (uint32_t group = 1; group < group_count(d) && !s->failed; group++) {
            removed[group] = removed_from(d, group, &was[group]);
            count += removed[group].node != 0;
        }
    }
    script_arose(s, count > 0, "replicas are removed while messages for them wait");
    drill_isolate(d, 1, false);
    for (int i = 0; i < 100; i++) {
        drill_pass(d, 100);
        for (uint32_t group = 1; group < group_count(d); group++) {
            struct groups_info info = drill_info(d, removed[group].node, group);
            script_expect(s, !info.here || info.replica != removed[group].replica,
                          "replica %" PRIu64 " of group %" PRIu32 " lives again", info.replica, group);
        }
    }
    drill_end(d);
}

struct created { /* a replica of node 5 */
    struct drill *drill;
    uint32_t group;
    uint64_t replica;
};

/* The first leader has committed that a newcomer learns a group; it has not told it yet. */
static bool is_to_create(const void *ctx) {
    struct created *c = *(struct created *const *)ctx;
    for (uint32_t group = 1; group < group_count(c->drill); group++) {
        const struct groups_info info = drill_info(c->drill, 1, group);
        for (uint32_t i = 0; info.leading && i < info.committed.count; i++) {
            const struct raft_replica *row = &info.committed.replicas[i];
            if ((row->flags & RAFT_LEARNER) != 0) {
                c->group = group;
                c->replica = row->id;
                return true;
            }
        }
    }
    return false;
}

static bool is_created(const void *ctx) {
    const struct created *c = ctx;
    const struct groups_info info = drill_info(c->drill, 5, c->group);
    return info.here && info.replica == c->replica;
}

static bool is_removed(const void *ctx) {
    return !is_created(ctx);
}

/* The leader tells a newcomer to create a replica, and is not heard any more. Others take over and create it; the
 * newcomer drains, and it is removed. Then the newcomer hears that it shall create it. */
void scenario_old_creation(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 5, .founders = 4, .bits = 4});
    struct created created = {.drill = d}, *it = &created;
    drill_join(d, 5, 1);
    script_arose(s, drill_until(d, 30000, is_to_create, &it), "a leader that wants a replica created");
    drill_block(d, 1, 5, true);
    drill_pass(d, 60);
    drill_isolate(d, 1, true);
    script_arose(s, drill_until(d, 4500, is_created, &created), "another leader creates the replica");
    uint32_t number = s->failed ? 0 : swarm_node(&d->stage.swarm, 5)->number;
    script_arose(s, drill_member(d, 2, CLIENT_DRAIN, number, false) == 0, "the newcomer drains");
    script_arose(s, drill_until(d, 1000, is_removed, &created), "the replica is removed");
    drill_isolate(d, 1, false);
    for (int i = 0; i < 20; i++) {
        drill_pass(d, 50);
        script_expect(s, !is_created(&created), "a removed replica is created anew by an old message");
    }
    (void)drill_member(d, 2, CLIENT_DRAIN_STOP, number, false);
    drill_end(d);
}

/* ---- groups with nothing to do ----------------------------------------------------------------------------------- */

/* Nobody asks for anything, so nobody says anything for the groups; and their leader's process is back before anyone
 * misses its node. It leads nothing any more: the groups must find that out by themselves. */
void scenario_blink(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 3, .bits = 4});
    uint32_t led = 0;
    drill_pass(d, 20000);
    for (uint32_t i = 0; i < 6; i++) {
        uint32_t node = drill_leader(d, 1 + i);
        for (uint32_t group = 1; group < group_count(d); group++) {
            led += drill_info(d, node, group).leading;
        }
        drill_crash(d, node, i % 2 == 0 ? SIM_CRASH_PROCESS : SIM_CRASH_POWER);
        drill_pass(d, 1 + 60 * (uint64_t)i);
        drill_start(d, node);
        drill_pass(d, SOON_MS);
        for (uint32_t group = 0; group < group_count(d); group++) {
            uint32_t leader = s->failed ? 1 : stage_leader(&d->stage, group);
            script_expect(s, leader != 0, "group %" PRIu32 " waits for a leader that forgot it", group);
        }
        script_expect(s, drill_put(d, 1 + i % 3, "a", 100) == 0, "a put fails");
        drill_pass(d, 10000);
    }
    script_arose(s, led >= 16, "leaders of quiet groups restart");
    drill_end(d);
}
