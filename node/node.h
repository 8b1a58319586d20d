/* One node: the whole of it, over the four ports. The same code runs over node/uv and over simnet. */
#ifndef SHOAL_NODE_H
#define SHOAL_NODE_H

#include "files.h"
#include "ticket.h"

struct node;

struct members_tuning {
    uint64_t out_after_ms; /* a member this long unheard of is out: others take over its data. 0: never */
    uint64_t look_every_ms;
};

struct node_tuning {
    struct groups_tuning groups;
    struct files_tuning files;
    struct members_tuning members;
};
void node_tuning_default(struct node_tuning *out);
/* Leaders answer reads by themselves while a quorum heard them recently: needs clocks that run equally fast, within
 * what the lease is shorter than an election timeout (20 %). */
void node_tuning_lease(struct node_tuning *t);

struct node_ready {
    uint32_t node;
    uint8_t swarm[32];
    const char *addr; /* advertised */
    uint32_t arcs, replicas;
};

struct node_params {
    struct net *net;
    struct clock *clock;
    struct random *random;
    struct disk *disk;
    const struct identity *identity; /* copied */
    bool aesgcm;                     /* sessions may use it: only where noise_aesgcm_available() */
    const char *listen;              /* "host:port", port 0: any free one */
    const char *advertise;           /* NULL: what was bound */
    const char *local;               /* address of the LOCAL listener */
    const char *zone;
    uint64_t capacity;
    unsigned bits, replicas;   /* for a swarm created now */
    const struct ticket *join; /* NULL: start what the disk holds, or create a swarm when it holds nothing */
    struct node_tuning tuning;
    void (*ready)(void *ctx, const struct node_ready *ready);   /* once: it serves */
    void (*failed)(void *ctx, int status, const char *message); /* fatal, at any time, once: stop the process */
    void (*left)(void *ctx, const char *message);               /* once: it is a member no more; stop the process */
    void (*log)(void *ctx, const char *line);
    void *ctx;
};

/* Begins; everything else is callbacks. ERR_INVALID and the like for parameters that cannot work. */
int node_new(const struct node_params *params, struct node **ret_node);
/* Stops serving: nothing new is begun and no timer fires any more; the sockets close with the net port. Operations at
 * the disk still complete; free after the disk and the net are closed. */
void node_stop(struct node *n);
/* Frees everything without touching the ports (after a simulated crash the ports are gone). */
void node_free(struct node *n);

/* For simulation and tests. */
const struct groups *node_groups(const struct node *n);
const struct files *node_files(const struct node *n);
const struct members *node_members(const struct node *n);
uint32_t node_self(const struct node *n); /* 0: not yet known */
void node_invariant(const struct node *n);

#endif
