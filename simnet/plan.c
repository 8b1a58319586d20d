#include "plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "faults.h"
#include "internal.h"

#define PLAN_WATCH_US (500 * SIM_MS)
#define PLAN_FIERCE 120000 /* millionths of the seeds have one fault on top of another */
#define PLAN_LATE_MAX 2    /* hosts that join later */
#define PLAN_LINE_SIZE (PLAN_TEXT_SIZE + 80)

/* Streams of random numbers of the purpose PRNG_SCENARIO + 1: the mood is 0, the others by index. */
#define PLAN_STREAM_FAULT ((uint64_t)1 << 32)   /* + number of the fault */
#define PLAN_STREAM_RESTART ((uint64_t)2 << 32) /* + number of the last fault; mixed with the host */

static void draw_stream(struct plan *p, uint64_t index, struct prng *out) {
    prng_init(out, sim_seed(p->swarm->sim), PRNG_SCENARIO + 1, index);
}

struct sim_host *plan_host(struct plan *p, uint32_t number) {
    return sim_host(p->swarm->sim, number);
}

size_t plan_link(const struct plan *p, uint32_t from, uint32_t to) {
    return (size_t)(from - 1) * p->swarm->count + (to - 1);
}

static uint64_t draw_lasting(struct plan *p, struct prng *prng) {
    return 200 * SIM_MS + prng_exponential(prng, p->lasting_us);
}

void plan_extend(struct plan_fault *f, uint64_t until_us) {
    CHECK(f->active);
    f->until_us = until_us;
    sim_at(f->plan->swarm->sim, &f->undo, until_us);
}

uint64_t plan_lasting(struct plan_fault *f) {
    return draw_lasting(f->plan, &f->prng);
}

uint32_t plan_leader(struct plan *p, uint64_t random, uint32_t otherwise) {
    uint32_t host = p->aim != NULL ? p->aim(p->aim_ctx, random) : 0;
    return host != 0 ? host : otherwise;
}

/* ---- what is told ------------------------------------------------------------------------------------------------ */

void plan_say(struct plan_fault *f, const char *format, ...) {
    size_t size = strlen(f->text);
    va_list args;
    va_start(args, format);
    vsnprintf(f->text + size, sizeof(f->text) - size, format, args);
    va_end(args);
}

static void tell(struct plan *p, const char *line) {
    sim_note(p->swarm->sim, "%s", line);
    if (p->tell != NULL) {
        p->tell(p->tell_ctx, sim_now_us(p->swarm->sim), line);
    }
}

void plan_publish(struct plan_fault *f) {
    char line[PLAN_LINE_SIZE];
    char until[40] = "";
    if (f->until_us > 0) {
        snprintf(until, sizeof(until), ", until %.6f", (double)f->until_us / SIM_SECOND);
    }
    snprintf(line, sizeof(line), "#%" PRIu32 " %s: %s%s", f->number, fault_name(f->kind), f->text, until);
    f->text[0] = '\0';
    tell(f->plan, line);
}

/* ---- hosts go down and come back --------------------------------------------------------------------------------- */

/* One that is still to be let in is started by whoever runs its errand. */
static bool is_member(struct plan *p, uint32_t number) {
    return swarm_present(p->swarm, number) && swarm_node(p->swarm, number)->number != 0;
}

static void restart_fire(struct event *e) {
    struct plan_host *h = CONTAINER(e, struct plan_host, restart);
    if (!sim_host_up(plan_host(h->plan, h->number)) && is_member(h->plan, h->number)) {
        sim_host_start(plan_host(h->plan, h->number));
    }
}

void plan_crash(struct plan_fault *f, uint32_t number, enum sim_crash how, uint64_t for_us) {
    struct plan *p = f->plan;
    uint64_t back_us = sim_now_us(p->swarm->sim) + for_us;
    f->until_us = 0;
    if (sim_host_up(plan_host(p, number))) {
        sim_host_crash(plan_host(p, number), how);
        sim_at(p->swarm->sim, &p->hosts[number - 1].restart, back_us);
        plan_say(f, "%snode %" PRIu32 " until %.6f", f->text[0] == '\0' ? "" : ", ", number,
                 (double)back_us / SIM_SECOND);
    } else {
        plan_say(f, "%snode %" PRIu32 " is down", f->text[0] == '\0' ? "" : ", ", number);
    }
}

/* A node that ended by itself is started again like one that was crashed. */
static void watch_fire(struct event *e) {
    struct plan *p = CONTAINER(e, struct plan, watch);
    struct sim *s = p->swarm->sim;
    for (uint32_t number = 1; number <= p->swarm->count; number++) {
        struct plan_host *h = &p->hosts[number - 1];
        struct prng prng;
        if (is_member(p, number) && !sim_host_up(plan_host(p, number)) && h->restart.slot == 0) {
            draw_stream(p, (PLAN_STREAM_RESTART + p->drawn) ^ (uint64_t)number << 40, &prng);
            sim_at(s, &h->restart, sim_now_us(s) + draw_lasting(p, &prng));
        }
    }
    sim_at(s, &p->watch, sim_now_us(s) + PLAN_WATCH_US);
}

/* ---- one fault after the other ----------------------------------------------------------------------------------- */

static void end(struct plan_fault *f) {
    f->active = false;
    if (!f->skipped) {
        fault_end(f);
    }
}

static void undo_fire(struct event *e) {
    end(CONTAINER(e, struct plan_fault, undo));
}

static uint32_t draw_host(struct plan_fault *f) {
    struct plan *p = f->plan;
    uint32_t any = 1 + (uint32_t)prng_below(&f->prng, p->swarm->count);
    bool aimed = prng_chance(&f->prng, 500000) || p->hunting;
    uint64_t aim = prng_u64(&f->prng);
    return aimed ? plan_leader(p, aim, any) : any;
}

