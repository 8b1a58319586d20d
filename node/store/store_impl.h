/* What an implementation of a store provides. Included by txn.c, store.c and the implementations only. */
#ifndef SHOAL_STORE_IMPL_H
#define SHOAL_STORE_IMPL_H

#include <stdbool.h>

#include "store.h"

/* Arguments were checked by the caller: tables are in range, keys have 1..TXN_KEY_MAX bytes. */
struct txn_ops {
    int (*get)(struct txn *t, enum txn_table table, struct slice key, struct slice *ret_value);
    int (*put)(struct txn *t, enum txn_table table, struct slice key, struct slice value);
    int (*del)(struct txn *t, enum txn_table table, struct slice key);
    /* First entry >= key; an empty key: the first. key may have TXN_KEY_MAX + 1 bytes. */
    int (*seek)(struct txn *t, enum txn_table table, struct slice key, struct slice *ret_key, struct slice *ret_value);
    int (*commit)(struct txn *t); /* frees t, also on failure */
    void (*abort)(struct txn *t); /* frees t */
};

struct txn {
    const struct txn_ops *ops;
    bool write;
    int error; /* the first error after which the transaction can only be aborted */
    uint64_t written_bytes;
    /* What was handed out last and is still valid: writes must not take their input from there. */
    struct slice lent_key;
    struct slice lent_value;
};

struct store_ops {
    int (*begin)(struct store *s, bool write, struct txn **ret_txn);
    void (*close)(struct store *s);
    uint64_t (*used_bytes)(const struct store *s);
    uint64_t (*spare_bytes)(const struct store *s); /* NULL: none */
    uint64_t (*map_bytes)(const struct store *s);
};

struct store {
    const struct store_ops *ops;
};

/* store_open_lmdb for an environment that one thread at a time uses, not always the same: while a write transaction is
 * open, no other may begin. */
int store_open_lmdb_alone(const char *path, uint64_t map_size, struct store **ret_store);

/* The name of a table, for implementations that name them. */
const char *txn_table_name(enum txn_table table);

#endif
