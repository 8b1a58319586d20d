#include <stdlib.h>

#include "check.h"
#include "errors.h"
#include "fields.h"
#include "peer.h"

#define BATCH_FIELDS 2 /* kind, array of messages */
#define MESSAGE_FIELDS 11
#define ENTRY_FIELDS 3
#define BATCH_BYTES_MAX (FRAME_MAX / 2)
#define MESSAGE_BYTES_MAX 96 /* without entries: seven 9-byte integers and four small fields */
#define ENTRY_BYTES_MAX 24   /* without data */

/* One message alone always fits an empty batch: this is what lets peer_raft_add say "full" and be believed. */
_Static_assert(MESSAGE_BYTES_MAX + RAFT_APPEND_ENTRIES_MAX * ENTRY_BYTES_MAX + RAFT_APPEND_BYTES_MAX + RAFT_ENTRY_MAX <
                   BATCH_BYTES_MAX,
               "the largest append fits a batch");

/* ---- writing ---- */

void peer_raft_begin(struct raft_batch *b, struct buf *out) {
    *b = (struct raft_batch){.out = out, .mark = frame_begin(out)};
    cbor_put_array(out, BATCH_FIELDS);
    cbor_put_uint(out, PEER_RAFT);
    b->count_at = out->size;
}

static size_t message_bound(const struct raft_message *m) {
    size_t bound = MESSAGE_BYTES_MAX;
    for (uint32_t i = 0; i < m->entry_count; i++) {
        bound += ENTRY_BYTES_MAX + m->entries[i]->size;
    }
    return bound;
}

static void put_entry(struct buf *out, const struct raft_entry *e) {
    CHECK(e->kind <= RAFT_ENTRY_CONFIG);
    CHECK(e->size <= RAFT_ENTRY_MAX);
    cbor_put_array(out, ENTRY_FIELDS);
    cbor_put_uint(out, e->term);
    cbor_put_uint(out, e->kind);
    cbor_put_bytes(out, e->data, e->size);
}

static void put_message(struct buf *out, uint32_t group, const struct raft_message *m) {
    CHECK(m->kind < RAFT_MESSAGE_KINDS);
    CHECK(m->entry_count <= RAFT_APPEND_ENTRIES_MAX);
    cbor_put_array(out, MESSAGE_FIELDS);
    cbor_put_uint(out, group);
    cbor_put_uint(out, m->kind);
    cbor_put_bool(out, m->reject);
    cbor_put_uint(out, m->from);
    cbor_put_uint(out, m->to);
    cbor_put_uint(out, m->term);
    cbor_put_uint(out, m->index);
    cbor_put_uint(out, m->log_term);
    cbor_put_uint(out, m->commit);
    cbor_put_uint(out, m->context);
    cbor_put_array(out, m->entry_count);
    for (uint32_t i = 0; i < m->entry_count; i++) {
        /* An entry's index is not sent: it follows from the message's. */
        CHECK(m->entries[i]->index == m->index + 1 + i);
        put_entry(out, m->entries[i]);
    }
}

bool peer_raft_add(struct raft_batch *b, uint32_t group, const struct raft_message *m) {
    CHECK(b->count <= PEER_RAFT_MAX);
    if (b->out->error) {
        return true; /* nothing fits any more, and a fresh batch would not help: the buffer tells its owner */
    }
    CHECK(b->out->size >= b->count_at);
    size_t used = b->out->size - b->count_at;
    if (b->count == PEER_RAFT_MAX || (b->count > 0 && used + message_bound(m) > BATCH_BYTES_MAX)) {
        return false;
    }
    put_message(b->out, group, m);
    b->count++;
    return true;
}

void peer_raft_end(struct raft_batch *b) {
    CHECK(b->count <= PEER_RAFT_MAX);
    field_wrap_array(b->out, b->count_at, b->count);
    frame_end(b->out, b->mark);
}

/* ---- reading ---- */

struct raft_batch_reader {
    struct cbor_reader in;
    uint64_t left;
    int error; /* sticky: ERR_PROTOCOL, ERR_NOMEM */
    struct raft_message message;
    struct raft_entry *entries[RAFT_APPEND_ENTRIES_MAX]; /* of the current message */
};

static void release_entries(struct raft_batch_reader *r) {
    CHECK(r->message.entry_count <= RAFT_APPEND_ENTRIES_MAX);
    for (uint32_t i = 0; i < r->message.entry_count; i++) {
        raft_entry_unref(r->entries[i]);
    }
    r->message = (struct raft_message){0};
}

