/* A write-ahead log in files that are used over and over: what an environment must have on disk at once, with one
 * sequential write and one flush for each record.
 *
 * A file holds one segment, its blocks are there before they are written, and a segment that is needed no more gives
 * its file to a later one: so a flush has data to write and, but for a file's first use, no metadata of the file
 * system.
 *
 *   file "wal-N":  block 0: magic (16), segment (8), first (8), salt (8), checksum (8)
 *                  then records, each from the start of a block: salt (8), segment (8), number (8), size (4), 0 (4),
 *                  checksum (8), body (size)
 *
 * Numbers of segments and of records count up by one. Integers are big-endian; a checksum is CRC-64 (ECMA-182) over
 * what is before it and, of a record, its body. The salt is drawn for each segment, so that nothing a user stores can
 * look like a record.
 *
 * At an opening, a record that does not match ends its segment: it is the write that a crash interrupted, and nobody
 * was told that it is durable. (Damage to the very last record looks the same.) Anything else that is missing is
 * damage, and reported: the owner says which segments must be there (`struct wal_mark`), numbers have no gaps, and
 * nothing that matches follows in the segment.
 *
 * For one thread. A failed write or flush is final: whether what was given to the disk before is there is not known any
 * more, so every later call returns the error again. */
#ifndef SHOAL_WAL_H
#define SHOAL_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wal;

/* What the owner keeps durably outside of the log. All 0: a log that has never been marked. */
struct wal_mark {
    uint64_t last;    /* record: what the owner need not see again */
    uint64_t segment; /* in use when the mark was made */
    uint64_t oldest;  /* segment: it and all after it are needed */
};

struct wal_record {
    uint64_t number;
    uint64_t segment;
    uint32_t offset; /* of the body, in the file */
    const uint8_t *body;
    uint32_t size;
};

typedef int wal_visit(void *ctx, const struct wal_record *record);

/* Opens the log in directory `path`, which exists; a segment ends with the record that passes segment_bytes. Checks
 * every record from mark->oldest on. ERR_CORRUPT, ERR_IO, ERR_NOMEM. */
int wal_open(const char *path, uint32_t segment_bytes, const struct wal_mark *mark, struct wal **ret_wal);
void wal_close(struct wal *w); /* NULL is fine */

/* Calls visit for every record after number `after`, in order, until it returns an error. body is valid until
 * wal_forget. */
int wal_scan(struct wal *w, uint64_t after, wal_visit *visit, void *ctx);

/* The same for all records of the oldest segment that is needed. */
int wal_scan_oldest(struct wal *w, wal_visit *visit, void *ctx);

/* The next segment begins when the one in use is full, or there is none. Then the owner makes the mark durable, and
 * says so by wal_marked: only from then on may records be written, and files of segments before mark->oldest be used
 * again. ERR_NO_SPACE, ERR_IO, ERR_NOMEM. */
bool wal_turn_due(const struct wal *w);
int wal_turn(struct wal *w);
void wal_marked(struct wal *w, const struct wal_mark *mark);

/* The record being made: begin, append, then write it or begin again. wal_append tells where the bytes will lie in the
 * file. An error is sticky until the next wal_begin. ERR_NOMEM, ERR_TOO_LARGE. */
int wal_begin(struct wal *w);
int wal_append(struct wal *w, const void *bytes, size_t size, uint32_t *ret_offset);
size_t wal_pending_bytes(const struct wal *w);
int wal_write(struct wal *w); /* durable when it returns 0. ERR_NO_SPACE, ERR_IO, ERR_NOMEM, ERR_TOO_LARGE */

/* Bytes of a record, the one being made included. Valid until the next wal_append or wal_forget. ERR_IO, ERR_NOMEM. */
int wal_bytes(struct wal *w, uint64_t segment, uint32_t offset, uint32_t size, const uint8_t **ret_bytes);
void wal_forget(struct wal *w); /* what was read is not needed any more */

/* How much of a segment is needed, as the owner counts it. wal_trim lets go of the oldest segments of which nothing is.
 */
void wal_need(struct wal *w, uint64_t segment, uint64_t bytes);
void wal_need_not(struct wal *w, uint64_t segment, uint64_t bytes);
void wal_trim(struct wal *w);

uint64_t wal_segment(const struct wal *w); /* in use */
uint64_t wal_oldest(const struct wal *w);
uint64_t wal_last(const struct wal *w);         /* number of the last record */
uint64_t wal_used_bytes(const struct wal *w);   /* of all files */
uint64_t wal_needed_bytes(const struct wal *w); /* as the owner counts them */

#endif
