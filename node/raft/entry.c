/* Entries of the log: immutable, shared by reference count between the log, updates and messages. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "raft.h"

struct raft_entry *raft_entry_new(uint64_t index, uint64_t term, enum raft_entry_kind kind, const void *data,
                                  size_t size) {
    CHECK(size <= RAFT_ENTRY_MAX);
    CHECK(kind <= RAFT_ENTRY_CONFIG);
    struct raft_entry *e = malloc(sizeof *e + size);
    if (!e) {
        return NULL;
    }
    e->refs = 1;
    e->kind = (uint8_t)kind;
    e->size = (uint32_t)size;
    e->index = index;
    e->term = term;
    if (size > 0) {
        memcpy(e->data, data, size);
    }
    return e;
}

struct raft_entry *raft_entry_ref(struct raft_entry *e) {
    CHECK(e->refs > 0);
    CHECK(e->refs < UINT32_MAX);
    e->refs++;
    return e;
}

void raft_entry_unref(struct raft_entry *e) {
    CHECK(e->refs > 0);
    if (--e->refs == 0) {
        free(e);
    }
}
