/* A swarm of simulated nodes: one node program per host. The first host creates the swarm, the others join with a
 * ticket asked of it. */
#ifndef SHOAL_SWARM_H
#define SHOAL_SWARM_H

#include "node.h"
#include "sim.h"

#define SWARM_MESSAGE_SIZE 256

struct witness;

struct swarm_node {
    struct swarm *swarm;
    struct sim_host *host;
    struct node *node; /* NULL while the host is down */
    struct identity identity;
    struct ticket ticket; /* addr_count 0: none */
    struct event down;    /* the process ends after a fatal error */
    uint32_t number;      /* as which it was admitted; 0: not yet known */
    bool ready;           /* since its start */
    bool excused;         /* a fault was made that may end it */
    bool left;            /* it is a member no more: it ends whenever its host starts again, and nobody audits it */
    bool belongs;         /* it has been started once: it may be started again */
    bool leaving;         /* it was asked to drain, or may have been */
    uint32_t lives;       /* identities it had */
    bool newcomer;        /* it joins while things break: it may end when it does not get through */
};

struct swarm_damage {
    uint32_t host;
    struct digest digest;
};

struct swarm {
    struct sim *sim;
    struct swarm_node *nodes; /* index number - 1 */
    uint32_t count;
    unsigned bits, replicas;
    uint64_t seed, capacity, settle_ms, out_after_ms;
    bool odd;
    struct witness *witness;
    struct swarm_damage *damages; /* copies of chunks that rotted */
    size_t damage_count, damage_capacity;
    bool misreads;                    /* a disk has given wrong bytes */
    char failure[SWARM_MESSAGE_SIZE]; /* what went wrong first; "": nothing */
};

struct swarm_options {
    uint64_t seed;
    uint32_t nodes;
    unsigned bits, replicas;
    uint64_t capacity;
    uint64_t settle_ms;    /* age at which unconfirmed references are settled; 0: as the tuning says */
    uint64_t out_after_ms; /* silence after which a member is out; 0: as the tuning says */
    bool odd;              /* the tuning is drawn from the seed: tuning.h */
    void (*trace)(void *ctx, uint64_t now_us, const char *line);
    void *trace_ctx;
};

void swarm_init(struct swarm *w, const struct swarm_options *options);
void swarm_release(struct swarm *w);
struct swarm_node *swarm_node(struct swarm *w, uint32_t number); /* 1..count */
/* Something happened that no fault explains. */
void swarm_fail(struct swarm *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* This host's copy of a chunk is not what it was. */
void swarm_damaged(struct swarm *w, uint32_t host, const struct digest *d);
bool swarm_is_damaged(const struct swarm *w, uint32_t host, const struct digest *d);
/* The host has begun to join, and has not left. */
bool swarm_present(struct swarm *w, uint32_t number);
/* Whoever has failed or left, and is about to go down, is down. */
void swarm_end_now(struct swarm *w, uint32_t number);
/* The host, which must be down, loses its disk and with it its identity; what it was stays a member until somebody
 * dismisses it. */
void swarm_reborn(struct swarm *w, uint32_t number);
/* Every node's own checks, their copies of the member table against each other, and one more look at the groups'. */
void swarm_check(struct swarm *w);

#endif
