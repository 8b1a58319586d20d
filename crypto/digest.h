/* BLAKE2b-256 (RFC 7693, unkeyed unless said), the digest of everything Shoal stores or names. */
#ifndef SHOAL_DIGEST_H
#define SHOAL_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_SIZE 32

struct digest {
    uint8_t bytes[DIGEST_SIZE];
};

struct digest_part {
    const void *bytes;
    size_t size;
};

void digest_of(const void *bytes, size_t size, struct digest *out);
/* Digest of the concatenation of `count` parts, each preceded by its length (8 bytes, big-endian), so that
 * ("ab","c") and ("a","bc") differ. */
void digest_of_parts(const struct digest_part *parts, size_t count, struct digest *out);
/* Keyed BLAKE2b-256 over `size` bytes: a MAC. key is 32 bytes. */
void digest_keyed(const uint8_t key[32], const void *bytes, size_t size, struct digest *out);
int digest_equal(const struct digest *a, const struct digest *b); /* constant time; 1 when equal */

#define HEX_SIZE(bytes) (2 * (bytes) + 1)
/* Lower-case hex with a terminating zero; `out` holds HEX_SIZE(size). */
void hex_encode(const uint8_t *bytes, size_t size, char *out);
/* Exactly `size` bytes from a terminated text of exactly 2*size hex digits (either case). ERR_INVALID otherwise. */
int hex_decode(const char *text, size_t size, uint8_t *out);

#endif
