/* Faults of the network between hosts. */
#include <inttypes.h>

#include "faults_internal.h"
#include "internal.h"

#define FAULT_GARBLING 200000 /* millionths of the lossy links garble too */
#define FAULT_FLAP_US (700 * SIM_MS)

/* ---- the network: what is blocked -------------------------------------------------------------------------------- */

static void block(struct plan_fault *f, uint32_t from, uint32_t to) {
    if (from != to) {
        f->blocked[plan_link(f->plan, from, to)] = true;
        sim_link_block(fault_sim(f), from, to, true);
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

void begin_halves(struct plan_fault *f) {
    block_parts(f, false);
}

void begin_bridge(struct plan_fault *f) {
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

void begin_isolate(struct plan_fault *f) {
    block_one(f, true, true);
}

void begin_deaf(struct plan_fault *f) {
    block_one(f, true, false);
}

void begin_mute(struct plan_fault *f) {
    block_one(f, false, true);
}

void begin_one_way(struct plan_fault *f) {
    uint32_t to = fault_any_host(f);
    block(f, f->host, to);
    plan_say(f, "nothing from node %" PRIu32 " to node %" PRIu32, f->host, to);
}

/* Nobody hears a majority, and everybody hears somebody. */
void begin_ring(struct plan_fault *f) {
    uint32_t count = f->plan->swarm->count;
    for (uint32_t a = 1; a <= count; a++) {
        for (uint32_t b = a + 2; b <= count; b++) {
            if (a != 1 || b != count) {
                block(f, a, b);
                block(f, b, a);
            }
        }
    }
    plan_say(f, "every node hears its neighbours only");
}

static void unblock(struct plan_fault *f, uint32_t from, uint32_t to) {
    size_t link = plan_link(f->plan, from, to);
    bool still = false;
    f->blocked[link] = false;
    for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
        still = still || f->plan->faults[i].blocked[link];
    }
    sim_link_block(fault_sim(f), from, to, still);
}

static void flap_step(struct plan_fault *f) {
    if (f->turn++ % 2 == 0) {
        block(f, f->host, f->other);
        block(f, f->other, f->host);
    } else if (f->host != f->other) {
        unblock(f, f->host, f->other);
        unblock(f, f->other, f->host);
    }
    fault_step_after(f, flap_step, 1 + prng_exponential(&f->prng, FAULT_FLAP_US));
}

void begin_flap(struct plan_fault *f) {
    uint32_t count = f->plan->swarm->count;
    f->other = 1 + (f->host + (uint32_t)prng_below(&f->prng, count > 1 ? count - 1 : 1)) % count;
    plan_say(f, "between nodes %" PRIu32 " and %" PRIu32, f->host, f->other);
    flap_step(f);
}

/* What no other fault blocks. */
void fault_unblock(struct plan_fault *f) {
    struct plan *p = f->plan;
    for (uint32_t from = 1; from <= p->swarm->count; from++) {
        for (uint32_t to = 1; to <= p->swarm->count; to++) {
            size_t link = plan_link(p, from, to);
            if (f->blocked[link]) {
                unblock(f, from, to);
            }
        }
    }
}

/* ---- the network: how well what is not blocked works ------------------------------------------------------------- */

void begin_clog(struct plan_fault *f) {
    uint64_t now_us = sim_now_us(fault_sim(f));
    plan_say(f, "node %" PRIu32 " to", f->host);
    f->until_us = 0;
    for (uint32_t to = 1; to <= f->plan->swarm->count; to++) {
        if (prng_chance(&f->prng, 500000)) {
            uint64_t until = now_us + plan_lasting(f);
            sim_link_clog(fault_sim(f), f->host, to, until);
            plan_say(f, " %" PRIu32, to);
            f->until_us = until > f->until_us ? until : f->until_us;
        }
    }
}

/* Every link as the youngest active fault on it has it, or else as it was. */
void fault_set_links(struct plan *p) {
    for (uint32_t from = 1; from <= p->swarm->count; from++) {
        for (uint32_t to = 1; to <= p->swarm->count; to++) {
            const struct sim_link *link = &p->links[plan_link(p, from, to)];
            uint32_t youngest = 0;
            for (int i = 0; i < PLAN_ACTIVE_MAX; i++) {
                const struct plan_fault *f = &p->faults[i];
                bool on_it = f->everywhere || f->host == from || f->host == to;
                if (f->active && f->linked && on_it && f->number > youngest) {
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

static void say_links(struct plan_fault *f) {
    if (f->everywhere) {
        plan_say(f, "all links");
    } else {
        plan_say(f, "links of node %" PRIu32, f->host);
    }
    plan_say(f, ", delay %.1f ms, jitter %.1f ms, loss %.2f %%, resets %.2f %%, garbled %.2f %%",
             f->link.delay_us / 1e3, f->link.jitter_us / 1e3, f->link.loss_millionths / 1e4,
             f->link.reset_millionths / 1e4, f->link.garble_millionths / 1e4);
}

void begin_lossy(struct plan_fault *f) {
    f->link.delay_us = (uint32_t)prng_range(&f->prng, 100, 20000);
    f->link.jitter_us = (uint32_t)prng_range(&f->prng, 100, 100000);
    f->link.loss_millionths = (uint32_t)prng_below(&f->prng, 100000);
    f->link.reset_millionths = (uint32_t)prng_below(&f->prng, 2000);
    f->link.garble_millionths = prng_chance(&f->prng, FAULT_GARBLING) ? (uint32_t)prng_below(&f->prng, 5000) : 0;
    f->everywhere = prng_chance(&f->prng, 300000);
    f->linked = true;
    fault_set_links(f->plan);
    say_links(f);
}

/* On the other side of the earth: nothing is lost, and everything is late. */
void begin_far(struct plan_fault *f) {
    f->link = (struct sim_link){.delay_us = (uint32_t)prng_range(&f->prng, 50 * SIM_MS, 500 * SIM_MS),
                                .jitter_us = (uint32_t)prng_range(&f->prng, 1 * SIM_MS, 50 * SIM_MS)};
    f->everywhere = false;
    f->linked = true;
    fault_set_links(f->plan);
    say_links(f);
}

void begin_resets(struct plan_fault *f) {
    sim_host_reset(plan_host(f->plan, f->host));
    plan_say(f, "all connections of node %" PRIu32, f->host);
    f->until_us = 0;
}
