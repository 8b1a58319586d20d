/* Members are sent away, or called back, on somebody's word:
 *
 *   read the table of the root group ──▶ may it be? ──▶ (dismissal: who depends on it?) ──▶ propose ──▶ read the table
 *      ▲                                                                                      │
 *      └──────────────────────── the row has changed since: decide again ─────────────────────┘
 *
 * The table is read again at the end, so that who asked sees the new state in this node's status. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define CHANGE_ATTEMPTS_MAX 4
#define CHANGE_CENSUSES_MAX 10 /* a group that is just electing has a leader soon */
#define CHANGE_CENSUS_PAUSE_MS 1000
/* Of a disk, one of so many parts is not counted on: for what is not chunks, and uneven loads. */
#define CHANGE_SPARE_PARTS 10

struct change {
    TAILQ_ENTRY(change) link;
    struct node *node;
    enum client_action action;
    uint32_t target;
    bool force;
    uint32_t attempts, censuses;
    struct timer timer; /* to the next census */
    struct member row;  /* of the target, that the decision is made on */
    client_changed_cb *done;
    void *ctx;
};

static const char *const verbs[CLIENT_ACTIONS] = {
    [CLIENT_DRAIN] = "drain", [CLIENT_DRAIN_STOP] = "drain --cancel", [CLIENT_DISMISS] = "remove"};
static const enum member_state goals[CLIENT_ACTIONS] = {
    [CLIENT_DRAIN] = MEMBER_DRAINING, [CLIENT_DRAIN_STOP] = MEMBER_UP, [CLIENT_DISMISS] = MEMBER_GONE};

static void change_free(struct change *c) {
    timer_stop(&c->node->timers, &c->timer);
    TAILQ_REMOVE(&c->node->changes, c, link);
    free(c);
}

static void __attribute__((format(printf, 3, 4))) finish(struct change *c, int status, const char *format, ...) {
    char line[CLIENT_MESSAGE_MAX] = "", reason[CLIENT_MESSAGE_MAX - 64];
    va_list args;
    if (status) {
        va_start(args, format);
        (void)vsnprintf(reason, sizeof(reason), format, args);
        va_end(args);
        (void)snprintf(line, sizeof(line), "%s: %s", verbs[c->action], reason);
    }
    c->done(c->ctx, status, line);
    change_free(c);
}

static void finish_plain(struct change *c, int status) {
    bool quorum = status == ERR_UNAVAILABLE || status == ERR_TIMEOUT;
    finish(c, status, "%s",
           quorum ? "no quorum of the root group answered in time: are enough nodes running? see 'shoal status'"
                  : err_text(status));
}

/* ---- room for what it has --------------------------------------------------------------------------------------- */

struct room {
    uint32_t nodes; /* that are up; */
    uint64_t capacity;
    uint32_t known; /* those that have said what they use, of all that hold anything */
    uint32_t silent;
    uint64_t used; /* by those that have */
};

static void measure_used(struct node *n, uint32_t node, struct room *room) {
    const struct peer_ping *ping = peers_last_ping(n->peers, node);
    bool self = node == n->swarm.self;
    if (self || ping) {
        room->known++;
        room->used += self ? disk_used_bytes(n->params.disk) : ping->used;
    } else {
        room->silent++;
    }
}

/* A sum of capacities that passes the range is the whole range: nobody will ever fill it. */
static void measure(struct node *n, struct room *out) {
    *out = (struct room){0};
    for (size_t i = 0; i < members_count(n->members); i++) {
        const struct member *row = members_at(n->members, i);
        uint64_t left = UINT64_MAX - out->capacity;
        if (row->state == MEMBER_UP) {
            out->nodes++;
            out->capacity += row->capacity < left ? row->capacity : left;
        }
        if (row->state == MEMBER_UP || row->state == MEMBER_DRAINING) {
            measure_used(n, row->node, out);
        }
    }
}

