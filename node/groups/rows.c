#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "codec.h"
#include "errors.h"

#define ROW_MAX 4096
#define LOG_KEY_SIZE 12
#define LOG_VALUE_HEAD 9
#define LOG_DEL_STEP 1024

static struct slice slice_of(const void *bytes, size_t size) {
    return (struct slice){.bytes = bytes, .size = size};
}

static void put_config(struct buf *b, const struct raft_config *c) {
    struct buf inner;
    buf_init(&inner, ROW_MAX);
    cbor_put_uint(b, c->index);
    if (c->count > 0) {
        raft_config_encode(c, &inner);
    }
    if (inner.error) {
        b->error = inner.error;
    }
    cbor_put_bytes(b, inner.bytes, inner.size);
    buf_release(&inner);
}

static int get_config(struct cbor_reader *r, struct raft_config *out) {
    uint64_t index = cbor_get_uint(r, UINT64_MAX);
    size_t size = 0;
    const uint8_t *bytes = cbor_get_bytes(r, ROW_MAX, &size);
    memset(out, 0, sizeof(*out));
    out->index = index;
    if (r->error || size == 0) {
        return r->error;
    }
    return raft_config_decode(bytes, size, index, out);
}

static int put_row(struct txn *t, enum txn_table table, uint32_t group, struct buf *row) {
    uint8_t key[4];
    put_u32(key, group);
    int rc = row->error;
    if (!rc) {
        rc = txn_put(t, table, slice_of(key, sizeof(key)), slice_of(row->bytes, row->size));
    }
    buf_release(row);
    return rc;
}

static int get_row(struct txn *t, enum txn_table table, uint32_t group, struct cbor_reader *out) {
    uint8_t key[4];
    put_u32(key, group);
    struct slice value;
    int rc = txn_get(t, table, slice_of(key, sizeof(key)), &value);
    if (!rc) {
        cbor_reader_init(out, value.bytes, value.size);
    }
    return rc;
}

int hard_row_put(struct txn *t, uint32_t group, const struct hard_row *row) {
    struct buf b;
    buf_init(&b, ROW_MAX);
    cbor_put_array(&b, 8);
    cbor_put_uint(&b, row->replica);
    cbor_put_uint(&b, row->tombstone);
    cbor_put_uint(&b, row->hard.term);
    cbor_put_uint(&b, row->hard.vote);
    cbor_put_uint(&b, row->base_index);
    cbor_put_uint(&b, row->base_term);
    put_config(&b, &row->config);
    return put_row(t, TABLE_HARD, group, &b);
}

int hard_row_get(struct txn *t, uint32_t group, struct hard_row *out) {
    struct cbor_reader r;
    struct hard_row row = {0};
    int rc = get_row(t, TABLE_HARD, group, &r);
    if (rc) {
        return rc;
    }
    cbor_expect_array(&r, 8);
    row.replica = cbor_get_uint(&r, UINT64_MAX);
    row.tombstone = cbor_get_uint(&r, UINT64_MAX);
    row.hard.term = cbor_get_uint(&r, UINT64_MAX);
    row.hard.vote = cbor_get_uint(&r, UINT64_MAX);
    row.base_index = cbor_get_uint(&r, UINT64_MAX);
    row.base_term = cbor_get_uint(&r, UINT64_MAX);
    rc = get_config(&r, &row.config);
    if (rc || cbor_finish(&r)) {
        return ERR_CORRUPT;
    }
    *out = row;
    return 0;
}

int applied_row_put(struct txn *t, uint32_t group, const struct applied_row *row) {
    struct buf b;
    buf_init(&b, ROW_MAX);
    cbor_put_array(&b, 5);
    cbor_put_uint(&b, row->index);
    cbor_put_uint(&b, row->term);
    cbor_put_uint(&b, row->stamp_ms);
    put_config(&b, &row->config);
    return put_row(t, TABLE_APPLIED, group, &b);
}

int applied_row_get(struct txn *t, uint32_t group, struct applied_row *out) {
    struct cbor_reader r;
    struct applied_row row = {0};
    int rc = get_row(t, TABLE_APPLIED, group, &r);
    if (rc) {
        return rc;
    }
    cbor_expect_array(&r, 5);
    row.index = cbor_get_uint(&r, UINT64_MAX);
    row.term = cbor_get_uint(&r, UINT64_MAX);
    row.stamp_ms = cbor_get_uint(&r, UINT64_MAX);
    rc = get_config(&r, &row.config);
    if (rc || cbor_finish(&r)) {
        return ERR_CORRUPT;
    }
    *out = row;
    return 0;
}

