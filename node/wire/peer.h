/* What members say to each other: one CBOR array per frame, [kind, fields...]. */
#ifndef SHOAL_PEER_H
#define SHOAL_PEER_H

#include <stdbool.h>

#include "digest.h"
#include "frame.h"
#include "members.h"
#include "raft.h"
#include "routes.h"
#include "ticket.h"

#define WIRE_PROTOCOL "shoal/1"
#define PEER_BODY_MAX (FRAME_MAX - 256)
#define PEER_ROUTES_MAX 1024 /* in one message */
#define PEER_RAFT_MAX 1024   /* messages in one batch */
#define PEER_LED_MAX 4096    /* groups in one list */

enum lane { LANE_CONTROL, LANE_BULK, LANES };

/* In the handshake: what the dialling side is. */
enum hello_role { HELLO_MEMBER, HELLO_GUEST };
struct hello {
    enum hello_role role;
    enum lane lane;
    uint8_t id[32]; /* Ed25519; must convert to the session's static key */
};
void hello_encode(const struct hello *h, struct buf *out);
int hello_decode(const uint8_t *bytes, size_t size, struct hello *out);

enum peer_kind {
    PEER_PING,
    PEER_RAFT,
    PEER_ROUTES,
    PEER_REQUEST,
    PEER_REPLY,
    PEER_FAREWELL, /* to a member that is gone, and the last it hears: its row */
    PEER_LED,
    PEER_KINDS
};

/* Liveness and load, every PEERS_PING_MS. */
struct peer_ping {
    uint64_t epoch;
    uint64_t incarnation; /* drawn at start: a restart is seen */
    uint64_t used;        /* bytes */
    uint32_t led;         /* arcs led by the sender, */
    uint32_t healthy;     /* of these at full strength, */
    uint32_t under;       /* and of these lacking replicas */
};

enum peer_op {
    OP_JOIN,           /* guest: struct join_request -> struct join_reply */
    OP_MEMBERS,        /* members_request -> members_delta */
    OP_PROPOSE,        /* group_request (command) -> propose_reply; ERR_TIMEOUT: it may yet be committed; any other
                          error: this attempt never will */
    OP_QUERY,          /* group_request (query) -> the answer's bytes */
    OP_REPLICA_CREATE, /* replica_request -> empty */
    OP_REPLICA_REMOVE, /* replica_request -> empty */
    OP_REPLICA_CHUNKS, /* replica_request: lacks it nothing referenced up to index? -> 0 or ERR_BUSY */
    OP_SNAPSHOT,       /* snapshot_piece (bulk) -> empty */
    OP_CHUNK_PUT,      /* chunk_put (bulk) -> empty */
    OP_CHUNK_GET,      /* chunk_get (bulk) -> stored bytes */
    OP_REPLICA_ASK,    /* group_request (replica id, 8 bytes): 0 when it was removed for good, ERR_EXISTS when not */
    OP_CENSUS,         /* census_request -> struct census: what you lead, and what of it names a certain member */
    PEER_OPS
};

struct peer_request {
    uint64_t id;
    enum peer_op op;
    const uint8_t *body;
    size_t body_size;
};
/* status ERR_NOT_LEADER and ERR_MOVED carry a route (group_route) as body; other errors an empty body. */
struct peer_reply {
    uint64_t id;
    int status; /* 0 or of errors.h */
    const uint8_t *body;
    size_t body_size;
};

