/* Chunks this node should hold and lacks. The references in its own tables are the inventory: whatever a replica here
 * references is looked for on the disk and, when missing, pulled from whoever has it.
 *
 * An item is one chunk that is not known to be here:
 *
 *   referenced ──▶ WAITING ──grace──▶ READY ──▶ CHECKING ──here──▶ gone
 *   audit ────────────────────────────▶ ▲          │ missing
 *                     ▲                            ▼
 *                     │ failed: backoff         MISSING ──▶ PULLING ──stored, or referenced no more──▶ gone
 *                     └────────────────────────────────────────┘
 *
 * A check looks behind a barrier: an empty write queued when it begins. Every deletion that was queued before, because
 * of an older removal, has been done by then, so that "here" means here to stay. A reference that arrives while the
 * disk is being looked at or the chunk is on its way starts the item over.
 *
 * An audit walks all references of a group, once after its state came from elsewhere than its log: at the start, after
 * a snapshot, and when there were more items than are remembered. What is referenced later is seen as it is applied. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define REPAIR_MAGIC 0x52455041u
#define ITEM_MAGIC 0x4954454du
#define PULL_MAGIC 0x50554c4cu
#define AUDIT_MAGIC 0x41554449u
#define REPAIR_CHECKS 64
#define REPAIR_PULLS 8
#define REPAIR_AUDITS 8
#define REPAIR_BACKOFF_MIN_MS 500
#define REPAIR_BACKOFF_MAX_MS 16000
#define REPAIR_AUDIT_RETRY_MS 1000
#define FOUND_BY_AUDIT 0 /* the index of an item whose reference may be of any age */

enum item_state { ITEM_WAITING, ITEM_READY, ITEM_CHECKING, ITEM_MISSING, ITEM_PULLING };

struct item {
    uint32_t magic;
    struct repair *repair;
    UT_hash_handle hh;
    TAILQ_ENTRY(item) link; /* READY, MISSING: in line */
    TAILQ_ENTRY(item) group_link;
    struct timer timer; /* WAITING */
    struct digest digest;
    uint32_t group;
    uint64_t index; /* of the oldest reference it stands for */
    uint32_t backoff_ms;
    enum item_state state;
    bool missing; /* known to be */
    bool bad;     /* what is here does not match: as good as missing */
    bool again;   /* referenced while CHECKING or PULLING */
    bool gone;    /* its group left while CHECKING or PULLING */
};
TAILQ_HEAD(item_list, item);

enum audit_state { AUDIT_NONE, AUDIT_QUEUED, AUDIT_RUNNING };

struct repair_group {
    bool here;
    bool again; /* audit once more */
    enum audit_state audit;
    TAILQ_ENTRY(repair_group) link; /* QUEUED */
    struct item_list items;
};

/* One audit under way. */
struct audit {
    uint32_t magic;
    struct repair *repair;
    struct timer timer;
    uint32_t group; /* 0: none */
    bool reading;   /* also after the group left, until the answer is in */
    bool begun, more;
    struct digest after_digest;
    struct version after_version;
    struct digest page[FILES_PAGE_MAX];
    uint32_t next, count;
};

/* One chunk on its way. */
struct pull {
    uint32_t magic;
    struct repair *repair;
    struct item *item; /* NULL: idle */
};

struct check {
    struct disk_op op;
    bool busy;
    uint32_t count;
    struct item *items[REPAIR_CHECKS];
    struct digest digests[REPAIR_CHECKS];
    bool here[REPAIR_CHECKS];
};

struct repair {
    uint32_t magic;
    struct files *files;
    bool started;
    struct item *items; /* by digest */
    uint32_t item_count;
    uint32_t missing_count;
    struct item_list ready, missing;
    struct repair_group *groups; /* NULL until the first replica is known */
    uint32_t group_count;
    TAILQ_HEAD(, repair_group) queued;
    uint32_t audits_open; /* queued and running */
    struct check check;
    struct pull pulls[REPAIR_PULLS];
    struct audit audits[REPAIR_AUDITS];
};

static void work(struct repair *r);

/* ---- groups ----------------------------------------------------------------------------------------------------- */

