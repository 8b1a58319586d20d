/* Scenarios about what is on which disk at which moment, with whole nodes. */
#include <inttypes.h>
#include <stdio.h>

#include "drill.h"
#include "errors.h"
#include "scenarios.h"

#define CHUNKY 300000 /* bytes: in chunks, not inline */
#define SOON_MS 10000

static const struct drill_options three = {.nodes = 3, .bits = 2};

/* ---- hung disks -------------------------------------------------------------------------------------------------- */

void scenario_hung_disk(struct script *s) {
    struct drill *d = drill_new(s, &three);
    uint32_t group = drill_group(d, "a");
    uint32_t leader = drill_leader(d, group);
    uint32_t other = drill_other(d, leader, 0);
    script_expect(s, drill_put(d, other, "a", 100) == 0, "a put fails while all is well");
    drill_hang(d, leader, 60000);
    struct drill_call *call = drill_ask(d, other, USER_PUT, "a", 100, CLIENT_ANY);
    uint32_t next = drill_other_leader(d, group, leader, SOON_MS);
    script_expect(s, next != 0, "a leader with a hung disk keeps its leadership");
    script_arose(s, s->failed || sim_host_up(drill_host(d, leader)), "the leader lives, its disk does not");
    script_expect(s, drill_heard(d, call, SOON_MS), "nothing can be stored while a leader's disk hangs");
    script_expect(s, call == NULL || call->result.status == 0, "a put fails while one disk hangs");
    script_expect(s, drill_get(d, other, "a") == 0, "a get fails while one disk hangs");
    drill_end(d);
}

/* The log goes on: what is put at the leader is committed, and nobody hears what became of a removal. */
void scenario_hung_state(struct script *s) {
    struct drill *d = drill_new(s, &three);
    uint32_t group = drill_group(d, "a");
    script_expect(s, drill_put(d, 1, "a", 100) == 0, "a put fails while all is well");
    drill_pass(d, 10000); /* until leadership is where it is wanted */
    uint32_t leader = drill_leader(d, group);
    uint32_t other = drill_other(d, leader, 0);
    drill_hang_one(d, leader, DISK_META, 60000);
    struct drill_call *call = drill_ask(d, other, USER_REMOVE, "a", 0, CLIENT_ANY);
    uint32_t next = drill_other_leader(d, group, leader, 2 * SOON_MS);
    script_expect(s, next != 0, "a leader whose state hangs keeps its leadership");
    script_arose(s, s->failed || sim_host_up(drill_host(d, leader)), "the leader lives, its state does not");
    script_expect(s, drill_heard(d, call, SOON_MS), "nothing can be removed while a leader's state hangs");
    script_expect(s, call == NULL || call->result.status == 0, "a removal fails while one state hangs");
    script_expect(s, drill_put(d, other, "a", 100) == 0, "a put fails while one state hangs");
    script_expect(s, drill_get(d, other, "a") == 0, "a get fails while one state hangs");
    drill_end(d);
}

/* A name of that group. */
static void find_name(struct drill *d, uint32_t group, char *out, size_t out_size) {
    for (int i = 0; i < 1000; i++) {
        snprintf(out, out_size, "turn %d", i);
        if (drill_group(d, out) == group) {
            return;
        }
    }
}

/* Something is asked of each group: a disk that nobody needs may hang unnoticed. */
void scenario_hung_disks_in_turn(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 5, .bits = 2});
    uint32_t deposed = 0;
    drill_work(d);
    for (uint32_t group = 1; group <= 4; group++) {
        char name[USER_NAME_SIZE];
        uint32_t leader = drill_leader(d, group);
        find_name(d, group, name, sizeof(name));
        drill_hang(d, leader, 12000);
        struct drill_call *call = drill_ask(d, drill_other(d, leader, 0), USER_PUT, name, 100, CLIENT_ANY);
        uint32_t next = drill_other_leader(d, group, leader, SOON_MS);
        script_expect(s, next != 0, "group %" PRIu32 " stays with a leader whose disk hangs", group);
        script_expect(s, drill_heard(d, call, SOON_MS) && call->result.status == 0,
                      "nothing can be stored while the disk of a leader hangs");
        deposed += next != 0;
        drill_pass(d, 15000);
    }
    script_arose(s, deposed == 4, "every group lost a leader");
    drill_end(d);
}

/* ---- power cuts -------------------------------------------------------------------------------------------------- */

static void cut_all(struct drill *d) {
    for (uint32_t node = 1; node <= d->stage.swarm.count; node++) {
        drill_crash(d, node, SIM_CRASH_POWER);
    }
}

