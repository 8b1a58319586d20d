/* Faults of whole machines: their processes, power and clocks. */
#include <inttypes.h>

#include "copies.h"
#include "faults_internal.h"
#include "internal.h"

#define FAULT_PAUSE_US_MAX (10 * SIM_SECOND)
#define FAULT_ROLLING_DOWN_US (3 * SIM_SECOND)
#define FAULT_ROLLING_PAUSE_US (4 * SIM_SECOND)
#define FAULT_STUMBLE_US (100 * SIM_MS) /* mean, from one start to the next end */
#define FAULT_WALL_MS_MAX 20000
#define FAULT_WALL_FAR_MS_MAX 180000
#define FAULT_LOSE_US (60 * SIM_SECOND) /* for the moment to come */
#define FAULT_LOSE_AGAIN_US (250 * SIM_MS)

/* ---- processes and power ----------------------------------------------------------------------------------------- */

void begin_kill(struct plan_fault *f) {
    plan_crash(f, f->host, SIM_CRASH_PROCESS, plan_lasting(f));
}

void begin_power(struct plan_fault *f) {
    plan_crash(f, f->host, SIM_CRASH_POWER, plan_lasting(f));
}

static void crash_all(struct plan_fault *f, enum sim_crash how) {
    for (uint32_t number = 1; number <= f->plan->swarm->count; number++) {
        plan_crash(f, number, how, plan_lasting(f));
    }
}

void begin_blackout(struct plan_fault *f) {
    crash_all(f, SIM_CRASH_POWER);
}

void begin_kill_all(struct plan_fault *f) {
    crash_all(f, SIM_CRASH_PROCESS);
}

/* One after the other, each as soon as the one before is back: as an upgrade does it, or somebody in a hurry. */
static void rolling_step(struct plan_fault *f) {
    if (f->turn == f->plan->swarm->count) {
        return;
    }
    uint32_t number = 1 + (f->host + f->turn++) % f->plan->swarm->count;
    uint64_t down_us = prng_range(&f->prng, 50 * SIM_MS, FAULT_ROLLING_DOWN_US);
    uint64_t pause_us = prng_range(&f->prng, 0, FAULT_ROLLING_PAUSE_US);
    plan_crash(f, number, SIM_CRASH_PROCESS, down_us);
    plan_publish(f);
    fault_step_after(f, rolling_step, down_us + pause_us);
}

void begin_rolling(struct plan_fault *f) {
    uint64_t longest = f->plan->swarm->count * (uint64_t)(FAULT_ROLLING_DOWN_US + FAULT_ROLLING_PAUSE_US);
    plan_extend(f, sim_now_us(fault_sim(f)) + longest + 1);
    plan_say(f, "every node is restarted");
    fault_step_after(f, rolling_step, 0);
}

static void stumble_step(struct plan_fault *f) {
    uint64_t down_us = prng_range(&f->prng, 10 * SIM_MS, 500 * SIM_MS);
    uint64_t up_us = 1 + prng_exponential(&f->prng, FAULT_STUMBLE_US);
    plan_crash(f, f->host, prng_chance(&f->prng, 500000) ? SIM_CRASH_POWER : SIM_CRASH_PROCESS, down_us);
    plan_publish(f);
    fault_step_after(f, stumble_step, down_us + up_us);
}

void begin_stumble(struct plan_fault *f) {
    plan_say(f, "node %" PRIu32 " dies again and again", f->host);
    fault_step_after(f, stumble_step, 0);
}

static void pause_host(struct plan_fault *f, uint32_t number) {
    if (sim_host_up(plan_host(f->plan, number))) {
        sim_host_pause(plan_host(f->plan, number), f->until_us);
    }
}

void begin_pause(struct plan_fault *f) {
    bool all = prng_chance(&f->prng, 150000);
    f->until_us = sim_now_us(fault_sim(f)) + prng_range(&f->prng, 50 * SIM_MS, FAULT_PAUSE_US_MAX);
    for (uint32_t number = 1; number <= f->plan->swarm->count; number++) {
        if (all || number == f->host) {
            pause_host(f, number);
        }
    }
    if (all) {
        plan_say(f, "all nodes");
    } else {
        plan_say(f, "node %" PRIu32, f->host);
    }
}

/* ---- clocks ------------------------------------------------------------------------------------------------------ */

