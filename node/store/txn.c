#include "txn.h"

#include <string.h>

#include "check.h"
#include "errors.h"
#include "store_impl.h"

/* A page of a B-tree that is changed is held in memory; changes that lie close together share one. */
#define TOUCHED_BYTES 1024

const char *txn_table_name(enum txn_table table) {
    static const char *const names[TABLE_COUNT] = {
#define TXN_TABLE_NAME(id, name) [TABLE_##id] = (name),
        TXN_TABLES(TXN_TABLE_NAME)
#undef TXN_TABLE_NAME
    };
    CHECK(table < TABLE_COUNT);
    return names[table];
}

static bool key_valid(struct slice key) {
    return key.size > 0 && key.size <= TXN_KEY_MAX;
}

/* Remembers an error after which nothing but an abort is allowed. */
static int txn_result(struct txn *t, int status) {
    if (status != 0 && status != ERR_NOT_FOUND) {
        t->error = status;
    }
    return status;
}

static bool overlaps(struct slice a, struct slice b) {
    return a.size > 0 && b.size > 0 && a.bytes < b.bytes + b.size && b.bytes < a.bytes + a.size;
}

int txn_get(struct txn *t, enum txn_table table, struct slice key, struct slice *ret_value) {
    struct slice value;
    CHECK(table < TABLE_COUNT);
    if (!key_valid(key)) {
        return ERR_INVALID;
    }
    if (t->error) {
        return t->error;
    }
    int status = txn_result(t, t->ops->get(t, table, key, &value));
    if (status == 0) {
        t->lent_value = value;
        *ret_value = value;
    }
    return status;
}

static void txn_end_loans(struct txn *t) {
    t->lent_key = (struct slice){0};
    t->lent_value = (struct slice){0};
}

int txn_put(struct txn *t, enum txn_table table, struct slice key, struct slice value) {
    CHECK(t->write);
    CHECK(table < TABLE_COUNT);
    /* The page that holds a lent slice may move while this very write makes room. */
    CHECK(!overlaps(value, t->lent_value) && !overlaps(value, t->lent_key));
    CHECK(!overlaps(key, t->lent_value) && !overlaps(key, t->lent_key));
    if (!key_valid(key) || value.size > TXN_VALUE_MAX) {
        return ERR_INVALID;
    }
    if (t->error) {
        return t->error;
    }
    txn_end_loans(t);
    t->written_bytes += TOUCHED_BYTES + key.size + value.size;
    return txn_result(t, t->ops->put(t, table, key, value));
}

int txn_del(struct txn *t, enum txn_table table, struct slice key) {
    CHECK(t->write);
    CHECK(table < TABLE_COUNT);
    if (!key_valid(key)) {
        return ERR_INVALID;
    }
    if (t->error) {
        return t->error;
    }
    txn_end_loans(t);
    t->written_bytes += TOUCHED_BYTES;
    return txn_result(t, t->ops->del(t, table, key));
}

static int seek_checked(struct txn *t, enum txn_table table, struct slice key, struct slice *ret_key,
                        struct slice *ret_value) {
    struct slice found_key;
    struct slice found_value;
    if (t->error) {
        return t->error;
    }
    int status = txn_result(t, t->ops->seek(t, table, key, &found_key, &found_value));
    if (status == 0) {
        t->lent_key = found_key;
        t->lent_value = found_value;
        *ret_key = found_key;
        *ret_value = found_value;
    }
    return status;
}

int txn_seek(struct txn *t, enum txn_table table, struct slice key, struct slice *ret_key, struct slice *ret_value) {
    CHECK(table < TABLE_COUNT);
    if (key.size > TXN_KEY_MAX) {
        return ERR_INVALID;
    }
    return seek_checked(t, table, key, ret_key, ret_value);
}

int txn_next(struct txn *t, enum txn_table table, struct slice key, struct slice *ret_key, struct slice *ret_value) {
    uint8_t successor[TXN_KEY_MAX + 1];
    CHECK(table < TABLE_COUNT);
    if (key.size > TXN_KEY_MAX) {
        return ERR_INVALID;
    }
    if (key.size == 0) {
        return seek_checked(t, table, key, ret_key, ret_value);
    }
    /* No key lies between k and k followed by a zero byte. */
    memcpy(successor, key.bytes, key.size);
    successor[key.size] = 0;
    return seek_checked(t, table, (struct slice){successor, key.size + 1}, ret_key, ret_value);
}

/* key <= last, or key starts with last. */
static bool within_range(struct slice key, struct slice last) {
    size_t common = key.size < last.size ? key.size : last.size;
    return common == 0 || memcmp(key.bytes, last.bytes, common) <= 0;
}

int txn_del_range(struct txn *t, enum txn_table table, struct slice first, struct slice last, size_t max,
                  size_t *ret_deleted) {
    size_t deleted = 0;
    CHECK(t->write);
    if (last.size > TXN_KEY_MAX) {
        return ERR_INVALID;
    }
    while (deleted < max) {
        struct slice key;
        struct slice value;
        int status = txn_seek(t, table, first, &key, &value);
        if (status == ERR_NOT_FOUND || (status == 0 && !within_range(key, last))) {
            break;
        }
        if (status == 0) {
            status = txn_del(t, table, key);
        }
        if (status != 0) {
            return status;
        }
        deleted++;
    }
    CHECK(deleted <= max);
    *ret_deleted = deleted;
    return 0;
}