/* Their number is known only once the groups begin to load. */
static struct repair_group *group_of(struct repair *r, uint32_t group) {
    if (!r->groups) {
        r->group_count = groups_count(r->files->params.groups);
        r->groups = calloc(r->group_count, sizeof(r->groups[0]));
        CHECK(r->groups);
        for (uint32_t i = 0; i < r->group_count; i++) {
            TAILQ_INIT(&r->groups[i].items);
        }
    }
    CHECK(group != GROUPS_ROOT && group < r->group_count);
    return &r->groups[group];
}

static void audit_request(struct repair *r, struct repair_group *g) {
    if (g->audit == AUDIT_RUNNING) {
        g->again = true;
    } else if (g->audit == AUDIT_NONE) {
        g->audit = AUDIT_QUEUED;
        r->audits_open++;
        TAILQ_INSERT_TAIL(&r->queued, g, link);
    }
}

/* ---- items ------------------------------------------------------------------------------------------------------ */

static bool held(const struct item *it) {
    return it->state == ITEM_CHECKING || it->state == ITEM_PULLING;
}

/* Out of the line or the timer that its state puts it in. */
static void item_detach(struct item *it) {
    struct repair *r = it->repair;
    if (it->state == ITEM_WAITING) {
        timer_stop(r->files->params.timers, &it->timer);
    } else if (it->state == ITEM_READY) {
        TAILQ_REMOVE(&r->ready, it, link);
    } else if (it->state == ITEM_MISSING) {
        TAILQ_REMOVE(&r->missing, it, link);
    }
}

static void item_set_missing(struct item *it, bool missing) {
    struct repair *r = it->repair;
    if (it->missing != missing) {
        r->missing_count += missing ? 1u : 0u;
        r->missing_count -= missing ? 0u : 1u;
        it->missing = missing;
    }
}

/* No longer known; who holds it frees it. */
static void item_forget(struct item *it) {
    struct repair *r = it->repair;
    CHECK(it->magic == ITEM_MAGIC && !it->gone && r->item_count > 0);
    item_detach(it);
    item_set_missing(it, false);
    HASH_DEL(r->items, it);
    TAILQ_REMOVE(&r->groups[it->group].items, it, group_link);
    r->item_count--;
    it->gone = true;
    if (!held(it)) {
        it->magic = 0;
        free(it);
    }
}

static void item_ready(struct item *it) {
    it->state = ITEM_READY;
    TAILQ_INSERT_TAIL(&it->repair->ready, it, link);
}

static void item_missing(struct item *it) {
    item_set_missing(it, true);
    it->state = ITEM_MISSING;
    TAILQ_INSERT_TAIL(&it->repair->missing, it, link);
}

static void item_wait(struct item *it, uint64_t ms) {
    const struct files *f = it->repair->files;
    it->state = ITEM_WAITING;
    timer_start(f->params.timers, &it->timer, clock_now_ms(f->params.clock) + ms);
}

static void item_fire(struct timer *t) {
    struct item *it = (struct item *)((char *)t - offsetof(struct item, timer));
    CHECK(it->magic == ITEM_MAGIC && it->state == ITEM_WAITING);
    item_ready(it);
    work(it->repair);
}

/* Audits leave room for what is applied meanwhile. */
static uint32_t audit_items_max(const struct repair *r) {
    return r->files->params.tuning.repair_items / 2;
}

static struct item *item_find(struct repair *r, const struct digest *digest) {
    struct item *it;
    HASH_FIND(hh, r->items, digest, sizeof(*digest), it);
    return it;
}

/* The caller gives it its first state. */
static struct item *item_new(struct repair *r, uint32_t group, uint64_t index, const struct digest *digest) {
    struct item *it = calloc(1, sizeof(*it));
    CHECK(it && r->item_count < r->files->params.tuning.repair_items);
    it->magic = ITEM_MAGIC;
    it->repair = r;
    it->digest = *digest;
    it->group = group;
    it->index = index;
    it->backoff_ms = REPAIR_BACKOFF_MIN_MS;
    it->timer.fire = item_fire;
    HASH_ADD(hh, r->items, digest, sizeof(it->digest), it);
    TAILQ_INSERT_TAIL(&group_of(r, group)->items, it, group_link);
    r->item_count++;
    return it;
}

