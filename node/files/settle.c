/* References whose put never came to its end, or came to it without anybody saying so. The leader of a chunk's group
 * asks the group of the name: a version that is not live there is recorded as aborted, so that it can never become
 * live, before its reference is taken away (I7).
 *
 *   IDLE ──time──▶ walk: each group led here, a few at once
 *                    page of old pending references ──▶ one question per version ──▶ confirm or delete ──▶ next page
 *
 * A put that died between a reference and its bytes leaves a chunk that nobody has. As long as it is referenced, no
 * replica is complete and the group cannot move, so such references are settled early: a put that lives has its bytes
 * on a majority long before.
 *
 * A verdict is remembered across the groups of one walk: aborted is final, and the old references of a version that is
 * live are taken away by the outbox of its name once it is not. No longer than that: a reference whose proposal was
 * delayed may come when the version is gone and its outbox is done with. A step that fails is left to the next walk. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define SETTLING_MAGIC 0x5345544cu
#define SETTLE_GROUPS_MAX 4 /* at once */
#define SETTLE_PAGE 64      /* references */
#define SETTLE_WINDOW 8     /* unanswered questions and commands of one group */
#define SETTLE_PAUSE_MS 20  /* between pages of a group */
#define SETTLE_TIMEOUT_MS 20000
#define SETTLE_HOPELESS_MS 60000 /* age at which a reference is settled whose chunk nobody has */
#define VERDICTS_KEPT 1024

enum verdict_state { VERDICT_OPEN, VERDICT_ASKED, VERDICT_KNOWN, VERDICT_SENT };

/* One version of a page, and its references there. */
struct verdict {
    struct settling *settling;
    struct name name;
    struct version version;
    enum verdict_state state;
    bool live;
    uint32_t count;
    struct digest digests[SETTLE_PAGE];
};

enum settling_state { SETTLING_IDLE, SETTLING_READING, SETTLING_ASKING, SETTLING_PAUSE };

/* One group. */
struct settling {
    uint32_t magic;
    struct settle *settle;
    struct timer timer;
    enum settling_state state;
    uint32_t group;
    uint64_t before_ms, early_ms; /* stamps below: of all, and of chunks nobody has */
    bool begun, more;
    struct digest after_digest;
    struct version after_version;
    uint32_t waiting; /* answers */
    uint32_t next;    /* verdicts before this one have been begun */
    uint32_t count;
    struct verdict *verdicts; /* SETTLE_PAGE while not idle */
};

struct kept_verdict {
    bool known, live;
    struct version version;
};

struct settle {
    struct files *files;
    struct timer timer;
    uint32_t next_group; /* of the walk; 0: none */
    struct settling settlings[SETTLE_GROUPS_MAX];
    struct kept_verdict kept[VERDICTS_KEPT];
};

static void walk(struct settle *s);
static void settling_work(struct settling *g);

/* Versions are random, so any of their bytes will do. */
static struct kept_verdict *kept_of(struct settle *s, const struct version *v) {
    return &s->kept[get_u32(v->bytes) % VERDICTS_KEPT];
}

static bool recall(struct settle *s, const struct version *v, bool *ret_live) {
    const struct kept_verdict *k = kept_of(s, v);
    if (!k->known || memcmp(&k->version, v, sizeof(*v)) != 0) {
        return false;
    }
    *ret_live = k->live;
    return true;
}

/* ---- one version ------------------------------------------------------------------------------------------------ */

static void propose(struct verdict *v, uint32_t group, const struct command *c, groups_cb *cb) {
    struct settling *g = v->settling;
    struct buf b;
    buf_init(&b, PEER_BODY_MAX);
    command_encode(c, &b);
    g->waiting++;
    groups_propose(g->settle->files->params.groups, group, &b, SETTLE_TIMEOUT_MS, cb, v);
    buf_release(&b);
}

static struct settling *answered(const struct verdict *v) {
    struct settling *g = v->settling;
    CHECK(g->magic == SETTLING_MAGIC && g->state == SETTLING_ASKING && g->waiting > 0);
    g->waiting--;
    return g;
}

static void sent(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct verdict *v = ctx;
    struct settling *g = answered(v);
    (void)status;
    (void)config;
    (void)result;
    (void)size;
    CHECK(v->state == VERDICT_SENT);
    settling_work(g);
}

