/* The in-memory twin: each table is a treap (Seidel and Aragon, "Randomized Search Trees", 1996) whose priorities are
 * hashes of the keys, so that its shape depends on its content alone. Nodes are shared between snapshots and counted:
 * a transaction starts with a reference to every root, and a node that anything else refers to is copied before it is
 * changed. So a snapshot costs nothing, an abort drops the changed roots, and a commit replaces the store's.
 *
 * For simulations, and for what a larger store has to find again: one thread, and the process aborts when memory runs
 * out. */
#include "store.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "check.h"
#include "errors.h"
#include "store_impl.h"

#define MEM_MAP_BYTES ((uint64_t)1 << 40) /* nominal: the host's memory is the real limit */

/* A key and its value: never changed (but by store_mem_flip), shared by all copies of its node. */
struct item {
    uint32_t refs;
    uint32_t key_size;
    uint32_t value_size;
    uint8_t bytes[]; /* key, value */
};

struct node {
    uint32_t refs;
    uint32_t priority;
    uint64_t prefix; /* first 8 bytes of the key: decides most comparisons without touching the item */
    struct node *left;
    struct node *right;
    struct item *item;
};

struct mem_store {
    struct store base;
    struct node *roots[TABLE_COUNT];
    uint64_t used_bytes;
    bool writing;
    size_t open_txns;
};

struct mem_txn {
    struct txn base;
    struct mem_store *store;
    struct node *roots[TABLE_COUNT];
    uint64_t used_bytes;
};

/* ---- items ---- */

static struct slice item_key(const struct item *i) {
    return (struct slice){i->bytes, i->key_size};
}

static struct slice item_value(const struct item *i) {
    return (struct slice){i->bytes + i->key_size, i->value_size};
}

static uint64_t item_bytes(const struct item *i) {
    return (uint64_t)i->key_size + i->value_size;
}

static struct item *item_new(struct slice key, struct slice value) {
    CHECK(key.size <= TXN_KEY_MAX);
    CHECK(value.size <= TXN_VALUE_MAX);
    struct item *i = malloc(sizeof(*i) + key.size + value.size);
    CHECK(i);
    *i = (struct item){.refs = 1, .key_size = (uint32_t)key.size, .value_size = (uint32_t)value.size};
    memcpy(i->bytes, key.bytes, key.size);
    if (value.size > 0) {
        memcpy(i->bytes + key.size, value.bytes, value.size);
    }
    return i;
}

static void item_unref(struct item *i) {
    CHECK(i->refs > 0);
    if (--i->refs == 0) {
        free(i);
    }
}

/* ---- nodes ---- */

/* Zero-padded, which keeps the order of memcmp: a shorter key comes first. */
static uint64_t key_prefix(struct slice key) {
    if (key.size >= 8) {
        return get_u64(key.bytes);
    }
    uint8_t padded[8] = {0};
    if (key.size > 0) {
        memcpy(padded, key.bytes, key.size);
    }
    return get_u64(padded);
}

/* FNV-1a, its bits mixed by the finaliser of MurmurHash3: balance needs every bit to depend on every byte. */
static uint32_t key_priority(struct slice key) {
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < key.size; i++) {
        hash = (hash ^ key.bytes[i]) * 0x100000001b3ULL;
    }
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdULL;
    hash ^= hash >> 33;
    return (uint32_t)hash;
}

static int key_compare(struct slice key, uint64_t prefix, const struct node *n) {
    if (prefix != n->prefix) {
        return prefix < n->prefix ? -1 : 1;
    }
    size_t common = key.size < n->item->key_size ? key.size : n->item->key_size;
    int order = memcmp(key.bytes, n->item->bytes, common);
    if (order != 0) {
        return order;
    }
    return (key.size > n->item->key_size) - (key.size < n->item->key_size);
}

static struct node *node_new(struct slice key, struct item *item) {
    struct node *n = malloc(sizeof(*n));
    CHECK(n);
    *n = (struct node){.refs = 1, .priority = key_priority(key), .prefix = key_prefix(key), .item = item};
    return n;
}

static struct node *node_ref(struct node *n) {
    if (n) {
        CHECK(n->refs < UINT32_MAX);
        n->refs++;
    }
    return n;
}