/* One more reason to have the chunk. */
static void item_renew(struct item *it, uint64_t index) {
    it->index = index < it->index ? index : it->index;
    it->again = it->again || held(it);
}

/* The look or the pull is over and nothing is missing. */
static void item_settled(struct item *it) {
    if (it->again) {
        it->again = false;
        item_set_missing(it, false);
        item_ready(it);
    } else {
        it->state = ITEM_WAITING; /* held by nobody */
        item_forget(it);
    }
}

static void item_failed(struct item *it) {
    item_wait(it, it->backoff_ms);
    if (it->backoff_ms < REPAIR_BACKOFF_MAX_MS) {
        it->backoff_ms *= 2;
    }
    it->again = false; /* it will be looked at anyhow */
}

/* ---- looking on the disk ---------------------------------------------------------------------------------------- */

static struct check *check_of(struct disk_op *op) {
    return (struct check *)((char *)op - offsetof(struct check, op));
}

static int check_run(struct txn *t, struct disk_op *op) {
    struct check *c = check_of(op);
    int rc = 0;
    for (uint32_t i = 0; i < c->count && rc == 0; i++) {
        rc = chunk_has(t, &c->digests[i]);
        c->here[i] = rc == 0;
        rc = rc == ERR_NOT_FOUND ? 0 : rc;
    }
    return rc;
}

static void check_done(struct disk_op *op, int status) {
    struct check *c = check_of(op);
    struct repair *r = (struct repair *)((char *)c - offsetof(struct repair, check));
    CHECK(r->magic == REPAIR_MAGIC && c->busy);
    if (r->files->stopped) {
        return;
    }
    c->busy = false;
    for (uint32_t i = 0; i < c->count; i++) {
        struct item *it = c->items[i];
        CHECK(it->magic == ITEM_MAGIC && it->state == ITEM_CHECKING);
        if (it->gone) {
            free(it);
        } else if (status) {
            item_failed(it);
        } else if (c->here[i] && !it->bad) {
            item_settled(it);
        } else {
            item_missing(it);
        }
    }
    c->count = 0;
    work(r);
}

static int barrier_run(struct txn *t, struct disk_op *op) {
    (void)t;
    (void)op;
    return 0;
}

static void barrier_done(struct disk_op *op, int status) {
    struct check *c = check_of(op);
    struct repair *r = (struct repair *)((char *)c - offsetof(struct repair, check));
    CHECK((status == 0 || r->files->stopped) && c->busy);
    if (!r->files->stopped) {
        c->op = (struct disk_op){.run = check_run, .done = check_done};
        disk_read(r->files->params.disk, DISK_CHUNKS, &c->op);
    }
}

static void check_begin(struct repair *r) {
    struct check *c = &r->check;
    CHECK(!c->busy && c->count == 0);
    while (c->count < REPAIR_CHECKS && !TAILQ_EMPTY(&r->ready)) {
        struct item *it = TAILQ_FIRST(&r->ready);
        item_detach(it);
        it->state = ITEM_CHECKING;
        c->items[c->count] = it;
        c->digests[c->count] = it->digest;
        c->count++;
    }
    c->busy = true;
    c->op = (struct disk_op){.run = barrier_run, .done = barrier_done};
    disk_write(r->files->params.disk, DISK_CHUNKS, &c->op);
}

/* ---- pulling ---------------------------------------------------------------------------------------------------- */

static struct item *pull_item(struct pull *p) {
    CHECK(p->magic == PULL_MAGIC);
    CHECK(p->item && p->item->magic == ITEM_MAGIC && p->item->state == ITEM_PULLING);
    return p->item;
}

static void pull_over(struct pull *p, int status) {
    struct item *it = pull_item(p);
    p->item = NULL;
    if (it->gone) {
        free(it);
    } else if (status == 0 || status == ERR_NOT_FOUND) {
        it->bad = false;
        item_settled(it);
    } else {
        item_failed(it);
    }
    work(p->repair);
}

/* ERR_NOT_FOUND: nobody references it any more. */
static void pull_stored(void *ctx, int status) {
    pull_over(ctx, status);
}