static void start_all(struct drill *d) {
    for (uint32_t node = 1; node <= d->stage.swarm.count; node++) {
        drill_start(d, node);
    }
}

/* The power goes in the very event in which a user hears that something is stored. */
void scenario_power_cut_single(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 1, .bits = 1, .replicas = 1});
    for (uint32_t i = 0; i < 12; i++) {
        enum disk_env slow = (enum disk_env)(i % DISK_ENVS);
        drill_slow(d, slow, 300);
        uint64_t size = i % 2 == 0 ? 100 : CHUNKY;
        struct drill_call *call = drill_ask(d, 1, USER_PUT, "a", size, CLIENT_ANY);
        script_arose(s, drill_heard(d, call, 60000) && call->result.status == 0, "a put is acknowledged");
        cut_all(d);
        drill_slow(d, slow, 1);
        drill_pass(d, 100);
        start_all(d);
        drill_pass(d, 3000);
        script_expect(s, drill_get(d, 1, "a") == 0, "what was acknowledged is gone after a power cut");
    }
    drill_end(d);
}

void scenario_power_cut_all(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 5, .bits = 3});
    for (uint32_t i = 0; i < 9; i++) {
        char name[USER_NAME_SIZE];
        enum disk_env slow = (enum disk_env)(i % DISK_ENVS);
        snprintf(name, sizeof(name), "a %" PRIu32, i);
        drill_slow(d, slow, 300);
        struct drill_call *call = drill_ask(d, 1 + i % 5, USER_PUT, name, i % 2 == 0 ? CHUNKY : 100, CLIENT_ANY);
        script_arose(s, drill_heard(d, call, 60000) && call->result.status == 0, "a put is acknowledged");
        cut_all(d);
        drill_slow(d, slow, 1);
        drill_pass(d, 500);
        start_all(d);
        drill_pass(d, 5000);
        script_expect(s, drill_get(d, 1 + (i + 1) % 5, name) == 0, "what was acknowledged is gone after a power cut");
    }
    drill_end(d);
}

void scenario_blackout(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 5, .bits = 3});
    drill_work(d);
    for (int i = 0; i < 4; i++) {
        drill_pass(d, 8000);
        cut_all(d);
        drill_pass(d, 2000);
        start_all(d);
    }
    drill_pass(d, 8000);
    script_arose(s, d->stage.history.unanswered > 0, "somebody was waiting when the power went");
    drill_end(d);
}

static bool no_chunks(const void *ctx) {
    return drill_rows(*(struct drill *const *)ctx, 1, DISK_CHUNKS, TABLE_CHUNKS) == 0;
}

/* The last reference to a chunk goes, and with it the bytes; another comes, and the bytes with it. Then the state is
 * lost that came of both, and made anew from the log: that must not take the bytes away. */
void scenario_stored_again(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 1, .bits = 0, .replicas = 1});
    uint32_t group = drill_group(d, "a"), taken_back = 0;
    for (uint32_t i = 0; i < 16; i++) {
        struct drill_call *put = drill_ask(d, 1, USER_PUT, "a", CHUNKY, CLIENT_ANY);
        script_expect(s, drill_heard(d, put, 60000) && put->result.status == 0, "a put fails while all is well");
        drill_pass(d, 3000);
        uint64_t before = drill_info(d, 1, group).saved;
        struct drill_call *rm = drill_ask(d, 1, USER_REMOVE, "a", 0, CLIENT_ANY);
        script_expect(s, drill_heard(d, rm, 60000) && rm->result.status == 0, "a removal fails while all is well");
        script_expect(s, drill_until(d, 60000, no_chunks, &d), "the bytes of what was removed stay");
        struct drill_call *again = drill_ask_same(d, 1, put, "b");
        script_expect(s, drill_heard(d, again, 60000) && again->result.status == 0, "a put fails while all is well");
        taken_back += !s->failed && drill_info(d, 1, group).saved == before;
        cut_all(d);
        drill_pass(d, 100);
        start_all(d);
        drill_pass(d, 3000);
        script_expect(s, drill_get(d, 1, "b") == 0, "what was stored again is gone after a power cut");
        (void)drill_ask(d, 1, USER_REMOVE, "b", 0, CLIENT_ANY);
        drill_pass(d, 3000);
    }
    script_arose(s, taken_back > 0, "a power cut that takes the removal back");
    drill_end(d);
}

/* ---- I1: a replica's state and its applied index are one --------------------------------------------------------- */

struct lag {
    struct drill *drill;
    uint32_t node, group;
};

static bool lags(const void *ctx) {
    const struct lag *l = ctx;
    struct groups_info info = drill_info(l->drill, l->node, l->group);
    return info.here && info.commit > info.applied;
}

