/* One run of one seed: a swarm is made, works under faults (safety), is healed, and must become whole (liveness). */
#ifndef SHOAL_RUN_H
#define SHOAL_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "select.h"

#define RUN_REASON_SIZE 256
#define RUN_USERS_MAX 16

struct run_options {
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

struct run_result {
    bool passed;
    char reason[RUN_REASON_SIZE]; /* one line; "" when passed */
    uint64_t hash;
    uint64_t simulated_us;
    uint64_t events, calls, answered, unanswered, bytes_put;
};

void run_seed(const struct run_options *options, struct run_result *result);

#endif
