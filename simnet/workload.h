/* Simulated users at work: each asks one thing after the other of any node, on a few names they share.
 *
 * What a user asks is numbered from 1, by user. Each request draws its time, what it asks and whom from a stream of its
 * own, (seed, user, number), and what it finds: so when some are skipped, the others stay as they are. A user who is
 * still waiting for an answer when the next time comes lets it pass. */
#ifndef SHOAL_WORKLOAD_H
#define SHOAL_WORKLOAD_H

#include "history.h"
#include "promise.h"
#include "select.h"
#include "swarm.h"

#define WORKLOAD_USERS_MAX 16
#define WORKLOAD_NAMES_MAX 24 /* in use at a time */
#define WORKLOAD_KEEPSAKES_MAX 16
#define WORKLOAD_BUCKETS 3

struct workload;

struct worker {
    struct workload *load;
    uint32_t user;      /* from 1 */
    uint32_t drawn;     /* number of the last request whose time came */
    struct prng coming; /* the stream of the one after it */
    struct prng prng;   /* of the one that was asked last */
    uint32_t number;    /* of that one */
    struct event think;
    bool busy;
    struct user_request request;
    uint32_t name;
    size_t op;
    uint64_t call_us;
};

struct workload {
    struct swarm *swarm;
    struct history *history;
    struct promises promises;
    const struct selection *select; /* of each user, WORKLOAD_USERS_MAX of them; NULL: all */
    struct worker workers[WORKLOAD_USERS_MAX];
    uint32_t users;
    uint32_t names[WORKLOAD_NAMES_MAX]; /* of the history */
    uint32_t name_count;
    uint32_t keepsakes[WORKLOAD_KEEPSAKES_MAX]; /* stored once, and never touched again but by readers */
    uint32_t keepsake_count;
    uint64_t think_us;
    uint64_t calls, bytes_put;
    void (*acknowledged)(void *ctx, uint64_t size); /* a put was; may be NULL */
    void *acknowledged_ctx;
    /* A line for everything that is asked and heard; NULL: none. */
    void (*tell)(void *ctx, uint64_t now_us, const char *line);
    void *tell_ctx;
    bool hot;                         /* few names, much asked */
    bool again;                       /* few contents, stored again and again */
    char failure[SWARM_MESSAGE_SIZE]; /* an answer no fault excuses; "" otherwise */
};

void workload_init(struct workload *l, struct swarm *w, struct history *h);
void workload_start(struct workload *l);
/* No new request is made. */
void workload_stop(struct workload *l);
bool workload_idle(const struct workload *l);
/* What to list to see every name of the workload, in WORKLOAD_BUCKETS parts. */
const char *workload_bucket(size_t i);

#endif