int applied_row_del(struct txn *t, uint32_t group) {
    uint8_t key[4];
    put_u32(key, group);
    int rc = txn_del(t, TABLE_APPLIED, slice_of(key, sizeof(key)));
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static void log_key(uint8_t out[LOG_KEY_SIZE], uint32_t group, uint64_t index) {
    put_u32(out, group);
    put_u64(out + 4, index);
}

int log_put(struct txn *t, uint32_t group, const struct raft_entry *e) {
    uint8_t key[LOG_KEY_SIZE];
    uint8_t small[LOG_VALUE_HEAD + 1024];
    uint8_t *value = small;
    size_t size = LOG_VALUE_HEAD + (size_t)e->size;
    CHECK(e->size <= RAFT_ENTRY_MAX);
    if (size > sizeof(small)) {
        value = malloc(size);
        if (!value) {
            return ERR_NOMEM;
        }
    }
    log_key(key, group, e->index);
    put_u64(value, e->term);
    value[8] = e->kind;
    if (e->size) {
        memcpy(value + LOG_VALUE_HEAD, e->data, e->size);
    }
    int rc = txn_put(t, TABLE_LOG, slice_of(key, sizeof(key)), slice_of(value, size));
    if (value != small) {
        free(value);
    }
    return rc;
}

int log_del(struct txn *t, uint32_t group, uint64_t first, uint64_t last) {
    uint8_t from[LOG_KEY_SIZE], to[LOG_KEY_SIZE];
    size_t deleted = LOG_DEL_STEP;
    log_key(from, group, first);
    log_key(to, group, last);
    while (deleted == LOG_DEL_STEP) {
        int rc =
            txn_del_range(t, TABLE_LOG, slice_of(from, sizeof(from)), slice_of(to, sizeof(to)), LOG_DEL_STEP, &deleted);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static int entry_from_row(uint64_t index, struct slice value, struct raft_entry **ret_entry) {
    if (value.size < LOG_VALUE_HEAD || value.size - LOG_VALUE_HEAD > RAFT_ENTRY_MAX ||
        value.bytes[8] > RAFT_ENTRY_CONFIG) {
        return ERR_CORRUPT;
    }
    *ret_entry = raft_entry_new(index, get_u64(value.bytes), (enum raft_entry_kind)value.bytes[8],
                                value.bytes + LOG_VALUE_HEAD, value.size - LOG_VALUE_HEAD);
    return *ret_entry ? 0 : ERR_NOMEM;
}

int log_load(struct txn *t, uint32_t group, uint64_t first, struct raft_entry ***ret_entries, size_t *ret_count) {
    uint8_t key[LOG_KEY_SIZE];
    struct slice k, v;
    struct raft_entry **entries = NULL;
    size_t count = 0, capacity = 0;
    log_key(key, group, first);
    int rc = txn_seek(t, TABLE_LOG, slice_of(key, sizeof(key)), &k, &v);
    while (!rc && k.size == LOG_KEY_SIZE && get_u32(k.bytes) == group && get_u64(k.bytes + 4) == first + count) {
        if (count == capacity) {
            capacity = capacity ? capacity * 2 : 16;
            struct raft_entry **grown = realloc(entries, capacity * sizeof(*entries));
            if (!grown) {
                rc = ERR_NOMEM;
                break;
            }
            entries = grown;
        }
        rc = entry_from_row(first + count, v, &entries[count]);
        if (rc) {
            break;
        }
        log_key(key, group, first + count);
        count++;
        rc = txn_next(t, TABLE_LOG, slice_of(key, sizeof(key)), &k, &v);
    }
    if (!rc && k.size >= sizeof(group) && get_u32(k.bytes) == group) {
        rc = ERR_CORRUPT; /* a gap: what follows it was acknowledged, so what is missing was, too */
    }
    if (rc && rc != ERR_NOT_FOUND) {
        while (count > 0) {
            raft_entry_unref(entries[--count]);
        }
        free(entries);
        return rc;
    }
    *ret_entries = entries;
    *ret_count = count;
    return 0;
}
