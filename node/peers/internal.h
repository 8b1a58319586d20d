/* Shared by the files of this folder only. */
#ifndef SHOAL_PEERS_INTERNAL_H
#define SHOAL_PEERS_INTERNAL_H

#include <stddef.h>

#include <bsd/sys/queue.h>
#include <uthash.h>

#include "check.h"
#include "errors.h"
#include "peers.h"
#include "session.h"

#define LINK_MAGIC 0x50454552u /* "PEER" */
#define LINK_OUT_MAX (64 * 1024 * 1024)
#define REPLY_ON_CONTROL_MAX 4096 /* bytes of a bulk answer that may take the control lane */
#define LOG_LINES_MAX 10          /* about strangers, per LOG_WINDOW_MS */
#define LOG_WINDOW_MS 10000

enum link_role { LINK_STRANGER, LINK_MEMBER, LINK_GUEST, LINK_JOINING, LINK_GONE };

/* One connection.
 *
 *   dialled:  CONNECTING ──connected──▶ HANDSHAKE ──keys match──▶ OPEN ──▶ CLOSING
 *   accepted:                           HANDSHAKE ──known key───▶ OPEN ──▶ CLOSING        (any failure: CLOSING) */
enum link_state { LINK_CONNECTING, LINK_HANDSHAKE, LINK_OPEN, LINK_CLOSING };

struct link {
    uint32_t magic;
    struct peers *peers;
    struct net_conn *conn;
    uint64_t serial; /* never reused: how a guest's call finds its way back */
    bool dialled;
    bool asked;         /* a guest: its one question came */
    bool opened;        /* was OPEN once */
    uint64_t opened_ms; /* when */
    enum link_state state;
    enum link_role role;
    enum lane lane;
    uint32_t node; /* dialled: whom; accepted: who it turned out to be */
    uint8_t guest_id[32];
    struct session *session;
    struct frame_reader frames;
    struct buf out; /* whole frames of this turn */
    bool out_queued;
    struct timer timer; /* the handshake must be over by then; of a guest: everything */
    TAILQ_ENTRY(link) link;
    TAILQ_ENTRY(link) out_link;
};
TAILQ_HEAD(link_list, link);

/* One of our requests.
 *
 *   LOOP ──▶ WAITING ──answer──▶ DONE        LOOP: to ourselves, delivered in the next turn
 *   QUEUED ──session open──▶ WAITING         QUEUED: the session is being dialled */
enum request_state { REQUEST_LOOP, REQUEST_QUEUED, REQUEST_WAITING, REQUEST_DONE };

struct request {
    uint64_t id;
    struct peers *peers;
    enum request_state state;
    uint32_t node;
    struct peer *peer; /* on whose list it is; NULL: on none (to ourselves, or to nobody known) */
    enum lane lane;
    enum peer_op op;
    uint64_t deadline_ms;
    struct timer timer;
    struct buf body; /* LOOP, QUEUED: the question; DONE: the answer */
    int status;
    peers_reply_cb *cb;
    void *ctx;
    UT_hash_handle hh;
    TAILQ_ENTRY(request) link; /* of its peer, in order */
};
TAILQ_HEAD(request_list, request);

struct peer {
    struct peers *peers;
    uint32_t node;
    char addr[MEMBER_ADDR_SIZE];
    uint8_t dh[32];
    bool gone;
    bool mistaken;           /* somebody else answered at its address */
    struct link *out[LANES]; /* dialled by us */
    struct link *in[LANES];  /* accepted from it */
    struct redial {
        struct timer timer;
        uint32_t backoff_ms;
        struct peer *peer;
        enum lane lane;
    } redial[LANES];
    bool alive;        /* it was heard without a break since it last became so */
    uint64_t heard_ms; /* last ping or batch of raft messages; 0: never */
    struct timer silence;
    struct peer_ping ping;
    struct request_list requests;
    UT_hash_handle hh;
};

/* Somebody's request, until it is answered. */
struct call {
    struct peers_call pub;
    uint64_t id;     /* theirs */
    uint64_t serial; /* guests: of their link */
    TAILQ_ENTRY(call) link;
};

struct joining {
    bool active;
    uint8_t swarm[SWARM_ID_SIZE];
    uint8_t inviter_dh[32];
    struct link *link;
    uint64_t id;
    struct timer timer;
    int status; /* to be reported when the timer fires */
    struct buf body;
    peers_prove_cb *prove;
    peers_reply_cb *cb;
    void *ctx;
};

struct peers {
    struct peers_params params;
    bool known; /* swarm and self are set */
    uint8_t swarm[SWARM_ID_SIZE];
    uint32_t self;
    const struct members *members;
    struct peer *peers; /* by node */
    struct link_list links;
    struct link_list dirty; /* have something to send */
    uint32_t strangers;     /* accepted links of no member */
    uint64_t next_serial;
    struct request *requests; /* by id */
    uint64_t next_request;
    TAILQ_HEAD(, call) calls;
    uint32_t call_count;
    struct timer flush, pinging;
    struct joining joining;
    uint64_t log_window_ms;
    uint32_t log_lines;
    struct buf scratch; /* one frame under construction */
};

struct peer *peer_find(const struct peers *p, uint32_t node);
void peer_heard(struct peer *peer);
void peer_pinged(struct peer *peer, const struct peer_ping *ping);
void peer_lapsed(struct peer *peer);
void peers_log(struct peers *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* link.c */
int link_dial(struct peers *p, const char *addr, struct link **ret_link);
void link_close(struct link *l, const char *why); /* why: a line for the log, or NULL */
void link_queue(struct link *l);                  /* l->out is not empty: it leaves once l is open */
void link_flush_fire(struct timer *t);
void link_free(struct link *l);

/* dial.c */
void dial_mistaken(struct link *l); /* the key of the other end is not the peer's */
void dial(struct peer *peer, enum lane lane);
void dial_later(struct peer *peer, enum lane lane);
void dial_opened(struct link *l);
void dial_closed(struct link *l);
void redial_fire(struct timer *t);

/* request.c */
int request_frame(struct link *l, const uint8_t *frame, size_t size); /* PEER_REQUEST on l */
int reply_frame(struct link *l, const uint8_t *frame, size_t size);
void requests_opened(struct peer *peer, enum lane lane);
void requests_lost(struct peer *peer, enum lane lane, int status);
void requests_release(struct peers *p);

/* join.c */
int join_opened(struct link *l);
int join_frame(struct link *l, const uint8_t *frame, size_t size);
void join_closed(struct link *l, int status);

#endif
