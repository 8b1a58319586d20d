/* A transaction over ordered tables: the only thing state machines see of storage. Two implementations, chosen when
 * the store is opened: LMDB, and an in-memory twin; one conformance suite runs on both. Keys are ordered by memcmp.
 *
 * Error contract: get/seek return ERR_NOT_FOUND for absence; ERR_INVALID for a key of 0 or more than TXN_KEY_MAX
 * bytes or a value of more than TXN_VALUE_MAX; ERR_NO_SPACE when the map or disk is full; ERR_IO, ERR_CORRUPT,
 * ERR_NOMEM otherwise. After any of the last four a write transaction can only be aborted: every further call, and
 * its commit, returns that error again.
 *
 * What txn_put is given must not point into the transaction (copy it first): making room may move what is there. */
#ifndef SHOAL_TXN_H
#define SHOAL_TXN_H

#include <stddef.h>
#include <stdint.h>

#define TXN_KEY_MAX 511
#define TXN_VALUE_MAX (16u << 20)

/* Every table of every environment. */
#define TXN_TABLES(X)                                                                 \
    X(LOCAL, "local")     /* log: this node alone: swarm, own number, member table */ \
    X(HARD, "hard")       /* log: per replica: term, vote, identity, log base */      \
    X(LOG, "log")         /* log: entries of all replicas, as they came */            \
    X(APPLIED, "applied") /* meta: per group: applied index, configuration, stamp */  \
    X(NAMES, "names")                                                                 \
    X(REFS, "refs")                                                                   \
    X(OUTBOX, "outbox")                                                               \
    X(ABORTED, "aborted")                                                             \
    X(CLIENTS, "clients") /* exactly-once results */                                  \
    X(ROOT, "root")       /* members, tickets, settings */                            \
    X(STAGE, "stage")     /* snapshots on their way in */                             \
    X(CHUNKS, "chunks")   /* chunks */

enum txn_table {
#define TXN_TABLE_ENUM(id, name) TABLE_##id,
    TXN_TABLES(TXN_TABLE_ENUM)
#undef TXN_TABLE_ENUM
        TABLE_COUNT
};

struct slice {
    const uint8_t *bytes;
    size_t size;
};

struct txn;

/* *ret_value points into the transaction: valid until its next write or its end. */
int txn_get(struct txn *t, enum txn_table table, struct slice key, struct slice *ret_value);
int txn_put(struct txn *t, enum txn_table table, struct slice key, struct slice value); /* inserts or replaces */
int txn_del(struct txn *t, enum txn_table table, struct slice key); /* ERR_NOT_FOUND; key may come from txn_seek */
/* First entry with key >= `key` (an empty key: the first of the table). Results valid as for txn_get. Iterate by
 * txn_seek, then txn_next on the key last returned; writing in between is fine. */
int txn_seek(struct txn *t, enum txn_table table, struct slice key, struct slice *ret_key, struct slice *ret_value);
/* First entry with key > `key`. */
int txn_next(struct txn *t, enum txn_table table, struct slice key, struct slice *ret_key, struct slice *ret_value);
/* Deletes every key in [first, last] (inclusive, compared as full keys; an entry whose key starts with `last` is
 * included), at most `max` entries. *ret_deleted < max means none are left. */
int txn_del_range(struct txn *t, enum txn_table table, struct slice first, struct slice last, size_t max,
                  size_t *ret_deleted);

#endif
