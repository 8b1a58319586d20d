/* Damage to chunks: reads that go to the wrong place, and bits that change where they lie. */
#include <string.h>

#include "check.h"
#include "chunks.h"
#include "errors.h"
#include "internal.h"
#include "store_impl.h"

/* ---- misdirected reads ------------------------------------------------------------------------------------------- */

/* Stands before a read transaction, and gives the pieces of another chunk for those of the first one that it is asked
 * for. */
struct misread {
    struct txn base;
    struct txn *inner;
    struct digest asked, given; /* once drawn */
    bool drawn;
};

/* The chunk that follows the asked one, all around; nothing is drawn when that is the asked one itself. */
static void draw(struct misread *m, struct slice key) {
    struct slice value;
    if (m->drawn || txn_get(m->inner, TABLE_CHUNKS, key, &value) != 0) {
        return;
    }
    memcpy(&m->asked, key.bytes, sizeof(m->asked));
    int status = chunk_next(m->inner, &m->asked, &m->given);
    status = status == ERR_NOT_FOUND ? chunk_next(m->inner, NULL, &m->given) : status;
    m->drawn = status == 0 && !digest_equal(&m->asked, &m->given);
}

static int misread_get(struct txn *t, enum txn_table table, struct slice key, struct slice *ret_value) {
    struct misread *m = (struct misread *)t;
    uint8_t other[TXN_KEY_MAX];
    CHECK(table == TABLE_CHUNKS && key.size > sizeof(m->asked));
    draw(m, key);
    if (!m->drawn || memcmp(key.bytes, &m->asked, sizeof(m->asked)) != 0) {
        return txn_get(m->inner, table, key, ret_value);
    }
    memcpy(other, &m->given, sizeof(m->given));
    memcpy(other + sizeof(m->given), key.bytes + sizeof(m->given), key.size - sizeof(m->given));
    return txn_get(m->inner, table, (struct slice){other, key.size}, ret_value);
}

static int misread_seek(struct txn *t, enum txn_table table, struct slice key, struct slice *ret_key,
                        struct slice *ret_value) {
    struct misread *m = (struct misread *)t;
    return txn_seek(m->inner, table, key, ret_key, ret_value);
}

int sim_misread(struct sim_host *h, struct txn *txn, struct disk_op *op) {
    static const struct txn_ops ops = {.get = misread_get, .seek = misread_seek}; /* what a read may do */
    struct misread m = {.base = {.ops = &ops}, .inner = txn};
    int status = op->run(&m.base, op);
    if (m.drawn) {
        sim_happened(h->sim, SIM_FAULT, h->number, 0, &m.asked, sizeof(m.asked));
    }
    return status;
}

void sim_disk_misread(struct sim_host *h, uint32_t millionths) {
    CHECK(millionths <= PRNG_MILLION);
    sim_happened(h->sim, SIM_FAULT, h->number, millionths, "misread", 7);
    h->misread_millionths = millionths;
}

/* ---- rot --------------------------------------------------------------------------------------------------------- */

bool sim_disk_rot(struct sim_host *h, const struct digest *d, uint64_t random) {
    uint8_t keys[CHUNK_STORED_MAX / CHUNK_PIECE + 2][TXN_KEY_MAX];
    size_t sizes[sizeof(keys) / sizeof(keys[0])], count = 0;
    struct slice key, value;
    struct txn *t;
    CHECK(store_begin(h->stores[DISK_CHUNKS], false, &t) == 0);
    int status = txn_seek(t, TABLE_CHUNKS, (struct slice){d->bytes, sizeof(d->bytes)}, &key, &value);
    while (status == 0 && memcmp(key.bytes, d, sizeof(*d)) == 0) {
        CHECK(count < sizeof(keys) / sizeof(keys[0]));
        memcpy(keys[count], key.bytes, key.size);
        sizes[count] = key.size;
        status = txn_next(t, TABLE_CHUNKS, (struct slice){keys[count], sizes[count]}, &key, &value);
        count++;
    }
    store_abort(t);
    if (count == 0) {
        return false;
    }
    size_t piece = random % count;
    sim_happened(h->sim, SIM_FAULT, h->number, random, d, sizeof(*d));
    CHECK(store_mem_flip(h->stores[DISK_CHUNKS], TABLE_CHUNKS, (struct slice){keys[piece], sizes[piece]},
                         random / count) == 0);
    return true;
}
