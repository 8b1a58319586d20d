#include "chunks.h"

#include <string.h>

#include "buf.h"
#include "check.h"
#include "errors.h"

#define CHUNK_MAGIC "SHC1"
#define CHUNK_MAGIC_SIZE 4
#define CHUNK_LENGTH_SIZE 8
#define CHUNK_HEAD (CHUNK_PIECE - CHUNK_LENGTH_SIZE) /* stored bytes in piece 0 */
#define CHUNK_PIECES_MAX (1 + (CHUNK_STORED_MAX - CHUNK_HEAD + CHUNK_PIECE - 1) / CHUNK_PIECE)
#define CHUNK_KEY_SIZE (DIGEST_SIZE + 1)

_Static_assert(CHUNK_PIECES_MAX <= UINT8_MAX, "the piece number is one byte");

void chunk_header_encode(uint8_t out[CHUNK_HEADER_SIZE], uint32_t flags, uint64_t plain_size) {
    CHECK(plain_size <= CHUNK_PLAIN_MAX);
    memcpy(out, CHUNK_MAGIC, CHUNK_MAGIC_SIZE);
    put_u32(out + 4, flags);
    put_u64(out + 8, plain_size);
}

int chunk_header_decode(const uint8_t *stored, size_t stored_size, uint32_t *ret_flags, uint64_t *ret_plain_size) {
    if (stored_size < CHUNK_HEADER_SIZE || stored_size > CHUNK_STORED_MAX ||
        memcmp(stored, CHUNK_MAGIC, CHUNK_MAGIC_SIZE) != 0) {
        return ERR_CORRUPT;
    }
    uint32_t flags = get_u32(stored + 4);
    uint64_t plain_size = get_u64(stored + 8);
    if (plain_size > CHUNK_PLAIN_MAX || (flags == 0 && plain_size != stored_size - CHUNK_HEADER_SIZE)) {
        return ERR_CORRUPT;
    }
    *ret_flags = flags;
    *ret_plain_size = plain_size;
    return 0;
}

static struct slice piece_key(const struct digest *d, size_t piece, uint8_t out[CHUNK_KEY_SIZE]) {
    CHECK(piece <= UINT8_MAX);
    memcpy(out, d->bytes, DIGEST_SIZE);
    out[DIGEST_SIZE] = (uint8_t)piece;
    return (struct slice){out, CHUNK_KEY_SIZE};
}

/* Stored bytes in a piece of a chunk of which `left` bytes are still to come. */
static size_t piece_bytes(size_t piece, size_t left) {
    size_t room = piece == 0 ? CHUNK_HEAD : CHUNK_PIECE;
    return left < room ? left : room;
}

/* 0 when exactly these bytes are there, ERR_NOT_FOUND when nothing is, ERR_CORRUPT when something else is. */
static int compare(struct txn *t, const struct digest *d, const uint8_t *stored, size_t size) {
    size_t at = 0;
    for (size_t piece = 0; at < size; piece++) {
        uint8_t key[CHUNK_KEY_SIZE];
        struct slice value;
        size_t bytes = piece_bytes(piece, size - at);
        size_t prefix = piece == 0 ? CHUNK_LENGTH_SIZE : 0;
        int status = txn_get(t, TABLE_CHUNKS, piece_key(d, piece, key), &value);
        if (status != 0) {
            return piece > 0 && status == ERR_NOT_FOUND ? ERR_CORRUPT : status;
        }
        if (value.size != prefix + bytes || (piece == 0 && get_u64(value.bytes) != size) ||
            memcmp(value.bytes + prefix, stored + at, bytes) != 0) {
            return ERR_CORRUPT;
        }
        at += bytes;
    }
    return 0;
}

static int put_first_piece(struct txn *t, const struct digest *d, const uint8_t *stored, size_t size) {
    uint8_t key[CHUNK_KEY_SIZE];
    uint8_t value[CHUNK_PIECE];
    size_t bytes = piece_bytes(0, size);
    put_u64(value, size);
    memcpy(value + CHUNK_LENGTH_SIZE, stored, bytes);
    return txn_put(t, TABLE_CHUNKS, piece_key(d, 0, key), (struct slice){value, CHUNK_LENGTH_SIZE + bytes});
}

