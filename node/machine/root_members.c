#include <string.h>

#include "check.h"
#include "errors.h"
#include "machine_apply.h"
#include "peer.h"

/* What the table knows of a joiner. */
struct known {
    bool found; /* a member with the same id or the same key */
    bool same;  /* it has both */
    struct member row;
};

/* Joins are rare and the table is bounded by MEMBERS_MAX: a walk costs less than indexes that could disagree. */
static int known_find(struct applying *a, const struct member *joiner, struct known *out) {
    struct row_key tag;
    struct slice key, value;
    *out = (struct known){0};
    row_key_root(ROOT_MEMBER, NULL, 0, &tag);
    int rc = txn_seek(a->t, TABLE_ROOT, row_key_slice(&tag), &key, &value);
    while (rc == 0 && slice_starts(key, row_key_slice(&tag)) && !out->found) {
        if (member_row_decode(value.bytes, value.size, &out->row) != 0) {
            return ERR_CORRUPT;
        }
        bool id = memcmp(out->row.id, joiner->id, sizeof(joiner->id)) == 0;
        bool dh = memcmp(out->row.dh, joiner->dh, sizeof(joiner->dh)) == 0;
        out->found = id || dh;
        out->same = id && dh;
        rc = txn_next(a->t, TABLE_ROOT, key, &key, &value);
    }
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int join_proved(const struct command *c, const struct ticket_value *ticket) {
    struct digest expected;
    ticket_prove(&ticket->verifier, c->u.join.handshake, &expected);
    return digest_equal(&expected, &c->u.join.proof);
}

static int join_usable(struct applying *a, const struct ticket_value *ticket) {
    if (ticket->expires_ms <= a->stamp_ms) {
        return ERR_EXPIRED;
    }
    return ticket->uses == 0 ? ERR_USED_UP : 0;
}

static int admit(struct applying *a, const struct command *c, struct root_value *root, struct ticket_value *ticket,
                 struct command_result *r) {
    struct member row = c->u.join.row;
    CHECK(ticket->uses > 0);
    if (root->next_node > MEMBERS_MAX) {
        r->status = ERR_REFUSED;
        return 0;
    }
    row.node = root->next_node;
    row.state = MEMBER_JOINING;
    if (member_check(&row) != 0) {
        r->status = ERR_INVALID;
        return 0;
    }
    ticket->uses--;
    root->next_node++;
    int rc = machine_ticket_put(a, c->u.join.ticket, ticket);
    if (rc == 0) {
        rc = machine_member_put(a, root, &row);
    }
    r->node = row.node;
    r->epoch = root->epoch;
    return rc;
}

/* The proof comes first, so that a stranger learns nothing about tickets or members. A joiner that is known and proves
 * its ticket has lost the answer of its first try, which used the ticket: it gets that answer again. */
static int join_decide(struct applying *a, const struct command *c, struct root_value *root, struct command_result *r) {
    struct ticket_value ticket;
    struct known known;
    int rc = machine_ticket_get(a, c->u.join.ticket, &ticket);
    if (rc == ERR_NOT_FOUND || (rc == 0 && !join_proved(c, &ticket))) {
        r->status = ERR_AUTH;
        return 0;
    }
    if (rc == 0) {
        rc = known_find(a, &c->u.join.row, &known);
    }
    if (rc != 0) {
        return rc;
    }
    if (known.found) {
        bool again = known.same && known.row.state != MEMBER_GONE;
        r->status = again ? 0 : ERR_REFUSED;
        r->node = again ? known.row.node : 0;
        return 0;
    }
    r->status = join_usable(a, &ticket);
    return r->status == 0 ? admit(a, c, root, &ticket, r) : 0;
}

int machine_member_join(struct applying *a, const struct command *c, struct command_result *r) {
    struct root_value root;
    CHECK(c->kind == COMMAND_MEMBER_JOIN);
    int rc = machine_root_get(a, &root);
    if (rc == ERR_NOT_FOUND) {
        r->status = ERR_AUTH; /* no swarm, no tickets */
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    r->epoch = root.epoch;
    return join_decide(a, c, &root, r);
}

static bool member_same(const struct member *x, const struct member *y) {
    return x->state == y->state && x->capacity == y->capacity && strcmp(x->addr, y->addr) == 0 &&
           strcmp(x->zone, y->zone) == 0;
}

/* Of its state a member only says that it came up. It may not have heard yet that it drains, so anything else it says
 * of its state is no wish to change it. */
static enum member_state set_state(enum member_state now, enum member_state said) {
    bool away = now == MEMBER_JOINING || now == MEMBER_OUT;
    return away && said == MEMBER_UP ? MEMBER_UP : now;
}

/* What a member may change about itself; *ret_change: there is something to write. */
static int set_decide(const struct member *now, struct member *row, bool *ret_change) {
    bool identity = memcmp(now->id, row->id, sizeof(row->id)) == 0 && memcmp(now->dh, row->dh, sizeof(row->dh)) == 0;
    *ret_change = false;
    if (!identity || now->state == MEMBER_GONE) {
        return ERR_REFUSED;
    }
    row->state = set_state(now->state, row->state);
    *ret_change = !member_same(now, row);
    return 0;
}

static int set_known(struct applying *a, const struct command *c, struct root_value *root, struct command_result *r) {
    struct member now;
    struct member row = c->u.member;
    bool change = false;
    int rc = machine_member_get(a, row.node, &now);
    if (rc == ERR_NOT_FOUND) {
        r->status = ERR_NOT_FOUND;
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    r->status = set_decide(&now, &row, &change);
    r->node = now.node;
    if (change) {
        rc = machine_member_put(a, root, &row);
        r->epoch = root->epoch;
    }
    return rc;
}

int machine_member_set(struct applying *a, const struct command *c, struct command_result *r) {
    struct root_value root;
    CHECK(c->kind == COMMAND_MEMBER_SET);
    int rc = machine_root_get(a, &root);
    if (rc == ERR_NOT_FOUND) {
        r->status = ERR_NOT_FOUND;
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    r->epoch = root.epoch;
    if (member_check(&c->u.member) != 0) {
        r->status = ERR_INVALID;
        return 0;
    }
    return set_known(a, c, &root, r);
}
