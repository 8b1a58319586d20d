/* What a group replicates: commands, the queries that read its state, and their results; with their CBOR codecs.
 * Decoders never allocate by what the bytes claim; decoded pointers (bytes, chunks lists excepted) lie in the input. */
#ifndef SHOAL_COMMAND_H
#define SHOAL_COMMAND_H

#include <stdbool.h>

#include "buf.h"
#include "digest.h"
#include "members.h"
#include "name.h"

#define VERSION_SIZE 16          /* random; all zero: no version */
#define INLINE_MAX 32768         /* a file up to this size lives in its name's group */
#define MANIFEST_CHUNKS_MAX 1024 /* of a flat manifest */
#define COMMAND_CHUNKS_MAX MANIFEST_CHUNKS_MAX
#define LIST_ENTRIES_MAX 1000
#define REFS_PAGE_MAX 1024
#define REFS_SCAN_MAX 16384 /* rows looked at for one page of pending ones */
#define OUTBOX_PAGE_MAX 16
#define JOIN_HASH_SIZE 32

struct version {
    uint8_t bytes[VERSION_SIZE];
};

struct chunk_ref {
    struct digest digest; /* of what is stored */
    uint32_t size;        /* content bytes */
};

enum name_condition { CONDITION_ANY, CONDITION_ABSENT, CONDITION_MATCH };

enum command_kind {
    COMMAND_NAME_PUT,
    COMMAND_NAME_RM,
    COMMAND_REF_ADD,        /* version needs chunks; idempotent */
    COMMAND_REF_DEL,        /* version needs them no more; idempotent */
    COMMAND_REF_CONFIRM,    /* version is live: its references need no more settling; idempotent */
    COMMAND_OUTBOX_DONE,    /* every ref_del of version was acknowledged; idempotent */
    COMMAND_VERSION_SETTLE, /* is version live under name? if not, it is recorded as aborted and never will be */
    COMMAND_ROOT_INIT,      /* first entry of a swarm: settings and the founder */
    COMMAND_TICKET_ADD,
    COMMAND_MEMBER_JOIN,  /* admission by ticket */
    COMMAND_MEMBER_SET,   /* a member's own row: address, zone, capacity; of its state only that it came up */
    COMMAND_MEMBER_STATE, /* a member drains, is out, is back, is gone */
    COMMAND_KINDS
};

struct swarm_settings {
    uint8_t swarm[32];
    uint32_t bits;     /* arcs = 2^bits */
    uint32_t replicas; /* wanted for every group */
};

/* client != 0 asks for exactly-once: a repeat of (client, seq) gets the first answer. The client promises never to
 * ask again about any seq < ack_below. A seq below the recorded ack_below is refused with ERR_STALE. */
struct command {
    uint64_t client, seq, ack_below;
    enum command_kind kind;
    union {
        struct {
            struct name name;
            struct version version; /* of the new content, chosen by the coordinator */
            uint64_t size;
            enum name_condition condition;
            struct version match;
            bool is_inline;
            const uint8_t *bytes; /* inline: size bytes */
            uint32_t chunk_count; /* else */
            struct chunk_ref *chunks;
        } put;
        struct {
            struct name name;
            enum name_condition condition; /* ANY or MATCH */
            struct version match;
        } rm;
        struct {
            struct version version;
            struct name name; /* REF_ADD only: whom to ask whether version lives */
            uint32_t chunk_count;
            struct chunk_ref *chunks; /* sizes are 0 but for REF_ADD */
        } refs;                       /* REF_ADD, REF_DEL, REF_CONFIRM */
        struct {
            struct name name; /* for its position */
            struct version version;
        } version; /* OUTBOX_DONE, VERSION_SETTLE */
        struct {
            struct swarm_settings settings;
            struct member founder;
        } init;
        struct {
            uint8_t id[16];
            struct digest verifier;
            uint64_t expires_ms;
            uint32_t uses;
        } ticket;
        struct {
            uint8_t ticket[16];
            uint8_t handshake[JOIN_HASH_SIZE];
            struct digest proof;
            struct member row; /* node, state, changed are ignored */
        } join;
        struct member member;
        struct {
            uint32_t node;
            uint64_t seen; /* `changed` of the row that the decision was made on */
            enum member_state to;
        } state;
    } u;
};

/* chunks lists are read into `space`, which holds COMMAND_CHUNKS_MAX entries and belongs to the caller. */
void command_encode(const struct command *c, struct buf *out);
int command_decode(const uint8_t *bytes, size_t size, struct chunk_ref *space, struct command *out);

