/* The world itself: its clock, its queue of events, the hash of what happened, and the life of hosts. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "internal.h"

#define SIM_LINE_SIZE 512
#define SIM_DRIFT_PPM_DRAWN 200
#define SIM_WALL_OFFSET_MS_MAX 2000

/* ---- what happened ----------------------------------------------------------------------------------------------- */

static uint64_t fold(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9ddfea08eb382d69u;
    return hash ^ (hash >> 29);
}

uint64_t sim_fold(uint64_t hash, const void *data, size_t size) {
    const uint8_t *bytes = data;
    uint64_t word;
    while (size >= sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        hash = fold(hash, word);
        bytes += sizeof(word);
        size -= sizeof(word);
    }
    if (size > 0) {
        word = 0;
        memcpy(&word, bytes, size);
        hash = fold(hash, word);
    }
    return hash;
}

static const char *happening_name(enum sim_happening what) {
    switch (what) {
#define SIM_HAPPENING_NAME(id, name) \
    case SIM_##id:                   \
        return name;
        SIM_HAPPENINGS(SIM_HAPPENING_NAME)
#undef SIM_HAPPENING_NAME
    case SIM_HAPPENING_COUNT:
        break;
    }
    return "?";
}

static void trace(const struct sim *s, enum sim_happening what, uint32_t host, uint64_t number, size_t size) {
    char line[SIM_LINE_SIZE];
    snprintf(line, sizeof(line), "%" PRIu32 " %s %" PRId64 " %zu #%016" PRIx64, host, happening_name(what),
             (int64_t)number, size, s->hash);
    s->options.trace(s->options.trace_ctx, s->now_us, line);
}

void sim_happened(struct sim *s, enum sim_happening what, uint32_t host, uint64_t number, const void *bytes,
                  size_t size) {
    CHECK(what < SIM_HAPPENING_COUNT);
    CHECK(bytes != NULL || size == 0);
    uint64_t hash = fold(s->hash, s->now_us);
    hash = fold(hash, (uint64_t)what << 56 | (uint64_t)host << 40 | size);
    hash = fold(hash, number);
    s->hash = sim_fold(hash, bytes, size);
    if (s->options.trace != NULL) {
        trace(s, what, host, number, size);
    }
}

void sim_note(struct sim *s, const char *format, ...) {
    char line[SIM_LINE_SIZE];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    CHECK(size >= 0);
    s->hash = sim_fold(fold(s->hash, s->now_us), line, strlen(line));
    if (s->options.trace != NULL) {
        s->options.trace(s->options.trace_ctx, s->now_us, line);
    }
}

/* ---- life of the world ------------------------------------------------------------------------------------------- */

void sim_event_init(struct event *e, void (*fire)(struct event *e), uint32_t host) {
    CHECK(fire != NULL);
    *e = (struct event){.fire = fire, .host = host};
}

static void host_init(struct sim *s, uint32_t number) {
    struct sim_host *h = &s->hosts[number - 1];
    struct prng prng;
    prng_init(&prng, s->options.seed, PRNG_HOST, number);
    h->sim = s;
    h->number = number;
    h->powered = true;
    for (int env = 0; env < DISK_ENVS; env++) {
        h->slow_factor[env] = 1;
    }
    h->next_port = 40000;
    h->drift_ppm = (int32_t)prng_range(&prng, 0, 2 * SIM_DRIFT_PPM_DRAWN) - SIM_DRIFT_PPM_DRAWN;
    h->wall_offset_us =
        ((int64_t)prng_range(&prng, 0, 2 * SIM_WALL_OFFSET_MS_MAX) - SIM_WALL_OFFSET_MS_MAX) * (int64_t)SIM_MS;
    prng_clocked_init(&h->random_prng, s->options.seed, PRNG_RANDOM, number);
    prng_clocked_init(&h->disk_prng, s->options.seed, PRNG_DISK, number);
    prng_clocked_init(&h->crash_prng, s->options.seed, PRNG_CRASH, number);
    prng_init(&h->damage_prng, s->options.seed, PRNG_CRASH, PRNG_ASTRAY + number);
    snprintf(h->addr, sizeof(h->addr), "node%" PRIu32 ":%u", number, SIM_PORT);
}

static void path_init(struct sim *s, uint32_t from, uint32_t to) {
    struct path *p = sim_path(s, from, to);
    uint64_t index = (uint64_t)from << 32 | to;
    prng_clocked_init(&p->delay, s->options.seed, PRNG_DELAY, index);
    prng_clocked_init(&p->loss, s->options.seed, PRNG_LOSS, index);
    p->link.delay_us = (uint32_t)prng_range(prng_at(&p->delay, 0), 100, 1000);
    p->link.jitter_us = (uint32_t)prng_range(prng_at(&p->delay, 0), 20, 300);
}

struct sim *sim_new(const struct sim_options *options, const struct sim_program *program) {
    CHECK(options->hosts > 0 && options->hosts <= SIM_HOSTS_MAX);
    CHECK(program->boot != NULL && program->dead != NULL);
    struct sim *s = calloc(1, sizeof(*s));
    CHECK(s != NULL);
    s->options = *options;
    s->program = *program;
    s->host_count = options->hosts;
    s->hash = fold(0, options->seed);
    events_init(&s->events);
    LIST_INIT(&s->clients);
    prng_clocked_init(&s->stream_prng, options->seed, PRNG_STREAM, 0);
    prng_clocked_init(&s->local_prng, options->seed, PRNG_STREAM, 1);
    s->hosts = calloc(s->host_count, sizeof(*s->hosts));
    s->paths = calloc((size_t)s->host_count * s->host_count, sizeof(*s->paths));
    CHECK(s->hosts != NULL && s->paths != NULL);
    for (uint32_t from = 1; from <= s->host_count; from++) {
        host_init(s, from);
        CHECK(sim_stores_open(&s->hosts[from - 1]) == 0);
        for (uint32_t to = 1; to <= s->host_count; to++) {
            path_init(s, from, to);
        }
    }
    return s;
}

