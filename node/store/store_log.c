/* Rows of TABLE_LOG stay in the write-ahead log; memory knows where. All other rows are in LMDB, in a transaction that
 * stays open until the log turns to its next segment; until then the log has them too:
 *
 *                        ┌─ TABLE_LOG ─▶ index: key -> where in the log
 *   put, del ─▶ record ──┤
 *                        └─ others ────▶ rows: LMDB, committed with a mark when a segment begins
 *   commit = the record is written and flushed
 *
 * So what was committed is: the rows as LMDB has them, then the records after its mark.
 *
 * A value that stays would hold up all segments after its own. When little of what the files hold is needed, a turn
 * writes what the oldest segment still has once more, at the end. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "buf.h"
#include "check.h"
#include "errors.h"
#include "store_impl.h"
#include "wal.h"

/* An operation in a record: what (1), table (1), size of the key (2), size of the value (4), key, value. */
#define OP_PUT 1
#define OP_DEL 2
#define OP_HEAD 8
/* What the index has for a key: segment (8), offset (4), size (4). */
#define PLACE_SIZE 16
/* In the rows, under a table that has no others: last (8), segment (8), oldest (8). */
#define MARK_KEY "wal"
#define MARK_SIZE 24

/* What a value counts as, so that an empty one counts, too. */
#define VALUE_BYTES(size) ((uint64_t)(size) + OP_HEAD)
/* Files that may be there however little of them is needed; and beyond, the share that is. */
#define CARRY_SEGMENTS 4
#define CARRY_SHARE 4
#define CARRY_PER_TURN 2

/* Tables have their numbers in the log. */
_Static_assert(TABLE_LOCAL == 0 && TABLE_HARD == 1 && TABLE_LOG == 2, "part of the format");

struct log_store {
    struct store base;
    struct store *rows;
    struct store *index;
    struct wal *wal;
    struct wal_mark mark;
    struct txn *rows_txn; /* what was committed since the mark; NULL: nothing */
    bool rows_behind;     /* it was lost in an abort */
    bool writing;
    size_t readers;
    int error; /* of a commit; sticky */
};

struct place {
    uint64_t segment;
    uint32_t offset, size;
};

struct log_txn {
    struct txn base;
    struct log_store *store;
    struct txn *index;
    struct txn *rows; /* a read transaction of its own; NULL: the store's rows_txn */
    bool rows_written;
    uint64_t added;     /* bytes of values in the segment in use */
    struct place *left; /* values that are needed no more */
    size_t left_count, left_capacity;
};

/* ---- places ---- */

static void place_encode(uint8_t out[PLACE_SIZE], const struct place *p) {
    put_u64(out, p->segment);
    put_u32(out + 8, p->offset);
    put_u32(out + 12, p->size);
}

static struct place place_decode(struct slice value) {
    CHECK(value.size == PLACE_SIZE);
    return (struct place){get_u64(value.bytes), get_u32(value.bytes + 8), get_u32(value.bytes + 12)};
}

static int place_read(struct log_store *s, struct slice stored, struct slice *ret_value) {
    struct place p = place_decode(stored);
    ret_value->size = p.size;
    return wal_bytes(s->wal, p.segment, p.offset, p.size, &ret_value->bytes);
}

/* ---- rows since the mark ---- */

static int rows_writable(struct log_store *s) {
    return s->rows_txn ? 0 : store_begin(s->rows, true, &s->rows_txn);
}

struct op {
    uint8_t what;
    enum txn_table table;
    struct slice key, value;
    uint32_t value_offset; /* in the record */
};

/* ERR_NOT_FOUND at the end of the record. */
static int op_next(const struct wal_record *r, uint32_t *at, struct op *out) {
    const uint8_t *p = r->body + *at;
    uint32_t left = r->size - *at;
    if (left == 0) {
        return ERR_NOT_FOUND;
    }
    if (left < OP_HEAD) {
        return ERR_CORRUPT;
    }
    uint32_t key_size = get_u16(p + 2), value_size = get_u32(p + 4);
    if ((p[0] != OP_PUT && p[0] != OP_DEL) || p[1] >= TABLE_COUNT || key_size > left - OP_HEAD ||
        value_size > left - OP_HEAD - key_size) {
        return ERR_CORRUPT;
    }
    *out = (struct op){.what = p[0],
                       .table = (enum txn_table)p[1],
                       .key = {p + OP_HEAD, key_size},
                       .value = {p + OP_HEAD + key_size, value_size},
                       .value_offset = *at + OP_HEAD + key_size};
    *at = out->value_offset + value_size;
    return 0;
}