static void confirm(struct verdict *v) {
    struct chunk_ref chunks[SETTLE_PAGE] = {0};
    struct command c = {.kind = COMMAND_REF_CONFIRM};
    for (uint32_t i = 0; i < v->count; i++) {
        chunks[i].digest = v->digests[i];
    }
    c.u.refs.version = v->version;
    c.u.refs.chunk_count = v->count;
    c.u.refs.chunks = chunks;
    propose(v, v->settling->group, &c, sent);
}

static void carry_out(struct verdict *v) {
    struct settling *g = v->settling;
    CHECK(v->state == VERDICT_KNOWN && v->count > 0);
    v->state = VERDICT_SENT;
    if (v->live) {
        confirm(v);
    } else {
        g->waiting++;
        files_ref_del(g->settle->files, g->group, &v->version, v->digests, v->count, SETTLE_TIMEOUT_MS, sent, v);
    }
}

static void judged(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct verdict *v = ctx;
    struct settling *g = answered(v);
    struct command_result r;
    (void)config;
    CHECK(v->state == VERDICT_ASKED);
    int rc = status ? status : command_result_decode(result, size, &r);
    rc = rc ? rc : r.status;
    if (rc == 0 && !g->settle->files->stopped) {
        v->state = VERDICT_KNOWN;
        v->live = r.live;
        *kept_of(g->settle, &v->version) = (struct kept_verdict){.known = true, .live = r.live, .version = v->version};
        carry_out(v);
    }
    settling_work(g);
}

static void judge(struct verdict *v) {
    struct settle *s = v->settling->settle;
    struct command c = {.kind = COMMAND_VERSION_SETTLE};
    CHECK(v->state == VERDICT_OPEN);
    if (recall(s, &v->version, &v->live)) {
        v->state = VERDICT_KNOWN;
        carry_out(v);
        return;
    }
    v->state = VERDICT_ASKED;
    c.u.version.name = v->name;
    c.u.version.version = v->version;
    propose(v, groups_of(s->files->params.groups, name_position(&v->name)), &c, judged);
}

/* ---- one group -------------------------------------------------------------------------------------------------- */

static void add_row(struct settling *g, const struct ref_row *row) {
    uint32_t i = 0;
    while (i < g->count && memcmp(&g->verdicts[i].version, &row->version, sizeof(row->version)) != 0) {
        i++;
    }
    CHECK(i < SETTLE_PAGE);
    struct verdict *v = &g->verdicts[i];
    if (i == g->count) {
        g->count++;
        v->settling = g;
        v->name = row->name;
        v->version = row->version;
        v->state = VERDICT_OPEN;
        v->count = 0;
    }
    CHECK(v->count < SETTLE_PAGE);
    v->digests[v->count++] = row->digest;
}

static int read_page(struct settling *g, const uint8_t *bytes, size_t size) {
    struct page_reader page;
    struct ref_row row;
    uint32_t rows = 0;
    int rc = page_open(bytes, size, &page);
    while (!rc && rows < SETTLE_PAGE && (rc = page_ref_next(&page, &row)) == 0) {
        rows++;
        if (row.pending && row.stamp_ms < g->early_ms &&
            (row.stamp_ms < g->before_ms || repair_hopeless(g->settle->files, &row.digest))) {
            add_row(g, &row);
        }
        g->begun = true;
        g->after_digest = row.digest;
        g->after_version = row.version;
    }
    rc = rc == ERR_NOT_FOUND ? 0 : rc;
    g->more = !rc && rows > 0 && page.more;
    return rc;
}

static void settling_over(struct settling *g) {
    CHECK(g->waiting == 0);
    g->state = SETTLING_IDLE;
    free(g->verdicts);
    g->verdicts = NULL;
    walk(g->settle);
}

static void page_read(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct settling *g = ctx;
    (void)config;
    CHECK(g->magic == SETTLING_MAGIC && g->state == SETTLING_READING);
    g->state = SETTLING_ASKING;
    g->more = false;
    if (status || read_page(g, result, size)) {
        g->count = 0;
    }
    settling_work(g);
}

static bool led(const struct settle *s, uint32_t group) {
    struct groups_info info;
    groups_info(s->files->params.groups, group, &info);
    return info.leading;
}

/* The own tables do: whatever they show is asked about, and everything that follows is idempotent. */
static void read_next(struct settling *g) {
    struct query q = {.kind = QUERY_PENDING,
                      .limit = files_page_rows(g->settle->files, SETTLE_PAGE),
                      .before_ms = g->early_ms,
                      .from_start = !g->begun,
                      .after_digest = g->after_digest,
                      .after_version = g->after_version};
    struct buf b;
    CHECK(g->waiting == 0 && g->verdicts);
    g->state = SETTLING_READING;
    g->next = g->count = 0;
    buf_init(&b, PEER_BODY_MAX);
    query_encode(&q, &b);
    groups_query_local(g->settle->files->params.groups, g->group, &b, page_read, g);
    buf_release(&b);
}

