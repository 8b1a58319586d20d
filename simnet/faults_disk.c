/* Faults of disks. */
#include <inttypes.h>

#include "check.h"
#include "copies.h"
#include "faults_internal.h"
#include "internal.h"

#define FAULT_HANG_US_MAX (15 * SIM_SECOND)
#define FAULT_INLINE 32768
#define FAULT_ROT_MAX 8 /* chunks at once */
#define FAULT_ALL_ENVS ((1u << DISK_ENVS) - 1)

static const char *env_name(enum disk_env env) {
    static const char *const names[DISK_ENVS] = {[DISK_LOG] = "log", [DISK_META] = "meta", [DISK_CHUNKS] = "chunks"};
    CHECK(env < DISK_ENVS);
    return names[env];
}

/* ---- how fast they are ------------------------------------------------------------------------------------------- */

/* Every environment as slow as the worst active fault makes it. */
void fault_set_pace(struct plan *p) {
    for (uint32_t number = 1; number <= p->swarm->count; number++) {
        for (int env = 0; env < DISK_ENVS; env++) {
            uint32_t factor = 1;
            for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
                const struct plan_fault *f = &p->faults[i];
                bool on_it = (f->everywhere || f->host == number) && (f->slow_envs >> env & 1) != 0;
                factor = f->active && on_it && f->slow_factor > factor ? f->slow_factor : factor;
            }
            sim_disk_slow(plan_host(p, number), (enum disk_env)env, factor);
        }
    }
}

static void say_pace(struct plan_fault *f) {
    if (f->everywhere) {
        plan_say(f, "all nodes");
    } else {
        plan_say(f, "node %" PRIu32, f->host);
    }
    for (int env = 0; env < DISK_ENVS; env++) {
        if ((f->slow_envs >> env & 1) != 0) {
            plan_say(f, ", %s", env_name((enum disk_env)env));
        }
    }
    plan_say(f, " %" PRIu32 " times slower", f->slow_factor);
}

/* Chunks with the given chance, or one of the others. */
static enum disk_env draw_env(struct plan_fault *f, uint32_t chunks_millionths) {
    bool chunks = prng_chance(&f->prng, chunks_millionths);
    bool log = prng_chance(&f->prng, 500000);
    return chunks ? DISK_CHUNKS : log ? DISK_LOG : DISK_META;
}

/* Some or all environments, of one host or of all: what is acknowledged must be durable in each, however far one lags
 * behind the others. */
void begin_slow_disk(struct plan_fault *f) {
    f->slow_envs = (unsigned)prng_range(&f->prng, 1, FAULT_ALL_ENVS);
    f->slow_factor = (uint32_t)prng_range(&f->prng, 2, 500);
    f->everywhere = prng_chance(&f->prng, 400000);
    fault_set_pace(f->plan);
    say_pace(f);
}

/* One environment lags far behind the others everywhere, so that what is acknowledged too early is not durable yet. */
void begin_ambush(struct plan_fault *f) {
    f->waiting = true;
    f->everywhere = true;
    f->slow_envs = 1u << (f->plan->hunting ? DISK_LOG : draw_env(f, 600000));
    f->slow_factor = (uint32_t)prng_range(&f->prng, 1, 400);
    fault_set_pace(f->plan);
    say_pace(f);
}

/* Everybody, or who leads (and knows alone how far the others may go), or any one: the coordinator is hit often
 * enough. */
static void strike(struct plan_fault *f) {
    f->slow_envs = f->plan->hunting ? f->slow_envs : 0; /* the next leader's beginning takes its time */
    fault_set_pace(f->plan);
    plan_say(f, "a put is acknowledged: ");
    uint64_t whom = prng_below(&f->prng, 100), aim = prng_u64(&f->prng);
    uint32_t any = fault_any_host(f);
    if (f->plan->hunting || whom < 30) {
        plan_crash(f, plan_leader(f->plan, aim, any), SIM_CRASH_POWER, plan_lasting(f));
    } else if (whom < 80) {
        begin_blackout(f);
    } else {
        plan_crash(f, any, SIM_CRASH_POWER, plan_lasting(f));
    }
    f->until_us = 0;
    plan_publish(f);
}

