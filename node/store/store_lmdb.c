/* Tables as named databases of one LMDB environment. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "errors.h"
#include "heap.h"
#include "store_impl.h"

#define PATH_SIZE 4096
#define READERS_MAX 126 /* LMDB's own default: pool threads and open views stay far below */
#define MAP_STEP 65536  /* the map is a multiple of every page size in use */
#define LOCK_NAME "exclusive.lock"
#define FORMAT_TABLE "format"
#define FORMAT_KEY "format"
#define FORMAT_VALUE "shoal store 2"

struct lmdb_store {
    struct store base;
    MDB_env *env;
    int lock_fd;
    MDB_dbi tables[TABLE_COUNT];
    struct heap heap;
};

struct lmdb_txn {
    struct txn base;
    struct lmdb_store *store;
    MDB_txn *txn;
    struct heap_txn heap;
    MDB_cursor *cursors[TABLE_COUNT]; /* opened when first needed */
};

/* Codes of LMDB are negative, those of the system positive. */
static int lmdb_error(int rc) {
    static const struct {
        int rc;
        int error;
    } table[] = {
        {MDB_SUCCESS, 0},
        {MDB_NOTFOUND, ERR_NOT_FOUND},
        {MDB_MAP_FULL, ERR_NO_SPACE},
        {ENOSPC, ERR_NO_SPACE},
        {EDQUOT, ERR_NO_SPACE},
        {EFBIG, ERR_NO_SPACE},
        {MDB_CORRUPTED, ERR_CORRUPT},
        {MDB_PAGE_NOTFOUND, ERR_CORRUPT},
        {MDB_INVALID, ERR_CORRUPT},
        {MDB_VERSION_MISMATCH, ERR_VERSION},
        {MDB_INCOMPATIBLE, ERR_VERSION},
        {MDB_READERS_FULL, ERR_BUSY},
        {ENOMEM, ERR_NOMEM},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].rc == rc) {
            return table[i].error;
        }
    }
    return ERR_IO;
}

static struct slice to_slice(MDB_val v) {
    return (struct slice){v.mv_data, v.mv_size};
}

/* LMDB takes a pointer to writable bytes and does not write to them. */
static MDB_val to_val(struct slice s) {
    union {
        const void *in;
        void *out;
    } bytes = {.in = s.bytes};
    return (MDB_val){.mv_size = s.size, .mv_data = bytes.out};
}

/* ---- transactions ---- */

static struct lmdb_txn *lmdb_txn_of(struct txn *t) {
    return (struct lmdb_txn *)t;
}

/* A writer goes through a cursor for everything: from where it stands, LMDB finds a key on the same page without coming
 * down from the root again, and most keys are: a row that was read is written, rows of one client lie side by side. */
static int cursor_of(struct lmdb_txn *t, enum txn_table table, MDB_cursor **ret_cursor) {
    MDB_cursor **c = &t->cursors[table];
    int rc = *c ? 0 : mdb_cursor_open(t->txn, t->store->tables[table], c);
    *ret_cursor = *c;
    return rc;
}

/* From what a row of a table that the heap serves holds, to its value. */
static int follow(struct lmdb_txn *t, enum txn_table table, const MDB_val *key, MDB_val *value) {
    MDB_val stored = *value;
    return heap_follow(&t->heap, table, key, &stored, value);
}

static int lmdb_txn_get(struct txn *base, enum txn_table table, struct slice key, struct slice *ret_value) {
    struct lmdb_txn *t = lmdb_txn_of(base);
    MDB_cursor *cursor;
    MDB_val k = to_val(key);
    MDB_val v;
    int rc = 0;
    if (base->write) {
        rc = cursor_of(t, table, &cursor);
        rc = rc ? rc : mdb_cursor_get(cursor, &k, &v, MDB_SET);
    } else {
        rc = mdb_get(t->txn, t->store->tables[table], &k, &v);
    }
    if (rc == 0 && heap_serves(table)) {
        rc = follow(t, table, &k, &v);
    }
    if (rc == 0) {
        *ret_value = to_slice(v);
    }
    return lmdb_error(rc);
}

