#include "run.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "check.h"
#include "errors.h"
#include "plan.h"
#include "workload.h"

_Static_assert(RUN_USERS_MAX == WORKLOAD_USERS_MAX, "as many selections as users");

#define RUN_CAPACITY ((uint64_t)8 << 30)
#define RUN_SAMPLE_US (250 * SIM_MS)    /* between looks at invariants */
#define RUN_INVITE_US (60 * SIM_SECOND) /* for a ticket, when nothing is broken */
#define RUN_READY_US (30 * SIM_SECOND)
#define RUN_HEALTHY_US (180 * SIM_SECOND)
#define RUN_QUIET_US (400 * (uint64_t)SIM_SECOND)
#define RUN_POLL_US SIM_SECOND
#define RUN_CALL_US (60 * SIM_SECOND)

struct run {
    const struct run_options *options;
    struct run_result *result;
    enum run_checker checking;
    struct swarm swarm;
    struct history history;
    struct workload load;
    struct plan plan;
};

/* The first trouble is the reason. Always false. */
static bool fail(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct run *r, const char *format, ...) {
    if (r->result->reason[0] == '\0') {
        va_list args;
        va_start(args, format);
        vsnprintf(r->result->reason, sizeof(r->result->reason), format, args);
        va_end(args);
        r->result->checker = r->checking;
        sim_note(r->swarm.sim, "FAIL: %s", r->result->reason);
    }
    return false;
}

/* ---- letting time pass ------------------------------------------------------------------------------------------- */

static bool fail_as(struct run *r, enum run_checker checker, const char *message) {
    enum run_checker before = r->checking;
    r->checking = checker;
    (void)fail(r, "%s", message);
    r->checking = before;
    return false;
}

/* Kept up to date while it runs: when the process dies, it is what is known. */
static void note_extent(struct run *r) {
    r->result->simulated_us = sim_now_us(r->swarm.sim);
    r->result->faults = r->plan.drawn;
    for (uint32_t i = 0; i < RUN_USERS_MAX; i++) {
        r->result->asks[i] = r->load.workers[i].drawn;
    }
}

static bool sample(struct run *r) {
    note_extent(r);
    swarm_check(&r->swarm);
    if (r->swarm.failure[0] != '\0') {
        return fail_as(r, RUN_INVARIANT, r->swarm.failure);
    }
    return r->load.failure[0] == '\0' || fail_as(r, RUN_ANSWER, r->load.failure);
}

/* Until done(ctx) or the limit; false when something is wrong, true otherwise. done NULL: the whole time. */
static bool pass_time(struct run *r, uint64_t limit_us, bool (*done)(const void *ctx), const void *ctx) {
    struct sim *s = r->swarm.sim;
    uint64_t until = sim_now_us(s) + limit_us;
    uint64_t next = sim_now_us(s) + RUN_SAMPLE_US;
    while (sim_now_us(s) < until && (done == NULL || !done(ctx))) {
        if (sim_step(s, next < until ? next : until)) {
            continue;
        }
        next += RUN_SAMPLE_US;
        if (!sample(r)) {
            return false;
        }
    }
    return sample(r);
}

struct waited_call {
    struct user_result *result;
    bool done;
};

static void on_call_done(void *ctx, const struct user_result *result) {
    struct waited_call *w = ctx;
    *w->result = *result;
    w->done = true;
}

static bool call_done(const void *ctx) {
    return ((const struct waited_call *)ctx)->done;
}

/* Asks, and waits for the answer. False when something is wrong with the run, not with the answer. */
static bool ask(struct run *r, uint32_t number, struct user_request *request, struct user_result *ret_result) {
    struct waited_call w = {.result = ret_result};
    request->timeout_us = RUN_CALL_US;
    user_call(sim_host(r->swarm.sim, number), request, on_call_done, &w);
    if (!pass_time(r, RUN_CALL_US + SIM_SECOND, call_done, &w)) {
        /* The call may still be answered: its waiter must not be touched then. */
        while (!w.done) {
            sim_step(r->swarm.sim, sim_now_us(r->swarm.sim) + RUN_CALL_US);
        }
        return false;
    }
    CHECK(w.done);
    return !ret_result->broken || fail(r, "node %" PRIu32 ": %s", number, ret_result->message);
}

/* ---- the swarm comes together ------------------------------------------------------------------------------------ */

static bool node_ready(const void *ctx) {
    return ((const struct swarm_node *)ctx)->ready;
}

