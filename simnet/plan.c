#include "plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "internal.h"

#define PLAN_WATCH_US (500 * SIM_MS)
#define PLAN_PAUSE_US_MAX (10 * SIM_SECOND)
#define PLAN_HANG_US_MAX (15 * SIM_SECOND)
#define PLAN_WALL_MS_MAX 20000
#define PLAN_INLINE 32768
#define PLAN_BOTH_ENVS (1u << DISK_META | 1u << DISK_CHUNKS)

static const char *fault_name(enum plan_kind kind) {
    switch (kind) {
#define PLAN_FAULT_NAME(id, name, weight) \
    case PLAN_##id:                       \
        return name;
        PLAN_FAULTS(PLAN_FAULT_NAME)
#undef PLAN_FAULT_NAME
    case PLAN_KINDS:
        break;
    }
    return "?";
}

static uint32_t any_host(struct plan *p) {
    return 1 + (uint32_t)prng_below(&p->prng, p->swarm->count);
}

static uint32_t draw_host(struct plan *p) {
    uint32_t aimed = 0;
    if (p->aim != NULL && (p->hunting || prng_chance(&p->prng, 500000))) {
        aimed = p->aim(p->aim_ctx, prng_u64(&p->prng));
    }
    return aimed != 0 ? aimed : any_host(p);
}

static struct sim_host *host_of(struct plan *p, uint32_t number) {
    return sim_host(p->swarm->sim, number);
}

static uint64_t lasting(struct plan *p) {
    return 200 * SIM_MS + prng_exponential(&p->prng, p->lasting_us);
}

/* ---- the network ------------------------------------------------------------------------------------------------- */

static size_t link_index(const struct plan *p, uint32_t from, uint32_t to) {
    return (size_t)(from - 1) * p->swarm->count + (to - 1);
}

static void block(struct plan_fault *f, uint32_t from, uint32_t to) {
    if (from == to) {
        return;
    }
    f->blocked[link_index(f->plan, from, to)] = true;
    sim_link_block(f->plan->swarm->sim, from, to, true);
}

static void block_between(struct plan_fault *f, uint32_t a, uint32_t b) {
    block(f, a, b);
    block(f, b, a);
}

/* Two random parts; with a bridge, the host f->host belongs to both. */
static void block_parts(struct plan_fault *f, bool bridge) {
    struct plan *p = f->plan;
    uint64_t sides = prng_u64(&p->prng);
    for (uint32_t a = 1; a <= p->swarm->count; a++) {
        for (uint32_t b = a + 1; b <= p->swarm->count; b++) {
            bool apart = (sides >> (a % 64) & 1) != (sides >> (b % 64) & 1);
            if (apart && !(bridge && (a == f->host || b == f->host))) {
                block_between(f, a, b);
            }
        }
    }
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
}

static void unblock(struct plan_fault *f) {
    struct plan *p = f->plan;
    for (uint32_t from = 1; from <= p->swarm->count; from++) {
        for (uint32_t to = 1; to <= p->swarm->count; to++) {
            size_t i = link_index(p, from, to);
            if (f->blocked[i]) {
                f->blocked[i] = false;
                sim_link_block(p->swarm->sim, from, to, false);
            }
        }
    }
}

static void make_lossy(struct plan *p, uint32_t host) {
    const struct sim_link link = {
        .delay_us = (uint32_t)prng_range(&p->prng, 100, 20000),
        .jitter_us = (uint32_t)prng_range(&p->prng, 100, 100000),
        .loss_millionths = (uint32_t)prng_below(&p->prng, 100000),
        .reset_millionths = (uint32_t)prng_below(&p->prng, 2000),
    };
    bool everywhere = prng_chance(&p->prng, 300000);
    for (uint32_t from = 1; from <= p->swarm->count; from++) {
        for (uint32_t to = 1; to <= p->swarm->count; to++) {
            if (from != to && (everywhere || from == host || to == host)) {
                sim_link_set(p->swarm->sim, from, to, &link);
            }
        }
    }
}

