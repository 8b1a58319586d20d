/* Simulated clients: each is a net of its own, with one connection. */
#include <stdlib.h>

#include "check.h"
#include "errors.h"
#include "internal.h"

struct sim_client {
    LIST_ENTRY(sim_client) next;
    struct net *net;
    struct net_conn *conn;
    struct sim_client_events events;
    struct event gone; /* the net cannot be freed from inside its own callback */
    struct sim *sim;
};

static void client_connected(void *ctx, struct net_conn *conn) {
    struct sim_client *c = ctx;
    CHECK(c->conn == conn);
    c->events.connected(c->events.ctx);
}

static void client_received(void *ctx, struct net_conn *conn, const uint8_t *bytes, size_t size) {
    struct sim_client *c = ctx;
    CHECK(c->conn == conn);
    c->events.received(c->events.ctx, bytes, size);
}

static void client_free(struct sim_client *c) {
    LIST_REMOVE(c, next);
    events_cancel(&c->sim->events, &c->gone);
    sim_net_kill(c->net, false);
    sim_net_free(c->net);
    free(c);
}

static void client_gone(struct event *e) {
    client_free(CONTAINER(e, struct sim_client, gone));
}

static void client_closed(void *ctx, struct net_conn *conn, int status) {
    struct sim_client *c = ctx;
    CHECK(c->conn == conn);
    c->conn = NULL;
    events_add(&c->sim->events, &c->gone, c->sim->now_us + SIM_TURN_US);
    c->events.closed(c->events.ctx, status);
}

struct sim_client *sim_client_open(struct sim_host *h, const struct sim_client_events *events) {
    CHECK(events->connected != NULL && events->received != NULL && events->closed != NULL);
    struct sim_client *c = calloc(1, sizeof(*c));
    CHECK(c != NULL);
    c->sim = h->sim;
    c->events = *events;
    c->net = sim_net_new(h->sim, NULL);
    sim_event_init(&c->gone, client_gone, 0);
    const struct net_events net_events = {
        .connected = client_connected, .received = client_received, .closed = client_closed, .ctx = c};
    net_on_events(c->net, &net_events);
    c->conn = sim_net_connect_local(c->net, h);
    LIST_INSERT_HEAD(&h->sim->clients, c, next);
    return c;
}

int sim_client_send(struct sim_client *c, const uint8_t *bytes, size_t size) {
    return c->conn == NULL ? ERR_CLOSED : net_send(c->conn, bytes, size);
}

size_t sim_client_unsent(const struct sim_client *c) {
    return c->conn == NULL ? 0 : net_unsent(c->conn);
}

void sim_client_close(struct sim_client *c) {
    if (c->conn != NULL) {
        net_close(c->conn);
    }
}

void sim_client_kill_all(struct sim *s) {
    struct sim_client *c;
    while ((c = LIST_FIRST(&s->clients)) != NULL) {
        bool told = c->conn == NULL;
        c->conn = NULL;
        if (!told) {
            c->events.closed(c->events.ctx, ERR_CLOSED);
        }
        client_free(c);
    }
}
