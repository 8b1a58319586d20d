/* What simulated users store: bytes that follow from one number, so that a reader can tell from the first bytes what
 * all the others must be. */
#ifndef SHOAL_CONTENT_H
#define SHOAL_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes [offset, offset + size) of the content with this number. */
void content_fill(uint64_t number, uint64_t offset, uint8_t *out, size_t size);

struct content_reader {
    uint64_t size; /* announced */
    uint64_t got;
    uint64_t number;  /* from the first 8 bytes */
    bool torn;        /* bytes of different contents, too many, or too few */
    uint64_t torn_at; /* about where */
};
void content_reader_init(struct content_reader *r, uint64_t size);
void content_reader_add(struct content_reader *r, const uint8_t *bytes, size_t size);
/* What identifies the content that was read, never 0; contents of equal size under 8 bytes may share it. Sets torn
 * when bytes are missing. */
uint64_t content_reader_finish(struct content_reader *r);
/* The same for what is put. */
uint64_t content_identity(uint64_t number, uint64_t size);

#endif
