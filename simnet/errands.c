#include "errands.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "internal.h"
#include "user.h"

#define ERRAND_PAUSE_US (1 * SIM_SECOND) /* mean, between attempts */
#define ERRAND_CALL_US (30 * SIM_SECOND)
#define ERRAND_STREAM ((uint64_t)3 << 32) /* of PRNG_SCENARIO + 1: + number of the host; mixed with the attempts */

bool errands_joining(const struct errands *e, uint32_t number) {
    const struct errand *a = &e->list[number - 1];
    return a->joins && swarm_node(e->swarm, number)->number == 0;
}

static bool idle(const struct errand *a) {
    return a->dismiss == 0 && !errands_joining(a->errands, a->number) && !a->asks;
}

static void soon(struct errand *a, struct prng *prng) {
    struct sim *s = a->errands->swarm->sim;
    sim_at(s, &a->again, sim_now_us(s) + 1 + prng_exponential(prng, ERRAND_PAUSE_US));
}

static void draw(struct errand *a, struct prng *out) {
    uint64_t index = (ERRAND_STREAM + a->number) ^ (uint64_t)a->tries << 40;
    prng_init(out, sim_seed(a->errands->swarm->sim), PRNG_SCENARIO + 1, index);
}

/* Any other member that runs; 0: there is none. */
static uint32_t somebody(const struct errand *a, struct prng *prng) {
    struct swarm *w = a->errands->swarm;
    uint32_t first = (uint32_t)prng_below(prng, w->count);
    for (uint32_t i = 0; i < w->count; i++) {
        uint32_t number = 1 + (first + i) % w->count;
        if (number != a->number && swarm_present(w, number) && swarm_node(w, number)->ready) {
            return number;
        }
    }
    return 0;
}

/* With a ticket the newcomer may get in. When it does not, it asks for another one: who gave this one may be gone. */
static void let_in(struct errand *a, const struct user_result *result) {
    struct swarm *w = a->errands->swarm;
    struct swarm_node *n = swarm_node(w, a->number);
    if (sim_host_up(n->host)) {
        return;
    }
    ticket_release(&n->ticket);
    if (ticket_decode(result->ticket, strlen(result->ticket), &n->ticket) != 0) {
        swarm_fail(w, "a ticket cannot be read");
        return;
    }
    n->newcomer = true;
    sim_host_start(n->host);
}

static void answered(void *ctx, const struct user_result *result) {
    struct errand *a = ctx;
    struct prng prng;
    a->asking = false;
    if (result->broken) {
        swarm_fail(a->errands->swarm, "an errand of node %u: %s", (unsigned)a->number, result->message);
    } else if (a->dismiss != 0) {
        a->dismiss = result->status == 0 ? 0 : a->dismiss;
    } else if (a->asks) {
        a->asks = !result->answered;
    } else if (errands_joining(a->errands, a->number) && result->status == 0) {
        let_in(a, result);
    }
    if (!idle(a)) {
        draw(a, &prng);
        soon(a, &prng);
    }
}

static void again_fire(struct event *e) {
    struct errand *a = CONTAINER(e, struct errand, again);
    struct prng prng;
    if (a->asking || idle(a)) {
        return;
    }
    /* It has been started, and may still come in. */
    bool waits = errands_joining(a->errands, a->number) && sim_host_up(swarm_node(a->errands->swarm, a->number)->host);
    a->tries++;
    draw(a, &prng);
    uint32_t asked = waits ? 0 : somebody(a, &prng);
    if (asked == 0) {
        soon(a, &prng);
        return;
    }
    struct user_request q = {.kind = USER_MEMBER, .timeout_us = ERRAND_CALL_US};
    if (a->dismiss != 0) {
        q.action = CLIENT_DISMISS;
        q.member = a->dismiss;
        q.force = prng_chance(&prng, 500000);
    } else if (a->asks) {
        q.action = a->action;
        q.member = swarm_node(a->errands->swarm, a->number)->number;
    } else {
        q.kind = USER_INVITE;
        q.uses = 1;
    }
    a->asking = true;
    user_call(sim_host(a->errands->swarm->sim, asked), &q, answered, a);
}

static void start(struct errand *a) {
    struct sim *s = a->errands->swarm->sim;
    if (!a->asking) {
        sim_at(s, &a->again, sim_now_us(s));
    }
}

static struct errand *errand_of(struct errands *e, uint32_t number) {
    CHECK(number >= 1 && number <= e->swarm->count);
    return &e->list[number - 1];
}

void errands_join(struct errands *e, uint32_t number) {
    struct errand *a = errand_of(e, number);
    CHECK(!swarm_node(e->swarm, number)->belongs);
    a->joins = true;
    start(a);
}

void errands_ask(struct errands *e, uint32_t number, enum client_action action) {
    struct errand *a = errand_of(e, number);
    CHECK(swarm_node(e->swarm, number)->number != 0 && a->dismiss == 0);
    a->joins = false;
    a->asks = true;
    a->action = action;
    start(a);
}

void errands_replace(struct errands *e, uint32_t number) {
    struct errand *a = errand_of(e, number);
    struct swarm_node *n = swarm_node(e->swarm, number);
    CHECK(a->dismiss == 0);
    a->dismiss = n->left ? 0 : n->number;
    a->asks = false;
    a->joins = true;
    swarm_reborn(e->swarm, number);
    start(a);
}

bool errands_done(const struct errands *e) {
    for (uint32_t i = 0; i < e->swarm->count; i++) {
        if (!idle(&e->list[i])) {
            return false;
        }
    }
    return true;
}

void errands_init(struct errands *e, struct swarm *w) {
    *e = (struct errands){.swarm = w};
    e->list = calloc(w->count, sizeof(*e->list));
    CHECK(e->list != NULL);
    for (uint32_t i = 0; i < w->count; i++) {
        e->list[i].errands = e;
        e->list[i].number = i + 1;
        sim_event_init(&e->list[i].again, again_fire, 0);
    }
}

void errands_release(struct errands *e) {
    free(e->list);
    *e = (struct errands){0};
}
