/* The disk port: per environment a writer that takes everything queued whenever it is idle, and a pool for reads and
 * work, over in-memory stores that outlive crashes.
 *
 *            lazy ones at the head of the queue                 the hold is over, or a plain write is queued
 *   IDLE ────────────────────────────────────────▶ RUNNING ──▶ IDLE ─────────────────────────────────────▶ COMMITTING
 *    ▲                                                          with an open transaction                       │
 *    └─────────────────────────────────────────────────────────────────────────────────────────────────────────┘
 *
 * A batch with plain writes is run and committed at the moment its commit completes. Nobody can tell that from running
 * it earlier: the effects of an uncommitted transaction are seen by no reader, and the results of `run` by no one
 * before `done`. Lazy operations are run early, because their results are seen early. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "internal.h"
#include "store.h"

#define SIM_POOL 4 /* as libuv's */
#define SIM_COMMIT_US 150
#define SIM_COMMIT_JITTER_US 350
#define SIM_KEPT_MILLIONTHS 250000
#define SIM_RUN_US 10
#define SIM_RUN_JITTER_US 25
#define SIM_RUN_OPS 64                    /* lazy ones run in one go */
#define SIM_TXN_BYTES ((uint64_t)8 << 20) /* held before it is committed, however short the wait was */
#define SIM_READ_US 10
#define SIM_READ_JITTER_US 60
#define SIM_WORK_US 5
#define SIM_WORK_JITTER_US 100
#define SIM_OPS_MAX 1000000           /* queued at once: more means that nobody bounds them */
#define SIM_RESERVE_BYTES (16u << 20) /* of the capacity, for all but chunks */

enum op_kind { OP_WRITE, OP_LAZY, OP_LAZY_RAN, OP_LATEST, OP_JOB };

struct op_queue {
    struct disk_op *first, *last;
    size_t count;
    bool by_ran; /* linked by next_ran instead of next */
};

enum writer_state { WRITER_IDLE, WRITER_RUNNING, WRITER_COMMITTING };

struct writer {
    struct disk *disk;
    enum disk_env env;
    enum writer_state state;
    struct op_queue queue;   /* not yet begun */
    struct op_queue batch;   /* being run, or run and committed */
    struct txn *txn;         /* open: holds what ran lazily; or NULL */
    struct op_queue waiting; /* for its commit */
    bool due;                /* the hold is over */
    struct event step;       /* the end of what the state says */
    struct event hold;
};

enum job_kind { JOB_READ, JOB_WORK, JOB_VIEW };

struct job {
    STAILQ_ENTRY(job) next;
    struct disk_op *op;
    enum job_kind kind;
    enum disk_env env;
    struct disk_view *view;
};
STAILQ_HEAD(job_queue, job);

struct worker {
    struct disk *disk;
    struct job *job; /* NULL: idle */
    struct event finish;
};

struct disk_view {
    LIST_ENTRY(disk_view) next;
    struct disk *disk;
    struct txn *txn;
    size_t pending; /* reads */
};

struct disk {
    struct sim_host *host;
    struct writer writers[DISK_ENVS];
    struct worker workers[SIM_POOL];
    struct job_queue jobs; /* not yet taken by a worker */
    size_t job_count;
    struct job_queue spare;
    LIST_HEAD(, disk_view) views;
    size_t view_count;
    struct op_queue abandoned; /* of a dead disk: what was under way, and what is asked for since */
    uint64_t used_bytes;
    void (*failed)(void *ctx, int status);
    void *failed_ctx;
    bool dead;   /* crashed */
    bool broken; /* a commit failed */
};

/* ---- stores ------------------------------------------------------------------------------------------------------ */

int sim_stores_open(struct sim_host *h) {
    for (int env = 0; env < DISK_ENVS; env++) {
        CHECK(h->stores[env] == NULL);
        int status = store_open_mem(&h->stores[env]);
        if (status != 0) {
            return status;
        }
    }
    return 0;
}

void sim_stores_close(struct sim_host *h) {
    CHECK(!h->up);
    for (int env = 0; env < DISK_ENVS; env++) {
        store_close(h->stores[env]);
        h->stores[env] = NULL;
    }
}

