/* Runs in processes of their own, several at once: a run that ends its process (a failed assertion, a sanitizer) is a
 * run that failed. */
#ifndef SHOAL_POOL_H
#define SHOAL_POOL_H

#include "run.h"

#define POOL_JOBS_MAX 64

struct pool_run {
    size_t number; /* from 0, in the order of asking */
    struct run_options options;
    struct run_result result;
    double wall_seconds;
};

struct pool {
    uint32_t jobs;          /* 1..POOL_JOBS_MAX */
    uint32_t limit_seconds; /* of real time for one run, then it is ended; 0: none */
    bool quiet;             /* what runs say on standard error is dropped */
    bool (*next)(void *ctx, size_t number, struct run_options *out); /* false: no more; out is released by the pool */
    bool (*done)(void *ctx, const struct pool_run *run);             /* false: end all others */
    void (*play)(const struct run_options *options, struct run_result *result); /* run_seed, or around it */
    void *ctx;
};

/* False, after a message on standard error, when a process cannot be started; what runs is ended then. */
bool pool_play(const struct pool *pool);

#endif