int chunk_put(struct txn *t, const struct digest *d, const uint8_t *stored, size_t size) {
    uint8_t key[CHUNK_KEY_SIZE];
    CHECK(size >= CHUNK_HEADER_SIZE);
    CHECK(size <= CHUNK_STORED_MAX);
    int status = compare(t, d, stored, size);
    if (status == ERR_CORRUPT) {
        status = chunk_del(t, d);
        status = status == 0 ? ERR_NOT_FOUND : status;
    }
    if (status != ERR_NOT_FOUND) {
        return status;
    }
    status = put_first_piece(t, d, stored, size);
    size_t at = piece_bytes(0, size);
    for (size_t piece = 1; at < size && status == 0; piece++) {
        size_t bytes = piece_bytes(piece, size - at);
        status = txn_put(t, TABLE_CHUNKS, piece_key(d, piece, key), (struct slice){stored + at, bytes});
        at += bytes;
    }
    return status;
}

int chunk_has(struct txn *t, const struct digest *d) {
    uint8_t key[CHUNK_KEY_SIZE];
    struct slice value;
    return txn_get(t, TABLE_CHUNKS, piece_key(d, 0, key), &value);
}

/* The content of one piece, which must have exactly `bytes` bytes after the prefix. */
static int get_piece(struct txn *t, const struct digest *d, size_t piece, size_t bytes, uint8_t *out) {
    uint8_t key[CHUNK_KEY_SIZE];
    struct slice value;
    size_t prefix = piece == 0 ? CHUNK_LENGTH_SIZE : 0;
    int status = txn_get(t, TABLE_CHUNKS, piece_key(d, piece, key), &value);
    if (status == ERR_NOT_FOUND || (status == 0 && value.size != prefix + bytes)) {
        return ERR_CORRUPT;
    }
    if (status == 0) {
        memcpy(out, value.bytes + prefix, bytes);
    }
    return status;
}

int chunk_get(struct txn *t, const struct digest *d, uint8_t *out, size_t capacity, size_t *ret_size) {
    uint8_t key[CHUNK_KEY_SIZE];
    struct slice value;
    int status = txn_get(t, TABLE_CHUNKS, piece_key(d, 0, key), &value);
    if (status != 0) {
        return status;
    }
    uint64_t size = value.size < CHUNK_LENGTH_SIZE ? UINT64_MAX : get_u64(value.bytes);
    if (size > CHUNK_STORED_MAX) {
        return ERR_CORRUPT;
    }
    if (size > capacity) {
        return ERR_TOO_LARGE;
    }
    size_t at = 0;
    for (size_t piece = 0; (piece == 0 || at < size) && status == 0; piece++) {
        size_t bytes = piece_bytes(piece, size - at);
        status = get_piece(t, d, piece, bytes, out + at);
        at += bytes;
    }
    if (status == 0) {
        *ret_size = size;
    }
    return status;
}

int chunk_del(struct txn *t, const struct digest *d) {
    struct slice prefix = {d->bytes, DIGEST_SIZE};
    size_t deleted = 0;
    /* One more than there can be: fewer deleted than asked for means that none are left. */
    int status = txn_del_range(t, TABLE_CHUNKS, prefix, prefix, CHUNK_PIECES_MAX + 1, &deleted);
    if (status == 0 && deleted == 0) {
        return ERR_NOT_FOUND;
    }
    return status;
}

int chunk_next(struct txn *t, const struct digest *after, struct digest *ret_digest) {
    uint8_t last[CHUNK_KEY_SIZE];
    struct slice from = after ? piece_key(after, UINT8_MAX, last) : (struct slice){0};
    struct slice key;
    struct slice value;
    int status = txn_next(t, TABLE_CHUNKS, from, &key, &value);
    if (status != 0) {
        return status;
    }
    if (key.size != CHUNK_KEY_SIZE) {
        return ERR_CORRUPT;
    }
    memcpy(ret_digest->bytes, key.bytes, DIGEST_SIZE);
    return 0;
}
