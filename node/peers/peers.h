/* Everybody this node talks to: sealed sessions in two lanes, requests with answers, liveness.
 *
 * A node sends to another on sessions it dialled itself and receives on sessions it accepted, so no two ends ever have
 * to agree which of two crossing connections survives, and a path that works in one direction only is seen as such.
 * After the handshake the other end is a member (its key is in the member table), a guest (may only send OP_JOIN, once:
 * what it asks becomes an entry of the root group's log), or it is cut off. A member that is gone is told so, which is
 * all it ever hears: otherwise one that was away when it was removed would knock for ever. */
#ifndef SHOAL_PEERS_H
#define SHOAL_PEERS_H

#include "clock.h"
#include "identity.h"
#include "net.h"
#include "peer.h"
#include "random.h"
#include "timers.h"

#define PEERS_PING_MS 250
#define PEERS_DEAD_MS 600       /* nothing heard for this long: not alive */
#define PEERS_SETTLED_MS 2000   /* a session that stood for this long was no mistake */
#define PEERS_STALE_MS 5000     /* no ping for this long: dial anew */
#define PEERS_HANDSHAKE_MS 5000 /* to finish a handshake and say something */
#define PEERS_GUEST_MS 30000    /* to hear whether it may join: as long as the inviter tries */
#define PEERS_STRANGERS_MAX 64  /* connections of no member: half-open ones and guests */
#define PEERS_REDIAL_MIN_MS 100
#define PEERS_REDIAL_MAX_MS 2000
#define PEERS_CONTROL_UNSENT_MAX (16 * 1024 * 1024) /* beyond: the control session to that peer is given up */
#define PEERS_BULK_UNSENT_MAX (32 * 1024 * 1024)    /* beyond: bulk requests get ERR_BUSY */
#define PEERS_REQUESTS_MAX 65536                    /* of ours, unanswered */
#define PEERS_CALLS_MAX 16384                       /* of others', unanswered by us: beyond, ERR_BUSY */

struct peers;

/* A request of somebody else waiting for our answer. Must be answered exactly once by peers_reply, at any time; the
 * answer is dropped when the peer is gone by then. */
struct peers_call {
    uint32_t from; /* member; 0: a guest */
    enum lane lane;
    uint8_t guest_id[32];  /* guests: their Ed25519 key, proven by the handshake */
    uint8_t handshake[32]; /* guests: the hash of their session's handshake */
    struct peers *peers;
    void *opaque[4];
};

struct peers_events {
    void (*ping)(void *ctx, uint32_t from, const struct peer_ping *ping);
    void (*raft)(void *ctx, uint32_t from, const uint8_t *frame, size_t size);
    void (*routes)(void *ctx, uint32_t from, const uint8_t *frame, size_t size);
    void (*led)(void *ctx, uint32_t from, const uint8_t *frame, size_t size);
    /* body is valid during the call only */
    void (*request)(void *ctx, struct peers_call *call, enum peer_op op, const uint8_t *body, size_t size);
    void (*opened)(void *ctx, uint32_t node); /* our control session to it stands */
    void (*lost)(void *ctx, uint32_t node);   /* our control session to it broke: messages may be lost */
    /* It is heard, from this moment without a break; */
    void (*alive)(void *ctx, uint32_t node);
    /* and is not any more: silent since heard_ms, its session broke, or it has started anew. */
    void (*lapsed)(void *ctx, uint32_t node, uint64_t heard_ms);
    void (*log)(void *ctx, const char *line);
    /* A member says that we are gone: our row as the swarm has it. */
    void (*farewell)(void *ctx, uint64_t epoch, const struct member *row);
    /* The ping to send now; false: none, this node is not fit to be taken for alive. */
    bool (*make_ping)(void *ctx, struct peer_ping *out);
    void *ctx;
};

struct peers_params {
    struct net *net;
    struct clock *clock;
    struct random *random;
    struct timers *timers;
    const struct identity *identity;
    bool aesgcm; /* this node's processor has what it needs; each session uses it if the peer's has, too */
    struct peers_events events;
};

int peers_new(const struct peers_params *params, struct peers **ret_peers);
void peers_free(struct peers *p); /* closes nothing: for the end of a node whose net is gone or going */
/* Hands the peers every PEER event of the net port. */
void peers_accepted(struct peers *p, struct net_conn *c);
bool peers_owns(const struct peers *p, const struct net_conn *c);
void peers_connected(struct peers *p, struct net_conn *c);
void peers_received(struct peers *p, struct net_conn *c, const uint8_t *bytes, size_t size);
void peers_drained(struct peers *p, struct net_conn *c);
void peers_closed(struct peers *p, struct net_conn *c, int status);

/* Who we are: known once the swarm is created or joined. Strangers are refused before that. */
void peers_set_swarm(struct peers *p, const uint8_t swarm[32], uint32_t self);
/* The table changed: dials newcomers, cuts off whoever is GONE. m stays the caller's and must outlive p. */
void peers_set_members(struct peers *p, const struct members *m);

/* Appends to the control stream of a peer; everything leaves together at the end of the loop turn. NULL when there is
 * no open session: the message is lost. Nothing is lost in any other way, so when too much is unsent, the session
 * goes. Write whole frames only. */
struct buf *peers_control(struct peers *p, uint32_t node);
/* For whoever had to drop a message: the control session to the peer breaks, so that both sides know. */
void peers_break(struct peers *p, uint32_t node);

/* The answer: status of the peer, or ERR_UNREACHABLE, ERR_TIMEOUT, ERR_BUSY, ERR_CLOSED (never sent or lost on the
 * way). body is valid during the call only. Exactly once, never from inside peers_request. Not called after
 * peers_free. */
typedef void peers_reply_cb(void *ctx, int status, const uint8_t *body, size_t size);
/* A request to ourselves is delivered as any other, without touching the net. body is copied. A request to a peer
 * whose session is being dialled waits for it within its timeout. */
uint64_t peers_request(struct peers *p, uint32_t node, enum lane lane, enum peer_op op, const struct buf *body,
                       uint64_t timeout_ms, peers_reply_cb *cb, void *ctx);
/* The request with this id, which was not answered yet, never will be: cb is not called. Whether the peer has acted on
 * it is not known. */
void peers_cancel(struct peers *p, uint64_t id);
void peers_reply(struct peers_call *call, int status, const void *body, size_t size);

/* Heard, and can be told. The own node always is. */
bool peers_alive(const struct peers *p, uint32_t node);
const struct peer_ping *peers_last_ping(const struct peers *p, uint32_t node); /* NULL: never heard or not alive */

/* Joining: dials `addr` as a guest, checks that the other end holds the key `inviter`, sends OP_JOIN; the answer as
 * for peers_request. One at a time. hash for the proof is given by `prove`. */
typedef void peers_prove_cb(void *ctx, const uint8_t handshake[32], struct join_request *out);
void peers_join(struct peers *p, const uint8_t swarm[32], const char *addr, const uint8_t inviter[32],
                peers_prove_cb *prove, uint64_t timeout_ms, peers_reply_cb *cb, void *ctx);

#endif
