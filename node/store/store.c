#include "store.h"

#include "check.h"
#include "digest.h"
#include "errors.h"
#include "store_impl.h"

void store_close(struct store *s) {
    if (s) {
        s->ops->close(s);
    }
}

int store_begin(struct store *s, bool write, struct txn **ret_txn) {
    struct txn *t;
    int status = s->ops->begin(s, write, &t);
    if (status == 0) {
        CHECK(t->ops);
        CHECK(t->write == write);
        *ret_txn = t;
    }
    return status;
}

int store_commit(struct txn *t) {
    if (t->error) {
        int status = t->error;
        t->ops->abort(t);
        return status;
    }
    return t->ops->commit(t);
}

void store_abort(struct txn *t) {
    t->ops->abort(t);
}

uint64_t store_txn_bytes(const struct txn *t) {
    return t->written_bytes;
}

uint64_t store_used_bytes(const struct store *s) {
    return s->ops->used_bytes(s);
}

uint64_t store_spare_bytes(const struct store *s) {
    return s->ops->spare_bytes ? s->ops->spare_bytes(s) : 0;
}

uint64_t store_map_bytes(const struct store *s) {
    return s->ops->map_bytes(s);
}

int store_table_digest(struct txn *t, enum txn_table table, struct digest *out) {
    struct digest sum = {{0}};
    struct slice key = {0};
    struct slice value;
    int status = txn_seek(t, table, key, &key, &value);
    while (status == 0) {
        const struct digest_part parts[] = {
            {sum.bytes, sizeof(sum.bytes)}, {key.bytes, key.size}, {value.bytes, value.size}};
        struct digest next;
        digest_of_parts(parts, sizeof(parts) / sizeof(parts[0]), &next);
        sum = next;
        status = txn_next(t, table, key, &key, &value);
    }
    if (status == ERR_NOT_FOUND) {
        *out = sum;
        return 0;
    }
    return status;
}
