/* Invitations, admissions, and the state of the swarm as users see it. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define INVITE_USES_MAX 10000
#define INVITE_EXPIRES_MAX_MS (366ull * 24 * 3600 * 1000)

/* ---- a guest wants in ------------------------------------------------------------------------------------------- */

struct admission {
    TAILQ_ENTRY(admission) link;
    struct node *node;
    struct peers_call *call;
    struct command_result result;
};

static void admission_finish(struct admission *a, int status, const struct buf *body) {
    peers_reply(a->call, status, body ? body->bytes : NULL, body ? body->size : 0);
    TAILQ_REMOVE(&a->node->admissions, a, link);
    free(a);
}

/* The newcomer gets the table with itself in it, so that it knows whom to call. */
static void admission_table(void *ctx, int status, const struct raft_config *config, const uint8_t *result,
                            size_t size) {
    struct admission *a = ctx;
    struct node *n = a->node;
    struct members *table = NULL;
    struct buf rows, body;
    (void)config;
    buf_init(&rows, PEER_BODY_MAX);
    buf_init(&body, PEER_BODY_MAX);
    int rc = status ? status : table_take_root(n, result, size, &table);
    if (!rc) {
        members_delta_encode(table, n->swarm.settings.bits, n->swarm.settings.replicas, 0, &rows);
        struct join_reply reply = {.node = a->result.node,
                                   .bits = n->swarm.settings.bits,
                                   .replicas = n->swarm.settings.replicas,
                                   .epoch = members_epoch(table),
                                   .members = rows.bytes,
                                   .members_size = rows.size};
        join_reply_encode(&reply, &body);
        rc = rows.error ? rows.error : body.error;
        (void)table_adopt(n, table);
    }
    admission_finish(a, rc, rc ? NULL : &body);
    buf_release(&rows);
    buf_release(&body);
}

static void admission_answer(void *ctx, int status, const struct raft_config *config, const uint8_t *result,
                             size_t size) {
    struct admission *a = ctx;
    (void)config;
    int rc = status ? status : command_result_decode(result, size, &a->result);
    rc = rc ? rc : a->result.status;
    if (rc) {
        node_log(a->node, "a node that wanted to join was refused: %s", err_text(rc));
        admission_finish(a, rc, NULL);
    } else {
        root_query(a->node, admission_table, a);
    }
}

void admit_serve(struct node *n, struct peers_call *call, const uint8_t *body, size_t size) {
    struct join_request req;
    struct command c = {.kind = COMMAND_MEMBER_JOIN};
    struct buf b;
    int rc = join_request_decode(body, size, &req);
    rc = rc ? rc : memcmp(req.row.id, call->guest_id, sizeof(req.row.id)) != 0 ? ERR_AUTH : 0;
    rc = rc ? rc : identity_dh_public(call->guest_id, req.row.dh);
    struct admission *a = rc ? NULL : calloc(1, sizeof(*a));
    if (!a) {
        peers_reply(call, rc ? rc : ERR_NOMEM, NULL, 0);
        return;
    }
    a->node = n;
    a->call = call;
    TAILQ_INSERT_TAIL(&n->admissions, a, link);
    memcpy(c.u.join.ticket, req.ticket, sizeof(c.u.join.ticket));
    memcpy(c.u.join.handshake, call->handshake, sizeof(c.u.join.handshake));
    c.u.join.proof = req.proof;
    c.u.join.row = req.row;
    buf_init(&b, PEER_BODY_MAX);
    command_encode(&c, &b);
    groups_propose(n->groups, GROUPS_ROOT, &b, NODE_ROOT_MS, admission_answer, a);
    buf_release(&b);
}

/* ---- invitations ------------------------------------------------------------------------------------------------ */

struct invitation {
    TAILQ_ENTRY(invitation) link;
    struct node *node;
    struct ticket ticket;
    client_invited_cb *done;
    void *ctx;
};

static void invitation_free(struct invitation *i) {
    TAILQ_REMOVE(&i->node->invitations, i, link);
    ticket_release(&i->ticket);
    free(i);
}

static void invitation_finish(struct invitation *i, int status) {
    char text[TICKET_TEXT_MAX];
    int rc = status ? status : ticket_encode(&i->ticket, text, sizeof(text));
    i->done(i->ctx, rc, rc ? "" : text);
    memset(text, 0, sizeof(text));
    invitation_free(i);
}

static void invitation_answer(void *ctx, int status, const struct raft_config *config, const uint8_t *result,
                              size_t size) {
    struct command_result r;
    (void)config;
    int rc = status ? status : command_result_decode(result, size, &r);
    rc = rc ? rc : r.status;
    /* Nobody else knows the id: it is there by an attempt whose answer was lost. */
    invitation_finish(ctx, rc == ERR_EXISTS ? 0 : rc);
}

