#include "drill.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "internal.h"
#include "store.h"

#define CAPACITY ((uint64_t)4 << 30)
#define LEADER_MS 30000
#define CALL_MS 90000

static struct sim *sim_of(const struct drill *d) {
    return d->stage.swarm.sim;
}

/* What a stage found is what the script fails with. */
static bool staged(struct drill *d, bool good) {
    if (!good && !d->script->failed) {
        d->script->failed = true;
        script_tell(d->script, "FAIL: %s", d->script->result->reason);
    }
    return good && !d->script->failed;
}

static bool failed(const struct drill *d) {
    return d->script->failed;
}

struct sim_host *drill_host(struct drill *d, uint32_t node) {
    return sim_host(sim_of(d), node >= 1 && node <= d->stage.swarm.count ? node : 1);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static uint64_t now_us(void *ctx) {
    return sim_now_us(sim_of(ctx));
}

struct drill *drill_new(struct script *s, const struct drill_options *o) {
    struct drill *d = calloc(1, sizeof(*d));
    CHECK(d != NULL);
    const struct swarm_options so = {.seed = s->seed,
                                     .nodes = o->nodes,
                                     .bits = o->bits,
                                     .replicas = o->replicas > 0 ? o->replicas : 3,
                                     .capacity = CAPACITY,
                                     .settle_ms = o->settle_ms,
                                     .out_after_ms = o->out_after_ms,
                                     .trace = s->options->trace,
                                     .trace_ctx = s->options->trace_ctx};
    d->script = s;
    d->first = calloc(1, sizeof(*d->first));
    d->answer = calloc(1, sizeof(*d->answer));
    CHECK(d->first != NULL && d->answer != NULL);
    d->stage.result = s->result;
    d->stage.founders = o->founders > 0 ? o->founders : o->nodes;
    swarm_init(&d->stage.swarm, &so);
    history_init(&d->stage.history, sim_of(d));
    workload_init(&d->stage.load, &d->stage.swarm, &d->stage.history);
    d->stage.load.tell = s->tell;
    d->stage.load.tell_ctx = s->tell_ctx;
    s->now_us = now_us;
    s->now_ctx = d;
    (void)(staged(d, stage_gather(&d->stage, d->answer)) && staged(d, stage_wait_healthy(&d->stage, d->answer)));
    script_tell(s, "%" PRIu32 " nodes are a swarm", d->stage.founders);
    return d;
}

static void release(struct drill *d) {
    struct script *s = d->script;
    stage_note_extent(&d->stage);
    s->hash = sim_hash(sim_of(d));
    s->result->events = sim_events_count(sim_of(d));
    s->result->calls = d->stage.load.calls;
    s->result->answered = d->stage.history.answered;
    s->result->unanswered = d->stage.history.unanswered;
    s->now_us = NULL;
    workload_stop(&d->stage.load);
    swarm_release(&d->stage.swarm);
    history_release(&d->stage.history);
    for (uint32_t i = 0; i < d->call_count; i++) {
        free(d->calls[i]);
    }
    free(d->first);
    free(d->answer);
    free(d);
}

static void heal(struct drill *d) {
    sim_heal(sim_of(d));
    for (uint32_t node = 1; node <= d->stage.swarm.count; node++) {
        sim_disk_repair(drill_host(d, node));
        if (swarm_present(&d->stage.swarm, node)) {
            drill_start(d, node);
        }
    }
}

static bool idle(const void *ctx) {
    const struct drill *d = ctx;
    bool done = workload_idle(&d->stage.load);
    for (uint32_t i = 0; i < d->call_count; i++) {
        done = done && d->calls[i]->done;
    }
    return done;
}

void drill_end(struct drill *d) {
    struct stage *t = &d->stage;
    drill_rest(d);
    script_tell(d->script, "everything is healed");
    heal(d);
    t->checking = RUN_ANSWER;
    /* Each of these is worth knowing even if one before it failed; the first one is the reason. */
    bool good = !failed(d) && staged(d, stage_pass_time(t, 2 * STAGE_CALL_US, idle, d)) &&
                staged(d, stage_wait_healthy(t, d->answer)) && staged(d, stage_read_all_back(t, d->first, d->answer)) &&
                staged(d, stage_list_all(t, d->answer));
    good = staged(d, stage_check_history(t)) && good;
    (void)(good && staged(d, stage_wait_quiet(t)));
    release(d);
}

void drill_work(struct drill *d) {
    if (!failed(d)) {
        script_tell(d->script, "users are at work");
        workload_start(&d->stage.load);
    }
}

void drill_rest(struct drill *d) {
    workload_stop(&d->stage.load);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

bool drill_until(struct drill *d, uint64_t ms, bool (*holds)(const void *ctx), const void *ctx) {
    d->stage.checking = RUN_ANSWER;
    return !failed(d) && staged(d, stage_pass_time(&d->stage, ms * SIM_MS, holds, ctx)) && holds(ctx);
}

static bool never(const void *ctx) {
    (void)ctx;
    return false;
}

void drill_pass(struct drill *d, uint64_t ms) {
    (void)drill_until(d, ms, never, NULL);
}

/* ---- users ------------------------------------------------------------------------------------------------------- */

static uint32_t name_of(struct drill *d, const char *text) {
    struct history *h = &d->stage.history;
    for (uint32_t i = 0; i < h->name_count; i++) {
        if (strcmp(h->names[i].text, text) == 0) {
            return i;
        }
    }
    return history_add_name(h, text);
}

static bool in_history(enum user_kind kind) {
    return kind == USER_PUT || kind == USER_GET || kind == USER_REMOVE || kind == USER_STAT;
}

static void on_done(void *ctx, const struct user_result *result) {
    struct drill_call *call = ctx;
    struct drill *d = call->drill;
    call->result = *result;
    call->done = true;
    call->done_us = sim_now_us(sim_of(d));
    script_tell(d->script, "'%s' at node %" PRIu32 " is answered: %s %s", call->request.name, call->node,
                result->status == 0 ? "ok" : err_name(result->status), result->message);
    if (in_history(call->request.kind)) {
        history_return(&d->stage.history, call->name, call->op, result);
    }
    if (call->request.kind == USER_PUT && result->status == 0) {
        history_promise(&d->stage.history, call->name, call->op);
        promises_made(&d->stage.load.promises, call->name, call->request.content, call->request.size);
    }
    if (result->broken) {
        script_fail(d->script, RUN_ANSWER, "node %" PRIu32 ": %s", call->node, result->message);
    }
}

static struct drill_call *begin_call(struct drill *d, uint32_t node, const struct user_request *request) {
    static const char *const kinds[] = {
        [USER_PUT] = "put",   [USER_GET] = "get",       [USER_REMOVE] = "remove", [USER_LIST] = "list",
        [USER_STAT] = "stat", [USER_STATUS] = "status", [USER_INVITE] = "invite", [USER_MEMBER] = "member"};
    if (failed(d) || node == 0) {
        return NULL;
    }
    CHECK(d->call_count < DRILL_CALLS_MAX);
    struct drill_call *call = calloc(1, sizeof(*call));
    CHECK(call != NULL);
    d->calls[d->call_count++] = call;
    call->drill = d;
    call->request = *request;
    call->request.timeout_us = STAGE_CALL_US;
    call->node = node;
    script_tell(d->script, "%s '%s' at node %" PRIu32, kinds[request->kind], request->name, node);
    if (in_history(request->kind)) {
        call->name = name_of(d, request->name);
        call->op = history_call(&d->stage.history, call->name, &call->request);
    }
    user_call(drill_host(d, node), &call->request, on_done, call);
    return call;
}

struct drill_call *drill_ask(struct drill *d, uint32_t node, enum user_kind kind, const char *name, uint64_t size,
                             enum client_condition condition) {
    struct user_request q = {.kind = kind, .size = size, .condition = condition};
    snprintf(q.name, sizeof(q.name), "%s", name);
    q.content = prng_mix(d->script->seed ^ prng_mix(d->call_count));
    return begin_call(d, node, &q);
}

struct drill_call *drill_ask_same(struct drill *d, uint32_t node, const struct drill_call *before, const char *name) {
    struct user_request q = {.kind = USER_PUT};
    if (before == NULL) {
        return NULL;
    }
    q.size = before->request.size;
    q.content = before->request.content;
    snprintf(q.name, sizeof(q.name), "%s", name);
    return begin_call(d, node, &q);
}

static bool call_done(const void *ctx) {
    return ((const struct drill_call *)ctx)->done;
}

bool drill_heard(struct drill *d, const struct drill_call *call, uint64_t ms) {
    return call != NULL && drill_until(d, ms, call_done, call);
}

static int finish(struct drill *d, const struct drill_call *call) {
    bool heard = drill_heard(d, call, CALL_MS);
    script_expect(d->script, heard || failed(d), "a request is never answered");
    return heard ? call->result.status : 0;
}

int drill_put(struct drill *d, uint32_t node, const char *name, uint64_t size) {
    return finish(d, drill_ask(d, node, USER_PUT, name, size, CLIENT_ANY));
}

int drill_get(struct drill *d, uint32_t node, const char *name) {
    return finish(d, drill_ask(d, node, USER_GET, name, 0, CLIENT_ANY));
}

int drill_member(struct drill *d, uint32_t node, enum client_action action, uint32_t member, bool force) {
    const struct user_request q = {.kind = USER_MEMBER, .action = action, .member = member, .force = force};
    return finish(d, begin_call(d, node, &q));
}

/* ---- what is done to it ------------------------------------------------------------------------------------------ */

void drill_crash(struct drill *d, uint32_t node, enum sim_crash how) {
    if (!failed(d) && node != 0 && sim_host_up(drill_host(d, node))) {
        script_tell(d->script, "node %" PRIu32 " %s", node, how == SIM_CRASH_POWER ? "loses power" : "is killed");
        sim_host_crash(drill_host(d, node), how);
    }
}

void drill_start(struct drill *d, uint32_t node) {
    if (!failed(d) && node != 0 && !sim_host_up(drill_host(d, node))) {
        script_tell(d->script, "node %" PRIu32 " starts", node);
        sim_host_start(drill_host(d, node));
    }
}

void drill_block(struct drill *d, uint32_t from, uint32_t to, bool blocked) {
    if (!failed(d) && from != 0 && to != 0 && from != to) {
        script_tell(d->script, "%s from node %" PRIu32 " to node %" PRIu32,
                    blocked ? "nothing passes" : "messages pass", from, to);
        sim_link_block(sim_of(d), from, to, blocked);
    }
}

void drill_cut(struct drill *d, uint32_t a, uint32_t b, bool cut) {
    drill_block(d, a, b, cut);
    drill_block(d, b, a, cut);
}

void drill_isolate(struct drill *d, uint32_t node, bool cut) {
    if (failed(d) || node == 0) {
        return;
    }
    script_tell(d->script, "node %" PRIu32 " %s", node, cut ? "is cut off" : "is reachable");
    for (uint32_t other = 1; other <= d->stage.swarm.count; other++) {
        if (other != node) {
            sim_link_block(sim_of(d), node, other, cut);
            sim_link_block(sim_of(d), other, node, cut);
        }
    }
}

void drill_hang(struct drill *d, uint32_t node, uint64_t ms) {
    if (!failed(d) && node != 0) {
        script_tell(d->script, "the disk of node %" PRIu32 " hangs for %" PRIu64 " ms", node, ms);
        sim_disk_hang(drill_host(d, node), sim_now_us(sim_of(d)) + ms * SIM_MS);
    }
}

void drill_hang_one(struct drill *d, uint32_t node, enum disk_env env, uint64_t ms) {
    if (!failed(d) && node != 0) {
        script_tell(d->script, "environment %d of node %" PRIu32 " hangs for %" PRIu64 " ms", (int)env, node, ms);
        sim_disk_hang_one(drill_host(d, node), env, sim_now_us(sim_of(d)) + ms * SIM_MS);
    }
}

void drill_slow(struct drill *d, enum disk_env env, uint32_t factor) {
    for (uint32_t node = 1; node <= d->stage.swarm.count; node++) {
        sim_disk_slow(drill_host(d, node), env, factor);
    }
}

void drill_join(struct drill *d, uint32_t node, uint32_t inviter) {
    const struct user_request q = {.kind = USER_INVITE, .uses = 1};
    if (node == 0 || node > d->stage.swarm.count) {
        return;
    }
    struct drill_call *call = begin_call(d, inviter, &q);
    int status = finish(d, call);
    script_expect(d->script, status == 0, "no ticket: %s", err_name(status));
    if (failed(d) || call == NULL) {
        return;
    }
    struct swarm_node *n = swarm_node(&d->stage.swarm, node);
    ticket_release(&n->ticket);
    bool good = ticket_decode(call->result.ticket, strlen(call->result.ticket), &n->ticket) == 0;
    script_expect(d->script, good, "the ticket cannot be read");
    drill_start(d, node);
}

/* ---- what is seen ------------------------------------------------------------------------------------------------ */

uint32_t drill_group(struct drill *d, const char *name) {
    return failed(d) ? 0 : stage_group_of(&d->stage, name);
}

struct wanted_leader {
    struct drill *drill;
    uint32_t group, not_this;
};

static bool has_leader(const void *ctx) {
    const struct wanted_leader *w = ctx;
    uint32_t leader = stage_leader(&w->drill->stage, w->group);
    return leader != 0 && leader != w->not_this;
}

uint32_t drill_other_leader(struct drill *d, uint32_t group, uint32_t old, uint64_t ms) {
    const struct wanted_leader w = {d, group, old};
    return drill_until(d, ms, has_leader, &w) ? stage_leader(&d->stage, group) : 0;
}

uint32_t drill_leader(struct drill *d, uint32_t group) {
    uint32_t leader = drill_other_leader(d, group, 0, LEADER_MS);
    script_expect(d->script, leader != 0 || failed(d), "nobody leads group %" PRIu32, group);
    return leader;
}

uint32_t drill_other(struct drill *d, uint32_t a, uint32_t b) {
    for (uint32_t node = 1; node <= d->stage.founders; node++) {
        if (node != a && node != b) {
            return node;
        }
    }
    return 0;
}

struct groups_info drill_info(struct drill *d, uint32_t node, uint32_t group) {
    struct groups_info info = {0};
    if (node >= 1 && node <= d->stage.swarm.count && swarm_node(&d->stage.swarm, node)->ready) {
        groups_info(node_groups(swarm_node(&d->stage.swarm, node)->node), group, &info);
    }
    return info;
}

uint64_t drill_term(struct drill *d, uint32_t group) {
    uint64_t term = 0;
    for (uint32_t node = 1; node <= d->stage.swarm.count; node++) {
        uint64_t other = drill_info(d, node, group).term;
        term = other > term ? other : term;
    }
    return term;
}

size_t drill_rows(struct drill *d, uint32_t node, enum disk_env env, enum txn_table table) {
    struct txn *t;
    struct slice key = {NULL, 0}, value;
    uint8_t last[TXN_KEY_MAX];
    size_t count = 0;
    CHECK(store_begin(sim_host_store(drill_host(d, node), env), false, &t) == 0);
    int status = txn_seek(t, table, key, &key, &value);
    while (status == 0) {
        count++;
        memcpy(last, key.bytes, key.size);
        status = txn_next(t, table, (struct slice){last, key.size}, &key, &value);
    }
    store_abort(t);
    return count;
}
