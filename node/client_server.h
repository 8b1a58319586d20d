/* Serves local programs: the client protocol (wire/client.h) over LOCAL connections of the net port.
 *
 * One request at a time per connection. A program that sends a frame while its request is being answered, or the next
 * request without taking the answers to earlier ones, breaks the protocol and is cut off, as for any frame that is
 * malformed or out of place. The one frame that may cross an answer is what is left of a put that failed early: DATA
 * and END are thrown away, then the connection is ready for the next request.
 *
 * An idle connection costs a struct and nothing else: no timer, no buffer. */
#ifndef SHOAL_CLIENT_SERVER_H
#define SHOAL_CLIENT_SERVER_H

#include "client.h"
#include "files.h"
#include "net.h"

#define CLIENT_SERVER_CONNS_MAX 1024                /* further ones are closed at once */
#define CLIENT_SERVER_UNSENT_MAX (4u * 1024 * 1024) /* bytes of answers waiting for one program before we pause */
#define CLIENT_MEMBERS_MAX 7168                     /* rows of a STATUS_REPLY: what fits a frame for sure */

struct client_server;

typedef void client_invited_cb(void *ctx, int status, const char *ticket);

/* message: one line for a person, "" when status is 0. */
typedef void client_changed_cb(void *ctx, int status, const char *message);

struct client_server_params {
    struct files *files;
    /* Fills a STATUS_REPLY and up to `max` member rows; status 0, or why it cannot. */
    int (*status)(void *ctx, struct client_message *out, struct client_member *rows, uint32_t max);
    /* expires_ms from now. done exactly once, later. */
    void (*invite)(void *ctx, uint64_t expires_ms, uint32_t uses, client_invited_cb *done, void *done_ctx);
    /* Carries out a CLIENT_MEMBER. done exactly once, later. */
    void (*change)(void *ctx, const struct client_message *m, client_changed_cb *done, void *done_ctx);
    void *ctx;
};

int client_server_new(const struct client_server_params *params, struct client_server **ret_server); /* ERR_NOMEM */
/* Touches no port. Operations under way are forgotten: what they call back must not come any more. NULL is fine. */
void client_server_free(struct client_server *s);
/* Events of LOCAL connections. The user of such a connection (net_user) belongs to this module from `accepted` to
 * `closed`; it is NULL for one that was refused, and then none of these is to be called. */
void client_server_accepted(struct client_server *s, struct net_conn *net);
void client_server_received(struct client_server *s, struct net_conn *net, const uint8_t *bytes, size_t size);
void client_server_drained(struct client_server *s, struct net_conn *net);
void client_server_closed(struct client_server *s, struct net_conn *net, int status);

#endif
