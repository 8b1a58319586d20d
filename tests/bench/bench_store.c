/* How fast one environment commits: small values in batches, and whole chunks.
 * Usage: bench_store DIRECTORY (made if absent; remove it afterwards) */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "chunks.h"
#include "errors.h"
#include "store.h"

#define MAP_SIZE ((uint64_t)4 << 30)
#define SECONDS 2.0 /* for each line */
#define VALUE_SIZE 128
#define CHUNKS_TOTAL 512
#define CHUNKS_BATCH 16

static double now(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Scatters numbers, so that keys fall everywhere. */
static uint64_t scatter(uint64_t n) {
    n = (n + 1) * 0x9e3779b97f4a7c15ULL;
    return n ^ n >> 29;
}

static int small_puts(struct store *s, unsigned batch) {
    uint8_t key[8];
    uint8_t value[VALUE_SIZE] = {0};
    uint64_t count = 0;
    double start = now();
    double elapsed = 0;
    while (elapsed < SECONDS) {
        struct txn *t;
        int status = store_begin(s, true, &t);
        for (unsigned i = 0; i < batch && status == 0; i++) {
            put_u64(key, scatter(count++));
            status = txn_put(t, TABLE_NAMES, (struct slice){key, sizeof(key)}, (struct slice){value, sizeof(value)});
        }
        status = status ? status : store_commit(t);
        if (status != 0) {
            return status;
        }
        elapsed = now() - start;
    }
    printf("puts of %d bytes, %3u a commit: %9.0f/s\n", VALUE_SIZE, batch, (double)count / elapsed);
    return 0;
}

static int chunk_puts(struct store *s) {
    uint8_t *stored = calloc(1, CHUNK_STORED_MAX);
    int status = stored ? 0 : ERR_NOMEM;
    double start = now();
    for (uint64_t n = 0; n < CHUNKS_TOTAL && status == 0; n += CHUNKS_BATCH) {
        struct txn *t;
        status = store_begin(s, true, &t);
        for (uint64_t i = 0; i < CHUNKS_BATCH && status == 0; i++) {
            struct digest d = {{0}};
            put_u64(d.bytes, scatter(n + i));
            status = chunk_put(t, &d, stored, CHUNK_STORED_MAX);
        }
        status = status ? status : store_commit(t);
    }
    if (status == 0) {
        printf("chunks of 1 MiB, %d a commit: %9.0f MiB/s\n", CHUNKS_BATCH, CHUNKS_TOTAL / (now() - start));
    }
    free(stored);
    return status;
}

int main(int argc, char **argv) {
    static const unsigned batches[] = {1, 64, 512};
    struct store *s = NULL;
    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_store DIRECTORY\n");
        return 2;
    }
    int status = store_open_lmdb(argv[1], MAP_SIZE, &s);
    for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]) && status == 0; i++) {
        status = small_puts(s, batches[i]);
    }
    status = status ? status : chunk_puts(s);
    store_close(s);
    if (status != 0) {
        (void)fprintf(stderr, "bench_store: %s: %s\n", argv[1], err_text(status));
        return 1;
    }
    return 0;
}
