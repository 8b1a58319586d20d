/* The net port: listening, dialling, and the life of each end of a connection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "stream.h"

#define SIM_TIMEOUT_US_MIN (10 * SIM_SECOND)
#define SIM_TIMEOUT_US_MAX (60 * SIM_SECOND)
#define SIM_DIAL_AGAIN_US SIM_SECOND
#define SIM_DIAL_DOUBLINGS_MAX 3
#define SIM_UNKNOWN_NAME_US (5 * SIM_MS)
#define SIM_PORT_MAX 65535

/* ---- the end of an end ------------------------------------------------------------------------------------------- */

/* Nobody can see the stream any more: what is still on its way arrives nowhere. */
static void stream_free_if_unowned(struct stream *st) {
    if (st->ends[0].net != NULL || st->ends[1].net != NULL) {
        return;
    }
    events_cancel(&st->sim->events, &st->handshake);
    for (int i = 0; i < 2; i++) {
        CHECK(!end_alive(&st->ends[i]));
        flow_drop(&st->ends[i]);
        CHECK(st->ends[i].ending.slot == 0);
    }
    free(st);
}

static void end_quiet(struct net_conn *c) {
    struct sim *s = c->stream->sim;
    events_cancel(&s->events, &c->ending);
    events_cancel(&s->events, &c->drained);
    events_cancel(&s->events, &c->stall);
    c->state = END_CLOSED;
}

static void end_disown(struct net_conn *c) {
    CHECK(c->net != NULL && c->net->conn_count > 0);
    TAILQ_REMOVE(&c->net->conns, c, next);
    c->net->conn_count--;
    c->net = NULL;
}

static void end_fire(struct event *e) {
    struct net_conn *c = CONTAINER(e, struct net_conn, ending);
    struct stream *st = c->stream;
    struct net *n = c->net;
    CHECK(end_alive(c) && n != NULL);
    bool closing = c->state == END_CLOSING;
    end_quiet(c);
    if (closing) {
        flow_cut(c, false);
    } else {
        flow_drop(c);
    }
    sim_happened(st->sim, SIM_CLOSED, c->host, (uint64_t)(int64_t)c->status, NULL, 0);
    n->events.closed(n->events.ctx, c, c->status);
    end_disown(c);
    stream_free_if_unowned(st);
}

void end_fail(struct net_conn *c, int status, uint64_t at_us) {
    struct sim *s = c->stream->sim;
    at_us = at_us > s->now_us ? at_us : s->now_us; /* a pause may have let a deadline go by */
    if (!end_alive(c) || (c->ending.slot != 0 && events_time(&s->events, &c->ending) <= at_us)) {
        return;
    }
    c->status = c->state == END_CLOSING ? 0 : status;
    events_add(&s->events, &c->ending, at_us);
}

static void stall_fire(struct event *e) {
    struct net_conn *c = CONTAINER(e, struct net_conn, stall);
    end_fail(c, ERR_IO, c->stream->sim->now_us);
}

static void drained_fire(struct event *e) {
    struct net_conn *c = CONTAINER(e, struct net_conn, drained);
    CHECK(c->net != NULL);
    if (c->state != END_OPEN || c->out.unsent > 0) {
        return;
    }
    sim_happened(c->stream->sim, SIM_DRAINED, c->host, 0, NULL, 0);
    if (c->net->events.drained != NULL) {
        c->net->events.drained(c->net->events.ctx, c);
    }
}

/* ---- making a connection ----------------------------------------------------------------------------------------- */

static void end_attach(struct net_conn *c, struct net *n, enum end_state state) {
    CHECK(c->net == NULL && c->state == END_NONE);
    c->net = n;
    c->state = state;
    TAILQ_INSERT_TAIL(&n->conns, c, next);
    n->conn_count++;
}

static void end_init(struct stream *st, int index, uint32_t host, uint32_t other_host) {
    struct net_conn *c = &st->ends[index];
    c->stream = st;
    c->host = host;
    flow_init(c, other_host);
    sim_event_init(&c->ending, end_fire, host);
    sim_event_init(&c->drained, drained_fire, host);
    sim_event_init(&c->stall, stall_fire, host);
}

