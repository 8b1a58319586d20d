/* Why a chunk's bytes are written in this order.
 *
 * A chunk is deleted here when the last reference to it is removed by an applied entry (index d), and it is needed
 * again from the entry that adds a new reference (index a > d). Deletes are queued to the chunk writer when the apply
 * of d is reported to the loop; reports come in log order. So bytes that are queued only after the apply of a was
 * reported lie behind every delete with d < a, and no acknowledged byte can be taken away by an older removal.
 *
 * The report of a is seen directly (EFFECT_REF_ADDED while the bytes wait), or a was applied before the bytes came.
 * Then a query finds the reference; but a query may see a transaction whose reports have not all reached the loop. An
 * empty write queued behind it is the barrier: completions come in the order of writes, so when it completes, every
 * report of transactions the query could see is in. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define ARRIVAL_MAGIC 0x41525256u

/* LOOKING ──▶ BARRIER or WAITING ──▶ WRITING, by way of CROWDED when what is being written takes all the room */
enum arrival_state { ARRIVAL_LOOKING, ARRIVAL_BARRIER, ARRIVAL_WAITING, ARRIVAL_CROWDED, ARRIVAL_WRITING };

struct arrival {
    uint32_t magic;
    struct files *files;
    TAILQ_ENTRY(arrival) link;
    struct disk_op op; /* barrier, then write */
    struct timer timer;
    enum arrival_state state;
    bool looking; /* a query or the barrier is under way */
    bool seen;    /* the reference was reported to the loop */
    bool wait;
    uint32_t group;
    struct digest digest;
    struct version version;
    bool any_version;
    uint8_t *bytes;
    size_t size;
    store_chunk_cb *cb;
    void *ctx;
};

static struct arrival *arrival_of(struct disk_op *op) {
    struct arrival *a = (struct arrival *)((char *)op - offsetof(struct arrival, op));
    CHECK(a->magic == ARRIVAL_MAGIC);
    return a;
}

static void arrival_free(struct arrival *a) {
    struct files *f = a->files;
    TAILQ_REMOVE(&f->arrivals, a, link);
    f->waiting_bytes -= a->size;
    f->writing_bytes -= a->state == ARRIVAL_WRITING ? a->size : 0;
    timer_stop(f->params.timers, &a->timer);
    free(a->bytes);
    a->magic = 0;
    free(a);
}

static void arrival_finish(struct arrival *a, int status) {
    store_chunk_cb *cb = a->cb;
    void *ctx = a->ctx;
    bool stopped = a->files->stopped;
    arrival_free(a);
    if (!stopped) {
        cb(ctx, status);
    }
}

static int write_run(struct txn *t, struct disk_op *op) {
    struct arrival *a = (struct arrival *)((char *)op - offsetof(struct arrival, op));
    return chunk_put(t, &a->digest, a->bytes, a->size);
}

static void arrival_write(struct arrival *a);

static void write_done(struct disk_op *op, int status) {
    struct arrival *a = arrival_of(op), *next;
    struct files *f = a->files;
    CHECK(status == 0);
    arrival_finish(a, 0);
    for (a = TAILQ_FIRST(&f->arrivals); a && !f->stopped; a = next) {
        next = TAILQ_NEXT(a, link);
        if (a->state == ARRIVAL_CROWDED) {
            arrival_write(a);
        }
    }
}

bool store_chunk_room(const struct files *f, uint64_t size) {
    return disk_has_room(f->params.disk, DISK_CHUNKS, size);
}

/* What is queued does not show in the sizes that the disk knows, and a write that then fails is fatal. What would fit
 * without it waits for it: it may turn out to take the place of something that was removed. */
static void arrival_write(struct arrival *a) {
    struct files *f = a->files;
    CHECK(a->state != ARRIVAL_WRITING);
    if (!store_chunk_room(f, f->writing_bytes + a->size)) {
        a->state = ARRIVAL_CROWDED;
        if (f->writing_bytes == 0 || !store_chunk_room(f, a->size)) {
            arrival_finish(a, ERR_NO_SPACE);
        }
        return;
    }
    a->state = ARRIVAL_WRITING;
    f->writing_bytes += a->size;
    timer_stop(f->params.timers, &a->timer);
    sweep_spare(f, &a->digest);
    a->op = (struct disk_op){.run = write_run, .done = write_done};
    disk_write(f->params.disk, DISK_CHUNKS, &a->op);
}

