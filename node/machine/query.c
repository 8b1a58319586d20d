#include <string.h>

#include "check.h"
#include "errors.h"
#include "machine_page.h"
#include "ring.h"

#define STATUS_ANSWER_FIELDS 1
#define NAME_ANSWER_FIELDS 2 /* status, row */

struct asking {
    struct txn *t;
    const struct machine_arc *arc;
    const struct query *q;
    struct buf *out;
};

/* ---- one row ---- */

static int answer_status(const struct asking *a, int status) {
    cbor_put_array(a->out, STATUS_ANSWER_FIELDS);
    cbor_put_int(a->out, status);
    return a->out->error;
}

static int query_name(const struct asking *a) {
    struct row_key key;
    struct slice value;
    row_key_name(&a->q->name, &key);
    int rc = txn_get(a->t, TABLE_NAMES, row_key_slice(&key), &value);
    if (rc == ERR_NOT_FOUND) {
        return answer_status(a, ERR_NOT_FOUND);
    }
    if (rc == 0) {
        cbor_put_array(a->out, NAME_ANSWER_FIELDS);
        cbor_put_int(a->out, 0);
        buf_append(a->out, value.bytes, value.size);
        rc = a->out->error;
    }
    return rc;
}

int machine_name_answer(const uint8_t *bytes, size_t size, struct chunk_ref *space, struct name_row *out) {
    struct cbor_reader r;
    cbor_reader_init(&r, bytes, size);
    uint64_t fields = cbor_get_array(&r, NAME_ANSWER_FIELDS);
    int status = field_get_status(&r);
    field_require(&r, fields == (status == 0 ? NAME_ANSWER_FIELDS : STATUS_ANSWER_FIELDS));
    if (r.error) {
        return r.error;
    }
    if (status != 0) {
        int rc = cbor_finish(&r);
        return rc == 0 ? status : rc;
    }
    return name_row_decode(bytes + r.offset, size - r.offset, space, out);
}

int machine_status_answer(const uint8_t *bytes, size_t size) {
    struct cbor_reader r;
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, STATUS_ANSWER_FIELDS);
    int status = field_get_status(&r);
    int rc = cbor_finish(&r);
    return rc == 0 ? status : rc;
}

static int query_ref(const struct asking *a) {
    struct row_key key;
    struct slice value;
    row_key_ref(&a->q->digest, &a->q->version, &key);
    int rc = txn_get(a->t, TABLE_REFS, row_key_slice(&key), &value);
    return rc == 0 || rc == ERR_NOT_FOUND ? answer_status(a, rc) : rc;
}

static int query_used(const struct asking *a) {
    struct row_key at;
    struct slice key, value;
    row_key_digest(&a->q->digest, &at);
    int rc = txn_seek(a->t, TABLE_REFS, row_key_slice(&at), &key, &value);
    if (rc == 0 && !slice_starts(key, row_key_slice(&at))) {
        rc = ERR_NOT_FOUND;
    }
    return rc == 0 || rc == ERR_NOT_FOUND ? answer_status(a, rc) : rc;
}

/* ---- pages ---- */

/* The first row of the page: the first of the arc, or the one strictly after `after`. */
static int first_row(const struct asking *a, enum txn_table table, const struct row_key *after, struct slice *key,
                     struct slice *value) {
    struct row_key first, last;
    if (!a->q->from_start) {
        return txn_next(a->t, table, row_key_slice(after), key, value);
    }
    machine_range(a->arc, &first, &last);
    return txn_seek(a->t, table, row_key_slice(&first), key, value);
}

static bool in_arc(const struct asking *a, struct slice key) {
    return key.size >= sizeof(uint64_t) && machine_arc_holds(a->arc, get_u64(key.bytes));
}

static uint64_t page_limit(const struct query *q, uint64_t max) {
    return q->limit > 0 && q->limit < max ? q->limit : max;
}

static int put_ref(const struct asking *a, struct page *page, struct slice key, const struct ref_value *v) {
    struct digest d;
    struct version version;
    CHECK(a->q->kind == QUERY_REFS || a->q->kind == QUERY_PENDING);
    if (key.size != sizeof(d.bytes) + sizeof(version.bytes)) {
        return ERR_CORRUPT;
    }
    memcpy(d.bytes, key.bytes, sizeof(d.bytes));
    memcpy(version.bytes, key.bytes + sizeof(d.bytes), sizeof(version.bytes));
    page_put_ref(page, &d, &version, v);
    return 0;
}

/* PENDING looks at REFS_SCAN_MAX rows at most: the last of them is then given whatever it is, as the place from which
 * the reader goes on. */
static int fill_refs(const struct asking *a, struct page *page) {
    struct row_key after;
    struct slice key, value;
    uint32_t seen = 0;
    row_key_ref(&a->q->after_digest, &a->q->after_version, &after);
    int rc = first_row(a, TABLE_REFS, &after, &key, &value);
    while (rc == 0 && in_arc(a, key)) {
        struct ref_value v;
        if (ref_value_decode(value, &v) != 0) {
            return ERR_CORRUPT;
        }
        seen++;
        bool wanted = a->q->kind == QUERY_REFS || (v.pending && v.stamp_ms < a->q->before_ms);
        if (wanted || seen == REFS_SCAN_MAX) {
            if (!page_room(page)) {
                return 0;
            }
            rc = put_ref(a, page, key, &v);
        }
        if (seen == REFS_SCAN_MAX) {
            page->more = true;
            return rc;
        }
        if (rc == 0) {
            rc = txn_next(a->t, TABLE_REFS, key, &key, &value);
        }
    }
    return rc;
}

