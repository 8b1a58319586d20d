/* Three kinds of thread touch an operation, each handing it on through one queue:
 *
 *   loop ──disk_write, write_lazy, read_latest──▶ writer of the environment ──┐
 *    ▲  ──disk_read, disk_work, view_read──▶ pool ─────────────────────────────┤
 *    └──────── ran, done, by uv_async ◀── told, finished ◀─────────────────────┘
 *
 * A writer keeps its transaction open while nothing but lazy operations is in it. To the loop it tells of each
 * operation once (`told`): of a lazy one as soon as it has run, of a read_latest likewise, of a plain write once it is
 * durable; and what follows a plain write is told after it. So what is told comes in the order of the calls. The `done`
 * of lazy operations follows their commit, by way of `finished`. An operation may be on both ways at once.
 *
 * What a field is protected by is said beside it; "loop" means that only the loop thread touches it. */
#include "uv_disk.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>

#include "check.h"
#include "errors.h"
#include "store.h"

#define PATH_SIZE 4096
#define REFRESH_BUSY_NS 100000000u /* between looks at the sizes while writes go on */
#define REFRESH_IDLE_NS 1000000000u
/* The map is only address space. It is larger than what may be used because pages that an open view still sees, or
 * that were freed a moment ago, cannot be used again yet, and because the sizes are looked at only now and then. */
#define MAP_SLACK_MAX ((uint64_t)512 << 20)
/* What chunks leave to the metadata, so that a full node can still commit removals; less on a small node, but as much
 * as the log may come to need. */
#define META_RESERVE ((uint64_t)256 << 20)
#define META_RESERVE_SHARE 16
#define META_RESERVE_SMALL ((uint64_t)48 << 20)
#define META_RESERVE_SMALL_SHARE 4
/* How far into the reserve a full file system may be used. Chunks take the place of those that were removed; where LMDB
 * does not find pages side by side for them it makes its file larger instead, down to the first. Names bring bytes,
 * too, and stop at the second. At the third the logs take nothing at all: what they hold has yet to be applied, and a
 * node whose disk has no byte left could not even start. */
#define RESERVE_OF_NAMES(reserve) ((reserve) / 2)
#define RESERVE_OF_REMOVALS(reserve) ((reserve) / 4)
#define RESERVE_OF_START(reserve) ((reserve) / 8)
/* With so many times more room inside LMDB's file than is wanted, what is wanted is found there, or nearly always. */
#define SPARE_AMPLE 4
/* After so many operations a writer tells the loop what has run, however many more it has at hand. */
#define TELL_OPS 64
/* What one transaction may hold in memory before it is committed, whoever waits for it. */
#define TXN_BYTES_MAX ((uint64_t)16 << 20)
#define TXN_BYTES_MAX_CHUNKS ((uint64_t)32 << 20)
#define TXN_RESERVE_SHARE 2
/* A small part of the capacity on a small node. */
#define SEGMENT_BYTES ((uint64_t)8 << 20)
#define SEGMENT_BYTES_MIN ((uint64_t)256 << 10)
#define SEGMENT_SHARE 64
#define NS_PER_MS UINT64_C(1000000)
/* The log's writer pauses between commits, the longer the more operations the last one held: a commit costs the
 * processors the same for one as for many, and so does what it sets in motion. Who comes alone need not wait: the next
 * operation of a single client takes longer to arrive. */
#define GATHER_NS_PER_OP (NS_PER_MS / 5)
#define GATHER_NS_MAX NS_PER_MS

enum op_kind { OP_WRITE, OP_LAZY, OP_LATEST, OP_POOL };

struct op_queue {
    struct disk_op *first;
    struct disk_op *last;
    bool by_ran; /* constant; linked by next_ran instead of next */
};