static int lmdb_txn_put(struct txn *base, enum txn_table table, struct slice key, struct slice value) {
    struct lmdb_txn *t = lmdb_txn_of(base);
    MDB_cursor *cursor;
    MDB_val k = to_val(key);
    MDB_val v = to_val(value);
    int rc = cursor_of(t, table, &cursor);
    if (rc == 0) {
        rc = heap_serves(table) ? heap_put(&t->heap, table, cursor, &k, &v) : mdb_cursor_put(cursor, &k, &v, 0);
    }
    return lmdb_error(rc);
}

static int lmdb_txn_del(struct txn *base, enum txn_table table, struct slice key) {
    struct lmdb_txn *t = lmdb_txn_of(base);
    MDB_cursor *cursor;
    MDB_val k = to_val(key);
    MDB_val stored;
    int rc = cursor_of(t, table, &cursor);
    rc = rc ? rc : mdb_cursor_get(cursor, &k, &stored, MDB_SET);
    if (rc == 0 && heap_serves(table)) {
        rc = heap_forget(&t->heap, &k, &stored);
    }
    return lmdb_error(rc ? rc : mdb_cursor_del(cursor, 0));
}

static int lmdb_txn_seek(struct txn *base, enum txn_table table, struct slice key, struct slice *ret_key,
                         struct slice *ret_value) {
    struct lmdb_txn *t = lmdb_txn_of(base);
    MDB_cursor *cursor;
    MDB_val k = to_val(key);
    MDB_val v;
    int rc = cursor_of(t, table, &cursor);
    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &k, &v, key.size > 0 ? MDB_SET_RANGE : MDB_FIRST);
    }
    if (rc == 0 && heap_serves(table)) {
        rc = follow(t, table, &k, &v);
    }
    if (rc == 0) {
        *ret_key = to_slice(k);
        *ret_value = to_slice(v);
    }
    return lmdb_error(rc);
}

/* Cursors of a write transaction must be closed before it ends, those of a read transaction by their owner. */
static void close_cursors(struct lmdb_txn *t) {
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (t->cursors[i]) {
            mdb_cursor_close(t->cursors[i]);
            t->cursors[i] = NULL;
        }
    }
}

/* The tables that the heap serves get cursors, for what it moves. */
static int prepare(struct lmdb_txn *t) {
    MDB_cursor *cursor;
    int rc = 0;
    for (enum txn_table table = 0; table < TABLE_COUNT && rc == 0; table++) {
        rc = heap_serves(table) ? cursor_of(t, table, &cursor) : 0;
    }
    return rc ? rc : heap_prepare(&t->heap, t->cursors);
}

static int lmdb_txn_commit(struct txn *base) {
    struct lmdb_txn *t = lmdb_txn_of(base);
    int rc = base->write ? prepare(t) : 0;
    close_cursors(t);
    if (rc == 0) {
        rc = mdb_txn_commit(t->txn);
    } else {
        mdb_txn_abort(t->txn);
    }
    heap_end(&t->heap, rc == 0);
    free(t);
    return lmdb_error(rc);
}

static void lmdb_txn_abort(struct txn *base) {
    struct lmdb_txn *t = lmdb_txn_of(base);
    close_cursors(t);
    mdb_txn_abort(t->txn);
    heap_end(&t->heap, false);
    free(t);
}

static const struct txn_ops lmdb_txn_ops = {
    .get = lmdb_txn_get,
    .put = lmdb_txn_put,
    .del = lmdb_txn_del,
    .seek = lmdb_txn_seek,
    .commit = lmdb_txn_commit,
    .abort = lmdb_txn_abort,
};

static int lmdb_store_begin(struct store *base, bool write, struct txn **ret_txn) {
    struct lmdb_store *s = (struct lmdb_store *)base;
    struct lmdb_txn *t = calloc(1, sizeof(*t));
    if (!t) {
        return ERR_NOMEM;
    }
    t->base = (struct txn){.ops = &lmdb_txn_ops, .write = write};
    t->store = s;
    int rc = mdb_txn_begin(s->env, NULL, write ? 0 : MDB_RDONLY, &t->txn);
    if (rc != 0) {
        free(t);
        return lmdb_error(rc);
    }
    heap_begin(&t->heap, &s->heap, t->txn, write);
    *ret_txn = &t->base;
    return 0;
}

/* ---- sizes ---- */

