#include "check.h"
#include "errors.h"
#include "machine_apply.h"
#include "peer.h"

#define FOUNDER 1 /* numbers of members begin here */

int machine_root_get(struct applying *a, struct root_value *out) {
    struct row_key key;
    struct slice value;
    CHECK(a->arc->root);
    row_key_root(ROOT_SETTINGS, NULL, 0, &key);
    int rc = applying_get(a, TABLE_ROOT, &key, &value);
    if (rc == 0 && root_value_decode(value, out) != 0) {
        rc = ERR_CORRUPT;
    }
    return rc;
}

int machine_root_put(struct applying *a, const struct root_value *v) {
    struct row_key key;
    CHECK(a->arc->root);
    row_key_root(ROOT_SETTINGS, NULL, 0, &key);
    root_value_encode(v, &a->row);
    return applying_put_row(a, TABLE_ROOT, &key);
}

int machine_member_get(struct applying *a, uint32_t node, struct member *out) {
    struct row_key key;
    struct slice value;
    uint8_t number[4];
    put_u32(number, node);
    row_key_root(ROOT_MEMBER, number, sizeof(number), &key);
    int rc = applying_get(a, TABLE_ROOT, &key, &value);
    if (rc == 0 && member_row_decode(value.bytes, value.size, out) != 0) {
        rc = ERR_CORRUPT;
    }
    return rc;
}

int machine_member_put(struct applying *a, struct root_value *root, struct member *row) {
    struct row_key key;
    uint8_t number[4];
    CHECK(row->node > 0 && row->node < root->next_node);
    root->epoch++;
    row->changed = root->epoch;
    put_u32(number, row->node);
    row_key_root(ROOT_MEMBER, number, sizeof(number), &key);
    member_row_encode(row, &a->row);
    int rc = applying_put_row(a, TABLE_ROOT, &key);
    if (rc == 0) {
        rc = machine_root_put(a, root);
    }
    return rc == 0 ? applying_effect(a, EFFECT_ROOT, NULL, NULL) : rc;
}

int machine_root_init(struct applying *a, const struct command *c, struct command_result *r) {
    struct root_value root;
    struct member founder = c->u.init.founder;
    CHECK(c->kind == COMMAND_ROOT_INIT);
    int rc = machine_root_get(a, &root);
    if (rc == 0) {
        r->status = ERR_EXISTS;
        r->epoch = root.epoch;
        return 0;
    }
    if (rc != ERR_NOT_FOUND) {
        return rc;
    }
    if (founder.node != FOUNDER || founder.state == MEMBER_GONE || member_check(&founder) != 0) {
        r->status = ERR_INVALID;
        return 0;
    }
    root = (struct root_value){.settings = c->u.init.settings, .next_node = FOUNDER + 1};
    rc = machine_member_put(a, &root, &founder);
    r->node = founder.node;
    r->epoch = root.epoch;
    return rc;
}