struct writer {
    struct disk *disk;
    enum disk_env env;
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t wake;
    struct op_queue queue; /* mutex */
    bool hurry;            /* mutex; nothing waits for company any more */
    bool stop;             /* mutex */
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t spare_bytes;
    _Atomic uint64_t commits;
    /* The writer thread alone: */
    uint64_t refreshed_ns;
    uint64_t committed_ns;
    uint64_t gather_ns;      /* how long to pause after the last commit */
    struct txn *txn;         /* open; or NULL */
    bool holds_plain;        /* the transaction */
    bool hurried;            /* hurry, as last seen */
    uint64_t due_ns;         /* when the first of `waiting` has waited long enough */
    struct op_queue run;     /* not told yet; by_ran */
    struct op_queue waiting; /* lazy ones of the transaction */
    size_t waiting_count;
};

/* Where the pool finds work. Lanes take turns, so that none waits behind a long queue of another. */
struct lane {
    struct op_queue queue; /* pool_mutex */
    bool has_store;        /* constant; without one, operations run without a transaction */
    enum disk_env env;
    struct txn *view; /* the transaction to use; NULL: begin one for each operation */
    bool busy;        /* pool_mutex; a view is read by one thread at a time */
};

struct disk_view {
    struct disk *disk;
    bool open; /* loop */
    struct lane *lane;
};

#define LANE_WORK DISK_ENVS
#define LANE_VIEWS (DISK_ENVS + 1)
#define LANES (LANE_VIEWS + DISK_VIEWS_MAX)

struct disk {
    uv_loop_t *loop;
    uv_async_t async;
    char dir[PATH_SIZE];
    uint64_t capacity;
    uint64_t meta_reserve;
    struct store *stores[DISK_ENVS];
    struct writer writers[DISK_ENVS];
    size_t writers_started;
    _Atomic uint64_t free_bytes; /* of the file system */
    uv_mutex_t free_mutex;       /* for who changes it */

    uv_thread_t pool[UV_DISK_POOL_THREADS_MAX];
    size_t pool_started;
    uv_mutex_t pool_mutex;
    uv_cond_t pool_wake;
    struct lane lanes[LANES]; /* pool_mutex */
    size_t lane_next;         /* pool_mutex */
    bool pool_stop;           /* pool_mutex */

    uv_mutex_t finished_mutex;
    struct op_queue told;     /* finished_mutex; by_ran: `ran` of lazy operations, `done` of a writer's others */
    struct op_queue finished; /* finished_mutex; after those: `done` of lazy operations, and of the pool's */
    int failure;              /* finished_mutex: the error of the transaction that ended it all */

    struct disk_view views[DISK_VIEWS_MAX]; /* loop, and all below */
    uint64_t unfinished;                    /* submitted, and not yet on its way into `done` */
    bool failed;
    bool closing;
    bool stopped;
    void (*on_failed)(void *ctx, int status);
    void *on_failed_ctx;
    void (*on_closed)(void *ctx);
    void *on_closed_ctx;
};

/* Operations of one transaction: this bounds how long the others wait for its commit. */
static size_t batch_max(enum disk_env env) {
    return env == DISK_CHUNKS ? 256 : 4096;
}

