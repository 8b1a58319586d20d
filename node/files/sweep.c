/* Chunks that nobody references are deleted: bytes of a put that failed, of a group that moved away, of a removal whose
 * delete was lost with a crash.
 *
 *   IDLE ──time──▶ SCANNING ──a page of digests──▶ ASKING ──unreferenced and still doomed──▶ deleted
 *    ▲                 ▲  └─none left─┐               │
 *    │                 └──── pause ───┼───────────────┘
 *    └────────────────────────────────┘
 *
 * The digests of a page are doomed before the references are read, and whoever learns of a reference or queues a write
 * from then on spares its digest. So a deletion is queued only when neither the tables, read after the dooming, nor
 * anything reported since knows of the chunk; whatever comes later is queued behind it or finds the chunk missing. */
#include <stdlib.h>

#include "internal.h"

#define SWEEP_MAGIC 0x53574550u
#define SWEEP_PAGE 64
#define SWEEP_PAUSE_MS 20  /* between pages */
#define SWEEP_SOON_MS 1000 /* after the first request: several groups are often removed together */

enum sweep_state { SWEEP_IDLE, SWEEP_SCANNING, SWEEP_ASKING, SWEEP_PAUSE };

struct doomed {
    struct digest digest;
    struct machine_arc arc;
    bool spared;
    bool asked; /* a replica of its group is here, so its tables decide */
    bool used;
};

struct sweep {
    uint32_t magic;
    struct files *files;
    struct timer timer;
    struct disk_op op;
    enum sweep_state state;
    bool started;
    bool again;         /* asked for during a sweep */
    bool begun;         /* `last` is set */
    struct digest last; /* scanned so far */
    struct doomed page[SWEEP_PAGE];
    uint32_t count;
};

static struct sweep *sweep_of(struct disk_op *op) {
    struct sweep *s = (struct sweep *)((char *)op - offsetof(struct sweep, op));
    CHECK(s->magic == SWEEP_MAGIC);
    return s;
}

static void sweep_after(struct sweep *s, uint64_t pause_ms) {
    struct files *f = s->files;
    CHECK(s->state == SWEEP_IDLE || s->state == SWEEP_PAUSE);
    timer_start(f->params.timers, &s->timer, clock_now_ms(f->params.clock) + pause_ms);
}

static void page_over(struct sweep *s, bool more) {
    if (more) {
        s->state = SWEEP_PAUSE;
        sweep_after(s, SWEEP_PAUSE_MS);
    } else {
        s->state = SWEEP_IDLE;
        s->begun = false;
        sweep_after(s, s->again ? SWEEP_SOON_MS : s->files->params.tuning.sweep_every_ms);
        s->again = false;
    }
    s->count = 0;
}

/* ---- are they referenced? --------------------------------------------------------------------------------------- */

/* When it cannot be known, the chunk stays. */
static bool used(struct txn *t, const struct doomed *d) {
    struct query q = {.kind = QUERY_USED, .digest = d->digest};
    struct buf query, answer;
    buf_init(&query, PEER_BODY_MAX);
    buf_init(&answer, PEER_BODY_MAX);
    query_encode(&q, &query);
    int rc = query.error ? query.error : machine_query(t, &d->arc, query.bytes, query.size, &answer);
    rc = rc ? rc : machine_status_answer(answer.bytes, answer.size);
    buf_release(&query);
    buf_release(&answer);
    return rc != ERR_NOT_FOUND;
}

static int ask_run(struct txn *t, struct disk_op *op) {
    struct sweep *s = sweep_of(op);
    for (uint32_t i = 0; i < s->count; i++) {
        struct doomed *d = &s->page[i];
        d->used = d->asked && used(t, d);
    }
    return 0;
}

static void ask_done(struct disk_op *op, int status) {
    struct sweep *s = sweep_of(op);
    CHECK(s->state == SWEEP_ASKING);
    if (s->files->stopped) {
        return;
    }
    for (uint32_t i = 0; i < s->count && status == 0; i++) {
        if (!s->page[i].used && !s->page[i].spared) {
            store_chunk_drop(s->files, &s->page[i].digest);
        }
    }
    page_over(s, true);
}

