/* What the leader of the root group does for the member table of its own accord:
 *
 *   a member that drains and that no configuration names any more      -> gone
 *   a member that nobody has heard of for the grace period             -> out, one at a time
 *   a member that is out and is heard of                               -> up
 *
 * Every node keeps its own account of whom it heard when, so that a new leader does not begin from nothing. Liveness
 * alone moves no data: it only leads to a committed entry, and the placement follows the table. */
#include <inttypes.h>
#include <stdlib.h>

#include "internal.h"

#define UPKEEP_PAUSE_PARTS 4 /* from one member's being out to the next: at least the grace period by this */

struct heard {
    uint32_t node;
    uint64_t ms;         /* when it was last alive, or when we began to listen for it */
    uint64_t moved_away; /* epoch in which all that could was moved away from it; 0: none */
};

struct upkeep {
    struct node *node;
    struct timer timer;
    struct heard *heard; /* in the order of the table, which only grows */
    size_t count;
    uint64_t looked_ms;
    size_t next;         /* where the search among those who drain goes on */
    uint64_t out_ms;     /* when a member last became out, or when we began to look */
    uint32_t out_count;  /* members that are out */
    bool busy;           /* a census or a proposal is under way */
    bool drains_first;   /* of two kinds of work neither starves */
    struct member about; /* row that the work under way was decided on */
};

/* ---- whom we heard when ----------------------------------------------------------------------------------------- */

/* A process that was stopped for a while has heard nobody meanwhile, which says nothing about the others. */
static void note_alive(struct upkeep *u) {
    struct node *n = u->node;
    uint64_t now = clock_now_ms(n->params.clock);
    bool away = now > u->looked_ms + n->params.tuning.members.look_every_ms + PEERS_DEAD_MS;
    u->looked_ms = now;
    for (size_t i = 0; i < u->count; i++) {
        if (away || peers_alive(n->peers, u->heard[i].node)) {
            u->heard[i].ms = now;
        }
    }
}

/* Rows are never taken out of the table and are ordered by number, so newcomers are at the end, mostly: for those
 * behind one who is not, the grace period begins anew. */
void upkeep_table(struct upkeep *u) {
    struct node *n = u->node;
    uint64_t now = clock_now_ms(n->params.clock);
    size_t count = members_count(n->members);
    uint32_t out = 0;
    CHECK(count >= u->count);
    if (count > u->count) {
        struct heard *larger = realloc(u->heard, count * sizeof(*larger));
        CHECK(larger); /* bounded by MEMBERS_MAX */
        u->heard = larger;
    }
    for (size_t i = 0; i < count; i++) {
        const struct member *row = members_at(n->members, i);
        if (i >= u->count || u->heard[i].node != row->node) {
            u->heard[i] = (struct heard){.node = row->node, .ms = now};
        }
        out += row->state == MEMBER_OUT;
    }
    u->count = count;
    if (out > u->out_count) {
        u->out_ms = now;
    }
    u->out_count = out;
}

/* ---- steps ------------------------------------------------------------------------------------------------------ */

void upkeep_propose(struct node *n, const struct member *row, enum member_state to, groups_cb *done, void *ctx) {
    struct command c = {.kind = COMMAND_MEMBER_STATE, .u.state = {.node = row->node, .seen = row->changed, .to = to}};
    struct buf b;
    buf_init(&b, PEER_BODY_MAX);
    command_encode(&c, &b);
    groups_propose(n->groups, GROUPS_ROOT, &b, NODE_ROOT_MS, done, ctx);
    buf_release(&b);
}

/* A refusal is no news: the table has changed meanwhile, or the rest could not bear it, and we look again. */
static void stepped(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct upkeep *u = ctx;
    (void)status;
    (void)config;
    (void)result;
    (void)size;
    u->busy = false;
}

static void step(struct upkeep *u, const struct member *row, enum member_state to, const char *why) {
    node_log(u->node, "node %" PRIu32 " %s: it is to be %s", row->node, why, member_state_name(to));
    u->busy = true;
    upkeep_propose(u->node, row, to, stepped, u);
}

/* The row has not changed since the work on it began. */
static bool still(const struct upkeep *u) {
    const struct member *row = members_find(u->node->members, u->about.node);
    return row && row->changed == u->about.changed;
}

static void ask(struct upkeep *u, const struct member *row, census_cb *done) {
    u->about = *row;
    u->busy = true;
    census_take(u->node, row->node, done, u);
}

/* ---- draining --------------------------------------------------------------------------------------------------- */

/* Every group has a leader that answered, by a table in which the member drains, and none of them names it: its data
 * are complete elsewhere, because a configuration is left only then. */
static void drained(void *ctx, const struct census_sum *sum) {
    struct upkeep *u = ctx;
    u->busy = false;
    if (still(u) && sum->named == 0 && sum->unled == 0 && sum->epoch >= u->about.changed) {
        step(u, &u->about, MEMBER_GONE, "holds nothing any more");
    }
}

static bool look_at_drains(struct upkeep *u) {
    for (size_t i = 0; i < u->count; i++) {
        size_t k = (u->next + i) % u->count;
        const struct member *row = members_at(u->node->members, k);
        if (row->state == MEMBER_DRAINING) {
            u->next = k + 1;
            ask(u, row, drained);
            return true;
        }
    }
    return false;
}

