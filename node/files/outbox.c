/* Removals: the chunks of versions that are no longer under any name are given up by the groups that hold them. The
 * outbox of a name's group says which; its leader, and only while it leads, drives them.
 *
 *   QUEUED ──▶ READING ──page of versions──▶ REMOVING ──all over──▶ READING, until nothing follows
 *     ▲                                                               │ something failed     └──▶ gone
 *     └─────────────────────────── PAUSED ◀───────────────────────────┘
 *
 * Of one version: a ref_del to every group of its chunks, and once all are acknowledged, outbox_done to the name's
 * group. Every step is idempotent, so a leader that starts over repeats what another began. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define REMOVALS_MAGIC 0x4f555442u
#define REMOVAL_MAGIC 0x52454d4fu
#define OUTBOX_GROUPS_MAX 8     /* under way at once */
#define OUTBOX_PAUSE_MS 2000    /* after a failure */
#define OUTBOX_TIMEOUT_MS 20000 /* for one step */

enum removals_state { REMOVALS_QUEUED, REMOVALS_READING, REMOVALS_REMOVING, REMOVALS_PAUSED };

struct removals;

/* One version. */
struct removal {
    uint32_t magic;
    TAILQ_ENTRY(removal) link;
    struct removals *removals;
    struct name name;
    struct version version;
    uint32_t waiting; /* answers */
    uint32_t next;    /* digests before this one have been sent */
    bool failed;
    bool last_step; /* outbox_done is asked for */
    uint32_t count;
    struct digest digests[]; /* in the order of the ring, so that those of one group are neighbours */
};

/* One group. */
struct removals {
    uint32_t magic;
    struct outbox *outbox;
    uint32_t group;
    UT_hash_handle hh;
    TAILQ_ENTRY(removals) link; /* while QUEUED: in line; while READING or REMOVING: active */
    struct timer timer;
    enum removals_state state;
    bool lost;   /* not led here any more: ends as soon as nothing is under way */
    bool again;  /* there is more than the pages read so far may show */
    bool failed; /* something since the first page */
    bool more;   /* pages follow */
    bool begun;  /* position and version are those of the last row read */
    uint64_t position;
    struct version version;
    TAILQ_HEAD(, removal) rows;
    uint32_t row_count;
};
TAILQ_HEAD(removals_list, removals);

struct outbox {
    struct files *files;
    struct removals *groups; /* by number */
    struct removals_list queued, active;
    uint32_t active_count;
    uint32_t ref_dels; /* unanswered */
    struct chunk_ref space[COMMAND_CHUNKS_MAX];
};

static void work(struct outbox *o);

static struct removals *find(const struct outbox *o, uint32_t group) {
    struct removals *r;
    HASH_FIND(hh, o->groups, &group, sizeof(group), r);
    return r;
}

static bool is_active(const struct removals *r) {
    return r->state == REMOVALS_READING || r->state == REMOVALS_REMOVING;
}

static void removal_free(struct removal *m) {
    struct removals *r = m->removals;
    CHECK(m->magic == REMOVAL_MAGIC && r->row_count > 0);
    TAILQ_REMOVE(&r->rows, m, link);
    r->row_count--;
    m->magic = 0;
    free(m);
}

/* Out of the list that its state puts it in. */
static void unlink_group(struct removals *r) {
    struct outbox *o = r->outbox;
    if (r->state == REMOVALS_QUEUED) {
        TAILQ_REMOVE(&o->queued, r, link);
    } else if (is_active(r)) {
        CHECK(o->active_count > 0);
        TAILQ_REMOVE(&o->active, r, link);
        o->active_count--;
    }
}

static void removals_free(struct removals *r) {
    unlink_group(r);
    HASH_DEL(r->outbox->groups, r);
    timer_stop(r->outbox->files->params.timers, &r->timer);
    while (!TAILQ_EMPTY(&r->rows)) {
        removal_free(TAILQ_FIRST(&r->rows));
    }
    r->magic = 0;
    free(r);
}

static void queue(struct removals *r) {
    r->state = REMOVALS_QUEUED;
    r->failed = false;
    r->begun = false;
    TAILQ_INSERT_TAIL(&r->outbox->queued, r, link);
}

static void removals_fire(struct timer *t) {
    struct removals *r = (struct removals *)((char *)t - offsetof(struct removals, timer));
    CHECK(r->magic == REMOVALS_MAGIC && r->state == REMOVALS_PAUSED);
    queue(r);
    work(r->outbox);
}