static void ask(struct sweep *s) {
    struct groups *g = s->files->params.groups;
    CHECK(s->state == SWEEP_SCANNING && s->count > 0);
    for (uint32_t i = 0; i < s->count; i++) {
        struct doomed *d = &s->page[i];
        struct groups_info info;
        uint32_t group = files_group_of(s->files, &d->digest);
        groups_info(g, group, &info);
        d->asked = info.here;
        /* A replica that awaits its first snapshot, or has yet to apply again what a crash took back, does not know
         * what it will need. */
        d->spared = info.here && (info.applied == 0 || !info.recovered);
        if (d->asked) {
            groups_arc(g, group, &d->arc);
        }
    }
    s->state = SWEEP_ASKING;
    s->op = (struct disk_op){.run = ask_run, .done = ask_done};
    disk_read_latest(s->files->params.disk, DISK_META, &s->op);
}

/* ---- what is here? ---------------------------------------------------------------------------------------------- */

static int scan_run(struct txn *t, struct disk_op *op) {
    struct sweep *s = sweep_of(op);
    int rc = 0;
    CHECK(s->count == 0);
    while (rc == 0 && s->count < files_page_rows(s->files, SWEEP_PAGE)) {
        struct digest found;
        rc = chunk_next(t, s->begun ? &s->last : NULL, &found);
        if (rc == 0) {
            s->page[s->count++] = (struct doomed){.digest = found};
            s->last = found;
            s->begun = true;
        }
    }
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static void scan_done(struct disk_op *op, int status) {
    struct sweep *s = sweep_of(op);
    CHECK(s->state == SWEEP_SCANNING && s->count <= SWEEP_PAGE);
    if (s->files->stopped) {
        return;
    }
    if (status || s->count == 0) {
        page_over(s, false);
    } else {
        ask(s);
    }
}

static void scan(struct sweep *s) {
    s->state = SWEEP_SCANNING;
    s->count = 0;
    s->op = (struct disk_op){.run = scan_run, .done = scan_done};
    disk_read(s->files->params.disk, DISK_CHUNKS, &s->op);
}

static void sweep_fire(struct timer *t) {
    struct sweep *s = (struct sweep *)((char *)t - offsetof(struct sweep, timer));
    CHECK(s->magic == SWEEP_MAGIC);
    CHECK(s->state == SWEEP_IDLE || s->state == SWEEP_PAUSE);
    scan(s);
}

/* ---- from outside ----------------------------------------------------------------------------------------------- */

void sweep_spare(struct files *f, const struct digest *digest) {
    struct sweep *s = f->sweep;
    CHECK(s && s->magic == SWEEP_MAGIC);
    if (s->state != SWEEP_ASKING) {
        return; /* nothing is doomed */
    }
    for (uint32_t i = 0; i < s->count; i++) {
        if (digest_equal(&s->page[i].digest, digest)) {
            s->page[i].spared = true;
            return;
        }
    }
}

void sweep_soon(struct files *f) {
    struct sweep *s = f->sweep;
    CHECK(s->magic == SWEEP_MAGIC);
    if (!s->started || f->stopped) {
        return;
    }
    if (s->state != SWEEP_IDLE) {
        s->again = true;
        return;
    }
    uint64_t soon = clock_now_ms(f->params.clock) + SWEEP_SOON_MS;
    if (s->timer.slot == 0 || s->timer.at_ms > soon) {
        sweep_after(s, SWEEP_SOON_MS);
    }
}

int sweep_new(struct files *f) {
    struct sweep *s = calloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->magic = SWEEP_MAGIC;
    s->files = f;
    s->timer.fire = sweep_fire;
    f->sweep = s;
    return 0;
}

void sweep_free(struct files *f) {
    struct sweep *s = f->sweep;
    if (s) {
        timer_stop(f->params.timers, &s->timer);
        s->magic = 0;
        free(s);
        f->sweep = NULL;
    }
}

void sweep_start(struct files *f) {
    CHECK(!f->sweep->started);
    f->sweep->started = true;
    sweep_after(f->sweep, f->params.tuning.sweep_every_ms);
}

void sweep_stop(struct files *f) {
    timer_stop(f->params.timers, &f->sweep->timer);
}
