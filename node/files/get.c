/* A get: the name once, linearizably; then its chunks in order, several ahead.
 *
 *   NAMING ──row──▶ READING ──last byte──▶ OVER
 *      ▲               │ a chunk is nowhere to be had: was the name replaced meanwhile?
 *      └── nothing delivered yet, and it was ──┘                 (any failure: OVER) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define GET_MAGIC 0x47455421u

enum get_state { GET_NAMING, GET_READING, GET_OVER };
enum slot_state { SLOT_EMPTY, SLOT_FETCHING, SLOT_READY, SLOT_FAILED };

struct slot {
    struct files_get *get;
    enum slot_state state;
    uint32_t index; /* of the chunk */
    struct fetch *fetch;
    uint8_t *bytes; /* stored bytes */
    size_t size;
    int status;
};

struct files_get {
    uint32_t magic;
    struct files *files;
    TAILQ_ENTRY(files_get) link;
    struct files_get_params params;
    struct name name;
    char text[NAME_TEXT_MAX + 1];
    size_t text_size;
    enum get_state state;
    bool abandoned, reported, paused, headed, recheck;
    bool asking; /* the name is being looked up */
    uint32_t refs;
    struct version version;
    uint64_t size, modified_ms;
    uint8_t *inline_bytes;
    struct chunk_ref *chunks;
    uint32_t chunk_count;
    uint64_t at, end;     /* next byte to deliver, and the first one not wanted */
    uint32_t chunk;       /* that holds `at` */
    uint64_t chunk_start; /* its first byte */
    uint32_t fetched;     /* next chunk to ask for */
    struct slot slots[FILES_GET_WINDOW];
    uint64_t progress_ms;
    struct timer timer;
    struct files_result result;
};

static void get_free(struct files_get *g) {
    TAILQ_REMOVE(&g->files->gets, g, link);
    timer_stop(g->files->params.timers, &g->timer);
    for (int i = 0; i < FILES_GET_WINDOW; i++) {
        free(g->slots[i].bytes);
    }
    free(g->inline_bytes);
    free(g->chunks);
    g->magic = 0;
    free(g);
}

static void get_unref(struct files_get *g) {
    CHECK(g->magic == GET_MAGIC && g->refs > 0);
    if (--g->refs == 0 && g->state == GET_OVER && g->reported) {
        get_free(g);
    }
}

static void slot_clear(struct files_get *g, struct slot *s) {
    CHECK(s->state != SLOT_EMPTY && g->files->get_chunks > 0);
    free(s->bytes);
    s->bytes = NULL;
    s->state = SLOT_EMPTY;
    g->files->get_chunks--;
}

static void drop_slots(struct files_get *g) {
    for (int i = 0; i < FILES_GET_WINDOW; i++) {
        struct slot *s = &g->slots[i];
        bool fetching = s->state == SLOT_FETCHING;
        if (fetching) {
            fetch_cancel(s->fetch); /* it will not come back */
            s->fetch = NULL;
        }
        if (s->state != SLOT_EMPTY) {
            slot_clear(g, s);
        }
        if (fetching) {
            get_unref(g);
        }
    }
}

static void get_soon(struct files_get *g) {
    timer_start(g->files->params.timers, &g->timer, clock_now_ms(g->files->params.clock));
}

static void get_over(struct files_get *g) {
    CHECK(!g->reported);
    g->state = GET_OVER;
    drop_slots(g);
    get_soon(g);
}

static void get_fail(struct files_get *g, int status, const char *remedy) {
    if (g->state != GET_OVER) {
        files_fail(&g->result, status, "get", g->text, g->text_size, remedy);
        get_over(g);
    }
}

static void get_done(struct files_get *g) {
    g->result = (struct files_result){.version = g->version, .size = g->size, .modified_ms = g->modified_ms};
    get_over(g);
}

/* ---- chunks -------------------------------------------------------------------------------------------------------
 */

static void slot_filled(void *ctx, int status, const uint8_t *stored, size_t size) {
    struct slot *s = ctx;
    struct files_get *g = s->get;
    CHECK(g->magic == GET_MAGIC && s->state == SLOT_FETCHING);
    CHECK(g->state == GET_READING && s->index >= g->chunk && s->index < g->fetched);
    bool fits = !status && size == (size_t)g->chunks[s->index].size + CHUNK_HEADER_SIZE;
    s->fetch = NULL;
    s->bytes = fits ? malloc(size) : NULL;
    s->state = s->bytes ? SLOT_READY : SLOT_FAILED;
    s->status = status ? status : fits ? ERR_NOMEM : ERR_CORRUPT;
    s->size = size;
    if (s->bytes) {
        memcpy(s->bytes, stored, size);
    }
    get_soon(g);
    get_unref(g);
}

static struct slot *slot_of(struct files_get *g, uint32_t index) {
    for (int i = 0; i < FILES_GET_WINDOW; i++) {
        if (g->slots[i].state != SLOT_EMPTY && g->slots[i].index == index) {
            return &g->slots[i];
        }
    }
    return NULL;
}

