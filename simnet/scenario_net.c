/* Scenarios about who hears whom, with whole nodes. */
#include <inttypes.h>
#include <stdio.h>

#include "drill.h"
#include "errors.h"
#include "scenarios.h"

#define SOON_MS 10000
#define GROUPS_MAX 17

static const struct drill_options three = {.nodes = 3, .bits = 0};
static const struct drill_options five = {.nodes = 5, .bits = 3};

struct terms {
    uint64_t of[GROUPS_MAX];
    uint32_t leader[GROUPS_MAX];
};

static uint32_t group_count(const struct drill *d) {
    return 1 + (1u << d->stage.swarm.bits);
}

static void note_terms(struct drill *d, struct terms *out) {
    for (uint32_t group = 0; group < group_count(d) && group < GROUPS_MAX; group++) {
        out->leader[group] = drill_leader(d, group);
        out->of[group] = drill_term(d, group);
    }
}

/* ---- one-sided silence ------------------------------------------------------------------------------------------- */

static void one_sided(struct script *s, bool hears, const char *what) {
    struct drill *d = drill_new(s, &three);
    uint32_t group = drill_group(d, "a"), leader = drill_leader(d, group), other = drill_other(d, leader, 0);
    script_expect(s, drill_put(d, other, "a", 100) == 0, "a put fails while all is well");
    for (uint32_t node = 1; node <= 3; node++) {
        drill_block(d, hears ? leader : node, hears ? node : leader, true);
    }
    uint32_t next = drill_other_leader(d, group, leader, SOON_MS);
    script_expect(s, next != 0, "a leader that %s keeps its leadership", what);
    drill_pass(d, 5000);
    script_expect(s, !drill_info(d, leader, group).leading, "a leader that %s still takes itself for it", what);
    struct drill_call *call = drill_ask(d, other, USER_PUT, "a", 100, CLIENT_ANY);
    script_expect(s, drill_heard(d, call, SOON_MS) && call->result.status == 0,
                  "nothing can be stored while one node %s", what);
    drill_pass(d, 20000);
    uint64_t term = drill_term(d, group);
    for (uint32_t node = 1; node <= 3; node++) {
        drill_block(d, hears ? leader : node, hears ? node : leader, false);
    }
    drill_pass(d, 30000);
    script_expect(s, drill_term(d, group) <= term + 1, "its return costs elections");
    drill_end(d);
}

void scenario_deaf_leader(struct script *s) {
    one_sided(s, false, "hears nobody");
}

void scenario_mute_leader(struct script *s) {
    one_sided(s, true, "is heard by nobody");
}

/* ---- a bridge ---------------------------------------------------------------------------------------------------- */

/* The leader and one follower do not hear each other; the third hears both. The follower must not push the leader out
 * again and again. */
void scenario_bridge_three(struct script *s) {
    struct drill *d = drill_new(s, &three);
    uint32_t group = drill_group(d, "a"), leader = drill_leader(d, group);
    uint32_t bridge = drill_other(d, leader, 0), apart = drill_other(d, leader, bridge);
    drill_cut(d, leader, apart, true);
    drill_pass(d, 30000);
    uint64_t term = drill_term(d, group);
    script_arose(s, s->failed || drill_info(d, apart, group).here, "a follower without its leader");
    uint32_t kept = drill_other_leader(d, group, 0, SOON_MS);
    script_tell(s, "node %" PRIu32 " leads in term %" PRIu64, kept, term);
    script_expect(s, kept != 0, "nobody leads, although the bridge hears everybody");
    for (int i = 0; i < 10; i++) {
        script_expect(s, drill_put(d, bridge, "a", 100) == 0, "a put at the bridge fails");
        drill_pass(d, 3000);
    }
    script_expect(s, drill_term(d, group) == term,
                  "a follower that hears no leader unseats it: term %" PRIu64 " after %" PRIu64, drill_term(d, group),
                  term);
    drill_end(d);
}

void scenario_bridge_five(struct script *s) {
    struct drill *d = drill_new(s, &five);
    struct terms before;
    drill_work(d);
    for (uint32_t a = 1; a <= 2; a++) {
        for (uint32_t b = 4; b <= 5; b++) {
            drill_cut(d, a, b, true);
        }
    }
    drill_pass(d, 30000);
    note_terms(d, &before);
    uint64_t answered = d->stage.history.answered;
    drill_pass(d, 60000);
    script_arose(s, d->stage.history.answered > answered, "the bridge keeps the swarm at work");
    uint64_t elections = 0;
    for (uint32_t group = 0; group < group_count(d); group++) {
        elections += drill_term(d, group) - before.of[group];
    }
    script_expect(s, elections <= 3 * group_count(d), "%" PRIu64 " elections in a minute with a bridge", elections);
    drill_end(d);
}

/* ---- links that come and go -------------------------------------------------------------------------------------- */

void scenario_flapping(struct script *s) {
    struct drill *d = drill_new(s, &three);
    uint32_t group = drill_group(d, "a"), leader = drill_leader(d, group), flappy = drill_other(d, leader, 0);
    uint32_t still = drill_other(d, leader, flappy), heard = 0;
    script_expect(s, drill_put(d, still, "a", 100) == 0, "a put fails while all is well");
    uint64_t term = drill_term(d, group);
    for (int i = 0; i < 40; i++) {
        struct drill_call *call = drill_ask(d, still, USER_PUT, "a", 100, CLIENT_ANY);
        drill_isolate(d, flappy, i % 2 == 0);
        drill_pass(d, 700 + 100 * (uint64_t)(i % 9));
        heard += call != NULL && call->done && call->result.status == 0;
    }
    script_expect(s, heard >= 38, "a flapping link holds up %" PRIu32 " of 40 puts that need it not", 40 - heard);
    script_expect(s, drill_term(d, group) <= term + 3, "a flapping link costs %" PRIu64 " elections",
                  drill_term(d, group) - term);
    drill_end(d);
}

