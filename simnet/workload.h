/* Simulated users at work: each asks one thing after the other of any node, on a few names they share. */
#ifndef SHOAL_WORKLOAD_H
#define SHOAL_WORKLOAD_H

#include "history.h"
#include "swarm.h"

#define WORKLOAD_USERS_MAX 16
#define WORKLOAD_NAMES_MAX 24 /* in use at a time */
#define WORKLOAD_BUCKETS 3

struct workload;

struct worker {
    struct workload *load;
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
    struct prng prng;
    struct worker workers[WORKLOAD_USERS_MAX];
    uint32_t users;
    uint32_t names[WORKLOAD_NAMES_MAX]; /* of the history */
    uint32_t name_count;
    uint64_t think_us;
    uint64_t next_content;
    uint64_t calls, bytes_put;
    void (*acknowledged)(void *ctx, uint64_t size); /* a put was; may be NULL */
    void *acknowledged_ctx;
    bool hot; /* few names, much asked */
    bool stopping;
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
