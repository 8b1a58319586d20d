#include "stage.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "audit.h"
#include "check.h"
#include "errors.h"

_Static_assert(RUN_USERS_MAX == WORKLOAD_USERS_MAX, "as many selections as users");

#define SAMPLE_US (250 * SIM_MS)    /* between looks at invariants */
#define INVITE_US (60 * SIM_SECOND) /* for a ticket, when nothing is broken */
#define WRITE_SMALL 100u
#define WRITE_LARGE 1500000u
#define READY_US (30 * SIM_SECOND)    /* from a start to serving */
#define HEALTHY_US (180 * SIM_SECOND) /* from the healing: elections, catching up, dismissals, joins, moves */
/* For what waits for a reference to be two minutes old, by clocks that may differ by six. */
#define QUIET_US (720 * (uint64_t)SIM_SECOND)
#define POLL_US SIM_SECOND

/* The first trouble is the reason. Always false. */
bool stage_fail(struct stage *t, const char *format, ...) {
    if (t->result->reason[0] == '\0') {
        va_list args;
        va_start(args, format);
        vsnprintf(t->result->reason, sizeof(t->result->reason), format, args);
        va_end(args);
        t->result->checker = t->checking;
        sim_note(t->swarm.sim, "FAIL: %s", t->result->reason);
    }
    return false;
}

/* ---- letting time pass ------------------------------------------------------------------------------------------- */

static bool fail_as(struct stage *t, enum run_checker checker, const char *message) {
    enum run_checker before = t->checking;
    t->checking = checker;
    (void)stage_fail(t, "%s", message);
    t->checking = before;
    return false;
}

/* Kept up to date while it runs: when the process dies, it is what is known. */
void stage_note_extent(struct stage *t) {
    t->result->simulated_us = sim_now_us(t->swarm.sim);
    t->result->faults = t->plan != NULL ? t->plan->drawn : 0;
    for (uint32_t i = 0; i < RUN_USERS_MAX; i++) {
        t->result->asks[i] = t->load.workers[i].drawn;
    }
}

static bool sample(struct stage *t) {
    stage_note_extent(t);
    swarm_check(&t->swarm);
    promises_sample(&t->load.promises);
    if (t->swarm.failure[0] != '\0') {
        return fail_as(t, RUN_INVARIANT, t->swarm.failure);
    }
    return t->load.failure[0] == '\0' || fail_as(t, RUN_ANSWER, t->load.failure);
}

