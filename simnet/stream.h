/* One connection of the simulated network: two ends, and a flow of bytes out of each.
 *
 *   none ──accept──▶ open ──net_close──▶ closing ──▶ closed
 *   connecting ─────▶ ┘ ╰── fails, the peer closes ─▶ ┘
 *
 * An end belongs to a net from its creation until its `closed` callback has returned, or, after a crash, until the net
 * is freed. The stream lives as long as one of its ends belongs to a net. */
#ifndef SHOAL_SIM_STREAM_H
#define SHOAL_SIM_STREAM_H

#include "internal.h"

#define SIM_WINDOW (256u * 1024)     /* bytes on their way or in the receiver's kernel */
#define SIM_SEGMENT_MAX (64u * 1024) /* delivered by one call, unless sent as one */
#define SIM_UNSENT_MAX (256u << 20)  /* more means that a node does not look at net_unsent() */
#define SIM_CONNECT_US (10 * SIM_SECOND)
#define SIM_CLOSE_US SIM_SECOND
#define SIM_CUT_MILLIONTHS 30000 /* a delivery is cut in two at any byte */

struct segment {
    STAILQ_ENTRY(segment) next;
    uint8_t *bytes;
    size_t size, capacity;
    size_t taken;     /* delivered so far */
    uint64_t made_us; /* what is sent at the same moment travels together */
    uint64_t at_us;   /* arrival; 0: not yet launched */
};

struct flow {
    STAILQ_HEAD(, segment) segments;
    struct segment *waiting; /* the first one not launched */
    size_t unsent;           /* bytes not launched */
    size_t flying;           /* launched, and not known to have arrived */
    size_t unacknowledged;   /* of those: arrived, but the way back is blocked */
    uint64_t last_at_us;
    struct event arrive;
    bool fin;     /* the end follows the last byte */
    bool stalled; /* the path is blocked or the machine is gone: continues when paths change */
    bool held;    /* the receiver is not reading */
    uint64_t stalled_us;
    bool unattended; /* the sending machine lost power: nobody sends again what does not get through */
};

enum end_state { END_NONE, END_CONNECTING, END_OPEN, END_CLOSING, END_CLOSED };

struct stream;

struct net_conn {
    TAILQ_ENTRY(net_conn) next;
    struct net *net; /* NULL: belongs to nobody (any more) */
    struct stream *stream;
    enum end_state state;
    uint32_t host; /* 0: a client */
    bool paused, backed_up;
    int status; /* for `closed` */
    void *user;
    char name[SIM_ADDR_SIZE];
    struct flow out;
    struct event ending, drained, stall;
};

struct stream {
    struct sim *sim;
    enum net_kind kind;
    struct net_conn ends[2]; /* the one that dialled, and the one that accepted */
    struct event handshake;
    bool answering; /* the dial has arrived, the answer is on its way */
    uint16_t port;
    uint32_t tries;
    uint64_t deadline_us;
    uint64_t timeout_us; /* without progress: broken */
};

static inline struct net_conn *end_peer(struct net_conn *c) {
    return c == &c->stream->ends[0] ? &c->stream->ends[1] : &c->stream->ends[0];
}
static inline bool end_alive(const struct net_conn *c) {
    return c->state == END_CONNECTING || c->state == END_OPEN || c->state == END_CLOSING;
}

/* ---- flow.c ------------------------------------------------------------------------------------------------------ */
void flow_init(struct net_conn *from, uint32_t to_host);
void flow_append(struct net_conn *from, const uint8_t *bytes, size_t size);
/* Sends what will have been written to the room returned by then: until the next call on this end. */
uint8_t *flow_extend(struct net_conn *from, size_t size);
/* Launches what the window allows, schedules the next arrival. */
void flow_push(struct net_conn *from);
/* The end follows the last byte. */
void flow_finish(struct net_conn *from);
/* The sender is gone: no byte follows those already launched; silently: nor does the end. */
void flow_cut(struct net_conn *from, bool silently);
void flow_drop(struct net_conn *from); /* forgets everything */
/* The path may be open again. */
void flow_retry(struct net_conn *from);
/* The receiver reads again. */
void flow_unhold(struct net_conn *from);
/* Draws how long a packet of this size takes. */
uint64_t stream_delay(struct stream *st, const struct net_conn *from, size_t size);
/* Nothing gets from one end's machine to the other's. */
bool stream_blocked(const struct stream *st, const struct net_conn *from);
/* 0, or until when arrivals are held back. */
uint64_t stream_clogged_until(const struct stream *st, const struct net_conn *from);

/* ---- net.c ------------------------------------------------------------------------------------------------------- */
/* The end learns of its end at that time. The first to come wins; a closing end hears 0. */
void end_fail(struct net_conn *c, int status, uint64_t at_us);

#endif