int raft_batch_open(const uint8_t *frame, size_t size, struct raft_batch_reader **ret_reader) {
    struct cbor_reader in;
    cbor_reader_init(&in, frame, size);
    cbor_expect_array(&in, BATCH_FIELDS);
    field_require(&in, cbor_get_uint(&in, PEER_KINDS - 1) == PEER_RAFT);
    uint64_t count = cbor_get_array(&in, PEER_RAFT_MAX);
    if (in.error) {
        return in.error;
    }
    struct raft_batch_reader *r = malloc(sizeof(*r));
    if (!r) {
        return ERR_NOMEM;
    }
    r->in = in;
    r->left = count;
    r->error = 0;
    r->message = (struct raft_message){0};
    CHECK(r->left <= PEER_RAFT_MAX);
    *ret_reader = r;
    return 0;
}

/* Terms never fall along a log, and none is newer than its sender's (§5.3). */
static int get_entry(struct raft_batch_reader *r, uint64_t index, uint64_t term_min, struct raft_entry **ret_entry) {
    size_t size = 0;
    cbor_expect_array(&r->in, ENTRY_FIELDS);
    uint64_t term = cbor_get_uint(&r->in, r->message.term);
    uint64_t kind = cbor_get_uint(&r->in, RAFT_ENTRY_CONFIG);
    const uint8_t *data = cbor_get_bytes(&r->in, RAFT_ENTRY_MAX, &size);
    field_require(&r->in, term >= term_min);
    field_require(&r->in, kind != RAFT_ENTRY_NOOP || size == 0);
    if (r->in.error) {
        return r->in.error;
    }
    CHECK(size <= r->in.size);
    *ret_entry = raft_entry_new(index, term, (enum raft_entry_kind)kind, data, size);
    return *ret_entry ? 0 : ERR_NOMEM;
}

static int get_entries(struct raft_batch_reader *r) {
    struct raft_message *m = &r->message;
    uint64_t term_min = m->log_term > 0 ? m->log_term : 1;
    uint64_t count = cbor_get_array(&r->in, RAFT_APPEND_ENTRIES_MAX);
    field_require(&r->in, count == 0 || m->kind == RAFT_APPEND);
    field_require(&r->in, m->index <= UINT64_MAX - count);
    if (r->in.error) {
        return r->in.error;
    }
    m->entries = r->entries;
    CHECK(m->entry_count == 0);
    while (m->entry_count < count) {
        struct raft_entry *e = NULL;
        int rc = get_entry(r, m->index + 1 + m->entry_count, term_min, &e);
        if (rc) {
            return rc;
        }
        r->entries[m->entry_count++] = e;
        term_min = e->term;
    }
    return 0;
}

static bool kind_is_reply(enum raft_message_kind kind) {
    return kind == RAFT_PREVOTE_REPLY || kind == RAFT_VOTE_REPLY || kind == RAFT_APPEND_REPLY ||
           kind == RAFT_HEARTBEAT_REPLY;
}

static int get_message(struct raft_batch_reader *r, uint32_t *ret_group) {
    struct raft_message *m = &r->message;
    cbor_expect_array(&r->in, MESSAGE_FIELDS);
    *ret_group = field_get_u32(&r->in);
    m->kind = (enum raft_message_kind)cbor_get_uint(&r->in, RAFT_MESSAGE_KINDS - 1);
    m->reject = cbor_get_bool(&r->in);
    m->from = cbor_get_uint(&r->in, UINT64_MAX);
    m->to = cbor_get_uint(&r->in, UINT64_MAX);
    m->term = cbor_get_uint(&r->in, UINT64_MAX);
    m->index = cbor_get_uint(&r->in, UINT64_MAX);
    m->log_term = cbor_get_uint(&r->in, UINT64_MAX);
    m->commit = cbor_get_uint(&r->in, UINT64_MAX);
    m->context = cbor_get_uint(&r->in, UINT64_MAX);
    field_require(&r->in, m->from != 0);
    field_require(&r->in, m->to != 0);
    field_require(&r->in, !m->reject || kind_is_reply(m->kind));
    return r->in.error ? r->in.error : get_entries(r);
}

int raft_batch_next(struct raft_batch_reader *r, uint32_t *ret_group, struct raft_message **ret_message) {
    release_entries(r);
    if (r->error) {
        return r->error;
    }
    if (r->left == 0) {
        return cbor_finish(&r->in) ? ERR_PROTOCOL : ERR_NOT_FOUND;
    }
    uint32_t group = 0;
    r->error = get_message(r, &group);
    if (r->error) {
        release_entries(r);
        return r->error;
    }
    CHECK(r->in.error == 0);
    r->left--;
    *ret_group = group;
    *ret_message = &r->message;
    return 0;
}

void raft_batch_close(struct raft_batch_reader *r) {
    if (!r) {
        return;
    }
    release_entries(r);
    free(r);
}