static void restore_links(struct plan *p) {
    for (uint32_t from = 1; from <= p->swarm->count; from++) {
        for (uint32_t to = 1; to <= p->swarm->count; to++) {
            sim_link_set(p->swarm->sim, from, to, &p->links[link_index(p, from, to)]);
        }
    }
}

/* ---- one fault --------------------------------------------------------------------------------------------------- */

static void crash(struct plan *p, uint32_t number, enum sim_crash how) {
    if (sim_host_up(host_of(p, number))) {
        sim_host_crash(host_of(p, number), how);
    }
}

static void set_pace(struct plan *p, uint32_t number, unsigned envs, uint32_t factor) {
    for (int env = 0; env < DISK_ENVS; env++) {
        if (envs >> env & 1) {
            sim_disk_slow(host_of(p, number), (enum disk_env)env, factor);
        }
    }
}

static void set_pace_everywhere(struct plan *p, unsigned envs, uint32_t factor) {
    for (uint32_t number = 1; number <= p->swarm->count; number++) {
        set_pace(p, number, envs, factor);
    }
}

static void black_out(struct plan *p) {
    for (uint32_t number = 1; number <= p->swarm->count; number++) {
        crash(p, number, SIM_CRASH_POWER);
    }
}

/* Everybody, or any one: the coordinator is hit often enough. */
static void strike_fire(struct event *e) {
    struct plan *p = CONTAINER(e, struct plan, strike);
    set_pace_everywhere(p, PLAN_BOTH_ENVS, 1);
    if (prng_chance(&p->prng, 750000)) {
        black_out(p);
    } else {
        crash(p, any_host(p), SIM_CRASH_POWER);
    }
}

/* One environment lags far behind the other everywhere, so that what is acknowledged too early is not durable yet. */
static void lie_in_wait(struct plan *p) {
    p->ambushes = 1;
    set_pace_everywhere(p, prng_chance(&p->prng, 700000) ? 1u << DISK_CHUNKS : 1u << DISK_META,
                        (uint32_t)prng_range(&p->prng, 1, 400));
}

void plan_acknowledged(void *plan, uint64_t size) {
    struct plan *p = plan;
    /* What is in chunks takes more ways to the disks than what is inline. */
    if (p->ambushes > 0 && (size > PLAN_INLINE || prng_chance(&p->prng, 100000))) {
        p->ambushes = 0;
        sim_at(p->swarm->sim, &p->strike, sim_now_us(p->swarm->sim));
    }
}

static void fail_commit(struct plan *p, uint32_t number) {
    if (sim_host_up(host_of(p, number))) {
        swarm_node(p->swarm, number)->excused = true;
        sim_disk_fail_commit(host_of(p, number), prng_chance(&p->prng, 700000) ? DISK_META : DISK_CHUNKS);
    }
}

/* One environment or both, of one host or of all: what is acknowledged must be durable in each, however far one lags
 * behind the other. */
static void slow_down(struct plan *p, uint32_t host) {
    unsigned envs = (unsigned)prng_range(&p->prng, 1, 3);
    uint32_t factor = (uint32_t)prng_range(&p->prng, 2, 500);
    bool everywhere = prng_chance(&p->prng, 400000);
    for (uint32_t number = 1; number <= p->swarm->count; number++) {
        if (everywhere || number == host) {
            set_pace(p, number, envs, factor);
        }
    }
}

static void begin_on_host(struct plan_fault *f, uint64_t now_us) {
    struct plan *p = f->plan;
    struct sim_host *h = host_of(p, f->host);
    switch (f->kind) {
    case PLAN_KILL:
        crash(p, f->host, SIM_CRASH_PROCESS);
        break;
    case PLAN_POWER:
        crash(p, f->host, SIM_CRASH_POWER);
        break;
    case PLAN_BLACKOUT:
        black_out(p);
        break;
    case PLAN_AMBUSH:
        lie_in_wait(p);
        break;
    case PLAN_PAUSE:
        if (sim_host_up(h)) {
            sim_host_pause(h, now_us + prng_range(&p->prng, 50 * SIM_MS, PLAN_PAUSE_US_MAX));
        }
        break;
    case PLAN_SLOW_DISK:
        slow_down(p, f->host);
        break;
    case PLAN_HUNG_DISK:
        sim_disk_hang(h, now_us + prng_range(&p->prng, 100 * SIM_MS, PLAN_HANG_US_MAX));
        break;
    case PLAN_COMMIT:
        fail_commit(p, f->host);
        break;
    case PLAN_FULL_DISK:
        sim_disk_full(h, true);
        break;
    default:
        CHECK(f->kind == PLAN_WALL);
        sim_host_step_wall(h, (int64_t)prng_below(&p->prng, 2 * PLAN_WALL_MS_MAX) - PLAN_WALL_MS_MAX);
        break;
    }
}