void sim_free(struct sim *s) {
    CHECK(!s->inside_event);
    sim_client_kill_all(s);
    for (uint32_t i = 0; i < s->host_count; i++) {
        if (s->hosts[i].up) {
            sim_host_crash(&s->hosts[i], SIM_CRASH_PROCESS);
        }
        sim_stores_close(&s->hosts[i]);
    }
    events_release(&s->events);
    free(s->paths);
    free(s->hosts);
    free(s);
}

uint64_t sim_now_us(const struct sim *s) {
    return s->now_us;
}

uint64_t sim_seed(const struct sim *s) {
    return s->options.seed;
}

uint64_t sim_hash(const struct sim *s) {
    return s->hash;
}

uint64_t sim_events_count(const struct sim *s) {
    return s->event_count;
}

/* A paused host's events wait for its return, in the order in which they were due. */
static bool deferred(struct sim *s, struct event *e) {
    if (e->host == 0 || s->hosts[e->host - 1].paused_until_us <= s->now_us) {
        return false;
    }
    events_add(&s->events, e, s->hosts[e->host - 1].paused_until_us);
    return true;
}

bool sim_step(struct sim *s, uint64_t until_us) {
    CHECK(!s->inside_event);
    CHECK(until_us >= s->now_us);
    if (events_next_time(&s->events) > until_us) {
        s->now_us = until_us;
        return false;
    }
    uint64_t at_us;
    struct event *e = events_pop(&s->events, &at_us);
    CHECK(e != NULL && at_us >= s->now_us);
    s->now_us = at_us;
    if (!deferred(s, e)) {
        s->event_count++;
        s->inside_event = e->host != 0;
        uint32_t host = e->host;
        e->fire(e);
        s->inside_event = false;
        if (host != 0 && s->program.after != NULL && s->hosts[host - 1].up) {
            s->program.after(s->program.ctx, &s->hosts[host - 1]);
        }
    }
    return true;
}

void sim_run_until(struct sim *s, uint64_t until_us) {
    CHECK(until_us < SIM_FOREVER);
    while (sim_step(s, until_us)) {
    }
}

void sim_at(struct sim *s, struct event *e, uint64_t at_us) {
    CHECK(e->host == 0);
    events_add(&s->events, e, at_us > s->now_us ? at_us : s->now_us);
}

void sim_cancel(struct sim *s, struct event *e) {
    events_cancel(&s->events, e);
}

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

uint32_t sim_hosts(const struct sim *s) {
    return s->host_count;
}

struct sim_host *sim_host(struct sim *s, uint32_t number) {
    CHECK(number >= 1 && number <= s->host_count);
    return &s->hosts[number - 1];
}

uint32_t sim_host_number(const struct sim_host *h) {
    return h->number;
}

struct sim *sim_host_sim(struct sim_host *h) {
    return h->sim;
}

bool sim_host_up(const struct sim_host *h) {
    return h->up;
}

const char *sim_host_addr(const struct sim_host *h) {
    return h->addr;
}

struct store *sim_host_store(struct sim_host *h, enum disk_env env) {
    CHECK(env < DISK_ENVS);
    return h->stores[env];
}

void sim_host_start(struct sim_host *h) {
    CHECK(!h->up);
    CHECK(h->clock == NULL && h->net == NULL && h->disk == NULL);
    h->up = true;
    h->powered = true;
    h->paused_until_us = 0;
    h->boots++;
    h->clock = sim_clock_new(h);
    h->random = sim_random_new(h);
    h->net = sim_net_new(h->sim, h);
    h->disk = sim_disk_new(h);
    sim_net_paths_changed(h->sim);
    struct sim_ports ports = {.clock = h->clock, .random = h->random, .net = h->net, .disk = h->disk};
    sim_happened(h->sim, SIM_START, h->number, h->boots, NULL, 0);
    h->sim->program.boot(h->sim->program.ctx, h, &ports);
}

void sim_host_crash(struct sim_host *h, enum sim_crash how) {
    CHECK(h->up);
    CHECK(!h->sim->inside_event);
    sim_happened(h->sim, SIM_CRASH, h->number, how, NULL, 0);
    h->up = false;
    h->powered = how != SIM_CRASH_POWER;
    h->paused_until_us = 0;
    sim_clock_kill(h->clock);
    sim_disk_kill(h->disk);
    sim_net_kill(h->net, how == SIM_CRASH_POWER);
    h->sim->program.dead(h->sim->program.ctx, h);
    sim_net_free(h->net);
    sim_disk_free(h->disk);
    sim_random_free(h->random);
    sim_clock_free(h->clock);
    h->net = NULL;
    h->disk = NULL;
    h->random = NULL;
    h->clock = NULL;
}

void sim_host_pause(struct sim_host *h, uint64_t until_us) {
    CHECK(h->up);
    sim_happened(h->sim, SIM_FAULT, h->number, until_us, "pause", 5);
    h->paused_until_us = until_us;
}

void sim_host_step_wall(struct sim_host *h, int64_t by_ms) {
    CHECK(by_ms > -(INT64_C(1) << 40) && by_ms < INT64_C(1) << 40);
    sim_happened(h->sim, SIM_FAULT, h->number, (uint64_t)by_ms, "wall", 4);
    h->wall_offset_us += by_ms * (int64_t)SIM_MS;
}