static void handshake_fire(struct event *e);

static struct stream *stream_new(struct net *n, enum net_kind kind, uint32_t to, uint16_t port) {
    struct sim *s = n->sim;
    uint32_t from = n->host == NULL ? 0 : n->host->number;
    struct stream *st = calloc(1, sizeof(*st));
    CHECK(st != NULL);
    st->sim = s;
    st->kind = kind;
    st->port = port;
    st->deadline_us = s->now_us + SIM_CONNECT_US;
    st->timeout_us = prng_range(prng_at(&s->stream_prng, s->now_us), SIM_TIMEOUT_US_MIN, SIM_TIMEOUT_US_MAX);
    end_init(st, 0, from, to);
    end_init(st, 1, to, from);
    sim_event_init(&st->handshake, handshake_fire, to);
    end_attach(&st->ends[0], n, END_CONNECTING);
    return st;
}

static void handshake_send(struct stream *st) {
    struct net_conn *from = &st->ends[st->answering ? 1 : 0];
    st->handshake.host = end_peer(from)->host;
    events_add(&st->sim->events, &st->handshake, st->sim->now_us + stream_delay(st, from, 0));
}

/* The packet did not get through: again, until the dialler gives up. */
static void handshake_again(struct stream *st) {
    uint64_t pause = SIM_DIAL_AGAIN_US << st->tries;
    if (st->tries < SIM_DIAL_DOUBLINGS_MAX) {
        st->tries++;
    }
    uint64_t at = st->sim->now_us + pause;
    if (at < st->deadline_us) {
        events_add(&st->sim->events, &st->handshake, at);
    } else {
        end_fail(&st->ends[0], ERR_UNREACHABLE, st->deadline_us);
    }
}

static bool listens(const struct net *n, const struct stream *st) {
    return n != NULL && !n->dead && (st->kind == NET_LOCAL ? n->local : n->peer_port == st->port);
}

static void handshake_accept(struct stream *st) {
    struct sim *s = st->sim;
    struct net_conn *dialler = &st->ends[0];
    struct net_conn *acceptor = &st->ends[1];
    struct sim_host *h = &s->hosts[acceptor->host - 1];
    if (dialler->state != END_CONNECTING) {
        return;
    }
    uint64_t back_us = s->now_us + stream_delay(st, acceptor, 0);
    if (!h->up || !listens(h->net, st)) {
        end_fail(dialler, ERR_UNREACHABLE, back_us);
        return;
    }
    if (h->net->conn_count >= NET_CONNS_MAX) {
        end_fail(dialler, ERR_CLOSED, back_us);
        return;
    }
    if (st->kind == NET_LOCAL) {
        snprintf(acceptor->name, sizeof(acceptor->name), "local");
    } else {
        struct sim_host *from = &s->hosts[dialler->host - 1];
        from->next_port = from->next_port == SIM_PORT_MAX ? 40000 : from->next_port + 1;
        snprintf(acceptor->name, sizeof(acceptor->name), "node%u:%u", (unsigned)from->number,
                 (unsigned)from->next_port);
    }
    end_attach(acceptor, h->net, END_OPEN);
    st->answering = true;
    st->tries = 0;
    handshake_send(st);
    sim_happened(s, SIM_ACCEPTED, acceptor->host, dialler->host, NULL, 0);
    h->net->events.accepted(h->net->events.ctx, acceptor, st->kind);
}

static void handshake_connected(struct stream *st) {
    struct net_conn *dialler = &st->ends[0];
    if (dialler->state != END_CONNECTING) {
        return;
    }
    dialler->state = END_OPEN;
    flow_push(dialler);
    flow_unhold(end_peer(dialler));
    sim_happened(st->sim, SIM_CONNECTED, dialler->host, st->ends[1].host, NULL, 0);
    dialler->net->events.connected(dialler->net->events.ctx, dialler);
}

