#include "faults.h"

#include <inttypes.h>

#include "check.h"
#include "internal.h"

#define FAULT_PAUSE_US_MAX (10 * SIM_SECOND)
#define FAULT_HANG_US_MAX (15 * SIM_SECOND)
#define FAULT_WALL_MS_MAX 20000
#define FAULT_INLINE 32768
#define FAULT_ALL_ENVS ((1u << DISK_ENVS) - 1)

static uint32_t any_host(struct plan_fault *f) {
    return 1 + (uint32_t)prng_below(&f->prng, f->plan->swarm->count);
}

static struct sim *sim_of(const struct plan_fault *f) {
    return f->plan->swarm->sim;
}

static const char *env_name(enum disk_env env) {
    static const char *const names[DISK_ENVS] = {[DISK_LOG] = "log", [DISK_META] = "meta", [DISK_CHUNKS] = "chunks"};
    CHECK(env < DISK_ENVS);
    return names[env];
}

/* ---- the network: what is blocked -------------------------------------------------------------------------------- */

static void block(struct plan_fault *f, uint32_t from, uint32_t to) {
    if (from != to) {
        f->blocked[plan_link(f->plan, from, to)] = true;
        sim_link_block(sim_of(f), from, to, true);
    }
}

/* Two random parts; with a bridge, the host f->host belongs to both. */
static void block_parts(struct plan_fault *f, bool bridge) {
    uint32_t count = f->plan->swarm->count;
    uint64_t sides = prng_u64(&f->prng);
    plan_say(f, "between nodes");
    for (uint32_t a = 1; a <= count; a++) {
        if ((sides >> (a % 64) & 1) != 0) {
            plan_say(f, " %" PRIu32, a);
        }
        for (uint32_t b = a + 1; b <= count; b++) {
            bool apart = (sides >> (a % 64) & 1) != (sides >> (b % 64) & 1);
            if (apart && !(bridge && (a == f->host || b == f->host))) {
                block(f, a, b);
                block(f, b, a);
            }
        }
    }
    plan_say(f, " and the others");
}

static void begin_halves(struct plan_fault *f) {
    block_parts(f, false);
}

static void begin_bridge(struct plan_fault *f) {
    block_parts(f, true);
    plan_say(f, ", but for node %" PRIu32, f->host);
}

static void block_one(struct plan_fault *f, bool inward, bool outward) {
    for (uint32_t other = 1; other <= f->plan->swarm->count; other++) {
        if (inward) {
            block(f, other, f->host);
        }
        if (outward) {
            block(f, f->host, other);
        }
    }
    plan_say(f, "node %" PRIu32, f->host);
}

static void begin_isolate(struct plan_fault *f) {
    block_one(f, true, true);
}

static void begin_deaf(struct plan_fault *f) {
    block_one(f, true, false);
}

static void begin_mute(struct plan_fault *f) {
    block_one(f, false, true);
}

static void begin_one_way(struct plan_fault *f) {
    uint32_t to = any_host(f);
    block(f, f->host, to);
    plan_say(f, "nothing from node %" PRIu32 " to node %" PRIu32, f->host, to);
}

/* What no other fault blocks. */
static void unblock(struct plan_fault *f) {
    struct plan *p = f->plan;
    for (uint32_t from = 1; from <= p->swarm->count; from++) {
        for (uint32_t to = 1; to <= p->swarm->count; to++) {
            size_t link = plan_link(p, from, to);
            if (!f->blocked[link]) {
                continue;
            }
            f->blocked[link] = false;
            bool still = false;
            for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
                still = still || p->faults[i].blocked[link];
            }
            sim_link_block(p->swarm->sim, from, to, still);
        }
    }
}

/* ---- the network: how well what is not blocked works ------------------------------------------------------------- */

static void begin_clog(struct plan_fault *f) {
    uint64_t now_us = sim_now_us(sim_of(f));
    plan_say(f, "node %" PRIu32 " to", f->host);
    f->until_us = 0;
    for (uint32_t to = 1; to <= f->plan->swarm->count; to++) {
        if (prng_chance(&f->prng, 500000)) {
            uint64_t until = now_us + plan_lasting(f);
            sim_link_clog(sim_of(f), f->host, to, until);
            plan_say(f, " %" PRIu32, to);
            f->until_us = until > f->until_us ? until : f->until_us;
        }
    }
}

/* Every link as the youngest active fault on it has it, or else as it was. */
static void set_links(struct plan *p) {
    for (uint32_t from = 1; from <= p->swarm->count; from++) {
        for (uint32_t to = 1; to <= p->swarm->count; to++) {
            const struct sim_link *link = &p->links[plan_link(p, from, to)];
            uint32_t youngest = 0;
            for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
                const struct plan_fault *f = &p->faults[i];
                bool on_it = f->everywhere || f->host == from || f->host == to;
                if (f->active && !f->skipped && f->kind == PLAN_LOSSY && on_it && f->number > youngest) {
                    link = &f->link;
                    youngest = f->number;
                }
            }
            if (from != to) {
                sim_link_set(p->swarm->sim, from, to, link);
            }
        }
    }
}

static void begin_lossy(struct plan_fault *f) {
    f->link.delay_us = (uint32_t)prng_range(&f->prng, 100, 20000);
    f->link.jitter_us = (uint32_t)prng_range(&f->prng, 100, 100000);
    f->link.loss_millionths = (uint32_t)prng_below(&f->prng, 100000);
    f->link.reset_millionths = (uint32_t)prng_below(&f->prng, 2000);
    f->everywhere = prng_chance(&f->prng, 300000);
    set_links(f->plan);
    if (f->everywhere) {
        plan_say(f, "all links");
    } else {
        plan_say(f, "links of node %" PRIu32, f->host);
    }
    plan_say(f, ", delay %.1f ms, jitter %.1f ms, loss %.2f %%, resets %.2f %%", f->link.delay_us / 1e3,
             f->link.jitter_us / 1e3, f->link.loss_millionths / 1e4, f->link.reset_millionths / 1e4);
}

