/* Shared by the files of this folder only. */
#ifndef SHOAL_FILES_INTERNAL_H
#define SHOAL_FILES_INTERNAL_H

#include <stddef.h>

#include <bsd/sys/queue.h>
#include <uthash.h>

#include "check.h"
#include "errors.h"
#include "files.h"

#define FILES_ATTEMPT_MS 5000  /* one try to move a chunk to or from a node */
#define FILES_RETRY_MS 200     /* pause before a node is asked again */
#define FILES_WATCH_MS 500     /* how often an operation looks at its own progress */
#define FILES_CLEANUP_MS 10000 /* for best-effort removal of references of a put that failed */
#define FILES_ARRIVAL_MS 10000 /* bytes wait this long for their reference */
#define FILES_FETCH_NODES_MAX ROUTE_NODES_MAX

struct arrival;
struct put_chunk;
struct fetch;
struct repair;
struct outbox;
struct settle;
struct sweep;
TAILQ_HEAD(arrival_list, arrival);

struct files {
    struct files_params params;
    bool running, stopped;
    TAILQ_HEAD(, files_put) puts;
    TAILQ_HEAD(, files_get) gets;
    TAILQ_HEAD(, put_chunk) put_chunks; /* whose put is over but whose answers are not */
    struct arrival_list arrivals;
    TAILQ_HEAD(, incoming) incoming; /* chunks sent to us, until they are answered */
    uint64_t put_bytes;              /* of the chunks of puts */
    uint32_t get_chunks;             /* in the windows of gets */
    uint64_t waiting_bytes;          /* of incoming and arrivals */
    uint64_t writing_bytes;          /* of them, what is queued for the disk */
    TAILQ_HEAD(, fetch) fetches;
    TAILQ_HEAD(, small) smalls;
    TAILQ_HEAD(, list) lists;
    struct latency *latencies; /* by node */
    struct repair *repair;
    struct outbox *outbox;
    struct settle *settle;
    struct sweep *sweep;
};

/* text.c */
int files_name(const char *bytes, size_t size, struct name *out, struct files_result *result, const char *verb);
void files_fail(struct files_result *result, int status, const char *verb, const char *name, size_t name_size,
                const char *remedy);
/* What to tell a person about a status that has no better sentence where it occurred. */
const char *files_remedy(int status);

/* store_chunk.c: bytes onto this node's disk, in an order that no earlier removal can undo */
typedef void store_chunk_cb(void *ctx, int status);
/* version NULL: stored when anybody references the chunk. wait: hold the bytes until the reference is applied here.
 * The digest of the bytes must have been verified. bytes is taken over (free()d). */
void store_chunk(struct files *f, uint32_t group, const struct digest *digest, const struct version *version,
                 uint8_t *bytes, size_t size, bool wait, store_chunk_cb *cb, void *ctx);
void store_chunk_effect(struct files *f, const struct machine_effect *e);
bool store_chunk_room(const struct files *f, uint64_t size); /* as far as is known: what is queued may take it */
void store_chunk_drop(struct files *f, const struct digest *digest);
void store_chunk_release(struct files *f);

/* chunk_serve.c */
void serve_chunk_put(struct files *f, struct peers_call *call, const uint8_t *body, size_t size);
void serve_chunk_release(struct files *f);
void serve_chunk_get(struct files *f, struct peers_call *call, const uint8_t *body, size_t size);

/* fetch.c: one chunk's verified bytes, from here or from whoever has them */
typedef void fetch_cb(void *ctx, int status, const uint8_t *stored, size_t size);
struct fetch *fetch_begin(struct files *f, const struct digest *digest, bool skip_local, fetch_cb *cb, void *ctx);
void fetch_cancel(struct fetch *x); /* its callback is not made */
void fetch_release(struct files *f);

/* put.c, get.c, list.c, small.c (stat and remove) */
void put_release(struct files *f);
void get_release(struct files *f);
void list_release(struct files *f);
void small_release(struct files *f);

/* repair.c: chunks this node should hold and lacks */
int repair_new(struct files *f);
void repair_free(struct files *f);
void repair_start(struct files *f);
void repair_stop(struct files *f);
void repair_referenced(struct files *f, uint32_t group, uint64_t index, const struct digest *digest);
/* The own copy is damaged, or was looked for and not found: a good one is pulled, if it is referenced. A damaged copy
 * stays until the good one takes its place: what was read may be worse than what is there, and it may be the last. */
void repair_bad(struct files *f, const struct digest *digest);
void repair_lacking(struct files *f, const struct digest *digest);
void repair_installed(struct files *f, uint32_t group, uint64_t index);
void repair_removed(struct files *f, uint32_t group);
/* Nobody has had it for a good while, though everybody was asked. */
bool repair_hopeless(const struct files *f, const struct digest *digest);
bool repair_complete(const struct files *f, uint32_t group, uint64_t index);
void repair_info(const struct files *f, uint64_t *ret_pulls, uint64_t *ret_audits);

/* outbox.c: removals on their way from names to chunks */
int outbox_new(struct files *f);
void outbox_free(struct files *f);
void outbox_stop(struct files *f);
void outbox_due(struct files *f, uint32_t group); /* this node leads it and there may be something */
void outbox_lost(struct files *f, uint32_t group);
uint64_t outbox_pending(const struct files *f);

/* settle.c: references whose version may never have come to be */
int settle_new(struct files *f);
void settle_free(struct files *f);
void settle_start(struct files *f);
void settle_stop(struct files *f);

/* sweep.c: chunks without any reference */
int sweep_new(struct files *f);
void sweep_free(struct files *f);
void sweep_start(struct files *f);
void sweep_stop(struct files *f);
void sweep_soon(struct files *f);
void sweep_spare(struct files *f, const struct digest *digest); /* a write of it is being queued */

/* Every byte of a put or a reference proposal that nobody waits for. */
void files_ref_del(struct files *f, uint32_t group, const struct version *version, const struct digest *digests,
                   size_t count, uint64_t timeout_ms, groups_cb *cb, void *ctx);
/* Rows that background work with room for so many looks at in one go. */
uint32_t files_page_rows(const struct files *f, uint32_t room);
uint32_t files_group_of(const struct files *f, const struct digest *digest);

#endif
