#include "swarm.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "internal.h"
#include "noise.h"
#include "tuning.h"
#include "witness.h"

#define SWARM_EXIT_US (5 * SIM_MS) /* from a fatal error to the end of the process */

void swarm_fail(struct swarm *w, const char *format, ...) {
    va_list args;
    if (w->failure[0] == '\0') {
        va_start(args, format);
        vsnprintf(w->failure, sizeof(w->failure), format, args);
        va_end(args);
        sim_note(w->sim, "FAIL: %s", w->failure);
    }
}

void swarm_damaged(struct swarm *w, uint32_t host, const struct digest *d) {
    if (w->damage_count == w->damage_capacity) {
        w->damage_capacity = w->damage_capacity == 0 ? 16 : w->damage_capacity * 2;
        w->damages = realloc(w->damages, w->damage_capacity * sizeof(*w->damages));
        CHECK(w->damages != NULL);
    }
    w->damages[w->damage_count++] = (struct swarm_damage){.host = host, .digest = *d};
}

bool swarm_is_damaged(const struct swarm *w, uint32_t host, const struct digest *d) {
    for (size_t i = 0; i < w->damage_count; i++) {
        if (w->damages[i].host == host && digest_equal(&w->damages[i].digest, d)) {
            return true;
        }
    }
    return false;
}

static void on_ready(void *ctx, const struct node_ready *ready) {
    struct swarm_node *n = ctx;
    CHECK(ready->node != 0);
    n->ready = true;
    n->number = ready->node;
    n->newcomer = false;
    sim_note(n->swarm->sim, "%u ready as node %u", (unsigned)sim_host_number(n->host), (unsigned)ready->node);
}

static void on_failed(void *ctx, int status, const char *message) {
    struct swarm_node *n = ctx;
    struct swarm *w = n->swarm;
    sim_note(w->sim, "%u failed: %s: %s", (unsigned)sim_host_number(n->host), err_name(status), message);
    if (!n->excused && !n->newcomer) {
        swarm_fail(w, "node %u ended: %s", (unsigned)sim_host_number(n->host), message);
    }
    sim_at(w->sim, &n->down, sim_now_us(w->sim) + SWARM_EXIT_US);
}

static void on_left(void *ctx, const char *message) {
    struct swarm_node *n = ctx;
    sim_note(n->swarm->sim, "%u left: %s", (unsigned)sim_host_number(n->host), message);
    n->left = true;
    sim_at(n->swarm->sim, &n->down, sim_now_us(n->swarm->sim) + SWARM_EXIT_US);
}

static void on_log(void *ctx, const char *line) {
    struct swarm_node *n = ctx;
    sim_note(n->swarm->sim, "%u log: %s", (unsigned)sim_host_number(n->host), line);
}

static void go_down(struct event *e) {
    struct swarm_node *n = CONTAINER(e, struct swarm_node, down);
    if (sim_host_up(n->host)) {
        sim_host_crash(n->host, SIM_CRASH_PROCESS);
    }
}

void swarm_end_now(struct swarm *w, uint32_t number) {
    struct swarm_node *n = swarm_node(w, number);
    if (n->down.slot != 0) {
        go_down(&n->down);
    }
}

static void tune(const struct swarm *w, uint32_t host, struct node_tuning *t) {
    if (w->odd) {
        tuning_draw(t, w->seed, host);
    } else {
        tuning_usual(t);
    }
    t->files.settle_ms = w->settle_ms != 0 ? w->settle_ms : t->files.settle_ms;
    t->members.out_after_ms = w->out_after_ms != 0 ? w->out_after_ms : t->members.out_after_ms;
}

static void boot(void *ctx, struct sim_host *h, const struct sim_ports *ports) {
    struct swarm *w = ctx;
    struct swarm_node *n = swarm_node(w, sim_host_number(h));
    CHECK(n->node == NULL);
    n->ready = false;
    n->belongs = true;
    witness_started(w->witness, sim_host_number(h));
    struct node_params params = {
        .net = ports->net,
        .clock = ports->clock,
        .random = ports->random,
        .disk = ports->disk,
        .identity = &n->identity,
        .aesgcm = tuning_aes(w->seed, sim_host_number(h)) && noise_aesgcm_available(),
        .listen = sim_host_addr(h),
        .local = "socket",
        .zone = "",
        .capacity = w->capacity,
        .bits = w->bits,
        .replicas = w->replicas,
        .join = n->ticket.addr_count > 0 ? &n->ticket : NULL,
        .ready = on_ready,
        .failed = on_failed,
        .left = on_left,
        .log = on_log,
        .ctx = n,
    };
    tune(w, sim_host_number(h), &params.tuning);
    int status = node_new(&params, &n->node);
    CHECK(status == 0);
}

static void dead(void *ctx, struct sim_host *h) {
    struct swarm *w = ctx;
    struct swarm_node *n = swarm_node(w, sim_host_number(h));
    sim_cancel(w->sim, &n->down);
    node_stop(n->node);
    sim_host_abandon_ops(h);
    node_free(n->node);
    n->node = NULL;
    n->ready = false;
    n->excused = false;
}