static void begin(struct plan_fault *f) {
    struct plan *p = f->plan;
    uint64_t now_us = sim_now_us(p->swarm->sim);
    sim_note(p->swarm->sim, "fault %s at %u", fault_name(f->kind), (unsigned)f->host);
    p->counts[f->kind]++;
    switch (f->kind) {
    case PLAN_HALVES:
    case PLAN_BRIDGE:
        block_parts(f, f->kind == PLAN_BRIDGE);
        break;
    case PLAN_ISOLATE:
        block_one(f, true, true);
        break;
    case PLAN_DEAF:
        block_one(f, true, false);
        break;
    case PLAN_MUTE:
        block_one(f, false, true);
        break;
    case PLAN_ONE_WAY:
        block(f, f->host, any_host(p));
        break;
    case PLAN_CLOG:
        for (uint32_t to = 1; to <= p->swarm->count; to++) {
            if (prng_chance(&p->prng, 500000)) {
                sim_link_clog(p->swarm->sim, f->host, to, now_us + lasting(p));
            }
        }
        break;
    case PLAN_LOSSY:
        make_lossy(p, f->host);
        break;
    default:
        begin_on_host(f, now_us);
        break;
    }
}

static void end(struct plan_fault *f) {
    struct sim_host *h = host_of(f->plan, f->host);
    f->active = false;
    unblock(f);
    if (f->kind == PLAN_LOSSY) {
        restore_links(f->plan);
    } else if (f->kind == PLAN_SLOW_DISK) {
        set_pace_everywhere(f->plan, PLAN_BOTH_ENVS, 1);
    } else if (f->kind == PLAN_AMBUSH) {
        f->plan->ambushes = 0;
        set_pace_everywhere(f->plan, PLAN_BOTH_ENVS, 1);
    } else if (f->kind == PLAN_FULL_DISK) {
        sim_disk_full(h, false);
    }
}

static void undo_fire(struct event *e) {
    end(CONTAINER(e, struct plan_fault, undo));
}

static enum plan_kind draw_kind(struct plan *p) {
    uint64_t sum = 0;
    for (int i = 0; i < PLAN_KINDS; i++) {
        sum += p->weights[i];
    }
    uint64_t at = prng_below(&p->prng, sum);
    int kind = 0;
    while (at >= p->weights[kind]) {
        at -= p->weights[kind++];
    }
    CHECK(kind < PLAN_KINDS);
    return (enum plan_kind)kind;
}

static void next_fire(struct event *e) {
    struct plan *p = CONTAINER(e, struct plan, next);
    struct sim *s = p->swarm->sim;
    sim_at(s, &p->next, sim_now_us(s) + 1 + prng_exponential(&p->prng, p->pace_us));
    for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
        struct plan_fault *f = &p->faults[i];
        if (!f->active) {
            f->kind = draw_kind(p);
            f->host = draw_host(p);
            f->active = true;
            begin(f);
            sim_at(s, &f->undo, sim_now_us(s) + lasting(p));
            return;
        }
    }
}

/* ---- hosts come back --------------------------------------------------------------------------------------------- */

static void restart_fire(struct event *e) {
    struct plan_host *h = CONTAINER(e, struct plan_host, restart);
    if (!sim_host_up(host_of(h->plan, h->number))) {
        sim_host_start(host_of(h->plan, h->number));
    }
}