static void slot_fetch(struct files_get *g, struct slot *s, uint32_t index) {
    s->get = g;
    s->index = index;
    s->state = SLOT_FETCHING;
    g->files->get_chunks++;
    g->refs++;
    s->fetch = fetch_begin(g->files, &g->chunks[index].digest, false, slot_filled, s);
}

static void ask_ahead(struct files_get *g) {
    uint64_t start = g->chunk_start;
    for (uint32_t i = g->chunk; i < g->fetched; i++) {
        start += g->chunks[i].size;
    }
    for (int i = 0; i < FILES_GET_WINDOW && g->fetched < g->chunk_count && start < g->end; i++) {
        bool needed = g->fetched == g->chunk;
        if (g->slots[i].state == SLOT_EMPTY && (needed || g->files->get_chunks < g->files->params.tuning.gets_ahead)) {
            start += g->chunks[g->fetched].size;
            slot_fetch(g, &g->slots[i], g->fetched++);
        }
    }
}

/* A chunk that was nowhere to be had is asked for again, after a look whether the name still means this version. */
static void chunk_failed(struct files_get *g, struct slot *s) {
    char remedy[FILES_MESSAGE_MAX / 2];
    uint64_t now = clock_now_ms(g->files->params.clock);
    if (now > g->progress_ms + FILES_TIMEOUT_MS) {
        (void)snprintf(remedy, sizeof(remedy), "part %u of %u: %s", s->index + 1, g->chunk_count,
                       s->status == ERR_NOT_FOUND
                           ? "no copy of it was found on the nodes that answer: see 'shoal status'"
                           : files_remedy(s->status));
        get_fail(g, s->status == ERR_NOT_FOUND ? ERR_CORRUPT : s->status, remedy);
        return;
    }
    slot_clear(g, s);
    g->recheck = true;
}

static void announce(struct files_get *g) {
    if (!g->headed) {
        g->headed = true;
        g->params.head(g->params.ctx, g->size, &g->version, g->modified_ms);
    }
}

static void deliver_chunk(struct files_get *g, struct slot *s) {
    announce(g);
    if (g->state != GET_READING) {
        return; /* abandoned by who was told */
    }
    uint64_t size = g->chunks[g->chunk].size;
    uint64_t from = g->at - g->chunk_start;
    uint64_t to = g->end - g->chunk_start < size ? g->end - g->chunk_start : size;
    const uint8_t *plain = s->bytes + CHUNK_HEADER_SIZE;
    uint8_t *bytes = s->bytes;
    g->at += to - from;
    if (to == size) {
        g->chunk_start += size;
        g->chunk++;
    }
    s->bytes = NULL;
    slot_clear(g, s);
    g->progress_ms = clock_now_ms(g->files->params.clock);
    g->params.data(g->params.ctx, plain + from, (size_t)(to - from));
    free(bytes);
}

static void get_name(struct files_get *g);

static void read_on(struct files_get *g) {
    if (g->asking) {
        return; /* what the name means decides how to go on */
    }
    while (g->state == GET_READING && !g->abandoned && !g->paused && !g->recheck && g->at < g->end) {
        struct slot *s = slot_of(g, g->chunk);
        if (s && s->state == SLOT_READY) {
            deliver_chunk(g, s);
        } else if (s && s->state == SLOT_FAILED) {
            chunk_failed(g, s);
        } else {
            break;
        }
    }
    if (g->state != GET_READING || g->abandoned) {
        return;
    }
    if (g->at >= g->end) {
        announce(g);
        if (g->state == GET_READING) {
            get_done(g);
        }
    } else if (g->recheck) {
        get_name(g);
    } else {
        ask_ahead(g);
    }
}

/* ---- the name -----------------------------------------------------------------------------------------------------
 */

static int take_row(struct files_get *g, const struct name_row *row, struct chunk_ref **space) {
    g->version = row->version;
    g->size = row->size;
    g->modified_ms = row->modified_ms;
    if (g->params.offset > row->size) {
        return ERR_INVALID;
    }
    uint64_t left = row->size - g->params.offset;
    g->at = g->params.offset;
    g->end = g->at + (g->params.length < left ? g->params.length : left);
    free(g->chunks);
    free(g->inline_bytes);
    g->chunks = NULL;
    g->chunk_count = 0;
    g->inline_bytes = NULL;
    if (row->is_inline) {
        g->inline_bytes = malloc(row->size ? row->size : 1);
        if (!g->inline_bytes) {
            return ERR_NOMEM;
        }
        if (row->size) {
            memcpy(g->inline_bytes, row->bytes, row->size);
        }
        return 0;
    }
    g->chunks = *space;
    *space = NULL;
    g->chunk_count = row->chunk_count;
    g->chunk = 0;
    g->chunk_start = 0;
    while (g->chunk < g->chunk_count && g->chunk_start + g->chunks[g->chunk].size <= g->at) {
        g->chunk_start += g->chunks[g->chunk++].size;
    }
    g->fetched = g->chunk;
    return 0;
}

