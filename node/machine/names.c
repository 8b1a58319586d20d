#include <string.h>

#include "check.h"
#include "errors.h"
#include "machine_apply.h"

/* What lies under a name, or nothing. */
struct current {
    bool exists;
    struct name_head head; /* its slices are valid until the next write */
};

static int current_get(struct applying *a, const struct name *n, struct row_key *ret_key, struct current *out) {
    struct slice value;
    *out = (struct current){0};
    row_key_name(n, ret_key);
    int rc = applying_get(a, TABLE_NAMES, ret_key, &value);
    if (rc == ERR_NOT_FOUND) {
        return 0;
    }
    if (rc == 0 && name_head_decode(value, &out->head) != 0) {
        rc = ERR_CORRUPT;
    }
    out->exists = rc == 0;
    return rc;
}

/* The answer tells what is under the name, so that a refused caller knows what to match. */
static void answer_current(const struct current *now, struct command_result *r) {
    if (now->exists) {
        r->version = now->head.version;
        r->modified_ms = now->head.modified_ms;
    }
}

static bool is_current(const struct current *now, const struct version *v) {
    return now->exists && version_equal(&now->head.version, v);
}

static bool condition_holds(const struct current *now, enum name_condition condition, const struct version *match) {
    switch (condition) {
    case CONDITION_ANY:
        return true;
    case CONDITION_ABSENT:
        return !now->exists;
    case CONDITION_MATCH:
        return is_current(now, match);
    }
    return false;
}

/* A version that was recorded as aborted, or that lay under the name before and is being removed, may not come (back):
 * its references are gone or on their way. */
static int version_closed(struct applying *a, const struct name *n, const struct version *v, bool *ret_closed) {
    struct row_key key;
    struct slice value;
    row_key_version(name_position(n), v, &key);
    int rc = applying_get(a, TABLE_ABORTED, &key, &value);
    if (rc == ERR_NOT_FOUND) {
        rc = applying_get(a, TABLE_OUTBOX, &key, &value);
    }
    *ret_closed = rc == 0;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* The version under the name is about to go: its chunks are to be released. Invalidates the slices of `now`. */
static int retire(struct applying *a, const struct name *n, const struct current *now) {
    if (!now->exists || now->head.is_inline) {
        return 0;
    }
    return machine_outbox_add(a, n, &now->head.version, now->head.chunks);
}

static int write_name(struct applying *a, const struct command *c, const struct row_key *key) {
    const struct name *n = &c->u.put.name;
    struct name_row row = {
        .key_size = n->key_size,
        .version = c->u.put.version,
        .size = c->u.put.size,
        .modified_ms = a->stamp_ms,
        .is_inline = c->u.put.is_inline,
        .bytes = c->u.put.bytes,
        .chunk_count = c->u.put.chunk_count,
        .chunks = c->u.put.chunks,
    };
    memcpy(row.key, n->key, n->key_size);
    name_row_encode(&row, &a->row);
    return applying_put_row(a, TABLE_NAMES, key);
}

int machine_name_put(struct applying *a, const struct command *c, struct command_result *r) {
    struct row_key key;
    struct current now;
    bool closed = false;
    CHECK(c->kind == COMMAND_NAME_PUT);
    int rc = current_get(a, &c->u.put.name, &key, &now);
    if (rc != 0) {
        return rc;
    }
    answer_current(&now, r);
    if (is_current(&now, &c->u.put.version)) {
        return 0;
    }
    if (!c->u.put.is_inline) { /* one that brings its bytes has no references that somebody could have given up */
        rc = version_closed(a, &c->u.put.name, &c->u.put.version, &closed);
    }
    if (rc != 0 || closed) {
        r->status = ERR_ABORTED;
        return rc;
    }
    if (!condition_holds(&now, c->u.put.condition, &c->u.put.match)) {
        r->status = ERR_PRECONDITION;
        return 0;
    }
    rc = retire(a, &c->u.put.name, &now);
    if (rc == 0) {
        rc = write_name(a, c, &key);
    }
    r->version = c->u.put.version;
    r->modified_ms = a->stamp_ms;
    return rc;
}

int machine_name_rm(struct applying *a, const struct command *c, struct command_result *r) {
    struct row_key key;
    struct current now;
    CHECK(c->kind == COMMAND_NAME_RM);
    int rc = current_get(a, &c->u.rm.name, &key, &now);
    if (rc != 0) {
        return rc;
    }
    if (!now.exists) {
        r->status = ERR_NOT_FOUND;
        return 0;
    }
    answer_current(&now, r);
    if (!condition_holds(&now, c->u.rm.condition, &c->u.rm.match)) {
        r->status = ERR_PRECONDITION;
        return 0;
    }
    rc = retire(a, &c->u.rm.name, &now);
    return rc == 0 ? applying_del(a, TABLE_NAMES, &key) : rc;
}

int machine_version_settle(struct applying *a, const struct command *c, struct command_result *r) {
    const struct name *n = &c->u.version.name;
    struct row_key key;
    struct current now;
    struct slice value;
    CHECK(c->kind == COMMAND_VERSION_SETTLE);
    int rc = current_get(a, n, &key, &now);
    if (rc != 0) {
        return rc;
    }
    answer_current(&now, r);
    r->live = is_current(&now, &c->u.version.version);
    if (r->live) {
        return 0;
    }
    row_key_version(name_position(n), &c->u.version.version, &key);
    rc = applying_get(a, TABLE_ABORTED, &key, &value);
    if (rc == ERR_NOT_FOUND) {
        stamp_value_encode(a->stamp_ms, &a->row);
        rc = applying_put_row(a, TABLE_ABORTED, &key);
    }
    return rc;
}