struct group_request {
    uint32_t group;
    bool again; /* OP_PROPOSE: an earlier attempt may have been applied, so the answer may be that of the earlier one */
    const uint8_t *bytes;
    size_t size;
};
struct group_route {
    uint32_t group;
    struct route route;
};
struct propose_reply {
    struct raft_config config; /* in force where the command was applied */
    const uint8_t *result;
    size_t result_size;
};
struct replica_request {
    uint32_t group;
    uint64_t replica; /* id */
    uint64_t index;   /* of the configuration that says so; OP_REPLICA_CHUNKS: up to which index */
};
struct snapshot_piece {
    uint32_t group;
    uint64_t from, to; /* replica ids */
    uint64_t term;     /* sender's current term */
    uint64_t index, index_term, stamp_ms;
    struct raft_config config;
    uint32_t number; /* 0, 1, ...; a gap is refused */
    bool last;
    const uint8_t *bytes; /* machine_export */
    size_t size;
};
struct chunk_put_request {
    uint32_t group;
    uint8_t version[16];
    struct digest digest;
    const uint8_t *bytes; /* stored bytes */
    size_t size;
};
struct chunk_get_request {
    struct digest digest;
    bool doubt; /* the copy that was sent before did not match its digest: look at it; no bytes come back */
};
struct join_request {
    uint8_t ticket[TICKET_ID_SIZE];
    struct digest proof;
    struct member row; /* id, addr, zone, capacity; the rest is not sent: dh is the session's static key */
};
struct join_reply {
    uint32_t node;
    uint32_t bits, replicas;
    uint64_t epoch;
    const uint8_t *members; /* members_delta since 0: whom to call */
    size_t members_size;
};
struct members_delta {
    uint64_t epoch;
    uint32_t bits, replicas;
    uint32_t count; /* rows that follow, read with members_delta_next */
};

/* What one node knows about a member, for whoever decides about that member's state. */
#define CENSUS_LISTED_MAX 8
struct census {
    uint64_t epoch;    /* of the table that the answer was given by */
    bool heard;        /* the member is alive, as seen from here */
    uint32_t named;    /* groups led here whose configuration, committed or not yet, holds the member; */
    uint32_t stuck;    /* of these, the ones that can only wait for a node that is dead; */
    uint32_t stranded; /* and the ones that lack a living majority without the member */
    uint32_t listed;
    uint32_t groups[CENSUS_LISTED_MAX]; /* the first of the stranded */
    const uint8_t *led;                 /* a bit for each group led here: bit g % 8 of byte g / 8 */
    size_t led_size;
};

/* Encoders append a whole frame (peer_*_frame) or a body. Decoders: 0 or ERR_PROTOCOL; pointers lie in the input. */
int peer_kind_of(const uint8_t *frame, size_t size, enum peer_kind *ret_kind);
void peer_ping_frame(const struct peer_ping *p, struct buf *out);
int peer_ping_decode(const uint8_t *frame, size_t size, struct peer_ping *out);
void peer_request_frame(const struct peer_request *r, struct buf *out);
/* The same bytes as peer_request_frame of OP_CHUNK_PUT with chunk_put_encode's body, with one copy of the chunk. */
void peer_chunk_put_frame(uint64_t id, const struct chunk_put_request *put, struct buf *out);
int peer_request_decode(const uint8_t *frame, size_t size, struct peer_request *out);
void peer_reply_frame(const struct peer_reply *r, struct buf *out);
int peer_reply_decode(const uint8_t *frame, size_t size, struct peer_reply *out);

void peer_farewell_frame(uint64_t epoch, const struct member *row, struct buf *out);
int peer_farewell_decode(const uint8_t *frame, size_t size, uint64_t *ret_epoch, struct member *out);

/* Raft batch: begin, add each, end. At most PEER_RAFT_MAX and about FRAME_MAX/2 bytes: add returns false when the
 * batch is full (nothing was added: end this frame and begin another). A single message always fits. After an error
 * of `out` add returns true: the owner of the buffer sees the error. */
struct raft_batch {
    struct buf *out;
    size_t mark;     /* of the frame */
    size_t count_at; /* where the count goes in at the end */
    uint32_t count;
};
void peer_raft_begin(struct raft_batch *b, struct buf *out);
bool peer_raft_add(struct raft_batch *b, uint32_t group, const struct raft_message *m);
void peer_raft_end(struct raft_batch *b);
/* Reading: the entries of one message at a time are allocated, bounded by the frame's real size; a message and its
 * entries are valid until the next call or raft_batch_close (take references to keep entries). The frame must outlive
 * the reader. Messages before a malformed one are delivered: ERR_PROTOCOL (or ERR_NOMEM) comes in its turn. */
struct raft_batch_reader;
int raft_batch_open(const uint8_t *frame, size_t size, struct raft_batch_reader **ret_reader);
int raft_batch_next(struct raft_batch_reader *r, uint32_t *ret_group,
                    struct raft_message **ret_message); /* ERR_NOT_FOUND
                                                        at the end */
void raft_batch_close(struct raft_batch_reader *r);

