/* A machine in a store of its own, for the tests of node/machine: every command is one committed transaction. */
#ifndef SHOAL_MACHINE_WORLD_H
#define SHOAL_MACHINE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "errors.h"
#include "machine.h"
#include "ring.h"
#include "store_use.h"

#define WORLD_BUF_MAX (8u << 20)

struct world {
    struct store *store;
    struct machine_arc arc;
    uint64_t stamp_ms;
    struct machine_effects effects; /* of the last command */
    struct buf command, answer;
    struct chunk_ref *space;
};

static inline void world_init(struct world *w, struct store *store, struct machine_arc arc) {
    *w = (struct world){.store = store, .arc = arc, .stamp_ms = 1000};
    buf_init(&w->command, WORLD_BUF_MAX);
    buf_init(&w->answer, WORLD_BUF_MAX);
    w->space = calloc(COMMAND_CHUNKS_MAX, sizeof(*w->space));
    assert_non_null(w->space);
}

static inline void world_open(struct world *w, struct machine_arc arc) {
    struct store *store = NULL;
    assert_int_equal(store_open_mem(&store), 0);
    world_init(w, store, arc);
}

static inline void world_close(struct world *w) {
    machine_effects_release(&w->effects);
    buf_release(&w->command);
    buf_release(&w->answer);
    free(w->space);
    store_close(w->store);
}

static inline struct machine_arc whole_ring(void) {
    return (struct machine_arc){.first = 0, .last = UINT64_MAX};
}

static inline struct machine_arc root_arc(void) {
    return (struct machine_arc){.root = true};
}

static inline struct command_result world_apply_bytes(struct world *w, const uint8_t *bytes, size_t size) {
    struct command_result r;
    w->effects.count = 0;
    buf_clear(&w->answer);
    struct txn *t = begin(w->store, true);
    assert_int_equal(machine_apply(t, &w->arc, w->stamp_ms, bytes, size, &w->answer, &w->effects), 0);
    assert_int_equal(store_commit(t), 0);
    assert_int_equal(command_result_decode(w->answer.bytes, w->answer.size, &r), 0);
    return r;
}

static inline struct command_result world_apply(struct world *w, const struct command *c) {
    buf_clear(&w->command);
    command_encode(c, &w->command);
    assert_int_equal(w->command.error, 0);
    return world_apply_bytes(w, w->command.bytes, w->command.size);
}

/* The answer is in w->answer. */
static inline int world_query(struct world *w, const struct query *q) {
    buf_clear(&w->command);
    buf_clear(&w->answer);
    query_encode(q, &w->command);
    assert_int_equal(w->command.error, 0);
    struct txn *t = begin(w->store, false);
    int rc = machine_query(t, &w->arc, w->command.bytes, w->command.size, &w->answer);
    store_abort(t);
    return rc;
}

static inline struct page_reader world_page(struct world *w, const struct query *q) {
    struct page_reader p;
    assert_int_equal(world_query(w, q), 0);
    assert_int_equal(page_open(w->answer.bytes, w->answer.size, &p), 0);
    return p;
}

static inline int world_status(struct world *w, const struct query *q) {
    assert_int_equal(world_query(w, q), 0);
    return machine_status_answer(w->answer.bytes, w->answer.size);
}

static inline int world_name(struct world *w, const struct name *n, struct name_row *out) {
    const struct query q = {.kind = QUERY_NAME, .name = *n};
    assert_int_equal(world_query(w, &q), 0);
    return machine_name_answer(w->answer.bytes, w->answer.size, w->space, out);
}

static inline struct digest world_digest(struct world *w) {
    struct digest d;
    struct txn *t = begin(w->store, false);
    assert_int_equal(machine_digest(t, &w->arc, &d), 0);
    store_abort(t);
    return d;
}

static inline bool same_digest(struct digest a, struct digest b) {
    return digest_equal(&a, &b) == 1;
}

static inline size_t world_rows(struct world *w, enum txn_table table) {
    struct slice key = {0}, value;
    size_t count = 0;
    struct txn *t = begin(w->store, false);
    int rc = txn_seek(t, table, key, &key, &value);
    while (rc == 0) {
        count++;
        rc = txn_next(t, table, key, &key, &value);
    }
    assert_int_equal(rc, ERR_NOT_FOUND);
    store_abort(t);
    return count;
}

static inline size_t effects_of(const struct world *w, enum machine_effect_kind kind) {
    size_t count = 0;
    for (size_t i = 0; i < w->effects.count; i++) {
        count += w->effects.items[i].kind == kind;
    }
    return count;
}

/* ---- values ---- */

static inline struct name named(const char *text) {
    struct name n;
    assert_int_equal(name_parse(text, strlen(text), &n), 0);
    return n;
}

static inline struct version versioned(uint8_t number) {
    return (struct version){{number, 0xaa}};
}

static inline struct chunk_ref chunked(uint8_t number) {
    struct chunk_ref c = {.size = 1000u + number};
    digest_of(&number, sizeof(number), &c.digest);
    return c;
}

static inline bool same_version(struct version a, struct version b) {
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

static inline struct command put_inline(const char *name, uint8_t version, const char *text) {
    struct command c = {.kind = COMMAND_NAME_PUT};
    c.u.put.name = named(name);
    c.u.put.version = versioned(version);
    c.u.put.is_inline = true;
    c.u.put.bytes = (const uint8_t *)text;
    c.u.put.size = strlen(text);
    return c;
}

static inline struct command put_chunks(const char *name, uint8_t version, struct chunk_ref *chunks, uint32_t count) {
    struct command c = {.kind = COMMAND_NAME_PUT};
    c.u.put.name = named(name);
    c.u.put.version = versioned(version);
    c.u.put.chunks = chunks;
    c.u.put.chunk_count = count;
    for (uint32_t i = 0; i < count; i++) {
        c.u.put.size += chunks[i].size;
    }
    return c;
}

static inline struct command rm(const char *name) {
    struct command c = {.kind = COMMAND_NAME_RM};
    c.u.rm.name = named(name);
    return c;
}

static inline struct command refs(enum command_kind kind, uint8_t version, const char *name, struct chunk_ref *chunks,
                                  uint32_t count) {
    struct command c = {.kind = kind};
    c.u.refs.version = versioned(version);
    if (kind == COMMAND_REF_ADD) {
        c.u.refs.name = named(name);
    }
    c.u.refs.chunks = chunks;
    c.u.refs.chunk_count = count;
    return c;
}

static inline struct command of_version(enum command_kind kind, const char *name, uint8_t version) {
    struct command c = {.kind = kind};
    c.u.version.name = named(name);
    c.u.version.version = versioned(version);
    return c;
}

static inline struct member member_numbered(uint32_t node, enum member_state state) {
    struct member m = {.node = node, .state = state, .capacity = 1 << 30};
    memset(m.id, (int)(0x10 + node), sizeof(m.id));
    memset(m.dh, (int)(0x80 + node), sizeof(m.dh));
    snprintf(m.addr, sizeof(m.addr), "10.0.0.%u:7000", node);
    snprintf(m.zone, sizeof(m.zone), "rack%u", node % 3);
    return m;
}

#endif
