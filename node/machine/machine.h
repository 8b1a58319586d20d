/* The state machine of a group: commands applied to a transaction. Pure over struct txn: the same bytes in the same
 * order give the same tables on every replica, byte for byte. Time is the leader's stamp in the entry.
 *
 * Tables of an arc have keys that begin with the ring position (8 bytes, big-endian), so an arc is a contiguous range:
 *
 *   NAMES    position of (bucket, shard), bucket length (1), bucket, key -> name_row
 *            (a key over NAME_INDEX_KEY bytes is cut there and followed by its digest; ties are ordered by whole key)
 *   REFS     chunk digest (32), version (16)                             -> size, pending, stamp, name
 *   OUTBOX   position of the name, version                               -> name, chunks whose ref_del is to be driven
 *   ABORTED  position of the name, version                               -> stamp
 *   CLIENTS  first position of the arc, client [, seq]                   -> ack_below, stamp | first answer
 *
 * Table ROOT belongs to the root group as a whole, its exactly-once rows included. */
#ifndef SHOAL_MACHINE_H
#define SHOAL_MACHINE_H

#include "command.h"
#include "txn.h"

#define NAME_INDEX_KEY 400

struct machine_arc {
    bool root;            /* the root group: table ROOT, no arc */
    uint64_t first, last; /* positions, inclusive; unused for the root */
};

enum machine_effect_kind {
    EFFECT_REF_ADDED,     /* digest, version: this replica must hold the chunk */
    EFFECT_CHUNK_DROPPED, /* digest: no reference is left */
    EFFECT_OUTBOX,        /* version: the leader has removals to drive */
    EFFECT_ROOT           /* the member table or the settings changed */
};
struct machine_effect {
    enum machine_effect_kind kind;
    struct digest digest;
    struct version version;
};
/* What one transaction may gather: the caller commits before the next command could pass it. One command gives at most
 * MACHINE_EFFECTS_COMMAND_MAX. */
#define MACHINE_EFFECTS_MAX (1u << 20)
#define MACHINE_EFFECTS_COMMAND_MAX COMMAND_CHUNKS_MAX
struct machine_effects {
    struct machine_effect *items;
    size_t count, capacity;
};
void machine_effects_release(struct machine_effects *e);

/* Applies one command; its answer (command_result) is appended to result. stamp_ms never goes backwards within a
 * group. A command that cannot be decoded, or does not belong to this arc, gets ERR_INVALID as its *answer* on every
 * replica alike. Returned errors are of the storage only: the caller must abort the transaction and stop. */
int machine_apply(struct txn *t, const struct machine_arc *arc, uint64_t stamp_ms, const uint8_t *command, size_t size,
                  struct buf *result, struct machine_effects *effects);
/* Whether the answer that machine_apply will give does not depend on the state: then it is appended to result. For the
 * first attempt of a command only: a repeat is answered like the first time. */
bool machine_foretell(const struct machine_arc *arc, uint64_t stamp_ms, const uint8_t *command, size_t size,
                      struct buf *result);
/* Answers a query into out; ERR_INVALID for one that cannot be decoded or is outside the arc; storage errors. Absence
 * and the like are inside the answer: every answer begins with a status (QUERY_NAME, QUERY_REF: [status, row?]). */
int machine_query(struct txn *t, const struct machine_arc *arc, const uint8_t *query, size_t size, struct buf *out);
/* Reads the [status, row?] of QUERY_NAME: the status, and the row when 0. */
int machine_name_answer(const uint8_t *bytes, size_t size, struct chunk_ref *space, struct name_row *out);
/* Reads the [status] of QUERY_REF and QUERY_USED: that status, or ERR_PROTOCOL. */
int machine_status_answer(const uint8_t *bytes, size_t size);

/* ---- snapshots: the arc's ranges as pieces --------------------------------------------------------------------- */

#define MACHINE_PIECE_MAX (512 * 1024)

struct machine_cursor {
    enum txn_table table;
    uint8_t key[TXN_KEY_MAX];
    size_t key_size; /* last key exported; 0: start of the table's range */
    bool started, done;
};
void machine_cursor_init(struct machine_cursor *c);
/* Appends the next rows to out until about max_bytes; c->done after the last one. */
int machine_export(struct txn *t, const struct machine_arc *arc, struct machine_cursor *c, size_t max_bytes,
                   struct buf *out);
/* Puts a piece from a peer into the STAGE table of `group`; rows outside the arc or malformed: ERR_PROTOCOL, nothing
 * written is ever installed. */
int machine_stage(struct txn *t, uint32_t group, const struct machine_arc *arc, const uint8_t *piece, size_t size);
int machine_stage_clear(struct txn *t, uint32_t group);
/* The staged rows become the arc's state, in this one transaction; the stage is empty afterwards. */
int machine_install(struct txn *t, uint32_t group, const struct machine_arc *arc);
int machine_wipe(struct txn *t, const struct machine_arc *arc);
/* Digest of every row of the arc, all tables, in order. */
int machine_digest(struct txn *t, const struct machine_arc *arc, struct digest *out);

#endif
