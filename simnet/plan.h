/* The faults of a run, drawn from its seed: which kinds, how often, how long. Every seed has its own mood. No
 * fault takes the last good copy of anything (copies.h), so any loss of what was acknowledged is a bug of the node.
 *
 * Faults are numbered in the order of their times, from 1. Each draws everything about itself from a stream of its own,
 * (seed, number), and what it finds: so when some are skipped, the others come at the same times, are of the same
 * kinds, and last as long. Only what depends on the state of the swarm (who leads a group, who is up) may differ. What
 * a fault does is in faults.c. */
#ifndef SHOAL_PLAN_H
#define SHOAL_PLAN_H

#include "errands.h"
#include "select.h"
#include "swarm.h"

#define PLAN_ACTIVE_MAX 6
#define PLAN_TEXT_SIZE 160

/* X(id, function in faults.c, name, how often it is drawn, against the others, when the seed likes it) */
#define PLAN_FAULTS(X)                                                                    \
    X(HALVES, halves, "partition", 4)                                                     \
    X(ISOLATE, isolate, "isolate", 4)                                                     \
    X(ONE_WAY, one_way, "one-way", 4)                                                     \
    X(DEAF, deaf, "deaf", 3) /* hears nobody */                                           \
    X(MUTE, mute, "mute", 3) /* is heard by nobody */                                     \
    X(BRIDGE, bridge, "bridge", 2)                                                        \
    X(CLOG, clog, "clog", 3)                                                              \
    X(LOSSY, lossy, "lossy", 4)                                                           \
    X(KILL, kill, "kill", 5)                                                              \
    X(POWER, power, "power", 5)                                                           \
    X(BLACKOUT, blackout, "blackout", 1)                                                  \
    X(AMBUSH, ambush, "ambush", 4) /* power is cut at the moment a put is acknowledged */ \
    X(PAUSE, pause, "pause", 3)                                                           \
    X(RING, ring, "ring", 2) /* hears its two neighbours only */                          \
    X(FLAP, flap, "flap", 3) /* a link comes and goes */                                  \
    X(RESETS, resets, "resets", 3)                                                        \
    X(FAR, far, "far", 2) /* all it says and hears takes long */                          \
    X(KILL_ALL, kill_all, "kill-all", 1)                                                  \
    X(ROLLING, rolling, "rolling", 2) /* restarts of one after the other */               \
    X(STUMBLE, stumble, "stumble", 2) /* is killed again and again as it starts */        \
    X(SLOW_DISK, slow_disk, "slow-disk", 4)                                               \
    X(HUNG_DISK, hung_disk, "hung-disk", 2)                                               \
    X(COMMIT, commit, "commit", 1)                                                        \
    X(FULL_DISK, full_disk, "full-disk", 1)                                               \
    X(ROT, rot, "rot", 2)                                                                 \
    X(MISREAD, misread, "misread", 2)                                                     \
    X(WALL, wall, "wall", 1)                                                              \
    X(RATE, rate, "rate", 1)                                                              \
    X(JOIN, join, "join", 3)                                                              \
    X(DRAIN, drain, "drain", 2)                                                           \
    X(LOST_DISK, lost_disk, "lost-disk", 3)

enum plan_kind {
#define PLAN_FAULT_ENUM(id, function, name, weight) PLAN_##id,
    PLAN_FAULTS(PLAN_FAULT_ENUM)
#undef PLAN_FAULT_ENUM
        PLAN_KINDS
};

struct plan;

struct plan_fault { /* one under way */
    struct plan *plan;
    uint32_t number;
    struct prng prng; /* for this fault alone */
    struct event undo, strike;
    void (*step)(struct plan_fault *f); /* at the strike */
    uint32_t turn;                      /* of what is done step by step */
    uint32_t other;                     /* another host */
    enum plan_kind kind;
    bool active;  /* it has its place, until undo; a skipped one too */
    bool skipped; /* and does nothing there */
    uint32_t host;
    uint64_t until_us;         /* for who reads; 0: it does not last */
    char text[PLAN_TEXT_SIZE]; /* what it did */
    /* What it holds up while it lasts, by kind: */
    bool *blocked; /* by directed link */
    bool linked;   /* LOSSY, FAR: holds up `link` */
    struct sim_link link;
    bool everywhere;    /* LOSSY, SLOW_DISK, AMBUSH: not only at the host */
    unsigned slow_envs; /* SLOW_DISK, AMBUSH: a bit each */
    uint32_t slow_factor;
    bool waiting;     /* AMBUSH: for an acknowledgement */
    uint32_t misread; /* MISREAD: millionths of reads */
};

struct plan_host {
    struct plan *plan;
    uint32_t number;
    int64_t stepped_ms; /* by which its wall clock is off, besides how it began */
    struct event restart;
};

struct plan {
    struct swarm *swarm;
    const struct selection *select; /* NULL: all */
    uint32_t drawn;                 /* number of the last fault whose time came */
    struct prng coming;             /* the stream of the one after it */
    struct event next, watch;
    uint32_t weights[PLAN_KINDS];
    bool hunting;
    uint64_t pace_us, lasting_us; /* means: between faults, of one */
    uint32_t founders;            /* hosts beyond these join while things break, or at the end */
    struct errands errands;
    struct plan_fault faults[PLAN_ACTIVE_MAX];
    struct plan_host *hosts;
    /* A host that leads what users work on, so that half of the faults hit where it matters; 0: nobody does. */
    uint32_t (*aim)(void *ctx, uint64_t random);
    void *aim_ctx;
    /* A line for everything the plan does, "#7 isolate: node 3, until 12.500"; NULL: none. */
    void (*tell)(void *ctx, uint64_t now_us, const char *line);
    void *tell_ctx;
    struct sim_link *links; /* as they were */
    uint32_t counts[PLAN_KINDS];
};

void plan_init(struct plan *p, struct swarm *w);
void plan_release(struct plan *p);
/* Before the start: instead of the drawn mood, cut off one leader after the other, for a little longer than it takes to
 * replace it. For runs that ask much of few names. */
void plan_hunt(struct plan *p);
void plan_start(struct plan *p);
/* A user just heard that something is stored: what was not durable then is a lie. */
void plan_acknowledged(void *plan, uint64_t size);
/* Undoes everything: no fault is left, every host that has joined is up, the others join. */
void plan_heal(struct plan *p);

#endif