static void watch_fire(struct event *e) {
    struct plan *p = CONTAINER(e, struct plan, watch);
    struct sim *s = p->swarm->sim;
    for (uint32_t number = 1; number <= p->swarm->count; number++) {
        struct plan_host *h = &p->hosts[number - 1];
        if (!sim_host_up(host_of(p, number)) && h->restart.slot == 0) {
            sim_at(s, &h->restart, sim_now_us(s) + lasting(p));
        }
    }
    sim_at(s, &p->watch, sim_now_us(s) + PLAN_WATCH_US);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void draw_mood(struct plan *p) {
    static const uint32_t weights[] = {
#define PLAN_FAULT_WEIGHT(id, name, weight) weight,
        PLAN_FAULTS(PLAN_FAULT_WEIGHT)
#undef PLAN_FAULT_WEIGHT
    };
    for (int i = 0; i < PLAN_KINDS; i++) {
        p->weights[i] = prng_chance(&p->prng, 700000) ? weights[i] : 0;
    }
    p->weights[PLAN_KILL]++; /* never nothing at all */
    p->pace_us = prng_range(&p->prng, 2 * SIM_SECOND, 20 * SIM_SECOND);
    p->lasting_us = prng_range(&p->prng, 1 * SIM_SECOND, 12 * SIM_SECOND);
}

void plan_init(struct plan *p, struct swarm *w) {
    *p = (struct plan){.swarm = w};
    size_t links = (size_t)w->count * w->count;
    prng_init(&p->prng, sim_seed(w->sim), PRNG_SCENARIO, 1);
    sim_event_init(&p->next, next_fire, 0);
    sim_event_init(&p->watch, watch_fire, 0);
    sim_event_init(&p->strike, strike_fire, 0);
    p->hosts = calloc(w->count, sizeof(*p->hosts));
    p->links = calloc(links, sizeof(*p->links));
    CHECK(p->hosts != NULL && p->links != NULL);
    for (uint32_t from = 1; from <= w->count; from++) {
        p->hosts[from - 1].plan = p;
        p->hosts[from - 1].number = from;
        sim_event_init(&p->hosts[from - 1].restart, restart_fire, 0);
        for (uint32_t to = 1; to <= w->count; to++) {
            sim_link_get(w->sim, from, to, &p->links[link_index(p, from, to)]);
        }
    }
    for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
        p->faults[i].plan = p;
        p->faults[i].host = 1;
        p->faults[i].blocked = calloc(links, sizeof(bool));
        CHECK(p->faults[i].blocked != NULL);
        sim_event_init(&p->faults[i].undo, undo_fire, 0);
    }
    draw_mood(p);
}

void plan_release(struct plan *p) {
    for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
        free(p->faults[i].blocked);
    }
    free(p->hosts);
    free(p->links);
    *p = (struct plan){0};
}

void plan_hunt(struct plan *p) {
    for (int i = 0; i < PLAN_KINDS; i++) {
        p->weights[i] = 0;
    }
    p->hunting = true;
    p->weights[PLAN_ISOLATE] = 4;
    p->weights[PLAN_HALVES] = 2;
    p->weights[PLAN_MUTE] = 1;
    p->weights[PLAN_PAUSE] = 1;
    p->pace_us = 5 * SIM_SECOND;
    p->lasting_us = 3 * SIM_SECOND;
}

void plan_start(struct plan *p) {
    struct sim *s = p->swarm->sim;
    sim_at(s, &p->next, sim_now_us(s) + prng_exponential(&p->prng, p->pace_us));
    sim_at(s, &p->watch, sim_now_us(s) + PLAN_WATCH_US);
}

void plan_heal(struct plan *p) {
    struct sim *s = p->swarm->sim;
    sim_cancel(s, &p->next);
    sim_cancel(s, &p->watch);
    sim_cancel(s, &p->strike);
    p->ambushes = 0;
    for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
        sim_cancel(s, &p->faults[i].undo);
        if (p->faults[i].active) {
            end(&p->faults[i]);
        }
    }
    sim_heal(s);
    restore_links(p);
    for (uint32_t number = 1; number <= p->swarm->count; number++) {
        sim_cancel(s, &p->hosts[number - 1].restart);
        sim_disk_repair(host_of(p, number));
        if (!sim_host_up(host_of(p, number))) {
            sim_host_start(host_of(p, number));
        }
    }
}
