/* One run of one seed: a swarm is made, works under faults (safety), is healed, and must become whole (liveness). */
#ifndef SHOAL_RUN_H
#define SHOAL_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "select.h"

#define RUN_REASON_SIZE 256
#define RUN_USERS_MAX 16

/* Who says that a run is wrong. X(id, name) */
#define RUN_CHECKERS(X)                                           \
    X(NOBODY, "nobody")                                           \
    X(GATHER, "gathering")      /* the swarm comes together */    \
    X(ANSWER, "answers")        /* no fault excuses the answer */ \
    X(INVARIANT, "invariants")  /* while it runs */               \
    X(HEALTH, "health")         /* it is whole again in time */   \
    X(WRITING, "writing")       /* everybody can store */         \
    X(READING, "reading back")  /* everything can be read */      \
    X(LISTING, "listing")       /* and is listed */               \
    X(HISTORY, "histories")     /* are linearizable */            \
    X(AUDIT, "audit")           /* of the disks, in time */       \
    X(SCENARIO, "scenario")     /* what it expects */             \
    X(SITUATION, "situation")   /* what it is about arises */     \
    X(TWICE, "two runs differ") /* of the same seed */            \
    X(DEATH, "the process died")

enum run_checker {
#define RUN_CHECKER_ENUM(id, name) RUN_##id,
    RUN_CHECKERS(RUN_CHECKER_ENUM)
#undef RUN_CHECKER_ENUM
        RUN_CHECKER_COUNT
};

struct run_options {
    const char *scenario; /* its name; NULL: faults and users drawn from the seed */
    uint64_t seed;
    uint32_t nodes;
    uint64_t faults_us; /* how long the phase with faults lasts */
    unsigned bits;      /* arcs = 2^bits */
    uint32_t replicas;
    struct selection faults;                                     /* which of the drawn ones happen */
    struct selection asks[RUN_USERS_MAX];                        /* what each user asks */
    void (*trace)(void *ctx, uint64_t now_us, const char *line); /* every event; NULL: none */
    /* Only what is done to the swarm: faults, and what users ask and hear; NULL: none. */
    void (*schedule)(void *ctx, uint64_t now_us, const char *line);
    void *trace_ctx; /* of both */
};

/* Filled in as the run goes on; complete at its end. */
struct run_result {
    bool passed;
    enum run_checker checker;     /* NOBODY when passed */
    char reason[RUN_REASON_SIZE]; /* one line; "" when passed */
    uint64_t hash;
    uint64_t simulated_us;
    uint64_t events, calls, answered, unanswered, bytes_put;
    uint64_t faults_from_us; /* the phase with faults began; 0: it never did */
    uint32_t faults;         /* drawn: the last number */
    uint32_t asks[RUN_USERS_MAX];
};

void run_seed(const struct run_options *options, struct run_result *result);
const char *run_checker_name(enum run_checker checker);
/* Both failed, and in the same way, as far as that can be told: the same checker found it; where a checker looks at
 * many things, the same one of them. */
bool run_same_failure(const struct run_result *a, const struct run_result *b);

#endif
