/* Tickets: the text that lets one more node join. Contents: swarm id, the inviter's key, addresses, token id,
 * secret, expiry. Text form: "shoal1" + unpadded URL-safe base64 of a binary body that ends in a 4-byte checksum
 * (first bytes of its BLAKE2b-256), so that a mistyped ticket is refused before anything is dialled. */
#ifndef SHOAL_TICKET_H
#define SHOAL_TICKET_H

#include "digest.h"

#define SWARM_ID_SIZE 32
#define TICKET_ID_SIZE 16
#define TICKET_SECRET_SIZE 32
#define TICKET_ADDRS_MAX 8
#define TICKET_ADDR_SIZE 128 /* "host:port" with its terminator */
#define TICKET_TEXT_MAX 2048

struct ticket {
    uint8_t swarm[SWARM_ID_SIZE];
    uint8_t inviter[32]; /* Ed25519 */
    uint8_t id[TICKET_ID_SIZE];
    uint8_t secret[TICKET_SECRET_SIZE];
    uint64_t expires_ms; /* since 1970 */
    uint32_t addr_count;
    char addrs[TICKET_ADDRS_MAX][TICKET_ADDR_SIZE];
};

/* Text with its terminator. ERR_TOO_LARGE when `capacity` is short; ERR_INVALID when there is no address, too many,
 * or one is empty, unterminated or not of printable ASCII without spaces. */
int ticket_encode(const struct ticket *t, char *out, size_t capacity);
/* ERR_INVALID (not a ticket / damaged), ERR_VERSION. White space around the text is ignored. */
int ticket_decode(const char *text, size_t size, struct ticket *out);
void ticket_release(struct ticket *t); /* wipes */
/* What the root group keeps instead of the secret. */
void ticket_verifier(const uint8_t secret[TICKET_SECRET_SIZE], struct digest *out);
/* Proof of the secret, bound to one session by its handshake hash. */
void ticket_prove(const struct digest *verifier, const uint8_t handshake_hash[32], struct digest *out);

#endif
