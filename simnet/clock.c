/* The clock and random ports. */
#include <stdlib.h>

#include "check.h"
#include "internal.h"

#define SIM_BASE_US_MAX ((uint64_t)1 << 40) /* uptime of the machine at a start: at most 12 days */

static void clock_fire(struct event *e) {
    struct clock *c = CONTAINER(e, struct clock, wake);
    CHECK(c->on_wake != NULL);
    sim_happened(c->host->sim, SIM_WAKE, c->host->number, 0, NULL, 0);
    c->on_wake(c->ctx);
}

struct clock *sim_clock_new(struct sim_host *h) {
    struct clock *c = calloc(1, sizeof(*c));
    CHECK(c != NULL);
    c->host = h;
    c->started_us = h->sim->now_us;
    struct prng prng;
    prng_init(&prng, h->sim->options.seed, PRNG_HOST, (uint64_t)h->boots << 32 | h->number);
    c->base_us = prng_below(&prng, SIM_BASE_US_MAX);
    sim_event_init(&c->wake, clock_fire, h->number);
    return c;
}

void sim_clock_kill(struct clock *c) {
    events_cancel(&c->host->sim->events, &c->wake);
    CHECK(c->wake.slot == 0);
}

void sim_clock_free(struct clock *c) {
    if (c != NULL) {
        sim_clock_kill(c);
        free(c);
    }
}

static uint64_t local_us(const struct clock *c, uint64_t world_us) {
    int64_t passed = (int64_t)(world_us - c->started_us);
    return c->base_us + (uint64_t)(passed + passed * c->host->drift_ppm / (int64_t)PRNG_MILLION);
}

/* The first moment of the world at which the local clock shows at least this. */
static uint64_t world_us(const struct clock *c, uint64_t wanted_us) {
    if (wanted_us <= local_us(c, c->host->sim->now_us)) {
        return c->host->sim->now_us;
    }
    uint64_t passed = wanted_us - c->base_us;
    uint64_t rate = (uint64_t)((int64_t)PRNG_MILLION + c->host->drift_ppm);
    uint64_t whole = passed / rate * PRNG_MILLION;
    uint64_t rest = passed % rate * PRNG_MILLION / rate;
    uint64_t result = c->started_us + whole + rest;
    while (local_us(c, result) < wanted_us) {
        result++;
    }
    return result;
}

uint64_t clock_now_ms(const struct clock *c) {
    return local_us(c, c->host->sim->now_us) / SIM_MS;
}

uint64_t clock_exact_ms(const struct clock *c) {
    return clock_now_ms(c);
}

uint64_t clock_wall_ms(const struct clock *c) {
    const struct sim_host *h = c->host;
    int64_t now = (int64_t)h->sim->now_us;
    int64_t shown = now + now * h->drift_ppm / (int64_t)PRNG_MILLION + h->wall_offset_us;
    return SIM_WALL_START_MS + (uint64_t)(shown / (int64_t)SIM_MS);
}

void clock_wake_at(struct clock *c, uint64_t when_ms) {
    struct sim *s = c->host->sim;
    if (!c->host->up || when_ms == UINT64_MAX) {
        events_cancel(&s->events, &c->wake);
        return;
    }
    CHECK(when_ms < UINT64_MAX / SIM_MS / 2);
    c->wake_ms = when_ms;
    uint64_t at = world_us(c, when_ms * SIM_MS);
    uint64_t soonest = s->now_us + SIM_TURN_US;
    events_add(&s->events, &c->wake, at > soonest ? at : soonest);
}

void clock_on_wake(struct clock *c, void (*wake)(void *ctx), void *ctx) {
    CHECK(wake != NULL);
    CHECK(c->wake.slot == 0);
    c->on_wake = wake;
    c->ctx = ctx;
}

void sim_host_set_rate(struct sim_host *h, int32_t drift_ppm) {
    CHECK(drift_ppm >= -SIM_DRIFT_PPM_MAX && drift_ppm <= SIM_DRIFT_PPM_MAX);
    int64_t now = (int64_t)h->sim->now_us;
    sim_happened(h->sim, SIM_FAULT, h->number, (uint64_t)(int64_t)drift_ppm, "rate", 4);
    h->wall_offset_us += now * (h->drift_ppm - drift_ppm) / (int64_t)PRNG_MILLION;
    if (h->clock != NULL) {
        struct clock *c = h->clock;
        c->base_us = local_us(c, h->sim->now_us);
        c->started_us = h->sim->now_us;
    }
    h->drift_ppm = drift_ppm;
    if (h->clock != NULL && h->clock->wake.slot != 0) {
        clock_wake_at(h->clock, h->clock->wake_ms);
    }
}

struct random *sim_random_new(struct sim_host *h) {
    struct random *r = calloc(1, sizeof(*r));
    CHECK(r != NULL);
    r->host = h;
    return r;
}

void sim_random_free(struct random *r) {
    free(r);
}

void random_fill(struct random *r, void *out, size_t size) {
    CHECK(out != NULL || size == 0);
    prng_fill(prng_at(&r->host->random_prng, r->host->sim->now_us), out, size);
}

uint64_t random_u64(struct random *r) {
    return prng_u64(prng_at(&r->host->random_prng, r->host->sim->now_us));
}
