/* The Noise Protocol Framework (revision 34), patterns XX and IK over 25519 and SHA256, ciphers ChaChaPoly and
 * AESGCM. Pure: the ephemeral secret comes from the caller. Checked against published test vectors.
 *
 *   init ──write──▶ msg1 ──read──▶ ... after the last message noise_done() is 1, then noise_split() once.
 */
#ifndef SHOAL_NOISE_H
#define SHOAL_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOISE_MESSAGE_MAX 65535
#define NOISE_TAG_SIZE 16
#define NOISE_HASH_SIZE 32
#define NOISE_PAYLOAD_MAX 1024 /* what a handshake payload may carry here */
#define NOISE_KEY_SIZE 32
#define NOISE_CIPHERS 2
#define NOISE_SCHEDULE_SIZE 512

enum noise_pattern { NOISE_XX, NOISE_IK };
enum noise_cipher { NOISE_CHACHAPOLY, NOISE_AESGCM }; /* AESGCM only where noise_aesgcm_available() */

struct noise_params {
    enum noise_pattern pattern;
    enum noise_cipher cipher;
    bool initiator;
    const uint8_t *prologue;
    size_t prologue_size;
    const uint8_t *static_secret;    /* X25519, 32 bytes */
    const uint8_t *static_public;    /* 32 bytes */
    const uint8_t *ephemeral_secret; /* 32 random bytes, used once */
    const uint8_t *remote_static;    /* IK initiator only, else NULL */
};

/* One direction of transport: key, and a 64-bit nonce counter that never repeats. Made by noise_key_init. */
struct noise_key {
    enum noise_cipher cipher;
    uint8_t key[NOISE_KEY_SIZE];
    uint64_t nonce;
    _Alignas(16) uint8_t schedule[NOISE_SCHEDULE_SIZE]; /* AESGCM: what libsodium computes from the key once */
};

struct noise; /* a handshake in progress; secrets wiped by noise_free */

bool noise_aesgcm_available(void);
int noise_new(const struct noise_params *params, struct noise **ret_noise); /* ERR_NOMEM, ERR_INVALID */
void noise_free(struct noise *n);                                           /* NULL is fine */
bool noise_done(const struct noise *n);
bool noise_my_turn(const struct noise *n); /* the next message is ours to write */
/* Writes the next handshake message: at most `capacity` bytes to out. Only when it is our turn. ERR_TOO_LARGE;
 * ERR_AUTH for a peer key of small order, after which out holds nothing of use and the handshake is dead. */
int noise_write(struct noise *n, const void *payload, size_t payload_size, uint8_t *out, size_t capacity,
                size_t *ret_size);
/* Reads the peer's next message; its payload (at most NOISE_PAYLOAD_MAX) goes to payload. ERR_AUTH on any
 * mismatch, ERR_PROTOCOL when malformed or not the peer's turn; after an error payload holds nothing of use and the
 * handshake is dead. */
int noise_read(struct noise *n, const uint8_t *message, size_t size, uint8_t payload[NOISE_PAYLOAD_MAX],
               size_t *ret_payload_size);
/* The peer's static key once known, else NULL. */
const uint8_t *noise_remote_static(const struct noise *n);
/* After done, once: transport keys, and the handshake hash (channel binding, §11.2). */
void noise_split(struct noise *n, struct noise_key *ret_send, struct noise_key *ret_receive,
                 uint8_t ret_hash[NOISE_HASH_SIZE]);

/* Nonce 0. AESGCM only where noise_aesgcm_available(). */
void noise_key_init(struct noise_key *k, enum noise_cipher cipher, const uint8_t key[NOISE_KEY_SIZE]);
/* Transport (§5.1). Seal writes size+16 bytes, open writes size-16; out is either the input itself (in place) or does
 * not overlap it. At most NOISE_MESSAGE_MAX bytes sealed. open: ERR_AUTH on mismatch, when the nonce stays. */
void noise_seal(struct noise_key *k, const uint8_t *plain, size_t size, uint8_t *out);
int noise_open(struct noise_key *k, const uint8_t *sealed, size_t size, uint8_t *out);
void noise_rekey(struct noise_key *k);       /* §11.3; the nonce counts on */
void noise_key_release(struct noise_key *k); /* wipes */

#endif