void fault_acknowledged(struct plan_fault *f, uint64_t size) {
    CHECK(f->active);
    /* What is in chunks takes more ways to the disks than what is inline. */
    if (f->waiting && (f->plan->hunting || size > FAULT_INLINE || prng_chance(&f->prng, 100000))) {
        f->waiting = false;
        fault_step_after(f, strike, 0);
    }
}

/* ---- what they refuse -------------------------------------------------------------------------------------------- */

void begin_hung_disk(struct plan_fault *f) {
    f->until_us = sim_now_us(fault_sim(f)) + prng_range(&f->prng, 100 * SIM_MS, FAULT_HANG_US_MAX);
    bool all = prng_chance(&f->prng, 600000);
    enum disk_env one = draw_env(f, 0);
    if (all) {
        sim_disk_hang(plan_host(f->plan, f->host), f->until_us);
        plan_say(f, "node %" PRIu32, f->host);
    } else {
        sim_disk_hang_one(plan_host(f->plan, f->host), one, f->until_us);
        plan_say(f, "node %" PRIu32 ", %s", f->host, env_name(one));
    }
}

void begin_commit(struct plan_fault *f) {
    enum disk_env env = draw_env(f, 300000);
    if (sim_host_up(plan_host(f->plan, f->host))) {
        swarm_node(f->plan->swarm, f->host)->excused = true;
        sim_disk_fail_commit(plan_host(f->plan, f->host), env);
    }
    plan_say(f, "the next one of node %" PRIu32 ", %s, fails", f->host, env_name(env));
    f->until_us = 0;
}

void begin_full_disk(struct plan_fault *f) {
    sim_disk_full(plan_host(f->plan, f->host), true);
    plan_say(f, "node %" PRIu32, f->host);
}

void fault_end_full(struct plan_fault *f) {
    bool still = false;
    for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
        const struct plan_fault *other = &f->plan->faults[i];
        still = still || (other->active && !other->skipped && other->kind == PLAN_FULL_DISK && other->host == f->host);
    }
    sim_disk_full(plan_host(f->plan, f->host), still);
}

/* ---- what they lose ---------------------------------------------------------------------------------------------- */

/* Some chunks of one host, where enough good copies are left. */
void begin_rot(struct plan_fault *f) {
    struct swarm *w = f->plan->swarm;
    uint32_t want = (uint32_t)prng_range(&f->prng, 1, FAULT_ROT_MAX), done = 0;
    for (uint32_t i = 0; i < want; i++) {
        struct digest from, found;
        prng_fill(&f->prng, from.bytes, sizeof(from.bytes));
        uint64_t where = prng_u64(&f->prng);
        if (copies_spare(w, f->host, &from, &found) && sim_disk_rot(plan_host(f->plan, f->host), &found, where)) {
            swarm_damaged(w, f->host, &found);
            done++;
        }
    }
    plan_say(f, "%" PRIu32 " bits in chunks of node %" PRIu32, done, f->host);
    f->until_us = 0;
}

/* As often as the worst active fault on the host makes it. */
void fault_set_misreads(struct plan *p, uint32_t host) {
    uint32_t millionths = 0;
    for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
        const struct plan_fault *f = &p->faults[i];
        bool on_it = f->active && !f->skipped && f->host == host;
        millionths = on_it && f->misread > millionths ? f->misread : millionths;
    }
    sim_disk_misread(plan_host(p, host), millionths);
}

void begin_misread(struct plan_fault *f) {
    f->misread = (uint32_t)prng_range(&f->prng, 1000, 500000);
    f->plan->swarm->misreads = true;
    fault_set_misreads(f->plan, f->host);
    plan_say(f, "%.1f %% of the reads of chunks of node %" PRIu32, f->misread / 1e4, f->host);
}
