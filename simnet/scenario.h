/* Scenarios: short stories that each drive a swarm, or a few consensus cores, into one bad situation on purpose, and
 * check that it holds. Seeds find what nobody thought of; scenarios make sure of what somebody did. */
#ifndef SHOAL_SCENARIO_H
#define SHOAL_SCENARIO_H

#include "script.h"

struct scenario {
    const char *name;
    const char *attacks; /* one line: what it tries to break */
    void (*play)(struct script *s);
};

size_t scenario_count(void);
const struct scenario *scenario_at(size_t i);
const struct scenario *scenario_find(const char *name); /* NULL: none */
/* Plays options->scenario with options->seed. */
void scenario_play(const struct run_options *options, struct run_result *result);

#endif