static void settling_fire(struct timer *t) {
    struct settling *g = (struct settling *)((char *)t - offsetof(struct settling, timer));
    CHECK(g->magic == SETTLING_MAGIC && g->state == SETTLING_PAUSE);
    read_next(g);
}

static void settling_work(struct settling *g) {
    struct files *f = g->settle->files;
    CHECK(g->state == SETTLING_ASKING);
    if (f->stopped) {
        return;
    }
    if (!led(g->settle, g->group)) {
        g->next = g->count;
        g->more = false;
    }
    while (g->next < g->count && g->waiting < SETTLE_WINDOW) {
        judge(&g->verdicts[g->next++]);
    }
    if (g->waiting > 0) {
        return;
    }
    if (g->more) {
        g->state = SETTLING_PAUSE;
        timer_start(f->params.timers, &g->timer, clock_now_ms(f->params.clock) + SETTLE_PAUSE_MS);
    } else {
        settling_over(g);
    }
}

static void settling_begin(struct settling *g, uint32_t group) {
    const struct files *f = g->settle->files;
    uint64_t now = clock_wall_ms(f->params.clock);
    g->verdicts = calloc(SETTLE_PAGE, sizeof(g->verdicts[0]));
    CHECK(g->verdicts && g->state == SETTLING_IDLE);
    g->group = group;
    g->before_ms = now > f->params.tuning.settle_ms ? now - f->params.tuning.settle_ms : 0;
    g->early_ms = now > SETTLE_HOPELESS_MS ? now - SETTLE_HOPELESS_MS : 0;
    if (g->early_ms < g->before_ms) {
        g->early_ms = g->before_ms;
    }
    g->begun = false;
    read_next(g);
}

/* ---- the walk --------------------------------------------------------------------------------------------------- */

static uint32_t next_led(struct settle *s) {
    uint32_t count = groups_count(s->files->params.groups);
    while (s->next_group && s->next_group < count) {
        uint32_t group = s->next_group++;
        if (led(s, group)) {
            return group;
        }
    }
    s->next_group = 0;
    return 0;
}

static void walk(struct settle *s) {
    struct files *f = s->files;
    bool idle = true;
    for (uint32_t i = 0; i < SETTLE_GROUPS_MAX; i++) {
        struct settling *g = &s->settlings[i];
        uint32_t group = g->state == SETTLING_IDLE ? next_led(s) : 0;
        if (group) {
            settling_begin(g, group);
        }
        idle = idle && g->state == SETTLING_IDLE;
    }
    if (idle) {
        CHECK(s->next_group == 0);
        timer_start(f->params.timers, &s->timer, clock_now_ms(f->params.clock) + f->params.tuning.settle_every_ms);
    }
}

static void settle_fire(struct timer *t) {
    struct settle *s = (struct settle *)((char *)t - offsetof(struct settle, timer));
    CHECK(s->next_group == 0);
    s->next_group = GROUPS_ROOT + 1;
    memset(s->kept, 0, sizeof(s->kept));
    walk(s);
}

int settle_new(struct files *f) {
    struct settle *s = calloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->files = f;
    s->timer.fire = settle_fire;
    for (uint32_t i = 0; i < SETTLE_GROUPS_MAX; i++) {
        s->settlings[i].magic = SETTLING_MAGIC;
        s->settlings[i].settle = s;
        s->settlings[i].timer.fire = settling_fire;
    }
    f->settle = s;
    return 0;
}

void settle_free(struct files *f) {
    struct settle *s = f->settle;
    if (!s) {
        return;
    }
    settle_stop(f);
    for (uint32_t i = 0; i < SETTLE_GROUPS_MAX; i++) {
        free(s->settlings[i].verdicts);
    }
    free(s);
    f->settle = NULL;
}

void settle_start(struct files *f) {
    timer_start(f->params.timers, &f->settle->timer, clock_now_ms(f->params.clock) + f->params.tuning.settle_every_ms);
}

void settle_stop(struct files *f) {
    timer_stop(f->params.timers, &f->settle->timer);
    for (uint32_t i = 0; i < SETTLE_GROUPS_MAX; i++) {
        timer_stop(f->params.timers, &f->settle->settlings[i].timer);
    }
}
