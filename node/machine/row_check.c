#include <string.h>

#include "check.h"
#include "errors.h"
#include "machine_name.h"
#include "machine_rows.h"
#include "peer.h"
#include "ring.h"

#define POSITION_SIZE 8
#define CLIENT_ID_SIZE 8
#define SEQ_SIZE 8
#define NODE_SIZE 4

static int check_name(struct slice key, struct slice value, struct chunk_ref *space) {
    struct name_row row;
    struct name name = {0};
    struct row_key expected;
    size_t bucket_size = key.size > POSITION_SIZE ? key.bytes[POSITION_SIZE] : 0;
    if (bucket_size > NAME_BUCKET_MAX || key.size <= POSITION_SIZE + 1 + bucket_size) {
        return ERR_PROTOCOL;
    }
    int rc = name_row_decode(value.bytes, value.size, space, &row);
    if (rc != 0) {
        return rc;
    }
    if (name_set_bucket(&name, (const char *)key.bytes + POSITION_SIZE + 1, bucket_size) != 0 ||
        name_set_key(&name, row.key, row.key_size) != 0) {
        return ERR_PROTOCOL;
    }
    row_key_name(&name, &expected);
    return slice_equal(key, row_key_slice(&expected)) ? 0 : ERR_PROTOCOL;
}

static int check_outbox(struct slice key, struct slice value, struct chunk_ref *space) {
    struct name name;
    uint32_t count = 0;
    if (key.size != POSITION_SIZE + VERSION_SIZE) {
        return ERR_PROTOCOL;
    }
    int rc = outbox_value_decode(value, space, &name, &count);
    if (rc == 0 && name_position(&name) != get_u64(key.bytes)) {
        rc = ERR_PROTOCOL;
    }
    return rc;
}

/* A client's row, or one of its answers: told apart by the length of the key behind `head`. */
static int check_client(struct slice key, size_t head, struct slice value) {
    struct client_value client;
    struct command_result answer;
    if (key.size == head + CLIENT_ID_SIZE) {
        return client_value_decode(value, &client);
    }
    if (key.size != head + CLIENT_ID_SIZE + SEQ_SIZE) {
        return ERR_PROTOCOL;
    }
    return command_result_decode(value.bytes, value.size, &answer);
}

static int check_member(struct slice key, struct slice value) {
    struct member row;
    if (key.size != 1 + NODE_SIZE) {
        return ERR_PROTOCOL;
    }
    int rc = member_row_decode(value.bytes, value.size, &row);
    if (rc == 0 && (row.node == 0 || row.node != get_u32(key.bytes + 1))) {
        rc = ERR_PROTOCOL;
    }
    return rc;
}

static int check_root(struct slice key, struct slice value) {
    struct root_value root;
    struct ticket_value ticket;
    CHECK(key.size > 0);
    switch (key.bytes[0]) {
    case ROOT_CLIENT:
        return check_client(key, 1, value);
    case ROOT_MEMBER:
        return check_member(key, value);
    case ROOT_SETTINGS:
        return key.size == 1 ? root_value_decode(value, &root) : ERR_PROTOCOL;
    case ROOT_TICKET:
        return key.size == 1 + TICKET_ID_SIZE ? ticket_value_decode(value, &ticket) : ERR_PROTOCOL;
    default:
        return ERR_PROTOCOL;
    }
}

static int check_arc_row(const struct machine_arc *arc, enum txn_table table, struct slice key, struct slice value,
                         struct chunk_ref *space) {
    struct ref_value ref;
    uint64_t stamp_ms = 0;
    if (key.size < POSITION_SIZE || !machine_arc_holds(arc, get_u64(key.bytes))) {
        return ERR_PROTOCOL;
    }
    switch (table) {
    case TABLE_NAMES:
        return check_name(key, value, space);
    case TABLE_REFS:
        return key.size == DIGEST_SIZE + VERSION_SIZE ? ref_value_decode(value, &ref) : ERR_PROTOCOL;
    case TABLE_OUTBOX:
        return check_outbox(key, value, space);
    case TABLE_ABORTED:
        return key.size == POSITION_SIZE + VERSION_SIZE ? stamp_value_decode(value, &stamp_ms) : ERR_PROTOCOL;
    case TABLE_CLIENTS:
        return get_u64(key.bytes) == arc->first ? check_client(key, POSITION_SIZE, value) : ERR_PROTOCOL;
    default:
        return ERR_PROTOCOL;
    }
}

int machine_row_check(const struct machine_arc *arc, enum txn_table table, struct slice key, struct slice value,
                      struct chunk_ref *space) {
    CHECK(space);
    if (key.size == 0 || key.size > TXN_KEY_MAX || value.size > MACHINE_ROW_MAX) {
        return ERR_PROTOCOL;
    }
    if (arc->root) {
        return table == TABLE_ROOT ? check_root(key, value) : ERR_PROTOCOL;
    }
    return check_arc_row(arc, table, key, value, space);
}