/* All pages have been walked through, or reading failed. */
static void walk_over(struct removals *r) {
    struct files *f = r->outbox->files;
    CHECK(is_active(r) && r->row_count == 0);
    if (r->lost || (!r->failed && !r->again)) {
        removals_free(r);
        return;
    }
    unlink_group(r);
    if (r->failed) {
        r->state = REMOVALS_PAUSED;
        timer_start(f->params.timers, &r->timer, clock_now_ms(f->params.clock) + OUTBOX_PAUSE_MS);
    } else {
        queue(r);
    }
}

/* ---- one version ------------------------------------------------------------------------------------------------ */

static void removal_over(struct removal *m) {
    struct removals *r = m->removals;
    CHECK(m->waiting == 0);
    r->failed = r->failed || m->failed;
    removal_free(m);
}

static int answered(int status, const uint8_t *result, size_t size) {
    struct command_result r;
    int rc = status ? status : command_result_decode(result, size, &r);
    return rc ? rc : r.status;
}

static void forgotten(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct removal *m = ctx;
    (void)config;
    CHECK(m->magic == REMOVAL_MAGIC && m->last_step && m->waiting == 1);
    m->waiting--;
    m->failed = answered(status, result, size) != 0;
    work(m->removals->outbox);
}

/* Every reference is gone: the outbox may forget the version. */
static void forget(struct removal *m) {
    struct removals *r = m->removals;
    struct command c = {.kind = COMMAND_OUTBOX_DONE};
    struct buf b;
    CHECK(!m->failed && m->next == m->count && m->waiting == 0);
    c.u.version.name = m->name;
    c.u.version.version = m->version;
    buf_init(&b, PEER_BODY_MAX);
    command_encode(&c, &b);
    m->last_step = true;
    m->waiting = 1;
    groups_propose(r->outbox->files->params.groups, r->group, &b, OUTBOX_TIMEOUT_MS, forgotten, m);
    buf_release(&b);
}

static void deleted(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct removal *m = ctx;
    struct outbox *o = m->removals->outbox;
    (void)config;
    CHECK(m->magic == REMOVAL_MAGIC && m->waiting > 0 && o->ref_dels > 0);
    m->waiting--;
    o->ref_dels--;
    m->failed = m->failed || answered(status, result, size) != 0;
    work(o);
}

static void send_ref_dels(struct removal *m) {
    struct outbox *o = m->removals->outbox;
    struct files *f = o->files;
    while (m->next < m->count && o->ref_dels < o->files->params.tuning.ref_dels) {
        uint32_t group = files_group_of(f, &m->digests[m->next]);
        uint32_t end = m->next + 1;
        while (end < m->count && files_group_of(f, &m->digests[end]) == group) {
            end++;
        }
        m->waiting++;
        o->ref_dels++;
        files_ref_del(f, group, &m->version, &m->digests[m->next], end - m->next, OUTBOX_TIMEOUT_MS, deleted, m);
        m->next = end;
    }
}

static void removal_work(struct removal *m) {
    if (!m->failed && !m->removals->lost && !m->last_step) {
        send_ref_dels(m);
        if (m->waiting == 0 && m->next == m->count) {
            forget(m);
        }
    }
    bool more = !m->failed && !m->removals->lost && m->next < m->count;
    if (m->waiting == 0 && !more) {
        removal_over(m);
    }
}

/* ---- one group -------------------------------------------------------------------------------------------------- */

static int by_digest(const void *a, const void *b) {
    return memcmp(a, b, sizeof(struct digest));
}

static void add_row(struct removals *r, const struct outbox_row *row) {
    struct removal *m = calloc(1, sizeof(*m) + row->chunk_count * sizeof(m->digests[0]));
    CHECK(m && row->chunk_count <= COMMAND_CHUNKS_MAX);
    m->magic = REMOVAL_MAGIC;
    m->removals = r;
    m->name = row->name;
    m->version = row->version;
    m->count = row->chunk_count;
    for (uint32_t i = 0; i < row->chunk_count; i++) {
        m->digests[i] = row->chunks[i].digest;
    }
    qsort(m->digests, m->count, sizeof(m->digests[0]), by_digest);
    TAILQ_INSERT_TAIL(&r->rows, m, link);
    r->row_count++;
}

