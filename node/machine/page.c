#include "machine_page.h"

#include "check.h"
#include "errors.h"
#include "peer.h"

#define PAGE_HEAD_FIELDS 3 /* status, more, count */
#define PAGE_ROWS_MAX (1 + MEMBERS_MAX)
#define LIST_FIELDS 4
#define REF_FIELDS (5 + FIELDS_NAME)
#define OUTBOX_FIELDS 3
#define SETTINGS_FIELDS (FIELDS_SETTINGS + 1)
#define MEMBER_ROW_MAX 512

/* The longest page is the member table. */
#define PAGE_LIMIT (PAGE_ROWS_MAX * MEMBER_ROW_MAX)

/* ---- writing ---- */

void page_init(struct page *p, uint64_t count_max, size_t bytes_max) {
    CHECK(count_max > 0 && count_max <= PAGE_ROWS_MAX);
    *p = (struct page){.count_max = count_max, .bytes_max = bytes_max};
    buf_init(&p->rows, PAGE_LIMIT);
}

void page_release(struct page *p) {
    buf_release(&p->rows);
}

bool page_room(struct page *p) {
    CHECK(p->count <= p->count_max);
    if (p->count == p->count_max || p->rows.size >= p->bytes_max) {
        p->more = true;
    }
    return !p->more;
}

int page_finish(struct page *p, int status, struct buf *out) {
    CHECK(err_known(status));
    if (p->rows.error) {
        return p->rows.error;
    }
    cbor_put_array(out, PAGE_HEAD_FIELDS + p->count);
    cbor_put_int(out, status);
    cbor_put_bool(out, p->more);
    cbor_put_uint(out, p->count);
    buf_append(out, p->rows.bytes, p->rows.size);
    return out->error;
}

static struct buf *begin_row(struct page *p, uint64_t fields) {
    CHECK(!p->more);
    CHECK(p->count < p->count_max);
    p->count++;
    if (fields > 0) {
        cbor_put_array(&p->rows, fields);
    }
    return &p->rows;
}

void page_put_list(struct page *p, const struct list_entry *e) {
    struct buf *b = begin_row(p, LIST_FIELDS);
    cbor_put_text(b, e->key, e->key_size);
    fields_put_version(b, &e->version);
    cbor_put_uint(b, e->size);
    cbor_put_uint(b, e->modified_ms);
}

void page_put_ref(struct page *p, const struct digest *d, const struct version *v, const struct ref_value *value) {
    struct buf *b = begin_row(p, REF_FIELDS);
    fields_put_digest(b, d);
    fields_put_version(b, v);
    cbor_put_uint(b, value->size);
    cbor_put_bool(b, value->pending);
    cbor_put_uint(b, value->stamp_ms);
    fields_put_name(b, &value->name);
}

void page_put_outbox(struct page *p, uint64_t position, const struct version *v, struct slice value) {
    struct buf *b = begin_row(p, OUTBOX_FIELDS);
    CHECK(value.size > 0);
    cbor_put_uint(b, position);
    fields_put_version(b, v);
    buf_append(b, value.bytes, value.size);
}

void page_put_settings(struct page *p, const struct root_value *root) {
    CHECK(p->count == 0);
    struct buf *b = begin_row(p, SETTINGS_FIELDS);
    fields_put_settings(b, &root->settings);
    cbor_put_uint(b, root->epoch);
}

void page_put_member(struct page *p, struct slice value) {
    cbor_put_bytes(begin_row(p, 0), value.bytes, value.size);
}

/* ---- reading ---- */

int page_open(const uint8_t *bytes, size_t size, struct page_reader *out) {
    struct cbor_reader r;
    cbor_reader_init(&r, bytes, size);
    uint64_t fields = cbor_get_array(&r, PAGE_HEAD_FIELDS + PAGE_ROWS_MAX);
    int status = field_get_status(&r);
    bool more = cbor_get_bool(&r);
    uint64_t count = cbor_get_uint(&r, PAGE_ROWS_MAX);
    field_require(&r, fields == PAGE_HEAD_FIELDS + count);
    if (r.error) {
        return r.error;
    }
    *out = (struct page_reader){
        .bytes = bytes, .size = size, .offset = r.offset, .left = count, .more = more, .status = status};
    return status;
}