void begin_wall(struct plan_fault *f) {
    int64_t most_ms = prng_chance(&f->prng, 250000) ? FAULT_WALL_FAR_MS_MAX : FAULT_WALL_MS_MAX;
    int64_t to_ms = (int64_t)prng_below(&f->prng, 2 * (uint64_t)most_ms) - most_ms;
    int64_t *stepped_ms = &f->plan->hosts[f->host - 1].stepped_ms;
    int64_t by_ms = to_ms - *stepped_ms;
    *stepped_ms = to_ms;
    sim_host_step_wall(plan_host(f->plan, f->host), by_ms);
    plan_say(f, "clock of node %" PRIu32 " is set to be off by %+.3f s", f->host, (double)to_ms / 1e3);
    f->until_us = 0;
}

void begin_rate(struct plan_fault *f) {
    int32_t ppm = (int32_t)prng_range(&f->prng, 0, 2 * SIM_DRIFT_PPM_MAX) - SIM_DRIFT_PPM_MAX;
    sim_host_set_rate(plan_host(f->plan, f->host), ppm);
    plan_say(f, "clocks of node %" PRIu32 " run %+" PRId32 " ppm faster", f->host, ppm);
    f->until_us = 0;
}

/* ---- members ----------------------------------------------------------------------------------------------------- */

/* One that has never joined, or has left. */
void begin_join(struct plan_fault *f) {
    struct plan *p = f->plan;
    f->until_us = 0;
    for (uint32_t number = 1; number <= p->swarm->count; number++) {
        struct swarm_node *n = swarm_node(p->swarm, number);
        if (swarm_present(p->swarm, number) || sim_host_up(n->host) || errands_joining(&p->errands, number)) {
            continue;
        }
        if (n->left) {
            errands_replace(&p->errands, number);
        } else {
            errands_join(&p->errands, number);
        }
        plan_say(f, "node %" PRIu32, number);
        return;
    }
    plan_say(f, "nobody is left");
}

static uint32_t count_staying(struct plan *p) {
    uint32_t count = 0;
    for (uint32_t number = 1; number <= p->swarm->count; number++) {
        count += swarm_present(p->swarm, number) && !swarm_node(p->swarm, number)->leaving;
    }
    return count;
}

/* A member goes, or stays after all; as many as copies are wanted stay. */
void begin_drain(struct plan_fault *f) {
    struct plan *p = f->plan;
    struct swarm_node *n = swarm_node(p->swarm, f->host);
    bool member = swarm_present(p->swarm, f->host) && n->number != 0;
    bool spared = count_staying(p) > p->swarm->replicas;
    bool stays = prng_chance(&f->prng, 300000);
    f->until_us = 0;
    if (member && n->leaving && stays) {
        n->leaving = false;
        errands_ask(&p->errands, f->host, CLIENT_DRAIN_STOP);
        plan_say(f, "node %" PRIu32 " is to stay", f->host);
    } else if (member && !n->leaving && spared) {
        n->leaving = true;
        errands_ask(&p->errands, f->host, CLIENT_DRAIN);
        plan_say(f, "node %" PRIu32, f->host);
    } else {
        plan_say(f, "node %" PRIu32 " cannot be spared", f->host);
    }
}

static bool may_lose(struct plan *p, uint32_t number) {
    const struct swarm_node *n = swarm_node(p->swarm, number);
    return swarm_present(p->swarm, number) && n->number != 0 && !n->leaving && errands_done(&p->errands) &&
           copies_spare_host(p->swarm, number);
}

/* Waits for a moment in which the others have everything. */
static void lose_disk(struct plan_fault *f) {
    struct plan *p = f->plan;
    if (!may_lose(p, f->host)) {
        fault_step_after(f, lose_disk, FAULT_LOSE_AGAIN_US);
        return;
    }
    sim_host_crash(plan_host(p, f->host), SIM_CRASH_POWER);
    sim_cancel(fault_sim(f), &p->hosts[f->host - 1].restart);
    plan_say(f, "node %" PRIu32 ", which was member %" PRIu32 ", loses its disk", f->host,
             swarm_node(p->swarm, f->host)->number);
    f->until_us = 0;
    plan_publish(f);
    errands_replace(&p->errands, f->host);
}

void begin_lost_disk(struct plan_fault *f) {
    plan_extend(f, sim_now_us(fault_sim(f)) + FAULT_LOSE_US);
    plan_say(f, "node %" PRIu32 ", when it can be spared", f->host);
    fault_step_after(f, lose_disk, 0);
}