static int read_page(struct removals *r, const uint8_t *bytes, size_t size) {
    struct page_reader page;
    struct outbox_row row;
    int rc = page_open(bytes, size, &page);
    if (rc) {
        return rc;
    }
    while ((rc = page_outbox_next(&page, r->outbox->space, &row)) == 0 && r->row_count < OUTBOX_PAGE_MAX) {
        add_row(r, &row);
        r->begun = true;
        r->position = row.position;
        r->version = row.version;
    }
    r->more = page.more && r->row_count > 0;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static void page_read(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct removals *r = ctx;
    (void)config;
    CHECK(r->magic == REMOVALS_MAGIC && r->state == REMOVALS_READING);
    r->state = REMOVALS_REMOVING;
    r->more = false;
    int rc = status ? status : read_page(r, result, size);
    r->failed = r->failed || rc != 0;
    work(r->outbox);
}

static void read_next(struct removals *r) {
    struct files *f = r->outbox->files;
    struct query q = {.kind = QUERY_OUTBOX,
                      .limit = OUTBOX_PAGE_MAX,
                      .from_start = !r->begun,
                      .position = r->position,
                      .version = r->version};
    struct buf b;
    CHECK(r->row_count == 0);
    r->state = REMOVALS_READING;
    buf_init(&b, PEER_BODY_MAX);
    query_encode(&q, &b);
    groups_query(f->params.groups, r->group, &b, OUTBOX_TIMEOUT_MS, page_read, r);
    buf_release(&b);
}

static void removals_work(struct removals *r) {
    struct removal *m, *next;
    if (r->state != REMOVALS_REMOVING) {
        return;
    }
    for (m = TAILQ_FIRST(&r->rows); m; m = next) {
        next = TAILQ_NEXT(m, link);
        removal_work(m);
    }
    if (r->row_count > 0) {
        return;
    }
    if (r->more && !r->lost) {
        read_next(r);
    } else {
        walk_over(r);
    }
}

static void work(struct outbox *o) {
    struct removals *r, *next;
    if (o->files->stopped) {
        return;
    }
    for (r = TAILQ_FIRST(&o->active); r; r = next) {
        next = TAILQ_NEXT(r, link);
        removals_work(r);
    }
    while (o->active_count < OUTBOX_GROUPS_MAX && !TAILQ_EMPTY(&o->queued)) {
        r = TAILQ_FIRST(&o->queued);
        unlink_group(r);
        TAILQ_INSERT_TAIL(&o->active, r, link);
        o->active_count++;
        r->again = false;
        read_next(r);
    }
}

/* ---- from outside ----------------------------------------------------------------------------------------------- */

void outbox_due(struct files *f, uint32_t group) {
    struct outbox *o = f->outbox;
    struct removals *r = find(o, group);
    struct groups_info info;
    CHECK(group != GROUPS_ROOT);
    groups_info(f->params.groups, group, &info);
    if (f->stopped || !info.leading) {
        return;
    }
    if (r) {
        r->lost = false;
        r->again = true;
        return;
    }
    r = calloc(1, sizeof(*r));
    CHECK(r); /* one for each group at most */
    r->magic = REMOVALS_MAGIC;
    r->outbox = o;
    r->group = group;
    r->timer.fire = removals_fire;
    TAILQ_INIT(&r->rows);
    HASH_ADD(hh, o->groups, group, sizeof(r->group), r);
    queue(r);
    work(o);
}

void outbox_lost(struct files *f, uint32_t group) {
    struct removals *r = find(f->outbox, group);
    if (!r) {
        return;
    }
    CHECK(r->magic == REMOVALS_MAGIC);
    if (is_active(r)) {
        r->lost = true;
        work(f->outbox);
    } else {
        removals_free(r);
    }
}

uint64_t outbox_pending(const struct files *f) {
    const struct removals *r;
    uint64_t pending = 0;
    for (r = f->outbox->groups; r; r = r->hh.next) {
        pending += r->row_count > 0 ? r->row_count : 1;
    }
    return pending;
}

int outbox_new(struct files *f) {
    struct outbox *o = calloc(1, sizeof(*o));
    if (!o) {
        return ERR_NOMEM;
    }
    o->files = f;
    TAILQ_INIT(&o->queued);
    TAILQ_INIT(&o->active);
    f->outbox = o;
    return 0;
}

void outbox_free(struct files *f) {
    struct outbox *o = f->outbox;
    while (o && o->groups) {
        removals_free(o->groups);
    }
    free(o);
    f->outbox = NULL;
}

void outbox_stop(struct files *f) {
    struct removals *r;
    for (r = f->outbox->groups; r; r = r->hh.next) {
        timer_stop(f->params.timers, &r->timer);
    }
}
