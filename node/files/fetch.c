/* One chunk's bytes, verified once: from this node's disk when it is there, else from the node that promises to
 * answer first, by the average of its latencies and the power of two choices (Mitzenmacher 2001). A bad copy is
 * reported to the node that holds it, for repair, and the bytes are taken from elsewhere.
 *
 *   LOCAL ──miss──▶ REMOTE ──bytes──▶ VERIFY ──ok──▶ done
 *                     ▲ ▼ next node      │ bad
 *                     └──────────────────┘             all asked: the most telling error */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define FETCH_MAGIC 0x46455443u
#define LATENCY_WEIGHT 8 /* a new sample counts for an eighth */

struct latency {
    uint32_t node;
    uint64_t average_ms8; /* times LATENCY_WEIGHT */
    UT_hash_handle hh;
};

struct fetch {
    uint32_t magic;
    struct files *files;
    TAILQ_ENTRY(fetch) link;
    struct disk_op op;
    struct digest digest;
    uint32_t group;
    uint32_t candidates[FILES_FETCH_NODES_MAX]; /* not yet asked */
    uint32_t candidate_count;
    uint32_t unasked; /* replicas that are not alive: a copy may be there */
    uint32_t asked;
    uint64_t asked_ms;
    bool local;
    bool cancelled;
    int worst; /* what to report when everybody failed */
    uint8_t *bytes;
    size_t size;
    fetch_cb *cb;
    void *ctx;
};

static void next(struct fetch *x);

static void fetch_free(struct fetch *x) {
    TAILQ_REMOVE(&x->files->fetches, x, link);
    free(x->bytes);
    x->magic = 0;
    free(x);
}

static void fetch_finish(struct fetch *x, int status) {
    if (!x->cancelled && !x->files->stopped) {
        x->cb(x->ctx, status, x->bytes, status ? 0 : x->size);
    }
    fetch_free(x);
}

static struct latency *latency_of(struct files *f, uint32_t node) {
    struct latency *l;
    HASH_FIND(hh, f->latencies, &node, sizeof(node), l);
    if (!l) {
        l = calloc(1, sizeof(*l));
        CHECK(l); /* one per member */
        l->node = node;
        HASH_ADD(hh, f->latencies, node, sizeof(l->node), l);
    }
    return l;
}

static void learn_latency(struct fetch *x, bool failed) {
    struct latency *l = latency_of(x->files, x->asked);
    uint64_t took = clock_now_ms(x->files->params.clock) - x->asked_ms + (failed ? FILES_ATTEMPT_MS : 0);
    l->average_ms8 += took - l->average_ms8 / LATENCY_WEIGHT;
}

static void ask_chunk(struct fetch *x, bool doubt, peers_reply_cb *cb, void *ctx) {
    const struct chunk_get_request req = {.digest = x->digest, .doubt = doubt};
    struct buf body;
    buf_init(&body, PEER_BODY_MAX);
    chunk_get_encode(&req, &body);
    peers_request(x->files->params.peers, x->asked, LANE_BULK, OP_CHUNK_GET, &body, FILES_ATTEMPT_MS, cb, ctx);
    buf_release(&body);
}

static void nobody_waits(void *ctx, int status, const uint8_t *body, size_t size) {
    (void)ctx;
    (void)status;
    (void)body;
    (void)size;
}

static int verify_run(struct txn *t, struct disk_op *op) {
    struct fetch *x = (struct fetch *)((char *)op - offsetof(struct fetch, op));
    struct digest actual;
    uint32_t flags;
    uint64_t plain;
    if (x->local) {
        x->bytes = malloc(CHUNK_STORED_MAX);
        int rc = x->bytes ? chunk_get(t, &x->digest, x->bytes, CHUNK_STORED_MAX, &x->size) : ERR_NOMEM;
        if (rc) {
            return rc;
        }
    }
    digest_of(x->bytes, x->size, &actual);
    return digest_equal(&actual, &x->digest) ? chunk_header_decode(x->bytes, x->size, &flags, &plain) : ERR_CORRUPT;
}

static void verify_done(struct disk_op *op, int status) {
    struct fetch *x = (struct fetch *)((char *)op - offsetof(struct fetch, op));
    CHECK(x->magic == FETCH_MAGIC);
    if (x->cancelled || x->files->stopped || status == 0) {
        fetch_finish(x, status);
        return;
    }
    if (x->worst == 0 || status == ERR_CORRUPT) {
        x->worst = status;
    }
    if (status == ERR_CORRUPT && x->local) {
        repair_bad(x->files, &x->digest);
    } else if (status == ERR_CORRUPT) {
        ask_chunk(x, true, nobody_waits, NULL); /* it verifies for itself: nobody's word makes a copy bad */
    } else if (status == ERR_NOT_FOUND && x->local) {
        repair_lacking(x->files, &x->digest);
    }
    free(x->bytes);
    x->bytes = NULL;
    x->local = false;
    next(x);
}