static void handshake_fire(struct event *e) {
    struct stream *st = CONTAINER(e, struct stream, handshake);
    struct net_conn *from = &st->ends[st->answering ? 1 : 0];
    uint64_t clogged_until = stream_clogged_until(st, from);
    if (stream_blocked(st, from)) {
        handshake_again(st);
    } else if (clogged_until > 0) {
        events_add(&st->sim->events, e, clogged_until);
    } else if (st->answering) {
        handshake_connected(st);
    } else {
        handshake_accept(st);
    }
}

void sim_host_reset(struct sim_host *h) {
    struct sim *s = h->sim;
    struct net_conn *c;
    sim_happened(s, SIM_FAULT, h->number, 0, "reset", 5);
    if (h->net == NULL) {
        return;
    }
    TAILQ_FOREACH(c, &h->net->conns, next) {
        if (c->stream->kind == NET_PEER && c->state == END_OPEN) {
            end_fail(c, ERR_IO, s->now_us + SIM_TURN_US);
            end_fail(end_peer(c), ERR_IO, s->now_us + SIM_TURN_US);
        }
    }
}

/* ---- addresses --------------------------------------------------------------------------------------------------- */

/* "host:port"; the port of -1 as an error. */
static int parse_addr(const char *addr, char *host, size_t host_size, uint32_t *ret_port) {
    const char *colon = strrchr(addr, ':');
    if (colon == NULL || colon == addr || (size_t)(colon - addr) >= host_size || colon[1] == '\0') {
        return ERR_INVALID;
    }
    uint32_t port = 0;
    for (const char *p = colon + 1; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || port > SIM_PORT_MAX) {
            return ERR_INVALID;
        }
        port = port * 10 + (uint32_t)(*p - '0');
    }
    if (port > SIM_PORT_MAX) {
        return ERR_INVALID;
    }
    memcpy(host, addr, (size_t)(colon - addr));
    host[colon - addr] = '\0';
    *ret_port = port;
    return 0;
}

/* The machine called "nodeN"; 0: there is none. */
static uint32_t host_by_name(const struct sim *s, const char *name) {
    char expected[SIM_ADDR_SIZE];
    char *end;
    if (strncmp(name, "node", 4) != 0) {
        return 0;
    }
    unsigned long number = strtoul(name + 4, &end, 10);
    if (number < 1 || number > s->host_count) {
        return 0;
    }
    snprintf(expected, sizeof(expected), "node%lu", number);
    return strcmp(expected, name) == 0 ? (uint32_t)number : 0;
}

/* ---- the port ---------------------------------------------------------------------------------------------------- */

void net_on_events(struct net *n, const struct net_events *events) {
    CHECK(events->accepted != NULL || n->host == NULL);
    CHECK(events->connected != NULL && events->received != NULL && events->closed != NULL);
    n->events = *events;
}

int net_listen(struct net *n, enum net_kind kind, const char *addr, char *ret_addr, size_t ret_addr_size) {
    CHECK(n->host != NULL && n->events.accepted != NULL);
    if (kind == NET_LOCAL) {
        if (n->local) {
            return ERR_IN_USE;
        }
        n->local = true;
        return 0;
    }
    char host[SIM_ADDR_SIZE];
    uint32_t port;
    int status = parse_addr(addr, host, sizeof(host), &port);
    if (status != 0) {
        return status;
    }
    if (n->peer_port != 0) {
        return ERR_IN_USE;
    }
    n->peer_port = port == 0 ? SIM_PORT : (uint16_t)port;
    if (ret_addr != NULL) {
        snprintf(ret_addr, ret_addr_size, "node%u:%u", (unsigned)n->host->number, (unsigned)n->peer_port);
    }
    return 0;
}