static int row_again(struct log_store *s, const struct op *op) {
    int status = rows_writable(s);
    if (status == 0) {
        status = op->what == OP_PUT ? txn_put(s->rows_txn, op->table, op->key, op->value)
                                    : txn_del(s->rows_txn, op->table, op->key);
    }
    return status == ERR_NOT_FOUND || status == ERR_INVALID ? ERR_CORRUPT : status;
}

static int record_rows(void *ctx, const struct wal_record *r) {
    struct log_store *s = ctx;
    struct op op;
    uint32_t at = 0;
    int status;
    while ((status = op_next(r, &at, &op)) == 0) {
        status = op.table == TABLE_LOG ? 0 : row_again(s, &op);
        if (status != 0) {
            return status;
        }
    }
    return status == ERR_NOT_FOUND ? 0 : status;
}

static int rows_catch_up(struct log_store *s) {
    CHECK(!s->rows_txn);
    int status = wal_scan(s->wal, s->mark.last, record_rows, s);
    s->rows_behind = status != 0;
    if (status != 0 && s->rows_txn) {
        store_abort(s->rows_txn);
        s->rows_txn = NULL;
    }
    return status;
}

/* ---- the index ---- */

static int note_left(struct log_txn *t, const struct place *p) {
    if (t->left_count == t->left_capacity) {
        size_t capacity = t->left_capacity ? t->left_capacity * 2 : 16;
        struct place *larger = realloc(t->left, capacity * sizeof(*larger));
        if (!larger) {
            return ERR_NOMEM;
        }
        t->left = larger;
        t->left_capacity = capacity;
    }
    t->left[t->left_count++] = *p;
    return 0;
}

/* The value that key has had is needed no more. ERR_NOT_FOUND: it has none. */
static int index_leave(struct log_txn *t, struct slice key) {
    struct slice stored;
    int status = txn_get(t->index, TABLE_LOG, key, &stored);
    if (status != 0) {
        return status;
    }
    const struct place p = place_decode(stored);
    return note_left(t, &p);
}

static int index_put(struct log_txn *t, struct slice key, const struct place *p) {
    uint8_t stored[PLACE_SIZE];
    int status = index_leave(t, key);
    if (status != 0 && status != ERR_NOT_FOUND) {
        return status;
    }
    place_encode(stored, p);
    status = txn_put(t->index, TABLE_LOG, key, (struct slice){stored, sizeof(stored)});
    t->added += status == 0 ? VALUE_BYTES(p->size) : 0;
    return status;
}

static int index_del(struct log_txn *t, struct slice key) {
    int status = index_leave(t, key);
    return status ? status : txn_del(t->index, TABLE_LOG, key);
}

static void index_settle(const struct log_txn *t, uint64_t segment) {
    struct wal *w = t->store->wal;
    wal_need(w, segment, t->added);
    for (size_t i = 0; i < t->left_count; i++) {
        wal_need_not(w, t->left[i].segment, VALUE_BYTES(t->left[i].size));
    }
    wal_trim(w);
}

/* *ret_offset is where the value will be. */
static int record_op(struct wal *w, uint8_t what, enum txn_table table, struct slice key, struct slice value,
                     uint32_t *ret_offset) {
    uint8_t head[OP_HEAD] = {what, (uint8_t)table};
    put_u16(head + 2, (uint16_t)key.size);
    put_u32(head + 4, (uint32_t)value.size);
    int status = wal_append(w, head, sizeof(head), ret_offset);
    status = status ? status : wal_append(w, key.bytes, key.size, ret_offset);
    return status ? status : wal_append(w, value.bytes, value.size, ret_offset);
}

/* ---- values that stay ---- */