static void fetched(void *ctx, int status, const uint8_t *body, size_t size) {
    struct fetch *x = ctx;
    CHECK(x->magic == FETCH_MAGIC);
    learn_latency(x, status != 0);
    if (x->cancelled) {
        fetch_free(x);
        return;
    }
    if (!status && (size < CHUNK_HEADER_SIZE || size > CHUNK_STORED_MAX)) {
        status = ERR_CORRUPT;
    }
    x->bytes = status ? NULL : malloc(size);
    if (!x->bytes) {
        if (x->worst != ERR_CORRUPT && (status != ERR_NOT_FOUND || x->worst == 0)) {
            x->worst = status ? status : ERR_NOMEM;
        }
        next(x);
        return;
    }
    memcpy(x->bytes, body, size);
    x->size = size;
    x->op = (struct disk_op){.run = verify_run, .done = verify_done};
    disk_work(x->files->params.disk, &x->op);
}

static void add_candidate(struct fetch *x, uint32_t node) {
    const struct peers *peers = x->files->params.peers;
    for (uint32_t i = 0; i < x->candidate_count; i++) {
        if (x->candidates[i] == node) {
            return;
        }
    }
    if (node && peers_alive(peers, node) && x->candidate_count < FILES_FETCH_NODES_MAX) {
        x->candidates[x->candidate_count++] = node;
    } else {
        x->unasked++;
    }
}

/* Those of the route; before anything is known of it (after a start), those of the placement, and then what they lack
 * may be elsewhere. */
static void add_candidates(struct fetch *x) {
    const struct groups *g = x->files->params.groups;
    const struct route *route = groups_route(g, x->group);
    const uint32_t *nodes = route->nodes;
    unsigned count = route->count;
    if (count == 0) {
        count = groups_placed(g, x->group, &nodes);
        x->unasked++;
    }
    for (unsigned i = 0; i < count; i++) {
        if (nodes[i] != groups_self(g)) {
            add_candidate(x, nodes[i]);
        }
    }
}

static uint32_t take_candidate(struct fetch *x, uint32_t i) {
    uint32_t node = x->candidates[i];
    x->candidates[i] = x->candidates[--x->candidate_count];
    return node;
}

static uint32_t choose(struct fetch *x) {
    struct files *f = x->files;
    uint32_t n = x->candidate_count;
    uint32_t a = (uint32_t)(random_u64(f->params.random) % n), b = (uint32_t)(random_u64(f->params.random) % n);
    uint64_t la = latency_of(f, x->candidates[a])->average_ms8, lb = latency_of(f, x->candidates[b])->average_ms8;
    return take_candidate(x, la <= lb ? a : b);
}

static void next(struct fetch *x) {
    struct files *f = x->files;
    if (x->candidate_count == 0) {
        bool open = x->worst == 0 || (x->worst == ERR_NOT_FOUND && x->unasked > 0);
        fetch_finish(x, open ? ERR_UNAVAILABLE : x->worst);
        return;
    }
    x->asked = choose(x);
    x->asked_ms = clock_now_ms(f->params.clock);
    ask_chunk(x, false, fetched, x);
}

struct fetch *fetch_begin(struct files *f, const struct digest *digest, bool skip_local, fetch_cb *cb, void *ctx) {
    struct fetch *x = calloc(1, sizeof(*x));
    struct groups_info info;
    CHECK(x);
    x->magic = FETCH_MAGIC;
    x->files = f;
    x->digest = *digest;
    x->group = files_group_of(f, digest);
    x->cb = cb;
    x->ctx = ctx;
    TAILQ_INSERT_TAIL(&f->fetches, x, link);
    groups_info(f->params.groups, x->group, &info);
    add_candidates(x);
    x->local = !skip_local && info.here;
    x->op = (struct disk_op){.run = verify_run, .done = verify_done};
    /* With nobody to ask, the local look says what there is to say, in a later turn. */
    if (x->local || x->candidate_count == 0) {
        x->local = true;
        disk_read(f->params.disk, DISK_CHUNKS, &x->op);
    } else {
        next(x);
    }
    return x;
}

void fetch_cancel(struct fetch *x) {
    CHECK(x->magic == FETCH_MAGIC);
    x->cancelled = true;
}

void fetch_release(struct files *f) {
    struct latency *l, *after;
    while (!TAILQ_EMPTY(&f->fetches)) {
        fetch_free(TAILQ_FIRST(&f->fetches));
    }
    HASH_ITER(hh, f->latencies, l, after) {
        HASH_DEL(f->latencies, l);
        free(l);
    }
}