static uint64_t above(uint64_t bytes, uint64_t reserve) {
    return bytes > reserve ? bytes - reserve : 0;
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* Of the state, no more than a part of what is kept free on a small disk. */
static uint64_t txn_bytes_max(const struct writer *w) {
    return w->env == DISK_CHUNKS ? TXN_BYTES_MAX_CHUNKS
                                 : least(TXN_BYTES_MAX, w->disk->meta_reserve / TXN_RESERVE_SHARE);
}

/* ---- queues ---- */

static struct disk_op **queue_link(const struct op_queue *q, struct disk_op *op) {
    return q->by_ran ? &op->next_ran : &op->next;
}

static void queue_push(struct op_queue *q, struct disk_op *op) {
    *queue_link(q, op) = NULL;
    if (q->first) {
        *queue_link(q, q->last) = op;
    } else {
        q->first = op;
    }
    q->last = op;
}

static struct disk_op *queue_pop(struct op_queue *q) {
    struct disk_op *op = q->first;
    if (op) {
        q->first = *queue_link(q, op);
        *queue_link(q, op) = NULL;
    }
    return op;
}

static void queue_append(struct op_queue *q, struct op_queue *tail) {
    CHECK(q->by_ran == tail->by_ran);
    if (!tail->first) {
        return;
    }
    if (q->first) {
        *queue_link(q, q->last) = tail->first;
    } else {
        q->first = tail->first;
    }
    q->last = tail->last;
    tail->first = NULL;
}

/* ---- sizes ---- */

static uint64_t file_system_bytes(const char *dir, bool total) {
    struct statvfs fs;
    if (statvfs(dir, &fs) != 0) {
        return 0; /* no room, rather than all of it */
    }
    return (uint64_t)(total ? fs.f_blocks : fs.f_bavail) * fs.f_frsize;
}

/* Under a lock, so that no older look replaces a newer one. */
static void refresh_free(struct disk *d) {
    uv_mutex_lock(&d->free_mutex);
    atomic_store(&d->free_bytes, file_system_bytes(d->dir, false));
    uv_mutex_unlock(&d->free_mutex);
}

static void refresh_sizes(struct writer *w) {
    struct disk *d = w->disk;
    w->refreshed_ns = uv_hrtime();
    atomic_store(&w->used_bytes, store_used_bytes(d->stores[w->env]));
    atomic_store(&w->spare_bytes, store_spare_bytes(d->stores[w->env]));
    refresh_free(d);
}

uint64_t disk_used_bytes(const struct disk *d) {
    uint64_t used = 0;
    for (size_t env = 0; env < DISK_ENVS; env++) {
        used += atomic_load(&d->writers[env].used_bytes);
    }
    return used;
}

/* Of the file system, and inside LMDB's file. */
static uint64_t disk_room(const struct disk *d, enum disk_env env, uint64_t size) {
    uint64_t reserve = d->meta_reserve;
    uint64_t spare = atomic_load(&d->writers[env].spare_bytes);
    uint64_t free_bytes = atomic_load(&d->free_bytes);
    if (env == DISK_LOG) {
        return above(free_bytes, RESERVE_OF_START(reserve));
    }
    if (size <= spare / SPARE_AMPLE && free_bytes > RESERVE_OF_START(reserve)) {
        return spare;
    }
    return env == DISK_CHUNKS ? least(above(free_bytes, reserve) + spare, above(free_bytes, RESERVE_OF_NAMES(reserve)))
                              : above(free_bytes, RESERVE_OF_REMOVALS(reserve));
}

int disk_has_room(const struct disk *d, enum disk_env env, uint64_t size) {
    CHECK(env < DISK_ENVS);
    CHECK(d->meta_reserve <= d->capacity);
    uint64_t room = disk_room(d, env, size);
    if (env != DISK_LOG) { /* what the user allows is passed to take something away */
        uint64_t reserve = env == DISK_CHUNKS ? d->meta_reserve : 0;
        room = least(room, above(d->capacity - reserve, disk_used_bytes(d)));
    }
    return room > 0 && size <= room;
}

/* ---- finishing: from any thread to the loop; finished_mutex is the innermost lock ---- */

static void finish_all(struct disk *d, struct op_queue *told, struct op_queue *finished) {
    if (!told->first && !finished->first) {
        return;
    }
    uv_mutex_lock(&d->finished_mutex);
    queue_append(&d->told, told);
    queue_append(&d->finished, finished);
    uv_mutex_unlock(&d->finished_mutex);
    CHECK(uv_async_send(&d->async) == 0);
}

static void fail(struct disk *d, int status) {
    CHECK(status != 0);
    uv_mutex_lock(&d->finished_mutex);
    d->failure = d->failure ? d->failure : status;
    uv_mutex_unlock(&d->finished_mutex);
    CHECK(uv_async_send(&d->async) == 0);
}

/* ---- the writers ---- */

/* How long to wait for operations; 0 when the transaction that is open should be committed first. */
static uint64_t writer_patience_ns(const struct writer *w) {
    uint64_t now_ns = uv_hrtime();
    if (!w->txn) {
        return REFRESH_IDLE_NS;
    }
    CHECK(w->waiting_count > 0);
    return w->hurry || now_ns >= w->due_ns ? 0 : w->due_ns - now_ns;
}

static void writer_gather(struct writer *w) {
    uint64_t now_ns = uv_hrtime(), until_ns = w->committed_ns + w->gather_ns;
    if (now_ns < until_ns) {
        const struct timespec left = {.tv_nsec = (long)(until_ns - now_ns)};
        CHECK(until_ns - now_ns <= GATHER_NS_MAX);
        (void)nanosleep(&left, NULL);
    }
    w->gather_ns = 0;
}

/* Waits for operations and takes what one transaction may hold; takes none when nothing came for a while. False when
 * the writer is to end. */
static bool writer_take(struct writer *w, struct op_queue *ret_ops) {
    *ret_ops = (struct op_queue){0};
    writer_gather(w);
    uv_mutex_lock(&w->mutex);
    uint64_t patience_ns = writer_patience_ns(w);
    if (!w->queue.first && !w->stop && patience_ns > 0) {
        (void)uv_cond_timedwait(&w->wake, &w->mutex, patience_ns);
    }
    size_t count = 0;
    for (; w->queue.first && count < batch_max(w->env); count++) {
        queue_push(ret_ops, queue_pop(&w->queue));
    }
    if (w->env == DISK_LOG && count > 0) {
        w->gather_ns = count < GATHER_NS_MAX / GATHER_NS_PER_OP ? count * GATHER_NS_PER_OP : GATHER_NS_MAX;
    }
    w->hurried = w->hurry;
    bool stop = w->stop;
    uv_mutex_unlock(&w->mutex);
    return !stop;
}

static int writer_commit(struct writer *w) {
    struct txn *txn = w->txn;
    CHECK(txn);
    w->txn = NULL;
    int status = store_commit(txn);
    if (status != 0) {
        /* LMDB calls a write that was cut short an input/output error. */
        return status == ERR_IO && file_system_bytes(w->disk->dir, false) == 0 ? ERR_NO_SPACE : status;
    }
    w->holds_plain = false;
    w->waiting_count = 0;
    w->committed_ns = uv_hrtime();
    atomic_fetch_add(&w->commits, 1);
    if (w->env == DISK_CHUNKS) {
        refresh_sizes(w); /* what the loop counted as on its way must show before it hears that it is there */
    } else {
        refresh_free(w->disk);
    }
    finish_all(w->disk, &w->run, &w->waiting);
    return 0;
}

static void writer_tell(struct writer *w) {
    struct op_queue none = {0};
    finish_all(w->disk, &w->run, &none);
}

static int writer_run_latest(struct writer *w, struct disk_op *op) {
    struct txn *txn;
    if (w->txn) {
        return op->run(w->txn, op);
    }
    int status = store_begin(w->disk->stores[w->env], false, &txn);
    if (status != 0) {
        return status;
    }
    status = op->run(txn, op);
    store_abort(txn);
    return status;
}

static int writer_run_write(struct writer *w, struct disk_op *op) {
    int status = w->txn ? 0 : store_begin(w->disk->stores[w->env], true, &w->txn);
    if (status != 0) {
        return status;
    }
    if (op->kind == OP_WRITE) {
        w->holds_plain = true;
        return op->run(w->txn, op);
    }
    if (w->waiting_count++ == 0) {
        w->due_ns = uv_hrtime() + DISK_LAZY_MS * NS_PER_MS;
    }
    queue_push(&w->waiting, op);
    return op->run(w->txn, op);
}

static int writer_run(struct writer *w, struct disk_op *op) {
    int status = 0;
    if (op->kind == OP_LATEST) {
        op->status = writer_run_latest(w, op);
    } else {
        if (op->kind == OP_WRITE && !w->holds_plain) {
            writer_tell(w); /* what comes before it need not wait for it */
        }
        op->status = 0;
        status = writer_run_write(w, op);
    }
    queue_push(&w->run, op);
    return status;
}

/* The transaction that is open may hold no more. */
static bool writer_full(const struct writer *w) {
    return w->txn && (w->waiting_count >= DISK_LAZY_OPS || store_txn_bytes(w->txn) >= txn_bytes_max(w));
}

static bool writer_due(const struct writer *w) {
    return w->waiting_count > 0 && (w->hurried || uv_hrtime() >= w->due_ns);
}

/* Commits if it is time to, or else tells what has run. */
static int writer_settle(struct writer *w, bool all_run) {
    if (writer_full(w) || writer_due(w) || (all_run && w->holds_plain)) {
        return writer_commit(w);
    }
    if (!w->holds_plain) {
        writer_tell(w);
    }
    return 0;
}

static int writer_run_all(struct writer *w, struct op_queue *ops) {
    struct disk_op *op;
    int status = 0;
    for (size_t count = 1; status == 0 && (op = queue_pop(ops)) != NULL; count++) {
        status = writer_run(w, op);
        if (status == 0 && (count % TELL_OPS == 0 || writer_full(w))) {
            status = writer_settle(w, false);
        }
    }
    return status ? status : writer_settle(w, true);
}

static void writer_main(void *arg) {
    struct writer *w = arg;
    struct op_queue ops;
    int status = 0;
    while (status == 0 && writer_take(w, &ops)) {
        status = writer_run_all(w, &ops);
        if (status == 0 && uv_hrtime() - w->refreshed_ns >= REFRESH_BUSY_NS) {
            refresh_sizes(w);
        }
    }
    if (w->txn) {
        store_abort(w->txn); /* after a failure, this writer's or another's */
        w->txn = NULL;
    }
    if (status != 0) {
        fail(w->disk, status);
    }
}

/* ---- the pool ---- */

static struct lane *pool_next_lane(struct disk *d) {
    for (size_t i = 0; i < LANES; i++) {
        struct lane *lane = &d->lanes[(d->lane_next + i) % LANES];
        if (lane->queue.first && !lane->busy) {
            d->lane_next = (d->lane_next + i + 1) % LANES;
            return lane;
        }
    }
    return NULL;
}

/* The next operation, and the lane it came from; NULL when the pool is to end. */
static struct disk_op *pool_take(struct disk *d, struct lane **ret_lane) {
    struct disk_op *op = NULL;
    uv_mutex_lock(&d->pool_mutex);
    struct lane *lane = pool_next_lane(d);
    while (!lane && !d->pool_stop) {
        uv_cond_wait(&d->pool_wake, &d->pool_mutex);
        lane = pool_next_lane(d);
    }
    if (!d->pool_stop) {
        op = queue_pop(&lane->queue);
        lane->busy = lane->view != NULL;
        *ret_lane = lane;
    }
    uv_mutex_unlock(&d->pool_mutex);
    return op;
}

static int pool_run(struct disk *d, const struct lane *lane, struct disk_op *op) {
    struct txn *txn;
    if (!lane->has_store || lane->view) {
        return op->run(lane->view, op);
    }
    int status = store_begin(d->stores[lane->env], false, &txn);
    if (status != 0) {
        return status;
    }
    status = op->run(txn, op);
    store_abort(txn);
    return status;
}

/* One step as seen from outside: the next read of a view must not finish before this one, and once this one is
 * finished the loop may close the view, which must be free by then. */
static void pool_finish(struct disk *d, struct lane *lane, struct disk_op *op) {
    struct op_queue none = {.by_ran = true};
    struct op_queue ops = {0};
    queue_push(&ops, op);
    uv_mutex_lock(&d->pool_mutex);
    if (lane->busy && lane->queue.first) {
        uv_cond_signal(&d->pool_wake);
    }
    lane->busy = false;
    finish_all(d, &none, &ops);
    uv_mutex_unlock(&d->pool_mutex);
}

static void pool_main(void *arg) {
    struct disk *d = arg;
    struct lane *lane;
    struct disk_op *op;
    while ((op = pool_take(d, &lane)) != NULL) {
        op->status = pool_run(d, lane, op);
        pool_finish(d, lane, op);
    }
}

static void pool_submit(struct disk *d, struct lane *lane, struct disk_op *op) {
    op->disk = d;
    op->kind = OP_POOL;
    d->unfinished++;
    uv_mutex_lock(&d->pool_mutex);
    queue_push(&lane->queue, op);
    uv_cond_signal(&d->pool_wake);
    uv_mutex_unlock(&d->pool_mutex);
}

/* ---- the port, on the loop ---- */

static void writer_submit(struct disk *d, enum disk_env env, enum op_kind kind, struct disk_op *op) {
    CHECK(env < DISK_ENVS);
    CHECK(op->run && op->done);
    CHECK(!d->stopped);
    struct writer *w = &d->writers[env];
    op->disk = d;
    op->kind = kind;
    d->unfinished++;
    uv_mutex_lock(&w->mutex);
    queue_push(&w->queue, op);
    uv_cond_signal(&w->wake);
    uv_mutex_unlock(&w->mutex);
}

void disk_write(struct disk *d, enum disk_env env, struct disk_op *op) {
    writer_submit(d, env, OP_WRITE, op);
}

void disk_write_lazy(struct disk *d, enum disk_env env, struct disk_op *op) {
    CHECK(op->ran);
    writer_submit(d, env, OP_LAZY, op);
}

void disk_read_latest(struct disk *d, enum disk_env env, struct disk_op *op) {
    writer_submit(d, env, OP_LATEST, op);
}

void disk_read(struct disk *d, enum disk_env env, struct disk_op *op) {
    CHECK(env < DISK_ENVS);
    CHECK(op->run && op->done);
    CHECK(!d->stopped);
    if (env == DISK_LOG) {
        disk_read_latest(d, env, op); /* its store is for one thread */
        return;
    }
    pool_submit(d, &d->lanes[env], op);
}

void disk_work(struct disk *d, struct disk_op *op) {
    CHECK(op->run && op->done);
    CHECK(!d->stopped);
    pool_submit(d, &d->lanes[LANE_WORK], op);
}

struct disk_view *disk_view_open(struct disk *d, enum disk_env env) {
    struct txn *txn;
    CHECK(env < DISK_ENVS && env != DISK_LOG);
    CHECK(!d->stopped);
    for (size_t i = 0; i < DISK_VIEWS_MAX; i++) {
        struct disk_view *v = &d->views[i];
        if (v->open) {
            continue;
        }
        if (store_begin(d->stores[env], false, &txn) != 0) {
            return NULL;
        }
        uv_mutex_lock(&d->pool_mutex);
        CHECK(!v->lane->view && !v->lane->busy);
        v->lane->view = txn;
        uv_mutex_unlock(&d->pool_mutex);
        v->open = true;
        return v;
    }
    return NULL;
}

void disk_view_read(struct disk_view *v, struct disk_op *op) {
    CHECK(v->open);
    CHECK(op->run && op->done);
    CHECK(!v->disk->stopped);
    pool_submit(v->disk, v->lane, op);
}

void disk_view_close(struct disk_view *v) {
    struct disk *d = v->disk;
    CHECK(v->open);
    if (d->failed) {
        return; /* a read may be under way whose end is told no more: the view ends with the disk */
    }
    uv_mutex_lock(&d->pool_mutex);
    CHECK(!v->lane->queue.first && !v->lane->busy);
    struct txn *txn = v->lane->view;
    v->lane->view = NULL;
    uv_mutex_unlock(&d->pool_mutex);
    store_abort(txn);
    v->open = false;
}

void disk_on_failed(struct disk *d, void (*failed)(void *ctx, int status), void *ctx) {
    CHECK(failed);
    CHECK(!d->failed);
    d->on_failed = failed;
    d->on_failed_ctx = ctx;
}

uint64_t uv_disk_commits(const struct disk *d, enum disk_env env) {
    CHECK(env < DISK_ENVS);
    return atomic_load(&d->writers[env].commits);
}

/* ---- closing ---- */

static void stop_threads(struct disk *d) {
    for (size_t i = 0; i < d->writers_started; i++) {
        struct writer *w = &d->writers[i];
        uv_mutex_lock(&w->mutex);
        w->stop = true;
        uv_cond_signal(&w->wake);
        uv_mutex_unlock(&w->mutex);
    }
    uv_mutex_lock(&d->pool_mutex);
    d->pool_stop = true;
    uv_cond_broadcast(&d->pool_wake);
    uv_mutex_unlock(&d->pool_mutex);
    for (size_t i = 0; i < d->writers_started; i++) {
        CHECK(uv_thread_join(&d->writers[i].thread) == 0);
    }
    for (size_t i = 0; i < d->pool_started; i++) {
        CHECK(uv_thread_join(&d->pool[i]) == 0);
    }
    d->stopped = true;
}

static void disk_free(struct disk *d) {
    for (size_t i = 0; i < DISK_VIEWS_MAX; i++) {
        if (d->views[i].open) {
            store_abort(d->views[i].lane->view);
        }
    }
    for (size_t env = 0; env < DISK_ENVS; env++) {
        store_close(d->stores[env]);
        uv_cond_destroy(&d->writers[env].wake);
        uv_mutex_destroy(&d->writers[env].mutex);
    }
    uv_cond_destroy(&d->pool_wake);
    uv_mutex_destroy(&d->pool_mutex);
    uv_mutex_destroy(&d->finished_mutex);
    uv_mutex_destroy(&d->free_mutex);
    free(d);
}

static void on_async_closed(uv_handle_t *handle) {
    struct disk *d = handle->data;
    void (*closed)(void *ctx) = d->on_closed;
    void *ctx = d->on_closed_ctx;
    CHECK(d->stopped);
    disk_free(d);
    if (closed) {
        closed(ctx);
    }
}

static void close_when_quiet(struct disk *d) {
    if (d->closing && !d->stopped && (d->unfinished == 0 || d->failed)) {
        stop_threads(d);
        uv_close((uv_handle_t *)&d->async, on_async_closed);
    }
}

void uv_disk_close(struct disk *d, void (*closed)(void *ctx), void *ctx) {
    CHECK(!d->closing);
    CHECK(closed);
    d->closing = true;
    d->on_closed = closed;
    d->on_closed_ctx = ctx;
    for (size_t env = 0; env < DISK_ENVS; env++) {
        struct writer *w = &d->writers[env];
        uv_mutex_lock(&w->mutex);
        w->hurry = true;
        uv_cond_signal(&w->wake);
        uv_mutex_unlock(&w->mutex);
    }
    /* Not here: the caller may be a `done` that goes on to queue more. */
    CHECK(uv_async_send(&d->async) == 0);
}

static void op_finish(struct disk_op *op) {
    struct disk *d = op->disk;
    CHECK(d->unfinished > 0);
    d->unfinished--;
    op->done(op, op->status);
}

/* Delivers what finished before the failure, then the failure, then nothing. */
static void on_async(uv_async_t *async) {
    struct disk *d = async->data;
    struct disk_op *op;
    uv_mutex_lock(&d->finished_mutex);
    struct op_queue told = d->told;
    struct op_queue finished = d->finished;
    int failure = d->failure;
    d->told.first = NULL;
    d->finished.first = NULL;
    uv_mutex_unlock(&d->finished_mutex);
    while (!d->failed && (op = queue_pop(&told)) != NULL) {
        if (op->kind == OP_LAZY) {
            op->ran(op);
        } else {
            op_finish(op);
        }
    }
    while (!d->failed && (op = queue_pop(&finished)) != NULL) {
        op_finish(op);
    }
    if (failure != 0 && !d->failed) {
        d->failed = true;
        if (d->on_failed) {
            d->on_failed(d->on_failed_ctx, failure);
        }
    }
    close_when_quiet(d);
}

/* ---- opening ---- */

static uint64_t map_bytes(uint64_t capacity) {
    CHECK(capacity <= UINT64_MAX / 4);
    return capacity + capacity / 4 + (capacity < MAP_SLACK_MAX ? capacity : MAP_SLACK_MAX);
}

static uint32_t segment_bytes(uint64_t capacity) {
    uint64_t share = capacity / SEGMENT_SHARE;
    uint64_t bytes = share < SEGMENT_BYTES ? share : SEGMENT_BYTES;
    return (uint32_t)(bytes > SEGMENT_BYTES_MIN ? bytes : SEGMENT_BYTES_MIN);
}

static uint64_t meta_reserve(uint64_t capacity) {
    uint64_t share = least(capacity / META_RESERVE_SHARE, META_RESERVE);
    uint64_t small = least(capacity / META_RESERVE_SMALL_SHARE, META_RESERVE_SMALL);
    return share > small ? share : small;
}

static int open_stores(struct disk *d) {
    static const char *const names[DISK_ENVS] = {[DISK_LOG] = "log", [DISK_META] = "meta", [DISK_CHUNKS] = "chunks"};
    if (d->capacity == 0) {
        return ERR_IO; /* the directory cannot be looked at */
    }
    for (size_t env = 0; env < DISK_ENVS; env++) {
        char path[PATH_SIZE];
        int length = snprintf(path, sizeof(path), "%s/%s", d->dir, names[env]);
        if (length < 0 || (size_t)length >= sizeof(path)) {
            return ERR_INVALID;
        }
        uint64_t map = map_bytes(d->capacity);
        int status = env == DISK_LOG ? store_open_log(path, map, segment_bytes(d->capacity), &d->stores[env])
                                     : store_open_lmdb(path, map, &d->stores[env]);
        if (status != 0) {
            return status;
        }
        refresh_sizes(&d->writers[env]);
    }
    return 0;
}

static int start_threads(struct disk *d, unsigned pool_threads) {
    for (; d->writers_started < DISK_ENVS; d->writers_started++) {
        struct writer *w = &d->writers[d->writers_started];
        if (uv_thread_create(&w->thread, writer_main, w) != 0) {
            return ERR_NOMEM;
        }
    }
    for (; d->pool_started < pool_threads; d->pool_started++) {
        if (uv_thread_create(&d->pool[d->pool_started], pool_main, d) != 0) {
            return ERR_NOMEM;
        }
    }
    return 0;
}

/* Mutexes and conditions cannot fail to be made on the systems this runs on, so this either works or aborts. */
static void init_shared(struct disk *d) {
    d->told.by_ran = true;
    CHECK(uv_mutex_init(&d->free_mutex) == 0);
    CHECK(uv_mutex_init(&d->finished_mutex) == 0);
    CHECK(uv_mutex_init(&d->pool_mutex) == 0);
    CHECK(uv_cond_init(&d->pool_wake) == 0);
    for (size_t env = 0; env < DISK_ENVS; env++) {
        struct writer *w = &d->writers[env];
        w->disk = d;
        w->env = (enum disk_env)env;
        w->run.by_ran = true;
        CHECK(uv_mutex_init(&w->mutex) == 0);
        CHECK(uv_cond_init(&w->wake) == 0);
        d->lanes[env].has_store = true;
        d->lanes[env].env = (enum disk_env)env;
    }
    for (size_t i = 0; i < DISK_VIEWS_MAX; i++) {
        d->views[i].disk = d;
        d->views[i].lane = &d->lanes[LANE_VIEWS + i];
        d->views[i].lane->has_store = true;
    }
}

int uv_disk_open(uv_loop_t *loop, const struct uv_disk_options *options, struct disk **ret_disk) {
    unsigned pool_threads = options->pool_threads ? options->pool_threads : UV_DISK_POOL_THREADS;
    CHECK(pool_threads <= UV_DISK_POOL_THREADS_MAX);
    struct disk *d = calloc(1, sizeof(*d));
    if (!d) {
        return ERR_NOMEM;
    }
    int length = snprintf(d->dir, sizeof(d->dir), "%s", options->dir);
    if (length < 0 || (size_t)length >= sizeof(d->dir) || uv_async_init(loop, &d->async, on_async) != 0) {
        free(d);
        return ERR_INVALID;
    }
    d->loop = loop;
    d->async.data = d;
    uint64_t whole = file_system_bytes(d->dir, true);
    d->capacity = options->capacity > 0 && options->capacity < whole ? options->capacity : whole;
    d->meta_reserve = meta_reserve(d->capacity);
    init_shared(d);
    int status = open_stores(d);
    status = status ? status : start_threads(d, pool_threads);
    if (status != 0) {
        /* The loop must run once more before the handle, and with it d, can go. */
        stop_threads(d);
        uv_close((uv_handle_t *)&d->async, on_async_closed);
        return status;
    }
    *ret_disk = d;
    return 0;
}
