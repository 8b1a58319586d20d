/* Serves local programs: the client protocol (wire/client.h) over LOCAL connections of the net port. */
#ifndef SHOAL_CLIENT_SERVER_H
#define SHOAL_CLIENT_SERVER_H

#include "client.h"
#include "files.h"
#include "net.h"

#define CLIENT_SERVER_CONNS_MAX 1024
#define CLIENT_MEMBERS_MAX MEMBERS_MAX

struct client_server;

typedef void client_invited_cb(void *ctx, int status, const char *ticket);

struct client_server_params {
    struct net *net;
    struct timers *timers;
    struct clock *clock;
    struct files *files;
    /* Fills a STATUS_REPLY and up to `max` member rows; status 0, or why it cannot. */
    int (*status)(void *ctx, struct client_message *out, struct client_member *rows, uint32_t max);
    /* expires_ms from now. done exactly once, later. */
    void (*invite)(void *ctx, uint64_t expires_ms, uint32_t uses, client_invited_cb *done, void *done_ctx);
    void *ctx;
};

int client_server_new(const struct client_server_params *params, struct client_server **ret_server);
void client_server_free(struct client_server *s); /* touches no port */
void client_server_accepted(struct client_server *s, struct net_conn *c);
void client_server_received(struct client_server *s, struct net_conn *c, const uint8_t *bytes, size_t size);
void client_server_drained(struct client_server *s, struct net_conn *c);
void client_server_closed(struct client_server *s, struct net_conn *c, int status);

#endif