static void after(void *ctx, struct sim_host *h) {
    struct swarm *w = ctx;
    witness_look(w->witness, sim_host_number(h));
}

/* The stream of identities: the hosts' first ones come one after the other, later ones each from their own. */
static void draw_identity(struct swarm_node *n, struct prng *prng) {
    uint8_t seed[IDENTITY_SEED_SIZE];
    prng_fill(prng, seed, sizeof(seed));
    CHECK(identity_from_seed(seed, &n->identity) == 0);
}

void swarm_init(struct swarm *w, const struct swarm_options *options) {
    const struct sim_options so = {.seed = options->seed,
                                   .hosts = options->nodes,
                                   .capacity_bytes = options->capacity,
                                   .trace = options->trace,
                                   .trace_ctx = options->trace_ctx};
    const struct sim_program program = {.boot = boot, .dead = dead, .after = after, .ctx = w};
    *w = (struct swarm){.count = options->nodes,
                        .bits = options->bits,
                        .replicas = options->replicas,
                        .capacity = options->capacity,
                        .seed = options->seed,
                        .settle_ms = options->settle_ms,
                        .out_after_ms = options->out_after_ms,
                        .odd = options->odd};
    w->sim = sim_new(&so, &program);
    w->nodes = calloc(w->count, sizeof(*w->nodes));
    w->witness = calloc(1, sizeof(*w->witness));
    CHECK(w->nodes != NULL && w->witness != NULL);
    witness_init(w->witness, w, w->bits);
    struct prng prng;
    prng_init(&prng, options->seed, PRNG_SCENARIO, 0);
    for (uint32_t number = 1; number <= w->count; number++) {
        struct swarm_node *n = swarm_node(w, number);
        n->swarm = w;
        n->host = sim_host(w->sim, number);
        sim_event_init(&n->down, go_down, 0);
        draw_identity(n, &prng);
    }
}

bool swarm_present(struct swarm *w, uint32_t number) {
    const struct swarm_node *n = swarm_node(w, number);
    return n->belongs && !n->left;
}

static void forget_damages(struct swarm *w, uint32_t host) {
    size_t kept = 0;
    for (size_t i = 0; i < w->damage_count; i++) {
        if (w->damages[i].host != host) {
            w->damages[kept++] = w->damages[i];
        }
    }
    w->damage_count = kept;
}

void swarm_reborn(struct swarm *w, uint32_t number) {
    struct swarm_node *n = swarm_node(w, number);
    struct prng prng;
    sim_disk_wipe(n->host);
    witness_wiped(w->witness, number);
    forget_damages(w, number);
    identity_release(&n->identity);
    ticket_release(&n->ticket);
    n->lives++;
    prng_init(&prng, w->seed, PRNG_SCENARIO, (uint64_t)n->lives << 32 | number);
    draw_identity(n, &prng);
    n->number = 0;
    n->belongs = n->left = n->leaving = n->newcomer = false;
}

void swarm_release(struct swarm *w) {
    sim_free(w->sim);
    for (uint32_t i = 0; i < w->count; i++) {
        identity_release(&w->nodes[i].identity);
        ticket_release(&w->nodes[i].ticket);
    }
    witness_release(w->witness);
    free(w->witness);
    free(w->nodes);
    free(w->damages);
    *w = (struct swarm){0};
}

struct swarm_node *swarm_node(struct swarm *w, uint32_t number) {
    CHECK(number >= 1 && number <= w->count);
    return &w->nodes[number - 1];
}

static bool same_rows(const struct members *a, const struct members *b) {
    bool same = members_count(a) == members_count(b);
    for (size_t i = 0; same && i < members_count(a); i++) {
        const struct member *x = members_at(a, i), *y = members_at(b, i);
        same = x->node == y->node && x->state == y->state && x->changed == y->changed && x->capacity == y->capacity &&
               memcmp(x->id, y->id, sizeof(x->id)) == 0 && strcmp(x->addr, y->addr) == 0 &&
               strcmp(x->zone, y->zone) == 0;
    }
    return same;
}

/* Copies of the member table of one epoch are the same. */
static void compare_tables(struct swarm *w, uint32_t i) {
    const struct members *mine = node_members(w->nodes[i].node);
    for (uint32_t j = 0; j < i; j++) {
        const struct members *other = w->nodes[j].ready ? node_members(w->nodes[j].node) : NULL;
        if (other && members_epoch(other) == members_epoch(mine) && !same_rows(other, mine)) {
            swarm_fail(w, "nodes %" PRIu32 " and %" PRIu32 " have other member tables of epoch %" PRIu64, j + 1, i + 1,
                       members_epoch(mine));
        }
    }
}

void swarm_check(struct swarm *w) {
    for (uint32_t i = 0; i < w->count; i++) {
        if (w->nodes[i].ready) {
            node_invariant(w->nodes[i].node);
            compare_tables(w, i);
        }
    }
    witness_sample(w->witness);
}
