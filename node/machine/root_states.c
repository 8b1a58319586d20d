/* The steps of members through their states, decided where they are serialised: two drains that would be refused
 * together are not both accepted because each was fine alone. */
#include "check.h"
#include "errors.h"
#include "machine_apply.h"
#include "peer.h"

/* The swarm without one of its members. */
struct others {
    uint32_t up;
    uint32_t in;  /* up or draining */
    uint32_t out; /* for a while */
};

/* A walk, as for joins: steps are rare and the table is bounded. */
static int others_count(struct applying *a, uint32_t except, struct others *ret) {
    struct row_key tag;
    struct slice key, value;
    struct member row;
    *ret = (struct others){0};
    row_key_root(ROOT_MEMBER, NULL, 0, &tag);
    int rc = txn_seek(a->t, TABLE_ROOT, row_key_slice(&tag), &key, &value);
    while (rc == 0 && slice_starts(key, row_key_slice(&tag))) {
        if (member_row_decode(value.bytes, value.size, &row) != 0) {
            return ERR_CORRUPT;
        }
        if (row.node != except) {
            ret->up += row.state == MEMBER_UP;
            ret->in += row.state == MEMBER_UP || row.state == MEMBER_DRAINING;
            ret->out += row.state == MEMBER_OUT;
        }
        rc = txn_next(a->t, TABLE_ROOT, key, &key, &value);
    }
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Whoever leaves, for good or for a while, leaves somebody who is up; and no majority is ever given up on its silence
 * alone: it may be us who are cut off from the users. */
static int step_decide(const struct member *now, const struct command *c, const struct others *others) {
    enum member_state to = c->u.state.to;
    if (now->changed != c->u.state.seen) {
        return ERR_STALE;
    }
    if (!member_transition_allowed(now->state, to)) {
        return ERR_REFUSED;
    }
    if (to == MEMBER_UP) {
        return 0;
    }
    if (others->up == 0 || (to == MEMBER_OUT && others->in <= others->out + 1)) {
        return ERR_PRECONDITION;
    }
    return 0;
}

static int step(struct applying *a, const struct command *c, struct root_value *root, struct command_result *r) {
    struct member row;
    struct others others;
    int rc = machine_member_get(a, c->u.state.node, &row);
    if (rc == ERR_NOT_FOUND) {
        r->status = ERR_NOT_FOUND;
        return 0;
    }
    rc = rc == 0 ? others_count(a, row.node, &others) : rc;
    if (rc != 0) {
        return rc;
    }
    r->node = row.node;
    if (row.state == c->u.state.to) {
        return 0; /* a repeat, or somebody else was faster */
    }
    r->status = step_decide(&row, c, &others);
    if (r->status == 0) {
        row.state = c->u.state.to;
        rc = machine_member_put(a, root, &row);
        r->epoch = root->epoch;
    }
    return rc;
}

int machine_member_state(struct applying *a, const struct command *c, struct command_result *r) {
    struct root_value root;
    CHECK(c->kind == COMMAND_MEMBER_STATE);
    int rc = machine_root_get(a, &root);
    if (rc == ERR_NOT_FOUND) {
        r->status = ERR_NOT_FOUND;
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    r->epoch = root.epoch;
    return step(a, c, &root, r);
}
