/* Configurations as values: rules, quorums, encoding. */
#include <string.h>

#include "codec.h"
#include "raft_internal.h"

static unsigned voter_flags(const struct raft_replica *row) {
    return row->flags & (RAFT_VOTER | RAFT_VOTER_OLD);
}

bool raft_config_joint(const struct raft_config *c) {
    CHECK(c->count <= RAFT_REPLICAS_MAX);
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->replicas[i].flags & RAFT_VOTER_OLD) {
            return true;
        }
    }
    return false;
}

int raft_config_row(const struct raft_config *c, uint64_t id) {
    CHECK(c->count <= RAFT_REPLICAS_MAX);
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->replicas[i].id == id) {
            return (int)i;
        }
    }
    return -1;
}

const struct raft_replica *raft_config_find(const struct raft_config *c, uint64_t id) {
    int row = raft_config_row(c, id);
    return row < 0 ? NULL : &c->replicas[row];
}

const struct raft_replica *raft_config_find_node(const struct raft_config *c, uint32_t node) {
    CHECK(c->count <= RAFT_REPLICAS_MAX);
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->replicas[i].node == node) {
            return &c->replicas[i];
        }
    }
    return NULL;
}

bool raft_config_voter(const struct raft_config *c, uint64_t id) {
    const struct raft_replica *row = raft_config_find(c, id);
    return row && voter_flags(row) != 0;
}

bool raft_config_only_voter(const struct raft_config *c, uint64_t id) {
    CHECK(c->count <= RAFT_REPLICAS_MAX);
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->replicas[i].id != id && voter_flags(&c->replicas[i]) != 0) {
            return false;
        }
    }
    return raft_config_voter(c, id);
}

/* A learner does not vote in the new half; it may be on its way out of the old one. */
static bool flags_sane(unsigned flags) {
    return flags == RAFT_VOTER || flags == RAFT_VOTER_OLD || flags == (RAFT_VOTER | RAFT_VOTER_OLD) ||
           flags == RAFT_LEARNER || flags == (RAFT_LEARNER | RAFT_VOTER_OLD);
}

int raft_config_check(const struct raft_config *c) {
    if (c->count > RAFT_REPLICAS_MAX) {
        return ERR_INVALID;
    }
    bool voter = false;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct raft_replica *row = &c->replicas[i];
        if (row->id == 0 || row->id >= c->next_id || !flags_sane(row->flags)) {
            return ERR_INVALID;
        }
        for (uint32_t k = 0; k < i; k++) {
            if (c->replicas[k].id == row->id || c->replicas[k].node == row->node) {
                return ERR_INVALID;
            }
        }
        voter = voter || (row->flags & RAFT_VOTER);
    }
    return voter ? 0 : ERR_INVALID;
}

static bool half_quorum(const struct raft_config *c, unsigned flag, bool (*has)(void *ctx, uint64_t id), void *ctx) {
    unsigned voters = 0;
    unsigned held = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->replicas[i].flags & flag) {
            voters++;
            held += has(ctx, c->replicas[i].id) ? 1 : 0;
        }
    }
    return held > voters / 2;
}

bool raft_config_quorum(const struct raft_config *c, bool (*has)(void *ctx, uint64_t id), void *ctx) {
    CHECK(c->count <= RAFT_REPLICAS_MAX);
    return half_quorum(c, RAFT_VOTER, has, ctx) && (!raft_config_joint(c) || half_quorum(c, RAFT_VOTER_OLD, has, ctx));
}

void raft_config_encode(const struct raft_config *c, struct buf *out) {
    CHECK(c->count <= RAFT_REPLICAS_MAX);
    cbor_put_array(out, 2);
    cbor_put_uint(out, c->next_id);
    cbor_put_array(out, c->count);
    for (uint32_t i = 0; i < c->count; i++) {
        cbor_put_array(out, 3);
        cbor_put_uint(out, c->replicas[i].id);
        cbor_put_uint(out, c->replicas[i].node);
        cbor_put_uint(out, c->replicas[i].flags);
    }
}

int raft_config_decode(const uint8_t *bytes, size_t size, uint64_t index, struct raft_config *out) {
    struct raft_config c = {.index = index};
    struct cbor_reader reader;
    cbor_reader_init(&reader, bytes, size);
    cbor_expect_array(&reader, 2);
    c.next_id = cbor_get_uint(&reader, UINT64_MAX);
    c.count = (uint32_t)cbor_get_array(&reader, RAFT_REPLICAS_MAX);
    CHECK(c.count <= RAFT_REPLICAS_MAX);
    for (uint32_t i = 0; i < c.count && reader.error == 0; i++) {
        cbor_expect_array(&reader, 3);
        c.replicas[i].id = cbor_get_uint(&reader, UINT64_MAX);
        c.replicas[i].node = (uint32_t)cbor_get_uint(&reader, UINT32_MAX);
        c.replicas[i].flags = (uint8_t)cbor_get_uint(&reader, UINT8_MAX);
    }
    int rc = cbor_finish(&reader);
    if (rc == 0 && c.count > 0) {
        rc = raft_config_check(&c);
    }
    if (rc == 0) {
        *out = c;
    }
    return rc;
}

int raft_config_from_entry(const struct raft_entry *e, struct raft_config *out) {
    CHECK(e->kind == RAFT_ENTRY_CONFIG);
    struct raft_config c;
    int rc = raft_config_decode(e->data, e->size, e->index, &c);
    if (rc == 0 && c.count == 0) {
        rc = ERR_INVALID;
    }
    if (rc == 0) {
        *out = c;
    }
    return rc;
}

/* The replicas of `a` that carry flag_a are exactly those of `b` that carry flag_b. */
static bool same_voters(const struct raft_config *a, unsigned flag_a, const struct raft_config *b, unsigned flag_b) {
    unsigned in_a = 0;
    unsigned in_b = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        in_b += b->replicas[i].flags & flag_b ? 1 : 0;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->replicas[i].flags & flag_a) {
            const struct raft_replica *other = raft_config_find(b, a->replicas[i].id);
            if (!other || !(other->flags & flag_b)) {
                return false;
            }
            in_a++;
        }
    }
    return in_a == in_b;
}

int raft_config_check_change(const struct raft_config *from, const struct raft_config *to) {
    CHECK(!raft_config_joint(from));
    if (raft_config_check(to) != 0 || to->next_id < from->next_id) {
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i < to->count; i++) {
        const struct raft_replica *row = &to->replicas[i];
        const struct raft_replica *before = raft_config_find(from, row->id);
        if (before ? before->node != row->node : row->id < from->next_id) {
            return ERR_INVALID;
        }
    }
    unsigned old_half = raft_config_joint(to) ? RAFT_VOTER_OLD : RAFT_VOTER;
    return same_voters(from, RAFT_VOTER, to, old_half) ? 0 : ERR_INVALID;
}

void raft_config_leave(const struct raft_config *joint, struct raft_config *out) {
    CHECK(raft_config_joint(joint));
    struct raft_config c = {.next_id = joint->next_id};
    for (uint32_t i = 0; i < joint->count; i++) {
        struct raft_replica row = joint->replicas[i];
        row.flags &= (uint8_t)~RAFT_VOTER_OLD;
        if (row.flags != 0) {
            c.replicas[c.count++] = row;
        }
    }
    CHECK(raft_config_check(&c) == 0);
    *out = c;
}
