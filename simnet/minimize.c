#include "minimize.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "options.h"
#include "pool.h"
#include "shrink.h"
#include "sim.h"

#define COMMAND_SIZE_MAX 65536
#define COMMAND_WORDS_MAX 40
#define OUTPUT_LINE_SIZE 8192
#define SLOWER_THAN_FIRST 5 /* times longer in real time: not the same failure, or not worth waiting for */
#define RUN_SECONDS_MIN 10
#define LATE_FAULTS 2
#define LATE_ASKS 8

struct minimizer {
    const struct run_result *wanted;
    uint32_t jobs, run_seconds;
    time_t until, said;
    uint32_t runs;
    /* Of the round under way: */
    const struct shrink_round *round;
    uint32_t first; /* to fail, so far; round->count: none */
    uint32_t done;  /* how many of those before it are */
    struct run_result result;
};

static time_t now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static bool out_of_time(void *ctx) {
    return now_seconds() >= ((const struct minimizer *)ctx)->until;
}

/* A process that died had no time to say what happened at the very last. */
static void extend(struct run_result *result) {
    if (result->checker == RUN_DEATH) {
        result->faults += LATE_FAULTS;
        for (uint32_t i = 0; i < RUN_USERS_MAX; i++) {
            result->asks[i] += LATE_ASKS;
        }
    }
}

/* ---- a round, several at once ------------------------------------------------------------------------------------ */

static bool next_of_round(void *ctx, size_t number, struct run_options *out) {
    struct minimizer *m = ctx;
    if (number >= m->first || out_of_time(m)) {
        return false;
    }
    m->round->make(m->round, (uint32_t)number, out);
    return true;
}

/* The first one in the order of the round wins, not the fastest: shrinking twice gives the same. */
static bool done_of_round(void *ctx, const struct pool_run *run) {
    struct minimizer *m = ctx;
    m->runs++;
    m->done++;
    if (run->number < m->first && run_same_failure(m->wanted, &run->result)) {
        m->first = (uint32_t)run->number;
        m->result = run->result;
        extend(&m->result);
    }
    return m->done <= m->first;
}

static uint32_t first_failing(void *ctx, const struct shrink_round *round, struct run_result *ret_result) {
    struct minimizer *m = ctx;
    const struct pool pool = {.jobs = m->jobs,
                              .limit_seconds = m->run_seconds,
                              .quiet = true,
                              .next = next_of_round,
                              .done = done_of_round,
                              .play = run_seed,
                              .ctx = m};
    m->round = round;
    m->first = round->count;
    m->done = 0;
    if (!pool_play(&pool)) {
        return round->count;
    }
    *ret_result = m->result;
    return m->first;
}

/* A line a second at most. */
static void progress(void *ctx, const char *line) {
    struct minimizer *m = ctx;
    if (m->said != now_seconds()) {
        m->said = now_seconds();
        fprintf(stderr, "%s (%" PRIu32 " runs)\n", line, m->runs);
    }
}

/* ---- the first run ----------------------------------------------------------------------------------------------- */

struct single {
    const struct run_options *options;
    struct run_result *result;
    double wall_seconds;
};

static bool next_single(void *ctx, size_t number, struct run_options *out) {
    if (number == 0) {
        options_copy(((const struct single *)ctx)->options, out);
    }
    return number == 0;
}

static bool done_single(void *ctx, const struct pool_run *run) {
    struct single *s = ctx;
    *s->result = run->result;
    s->wall_seconds = run->wall_seconds;
    return true;
}

static bool play_single(struct single *s) {
    const struct pool pool = {
        .jobs = 1, .quiet = true, .next = next_single, .done = done_single, .play = run_seed, .ctx = s};
    return pool_play(&pool);
}

/* ---- the last run ------------------------------------------------------------------------------------------------ */

/* This program again, with these words; what it says goes to `output`. */
static bool play_command(char *words, FILE *output) {
    char *argv[COMMAND_WORDS_MAX] = {NULL};
    char *rest = words;
    for (size_t i = 0; i + 1 < COMMAND_WORDS_MAX && rest != NULL; i++) {
        argv[i] = strsep(&rest, " ");
    }
    CHECK(rest == NULL);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (dup2(fileno(output), STDOUT_FILENO) >= 0 && dup2(fileno(output), STDERR_FILENO) >= 0) {
            execv("/proc/self/exe", argv);
        }
        _exit(127);
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return pid > 0;
}

static bool show_output(FILE *output, const char *reason) {
    char line[OUTPUT_LINE_SIZE];
    bool found = false;
    rewind(output);
    while (fgets(line, sizeof(line), output) != NULL) {
        found = found || strstr(line, reason) != NULL;
        fputs(line, stdout);
    }
    return found;
}

static bool replay(const struct run_options *options, const struct run_result *result) {
    char *command = malloc(COMMAND_SIZE_MAX), *words = malloc(COMMAND_SIZE_MAX);
    FILE *output = tmpfile();
    CHECK(command != NULL && words != NULL);
    bool good = false;
    if (output == NULL || options_format(options, command, COMMAND_SIZE_MAX) >= COMMAND_SIZE_MAX) {
        fputs("shoal-simnet: what is left does not fit on a command line\n", stderr);
        goto done;
    }
    if (snprintf(words, COMMAND_SIZE_MAX, "shoal-simnet %s --schedule", command) >= COMMAND_SIZE_MAX ||
        !play_command(words, output)) {
        fputs("shoal-simnet: the last run cannot be played\n", stderr);
        goto done;
    }
    good = show_output(output, result->reason);
    printf("%s: shoal-simnet %s --schedule\n", good ? "replays" : "DOES NOT REPLAY", command);
done:
    if (output != NULL) {
        fclose(output);
    }
    free(command);
    free(words);
    return good;
}

bool minimize(const struct run_options *options, uint32_t jobs, uint32_t limit_seconds) {
    struct run_result wanted, result;
    struct run_options smallest;
    struct single first = {.options = options, .result = &wanted};
    struct minimizer m = {.wanted = &wanted, .jobs = jobs, .until = now_seconds() + (time_t)limit_seconds};
    const struct shrink shrink = {
        .first_failing = first_failing, .out_of_time = out_of_time, .progress = progress, .ctx = &m};
    if (!play_single(&first)) {
        return false;
    }
    if (wanted.passed) {
        printf("seed=%" PRIu64 " does not fail\n", options->seed);
        return false;
    }
    fprintf(stderr, "seed=%" PRIu64 " fails (%s): %s\n", options->seed, run_checker_name(wanted.checker),
            wanted.reason);
    extend(&wanted);
    m.run_seconds = RUN_SECONDS_MIN + (uint32_t)(SLOWER_THAN_FIRST * first.wall_seconds);
    options_copy(options, &smallest);
    result = wanted;
    shrink_run(&shrink, &smallest, &result);
    fprintf(stderr, "%s after %" PRIu32 " runs\n", out_of_time(&m) ? "out of time" : "done", m.runs);
    bool good = replay(&smallest, &result);
    options_release(&smallest);
    return good;
}
