#include "workload.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "command.h"
#include "errors.h"
#include "internal.h"

#define KIB 1024u
#define TIMEOUT_US (45 * SIM_SECOND) /* longer than the node's own patience */
#define KEEPSAKE_CHANCE 80000        /* millionths of the requests */
#define KEEPSAKE_SIZE_MAX (200 * KIB)
#define CONTENTS 3          /* that are stored again and again, */
#define AGAIN_CHANCE 250000 /* by so many millionths of the puts, */
#define AGAIN_RUNS 500000   /* in so many millionths of the runs */
#define LINE_SIZE 320

/* Streams of random numbers of the purpose PRNG_SCENARIO + 2: what the users are like is 0, the others by index. */
#define STREAM_REQUEST ((uint64_t)1 << 48) /* + user << 32 + number */
#define STREAM_CONTENT ((uint64_t)2 << 48) /* + number */

static void draw_stream(const struct workload *l, uint64_t index, struct prng *out) {
    prng_init(out, sim_seed(l->swarm->sim), PRNG_SCENARIO + 2, index);
}

const char *workload_bucket(size_t i) {
    static const char *const buckets[WORKLOAD_BUCKETS] = {"", "photos/", "a.b-c/"};
    CHECK(i < WORKLOAD_BUCKETS);
    return buckets[i];
}

/* ---- what to ask ------------------------------------------------------------------------------------------------- */

static uint64_t draw_size(struct prng *p) {
    static const struct {
        uint32_t upto; /* of a thousand */
        uint64_t low, high;
    } sizes[] = {
        {30, 0, 0},
        {60, 1, 7},
        {500, 8, 200},
        {800, 200, 4 * KIB},
        {880, 4 * KIB, 32 * KIB + 1},
        {993, 32 * KIB + 1, 160 * KIB},
        {1000, 1000 * KIB, 3000 * KIB},
    };
    uint64_t at = prng_below(p, 1000);
    size_t i = 0;
    while (at >= sizes[i].upto) {
        i++;
    }
    return prng_range(p, sizes[i].low, sizes[i].high);
}

static void draw_condition(struct worker *w, bool may_be_absent) {
    static const uint8_t none[16] = {0};
    const uint8_t *version = w->load->history->names[w->name].version;
    struct user_request *q = &w->request;
    uint64_t at = prng_below(&w->prng, 10);
    q->condition = CLIENT_ANY;
    if (at < 2 && may_be_absent) {
        q->condition = CLIENT_ABSENT;
    } else if (at < 5 && memcmp(version, none, sizeof(none)) != 0) {
        q->condition = CLIENT_MATCH;
        memcpy(q->match, version, sizeof(q->match));
    }
}

static void draw_list(struct worker *w) {
    struct user_request *q = &w->request;
    const char *text = w->load->history->names[w->name].text;
    const char *slash = strchr(text, '/');
    int size = slash == NULL ? 0 : (int)(slash - text) + 1;
    snprintf(q->name, sizeof(q->name), "%.*s", size, text);
    if (prng_chance(&w->prng, 300000)) {
        snprintf(q->after, sizeof(q->after), "%s", text);
    }
    q->limit = (uint32_t)prng_range(&w->prng, 1, USER_LIST_MAX);
}

static uint32_t new_name(struct workload *l, struct prng *prng) {
    char text[USER_NAME_SIZE];
    unsigned number = (unsigned)l->history->name_count;
    const char *bucket = workload_bucket(prng_below(prng, WORKLOAD_BUCKETS));
    bool deep = number % 5 == 4 && bucket[0] != '\0'; /* without a bucket, the part before a slash would become one */
    snprintf(text, sizeof(text), "%sfile %u%s", bucket, number, deep ? "/deep/\xc3\xa9t\xc3\xa9.txt" : "");
    return history_add_name(l->history, text);
}