static int fill_outbox(const struct asking *a, struct page *page) {
    struct row_key after;
    struct slice key, value;
    row_key_version(a->q->position, &a->q->version, &after);
    int rc = first_row(a, TABLE_OUTBOX, &after, &key, &value);
    while (rc == 0 && in_arc(a, key) && page_room(page)) {
        struct version version;
        if (key.size != sizeof(uint64_t) + sizeof(version.bytes) || value.size == 0) {
            return ERR_CORRUPT;
        }
        memcpy(version.bytes, key.bytes + sizeof(uint64_t), sizeof(version.bytes));
        page_put_outbox(page, get_u64(key.bytes), &version, value);
        rc = txn_next(a->t, TABLE_OUTBOX, key, &key, &value);
    }
    return rc;
}

static int fill_list(const struct asking *a, struct page *page) {
    return machine_list(a->t, a->q, page);
}

static int fill_root(const struct asking *a, struct page *page) {
    struct row_key at;
    struct slice key, value;
    struct root_value root;
    row_key_root(ROOT_SETTINGS, NULL, 0, &at);
    int rc = txn_get(a->t, TABLE_ROOT, row_key_slice(&at), &value);
    if (rc == 0 && root_value_decode(value, &root) != 0) {
        rc = ERR_CORRUPT;
    }
    if (rc != 0) {
        return rc;
    }
    page_put_settings(page, &root);
    row_key_root(ROOT_MEMBER, NULL, 0, &at);
    rc = txn_seek(a->t, TABLE_ROOT, row_key_slice(&at), &key, &value);
    while (rc == 0 && slice_starts(key, row_key_slice(&at)) && page_room(page)) {
        page_put_member(page, value);
        rc = txn_next(a->t, TABLE_ROOT, key, &key, &value);
    }
    return rc;
}

typedef int fill_page(const struct asking *a, struct page *page);

static int answer_page(const struct asking *a, fill_page *fill, uint64_t count_max, size_t bytes_max) {
    struct page page;
    page_init(&page, count_max, bytes_max);
    int rc = fill(a, &page);
    if (rc == 0 || rc == ERR_NOT_FOUND) {
        /* Only the root can lack what every page of it begins with: the settings. */
        bool absent = a->q->kind == QUERY_ROOT && page.count == 0;
        rc = page_finish(&page, absent ? ERR_NOT_FOUND : 0, a->out);
    }
    page_release(&page);
    return rc;
}

/* ---- dispatch ---- */

static bool belongs(const struct machine_arc *arc, const struct query *q) {
    switch (q->kind) {
    case QUERY_NAME:
        return machine_arc_holds(arc, name_position(&q->name));
    case QUERY_LIST:
        return machine_arc_holds(arc, name_shard_position(q->name.bucket, q->name.bucket_size, q->shard));
    case QUERY_PENDING:
    case QUERY_REFS:
        return !arc->root && (q->from_start || machine_arc_holds(arc, ring_position(&q->after_digest)));
    case QUERY_REF:
    case QUERY_USED:
        return machine_arc_holds(arc, ring_position(&q->digest));
    case QUERY_OUTBOX:
        return !arc->root && (q->from_start || machine_arc_holds(arc, q->position));
    case QUERY_ROOT:
        return arc->root;
    case QUERY_KINDS:
        break;
    }
    return false;
}

static int answer(const struct asking *a) {
    const struct query *q = a->q;
    switch (q->kind) {
    case QUERY_NAME:
        return query_name(a);
    case QUERY_LIST:
        return answer_page(a, fill_list, page_limit(q, LIST_ENTRIES_MAX), PAGE_BYTES_MAX);
    case QUERY_PENDING:
    case QUERY_REFS:
        return answer_page(a, fill_refs, page_limit(q, REFS_PAGE_MAX), PAGE_BYTES_MAX);
    case QUERY_REF:
        return query_ref(a);
    case QUERY_USED:
        return query_used(a);
    case QUERY_OUTBOX:
        return answer_page(a, fill_outbox, page_limit(q, OUTBOX_PAGE_MAX), PAGE_OUTBOX_BYTES_MAX);
    case QUERY_ROOT:
        return answer_page(a, fill_root, 1 + MEMBERS_MAX, SIZE_MAX);
    case QUERY_KINDS:
        break;
    }
    return ERR_INVALID;
}

int machine_query(struct txn *t, const struct machine_arc *arc, const uint8_t *query, size_t size, struct buf *out) {
    struct query q;
    CHECK(arc->root || arc->first <= arc->last);
    if (query_decode(query, size, &q) != 0 || !belongs(arc, &q)) {
        return ERR_INVALID;
    }
    const struct asking a = {.t = t, .arc = arc, .q = &q, .out = out};
    int rc = answer(&a);
    CHECK(rc != ERR_NOT_FOUND);
    return rc;
}
