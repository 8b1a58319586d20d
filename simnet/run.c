#include "run.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "stage.h"

#define RUN_CAPACITY ((uint64_t)8 << 30)

struct run {
    const struct run_options *options;
    struct stage stage;
    struct plan plan;
};

/* ---- the phases -------------------------------------------------------------------------------------------------- */

/* The host that leads the group of a name in use; 0 when none does. */
static uint32_t leader_of_a_name(void *ctx, uint64_t random) {
    struct run *r = ctx;
    const char *text = r->stage.history.names[r->stage.load.names[random % r->stage.load.name_count]].text;
    return stage_leader(&r->stage, stage_group_of(&r->stage, text));
}

static bool load_idle(const void *ctx) {
    return workload_idle(ctx);
}

static bool break_everything(struct run *r) {
    r->stage.checking = RUN_ANSWER;
    r->stage.result->faults_from_us = sim_now_us(r->stage.swarm.sim);
    plan_start(&r->plan);
    workload_start(&r->stage.load);
    if (!stage_pass_time(&r->stage, r->options->faults_us, NULL, NULL)) {
        return false;
    }
    workload_stop(&r->stage.load);
    plan_heal(&r->plan);
    return stage_pass_time(&r->stage, 2 * STAGE_CALL_US, load_idle, &r->stage.load) &&
           (workload_idle(&r->stage.load) || stage_fail(&r->stage, "somebody still waits for an answer"));
}

static bool phases(struct run *r, struct user_result *first, struct user_result *answer) {
    if (!stage_gather(&r->stage, answer) || !stage_wait_healthy(&r->stage, answer) || !break_everything(r)) {
        return false;
    }
    sim_note(r->stage.swarm.sim, "healed");
    /* Each of these is worth knowing even if one before it failed; the first one is the reason. */
    bool good = stage_wait_healthy(&r->stage, answer) && stage_write_all(&r->stage, answer) &&
                stage_read_all_back(&r->stage, first, answer) && stage_list_all(&r->stage, answer);
    good = stage_check_history(&r->stage) && good;
    return good && stage_wait_quiet(&r->stage);
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
    swarm_init(&r->stage.swarm, &so);
    history_init(&r->stage.history, r->stage.swarm.sim);
    workload_init(&r->stage.load, &r->stage.swarm, &r->stage.history);
    plan_init(&r->plan, &r->stage.swarm);
    r->stage.plan = &r->plan;
    r->stage.founders = r->plan.founders;
    if (r->stage.load.hot && options->seed % 2 == 0) {
        plan_hunt(&r->plan);
    }
    r->plan.aim = leader_of_a_name;
    r->plan.aim_ctx = r;
    r->plan.select = &options->faults;
    r->stage.load.select = options->asks;
    r->stage.load.acknowledged = plan_acknowledged;
    r->stage.load.acknowledged_ctx = &r->plan;
    r->plan.tell = r->stage.load.tell = options->schedule;
    r->plan.tell_ctx = r->stage.load.tell_ctx = options->trace_ctx;
}

void run_seed(const struct run_options *options, struct run_result *result) {
    CHECK(options->nodes >= 1 && options->replicas >= 1);
    struct run *r = calloc(1, sizeof(*r));
    struct user_result *answers = calloc(2, sizeof(*answers));
    CHECK(r != NULL && answers != NULL);
    *result = (struct run_result){0};
    r->stage.result = result;
    start_run(r, options);
    result->passed = phases(r, &answers[0], &answers[1]);
    CHECK(result->passed == (result->reason[0] == '\0'));
    result->hash = sim_hash(r->stage.swarm.sim);
    stage_note_extent(&r->stage);
    result->events = sim_events_count(r->stage.swarm.sim);
    result->calls = r->stage.load.calls;
    result->bytes_put = r->stage.load.bytes_put;
    result->answered = r->stage.history.answered;
    result->unanswered = r->stage.history.unanswered;
    workload_stop(&r->stage.load);
    swarm_release(&r->stage.swarm);
    plan_release(&r->plan);
    history_release(&r->stage.history);
    free(answers);
    free(r);
}