void scenario_applied_apart(struct script *s) {
    struct drill *d = drill_new(s, &(const struct drill_options){.nodes = 3, .bits = 0});
    uint32_t group = drill_group(d, "a"), hit = 0;
    drill_slow(d, DISK_META, 40);
    for (uint32_t i = 0; i < 30; i++) {
        const struct lag lag = {d, 1 + i % 3, group};
        uint32_t asked = drill_other(d, lag.node, 0);
        struct drill_call *calls[3] = {drill_ask(d, asked, USER_PUT, "a", 40, CLIENT_ANY),
                                       drill_ask(d, asked, USER_PUT, "b", 40, CLIENT_ABSENT),
                                       drill_ask(d, asked, USER_REMOVE, "b", 0, CLIENT_ANY)};
        hit += drill_until(d, 2000, lags, &lag);
        drill_crash(d, lag.node, i % 2 == 0 ? SIM_CRASH_POWER : SIM_CRASH_PROCESS);
        drill_pass(d, 50);
        drill_start(d, lag.node);
        for (int k = 0; k < 3; k++) {
            script_expect(s, drill_heard(d, calls[k], 60000), "a request is never answered");
        }
        drill_pass(d, 500);
    }
    drill_slow(d, DISK_META, 1);
    script_arose(s, hit >= 10, "replicas crashed between commit and application, %" PRIu32 " times", hit);
    drill_end(d);
}

/* ---- I6: stored is what a majority holds ------------------------------------------------------------------------- */

/* One disk of three lags far behind; at the acknowledgement the power goes, and one of the two others stays away. */
void scenario_stored_on_one(struct script *s) {
    struct drill *d = drill_new(s, &three);
    for (uint32_t i = 0; i < 6; i++) {
        char name[USER_NAME_SIZE];
        uint32_t lame = 1 + i % 3, away = 1 + (i + 1 + i / 3) % 3;
        snprintf(name, sizeof(name), "stored %" PRIu32, i);
        sim_disk_slow(drill_host(d, lame), DISK_CHUNKS, 3000);
        struct drill_call *call = drill_ask(d, away, USER_PUT, name, 2 * CHUNKY, CLIENT_ANY);
        script_arose(s, drill_heard(d, call, 60000) && call->result.status == 0, "a put is acknowledged");
        script_arose(s,
                     s->failed || drill_rows(d, lame, DISK_CHUNKS, TABLE_CHUNKS) <
                                      drill_rows(d, away, DISK_CHUNKS, TABLE_CHUNKS),
                     "one disk lacks what was acknowledged");
        cut_all(d);
        sim_disk_slow(drill_host(d, lame), DISK_CHUNKS, 1);
        drill_pass(d, 500);
        for (uint32_t node = 1; node <= 3; node++) {
            if (node != away) {
                drill_start(d, node);
            }
        }
        drill_pass(d, 5000);
        script_expect(s, drill_get(d, lame, name) == 0, "what was acknowledged was on one disk only");
        drill_start(d, away);
        drill_pass(d, 5000);
    }
    drill_end(d);
}

/* ---- full disks -------------------------------------------------------------------------------------------------- */

void scenario_disk_full(struct script *s) {
    struct drill *d = drill_new(s, &three);
    script_expect(s, drill_put(d, 1, "kept", CHUNKY) == 0, "a put fails while there is room");
    script_expect(s, drill_put(d, 1, "removed", CHUNKY) == 0, "a put fails while there is room");
    for (uint32_t node = 1; node <= 3; node++) {
        sim_disk_full(drill_host(d, node), true);
    }
    drill_pass(d, 2000);
    int status = drill_put(d, 2, "more", CHUNKY);
    script_arose(s, status != 0, "there is no room");
    script_expect(s, status == ERR_NO_SPACE, "a full disk is called %s", err_name(status));
    script_expect(s, drill_get(d, 3, "kept") == 0, "full disks cannot be read");
    struct drill_call *call = drill_ask(d, 2, USER_REMOVE, "removed", 0, CLIENT_ANY);
    script_expect(s, drill_heard(d, call, 60000) && call->result.status == 0, "nothing can be removed from full disks");
    for (uint32_t node = 1; node <= 3; node++) {
        script_expect(s, s->failed || sim_host_up(drill_host(d, node)), "node %" PRIu32 " ended", node);
        sim_disk_full(drill_host(d, node), false);
    }
    drill_pass(d, SOON_MS);
    script_expect(s, drill_put(d, 2, "more", CHUNKY) == 0, "a put fails although there is room again");
    drill_end(d);
}