static int carry_record(void *ctx, const struct wal_record *r) {
    struct log_txn *t = ctx;
    struct log_store *s = t->store;
    struct op op;
    uint32_t at = 0;
    int status;
    while ((status = op_next(r, &at, &op)) == 0) {
        const struct place old = {r->segment, r->offset + op.value_offset, (uint32_t)op.value.size};
        struct place p = {wal_segment(s->wal), 0, old.size};
        struct slice stored;
        if (op.what != OP_PUT || op.table != TABLE_LOG || txn_get(t->index, TABLE_LOG, op.key, &stored) != 0) {
            continue;
        }
        const struct place has = place_decode(stored);
        if (has.segment != old.segment || has.offset != old.offset) {
            continue; /* it was put again later */
        }
        status = record_op(s->wal, OP_PUT, TABLE_LOG, op.key, op.value, &p.offset);
        status = status ? status : index_put(t, op.key, &p);
        if (status != 0) {
            return status;
        }
    }
    return status == ERR_NOT_FOUND ? 0 : status;
}

static int carry_oldest(struct log_store *s) {
    struct log_txn t = {.store = s};
    int status = store_begin(s->index, true, &t.index);
    if (status != 0) {
        return status;
    }
    status = wal_begin(s->wal);
    status = status ? status : wal_scan_oldest(s->wal, carry_record, &t);
    status = status ? status : wal_write(s->wal);
    if (status == 0) {
        CHECK(store_commit(t.index) == 0);
        index_settle(&t, wal_segment(s->wal));
    } else {
        store_abort(t.index);
    }
    free(t.left);
    return status;
}

static bool carry_due(const struct log_store *s) {
    uint64_t segments = wal_segment(s->wal) - wal_oldest(s->wal);
    return segments > CARRY_SEGMENTS && wal_needed_bytes(s->wal) < wal_used_bytes(s->wal) / CARRY_SHARE;
}

/* ---- transactions ---- */

static struct log_txn *log_txn_of(struct txn *t) {
    return (struct log_txn *)t;
}

static struct txn *rows_of(struct log_txn *t) {
    return t->rows ? t->rows : t->store->rows_txn;
}

static int log_txn_get(struct txn *base, enum txn_table table, struct slice key, struct slice *ret_value) {
    struct log_txn *t = log_txn_of(base);
    struct slice stored;
    if (table != TABLE_LOG) {
        return txn_get(rows_of(t), table, key, ret_value);
    }
    int status = txn_get(t->index, TABLE_LOG, key, &stored);
    return status ? status : place_read(t->store, stored, ret_value);
}

static int log_txn_seek(struct txn *base, enum txn_table table, struct slice key, struct slice *ret_key,
                        struct slice *ret_value) {
    struct log_txn *t = log_txn_of(base);
    struct slice stored;
    if (table != TABLE_LOG) {
        return rows_of(t)->ops->seek(rows_of(t), table, key, ret_key, ret_value);
    }
    int status = t->index->ops->seek(t->index, TABLE_LOG, key, ret_key, &stored);
    return status ? status : place_read(t->store, stored, ret_value);
}

static int log_txn_put(struct txn *base, enum txn_table table, struct slice key, struct slice value) {
    struct log_txn *t = log_txn_of(base);
    struct log_store *s = t->store;
    struct place p = {.segment = wal_segment(s->wal), .size = (uint32_t)value.size};
    int status = record_op(s->wal, OP_PUT, table, key, value, &p.offset);
    if (status != 0) {
        return status;
    }
    if (table == TABLE_LOG) {
        return index_put(t, key, &p);
    }
    t->rows_written = true;
    return txn_put(s->rows_txn, table, key, value);
}

static int log_txn_del(struct txn *base, enum txn_table table, struct slice lent_key) {
    struct log_txn *t = log_txn_of(base);
    struct log_store *s = t->store;
    uint8_t bytes[TXN_KEY_MAX]; /* what was lent is gone once it is deleted */
    uint32_t offset;
    memcpy(bytes, lent_key.bytes, lent_key.size);
    const struct slice key = {bytes, lent_key.size};
    t->rows_written = t->rows_written || table != TABLE_LOG;
    int status = table == TABLE_LOG ? index_del(t, key) : txn_del(s->rows_txn, table, key);
    return status ? status : record_op(s->wal, OP_DEL, table, key, (struct slice){0}, &offset);
}

