#include <sodium.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "noise_aead.h"

static const struct noise_ad no_ad = {NULL, 0};

void noise_key_init(struct noise_key *k, enum noise_cipher cipher, const uint8_t key[NOISE_KEY_SIZE]) {
    CHECK(cipher == NOISE_CHACHAPOLY || cipher == NOISE_AESGCM);
    k->cipher = cipher;
    memcpy(k->key, key, sizeof k->key);
    k->nonce = 0;
    noise_aead_schedule(k);
}

void noise_seal(struct noise_key *k, const uint8_t *plain, size_t size, uint8_t *out) {
    CHECK(k->nonce < NOISE_NONCE_REKEY); /* a nonce used twice would give the plaintext away */
    noise_aead_seal(k, no_ad, plain, size, out);
    k->nonce++;
}

int noise_open(struct noise_key *k, const uint8_t *sealed, size_t size, uint8_t *out) {
    CHECK(k->nonce < NOISE_NONCE_REKEY);
    int rc = noise_aead_open(k, no_ad, sealed, size, out);
    if (rc == 0) {
        k->nonce++;
    }
    return rc;
}

void noise_rekey(struct noise_key *k) {
    const uint8_t zeros[NOISE_KEY_SIZE] = {0};
    uint8_t sealed[NOISE_KEY_SIZE + NOISE_TAG_SIZE];
    uint64_t nonce = k->nonce;
    k->nonce = NOISE_NONCE_REKEY;
    noise_aead_seal(k, no_ad, zeros, sizeof zeros, sealed);
    noise_key_init(k, k->cipher, sealed);
    k->nonce = nonce;
    sodium_memzero(sealed, sizeof sealed);
}

void noise_key_release(struct noise_key *k) {
    CHECK(k != NULL);
    sodium_memzero(k, sizeof *k);
}