void peer_routes_begin(struct raft_batch *b, struct buf *out);
bool peer_routes_add(struct raft_batch *b, const struct group_route *r);
void peer_routes_end(struct raft_batch *b);
struct routes_reader {
    const uint8_t *bytes;
    size_t size, offset;
    uint64_t left;
};
int peer_routes_open(const uint8_t *frame, size_t size, struct routes_reader *out);
int peer_routes_next(struct routes_reader *r, struct group_route *out); /* ERR_NOT_FOUND at the end */

/* Which of the groups first..last, of those that the receiver has a replica of, the sender leads, and in which term:
 * begin, add in rising order, end. At most PEER_LED_MAX: add returns false when the list is full (nothing was added:
 * end this one before that group, and begin another with it). */
struct led_batch {
    struct buf *out;
    size_t mark;     /* of the frame */
    size_t count_at; /* where the count goes in at the end */
    uint32_t count, next;
};
void peer_led_begin(struct led_batch *b, struct buf *out, uint32_t first);
bool peer_led_add(struct led_batch *b, uint32_t group, uint64_t term);
void peer_led_end(struct led_batch *b, uint32_t last);
struct led_reader {
    uint32_t first, last;
    uint32_t left, next;
    const uint8_t *bytes;
    size_t size, offset;
};
int peer_led_open(const uint8_t *frame, size_t size, struct led_reader *out);
int peer_led_next(struct led_reader *r, uint32_t *ret_group, uint64_t *ret_term); /* ERR_NOT_FOUND at the end */

/* Bodies. */
void group_request_encode(const struct group_request *r, struct buf *out);
int group_request_decode(const uint8_t *bytes, size_t size, struct group_request *out);
void group_route_encode(const struct group_route *r, struct buf *out);
int group_route_decode(const uint8_t *bytes, size_t size, struct group_route *out);
void propose_reply_encode(const struct propose_reply *r, struct buf *out);
int propose_reply_decode(const uint8_t *bytes, size_t size, struct propose_reply *out);
void replica_request_encode(const struct replica_request *r, struct buf *out);
int replica_request_decode(const uint8_t *bytes, size_t size, struct replica_request *out);
void snapshot_piece_encode(const struct snapshot_piece *p, struct buf *out);
int snapshot_piece_decode(const uint8_t *bytes, size_t size, struct snapshot_piece *out);
size_t chunk_put_size(const struct chunk_put_request *r); /* of what chunk_put_encode appends */
void chunk_put_encode(const struct chunk_put_request *r, struct buf *out);
int chunk_put_decode(const uint8_t *bytes, size_t size, struct chunk_put_request *out);
void chunk_get_encode(const struct chunk_get_request *r, struct buf *out);
int chunk_get_decode(const uint8_t *bytes, size_t size, struct chunk_get_request *out);
void join_request_encode(const struct join_request *r, struct buf *out);
int join_request_decode(const uint8_t *bytes, size_t size, struct join_request *out);
void join_reply_encode(const struct join_reply *r, struct buf *out);
int join_reply_decode(const uint8_t *bytes, size_t size, struct join_reply *out);
void members_request_encode(uint64_t since_epoch, struct buf *out);
int members_request_decode(const uint8_t *bytes, size_t size, uint64_t *ret_since);
/* The rows of m that changed after `since`. When they do not fit one message, only those up to an older epoch, which is
 * then the delta's: the asker sees from its next ping or reply that more is to be had. */
void members_delta_encode(const struct members *m, uint32_t bits, uint32_t replicas, uint64_t since, struct buf *out);
struct codec_position {
    const uint8_t *bytes;
    size_t size, offset;
    uint64_t left;
};
int members_delta_open(const uint8_t *bytes, size_t size, struct members_delta *out, struct codec_position *ret_rows);
int members_delta_next(struct codec_position *rows, struct member *out); /* ERR_NOT_FOUND at the end */
void census_request_encode(uint32_t node, struct buf *out);
int census_request_decode(const uint8_t *bytes, size_t size, uint32_t *ret_node);
void census_encode(const struct census *c, struct buf *out);
int census_decode(const uint8_t *bytes, size_t size, struct census *out);
/* One row, also used by the root group's tables. node 0 is accepted (a row that waits for admission); everything else
 * passes member_check. */
void member_row_encode(const struct member *m, struct buf *out);
int member_row_decode(const uint8_t *bytes, size_t size, struct member *out);

#endif