/* With fewer nodes than copies are wanted every node holds everything, so a copy that cannot be made any more needs no
 * room. An estimate: it does not know how the chunks fall, and takes those that are silent to be like the others. */
static bool rest_has_room(struct node *n, const struct member *leaving) {
    struct room room;
    uint32_t wanted = n->swarm.settings.replicas;
    measure(n, &room);
    CHECK(room.nodes > 1); /* see others_up */
    uint64_t used = room.known ? room.used + room.silent * (room.used / room.known) : 0;
    uint64_t rest = room.capacity - leaving->capacity;
    uint32_t copies = room.nodes < wanted ? room.nodes : wanted;
    uint32_t later = room.nodes - 1 < wanted ? room.nodes - 1 : wanted;
    return used / copies <= (rest - rest / CHANGE_SPARE_PARTS) / later;
}

/* ---- may it be? ------------------------------------------------------------------------------------------------- */

static bool others_up(const struct change *c) {
    const struct members *m = c->node->members;
    for (size_t i = 0; i < members_count(m); i++) {
        const struct member *row = members_at(m, i);
        if (row->state == MEMBER_UP && row->node != c->target) {
            return true;
        }
    }
    return false;
}

static void refuse_step(struct change *c) {
    uint32_t node = c->row.node;
    switch (c->row.state) {
    case MEMBER_GONE:
        finish(c, ERR_REFUSED, "node %" PRIu32 " has left the swarm for good", node);
        break;
    case MEMBER_OUT:
        finish(c, ERR_REFUSED,
               "node %" PRIu32 " is out: what it held is with others already; use 'shoal remove %" PRIu32
               "' if it will not come back",
               node, node);
        break;
    case MEMBER_JOINING:
        finish(c, ERR_REFUSED,
               "node %" PRIu32 " has not finished joining: use 'shoal remove %" PRIu32 "' to give it up", node, node);
        break;
    default:
        finish(c, ERR_REFUSED, "node %" PRIu32 " is %s", node, member_state_name(c->row.state));
    }
}

static void refuse_alive(struct change *c) {
    finish(c, ERR_REFUSED,
           "node %" PRIu32 " is alive: 'shoal drain %" PRIu32
           "' lets it hand over what it has first; --force removes it as it is",
           c->row.node, c->row.node);
}

/* Finishes the change when not. */
static bool may_step(struct change *c) {
    enum member_state to = goals[c->action];
    uint32_t node = c->row.node;
    if (!member_transition_allowed(c->row.state, to) ||
        (c->action == CLIENT_DRAIN_STOP && c->row.state == MEMBER_OUT) ||
        (c->action == CLIENT_DRAIN_STOP && c->row.state == MEMBER_JOINING)) {
        refuse_step(c);
        return false;
    }
    if (to != MEMBER_UP && !others_up(c)) {
        finish(c, ERR_REFUSED, "no other node is up: nobody would be left to keep the files");
        return false;
    }
    if (to == MEMBER_DRAINING && !rest_has_room(c->node, &c->row)) {
        finish(c, ERR_NO_SPACE,
               "the nodes that remain have no room for what is stored: add a node first, or remove files");
        return false;
    }
    if (to == MEMBER_GONE && !c->force && peers_alive(c->node->peers, node)) {
        refuse_alive(c);
        return false;
    }
    return true;
}

/* ---- the way ---------------------------------------------------------------------------------------------------- */

static void begin(struct change *c);

static void settled(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct change *c = ctx;
    struct members *table = NULL;
    (void)config;
    if (!status && table_take_root(c->node, result, size, &table) == 0) {
        (void)table_adopt(c->node, table);
    }
    finish_plain(c, 0); /* it is decided, whether or not this node has seen it by now */
}

static void proposed(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct change *c = ctx;
    struct command_result r;
    (void)config;
    int rc = status ? status : command_result_decode(result, size, &r);
    rc = rc ? rc : r.status;
    if (rc == ERR_STALE && c->attempts < CHANGE_ATTEMPTS_MAX) {
        begin(c);
    } else if (rc == ERR_PRECONDITION) {
        finish(c, ERR_REFUSED, "no other node is up: nobody would be left to keep the files");
    } else if (rc) {
        finish_plain(c, rc);
    } else {
        root_query(c->node, settled, c);
    }
}

