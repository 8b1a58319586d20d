/* shoal-simnet: whole swarms under faults, from seeds. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "identity.h"
#include "ring.h"
#include "run.h"
#include "sim.h"

#define JOBS_MAX 64
#define EXIT_FAILED_RUN 3 /* of a child: the run failed, and its line is printed; a sanitizer ends with others */

struct job_options {
    struct run_options run;
    uint64_t first, last;
    uint32_t jobs;
    bool trace, twice, verbose, schedule;
};

static void usage(FILE *out) {
    fputs("usage: shoal-simnet --seed N | --seeds A..B\n"
          "  --nodes N       hosts (5)\n"
          "  --minutes N     simulated time under faults (10)\n"
          "  --arcs N        a power of two (16)\n"
          "  --replicas N    of every arc (3)\n"
          "  --jobs N        seeds run at once, each in its own process (1)\n"
          "  --seconds N     simulated time under faults, in seconds\n"
          "  --skip-faults LIST, --only-faults LIST\n"
          "                  of the drawn faults, only some happen: numbers as in 1-5,9, or none\n"
          "  --skip-asks LIST, --only-asks LIST\n"
          "                  of what users ask, only some: 2 is all of user 2, 2:1-5,9/3 some of user 2 and all of 3\n"
          "  --schedule      the faults, and what users ask and hear, one line each, on standard output\n"
          "  --twice         run every seed twice and compare the hashes\n"
          "  --trace         every event, on standard error\n"
          "  --verbose       more about each run, on standard error\n",
          out);
}

static void print_trace(void *ctx, uint64_t now_us, const char *line) {
    (void)ctx;
    fprintf(stderr, "%4" PRIu64 ".%06" PRIu64 " %s\n", now_us / SIM_SECOND, now_us % SIM_SECOND, line);
}

static void print_schedule(void *ctx, uint64_t now_us, const char *line) {
    (void)ctx;
    printf("%4" PRIu64 ".%06" PRIu64 " %s\n", now_us / SIM_SECOND, now_us % SIM_SECOND, line);
}

static double wall_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool report(uint64_t seed, const struct run_result *r, double wall) {
    char verdict[RUN_REASON_SIZE + 8] = "pass";
    if (!r->passed) {
        snprintf(verdict, sizeof(verdict), "FAIL(%s)", r->reason);
    }
    printf("seed=%" PRIu64 " result=%s hash=%016" PRIx64 " simulated=%.1fs wall=%.2fs\n", seed, verdict, r->hash,
           (double)r->simulated_us / SIM_SECOND, wall);
    fflush(stdout);
    return r->passed;
}

static bool run_one(const struct job_options *o, uint64_t seed) {
    struct run_options options = o->run;
    struct run_result result, again;
    options.seed = seed;
    options.trace = o->trace ? print_trace : NULL;
    options.schedule = o->schedule ? print_schedule : NULL;
    double began = wall_seconds();
    run_seed(&options, &result);
    double wall = wall_seconds() - began;
    if (o->twice) {
        options.schedule = NULL;
        run_seed(&options, &again);
        if (again.hash != result.hash && result.passed) {
            result.passed = false;
            snprintf(result.reason, sizeof(result.reason), "two runs differ: %016" PRIx64, again.hash);
        }
    }
    if (o->verbose) {
        fprintf(stderr,
                "seed=%" PRIu64 " events=%" PRIu64 " calls=%" PRIu64 " answered=%" PRIu64 " open=%" PRIu64
                " put=%" PRIu64 " bytes\n",
                seed, result.events, result.calls, result.answered, result.unanswered, result.bytes_put);
    }
    return report(seed, &result, wall);
}

/* A seed that ends its process (a failed assertion, a sanitizer) is a failure like any other. */
static bool reap(pid_t *pids, uint64_t *seeds, uint32_t count, uint32_t *ret_slot) {
    int status;
    pid_t pid;
    do {
        pid = wait(&status);
    } while (pid < 0 && errno == EINTR);
    for (uint32_t i = 0; i < count; i++) {
        if (pids[i] != pid) {
            continue;
        }
        pids[i] = 0;
        *ret_slot = i;
        bool normal = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == EXIT_FAILED_RUN);
        if (!normal) {
            printf("seed=%" PRIu64 " result=FAIL(the process died: %s %d) hash=- simulated=- wall=-\n", seeds[i],
                   WIFSIGNALED(status) ? "signal" : "exit",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            fflush(stdout);
        }
        return normal && WEXITSTATUS(status) == 0;
    }
    CHECK(false);
    return false;
}

static bool run_range(const struct job_options *o) {
    pid_t pids[JOBS_MAX] = {0};
    uint64_t seeds[JOBS_MAX] = {0};
    uint32_t running = 0, slot = 0;
    bool good = true;
    for (uint64_t seed = o->first; seed <= o->last || running > 0;) {
        if (seed > o->last || running == o->jobs) {
            good = reap(pids, seeds, o->jobs, &slot) && good;
            running--;
            continue;
        }
        for (slot = 0; pids[slot] != 0; slot++) {
        }
        pid_t pid = fork();
        if (pid < 0) {
            perror("shoal-simnet: fork");
            return false;
        }
        if (pid == 0) {
            exit(run_one(o, seed) ? 0 : EXIT_FAILED_RUN);
        }
        pids[slot] = pid;
        seeds[slot] = seed++;
        running++;
    }
    return good;
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static bool number(const char *text, uint64_t low, uint64_t high, uint64_t *out) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < low || value > high) {
        fprintf(stderr, "shoal-simnet: '%s' is not a number from %" PRIu64 " to %" PRIu64 "\n", text, low, high);
        return false;
    }
    *out = value;
    return true;
}

