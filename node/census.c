/* Asking all members about one of them: who hears from it, and what still depends on it. Each answers for the groups it
 * leads, so that all answers together speak for every group that has a leader. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct census_ask {
    struct census_round *round;
    uint32_t node;
};

struct census_round {
    TAILQ_ENTRY(census_round) link;
    struct node *node;
    uint32_t about;
    uint32_t waiting;
    struct census_sum sum;
    struct timer timer; /* reports from a turn of its own: see census_take */
    uint8_t *led;       /* a bit for each group that somebody leads */
    census_cb *done;
    void *ctx;
    uint32_t asked;
    struct census_ask asks[]; /* one for each member; an answer comes while the round lives, or never */
};

static bool may_hold(struct node *n, uint32_t group, uint32_t node) {
    const struct route *route = groups_route(n->groups, group);
    for (uint8_t i = 0; i < route->count; i++) {
        if (route->nodes[i] == node) {
            return true;
        }
    }
    return route->count == 0;
}

static void list(struct census_sum *sum, uint32_t group) {
    if (sum->listed < CENSUS_LISTED_MAX) {
        sum->groups[sum->listed++] = group;
    }
}

/* A group without a leader has no living majority as it is. */
static void count_unled(struct census_round *c) {
    for (uint32_t group = 0; group < groups_count(c->node->groups); group++) {
        if (c->led[group / 8] & (1u << (group % 8))) {
            continue;
        }
        c->sum.unled++;
        if (may_hold(c->node, group, c->about)) {
            c->sum.stranded++;
            list(&c->sum, group);
        }
    }
}

static void round_free(struct census_round *c) {
    timer_stop(&c->node->timers, &c->timer);
    TAILQ_REMOVE(&c->node->censuses, c, link);
    free(c->led);
    free(c);
}

static void round_fire(struct timer *t) {
    struct census_round *c = (struct census_round *)((char *)t - offsetof(struct census_round, timer));
    count_unled(c);
    c->done(c->ctx, &c->sum);
    round_free(c);
}

static void take_answer(struct census_round *c, uint32_t from, const struct census *answer) {
    uint32_t groups = groups_count(c->node->groups);
    struct census_sum *sum = &c->sum;
    if (answer->led_size != (size_t)groups / 8 + 1) {
        return; /* as if it had not answered */
    }
    for (size_t i = 0; i < answer->led_size; i++) {
        c->led[i] |= answer->led[i];
    }
    sum->epoch = answer->epoch < sum->epoch ? answer->epoch : sum->epoch;
    sum->heard = sum->heard || (answer->heard && from != c->about);
    sum->named += answer->named;
    sum->stuck += answer->stuck;
    sum->stranded += answer->stranded;
    for (uint32_t i = 0; i < answer->listed; i++) {
        if (answer->groups[i] < groups) {
            list(sum, answer->groups[i]);
        }
    }
}

static void round_answer(void *ctx, int status, const uint8_t *body, size_t size) {
    struct census_ask *ask = ctx;
    struct census_round *c = ask->round;
    struct census answer;
    CHECK(c->waiting > 0);
    if (status == 0 && census_decode(body, size, &answer) == 0) {
        take_answer(c, ask->node, &answer);
    }
    if (--c->waiting == 0 && c->node->state != NODE_STOPPED) {
        timer_start(&c->node->timers, &c->timer, clock_now_ms(c->node->params.clock));
    }
}

static void round_ask(struct census_round *c, uint32_t node, const struct buf *body) {
    struct census_ask *ask = &c->asks[c->asked++];
    *ask = (struct census_ask){.round = c, .node = node};
    c->waiting++;
    peers_request(c->node->peers, node, LANE_CONTROL, OP_CENSUS, body, NODE_CENSUS_MS, round_answer, ask);
}

/* Whoever is not alive leads nothing that counts, so nobody waits for it. */
void census_take(struct node *n, uint32_t about, census_cb *done, void *ctx) {
    size_t members = members_count(n->members);
    struct census_round *c = calloc(1, sizeof(*c) + members * sizeof(c->asks[0]));
    struct buf body;
    CHECK(c && n->state == NODE_RUNNING);
    c->led = calloc(1, (size_t)groups_count(n->groups) / 8 + 1);
    CHECK(c->led);
    c->node = n;
    c->about = about;
    c->done = done;
    c->ctx = ctx;
    c->timer.fire = round_fire;
    c->sum.epoch = members_epoch(n->members);
    TAILQ_INSERT_TAIL(&n->censuses, c, link);
    buf_init(&body, PEER_BODY_MAX);
    census_request_encode(about, &body);
    for (size_t i = 0; i < members; i++) {
        const struct member *m = members_at(n->members, i);
        if (m->state != MEMBER_GONE && peers_alive(n->peers, m->node)) {
            round_ask(c, m->node, &body);
        }
    }
    buf_release(&body);
    if (c->waiting == 0) {
        timer_start(&n->timers, &c->timer, clock_now_ms(n->params.clock));
    }
}

void census_serve(struct node *n, struct peers_call *call, const uint8_t *body, size_t size) {
    uint32_t about = 0;
    struct census census;
    struct buf space, out;
    int rc = census_request_decode(body, size, &about);
    buf_init(&space, PEER_BODY_MAX);
    buf_init(&out, PEER_BODY_MAX);
    if (!rc) {
        groups_census(n->groups, about, &space, &census);
        census_encode(&census, &out);
        rc = space.error ? space.error : out.error;
    }
    peers_reply(call, rc, out.bytes, rc ? 0 : out.size);
    buf_release(&space);
    buf_release(&out);
}

void census_release(struct node *n) {
    while (!TAILQ_EMPTY(&n->censuses)) {
        round_free(TAILQ_FIRST(&n->censuses));
    }
}
