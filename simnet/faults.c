#include "faults.h"

#include "check.h"
#include "faults_internal.h"
#include "internal.h"

uint32_t fault_any_host(struct plan_fault *f) {
    return 1 + (uint32_t)prng_below(&f->prng, f->plan->swarm->count);
}

struct sim *fault_sim(const struct plan_fault *f) {
    return f->plan->swarm->sim;
}

static void strike_fire(struct event *e) {
    struct plan_fault *f = CONTAINER(e, struct plan_fault, strike);
    CHECK(f->active && f->step != NULL);
    f->step(f);
}

void fault_step_after(struct plan_fault *f, void (*step)(struct plan_fault *f), uint64_t after_us) {
    if (f->strike.slot == 0) {
        sim_event_init(&f->strike, strike_fire, 0);
    }
    f->step = step;
    sim_at(fault_sim(f), &f->strike, sim_now_us(fault_sim(f)) + after_us);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint32_t weight;
    void (*begin)(struct plan_fault *f);
} kinds[PLAN_KINDS] = {
#define FAULT_ROW(id, function, name, weight) {name, weight, begin_##function},
    PLAN_FAULTS(FAULT_ROW)
#undef FAULT_ROW
};

const char *fault_name(enum plan_kind kind) {
    CHECK(kind < PLAN_KINDS);
    return kinds[kind].name;
}

uint32_t fault_weight(enum plan_kind kind) {
    CHECK(kind < PLAN_KINDS);
    return kinds[kind].weight;
}

void fault_begin(struct plan_fault *f) {
    CHECK(f->active && !f->skipped);
    CHECK(f->kind < PLAN_KINDS);
    f->turn = 0;
    kinds[f->kind].begin(f);
}

void fault_end(struct plan_fault *f) {
    CHECK(!f->active);
    sim_cancel(fault_sim(f), &f->strike);
    fault_unblock(f);
    if (f->linked) {
        f->linked = false;
        fault_set_links(f->plan);
    }
    if (f->kind == PLAN_FULL_DISK) {
        fault_end_full(f);
    }
    if (f->slow_envs != 0) {
        f->slow_envs = 0;
        fault_set_pace(f->plan);
    }
    if (f->misread != 0) {
        f->misread = 0;
        fault_set_misreads(f->plan, f->host);
    }
    f->everywhere = false;
    f->waiting = false;
}