static bool range(char *text, struct job_options *o) {
    char *dots = strstr(text, "..");
    if (dots == NULL) {
        fprintf(stderr, "shoal-simnet: '%s' is not a range A..B\n", text);
        return false;
    }
    *dots = '\0';
    return number(text, 0, UINT64_MAX - 1, &o->first) && number(dots + 2, o->first, UINT64_MAX - 1, &o->last);
}

static bool selection(const char *text, bool only, struct selection *out) {
    selection_release(out);
    out->only = only;
    if (!selection_parse(out, text, strlen(text))) {
        fprintf(stderr, "shoal-simnet: '%s' is not a list of ascending numbers, as in 1-5,9\n", text);
        return false;
    }
    return true;
}

/* "2", all of user 2, or "2:1-5,9", some. */
static bool selection_of_user(char *text, bool only, struct run_options *run) {
    uint64_t user = 0;
    char *colon = strchr(text, ':');
    if (colon != NULL) {
        *colon = '\0';
    }
    if (!number(text, 1, RUN_USERS_MAX, &user)) {
        return false;
    }
    if (colon != NULL) {
        return selection(colon + 1, only, &run->asks[user - 1]);
    }
    selection_release(&run->asks[user - 1]);
    run->asks[user - 1].only = !only; /* of an empty list: none, or all but none */
    return true;
}

static bool selections_of_users(char *text, bool only, struct run_options *run) {
    for (int i = 0; i < RUN_USERS_MAX; i++) {
        selection_release(&run->asks[i]);
        run->asks[i].only = only;
    }
    while (strcmp(text, "none") != 0) {
        char *slash = strchr(text, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        if (!selection_of_user(text, only, run)) {
            return false;
        }
        if (slash == NULL) {
            break;
        }
        text = slash + 1;
    }
    return true;
}

static bool take_option(int option, char *text, struct job_options *o) {
    uint64_t value = 0;
    switch (option) {
    case 's':
        return number(text, 0, UINT64_MAX - 1, &o->first) && (o->last = o->first, true);
    case 'r':
        return range(text, o);
    case 'n':
        return number(text, 1, 64, &value) && (o->run.nodes = (uint32_t)value, true);
    case 'm':
        return number(text, 0, 100000, &value) && (o->run.faults_us = value * 60 * SIM_SECOND, true);
    case 'e':
        return number(text, 0, 6000000, &value) && (o->run.faults_us = value * SIM_SECOND, true);
    case 'F':
    case 'f':
        return selection(text, option == 'f', &o->run.faults);
    case 'A':
    case 'k':
        return selections_of_users(text, option == 'k', &o->run);
    case 'l':
        return (o->schedule = true);
    case 'a':
        return number(text, 1, 1u << RING_BITS_MAX, &value) && ring_bits_of(value, &o->run.bits) == 0;
    case 'c':
        return number(text, 1, 7, &value) && (o->run.replicas = (uint32_t)value, true);
    case 'j':
        return number(text, 1, JOBS_MAX, &value) && (o->jobs = (uint32_t)value, true);
    case 't':
        return (o->trace = true);
    case '2':
        return (o->twice = true);
    case 'v':
        return (o->verbose = true);
    default:
        return false;
    }
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 'r'},
        {"nodes", required_argument, NULL, 'n'},
        {"minutes", required_argument, NULL, 'm'},
        {"arcs", required_argument, NULL, 'a'},
        {"replicas", required_argument, NULL, 'c'},
        {"jobs", required_argument, NULL, 'j'},
        {"trace", no_argument, NULL, 't'},
        {"twice", no_argument, NULL, '2'},
        {"verbose", no_argument, NULL, 'v'},
        {"seconds", required_argument, NULL, 'e'},
        {"skip-faults", required_argument, NULL, 'F'},
        {"only-faults", required_argument, NULL, 'f'},
        {"skip-asks", required_argument, NULL, 'A'},
        {"only-asks", required_argument, NULL, 'k'},
        {"schedule", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct job_options o = {
        .run = {.nodes = 5, .faults_us = 600 * (uint64_t)SIM_SECOND, .bits = 4, .replicas = 3}, .jobs = 1, .first = 1};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            return 0;
        }
        if (!take_option(option, optarg, &o)) {
            usage(stderr);
            return 2;
        }
    }
    if (optind != argc || o.last < o.first) {
        usage(stderr);
        return 2;
    }
    if (crypto_init() != 0) {
        fputs("shoal-simnet: the crypto library does not start\n", stderr);
        return 1;
    }
    bool good = o.first == o.last ? run_one(&o, o.first) : run_range(&o);
    return good ? 0 : 1;
}
