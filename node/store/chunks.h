/* How a chunk lies in the CHUNKS table: as pieces that fill LMDB pages exactly. Key: digest (32 bytes) and a piece
 * number (1 byte). Piece 0 holds the length and the first CHUNK_HEAD bytes, each following piece CHUNK_PIECE bytes
 * (16 pages less LMDB's 16-byte header of an overflow run). */
#ifndef SHOAL_CHUNKS_H
#define SHOAL_CHUNKS_H

#include "digest.h"
#include "txn.h"

#define CHUNK_HEADER_SIZE 16                                   /* format, flags, plain length */
#define CHUNK_PLAIN_MAX 1048576                                /* content bytes of one chunk */
#define CHUNK_STORED_MAX (CHUNK_PLAIN_MAX + CHUNK_HEADER_SIZE) /* what the digest covers and what is stored */
#define CHUNK_PIECE 65520

/* Header: "SHC1", flags u32 BE (0: plain), plain length u64 BE. */
void chunk_header_encode(uint8_t out[CHUNK_HEADER_SIZE], uint32_t flags, uint64_t plain_size);
/* ERR_CORRUPT when it is not such a header or disagrees with stored_size. */
int chunk_header_decode(const uint8_t *stored, size_t stored_size, uint32_t *ret_flags, uint64_t *ret_plain_size);

/* stored is the header and the content, and must match the digest. Storing what is there already writes nothing; a
 * copy that differs is damaged, and is replaced. */
int chunk_put(struct txn *t, const struct digest *d, const uint8_t *stored, size_t size);
int chunk_has(struct txn *t, const struct digest *d); /* 0, ERR_NOT_FOUND */
/* Copies the stored bytes to out (CHUNK_STORED_MAX is always enough; ERR_TOO_LARGE when capacity is not).
 * ERR_NOT_FOUND; ERR_CORRUPT when pieces are missing or of the wrong length. The digest is not checked here. */
int chunk_get(struct txn *t, const struct digest *d, uint8_t *out, size_t capacity, size_t *ret_size);
int chunk_del(struct txn *t, const struct digest *d); /* ERR_NOT_FOUND */
/* The first chunk whose digest is > *after (NULL: the first one). ERR_NOT_FOUND at the end. */
int chunk_next(struct txn *t, const struct digest *after, struct digest *ret_digest);

#endif
