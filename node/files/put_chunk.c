/* One chunk of a put: hashed on the pool, then its reference through the group's leader and its bytes to the group's
 * replicas, at the same time. Durable when the reference is committed and a majority of the configuration it was
 * committed in (of both halves, when joint) has the bytes on disk (I6).
 *
 *   HASHING ──▶ SENDING ──▶ DURABLE          (OVER: the put failed) */
#include <stdlib.h>
#include <string.h>

#include "put.h"

#define PUT_CHUNK_MAGIC 0x50434b21u

enum target_state { TARGET_IDLE, TARGET_ASKED, TARGET_HAS, TARGET_FULL };
enum put_chunk_state { CHUNK_HASHING, CHUNK_SENDING, CHUNK_OVER };

struct put_chunk {
    uint32_t magic;
    struct files *files;
    struct files_put *put; /* NULL once OVER */
    TAILQ_ENTRY(put_chunk) link;
    struct disk_op op;
    struct timer timer; /* asks again */
    enum put_chunk_state state;
    uint32_t index;
    uint32_t group;
    uint32_t refs; /* callbacks under way */
    uint8_t *bytes;
    size_t size;
    struct digest digest;
    bool referenced;
    struct raft_config config; /* in force where the reference was committed */
    struct version version;
    uint32_t target_count;
    struct target {
        struct put_chunk *chunk;
        uint32_t node;
        enum target_state state;
    } targets[RAFT_REPLICAS_MAX];
};

static void chunk_unref(struct put_chunk *c) {
    CHECK(c->magic == PUT_CHUNK_MAGIC && c->refs > 0);
    if (--c->refs == 0 && c->state == CHUNK_OVER) {
        TAILQ_REMOVE(&c->files->put_chunks, c, link);
        free(c->bytes);
        c->magic = 0;
        free(c);
    }
}

/* Nobody waits for this chunk any more; answers still under way find an empty shell. */
static void chunk_over(struct put_chunk *c) {
    struct files_put *p = c->put;
    if (c->state == CHUNK_OVER) {
        return;
    }
    c->state = CHUNK_OVER;
    c->put = NULL;
    timer_stop(c->files->params.timers, &c->timer);
    free(c->bytes);
    c->bytes = NULL;
    put_spent(c->files, c->size);
    put_unref(p);
}

static bool has_bytes(void *ctx, uint64_t id) {
    const struct put_chunk *c = ctx;
    const struct raft_replica *row = raft_config_find(&c->config, id);
    for (uint32_t i = 0; row && i < c->target_count; i++) {
        if (c->targets[i].node == row->node) {
            return c->targets[i].state == TARGET_HAS;
        }
    }
    return false;
}

/* Could still get the bytes, or has them. */
static bool may_have(void *ctx, uint64_t id) {
    const struct put_chunk *c = ctx;
    const struct raft_replica *row = raft_config_find(&c->config, id);
    for (uint32_t i = 0; row && i < c->target_count; i++) {
        if (c->targets[i].node == row->node) {
            return c->targets[i].state != TARGET_FULL;
        }
    }
    return true;
}

static void chunk_check(struct put_chunk *c) {
    struct files_put *p = c->put;
    if (!p || !c->referenced) {
        return;
    }
    if (raft_config_quorum(&c->config, has_bytes, c)) {
        uint32_t index = c->index;
        p->refs++; /* the put outlives its chunk */
        chunk_over(c);
        put_chunk_durable(p, index);
        put_unref(p);
    } else if (!raft_config_quorum(&c->config, may_have, c)) {
        put_fail(p, ERR_NO_SPACE, NULL);
    }
}

static void sent(void *ctx, int status, const uint8_t *body, size_t size) {
    struct target *t = ctx;
    struct put_chunk *c = t->chunk;
    (void)body;
    (void)size;
    CHECK(c->magic == PUT_CHUNK_MAGIC);
    t->state = status == 0 ? TARGET_HAS : status == ERR_NO_SPACE ? TARGET_FULL : TARGET_IDLE;
    if (c->put && (c->put->state == PUT_OVER || c->files->stopped)) {
        chunk_over(c);
    }
    if (c->put && status == 0) {
        put_progress(c->put);
    }
    chunk_check(c);
    if (c->put && t->state == TARGET_IDLE && c->timer.slot == 0) {
        timer_start(c->files->params.timers, &c->timer, clock_now_ms(c->files->params.clock) + FILES_RETRY_MS);
    }
    chunk_unref(c);
}

static void send_to(struct put_chunk *c, struct target *t) {
    struct files *f = c->files;
    struct buf body;
    struct chunk_put_request req = {.group = c->group, .digest = c->digest, .bytes = c->bytes, .size = c->size};
    CHECK(c->bytes && t->state == TARGET_IDLE);
    memcpy(req.version, c->version.bytes, sizeof(req.version));
    buf_init(&body, PEER_BODY_MAX);
    chunk_put_encode(&req, &body);
    t->state = TARGET_ASKED;
    c->refs++;
    peers_request(f->params.peers, t->node, LANE_BULK, OP_CHUNK_PUT, &body, FILES_ATTEMPT_MS, sent, t);
    buf_release(&body);
}

static void add_target(struct put_chunk *c, uint32_t node) {
    for (uint32_t i = 0; i < c->target_count; i++) {
        if (c->targets[i].node == node) {
            return;
        }
    }
    if (c->target_count < RAFT_REPLICAS_MAX) {
        c->targets[c->target_count++] = (struct target){.chunk = c, .node = node};
    }
}

