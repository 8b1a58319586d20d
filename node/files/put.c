/* A put as a whole: cutting into chunks, the window, the name at the end, and the report. */
#include "put.h"

#include <stdlib.h>
#include <string.h>

#define PUT_MAGIC 0x50555421u
#define LARGEST_FILE ((uint64_t)MANIFEST_CHUNKS_MAX * CHUNK_PLAIN_MAX)
#define TOO_LARGE_REMEDY "larger than 1 GiB, the most this version can keep in one file: split it"

static void put_free(struct files_put *p) {
    TAILQ_REMOVE(&p->files->puts, p, link);
    timer_stop(p->files->params.timers, &p->timer);
    buf_release(&p->fill);
    free(p->chunks);
    p->magic = 0;
    free(p);
}

void put_unref(struct files_put *p) {
    CHECK(p->magic == PUT_MAGIC && p->refs > 0);
    if (--p->refs == 0 && p->state == PUT_OVER && p->reported) {
        put_free(p);
    }
}

void put_progress(struct files_put *p) {
    p->progress_ms = clock_now_ms(p->files->params.clock);
}

/* The result is reported in a later turn, never from inside a call of the user. */
static void put_over(struct files_put *p) {
    p->state = PUT_OVER;
    buf_release(&p->fill);
    timer_start(p->files->params.timers, &p->timer, clock_now_ms(p->files->params.clock));
}

/* References of a version that will never be: taken back where that is certain, left to settlement otherwise. */
static void take_back(struct files_put *p) {
    for (uint32_t i = 0; p->chunks && i < p->chunk_count; i++) {
        if (p->chunks[i].size) {
            files_ref_del(p->files, files_group_of(p->files, &p->chunks[i].digest), &p->version, &p->chunks[i].digest,
                          1, FILES_CLEANUP_MS, NULL, NULL);
        }
    }
}

void put_fail(struct files_put *p, int status, const char *remedy) {
    if (p->state == PUT_OVER) {
        return;
    }
    if (p->state != PUT_NAMING) {
        take_back(p);
    }
    files_fail(&p->result, status, "put", p->text, p->text_size, remedy);
    put_over(p);
}

/* ---- the name -----------------------------------------------------------------------------------------------------
 */

static void put_named(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct files_put *p = ctx;
    struct command_result r = {0};
    (void)config;
    groups_sequence_done(p->files->params.groups, p->seq);
    int rc = status ? status : command_result_decode(result, size, &r);
    if (p->state == PUT_OVER) {
        put_unref(p);
        return;
    }
    if (rc || r.status) {
        if (!rc) {
            take_back(p); /* refused for good: the version will never be */
        }
        put_fail(p, rc ? rc : r.status, NULL);
        p->result.version = r.version;
    } else {
        p->result = (struct files_result){.version = r.version, .size = p->size, .modified_ms = r.modified_ms};
        put_over(p);
    }
    put_unref(p);
}

static void put_name(struct files_put *p) {
    struct groups *g = p->files->params.groups;
    struct command c = {.kind = COMMAND_NAME_PUT};
    struct buf b;
    c.u.put.name = p->name;
    c.u.put.version = p->version;
    c.u.put.size = p->size;
    c.u.put.condition = p->params.condition;
    c.u.put.match = p->params.match;
    c.u.put.is_inline = p->chunk_count == 0;
    if (c.u.put.is_inline) {
        c.u.put.bytes = p->fill.size ? p->fill.bytes + CHUNK_HEADER_SIZE : NULL;
    } else {
        c.u.put.chunks = p->chunks;
        c.u.put.chunk_count = p->chunk_count;
    }
    groups_sequence(g, &c);
    p->seq = c.seq;
    p->state = PUT_NAMING;
    p->refs++;
    buf_init(&b, PEER_BODY_MAX);
    command_encode(&c, &b);
    groups_propose(g, groups_of(g, name_position(&p->name)), &b, FILES_TIMEOUT_MS, put_named, p);
    buf_release(&b);
}

static void put_advance(struct files_put *p) {
    if (p->state == PUT_DRAINING && p->active == 0) {
        put_name(p);
    }
}

/* ---- the content --------------------------------------------------------------------------------------------------
 */

static void cut_chunk(struct files_put *p) {
    uint8_t *bytes;
    size_t size;
    if (!p->chunks) {
        p->chunks = calloc(MANIFEST_CHUNKS_MAX, sizeof(p->chunks[0]));
    }
    if (!p->chunks || p->chunk_count == MANIFEST_CHUNKS_MAX) {
        put_fail(p, p->chunks ? ERR_TOO_LARGE : ERR_NOMEM, p->chunks ? TOO_LARGE_REMEDY : NULL);
        return;
    }
    buf_detach(&p->fill, &bytes, &size);
    p->active++;
    put_progress(p);
    put_chunk_begin(p, p->chunk_count++, bytes, size);
}

void files_put_data(struct files_put *p, const uint8_t *bytes, size_t size) {
    CHECK(p->magic == PUT_MAGIC);
    while (size > 0 && p->state == PUT_FILLING) {
        if (p->fill.size == 0) {
            (void)buf_extend(&p->fill, CHUNK_HEADER_SIZE);
        }
        size_t room = CHUNK_STORED_MAX - p->fill.size;
        size_t take = size < room ? size : room;
        buf_append(&p->fill, bytes, take);
        if (p->fill.error) {
            put_fail(p, p->fill.error, NULL);
            return;
        }
        bytes += take;
        size -= take;
        p->size += take;
        if (p->fill.size == CHUNK_STORED_MAX) {
            cut_chunk(p);
        }
    }
}

bool files_put_wants(const struct files_put *p) {
    return p->state == PUT_FILLING && p->active < p->files->params.tuning.put_window &&
           p->files->put_bytes < p->files->params.tuning.puts_bytes;
}

