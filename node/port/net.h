/* Port: byte-stream connections. Two kinds of listener: PEER (TCP) and LOCAL (a Unix socket in the data directory,
 * protected by file permissions). All calls and callbacks on the loop thread; a callback is never made from inside
 * the call that causes it.
 *
 *   net_connect ─▶ connected(0) ─▶ received* ─▶ closed          (or closed alone when connecting failed)
 *   accepted    ─▶ received* ─▶ closed
 *
 * A conn stays valid until its `closed` callback returns; `closed` is called exactly once for every conn, also after
 * net_close(). After net_close() no other callback is made for it. */
#ifndef SHOAL_NET_H
#define SHOAL_NET_H

#include <stddef.h>
#include <stdint.h>

struct net;
struct net_conn;

enum net_kind { NET_PEER, NET_LOCAL };

#define NET_EXTEND_MAX (128 * 1024)
#define NET_CONNS_MAX 8192 /* beyond this, accepted connections are closed at once */

struct net_events {
    void (*accepted)(void *ctx, struct net_conn *c, enum net_kind kind);
    void (*connected)(void *ctx, struct net_conn *c);
    void (*received)(void *ctx, struct net_conn *c, const uint8_t *bytes, size_t size); /* at most 256 KiB a call */
    void (*drained)(void *ctx, struct net_conn *c);            /* unsent bytes fell back to 0 after having been > 0 */
    void (*closed)(void *ctx, struct net_conn *c, int status); /* ERR_CLOSED, ERR_UNREACHABLE, ERR_IO; 0: net_close */
    void *ctx;
};

/* Set once, before listening or connecting. */
void net_on_events(struct net *n, const struct net_events *events);
/* PEER: "host:port" (port 0: any free one). LOCAL: a path. *ret_addr (may be NULL) gets the bound "host:port".
 * ERR_IN_USE, ERR_INVALID, ERR_REFUSED (a port the system keeps to itself), ERR_IO. */
int net_listen(struct net *n, enum net_kind kind, const char *addr, char *ret_addr, size_t ret_addr_size);
/* Starts connecting to a PEER address; names are resolved off the loop. ERR_INVALID for text that is no address,
 * ERR_BUSY when NET_CONNS_MAX are open, ERR_NOMEM. */
int net_connect(struct net *n, const char *addr, struct net_conn **ret_conn);
/* Queues a copy of the bytes, all or none. ERR_CLOSED once closed/closing, ERR_NOMEM. The caller bounds what it queues
 * by net_unsent(). */
int net_send(struct net_conn *c, const uint8_t *bytes, size_t size);
/* Queues `size` bytes, 1 to NET_EXTEND_MAX, which the caller writes to *ret_room: all of them, before its next call on
 * this connection, and before the loop goes on. The same errors. */
int net_extend(struct net_conn *c, size_t size, uint8_t **ret_room);
size_t net_unsent(const struct net_conn *c);
/* Stop and go on reading (back-pressure). */
void net_pause(struct net_conn *c);
void net_resume(struct net_conn *c);
void net_close(struct net_conn *c); /* queued bytes are sent first when possible, within a second */
/* A word for logs: "192.0.2.1:7440" or "local". */
const char *net_peer_name(const struct net_conn *c);
/* The user's pointer. */
void net_set_user(struct net_conn *c, void *user);
void *net_user(const struct net_conn *c);

#endif