/* A name that has a long history already makes room for a new one. */
static uint32_t draw_name(struct worker *w) {
    struct workload *l = w->load;
    uint32_t *name = &l->names[prng_below(&w->prng, l->name_count)];
    if (!history_room(l->history, *name) && l->history->name_count < HISTORY_NAMES_MAX) {
        *name = new_name(l, &w->prng);
    }
    return *name;
}

static void draw_put(struct worker *w, uint64_t size) {
    struct user_request *q = &w->request;
    q->kind = USER_PUT;
    q->content = prng_u64(&w->prng);
    q->size = size;
    w->load->bytes_put += size;
}

/* Some store the same content under several names, and again when it is gone: its chunks are shared. */
static void draw_again(struct worker *w) {
    struct user_request *q = &w->request;
    struct prng p;
    if (!w->load->again || !prng_chance(&w->prng, AGAIN_CHANCE)) {
        return;
    }
    draw_stream(w->load, STREAM_CONTENT + prng_below(&w->prng, CONTENTS), &p);
    w->load->bytes_put -= q->size;
    q->content = prng_u64(&p);
    q->size = prng_range(&p, INLINE_MAX + 1, KEEPSAKE_SIZE_MAX);
    w->load->bytes_put += q->size;
}

/* What lies for long has seen the most moves, rot and lost disks. */
static void draw_keepsake(struct worker *w) {
    struct workload *l = w->load;
    uint64_t size = prng_range(&w->prng, INLINE_MAX + 1, KEEPSAKE_SIZE_MAX);
    w->name = l->keepsakes[prng_below(&w->prng, l->keepsake_count)];
    snprintf(w->request.name, sizeof(w->request.name), "%s", l->history->names[w->name].text);
    if (history_promised(l->history, w->name)) {
        w->request.kind = USER_GET;
    } else {
        draw_put(w, size);
    }
}

static void draw_request(struct worker *w) {
    struct workload *l = w->load;
    struct user_request *q = &w->request;
    uint64_t at = prng_below(&w->prng, 100);
    *q = (struct user_request){.timeout_us = TIMEOUT_US};
    if (l->keepsake_count > 0 && prng_chance(&w->prng, KEEPSAKE_CHANCE)) {
        draw_keepsake(w);
        return;
    }
    w->name = draw_name(w);
    snprintf(q->name, sizeof(q->name), "%s", l->history->names[w->name].text);
    if (at < 42) {
        draw_put(w, draw_size(&w->prng));
        draw_again(w);
        draw_condition(w, true);
    } else if (at < 76) {
        q->kind = USER_GET;
    } else if (at < 86) {
        q->kind = USER_REMOVE;
        draw_condition(w, false);
    } else if (at < 93) {
        q->kind = USER_STAT;
    } else {
        q->kind = USER_LIST;
        draw_list(w);
    }
}

/* ---- what is told ------------------------------------------------------------------------------------------------ */

static const char *kind_name(enum user_kind kind) {
    static const char *const names[] = {
        [USER_PUT] = "put",   [USER_GET] = "get",       [USER_REMOVE] = "remove", [USER_LIST] = "list",
        [USER_STAT] = "stat", [USER_STATUS] = "status", [USER_INVITE] = "invite",
    };
    CHECK((size_t)kind < sizeof(names) / sizeof(names[0]));
    return names[kind];
}