/* Every put that was held back is told, so that none waits behind those that already have chunks under way. */
void put_spent(struct files *f, size_t size) {
    bool was_full = f->put_bytes >= f->params.tuning.puts_bytes;
    struct files_put *p;
    CHECK(size <= f->put_bytes);
    f->put_bytes -= size;
    if (!was_full || f->put_bytes >= f->params.tuning.puts_bytes || f->stopped) {
        return;
    }
    TAILQ_FOREACH(p, &f->puts, link) {
        if (files_put_wants(p) && p->params.more) {
            p->params.more(p->params.ctx);
        }
    }
}

void files_put_end(struct files_put *p) {
    CHECK(p->magic == PUT_MAGIC);
    if (p->state != PUT_FILLING) {
        return;
    }
    if (p->fill.size > 0 && (p->chunk_count > 0 || p->size > INLINE_MAX)) {
        cut_chunk(p);
    }
    if (p->state == PUT_FILLING) {
        p->state = PUT_DRAINING;
        put_progress(p);
        put_advance(p);
    }
}

void put_chunk_durable(struct files_put *p, uint32_t index) {
    CHECK(p->magic == PUT_MAGIC && index < p->chunk_count && p->active > 0);
    p->active--;
    put_progress(p);
    if (p->state == PUT_FILLING && p->params.more) {
        p->params.more(p->params.ctx);
    }
    put_advance(p);
}

/* ---- begin, watch, report -----------------------------------------------------------------------------------------
 */

static void put_report(struct files_put *p) {
    p->reported = true;
    if (!p->abandoned) {
        p->refs++;
        p->params.done(p->params.ctx, &p->result);
        put_unref(p);
    } else if (p->refs == 0) {
        put_free(p);
    }
}

static void put_fire(struct timer *t) {
    struct files_put *p = (struct files_put *)((char *)t - offsetof(struct files_put, timer));
    struct files *f = p->files;
    uint64_t now = clock_now_ms(f->params.clock);
    CHECK(p->magic == PUT_MAGIC);
    if (p->state == PUT_OVER) {
        put_report(p);
        return;
    }
    bool waits_for_user = p->state == PUT_FILLING && p->active < p->files->params.tuning.put_window;
    if (waits_for_user && p->active == 0) {
        p->progress_ms = now;
    }
    if (now > p->progress_ms + FILES_TIMEOUT_MS + FILES_WATCH_MS) {
        put_fail(p, ERR_UNAVAILABLE, NULL);
        return;
    }
    if (files_put_wants(p) && p->params.more) {
        p->params.more(p->params.ctx);
    }
    timer_start(f->params.timers, &p->timer, now + FILES_WATCH_MS);
}

static void put_checked(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size);

/* Whoever cannot win need not send. The name_put decides in the end. */
static void check_condition(struct files_put *p) {
    struct groups *g = p->files->params.groups;
    struct query q = {.kind = QUERY_NAME, .name = p->name};
    struct buf b;
    if (p->params.condition == CONDITION_ANY || p->params.size_hint <= INLINE_MAX) {
        return;
    }
    buf_init(&b, PEER_BODY_MAX);
    query_encode(&q, &b);
    p->refs++;
    groups_query(g, groups_of(g, name_position(&p->name)), &b, FILES_TIMEOUT_MS, put_checked, p);
    buf_release(&b);
}

static void put_checked(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct files_put *p = ctx;
    struct name_row row;
    struct chunk_ref *space = calloc(COMMAND_CHUNKS_MAX, sizeof(*space));
    (void)config;
    CHECK(space);
    int rc = status ? status : machine_name_answer(result, size, space, &row);
    bool absent = rc == ERR_NOT_FOUND;
    bool lost = p->params.condition == CONDITION_ABSENT
                    ? rc == 0
                    : absent || (rc == 0 && memcmp(&row.version, &p->params.match, sizeof(row.version)) != 0);
    if (lost && p->state != PUT_NAMING) {
        put_fail(p, ERR_PRECONDITION, NULL);
    }
    free(space);
    put_unref(p);
}

struct files_put *files_put_begin(struct files *f, const struct files_put_params *params) {
    struct files_put *p = calloc(1, sizeof(*p));
    CHECK(p);
    p->magic = PUT_MAGIC;
    p->files = f;
    p->params = *params;
    p->timer.fire = put_fire;
    buf_init(&p->fill, CHUNK_STORED_MAX);
    put_u64(p->version.bytes, random_u64(f->params.random));
    put_u64(p->version.bytes + sizeof(uint64_t), random_u64(f->params.random));
    put_progress(p);
    TAILQ_INSERT_TAIL(&f->puts, p, link);
    timer_start(f->params.timers, &p->timer, p->progress_ms + FILES_WATCH_MS);
    if (files_name(params->name, params->name_size, &p->name, &p->result, "put")) {
        put_over(p);
        return p;
    }
    p->text_size = name_text(&p->name, p->text);
    if (params->size_hint != UINT64_MAX && params->size_hint > LARGEST_FILE) {
        put_fail(p, ERR_TOO_LARGE, TOO_LARGE_REMEDY);
    } else {
        check_condition(p);
    }
    return p;
}

void files_put_abandon(struct files_put *p) {
    CHECK(p->magic == PUT_MAGIC);
    p->abandoned = true;
    p->params.more = NULL;
    if (p->state != PUT_OVER) {
        put_fail(p, ERR_CLOSED, NULL);
    }
}

void put_release(struct files *f) {
    put_chunk_release(f);
    while (!TAILQ_EMPTY(&f->puts)) {
        put_free(TAILQ_FIRST(&f->puts));
    }
}
