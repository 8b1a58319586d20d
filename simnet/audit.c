#include "audit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "check.h"
#include "chunks.h"
#include "errors.h"
#include "ring.h"
#include "store.h"

#define AUDIT_ROWS_MAX (1u << 22)

/* A growing list of (digest, version), to be sorted and searched. */
struct pair {
    struct digest digest;
    struct version version;
};

struct pairs {
    struct pair *items;
    size_t count, capacity;
};

struct audit {
    struct swarm *swarm;
    char *message;
    size_t message_size;
    struct pairs live;   /* what live versions need; each version once with a zero digest, too */
    struct pairs *refs;  /* by node: references on its disk */
    struct pairs *bytes; /* by node: chunks on its disk, with zero versions */
};

static bool trouble(struct audit *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Nobody asks what is on the disks of those that have left. */
static const struct swarm_node *first_member(const struct audit *a) {
    for (uint32_t i = 0; i < a->swarm->count; i++) {
        if (!a->swarm->nodes[i].left) {
            return &a->swarm->nodes[i];
        }
    }
    CHECK(false);
}

static bool trouble(struct audit *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(a->message, a->message_size, format, args);
    va_end(args);
    return false;
}

static void pairs_add(struct pairs *p, const struct digest *d, const struct version *v) {
    static const struct pair zero;
    CHECK(p->count < AUDIT_ROWS_MAX);
    if (p->count == p->capacity) {
        p->capacity = p->capacity == 0 ? 256 : p->capacity * 2;
        p->items = realloc(p->items, p->capacity * sizeof(*p->items));
        CHECK(p->items != NULL);
    }
    p->items[p->count].digest = d != NULL ? *d : zero.digest;
    p->items[p->count].version = v != NULL ? *v : zero.version;
    p->count++;
}

static int compare_pairs(const void *a, const void *b) {
    return memcmp(a, b, sizeof(struct pair));
}

static void pairs_sort(struct pairs *p) {
    if (p->count > 0) {
        qsort(p->items, p->count, sizeof(*p->items), compare_pairs);
    }
}

static bool pairs_have(const struct pairs *p, const struct digest *d, const struct version *v) {
    struct pair key = {0};
    key.digest = d != NULL ? *d : key.digest;
    key.version = v != NULL ? *v : key.version;
    return p->count > 0 && bsearch(&key, p->items, p->count, sizeof(key), compare_pairs) != NULL;
}

/* Any version of this digest. */
static bool pairs_have_digest(const struct pairs *p, const struct digest *d) {
    size_t low = 0, high = p->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(&p->items[middle].digest, d, sizeof(*d)) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < p->count && memcmp(&p->items[low].digest, d, sizeof(*d)) == 0;
}

static void digest_word(const struct digest *d, char out[HEX_SIZE(6)]) {
    hex_encode(d->bytes, 6, out);
}

/* ---- reading the disks ------------------------------------------------------------------------------------------- */

static struct txn *begin_read(struct swarm_node *n, enum disk_env env) {
    struct txn *t;
    CHECK(store_begin(sim_host_store(n->host, env), false, &t) == 0);
    return t;
}

static bool table_empty(struct txn *t, enum txn_table table) {
    struct slice key, value;
    return txn_seek(t, table, (struct slice){NULL, 0}, &key, &value) == ERR_NOT_FOUND;
}

/* Every row of these tables begins with its position; who serves no arc has no row of it. */
static bool rows_are_served(struct audit *a, uint32_t i, struct txn *t) {
    static const enum txn_table tables[] = {TABLE_NAMES, TABLE_REFS, TABLE_ABORTED, TABLE_CLIENTS};
    const struct groups *g = node_groups(a->swarm->nodes[i].node);
    for (size_t k = 0; k < sizeof(tables) / sizeof(tables[0]); k++) {
        uint8_t last[TXN_KEY_MAX];
        struct slice key, value;
        int status = txn_seek(t, tables[k], (struct slice){NULL, 0}, &key, &value);
        while (status == 0) {
            struct groups_glance now;
            size_t size = key.size;
            if (size >= sizeof(uint64_t)) {
                groups_glance(g, groups_of(g, get_u64(key.bytes)), &now);
            }
            if (size < sizeof(uint64_t) || now.raft == NULL) {
                return trouble(a, "node %" PRIu32 ": a row of an arc that it does not serve", i + 1);
            }
            memcpy(last, key.bytes, size);
            status = txn_next(t, tables[k], (struct slice){last, size}, &key, &value);
        }
        CHECK(status == ERR_NOT_FOUND);
    }
    return true;
}

static bool read_refs(struct audit *a, uint32_t i, struct txn *t) {
    uint8_t last[TXN_KEY_MAX];
    struct slice key, value, at = {NULL, 0};
    int status = txn_seek(t, TABLE_REFS, at, &key, &value);
    while (status == 0) {
        struct pair row;
        if (key.size != sizeof(row)) {
            return trouble(a, "node %" PRIu32 ": a reference with a key of %zu bytes", i + 1, key.size);
        }
        memcpy(&row, key.bytes, sizeof(row));
        pairs_add(&a->refs[i], &row.digest, &row.version);
        memcpy(last, key.bytes, key.size);
        at = (struct slice){last, key.size};
        status = txn_next(t, TABLE_REFS, at, &key, &value);
    }
    CHECK(status == ERR_NOT_FOUND);
    return true;
}

static bool read_names(struct audit *a, uint32_t i, struct txn *t, struct chunk_ref *space, struct name_row *row) {
    uint8_t last[TXN_KEY_MAX];
    struct slice key, value;
    int status = txn_seek(t, TABLE_NAMES, (struct slice){NULL, 0}, &key, &value);
    while (status == 0) {
        if (name_row_decode(value.bytes, value.size, space, row) != 0) {
            return trouble(a, "node %" PRIu32 ": a name that cannot be decoded", i + 1);
        }
        pairs_add(&a->live, NULL, &row->version);
        for (uint32_t c = 0; !row->is_inline && c < row->chunk_count; c++) {
            pairs_add(&a->live, &row->chunks[c].digest, &row->version);
        }
        size_t size = key.size;
        memcpy(last, key.bytes, size);
        status = txn_next(t, TABLE_NAMES, (struct slice){last, size}, &key, &value);
    }
    CHECK(status == ERR_NOT_FOUND);
    return true;
}

static bool read_node(struct audit *a, uint32_t i, struct chunk_ref *space, struct name_row *row) {
    struct swarm_node *n = &a->swarm->nodes[i];
    struct txn *t = begin_read(n, DISK_META);
    bool good = table_empty(t, TABLE_OUTBOX) || trouble(a, "node %" PRIu32 ": an outbox is not empty", i + 1);
    good =
        good && (table_empty(t, TABLE_STAGE) || trouble(a, "node %" PRIu32 ": a snapshot is left half taken", i + 1));
    good = good && rows_are_served(a, i, t) && read_refs(a, i, t) && read_names(a, i, t, space, row);
    store_abort(t);
    t = begin_read(n, DISK_CHUNKS);
    struct digest d, *after = NULL;
    while (good && chunk_next(t, after, &d) == 0) {
        pairs_add(&a->bytes[i], &d, NULL);
        after = &d;
    }
    store_abort(t);
    pairs_sort(&a->refs[i]);
    pairs_sort(&a->bytes[i]);
    return good;
}

/* ---- replicas ---------------------------------------------------------------------------------------------------- */

static bool digest_of_replica(struct audit *a, uint32_t i, uint32_t group, struct digest *out) {
    struct machine_arc arc;
    struct swarm_node *n = &a->swarm->nodes[i];
    groups_arc(node_groups(n->node), group, &arc);
    struct txn *t = begin_read(n, DISK_META);
    int status = machine_digest(t, &arc, out);
    store_abort(t);
    return status == 0 || trouble(a, "node %" PRIu32 ": group %" PRIu32 " cannot be read", i + 1, group);
}

static uint32_t leader_of(const struct audit *a, uint32_t group, struct groups_info *ret_info) {
    for (uint32_t i = 0; i < a->swarm->count; i++) {
        if (a->swarm->nodes[i].left) {
            continue;
        }
        groups_info(node_groups(a->swarm->nodes[i].node), group, ret_info);
        if (ret_info->here && ret_info->leading) {
            return i + 1;
        }
    }
    return 0;
}

static bool settled_config(const struct audit *a, const struct groups_info *leader) {
    uint32_t members = 0;
    for (uint32_t i = 0; i < a->swarm->count; i++) {
        members += !a->swarm->nodes[i].left;
    }
    uint32_t want = a->swarm->replicas < members ? a->swarm->replicas : members;
    for (uint32_t r = 0; r < leader->config.count; r++) {
        if (leader->config.replicas[r].flags != RAFT_VOTER) {
            return false;
        }
    }
    return leader->config.count == want && leader->config.index == leader->committed.index;
}

static bool group_is_whole(struct audit *a, uint32_t group) {
    struct groups_info leader, info;
    struct digest first, digest;
    uint32_t leading = leader_of(a, group, &leader);
    if (leading == 0) {
        return trouble(a, "group %" PRIu32 " has no leader", group);
    }
    if (group != GROUPS_ROOT && !settled_config(a, &leader)) {
        return trouble(a, "group %" PRIu32 " has not reached its configuration", group);
    }
    if (!digest_of_replica(a, leading - 1, group, &first)) {
        return false;
    }
    for (uint32_t i = 0; i < a->swarm->count; i++) {
        struct swarm_node *n = &a->swarm->nodes[i];
        if (n->left) {
            continue;
        }
        groups_info(node_groups(n->node), group, &info);
        bool member = raft_config_find_node(&leader.config, node_self(n->node)) != NULL;
        if (info.here != member) {
            return trouble(a, "node %" PRIu32 " %s group %" PRIu32, i + 1, member ? "lacks" : "still holds", group);
        }
        if (member && info.applied != leader.applied) {
            return trouble(a, "node %" PRIu32 " has applied %" PRIu64 " of %" PRIu64 " in group %" PRIu32, i + 1,
                           info.applied, leader.applied, group);
        }
        if (member && !digest_of_replica(a, i, group, &digest)) {
            return false;
        }
        if (member && memcmp(&digest, &first, sizeof(digest)) != 0) {
            return trouble(a, "nodes %" PRIu32 " and %" PRIu32 " differ in group %" PRIu32 " at index %" PRIu64,
                           leading, i + 1, group, info.applied);
        }
    }
    return true;
}

/* ---- references and chunks --------------------------------------------------------------------------------------- */

static bool node_is_consistent(struct audit *a, uint32_t i) {
    char word[HEX_SIZE(6)];
    for (size_t r = 0; r < a->refs[i].count; r++) {
        const struct pair *ref = &a->refs[i].items[r];
        digest_word(&ref->digest, word);
        if (!pairs_have(&a->bytes[i], &ref->digest, NULL)) {
            return trouble(a, "node %" PRIu32 ": chunk %s is referenced and not there", i + 1, word);
        }
        if (!pairs_have(&a->live, &ref->digest, &ref->version)) {
            return trouble(a, "node %" PRIu32 ": chunk %s is referenced by a version that is not live", i + 1, word);
        }
    }
    for (size_t c = 0; c < a->bytes[i].count; c++) {
        digest_word(&a->bytes[i].items[c].digest, word);
        if (!pairs_have_digest(&a->refs[i], &a->bytes[i].items[c].digest)) {
            return trouble(a, "node %" PRIu32 ": chunk %s is there and not referenced", i + 1, word);
        }
    }
    return true;
}

/* Every replica of a chunk's group has the reference of every live version that needs it. */
static bool live_is_referenced(struct audit *a) {
    static const struct digest none;
    char word[HEX_SIZE(6)];
    for (size_t l = 0; l < a->live.count; l++) {
        const struct pair *need = &a->live.items[l];
        if (memcmp(&need->digest, &none, sizeof(none)) == 0) {
            continue;
        }
        uint32_t group = groups_of(node_groups(first_member(a)->node), ring_position(&need->digest));
        for (uint32_t i = 0; i < a->swarm->count; i++) {
            struct groups_info info;
            if (a->swarm->nodes[i].left) {
                continue;
            }
            groups_info(node_groups(a->swarm->nodes[i].node), group, &info);
            if (info.here && !pairs_have(&a->refs[i], &need->digest, &need->version)) {
                digest_word(&need->digest, word);
                return trouble(a, "node %" PRIu32 ": chunk %s of a live version is not referenced", i + 1, word);
            }
        }
    }
    return true;
}

static bool audit_run(struct audit *a) {
    struct chunk_ref *space = calloc(COMMAND_CHUNKS_MAX, sizeof(*space));
    struct name_row *row = calloc(1, sizeof(*row));
    CHECK(space != NULL && row != NULL);
    bool good = true;
    for (uint32_t i = 0; i < a->swarm->count && good; i++) {
        good =
            a->swarm->nodes[i].left || a->swarm->nodes[i].ready || trouble(a, "node %" PRIu32 " is not ready", i + 1);
    }
    uint32_t groups = good ? groups_count(node_groups(first_member(a)->node)) : 0;
    for (uint32_t group = 0; group < groups && good; group++) {
        good = group_is_whole(a, group);
    }
    for (uint32_t i = 0; i < a->swarm->count && good; i++) {
        good = a->swarm->nodes[i].left || read_node(a, i, space, row);
    }
    pairs_sort(&a->live);
    for (uint32_t i = 0; i < a->swarm->count && good; i++) {
        good = a->swarm->nodes[i].left || node_is_consistent(a, i);
    }
    good = good && live_is_referenced(a);
    free(space);
    free(row);
    return good;
}

bool audit_swarm(struct swarm *w, char *message, size_t message_size) {
    struct audit a = {.swarm = w, .message_size = message_size};
    a.message = message;
    a.refs = calloc(w->count, sizeof(*a.refs));
    a.bytes = calloc(w->count, sizeof(*a.bytes));
    CHECK(a.refs != NULL && a.bytes != NULL);
    bool good = audit_run(&a);
    for (uint32_t i = 0; i < w->count; i++) {
        free(a.refs[i].items);
        free(a.bytes[i].items);
    }
    free(a.refs);
    free(a.bytes);
    free(a.live.items);
    return good;
}

static bool node_bytes_are_good(struct audit *a, uint32_t i, uint8_t *stored) {
    struct txn *t = begin_read(&a->swarm->nodes[i], DISK_CHUNKS);
    struct digest d, found, *after = NULL;
    bool good = true;
    while (good && chunk_next(t, after, &d) == 0) {
        size_t size;
        int status = chunk_get(t, &d, stored, CHUNK_STORED_MAX, &size);
        if (status == 0) {
            digest_of(stored, size, &found);
        }
        bool good_copy = status == 0 && digest_equal(&d, &found);
        if (!good_copy && !swarm_is_damaged(a->swarm, i + 1, &d)) {
            good = trouble(a, "node %" PRIu32 " holds a chunk that does not match its digest", i + 1);
        }
        after = &d;
    }
    store_abort(t);
    return good;
}

bool audit_bytes(struct swarm *w, char *message, size_t message_size) {
    struct audit a = {.swarm = w, .message_size = message_size};
    a.message = message;
    uint8_t *stored = malloc(CHUNK_STORED_MAX);
    CHECK(stored != NULL);
    bool good = true;
    for (uint32_t i = 0; i < w->count && good; i++) {
        good = w->nodes[i].left || node_bytes_are_good(&a, i, stored);
    }
    free(stored);
    return good;
}