static void pull_fetched(void *ctx, int status, const uint8_t *stored, size_t size) {
    struct pull *p = ctx;
    const struct item *it = pull_item(p);
    if (status || it->gone) {
        pull_over(p, status == ERR_NOT_FOUND || !status ? ERR_UNAVAILABLE : status);
        return;
    }
    uint8_t *bytes = malloc(size);
    if (!bytes) {
        pull_over(p, ERR_NOMEM);
        return;
    }
    memcpy(bytes, stored, size);
    store_chunk(p->repair->files, it->group, &it->digest, NULL, bytes, size, false, pull_stored, p);
}

static void pull_used(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct pull *p = ctx;
    const struct item *it = pull_item(p);
    (void)config;
    int rc = status ? status : machine_status_answer(result, size);
    if (!rc && !store_chunk_room(p->repair->files, CHUNK_STORED_MAX)) {
        rc = ERR_NO_SPACE;
    }
    if (rc || it->gone) {
        pull_over(p, rc);
    } else {
        (void)fetch_begin(p->repair->files, &it->digest, true, pull_fetched, p);
    }
}

/* Whether it is still referenced comes first, so that nothing is asked for for ever. */
static void pull_begin(struct pull *p, struct item *it) {
    struct query q = {.kind = QUERY_USED, .digest = it->digest};
    struct buf b;
    CHECK(p->item == NULL && it->state == ITEM_MISSING);
    item_detach(it);
    it->state = ITEM_PULLING;
    p->item = it;
    buf_init(&b, PEER_BODY_MAX);
    query_encode(&q, &b);
    groups_query_local(p->repair->files->params.groups, it->group, &b, pull_used, p);
    buf_release(&b);
}

/* ---- audits ----------------------------------------------------------------------------------------------------- */

static int audit_read_page(struct audit *a, const uint8_t *bytes, size_t size) {
    struct page_reader page;
    struct ref_row row;
    uint32_t rows = 0;
    int rc = page_open(bytes, size, &page);
    while (!rc && rows < FILES_PAGE_MAX && (rc = page_ref_next(&page, &row)) == 0) {
        rows++;
        /* the versions of one chunk are neighbours */
        if (!a->begun || !digest_equal(&row.digest, &a->after_digest)) {
            a->page[a->count++] = row.digest;
        }
        a->begun = true;
        a->after_digest = row.digest;
        a->after_version = row.version;
    }
    rc = rc == ERR_NOT_FOUND ? 0 : rc;
    a->more = !rc && rows > 0 && page.more;
    return rc;
}

static void audit_page(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct audit *a = ctx;
    const struct files *f = a->repair->files;
    (void)config;
    CHECK(a->magic == AUDIT_MAGIC && a->reading && a->count == 0);
    a->reading = false;
    if (a->group && (status || audit_read_page(a, result, size))) {
        /* From the first reference on again: what this page held is not known. */
        a->begun = false;
        a->more = true;
        a->count = 0;
        timer_start(f->params.timers, &a->timer, clock_now_ms(f->params.clock) + REPAIR_AUDIT_RETRY_MS);
        return;
    }
    work(a->repair);
}

static void audit_read(struct audit *a) {
    struct query q = {.kind = QUERY_REFS,
                      .limit = files_page_rows(a->repair->files, FILES_PAGE_MAX),
                      .from_start = !a->begun,
                      .after_digest = a->after_digest,
                      .after_version = a->after_version};
    struct buf b;
    CHECK(a->group && !a->reading && a->next == a->count);
    a->reading = true;
    a->next = a->count = 0;
    buf_init(&b, PEER_BODY_MAX);
    query_encode(&q, &b);
    groups_query_local(a->repair->files->params.groups, a->group, &b, audit_page, a);
    buf_release(&b);
}

static void audit_fire(struct timer *t) {
    struct audit *a = (struct audit *)((char *)t - offsetof(struct audit, timer));
    CHECK(a->magic == AUDIT_MAGIC && a->group && !a->reading);
    audit_read(a);
}

static void audit_begin(struct audit *a, struct repair_group *g) {
    struct repair *r = a->repair;
    CHECK(g->audit == AUDIT_QUEUED && !a->reading && a->timer.slot == 0);
    TAILQ_REMOVE(&r->queued, g, link);
    g->audit = AUDIT_RUNNING;
    a->group = (uint32_t)(g - r->groups);
    a->begun = false;
    a->next = a->count = 0;
    audit_read(a);
}