/* Another node than the leader of anything is alone for an hour: it must neither run away with terms, nor disturb when
 * it is back, nor answer anything meanwhile. */
void scenario_minority_hour(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 5, .bits = 2});
    struct terms before;
    script_expect(s, drill_put(d, 1, "a", 100) == 0, "a put fails while all is well");
    drill_isolate(d, 5, true);
    drill_pass(d, 60000);
    script_expect(s, drill_put(d, 1, "a", 200) == 0, "a majority cannot store anything");
    struct drill_call *call = drill_ask(d, 5, USER_GET, "a", 0, CLIENT_ANY);
    script_expect(s, drill_heard(d, call, 90000) && call->result.status != 0, "an island answers a read");
    for (int i = 0; i < 58; i++) {
        drill_pass(d, 60000);
        if (i % 10 == 0) {
            script_expect(s, drill_put(d, 1 + (uint32_t)(i / 10) % 4, "a", 100) == 0,
                          "a majority cannot store anything");
        }
    }
    note_terms(d, &before);
    for (uint32_t group = 0; group < group_count(d); group++) {
        struct groups_info info = drill_info(d, 5, group);
        script_expect(s, s->failed || !info.leading, "an island leads group %" PRIu32, group);
        script_expect(s, s->failed || info.term <= before.of[group],
                      "an island runs away with terms: %" PRIu64 " of group %" PRIu32, info.term, group);
    }
    drill_isolate(d, 5, false);
    drill_pass(d, 60000);
    for (uint32_t group = 0; group < group_count(d); group++) {
        script_expect(s, drill_term(d, group) <= before.of[group] + 2, "the return of an island costs elections");
    }
    drill_end(d);
}

/* ---- members in mid-partition ------------------------------------------------------------------------------------ */

void scenario_join_in_partition(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 5, .founders = 3, .bits = 3});
    drill_work(d);
    drill_isolate(d, 3, true);
    drill_pass(d, 5000);
    drill_join(d, 4, 1);
    drill_block(d, 4, 3, true);
    drill_block(d, 3, 4, true);
    drill_pass(d, 15000);
    script_arose(s, s->failed || swarm_node(&d->stage.swarm, 4)->ready, "a node joins while another is cut off");
    drill_isolate(d, 2, true);
    drill_isolate(d, 3, false);
    drill_cut(d, 2, 3, true);
    drill_join(d, 5, 4);
    drill_pass(d, 30000);
    drill_end(d);
}

void scenario_removal_in_partition(struct script *s) {
    struct drill *d = drill_new(s, &five);
    drill_work(d);
    drill_pass(d, 5000);
    uint32_t gone = drill_leader(d, 1), asked = drill_other(d, gone, 0);
    uint32_t number = s->failed ? 0 : swarm_node(&d->stage.swarm, gone)->number;
    drill_isolate(d, gone, true);
    drill_pass(d, 3000);
    script_expect(s, drill_member(d, asked, CLIENT_DISMISS, number, true) == 0,
                  "a member that is cut off cannot be dismissed");
    drill_pass(d, 20000);
    script_arose(s, s->failed || (sim_host_up(drill_host(d, gone)) && !swarm_node(&d->stage.swarm, gone)->left),
                 "the dismissed node does not know");
    drill_isolate(d, gone, false);
    drill_pass(d, 60000);
    script_expect(s, s->failed || swarm_node(&d->stage.swarm, gone)->left, "a dismissed node goes on");
    drill_end(d);
}

static bool has_left(const void *ctx) {
    return ((const struct swarm_node *)ctx)->left;
}

/* A member drains while another, which should take over some of its arcs, comes and goes. */
void scenario_drain_in_partition(struct script *s) {
    struct drill *d = drill_new(s, &five);
    drill_work(d);
    for (int i = 0; i < 4; i++) {
        char name[USER_NAME_SIZE];
        snprintf(name, sizeof(name), "drained %d", i);
        script_expect(s, drill_put(d, 5, name, 300000) == 0, "a put fails while all is well");
    }
    const struct swarm_node *leaving = swarm_node(&d->stage.swarm, 5);
    script_expect(s, drill_member(d, 1, CLIENT_DRAIN, leaving->number, false) == 0, "a member may not drain");
    for (int i = 0; i < 3; i++) {
        drill_isolate(d, 4, true);
        drill_pass(d, 4000);
        script_arose(s, i > 0 || !leaving->left, "a member drains while another is cut off");
        drill_isolate(d, 4, false);
        drill_pass(d, 3000);
    }
    script_expect(s, drill_until(d, 60000, has_left, leaving), "a member that drains never gets away");
    for (int i = 0; i < 4; i++) {
        char name[USER_NAME_SIZE];
        snprintf(name, sizeof(name), "drained %d", i);
        script_expect(s, drill_get(d, 1 + (uint32_t)i, name) == 0,
                      "what was stored is gone with a member that drained");
    }
    drill_end(d);
}
