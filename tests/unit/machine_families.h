/* Commands, queries, results, rows and pages as the unit tests and the fuzzers see them; see wire_families.h. Pages are
 * only walked: they are written by the machine, row by row. */
#ifndef SHOAL_MACHINE_FAMILIES_H
#define SHOAL_MACHINE_FAMILIES_H

#include "machine.h"
#include "wire_families.h"

static inline struct chunk_ref *family_space(void) {
    struct chunk_ref *space = calloc(COMMAND_CHUNKS_MAX, sizeof(*space));
    CHECK(space);
    return space;
}

/* A member that asks for admission: what the machine decides itself is read and not kept. */
static inline bool command_keeps_all(const struct command *c) {
    return c->kind != COMMAND_MEMBER_JOIN ||
           (c->u.join.row.node == 0 && c->u.join.row.state == MEMBER_JOINING && c->u.join.row.changed == 0);
}

static inline int command_pass(const uint8_t *bytes, size_t size) {
    struct chunk_ref *space = family_space();
    struct command c;
    int rc = command_decode(bytes, size, space, &c);
    CHECK(rc == 0 || rc == ERR_PROTOCOL);
    if (rc == 0 && command_keeps_all(&c)) {
        struct buf again;
        buf_init(&again, FAMILY_BUF_MAX);
        command_encode(&c, &again);
        family_same(&again, 0, bytes, size);
    }
    free(space);
    return rc;
}

static inline int name_row_pass(const uint8_t *bytes, size_t size) {
    struct chunk_ref *space = family_space();
    struct name_row row;
    int rc = name_row_decode(bytes, size, space, &row);
    if (rc == 0) {
        struct buf again;
        CHECK(row.key_size <= NAME_KEY_MAX);
        CHECK(row.chunk_count <= COMMAND_CHUNKS_MAX);
        buf_init(&again, FAMILY_BUF_MAX);
        name_row_encode(&row, &again);
        family_same(&again, 0, bytes, size);
    }
    free(space);
    return rc;
}

FAMILY_BODY(query, struct query)
FAMILY_BODY(command_result, struct command_result)

static inline int name_answer_pass(const uint8_t *bytes, size_t size) {
    struct chunk_ref *space = family_space();
    struct name_row row;
    int rc = machine_name_answer(bytes, size, space, &row);
    if (rc == 0) {
        CHECK(row.key_size <= NAME_KEY_MAX);
        CHECK(row.chunk_count <= COMMAND_CHUNKS_MAX);
        family_touch(row.bytes, row.is_inline ? row.size : 0);
    }
    free(space);
    return rc;
}

static inline int list_page_pass(const uint8_t *bytes, size_t size) {
    struct page_reader page;
    struct list_entry entry;
    int rc = page_open(bytes, size, &page);
    bool open = rc == 0;
    while (rc == 0) {
        rc = page_list_next(&page, &entry);
        CHECK(rc || entry.key_size <= NAME_KEY_MAX);
    }
    return open && rc == ERR_NOT_FOUND ? 0 : rc;
}

static inline int refs_page_pass(const uint8_t *bytes, size_t size) {
    struct page_reader page;
    struct ref_row row;
    int rc = page_open(bytes, size, &page);
    bool open = rc == 0;
    while (rc == 0) {
        rc = page_ref_next(&page, &row);
        CHECK(rc || row.name.key_size <= NAME_KEY_MAX);
    }
    return open && rc == ERR_NOT_FOUND ? 0 : rc;
}

static inline int outbox_page_pass(const uint8_t *bytes, size_t size) {
    struct chunk_ref *space = family_space();
    struct page_reader page;
    struct outbox_row row;
    int rc = page_open(bytes, size, &page);
    bool open = rc == 0;
    while (rc == 0) {
        rc = page_outbox_next(&page, space, &row);
        CHECK(rc || row.chunk_count <= COMMAND_CHUNKS_MAX);
    }
    free(space);
    return open && rc == ERR_NOT_FOUND ? 0 : rc;
}

static inline int root_page_pass(const uint8_t *bytes, size_t size) {
    struct page_reader page;
    struct swarm_settings settings;
    struct member row;
    uint64_t epoch = 0;
    int rc = page_open(bytes, size, &page);
    bool open = rc == 0;
    rc = rc ? rc : page_root_settings(&page, &settings, &epoch);
    while (rc == 0) {
        rc = page_member_next(&page, &row);
        CHECK(rc || row.state <= MEMBER_GONE);
    }
    return open && rc == ERR_NOT_FOUND ? 0 : rc;
}

static const struct wire_family machine_families[] = {
    {"command", command_pass},         {"query", query_pass},
    {"result", command_result_pass},   {"name-row", name_row_pass},
    {"name-answer", name_answer_pass}, {"list-page", list_page_pass},
    {"refs-page", refs_page_pass},     {"outbox-page", outbox_page_pass},
    {"root-page", root_page_pass},
};

#endif