static void refresh_used(struct disk *d) {
    d->used_bytes = 0;
    for (int env = 0; env < DISK_ENVS; env++) {
        d->used_bytes += store_used_bytes(d->host->stores[env]);
    }
}

/* ---- queues of operations ---------------------------------------------------------------------------------------- */

static struct disk_op **ops_link(const struct op_queue *q, struct disk_op *op) {
    return q->by_ran ? &op->next_ran : &op->next;
}

static void ops_push(struct op_queue *q, struct disk_op *op) {
    CHECK(q->count < SIM_OPS_MAX);
    *ops_link(q, op) = NULL;
    if (q->first != NULL) {
        *ops_link(q, q->last) = op;
    } else {
        q->first = op;
    }
    q->last = op;
    q->count++;
}

static struct disk_op *ops_pop(struct op_queue *q) {
    struct disk_op *op = q->first;
    if (op != NULL) {
        q->first = *ops_link(q, op);
        q->count--;
    }
    return op;
}

/* When something begun at this moment completes: a slow disk takes its time. */
static uint64_t completion(struct disk *d, enum disk_env env, uint64_t least_us, uint64_t jitter_us) {
    struct sim_host *h = d->host;
    uint64_t latency = least_us + prng_exponential(prng_at(&h->disk_prng, h->sim->now_us), jitter_us);
    return h->sim->now_us + latency * h->slow_factor[env];
}

