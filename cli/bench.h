/* Many clients against running nodes: each has a connection to a node's local socket and one operation under way at a
 * time. One thread; nothing is allocated once it runs, and an operation costs about one system call each way.
 *
 * Writes are puts of files `size` bytes long, no two alike: a stamp that is never used again, then bytes that all of a
 * run have in common, so that a file that is read is checked byte for byte without a digest. Their names are
 * bench/PREFIX/NUMBER with a prefix of the run. */
#ifndef SHOAL_BENCH_H
#define SHOAL_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "client.h"
#include "histogram.h"

#define BENCH_NODES_MAX 64
#define BENCH_CLIENTS_MAX 1024
#define BENCH_KEYS_MAX 100000000
#define BENCH_SIZE_MIN 16 /* the stamp */
#define BENCH_SIZE_MAX CLIENT_DATA_MAX
#define BENCH_PREFIX_SIZE 24 /* "bench/" and 8 hex digits, and a slash */

enum bench_mode { BENCH_WRITE, BENCH_READ, BENCH_MIXED };

struct bench_params {
    enum bench_mode mode;
    const char *dirs[BENCH_NODES_MAX]; /* data directories: clients are spread over them in turn */
    uint32_t dir_count;
    uint32_t clients, keys, size;
    uint64_t duration_ns;
    uint64_t timeout_ns; /* an operation that takes longer is given up */
    FILE *history;       /* NULL: none */
    int interrupt_fd;    /* -1, or a signalfd: the first signal ends the run, the second does not wait for answers */
};

struct bench_result {
    uint64_t operations; /* that succeeded within elapsed_ns */
    uint64_t errors;
    uint64_t elapsed_ns;
    struct histogram latency; /* ns; of every operation begun in that time that succeeded */
    bool interrupted;
    char prefix[BENCH_PREFIX_SIZE];     /* of all names, with its slash */
    char error[CLIENT_MESSAGE_MAX + 1]; /* the last one */
    int status;                         /* of that error */
};

/* 0; ERR_ABORTED when it was interrupted before the measurement began (the signal is left pending); or why there is no
 * result, with one line in error. Every dir must have been found to be a node's. */
int bench_run(const struct bench_params *params, struct bench_result *out);

#endif