static void begin_reading(struct files_get *g) {
    g->state = GET_READING;
    if (g->inline_bytes) {
        announce(g);
    }
    if (g->inline_bytes && g->state == GET_READING) {
        if (g->end > g->at) {
            g->params.data(g->params.ctx, g->inline_bytes + g->at, (size_t)(g->end - g->at));
        }
        g->at = g->end;
    }
    read_on(g);
}

/* The second look: the same version is tried on; another one is begun anew, if nothing was delivered of the old. */
static void rechecked(struct files_get *g, const struct name_row *row, int rc) {
    if (rc == 0 && memcmp(&row->version, &g->version, sizeof(g->version)) == 0) {
        g->fetched = g->chunk;
        drop_slots(g);
        timer_start(g->files->params.timers, &g->timer, clock_now_ms(g->files->params.clock) + FILES_RETRY_MS);
    } else if ((rc == 0 || rc == ERR_NOT_FOUND) && g->headed) {
        get_fail(g, ERR_STALE, "it was replaced or removed while it was read: try again");
    } else {
        CHECK(rc != 0);
        get_fail(g, rc, NULL);
    }
}

static void first_look(struct files_get *g, const struct name_row *row, int rc, struct chunk_ref **space) {
    drop_slots(g);
    rc = rc ? rc : take_row(g, row, space);
    if (rc) {
        get_fail(g, rc, rc == ERR_INVALID ? "the offset lies behind the end" : NULL);
    } else {
        begin_reading(g);
    }
}

static void named(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct files_get *g = ctx;
    struct name_row row;
    struct chunk_ref *space = calloc(COMMAND_CHUNKS_MAX, sizeof(*space));
    (void)config;
    CHECK(g->magic == GET_MAGIC && space);
    CHECK(g->asking);
    g->asking = false;
    int rc = status ? status : machine_name_answer(result, size, space, &row);
    if (g->state != GET_OVER) {
        bool replaced = rc == 0 && memcmp(&row.version, &g->version, sizeof(g->version)) != 0;
        bool second = g->recheck;
        g->recheck = false;
        if (second && (g->headed || !replaced)) {
            rechecked(g, &row, rc);
        } else {
            first_look(g, &row, rc, &space);
        }
    }
    free(space);
    get_unref(g);
}

static void get_name(struct files_get *g) {
    struct groups *groups = g->files->params.groups;
    struct query q = {.kind = QUERY_NAME, .name = g->name};
    struct buf b;
    CHECK(!g->asking);
    g->asking = true;
    buf_init(&b, PEER_BODY_MAX);
    query_encode(&q, &b);
    g->refs++;
    groups_query(groups, groups_of(groups, name_position(&g->name)), &b, FILES_TIMEOUT_MS, named, g);
    buf_release(&b);
}

/* ---- begin, go on, report -----------------------------------------------------------------------------------------
 */

static void get_fire(struct timer *t) {
    struct files_get *g = (struct files_get *)((char *)t - offsetof(struct files_get, timer));
    CHECK(g->magic == GET_MAGIC);
    g->refs++;
    if (g->state == GET_READING) {
        read_on(g);
    } else if (g->state == GET_OVER && !g->reported) {
        g->reported = true;
        if (!g->abandoned) {
            g->params.done(g->params.ctx, &g->result);
        }
    }
    get_unref(g);
}

struct files_get *files_get_begin(struct files *f, const struct files_get_params *params) {
    struct files_get *g = calloc(1, sizeof(*g));
    CHECK(g);
    g->magic = GET_MAGIC;
    g->files = f;
    g->params = *params;
    g->timer.fire = get_fire;
    g->progress_ms = clock_now_ms(f->params.clock);
    TAILQ_INSERT_TAIL(&f->gets, g, link);
    if (files_name(params->name, params->name_size, &g->name, &g->result, "get")) {
        get_over(g);
    } else {
        g->text_size = name_text(&g->name, g->text);
        get_name(g);
    }
    return g;
}

void files_get_pause(struct files_get *g) {
    g->paused = true;
}

void files_get_resume(struct files_get *g) {
    CHECK(g->magic == GET_MAGIC);
    g->paused = false;
    g->progress_ms = clock_now_ms(g->files->params.clock);
    if (g->state == GET_READING) {
        get_soon(g);
    }
}

void files_get_abandon(struct files_get *g) {
    CHECK(g->magic == GET_MAGIC);
    g->abandoned = true;
    if (g->state != GET_OVER) {
        get_over(g);
    }
}

void get_release(struct files *f) {
    while (!TAILQ_EMPTY(&f->gets)) {
        get_free(TAILQ_FIRST(&f->gets));
    }
}
