/* What a durable commit of the store costs, beside a file that is written and synced.
 *
 * usage: bench_store [--json] [--seconds N] DIRECTORY
 *
 * DIRECTORY must not exist; it is made on the disk that is to be measured, and left for a look at the sizes of the
 * files. Each line is measured for N seconds (2). Rivals take turns of a twentieth of a second, so that whatever else
 * the machine does hits all alike; a ratio is to the first of them, "file". One operation is one entry or value; a
 * group is what one commit makes durable.
 *
 *   log     entries at the end, the oldest deleted: as one value each ("values"), together in values that fill pages
 *           ("blocks"), or the same with a write-ahead log ("ahead"), as nodes keep theirs.
 *           "file" overwrites a file made before, one write and one fdatasync a group; "file-growing" appends to one.
 *   upsert  values under keys drawn from KEYS. "file" writes the same bytes to random places of a file.
 *   chunk   whole chunks of 1 MiB */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "chunks.h"
#include "errors.h"
#include "measure.h"
#include "store.h"

#define MAP_SIZE ((uint64_t)4 << 30)
#define TURN_SECONDS 0.05
#define FILE_SIZE ((uint64_t)64 << 20)
#define FILE_STEP ((size_t)1 << 20)
#define LIVE_BYTES ((uint64_t)32 << 20) /* what a log keeps */
#define ENTRY_SIZE 4096
#define BLOCK_SIZE (15 * 4096 - 16) /* 15 pages, less LMDB's header of an overflow run */
#define PAGE_VALUE_SIZE (4096 - 16) /* the largest value that takes one page */
#define SMALL_SIZE 128
#define KEYS 16384
#define GROUP_MAX 1024
#define BYTES_MAX ((size_t)8 << 20) /* of one group */
#define SEGMENT_SIZE (8u << 20)
#define RIVALS_MAX 5
#define PATH_SIZE 4096

struct load {
    const char *what;
    unsigned group;       /* operations that are made durable together */
    size_t size;          /* of one operation */
    const uint8_t *bytes; /* to write: as many as a group has */
};

struct rival {
    const char *how;
    int (*commit)(struct rival *r, const struct load *l);
    size_t value_size; /* of a log's values */
    bool file, growing;
    bool ahead; /* a write-ahead log */
    int fd;
    struct store *store;
    uint64_t offset;      /* in a file */
    uint64_t first, next; /* keys of a log */
    double elapsed;
    uint64_t commits;
};

struct bench {
    const char *directory;
    double seconds;
    bool json;
    unsigned made; /* files and environments */
    uint8_t *bytes;
};

/* ---- files ---- */

static int file_sync(const struct rival *r) {
    return fdatasync(r->fd) == 0 ? 0 : ERR_IO;
}

static int file_write(const struct rival *r, const uint8_t *bytes, size_t size, uint64_t offset) {
    return pwrite(r->fd, bytes, size, (off_t)offset) == (ssize_t)size ? 0 : ERR_IO;
}

static int file_append(struct rival *r, const struct load *l) {
    size_t size = l->group * l->size;
    if (r->offset + size > FILE_SIZE) {
        r->offset = 0;
        if (r->growing && ftruncate(r->fd, 0) != 0) {
            return ERR_IO;
        }
    }
    int status = file_write(r, l->bytes, size, r->offset);
    r->offset += size;
    return status ? status : file_sync(r);
}

static int file_upsert(struct rival *r, const struct load *l) {
    int status = 0;
    for (unsigned i = 0; i < l->group && status == 0; i++) {
        uint64_t place = measure_scatter(r->next++) % (FILE_SIZE / l->size);
        status = file_write(r, l->bytes, l->size, place * l->size);
    }
    return status ? status : file_sync(r);
}

