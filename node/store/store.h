/* An environment of tables, and its transactions. One writer at a time, any number of readers that see the state of
 * the last commit before they began. */
#ifndef SHOAL_STORE_H
#define SHOAL_STORE_H

#include <stdbool.h>

#include "txn.h"

struct store;

/* Opens or creates the LMDB environment in directory `path` (mode 0700). map_size is the most it can ever hold. The
 * environment is synced at every commit; MDB_NOSYNC and its like are never used. ERR_IO, ERR_NO_SPACE, ERR_VERSION,
 * ERR_CORRUPT, ERR_IN_USE (another process has the directory open). */
int store_open_lmdb(const char *path, uint64_t map_size, struct store **ret_store);
/* The same with a write-ahead log in front, in files of segment_bytes each: a commit is one write and one flush, where
 * LMDB's takes two, one after the other, and a write for every page. TABLE_LOG is kept in the log alone, so that what
 * is put there must be deleted before long. Transactions follow one another: at no time is a write transaction open
 * beside any other; the store may pass from thread to thread in between. Errors as above; ERR_CORRUPT also when
 * something that was durable is missing. */
int store_open_log(const char *path, uint64_t map_size, uint32_t segment_bytes, struct store **ret_store);
/* The in-memory twin: an ordered map with the same semantics, including abort. For one thread; aborts the process when
 * memory runs out, or when a second write transaction is begun before the first has ended. */
int store_open_mem(struct store **ret_store);
/* Damage of the in-memory twin, as of a medium that forgets: one bit of a committed value, which every transaction
 * under way sees too. bit is counted from the value's first byte, and taken modulo its size. ERR_NOT_FOUND: no such
 * key, or an empty value. */
int store_mem_flip(struct store *s, enum txn_table table, struct slice key, uint64_t bit);
void store_close(struct store *s); /* all transactions must have ended; NULL is fine */

/* Transactions. A write transaction ends by commit or abort; commit makes it durable before it returns. A read
 * transaction may be used by any one thread at a time. */
int store_begin(struct store *s, bool write, struct txn **ret_txn);
int store_commit(struct txn *t); /* write: durable. The txn is gone also on failure. */
void store_abort(struct txn *t); /* also ends a read transaction */
/* About what a write transaction holds in memory until it ends: what was put, and a share of the pages touched. */
uint64_t store_txn_bytes(const struct txn *t);

uint64_t store_used_bytes(const struct store *s);  /* as of the last commit; room that was given back is not used */
uint64_t store_spare_bytes(const struct store *s); /* of its files, used by nothing: most of it is for later writes */
uint64_t store_map_bytes(const struct store *s);   /* the most it can hold */
/* A digest over every key and value of one table, for comparing twins. */
struct digest;
int store_table_digest(struct txn *t, enum txn_table table, struct digest *out);

#endif
