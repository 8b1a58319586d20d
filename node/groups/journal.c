#include "journal.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "check.h"
#include "errors.h"

#define KEY_SIZE 10
#define RUN_HEAD 32
#define ENTRY_HEAD 13
#define RUNS_MIN 4
/* What a reader takes: a batch is closed when it has reached JOURNAL_BATCH_BYTES, so one step of one group may pass it.
 */
#define BATCH_READ_MAX (256u * 1024 * 1024)

_Static_assert(BATCH_READ_MAX / JOURNAL_PART < UINT16_MAX, "a part has a number of two bytes");

void journal_init(struct journal *j) {
    *j = (struct journal){.next = 1};
    STAILQ_INIT(&j->batches);
}

void journal_drop_oldest(struct journal *j) {
    struct journal_batch *b = STAILQ_FIRST(&j->batches);
    CHECK(b && j->bytes >= b->bytes);
    STAILQ_REMOVE_HEAD(&j->batches, link);
    j->bytes -= b->bytes;
    free(b->runs);
    free(b);
}

void journal_release(struct journal *j) {
    while (!STAILQ_EMPTY(&j->batches)) {
        journal_drop_oldest(j);
    }
}

struct journal_batch *journal_add(struct journal *j, uint64_t number) {
    struct journal_batch *b = calloc(1, sizeof(*b));
    CHECK(b && number >= j->next);
    b->number = number;
    j->next = number + 1;
    STAILQ_INSERT_TAIL(&j->batches, b, link);
    return b;
}

void journal_add_run(struct journal *j, struct journal_batch *b, const struct journal_run *run, uint64_t bytes) {
    CHECK(run->last + 1 >= run->first);
    if (b->count == b->capacity) {
        b->capacity = b->capacity ? b->capacity * 2 : RUNS_MIN;
        b->runs = realloc(b->runs, b->capacity * sizeof(b->runs[0]));
        CHECK(b->runs); /* a batch of which nobody knows what it holds could never go */
    }
    b->runs[b->count++] = *run;
    b->bytes += bytes;
    j->bytes += bytes;
}

void journal_earn(struct journal *j, uint64_t bytes) {
    j->credit = bytes < JOURNAL_KEEP_BYTES - j->credit ? j->credit + bytes : JOURNAL_KEEP_BYTES;
}

bool journal_is_sparse(const struct journal *j, uint64_t needed) {
    return j->bytes > JOURNAL_KEEP_BYTES && (j->bytes - JOURNAL_KEEP_BYTES) / 2 > needed;
}

bool journal_spend(struct journal *j, uint64_t bytes) {
    CHECK(j->credit <= JOURNAL_KEEP_BYTES);
    if (bytes > j->credit) {
        return false;
    }
    j->credit -= bytes;
    return true;
}