/* Writing to places that were never written costs more, and is not what a log in a file would do. */
static int file_open(struct rival *r, const struct bench *b, const char *path) {
    r->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int status = r->fd >= 0 ? 0 : ERR_IO;
    for (uint64_t at = 0; at < FILE_SIZE && !r->growing && status == 0; at += FILE_STEP) {
        status = file_write(r, b->bytes, FILE_STEP, at);
    }
    return status ? status : file_sync(r);
}

/* ---- the store ---- */

static int log_put(struct rival *r, struct txn *t, const uint8_t *bytes, size_t size) {
    uint8_t key[8];
    put_u64(key, r->next++);
    int status = txn_put(t, TABLE_LOG, (struct slice){key, sizeof(key)}, (struct slice){bytes, size});
    if (status == 0 && (r->next - r->first) * r->value_size > LIVE_BYTES) {
        put_u64(key, r->first++);
        status = txn_del(t, TABLE_LOG, (struct slice){key, sizeof(key)});
    }
    return status;
}

static int store_append(struct rival *r, const struct load *l) {
    struct txn *t;
    int status = store_begin(r->store, true, &t);
    if (status != 0) {
        return status;
    }
    size_t size = l->group * l->size;
    for (size_t at = 0; at < size && status == 0; at += r->value_size) {
        status = log_put(r, t, l->bytes + at, size - at < r->value_size ? size - at : r->value_size);
    }
    return store_commit(t); /* which reports the error of a put */
}

static int store_upsert(struct rival *r, const struct load *l) {
    struct txn *t;
    uint8_t key[8];
    int status = store_begin(r->store, true, &t);
    if (status != 0) {
        return status;
    }
    for (unsigned i = 0; i < l->group && status == 0; i++) {
        put_u64(key, measure_scatter(measure_scatter(r->next++) % KEYS));
        status = txn_put(t, TABLE_NAMES, (struct slice){key, sizeof(key)}, (struct slice){l->bytes, l->size});
    }
    return store_commit(t);
}

static int store_chunks(struct rival *r, const struct load *l) {
    struct txn *t;
    int status = store_begin(r->store, true, &t);
    if (status != 0) {
        return status;
    }
    for (unsigned i = 0; i < l->group && status == 0; i++) {
        struct digest d = {{0}};
        put_u64(d.bytes, measure_scatter(r->next++));
        status = chunk_put(t, &d, l->bytes, l->size);
        if (status == 0 && r->next > LIVE_BYTES / l->size) {
            put_u64(d.bytes, measure_scatter(r->first++));
            status = chunk_del(t, &d);
        }
    }
    return store_commit(t);
}

/* ---- rivals take turns ---- */

static int rival_open(struct bench *b, struct rival *r) {
    char path[PATH_SIZE];
    int length = snprintf(path, sizeof(path), "%s/%u-%s", b->directory, b->made++, r->how);
    if (length < 0 || (size_t)length >= sizeof(path)) {
        return ERR_INVALID;
    }
    r->fd = -1;
    if (r->file) {
        return file_open(r, b, path);
    }
    return r->ahead ? store_open_log(path, MAP_SIZE, SEGMENT_SIZE, &r->store)
                    : store_open_lmdb(path, MAP_SIZE, &r->store);
}

static void rival_close(struct rival *r) {
    store_close(r->store);
    if (r->fd >= 0) {
        (void)close(r->fd);
    }
}

static int rival_turn(struct rival *r, const struct load *l) {
    double start = measure_now();
    double elapsed = 0;
    int status = 0;
    while (elapsed < TURN_SECONDS && status == 0) {
        status = r->commit(r, l);
        r->commits++;
        elapsed = measure_now() - start;
    }
    r->elapsed += elapsed;
    return status;
}

static void report(const struct bench *b, const struct load *l, const struct rival *rivals, size_t count) {
    double baseline = 0;
    for (size_t i = 0; i < count; i++) {
        double rounds = (double)rivals[i].commits / rivals[i].elapsed;
        const struct measure m = {.what = l->what,
                                  .how = rivals[i].how,
                                  .group = l->group,
                                  .size = l->size,
                                  .operations = rounds * l->group,
                                  .rounds = rounds,
                                  .ratio = i > 0 && rivals[0].file ? rounds / baseline : 0};
        baseline = i == 0 ? rounds : baseline;
        measure_print(&m, b->json);
    }
}