static int row_begin(const struct page_reader *p, struct cbor_reader *r) {
    CHECK(p->offset <= p->size);
    if (p->left == 0) {
        return p->offset == p->size ? ERR_NOT_FOUND : ERR_PROTOCOL;
    }
    cbor_reader_init(r, p->bytes, p->size);
    r->offset = p->offset;
    return 0;
}

/* Moves past the row just read. After an error the reader stays where it is and fails again. */
static int row_end(struct page_reader *p, const struct cbor_reader *r) {
    if (r->error == 0) {
        CHECK(p->left > 0);
        p->offset = r->offset;
        p->left--;
    }
    return r->error;
}

int page_list_next(struct page_reader *p, struct list_entry *out) {
    struct cbor_reader r;
    struct list_entry e;
    int rc = row_begin(p, &r);
    if (rc != 0) {
        return rc;
    }
    cbor_expect_array(&r, LIST_FIELDS);
    fields_get_key(&r, e.key, &e.key_size);
    field_require(&r, e.key_size > 0);
    fields_get_version(&r, &e.version);
    e.size = cbor_get_uint(&r, UINT64_MAX);
    e.modified_ms = cbor_get_uint(&r, UINT64_MAX);
    rc = row_end(p, &r);
    if (rc == 0) {
        *out = e;
    }
    return rc;
}

int page_ref_next(struct page_reader *p, struct ref_row *out) {
    struct cbor_reader r;
    struct ref_row row;
    int rc = row_begin(p, &r);
    if (rc != 0) {
        return rc;
    }
    cbor_expect_array(&r, REF_FIELDS);
    fields_get_digest(&r, &row.digest);
    fields_get_version(&r, &row.version);
    row.size = field_get_u32(&r);
    row.pending = cbor_get_bool(&r);
    row.stamp_ms = cbor_get_uint(&r, UINT64_MAX);
    fields_get_name(&r, &row.name);
    rc = row_end(p, &r);
    if (rc == 0) {
        *out = row;
    }
    return rc;
}

int page_outbox_next(struct page_reader *p, struct chunk_ref *space, struct outbox_row *out) {
    struct cbor_reader r;
    struct outbox_row row = {.chunks = space};
    int rc = row_begin(p, &r);
    if (rc != 0) {
        return rc;
    }
    cbor_expect_array(&r, OUTBOX_FIELDS);
    row.position = cbor_get_uint(&r, UINT64_MAX);
    fields_get_version(&r, &row.version);
    outbox_value_read(&r, space, &row.name, &row.chunk_count);
    rc = row_end(p, &r);
    if (rc == 0) {
        *out = row;
    }
    return rc;
}

int page_root_settings(struct page_reader *p, struct swarm_settings *out, uint64_t *ret_epoch) {
    struct cbor_reader r;
    struct swarm_settings settings;
    int rc = row_begin(p, &r);
    if (rc != 0) {
        return rc;
    }
    cbor_expect_array(&r, SETTINGS_FIELDS);
    fields_get_settings(&r, &settings);
    uint64_t epoch = cbor_get_uint(&r, UINT64_MAX);
    rc = row_end(p, &r);
    if (rc == 0) {
        *out = settings;
        *ret_epoch = epoch;
    }
    return rc;
}

int page_member_next(struct page_reader *p, struct member *out) {
    struct cbor_reader r;
    struct member row = {0};
    size_t size = 0;
    int rc = row_begin(p, &r);
    if (rc != 0) {
        return rc;
    }
    const uint8_t *bytes = cbor_get_bytes(&r, MEMBER_ROW_MAX, &size);
    field_require(&r, !r.error && member_row_decode(bytes, size, &row) == 0);
    field_require(&r, !r.error && row.node != 0);
    rc = row_end(p, &r);
    if (rc == 0) {
        *out = row;
    }
    return rc;
}
