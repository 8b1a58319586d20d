#include "heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "buf.h"
#include "check.h"

#define HEAP_PLAIN 0
#define HEAP_POINTER 1
#define POINTER_SIZE 17
#define RECORD_HEAD 7
#define USAGE_SIZE 8
#define KEY_SIZE 8
#define SWEEP_MAX 1024 /* segments looked at by one transaction */

struct heap_change {
    uint64_t segment;
    int64_t live;  /* bytes more or less that rows point to */
    int64_t bytes; /* of a segment made here */
    UT_hash_handle hh;
};

struct pointer {
    uint64_t segment;
    uint32_t offset, size;
};

bool heap_serves(enum txn_table table) {
    return table == TABLE_NAMES;
}

static MDB_val segment_key(uint8_t key[KEY_SIZE], uint64_t segment) {
    put_u64(key, segment);
    return (MDB_val){.mv_size = KEY_SIZE, .mv_data = key};
}

static uint32_t record_size(size_t key_size, uint32_t size) {
    return RECORD_HEAD + (uint32_t)key_size + size;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int count_all(struct heap *h, MDB_txn *txn) {
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(txn, h->usage, &cursor);
    if (rc != 0) {
        return rc;
    }
    rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    while (rc == 0) {
        if (key.mv_size != KEY_SIZE || value.mv_size != USAGE_SIZE || get_u64(key.mv_data) == UINT64_MAX) {
            rc = MDB_CORRUPTED;
            break;
        }
        h->next = get_u64(key.mv_data) + 1;
        h->live += get_u32(value.mv_data);
        h->bytes += get_u32((const uint8_t *)value.mv_data + 4);
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int heap_open(struct heap *h, MDB_txn *txn) {
    int rc = mdb_dbi_open(txn, "heap", MDB_CREATE, &h->segments);
    rc = rc ? rc : mdb_dbi_open(txn, "heap usage", MDB_CREATE, &h->usage);
    h->next = 1;
    return rc ? rc : count_all(h, txn);
}

/* A reader looks at nothing that the writer changes. */
void heap_begin(struct heap_txn *t, struct heap *h, MDB_txn *txn, bool write) {
    *t = (struct heap_txn){.heap = h, .txn = txn, .next = write ? h->next : 0};
}

void heap_end(struct heap_txn *t, bool committed) {
    struct heap_change *c, *next;
    struct heap *h = t->heap;
    HASH_ITER(hh, t->changes, c, next) {
        if (committed) {
            h->live += (uint64_t)c->live;
            h->bytes += (uint64_t)c->bytes;
        }
        HASH_DEL(t->changes, c);
        free(c);
    }
    if (committed) {
        CHECK(t->used == 0);
        CHECK(h->live <= h->bytes);
        h->next = t->next;
    }
    free(t->filling);
    t->filling = NULL;
}

/* ---- counting ---------------------------------------------------------------------------------------------------- */

static int note(struct heap_txn *t, uint64_t segment, int64_t live, int64_t bytes) {
    struct heap_change *c;
    HASH_FIND(hh, t->changes, &segment, sizeof(segment), c);
    if (!c) {
        c = calloc(1, sizeof(*c));
        if (!c) {
            return ENOMEM;
        }
        c->segment = segment;
        HASH_ADD(hh, t->changes, segment, sizeof(c->segment), c);
    }
    c->live += live;
    c->bytes += bytes;
    return 0;
}

static int usage_get(const struct heap_txn *t, uint64_t segment, int64_t *ret_live, int64_t *ret_bytes) {
    uint8_t key[KEY_SIZE];
    MDB_val k = segment_key(key, segment), value;
    int rc = mdb_get(t->txn, t->heap->usage, &k, &value);
    *ret_live = *ret_bytes = 0;
    if (rc == 0) {
        if (value.mv_size != USAGE_SIZE) {
            return MDB_CORRUPTED;
        }
        *ret_live = get_u32(value.mv_data);
        *ret_bytes = get_u32((const uint8_t *)value.mv_data + 4);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* A segment without a live byte goes, and its bytes with it. */
static int count_segment(struct heap_txn *t, struct heap_change *c) {
    uint8_t key[KEY_SIZE], usage[USAGE_SIZE];
    MDB_val k = segment_key(key, c->segment);
    int64_t live, bytes;
    int rc = usage_get(t, c->segment, &live, &bytes);
    if (rc != 0) {
        return rc;
    }
    int64_t all = bytes + c->bytes, left = live + c->live;
    if (left < 0 || left > all || all > UINT32_MAX) {
        return MDB_CORRUPTED;
    }
    if (left == 0) {
        c->bytes = -bytes;
        rc = mdb_del(t->txn, t->heap->segments, &k, NULL);
        rc = rc == 0 && bytes > 0 ? mdb_del(t->txn, t->heap->usage, &k, NULL) : rc;
        return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
    }
    put_u32(usage, (uint32_t)left);
    put_u32(usage + 4, (uint32_t)all);
    MDB_val v = {.mv_size = sizeof(usage), .mv_data = usage};
    return mdb_put(t->txn, t->heap->usage, &k, &v, 0);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static int put_segment(struct heap_txn *t, const MDB_val *bytes) {
    uint8_t key[KEY_SIZE];
    MDB_val k = segment_key(key, t->next), v = *bytes;
    uint32_t size = (uint32_t)bytes->mv_size;
    int rc = mdb_put(t->txn, t->heap->segments, &k, &v, 0);
    rc = rc ? rc : note(t, t->next, 0, size);
    t->next++;
    return rc;
}

static int flush(struct heap_txn *t) {
    const MDB_val bytes = {.mv_size = t->used, .mv_data = t->filling};
    t->used = 0;
    return bytes.mv_size > 0 ? put_segment(t, &bytes) : 0;
}

static void write_record(uint8_t *at, enum txn_table table, const MDB_val *key, const MDB_val *value) {
    at[0] = (uint8_t)table;
    put_u16(at + 1, (uint16_t)key->mv_size);
    put_u32(at + 3, (uint32_t)value->mv_size);
    memcpy(at + RECORD_HEAD, key->mv_data, key->mv_size);
    memcpy(at + RECORD_HEAD + key->mv_size, value->mv_data, value->mv_size);
}

/* Larger than a segment: it gets one of its own. */
static int append_large(struct heap_txn *t, enum txn_table table, const MDB_val *key, const MDB_val *value,
                        struct pointer *out) {
    uint32_t size = record_size(key->mv_size, (uint32_t)value->mv_size);
    int rc = flush(t);
    uint8_t *record = rc == 0 ? malloc(size) : NULL;
    if (!record) {
        return rc ? rc : ENOMEM;
    }
    write_record(record, table, key, value);
    *out = (struct pointer){.segment = t->next, .size = (uint32_t)value->mv_size};
    rc = put_segment(t, &(const MDB_val){.mv_size = size, .mv_data = record});
    free(record);
    return rc;
}

static int append(struct heap_txn *t, enum txn_table table, const MDB_val *key, const MDB_val *value,
                  struct pointer *out) {
    uint32_t size = record_size(key->mv_size, (uint32_t)value->mv_size);
    int rc = 0;
    if (size > HEAP_SEGMENT) {
        rc = append_large(t, table, key, value, out);
        return rc ? rc : note(t, out->segment, size, 0);
    }
    if (t->used + size > HEAP_SEGMENT) {
        rc = flush(t);
    }
    if (!t->filling) {
        t->filling = malloc(HEAP_SEGMENT);
    }
    if (rc != 0 || !t->filling) {
        return rc ? rc : ENOMEM;
    }
    write_record(t->filling + t->used, table, key, value);
    *out = (struct pointer){.segment = t->next, .offset = t->used, .size = (uint32_t)value->mv_size};
    t->used += size;
    return note(t, out->segment, size, 0);
}

static int put_pointer(MDB_cursor *cursor, MDB_val *key, const struct pointer *p) {
    uint8_t stored[POINTER_SIZE];
    MDB_val v = {.mv_size = sizeof(stored), .mv_data = stored};
    stored[0] = HEAP_POINTER;
    put_u64(stored + 1, p->segment);
    put_u32(stored + 9, p->offset);
    put_u32(stored + 13, p->size);
    return mdb_cursor_put(cursor, key, &v, 0);
}

static int put_plain(MDB_cursor *cursor, MDB_val *key, const MDB_val *value) {
    MDB_val v = {.mv_size = 1 + value->mv_size};
    int rc = mdb_cursor_put(cursor, key, &v, MDB_RESERVE);
    if (rc == 0) {
        *(uint8_t *)v.mv_data = HEAP_PLAIN;
        memcpy((uint8_t *)v.mv_data + 1, value->mv_data, value->mv_size);
    }
    return rc;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* False: the value is in the row itself. */
static int read_pointer(const MDB_val *stored, bool *ret_is, struct pointer *out) {
    const uint8_t *bytes = stored->mv_data;
    if (stored->mv_size == 0 || bytes[0] > HEAP_POINTER) {
        return MDB_CORRUPTED;
    }
    *ret_is = bytes[0] == HEAP_POINTER;
    if (*ret_is && stored->mv_size != POINTER_SIZE) {
        return MDB_CORRUPTED;
    }
    if (*ret_is) {
        *out =
            (struct pointer){.segment = get_u64(bytes + 1), .offset = get_u32(bytes + 9), .size = get_u32(bytes + 13)};
    }
    return 0;
}

static int segment_bytes(const struct heap_txn *t, uint64_t segment, MDB_val *out) {
    uint8_t key[KEY_SIZE];
    MDB_val k = segment_key(key, segment);
    if (segment == t->next && t->filling) {
        *out = (MDB_val){.mv_size = t->used, .mv_data = t->filling};
        return 0;
    }
    int rc = mdb_get(t->txn, t->heap->segments, &k, out);
    return rc == MDB_NOTFOUND ? MDB_CORRUPTED : rc;
}

int heap_follow(struct heap_txn *t, enum txn_table table, const MDB_val *key, const MDB_val *stored,
                MDB_val *ret_value) {
    struct pointer p;
    MDB_val segment;
    bool is_pointer;
    int rc = read_pointer(stored, &is_pointer, &p);
    if (rc == 0 && !is_pointer) {
        *ret_value = (MDB_val){.mv_size = stored->mv_size - 1, .mv_data = (uint8_t *)stored->mv_data + 1};
        return 0;
    }
    rc = rc ? rc : segment_bytes(t, p.segment, &segment);
    if (rc != 0) {
        return rc;
    }
    uint64_t end = (uint64_t)p.offset + RECORD_HEAD + key->mv_size + p.size;
    uint8_t *record = (uint8_t *)segment.mv_data + p.offset;
    if (end > segment.mv_size || record[0] != table || get_u16(record + 1) != key->mv_size ||
        get_u32(record + 3) != p.size || memcmp(record + RECORD_HEAD, key->mv_data, key->mv_size) != 0) {
        return MDB_CORRUPTED;
    }
    *ret_value = (MDB_val){.mv_size = p.size, .mv_data = record + RECORD_HEAD + key->mv_size};
    return 0;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

int heap_forget(struct heap_txn *t, const MDB_val *key, const MDB_val *stored) {
    struct pointer p;
    bool is_pointer;
    int rc = read_pointer(stored, &is_pointer, &p);
    if (rc == 0 && is_pointer) {
        rc = note(t, p.segment, -(int64_t)record_size(key->mv_size, p.size), 0);
        t->dropped += p.size;
    }
    return rc;
}

int heap_put(struct heap_txn *t, enum txn_table table, MDB_cursor *cursor, MDB_val *key, const MDB_val *value) {
    struct pointer p;
    MDB_val stored;
    int rc = mdb_cursor_get(cursor, key, &stored, MDB_SET);
    if (rc == 0) {
        rc = heap_forget(t, key, &stored);
    } else if (rc == MDB_NOTFOUND) {
        rc = 0;
    }
    if (rc != 0) {
        return rc;
    }
    if (value->mv_size < HEAP_VALUE_MIN) {
        return put_plain(cursor, key, value);
    }
    rc = append(t, table, key, value, &p);
    t->appended += value->mv_size;
    return rc ? rc : put_pointer(cursor, key, &p);
}

/* ---- what is left of sparse segments ------------------------------------------------------------------------------
 */

/* Whether the row still points to this record. */
static int points_here(MDB_cursor *cursor, MDB_val *key, uint64_t segment, uint32_t offset, bool *ret_yes) {
    struct pointer p;
    MDB_val stored;
    bool is_pointer = false;
    int rc = mdb_cursor_get(cursor, key, &stored, MDB_SET);
    *ret_yes = false;
    if (rc == MDB_NOTFOUND) {
        return 0;
    }
    rc = rc ? rc : read_pointer(&stored, &is_pointer, &p);
    *ret_yes = rc == 0 && is_pointer && p.segment == segment && p.offset == offset;
    return rc;
}

/* The segment was written by an earlier transaction, so its bytes stay where they are while this one writes. */
static int move_segment(struct heap_txn *t, MDB_cursor *const *cursors, uint64_t segment, uint64_t *ret_moved) {
    MDB_val bytes;
    int rc = segment_bytes(t, segment, &bytes);
    size_t at = 0;
    while (rc == 0 && at < bytes.mv_size) {
        uint8_t *record = (uint8_t *)bytes.mv_data + at;
        size_t left = bytes.mv_size - at;
        if (left < RECORD_HEAD || record[0] >= TABLE_COUNT || !heap_serves(record[0])) {
            return MDB_CORRUPTED;
        }
        MDB_val key = {.mv_size = get_u16(record + 1), .mv_data = record + RECORD_HEAD};
        MDB_val value = {.mv_size = get_u32(record + 3), .mv_data = record + RECORD_HEAD + key.mv_size};
        struct pointer p;
        bool live;
        if (key.mv_size == 0 || left - RECORD_HEAD < key.mv_size || left - RECORD_HEAD - key.mv_size < value.mv_size) {
            return MDB_CORRUPTED;
        }
        uint32_t size = record_size(key.mv_size, (uint32_t)value.mv_size);
        rc = points_here(cursors[record[0]], &key, segment, (uint32_t)at, &live);
        if (rc == 0 && live) {
            rc = append(t, record[0], &key, &value, &p);
            rc = rc ? rc : put_pointer(cursors[record[0]], &key, &p);
            rc = rc ? rc : note(t, segment, -(int64_t)size, 0);
            *ret_moved += size;
        }
        at += size;
    }
    return rc;
}

/* Of a segment that this transaction has not made. */
static int sparse(const struct heap_txn *t, uint64_t segment, const MDB_val *usage, bool *ret_sparse) {
    struct heap_change *c;
    if (usage->mv_size != USAGE_SIZE) {
        return MDB_CORRUPTED;
    }
    HASH_FIND(hh, t->changes, &segment, sizeof(segment), c);
    int64_t live = (int64_t)get_u32(usage->mv_data) + (c ? c->live : 0);
    int64_t bytes = get_u32((const uint8_t *)usage->mv_data + 4);
    *ret_sparse = live > 0 && live <= bytes / 8 * 5; /* an empty one goes by itself */
    return 0;
}

/* How much a transaction may move. One that only takes away moves some, too: on a full disk there are no others. */
static uint64_t moves_max(const struct heap_txn *t) {
    uint64_t dropped = t->dropped < HEAP_DROPPED_MAX ? t->dropped : HEAP_DROPPED_MAX;
    return t->appended > dropped ? t->appended : dropped;
}

/* Walks around all segments, a part of the way in every transaction. */
static int sweep(struct heap_txn *t, MDB_cursor *const *cursors) {
    struct heap *h = t->heap;
    uint8_t from[KEY_SIZE];
    uint64_t moved = 0, most = moves_max(t);
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(t->txn, h->usage, &cursor);
    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < SWEEP_MAX && rc == 0 && moved < most; i++) {
        MDB_val key = segment_key(from, h->sweep), usage;
        bool is_sparse;
        rc = mdb_cursor_get(cursor, &key, &usage, MDB_SET_RANGE);
        if (rc == MDB_NOTFOUND) {
            h->sweep = 0;
            rc = 0;
            break;
        }
        uint64_t segment = rc == 0 && key.mv_size == KEY_SIZE ? get_u64(key.mv_data) : 0;
        rc = rc ? rc : sparse(t, segment, &usage, &is_sparse);
        h->sweep = segment + 1;
        if (rc == 0 && is_sparse) {
            rc = move_segment(t, cursors, segment, &moved);
        }
    }
    mdb_cursor_close(cursor);
    return rc;
}

int heap_prepare(struct heap_txn *t, MDB_cursor *const *cursors) {
    struct heap *h = t->heap;
    struct heap_change *c, *next;
    int rc = 0;
    CHECK(h->live <= h->bytes);
    if (moves_max(t) > 0 && h->bytes - h->live > h->live + HEAP_GARBAGE_MIN) {
        rc = sweep(t, cursors);
    }
    rc = rc ? rc : flush(t);
    HASH_ITER(hh, t->changes, c, next) {
        rc = rc ? rc : count_segment(t, c);
    }
    return rc;
}