uint64_t journal_run_bytes(struct raft_entry *const *entries, uint32_t count) {
    uint64_t bytes = RUN_HEAD;
    for (uint32_t i = 0; i < count; i++) {
        bytes += ENTRY_HEAD + entries[i]->size;
    }
    return bytes;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static struct slice key_of(uint8_t key[KEY_SIZE], uint64_t batch, uint16_t part) {
    put_u64(key, batch);
    put_u16(key + 8, part);
    return (struct slice){.bytes = key, .size = KEY_SIZE};
}

void journal_write_begin(struct journal_writer *w, struct txn *t, uint64_t batch) {
    *w = (struct journal_writer){.txn = t, .batch = batch, .bytes = malloc(JOURNAL_PART)};
    w->error = w->bytes ? 0 : ERR_NOMEM;
}

static void flush_part(struct journal_writer *w) {
    uint8_t key[KEY_SIZE];
    CHECK(w->part < UINT16_MAX);
    struct slice value = {.bytes = w->bytes, .size = w->used};
    w->error = txn_put(w->txn, TABLE_LOG, key_of(key, w->batch, w->part), value);
    w->part++;
    w->used = 0;
}

static void put(struct journal_writer *w, const uint8_t *bytes, size_t size) {
    while (size > 0 && !w->error) {
        size_t room = JOURNAL_PART - w->used;
        size_t n = size < room ? size : room;
        memcpy(w->bytes + w->used, bytes, n);
        w->used += (uint32_t)n;
        bytes += n;
        size -= n;
        if (w->used == JOURNAL_PART) {
            flush_part(w);
        }
    }
}

void journal_write_run(struct journal_writer *w, uint32_t group, uint64_t replica, uint64_t cut, uint64_t first,
                       struct raft_entry *const *entries, uint32_t count) {
    uint8_t head[RUN_HEAD];
    put_u32(head, group);
    put_u64(head + 4, replica);
    put_u64(head + 12, cut);
    put_u64(head + 20, first);
    put_u32(head + 28, count);
    put(w, head, sizeof(head));
    for (uint32_t i = 0; i < count; i++) {
        const struct raft_entry *e = entries[i];
        uint8_t entry[ENTRY_HEAD];
        CHECK(e->index == first + i);
        put_u64(entry, e->term);
        entry[8] = e->kind;
        put_u32(entry + 9, e->size);
        put(w, entry, sizeof(entry));
        put(w, e->data, e->size);
    }
}

int journal_write_end(struct journal_writer *w) {
    if (w->used > 0 && !w->error) {
        flush_part(w);
    }
    free(w->bytes);
    w->bytes = NULL;
    return w->error;
}

int journal_delete(struct txn *t, uint64_t first_batch, uint64_t last_batch) {
    uint8_t first[KEY_SIZE], last[KEY_SIZE];
    size_t deleted;
    CHECK(first_batch <= last_batch);
    return txn_del_range(t, TABLE_LOG, key_of(first, first_batch, 0), key_of(last, last_batch, UINT16_MAX), SIZE_MAX,
                         &deleted);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct reading {
    struct journal *journal;
    const struct journal_visitor *visitor;
    struct buf bytes; /* of the batch so far */
    uint64_t batch;
    uint32_t parts;
};

static int read_entry(const struct reading *r, const struct journal_run *run, uint64_t index, size_t *at) {
    const uint8_t *p = r->bytes.bytes + *at;
    if (r->bytes.size - *at < ENTRY_HEAD) {
        return ERR_CORRUPT;
    }
    uint32_t size = get_u32(p + 9);
    if (p[8] > RAFT_ENTRY_CONFIG || size > RAFT_ENTRY_MAX || size > r->bytes.size - *at - ENTRY_HEAD) {
        return ERR_CORRUPT;
    }
    struct raft_entry *e = raft_entry_new(index, get_u64(p), (enum raft_entry_kind)p[8], p + ENTRY_HEAD, size);
    *at += ENTRY_HEAD + size;
    return e ? r->visitor->entry(r->visitor->ctx, run, e) : ERR_NOMEM;
}

static int read_run(const struct reading *r, struct journal_batch *b, size_t *at) {
    const uint8_t *p = r->bytes.bytes + *at;
    size_t begin = *at;
    if (r->bytes.size - begin < RUN_HEAD) {
        return ERR_CORRUPT;
    }
    uint32_t count = get_u32(p + 28);
    uint64_t cut = get_u64(p + 12);
    struct journal_run run = {.group = get_u32(p), .replica = get_u64(p + 4), .first = get_u64(p + 20)};
    if (run.first == 0 || run.first > UINT64_MAX - count) {
        return ERR_CORRUPT;
    }
    run.last = run.first + count - 1;
    *at += RUN_HEAD;
    int rc = r->visitor->run(r->visitor->ctx, &run, cut);
    for (uint32_t i = 0; i < count && !rc; i++) {
        rc = read_entry(r, &run, run.first + i, at);
    }
    if (!rc) {
        journal_add_run(r->journal, b, &run, *at - begin);
    }
    return rc;
}

static int read_batch(struct reading *r) {
    if (r->parts == 0) {
        return 0;
    }
    struct journal_batch *b = journal_add(r->journal, r->batch);
    size_t at = 0;
    int rc = r->bytes.error;
    while (!rc && at < r->bytes.size) {
        rc = read_run(r, b, &at);
    }
    buf_clear(&r->bytes);
    r->parts = 0;
    return rc;
}

static int read_part(struct reading *r, struct slice key, struct slice value) {
    if (key.size != KEY_SIZE) {
        return ERR_CORRUPT;
    }
    uint64_t batch = get_u64(key.bytes);
    if (r->parts > 0 && batch != r->batch) {
        int rc = read_batch(r);
        if (rc) {
            return rc;
        }
    }
    if (get_u16(key.bytes + 8) != r->parts || batch < r->journal->next || batch == UINT64_MAX) {
        return ERR_CORRUPT;
    }
    r->batch = batch;
    r->parts++;
    buf_append(&r->bytes, value.bytes, value.size);
    return r->bytes.error;
}

int journal_load(struct txn *t, struct journal *j, const struct journal_visitor *visitor) {
    struct reading r = {.journal = j, .visitor = visitor};
    uint8_t last[KEY_SIZE];
    struct slice key, value;
    buf_init(&r.bytes, BATCH_READ_MAX);
    int rc = txn_seek(t, TABLE_LOG, key_of(last, j->next, 0), &key, &value);
    while (!rc) {
        rc = read_part(&r, key, value);
        if (!rc) {
            memcpy(last, key.bytes, KEY_SIZE);
            rc = txn_next(t, TABLE_LOG, (struct slice){last, KEY_SIZE}, &key, &value);
        }
    }
    rc = rc == ERR_NOT_FOUND ? read_batch(&r) : rc;
    buf_release(&r.bytes);
    return rc;
}
