#include <stdlib.h>

#include "check.h"
#include "errors.h"
#include "machine_apply.h"
#include "ring.h"

#define EFFECTS_FIRST 64

/* ---- what handlers share ---- */

int applying_get(struct applying *a, enum txn_table table, const struct row_key *key, struct slice *ret_value) {
    CHECK(key->size > 0 && key->size <= TXN_KEY_MAX);
    return txn_get(a->t, table, row_key_slice(key), ret_value);
}

int applying_put_row(struct applying *a, enum txn_table table, const struct row_key *key) {
    int rc = a->row.error;
    if (rc == 0) {
        CHECK(a->row.size > 0);
        rc = txn_put(a->t, table, row_key_slice(key), (struct slice){a->row.bytes, a->row.size});
    }
    buf_clear(&a->row);
    return rc;
}

int applying_del(struct applying *a, enum txn_table table, const struct row_key *key) {
    int rc = txn_del(a->t, table, row_key_slice(key));
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int effects_grow(struct machine_effects *e) {
    size_t capacity = e->capacity ? 2 * e->capacity : EFFECTS_FIRST;
    if (capacity > MACHINE_EFFECTS_MAX) {
        return ERR_TOO_LARGE;
    }
    struct machine_effect *items = realloc(e->items, capacity * sizeof(*items));
    if (!items) {
        return ERR_NOMEM;
    }
    e->items = items;
    e->capacity = capacity;
    return 0;
}

int applying_effect(struct applying *a, enum machine_effect_kind kind, const struct digest *d,
                    const struct version *v) {
    struct machine_effects *e = a->effects;
    CHECK(e->count <= e->capacity);
    if (e->count == e->capacity) {
        int rc = effects_grow(e);
        if (rc != 0) {
            return rc;
        }
    }
    e->items[e->count] = (struct machine_effect){.kind = kind};
    if (d) {
        e->items[e->count].digest = *d;
    }
    if (v) {
        e->items[e->count].version = *v;
    }
    e->count++;
    return 0;
}

void machine_effects_release(struct machine_effects *e) {
    CHECK(e->count <= e->capacity);
    free(e->items);
    *e = (struct machine_effects){0};
}

/* ---- dispatch ---- */

static bool holds_chunks(const struct machine_arc *arc, const struct command *c) {
    for (uint32_t i = 0; i < c->u.refs.chunk_count; i++) {
        if (!machine_arc_holds(arc, ring_position(&c->u.refs.chunks[i].digest))) {
            return false;
        }
    }
    return true;
}

/* A pure function of the command and the arc: a repeat of what does not belong needs no memory of the first time. */
static bool belongs(const struct machine_arc *arc, const struct command *c) {
    if (c->client != 0 && c->ack_below > c->seq) {
        return false;
    }
    switch (c->kind) {
    case COMMAND_NAME_PUT:
        return machine_arc_holds(arc, name_position(&c->u.put.name));
    case COMMAND_NAME_RM:
        return machine_arc_holds(arc, name_position(&c->u.rm.name));
    case COMMAND_REF_ADD:
    case COMMAND_REF_DEL:
    case COMMAND_REF_CONFIRM:
        return holds_chunks(arc, c);
    case COMMAND_OUTBOX_DONE:
    case COMMAND_VERSION_SETTLE:
        return machine_arc_holds(arc, name_position(&c->u.version.name));
    case COMMAND_ROOT_INIT:
    case COMMAND_TICKET_ADD:
    case COMMAND_MEMBER_JOIN:
    case COMMAND_MEMBER_SET:
    case COMMAND_MEMBER_STATE:
        return arc->root;
    case COMMAND_KINDS:
        break;
    }
    return false;
}

static machine_handler *const handlers[COMMAND_KINDS] = {
    [COMMAND_NAME_PUT] = machine_name_put,
    [COMMAND_NAME_RM] = machine_name_rm,
    [COMMAND_REF_ADD] = machine_refs_add,
    [COMMAND_REF_DEL] = machine_refs_del,
    [COMMAND_REF_CONFIRM] = machine_refs_confirm,
    [COMMAND_OUTBOX_DONE] = machine_outbox_done,
    [COMMAND_VERSION_SETTLE] = machine_version_settle,
    [COMMAND_ROOT_INIT] = machine_root_init,
    [COMMAND_TICKET_ADD] = machine_ticket_add,
    [COMMAND_MEMBER_JOIN] = machine_member_join,
    [COMMAND_MEMBER_SET] = machine_member_set,
    [COMMAND_MEMBER_STATE] = machine_member_state,
};

static int apply_command(struct applying *a, const struct command *c, struct buf *result) {
    struct command_result r = {0};
    CHECK(handlers[c->kind]);
    int rc = handlers[c->kind](a, c, &r);
    if (rc == 0) {
        command_result_encode(&r, result);
        rc = result->error;
    }
    return rc;
}

static int apply_once(struct applying *a, const struct command *c, struct buf *result) {
    bool known = false;
    size_t mark = result->size;
    int rc = machine_client_recall(a, c, result, &known);
    if (rc != 0 || known) {
        return rc;
    }
    rc = apply_command(a, c, result);
    if (rc == 0) {
        CHECK(result->size > mark);
        rc = machine_client_record(a, c, (struct slice){result->bytes + mark, result->size - mark});
    }
    return rc;
}

int machine_apply(struct txn *t, const struct machine_arc *arc, uint64_t stamp_ms, const uint8_t *command, size_t size,
                  struct buf *result, struct machine_effects *effects) {
    struct applying a = {.t = t, .arc = arc, .stamp_ms = stamp_ms, .effects = effects};
    struct command c;
    struct chunk_ref space[COMMAND_CHUNKS_MAX];
    CHECK(arc->root || arc->first <= arc->last);
    if (command_decode(command, size, space, &c) != 0 || !belongs(arc, &c)) {
        command_result_encode(&(struct command_result){.status = ERR_INVALID}, result);
        return result->error;
    }
    buf_init(&a.row, MACHINE_ROW_MAX);
    int rc = c.client != 0 ? apply_once(&a, &c, result) : apply_command(&a, &c, result);
    buf_release(&a.row);
    return rc;
}

/* A version that carries its bytes has no references, so nobody settles it; and its number is fresh, so it lies under
 * no name yet. Without a condition nothing can refuse it. */
static bool blind(const struct command *c) {
    return c->kind == COMMAND_NAME_PUT && c->u.put.is_inline && c->u.put.condition == CONDITION_ANY;
}

bool machine_foretell(const struct machine_arc *arc, uint64_t stamp_ms, const uint8_t *command, size_t size,
                      struct buf *result) {
    struct command c;
    struct chunk_ref space[COMMAND_CHUNKS_MAX];
    bool known = command_decode(command, size, space, &c) == 0 && belongs(arc, &c) && blind(&c);
    if (known) {
        command_result_encode(&(struct command_result){.version = c.u.put.version, .modified_ms = stamp_ms}, result);
        known = result->error == 0;
    }
    return known;
}