static uint64_t stat_bytes(const MDB_stat *stat) {
    return (stat->ms_branch_pages + stat->ms_leaf_pages + stat->ms_overflow_pages) * (uint64_t)stat->ms_psize;
}

/* Pages of the tables. Pages that were freed count as room: later transactions use them. */
static bool look_at_used(const struct lmdb_store *s, uint64_t *ret_used) {
    MDB_txn *txn;
    MDB_stat stat;
    uint64_t used = 0;
    if (mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn) != 0) {
        return false;
    }
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (mdb_stat(txn, s->tables[i], &stat) == 0) {
            used += stat_bytes(&stat);
        }
    }
    const MDB_dbi heap[] = {s->heap.segments, s->heap.usage};
    for (size_t i = 0; i < HEAP_DBS; i++) {
        if (mdb_stat(txn, heap[i], &stat) == 0) {
            used += stat_bytes(&stat);
        }
    }
    mdb_txn_abort(txn);
    *ret_used = used;
    return true;
}

static uint64_t lmdb_store_used_bytes(const struct store *base) {
    uint64_t used;
    return look_at_used((const struct lmdb_store *)base, &used) ? used : 0;
}

/* The pages that list the free ones, and those of the tables' names, are counted as spare: they are few. */
static uint64_t lmdb_store_spare_bytes(const struct store *base) {
    const struct lmdb_store *s = (const struct lmdb_store *)base;
    uint64_t used;
    MDB_envinfo info;
    MDB_stat stat;
    CHECK(mdb_env_info(s->env, &info) == 0 && mdb_env_stat(s->env, &stat) == 0);
    uint64_t file = (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
    return look_at_used(s, &used) && file > used ? file - used : 0;
}

static uint64_t lmdb_store_map_bytes(const struct store *base) {
    const struct lmdb_store *s = (const struct lmdb_store *)base;
    MDB_envinfo info;
    CHECK(mdb_env_info(s->env, &info) == 0);
    return info.me_mapsize;
}

/* ---- opening and closing ---- */

static void lmdb_store_close(struct store *base) {
    struct lmdb_store *s = (struct lmdb_store *)base;
    if (s->env) {
        mdb_env_close(s->env);
    }
    if (s->lock_fd >= 0) {
        close(s->lock_fd);
    }
    free(s);
}

static const struct store_ops lmdb_store_ops = {
    .begin = lmdb_store_begin,
    .close = lmdb_store_close,
    .used_bytes = lmdb_store_used_bytes,
    .spare_bytes = lmdb_store_spare_bytes,
    .map_bytes = lmdb_store_map_bytes,
};

/* flock belongs to the open file, so this keeps out other processes as well as a second opening by this one; the
 * kernel gives it back however the process ends. */
static int lock_directory(const char *path, int *ret_fd) {
    char name[PATH_SIZE];
    int length = snprintf(name, sizeof(name), "%s/%s", path, LOCK_NAME);
    if (length < 0 || (size_t)length >= sizeof(name)) {
        return ERR_INVALID;
    }
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return lmdb_error(errno);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int status = errno == EWOULDBLOCK ? ERR_IN_USE : ERR_IO;
        close(fd);
        return status;
    }
    *ret_fd = fd;
    return 0;
}

static int sync_path(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return ERR_IO;
    }
    int status = fsync(fd) == 0 ? 0 : ERR_IO;
    close(fd);
    return status;
}

/* LMDB syncs its files but not the directories that name them. */
static int sync_directories(const char *path) {
    char parent[PATH_SIZE];
    int length = snprintf(parent, sizeof(parent), "%s/..", path);
    if (length < 0 || (size_t)length >= sizeof(parent)) {
        return ERR_INVALID;
    }
    int status = sync_path(path);
    return status ? status : sync_path(parent);
}

/* The environment must be empty, and gets the record. */
static int write_format(MDB_txn *txn, MDB_val *key, MDB_val *value) {
    MDB_dbi dbi;
    MDB_stat stat;
    int rc = mdb_dbi_open(txn, NULL, 0, &dbi);
    rc = rc ? rc : mdb_stat(txn, dbi, &stat);
    if (rc == 0 && stat.ms_entries > 0) {
        return ERR_VERSION;
    }
    rc = rc ? rc : mdb_dbi_open(txn, FORMAT_TABLE, MDB_CREATE, &dbi);
    rc = rc ? rc : mdb_put(txn, dbi, key, value, 0);
    return lmdb_error(rc);
}

