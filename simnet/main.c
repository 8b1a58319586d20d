/* shoal-simnet: whole swarms under faults, from seeds. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "identity.h"
#include "minimize.h"
#include "noise.h"
#include "options.h"
#include "pool.h"
#include "scenario.h"
#include "sim.h"

#define SHRINK_SECONDS 600

struct job_options {
    struct run_options run;
    uint64_t first, last;
    uint32_t jobs, shrink_seconds;
    bool twice, verbose, shrink, list;
    const char **scenarios; /* names */
    size_t scenario_count;  /* 0: seeds */
    bool failed;            /* a run did */
};

static void usage(FILE *out) {
    fputs("usage: shoal-simnet --seed N | --seeds A..B\n"
          "       shoal-simnet SCENARIO... | --scenarios | --list\n" OPTIONS_HELP
          "  --jobs N        seeds run at once, each in its own process (1)\n"
          "  --schedule      the faults, and what users ask and hear, one line each, on standard output\n"
          "  --twice         run every seed twice and compare the hashes\n"
          "  --trace         every event, on standard error\n"
          "  --verbose       more about each run, on standard error\n"
          "  --shrink        find a small run that fails like this seed\n"
          "  --scenarios     all scenarios, each from the given seeds (1)\n"
          "  --list          the scenarios, and what they attack\n"
          "  --limit N       seconds of real time for that (600)\n",
          out);
}

static void print_trace(void *ctx, uint64_t now_us, const char *line) {
    (void)ctx;
    fprintf(stderr, "%4" PRIu64 ".%06" PRIu64 " %s\n", now_us / SIM_SECOND, now_us % SIM_SECOND, line);
}

/* Not lost when the process dies. */
static void print_schedule(void *ctx, uint64_t now_us, const char *line) {
    (void)ctx;
    printf("%4" PRIu64 ".%06" PRIu64 " %s\n", now_us / SIM_SECOND, now_us % SIM_SECOND, line);
    fflush(stdout);
}

static double wall_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static bool report(const struct job_options *o, const struct run_options *run, const struct run_result *r,
                   double wall) {
    char verdict[RUN_REASON_SIZE + 8] = "pass";
    uint64_t seed = run->seed;
    if (!r->passed) {
        snprintf(verdict, sizeof(verdict), "FAIL(%s)", r->reason);
    }
    if (run->scenario != NULL) {
        printf("scenario=%s ", run->scenario);
    }
    printf("seed=%" PRIu64 " result=%s hash=%016" PRIx64 " simulated=%.1fs wall=%.2fs\n", seed, verdict, r->hash,
           (double)r->simulated_us / SIM_SECOND, wall);
    fflush(stdout);
    if (o->verbose) {
        fprintf(stderr,
                "seed=%" PRIu64 " events=%" PRIu64 " calls=%" PRIu64 " answered=%" PRIu64 " open=%" PRIu64
                " put=%" PRIu64 " bytes\n",
                seed, r->events, r->calls, r->answered, r->unanswered, r->bytes_put);
    }
    return r->passed;
}

static void run_once(const struct run_options *options, struct run_result *result) {
    (options->scenario != NULL ? scenario_play : run_seed)(options, result);
}

static void run_twice(const struct run_options *options, struct run_result *result) {
    struct run_options quiet = *options;
    struct run_result again;
    run_once(options, result);
    quiet.schedule = NULL;
    run_once(&quiet, &again);
    if (again.hash != result->hash && result->passed) {
        result->passed = false;
        result->checker = RUN_TWICE;
        snprintf(result->reason, sizeof(result->reason), "two runs differ: %016" PRIx64, again.hash);
    }
}

static bool run_one(const struct job_options *o) {
    struct run_result result;
    double began = wall_seconds();
    struct run_options run = o->run;
    run.scenario = o->scenario_count > 0 ? o->scenarios[0] : NULL;
    (o->twice ? run_twice : run_once)(&run, &result);
    return report(o, &run, &result, wall_seconds() - began);
}

static bool next_seed(void *ctx, size_t number, struct run_options *out) {
    const struct job_options *o = ctx;
    uint64_t seeds = o->last - o->first + 1;
    if (number / seeds >= (o->scenario_count > 0 ? o->scenario_count : 1)) {
        return false;
    }
    options_copy(&o->run, out);
    out->seed = o->first + number % seeds;
    out->scenario = o->scenario_count > 0 ? o->scenarios[number / seeds] : NULL;
    return true;
}

static bool seed_done(void *ctx, const struct pool_run *run) {
    struct job_options *o = ctx;
    o->failed = !report(o, &run->options, &run->result, run->wall_seconds) || o->failed;
    return true;
}

