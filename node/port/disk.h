/* Port: the node's environments of ordered tables, one writer each, and a pool for work that must not run on the loop.
 * A write operation's `run` is called inside one write transaction together with everything else that was queued (group
 * commit: one fsync for all), in the order of the calls; `done` is called on the loop after that transaction is
 * durable. A failed commit is fatal: `failed` of the disk is called once, nothing completes any more, and the node
 * stops serving.
 *
 * What is lazy may wait for its commit in a transaction that stays open, so that many commits become one: its results
 * are known at once, its durability comes later. Only what could be computed again after a crash may be lazy.
 *
 *   disk_write        queued ──▶ run ──▶ commit at once ──▶ done
 *   disk_write_lazy   queued ──▶ run ──▶ ran ──▶ (commit with the next disk_write, or within DISK_LAZY_MS) ──▶ done
 *   disk_read_latest  queued ──▶ run ──▶ done
 *
 * `run` must touch nothing but the txn and the operation itself: it runs on another thread (in node/uv). Whatever else
 * the operation points to must not change before `ran` (of a lazy one) or `done`.
 * An operation must not be touched by the caller between submission and `done`, except by and after `ran`, which may
 * look at what `run` left in it. */
#ifndef SHOAL_DISK_H
#define SHOAL_DISK_H

#include <stdint.h>

struct disk;
struct txn; /* node/store/txn.h */

enum disk_env {
    DISK_LOG,  /* what must be durable before it may be promised: the groups' logs, terms and votes; this node's own */
    DISK_META, /* what the groups replicate, and can be computed from snapshot and log */
    DISK_CHUNKS, /* bulk */
    DISK_ENVS
};
/* Lazy operations of one transaction wait for its commit no longer than this, and no more than these many wait. */
#define DISK_LAZY_MS 200
#define DISK_LAZY_OPS 4096

struct disk_op {
    /* Returns 0, or an error. For a write an error is fatal to the node (a replica that cannot apply must not go on);
     * conditions that are part of normal work are reported inside the operation instead. */
    int (*run)(struct txn *txn, struct disk_op *op);
    /* Lazy writes: on the loop, once run, before the commit. In the order of the calls, also with the `done` of
     * disk_read_latest and disk_write on the same environment. */
    void (*ran)(struct disk_op *op);
    /* On the loop. status is what run returned (reads, work). */
    void (*done)(struct disk_op *op, int status);
    /* For the implementation. */
    struct disk_op *next, *next_ran;
    struct disk *disk;
    int kind;
    int status;
};

/* Queue for the next write transaction of the environment. */
void disk_write(struct disk *d, enum disk_env env, struct disk_op *op);
/* The same, with ran, and with time. */
void disk_write_lazy(struct disk *d, enum disk_env env, struct disk_op *op);
/* Run by the writer, in the order of the calls, inside the transaction that is open if one is: sees everything that was
 * queued before it, committed or not. It may write nothing. */
void disk_read_latest(struct disk *d, enum disk_env env, struct disk_op *op);
/* Run with a read transaction on the pool: sees at least everything whose `done` was called before this call. */
void disk_read(struct disk *d, enum disk_env env, struct disk_op *op);
/* Run on the pool without a transaction (txn is NULL): hashing and the like. */
void disk_work(struct disk *d, struct disk_op *op);

/* A view: one consistent read transaction kept open across several reads (snapshots), not of DISK_LOG. At most
 * DISK_VIEWS_MAX; must be closed soon, because it keeps freed pages from reuse. Reads of one view run one at a time. */
#define DISK_VIEWS_MAX 8
struct disk_view;
/* The view sees at least everything whose `done` was called before. NULL when too many are open. */
struct disk_view *disk_view_open(struct disk *d, enum disk_env env);
void disk_view_read(struct disk_view *v, struct disk_op *op);
void disk_view_close(struct disk_view *v); /* no read may be pending */

/* Bytes in use by all environments, refreshed now and then. */
uint64_t disk_used_bytes(const struct disk *d);
/* A write that would pass the capacity or a full file system must be refused before it is queued: 1 when there is room
 * for size more bytes in the environment. DISK_META keeps a reserve that chunks may not use, DISK_LOG one that neither
 * may: entries that take something away go on longest. */
int disk_has_room(const struct disk *d, enum disk_env env, uint64_t size);
/* Called once, on the loop, when a commit failed. Set before use. */
void disk_on_failed(struct disk *d, void (*failed)(void *ctx, int status), void *ctx);

#endif
