/* Large values of a table, kept apart from its rows (Lu et al. 2016, "WiscKey"), inside the same LMDB transactions.
 *
 * A value of some KiB in a row of its own takes whole pages wherever the last transactions left a gap, and each such
 * gap is a write of its own. Here the values of a transaction are appended to segments, which are written in one piece;
 * the row keeps a pointer. A row's stored value begins with a tag:
 *
 *   HEAP_PLAIN    the value itself follows
 *   HEAP_POINTER  segment (8), offset of its record (4), size of the value (4)
 *
 *   segments   number (8)  ->  records: table (1), key size (2), value size (4), key, value
 *   usage      number (8)  ->  bytes of records that a row points to (4), bytes (4)
 *
 * A segment that no row points into is deleted. When more than about half of all bytes are such leftovers, what is left
 * of sparse segments is appended anew, no more in one transaction than it wrote or, within limits, dropped itself. */
#ifndef SHOAL_HEAP_H
#define SHOAL_HEAP_H

#include <lmdb.h>
#include <stdbool.h>

#include "txn.h"

#define HEAP_SEGMENT (16u * 4096 - 16) /* whole pages, less the header of the first */
#define HEAP_VALUE_MIN 1025            /* smaller ones stay in their rows */
#define HEAP_GARBAGE_MIN (4u << 20)    /* leftovers that are not worth any work */
#define HEAP_DROPPED_MAX (1u << 20)    /* what a transaction drops lets it move no more than this */
#define HEAP_DBS 2

struct heap {
    MDB_dbi segments, usage;
    uint64_t next; /* segment */
    uint64_t bytes, live;
    uint64_t sweep; /* where the search for sparse segments goes on */
};

/* Counts of one segment that a transaction changes. */
struct heap_change;

struct heap_txn {
    struct heap *heap;
    MDB_txn *txn;
    uint64_t next;    /* segment that is being filled */
    uint8_t *filling; /* NULL: nothing yet */
    uint32_t used;
    uint64_t appended; /* bytes of values, by the transaction itself, */
    uint64_t dropped;  /* and of those that it replaced or deleted */
    struct heap_change *changes;
};

/* Whether the values of a table may lie in the heap: all of its rows are tagged then. */
bool heap_serves(enum txn_table table);

/* Inside the transaction that opens the tables. LMDB's codes, MDB_CORRUPTED among them. */
int heap_open(struct heap *h, MDB_txn *txn);
void heap_begin(struct heap_txn *t, struct heap *h, MDB_txn *txn, bool write);
/* Follows what is stored under key to the value. */
int heap_follow(struct heap_txn *t, enum txn_table table, const MDB_val *key, const MDB_val *stored,
                MDB_val *ret_value);
/* cursor: of the table, wherever it stands; it is left at the row. */
int heap_put(struct heap_txn *t, enum txn_table table, MDB_cursor *cursor, MDB_val *key, const MDB_val *value);
/* The row under key, with what is stored in it, is about to be deleted. */
int heap_forget(struct heap_txn *t, const MDB_val *key, const MDB_val *stored);
/* Before the commit: writes what is being filled, moves what is sparse, counts. cursors by table, of those that the
 * heap serves. */
int heap_prepare(struct heap_txn *t, MDB_cursor *const *cursors);
/* After the commit, or instead of it. */
void heap_end(struct heap_txn *t, bool committed);

#endif
