/* From a run that fails to a small one that fails in the same way: which faults, which users and requests, how long,
 * how many nodes and arcs it takes. Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating
 * failure-inducing input", 2002): parts are left out, ever smaller ones, for as long as it still fails; at the end
 * nothing that is left can be left out alone.
 *
 * This file does not run anything: who calls it does. */
#ifndef SHOAL_SHRINK_H
#define SHOAL_SHRINK_H

#include "run.h"

#define SHRINK_PASSES_MAX 8

/* Smaller runs to try. */
struct shrink_round {
    uint32_t count;
    void (*make)(const struct shrink_round *round, uint32_t i, struct run_options *out); /* out: to be released */
    const struct run_options *from;
    const void *ctx; /* of make */
};

struct shrink {
    /* The first of the round that fails in the same way; its result goes to *ret_result. round->count: none does, or
     * there is no more time. */
    uint32_t (*first_failing)(void *ctx, const struct shrink_round *round, struct run_result *ret_result);
    bool (*out_of_time)(void *ctx);
    void (*progress)(void *ctx, const char *line); /* may be NULL */
    void *ctx;
};

/* *options fail with *result, and are replaced by the smallest that do; so is the result. */
void shrink_run(const struct shrink *s, struct run_options *options, struct run_result *result);

#endif