static bool start_node(struct run *r, uint32_t number) {
    struct swarm_node *n = swarm_node(&r->swarm, number);
    sim_host_start(n->host);
    if (!pass_time(r, RUN_READY_US, node_ready, n)) {
        return false;
    }
    return n->ready || fail(r, "node %" PRIu32 " was not ready in time", number);
}

static bool invite(struct run *r, struct user_result *answer, struct ticket *out) {
    struct user_request q = {.kind = USER_INVITE, .uses = 1};
    uint64_t until = sim_now_us(r->swarm.sim) + RUN_INVITE_US;
    do {
        if (!ask(r, 1, &q, answer)) {
            return false;
        }
        if (answer->status != 0 && sim_now_us(r->swarm.sim) > until) {
            return fail(r, "no ticket: %s", answer->message);
        }
    } while (answer->status != 0 && pass_time(r, RUN_POLL_US, NULL, NULL));
    if (answer->status != 0) {
        return false;
    }
    return ticket_decode(answer->ticket, strlen(answer->ticket), out) == 0 || fail(r, "the ticket cannot be read");
}

static bool gather(struct run *r, struct user_result *answer) {
    r->checking = RUN_GATHER;
    for (uint32_t number = 1; number <= r->plan.founders; number++) {
        if (number > 1 && !invite(r, answer, &swarm_node(&r->swarm, number)->ticket)) {
            return false;
        }
        if (!start_node(r, number)) {
            return false;
        }
    }
    return true;
}

/* The first host after this one that has joined and has not left; 0: there is none. */
static uint32_t next_present(struct run *r, uint32_t number) {
    do {
        number++;
    } while (number <= r->swarm.count && !swarm_present(&r->swarm, number));
    return number <= r->swarm.count ? number : 0;
}

static uint32_t count_present(struct run *r) {
    uint32_t count = 0;
    for (uint32_t number = next_present(r, 0); number != 0; number = next_present(r, number)) {
        count++;
    }
    return count;
}

/* ---- becoming whole ---------------------------------------------------------------------------------------------- */

static bool node_says_healthy(struct run *r, uint32_t number, struct user_result *answer, bool *ret_healthy) {
    struct user_request q = {.kind = USER_STATUS};
    if (!sim_host_up(sim_host(r->swarm.sim, number))) {
        sim_host_start(sim_host(r->swarm.sim, number)); /* it ended by a fault made just before the healing */
    }
    if (!ask(r, number, &q, answer)) {
        return false;
    }
    uint32_t present = count_present(r);
    *ret_healthy = answer->status == 0 && answer->arcs_total == 1u << r->swarm.bits &&
                   answer->arcs_healthy == answer->arcs_total && answer->arcs_leaderless == 0 &&
                   answer->members_alive == present && answer->members_up == present && answer->members_between == 0 &&
                   errands_done(&r->plan.errands);
    return true;
}

static bool wait_healthy(struct run *r, struct user_result *answer) {
    r->checking = RUN_HEALTH;
    uint64_t until = sim_now_us(r->swarm.sim) + RUN_HEALTHY_US;
    for (uint32_t number = next_present(r, 0); number != 0;) {
        bool healthy = false;
        if (!node_says_healthy(r, number, answer, &healthy)) {
            return false;
        }
        if (healthy || !swarm_present(&r->swarm, number)) {
            number = next_present(r, number);
            continue;
        }
        if (sim_now_us(r->swarm.sim) > until) {
            return fail(
                r,
                "node %" PRIu32 " sees %" PRIu32 " of %" PRIu32 " arcs healthy, %" PRIu32 " leaderless, %" PRIu32
                " of %" PRIu32 " members alive, %" PRIu32 " neither up nor gone (%s); %" PRIu32 " hosts are members",
                number, answer->arcs_healthy, answer->arcs_total, answer->arcs_leaderless, answer->members_alive,
                answer->members_up, answer->members_between, err_name(answer->status), count_present(r));
        }
        if (!pass_time(r, RUN_POLL_US, NULL, NULL)) {
            return false;
        }
    }
    return true;
}

/* ---- reading everything back ------------------------------------------------------------------------------------- */