/* ---- out and back ----------------------------------------------------------------------------------------------- */

static bool look_for_returned(struct upkeep *u) {
    for (size_t i = 0; i < u->count; i++) {
        const struct member *row = members_at(u->node->members, i);
        if (row->state == MEMBER_OUT && peers_alive(u->node->peers, row->node)) {
            step(u, row, MEMBER_UP, "is back");
            return true;
        }
    }
    return false;
}

static struct heard *heard_of(struct upkeep *u, uint32_t node) {
    for (size_t i = 0; i < u->count; i++) {
        if (u->heard[i].node == node) {
            return &u->heard[i];
        }
    }
    return NULL;
}

/* Hearsay counts as hearing: what nobody here can reach may still serve others. */
static void unheard(void *ctx, const struct census_sum *sum) {
    struct upkeep *u = ctx;
    struct heard *h = heard_of(u, u->about.node);
    u->busy = false;
    if (sum->heard && h) {
        h->ms = clock_now_ms(u->node->params.clock);
    } else if (still(u)) {
        step(u, &u->about, MEMBER_OUT, "has been silent for too long");
    }
}

/* Groups that wait for another dead member cannot be healed by waiting: that one has to be out, too. */
static void moved_away(void *ctx, const struct census_sum *sum) {
    struct upkeep *u = ctx;
    struct heard *h = heard_of(u, u->about.node);
    u->busy = false;
    if (h && sum->named == sum->stuck && sum->epoch >= u->about.changed) {
        h->moved_away = sum->epoch;
    }
}

/* A member that is out, and whose data may not be everywhere they should be yet. */
static const struct member *unhealed(const struct upkeep *u) {
    for (size_t i = 0; i < u->count; i++) {
        const struct member *row = members_at(u->node->members, i);
        if (row->state == MEMBER_OUT && u->heard[i].moved_away < members_epoch(u->node->members)) {
            return row;
        }
    }
    return NULL;
}

static const struct member *silent(const struct upkeep *u) {
    const struct node *n = u->node;
    uint64_t now = clock_now_ms(n->params.clock);
    for (size_t i = 0; i < u->count; i++) {
        const struct member *row = members_at(n->members, i);
        if (row->state == MEMBER_UP && now >= u->heard[i].ms + n->params.tuning.members.out_after_ms) {
            return row;
        }
    }
    return NULL;
}

/* The same as the root machine will ask: no majority is given up. */
static bool majority_stays(const struct node *n) {
    uint32_t in = 0, out = 0;
    for (size_t i = 0; i < members_count(n->members); i++) {
        enum member_state state = members_at(n->members, i)->state;
        in += state == MEMBER_UP || state == MEMBER_DRAINING;
        out += state == MEMBER_OUT;
    }
    return in > 0 && in - 1 > out + 1;
}

static bool look_for_silent(struct upkeep *u) {
    const struct node *n = u->node;
    uint64_t grace = n->params.tuning.members.out_after_ms;
    const struct member *row = grace ? silent(u) : NULL;
    if (!row || !majority_stays(n) ||
        (u->out_count > 0 && clock_now_ms(n->params.clock) < u->out_ms + grace / UPKEEP_PAUSE_PARTS)) {
        return false;
    }
    const struct member *before = unhealed(u);
    ask(u, before ? before : row, before ? moved_away : unheard);
    return true;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static bool leads_root(const struct node *n) {
    struct groups_info info;
    groups_info(n->groups, GROUPS_ROOT, &info);
    return info.here && info.leading;
}

static void look(struct upkeep *u) {
    if (look_for_returned(u)) {
        return;
    }
    u->drains_first = !u->drains_first;
    if (u->drains_first) {
        (void)(look_at_drains(u) || look_for_silent(u));
    } else {
        (void)(look_for_silent(u) || look_at_drains(u));
    }
}

static void upkeep_fire(struct timer *t) {
    struct upkeep *u = (struct upkeep *)((char *)t - offsetof(struct upkeep, timer));
    struct node *n = u->node;
    if (n->state != NODE_RUNNING || n->gone) {
        return;
    }
    note_alive(u);
    if (!u->busy && leads_root(n)) {
        look(u);
    }
    timer_start(&n->timers, &u->timer, clock_now_ms(n->params.clock) + n->params.tuning.members.look_every_ms);
}

int upkeep_new(struct node *n, struct upkeep **ret_upkeep) {
    struct upkeep *u = calloc(1, sizeof(*u));
    if (!u) {
        return ERR_NOMEM;
    }
    u->node = n;
    u->timer.fire = upkeep_fire;
    *ret_upkeep = u;
    return 0;
}

void upkeep_start(struct upkeep *u) {
    struct node *n = u->node;
    upkeep_table(u);
    u->looked_ms = clock_now_ms(n->params.clock);
    timer_start(&n->timers, &u->timer, clock_now_ms(n->params.clock) + n->params.tuning.members.look_every_ms);
}

void upkeep_free(struct upkeep *u) {
    if (u) {
        timer_stop(&u->node->timers, &u->timer);
        free(u->heard);
        free(u);
    }
}