void admit_invite(void *node, uint64_t expires_ms, uint32_t uses, client_invited_cb *done, void *done_ctx) {
    struct node *n = node;
    struct command c = {.kind = COMMAND_TICKET_ADD};
    struct buf b;
    struct invitation *i = calloc(1, sizeof(*i));
    CHECK(i);
    i->node = n;
    TAILQ_INSERT_TAIL(&n->invitations, i, link);
    i->done = done;
    i->ctx = done_ctx;
    memcpy(i->ticket.swarm, n->swarm.settings.swarm, sizeof(i->ticket.swarm));
    memcpy(i->ticket.inviter, n->identity.public_key, sizeof(i->ticket.inviter));
    random_fill(n->params.random, i->ticket.id, sizeof(i->ticket.id));
    random_fill(n->params.random, i->ticket.secret, sizeof(i->ticket.secret));
    i->ticket.expires_ms =
        clock_wall_ms(n->params.clock) + (expires_ms < INVITE_EXPIRES_MAX_MS ? expires_ms : INVITE_EXPIRES_MAX_MS);
    i->ticket.addr_count = 1;
    memcpy(i->ticket.addrs[0], n->advertise, sizeof(i->ticket.addrs[0]));
    memcpy(c.u.ticket.id, i->ticket.id, sizeof(c.u.ticket.id));
    ticket_verifier(i->ticket.secret, &c.u.ticket.verifier);
    c.u.ticket.expires_ms = i->ticket.expires_ms;
    c.u.ticket.uses = uses < INVITE_USES_MAX ? uses : INVITE_USES_MAX;
    buf_init(&b, PEER_BODY_MAX);
    command_encode(&c, &b);
    groups_propose(n->groups, GROUPS_ROOT, &b, NODE_ROOT_MS, invitation_answer, i);
    buf_release(&b);
}

/* What is still under way when the node ends. */
void admit_release(struct node *n) {
    while (!TAILQ_EMPTY(&n->admissions)) {
        struct admission *a = TAILQ_FIRST(&n->admissions);
        TAILQ_REMOVE(&n->admissions, a, link);
        free(a);
    }
    while (!TAILQ_EMPTY(&n->invitations)) {
        invitation_free(TAILQ_FIRST(&n->invitations));
    }
}

/* ---- status ----------------------------------------------------------------------------------------------------- */

int node_status(void *node, struct client_message *out, struct client_member *rows, uint32_t max) {
    struct node *n = node;
    uint32_t led = 0, healthy = 0, count = 0;
    if (n->state != NODE_RUNNING) {
        return ERR_UNAVAILABLE;
    }
    uint32_t *replicas = calloc(MEMBERS_MAX + 1, sizeof(*replicas));
    if (!replicas) {
        return ERR_NOMEM;
    }
    groups_replica_counts(n->groups, replicas, MEMBERS_MAX + 1);
    *out = (struct client_message){.kind = CLIENT_STATUS_REPLY};
    for (size_t i = 0; i < members_count(n->members) && count < max; i++) {
        const struct member *m = members_at(n->members, i);
        const struct peer_ping *ping = m->node == n->swarm.self ? NULL : peers_last_ping(n->peers, m->node);
        struct peer_ping own = {0};
        if (m->node == n->swarm.self) {
            own.used = disk_used_bytes(n->params.disk);
            groups_health(n->groups, &own.led, &own.healthy, &own.under);
            ping = &own;
        }
        struct client_member *row = &rows[count++];
        *row = (struct client_member){.node = m->node, .state = (uint8_t)m->state, .capacity = m->capacity};
        if (m->node == n->swarm.self && n->gone) {
            row->state = MEMBER_GONE; /* it may be all that we heard of its epoch */
        }
        row->replicas = m->node <= MEMBERS_MAX ? replicas[m->node] : 0;
        memcpy(row->id, m->id, sizeof(row->id));
        memcpy(row->addr, m->addr, sizeof(row->addr));
        memcpy(row->zone, m->zone, sizeof(row->zone));
        if (ping) {
            row->alive = true;
            row->used = ping->used;
            row->leaders = ping->led;
            led += ping->led;
            healthy += ping->healthy;
        }
    }
    free(replicas);
    uint32_t total = groups_count(n->groups) - 1;
    led = led < total ? led : total; /* while leadership moves, two nodes may count the same arc */
    healthy = healthy < led ? healthy : led;
    memcpy(out->u.status_reply.swarm, n->swarm.settings.swarm, sizeof(out->u.status_reply.swarm));
    out->u.status_reply.self = n->swarm.self;
    out->u.status_reply.epoch = members_epoch(n->members);
    out->u.status_reply.replicas = n->swarm.settings.replicas;
    out->u.status_reply.arcs_total = total;
    out->u.status_reply.arcs_healthy = healthy;
    out->u.status_reply.arcs_under = led - healthy;
    out->u.status_reply.arcs_leaderless = total - led;
    out->u.status_reply.count = count;
    return 0;
}
