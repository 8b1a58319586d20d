/* Files: put, get, list, remove; the chunks of this node; repair, removal and settlement of references.
 *
 * Order of a put (nothing is acknowledged before the last line):
 *   chunk bytes ──▶ every replica of the chunk's group            (OP_CHUNK_PUT, bulk lane)
 *   ref_add     ──▶ leader of the chunk's group                   (in parallel)
 *   a replica writes and acknowledges bytes only once it has applied the reference of that version, so that no
 *   earlier removal of the same content can take them away again
 *   every chunk durable on a majority of the configuration in which its reference committed
 *   name_put    ──▶ leader of the name's group
 *
 * All calls on the loop. Callbacks are never made from inside the call that causes them. */
#ifndef SHOAL_FILES_H
#define SHOAL_FILES_H

#include "chunks.h"
#include "groups.h"

#define FILES_GET_WINDOW 8                   /* chunks of one get under way or waiting to be taken */
#define FILES_PAGE_MAX 256                   /* rows that background work looks at in one go */
#define FILES_WAITING_MAX (64 * 1024 * 1024) /* bytes held for references that have not arrived */
#define FILES_TIMEOUT_MS 20000               /* an operation without progress for this long is given up */
#define FILES_MESSAGE_MAX 512

struct files;

struct files_tuning {
    uint64_t settle_ms;       /* age at which an unconfirmed reference is settled */
    uint64_t settle_every_ms; /* how often a leader looks */
    uint64_t sweep_every_ms;  /* how often unreferenced chunks are looked for */
    uint64_t grace_ms;        /* how long a replica waits for bytes before it pulls them from a peer */
    uint32_t put_window;      /* chunks of one put under way */
    uint32_t puts_bytes;      /* of chunks under way, of all puts; beyond, none takes more */
    uint32_t gets_ahead;      /* chunks of all gets; beyond, each has only the one it needs next */
    uint32_t ref_dels;        /* removals of references that are not answered, of all groups together */
    uint32_t repair_items;    /* chunks that are looked after at once: two at least */
    uint32_t page_rows;       /* of what background work looks at in one go; at most FILES_PAGE_MAX */
};

struct files_params {
    struct clock *clock;
    struct random *random;
    struct timers *timers;
    struct disk *disk;
    struct peers *peers;
    struct groups *groups;
    struct files_tuning tuning;
    void (*log)(void *ctx, const char *line);
    void *ctx;
};

int files_new(const struct files_params *params, struct files **ret_files);
void files_free(struct files *f);
void files_start(struct files *f); /* groups are loaded */
void files_stop(struct files *f);

struct files_result {
    int status;
    char message[FILES_MESSAGE_MAX]; /* one line for a person when status != 0: names the thing and the remedy */
    struct version version;
    uint64_t size, modified_ms;
};
typedef void files_done_cb(void *ctx, const struct files_result *result);

/* put: begin, data*, end. `done` exactly once: at the end, or early when it failed (data after that is ignored).
 * Between: files_put_wants() says whether to go on reading from the user; `more` is called when it turned true again.
 * files_put_abandon: the user went away; nothing is called any more. After done or abandon the handle is gone. */
struct files_put;
struct files_put_params {
    const char *name;
    size_t name_size;
    enum name_condition condition;
    struct version match;
    uint64_t size_hint; /* UINT64_MAX: unknown; a size over the largest possible file is refused at once */
    void (*more)(void *ctx);
    files_done_cb *done;
    void *ctx;
};
struct files_put *files_put_begin(struct files *f, const struct files_put_params *params);
void files_put_data(struct files_put *p, const uint8_t *bytes, size_t size);
bool files_put_wants(const struct files_put *p);
void files_put_end(struct files_put *p);
void files_put_abandon(struct files_put *p);

/* get: head once, then data in order, then done. A failure at any point is done with a status. files_get_pause/resume:
 * back-pressure from the user's side. */
struct files_get;
struct files_get_params {
    const char *name;
    size_t name_size;
    uint64_t offset, length; /* length UINT64_MAX: to the end */
    void (*head)(void *ctx, uint64_t size, const struct version *version, uint64_t modified_ms);
    void (*data)(void *ctx, const uint8_t *bytes, size_t size);
    files_done_cb *done;
    void *ctx;
};
struct files_get *files_get_begin(struct files *f, const struct files_get_params *params);
void files_get_pause(struct files_get *g);
void files_get_resume(struct files_get *g);
void files_get_abandon(struct files_get *g);

void files_remove(struct files *f, const char *name, size_t name_size, enum name_condition condition,
                  const struct version *match, files_done_cb *done, void *ctx);

struct files_stat {
    struct files_result result;
    char name[NAME_TEXT_MAX + 1];
    uint32_t chunks;
    bool is_inline;
    uint32_t arc;
    struct route route; /* of the name's group */
    uint8_t chunk_replicas_min;
};
void files_stat(struct files *f, const char *name, size_t name_size,
                void (*done)(void *ctx, const struct files_stat *stat), void *ctx);

/* One page of a listing: names (as users write them) with the prefix, strictly after `after`, in order. */
struct files_entry {
    char name[NAME_TEXT_MAX + 1];
    size_t name_size;
    struct version version;
    uint64_t size, modified_ms;
};
typedef void files_list_cb(void *ctx, const struct files_result *result, const struct files_entry *entries,
                           uint32_t count, bool more);
/* prefix "" or without a slash: bucket default; "bucket/": everything in bucket. limit <= 500. */
void files_list(struct files *f, const char *prefix, size_t prefix_size, const char *after, size_t after_size,
                uint32_t limit, files_list_cb *done, void *ctx);

/* From groups (struct groups_hooks has the same shapes). */
void files_applied(void *files, uint32_t group, uint64_t index, const struct machine_effect *effects, size_t count);
void files_installed(void *files, uint32_t group, uint64_t index);
void files_removed(void *files, uint32_t group);
void files_leader(void *files, uint32_t group, bool leading);
bool files_complete(void *files, uint32_t group, uint64_t index);
/* From peers: OP_CHUNK_PUT, OP_CHUNK_GET. */
void files_request(struct files *f, struct peers_call *call, enum peer_op op, const uint8_t *body, size_t size);

struct files_info {
    uint64_t pulls_pending;  /* chunks this node knows it lacks */
    uint64_t audits_pending; /* groups whose chunks are being looked through */
    uint64_t outbox_pending; /* versions whose removal is under way, in groups led here */
};
void files_info(const struct files *f, struct files_info *out);

#endif
