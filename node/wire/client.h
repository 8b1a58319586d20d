/* What local programs and a node say to each other over the Unix socket: frames of one CBOR array, [kind, fields...].
 * One request at a time per connection; several in turn.
 *
 *   PUT, DATA*, END            -> RESULT           (a RESULT before END means it failed: the rest is thrown away)
 *   GET                        -> HEAD, DATA*, END   or RESULT when it failed (also in the middle)
 *   RM                         -> RESULT
 *   LS                         -> LIST (a page; ask again with `after` = last name)
 *   STAT                       -> STAT_REPLY or RESULT
 *   STATUS                     -> STATUS_REPLY or RESULT
 *   INVITE                     -> TEXT or RESULT
 *   MEMBER                     -> RESULT, once the swarm has decided; what follows from it shows in STATUS          */
#ifndef SHOAL_CLIENT_H
#define SHOAL_CLIENT_H

#include <stdbool.h>

#include "frame.h"
#include "members.h"
#include "routes.h"

#define CLIENT_NAME_MAX 1088
#define CLIENT_DATA_MAX (1024 * 1024)
#define CLIENT_SIZE_UNKNOWN UINT64_MAX
#define CLIENT_MESSAGE_MAX 512
#define CLIENT_LIST_MAX 500
#define CLIENT_ADDR_SIZE MEMBER_ADDR_SIZE

enum client_kind {
    CLIENT_PUT,
    CLIENT_DATA,
    CLIENT_END,
    CLIENT_GET,
    CLIENT_HEAD,
    CLIENT_RM,
    CLIENT_LS,
    CLIENT_LIST,
    CLIENT_STAT,
    CLIENT_STAT_REPLY,
    CLIENT_STATUS,
    CLIENT_STATUS_REPLY,
    CLIENT_INVITE,
    CLIENT_TEXT,
    CLIENT_RESULT,
    CLIENT_MEMBER,
    CLIENT_KINDS
};

enum client_condition { CLIENT_ANY, CLIENT_ABSENT, CLIENT_MATCH };

enum client_action {
    CLIENT_DRAIN,      /* the member leaves, its data first */
    CLIENT_DRAIN_STOP, /* it stays after all */
    CLIENT_DISMISS,    /* it is gone at once, with whatever it has */
    CLIENT_ACTIONS
};

struct client_text { /* not terminated */
    const char *bytes;
    size_t size;
};

struct client_member {
    uint32_t node;
    uint8_t id[32];
    char addr[MEMBER_ADDR_SIZE];
    char zone[MEMBER_ZONE_SIZE];
    uint8_t state; /* enum member_state */
    bool alive;
    uint64_t capacity, used;
    uint32_t leaders;  /* arcs led */
    uint32_t replicas; /* groups that it serves, as far as the answering node has heard; the root is one of them */
};

struct client_message {
    enum client_kind kind;
    union {
        struct {
            struct client_text name;
            uint8_t condition; /* enum client_condition */
            uint8_t match[16];
            uint64_t size; /* PUT: CLIENT_SIZE_UNKNOWN when it is not known ahead */
        } put;             /* PUT, RM */
        struct {
            const uint8_t *bytes;
            size_t size; /* <= CLIENT_DATA_MAX; PUT sends full blocks but the last, though any cut is accepted */
        } data;
        struct {
            struct client_text name;
            uint64_t offset, length; /* length CLIENT_SIZE_UNKNOWN: to the end */
        } get;
        struct {
            uint64_t size; /* of the whole file */
            uint64_t modified_ms;
            uint8_t version[16];
        } head;
        struct {
            struct client_text prefix, after; /* names as users write them */
            uint32_t limit;
        } ls;
        struct {
            uint32_t count; /* entries follow: client_list_next */
            bool more;
        } list;
        struct {
            struct client_text name;
        } stat;
        struct {
            struct client_text name;
            uint64_t size, modified_ms;
            uint8_t version[16];
            uint32_t chunks;
            bool is_inline;
            uint32_t arc;
            uint32_t leader;       /* node, 0 unknown */
            uint8_t replica_count; /* of the name's group */
            uint32_t replicas[ROUTE_NODES_MAX];
            uint8_t chunk_replicas_min; /* fewest voters of any chunk's group; = replica_count when inline */
        } stat_reply;
        struct {
            uint8_t swarm[32];
            uint32_t self; /* node number of the answering node */
            uint64_t epoch;
            uint32_t replicas;
            uint32_t arcs_total, arcs_healthy, arcs_under, arcs_leaderless;
            uint32_t count; /* members follow: client_member_next */
        } status_reply;
        struct {
            uint64_t expires_ms; /* from now */
            uint32_t uses;
        } invite;
        struct {
            uint8_t action; /* enum client_action */
            uint32_t node;  /* 0: the node that is asked */
            bool force;     /* DISMISS: also when it is alive, or holds what nobody else has */
        } member;
        struct client_text text; /* at most TICKET_TEXT_MAX */
        struct {
            int status;                 /* of errors.h */
            struct client_text message; /* one line for a person, "" when status is 0; cut to CLIENT_MESSAGE_MAX */
            uint8_t version[16];
            uint64_t size, modified_ms;
        } result;
    } u;
};

struct client_entry {
    struct client_text name;
    uint64_t size, modified_ms;
    uint8_t version[16];
};

struct client_rows {
    const uint8_t *bytes;
    size_t size, offset;
    uint64_t left;
};

/* A whole frame. LIST and STATUS_REPLY: the array of rows given beside the message. */
void client_encode(const struct client_message *m, struct buf *out);
void client_encode_list(bool more, const struct client_entry *entries, uint32_t count, struct buf *out);
void client_encode_status(const struct client_message *m, const struct client_member *members, struct buf *out);
/* ERR_PROTOCOL; texts and bytes lie in the input; rows (may be NULL) is set for LIST and STATUS_REPLY. */
int client_decode(const uint8_t *frame, size_t size, struct client_message *out, struct client_rows *rows);
int client_list_next(struct client_rows *rows, struct client_entry *out);    /* ERR_NOT_FOUND at the end */
int client_member_next(struct client_rows *rows, struct client_member *out); /* ERR_NOT_FOUND at the end */

#endif