static bool run_range(struct job_options *o) {
    const struct pool pool = {
        .jobs = o->jobs, .next = next_seed, .done = seed_done, .play = o->twice ? run_twice : run_once, .ctx = o};
    return pool_play(&pool) && !o->failed;
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static bool range(const char *text, struct job_options *o) {
    const char *dots = strstr(text, "..");
    char *first = dots == NULL ? NULL : strndup(text, (size_t)(dots - text));
    bool good = first != NULL && options_number(first, 0, UINT64_MAX - 1, &o->first) &&
                options_number(dots + 2, o->first, UINT64_MAX - 1, &o->last);
    if (first == NULL) {
        fprintf(stderr, "shoal-simnet: '%s' is not a range A..B\n", text);
    }
    free(first);
    return good;
}

static bool take_option(int option, const char *text, struct job_options *o) {
    uint64_t value = 0;
    switch (option) {
    case 'r':
        return range(text, o);
    case 's':
        return options_take(option, text, &o->run) && (o->first = o->last = o->run.seed, true);
    case 'j':
        return options_number(text, 1, POOL_JOBS_MAX, &value) && (o->jobs = (uint32_t)value, true);
    case 'i':
        return options_number(text, 1, UINT32_MAX, &value) && (o->shrink_seconds = (uint32_t)value, true);
    case 't':
        o->run.trace = print_trace;
        return true;
    case 'l':
        o->run.schedule = print_schedule;
        return true;
    case '2':
        return (o->twice = true);
    case 'v':
        return (o->verbose = true);
    case 'x':
        return (o->shrink = true);
    case 'L':
        return (o->list = true);
    case 'S':
        o->scenario_count = 0;
        while (o->scenario_count < scenario_count()) {
            o->scenarios[o->scenario_count] = scenario_at(o->scenario_count)->name;
            o->scenario_count++;
        }
        return true;
    default:
        return options_take(option, text, &o->run);
    }
}

static bool take_options(int argc, char **argv, struct job_options *o) {
    static const struct option options[] = {
        OPTIONS_OF_A_RUN,
        {"seeds", required_argument, NULL, 'r'},
        {"jobs", required_argument, NULL, 'j'},
        {"schedule", no_argument, NULL, 'l'},
        {"trace", no_argument, NULL, 't'},
        {"twice", no_argument, NULL, '2'},
        {"verbose", no_argument, NULL, 'v'},
        {"shrink", no_argument, NULL, 'x'},
        {"scenarios", no_argument, NULL, 'S'},
        {"list", no_argument, NULL, 'L'},
        {"limit", required_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            exit(0);
        }
        if (!take_option(option, optarg, o)) {
            return false;
        }
    }
    for (; optind < argc && o->scenario_count < scenario_count(); optind++) {
        if (scenario_find(argv[optind]) == NULL) {
            fprintf(stderr, "shoal-simnet: there is no scenario '%s'; --list shows them\n", argv[optind]);
            return false;
        }
        o->scenarios[o->scenario_count++] = argv[optind];
    }
    bool one = o->first == o->last && o->scenario_count == 0;
    return optind == argc && o->first <= o->last && (one || !o->shrink);
}

static void list_scenarios(void) {
    for (size_t i = 0; i < scenario_count(); i++) {
        printf("%-24s %s\n", scenario_at(i)->name, scenario_at(i)->attacks);
    }
}

static bool play(struct job_options *o) {
    if (o->list) {
        list_scenarios();
        return true;
    }
    if (!noise_aesgcm_available()) {
        fputs("shoal-simnet: this processor has no AES instructions, so no simulated one has: runs are as elsewhere, "
              "their hashes are not\n",
              stderr);
    }
    if (o->shrink) {
        return minimize(&o->run, o->jobs, o->shrink_seconds);
    }
    return o->first == o->last && o->scenario_count <= 1 ? run_one(o) : run_range(o);
}

int main(int argc, char **argv) {
    struct job_options o = {.jobs = 1, .first = 1, .shrink_seconds = SHRINK_SECONDS};
    int status = 2;
    options_init(&o.run);
    o.last = o.first;
    o.run.seed = o.first;
    o.scenarios = calloc(scenario_count(), sizeof(*o.scenarios));
    if (o.scenarios == NULL || crypto_init() != 0) {
        fputs("shoal-simnet: no memory, or no crypto library\n", stderr);
        status = 1;
    } else if (take_options(argc, argv, &o)) {
        status = play(&o) ? 0 : 1;
    } else {
        usage(stderr);
    }
    options_release(&o.run);
    free(o.scenarios);
    return status;
}