/* ---- processes and power ----------------------------------------------------------------------------------------- */

static void begin_kill(struct plan_fault *f) {
    plan_crash(f, f->host, SIM_CRASH_PROCESS);
}

static void begin_power(struct plan_fault *f) {
    plan_crash(f, f->host, SIM_CRASH_POWER);
}

static void begin_blackout(struct plan_fault *f) {
    for (uint32_t number = 1; number <= f->plan->swarm->count; number++) {
        plan_crash(f, number, SIM_CRASH_POWER);
    }
}

static void begin_pause(struct plan_fault *f) {
    f->until_us = sim_now_us(sim_of(f)) + prng_range(&f->prng, 50 * SIM_MS, FAULT_PAUSE_US_MAX);
    if (sim_host_up(plan_host(f->plan, f->host))) {
        sim_host_pause(plan_host(f->plan, f->host), f->until_us);
    }
    plan_say(f, "node %" PRIu32, f->host);
}

static void begin_wall(struct plan_fault *f) {
    int64_t by_ms = (int64_t)prng_below(&f->prng, 2 * FAULT_WALL_MS_MAX) - FAULT_WALL_MS_MAX;
    sim_host_step_wall(plan_host(f->plan, f->host), by_ms);
    plan_say(f, "clock of node %" PRIu32 " steps by %+.3f s", f->host, (double)by_ms / 1e3);
    f->until_us = 0;
}

/* ---- disks ------------------------------------------------------------------------------------------------------- */

/* Every environment as slow as the worst active fault makes it. */
static void set_pace(struct plan *p) {
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
static void begin_slow_disk(struct plan_fault *f) {
    f->slow_envs = (unsigned)prng_range(&f->prng, 1, FAULT_ALL_ENVS);
    f->slow_factor = (uint32_t)prng_range(&f->prng, 2, 500);
    f->everywhere = prng_chance(&f->prng, 400000);
    set_pace(f->plan);
    say_pace(f);
}

/* One environment lags far behind the others everywhere, so that what is acknowledged too early is not durable yet. */
static void begin_ambush(struct plan_fault *f) {
    f->waiting = true;
    f->everywhere = true;
    f->slow_envs = 1u << draw_env(f, 600000);
    f->slow_factor = (uint32_t)prng_range(&f->prng, 1, 400);
    set_pace(f->plan);
    say_pace(f);
}

void fault_acknowledged(struct plan_fault *f, uint64_t size) {
    CHECK(f->active);
    /* What is in chunks takes more ways to the disks than what is inline. */
    if (f->waiting && (size > FAULT_INLINE || prng_chance(&f->prng, 100000))) {
        f->waiting = false;
        sim_at(sim_of(f), &f->strike, sim_now_us(sim_of(f)));
    }
}

/* Everybody, or any one: the coordinator is hit often enough. */
static void strike_fire(struct event *e) {
    struct plan_fault *f = CONTAINER(e, struct plan_fault, strike);
    f->slow_envs = 0;
    set_pace(f->plan);
    plan_say(f, "a put is acknowledged: ");
    if (prng_chance(&f->prng, 750000)) {
        begin_blackout(f);
    } else {
        plan_crash(f, any_host(f), SIM_CRASH_POWER);
    }
    f->until_us = 0;
    plan_publish(f);
}

static void begin_hung_disk(struct plan_fault *f) {
    f->until_us = sim_now_us(sim_of(f)) + prng_range(&f->prng, 100 * SIM_MS, FAULT_HANG_US_MAX);
    sim_disk_hang(plan_host(f->plan, f->host), f->until_us);
    plan_say(f, "node %" PRIu32, f->host);
}

static void begin_commit(struct plan_fault *f) {
    enum disk_env env = draw_env(f, 300000);
    if (sim_host_up(plan_host(f->plan, f->host))) {
        swarm_node(f->plan->swarm, f->host)->excused = true;
        sim_disk_fail_commit(plan_host(f->plan, f->host), env);
    }
    plan_say(f, "the next one of node %" PRIu32 ", %s, fails", f->host, env_name(env));
    f->until_us = 0;
}

static void begin_full_disk(struct plan_fault *f) {
    sim_disk_full(plan_host(f->plan, f->host), true);
    plan_say(f, "node %" PRIu32, f->host);
}

static void end_full_disk(struct plan_fault *f) {
    bool still = false;
    for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
        const struct plan_fault *other = &f->plan->faults[i];
        still = still || (other->active && !other->skipped && other->kind == PLAN_FULL_DISK && other->host == f->host);
    }
    sim_disk_full(plan_host(f->plan, f->host), still);
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
    sim_event_init(&f->strike, strike_fire, 0);
    kinds[f->kind].begin(f);
}

void fault_end(struct plan_fault *f) {
    CHECK(!f->active);
    sim_cancel(sim_of(f), &f->strike);
    unblock(f);
    if (f->kind == PLAN_LOSSY) {
        set_links(f->plan);
    } else if (f->kind == PLAN_FULL_DISK) {
        end_full_disk(f);
    } else if (f->slow_envs != 0) {
        f->slow_envs = 0;
        set_pace(f->plan);
    }
    f->everywhere = false;
    f->waiting = false;
}