/* One name through one node; compares with what the first node said. */
static bool read_back(struct run *r, uint32_t number, uint32_t name, struct user_result *first,
                      struct user_result *answer) {
    struct user_request q = {.kind = USER_GET};
    const char *text = r->history.names[name].text;
    snprintf(q.name, sizeof(q.name), "%s", text);
    size_t op = history_call(&r->history, name, &q);
    if (!ask(r, number, &q, answer)) {
        return false;
    }
    history_return(&r->history, name, op, answer);
    if (answer->status != 0 && answer->status != ERR_NOT_FOUND) {
        return fail(r, "node %" PRIu32 " cannot give %.60s: %s: %.80s", number, text, err_name(answer->status),
                    answer->message);
    }
    if (number == next_present(r, 0)) {
        *first = *answer;
    } else if (first->status != answer->status || first->content != answer->content ||
               memcmp(first->version, answer->version, sizeof(first->version)) != 0) {
        return fail(r, "nodes %" PRIu32 " and %" PRIu32 " give different contents of %.60s", next_present(r, 0), number,
                    text);
    }
    return true;
}

static bool read_all_back(struct run *r, struct user_result *first, struct user_result *answer) {
    r->checking = RUN_READING;
    for (uint32_t name = 0; name < r->history.name_count; name++) {
        for (uint32_t number = next_present(r, 0); number != 0; number = next_present(r, number)) {
            if (!read_back(r, number, name, first, answer)) {
                return false;
            }
        }
    }
    return true;
}

static bool listed_matches(struct run *r, uint32_t number, const struct user_entry *e, bool *seen) {
    for (uint32_t name = 0; name < r->history.name_count; name++) {
        struct history_name *n = &r->history.names[name];
        if (strcmp(n->text, e->name) == 0) {
            seen[name] = true;
            return memcmp(n->version, e->version, sizeof(e->version)) == 0 ||
                   fail(r, "node %" PRIu32 " lists an old version of %.60s", number, e->name);
        }
    }
    return fail(r, "node %" PRIu32 " lists %.60s, which nobody put", number, e->name);
}

/* Every page of a bucket. */
static bool list_bucket(struct run *r, uint32_t number, const char *bucket, struct user_result *answer, bool *seen) {
    struct user_request q = {.kind = USER_LIST, .limit = 3};
    snprintf(q.name, sizeof(q.name), "%s", bucket);
    for (uint32_t page = 0; page <= HISTORY_NAMES_MAX; page++) {
        if (!ask(r, number, &q, answer)) {
            return false;
        }
        if (answer->status != 0) {
            return fail(r, "node %" PRIu32 " cannot list '%s': %s", number, bucket, err_name(answer->status));
        }
        for (uint32_t i = 0; i < answer->entry_count; i++) {
            if (!listed_matches(r, number, &answer->entries[i], seen)) {
                return false;
            }
        }
        if (!answer->more) {
            return true;
        }
        if (answer->entry_count == 0) {
            return fail(r, "node %" PRIu32 " promises more after an empty page", number);
        }
        snprintf(q.after, sizeof(q.after), "%s", answer->entries[answer->entry_count - 1].name);
    }
    return fail(r, "node %" PRIu32 " lists '%s' without end", number, bucket);
}

/* The last operation on a name was the reading back. */
static bool present(const struct history_name *n) {
    return n->ops[n->count - 1].result == LINEAR_DONE;
}

static bool list_all(struct run *r, struct user_result *answer) {
    r->checking = RUN_LISTING;
    for (uint32_t number = next_present(r, 0); number != 0; number = next_present(r, number)) {
        bool seen[HISTORY_NAMES_MAX] = {false};
        for (size_t i = 0; i < WORKLOAD_BUCKETS; i++) {
            if (!list_bucket(r, number, workload_bucket(i), answer, seen)) {
                return false;
            }
        }
        for (uint32_t name = 0; name < r->history.name_count; name++) {
            if (seen[name] != present(&r->history.names[name])) {
                return fail(r, "node %" PRIu32 " %s %.60s in its listing", number, seen[name] ? "shows" : "lacks",
                            r->history.names[name].text);
            }
        }
    }
    return true;
}

/* Until what is left to do in the background is done. */
static bool wait_quiet(struct run *r) {
    char message[RUN_REASON_SIZE];
    r->checking = RUN_AUDIT;
    uint64_t until = sim_now_us(r->swarm.sim) + RUN_QUIET_US;
    while (!audit_swarm(&r->swarm, message, sizeof(message))) {
        if (sim_now_us(r->swarm.sim) > until) {
            return fail(r, "%s", message);
        }
        if (!pass_time(r, 2 * RUN_POLL_US, NULL, NULL)) {
            return false;
        }
    }
    return audit_bytes(&r->swarm, message, sizeof(message)) || fail(r, "%s", message);
}

