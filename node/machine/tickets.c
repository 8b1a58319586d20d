#include <string.h>

#include "check.h"
#include "errors.h"
#include "machine_apply.h"
#include "ticket.h"

#define TICKETS_MAX 4096 /* not yet expired; used-up ones count until they expire */

static void ticket_key(const uint8_t id[TICKET_ID_SIZE], struct row_key *out) {
    row_key_root(ROOT_TICKET, id, TICKET_ID_SIZE, out);
}

int machine_ticket_get(struct applying *a, const uint8_t id[16], struct ticket_value *out) {
    struct row_key key;
    struct slice value;
    CHECK(a->arc->root);
    ticket_key(id, &key);
    int rc = applying_get(a, TABLE_ROOT, &key, &value);
    if (rc == 0 && ticket_value_decode(value, out) != 0) {
        rc = ERR_CORRUPT;
    }
    return rc;
}

int machine_ticket_put(struct applying *a, const uint8_t id[16], const struct ticket_value *v) {
    struct row_key key;
    CHECK(a->arc->root);
    ticket_key(id, &key);
    ticket_value_encode(v, &a->row);
    return applying_put_row(a, TABLE_ROOT, &key);
}

/* Deletes the expired tickets and counts the others. There are never more than TICKETS_MAX. */
static int tickets_prune(struct applying *a, size_t *ret_count) {
    struct row_key at, tag;
    struct slice key, value;
    row_key_root(ROOT_TICKET, NULL, 0, &tag);
    at = tag;
    *ret_count = 0;
    int rc = txn_seek(a->t, TABLE_ROOT, row_key_slice(&tag), &key, &value);
    while (rc == 0 && slice_starts(key, row_key_slice(&tag))) {
        struct ticket_value ticket;
        if (key.size != 1 + TICKET_ID_SIZE || ticket_value_decode(value, &ticket) != 0) {
            return ERR_CORRUPT;
        }
        memcpy(at.bytes, key.bytes, key.size);
        at.size = key.size;
        if (ticket.expires_ms <= a->stamp_ms) {
            rc = applying_del(a, TABLE_ROOT, &at);
        } else {
            ++*ret_count;
        }
        if (rc == 0) {
            rc = txn_next(a->t, TABLE_ROOT, row_key_slice(&at), &key, &value);
        }
    }
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int ticket_decide(struct applying *a, const struct command *c, int *ret_status) {
    struct ticket_value known;
    size_t count = 0;
    int rc = machine_ticket_get(a, c->u.ticket.id, &known);
    if (rc == 0) {
        *ret_status = ERR_EXISTS;
    }
    if (rc != ERR_NOT_FOUND) {
        return rc;
    }
    if (c->u.ticket.uses == 0 || c->u.ticket.expires_ms <= a->stamp_ms) {
        *ret_status = c->u.ticket.uses == 0 ? ERR_INVALID : ERR_EXPIRED;
        return 0;
    }
    rc = tickets_prune(a, &count);
    *ret_status = count < TICKETS_MAX ? 0 : ERR_REFUSED;
    return rc;
}

int machine_ticket_add(struct applying *a, const struct command *c, struct command_result *r) {
    struct root_value root;
    CHECK(c->kind == COMMAND_TICKET_ADD);
    int rc = machine_root_get(a, &root);
    if (rc == ERR_NOT_FOUND) {
        r->status = ERR_NOT_FOUND;
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    r->epoch = root.epoch;
    rc = ticket_decide(a, c, &r->status);
    if (rc != 0 || r->status != 0) {
        return rc;
    }
    const struct ticket_value v = {
        .verifier = c->u.ticket.verifier, .expires_ms = c->u.ticket.expires_ms, .uses = c->u.ticket.uses};
    return machine_ticket_put(a, c->u.ticket.id, &v);
}
