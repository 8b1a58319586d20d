/* What the files of the net port share.
 *
 *   net_connect ─▶ RESOLVING ─▶ CONNECTING ─▶ OPEN ─net_close─▶ FLUSHING ─▶ LINGERING
 *                      │         ▲    │        │ ▲                 │            │
 *                      │         │    ▼        │ └── accepted      │            │
 *                      │      REOPENING        │                   │            │
 *                      └──────────┬────────────┴───────────────────┴────────────┘
 *                                 ▼
 *                              CLOSING ─▶ CLOSED (freed once no request is out)
 *
 * REOPENING: an address failed, so its handle is closed before the next one is tried.
 * FLUSHING: queued bytes still go out. LINGERING: all are out and the peer was told; what still comes in is read and
 * thrown away, because closing a socket with unread bytes makes the kernel reset the connection, and the peer would
 * lose the end of what was sent to it (RFC 1122 §4.2.2.13). Both together last NET_CLOSE_MS at most. */
#ifndef SHOAL_NET_INTERNAL_H
#define SHOAL_NET_INTERNAL_H

#include <bsd/sys/queue.h>
#include <stdbool.h>
#include <uv.h>

#include "net.h"
#include "net_addr.h"

#define NET_MAGIC 0x6e657430u
#define CONN_MAGIC 0x636f6e6eu
#define LISTENER_MAGIC 0x6c697374u

#define NET_READ_MAX (256 * 1024)
#define NET_CLOSE_MS 1000
#define NET_ATTEMPT_MS 5000  /* for resolving, and for each address */
#define NET_ATTEMPTS_MAX 8   /* addresses tried of those a name has */
#define NET_LOCAL_RESERVE 64 /* of NET_CONNS_MAX, so that strangers cannot lock the operator out */
#define NET_LISTENERS_MAX 8
#define NET_BACKLOG 512
#define NET_ACCEPT_RETRY_MS 100

enum conn_state {
    CONN_RESOLVING,
    CONN_CONNECTING,
    CONN_REOPENING,
    CONN_OPEN,
    CONN_FLUSHING,
    CONN_LINGERING,
    CONN_CLOSING,
    CONN_CLOSED,
    CONN_STATES
};

struct segment {
    STAILQ_ENTRY(segment) link;
    size_t start;
    size_t end;
    size_t capacity;
    uint8_t bytes[];
};

TAILQ_HEAD(conn_queue, net_conn);

union stream_handle {
    uv_handle_t base;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

struct net_conn {
    uint32_t magic;
    enum conn_state state;
    enum net_kind kind;
    struct net *net;
    void *user;
    int status;     /* what `closed` will say */
    bool silent;    /* nobody was told of it, nobody will be */
    bool paused;    /* by the user */
    bool reading;   /* libuv is */
    bool resolving; /* `resolve` is out, and keeps the conn's memory */
    bool in_turn;   /* waits in net->turn to be flushed */
    union stream_handle handle;
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    uv_getaddrinfo_t resolve;
    struct addrinfo *addrs;
    const struct addrinfo *next_addr;
    int attempts;
    STAILQ_HEAD(, segment) out;
    size_t unsent;
    size_t in_flight; /* the first bytes of out, given to uv_write */
    struct conn_queue *deadline_queue;
    uint64_t deadline_ms;
    TAILQ_ENTRY(net_conn) turn_link;
    TAILQ_ENTRY(net_conn) deadline_link;
    TAILQ_ENTRY(net_conn) link;
    char name[NET_ADDR_SIZE];
};

struct net_listener {
    uint32_t magic;
    enum net_kind kind;
    struct net *net;
    union stream_handle handle;
    bool starved; /* a connection waits because there was no memory for it */
    SLIST_ENTRY(net_listener) link;
};

struct net {
    uint32_t magic;
    uv_loop_t *loop;
    bool shut;
    struct net_events events;
    uv_prepare_t prepare; /* sends what one turn queued, just before the loop waits */
    uv_idle_t idle;       /* started while something was queued by that sending itself: do not wait */
    uv_timer_t timer;     /* the earliest deadline */
    struct conn_queue conns;
    struct conn_queue turn;
    struct conn_queue attempts; /* each of these two holds one kind of deadline, so it is ordered by it */
    struct conn_queue closings;
    SLIST_HEAD(, net_listener) listeners;
    uint32_t conn_count;
    uint32_t turn_count;
    uint32_t listener_count;
    char *read_buffer; /* libuv reads and reports before it asks for the next buffer: one is enough */
};

/* net.c */
int net_error(int uv_error);
void net_arm(struct net *n);
/* A conn with an initialised, unconnected handle. ERR_NOMEM, ERR_IO. */
int conn_new(struct net *n, enum net_kind kind, enum conn_state state, struct net_conn **ret_conn);
void conn_set_state(struct net_conn *c, enum conn_state to);
int conn_init_handle(struct net_conn *c);
struct net_conn *conn_of(void *data); /* of a handle or request */
/* The socket is connected: sets its options. The user is told next, and then conn_start() lets bytes flow. */
void conn_opened(struct net_conn *c);
void conn_start(struct net_conn *c);
/* Closes the handle; conn_closed() follows, from the loop. */
void conn_destroy(struct net_conn *c, int status);
/* The handle is closed: tells the user, and frees. */
void conn_closed(struct net_conn *c);
void conn_free(struct net_conn *c);
void conn_set_deadline(struct net_conn *c, struct conn_queue *queue, uint64_t after_ms);
void conn_clear_deadline(struct net_conn *c);

/* net_connect.c */
void conn_attempt_failed(struct net_conn *c, int uv_error);
void conn_forget_addrs(struct net_conn *c);

/* net_listen.c */
void listener_accept(struct net_listener *l);

#endif