/* A new environment gets the format record; any other must have it. */
static int check_format(MDB_txn *txn) {
    MDB_dbi dbi;
    MDB_val key = to_val((struct slice){(const uint8_t *)FORMAT_KEY, strlen(FORMAT_KEY)});
    MDB_val wanted = to_val((struct slice){(const uint8_t *)FORMAT_VALUE, strlen(FORMAT_VALUE)});
    MDB_val found;
    int rc = mdb_dbi_open(txn, FORMAT_TABLE, 0, &dbi);
    if (rc == 0) {
        rc = mdb_get(txn, dbi, &key, &found);
        bool same =
            rc == 0 && found.mv_size == wanted.mv_size && memcmp(found.mv_data, wanted.mv_data, wanted.mv_size) == 0;
        return rc == MDB_NOTFOUND || (rc == 0 && !same) ? ERR_VERSION : lmdb_error(rc);
    }
    return rc == MDB_NOTFOUND ? write_format(txn, &key, &wanted) : lmdb_error(rc);
}

static int open_tables(struct lmdb_store *s) {
    MDB_txn *txn = NULL;
    int status = lmdb_error(mdb_txn_begin(s->env, NULL, 0, &txn));
    if (status != 0) {
        return status;
    }
    status = check_format(txn);
    for (size_t i = 0; i < TABLE_COUNT && status == 0; i++) {
        status = lmdb_error(mdb_dbi_open(txn, txn_table_name(i), MDB_CREATE, &s->tables[i]));
    }
    status = status ? status : lmdb_error(heap_open(&s->heap, txn));
    if (status != 0) {
        mdb_txn_abort(txn);
        return status;
    }
    return lmdb_error(mdb_txn_commit(txn));
}

static int open_environment(struct lmdb_store *s, const char *path, uint64_t map_size, unsigned flags) {
    int rc = mdb_env_create(&s->env);
    if (rc != 0) {
        s->env = NULL;
        return lmdb_error(rc);
    }
    rc = mdb_env_set_mapsize(s->env, (map_size + MAP_STEP - 1) / MAP_STEP * MAP_STEP);
    rc = rc ? rc : mdb_env_set_maxdbs(s->env, TABLE_COUNT + 1 + HEAP_DBS);
    rc = rc ? rc : mdb_env_set_maxreaders(s->env, READERS_MAX);
    /* NOTLS: a read transaction belongs to its owner, not to the thread that began it. */
    rc = rc ? rc : mdb_env_open(s->env, path, MDB_NOTLS | flags, 0600);
    CHECK(rc != 0 || mdb_env_get_maxkeysize(s->env) >= TXN_KEY_MAX);
    return lmdb_error(rc);
}

static int open_store(const char *path, uint64_t map_size, unsigned flags, struct store **ret_store) {
    CHECK(map_size > 0);
    CHECK(map_size < UINT64_MAX - MAP_STEP);
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return lmdb_error(errno);
    }
    struct lmdb_store *s = calloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->base.ops = &lmdb_store_ops;
    s->lock_fd = -1;
    int status = lock_directory(path, &s->lock_fd);
    status = status ? status : open_environment(s, path, map_size, flags);
    status = status ? status : open_tables(s);
    status = status ? status : sync_directories(path);
    if (status != 0) {
        lmdb_store_close(&s->base);
        return status;
    }
    *ret_store = &s->base;
    return 0;
}

int store_open_lmdb(const char *path, uint64_t map_size, struct store **ret_store) {
    return open_store(path, map_size, 0, ret_store);
}

/* LMDB's lock is one between threads and processes: the former are the caller's matter, the latter exclusive.lock's.
 * What is read may have been left in the kernel's memory by a process that was killed; the caller takes it for durable.
 */
int store_open_lmdb_alone(const char *path, uint64_t map_size, struct store **ret_store) {
    int status = open_store(path, map_size, MDB_NOLOCK, ret_store);
    if (status == 0) {
        status = lmdb_error(mdb_env_sync(((struct lmdb_store *)*ret_store)->env, 1));
        if (status != 0) {
            store_close(*ret_store);
            *ret_store = NULL;
        }
    }
    return status;
}