/* ---- the phases -------------------------------------------------------------------------------------------------- */

/* The host that leads the group of a name in use; 0 when none does. */
static uint32_t leader_of_a_name(void *ctx, uint64_t random) {
    struct run *r = ctx;
    uint32_t found = 0;
    const char *text = r->history.names[r->load.names[random % r->load.name_count]].text;
    struct name name;
    CHECK(name_parse(text, strlen(text), &name) == 0);
    for (uint32_t number = 1; number <= r->swarm.count; number++) {
        const struct swarm_node *n = swarm_node(&r->swarm, number);
        struct groups_info info;
        if (n->ready) {
            const struct groups *g = node_groups(n->node);
            groups_info(g, groups_of(g, name_position(&name)), &info);
            found = info.here && info.leading ? number : found;
        }
    }
    return found;
}

static bool load_idle(const void *ctx) {
    return workload_idle(ctx);
}

static bool break_everything(struct run *r) {
    r->checking = RUN_ANSWER;
    r->result->faults_from_us = sim_now_us(r->swarm.sim);
    plan_start(&r->plan);
    workload_start(&r->load);
    if (!pass_time(r, r->options->faults_us, NULL, NULL)) {
        return false;
    }
    workload_stop(&r->load);
    plan_heal(&r->plan);
    return pass_time(r, 2 * RUN_CALL_US, load_idle, &r->load);
}

static bool check_history(struct run *r) {
    char message[RUN_REASON_SIZE];
    r->checking = RUN_HISTORY;
    return history_check(&r->history, message, sizeof(message)) || fail(r, "%s", message);
}

static bool phases(struct run *r, struct user_result *first, struct user_result *answer) {
    if (!gather(r, answer) || !wait_healthy(r, answer) || !break_everything(r)) {
        return false;
    }
    sim_note(r->swarm.sim, "healed");
    /* Each of these is worth knowing even if one before it failed; the first one is the reason. */
    bool good = wait_healthy(r, answer) && read_all_back(r, first, answer) && list_all(r, answer);
    good = check_history(r) && good;
    return good && wait_quiet(r);
}

static void start_run(struct run *r, const struct run_options *options) {
    const struct swarm_options so = {.seed = options->seed,
                                     .nodes = options->nodes,
                                     .bits = options->bits,
                                     .replicas = options->replicas,
                                     .capacity = RUN_CAPACITY,
                                     .odd = true,
                                     .trace = options->trace,
                                     .trace_ctx = options->trace_ctx};
    r->options = options;
    swarm_init(&r->swarm, &so);
    history_init(&r->history, r->swarm.sim);
    workload_init(&r->load, &r->swarm, &r->history);
    plan_init(&r->plan, &r->swarm);
    if (r->load.hot && options->seed % 2 == 0) {
        plan_hunt(&r->plan);
    }
    r->plan.aim = leader_of_a_name;
    r->plan.aim_ctx = r;
    r->plan.select = &options->faults;
    r->load.select = options->asks;
    r->load.acknowledged = plan_acknowledged;
    r->load.acknowledged_ctx = &r->plan;
    r->plan.tell = r->load.tell = options->schedule;
    r->plan.tell_ctx = r->load.tell_ctx = options->trace_ctx;
}

void run_seed(const struct run_options *options, struct run_result *result) {
    CHECK(options->nodes >= 1 && options->replicas >= 1);
    struct run *r = calloc(1, sizeof(*r));
    struct user_result *answers = calloc(2, sizeof(*answers));
    CHECK(r != NULL && answers != NULL);
    *result = (struct run_result){0};
    r->result = result;
    start_run(r, options);
    result->passed = phases(r, &answers[0], &answers[1]);
    CHECK(result->passed == (result->reason[0] == '\0'));
    result->hash = sim_hash(r->swarm.sim);
    note_extent(r);
    result->events = sim_events_count(r->swarm.sim);
    result->calls = r->load.calls;
    result->bytes_put = r->load.bytes_put;
    result->answered = r->history.answered;
    result->unanswered = r->history.unanswered;
    workload_stop(&r->load);
    swarm_release(&r->swarm);
    plan_release(&r->plan);
    history_release(&r->history);
    free(answers);
    free(r);
}
