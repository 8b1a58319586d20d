/* What other nodes ask of the chunks here. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

uint32_t files_group_of(const struct files *f, const struct digest *digest) {
    return groups_of(f->params.groups, ring_position(digest));
}

/* ---- OP_CHUNK_PUT: verified on the pool, then stored as store_chunk says ------------------------------------------
 */

struct incoming {
    struct disk_op op;
    TAILQ_ENTRY(incoming) link;
    struct files *files;
    struct peers_call *call;
    uint32_t group;
    struct digest digest;
    struct version version;
    uint8_t *bytes;
    size_t size;
};

static int incoming_run(struct txn *t, struct disk_op *op) {
    struct incoming *in = (struct incoming *)op;
    struct digest actual;
    uint32_t flags;
    uint64_t plain;
    (void)t;
    digest_of(in->bytes, in->size, &actual);
    if (!digest_equal(&actual, &in->digest)) {
        return ERR_CORRUPT;
    }
    return chunk_header_decode(in->bytes, in->size, &flags, &plain);
}

static void incoming_free(struct incoming *in) {
    TAILQ_REMOVE(&in->files->incoming, in, link);
    free(in->bytes);
    free(in);
}

static void stored(void *ctx, int status) {
    struct incoming *in = ctx;
    peers_reply(in->call, status, NULL, 0);
    incoming_free(in);
}

static void incoming_done(struct disk_op *op, int status) {
    struct incoming *in = (struct incoming *)op;
    struct files *f = in->files;
    f->waiting_bytes -= in->size;
    if (f->stopped) {
        incoming_free(in);
    } else if (status) {
        stored(in, status);
    } else {
        uint8_t *bytes = in->bytes;
        in->bytes = NULL;
        store_chunk(f, in->group, &in->digest, &in->version, bytes, in->size, true, stored, in);
    }
}

void serve_chunk_put(struct files *f, struct peers_call *call, const uint8_t *body, size_t size) {
    struct chunk_put_request req;
    int rc = chunk_put_decode(body, size, &req);
    if (!rc && (req.size > CHUNK_STORED_MAX || req.group != files_group_of(f, &req.digest))) {
        rc = ERR_INVALID;
    }
    if (!rc && f->waiting_bytes + req.size > FILES_WAITING_MAX) {
        rc = ERR_BUSY;
    }
    if (!rc && !store_chunk_room(f, req.size)) {
        rc = ERR_NO_SPACE;
    }
    struct incoming *in = rc ? NULL : calloc(1, sizeof(*in));
    uint8_t *bytes = in ? malloc(req.size) : NULL;
    if (!bytes) {
        free(in);
        peers_reply(call, rc ? rc : ERR_NOMEM, NULL, 0);
        return;
    }
    memcpy(bytes, req.bytes, req.size);
    in->op.run = incoming_run;
    in->op.done = incoming_done;
    in->files = f;
    in->call = call;
    in->group = req.group;
    in->digest = req.digest;
    memcpy(in->version.bytes, req.version, sizeof(in->version.bytes));
    in->bytes = bytes;
    in->size = req.size;
    f->waiting_bytes += req.size;
    TAILQ_INSERT_TAIL(&f->incoming, in, link);
    disk_work(f->params.disk, &in->op);
}

void serve_chunk_release(struct files *f) {
    while (!TAILQ_EMPTY(&f->incoming)) {
        incoming_free(TAILQ_FIRST(&f->incoming));
    }
}

/* ---- OP_CHUNK_GET ----------------------------------------------------------------------------------------------- */

struct outgoing {
    struct disk_op op;
    struct files *files;
    struct peers_call *call;
    struct chunk_get_request req;
    uint8_t *bytes;
    size_t size;
};

/* The asker verifies the digest: it must anyway. Only when it found the copy bad is it looked at here. */
static int outgoing_run(struct txn *t, struct disk_op *op) {
    struct outgoing *o = (struct outgoing *)op;
    struct digest actual;
    o->bytes = malloc(CHUNK_STORED_MAX);
    int rc = o->bytes ? chunk_get(t, &o->req.digest, o->bytes, CHUNK_STORED_MAX, &o->size) : ERR_NOMEM;
    if (rc == 0 && o->req.doubt) {
        digest_of(o->bytes, o->size, &actual);
        o->size = 0;
        rc = digest_equal(&actual, &o->req.digest) ? 0 : ERR_CORRUPT;
    }
    return rc;
}

static void outgoing_done(struct disk_op *op, int status) {
    struct outgoing *o = (struct outgoing *)op;
    if (!o->files->stopped) {
        peers_reply(o->call, status, o->bytes, status ? 0 : o->size);
        if (status == ERR_CORRUPT) {
            repair_bad(o->files, &o->req.digest);
        } else if (status == ERR_NOT_FOUND) {
            repair_lacking(o->files, &o->req.digest);
        }
    }
    free(o->bytes);
    free(o);
}

void serve_chunk_get(struct files *f, struct peers_call *call, const uint8_t *body, size_t size) {
    struct outgoing *o = calloc(1, sizeof(*o));
    int rc = o ? chunk_get_decode(body, size, &o->req) : ERR_NOMEM;
    if (rc) {
        free(o);
        peers_reply(call, rc, NULL, 0);
        return;
    }
    o->op.run = outgoing_run;
    o->op.done = outgoing_done;
    o->files = f;
    o->call = call;
    disk_read(f->params.disk, DISK_CHUNKS, &o->op);
}