int net_connect(struct net *n, const char *addr, struct net_conn **ret_conn) {
    CHECK(n->host != NULL && n->events.connected != NULL);
    char host[SIM_ADDR_SIZE];
    uint32_t port;
    int status = parse_addr(addr, host, sizeof(host), &port);
    if (status != 0 || port == 0) {
        return ERR_INVALID;
    }
    if (n->dead) {
        return ERR_CLOSED;
    }
    uint32_t to = host_by_name(n->sim, host);
    struct stream *st = stream_new(n, NET_PEER, to == 0 ? n->host->number : to, (uint16_t)port);
    struct net_conn *c = &st->ends[0];
    snprintf(c->name, sizeof(c->name), "%s", addr);
    if (to == 0) {
        end_fail(c, ERR_UNREACHABLE, n->sim->now_us + SIM_UNKNOWN_NAME_US);
    } else {
        handshake_send(st);
    }
    *ret_conn = c;
    return 0;
}

struct net_conn *sim_net_connect_local(struct net *n, struct sim_host *to) {
    CHECK(n->host == NULL);
    struct stream *st = stream_new(n, NET_LOCAL, to->number, 0);
    snprintf(st->ends[0].name, sizeof(st->ends[0].name), "local");
    handshake_send(st);
    return &st->ends[0];
}

int net_send(struct net_conn *c, const uint8_t *bytes, size_t size) {
    CHECK(bytes != NULL || size == 0);
    if (c->state != END_OPEN && c->state != END_CONNECTING) {
        return ERR_CLOSED;
    }
    flow_append(c, bytes, size);
    return 0;
}

int net_extend(struct net_conn *c, size_t size, uint8_t **ret_room) {
    CHECK(size > 0 && size <= NET_EXTEND_MAX);
    if (c->state != END_OPEN && c->state != END_CONNECTING) {
        return ERR_CLOSED;
    }
    *ret_room = flow_extend(c, size);
    return 0;
}

size_t net_unsent(const struct net_conn *c) {
    return c->out.unsent;
}

void net_pause(struct net_conn *c) {
    c->paused = end_alive(c);
}

void net_resume(struct net_conn *c) {
    if (c->paused && end_alive(c)) {
        c->paused = false;
        flow_unhold(end_peer(c));
    }
}

void net_close(struct net_conn *c) {
    if (c->state != END_OPEN && c->state != END_CONNECTING) {
        return;
    }
    struct sim *s = c->stream->sim;
    uint64_t wait_us = c->out.unsent > 0 && c->state == END_OPEN ? SIM_CLOSE_US : SIM_TURN_US;
    c->state = END_CLOSING;
    c->paused = false;
    events_cancel(&s->events, &c->drained);
    end_fail(c, 0, s->now_us + wait_us);
    c->status = 0;
    flow_finish(c);
    flow_unhold(end_peer(c));
}

const char *net_peer_name(const struct net_conn *c) {
    return c->name;
}

void net_set_user(struct net_conn *c, void *user) {
    c->user = user;
}

void *net_user(const struct net_conn *c) {
    return c->user;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

struct net *sim_net_new(struct sim *s, struct sim_host *h) {
    struct net *n = calloc(1, sizeof(*n));
    CHECK(n != NULL);
    n->sim = s;
    n->host = h;
    TAILQ_INIT(&n->conns);
    return n;
}

void sim_net_kill(struct net *n, bool abrupt) {
    CHECK(!n->dead);
    n->dead = true;
    struct net_conn *c;
    TAILQ_FOREACH(c, &n->conns, next) {
        end_quiet(c);
        c->paused = false;
        flow_cut(c, abrupt && c->stream->kind == NET_PEER); /* a client fell with its machine: it is told */
        flow_unhold(end_peer(c));
    }
}

void sim_net_free(struct net *n) {
    CHECK(n->dead);
    struct net_conn *c;
    while ((c = TAILQ_FIRST(&n->conns)) != NULL) {
        struct stream *st = c->stream;
        end_disown(c);
        stream_free_if_unowned(st);
    }
    CHECK(n->conn_count == 0);
    free(n);
}

void sim_net_paths_changed(struct sim *s) {
    for (uint32_t i = 0; i < s->host_count; i++) {
        if (s->hosts[i].net == NULL) {
            continue;
        }
        struct net_conn *c;
        TAILQ_FOREACH(c, &s->hosts[i].net->conns, next) {
            flow_retry(c);
            flow_retry(end_peer(c));
        }
    }
}