static void node_unref(struct node *n) {
    while (n) {
        CHECK(n->refs > 0);
        if (--n->refs > 0) {
            return;
        }
        struct node *right = n->right;
        node_unref(n->left);
        item_unref(n->item);
        free(n);
        n = right;
    }
}

/* Trades a reference to n for one to a node of the same content that nobody else refers to. */
static struct node *node_own(struct node *n) {
    CHECK(n->refs > 0);
    if (n->refs == 1) {
        return n;
    }
    struct node *copy = malloc(sizeof(*copy));
    CHECK(copy);
    *copy = *n;
    copy->refs = 1;
    copy->item->refs++;
    node_ref(copy->left);
    node_ref(copy->right);
    n->refs--;
    return copy;
}

/* ---- trees: each function takes over the references it is given and returns one ---- */

/* `added` is put in; *ret_replaced gets the item it replaces, to be unreferenced, or NULL. */
static struct node *tree_insert(struct node *n, struct node *added, struct item **ret_replaced) {
    if (!n) {
        return added;
    }
    n = node_own(n);
    int order = key_compare(item_key(added->item), added->prefix, n);
    if (order == 0) {
        *ret_replaced = n->item;
        n->item = added->item;
        free(added);
        return n;
    }
    struct node **side = order < 0 ? &n->left : &n->right;
    struct node *child = tree_insert(*side, added, ret_replaced);
    *side = child;
    if (child->priority <= n->priority) {
        return n;
    }
    /* Rotate; the child was just owned, so both may be changed. */
    CHECK(child->refs == 1);
    if (order < 0) {
        n->left = child->right;
        child->right = n;
    } else {
        n->right = child->left;
        child->left = n;
    }
    return child;
}

/* Every key of a is less than every key of b. */
static struct node *tree_join(struct node *a, struct node *b) {
    if (!a || !b) {
        return a ? a : b;
    }
    if (a->priority > b->priority) {
        a = node_own(a);
        a->right = tree_join(a->right, b);
        return a;
    }
    b = node_own(b);
    b->left = tree_join(a, b->left);
    return b;
}

/* The key must be there. */
static struct node *tree_remove(struct node *n, struct slice key, uint64_t prefix) {
    CHECK(n);
    n = node_own(n);
    int order = key_compare(key, prefix, n);
    if (order == 0) {
        struct node *rest = tree_join(n->left, n->right);
        n->left = NULL;
        n->right = NULL;
        node_unref(n);
        return rest;
    }
    struct node **side = order < 0 ? &n->left : &n->right;
    *side = tree_remove(*side, key, prefix);
    return n;
}

static struct item *tree_find(const struct node *n, struct slice key) {
    uint64_t prefix = key_prefix(key);
    while (n) {
        int order = key_compare(key, prefix, n);
        if (order == 0) {
            return n->item;
        }
        n = order < 0 ? n->left : n->right;
    }
    return NULL;
}

