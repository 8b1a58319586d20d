/* Remove and stat: one command, one query. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct small {
    struct files *files;
    TAILQ_ENTRY(small) link;
    struct timer timer; /* reports what went wrong before anything was asked */
    const char *verb;
    struct name name;
    char text[NAME_TEXT_MAX + 1];
    size_t text_size;
    uint64_t seq;
    struct files_result result;
    files_done_cb *done;
    void (*stat_done)(void *ctx, const struct files_stat *stat);
    void *ctx;
};

static void small_free(struct small *s) {
    TAILQ_REMOVE(&s->files->smalls, s, link);
    timer_stop(s->files->params.timers, &s->timer);
    free(s);
}

static void small_fire(struct timer *t) {
    struct small *s = (struct small *)((char *)t - offsetof(struct small, timer));
    struct files_stat stat = {.result = s->result};
    if (s->done) {
        s->done(s->ctx, &s->result);
    } else {
        s->stat_done(s->ctx, &stat);
    }
    small_free(s);
}

static struct small *small_new(struct files *f, const char *verb, const char *name, size_t name_size) {
    struct small *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->files = f;
    s->verb = verb;
    s->timer.fire = small_fire;
    TAILQ_INSERT_TAIL(&f->smalls, s, link);
    if (files_name(name, name_size, &s->name, &s->result, verb)) {
        timer_start(f->params.timers, &s->timer, clock_now_ms(f->params.clock));
    } else {
        s->text_size = name_text(&s->name, s->text);
    }
    return s;
}

/* ---- remove -------------------------------------------------------------------------------------------------------
 */

static void removed(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct small *s = ctx;
    struct command_result r = {0};
    (void)config;
    groups_sequence_done(s->files->params.groups, s->seq);
    int rc = status ? status : command_result_decode(result, size, &r);
    rc = rc ? rc : r.status;
    if (rc) {
        files_fail(&s->result, rc, s->verb, s->text, s->text_size, NULL);
    }
    s->result.version = r.version;
    s->done(s->ctx, &s->result);
    small_free(s);
}

void files_remove(struct files *f, const char *name, size_t name_size, enum name_condition condition,
                  const struct version *match, files_done_cb *done, void *ctx) {
    struct groups *g = f->params.groups;
    struct command c = {.kind = COMMAND_NAME_RM};
    struct buf b;
    struct small *s = small_new(f, "rm", name, name_size);
    s->done = done;
    s->ctx = ctx;
    if (s->result.status) {
        return;
    }
    c.u.rm.name = s->name;
    c.u.rm.condition = condition;
    c.u.rm.match = *match;
    groups_sequence(g, &c);
    s->seq = c.seq;
    buf_init(&b, PEER_BODY_MAX);
    command_encode(&c, &b);
    groups_propose(g, groups_of(g, name_position(&s->name)), &b, FILES_TIMEOUT_MS, removed, s);
    buf_release(&b);
}

/* ---- stat ---------------------------------------------------------------------------------------------------------
 */

static void fill_stat(struct small *s, const struct name_row *row, struct files_stat *out) {
    struct groups *g = s->files->params.groups;
    uint32_t group = groups_of(g, name_position(&s->name));
    out->result.version = row->version;
    out->result.size = row->size;
    out->result.modified_ms = row->modified_ms;
    memcpy(out->name, s->text, s->text_size + 1);
    out->chunks = row->chunk_count;
    out->is_inline = row->is_inline;
    out->arc = group - 1;
    out->route = *groups_route(g, group);
    out->chunk_replicas_min = out->route.count;
    for (uint32_t i = 0; i < row->chunk_count; i++) {
        uint8_t count = groups_route(g, files_group_of(s->files, &row->chunks[i].digest))->count;
        out->chunk_replicas_min = i == 0 || count < out->chunk_replicas_min ? count : out->chunk_replicas_min;
    }
}

static void stated(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct small *s = ctx;
    struct files_stat stat = {0};
    struct name_row row;
    struct chunk_ref *space = calloc(COMMAND_CHUNKS_MAX, sizeof(*space));
    (void)config;
    CHECK(space);
    int rc = status ? status : machine_name_answer(result, size, space, &row);
    if (rc) {
        files_fail(&stat.result, rc, s->verb, s->text, s->text_size, NULL);
    } else {
        fill_stat(s, &row, &stat);
    }
    s->stat_done(s->ctx, &stat);
    free(space);
    small_free(s);
}

void files_stat(struct files *f, const char *name, size_t name_size,
                void (*done)(void *ctx, const struct files_stat *stat), void *ctx) {
    struct groups *g = f->params.groups;
    struct query q = {.kind = QUERY_NAME};
    struct buf b;
    struct small *s = small_new(f, "stat", name, name_size);
    s->stat_done = done;
    s->ctx = ctx;
    if (s->result.status) {
        return;
    }
    q.name = s->name;
    buf_init(&b, PEER_BODY_MAX);
    query_encode(&q, &b);
    groups_query(g, groups_of(g, name_position(&s->name)), &b, FILES_TIMEOUT_MS, stated, s);
    buf_release(&b);
}

void small_release(struct files *f) {
    while (!TAILQ_EMPTY(&f->smalls)) {
        small_free(TAILQ_FIRST(&f->smalls));
    }
}