static int compete(struct bench *b, const struct load *load, const struct rival *of, size_t count) {
    struct rival rivals[RIVALS_MAX];
    struct load l = *load;
    int status = 0;
    size_t opened = 0;
    l.bytes = b->bytes;
    for (; opened < count && status == 0; opened++) {
        rivals[opened] = of[opened];
        status = rival_open(b, &rivals[opened]);
    }
    while (status == 0 && rivals[0].elapsed < b->seconds) {
        for (size_t i = 0; i < count && status == 0; i++) {
            status = rival_turn(&rivals[i], &l);
        }
    }
    if (status == 0) {
        report(b, &l, rivals, count);
    }
    while (opened > 0) {
        rival_close(&rivals[--opened]);
    }
    return status;
}

static int run(struct bench *b) {
    static const struct rival logs[] = {
        {.how = "file", .file = true, .commit = file_append},
        {.how = "file-growing", .file = true, .growing = true, .commit = file_append},
        {.how = "values", .commit = store_append, .value_size = ENTRY_SIZE},
        {.how = "blocks", .commit = store_append, .value_size = BLOCK_SIZE},
        {.how = "ahead", .ahead = true, .commit = store_append, .value_size = BLOCK_SIZE},
    };
    static const struct rival upserts[] = {
        {.how = "file", .file = true, .commit = file_upsert},
        {.how = "store", .commit = store_upsert},
    };
    static const struct rival chunks[] = {{.how = "store", .commit = store_chunks}};
    static const unsigned batches[] = {1, 4, 20, 64};
    static const unsigned groups[] = {1, 32, GROUP_MAX};
    static const size_t sizes[] = {SMALL_SIZE, PAGE_VALUE_SIZE, ENTRY_SIZE};
    int status = 0;
    for (size_t i = 0; i < 4 && status == 0; i++) {
        const struct load l = {.what = "log", .group = batches[i], .size = ENTRY_SIZE};
        status = compete(b, &l, logs, sizeof(logs) / sizeof(logs[0]));
    }
    for (size_t i = 0; i < 9 && status == 0; i++) {
        const struct load l = {.what = "upsert", .group = groups[i % 3], .size = sizes[i / 3]};
        status = compete(b, &l, upserts, sizeof(upserts) / sizeof(upserts[0]));
    }
    const struct load l = {.what = "chunk", .group = 4, .size = CHUNK_STORED_MAX};
    return status ? status : compete(b, &l, chunks, 1);
}

static int usage(void) {
    (void)fprintf(stderr, "usage: bench_store [--json] [--seconds N] DIRECTORY\n");
    return 2;
}

int main(int argc, char **argv) {
    struct bench b = {.seconds = 2};
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--json") == 0) {
            b.json = true;
        } else if (strcmp(argv[at], "--seconds") == 0 && at + 1 < argc) {
            b.seconds = strtod(argv[++at], NULL);
        } else {
            return usage();
        }
    }
    if (at + 1 != argc || !(b.seconds > 0 && b.seconds <= 3600)) {
        return usage();
    }
    b.directory = argv[at];
    b.bytes = malloc(BYTES_MAX);
    int status = b.bytes ? 0 : ERR_NOMEM;
    if (status == 0) {
        memset(b.bytes, 1, BYTES_MAX); /* some disks keep no zeros */
        status = mkdir(b.directory, 0700) == 0 ? run(&b) : ERR_IO;
    }
    free(b.bytes);
    if (status != 0) {
        (void)fprintf(stderr, "bench_store: %s: %s\n", b.directory, err_text(status));
        return 1;
    }
    return 0;
}
