#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "machine_rows.h"

#define PIECE_ROW_FIELDS 3 /* table, key, value */
#define PIECE_ROW_HEADS 16 /* bytes of the heads of one row, at most */
#define DELETE_BATCH 4096  /* rows deleted by one call */
#define STAGE_HEAD_SIZE 5  /* group, table */
#define STAGE_GROUP_SIZE 4

/* ---- walking an arc ---- */

void machine_cursor_init(struct machine_cursor *c) {
    *c = (struct machine_cursor){.table = TABLE_COUNT};
}

static enum txn_table table_at(const struct machine_arc *arc, size_t i) {
    size_t count = 0;
    const enum txn_table *tables = machine_tables(arc, &count);
    CHECK(i <= count);
    return i < count ? tables[i] : TABLE_COUNT;
}

static enum txn_table table_after(const struct machine_arc *arc, enum txn_table table) {
    size_t count = 0, i = 0;
    const enum txn_table *tables = machine_tables(arc, &count);
    while (i < count && tables[i] != table) {
        i++;
    }
    CHECK(i < count);
    return table_at(arc, i + 1);
}

static bool in_range(const struct machine_arc *arc, struct slice key) {
    return arc->root || (key.size >= sizeof(uint64_t) && machine_arc_holds(arc, get_u64(key.bytes)));
}

/* The row after the cursor in its table; ERR_NOT_FOUND behind the last one of the arc. */
static int cursor_peek(struct txn *t, const struct machine_arc *arc, const struct machine_cursor *c, struct slice *key,
                       struct slice *value) {
    struct row_key first, last;
    int rc = 0;
    if (c->key_size > 0) {
        rc = txn_next(t, c->table, (struct slice){c->key, c->key_size}, key, value);
    } else {
        machine_range(arc, &first, &last);
        rc = txn_seek(t, c->table, row_key_slice(&first), key, value);
    }
    return rc == 0 && !in_range(arc, *key) ? ERR_NOT_FOUND : rc;
}

/* The next row of the arc over all its tables; c->done and ERR_NOT_FOUND behind the last. The cursor is moved past the
 * row by cursor_take. */
static int cursor_next(struct txn *t, const struct machine_arc *arc, struct machine_cursor *c, struct slice *key,
                       struct slice *value) {
    if (!c->started) {
        c->started = true;
        c->table = table_at(arc, 0);
    }
    int rc = ERR_NOT_FOUND;
    while (!c->done && rc == ERR_NOT_FOUND) {
        rc = cursor_peek(t, arc, c, key, value);
        if (rc == ERR_NOT_FOUND) {
            c->table = table_after(arc, c->table);
            c->key_size = 0;
            c->done = c->table == TABLE_COUNT;
        }
    }
    return rc;
}

static void cursor_take(struct machine_cursor *c, struct slice key) {
    CHECK(key.size > 0 && key.size <= TXN_KEY_MAX);
    memcpy(c->key, key.bytes, key.size);
    c->key_size = key.size;
}

/* ---- out ---- */

int machine_export(struct txn *t, const struct machine_arc *arc, struct machine_cursor *c, size_t max_bytes,
                   struct buf *out) {
    size_t mark = out->size;
    CHECK(max_bytes > 0 && max_bytes <= MACHINE_PIECE_MAX);
    while (!c->done) {
        struct slice key, value;
        int rc = cursor_next(t, arc, c, &key, &value);
        if (rc != 0) {
            return rc == ERR_NOT_FOUND ? 0 : rc;
        }
        size_t size = out->size - mark;
        if (size > 0 && size + key.size + value.size + PIECE_ROW_HEADS > max_bytes) {
            return 0;
        }
        cbor_put_array(out, PIECE_ROW_FIELDS);
        cbor_put_uint(out, c->table);
        cbor_put_bytes(out, key.bytes, key.size);
        cbor_put_bytes(out, value.bytes, value.size);
        if (out->error) {
            return out->error;
        }
        cursor_take(c, key);
    }
    return 0;
}

int machine_digest(struct txn *t, const struct machine_arc *arc, struct digest *out) {
    struct machine_cursor c;
    struct digest sum = {{0}};
    struct slice key, value;
    machine_cursor_init(&c);
    int rc = cursor_next(t, arc, &c, &key, &value);
    while (rc == 0) {
        uint8_t table = (uint8_t)c.table;
        const struct digest_part parts[] = {
            {sum.bytes, sizeof(sum.bytes)},
            {&table, sizeof(table)},
            {key.bytes, key.size},
            {value.bytes, value.size},
        };
        struct digest next;
        digest_of_parts(parts, sizeof(parts) / sizeof(parts[0]), &next);
        sum = next;
        cursor_take(&c, key);
        rc = cursor_next(t, arc, &c, &key, &value);
    }
    if (rc != ERR_NOT_FOUND) {
        return rc;
    }
    CHECK(c.done);
    *out = sum;
    return 0;
}

/* ---- away ---- */

static int delete_range(struct txn *t, enum txn_table table, const struct row_key *first, const struct row_key *last) {
    size_t deleted = DELETE_BATCH;
    int rc = 0;
    while (rc == 0 && deleted == DELETE_BATCH) {
        rc = txn_del_range(t, table, row_key_slice(first), row_key_slice(last), DELETE_BATCH, &deleted);
        CHECK(rc != 0 || deleted <= DELETE_BATCH);
    }
    return rc;
}