static void propose(struct change *c) {
    upkeep_propose(c->node, &c->row, goals[c->action], proposed, c);
}

static const char *group_names(const struct census_sum *sum, char *out, size_t size) {
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < sum->listed && at < size; i++) {
        const char *comma = i ? ", " : "";
        int got = sum->groups[i] == GROUPS_ROOT
                      ? snprintf(out + at, size - at, "%sthe member table", comma)
                      : snprintf(out + at, size - at, "%sarc %" PRIu32, comma, sum->groups[i] - 1);
        at += got > 0 ? (size_t)got : 0;
    }
    return out;
}

static void counted(void *ctx, const struct census_sum *sum);

static void count_fire(struct timer *t) {
    struct change *c = (struct change *)((char *)t - offsetof(struct change, timer));
    if (c->node->state == NODE_RUNNING) {
        c->censuses++;
        census_take(c->node, c->target, counted, c);
    }
}

static void counted(void *ctx, const struct census_sum *sum) {
    struct change *c = ctx;
    char names[256];
    if (sum->heard) {
        refuse_alive(c); /* others hear from it */
        return;
    }
    if (sum->stranded == 0) {
        propose(c);
        return;
    }
    if (c->censuses < CHANGE_CENSUSES_MAX) {
        timer_start(&c->node->timers, &c->timer, clock_now_ms(c->node->params.clock) + CHANGE_CENSUS_PAUSE_MS);
        return;
    }
    finish(c, ERR_REFUSED,
           "without node %" PRIu32
           " no majority that is alive would be left of %s%s: start the nodes that are down, or "
           "give --force if they are lost",
           c->row.node, group_names(sum, names, sizeof(names)), sum->stranded > sum->listed ? " and others" : "");
}

static void decide(struct change *c) {
    const struct member *row = members_find(c->node->members, c->target);
    if (!row) {
        finish(c, ERR_NOT_FOUND, "the swarm has no node %" PRIu32 ": see 'shoal status'", c->target);
        return;
    }
    c->row = *row;
    bool drained = c->action == CLIENT_DRAIN && row->state == MEMBER_GONE;
    if (row->state == goals[c->action] || drained) {
        finish_plain(c, 0);
    } else if (may_step(c)) {
        if (c->action == CLIENT_DISMISS && !c->force) {
            count_fire(&c->timer);
        } else {
            propose(c);
        }
    }
}

static void table_read(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct change *c = ctx;
    struct members *table = NULL;
    (void)config;
    int rc = status ? status : table_take_root(c->node, result, size, &table);
    rc = rc ? rc : table_adopt(c->node, table);
    if (rc) {
        finish_plain(c, rc);
    } else {
        decide(c);
    }
}

static void begin(struct change *c) {
    c->attempts++;
    root_query(c->node, table_read, c);
}

void change_request(void *node, const struct client_message *m, client_changed_cb *done, void *done_ctx) {
    struct node *n = node;
    struct change *c = calloc(1, sizeof(*c));
    CHECK(c && m->kind == CLIENT_MEMBER && m->u.member.action < CLIENT_ACTIONS);
    c->node = n;
    c->timer.fire = count_fire;
    c->action = (enum client_action)m->u.member.action;
    c->target = m->u.member.node ? m->u.member.node : n->swarm.self;
    c->force = m->u.member.force;
    c->done = done;
    c->ctx = done_ctx;
    TAILQ_INSERT_TAIL(&n->changes, c, link);
    begin(c);
}

/* What is still under way when the node ends. */
void change_release(struct node *n) {
    while (!TAILQ_EMPTY(&n->changes)) {
        change_free(TAILQ_FIRST(&n->changes));
    }
}