/* To whom the route says serves the group; once the reference is committed, to whom its configuration says. */
static void send_all(struct put_chunk *c) {
    struct files *f = c->files;
    const struct route *route = groups_route(f->params.groups, c->group);
    for (uint32_t i = 0; !c->referenced && i < route->count; i++) {
        add_target(c, route->nodes[i]);
    }
    for (uint32_t i = 0; c->referenced && i < c->config.count; i++) {
        if (c->config.replicas[i].flags & (RAFT_VOTER | RAFT_VOTER_OLD)) {
            add_target(c, c->config.replicas[i].node);
        }
    }
    for (uint32_t i = 0; i < c->target_count; i++) {
        if (c->targets[i].state == TARGET_IDLE && peers_alive(f->params.peers, c->targets[i].node)) {
            send_to(c, &c->targets[i]);
        }
    }
}

static void chunk_fire(struct timer *t) {
    struct put_chunk *c = (struct put_chunk *)((char *)t - offsetof(struct put_chunk, timer));
    CHECK(c->magic == PUT_CHUNK_MAGIC && c->put);
    c->refs++;
    if (c->put->state == PUT_OVER) {
        chunk_over(c);
    } else {
        send_all(c);
        timer_start(c->files->params.timers, &c->timer, clock_now_ms(c->files->params.clock) + FILES_RETRY_MS);
    }
    chunk_unref(c);
}

static void referenced(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct put_chunk *c = ctx;
    struct command_result r;
    CHECK(c->magic == PUT_CHUNK_MAGIC);
    int rc = status ? status : command_result_decode(result, size, &r);
    rc = rc ? rc : r.status;
    if (c->put && c->put->state == PUT_OVER) {
        chunk_over(c);
    } else if (c->put && rc) {
        put_fail(c->put, rc, NULL);
    } else if (c->put) {
        c->referenced = true;
        c->config = *config;
        put_progress(c->put);
        send_all(c);
        chunk_check(c);
    }
    chunk_unref(c);
}

static void add_reference(struct put_chunk *c) {
    struct files_put *p = c->put;
    struct chunk_ref ref = {.digest = c->digest, .size = (uint32_t)(c->size - CHUNK_HEADER_SIZE)};
    struct command cmd = {.kind = COMMAND_REF_ADD};
    struct buf b;
    cmd.u.refs.version = p->version;
    cmd.u.refs.name = p->name;
    cmd.u.refs.chunk_count = 1;
    cmd.u.refs.chunks = &ref;
    buf_init(&b, PEER_BODY_MAX);
    command_encode(&cmd, &b);
    c->refs++;
    groups_propose(c->files->params.groups, c->group, &b, FILES_TIMEOUT_MS, referenced, c);
    buf_release(&b);
}

static int hash_run(struct txn *t, struct disk_op *op) {
    struct put_chunk *c = (struct put_chunk *)((char *)op - offsetof(struct put_chunk, op));
    (void)t;
    digest_of(c->bytes, c->size, &c->digest);
    return 0;
}

static void hash_done(struct disk_op *op, int status) {
    struct put_chunk *c = (struct put_chunk *)((char *)op - offsetof(struct put_chunk, op));
    struct files_put *p = c->put;
    CHECK(c->magic == PUT_CHUNK_MAGIC && p && (status == 0 || c->files->stopped));
    if (p->state == PUT_OVER || c->files->stopped) {
        chunk_over(c);
    } else {
        p->chunks[c->index] = (struct chunk_ref){.digest = c->digest, .size = (uint32_t)(c->size - CHUNK_HEADER_SIZE)};
        c->state = CHUNK_SENDING;
        c->group = files_group_of(c->files, &c->digest);
        add_reference(c);
        send_all(c);
        timer_start(c->files->params.timers, &c->timer, clock_now_ms(c->files->params.clock) + FILES_RETRY_MS);
    }
    chunk_unref(c);
}

void put_chunk_begin(struct files_put *p, uint32_t index, uint8_t *stored, size_t size) {
    struct files *f = p->files;
    struct put_chunk *c = calloc(1, sizeof(*c));
    CHECK(c && index < MANIFEST_CHUNKS_MAX && size > CHUNK_HEADER_SIZE && size <= CHUNK_STORED_MAX);
    chunk_header_encode(stored, 0, size - CHUNK_HEADER_SIZE);
    c->magic = PUT_CHUNK_MAGIC;
    c->files = f;
    c->put = p;
    c->version = p->version;
    c->index = index;
    c->bytes = stored;
    c->size = size;
    c->timer.fire = chunk_fire;
    c->refs = 1;
    p->refs++;
    f->put_bytes += size;
    TAILQ_INSERT_TAIL(&f->put_chunks, c, link);
    c->op = (struct disk_op){.run = hash_run, .done = hash_done};
    disk_work(f->params.disk, &c->op);
}

void put_chunk_release(struct files *f) {
    while (!TAILQ_EMPTY(&f->put_chunks)) {
        struct put_chunk *c = TAILQ_FIRST(&f->put_chunks);
        TAILQ_REMOVE(&f->put_chunks, c, link);
        timer_stop(f->params.timers, &c->timer);
        free(c->bytes);
        free(c);
    }
}