static void audit_over(struct audit *a) {
    struct repair *r = a->repair;
    struct repair_group *g = group_of(r, a->group);
    CHECK(g->audit == AUDIT_RUNNING && r->audits_open > 0);
    a->group = 0;
    g->audit = AUDIT_NONE;
    r->audits_open--;
    if (g->again) {
        g->again = false;
        audit_request(r, g);
    }
}

/* Its group left. */
static void audit_cancel(struct audit *a) {
    a->group = 0;
    a->next = a->count = 0;
    timer_stop(a->repair->files->params.timers, &a->timer);
}

static void audit_add(struct repair *r, uint32_t group, const struct digest *digest) {
    struct item *it = item_find(r, digest);
    sweep_spare(r->files, digest);
    if (it) {
        item_renew(it, FOUND_BY_AUDIT);
    } else {
        item_ready(item_new(r, group, FOUND_BY_AUDIT, digest));
    }
}

static void audit_work(struct audit *a) {
    struct repair *r = a->repair;
    if (!a->group || a->reading || a->timer.slot != 0) {
        return;
    }
    while (a->next < a->count && r->item_count < audit_items_max(r)) {
        audit_add(r, a->group, &a->page[a->next++]);
    }
    if (a->next < a->count) {
        return; /* goes on when items have gone */
    }
    if (a->more) {
        audit_read(a);
    } else {
        audit_over(a);
    }
}

/* ---- what there is to do ---------------------------------------------------------------------------------------- */

static void work(struct repair *r) {
    CHECK(r->magic == REPAIR_MAGIC);
    if (!r->started || r->files->stopped) {
        return;
    }
    for (uint32_t i = 0; i < REPAIR_AUDITS; i++) {
        struct audit *a = &r->audits[i];
        audit_work(a);
        if (!a->group && !a->reading && !TAILQ_EMPTY(&r->queued)) {
            audit_begin(a, TAILQ_FIRST(&r->queued));
        }
    }
    if (!r->check.busy && !TAILQ_EMPTY(&r->ready)) {
        check_begin(r);
    }
    for (uint32_t i = 0; i < REPAIR_PULLS && !TAILQ_EMPTY(&r->missing); i++) {
        if (!r->pulls[i].item) {
            pull_begin(&r->pulls[i], TAILQ_FIRST(&r->missing));
        }
    }
}

/* ---- from outside ----------------------------------------------------------------------------------------------- */

void repair_referenced(struct files *f, uint32_t group, uint64_t index, const struct digest *digest) {
    struct repair *r = f->repair;
    struct repair_group *g = group_of(r, group);
    struct item *it = item_find(r, digest);
    CHECK(index > 0);
    sweep_spare(f, digest);
    if (it) {
        item_renew(it, index);
    } else if (r->item_count < f->params.tuning.repair_items) {
        item_wait(item_new(r, group, index, digest), f->params.tuning.grace_ms);
    } else {
        audit_request(r, g);
    }
}

/* NULL: not this node's business, or too much else to do; whoever looks at it next says so again. */
static struct item *suspect(struct files *f, const struct digest *digest) {
    struct repair *r = f->repair;
    uint32_t group = files_group_of(f, digest);
    struct item *it = item_find(r, digest);
    if (f->stopped || !group_of(r, group)->here || (!it && r->item_count >= audit_items_max(r))) {
        return NULL;
    }
    if (it) {
        item_renew(it, FOUND_BY_AUDIT);
    } else {
        it = item_new(r, group, FOUND_BY_AUDIT, digest);
        item_ready(it);
    }
    return it;
}

void repair_bad(struct files *f, const struct digest *digest) {
    struct item *it = suspect(f, digest);
    if (it) {
        it->bad = true;
        work(f->repair);
    }
}

void repair_lacking(struct files *f, const struct digest *digest) {
    if (suspect(f, digest)) {
        work(f->repair);
    }
}

void repair_installed(struct files *f, uint32_t group, uint64_t index) {
    struct repair *r = f->repair;
    (void)index; /* what an audit finds counts as older than anything */
    if (group == GROUPS_ROOT) {
        return;
    }
    struct repair_group *g = group_of(r, group);
    g->here = true;
    audit_request(r, g);
    work(r);
}