/* The first item whose key is >= key; an empty key compares less than all. */
static struct item *tree_seek(const struct node *n, struct slice key) {
    uint64_t prefix = key_prefix(key);
    struct item *found = NULL;
    while (n) {
        if (key.size == 0 || key_compare(key, prefix, n) <= 0) {
            found = n->item;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return found;
}

/* ---- transactions ---- */

static int mem_txn_get(struct txn *base, enum txn_table table, struct slice key, struct slice *ret_value) {
    const struct mem_txn *t = (struct mem_txn *)base;
    const struct item *i = tree_find(t->roots[table], key);
    if (!i) {
        return ERR_NOT_FOUND;
    }
    *ret_value = item_value(i);
    return 0;
}

static int mem_txn_put(struct txn *base, enum txn_table table, struct slice key, struct slice value) {
    struct mem_txn *t = (struct mem_txn *)base;
    struct item *item = item_new(key, value);
    struct item *replaced = NULL;
    t->used_bytes += item_bytes(item);
    t->roots[table] = tree_insert(t->roots[table], node_new(key, item), &replaced);
    if (replaced) {
        CHECK(t->used_bytes >= item_bytes(replaced));
        t->used_bytes -= item_bytes(replaced);
        item_unref(replaced);
    }
    return 0;
}

static int mem_txn_del(struct txn *base, enum txn_table table, struct slice key) {
    struct mem_txn *t = (struct mem_txn *)base;
    struct item *i = tree_find(t->roots[table], key);
    if (!i) {
        return ERR_NOT_FOUND;
    }
    CHECK(t->used_bytes >= item_bytes(i));
    t->used_bytes -= item_bytes(i);
    /* Kept to the end: the caller may have given the item's own key. */
    i->refs++;
    t->roots[table] = tree_remove(t->roots[table], key, key_prefix(key));
    item_unref(i);
    return 0;
}

static int mem_txn_seek(struct txn *base, enum txn_table table, struct slice key, struct slice *ret_key,
                        struct slice *ret_value) {
    const struct mem_txn *t = (struct mem_txn *)base;
    const struct item *i = tree_seek(t->roots[table], key);
    if (!i) {
        return ERR_NOT_FOUND;
    }
    *ret_key = item_key(i);
    *ret_value = item_value(i);
    return 0;
}

static void mem_txn_abort(struct txn *base) {
    struct mem_txn *t = (struct mem_txn *)base;
    CHECK(t->store->open_txns > 0);
    t->store->open_txns--;
    if (base->write) {
        CHECK(t->store->writing);
        t->store->writing = false;
    }
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        node_unref(t->roots[i]);
    }
    free(t);
}

/* Trades roots with the store, so that ending the transaction lets go of the old state. */
static int mem_txn_commit(struct txn *base) {
    struct mem_txn *t = (struct mem_txn *)base;
    struct mem_store *s = t->store;
    if (base->write) {
        for (size_t i = 0; i < TABLE_COUNT; i++) {
            struct node *old = s->roots[i];
            s->roots[i] = t->roots[i];
            t->roots[i] = old;
        }
        s->used_bytes = t->used_bytes;
    }
    mem_txn_abort(base);
    return 0;
}

static const struct txn_ops mem_txn_ops = {
    .get = mem_txn_get,
    .put = mem_txn_put,
    .del = mem_txn_del,
    .seek = mem_txn_seek,
    .commit = mem_txn_commit,
    .abort = mem_txn_abort,
};

/* ---- the store ---- */

static int mem_store_begin(struct store *base, bool write, struct txn **ret_txn) {
    struct mem_store *s = (struct mem_store *)base;
    CHECK(!write || !s->writing); /* where LMDB would wait for ever */
    struct mem_txn *t = calloc(1, sizeof(*t));
    CHECK(t);
    t->base = (struct txn){.ops = &mem_txn_ops, .write = write};
    t->store = s;
    t->used_bytes = s->used_bytes;
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        t->roots[i] = node_ref(s->roots[i]);
    }
    s->open_txns++;
    s->writing = s->writing || write;
    *ret_txn = &t->base;
    return 0;
}

static void mem_store_close(struct store *base) {
    struct mem_store *s = (struct mem_store *)base;
    CHECK(s->open_txns == 0);
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        node_unref(s->roots[i]);
    }
    free(s);
}

static uint64_t mem_store_used_bytes(const struct store *base) {
    return ((const struct mem_store *)base)->used_bytes;
}

static uint64_t mem_store_map_bytes(const struct store *base) {
    (void)base;
    return MEM_MAP_BYTES;
}

static const struct store_ops mem_store_ops = {
    .begin = mem_store_begin,
    .close = mem_store_close,
    .used_bytes = mem_store_used_bytes,
    .map_bytes = mem_store_map_bytes,
};

int store_mem_flip(struct store *s, enum txn_table table, struct slice key, uint64_t bit) {
    struct mem_store *mem = (struct mem_store *)s;
    CHECK(s->ops == &mem_store_ops);
    CHECK(table < TABLE_COUNT && key.size > 0 && key.size <= TXN_KEY_MAX);
    struct item *i = tree_find(mem->roots[table], key);
    if (!i || i->value_size == 0) {
        return ERR_NOT_FOUND;
    }
    uint64_t at = bit % ((uint64_t)i->value_size * 8);
    i->bytes[i->key_size + at / 8] ^= (uint8_t)(1u << at % 8);
    return 0;
}

int store_open_mem(struct store **ret_store) {
    struct mem_store *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->base.ops = &mem_store_ops;
    *ret_store = &s->base;
    return 0;
}
