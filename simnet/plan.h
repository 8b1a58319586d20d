/* The faults of a run, drawn from its seed: which kinds, how often, how long. Every seed has its own mood. Disks
 * survive everything here, so any loss of what was acknowledged is a bug of the node. */
#ifndef SHOAL_PLAN_H
#define SHOAL_PLAN_H

#include "swarm.h"

#define PLAN_ACTIVE_MAX 6

/* X(id, name, how often it is drawn, against the others, when the seed likes it) */
#define PLAN_FAULTS(X)                                                            \
    X(HALVES, "partition", 4)                                                     \
    X(ISOLATE, "isolate", 4)                                                      \
    X(ONE_WAY, "one-way", 4)                                                      \
    X(DEAF, "deaf", 3) /* hears nobody */                                         \
    X(MUTE, "mute", 3) /* is heard by nobody */                                   \
    X(BRIDGE, "bridge", 2)                                                        \
    X(CLOG, "clog", 3)                                                            \
    X(LOSSY, "lossy", 4)                                                          \
    X(KILL, "kill", 5)                                                            \
    X(POWER, "power", 5)                                                          \
    X(BLACKOUT, "blackout", 1)                                                    \
    X(AMBUSH, "ambush", 4) /* power is cut at the moment a put is acknowledged */ \
    X(PAUSE, "pause", 3)                                                          \
    X(SLOW_DISK, "slow-disk", 4)                                                  \
    X(HUNG_DISK, "hung-disk", 2)                                                  \
    X(COMMIT, "commit", 1)                                                        \
    X(FULL_DISK, "full-disk", 1)                                                  \
    X(WALL, "wall", 1)

enum plan_kind {
#define PLAN_FAULT_ENUM(id, name, weight) PLAN_##id,
    PLAN_FAULTS(PLAN_FAULT_ENUM)
#undef PLAN_FAULT_ENUM
        PLAN_KINDS
};

struct plan;

struct plan_fault { /* one under way */
    struct plan *plan;
    struct event undo;
    enum plan_kind kind;
    bool active;
    uint32_t host;
    bool *blocked; /* by directed link: blocked by this fault */
};

struct plan_host {
    struct plan *plan;
    uint32_t number;
    struct event restart;
};

struct plan {
    struct swarm *swarm;
    struct prng prng;
    struct event next, watch, strike;
    uint32_t ambushes; /* waiting for an acknowledgement */
    uint32_t weights[PLAN_KINDS];
    bool hunting;
    uint64_t pace_us, lasting_us; /* means: between faults, of one */
    struct plan_fault faults[PLAN_ACTIVE_MAX];
    struct plan_host *hosts;
    /* A host that leads what users work on, so that half of the faults hit where it matters; 0: nobody does. */
    uint32_t (*aim)(void *ctx, uint64_t random);
    void *aim_ctx;
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
/* Undoes everything: no fault is left, every host is up. */
void plan_heal(struct plan *p);

#endif