static void log_txn_free(struct log_txn *t) {
    struct log_store *s = t->store;
    if (t->base.write) {
        CHECK(s->writing);
        s->writing = false;
    } else {
        CHECK(s->readers > 0);
        if (--s->readers == 0) {
            wal_forget(s->wal);
        }
    }
    if (t->rows) {
        store_abort(t->rows);
    }
    free(t->left);
    free(t);
}

/* What other transactions left in rows_txn goes with what this one did: it is in the log. */
static void log_txn_abort(struct txn *base) {
    struct log_txn *t = log_txn_of(base);
    struct log_store *s = t->store;
    store_abort(t->index);
    if (t->rows_written) {
        store_abort(s->rows_txn);
        s->rows_txn = NULL;
        s->rows_behind = true;
    }
    log_txn_free(t);
}

static int log_txn_commit(struct txn *base) {
    struct log_txn *t = log_txn_of(base);
    struct log_store *s = t->store;
    if (!base->write || wal_pending_bytes(s->wal) == 0) {
        log_txn_abort(base);
        return 0;
    }
    uint64_t segment = wal_segment(s->wal);
    int status = wal_write(s->wal);
    if (status != 0) {
        s->error = status;
        log_txn_abort(base);
        return status;
    }
    CHECK(store_commit(t->index) == 0); /* in memory, and without an error before */
    index_settle(t, segment);
    log_txn_free(t);
    return 0;
}

static const struct txn_ops log_txn_ops = {
    .get = log_txn_get,
    .put = log_txn_put,
    .del = log_txn_del,
    .seek = log_txn_seek,
    .commit = log_txn_commit,
    .abort = log_txn_abort,
};

/* ---- the store ---- */

/* A segment begins; with it what LMDB has becomes durable. */
static int turn(struct log_store *s) {
    uint8_t value[MARK_SIZE];
    const struct slice key = {(const uint8_t *)MARK_KEY, strlen(MARK_KEY)};
    int status = wal_turn(s->wal);
    status = status ? status : rows_writable(s);
    if (status != 0) {
        return status;
    }
    const struct wal_mark mark = {wal_last(s->wal), wal_segment(s->wal), wal_oldest(s->wal)};
    put_u64(value, mark.last);
    put_u64(value + 8, mark.segment);
    put_u64(value + 16, mark.oldest);
    struct txn *txn = s->rows_txn;
    s->rows_txn = NULL;
    (void)txn_put(txn, TABLE_LOG, key, (struct slice){value, sizeof(value)});
    status = store_commit(txn);
    if (status != 0) {
        s->rows_behind = true;
        return status;
    }
    s->mark = mark;
    wal_marked(s->wal, &mark);
    for (int i = 0; i < CARRY_PER_TURN && status == 0 && carry_due(s); i++) {
        status = carry_oldest(s);
    }
    return status;
}

static int begin_write(struct log_store *s) {
    int status = s->error;
    if (status == 0 && wal_turn_due(s->wal)) {
        status = turn(s);
        s->error = status;
    }
    return status ? status : rows_writable(s);
}

static int log_store_begin(struct store *base, bool write, struct txn **ret_txn) {
    struct log_store *s = (struct log_store *)base;
    CHECK(!s->writing && (!write || s->readers == 0));
    int status = s->rows_behind ? rows_catch_up(s) : 0;
    status = status || !write ? status : begin_write(s);
    struct log_txn *t = status ? NULL : calloc(1, sizeof(*t));
    if (!t) {
        return status ? status : ERR_NOMEM;
    }
    t->base = (struct txn){.ops = &log_txn_ops, .write = write};
    t->store = s;
    if (!s->rows_txn) {
        status = store_begin(s->rows, false, &t->rows);
    }
    status = status || !write ? status : wal_begin(s->wal);
    status = status ? status : store_begin(s->index, write, &t->index);
    if (status != 0) {
        if (t->rows) {
            store_abort(t->rows);
        }
        free(t);
        return status;
    }
    s->writing = write;
    s->readers += !write;
    *ret_txn = &t->base;
    return 0;
}