static void tell(struct worker *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void tell(struct worker *w, const char *format, ...) {
    char line[LINE_SIZE];
    int size = snprintf(line, sizeof(line), "user %" PRIu32 " #%" PRIu32 ": ", w->user, w->number);
    va_list args;
    va_start(args, format);
    vsnprintf(line + size, sizeof(line) - (size_t)size, format, args);
    va_end(args);
    sim_note(w->load->swarm->sim, "%s", line);
    if (w->load->tell != NULL) {
        w->load->tell(w->load->tell_ctx, sim_now_us(w->load->swarm->sim), line);
    }
}

static void tell_request(struct worker *w, uint32_t host) {
    const struct user_request *q = &w->request;
    static const char *const conditions[] = {
        [CLIENT_ANY] = "", [CLIENT_ABSENT] = " if absent", [CLIENT_MATCH] = " if unchanged"};
    char size[40] = "";
    if (q->kind == USER_PUT) {
        snprintf(size, sizeof(size), ", %" PRIu64 " bytes", q->size);
    }
    tell(w, "%s '%s'%s%s at node %" PRIu32, kind_name(q->kind), q->name, size, conditions[q->condition], host);
}

static void tell_result(struct worker *w, const struct user_result *r) {
    char version[HEX_SIZE(4)];
    hex_encode(r->version, 4, version);
    if (r->status != 0) {
        tell(w, "hears %s", err_name(r->status));
    } else if (w->request.kind == USER_GET || w->request.kind == USER_STAT) {
        tell(w, "hears ok, %" PRIu64 " bytes of version %s", r->size, version);
    } else if (w->request.kind == USER_PUT) {
        tell(w, "hears ok, version %s", version);
    } else {
        tell(w, "hears ok");
    }
}

/* ---- what is heard ----------------------------------------------------------------------------------------------- */

/* What no fault of the plan explains. */
static bool inexcusable(const struct swarm *w, const struct user_result *r) {
    bool damaged = w->damage_count > 0 || w->misreads; /* and who has the good copies may be out of reach */
    return r->broken || r->status == ERR_INVALID || r->status == ERR_PROTOCOL ||
           (r->status == ERR_CORRUPT && !damaged) || r->status == ERR_TOO_LARGE || r->status == ERR_AUTH ||
           r->status == ERR_REFUSED;
}

static void note_failure(struct workload *l, const struct user_request *q, const struct user_result *r) {
    if (l->failure[0] == '\0') {
        snprintf(l->failure, sizeof(l->failure), "request %d on %.60s was answered %s: %.100s", (int)q->kind, q->name,
                 err_name(r->status), r->message);
    }
}

/* Which names of the listed bucket the page speaks about: those after `after`, up to its last one when more follow. */
static bool page_covers(const struct user_request *q, const struct user_result *r, const char *name) {
    const char *slash = strchr(name, '/');
    size_t prefix = strlen(q->name);
    if (prefix == 0 ? slash != NULL : strncmp(name, q->name, prefix) != 0) {
        return false;
    }
    if (strcmp(name, q->after) <= 0) {
        return false;
    }
    return !r->more || (r->entry_count > 0 && strcmp(name, r->entries[r->entry_count - 1].name) <= 0);
}

static void take_listing(struct worker *w, const struct user_result *r) {
    struct history *h = w->load->history;
    sim_note(w->load->swarm->sim, "  %u entries after '%s', from '%s' to '%s', %s", (unsigned)r->entry_count,
             w->request.after, r->entry_count > 0 ? r->entries[0].name : "",
             r->entry_count > 0 ? r->entries[r->entry_count - 1].name : "", r->more ? "and more" : "no more");
    for (uint32_t i = 1; i < r->entry_count; i++) {
        if (strcmp(r->entries[i - 1].name, r->entries[i].name) >= 0) {
            snprintf(w->load->failure, sizeof(w->load->failure), "a listing is out of order at %.60s",
                     r->entries[i].name);
        }
    }
    for (uint32_t name = 0; name < h->name_count; name++) {
        const uint8_t *version = NULL;
        if (!page_covers(&w->request, r, h->names[name].text)) {
            continue;
        }
        for (uint32_t i = 0; i < r->entry_count; i++) {
            if (strcmp(r->entries[i].name, h->names[name].text) == 0) {
                version = r->entries[i].version;
            }
        }
        history_listed(h, name, w->call_us, version);
    }
}

static void on_done(void *ctx, const struct user_result *result) {
    struct worker *w = ctx;
    struct workload *l = w->load;
    w->busy = false;
    tell_result(w, result);
    if (inexcusable(l->swarm, result)) {
        note_failure(l, &w->request, result);
    }
    if (w->request.kind != USER_LIST) {
        history_return(l->history, w->name, w->op, result);
    } else if (result->status == 0) {
        take_listing(w, result);
    }
    if (w->request.kind == USER_PUT && result->status == 0) {
        history_promise(l->history, w->name, w->op);
        promises_made(&l->promises, w->name, w->request.content, w->request.size);
    }
    if (l->acknowledged != NULL && w->request.kind == USER_PUT && result->status == 0) {
        l->acknowledged(l->acknowledged_ctx, w->request.size);
    }
}

static void ask(struct worker *w) {
    struct workload *l = w->load;
    struct sim *s = l->swarm->sim;
    uint32_t host = 1 + (uint32_t)prng_below(&w->prng, l->swarm->count);
    draw_request(w);
    if (!history_room(l->history, w->name)) {
        return;
    }
    w->busy = true;
    w->call_us = sim_now_us(s);
    l->calls++;
    tell_request(w, host);
    if (w->request.kind != USER_LIST) {
        w->op = history_call(l->history, w->name, &w->request);
    }
    user_call(sim_host(s, host), &w->request, on_done, w);
}

/* When it comes is drawn from its own stream, however long the ones before it take. */
static void draw_next(struct worker *w) {
    struct sim *s = w->load->swarm->sim;
    CHECK(w->drawn < UINT32_MAX - 1);
    draw_stream(w->load, STREAM_REQUEST + ((uint64_t)w->user << 32) + w->drawn + 1, &w->coming);
    sim_at(s, &w->think, sim_now_us(s) + 1 + prng_exponential(&w->coming, w->load->think_us));
}

static void on_think(struct event *e) {
    struct worker *w = CONTAINER(e, struct worker, think);
    const struct workload *l = w->load;
    const struct prng prng = w->coming;
    uint32_t number = ++w->drawn;
    draw_next(w);
    if (!w->busy && (l->select == NULL || selected(&l->select[w->user - 1], number))) {
        w->prng = prng;
        w->number = number;
        ask(w);
    }
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void workload_init(struct workload *l, struct swarm *w, struct history *h) {
    *l = (struct workload){.swarm = w, .history = h};
    promises_init(&l->promises, w, h);
    struct prng prng;
    draw_stream(l, 0, &prng);
    /* Some runs ask a lot of few names: what is wrong for a moment only must be asked about in that moment. */
    bool hot = prng_chance(&prng, 350000);
    l->hot = hot;
    l->users = (uint32_t)prng_range(&prng, 3, 7);
    l->think_us = hot ? prng_range(&prng, 100 * SIM_MS, 300 * SIM_MS) : prng_range(&prng, 300 * SIM_MS, 2 * SIM_SECOND);
    l->name_count = (uint32_t)(hot ? prng_range(&prng, 1, 3) : prng_range(&prng, 4, WORKLOAD_NAMES_MAX));
    for (uint32_t i = 0; i < l->name_count; i++) {
        l->names[i] = new_name(l, &prng);
    }
    l->keepsake_count = (uint32_t)prng_range(&prng, 0, WORKLOAD_KEEPSAKES_MAX);
    for (uint32_t i = 0; i < l->keepsake_count; i++) {
        l->keepsakes[i] = new_name(l, &prng);
    }
    l->again = prng_chance(&prng, AGAIN_RUNS);
    for (uint32_t i = 0; i < l->users; i++) {
        l->workers[i].load = l;
        l->workers[i].user = i + 1;
        sim_event_init(&l->workers[i].think, on_think, 0);
    }
}

void workload_start(struct workload *l) {
    for (uint32_t i = 0; i < l->users; i++) {
        draw_next(&l->workers[i]);
    }
}

void workload_stop(struct workload *l) {
    for (uint32_t i = 0; i < l->users; i++) {
        sim_cancel(l->swarm->sim, &l->workers[i].think);
    }
}

bool workload_idle(const struct workload *l) {
    for (uint32_t i = 0; i < l->users; i++) {
        if (l->workers[i].busy) {
            return false;
        }
    }
    return true;
}
