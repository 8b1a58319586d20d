#include "scenario.h"

#include <string.h>

#include "check.h"
#include "scenarios.h"

static const struct scenario scenarios[] = {
#define SCENARIO_ROW(function, name, attacks) {name, attacks, scenario_##function},
    SCENARIOS_OF_CORES(SCENARIO_ROW) SCENARIOS_OF_SWARMS(SCENARIO_ROW)
#undef SCENARIO_ROW
};

size_t scenario_count(void) {
    return sizeof(scenarios) / sizeof(scenarios[0]);
}

const struct scenario *scenario_at(size_t i) {
    CHECK(i < scenario_count());
    return &scenarios[i];
}

const struct scenario *scenario_find(const char *name) {
    for (size_t i = 0; i < scenario_count(); i++) {
        if (strcmp(scenarios[i].name, name) == 0) {
            return &scenarios[i];
        }
    }
    return NULL;
}

void scenario_play(const struct run_options *options, struct run_result *result) {
    const struct scenario *scenario = scenario_find(options->scenario);
    CHECK(scenario != NULL);
    *result = (struct run_result){0};
    struct script s = {.options = options,
                       .seed = options->seed,
                       .result = result,
                       .tell = options->schedule,
                       .tell_ctx = options->trace_ctx};
    scenario->play(&s);
    result->passed = !s.failed;
    result->hash = s.hash;
}