static uint64_t log_store_used_bytes(const struct store *base) {
    const struct log_store *s = (const struct log_store *)base;
    return store_used_bytes(s->rows) + wal_used_bytes(s->wal);
}

static uint64_t log_store_map_bytes(const struct store *base) {
    return store_map_bytes(((const struct log_store *)base)->rows);
}

static void log_store_close(struct store *base) {
    struct log_store *s = (struct log_store *)base;
    CHECK(!s->writing && s->readers == 0);
    if (s->rows_txn) {
        store_abort(s->rows_txn);
    }
    store_close(s->rows);
    store_close(s->index);
    wal_close(s->wal);
    free(s);
}

static const struct store_ops log_store_ops = {
    .begin = log_store_begin,
    .close = log_store_close,
    .used_bytes = log_store_used_bytes,
    .map_bytes = log_store_map_bytes,
};

/* ---- opening ---- */

struct recovery {
    struct log_store *store;
    struct log_txn txn; /* of the index alone */
};

static int record_index(void *ctx, const struct wal_record *r) {
    struct recovery *rec = ctx;
    struct op op;
    uint32_t at = 0;
    int status;
    while ((status = op_next(r, &at, &op)) == 0) {
        const struct place p = {r->segment, r->offset + op.value_offset, (uint32_t)op.value.size};
        if (op.table != TABLE_LOG) {
            continue;
        }
        status = op.what == OP_PUT ? index_put(&rec->txn, op.key, &p) : index_del(&rec->txn, op.key);
        if (status == 0 && op.what == OP_PUT) {
            wal_need(rec->store->wal, r->segment, VALUE_BYTES(p.size));
        }
        /* What is deleted may have been in a segment that is not there any more. */
        if (status != 0 && status != ERR_NOT_FOUND) {
            return status == ERR_INVALID ? ERR_CORRUPT : status;
        }
    }
    return status == ERR_NOT_FOUND ? 0 : status;
}

static int recover_index(struct log_store *s) {
    struct recovery rec = {.store = s, .txn = {.store = s}};
    int status = store_begin(s->index, true, &rec.txn.index);
    if (status != 0) {
        return status;
    }
    status = wal_scan(s->wal, 0, record_index, &rec);
    int rc = store_commit(rec.txn.index);
    status = status ? status : rc;
    for (size_t i = 0; i < rec.txn.left_count && status == 0; i++) {
        wal_need_not(s->wal, rec.txn.left[i].segment, VALUE_BYTES(rec.txn.left[i].size));
    }
    free(rec.txn.left);
    return status;
}

/* ERR_VERSION: rows of a log that was kept in LMDB. */
static int read_mark(struct log_store *s) {
    struct txn *t;
    struct slice key, value;
    int status = store_begin(s->rows, false, &t);
    if (status != 0) {
        return status;
    }
    status = txn_seek(t, TABLE_LOG, (struct slice){0}, &key, &value);
    if (status == 0 && (key.size != strlen(MARK_KEY) || memcmp(key.bytes, MARK_KEY, key.size) != 0)) {
        status = ERR_VERSION;
    } else if (status == 0 && value.size != MARK_SIZE) {
        status = ERR_CORRUPT;
    } else if (status == 0) {
        s->mark = (struct wal_mark){get_u64(value.bytes), get_u64(value.bytes + 8), get_u64(value.bytes + 16)};
    }
    store_abort(t);
    return status == ERR_NOT_FOUND ? 0 : status;
}

int store_open_log(const char *path, uint64_t map_size, uint32_t segment_bytes, struct store **ret_store) {
    struct log_store *s = calloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->base.ops = &log_store_ops;
    int status = store_open_lmdb_alone(path, map_size, &s->rows);
    status = status ? status : store_open_mem(&s->index);
    status = status ? status : read_mark(s);
    status = status ? status : wal_open(path, segment_bytes, &s->mark, &s->wal);
    status = status ? status : recover_index(s);
    status = status ? status : rows_catch_up(s);
    if (status != 0) {
        log_store_close(&s->base);
        return status;
    }
    wal_trim(s->wal);
    wal_forget(s->wal); /* nobody reads yet */
    *ret_store = &s->base;
    return 0;
}
