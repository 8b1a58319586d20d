/* One run of one seed: a swarm is made, works under faults (safety), is healed, and must become whole (liveness). */
#ifndef SHOAL_RUN_H
#define SHOAL_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RUN_REASON_SIZE 256

struct run_options {
    uint64_t seed;
    uint32_t nodes;
    uint32_t minutes; /* of the phase with faults */
    unsigned bits;    /* arcs = 2^bits */
    uint32_t replicas;
    void (*trace)(void *ctx, uint64_t now_us, const char *line); /* NULL: none */
    void *trace_ctx;
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
