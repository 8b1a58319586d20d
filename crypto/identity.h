/* Who a node is: an Ed25519 key pair, and the X25519 pair made from it that Noise uses.
 * Secrets are wiped by identity_release. Nothing here does IO: the key file is read and written by the caller. */
#ifndef SHOAL_IDENTITY_H
#define SHOAL_IDENTITY_H

#include "digest.h"

#define IDENTITY_PUBLIC_SIZE 32
#define IDENTITY_SEED_SIZE 32
#define IDENTITY_FILE_MAX 256

struct identity {
    uint8_t public_key[32]; /* Ed25519: this is the node's id */
    uint8_t seed[32];       /* Ed25519 seed, secret */
    uint8_t dh_public[32];  /* X25519 */
    uint8_t dh_secret[32];  /* X25519, secret */
};

/* Once per process before anything else of this folder (sodium_init). 0 or ERR_IO. */
int crypto_init(void);
/* From 32 random bytes. ERR_INVALID when the seed gives no usable key (never in practice). */
int identity_from_seed(const uint8_t seed[IDENTITY_SEED_SIZE], struct identity *out);
void identity_release(struct identity *id); /* wipes */
/* X25519 key of an Ed25519 public key; ERR_INVALID for a point that is not on the curve or of small order. */
int identity_dh_public(const uint8_t ed25519_public[32], uint8_t ret_x25519[32]);
/* The key file: one text line "shoal-identity-1 <hex seed>\n". Returns the length, not counting the terminator
 * that follows. */
size_t identity_encode(const struct identity *id, char out[IDENTITY_FILE_MAX]);
int identity_decode(const char *text, size_t size, struct identity *out); /* ERR_INVALID, ERR_VERSION */

#endif
