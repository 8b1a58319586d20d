#include "check.h"
#include "errors.h"
#include "machine_apply.h"

static int ref_put(struct applying *a, const struct row_key *key, const struct ref_value *v) {
    ref_value_encode(v, &a->row);
    return applying_put_row(a, TABLE_REFS, key);
}

/* A reference that is there stays as it is: confirmed ones do not become pending again. */
static int ref_add(struct applying *a, const struct command *c, const struct chunk_ref *chunk) {
    struct row_key key;
    struct slice value;
    row_key_ref(&chunk->digest, &c->u.refs.version, &key);
    int rc = applying_get(a, TABLE_REFS, &key, &value);
    if (rc == ERR_NOT_FOUND) {
        const struct ref_value v = {
            .size = chunk->size, .pending = true, .stamp_ms = a->stamp_ms, .name = c->u.refs.name};
        rc = ref_put(a, &key, &v);
    }
    return rc == 0 ? applying_effect(a, EFFECT_REF_ADDED, &chunk->digest, &c->u.refs.version) : rc;
}

int machine_refs_add(struct applying *a, const struct command *c, struct command_result *r) {
    CHECK(c->kind == COMMAND_REF_ADD);
    CHECK(r->status == 0);
    int rc = 0;
    for (uint32_t i = 0; i < c->u.refs.chunk_count && rc == 0; i++) {
        rc = ref_add(a, c, &c->u.refs.chunks[i]);
    }
    return rc;
}

static int ref_del(struct applying *a, const struct command *c, const struct digest *d) {
    struct row_key key;
    struct slice found, value;
    row_key_ref(d, &c->u.refs.version, &key);
    int rc = applying_del(a, TABLE_REFS, &key);
    if (rc != 0) {
        return rc;
    }
    row_key_digest(d, &key);
    rc = txn_seek(a->t, TABLE_REFS, row_key_slice(&key), &found, &value);
    if (rc == ERR_NOT_FOUND || (rc == 0 && !slice_starts(found, row_key_slice(&key)))) {
        rc = applying_effect(a, EFFECT_CHUNK_DROPPED, d, NULL);
    }
    return rc;
}

int machine_refs_del(struct applying *a, const struct command *c, struct command_result *r) {
    CHECK(c->kind == COMMAND_REF_DEL);
    CHECK(r->status == 0);
    int rc = 0;
    for (uint32_t i = 0; i < c->u.refs.chunk_count && rc == 0; i++) {
        rc = ref_del(a, c, &c->u.refs.chunks[i].digest);
    }
    return rc;
}

static int ref_confirm(struct applying *a, const struct command *c, const struct digest *d) {
    struct row_key key;
    struct slice value;
    struct ref_value v;
    row_key_ref(d, &c->u.refs.version, &key);
    int rc = applying_get(a, TABLE_REFS, &key, &value);
    if (rc == ERR_NOT_FOUND) {
        return 0; /* already removed: a version may be replaced before its confirmation arrives */
    }
    if (rc == 0 && ref_value_decode(value, &v) != 0) {
        rc = ERR_CORRUPT;
    }
    if (rc != 0 || !v.pending) {
        return rc;
    }
    v.pending = false;
    return ref_put(a, &key, &v);
}

int machine_refs_confirm(struct applying *a, const struct command *c, struct command_result *r) {
    CHECK(c->kind == COMMAND_REF_CONFIRM);
    CHECK(r->status == 0);
    int rc = 0;
    for (uint32_t i = 0; i < c->u.refs.chunk_count && rc == 0; i++) {
        rc = ref_confirm(a, c, &c->u.refs.chunks[i].digest);
    }
    return rc;
}