static int barrier_run(struct txn *t, struct disk_op *op) {
    (void)t;
    (void)op;
    return 0;
}

static void barrier_done(struct disk_op *op, int status) {
    struct arrival *a = arrival_of(op);
    a->looking = false;
    if (a->files->stopped) {
        arrival_free(a);
    } else if (status) {
        arrival_finish(a, status);
    } else {
        arrival_write(a);
    }
}

static void looked(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct arrival *a = ctx;
    (void)config;
    CHECK(a->magic == ARRIVAL_MAGIC);
    a->looking = false;
    if (a->seen) {
        arrival_write(a);
        return;
    }
    int rc = status ? status : machine_status_answer(result, size);
    if (rc == 0) {
        a->state = ARRIVAL_BARRIER;
        a->looking = true;
        a->op = (struct disk_op){.run = barrier_run, .done = barrier_done};
        disk_read_latest(a->files->params.disk, DISK_META, &a->op);
    } else if (rc == ERR_NOT_FOUND && a->wait) {
        a->state = ARRIVAL_WAITING;
    } else {
        arrival_finish(a, rc);
    }
}

static void arrival_fire(struct timer *t) {
    struct arrival *a = (struct arrival *)((char *)t - offsetof(struct arrival, timer));
    CHECK(a->magic == ARRIVAL_MAGIC);
    if (a->looking) {
        timer_start(a->files->params.timers, &a->timer, clock_now_ms(a->files->params.clock) + FILES_WATCH_MS);
    } else {
        arrival_finish(a, ERR_TIMEOUT);
    }
}

static void look(struct arrival *a) {
    struct query q = {.kind = a->any_version ? QUERY_USED : QUERY_REF, .digest = a->digest, .version = a->version};
    struct buf b;
    buf_init(&b, PEER_BODY_MAX);
    query_encode(&q, &b);
    a->looking = true;
    groups_query_local(a->files->params.groups, a->group, &b, looked, a);
    buf_release(&b);
}

void store_chunk(struct files *f, uint32_t group, const struct digest *digest, const struct version *version,
                 uint8_t *bytes, size_t size, bool wait, store_chunk_cb *cb, void *ctx) {
    struct arrival *a = calloc(1, sizeof(*a));
    CHECK(a && size <= CHUNK_STORED_MAX);
    a->magic = ARRIVAL_MAGIC;
    a->files = f;
    a->group = group;
    a->digest = *digest;
    a->any_version = version == NULL;
    if (version) {
        a->version = *version;
    }
    a->bytes = bytes;
    a->size = size;
    a->wait = wait;
    a->cb = cb;
    a->ctx = ctx;
    a->timer.fire = arrival_fire;
    f->waiting_bytes += size;
    TAILQ_INSERT_TAIL(&f->arrivals, a, link);
    timer_start(f->params.timers, &a->timer, clock_now_ms(f->params.clock) + FILES_ARRIVAL_MS);
    look(a);
}

/* A reference was applied: bytes that wait for it may be written. */
void store_chunk_effect(struct files *f, const struct machine_effect *e) {
    struct arrival *a, *next;
    for (a = TAILQ_FIRST(&f->arrivals); a; a = next) {
        next = TAILQ_NEXT(a, link);
        if (a->state < ARRIVAL_CROWDED && digest_equal(&a->digest, &e->digest) &&
            (a->any_version || memcmp(&a->version, &e->version, sizeof(a->version)) == 0)) {
            a->seen = true;
            if (!a->looking) {
                arrival_write(a);
            }
        }
    }
}

/* ---- deleting --------------------------------------------------------------------------------------------------- */

struct drop_op {
    struct disk_op op;
    struct digest digest;
};

static int drop_run(struct txn *t, struct disk_op *op) {
    struct drop_op *d = (struct drop_op *)op;
    int rc = chunk_del(t, &d->digest);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static void drop_done(struct disk_op *op, int status) {
    CHECK(status == 0);
    free(op);
}

void store_chunk_drop(struct files *f, const struct digest *digest) {
    struct drop_op *d = calloc(1, sizeof(*d));
    CHECK(d);
    d->op.run = drop_run;
    d->op.done = drop_done;
    d->digest = *digest;
    disk_write(f->params.disk, DISK_CHUNKS, &d->op);
}

void store_chunk_release(struct files *f) {
    while (!TAILQ_EMPTY(&f->arrivals)) {
        arrival_free(TAILQ_FIRST(&f->arrivals));
    }
}
