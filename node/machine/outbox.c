#include "check.h"
#include "machine_apply.h"

int machine_outbox_add(struct applying *a, const struct name *n, const struct version *v, struct slice chunks) {
    struct row_key key;
    CHECK(chunks.size > 0);
    row_key_version(name_position(n), v, &key);
    outbox_value_encode(n, chunks, &a->row);
    int rc = applying_put_row(a, TABLE_OUTBOX, &key);
    return rc == 0 ? applying_effect(a, EFFECT_OUTBOX, NULL, v) : rc;
}

int machine_outbox_done(struct applying *a, const struct command *c, struct command_result *r) {
    struct row_key key;
    CHECK(c->kind == COMMAND_OUTBOX_DONE);
    CHECK(r->status == 0);
    row_key_version(name_position(&c->u.version.name), &c->u.version.version, &key);
    return applying_del(a, TABLE_OUTBOX, &key);
}
