/* How the machine's rows look on disk: their keys and their values. Everything is written by the deterministic encoders
 * only, so equal states are equal bytes. Private to this folder. */
#ifndef SHOAL_MACHINE_ROWS_H
#define SHOAL_MACHINE_ROWS_H

#include "machine.h"
#include "machine_fields.h"

/* The largest value: a whole inline file or a full chunk list, with its key and heads. */
#define MACHINE_ROW_MAX (64 * 1024)

struct row_key {
    uint8_t bytes[TXN_KEY_MAX];
    size_t size;
};
static inline struct slice row_key_slice(const struct row_key *k) {
    return (struct slice){k->bytes, k->size};
}
bool slice_equal(struct slice a, struct slice b);
bool slice_starts(struct slice s, struct slice prefix);

bool machine_arc_holds(const struct machine_arc *arc, uint64_t position);

/* NAMES. bucket: what every key of one shard begins with. */
void row_key_bucket(const char *bucket, size_t bucket_size, unsigned shard, struct row_key *out);
void row_key_name(const struct name *n, struct row_key *out);
/* REFS: of one version, or where every version of the digest begins. */
void row_key_digest(const struct digest *d, struct row_key *out);
void row_key_ref(const struct digest *d, const struct version *v, struct row_key *out);
/* OUTBOX and ABORTED. */
void row_key_version(uint64_t position, const struct version *v, struct row_key *out);

/* Exactly-once rows. The root group keeps its own in ROOT: in CLIENTS they would lie among those of the first arc. */
enum txn_table row_client_table(const struct machine_arc *arc);
void row_key_clients(const struct machine_arc *arc, struct row_key *out); /* where all of them begin */
void row_key_client(const struct machine_arc *arc, uint64_t client, struct row_key *out);
void row_key_answer(const struct machine_arc *arc, uint64_t client, uint64_t seq, struct row_key *out);

/* ROOT: the first byte says what a row is. */
enum root_tag { ROOT_CLIENT = 'c', ROOT_MEMBER = 'm', ROOT_SETTINGS = 's', ROOT_TICKET = 't' };
void row_key_root(enum root_tag tag, const void *id, size_t id_size, struct row_key *out);

/* ---- values. Decoders take what is on disk or came from a peer: 0 or ERR_PROTOCOL ---- */

/* A name_row without its content, which is the encoded tail: two items. */
struct name_head {
    const char *key; /* in the input */
    size_t key_size;
    struct version version;
    uint64_t size, modified_ms;
    bool is_inline;
    struct slice chunks; /* not inline: the encoded list */
};
int name_head_decode(struct slice value, struct name_head *out);

struct ref_value {
    uint32_t size;
    bool pending;
    uint64_t stamp_ms;
    struct name name;
};
void ref_value_encode(const struct ref_value *v, struct buf *out);
int ref_value_decode(struct slice value, struct ref_value *out);

/* [bucket, key, chunks]; the list as it lay in the name's row. */
void outbox_value_encode(const struct name *n, struct slice chunks, struct buf *out);
/* Over a cursor, whose error says whether the outputs are of use; and over a whole value. */
void outbox_value_read(struct cbor_reader *r, struct chunk_ref *space, struct name *ret_name, uint32_t *ret_count);
int outbox_value_decode(struct slice value, struct chunk_ref *space, struct name *ret_name, uint32_t *ret_count);

void stamp_value_encode(uint64_t stamp_ms, struct buf *out); /* ABORTED */
int stamp_value_decode(struct slice value, uint64_t *ret_stamp_ms);

struct client_value {
    uint64_t ack_below, stamp_ms;
};
void client_value_encode(const struct client_value *v, struct buf *out);
int client_value_decode(struct slice value, struct client_value *out);

struct root_value {
    struct swarm_settings settings;
    uint64_t epoch;
    uint32_t next_node;
};
void root_value_encode(const struct root_value *v, struct buf *out);
int root_value_decode(struct slice value, struct root_value *out);

struct ticket_value {
    struct digest verifier;
    uint64_t expires_ms;
    uint32_t uses; /* left */
};
void ticket_value_encode(const struct ticket_value *v, struct buf *out);
int ticket_value_decode(struct slice value, struct ticket_value *out);

/* Is this a row that a machine of this arc could have written? 0 or ERR_PROTOCOL. space: COMMAND_CHUNKS_MAX. */
int machine_row_check(const struct machine_arc *arc, enum txn_table table, struct slice key, struct slice value,
                      struct chunk_ref *space);
/* The tables of an arc (or of the root) in the order of snapshots and digests. */
const enum txn_table *machine_tables(const struct machine_arc *arc, size_t *ret_count);
/* First and last key prefix of the arc's rows in each of its tables. */
void machine_range(const struct machine_arc *arc, struct row_key *ret_first, struct row_key *ret_last);

#endif