/* True when that environment hangs; the event then comes again at the end of that. */
static bool hangs(struct disk *d, enum disk_env env, struct event *e) {
    struct sim_host *h = d->host;
    if (h->hung_until_us[env] <= h->sim->now_us) {
        return false;
    }
    events_add(&h->sim->events, e, h->hung_until_us[env]);
    return true;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* What can be told before the next commit goes ahead alone: what is at the head of the queue and not a plain write. */
static void writer_take(struct writer *w) {
    size_t count = 0;
    CHECK(w->batch.first == NULL && w->queue.first != NULL);
    while (w->queue.first != NULL && w->queue.first->kind != OP_WRITE && count++ < SIM_RUN_OPS) {
        ops_push(&w->batch, ops_pop(&w->queue));
    }
    if (count > 0) {
        w->state = WRITER_RUNNING;
        return;
    }
    w->state = WRITER_COMMITTING;
    while (w->queue.first != NULL) {
        ops_push(&w->batch, ops_pop(&w->queue));
    }
}

static void writer_begin(struct writer *w) {
    if (w->state != WRITER_IDLE || w->disk->dead || w->disk->broken) {
        return;
    }
    if (w->due) {
        w->state = WRITER_COMMITTING; /* without company */
    } else if (w->queue.first != NULL) {
        writer_take(w);
    } else {
        return;
    }
    uint64_t at = w->state == WRITER_RUNNING ? completion(w->disk, w->env, SIM_RUN_US, SIM_RUN_JITTER_US)
                                             : completion(w->disk, w->env, SIM_COMMIT_US, SIM_COMMIT_JITTER_US);
    events_add(&w->disk->host->sim->events, &w->step, at);
}

static int writer_run_latest(struct writer *w, struct disk_op *op) {
    struct txn *txn;
    if (w->txn != NULL) {
        return op->run(w->txn, op);
    }
    int status = store_begin(w->disk->host->stores[w->env], false, &txn);
    if (status == 0) {
        status = op->run(txn, op);
        store_abort(txn);
    }
    return status;
}

static int writer_run(struct writer *w, struct disk_op *op) {
    if (op->kind == OP_LATEST) {
        op->status = writer_run_latest(w, op);
        return 0;
    }
    op->status = w->txn != NULL ? 0 : store_begin(w->disk->host->stores[w->env], true, &w->txn);
    if (op->status == 0) {
        op->status = op->run(w->txn, op);
    }
    return op->status;
}

static void writer_abort(struct writer *w) {
    if (w->txn != NULL) {
        store_abort(w->txn);
        w->txn = NULL;
    }
}

/* Runs the batch in the transaction; an error leaves the batch and no transaction. */
static int writer_run_batch(struct writer *w) {
    int status = 0;
    for (struct disk_op *op = w->batch.first; op != NULL && status == 0; op = op->next) {
        status = writer_run(w, op);
    }
    if (status != 0) {
        writer_abort(w);
    }
    return status;
}

static int writer_commit(struct writer *w) {
    struct sim_host *h = w->disk->host;
    int status = writer_run_batch(w);
    if (status != 0) {
        return status;
    }
    CHECK(w->txn != NULL);
    if (h->fail_commit[w->env]) {
        h->fail_commit[w->env] = false;
        writer_abort(w);
        return ERR_IO;
    }
    struct txn *txn = w->txn;
    w->txn = NULL;
    return store_commit(txn);
}

static void disk_break(struct disk *d, int status) {
    CHECK(status != 0);
    d->broken = true;
    sim_happened(d->host->sim, SIM_DISK_FAILED, d->host->number, (uint64_t)(int64_t)status, NULL, 0);
    if (d->failed != NULL) {
        d->failed(d->failed_ctx, status);
    }
}

/* The first of the lazy ones decides when all are committed. */
static void writer_hold(struct writer *w) {
    struct sim_host *h = w->disk->host;
    if (w->waiting.count == 0 || w->due) {
        return;
    }
    if (w->waiting.count >= DISK_LAZY_OPS || store_txn_bytes(w->txn) >= SIM_TXN_BYTES) {
        events_cancel(&h->sim->events, &w->hold);
        w->due = true;
    } else if (w->hold.slot == 0) {
        events_add(&h->sim->events, &w->hold,
                   h->sim->now_us + prng_range(prng_at(&h->disk_prng, h->sim->now_us), 0, DISK_LAZY_MS * SIM_MS));
    }
}

static void writer_committed(struct writer *w, struct op_queue *ret_finished) {
    CHECK(w->txn == NULL);
    refresh_used(w->disk);
    events_cancel(&w->disk->host->sim->events, &w->hold);
    w->due = false;
    *ret_finished = w->waiting;
    w->waiting = (struct op_queue){0};
}

static void hold_fire(struct event *e) {
    struct writer *w = CONTAINER(e, struct writer, hold);
    w->due = true;
    writer_begin(w);
}

/* Calls what the end of a batch is told by: `ran` of lazy ones, `done` of the others. */
static void tell(struct op_queue *told) {
    struct disk_op *op;
    while ((op = ops_pop(told)) != NULL) {
        if (op->kind == OP_LAZY) {
            op->kind = OP_LAZY_RAN;
            op->ran(op);
        } else {
            op->done(op, op->status);
        }
    }
}

static void writer_fire(struct event *e) {
    struct writer *w = CONTAINER(e, struct writer, step);
    struct disk *d = w->disk;
    struct op_queue told = {.by_ran = true};
    struct op_queue finished = {0};
    struct disk_op *op;
    CHECK(w->state != WRITER_IDLE);
    if (hangs(d, w->env, e) || d->broken) {
        return;
    }
    bool commits = w->state == WRITER_COMMITTING;
    int status = commits ? writer_commit(w) : writer_run_batch(w);
    if (status != 0) {
        disk_break(d, status);
        return;
    }
    sim_happened(d->host->sim, commits ? SIM_WRITTEN : SIM_RAN, d->host->number,
                 (uint64_t)w->env << 32 | w->batch.count, NULL, 0);
    while ((op = ops_pop(&w->batch)) != NULL) {
        ops_push(&told, op);
        if (op->kind == OP_LAZY) {
            ops_push(&w->waiting, op);
        }
    }
    if (commits) {
        writer_committed(w, &finished);
    }
    w->state = WRITER_IDLE;
    writer_hold(w);
    writer_begin(w);
    tell(&told);
    while ((op = ops_pop(&finished)) != NULL) {
        op->done(op, 0);
    }
}

static void submit(struct disk *d, enum disk_env env, enum op_kind kind, struct disk_op *op) {
    CHECK(env < DISK_ENVS);
    CHECK(op->run != NULL && op->done != NULL);
    op->disk = d;
    op->kind = kind;
    op->status = kind == OP_LATEST ? ERR_ABORTED : 0; /* if it is abandoned: a write has no other */
    if (d->dead) {
        ops_push(&d->abandoned, op);
        return;
    }
    ops_push(&d->writers[env].queue, op);
    writer_begin(&d->writers[env]);
}

void disk_write(struct disk *d, enum disk_env env, struct disk_op *op) {
    submit(d, env, OP_WRITE, op);
}

void disk_write_lazy(struct disk *d, enum disk_env env, struct disk_op *op) {
    CHECK(op->ran != NULL);
    submit(d, env, OP_LAZY, op);
}

void disk_read_latest(struct disk *d, enum disk_env env, struct disk_op *op) {
    submit(d, env, OP_LATEST, op);
}

/* ---- reading and working ----------------------------------------------------------------------------------------- */

static bool job_ready(const struct disk *d, const struct job *j) {
    if (j->kind != JOB_VIEW) {
        return true;
    }
    for (int i = 0; i < SIM_POOL; i++) {
        if (d->workers[i].job != NULL && d->workers[i].job->view == j->view) {
            return false;
        }
    }
    return true;
}

static void worker_begin(struct worker *w) {
    struct disk *d = w->disk;
    struct job *j;
    STAILQ_FOREACH(j, &d->jobs, next) {
        if (job_ready(d, j)) {
            break;
        }
    }
    if (j == NULL || d->dead || d->broken) {
        return;
    }
    STAILQ_REMOVE(&d->jobs, j, job, next);
    d->job_count--;
    w->job = j;
    uint64_t at = j->kind == JOB_WORK ? completion(d, j->env, SIM_WORK_US, SIM_WORK_JITTER_US)
                                      : completion(d, j->env, SIM_READ_US, SIM_READ_JITTER_US);
    events_add(&d->host->sim->events, &w->finish, at);
}

static void pool_begin(struct disk *d) {
    for (int i = 0; i < SIM_POOL && !STAILQ_EMPTY(&d->jobs); i++) {
        if (d->workers[i].job == NULL) {
            worker_begin(&d->workers[i]);
        }
    }
}

static int job_run(struct disk *d, const struct job *j) {
    if (j->kind == JOB_WORK) {
        return j->op->run(NULL, j->op);
    }
    if (j->kind == JOB_VIEW) {
        CHECK(j->view->pending > 0);
        j->view->pending--;
        return j->op->run(j->view->txn, j->op);
    }
    struct txn *txn;
    int status = store_begin(d->host->stores[j->env], false, &txn);
    if (status == 0) {
        uint32_t part = j->env == DISK_CHUNKS ? d->host->misread_millionths : 0;
        bool misread = part > 0 && prng_chance(&d->host->damage_prng, part);
        status = misread ? sim_misread(d->host, txn, j->op) : j->op->run(txn, j->op);
        store_abort(txn);
    }
    return status;
}

static void worker_fire(struct event *e) {
    struct worker *w = CONTAINER(e, struct worker, finish);
    struct disk *d = w->disk;
    struct job *j = w->job;
    CHECK(j != NULL);
    if ((j->kind != JOB_WORK && hangs(d, j->env, e)) || d->broken) {
        return;
    }
    struct disk_op *op = j->op;
    op->status = job_run(d, j);
    sim_happened(d->host->sim, SIM_COMPLETED, d->host->number, (uint64_t)(int64_t)op->status, NULL, 0);
    w->job = NULL;
    STAILQ_INSERT_HEAD(&d->spare, j, next);
    pool_begin(d);
    op->done(op, op->status);
}

static void job_add(struct disk *d, enum job_kind kind, enum disk_env env, struct disk_view *view, struct disk_op *op) {
    CHECK(op->run != NULL && op->done != NULL);
    CHECK(d->job_count < SIM_OPS_MAX);
    op->disk = d;
    op->kind = OP_JOB;
    op->status = ERR_ABORTED;
    if (d->dead) {
        ops_push(&d->abandoned, op);
        return;
    }
    struct job *j = STAILQ_FIRST(&d->spare);
    if (j != NULL) {
        STAILQ_REMOVE_HEAD(&d->spare, next);
    } else {
        j = malloc(sizeof(*j));
        CHECK(j != NULL);
    }
    *j = (struct job){.op = op, .kind = kind, .env = env, .view = view};
    STAILQ_INSERT_TAIL(&d->jobs, j, next);
    d->job_count++;
    pool_begin(d);
}

void disk_read(struct disk *d, enum disk_env env, struct disk_op *op) {
    CHECK(env < DISK_ENVS);
    job_add(d, JOB_READ, env, NULL, op);
}

void disk_work(struct disk *d, struct disk_op *op) {
    job_add(d, JOB_WORK, DISK_META, NULL, op);
}

struct disk_view *disk_view_open(struct disk *d, enum disk_env env) {
    CHECK(env < DISK_ENVS);
    if (d->dead || d->view_count == DISK_VIEWS_MAX) {
        return NULL;
    }
    struct disk_view *v = calloc(1, sizeof(*v));
    CHECK(v != NULL);
    if (store_begin(d->host->stores[env], false, &v->txn) != 0) {
        free(v);
        return NULL;
    }
    v->disk = d;
    LIST_INSERT_HEAD(&d->views, v, next);
    d->view_count++;
    return v;
}

void disk_view_read(struct disk_view *v, struct disk_op *op) {
    v->pending++;
    job_add(v->disk, JOB_VIEW, DISK_META, v, op);
}

static void view_free(struct disk_view *v) {
    CHECK(v->disk->view_count > 0);
    v->disk->view_count--;
    LIST_REMOVE(v, next);
    store_abort(v->txn);
    free(v);
}

void disk_view_close(struct disk_view *v) {
    CHECK(v->pending == 0 || v->disk->dead);
    view_free(v);
}

/* ---- room -------------------------------------------------------------------------------------------------------- */

uint64_t disk_used_bytes(const struct disk *d) {
    return d->used_bytes;
}

int disk_has_room(const struct disk *d, enum disk_env env, uint64_t size) {
    CHECK(env < DISK_ENVS);
    uint64_t capacity = d->host->sim->options.capacity_bytes;
    uint64_t reserve = env == DISK_CHUNKS ? SIM_RESERVE_BYTES : 0;
    if (env == DISK_LOG) {
        return 1;
    }
    if (d->host->full && env == DISK_CHUNKS) {
        return 0;
    }
    return d->used_bytes + reserve <= capacity && size <= capacity - d->used_bytes - reserve;
}

void disk_on_failed(struct disk *d, void (*failed)(void *ctx, int status), void *ctx) {
    d->failed = failed;
    d->failed_ctx = ctx;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

struct disk *sim_disk_new(struct sim_host *h) {
    struct disk *d = calloc(1, sizeof(*d));
    CHECK(d != NULL);
    d->host = h;
    memset(h->fail_commit, 0, sizeof(h->fail_commit));
    STAILQ_INIT(&d->jobs);
    STAILQ_INIT(&d->spare);
    LIST_INIT(&d->views);
    for (int env = 0; env < DISK_ENVS; env++) {
        struct writer *w = &d->writers[env];
        w->disk = d;
        w->env = (enum disk_env)env;
        sim_event_init(&w->step, writer_fire, h->number);
        sim_event_init(&w->hold, hold_fire, h->number);
    }
    for (int i = 0; i < SIM_POOL; i++) {
        d->workers[i].disk = d;
        sim_event_init(&d->workers[i].finish, worker_fire, h->number);
    }
    refresh_used(d);
    return d;
}

/* What was being committed is kept whole or lost whole: the end may come before or after the page that commits it. */
static void writer_kill(struct writer *w) {
    struct sim_host *h = w->disk->host;
    /* Most of a commit's time lies before that page is on the disk. */
    bool kept = prng_chance(prng_at(&h->crash_prng, h->sim->now_us), SIM_KEPT_MILLIONTHS);
    if (w->state == WRITER_COMMITTING && kept && !w->disk->broken) {
        int status = writer_commit(w);
        sim_happened(h->sim, SIM_WRITTEN, h->number, (uint64_t)(int64_t)status, NULL, 0);
    }
    writer_abort(w);
    events_cancel(&h->sim->events, &w->step);
    events_cancel(&h->sim->events, &w->hold);
    struct disk_op *op;
    while ((op = ops_pop(&w->waiting)) != NULL || (op = ops_pop(&w->batch)) != NULL ||
           (op = ops_pop(&w->queue)) != NULL) {
        op->status = op->kind == OP_LATEST ? ERR_ABORTED : 0;
        ops_push(&w->disk->abandoned, op);
    }
}

static void job_abandon(struct disk *d, struct job *j) {
    if (j != NULL) {
        j->op->status = ERR_ABORTED;
        ops_push(&d->abandoned, j->op);
        free(j);
    }
}

static void jobs_free(struct disk *d) {
    struct job *j;
    while ((j = STAILQ_FIRST(&d->jobs)) != NULL) {
        STAILQ_REMOVE_HEAD(&d->jobs, next);
        job_abandon(d, j);
    }
    while ((j = STAILQ_FIRST(&d->spare)) != NULL) {
        STAILQ_REMOVE_HEAD(&d->spare, next);
        free(j);
    }
}

void sim_disk_kill(struct disk *d) {
    CHECK(!d->dead);
    d->dead = true;
    for (int env = 0; env < DISK_ENVS; env++) {
        writer_kill(&d->writers[env]);
    }
    for (int i = 0; i < SIM_POOL; i++) {
        events_cancel(&d->host->sim->events, &d->workers[i].finish);
        job_abandon(d, d->workers[i].job);
        d->workers[i].job = NULL;
    }
    jobs_free(d);
}

void sim_host_abandon_ops(struct sim_host *h) {
    struct disk *d = h->disk;
    CHECK(d != NULL && d->dead);
    struct disk_op *op;
    for (size_t i = 0; (op = ops_pop(&d->abandoned)) != NULL; i++) {
        CHECK(i < SIM_OPS_MAX);
        if (op->kind == OP_LAZY) {
            op->ran(op);
        }
        op->done(op, op->status);
    }
}

void sim_disk_free(struct disk *d) {
    CHECK(d->dead);
    while (!LIST_EMPTY(&d->views)) {
        view_free(LIST_FIRST(&d->views));
    }
    free(d);
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

void sim_disk_slow(struct sim_host *h, enum disk_env env, uint32_t factor) {
    CHECK(env < DISK_ENVS && factor >= 1);
    sim_happened(h->sim, SIM_FAULT, h->number, (uint64_t)env << 32 | factor, "slow", 4);
    h->slow_factor[env] = factor;
}

void sim_disk_hang(struct sim_host *h, uint64_t until_us) {
    CHECK(until_us < SIM_FOREVER);
    sim_happened(h->sim, SIM_FAULT, h->number, until_us, "hang", 4);
    for (int env = 0; env < DISK_ENVS; env++) {
        h->hung_until_us[env] = until_us;
    }
}

void sim_disk_hang_one(struct sim_host *h, enum disk_env env, uint64_t until_us) {
    CHECK(env < DISK_ENVS && until_us < SIM_FOREVER);
    sim_happened(h->sim, SIM_FAULT, h->number, until_us, "hang one", 8);
    h->hung_until_us[env] = until_us;
}

void sim_disk_full(struct sim_host *h, bool full) {
    sim_happened(h->sim, SIM_FAULT, h->number, full, "full", 4);
    h->full = full;
}

void sim_disk_fail_commit(struct sim_host *h, enum disk_env env) {
    CHECK(env < DISK_ENVS);
    sim_happened(h->sim, SIM_FAULT, h->number, env, "fail", 4);
    h->fail_commit[env] = true;
}

void sim_disk_repair(struct sim_host *h) {
    sim_happened(h->sim, SIM_FAULT, h->number, 0, "repair", 6);
    for (int env = 0; env < DISK_ENVS; env++) {
        h->slow_factor[env] = 1;
        h->fail_commit[env] = false;
        h->hung_until_us[env] = 0;
    }
    h->full = false;
    h->misread_millionths = 0;
}

void sim_disk_wipe(struct sim_host *h) {
    CHECK(!h->up);
    sim_happened(h->sim, SIM_FAULT, h->number, 0, "wipe", 4);
    sim_stores_close(h);
    CHECK(sim_stores_open(h) == 0);
}