/* The answer to a command. */
struct command_result {
    int status;             /* 0, ERR_PRECONDITION, ERR_NOT_FOUND, ERR_ABORTED, ERR_EXPIRED, ERR_USED_UP, ERR_AUTH,
                               ERR_REFUSED, ERR_EXISTS, ERR_STALE, ERR_INVALID */
    struct version version; /* NAME_PUT: of the content now under the name (also when refused); NAME_RM: removed one */
    uint64_t modified_ms;
    uint32_t node;  /* MEMBER_JOIN: the number given */
    uint64_t epoch; /* root commands: epoch after it */
    bool live;      /* VERSION_SETTLE */
};
void command_result_encode(const struct command_result *r, struct buf *out);
int command_result_decode(const uint8_t *bytes, size_t size, struct command_result *out);

/* ---- queries ---------------------------------------------------------------------------------------------------- */

enum query_kind {
    QUERY_NAME,    /* -> struct name_row */
    QUERY_LIST,    /* -> page_list_next: names of one shard of a bucket */
    QUERY_PENDING, /* -> page_ref_next: unconfirmed references older than before_ms. A page that found few ends with a
                      row of any kind, the place to go on from: look at its `pending` and stamp */
    QUERY_REFS,    /* -> page_ref_next: references from `after` on, every version */
    QUERY_REF,     /* -> status 0 when (version, digest) is referenced, ERR_NOT_FOUND otherwise */
    QUERY_USED,    /* -> status 0 when digest is referenced by any version, ERR_NOT_FOUND otherwise */
    QUERY_OUTBOX,  /* -> page_outbox_next */
    QUERY_ROOT,    /* -> struct swarm_settings and every member row (root group only) */
    QUERY_KINDS
};

struct query {
    enum query_kind kind;
    struct name name;             /* NAME; LIST: bucket, and key = prefix */
    unsigned shard;               /* LIST */
    char after[NAME_KEY_MAX + 1]; /* LIST: keys strictly greater */
    size_t after_size;
    uint32_t limit;             /* LIST, PENDING, REFS, OUTBOX: rows; 0: as many as a page holds */
    uint64_t before_ms;         /* PENDING */
    struct digest digest;       /* REF, USED */
    struct version version;     /* REF; OUTBOX: strictly after (position, version) */
    uint64_t position;          /* OUTBOX */
    bool from_start;            /* PENDING, REFS, OUTBOX: ignore the after fields */
    struct digest after_digest; /* PENDING, REFS: strictly after (digest, version) */
    struct version after_version;
};
void query_encode(const struct query *q, struct buf *out);
int query_decode(const uint8_t *bytes, size_t size, struct query *out);

/* A live version. */
struct name_row {
    char key[NAME_KEY_MAX + 1];
    size_t key_size;
    struct version version;
    uint64_t size;
    uint64_t modified_ms;
    bool is_inline;
    const uint8_t *bytes; /* inline: in the input */
    uint32_t chunk_count;
    struct chunk_ref *chunks; /* in the caller's space */
};
void name_row_encode(const struct name_row *row, struct buf *out);
int name_row_decode(const uint8_t *bytes, size_t size, struct chunk_ref *space, struct name_row *out);

struct list_entry {
    char key[NAME_KEY_MAX + 1];
    size_t key_size;
    struct version version;
    uint64_t size, modified_ms;
};
/* Pages are written row by row: a page is CBOR [status, more, count, rows...]; readers walk it with a cursor so that
 * nobody needs the whole page as structs. */
struct page_reader {
    const uint8_t *bytes;
    size_t size, offset;
    uint64_t left; /* rows not yet read */
    bool more;     /* further rows exist after this page */
    int status;
};
int page_open(const uint8_t *bytes, size_t size, struct page_reader *out); /* ERR_PROTOCOL, or the status carried */
int page_list_next(struct page_reader *p, struct list_entry *out);         /* ERR_NOT_FOUND at the end */

struct ref_row {
    struct digest digest;
    struct version version;
    uint32_t size;
    bool pending;
    uint64_t stamp_ms; /* when it was added */
    struct name name;
};
int page_ref_next(struct page_reader *p, struct ref_row *out);

struct outbox_row {
    uint64_t position;
    struct name name;
    struct version version;
    uint32_t chunk_count;
    struct chunk_ref *chunks; /* in the caller's space (COMMAND_CHUNKS_MAX) */
};
int page_outbox_next(struct page_reader *p, struct chunk_ref *space, struct outbox_row *out);

/* QUERY_ROOT: [status, more, count, rows...] too: the settings first, then member rows. */
int page_root_settings(struct page_reader *p, struct swarm_settings *out, uint64_t *ret_epoch);
int page_member_next(struct page_reader *p, struct member *out);

#endif
