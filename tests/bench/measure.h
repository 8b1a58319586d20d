/* What the measuring programs share: the clock, and lines of results, as text or as JSON (one object a line). */
#ifndef SHOAL_TEST_MEASURE_H
#define SHOAL_TEST_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static inline double measure_clock(clockid_t clock) {
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline double measure_now(void) {
    return measure_clock(CLOCK_MONOTONIC);
}

/* What this process had of the processors: the same whatever else runs. */
static inline double measure_cpu(void) {
    return measure_clock(CLOCK_PROCESS_CPUTIME_ID);
}

/* Scatters numbers over all of 64 bits, each to a place of its own. */
static inline uint64_t measure_scatter(uint64_t n) {
    n = (n + 1) * 0x9e3779b97f4a7c15ULL;
    return n ^ n >> 29;
}

struct measure {
    const char *what;  /* of the program: what is measured */
    const char *how;   /* by which means */
    unsigned group;    /* operations of one commit; entries in flight */
    size_t size;       /* of one operation, in bytes */
    double operations; /* a second */
    double rounds;     /* commits a second; 0: not applicable */
    double ratio;      /* of operations to those of the baseline; 0: not applicable, or this is it */
};

static inline void measure_print(const struct measure *m, bool json) {
    double mib = m->operations * (double)m->size / (1 << 20);
    if (json) {
        printf(
            "{\"what\":\"%s\",\"how\":\"%s\",\"group\":%u,\"bytes\":%zu,\"operations_per_s\":%.1f,\"mib_per_s\":%.2f",
            m->what, m->how, m->group, m->size, m->operations, mib);
        if (m->rounds > 0) {
            printf(",\"commits_per_s\":%.1f", m->rounds);
        }
        if (m->ratio > 0) {
            printf(",\"ratio\":%.3f", m->ratio);
        }
        printf("}\n");
    } else {
        printf("%-8s %-16s %4u x %7zu B %10.0f/s %8.1f MiB/s", m->what, m->how, m->group, m->size, m->operations, mib);
        if (m->rounds > 0) {
            printf(" %7.0f commits/s, %6.0f us each", m->rounds, 1e6 / m->rounds);
        }
        if (m->ratio > 0) {
            printf(", ratio %.2f", m->ratio);
        }
        printf("\n");
    }
    (void)fflush(stdout);
}

#endif
