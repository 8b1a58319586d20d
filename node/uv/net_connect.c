/* From text to an open connection: resolve off the loop, then try the addresses one after another. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "net_internal.h"

static void conn_on_connected(uv_connect_t *request, int uv_error) {
    struct net_conn *c = conn_of(request->data);
    if (c->state != CONN_CONNECTING)
        return; /* it is being closed, and this is the cancelled request */
    if (uv_error != 0) {
        conn_attempt_failed(c, uv_error);
        return;
    }
    struct net *n = c->net;
    conn_clear_deadline(c);
    conn_forget_addrs(c);
    conn_opened(c);
    n->events.connected(n->events.ctx, c);
    conn_start(c);
}

static void conn_dial(struct net_conn *c, const struct sockaddr *sa) {
    CHECK(c->state == CONN_CONNECTING);
    CHECK(sa->sa_family == AF_INET || sa->sa_family == AF_INET6);
    c->attempts++;
    conn_set_deadline(c, &c->net->attempts, NET_ATTEMPT_MS);
    c->connect.data = c;
    int uv_error = uv_tcp_connect(&c->connect, &c->handle.tcp, sa, conn_on_connected);
    if (uv_error != 0)
        conn_attempt_failed(c, uv_error);
}

static void conn_dial_next(struct net_conn *c) {
    const struct addrinfo *addr = c->next_addr;
    CHECK(addr != NULL);
    c->next_addr = addr->ai_next;
    conn_dial(c, addr->ai_addr);
}

static void conn_on_reopened(uv_handle_t *handle) {
    struct net_conn *c = conn_of(handle->data);
    CHECK(c->state == CONN_REOPENING || c->state == CONN_CLOSING);
    if (c->state == CONN_CLOSING) {
        conn_closed(c);
        return;
    }
    int error = conn_init_handle(c);
    if (error != 0) {
        conn_destroy(c, error);
        conn_closed(c);
        return;
    }
    conn_set_state(c, CONN_CONNECTING);
    conn_dial_next(c);
}

void conn_attempt_failed(struct net_conn *c, int uv_error) {
    CHECK(c->state == CONN_CONNECTING);
    conn_clear_deadline(c);
    if (c->next_addr == NULL || c->attempts >= NET_ATTEMPTS_MAX) {
        int error = net_error(uv_error);
        conn_destroy(c, error == ERR_CLOSED ? ERR_UNREACHABLE : error);
        return;
    }
    conn_set_state(c, CONN_REOPENING);
    uv_close(&c->handle.base, conn_on_reopened);
}

void conn_forget_addrs(struct net_conn *c) {
    uv_freeaddrinfo(c->addrs);
    c->addrs = NULL;
    c->next_addr = NULL;
}

static void conn_on_resolved(uv_getaddrinfo_t *request, int uv_error, struct addrinfo *addrs) {
    struct net_conn *c = conn_of(request->data);
    CHECK(c->resolving);
    c->resolving = false;
    if (c->state == CONN_CLOSED || c->state == CONN_CLOSING) {
        uv_freeaddrinfo(addrs);
        if (c->state == CONN_CLOSED)
            conn_free(c);
        return;
    }
    CHECK(c->state == CONN_RESOLVING);
    conn_clear_deadline(c);
    if (uv_error != 0 || addrs == NULL) {
        uv_freeaddrinfo(addrs);
        conn_destroy(c, ERR_UNREACHABLE);
        return;
    }
    c->addrs = addrs;
    c->next_addr = addrs;
    conn_set_state(c, CONN_CONNECTING);
    conn_dial_next(c);
}

static int conn_resolve(struct net_conn *c, const struct net_addr *addr) {
    CHECK(c->state == CONN_RESOLVING);
    CHECK(!addr->numeric);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    c->resolve.data = c;
    int uv_error = uv_getaddrinfo(c->net->loop, &c->resolve, conn_on_resolved, addr->host, addr->port, &hints);
    if (uv_error != 0)
        return net_error(uv_error);
    c->resolving = true;
    conn_set_deadline(c, &c->net->attempts, NET_ATTEMPT_MS);
    return 0;
}

int net_connect(struct net *n, const char *addr, struct net_conn **ret_conn) {
    CHECK(n->magic == NET_MAGIC && !n->shut);
    CHECK(n->events.closed != NULL);
    struct net_addr parsed;
    if (net_addr_parse(addr, &parsed) != 0 || parsed.port_number == 0)
        return ERR_INVALID;
    if (n->conn_count >= NET_CONNS_MAX)
        return ERR_BUSY;
    struct net_conn *c;
    int error = conn_new(n, NET_PEER, CONN_RESOLVING, &c);
    if (error != 0)
        return error;
    memcpy(c->name, addr, strlen(addr) + 1);
    *ret_conn = c;
    if (parsed.numeric) {
        conn_set_state(c, CONN_CONNECTING);
        conn_dial(c, &parsed.sa);
        return 0;
    }
    error = conn_resolve(c, &parsed);
    if (error != 0)
        conn_destroy(c, error);
    return 0;
}