void repair_removed(struct files *f, uint32_t group) {
    struct repair *r = f->repair;
    if (group == GROUPS_ROOT) {
        return;
    }
    struct repair_group *g = group_of(r, group);
    g->here = false;
    g->again = false;
    while (!TAILQ_EMPTY(&g->items)) {
        item_forget(TAILQ_FIRST(&g->items));
    }
    for (uint32_t i = 0; i < REPAIR_AUDITS; i++) {
        if (r->audits[i].group == group) {
            audit_cancel(&r->audits[i]);
        }
    }
    if (g->audit == AUDIT_QUEUED) {
        TAILQ_REMOVE(&r->queued, g, link);
    }
    r->audits_open -= g->audit == AUDIT_NONE ? 0u : 1u;
    g->audit = AUDIT_NONE;
    sweep_soon(f);
    work(r);
}

bool repair_hopeless(const struct files *f, const struct digest *digest) {
    const struct item *it;
    HASH_FIND(hh, f->repair->items, digest, sizeof(*digest), it);
    return it && it->missing && it->backoff_ms >= REPAIR_BACKOFF_MAX_MS;
}

bool repair_complete(const struct files *f, uint32_t group, uint64_t index) {
    const struct repair *r = f->repair;
    const struct item *it;
    if (group == GROUPS_ROOT) {
        return true;
    }
    if (group >= r->group_count || !r->groups[group].here || r->groups[group].audit != AUDIT_NONE) {
        return false;
    }
    TAILQ_FOREACH(it, &r->groups[group].items, group_link) {
        if (it->index <= index) {
            return false;
        }
    }
    return true;
}

void repair_info(const struct files *f, uint64_t *ret_pulls, uint64_t *ret_audits) {
    *ret_pulls = f->repair->missing_count;
    *ret_audits = f->repair->audits_open;
}

int repair_new(struct files *f) {
    struct repair *r = calloc(1, sizeof(*r));
    if (!r) {
        return ERR_NOMEM;
    }
    r->magic = REPAIR_MAGIC;
    r->files = f;
    TAILQ_INIT(&r->ready);
    TAILQ_INIT(&r->missing);
    TAILQ_INIT(&r->queued);
    for (uint32_t i = 0; i < REPAIR_PULLS; i++) {
        r->pulls[i] = (struct pull){.magic = PULL_MAGIC, .repair = r};
    }
    for (uint32_t i = 0; i < REPAIR_AUDITS; i++) {
        r->audits[i].magic = AUDIT_MAGIC;
        r->audits[i].repair = r;
        r->audits[i].timer.fire = audit_fire;
    }
    f->repair = r;
    return 0;
}

/* Items whose group left are known only to who holds them. */
static void free_held(struct item *it) {
    if (it && it->gone) {
        free(it);
    }
}

void repair_free(struct files *f) {
    struct repair *r = f->repair;
    if (!r) {
        return;
    }
    for (uint32_t i = 0; i < r->check.count; i++) {
        free_held(r->check.items[i]);
    }
    for (uint32_t i = 0; i < REPAIR_PULLS; i++) {
        free_held(r->pulls[i].item);
    }
    for (uint32_t i = 0; i < REPAIR_AUDITS; i++) {
        timer_stop(f->params.timers, &r->audits[i].timer);
    }
    while (r->items) {
        struct item *it = r->items;
        it->state = held(it) ? ITEM_WAITING : it->state; /* nothing comes back for it any more */
        item_forget(it);
    }
    free(r->groups);
    r->magic = 0;
    free(r);
    f->repair = NULL;
}

void repair_start(struct files *f) {
    CHECK(!f->repair->started);
    f->repair->started = true;
    work(f->repair);
}

void repair_stop(struct files *f) {
    struct item *it;
    for (it = f->repair->items; it; it = it->hh.next) {
        if (it->state == ITEM_WAITING) {
            timer_stop(f->params.timers, &it->timer);
        }
    }
    for (uint32_t i = 0; i < REPAIR_AUDITS; i++) {
        timer_stop(f->params.timers, &f->repair->audits[i].timer);
    }
}