int machine_wipe(struct txn *t, const struct machine_arc *arc) {
    struct row_key first, last;
    size_t count = 0;
    int rc = 0;
    const enum txn_table *tables = machine_tables(arc, &count);
    machine_range(arc, &first, &last);
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = delete_range(t, tables[i], &first, &last);
    }
    return rc;
}

/* ---- in ---- */

static void stage_group(uint32_t group, struct row_key *out) {
    put_u32(out->bytes, group);
    out->size = STAGE_GROUP_SIZE;
}

int machine_stage_clear(struct txn *t, uint32_t group) {
    struct row_key at;
    stage_group(group, &at);
    return delete_range(t, TABLE_STAGE, &at, &at);
}

static int stage_row(struct txn *t, uint32_t group, enum txn_table table, struct slice key, struct slice value) {
    struct row_key staged;
    CHECK(key.size <= TXN_KEY_MAX - STAGE_HEAD_SIZE);
    stage_group(group, &staged);
    staged.bytes[STAGE_GROUP_SIZE] = (uint8_t)table;
    memcpy(staged.bytes + STAGE_HEAD_SIZE, key.bytes, key.size);
    staged.size = STAGE_HEAD_SIZE + key.size;
    return txn_put(t, TABLE_STAGE, row_key_slice(&staged), value);
}

static int stage_rows(struct txn *t, uint32_t group, const struct machine_arc *arc, struct cbor_reader *r,
                      struct chunk_ref *space) {
    int rc = 0;
    while (rc == 0 && r->offset < r->size) {
        struct slice key = {0}, value = {0};
        cbor_expect_array(r, PIECE_ROW_FIELDS);
        enum txn_table table = (enum txn_table)cbor_get_uint(r, TABLE_COUNT - 1);
        key.bytes = cbor_get_bytes(r, TXN_KEY_MAX - STAGE_HEAD_SIZE, &key.size);
        value.bytes = cbor_get_bytes(r, MACHINE_ROW_MAX, &value.size);
        rc = r->error ? r->error : machine_row_check(arc, table, key, value, space);
        if (rc == 0) {
            rc = stage_row(t, group, table, key, value);
        }
    }
    return rc;
}

int machine_stage(struct txn *t, uint32_t group, const struct machine_arc *arc, const uint8_t *piece, size_t size) {
    struct cbor_reader r;
    CHECK(piece || size == 0);
    struct chunk_ref *space = malloc(COMMAND_CHUNKS_MAX * sizeof(*space));
    if (!space) {
        return ERR_NOMEM;
    }
    cbor_reader_init(&r, piece, size);
    int rc = stage_rows(t, group, arc, &r, space);
    free(space);
    return rc;
}

/* Rows lie in pages that the next write may move: each is copied before it is put where it belongs. */
static int install_row(struct txn *t, const struct row_key *staged, struct slice value, struct buf *copy) {
    const struct slice key = {staged->bytes + STAGE_HEAD_SIZE, staged->size - STAGE_HEAD_SIZE};
    enum txn_table table = (enum txn_table)staged->bytes[STAGE_GROUP_SIZE];
    buf_clear(copy);
    buf_append(copy, value.bytes, value.size);
    if (copy->error) {
        return copy->error;
    }
    return txn_put(t, table, key, (struct slice){copy->bytes, copy->size});
}

/* Was the row staged for this arc? The stage is on disk: what it says is looked at again. */
static bool staged_for(const struct machine_arc *arc, struct slice key) {
    size_t count = 0;
    const enum txn_table *tables = machine_tables(arc, &count);
    if (key.size <= STAGE_HEAD_SIZE || key.size > TXN_KEY_MAX) {
        return false;
    }
    const struct slice row = {key.bytes + STAGE_HEAD_SIZE, key.size - STAGE_HEAD_SIZE};
    for (size_t i = 0; i < count; i++) {
        if (key.bytes[STAGE_GROUP_SIZE] == (uint8_t)tables[i]) {
            return in_range(arc, row);
        }
    }
    return false;
}

static int install_rows(struct txn *t, uint32_t group, const struct machine_arc *arc, struct buf *copy) {
    struct row_key at, all;
    struct slice key, value;
    stage_group(group, &all);
    int rc = txn_seek(t, TABLE_STAGE, row_key_slice(&all), &key, &value);
    while (rc == 0 && slice_starts(key, row_key_slice(&all))) {
        if (!staged_for(arc, key)) {
            return ERR_CORRUPT;
        }
        memcpy(at.bytes, key.bytes, key.size);
        at.size = key.size;
        rc = install_row(t, &at, value, copy);
        if (rc == 0) {
            rc = txn_next(t, TABLE_STAGE, row_key_slice(&at), &key, &value);
        }
    }
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int machine_install(struct txn *t, uint32_t group, const struct machine_arc *arc) {
    struct buf copy;
    buf_init(&copy, MACHINE_ROW_MAX);
    int rc = machine_wipe(t, arc);
    if (rc == 0) {
        rc = install_rows(t, group, arc, &copy);
    }
    if (rc == 0) {
        rc = machine_stage_clear(t, group);
    }
    buf_release(&copy);
    return rc;
}
