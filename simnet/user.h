/* One request of a simulated user to the node of a host, through the local client protocol, over a connection of its
 * own. */
#ifndef SHOAL_USER_H
#define SHOAL_USER_H

#include "client.h"
#include "sim.h"
#include "ticket.h"

#define USER_NAME_SIZE 128
#define USER_LIST_MAX 64
#define USER_BLOCK (256 * 1024) /* of content in one DATA message */

enum user_kind { USER_PUT, USER_GET, USER_REMOVE, USER_LIST, USER_STAT, USER_STATUS, USER_INVITE, USER_MEMBER };

struct user_request {
    enum user_kind kind;
    char name[USER_NAME_SIZE]; /* LIST: the prefix */
    enum client_condition condition;
    uint8_t match[16];
    uint64_t content, size;     /* PUT: see content.h */
    char after[USER_NAME_SIZE]; /* LIST */
    uint32_t limit;             /* LIST: at most USER_LIST_MAX */
    uint32_t uses;              /* INVITE */
    enum client_action action;  /* MEMBER: drain, stop draining, dismiss; */
    uint32_t member;            /* which one by its number in the swarm, 0: the one that is asked */
    bool force;
    uint64_t timeout_us;
};

struct user_entry {
    char name[USER_NAME_SIZE];
    uint8_t version[16];
    uint64_t size;
};

struct user_result {
    int status;    /* 0, or the node's answer; ERR_CLOSED, ERR_TIMEOUT, ERR_UNREACHABLE: there was no answer */
    bool answered; /* the node said how it ended */
    bool broken;   /* the answer breaks the protocol, or its bytes are torn */
    char message[256];
    uint8_t version[16];
    uint64_t size, content; /* content: the identity of what was read */
    bool more;
    uint32_t entry_count;
    struct user_entry entries[USER_LIST_MAX];
    uint32_t members_up, members_alive; /* of the table: up, and of those heard of */
    uint32_t members_between;           /* joining, draining or out */
    uint32_t arcs_total, arcs_healthy, arcs_leaderless;
    char ticket[TICKET_TEXT_MAX];
};

/* The result is valid during the call. */
typedef void user_done(void *ctx, const struct user_result *result);
/* `done` exactly once, never from inside the call; not at all when the world ends before. */
void user_call(struct sim_host *h, const struct user_request *request, user_done *done, void *ctx);

#endif