/* Until done(ctx) or the limit; false when something is wrong, true otherwise. done NULL: the whole time. */
bool stage_pass_time(struct stage *t, uint64_t limit_us, bool (*done)(const void *ctx), const void *ctx) {
    struct sim *s = t->swarm.sim;
    uint64_t until = sim_now_us(s) + limit_us;
    uint64_t next = sim_now_us(s) + SAMPLE_US;
    while (sim_now_us(s) < until && (done == NULL || !done(ctx))) {
        if (sim_step(s, next < until ? next : until)) {
            continue;
        }
        next += SAMPLE_US;
        if (!sample(t)) {
            return false;
        }
    }
    return sample(t);
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
bool stage_ask(struct stage *t, uint32_t number, struct user_request *request, struct user_result *ret_result) {
    struct waited_call w = {.result = ret_result};
    request->timeout_us = STAGE_CALL_US;
    user_call(sim_host(t->swarm.sim, number), request, on_call_done, &w);
    if (!stage_pass_time(t, STAGE_CALL_US + SIM_SECOND, call_done, &w)) {
        /* The call may still be answered: its waiter must not be touched then. */
        while (!w.done) {
            sim_step(t->swarm.sim, sim_now_us(t->swarm.sim) + STAGE_CALL_US);
        }
        return false;
    }
    CHECK(w.done);
    return !ret_result->broken || stage_fail(t, "node %" PRIu32 ": %s", number, ret_result->message);
}

/* ---- the swarm comes together ------------------------------------------------------------------------------------ */

static bool node_ready(const void *ctx) {
    return ((const struct swarm_node *)ctx)->ready;
}

bool stage_start_node(struct stage *t, uint32_t number) {
    struct swarm_node *n = swarm_node(&t->swarm, number);
    sim_host_start(n->host);
    if (!stage_pass_time(t, READY_US, node_ready, n)) {
        return false;
    }
    return n->ready || stage_fail(t, "node %" PRIu32 " was not ready in time", number);
}

bool stage_invite(struct stage *t, struct user_result *answer, struct ticket *out) {
    struct user_request q = {.kind = USER_INVITE, .uses = 1};
    uint64_t until = sim_now_us(t->swarm.sim) + INVITE_US;
    do {
        if (!stage_ask(t, 1, &q, answer)) {
            return false;
        }
        if (answer->status != 0 && sim_now_us(t->swarm.sim) > until) {
            return stage_fail(t, "no ticket: %s", answer->message);
        }
    } while (answer->status != 0 && stage_pass_time(t, POLL_US, NULL, NULL));
    if (answer->status != 0) {
        return false;
    }
    return ticket_decode(answer->ticket, strlen(answer->ticket), out) == 0 ||
           stage_fail(t, "the ticket cannot be read");
}

bool stage_gather(struct stage *t, struct user_result *answer) {
    t->checking = RUN_GATHER;
    for (uint32_t number = 1; number <= t->founders; number++) {
        if (number > 1 && !stage_invite(t, answer, &swarm_node(&t->swarm, number)->ticket)) {
            return false;
        }
        if (!stage_start_node(t, number)) {
            return false;
        }
    }
    return true;
}

/* The first host after this one that has joined and has not left; 0: there is none. */
uint32_t stage_next(struct stage *t, uint32_t number) {
    do {
        number++;
    } while (number <= t->swarm.count && !swarm_present(&t->swarm, number));
    return number <= t->swarm.count ? number : 0;
}

static uint32_t count_present(struct stage *t) {
    uint32_t count = 0;
    for (uint32_t number = stage_next(t, 0); number != 0; number = stage_next(t, number)) {
        count++;
    }
    return count;
}

/* ---- becoming whole ---------------------------------------------------------------------------------------------- */

static bool node_says_healthy(struct stage *t, uint32_t number, struct user_result *answer, bool *ret_healthy) {
    struct user_request q = {.kind = USER_STATUS};
    if (!sim_host_up(sim_host(t->swarm.sim, number))) {
        sim_host_start(sim_host(t->swarm.sim, number)); /* it ended by a fault made just before the healing */
    }
    if (!stage_ask(t, number, &q, answer)) {
        return false;
    }
    uint32_t present = count_present(t);
    *ret_healthy = answer->status == 0 && answer->arcs_total == 1u << t->swarm.bits &&
                   answer->arcs_healthy == answer->arcs_total && answer->arcs_leaderless == 0 &&
                   answer->members_alive == present && answer->members_up == present && answer->members_between == 0 &&
                   (t->plan == NULL || errands_done(&t->plan->errands));
    return true;
}

bool stage_wait_healthy(struct stage *t, struct user_result *answer) {
    t->checking = RUN_HEALTH;
    uint64_t until = sim_now_us(t->swarm.sim) + HEALTHY_US;
    for (uint32_t number = stage_next(t, 0); number != 0;) {
        bool healthy = false;
        if (!node_says_healthy(t, number, answer, &healthy)) {
            return false;
        }
        if (healthy || !swarm_present(&t->swarm, number)) {
            number = stage_next(t, number);
            continue;
        }
        if (sim_now_us(t->swarm.sim) > until) {
            return stage_fail(
                t,
                "node %" PRIu32 " sees %" PRIu32 " of %" PRIu32 " arcs healthy, %" PRIu32 " leaderless, %" PRIu32
                " of %" PRIu32 " members alive, %" PRIu32 " neither up nor gone (%s); %" PRIu32 " hosts are members",
                number, answer->arcs_healthy, answer->arcs_total, answer->arcs_leaderless, answer->members_alive,
                answer->members_up, answer->members_between, err_name(answer->status), count_present(t));
        }
        if (!stage_pass_time(t, POLL_US, NULL, NULL)) {
            return false;
        }
    }
    return true;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static bool write_one(struct stage *t, uint32_t number, uint64_t size, struct user_result *answer) {
    struct user_request q = {.kind = USER_PUT, .size = size, .content = prng_mix(number ^ size << 32)};
    char text[USER_NAME_SIZE];
    uint32_t name = t->history.name_count;
    snprintf(text, sizeof(text), "%sat last %" PRIu32, workload_bucket(name % WORKLOAD_BUCKETS), name);
    if (name == HISTORY_NAMES_MAX) {
        return true;
    }
    history_add_name(&t->history, text);
    snprintf(q.name, sizeof(q.name), "%s", text);
    size_t op = history_call(&t->history, name, &q);
    if (!stage_ask(t, number, &q, answer)) {
        return false;
    }
    history_return(&t->history, name, op, answer);
    return answer->status == 0 || stage_fail(t, "node %" PRIu32 " cannot store %.60s: %s: %.80s", number, text,
                                             err_name(answer->status), answer->message);
}

bool stage_write_all(struct stage *t, struct user_result *answer) {
    t->checking = RUN_WRITING;
    for (uint32_t number = stage_next(t, 0); number != 0; number = stage_next(t, number)) {
        if (!write_one(t, number, WRITE_SMALL, answer) || !write_one(t, number, WRITE_LARGE, answer)) {
            return false;
        }
    }
    return true;
}

/* ---- reading everything back ------------------------------------------------------------------------------------- */

/* One name through one node; compares with what the first node said. */
static bool read_back(struct stage *t, uint32_t number, uint32_t name, struct user_result *first,
                      struct user_result *answer) {
    struct user_request q = {.kind = USER_GET};
    const char *text = t->history.names[name].text;
    snprintf(q.name, sizeof(q.name), "%s", text);
    size_t op = history_call(&t->history, name, &q);
    if (!stage_ask(t, number, &q, answer)) {
        return false;
    }
    history_return(&t->history, name, op, answer);
    if (answer->status != 0 && answer->status != ERR_NOT_FOUND) {
        return stage_fail(t, "node %" PRIu32 " cannot give %.60s: %s: %.80s", number, text, err_name(answer->status),
                          answer->message);
    }
    if (number == stage_next(t, 0)) {
        *first = *answer;
    } else if (first->status != answer->status || first->content != answer->content ||
               memcmp(first->version, answer->version, sizeof(first->version)) != 0) {
        return stage_fail(t, "nodes %" PRIu32 " and %" PRIu32 " give different contents of %.60s", stage_next(t, 0),
                          number, text);
    }
    return true;
}

bool stage_read_all_back(struct stage *t, struct user_result *first, struct user_result *answer) {
    t->checking = RUN_READING;
    for (uint32_t name = 0; name < t->history.name_count; name++) {
        for (uint32_t number = stage_next(t, 0); number != 0; number = stage_next(t, number)) {
            if (!read_back(t, number, name, first, answer)) {
                return false;
            }
        }
    }
    return true;
}

static bool listed_matches(struct stage *t, uint32_t number, const struct user_entry *e, bool *seen) {
    for (uint32_t name = 0; name < t->history.name_count; name++) {
        struct history_name *n = &t->history.names[name];
        if (strcmp(n->text, e->name) == 0) {
            seen[name] = true;
            return memcmp(n->version, e->version, sizeof(e->version)) == 0 ||
                   stage_fail(t, "node %" PRIu32 " lists an old version of %.60s", number, e->name);
        }
    }
    return stage_fail(t, "node %" PRIu32 " lists %.60s, which nobody put", number, e->name);
}

/* Every page of a bucket. */
static bool list_bucket(struct stage *t, uint32_t number, const char *bucket, struct user_result *answer, bool *seen) {
    struct user_request q = {.kind = USER_LIST, .limit = 3};
    snprintf(q.name, sizeof(q.name), "%s", bucket);
    for (uint32_t page = 0; page <= HISTORY_NAMES_MAX; page++) {
        if (!stage_ask(t, number, &q, answer)) {
            return false;
        }
        if (answer->status != 0) {
            return stage_fail(t, "node %" PRIu32 " cannot list '%s': %s", number, bucket, err_name(answer->status));
        }
        for (uint32_t i = 0; i < answer->entry_count; i++) {
            if (!listed_matches(t, number, &answer->entries[i], seen)) {
                return false;
            }
        }
        if (!answer->more) {
            return true;
        }
        if (answer->entry_count == 0) {
            return stage_fail(t, "node %" PRIu32 " promises more after an empty page", number);
        }
        snprintf(q.after, sizeof(q.after), "%s", answer->entries[answer->entry_count - 1].name);
    }
    return stage_fail(t, "node %" PRIu32 " lists '%s' without end", number, bucket);
}

/* The last operation on a name was the reading back. */
static bool present(const struct history_name *n) {
    return n->ops[n->count - 1].result == LINEAR_DONE;
}

bool stage_list_all(struct stage *t, struct user_result *answer) {
    t->checking = RUN_LISTING;
    for (uint32_t number = stage_next(t, 0); number != 0; number = stage_next(t, number)) {
        bool seen[HISTORY_NAMES_MAX] = {false};
        for (size_t i = 0; i < WORKLOAD_BUCKETS; i++) {
            if (!list_bucket(t, number, workload_bucket(i), answer, seen)) {
                return false;
            }
        }
        for (uint32_t name = 0; name < t->history.name_count; name++) {
            if (seen[name] != present(&t->history.names[name])) {
                return stage_fail(t, "node %" PRIu32 " %s %.60s in its listing", number, seen[name] ? "shows" : "lacks",
                                  t->history.names[name].text);
            }
        }
    }
    return true;
}

/* Until what is left to do in the background is done. */
bool stage_wait_quiet(struct stage *t) {
    char message[RUN_REASON_SIZE];
    t->checking = RUN_AUDIT;
    uint64_t until = sim_now_us(t->swarm.sim) + QUIET_US;
    while (!audit_swarm(&t->swarm, message, sizeof(message))) {
        if (sim_now_us(t->swarm.sim) > until) {
            return stage_fail(t, "%s", message);
        }
        if (!stage_pass_time(t, 2 * POLL_US, NULL, NULL)) {
            return false;
        }
    }
    return audit_bytes(&t->swarm, message, sizeof(message)) || stage_fail(t, "%s", message);
}

bool stage_check_history(struct stage *t) {
    char message[RUN_REASON_SIZE];
    t->checking = RUN_HISTORY;
    return history_check(&t->history, message, sizeof(message)) || stage_fail(t, "%s", message);
}

uint32_t stage_leader(struct stage *t, uint32_t group) {
    uint32_t found = 0;
    uint64_t term = 0;
    for (uint32_t number = 1; number <= t->swarm.count; number++) {
        const struct swarm_node *n = swarm_node(&t->swarm, number);
        struct groups_info info;
        if (!n->ready) {
            continue;
        }
        groups_info(node_groups(n->node), group, &info);
        if (info.here && info.leading && info.term > term) {
            found = number;
            term = info.term;
        }
    }
    return found;
}

uint32_t stage_group_of(struct stage *t, const char *text) {
    struct name name;
    CHECK(name_parse(text, strlen(text), &name) == 0);
    for (uint32_t number = 1; number <= t->swarm.count; number++) {
        const struct swarm_node *n = swarm_node(&t->swarm, number);
        if (n->ready) {
            return groups_of(node_groups(n->node), name_position(&name));
        }
    }
    return 0;
}