static enum plan_kind draw_kind(struct plan_fault *f) {
    const uint32_t *weights = f->plan->weights;
    uint64_t sum = 0;
    for (int i = 0; i < PLAN_KINDS; i++) {
        sum += weights[i];
    }
    uint64_t at = prng_below(&f->prng, sum);
    int kind = 0;
    while (at >= weights[kind]) {
        at -= weights[kind++];
    }
    CHECK(kind < PLAN_KINDS);
    return (enum plan_kind)kind;
}

/* Draws when the next one comes, from its own stream: the times do not depend on which of them happen. */
static void draw_next(struct plan *p) {
    struct sim *s = p->swarm->sim;
    CHECK(p->drawn < UINT32_MAX - 1);
    draw_stream(p, PLAN_STREAM_FAULT + p->drawn + 1, &p->coming);
    sim_at(s, &p->next, sim_now_us(s) + 1 + prng_exponential(&p->coming, p->pace_us));
}

/* A skipped fault takes its place too, so that there is room for the same ones after it. */
static void begin(struct plan_fault *f, uint32_t number, const struct prng *prng) {
    struct plan *p = f->plan;
    f->number = number;
    f->prng = *prng;
    f->active = true;
    f->skipped = p->select != NULL && !selected(p->select, number);
    f->kind = draw_kind(f);
    f->host = draw_host(f);
    f->until_us = sim_now_us(p->swarm->sim) + plan_lasting(f);
    f->text[0] = '\0';
    sim_at(p->swarm->sim, &f->undo, f->until_us);
    if (!f->skipped) {
        p->counts[f->kind]++;
        fault_begin(f);
        plan_publish(f);
    }
}

static void next_fire(struct event *e) {
    struct plan *p = CONTAINER(e, struct plan, next);
    const struct prng prng = p->coming;
    uint32_t number = ++p->drawn;
    draw_next(p);
    for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
        if (!p->faults[i].active) {
            begin(&p->faults[i], number, &prng);
            return;
        }
    }
}

void plan_acknowledged(void *plan, uint64_t size) {
    struct plan *p = plan;
    for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
        if (p->faults[i].active && !p->faults[i].skipped) {
            fault_acknowledged(&p->faults[i], size);
        }
    }
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void draw_founders(struct plan *p, struct prng *prng) {
    uint32_t count = p->swarm->count;
    uint32_t late = (uint32_t)prng_range(prng, 0, PLAN_LATE_MAX);
    p->founders = prng_chance(prng, 500000) && late < count ? count - late : count;
    if (p->founders < count) {
        p->weights[PLAN_JOIN] = fault_weight(PLAN_JOIN);
    }
}

static void draw_mood(struct plan *p) {
    struct prng prng;
    draw_stream(p, 0, &prng);
    for (int i = 0; i < PLAN_KINDS; i++) {
        p->weights[i] = prng_chance(&prng, 700000) ? fault_weight((enum plan_kind)i) : 0;
    }
    p->weights[PLAN_KILL]++; /* never nothing at all */
    bool fierce = prng_chance(&prng, PLAN_FIERCE);
    p->pace_us =
        fierce ? prng_range(&prng, 300 * SIM_MS, 2 * SIM_SECOND) : prng_range(&prng, 2 * SIM_SECOND, 20 * SIM_SECOND);
    p->lasting_us = prng_range(&prng, 1 * SIM_SECOND, 12 * SIM_SECOND);
    draw_founders(p, &prng);
}

void plan_init(struct plan *p, struct swarm *w) {
    *p = (struct plan){.swarm = w};
    size_t links = (size_t)w->count * w->count;
    errands_init(&p->errands, w);
    sim_event_init(&p->next, next_fire, 0);
    sim_event_init(&p->watch, watch_fire, 0);
    p->hosts = calloc(w->count, sizeof(*p->hosts));
    p->links = calloc(links, sizeof(*p->links));
    CHECK(p->hosts != NULL && p->links != NULL);
    for (uint32_t from = 1; from <= w->count; from++) {
        p->hosts[from - 1].plan = p;
        p->hosts[from - 1].number = from;
        sim_event_init(&p->hosts[from - 1].restart, restart_fire, 0);
        for (uint32_t to = 1; to <= w->count; to++) {
            sim_link_get(w->sim, from, to, &p->links[plan_link(p, from, to)]);
        }
    }
    for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
        p->faults[i].plan = p;
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
    errands_release(&p->errands);
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
    p->weights[PLAN_AMBUSH] = 4;
    p->weights[PLAN_SLOW_DISK] = 2;
    p->pace_us = 5 * SIM_SECOND;
    p->lasting_us = 3 * SIM_SECOND;
}

void plan_start(struct plan *p) {
    struct sim *s = p->swarm->sim;
    draw_next(p);
    sim_at(s, &p->watch, sim_now_us(s) + PLAN_WATCH_US);
}

void plan_heal(struct plan *p) {
    struct sim *s = p->swarm->sim;
    sim_cancel(s, &p->next);
    sim_cancel(s, &p->watch);
    for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
        sim_cancel(s, &p->faults[i].undo);
        if (p->faults[i].active) {
            end(&p->faults[i]);
        }
    }
    sim_heal(s);
    for (uint32_t number = 1; number <= p->swarm->count; number++) {
        sim_cancel(s, &p->hosts[number - 1].restart);
        swarm_end_now(p->swarm, number);
        sim_disk_repair(plan_host(p, number));
        if (!sim_host_up(plan_host(p, number)) && is_member(p, number)) {
            sim_host_start(plan_host(p, number));
        } else if (!swarm_node(p->swarm, number)->belongs) {
            errands_join(&p->errands, number);
        }
    }
    tell(p, "everything is healed");
}
