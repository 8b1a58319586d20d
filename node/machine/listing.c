#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "machine_page.h"

/* Keys longer than NAME_INDEX_KEY that share their first NAME_INDEX_KEY bytes lie in the table in the order of their
 * digests: a run. A page takes the smallest of a run by whole key, reading it once and keeping no more entries than
 * fit a page, since each is longer than NAME_INDEX_KEY. */
#define RUN_KEEP_MAX (PAGE_BYTES_MAX / NAME_INDEX_KEY + 1)
#define RUN_KEY_SIZE(base) ((base) + NAME_INDEX_KEY + DIGEST_SIZE)

struct listing {
    struct txn *t;
    struct page *page;
    struct row_key base; /* what every row of the shard begins with */
    struct slice prefix, after;
};

struct run {
    struct list_entry *entries; /* storage */
    struct list_entry **order;  /* the smallest so far, ascending */
    size_t count, capacity;
    bool cut; /* some did not fit */
};

static int compare_keys(struct slice a, struct slice b) {
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.bytes, b.bytes, common) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static struct slice entry_key(const struct list_entry *e) {
    return (struct slice){(const uint8_t *)e->key, e->key_size};
}

static struct slice head_key(const struct name_head *h) {
    return (struct slice){(const uint8_t *)h->key, h->key_size};
}

static bool wanted(const struct listing *l, const struct name_head *h) {
    return slice_starts(head_key(h), l->prefix) && compare_keys(head_key(h), l->after) > 0;
}

static void entry_set(struct list_entry *e, const struct name_head *h) {
    CHECK(h->key_size <= NAME_KEY_MAX);
    memcpy(e->key, h->key, h->key_size);
    e->key[h->key_size] = 0;
    e->key_size = h->key_size;
    e->version = h->version;
    e->size = h->size;
    e->modified_ms = h->modified_ms;
}

/* ---- a run ---- */

static int run_init(struct run *run, const struct page *page) {
    uint64_t room = page->count_max - page->count;
    *run = (struct run){.capacity = room < RUN_KEEP_MAX ? (size_t)room : RUN_KEEP_MAX};
    CHECK(run->capacity > 0);
    run->entries = malloc(run->capacity * sizeof(*run->entries));
    run->order = malloc(run->capacity * sizeof(struct list_entry *));
    return run->entries && run->order ? 0 : ERR_NOMEM;
}

static void run_release(struct run *run) {
    free(run->entries);
    free(run->order);
}

static void run_add(struct run *run, const struct name_head *h) {
    size_t low = 0, high = run->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_keys(entry_key(run->order[middle]), head_key(h)) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool full = run->count == run->capacity;
    run->cut = run->cut || full;
    if (low == run->capacity) {
        return;
    }
    /* A full run gives up its largest entry. */
    struct list_entry *e = full ? run->order[run->capacity - 1] : &run->entries[run->count];
    run->count += full ? 0 : 1;
    CHECK(low < run->count);
    memmove(run->order + low + 1, run->order + low, (run->count - 1 - low) * sizeof(struct list_entry *));
    run->order[low] = e;
    entry_set(e, h);
}

static void run_write(const struct run *run, struct page *page) {
    for (size_t i = 0; i < run->count && page_room(page); i++) {
        page_put_list(page, run->order[i]);
    }
    page->more = page->more || run->cut;
}

/* Reads the run that begins at `key`; *key and *value are the first row behind it (or ERR_NOT_FOUND is returned). */
static int list_run(const struct listing *l, struct slice *key, struct slice *value) {
    struct run run;
    struct row_key shared = {.size = l->base.size + NAME_INDEX_KEY};
    CHECK(key->size == RUN_KEY_SIZE(l->base.size));
    memcpy(shared.bytes, key->bytes, shared.size);
    int rc = run_init(&run, l->page);
    while (rc == 0 && slice_starts(*key, row_key_slice(&shared))) {
        struct name_head head;
        if (key->size != RUN_KEY_SIZE(l->base.size) || name_head_decode(*value, &head) != 0) {
            rc = ERR_CORRUPT;
            break;
        }
        if (wanted(l, &head)) {
            run_add(&run, &head);
        }
        rc = txn_next(l->t, TABLE_NAMES, *key, key, value);
    }
    if (rc == 0 || rc == ERR_NOT_FOUND) {
        run_write(&run, l->page);
    }
    run_release(&run);
    return rc;
}

/* ---- rows in order ---- */

static void list_row(const struct listing *l, const struct name_head *h) {
    struct list_entry e;
    if (wanted(l, h) && page_room(l->page)) {
        entry_set(&e, h);
        page_put_list(l->page, &e);
    }
}

/* The indexed part of a row's key agrees with the prefix as far as both go. */
static bool in_prefix(const struct listing *l, struct slice key) {
    struct slice indexed = {key.bytes + l->base.size, key.size - l->base.size};
    indexed.size = indexed.size < NAME_INDEX_KEY ? indexed.size : NAME_INDEX_KEY;
    struct slice prefix = l->prefix;
    prefix.size = prefix.size < NAME_INDEX_KEY ? prefix.size : NAME_INDEX_KEY;
    return slice_starts(indexed, prefix);
}

static int list_from(const struct listing *l, struct slice key, struct slice value) {
    int rc = 0;
    while (rc == 0 && slice_starts(key, row_key_slice(&l->base)) && in_prefix(l, key)) {
        struct name_head head;
        if (l->page->more) {
            return 0;
        }
        if (key.size > l->base.size + NAME_INDEX_KEY) {
            if (!page_room(l->page)) {
                return 0;
            }
            rc = list_run(l, &key, &value);
            continue;
        }
        if (name_head_decode(value, &head) != 0) {
            return ERR_CORRUPT;
        }
        list_row(l, &head);
        rc = txn_next(l->t, TABLE_NAMES, key, &key, &value);
    }
    return rc;
}

int machine_list(struct txn *t, const struct query *q, struct page *page) {
    struct listing l = {
        .t = t,
        .page = page,
        .prefix = {(const uint8_t *)q->name.key, q->name.key_size},
        .after = {(const uint8_t *)q->after, q->after_size},
    };
    struct row_key from;
    struct slice key, value;
    row_key_bucket(q->name.bucket, q->name.bucket_size, q->shard, &l.base);
    struct slice start = compare_keys(l.prefix, l.after) > 0 ? l.prefix : l.after;
    from = l.base;
    size_t indexed = start.size < NAME_INDEX_KEY ? start.size : NAME_INDEX_KEY;
    memcpy(from.bytes + from.size, start.bytes, indexed);
    from.size += indexed;
    int rc = txn_seek(t, TABLE_NAMES, row_key_slice(&from), &key, &value);
    if (rc == 0) {
        rc = list_from(&l, key, value);
    }
    return rc == ERR_NOT_FOUND ? 0 : rc;
}
